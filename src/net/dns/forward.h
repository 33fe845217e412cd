/* Asking the node's own name servers: one question at a time for all who want the same answer, over
 * a UDP socket of its own (so a random port beside a random id), by TCP when the answer is cut
 * short or somebody seems to be guessing.
 *
 * Loop thread only. Answers are put into the cache before the waiters hear of them. */
#pragma once

#include "base/list.h"
#include "net/dns/cache.h"
#include "rt/rt.h"
#include "sys/ip.h"

struct dns_forward;

struct dns_forward_opts {
    struct rt *rt;             /* borrowed */
    struct dns_cache *cache;   /* borrowed */
    const char *resolv_path;   /* copied; NULL: /etc/resolv.conf */
    const char *stub_path;     /* copied; NULL: /run/systemd/resolve/resolv.conf */
    const struct ip_addr *own; /* copied; addresses of ours: never asked, or we would ask ourselves
                                * for ever */
    size_t n_own;
    uint16_t port; /* of upstreams; 0: 53 */
};

struct dns_forward_wait { /* the caller's memory, until fn is entered */
    struct list link;
    /* a: borrowed; NULL: nobody answered (SERVFAIL), or the forwarder is freed. ttl_s: what its
     * TTLs are to be (an old answer), 0: as they are. */
    void (*fn)(struct dns_forward_wait *w, struct dns_answer *a, uint32_t ttl_s);
};

struct dns_forward_stats {
    uint64_t asked, coalesced, attempts, by_tcp, stale, failed, refused, forged;
};

struct dns_forward *dns_forward_new(const struct dns_forward_opts *opts);
struct dns_forward *dns_forward_free(struct dns_forward *f); /* takes NULL; returns NULL */
/* name: wire form, lower case. flags: DNS_KEY_*. fn comes exactly once, later. -EBUSY: too many
 * questions or waiters; -ENOENT: no upstream is known. */
int dns_forward_ask(struct dns_forward *f, struct str name, uint16_t type, unsigned flags,
                    struct dns_forward_wait *w) MUST_CHECK;
void dns_forward_stats(const struct dns_forward *f, struct dns_forward_stats *ret);
