/* See policy_world.h. The evaluator reads the API's structs and knows nothing of sets or chains. */
#include "policy_world.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "schema/select.h"

uint32_t world_random(struct world *w, uint32_t below)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->random >> 33) % below;
}

/* ---- making ---- */

static const struct str keys[] = {STR("app"), STR("tier")};
static const struct str values[] = {STR("a"), STR("b"), STR("c")};
static const struct str port_names[] = {STR("web"), STR("dns")};
static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
static const struct str proto_names[] = {STR("TCP"), STR("UDP"), STR("SCTP")};

static struct ip_addr pod_ip(int i)
{
    return (struct ip_addr){.family = AF_INET, .b = {10, 9, 0, (uint8_t)(10 + i)}};
}

static void random_pod(struct world *w, int i)
{
    struct world_pod *p = &w->pods[i];
    snprintf(p->uid, sizeof(p->uid), "uid-%d-%u", i, world_random(w, 1000));
    snprintf(p->ns, sizeof(p->ns), "ns%u", world_random(w, WORLD_NS));
    p->there = true;
    p->known = world_random(w, 8) != 0;
    p->local = world_random(w, 3) != 0;
    p->ip = pod_ip(i);
    p->n_labels = 0;
    for (uint32_t k = 0; k < ARRAY_LEN(keys); k++)
        if (world_random(w, 4))
            p->labels[p->n_labels++] =
                (struct kv_str){keys[k], values[world_random(w, ARRAY_LEN(values))]};
    p->n_ports = world_random(w, 4);
    for (uint32_t k = 0; k < p->n_ports; k++)
        p->ports[k] =
            (struct policy_port){port_names[world_random(w, ARRAY_LEN(port_names))],
                                 (uint16_t)(80 + world_random(w, 3)), protos[world_random(w, 3)]};
}

static void random_selector(struct world *w, struct arena *a, struct api_label_selector *s,
                            const struct str *k, uint32_t n_keys)
{
    static const struct str ops[] = {STR("In"), STR("NotIn"), STR("Exists"), STR("DoesNotExist")};
    *s = (struct api_label_selector){0};
    if (world_random(w, 3) == 0)
        return;
    if (world_random(w, 2)) {
        s->match_labels = ARENA_NEW(a, struct kv_str);
        s->n_match_labels = 1;
        s->match_labels[0] =
            (struct kv_str){k[world_random(w, n_keys)], values[world_random(w, ARRAY_LEN(values))]};
        return;
    }
    struct api_label_selector_requirement *r = ARENA_NEW(a, struct api_label_selector_requirement);
    uint32_t op = world_random(w, ARRAY_LEN(ops));
    *r = (struct api_label_selector_requirement){.key = k[world_random(w, n_keys)],
                                                 .operator= ops[op] };
    if (op < 2) {
        r->values = ARENA_NEW_N(a, struct str, 2);
        r->n_values = 1 + world_random(w, 2);
        r->values[0] = values[0];
        r->values[1] = values[1];
    }
    s->match_expressions = r;
    s->n_match_expressions = 1;
}

static struct api_network_policy_peer *random_peers(struct world *w, struct arena *a, uint32_t n)
{
    static const struct str cidrs[] = {STR("10.9.0.0/24"), STR("0.0.0.0/0"), STR("10.9.0.12/30"),
                                       STR("192.0.2.0/24"), STR("2001:db8::/64")};
    static const struct str holes[] = {STR("10.9.0.12/31"), STR("10.9.0.16/32")};
    struct api_network_policy_peer *v = ARENA_NEW_N(a, struct api_network_policy_peer, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t kind = world_random(w, 4);
        if (kind == 3) {
            uint32_t c = world_random(w, ARRAY_LEN(cidrs));
            v[i].ip_block = ARENA_NEW(a, struct api_ip_block);
            v[i].ip_block->cidr = cidrs[c];
            if (c < 2) {
                v[i].ip_block->except = (struct str *)(uintptr_t)holes;
                v[i].ip_block->n_except = world_random(w, 3);
            }
            continue;
        }
        if (kind != 0) {
            v[i].namespace_selector = ARENA_NEW(a, struct api_label_selector);
            random_selector(w, a, v[i].namespace_selector, keys, 1);
        }
        if (kind != 1) {
            v[i].pod_selector = ARENA_NEW(a, struct api_label_selector);
            random_selector(w, a, v[i].pod_selector, keys, 2);
        }
    }
    return v;
}

