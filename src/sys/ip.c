/* Addresses travel as text through the API and as bytes to the kernel; this is the one place that
 * knows both forms. */
#include "sys/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

int ip_parse(struct str s, struct ip_addr *ret)
{
    char text[IP_TEXT_MAX];
    if (s.n == 0 || s.n >= sizeof(text))
        return -EINVAL;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    struct ip_addr a = {.family = str_find(s, ':') >= 0 ? AF_INET6 : AF_INET};
    if (strlen(text) != s.n || inet_pton(a.family, text, a.b) != 1)
        return -EINVAL;
    *ret = a;
    return 0;
}

int ip_prefix_parse(struct str s, struct ip_prefix *ret)
{
    struct str head;
    bool has_bits = str_cut(&s, '/', &head);
    struct ip_prefix p = {0};
    if (ip_parse(head, &p.addr) < 0)
        return -EINVAL;
    uint64_t bits = ip_bytes(&p.addr) * 8;
    if (has_bits && (str_to_u64(s, &bits) < 0 || bits > ip_bytes(&p.addr) * 8))
        return -EINVAL;
    p.bits = (uint8_t)bits;
    *ret = p;
    return 0;
}

const char *ip_format(const struct ip_addr *a, char out[static IP_TEXT_MAX])
{
    if (a->family == 0 || !inet_ntop(a->family, a->b, out, IP_TEXT_MAX))
        out[0] = '\0';
    return out;
}

const char *ip_prefix_format(const struct ip_prefix *p, char out[static IP_PREFIX_TEXT_MAX])
{
    char a[IP_TEXT_MAX];
    snprintf(out, IP_PREFIX_TEXT_MAX, "%s/%u", ip_format(&p->addr, a), p->bits);
    return out;
}

size_t ip_bytes(const struct ip_addr *a)
{
    return a->family == AF_INET6 ? 16 : 4;
}

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->b, b->b, ip_bytes(a)) == 0;
}

bool ip_is_loopback(const struct ip_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == AF_INET6 ? memcmp(a->b, one, 16) == 0
                                 : a->family == AF_INET && a->b[0] == 127;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
    if (p->addr.family != a->family || a->family == 0)
        return false;
    size_t whole = p->bits / 8;
    unsigned rest = p->bits % 8;
    if (memcmp(p->addr.b, a->b, whole) != 0)
        return false;
    return rest == 0 || ((p->addr.b[whole] ^ a->b[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

struct ip_addr ip4_from_number(uint32_t n)
{
    return (struct ip_addr){
        .family = AF_INET,
        .b = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

bool ip_prefix_overlap(const struct ip_prefix *x, const struct ip_prefix *y)
{
    const struct ip_prefix *wide = x->bits < y->bits ? x : y, *narrow = wide == x ? y : x;
    return ip_prefix_contains(wide, &narrow->addr);
}
