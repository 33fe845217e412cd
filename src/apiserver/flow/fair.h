/* Fair queueing of calls: levels with seats of their own, and in a level one queue for each flow
 * (somebody's calls). Plain data and arithmetic: no clock, no loop, one thread.
 *
 * A call takes as many seats as it is expected to cost. A level runs calls while it has seats; it
 * may use seats others can lend and do not use. What does not fit waits; of those who wait, the
 * flow that was given the least so far is next, so one who asks a thousand times waits for himself
 * alone. */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

struct fair_level_opts {
    bool exempt;              /* never waits */
    bool queues;              /* what does not fit waits; else it is refused */
    unsigned shares;          /* its part of all seats; 0: it has only what it borrows */
    unsigned lendable_pct;    /* of its seats: others may use these while it does not */
    int64_t borrow_limit_pct; /* of its seats: so many more at most; <0: no limit */
    unsigned flow_max;        /* waiting calls of one flow */
    unsigned waiting_max;     /* of the level; flows with few still get in, up to hard_max */
    unsigned hard_max;        /* 0: twice waiting_max */
};

enum fair_state {
    FAIR_NONE,
    FAIR_WAITING,
    FAIR_RUNNING,
};

struct fair_flow;
struct fair_item { /* in the caller's memory; zeroed before its first use */
    struct list link;
    struct fair_flow *flow;
    unsigned level, seats;
    int64_t since; /* the caller's clock, at fair_try */
    enum fair_state state;
};

struct fair;
/* seats: of all levels together. */
struct fair *fair_new(unsigned seats);
struct fair *fair_free(struct fair *f); /* takes NULL; items are forgotten */
/* Sets level `i` (new ones have no seats), and shares the seats out anew. Those who run or wait in
 * it do so by its new rules. */
void fair_level_set(struct fair *f, unsigned i, const struct fair_level_opts *o);

/* Runs it if nobody of its level waits and there are seats; fair_done ends that. seats are cut to
 * what the level has. */
bool fair_try(struct fair *f, unsigned level, unsigned seats, int64_t now, struct fair_item *it);
/* After fair_try said no: it waits, until fair_next gives it back or fair_cancel takes it out. flow
 * names whose call it is (copied). False: the queues are full. */
bool fair_wait(struct fair *f, struct str flow, struct fair_item *it) MUST_CHECK;
void fair_done(struct fair *f, struct fair_item *it);
void fair_cancel(struct fair *f, struct fair_item *it);
/* The next one that has seats now, taken out of its queue and running; NULL: none. */
struct fair_item *fair_next(struct fair *f);
/* One that waits since before `before`, taken out; NULL: none. */
struct fair_item *fair_overdue(struct fair *f, int64_t before);
size_t fair_waiting(const struct fair *f); /* of all levels; O(1) */

struct fair_level_state {
    unsigned nominal, lendable, seats_used;
    size_t running, waiting, flows;
};
/* Zeroed for a level that is not there. */
struct fair_level_state fair_level_state(const struct fair *f, unsigned i);
/* Those who wait in a level, flow by flow, in their order. */
struct fair_place {
    unsigned queue, place, n; /* which flow; which of the n that wait in it */
    struct str flow;
    uint64_t ahead; /* seats the flow was given beyond the level's clock */
};
typedef void (*fair_each_fn)(void *arg, const struct fair_place *p, const struct fair_item *it);
void fair_each_waiting(const struct fair *f, unsigned level, fair_each_fn fn, void *arg);
