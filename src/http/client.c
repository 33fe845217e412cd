/* The client's pool: opens connections when calls wait, spreads calls over them, ends them when
 * they idle or die.
 *
 * While it is not known whether the peer speaks HTTP/2 only one connection is being opened: most
 * often it turns out to be enough for everything. */
#include "http/client_int.h"
#include "base/mem.h"
#include "rt/tls.h"

#define CONNS_MAX 8

void client_dispatch_later(struct http_client *c)
{
    rt_task_schedule(&c->dispatch);
}

/* ---- connections ---- */

void cconn_enter(struct cconn *c)
{
    c->depth++;
}

static void cconn_free(struct cconn *c)
{
    struct http_client *cl = c->client;

    ASSERT(c->closed && !c->n_calls);
    if (c->proto)
        c->proto->free(c);
    rt_timer_stop(&c->timer);
    rt_task_cancel(&c->dial);
    list_remove(&c->link);
    if (!c->solo)
        cl->n_conns--;
    free(c);
    client_maybe_free(cl);
}

void cconn_leave(struct cconn *c)
{
    ASSERT(c->depth > 0);
    if (--c->depth == 0 && c->closed)
        cconn_free(c);
}

struct rt_stream *cconn_release_stream(struct cconn *c)
{
    struct rt_stream *s = TAKE_PTR(c->stream);

    rt_stream_read_stop(s);
    rt_stream_set_handler(s, NULL, NULL);
    return s;
}

/* Could not connect: nobody in line will do better, unless another connection can take them. */
static void fail_waiting(struct http_client *cl, int err, const char *what)
{
    struct http_call *call;
    struct cconn *c;

    LIST_FOR_EACH (c, &cl->conns, link)
        if (c->ready && !c->closing && !c->solo)
            return;
    LIST_FOR_EACH (call, &cl->waiting, link) {
        list_remove(&call->link);
        call->waiting = false;
        cl->n_waiting--;
        call_fail(call, err, what);
    }
}

void cconn_close(struct cconn *c, int err, const char *what)
{
    struct http_client *cl = c->client;
    struct http_call *call;

    if (c->closed)
        return;
    cconn_enter(c);
    c->closed = c->closing = true;
    c->connecting = rt_connect_cancel(c->connecting);
    rt_task_cancel(&c->dial);
    rt_timer_stop(&c->timer);
    LIST_FOR_EACH (call, &c->calls, link) {
        call_leave_conn(call);
        if (!call_retry(call))
            call_fail(call, err, what);
    }
    if (c->stream)
        rt_stream_close(TAKE_PTR(c->stream), NULL, NULL);
    if (!c->ready && !c->solo)
        fail_waiting(cl, err, what);
    else if (!cl->dead)
        client_dispatch_later(cl);
    cconn_leave(c);
}

static const char *err_text(int err)
{
    switch (err) {
    case -ETIMEDOUT:
        return "timed out";
    case -ECONNREFUSED:
        return "connection refused";
    case -ECONNRESET:
    case -EPIPE:
        return "connection reset by the peer";
    case -ENOENT:
        return "no such host";
    default:
        return strerror(-err);
    }
}

static void on_data(void *arg, struct str data)
{
    struct cconn *c = arg;

    cconn_enter(c);
    c->last_read = rt_now(c->client->rt);
    c->pinging = false;
    c->proto->data(c, data);
    cconn_leave(c);
}

static void on_eof(void *arg)
{
    struct cconn *c = arg;

    cconn_enter(c);
    c->proto->eof(c);
    cconn_leave(c);
}

static void on_error(void *arg, int err)
{
    cconn_close(arg, err, err_text(err));
}

static void on_drain(void *arg)
{
    struct cconn *c = arg;

    cconn_enter(c);
    c->proto->drain(c);
    cconn_leave(c);
}

static const struct rt_stream_handler handler = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
};

/* ---- timers of a connection ---- */

static nsec_t next_deadline(const struct cconn *c)
{
    const struct http_client_opts *o = &c->client->opts;

    if (!c->ready)
        return c->since + o->connect_timeout_ms * NSEC_PER_MSEC;
    if (!c->n_calls)
        return c->since + o->idle_timeout_ms * NSEC_PER_MSEC;
    if (!c->proto->ping || o->ping_interval_ms < 0)
        return 0;
    if (c->pinging)
        return c->ping_sent + o->ping_timeout_ms * NSEC_PER_MSEC;
    return c->last_read + o->ping_interval_ms * NSEC_PER_MSEC;
}

void cconn_arm(struct cconn *c)
{
    nsec_t at;

    if (c->closed)
        return;
    if (c->n_calls == 0 && (c->solo || (c->ready && c->closing))) {
        cconn_close(c, -ECONNRESET, "connection ended");
        return;
    }
    at = next_deadline(c);
    if (at)
        rt_timer_start_at(&c->timer, at);
    else
        rt_timer_stop(&c->timer);
}

