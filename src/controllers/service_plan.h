/* Load balancers that are the nodes themselves: which addresses a Service is given. Pure. */
#pragma once

#include "controllers/util.h"

#define LB_CLASS     "davit.dev/node" /* ours; or no class at all */
#define LB_FINALIZER "service.kubernetes.io/load-balancer-cleanup"
#define LB_EXCLUDED  "node.kubernetes.io/exclude-from-external-load-balancers"
#define LB_CONFLICT  "LoadBalancerPortsError" /* the type of a condition of core/v1 */

bool service_lb_is_ours(const struct api_service *svc);      /* LoadBalancer of our class */
bool service_lb_has_conflict(const struct api_service *svc); /* by its condition */
/* Both want a port that a node has once: whether `other` has it. Who has addresses already keeps
 * them; else the older one. One that is held up by a third does not count. */
bool service_lb_yields(const struct api_service *svc, const struct api_service *other);
/* The first port of svc that other has, too; NULL: none. */
const struct api_service_port *service_lb_shared_port(const struct api_service *svc,
                                                      const struct api_service *other);

struct service_lb_in {
    const struct api_service *svc;
    const struct api_node *const *nodes; /* all, sorted by name */
    uint32_t n_nodes;
    const struct api_endpoint_slice *const *slices; /* the Service's */
    uint32_t n_slices;
    const struct api_service *holder; /* who has a port it wants; NULL: nobody */
    usec_t now;
};

/* The status it should have; NULL: it has it. */
struct api_service_status *service_lb_plan(struct arena *a, const struct service_lb_in *in);
/* Whether a change of a node can change any load balancer. */
bool service_lb_node_changed(const struct api_node *old, const struct api_node *new);
