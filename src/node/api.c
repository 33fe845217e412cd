/* The node's own API, spoken to by the API server alone: TLS with a client certificate of the
 * cluster's CA whose name is on the list. The paths are a kubelet's, so that what the API server
 * tunnels (exec, attach, port-forward) passes through unchanged. */
#include "node/api.h"

#include <stdarg.h>

#include "base/mem.h"

#define CONNECTIONS_MAX 1024

struct node_api {
    struct node *node;
    struct http_server *http;
    struct rt_listener *listener;
    struct list handshakes;
};

struct handshake {
    struct list link;
    struct node_api *api;
    struct rt_stream *stream;
};

void api_fail(struct http_request *req, int status, const char *fmt, ...)
{
    struct buf b = {0};
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n >= 0)
        buf_add(&b, text, (size_t)n);
    buf_add_char(&b, '\n');
    http_respond_str(req, status, "text/plain; charset=utf-8", buf_str(&b));
    free(text);
    buf_fini(&b);
}

struct str api_query(struct http_request *req, const char *name)
{
    struct str q = req->query, k, v;
    while (http_query_next(&q, &req->arena, &k, &v))
        if (str_eqz(k, name))
            return v.p ? v : STR("");
    return STR_NONE;
}

bool api_query_bool(struct http_request *req, const char *name)
{
    struct str v = api_query(req, name);
    return str_is(v, "1") || str_is(v, "true") || str_is(v, "True");
}

struct pod *api_find_pod(struct api_call *c)
{
    for (struct map_slot *s = NULL; c->n_parts >= 2 && (s = map_next(&c->node->pods, s));) {
        struct pod *p = s->value;
        if (str_eqz(c->parts[0], p->ns) && str_eqz(c->parts[1], p->name) && p->in_api)
            return p;
    }
    api_fail(c->req, 404, "pod does not exist");
    return NULL;
}

struct ctr *api_find_ctr(struct api_call *c, bool must_run)
{
    struct pod *p = api_find_pod(c);
    if (!p)
        return NULL;
    struct ctr *ctr = c->n_parts >= 3 ? pod_find_ctr(p, c->parts[c->n_parts - 1]) : NULL;
    if (!ctr) {
        api_fail(c->req, 404, "container not found (\"%.*s\")",
                 STR_ARG(c->n_parts >= 3 ? c->parts[c->n_parts - 1] : STR("")));
        return NULL;
    }
    if (must_run && ctr_state(ctr) != CTR_RUNNING && ctr_state(ctr) != CTR_STOPPING) {
        api_fail(c->req, 404, "container not found (\"%s\")", ctr->name);
        return NULL;
    }
    return ctr;
}

/* ---- small ones ---- */

static void healthz(struct api_call *c)
{
    http_respond_str(c->req, 200, "text/plain; charset=utf-8", STR("ok"));
}

