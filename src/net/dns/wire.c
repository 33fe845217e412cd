/* ldns as a dependency of the program would cost every davit process some 300 KB of memory (its
 * pages and relocations), asked or not; the agent loads it with the first question. Everything an
 * upstream says goes through its parser and is encoded anew, so that nothing of a stranger's bytes
 * reaches a client as they came. */
#include "net/dns/wire.h"

#include <ldns/ldns.h>
#include <netinet/in.h>
#include <pthread.h>

#include "base/dl.h"
#include "base/mem.h"

#define FUNCTIONS(X)                                                                               \
    X(ldns_pkt_new)                                                                                \
    X(ldns_pkt_free)                                                                               \
    X(ldns_pkt_set_qr)                                                                             \
    X(ldns_pkt_set_aa)                                                                             \
    X(ldns_pkt_set_ad)                                                                             \
    X(ldns_pkt_set_rcode)                                                                          \
    X(ldns_pkt_get_rcode)                                                                          \
    X(ldns_pkt_ad)                                                                                 \
    X(ldns_pkt_push_rr)                                                                            \
    X(ldns_pkt_question)                                                                           \
    X(ldns_pkt_answer)                                                                             \
    X(ldns_pkt_authority)                                                                          \
    X(ldns_pkt2wire)                                                                               \
    X(ldns_wire2pkt)                                                                               \
    X(ldns_rdf_new_frm_data)                                                                       \
    X(ldns_rdf_data)                                                                               \
    X(ldns_rdf_size)                                                                               \
    X(ldns_rr_new)                                                                                 \
    X(ldns_rr_free)                                                                                \
    X(ldns_rr_clone)                                                                               \
    X(ldns_rr_push_rdf)                                                                            \
    X(ldns_rr_rdf)                                                                                 \
    X(ldns_rr_ttl)                                                                                 \
    X(ldns_rr_get_type)                                                                            \
    X(ldns_rr_set_owner)                                                                           \
    X(ldns_rr_set_ttl)                                                                             \
    X(ldns_rr_set_type)                                                                            \
    X(ldns_rr_set_class)                                                                           \
    X(ldns_rr_set_question)                                                                        \
    X(ldns_rr_list_rr_count)                                                                       \
    X(ldns_rr_list_rr)

static struct {
#define X(f) typeof(f) *f;
    FUNCTIONS(X)
#undef X
} lib;

static void load(void)
{
    static const struct dl_symbol symbols[] = {
#define X(f) {#f, (void **)&lib.f},
        FUNCTIONS(X)
#undef X
    };

    dl_need("libldns.so.3", symbols, ARRAY_LEN(symbols));
}

static void need(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
}

/* ---- making records ---- */

static ldns_rr *rr_new(struct str owner, unsigned type)
{
    ldns_rr *rr = lib.ldns_rr_new();

    ASSERT(rr);
    lib.ldns_rr_set_owner(rr, lib.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, owner.n, owner.p));
    lib.ldns_rr_set_type(rr, (ldns_rr_type)type);
    lib.ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    return rr;
}

static void push(ldns_rr *rr, ldns_rdf_type type, const void *p, size_t n)
{
    ldns_rdf *f = lib.ldns_rdf_new_frm_data(type, n, p);

    ASSERT(f && lib.ldns_rr_push_rdf(rr, f));
}

static void push16(ldns_rr *rr, unsigned v)
{
    uint8_t b[2];

    dns_put16(b, v);
    push(rr, LDNS_RDF_TYPE_INT16, b, sizeof(b));
}

static void push32(ldns_rr *rr, ldns_rdf_type type, uint32_t v)
{
    uint8_t b[4];

    dns_put32(b, v);
    push(rr, type, b, sizeof(b));
}

static void push_soa(ldns_rr *rr, const struct dns_record *r)
{
    push(rr, LDNS_RDF_TYPE_DNAME, r->name.p, r->name.n);
    push(rr, LDNS_RDF_TYPE_DNAME, r->mail.p, r->mail.n);
    push32(rr, LDNS_RDF_TYPE_INT32, r->serial);
    push32(rr, LDNS_RDF_TYPE_PERIOD, 7200);
    push32(rr, LDNS_RDF_TYPE_PERIOD, 1800);
    push32(rr, LDNS_RDF_TYPE_PERIOD, 86400);
    push32(rr, LDNS_RDF_TYPE_PERIOD, DNS_CLUSTER_TTL_S);
}

