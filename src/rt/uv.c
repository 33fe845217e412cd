/* The real loop, on libuv: it waits, polls descriptors, forwards signals and keeps the thread pool.
 * Timers and tasks are the base's, so one uv_timer stands for the earliest of ours. A turn is one
 * uv_run(ONCE) or, when work is pending, uv_run(NOWAIT). */
#include "rt/rt_impl.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <uv.h>

#define RANDOM_POOL_BYTES 512 /* one getrandom(2) serves 64 numbers */

struct rt_uv {
    struct rt rt;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t timer;
    nsec_t timer_deadline; /* what `timer` is set to; INT64_MAX: stopped */
    bool fresh;            /* rt.now was taken in this turn */
    uint8_t pool[RANDOM_POOL_BYTES];
    size_t pool_left;
};

struct uv_fd {
    uv_poll_t poll;
    struct rt_fd *w; /* borrowed; NULL once closed */
};

static struct rt_uv *uv_of(const struct rt *rt)
{
    return CONTAINER_OF(rt, struct rt_uv, rt);
}

static nsec_t clock_now(struct rt *rt)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (nsec_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static usec_t clock_wall(const struct rt *rt)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (usec_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Called first by whatever wakes up in a turn, so that time asleep is nobody's callback. */
static void turn_begin(struct rt_uv *u)
{
    if (u->fresh)
        return;
    u->fresh = true;
    u->rt.now = u->rt.mark = clock_now(&u->rt);
}

static void on_timer(uv_timer_t *t)
{
    struct rt_uv *u = t->data;

    u->timer_deadline = INT64_MAX;
    /* uv_run(ONCE) runs timers before it polls, too, and would then sleep without one. */
    uv_stop(&u->loop);
}

static void arm_timer(struct rt_uv *u, nsec_t deadline)
{
    nsec_t left;

    /* An earlier wake-up than needed is harmless, so a later deadline moves the timer only when the
     * set one has fired. */
    if (deadline >= u->timer_deadline)
        return;
    uv_update_time(&u->loop);
    left = MAX(deadline - clock_now(&u->rt), 0);
    uv_timer_start(&u->timer, on_timer,
                   (uint64_t)(left / NSEC_PER_MSEC + (left % NSEC_PER_MSEC != 0)), 0);
    u->timer_deadline = deadline;
}

static bool turn(struct rt *rt, nsec_t max_wait)
{
    struct rt_uv *u = uv_of(rt);
    nsec_t deadline = rt_next_deadline(rt);
    bool wait = !rt_has_tasks(rt) && max_wait > 0 && deadline > rt->now;

    if (wait) {
        if (max_wait != INT64_MAX)
            deadline = MIN(deadline, clock_now(rt) + max_wait);
        if (deadline != INT64_MAX)
            arm_timer(u, deadline);
        atomic_store(&rt->polling, true);
        wait = !atomic_load(&rt->inbox) && !atomic_load(&rt->stop);
    }
    u->fresh = false;
    uv_run(&u->loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    atomic_store(&rt->polling, false);
    turn_begin(u);
    rt->stats.turns++;
    rt_run_timers(rt);
    rt_run_posts(rt);
    rt_run_tasks(rt);
    return true;
}

static void on_async(uv_async_t *a)
{
}

static void wake(struct rt *rt)
{
    uv_async_send(&uv_of(rt)->async);
}

static void fill_random(uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t r = getrandom(p, n, 0);
        if (r < 0 && errno == EINTR)
            continue;
        ASSERT(r > 0); /* cannot fail on a kernel that has it */
        p += r;
        n -= (size_t)r;
    }
}

static void take_random(struct rt *rt, void *p, size_t n)
{
    struct rt_uv *u = uv_of(rt);

    if (n > 64) {
        fill_random(p, n);
        return;
    }
    if (u->pool_left < n) {
        fill_random(u->pool, sizeof(u->pool));
        u->pool_left = sizeof(u->pool);
    }
    u->pool_left -= n;
    memcpy(p, u->pool + u->pool_left, n);
    explicit_bzero(u->pool + u->pool_left, n); /* handed out once, remembered nowhere */
}

/* ---- work ---- */

static void work_in_pool(uv_work_t *req)
{
    struct rt_work *w = req->data;

    w->work(w->arg);
}

static void work_after(uv_work_t *req, int status)
{
    struct rt_work *w = req->data;
    struct rt *rt = w->rt;
    const char *name = w->name;

    free(req);
    turn_begin(uv_of(rt));
    rt_enter(rt, "work", name);
    rt_work_finished(w);
    rt_leave(rt);
}

static void work_posted(void *arg)
{
    rt_work_finished(arg);
}

static void *work_thread(void *arg)
{
    struct rt_work *w = arg;

    w->work(w->arg);
    rt_post_named(w->rt, &w->post, work_posted, w, w->name);
    return NULL;
}

static int start_thread(struct rt_work *w)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t id;
    int r;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&id, &attr, work_thread, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

static void start_work(struct rt *rt, struct rt_work *w)
{
    uv_work_t *req;
    int r;

    if (w->kind == RT_WORK_LONG && start_thread(w) == 0)
        return; /* no thread to be had: the shared pool does it */
    req = NEW(uv_work_t);
    req->data = w;
    r = uv_queue_work(&uv_of(rt)->loop, req, work_in_pool, work_after);
    ASSERT(r == 0);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *h, int signum)
{
    struct rt_signal *s = h->data;

    turn_begin(uv_of(s->rt));
    rt_signal_fire(s);
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static void *signal_start(struct rt *rt, struct rt_signal *s)
{
    uv_signal_t *h = NEW(uv_signal_t);
    int r = uv_signal_init(&uv_of(rt)->loop, h);

    h->data = s;
    if (r == 0)
        r = uv_signal_start(h, on_signal, s->signum);
    ASSERT(r == 0); /* only for SIGKILL, SIGSTOP or without descriptors at start-up */
    return h;
}

static void signal_stop(void *handle)
{
    uv_signal_t *h = handle;

    uv_signal_stop(h);
    uv_close((uv_handle_t *)h, free_handle);
}

/* ---- descriptors ---- */

static void on_poll(uv_poll_t *p, int status, int events);

static void fd_arm(struct rt_fd *w, unsigned events)
{
    struct uv_fd *f = w->handle;
    int e = (events & RT_READABLE ? UV_READABLE : 0) | (events & RT_WRITABLE ? UV_WRITABLE : 0);

    if (events == w->armed)
        return;
    w->armed = events;
    if (e)
        (void)uv_poll_start(&f->poll, e, on_poll);
    else
        uv_poll_stop(&f->poll);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct uv_fd *f = CONTAINER_OF(p, struct uv_fd, poll);
    struct rt_fd *w = f->w;
    unsigned got =
        (events & UV_READABLE ? RT_READABLE : 0) | (events & UV_WRITABLE ? RT_WRITABLE : 0);

    if (!w)
        return;
    if (status < 0) { /* libuv has stopped watching: POLLERR */
        w->armed = 0;
        got = w->wanted;
    }
    got &= w->wanted;
    turn_begin(uv_of(w->rt));
    if (got)
        rt_fd_fire(w, got);
    if (f->w == w) /* not closed meanwhile */
        fd_arm(w, w->wanted);
}

static int fd_open(struct rt_fd *w)
{
    struct uv_fd *f = NEW(struct uv_fd);
    int r = uv_poll_init(&uv_of(w->rt)->loop, &f->poll, w->fd);

    if (r < 0) {
        free(f);
        return r; /* libuv's errors are negative errno on Linux */
    }
    f->w = w;
    w->handle = f;
    return 0;
}

static void fd_close(struct rt_fd *w)
{
    struct uv_fd *f = w->handle;

    f->w = NULL;
    uv_poll_stop(&f->poll);
    uv_close((uv_handle_t *)&f->poll, free_handle);
}

/* ---- making and freeing ---- */

static void uv_backend_free(struct rt *rt)
{
    struct rt_uv *u = uv_of(rt);
    int r;

    uv_close((uv_handle_t *)&u->async, NULL);
    uv_close((uv_handle_t *)&u->timer, NULL);
    for (int i = 0; i < 4 && uv_run(&u->loop, UV_RUN_NOWAIT) != 0; i++)
        ;
    r = uv_loop_close(&u->loop);
    ASSERT(r == 0); /* UV_EBUSY: a stream, signal or descriptor was not closed */
    rt_base_fini(rt);
    explicit_bzero(u->pool, sizeof(u->pool));
    free(u);
}

static const struct rt_ops uv_ops = {
    .free = uv_backend_free,
    .turn = turn,
    .wake = wake,
    .clock = clock_now,
    .wall = clock_wall,
    .random = take_random,
    .work = start_work,
    .signal_start = signal_start,
    .signal_stop = signal_stop,
    .fd_open = fd_open,
    .fd_arm = fd_arm,
    .fd_close = fd_close,
};

struct rt *rt_uv_new(void)
{
    struct rt_uv *u = NEW(struct rt_uv);
    int r;

    static_assert(offsetof(struct uv_fd, poll) == 0, "free_handle frees the uv_fd");
    rt_base_init(&u->rt, &uv_ops);
    r = uv_loop_init(&u->loop);
    if (r < 0) {
        free(u);
        errno = -r;
        return NULL;
    }
    r = uv_async_init(&u->loop, &u->async, on_async);
    if (r < 0) {
        (void)uv_loop_close(&u->loop);
        free(u);
        errno = -r;
        return NULL;
    }
    uv_timer_init(&u->loop, &u->timer);
    u->timer.data = u;
    u->timer_deadline = INT64_MAX;
    u->rt.now = u->rt.mark = clock_now(&u->rt);
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an errno, not our end */
    return &u->rt;
}
