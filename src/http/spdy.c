/* SPDY/3.1 connections, server side.
 *
 * The one peer that matters (moby/spdystream, in kubectl and client-go) has no flow control: it
 * sends no WINDOW_UPDATE and heeds none. So windows are used only with a peer that has shown it
 * knows them (by a WINDOW_UPDATE or an initial window in SETTINGS); with any other, back-pressure
 * is TCP's: what we write is bounded by the stream's queue, and a paused stream that holds too much
 * stops the reading of its whole connection, as it does at the other end.
 *
 * Data frames are passed on as their bytes come; control frames are gathered whole (they are
 * small). Streams and the connection end in two steps: marked at once, told and freed from the
 * connection's task. */
#include "http/spdy.h"
#include "http/http_int.h"
#include "http/spdy_frame.h"
#include "base/list.h"
#include "base/mem.h"
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

static void later(struct spdy *s)
{
    rt_task_schedule(&s->task);
}

/* ---- ends ---- */

static void stream_end(struct spdy_stream *st, int err)
{
    struct spdy *s = st->spdy;

    if (st->ended)
        return;
    st->ended = true;
    st->err = err;
    s->n_streams--;
    list_remove(&st->link);
    list_push_back(&s->ended_streams, &st->link);
    bytesq_fini(&st->out);
    later(s);
}

static void session_end(struct spdy *s, int err)
{
    struct spdy_stream *st;

    if (s->ended)
        return;
    s->ended = true;
    s->err = err;
    LIST_FOR_EACH (st, &s->streams, link)
        stream_end(st, err ? err : -ECONNRESET);
    rt_timer_stop(&s->idle);
    rt_timer_stop(&s->ping);
    if (err)
        rt_stream_close(TAKE_PTR(s->stream), NULL, NULL);
    else
        rt_stream_finish(TAKE_PTR(s->stream), LINGER, NULL, NULL);
    later(s);
}

/* ---- sending ---- */

static void send_out(struct spdy *s)
{
    if (s->ended)
        buf_clear(&s->out);
    else
        rt_stream_write_buf(s->stream, &s->out);
}

static void send_rst(struct spdy *s, uint32_t id, enum spdy_status status)
{
    spdy_put_control(&s->out, SPDY_RST_STREAM, 0, 8);
    spdy_put32(&s->out, id);
    spdy_put32(&s->out, status);
    send_out(s);
}

static void send_goaway(struct spdy *s, uint32_t status)
{
    if (s->goaway_sent)
        return;
    s->goaway_sent = true;
    spdy_put_control(&s->out, SPDY_GOAWAY, 0, 8);
    spdy_put32(&s->out, s->last_id);
    spdy_put32(&s->out, status);
    send_out(s);
}

static void send_reply(struct spdy *s, uint32_t id)
{
    struct buf block = {0};

    spdy_encode_headers(&s->codec, NULL, 0, &block);
    spdy_put_control(&s->out, SPDY_SYN_REPLY, 0, 4 + block.n);
    spdy_put32(&s->out, id);
    buf_add_str(&s->out, buf_str(&block));
    buf_fini(&block);
    send_out(s);
}

static void protocol_error(struct spdy *s)
{
    if (s->ended)
        return;
    send_goaway(s, 1);
    rt_stream_flush(s->stream);
    session_end(s, -EPROTO);
}

/* Gives window back to a peer that counts it. id 0: the connection's. */
static void reopen(struct spdy *s, uint32_t id, size_t *consumed, size_t n)
{
    *consumed += n;
    if (!s->windows || *consumed < WINDOW_STEP)
        return;
    spdy_put_control(&s->out, SPDY_WINDOW_UPDATE, 0, 8);
    spdy_put32(&s->out, id);
    spdy_put32(&s->out, (uint32_t)*consumed);
    *consumed = 0;
    send_out(s);
}

static void maybe_done(struct spdy_stream *st)
{
    if (st->fin_sent && st->fin_told)
        stream_end(st, 0);
}

