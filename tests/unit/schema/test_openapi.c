/* The OpenAPI documents hold together: valid JSON, every reference resolves, and what kubectl looks
 * for is there. */
#include "test.h"

#include "base/set.h"
#include "schema/openapi.h"
#include "schema/schema.h"

static void refs_check(const struct json *v, const struct json *definitions, const char *prefix)
{
    /* a schema of schemas has a property of that name, which is no reference */
    if (v->type == JSON_OBJ && json_is(json_get(v, STR("$ref")), JSON_STR)) {
        struct str ref = json_get_str(v, STR("$ref"));
        assert_true(str_starts(ref, str_z(prefix)));
        if (!json_get(definitions, str_sub(ref, strlen(prefix), ref.n)))
            print_error("dangling: %.*s\n", STR_ARG(ref));
        assert_non_null(json_get(definitions, str_sub(ref, strlen(prefix), ref.n)));
    }
    if (v->type == JSON_OBJ || v->type == JSON_ARR)
        json_for_each(c, v) refs_check(c, definitions, prefix);
}

static void every_version_resolves(void **state)
{
    for (int k = 0; k < _KIND_MAX; k++) {
        struct arena a = {0};
        struct buf b = {0};
        struct json *v;
        const struct json *definitions;

        assert_true(openapi_v3_print(NULL, str_z(schema_kinds[k]->group),
                                     str_z(schema_kinds[k]->version), &b));
        assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
        definitions = json_get(json_getz(v, "components"), STR("schemas"));
        refs_check(v, definitions, "#/components/schemas/");
        assert_non_null(json_get(definitions, str_z(schema_kinds[k]->desc->openapi)));
        buf_fini(&b);
        arena_fini(&a);
    }
}

/* Every subresource has its path, and every method says what it answers. */
static struct str operation_id(const struct json *paths, const char *path, const char *method)
{
    return json_get_str(json_get(json_get(paths, str_z(path)), str_z(method)), STR("operationId"));
}

/* Those of Kubernetes: programs that generate clients make their methods of them. */
static void operations_are_named(void **state)
{
    static const struct {
        const char *path, *method, *id;
    } rows[] = {
        {"/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"},
        {"/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod"},
        {"/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post",
         "createCoreV1NamespacedPodEviction"},
        {"/api/v1/namespaces/{namespace}/pods/{name}/exec", "get",
         "connectCoreV1GetNamespacedPodExec"},
        {"/api/v1/nodes/{name}/status", "put", "replaceCoreV1NodeStatus"},
        {"/apis/rbac.authorization.k8s.io/v1/clusterroles", "post",
         "createRbacAuthorizationV1ClusterRole"},
    };
    struct arena a = {0};
    struct buf b = {0};
    struct json *v;
    openapi_v2_print(NULL, &b);
    assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_str(operation_id(json_getz(v, "paths"), rows[i].path, rows[i].method), rows[i].id);
    buf_fini(&b);
    arena_fini(&a);
}

