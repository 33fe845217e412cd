/* Requests, seen from the handler: reading a body, answering, learning that the peer is gone. The
 * protocols (h1_server.c, h2_server.c) sit behind struct http_proto.
 *
 * A request is freed by whoever lets go last, the handler's side (finish) or the protocol (detach).
 * That is the whole of its lifetime rules, and what lets an answer be computed on another thread
 * while the connection dies. */
#include "http/server_int.h"
#include "base/mem.h"

#include <stdatomic.h>

static atomic_uint_fast64_t req_ids = 1;

static const struct str method_names[_HTTP_METHOD_MAX] = {
    [HTTP_METHOD_OTHER] = {"", 0},          [HTTP_METHOD_GET] = {"GET", 3},
    [HTTP_METHOD_HEAD] = {"HEAD", 4},       [HTTP_METHOD_POST] = {"POST", 4},
    [HTTP_METHOD_PUT] = {"PUT", 3},         [HTTP_METHOD_PATCH] = {"PATCH", 5},
    [HTTP_METHOD_DELETE] = {"DELETE", 6},   [HTTP_METHOD_OPTIONS] = {"OPTIONS", 7},
    [HTTP_METHOD_CONNECT] = {"CONNECT", 7},
};

static struct http_req *req_of(const struct http_request *req)
{
    return (struct http_req *)CONTAINER_OF(req, const struct http_req, pub);
}

/* ---- life ---- */

static void req_task(void *arg)
{
    struct http_req *r = arg;
    bool drain = r->drain_due;

    ASSERT(!r->finished);
    r->drain_due = false;
    if (!r->conn) {
        if (!r->close_told && r->on_close) {
            r->close_told = true;
            r->on_close(&r->pub, r->close_arg);
        }
        return;
    }
    if (drain && r->on_drain)
        r->on_drain(&r->pub, r->drain_arg);
}

struct http_req *req_new(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_req *r;
    struct arena arena = {0};

    if (s->n_free_reqs) {
        r = LIST_FIRST(&s->free_reqs, struct http_req, link);
        list_remove(&r->link);
        s->n_free_reqs--;
        arena = r->pub.arena;
        *r = (struct http_req){0};
        r->pub.arena = arena;
    } else {
        r = NEW(struct http_req);
    }
    s->n_reqs++;
    s->stats.requests++;
    r->server = s;
    r->conn = c;
    r->proto = c->proto;
    list_init(&r->link);
    list_push_back(&c->reqs, &r->link);
    c->idle_since = 0;
    r->pub.conn_id = c->id;
    r->pub.id = atomic_fetch_add_explicit(&req_ids, 1, memory_order_relaxed);
    r->pub.tls = c->tls;
    r->pub.stream = c->stream;
    r->pub.peer_addr = arena_strz(&r->pub.arena, c->peer);
    r->pub.started = r->body_progress = r->out_progress = rt_now(s->rt);
    r->pub.content_length = -1;
    rt_task_init(&r->task, s->rt, req_task, r);
    return r;
}

static void req_put(struct http_req *r)
{
    struct http_server *s = r->server;

    ASSERT(r->finished && !r->conn);
    rt_task_cancel(&r->task);
    buf_fini(&r->body);
    bytesq_fini(&r->out);
    s->n_reqs--;
    if (s->n_free_reqs < FREE_REQS_MAX && !s->dead) {
        arena_clear(&r->pub.arena);
        list_init(&r->link);
        list_push_front(&s->free_reqs, &r->link);
        s->n_free_reqs++;
        return;
    }
    arena_fini(&r->pub.arena);
    free(r);
    server_maybe_free(s);
}

void req_detach(struct http_req *r)
{
    struct http_conn *c = r->conn;

    ASSERT(c);
    if (r->congested)
        c->n_congested--;
    r->congested = false;
    r->conn = NULL;
    r->pub.stream = NULL;
    list_remove(&r->link);
    if (list_empty(&c->reqs))
        c->idle_since = rt_now(r->server->rt);
    if (r->finished)
        req_put(r);
    else
        rt_task_schedule(&r->task);
}

