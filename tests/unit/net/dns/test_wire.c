/* Queries taken apart, answers put together: limits, truncation, order, errors, what upstreams say.
 */
#include "dns_test.h"

#include "net/dns/cache.h"
#include "net/dns/resolv.h"
#include "net/dns/wire.h"

#include <unistd.h>

/* ---- queries ---- */

static void test_queries(void **state)
{
    static const struct {
        const char *why;
        size_t at; /* the byte changed */
        int to;    /* -1: none */
        int add;   /* bytes more or less at the end */
        int want;
    } rows[] = {
        {"as it is", 0, -1, 0, DNS_NOERROR},
        {"cut in the OPT", 0, -1, -1, DNS_FORMERR},
        {"cut in the question", 0, -1, -14, DNS_FORMERR},
        {"bytes behind the end", 0, -1, 1, DNS_FORMERR},
        {"an answer", 2, 0x81, 0, -EBADMSG},
        {"opcode STATUS", 2, 0x11, 0, DNS_NOTIMP},
        {"opcode UPDATE", 2, 0x29, 0, DNS_NOTIMP},
        {"two questions", 5, 2, 0, DNS_FORMERR},
        {"no question", 5, 0, 0, DNS_FORMERR},
        {"an answer record", 7, 1, 0, DNS_FORMERR},
        {"an authority record", 9, 1, 0, DNS_FORMERR},
        {"more additional records than there are", 11, 2, 0, DNS_FORMERR},
        {"fewer", 11, 0, 0, DNS_FORMERR},
        {"a pointer for a name", 12, 0xc0, 0, DNS_FORMERR},
        {"a label of an unknown kind", 12, 0x41, 0, DNS_FORMERR},
        {"a label beyond the end", 12, 63, 0, DNS_FORMERR},
        {"class CHAOS", 21, 3, 0, DNS_REFUSED},
        {"type OPT", 19, 41, 0, DNS_FORMERR},
        {"type AXFR", 19, 252, 0, DNS_REFUSED},
        {"EDNS version 1", 28, 1, 0, DNS_BADVERS},
        {"an OPT with a name", 22, 1, 0, DNS_FORMERR},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t p[128] = {0};
        struct dns_query q;
        size_t n = make_query(p, 0x1234, "a.bc", DNS_A, 4096);
        assert_int_equal(n, 33);
        if (rows[i].to >= 0)
            p[rows[i].at] = (uint8_t)rows[i].to;
        n = (size_t)((int)n + rows[i].add);
        int r = dns_query_parse((struct str){(char *)p, n}, &q);
        if (r != rows[i].want)
            fail_msg("%s: %d, not %d", rows[i].why, r, rows[i].want);
        if (r < 0)
            continue;
        /* Whatever is wrong, an answer can be made and is well formed. */
        uint8_t out[DNS_UDP_PLAIN_MAX];
        size_t size = dns_error_render(&q, (enum dns_rcode)r, out);
        ldns_pkt *pkt = NULL;
        assert_int_equal(ldns_wire2pkt(&pkt, out, size), LDNS_STATUS_OK);
        assert_int_equal(ldns_pkt_id(pkt), 0x1234);
        assert_int_equal(ldns_pkt_get_rcode(pkt), r & 15);
        ldns_pkt_free(pkt);
    }
    struct dns_query q;
    for (size_t n = 0; n < DNS_HEADER_BYTES; n++)
        assert_int_equal(dns_query_parse((struct str){"\0\0\0\0\0\0\0\0\0\0\0", n}, &q), -EBADMSG);
}

