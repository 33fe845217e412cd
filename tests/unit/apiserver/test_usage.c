/* Readings of nodes: the text of /metrics/resource. */
#include "apiserver/usage.h"
#include "test.h"

static struct usage_reading r;

static void parse(const char *text)
{
    usage_reading_fini(&r);
    usage_parse(str_z(text), &r);
}

static void figures_of_one_container_are_joined(void **state)
{
    (void)state;
    parse("# TYPE node_cpu_usage_seconds_total counter\n"
          "node_cpu_usage_seconds_total 12.5 1700000000000\n"
          "container_memory_working_set_bytes{container=\"b\",namespace=\"n\",pod=\"p\"} 4096\n"
          "pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 3\n"
          "container_cpu_usage_seconds_total{namespace=\"n\", pod=\"p\", container=\"a\",} 1e-3\r\n"
          "node_memory_working_set_bytes 1.5e+09\n"
          "container_memory_working_set_bytes{container=\"a\",namespace=\"n\",pod=\"p\"} 77\n"
          "container_cpu_usage_seconds_total{container=\"b\",namespace=\"n\",pod=\"p\"}2");
    assert_int_equal(r.n, 3);
    assert_str(r.v[0].ns, "");
    assert_true(r.v[0].cpu_s > 12.4 && r.v[0].cpu_s < 12.6);
    assert_int_equal(r.v[0].memory_bytes, 1500000000);
    assert_str(r.v[1].name, "a");
    assert_true(r.v[1].cpu_s > 0.0009 && r.v[1].cpu_s < 0.0011);
    assert_int_equal(r.v[1].memory_bytes, 77);
    assert_str(r.v[2].name, "b");
    assert_str(r.v[2].pod, "p");
    assert_int_equal(r.v[2].memory_bytes, 4096);
    usage_reading_fini(&r);
}

static void what_is_not_understood_is_not_there(void **state)
{
    static const char *const bad[] = {
        "",
        "\n\n",
        "node_cpu_usage_seconds_total",
        "node_cpu_usage_seconds_total -1\nnode_memory_working_set_bytes 1",
        "node_cpu_usage_seconds_total NaN\nnode_memory_working_set_bytes 1",
        "node_cpu_usage_seconds_total 1x\nnode_memory_working_set_bytes 1",
        "node_cpu_usage_seconds_total 1\nnode_memory_working_set_bytes 1e300",
        "node_cpu_usage_seconds_total 1", /* half of it */
        "container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\"} 1\n"
        "container_memory_working_set_bytes{container=\"a\",namespace=\"n\"} 1",
        "container_cpu_usage_seconds_total{container=\"a\",namespace=\"n\",pod=\"p} 1\n"
        "container_memory_working_set_bytes{container=\"a\",namespace=\"n\",pod=\"p\"} 1",
        "container_cpu_usage_seconds_total{container",
        "container_cpu_usage_seconds_total{container=",
        "container_cpu_usage_seconds_total{container=\"\\",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        parse(bad[i]);
        if (r.n)
            fail_msg("%zu: %zu", i, r.n);
    }
    parse("container_cpu_usage_seconds_total{container=\"a\\\"\\n\",namespace=\"n\",pod=\"p\"} 1\n"
          "container_memory_working_set_bytes{container=\"a\\\"\\n\",namespace=\"n\",pod=\"p\"} 1");
    assert_int_equal(r.n, 1);
    assert_str(r.v[0].name, "a\"\n");
    usage_reading_fini(&r);
}

static void readings_are_bounded(void **state)
{
    struct buf b = {0};
    (void)state;
    for (unsigned i = 0; i < 3 * USAGE_SAMPLES_MAX; i++)
        buf_printf(&b, "container_%s{container=\"c\",namespace=\"n\",pod=\"p%u\"} %u\n",
                   i % 2 ? "memory_working_set_bytes" : "cpu_usage_seconds_total", i / 2, i);
    usage_parse(buf_str(&b), &r);
    assert_int_equal(r.n, USAGE_SAMPLES_MAX);
    usage_reading_fini(&r);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_of_one_container_are_joined),
        cmocka_unit_test(what_is_not_understood_is_not_there),
        cmocka_unit_test(readings_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
