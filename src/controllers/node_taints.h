/* The taints that conditions ask for. Pure. */
#pragma once

#include "controllers/util.h"

#define TAINT_NOT_READY      "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE    "node.kubernetes.io/unreachable"
#define TAINT_OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

const struct api_node_condition *node_condition(const struct api_node *n,
                                                const char *type); /* or NULL */
/* "True", "False", "Unknown"; "" when the node has not said yet. */
const char *node_ready_text(const struct api_node *n);
bool node_has_taint(const struct api_node *n, const char *key, const char *effect);
/* Does the toleration's key, value and effect fit the taint? */
bool taint_is_tolerated_by(const struct api_toleration *t, const struct api_taint *taint);

enum taint_eviction {
    TAINT_EVICT_KEEP, /* a NoExecute taint that is there stays, or becomes the other one */
    TAINT_EVICT_SET,  /* pods may be evicted now */
    TAINT_EVICT_DROP, /* no pod may be evicted: all zones are down */
};

/* n->spec.taints in line with the conditions (a new array in the arena); true when they change. */
bool node_taints_set(struct arena *a, struct api_node *n, enum taint_eviction evict, usec_t now);
