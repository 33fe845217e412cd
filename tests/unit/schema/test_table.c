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

#define AT "\"metadata\":{\"name\":\"x\",\"creationTimestamp\":\"2025-12-31T23:59:30Z\""
#define TPL                                                                                        \
    "\"template\":{\"spec\":{\"nodeSelector\":{\"d\":\"s\",\"e\":\"t\"},\"containers\":[{"         \
    "\"name\":\"c\",\"image\":\"i\"}]}}"

static void further_kinds(void **state)
{
    static const struct {
        enum kind_id kind;
        const char *text, *cells;
    } rows[] = {
        {KIND_PERSISTENT_VOLUME,
         "{" META ",\"spec\":{\"capacity\":{\"storage\":\"5Gi\"},\"accessModes\":["
         "\"ReadOnlyMany\",\"ReadWriteOnce\"],\"persistentVolumeReclaimPolicy\":\"Retain\","
         "\"claimRef\":{\"namespace\":\"n\",\"name\":\"c\"},\"volumeMode\":\"Block\"},\"status\":{"
         "\"phase\":\"Bound\"}}",
         "[\"x\",\"5Gi\",\"RWO,ROX\",\"Retain\",\"Bound\",\"n/c\",\"\",\"<unset>\",\"\",\"30s\","
         "\"Block\"]"},
        {KIND_PERSISTENT_VOLUME_CLAIM,
         "{" AT ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{\"volumeName\":\"v\","
         "\"storageClassName\":\"s\"},\"status\":{\"phase\":\"Bound\",\"accessModes\":["
         "\"ReadWriteOncePod\"],\"capacity\":{\"storage\":\"1Gi\"}}}",
         "[\"x\",\"Terminating\",\"v\",\"1Gi\",\"RWOP\",\"s\",\"<unset>\",\"30s\",\"<unset>\"]"},
        {KIND_STORAGE_CLASS,
         "{" AT ",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},"
         "\"provisioner\":\"p\",\"allowVolumeExpansion\":true}",
         "[\"x (default)\",\"p\",\"\",\"\",true,\"30s\"]"},
        {KIND_RESOURCE_QUOTA,
         "{" META ",\"status\":{\"hard\":{\"limits.cpu\":\"4\",\"pods\":\"10\",\"services\":\"5\"},"
         "\"used\":{\"pods\":\"1\"}}}",
         "[\"x\",\"pods: 1/10, services: 0/5\",\"limits.cpu: 0/4\",\"30s\"]"},
        {KIND_STATEFUL_SET, "{" META ",\"spec\":{" TPL "},\"status\":{\"readyReplicas\":2}}",
         "[\"x\",\"2/1\",\"30s\",\"c\",\"i\"]"},
        {KIND_DAEMON_SET, "{" META ",\"spec\":{" TPL "},\"status\":{\"numberReady\":2}}",
         "[\"x\",0,0,2,0,0,\"d=s,e=t\",\"30s\",\"c\",\"i\",\"<none>\"]"},
        {KIND_CRON_JOB,
         "{" META
         ",\"spec\":{\"schedule\":\"@daily\",\"suspend\":true,\"jobTemplate\":{\"spec\":{" TPL
         "}}},\"status\":{\"active\":[{},{}],\"lastScheduleTime\":\"2025-12-31T23:59:50Z\"}}",
         "[\"x\",\"@daily\",\"<none>\",\"True\",2,\"10s\",\"30s\",\"c\",\"i\",\"<none>\"]"},
        {KIND_INGRESS,
         "{" META
         ",\"spec\":{\"tls\":[{}],\"rules\":[{\"host\":\"a\"},{\"host\":\"b\"},{},{\"host\":"
         "\"c\"},{\"host\":\"d\"}]},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"1.1.1.1\"}"
         ","
         "{\"hostname\":\"h\"}]}}}",
         "[\"x\",\"<none>\",\"a,b,c + 1 more...\",\"1.1.1.1,h\",\"80, 443\",\"30s\"]"},
        {KIND_INGRESS_CLASS,
         "{" META
         ",\"spec\":{\"controller\":\"e/c\",\"parameters\":{\"apiGroup\":\"g\",\"kind\":\"K\","
         "\"name\":\"n\"}}}",
         "[\"x\",\"e/c\",\"K.g/n\",\"30s\"]"},
        {KIND_IP_ADDRESS,
         "{" META
         ",\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"n\",\"name\":"
         "\"s\"}}}",
         "[\"x\",\"services/n/s\",\"30s\"]"},
        {KIND_SERVICE_CIDR, "{" META ",\"spec\":{\"cidrs\":[\"10.0.0.0/8\",\"fd00::/8\"]}}",
         "[\"x\",\"10.0.0.0/8,fd00::/8\",\"30s\"]"},
        {KIND_CSI_DRIVER,
         "{" META ",\"spec\":{\"attachRequired\":true,\"tokenRequests\":[{\"audience\":\"a\"},{"
         "\"audience\":\"b\"}],\"volumeLifecycleModes\":[\"Persistent\",\"Ephemeral\"]}}",
         "[\"x\",true,false,false,\"a,b\",false,\"Persistent,Ephemeral\",\"30s\"]"},
        {KIND_VALIDATING_WEBHOOK_CONFIGURATION, "{" META ",\"webhooks\":[{},{}]}",
         "[\"x\",2,\"30s\"]"},
        {KIND_VALIDATING_ADMISSION_POLICY,
         "{" META ",\"spec\":{\"validations\":[{}],\"paramKind\":{\"apiVersion\":\"v1\",\"kind\":"
         "\"ConfigMap\"}}}",
         "[\"x\",1,\"v1/ConfigMap\",\"30s\"]"},
        {KIND_MUTATING_ADMISSION_POLICY_BINDING,
         "{" META
         ",\"spec\":{\"policyName\":\"p\",\"paramRef\":{\"namespace\":\"n\",\"name\":\"m\"}}}",
         "[\"x\",\"p\",\"n/m\",\"30s\"]"},
        {KIND_FLOW_SCHEMA,
         "{" META ",\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"p\"},"
         "\"matchingPrecedence\":7},\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":"
         "\"True\"}]}}",
         "[\"x\",\"p\",7,\"<none>\",\"30s\",\"True\"]"},
        {KIND_DEVICE_RESOURCE_CLAIM,
         "{" META ",\"status\":{\"allocation\":{},\"reservedFor\":[{\"name\":\"p\"}]}}",
         "[\"x\",\"allocated,reserved\",\"30s\"]"},
        {KIND_DEVICE_RESOURCE_CLAIM, "{" META "}", "[\"x\",\"pending\",\"30s\"]"},
        {KIND_HPA1,
         "{" META ",\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},"
         "\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":50},\"status\":{\"currentReplicas\":"
         "2,"
         "\"currentCPUUtilizationPercentage\":12}}",
         "[\"x\",\"Deployment/d\",\"cpu: 12%/50%\",\"<unset>\",3,2,\"30s\"]"},
        {KIND_HORIZONTAL_POD_AUTOSCALER,
         "{" META
         ",\"spec\":{\"minReplicas\":2,\"metrics\":[{\"pods\":{\"target\":{\"averageValue\":"
         "\"5\"}}},{\"object\":{\"target\":{\"averageValue\":\"6\"}}},{},{}]}}",
         "[\"x\",\"/\",\"<unknown>/5, <unknown>/6 (avg) + 2 more...\",\"2\",0,0,\"30s\"]"},
        {KIND_COMPONENT_STATUS,
         "{" META ",\"conditions\":[{\"type\":\"Healthy\",\"status\":\"False\",\"error\":\"e\"}]}",
         "[\"x\",\"Unhealthy\",\"\",\"e\"]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cells_of(schema_kinds[rows[i].kind], rows[i].text, rows[i].cells);
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
        cmocka_unit_test(further_kinds),
        cmocka_unit_test(every_column_can_be_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
