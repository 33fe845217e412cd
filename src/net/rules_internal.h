/* Shared by rules.c (services), rules_front.c (one front), rules_pod.c (pods), table.c (the table's
 * shape). */
#pragma once

#include <stdarg.h>

#include "net/rules.h"

#define NET_CHAIN_MAX       NFT_CHAIN_NAME_MAX
#define NET_FIELDS_MAX      8
#define NET_PRIORITY_PREFIX 0xda000000u /* of places and ids while a packet carries them */
#define NET_PRIORITY_INSIDE 0x00800000u /* those of the same front for clients inside */

struct service_state {
    struct front_state *fronts; /* owned */
    /* When another service holds what this one wants: a copy of its plan, to be tried again. */
    struct net_plan *blocked; /* owned; NULL: not blocked */
    char key[];
};

struct front_state {
    struct front_state *next; /* of the same owner */
    struct service_state *owner;
    struct net_front f; /* eps owned: place i is what random number i leads to; ranges owned */
    uint32_t *ids;      /* owned; the id of each place; NULL without affinity */
    bool seen;          /* scratch of net_rules_service */
};

struct pod_state {
    char *uid; /* owned; in rules.pods */
    uint32_t ip;
    struct net_host_port *ports; /* owned */
    size_t n_ports;
};

struct host_port_state {
    char key[48]; /* in rules.host_ports */
    struct pod_state *owner;
    uint32_t pod_ip;
    struct net_host_port port;
};

struct counted {
    unsigned refs;
    uint32_t fields[3]; /* address, protocol, port; its bytes are the key in rules.masq */
};

struct chain_state {
    char name[NET_CHAIN_MAX]; /* in rules.chains; stays as long as the rules do */
    struct net_front like;    /* kind, inside, affinity, and whether it has ranges */
    uint32_t n;
};

struct net_rules {
    struct net_rules_env env; /* strings owned */
    struct catalog services;  /* of struct service_state, by key */
    struct catalog fronts;    /* of struct front_state, by front_key */
    struct map pods;          /* uid -> struct pod_state */
    struct map host_ports;    /* key -> struct host_port_state */
    struct map masq;          /* fields as bytes -> struct counted */
    struct map chains;        /* name -> struct chain_state: what is in the kernel */
    unsigned n_blocked;
};

extern const char *const net_map_prefix[]; /* by enum net_front_kind: "svc", "np" */

/* The chain for fronts like f with n endpoints. */
void net_chain_name(const struct net_front *f, uint32_t n, char out[static NET_CHAIN_MAX]);
void net_chain_print(const struct net_rules_env *e, const struct net_front *f, uint32_t n,
                     struct buf *b);

void chain_put(const struct net_rules *r, const struct chain_state *c, struct net_batch *b);
struct net_range *net_ranges_dup(const struct net_range *v, uint32_t n); /* NULL for none */

enum put {
    PUT_ADD,
    PUT_REMOVE,
};
/* One element; v are its fields, key then data, as numbers in host order (rules_elem.c has the
 * table of fields). chain: of a verdict map; NULL: drop. Interval sets: the last key field twice,
 * first and last. */
void batch_put(struct net_batch *b, enum put what, enum net_map map, const uint32_t *v,
               const char *chain);

#define IP4_FMT    "%u.%u.%u.%u"
#define IP4_ARG(n) (n) >> 24, (n) >> 16 & 255, (n) >> 8 & 255, (n)&255

/* ---- one front ---- */
static inline uint32_t front_tag(const struct net_front *f)
{
    return NET_PRIORITY_PREFIX | (f->inside ? NET_PRIORITY_INSIDE : 0);
}
struct str front_key(const struct net_front *f); /* borrowed from f */
/* Makes s what f wants; f->n_eps 0 with `gone`: leaves nothing, not even a refusal. */
void front_change(struct net_rules *r, struct front_state *s, const struct net_front *f, bool fresh,
                  bool gone, struct net_batch *b);
/* Everything of s as additions, for a new table. */
void front_print(struct net_rules *r, const struct front_state *s, struct net_batch *b);

void pods_print(const struct net_rules *r, struct net_batch *b); /* all pods as additions */
