/* The part of a loop that both backends share: timers, tasks, messages, the order of a turn, and
 * the watchdog. Keeping it here means that the simulator runs the same queueing code as production;
 * only time and waiting differ. */
#include "rt/rt_impl.h"
#include "base/mem.h"

static bool timer_less(const struct heap_node *a, const struct heap_node *b)
{
    const struct rt_timer *x = CONTAINER_OF(a, struct rt_timer, node);
    const struct rt_timer *y = CONTAINER_OF(b, struct rt_timer, node);

    return x->deadline != y->deadline ? x->deadline < y->deadline : x->seq < y->seq;
}

void rt_base_init(struct rt *rt, const struct rt_ops *ops)
{
    rt->ops = ops;
    heap_init(&rt->timers, timer_less);
    list_init(&rt->tasks);
    list_init(&rt->late);
    list_init(&rt->batch);
    list_init(&rt->signals);
    list_init(&rt->at_free);
    list_init(&rt->long_waiting);
    rt->slow_limit = RT_SLOW_DEFAULT;
    atomic_init(&rt->current, "");
}

void rt_base_fini(struct rt *rt)
{
    heap_fini(&rt->timers);
    free(rt->scratch);
}

void rt_at_free(struct rt *rt, struct rt_at_free *a, rt_fn fn, void *arg)
{
    a->fn = fn;
    a->arg = arg;
    list_push_back(&rt->at_free, &a->link);
}

void rt_at_free_cancel(struct rt_at_free *a)
{
    if (a->link.prev)
        list_remove(&a->link);
}

struct rt *rt_free(struct rt *rt)
{
    if (!rt)
        return NULL;
    ASSERT(!rt->running);
    while (!list_empty(&rt->at_free)) {
        struct rt_at_free *a = LIST_FIRST(&rt->at_free, struct rt_at_free, link);
        list_remove(&a->link);
        a->fn(a->arg);
    }
    /* Closes in flight and work in other threads still refer to the loop. */
    for (int idle = 0; idle < 2 || rt->works_open;) {
        bool more = rt_has_tasks(rt) || atomic_load(&rt->inbox);
        idle = more ? 0 : idle + 1;
        (void)rt->ops->turn(rt, NSEC_PER_MSEC);
    }
    rt->ops->free(rt);
    return NULL;
}

/* ---- running ---- */

void rt_run(struct rt *rt)
{
    ASSERT(!rt->running);
    rt->running = true;
    while (!atomic_load(&rt->stop))
        if (!rt->ops->turn(rt, INT64_MAX))
            break;
    rt->running = false;
    atomic_store(&rt->stop, false);
}

void rt_stop(struct rt *rt)
{
    atomic_store(&rt->stop, true);
    rt->ops->wake(rt);
}

bool rt_run_until(struct rt *rt, bool (*pred)(void *arg), void *arg, nsec_t timeout)
{
    nsec_t end = rt->ops->clock(rt);
    bool held;

    ASSERT(!rt->running);
    end = timeout > INT64_MAX - end ? INT64_MAX : end + timeout;
    rt->running = true;
    while (!(held = pred(arg))) {
        nsec_t now = rt->ops->clock(rt);
        if (now >= end || atomic_load(&rt->stop) || !rt->ops->turn(rt, end - now))
            break;
    }
    rt->running = false;
    atomic_store(&rt->stop, false);
    return held;
}

bool rt_is_sim(const struct rt *rt)
{
    return rt->ops->is_sim;
}

nsec_t rt_now(const struct rt *rt)
{
    return rt->now;
}

usec_t rt_wall(const struct rt *rt)
{
    return rt->ops->wall(rt);
}

/* ---- callbacks under the watchdog ---- */

void rt_enter(struct rt *rt, const char *kind, const char *name)
{
    atomic_store_explicit(&rt->current, name, memory_order_relaxed);
    if (rt->on_event)
        rt->on_event(rt, kind, name);
}

void rt_leave(struct rt *rt)
{
    const char *name = atomic_load_explicit(&rt->current, memory_order_relaxed);
    nsec_t t, took;

    atomic_store_explicit(&rt->current, "", memory_order_relaxed);
    if (rt->ops->is_sim)
        return;
    t = rt->ops->clock(rt);
    took = t - rt->mark;
    rt->mark = t;
    rt->stats.busy += took;
    if (UNLIKELY(took >= rt->slow_limit) && rt->slow_fn)
        rt->slow_fn(rt->slow_arg, name, took);
}

