/* The cluster's names, after the Kubernetes DNS specification (schema 1.1.0): what is asked is
 * answered from what is kept of each Service (its address and named ports; of a headless one the
 * EndpointSlice objects, which are frozen and counted), with two indexes (service, address). No
 * kernel, no loop.
 *
 *   DOMAIN                          SOA, NS (ns.dns.DOMAIN, the DNS address)
 *   dns-version.DOMAIN              TXT "1.1.0"
 *   SVC.NS.svc.DOMAIN               A/AAAA: ClusterIPs; headless: ready endpoints; CNAME:
 * ExternalName _PORT._PROTO.SVC.NS.svc.DOMAIN  SRV HOST.SVC.NS.svc.DOMAIN          A/AAAA:
 * endpoints of a headless service; HOST is the endpoint's hostname, else its address with dashes
 *   a-b-c-d.NS.pod.DOMAIN           A a.b.c.d
 *   PTR of ClusterIPs and of endpoints of headless services
 *
 * NXDOMAIN: no such name, nor any below it; NODATA: the name is there, the type is not. Both carry
 * the SOA. A headless service without ready endpoints is NXDOMAIN, as the specification wants.
 *
 * Every answer says on what it depends: one of 256 generations, of the service it was made from or
 * would have been; 0 stands for everything. While the generation is the same the answer is. */
#pragma once

#include "api/object.h"
#include "base/arena.h"
#include "net/dns/wire.h"

struct zone;

struct zone_opts {
    const char *domain; /* cluster.local */
    struct ip_addr dns_address;
    struct ip_prefix service_cidr, cluster_cidr; /* whose reverse names are ours; family 0: none */
};

/* -EINVAL: no domain name, or one longer than 127. */
int zone_new(const struct zone_opts *opts, struct zone **ret) MUST_CHECK;
struct zone *zone_free(struct zone *z); /* takes NULL; returns NULL */

/* The service is now this (svc NULL: gone), with these slices. Takes references of its own. */
void zone_set(struct zone *z, struct str ns, struct str name, struct object *svc,
              struct object *const *slices, size_t n_slices);
/* All Services were set once; before, cluster names are ZONE_NOT_READY. */
void zone_synced(struct zone *z);

enum zone_result {
    ZONE_NOT_MINE,  /* ask others */
    ZONE_NOT_READY, /* ours, not known yet */
    ZONE_ANSWER,
    ZONE_CHASE, /* answer so far ends in a CNAME to `chase`, outside: ask others for the rest */
};

struct zone_answer {
    struct dns_records records; /* in the arena, or borrowed from the zone: valid this turn */
    uint8_t slot;
    uint64_t generation;
    struct str chase; /* wire form */
};

/* name: wire form, lower case. */
enum zone_result zone_lookup(const struct zone *z, struct str name, uint16_t type, struct arena *a,
                             struct zone_answer *ret);
uint64_t zone_generation(const struct zone *z, uint8_t slot);
/* Whether the name is in the cluster's domain (not: the reverse zones). */
bool zone_in_domain(const struct zone *z, const uint8_t *name, size_t n);
size_t zone_count(const struct zone *z); /* services */
