/* Kinds whose rules are no data: schedules, defaults that depend on other fields, and rules across
 * fields. tests/integration/kinds.yaml has a breach of nearly every rule, seen through the server.
 */
#include "api/cron.h"
#include "api/hooks.h"
#include "schema/schema.h"
#include "test.h"

static struct arena arena;

static void schedules(void **state)
{
    static const char *const good[] = {
        "* * * * *",      "0 3 * * *",   "*/5 0-6,22 1,15 jan-MAR mon-fri",
        "59 23 31 12 6",  "0 0 ? * ?",   "1-5/2 * * * *",
        " 0   0\t1 1 0 ", "@hourly",     "@every 1h30m",
        "@midnight",      "0 0 * * SUN", "00 07 * * 1"};
    static const char *const bad[] = {"",
                                      "*",
                                      "* * * *",
                                      "* * * * * *",
                                      "60 * * * *",
                                      "* 24 * * *",
                                      "* * 0 * *",
                                      "* * 32 * *",
                                      "* * * 13 *",
                                      "* * * 0 *",
                                      "* * * * 7",
                                      "5-1 * * * *",
                                      "*/0 * * *",
                                      "*/0 * * * *",
                                      "a * * * *",
                                      "1, * * * *",
                                      ", * * * *",
                                      "-1 * * * *",
                                      "1- * * * *",
                                      "@often",
                                      "@every day",
                                      "@every",
                                      "* * * janx *",
                                      "1/ * * * *",
                                      "99999999999999999999 * * * *",
                                      "+1 * * * *",
                                      "* * * * mon-sun-tue",
                                      "*-5 * * * *"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const char *why = cron_check(str_z(good[i]));
        if (why)
            print_error("%s: %s\n", good[i], why);
        assert_null(why);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *why = cron_check(str_z(bad[i]));
        if (!why)
            print_error("bad schedule %zu is taken\n", i);
        assert_non_null(why);
    }
    /* any part of a schedule, and bytes that are none */
    char text[] = "*/5 0-6,22 1,15 jan-mar mon-fri";
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char was = text[n];
        assert_true(cron_check((struct str){text, n}) || n > strlen("*/5 0-6,22 1,15 jan-mar "));
        text[n] = (char)0xff;
        assert_non_null(cron_check(str_z(text)));
        text[n] = was;
    }
}

static void *decoded(const struct schema_kind *k, const char *text)
{
    void *m = schema_new(k->desc, &arena);
    assert_ok(schema_decode_text(k->desc, str_z(text), &arena, NULL, m, NULL));
    return m;
}

static void defaults_of(enum kind_id kind, const char *in, const char *out)
{
    const struct schema_kind *k = schema_kinds[kind];
    struct buf b = {0};
    void *m = decoded(k, in);
    api_default(k, m, &arena);
    void *once = schema_clone(k->desc, m, &arena);
    schema_encode_json(k->desc, m, 0, &b);
    assert_str(buf_str(&b), out);
    api_default(k, m, &arena);
    assert_true(schema_equal(k->desc, m, once)); /* filled in twice is filled in once */
    buf_fini(&b);
    arena_clear(&arena);
}

