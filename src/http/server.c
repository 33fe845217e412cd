/* The server object and its connections: which protocol, how long, and how they end.
 *
 * Timeouts are not timers per connection or request but one sweep per server: requests come and go
 * a hundred thousand times a second, while a timeout may be late by a quarter of itself. The sweep
 * only runs while there are connections. */
#include "http/server_int.h"
#include "base/mem.h"
#include "rt/tls.h"

#include <stdatomic.h>
#include <stdio.h>

static atomic_uint_fast64_t conn_ids = 1;

/* RFC 9113 3.4 */
static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define H2_PREFACE_BYTES 24

struct str server_date(struct http_server *s)
{
    int64_t now = rt_wall(s->rt) / 1000000;

    if (now != s->date_s) {
        struct tm tm;
        time_t t = (time_t)now;

        gmtime_r(&t, &tm);
        /* not strftime's %a and %b: those follow the locale */
        snprintf(s->date, sizeof(s->date), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 &"SunMonTueWedThuFriSat"[3 * tm.tm_wday], tm.tm_mday,
                 &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * tm.tm_mon], tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        s->date_s = now;
    }
    return str_z(s->date);
}

/* ---- life of a connection ---- */

void conn_enter(struct http_conn *c)
{
    c->depth++;
}

static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;

    ASSERT(c->closed && !c->stream && list_empty(&c->reqs));
    if (c->proto)
        c->proto->free(c);
    buf_fini(&c->sniff);
    list_remove(&c->link);
    s->stats.connections--;
    free(c);
    server_maybe_free(s);
}

void conn_leave(struct http_conn *c)
{
    ASSERT(c->depth > 0);
    if (--c->depth == 0 && c->closed)
        conn_free(c);
}

static void conn_detach_all(struct http_conn *c)
{
    struct http_req *r;

    LIST_FOR_EACH (r, &c->reqs, link)
        req_detach(r);
    c->closed = true;
}

void conn_close(struct http_conn *c)
{
    if (c->closed)
        return;
    conn_enter(c);
    conn_detach_all(c);
    if (c->stream)
        rt_stream_close(TAKE_PTR(c->stream), NULL, NULL);
    conn_leave(c);
}

void conn_finish(struct http_conn *c)
{
    if (c->closed)
        return;
    conn_enter(c);
    conn_detach_all(c);
    if (c->stream)
        rt_stream_finish(TAKE_PTR(c->stream), LINGER, NULL, NULL);
    conn_leave(c);
}

struct rt_stream *conn_release_stream(struct http_conn *c)
{
    struct rt_stream *st = TAKE_PTR(c->stream);

    ASSERT(st && !c->closed);
    rt_stream_read_stop(st);
    rt_stream_set_handler(st, NULL, NULL);
    conn_enter(c);
    conn_detach_all(c);
    conn_leave(c);
    return st;
}

void conn_write(struct http_conn *c, struct buf *b)
{
    c->written += b->n;
    c->server->stats.bytes_out += b->n;
    rt_stream_write_buf(c->stream, b);
}

void conn_write_bytes(struct http_conn *c, struct http_bytes b)
{
    c->written += b.n;
    c->server->stats.bytes_out += b.n;
    stream_write_bytes(c->stream, b);
}

/* ---- which protocol ---- */

static void conn_set_proto(struct http_conn *c, const struct http_proto *p)
{
    struct str rest = buf_str(&c->sniff);
    struct buf sniff = c->sniff;

    c->sniff = (struct buf){0};
    c->proto = p;
    if (rest.n)
        p->data(c, rest);
    buf_fini(&sniff);
}

static void conn_sniff(struct http_conn *c, struct str data)
{
    size_t n;

    buf_add_str(&c->sniff, data);
    n = MIN(c->sniff.n, (size_t)H2_PREFACE_BYTES);
    if (memcmp(c->sniff.data, h2_preface, n) != 0)
        conn_set_proto(c, &h1_proto);
    else if (n == H2_PREFACE_BYTES)
        conn_set_proto(c, &h2_proto);
}

