/* The settings of a cluster as a ConfigMap, and the defaults that keep off a machine's own address.
 */
#include "api/cluster.h"
#include "api/kv.h"
#include "test.h"

static void round_trip(void **state)
{
    struct arena a = {0};
    struct api_config_map m;
    struct cluster_config back, c = {.pod_cidr = STR("10.128.0.0/10"),
                                     .service_cidr = STR("10.96.0.0/16"),
                                     .domain = STR("cluster.local"),
                                     .network = CLUSTER_NETWORK_AUTO,
                                     .vni = 77};
    cluster_config_print(&c, &a, &m);
    assert_int_equal(cluster_config_read(&m, &back, NULL), 0);
    assert_true(str_eq(back.pod_cidr, c.pod_cidr) && str_eq(back.service_cidr, c.service_cidr));
    assert_true(str_eq(back.domain, c.domain));
    assert_int_equal(back.network, CLUSTER_NETWORK_AUTO);
    assert_int_equal(back.vni, 77);
    static const struct {
        const char *key, *value;
    } bad[] = {{"vni", "0"},           {"vni", "16777216"}, {"vni", "x"},
               {"network", "carrier"}, {"clusterCIDR", ""}, {"serviceCIDR", ""}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct api_config_map n;
        struct error err = {0};
        cluster_config_print(&c, &a, &n);
        kv_str_set(&a, &n.data, &n.n_data, str_z(bad[i].key), str_z(bad[i].value));
        assert_int_equal(cluster_config_read(&n, &back, &err), -EBADMSG);
        assert_true(str_search(err.message, str_z(bad[i].key)) >= 0);
        error_fini(&err);
    }
    arena_fini(&a);
}

static void names_of_networks(void **state)
{
    for (int i = 0; i < _CLUSTER_NETWORK_MAX; i++)
        assert_int_equal(cluster_network_parse(str_z(cluster_network_name(i))), i);
    assert_int_equal(cluster_network_parse(STR("")), _CLUSTER_NETWORK_INVALID);
}

static void defaults(void **state)
{
    assert_string_equal(cluster_default_pod_cidr(NULL), "10.128.0.0/10");
    assert_string_equal(cluster_default_pod_cidr("192.168.1.4"), "10.128.0.0/10");
    assert_string_equal(cluster_default_pod_cidr("10.0.0.4"), "10.128.0.0/10");
    assert_string_equal(cluster_default_pod_cidr("10.128.0.2"), "10.192.0.0/10");
    assert_string_equal(cluster_default_pod_cidr("10.191.255.1"), "10.192.0.0/10");
    assert_string_equal(cluster_default_pod_cidr("fd00::1"), "10.128.0.0/10");
    assert_string_equal(cluster_default_service_cidr("10.96.3.4"), "172.30.0.0/16");
    assert_string_equal(cluster_default_service_cidr("10.97.3.4"), "10.96.0.0/16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(names_of_networks),
        cmocka_unit_test(defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