void req_finish(struct http_req *r)
{
    ASSERT(!r->finished);
    r->finished = true;
    r->on_close = NULL;
    r->on_drain = NULL;
    rt_task_cancel(&r->task);
    if (!r->conn)
        req_put(r);
}

bool req_set_target(struct http_req *r, struct str method, struct str target)
{
    struct str path = target;

    for (size_t i = 1; i < _HTTP_METHOD_MAX; i++)
        if (str_eq(method, method_names[i])) {
            r->pub.method = (enum http_method)i;
            method = method_names[i];
        }
    r->pub.method_name = r->pub.method ? method : arena_str(&r->pub.arena, method);
    if (r->pub.method == HTTP_METHOD_CONNECT) {
        r->pub.path = target;
        return target.n > 0;
    }
    /* absolute form (RFC 9112 3.2.2): what a client sends to a proxy */
    if (str_starts(path, STR("http://")) || str_starts(path, STR("https://"))) {
        ssize_t at;

        path = str_sub(path, path.p[4] == 's' ? 8 : 7, path.n);
        at = str_find(path, '/');
        if (at < 0)
            return false;
        r->pub.authority = str_sub(path, 0, (size_t)at);
        path = str_sub(path, (size_t)at, path.n);
    }
    if (!path.n || (path.p[0] != '/' && !str_is(path, "*")))
        return false;
    for (size_t i = 0; i < path.n; i++) { /* no blanks or controls; '#' is not part of a target */
        unsigned char ch = (unsigned char)path.p[i];
        if (ch <= 0x20 || ch == 0x7f || ch == '#')
            return false;
    }
    (void)str_cut(&path, '?', &r->pub.path);
    r->pub.query = r->pub.path.p + r->pub.path.n < path.p ? path : STR_NONE;
    return true;
}

void req_call_handler(struct http_req *r)
{
    r->server->handler(&r->pub, r->server->arg);
}

struct str http_request_header(const struct http_request *req, struct str name)
{
    return http_header_get(req->headers, req->n_headers, name);
}

/* ---- body ---- */

bool req_body_wanted(const struct http_req *r)
{
    return r->body_mode != BODY_HELD && !r->body_paused;
}

static void tell_body(struct http_req *r)
{
    ASSERT(!r->body_told && r->body_ended);
    r->body_told = true;
    r->pub.body = (struct str){r->body.n ? r->body.data : "", r->body.n};
    r->on_body(&r->pub, r->body_arg);
}

static void body_too_large(struct http_req *r)
{
    char text[80];
    snprintf(text, sizeof(text), "Request entity too large: limit is %llu",
             (unsigned long long)r->body_limit);
    r->proto->refuse(r, 413, text);
}

void req_body_data(struct http_req *r, const void *p, size_t n)
{
    r->body_progress = rt_now(r->server->rt);
    r->body_seen += n;
    if (r->finished)
        r->body_mode = BODY_DROP;
    if (r->body_mode == BODY_DROP)
        return;
    if (r->body_mode == BODY_STREAM && !r->body_paused && !r->body.n) {
        r->on_data(&r->pub, p, n, r->body_arg);
        return;
    }
    if (r->body_mode == BODY_BUFFER && r->body.n + n > r->body_limit) {
        body_too_large(r);
        return;
    }
    if (r->body_mode == BODY_BUFFER && !r->body.n && r->pub.content_length > 0)
        (void)buf_reserve(&r->body, (size_t)MIN(r->pub.content_length, 64 * 1024));
    buf_add(&r->body, p, n);
}

void req_body_end(struct http_req *r)
{
    ASSERT(!r->body_ended);
    r->body_ended = true;
    if (r->finished)
        return;
    if (r->body_mode == BODY_BUFFER) {
        tell_body(r);
    } else if (r->body_mode == BODY_STREAM && !r->body_paused && !r->body.n) {
        r->body_told = true;
        r->on_data(&r->pub, NULL, 0, r->body_arg);
    }
}

