/* The table's fixed part. One packet that opens a connection passes a fixed number of hash lookups,
 * whatever the number of services and endpoints:
 *
 *   prerouting/output -> services:
 *     address . protocol . port  --vmap svc-->  chain lb-N (N endpoints) or aff-N-T (with affinity)
 *     (own address) protocol . port  --vmap np-->  chain np-N or npaff-N-T
 *     host ports: maps hp, hp_ip straight to the pod
 *   lb-N:  (address . protocol . port . random below N)  --map svc_ep-->  endpoint, DNAT
 *
 * There are no chains per service: all services with N endpoints share lb-N, and an endpoint's
 * coming or going changes its own elements only. With affinity the client's choice is an endpoint's
 * id, kept in a map with timeouts that the packets themselves fill: aff-N-T: known client -> id ->
 * endpoint; unknown, or its endpoint gone -> random id, remembered. Random number and id need a
 * register that is also a type maps know. The packet's mark would be one, but VPNs and routing
 * policies live by it; the queueing priority (classid) of a connection's first packet is missed by
 * nobody. Values are prefixed 0xda and wiped right after the DNAT.
 *
 * Pods have /32 addresses and talk even to their neighbours through the host, so that replies pass
 * conntrack on a host with or without br_netfilter. A pod that reaches itself by a Service is
 * masqueraded (set hairpin). Loopback is reachable from pods for nobody (guard) except by our own
 * DNAT. */
#include "net/rules_internal.h"

/* The key of a front as packets carry it, for the two families of maps. */
static const char *const key_expr[] = {
    [NET_FRONT_VIP] = "ip daddr . meta l4proto . th dport",
    [NET_FRONT_NODEPORT] = "meta l4proto . th dport",
};
const char *const net_map_prefix[] = {[NET_FRONT_VIP] = "svc", [NET_FRONT_NODEPORT] = "np"};

static void print_family(struct buf *b, const char *t, enum net_front_kind k)
{
    const char *p = net_map_prefix[k];
    const char *types =
        k == NET_FRONT_VIP ? "ipv4_addr . inet_proto . inet_service" : "inet_proto . inet_service";
    buf_printf(b, "add map ip %s %s { type %s : verdict ; }\n", t, p, types);
    buf_printf(b, "add map ip %s %s_ep { type %s . classid : ipv4_addr . inet_service ; }\n", t, p,
               types);
    buf_printf(b, "add map ip %s %s_pick { type %s . classid : classid ; }\n", t, p, types);
    buf_printf(b, "add map ip %s %s_id { type %s . classid : ipv4_addr . inet_service ; }\n", t, p,
               types);
    buf_printf(b,
               "add map ip %s %s_aff { type ipv4_addr . %s : classid ; size 65536 ; "
               "flags dynamic,timeout ; timeout 3h ; }\n",
               t, p, types);
    buf_printf(b, "add set ip %s %s_reject { type %s ; }\n", t, p, types);
}

/* Emptied and filled again when the table is kept; the affinity maps are not among them. */
static const char *const refilled[] = {"svc",   "svc_ep",  "svc_pick", "svc_id", "np",
                                       "np_ep", "np_pick", "np_id",    "hp",     "hp_ip"};

static void print_chains(struct buf *b, const struct net_rules_env *e)
{
    const char *t = e->table;
    static const char *const chains[][2] = {
        {"services", ""},
        {"unserved", ""},
        {"guard", "{ type filter hook prerouting priority raw ; policy accept ; }"},
        {"guard_out", "{ type filter hook output priority raw ; policy accept ; }"},
        {"prerouting", "{ type nat hook prerouting priority dstnat ; policy accept ; }"},
        {"output", "{ type nat hook output priority -100 ; policy accept ; }"},
        {"postrouting", "{ type nat hook postrouting priority srcnat ; policy accept ; }"},
        {"wipe_in", "{ type filter hook prerouting priority -99 ; policy accept ; }"},
        {"wipe_out", "{ type filter hook output priority -99 ; policy accept ; }"},
        {"filter_in", "{ type filter hook input priority filter ; policy accept ; }"},
        {"filter_forward", "{ type filter hook forward priority filter ; policy accept ; }"},
        {"filter_output", "{ type filter hook output priority filter ; policy accept ; }"},
    };
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        buf_printf(b, "add chain ip %s %s %s\n", t, chains[i][0], chains[i][1]);
}