static void pods(struct api_call *c)
{
    struct buf b = {0};
    bool first = true;
    buf_add_lit(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    for (struct map_slot *s = NULL; (s = map_next(&c->node->pods, s));) {
        struct pod *p = s->value;
        struct arena a = {0};
        struct api_pod copy = *pod_msg(p);
        pod_status_build(p, &a, &copy.status);
        if (!first)
            buf_add_char(&b, ',');
        first = false;
        schema_encode_json(&api_pod_desc, &copy, 0, &b);
        arena_fini(&a);
    }
    buf_add_lit(&b, "]}");
    size_t n;
    char *p = buf_take(&b, &n);
    struct http_header h = {STR("content-type"), STR("application/json")};
    http_respond(c->req, 200, &h, 1, http_bytes_take(p, n));
}

static void dump(struct api_call *c)
{
    struct buf b = {0};
    node_dump(c->node, &b);
    http_respond_str(c->req, 200, "text/plain; charset=utf-8", buf_str(&b));
    buf_fini(&b);
}

/* ---- routes ---- */

static const struct {
    const char *name;
    unsigned parts_min, parts_max;
    bool get_only;
    api_handler_fn fn;
} routes[] = {
    {"healthz", 0, 1, true, healthz},
    {"pods", 0, 0, true, pods},
    {"debug", 1, 1, true, dump},
    {"containerLogs", 3, 3, true, api_logs},
    {"exec", 3, 4, false, api_exec},
    {"attach", 3, 4, false, api_attach},
    {"portForward", 2, 3, false, api_port_forward},
    {"stats", 1, 1, true, api_stats},
    {"metrics", 1, 1, true, api_metrics_resource},
};

static bool may_call(const struct node *n, const struct http_request *req)
{
    const struct rt_tls_info *info = req->stream ? rt_tls_info(req->stream) : NULL;
    if (!info || !info->verified || !info->peer)
        return false;
    for (size_t i = 0; i < n->opts.n_api_client_names; i++)
        if (str_eqz(info->peer->cn, n->opts.api_client_names[i]))
            return true;
    return false;
}

static void on_request(struct http_request *req, void *arg)
{
    struct node_api *api = arg;
    struct api_call c = {.node = api->node, .req = req};
    if (!may_call(api->node, req)) {
        api_fail(req, 401, "Unauthorized");
        return;
    }
    struct str rest = str_sub(req->path, 1, req->path.n), first, part;
    str_cut(&rest, '/', &first);
    while (str_cut(&rest, '/', &part) || part.n) {
        if (c.n_parts == ARRAY_LEN(c.parts) ||
            http_unescape(&req->arena, part, false, &c.parts[c.n_parts]) < 0) {
            api_fail(req, 404, "404 page not found");
            return;
        }
        c.n_parts++;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!str_eqz(first, routes[i].name) || c.n_parts < routes[i].parts_min ||
            c.n_parts > routes[i].parts_max)
            continue;
        if (routes[i].get_only
                ? req->method != HTTP_METHOD_GET
                : req->method != HTTP_METHOD_GET && req->method != HTTP_METHOD_POST) {
            api_fail(req, 405, "Method Not Allowed");
            return;
        }
        routes[i].fn(&c);
        return;
    }
    api_fail(req, 404, "404 page not found");
}

/* ---- connections ---- */

static void on_handshake(void *arg, int err)
{
    struct handshake *h = arg;
    list_remove(&h->link);
    if (err < 0)
        rt_stream_close(h->stream, NULL, NULL);
    else
        http_server_accept(h->api->http, h->stream);
    free(h);
}

static void on_accept(void *arg, int fd)
{
    struct node_api *api = arg;
    struct rt_stream *s;
    if (rt_stream_from_fd(api->node->rt, fd, &s) < 0)
        return;
    struct handshake *h = NEW(struct handshake);
    h->api = api;
    list_push_back(&api->handshakes, &h->link);
    h->stream = rt_tls_accept(api->node->opts.api_tls, s, on_handshake, h);
}

int node_api_start(struct node *n, struct error *err)
{
    struct node_api *api = NEW(struct node_api);
    api->node = n;
    list_init(&api->handshakes);
    struct http_server_opts o = {.connections_max = CONNECTIONS_MAX, .idle_timeout_ms = 300000};
    api->http = http_server_new(n->rt, &o, on_request, api);
    char addr[280];
    const char *host = n->opts.api_listen_host ? n->opts.api_listen_host : "0.0.0.0";
    snprintf(addr, sizeof(addr), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
             n->opts.api_listen_port);
    struct rt_listen_opts l = {.addr = addr};
    int r = rt_listen(n->rt, &l, on_accept, api, err, &api->listener);
    if (r < 0) {
        node_api_free(api);
        return r;
    }
    n->api = api;
    return 0;
}

struct node_api *node_api_free(struct node_api *api)
{
    if (!api)
        return NULL;
    rt_listener_close(api->listener);
    while (!list_empty(&api->handshakes)) {
        struct handshake *h = LIST_FIRST(&api->handshakes, struct handshake, link);
        list_remove(&h->link);
        rt_stream_close(h->stream, NULL, NULL);
        free(h);
    }
    http_server_free(api->http);
    free(api);
    return NULL;
}

uint16_t node_api_listen_port(const struct node_api *api)
{
    return rt_listener_port(api->listener);
}
