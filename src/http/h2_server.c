/* HTTP/2 server: nghttp2 keeps the protocol, this file keeps requests.
 *
 * Frames are made once a turn, late, from what all requests of the connection had to say (h2_io.c).
 * Receive windows are reopened by us: the connection's at once, a stream's when its body was used,
 * so a handler that does not read holds up its own stream and no other. A stream's memory is so
 * bounded by its window.
 *
 * Against floods: nghttp2 bounds pings, settings and continuation frames; resets are counted here
 * (a stream that is opened and reset costs us a handler call and the peer nothing). */
#include "http/h2_server_int.h"
#include "base/mem.h"

#define WINDOW_UP      4                     /* connection window, in stream windows */
#define ANSWERED_GRACE NSEC_PER_SEC          /* for a client to stop sending what is not wanted */
#define GOAWAY_GRACE   (300 * NSEC_PER_MSEC) /* a round trip, generously */

void h2_later(struct h2 *h)
{
    if (!h->o.in_recv && !h->o.in_send)
        rt_task_schedule_late(&h->o.task);
}

static void h2_end_if_done(struct h2 *h)
{
    if (!nghttp2_session_want_read(h->o.session) && !nghttp2_session_want_write(h->o.session))
        conn_finish(h->conn);
}

static void h2_flush_now(struct h2 *h)
{
    struct http_conn *c = h->conn;
    struct http_req *r;
    uint64_t before = h->o.written;

    if (c->closed)
        return;
    conn_enter(c);
    if (h2_flush(&h->o) < 0) {
        conn_close(c);
    } else if (!c->closed) {
        c->written += h->o.written - before;
        c->server->stats.bytes_out += h->o.written - before;
        if (c->n_congested)
            LIST_FOR_EACH (r, &c->reqs, link)
                req_output_moved(r);
        h2_end_if_done(h);
    }
    conn_leave(c);
}

static void h2_task(void *arg)
{
    h2_flush_now(arg);
}

/* ---- receiving ---- */

struct http_req *h2_req(struct h2 *h, int32_t id)
{
    if (h->conn->closed)
        return NULL;
    return nghttp2_session_get_stream_user_data(h->o.session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    struct http_req *r;

    if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST || h->conn->closed)
        return 0;
    r = req_new(h->conn);
    h->conn->server->stats.h2_requests++;
    r->stream_id = f->hd.stream_id;
    r->finished = true; /* not shown to the handler yet */
    r->pub.version_major = 2;
    r->headers_cap = 16;
    r->pub.headers = arena_alloc(&r->pub.arena, sizeof(struct http_header) * r->headers_cap);
    (void)nghttp2_session_set_stream_user_data(session, f->hd.stream_id, r);
    return 0;
}

static struct str take_rcbuf(struct http_req *r, nghttp2_rcbuf *b)
{
    nghttp2_vec v = nghttp2_rcbuf_get_buf(b);
    struct str s = {(const char *)v.base, v.len};

    return nghttp2_rcbuf_is_static(b) ? s : arena_str(&r->pub.arena, s);
}

static void add_header(struct http_req *r, struct str name, struct str value)
{
    struct http_header *v = (struct http_header *)r->pub.headers;

    if (r->pub.n_headers == r->headers_cap) {
        r->headers_cap *= 2;
        v = arena_alloc(&r->pub.arena, sizeof(*v) * r->headers_cap);
        memcpy(v, r->pub.headers, sizeof(*v) * r->pub.n_headers);
        r->pub.headers = v;
    }
    v[r->pub.n_headers++] = (struct http_header){name, value};
}

static void take_pseudo(struct http_req *r, struct str name, struct str value)
{
    if (str_is(name, ":method"))
        r->pub.method_name = value;
    else if (str_is(name, ":path"))
        r->pub.path = value;
    else if (str_is(name, ":authority"))
        r->pub.authority = value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    struct h2 *h = user;
    const struct http_server_opts *o = &h->conn->server->opts;
    struct http_req *r = h2_req(h, f->hd.stream_id);
    nghttp2_vec nv = nghttp2_rcbuf_get_buf(name), vv = nghttp2_rcbuf_get_buf(value);
    struct str n, v;

    (void)session;
    (void)flags;
    if (!r || f->headers.cat != NGHTTP2_HCAT_REQUEST || r->too_large)
        return 0;
    r->head_bytes += nv.len + vv.len + 4;
    if (r->head_bytes > o->head_bytes_max || nv.len > HTTP_HEADER_NAME_MAX ||
        r->pub.n_headers >= o->headers_max) {
        r->too_large = true;
        return 0;
    }
    n = take_rcbuf(r, name);
    v = take_rcbuf(r, value);
    if (n.p[0] == ':')
        take_pseudo(r, n, v);
    else
        add_header(r, n, v);
    return 0;
}

