/* Work queue of keys, as controllers need it: a key waiting is there once however often it is
 * added; a key being worked on and added again runs once more afterwards; failures come back with
 * exponential back-off. */
#pragma once

#include "base/str.h"
#include "rt/rt.h"

struct work_queue;

/* Work on key (borrowed until work_queue_done). Several may be under way, up to `parallel`. */
typedef void (*work_queue_fn)(void *arg, struct str key);

struct work_queue_opts {
    unsigned parallel;               /* 0: 1 */
    nsec_t backoff_min, backoff_max; /* 0: 5 ms, 1000 s */
};

struct work_queue *work_queue_new(struct rt *rt, const struct work_queue_opts *opts,
                                  work_queue_fn fn, void *arg);
struct work_queue *work_queue_free(struct work_queue *q);  /* takes NULL; returns NULL */
void work_queue_add(struct work_queue *q, struct str key); /* key is copied */
void work_queue_add_after(struct work_queue *q, struct str key,
                          nsec_t after); /* the earlier time wins */
/* fn's work on key ended. ok: its back-off is forgotten; not ok: it comes back after its back-off.
 */
void work_queue_done(struct work_queue *q, struct str key, bool ok);
size_t work_queue_len(const struct work_queue *q); /* waiting and delayed */
/* Paused: keys gather, none is started. Until the caches are there, for one. */
void work_queue_pause(struct work_queue *q, bool paused);
size_t work_queue_ready(const struct work_queue *q); /* waiting for their turn now */
