/* FlowSchema and PriorityLevelConfiguration: their hooks, and those a cluster starts with. */
#pragma once

#include "api/hooks.h"

#define FLOW_AUTOUPDATE "apf.kubernetes.io/autoupdate-spec"

extern const struct api_hooks flow_schema_hooks, priority_level_hooks;

/* Kubernetes' mandatory and suggested objects, with the annotation FLOW_AUTOUPDATE; the mandatory
 * ones come first. In a. */
struct flow_defaults {
    struct api_priority_level_configuration *levels;
    struct api_flow_schema *schemas;
    size_t n_levels, n_schemas;
};
void flow_defaults(struct arena *a, struct flow_defaults *ret);
/* Of both kinds: there is always one of this name, with this spec (of the level `exempt` shares and
 * lendablePercent are free). */
bool flow_is_mandatory(struct str name);