static void defaults(void **state)
{
    defaults_of(KIND_LIMIT_RANGE,
                "{\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\"},\"min\":"
                "{\"memory\":\"1Mi\"},\"default\":{\"memory\":\"2Mi\"}}]}}",
                "{\"metadata\":{},\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":"
                "\"2\"},\"min\":{\"memory\":\"1Mi\"},\"default\":{\"cpu\":\"2\",\"memory\":\"2Mi\"}"
                ",\"defaultRequest\":{\"cpu\":\"2\",\"memory\":\"2Mi\"}}]}}");
    defaults_of(KIND_PERSISTENT_VOLUME_CLAIM,
                "{\"spec\":{\"dataSource\":{\"kind\":\"PersistentVolumeClaim\",\"name\":\"a\"}}}",
                "{\"metadata\":{},\"spec\":{\"resources\":{},\"volumeMode\":\"Filesystem\","
                "\"dataSource\":{\"apiGroup\":null,\"kind\":\"PersistentVolumeClaim\",\"name\":"
                "\"a\"},\"dataSourceRef\":{\"apiGroup\":null,\"kind\":\"PersistentVolumeClaim\","
                "\"name\":\"a\"}},\"status\":{\"phase\":\"Pending\"}}");
    defaults_of(KIND_CSI_DRIVER, "{\"spec\":{}}",
                "{\"metadata\":{},\"spec\":{\"attachRequired\":true,\"podInfoOnMount\":false,"
                "\"volumeLifecycleModes\":[\"Persistent\"],\"storageCapacity\":false,"
                "\"fsGroupPolicy\":\"ReadWriteOnceWithFSType\",\"requiresRepublish\":false,"
                "\"seLinuxMount\":false}}");
    defaults_of(KIND_HPA1, "{\"spec\":{\"maxReplicas\":3}}",
                "{\"metadata\":{},\"spec\":{\"scaleTargetRef\":{\"kind\":\"\",\"name\":\"\"},"
                "\"minReplicas\":1,\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":80},"
                "\"status\":{\"currentReplicas\":0,\"desiredReplicas\":0}}");
    defaults_of(KIND_HORIZONTAL_POD_AUTOSCALER,
                "{\"spec\":{\"maxReplicas\":3,\"behavior\":{\"scaleDown\":{\"selectPolicy\":"
                "\"Min\"}}}}",
                "{\"metadata\":{},\"spec\":{\"scaleTargetRef\":{\"kind\":\"\",\"name\":\"\"},"
                "\"minReplicas\":1,\"maxReplicas\":3,\"metrics\":[{\"type\":\"Resource\","
                "\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","
                "\"averageUtilization\":80}}}],\"behavior\":{\"scaleUp\":{"
                "\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":[{\"type\":"
                "\"Pods\",\"value\":4,\"periodSeconds\":15},{\"type\":\"Percent\",\"value\":100,"
                "\"periodSeconds\":15}]},\"scaleDown\":{\"selectPolicy\":\"Min\",\"policies\":[{"
                "\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}}},\"status\":{"
                "\"desiredReplicas\":0,\"currentMetrics\":null}}");
}

struct breach {
    enum kind_id kind;
    const char *text, *field, *message;
};

#define TIMED                                                                                      \
    "{\"metadata\":{\"namespace\":\"a\"},\"eventTime\":\"2026-01-01T00:00:00.000000Z\","           \
    "\"reason\":"                                                                                  \
    "\"r\",\"reportingController\":\"x.io/y\",\"reportingInstance\":\"i\","

static void breaches(void **state)
{
    static const struct breach rows[] = {
        {KIND_LIMIT_RANGE,
         "{\"spec\":{\"limits\":[{\"type\":\"Container\",\"min\":{\"cpu\":\"3\"},\"max\":{\"cpu\":"
         "\"2\"}}]}}",
         "spec.limits[0].min[cpu]",
         "Invalid value: \"3\": min value 3 is greater than max value 2"},
        {KIND_LIMIT_RANGE,
         "{\"spec\":{\"limits\":[{\"type\":\"Pod\",\"maxLimitRequestRatio\":{\"cpu\":\"500m\"}}]}}",
         "spec.limits[0].maxLimitRequestRatio[cpu]",
         "Invalid value: \"500m\": ratio 500m is less than 1"},
        {KIND_RESOURCE_QUOTA, "{\"spec\":{\"hard\":{\"apples\":\"1\"}}}", "spec.hard[apples]",
         "Invalid value: \"apples\": must be a standard resource for quota"},
        {KIND_RESOURCE_QUOTA,
         "{\"spec\":{\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\","
         "\"operator\":\"In\"}]}}}",
         "spec.scopeSelector.matchExpressions[0].values",
         "Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope "
         "selector"},
        {KIND_PERSISTENT_VOLUME,
         "{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"capacity\":{\"storage\":\"1Gi\"},"
         "\"persistentVolumeReclaimPolicy\":\"Recycle\",\"hostPath\":{\"path\":\"/\"}}}",
         "spec.persistentVolumeReclaimPolicy",
         "Forbidden: may not be 'recycle' for a hostPath mount of '/'"},
        {KIND_VOLUME_ATTACHMENT, "{\"spec\":{\"attacher\":\"a\",\"nodeName\":\"n\"}}",
         "spec.source",
         "Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"},
        {KIND_INGRESS, "{\"spec\":{\"rules\":[{\"host\":\"*.a.*\"}]}}", "spec.rules[0].host", NULL},
        {KIND_INGRESS,
         "{\"spec\":{\"rules\":[{\"http\":{\"paths\":[{\"path\":\"/a/../b\",\"pathType\":"
         "\"Prefix\",\"backend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":1}}}}]}}]}}",
         "spec.rules[0].http.paths[0].path", "Invalid value: \"/a/../b\": must not contain '/../'"},
        {KIND_VALIDATING_WEBHOOK_CONFIGURATION,
         "{\"webhooks\":[{\"name\":\"a.b.c\",\"timeoutSeconds\":1,\"clientConfig\":{\"url\":"
         "\"https://u@h/\"}}]}",
         "webhooks[0].clientConfig.url",
         "Invalid value: \"https://u@h/\": user information is not permitted in the URL"},
        {KIND_MUTATING_WEBHOOK_CONFIGURATION,
         "{\"webhooks\":[{\"name\":\"a.b.c\",\"timeoutSeconds\":1,\"clientConfig\":{\"service\":{"
         "\"namespace\":\"n\",\"name\":\"s\",\"path\":\"/a//b\"}}}]}",
         "webhooks[0].clientConfig.service.path",
         "Invalid value: \"/a//b\": segment[1] may not be empty"},
        {KIND_MUTATING_WEBHOOK_CONFIGURATION,
         "{\"webhooks\":[{\"name\":\"a.b.c\",\"timeoutSeconds\":1,\"clientConfig\":{\"url\":"
         "\"https://h/\"},\"rules\":[{\"operations\":[\"*\"],\"apiGroups\":[\"\"],\"apiVersions\":["
         "\"v1\"],\"resources\":[\"pods/*\",\"pods/log\"]}]}]}",
         "webhooks[0].rules[0].resources[1]",
         "Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"},
        {KIND_STATEFUL_SET,
         "{\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\",\"rollingUpdate\":{}},\"template\":{"
         "\"spec\":{\"restartPolicy\":\"Always\"}}}}",
         "spec.updateStrategy.rollingUpdate",
         "Invalid value: \"\": only allowed for updateStrategy 'RollingUpdate'"},
        {KIND_CRON_JOB,
         "{\"spec\":{\"schedule\":\"TZ=UTC 0 0 * * *\",\"jobTemplate\":{\"spec\":{\"template\":{"
         "\"spec\":{\"restartPolicy\":\"Never\"}}}}}}",
         "spec.schedule",
         "Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone "
         "field instead"},
        {KIND_FLOW_SCHEMA,
         "{\"spec\":{\"rules\":[{\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"u\"},"
         "\"group\":{\"name\":\"g\"}}],\"nonResourceRules\":[{\"verbs\":[\"*\"],"
         "\"nonResourceURLs\":[\"*\"]}]}]}}",
         "spec.rules[0].subjects[0].group",
         "Forbidden: group is forbidden when subject kind is not 'Group'"},
        {KIND_DEVICE_RESOURCE_CLAIM,
         "{\"spec\":{\"devices\":{\"requests\":[{\"name\":\"a\",\"exactly\":{\"allocationMode\":"
         "\"All\",\"count\":2}}]}}}",
         "spec.devices.requests[0].exactly.count",
         "Invalid value: 2: must not be specified when allocationMode is 'All'"},
        {KIND_SECRET, "{\"type\":\"kubernetes.io/service-account-token\"}",
         "metadata.annotations[kubernetes.io/service-account.name]", "Required value"},
        {KIND_SECRET, "{\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.key\":\"\"}}",
         "data[tls.crt]", "Required value"},
        {KIND_SECRET, "{\"type\":\"kubernetes.io/ssh-auth\",\"data\":{\"ssh-privatekey\":\"\"}}",
         "data[ssh-privatekey]", "Required value"},
        {KIND_SECRET, "{\"type\":\"kubernetes.io/dockercfg\"}", "data[.dockercfg]",
         "Required value"},
        {KIND_SECRET, /* { */
         "{\"type\":\"kubernetes.io/dockercfg\",\"data\":{\".dockercfg\":\"ew==\"}}",
         "data[.dockercfg]", "Invalid value: \"<secret contents redacted>\": invalid JSON"},
        {KIND_SECRET, /* [] */
         "{\"type\":\"kubernetes.io/dockerconfigjson\",\"data\":{\".dockerconfigjson\":\"W10=\"}}",
         "data[.dockerconfigjson]",
         "Invalid value: \"<secret contents redacted>\": json: cannot unmarshal into Go value of "
         "type map[string]interface {}"},
        {KIND_ROLE, "{\"rules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a\",\"/b\"]}]}",
         "rules[0].nonResourceURLs",
         "Invalid value: [\"/a\",\"/b\"]: namespaced rules cannot apply to non-resource URLs"},
        {KIND_CLUSTER_ROLE, "{\"aggregationRule\":{}}", "aggregationRule.clusterRoleSelectors",
         "Required value: at least one clusterRoleSelector required if aggregationRule is "
         "non-nil"},
        {KIND_ROLE_BINDING, "{\"roleRef\":{\"apiGroup\":\"x\",\"kind\":\"Role\",\"name\":\"r\"}}",
         "roleRef.apiGroup",
         "Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""},
        {KIND_ROLE_BINDING,
         "{\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":"
         "\"r\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"g\",\"apiGroup\":\"x\"}]}",
         "subjects[0].apiGroup",
         "Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""},
        {KIND_CLUSTER_ROLE_BINDING,
         "{\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
         "\"name\":\"r\"},\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"s\"}]}",
         "subjects[0].namespace", "Required value"},
        {KIND_EVENT,
         "{\"metadata\":{\"namespace\":\"a\"},\"involvedObject\":{\"namespace\":\"b\"}}",
         "involvedObject.namespace", "Invalid value: \"b\": does not match event.namespace"},
        {KIND_EVENTS_EVENT, TIMED "\"regarding\":{\"namespace\":\"a\"},\"action\":\"\"}", "action",
         "Required value"},
        {KIND_EVENTS_EVENT, TIMED "\"action\":\"did\"}", "involvedObject.namespace",
         "Invalid value: \"\": does not match event.namespace"},
        {KIND_IP_ADDRESS, "{\"metadata\":{\"name\":\"2001:0db8::1\"}}", "metadata.name",
         "Invalid value: \"2001:0db8::1\": must be a valid IP address in canonical form"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct schema_kind *k = schema_kinds[rows[i].kind];
        struct error err = {0};
        api_hooks_find(k)->validate(decoded(k, rows[i].text), &err);
        if (!err.causes || err.causes->next)
            print_error("row %zu: not just one cause\n", i);
        assert_non_null(err.causes);
        assert_null(err.causes->next);
        assert_str(err.causes->field, rows[i].field);
        if (rows[i].message)
            assert_str(err.causes->message, rows[i].message);
        error_fini(&err);
        arena_clear(&arena);
    }
}

/* Rules may be asked about anything that can be decoded: an empty object breaks none of their
 * assumptions. */
/* What a Secret's type asks for, and is content with. */
static void secrets_of_a_type(void **state)
{
    static const char *const good[] = {
        "{\"type\":\"kubernetes.io/basic-auth\",\"data\":{\"password\":\"\"}}",
        "{\"type\":\"kubernetes.io/basic-auth\",\"data\":{\"username\":\"YQ==\"}}",
        "{\"type\":\"kubernetes.io/ssh-auth\",\"data\":{\"ssh-privatekey\":\"YQ==\"}}",
        "{\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"\",\"tls.key\":\"\"}}",
        "{\"type\":\"kubernetes.io/dockercfg\",\"data\":{\".dockercfg\":\"IHt9\"}}",     /* " {}" */
        "{\"type\":\"kubernetes.io/dockercfg\",\"data\":{\".dockercfg\":\"bnVsbA==\"}}", /* null */
        ("{\"type\":\"kubernetes.io/service-account-token\",\"metadata\":{\"annotations\":{"
         "\"kubernetes.io/service-account.name\":\"a\"}}}"),
        "{\"type\":\"bootstrap.kubernetes.io/token\"}",
        "{\"type\":\"example.com/any\"}"};
    const struct schema_kind *k = schema_kinds[KIND_SECRET];
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        api_hooks_find(k)->validate(decoded(k, good[i]), &err);
        if (err.causes)
            fail_msg("%s: %.*s", good[i], STR_ARG(err.causes->message));
    }
    api_hooks_find(k)->validate(decoded(k, "{\"type\":\"kubernetes.io/basic-auth\"}"), &err);
    assert_non_null(err.causes);
    assert_str(err.causes->field, "data[username]");
    assert_str(err.causes->next->field, "data[password]");
    assert_null(err.causes->next->next);
    error_fini(&err);
    arena_clear(&arena);
}

