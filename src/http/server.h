/* HTTP server side of connections: HTTP/1.1 and HTTP/2 behind one request type.
 *
 * One struct http_server per loop thread. It does not listen: whoever accepts gives it connected
 * streams (http_server_accept). The protocol is HTTP/2 when ALPN chose "h2" or when the first bytes
 * are the HTTP/2 preface (prior knowledge), else HTTP/1.1.
 *
 * Life of a request:
 *   1. handler(req, arg) is called at the end of the header section. From here on the request is
 * OWNED BY THE HANDLER'S SIDE until it calls exactly one of the finishing calls: http_respond*,
 * http_stream_end, http_stream_abort, http_upgrade_tunnel (also through ws_accept and spdy_accept).
 * After that call the request must not be touched.
 *   2. In the handler, call http_request_body() to be called back with the whole body; or answer at
 * once (a body still on its way is then read and dropped, or the connection is closed after the
 * answer). The handler may also return and do any of this later: nothing is read from the body
 * meanwhile.
 *   3. When the peer goes away first (reset, timeout, connection lost) on_close is called exactly
 * once if it was set with http_on_close; the request STAYS VALID and owned, its writes are dropped,
 * and it must still be finished with one of the calls above (which then only frees it). So a
 * request can be handed to another thread and back without locks. on_close never comes after the
 * finishing call.
 *   4. When a body goes over the limit, breaks or times out, the library answers (413, 400, 408) by
 * itself; the handler's side sees on_close and finishes the request as in 3.
 *
 * HTTP/1.1 requests of one connection are handled one after the other: what a client pipelines
 * waits, unparsed and bounded by head_bytes_max, until the answer before it is finished.
 *
 * All functions run on the server's loop thread. */
#pragma once

#include "base/buf.h"
#include "http/http.h"

enum http_method {
    HTTP_METHOD_OTHER, /* any other token; see method_name */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_CONNECT,
    _HTTP_METHOD_MAX,
    _HTTP_METHOD_INVALID = -EINVAL,
};

/* Read-only for users, except `user`. All strings live in `arena` or in the connection and are
 * valid as long as the request is. */
struct http_request {
    struct arena arena; /* for the handler too; freed with the request */
    enum http_method method;
    struct str method_name;
    struct str path;      /* raw, still percent-encoded, starts with '/' ("*" for OPTIONS *) */
    struct str query;     /* raw, behind '?', absent without one */
    struct str authority; /* Host or :authority; absent when neither was sent (HTTP/1.0) */
    const struct http_header *headers;
    size_t n_headers;
    int64_t content_length;           /* -1: not declared */
    struct str body;                  /* after on_body; else absent */
    int version_major, version_minor; /* 1.0, 1.1, 2.0 */
    bool tls;
    bool wants_upgrade; /* HTTP/1.1 with Connection: upgrade and an Upgrade header */
    struct rt_stream
        *stream; /* borrowed; for the facts of the peer (rt/tls.h), not for I/O; NULL once gone */
    struct str peer_addr; /* "10.0.0.7:51234", "unix" */
    uint64_t conn_id;     /* unique in the process */
    uint64_t id;          /* unique in the process */
    nsec_t started;       /* rt_now at the first byte of its head */
    void *user;           /* the handler's */
};

struct str http_request_header(const struct http_request *req,
                               struct str name); /* first, or absent */

struct http_server;
typedef void (*http_handler_fn)(struct http_request *req, void *arg);

/* Zero means the default named behind. */
struct http_server_opts {
    size_t head_bytes_max;    /* 65536: request line + headers; over -> 431 */
    unsigned headers_max;     /* 128; over -> 431 */
    uint64_t body_bytes_max;  /* 16 MiB: when http_request_body is given 0 */
    unsigned h2_streams_max;  /* 250: concurrent streams of a connection */
    uint32_t h2_window_bytes; /* 256 KiB: receive window of a stream; the connection gets four times
                                 that */
    size_t stream_queue_bytes_max; /* 16 MiB: http_stream_write over this gives -ENOBUFS */
    unsigned connections_max;      /* 4096: over -> closed at once */
    int64_t head_timeout_ms;       /* 10,000: from first byte (or accept) to the end of the head */
    int64_t body_timeout_ms;       /* 30,000: no progress of a body that is being buffered */
    int64_t idle_timeout_ms;       /* 120,000: keep-alive connection without a request */
    int64_t
        write_timeout_ms;  /* 60,000: peer takes nothing while output waits -> connection aborted */
    bool gzip;             /* compress bodies given to http_respond when the client accepts it */
    size_t gzip_bytes_min; /* 128 KiB, as a Kubernetes API server */
    size_t gzip_bytes_max; /* 64 MiB: larger ones go out as they are */
    /* Bodies of the answers the library gives by itself (400, 408, 413, 414, 431, 505 ...): writes
     * one to `out` and returns its content type (static). NULL: one line of plain text. */
    const char *(*error_page)(int status, const char *what, struct buf *out, void *arg);
    void *error_page_arg;
};