static void test_edns(void **state)
{
    static const struct {
        unsigned opt, want;
    } rows[] = {{0, 512}, {100, 512}, {512, 512}, {1000, 1000}, {1232, 1232}, {65535, 1232}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t p[128];
        struct dns_query q;
        size_t n = make_query(p, 1, "Ab", DNS_A, rows[i].opt);
        assert_int_equal(dns_query_parse((struct str){(char *)p, n}, &q), DNS_NOERROR);
        assert_int_equal(q.udp_size, rows[i].want);
        assert_int_equal(q.edns, rows[i].opt != 0);
        assert_memory_equal(q.name, "\2ab", 4);
        assert_memory_equal(q.question, "\2Ab", 4);
    }
    /* DO and the version come back. */
    uint8_t p[128], out[512];
    struct dns_query q;
    size_t n = make_query(p, 1, "a", DNS_A, 1232);
    p[n - 4] = 0x80;
    p[n - 5] = 9;
    assert_int_equal(dns_query_parse((struct str){(char *)p, n}, &q), DNS_BADVERS);
    n = dns_error_render(&q, DNS_BADVERS, out);
    ldns_pkt *pkt = NULL;
    assert_int_equal(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
    assert_true(ldns_pkt_edns_do(pkt));
    assert_int_equal(ldns_pkt_edns_version(pkt), 0);
    assert_int_equal(ldns_pkt_edns_extended_rcode(pkt), 1);
    ldns_pkt_free(pkt);
}

static void test_names(void **state)
{
    uint8_t name[DNS_NAME_MAX];
    char label[65], text[300] = "";

    memset(label, 'x', 64);
    label[64] = '\0';
    assert_int_equal(dns_name_from_text(STR(""), name), 1);
    assert_int_equal(dns_name_from_text(STR("."), name), 1);
    assert_int_equal(dns_name_from_text(STR("A.b."), name), 5);
    assert_memory_equal(name, "\1a\1b", 5);
    assert_int_equal(dns_name_from_text(STR("a..b"), name), -EINVAL);
    assert_int_equal(dns_name_from_text(STR(".a"), name), -EINVAL);
    assert_int_equal(dns_name_from_text(str_z(label), name), -EINVAL);
    assert_int_equal(dns_name_from_text(str_z(label + 1), name), 65);
    for (int i = 0; i < 127; i++)
        memcpy(text + 2 * i, "a.", 3);
    assert_int_equal(dns_name_from_text(str_z(text), name), 255);
    memcpy(text + 254, "a", 2);
    assert_int_equal(dns_name_from_text(str_z(text), name), -EINVAL);
}

/* ---- answers ---- */

static struct dns_answer *addresses(unsigned n, unsigned additional)
{
    struct dns_record *v = xcalloc(n + additional, sizeof(*v));
    struct dns_answer *a = NULL;

    for (unsigned i = 0; i < n + additional; i++) {
        v[i] = (struct dns_record){.type = DNS_A, .ttl_s = 5};
        v[i].ip = ip4_from_number(0x0a000000 + i);
        v[i].section = i < n ? DNS_ANSWER : DNS_ADDITIONAL;
    }
    struct dns_records r = {.v = v, .n = n + additional};
    assert_int_equal(dns_wire_encode(STR("\2ab\0"), DNS_A, &r, &a), 0);
    free(v);
    return a;
}

static ldns_pkt *render(const struct dns_answer *a, unsigned opt, struct dns_render how)
{
    static uint8_t out[DNS_TCP_MAX];
    uint8_t p[128];
    struct dns_query q;
    size_t n = make_query(p, 1, "aB", DNS_A, opt);
    ldns_pkt *pkt = NULL;

    assert_int_equal(dns_query_parse((struct str){(char *)p, n}, &q), DNS_NOERROR);
    memset(out, 0xee, sizeof(out));
    n = dns_answer_render(a, &q, &how, out);
    assert_true(n <= how.limit);
    assert_true(how.limit == DNS_TCP_MAX || out[how.limit] == 0xee);
    assert_int_equal(ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
    return pkt;
}

static void test_truncation(void **state)
{
    static const struct {
        unsigned n, additional, opt, limit, an, ar;
        bool tc;
    } rows[] = {
        {1, 0, 0, 512, 1, 0, false},
        {30, 0, 0, 512, 30, 0, false}, /* 12 + 8 + 30 * 16 = 500 */
        {31, 0, 0, 512, 30, 0, true},
        {30, 0, 600, 512, 30, 0, false}, /* with OPT: 511 */
        {30, 5, 0, 512, 30, 0, false},   /* additional ones may be left out */
        {20, 15, 0, 512, 20, 10, false},
        {75, 0, 1232, 1232, 75, 0, false},
        {76, 0, 1232, 1232, 75, 0, true},
        {4000, 0, 0, DNS_TCP_MAX, 4000, 0, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dns_answer *a = addresses(rows[i].n, rows[i].additional);
        ldns_pkt *pkt = render(a, rows[i].opt, (struct dns_render){.limit = rows[i].limit});
        assert_int_equal(ldns_pkt_ancount(pkt), rows[i].an);
        assert_int_equal(ldns_pkt_arcount(pkt), rows[i].ar);
        assert_int_equal(ldns_pkt_tc(pkt), rows[i].tc);
        assert_int_equal(ldns_pkt_edns(pkt), rows[i].opt != 0);
        ldns_pkt_free(pkt);
        dns_answer_unref(a);
    }
}

/* Every record is there whatever comes first, and every one comes first for some number. */
static void test_rotation(void **state)
{
    struct dns_answer *a = addresses(7, 1);
    bool first[7] = {0};

    assert_int_equal(a->rotate, 16);
    for (uint32_t i = 0; i < 7; i++) {
        ldns_pkt *pkt = render(a, 0, (struct dns_render){.limit = 512, .rotation = i + 700});
        unsigned seen = 0;
        for (size_t k = 0; k < 7; k++) {
            ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(pkt), k);
            uint8_t last = ldns_rdf_data(ldns_rr_a_address(rr))[3];
            seen |= 1u << last;
            first[last] |= k == 0;
        }
        assert_int_equal(seen, 127);
        ldns_pkt_free(pkt);
    }
    for (size_t i = 0; i < 7; i++)
        assert_true(first[i]);
    dns_answer_unref(a);
    a = addresses(1, 0);
    assert_int_equal(a->rotate, 0);
    dns_answer_unref(a);
}

static void test_ttl(void **state)
{
    static const struct {
        uint32_t age, fixed, want;
    } rows[] = {{0, 0, 5}, {2, 0, 3}, {5, 0, 1}, {99, 0, 1}, {0, 30, 30}};
    struct dns_answer *a = addresses(2, 1);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ldns_pkt *pkt =
            render(a, 0,
                   (struct dns_render){
                       .limit = 512, .age_s = rows[i].age, .ttl_s = rows[i].fixed, .rotation = 1});
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_answer(pkt), k)), rows[i].want);
        ldns_pkt_free(pkt);
    }
    dns_answer_unref(a);
}

