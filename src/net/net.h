/* The pod network of one node: a bridge, a veth pair a pod, an address pool, and the rules that
 * make Services work, all of it in the kernel (netlink, nftables); no helper process. Loop thread
 * only; short kernel calls are made on the loop, rule transactions on the pool.
 *
 * Several davit instances on one machine live side by side: everything is named after the
 * instance's id (bridge davit-<id>, nftables table "ip davit-<id>", links dv<hash>) and has its own
 * address range.
 *
 * Invariants
 * - A lease (DATA/net/leases/<pod uid>) is on disk before its address is used, and goes last.
 * - Killed at any moment, the next net_start finds its bridge, links, leases and rules and goes on;
 * rules stay in force until one transaction replaces them.
 * - What changed on the host outside of these names (sysctl ip_forward) is noted in /run/davit
 * before it is changed, and put back when the last instance is purged. */
#pragma once

#include "api/cluster.h"
#include "base/error.h"
#include "base/str.h"
#include "node/net_ops.h"

struct rt;
struct client;
struct net;
struct buf;

struct net_opts {
    struct rt *rt;         /* borrowed */
    struct client *client; /* borrowed; reads Services and EndpointSlices. NULL: pods get addresses,
                              no Services */
    const char *data_dir;  /* net keeps its state in data_dir/net; copied */
    const char *node_name; /* copied; for traffic policies "Local" */
    const char
        *pod_cidr; /* IPv4 range of this node, /16../29; NULL: what was used before, else a /24 of
                    * cluster_cidr chosen by the id that overlaps no address of the host */
    const char
        *cluster_cidr; /* of all pods of the cluster (never masqueraded); NULL: 10.128.0.0/10 */
    const char *service_cidr;   /* of ClusterIPs; NULL: 10.96.0.0/16 */
    const char *cluster_domain; /* NULL: cluster.local */
    const char *dns_address;    /* of the DNS Service, served by this node itself; NULL: the tenth
                                 * of service_cidr; "": none, pods use the node's name servers */
    const char *resolv_conf;    /* the name servers that names outside are asked for; NULL:
                                 * /etc/resolv.conf */
    unsigned mtu; /* 0: that of the link of the default route, else 1500, less what the
                     way to other nodes adds */
    /* Other nodes. node_ip NULL: there are none, and no way is made to them. */
    const char *node_ip; /* of this node; copied */
    enum cluster_network network;
    uint32_t vni;
};

/* Reads or chooses the configuration; touches nothing of the host yet. */
int net_new(const struct net_opts *opts, struct net **ret, struct error *err) MUST_CHECK;
/* Makes bridge, sysctls and the base rules, follows Services from now on. Needs CAP_NET_ADMIN. */
int net_start(struct net *n, struct error *err) MUST_CHECK;
/* Stops following; everything stays as it is in the kernel. Calls `stopped` once, from the loop,
 * when no transaction is under way any more; then net_free. */
void net_stop(struct net *n, void (*stopped)(void *arg), void *arg);
struct net *
net_free(struct net *n); /* after stopped, or before net_start; takes NULL; returns NULL */

/* What node_opts.net_ops takes, with node_opts.net = the struct net. */
extern const struct node_net_ops net_node_ops;

const char *net_id(const struct net *n);       /* 8 hex digits of the data directory's real path */
const char *net_bridge(const struct net *n);   /* "davit-1a2b3c4d" */
const char *net_pod_cidr(const struct net *n); /* "10.130.7.0/24" */
const char *
net_gateway(const struct net *n); /* the host's address on the bridge: where pods reach the host */

/* Rules as they should be are in the kernel (for tests and readiness). */
bool net_rules_settled(const struct net *n);
/* And flows that they would not make any more are deleted. */
bool net_flows_settled(const struct net *n);
/* Text dump for `davit debug`. */
void net_dump(const struct net *n, struct buf *out);

/* `davit down`: removes bridge, links, table, leases, and puts back sysctls. Nothing there: 0.
 * Blocking; no agent of this data_dir may run. */
int net_purge(const char *data_dir, struct error *err) MUST_CHECK;
