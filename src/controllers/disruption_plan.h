/* What a PodDisruptionBudget's status should say. Pure: no clock, no cache, no writes. Kubernetes:
 * pkg/controller/disruption. */
#pragma once

#include "api/disruption.h"
#include "controllers/util.h"

/* Who owns a pod and how many such pods its owner wants. 1: told; 0: nobody controls it; negative:
 * its controller has no scale or is not there, with *ret_why (in the arena). */
typedef int (*disruption_scale_fn)(void *ctx, const struct api_pod *p, struct str *ret_uid,
                                   int32_t *ret_replicas, struct str *ret_why);

struct disruption_plan {
    struct api_pod_disruption_budget budget; /* with the status it should have */
    bool changed;                            /* that differs from what it has */
    usec_t recheck;                 /* when an eviction that was allowed is to be over; 0: none */
    const struct api_pod **overdue; /* allowed to go, and still there */
    uint32_t n_overdue, n_unmanaged;
    bool failed; /* why: no number of expected pods can be told; nothing is allowed */
    struct str why;
};

/* pods: those the budget selects. The plan borrows from b and pods. */
void disruption_plan(struct arena *a, const struct api_pod_disruption_budget *b,
                     const struct api_pod *const *pods, uint32_t n, usec_t now,
                     disruption_scale_fn scale, void *ctx, struct disruption_plan *ret);