static void rule(struct buf *b, const struct net_rules_env *e, const char *chain, const char *fmt,
                 ...) PRINTF(4, 5);
static void rule(struct buf *b, const struct net_rules_env *e, const char *chain, const char *fmt,
                 ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ASSERT(n < (int)sizeof(text));
    buf_printf(b, "add rule ip %s %s %s\n", e->table, chain, text);
}

/* Queries to the node's own name server pass neither conntrack (a hundred thousand a second would
 * fill its table) nor, so, any NAT. */
static void print_dns_rules(struct buf *b, const struct net_rules_env *e)
{
    static const char *const chains[] = {"guard", "guard_out"};
    if (!e->dns_address)
        return;
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        rule(b, e, chains[i], "ip daddr { %s, %s } meta l4proto { tcp, udp } th dport 53 notrack",
             e->dns_address, e->gateway);
    rule(b, e, "guard_out", "ip saddr { %s, %s } meta l4proto { tcp, udp } th sport 53 notrack",
         e->dns_address, e->gateway);
    rule(b, e, "filter_output", "ip daddr %s accept", e->dns_address);
}

static void print_nat_rules(struct buf *b, const struct net_rules_env *e)
{
    rule(b, e, "guard", "iifname \"%s\" ip daddr 127.0.0.0/8 drop", e->bridge);
    /* Pods of another instance on this machine have their own services under the same addresses. */
    rule(b, e, "prerouting", "iifname \"%s\" goto services", e->bridge);
    rule(b, e, "prerouting", "iifname \"davit-*\" return");
    rule(b, e, "prerouting", "goto services");
    rule(b, e, "output", "goto services");
    rule(b, e, "services", "%s vmap @svc", key_expr[NET_FRONT_VIP]);
    rule(b, e, "services", "dnat ip to %s map @hp_ip", key_expr[NET_FRONT_VIP]);
    rule(b, e, "services", "fib daddr type != local return");
    rule(b, e, "services", "%s vmap @np", key_expr[NET_FRONT_NODEPORT]);
    rule(b, e, "services", "dnat ip to %s map @hp", key_expr[NET_FRONT_NODEPORT]);

    rule(b, e, "postrouting", "ip saddr . ip daddr @hairpin masquerade");
    rule(b, e, "postrouting", "oifname \"%s\" ip saddr 127.0.0.0/8 masquerade", e->bridge);
    rule(b, e, "postrouting",
         "oifname != \"%s\" ip saddr %s ip daddr != %s masquerade fully-random", e->bridge,
         e->pod_cidr, e->cluster_cidr);
    rule(b, e, "postrouting",
         "ct status dnat ip daddr . meta l4proto . th dport @masq_ep masquerade");
    static const char *const wipe[] = {"wipe_in", "wipe_out"};
    for (size_t i = 0; i < ARRAY_LEN(wipe); i++)
        rule(b, e, wipe[i], "meta priority & 0xff000000 == 0x%08x meta priority set 0",
             NET_PRIORITY_PREFIX);
}

static void print_filter_rules(struct buf *b, const struct net_rules_env *e)
{
    static const char *const hooks[] = {"filter_forward", "filter_output"};
    rule(b, e, "unserved", "meta l4proto tcp reject with tcp reset");
    rule(b, e, "unserved", "reject with icmp type port-unreachable");
    /* What is served was sent elsewhere before it came here. */
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
        rule(b, e, hooks[i], "ct state new %s @svc_reject goto unserved", key_expr[NET_FRONT_VIP]);
        rule(b, e, hooks[i], "ip daddr %s goto unserved", e->service_cidr);
    }
    rule(b, e, "filter_in", "ct state new %s @svc_reject goto unserved", key_expr[NET_FRONT_VIP]);
    rule(b, e, "filter_in", "ct state new fib daddr type local %s @np_reject goto unserved",
         key_expr[NET_FRONT_NODEPORT]);
    /* In and out of the same link: the kernel would tell pods of a shorter way that they must not
     * take. */
    rule(b, e, "filter_output", "oifname \"%s\" icmp type redirect drop", e->bridge);
}

