/* What is left of Services and slices is as good as the whole: the same plan comes of it. */
#include "net/plan.h"
#include "net/trim.h"
#include "test.h"

static const struct net_plan_env env = {
    .node_name = {"n1", 2},
    .zone = {"a", 1},
    .cluster_cidr = {.addr = {.family = 2, .b = {10, 9, 0, 0}}, .bits = 16},
    .addresses = {0x0a000001},
    .n_addresses = 1,
};

static struct kv_str labels[] = {{STR("app"), STR("web")},
                                 {STR("kubernetes.io/service-name"), STR("web")}};
static struct str ips[] = {STR("10.9.0.1"), STR("10.9.0.2"), STR("10.9.0.3"), STR("10.9.0.4")};
static struct api_endpoint eps[4];
static struct api_discovery_endpoint_port slice_ports[] = {
    {.name = STR("http"), .protocol = STR("TCP"), .has_port = true, .port = 8080},
    {.name = STR("dns"), .protocol = STR("UDP"), .has_port = true, .port = 53},
    {.name = STR("ss7"), .protocol = STR("SCTP"), .has_port = true, .port = 2905}};

static struct api_endpoint_slice whole_slice(void)
{
    for (size_t i = 0; i < ARRAY_LEN(eps); i++)
        eps[i] = (struct api_endpoint){
            .addresses = &ips[i],
            .n_addresses = 1,
            .zone = STR("a"),
            .node_name = i % 2 ? STR("n1") : STR("n2"),
            .conditions = {.has_ready = true,
                           .ready = i != 3,
                           .has_serving = true,
                           .serving = true,
                           .has_terminating = true,
                           .terminating = i == 3},
        };
    return (struct api_endpoint_slice){.metadata = {.name = STR("web-x7k2p"),
                                                    .namespace = STR("default"),
                                                    .generate_name = STR("web-"),
                                                    .uid = STR("0-1"),
                                                    .labels = labels,
                                                    .n_labels = 2},
                                       .address_type = STR("IPv4"),
                                       .endpoints = eps,
                                       .n_endpoints = ARRAY_LEN(eps),
                                       .ports = slice_ports,
                                       .n_ports = ARRAY_LEN(slice_ports)};
}

static struct api_service_port ports[] = {
    {.name = STR("http"), .protocol = STR("TCP"), .port = 80, .node_port = 30080},
    {.name = STR("dns"), .protocol = STR("UDP"), .port = 53, .node_port = 30053},
    {.name = STR("ss7"), .protocol = STR("SCTP"), .port = 2905, .node_port = 30905}};

static struct api_service whole_service(struct str type, struct str policy, struct str affinity)
{
    static struct str cluster_ips[] = {STR("10.96.0.10")};
    static struct api_load_balancer_ingress at[] = {{.ip = STR("10.0.0.1")}};

    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        ports[i].target_port = (struct int_or_str){.i = 8080};
    return (struct api_service){
        .metadata = {.name = STR("web"), .namespace = STR("default"), .uid = STR("0-2")},
        .spec = {.type = type,
                 .cluster_ip = cluster_ips[0],
                 .cluster_ips = cluster_ips,
                 .n_cluster_ips = 1,
                 .internal_traffic_policy = policy,
                 .external_traffic_policy = policy,
                 .session_affinity = affinity,
                 .health_check_node_port = 31000,
                 .ports = ports,
                 .n_ports = ARRAY_LEN(ports)},
        .status = {.load_balancer = {.ingress = at, .n_ingress = 1}}};
}

static void assert_same_plan(const struct net_plan *x, const struct net_plan *y)
{
    assert_int_equal(x->n, y->n);
    assert_int_equal(x->health_port, y->health_port);
    assert_int_equal(x->n_local, y->n_local);
    for (size_t i = 0; i < x->n; i++) {
        const struct net_front *f = &x->v[i], *g = &y->v[i];
        assert_int_equal(f->kind, g->kind);
        assert_int_equal(f->ip, g->ip);
        assert_int_equal(f->proto, g->proto);
        assert_int_equal(f->port, g->port);
        assert_int_equal(f->inside, g->inside);
        assert_int_equal(f->silent, g->silent);
        assert_int_equal(f->affinity_s, g->affinity_s);
        assert_int_equal(f->n_eps, g->n_eps);
        for (uint32_t k = 0; k < f->n_eps; k++) {
            assert_int_equal(f->eps[k].ip, g->eps[k].ip);
            assert_int_equal(f->eps[k].port, g->eps[k].port);
        }
    }
}

static void test_plans_are_the_same(void **state)
{
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
    static const char *const policies[] = {"Cluster", "Local"};
    static const char *const affinities[] = {"None", "ClientIP"};
    struct arena a = {0};

    for (size_t i = 0; i < 4 * 2 * 2; i++) {
        struct api_service svc = whole_service(str_z(types[i / 4]), str_z(policies[i / 2 % 2]),
                                               str_z(affinities[i % 2])),
                           less = svc;
        struct api_endpoint_slice slice = whole_slice(), less_slice = slice;
        const struct api_endpoint_slice *one[] = {&slice}, *other[] = {&less_slice};
        struct net_plan p, q;

        net_trim_service(&less, &a, "n1");
        net_trim_slice(&less_slice, &a, "n1");
        net_plan_service(&svc, one, 1, &env, &a, &p);
        net_plan_service(&less, other, 1, &env, &a, &q);
        assert_int_equal(p.n > 0, i / 4 != 3);
        assert_same_plan(&p, &q);
        assert_str(ports[0].protocol, "TCP"); /* what others hold is as it was */
        assert_str(slice.endpoints[0].node_name, "n2");
    }
    arena_fini(&a);
}

static void test_what_is_left(void **state)
{
    struct arena a = {0};
    struct api_endpoint_slice s = whole_slice();

    assert_str(net_slice_service(&s.metadata), "web");
    net_trim_slice(&s, &a, "n1");
    assert_str(net_slice_service(&s.metadata), "web");
    assert_int_equal(s.metadata.n_labels, 0);
    assert_str(s.endpoints[0].node_name, "");
    assert_str(s.endpoints[1].node_name, "n1");
    net_trim_slice(&s, &a, "n1"); /* again: as from a file */
    assert_str(net_slice_service(&s.metadata), "web");

    s = whole_slice();
    s.metadata.n_labels = 1; /* nobody's, whatever its name was made from */
    assert_str(net_slice_service(&s.metadata), "");
    net_trim_slice(&s, &a, "n1");
    assert_str(net_slice_service(&s.metadata), "");
    s = whole_slice();
    net_trim_slice(&s, &a, ""); /* a node without a name takes none for its own */
    assert_str(s.endpoints[0].node_name, "n2");
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_are_the_same),
        cmocka_unit_test(test_what_is_left),
    };
    return cmocka_run_group_tests_name("net_trim", tests, NULL, NULL);
}
