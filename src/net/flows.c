/* A UDP flow keeps its endpoint as long as packets follow each other, so a client that asks often
 * talks to a dead address for ever. A TCP client that is not answered asks again, too, with the
 * same ports; and after it gave up, the entry of its attempt lies there for two minutes and leads
 * whoever gets the same port to the dead address. Once it is gone, the next attempt of the same
 * connection finds an endpoint that lives. Connections that exist are let alone: their pod may be
 * finishing them.
 *
 * Flows of endpoints that went are named by the differ; after a full rewrite (the agent was away)
 * every translated flow to a Service is held against what the Services are now. */
#include "net/flows.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/rules_internal.h"
#include "sys/netlink.h"

#define ADDRESSES_MAX 3 /* as many walks of the table; with more, one that looks at everything */

void net_flows_take(struct net_flows *f, struct net_batch *b)
{
    f->gone = TAKE_PTR(b->gone);
    f->n_gone = b->n_gone;
    b->n_gone = b->cap_gone = 0;
    for (size_t i = 0; i < f->n_gone; i++)
        f->udp |= f->gone[i].front.proto == IPPROTO_UDP;
}

static int front_cmp(const void *a, const void *b)
{
    const struct net_front *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->proto != y->proto)
        return x->proto < y->proto ? -1 : 1;
    if (x->ip != y->ip)
        return x->ip < y->ip ? -1 : 1;
    if (x->port != y->port)
        return (int)x->port - (int)y->port;
    return (int)x->inside - (int)y->inside;
}

void net_flows_all(struct net_flows *f, const struct net_rules *r)
{
    f->all = f->udp = true;
    if (ip_prefix_parse(str_z(r->env.cluster_cidr), &f->cluster_cidr) < 0 ||
        ip_prefix_parse(str_z(r->env.service_cidr), &f->service_cidr) < 0)
        f->all = false;
    f->fronts = xcalloc((size_t)r->fronts.n + 1, sizeof(*f->fronts));
    const struct front_state *state;
    for (uint32_t at = 0; (state = catalog_next(&r->fronts, &at));) {
        const struct net_front *from = &state->f;
        struct net_front *to = &f->fronts[f->n_fronts++];
        *to = *from;
        to->ranges = NULL;
        to->n_ranges = 0;
        to->eps = xcalloc(from->n_eps + 1, sizeof(*to->eps));
        if (from->n_eps)
            memcpy(to->eps, from->eps, from->n_eps * sizeof(*to->eps));
    }
    qsort(f->fronts, f->n_fronts, sizeof(*f->fronts), front_cmp);
}

static void fronts_fini(struct net_flows *f)
{
    for (size_t i = 0; i < f->n_fronts; i++)
        free(f->fronts[i].eps);
    free(TAKE_PTR(f->fronts));
    f->n_fronts = 0;
}

void net_flows_merge(struct net_flows *f, struct net_flows *from)
{
    f->udp |= from->udp;
    if (from->all) {
        fronts_fini(f);
        f->all = true;
        f->fronts = TAKE_PTR(from->fronts);
        f->n_fronts = from->n_fronts;
        f->cluster_cidr = from->cluster_cidr;
        f->service_cidr = from->service_cidr;
        from->n_fronts = 0;
    }
    f->gone = xrealloc(f->gone, (f->n_gone + from->n_gone + 1) * sizeof(*f->gone));
    if (from->n_gone)
        memcpy(&f->gone[f->n_gone], from->gone, from->n_gone * sizeof(*f->gone));
    f->n_gone += from->n_gone;
    net_flows_fini(from);
}

void net_flows_fini(struct net_flows *f)
{
    fronts_fini(f);
    free(f->gone);
    free(f->own);
    *f = (struct net_flows){0};
}

bool net_flows_empty(const struct net_flows *f)
{
    return f->n_gone == 0 && !f->all;
}

static bool is_own(const struct net_flows *f, uint32_t ip)
{
    for (size_t i = 0; i < f->n_own; i++)
        if (f->own[i] == ip)
            return true;
    return false;
}

