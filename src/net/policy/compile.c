/* From a policy's spec to matches: each rule becomes one match for every pair of (kind of peer,
 * kind of port). All ipBlocks of a rule are one block and all its numeric ports one list, so there
 * are few. A rule whose peers are all of another family matches nothing, which is not the same as a
 * rule without peers, which matches everybody. */
#include <netinet/in.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/policy/policy_int.h"

static uint8_t proto_of(struct str s)
{
    return str_is(s, "UDP") ? IPPROTO_UDP : str_is(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

struct parts { /* of one rule */
    struct peer **peers;
    struct block *block;
    struct port_range *ports;
    struct named **named;
    uint32_t n_peers, n_ports, n_named;
    bool any_peer, any_port;
};

static void take_peers(struct policy_engine *e, struct policy *p,
                       const struct api_network_policy_peer *v, uint32_t n, struct parts *out,
                       struct policy_batch *b)
{
    const struct api_ip_block **blocks = ARENA_NEW_N(&p->arena, const struct api_ip_block *, n + 1);
    uint32_t n_blocks = 0;
    out->any_peer = n == 0;
    out->peers = ARENA_NEW_N(&p->arena, struct peer *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].ip_block)
            blocks[n_blocks++] = v[i].ip_block;
        else
            out->peers[out->n_peers++] = peer_get(e, str_z(p->ns->name), &v[i], b);
    }
    if (n_blocks)
        out->block = block_get(e, blocks, n_blocks, b);
}

static void take_ports(struct policy_engine *e, struct policy *p, enum policy_dir dir,
                       const struct api_network_policy_port *v, uint32_t n, struct parts *out,
                       struct policy_batch *b)
{
    out->any_port = n == 0;
    out->ports = ARENA_NEW_N(&p->arena, struct port_range, n + 1);
    out->named = ARENA_NEW_N(&p->arena, struct named *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        struct port_range r = {.proto = proto_of(v[i].protocol), .to = UINT16_MAX};
        if (v[i].port.type == INT_OR_STR_STR) {
            out->named[out->n_named++] =
                named_get(e, v[i].port.s, r.proto, dir == POLICY_INGRESS, b);
            continue;
        }
        if (v[i].port.type == INT_OR_STR_INT) {
            int32_t last = v[i].has_end_port ? v[i].end_port : v[i].port.i;
            if (v[i].port.i < 0 || last > UINT16_MAX || last < v[i].port.i)
                continue;
            r.from = (uint16_t)v[i].port.i;
            r.to = (uint16_t)last;
        }
        out->ports[out->n_ports++] = r;
    }
    out->n_ports = port_ranges_join(out->ports, out->n_ports);
}

/* Every match holds its own count, so letting go needs no second look at the rule. */
static void add_match(struct policy *p, enum policy_dir dir, const struct parts *x,
                      struct peer *peer, struct block *block, struct named *named)
{
    struct match *m = &p->matches[dir][p->n_matches[dir]++];
    *m = (struct match){.peer = peer, .block = block, .named = named};
    if (!named && !x->any_port) {
        m->ports = x->ports;
        m->n_ports = x->n_ports;
    }
    if (peer)
        peer->refs++;
    if (block)
        block->refs++;
    if (named)
        named->refs++;
}

static void add_ports(struct policy *p, enum policy_dir dir, const struct parts *x,
                      struct peer *peer, struct block *block)
{
    if (x->any_port || x->n_ports)
        add_match(p, dir, x, peer, block, NULL);
    for (uint32_t i = 0; i < x->n_named; i++)
        add_match(p, dir, x, peer, block, x->named[i]);
}

