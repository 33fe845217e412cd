/* Planning and the differ, as text: no kernel. */
#include "net/flows.h"
#include "net/plan.h"
#include "net/rules.h"
#include "sys/netlink.h"
#include "test.h"

static const struct net_plan_env env = {
    .node_name = {"n1", 2},
    .cluster_cidr = {.addr = {.family = 2, .b = {10, 9, 0, 0}}, .bits = 16},
};

static struct api_service service(struct api_service_port *ports, uint32_t n)
{
    return (struct api_service){
        .metadata = {.name = STR("web"), .namespace = STR("default")},
        .spec = {.cluster_ip = STR("10.96.0.10"), .ports = ports, .n_ports = n}};
}

static struct api_endpoint endpoint(struct str *address, const char *node, int ready, int serving,
                                    int terminating)
{
    struct api_endpoint e = {.addresses = address, .n_addresses = 1, .node_name = str_z(node)};
    e.conditions = (struct api_endpoint_conditions){.has_ready = ready >= 0,
                                                    .ready = ready > 0,
                                                    .has_serving = serving >= 0,
                                                    .serving = serving > 0,
                                                    .has_terminating = terminating >= 0,
                                                    .terminating = terminating > 0};
    return e;
}

static void test_plan_selects_endpoints(void **state)
{
    struct arena a = {0};
    struct str ip[] = {STR("10.9.0.4"),  STR("10.9.0.3"), STR("10.9.0.2"), STR("192.0.2.7"),
                       STR("127.0.0.1"), STR("fe80::1"),  STR("x")};
    struct api_endpoint eps[] = {
        endpoint(&ip[0], "n2", 1, -1, -1), endpoint(&ip[1], "n1", 1, -1, -1),
        endpoint(&ip[2], "n1", 0, 1, 1),   endpoint(&ip[3], "", -1, -1, -1),
        endpoint(&ip[4], "n1", 1, -1, -1), endpoint(&ip[5], "n1", 1, -1, -1),
        endpoint(&ip[6], "n1", 1, -1, -1), endpoint(&ip[1], "n1", 1, -1, -1),
    };
    struct api_discovery_endpoint_port slice_ports[] = {
        {.name = STR("http"), .has_port = true, .port = 8080},
        {.name = STR("bad"), .has_port = true, .port = 99999}};
    struct api_endpoint_slice slice = {.address_type = STR("IPv4"),
                                       .endpoints = eps,
                                       .n_endpoints = ARRAY_LEN(eps),
                                       .ports = slice_ports,
                                       .n_ports = 2};
    const struct api_endpoint_slice *slices[] = {&slice};
    struct api_service_port ports[] = {{.name = STR("http"), .port = 80, .node_port = 30080},
                                       {.name = STR("dns"), .protocol = STR("UDP"), .port = 53},
                                       {.name = STR("odd"), .protocol = STR("ICMP"), .port = 1}};
    struct api_service svc = service(ports, 3);
    struct net_plan p;

    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.n, 3); /* VIP and NodePort of http, VIP of dns */
    assert_int_equal(p.v[0].n_eps, 3);
    assert_int_equal(p.v[0].eps[0].ip, 0x0a090003);
    assert_int_equal(p.v[0].eps[1].ip, 0x0a090004);
    assert_int_equal(p.v[0].eps[2].ip, 0xc0000207);
    assert_false(p.v[0].eps[0].remote);
    assert_true(p.v[0].eps[2].remote);
    assert_int_equal(p.v[1].kind, NET_FRONT_NODEPORT);
    assert_int_equal(p.v[2].proto, 17);
    assert_int_equal(p.v[2].n_eps, 0);

    svc.spec.external_traffic_policy = STR("Local");
    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.v[0].n_eps, 3);
    assert_int_equal(p.v[1].n_eps, 1);

    /* Nobody ready: the one that still serves while it goes. */
    eps[0].conditions.ready = eps[1].conditions.ready = eps[7].conditions.ready = false;
    slice.n_endpoints = 3;
    svc.spec.external_traffic_policy = STR_NONE;
    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.v[0].n_eps, 1);
    assert_int_equal(p.v[0].eps[0].ip, 0x0a090002);

    svc.spec.cluster_ip = STR("None");
    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.n, 0);
    arena_fini(&a);
}

