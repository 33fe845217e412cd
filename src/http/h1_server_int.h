/* Inside the HTTP/1.1 server: h1_server.c reads, h1_answer.c answers. */
#pragma once

#include "http/server_int.h"

struct h1 {
    struct http_conn *conn;
    llhttp_t parser;
    struct h1_head head;
    struct buf in; /* not parsed yet */
    size_t in_off;
    struct buf out;       /* scratch for heads */
    struct rt_task task;  /* parse on, after an answer given from outside */
    struct http_req *req; /* the current one, attached */
    nsec_t head_since;    /* first byte of a head that is not complete; 0: none */
    uint64_t dropped;
    bool head_done, message_done, answer_done;
    bool poke;      /* the parser has something to say without more bytes */
    bool eof, last; /* last: close behind the current answer */
    bool chunked, keep_alive, sent_continue; /* of the request */
    bool out_chunked;
    struct str *cur; /* while running: bytes behind what was parsed */
    bool streaming;  /* an open-ended answer was started */
};

/* ---- h1_server.c ---- */
struct h1 *h1_of(struct http_conn *c);  /* made at the first use */
void h1_later(struct h1 *h);            /* go on with what was read, in a task */
struct str h1_kept(const struct h1 *h); /* what was read and not parsed */

/* ---- h1_answer.c: the answering half of struct http_proto ---- */
void h1_body_want(struct http_req *r);
void h1_head(struct http_req *r, int status, const struct http_header *headers, size_t n,
             int64_t length, bool no_body);
void h1_write(struct http_req *r, struct http_bytes b);
void h1_end(struct http_req *r, const struct http_header *trailers, size_t n);
void h1_abort(struct http_req *r);
size_t h1_queued(const struct http_req *r);
void h1_req_refuse(struct http_req *r, int status, const char *what);
/* Answers what cannot be handled and ends the connection. */
void h1_refuse(struct h1 *h, int status, const char *what);
