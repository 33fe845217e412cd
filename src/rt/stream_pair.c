/* Two streams joined in memory, for tests, the simulator, and parts of one process that talk HTTP
 * to each other. Bytes move by a task, so that, as with a socket, nothing is read inside the call
 * that wrote. */
#include "rt/stream_impl.h"
#include "base/mem.h"

#define PIECE_BYTES       (64 * 1024)  /* nobody should expect larger pieces than from a socket */
#define MOVE_BYTES_A_TURN (256 * 1024) /* as much as a socket would take at once */

struct pair_end {
    struct rt_stream s;
    struct pair_end *peer; /* NULL once that is closed */
    struct rt_task move;   /* carries our out to the peer */
};

static struct pair_end *end_of(const struct rt_stream *s)
{
    return CONTAINER_OF(s, struct pair_end, s);
}

/* Delivers the oldest block. It is taken out of the queue meanwhile, so the bytes stay valid
 * whatever the reader does to either end. Returns what was moved. */
static size_t move_chunk(struct pair_end *e)
{
    struct rt_chunk *c = e->s.out.head;
    struct pair_end *peer = e->peer;
    size_t moved = 0;

    e->s.out.head = c->next;
    if (!c->next)
        e->s.out.tail = NULL;
    e->s.out.bytes -= c->n;
    c->next = NULL;
    while (c->n > 0 && !peer->s.closing && peer->s.reading) {
        size_t n = MIN(c->n, (size_t)PIECE_BYTES);
        const char *p = c->p;
        c->p += n;
        c->n -= n;
        moved += n;
        rt_stream_deliver_data(&peer->s, (struct str){p, n});
    }
    if (c->n > 0 && e->peer && !e->s.closing && !e->s.error) {
        c->next = e->s.out.head;
        e->s.out.head = c;
        if (!e->s.out.tail)
            e->s.out.tail = c;
        e->s.out.bytes += c->n;
        return moved;
    }
    if (c->n > 0 && !e->s.closing && !e->s.error)
        rt_stream_deliver_error(&e->s, -EPIPE); /* the reader closed in the middle */
    if (c->release)
        c->release(c->arg);
    free(c);
    return moved;
}

static void move(void *arg)
{
    struct pair_end *e = arg;
    size_t moved = 0;

    if (e->s.error)
        return;
    while (e->s.out.bytes > 0 && e->peer && e->peer->s.reading && moved < MOVE_BYTES_A_TURN) {
        moved += move_chunk(e);
        if (e->s.closing || e->s.error)
            return;
    }
    if (e->s.out.bytes > 0 && !e->peer) {
        rt_stream_deliver_error(&e->s, -EPIPE);
        return;
    }
    rt_stream_progress(&e->s);
    if (e->s.out.bytes > 0 && e->peer->s.reading)
        rt_task_schedule(&e->move);
}

static void pair_kick(struct rt_stream *s)
{
    rt_task_schedule(&end_of(s)->move);
}

static void pair_flush(struct rt_stream *s)
{
    pair_kick(s);
}

static void pair_read_start(struct rt_stream *s)
{
    struct pair_end *e = end_of(s);

    if (e->peer && e->peer->s.out.bytes > 0)
        rt_task_schedule(&e->peer->move);
}

static void pair_read_stop(struct rt_stream *s)
{
}

/* The peer's task tells the end: never from inside our call. */
static void say_end(struct pair_end *peer)
{
    peer->s.eof = true;
    rt_task_schedule(&peer->s.task);
}

static void pair_shutdown(struct rt_stream *s)
{
    struct pair_end *e = end_of(s);

    if (e->peer && !e->peer->s.eof)
        say_end(e->peer);
}

static void pair_close(struct rt_stream *s)
{
    struct pair_end *e = end_of(s), *peer = e->peer;

    rt_task_cancel(&e->move);
    if (!peer)
        return;
    e->peer = peer->peer = NULL;
    /* As a socket: unsent or unread bytes turn the end into a reset. */
    if (s->out.bytes > 0)
        rt_stream_deliver_error(&peer->s, -ECONNRESET);
    else if (!peer->s.eof)
        say_end(peer);
    if (peer->s.out.bytes > 0)
        rt_task_schedule(&peer->move);
}

static const char *pair_name(struct rt_stream *s)
{
    return "pair";
}

static const struct rt_stream_ops pair_ops = {
    .kind = "pair",
    .read_start = pair_read_start,
    .read_stop = pair_read_stop,
    .kick = pair_kick,
    .flush = pair_flush,
    .shutdown = pair_shutdown,
    .close = pair_close,
    .peer = pair_name,
    .local = pair_name,
};

static struct pair_end *end_new(struct rt *rt)
{
    struct pair_end *e = NEW(struct pair_end);

    rt_stream_init(&e->s, rt, &pair_ops);
    rt_task_init(&e->move, rt, move, e);
    return e;
}

void rt_stream_pair(struct rt *rt, struct rt_stream **ret_a, struct rt_stream **ret_b)
{
    struct pair_end *a = end_new(rt), *b = end_new(rt);

    a->peer = b;
    b->peer = a;
    *ret_a = &a->s;
    *ret_b = &b->s;
}