static void test_loopback_only_for_the_api(void **state)
{
    struct arena a = {0};
    struct str ip = STR("127.0.0.1");
    struct api_endpoint e = endpoint(&ip, "", 1, -1, -1);
    struct api_discovery_endpoint_port sp = {.has_port = true, .port = 6443};
    struct api_endpoint_slice slice = {
        .address_type = STR("IPv4"), .endpoints = &e, .n_endpoints = 1, .ports = &sp, .n_ports = 1};
    const struct api_endpoint_slice *slices[] = {&slice};
    struct api_service_port port = {.port = 443};
    struct api_service svc = service(&port, 1);
    struct net_plan p;
    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.v[0].n_eps, 0);
    svc.metadata.name = STR("kubernetes");
    net_plan_service(&svc, slices, 1, &env, &a, &p);
    assert_int_equal(p.v[0].n_eps, 1);
    arena_fini(&a);
}

/* One endpoint on this node, one elsewhere. */
struct pair {
    struct str ips[2];
    struct api_endpoint eps[2];
    struct api_discovery_endpoint_port port;
    struct api_endpoint_slice slice;
    const struct api_endpoint_slice *slices[1];
};

static void pair_init(struct pair *p)
{
    *p = (struct pair){.ips = {STR("10.9.0.2"), STR("10.9.1.2")}};
    p->eps[0] = endpoint(&p->ips[0], "n1", 1, -1, -1);
    p->eps[1] = endpoint(&p->ips[1], "n2", 1, -1, -1);
    p->port = (struct api_discovery_endpoint_port){.has_port = true, .port = 8080};
    p->slice = (struct api_endpoint_slice){.address_type = STR("IPv4"),
                                           .endpoints = p->eps,
                                           .n_endpoints = 2,
                                           .ports = &p->port,
                                           .n_ports = 1};
    p->slices[0] = &p->slice;
}

static void test_plan_policies(void **state)
{
    struct arena a = {0};
    struct pair e;
    struct api_service_port port = {.port = 80, .node_port = 30080};
    struct api_service svc = service(&port, 1);
    struct net_plan p;
    pair_init(&e);
    svc.spec.external_traffic_policy = STR("Local");
    net_plan_service(&svc, e.slices, 1, &env, &a, &p);
    assert_int_equal(p.n, 3); /* VIP; node port for those outside and those inside */
    assert_int_equal(p.v[0].n_eps, 2);
    assert_false(p.v[1].inside);
    assert_int_equal(p.v[1].n_eps, 1);
    assert_true(p.v[2].inside);
    assert_int_equal(p.v[2].n_eps, 2);
    /* None here: silence outside, and inside they go elsewhere. */
    e.eps[0].node_name = STR("n2");
    net_plan_service(&svc, e.slices, 1, &env, &a, &p);
    assert_int_equal(p.v[1].n_eps, 0);
    assert_true(p.v[1].silent);
    assert_int_equal(p.v[2].n_eps, 2);
    svc.spec.internal_traffic_policy = STR("Local");
    net_plan_service(&svc, e.slices, 1, &env, &a, &p);
    assert_int_equal(p.v[0].n_eps, 0);
    assert_true(p.v[0].silent);
    /* None at all: a refusal, and no second front. */
    e.slice.n_endpoints = 0;
    net_plan_service(&svc, e.slices, 1, &env, &a, &p);
    assert_int_equal(p.n, 2);
    assert_false(p.v[0].silent || p.v[1].silent);
    arena_fini(&a);
}

