/* Service: defaults, and what an update may leave out or must drop. Its rules are in
 * service_validate.c; addresses and ports are allocated by the API server (apiserver/alloc.c).
 * Kubernetes: pkg/registry/core/service. */
#include "api/service.h"

#include "base/map.h"
#include "schema/schema.h"

static bool has_nodeports(const struct api_service_spec *s)
{
    return str_is(s->type, "NodePort") || str_is(s->type, "LoadBalancer");
}

bool service_is_external(const struct api_service_spec *s)
{
    return has_nodeports(s) || (str_is(s->type, "ClusterIP") && s->n_external_ips);
}

bool service_needs_health_port(const struct api_service_spec *s)
{
    return str_is(s->type, "LoadBalancer") && str_is(s->external_traffic_policy, "Local");
}

static void service_fill(void *msg, struct arena *a)
{
    struct api_service *svc = msg;
    struct api_service_spec *s = &svc->spec;
    bool external_name = str_is(s->type, "ExternalName");
    if (str_is(s->session_affinity, "ClientIP")) {
        if (!s->session_affinity_config)
            s->session_affinity_config = ARENA_NEW(a, struct api_session_affinity_config);
        if (!s->session_affinity_config->client_ip)
            s->session_affinity_config->client_ip = ARENA_NEW(a, struct api_client_ip_config);
        if (!s->session_affinity_config->client_ip->has_timeout_seconds) {
            s->session_affinity_config->client_ip->has_timeout_seconds = true;
            s->session_affinity_config->client_ip->timeout_seconds = 10800;
        }
    }
    for (uint32_t i = 0; i < s->n_ports; i++) {
        struct api_service_port *p = &s->ports[i];
        if (p->target_port.type == INT_OR_STR_NONE ||
            (p->target_port.type == INT_OR_STR_INT && p->target_port.i == 0) ||
            (p->target_port.type == INT_OR_STR_STR && p->target_port.s.n == 0))
            p->target_port = int_or_str_int(p->port);
    }
    if (!s->external_traffic_policy.n && service_is_external(s))
        s->external_traffic_policy = STR("Cluster");
    if (!s->internal_traffic_policy.n && !external_name)
        s->internal_traffic_policy = STR("Cluster");
    if (str_is(s->type, "LoadBalancer") && !s->has_allocate_load_balancer_node_ports) {
        s->has_allocate_load_balancer_node_ports = true;
        s->allocate_load_balancer_node_ports = true;
    }
    for (uint32_t i = 0; i < svc->status.load_balancer.n_ingress; i++) {
        struct api_load_balancer_ingress *in = &svc->status.load_balancer.ingress[i];
        if (in->ip.n && !in->ip_mode.p && str_is(s->type, "LoadBalancer"))
            in->ip_mode = STR("VIP");
    }
}

/* ---- updates ---- */

static bool same_strs(const struct str *x, uint32_t nx, const struct str *y, uint32_t ny)
{
    if (nx != ny)
        return false;
    for (uint32_t i = 0; i < nx; i++)
        if (!str_eq(x[i], y[i]))
            return false;
    return true;
}

static bool same_node_ports(const struct api_service_spec *x, const struct api_service_spec *y)
{
    if (x->n_ports != y->n_ports)
        return false;
    for (uint32_t i = 0; i < x->n_ports; i++)
        if (x->ports[i].node_port != y->ports[i].node_port)
            return false;
    return true;
}

static bool wants_address(const struct api_service_spec *s)
{
    return !str_is(s->type, "ExternalName");
}

/* Who changes a type only should not have to clear by hand what came with the old one. What differs
 * from before was meant, and is left for the rules to refuse. */
