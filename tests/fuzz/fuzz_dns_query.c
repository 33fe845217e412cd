/* Whatever comes to port 53: taken apart without harm, and answered (by an error, or by what the
 * zone and the wire make of it) within the limit and with the id it came with. */
#include "api/object.h"
#include "base/arena.h"
#include "net/dns/wire.h"
#include "net/dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct zone *make_zone(void)
{
    struct zone_opts o = {.domain = "cluster.local"};
    struct zone *z;
    struct str ip = STR("10.96.0.20"), pod = STR("10.9.0.2");
    struct api_service_port port = {.name = STR("http"), .protocol = STR("TCP"), .port = 80};
    struct api_service web = {.metadata = {.name = STR("web"), .namespace = STR("d")},
                              .spec = {.cluster_ip = ip,
                                       .cluster_ips = &ip,
                                       .n_cluster_ips = 1,
                                       .ports = &port,
                                       .n_ports = 1}};
    struct api_service db = {.metadata = {.name = STR("db"), .namespace = STR("d")},
                             .spec = {.cluster_ip = STR("None"), .ports = &port, .n_ports = 1}};
    struct api_service ext = {
        .metadata = {.name = STR("e"), .namespace = STR("d")},
        .spec = {.type = STR("ExternalName"), .external_name = STR("web.d.svc.cluster.local")}};
    struct api_endpoint ep = {.addresses = &pod, .n_addresses = 1, .hostname = STR("db-0")};
    struct api_discovery_endpoint_port ep_port = {
        .name = STR("http"), .protocol = STR("TCP"), .has_port = true, .port = 80};
    struct api_endpoint_slice slice = {.address_type = STR("IPv4"),
                                       .endpoints = &ep,
                                       .n_endpoints = 1,
                                       .ports = &ep_port,
                                       .n_ports = 1};
    struct object *sl = object_new(schema_kinds[KIND_ENDPOINT_SLICE], &slice, 1);
    struct object *objects[] = {object_new(schema_kinds[KIND_SERVICE], &web, 1),
                                object_new(schema_kinds[KIND_SERVICE], &db, 1),
                                object_new(schema_kinds[KIND_SERVICE], &ext, 1), sl};

    ASSERT(ip_parse(STR("10.96.0.10"), &o.dns_address) == 0 &&
           ip_prefix_parse(STR("10.96.0.0/16"), &o.service_cidr) == 0 &&
           ip_prefix_parse(STR("10.9.0.0/16"), &o.cluster_cidr) == 0 && zone_new(&o, &z) == 0);
    zone_set(z, STR("d"), STR("web"), objects[0], NULL, 0);
    zone_set(z, STR("d"), STR("db"), objects[1], &sl, 1);
    zone_set(z, STR("d"), STR("e"), objects[2], NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        (void)object_unref(objects[i]);
    zone_synced(z);
    return z;
}

static void check(const uint8_t *out, size_t n, size_t limit, const struct dns_query *q)
{
    ASSERT(n >= DNS_HEADER_BYTES && n <= limit);
    ASSERT(dns_u16(out) == q->id && (out[2] & 0x80));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zone *zone;
    static uint8_t out[DNS_TCP_MAX];
    struct dns_query q;
    struct zone_answer z;
    struct arena a = {0};
    struct dns_answer *answer = NULL;

    if (!zone)
        zone = make_zone();
    int r = dns_query_parse((struct str){(const char *)data, size}, &q);
    if (r == -EBADMSG)
        return 0;
    if (r != DNS_NOERROR) {
        check(out, dns_error_render(&q, (enum dns_rcode)r, out), DNS_UDP_PLAIN_MAX, &q);
        return 0;
    }
    ASSERT(q.name_n && q.name_n <= DNS_NAME_MAX && q.name[q.name_n - 1] == 0);
    ASSERT(q.udp_size >= DNS_UDP_PLAIN_MAX && q.udp_size <= DNS_UDP_MAX);
    struct str name = {(char *)q.name, q.name_n};
    enum zone_result found = zone_lookup(zone, name, q.type, &a, &z);
    if (found == ZONE_ANSWER || found == ZONE_CHASE) {
        ASSERT(dns_wire_encode(name, q.type, &z.records, &answer) == 0);
        struct dns_render how = {.limit = q.udp_size, .rotation = q.id};
        check(out, dns_answer_render(answer, &q, &how, out), q.udp_size, &q);
        how = (struct dns_render){.limit = sizeof(out), .age_s = q.id};
        check(out, dns_answer_render(answer, &q, &how, out), sizeof(out), &q);
        dns_answer_unref(answer);
    }
    arena_fini(&a);
    return 0;
}
