/* HTTPS calls to webhooks, on one thread beside the core (outcall.h says why).
 *
 * A struct outcall is made on the core, posted to the thread, and posted back when it is over; the
 * core keeps all of them in a list, so that a server that is freed finds them again. The thread
 * keeps a client with its connections for each server, name and set of authorities; one that is not
 * used for a while goes. HTTP/1.1, as Kubernetes asks webhooks: with HTTP/2 all calls would stay
 * with one of the servers behind an address. */
#include "apiserver/hooks/outcall.h"

#include "apiserver/limits.h"
#include "base/blob.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/client.h"
#include "rt/crypto.h"
#include "rt/tls.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#define POOL_SWEEP  (60 * NSEC_PER_SEC)
#define POOL_UNUSED (300 * NSEC_PER_SEC) /* then its client goes */
#define CONNECT_MS  5000                 /* leaves half of a usual timeout for the next endpoint */

struct pool {
    struct list link; /* least recently used first */
    char *key;        /* owned */
    struct http_client *client;
    struct rt_tls_client *tls;
    nsec_t used;
    unsigned calls;
};

struct outcalls {
    struct rt *core; /* borrowed */
    struct store *store;
    struct list calls; /* struct outcall, in_all; core */
    size_t n_calls;
    unsigned turn;
    struct rt_thread *thread; /* NULL: no call was made yet */
    /* the thread's; the core's again once it has joined it */
    struct rt *rt;       /* owned */
    struct list running; /* struct outcall, in_running */
    struct map pools;
    struct list pool_order;
    struct rt_timer sweep;
    bool stopping;
};

struct outcall {
    struct list in_all; /* core */
    struct outcalls *x; /* NULL: dropped */
    atomic_uint refs;   /* the call itself; a cancel on its way */
    struct rt_post post, cancel_post;
    struct arena arena;
    /* written by the core before it is posted */
    struct outcall_request q;
    struct str host, path, server_name, shown; /* shown: the URL in errors */
    uint16_t port;
    struct outcall_place *places;
    size_t n_places;
    bool refused, cancelled; /* core */
    /* the thread's until it is posted back */
    struct list in_running;
    struct blob *body; /* owned reference */
    struct pool *pool;
    struct http_call *call;
    size_t place;
    nsec_t started, deadline;
    bool retried, over, posted;
    struct outcall_answer answer;
    struct buf text; /* the answer's body, when done wants it */
};

static void outcall_unref(struct outcall *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    blob_unref(c->body);
    buf_fini(&c->text);
    arena_fini(&c->arena);
    free(c);
}

/* ---- back in the core ---- */

static void on_over(void *arg)
{
    struct outcall *c = arg;
    struct outcalls *x = c->x;
    if (x) {
        list_remove(&c->in_all);
        x->n_calls--;
        c->q.done(c->q.arg, &c->answer);
    }
    outcall_unref(c);
}

/* Any of the two threads. */
static void finish(struct outcall *c)
{
    c->over = c->posted = true;
    rt_post(c->x->core, &c->post, on_over, c);
}

/* ---- the servers ---- */

static void pool_free(struct outcalls *x, struct pool *p)
{
    ASSERT(!p->calls);
    (void)map_remove(&x->pools, str_z(p->key));
    list_remove(&p->link);
    http_client_free(p->client);
    rt_tls_client_unref(p->tls);
    free(p->key);
    free(p);
}

static void on_sweep(void *arg)
{
    struct outcalls *x = arg;
    struct pool *p;
    LIST_FOR_EACH (p, &x->pool_order, link)
        if (!p->calls && rt_now(x->rt) - p->used >= POOL_UNUSED)
            pool_free(x, p);
    if (!list_empty(&x->pool_order))
        rt_timer_start(&x->sweep, POOL_SWEEP);
}

static bool make_room(struct outcalls *x)
{
    struct pool *p;
    if (x->pools.n < OUTCALL_SERVERS_MAX)
        return true;
    LIST_FOR_EACH (p, &x->pool_order, link)
        if (!p->calls) {
            pool_free(x, p);
            return true;
        }
    return false;
}

