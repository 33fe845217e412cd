/* Shared by the files of the hollow nodes. */
#pragma once

#include "api/fence.h"
#include "base/map.h"
#include "client/cache.h"
#include "node/hollow.h"

struct hollow_fence {
    struct rt_timer timer;         /* the deadline; then the kill */
    nsec_t sent;                   /* of the renewal under way */
    nsec_t deadline;               /* while not fallen */
    struct fence_promise promised; /* by the last renewal that was sent */
    nsec_t fallen_at;              /* when the deadline passed last */
    bool fallen;                   /* no fenced pod may start */
    bool killing;                  /* the kill is on its way */
    uint64_t epoch;                /* grows with every fall; the first is 1 */
};

struct hollow_node {
    struct hollow *h;
    struct rt_timer lease_timer;
    char name[64];
    unsigned index;
    bool registered, dead;
    bool lease_exists;
    nsec_t renewed_at; /* when the lease was last renewed; 0: never */
    char *grace_text;  /* owned; the annotation of our lease, kept when it is replaced */
    nsec_t grace;
    char rev_text[24]; /* resourceVersion of our lease, as last answered */
    bool leasing;
    struct hollow_fence fence;
};

struct hollow_pod { /* a pod whose start or end is on its way */
    struct hollow *h;
    struct hollow_node *node;
    struct rt_timer timer;
    struct object *object; /* owned reference: the newest seen */
    char *key;             /* owned; ns/name/uid */
    bool running, started, writing, let_go;
    bool over; /* phase Succeeded or Failed */
    bool gone; /* from the API, while the agent was dead */
    bool verifying;
    uint64_t allowed; /* the epoch of the fence in which it may run */
};

struct hollow {
    struct client *client;     /* borrowed */
    struct client_cache *pods; /* owned */
    struct hollow_opts opts;
    struct hollow_node *nodes; /* owned */
    struct map nodes_by_name, pods_by_key;
    unsigned registered, running;
    uint32_t next_ip;
    char *labels, *pod_cidr; /* owned */
};

/* hollow.c */
void hollow_pod_arm(struct hollow_pod *p);
void hollow_container(struct hollow_pod *p, bool runs); /* starts or stops */

/* hollow_fence.c */
void hollow_fence_init(struct hollow_node *n);
void hollow_fence_sent(struct hollow_node *n);
void hollow_fence_acked(struct hollow_node *n);
/* May it start? Asks the server when that is not known; the answer arms the pod. */
bool hollow_fence_allows(struct hollow_pod *p);
