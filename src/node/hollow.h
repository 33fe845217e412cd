/* Hollow nodes: nodes without containers, for load and for the simulator. They register, renew
 * leases, report pods that are bound to them as running and ready, and let go of those that are
 * deleted. Everything goes through a struct client, so it works over the network and under the
 * simulated runtime alike. The pod annotation davit.dev/hollow makes a pod "never-ready", or
 * "succeed" or "fail" as soon as it has started. */
#pragma once

#include "client/client.h"

struct hollow;

struct hollow_opts {
    const char *name_prefix; /* nodes are PREFIX-0 ... ; NULL: "hollow" */
    unsigned nodes;
    nsec_t start_delay;              /* from bound to running; jittered by half; 0: at once */
    nsec_t lease_period;             /* 0: 10 s */
    int64_t cpu_milli, memory_bytes; /* capacity of each; 0: 4 cores, 16 GiB */
    unsigned pods_max;               /* 0: 110 */
    /* Keep the promise of docs/FENCING.md: pods that are one of a kind stop when the node is cut
     * off, also while it is dead (the keeper of a real node outlives its agent). */
    bool fence;
    double clock_rate;  /* how much faster than the server's this node's clock runs; 0.01: 1 % */
    const char *labels; /* "K=V,...": of every node; NULL: none */
    /* For one node alone: it watches its own pods only, as a node's certificate allows, and their
     * addresses come from its range, "10.128.3.0/24". NULL: all pods; addresses that no other node
     * of this struct hollow gives. */
    const char *pod_cidr;
    bool empty; /* nothing runs here yet, whatever the API says of a node of that name */
    /* A pod's container starts or stops on a node; may be NULL. */
    void (*on_container)(void *arg, const char *node, const struct api_object_meta *pod, bool runs);
    void (*on_ready)(void *arg); /* all nodes are registered; may be NULL */
    void *arg;
};

struct hollow *hollow_new(struct client *c, const struct hollow_opts *opts);
void hollow_start(struct hollow *h);
/* One node's agent stops or resumes everything (leases, pods), as if it were killed; containers
 * that run, run on. */
void hollow_set_dead(struct hollow *h, unsigned node, bool dead);
unsigned hollow_running_pods(const struct hollow *h);
struct hollow *hollow_free(struct hollow *h); /* NULL */
