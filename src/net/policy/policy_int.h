/* Shared by the files of the engine: batch.c (what changed), ranges.c (address and port ranges),
 * sets.c (peers, blocks, named ports), pods.c (namespaces, pods, whose an address is), rules.c
 * (policies, chains, local pods), engine.c (the rest). */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "net/policy/policy.h"
#include "schema/select.h"

struct policy_elem {
    char *key;     /* owned; "set element", in policy_batch.elems */
    size_t set_n;  /* length of the set's name */
    int8_t change; /* -1 removed, 0 as it was, 1 added */
};
/* change: 1 or -1. */
void batch_elem(struct policy_batch *b, int change, const char *set, const char *fmt, ...)
    PRINTF(4, 5);

/* ---- ranges.c ---- */

struct ip_range { /* both ends inclusive, of one family */
    struct ip_addr from, to;
};
struct port_range {
    uint8_t proto;
    uint16_t from, to;
};
/* What these blocks cover, sorted and disjoint. Blocks that do not parse cover nothing. */
struct ip_range *ranges_of_blocks(struct arena *a, const struct api_ip_block *const *blocks,
                                  uint32_t n, uint32_t *ret_n);
bool ranges_contain(const struct ip_range *v, uint32_t n, const struct ip_addr *a);
/* Sorted, overlaps joined, in place; the new count. */
uint32_t port_ranges_join(struct port_range *v, uint32_t n);
bool port_ranges_contain(const struct port_range *v, uint32_t n, uint8_t proto, uint16_t port);

/* ---- things ---- */

struct ns {
    char *name;         /* owned; in engine.namespaces */
    bool present, held; /* held: somebody is at it */
    struct arena arena; /* of labels */
    struct kv_str *labels;
    uint32_t n_labels;
    struct list pods, policies, peers; /* peers: those of this namespace alone */
};

struct claim {
    struct list link; /* in addr->claims */
    struct addr *addr;
    struct pod *pod;
};

struct pod {          /* one block */
    struct list link; /* in ns->pods */
    struct ns *ns;
    struct local *local; /* when it is attached here */
    int64_t created;
    struct peer **in; /* owned; peers that match it, by address of the peer */
    uint32_t n_in;
    uint32_t n_labels, n_ports, n_claims;
    struct str uid; /* in engine.pods */
    struct kv_str *labels;
    struct policy_port *ports; /* sorted, unique */
    struct claim claims[];
};

struct addr {
    struct ip_addr ip;
    struct list claims;
    struct local *local; /* leased to it */
    struct pod *owner;   /* NULL: nobody whom we know */
};

struct peer {
    struct list link; /* in ns->peers, or engine.peers_of_all */
    char *key;        /* owned; in engine.peers */
    uint32_t id, refs;
    struct ns *ns; /* or any namespace that `namespaces` matches */
    struct arena arena;
    struct label_selector namespaces, pods;
};

struct block {
    char *key; /* owned; in engine.blocks */
    uint32_t id, refs, n;
    struct arena arena;
    struct ip_range *v;
};

struct named {
    struct list link; /* in engine.named_list */
    char *key;        /* owned; in engine.named */
    struct str name;
    uint32_t id, refs;
    uint8_t proto;
    bool local_only; /* ingress: the pod with the port is one of ours */
};

struct match { /* all that is set must hold */
    struct peer *peer;
    struct block *block;
    struct port_range *ports; /* in the policy's arena */
    uint32_t n_ports;
    struct named *named;
};

struct policy {
    struct list link; /* in ns->policies */
    struct ns *ns;
    char *key; /* owned; "ns/name" in engine.policies */
    uint32_t id;
    struct arena arena;
    struct label_selector pods;
    bool isolates[_POLICY_DIR_MAX];
    struct match *matches[_POLICY_DIR_MAX];
    uint32_t n_matches[_POLICY_DIR_MAX];
};

struct chain {
    char *key; /* owned; in engine.chains: the policies' ids */
    enum policy_dir dir;
    uint32_t id, refs, n;
    struct policy **policies; /* owned; one that goes takes its chains with it */
};

