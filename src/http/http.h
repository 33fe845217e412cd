/* What the HTTP server and client share: headers, counted bytes, limits.
 *
 * Everything in src/http is single-threaded per loop: an object belongs to the thread of the struct
 * rt it was made with and is touched only there. Callbacks run on that thread and never from inside
 * the call that started the work (except where a function says so).
 *
 * Header names are lower case everywhere, in both directions; on HTTP/1.1 they go out as given
 * (names are case-insensitive there, RFC 9110 5.1). The library writes these itself and they must
 * not be given: date, content-length, transfer-encoding, connection, keep-alive (and upgrade,
 * sec-websocket-accept in the calls that accept a WebSocket). A CR, LF or NUL in a header value
 * that is given is a BUG. */
#pragma once

#include "base/base.h"
#include "base/str.h"
#include "base/arena.h"

struct rt;
struct rt_stream;
struct rt_tls_client; /* rt/tls.h */

/* Limits that are not configurable, each with its reason. */
#define HTTP_HEADER_NAME_MAX 256 /* longest real one is about 40 */
#define HTTP_METHOD_MAX      16  /* longest we answer is "OPTIONS" */
#define HTTP_CONN_OUT_BYTES_MAX                                                                    \
    ((size_t)1 << 20)               /* handed to one socket before streams queue on our side */
#define HTTP_TARGET_BYTES_MAX 16384 /* selectors in query strings get long, not longer */

struct http_header {
    struct str name; /* lower case */
    struct str value;
};

/* The value of the first header `name` (lower case), absent (p == NULL) without one. */
struct str http_header_get(const struct http_header *headers, size_t n, struct str name);
/* True when a comma-separated list in any header `name` holds `token` (ASCII case folded,
 * parameters after ';' ignored): http_header_has_token(h, n, STR("connection"), STR("upgrade")). */
bool http_header_has_token(const struct http_header *headers, size_t n, struct str name,
                           struct str token);

/* A run of bytes and how to let go of it. Passed by value; passing it to a function that "takes" it
 * moves the duty to release. `release` is called exactly once, on the loop thread, when the bytes
 * are sent or dropped. release == NULL: the bytes are static. To share one encoding among many
 * watchers, give each a struct http_bytes whose release drops one (atomic) reference. */
struct http_bytes {
    const void *p;
    size_t n;
    void (*release)(void *arg);
    void *arg;
};

#define HTTP_BYTES_NONE        ((struct http_bytes){NULL, 0, NULL, NULL})
#define HTTP_BYTES_STATIC(lit) ((struct http_bytes){"" lit, sizeof(lit) - 1, NULL, NULL})
struct http_bytes http_bytes_copy(struct str s);      /* heap copy */
struct http_bytes http_bytes_take(char *p, size_t n); /* takes malloc'ed memory (buf_take) */
void http_bytes_release(struct http_bytes *b);        /* idempotent: leaves HTTP_BYTES_NONE */

/* "Not Found" for 404; "" for codes without a registered phrase. */
const char *http_status_text(int status);
/* Percent-decodes `s` into `a`. plus_is_space for query strings. -EINVAL on a bad escape or an
 * encoded NUL. */
int http_unescape(struct arena *a, struct str s, bool plus_is_space, struct str *ret) MUST_CHECK;
/* "https://host:port/path?query": host without brackets, port 443 and target "/" when there is
 * none. All borrow from url. False: it is none, or has a user, a fragment or blanks in it. */
bool http_https_url_parse(struct str url, struct str *ret_host, uint16_t *ret_port,
                          struct str *ret_target);
/* Walks "a=1&b=2": false at the end. Name and value are decoded into `a`; pieces with bad escapes
 * are delivered undecoded. `while (http_query_next(&q, a, &k, &v))` */
bool http_query_next(struct str *query, struct arena *a, struct str *ret_name,
                     struct str *ret_value);
/* True for a header name that is a lower-case token (RFC 9110 5.6.2). */
bool http_header_name_valid(struct str name);
/* False when it holds CR, LF, NUL or another control byte but TAB. */
bool http_header_value_valid(struct str value);
/* Picks the best of `offers` (media types without parameters) for an Accept header (absent: the
 * first): the index, or -1 when none is acceptable. RFC 9110 12.5.1 with q-values. */
int http_accept_pick(struct str accept, const struct str *offers, size_t n);
