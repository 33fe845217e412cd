/* Hooks of NetworkPolicy. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks network_policy_hooks;
