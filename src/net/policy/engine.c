/* The table's fixed part, the table as a whole, and asking it.
 *
 * Every packet from a client towards a server is looked at, not just a connection's first: so a
 * policy that comes later ends what it forbids. Replies pass by their connection's direction. An
 * address of the node itself never comes by here (input and output are other hooks): the node
 * reaches its pods, and its pods reach it. A pod that reaches itself by a Service is let through
 * (set self). */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/policy/policy_int.h"

struct policy_engine *policy_engine_new(const char *table)
{
    struct policy_engine *e = NEW(struct policy_engine);
    e->table = xstrdup(table);
    e->next_id = 1;
    list_init(&e->peers_of_all);
    list_init(&e->named_list);
    return e;
}

struct policy_engine *policy_engine_free(struct policy_engine *e)
{
    struct policy_batch b = {0};
    struct map_slot *s;
    if (!e)
        return NULL;
    while ((s = map_next(&e->policies, NULL))) {
        const struct policy *p = s->value;
        struct str key = str_z(p->key), ns;
        str_cut(&key, '/', &ns);
        policy_set(e, ns, key, NULL, &b);
    }
    policy_forget_pods(e);
    while ((s = map_next(&e->locals, NULL)))
        policy_local(e, s->key, NULL, &b);
    policy_batch_fini(&b);
    ASSERT(e->peers.n + e->blocks.n + e->named.n + e->chains.n == 0);
    ASSERT(e->namespaces.n + e->pods.n + e->addrs.n == 0);
    struct map *const maps[] = {&e->namespaces, &e->pods,   &e->addrs, &e->policies, &e->locals,
                                &e->peers,      &e->blocks, &e->named, &e->chains};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_fini(maps[i]);
    free(e->table);
    free(e);
    return NULL;
}

void policy_base(const struct policy_engine *e, struct buf *out)
{
    static const char *const rules[] = {
        "ip saddr @fresh drop",
        "ip daddr @fresh drop",
        "ct state established ct direction reply accept",
        "ct state related accept",
        "ip saddr . ip daddr @self accept",
        "ip saddr vmap @egress",
        "ip daddr vmap @ingress",
    };
    const char *t = e->table;
    /* Adding first makes deleting what is not there no error. */
    buf_printf(out, "add table ip %s\ndelete table ip %s\nadd table ip %s\n", t, t, t);
    buf_printf(out, "add set ip %s fresh { type ipv4_addr ; }\n", t);
    buf_printf(out, "add set ip %s self { type ipv4_addr . ipv4_addr ; }\n", t);
    buf_printf(out, "add map ip %s ingress { type ipv4_addr : verdict ; }\n", t);
    buf_printf(out, "add map ip %s egress { type ipv4_addr : verdict ; }\n", t);
    buf_printf(out,
               "add chain ip %s forward { type filter hook forward priority filter ; policy accept "
               "; }\n",
               t);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        buf_printf(out, "add rule ip %s forward %s\n", t, rules[i]);
}

void policy_full(const struct policy_engine *e, struct buf *out)
{
    struct policy_batch b = {0};
    policy_base(e, out);
    set_print_defs(e, out);
    for (struct map_slot *s = NULL; (s = map_next(&e->chains, s));)
        chain_print(e, s->value, out);
    for (struct map_slot *s = NULL; (s = map_next(&e->addrs, s));) {
        const struct addr *a = s->value;
        if (a->owner)
            pod_tell(e, a->owner, a, 1, &b);
    }
    for (struct map_slot *s = NULL; (s = map_next(&e->locals, s));)
        local_print(s->value, 1, &b);
    policy_batch_print(&b, e->table, out);
    policy_batch_fini(&b);
}

bool policy_pod_known(const struct policy_engine *e, struct str uid)
{
    return map_get(&e->pods, uid) != NULL;
}

size_t policy_count(const struct policy_engine *e)
{
    return e->policies.n;
}

bool policy_verdict(const struct policy_engine *e, const struct ip_addr *src,
                    const struct ip_addr *dst, uint8_t proto, uint16_t port)
{
    const struct addr *s = addr_find(e, src), *d = addr_find(e, dst);
    const struct local *from = s ? s->local : NULL, *to = d ? d->local : NULL;
    if ((from && from->fresh) || (to && to->fresh))
        return false;
    if (from && from == to)
        return true;
    if (from && from->chains[POLICY_EGRESS] &&
        !chain_allows(e, from->chains[POLICY_EGRESS], dst, dst, proto, port))
        return false;
    return !to || !to->chains[POLICY_INGRESS] ||
           chain_allows(e, to->chains[POLICY_INGRESS], src, dst, proto, port);
}

void policy_dump(const struct policy_engine *e, struct buf *out)
{
    buf_printf(out,
               "policies %zu pods %zu namespaces %zu locals %zu peers %zu blocks %zu named ports "
               "%zu chains %zu\n",
               e->policies.n, e->pods.n, e->namespaces.n, e->locals.n, e->peers.n, e->blocks.n,
               e->named.n, e->chains.n);
    policy_full(e, out);
}
