/* HTTP/2 client: many calls on one connection. nghttp2 keeps the protocol, this file maps its
 * streams to calls.
 *
 * Receive windows are reopened by us: the connection's at once, a call's when its bytes were taken,
 * so one paused watch holds up nobody else. Streams the server refused or never looked at
 * (REFUSED_STREAM, above GOAWAY's last id) go back into line once. */
#include "http/client_int.h"
#include "http/h2_int.h"
#include "base/mem.h"

#include <stdio.h>

#define WINDOW_UP 4 /* connection window, in stream windows */

struct h2c {
    struct h2_out o; /* first: nghttp2's user pointer */
    struct cconn *conn;
    bool settled; /* the server's SETTINGS came */
};

static void h2c_later(struct h2c *h)
{
    if (!h->o.in_recv && !h->o.in_send)
        rt_task_schedule_late(&h->o.task);
}

static void h2c_flush(struct h2c *h)
{
    struct cconn *c = h->conn;
    struct http_call *call;

    if (c->closed)
        return;
    cconn_enter(c);
    if (h2_flush(&h->o) < 0) {
        cconn_close(c, -EPROTO, "HTTP/2 session failed");
    } else if (!c->closed) {
        if (c->client->n_congested)
            LIST_FOR_EACH (call, &c->calls, link)
                call_output_moved(call);
        if (!nghttp2_session_want_read(h->o.session) && !nghttp2_session_want_write(h->o.session))
            cconn_close(c, -ECONNRESET, "the server closed the connection");
    }
    cconn_leave(c);
}

static void h2c_task(void *arg)
{
    h2c_flush(arg);
}

/* NULL also when the connection was closed from inside a callback: nghttp2 goes on to the end of
 * its input. */
static struct http_call *call_by_id(struct h2c *h, int32_t id)
{
    if (h->conn->closed)
        return NULL;
    return nghttp2_session_get_stream_user_data(h->o.session, id);
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct http_call *call = call_by_id(user, f->hd.stream_id);

    (void)session;
    if (call) {
        call->answer = NULL;
        call->n_answer = call->cap_answer = call->answer_bytes = 0;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct h2c *h = user;
    const struct http_client_opts *o = &h->conn->client->opts;
    struct http_call *call = call_by_id(h, f->hd.stream_id);
    struct str n = {(const char *)name, name_n}, v = {(const char *)value, value_n};
    struct http_header *grown;

    (void)session;
    (void)flags;
    if (!call)
        return 0;
    call->answer_bytes += name_n + value_n + 4;
    if (call->answer_bytes > o->head_bytes_max || call->n_answer >= o->headers_max)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
    if (str_is(n, ":status")) {
        uint64_t status = 0;

        call->status_seen = str_to_u64(v, &status) == 0 ? (int)status : 0;
        return 0;
    }
    if (call->n_answer == call->cap_answer) {
        call->cap_answer = call->cap_answer ? call->cap_answer * 2 : 16;
        grown = arena_alloc(&call->arena, sizeof(*grown) * call->cap_answer);
        if (call->n_answer)
            memcpy(grown, call->answer, sizeof(*grown) * call->n_answer);
        call->answer = grown;
    }
    call->answer[call->n_answer++] =
        (struct http_header){arena_str(&call->arena, n), arena_str(&call->arena, v)};
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2c *h = user;
    struct http_call *call;

    if (f->hd.type == NGHTTP2_GOAWAY) {
        h->conn->closing = true;
        client_dispatch_later(h->conn->client);
        return 0;
    }
    if (f->hd.type == NGHTTP2_SETTINGS) {
        h->settled = true;
        client_dispatch_later(h->conn->client); /* there may be more room now */
        return 0;
    }
    if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
        return 0;
    call = call_by_id(h, f->hd.stream_id);
    if (!call)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS && !call->head_done && call->status_seen >= 200)
        call_head(call, call->status_seen, call->answer, call->n_answer);
    call = call_by_id(h, f->hd.stream_id);
    if (!call || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    call->answered = true;
    if (!call->out_ended || call->out.bytes) /* the rest of our body is not wanted any more */
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, f->hd.stream_id,
                                        NGHTTP2_CANCEL);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t n, void *user)
{
    struct http_call *call = call_by_id(user, id);
    size_t used;

    (void)flags;
    (void)nghttp2_session_consume_connection(session, n);
    if (!call) {
        (void)nghttp2_session_consume_stream(session, id, n);
        return 0;
    }
    used = call_data(call, p, n);
    if (used)
        (void)nghttp2_session_consume_stream(session, id, used);
    else if (call_by_id(user, id))
        call->unconsumed += n;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2c *h = user;
    struct http_call *call = call_by_id(h, id);
    char text[80];

    if (!call)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    /* a server may reset with NO_ERROR behind a whole answer (RFC 9113 8.1) */
    if (call->answered && call->head_done) {
        bool trailers = call->answer != call->final_headers;

        call_end(call, trailers ? call->answer : NULL, trailers ? call->n_answer : 0);
        client_dispatch_later(h->conn->client);
        return 0;
    }
    call_leave_conn(call);
    call->safe_to_retry = code == NGHTTP2_REFUSED_STREAM;
    if (!call_retry(call)) {
        snprintf(text, sizeof(text), "the server reset the stream: %s",
                 nghttp2_http2_strerror(code));
        call_fail(call,
                  code == NGHTTP2_CANCEL || code == NGHTTP2_INTERNAL_ERROR ||
                          code == NGHTTP2_REFUSED_STREAM || code == NGHTTP2_NO_ERROR
                      ? -ECONNRESET
                      : -EPROTO,
                  text);
    }
    client_dispatch_later(h->conn->client);
    return 0;
}

