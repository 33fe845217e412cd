/* Which flows of the kernel's connection table must go when rules have changed: of UDP, and of TCP
 * and SCTP those that nobody has answered yet. */
#pragma once

#include "net/rules.h"

struct conntrack_flow;

struct net_flows { /* zeroed: none */
    /* After a change: these endpoints of these fronts are gone. */
    struct net_flow_gone *gone; /* owned */
    size_t n_gone;
    /* After a full rewrite, when what happened meanwhile is not known: all fronts there are. */
    bool all;
    struct net_front *fronts; /* owned, with owned eps; sorted */
    size_t n_fronts;
    struct ip_prefix cluster_cidr, service_cidr;
    /* Addresses of the node, where NodePorts are; net_flows_delete reads them. */
    uint32_t *own; /* owned */
    size_t n_own, cap_own;
    bool udp; /* some are of UDP: answered flows matter, too */
};

/* Takes what the batch gathered. */
void net_flows_take(struct net_flows *f, struct net_batch *b);
/* Copies the fronts of all rules. */
void net_flows_all(struct net_flows *f, const struct net_rules *r);
/* Takes what is in `from`: later in time, its fronts are the ones that count. */
void net_flows_merge(struct net_flows *f, struct net_flows *from);
void net_flows_fini(struct net_flows *f);
bool net_flows_empty(const struct net_flows *f);
/* Whether this flow goes to an endpoint that should not get it. Pure. */
bool net_flow_stale(const struct net_flows *f, const struct conntrack_flow *flow);
/* Deletes them from the kernel; any thread. The number, or a negative errno. */
int net_flows_delete(struct net_flows *f);
