/* What all streams have in common: callbacks that never come from inside a call, end and error told
 * once, watermarks, half close after the last byte, the polite end, memory freed in a later turn.
 * Kinds (descriptor, pair, TLS) only move bytes. */
#include "rt/stream_impl.h"
#include "base/mem.h"

#define REF_BYTES_MIN 1024 /* below, copying costs less than a block and a release call */

static void stream_task(void *arg);
static void stream_free(void *arg);
static void linger_over(void *arg);

void rt_stream_init(struct rt_stream *s, struct rt *rt, const struct rt_stream_ops *ops)
{
    s->ops = ops;
    s->rt = rt;
    rt_task_init(&s->task, rt, stream_task, s);
    rt_task_init(&s->closer, rt, stream_free, s);
    rt_timer_init(&s->linger, rt, linger_over, s);
}

void rt_stream_set_handler(struct rt_stream *s, const struct rt_stream_handler *h, void *arg)
{
    ASSERT(!s->closing);
    s->h = h;
    s->arg = arg;
    if (s->error && !s->error_said)
        rt_task_schedule(&s->task);
}

/* ---- reading ---- */

void rt_stream_read_start(struct rt_stream *s)
{
    ASSERT(!s->closing && s->h);
    if (s->reading || s->error)
        return;
    s->reading = true;
    if (s->unread.n || s->eof)
        rt_task_schedule(&s->task);
    if (!s->eof)
        s->ops->read_start(s);
}

void rt_stream_read_stop(struct rt_stream *s)
{
    ASSERT(!s->closing);
    if (!s->reading)
        return;
    s->reading = false;
    if (!s->eof)
        s->ops->read_stop(s);
}

bool rt_stream_is_reading(const struct rt_stream *s)
{
    return s->reading;
}

void rt_stream_unread(struct rt_stream *s, struct str data)
{
    struct buf b = {0};

    ASSERT(!s->closing);
    if (data.n == 0)
        return;
    buf_add_str(&b, data);
    buf_add_str(&b, buf_str(&s->unread));
    buf_fini(&s->unread);
    s->unread = b;
    if (s->reading)
        rt_task_schedule(&s->task);
}

/* Hands out what was kept back. False when the stream must not be touched further. */
static bool deliver_unread(struct rt_stream *s)
{
    if (s->unread.n && s->reading) {
        struct buf b = s->unread;
        s->unread = (struct buf){0};
        s->h->on_data(s->arg, buf_str(&b));
        buf_fini(&b);
    }
    return !s->closing;
}

void rt_stream_deliver_data(struct rt_stream *s, struct str data)
{
    ASSERT(!s->closing && data.n > 0);
    if (!deliver_unread(s))
        return;
    if (s->reading && !s->unread.n)
        s->h->on_data(s->arg, data);
    else
        buf_add_str(&s->unread, data); /* stopped in between; bounded by what one read brings */
}

static void say_eof(struct rt_stream *s)
{
    if (s->eof_said || s->unread.n || !s->reading)
        return;
    s->eof_said = true;
    if (s->h->on_eof)
        s->h->on_eof(s->arg);
}

void rt_stream_deliver_eof(struct rt_stream *s)
{
    ASSERT(!s->closing);
    if (s->eof)
        return;
    s->eof = true;
    if (deliver_unread(s))
        say_eof(s);
}

void rt_stream_deliver_error(struct rt_stream *s, int err)
{
    ASSERT(!s->closing && err < 0);
    if (s->error)
        return;
    s->error = err;
    if (s->reading) {
        s->reading = false;
        if (!s->eof)
            s->ops->read_stop(s);
    }
    rt_wqueue_clear(&s->out);
    rt_task_schedule(&s->task);
}

static void stream_task(void *arg)
{
    struct rt_stream *s = arg;

    if (s->error) {
        if (!s->error_said && s->h && s->h->on_error) {
            s->error_said = true;
            s->h->on_error(s->arg, s->error);
        }
        return;
    }
    if (!deliver_unread(s))
        return;
    if (s->eof)
        say_eof(s);
    if (!s->closing && s->want_drain) {
        s->want_drain = false;
        if (s->h && s->h->on_drain)
            s->h->on_drain(s->arg);
    }
}

/* ---- writing ---- */

static bool may_write(struct rt_stream *s)
{
    ASSERT(!s->closing);
    return !s->error && !s->shut; /* it is often a peer who says "end" and then goes on talking */
}

static void wrote(struct rt_stream *s)
{
    if (!s->congested && rt_stream_queued_bytes(s) > RT_STREAM_HIGH_BYTES)
        s->congested = true;
    s->ops->kick(s);
}

void rt_stream_write(struct rt_stream *s, struct str data)
{
    if (!may_write(s) || data.n == 0)
        return;
    rt_wqueue_copy(&s->out, data);
    wrote(s);
}