static void send_data(struct spdy_stream *st)
{
    struct spdy *s = st->spdy;

    while (st->out.bytes && !st->ended) {
        size_t n = MIN(st->out.bytes, (size_t)DATA_FRAME_MAX);

        if (s->windows) {
            if (st->send_window <= 0 || s->send_window <= 0)
                break;
            n = MIN(n, (size_t)MIN(st->send_window, s->send_window));
        }
        st->send_window -= (int64_t)n;
        s->send_window -= (int64_t)n;
        spdy_put_data(&s->out, st->id, 0, n);
        bytesq_pop_to(&st->out, n, &s->out);
        send_out(s);
    }
    if (!st->out.bytes && st->fin_asked && !st->fin_sent) {
        st->fin_sent = true;
        spdy_put_data(&s->out, st->id, SPDY_FLAG_FIN, 0);
        send_out(s);
        maybe_done(st);
    }
    if (st->congested && !spdy_stream_congested(st)) {
        st->congested = false;
        st->drain_due = true;
        s->work_due = true;
        later(s);
    }
}

/* ---- receiving ---- */

static struct spdy_stream *find(struct spdy *s, uint32_t id)
{
    struct spdy_stream *st;

    LIST_FOR_EACH (st, &s->streams, link)
        if (st->id == id)
            return st;
    return NULL;
}

static void see_blocked(struct spdy *s)
{
    struct spdy_stream *st;
    bool block = false;

    if (s->ended)
        return;
    LIST_FOR_EACH (st, &s->streams, link)
        block = block || st->held.n > HELD_BYTES_MAX;
    if (block && !s->blocked)
        rt_stream_read_stop(s->stream);
    else if (!block && s->blocked)
        rt_stream_read_start(s->stream);
    s->blocked = block;
}

static void take_data(struct spdy *s, const char *p, size_t n)
{
    struct spdy_stream *st = find(s, s->data_id);

    reopen(s, 0, &s->consumed, n);
    if (!st || st->fin_seen || !n)
        return;
    if (st->paused || st->held.n) {
        buf_add(&st->held, p, n); /* bounded: see_blocked stops reading */
        see_blocked(s);
        return;
    }
    reopen(s, st->id, &st->consumed, n);
    s->cb.on_data(st, p, n, s->arg);
}

static void take_fin(struct spdy_stream *st)
{
    if (!st || st->fin_seen)
        return;
    st->fin_seen = true;
    if (st->paused || st->held.n)
        return; /* behind what is held */
    st->fin_told = true;
    st->spdy->cb.on_fin(st, st->spdy->arg);
    maybe_done(st);
}

static void take_syn_stream(struct spdy *s, unsigned flags, struct str body)
{
    struct spdy_stream *st;
    uint32_t id;

    if (body.n < 10) {
        protocol_error(s);
        return;
    }
    id = spdy_get32(body.p) & 0x7fffffff;
    st = NEW(struct spdy_stream);
    st->spdy = s;
    st->id = id;
    st->send_window = s->peer_initial_window;
    /* the block is inflated in any case: those behind it depend on it */
    if (spdy_decode_headers(&s->codec, str_sub(body, 10, body.n), &st->arena, &st->headers,
                            &st->n_headers) < 0 ||
        id % 2 == 0 || id <= s->last_id) {
        arena_fini(&st->arena);
        free(st);
        protocol_error(s);
        return;
    }
    if (s->goaway_sent || s->n_streams >= s->opts.streams_max) {
        arena_fini(&st->arena);
        free(st);
        send_rst(s, id, SPDY_REFUSED_STREAM);
        return;
    }
    s->last_id = id;
    s->n_streams++;
    list_init(&st->link);
    list_push_back(&s->streams, &st->link);
    st->fin_sent = flags & SPDY_FLAG_UNIDIRECTIONAL;
    if (s->cb.on_open(s, st, st->headers, st->n_headers, s->arg) < 0) {
        if (!st->ended) {
            list_remove(&st->link);
            s->n_streams--;
            bytesq_fini(&st->out);
            buf_fini(&st->held);
            arena_fini(&st->arena);
            free(st);
            send_rst(s, id, SPDY_REFUSED_STREAM);
        }
        return;
    }
    if (s->ended || st->ended)
        return;
    send_reply(s, id);
    send_data(st);
    if (flags & SPDY_FLAG_FIN)
        take_fin(st);
}

static void take_settings(struct spdy *s, struct str body)
{
    uint32_t n = body.n >= 4 ? spdy_get32(body.p) : UINT32_MAX;
    struct spdy_stream *st;

    if (n > (body.n - 4) / 8 || body.n != 4 + (size_t)n * 8) {
        protocol_error(s);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = spdy_get32(body.p + 4 + i * 8) & 0xffffff;
        uint32_t value = spdy_get32(body.p + 8 + i * 8);

        if (key != SPDY_SETTINGS_INITIAL_WINDOW || value > INT32_MAX)
            continue;
        LIST_FOR_EACH (st, &s->streams, link)
            st->send_window += (int64_t)value - s->peer_initial_window;
        s->peer_initial_window = value;
        s->windows = true;
    }
    LIST_FOR_EACH (st, &s->streams, link)
        send_data(st);
}

