/* HTTP client: one struct http_client is one target (host:port or unix socket) with its pool.
 *
 * With TLS, ALPN offers "h2" then "http/1.1": on h2 all requests share one connection (a second is
 * opened when the peer's stream limit is reached), otherwise up to conns_max HTTP/1.1 connections
 * carry one request each at a time and are kept alive. Nothing is retried but a request that could
 * not have been seen by the server (a GET or HEAD on a kept-alive connection found closed, h2
 * REFUSED_STREAM or a stream above GOAWAY's last id); reconnecting after an error, with back-off,
 * is the caller's.
 *
 * A call (struct http_call) gets on_head, on_data..., then exactly one of on_end and on_error;
 * after that, or after http_call_cancel, the pointer is dead. Callbacks never come from inside
 * http_client_request. Interim answers (1xx) are swallowed. */
#pragma once

#include "http/http.h"

struct http_client;
struct http_call;

enum http_client_protocol {
    HTTP_CLIENT_AUTO,  /* ALPN; without TLS HTTP/1.1 */
    HTTP_CLIENT_HTTP1, /* only HTTP/1.1 */
    HTTP_CLIENT_HTTP2, /* only HTTP/2; without TLS by prior knowledge (gRPC probes) */
};

struct http_target {
    const char *host; /* name or address, without brackets; also for SNI and verification */
    uint16_t port;
    const char *unix_path;   /* instead of host and port */
    const char *authority;   /* Host header; NULL: host[:port], "localhost" for unix */
    const char *server_name; /* name the certificate must have; NULL: host */
};

/* Zero means the default named behind. */
struct http_client_opts {
    enum http_client_protocol protocol;
    unsigned conns_max;         /* 8: HTTP/1.1 connections; more requests wait in line */
    unsigned waiting_max;       /* 4096: requests in line; over -> on_error(-EBUSY) */
    size_t head_bytes_max;      /* 65536 */
    unsigned headers_max;       /* 256 */
    int64_t connect_timeout_ms; /* 10,000: with name lookup and TLS */
    int64_t idle_timeout_ms;    /* 90,000: unused connection is closed */
    int64_t ping_interval_ms;   /* 15,000: h2 PING when nothing was read for that long (-1: off) */
    int64_t ping_timeout_ms;    /* 15,000: no answer to it -> the connection and its calls fail,
                                   -ETIMEDOUT */
    /* Instead of connecting: gives a connected stream (an rt_stream_pair on the simulator), which
     * is taken; TLS goes over it when the client has a context. NULL: refused. */
    struct rt_stream *(*dial)(void *arg);
    void *dial_arg;
    uint32_t h2_window_bytes; /* 1 MiB per stream, four times that for the connection */
};

/* Copies target and opts. tls may be NULL (plain); it is kept by reference. */
struct http_client *http_client_new(struct rt *rt, const struct http_target *target,
                                    struct rt_tls_client *tls, const struct http_client_opts *opts);
/* Open calls get on_error(-ECANCELED) on the next turn; memory goes when all is closed. Returns
 * NULL. */
struct http_client *http_client_free(struct http_client *c);
/* New connections use this context from now on (rotated certificates); existing ones finish their
 * calls. */
void http_client_set_tls(struct http_client *c, struct rt_tls_client *tls);
/* Other values than those of the options, also for connections that are open. */
struct http_client_patience {
    int64_t connect_timeout_ms, ping_interval_ms, ping_timeout_ms; /* all > 0 */
};
void http_client_set_patience(struct http_client *c, const struct http_client_patience *p);
struct rt *http_client_rt(const struct http_client *c);
unsigned http_client_calls(const struct http_client *c);

struct http_client_callbacks {
    /* May be NULL. Headers are valid until on_end/on_error returns. */
    void (*on_head)(struct http_call *call, int status, const struct http_header *headers, size_t n,
                    void *arg);
    /* May be NULL. The bytes are valid during the call. */
    void (*on_data)(struct http_call *call, const void *p, size_t n, void *arg);
    /* The whole answer came. Trailers may be empty. */
    void (*on_end)(struct http_call *call, const struct http_header *trailers, size_t n, void *arg);
    /* err: -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -EPROTO (bad answer), -ECANCELED, -EBUSY, ...;
     * what: for people. */
    void (*on_error)(struct http_call *call, int err, const char *what, void *arg);
    /* May be NULL: queued request body fell under 64 KiB (body_stream only). */
    void (*on_drain)(struct http_call *call, void *arg);
};

