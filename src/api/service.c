/* Service: defaults and rules. Addresses and node ports are allocated by the API server
 * (apiserver/alloc.c). Kubernetes: pkg/apis/core/validation (ValidateService). */
#include "api/service.h"

#include "api/check.h"
#include "schema/schema.h"

static bool has_nodeports(const struct api_service_spec *s)
{
    return str_is(s->type, "NodePort") || str_is(s->type, "LoadBalancer");
}

static void service_fill(void *msg, struct arena *a)
{
    struct api_service_spec *s = &((struct api_service *)msg)->spec;
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
    } else {
        s->session_affinity_config = NULL;
    }
    for (uint32_t i = 0; i < s->n_ports; i++) {
        struct api_service_port *p = &s->ports[i];
        if (p->target_port.type == INT_OR_STR_NONE ||
            (p->target_port.type == INT_OR_STR_INT && p->target_port.i == 0) ||
            (p->target_port.type == INT_OR_STR_STR && p->target_port.s.n == 0))
            p->target_port = int_or_str_int(p->port);
    }
    if (!s->external_traffic_policy.n && (has_nodeports(s) || s->n_external_ips) && !external_name)
        s->external_traffic_policy = STR("Cluster");
    if (!s->internal_traffic_policy.n && !external_name)
        s->internal_traffic_policy = STR("Cluster");
    if (str_is(s->type, "LoadBalancer") && !s->has_allocate_load_balancer_node_ports) {
        s->has_allocate_load_balancer_node_ports = true;
        s->allocate_load_balancer_node_ports = true;
    }
}

static void validate_ports(const struct api_service_spec *s, struct error *err)
{
    bool headless = str_is(s->cluster_ip, "None");
    if (!s->n_ports && !headless && !str_is(s->type, "ExternalName"))
        check_required(err, STR("spec.ports"), "");
    for (uint32_t i = 0; i < s->n_ports; i++) {
        const struct api_service_port *p = &s->ports[i];
        PATH(at, "spec.ports[%u]", i);
        PATH(name, "%s.name", at.p);
        if (s->n_ports > 1 && !p->name.n)
            check_required(err, name, "");
        if (p->node_port && !has_nodeports(s)) {
            PATH(np, "%s.nodePort", at.p);
            char why[80];
            snprintf(why, sizeof(why), "may not be used when `type` is '%.*s'", STR_ARG(s->type));
            check_forbidden(err, np, why);
        }
        for (uint32_t k = 0; k < i; k++) {
            const struct api_service_port *q = &s->ports[k];
            if (p->name.n && str_eq(p->name, q->name))
                check_duplicate(err, name, p->name);
            if (p->port == q->port && str_eq(p->protocol, q->protocol))
                (void)error_cause(err, CAUSE_DUPLICATE, at,
                                  "Duplicate value: {\"protocol\":\"%.*s\",\"port\":%d}",
                                  STR_ARG(p->protocol), p->port);
            if (p->node_port && p->node_port == q->node_port && str_eq(p->protocol, q->protocol)) {
                PATH(np, "%s.nodePort", at.p);
                (void)error_cause(err, CAUSE_DUPLICATE, np, "Duplicate value: %d", p->node_port);
            }
        }
    }
}

static void service_validate(const void *msg, struct error *err)
{
    const struct api_service_spec *s = &((const struct api_service *)msg)->spec;
    validate_ports(s, err);
    api_validate_labels(s->selector, s->n_selector, STR("spec.selector"), err);
    if (str_is(s->type, "ExternalName")) {
        if (!s->external_name.n)
            check_required(err, STR("spec.externalName"), "");
        if (s->cluster_ip.n && !str_is(s->cluster_ip, "None"))
            check_forbidden(err, STR("spec.clusterIPs"),
                            "may not be set when `type` is 'ExternalName'");
    }
    if (has_nodeports(s) && str_is(s->cluster_ip, "None")) {
        char why[80];
        snprintf(why, sizeof(why), "may not be set to 'None' for %.*s services", STR_ARG(s->type));
        check_invalid(err, STR("spec.clusterIPs[0]"), STR("None"), why);
    }
    if (s->session_affinity_config && s->session_affinity_config->client_ip &&
        s->session_affinity_config->client_ip->has_timeout_seconds) {
        int32_t t = s->session_affinity_config->client_ip->timeout_seconds;
        if (t <= 0 || t > 86400)
            check_invalid_int(err, STR("spec.sessionAffinityConfig.clientIP.timeoutSeconds"), t,
                              "must be greater than 0 and less than or equal to 86400");
    }
    if (s->cluster_ip.n && !str_is(s->cluster_ip, "None"))
        check_format(err, STR("spec.clusterIPs[0]"), SCHEMA_FORMAT_IP, s->cluster_ip);
    if (s->external_traffic_policy.n && !has_nodeports(s) && !s->n_external_ips)
        check_invalid(err, STR("spec.externalTrafficPolicy"), s->external_traffic_policy,
                      "may only be set for externally-accessible services");
}

static bool had_port(const struct api_service_spec *o, const struct api_service_port *p)
{
    for (uint32_t i = 0; i < o->n_ports; i++)
        if (o->ports[i].node_port == p->node_port)
            return true;
    return false;
}

/* What belonged to the old type and was only carried along is dropped, so that changing the type
 * alone works. */
static void service_prepare_update(void *msg, const void *old, struct arena *a)
{
    struct api_service_spec *s = &((struct api_service *)msg)->spec;
    const struct api_service_spec *o = &((const struct api_service *)old)->spec;
    (void)a;
    if (str_eq(s->type, o->type))
        return;
    for (uint32_t i = 0; has_nodeports(o) && !has_nodeports(s) && i < s->n_ports; i++)
        if (had_port(o, &s->ports[i]))
            s->ports[i].node_port = 0;
    if (!has_nodeports(s) && str_eq(s->external_traffic_policy, o->external_traffic_policy) &&
        !s->n_external_ips)
        s->external_traffic_policy = STR_NONE;
    if (str_is(s->type, "ExternalName") && str_eq(s->cluster_ip, o->cluster_ip)) {
        s->cluster_ip = STR_NONE;
        s->n_cluster_ips = 0;
        s->n_ip_families = 0;
        s->ip_family_policy = STR_NONE;
        s->internal_traffic_policy = STR_NONE;
    }
}

const struct api_hooks service_hooks = {.kind = KIND_SERVICE,
                                        .fill = service_fill,
                                        .prepare_update = service_prepare_update,
                                        .validate = service_validate};