void h2_consume(struct h2 *h, int32_t id, size_t n)
{
    (void)nghttp2_session_consume_stream(h->o.session, id, n);
}

static void take_request(struct h2 *h, struct http_req *r, bool ended)
{
    struct str length = http_request_header(&r->pub, STR("content-length"));
    struct str expect = http_request_header(&r->pub, STR("expect"));
    uint64_t n;

    r->finished = false;
    if (r->too_large || r->pub.path.n > HTTP_TARGET_BYTES_MAX) {
        r->finished = true;
        h2_refuse(r, r->too_large ? 431 : 414, "the request's head is too large");
        return;
    }
    if (length.p && str_to_u64(length, &n) == 0 && n <= INT64_MAX)
        r->pub.content_length = (int64_t)n; /* nghttp2 checked it against other ones and the body */
    if (!r->pub.authority.p)
        r->pub.authority = http_request_header(&r->pub, STR("host"));
    if (!req_set_target(r, r->pub.method_name, r->pub.path)) {
        r->finished = true;
        h2_refuse(r, 400, "the request's path cannot be understood");
        return;
    }
    r->expect_continue = str_ieq(expect, STR("100-continue")) && !ended;
    r->body_ended = ended;
    r->shown = h->any = true;
    req_call_handler(r);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    bool ended = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct http_req *r;

    (void)session;
    if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
        return 0;
    r = h2_req(h, f->hd.stream_id);
    if (!r || r->body_ended)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
        take_request(h, r, ended);
    else if (ended)
        req_body_end(r);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t n, void *user)
{
    struct h2 *h = user;
    struct http_req *r = h2_req(h, id);

    (void)flags;
    if (h->conn->closed)
        return 0;
    (void)nghttp2_session_consume_connection(session, n);
    if (!r) {
        h2_consume(h, id, n);
        return 0;
    }
    if (r->answered && (r->dropped += n) > BODY_DROP_BYTES_MAX)
        return 0; /* its window stays shut */
    if (r->finished || req_body_wanted(r))
        h2_consume(h, id, n);
    else
        r->unconsumed += n;
    req_body_data(r, p, n);
    return 0;
}

