/* WebSocket (RFC 6455), both ends, over a stream that was upgraded. No extensions are negotiated.
 *
 * Pings are answered by the library. A protocol error closes with the code the RFC names (1002,
 * 1007, 1009). on_close comes exactly once, last; the struct ws is freed after it returns (so never
 * touch it later). The close handshake is run by the library: the connection is cut when the peer
 * does not finish it within close_timeout_ms. */
#pragma once

#include "http/client.h"
#include "http/server.h"

struct ws;

enum ws_opcode {
    WS_TEXT = 1,
    WS_BINARY = 2,
};

struct ws_callbacks {
    /* A whole message; text was checked to be UTF-8. The bytes are valid during the call. */
    void (*on_message)(struct ws *ws, enum ws_opcode op, const void *p, size_t n, void *arg);
    /* May be NULL. Was congested, is at the low mark now. */
    void (*on_drain)(struct ws *ws, void *arg);
    /* code: the peer's close code, 1005 none given, 1006 connection lost; the library's own on
     * errors. err: 0 for a close handshake, else negative errno. */
    void (*on_close)(struct ws *ws, int code, struct str reason, int err, void *arg);
};

/* Zero means the default named behind. */
struct ws_opts {
    size_t message_bytes_max; /* 1 MiB: larger from the peer closes with 1009 */
    size_t queue_bytes_max;   /* 4 MiB: ws_send over this gives -ENOBUFS */
    int64_t ping_interval_ms; /* 0: none */
    int64_t ping_timeout_ms;  /* 0: twice the interval. Nothing read for this long -> closed with
                                 -ETIMEDOUT */
    int64_t close_timeout_ms; /* 5,000 */
};

/* Server: checks the request to be a WebSocket upgrade (version 13, key). */
bool ws_requested(const struct http_request *req);
/* Finishing call for the request (also on failure: it is then answered with 400 or 426). Picks the
 * first of the server's `protocols` the client offers. n == 0: none is sent. When the client
 * offered some and none fits the answer is 403 as kubelets give. NULL on failure. *ret_protocol:
 * index or -1. Callbacks never come from inside. */
struct ws *ws_accept(struct http_request *req, const char *const *protocols, size_t n,
                     const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg,
                     int *ret_protocol);
/* Over a stream that was upgraded elsewhere. Takes the stream. */
struct ws *ws_new(struct rt *rt, struct rt_stream *stream, bool is_client,
                  const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg);

/* Takes chunk in every case: one message. 0, -EPIPE when closing, -ENOBUFS when the queue is full.
 */
int ws_send(struct ws *ws, enum ws_opcode op, struct http_bytes message);
/* One message made of two parts, copied: a channel byte and data. */
int ws_send2(struct ws *ws, enum ws_opcode op, struct str head, struct str data);
size_t ws_queued_bytes(const struct ws *ws);
bool ws_congested(const struct ws *ws);    /* stop sending, go on in on_drain */
void ws_pause(struct ws *ws, bool paused); /* stops reading */
/* Starts the close handshake behind what is queued; on_close follows. Idempotent. code 1000 is
 * normal. */
void ws_close(struct ws *ws, int code, struct str reason);
void ws_abort(struct ws *ws); /* cuts; on_close(1006) follows on the next turn */

/* ---- client ---- */
struct ws_open_answer {
    struct ws *ws; /* NULL: refused or failed */
    int err;       /* negative errno when no answer came; -EPROTO for a bad one */
    const char *what;
    int status;          /* 101, or the refusal */
    struct str protocol; /* chosen; absent when none */
    struct str body;     /* refusal */
};
/* Opens a connection of its own. headers: extra ones; protocols in order of preference. Cancel with
 * http_call_cancel until on_open was called. */
struct http_call *ws_open(struct http_client *c, struct str target,
                          const struct http_header *headers, size_t n_headers,
                          const char *const *protocols, size_t n_protocols, int64_t timeout_ms,
                          const struct ws_opts *opts, const struct ws_callbacks *cb, void *arg,
                          void (*on_open)(const struct ws_open_answer *a, void *arg));
