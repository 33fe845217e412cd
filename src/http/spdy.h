/* SPDY/3.1, server side, as Kubernetes uses it for exec, attach and port-forward: the client
 * upgrades an HTTP/1.1 connection ("Upgrade: SPDY/3.1") and opens streams whose headers say what
 * they carry (streamtype, port, requestid). Reference: draft-mbelshe-httpbis-spdy-00 (v3) with the
 * flow-control additions of 3.1.
 *
 * Streams are accepted by the library (SYN_REPLY is sent when on_open returns 0). A struct
 * spdy_stream lives until its on_close, which comes exactly once; a struct spdy lives until its
 * on_close, which comes once, last, after that of all its streams. Callbacks never come from inside
 * a call on the same object. */
#pragma once

#include "http/server.h"

struct spdy;
struct spdy_stream;

struct spdy_callbacks {
    /* A stream was opened. Headers are valid as long as the stream. < 0: refuse it (no on_close for
     * it then). Set its user pointer here. */
    int (*on_open)(struct spdy *s, struct spdy_stream *st, const struct http_header *headers,
                   size_t n, void *arg);
    /* The bytes are valid during the call. */
    void (*on_data)(struct spdy_stream *st, const void *p, size_t n, void *arg);
    void (*on_fin)(struct spdy_stream *st, void *arg); /* the peer will send no more */
    void (*on_drain)(struct spdy_stream *st,
                     void *arg); /* may be NULL: was congested, is at the low mark now */
    void (*on_stream_close)(struct spdy_stream *st, int err,
                            void *arg); /* 0: both ends finished; -ECONNRESET: RST */
    void (*on_close)(struct spdy *s, int err, void *arg); /* the connection */
};

/* Zero means the default named behind. */
struct spdy_opts {
    unsigned streams_max;          /* 256 open at once; over -> REFUSED_STREAM */
    size_t stream_queue_bytes_max; /* 4 MiB */
    size_t header_bytes_max;       /* 16 KiB, inflated */
    int64_t idle_timeout_ms;       /* 4 h: nothing read or written */
    int64_t ping_interval_ms;      /* 0: none */
};

bool spdy_requested(const struct http_request *req); /* Upgrade: SPDY/3.1 */
/* Finishing call for the request (on failure it is answered: 400, or 403 when no protocol fits).
 * The sub-protocol is negotiated with x-stream-protocol-version: the first of `protocols` the
 * client names is sent back; n == 0: none. A client that names none gets protocols[n - 1]
 * semantics: *ret_protocol = -1. NULL on failure. */
struct spdy *spdy_accept(struct http_request *req, const char *const *protocols, size_t n,
                         const struct spdy_opts *opts, const struct spdy_callbacks *cb, void *arg,
                         int *ret_protocol);
/* Over a stream that was upgraded elsewhere. Takes it. */
struct spdy *spdy_new(struct rt *rt, struct rt_stream *stream, const struct spdy_opts *opts,
                      const struct spdy_callbacks *cb, void *arg);

uint32_t spdy_stream_id(const struct spdy_stream *st);
struct spdy *spdy_stream_session(const struct spdy_stream *st);
void spdy_stream_set_user(struct spdy_stream *st, void *user);
void *spdy_stream_user(const struct spdy_stream *st);
struct str spdy_stream_header(const struct spdy_stream *st,
                              struct str name); /* lower-case name; absent without */
/* Takes chunk in every case. 0; -EPIPE finished or gone; -ENOBUFS queue full. */
int spdy_stream_write(struct spdy_stream *st, struct http_bytes chunk);
size_t spdy_stream_queued_bytes(const struct spdy_stream *st);
bool spdy_stream_congested(const struct spdy_stream *st); /* over RT_STREAM_HIGH_BYTES */
void spdy_stream_fin(struct spdy_stream *st);   /* no more from us, behind what is queued */
void spdy_stream_reset(struct spdy_stream *st); /* RST_STREAM(CANCEL); on_stream_close follows */
void spdy_stream_pause(struct spdy_stream *st,
                       bool paused); /* window is not reopened while paused */
/* Sends what is queued, then GOAWAY, and closes. on_stream_close for open streams, on_close follow.
 * Idempotent. */
void spdy_close(struct spdy *s);
void spdy_abort(struct spdy *s); /* cuts now */