static int pool_new(struct outcalls *x, const struct outcall *c, const char *key,
                    const struct outcall_place *at, struct pool **ret, struct error *err)
{
    const struct http_client_opts opts = {.protocol = HTTP_CLIENT_HTTP1,
                                          .conns_max = OUTCALL_CONNECTIONS_MAX,
                                          .connect_timeout_ms = CONNECT_MS};
    struct rt_tls_client_opts tls = {.ca_pem = c->q.target.ca_bundle.n ? c->q.target.ca_bundle
                                                                       : STR_NONE};
    struct arena a = {0};
    struct rt_tls_client *t;
    if (!make_room(x))
        return error_set(err, REASON_TOO_MANY_REQUESTS, "too many servers are called at once");
    int r = rt_tls_client_new(&tls, err, &t);
    if (r < 0)
        return r;
    struct pool *p = NEW(struct pool);
    struct http_target target = {.host = arena_cstr(&a, at->host),
                                 .port = at->port,
                                 .authority = arena_cstr(&a, c->host),
                                 .server_name = arena_cstr(&a, c->server_name)};
    p->key = xstrdup(key);
    p->tls = t;
    p->client = http_client_new(x->rt, &target, t, &opts);
    arena_fini(&a);
    map_set(&x->pools, str_z(p->key), p);
    list_push_back(&x->pool_order, &p->link);
    if (!rt_timer_active(&x->sweep))
        rt_timer_start(&x->sweep, POOL_SWEEP);
    *ret = p;
    return 0;
}

static int pool_of(struct outcalls *x, struct outcall *c, struct pool **ret, struct error *err)
{
    const struct outcall_place *at = &c->places[c->place];
    char ca[SHA256_HEX + 1] = "";
    if (c->q.target.ca_bundle.n)
        sha256_hex_of(c->q.target.ca_bundle, ca);
    CLEANUP(freep)
    char *key = xasprintf("%.*s:%u %.*s %.*s %s", STR_ARG(at->host), at->port,
                          STR_ARG(c->server_name), STR_ARG(c->host), ca);
    *ret = map_get(&x->pools, str_z(key));
    int r = *ret ? 0 : pool_new(x, c, key, at, ret, err);
    if (r < 0)
        return r;
    list_remove(&(*ret)->link);
    list_push_back(&x->pool_order, &(*ret)->link);
    (*ret)->calls++;
    (*ret)->used = rt_now(x->rt);
    return 0;
}

/* ---- one attempt after the other ---- */

static void attempt(struct outcall *c);

static void end(struct outcall *c, int r, struct str what)
{
    if (c->pool)
        c->pool->calls--;
    c->pool = NULL;
    list_remove(&c->in_running);
    c->answer.r = r;
    c->answer.what = what;
    c->answer.took = rt_now(c->x->rt) - c->started;
    finish(c);
}

static void fail(struct outcall *c, int r, const char *fmt, ...) PRINTF(3, 4);
static void fail(struct outcall *c, int r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(&c->arena, fmt, ap);
    va_end(ap);
    end(c, r, arena_printf(&c->arena, "Post \"%.*s\": %.*s", STR_ARG(c->shown), STR_ARG(text)));
}

/* The words of Go's crypto/tls and net for what went wrong. */
static void fail_http(struct outcall *c, int err, const char *what)
{
    const struct outcall_place *at = &c->places[c->place];
    struct str why = str_z(what);
    if (err == -EACCES || err == -EKEYEXPIRED) {
        bool unknown = str_search(why, STR("self")) >= 0 || str_search(why, STR("issuer")) >= 0;
        if (err == -EKEYEXPIRED)
            why = STR("certificate has expired or is not yet valid");
        else if (unknown)
            why = STR("certificate signed by unknown authority");
        fail(c, err, "tls: failed to verify certificate: x509: %.*s", STR_ARG(why));
    } else if (err == -ETIMEDOUT && rt_now(c->x->rt) >= c->deadline) {
        fail(c, err, "context deadline exceeded");
    } else if (err == -ENOENT) {
        fail(c, err, "dial tcp: lookup %.*s: no such host", STR_ARG(at->host));
    } else if (err == -ECONNREFUSED || err == -EHOSTUNREACH || err == -ENETUNREACH) {
        fail(c, err, "dial tcp %.*s:%u: connect: %s", STR_ARG(at->host), at->port,
             err == -ECONNREFUSED ? "connection refused" : strerror(-err));
    } else if (err == -ECONNRESET || err == -EPIPE) {
        fail(c, err, "EOF");
    } else {
        fail(c, err, "%s", what);
    }
}

static void read_answer(struct outcall *c, const struct http_answer *a)
{
    struct error err = {0};
    c->answer.answered = true;
    c->answer.status = a->status;
    if (a->status < 200 || a->status > 206) {
        end(c, -EIO, outcall_status_text(a->status, a->body, &c->arena));
        return;
    }
    int r = 0;
    if (c->q.read) {
        r = c->q.read(c->q.arg, a->body, &err);
    } else {
        buf_add_str(&c->text, a->body);
        c->answer.body = c->text.n ? buf_str(&c->text) : STR("");
    }
    struct str what = err.message.p ? arena_str(&c->arena, err.message) : STR("");
    error_fini(&err);
    end(c, MIN(r, 0), what);
}

