/* The desired paths follow from the Nodes alone, the present ones are remembered per node; a change
 * of a Node changes its own path. Whatever the kernel refuses is tried again a little later, all of
 * it: to set what is set already changes nothing. */
#include "net/peers.h"

#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/trim.h"
#include "schema/schema.h"

#define ROUTE_PROTOCOL 218 /* of no routing daemon (iproute2's rt_protos) */
#define RETRY          (1 * NSEC_PER_SEC)

struct path {
    struct ip_prefix range;
    struct ip_addr node_ip;
    bool direct;
};

struct peer {
    char *name; /* owned; key in peers.by_name */
    struct path path;
    bool set; /* path is in the kernel */
    bool wanted;
};

struct peers {
    struct peers_opts o;
    char *id, *node_name; /* owned */
    struct nl *nl;
    int vxlan; /* index; 0: none */
    uint32_t metric;
    struct client_cache *nodes;
    struct map by_name;
    struct rt_task flush;
    struct rt_timer retry;
    bool swept; /* what a former life left is gone */
    unsigned failures;
};

void peers_link_name(const char *id, char out[static LINK_NAME_MAX])
{
    snprintf(out, LINK_NAME_MAX, "dvx%.8s", id);
}

uint32_t peers_metric(const char *id)
{
    return 1000 + (uint32_t)strtoul(id, NULL, 16) % 1000000;
}

static struct ip_addr gateway_of(const struct ip_prefix *range)
{
    return ip4_from_number(ip4_number(&range->addr) + 1);
}

static void mac_of(const struct ip_addr *gateway, uint8_t mac[6])
{
    const uint8_t m[6] = {0x0e, 0x58, gateway->b[0], gateway->b[1], gateway->b[2], gateway->b[3]};
    memcpy(mac, m, sizeof(m));
}

/* ---- one path ---- */

static struct nl_route route_of(const struct peers *p, const struct path *path)
{
    struct nl_route r = {.dst = path->range,
                         .src = p->o.gateway,
                         .metric = p->metric,
                         .protocol = ROUTE_PROTOCOL,
                         .onlink = true};
    if (path->direct) {
        struct nl_route to;
        r.via = path->node_ip;
        if (nl_route_get(p->nl, &path->node_ip, &to) == 0)
            r.index = to.index;
    } else {
        r.via = gateway_of(&path->range);
        r.index = p->vxlan;
    }
    return r;
}

static int path_set(struct peers *p, const struct path *path)
{
    struct nl_route route = route_of(p, path);
    struct ip_addr gw = gateway_of(&path->range);
    uint8_t mac[6];
    int r = 0;
    mac_of(&gw, mac);
    if (!path->direct) {
        r = nl_neigh_set(p->nl, p->vxlan, &gw, mac, false);
        if (r == 0)
            r = nl_neigh_set(p->nl, p->vxlan, &path->node_ip, mac, true);
    }
    return r < 0 ? r : nl_route_replace(p->nl, &route);
}

static int gone_ok(int r)
{
    return r == -ESRCH || r == -ENOENT || r == -ENODEV ? 0 : r;
}

/* keep_route: the same range is reached another way from now on, and the route was replaced. */
static int path_unset(struct peers *p, const struct path *path, bool keep_route)
{
    struct nl_route route = route_of(p, path);
    struct ip_addr gw = gateway_of(&path->range);
    uint8_t mac[6];
    int r = keep_route ? 0 : gone_ok(nl_route_del(p->nl, &route));
    mac_of(&gw, mac);
    if (r == 0 && !path->direct && !keep_route)
        r = gone_ok(nl_neigh_del(p->nl, p->vxlan, &gw, NULL, false));
    if (r == 0 && !path->direct)
        r = gone_ok(nl_neigh_del(p->nl, p->vxlan, &path->node_ip, mac, true));
    return r;
}

/* ---- from Nodes to paths ---- */

static bool is_direct(const struct peers *p, const struct ip_addr *node_ip)
{
    struct nl_route to;
    return p->o.network != CLUSTER_NETWORK_VXLAN && nl_route_get(p->nl, node_ip, &to) == 0 &&
           !to.via.family;
}

static bool path_of(const struct peers *p, const struct object *node, struct path *ret)
{
    const struct api_node *n = OBJECT_MSG(node, api_node);
    struct path path = {0};
    if (str_eqz(n->metadata.name, p->node_name) || !n->spec.pod_cidr.n ||
        ip_prefix_parse(n->spec.pod_cidr, &path.range) < 0 || path.range.addr.family != AF_INET ||
        path.range.bits > 30)
        return false;
    for (uint32_t i = 0; i < n->status.n_addresses && !path.node_ip.family; i++) {
        struct ip_addr a;
        if (str_is(n->status.addresses[i].type, "InternalIP") &&
            ip_parse(n->status.addresses[i].address, &a) == 0 && a.family == AF_INET)
            path.node_ip = a;
    }
    if (!path.node_ip.family)
        return false;
    path.direct = is_direct(p, &path.node_ip);
    if (!path.direct && !p->vxlan) {
        log_warn(
            "net: node %.*s is on no link of this node's, and --network=routes makes no tunnels: "
            "its pods cannot be reached",
            STR_ARG(n->metadata.name));
        return false;
    }
    *ret = path;
    return true;
}

