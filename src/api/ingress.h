/* Hooks of ingresses, their classes, and the addresses of services. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks ingress_hooks, ingress_class_hooks, ip_address_hooks,
    service_cidr_hooks;
