/* Shared by the tests of the name server: objects, queries, and answers as text (by ldns, which so
 * checks what we encoded). */
#pragma once

#include <ldns/ldns.h>
#include <sys/socket.h>

#include "api/object.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "net/dns/query.h"
#include "test.h"

/* A query for name (dotted, case kept); opt: with EDNS of this size, 0: without. Returns its size.
 */
static inline size_t make_query(uint8_t *p, uint16_t id, const char *name, unsigned type,
                                unsigned opt)
{
    uint8_t *q = dns_put16(p, id);

    q = dns_put16(q, DNS_FLAG_RD);
    q = dns_put16(q, 1);
    q = dns_put32(q, 0);
    q = dns_put16(q, opt ? 1 : 0);
    for (const char *s = name; *s;) {
        size_t n = strcspn(s, ".");
        *q++ = (uint8_t)n;
        memcpy(q, s, n);
        q += n;
        s += n + (s[n] == '.');
    }
    *q++ = 0;
    q = dns_put16(q, type);
    q = dns_put16(q, 1);
    if (opt) {
        *q++ = 0;
        q = dns_put16(q, DNS_OPT);
        q = dns_put16(q, opt);
        q = dns_put32(q, 0);
        q = dns_put16(q, 0);
    }
    return (size_t)(q - p);
}

static inline int line_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void add_section(struct buf *b, const char *mark, const ldns_rr_list *l)
{
    char *lines[4096];
    size_t n = l ? ldns_rr_list_rr_count(l) : 0;

    assert_true(n <= ARRAY_LEN(lines));
    for (size_t i = 0; i < n; i++) {
        char *s = lines[i] = ldns_rr2str(ldns_rr_list_rr(l, i));
        s[strcspn(s, "\n")] = '\0';
        for (; *s; s++)
            *s = *s == '\t' ? ' ' : *s;
    }
    qsort(lines, n, sizeof(*lines), line_cmp);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s\n", mark, lines[i]);
        free(lines[i]);
    }
}

/* "NOERROR aa\nname. 5 IN A 1.2.3.4\n@authority\n+additional\n"; each section sorted. Free it. */
static inline char *answer_text(const uint8_t *p, size_t n)
{
    struct buf b = {0};
    ldns_pkt *pkt = NULL;

    assert_int_equal(ldns_wire2pkt(&pkt, p, n), LDNS_STATUS_OK);
    assert_true(ldns_pkt_qr(pkt));
    char *rcode = ldns_pkt_rcode2str(ldns_pkt_get_rcode(pkt));
    buf_printf(&b, "%s%s%s\n", rcode, ldns_pkt_aa(pkt) ? " aa" : "", ldns_pkt_tc(pkt) ? " tc" : "");
    free(rcode);
    add_section(&b, "", ldns_pkt_answer(pkt));
    add_section(&b, "@", ldns_pkt_authority(pkt));
    add_section(&b, "+", ldns_pkt_additional(pkt));
    ldns_pkt_free(pkt);
    return buf_take(&b, NULL);
}

static inline struct api_endpoint test_endpoint(struct str *address, const char *hostname,
                                                int ready)
{
    struct api_endpoint e = {.addresses = address, .n_addresses = 1, .hostname = str_z(hostname)};

    e.conditions.has_ready = ready >= 0;
    e.conditions.ready = ready > 0;
    return e;
}

static inline struct object *test_service(const char *ns, const char *name, const char *ip,
                                          struct api_service_port *ports, uint32_t n)
{
    struct str addr = str_z(ip);
    bool none = strcmp(ip, "None") == 0;
    struct api_service s = {.metadata = {.name = str_z(name), .namespace = str_z(ns)},
                            .spec = {.type = STR("ClusterIP"),
                                     .cluster_ip = addr,
                                     .cluster_ips = none ? NULL : &addr,
                                     .n_cluster_ips = none ? 0 : 1,
                                     .ports = ports,
                                     .n_ports = n}};

    return object_new(schema_kinds[KIND_SERVICE], &s, 1);
}

static inline struct object *test_slice(const char *ns, const char *service,
                                        struct api_endpoint *eps, uint32_t n,
                                        struct api_discovery_endpoint_port *ports, uint32_t n_ports)
{
    struct api_endpoint_slice s = {.metadata = {.name = str_z(service), .namespace = str_z(ns)},
                                   .address_type = STR("IPv4"),
                                   .endpoints = eps,
                                   .n_endpoints = n,
                                   .ports = ports,
                                   .n_ports = n_ports};

    return object_new(schema_kinds[KIND_ENDPOINT_SLICE], &s, 1);
}