static void test_plan_hints(void **state)
{
    struct arena a = {0};
    struct pair e;
    struct api_service_port port = {.port = 80};
    struct api_service svc = service(&port, 1);
    struct net_plan_env here = env;
    struct api_for_zone z[] = {{.name = STR("z1")}, {.name = STR("z2")}};
    struct api_for_node n[] = {{.name = STR("n1")}, {.name = STR("n2")}};
    struct api_endpoint_hints hints[] = {{.for_zones = &z[0], .n_for_zones = 1},
                                         {.for_zones = &z[1], .n_for_zones = 1}};
    struct net_plan p;
    pair_init(&e);
    e.eps[0].hints = &hints[0];
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 2); /* not all have hints */
    e.eps[1].hints = &hints[1];
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 2); /* our zone is not known */
    here.zone = STR("z2");
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 1);
    assert_int_equal(p.v[0].eps[0].ip, 0x0a090102);
    here.zone = STR("z3");
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 2); /* none for our zone */
    /* The node comes before the zone. */
    here.zone = STR("z2");
    for (int i = 0; i < 2; i++) {
        hints[i].for_nodes = &n[i];
        hints[i].n_for_nodes = 1;
    }
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 1);
    assert_int_equal(p.v[0].eps[0].ip, 0x0a090002);
    /* Nobody ready: hints of those that go do not count. */
    for (int i = 0; i < 2; i++)
        e.eps[i].conditions = (struct api_endpoint_conditions){.has_ready = true,
                                                               .has_serving = true,
                                                               .serving = true,
                                                               .has_terminating = true,
                                                               .terminating = true};
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[0].n_eps, 2);
    arena_fini(&a);
}

static void test_plan_balancer(void **state)
{
    struct arena a = {0};
    struct pair e;
    struct api_service_port port = {.port = 80};
    struct api_service svc = service(&port, 1);
    struct net_plan_env here = env;
    struct api_load_balancer_ingress in[] = {{.ip = STR("192.0.2.1")},
                                             {.ip = STR("192.0.2.9"), .ip_mode = STR("Proxy")}};
    struct str ranges[] = {STR("198.51.100.0/24"), STR(" 10.0.0.0/8"), STR("198.51.100.7/32"),
                           STR("fd00::/8")};
    struct net_plan p;
    pair_init(&e);
    here.addresses[0] = 0xc0000201;
    here.addresses[1] = 0x0a000001;
    here.n_addresses = 2;
    svc.spec.type = STR("LoadBalancer");
    svc.spec.load_balancer_source_ranges = ranges;
    svc.spec.n_load_balancer_source_ranges = 4;
    svc.spec.health_check_node_port = 32000;
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.n, 1); /* nothing was given to it */
    svc.status.load_balancer = (struct api_load_balancer_status){in, 2};
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.n, 3); /* both addresses of this node */
    assert_int_equal(p.v[0].n_ranges, 0);
    assert_int_equal(p.v[1].ip, 0xc0000201);
    assert_int_equal(p.v[2].ip, 0x0a000001);
    assert_int_equal(p.v[1].n_ranges, 2); /* sorted; one in another is left out */
    assert_int_equal(p.v[1].ranges[0].first, 0x0a000000);
    assert_int_equal(p.v[1].ranges[0].last, 0x0affffff);
    assert_int_equal(p.v[1].ranges[1].first, 0xc6336400);
    assert_int_equal(p.health_port, 0);
    /* Another's balancer: only what it says. */
    svc.spec.load_balancer_class = STR("example.com/other");
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.n, 2);
    svc.spec.external_traffic_policy = STR("Local");
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.health_port, 32000);
    assert_int_equal(p.n_local, 1);
    ranges[3] = STR("0.0.0.0/0");
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[1].n_ranges, 0);
    ranges[0] = STR("fd00::/8");
    svc.spec.n_load_balancer_source_ranges = 1;
    net_plan_service(&svc, e.slices, 1, &here, &a, &p);
    assert_int_equal(p.v[1].n_ranges, 1); /* nobody, not everybody */
    arena_fini(&a);
}