/* CVE-2023-44487: streams that are opened only to be reset. */
static bool rst_allowed(struct h2 *h)
{
    nsec_t now = rt_now(h->conn->server->rt);

    h->rst_tokens = MIN(h->rst_tokens + (double)(now - h->rst_at) / NSEC_PER_SEC * RST_PER_SEC,
                        (double)RST_BURST);
    h->rst_at = now;
    if (h->rst_tokens < 1)
        return false;
    h->rst_tokens -= 1;
    return true;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct http_req *r = h2_req(h, id);

    if (!r)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    if (code != NGHTTP2_NO_ERROR && !r->out_ended && h->o.in_recv && !rst_allowed(h)) {
        h->conn->server->stats.rapid_resets++;
        (void)nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    if (r->conn)
        req_detach(r);
    return 0;
}

/* An answer was sent before the whole body came: the rest is not wanted (RFC 9113 8.1). But a reset
 * that comes together with the answer makes some clients (curl) drop the answer; so the body is
 * read and dropped for a while first, and reset by the sweep when it does not end. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    struct http_req *r;

    (void)session;
    if ((f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) ||
        !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    r = h2_req(h, f->hd.stream_id);
    if (r && !r->body_ended && !r->answered)
        r->answered = rt_now(h->conn->server->rt);
    return 0;
}

/* ---- what the server asks ---- */

static void h2_data(struct http_conn *c, struct str data)
{
    struct h2 *h = h2_of(c);
    ssize_t n;

    ASSERT(!h->o.in_recv);
    h->o.in_recv = true;
    n = nghttp2_session_mem_recv(h->o.session, (const uint8_t *)data.p, data.n);
    h->o.in_recv = false;
    if (c->closed)
        return;
    if (n < 0) { /* fatal, or not HTTP/2 at all: what was queued (GOAWAY) still goes out */
        c->server->stats.bad_requests++;
        h2_flush_now(h);
        conn_finish(c);
        return;
    }
    h2_later(h);
}

static void h2_eof(struct http_conn *c)
{
    h2_flush_now(h2_of(c));
    conn_finish(c);
}

static void h2_drain(struct http_conn *c)
{
    h2_flush_now(h2_of(c));
}

static void end_session(struct h2 *h, uint32_t code)
{
    (void)nghttp2_session_terminate_session(h->o.session, code);
    h2_later(h);
}

/* True when the connection is to be given up because of this request. */
static bool check_req(struct h2 *h, struct http_req *r, nsec_t now)
{
    const struct http_server_opts *o = &h->conn->server->opts;

    if (r->answered && now - r->answered > ANSWERED_GRACE) {
        (void)nghttp2_submit_rst_stream(h->o.session, NGHTTP2_FLAG_NONE, r->stream_id,
                                        NGHTTP2_NO_ERROR);
        h2_later(h);
        return false;
    }
    if (!r->shown && r->body_mode != BODY_DROP &&
        now - r->pub.started > o->head_timeout_ms * NSEC_PER_MSEC)
        return true;
    if (r->shown && !r->finished && !r->body_ended && r->body_mode == BODY_BUFFER &&
        now - r->body_progress > o->body_timeout_ms * NSEC_PER_MSEC) {
        h->conn->server->stats.timeouts++;
        h2_refuse(r, 408, "the request body did not arrive in time");
    } else if (r->out.bytes && !rt_stream_congested(h->conn->stream) &&
               now - r->out_progress > o->write_timeout_ms * NSEC_PER_MSEC) {
        h->conn->server->stats.timeouts++;
        h2_abort(r); /* its window was not opened for too long */
    }
    return false;
}

static void h2_check(struct http_conn *c, nsec_t now)
{
    struct h2 *h = h2_of(c);
    const struct http_server_opts *o = &c->server->opts;
    nsec_t idle = o->idle_timeout_ms * NSEC_PER_MSEC;
    struct http_req *r;
    bool give_up = false;

    if (!h->any)
        idle = MIN(idle, o->head_timeout_ms * NSEC_PER_MSEC);
    LIST_FOR_EACH (r, &c->reqs, link)
        give_up = check_req(h, r, now) || give_up;
    if (give_up || (c->idle_since && now - c->idle_since > idle)) {
        c->server->stats.timeouts++;
        if (h->goaway || give_up)
            conn_close(c);
        else
            end_session(h, NGHTTP2_NO_ERROR);
        h->goaway = true;
    } else if (h->shutdown_at && !h->goaway && now - h->shutdown_at > GOAWAY_GRACE) {
        h->goaway = true;
        (void)nghttp2_submit_goaway(h->o.session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h->o.session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
        h2_later(h);
    }
}

/* RFC 9113 6.8: a first GOAWAY that refuses nothing, so that requests under way are not lost. */
static void h2_shutdown(struct http_conn *c)
{
    struct h2 *h = h2_of(c);

    if (list_empty(&c->reqs)) {
        h->goaway = true;
        end_session(h, NGHTTP2_NO_ERROR);
        return;
    }
    (void)nghttp2_submit_shutdown_notice(h->o.session);
    h->shutdown_at = rt_now(c->server->rt);
    h2_later(h);
}

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *cb;

    ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
    nghttp2_session_callbacks_set_send_callback(cb, h2_send_cb);
    nghttp2_session_callbacks_set_send_data_callback(cb, h2_send_cb_data);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    return cb;
}

static struct h2 *h2_new(struct http_conn *c)
{
    const struct http_server_opts *opts = &c->server->opts;
    struct h2 *h = NEW(struct h2);
    nghttp2_session_callbacks *cb = new_callbacks();
    nghttp2_option *opt;
    int32_t up = (int32_t)MIN((uint64_t)opts->h2_window_bytes * WINDOW_UP, INT32_MAX);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, opts->h2_streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, opts->h2_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)opts->head_bytes_max},
    };

    c->state = h;
    h->conn = c;
    h->o.stream = c->stream;
    h->o.closed = &c->closed;
    h->rst_tokens = RST_BURST;
    h->rst_at = rt_now(c->server->rt);
    rt_task_init(&h->o.task, c->server->rt, h2_task, h);
    ASSERT(nghttp2_option_new(&opt) == 0);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_stream_reset_rate_limit(opt, 2 * RST_BURST, 2 * RST_PER_SEC);
    ASSERT(nghttp2_session_server_new2(&h->o.session, cb, h, opt) == 0);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    ASSERT(nghttp2_submit_settings(h->o.session, NGHTTP2_FLAG_NONE, settings,
                                   ARRAY_LEN(settings)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(h->o.session, NGHTTP2_FLAG_NONE, 0, up) == 0);
    h2_later(h);
    return h;
}

struct h2 *h2_of(struct http_conn *c)
{
    return c->state ? c->state : h2_new(c);
}

static void h2_free(struct http_conn *c)
{
    struct h2 *h = c->state;

    if (!h)
        return;
    rt_task_cancel(&h->o.task);
    nghttp2_session_del(h->o.session);
    buf_fini(&h->o.buf);
    free(h);
}

const struct http_proto h2_proto = {
    .data = h2_data,
    .eof = h2_eof,
    .drain = h2_drain,
    .check = h2_check,
    .shutdown = h2_shutdown,
    .free = h2_free,
    .body_want = h2_body_want,
    .head = h2_head,
    .write = h2_write,
    .end = h2_end,
    .abort = h2_abort,
    .queued = h2_queued,
    .refuse = h2_refuse,
};
