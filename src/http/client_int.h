/* Inside the client.
 *
 *   http_client --> conns (sockets, each with calls in flight), waiting (calls without a connection
 * yet)
 *
 * A call is in exactly one of: the waiting line, a connection's list, or neither while its error is
 * due. */
#pragma once

#include "base/list.h"
#include "http/client.h"
#include "http/http_int.h"
#include "rt/rt.h"

struct cconn;

/* A protocol on a connection. */
struct cproto {
    void (*open)(struct cconn *c); /* the stream is ready */
    void (*data)(struct cconn *c, struct str data);
    void (*eof)(struct cconn *c);
    void (*drain)(struct cconn *c);
    void (*free)(struct cconn *c);
    unsigned (*room)(const struct cconn *c); /* calls that may be started now */
    void (*start)(struct http_call *call);
    void (*write)(struct http_call *call, struct http_bytes b); /* takes */
    void (*end)(struct http_call *call);                        /* of the streamed body */
    /* The call is off the list already: stop it; may close the connection. */
    void (*cancel)(struct http_call *call, struct cconn *c);
    void (*resume)(struct http_call *call); /* unpaused */
    void (*ping)(struct cconn *c);          /* NULL: cannot */
};
extern const struct cproto h1_cproto, h2_cproto;

struct cconn {
    struct list link; /* client->conns */
    struct http_client *client;
    struct rt_connect *connecting;
    struct rt_stream *stream;   /* owned */
    const struct cproto *proto; /* NULL until connected */
    void *state;                /* owned by proto */
    struct list calls;
    unsigned n_calls, depth;
    struct http_call *solo; /* an upgrade's own connection: it gets no other call */
    bool ready, closing, closed, pinging, tls_busy;
    uint64_t served;
    struct rt_timer timer;
    struct rt_task dial;
    nsec_t since; /* connecting since, idle since */
    nsec_t last_read, ping_sent;
};

struct http_call {
    struct list link;
    struct http_client *client;
    struct cconn *conn;
    struct arena arena;
    struct str method, target;
    struct http_header *headers;
    size_t n_headers;
    struct http_client_callbacks cb;
    void *arg;
    /* request body */
    struct bytesq out; /* what was not handed on */
    bool body_stream, out_ended, out_deferred, out_congested;
    bool touched;       /* part of the body left: cannot be sent again */
    bool safe_to_retry; /* the peer cannot have acted on it */
    size_t body_bytes;
    /* answer */
    bool head_done, paused, ended, done, retried, upgrade, waiting, drain_due;
    bool answered;   /* END_STREAM came */
    int status_seen; /* of the head that is coming in; 1xx too */
    int status;
    struct http_header *answer; /* being gathered, HTTP/2 */
    size_t n_answer, cap_answer, answer_bytes;
    struct buf hold; /* came while paused */
    size_t unconsumed;
    int32_t stream_id;
    unsigned depth; /* inside a callback */
    int err;
    char what[120];
    struct rt_task task;   /* on_error, on_drain */
    struct rt_task resume; /* unpaused */
    struct rt_timer timer;
    nsec_t deadline, idle_limit, progress;
    /* upgrades */
    void (*on_upgraded)(const struct http_upgraded *u, void *arg);
    void (*on_answer)(const struct http_answer *a, void *arg);
    void *whole_arg;
    void (*on_free)(void *arg); /* of who built upon it */
    void *free_arg;
    struct buf whole; /* body of a fetch or of a refused upgrade */
    const struct http_header *final_headers;
    size_t n_final_headers;
};

struct http_client {
    struct rt *rt;
    struct http_client_opts opts;
    char *addr, *authority, *server_name; /* owned */
    struct rt_tls_client *tls;
    struct list conns, waiting;
    unsigned n_waiting, n_calls, n_conns;
    unsigned n_congested; /* calls that are owed an on_drain */
    int version;          /* what the peer speaks: 0 unknown, 1, 2 */
    bool dead;
    struct rt_task dispatch;
};

/* ---- client.c ---- */
void cconn_enter(struct cconn *c);
void cconn_leave(struct cconn *c); /* may free c */
/* Ends the connection; its calls fail with err, or are tried again where that is safe. */
void cconn_close(struct cconn *c, int err, const char *what);
void cconn_arm(struct cconn *c); /* (re)computes the timer */
struct rt_stream *cconn_release_stream(struct cconn *c);
void client_dispatch_later(struct http_client *c);
void client_maybe_free(struct http_client *c);

/* ---- client_call.c ---- */
void call_output_moved(struct http_call *call);
/* The end of an upgrade: detached; on_upgraded comes now. */
void call_upgraded(struct http_call *call, struct rt_stream *stream);
/* From our side: off its connection, on_error follows. */
void call_abort(struct http_call *call, int err, const char *what);
void call_assign(struct http_call *call, struct cconn *conn);
void call_leave_conn(struct http_call *call); /* from its connection's list; conn becomes NULL */
void call_fail(struct http_call *call, int err,
               const char *what);        /* detached; on_error comes later */
bool call_retry(struct http_call *call); /* detached; true: it is in line again */
void call_head(struct http_call *call, int status, const struct http_header *headers, size_t n);
/* Returns how many of the n bytes were used (the others wait in `hold`). */
size_t call_data(struct http_call *call, const void *p, size_t n);
/* Detaches; on_end comes now, or when the held bytes were taken. The call may be gone afterwards.
 */
void call_end(struct http_call *call, const struct http_header *trailers, size_t n);
