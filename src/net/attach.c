/* The bridge, and a pod's place on it. Every step asks first or takes "exists" for an answer, so
 * that all of it can be run again over whatever an interrupted run left. A pod sees one address
 * with /32 and a default route through the host; see table.c for why even neighbours talk through
 * the host. */
#include <arpa/inet.h>
#include <net/if.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net/net_internal.h"
#include "sys/netns.h"
#include "sys/sysctls.h"

#define POD_LINK "eth0"

static int fail(struct error *err, int r, const char *what)
{
    return error_errno(err, -r, "net: %s", what);
}

static int exists_ok(int r)
{
    return r == -EEXIST ? 0 : r;
}

void mac_of(uint32_t ip, uint8_t mac[6])
{
    /* Locally administered, derived from the address: stable over every repair. */
    const uint8_t m[6] = {
        0x0a, 0x58, (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip};
    memcpy(mac, m, 6);
}

void veth_name(const struct net_config *c, struct str uid, char out[static LINK_NAME_MAX])
{
    char *text = xasprintf("%s/%.*s", c->id, STR_ARG(uid));
    snprintf(out, LINK_NAME_MAX, "dv%012llx",
             (unsigned long long)(hash_fnv1a64(text, strlen(text)) & UINT64_C(0xffffffffffff)));
    free(text);
}

/* ---- bridge ---- */

/* Loopback sources and destinations on the bridge: NodePorts at 127.0.0.1 and a server that listens
 * there. Ours, so nothing needs to be put back. */
static int bridge_sysctls(const struct net *n)
{
    char name[128];
    snprintf(name, sizeof(name), "net/ipv4/conf/%s/route_localnet", n->config.bridge);
    int r = sysctl_set(name, "1");
    if (r == 0) {
        snprintf(name, sizeof(name), "net/ipv4/conf/%s/send_redirects", n->config.bridge);
        r = sysctl_set(name, "0");
    }
    return r;
}

static int bridge_routes(struct net *n)
{
    struct ip_prefix services;
    struct ip_addr gw = ip4_from_number(n->pool.gateway);
    if (ip_prefix_parse(str_z(n->service_cidr), &services) < 0)
        return -EINVAL;
    uint32_t mask = services.bits ? ~((UINT64_C(1) << (32 - services.bits)) - 1) : 0;
    services.addr = ip4_from_number(ip4_number(&services.addr) & mask);
    /* So that the host has a route and a source address for Services even without a default route.
     * The metric is our own: another instance may have the same range of Services. */
    struct nl_route r = {
        .dst = services,
        .src = gw,
        .index = n->bridge_index,
        .link_scope = true,
        .metric = 1000 + (uint32_t)strtoul(n->config.id, NULL, 16) % 1000000,
    };
    return exists_ok(nl_route_add(n->nl, &r));
}

int bridge_make(struct net *n, struct error *err)
{
    struct nl_link link;
    uint8_t mac[6];
    mac_of(n->pool.gateway, mac);
    int r = exists_ok(nl_link_add_bridge(n->nl, n->config.bridge, mac));
    if (r == 0)
        r = nl_link_get(n->nl, n->config.bridge, &link);
    if (r < 0)
        return fail(err, r, "making the bridge");
    if (strcmp(link.kind, "bridge") != 0)
        return error_set(err, REASON_CONFLICT, "net: link %s exists and is no bridge",
                         n->config.bridge);
    n->bridge_index = link.index;
    struct ip_prefix gw = {.addr = ip4_from_number(n->pool.gateway), .bits = n->config.range.bits};
    r = bridge_sysctls(n);
    if (r == 0)
        r = exists_ok(nl_addr_add(n->nl, link.index, &gw));
    struct ip_prefix dns = {.bits = 32};
    if (r == 0 && n->dns_address && ip_parse(str_z(n->dns_address), &dns.addr) == 0)
        r = exists_ok(nl_addr_add(n->nl, link.index, &dns));
    if (r == 0)
        r = nl_link_set(n->nl, link.index, &(struct nl_link_change){.up = true, .mtu = n->mtu});
    if (r == 0)
        r = bridge_routes(n);
    return r < 0 ? fail(err, r, "setting up the bridge") : 0;
}

/* ---- a pod ---- */

/* Inside the pod's namespace. */
static int pod_side(const struct net *n, uint32_t ip, int netns_fd)
{
    CLEANUP(nl_closep) struct nl *nl = NULL;
    struct nl_link eth;
    struct ip_prefix addr = {.addr = ip4_from_number(ip), .bits = 32};
    struct ip_addr gw = ip4_from_number(n->pool.gateway);
    int r = nl_open(netns_fd, &nl);
    if (r == 0)
        r = nl_link_get(nl, POD_LINK, &eth);
    if (r == 0)
        r = exists_ok(nl_addr_add(nl, eth.index, &addr));
    if (r == 0)
        r = nl_link_set(nl, eth.index, &(struct nl_link_change){.up = true});
    struct nl_route to_gw = {
        .dst = {.addr = gw, .bits = 32}, .index = eth.index, .link_scope = true};
    struct nl_route all = {.dst = {.addr = {.family = AF_INET}}, .via = gw, .index = eth.index};
    if (r == 0)
        r = exists_ok(nl_route_add(nl, &to_gw));
    if (r == 0)
        r = exists_ok(nl_route_add(nl, &all));
    return r;
}

/* 1: the pod's end is there, 0: it is not. With `remove` it is taken away. */
static int pod_link(int netns_fd, bool remove)
{
    CLEANUP(nl_closep) struct nl *nl = NULL;
    struct nl_link eth;
    int r = nl_open(netns_fd, &nl);
    if (r == 0)
        r = nl_link_get(nl, POD_LINK, &eth);
    if (r < 0)
        return r == -ENODEV ? 0 : r;
    r = remove ? nl_link_del(nl, eth.index) : 0;
    return r < 0 ? r : 1;
}

/* An end without its other end in this namespace is left over (from a sandbox made anew, or a pod
 * that had the namespace before) and goes. */
static int make_pair(const struct net *n, struct nl *nl, const char *name, uint32_t ip,
                     int netns_fd, struct nl_link *ret)
{
    uint8_t mac[6];
    mac_of(ip, mac);
    int r = nl_link_get(nl, name, ret);
    bool host = r == 0;
    int pod = r == 0 || r == -ENODEV ? pod_link(netns_fd, !host) : r;
    if (pod < 0)
        return pod;
    if (host && pod)
        return 0;
    r = host ? nl_link_del(nl, ret->index) : 0;
    if (r == 0)
        r = nl_link_add_veth(nl, name, n->mtu, POD_LINK, netns_fd, mac);
    return r < 0 ? r : nl_link_get(nl, name, ret);
}

static int host_side(const struct net *n, struct nl *nl, const struct nl_link *link, uint32_t ip,
                     bool fresh)
{
    uint8_t mac[6];
    struct ip_addr addr = ip4_from_number(ip);
    mac_of(ip, mac);
    /* Packets to the address that came before it was anybody's wait for somebody to answer for it:
     * they have passed the rules of nobody, so they must not reach the pod. */
    if (fresh)
        (void)!nl_neigh_del(nl, n->bridge_index, &addr, NULL, false);
    int r = nl_neigh_set(nl, n->bridge_index, &addr, mac, false);
    if (r == 0)
        r = nl_link_set(nl, link->index,
                        &(struct nl_link_change){.up = true, .master_index = n->bridge_index});
    /* With br_netfilter a packet to a Service may be bridged straight back to its pod: hairpin. */
    if (r == 0)
        r = nl_link_set_port(
            nl, link->index,
            &(struct nl_port){.hairpin = 1, .isolated = -1, .learning = -1, .flood = -1});
    return r;
}

int attach_pod(const struct net *n, struct str uid, uint32_t ip, const char *netns_path,
               struct error *err)
{
    char name[LINK_NAME_MAX];
    struct nl_link link;
    CLEANUP(fd_closep) int ns = -1;
    CLEANUP(nl_closep) struct nl *nl = NULL;
    int r = netns_open(netns_path, &ns);
    if (r < 0)
        return error_errno(err, -r, "net: namespace %s", netns_path);
    r = nl_open(-1, &nl);
    if (r < 0)
        return fail(err, r, "netlink");
    veth_name(&n->config, uid, name);
    bool fresh = nl_link_get(nl, name, &link) == -ENODEV;
    r = make_pair(n, nl, name, ip, ns, &link);
    if (r < 0)
        return fail(err, r, "making the pod's link");
    r = pod_side(n, ip, ns);
    if (r < 0)
        return fail(err, r, "configuring the pod's end of the link");
    r = host_side(n, nl, &link, ip, fresh);
    return r < 0 ? fail(err, r, "configuring the host's end of the link") : 0;
}

int detach_pod(const struct net *n, struct str uid, uint32_t ip, struct error *err)
{
    char name[LINK_NAME_MAX];
    struct nl_link link;
    CLEANUP(nl_closep) struct nl *nl = NULL;
    int r = nl_open(-1, &nl);
    veth_name(&n->config, uid, name);
    if (r == 0)
        r = nl_link_get(nl, name, &link);
    if (r == 0)
        r = nl_link_del(nl, link.index);
    if (r == -ENODEV)
        r = 0;
    if (r == 0 && ip) {
        struct ip_addr addr = ip4_from_number(ip);
        (void)!nl_neigh_del(nl, n->bridge_index, &addr, NULL, false);
    }
    return r < 0 ? fail(err, r, "removing the pod's link") : 0;
}