static void take_window_update(struct spdy *s, struct str body)
{
    uint32_t id, delta;
    struct spdy_stream *st;

    if (body.n != 8) {
        protocol_error(s);
        return;
    }
    s->windows = true;
    id = spdy_get32(body.p) & 0x7fffffff;
    delta = spdy_get32(body.p + 4) & 0x7fffffff;
    if (id == 0) {
        s->send_window = MIN(s->send_window + delta, (int64_t)INT32_MAX);
        LIST_FOR_EACH (st, &s->streams, link)
            send_data(st);
        return;
    }
    st = find(s, id);
    if (!st)
        return;
    st->send_window += delta;
    if (st->send_window > INT32_MAX) {
        send_rst(s, id, SPDY_FLOW_CONTROL_ERROR);
        stream_end(st, -EPROTO);
        return;
    }
    send_data(st);
}

static void take_ping(struct spdy *s, struct str body)
{
    if (body.n != 4) {
        protocol_error(s);
        return;
    }
    if (spdy_get32(body.p) % 2 == 0)
        return; /* the echo of ours */
    spdy_put_control(&s->out, SPDY_PING, 0, 4);
    buf_add(&s->out, body.p, 4);
    send_out(s);
}

static void take_headers(struct spdy *s, unsigned flags, struct str body)
{
    struct http_header *h;
    struct arena a = {0};
    size_t n;

    /* nothing uses later headers, but the compression context has to see them */
    if (body.n < 4 || spdy_decode_headers(&s->codec, str_sub(body, 4, body.n), &a, &h, &n) < 0)
        protocol_error(s);
    else if (flags & SPDY_FLAG_FIN)
        take_fin(find(s, spdy_get32(body.p) & 0x7fffffff));
    arena_fini(&a);
}

static void take_control(struct spdy *s, struct str frame)
{
    uint32_t word = spdy_get32(frame.p);
    unsigned flags = (unsigned char)frame.p[4];
    struct str body = str_sub(frame, SPDY_FRAME_HEAD, frame.n);
    struct spdy_stream *st;

    if ((word >> 16 & 0x7fff) != SPDY_VERSION) {
        protocol_error(s);
        return;
    }
    switch (word & 0xffff) {
    case SPDY_SYN_STREAM:
        take_syn_stream(s, flags, body);
        break;
    case SPDY_SYN_REPLY: /* answers a stream we never open */
        protocol_error(s);
        break;
    case SPDY_RST_STREAM:
        st = body.n == 8 ? find(s, spdy_get32(body.p) & 0x7fffffff) : NULL;
        if (st)
            stream_end(st, -ECONNRESET);
        break;
    case SPDY_SETTINGS:
        take_settings(s, body);
        break;
    case SPDY_PING:
        take_ping(s, body);
        break;
    case SPDY_GOAWAY:
        s->goaway_seen = true;
        s->work_due = true;
        later(s);
        break;
    case SPDY_HEADERS:
        take_headers(s, flags, body);
        break;
    case SPDY_WINDOW_UPDATE:
        take_window_update(s, body);
        break;
    default: /* unknown control frames are skipped (2.2.1) */
        break;
    }
}

/* Takes one step; false: needs more bytes. */
static bool step(struct spdy *s, struct str *data)
{
    size_t want = SPDY_FRAME_HEAD, n;
    uint32_t length;

    if (s->in_data) {
        n = MIN(data->n, (size_t)s->data_left);
        s->data_left -= (uint32_t)n;
        take_data(s, data->p, n);
        *data = str_sub(*data, n, data->n);
        if (s->data_left)
            return false;
        s->in_data = false;
        if (s->data_fin && !s->ended)
            take_fin(find(s, s->data_id));
        return true;
    }
    if (s->in.n >= SPDY_FRAME_HEAD)
        want += spdy_get32(s->in.data + 4) & 0xffffff;
    n = MIN(want - s->in.n, data->n);
    buf_add(&s->in, data->p, n);
    *data = str_sub(*data, n, data->n);
    if (s->in.n < want)
        return false;
    length = spdy_get32(s->in.data + 4) & 0xffffff;
    if (!(s->in.data[0] & 0x80)) {
        s->data_id = spdy_get32(s->in.data);
        s->data_fin = s->in.data[4] & SPDY_FLAG_FIN;
        s->data_left = length;
        s->in_data = true;
        buf_clear(&s->in);
        if (!s->data_id) {
            protocol_error(s);
        } else if (!find(s, s->data_id) && s->data_id > s->last_id) {
            send_rst(s, s->data_id, SPDY_INVALID_STREAM);
        }
        return true;
    }
    if (length > CONTROL_MAX(s)) {
        protocol_error(s);
        return false;
    }
    if (s->in.n == SPDY_FRAME_HEAD + (size_t)length) {
        take_control(s, buf_str(&s->in));
        buf_clear(&s->in);
    }
    return true;
}