/* ---- table ---- */

/* Of nodes that tunnel, and only of those, the packets around packets are not tracked: not what
 * pods send to that port elsewhere, nor what goes to a Service there. */
static void test_tunnel_is_not_tracked(void **state)
{
    struct net_rules_env e = {.table = "t",
                              .bridge = "br",
                              .pod_cidr = "10.9.0.0/24",
                              .cluster_cidr = "10.9.0.0/16",
                              .service_cidr = "10.96.0.0/16"};
    char plain[NFT_CHAIN_NAME_MAX], tunnel[NFT_CHAIN_NAME_MAX];
    struct buf b = {0};
    net_table_print(&e, &b);
    buf_add_lit(&b, "");
    assert_null(strstr(b.data, "notrack"));
    net_table_shape(&e, plain);
    buf_fini(&b);
    e.vxlan_ip = "192.0.2.7";
    net_table_print(&e, &b);
    buf_add_lit(&b, "");
    assert_non_null(strstr(b.data, "guard ip daddr 192.0.2.7 udp dport 8472 notrack\n"));
    assert_non_null(strstr(b.data, "guard_out ip saddr 192.0.2.7 udp dport 8472 "
                                   "ip daddr != 10.96.0.0/16 notrack\n"));
    assert_string_not_equal(net_table_shape(&e, tunnel), plain);
    buf_fini(&b);
}

/* ---- differ ---- */

static struct net_rules *rules(void)
{
    return net_rules_new(&(struct net_rules_env){.table = "t",
                                                 .bridge = "br",
                                                 .pod_cidr = "10.9.0.0/24",
                                                 .cluster_cidr = "10.9.0.0/16",
                                                 .service_cidr = "10.96.0.0/16"});
}

static struct net_front front(struct net_endpoint *eps, uint32_t n, uint32_t affinity_s)
{
    return (struct net_front){.kind = NET_FRONT_VIP,
                              .ip = 0x0a60000a,
                              .proto = 6,
                              .port = 80,
                              .affinity_s = affinity_s,
                              .eps = eps,
                              .n_eps = n};
}

static char *apply(struct net_rules *r, const char *key, struct net_front *f, size_t n)
{
    struct net_batch b = {0};
    struct buf out = {0};
    net_rules_service(r, str_z(key), &(struct net_plan){.v = f, .n = n}, &b);
    net_batch_print(&b, "t", &out);
    buf_add_lit(&out, "");
    net_batch_fini(&b);
    char *text = out.data ? out.data : calloc(1, 1);
    return text;
}

#define EXPECT(call, want)                                                                         \
    do {                                                                                           \
        char *_t = (call);                                                                         \
        assert_string_equal(_t, want);                                                             \
        free(_t);                                                                                  \
    } while (0)

