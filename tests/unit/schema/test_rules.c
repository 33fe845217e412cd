/* Defaults, validation, formats, paths: the rules of the tables at work. */
#include "test.h"

#include "schema/schema.h"

static struct arena arena;

static void *decoded(const struct schema_desc *d, const char *text)
{
    struct error err = {0};
    void *m = schema_new(d, &arena);
    if (schema_decode_text(d, str_z(text), &arena, NULL, m, &err) < 0)
        print_error("%.*s\n", STR_ARG(err.message));
    assert_null(err.message.p);
    return m;
}

static void defaults_of(const struct schema_desc *d, const char *in, const char *out)
{
    struct buf b = {0};
    void *m = decoded(d, in);
    schema_default(d, m, &arena);
    schema_encode_json(d, m, 0, &b);
    assert_str(buf_str(&b), out);
    buf_fini(&b);
    arena_clear(&arena);
}

static void absent_fields_get_their_defaults(void **state)
{
    defaults_of(&api_pod_spec_desc,
                "{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1}]}]}",
                "{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,\"protocol\":"
                "\"TCP\"}],\"resources\":{},"
                "\"terminationMessagePath\":\"/dev/"
                "termination-log\",\"terminationMessagePolicy\":\"File\"}],"
                "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
                "\"ClusterFirst\","
                "\"securityContext\":{},\"schedulerName\":\"default-scheduler\","
                "\"enableServiceLinks\":true}");
    defaults_of(&api_deployment_spec_desc, "{\"replicas\":0,\"strategy\":{\"type\":\"Recreate\"}}",
                "{\"replicas\":0,\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{"
                "\"containers\":null,"
                "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
                "\"ClusterFirst\","
                "\"securityContext\":{},\"schedulerName\":\"default-scheduler\","
                "\"enableServiceLinks\":true}},"
                "\"strategy\":{\"type\":\"Recreate\"},\"revisionHistoryLimit\":10,"
                "\"progressDeadlineSeconds\":600}");
    defaults_of(&api_volume_desc, "{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}",
                "{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"defaultMode\":420}}");
    defaults_of(&api_job_spec_desc,
                "{\"suspend\":true,\"template\":{\"spec\":{\"enableServiceLinks\":false}}}",
                "{\"backoffLimit\":6,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null,"
                "\"restartPolicy\":\"Always\","
                "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
                "\"securityContext\":{},"
                "\"schedulerName\":\"default-scheduler\",\"enableServiceLinks\":false}},"
                "\"completionMode\":\"NonIndexed\","
                "\"suspend\":true,\"podReplacementPolicy\":\"TerminatingOrFailed\"}");
    defaults_of(&api_probe_desc, "{\"httpGet\":{\"port\":80},\"periodSeconds\":3}",
                "{\"httpGet\":{\"path\":\"/"
                "\",\"port\":80,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":3,"
                "\"successThreshold\":1,\"failureThreshold\":3}");
}

/* Every default of the tables can be set on an empty message, and setting them twice changes
 * nothing. */
static void all_defaults_hold(void **state)
{
    for (size_t i = 0; schema_descs[i]; i++) {
        const struct schema_desc *d = schema_descs[i];
        void *m = schema_new(d, &arena);
        schema_default(d, m, &arena);
        void *once = schema_clone(d, m, &arena);
        schema_default(d, m, &arena);
        assert_true(schema_equal(d, m, once));
        arena_clear(&arena);
    }
}

struct expected_cause {
    const char *field, *reason, *message;
};

static void check_causes(const struct schema_desc *d, const char *text, const char *old,
                         const struct expected_cause *expected, unsigned n)
{
    struct error err = {0};
    int r = schema_validate(d, decoded(d, text), old ? decoded(d, old) : NULL, &err);
    unsigned i = 0;
    for (struct error_cause *c = err.causes; c; c = c->next, i++) {
        if (i >= n) {
            print_error("extra: %.*s: %.*s\n", STR_ARG(c->field), STR_ARG(c->message));
            fail();
        }
        assert_str(c->field, expected[i].field);
        assert_str(c->reason, expected[i].reason);
        assert_str(c->message, expected[i].message);
    }
    assert_int_equal(i, n);
    assert_int_equal(r, n ? -EBADMSG : 0);
    error_fini(&err);
    arena_clear(&arena);
}
#define CAUSES(...)                                                                                \
    (const struct expected_cause[]){__VA_ARGS__},                                                  \
        sizeof((const struct expected_cause[]){__VA_ARGS__}) / sizeof(struct expected_cause)