static void on_data(void *arg, struct str data)
{
    struct spdy *s = arg;

    s->active = rt_now(s->rt);
    while (!s->ended && (data.n || (s->in_data && !s->data_left)))
        if (!step(s, &data) && !data.n)
            break;
}

static void on_eof(void *arg)
{
    struct spdy *s = arg;

    session_end(s, s->goaway_seen || !s->n_streams ? 0 : -ECONNRESET);
}

static void on_error(void *arg, int err)
{
    session_end(arg, err);
}

static void on_drain(void *arg)
{
    struct spdy *s = arg;
    struct spdy_stream *st;

    LIST_FOR_EACH (st, &s->streams, link)
        send_data(st);
}

static const struct rt_stream_handler handler = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
};

/* ---- deferred ---- */

static void resume(struct spdy_stream *st)
{
    struct spdy *s = st->spdy;
    struct buf held = st->held;

    if (held.n) {
        st->held = (struct buf){0};
        reopen(s, st->id, &st->consumed, held.n);
        s->cb.on_data(st, held.data, held.n, s->arg);
        buf_fini(&held);
    }
    if (st->ended || st->paused || !st->fin_seen || st->fin_told)
        return;
    st->fin_told = true;
    s->cb.on_fin(st, s->arg);
    maybe_done(st);
}

static void do_work(struct spdy *s)
{
    struct spdy_stream *st;

    LIST_FOR_EACH (st, &s->streams, link) {
        if (st->drain_due) {
            st->drain_due = false;
            if (s->cb.on_drain)
                s->cb.on_drain(st, s->arg);
        }
        if (st->resume_due && !st->ended && !st->paused) {
            st->resume_due = false;
            resume(st);
        }
        if (s->ended)
            return;
    }
    see_blocked(s);
}

static void free_stream(struct spdy_stream *st)
{
    list_remove(&st->link);
    bytesq_fini(&st->out);
    buf_fini(&st->held);
    arena_fini(&st->arena);
    free(st);
}

static void spdy_task(void *arg)
{
    struct spdy *s = arg;

    if (s->work_due && !s->ended) {
        s->work_due = false;
        do_work(s);
    }
    while (!list_empty(&s->ended_streams)) {
        struct spdy_stream *st = LIST_FIRST(&s->ended_streams, struct spdy_stream, link);

        s->cb.on_stream_close(st, st->err, s->arg);
        free_stream(st);
    }
    if (s->goaway_seen && !s->n_streams && !s->ended)
        session_end(s, 0);
    if (!s->ended)
        return;
    rt_task_cancel(&s->task);
    s->cb.on_close(s, s->err, s->arg);
    rt_task_cancel(&s->task);
    spdy_codec_fini(&s->codec);
    buf_fini(&s->in);
    buf_fini(&s->out);
    free(s);
}

static void on_idle(void *arg)
{
    struct spdy *s = arg;
    nsec_t at = s->active + s->opts.idle_timeout_ms * NSEC_PER_MSEC;

    if (rt_now(s->rt) < at)
        rt_timer_start_at(&s->idle, at);
    else
        session_end(s, -ETIMEDOUT);
}

static void on_ping(void *arg)
{
    struct spdy *s = arg;

    s->ping_id += 2;
    spdy_put_control(&s->out, SPDY_PING, 0, 4);
    spdy_put32(&s->out, s->ping_id & 0x7fffffff);
    send_out(s);
    rt_timer_start(&s->ping, s->opts.ping_interval_ms * NSEC_PER_MSEC);
}

/* ---- what users call ---- */

