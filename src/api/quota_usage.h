/* What objects use of the resources a ResourceQuota bounds, and which quotas count an object.
 * Pure functions; texts and amounts live in the arena of `ret`, or borrow from the object.
 * Kubernetes: pkg/quota/v1/evaluator/core. */
#pragma once

#include "api/amounts.h"

/* The stored kind whose objects use the resource ("pods", "limits.cpu", "count/jobs.batch"); NULL:
 * it is nothing that is served. */
const struct schema_kind *quota_resource_kind(struct str resource);
/* Under every name a quota may use; k is the stored kind. */
void quota_usage(const struct schema_kind *k, const void *msg, struct amounts *ret);
/* The quota's scopes include the object. */
bool quota_selects(const struct api_resource_quota_spec *q, const struct schema_kind *k,
                   const void *msg);
/* True when each container says how much it wants of what the quota bounds. Else what is missing is
 * appended: "limits.cpu for: a,b; requests.cpu for: a". */
bool quota_pod_says_enough(const struct api_resource_quota_spec *q, const struct api_pod *p,
                           struct buf *missing);
