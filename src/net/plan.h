/* From what the API says of a Service to what a packet needs to know. Pure: no kernel, no clock, no
 * state. */
#pragma once

#include "api/types.gen.h"
#include "base/arena.h"
#include "sys/ip.h"

#define NET_ENDPOINTS_MAX      4096 /* of one front; further ones get no traffic */
#define NET_AFFINITY_DEFAULT_S 10800
#define NET_LB_CLASS           "davit.dev/node" /* load balancers of ours; or no class at all */

struct net_endpoint {
    uint32_t ip; /* host order */
    uint16_t port;
    bool remote; /* not a pod of this cluster: whoever asks must be masqueraded */
};

enum net_front_kind {
    NET_FRONT_VIP,      /* address and port: ClusterIP, external IP, load balancer's address */
    NET_FRONT_NODEPORT, /* port on every address of the node */
};

/* One thing that clients connect to. The first five say which. */
struct net_front {
    uint32_t ip; /* VIP only */
    uint16_t port;
    uint8_t proto; /* IPPROTO_* */
    uint8_t kind;  /* enum net_front_kind */
    /* For pods and this node only; the front without it is then for the rest.
     * (externalTrafficPolicy Local: those outside get the endpoints of this node, those inside
     * all.) */
    bool inside;
    bool silent;         /* without endpoints: packets are dropped, not refused */
    uint32_t affinity_s; /* 0: none */
    uint32_t n_ranges, n_eps;
    const struct net_range *ranges; /* VIP: clients that may; sorted, disjoint; none: all */
    struct net_endpoint
        *eps; /* sorted by address and port, no duplicates; none: connections are refused */
};

struct net_range {
    uint32_t first, last; /* host order, inclusive */
};

struct net_plan {
    struct net_front *v; /* in the arena */
    size_t n;
    uint16_t health_port; /* 0: none */
    uint32_t n_local;     /* ready endpoints on this node, for the health check */
};

#define NET_NODE_ADDRESSES_MAX 16

struct net_plan_env {
    struct str node_name;
    struct ip_prefix cluster_cidr;
    struct str dns_address; /* the Service of this address is served by the node itself */
    /* From this node's own object; borrowed. */
    struct str zone;
    uint32_t addresses[NET_NODE_ADDRESSES_MAX];
    uint32_t n_addresses;
};

/* What the service with these slices (all of its own, any order) should look like. Everything
 * malformed is left out: the API server checks, but a rule made of garbage would fail the whole
 * transaction. */
void net_plan_service(const struct api_service *svc, const struct api_endpoint_slice *const *slices,
                      size_t n_slices, const struct net_plan_env *env, struct arena *a,
                      struct net_plan *ret);

int net_proto_parse(struct str s); /* "" and "TCP", "UDP", "SCTP" -> IPPROTO_*; -EINVAL */