/* ---- sending ---- */

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http_call *call = call_by_id(user, id);
    size_t take;

    (void)session;
    (void)buf;
    (void)source;
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    take = MIN(n, call->out.bytes);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (take == call->out.bytes && call->out_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (!take) {
        call->out_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)take;
}

static int send_data(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *user)
{
    struct h2c *h = user;
    struct http_call *call = call_by_id(h, f->hd.stream_id);

    (void)session;
    (void)source;
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (h->o.buf.n >= 256 * 1024)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (n)
        call->touched = true;
    h2_send_data(&h->o, f, head, n, &call->out);
    return 0;
}

static void h2c_start(struct http_call *call)
{
    struct h2c *h = call->conn->state;
    struct http_client *cl = call->client;
    nghttp2_nv *nv = arena_alloc(&call->arena, sizeof(*nv) * (call->n_headers + 5));
    nghttp2_data_provider body = {.read_callback = read_body};
    bool has_body = call->body_bytes || call->body_stream;
    struct str authority = http_header_get(call->headers, call->n_headers, STR("host"));
    char digits[24];
    size_t k = 0;

    h2_nv(&nv[k++], STR(":method"), call->method);
    h2_nv(&nv[k++], STR(":scheme"), cl->tls ? STR("https") : STR("http"));
    h2_nv(&nv[k++], STR(":authority"), authority.p ? authority : str_z(cl->authority));
    h2_nv(&nv[k++], STR(":path"), call->target);
    for (size_t i = 0; i < call->n_headers; i++)
        if (!str_is(call->headers[i].name, "host"))
            h2_nv(&nv[k++], call->headers[i].name, call->headers[i].value);
    if (call->body_bytes && !call->body_stream) {
        int len = snprintf(digits, sizeof(digits), "%zu", call->body_bytes);

        h2_nv(&nv[k++], STR("content-length"), (struct str){digits, (size_t)len});
    }
    call->stream_id =
        nghttp2_submit_request(h->o.session, NULL, nv, k, has_body ? &body : NULL, call);
    if (call->stream_id < 0) { /* out of stream ids: this connection has served its time */
        call->conn->closing = true;
        call_leave_conn(call);
        call->safe_to_retry = true;
        if (!call_retry(call))
            call_fail(call, -ECONNRESET, "the connection has no more streams");
        return;
    }
    h2c_later(h);
}

static void wake(struct http_call *call)
{
    struct h2c *h = call->conn->state;

    if (call->out_deferred) {
        call->out_deferred = false;
        (void)nghttp2_session_resume_data(h->o.session, call->stream_id);
    }
    h2c_later(h);
}

static void h2c_write(struct http_call *call, struct http_bytes b)
{
    bytesq_push(&call->out, b);
    wake(call);
}