/* ---- what others say ---- */

static size_t upstream(uint8_t *p, const char *const *answers, const char *authority, int rcode)
{
    ldns_pkt *pkt = ldns_pkt_new();
    ldns_rr *rr = NULL;
    uint8_t *wire;
    size_t n;

    assert_int_equal(ldns_rr_new_question_frm_str(&rr, "www.example.com. IN A", NULL, NULL), 0);
    ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION, rr);
    for (; answers && *answers; answers++) {
        assert_int_equal(ldns_rr_new_frm_str(&rr, *answers, 0, NULL, NULL), 0);
        ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, rr);
    }
    if (authority) {
        assert_int_equal(ldns_rr_new_frm_str(&rr, authority, 0, NULL, NULL), 0);
        ldns_pkt_push_rr(pkt, LDNS_SECTION_AUTHORITY, rr);
    }
    assert_int_equal(ldns_rr_new_frm_str(&rr, "ns.example.com. 9 IN A 192.0.2.99", 0, NULL, NULL),
                     0);
    ldns_pkt_push_rr(pkt, LDNS_SECTION_ADDITIONAL, rr);
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_rcode(pkt, (uint8_t)rcode);
    ldns_pkt_set_edns_udp_size(pkt, 4096);
    assert_int_equal(ldns_pkt2wire(&wire, pkt, &n), 0);
    memcpy(p, wire, n);
    free(wire);
    ldns_pkt_free(pkt);
    return n;
}

#define A(ttl) "www.example.com. " ttl " IN A 192.0.2.1"