void rt_call(struct rt *rt, const char *kind, rt_fn fn, void *arg, const char *name)
{
    rt_enter(rt, kind, name);
    fn(arg);
    rt_leave(rt);
}

void rt_watchdog(struct rt *rt, nsec_t limit, rt_slow_fn fn, void *arg)
{
    rt->slow_limit = limit;
    rt->slow_fn = fn;
    rt->slow_arg = arg;
}

const char *rt_current(const struct rt *rt)
{
    return atomic_load_explicit(&((struct rt *)rt)->current, memory_order_relaxed);
}

struct rt_stats rt_stats(const struct rt *rt)
{
    return rt->stats;
}

char *rt_scratch(struct rt *rt)
{
    if (!rt->scratch)
        rt->scratch = xmalloc(RT_SCRATCH_BYTES);
    return rt->scratch;
}

/* ---- timers ---- */

void rt_timer_init_named(struct rt_timer *t, struct rt *rt, rt_fn fn, void *arg, const char *name)
{
    *t = (struct rt_timer){.rt = rt, .fn = fn, .arg = arg, .name = name};
}

void rt_timer_start_at(struct rt_timer *t, nsec_t deadline)
{
    struct rt *rt = t->rt;

    /* Never before what is due already, so that a timer which restarts itself cannot jump the
     * queue. */
    t->deadline = MAX(deadline, rt->now);
    t->seq = rt->timer_seq++;
    if (rt_timer_active(t))
        heap_update(&rt->timers, &t->node);
    else
        heap_push(&rt->timers, &t->node);
}

void rt_timer_start(struct rt_timer *t, nsec_t after)
{
    nsec_t now = t->rt->now;

    rt_timer_start_at(t, after > INT64_MAX - now ? INT64_MAX : now + MAX(after, 0));
}

void rt_timer_stop(struct rt_timer *t)
{
    if (rt_timer_active(t))
        heap_remove(&t->rt->timers, &t->node);
}

nsec_t rt_next_deadline(const struct rt *rt)
{
    struct heap_node *n = heap_top(&rt->timers);

    return n ? CONTAINER_OF(n, struct rt_timer, node)->deadline : INT64_MAX;
}

void rt_run_timers(struct rt *rt)
{
    uint64_t limit = rt->timer_seq; /* what starts meanwhile waits for the next turn */
    struct heap_node *n;

    while ((n = heap_top(&rt->timers))) {
        struct rt_timer *t = CONTAINER_OF(n, struct rt_timer, node);
        if (t->deadline > rt->now || t->seq >= limit)
            break;
        heap_remove(&rt->timers, n);
        rt->stats.timers++;
        rt_call(rt, "timer", t->fn, t->arg, t->name);
    }
}

/* ---- tasks ---- */

void rt_task_init_named(struct rt_task *t, struct rt *rt, rt_fn fn, void *arg, const char *name)
{
    *t = (struct rt_task){.rt = rt, .fn = fn, .arg = arg, .name = name};
    list_init(&t->link);
}

void rt_task_schedule(struct rt_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&t->rt->tasks, &t->link);
}

void rt_task_schedule_late(struct rt_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&t->rt->late, &t->link);
}

void rt_task_cancel(struct rt_task *t)
{
    if (rt_task_pending(t))
        list_remove(&t->link);
}

bool rt_has_tasks(const struct rt *rt)
{
    return !list_empty(&rt->tasks) || !list_empty(&rt->batch) || !list_empty(&rt->late);
}

static void run_list(struct rt *rt, struct list *l, const char *kind)
{
    while (!list_empty(l)) {
        struct rt_task *t = LIST_FIRST(l, struct rt_task, link);
        list_remove(&t->link);
        rt->stats.tasks++;
        rt_call(rt, kind, t->fn, t->arg, t->name);
    }
}

void rt_run_tasks(struct rt *rt)
{
    /* Moves the queue aside: tasks scheduled from here on are the next turn's. */
    ASSERT(list_empty(&rt->batch));
    if (!list_empty(&rt->tasks)) {
        list_insert_after(&rt->tasks, &rt->batch);
        list_remove(&rt->tasks);
    }
    run_list(rt, &rt->batch, "task");
    run_list(rt, &rt->late, "late");
}

/* ---- messages ---- */

