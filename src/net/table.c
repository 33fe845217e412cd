/* The table's fixed part. One packet that opens a connection passes a fixed number of hash lookups,
 * whatever the number of services and endpoints:
 *
 *   prerouting/output -> services (from outside) or services_in (pods and this node):
 *     address . protocol . port  --vmap svc-->  chain lb-N (N endpoints) or aff-N-T (with affinity)
 *     (own address) protocol . port  --vmap np-->  chain nplb-N or npaff-N-T
 *     host ports: maps hp, hp_ip straight to the pod
 *   lb-N:  (address . protocol . port . random below N)  --map svc_ep-->  endpoint, DNAT
 *
 * A Service with externalTrafficPolicy Local has two fronts at each of its outer addresses: those
 * outside find the endpoints of this node by svc and np, those inside all of them by svc_in and
 * np_in, whose chains inlb-N count from 0x800000 in the same svc_ep. Chains srclb-N ask first
 * whether the client is in one of the front's ranges (lb_ok).
 *
 * Replies must pass the node that translated. Pods of this node answer through it anyway, those of
 * others only if they see its address: so what comes from outside and goes to a pod elsewhere is
 * masqueraded, and nothing else that goes to pods. A pod is never masqueraded towards a pod: its
 * node sees the reply.
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

#include "base/hash.h"
#include "net/peers.h"

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
    buf_printf(b, "add map ip %s %s_in { type %s : verdict ; }\n", t, p, types);
    buf_printf(b, "add map ip %s %s_ep { type %s . classid : ipv4_addr . inet_service ; }\n", t, p,
               types);
    buf_printf(b, "add map ip %s %s_pick { type %s . classid : classid ; }\n", t, p, types);
    buf_printf(b, "add map ip %s %s_id { type %s . classid : ipv4_addr . inet_service ; }\n", t, p,
               types);
    buf_printf(b,
               "add map ip %s %s_aff { type ipv4_addr . %s : classid ; size 65536 ; "
               "flags dynamic,timeout ; timeout 3h ; }\n",
               t, p, types);
    buf_printf(b, "add map ip %s %s_none { type %s : verdict ; }\n", t, p, types);
}

static void print_chains(struct buf *b, const struct net_rules_env *e)
{
    const char *t = e->table;
    static const char *const chains[][2] = {
        {"services", ""},
        {"services_in", ""},
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
 * fill its table) nor, so, any NAT. The port comes first: every packet is asked, and sets cost more
 * than a comparison. */
static void print_dns_rules(struct buf *b, const struct net_rules_env *e)
{
    static const char *const chains[] = {"guard", "guard_out"};
    if (!e->dns_address)
        return;
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        rule(b, e, chains[i], "th dport 53 ip daddr { %s, %s } meta l4proto { tcp, udp } notrack",
             e->dns_address, e->gateway);
    rule(b, e, "guard_out", "th sport 53 ip saddr { %s, %s } meta l4proto { tcp, udp } notrack",
         e->dns_address, e->gateway);
    /* While the agent is being restarted, silence: resolvers with one server take "nobody listens"
     * for the end and fail at once, but ask again when they hear nothing. */
    rule(b, e, "filter_output", "ip saddr %s icmp type destination-unreachable drop",
         e->dns_address);
    rule(b, e, "filter_output", "ip daddr %s accept", e->dns_address);
}

/* Nor do the packets that carry others: what is inside is tracked, and by the outer ports, which
 * differ each way, every flow would be two that stay new for ever: a lookup of each packet in maps
 * meant for first ones, and no packet at all once conntrack is full. */
static void print_vxlan_rules(struct buf *b, const struct net_rules_env *e)
{
    if (!e->vxlan_ip)
        return;
    rule(b, e, "guard", "ip daddr %s udp dport %d notrack", e->vxlan_ip, PEERS_VXLAN_PORT);
    rule(b, e, "guard_out", "ip saddr %s udp dport %d ip daddr != %s notrack", e->vxlan_ip,
         PEERS_VXLAN_PORT, e->service_cidr);
}

static void print_nat_rules(struct buf *b, const struct net_rules_env *e)
{
    rule(b, e, "guard", "iifname \"%s\" ip daddr 127.0.0.0/8 drop", e->bridge);
    /* Pods of another instance on this machine have their own services under the same addresses,
     * and their own addresses in the same range. */
    rule(b, e, "prerouting", "iifname \"%s\" goto services_in", e->bridge);
    rule(b, e, "prerouting", "iifname \"davit-*\" return");
    rule(b, e, "prerouting", "ip saddr %s goto services_in", e->cluster_cidr);
    rule(b, e, "prerouting", "goto services");
    rule(b, e, "output", "goto services_in");
    for (int in = 0; in < 2; in++) {
        const char *chain = in ? "services_in" : "services";
        if (in)
            rule(b, e, chain, "%s vmap @svc_in", key_expr[NET_FRONT_VIP]);
        rule(b, e, chain, "%s vmap @svc", key_expr[NET_FRONT_VIP]);
        rule(b, e, chain, "dnat ip to %s map @hp_ip", key_expr[NET_FRONT_VIP]);
        rule(b, e, chain, "fib daddr type != local return");
        if (in)
            rule(b, e, chain, "%s vmap @np_in", key_expr[NET_FRONT_NODEPORT]);
        rule(b, e, chain, "%s vmap @np", key_expr[NET_FRONT_NODEPORT]);
        rule(b, e, chain, "dnat ip to %s map @hp", key_expr[NET_FRONT_NODEPORT]);
    }

    rule(b, e, "postrouting", "ip saddr . ip daddr @hairpin masquerade");
    rule(b, e, "postrouting", "oifname \"%s\" ip saddr 127.0.0.0/8 masquerade", e->bridge);
    rule(b, e, "postrouting",
         "oifname != \"%s\" ip saddr %s ip daddr != %s masquerade fully-random", e->bridge,
         e->pod_cidr, e->cluster_cidr);
    rule(b, e, "postrouting",
         "ct status dnat ip daddr . meta l4proto . th dport @masq_ep masquerade");
    /* What leaves by another instance's bridge goes to a pod of this machine, by that one's DNAT.
     */
    rule(b, e, "postrouting",
         "oifname != \"davit-*\" ct status dnat ip saddr != %s ip daddr %s ip daddr != %s "
         "masquerade fully-random",
         e->cluster_cidr, e->cluster_cidr, e->pod_cidr);
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
        rule(b, e, hooks[i], "ct state new %s vmap @svc_none", key_expr[NET_FRONT_VIP]);
        rule(b, e, hooks[i], "ip daddr %s goto unserved", e->service_cidr);
    }
    rule(b, e, "filter_in", "ct state new %s vmap @svc_none", key_expr[NET_FRONT_VIP]);
    rule(b, e, "filter_in", "ct state new fib daddr type local %s vmap @np_none",
         key_expr[NET_FRONT_NODEPORT]);
    /* In and out of the same link: the kernel would tell pods of a shorter way that they must not
     * take. */
    rule(b, e, "filter_output", "oifname \"%s\" icmp type redirect drop", e->bridge);
}