static bool path_eq(const struct path *x, const struct path *y)
{
    return x->direct == y->direct && ip_eq(&x->node_ip, &y->node_ip) &&
           ip_eq(&x->range.addr, &y->range.addr) && x->range.bits == y->range.bits;
}

static bool range_eq(const struct path *x, const struct path *y)
{
    return ip_eq(&x->range.addr, &y->range.addr) && x->range.bits == y->range.bits;
}

static int follow(struct peers *p, struct object *node)
{
    struct path want;
    struct peer *peer = map_get(&p->by_name, object_name(node));
    if (!path_of(p, node, &want))
        return 0;
    if (!peer) {
        peer = NEW(struct peer);
        peer->name = str_dup(object_name(node));
        map_set(&p->by_name, str_z(peer->name), peer);
    }
    peer->wanted = true;
    if (peer->set && path_eq(&peer->path, &want))
        return 0;
    struct path old = peer->path;
    bool had = peer->set;
    int r = path_set(p, &want);
    if (r < 0)
        return r;
    peer->path = want;
    peer->set = true;
    /* The same MAC leads to the new address already; only what the new path does not use goes. */
    if (had && !(range_eq(&old, &want) && !old.direct && !want.direct))
        r = path_unset(p, &old, range_eq(&old, &want));
    else if (had && !ip_eq(&old.node_ip, &want.node_ip))
        r = path_unset(p, &old, true);
    return r;
}

static int drop_unwanted(struct peers *p)
{
    for (struct map_slot *s = NULL; (s = map_next(&p->by_name, s));) {
        struct peer *peer = s->value;
        if (peer->wanted)
            continue;
        int r = peer->set ? path_unset(p, &peer->path, false) : 0;
        if (r < 0)
            return r;
        map_remove(&p->by_name, str_z(peer->name));
        free(peer->name);
        free(peer);
        s = NULL; /* the table moved: from the start again */
    }
    return 0;
}

/* ---- what a former life left ---- */

struct sweep {
    struct peers *p;
    struct nl_route *v; /* owned */
    size_t n, cap;
};

static void sweep_route(void *arg, const struct nl_route *r)
{
    struct sweep *s = arg;
    if (r->protocol != ROUTE_PROTOCOL || r->metric != s->p->metric)
        return;
    for (struct map_slot *m = NULL; (m = map_next(&s->p->by_name, m));) {
        const struct peer *peer = m->value;
        if (peer->set && ip_eq(&peer->path.range.addr, &r->dst.addr) &&
            peer->path.range.bits == r->dst.bits)
            return;
    }
    ARRAY_RESERVE(s->v, s->n, s->cap);
    s->v[s->n++] = *r;
}

static int sweep(struct peers *p)
{
    struct sweep s = {.p = p};
    int r = nl_route_list(p->nl, AF_INET, sweep_route, &s);
    for (size_t i = 0; r == 0 && i < s.n; i++) {
        struct path path = {
            .range = s.v[i].dst, .direct = s.v[i].index != p->vxlan, .node_ip = s.v[i].via};
        r = gone_ok(nl_route_del(p->nl, &s.v[i]));
        if (r == 0 && !path.direct) {
            struct ip_addr gw = gateway_of(&path.range);
            r = gone_ok(nl_neigh_del(p->nl, p->vxlan, &gw, NULL, false));
        }
    }
    free(s.v);
    p->swept = r == 0;
    return r;
}

/* ---- following ---- */

static int flush_all(struct peers *p)
{
    struct client_cache_iter it;
    int r = 0;
    for (struct map_slot *s = NULL; (s = map_next(&p->by_name, s));)
        ((struct peer *)s->value)->wanted = false;
    client_cache_iter_init(&it, p->nodes, STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        int one = follow(p, o);
        r = one < 0 ? one : r;
        client_cache_release(p->nodes);
    }
    if (r == 0)
        r = drop_unwanted(p);
    if (r == 0 && !p->swept)
        r = sweep(p);
    return r;
}

static void flush(void *arg)
{
    struct peers *p = arg;
    if (!client_cache_synced(p->nodes) || rt_timer_active(&p->retry))
        return;
    int r = flush_all(p);
    if (r < 0) {
        if (p->failures++ == 0)
            log_warn("net: routes to other nodes: %s; trying again", strerror(-r));
        rt_timer_start(&p->retry, RETRY);
    } else {
        p->failures = 0;
    }
}

static void retry(void *arg)
{
    struct peers *p = arg;
    rt_task_schedule_late(&p->flush);
}

static void on_synced(void *arg)
{
    retry(arg);
}

