/* logs, exec, attach, port-forward: from the client to the node and back; and all requests for what
 * another server serves (aggregate.c), which are passed on as they are, bodies both ways as they
 * come. The core has said where
 * the node is and that the client may; here bytes move. Logs are an ordinary answer passed on with
 * back-pressure. The others are upgrades (SPDY or WebSocket): both connections become tunnels and
 * everything behind the two heads is carried byte for byte, half closes included. */
#include "apiserver/front/relay.h"

#define PROXY_BODY_MAX 65536 /* of a refusal */

struct tunnel {
    struct list link;
    struct io *io;
    struct exchange *x;     /* NULL once the exchange has ended (the tunnel stands) */
    struct http_call *call; /* until the node has answered */
    struct rt_pipe *pipe;
    bool remote;  /* any answer is the answer: to the server of an aggregated API, or relay.c */
    bool held;    /* remote: the request's body is on its way, and its sender waits for room */
    bool started; /* our head is out */
    bool failed;  /* the node refused: its text is being collected */
    bool paused;
    int status;
    struct buf body;
    const struct links_base *base; /* of relay.c: its links are put right; else NULL */
    struct links *links;           /* owned; NULL: the answer is no page */
};

struct node_client {
    char key[300];
    struct http_client *client;
};

static struct http_client *node_client(struct io *io, const char *host, uint16_t port)
{
    char key[300];
    snprintf(key, sizeof(key), "%s:%u", host, port);
    struct node_client *n = map_get(&io->nodes, str_z(key));
    if (n)
        return n->client;
    struct http_target target = {.host = host, .port = port};
    n = NEW(struct node_client);
    memcpy(n->key, key, sizeof(key));
    n->client = http_client_new(io->rt, &target, io->front->node_tls, NULL);
    map_set(&io->nodes, str_z(n->key), n);
    return n->client;
}

static struct http_client *kept_client(struct io *io, const char *key,
                                       const struct http_target *target, struct rt_tls_client *tls)
{
    static const struct http_client_opts opts = {.conns_max = API_REMOTE_CONNECTIONS_MAX,
                                                 .waiting_max = API_REMOTE_CALLS_MAX};
    struct node_client *n = map_get(&io->remotes, str_z(key));
    if (n)
        return n->client;
    if (io->remotes.n >= API_REMOTE_CLIENTS_MAX) /* of servers and endpoints of before, mostly */
        for (struct map_slot *s = NULL; (s = map_next(&io->remotes, s));) {
            struct node_client *old = s->value;
            if (http_client_calls(old->client))
                continue;
            map_remove(&io->remotes, str_z(old->key));
            http_client_free(old->client);
            free(old);
            s = NULL;
        }
    n = NEW(struct node_client);
    snprintf(n->key, sizeof(n->key), "%s", key);
    n->client = http_client_new(io->rt, target, tls, &opts);
    map_set(&io->remotes, str_z(n->key), n);
    return n->client;
}

/* Of one address of the server of an aggregated API, as its APIService is now. */
static struct http_client *remote_client(struct io *io, struct remote *r, const char *host,
                                         uint16_t port)
{
    struct http_target target = {.host = host, .port = port, .server_name = r->server_name};
    char key[300];
    snprintf(key, sizeof(key), "%llu %s:%u", (unsigned long long)r->serial, host, port);
    return kept_client(io, key, &target, r->tls);
}

static struct http_client *relay_client(struct io *io, const struct api_proxy *p, const char *host,
                                        uint16_t port)
{
    struct http_target target = {.host = host, .port = port};
    bool tls = p->how == PROXY_TLS;
    char key[300];
    if (p->how == PROXY_NODE)
        return node_client(io, host, port);
    snprintf(key, sizeof(key), "%s %s:%u", tls ? "https" : "http", host, port);
    return kept_client(io, key, &target, tls ? io->front->any_tls : NULL);
}

static void tunnel_free(struct tunnel *t)
{
    list_remove(&t->link);
    if (t->x)
        t->x->tunnel = NULL;
    buf_fini(&t->body);
    if (t->links)
        links_fini(t->links);
    free(t->links);
    free(t);
}

