/* Hooks of HorizontalPodAutoscaler in both versions. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks hpa_hooks, hpa1_hooks;