struct local {
    char *uid, *link; /* owned; uid in engine.locals */
    struct ip_addr ip;
    struct pod *pod;                       /* NULL: unknown */
    bool told;                             /* that it is here */
    bool fresh;                            /* told to let nothing through */
    struct chain *chains[_POLICY_DIR_MAX]; /* told to jump to */
};

struct policy_engine {
    char *table;                             /* owned */
    char *gateway_mac;                       /* owned; may be NULL */
    struct map namespaces;                   /* name -> struct ns */
    struct map pods;                         /* uid -> struct pod */
    struct map addrs;                        /* bytes of the address -> struct addr */
    struct map policies;                     /* ns/name -> struct policy */
    struct map locals;                       /* uid -> struct local */
    struct map peers, blocks, named, chains; /* by key */
    struct list peers_of_all, named_list;
    uint32_t next_id;
};

/* ---- pods.c ---- */
struct ns *ns_get(struct policy_engine *e, struct str name);
void ns_drop(struct policy_engine *e, struct ns *ns); /* unless somebody needs it */
/* The addresses that are the pod's. */
uint32_t pod_addrs(const struct policy_engine *e, const struct pod *p,
                   struct addr *out[POLICY_POD_IPS_MAX + 1]);
struct addr *addr_find(const struct policy_engine *e, const struct ip_addr *ip);
struct addr *addr_get(struct policy_engine *e, const struct ip_addr *ip);
/* Who has it may have changed; tells the elements of loser and winner. Frees it when nobody wants
 * it. */
void addr_settle(struct policy_engine *e, struct addr *a, struct policy_batch *b);

/* ---- sets.c ---- */
/* Counted; made and filled when new. They must stay until the last is put. */
struct peer *peer_get(struct policy_engine *e, struct str policy_ns,
                      const struct api_network_policy_peer *p, struct policy_batch *b);
struct block *block_get(struct policy_engine *e, const struct api_ip_block *const *blocks,
                        uint32_t n, struct policy_batch *b); /* NULL: covers nothing */
struct named *named_get(struct policy_engine *e, struct str name, uint8_t proto, bool local_only,
                        struct policy_batch *b);
void peer_put(struct policy_engine *e, struct peer *p, struct policy_batch *b);
void block_put(struct policy_engine *e, struct block *k, struct policy_batch *b);
void named_put(struct policy_engine *e, struct named *n, struct policy_batch *b);
/* Which peers match the pod now; its elements are not told meanwhile. */
void pod_find_peers(struct policy_engine *e, struct pod *p);
bool pod_in_peer(const struct pod *p, const struct peer *peer);
/* Elements of sets that follow from the pod's having the address. change: 1 or -1. */
void pod_tell(const struct policy_engine *e, const struct pod *p, const struct addr *a, int change,
              struct policy_batch *b);
bool named_has(const struct named *n, const struct pod *p, uint16_t port);
void set_print_defs(const struct policy_engine *e, struct buf *out);
void peer_name(const struct peer *p, char out[static 16]);
void block_name(const struct block *k, char out[static 16]);
void named_name(const struct named *n, char out[static 16]);

/* ---- rules.c ---- */
/* The pod of a local address, its labels, or the policies are others now. */
void local_settle(struct policy_engine *e, struct local *l, struct policy_batch *b);
/* Takes its elements away, and lets go of its chains. */
void local_untell(struct policy_engine *e, struct local *l, struct policy_batch *b);
void local_print(const struct policy_engine *e, const struct local *l, int change,
                 struct policy_batch *b); /* as it was told */
void chain_print(const struct policy_engine *e, const struct chain *c, struct buf *out);
bool chain_allows(const struct policy_engine *e, const struct chain *c, const struct ip_addr *peer,
                  const struct ip_addr *dst, uint8_t proto, uint16_t port);
/* ---- compile.c ---- */
/* Lets go of what its rules ask about, and frees it. */
void policy_put(struct policy_engine *e, struct policy *p, struct policy_batch *b);
