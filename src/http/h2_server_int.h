/* Inside the HTTP/2 server: h2_server.c receives and keeps time, h2_answer.c answers. */
#pragma once

#include "http/h2_int.h"
#include "http/server_int.h"

struct h2 {
    struct h2_out o; /* first: nghttp2's user pointer */
    struct http_conn *conn;
    bool any;    /* a request came */
    bool goaway; /* the final one was sent */
    nsec_t shutdown_at;
    double rst_tokens;
    nsec_t rst_at;
};

/* ---- h2_server.c ---- */
struct h2 *h2_of(struct http_conn *c); /* made at the first use */
void h2_later(struct h2 *h);           /* flush at the end of the turn */
/* The request of a stream; NULL also when the connection was closed from inside a callback, for
 * nghttp2 goes on to the end of its input. */
struct http_req *h2_req(struct h2 *h, int32_t id);
void h2_consume(struct h2 *h, int32_t id, size_t n); /* gives a stream's window back */

/* ---- h2_answer.c: the answering half of struct http_proto ---- */
void h2_head(struct http_req *r, int status, const struct http_header *headers, size_t n,
             int64_t length, bool no_body);
void h2_write(struct http_req *r, struct http_bytes b);
void h2_end(struct http_req *r, const struct http_header *trailers, size_t n);
void h2_abort(struct http_req *r);
size_t h2_queued(const struct http_req *r);
/* The handler's request is cut off; one of our own takes its place on the stream. */
void h2_refuse(struct http_req *r, int status, const char *what);
void h2_body_want(struct http_req *r);
/* nghttp2's callback for DATA frames that are not copied. */
int h2_send_cb_data(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                    nghttp2_data_source *source, void *user);
