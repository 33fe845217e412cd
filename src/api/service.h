/* Services: what src/apiserver needs to know about them beside the hooks. */
#pragma once

#include "api/hooks.h"

extern const struct api_hooks service_hooks;

/* Reachable from outside: has a node port, a load balancer or external addresses. */
bool service_is_external(const struct api_service_spec *s);
/* Has a healthCheckNodePort: LoadBalancer with externalTrafficPolicy Local. */
bool service_needs_health_port(const struct api_service_spec *s);

/* service_validate.c */
void service_validate(const void *msg, struct error *err);
void service_validate_update(const void *msg, const void *old, struct error *err);
void service_validate_status(const void *msg, const void *old, struct error *err);