void rt_stream_write_take(struct rt_stream *s, char *data, size_t n)
{
    rt_stream_write_ref(s, (struct str){data, n}, free, data);
}

void rt_stream_write_ref(struct rt_stream *s, struct str data, rt_fn release, void *arg)
{
    if (!may_write(s) || data.n == 0) {
        if (release)
            release(arg);
        return;
    }
    if (data.n < REF_BYTES_MIN) {
        rt_wqueue_copy(&s->out, data);
        if (release)
            release(arg);
    } else {
        rt_wqueue_ref(&s->out, data, release, arg);
    }
    wrote(s);
}

void rt_stream_write_buf(struct rt_stream *s, struct buf *b)
{
    if (b->n < REF_BYTES_MIN) {
        rt_stream_write(s, buf_str(b));
        buf_clear(b);
    } else {
        size_t n;
        char *p = buf_take(b, &n);
        rt_stream_write_take(s, p, n);
    }
}

size_t rt_stream_queued_bytes(const struct rt_stream *s)
{
    return s->out.bytes + (s->ops->queued_below ? s->ops->queued_below(s) : 0);
}

bool rt_stream_congested(const struct rt_stream *s)
{
    return s->congested;
}

void rt_stream_flush(struct rt_stream *s)
{
    ASSERT(!s->closing);
    if (!s->error)
        s->ops->flush(s);
}

/* The polite end is reached: everything was sent and both sides are done. */
static bool finish_done(struct rt_stream *s)
{
    return s->finishing && s->shut_sent && s->eof_said && rt_stream_queued_bytes(s) == 0;
}

void rt_stream_progress(struct rt_stream *s)
{
    if (s->closing || s->error)
        return;
    if (s->shut && !s->shut_sent && s->out.bytes == 0) {
        s->shut_sent = true;
        s->ops->shutdown(s);
        if (s->closing || s->error)
            return;
    }
    if (s->congested && rt_stream_queued_bytes(s) <= RT_STREAM_LOW_BYTES) {
        s->congested = false;
        s->want_drain = true;
        rt_task_schedule(&s->task);
    }
    if (finish_done(s))
        rt_timer_start(&s->linger, 0);
    if (s->on_progress)
        s->on_progress(s->progress_arg);
}

void rt_stream_shutdown(struct rt_stream *s)
{
    ASSERT(!s->closing);
    if (s->shut || s->error)
        return;
    s->shut = true;
    rt_stream_progress(s);
}

/* ---- closing ---- */

static void stream_free(void *arg)
{
    struct rt_stream *s = arg;
    rt_fn fn = s->on_closed;
    void *fn_arg = s->closed_arg;

    free(s);
    if (fn)
        fn(fn_arg);
}

static void close_now(struct rt_stream *s)
{
    s->closing = true;
    s->reading = false;
    rt_task_cancel(&s->task);
    rt_timer_stop(&s->linger);
    s->ops->close(s);
    rt_wqueue_clear(&s->out);
    buf_fini(&s->unread);
    rt_task_schedule(&s->closer);
}

void rt_stream_close(struct rt_stream *s, rt_fn on_closed, void *arg)
{
    ASSERT(!s->closing && !s->finishing);
    s->on_closed = on_closed;
    s->closed_arg = arg;
    close_now(s);
}

static void linger_over(void *arg)
{
    close_now(arg);
}

static void finish_data(void *arg, struct str data)
{
}

static void finish_eof(void *arg)
{
    struct rt_stream *s = arg;

    if (finish_done(s))
        close_now(s);
}

static void finish_error(void *arg, int err)
{
    close_now(arg);
}

static const struct rt_stream_handler finish_handler = {
    .on_data = finish_data, .on_eof = finish_eof, .on_error = finish_error};

void rt_stream_finish(struct rt_stream *s, nsec_t linger, rt_fn on_closed, void *arg)
{
    ASSERT(!s->closing && !s->finishing);
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (s->error || (s->eof_said && s->shut_sent && rt_stream_queued_bytes(s) == 0)) {
        close_now(s);
        return;
    }
    rt_stream_set_handler(s, &finish_handler, s);
    s->finishing = true;
    rt_timer_start(&s->linger, linger);
    rt_stream_shutdown(s);
    rt_stream_read_start(s);
}

/* ---- about it ---- */

struct rt *rt_stream_rt(const struct rt_stream *s)
{
    return s->rt;
}

const char *rt_stream_peer(struct rt_stream *s)
{
    return s->ops->peer(s);
}

const char *rt_stream_local(struct rt_stream *s)
{
    return s->ops->local(s);
}

int rt_stream_fd(const struct rt_stream *s)
{
    return s->ops->fd ? s->ops->fd(s) : -1;
}

const char *rt_stream_kind(const struct rt_stream *s)
{
    return s->ops->kind;
}
