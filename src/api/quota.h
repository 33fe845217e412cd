/* Hooks of the kinds that bound what a namespace may use. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks limit_range_hooks, resource_quota_hooks;
