/* Inside src/http/spdy*.c: a connection and its streams.
 *
 * Streams and the connection end in two steps: marked at once (spdy_stream_end, spdy_end), told and
 * freed from the connection's task. So pointers stay good through a whole callback. */
#pragma once

#include "base/list.h"
#include "http/http_int.h"
#include "http/spdy.h"
#include "http/spdy_frame.h"
#include "rt/rt.h"
#include "rt/stream.h"

#define LINGER         (2 * NSEC_PER_SEC)
#define DATA_FRAME_MAX (32 * 1024)  /* a peer handles a frame as one piece */
#define HELD_BYTES_MAX (256 * 1024) /* of a paused stream, before the connection is not read */
#define CONTROL_MAX(s) ((s)->opts.header_bytes_max + 64)
#define WINDOW_STEP    (SPDY_WINDOW_DEFAULT / 2) /* used up before it is reopened */

struct spdy_stream {
    struct list link; /* spdy->streams or spdy->ended_streams */
    struct spdy *spdy;
    uint32_t id;
    struct arena arena;
    struct http_header *headers;
    size_t n_headers;
    void *user;
    struct bytesq out; /* waits for the window */
    struct buf held;   /* came while paused */
    int64_t send_window;
    size_t consumed; /* not given back yet */
    bool fin_asked, fin_sent, fin_seen, fin_told, ended, paused, resume_due, congested, drain_due;
    int err;
};

struct spdy {
    struct rt *rt;
    struct rt_stream *stream; /* owned; NULL once closed */
    struct spdy_opts opts;
    struct spdy_callbacks cb;
    void *arg;
    struct spdy_codec codec;
    struct list streams, ended_streams;
    unsigned n_streams;
    uint32_t last_id, data_id, data_left;
    bool data_fin, in_data; /* inside a data frame */
    struct buf in;          /* frame head or control frame, until it is whole */
    struct buf out;
    bool windows, goaway_sent, goaway_seen, ended, blocked, work_due;
    uint32_t peer_initial_window, ping_id;
    int64_t send_window;
    size_t consumed;
    int err;
    nsec_t active;
    struct rt_task task;
    struct rt_timer idle, ping;
};

/* ---- spdy.c ---- */
void spdy_later(struct spdy *s);
void spdy_stream_end(struct spdy_stream *st, int err);
void spdy_end(struct spdy *s, int err);
void spdy_send_out(struct spdy *s); /* what was put into s->out */
void spdy_send_rst(struct spdy *s, uint32_t id, enum spdy_status status);
void spdy_send_reply(struct spdy *s, uint32_t id);
void spdy_protocol_error(struct spdy *s); /* GOAWAY, and the end */
/* Gives window back to a peer that counts it. id 0: the connection's. */
void spdy_reopen(struct spdy *s, uint32_t id, size_t *consumed, size_t n);
void spdy_maybe_done(struct spdy_stream *st); /* both ends finished: it ends */
void spdy_send_data(struct spdy_stream *st);  /* as much of its queue as the windows allow */

/* ---- spdy_recv.c ---- */
void spdy_on_data(void *arg, struct str data); /* of the rt stream's handler */
void spdy_see_blocked(struct spdy *s); /* stops or starts reading by what paused streams hold */
