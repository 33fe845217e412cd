/* Inside the server: connections, requests and what a protocol implements.
 *
 *   http_server --owns--> http_conn (one per stream) --owns--> http_req (one per request in flight)
 *
 * A request has two sides that let go of it independently: the handler's (finished) and the
 * protocol's (detached: conn == NULL). Whoever is second frees it (req_put). */
#pragma once

#include "base/list.h"
#include "http/http_int.h"
#include "http/server.h"
#include "rt/rt.h"

#define BODY_DROP_BYTES_MAX                                                                        \
    (256 * 1024) /* rest of an unwanted body that is read to keep the connection */
#define LINGER        (2 * NSEC_PER_SEC) /* for the last answer to reach a peer that is still sending */
#define FREE_REQS_MAX 64  /* requests kept for reuse, with a small arena block each */
#define RST_BURST     500 /* rapid reset (CVE-2023-44487): so many at once, */
#define RST_PER_SEC   100 /* so many a second; an informer that restarts stays far under */

struct http_conn;
struct http_req;

/* A protocol. Calls on requests come only while they are attached. */
struct http_proto {
    void (*data)(struct http_conn *c, struct str data);
    void (*eof)(struct http_conn *c);
    void (*drain)(struct http_conn *c); /* stream was congested and is not any more */
    /* Called from the sweep: timeouts. May close the connection. */
    void (*check)(struct http_conn *c, nsec_t now);
    void (*shutdown)(struct http_conn *c); /* graceful: finish what is open, then close */
    void (*free)(
        struct http_conn *c); /* the protocol's own memory; requests are detached already */

    void (*body_want)(
        struct http_req *r); /* mode or pause changed: deliver with req_body_data/req_body_end */
    /* length -1: unknown (a stream). no_body: the head is all. */
    void (*head)(struct http_req *r, int status, const struct http_header *headers, size_t n,
                 int64_t length, bool no_body);
    void (*write)(struct http_req *r, struct http_bytes b); /* takes */
    void (*end)(struct http_req *r, const struct http_header *trailers, size_t n);
    void (*abort)(struct http_req *r);
    size_t (*queued)(const struct http_req *r);
    /* A whole answer of the library's own; the request is cut off from the connection by it. */
    void (*refuse)(struct http_req *r, int status, const char *what);
};
extern const struct http_proto h1_proto, h2_proto;

struct http_conn {
    struct list link; /* server->conns */
    struct http_server *server;
    struct rt_stream *stream;       /* owned; NULL once closed or handed over */
    const struct http_proto *proto; /* NULL while the protocol is unknown */
    void *state;                    /* owned by proto */
    struct list reqs;
    struct buf sniff; /* first bytes, until the protocol is known */
    char peer[80];
    uint64_t id;
    bool tls, draining, closed;
    unsigned n_congested; /* requests that are owed an on_drain */
    unsigned depth;       /* inside callbacks of its stream or protocol: freed when it falls to 0 */
    nsec_t accepted;
    nsec_t idle_since;      /* no request is open since; 0: some are */
    nsec_t progress;        /* output moved last, or none was waiting */
    uint64_t written, sent; /* bytes given to the stream; of these gone at `progress` */
};

enum body_mode {
    BODY_HELD,   /* nobody asked */
    BODY_BUFFER, /* http_request_body */
    BODY_STREAM, /* http_request_body_stream */
    BODY_DROP,   /* answered without it */
};

struct http_req {
    struct http_request pub; /* first: the user's pointer */
    struct list link;        /* conn->reqs */
    struct http_conn *conn;  /* NULL: detached */
    struct http_server *server;
    const struct http_proto *proto;
    /* request body */
    enum body_mode body_mode;
    bool body_ended, body_paused, body_told, expect_continue;
    struct buf body; /* owned */
    uint64_t body_limit, body_seen;
    nsec_t body_progress;
    void (*on_body)(struct http_request *req, void *arg);
    void (*on_data)(struct http_request *req, const void *p, size_t n, void *arg);
    void *body_arg;
    /* answer */
    bool started, finished, congested, drain_due, close_told;
    int status;
    void (*on_drain)(struct http_request *req, void *arg);
    void *drain_arg;
    void (*on_close)(struct http_request *req, void *arg);
    void *close_arg;
    struct rt_task task; /* on_drain and on_close come from here */
    /* HTTP/2 */
    int32_t stream_id;
    struct bytesq out;
    bool out_ended, out_deferred, too_large;
    bool shown;        /* the handler knows of it */
    nsec_t answered;   /* END_STREAM was sent while the body was still coming */
    uint64_t dropped;  /* of it, since then */
    size_t unconsumed; /* body bytes whose window was not given back */
    const struct http_header *trailers;
    size_t n_trailers;
    size_t head_bytes;
    size_t headers_cap;
    nsec_t out_progress;
};

struct http_server {
    struct rt *rt;
    struct http_server_opts opts;
    http_handler_fn handler;
    void *arg;
    struct list conns;
    struct list free_reqs;
    unsigned n_free_reqs;
    unsigned n_reqs; /* alive, the free ones not counted */
    bool dead, draining;
    nsec_t sweep_every;
    struct rt_timer sweep, drain_timer;
    struct rt_task drained;
    void (*on_drained)(void *arg);
    void *drained_arg;
    char date[40]; /* "date: ...\r\n" without the line end, for second date_s */
    int64_t date_s;
    struct http_server_stats stats;
};

/* ---- server.c ---- */
void conn_enter(struct http_conn *c);
void conn_leave(struct http_conn *c); /* may free c */
/* Cuts the connection: all its requests are detached and told. Idempotent. */
void conn_close(struct http_conn *c);
/* As conn_close, but what was written still goes out. */
void conn_finish(struct http_conn *c);
/* Gives the stream away; the connection ends without a trace. */
struct rt_stream *conn_release_stream(struct http_conn *c);
struct str server_date(struct http_server *s); /* "Sun, 06 Nov 1994 08:49:37 GMT" */
void server_maybe_free(struct http_server *s);
void conn_write(struct http_conn *c, struct buf *b);             /* empties b */
void conn_write_bytes(struct http_conn *c, struct http_bytes b); /* takes */

/* ---- server_req.c ---- */
struct http_req *req_new(struct http_conn *c);
/* Sets method, path and query from the request line. False: not a target we take (400). */
bool req_set_target(struct http_req *r, struct str method, struct str target);
void req_call_handler(struct http_req *r);
void req_body_data(struct http_req *r, const void *p, size_t n); /* may refuse, abort or finish r */
void req_body_end(struct http_req *r);
bool req_body_wanted(const struct http_req *r); /* data may be delivered now */
/* The protocol lets go. told: the handler's side learns of it (on_close) unless it finished. */
void req_detach(struct http_req *r);
void req_output_moved(struct http_req *r); /* after output left: watermarks */
void req_error_body(struct http_server *s, int status, const char *what, struct buf *out,
                    const char **ret_type);

/* ---- gzip.c ---- */
/* True when it took over: the answer is compressed in the pool and sent later. */
bool gzip_respond(struct http_req *r, int status, const struct http_header *headers, size_t n,
                  struct http_bytes *body);
void req_send_whole(struct http_req *r, int status, const struct http_header *headers, size_t n,
                    struct http_bytes body);
void req_finish(struct http_req *r);