static ldns_rr *rr_from(struct str qname, const struct dns_record *r)
{
    ldns_rr *rr = rr_new(r->owner.n ? r->owner : qname, r->type);
    uint8_t text[256];

    lib.ldns_rr_set_ttl(rr, r->ttl_s);
    switch (r->type) {
    case DNS_A:
        push(rr, LDNS_RDF_TYPE_A, r->ip.b, 4);
        break;
    case DNS_AAAA:
        push(rr, LDNS_RDF_TYPE_AAAA, r->ip.b, 16);
        break;
    case DNS_SRV: /* priority, weight */
        push16(rr, 0);
        push16(rr, 100);
        push16(rr, r->port);
        push(rr, LDNS_RDF_TYPE_DNAME, r->name.p, r->name.n);
        break;
    case DNS_TXT:
        text[0] = (uint8_t)MIN(r->name.n, 255u);
        memcpy(text + 1, r->name.p, text[0]);
        push(rr, LDNS_RDF_TYPE_STR, text, 1u + text[0]);
        break;
    case DNS_SOA:
        push_soa(rr, r);
        break;
    default:
        push(rr, LDNS_RDF_TYPE_DNAME, r->name.p, r->name.n);
    }
    return rr;
}

/* ---- packets ---- */

static ldns_pkt *pkt_new(struct str qname, unsigned type)
{
    ldns_pkt *pkt = lib.ldns_pkt_new();
    ldns_rr *q = rr_new(qname, type);

    ASSERT(pkt);
    lib.ldns_rr_set_question(q, true);
    lib.ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION, q);
    lib.ldns_pkt_set_qr(pkt, true);
    return pkt;
}

static void push_records(ldns_pkt *pkt, struct str qname, const struct dns_records *r)
{
    static const ldns_pkt_section sections[] = {
        [DNS_ANSWER] = LDNS_SECTION_ANSWER,
        [DNS_AUTHORITY] = LDNS_SECTION_AUTHORITY,
        [DNS_ADDITIONAL] = LDNS_SECTION_ADDITIONAL,
    };

    for (size_t i = 0; i < r->n; i++)
        lib.ldns_pkt_push_rr(pkt, sections[r->v[i].section], rr_from(qname, &r->v[i]));
}

/* Frees pkt. */
static int finish(ldns_pkt *pkt, struct dns_answer **ret)
{
    uint8_t *wire = NULL;
    size_t n = 0;
    int r = lib.ldns_pkt2wire(&wire, pkt, &n) == LDNS_STATUS_OK ? 0 : -EINVAL;

    lib.ldns_pkt_free(pkt);
    if (r == 0)
        r = n > DNS_TCP_MAX ? -EMSGSIZE : dns_answer_new(wire, n, ret);
    free(wire);
    return r;
}

int dns_wire_encode(struct str qname, uint16_t type, const struct dns_records *r,
                    struct dns_answer **ret)
{
    need();
    ldns_pkt *pkt = pkt_new(qname, type);
    lib.ldns_pkt_set_aa(pkt, true);
    lib.ldns_pkt_set_rcode(pkt, (uint8_t)r->rcode);
    push_records(pkt, qname, r);
    return finish(pkt, ret);
}

/* ---- what others said ---- */

static void push_copies(ldns_pkt *to, ldns_pkt_section section, const ldns_rr_list *from)
{
    size_t n = from ? lib.ldns_rr_list_rr_count(from) : 0;

    for (size_t i = 0; i < n; i++) {
        ldns_rr *rr = lib.ldns_rr_clone(lib.ldns_rr_list_rr(from, i));
        uint32_t ttl = lib.ldns_rr_ttl(rr);
        /* RFC 2181: with the top bit set it is 0. */
        lib.ldns_rr_set_ttl(rr, ttl >> 31 ? 0 : MIN(ttl, (uint32_t)DNS_TTL_MAX_S));
        lib.ldns_pkt_push_rr(to, section, rr);
    }
}

/* RFC 2308: a negative answer lives as long as the SOA that came with it says. */
static uint32_t negative_ttl(const ldns_rr_list *authority)
{
    size_t n = authority ? lib.ldns_rr_list_rr_count(authority) : 0;

    for (size_t i = 0; i < n; i++) {
        const ldns_rr *rr = lib.ldns_rr_list_rr(authority, i);
        const ldns_rdf *minimum = lib.ldns_rr_rdf(rr, 6);
        if (lib.ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || !minimum ||
            lib.ldns_rdf_size(minimum) != 4)
            continue;
        uint32_t ttl = MIN(lib.ldns_rr_ttl(rr), dns_u32(lib.ldns_rdf_data(minimum)));
        return MIN(ttl, (uint32_t)DNS_NEGATIVE_MAX_S);
    }
    return 0;
}

