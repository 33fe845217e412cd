/* struct rt: one event loop of one thread, and everything that ties a program to the outside:
 * clock, timers, deferred tasks, messages from other threads, a worker pool, random numbers,
 * signals, file descriptors. rt_uv_new() is real (libuv), rt_sim_new() simulated: virtual time,
 * seeded order.
 *
 * Invariants
 * - All calls on a struct rt and on what hangs on it come from the thread that runs it, except
 * those marked "any thread". A loop may be made in one thread and then run in another.
 * - Every callback comes from the loop, never from inside the call that asked for it.
 * - A turn of the loop is: due timers, ready descriptors, posted messages, tasks, late tasks,
 * sleep.
 * - Intrusive structs (rt_timer, rt_task, rt_post, rt_work, rt_fd, rt_signal) are the caller's
 *   memory; zeroed is valid for `stop`/`cancel`. When each is yours again is said with it.
 * - Callbacks are `void fn(void *arg)`; the init macros keep their name for the watchdog and
 * traces. */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"

struct rt;
typedef void (*rt_fn)(void *arg);

/* ---- the loop ---- */

/* The real one. NULL only when the kernel refuses (errno is set): out of descriptors. */
struct rt *rt_uv_new(void);
/* Releases the loop and returns NULL (takes NULL). Finishes pending closes first; streams,
 * listeners and signals must have been closed. Waits for work in other threads. Not while it
 * runs. */
struct rt *rt_free(struct rt *rt);

void rt_run(struct rt *rt);  /* until rt_stop; may be called again */
void rt_stop(struct rt *rt); /* ends the current rt_run after this turn; any thread */
/* Runs turns until pred(arg) is true (then true) or `timeout` has passed (then false). For tests
 * and for start-up steps; on the simulator the time is virtual. */
bool rt_run_until(struct rt *rt, bool (*pred)(void *arg), void *arg, nsec_t timeout);
bool rt_is_sim(const struct rt *rt);

nsec_t rt_now(const struct rt *rt);  /* monotonic, taken once a turn */
usec_t rt_wall(const struct rt *rt); /* wall clock; can jump */
/* Random numbers fit for secrets (getrandom); on the simulator seeded and repeatable. */
uint64_t rt_random_u64(struct rt *rt);
uint64_t rt_random_below(struct rt *rt, uint64_t n); /* 0 .. n-1, unbiased; n > 0 */
void rt_random_bytes(struct rt *rt, void *p, size_t n);
/* Spreads a span: d * (1 - fraction .. 1 + fraction), for periods that must not march in step. */
nsec_t rt_jitter(struct rt *rt, nsec_t d, double fraction);

/* A thread that runs `rt` until rt_thread_join, which stops the loop, waits, and returns NULL. The
 * loop itself stays the caller's. The name (15 bytes) shows in ps and perf. */
struct rt_thread;
int rt_thread_start(struct rt *rt, const char *name, struct rt_thread **ret) MUST_CHECK;
struct rt_thread *rt_thread_join(struct rt_thread *t);

/* ---- timers: one shot; equal deadlines fire in the order they were started ---- */

struct rt_timer {
    struct heap_node node;
    struct rt *rt;
    nsec_t deadline;
    uint64_t seq;
    rt_fn fn;
    void *arg;
    const char *name;
};
#define rt_timer_init(t, rt, fn, arg) rt_timer_init_named((t), (rt), (fn), (arg), #fn)
void rt_timer_init_named(struct rt_timer *t, struct rt *rt, rt_fn fn, void *arg, const char *name);
/* Starts or moves it. The real loop sleeps in whole milliseconds, rounded up; never fires early. */
void rt_timer_start(struct rt_timer *t, nsec_t after);
void rt_timer_start_at(struct rt_timer *t, nsec_t deadline); /* on the rt_now clock */
void rt_timer_stop(struct rt_timer *t); /* idempotent; memory is yours at once */
static inline bool rt_timer_active(const struct rt_timer *t)
{
    return t->node.index != 0;
}

/* ---- tasks: run once, later in this turn or in the next one ---- */

struct rt_task {
    struct list link; /* prev == NULL: never scheduled */
    struct rt *rt;
    rt_fn fn;
    void *arg;
    const char *name;
};
#define rt_task_init(t, rt, fn, arg) rt_task_init_named((t), (rt), (fn), (arg), #fn)
void rt_task_init_named(struct rt_task *t, struct rt *rt, rt_fn fn, void *arg, const char *name);
/* Idempotent: scheduled twice runs once. First in, first out. A task scheduled by a task runs in
 * the next turn, so that tasks that reschedule themselves do not starve I/O. */
void rt_task_schedule(struct rt_task *t);
/* Runs after all tasks of this turn, just before the loop looks for I/O again: for flushing what
 * many callbacks gathered. Late tasks scheduled by late tasks still run in this turn. */
