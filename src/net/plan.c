/* Which endpoints a Service's packets go to, after kube-proxy's rules: ready ones; if there are
 * none, those that still serve while terminating; with a traffic policy of Local only those of this
 * node; else, where the slices' hints say so for every endpoint, those of this node or zone. */
#include "net/plan.h"

#include <netinet/in.h>

#define FRONTS_MAX 4096 /* of one service: ports times addresses */
#define RANGES_MAX 1024 /* of one service's clients; further ones are not let in */

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

enum reach {
    REACH_ALL,
    REACH_LOCAL, /* endpoints of this node */
    REACH_NODE,  /* hinted for this node */
    REACH_ZONE,  /* hinted for its zone */
};

struct collect {
    const struct api_service *svc;
    const struct api_endpoint_slice *const *slices;
    size_t n_slices;
    const struct net_plan_env *env;
    struct arena *a;
    bool loopback_ok;
    uint32_t affinity_s;
    const struct net_range *ranges; /* of clients of the load balancer's addresses */
    uint32_t n_ranges;
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

static bool hinted_node(const struct collect *c, const struct api_endpoint *e)
{
    for (uint32_t i = 0; e->hints && i < e->hints->n_for_nodes; i++)
        if (str_eq(e->hints->for_nodes[i].name, c->env->node_name))
            return true;
    return false;
}

static bool hinted_zone(const struct collect *c, const struct api_endpoint *e)
{
    for (uint32_t i = 0; e->hints && i < e->hints->n_for_zones; i++)
        if (str_eq(e->hints->for_zones[i].name, c->env->zone))
            return true;
    return false;
}

static bool reached(const struct collect *c, const struct api_endpoint *e, enum reach reach)
{
    switch (reach) {
    case REACH_LOCAL:
        return str_eq(e->node_name, c->env->node_name);
    case REACH_NODE:
        return hinted_node(c, e);
    case REACH_ZONE:
        return hinted_zone(c, e);
    default:
        return true;
    }
}

/* Hints count only if every ready endpoint has them and one is for us: they are written while
 * things change, and half of them would be worse than none. */
static enum reach reach_by_hints(const struct collect *c, const struct api_service_port *p,
                                 int proto)
{
    bool nodes = true, zones = c->env->zone.n > 0, our_node = false, our_zone = false;
    for (size_t i = 0; i < c->n_slices && (nodes || zones); i++) {
        const struct api_endpoint_slice *s = c->slices[i];
        uint16_t port;
        if (!str_is(s->address_type, "IPv4") || !port_of(s, p, proto, &port))
            continue;
        for (uint32_t j = 0; j < s->n_endpoints; j++) {
            const struct api_endpoint *e = &s->endpoints[j];
            if (!wanted(e, WANT_READY))
                continue;
            nodes = nodes && e->hints && e->hints->n_for_nodes;
            zones = zones && e->hints && e->hints->n_for_zones;
            our_node = our_node || hinted_node(c, e);
            our_zone = our_zone || hinted_zone(c, e);
        }
    }
    return nodes && our_node ? REACH_NODE : zones && our_zone ? REACH_ZONE : REACH_ALL;
}

static uint32_t gather(const struct collect *c, const struct api_service_port *p, int proto,
                       enum reach reach, enum want want, struct net_endpoint *out)
{
    uint32_t n = 0, kept = 0;
    for (size_t i = 0; i < c->n_slices; i++) {
        const struct api_endpoint_slice *s = c->slices[i];
        uint16_t port;
        if (!str_is(s->address_type, "IPv4") || !port_of(s, p, proto, &port))
            continue;
        for (uint32_t j = 0; j < s->n_endpoints; j++) {
            const struct api_endpoint *e = &s->endpoints[j];
            if (wanted(e, want) && reached(c, e, reach))
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
    bool elsewhere; /* there are some, but none that these clients may use */
};

static struct endpoints endpoints_for(const struct collect *c, const struct api_service_port *p,
                                      int proto, enum reach reach)
{
    size_t most = 1;
    for (size_t i = 0; i < c->n_slices; i++)
        most += c->slices[i]->n_endpoints;
    struct endpoints e = {
        .v = ARENA_NEW_N(c->a, struct net_endpoint, MIN(most, (size_t)NET_ENDPOINTS_MAX))};
    e.n = gather(c, p, proto, reach, WANT_READY, e.v);
    if (e.n == 0) /* hints are for ready ones */
        e.n = gather(c, p, proto, reach == REACH_LOCAL ? REACH_LOCAL : REACH_ALL, WANT_TERMINATING,
                     e.v);
    return e;
}

static void add_front(struct net_plan *plan, struct net_front f, struct endpoints e)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct net_front *o = &plan->v[i];
        if (o->kind == f.kind && o->ip == f.ip && o->proto == f.proto && o->port == f.port &&
            o->inside == f.inside)
            return;
    }
    f.eps = e.v;
    f.n_eps = e.n;
    if (plan->n < FRONTS_MAX)
        plan->v[plan->n++] = f;
}

struct port_plan {
    struct endpoints all, in, out; /* by cluster policy; as the internal and external policy say */
    bool local_out;
};

/* At an address meant for clients outside. */
static void add_outer(struct net_plan *plan, struct net_front f, const struct port_plan *pp)
{
    f.silent = pp->out.elsewhere;
    add_front(plan, f, pp->out);
    if (pp->local_out && pp->all.n) {
        f.inside = true;
        f.silent = false;
        add_front(plan, f, pp->all);
    }
}

static bool is_own(const struct net_plan_env *env, uint32_t ip)
{
    for (uint32_t i = 0; i < env->n_addresses; i++)
        if (env->addresses[i] == ip)
            return true;
    return false;
}

/* A load balancer of ours is the nodes themselves: one that is given by one of its addresses serves
 * at all of them. */
static void add_balancer(const struct collect *c, struct net_plan *plan, struct net_front f,
                         const struct port_plan *pp)
{
    const struct api_load_balancer_status *lb = &c->svc->status.load_balancer;
    const struct api_service_spec *spec = &c->svc->spec;
    bool ours = !spec->load_balancer_class.n || str_is(spec->load_balancer_class, NET_LB_CLASS);
    bool here = false;
    if (!str_is(spec->type, "LoadBalancer"))
        return;
    f.ranges = c->ranges;
    f.n_ranges = c->n_ranges;
    for (uint32_t i = 0; i < lb->n_ingress; i++) {
        if (str_is(lb->ingress[i].ip_mode, "Proxy") || !parse_ip4(lb->ingress[i].ip, &f.ip) ||
            f.ip >> 24 == 127)
            continue;
        here = here || is_own(c->env, f.ip);
        add_outer(plan, f, pp);
    }
    for (uint32_t i = 0; ours && here && i < c->env->n_addresses; i++) {
        f.ip = c->env->addresses[i];
        add_outer(plan, f, pp);
    }
}

static void plan_port(const struct collect *c, const struct api_service_port *p,
                      struct net_plan *plan)
{
    const struct api_service_spec *spec = &c->svc->spec;
    int proto = net_proto_parse(p->protocol);
    if (proto < 0 || p->port <= 0 || p->port > 65535)
        return;
    bool local_in = str_is(spec->internal_traffic_policy, "Local");
    struct port_plan pp = {.local_out = str_is(spec->external_traffic_policy, "Local")};
    pp.all = endpoints_for(c, p, proto, reach_by_hints(c, p, proto));
    pp.in = local_in ? endpoints_for(c, p, proto, REACH_LOCAL) : pp.all;
    pp.out = !pp.local_out ? pp.all : local_in ? pp.in : endpoints_for(c, p, proto, REACH_LOCAL);
    pp.in.elsewhere = pp.in.n == 0 && pp.all.n > 0;
    pp.out.elsewhere = pp.out.n == 0 && pp.all.n > 0;
    struct net_front f = {.kind = NET_FRONT_VIP,
                          .proto = (uint8_t)proto,
                          .port = (uint16_t)p->port,
                          .silent = pp.in.elsewhere,
                          .affinity_s = c->affinity_s};
    if (parse_ip4(spec->cluster_ip, &f.ip))
        add_front(plan, f, pp.in);
    for (uint32_t i = 0; i < spec->n_cluster_ips; i++)
        if (parse_ip4(spec->cluster_ips[i], &f.ip))
            add_front(plan, f, pp.in);
    for (uint32_t i = 0; i < spec->n_external_ips; i++)
        if (parse_ip4(spec->external_ips[i], &f.ip) && f.ip >> 24 != 127)
            add_outer(plan, f, &pp);
    add_balancer(c, plan, f, &pp);
    if (p->node_port > 0 && p->node_port < 65536) {
        f.kind = NET_FRONT_NODEPORT;
        f.ip = 0;
        f.port = (uint16_t)p->node_port;
        add_outer(plan, f, &pp);
    }
}

/* ---- clients that may ---- */

static int range_cmp(const void *a, const void *b)
{
    const struct net_range *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->last == y->last ? 0 : x->last > y->last ? -1 : 1;
}

/* Prefixes are disjoint or one is in the other; the kernel's interval sets want them disjoint. A
 * list of which nothing is usable admits nobody. */
static void plan_ranges(struct collect *c)
{
    const struct api_service_spec *spec = &c->svc->spec;
    uint32_t n = 0, kept = 0;
    struct net_range *v = ARENA_NEW_N(c->a, struct net_range, spec->n_load_balancer_source_ranges);
    for (uint32_t i = 0; i < spec->n_load_balancer_source_ranges && n < RANGES_MAX; i++) {
        struct ip_prefix p;
        struct str text = str_trim(spec->load_balancer_source_ranges[i]);
        if (ip_prefix_parse(text, &p) < 0 || p.addr.family != AF_INET)
            continue;
        uint32_t mask = p.bits ? ~0u << (32 - p.bits) : 0, first = ip4_number(&p.addr) & mask;
        if (p.bits == 0)
            return; /* everybody */
        v[n++] = (struct net_range){first, first | ~mask};
    }
    if (spec->n_load_balancer_source_ranges && n == 0)
        v[n++] = (struct net_range){0, 0};
    qsort(v, n, sizeof(*v), range_cmp);
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || v[i].first > v[kept - 1].last)
            v[kept++] = v[i];
    c->ranges = v;
    c->n_ranges = kept;
}

