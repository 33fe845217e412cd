/* rtnetlink over libmnl: links, addresses, routes, neighbours, and conntrack entries. Blocking, but
 * the kernel answers inside the send: microseconds, fit for the loop.
 *
 * Every call returns 0 or a negative errno as the kernel gave it (-EEXIST, -ENODEV, -EPERM ...).
 * A struct nl belongs to one thread at a time and stays bound to the network namespace in which it
 * was opened. */
#pragma once

#include "base/base.h"
#include "sys/ip.h"

struct nl;
/* netns_fd -1: the caller's namespace; else an open namespace file (borrowed), entered only for the
 * moment of opening. */
int nl_open(int netns_fd, struct nl **ret) MUST_CHECK;
struct nl *nl_close(struct nl *nl); /* takes NULL; returns NULL */
void nl_closep(struct nl **nl);

#define LINK_NAME_MAX 16 /* IFNAMSIZ, with the NUL */

struct nl_link {
    int index;
    int peer_index;   /* IFLA_LINK: a veth's other end (in its namespace); 0: none */
    int master_index; /* 0: none */
    unsigned flags;   /* IFF_* */
    unsigned mtu;
    uint8_t mac[6];
    char name[LINK_NAME_MAX];
    char kind[16]; /* "bridge", "veth", "" ... */
};
int nl_link_get(struct nl *nl, const char *name, struct nl_link *ret) MUST_CHECK; /* -ENODEV */
typedef void (*nl_link_fn)(void *arg, const struct nl_link *link);
int nl_link_list(struct nl *nl, nl_link_fn fn, void *arg) MUST_CHECK;

int nl_link_add_bridge(struct nl *nl, const char *name,
                       const uint8_t *mac /* or NULL */) MUST_CHECK;
/* The peer appears under peer_name in the namespace of peer_netns_fd (-1: the same one). */
int nl_link_add_veth(struct nl *nl, const char *name, unsigned mtu, const char *peer_name,
                     int peer_netns_fd, const uint8_t *peer_mac) MUST_CHECK;
int nl_link_add_vxlan(struct nl *nl, const char *name, uint32_t vni, uint16_t port,
                      const struct ip_addr *local, int dev_index, unsigned mtu) MUST_CHECK;
/* Another address of this host for the tunnel's packets; entries stay. */
int nl_link_set_vxlan_local(struct nl *nl, int index, const struct ip_addr *local) MUST_CHECK;
int nl_link_del(struct nl *nl, int index) MUST_CHECK;

struct nl_link_change {
    bool up, down;
    unsigned mtu;       /* 0: as is */
    int master_index;   /* 0: as is, -1: none */
    const char *rename; /* NULL: as is; the link must be down */
    const uint8_t *mac; /* NULL: as is */
    int netns_fd;       /* moves it; 0 or -1: stays */
};
int nl_link_set(struct nl *nl, int index, const struct nl_link_change *change) MUST_CHECK;

struct nl_port { /* of a bridge port; -1: as is, 0 off, 1 on */
    int hairpin, isolated, learning, flood;
};
int nl_link_set_port(struct nl *nl, int index, const struct nl_port *port) MUST_CHECK;

int nl_addr_add(struct nl *nl, int index, const struct ip_prefix *addr) MUST_CHECK; /* -EEXIST */
int nl_addr_del(struct nl *nl, int index, const struct ip_prefix *addr) MUST_CHECK;
typedef void (*nl_addr_fn)(void *arg, int index, const struct ip_prefix *addr);
int nl_addr_list(struct nl *nl, int family, nl_addr_fn fn,
                 void *arg) MUST_CHECK; /* family 0: all */

struct nl_route {
    struct ip_prefix dst;    /* bits 0 with the family set: default */
    struct ip_addr via, src; /* family 0: none */
    int index;               /* output link; 0: none */
    uint32_t metric;         /* 0: the kernel's */
    uint8_t protocol;        /* RTPROT_*; 0: RTPROT_STATIC */
    bool link_scope, onlink;
};
int nl_route_add(struct nl *nl, const struct nl_route *r) MUST_CHECK; /* -EEXIST */
int nl_route_replace(struct nl *nl, const struct nl_route *r) MUST_CHECK;
int nl_route_del(struct nl *nl, const struct nl_route *r) MUST_CHECK; /* -ESRCH */
typedef void (*nl_route_fn)(void *arg, const struct nl_route *r);
/* Unicast routes of the main table. */
int nl_route_list(struct nl *nl, int family, nl_route_fn fn, void *arg) MUST_CHECK;
/* How the kernel would send to dst: output link, source, and via (family 0: dst is on the link). */
int nl_route_get(struct nl *nl, const struct ip_addr *dst, struct nl_route *ret) MUST_CHECK;
/* The output link and source address the kernel would use towards dst. */
int nl_route_lookup(struct nl *nl, const struct ip_addr *dst, int *ret_index,
                    struct ip_addr *ret_src) MUST_CHECK;

/* Permanent neighbour entry (ARP/ND), or with `fdb` a bridge/vxlan forwarding entry mac -> dst. */
int nl_neigh_set(struct nl *nl, int index, const struct ip_addr *dst, const uint8_t mac[6],
                 bool fdb) MUST_CHECK;
int nl_neigh_del(struct nl *nl, int index, const struct ip_addr *dst, const uint8_t mac[6],
                 bool fdb) MUST_CHECK;

/* ---- conntrack (ctnetlink; opens its own socket in the caller's namespace) ---- */

struct conntrack_flow {                /* what of an IPv4 entry a filter looks at */
    uint8_t proto;                     /* IPPROTO_* */
    struct ip_addr orig_src, orig_dst; /* as the client sent it */
    uint16_t orig_sport, orig_dport;   /* host order */
    struct ip_addr reply_src;          /* who answers: the endpoint after DNAT */
    uint16_t reply_sport;
    bool replied; /* something came back */
};
typedef bool (*conntrack_match_fn)(void *arg, const struct conntrack_flow *f);
/* Which entries match is asked about. The kernel passes over the others itself, which is what makes
 * a full table cheap; one that is too old for that (before 5.8 and 5.17) shows them as well. */
struct conntrack_scope {
    bool unreplied;                  /* only those */
    const struct ip_addr *reply_src; /* only those of this one; NULL: of anybody */
};
/* Deletes every IPv4 entry of the scope that match says so, of the table and again right before it
 * is deleted. Cost: a walk of the table. Returns how many. */
int conntrack_delete(const struct conntrack_scope *scope, conntrack_match_fn match,
                     void *arg) MUST_CHECK;
