/* Which endpoints a Service's packets go to, after kube-proxy's rules: ready ones; if there are
 * none, those that still serve while terminating; with a traffic policy of Local only those of this
 * node. */
#include "net/plan.h"

#include <netinet/in.h>

#define FRONTS_MAX 4096 /* of one service: ports times addresses */

int net_proto_parse(struct str s)
{
    if (s.n == 0 || str_is(s, "TCP"))
        return IPPROTO_TCP;
    if (str_is(s, "UDP"))
        return IPPROTO_UDP;
    return str_is(s, "SCTP") ? IPPROTO_SCTP : -EINVAL;
}

static bool parse_ip4(struct str s, uint32_t *ret)
{
    struct ip_addr a;
    if (ip_parse(s, &a) < 0 || a.family != AF_INET)
        return false;
    uint32_t n = ip4_number(&a);
    if (n == 0 || n >> 28 == 0xe || n == UINT32_MAX) /* any, multicast, broadcast */
        return false;
    *ret = n;
    return true;
}

struct collect {
    const struct api_service *svc;
    const struct api_endpoint_slice *const *slices;
    size_t n_slices;
    const struct net_plan_env *env;
    struct arena *a;
    bool loopback_ok;
};

enum want {
    WANT_READY,
    WANT_TERMINATING, /* serving, but about to go */
};

static bool wanted(const struct api_endpoint *e, enum want want)
{
    bool ready = !e->conditions.has_ready || e->conditions.ready;
    bool serving = e->conditions.has_serving ? e->conditions.serving : ready;
    bool terminating = e->conditions.has_terminating && e->conditions.terminating;
    return want == WANT_READY ? ready : serving && terminating;
}

static bool port_of(const struct api_endpoint_slice *s, const struct api_service_port *p, int proto,
                    uint16_t *ret)
{
    for (uint32_t i = 0; i < s->n_ports; i++) {
        const struct api_discovery_endpoint_port *q = &s->ports[i];
        if (q->has_port && q->port > 0 && q->port < 65536 && str_eq(q->name, p->name) &&
            net_proto_parse(q->protocol) == proto) {
            *ret = (uint16_t)q->port;
            return true;
        }
    }
    return false;
}

static int endpoint_cmp(const void *a, const void *b)
{
    const struct net_endpoint *x = a, *y = b;
    if (x->ip != y->ip)
        return x->ip < y->ip ? -1 : 1;
    return (int)x->port - (int)y->port;
}

static void add_endpoint(const struct collect *c, const struct api_endpoint *e, uint16_t port,
                         struct net_endpoint *out, uint32_t *n)
{
    uint32_t ip;
    /* A client may use any of an endpoint's addresses; like kube-proxy we use the first. */
    if (*n >= NET_ENDPOINTS_MAX || e->n_addresses == 0 || !parse_ip4(e->addresses[0], &ip))
        return;
    if (ip >> 24 == 127 && !c->loopback_ok)
        return;
    struct ip_addr addr = ip4_from_number(ip);
    out[(*n)++] = (struct net_endpoint){
        .ip = ip,
        .port = port,
        .remote = ip >> 24 != 127 && !ip_prefix_contains(&c->env->cluster_cidr, &addr),
    };
}

static uint32_t gather(const struct collect *c, const struct api_service_port *p, int proto,
                       bool local, enum want want, struct net_endpoint *out)
{
    uint32_t n = 0, kept = 0;
    for (size_t i = 0; i < c->n_slices; i++) {
        const struct api_endpoint_slice *s = c->slices[i];
        uint16_t port;
        if (!str_is(s->address_type, "IPv4") || !port_of(s, p, proto, &port))
            continue;
        for (uint32_t j = 0; j < s->n_endpoints; j++) {
            const struct api_endpoint *e = &s->endpoints[j];
            if (wanted(e, want) && (!local || str_eq(e->node_name, c->env->node_name)))
                add_endpoint(c, e, port, out, &n);
        }
    }
    qsort(out, n, sizeof(*out), endpoint_cmp);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || endpoint_cmp(&out[i], &out[kept - 1]) != 0)
            out[kept++] = out[i];
    return kept;
}

struct endpoints {
    struct net_endpoint *v;
    uint32_t n;
};

static struct endpoints endpoints_for(const struct collect *c, const struct api_service_port *p,
                                      int proto, bool local)
{
    static const enum want order[] = {WANT_READY, WANT_TERMINATING};
    size_t most = 1;
    for (size_t i = 0; i < c->n_slices; i++)
        most += c->slices[i]->n_endpoints;
    struct endpoints e = {
        .v = ARENA_NEW_N(c->a, struct net_endpoint, MIN(most, (size_t)NET_ENDPOINTS_MAX))};
    for (size_t i = 0; i < ARRAY_LEN(order) && e.n == 0; i++)
        e.n = gather(c, p, proto, local, order[i], e.v);
    return e;
}

