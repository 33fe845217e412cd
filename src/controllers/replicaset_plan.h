/* What a ReplicaSet should do, from what is. Pure. */
#pragma once

#include "controllers/util.h"

#define REPLICASET_BURST 500 /* pods created or deleted in one run */

struct replicaset_plan {
    uint32_t n_create;
    const struct api_pod **victims; /* to delete, in order */
    uint32_t n_victims;
    struct api_replica_set_status status;
    usec_t next_available; /* when a ready pod becomes available; 0: none waits */
};

/* pods: all that are the set's, terminated and terminating ones too. failure: what went wrong with
 * the last creation or deletion, or NULL; it becomes the ReplicaFailure condition. */
void replicaset_plan(struct arena *a, const struct api_replica_set *rs,
                     const struct api_pod *const *pods, uint32_t n, usec_t now,
                     struct replicaset_plan *ret);
/* The status's conditions with ReplicaFailure set (reason not NULL) or taken away. */
void replicaset_set_failure(struct arena *a, struct api_replica_set_status *st, const char *reason,
                            struct str message, usec_t now);
bool replicaset_status_equal(const struct api_replica_set_status *x,
                             const struct api_replica_set_status *y);
/* Sorts pods so that those to go first come first: Kubernetes' ActivePodsWithRanks. */
void pods_rank_for_deletion(struct arena *a, const struct api_pod **pods, uint32_t n);
