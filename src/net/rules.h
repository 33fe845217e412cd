/* The rules in force, and how to get from them to the ones wanted: a differ that writes nftables
 * commands for what changed and nothing else. Knows the shape of the table; knows neither caches
 * nor the kernel. */
#pragma once

#include "base/buf.h"
#include "base/catalog.h"
#include "base/map.h"
#include "net/plan.h"
#include "sys/nft_elem.h"

struct net_rules_env { /* borrowed strings; all must be fit for nft text */
    const char *table; /* "davit-1a2b3c4d" */
    const char *bridge;
    const char *pod_cidr, *cluster_cidr, *service_cidr;
    const char *dns_address, *gateway; /* where the node's name server listens; NULL: nowhere */
    const char *vxlan_ip;              /* whence and where VXLAN packets go; NULL: there are none */
};

struct net_rules;
struct net_rules *net_rules_new(const struct net_rules_env *env); /* copies */
struct net_rules *net_rules_free(struct net_rules *r);            /* takes NULL; returns NULL */

/* Flows to delete once the transaction is through: those to this front that were sent to this
 * endpoint (ep.ip 0: to whomever). */
struct net_flow_gone {
    struct net_front front; /* eps and ranges unset */
    struct net_endpoint ep;
};

/* The maps and sets that change. */
enum net_map {
    NET_MAP_SVC,    /* front -> chain that picks an endpoint */
    NET_MAP_SVC_IN, /* the same for clients inside, where they are served otherwise */
    NET_MAP_SVC_EP,
    NET_MAP_SVC_PICK,
    NET_MAP_SVC_ID,
    NET_MAP_SVC_NONE, /* front without an endpoint -> refusal or silence */
    NET_MAP_NP,
    NET_MAP_NP_IN,
    NET_MAP_NP_EP,
    NET_MAP_NP_PICK,
    NET_MAP_NP_ID,
    NET_MAP_NP_NONE, /* same order: + NET_MAP_NP */
    NET_MAP_HP,
    NET_MAP_HP_IP,
    NET_MAP_HAIRPIN,
    NET_MAP_MASQ_EP,
    NET_MAP_LB_OK, /* front . client range */
    _NET_MAP_MAX,
};

struct net_elems {
    struct nft_elem *v; /* owned */
    size_t n, cap;
};

struct net_chain {    /* of the table, shared by fronts alike */
    const char *name; /* borrowed from the rules, which keep it */
    char *text;       /* owned; the commands that make it */
};

struct net_batch {            /* changes of one transaction, gathered; zeroed is empty */
    struct net_chain *chains; /* owned; go first */
    size_t n_chains, cap_chains;
    struct net_elems removed[_NET_MAP_MAX], added[_NET_MAP_MAX]; /* removals go before */
    struct net_flow_gone *gone;                                  /* owned */
    size_t n_gone, cap_gone;
    size_t changes;
};
void net_batch_fini(struct net_batch *b);
/* As nft would be told, for people and tests; appends to out. */
void net_batch_print(const struct net_batch *b, const char *table, struct buf *out);
const char *net_map_name(enum net_map map);

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

/* The table without what is in its maps, as commands; `held` keeps new connections to Services
 * waiting until net_table_release. The
 * last commands, once the maps are filled: let go, and mark the table as complete by the chain
 * net_table_shape names (another davit has another shape). */
void net_table_print(const struct net_rules_env *e, struct buf *b);
void net_table_release(const struct net_rules_env *e, struct buf *b);
const char *net_table_shape(const struct net_rules_env *e, char out[static NFT_CHAIN_NAME_MAX]);

/* Makes the chains for few endpoints part of what is wanted, so that the first Service with so many
 * need not wait for libnftables. Before anything else is wanted. */
void net_rules_common(struct net_rules *r);
/* All that is wanted, as additions to empty maps. */
void net_rules_wanted(struct net_rules *r, struct net_batch *b);
const struct net_rules_env *net_rules_env(const struct net_rules *r);
size_t net_rules_fronts(const struct net_rules *r);
void net_rules_dump(struct net_rules *r, struct buf *out);