static void breaches_become_causes(void **state)
{
    check_causes(&api_pod_desc, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
                 NULL, NULL, 0);
    check_causes(&api_pod_desc, "{\"spec\":{}}", NULL,
                 CAUSES({"spec.containers", CAUSE_REQUIRED, "Required value"}));
    check_causes(
        &api_pod_desc,
        "{\"spec\":{\"volumes\":[{\"name\":\"v\"},{\"name\":\"v\"}],\"containers\":[{\"name\":"
        "\"Web_1\",\"ports\":[{"
        "\"containerPort\":70000,\"protocol\":\"XTP\"},{}],\"imagePullPolicy\":\"Sometimes\","
        "\"env\":[{\"name\":\"a=b\"}],"
        "\"volumeMounts\":[{\"name\":\"v\"}]},{\"name\":\"a\"},{\"name\":\"a\"}],"
        "\"terminationGracePeriodSeconds\":-1,"
        "\"restartPolicy\":\"Maybe\"}}",
        NULL,
        CAUSES({"spec.volumes[1].name", CAUSE_DUPLICATE, "Duplicate value: \"v\""},
               {"spec.containers[2].name", CAUSE_DUPLICATE, "Duplicate value: \"a\""},
               {"spec.containers[0].name", CAUSE_INVALID,
                "Invalid value: \"Web_1\": a lowercase RFC 1123 label must consist of lower case "
                "alphanumeric characters or "
                "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
                "'123-abc', regex used for "
                "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
               {"spec.containers[0].ports[0].containerPort", CAUSE_INVALID,
                "Invalid value: 70000: must be between 1 and 65535, inclusive"},
               {"spec.containers[0].ports[0].protocol", CAUSE_NOT_SUPPORTED,
                "Unsupported value: \"XTP\": supported values: \"SCTP\", \"TCP\", \"UDP\""},
               {"spec.containers[0].ports[1].containerPort", CAUSE_REQUIRED, "Required value"},
               {"spec.containers[0].env[0].name", CAUSE_INVALID,
                "Invalid value: \"a=b\": a valid environment variable name must consist only of "
                "printable ASCII characters "
                "other than '='"},
               {"spec.containers[0].volumeMounts[0].mountPath", CAUSE_REQUIRED, "Required value"},
               {"spec.containers[0].imagePullPolicy", CAUSE_NOT_SUPPORTED,
                "Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", "
                "\"Never\""},
               {"spec.restartPolicy", CAUSE_NOT_SUPPORTED,
                "Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", "
                "\"OnFailure\""},
               {"spec.terminationGracePeriodSeconds", CAUSE_INVALID,
                "Invalid value: -1: must be greater than or equal to 0"}));
    check_causes(&api_service_desc, "{\"spec\":{\"ports\":[{\"port\":0}],\"type\":\"ClusterIP\"}}",
                 NULL,
                 CAUSES({"spec.ports[0].port", CAUSE_INVALID,
                         "Invalid value: 0: must be between 1 and 65535, inclusive"}));
    check_causes(&api_probe_desc, "{\"httpGet\":{},\"timeoutSeconds\":1}", NULL,
                 CAUSES({"httpGet.port", CAUSE_INVALID,
                         "Invalid value: 0: must be between 1 and 65535, inclusive"}));
    check_causes(&api_limited_priority_level_configuration_desc,
                 "{\"lendablePercent\":101,\"limitResponse\":{\"type\":\"Reject\"}}", NULL,
                 CAUSES({"lendablePercent", CAUSE_INVALID,
                         "Invalid value: 101: must be between 0 and 100, inclusive"}));
}

static void immutable_fields_stay(void **state)
{
    static const char old[] =
        "{\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"a\"}},\"template\":{\"spec\":{"
        "\"containers\":[{\"name\":\"c\"}]}}}}";
    static const char new[] =
        "{\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"b\"}},\"template\":{\"spec\":{"
        "\"containers\":[{\"name\":\"d\"}]}}}}";
    check_causes(&api_deployment_desc, new, old,
                 CAUSES({"spec.selector", CAUSE_INVALID,
                         "Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"}));
    check_causes(&api_deployment_desc, new, new, NULL, 0);
    check_causes(&api_secret_desc, "{\"type\":\"a\"}", "{\"type\":\"Opaque\"}",
                 CAUSES({"type", CAUSE_INVALID, "Invalid value: \"a\": field is immutable"}));
    struct error err = {0};
    struct api_pod_template_spec t = {0};
    assert_int_equal(
        schema_validate_at(&api_pod_template_spec_desc, &t, NULL, STR("spec.template"), &err),
        -EBADMSG);
    assert_str(err.causes->field, "spec.template.spec.containers");
    error_fini(&err);
}

static void formats_are_checked(void **state)
{
    static const struct {
        enum schema_format f;
        const char *s;
        bool ok;
    } rows[] = {
        {SCHEMA_FORMAT_DNS_LABEL, "a", true},
        {SCHEMA_FORMAT_DNS_LABEL, "a-1", true},
        {SCHEMA_FORMAT_DNS_LABEL, "1a", true},
        {SCHEMA_FORMAT_DNS_LABEL, "", false},
        {SCHEMA_FORMAT_DNS_LABEL, "-a", false},
        {SCHEMA_FORMAT_DNS_LABEL, "a-", false},
        {SCHEMA_FORMAT_DNS_LABEL, "A", false},
        {SCHEMA_FORMAT_DNS_LABEL, "a.b", false},
        {SCHEMA_FORMAT_DNS_SUBDOMAIN, "a.b-c.1", true},
        {SCHEMA_FORMAT_DNS_SUBDOMAIN, "a..b", false},
        {SCHEMA_FORMAT_DNS_SUBDOMAIN, ".a", false},
        {SCHEMA_FORMAT_DNS_SUBDOMAIN, "a.", false},
        {SCHEMA_FORMAT_DNS_SUBDOMAIN, "a_b", false},
        {SCHEMA_FORMAT_DNS1035_LABEL, "1a", false},
        {SCHEMA_FORMAT_DNS1035_LABEL, "a1", true},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "a/b", true},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "My.Name_1", true},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "/b", false},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "a/", false},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "a/b/c", false},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "A/b", false},
        {SCHEMA_FORMAT_QUALIFIED_NAME, "_a", false},
        {SCHEMA_FORMAT_LABEL_VALUE, "", true},
        {SCHEMA_FORMAT_LABEL_VALUE, "a_B.c", true},
        {SCHEMA_FORMAT_LABEL_VALUE, "a b", false},
        {SCHEMA_FORMAT_IP, "10.0.0.1", true},
        {SCHEMA_FORMAT_IP, "::1", true},
        {SCHEMA_FORMAT_IP, "10.0.0", false},
        {SCHEMA_FORMAT_IP, "10.0.0.256", false},
        {SCHEMA_FORMAT_IP, "", false},
        {SCHEMA_FORMAT_IP_OR_EMPTY, "", true},
        {SCHEMA_FORMAT_CIDR, "10.0.0.0/8", true},
        {SCHEMA_FORMAT_CIDR, "10.0.0.0/33", false},
        {SCHEMA_FORMAT_CIDR, "fd00::/64", true},
        {SCHEMA_FORMAT_CIDR, "10.0.0.0", false},
        {SCHEMA_FORMAT_CIDR, "10.0.0.0/+8", false},
        {SCHEMA_FORMAT_PORT_NAME, "http", true},
        {SCHEMA_FORMAT_PORT_NAME, "80", false},
        {SCHEMA_FORMAT_PORT_NAME, "a--b", false},
        {SCHEMA_FORMAT_PORT_NAME, "-a", false},
        {SCHEMA_FORMAT_PORT_NAME, "abcdefghijklmnop", false},
        {SCHEMA_FORMAT_ENV_NAME, "A_b.c-d", true},
        {SCHEMA_FORMAT_ENV_NAME, "a=b", false},
        {SCHEMA_FORMAT_CONFIG_KEY, "a.b-c_D", true},
        {SCHEMA_FORMAT_CONFIG_KEY, "a/b", false},
        {SCHEMA_FORMAT_CONFIG_KEY, "..", false},
        {SCHEMA_FORMAT_CONFIG_KEY, "..a", false},
        {SCHEMA_FORMAT_PATH_SEGMENT, "system:node", true},
        {SCHEMA_FORMAT_PATH_SEGMENT, "a/b", false},
        {SCHEMA_FORMAT_PATH_SEGMENT, "a%b", false},
        {SCHEMA_FORMAT_PATH_SEGMENT, "..", false},
        {SCHEMA_FORMAT_ABS_PATH, "/a", true},
        {SCHEMA_FORMAT_ABS_PATH, "a", false},
        {SCHEMA_FORMAT_ANY, "anything at all", true},
    };
    char long_label[65];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = schema_format_check(rows[i].f, str_z(rows[i].s));
        if ((why == NULL) != rows[i].ok)
            print_error("format %d of \"%s\": %s\n", rows[i].f, rows[i].s, why ? why : "accepted");
        assert_int_equal(why == NULL, rows[i].ok);
    }
    memset(long_label, 'a', sizeof long_label);
    assert_null(schema_format_check(SCHEMA_FORMAT_DNS_LABEL, (struct str){long_label, 63}));
    assert_string_equal(schema_format_check(SCHEMA_FORMAT_DNS_LABEL, (struct str){long_label, 64}),
                        "must be no more than 63 characters");
}

