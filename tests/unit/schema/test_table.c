/* What `kubectl get` shows, cell by cell. */
#include "test.h"

#include "schema/schema.h"
#include "schema/table.h"

static void cells_of(const struct schema_kind *kind, const char *json, const char *expected)
{
    usec_t now = 1767225600000000; /* 2026-01-01T00:00:00Z */
    struct arena a = {0};
    struct error err = {0};
    struct buf out = {0};
    void *msg = schema_new(kind->desc, &a);

    assert_ok(schema_decode_text(kind->desc, str_z(json), &a, NULL, msg, &err));
    table_cells_print(kind, msg, now, &out);
    assert_str(buf_str(&out), expected);
    buf_fini(&out);
    arena_fini(&a);
}

#define META  "\"metadata\":{\"name\":\"x\",\"creationTimestamp\":\"2025-12-31T23:59:30Z\"}"
#define SPEC1 "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"

static void pods(void **state)
{
    static const char *const rows[][2] = {
        {"{" META "," SPEC1 ",\"status\":{\"phase\":\"Pending\"}}",
         "[\"x\",\"0/1\",\"Pending\",\"0\",\"30s\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
        {"{" META "," SPEC1 ",\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"podIPs\":["
         "{\"ip\":\"10.0.0.1\"}],\"containerStatuses\":"
         "[{\"name\":\"c\",\"ready\":true,\"restartCount\":2,\"state\":{\"running\":{}},"
         "\"lastState\":{\"terminated\":{\"exitCode\":1,"
         "\"finishedAt\":\"2025-12-31T23:59:50Z\"}}}]}}",
         "[\"x\",\"1/1\",\"Running\",\"2 (10s "
         "ago)\",\"30s\",\"10.0.0.1\",\"<none>\",\"<none>\",\"<none>\"]"},
        {"{" META "," SPEC1 ",\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":"
         "\"c\",\"restartCount\":5,"
         "\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}",
         "[\"x\",\"0/"
         "1\",\"CrashLoopBackOff\",\"5\",\"30s\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
        {"{" META "," SPEC1 ",\"status\":{\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":"
         "\"c\",\"state\":{\"terminated\":{\"exitCode\":3}}}]}}",
         "[\"x\",\"0/"
         "1\",\"ExitCode:3\",\"0\",\"30s\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
        {"{\"metadata\":{\"name\":\"x\",\"creationTimestamp\":\"2025-12-31T23:59:30Z\","
         "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}," SPEC1
         ",\"status\":{\"phase\":\"Running\"}}",
         "[\"x\",\"0/"
         "1\",\"Terminating\",\"0\",\"30s\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
        {"{" META ",\"spec\":{\"initContainers\":[{\"name\":\"a\"},{\"name\":\"b\"}],"
         "\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Pending\","
         "\"initContainerStatuses\":[{\"name\":\"a\",\"state\":{\"terminated\":{\"exitCode\":0}}},{"
         "\"name\":\"b\",\"state\":{\"running\":{}}}]}}",
         "[\"x\",\"0/1\",\"Init:1/2\",\"0\",\"30s\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cells_of(schema_kinds[KIND_POD], rows[i][0], rows[i][1]);
}

static void others(void **state)
{
    cells_of(
        schema_kinds[KIND_SERVICE],
        "{" META
        ",\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.9\",\"selector\":{\"a\":\"b\"},"
        "\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"}]}}",
        "[\"x\",\"NodePort\",\"10.96.0.9\",\"<none>\",\"80:30080/TCP\",\"30s\",\"a=b\"]");
    cells_of(schema_kinds[KIND_CONFIG_MAP],
             "{" META ",\"data\":{\"a\":\"1\",\"b\":\"2\"},\"binaryData\":{\"c\":\"AA==\"}}",
             "[\"x\",\"3\",\"30s\"]");
    cells_of(schema_kinds[KIND_NODE],
             "{" META ",\"spec\":{\"unschedulable\":true},\"status\":{\"conditions\":[{\"type\":"
             "\"Ready\",\"status\":\"True\"}],"
             "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.1.1.1\"}]}}",
             "[\"x\",\"Ready,SchedulingDisabled\",\"<none>\",\"30s\",\"\",\"10.1.1.1\",\"<none>\","
             "\"<unknown>\",\"<unknown>\",\"<unknown>\"]");
    cells_of(schema_kinds[KIND_DEPLOYMENT],
             "{" META ",\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
             "\"template\":{\"spec\":{\"containers\":"
             "[{\"name\":\"c\",\"image\":\"i\"},{\"name\":\"d\",\"image\":\"j\"}]}}},\"status\":{"
             "\"readyReplicas\":2,\"updatedReplicas\":1}}",
             "[\"x\",\"2/3\",\"1\",\"0\",\"30s\",\"c,d\",\"i,j\",\"a=b\"]");
    cells_of(schema_kinds[KIND_ENDPOINTS],
             "{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"},{"
             "\"ip\":\"1.1.1.3\"},{\"ip\":\"1.1.1.4\"}],"
             "\"ports\":[{\"port\":80}]}]}",
             "[\"x\",\"1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...\",\"30s\"]");
}

static void every_column_can_be_printed(void **state)
{
    struct arena a = {0};

    for (int k = 0; k < _KIND_MAX; k++) {
        const struct schema_kind *kind = schema_kinds[k];
        struct buf out = {0};
        struct json *v;
        for (int c = 0; c < kind->n_columns; c++) {
            struct schema_ref ref;
            const struct schema_column *col = &kind->columns[c];
            if (col->hook && !table_hook_find(col->hook))
                print_error("%s: no hook %s\n", kind->kind, col->hook);
            assert_true(col->hook ? table_hook_find(col->hook) != NULL
                                  : schema_get_path(kind->desc, schema_new(kind->desc, &a),
                                                    str_z(col->path), &ref) >= 0);
        }
        table_cells_print(kind, schema_new(kind->desc, &a), 0, &out);
        assert_ok(json_parse(buf_str(&out), &a, NULL, &v, NULL));
        assert_int_equal(v->n, MAX(kind->n_columns, 2));
        buf_clear(&out);
        table_columns_print(kind, &out);
        assert_ok(json_parse(buf_str(&out), &a, NULL, &v, NULL));
        buf_fini(&out);
    }
    arena_fini(&a);
}

static void network_policies(void **state)
{
    static const char *const rows[][2] = {
        {"{" META ",\"spec\":{\"podSelector\":{}}}", "[\"x\",\"<none>\",\"30s\"]"},
        {"{" META ",\"spec\":{\"podSelector\":{\"matchLabels\":{\"a\":\"b\"},"
         "\"matchExpressions\":[{\"key\":\"c\",\"operator\":\"Exists\"}]}}}",
         "[\"x\",\"a=b,c\",\"30s\"]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cells_of(schema_kinds[KIND_NETWORK_POLICY], rows[i][0], rows[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods),
        cmocka_unit_test(others),
        cmocka_unit_test(network_policies),
        cmocka_unit_test(every_column_can_be_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