/* What the node answered when it was not what was asked for. */
static void refused(struct tunnel *t, int status, struct str body)
{
    struct exchange *x = t->x;
    struct str text = str_trim(body);
    tunnel_free(t);
    if (text.n && text.p[0] == '{') { /* a Status already */
        exchange_answer(x, status, "application/json", http_bytes_copy(text), NULL, 0);
        return;
    }
    enum error_reason reason = error_reason_parse(STR(""), status);
    if (!text.n)
        text = str_z(http_status_text(status));
    exchange_refuse(x,
                    status == 400   ? REASON_BAD_REQUEST
                    : status == 404 ? REASON_NOT_FOUND
                                    : reason,
                    "%.*s", STR_ARG(text));
}

/* In plain text, as Kubernetes' aggregator answers for a server that cannot. */
static void no_server(struct exchange *x, const char *text)
{
    struct buf b = {0};
    buf_printf(&b, "%s\n", text);
    exchange_answer_buf(x, 503, "text/plain; charset=utf-8", &b);
}

static void unreachable(struct tunnel *t, int err, const char *what)
{
    struct exchange *x = t->x;
    const struct api_reply *rep = &x->call->reply;
    bool remote = t->remote;
    tunnel_free(t);
    if (remote && err == -ETIMEDOUT) {
        exchange_refuse(x, REASON_TIMEOUT,
                        "the server was unable to return a response in the time allotted, but may "
                        "still be processing the request");
        return;
    }
    if (remote && !x->remote) {
        exchange_refuse(x, REASON_UNAVAILABLE, "error trying to reach service: %s",
                        what && what[0] ? what : strerror(-err));
        return;
    }
    if (remote) {
        no_server(x, arena_cstr(&x->call->arena,
                                arena_printf(&x->call->arena, "error trying to reach service: %s",
                                             what && what[0] ? what : strerror(-err))));
        return;
    }
    exchange_refuse(x, err == -ETIMEDOUT ? REASON_TIMEOUT : REASON_UNAVAILABLE,
                    "error dialing backend: the node at %.*s:%u does not answer: %s",
                    STR_ARG(rep->node_host), rep->node_port,
                    what && what[0] ? what : strerror(-err));
}

/* ---- logs ---- */

static void on_drain(struct http_request *req, void *arg)
{
    struct tunnel *t = arg;
    (void)req;
    if (t->paused && t->call) {
        t->paused = false;
        http_call_pause(t->call, false);
    }
}

static void on_head(struct http_call *call, int status, const struct http_header *headers, size_t n,
                    void *arg)
{
    struct tunnel *t = arg;
    struct str type = http_header_get(headers, n, STR("content-type"));
    struct http_header h[2] = {{STR("content-type"), type.n ? type : STR("text/plain")},
                               {STR("cache-control"), STR("no-cache, private")}};
    (void)call;
    t->status = status;
    t->failed = status != 200;
    if (t->failed)
        return;
    if (http_stream_start(t->x->req, 200, h, 2) >= 0) {
        t->started = true;
        metrics_count(&t->io->metrics, API_CONNECT, 200, 0);
        http_on_drain(t->x->req, on_drain, t);
    }
}

/* A page in plain HTML, and all of it. */
static bool is_page(int status, const struct http_header *headers, size_t n)
{
    struct str type = http_header_get(headers, n, STR("content-type")), main;
    (void)str_cut(&type, ';', &main);
    return str_ieq(str_trim(main), STR("text/html")) && status != 206 &&
           !http_header_get(headers, n, STR("content-encoding")).n &&
           !http_header_get(headers, n, STR("location")).n;
}

static struct http_header put_right(struct tunnel *t, struct http_header h)
{
    struct buf b = {0};
    if (!t->base || !str_is(h.name, "location"))
        return h;
    links_url(t->base, h.value, &b);
    h.value = arena_str(&t->x->call->arena, buf_str(&b));
    buf_fini(&b);
    return h;
}