/* The causes' fields, joined. */
static void fields_are(struct error *err, const char *want)
{
    struct buf b = {0};
    for (const struct error_cause *c = err->causes; c; c = c->next)
        buf_printf(&b, "%s%.*s", b.n ? "," : "", STR_ARG(c->field));
    assert_str(buf_str(&b), want);
    buf_fini(&b);
    error_fini(err);
    *err = (struct error){0};
}

/* What is written by events.k8s.io is of the newer form, and changes in its series alone. */
static void newer_events(void **state)
{
    const struct schema_kind *k = schema_kinds[KIND_EVENTS_EVENT];
    const struct api_hooks *h = api_hooks_find(k);
    static const char good[] = TIMED "\"action\":\"did\",\"type\":\"Normal\",\"regarding\":{"
                                     "\"namespace\":\"a\"}";
    struct error err = {0};
    char text[600];
    snprintf(text, sizeof(text), "%s}", good);
    const void *old = decoded(k, text);
    h->validate(old, &err);
    h->validate_create(old, &err);
    fields_are(&err, "");
    h->validate_create(decoded(k, "{\"deprecatedCount\":1,\"deprecatedSource\":{\"host\":\"h\"},"
                                  "\"series\":{\"count\":1}}"),
                       &err);
    fields_are(&err, "series.count,series.lastObservedTime,eventTime,type,count,source");
    snprintf(text, sizeof(text),
             "%s,\"series\":{\"count\":3,\"lastObservedTime\":\"2026-01-01T00:00:00.000000Z\"}}",
             good);
    h->validate_update(decoded(k, text), old, &err);
    fields_are(&err, "");
    h->validate_update(decoded(k, "{\"reason\":\"other\",\"note\":\"n\"}"), old, &err);
    fields_are(&err, "involvedObject,reason,message,type,eventTime,action,reportingController,"
                     "reportingInstance");
    arena_clear(&arena);
}

