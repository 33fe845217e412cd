/* Addresses of pods: a range, and one small file a lease. */
#pragma once

#include "base/error.h"
#include "base/map.h"
#include "net/rules.h"
#include "sys/ip.h"

#define LEASE_PORTS_MAX 256 /* host ports of one pod */

struct lease {
    char *uid; /* owned */
    uint32_t ip;
    struct net_host_port *ports; /* owned */
    size_t n_ports;
};

struct pool {
    int dirfd;                     /* DATA/net/leases, owned */
    uint32_t first, last, gateway; /* host order; gateway is first - 1 */
    uint32_t next;                 /* where the search for a free one goes on: late reuse */
    struct map leases;             /* uid -> struct lease */
    uint8_t *used;                 /* owned; one bit an address from first */
};

/* Reads all leases; damaged ones and those outside the range are dropped. */
int pool_open(struct pool *p, int netdir_fd, const struct ip_prefix *range,
              struct error *err) MUST_CHECK;
void pool_close(struct pool *p);
bool pool_uid_valid(struct str uid); /* fit to be a file name */
struct lease *pool_get(const struct pool *p, struct str uid);
/* The pod's lease, old or new, with these ports, on disk. -EBUSY (REASON_TOO_MANY_REQUESTS): no
 * address left. */
int pool_take(struct pool *p, struct str uid, const struct net_host_port *ports, size_t n,
              struct lease **ret, struct error *err) MUST_CHECK;
void pool_release(struct pool *p, struct str uid);