void net_table_print(const struct net_rules_env *e, bool keep, struct buf *b)
{
    const char *t = e->table;
    buf_printf(b, "add table ip %s\n", t);
    if (!keep)
        buf_printf(b, "delete table ip %s\nadd table ip %s\n", t, t);
    print_family(b, t, NET_FRONT_VIP);
    print_family(b, t, NET_FRONT_NODEPORT);
    buf_printf(
        b, "add map ip %s hp { type inet_proto . inet_service : ipv4_addr . inet_service ; }\n", t);
    buf_printf(b,
               "add map ip %s hp_ip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . "
               "inet_service ; }\n",
               t);
    buf_printf(b, "add set ip %s hairpin { type ipv4_addr . ipv4_addr ; }\n", t);
    buf_printf(b, "add set ip %s masq_ep { type ipv4_addr . inet_proto . inet_service ; }\n", t);
    if (keep) {
        static const char *const sets[] = {"svc_reject", "np_reject", "hairpin", "masq_ep"};
        buf_printf(b, "flush table ip %s\n", t); /* rules only */
        for (size_t i = 0; i < ARRAY_LEN(refilled); i++)
            buf_printf(b, "flush map ip %s %s\n", t, refilled[i]);
        for (size_t i = 0; i < ARRAY_LEN(sets); i++)
            buf_printf(b, "flush set ip %s %s\n", t, sets[i]);
    }
    print_chains(b, e);
    print_nat_rules(b, e);
    print_dns_rules(b, e);
    print_filter_rules(b, e);
}

/* ---- chains shared by all fronts with the same number of endpoints ---- */

void net_chain_name(const struct net_front *f, uint32_t n, char out[static NET_CHAIN_MAX])
{
    const char *p = f->kind == NET_FRONT_VIP ? "" : "np";
    if (f->affinity_s)
        snprintf(out, NET_CHAIN_MAX, "%saff-%u-%u", p, n, f->affinity_s);
    else
        snprintf(out, NET_CHAIN_MAX, "%slb-%u", p, n);
}

void net_chain_print(const struct net_rules_env *e, const struct net_front *f, uint32_t n,
                     struct buf *b)
{
    char chain[NET_CHAIN_MAX];
    const char *p = net_map_prefix[f->kind], *key = key_expr[f->kind];
    net_chain_name(f, n, chain);
    buf_printf(b, "add chain ip %s %s\n", e->table, chain);
    const char *pick = "meta priority set numgen random mod %u offset 0x%08x";
    if (!f->affinity_s) {
        rule(b, e, chain, pick, n, NET_PRIORITY_PREFIX);
        rule(b, e, chain, "dnat ip to %s . meta priority map @%s_ep", key, p);
        return;
    }
    rule(b, e, chain, "meta priority set 0");
    rule(b, e, chain, "meta priority set ip saddr . %s map @%s_aff", key, p);
    rule(b, e, chain,
         "meta priority != 0 update @%s_aff { ip saddr . %s timeout %us : meta priority }", p, key,
         f->affinity_s);
    rule(b, e, chain, "meta priority != 0 dnat ip to %s . meta priority map @%s_id", key, p);
    /* An update would keep the old value of an element that is there. */
    rule(b, e, chain, "delete @%s_aff { ip saddr . %s : meta priority }", p, key);
    rule(b, e, chain, pick, n, NET_PRIORITY_PREFIX);
    rule(b, e, chain, "meta priority set %s . meta priority map @%s_pick", key, p);
    rule(b, e, chain, "update @%s_aff { ip saddr . %s timeout %us : meta priority }", p, key,
         f->affinity_s);
    rule(b, e, chain, "dnat ip to %s . meta priority map @%s_id", key, p);
}
