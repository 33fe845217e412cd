/* What policies need to know of a Pod object. */
#pragma once

#include "net/policy/policy.h"

/* False: it does not count (ended, or of the host's network). *ret borrows from both. */
bool policy_pod_of(const struct api_pod *pod, struct policy_port ports[POLICY_POD_PORTS_MAX],
                   struct policy_pod *ret);