static void test_upstream(void **state)
{
    static const struct {
        const char *answers[4], *authority;
        int rcode;
        uint32_t cache_s;
        unsigned an, ns;
    } rows[] = {
        {{A("60")}, NULL, 0, 60, 1, 0},
        {{A("60"), "www.example.com. 7 IN A 192.0.2.2"}, NULL, 0, 7, 2, 0},
        {{A("999999")}, NULL, 0, DNS_TTL_MAX_S, 1, 0},
        {{A("0")}, NULL, 0, 0, 1, 0},
        {{"www.example.com. 60 IN CNAME w.example.com.", "w.example.com. 9 IN A 192.0.2.1"},
         NULL,
         0,
         9,
         2,
         0},
        {{NULL}, "example.com. 100 IN SOA ns.example.com. h.example.com. 1 2 3 4 20", 3, 20, 0, 1},
        {{NULL}, "example.com. 10 IN SOA ns.example.com. h.example.com. 1 2 3 4 20", 0, 10, 0, 1},
        {{NULL},
         "example.com. 9999 IN SOA ns.example.com. h.example.com. 1 2 3 4 9999",
         0,
         DNS_NEGATIVE_MAX_S,
         0,
         1},
        {{NULL}, NULL, 3, 0, 0, 0}, /* no SOA: not to be kept */
        {{"www.example.com. 60 IN CNAME w.example.com."},
         "example.com. 10 IN SOA ns.example.com. h.example.com. 1 2 3 4 20",
         0,
         10,
         1,
         1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t p[2048];
        size_t n = upstream(p, rows[i].answers, rows[i].authority, rows[i].rcode);
        struct dns_answer *a = NULL;
        uint32_t cache_s = 12345;
        assert_int_equal(dns_wire_upstream(p, n, &a, &cache_s), 0);
        assert_int_equal(cache_s, rows[i].cache_s);
        assert_int_equal(a->rcode, rows[i].rcode);
        assert_int_equal(a->an, rows[i].an);
        assert_int_equal(a->ns, rows[i].ns);
        assert_int_equal(a->ar, 0); /* neither OPT nor what was not asked for */
        assert_false(a->authoritative);
        dns_answer_unref(a);
        for (size_t cut = 0; cut < n; cut++) {
            a = NULL;
            if (dns_wire_upstream(p, cut, &a, &cache_s) == 0)
                fail_msg("row %zu cut to %zu of %zu bytes was taken", i, cut, n);
            assert_null(a);
        }
    }
}

static void test_join(void **state)
{
    static const char *const answers[] = {A("60"), NULL};
    uint8_t p[2048];
    struct dns_answer *tail = NULL, *a = NULL;
    uint32_t cache_s;
    size_t n = upstream(p, answers, NULL, 0);
    struct str qname = STR("\2ab\0"), target = STR("\3www\7example\3com\0");
    struct dns_record cname = {.type = DNS_CNAME, .owner = qname, .ttl_s = 5, .name = target};
    struct dns_records r = {.v = &cname, .n = 1};

    assert_int_equal(dns_wire_upstream(p, n, &tail, &cache_s), 0);
    assert_int_equal(dns_wire_join(qname, DNS_A, &r, target, tail, &a), 0);
    ldns_pkt *pkt = render(a, 0, (struct dns_render){.limit = 512});
    char *s = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(pkt), 1));
    assert_int_equal(ldns_pkt_ancount(pkt), 2);
    assert_string_equal(s, "www.example.com.\t60\tIN\tA\t192.0.2.1\n");
    assert_int_equal(a->ttl_s, 5);
    free(s);
    ldns_pkt_free(pkt);
    dns_answer_unref(a);
    dns_answer_unref(tail);
}

/* ---- the cache ---- */

