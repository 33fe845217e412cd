/* An encoded answer, counted, never changed: made once by ldns (wire.h), sent many times. What is
 * sent is the asker's header and question in front of it; compressed names in it point into the
 * question, so it fits every question of the same name, whatever its case.
 *
 *   body: records as on the wire, answer then authority then additional, without OPT
 *   rr[i]: where record i ends and where its TTL is, as offsets into body */
#pragma once

#include "net/dns/query.h"

struct dns_rr_pos {
    uint16_t ttl, end;
};

struct dns_answer {
    uint32_t refs;
    uint8_t rcode;
    bool authoritative, authentic; /* AA, AD */
    uint8_t rotate;      /* size of each answer record when they may change places; 0: fixed */
    uint16_t an, ns, ar; /* records of each section */
    uint16_t body_n;
    uint32_t ttl_s;         /* the least of them */
    struct dns_rr_pos rr[]; /* an + ns + ar; body behind it */
};

static inline uint16_t dns_answer_rrs(const struct dns_answer *a)
{
    return (uint16_t)(a->an + a->ns + a->ar);
}
static inline const uint8_t *dns_answer_body(const struct dns_answer *a)
{
    return (const uint8_t *)(a->rr + dns_answer_rrs(a));
}
size_t dns_answer_bytes(const struct dns_answer *a);

/* From a whole packet with one question. -EBADMSG: no such thing. OPT records must be gone. One
 * reference, the caller's. Counts are not atomic: one thread. */
int dns_answer_new(const uint8_t *packet, size_t n, struct dns_answer **ret) MUST_CHECK;
struct dns_answer *dns_answer_ref(struct dns_answer *a);
struct dns_answer *dns_answer_unref(struct dns_answer *a); /* takes NULL; returns NULL */

struct dns_render {
    size_t limit;      /* of the whole packet; DNS_UDP_PLAIN_MAX or more */
    uint32_t age_s;    /* taken off every TTL, which stay at least 1 */
    uint32_t ttl_s;    /* not 0: what every TTL is instead */
    uint32_t rotation; /* any number: which of the records comes first */
};
/* Writes the packet to out (`limit` bytes of room); returns its size. What does not fit is left out
 * and TC set, unless only additional records are missing. */
size_t dns_answer_render(const struct dns_answer *a, const struct dns_query *q,
                         const struct dns_render *how, uint8_t *out);
/* An answer without records: an error. Needs DNS_UDP_PLAIN_MAX bytes of room. */
size_t dns_error_render(const struct dns_query *q, enum dns_rcode rcode, uint8_t *out);