/* Any answer of the server of an aggregated API is the answer. */
static void on_remote_head(struct http_call *call, int status, const struct http_header *headers,
                           size_t n, void *arg)
{
    struct tunnel *t = arg;
    struct http_header h[64];
    size_t k = 0;
    bool page = t->base && is_page(status, headers, n);
    (void)call;
    t->status = status;
    for (size_t i = 0; i < n && k < ARRAY_LEN(h); i++) {
        struct str name = headers[i].name;
        bool length = str_is(name, "content-length") && !page; /* its links become longer */
        if ((!proxy_is_hop(name) || length) && !(t->base && relay_is_cors(name)) &&
            http_header_value_valid(headers[i].value))
            h[k++] = put_right(t, headers[i]);
    }
    if (page) {
        t->links = NEW(struct links);
        links_init(t->links, t->base);
    }
    if (http_stream_start(t->x->req, status, h, k) >= 0) {
        t->started = true;
        metrics_count(&t->io->metrics, API_PROXY, status, 0);
        http_on_drain(t->x->req, on_drain, t);
    }
}

/* ---- the body of a request, to such a server ---- */

static void on_body(struct http_request *req, const void *p, size_t n, void *arg)
{
    struct tunnel *t = arg;
    if (!t->call || t->x->gone)
        return;
    if (n == 0) {
        http_call_end(t->call);
        return;
    }
    (void)http_call_write(t->call, http_bytes_copy((struct str){p, n}));
    if (!t->held && http_call_queued_bytes(t->call) > API_PROXY_BODY_BYTES_MAX) {
        t->held = true;
        http_request_body_pause(req, true);
    }
}

static void on_room(struct http_call *call, void *arg)
{
    struct tunnel *t = arg;
    (void)call;
    if (t->held && !t->x->gone) {
        t->held = false;
        http_request_body_pause(t->x->req, false);
    }
}

static void write_buf(struct tunnel *t, struct buf *b)
{
    size_t n;
    if (!b->n)
        return;
    char *p = buf_take(b, &n);
    (void)http_stream_write(t->x->req, http_bytes_take(p, n));
}

static void write_page(struct tunnel *t, struct str piece)
{
    struct buf b = {0};
    links_feed(t->links, piece, &b);
    write_buf(t, &b);
    buf_fini(&b);
}

static void end_page(struct tunnel *t)
{
    struct buf b = {0};
    links_end(t->links, &b);
    write_buf(t, &b);
    buf_fini(&b);
}

static void on_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    struct tunnel *t = arg;
    if (t->failed) {
        buf_add(&t->body, p, MIN(n, PROXY_BODY_MAX - MIN(t->body.n, (size_t)PROXY_BODY_MAX)));
        return;
    }
    if (!t->started || t->x->gone)
        return;
    if (t->links)
        write_page(t, (struct str){p, n});
    else
        (void)http_stream_write(t->x->req, http_bytes_copy((struct str){p, n}));
    if (!t->paused && http_stream_congested(t->x->req)) {
        t->paused = true;
        http_call_pause(call, true);
    }
}

static void log_finish(struct tunnel *t, bool whole)
{
    struct exchange *x = t->x;
    struct http_request *req = x->req;
    if (whole && t->links && !x->gone)
        end_page(t);
    audit_end(x, t->status);
    tunnel_free(t);
    exchange_release(x);
    if (whole)
        http_stream_end(req);
    else
        http_stream_abort(req);
}

static void on_end(struct http_call *call, const struct http_header *trailers, size_t n, void *arg)
{
    struct tunnel *t = arg;
    (void)call;
    (void)trailers;
    (void)n;
    t->call = NULL;
    if (t->failed) {
        struct buf body = t->body;
        t->body = (struct buf){0};
        refused(t, t->status, buf_str(&body));
        buf_fini(&body);
    } else {
        log_finish(t, t->started);
    }
}

static void on_error(struct http_call *call, int err, const char *what, void *arg)
{
    struct tunnel *t = arg;
    (void)call;
    t->call = NULL;
    if (t->started)
        log_finish(t, false);
    else
        unreachable(t, err, what);
}

static const struct http_client_callbacks log_callbacks = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_error = on_error};
static const struct http_client_callbacks remote_callbacks = {.on_head = on_remote_head,
                                                              .on_data = on_data,
                                                              .on_end = on_end,
                                                              .on_error = on_error,
                                                              .on_drain = on_room};

/* ---- tunnels ---- */