static struct api_network_policy_port *random_ports(struct world *w, struct arena *a, uint32_t n)
{
    struct api_network_policy_port *v = ARENA_NEW_N(a, struct api_network_policy_port, n);
    for (uint32_t i = 0; i < n; i++) {
        v[i].protocol = proto_names[world_random(w, 3)];
        switch (world_random(w, 4)) {
        case 0:
            break;
        case 1:
            v[i].port = int_or_str_str(port_names[world_random(w, ARRAY_LEN(port_names))]);
            break;
        case 2:
            v[i].has_end_port = true;
            v[i].end_port = 81 + (int32_t)world_random(w, 3);
            v[i].port = int_or_str_int(80);
            break;
        default:
            v[i].port = int_or_str_int(80 + (int32_t)world_random(w, 2));
        }
    }
    return v;
}

static void random_policy(struct world *w, int i)
{
    static struct str types[] = {STR("Ingress"), STR("Egress")};
    struct arena *a = &w->policies[i].arena;
    struct api_network_policy_spec *s = &w->policies[i].spec;
    arena_fini(a);
    *a = (struct arena){0};
    *s = (struct api_network_policy_spec){0};
    random_selector(w, a, &s->pod_selector, keys, 2);
    uint32_t which = 1 + world_random(w, 3);
    s->policy_types = which == 2 ? types + 1 : types;
    s->n_policy_types = which == 3 ? 2 : 1;
    if (which & 1) {
        s->n_ingress = world_random(w, 3);
        s->ingress = ARENA_NEW_N(a, struct api_network_policy_ingress_rule, 2);
        for (uint32_t k = 0; k < s->n_ingress; k++) {
            s->ingress[k].n_from = world_random(w, 4);
            s->ingress[k].from = random_peers(w, a, s->ingress[k].n_from);
            s->ingress[k].n_ports = world_random(w, 4);
            s->ingress[k].ports = random_ports(w, a, s->ingress[k].n_ports);
        }
    }
    if (which & 2) {
        s->n_egress = world_random(w, 3);
        s->egress = ARENA_NEW_N(a, struct api_network_policy_egress_rule, 2);
        for (uint32_t k = 0; k < s->n_egress; k++) {
            s->egress[k].n_to = world_random(w, 4);
            s->egress[k].to = random_peers(w, a, s->egress[k].n_to);
            s->egress[k].n_ports = world_random(w, 4);
            s->egress[k].ports = random_ports(w, a, s->egress[k].n_ports);
        }
    }
}

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed};
    for (int i = 0; i < WORLD_NS; i++) {
        snprintf(w->ns[i].name, sizeof(w->ns[i].name), "ns%d", i);
        w->ns[i].there = true;
        w->ns[i].label = (struct kv_str){keys[0], values[i]};
    }
    for (int i = 0; i < WORLD_PODS; i++)
        random_pod(w, i);
    for (int i = 0; i < WORLD_POLICIES; i++) {
        snprintf(w->policies[i].name, sizeof(w->policies[i].name), "p%d", i);
        w->policies[i].ns = i % WORLD_NS;
    }
}

void world_fini(struct world *w)
{
    for (int i = 0; i < WORLD_POLICIES; i++)
        arena_fini(&w->policies[i].arena);
}

/* ---- telling ---- */

static void tell_ns(struct world *w, int i, struct policy_engine *e, struct policy_batch *b)
{
    policy_namespace(e, str_z(w->ns[i].name), w->ns[i].there, &w->ns[i].label, 1, b);
}