void http_request_body(struct http_request *req, uint64_t limit_bytes,
                       void (*on_body)(struct http_request *req, void *arg), void *arg)
{
    struct http_req *r = req_of(req);

    ASSERT(r->body_mode == BODY_HELD && on_body && !r->finished);
    if (!r->conn)
        return;
    r->body_mode = BODY_BUFFER;
    r->body_limit = limit_bytes ? limit_bytes : r->server->opts.body_bytes_max;
    r->on_body = on_body;
    r->body_arg = arg;
    r->body_progress = rt_now(r->server->rt);
    if (r->body.n > r->body_limit ||
        (req->content_length > 0 && (uint64_t)req->content_length > r->body_limit))
        body_too_large(r);
    else if (r->body_ended)
        tell_body(r);
    else
        r->proto->body_want(r);
}

/* What HTTP/2 had to take while nobody asked or while paused. */
static void stream_held(struct http_req *r)
{
    struct buf held = r->body;

    if (!held.n)
        return;
    r->body = (struct buf){0};
    r->on_data(&r->pub, held.data, held.n, r->body_arg);
    buf_fini(&held);
}

/* A callback may have finished, and so freed, the request: it is asked for by its number. */
static bool conn_has(const struct http_conn *c, const struct http_req *r, uint64_t id)
{
    const struct http_req *it;

    LIST_FOR_EACH (it, &c->reqs, link)
        if (it == r)
            return it->pub.id == id;
    return false;
}

static void body_resume(struct http_req *r)
{
    struct http_conn *c = r->conn;
    uint64_t id = r->pub.id;

    if (!c)
        return;
    conn_enter(c);
    stream_held(r);
    if (conn_has(c, r, id) && !r->finished && !r->body_paused) {
        if (!r->body_ended) {
            r->proto->body_want(r);
        } else if (!r->body_told) {
            r->body_told = true;
            r->on_data(&r->pub, NULL, 0, r->body_arg);
        }
    }
    conn_leave(c);
}

void http_request_body_stream(struct http_request *req,
                              void (*on_data)(struct http_request *req, const void *p, size_t n,
                                              void *arg),
                              void *arg)
{
    struct http_req *r = req_of(req);

    ASSERT(r->body_mode == BODY_HELD && on_data && !r->finished);
    if (!r->conn)
        return;
    r->body_mode = BODY_STREAM;
    r->on_data = on_data;
    r->body_arg = arg;
    r->body_progress = rt_now(r->server->rt);
    body_resume(r);
}

void http_request_body_pause(struct http_request *req, bool paused)
{
    struct http_req *r = req_of(req);

    ASSERT(r->body_mode == BODY_STREAM && !r->finished);
    if (r->body_paused == paused)
        return;
    r->body_paused = paused;
    if (!paused)
        body_resume(r);
}

/* ---- answers ---- */

void req_send_whole(struct http_req *r, int status, const struct http_header *headers, size_t n,
                    struct http_bytes body)
{
    bool bodyless = status == 204 || status == 304 || status < 200;
    bool no_body = bodyless || r->pub.method == HTTP_METHOD_HEAD || !body.n;
    struct http_conn *c = r->conn;

    r->started = true;
    r->status = status;
    conn_enter(c);
    r->proto->head(r, status, headers, n, bodyless ? -2 : (int64_t)body.n, no_body);
    if (no_body)
        http_bytes_release(&body);
    else
        r->proto->write(r, body);
    r->finished = true;
    r->on_close = NULL;
    r->on_drain = NULL;
    rt_task_cancel(&r->task);
    r->proto->end(r, NULL, 0);
    conn_leave(c);
}

void http_respond(struct http_request *req, int status, const struct http_header *headers, size_t n,
                  struct http_bytes body)
{
    struct http_req *r = req_of(req);

    ASSERT(!r->finished && !r->started && status >= 200 && status <= 599);
    if (!r->conn) {
        http_bytes_release(&body);
        req_finish(r);
        return;
    }
    if (r->server->opts.gzip && gzip_respond(r, status, headers, n, &body))
        return;
    req_send_whole(r, status, headers, n, body);
}

void http_respond_str(struct http_request *req, int status, const char *content_type,
                      struct str body)
{
    struct http_header h = {STR("content-type"), str_z(content_type)};

