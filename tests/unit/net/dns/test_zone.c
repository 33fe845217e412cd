/* What the zone answers, name by name, through the whole way to the wire and back by ldns. */
#include "dns_test.h"

#include "net/dns/wire.h"
#include "net/dns/zone.h"

#define SOA_OF(owner)                                                                              \
    "@" owner " 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. N 7200 1800 86400 5\n"
#define NXDOMAIN "NXDOMAIN aa\n" SOA_OF("cluster.local.")
#define NODATA   "NOERROR aa\n" SOA_OF("cluster.local.")

static struct zone *zone;

static void set(const char *ns, const char *name, struct object *svc, struct object *slice)
{
    zone_set(zone, str_z(ns), str_z(name), svc, &slice, slice ? 1 : 0);
    object_unref(svc);
    object_unref(slice);
}

static struct object *external(const char *name, const char *target)
{
    struct api_service s = {.metadata = {.name = str_z(name), .namespace = STR("default")},
                            .spec = {.type = STR("ExternalName"), .external_name = str_z(target)}};

    return object_new(schema_kinds[KIND_SERVICE], &s, 1);
}

static struct api_service_port web_ports[] = {
    {.name = STR("http"), .protocol = STR("TCP"), .port = 80},
    {.name = STR("stat"), .protocol = STR("UDP"), .port = 81},
    {.protocol = STR("TCP"), .port = 82}};

static void fill_headless(void)
{
    struct str ip[] = {STR("10.9.0.2"), STR("10.9.0.3"), STR("10.9.0.4"), STR("10.9.0.5")};
    struct api_endpoint eps[] = {test_endpoint(&ip[0], "db-0", 1),
                                 test_endpoint(&ip[1], "db-1", -1),
                                 test_endpoint(&ip[2], "db-2", 0), test_endpoint(&ip[3], NULL, 1)};
    struct api_endpoint unready[] = {test_endpoint(&ip[2], "u-0", 0)};
    struct api_discovery_endpoint_port port[] = {
        {.name = STR("sql"), .protocol = STR("TCP"), .has_port = true, .port = 5432}};
    struct api_service_port svc_port[] = {
        {.name = STR("sql"), .protocol = STR("TCP"), .port = 5432}};
    struct api_service all = {
        .metadata = {.name = STR("all"), .namespace = STR("prod")},
        .spec = {.cluster_ip = STR("None"), .publish_not_ready_addresses = true}};

    set("prod", "db", test_service("prod", "db", "None", svc_port, 1),
        test_slice("prod", "db", eps, 4, port, 1));
    set("prod", "down", test_service("prod", "down", "None", svc_port, 1),
        test_slice("prod", "down", unready, 1, port, 1));
    set("prod", "all", object_new(schema_kinds[KIND_SERVICE], &all, 1),
        test_slice("prod", "all", unready, 1, port, 1));
}

static int setup(void **state)
{
    struct zone_opts o = {.domain = "Cluster.Local."};

    assert_int_equal(ip_parse(STR("10.96.0.10"), &o.dns_address), 0);
    assert_int_equal(ip_prefix_parse(STR("10.96.0.0/16"), &o.service_cidr), 0);
    assert_int_equal(ip_prefix_parse(STR("10.9.0.0/16"), &o.cluster_cidr), 0);
    assert_int_equal(zone_new(&o, &zone), 0);
    set("default", "kubernetes", test_service("default", "kubernetes", "10.96.0.1", web_ports, 1),
        NULL);
    set("default", "web", test_service("default", "web", "10.96.0.20", web_ports, 3), NULL);
    set("default", "ext", external("ext", "www.Example.com"), NULL);
    set("default", "inner", external("inner", "web.default.svc.cluster.local"), NULL);
    set("default", "nowhere", external("nowhere", "no.default.svc.cluster.local."), NULL);
    set("default", "loop-a", external("loop-a", "loop-b.default.svc.cluster.local"), NULL);
    set("default", "loop-b", external("loop-b", "loop-a.default.svc.cluster.local"), NULL);
    fill_headless();
    zone_synced(zone);
    return 0;
}