static void paths_lead_to_values(void **state)
{
    static const char pod[] =
        "{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"x\",\"a.b/"
        "c\":\"y\"},\"creationTimestamp\":"
        "\"2024-01-01T00:00:00Z\"},\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true,"
        "\"containers\":[{\"name\":\"c0\"},"
        "{\"name\":\"c1\",\"resources\":{\"limits\":{\"cpu\":\"1500m\"}},\"ports\":[{"
        "\"containerPort\":80}],"
        "\"livenessProbe\":{\"httpGet\":{\"port\":8080}}}],\"terminationGracePeriodSeconds\":5},"
        "\"status\":{\"phase\":\"Running\"}}";
    static const struct {
        const char *path;
        int r;
        const char *text;
    } rows[] = {
        {"metadata.name", 1, "web"},
        {".metadata.name", 1, "web"},
        {"spec.nodeName", 1, "n1"},
        {"status.phase", 1, "Running"},
        {"metadata.labels.app", 1, "x"},
        {"metadata.labels['a.b/c']", 1, "y"},
        {"metadata.labels.a.b/c", 1, "y"},
        {"metadata.labels", 1, "{\"a.b/c\":\"y\",\"app\":\"x\"}"},
        {"metadata.labels.nope", 0, ""},
        {"metadata.creationTimestamp", 1, "2024-01-01T00:00:00Z"},
        {"spec.containers[1].name", 1, "c1"},
        {"spec.containers[2].name", 0, ""},
        {"spec.containers[1].resources.limits.cpu", 1, "1500m"},
        {"spec.containers[1].ports[0].containerPort", 1, "80"},
        {"spec.hostNetwork", 1, "true"},
        {"spec.containers[1].livenessProbe.httpGet.port", 1, "8080"},
        {"spec.containers[0].livenessProbe.httpGet.port", 0, ""},
        {"spec.terminationGracePeriodSeconds", 1, "5"},
        {"spec.activeDeadlineSeconds", 0, ""},
        {"spec.priorityClassName", 1, ""},
        {"spec.nope", -EINVAL, ""},
        {"spec.containers.name", -EINVAL, ""},
        {"spec[0]", -EINVAL, ""},
        {"spec.containers[x]", -EINVAL, ""},
        {"spec.containers[0", -EINVAL, ""},
        {"spec.nodeName.x", -EINVAL, ""},
        {"metadata.labels[0]", -EINVAL, ""},
        {"..", -EINVAL, ""},
        {"spec.containers[1].ports", 1, "[{\"containerPort\":80}]"},
    };
    const struct api_pod *p = decoded(&api_pod_desc, pod);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schema_ref ref;
        struct buf b = {0};
        int r = schema_get_path(&api_pod_desc, p, str_z(rows[i].path), &ref);
        if (r != rows[i].r)
            print_error("%s: %d\n", rows[i].path, r);
        assert_int_equal(r, rows[i].r);
        if (r == 1) {
            schema_ref_print(&ref, &b);
            assert_str(b.n ? buf_str(&b) : STR(""), rows[i].text);
        }
        buf_fini(&b);
    }
    arena_clear(&arena);
}