static void on_timer(void *arg)
{
    struct cconn *c = arg;
    nsec_t at = next_deadline(c), now = rt_now(c->client->rt);

    if (!at)
        return;
    if (now < at) {
        rt_timer_start_at(&c->timer, at);
    } else if (!c->ready) {
        cconn_close(c, -ETIMEDOUT, "could not connect in time");
    } else if (!c->n_calls) {
        cconn_close(c, -ETIMEDOUT, "idle");
    } else if (c->pinging) {
        cconn_close(c, -ETIMEDOUT, "the peer does not answer pings");
    } else {
        cconn_enter(c);
        c->pinging = true;
        c->ping_sent = now;
        c->proto->ping(c);
        cconn_leave(c);
        cconn_arm(c);
    }
}

/* ---- opening ---- */

static void conn_ready(struct cconn *c, int version)
{
    struct http_call *solo = c->solo;

    c->proto = version == 2 ? &h2_cproto : &h1_cproto;
    c->ready = true;
    if (!c->solo)
        c->client->version = version;
    c->since = c->last_read = rt_now(c->client->rt);
    cconn_enter(c);
    rt_stream_set_handler(c->stream, &handler, c);
    rt_stream_read_start(c->stream);
    c->proto->open(c);
    if (solo) /* it waited here */
        c->proto->start(solo);
    cconn_leave(c);
    cconn_arm(c);
    client_dispatch_later(c->client);
}

static void on_tls(void *arg, int err)
{
    struct cconn *c = arg;
    const struct rt_tls_info *info;
    bool h2;

    if (err) {
        const char *why = rt_tls_failure(c->stream);
        char text[100];

        snprintf(text, sizeof(text), "TLS: %s", *why ? why : err_text(err));
        cconn_close(c, err, text);
        return;
    }
    info = rt_tls_info(c->stream);
    h2 = str_is(info->alpn, "h2");
    if (c->client->opts.protocol == HTTP_CLIENT_HTTP2 && !h2 && !c->solo)
        cconn_close(c, -EPROTO, "the server does not speak HTTP/2");
    else
        conn_ready(c, h2 ? 2 : 1);
}

static void on_connect(void *arg, struct rt_stream *s, int err)
{
    static const char *const both[] = {"h2", "http/1.1", NULL};
    static const char *const only1[] = {"http/1.1", NULL};
    static const char *const only2[] = {"h2", NULL};
    struct cconn *c = arg;
    struct http_client *cl = c->client;
    const char *const *alpn = both;

    c->connecting = NULL;
    if (!s) {
        cconn_close(c, err, err_text(err));
        return;
    }
    if (!cl->tls) {
        c->stream = s;
        conn_ready(c, cl->opts.protocol == HTTP_CLIENT_HTTP2 && !c->solo ? 2 : 1);
        return;
    }
    if (c->solo || cl->opts.protocol == HTTP_CLIENT_HTTP1)
        alpn = only1;
    else if (cl->opts.protocol == HTTP_CLIENT_HTTP2)
        alpn = only2;
    c->stream = rt_tls_connect_alpn(cl->tls, s, cl->server_name, alpn, on_tls, c);
}

static void on_dial(void *arg)
{
    struct cconn *c = arg;
    struct rt_stream *s = c->client->opts.dial(c->client->opts.dial_arg);

    on_connect(c, s, s ? 0 : -ECONNREFUSED);
}

static struct cconn *conn_new(struct http_client *cl, struct http_call *solo)
{
    struct cconn *c = NEW(struct cconn);
    struct rt_connect_opts o = {
        .addr = cl->addr,
        .timeout = cl->opts.connect_timeout_ms * NSEC_PER_MSEC,
    };

    c->client = cl;
    list_init(&c->calls);
    list_init(&c->link);
    list_push_back(&cl->conns, &c->link);
    c->solo = solo;
    c->since = rt_now(cl->rt);
    rt_timer_init(&c->timer, cl->rt, on_timer, c);
    if (solo) {
        solo->conn = c;
        list_push_back(&c->calls, &solo->link);
        c->n_calls++;
    } else {
        cl->n_conns++;
    }
    rt_task_init(&c->dial, cl->rt, on_dial, c);
    if (cl->opts.dial)
        rt_task_schedule(&c->dial);
    else
        c->connecting = rt_connect(cl->rt, &o, on_connect, c);
    cconn_arm(c);
    return c;
}

/* ---- spreading calls ---- */

static struct cconn *pick(struct http_client *cl, unsigned *ret_connecting)
{
    struct cconn *c;

    *ret_connecting = 0;
    LIST_FOR_EACH (c, &cl->conns, link) {
        if (c->closing || c->solo)
            continue;
        if (!c->ready)
            ++*ret_connecting;
        else if (c->proto->room(c) > 0)
            return c;
    }
    return NULL;
}

