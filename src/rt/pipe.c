/* A tunnel: two streams copied into each other. The API server carries exec, attach and
 * port-forward to nodes this way. Each direction stops reading while the other side is congested,
 * and an end of file passes through as a half close. */
#include "rt/stream.h"
#include "base/mem.h"

#define LINGER (5 * NSEC_PER_SEC) /* for last bytes to a peer that is slow to take them */

struct side {
    struct rt_pipe *pipe;
    struct rt_stream *s;
    struct side *other;
    uint64_t bytes; /* read from s */
    bool eof;
};

struct rt_pipe {
    struct side a, b;
    nsec_t idle;
    struct rt_timer timer;
    rt_pipe_fn fn;
    void *arg;
    int err;
    int open; /* streams not yet closed */
    bool ending, cancelled;
};

static void on_closed(void *arg)
{
    struct rt_pipe *p = arg;

    if (--p->open > 0)
        return;
    if (p->fn && !p->cancelled)
        p->fn(p->arg, p->err, p->a.bytes, p->b.bytes);
    free(p);
}

/* What is on its way to a living peer still gets there; `dead` is the side that failed, if one did.
 */
static void end(struct rt_pipe *p, int err, struct side *dead)
{
    struct side *sides[] = {&p->a, &p->b};

    if (p->ending)
        return;
    p->ending = true;
    p->err = err;
    rt_timer_stop(&p->timer);
    for (int i = 0; i < 2; i++)
        if (sides[i] == dead || p->cancelled)
            rt_stream_close(sides[i]->s, on_closed, p);
        else
            rt_stream_finish(sides[i]->s, LINGER, on_closed, p);
}

static void moved(struct rt_pipe *p)
{
    if (p->idle)
        rt_timer_start(&p->timer, p->idle);
}

static void on_data(void *arg, struct str data)
{
    struct side *from = arg, *to = from->other;

    from->bytes += data.n;
    moved(from->pipe);
    rt_stream_write(to->s, data);
    if (rt_stream_congested(to->s))
        rt_stream_read_stop(from->s);
}

static void on_eof(void *arg)
{
    struct side *from = arg;

    from->eof = true;
    moved(from->pipe);
    rt_stream_shutdown(from->other->s);
    if (from->other->eof)
        end(from->pipe, 0, NULL);
}

static void on_error(void *arg, int err)
{
    struct side *s = arg;

    end(s->pipe, err, s);
}

static void on_drain(void *arg)
{
    struct side *to = arg;

    moved(to->pipe);
    rt_stream_read_start(to->other->s);
}

static void on_idle(void *arg)
{
    end(arg, -ETIMEDOUT, NULL);
}

static const struct rt_stream_handler handler = {
    .on_data = on_data, .on_eof = on_eof, .on_error = on_error, .on_drain = on_drain};

struct rt_pipe *rt_stream_pipe(struct rt_stream *a, struct rt_stream *b, nsec_t idle, rt_pipe_fn fn,
                               void *arg)
{
    struct rt_pipe *p = NEW(struct rt_pipe);

    ASSERT(rt_stream_rt(a) == rt_stream_rt(b));
    *p = (struct rt_pipe){.idle = idle, .fn = fn, .arg = arg, .open = 2};
    p->a = (struct side){.pipe = p, .s = a, .other = &p->b};
    p->b = (struct side){.pipe = p, .s = b, .other = &p->a};
    rt_timer_init(&p->timer, rt_stream_rt(a), on_idle, p);
    rt_stream_set_handler(a, &handler, &p->a);
    rt_stream_set_handler(b, &handler, &p->b);
    moved(p);
    rt_stream_read_start(a);
    rt_stream_read_start(b);
    return p;
}

struct rt_pipe *rt_pipe_cancel(struct rt_pipe *p)
{
    if (!p)
        return NULL;
    p->cancelled = true;
    end(p, -ECANCELED, NULL);
    return NULL;
}