static void test_changes_cost_their_size(void **state)
{
    struct net_rules *r = rules();
    struct net_endpoint eps[] = {
        {0x0a090002, 80, false}, {0x0a090003, 80, false}, {0x0a090004, 80, false}};
    struct net_endpoint two[] = {{0x0a090003, 80, false}, {0x0a090004, 80, false}};
    struct net_front f = front(eps, 3, 0), g = front(two, 2, 0), none = front(NULL, 0, 0);

    EXPECT(apply(r, "d/web", &f, 1),
           "add chain ip t lb-3\n"
           "add rule ip t lb-3 meta priority set numgen random mod 3 offset 0xda000000\n"
           "add rule ip t lb-3 dnat ip to ip daddr . meta l4proto . th dport . meta priority map "
           "@svc_ep\n"
           "add element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-3 }\n"
           "add element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.2 "
           ". 80, 10.96.0.10 . 6 . 80 . da00:1 : 10.9.0.3 . 80, "
           "10.96.0.10 . 6 . 80 . da00:2 : 10.9.0.4 . 80 }\n");
    EXPECT(apply(r, "d/web", &f, 1), "");
    /* The first goes: the last takes its place, the middle one is not touched. */
    EXPECT(apply(r, "d/web", &g, 1),
           "add chain ip t lb-2\n"
           "add rule ip t lb-2 meta priority set numgen random mod 2 offset 0xda000000\n"
           "add rule ip t lb-2 dnat ip to ip daddr . meta l4proto . th dport . meta priority map "
           "@svc_ep\n"
           "delete element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-3 }\n"
           "delete element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.2 . 80, 10.96.0.10 "
           ". 6 . "
           "80 . da00:2 : 10.9.0.4 . 80 }\n"
           "add element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-2 }\n"
           "add element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.4 . 80 }\n");
    EXPECT(apply(r, "d/web", &none, 1),
           "delete element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-2 }\n"
           "delete element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.4 . 80, 10.96.0.10 "
           ". 6 . "
           "80 . da00:1 : 10.9.0.3 . 80 }\n"
           "add element ip t svc_none { 10.96.0.10 . 6 . 80 : goto unserved }\n");
    EXPECT(apply(r, "d/web", &g, 1),
           "delete element ip t svc_none { 10.96.0.10 . 6 . 80 : goto unserved }\n"
           "add element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-2 }\n"
           "add element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.3 "
           ". 80, 10.96.0.10 . 6 . 80 . da00:1 : 10.9.0.4 . 80 }\n");
    EXPECT(apply(r, "d/web", NULL, 0),
           "delete element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-2 }\n"
           "delete element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.3 . 80, 10.96.0.10 "
           ". 6 . "
           "80 . da00:1 : 10.9.0.4 . 80 }\n");
    assert_int_equal(net_rules_fronts(r), 0);
    net_rules_free(r);
}

static void test_one_front_two_services(void **state)
{
    struct net_rules *r = rules();
    struct net_endpoint a = {0x0a090002, 80, false}, b = {0x0a090003, 80, true};
    struct net_front f = front(&a, 1, 0), g = front(&b, 1, 0);
    free(apply(r, "d/first", &f, 1));
    EXPECT(apply(r, "d/second", &g, 1), "");
    /* The second gets it when the first goes, within the same transaction. */
    EXPECT(apply(r, "d/first", NULL, 0),
           "delete element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-1 }\n"
           "delete element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.2 . 80 }\n"
           "add element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-1 }\n"
           "add element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.3 . 80 }\n"
           "add element ip t masq_ep { 10.9.0.3 . 6 . 80 }\n");
    EXPECT(apply(r, "d/second", NULL, 0),
           "delete element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-1 }\n"
           "delete element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : 10.9.0.3 . 80 }\n"
           "delete element ip t masq_ep { 10.9.0.3 . 6 . 80 }\n");
    net_rules_free(r);
}

