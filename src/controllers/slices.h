/* EndpointSlices of one Service, as both controllers that write them do it. */
#pragma once

#include "controllers/controller.h"
#include "controllers/endpoints_plan.h"

/* Those that the cache's index has under rc->key and that are not being deleted; into the
 * reconcile's arena, kept for its time. The number. */
uint32_t slices_gather(struct reconcile *rc, int index, const struct api_endpoint_slice ***ret);
void slices_apply(struct reconcile *rc, const struct slice_change *changes, uint32_t n);
/* Of what a Service leads to: also done when the namespace is going away. */
bool slices_made(struct reconcile *rc, void *arg, const struct client_reply *reply);