void rt_task_schedule_late(struct rt_task *t);
void rt_task_cancel(struct rt_task *t); /* idempotent; memory is yours at once */
static inline bool rt_task_pending(const struct rt_task *t)
{
    return t->link.prev != NULL && list_linked(&t->link);
}

/* ---- messages from other threads ---- */

struct rt_post {
    struct rt_post *next;
    rt_fn fn;
    void *arg;
    const char *name;
};
#define rt_post(rt, p, fn, arg) rt_post_named((rt), (p), (fn), (arg), #fn)
/* Any thread (also the loop's own): fn(arg) runs on rt's loop. Lock-free; a burst costs one
 * wake-up; messages of one sender arrive in order. p belongs to the loop until fn is entered. */
void rt_post_named(struct rt *rt, struct rt_post *p, rt_fn fn, void *arg, const char *name);

/* ---- worker pool: what blocks ---- */

enum rt_work_kind {
    RT_WORK_SHORT, /* up to a second or so: hashing, fsync, getaddrinfo. Shared pool of 4 threads */
    RT_WORK_LONG, /* minutes: pulling, unpacking. A thread of its own, at most RT_WORK_LONG_MAX at a
                     time in a loop, further ones wait their turn */
};
#define RT_WORK_LONG_MAX 8 /* saturates disk and network, few enough for small machines */

struct rt_work {
    struct list link;
    struct rt *rt;
    rt_fn work, done;
    void *arg;
    const char *name;
    struct rt_post post;
    struct rt_timer timer; /* simulator */
    enum rt_work_kind kind;
    void *req; /* backend */
};
#define rt_work(rt, w, kind, work, done, arg)                                                      \
    rt_work_named((rt), (w), (kind), (work), (done), (arg), #work)
/* work(arg) runs in another thread, then done(arg) on the loop. w (zeroed at first) belongs to the
 * loop until done is entered. It cannot be called back: for long work share an atomic flag with it.
 * Simulator: both run on the loop, work after a seeded delay, done after another. */
void rt_work_named(struct rt *rt, struct rt_work *w, enum rt_work_kind kind, rt_fn work, rt_fn done,
                   void *arg, const char *name);

/* ---- signals ---- */

struct rt_signal;
typedef void (*rt_signal_fn)(void *arg, int signum);
/* fn for each delivery (bursts coalesce). Several loops may watch one signal. Simulator: never
 * fires by itself; rt_sim_signal does. rt_signal_free takes NULL and returns NULL. */
struct rt_signal *rt_signal_new(struct rt *rt, int signum, rt_signal_fn fn, void *arg);
struct rt_signal *rt_signal_free(struct rt_signal *s);

/* ---- foreign file descriptors: netlink, inotify, pidfd, datagram sockets ---- */

#define RT_READABLE 1u
#define RT_WRITABLE 2u
/* Level triggered. `events` are those that came; an error or hang-up of the descriptor sets all
 * that were asked for, so that the read or write finds out. */
typedef void (*rt_fd_fn)(void *arg, unsigned events);

struct rt_fd {
    struct rt *rt;
    int fd; /* borrowed */
    unsigned wanted, armed;
    rt_fd_fn fn;
    void *arg;
    const char *name;
    void *handle; /* backend, owned */
};
#define rt_fd_init(w, rt, fd, fn, arg) rt_fd_init_named((w), (rt), (fd), (fn), (arg), #fn)
/* Makes fd non-blocking. -EBADF, -EPERM (a plain file), -EEXIST (watched already), -ENOTSUP
 * (simulator); after an error rt_fd_stop/rt_fd_fini are still fine. */
int rt_fd_init_named(struct rt_fd *w, struct rt *rt, int fd, rt_fd_fn fn, void *arg,
                     const char *name) MUST_CHECK;
/* Which events to wait for; 0 pauses. Costs system calls only when the set grows. */
void rt_fd_watch(struct rt_fd *w, unsigned events);
/* Stops for good; idempotent, takes a zeroed one. w is yours at once; close fd yourself,
 * afterwards. */
void rt_fd_fini(struct rt_fd *w);

/* ---- watchdog ---- */

/* `fn` is told each time a callback held the loop for `limit` or longer: which one and how long. It
 * runs on the loop, after the callback. Default: none. Sets it for one loop; before rt_run. */
typedef void (*rt_slow_fn)(void *arg, const char *callback, nsec_t took);
#define RT_SLOW_DEFAULT (100 * NSEC_PER_MSEC)
void rt_watchdog(struct rt *rt, nsec_t limit, rt_slow_fn fn, void *arg);
/* The callback that runs now, "" between them. Any thread: for a monitor that suspects a hang. */
const char *rt_current(const struct rt *rt);

/* ---- figures ---- */

struct rt_stats {
    uint64_t turns, timers, tasks, posts, fd_events, works;
    nsec_t busy; /* sum of the time spent in callbacks; 0 on the simulator */
};
struct rt_stats rt_stats(const struct rt *rt);