/* NOERROR is negative when the type asked for is not in it: only CNAMEs, or nothing. */
static bool is_negative(const ldns_pkt *pkt, unsigned type)
{
    const ldns_rr_list *l = lib.ldns_pkt_answer(pkt);
    size_t n = l ? lib.ldns_rr_list_rr_count(l) : 0;

    if (lib.ldns_pkt_get_rcode(pkt) == LDNS_RCODE_NXDOMAIN)
        return true;
    for (size_t i = 0; i < n; i++)
        if (type == DNS_ANY || lib.ldns_rr_get_type(lib.ldns_rr_list_rr(l, i)) == type)
            return false;
    return true;
}

int dns_wire_upstream(const uint8_t *p, size_t n, struct dns_answer **ret, uint32_t *ret_cache_s)
{
    ldns_pkt *in = NULL;

    need();
    if (lib.ldns_wire2pkt(&in, p, n) != LDNS_STATUS_OK)
        return -EBADMSG;
    const ldns_rr_list *questions = lib.ldns_pkt_question(in);
    if (!questions || lib.ldns_rr_list_rr_count(questions) != 1) {
        lib.ldns_pkt_free(in);
        return -EBADMSG;
    }
    ldns_rr *q = lib.ldns_rr_list_rr(questions, 0);
    bool negative = is_negative(in, lib.ldns_rr_get_type(q));
    uint32_t cache_s = negative ? negative_ttl(lib.ldns_pkt_authority(in)) : DNS_TTL_MAX_S;
    ldns_pkt *out = lib.ldns_pkt_new();
    ASSERT(out);
    lib.ldns_pkt_set_qr(out, true);
    lib.ldns_pkt_set_ad(out, lib.ldns_pkt_ad(in));
    lib.ldns_pkt_set_rcode(out, lib.ldns_pkt_get_rcode(in));
    lib.ldns_pkt_push_rr(out, LDNS_SECTION_QUESTION, lib.ldns_rr_clone(q));
    push_copies(out, LDNS_SECTION_ANSWER, lib.ldns_pkt_answer(in));
    push_copies(out, LDNS_SECTION_AUTHORITY, lib.ldns_pkt_authority(in));
    lib.ldns_pkt_free(in);
    struct dns_answer *a = NULL;
    int r = finish(out, &a);
    if (r < 0)
        return r == -EMSGSIZE ? r : -EBADMSG;
    *ret_cache_s = MIN(cache_s, a->ttl_s);
    *ret = a;
    return 0;
}

int dns_wire_join(struct str qname, uint16_t type, const struct dns_records *r,
                  struct str tail_name, const struct dns_answer *tail, struct dns_answer **ret)
{
    size_t n = DNS_HEADER_BYTES + tail_name.n + 4 + tail->body_n;
    uint8_t *packet, *p;
    ldns_pkt *in = NULL;

    need();
    if (n > DNS_TCP_MAX)
        return -EMSGSIZE;
    p = packet = xcalloc(1, n);
    dns_put16(p + 2, DNS_FLAG_QR | tail->rcode);
    dns_put16(p + 4, 1);
    dns_put16(p + 6, tail->an);
    dns_put16(p + 8, tail->ns);
    dns_put16(p + 10, tail->ar);
    memcpy(p + DNS_HEADER_BYTES, tail_name.p, tail_name.n);
    p = dns_put16(p + DNS_HEADER_BYTES + tail_name.n, type);
    p = dns_put16(p, 1);
    memcpy(p, dns_answer_body(tail), tail->body_n);
    bool ok = lib.ldns_wire2pkt(&in, packet, n) == LDNS_STATUS_OK;
    free(packet);
    if (!ok)
        return -EBADMSG;
    ldns_pkt *out = pkt_new(qname, type);
    lib.ldns_pkt_set_rcode(out, tail->rcode);
    push_records(out, qname, r);
    push_copies(out, LDNS_SECTION_ANSWER, lib.ldns_pkt_answer(in));
    push_copies(out, LDNS_SECTION_AUTHORITY, lib.ldns_pkt_authority(in));
    lib.ldns_pkt_free(in);
    return finish(out, ret);
}
