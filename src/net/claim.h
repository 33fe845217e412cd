/* A node's range of pod addresses, settled with the cluster before the node's network is made: what
 * the Node object says, or a free one that the API server accepts (spec.podCIDR; no two nodes get
 * the same). Loop thread. */
#pragma once

#include "base/error.h"

struct rt;
struct client;
struct net_claim;

struct net_claim_opts {
    struct rt *rt;         /* borrowed */
    struct client *client; /* borrowed */
    const char *data_dir, *node_name, *cluster_cidr;
    const char *pod_cidr; /* this or none; NULL: any that is free */
};

/* 1: the network of this data directory has its range already; 0: it has none yet. */
int net_has_range(const char *data_dir) MUST_CHECK;

/* Exactly one call of done, from the loop: r == 0 and the range, or why there is none. Goes on
 * trying while the server cannot be reached. All of opts is copied. */
typedef void (*net_claim_fn)(void *arg, int r, const char *pod_cidr, const struct error *err);
struct net_claim *net_claim_start(const struct net_claim_opts *opts, net_claim_fn done, void *arg);
struct net_claim *net_claim_cancel(struct net_claim *c); /* takes NULL; returns NULL */
