/* NetworkPolicies as nftables: what is wanted, and how to get there. A pure engine: told of
 * policies, pods, namespaces and of this node's addresses, it keeps chains, maps and sets as they
 * should be and writes what changed into a batch. Knows neither caches nor the kernel.
 *
 * The table (a packet that opens or continues a connection towards its server passes it; replies
 * pass by their connection):
 *
 *   forward: (local pod's address) --map egress-->  chain eg-N   rules that return; at the end:
 * drop (local pod's address) --map ingress--> chain in-N   likewise in-N:    one line for each way
 * in: source in set pN (pods) or bN (ipBlocks), port in a list of numbers, or (address . protocol .
 * port) in set nN (named ports)
 *
 * Beside it, of the same name and family bridge: pods' frames go to the host and carry the pod's
 * own address. Else a pod would reach its neighbour on the bridge by a frame of its own making, or
 * by IPv6, or speak with another's address.
 *
 * Invariants
 * - All pods that the same policies select share one chain a direction; equal peers share one set,
 *   equal blocks one, equal named ports one. What nobody uses is removed.
 * - An address is one pod's: the newest of those that claim it, or the one it is leased to here.
 *   The elements of the others are gone.
 * - A local pod that is not known (yet, or any more) gets nothing and sends nothing (set fresh).
 * - A change costs its own elements: what is removed and added again within a batch is not told. */
#pragma once

#include "api/types.gen.h"
#include "base/buf.h"
#include "base/map.h"
#include "sys/ip.h"

#define POLICY_POD_IPS_MAX   4
#define POLICY_POD_PORTS_MAX 256 /* named ones; further ones cannot be used by name */

enum policy_dir {
    POLICY_INGRESS,
    POLICY_EGRESS,
    _POLICY_DIR_MAX,
};

struct policy_port {
    struct str name;
    uint16_t port;
    uint8_t proto; /* IPPROTO_* */
};

struct policy_pod { /* what of a pod matters; all borrowed. Never of the host's network, never ended
                     */
    struct str uid, ns;
    const struct kv_str *labels; /* sorted, as in API structs */
    uint32_t n_labels;
    struct ip_addr ips[POLICY_POD_IPS_MAX];
    uint32_t n_ips;
    const struct policy_port *ports;
    uint32_t n_ports;
    int64_t created; /* any unit; of two pods with one address the later one has it */
};

struct policy_batch {                  /* changes of one transaction, gathered; zeroed is empty */
    struct map elems;                  /* "set element" -> struct policy_elem */
    struct buf defs;                   /* new sets and chains; go first */
    struct buf drop_chains, drop_sets; /* go last */
};
bool policy_batch_empty(const struct policy_batch *b);
void policy_batch_fini(struct policy_batch *b);
/* The whole transaction as text; appends to out. */
void policy_batch_print(const struct policy_batch *b, const char *table, struct buf *out);

struct policy_engine;
/* Both copied. gateway_mac: where pods' frames have to go to; then there is a second table of the
 * same name, of family bridge. NULL: the kernel knows no such tables. */
struct policy_engine *policy_engine_new(const char *table, const char *gateway_mac);
struct policy_engine *policy_engine_free(struct policy_engine *e); /* takes NULL; returns NULL */

/* ---- what is: each call says how one thing is now ---- */

/* present false: there is none of this name. */
void policy_namespace(struct policy_engine *e, struct str name, bool present,
                      const struct kv_str *labels, uint32_t n_labels, struct policy_batch *b);
void policy_pod(struct policy_engine *e, const struct policy_pod *pod, struct policy_batch *b);
/* Deleted, or ended: its address is nobody's. */
void policy_pod_gone(struct policy_engine *e, struct str uid, struct policy_batch *b);
/* spec NULL: there is none of this name. */
void policy_set(struct policy_engine *e, struct str ns, struct str name,
                const struct api_network_policy_spec *spec, struct policy_batch *b);
/* ip is leased to this pod on this node, and link is its link's end on the bridge. ip NULL: nothing
 * is. */
void policy_local(struct policy_engine *e, struct str uid, const char *link,
                  const struct ip_addr *ip, struct policy_batch *b);
/* Forgets namespaces and pods (not policies, not leases), without telling a batch. */
void policy_forget_pods(struct policy_engine *e);

/* ---- what should be ---- */

/* Commands that make the table anew with all that is wanted, in one transaction, whatever is in the
 * kernel. */
void policy_full(const struct policy_engine *e, struct buf *out);
void policy_remove(const struct policy_engine *e, struct buf *out); /* no table, from now on */
/* The table without any policy: that which addresses are held back can be said in it. */
void policy_base(const struct policy_engine *e, struct buf *out);
/* Holds back this address, in whatever table there is; link as above, NULL: nobody is there. */
void policy_hold(const struct policy_engine *e, const char *link, const struct ip_addr *ip,
                 struct buf *out);
bool policy_pod_known(const struct policy_engine *e, struct str uid);
size_t policy_count(const struct policy_engine *e);
/* What the table does with the first packet of a connection; port is the destination's, 0 for
 * protocols without. For tests and dumps. */
bool policy_verdict(const struct policy_engine *e, const struct ip_addr *src,
                    const struct ip_addr *dst, uint8_t proto, uint16_t port);
void policy_dump(const struct policy_engine *e, struct buf *out);