static void test_flows_to_delete(void **state)
{
    struct net_rules *r = rules();
    struct net_batch b = {0};
    struct net_endpoint eps[] = {{0x0a090002, 53, false}, {0x0a090003, 53, false}};
    struct net_front f = front(eps, 2, 0);
    f.proto = 17;
    net_rules_service(r, STR("d/dns"), &(struct net_plan){.v = &f, .n = 1}, &b);
    /* Its first endpoints: whoever asked before is stuck with nobody. */
    assert_int_equal(b.n_gone, 1);
    assert_int_equal(b.gone[0].ep.ip, 0);
    f.n_eps = 1;
    net_rules_service(r, STR("d/dns"), &(struct net_plan){.v = &f, .n = 1}, &b);
    assert_int_equal(b.n_gone, 2);
    assert_int_equal(b.gone[1].ep.ip, 0x0a090003);
    /* Of TCP only those of what goes: there was a refusal before the first. */
    f = front(eps, 2, 0);
    net_rules_service(r, STR("d/web"), &(struct net_plan){.v = &f, .n = 1}, &b);
    assert_int_equal(b.n_gone, 2);
    f.n_eps = 1;
    net_rules_service(r, STR("d/web"), &(struct net_plan){.v = &f, .n = 1}, &b);
    assert_int_equal(b.n_gone, 3);
    assert_int_equal(b.gone[2].ep.ip, 0x0a090003);
    struct net_flows flows = {0};
    net_flows_take(&flows, &b);
    struct conntrack_flow c = {.proto = 6,
                               .orig_dst = ip4_from_number(f.ip),
                               .orig_dport = f.port,
                               .reply_src = ip4_from_number(0x0a090003),
                               .reply_sport = 53};
    assert_true(net_flow_stale(&flows, &c));
    c.replied = true; /* the pod may be finishing it */
    assert_false(net_flow_stale(&flows, &c));
    c.replied = false;
    c.reply_src = ip4_from_number(0x0a090002);
    assert_false(net_flow_stale(&flows, &c));
    /* What is gathered while others are deleted; the fronts that count are the latest. */
    struct net_flows next = {0};
    net_flows_all(&next, r);
    net_flows_merge(&next, &flows);
    assert_true(net_flows_empty(&flows));
    assert_int_equal(next.n_gone, 3);
    assert_false(net_flow_stale(&next, &c));
    c.reply_src = ip4_from_number(0x0a090003);
    assert_true(net_flow_stale(&next, &c));
    net_flows_all(&flows, r);
    net_flows_merge(&next, &flows);
    assert_int_equal(next.n_gone, 3);
    assert_int_equal(next.n_fronts, 2);
    net_flows_fini(&next);
    net_batch_fini(&b);
    net_rules_free(r);
}

static void test_two_kinds_of_clients(void **state)
{
    struct net_rules *r = rules();
    struct net_endpoint near = {0x0a090002, 80, false}, all[] = {near, {0x0a090102, 80, false}};
    struct net_range ranges[] = {{0x0a000000, 0x0affffff}, {0xc0000200, 0xc00002ff}};
    struct net_front f[] = {front(&near, 1, 0), front(all, 2, 0)};
    f[1].inside = true;
    free(apply(r, "d/warm", NULL, 0));
    char *text = apply(r, "d/web", f, 2);
    assert_non_null(strstr(text, "add element ip t svc { 10.96.0.10 . 6 . 80 : goto lb-1 }\n"
                                 "add element ip t svc_in { 10.96.0.10 . 6 . 80 : goto inlb-2 }\n"
                                 "add element ip t svc_ep { 10.96.0.10 . 6 . 80 . da00:0 : "
                                 "10.9.0.2 . 80, 10.96.0.10 . 6 . 80 . da80:0 : 10.9.0.2 . 80, "
                                 "10.96.0.10 . 6 . 80 . da80:1 : 10.9.1.2 . 80 }\n"));
    assert_non_null(strstr(text, "inlb-2 meta priority set numgen random mod 2 offset 0xda800000"));
    free(text);
    /* Its own endpoint goes: silence outside, inside goes on. */
    f[0].n_eps = 0;
    f[0].silent = true;
    f[1].eps = all + 1;
    f[1].n_eps = 1;
    text = apply(r, "d/web", f, 2);
    assert_non_null(strstr(text, "add element ip t svc_none { 10.96.0.10 . 6 . 80 : drop }\n"));
    assert_non_null(
        strstr(text, "add element ip t svc_in { 10.96.0.10 . 6 . 80 : goto inlb-1 }\n"));
    free(text);
    f[0].silent = false;
    EXPECT(apply(r, "d/web", f, 2),
           "delete element ip t svc_none { 10.96.0.10 . 6 . 80 : drop }\n"
           "add element ip t svc_none { 10.96.0.10 . 6 . 80 : goto unserved }\n");
    /* Who may: only what differs. */
    f[0] = front(&near, 1, 0);
    f[0].ranges = ranges;
    f[0].n_ranges = 1;
    text = apply(r, "d/web", f, 1);
    assert_non_null(strstr(text, "goto srclb-1"));
    assert_non_null(strstr(text, "add element ip t lb_ok { 10.96.0.10 . 6 . 80 . "
                                 "10.0.0.0-10.255.255.255 }\n"));
    free(text);
    f[0].n_ranges = 2;
    EXPECT(apply(r, "d/web", f, 1),
           "add element ip t lb_ok { 10.96.0.10 . 6 . 80 . 192.0.2.0-192.0.2.255 }\n");
    f[0].ranges = ranges + 1;
    f[0].n_ranges = 1;
    EXPECT(apply(r, "d/web", f, 1),
           "delete element ip t lb_ok { 10.96.0.10 . 6 . 80 . 10.0.0.0-10.255.255.255 }\n");
    free(apply(r, "d/web", NULL, 0));
    assert_int_equal(net_rules_fronts(r), 0);
    net_rules_free(r);
}

