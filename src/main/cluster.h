/* The settings a cluster is born with: what the user says at the first start, or the defaults;
 * later what was written down then. */
#pragma once

#include "api/cluster.h"
#include "store/store.h"

struct cluster_wish { /* NULL: not said */
    const char *pod_cidr, *service_cidr, *network;
    const char *node_ip; /* of the server's machine: must lie in neither range */
};

/* Strings of *ret live in a. A wish that is no range, overlaps, or says otherwise than the cluster
 * that is there is refused in words for the user. */
int cluster_settle(struct store *store, const struct cluster_wish *wish, struct arena *a,
                   struct cluster_config *ret, struct error *err) MUST_CHECK;
