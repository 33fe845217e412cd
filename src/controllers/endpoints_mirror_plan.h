/* EndpointSlices for Endpoints that somebody wrote by hand, for a Service without a selector. Pure.
 */
#pragma once

#include "controllers/endpoints_plan.h"

#define MIRROR_MANAGER       "endpointslicemirroring-controller.k8s.io"
#define MIRROR_SKIP          "endpointslice.kubernetes.io/skip-mirror"
#define MIRROR_LEADER        "control-plane.alpha.kubernetes.io/leader"
#define MIRROR_ADDRESSES_MAX 1000 /* of one subset; further ones are not mirrored */

/* Whether these Endpoints are to be mirrored, as far as they themselves say. */
bool endpoints_mirror_wanted(const struct api_endpoints *e);

struct mirror_plan {
    struct slice_change *changes;
    uint32_t n_changes;
    uint32_t n_skipped, n_invalid; /* addresses beyond the limit; malformed ones */
};

/* slices: those mirrored so far. endpoints NULL: none is wanted. */
void endpoints_mirror_plan(struct arena *a, const struct api_endpoints *endpoints,
                           const struct api_endpoint_slice *const *slices, uint32_t n_slices,
                           struct mirror_plan *ret);