/* What the differ keeps is what it would write anew. */
static void test_wanted_is_what_was_gathered(void **state)
{
    struct net_rules *r = rules();
    struct net_batch b = {0}, all = {0};
    struct buf x = {0}, y = {0};
    struct net_endpoint eps[] = {{0x0a090002, 80, false}, {0xc0000207, 80, true}};
    struct net_front f = front(eps, 2, 60);
    struct net_host_port hp = {
        .host_ip = 0x0a000001, .host_port = 8080, .pod_port = 80, .proto = 6};
    net_rules_service(r, STR("d/web"), &(struct net_plan){.v = &f, .n = 1}, &b);
    net_rules_pod(r, STR("u1"), 0x0a090002, &hp, 1, &b);
    net_rules_wanted(r, &all);
    net_batch_print(&b, "t", &x);
    net_batch_print(&all, "t", &y);
    assert_string_equal(x.data, y.data);
    net_batch_fini(&b);
    net_batch_fini(&all);
    buf_fini(&x);
    buf_fini(&y);
    net_rules_free(r);
}

static void test_host_ports(void **state)
{
    struct net_rules *r = rules();
    struct net_batch b = {0};
    struct buf out = {0};
    struct net_host_port p = {.host_port = 8080, .pod_port = 80, .proto = 6};
    net_rules_pod(r, STR("u1"), 0x0a090002, &p, 1, &b);
    net_rules_pod(r, STR("u2"), 0x0a090003, &p, 1, &b);
    net_rules_pod(r, STR("u1"), 0x0a090002, &p, 1, &b);
    net_batch_print(&b, "t", &out);
    assert_string_equal(out.data,
                        "add element ip t hp { 6 . 8080 : 10.9.0.2 . 80 }\n"
                        "add element ip t hairpin { 10.9.0.2 . 10.9.0.2, 10.9.0.3 . 10.9.0.3 }\n");
    net_batch_fini(&b);
    buf_clear(&out);
    net_rules_pod(r, STR("u1"), 0, NULL, 0, &b);
    net_batch_print(&b, "t", &out);
    assert_string_equal(out.data, "delete element ip t hp { 6 . 8080 : 10.9.0.2 . 80 }\n"
                                  "delete element ip t hairpin { 10.9.0.2 . 10.9.0.2 }\n"
                                  "add element ip t hp { 6 . 8080 : 10.9.0.3 . 80 }\n");
    net_batch_fini(&b);
    buf_fini(&out);
    net_rules_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_selects_endpoints),
        cmocka_unit_test(test_loopback_only_for_the_api),
        cmocka_unit_test(test_plan_policies),
        cmocka_unit_test(test_plan_hints),
        cmocka_unit_test(test_plan_balancer),
        cmocka_unit_test(test_tunnel_is_not_tracked),
        cmocka_unit_test(test_changes_cost_their_size),
        cmocka_unit_test(test_two_kinds_of_clients),
        cmocka_unit_test(test_wanted_is_what_was_gathered),
        cmocka_unit_test(test_one_front_two_services),
        cmocka_unit_test(test_flows_to_delete),
        cmocka_unit_test(test_host_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
