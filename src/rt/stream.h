/* struct rt_stream: a two-way stream of bytes on a loop. TCP, unix sockets, pipes, TLS over any of
 * them, and in-memory pairs all look the same. rt/stream_impl.h is for those who make new kinds.
 *
 * Invariants
 * - Loop thread only. A stream lives on one loop; to hand a connection to another thread pass the
 *   accepted descriptor and call rt_stream_from_fd there.
 * - You own the stream until you call rt_stream_close (or rt_stream_finish, rt_stream_pipe, or wrap
 * it in TLS): from then on no callback of its handler comes, and the memory is the stream's own.
 * - Callbacks never come from inside a call on the same stream. A callback may close the stream.
 * - on_eof and on_error come at most once each. After on_error the stream is only good for closing:
 *   writes are dropped (their release functions run). After on_eof you may still write (half
 * close).
 * - Writes never fail by themselves: they queue, all writes of one turn leave together (one system
 *   call, one TLS record where they fit), and failure comes as on_error. Bounding the queue is the
 *   writer's duty: stop when rt_stream_congested, go on in on_drain. */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "rt/rt.h"

struct rt_stream;

#define RT_STREAM_HIGH_BYTES                                                                       \
    (256 * 1024) /* congested above: covers a bandwidth-delay product of a LAN */
#define RT_STREAM_LOW_BYTES                                                                        \
    (64 * 1024) /* on_drain at or below: enough to keep the wire busy meanwhile */

struct rt_stream_handler {
    /* Borrowed bytes, valid during the call, n > 0. All of them are yours: keep what you need. When
     * you read_stop inside, nothing more comes until read_start. */
    void (*on_data)(void *arg, struct str data);
    void (*on_eof)(void *arg); /* the peer will send no more; NULL: treated as nothing */
    /* Negative errno: -ECONNRESET, -EPIPE, -ETIMEDOUT, -EPROTO (TLS: bad record, alert) ... Comes
     * also while reading is stopped when a write failed. */
    void (*on_error)(void *arg, int err);
    void (*on_drain)(void *arg); /* was congested, is at the low mark now; may be NULL */
};

/* Sets or replaces the handler (static memory) and its argument; before read_start. */
void rt_stream_set_handler(struct rt_stream *s, const struct rt_stream_handler *h, void *arg);
void rt_stream_read_start(struct rt_stream *s); /* idempotent */
void rt_stream_read_stop(struct rt_stream *s);  /* idempotent; the peer feels it as back-pressure */
bool rt_stream_is_reading(const struct rt_stream *s);
/* Gives bytes back: they come first in the next on_data (in a later turn, when reading is on). For
 * what was read beyond the end of a protocol before switching to another one. Copied. */
void rt_stream_unread(struct rt_stream *s, struct str data);

/* Copies; for small pieces. */
void rt_stream_write(struct rt_stream *s, struct str data);
/* The memory (malloc) is the stream's; freed when sent or dropped. */
void rt_stream_write_take(struct rt_stream *s, char *data, size_t n);
/* Borrows until release(arg) is called, exactly once, when sent or dropped; from a later turn or
 * from inside rt_stream_close. For shared, counted bytes: encoded objects that go to many. */
void rt_stream_write_ref(struct rt_stream *s, struct str data, rt_fn release, void *arg);
/* Takes what b holds and leaves b empty. Small contents are copied and b keeps its memory. */
void rt_stream_write_buf(struct rt_stream *s, struct buf *b);
/* Bytes accepted and not yet handed to the kernel (TLS: both layers). */
size_t rt_stream_queued_bytes(const struct rt_stream *s);
bool rt_stream_congested(const struct rt_stream *s); /* queued above RT_STREAM_HIGH_BYTES */
/* Sends what is queued now instead of at the end of the turn. Rarely wanted. */
void rt_stream_flush(struct rt_stream *s);

/* Half close: once all queued bytes are out the peer sees the end. Idempotent; later writes
 * are dropped. */
void rt_stream_shutdown(struct rt_stream *s);
/* Drops what is queued and closes. on_closed(arg) (may be NULL) comes in a later turn. */
void rt_stream_close(struct rt_stream *s, rt_fn on_closed, void *arg);
/* The polite end: sends what is queued, half closes, discards what still comes until the peer
 * closes too or `linger` has passed, then closes. So a last answer is not lost to a reset. */
void rt_stream_finish(struct rt_stream *s, nsec_t linger, rt_fn on_closed, void *arg);

struct rt *rt_stream_rt(const struct rt_stream *s);
/* "10.0.0.1:4711", "[::1]:80", "unix:/run/x", "unix:", "pair", "pipe". Valid as long as the stream.
 */
