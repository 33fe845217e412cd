/* For those who make a kind of stream: embed struct rt_stream first, fill in the ops, and report
 * with the rt_stream_deliver_* calls. Users include rt/stream.h only.
 *
 * The base keeps: handler, unread bytes, end and error said once, watermarks, finish, close. Your
 * ops are called on the loop thread, never after ops->close. */
#pragma once

#include "rt/stream.h"

#include <sys/uio.h>

/* ---- queue of bytes to write: small writes are gathered, large ones kept by reference ---- */

struct rt_chunk {
    struct rt_chunk *next;
    const char *p; /* what is left */
    size_t n;
    size_t cap;    /* > 0: room for so many bytes from `data` on, filled up to p + n */
    rt_fn release; /* NULL: nothing to release */
    void *arg;
    char data[];
};

struct rt_wqueue {
    struct rt_chunk *head, *tail; /* owned */
    size_t bytes;
};
void rt_wqueue_copy(struct rt_wqueue *q, struct str data);
void rt_wqueue_ref(struct rt_wqueue *q, struct str data, rt_fn release, void *arg);
int rt_wqueue_iov(const struct rt_wqueue *q, struct iovec *iov, int max); /* how many were filled */
void rt_wqueue_consume(struct rt_wqueue *q, size_t n); /* releases what is done */
void rt_wqueue_clear(struct rt_wqueue *q);             /* releases all */

/* ---- the vtable ---- */

struct rt_stream_ops {
    const char *kind;
    void (*read_start)(struct rt_stream *s); /* deliver data, from a later turn on */
    void (*read_stop)(struct rt_stream *s);  /* deliver none any more */
    /* Bytes were added to s->out: arrange that they are sent by the end of the turn (rt_task late).
     */
    void (*kick)(struct rt_stream *s);
    void (*flush)(struct rt_stream *s);    /* send now */
    void (*shutdown)(struct rt_stream *s); /* after s->out is empty: pass the end on */
    /* Stop everything at once, free what is yours, call no deliver function any more; the base
     * frees `s` itself (free) in a later turn. */
    void (*close)(struct rt_stream *s);
    size_t (*queued_below)(const struct rt_stream *s); /* beyond s->out; NULL: 0 */
    const char *(*peer)(struct rt_stream *s);
    const char *(*local)(struct rt_stream *s);
    int (*fd)(const struct rt_stream *s); /* NULL: -1 */
};

struct rt_stream {
    const struct rt_stream_ops *ops;
    struct rt *rt;
    const struct rt_stream_handler *h; /* borrowed, static */
    void *arg;
    struct rt_wqueue out;
    struct buf unread;      /* delivered before anything else */
    struct rt_task task;    /* deferred deliveries: unread, error, end, drain */
    struct rt_task closer;  /* frees in a later turn */
    struct rt_timer linger; /* rt_stream_finish */
    rt_fn on_closed;
    void *closed_arg;
    rt_fn on_progress; /* for the layer above: bytes left this stream; may be NULL */
    void *progress_arg;
    int error; /* negative once failed */
    bool reading, eof, eof_said, error_said, shut, closing, finishing, congested, shut_sent,
        want_drain;
};

/* First thing in your constructor; s is zeroed memory from the heap, s first member of yours. */
void rt_stream_init(struct rt_stream *s, struct rt *rt, const struct rt_stream_ops *ops);
/* Only while s->reading. The stream may be closed when it returns: check s->closing (s is still
 * there until a later turn). */
void rt_stream_deliver_data(struct rt_stream *s, struct str data);
void rt_stream_deliver_eof(struct rt_stream *s);            /* once; told when reading is on */
void rt_stream_deliver_error(struct rt_stream *s, int err); /* any time; told from a later turn */
/* Call after bytes left s->out or what is below: watermarks, pending shutdown. */
void rt_stream_progress(struct rt_stream *s);