static void add_front(struct net_plan *plan, struct net_front f, struct endpoints e)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct net_front *o = &plan->v[i];
        if (o->kind == f.kind && o->ip == f.ip && o->proto == f.proto && o->port == f.port)
            return;
    }
    f.eps = e.v;
    f.n_eps = e.n;
    if (plan->n < FRONTS_MAX)
        plan->v[plan->n++] = f;
}

static void plan_port(const struct collect *c, const struct api_service_port *p,
                      uint32_t affinity_s, struct net_plan *plan)
{
    const struct api_service_spec *spec = &c->svc->spec;
    int proto = net_proto_parse(p->protocol);
    if (proto < 0 || p->port <= 0 || p->port > 65535)
        return;
    bool local_in = str_is(spec->internal_traffic_policy, "Local");
    bool local_ext = str_is(spec->external_traffic_policy, "Local");
    struct endpoints in = endpoints_for(c, p, proto, local_in);
    struct endpoints ext = local_in == local_ext ? in : endpoints_for(c, p, proto, local_ext);
    struct net_front f = {.kind = NET_FRONT_VIP,
                          .proto = (uint8_t)proto,
                          .port = (uint16_t)p->port,
                          .affinity_s = affinity_s};
    if (parse_ip4(spec->cluster_ip, &f.ip))
        add_front(plan, f, in);
    for (uint32_t i = 0; i < spec->n_cluster_ips; i++)
        if (parse_ip4(spec->cluster_ips[i], &f.ip))
            add_front(plan, f, in);
    for (uint32_t i = 0; i < spec->n_external_ips; i++)
        if (parse_ip4(spec->external_ips[i], &f.ip) && f.ip >> 24 != 127)
            add_front(plan, f, ext);
    const struct api_load_balancer_status *lb = &c->svc->status.load_balancer;
    for (uint32_t i = 0; i < lb->n_ingress; i++)
        if (!str_is(lb->ingress[i].ip_mode, "Proxy") && parse_ip4(lb->ingress[i].ip, &f.ip) &&
            f.ip >> 24 != 127)
            add_front(plan, f, ext);
    if (p->node_port > 0 && p->node_port < 65536) {
        f.kind = NET_FRONT_NODEPORT;
        f.ip = 0;
        f.port = (uint16_t)p->node_port;
        add_front(plan, f, ext);
    }
}

void net_plan_service(const struct api_service *svc, const struct api_endpoint_slice *const *slices,
                      size_t n_slices, const struct net_plan_env *env, struct arena *a,
                      struct net_plan *ret)
{
    const struct api_service_spec *spec = &svc->spec;
    *ret = (struct net_plan){0};
    if (str_is(spec->type, "ExternalName") || str_is(spec->cluster_ip, "None") ||
        spec->cluster_ip.n == 0)
        return;
    if (env->dns_address.n && str_eq(spec->cluster_ip, env->dns_address))
        return; /* kube-system/kube-dns: the address is this node's own (src/net/dns) */
    uint32_t affinity_s = 0;
    if (str_is(spec->session_affinity, "ClientIP")) {
        const struct api_client_ip_config *c =
            spec->session_affinity_config ? spec->session_affinity_config->client_ip : NULL;
        affinity_s = NET_AFFINITY_DEFAULT_S;
        if (c && c->has_timeout_seconds && c->timeout_seconds > 0 && c->timeout_seconds <= 86400)
            affinity_s = (uint32_t)c->timeout_seconds;
    }
    struct collect c = {
        .svc = svc,
        .slices = slices,
        .n_slices = n_slices,
        .env = env,
        .a = a,
        /* A server that listens on the loopback only is reached by pods through its own service;
         * nobody else may point a service at the node's loopback. */
        .loopback_ok =
            str_is(svc->metadata.namespace, "default") && str_is(svc->metadata.name, "kubernetes"),
    };
    size_t addresses =
        2 + spec->n_cluster_ips + spec->n_external_ips + svc->status.load_balancer.n_ingress;
    ret->v = ARENA_NEW_N(a, struct net_front, MIN(addresses * spec->n_ports, (size_t)FRONTS_MAX));
    for (uint32_t i = 0; i < spec->n_ports; i++)
        plan_port(&c, &spec->ports[i], affinity_s, ret);
}
