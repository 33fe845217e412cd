/* Sending a finished answer costs three copies: header and question of the asker, the records, OPT.
 * Changing the order of address records (so that clients spread over them) is part of the copy:
 * they have all the same size and nothing points into them. */
#include "net/dns/answer.h"

#include "base/mem.h"

#define OPT_BYTES 11

size_t dns_answer_bytes(const struct dns_answer *a)
{
    return sizeof(*a) + dns_answer_rrs(a) * sizeof(a->rr[0]) + a->body_n;
}

struct dns_answer *dns_answer_ref(struct dns_answer *a)
{
    a->refs++;
    return a;
}

struct dns_answer *dns_answer_unref(struct dns_answer *a)
{
    if (a && --a->refs == 0)
        free(a);
    return NULL;
}

/* Address records that name the question's name by a pointer, all alike. */
static uint8_t rotation_of(const struct dns_answer *a)
{
    const uint8_t *body = dns_answer_body(a);
    size_t size = a->an ? a->rr[0].end : 0;

    if (a->an < 2 || (size != 16 && size != 28))
        return 0;
    for (unsigned i = 0; i < a->an; i++) {
        const uint8_t *p = body + i * size;
        if (a->rr[i].end != (i + 1) * size || dns_u16(p) != (0xc000 | DNS_HEADER_BYTES) ||
            dns_u16(p + 2) != (size == 16 ? DNS_A : DNS_AAAA))
            return 0;
    }
    return (uint8_t)size;
}

int dns_answer_new(const uint8_t *p, size_t n, struct dns_answer **ret)
{
    if (n < DNS_HEADER_BYTES || n > DNS_TCP_MAX || dns_u16(p + 4) != 1)
        return -EBADMSG;
    unsigned an = dns_u16(p + 6), ns = dns_u16(p + 8), ar = dns_u16(p + 10);
    size_t name = dns_name_skip(p, n, DNS_HEADER_BYTES), at = DNS_HEADER_BYTES + name + 4;
    if (!name || at > n || an + ns + ar > DNS_ANSWER_RRS_MAX)
        return -EBADMSG;
    size_t body_n = n - at, start = at, rrs = an + ns + ar;
    struct dns_answer *a = xmalloc(sizeof(*a) + rrs * sizeof(a->rr[0]) + body_n);
    *a = (struct dns_answer){.refs = 1,
                             .rcode = p[3] & 15,
                             .authoritative = p[2] & 4,
                             .authentic = p[3] & DNS_FLAG_AD,
                             .an = (uint16_t)an,
                             .ns = (uint16_t)ns,
                             .ar = (uint16_t)ar,
                             .body_n = (uint16_t)body_n,
                             .ttl_s = rrs ? UINT32_MAX : 0};
    for (size_t i = 0; i < rrs; i++) {
        size_t len = dns_name_skip(p, n, at);
        if (!len || at + len + 10 > n || at + len + 10 + dns_u16(p + at + len + 8) > n) {
            free(a);
            return -EBADMSG;
        }
        a->rr[i].ttl = (uint16_t)(at + len + 4 - start);
        a->ttl_s = MIN(a->ttl_s, dns_u32(p + at + len + 4));
        at += len + 10 + dns_u16(p + at + len + 8);
        a->rr[i].end = (uint16_t)(at - start);
    }
    if (at != n) {
        free(a);
        return -EBADMSG;
    }
    memcpy((uint8_t *)(a->rr + rrs), p + start, body_n);
    a->rotate = rotation_of(a);
    *ret = a;
    return 0;
}

/* ---- sending ---- */

static uint8_t *put_header(uint8_t *out, const struct dns_query *q, unsigned flags, unsigned an,
                           unsigned ns, unsigned ar)
{
    out = dns_put16(out, q->id);
    out = dns_put16(out, DNS_FLAG_QR | DNS_FLAG_RA | flags |
                             (q->flags & (0x7800 | DNS_FLAG_RD | DNS_FLAG_CD)));
    out = dns_put16(out, q->question ? 1 : 0);
    out = dns_put16(out, an);
    out = dns_put16(out, ns);
    out = dns_put16(out, ar + q->edns);
    if (q->question) {
        memcpy(out, q->question, q->question_n);
        out += q->question_n;
    }
    return out;
}

static uint8_t *put_opt(uint8_t *out, const struct dns_query *q, unsigned rcode)
{
    if (!q->edns)
        return out;
    *out++ = 0;
    out = dns_put16(out, DNS_OPT);
    out = dns_put16(out, DNS_UDP_MAX);
    *out++ = (uint8_t)(rcode >> 4);
    *out++ = 0;
    out = dns_put16(out, q->dnssec_ok ? 0x8000 : 0);
    return dns_put16(out, 0);
}

static void put_body(uint8_t *out, const struct dns_answer *a, size_t n, uint32_t rotation)
{
    const uint8_t *body = dns_answer_body(a);
    size_t turned = a->rotate ? (size_t)a->rotate * a->an : 0, done = 0;

    if (turned) {
        size_t at = (size_t)a->rotate * (rotation % a->an), first = MIN(turned - at, n);
        memcpy(out, body + at, first);
        done = MIN(turned, n);
        memcpy(out + first, body, done - first);
    }
    memcpy(out + done, body + done, n - done);
}

size_t dns_answer_render(const struct dns_answer *a, const struct dns_query *q,
                         const struct dns_render *how, uint8_t *out)
{
    size_t room = how->limit - DNS_HEADER_BYTES - q->question_n - (q->edns ? OPT_BYTES : 0);
    unsigned rrs = dns_answer_rrs(a), must = a->an + a->ns;
    unsigned flags = a->rcode | (a->authoritative ? DNS_FLAG_AA : 0);

    ASSERT(how->limit >= DNS_UDP_PLAIN_MAX && q->question);
    if (a->authentic && (q->dnssec_ok || (q->flags & DNS_FLAG_AD)))
        flags |= DNS_FLAG_AD;
    while (rrs && a->rr[rrs - 1].end > room)
        rrs--;
    if (rrs < must)
        flags |= DNS_FLAG_TC;
    unsigned an = MIN(rrs, a->an), ns = MIN(rrs - an, a->ns), ar = rrs - an - ns;
    uint8_t *body = put_header(out, q, flags, an, ns, ar);
    size_t n = rrs ? a->rr[rrs - 1].end : 0;
    put_body(body, a, n, how->rotation);
    if (how->age_s || how->ttl_s)
        for (unsigned i = 0; i < rrs; i++) {
            uint32_t ttl = dns_u32(body + a->rr[i].ttl);
            ttl = how->ttl_s ? how->ttl_s : ttl > how->age_s ? ttl - how->age_s : 1;
            dns_put32(body + a->rr[i].ttl, ttl);
        }
    return (size_t)(put_opt(body + n, q, a->rcode) - out);
}

size_t dns_error_render(const struct dns_query *q, enum dns_rcode rcode, uint8_t *out)
{
    uint8_t *p = put_header(out, q, rcode & 15, 0, 0, 0);

    return (size_t)(put_opt(p, q, rcode) - out);
}
