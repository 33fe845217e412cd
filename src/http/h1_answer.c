/* Answers on HTTP/1.1: heads, chunks, the library's own refusals, and the way out of HTTP
 * (upgrades). */
#include "http/h1_server_int.h"

#define CHUNK_COPY_MAX 4096 /* copying so much is cheaper than a reference of its own */

/* ---- answers of our own ---- */

static void write_head(struct h1 *h, int status, const struct http_header *headers, size_t n,
                       int64_t length, bool chunked, bool close)
{
    struct buf *b = &h->out;

    buf_printf(b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    buf_add_lit(b, "date: ");
    buf_add_str(b, server_date(h->conn->server));
    buf_add_lit(b, "\r\n");
    h1_write_headers(b, headers, n);
    if (length >= 0) {
        buf_add_lit(b, "content-length: ");
        buf_add_i64(b, length);
        buf_add_lit(b, "\r\n");
    } else if (chunked) {
        buf_add_lit(b, "transfer-encoding: chunked\r\n");
    }
    if (close)
        buf_add_lit(b, "connection: close\r\n");
    buf_add_lit(b, "\r\n");
}

void h1_refuse(struct h1 *h, int status, const char *what)
{
    struct http_conn *c = h->conn;
    struct buf body = {0};
    struct http_header type = {STR("content-type"), STR_NONE};
    const char *ct = NULL;

    if (c->closed)
        return;
    c->server->stats.bad_requests++;
    if (!what || !*what) /* llhttp has no words for some errors */
        what = http_status_text(status);
    if (!h->streaming) {
        req_error_body(c->server, status, what, &body, &ct);
        type.value = str_z(ct);
        write_head(h, status, &type, 1, (int64_t)body.n, false, true);
        if (!h->req || h->req->pub.method != HTTP_METHOD_HEAD)
            buf_add_str(&h->out, buf_str(&body));
        conn_write(c, &h->out);
        buf_fini(&body);
    }
    conn_finish(c);
}

void h1_req_refuse(struct http_req *r, int status, const char *what)
{
    h1_refuse(h1_of(r->conn), status, what);
}

/* ---- what a request asks ---- */

void h1_body_want(struct http_req *r)
{
    struct h1 *h = h1_of(r->conn);

    if (r->expect_continue && !h->sent_continue && !h->dropped && !r->body_seen) {
        h->sent_continue = true;
        buf_add_lit(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn_write(r->conn, &h->out);
    }
    h1_later(h);
}

void h1_head(struct http_req *r, int status, const struct http_header *headers, size_t n,
             int64_t length, bool no_body)
{
    struct h1 *h = h1_of(r->conn);
    bool given = http_header_get(headers, n, STR("content-length")).p;
    int64_t left = r->pub.content_length - (int64_t)r->body_seen;

    /* the rest of the body would be waited for in vain or is too much to read for nothing */
    if (!h->message_done &&
        ((r->expect_continue && !h->sent_continue) || left > BODY_DROP_BYTES_MAX))
        h->last = true;
    h->out_chunked = length == -1 && !given && r->pub.version_minor >= 1;
    if (length == -1 && !given && !h->out_chunked)
        h->last = true; /* HTTP/1.0: the end of the connection ends the body */
    h->streaming = length == -1;
    write_head(h, status, headers, n, length, h->out_chunked, h->last);
    h->out_chunked = h->out_chunked && !no_body;
    conn_write(r->conn, &h->out);
    if (h->streaming && h->eof)
        h1_later(h);
}

void h1_write(struct http_req *r, struct http_bytes b)
{
    struct h1 *h = h1_of(r->conn);

    if (!h->out_chunked) {
        conn_write_bytes(r->conn, b);
        return;
    }
    h1_write_chunk_head(&h->out, b.n);
    if (b.n <= CHUNK_COPY_MAX) { /* events of a watch: one write, not three */
        buf_add(&h->out, b.p, b.n);
        http_bytes_release(&b);
    } else {
        conn_write(r->conn, &h->out);
        conn_write_bytes(r->conn, b);
    }
    buf_add_lit(&h->out, "\r\n");
    conn_write(r->conn, &h->out);
}

void h1_end(struct http_req *r, const struct http_header *trailers, size_t n)
{
    struct h1 *h = h1_of(r->conn);

    if (h->out_chunked) {
        buf_add_lit(&h->out, "0\r\n");
        h1_write_headers(&h->out, trailers, n);
        buf_add_lit(&h->out, "\r\n");
        conn_write(r->conn, &h->out);
    }
    h->answer_done = true;
    if (h->last && !h->message_done)
        conn_finish(r->conn);
    else
        h1_later(h);
}

void h1_abort(struct http_req *r)
{
    conn_close(r->conn);
}

size_t h1_queued(const struct http_req *r)
{
    return rt_stream_queued_bytes(r->conn->stream);
}

/* ---- upgrade ---- */

int http_upgrade_tunnel(struct http_request *req, int status, const struct http_header *headers,
                        size_t n, struct rt_stream **ret_stream)
{
    struct http_req *r = CONTAINER_OF(req, struct http_req, pub);
    struct http_conn *c = r->conn;
    struct h1 *h;
    struct str rest;

    ASSERT(!r->finished);
    if (!c)
        return -EPIPE;
    if (c->proto != &h1_proto || r->started)
        return -ENOTSUP;
    h = h1_of(c);
    if (!h->message_done || (status == 101 && !req->wants_upgrade))
        return -ENOTSUP;
    conn_enter(c);
    buf_printf(&h->out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    h1_write_headers(&h->out, headers, n);
    if (status == 101)
        buf_add_lit(&h->out, "connection: Upgrade\r\n");
    buf_add_lit(&h->out, "\r\n");
    conn_write(c, &h->out);
    rest = h->cur ? *h->cur : h1_kept(h);
    if (rest.n)
        rt_stream_unread(c->stream, rest);
    r->finished = true;
    *ret_stream = conn_release_stream(c);
    conn_leave(c);
    return 0;
}