static int teardown(void **state)
{
    zone = zone_free(zone);
    return 0;
}

/* The serial number changes with everything: shown as N. */
static void hide_serial(char *s)
{
    const char *before = "hostmaster.cluster.local. ";
    char *at = s;

    while ((at = strstr(at, before))) {
        at += strlen(before);
        size_t n = strspn(at, "0123456789");
        *at = 'N';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
}

/* The answer as text, or what kept it from being one. */
static char *ask(const char *name, unsigned type)
{
    uint8_t query[512], out[65535];
    size_t n = make_query(query, 7, name, type, 1232);
    struct dns_query q;
    struct zone_answer z;
    struct dns_answer *a = NULL;
    struct arena arena = {0};
    char *text;

    assert_int_equal(dns_query_parse((struct str){(char *)query, n}, &q), DNS_NOERROR);
    struct str lower = {(char *)q.name, q.name_n};
    enum zone_result r = zone_lookup(zone, lower, q.type, &arena, &z);
    switch (r) {
    case ZONE_NOT_MINE:
        text = xstrdup("not mine");
        break;
    case ZONE_NOT_READY:
        text = xstrdup("not ready");
        break;
    default:
        assert_int_equal(dns_wire_encode(lower, q.type, &z.records, &a), 0);
        n = dns_answer_render(a, &q, &(struct dns_render){.limit = sizeof(out)}, out);
        text = answer_text(out, n);
        if (r == ZONE_CHASE)
            text[0] = '>';
        dns_answer_unref(a);
    }
    arena_fini(&arena);
    hide_serial(text);
    return text;
}

struct row {
    const char *name;
    unsigned type;
    const char *want;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *got = ask(rows[i].name, rows[i].type);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s type %u:\n--- wanted\n%s--- got\n%s", rows[i].name, rows[i].type,
                     rows[i].want, got);
        free(got);
    }
}

#define DOMAIN ".cluster.local"

