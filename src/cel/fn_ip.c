/* Addresses and ranges, with the rules of Go's netip and Kubernetes' wishes on top: no zones, no
 * IPv4 inside IPv6. */
#include <arpa/inet.h>

#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

bool cel_ip_parse(struct str s, struct cel_ip *ret)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN];
    struct cel_ip ip = {0};
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    bool six = strchr(text, ':');
    if (inet_pton(six ? AF_INET6 : AF_INET, text, ip.bytes) != 1)
        return false;
    ip.len = six ? 16 : 4;
    if (six && memcmp(ip.bytes, mapped, sizeof mapped) == 0)
        return false;
    *ret = ip;
    return true;
}

/* RFC 5952: the longest run of two zeros or more is left out, the first of equals. */
void cel_ip_print(const struct cel_ip *ip, struct buf *b)
{
    const uint8_t *p = ip->bytes;
    int best = -1, best_n = 1;
    if (ip->len == 4) {
        buf_printf(b, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
        return;
    }
    for (int i = 0, n; i < 8; i += n + 1) {
        for (n = 0; i + n < 8 && !p[2 * (i + n)] && !p[2 * (i + n) + 1]; n++)
            ;
        if (n > best_n) {
            best = i;
            best_n = n;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            buf_add_lit(b, "::");
            i += best_n - 1;
            continue;
        }
        if (i && i != best + best_n)
            buf_add_char(b, ':');
        else if (i && best < 0)
            buf_add_char(b, ':');
        buf_printf(b, "%x", p[2 * i] << 8 | p[2 * i + 1]);
    }
}

static bool cidr_parse(struct str s, struct cel_ip *ret)
{
    uint64_t bits;
    ssize_t slash = str_rfind(s, '/');
    struct cel_ip ip;
    if (slash < 0 || !cel_ip_parse(str_sub(s, 0, (size_t)slash), &ip))
        return false;
    struct str t = str_sub(s, (size_t)slash + 1, s.n);
    if (t.n == 0 || t.n > 3 || (t.n > 1 && t.p[0] == '0') || t.p[0] == '+' ||
        str_to_u64(t, &bits) < 0 || bits > ip.len * 8u)
        return false;
    ip.prefix = (uint8_t)bits;
    *ret = ip;
    return true;
}

static struct cel_value box(struct cel_eval *c, enum cel_kind k, const struct cel_ip *ip)
{
    struct cel_ip *p = cel_alloc(c, sizeof *p);
    if (!p)
        return cel_no_memory();
    *p = *ip;
    if (k == CEL_IP)
        p->prefix = 0;
    return cel_box(k, p);
}
static struct cel_value bad_ip(struct cel_eval *c, struct str s)
{
    return cel_fail(c, "IP Address \"%.*s\" parse error during conversion from string",
                    (int)MIN(s.n, 100), s.p);
}
static struct cel_value bad_cidr(struct cel_eval *c, struct str s)
{
    return cel_fail(c, "network address parse error during conversion from string: \"%.*s\"",
                    (int)MIN(s.n, 100), s.p);
}

FN(ip_of)
{
    struct cel_ip ip;
    return cel_ip_parse(a[0].s, &ip) ? box(c, CEL_IP, &ip) : bad_ip(c, a[0].s);
}
FN(is_ip)
{
    struct cel_ip ip;
    return cel_bool(cel_ip_parse(a[0].s, &ip));
}
FN(is_canonical)
{
    struct cel_ip ip;
    struct buf b = {0};
    if (!cel_ip_parse(a[0].s, &ip))
        return bad_ip(c, a[0].s);
    cel_ip_print(&ip, &b);
    bool same = str_eq(buf_str(&b), a[0].s);
    buf_fini(&b);
    return cel_bool(same);
}
FN(family)
{
    return cel_int(((const struct cel_ip *)a[0].p)->len == 4 ? 4 : 6);
}

enum ip_class {
    IP_UNSPECIFIED = 1 << 0,
    IP_LOOPBACK = 1 << 1,
    IP_LINK_MULTICAST = 1 << 2,
    IP_LINK_UNICAST = 1 << 3,
    IP_MULTICAST = 1 << 4,
    IP_BROADCAST = 1 << 5,
};
static unsigned classes(const struct cel_ip *ip)
{
    static const uint8_t zero[16];
    const uint8_t *p = ip->bytes;
    unsigned k = memcmp(p, zero, ip->len) == 0 ? IP_UNSPECIFIED : 0;
    if (ip->len == 4) {
        k |= p[0] == 127 ? IP_LOOPBACK : 0;
        k |= p[0] == 224 && p[1] == 0 && p[2] == 0 ? IP_LINK_MULTICAST : 0;
        k |= p[0] == 169 && p[1] == 254 ? IP_LINK_UNICAST : 0;
        k |= (p[0] & 0xf0) == 0xe0 ? IP_MULTICAST : 0;
        k |= (p[0] & p[1] & p[2] & p[3]) == 255 ? IP_BROADCAST : 0;
    } else {
        k |= memcmp(p, zero, 15) == 0 && p[15] == 1 ? IP_LOOPBACK : 0;
        k |= p[0] == 0xff && (p[1] & 0x0f) == 2 ? IP_LINK_MULTICAST : 0;
        k |= p[0] == 0xfe && (p[1] & 0xc0) == 0x80 ? IP_LINK_UNICAST : 0;
        k |= p[0] == 0xff ? IP_MULTICAST : 0;
    }
    return k;
}
#define CLASS(name, mask, wanted)                                                                  \
    FN(name)                                                                                       \
    {                                                                                              \
        return cel_bool(!!(classes(a[0].p) & (mask)) == (wanted));                                 \
    }
CLASS(is_unspecified, IP_UNSPECIFIED, true)
CLASS(is_loopback, IP_LOOPBACK, true)
CLASS(is_link_multicast, IP_LINK_MULTICAST, true)
CLASS(is_link_unicast, IP_LINK_UNICAST, true)
CLASS(is_global, IP_UNSPECIFIED | IP_LOOPBACK | IP_LINK_UNICAST | IP_MULTICAST | IP_BROADCAST,
      false)
#undef CLASS

FN(cidr_of)
{
    struct cel_ip ip;
    return cidr_parse(a[0].s, &ip) ? box(c, CEL_CIDR, &ip) : bad_cidr(c, a[0].s);
}
FN(is_cidr)
{
    struct cel_ip ip;
    return cel_bool(cidr_parse(a[0].s, &ip));
}
FN(cidr_ip)
{
    return box(c, CEL_IP, a[0].p);
}
FN(prefix_length)
{
    return cel_int(((const struct cel_ip *)a[0].p)->prefix);
}

static struct cel_ip mask(const struct cel_ip *ip, unsigned prefix)
{
    struct cel_ip r = *ip;
    for (unsigned i = 0; i < r.len; i++) {
        unsigned keep = prefix > i * 8 ? MIN(prefix - i * 8, 8u) : 0;
        r.bytes[i] &= (uint8_t)(0xff00 >> keep);
    }
    return r;
}
FN(masked)
{
    const struct cel_ip *net = a[0].p;
    struct cel_ip r = mask(net, net->prefix);
    return box(c, CEL_CIDR, &r);
}

static bool contains(const struct cel_ip *net, const struct cel_ip *ip, unsigned prefix)
{
    if (net->len != ip->len || prefix < net->prefix)
        return false;
    struct cel_ip x = mask(net, net->prefix), y = mask(ip, net->prefix);
    return memcmp(x.bytes, y.bytes, x.len) == 0;
}
FN(contains_ip)
{
    const struct cel_ip *ip = a[1].p;
    return cel_bool(contains(a[0].p, ip, ip->len * 8u));
}
FN(contains_ip_text)
{
    struct cel_ip ip;
    if (!cel_ip_parse(a[1].s, &ip))
        return bad_ip(c, a[1].s);
    return cel_bool(contains(a[0].p, &ip, ip.len * 8u));
}
FN(contains_cidr)
{
    const struct cel_ip *ip = a[1].p;
    return cel_bool(contains(a[0].p, ip, ip->prefix));
}
FN(contains_cidr_text)
{
    struct cel_ip ip;
    if (!cidr_parse(a[1].s, &ip))
        return bad_cidr(c, a[1].s);
    return cel_bool(contains(a[0].p, &ip, ip.prefix));
}

const struct overload cel_fn_ip[] = {
    {"ip", "s>p", ip_of, 0, COST_ARG0},
    {"isIP", "s>b", is_ip, 0, COST_ARG0},
    {"ip.isCanonical", "s>b", is_canonical, 0, COST_ARG0_TWICE},
    {"family", "p>i", family, OV_MEMBER, COST_ONE},
    {"isUnspecified", "p>b", is_unspecified, OV_MEMBER, COST_ONE},
    {"isLoopback", "p>b", is_loopback, OV_MEMBER, COST_ONE},
    {"isLinkLocalMulticast", "p>b", is_link_multicast, OV_MEMBER, COST_ONE},
    {"isLinkLocalUnicast", "p>b", is_link_unicast, OV_MEMBER, COST_ONE},
    {"isGlobalUnicast", "p>b", is_global, OV_MEMBER, COST_ONE},
    {"cidr", "s>c", cidr_of, 0, COST_ARG0},
    {"isCIDR", "s>b", is_cidr, 0, COST_ARG0},
    {"containsIP", "cp>b", contains_ip, OV_MEMBER, COST_CIDR_IP},
    {"containsIP", "cs>b", contains_ip_text, OV_MEMBER, COST_CIDR_IP_TEXT},
    {"containsCIDR", "cc>b", contains_cidr, OV_MEMBER, COST_CIDR_CIDR},
    {"containsCIDR", "cs>b", contains_cidr_text, OV_MEMBER, COST_CIDR_CIDR_TEXT},
    {"ip", "c>p", cidr_ip, OV_MEMBER, COST_ONE},
    {"masked", "c>c", masked, OV_MEMBER, COST_ONE},
    {"prefixLength", "c>i", prefix_length, OV_MEMBER, COST_ONE},
    {0},
};