static void equality_is_by_meaning(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"{}", "{\"spec\":{\"containers\":[]}}", true},
        {"{}", "{\"metadata\":{\"labels\":{}}}", true},
        {"{}", "{\"spec\":{\"terminationGracePeriodSeconds\":0}}", false},
        {"{}", "{\"spec\":{\"securityContext\":{}}}", false},
        {"{\"spec\":{\"overhead\":{\"cpu\":\"1\"}}}",
         "{\"spec\":{\"overhead\":{\"cpu\":\"1000m\"}}}", true},
        {"{\"spec\":{\"overhead\":{\"cpu\":\"1\"}}}",
         "{\"spec\":{\"overhead\":{\"cpu\":\"1001m\"}}}", false},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\",\"a\":\"1\"}}}", true},
        {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const void *a = decoded(&api_pod_desc, rows[i].a), *b = decoded(&api_pod_desc, rows[i].b);
        assert_int_equal(schema_equal(&api_pod_desc, a, b), rows[i].same);
        assert_int_equal(schema_equal(&api_pod_desc, b, a), rows[i].same);
    }
    arena_clear(&arena);
}

static void trees_come_from_structs(void **state)
{
    struct api_pod pod = {.metadata.name = STR("x")};
    struct json *v = schema_to_json(&api_pod_desc, &pod, SCHEMA_ENCODE_TYPE_META, &arena);
    assert_str(json_get_str(v, STR("kind")), "Pod");
    assert_str(json_get_str(json_getz(v, "metadata"), STR("name")), "x");
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_fields_get_their_defaults),
        cmocka_unit_test(all_defaults_hold),
        cmocka_unit_test(breaches_become_causes),
        cmocka_unit_test(immutable_fields_stay),
        cmocka_unit_test(formats_are_checked),
        cmocka_unit_test(paths_lead_to_values),
        cmocka_unit_test(equality_is_by_meaning),
        cmocka_unit_test(trees_come_from_structs),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return r;
}