static void drop_of_old_type(struct api_service_spec *s, const struct api_service_spec *o)
{
    if (wants_address(o) && !wants_address(s)) {
        if (str_eq(s->cluster_ip, o->cluster_ip) &&
            same_strs(s->cluster_ips, s->n_cluster_ips, o->cluster_ips, o->n_cluster_ips)) {
            s->cluster_ip = STR_NONE;
            s->n_cluster_ips = 0;
        }
        if (same_strs(s->ip_families, s->n_ip_families, o->ip_families, o->n_ip_families))
            s->n_ip_families = 0;
        if (str_eq(s->ip_family_policy, o->ip_family_policy))
            s->ip_family_policy = STR_NONE;
        if (str_eq(s->internal_traffic_policy, o->internal_traffic_policy))
            s->internal_traffic_policy = STR_NONE;
    }
    if (has_nodeports(o) && !has_nodeports(s) && same_node_ports(s, o))
        for (uint32_t i = 0; i < s->n_ports; i++)
            s->ports[i].node_port = 0;
    if (service_needs_health_port(o) && !service_needs_health_port(s) &&
        s->health_check_node_port == o->health_check_node_port)
        s->health_check_node_port = 0;
    if (str_is(o->type, "LoadBalancer") && !str_is(s->type, "LoadBalancer")) {
        if (s->has_allocate_load_balancer_node_ports == o->has_allocate_load_balancer_node_ports &&
            s->allocate_load_balancer_node_ports == o->allocate_load_balancer_node_ports)
            s->has_allocate_load_balancer_node_ports = s->allocate_load_balancer_node_ports = false;
        if (str_eq(s->load_balancer_class, o->load_balancer_class))
            s->load_balancer_class = STR_NONE;
    }
    if (service_is_external(o) && !service_is_external(s) &&
        str_eq(s->external_traffic_policy, o->external_traffic_policy))
        s->external_traffic_policy = STR_NONE;
}

/* Ports that name no node port keep the first one that their number and protocol had. */
static void keep_node_ports(struct api_service_spec *s, const struct api_service_spec *o,
                            struct arena *a)
{
    struct map had = {0};
    for (uint32_t i = o->n_ports; i-- > 0;)
        if (o->ports[i].node_port)
            (void)map_set(
                &had, arena_printf(a, "%d/%.*s", o->ports[i].port, STR_ARG(o->ports[i].protocol)),
                &o->ports[i]);
    for (uint32_t i = 0; i < s->n_ports; i++) {
        struct api_service_port *p = &s->ports[i];
        const struct api_service_port *was =
            p->node_port ? NULL
                         : map_get(&had, arena_printf(a, "%d/%.*s", p->port, STR_ARG(p->protocol)));
        if (was)
            p->node_port = was->node_port;
    }
    map_fini(&had);
}

/* A client that replaces a Service as it once wrote it does not name what was allocated. */
static void keep_allocated(struct api_service_spec *s, const struct api_service_spec *o,
                           struct arena *a)
{
    if (wants_address(s) && wants_address(o)) {
        if (!s->cluster_ip.n && !s->n_cluster_ips) {
            s->cluster_ip = arena_str(a, o->cluster_ip);
        }
        if (!s->n_ip_families && o->n_ip_families) {
            s->ip_families = ARENA_NEW_N(a, struct str, o->n_ip_families);
            for (uint32_t i = 0; i < o->n_ip_families; i++)
                s->ip_families[i] = arena_str(a, o->ip_families[i]);
            s->n_ip_families = o->n_ip_families;
        }
        if (!s->ip_family_policy.n && o->ip_family_policy.n)
            s->ip_family_policy = arena_str(a, o->ip_family_policy);
    }
    bool allocates = str_is(s->type, "NodePort") ||
                     (str_is(s->type, "LoadBalancer") && s->allocate_load_balancer_node_ports);
    if (allocates && has_nodeports(o))
        keep_node_ports(s, o, a);
    if (service_needs_health_port(s) && service_needs_health_port(o) && !s->health_check_node_port)
        s->health_check_node_port = o->health_check_node_port;
}

/* The older clusterIP and the first of clusterIPs are one: whichever the client changed counts. */
static void match_addresses(struct api_service_spec *s, const struct api_service_spec *o,
                            struct arena *a)
{
    if (!str_eq(s->cluster_ip, o->cluster_ip) &&
        same_strs(s->cluster_ips, s->n_cluster_ips, o->cluster_ips, o->n_cluster_ips))
        s->n_cluster_ips = 0;
    if (s->cluster_ip.n && !s->n_cluster_ips) {
        s->cluster_ips = ARENA_NEW(a, struct str);
        s->cluster_ips[0] = s->cluster_ip;
        s->n_cluster_ips = 1;
    }
}

static void service_prepare_update(void *msg, const void *old, struct arena *a)
{
    struct api_service *svc = msg;
    const struct api_service *o = old;
    match_addresses(&svc->spec, &o->spec, a);
    keep_allocated(&svc->spec, &o->spec, a);
    drop_of_old_type(&svc->spec, &o->spec);
    if (!str_is(svc->spec.type, "LoadBalancer"))
        svc->status.load_balancer.n_ingress = 0;
}

const struct api_hooks service_hooks = {.kind = KIND_SERVICE,
                                        .fill = service_fill,
                                        .prepare_update = service_prepare_update,
                                        .validate = service_validate,
                                        .validate_update = service_validate_update,
                                        .validate_status = service_validate_status};
