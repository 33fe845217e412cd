/* Where a Service's pods are: EndpointSlices and the older Endpoints, from the Service and its
 * pods. Pure. */
#pragma once

#include "controllers/util.h"

#define SLICE_ENDPOINTS_MAX 100 /* of one slice */
#define ENDPOINTS_ADDRESSES_MAX                                                                    \
    1000 /* of one Endpoints object; beyond, annotation over-capacity says "truncated" */
#define LABEL_SERVICE_NAME  "kubernetes.io/service-name"
#define LABEL_SLICE_MANAGER "endpointslice.kubernetes.io/managed-by"
#define SLICE_MANAGER       "endpointslice-controller.k8s.io"
#define LABEL_EP_MANAGER    "endpoints.kubernetes.io/managed-by"
#define EP_MANAGER          "endpoint-controller"
#define OVER_CAPACITY       "endpoints.kubernetes.io/over-capacity"
#define TRIGGER_TIME        "endpoints.kubernetes.io/last-change-trigger-time"

struct endpoints_in {
    const struct api_service *svc;
    const struct api_pod *const *pods; /* of the namespace that match the selector */
    const struct str *zones;           /* of each pod's node; absent: unknown */
    uint32_t n_pods;
    const struct api_endpoint_slice *const *slices; /* the Service's, ours */
    uint32_t n_slices;
    const struct api_endpoints *endpoints; /* NULL: none yet */
};

struct slice_change {
    const struct api_endpoint_slice *old; /* NULL: create */
    struct api_endpoint_slice *new;       /* NULL: delete */
};

struct endpoints_plan {
    struct slice_change *slices;
    uint32_t n_slices;
    struct api_endpoints *endpoints; /* NULL: as it should be already */
};

void endpoints_plan(struct arena *a, const struct endpoints_in *in, struct endpoints_plan *ret);
/* Whether a change of a pod can change any endpoint. */
bool endpoints_pod_changed(const struct api_pod *old, const struct api_pod *new);
