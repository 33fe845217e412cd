/* A query as it came: checked and taken apart, pointing into the datagram. Nothing is allocated.
 *
 *   header 12 | QNAME QTYPE QCLASS | additional: OPT (RFC 6891), others passed over
 *
 * Names are kept as they are on the wire (length bytes and labels, root last), in lower case for
 * looking up and as sent for the answer (so that 0x20 encoding is echoed). */
#pragma once

#include "base/str.h"
#include "net/dns/bounds.h"

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_ANY = 255,
};

#define DNS_FLAG_QR 0x8000u
#define DNS_FLAG_AA 0x0400u
#define DNS_FLAG_TC 0x0200u
#define DNS_FLAG_RD 0x0100u
#define DNS_FLAG_RA 0x0080u
#define DNS_FLAG_AD 0x0020u
#define DNS_FLAG_CD 0x0010u

struct dns_query {
    const uint8_t *question; /* borrowed; QNAME, QTYPE, QCLASS as sent; NULL: not readable */
    size_t question_n;       /* with type and class */
    uint16_t id, flags;      /* flags: of the header, host order */
    uint16_t type;
    bool edns, dnssec_ok;
    uint16_t udp_size;          /* the answer's limit by UDP: 512, or 512..DNS_UDP_MAX */
    uint8_t name[DNS_NAME_MAX]; /* lower case, wire form */
    size_t name_n;
};

/* 0: a question to be answered. DNS_FORMERR ... DNS_BADVERS: answer with that (ret is filled as far
 * as it was read). -EBADMSG: no answer at all (an answer, or too short to have an id). */
int dns_query_parse(struct str datagram, struct dns_query *ret) MUST_CHECK;

static inline uint16_t dns_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t dns_u32(const uint8_t *p)
{
    return (uint32_t)dns_u16(p) << 16 | dns_u16(p + 2);
}
static inline uint8_t *dns_put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}
static inline uint8_t *dns_put32(uint8_t *p, uint32_t v)
{
    return dns_put16(dns_put16(p, v >> 16), v & 0xffff);
}
/* Length of the name at p[at] in the packet itself (a pointer counts 2 and ends it); 0: bad. */
size_t dns_name_skip(const uint8_t *p, size_t n, size_t at);
/* "a.b.c" (dots end labels, a last one may be missing) to wire form, lower case. Length or
 * -EINVAL. */
ssize_t dns_name_from_text(struct str text, uint8_t ret[static DNS_NAME_MAX]) MUST_CHECK;