void rt_post_named(struct rt *rt, struct rt_post *p, rt_fn fn, void *arg, const char *name)
{
    struct rt_post *head = atomic_load_explicit(&rt->inbox, memory_order_relaxed);

    p->fn = fn;
    p->arg = arg;
    p->name = name;
    do
        p->next = head;
    while (!atomic_compare_exchange_weak(&rt->inbox, &head, p));
    /* Sequentially consistent on both sides: either the loop sees the message before it sleeps, or
     * we see that it is about to. Only the first message of a burst pays for the wake-up. */
    if (!head && atomic_load(&rt->polling))
        rt->ops->wake(rt);
}

struct rt_post *rt_take_inbox(struct rt *rt)
{
    struct rt_post *p, *next, *oldest = NULL;

    if (!atomic_load_explicit(&rt->inbox, memory_order_relaxed))
        return NULL;
    for (p = atomic_exchange(&rt->inbox, NULL); p; p = next) {
        next = p->next;
        p->next = oldest;
        oldest = p;
    }
    return oldest;
}

void rt_run_posts(struct rt *rt)
{
    struct rt_post *next;

    for (struct rt_post *p = rt_take_inbox(rt); p; p = next) {
        next = p->next;
        rt->stats.posts++;
        rt_call(rt, "post", p->fn, p->arg, p->name);
    }
}

/* ---- work ---- */

void rt_work_named(struct rt *rt, struct rt_work *w, enum rt_work_kind kind, rt_fn work, rt_fn done,
                   void *arg, const char *name)
{
    *w = (struct rt_work){
        .rt = rt, .work = work, .done = done, .arg = arg, .name = name, .kind = kind};
    list_init(&w->link);
    rt->works_open++;
    if (kind == RT_WORK_LONG && rt->long_running >= RT_WORK_LONG_MAX) {
        list_push_back(&rt->long_waiting, &w->link);
        return;
    }
    if (kind == RT_WORK_LONG)
        rt->long_running++;
    rt->ops->work(rt, w);
}

void rt_work_finished(struct rt_work *w)
{
    struct rt *rt = w->rt;

    ASSERT(rt->works_open > 0);
    rt->works_open--;
    rt->stats.works++;
    if (w->kind == RT_WORK_LONG) {
        if (list_empty(&rt->long_waiting)) {
            rt->long_running--;
        } else {
            struct rt_work *next = LIST_FIRST(&rt->long_waiting, struct rt_work, link);
            list_remove(&next->link);
            rt->ops->work(rt, next);
        }
    }
    if (w->done)
        w->done(w->arg);
}

/* ---- signals and descriptors ---- */

struct rt_signal *rt_signal_new(struct rt *rt, int signum, rt_signal_fn fn, void *arg)
{
    struct rt_signal *s = NEW(struct rt_signal);

    s->rt = rt;
    s->signum = signum;
    s->fn = fn;
    s->arg = arg;
    list_push_back(&rt->signals, &s->link);
    s->handle = rt->ops->signal_start(rt, s);
    return s;
}

struct rt_signal *rt_signal_free(struct rt_signal *s)
{
    if (!s)
        return NULL;
    list_remove(&s->link);
    if (s->handle)
        s->rt->ops->signal_stop(s->handle);
    free(s);
    return NULL;
}

void rt_signal_fire(struct rt_signal *s)
{
    struct rt *rt = s->rt;

    rt_enter(rt, "signal", "signal");
    s->fn(s->arg, s->signum);
    rt_leave(rt);
}

int rt_fd_init_named(struct rt_fd *w, struct rt *rt, int fd, rt_fd_fn fn, void *arg,
                     const char *name)
{
    *w = (struct rt_fd){.rt = rt, .fd = fd, .fn = fn, .arg = arg, .name = name};
    return rt->ops->fd_open(w);
}

void rt_fd_watch(struct rt_fd *w, unsigned events)
{
    ASSERT(w->handle || !events);
    w->wanted = events;
    /* What is armed beyond that is disarmed when it next fires: stopping and starting in turn, as
     * back-pressure does, then costs nothing. */
    if (events & ~w->armed)
        w->rt->ops->fd_arm(w, events);
}

void rt_fd_fini(struct rt_fd *w)
{
    if (w->handle)
        w->rt->ops->fd_close(w);
    *w = (struct rt_fd){.fd = -1};
}

void rt_fd_fire(struct rt_fd *w, unsigned events)
{
    struct rt *rt = w->rt;

    rt->stats.fd_events++;
    rt_enter(rt, "fd", w->name);
    w->fn(w->arg, events);
    rt_leave(rt);
}
