/* Pure parts of aggregated APIs: what requests are about, what servers say of themselves, why one
 * is not available, and the rules of APIServices. */
#include "test.h"

#include "api/apiservice.h"
#include "apiserver/aggregate/remotes.h"
#include "base/mem.h"
#include "schema/schema.h"

#define G "/apis/g.example.com/v1"

static void requests(void **state)
{
    static const struct {
        const char *method, *path, *query;
        const char *want; /* verb group/version resource ns name subresource, - for none; ! long */
    } rows[] = {
        {"GET", G, "", "get g.example.com/v1 - - - -"},
        {"GET", G "/", "", "get g.example.com/v1 - - - -"},
        {"POST", G, "", "post g.example.com/v1 - - - -"},
        {"GET", G "/flunders", "", "list g.example.com/v1 flunders - - -"},
        {"HEAD", G "/flunders", "limit=1", "list g.example.com/v1 flunders - - -"},
        {"GET", G "/flunders", "watch=1", "watch g.example.com/v1 flunders - - - !"},
        {"GET", G "/flunders", "watch=true&x=y", "watch g.example.com/v1 flunders - - - !"},
        {"GET", G "/flunders", "watch=0", "list g.example.com/v1 flunders - - -"},
        {"GET", G "/flunders", "fieldSelector=metadata.name%3Done",
         "list g.example.com/v1 flunders - one -"},
        {"GET", G "/namespaces/n/flunders/one", "watch=1", "get g.example.com/v1 flunders n one -"},
        {"POST", G "/namespaces/n/flunders", "", "create g.example.com/v1 flunders n - -"},
        {"PUT", G "/namespaces/n/flunders/one/status", "",
         "update g.example.com/v1 flunders n one status"},
        {"PATCH", G "/flunders/one", "", "patch g.example.com/v1 flunders - one -"},
        {"DELETE", G "/namespaces/n/flunders/one", "", "delete g.example.com/v1 flunders n one -"},
        {"DELETE", G "/namespaces/n/flunders", "",
         "deletecollection g.example.com/v1 flunders n - -"},
        {"GET", G "/namespaces/n", "", "get g.example.com/v1 namespaces n n -"},
        {"GET", G "/namespaces", "", "list g.example.com/v1 namespaces - - -"},
        {"PUT", G "/namespaces/n/status", "", "update g.example.com/v1 namespaces n n status"},
        {"GET", G "/namespaces/n/flunders/one/log", "",
         "get g.example.com/v1 flunders n one log !"},
        {"GET", G "/watch/namespaces/n/flunders", "", "watch g.example.com/v1 flunders n - - !"},
        {"GET", G "/namespaces/n/flunders/a%20b", "", "get g.example.com/v1 flunders n a b -"},
        {"OPTIONS", G "/flunders/one", "", " g.example.com/v1 flunders - one -"},
        {"GET", "/api/v1/pods", "", "list /v1 pods - - -"},
        {"POST", "/api/v1/namespaces/n/pods/p/exec", "", "create /v1 pods n p exec !"},
        {"GET", "/api/v1/watch/namespaces/n/pods/p", "", "watch /v1 pods n p - !"},
        {"DELETE", "/api/v1/nothing", "", "deletecollection /v1 nothing - - -"},
        {"GET", "/api/v1", "", "get /v1 - - - -"},
        {"GET", "/apis/g.example.com", "", "get / - - - -"},
        {"PUT", "/a/b/c/d/e", "", "put / - - - -"},
        {"GET", "/", "", "get / - - - -"},
        /* what servers may read in different ways */
        {"GET", G "/namespaces/n%2Fflunders", "", NULL},
        {"GET", G "/namespaces/n/../m/flunders", "", NULL},
        {"GET", G "/namespaces/n/%2e%2E/m/flunders", "", NULL},
        {"GET", G "/namespaces/n/./flunders", "", NULL},
        {"GET", G "//flunders", "", NULL},
        {"GET", G "/flunders/%zz", "", NULL},
        {"GET", G "/flunders/%00", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct request_info q;
        int r = request_info_read(str_z(rows[i].method), str_z(rows[i].path), str_z(rows[i].query),
                                  &a, &q);
        if (r < 0 || !rows[i].want) {
            if ((r < 0) != !rows[i].want)
                fail_msg("%s %s: %d", rows[i].method, rows[i].path, r);
            arena_fini(&a);
            continue;
        }
        struct str dash = STR("-");
#define OR_DASH(s) STR_ARG((s).n ? (s) : dash)
        struct str got =
            arena_printf(&a, "%s %.*s/%.*s %.*s %.*s %.*s %.*s%s", q.verb, STR_ARG(q.group),
                         STR_ARG(q.version), OR_DASH(q.resource), OR_DASH(q.ns), OR_DASH(q.name),
                         OR_DASH(q.subresource), q.is_long ? " !" : "");
        assert_str(got, rows[i].want);
        arena_fini(&a);
    }
}

static void documents(void **state)
{
    static const struct {
        const char *list, *want; /* NULL: refused */
    } rows[] = {
        {"{\"kind\":\"APIResourceList\",\"resources\":[]}", "[]"},
        {"{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"pods/x\"},{\"name\":\"fl\\\"s\","
         "\"singularName\":\"fl\",\"namespaced\":true,\"kind\":\"Fl\",\"verbs\":[\"get\",7],"
         "\"shortNames\":[\"f\"]},{\"name\":\"fl\\\"s/scale\",\"kind\":\"Scale\",\"group\":"
         "\"autoscaling\",\"version\":\"v1\",\"verbs\":[\"update\"]}]}",
         "[{\"resource\":\"fl\\\"s\",\"responseKind\":{\"group\":\"g\",\"version\":\"v1\",\"kind\":"
         "\"Fl\"},\"scope\":\"Namespaced\",\"singularResource\":\"fl\",\"verbs\":[\"get\"],"
         "\"shortNames\":[\"f\"],\"subresources\":[{\"subresource\":\"scale\",\"responseKind\":{"
         "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\"},\"verbs\":[\"update\"]}]"
         "}]"},
        {"{\"kind\":\"Status\",\"resources\":[]}", NULL},
        {"{\"kind\":\"APIResourceList\",\"resources\":{}}", NULL},
        {"{\"kind\":\"APIResourceList\"", NULL},
        {"[]", NULL},
        {"", NULL},
    };
    static const struct {
        const char *index, *want;
    } urls[] = {
        {"{\"paths\":{\"apis/g/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/g/v1?hash=A\"}}}",
         "/openapi/v3/apis/g/v1?hash=A"},
        {"{\"paths\":{\"apis/g/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/g/v2?hash=A\"}}}",
         ""},
        {"{\"paths\":{\"apis/g/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/g/v1?h=\\u000a\"}}}",
         ""},
        {"{\"paths\":{\"apis/g/v1\":{\"serverRelativeURL\":\"https://elsewhere/\"}}}", ""},
        {"{\"paths\":{}}", ""},
        {"nonsense", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        int r = remote_resources(str_z(rows[i].list), STR("g"), STR("v1"), &b);
        assert_int_equal(r, rows[i].want ? 0 : -EINVAL);
        assert_str(buf_str(&b), rows[i].want ? rows[i].want : "");
        buf_fini(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct arena a = {0};
        struct str url = remote_openapi_url(str_z(urls[i].index), STR("g"), STR("v1"), &a);
        assert_str(url, urls[i].want);
        arena_fini(&a);
    }
}

static void faults(void **state)
{
    struct arena a = {0};
    struct str text = STR_NONE;
    struct kv_str label = {STR("kubernetes.io/service-name"), STR("api")};
    const struct api_apiservice_reference ref = {.namespace = STR("n"), .name = STR("api")};
    struct api_service_port ports[] = {{.name = STR("x"), .port = 80},
                                       {.name = STR("https"), .port = 443}};
    struct api_service svc = {.spec = {.type = STR("ClusterIP"), .ports = ports, .n_ports = 1}};
    struct str address = STR("10.0.0.1");
    struct api_endpoint ep = {.addresses = &address, .n_addresses = 1};
    struct api_discovery_endpoint_port port = {
        .name = STR("https"), .has_port = true, .port = 6443};
    struct api_endpoint_slice slice = {.metadata = {.labels = &label, .n_labels = 1}};
    const struct api_endpoint_slice *slices[] = {&slice};
    (void)state;
#define FAULT(svc, n, want_reason, want_text)                                                      \
    do {                                                                                           \
        const char *reason = remote_service_fault(&ref, svc, slices, n, &a, &text);                \
        assert_string_equal(reason ? reason : "none", want_reason);                                \
        if (reason)                                                                                \
            assert_str(text, want_text);                                                           \
    } while (0)
    FAULT(NULL, 0, "ServiceNotFound", "service/api in \"n\" is not present");
    FAULT(&svc, 0, "ServicePortError", "service/api in \"n\" is not listening on port 443");
    svc.spec.n_ports = 2;
    FAULT(&svc, 0, "EndpointsNotFound", "cannot find endpointslices for service/api in \"n\"");
#define NONE_NAMED                                                                                 \
    "endpointslices for service/api in \"n\" have no addresses with port name \"https\""
    FAULT(&svc, 1, "MissingEndpoints", NONE_NAMED);
    slice.endpoints = &ep;
    slice.n_endpoints = 1;
    FAULT(&svc, 1, "MissingEndpoints", NONE_NAMED); /* no port */
    slice.ports = &port;
    slice.n_ports = 1;
    FAULT(&svc, 1, "none", "");
    ep.conditions.has_ready = true;
    FAULT(&svc, 1, "MissingEndpoints", NONE_NAMED); /* nobody is ready */
    ep.conditions.ready = true;
    FAULT(&svc, 1, "none", "");
    port.name = STR("other");
    FAULT(&svc, 1, "MissingEndpoints", NONE_NAMED);
    label.value = STR("another");
    FAULT(&svc, 1, "EndpointsNotFound", "cannot find endpointslices for service/api in \"n\"");
    svc.spec.type = STR("ExternalName"); /* not to be seen from here */
    FAULT(&svc, 0, "none", "");
    arena_fini(&a);
}

static void conditions(void **state)
{
    struct arena a = {0};
    struct api_apiservice s = {0};
    const struct api_apiservice_condition *c;
    (void)state;
    assert_false(apiservice_is_available(&s));
    assert_true(apiservice_set_available(&s, false, "ServiceNotFound", STR("x"), 5000000, &a));
    assert_int_equal(s.status.n_conditions, 1);
    c = s.status.conditions;
    assert_str(c->status, "False");
    assert_int_equal(c->last_transition_time.usec, 5000000);
    assert_false(apiservice_set_available(&s, false, "ServiceNotFound", STR("x"), 6000000, &a));
    /* another reason is no transition */
    assert_true(apiservice_set_available(&s, false, "MissingEndpoints", STR("y"), 7000000, &a));
    c = s.status.conditions;
    assert_int_equal(c->last_transition_time.usec, 5000000);
    assert_str(c->reason, "MissingEndpoints");
    assert_true(apiservice_set_available(&s, true, "Passed", STR("z"), 8000000, &a));
    c = s.status.conditions;
    assert_int_equal(s.status.n_conditions, 1);
    assert_int_equal(c->last_transition_time.usec, 8000000);
    assert_true(apiservice_is_available(&s));
    arena_fini(&a);
}

static void order(void **state)
{
    int32_t group, version;
    (void)state;
    /* every built-in version has a place of its own: a new group needs a row */
    for (size_t i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        if (strcmp(k->group, "apiregistration.k8s.io") == 0)
            continue;
        apiservice_priorities(str_z(k->group), str_z(k->version), &group, &version);
        if (group == APISERVICE_CUSTOM_GROUP_PRIORITY)
            fail_msg("%s has no priority", k->api_version);
    }
    apiservice_priorities(STR("acme.io"), STR("v1"), &group, &version);
    assert_int_equal(group, 1000);
    assert_int_equal(version, 100);
#define FIRST(pa, va, pb, vb) assert_true(apiservice_version_cmp(pa, STR(va), pb, STR(vb)) < 0)
    FIRST(20, "v1", 10, "v2");
    FIRST(10, "v2", 10, "v1");
    FIRST(10, "v1", 10, "v2beta1");
    FIRST(10, "v1beta1", 10, "v1alpha9");
    FIRST(10, "v1alpha1", 10, "foo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests), cmocka_unit_test(documents),
                                       cmocka_unit_test(faults), cmocka_unit_test(conditions),
                                       cmocka_unit_test(order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
