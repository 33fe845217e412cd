/* The name server of a node: answers pods and the host from the cluster's Services, and asks the
 * node's own name servers for everything else.
 *
 * dns_new, dns_start, dns_set, dns_synced and dns_free are called on one thread, the owner's; the
 * server itself runs on a loop and thread of its own (or on opts.rt, in tests). Objects handed over
 * are frozen and counted, and that is all the two threads share. */
#pragma once

#include "api/object.h"
#include "base/buf.h"
#include "base/error.h"

struct dns;
struct rt;

struct dns_opts {
    const char *cluster_domain;              /* "cluster.local" */
    const char *address;                     /* of the DNS Service: "10.96.0.10" */
    const char *gateway;                     /* the host's address on the bridge; NULL: none */
    const char *bridge;                      /* link that pods' queries come by; NULL: any */
    const char *service_cidr, *cluster_cidr; /* reverse zones that are ours; NULL: none */
    const char *resolv_conf, *stub_conf;     /* NULL: the system's */
    uint16_t port, upstream_port;            /* 0: 53 */
    struct rt *rt; /* borrowed; NULL: a thread of its own. With it dns_free wants a stopped loop */
};

/* -EINVAL: an address or a domain that is none. */
int dns_new(const struct dns_opts *opts, struct dns **ret, struct error *err) MUST_CHECK;
/* Opens the sockets and starts to serve. An address that is taken is tried again until it is free;
 * that is no error. */
int dns_start(struct dns *d, struct error *err) MUST_CHECK;
/* The service is now this (svc NULL: gone) with these slices; references are taken. */
void dns_set(struct dns *d, struct str ns, struct str name, struct object *svc,
             struct object *const *slices, size_t n_slices);
/* All there is was set once: from now on what is not there does not exist. */
void dns_synced(struct dns *d);
/* Takes NULL and what was never started; returns NULL. */
struct dns *dns_free(struct dns *d);

struct dns_stats {
    uint64_t queries, errors, hits, forwarded, failed;
};
/* Any thread. */
void dns_stats(const struct dns *d, struct dns_stats *ret);
