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

struct policy_engine *policy_engine_new(const char *table, const char *gateway_mac)
{
    struct policy_engine *e = NEW(struct policy_engine);
    e->table = xstrdup(table);
    e->gateway_mac = gateway_mac ? xstrdup(gateway_mac) : NULL;
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
        policy_local(e, s->key, NULL, NULL, &b);
    policy_batch_fini(&b);
    ASSERT(e->peers.n + e->blocks.n + e->named.n + e->chains.n == 0);
    ASSERT(e->namespaces.n + e->pods.n + e->addrs.n == 0);
    struct map *const maps[] = {&e->namespaces, &e->pods,   &e->addrs, &e->policies, &e->locals,
                                &e->peers,      &e->blocks, &e->named, &e->chains};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_fini(maps[i]);
    free(e->table);
    free(e->gateway_mac);
    free(e);
    return NULL;
}

/* Frames between links of the bridge: only those IP ones that went to the host and were sent back
 * from there (by br_netfilter, when a Service's endpoint is on the same bridge). */
static void print_bridge(const struct policy_engine *e, struct buf *out)
{
    static const char *const rules[] = {
        "prerouting iifname != @links accept", "prerouting ether type arp accept",
        "prerouting ether type != ip drop",    "prerouting iifname . ip saddr != @sources drop",
        "forward iifname != @links accept",    "forward ether type != ip drop",
    };
    static const char *const hooks[] = {"prerouting", "forward"};
    const char *t = e->table;
    buf_printf(out, "add table bridge %s\n", t);
    buf_printf(out, "add set bridge %s links { type ifname ; }\n", t);
    buf_printf(out, "add set bridge %s sources { type ifname . ipv4_addr ; }\n", t);
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
        buf_printf(
            out, "add chain bridge %s %s { type filter hook %s priority -300 ; policy accept ; }\n",
            t, hooks[i], hooks[i]);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        buf_printf(out, "add rule bridge %s %s\n", t, rules[i]);
    buf_printf(out, "add rule bridge %s prerouting ether daddr != %s drop\n", t, e->gateway_mac);
}

void policy_remove(const struct policy_engine *e, struct buf *out)
{
    /* Adding first makes deleting what is not there no error. */
    buf_printf(out, "add table ip %s\ndelete table ip %s\n", e->table, e->table);
    if (e->gateway_mac)
        buf_printf(out, "add table bridge %s\ndelete table bridge %s\n", e->table, e->table);
}

void policy_hold(const struct policy_engine *e, const char *link, const struct ip_addr *ip,
                 struct buf *out)
{
    char text[IP_TEXT_MAX];
    ip_format(ip, text);
    buf_printf(out, "add element ip %s fresh { %s }\n", e->table, text);
    if (!e->gateway_mac || !link)
        return;
    buf_printf(out, "add element bridge %s links { \"%s\" }\n", e->table, link);
    buf_printf(out, "add element bridge %s sources { \"%s\" . %s }\n", e->table, link, text);
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
    policy_remove(e, out);
    buf_printf(out, "add table ip %s\n", t);
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
    if (e->gateway_mac)
        print_bridge(e, out);
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
        local_print(e, s->value, 1, &b);
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
