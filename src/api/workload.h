/* Hooks of the kinds that make pods. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks deployment_hooks, replica_set_hooks, job_hooks;
