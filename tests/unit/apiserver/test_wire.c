/* The pure parts of the front: routes, negotiation, continue tokens. */
#include "test.h"

#include "apiserver/continue.h"
#include "apiserver/front/negotiate.h"
#include "apiserver/front/route.h"
#include "schema/schema.h"

static void routes(void **state)
{
    static const struct {
        enum http_method method;
        const char *path, *query;
        enum route_result result;
        enum api_verb verb;
        const char *kind, *ns, *name, *sub;
    } rows[] = {
        {HTTP_METHOD_GET, "/api/v1/pods", NULL, ROUTE_OK, API_LIST, "Pod", "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/pods", "watch=true", ROUTE_OK, API_WATCH, "Pod", "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/pods", "watch=false&limit=1", ROUTE_OK, API_LIST, "Pod", "", "",
         ""},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/pods/b", NULL, ROUTE_OK, API_GET, "Pod", "a", "b",
         ""},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/pods/b/status", NULL, ROUTE_OK, API_GET, "Pod", "a",
         "b", "status"},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a", NULL, ROUTE_OK, API_GET, "Namespace", "", "a",
         ""},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/", NULL, ROUTE_OK, API_GET, "Namespace", "", "a",
         ""},
        {HTTP_METHOD_PUT, "/api/v1/namespaces/a/finalize", NULL, ROUTE_OK, API_UPDATE, "Namespace",
         "", "a", "finalize"},
        {HTTP_METHOD_POST, "/apis/apps/v1/namespaces/a/deployments", NULL, ROUTE_OK, API_CREATE,
         "Deployment", "a", "", ""},
        {HTTP_METHOD_PATCH, "/apis/apps/v1/namespaces/a/deployments/d/scale", NULL, ROUTE_OK,
         API_PATCH, "Deployment", "a", "d", "scale"},
        {HTTP_METHOD_DELETE, "/apis/apps/v1/namespaces/a/deployments/d", NULL, ROUTE_OK, API_DELETE,
         "Deployment", "a", "d", ""},
        {HTTP_METHOD_DELETE, "/api/v1/namespaces/a/pods", NULL, ROUTE_OK, API_DELETE_COLLECTION,
         "Pod", "a", "", ""},
        {HTTP_METHOD_POST, "/api/v1/namespaces/a/pods/b/exec", "command=ls", ROUTE_OK, API_CONNECT,
         "Pod", "a", "b", "exec"},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/pods/b/log", NULL, ROUTE_OK, API_CONNECT, "Pod",
         "a", "b", "log"},
        {HTTP_METHOD_GET, "/api/v1/nodes/x%2Fy", NULL, ROUTE_OK, API_GET, "Node", "", "x/y", ""},
        {HTTP_METHOD_GET, "/api/v1/nodes/%zz", NULL, ROUTE_BAD_PATH, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/pods/b", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/pods/b/nothing", NULL, ROUTE_NOT_FOUND, 0, NULL, "",
         "", ""},
        {HTTP_METHOD_GET, "/api/v1/namespaces/a/pods/b/status/more", NULL, ROUTE_NOT_FOUND, 0, NULL,
         "", "", ""},
        {HTTP_METHOD_GET, "/apis/apps/v2/deployments", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/a/b/c/d/e/f/g/h/i/j/k/l", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_POST, "/api/v1/pods", NULL, ROUTE_BAD_METHOD, 0, NULL, "", "", ""},
        {HTTP_METHOD_POST, "/api/v1/nodes/a", NULL, ROUTE_BAD_METHOD, 0, NULL, "", "", ""},
        {HTTP_METHOD_PUT, "/api/v1/nodes", NULL, ROUTE_BAD_METHOD, 0, NULL, "", "", ""},
        {HTTP_METHOD_POST, "/version", NULL, ROUTE_BAD_METHOD, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/pods", NULL, ROUTE_OK, API_WATCH, "Pod", "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/pods", "watch=false", ROUTE_OK, API_WATCH, "Pod", "", "",
         ""},
        {HTTP_METHOD_GET, "/api/v1/watch/namespaces/a/pods/b", NULL, ROUTE_OK, API_WATCH, "Pod",
         "a", "b", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/namespaces", NULL, ROUTE_OK, API_WATCH, "Namespace", "",
         "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/namespaces/a", NULL, ROUTE_OK, API_WATCH, "Namespace", "",
         "a", ""},
        {HTTP_METHOD_GET, "/apis/apps/v1/watch/namespaces/a/deployments", NULL, ROUTE_OK, API_WATCH,
         "Deployment", "a", "", ""},
        {HTTP_METHOD_POST, "/api/v1/watch/pods", NULL, ROUTE_BAD_METHOD, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/pods/b", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/namespaces/a/pods/b/log", NULL, ROUTE_NOT_FOUND, 0, NULL,
         "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch/watch/pods", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/api/v1/watch", NULL, ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/apis/authorization.k8s.io/v1/watch/subjectaccessreviews", NULL,
         ROUTE_NOT_FOUND, 0, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/healthz", NULL, ROUTE_OK, API_PATH, NULL, "", "", ""},
        {HTTP_METHOD_GET, "/apis/apps/v1", NULL, ROUTE_OK, API_PATH, NULL, "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct route r = {0};
        enum route_result res =
            route_find(NULL, rows[i].method, str_z(rows[i].path), str_z(rows[i].query), &a, &r);
        if (res != rows[i].result)
            fail_msg("%s: %d", rows[i].path, (int)res);
        if (res == ROUTE_OK) {
            assert_int_equal(r.verb, rows[i].verb);
            if (rows[i].kind)
                assert_string_equal(r.kind->kind, rows[i].kind);
            else
                assert_null(r.kind);
            assert_str(r.ns, rows[i].ns);
            assert_str(r.name, rows[i].name);
            assert_str(r.subresource, rows[i].sub);
        }
        arena_fini(&a);
    }
}

static void accepts(void **state)
{
    static const struct {
        const char *header;
        int r;
        enum media media;
        enum accept_as as;
    } rows[] = {
        {NULL, 0, MEDIA_JSON, AS_ITSELF},
        {"*/*", 0, MEDIA_JSON, AS_ITSELF},
        {"application/json", 0, MEDIA_JSON, AS_ITSELF},
        {"application/yaml", 0, MEDIA_YAML, AS_ITSELF},
        {"application/vnd.kubernetes.protobuf,application/json", 0, MEDIA_PB, AS_ITSELF},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/"
         "json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
         0, MEDIA_JSON, AS_TABLE},
        {"application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", 0, MEDIA_JSON,
         AS_TABLE},
        {"application/json;as=Table;v=v2;g=meta.k8s.io,application/json", 0, MEDIA_JSON, AS_ITSELF},
        {"application/json;as=Table", -ENOMSG, 0, 0},
        {"application/json;as=Chair;v=v1;g=meta.k8s.io", -ENOMSG, 0, 0},
        {"application/yaml;as=Table;v=v1;g=meta.k8s.io", 0, MEDIA_YAML, AS_TABLE},
        {"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/yaml;q=0.1",
         0, MEDIA_YAML, AS_ITSELF},
        {"application/json;stream=watch", 0, MEDIA_JSON, AS_ITSELF},
        {"application/vnd.kubernetes.protobuf;stream=watch,application/json", 0, MEDIA_PB,
         AS_ITSELF},
        {"application/json;stream=other,application/yaml;q=0.2", 0, MEDIA_YAML, AS_ITSELF},
        {"*/*, application/yaml", 0, MEDIA_YAML, AS_ITSELF},
        {"application/*;q=0.5, */*;q=0.9, application/yaml;q=0.5", 0, MEDIA_JSON, AS_ITSELF},
        {"application/yaml, application/json", 0, MEDIA_YAML, AS_ITSELF},
        {"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", 0, MEDIA_JSON,
         AS_PARTIAL_LIST},
        {"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", 0,
         MEDIA_PB, AS_PARTIAL},
        {"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", 0,
         MEDIA_JSON, AS_DISCOVERY_V2},
        {"application/yaml;q=0.3, application/json;q=0.9", 0, MEDIA_JSON, AS_ITSELF},
        {"text/html", -ENOMSG, 0, 0},
        {"application/json;q=0", -ENOMSG, 0, 0},
        {",;,=;q", -ENOMSG, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct accept a = {0};
        int r = accept_parse(str_z(rows[i].header), false, &a);
        if (r != rows[i].r || (r == 0 && (a.media != rows[i].media || a.as != rows[i].as)))
            fail_msg("%s: %d %d %d", rows[i].header, r, (int)a.media, (int)a.as);
    }
    struct accept more;
    assert_int_equal(accept_parse(STR("application/json;pretty=1"), false, &more), 0);
    assert_true(more.pretty && !more.any && !more.beta);
    assert_int_equal(
        accept_parse(STR("*/*;as=Table;g=meta.k8s.io;v=v1beta1;pretty=0"), false, &more), 0);
    assert_true(!more.pretty && more.any && more.beta);
    assert_int_equal(accept_parse(STR("application/vnd.kubernetes.protobuf"), true, &more),
                     -ENOMSG);
    enum media m;
    assert_int_equal(content_type_parse(STR("application/json; charset=utf-8"), &m), 0);
    assert_int_equal(content_type_parse(STR("text/plain"), &m), -ENOTSUP);
}

static void continues(void **state)
{
    static const char *const bad[] = {"", "x", "!!!!", "djE6", "djI6MTphL2I", "djE6MDphL2I"};
    struct arena a = {0};
    struct str ns, name;
    rev_t rev;
    (void)state;
    struct str t = continue_make(&a, 42, STR("ns"), STR("name"));
    assert_int_equal(continue_parse(&a, t, &rev, &ns, &name), 0);
    assert_int_equal(rev, 42);
    assert_str(ns, "ns");
    assert_str(name, "name");
    t = continue_make(&a, 1, STR_NONE, STR("n"));
    assert_int_equal(continue_parse(&a, t, &rev, &ns, &name), 0);
    assert_int_equal(ns.n, 0);
    t = continue_make(&a, 0, STR("ns"), STR("n"));
    assert_int_equal(continue_parse(&a, t, &rev, &ns, &name), 0);
    assert_int_equal(rev, 0); /* as it is then */
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(continue_parse(&a, str_z(bad[i]), &rev, &ns, &name), -EINVAL);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(routes), cmocka_unit_test(accepts),
                                       cmocka_unit_test(continues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
