/* Pods that wait for a node, in three rooms: active (to be tried now, by priority, then by age),
 * backing off (tried lately, sorted by when they may be tried again), and unschedulable (nothing
 * fits until something changes). Pure: time is given. */
#pragma once

#include "base/heap.h"
#include "base/list.h"

#define SCHED_BACKOFF_MIN (1 * NSEC_PER_SEC)
#define SCHED_BACKOFF_MAX (10 * NSEC_PER_SEC)
#define SCHED_UNSCHED_MAX                                                                          \
    (300 * NSEC_PER_SEC) /* tried again though nothing is known to have changed */

enum sched_room {
    SCHED_ROOM_NONE,
    SCHED_ROOM_ACTIVE,
    SCHED_ROOM_BACKOFF,
    SCHED_ROOM_UNSCHEDULABLE
};

struct sched_item {        /* inside what waits */
    struct heap_node heap; /* active or backoff */
    struct list list;      /* unschedulable */
    enum sched_room room;
    int32_t priority;
    unsigned attempts;
    uint64_t seq;    /* order of first coming */
    nsec_t ready_at; /* end of its back-off */
    nsec_t since;    /* in the room of the unschedulable */
};

struct sched_queue {
    struct heap active, backoff;
    struct list unschedulable;
    size_t n_unschedulable;
    uint64_t seq;
};

void sched_queue_init(struct sched_queue *q);
void sched_queue_fini(struct sched_queue *q); /* items must be out */
void sched_item_init(struct sched_item *it);
/* New, or changed so that it may fit now: tried at once, its failures forgotten. */
void sched_queue_add(struct sched_queue *q, struct sched_item *it);
/* It was tried in vain at `now`. moved: something changed meanwhile, so it backs off instead of
 * waiting. */
void sched_queue_fail(struct sched_queue *q, struct sched_item *it, nsec_t now, bool moved);
void sched_queue_remove(struct sched_queue *q, struct sched_item *it); /* idempotent */
struct sched_item *sched_queue_pop(struct sched_queue *q);             /* from active, or NULL */
/* Something changed: all unschedulable ones come back, those not done backing off when they are. */
void sched_queue_move_all(struct sched_queue *q, nsec_t now);
/* Back-offs that are over, unschedulable ones that waited too long. Returns when to call again; 0:
 * never. */
nsec_t sched_queue_tick(struct sched_queue *q, nsec_t now);