/* Nothing of the request was seen by the server: another one may be asked. */
static bool never_arrived(int err, const char *what)
{
    return err == -ECONNREFUSED || err == -EHOSTUNREACH || err == -ENETUNREACH ||
           (err == -ETIMEDOUT && strcmp(what, "could not connect in time") == 0);
}

static void on_answer(const struct http_answer *a, void *arg)
{
    struct outcall *c = arg;
    nsec_t left = c->deadline - rt_now(c->x->rt);
    c->call = NULL;
    if (a->err == 0) {
        read_answer(c, a);
        return;
    }
    if (a->err == -EFBIG) {
        c->answer.answered = true;
        fail(c, a->err, "the answer has more than %llu bytes",
             (unsigned long long)c->q.limit_bytes);
        return;
    }
    bool next = never_arrived(a->err, a->what) && c->place + 1 < c->n_places;
    /* A kept connection may have been closed just when the request went out; webhooks may be asked
     * twice. */
    bool again = (a->err == -ECONNRESET || a->err == -EPIPE) && !c->retried;
    if (left < 10 * NSEC_PER_MSEC || !(next || again)) {
        fail_http(c, a->err, a->what);
        return;
    }
    c->place += next;
    c->retried |= !next;
    c->pool->calls--;
    c->pool = NULL;
    attempt(c);
}

static void release_body(void *arg)
{
    blob_unref(arg);
}

static void attempt(struct outcall *c)
{
    struct outcalls *x = c->x;
    struct error err = {0};
    const struct http_header headers[] = {{STR("content-type"), STR("application/json")},
                                          {STR("accept"), STR("application/json, */*")},
                                          {STR("user-agent"), STR("davit-apiserver-admission")}};
    if (pool_of(x, c, &c->pool, &err) < 0) {
        fail(c, -EBUSY, "%.*s", STR_ARG(err.message));
        error_fini(&err);
        return;
    }
    struct http_client_request q = {
        .method = STR("POST"),
        .target = c->path,
        .headers = headers,
        .n_headers = ARRAY_LEN(headers),
        .body = {c->body->data, c->body->n, release_body, blob_ref(c->body)},
        .timeout_ms = MAX((c->deadline - rt_now(x->rt)) / NSEC_PER_MSEC, (nsec_t)1)};
    c->call = http_client_fetch(c->pool->client, &q, c->q.limit_bytes, on_answer, c);
}

/* ---- on the thread ---- */

static void on_start(void *arg)
{
    struct outcall *c = arg;
    struct outcalls *x = c->x;
    struct buf b = {0};
    if (x->stopping)
        return; /* outcalls_free has it in its list */
    list_push_back(&x->running, &c->in_running);
    c->started = rt_now(x->rt);
    c->deadline = c->started + c->q.timeout_ms * NSEC_PER_MSEC;
    if (c->q.write)
        c->q.write(c->q.arg, &b);
    c->body = blob_new(c->q.write ? buf_str(&b) : c->q.body);
    buf_fini(&b);
    attempt(c);
}

static void on_cancel(void *arg)
{
    struct outcall *c = arg;
    if (!c->over && c->x && !c->x->stopping) {
        if (c->call)
            http_call_cancel(c->call);
        c->call = NULL;
        fail(c, -ECANCELED, "context canceled");
    }
    outcall_unref(c);
}

/* ---- core ---- */

struct outcalls *outcalls_new(struct rt *core, struct store *store)
{
    struct outcalls *x = NEW(struct outcalls);
    x->core = core;
    x->store = store;
    list_init(&x->calls);
    list_init(&x->running);
    list_init(&x->pool_order);
    return x;
}

static int start_thread(struct outcalls *x, struct error *err)
{
    if (x->thread)
        return 0;
    if (rt_is_sim(x->core))
        return error_set(err, REASON_INTERNAL, "there is no network in the simulator");
    if (!x->rt)
        x->rt = rt_uv_new();
    if (!x->rt)
        return error_errno(err, errno, "cannot make a loop");
    rt_timer_init(&x->sweep, x->rt, on_sweep, x);
    int r = rt_thread_start(x->rt, "api-outcall", &x->thread);
    return r < 0 ? error_errno(err, r, "cannot start a thread") : 0;
}

static struct str host_port(struct arena *a, struct str host, uint16_t port)
{
    return arena_printf(a, str_find(host, ':') >= 0 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), port);
}