static bool is_gone(const struct net_flows *f, const struct conntrack_flow *c)
{
    uint32_t dst = ip4_number(&c->orig_dst);
    for (size_t i = 0; i < f->n_gone; i++) {
        const struct net_flow_gone *g = &f->gone[i];
        if (c->proto != g->front.proto || c->orig_dport != g->front.port ||
            (g->front.kind == NET_FRONT_NODEPORT ? !is_own(f, dst) : dst != g->front.ip))
            continue;
        if (!g->ep.ip || (ip4_number(&c->reply_src) == g->ep.ip && c->reply_sport == g->ep.port))
            return true;
    }
    return false;
}

static bool has_endpoint(const struct net_front *front, const struct conntrack_flow *c)
{
    for (uint32_t i = 0; front && i < front->n_eps; i++)
        if (front->eps[i].ip == ip4_number(&c->reply_src) && front->eps[i].port == c->reply_sport)
            return true;
    return false;
}

static const struct net_front *find(const struct net_flows *f, const struct net_front *key,
                                    bool inside)
{
    struct net_front want = *key;
    want.inside = inside;
    return f->n_fronts ? bsearch(&want, f->fronts, f->n_fronts, sizeof(want), front_cmp) : NULL;
}

/* Only what a front of ours, or a Service address without one, was translated to a pod, or was not
 * translated though a front has endpoints: other tables translate, too. */
static bool is_out_of_date(const struct net_flows *f, const struct conntrack_flow *c)
{
    struct net_front want = {.kind = NET_FRONT_VIP,
                             .proto = c->proto,
                             .ip = ip4_number(&c->orig_dst),
                             .port = c->orig_dport};
    const struct net_front *front = find(f, &want, false), *in = find(f, &want, true);
    if (!front && is_own(f, want.ip)) {
        want = (struct net_front){
            .kind = NET_FRONT_NODEPORT, .proto = c->proto, .port = c->orig_dport};
        front = find(f, &want, false);
        in = find(f, &want, true);
    }
    bool translated = !ip_eq(&c->orig_dst, &c->reply_src);
    bool to_pod = ip_prefix_contains(&f->cluster_cidr, &c->reply_src);
    if (!front && !in)
        return translated && to_pod && ip_prefix_contains(&f->service_cidr, &c->orig_dst);
    if (!translated)
        return (front && front->n_eps) || (in && in->n_eps);
    return to_pod && !has_endpoint(front, c) && !has_endpoint(in, c);
}

bool net_flow_stale(const struct net_flows *f, const struct conntrack_flow *c)
{
    return (c->proto == IPPROTO_UDP || !c->replied) &&
           (is_gone(f, c) || (f->all && is_out_of_date(f, c)));
}

static bool match(void *arg, const struct conntrack_flow *c)
{
    return net_flow_stale(arg, c);
}

static void own_add(void *arg, int index, const struct ip_prefix *addr)
{
    struct net_flows *f = arg;
    (void)index;
    ARRAY_RESERVE(f->own, f->n_own, f->cap_own);
    f->own[f->n_own++] = ip4_number(&addr->addr);
}

/* The addresses flows must have led to; 0: too many, or any. Where only unanswered flows matter, of
 * which there are few, one walk for all is the cheapest. */
static size_t addresses(const struct net_flows *f, uint32_t ips[static ADDRESSES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_gone; i++) {
        uint32_t ip = f->gone[i].ep.ip;
        size_t k = 0;
        while (k < n && ips[k] != ip)
            k++;
        if (!ip || k == ADDRESSES_MAX)
            return 0;
        ips[k] = ip;
        n = MAX(n, k + 1);
    }
    return f->all || (!f->udp && n > 1) ? 0 : n;
}

int net_flows_delete(struct net_flows *f)
{
    CLEANUP(nl_closep) struct nl *nl = NULL;
    uint32_t ips[ADDRESSES_MAX];
    size_t n = addresses(f, ips);
    struct conntrack_scope scope = {.unreplied = !f->udp};
    int r = nl_open(-1, &nl), deleted = 0;
    f->n_own = 0;
    if (r == 0)
        r = nl_addr_list(nl, AF_INET, own_add, f);
    for (size_t i = 0; r >= 0 && i < MAX(n, 1); i++) {
        struct ip_addr ip = n ? ip4_from_number(ips[i]) : (struct ip_addr){0};
        scope.reply_src = n ? &ip : NULL;
        r = conntrack_delete(&scope, match, f);
        deleted += r;
    }
    return r < 0 ? r : deleted;
}
