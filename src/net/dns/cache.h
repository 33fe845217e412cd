/* Finished answers by what was asked: (name in lower case, type, flags). Bounded in number and
 * bytes; what was not used for longest goes first. One thread. */
#pragma once

#include "base/list.h"
#include "net/dns/answer.h"

struct dns_cache;

#define DNS_KEY_MAX (DNS_NAME_MAX + 3)

enum { /* what makes two questions of one name and type different */
       DNS_KEY_DNSSEC = 1,
       DNS_KEY_UNCHECKED = 2, /* CD */
};
struct dns_key {
    size_t n;
    char p[DNS_KEY_MAX];
};
void dns_key_make(struct dns_key *k, struct str name, uint16_t type, unsigned flags);

struct dns_entry {
    struct list lru;
    struct dns_answer *answer; /* owned reference */
    bool zone;                 /* of the cluster: true while the generation is the same */
    uint8_t slot;
    uint64_t generation;
    nsec_t made, expires; /* of others; also bounds joined answers (0: the generation alone) */
    nsec_t stale_until;   /* may be sent until then when upstreams are silent */
    nsec_t retry_at;      /* stale: before that nobody waits for them */
    size_t key_n;
    char key[];
};

struct dns_cache *dns_cache_new(size_t entries_max, size_t bytes_max);
struct dns_cache *dns_cache_free(struct dns_cache *c); /* takes NULL; returns NULL */
/* Borrowed until the next put. Whether it is still true is the caller's to judge. */
struct dns_entry *dns_cache_get(struct dns_cache *c, const struct dns_key *k);
/* Replaces what is there; takes a reference of its own; returns the entry to be filled in. */
struct dns_entry *dns_cache_put(struct dns_cache *c, const struct dns_key *k, struct dns_answer *a);
size_t dns_cache_count(const struct dns_cache *c);
size_t dns_cache_bytes(const struct dns_cache *c);