/* opts may be NULL. */
struct http_server *http_server_new(struct rt *rt, const struct http_server_opts *opts,
                                    http_handler_fn handler, void *arg);
/* Takes a connected stream (TLS handshake finished, or plain). */
void http_server_accept(struct http_server *s, struct rt_stream *stream);
/* Graceful: GOAWAY / Connection: close on every connection, idle ones are closed now; on_drained
 * (may be NULL) is called once when no connection is left, or after timeout_ms when the rest was
 * cut. New streams are refused. Upgraded (tunnel, WebSocket, SPDY) connections are no longer the
 * server's and do not count. */
void http_server_drain(struct http_server *s, int64_t timeout_ms, void (*on_drained)(void *arg),
                       void *arg);
/* Cuts all connections. Requests still owned by handlers see on_close and stay valid until they
 * finish; the memory goes when the last one did. Returns NULL. */
struct http_server *http_server_free(struct http_server *s);

struct http_server_stats {
    uint64_t accepted, requests, bad_requests, h2_requests, bytes_in, bytes_out, timeouts,
        rapid_resets;
    unsigned connections, requests_open;
};
void http_server_get_stats(const struct http_server *s, struct http_server_stats *ret);

/* ---- reading the body ---- */
/* Reads the whole body, at most limit_bytes (0: the server's), then calls on_body with req->body
 * set (empty and present when there was none). Sends 100-continue when it was asked for. Over the
 * limit: see 4. above. on_body may run before this returns when the body is already there. */
void http_request_body(struct http_request *req, uint64_t limit_bytes,
                       void (*on_body)(struct http_request *req, void *arg), void *arg);
/* Delivers the body piece by piece instead (proxying). on_data gets each piece as it comes (valid
 * during the call) and n == 0 once at the end; the first may come before this returns. Reading
 * stops while paused (flow control reaches the peer). No body timeout: the peer may take its time.
 */
void http_request_body_stream(struct http_request *req,
                              void (*on_data)(struct http_request *req, const void *p, size_t n,
                                              void *arg),
                              void *arg);
void http_request_body_pause(struct http_request *req, bool paused);

/* ---- one whole answer (finishing) ---- */
/* Takes `body`. Headers are copied. HEAD, 204 and 304 send no body but keep the length header as
 * RFC 9110 asks. */
void http_respond(struct http_request *req, int status, const struct http_header *headers, size_t n,
                  struct http_bytes body);
/* content_type may be NULL (no body type); `body` is copied. */
void http_respond_str(struct http_request *req, int status, const char *content_type,
                      struct str body);

/* ---- streaming answer ---- */
/* Sends the head; the body follows by http_stream_write. 0, or -EPIPE when the peer is gone. A
 * content-length header may be given here (and only here) when the length is known; otherwise
 * chunked on HTTP/1.1. */
int http_stream_start(struct http_request *req, int status, const struct http_header *headers,
                      size_t n);
/* Takes `chunk` in every case. 0; -EPIPE peer gone; -ENOBUFS over stream_queue_bytes_max (the chunk
 * was dropped: abort the stream, or have looked at http_stream_queued_bytes before). Chunks written
 * in one turn of the loop go out together. */
int http_stream_write(struct http_request *req, struct http_bytes chunk);
/* Bytes taken by http_stream_write and not yet given to the kernel (h1) or framed (h2). */
size_t http_stream_queued_bytes(const struct http_request *req);
/* More than RT_STREAM_HIGH_BYTES are queued: stop, and go on in on_drain. */
bool http_stream_congested(const struct http_request *req);
/* fn is called each time the queue falls to RT_STREAM_LOW_BYTES after having been congested. */
void http_on_drain(struct http_request *req, void (*fn)(struct http_request *req, void *arg),
                   void *arg);
void http_stream_end(struct http_request *req); /* finishing; what is queued is still sent */
void http_stream_end_trailers(struct http_request *req, const struct http_header *trailers,
                              size_t n); /* finishing */
void http_stream_abort(
    struct http_request *req); /* finishing; RST_STREAM, or the connection is cut */

/* Called once when the peer goes away before the request is finished; from the loop, never from
 * inside another call on this request. When it is gone already, fn is called on the next turn. */
void http_on_close(struct http_request *req, void (*fn)(struct http_request *req, void *arg),
                   void *arg);
bool http_request_gone(const struct http_request *req);

/* ---- upgrade (finishing), HTTP/1.1 only ---- */
/* Sends `status` (101, or 200 for CONNECT) and headers (connection: upgrade is added for 101,
 * `upgrade:` must be among the headers), then hands over the connection's stream: it is the
 * caller's, reading is stopped, no callbacks are set. Bytes the peer sent behind the head were
 * given back to the stream (rt_stream_unread). 0; -EPIPE peer gone; -ENOTSUP on HTTP/2, or when the
 * request has a body or an answer was started. On error the request is NOT finished and must still
 * be answered. Tunnels: see rt_stream_pipe. */
int http_upgrade_tunnel(struct http_request *req, int status, const struct http_header *headers,
                        size_t n, struct rt_stream **ret_stream) MUST_CHECK;
