/* Types: OpenAPI schemas and the schema tables as what expressions see, and how objects are read.
 */
#include "celtest.h"
#include "schema/schema.h"

static const char SCHEMA[] =
    "{\"type\":\"object\",\"required\":[\"replicas\"],\"properties\":{"
    "\"replicas\":{\"type\":\"integer\"},\"maxReplicas\":{\"type\":\"integer\"},\"ratio\":{"
    "\"type\":\"number\"},"
    "\"name\":{\"type\":\"string\",\"maxLength\":10},\"on\":{\"type\":\"boolean\"},"
    "\"blob\":{\"type\":\"string\",\"format\":\"byte\"},\"at\":{\"type\":\"string\",\"format\":"
    "\"date-time\"},"
    "\"day\":{\"type\":\"string\",\"format\":\"date\"},\"ttl\":{\"type\":\"string\",\"format\":"
    "\"duration\"},"
    "\"port\":{\"x-kubernetes-int-or-string\":true},\"any\":{\"x-kubernetes-preserve-unknown-"
    "fields\":true,\"type\":\"object\"},"
    "\"tags\":{\"type\":\"array\",\"maxItems\":5,\"items\":{\"type\":\"string\"}},"
    "\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
    "\"integer\"}},"
    "\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-"
    "keys\":[\"k\"],"
    "\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"type\":"
    "\"integer\"}}}},"
    "\"labels\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
    "\"a-b.c/"
    "d\":{\"type\":\"string\"},\"in\":{\"type\":\"string\"},\"x__y\":{\"type\":\"string\"},"
    "\"namespace\":{\"type\":\"string\"},"
    "\"deep\":{\"type\":\"object\",\"properties\":{\"at\":{\"type\":\"string\",\"format\":\"date-"
    "time\"}}}}}";
static const char OBJECT[] =
    "{\"replicas\":3,\"maxReplicas\":5,\"ratio\":2,\"name\":\"web\",\"on\":true,\"blob\":\"aGk=\","
    "\"at\":\"2024-01-02T03:04:05Z\",\"day\":\"2024-02-29\",\"ttl\":\"1h\",\"port\":\"http\","
    "\"any\":{\"z\":[1]},"
    "\"tags\":[\"a\",\"b\"],\"set\":[1,2,3],\"items\":[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2}]"
    ",\"labels\":{\"app\":\"web\",\"a-b\":\"c\"},"
    "\"a-b.c/"
    "d\":\"esc\",\"in\":\"word\",\"x__y\":\"under\",\"namespace\":\"ns\",\"deep\":{\"at\":\"2024-"
    "01-02T03:04:05Z\"}}";

