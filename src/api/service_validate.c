/* The rules of a Service across fields, in the order and with the words of Kubernetes
 * (pkg/apis/core/validation: ValidateService). What one field may look like is in the tables. */
#include "api/check.h"
#include "api/service.h"
#include "base/set.h"
#include "schema/schema.h"

#define KUBELET_PORT 10250

#define IS(s, t) str_is((s)->type, t)

static bool is_headless(const struct api_service_spec *s)
{
    return str_is(s->cluster_ip, "None") ||
           (s->n_cluster_ips == 1 && str_is(s->cluster_ips[0], "None"));
}

/* ---- type ---- */

static void validate_external_name(const struct api_service_spec *s, struct error *err)
{
    static const char why[] = "may not be set for ExternalName services";
    struct str cname = s->external_name;
    if (s->n_cluster_ips || s->cluster_ip.n)
        check_forbidden(err, STR("spec.clusterIPs"), why);
    if (s->n_ip_families)
        check_forbidden(err, STR("spec.ipFamilies"), why);
    if (s->ip_family_policy.n)
        check_forbidden(err, STR("spec.ipFamilyPolicy"), why);
    if (cname.n && cname.p[cname.n - 1] == '.')
        cname.n--;
    if (cname.n)
        check_format(err, STR("spec.externalName"), SCHEMA_FORMAT_DNS_SUBDOMAIN, cname);
    else
        check_required(err, STR("spec.externalName"), "");
}

static void validate_type(const struct api_service_spec *s, struct error *err)
{
    if (!s->n_ports && !is_headless(s) && !IS(s, "ExternalName"))
        check_required(err, STR("spec.ports"), "");
    for (uint32_t i = 0; IS(s, "LoadBalancer") && i < s->n_ports; i++) {
        PATH(at, "spec.ports[%u]", i);
        if (s->ports[i].port == KUBELET_PORT)
            check_invalid_int(err, at, KUBELET_PORT,
                              "may not expose port 10250 externally since it is used by kubelet");
    }
    if ((IS(s, "LoadBalancer") || IS(s, "NodePort")) && is_headless(s)) {
        char why[80];
        snprintf(why, sizeof(why), "may not be set to 'None' for %.*s services", STR_ARG(s->type));
        check_invalid(err, STR("spec.clusterIPs[0]"), STR("None"), why);
    }
    if (IS(s, "ExternalName"))
        validate_external_name(s, err);
}

/* ---- ports ---- */

static void validate_port(const struct api_service_spec *s, uint32_t i, struct set *names,
                          struct error *err)
{
    const struct api_service_port *p = &s->ports[i];
    PATH(name, "spec.ports[%u].name", i);
    if (s->n_ports > 1 && !p->name.n)
        check_required(err, name, "");
    if (p->name.n && !set_add(names, p->name))
        check_duplicate(err, name, p->name);
    if (p->app_protocol.p) {
        PATH(app, "spec.ports[%u].appProtocol", i);
        check_format(err, app, SCHEMA_FORMAT_QUALIFIED_NAME, p->app_protocol);
    }
    if (p->node_port && IS(s, "ClusterIP")) {
        PATH(np, "spec.ports[%u].nodePort", i);
        check_forbidden(err, np, "may not be used when `type` is 'ClusterIP'");
    }
}

/* True when no port before had this number and protocol. */
static bool port_is_new(struct set *seen, int32_t port, struct str protocol)
{
    char key[64]; /* the table knows three protocols; the text of another may be cut */
    int n = snprintf(key, sizeof(key), "%d/%.*s", port, (int)MIN(protocol.n, (size_t)40),
                     protocol.p ? protocol.p : "");
    return set_add_copy(seen, (struct str){key, (size_t)n});
}

static void validate_twins(const struct api_service_spec *s, uint32_t i, struct set *ports,
                           struct set *node_ports, struct error *err)
{
    const struct api_service_port *p = &s->ports[i];
    bool node_port = p->node_port && !port_is_new(node_ports, p->node_port, p->protocol);
    bool port = !port_is_new(ports, p->port, p->protocol);
    PATH(at, "spec.ports[%u]", i);
    PATH(np, "spec.ports[%u].nodePort", i);
    if (node_port)
        (void)error_cause(err, CAUSE_DUPLICATE, np, "Duplicate value: %d", p->node_port);
    if (port)
        (void)error_cause(err, CAUSE_DUPLICATE, at,
                          "Duplicate value: {\"protocol\":\"%.*s\",\"port\":%d}",
                          STR_ARG(p->protocol), p->port);
}

/* ---- affinity ---- */

static void validate_affinity(const struct api_service_spec *s, struct error *err)
{
    const struct api_session_affinity_config *c = s->session_affinity_config;
    if (str_is(s->session_affinity, "None") && c) {
        check_forbidden(err, STR("spec.sessionAffinityConfig"),
                        "must not be set when session affinity is None");
    } else if (c && c->client_ip && c->client_ip->has_timeout_seconds) {
        int32_t t = c->client_ip->timeout_seconds;
        if (t <= 0 || t > 86400)
            check_invalid_int(err, STR("spec.sessionAffinityConfig.clientIP.timeoutSeconds"), t,
                              "must be greater than 0 and less than 86400");
    }
}

