/* Queries over TCP (RFC 7766): two bytes of length before each message, several at a time, answered
 * as they are ready. A connection that asks too much at once is not read until its answers are out;
 * when there are too many, the one idle for longest makes room. */
#include "net/dns/server.h"

#include "base/mem.h"

struct dns_conn *dns_conn_ref(struct dns_conn *c)
{
    c->refs++;
    return c;
}

void dns_conn_unref(struct dns_conn *c)
{
    ASSERT(c->refs);
    if (--c->refs)
        return;
    ASSERT(!c->s);
    buf_fini(&c->in);
    free(c);
}

static void conn_close(struct dns_conn *c, bool politely)
{
    struct rt_stream *s = c->s;

    if (!s)
        return;
    c->s = NULL;
    rt_timer_stop(&c->idle);
    list_remove(&c->link);
    c->d->n_conns--;
    if (politely)
        rt_stream_flush(s); /* what the kernel does not take now, the peer does not read either */
    rt_stream_close(s, NULL, NULL);
    dns_conn_unref(c);
}

static void settle(struct dns_conn *c);

static void answered(struct dns_conn *c)
{
    ASSERT(c->inflight);
    c->inflight--;
    if (c->s)
        settle(c);
}

void dns_conn_answer(struct dns_conn *c, char *frame, size_t n)
{
    if (c->s)
        rt_stream_write_take(c->s, frame, n);
    else
        free(frame);
    answered(c);
}

void dns_conn_skip(struct dns_conn *c)
{
    answered(c);
}

/* Reads on or not, and ends when nothing is left to do. */
static void settle(struct dns_conn *c)
{
    if (c->eof && !c->inflight) {
        conn_close(c, true);
        return;
    }
    bool busy = c->inflight >= DNS_TCP_INFLIGHT_MAX || rt_stream_congested(c->s);
    if (busy)
        rt_stream_read_stop(c->s);
    else
        rt_stream_read_start(c->s);
    rt_timer_start(&c->idle, DNS_TCP_IDLE_S * NSEC_PER_SEC);
    list_remove(&c->link);
    list_push_front(&c->d->conns, &c->link);
}

static void on_data(void *arg, struct str data)
{
    struct dns_conn *c = arg;

    dns_conn_ref(c);
    buf_add_str(&c->in, data);
    size_t at = 0;
    while (c->s && c->in.n - at >= 2) {
        const uint8_t *p = (const uint8_t *)c->in.data + at;
        size_t n = dns_u16(p);
        if (n > DNS_QUERY_MAX) {
            conn_close(c, false);
            break;
        }
        if (c->in.n - at < 2 + n)
            break;
        if (c->inflight >= DNS_TCP_INFLIGHT_MAX) {
            /* The rest comes again when there is room. */
            rt_stream_read_stop(c->s);
            rt_stream_unread(c->s, (struct str){(const char *)p, c->in.n - at});
            at = c->in.n;
            break;
        }
        at += 2 + n;
        c->inflight++;
        if (!dns_serve(c->d, &(struct dns_asker){.conn = c},
                       (struct str){(const char *)p + 2, n})) {
            c->inflight--;
            conn_close(c, false);
        }
    }
    buf_consume(&c->in, at);
    if (c->s && c->in.n == 0 && at)
        buf_fini(&c->in); /* an idle connection holds nothing */
    dns_conn_unref(c);
}

static void on_eof(void *arg)
{
    struct dns_conn *c = arg;

    c->eof = true;
    settle(c);
}

static void on_error(void *arg, int err)
{
    conn_close(arg, false);
}

static void on_drain(void *arg)
{
    settle(arg);
}

static void on_idle(void *arg)
{
    conn_close(arg, false);
}

void dns_conn_accept(struct dns *d, int fd)
{
    static const struct rt_stream_handler handler = {
        .on_data = on_data, .on_eof = on_eof, .on_error = on_error, .on_drain = on_drain};
    struct rt_stream *s;

    if (d->n_conns >= DNS_TCP_CONNS_MAX)
        conn_close(CONTAINER_OF(d->conns.prev, struct dns_conn, link), false);
    if (rt_stream_from_fd(d->rt, fd, &s) < 0)
        return;
    struct dns_conn *c = NEW(struct dns_conn);
    *c = (struct dns_conn){.d = d, .s = s, .refs = 1};
    list_init(&c->link);
    list_push_front(&d->conns, &c->link);
    d->n_conns++;
    rt_timer_init(&c->idle, d->rt, on_idle, c);
    rt_timer_start(&c->idle, DNS_TCP_IDLE_S * NSEC_PER_SEC);
    rt_stream_set_handler(s, &handler, c);
    rt_stream_read_start(s);
}

void dns_conns_close(struct dns *d)
{
    while (!list_empty(&d->conns))
        conn_close(LIST_FIRST(&d->conns, struct dns_conn, link), false);
}
