/* The simulated loop. It reuses the base's timers and tasks and adds a clock that moves only
 * between events, and one seeded generator for everything that chance decides. So a whole control
 * plane runs in one thread, an hour in a second, and a failing seed replays exactly. */
#include "rt/sim.h"
#include "base/hash.h"
#include "base/mem.h"
#include "rt/rt_impl.h"

#define SIM_TURN_COST NSEC_PER_USEC

/* Where in a turn the next step goes on. */
enum sim_phase {
    SIM_BETWEEN,
    SIM_TIMERS,
    SIM_TASKS,
    SIM_LATE,
};

struct rt_sim {
    struct rt rt;
    uint64_t seed, digest;
    uint64_t s[4]; /* xoshiro256** */
    enum sim_phase phase;
    usec_t wall_base;     /* wall clock at virtual time 0 */
    uint64_t turn_timers; /* timers from this number on belong to the next turn */
    nsec_t post_last;     /* when the latest message arrives */
    nsec_t post_min, post_max, work_min, work_max;
    rt_sim_trace_fn trace;
    void *trace_arg;
};

/* A message on its way, or a signal. */
struct sim_event {
    struct rt_timer timer;
    struct rt_sim *sim;
    struct rt_post *post; /* borrowed until delivered; NULL: a signal */
    int signum;
};

static struct rt_sim *sim_of(const struct rt *rt)
{
    ASSERT(rt->ops->is_sim);
    return CONTAINER_OF(rt, struct rt_sim, rt);
}

/* ---- chance ---- */

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256** (Blackman, Vigna 2018), public domain algorithm. */
static uint64_t next_u64(struct rt_sim *m)
{
    uint64_t *s = m->s, r = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return r;
}

/* splitmix64: spreads a small seed over the state. */
static void seed_state(struct rt_sim *m, uint64_t x)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (x += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        m->s[i] = z ^ (z >> 31);
    }
}

static void sim_random(struct rt *rt, void *p, size_t n)
{
    uint8_t *b = p;

    while (n > 0) {
        uint64_t v = next_u64(sim_of(rt));
        size_t k = MIN(n, sizeof(v));
        memcpy(b, &v, k);
        b += k;
        n -= k;
    }
}

static nsec_t delay_between(struct rt_sim *m, nsec_t min, nsec_t max)
{
    return min + (max > min ? (nsec_t)rt_random_below(&m->rt, (uint64_t)(max - min) + 1) : 0);
}

/* ---- time ---- */

static nsec_t sim_clock(struct rt *rt)
{
    return rt->now;
}

static usec_t sim_wall(const struct rt *rt)
{
    return sim_of(rt)->wall_base + rt->now / NSEC_PER_USEC;
}

/* ---- events ---- */

static void on_event(struct rt *rt, const char *kind, const char *name)
{
    struct rt_sim *m = sim_of(rt);
    uint64_t part[4] = {m->digest, (uint64_t)rt->now, hash_fnv1a64(kind, strlen(kind)),
                        hash_fnv1a64(name, strlen(name))};

    m->digest = hash_fnv1a64(part, sizeof(part));
    if (m->trace)
        m->trace(m->trace_arg, rt->now, kind, name);
}

static void event_fire(void *arg)
{
    struct sim_event *e = arg;
    struct rt *rt = &e->sim->rt;
    struct rt_signal *s;

    if (e->post) {
        rt->stats.posts++;
        e->post->fn(e->post->arg);
    } else {
        LIST_FOR_EACH (s, &rt->signals, link)
            if (s->signum == e->signum)
                s->fn(s->arg, s->signum);
    }
    free(e);
}

static void event_start(struct rt_sim *m, struct rt_post *p, int signum, nsec_t after)
{
    struct sim_event *e = NEW(struct sim_event);

    e->sim = m;
    e->post = p;
    e->signum = signum;
    rt_timer_init_named(&e->timer, &m->rt, event_fire, e, p ? p->name : "signal");
    rt_timer_start(&e->timer, after);
}

static void work_done(void *arg)
{
    rt_work_finished(arg);
}

static void work_do(void *arg)
{
    struct rt_work *w = arg;
    struct rt_sim *m = sim_of(w->rt);

    w->work(w->arg);
    rt_timer_init_named(&w->timer, w->rt, work_done, w, w->name);
    rt_timer_start(&w->timer, delay_between(m, m->work_min, m->work_max));
}

static void sim_work(struct rt *rt, struct rt_work *w)
{
    struct rt_sim *m = sim_of(rt);

    rt_timer_init_named(&w->timer, rt, work_do, w, w->name);
    rt_timer_start(&w->timer, delay_between(m, m->work_min, m->work_max));
}

/* ---- steps ---- */

static void run_task(struct rt *rt, struct list *l, const char *kind)
{
    struct rt_task *t = LIST_FIRST(l, struct rt_task, link);

    list_remove(&t->link);
    rt->stats.tasks++;
    rt_call(rt, kind, t->fn, t->arg, t->name);
}

/* The next timer of this turn, if one is due. */
static bool run_due_timer(struct rt_sim *m)
{
    struct heap_node *n = heap_top(&m->rt.timers);
    struct rt_timer *t = n ? CONTAINER_OF(n, struct rt_timer, node) : NULL;

    if (!t || t->deadline > m->rt.now || t->seq >= m->turn_timers)
        return false;
    heap_remove(&m->rt.timers, n);
    m->rt.stats.timers++;
    rt_call(&m->rt, "timer", t->fn, t->arg, t->name);
    return true;
}

