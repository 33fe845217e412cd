/* Records to packets and back, by ldns (the only file that includes it is wire.c; the library is
 * loaded when the first answer is made). Not the hot path: what comes out is cached. Any one thread
 * at a time. */
#pragma once

#include "net/dns/answer.h"
#include "sys/ip.h"

enum dns_section {
    DNS_ANSWER,
    DNS_AUTHORITY,
    DNS_ADDITIONAL,
};

/* All names in wire form; borrowed. */
struct dns_record {
    struct str owner; /* absent: the question's name */
    uint16_t type;    /* A, AAAA, SRV, PTR, CNAME, NS, TXT, SOA */
    enum dns_section section;
    uint32_t ttl_s;
    struct ip_addr ip; /* A, AAAA */
    uint16_t port;     /* SRV */
    struct str name;   /* SRV, PTR, CNAME, NS: target; SOA: name server; TXT: the text */
    struct str mail;   /* SOA */
    uint32_t serial;   /* SOA */
};

struct dns_records {
    enum dns_rcode rcode;
    const struct dns_record *v;
    size_t n;
};

/* -EMSGSIZE: more than a packet holds; -EINVAL: a name that is none (a bug). */
int dns_wire_encode(struct str qname, uint16_t type, const struct dns_records *r,
                    struct dns_answer **ret) MUST_CHECK;
/* What an upstream sent, whose header and question are checked already, as an answer of ours:
 * answer and authority sections, TTLs cut to their limits. *ret_cache_s: how long it may be kept,
 * by its TTLs or for negative ones by its SOA (RFC 2308); 0: not at all. -EBADMSG: malformed. */
int dns_wire_upstream(const uint8_t *p, size_t n, struct dns_answer **ret,
                      uint32_t *ret_cache_s) MUST_CHECK;
/* The records of r (CNAMEs that lead away) followed by what was found at their end: `tail`, an
 * answer to the question tail_name. -EMSGSIZE, -EBADMSG. */
int dns_wire_join(struct str qname, uint16_t type, const struct dns_records *r,
                  struct str tail_name, const struct dns_answer *tail,
                  struct dns_answer **ret) MUST_CHECK;