/* Tools that make a binding anew look for these words. */
static void bindings_keep_their_role(void **state)
{
    const struct schema_kind *k = schema_kinds[KIND_ROLE_BINDING];
    struct error err = {0};
    const void *old = decoded(k, "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"a\"}}");
    api_hooks_find(k)->validate_update(
        decoded(k, "{\"roleRef\":{\"kind\":\"Role\",\"name\":\"b\"}}"), old, &err);
    assert_non_null(err.causes);
    assert_true(str_ends(err.causes->message, STR(": cannot change roleRef")));
    fields_are(&err, "roleRef");
    arena_clear(&arena);
}

static void empty_objects_are_survived(void **state)
{
    for (int i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        const struct api_hooks *h = api_hooks_find(k);
        struct error err = {0};
        void *m = schema_new(k->desc, &arena), *old = schema_new(k->desc, &arena);
        if (h && h->validate)
            h->validate(m, &err);
        if (h && h->validate_create)
            h->validate_create(m, &err);
        if (h && h->validate_update)
            h->validate_update(m, old, &err);
        if (h && h->validate_status)
            h->validate_status(m, old, &err);
        if (k->desc->flags & SCHEMA_DESC_OBJECT)
            api_default(k, m, &arena);
        error_fini(&err);
        arena_clear(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules),
        cmocka_unit_test(defaults),
        cmocka_unit_test(breaches),
        cmocka_unit_test(secrets_of_a_type),
        cmocka_unit_test(newer_events),
        cmocka_unit_test(bindings_keep_their_role),
        cmocka_unit_test(empty_objects_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
