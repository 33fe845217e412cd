/* Shared inside src/net. */
#pragma once

#include "client/cache.h"
#include "net/apply.h"
#include "net/dns/dns.h"
#include "net/health.h"
#include "net/lease.h"
#include "net/net.h"
#include "net/peers.h"
#include "net/policy/watch.h"
#include "net/rules.h"
#include "net/sweep.h"
#include "rt/rt.h"
#include "sys/netlink.h"
#include "sys/nft.h"

struct net_config { /* DATA/net/config: what must not change while pods run */
    char id[9];
    char bridge[16], table[16]; /* both "davit-<id>" */
    char pod_cidr[IP_PREFIX_TEXT_MAX];
    struct ip_prefix range;
};

struct service_dirty; /* an entry of the set of services to look at again */

struct net {
    struct rt *rt;         /* borrowed */
    struct client *client; /* borrowed; may be NULL */
    char *dir;             /* owned; data_dir/net */
    char *cache_dir;       /* owned; what the caches know, for when the server is away */
    int dirfd;
    char *node_name, *cluster_cidr, *service_cidr, *cluster_domain, *dns_address; /* owned */
    char *resolv_conf;
    char gateway[IP_TEXT_MAX];
    unsigned mtu;
    struct ip_addr node_ip; /* family 0: no other nodes */
    enum cluster_network network;
    uint32_t vni;
    struct peers *peers; /* owned; NULL: none */
    struct net_config config;
    struct pool pool;
    struct nl *nl; /* owned; host namespace */
    int bridge_index;
    bool started, stopping;

    /* services.c */
    struct net_plan_env plan_env;
    struct client_cache *services, *slices; /* owned */
    struct client_cache *nodes;             /* owned; this node's own */
    int slices_by_service;
    struct net_rules *rules; /* owned */
    struct catalog dirty;    /* of struct service_dirty, by key */
    struct dns *dns;         /* owned; NULL: none */
    bool dns_synced;
    struct net_batch batch; /* gathered, not sent */
    struct rt_task flush;   /* late: a turn's changes are one transaction */
    struct rt_timer retry;
    struct rt_timer trust; /* until then rules of the last run are taken for newer than a file */
    struct rt_work work;
    struct nl *nft_nl; /* owned; used by the work only */
    bool busy;         /* a transaction is under way */
    bool table_made;   /* some table of ours is in the kernel */
    bool full_needed, full_anew;
    unsigned failures;
    struct net_tx tx; /* the one under way */
    int tx_result;
    struct net_sweep sweep;
    char *zone; /* owned; plan_env's */
    uint64_t transactions, elements;
    nsec_t last_took; /* of the last transaction */

    struct health *health; /* owned; health.c */

    struct net_policy *policy; /* owned; policy/watch.h */

    struct map ops; /* uid -> struct pod_op under way (ops.c) */

    struct rt_task say_stopped;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

void net_stopped_check(struct net *n); /* whether net_stop is through */
/* Of a cache; heap. */
char *net_cache_file(const struct net *n, const char *name);

/* ---- config.c ---- */
int config_load(struct net *n, const char *data_dir, const char *pod_cidr, const char *cluster_cidr,
                struct error *err) MUST_CHECK;
/* A /24 of the cluster's range that no address of this host overlaps: the first, or after passing
 * over `skip` of them, in an order of this data directory's own. */
int net_pick_range(const char *data_dir, const char *cluster_cidr, unsigned skip,
                   char out[static IP_PREFIX_TEXT_MAX], struct error *err) MUST_CHECK;
/* 1: `range` overlaps an address of this host that is not on `bridge`; 0: it does not. */
int net_range_in_use(const struct ip_prefix *range, const char *bridge) MUST_CHECK;
int config_id(const char *data_dir, char ret[9]) MUST_CHECK; /* -ENOENT: no such directory */
/* Sets a sysctl of the host, noting what it was first (once for all instances). */
int host_sysctl_set(const char *name, const char *value, struct error *err) MUST_CHECK;
/* Puts all noted ones back; for the last instance. */
int host_sysctls_restore(void) MUST_CHECK;

/* ---- attach.c: attach_pod and detach_pod run on any thread; they read what is fixed after
 * net_start ---- */
int bridge_make(struct net *n, struct error *err) MUST_CHECK;
int attach_pod(const struct net *n, struct str uid, uint32_t ip, const char *netns_path,
               struct error *err) MUST_CHECK;
int detach_pod(const struct net *n, struct str uid, uint32_t ip, struct error *err) MUST_CHECK;
void mac_of(uint32_t ip, uint8_t mac[6]); /* of a pod, and of the bridge, by their addresses */
void veth_name(const struct net_config *c, struct str uid, char out[static LINK_NAME_MAX]);

/* ---- services.c ---- */
int services_start(struct net *n, struct error *err) MUST_CHECK;
void services_stop(struct net *n);
void services_pod_changed(struct net *n, struct str uid, uint32_t ip,
                          const struct net_host_port *ports, size_t n_ports);
