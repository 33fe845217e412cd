/* Answers on HTTP/2: heads are submitted, bodies wait in the request's queue until nghttp2 asks for
 * them, which it does as far as the peer's windows and the socket allow. */
#include "http/h2_server_int.h"

#include <stdio.h>

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http_req *r = h2_req(user, id);
    size_t take;

    (void)buf;
    (void)source;
    if (!r)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    take = MIN(n, r->out.bytes);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (take == r->out.bytes && r->out_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (r->n_trailers) {
            nghttp2_nv *nv = arena_alloc(&r->pub.arena, sizeof(*nv) * r->n_trailers);

            for (size_t i = 0; i < r->n_trailers; i++)
                h2_nv(&nv[i], r->trailers[i].name, r->trailers[i].value);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            (void)nghttp2_submit_trailer(session, id, nv, r->n_trailers);
        }
    } else if (!take) {
        r->out_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)take;
}

int h2_send_cb_data(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                    nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct http_req *r = h2_req(h, f->hd.stream_id);

    (void)session;
    (void)source;
    if (!r)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (h->o.buf.n >= 256 * 1024)
        return NGHTTP2_ERR_WOULDBLOCK;
    h2_send_data(&h->o, f, head, n, &r->out);
    r->out_progress = rt_now(h->conn->server->rt);
    return 0;
}

static void h2_resume(struct http_req *r)
{
    struct h2 *h = h2_of(r->conn);

    if (r->out_deferred) {
        r->out_deferred = false;
        (void)nghttp2_session_resume_data(h->o.session, r->stream_id);
    }
    h2_later(h);
}

void h2_head(struct http_req *r, int status, const struct http_header *headers, size_t n,
             int64_t length, bool no_body)
{
    struct h2 *h = h2_of(r->conn);
    nghttp2_nv *nv = arena_alloc(&r->pub.arena, sizeof(*nv) * (n + 3));
    nghttp2_data_provider body = {.read_callback = read_body};
    char digits[24], code[4];
    size_t k = 0;

    code[0] = (char)('0' + status / 100 % 10);
    code[1] = (char)('0' + status / 10 % 10);
    code[2] = (char)('0' + status % 10);
    h2_nv(&nv[k++], STR(":status"), (struct str){code, 3});
    h2_nv(&nv[k++], STR("date"), server_date(r->server));
    for (size_t i = 0; i < n; i++) {
        ASSERT(http_header_value_valid(headers[i].value));
        h2_nv(&nv[k++], headers[i].name, headers[i].value);
    }
    if (length >= 0) {
        int len = snprintf(digits, sizeof(digits), "%lld", (long long)length);

        h2_nv(&nv[k++], STR("content-length"), (struct str){digits, (size_t)len});
    }
    r->out_ended = no_body;
    if (nghttp2_submit_response(h->o.session, r->stream_id, nv, k, no_body ? NULL : &body) < 0)
        (void)nghttp2_submit_rst_stream(h->o.session, NGHTTP2_FLAG_NONE, r->stream_id,
                                        NGHTTP2_INTERNAL_ERROR);
    h2_later(h);
}

void h2_write(struct http_req *r, struct http_bytes b)
{
    if (!r->out.bytes)
        r->out_progress = rt_now(r->server->rt);
    bytesq_push(&r->out, b);
    h2_resume(r);
}

void h2_end(struct http_req *r, const struct http_header *trailers, size_t n)
{
    struct http_header *t;

    if (n && !r->out_ended) {
        t = arena_alloc(&r->pub.arena, sizeof(*t) * n);
        for (size_t i = 0; i < n; i++)
            t[i] = (struct http_header){arena_str(&r->pub.arena, trailers[i].name),
                                        arena_str(&r->pub.arena, trailers[i].value)};
        r->trailers = t;
        r->n_trailers = n;
    }
    r->out_ended = true;
    if (r->unconsumed) /* what waited unused in the window */
        h2_consume(h2_of(r->conn), r->stream_id, r->unconsumed);
    r->unconsumed = 0;
    r->body_mode = BODY_DROP;
    h2_resume(r);
}

void h2_abort(struct http_req *r)
{
    struct h2 *h = h2_of(r->conn);

    (void)nghttp2_submit_rst_stream(h->o.session, NGHTTP2_FLAG_NONE, r->stream_id,
                                    NGHTTP2_INTERNAL_ERROR);
    h2_later(h);
}

size_t h2_queued(const struct http_req *r)
{
    return r->out.bytes;
}

void h2_refuse(struct http_req *r, int status, const char *what)
{
    struct http_conn *c = r->conn;
    struct h2 *h = h2_of(c);
    struct http_req *own;
    struct buf body = {0};
    const char *ct = NULL;
    struct http_header type = {STR("content-type"), STR_NONE};
    int32_t id = r->stream_id;
    bool ended = r->body_ended, head = r->pub.method == HTTP_METHOD_HEAD;
    bool started = r->started;
    size_t n;
    char *p;

    c->server->stats.bad_requests++;
    if (started) {
        (void)nghttp2_session_set_stream_user_data(h->o.session, id, NULL);
        (void)nghttp2_submit_rst_stream(h->o.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        req_detach(r);
        h2_later(h);
        return;
    }
    own = req_new(c);
    c->server->stats.requests--;
    own->stream_id = id;
    own->body_ended = ended;
    own->body_mode = BODY_DROP;
    own->pub.method = head ? HTTP_METHOD_HEAD : HTTP_METHOD_GET;
    (void)nghttp2_session_set_stream_user_data(h->o.session, id, own);
    req_detach(r);
    req_error_body(c->server, status, what, &body, &ct);
    type.value = str_z(ct);
    p = buf_take(&body, &n);
    req_send_whole(own, status, &type, 1, http_bytes_take(p, n));
}

void h2_body_want(struct http_req *r)
{
    struct h2 *h = h2_of(r->conn);
    nghttp2_nv nv;

    if (r->unconsumed)
        h2_consume(h, r->stream_id, r->unconsumed);
    r->unconsumed = 0;
    if (r->expect_continue && !r->body_seen && !r->started) {
        h2_nv(&nv, STR(":status"), STR("100"));
        (void)nghttp2_submit_headers(h->o.session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1,
                                     NULL);
        r->expect_continue = false;
    }
    h2_later(h);
}
