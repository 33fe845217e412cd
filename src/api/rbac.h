/* Hooks of roles and their bindings (hooks.h). */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks role_hooks, cluster_role_hooks, role_binding_hooks,
    cluster_role_binding_hooks;