static void on_pipe_end(void *arg, int err, uint64_t a_to_b, uint64_t b_to_a)
{
    struct tunnel *t = arg;
    struct io *io = t->io;
    (void)err;
    (void)a_to_b;
    (void)b_to_a;
    t->pipe = NULL;
    tunnel_free(t);
    io_maybe_stopped(io);
}

/* Headers the library writes itself, or that belong to one connection. */
bool proxy_is_hop(struct str name)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "transfer-encoding",
                                        "content-length",
                                        "date",
                                        "te",
                                        "trailer",
                                        "proxy-connection",
                                        "host",
                                        "authorization",
                                        "accept-encoding"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eqz(name, names[i]))
            return true;
    return str_starts(name, STR("impersonate-"));
}

static size_t pass_headers(const struct http_header *in, size_t n, struct http_header *out,
                           size_t max)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k < max; i++)
        if (!proxy_is_hop(in[i].name))
            out[k++] = in[i];
    return k;
}

static void on_upgraded(const struct http_upgraded *u, void *arg)
{
    struct tunnel *t = arg;
    struct exchange *x = t->x;
    struct http_header h[64];
    struct rt_stream *client;
    t->call = NULL;
    if (u->err < 0) {
        unreachable(t, u->err, u->what);
        return;
    }
    if (u->status != 101 && t->remote) {
        struct str type = http_header_get(u->headers, u->n_headers, STR("content-type"));
        int status = u->status;
        tunnel_free(t);
        exchange_answer(x, status, arena_cstr(&x->call->arena, type.n ? type : STR("text/plain")),
                        http_bytes_copy(u->body), NULL, 0);
        return;
    }
    if (u->status != 101) {
        refused(t, u->status, u->body);
        return;
    }
    size_t n = pass_headers(u->headers, u->n_headers, h, ARRAY_LEN(h));
    int r = x->gone ? -EPIPE : http_upgrade_tunnel(x->req, 101, h, n, &client);
    if (r < 0) {
        rt_stream_close(u->stream, NULL, NULL);
        tunnel_free(t);
        exchange_refuse(x, REASON_BAD_REQUEST, "the connection cannot be upgraded");
        return;
    }
    metrics_count(&t->io->metrics, x->route.verb, 101, 0);
    t->x = NULL;
    x->tunnel = NULL;
    exchange_release(x);
    t->pipe = rt_stream_pipe(client, u->stream, (nsec_t)API_PROXY_IDLE_MS * NSEC_PER_MSEC,
                             on_pipe_end, t);
}

/* ---- life ---- */

static struct tunnel *tunnel_new(struct exchange *x)
{
    struct tunnel *t = NEW(struct tunnel);
    t->io = x->io;
    t->x = x;
    x->tunnel = t;
    list_push_back(&x->io->tunnels, &t->link);
    return t;
}

static bool has_body(const struct http_request *req)
{
    if (req->content_length >= 0)
        return req->content_length > 0;
    if (req->version_major < 2)
        return http_header_get(req->headers, req->n_headers, STR("transfer-encoding")).p;
    return req->method != HTTP_METHOD_GET && req->method != HTTP_METHOD_HEAD;
}

/* Any request there, any answer back. */
static void carry(struct exchange *x, struct http_client *c, struct http_client_request *q,
                  struct str path, const struct links_base *base)
{
    struct arena *a = &x->call->arena;
    if (http_client_calls(c) >= API_REMOTE_CALLS_MAX) {
        exchange_too_many(x);
        return;
    }
    struct tunnel *t = tunnel_new(x);
    t->remote = true;
    t->base = base;
    q->target = x->req->query.p
                    ? arena_printf(a, "%.*s?%.*s", STR_ARG(path), STR_ARG(x->req->query))
                    : path;
    if (x->req->wants_upgrade) {
        t->call = http_client_upgrade(c, q, on_upgraded, t);
        return;
    }
    q->body_stream = has_body(x->req);
    q->timeout_ms = x->call->proxy->is_long ? 0 : API_REMOTE_TIMEOUT_MS;
    t->call = http_client_request(c, q, &remote_callbacks, t);
    if (q->body_stream)
        http_request_body_stream(x->req, on_body, t);
}