static void print_all(const struct net_rules_env *e, struct buf *b)
{
    const char *t = e->table;
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
    buf_printf(b,
               "add set ip %s lb_ok { type ipv4_addr . inet_proto . inet_service . ipv4_addr ; "
               "flags interval ; }\n",
               t);
    print_chains(b, e);
    print_nat_rules(b, e);
    print_vxlan_rules(b, e);
    print_dns_rules(b, e);
    print_filter_rules(b, e);
}

/* Between the table and its elements, a client that asks for a Service should ask again a second
 * later, not be told that there is none. */
static const char *const holds[][2] = {{"hold_in", "prerouting"}, {"hold_out", "output"}};

void net_table_print(const struct net_rules_env *e, struct buf *b)
{
    const char *t = e->table;
    buf_printf(b, "add table ip %s\ndelete table ip %s\nadd table ip %s\n", t, t, t);
    print_all(e, b);
    for (size_t i = 0; i < ARRAY_LEN(holds); i++) {
        buf_printf(b, "add chain ip %s %s { type filter hook %s priority -310 ; }\n", t,
                   holds[i][0], holds[i][1]);
        rule(b, e, holds[i][0], "ip daddr %s drop", e->service_cidr);
    }
}

void net_table_release(const struct net_rules_env *e, struct buf *b)
{
    char shape[NFT_CHAIN_NAME_MAX];
    for (size_t i = 0; i < ARRAY_LEN(holds); i++)
        buf_printf(b, "flush chain ip %s %s\ndelete chain ip %s %s\n", e->table, holds[i][0],
                   e->table, holds[i][0]);
    buf_printf(b, "add chain ip %s %s\n", e->table, net_table_shape(e, shape));
}

/* The chains for endpoints are part of the shape, too: one of each kind stands for them. */
const char *net_table_shape(const struct net_rules_env *e, char out[static NFT_CHAIN_NAME_MAX])
{
    static const struct net_range any;
    struct buf b = {0};
    print_all(e, &b);
    for (unsigned i = 0; i < 16; i++)
        net_chain_print(e,
                        &(struct net_front){.kind = i & 1 ? NET_FRONT_NODEPORT : NET_FRONT_VIP,
                                            .inside = i & 2,
                                            .ranges = &any,
                                            .n_ranges = i & 4 ? 1 : 0,
                                            .affinity_s = i & 8 ? 10 : 0},
                        1, &b);
    snprintf(out, NFT_CHAIN_NAME_MAX, "shape-%08x", hash_fnv1a32(b.data, b.n));
    buf_fini(&b);
    return out;
}

/* ---- chains shared by all fronts with the same number of endpoints ---- */

void net_chain_name(const struct net_front *f, uint32_t n, char out[static NET_CHAIN_MAX])
{
    const char *p = f->kind == NET_FRONT_VIP ? "" : "np", *in = f->inside ? "in" : "",
               *src = f->n_ranges ? "src" : "";
    if (f->affinity_s)
        snprintf(out, NET_CHAIN_MAX, "%s%s%saff-%u-%u", p, in, src, n, f->affinity_s);
    else
        snprintf(out, NET_CHAIN_MAX, "%s%s%slb-%u", p, in, src, n);
}

void net_chain_print(const struct net_rules_env *e, const struct net_front *f, uint32_t n,
                     struct buf *b)
{
    char chain[NET_CHAIN_MAX];
    const char *p = net_map_prefix[f->kind], *key = key_expr[f->kind];
    net_chain_name(f, n, chain);
    buf_printf(b, "add chain ip %s %s\n", e->table, chain);
    if (f->n_ranges)
        rule(b, e, chain, "%s . ip saddr != @lb_ok drop", key_expr[NET_FRONT_VIP]);
    const char *pick = "meta priority set numgen random mod %u offset 0x%08x";
    if (!f->affinity_s) {
        rule(b, e, chain, pick, n, front_tag(f));
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
    rule(b, e, chain, pick, n, front_tag(f));
    rule(b, e, chain, "meta priority set %s . meta priority map @%s_pick", key, p);
    rule(b, e, chain, "update @%s_aff { ip saddr . %s timeout %us : meta priority }", p, key,
         f->affinity_s);
    rule(b, e, chain, "dnat ip to %s . meta priority map @%s_id", key, p);
}
