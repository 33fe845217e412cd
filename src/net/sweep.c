/* To find a flow the kernel looks through its whole table, empty buckets and all: some 30 ms where
 * there are 262,144 of them. So no transaction waits for it: it happens beside them, on the pool.
 * What goes meanwhile is gathered for the next walk, and between walks there is a pause of four
 * times what the last one took: endpoints that go one by one cost a fifth of a core at most.
 *
 * Most endpoints that go are alive for some seconds yet and answer what is on its way to them. Such
 * flows must not be deleted between question and answer, so a walk for those that nobody answered
 * begins when whoever lives has. Those of UDP are the endpoint's as long as they are there, and
 * cannot wait. */
#include "net/sweep.h"

#include <string.h>

#include "base/log.h"

#define ANSWER_TIME  (100 * NSEC_PER_MSEC)
#define PAUSE_FACTOR 4
#define PAUSE_MAX    NSEC_PER_SEC

static void start(struct net_sweep *s);

static void on_pause(void *arg)
{
    struct net_sweep *s = arg;
    s->waiting = false;
    start(s);
}

static void walk(void *arg)
{
    struct net_sweep *s = arg;
    s->result = net_flows_delete(&s->now);
}

static void walked(void *arg)
{
    struct net_sweep *s = arg;
    nsec_t took = rt_now(s->rt) - s->began;
    if (s->result < 0)
        log_warn("net: deleting flows of endpoints that are gone: %s", strerror(-s->result));
    net_flows_fini(&s->now);
    s->busy = false;
    if (!s->stopped)
        rt_timer_start(&s->pause, MIN(took * PAUSE_FACTOR, PAUSE_MAX));
    s->ended(s->arg);
}

static void start(struct net_sweep *s)
{
    if (s->busy || rt_timer_active(&s->pause) || net_flows_empty(&s->next))
        return;
    s->now = s->next;
    s->next = (struct net_flows){0};
    s->busy = true;
    s->began = rt_now(s->rt);
    rt_work(s->rt, &s->work, RT_WORK_SHORT, walk, walked, s);
}

void net_sweep_init(struct net_sweep *s, struct rt *rt, rt_fn ended, void *arg)
{
    *s = (struct net_sweep){.rt = rt, .ended = ended, .arg = arg};
    rt_timer_init(&s->pause, rt, on_pause, s);
}

void net_sweep_add(struct net_sweep *s, struct net_flows *f)
{
    net_flows_merge(&s->next, f);
    if (net_flows_empty(&s->next))
        return;
    if (s->next.udp && s->waiting) {
        rt_timer_stop(&s->pause);
        s->waiting = false;
    }
    if (s->next.udp || s->busy || rt_timer_active(&s->pause)) {
        start(s);
        return;
    }
    s->waiting = true;
    rt_timer_start(&s->pause, ANSWER_TIME);
}

bool net_sweep_idle(const struct net_sweep *s)
{
    return !s->busy && net_flows_empty(&s->next);
}

void net_sweep_stop(struct net_sweep *s)
{
    s->stopped = true; /* a walk under way starts no timer any more: s may go after it */
    rt_timer_stop(&s->pause);
    net_flows_fini(&s->next);
}
