/* Health check node ports: a load balancer outside asks each node whether it has endpoints of a
 * Service with externalTrafficPolicy Local. HTTP on every address of the node: 200 with at least
 * one, else 503; the body says how many. Loop thread only. */
#pragma once

#include "base/str.h"

struct rt;
struct health;
struct health *health_new(struct rt *rt);
struct health *health_free(struct health *h); /* takes NULL; returns NULL */
/* The service "ns/name" answers at this port for so many endpoints; port 0: no more. A port that
 * somebody else has is tried again later. */
void health_set(struct health *h, struct str service, uint16_t port, uint32_t n_local);
