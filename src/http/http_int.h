/* What the files of src/http share and nobody else sees. */
#pragma once

#include "base/buf.h"
#include "http/http.h"
#include "rt/stream.h"

#include <llhttp.h>

/* Queue of counted bytes: the body of a stream that waits for its flow-control window. */
struct bytesq {
    struct http_bytes *v; /* owned */
    size_t head, n, cap;
    size_t off;   /* into v[head] */
    size_t bytes; /* left in all */
};
void bytesq_push(struct bytesq *q, struct http_bytes b); /* takes */
void bytesq_pop_to(struct bytesq *q, size_t n, struct buf *out);
void bytesq_fini(struct bytesq *q);

/* Writes to a stream by reference when it is worth it. Takes b. */
void stream_write_bytes(struct rt_stream *s, struct http_bytes b);

/* ---- the head of an HTTP/1.1 message as llhttp delivers it: piecewise ---- */

struct h1_field {
    uint32_t name, name_n, value, value_n; /* offsets into bytes */
};
struct h1_head {
    struct buf bytes; /* target or reason, names (lower case) and values one after the other */
    size_t target_n;
    struct h1_field *fields; /* owned */
    unsigned n, cap;
    size_t bytes_max;
    unsigned fields_max;
    int error; /* 0, or the status that says what was too much */
};

void h1_head_clear(struct h1_head *h);
void h1_head_fini(struct h1_head *h);
/* For llhttp's span callbacks: 0 or HPE_USER. */
int h1_head_target(struct h1_head *h, const char *p, size_t n);
int h1_head_name(struct h1_head *h, const char *p, size_t n);
void h1_head_name_end(struct h1_head *h); /* on_header_field_complete */
int h1_head_value(struct h1_head *h, const char *p, size_t n);
/* One copy into the arena; the array and the target are valid as long as it. */
struct http_header *h1_head_take(const struct h1_head *h, struct arena *a, struct str *ret_target);

/* Writes "name: value CRLF" for all headers; asserts that they are clean. */
void h1_write_headers(struct buf *out, const struct http_header *headers, size_t n);
/* "1f\r\n" */
void h1_write_chunk_head(struct buf *out, size_t n);
