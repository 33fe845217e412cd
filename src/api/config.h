/* Hooks of ConfigMap and Secret. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks config_map_hooks, secret_hooks;