static void test_services(void **state)
{
    static const struct row rows[] = {
        {"web.default.svc" DOMAIN, DNS_A,
         "NOERROR aa\nweb.default.svc.cluster.local. 5 IN A 10.96.0.20\n"},
        {"WeB.default.SVC.cluster.LOCAL", DNS_A,
         "NOERROR aa\nWeB.default.SVC.cluster.LOCAL. 5 IN A 10.96.0.20\n"},
        {"kubernetes.default.svc" DOMAIN, DNS_A,
         "NOERROR aa\nkubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1\n"},
        {"web.default.svc" DOMAIN, DNS_AAAA, NODATA},
        {"web.default.svc" DOMAIN, DNS_TXT, NODATA},
        {"web.default.svc" DOMAIN, 64 /* SVCB */, NODATA},
        {"no.default.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"no.default.svc" DOMAIN, DNS_AAAA, NXDOMAIN},
        {"web.none.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"x.web.default.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"default.svc" DOMAIN, DNS_A, NODATA},
        {"none.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"svc" DOMAIN, DNS_A, NODATA},
        {"nothing" DOMAIN, DNS_A, NXDOMAIN},
        {"web.default.svc.cluster.local.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"web.default.svc.xcluster.local", DNS_A, "not mine"},
        {"example.com", DNS_A, "not mine"},
        {"local", DNS_A, "not mine"},
        {"", DNS_NS, "not mine"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_apex(void **state)
{
    static const struct row rows[] = {
        {"cluster.local", DNS_SOA,
         "NOERROR aa\ncluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. N "
         "7200 1800 86400 5\n"},
        {"cluster.local", DNS_NS,
         "NOERROR aa\ncluster.local. 5 IN NS ns.dns.cluster.local.\n"
         "+ns.dns.cluster.local. 5 IN A 10.96.0.10\n"},
        {"cluster.local", DNS_A, NODATA},
        {"dns" DOMAIN, DNS_A, NODATA},
        {"ns.dns" DOMAIN, DNS_A, "NOERROR aa\nns.dns.cluster.local. 5 IN A 10.96.0.10\n"},
        {"x.dns" DOMAIN, DNS_A, NXDOMAIN},
        {"dns-version" DOMAIN, DNS_TXT,
         "NOERROR aa\ndns-version.cluster.local. 5 IN TXT \"1.1.0\"\n"},
        {"dns-version" DOMAIN, DNS_A, NODATA},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_srv(void **state)
{
    static const struct row rows[] = {
        {"_http._tcp.web.default.svc" DOMAIN, DNS_SRV,
         "NOERROR aa\n_http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 "
         "web.default.svc.cluster.local.\n+web.default.svc.cluster.local. 5 IN A 10.96.0.20\n"},
        {"_HTTP._TCP.web.default.svc" DOMAIN, DNS_A, NODATA},
        {"_http._udp.web.default.svc" DOMAIN, DNS_SRV, NXDOMAIN},
        {"_none._tcp.web.default.svc" DOMAIN, DNS_SRV, NXDOMAIN},
        {"_tcp.web.default.svc" DOMAIN, DNS_SRV, NODATA},
        {"_sctp.web.default.svc" DOMAIN, DNS_SRV, NXDOMAIN},
        {"_sql._tcp.db.prod.svc" DOMAIN, DNS_SRV,
         "NOERROR aa\n"
         "_sql._tcp.db.prod.svc.cluster.local. 5 IN SRV 0 100 5432 "
         "10-9-0-5.db.prod.svc.cluster.local.\n"
         "_sql._tcp.db.prod.svc.cluster.local. 5 IN SRV 0 100 5432 "
         "db-0.db.prod.svc.cluster.local.\n"
         "_sql._tcp.db.prod.svc.cluster.local. 5 IN SRV 0 100 5432 "
         "db-1.db.prod.svc.cluster.local.\n"
         "+10-9-0-5.db.prod.svc.cluster.local. 5 IN A 10.9.0.5\n"
         "+db-0.db.prod.svc.cluster.local. 5 IN A 10.9.0.2\n"
         "+db-1.db.prod.svc.cluster.local. 5 IN A 10.9.0.3\n"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_headless(void **state)
{
    static const struct row rows[] = {
        {"db.prod.svc" DOMAIN, DNS_A,
         "NOERROR aa\ndb.prod.svc.cluster.local. 5 IN A 10.9.0.2\n"
         "db.prod.svc.cluster.local. 5 IN A 10.9.0.3\n"
         "db.prod.svc.cluster.local. 5 IN A 10.9.0.5\n"},
        {"db.prod.svc" DOMAIN, DNS_AAAA, NODATA},
        {"db-1.db.prod.svc" DOMAIN, DNS_A,
         "NOERROR aa\ndb-1.db.prod.svc.cluster.local. 5 IN A 10.9.0.3\n"},
        {"DB-1.db.prod.svc" DOMAIN, DNS_AAAA, NODATA},
        {"db-2.db.prod.svc" DOMAIN, DNS_A, NXDOMAIN}, /* not ready */
        {"10-9-0-5.db.prod.svc" DOMAIN, DNS_A,
         "NOERROR aa\n10-9-0-5.db.prod.svc.cluster.local. 5 IN A 10.9.0.5\n"},
        {"10-9-0-2.db.prod.svc" DOMAIN, DNS_A, NXDOMAIN}, /* it has a hostname */
        {"down.prod.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"_sql._tcp.down.prod.svc" DOMAIN, DNS_SRV, NXDOMAIN},
        {"all.prod.svc" DOMAIN, DNS_A, "NOERROR aa\nall.prod.svc.cluster.local. 5 IN A 10.9.0.4\n"},
        {"a.db-1.db.prod.svc" DOMAIN, DNS_A, NXDOMAIN},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_pods_and_reverse(void **state)
{
    static const struct row rows[] = {
        {"10-9-0-77.default.pod" DOMAIN, DNS_A,
         "NOERROR aa\n10-9-0-77.default.pod.cluster.local. 5 IN A 10.9.0.77\n"},
        {"10-9-0-77.default.pod" DOMAIN, DNS_AAAA, NODATA},
        {"10-9-0.default.pod" DOMAIN, DNS_A, NXDOMAIN},
        {"default.pod" DOMAIN, DNS_A, NODATA},
        {"20.0.96.10.in-addr.arpa", DNS_PTR,
         "NOERROR aa\n20.0.96.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.\n"},
        {"20.0.96.10.in-addr.arpa", DNS_A, "NOERROR aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"21.0.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"0.96.10.in-addr.arpa", DNS_PTR, "NOERROR aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"3.0.9.10.in-addr.arpa", DNS_PTR,
         "NOERROR aa\n3.0.9.10.in-addr.arpa. 5 IN PTR db-1.db.prod.svc.cluster.local.\n"},
        {"5.0.9.10.in-addr.arpa", DNS_PTR,
         "NOERROR aa\n5.0.9.10.in-addr.arpa. 5 IN PTR 10-9-0-5.db.prod.svc.cluster.local.\n"},
        {"4.0.9.10.in-addr.arpa", DNS_PTR,
         "NOERROR aa\n4.0.9.10.in-addr.arpa. 5 IN PTR u-0.all.prod.svc.cluster.local.\n"},
        {"1.2.0.192.in-addr.arpa", DNS_PTR, "not mine"},
        {"10.in-addr.arpa", DNS_PTR, "not mine"},
        {"020.0.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"1.20.0.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"1.0.0.127.ip6.arpa", DNS_PTR, "not mine"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_external_names(void **state)
{
    static const struct row rows[] = {
        {"ext.default.svc" DOMAIN, DNS_A,
         ">OERROR aa\next.default.svc.cluster.local. 5 IN CNAME www.example.com.\n"},
        {"ext.default.svc" DOMAIN, DNS_CNAME,
         "NOERROR aa\next.default.svc.cluster.local. 5 IN CNAME www.example.com.\n"},
        {"x.ext.default.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"inner.default.svc" DOMAIN, DNS_A,
         "NOERROR aa\ninner.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.\n"
         "web.default.svc.cluster.local. 5 IN A 10.96.0.20\n"},
        {"inner.default.svc" DOMAIN, DNS_AAAA,
         "NOERROR aa\ninner.default.svc.cluster.local. 5 IN CNAME "
         "web.default.svc.cluster.local.\n" SOA_OF("cluster.local.")},
        {"nowhere.default.svc" DOMAIN, DNS_A,
         "NXDOMAIN aa\nnowhere.default.svc.cluster.local. 5 IN CNAME "
         "no.default.svc.cluster.local.\n" SOA_OF("cluster.local.")},
        {"loop-a.default.svc" DOMAIN, DNS_A, "SERVFAIL aa\n"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void test_changes(void **state)
{
    const struct row gone[] = {
        {"web.default.svc" DOMAIN, DNS_A, NXDOMAIN},
        {"20.0.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa\n" SOA_OF("96.10.in-addr.arpa.")}};
    struct object *svc = test_service("default", "web", "10.96.0.20", web_ports, 3);
    struct arena a = {0};
    struct zone_answer z, other;
    uint8_t name[DNS_NAME_MAX], name2[DNS_NAME_MAX];
    ssize_t n = dns_name_from_text(STR("web.default.svc.cluster.local"), name);
    ssize_t n2 = dns_name_from_text(STR("kubernetes.default.svc.cluster.local"), name2);

    assert_int_equal(zone_count(zone), 10);
    zone_lookup(zone, (struct str){(char *)name, (size_t)n}, DNS_A, &a, &z);
    zone_lookup(zone, (struct str){(char *)name2, (size_t)n2}, DNS_A, &a, &other);
    assert_int_not_equal(z.slot, 0);
    set("default", "web", NULL, NULL);
    assert_true(zone_generation(zone, z.slot) != z.generation);
    if (other.slot != z.slot)
        assert_true(zone_generation(zone, other.slot) == other.generation);
    check(gone, ARRAY_LEN(gone));
    set("default", "web", NULL, NULL); /* twice is once */
    zone_set(zone, STR("default"), STR("web"), svc, NULL, 0);
    uint64_t before = zone_generation(zone, z.slot);
    zone_set(zone, STR("default"), STR("web"), svc, NULL, 0); /* the same object: no change */
    assert_true(zone_generation(zone, z.slot) == before);
    object_unref(svc);
    test_services(state);
    arena_fini(&a);
}

/* Two services with one address, in any order of going. */
static void test_shared_address(void **state)
{
    const struct row both[] = {{"9.9.96.10.in-addr.arpa", DNS_PTR,
                                "NOERROR aa\n"
                                "9.9.96.10.in-addr.arpa. 5 IN PTR s1.t.svc.cluster.local.\n"
                                "9.9.96.10.in-addr.arpa. 5 IN PTR s2.t.svc.cluster.local.\n"}};
    const struct row one[] = {{"9.9.96.10.in-addr.arpa", DNS_PTR,
                               "NOERROR aa\n"
                               "9.9.96.10.in-addr.arpa. 5 IN PTR s2.t.svc.cluster.local.\n"}};
    const struct row none[] = {
        {"9.9.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN aa\n" SOA_OF("96.10.in-addr.arpa.")},
        {"t.svc" DOMAIN, DNS_A, NXDOMAIN}};

    for (int order = 0; order < 2; order++) {
        set("t", order ? "s1" : "s2", test_service("t", order ? "s1" : "s2", "10.96.9.9", NULL, 0),
            NULL);
        set("t", order ? "s2" : "s1", test_service("t", order ? "s2" : "s1", "10.96.9.9", NULL, 0),
            NULL);
        check(both, 1);
        set("t", "s1", NULL, NULL);
        check(one, 1);
        set("t", "s2", NULL, NULL);
        check(none, 2);
    }
}

/* More endpoints than a packet holds: as many as fit, by address and by name. */
static void test_large_service(void **state)
{
    enum { MANY = 6000 };
    struct api_endpoint *eps = xcalloc(MANY, sizeof(*eps));
    struct str *ip = xcalloc(MANY, sizeof(*ip));
    struct arena a = {0};
    struct api_discovery_endpoint_port port[] = {{.name = STR("sql"), .has_port = true, .port = 1}};
    struct api_service_port svc_port[] = {{.name = STR("sql"), .port = 1}};

    for (int i = 0; i < MANY; i++) {
        ip[i] = arena_printf(&a, "10.9.%d.%d", 1 + i / 250, i % 250);
        eps[i] = test_endpoint(&ip[i], NULL, 1);
    }
    set("t", "many", test_service("t", "many", "None", svc_port, 1),
        test_slice("t", "many", eps, MANY, port, 1));
    static const struct {
        const char *name;
        unsigned type;
        size_t least;
    } rows[] = {{"many.t.svc" DOMAIN, DNS_A, 3700}, {"_sql._tcp.many.t.svc" DOMAIN, DNS_SRV, 900}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = ask(rows[i].name, rows[i].type);
        size_t lines = 0;
        for (const char *p = text; *p; p++)
            lines += *p == '\n';
        assert_memory_equal(text, "NOERROR aa\n", 11);
        assert_in_range(lines, rows[i].least, DNS_ANSWER_RRS_MAX);
        free(text);
    }
    set("t", "many", NULL, NULL);
    arena_fini(&a);
    free(eps);
    free(ip);
}

static void test_before_sync(void **state)
{
    struct zone_opts o = {.domain = "cluster.local"};
    struct zone *keep = zone;
    const struct row rows[] = {{"web.default.svc" DOMAIN, DNS_A, "not ready"},
                               {"example.com", DNS_A, "not mine"}};

    assert_int_equal(zone_new(&o, &zone), 0);
    check(rows, ARRAY_LEN(rows));
    zone_free(zone);
    zone = keep;
    assert_int_equal(zone_new(&(struct zone_opts){.domain = ""}, &keep), -EINVAL);
    assert_int_equal(zone_new(&(struct zone_opts){.domain = "a..b"}, &keep), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_apex),
        cmocka_unit_test(test_srv),
        cmocka_unit_test(test_headless),
        cmocka_unit_test(test_pods_and_reverse),
        cmocka_unit_test(test_external_names),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_shared_address),
        cmocka_unit_test(test_large_service),
        cmocka_unit_test(test_before_sync),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