static void h2c_end(struct http_call *call)
{
    wake(call);
}

static void h2c_cancel(struct http_call *call, struct cconn *c)
{
    struct h2c *h = c->state;

    if (c->closed)
        return;
    (void)nghttp2_session_set_stream_user_data(h->o.session, call->stream_id, NULL);
    (void)nghttp2_submit_rst_stream(h->o.session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_CANCEL);
    h2c_later(h);
    client_dispatch_later(c->client);
}

static void h2c_resume(struct http_call *call)
{
    struct h2c *h = call->conn->state;

    if (call->unconsumed)
        (void)nghttp2_session_consume_stream(h->o.session, call->stream_id, call->unconsumed);
    call->unconsumed = 0;
    h2c_later(h);
}

/* ---- the connection ---- */

static void h2c_data(struct cconn *c, struct str data)
{
    struct h2c *h = c->state;
    ssize_t n;

    ASSERT(!h->o.in_recv);
    h->o.in_recv = true;
    n = nghttp2_session_mem_recv(h->o.session, (const uint8_t *)data.p, data.n);
    h->o.in_recv = false;
    if (c->closed)
        return;
    if (n < 0) {
        h2c_flush(h);
        cconn_close(c, -EPROTO, nghttp2_strerror((int)n));
        return;
    }
    if (c->closing)
        cconn_arm(c); /* GOAWAY and nothing left: ends */
    if (!c->closed)
        h2c_later(h);
}

static void h2c_eof(struct cconn *c)
{
    cconn_close(c, -ECONNRESET, "the server closed the connection");
}

static void h2c_drain(struct cconn *c)
{
    h2c_flush(c->state);
}

static unsigned h2c_room(const struct cconn *c)
{
    const struct h2c *h = c->state;
    uint32_t max =
        nghttp2_session_get_remote_settings(h->o.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    /* before the server's SETTINGS came 100 is what RFC 9113 6.5.2 recommends it to allow */
    max = MIN(max, h->settled ? 100000u : 100u);
    return !c->closing && c->n_calls < max ? max - c->n_calls : 0;
}

static void h2c_ping(struct cconn *c)
{
    struct h2c *h = c->state;

    (void)nghttp2_submit_ping(h->o.session, NGHTTP2_FLAG_NONE, NULL);
    h2c_later(h);
}

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *cb;

    ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
    nghttp2_session_callbacks_set_send_callback(cb, h2_send_cb);
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

static void h2c_open(struct cconn *c)
{
    const struct http_client_opts *opts = &c->client->opts;
    struct h2c *h = NEW(struct h2c);
    nghttp2_session_callbacks *cb = new_callbacks();
    nghttp2_option *opt;
    int32_t up = (int32_t)MIN((uint64_t)opts->h2_window_bytes * WINDOW_UP, INT32_MAX);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, opts->h2_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)opts->head_bytes_max},
    };

    c->state = h;
    h->conn = c;
    h->o.stream = c->stream;
    h->o.closed = &c->closed;
    rt_task_init(&h->o.task, c->client->rt, h2c_task, h);
    ASSERT(nghttp2_option_new(&opt) == 0);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    ASSERT(nghttp2_session_client_new2(&h->o.session, cb, h, opt) == 0);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    ASSERT(nghttp2_submit_settings(h->o.session, NGHTTP2_FLAG_NONE, settings,
                                   ARRAY_LEN(settings)) == 0);
    ASSERT(nghttp2_session_set_local_window_size(h->o.session, NGHTTP2_FLAG_NONE, 0, up) == 0);
    h2c_later(h);
}

static void h2c_free(struct cconn *c)
{
    struct h2c *h = c->state;

    if (!h)
        return;
    rt_task_cancel(&h->o.task);
    nghttp2_session_del(h->o.session);
    buf_fini(&h->o.buf);
    free(h);
}

const struct cproto h2_cproto = {
    .open = h2c_open,
    .data = h2c_data,
    .eof = h2c_eof,
    .drain = h2c_drain,
    .free = h2c_free,
    .room = h2c_room,
    .start = h2c_start,
    .write = h2c_write,
    .end = h2c_end,
    .cancel = h2c_cancel,
    .resume = h2c_resume,
    .ping = h2c_ping,
};