static void on_data(void *arg, struct str data)
{
    struct http_conn *c = arg;

    conn_enter(c);
    c->server->stats.bytes_in += data.n;
    if (c->proto)
        c->proto->data(c, data);
    else
        conn_sniff(c, data);
    conn_leave(c);
}

static void on_eof(void *arg)
{
    struct http_conn *c = arg;

    conn_enter(c);
    if (c->proto)
        c->proto->eof(c);
    else
        conn_close(c);
    conn_leave(c);
}

static void on_error(void *arg, int err)
{
    (void)err;
    conn_close(arg);
}

static void on_drain(void *arg)
{
    struct http_conn *c = arg;

    conn_enter(c);
    if (c->proto)
        c->proto->drain(c);
    conn_leave(c);
}

static const struct rt_stream_handler conn_handler = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
};

/* ---- timeouts ---- */

static void conn_check(struct http_conn *c, nsec_t now)
{
    struct http_server *s = c->server;
    size_t queued = rt_stream_queued_bytes(c->stream);
    uint64_t sent = c->written > queued ? c->written - queued : 0;

    if (!queued || sent != c->sent) {
        c->sent = sent;
        c->progress = now;
    }
    if (now - c->progress > s->opts.write_timeout_ms * NSEC_PER_MSEC) {
        s->stats.timeouts++;
        conn_close(c);
        return;
    }
    if (!c->proto && now - c->accepted > s->opts.head_timeout_ms * NSEC_PER_MSEC) {
        s->stats.timeouts++;
        conn_close(c);
        return;
    }
    if (c->proto)
        c->proto->check(c, now);
}

static void sweep(void *arg)
{
    struct http_server *s = arg;
    struct http_conn *c;

    LIST_FOR_EACH (c, &s->conns, link) {
        if (c->closed)
            continue;
        conn_enter(c);
        conn_check(c, rt_now(s->rt));
        conn_leave(c);
    }
    if (!list_empty(&s->conns))
        rt_timer_start(&s->sweep, s->sweep_every);
}

/* ---- the server ---- */

static void drained_now(void *arg)
{
    struct http_server *s = arg;
    void (*fn)(void *) = TAKE_PTR(s->on_drained);

    if (fn)
        fn(s->drained_arg);
}

static void drain_cut(void *arg)
{
    struct http_server *s = arg;
    struct http_conn *c;

    LIST_FOR_EACH (c, &s->conns, link)
        conn_close(c);
    rt_task_schedule(&s->drained);
}

#define DEFAULT(o, field, v) ((o)->field = (o)->field ? (o)->field : (v))

static void opts_defaults(struct http_server_opts *o)
{
    DEFAULT(o, head_bytes_max, 65536);
    DEFAULT(o, headers_max, 128);
    DEFAULT(o, body_bytes_max, 16 << 20);
    DEFAULT(o, h2_streams_max, 250);
    DEFAULT(o, h2_window_bytes, 256 * 1024);
    DEFAULT(o, stream_queue_bytes_max, 16 << 20);
    DEFAULT(o, connections_max, 4096);
    DEFAULT(o, head_timeout_ms, 10000);
    DEFAULT(o, body_timeout_ms, 30000);
    DEFAULT(o, idle_timeout_ms, 120000);
    DEFAULT(o, write_timeout_ms, 60000);
    DEFAULT(o, gzip_bytes_min, 128 * 1024);
    DEFAULT(o, gzip_bytes_max, 64 << 20);
}