static void collect_posts(struct rt_sim *m)
{
    struct rt_post *next;

    for (struct rt_post *p = rt_take_inbox(&m->rt); p; p = next) {
        next = p->next;
        /* Delays differ, the order stays. */
        m->post_last = MAX(m->post_last, m->rt.now + delay_between(m, m->post_min, m->post_max));
        event_start(m, p, 0, m->post_last - m->rt.now);
    }
}

/* Moves the clock to the next turn, if that is not beyond `end`. */
static bool begin_turn(struct rt_sim *m, nsec_t end)
{
    struct rt *rt = &m->rt;
    nsec_t next = rt_next_deadline(rt);

    if (rt_has_tasks(rt) || next <= rt->now)
        next = rt->now + SIM_TURN_COST;
    if (next == INT64_MAX || next > end)
        return false;
    rt->now = next;
    rt->stats.turns++;
    m->turn_timers = rt->timer_seq;
    m->phase = SIM_TIMERS;
    return true;
}

static bool step(struct rt_sim *m, nsec_t end)
{
    struct rt *rt = &m->rt;

    for (;;) {
        collect_posts(m);
        switch (m->phase) {
        case SIM_BETWEEN:
            if (!begin_turn(m, end))
                return false;
            break;
        case SIM_TIMERS:
            if (run_due_timer(m))
                return true;
            if (!list_empty(&rt->tasks)) {
                list_insert_after(&rt->tasks, &rt->batch);
                list_remove(&rt->tasks);
            }
            m->phase = SIM_TASKS;
            break;
        case SIM_TASKS:
            if (!list_empty(&rt->batch)) {
                run_task(rt, &rt->batch, "task");
                return true;
            }
            m->phase = SIM_LATE;
            break;
        case SIM_LATE:
            if (!list_empty(&rt->late)) {
                run_task(rt, &rt->late, "late");
                return true;
            }
            m->phase = SIM_BETWEEN;
            break;
        }
    }
}

bool rt_sim_step(struct rt *rt)
{
    return step(sim_of(rt), INT64_MAX);
}

void rt_sim_run_for(struct rt *rt, nsec_t span)
{
    nsec_t end = rt->now + span;

    while (step(sim_of(rt), end))
        ;
    rt->now = end;
}

static bool sim_turn(struct rt *rt, nsec_t max_wait)
{
    nsec_t end = max_wait > INT64_MAX - rt->now ? INT64_MAX : rt->now + max_wait;

    if (step(sim_of(rt), end))
        return true;
    if (!rt_has_tasks(rt) && rt_next_deadline(rt) == INT64_MAX)
        return false;
    if (end != INT64_MAX)
        rt->now = end;
    return true;
}

/* ---- what the simulator does not have ---- */

static void sim_wake(struct rt *rt)
{
}

static void *sim_signal_start(struct rt *rt, struct rt_signal *s)
{
    return NULL;
}

static void sim_signal_stop(void *handle)
{
}

static int sim_fd_open(struct rt_fd *w)
{
    return -ENOTSUP;
}

static void sim_fd_arm(struct rt_fd *w, unsigned events)
{
}

static void sim_fd_close(struct rt_fd *w)
{
}

static void sim_free(struct rt *rt)
{
    struct heap_node *n;

    while ((n = heap_pop(&rt->timers))) {
        struct rt_timer *t = CONTAINER_OF(n, struct rt_timer, node);
        if (t->fn == event_fire)
            free(t->arg);
    }
    rt_base_fini(rt);
    free(sim_of(rt));
}

static const struct rt_ops sim_ops = {
    .is_sim = true,
    .free = sim_free,
    .turn = sim_turn,
    .wake = sim_wake,
    .clock = sim_clock,
    .wall = sim_wall,
    .random = sim_random,
    .work = sim_work,
    .signal_start = sim_signal_start,
    .signal_stop = sim_signal_stop,
    .fd_open = sim_fd_open,
    .fd_arm = sim_fd_arm,
    .fd_close = sim_fd_close,
};

/* ---- for tests ---- */

struct rt *rt_sim_new(uint64_t seed, usec_t start_wall)
{
    struct rt_sim *m = NEW(struct rt_sim);

    rt_base_init(&m->rt, &sim_ops);
    m->rt.on_event = on_event;
    m->rt.now = NSEC_PER_SEC; /* not 0: code that takes 0 for "never" would be right by accident */
    m->seed = seed;
    m->wall_base = start_wall - m->rt.now / NSEC_PER_USEC;
    m->post_max = 50 * NSEC_PER_USEC;
    m->work_min = 50 * NSEC_PER_USEC;
    m->work_max = 5 * NSEC_PER_MSEC;
    seed_state(m, seed);
    return &m->rt;
}

void rt_sim_set_post_delay(struct rt *rt, nsec_t min, nsec_t max)
{
    ASSERT(min >= 0 && max >= min);
    sim_of(rt)->post_min = min;
    sim_of(rt)->post_max = max;
}

void rt_sim_set_work_delay(struct rt *rt, nsec_t min, nsec_t max)
{
    ASSERT(min >= 0 && max >= min);
    sim_of(rt)->work_min = min;
    sim_of(rt)->work_max = max;
}

void rt_sim_wall_jump(struct rt *rt, usec_t by)
{
    sim_of(rt)->wall_base += by;
}

void rt_sim_signal(struct rt *rt, int signum)
{
    event_start(sim_of(rt), NULL, signum, 0);
}

uint64_t rt_sim_seed(const struct rt *rt)
{
    return sim_of(rt)->seed;
}

uint64_t rt_sim_digest(const struct rt *rt)
{
    return sim_of(rt)->digest;
}

void rt_sim_trace(struct rt *rt, rt_sim_trace_fn fn, void *arg)
{
    sim_of(rt)->trace = fn;
    sim_of(rt)->trace_arg = arg;
}