static void dispatch(void *arg)
{
    struct http_client *cl = arg;
    struct http_call *call;
    unsigned connecting, opened = 0;

    LIST_FOR_EACH (call, &cl->waiting, link) {
        struct cconn *c;

        if (call->upgrade) {
            list_remove(&call->link);
            call->waiting = false;
            cl->n_waiting--;
            conn_new(cl, call);
            continue;
        }
        c = pick(cl, &connecting);
        if (c) {
            list_remove(&call->link);
            call->waiting = false;
            cl->n_waiting--;
            cconn_enter(c);
            call_assign(call, c);
            cconn_leave(c);
            continue;
        }
        if (cl->n_conns >= cl->opts.conns_max || connecting >= cl->n_waiting)
            continue;
        if (connecting && cl->version != 1)
            continue;
        if (opened++ < cl->opts.conns_max)
            conn_new(cl, NULL);
    }
}

/* ---- the client ---- */

#define DEFAULT(o, field, v) ((o)->field = (o)->field ? (o)->field : (v))

static void opts_defaults(struct http_client_opts *o)
{
    DEFAULT(o, conns_max, CONNS_MAX);
    DEFAULT(o, waiting_max, 4096);
    DEFAULT(o, head_bytes_max, 65536);
    DEFAULT(o, headers_max, 256);
    DEFAULT(o, connect_timeout_ms, 10000);
    DEFAULT(o, idle_timeout_ms, 90000);
    DEFAULT(o, ping_interval_ms, 15000);
    DEFAULT(o, ping_timeout_ms, 15000);
    DEFAULT(o, h2_window_bytes, 1 << 20);
}

struct http_client *http_client_new(struct rt *rt, const struct http_target *t,
                                    struct rt_tls_client *tls, const struct http_client_opts *opts)
{
    struct http_client *c = NEW(struct http_client);
    bool v6 = t->host && strchr(t->host, ':');

    ASSERT(rt && (t->host || t->unix_path));
    c->rt = rt;
    if (opts)
        c->opts = *opts;
    opts_defaults(&c->opts);
    c->tls = tls ? rt_tls_client_ref(tls) : NULL;
    if (t->unix_path)
        c->addr = xasprintf("unix:%s", t->unix_path);
    else
        c->addr = xasprintf(v6 ? "[%s]:%u" : "%s:%u", t->host, t->port);
    if (t->authority)
        c->authority = xstrdup(t->authority);
    else if (t->unix_path)
        c->authority = xstrdup("localhost");
    else if (t->port == (tls ? 443 : 80))
        c->authority = xasprintf(v6 ? "[%s]" : "%s", t->host);
    else
        c->authority = xstrdup(c->addr);
    c->server_name = xstrdup(t->server_name ? t->server_name : t->host ? t->host : "localhost");
    list_init(&c->conns);
    list_init(&c->waiting);
    rt_task_init(&c->dispatch, rt, dispatch, c);
    return c;
}

void client_maybe_free(struct http_client *c)
{
    if (!c->dead || c->n_calls || !list_empty(&c->conns))
        return;
    rt_task_cancel(&c->dispatch);
    rt_tls_client_unref(c->tls);
    free(c->addr);
    free(c->authority);
    free(c->server_name);
    free(c);
}

struct http_client *http_client_free(struct http_client *cl)
{
    struct http_call *call;
    struct cconn *c;

    if (!cl)
        return NULL;
    ASSERT(!cl->dead);
    cl->dead = true;
    cl->n_calls++; /* holds it while the lists are walked */
    LIST_FOR_EACH (call, &cl->waiting, link) {
        list_remove(&call->link);
        call->waiting = false;
        cl->n_waiting--;
        call_fail(call, -ECANCELED, "the client was closed");
    }
    LIST_FOR_EACH (c, &cl->conns, link)
        cconn_close(c, -ECANCELED, "the client was closed");
    cl->n_calls--;
    client_maybe_free(cl);
    return NULL;
}

void http_client_set_patience(struct http_client *cl, const struct http_client_patience *p)
{
    struct cconn *c;

    cl->opts.connect_timeout_ms = p->connect_timeout_ms;
    cl->opts.ping_interval_ms = p->ping_interval_ms;
    cl->opts.ping_timeout_ms = p->ping_timeout_ms;
    LIST_FOR_EACH (c, &cl->conns, link)
        cconn_arm(c);
}

void http_client_set_tls(struct http_client *cl, struct rt_tls_client *tls)
{
    struct rt_tls_client *old = cl->tls;
    struct cconn *c;

    ASSERT(!cl->tls == !tls); /* the kind of the target does not change */
    cl->tls = tls ? rt_tls_client_ref(tls) : NULL;
    rt_tls_client_unref(old);
    LIST_FOR_EACH (c, &cl->conns, link) {
        if (c->solo || !c->ready)
            continue;
        c->closing = true;
        cconn_arm(c);
    }
}

struct rt *http_client_rt(const struct http_client *c)
{
    return c->rt;
}

unsigned http_client_calls(const struct http_client *c)
{
    return c->n_calls;
}