const char *rt_stream_peer(struct rt_stream *s);
const char *rt_stream_local(struct rt_stream *s);
/* The descriptor underneath (also below TLS), -1 if there is none. Borrowed; for getsockopt. */
int rt_stream_fd(const struct rt_stream *s);
const char *rt_stream_kind(const struct rt_stream *s); /* "tcp", "unix", "pipe", "tls", "pair" */

/* ---- making streams ---- */

/* Takes fd (also on failure): a connected socket, a pipe end (then only one direction works), a
 * terminal. TCP gets TCP_NODELAY and keep-alive. -EBADF, -EPERM (a plain file), -ENOTSUP
 * (simulator). */
int rt_stream_from_fd(struct rt *rt, int fd, struct rt_stream **ret) MUST_CHECK;
/* For a child's terminal or pipes given as two descriptors: reads in_fd, writes out_fd; either may
 * be -1. Takes both. */
int rt_stream_from_fds(struct rt *rt, int in_fd, int out_fd, struct rt_stream **ret) MUST_CHECK;
/* Two ends in memory: what is written to one is read at the other, in a later turn. Any loop. */
void rt_stream_pair(struct rt *rt, struct rt_stream **ret_a, struct rt_stream **ret_b);

/* ---- addresses ---- */

/* "1.2.3.4:80", "[::1]:80", ":80" (any address, both families), "host:80", "unix:/path", "/path".
 */
struct rt_addr {
    bool is_unix, any;
    uint16_t port;
    char host[256]; /* host, literal address or path */
};
int rt_addr_parse(struct str s, struct rt_addr *ret, struct error *err) MUST_CHECK;

/* ---- listening ---- */

struct rt_listener;
struct rt_listen_opts {
    const char *addr;   /* as above; a host must be a literal address. Port 0: any free one */
    bool reuseport;     /* several loops listen on one port and the kernel spreads connections */
    bool freebind;      /* the address may not be on this host yet (IP_FREEBIND) */
    const char *device; /* only connections by this link (SO_BINDTODEVICE); NULL: all */
    int backlog;        /* 0: 511 */
    mode_t unix_mode;   /* 0: 0600. A stale socket file is replaced, a live one is -EADDRINUSE */
};
/* fd is yours: non-blocking, close-on-exec. Usually rt_stream_from_fd at once, or in another
 * thread. */
typedef void (*rt_accept_fn)(void *arg, int fd);
/* When descriptors run out accepting pauses for a moment; nothing spins. */
int rt_listen(struct rt *rt, const struct rt_listen_opts *opts, rt_accept_fn fn, void *arg,
              struct error *err, struct rt_listener **ret) MUST_CHECK;
void rt_listener_pause(struct rt_listener *l, bool pause);    /* connections wait in the backlog */
const char *rt_listener_addr(const struct rt_listener *l);    /* with the real port */
uint16_t rt_listener_port(const struct rt_listener *l);       /* 0 for unix */
struct rt_listener *rt_listener_close(struct rt_listener *l); /* at once; NULL ok; returns NULL */

/* ---- connecting ---- */

struct rt_connect;
struct rt_connect_opts {
    const char
        *addr; /* as above; a host name is looked up in the worker pool; every address is tried */
    nsec_t timeout; /* over all; 0: 10 s */
    int socket_fd;  /* > 0: taken; a fresh socket of the right family, e.g. one made in another
                       network  namespace; addr must then be literal */
};
/* Exactly once: s (yours) and 0, or NULL and -ECONNREFUSED, -ETIMEDOUT, -ENOENT (no such host) ...
 */
typedef void (*rt_connect_fn)(void *arg, struct rt_stream *s, int err);
/* The handle is gone once fn is entered. Bad addresses fail through fn too. */
struct rt_connect *rt_connect(struct rt *rt, const struct rt_connect_opts *opts, rt_connect_fn fn,
                              void *arg);
struct rt_connect *
rt_connect_cancel(struct rt_connect *c); /* fn will not come; NULL ok; returns NULL */

/* ---- tunnels ---- */

struct rt_pipe;
/* Why it ended: 0 (both directions saw their end) or the first error. After this both streams are
 * closed and the handle is gone. */
typedef void (*rt_pipe_fn)(void *arg, int err, uint64_t bytes_a_to_b, uint64_t bytes_b_to_a);
/* Takes both streams and copies both ways with back-pressure; an end in one direction is passed on
 * as half close. idle: ends with -ETIMEDOUT when nothing moved for so long; 0: never. fn may be
 * NULL. */
struct rt_pipe *rt_stream_pipe(struct rt_stream *a, struct rt_stream *b, nsec_t idle, rt_pipe_fn fn,
                               void *arg);
struct rt_pipe *rt_pipe_cancel(struct rt_pipe *p); /* closes both; fn will not come; returns NULL */