/* ---- addresses ---- */

static bool is_v6(struct str ip)
{
    return str_find(ip, ':') >= 0;
}

static void validate_families(const struct api_service_spec *s, struct error *err)
{
    if (s->n_ip_families > 2)
        check_invalid(err, STR("spec.ipFamilies"), s->ip_families[0],
                      "may only hold up to 2 values");
    if (s->n_ip_families == 2 && str_eq(s->ip_families[0], s->ip_families[1]))
        check_duplicate(err, STR("spec.ipFamilies[1]"), s->ip_families[1]);
    for (uint32_t i = 0; i < MIN(s->n_cluster_ips, s->n_ip_families); i++) {
        struct str ip = s->cluster_ips[i];
        PATH(at, "spec.clusterIPs[%u]", i);
        char why[80];
        if (str_is(ip, "None") || is_v6(ip) == str_is(s->ip_families[i], "IPv6"))
            continue;
        snprintf(why, sizeof(why), "expected an %.*s value as indicated by `ipFamilies[%u]`",
                 STR_ARG(s->ip_families[i]), i);
        check_invalid(err, at, ip, why);
    }
}

static void validate_cluster_ips(const struct api_service_spec *s, struct error *err)
{
    if (!s->cluster_ip.n && s->n_cluster_ips)
        check_invalid(err, STR("spec.clusterIPs"), s->cluster_ips[0],
                      "must be empty when `clusterIP` is not specified");
    else if (s->n_cluster_ips && !str_eq(s->cluster_ip, s->cluster_ips[0]))
        check_invalid(err, STR("spec.clusterIPs"), s->cluster_ips[0],
                      "first value must match `clusterIP`");
    if (s->n_cluster_ips > 2)
        check_invalid(err, STR("spec.clusterIPs"), s->cluster_ips[0],
                      "may only hold up to 2 values");
    for (uint32_t i = 0; i < s->n_cluster_ips; i++) {
        PATH(at, "spec.clusterIPs[%u]", i);
        if (!str_is(s->cluster_ips[i], "None"))
            check_format(err, at, SCHEMA_FORMAT_IP, s->cluster_ips[i]);
        else if (s->n_cluster_ips > 1)
            check_invalid(err, STR("spec.clusterIPs"), s->cluster_ips[i],
                          "'None' must be the first and only value");
    }
    if (!s->n_cluster_ips && s->cluster_ip.n && !is_headless(s))
        check_format(err, STR("spec.clusterIPs[0]"), SCHEMA_FORMAT_IP, s->cluster_ip);
    if (s->n_cluster_ips == 2 && is_v6(s->cluster_ips[0]) == is_v6(s->cluster_ips[1]) &&
        !is_headless(s))
        check_invalid(err, STR("spec.clusterIPs"), s->cluster_ips[1],
                      "may specify no more than one IP for each IP family");
    if (s->n_cluster_ips == 2 && str_is(s->ip_family_policy, "SingleStack"))
        check_invalid(err, STR("spec.ipFamilyPolicy"), s->ip_family_policy,
                      "may be used only when there is one cluster IP");
}

/* Addresses no router would bring here. */
static const char *special_ip(struct str ip)
{
    if (str_is(ip, "0.0.0.0") || str_is(ip, "::"))
        return "may not be unspecified (0.0.0.0 or ::)";
    if (str_starts(ip, STR("127.")) || str_is(ip, "::1"))
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
    if (str_starts(ip, STR("169.254.")) || str_starts(ip, STR("fe80:")))
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
    if (str_starts(ip, STR("224.0.0.")) || str_starts(ip, STR("ff02:")))
        return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
    return NULL;
}

static void validate_external_ips(const struct api_service_spec *s, struct error *err)
{
    for (uint32_t i = 0; i < s->n_external_ips; i++) {
        PATH(at, "spec.externalIPs[%u]", i);
        const char *why = special_ip(s->external_ips[i]);
        if (why)
            check_invalid(err, at, s->external_ips[i], why);
    }
}

/* ---- load balancers ---- */

static void validate_balancer(const struct api_service_spec *s, struct error *err)
{
    static const char why[] = "may only be used when `type` is 'LoadBalancer'";
    if (IS(s, "LoadBalancer")) {
        if (s->load_balancer_class.p)
            check_format(err, STR("spec.loadBalancerClass"), SCHEMA_FORMAT_QUALIFIED_NAME,
                         s->load_balancer_class);
        return;
    }
    if (s->n_load_balancer_source_ranges)
        check_forbidden(err, STR("spec.loadBalancerSourceRanges"), why);
    if (s->has_allocate_load_balancer_node_ports)
        check_forbidden(err, STR("spec.allocateLoadBalancerNodePorts"), why);
    if (s->load_balancer_class.p)
        check_forbidden(err, STR("spec.loadBalancerClass"), why);
}