static void tell_pod(struct world *w, int i, struct policy_engine *e, struct policy_batch *b)
{
    const struct world_pod *p = &w->pods[i];
    struct policy_pod pod = {.uid = str_z(p->uid),
                             .ns = str_z(p->ns),
                             .labels = p->labels,
                             .n_labels = p->n_labels,
                             .ips = {p->ip},
                             .n_ips = p->there,
                             .ports = p->ports,
                             .n_ports = p->n_ports};
    if (p->known)
        policy_pod(e, &pod, b);
    if (p->there && p->local)
        policy_local(e, pod.uid, p->uid, &p->ip, b);
}

static void tell_policy(struct world *w, int i, struct policy_engine *e, struct policy_batch *b)
{
    policy_set(e, str_z(w->ns[w->policies[i].ns].name), str_z(w->policies[i].name),
               w->policies[i].there ? &w->policies[i].spec : NULL, b);
}

void world_tell_all(struct world *w, struct policy_engine *e, struct policy_batch *b)
{
    for (int i = 0; i < WORLD_POLICIES; i++)
        tell_policy(w, i, e, b);
    for (int i = 0; i < WORLD_PODS; i++)
        tell_pod(w, i, e, b);
    for (int i = 0; i < WORLD_NS; i++)
        tell_ns(w, i, e, b);
}

void world_change(struct world *w, struct policy_engine *e, struct policy_batch *b)
{
    int i = (int)world_random(w, WORLD_PODS);
    switch (world_random(w, 6)) {
    case 0: /* a pod goes, another comes with its address */
        policy_pod_gone(e, str_z(w->pods[i].uid), b);
        policy_local(e, str_z(w->pods[i].uid), NULL, NULL, b);
        random_pod(w, i);
        tell_pod(w, i, e, b);
        break;
    case 1: /* labels and ports of a pod change, or its object is seen */
    {
        struct world_pod was = w->pods[i];
        random_pod(w, i);
        memcpy(w->pods[i].uid, was.uid, sizeof(was.uid));
        memcpy(w->pods[i].ns, was.ns, sizeof(was.ns));
        w->pods[i].local = was.local;
        w->pods[i].known = true;
        tell_pod(w, i, e, b);
        break;
    }
    case 2:
        i %= WORLD_NS;
        w->ns[i].there = world_random(w, 5) != 0;
        w->ns[i].label = (struct kv_str){keys[0], values[world_random(w, 3)]};
        tell_ns(w, i, e, b);
        break;
    default:
        i %= WORLD_POLICIES;
        w->policies[i].there = world_random(w, 4) != 0;
        if (w->policies[i].there)
            random_policy(w, i);
        tell_policy(w, i, e, b);
    }
}

/* ---- the definition ---- */

static bool selects(const struct api_label_selector *s, const struct kv_str *labels, uint32_t n)
{
    struct arena a = {0};
    struct label_selector c;
    ASSERT(label_selector_compile(&a, s, &c, NULL) == 0);
    bool yes = label_selector_match(&c, labels, n);
    arena_fini(&a);
    return yes;
}

static const struct world_pod *pod_at(const struct world *w, const struct ip_addr *ip)
{
    for (int i = 0; i < WORLD_PODS; i++)
        if (w->pods[i].there && ip_eq(&w->pods[i].ip, ip))
            return &w->pods[i];
    return NULL;
}

static bool namespace_selected(const struct world *w, const struct api_label_selector *s,
                               const char *name)
{
    if (s->n_match_labels + s->n_match_expressions == 0)
        return true;
    for (int i = 0; i < WORLD_NS; i++)
        if (strcmp(w->ns[i].name, name) == 0)
            return w->ns[i].there && selects(s, &w->ns[i].label, 1);
    return false;
}

static bool block_has(const struct api_ip_block *b, const struct ip_addr *ip)
{
    struct ip_prefix p;
    if (ip_prefix_parse(b->cidr, &p) < 0 || !ip_prefix_contains(&p, ip))
        return false;
    for (uint32_t i = 0; i < b->n_except; i++)
        if (ip_prefix_parse(b->except[i], &p) == 0 && ip_prefix_contains(&p, ip))
            return false;
    return true;
}

