/* logs, exec, attach, port-forward: from the client to the node and back. The core has said where
 * the node is and that the client may; here bytes move. Logs are an ordinary answer passed on with
 * back-pressure. The others are upgrades (SPDY or WebSocket): both connections become tunnels and
 * everything behind the two heads is carried byte for byte, half closes included. */
#include "apiserver/front_int.h"

#define PROXY_BODY_MAX 65536 /* of a refusal */

struct tunnel {
    struct list link;
    struct io *io;
    struct exchange *x;     /* NULL once the exchange has ended (the tunnel stands) */
    struct http_call *call; /* until the node has answered */
    struct rt_pipe *pipe;
    bool started; /* log: our head is out */
    bool failed;  /* the node refused: its text is being collected */
    bool paused;
    int status;
    struct buf body;
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

static void tunnel_free(struct tunnel *t)
{
    list_remove(&t->link);
    if (t->x)
        t->x->tunnel = NULL;
    buf_fini(&t->body);
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

static void unreachable(struct tunnel *t, int err, const char *what)
{
    struct exchange *x = t->x;
    const struct api_reply *rep = &x->call->reply;
    tunnel_free(t);
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

static void on_data(struct http_call *call, const void *p, size_t n, void *arg)
{
    struct tunnel *t = arg;
    if (t->failed) {
        buf_add(&t->body, p, MIN(n, PROXY_BODY_MAX - MIN(t->body.n, (size_t)PROXY_BODY_MAX)));
        return;
    }
    if (!t->started || t->x->gone)
        return;
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
static bool is_hop(struct str name)
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
        if (!is_hop(in[i].name))
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
    metrics_count(&t->io->metrics, API_CONNECT, 101, 0);
    t->x = NULL;
    x->tunnel = NULL;
    exchange_release(x);
    t->pipe = rt_stream_pipe(client, u->stream, (nsec_t)API_PROXY_IDLE_MS * NSEC_PER_MSEC,
                             on_pipe_end, t);
}

/* ---- life ---- */

void proxy_start(struct exchange *x)
{
    struct io *io = x->io;
    const struct api_reply *rep = &x->call->reply;
    bool log = str_is(x->route.subresource, "log");
    struct http_header h[64];
    if (!log && !x->req->wants_upgrade) {
        exchange_refuse(x, REASON_BAD_REQUEST, "Upgrade request required");
        return;
    }
    struct tunnel *t = NEW(struct tunnel);
    t->io = io;
    t->x = x;
    x->tunnel = t;
    list_push_back(&io->tunnels, &t->link);
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
    for (struct map_slot *s = NULL; (s = map_next(&io->nodes, s));) {
        struct node_client *n = s->value;
        http_client_free(n->client);
        free(n);
    }
    map_fini(&io->nodes);
    io->nodes = (struct map){0};
}
