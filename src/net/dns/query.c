/* Taking queries apart, by hand and not by ldns: this is every query's path, and all of it is one
 * walk over a few dozen bytes that allocates nothing. */
#include "net/dns/query.h"

size_t dns_name_skip(const uint8_t *p, size_t n, size_t at)
{
    size_t start = at;

    while (at < n && at - start < DNS_NAME_MAX) {
        uint8_t c = p[at];
        if (c == 0)
            return at + 1 - start;
        if ((c & 0xc0) == 0xc0)
            return at + 2 <= n ? at + 2 - start : 0;
        if (c & 0xc0)
            return 0;
        at += 1u + c;
    }
    return 0;
}

ssize_t dns_name_from_text(struct str text, uint8_t ret[static DNS_NAME_MAX])
{
    struct str label;
    size_t n = 0;

    if (text.n && text.p[text.n - 1] == '.')
        text.n--;
    while (str_cut(&text, '.', &label) || label.n) {
        if (label.n == 0 || label.n > 63 || n + label.n + 2 > DNS_NAME_MAX)
            return -EINVAL;
        ret[n++] = (uint8_t)label.n;
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];
            ret[n++] = (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        }
        if (!text.n)
            break;
    }
    ret[n++] = 0;
    return (ssize_t)n;
}

/* The question's name into q, lower case; no compression there (nothing to point at). */
static bool read_name(const uint8_t *p, size_t n, struct dns_query *q)
{
    size_t at = DNS_HEADER_BYTES, out = 0;

    for (;;) {
        if (at >= n || p[at] > 63)
            return false;
        size_t len = p[at];
        if (at + 1 + len > n || out + 1 + len > DNS_NAME_MAX)
            return false;
        q->name[out++] = p[at++];
        if (len == 0)
            break;
        for (size_t i = 0; i < len; i++, at++) {
            uint8_t c = p[at];
            q->name[out++] = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
        }
    }
    q->name_n = out;
    return true;
}

/* Additional records: one OPT counts. 0 or an rcode. */
static int read_extras(const uint8_t *p, size_t n, size_t at, unsigned count, struct dns_query *q)
{
    int rcode = DNS_NOERROR;

    if (count > DNS_QUERY_EXTRAS)
        return DNS_FORMERR;
    for (unsigned i = 0; i < count; i++) {
        size_t name = dns_name_skip(p, n, at);
        if (!name || at + name + 10 > n)
            return DNS_FORMERR;
        const uint8_t *rr = p + at + name;
        bool root = p[at] == 0;
        at += name + 10 + dns_u16(rr + 8);
        if (at > n)
            return DNS_FORMERR;
        if (dns_u16(rr) != DNS_OPT)
            continue;
        if (!root || q->edns)
            return DNS_FORMERR;
        q->edns = true;
        q->udp_size = CLAMP(dns_u16(rr + 2), DNS_UDP_PLAIN_MAX, DNS_UDP_MAX);
        q->dnssec_ok = rr[6] & 0x80;
        if (rr[5] != 0) /* the version */
            rcode = DNS_BADVERS;
    }
    return at == n ? rcode : DNS_FORMERR;
}

int dns_query_parse(struct str datagram, struct dns_query *q)
{
    const uint8_t *p = (const uint8_t *)datagram.p;
    size_t n = datagram.n;

    q->question = NULL;
    q->question_n = 0;
    q->edns = q->dnssec_ok = false;
    q->udp_size = DNS_UDP_PLAIN_MAX;
    q->type = 0;
    q->name_n = 0;
    if (n < DNS_HEADER_BYTES)
        return -EBADMSG;
    q->id = dns_u16(p);
    q->flags = dns_u16(p + 2);
    if (q->flags & DNS_FLAG_QR)
        return -EBADMSG;
    if (q->flags >> 11 & 15)
        return DNS_NOTIMP;
    if (dns_u16(p + 4) != 1 || dns_u16(p + 6) || dns_u16(p + 8) || !read_name(p, n, q))
        return DNS_FORMERR;
    size_t end = DNS_HEADER_BYTES + q->name_n + 4;
    if (end > n)
        return DNS_FORMERR;
    q->question = p + DNS_HEADER_BYTES;
    q->question_n = q->name_n + 4;
    q->type = dns_u16(p + end - 4);
    int r = read_extras(p, n, end, dns_u16(p + 10), q);
    if (r != DNS_NOERROR)
        return r;
    if (dns_u16(p + end - 2) != 1) /* IN */
        return DNS_REFUSED;
    /* What describes a transport or a transfer is no question one can answer. */
    if (q->type == 0 || q->type == DNS_OPT || (q->type >= 249 && q->type <= 254))
        return q->type == 251 || q->type == 252 ? DNS_REFUSED : DNS_FORMERR;
    return DNS_NOERROR;
}
