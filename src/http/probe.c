/* HTTP probes: one short GET on a connection of its own, as a kubelet does it. Built on the client
 * with a pool of one; what is added are redirects, one time limit over all, and an answer in words
 * for events. */
#include "http/client.h"
#include "base/buf.h"
#include "base/mem.h"
#include "rt/rt.h"
#include "rt/tls.h"

#include <stdio.h>

#define TEXT_BYTES_MAX (10 * 1024) /* what a kubelet reads of a probe's answer */
#define REDIRECTS_MAX  10          /* whatever the caller asks for, as Go's client */

struct http_probe {
    struct rt *rt;
    struct arena arena;
    char *host, *server_name, *authority; /* owned */
    uint16_t port;
    struct rt_tls_client *tls;
    struct str target;
    struct http_header *headers;
    size_t n_headers;
    nsec_t deadline;
    unsigned redirects_left;
    struct http_client *client;
    struct http_call *call;
    struct buf text;
    int status;
    struct str location;
    void (*on_done)(int status, struct str text, void *arg);
    void *arg;
    struct rt_task again; /* follow a redirect, outside of the call's callback */
};

static void probe_free(struct http_probe *p)
{
    rt_task_cancel(&p->again);
    p->client = http_client_free(p->client);
    rt_tls_client_unref(p->tls);
    buf_fini(&p->text);
    arena_fini(&p->arena);
    free(p->host);
    free(p->server_name);
    free(p->authority);
    free(p);
}

static void probe_done(struct http_probe *p, int status, struct str text)
{
    p->call = NULL;
    p->on_done(status, text, p->arg);
    probe_free(p);
}

static void on_head(struct http_call *call, int status, const struct http_header *headers, size_t n,
                    void *arg)
{
    struct http_probe *p = arg;

    (void)call;
    p->status = status;
    p->location = arena_str(&p->arena, http_header_get(headers, n, STR("location")));
}

static void on_data(struct http_call *call, const void *data, size_t n, void *arg)
{
    struct http_probe *p = arg;

    buf_add(&p->text, data, MIN(n, TEXT_BYTES_MAX - p->text.n));
    if (p->text.n < TEXT_BYTES_MAX)
        return;
    http_call_cancel(call); /* enough was seen; a body may be endless */
    probe_done(p, p->status, buf_str(&p->text));
}

/* The path of a redirect to where we are already, else absent. */
static struct str same_host_path(const struct http_probe *p)
{
    struct str scheme = p->tls ? STR("https://") : STR("http://"), rest = p->location, host;
    ssize_t slash;

    if (str_starts(rest, STR("/")) && !str_starts(rest, STR("//")))
        return rest;
    if (!str_starts(rest, scheme))
        return STR_NONE;
    rest = str_sub(rest, scheme.n, rest.n);
    slash = str_find(rest, '/');
    host = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
    if (!str_ieq(host, str_z(p->authority)))
        return STR_NONE;
    return slash < 0 ? STR("/") : str_sub(rest, (size_t)slash, rest.n);
}

static void on_end(struct http_call *call, const struct http_header *trailers, size_t n, void *arg)
{
    struct http_probe *p = arg;
    bool redirect = p->status == 301 || p->status == 302 || p->status == 303 || p->status == 307 ||
                    p->status == 308;
    struct str path = redirect ? same_host_path(p) : STR_NONE;

    (void)call;
    (void)trailers;
    (void)n;
    if (path.n && p->redirects_left && path.n < HTTP_TARGET_BYTES_MAX &&
        http_header_value_valid(path) && str_find(path, ' ') < 0) {
        p->redirects_left--;
        p->target = path;
        p->call = NULL;
        rt_task_schedule(&p->again);
        return;
    }
    probe_done(p, p->status, p->text.n ? buf_str(&p->text) : STR(""));
}

static void on_error(struct http_call *call, int err, const char *what, void *arg)
{
    (void)call;
    probe_done(arg, err, str_z(what));
}

static const struct http_client_callbacks callbacks = {
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_error = on_error,
};

static void probe_go(void *arg)
{
    struct http_probe *p = arg;
    int64_t left_ms = (p->deadline - rt_now(p->rt)) / NSEC_PER_MSEC;
    struct http_client_request r = {
        .method = STR("GET"),
        .target = p->target,
        .headers = p->headers,
        .n_headers = p->n_headers,
        .timeout_ms = MAX(left_ms, 1),
    };

    buf_clear(&p->text);
    p->call = http_client_request(p->client, &r, &callbacks, p);
}

struct http_probe *http_probe_start(struct rt *rt, const struct http_probe_opts *o,
                                    void (*on_done)(int status, struct str text, void *arg),
                                    void *arg)
{
    struct http_client_opts opts = {.conns_max = 1, .connect_timeout_ms = MAX(o->timeout_ms, 1)};
    struct http_probe *p = NEW(struct http_probe);
    struct http_target target;

    ASSERT(o->timeout_ms > 0 && o->host);
    p->rt = rt;
    p->host = xstrdup(o->host);
    p->port = o->port;
    p->server_name = xstrdup(o->server_name ? o->server_name : o->host);
    if (o->authority)
        p->authority = xstrdup(o->authority);
    else
        p->authority = xasprintf(strchr(o->host, ':') ? "[%s]:%u" : "%s:%u", o->host, o->port);
    p->tls = o->tls ? rt_tls_client_ref(o->tls) : NULL;
    p->target = arena_str(&p->arena, o->target.n ? o->target : STR("/"));
    p->headers = arena_alloc(&p->arena, sizeof(*p->headers) * (o->n_headers + 1));
    p->n_headers = o->n_headers;
    for (size_t i = 0; i < o->n_headers; i++)
        p->headers[i] = (struct http_header){arena_str(&p->arena, o->headers[i].name),
                                             arena_str(&p->arena, o->headers[i].value)};
    p->deadline = rt_now(rt) + o->timeout_ms * NSEC_PER_MSEC;
    p->redirects_left = MIN(o->redirects_max, REDIRECTS_MAX);
    p->on_done = on_done;
    p->arg = arg;
    rt_task_init(&p->again, rt, probe_go, p);
    target = (struct http_target){
        .host = p->host,
        .port = p->port,
        .authority = p->authority,
        .server_name = p->server_name,
    };
    p->client = http_client_new(rt, &target, p->tls, &opts);
    probe_go(p);
    return p;
}

void http_probe_cancel(struct http_probe *p)
{
    if (p->call)
        http_call_cancel(p->call);
    probe_free(p);
}
