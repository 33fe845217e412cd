/* Chains, and which local pod jumps to which. A chain is named after the policies whose rules it
 * has, so that all pods with the same policies share it; it lives as long as one of them does. */
#include <sys/socket.h>

#include "base/mem.h"
#include "net/policy/policy_int.h"

static const char *const dir_prefix[] = {[POLICY_INGRESS] = "in", [POLICY_EGRESS] = "eg"};
static const char *const dir_map[] = {[POLICY_INGRESS] = "ingress", [POLICY_EGRESS] = "egress"};

/* ---- chains ---- */

static void print_ports(const struct match *m, struct buf *out)
{
    buf_add_lit(out, " meta l4proto . th dport { ");
    for (uint32_t i = 0; i < m->n_ports; i++) {
        const struct port_range *r = &m->ports[i];
        buf_printf(out, "%s%u . %u", i ? ", " : "", r->proto, r->from);
        if (r->to != r->from)
            buf_printf(out, "-%u", r->to);
    }
    buf_add_lit(out, " }");
}

void chain_print(const struct policy_engine *e, const struct chain *c, struct buf *out)
{
    const char *prefix = dir_prefix[c->dir], *field = c->dir == POLICY_INGRESS ? "saddr" : "daddr";
    buf_printf(out, "add chain ip %s %s-%u\n", e->table, prefix, c->id);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct policy *p = c->policies[i];
        for (uint32_t k = 0; k < p->n_matches[c->dir]; k++) {
            const struct match *m = &p->matches[c->dir][k];
            buf_printf(out, "add rule ip %s %s-%u", e->table, prefix, c->id);
            if (m->peer)
                buf_printf(out, " ip %s @p%u", field, m->peer->id);
            if (m->block)
                buf_printf(out, " ip %s @b%u", field, m->block->id);
            if (m->named)
                buf_printf(out, " ip daddr . meta l4proto . th dport @n%u", m->named->id);
            if (m->n_ports)
                print_ports(m, out);
            buf_add_lit(out, " return\n");
        }
    }
    buf_printf(out, "add rule ip %s %s-%u drop\n", e->table, prefix, c->id);
}

static bool match_allows(const struct policy_engine *e, const struct match *m,
                         const struct ip_addr *peer, const struct ip_addr *dst, uint8_t proto,
                         uint16_t port)
{
    const struct addr *from = addr_find(e, peer), *to = addr_find(e, dst);
    if (m->peer && !(from && from->owner && pod_in_peer(from->owner, m->peer)))
        return false;
    if (m->block && !ranges_contain(m->block->v, m->block->n, peer))
        return false;
    if (m->n_ports && !port_ranges_contain(m->ports, m->n_ports, proto, port))
        return false;
    return !m->named || (to && to->owner && (to->local || !m->named->local_only) &&
                         m->named->proto == proto && named_has(m->named, to->owner, port));
}

bool chain_allows(const struct policy_engine *e, const struct chain *c, const struct ip_addr *peer,
                  const struct ip_addr *dst, uint8_t proto, uint16_t port)
{
    for (uint32_t i = 0; i < c->n; i++) {
        const struct policy *p = c->policies[i];
        for (uint32_t k = 0; k < p->n_matches[c->dir]; k++)
            if (match_allows(e, &p->matches[c->dir][k], peer, dst, proto, port))
                return true;
    }
    return false;
}

/* NULL: no policy isolates the pod in this direction. */
static struct chain *chain_get(struct policy_engine *e, const struct pod *pod, enum policy_dir dir,
                               struct policy_batch *b)
{
    struct buf key = {0};
    struct policy *p, **v = NULL;
    uint32_t n = 0, cap = 0;
    buf_printf(&key, "%s", dir_prefix[dir]);
    LIST_FOR_EACH (p, &pod->ns->policies, link) { /* by id: new ones go to the end */
        if (!p->isolates[dir] || !label_selector_match(&p->pods, pod->labels, pod->n_labels))
            continue;
        ARRAY_RESERVE(v, n, cap);
        v[n++] = p;
        buf_printf(&key, " %u", p->id);
    }
    struct chain *c = n ? map_get(&e->chains, buf_str(&key)) : NULL;
    if (n && !c) {
        c = NEW(struct chain);
        *c = (struct chain){.dir = dir, .id = e->next_id++, .policies = v, .n = n};
        c->key = buf_take(&key, NULL);
        map_set(&e->chains, str_z(c->key), c);
        chain_print(e, c, &b->defs);
        v = NULL;
    }
    if (c)
        c->refs++;
    free(v);
    buf_fini(&key);
    return c;
}

static void chain_put(struct policy_engine *e, struct chain *c, struct policy_batch *b)
{
    if (--c->refs)
        return;
    const char *prefix = dir_prefix[c->dir];
    buf_printf(&b->drop_chains, "flush chain ip %s %s-%u\ndelete chain ip %s %s-%u\n", e->table,
               prefix, c->id, e->table, prefix, c->id);
    map_remove(&e->chains, str_z(c->key));
    free(c->policies);
    free(c->key);
    free(c);
}

/* ---- local pods ---- */

void local_print(const struct policy_engine *e, const struct local *l, int change,
                 struct policy_batch *b)
{
    char ip[IP_TEXT_MAX];
    if (l->ip.family != AF_INET)
        return;
    ip_format(&l->ip, ip);
    if (e->gateway_mac && l->told) {
        batch_elem(b, change, "links", "\"%s\"", l->link);
        batch_elem(b, change, "sources", "\"%s\" . %s", l->link, ip);
    }
    if (l->fresh)
        batch_elem(b, change, "fresh", "%s", ip);
    if (l->chains[POLICY_INGRESS] || l->chains[POLICY_EGRESS])
        batch_elem(b, change, "self", "%s . %s", ip, ip);
    for (int dir = 0; dir < _POLICY_DIR_MAX; dir++)
        if (l->chains[dir])
            batch_elem(b, change, dir_map[dir], "%s : jump %s-%u", ip, dir_prefix[dir],
                       l->chains[dir]->id);
}

static void chains_put(struct policy_engine *e, struct chain *const old[_POLICY_DIR_MAX],
                       struct policy_batch *b)
{
    for (int dir = 0; dir < _POLICY_DIR_MAX; dir++)
        if (old[dir])
            chain_put(e, old[dir], b);
}

void local_settle(struct policy_engine *e, struct local *l, struct policy_batch *b)
{
    struct chain *old[_POLICY_DIR_MAX];
    memcpy(old, l->chains, sizeof(old));
    local_print(e, l, -1, b);
    l->told = true;
    l->fresh = !l->pod;
    for (int dir = 0; dir < _POLICY_DIR_MAX; dir++)
        l->chains[dir] = l->pod ? chain_get(e, l->pod, (enum policy_dir)dir, b) : NULL;
    local_print(e, l, 1, b);
    chains_put(e, old, b); /* last: what stays is not made anew */
}

void local_untell(struct policy_engine *e, struct local *l, struct policy_batch *b)
{
    local_print(e, l, -1, b);
    l->told = l->fresh = false;
    chains_put(e, l->chains, b);
    memset(l->chains, 0, sizeof(l->chains));
}