struct http_server *http_server_new(struct rt *rt, const struct http_server_opts *opts,
                                    http_handler_fn handler, void *arg)
{
    struct http_server *s = NEW(struct http_server);
    int64_t least;

    ASSERT(rt && handler);
    s->rt = rt;
    if (opts)
        s->opts = *opts;
    opts_defaults(&s->opts);
    s->handler = handler;
    s->arg = arg;
    s->date_s = INT64_MIN;
    least = MIN(MIN(s->opts.head_timeout_ms, s->opts.body_timeout_ms),
                MIN(s->opts.idle_timeout_ms, s->opts.write_timeout_ms));
    s->sweep_every = CLAMP(least / 4, 5, 1000) * NSEC_PER_MSEC;
    list_init(&s->conns);
    list_init(&s->free_reqs);
    rt_timer_init(&s->sweep, rt, sweep, s);
    rt_timer_init(&s->drain_timer, rt, drain_cut, s);
    rt_task_init(&s->drained, rt, drained_now, s);
    return s;
}

void http_server_accept(struct http_server *s, struct rt_stream *stream)
{
    const struct rt_tls_info *tls = rt_tls_info(stream);
    struct http_conn *c;

    ASSERT(!s->dead);
    s->stats.accepted++;
    if (s->draining || s->stats.connections >= s->opts.connections_max) {
        rt_stream_close(stream, NULL, NULL);
        return;
    }
    c = NEW(struct http_conn);
    c->server = s;
    c->stream = stream;
    c->id = atomic_fetch_add_explicit(&conn_ids, 1, memory_order_relaxed);
    c->tls = tls != NULL;
    c->accepted = c->idle_since = c->progress = rt_now(s->rt);
    snprintf(c->peer, sizeof(c->peer), "%s", rt_stream_peer(stream));
    list_init(&c->reqs);
    list_init(&c->link);
    list_push_back(&s->conns, &c->link);
    s->stats.connections++;
    rt_stream_set_handler(stream, &conn_handler, c);
    rt_stream_read_start(stream);
    if (tls && str_is(tls->alpn, "h2"))
        c->proto = &h2_proto;
    else if (tls && str_is(tls->alpn, "http/1.1"))
        c->proto = &h1_proto;
    if (!rt_timer_active(&s->sweep))
        rt_timer_start(&s->sweep, s->sweep_every);
}

void http_server_drain(struct http_server *s, int64_t timeout_ms, void (*on_drained)(void *arg),
                       void *arg)
{
    struct http_conn *c;

    ASSERT(!s->draining);
    s->draining = true;
    s->on_drained = on_drained;
    s->drained_arg = arg;
    LIST_FOR_EACH (c, &s->conns, link) {
        if (c->closed)
            continue;
        conn_enter(c);
        c->draining = true;
        if (c->proto)
            c->proto->shutdown(c);
        else
            conn_close(c);
        conn_leave(c);
    }
    if (list_empty(&s->conns))
        rt_task_schedule(&s->drained);
    else
        rt_timer_start(&s->drain_timer, timeout_ms * NSEC_PER_MSEC);
}

void server_maybe_free(struct http_server *s)
{
    struct http_req *r;

    if (!list_empty(&s->conns))
        return;
    rt_timer_stop(&s->sweep);
    if (s->draining && rt_timer_active(&s->drain_timer)) {
        rt_timer_stop(&s->drain_timer);
        rt_task_schedule(&s->drained);
    }
    if (!s->dead || s->n_reqs)
        return;
    LIST_FOR_EACH (r, &s->free_reqs, link) {
        arena_fini(&r->pub.arena);
        free(r);
    }
    rt_task_cancel(&s->drained);
    rt_timer_stop(&s->drain_timer);
    free(s);
}

struct http_server *http_server_free(struct http_server *s)
{
    struct http_conn *c;

    if (!s)
        return NULL;
    ASSERT(!s->dead);
    s->on_drained = NULL;
    s->n_reqs++; /* holds s together while its connections go */
    s->dead = true;
    LIST_FOR_EACH (c, &s->conns, link)
        conn_close(c);
    s->n_reqs--;
    server_maybe_free(s);
    return NULL;
}

void http_server_get_stats(const struct http_server *s, struct http_server_stats *ret)
{
    *ret = s->stats;
    ret->requests_open = s->n_reqs;
}
