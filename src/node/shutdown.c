/* The machine goes down: pods end in the order of what they are worth, and the API is told before
 * the agent falls silent. First those that are not critical get their grace (at most the whole time
 * but what is kept for the others), then the critical ones. Kubernetes: KEP-2000. */
#include "node/agent.h"

#define TICK         (50 * NSEC_PER_MSEC)
#define TELL_MAX     (3 * NSEC_PER_SEC) /* for the last statuses, when all time is used up */
#define CRITICAL_MIN 2000000000         /* system-cluster-critical */

static bool is_critical(const struct pod *p)
{
    return pod_msg(p)->spec.has_priority && pod_msg(p)->spec.priority >= CRITICAL_MIN;
}

static bool is_ended(const struct pod *p)
{
    return p->sm.state >= POD_DONE;
}

/* Ends those of one group; true when all of them have ended. */
static bool end_group(struct node *n, bool critical)
{
    bool ended = true;
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        struct pod *p = s->value;
        if (is_critical(p) != critical)
            continue;
        if (p->sm.state != POD_NEW && !is_ended(p))
            pod_terminate(p, "Failed", NODE_SHUTDOWN_REASON, NODE_SHUTDOWN_MESSAGE);
        ended &= is_ended(p);
    }
    return ended;
}

static bool all_told(const struct node *n)
{
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));)
        if (!is_ended(s->value) || !pod_status_settled(s->value))
            return false;
    return true;
}

void node_shutdown_tick(void *arg)
{
    struct node *n = arg;
    nsec_t now = rt_now(n->rt);
    bool ordinary = end_group(n, false);
    if (ordinary || now >= n->shutdown_ordinary_end)
        (void)end_group(n, true);
    if (all_told(n) || now >= n->shutdown_end + TELL_MAX)
        n->on_shut_down(n->shutdown_arg);
    else
        rt_timer_start(&n->shutdown_timer, TICK);
}

void node_shutdown(struct node *n, nsec_t grace, nsec_t critical, void (*done)(void *arg),
                   void *arg)
{
    ASSERT(!n->shutting_down && critical <= grace);
    n->shutting_down = true;
    n->shutdown_end = rt_now(n->rt) + grace;
    n->shutdown_ordinary_end = n->shutdown_end - critical;
    n->on_shut_down = done;
    n->shutdown_arg = arg;
    registration_report(n->reg); /* nothing new is to come here */
    rt_timer_start(&n->shutdown_timer, 0);
}

int64_t node_shutdown_grace_s(const struct pod *p, int64_t grace_s)
{
    const struct node *n = p->node;
    if (!n->shutting_down)
        return grace_s;
    nsec_t end = is_critical(p) ? n->shutdown_end : n->shutdown_ordinary_end;
    return MIN(grace_s, MAX(end - rt_now(n->rt), 0) / NSEC_PER_SEC);
}