static void test_cache_bounds(void **state)
{
    struct dns_cache *c = dns_cache_new(10, 1 << 20);
    struct dns_answer *a = addresses(1, 0), *big = addresses(1000, 0);
    struct dns_key keep, k;
    uint8_t name[DNS_NAME_MAX];

    dns_key_make(&keep, STR("\4keep\0"), DNS_A, 0);
    dns_cache_put(c, &keep, a);
    for (int i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof(text), "n%d", i);
        ssize_t n = dns_name_from_text(str_z(text), name);
        dns_key_make(&k, (struct str){(char *)name, (size_t)n}, DNS_A, 0);
        dns_cache_put(c, &k, a);
        assert_true(dns_cache_count(c) <= 10);
        assert_non_null(dns_cache_get(c, &keep)); /* used, so it stays */
        assert_non_null(dns_cache_get(c, &k));
    }
    dns_key_make(&k, STR("\4keep\0"), DNS_AAAA, 0);
    assert_null(dns_cache_get(c, &k));
    dns_key_make(&k, STR("\4keep\0"), DNS_A, DNS_KEY_DNSSEC);
    assert_null(dns_cache_get(c, &k));
    dns_cache_put(c, &keep, big);
    assert_int_equal(dns_cache_count(c), 10);
    assert_ptr_equal(dns_cache_get(c, &keep)->answer, big);
    dns_cache_free(c);

    c = dns_cache_new(1000, 2 * dns_answer_bytes(big));
    for (unsigned i = 0; i < 5; i++) {
        dns_key_make(&k, STR("\4keep\0"), (uint16_t)(i + 1), 0);
        dns_cache_put(c, &k, big);
    }
    assert_int_equal(dns_cache_count(c), 1);
    assert_true(dns_cache_bytes(c) <= 2 * dns_answer_bytes(big));
    dns_cache_free(c);
    assert_int_equal(a->refs, 1);
    dns_answer_unref(a);
    dns_answer_unref(big);
}

/* ---- resolv.conf ---- */

static void test_resolv(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *first;
    } rows[] = {
        {"", 0, NULL},
        {"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", 2, "192.0.2.1"},
        {"# nameserver 192.0.2.9\n search a b\n nameserver\t192.0.2.2 # x\nnameserver x\n", 1,
         "192.0.2.2"},
        {"nameserverx 192.0.2.1\nnameserver\nnameserver 192.0.2.3", 1, "192.0.2.3"},
        {"nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.1",
         3, "192.0.2.1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_addr v[3];
        char text[IP_TEXT_MAX];
        assert_int_equal(dns_resolv_parse(str_z(rows[i].text), v, 3), rows[i].n);
        if (rows[i].n)
            assert_string_equal(ip_format(&v[0], text), rows[i].first);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_resolv_refresh(void **state)
{
    char dir[] = "/tmp/davit-resolv.XXXXXX";
    struct ip_addr own;

    assert_non_null(mkdtemp(dir));
    char *path = xasprintf("%s/resolv.conf", dir), *stub = xasprintf("%s/stub", dir);
    struct dns_resolv r = {.path = path, .stub_path = stub, .own = &own, .n_own = 1};
    assert_int_equal(ip_parse(STR("10.96.0.10"), &own), 0);
    assert_true(dns_resolv_refresh(&r));
    assert_int_equal(r.n, 0);
    assert_false(dns_resolv_refresh(&r));
    write_file(path, "nameserver 10.96.0.10\nnameserver 192.0.2.1\n"); /* never ourselves */
    assert_true(dns_resolv_refresh(&r));
    assert_int_equal(r.n, 1);
    assert_int_equal(ip4_number(&r.servers[0]), 0xc0000201);
    write_file(path, "nameserver 127.0.0.53\n");
    assert_true(dns_resolv_refresh(&r));
    assert_int_equal(ip4_number(&r.servers[0]), 0x7f000035); /* no other is known */
    write_file(stub, "nameserver 192.0.2.7\n");
    assert_true(dns_resolv_refresh(&r));
    assert_int_equal(r.n, 1);
    assert_int_equal(ip4_number(&r.servers[0]), 0xc0000207);
    unlink(path);
    unlink(stub);
    rmdir(dir);
    free(path);
    free(stub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries),        cmocka_unit_test(test_edns),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_rotation),       cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_upstream),       cmocka_unit_test(test_join),
        cmocka_unit_test(test_cache_bounds),   cmocka_unit_test(test_resolv),
        cmocka_unit_test(test_resolv_refresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