/* ---- policies ---- */

static void validate_policies(const struct api_service_spec *s, struct error *err)
{
    static const char *const spreads[] = {"PreferClose", "PreferSameNode", "PreferSameZone", NULL};
    bool known = !s->traffic_distribution.p;
    if (!service_is_external(s) && s->external_traffic_policy.n)
        check_invalid(err, STR("spec.externalTrafficPolicy"), s->external_traffic_policy,
                      "may only be set for externally-accessible services");
    if (!service_needs_health_port(s) && s->health_check_node_port)
        check_invalid_int(err, STR("spec.healthCheckNodePort"), s->health_check_node_port,
                          "may only be set when `type` is 'LoadBalancer' and "
                          "`externalTrafficPolicy` is 'Local'");
    else if (s->health_check_node_port < 0 || s->health_check_node_port > 65535)
        check_invalid_int(err, STR("spec.healthCheckNodePort"), s->health_check_node_port,
                          "must be between 1 and 65535, inclusive");
    for (const char *const *v = spreads; *v; v++)
        known = known || str_eq(s->traffic_distribution, str_z(*v));
    if (!known)
        check_not_supported(err, STR("spec.trafficDistribution"), s->traffic_distribution, spreads);
}

void service_validate(const void *msg, struct error *err)
{
    const struct api_service_spec *s = &((const struct api_service *)msg)->spec;
    struct set names = {0}, ports = {0}, node_ports = {0};
    validate_type(s, err);
    for (uint32_t i = 0; i < s->n_ports; i++)
        validate_port(s, i, &names, err);
    api_validate_labels(s->selector, s->n_selector, STR("spec.selector"), err);
    validate_affinity(s, err);
    if (!IS(s, "ExternalName")) {
        validate_cluster_ips(s, err);
        validate_families(s, err);
    }
    validate_external_ips(s, err);
    for (uint32_t i = 0; i < s->n_ports; i++)
        validate_twins(s, i, &ports, &node_ports, err);
    set_fini(&names);
    set_fini(&ports);
    set_fini(&node_ports);
    validate_balancer(s, err);
    validate_policies(s, err);
}

/* ---- updates ---- */

void service_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_service_spec *s = &((const struct api_service *)msg)->spec;
    const struct api_service_spec *o = &((const struct api_service *)old)->spec;
    bool kept = !IS(s, "ExternalName") && !IS(o, "ExternalName");
    struct str ip = s->n_cluster_ips ? s->cluster_ips[0] : s->cluster_ip;
    if (kept && o->cluster_ip.n && !str_eq(ip, o->cluster_ip))
        (void)error_cause(err, CAUSE_INVALID, STR("spec.clusterIPs[0]"),
                          "Invalid value: [\"%.*s\"]: may not change once set", STR_ARG(ip));
    if (kept && o->n_ip_families && s->n_ip_families &&
        !str_eq(s->ip_families[0], o->ip_families[0]))
        check_invalid(err, STR("spec.ipFamilies[0]"), s->ip_families[0], "may not change once set");
    if (IS(s, "LoadBalancer") && IS(o, "LoadBalancer") &&
        !str_eq(s->load_balancer_class, o->load_balancer_class))
        check_invalid(err, STR("spec.loadBalancerClass"), s->load_balancer_class,
                      "may not change once set");
    if (service_needs_health_port(s) && service_needs_health_port(o) &&
        s->health_check_node_port != o->health_check_node_port)
        check_invalid_int(err, STR("spec.healthCheckNodePort"), s->health_check_node_port,
                          "field is immutable");
}

void service_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_service *svc = msg;
    const struct api_load_balancer_status *lb = &svc->status.load_balancer;
    (void)old;
    if (!IS(&svc->spec, "LoadBalancer") && lb->n_ingress)
        check_forbidden(err, STR("status.loadBalancer.ingress"),
                        "may only be used when `spec.type` is \"LoadBalancer\"");
    for (uint32_t i = 0; i < lb->n_ingress; i++) {
        const struct api_load_balancer_ingress *in = &lb->ingress[i];
        PATH(ip, "status.loadBalancer.ingress[%u].ip", i);
        PATH(mode, "status.loadBalancer.ingress[%u].ipMode", i);
        PATH(host, "status.loadBalancer.ingress[%u].hostname", i);
        if (in->ip.n)
            check_format(err, ip, SCHEMA_FORMAT_IP, in->ip);
        if (in->ip_mode.n && !in->ip.n)
            check_forbidden(err, mode, "may not be specified when `ip` is not set");
        if (in->ip.n && !in->ip_mode.n && IS(&svc->spec, "LoadBalancer"))
            check_required(err, mode, "must be specified when `ip` is set");
        if (!in->hostname.n)
            continue;
        check_format(err, host, SCHEMA_FORMAT_DNS_SUBDOMAIN, in->hostname);
        if (!schema_format_check(SCHEMA_FORMAT_IP, in->hostname))
            check_invalid(err, host, in->hostname, "must be a DNS name, not an IP address");
    }
}