static bool peers_have(const struct world *w, const struct api_network_policy_peer *v, uint32_t n,
                       const char *ns, const struct ip_addr *ip)
{
    const struct world_pod *p = pod_at(w, ip);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].ip_block) {
            if (block_has(v[i].ip_block, ip))
                return true;
            continue;
        }
        if (!p || !p->known)
            continue;
        if (v[i].namespace_selector ? !namespace_selected(w, v[i].namespace_selector, p->ns)
                                    : strcmp(p->ns, ns) != 0)
            continue;
        if (!v[i].pod_selector || selects(v[i].pod_selector, p->labels, p->n_labels))
            return true;
    }
    return n == 0;
}

static bool ports_have(const struct world *w, const struct api_network_policy_port *v, uint32_t n,
                       const struct ip_addr *dst, uint8_t proto, uint16_t port)
{
    const struct world_pod *p = pod_at(w, dst);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t want = str_is(v[i].protocol, "UDP")    ? IPPROTO_UDP
                       : str_is(v[i].protocol, "SCTP") ? IPPROTO_SCTP
                                                       : IPPROTO_TCP;
        if (want != proto)
            continue;
        if (v[i].port.type == INT_OR_STR_NONE)
            return true;
        if (v[i].port.type == INT_OR_STR_INT &&
            (v[i].has_end_port ? port >= v[i].port.i && port <= v[i].end_port
                               : port == v[i].port.i))
            return true;
        for (uint32_t k = 0; v[i].port.type == INT_OR_STR_STR && p && p->known && k < p->n_ports;
             k++)
            if (p->ports[k].proto == proto && p->ports[k].port == port &&
                str_eq(p->ports[k].name, v[i].port.s))
                return true;
    }
    return n == 0;
}

static bool direction_allows(const struct world *w, bool egress, const struct ip_addr *src,
                             const struct ip_addr *dst, uint8_t proto, uint16_t port)
{
    const struct world_pod *p = pod_at(w, egress ? src : dst);
    const struct ip_addr *peer = egress ? dst : src;
    bool isolated = false;
    if (!p || !p->local)
        return true;
    if (!p->known)
        return false;
    for (int i = 0; i < WORLD_POLICIES; i++) {
        const struct api_network_policy_spec *s = &w->policies[i].spec;
        const char *ns = w->ns[w->policies[i].ns].name;
        bool applies = false;
        for (uint32_t k = 0; k < s->n_policy_types; k++)
            applies |= str_eqz(s->policy_types[k], egress ? "Egress" : "Ingress");
        if (!w->policies[i].there || !applies || strcmp(ns, p->ns) != 0 ||
            !selects(&s->pod_selector, p->labels, p->n_labels))
            continue;
        isolated = true;
        for (uint32_t k = 0; !egress && k < s->n_ingress; k++)
            if (peers_have(w, s->ingress[k].from, s->ingress[k].n_from, ns, peer) &&
                ports_have(w, s->ingress[k].ports, s->ingress[k].n_ports, dst, proto, port))
                return true;
        for (uint32_t k = 0; egress && k < s->n_egress; k++)
            if (peers_have(w, s->egress[k].to, s->egress[k].n_to, ns, peer) &&
                ports_have(w, s->egress[k].ports, s->egress[k].n_ports, dst, proto, port))
                return true;
    }
    return !isolated;
}

bool world_allows(const struct world *w, const struct ip_addr *src, const struct ip_addr *dst,
                  uint8_t proto, uint16_t port)
{
    const struct world_pod *p = pod_at(w, src);
    if (p && p->local && p == pod_at(w, dst))
        return p->known; /* itself, by a Service */
    return direction_allows(w, true, src, dst, proto, port) &&
           direction_allows(w, false, src, dst, proto, port);
}