/* As Go prints a duration. */
static struct str duration(struct arena *a, int64_t ms)
{
    return ms % 1000 ? arena_printf(a, "%g%s", ms > 1000 ? (double)ms / 1000 : (double)ms,
                                    ms > 1000 ? "s" : "ms")
                     : arena_printf(a, "%llds", (long long)ms / 1000);
}

/* Host, path and places of the target, copied. */
static int find_target(struct outcalls *x, struct outcall *c, struct error *err)
{
    struct outcall_target *t = &c->q.target;
    struct arena *a = &c->arena;
    struct str host, path;
    uint16_t port;
    t->ca_bundle = arena_str(a, t->ca_bundle);
    if (t->url.p) {
        c->shown = t->url = arena_str(a, t->url);
        if (!outcall_url_parse(t->url, &host, &port, &path))
            return error_set(err, REASON_INTERNAL, "no https URL");
        c->server_name = host;
        c->host = port == 443 && str_find(host, ':') < 0 ? host : host_port(a, host, port);
        c->places = ARENA_NEW(a, struct outcall_place);
        c->places[0] = (struct outcall_place){host, port};
        c->n_places = 1;
        c->shown = arena_printf(a, "%.*s?timeout=%.*s", STR_ARG(t->url),
                                STR_ARG(duration(a, c->q.timeout_ms)));
    } else {
        port = t->port ? t->port : 443;
        c->server_name = arena_printf(a, "%.*s.%.*s.svc", STR_ARG(t->name), STR_ARG(t->ns));
        c->host = host_port(a, c->server_name, port);
        path = arena_printf(a, "%s%.*s", t->path.n && t->path.p[0] == '/' ? "" : "/",
                            STR_ARG(t->path));
        c->shown = arena_printf(a, "https://%.*s%.*s?timeout=%.*s", STR_ARG(c->host), STR_ARG(path),
                                STR_ARG(duration(a, c->q.timeout_ms)));
        int r = outcall_resolve(x->store, t->ns, t->name, port, &x->turn, a, &c->places,
                                &c->n_places, err);
        if (r < 0)
            return r;
    }
    c->path =
        arena_printf(a, "%.*s?timeout=%.*s", STR_ARG(path), STR_ARG(duration(a, c->q.timeout_ms)));
    return 0;
}

struct outcall *outcall_start(struct outcalls *x, const struct outcall_request *q)
{
    struct outcall *c = NEW(struct outcall);
    struct error err = {0};
    ASSERT(q->done && q->timeout_ms > 0 && q->limit_bytes);
    atomic_init(&c->refs, 1);
    list_init(&c->in_running);
    c->x = x;
    c->q = *q;
    c->q.body = arena_str(&c->arena, q->body);
    list_push_back(&x->calls, &c->in_all);
    x->n_calls++;
    int r = find_target(x, c, &err);
    if (r >= 0)
        r = start_thread(x, &err);
    if (r >= 0 && x->n_calls > OUTCALLS_MAX)
        r = error_set(&err, REASON_TOO_MANY_REQUESTS, "too many calls are under way");
    if (r < 0) {
        c->answer.r = r;
        c->answer.what =
            arena_printf(&c->arena, "Post \"%.*s\": %.*s", STR_ARG(c->shown), STR_ARG(err.message));
        finish(c);
    } else {
        rt_post(x->rt, &c->post, on_start, c);
    }
    c->refused = r < 0;
    error_fini(&err);
    return c;
}

void outcall_cancel(struct outcall *c)
{
    if (c->cancelled || c->refused)
        return;
    c->cancelled = true;
    atomic_fetch_add(&c->refs, 1);
    rt_post(c->x->rt, &c->cancel_post, on_cancel, c);
}

size_t outcalls_in_flight(const struct outcalls *x)
{
    return x->n_calls;
}

struct outcalls *outcalls_free(struct outcalls *x)
{
    struct outcall *c;
    struct pool *p;
    if (!x)
        return NULL;
    x->thread = rt_thread_join(x->thread);
    x->stopping = true;
    LIST_FOR_EACH (c, &x->running, in_running) {
        if (c->call)
            http_call_cancel(c->call);
        list_remove(&c->in_running);
        c->call = NULL;
        if (c->pool)
            c->pool->calls--;
    }
    LIST_FOR_EACH (p, &x->pool_order, link)
        pool_free(x, p);
    map_fini(&x->pools);
    if (x->rt)
        rt_timer_stop(&x->sweep);
    rt_free(x->rt); /* runs what was posted to it */
    LIST_FOR_EACH (c, &x->calls, in_all) {
        list_remove(&c->in_all);
        c->x = NULL;
        if (!c->posted) /* else on_over comes for it */
            outcall_unref(c);
    }
    free(x);
    return NULL;
}