static void test_openapi(void **state)
{
    static const struct cel_row rows[] = {
        {"self.replicas <= self.maxReplicas", "true"},
        {"self.ratio + 0.5", "2.5"}, /* an integer in the data is a number by its schema */
        {"type(self.ratio) == double", "true"},
        {"self.blob == b'hi'", "true"},
        {"self.at.getFullYear()", "2024"},
        {"self.day.getDayOfYear()", "59"},
        {"self.ttl > duration('30m')", "true"},
        {"self.port == 'http'", "true"},
        {"self.port == 80", "false"},
        {"type(self.port) == string ? self.port != '' : self.port > 0", "true"},
        {"self.any.z[0] == 1", "true"},
        {"self.tags.all(t, t.size() < 3)", "true"},
        {"self.tags.exists(t, t == 1)", "refused: '_==_' applied to '(string, int)'"},
        {"self.labels.app", "\"web\""},
        {"self.labels['a-b']", "\"c\""},
        {"self.labels.all(k, self.labels[k] != '')", "true"},
        {"has(self.labels.none)", "false"},
        {"self.a__dash__b__dot__c__slash__d", "\"esc\""},
        {"self.__in__", "\"word\""},
        {"self.x__underscores__y", "\"under\""},
        {"self.x__y", "refused: undefined field 'x__y'"},
        {"self.__namespace__", "\"ns\""},
        {"has(self.__in__)", "true"},
        {"self.nope", "refused: undefined field 'nope'"},
        {"has(self.nope)", "refused: undefined field 'nope'"},
        {"self.replicas + 'a'", "refused: '_+_' applied to '(int, string)'"},
        {"self.replicas.all(x, true)", "refused: cannot be range"},
        {"self.name.nope()", "refused: undeclared reference to 'nope'"},
        {"self.set == [3, 2, 1]", "true"}, /* sets have no order */
        {"self.set + [3, 4]", "[1, 2, 3, 4]"},
        {"self.items == [{'k': 'y', 'v': 2}, {'k': 'x', 'v': 1}]", "refused: '_==_'"},
        {"(self.items + self.items).size()", "2"},
        {"self.items.filter(i, i.v > 1).map(i, i.k)", "[\"y\"]"},
        {"self.deep.at == self.at", "true"},
        {"self.deep == self.deep", "true"},
        {"dyn(self).deep.at == self.at", "true"}, /* what is dyn is still read by its schema */
        {"dyn(self.deep).at.getSeconds()", "5"},
        {"self.?deep.at.hasValue()", "true"},
        {"self.deep.?at.optMap(t, t.getHours())", "optional(3)"},
        {"type(self)", "object"},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_json_var(&lab, "self", SCHEMA, OBJECT);
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

static void test_whole_resource(void **state)
{
    static const struct cel_row rows[] = {
        {"self.metadata.name == 'n'", "true"},
        {"self.metadata.labels", "refused: undefined field 'labels'"},
        {"self.kind == 'K' && self.apiVersion == 'v1'", "true"},
        {"has(self.spec) && !has(self.metadata.generateName)", "true"},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_json_var(
        &lab, "self",
        "{\"type\":\"object\",\"properties\":{\"apiVersion\":{\"type\":\"string\"},\"kind\":{"
        "\"type\":\"string\"},"
        "\"metadata\":{\"type\":\"object\"},\"spec\":{\"type\":\"object\",\"properties\":{}}}}",
        "{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\",\"labels\":{}},"
        "\"spec\":{}}");
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

static void test_wrong_data(void **state)
{
    /* Data that is not what its schema says gives errors, never nonsense. */
    static const struct cel_row rows[] = {
        {"self.replicas + 1", "error: no such overload"},
        {"self.at.getFullYear()", "error: invalid date or time"},
        {"self.blob.size()", "error: invalid base64 encoding"},
        {"self.ttl.getHours()", "error: invalid duration"},
        {"self.tags.size()", "error: no such overload"},
        {"self.labels.app", "error: no such overload"},
        {"self.name", "error: no such key: name"},
        {"has(self.name) ? self.name : 'none'", "\"none\""},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_json_var(&lab, "self", SCHEMA,
                 "{\"replicas\":\"3\",\"at\":\"soon\",\"blob\":\"!\",\"ttl\":\"x\",\"tags\":"
                 "\"abc\",\"labels\":7}");
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

static const char POD[] =
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"labels\":{\"app\":"
    "\"web\",\"tier\":\"front\"},"
    "\"creationTimestamp\":\"2024-01-02T03:04:05Z\"},\"spec\":{\"containers\":[{\"name\":\"c\","
    "\"image\":\"i:1\","
    "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}},\"ports\":[{"
    "\"containerPort\":80}],"
    "\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}}}],\"hostNetwork\":true}}";

static void read_pod(struct cel_lab *lab, struct api_pod *pod)
{
    struct error err = {0};
    const struct schema_desc *d = schema_kinds[KIND_POD]->desc;
    if (schema_decode_text(d, str_z(POD), &lab->arena, NULL, pod, &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
    error_fini(&err);
}

static void test_message_plain(void **state)
{
    /* As Kubernetes' untyped objects: times and amounts are strings, what JSON would not have is
     * not there. */
    static const struct cel_row rows[] = {
        {"object.kind", "\"Pod\""},
        {"object.apiVersion", "\"v1\""},
        {"object.metadata.name", "\"p\""},
        {"object.metadata.creationTimestamp", "\"2024-01-02T03:04:05Z\""},
        {"object.metadata.labels.app", "\"web\""},
        {"object.metadata.labels.map(k, k)", "[\"app\", \"tier\"]"},
        {"'tier' in object.metadata.labels", "true"},
        {"'none' in object.metadata.labels", "false"},
        {"object.metadata.labels == {'tier': 'front', 'app': 'web'}", "true"},
        {"has(object.metadata.annotations)", "false"},
        {"object.metadata.annotations", "error: no such key: annotations"},
        {"object.metadata.?annotations[?'x'].orValue('d')", "\"d\""},
        {"object.spec.containers.all(c, c.image.startsWith('i:'))", "true"},
        {"object.spec.containers[0].resources.limits.cpu", "\"500m\""},
        {"quantity(object.spec.containers[0].resources.limits['memory']).isLessThan(quantity('2Gi')"
         ")",
         "true"},
        {"object.spec.containers[0].ports[0].containerPort", "80"},
        {"object.spec.containers[0].livenessProbe.httpGet.port", "\"http\""},
        {"has(object.spec.containers[0].readinessProbe)", "false"},
        {"object.spec.hostNetwork", "true"},
        {"has(object.spec.hostPID)", "false"},
        {"object.spec.containers.map(c, c.name)", "[\"c\"]"},
        {"type(object)", "map"},
        {"object == object", "true"},
        {"object.spec.nope", "error: no such key: nope"},
        {"object.exists(k, k == 'spec')", "true"},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    struct api_pod pod;
    read_pod(&lab, &pod);
    lab_var(&lab, "object", cel_type_of(CEL_DYN),
            cel_msg(schema_kinds[KIND_POD]->desc, &pod, false, true));
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    /* The plain view and the JSON tree of the message are one and the same. */
    struct json *tree =
        schema_to_json(schema_kinds[KIND_POD]->desc, &pod, SCHEMA_ENCODE_TYPE_META, &lab.arena);
    struct cel_value json = cel_json(tree, NULL, &lab.arena);
    assert_true(cel_value_equal(&lab.vars[0], &json));
    lab_fini(&lab);
}

static void test_message_typed(void **state)
{
    static const struct cel_row rows[] = {
        {"object.metadata.creationTimestamp.getFullYear()", "2024"},
        {"object.spec.containers[0].name + 1", "refused: '_+_' applied to '(string, int)'"},
        {"object.spec.nope", "refused: undefined field 'nope'"},
        {"object.spec.containers.map(c, c.nope)", "refused: undefined field 'nope'"},
        {"object.metadata.labels['app'] == 'web'", "true"},
        {"object.spec.containers.exists(c, c.ports.exists(p, p.containerPort == 80))", "true"},
        {"object.spec.containers[0].livenessProbe.httpGet.port == 'http'", "true"},
        {"object.kind", "\"Pod\""},
        {"object.metadata.__namespace__", "error: no such key: namespace"},
        {"object.spec.containers.all(x, x == x)", "true"},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    struct api_pod pod;
    const struct schema_desc *d = schema_kinds[KIND_POD]->desc;
    read_pod(&lab, &pod);
    lab_var(&lab, "object", cel_type_of_desc(lab.env, d), cel_msg(d, &pod, true, true));
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

static int variables_get(void *ctx, struct cel_eval *c, struct str name, struct cel_value *ret)
{
    unsigned *asked = ctx;
    if (!str_is(name, "two"))
        return 0;
    ++*asked;
    *ret = cel_int(2);
    return 1;
}

static void test_host(void **state)
{
    static const struct cel_type integer = {.kind = CEL_INT, .max_size = 1};
    static const struct cel_member members[] = {{{"two", 3}, &integer}, {{"gone", 4}, &integer}};
    static const struct cel_members all = {members, 2};
    static const struct cel_host host = {variables_get};
    static const struct cel_row rows[] = {
        {"variables.two * 2", "4"},
        {"true || variables.two == 2", "true"},
        {"variables.gone", "error: no such key: gone"},
        {"variables.nope", "refused: undefined field 'nope'"},
        {"variables.two + 'a'", "refused: '_+_'"},
        {"variables == variables", "true"},
        {"missing", "error: no such attribute(s): missing"},
        {"broken + 1", "error: made so"},
        {"oldSelf.hasValue() ? oldSelf.value() : 7", "7"}, /* as optionalOldSelf has it */
    };
    unsigned asked = 0;
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_var(&lab, "variables", cel_type_object(lab.env, "variables", &all),
            cel_host_object(&host, &asked));
    lab_var(&lab, "missing", cel_type_of(CEL_INT), (struct cel_value){0});
    lab_var(&lab, "broken", cel_type_of(CEL_INT), cel_error(STR("made so")));
    lab_var(&lab, "oldSelf", cel_type_optional(lab.env, cel_type_of(CEL_INT)), cel_optional(NULL));
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    assert_int_equal(asked, 1); /* only when somebody looks */
    lab_fini(&lab);
}

static void test_program(void **state)
{
    struct cel_env *env = cel_env_new(0);
    struct cel_program *p = NULL;
    struct error err = {0};
    unsigned self = cel_env_var(env, "self", cel_type_of(CEL_DYN)),
             old = cel_env_var(env, "oldSelf", cel_type_of(CEL_DYN));
    assert_ok(cel_compile(env, STR("self.x == 1 && [oldSelf].size() == 1"), cel_type_of(CEL_BOOL),
                          &p, &err));
    assert_true(cel_program_uses(p, self) && cel_program_uses(p, old));
    assert_int_equal(cel_program_type(p)->kind, CEL_BOOL);
    p = cel_program_free(p);
    assert_ok(cel_compile(env, STR("self.oldSelf == 'oldSelf'"), cel_type_of(CEL_BOOL), &p, &err));
    assert_true(cel_program_uses(p, self));
    assert_false(cel_program_uses(p, old));
    p = cel_program_free(p);
    assert_int_equal(cel_compile(env, STR("1 + 1"), cel_type_of(CEL_BOOL), &p, &err), -EINVAL);
    assert_true(str_search(err.message, STR("must evaluate to bool, but is int")) > 0);
    assert_null(p);
    error_fini(&err);
    struct arena a = {0};
    assert_str(cel_type_print(cel_type_map(env, cel_type_of(CEL_STRING),
                                           cel_type_list(env, cel_type_of(CEL_INT))),
                              &a),
               "map(string, list(int))");
    assert_str(cel_type_print(cel_type_optional(env, cel_type_of(CEL_QUANTITY)), &a),
               "optional_type(kubernetes.Quantity)");
    arena_fini(&a);
    cel_env_free(env);
}

static void test_schema_limits(void **state)
{
    struct cel_env *env = cel_env_new(0);
    struct arena a = {0};
    struct json *schema = json_new_obj(&a);
    const struct cel_type *t = NULL;
    struct error err = {0};
    json_set(schema, STR("type"), json_new_str(&a, STR("string")));
    for (unsigned i = 0; i < 150; i++) {
        struct json *up = json_new_obj(&a);
        json_set(up, STR("type"), json_new_str(&a, STR("array")));
        json_set(up, STR("items"), schema);
        schema = up;
    }
    assert_int_equal(cel_type_of_openapi(env, schema, &t, &err), -EINVAL);
    assert_true(err.message.n > 0);
    error_fini(&err);
    arena_fini(&a);
    cel_env_free(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openapi),       cmocka_unit_test(test_whole_resource),
        cmocka_unit_test(test_wrong_data),    cmocka_unit_test(test_message_plain),
        cmocka_unit_test(test_message_typed), cmocka_unit_test(test_host),
        cmocka_unit_test(test_program),       cmocka_unit_test(test_schema_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
