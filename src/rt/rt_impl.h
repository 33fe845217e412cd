/* Inside of struct rt, for its two backends and for the files of this folder. The base (rt.c) keeps
 * timers, tasks, the inbox and the order of a turn; a backend supplies time, waiting, descriptors,
 * threads and random numbers. */
#pragma once

#include "rt/rt.h"

#include <stdatomic.h>

struct rt_ops {
    bool is_sim;
    void (*free)(struct rt *rt); /* calls rt_base_fini */
    /* One turn; waits at most max_wait when there is nothing to do. False: nothing can happen any
     * more (simulator). */
    bool (*turn)(struct rt *rt, nsec_t max_wait);
    void (*wake)(struct rt *rt); /* any thread: ends the wait of turn */
    nsec_t (*clock)(struct rt *rt);
    usec_t (*wall)(const struct rt *rt);
    void (*random)(struct rt *rt, void *p, size_t n);
    void (*work)(struct rt *rt, struct rt_work *w); /* ends in rt_work_finished on the loop */
    void *(*signal_start)(struct rt *rt, struct rt_signal *s);
    void (*signal_stop)(void *handle); /* may be NULL */
    int (*fd_open)(struct rt_fd *w);   /* sets w->handle */
    void (*fd_arm)(struct rt_fd *w, unsigned events);
    void (*fd_close)(struct rt_fd *w);
};

#define RT_SCRATCH_BYTES (64 * 1024) /* a read takes what a socket buffer usually holds */

struct rt {
    const struct rt_ops *ops;
    struct heap timers;
    uint64_t timer_seq;
    struct list tasks, late;
    struct list batch; /* tasks of this turn */
    struct list signals;
    struct list at_free;      /* struct rt_at_free */
    struct list long_waiting; /* rt_work of RT_WORK_LONG */
    unsigned long_running, works_open;
    _Atomic(struct rt_post *) inbox; /* newest first */
    atomic_bool polling;             /* about to wait or waiting */
    atomic_bool stop;
    bool running;
    nsec_t now, mark; /* mark: end of the last callback */
    _Atomic(const char *) current;
    nsec_t slow_limit;
    rt_slow_fn slow_fn;
    void *slow_arg;
    struct rt_stats stats;
    char *scratch; /* read buffer shared by the descriptors of this loop */
    void (*on_event)(struct rt *rt, const char *kind, const char *name); /* simulator */
};

/* fn(arg) when the loop is freed, unless cancelled before: for what outlives its owner. */
struct rt_at_free {
    struct list link; /* prev == NULL: never registered */
    rt_fn fn;
    void *arg;
};
void rt_at_free(struct rt *rt, struct rt_at_free *a, rt_fn fn, void *arg);
void rt_at_free_cancel(struct rt_at_free *a);

struct rt_signal {
    struct list link;
    struct rt *rt;
    int signum;
    rt_signal_fn fn;
    void *arg;
    void *handle;
};

void rt_base_init(struct rt *rt, const struct rt_ops *ops);
void rt_base_fini(struct rt *rt);
/* Runs a callback under the watchdog. */
void rt_call(struct rt *rt, const char *kind, rt_fn fn, void *arg, const char *name);
/* The same in two halves, for callbacks of another shape. */
void rt_enter(struct rt *rt, const char *kind, const char *name);
void rt_leave(struct rt *rt);

/* Parts of a turn. */
bool rt_has_tasks(const struct rt *rt);       /* of either kind */
struct rt_post *rt_take_inbox(struct rt *rt); /* oldest first */
void rt_run_posts(struct rt *rt);
void rt_run_timers(struct rt *rt);
void rt_run_tasks(struct rt *rt);
nsec_t rt_next_deadline(const struct rt *rt); /* INT64_MAX: none */

void rt_work_finished(struct rt_work *w); /* on the loop; calls done */
void rt_signal_fire(struct rt_signal *s);
void rt_fd_fire(struct rt_fd *w, unsigned events);
char *rt_scratch(struct rt *rt); /* RT_SCRATCH_BYTES, contents are anyone's */
