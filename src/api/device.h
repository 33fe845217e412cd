/* Hooks of devices and the claims to them (resource.k8s.io). */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks device_claim_hooks, device_claim_template_hooks, device_class_hooks,
    resource_slice_hooks;