#define DEFAULT(o, field, v) ((o)->field = (o)->field ? (o)->field : (v))

struct spdy *spdy_new(struct rt *rt, struct rt_stream *stream, const struct spdy_opts *opts,
                      const struct spdy_callbacks *cb, void *arg)
{
    struct spdy *s = NEW(struct spdy);

    ASSERT(cb->on_open && cb->on_data && cb->on_fin && cb->on_stream_close && cb->on_close);
    s->rt = rt;
    s->stream = stream;
    if (opts)
        s->opts = *opts;
    DEFAULT(&s->opts, streams_max, 256);
    DEFAULT(&s->opts, stream_queue_bytes_max, 4 << 20);
    DEFAULT(&s->opts, header_bytes_max, 16 << 10);
    DEFAULT(&s->opts, idle_timeout_ms, INT64_C(4) * 3600 * 1000);
    s->cb = *cb;
    s->arg = arg;
    list_init(&s->streams);
    list_init(&s->ended_streams);
    spdy_codec_init(&s->codec, s->opts.header_bytes_max);
    s->peer_initial_window = SPDY_WINDOW_DEFAULT;
    s->send_window = SPDY_WINDOW_DEFAULT;
    s->active = rt_now(rt);
    rt_task_init(&s->task, rt, spdy_task, s);
    rt_timer_init(&s->idle, rt, on_idle, s);
    rt_timer_init(&s->ping, rt, on_ping, s);
    rt_timer_start(&s->idle, s->opts.idle_timeout_ms * NSEC_PER_MSEC);
    if (s->opts.ping_interval_ms)
        rt_timer_start(&s->ping, s->opts.ping_interval_ms * NSEC_PER_MSEC);
    rt_stream_set_handler(stream, &handler, s);
    rt_stream_read_start(stream);
    return s;
}

uint32_t spdy_stream_id(const struct spdy_stream *st)
{
    return st->id;
}

struct spdy *spdy_stream_session(const struct spdy_stream *st)
{
    return st->spdy;
}

void spdy_stream_set_user(struct spdy_stream *st, void *user)
{
    st->user = user;
}

void *spdy_stream_user(const struct spdy_stream *st)
{
    return st->user;
}

struct str spdy_stream_header(const struct spdy_stream *st, struct str name)
{
    return http_header_get(st->headers, st->n_headers, name);
}

size_t spdy_stream_queued_bytes(const struct spdy_stream *st)
{
    return st->out.bytes + (st->spdy->stream ? rt_stream_queued_bytes(st->spdy->stream) : 0);
}

bool spdy_stream_congested(const struct spdy_stream *st)
{
    return spdy_stream_queued_bytes(st) > RT_STREAM_HIGH_BYTES;
}

int spdy_stream_write(struct spdy_stream *st, struct http_bytes chunk)
{
    struct spdy *s = st->spdy;
    int r = 0;

    if (st->ended || st->fin_asked || st->fin_sent)
        r = -EPIPE;
    else if (spdy_stream_queued_bytes(st) + chunk.n > s->opts.stream_queue_bytes_max)
        r = -ENOBUFS;
    if (r < 0) {
        http_bytes_release(&chunk);
        return r;
    }
    s->active = rt_now(s->rt);
    bytesq_push(&st->out, chunk);
    send_data(st);
    if (spdy_stream_congested(st))
        st->congested = true;
    return 0;
}

void spdy_stream_fin(struct spdy_stream *st)
{
    if (st->ended || st->fin_asked || st->fin_sent)
        return;
    st->fin_asked = true;
    send_data(st);
}

void spdy_stream_reset(struct spdy_stream *st)
{
    if (st->ended)
        return;
    send_rst(st->spdy, st->id, SPDY_CANCEL);
    stream_end(st, -ECANCELED);
}

void spdy_stream_pause(struct spdy_stream *st, bool paused)
{
    if (st->paused == paused || st->ended)
        return;
    st->paused = paused;
    if (paused)
        return;
    st->resume_due = true;
    st->spdy->work_due = true;
    later(st->spdy);
}

void spdy_close(struct spdy *s)
{
    struct spdy_stream *st;

    if (s->ended)
        return;
    send_goaway(s, 0);
    LIST_FOR_EACH (st, &s->streams, link)
        stream_end(st, st->fin_sent ? 0 : -ECANCELED);
    session_end(s, 0);
}

void spdy_abort(struct spdy *s)
{
    session_end(s, -ECANCELED);
}
