/* Paths to the pods of other nodes. Every node has a range of pod addresses (spec.podCIDR) and an
 * address of its own (InternalIP); per other node there is one route:
 *
 *   vxlan   RANGE via the range's gateway dev dvx<id>, with a permanent neighbour (gateway -> MAC)
 * and a forwarding entry (MAC -> address of the node): nothing is asked for on the wire, the MAC
 * follows from the range (0e:58: and the gateway's address) direct  RANGE via the node's address,
 * for nodes on a link we share (--network=routes, auto)
 *
 * Routes carry our own protocol number and the instance's metric, so what a former life left is
 * found again and instances on one host do not meet. Nothing is taken away before the list of nodes
 * is known, and what is in the kernel works on without the agent. Loop thread. */
#pragma once

#include "api/cluster.h"
#include "client/cache.h"
#include "sys/netlink.h"

struct peers;

struct peers_opts {
    struct rt *rt;         /* borrowed, as all of it */
    struct client *client; /* reads Nodes */
    const char *id;        /* of the instance, 8 hex digits */
    const char *node_name; /* our own is no peer */
    struct ip_prefix range;
    struct ip_addr gateway, node_ip;
    enum cluster_network network;
    uint32_t vni;
    unsigned mtu;     /* of pods */
    const char *file; /* of the cache of Nodes */
};

/* Makes the VXLAN link where the network may need one. */
int peers_new(const struct peers_opts *opts, struct peers **ret, struct error *err) MUST_CHECK;
struct peers *
peers_free(struct peers *p); /* leaves everything in the kernel; takes NULL; returns NULL */
bool peers_settled(const struct peers *p); /* the kernel has what the Nodes say */
void peers_dump(const struct peers *p, struct buf *out);

#define PEERS_VXLAN_PORT 8472

/* Bytes VXLAN adds to a packet: pods' MTU is smaller by them. */
#define PEERS_VXLAN_OVERHEAD 50

void peers_link_name(const char *id, char out[static LINK_NAME_MAX]); /* "dvx1a2b3c4d" */
uint32_t peers_metric(const char *id);
/* Removes link and routes of the instance. */
int peers_purge(struct nl *nl, const char *id) MUST_CHECK;