/* Heartbeats change Nodes all the time; few of them move. */
static void on_node(void *arg, struct object *old, struct object *new)
{
    struct peers *p = arg;
    struct path path;
    const struct peer *peer = map_get(&p->by_name, object_name(new ? new : old));
    bool wants = new &&path_of(p, new, &path);
    if (wants == (peer != NULL) && (!wants || (peer->set && path_eq(&peer->path, &path))))
        return;
    rt_task_schedule_late(&p->flush);
}

/* ---- life ---- */

static int exists_ok(int r)
{
    return r == -EEXIST ? 0 : r;
}

static int make_vxlan(struct peers *p)
{
    char name[LINK_NAME_MAX];
    struct nl_link link;
    uint8_t mac[6];
    peers_link_name(p->id, name);
    mac_of(&p->o.gateway, mac);
    int made =
        nl_link_add_vxlan(p->nl, name, p->o.vni, PEERS_VXLAN_PORT, &p->o.node_ip, 0, p->o.mtu);
    int r = exists_ok(made);
    if (r == 0)
        r = nl_link_get(p->nl, name, &link);
    if (r == 0 && made == -EEXIST) /* of the last run; since then the address may have changed */
        r = nl_link_set_vxlan_local(p->nl, link.index, &p->o.node_ip);
    if (r == 0 && memcmp(link.mac, mac, sizeof(mac)) != 0)
        r = nl_link_set(p->nl, link.index, &(struct nl_link_change){.mac = mac});
    if (r == 0)
        r = nl_link_set(p->nl, link.index, &(struct nl_link_change){.up = true, .mtu = p->o.mtu});
    if (r == 0)
        p->vxlan = link.index;
    return r;
}

int peers_new(const struct peers_opts *o, struct peers **ret, struct error *err)
{
    struct peers *p = NEW(struct peers);
    p->o = *o;
    p->id = xstrdup(o->id);
    p->node_name = xstrdup(o->node_name);
    p->metric = peers_metric(o->id);
    rt_task_init(&p->flush, o->rt, flush, p);
    rt_timer_init(&p->retry, o->rt, retry, p);
    int r = nl_open(-1, &p->nl);
    if (r == 0 && o->network != CLUSTER_NETWORK_ROUTES)
        r = make_vxlan(p);
    if (r < 0) {
        peers_free(p);
        return error_errno(err, -r, "net: making the link to other nodes");
    }
    p->nodes =
        client_cache_new(o->client, &(struct client_cache_opts){.kind = schema_kinds[KIND_NODE],
                                                                .packed = true,
                                                                .trim = net_trim_node,
                                                                .file = o->file});
    client_cache_on_change(p->nodes, on_node, p);
    client_cache_on_synced(p->nodes, on_synced, p);
    client_cache_start(p->nodes);
    *ret = p;
    return 0;
}

struct peers *peers_free(struct peers *p)
{
    if (!p)
        return NULL;
    p->nodes = client_cache_free(p->nodes);
    rt_task_cancel(&p->flush);
    rt_timer_stop(&p->retry);
    for (struct map_slot *s = NULL; (s = map_next(&p->by_name, s));) {
        struct peer *peer = s->value;
        free(peer->name);
        free(peer);
    }
    map_fini(&p->by_name);
    nl_close(p->nl);
    free(p->id);
    free(p->node_name);
    free(p);
    return NULL;
}

bool peers_settled(const struct peers *p)
{
    return client_cache_synced(p->nodes) && p->swept && !p->failures && !rt_task_pending(&p->flush);
}

void peers_dump(const struct peers *p, struct buf *out)
{
    char range[IP_PREFIX_TEXT_MAX], ip[IP_TEXT_MAX];
    for (struct map_slot *s = NULL; (s = map_next(&p->by_name, s));) {
        const struct peer *peer = s->value;
        buf_printf(out, "peer %s %s %s %s%s\n", peer->name,
                   ip_prefix_format(&peer->path.range, range), ip_format(&peer->path.node_ip, ip),
                   peer->path.direct ? "direct" : "vxlan", peer->set ? "" : " not set");
    }
}

static void purge_route(void *arg, const struct nl_route *r)
{
    struct sweep *s = arg;
    if (r->protocol != ROUTE_PROTOCOL || r->metric != s->p->metric)
        return;
    ARRAY_RESERVE(s->v, s->n, s->cap);
    s->v[s->n++] = *r;
}

int peers_purge(struct nl *nl, const char *id)
{
    struct peers p = {.metric = peers_metric(id)};
    struct sweep s = {.p = &p};
    struct nl_link link;
    char name[LINK_NAME_MAX];
    peers_link_name(id, name);
    int r = nl_route_list(nl, AF_INET, purge_route, &s);
    for (size_t i = 0; r == 0 && i < s.n; i++)
        r = gone_ok(nl_route_del(nl, &s.v[i]));
    free(s.v);
    if (r == 0)
        r = nl_link_get(nl, name, &link);
    if (r == 0)
        r = nl_link_del(nl, link.index);
    return gone_ok(r);
}
