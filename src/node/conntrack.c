/* The kernel drops new connections without a word once its table of connections is full of ones
 * that were answered, and who looks for the reason looks everywhere else first. The table is the
 * machine's, so nothing is done about it but to say so: in the log, as an event of the node, and by
 * two numbers at /metrics/resource. */
#include "node/conntrack.h"

#include "base/log.h"
#include "node/agent.h"
#include "sys/sysctls.h"

#define LOOK_PERIOD  (5 * NSEC_PER_SEC)
#define SAY_AGAIN    (600 * NSEC_PER_SEC)
#define FULL_PERCENT 95
#define ROOM_PERCENT 80

static bool at_least(uint64_t count, uint64_t max, unsigned percent)
{
    return max && count >= max / 100 * percent + max % 100 * percent / 100;
}

enum conntrack_news conntrack_judge(struct conntrack_watch *w, uint64_t count, uint64_t max,
                                    nsec_t now)
{
    if (!w->full && at_least(count, max, FULL_PERCENT)) {
        w->full = true;
        w->said = now;
        return CONNTRACK_FULL;
    }
    if (!w->full)
        return CONNTRACK_NO_NEWS;
    if (!at_least(count, max, ROOM_PERCENT)) {
        w->full = false;
        return CONNTRACK_ROOM;
    }
    if (now - w->said < SAY_AGAIN)
        return CONNTRACK_NO_NEWS;
    w->said = now;
    return CONNTRACK_FULL;
}

static int read_number(const char *name, uint64_t *ret)
{
    char text[SYSCTL_VALUE_MAX];
    int64_t v;
    int r = sysctl_get(name, text);
    if (r == 0)
        r = str_to_i64(str_z(text), &v);
    if (r < 0 || v < 0)
        return r < 0 ? r : -ERANGE;
    *ret = (uint64_t)v;
    return 0;
}

int conntrack_usage(uint64_t *ret_count, uint64_t *ret_max)
{
    uint64_t count;
    int r = read_number("net/netfilter/nf_conntrack_count", &count);
    if (r == 0)
        r = read_number("net/netfilter/nf_conntrack_max", ret_max);
    if (r == 0)
        *ret_count = count;
    return r;
}

static void on_look(void *arg)
{
    struct node *n = arg;
    uint64_t count, max;
    rt_timer_start(&n->conntrack.timer, LOOK_PERIOD);
    if (conntrack_usage(&count, &max) < 0)
        return; /* no table, as long as nothing wants one */
    switch (conntrack_judge(&n->conntrack, count, max, rt_now(n->rt))) {
    case CONNTRACK_FULL:
        log_warn("the connection table of this machine is full: %llu of %llu entries; new "
                 "connections may be dropped (sysctl net.netfilter.nf_conntrack_max)",
                 (unsigned long long)count, (unsigned long long)max);
        event_node(n, EVENT_WARNING, "ConntrackFull",
                   "The connection table is full (%llu entries): new connections may be dropped; "
                   "see sysctl net.netfilter.nf_conntrack_max",
                   (unsigned long long)max);
        break;
    case CONNTRACK_ROOM:
        log_info("the connection table of this machine has room again: %llu of %llu entries",
                 (unsigned long long)count, (unsigned long long)max);
        event_node(n, EVENT_NORMAL, "ConntrackHasRoom", "The connection table has room again");
        break;
    case CONNTRACK_NO_NEWS:
        break;
    }
}

void conntrack_watch_init(struct node *n)
{
    rt_timer_init(&n->conntrack.timer, n->rt, on_look, n);
}

void conntrack_watch_start(struct node *n)
{
    rt_timer_start(&n->conntrack.timer, LOOK_PERIOD);
}

void conntrack_watch_stop(struct node *n)
{
    rt_timer_stop(&n->conntrack.timer);
}