    http_respond(req, status, &h, content_type ? 1 : 0, http_bytes_copy(body));
}

int http_stream_start(struct http_request *req, int status, const struct http_header *headers,
                      size_t n)
{
    struct http_req *r = req_of(req);
    struct http_conn *c = r->conn;

    ASSERT(!r->finished && !r->started && status >= 200 && status <= 599);
    if (!c)
        return -EPIPE;
    r->started = true;
    r->status = status;
    conn_enter(c);
    r->proto->head(r, status, headers, n, -1, req->method == HTTP_METHOD_HEAD);
    conn_leave(c);
    return 0;
}

size_t http_stream_queued_bytes(const struct http_request *req)
{
    const struct http_req *r = req_of(req);

    return r->conn ? r->proto->queued(r) : 0;
}

bool http_stream_congested(const struct http_request *req)
{
    return http_stream_queued_bytes(req) > RT_STREAM_HIGH_BYTES;
}

int http_stream_write(struct http_request *req, struct http_bytes chunk)
{
    struct http_req *r = req_of(req);
    size_t queued;

    ASSERT(!r->finished);
    if (!r->conn || !chunk.n || req->method == HTTP_METHOD_HEAD) {
        http_bytes_release(&chunk);
        return r->conn ? 0 : -EPIPE;
    }
    ASSERT(r->started);
    queued = r->proto->queued(r);
    if (queued + chunk.n > r->server->opts.stream_queue_bytes_max) {
        http_bytes_release(&chunk);
        return -ENOBUFS;
    }
    if (queued + chunk.n > RT_STREAM_HIGH_BYTES && !r->congested) {
        r->congested = true;
        r->conn->n_congested++;
    }
    r->proto->write(r, chunk);
    return 0;
}

void req_output_moved(struct http_req *r)
{
    if (!r->congested || !r->conn || r->proto->queued(r) > RT_STREAM_LOW_BYTES)
        return;
    r->congested = false;
    r->conn->n_congested--;
    if (r->on_drain && !r->finished) {
        r->drain_due = true;
        rt_task_schedule(&r->task);
    }
}

void http_on_drain(struct http_request *req, void (*fn)(struct http_request *req, void *arg),
                   void *arg)
{
    struct http_req *r = req_of(req);

    r->on_drain = fn;
    r->drain_arg = arg;
}

void http_stream_end_trailers(struct http_request *req, const struct http_header *trailers,
                              size_t n)
{
    struct http_req *r = req_of(req);
    struct http_conn *c = r->conn;

    ASSERT(!r->finished);
    if (!c) {
        req_finish(r);
        return;
    }
    ASSERT(r->started);
    conn_enter(c);
    r->finished = true;
    r->on_close = NULL;
    r->on_drain = NULL;
    rt_task_cancel(&r->task);
    r->proto->end(r, trailers, n);
    conn_leave(c);
}

void http_stream_end(struct http_request *req)
{
    http_stream_end_trailers(req, NULL, 0);
}

void http_stream_abort(struct http_request *req)
{
    struct http_req *r = req_of(req);
    struct http_conn *c = r->conn;

    ASSERT(!r->finished);
    req_finish(r);
    if (!c)
        return;
    conn_enter(c);
    r->proto->abort(r);
    conn_leave(c);
}

void http_on_close(struct http_request *req, void (*fn)(struct http_request *req, void *arg),
                   void *arg)
{
    struct http_req *r = req_of(req);

    ASSERT(!r->finished);
    r->on_close = fn;
    r->close_arg = arg;
    if (!r->conn && !r->close_told)
        rt_task_schedule(&r->task);
}

bool http_request_gone(const struct http_request *req)
{
    return !req_of(req)->conn;
}

void req_error_body(struct http_server *s, int status, const char *what, struct buf *out,
                    const char **ret_type)
{
    if (s->opts.error_page) {
        *ret_type = s->opts.error_page(status, what, out, s->opts.error_page_arg);
        return;
    }
    *ret_type = "text/plain; charset=utf-8";
    buf_printf(out, "%d %s: %s\n", status, http_status_text(status), what);
}
