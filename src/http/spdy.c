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
#include "http/spdy_int.h"
#include "base/mem.h"

void spdy_later(struct spdy *s)
{
    rt_task_schedule(&s->task);
}

/* ---- ends ---- */

void spdy_stream_end(struct spdy_stream *st, int err)
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
    spdy_later(s);
}

void spdy_end(struct spdy *s, int err)
{
    struct spdy_stream *st;

    if (s->ended)
        return;
    s->ended = true;
    s->err = err;
    LIST_FOR_EACH (st, &s->streams, link)
        spdy_stream_end(st, err ? err : -ECONNRESET);
    rt_timer_stop(&s->idle);
    rt_timer_stop(&s->ping);
    if (err)
        rt_stream_close(TAKE_PTR(s->stream), NULL, NULL);
    else
        rt_stream_finish(TAKE_PTR(s->stream), LINGER, NULL, NULL);
    spdy_later(s);
}

/* ---- sending ---- */

void spdy_send_out(struct spdy *s)
{
    if (s->ended)
        buf_clear(&s->out);
    else
        rt_stream_write_buf(s->stream, &s->out);
}

void spdy_send_rst(struct spdy *s, uint32_t id, enum spdy_status status)
{
    spdy_put_control(&s->out, SPDY_RST_STREAM, 0, 8);
    spdy_put32(&s->out, id);
    spdy_put32(&s->out, status);
    spdy_send_out(s);
}

static void spdy_send_goaway(struct spdy *s, uint32_t status)
{
    if (s->goaway_sent)
        return;
    s->goaway_sent = true;
    spdy_put_control(&s->out, SPDY_GOAWAY, 0, 8);
    spdy_put32(&s->out, s->last_id);
    spdy_put32(&s->out, status);
    spdy_send_out(s);
}

void spdy_send_reply(struct spdy *s, uint32_t id)
{
    struct buf block = {0};

    spdy_encode_headers(&s->codec, NULL, 0, &block);
    spdy_put_control(&s->out, SPDY_SYN_REPLY, 0, 4 + block.n);
    spdy_put32(&s->out, id);
    buf_add_str(&s->out, buf_str(&block));
    buf_fini(&block);
    spdy_send_out(s);
}

void spdy_protocol_error(struct spdy *s)
{
    if (s->ended)
        return;
    spdy_send_goaway(s, 1);
    rt_stream_flush(s->stream);
    spdy_end(s, -EPROTO);
}

/* Gives window back to a peer that counts it. id 0: the connection's. */
void spdy_reopen(struct spdy *s, uint32_t id, size_t *consumed, size_t n)
{
    *consumed += n;
    if (!s->windows || *consumed < WINDOW_STEP)
        return;
    spdy_put_control(&s->out, SPDY_WINDOW_UPDATE, 0, 8);
    spdy_put32(&s->out, id);
    spdy_put32(&s->out, (uint32_t)*consumed);
    *consumed = 0;
    spdy_send_out(s);
}

void spdy_maybe_done(struct spdy_stream *st)
{
    if (st->fin_sent && st->fin_told)
        spdy_stream_end(st, 0);
}

void spdy_send_data(struct spdy_stream *st)
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
        spdy_send_out(s);
    }
    if (!st->out.bytes && st->fin_asked && !st->fin_sent) {
        st->fin_sent = true;
        spdy_put_data(&s->out, st->id, SPDY_FLAG_FIN, 0);
        spdy_send_out(s);
        spdy_maybe_done(st);
    }
    if (st->congested && !spdy_stream_congested(st)) {
        st->congested = false;
        st->drain_due = true;
        s->work_due = true;
        spdy_later(s);
    }
}

static void on_eof(void *arg)
{
    struct spdy *s = arg;

    spdy_end(s, s->goaway_seen || !s->n_streams ? 0 : -ECONNRESET);
}

static void on_error(void *arg, int err)
{
    spdy_end(arg, err);
}

static void on_drain(void *arg)
{
    struct spdy *s = arg;
    struct spdy_stream *st;

    LIST_FOR_EACH (st, &s->streams, link)
        spdy_send_data(st);
}

static const struct rt_stream_handler handler = {
    .on_data = spdy_on_data,
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
        spdy_reopen(s, st->id, &st->consumed, held.n);
        s->cb.on_data(st, held.data, held.n, s->arg);
        buf_fini(&held);
    }
    if (st->ended || st->paused || !st->fin_seen || st->fin_told)
        return;
    st->fin_told = true;
    s->cb.on_fin(st, s->arg);
    spdy_maybe_done(st);
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
    spdy_see_blocked(s);
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
        spdy_end(s, 0);
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
        spdy_end(s, -ETIMEDOUT);
}

static void on_ping(void *arg)
{
    struct spdy *s = arg;

    s->ping_id += 2;
    spdy_put_control(&s->out, SPDY_PING, 0, 4);
    spdy_put32(&s->out, s->ping_id & 0x7fffffff);
    spdy_send_out(s);
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
    spdy_send_data(st);
    if (spdy_stream_congested(st))
        st->congested = true;
    return 0;
}

void spdy_stream_fin(struct spdy_stream *st)
{
    if (st->ended || st->fin_asked || st->fin_sent)
        return;
    st->fin_asked = true;
    spdy_send_data(st);
}

void spdy_stream_reset(struct spdy_stream *st)
{
    if (st->ended)
        return;
    spdy_send_rst(st->spdy, st->id, SPDY_CANCEL);
    spdy_stream_end(st, -ECANCELED);
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
    spdy_later(st->spdy);
}

void spdy_close(struct spdy *s)
{
    struct spdy_stream *st;

    if (s->ended)
        return;
    spdy_send_goaway(s, 0);
    LIST_FOR_EACH (st, &s->streams, link)
        spdy_stream_end(st, st->fin_sent ? 0 : -ECANCELED);
    spdy_end(s, 0);
}

void spdy_abort(struct spdy *s)
{
    spdy_end(s, -ECANCELED);
}