static void paths_are_whole(void **state)
{
    for (int k = 0; k < _KIND_MAX; k++) {
        const struct schema_kind *kind = schema_kinds[k];
        struct arena a = {0};
        struct buf b = {0};
        struct json *v;
        assert_true(openapi_v3_print(NULL, str_z(kind->group), str_z(kind->version), &b));
        assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
        const struct json *paths = json_getz(v, "paths");
        for (unsigned i = 0; i < kind->n_subresources; i++) {
            struct str path =
                arena_printf(&a, "%s/%s%s/%s/{name}/%s", kind->group[0] ? "/apis" : "/api",
                             kind->api_version, kind->namespaced ? "/namespaces/{namespace}" : "",
                             kind->plural, kind->subresources[i].name);
            const struct json *at = json_get(paths, path);
            assert_non_null(at);
            assert_int_equal(json_getz(at, "patch") != NULL,
                             (kind->subresources[i].verbs & SCHEMA_VERB_PATCH) != 0);
        }
        struct set ids = {0};
        json_for_each(path, paths) json_for_each(method, path)
        {
            if (str_is(method->key, "parameters"))
                continue;
            assert_true(set_add(&ids, json_get_str(method, STR("operationId"))));
            bool stream = str_is(json_get_str(method, STR("x-kubernetes-action")), "connect");
            assert_non_null(json_get(json_getz(method, "responses"), STR("200")));
            json_for_each(code, json_getz(method, "responses"))
                assert_int_equal(json_getz(code, "content") == NULL, stream);
        }
        set_fini(&ids);
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void swagger_resolves(void **state)
{
    struct arena a = {0};
    struct buf b = {0};
    struct json *v;

    openapi_v2_print(NULL, &b);
    assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
    refs_check(v, json_getz(v, "definitions"), "#/definitions/");
    buf_fini(&b);
    arena_fini(&a);
}

static void kubectl_finds_field_validation(void **state)
{
    struct arena a = {0};
    struct buf b = {0};
    struct json *v;
    const struct json *patch, *kind;
    bool found = false;

    assert_true(openapi_v3_print(NULL, STR("apps"), STR("v1"), &b));
    assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
    patch = json_getz(json_get(json_getz(v, "paths"),
                               STR("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")),
                      "patch");
    assert_non_null(patch);
    kind = json_get(patch, STR("x-kubernetes-group-version-kind"));
    assert_str(json_get_str(kind, STR("kind")), "Deployment");
    json_for_each(p, json_getz(patch, "parameters")) found =
        found || str_is(json_get_str(p, STR("name")), "fieldValidation");
    assert_true(found);
    assert_false(openapi_v3_print(NULL, STR("no.such"), STR("v1"), &b));
    buf_clear(&b);
    openapi_v3_index_print(NULL, &b);
    assert_ok(json_parse(buf_str(&b), &a, NULL, &v, NULL));
    assert_non_null(json_get(json_getz(v, "paths"), STR("apis/apps/v1")));
    assert_non_null(json_get(json_getz(v, "paths"), STR("api/v1")));
    buf_fini(&b);
    arena_fini(&a);
}

/* What the built-in document does not reach: zeros, one schema or a list, references, odd forms. */
static void swagger_becomes_protobuf(void **state)
{
    static const struct {
        const char *json;
        struct str wire;
    } cases[] = {
        {"{}", STR("")},
        {"{\"swagger\":\"2.0\",\"host\":\"\",\"unknown\":1}", STR("\x0a\x03"
                                                                  "2.0")},
        {"{\"x-a\":[1]}", STR("\x82\x01\x0d\x0a\x03x-a\x12\x06\x12\x04[1]\n")},
        {"{\"definitions\":{\"a\":{\"minLength\":-1}}}",
         STR("\x4a\x12\x0a\x10\x0a\x01"
             "a\x12\x0b\x60\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
        {"{\"definitions\":{\"a\":{\"additionalProperties\":false,\"type\":[\"b\",3]}}}",
         STR("\x4a\x12\x0a\x10\x0a\x01"
             "a\x12\x0b\xaa\x01\x02\x10\x00\xb2\x01\x03\x0a\x01"
             "b")},
        {"{\"paths\":{\"/\":{\"parameters\":[{\"$ref\":\"r\"}]}},\"info\":[]}",
         STR("\x42\x0e\x12\x0c\x0a\x01/\x12\x07\x4a\x05\x12\x03\x0a\x01r")},
    };
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&b);
        assert_ok(openapi_v2_pb_print(str_z(cases[i].json), &b));
        assert_int_equal(b.n, cases[i].wire.n);
        if (b.n)
            assert_memory_equal(b.data, cases[i].wire.p, b.n);
    }
    buf_clear(&b);
    assert_int_equal(openapi_v2_pb_print(STR("[]"), &b), -EINVAL);
    assert_int_equal(openapi_v2_pb_print(STR("{"), &b), -EINVAL);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_resolves),
        cmocka_unit_test(paths_are_whole),
        cmocka_unit_test(operations_are_named),
        cmocka_unit_test(swagger_resolves),
        cmocka_unit_test(kubectl_finds_field_validation),
        cmocka_unit_test(swagger_becomes_protobuf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
