/* Fan-out: what many watchers are told is put together once and encoded once.
 *
 *   core: events of a watch -> fan_out --(gathered, 5 ms)--> fan_batch, shared by all that were
 * told the same -> rt_post -> I/O: fan_encoded, shared by all that want the same form
 *
 * With few watchers every event goes out at once. With many, an event that follows another one
 * within FAN_GATHER waits for the rest of that span: a busy kind then costs each watcher a write
 * per span and not a write per event. */
#pragma once

#include "apiserver/front/front_int.h"

#define FAN_CROWD  64                  /* watches from which on events are gathered */
#define FAN_GATHER (5 * NSEC_PER_MSEC) /* a tenth of the budget of a delivery */

/* Frozen, counted across threads. */
struct fan_batch {
    _Atomic uint32_t refs;
    uint64_t serial;  /* never used twice; 0: told to one watcher only */
    struct error err; /* of the ERROR event */
    size_t n;
    struct client_event events[]; /* own a reference of their objects */
};

struct fan_batch *fan_batch_unref(struct fan_batch *b); /* takes NULL; returns NULL */

/* One watcher's side on the core thread. Zeroed is not valid: fan_out_init. */
struct fan_out {
    struct fan *fan;
    struct list link;            /* fan->waiting */
    struct client_event *events; /* owned; references too */
    size_t n, cap;
    struct error err;
    void (*send)(struct fan_out *o, struct fan_batch *b); /* takes a reference */
};
void fan_out_init(struct fan_out *o, struct fan *f,
                  void (*send)(struct fan_out *o, struct fan_batch *b));
void fan_out_fini(struct fan_out *o); /* drops what has not been sent */
/* crowded: may wait for more. */
void fan_out_add(struct fan_out *o, const struct client_event *events, size_t n, bool crowded);

/* All watchers of a server; core thread. */
struct fan *fan_new(struct rt *core);
struct fan *fan_free(struct fan *f); /* takes NULL; returns NULL */

/* I/O thread: events of a batch from `from` on, a chunk of them (*ret_n, at least one), in the form
 * x asked for; from what the thread remembers when it fits. first: nothing was sent yet. */
#define FAN_CHUNK_EVENTS 64
#define FAN_CHUNK_BYTES  (128 * 1024)
struct http_bytes fan_encoded(struct exchange *x, const struct fan_batch *b, size_t from,
                              bool first, size_t *ret_n);
/* Memory of a watcher does not depend on how much it is told at first: a large batch is shared by
 * all that are told it, and encoded chunk by chunk as the client reads. */
void fan_encoded_forget(struct io *io);
