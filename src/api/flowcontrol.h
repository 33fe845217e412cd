/* Hooks of FlowSchema and PriorityLevelConfiguration. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks flow_schema_hooks, priority_level_hooks;
