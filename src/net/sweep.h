/* The deleting of flows whose endpoints are gone, beside the transactions that take the endpoints
 * out. One loop's thread. */
#pragma once

#include "net/flows.h"
#include "rt/rt.h"

struct net_sweep {
    struct rt *rt;         /* borrowed */
    struct net_flows next; /* gathered */
    struct net_flows now;  /* of the walk under way */
    struct rt_work work;
    struct rt_timer pause;
    bool busy, stopped;
    bool waiting; /* for answers, not because of the cost */
    nsec_t began;
    int result;
    rt_fn ended; /* a walk is over */
    void *arg;
};

void net_sweep_init(struct net_sweep *s, struct rt *rt, rt_fn ended, void *arg);
/* The rules that lead elsewhere must be in force. Takes what is in f. */
void net_sweep_add(struct net_sweep *s, struct net_flows *f);
/* Nothing is to be deleted, or being deleted. */
bool net_sweep_idle(const struct net_sweep *s);
/* No walk begins any more; one may still be under way (busy): `ended` follows. The next start of
 * the agent looks at all flows. */
void net_sweep_stop(struct net_sweep *s);