struct http_client_request {
    struct str method;                 /* "GET" */
    struct str target;                 /* "/api/v1/pods?watch=true", escaped by the caller */
    const struct http_header *headers; /* copied */
    size_t n_headers;
    struct http_bytes body;  /* taken */
    bool body_stream;        /* body follows by http_call_write/http_call_end; `body` goes first */
    int64_t timeout_ms;      /* whole call; 0: none (watches) */
    int64_t idle_timeout_ms; /* fail when the answer makes no progress; 0: none */
};

/* Everything is copied but body (taken). Never fails directly: errors come by on_error. */
struct http_call *http_client_request(struct http_client *c, const struct http_client_request *r,
                                      const struct http_client_callbacks *cb, void *arg);
/* No callback after this. HTTP/2: RST_STREAM(CANCEL). */
void http_call_cancel(struct http_call *call);
void http_call_pause(struct http_call *call,
                     bool paused); /* stops reading the answer: flow control to the peer */
int http_call_write(struct http_call *call,
                    struct http_bytes chunk); /* takes; -EPIPE when it failed already */
size_t http_call_queued_bytes(const struct http_call *call);
void http_call_end(struct http_call *call);          /* end of the streamed request body */
int http_call_version(const struct http_call *call); /* 1 or 2; 0 before a connection is chosen */

/* ---- whole answers ---- */
struct http_answer {
    int err;          /* 0: the rest is set; else negative errno */
    const char *what; /* "" or why it failed */
    int status;
    const struct http_header *headers;
    size_t n_headers;
    struct str body; /* valid during the callback */
};
/* Collects at most limit_bytes of body (more: err -EFBIG), calls on_answer once. Cancel with
 * http_call_cancel. */
struct http_call *http_client_fetch(struct http_client *c, const struct http_client_request *r,
                                    uint64_t limit_bytes,
                                    void (*on_answer)(const struct http_answer *a, void *arg),
                                    void *arg);

/* ---- upgrade ---- */
struct http_upgraded {
    int err; /* 0: an answer came */
    const char *what;
    int status; /* 101: stream is set and the callback's; else body holds the refusal */
    const struct http_header *headers;
    size_t n_headers;
    struct rt_stream
        *stream; /* the callback's to keep; reading stopped; bytes behind the head were unread */
    struct str body; /* refusal, at most 64 KiB; valid during the callback */
};
/* Own connection, HTTP/1.1 only. The caller gives `upgrade` among the headers; `connection:
 * upgrade` is added. CONNECT is not supported. http_call_cancel works until the callback. */
struct http_call *http_client_upgrade(struct http_client *c, const struct http_client_request *r,
                                      void (*on_upgraded)(const struct http_upgraded *u, void *arg),
                                      void *arg);

/* ---- probes: no pool, the body is read and dropped but for its beginning ---- */
struct http_probe_opts {
    const char *host; /* to connect to */
    uint16_t port;
    struct rt_tls_client *tls; /* NULL: plain http */
    const char *server_name;   /* NULL: host */
    const char *authority;     /* NULL: host:port */
    struct str target;         /* "/healthz"; "" means "/" */
    const struct http_header *headers;
    size_t n_headers;
    int64_t timeout_ms; /* for all, redirects included */
    unsigned
        redirects_max; /* same host only; a redirect elsewhere, or one more, is the answer itself */
};
struct http_probe;
/* status > 0: an answer came, `text` is up to 10 KiB of its body. status < 0: negative errno,
 * `text` says why. Everything in opts is copied. Exactly one callback, unless cancelled. */
struct http_probe *http_probe_start(struct rt *rt, const struct http_probe_opts *opts,
                                    void (*on_done)(int status, struct str text, void *arg),
                                    void *arg);
void http_probe_cancel(struct http_probe *p);