static void add_rule(struct policy_engine *e, struct policy *p, enum policy_dir dir,
                     const struct api_network_policy_port *ports, uint32_t n_ports,
                     const struct api_network_policy_peer *peers, uint32_t n_peers,
                     struct policy_batch *b)
{
    struct parts x = {0};
    take_peers(e, p, peers, n_peers, &x, b);
    take_ports(e, p, dir, ports, n_ports, &x, b);
    size_t more = (size_t)(x.n_peers + 2) * (x.n_named + 1), n = p->n_matches[dir];
    struct match *v = ARENA_NEW_N(&p->arena, struct match, n + more);
    if (n)
        memcpy(v, p->matches[dir], n * sizeof(*v));
    p->matches[dir] = v;
    if (x.any_peer)
        add_ports(p, dir, &x, NULL, NULL);
    for (uint32_t i = 0; i < x.n_peers; i++)
        add_ports(p, dir, &x, x.peers[i], NULL);
    if (x.block)
        add_ports(p, dir, &x, NULL, x.block);
    for (uint32_t i = 0; i < x.n_peers; i++)
        peer_put(e, x.peers[i], b);
    if (x.block)
        block_put(e, x.block, b);
    for (uint32_t i = 0; i < x.n_named; i++)
        named_put(e, x.named[i], b);
}

void policy_put(struct policy_engine *e, struct policy *p, struct policy_batch *b)
{
    for (int dir = 0; dir < _POLICY_DIR_MAX; dir++)
        for (uint32_t i = 0; i < p->n_matches[dir]; i++) {
            struct match *m = &p->matches[dir][i];
            if (m->peer)
                peer_put(e, m->peer, b);
            if (m->block)
                block_put(e, m->block, b);
            if (m->named)
                named_put(e, m->named, b);
        }
    arena_fini(&p->arena);
    free(p->key);
    free(p);
}

static struct policy *compile(struct policy_engine *e, struct ns *ns, const char *key,
                              const struct api_network_policy_spec *spec, struct policy_batch *b)
{
    struct policy *p = NEW(struct policy);
    struct error err = {0};
    p->ns = ns;
    p->key = xstrdup(key);
    p->id = e->next_id++;
    list_init(&p->link);
    if (label_selector_compile(&p->arena, &spec->pod_selector, &p->pods, &err) < 0) {
        log_warn("net: policy %s: %.*s; it is taken for one of all pods of its namespace", key,
                 STR_ARG(err.message));
        p->pods = (struct label_selector){0};
    }
    error_fini(&err);
    p->isolates[POLICY_INGRESS] = spec->n_policy_types == 0;
    p->isolates[POLICY_EGRESS] = spec->n_policy_types == 0 && spec->n_egress;
    for (uint32_t i = 0; i < spec->n_policy_types; i++) {
        p->isolates[POLICY_INGRESS] |= str_is(spec->policy_types[i], "Ingress");
        p->isolates[POLICY_EGRESS] |= str_is(spec->policy_types[i], "Egress");
    }
    for (uint32_t i = 0; p->isolates[POLICY_INGRESS] && i < spec->n_ingress; i++) {
        const struct api_network_policy_ingress_rule *r = &spec->ingress[i];
        add_rule(e, p, POLICY_INGRESS, r->ports, r->n_ports, r->from, r->n_from, b);
    }
    for (uint32_t i = 0; p->isolates[POLICY_EGRESS] && i < spec->n_egress; i++) {
        const struct api_network_policy_egress_rule *r = &spec->egress[i];
        add_rule(e, p, POLICY_EGRESS, r->ports, r->n_ports, r->to, r->n_to, b);
    }
    return p;
}

/* A changed policy is a new one, with new chains: pods move from the old ones to the new ones in
 * one transaction. What both ask about stays, since the new one takes hold first. */
void policy_set(struct policy_engine *e, struct str ns_name, struct str name,
                const struct api_network_policy_spec *spec, struct policy_batch *b)
{
    char *key = xasprintf("%.*s/%.*s", STR_ARG(ns_name), STR_ARG(name));
    struct policy *old = map_get(&e->policies, str_z(key)), *p = NULL;
    if (old || spec) {
        struct ns *ns = ns_get(e, ns_name);
        ns->held = true; /* peers may come and go */
        if (spec)
            p = compile(e, ns, key, spec, b);
        if (old) {
            map_remove(&e->policies, str_z(key));
            list_remove(&old->link);
        }
        if (p) {
            map_set(&e->policies, str_z(p->key), p);
            list_push_back(&ns->policies, &p->link);
        }
        for (struct map_slot *s = NULL; (s = map_next(&e->locals, s));) {
            struct local *l = s->value;
            if (l->pod && l->pod->ns == ns)
                local_settle(e, l, b);
        }
        if (old)
            policy_put(e, old, b);
        ns->held = false;
        ns_drop(e, ns);
    }
    free(key);
}