/* Relative links of what is behind begin there. */
static void to_slash(struct exchange *x)
{
    const struct http_request *req = x->req;
    struct str to = arena_printf(&x->call->arena, "%.*s/%s%.*s", STR_ARG(req->path),
                                 req->query.n ? "?" : "", STR_ARG(req->query));
    struct http_header h = {STR("location"), to};
    exchange_answer(x, 301, NULL, HTTP_BYTES_NONE, &h, 1);
}

static void relay_start(struct exchange *x)
{
    const struct api_reply *rep = &x->call->reply;
    struct http_header h[130];
    struct http_client_request q = {.method = x->req->method_name,
                                    .headers = h,
                                    .n_headers = relay_headers(x, h, ARRAY_LEN(h))};
    if (!x->req->wants_upgrade && str_eq(x->req->path, x->call->proxy->prefix)) {
        to_slash(x);
        return;
    }
    carry(x,
          relay_client(x->io, x->call->proxy, arena_cstr(&x->call->arena, rep->node_host),
                       rep->node_port),
          &q, x->call->proxy->rest, relay_links(x));
}

static void remote_start(struct exchange *x)
{
    const struct api_reply *rep = &x->call->reply;
    struct remote *r = x->remote;
    struct http_header h[128 + API_USER_GROUPS_MAX + API_USER_EXTRA_MAX];
    struct http_client_request q = {.method = x->req->method_name, .headers = h};
    if (!rep->node_host.n) {
        no_server(x, "service unavailable");
        return;
    }
    if (!r->tls) {
        exchange_refuse(x, REASON_INTERNAL, "%.*s", STR_ARG(r->tls_error));
        return;
    }
    if (aggregate_headers(x, x->req->wants_upgrade, h, ARRAY_LEN(h), &q.n_headers) < 0) {
        exchange_refuse(x, REASON_BAD_REQUEST,
                        "who asks cannot be told to the server of this API in headers");
        return;
    }
    carry(x, remote_client(x->io, r, arena_cstr(&x->call->arena, rep->node_host), rep->node_port),
          &q, x->req->path, NULL);
}

void proxy_start(struct exchange *x)
{
    struct io *io = x->io;
    if (x->remote) {
        remote_start(x);
        return;
    }
    if (x->route.verb == API_PROXY) {
        relay_start(x);
        return;
    }
    const struct api_reply *rep = &x->call->reply;
    bool log = str_is(x->route.subresource, "log");
    struct http_header h[64];
    if (!log && !x->req->wants_upgrade) {
        exchange_refuse(x, REASON_BAD_REQUEST, "Upgrade request required");
        return;
    }
    struct tunnel *t = tunnel_new(x);
    struct http_client *c =
        node_client(io, arena_cstr(&x->call->arena, rep->node_host), rep->node_port);
    struct http_client_request q = {.method = log ? STR("GET") : x->req->method_name,
                                    .target = rep->node_path};
    if (log) {
        t->call = http_client_request(c, &q, &log_callbacks, t);
        return;
    }
    q.headers = h;
    q.n_headers = pass_headers(x->req->headers, x->req->n_headers, h, ARRAY_LEN(h));
    t->call = http_client_upgrade(c, &q, on_upgraded, t);
}

void proxy_cancel(struct exchange *x)
{
    struct tunnel *t = x->tunnel;
    if (t->call)
        http_call_cancel(t->call);
    t->call = NULL;
    if (t->started)
        log_finish(t, false);
    else {
        tunnel_free(t);
        exchange_answer(x, 499, NULL, HTTP_BYTES_NONE, NULL, 0);
    }
}

static void clients_free(struct map *m)
{
    for (struct map_slot *s = NULL; (s = map_next(m, s));) {
        struct node_client *n = s->value;
        http_client_free(n->client);
        free(n);
    }
    map_fini(m);
    *m = (struct map){0};
}

void proxy_stop(struct io *io)
{
    struct tunnel *t;
    LIST_FOR_EACH (t, &io->tunnels, link) {
        if (t->pipe) {
            t->pipe = rt_pipe_cancel(t->pipe);
            tunnel_free(t);
        } else if (t->x) {
            proxy_cancel(t->x);
        }
    }
    clients_free(&io->nodes);
    clients_free(&io->remotes);
}
