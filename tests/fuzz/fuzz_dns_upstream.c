/* What a name server outside may say: refused, or made into an answer that holds together; the text
 * of a resolv.conf too. The first byte says which. */
#include "net/dns/resolv.h"
#include "net/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(const uint8_t *p, size_t n)
{
    static uint8_t out[DNS_TCP_MAX], query[DNS_HEADER_BYTES + DNS_NAME_MAX + 4];
    struct dns_answer *a = NULL, *joined = NULL;
    struct dns_query q;
    uint32_t cache_s = 0;

    if (dns_wire_upstream(p, n, &a, &cache_s) < 0)
        return;
    ASSERT(cache_s <= DNS_TTL_MAX_S && a->ttl_s <= DNS_TTL_MAX_S && a->ar == 0);
    ASSERT(dns_answer_rrs(a) == 0 || a->rr[dns_answer_rrs(a) - 1].end == a->body_n);
    /* As for the one who asked it: the forwarder has compared the question. */
    size_t name = dns_name_skip(p, n, DNS_HEADER_BYTES);
    if (name > DNS_NAME_MAX) {
        dns_answer_unref(a);
        return;
    }
    memset(query, 0, DNS_HEADER_BYTES);
    query[5] = 1;
    memcpy(query + DNS_HEADER_BYTES, p + DNS_HEADER_BYTES, name + 4);
    if (dns_query_parse((struct str){(char *)query, DNS_HEADER_BYTES + name + 4}, &q) ==
        DNS_NOERROR) {
        static const size_t limits[] = {DNS_UDP_PLAIN_MAX, DNS_UDP_MAX, DNS_TCP_MAX};
        for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
            struct dns_render how = {.limit = limits[i], .age_s = 7, .rotation = 3};
            ASSERT(dns_answer_render(a, &q, &how, out) <= limits[i]);
        }
        struct str qname = STR("\1e\1d\0"), tail = {(char *)q.name, q.name_n};
        struct dns_record cname = {.type = DNS_CNAME, .owner = qname, .ttl_s = 5, .name = tail};
        struct dns_records r = {.v = &cname, .n = 1};
        if (dns_wire_join(qname, q.type, &r, tail, a, &joined) == 0)
            ASSERT(joined->an >= 1);
        dns_answer_unref(joined);
    }
    dns_answer_unref(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ip_addr v[DNS_UPSTREAMS_MAX];

    if (size == 0)
        return 0;
    if (data[0] == 'r')
        ASSERT(dns_resolv_parse((struct str){(const char *)data + 1, size - 1}, v, ARRAY_LEN(v)) <=
               ARRAY_LEN(v));
    else
        answer(data + 1, size - 1);
    return 0;
}
