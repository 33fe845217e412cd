/* An IPv4 or IPv6 address as a value: parse, print, prefixes. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct ip_addr {
    uint8_t family; /* AF_INET, AF_INET6; 0: none */
    uint8_t b[16];  /* network order; the first 4 for IPv4 */
};

struct ip_prefix {
    struct ip_addr addr;
    uint8_t bits;
};

#define IP_TEXT_MAX        46
#define IP_PREFIX_TEXT_MAX 50

int ip_parse(struct str s, struct ip_addr *ret) MUST_CHECK; /* -EINVAL */
/* "10.1.0.0/16"; host bits may be set and are kept. A bare address is a full-length prefix. */
int ip_prefix_parse(struct str s, struct ip_prefix *ret) MUST_CHECK;
const char *ip_format(const struct ip_addr *a, char out[static IP_TEXT_MAX]); /* returns out */
const char *ip_prefix_format(const struct ip_prefix *p, char out[static IP_PREFIX_TEXT_MAX]);
bool ip_eq(const struct ip_addr *a, const struct ip_addr *b);
bool ip_is_loopback(const struct ip_addr *a);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
bool ip_prefix_overlap(const struct ip_prefix *x,
                       const struct ip_prefix *y); /* one has the other */
size_t ip_bytes(const struct ip_addr *a);          /* 4 or 16 */

/* IPv4 as a number in host order. */
static inline uint32_t ip4_number(const struct ip_addr *a)
{
    return (uint32_t)a->b[0] << 24 | (uint32_t)a->b[1] << 16 | (uint32_t)a->b[2] << 8 | a->b[3];
}
struct ip_addr ip4_from_number(uint32_t n);
