/* The rules in force, and how to get from them to the ones wanted: a differ that writes nftables
 * commands for what changed and nothing else. Knows the shape of the table; knows neither caches
 * nor the kernel. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "net/plan.h"

struct net_rules_env { /* borrowed strings; all must be fit for nft text */
    const char *table; /* "davit-1a2b3c4d" */
    const char *bridge;
    const char *pod_cidr, *cluster_cidr, *service_cidr;
    const char *dns_address, *gateway; /* where the node's name server listens; NULL: nowhere */
};

struct net_rules;
struct net_rules *net_rules_new(const struct net_rules_env *env); /* copies */
struct net_rules *net_rules_free(struct net_rules *r);            /* takes NULL; returns NULL */

/* UDP flows to delete once the transaction is through: those to this front that were sent to this
 * endpoint (ep.ip 0: to whomever). */
struct net_udp_gone {
    struct net_front front; /* eps unset */
    struct net_endpoint ep;
};

/* The maps and sets that change. */
enum net_map {
    NET_MAP_SVC,
    NET_MAP_SVC_EP,
    NET_MAP_SVC_PICK,
    NET_MAP_SVC_ID,
    NET_MAP_SVC_REJECT,
    NET_MAP_NP,
    NET_MAP_NP_EP,
    NET_MAP_NP_PICK,
    NET_MAP_NP_ID,
    NET_MAP_NP_REJECT, /* same order: + NET_MAP_NP */
    NET_MAP_HP,
    NET_MAP_HP_IP,
    NET_MAP_HAIRPIN,
    NET_MAP_MASQ_EP,
    _NET_MAP_MAX,
};

struct net_batch {     /* changes of one transaction, gathered; zeroed is empty */
    struct buf chains; /* new chains and their rules; go first */
    struct buf removed[_NET_MAP_MAX],
        added[_NET_MAP_MAX];  /* elements, comma separated; removals go before */
    struct net_udp_gone *udp; /* owned */
    size_t n_udp, cap_udp;
    unsigned changes;
};
void net_batch_fini(struct net_batch *b);
/* The whole transaction as text; appends to out. */
void net_batch_print(const struct net_batch *b, const char *table, struct buf *out);

/* Wants `plan` for the service `key` ("ns/name"); an empty plan takes it away. A front that another
 * service has already is left to that one, and given to this one when it becomes free. */
void net_rules_service(struct net_rules *r, struct str key, const struct net_plan *plan,
                       struct net_batch *b);

struct net_host_port {
    uint32_t host_ip; /* 0: every address of the node */
    uint16_t host_port, pod_port;
    uint8_t proto;
};
/* Wants this pod (by uid) with its address and host ports; ip 0 takes it away. */
void net_rules_pod(struct net_rules *r, struct str uid, uint32_t ip,
                   const struct net_host_port *ports, size_t n, struct net_batch *b);

/* Commands that make the table anew with all that is wanted, in one transaction, whatever is in the
 * kernel. keep: the affinity of clients survives (fails when the table has another shape; then
 * without). */
void net_rules_full(const struct net_rules *r, bool keep, struct buf *out);
size_t net_rules_fronts(const struct net_rules *r);
void net_rules_dump(const struct net_rules *r, struct buf *out);
