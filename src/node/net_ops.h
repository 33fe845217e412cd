/* What the node agent needs from the pod network, as a table of functions. src/net implements it,
 * src/main (or cli) puts it into struct node_opts; the two folders never include each other
 * otherwise (src/net includes this header alone).
 *
 * All calls are made on the agent's loop thread. The three asynchronous calls answer exactly once,
 * never from inside the call. All are idempotent: the agent repeats them after it was killed in the
 * middle.
 *
 * The network namespace belongs to the agent: it is made before pod_attach (with `lo` up) and
 * destroyed after pod_detach answered. The path is a bind mount of nsfs (open it and setns; it is
 * visible in the mount namespace of the agent's process). Pods with hostNetwork are never attached.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct client_cache;

enum node_net_protocol {
    NODE_NET_TCP,
    NODE_NET_UDP,
    NODE_NET_SCTP,
};

struct node_net_port {
    uint16_t host_port, container_port; /* neither 0 */
    enum node_net_protocol protocol;
    struct str host_ip; /* absent or empty: every address of the node */
};

struct node_net_pod {
    struct str uid, ns, name;
    const char *netns_path;
    const struct node_net_port *ports; /* only those with a hostPort */
    size_t n_ports;
    uint64_t ingress_bps,
        egress_bps; /* 0: no limit (annotations kubernetes.io/{in,e}gress-bandwidth) */
};

#define NODE_NET_IPS_MAX 4

/* r == 0: the pod's addresses, text without prefix length, the first is status.podIP. */
struct node_net_attached {
    int r;
    const struct error *err; /* borrowed; set when r < 0 */
    struct str ips[NODE_NET_IPS_MAX];
    size_t n_ips;
};

typedef void (*node_net_attached_fn)(void *arg, const struct node_net_attached *a);
typedef void (*node_net_done_fn)(void *arg, int r, const struct error *err);

struct node_net_ops {
    /* All views in `pod` are borrowed until the call returns. Attaching what is attached answers
     * with the address it has (and repairs what is missing); an address is kept over restarts until
     * pod_detach. */
    void (*pod_attach)(void *net, const struct node_net_pod *pod, node_net_attached_fn done,
                       void *arg);
    /* Takes away veth, address, host ports. The namespace may be gone already. Unknown uid:
     * done(0). */
    void (*pod_detach)(void *net, struct str uid, node_net_done_fn done, void *arg);
    /* Calls emit for every attached pod (what the persisted pool knows), before any other call: at
     * start the agent detaches those it does not know. */
    void (*pod_list)(void *net, void (*emit)(void *ctx, struct str uid), void *ctx);
    /* 1: pods can be attached; 0: not yet, *ret_why (borrowed, static or valid until the next call)
     * says why in the words of the node condition NetworkUnavailable/Ready. */
    int (*ready)(void *net, struct str *ret_why);
    /* Address pods use as name server (the node-local DNS); absent: none, pods get the node's
     * resolv.conf. */
    struct str (*dns_address)(void *net);
    /* Cluster domain, "cluster.local". */
    struct str (*cluster_domain)(void *net);
    /* A cache of all Services that is there anyway, started, with their spec but for selectors;
     * borrowed: it is there until the network is stopped, after the agent. Absent or NULL: the
     * agent needs one of its own. */
    struct client_cache *(*services)(void *net);
};