/* ---- the whole ---- */

static uint32_t affinity_of(const struct api_service_spec *spec)
{
    if (!str_is(spec->session_affinity, "ClientIP"))
        return 0;
    const struct api_client_ip_config *c =
        spec->session_affinity_config ? spec->session_affinity_config->client_ip : NULL;
    if (c && c->has_timeout_seconds && c->timeout_seconds > 0 && c->timeout_seconds <= 86400)
        return (uint32_t)c->timeout_seconds;
    return NET_AFFINITY_DEFAULT_S;
}

static uint32_t count_local(const struct collect *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < c->n_slices; i++)
        for (uint32_t j = 0; j < c->slices[i]->n_endpoints; j++) {
            const struct api_endpoint *e = &c->slices[i]->endpoints[j];
            n += str_is(c->slices[i]->address_type, "IPv4") && wanted(e, WANT_READY) &&
                 reached(c, e, REACH_LOCAL);
        }
    return n;
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
        .affinity_s = affinity_of(spec),
    };
    plan_ranges(&c);
    size_t addresses =
        2 + spec->n_cluster_ips +
        2 * (1 + spec->n_external_ips + svc->status.load_balancer.n_ingress + env->n_addresses);
    ret->v = ARENA_NEW_N(a, struct net_front, MIN(addresses * spec->n_ports, (size_t)FRONTS_MAX));
    for (uint32_t i = 0; i < spec->n_ports; i++)
        plan_port(&c, &spec->ports[i], ret);
    if (str_is(spec->type, "LoadBalancer") && str_is(spec->external_traffic_policy, "Local") &&
        spec->health_check_node_port > 0 && spec->health_check_node_port < 65536) {
        ret->health_port = (uint16_t)spec->health_check_node_port;
        ret->n_local = count_local(&c);
    }
}
