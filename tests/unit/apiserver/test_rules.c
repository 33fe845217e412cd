/* Rules in CEL of custom kinds: what is refused of definitions, and what of objects. */
#include "api_test.h"

#include "apiserver/internal.h"
#include "apiserver/custom/kinds.h"
#include "apiserver/custom/rules.h"

#define CRD KIND_OF(CUSTOM_RESOURCE_DEFINITION)
#define AT  "spec.validation.openAPIV3Schema"

static const char *definition(struct fx *f, const char *schema)
{
    return arena_printf(
               &f->arena,
               "{metadata: {name: gears.acme.io}, spec: {group: acme.io, scope: Namespaced, names: "
               "{plural: gears, kind: Gear}, versions: [{name: v1, served: true, storage: true, "
               "subresources: {status: {}}, schema: {openAPIV3Schema: %s}}]}}",
               schema)
        .p;
}

static const char *with_spec(struct fx *f, const char *spec)
{
    return definition(f, arena_printf(&f->arena,
                                      "{type: object, properties: {spec: {type: object, %s}, "
                                      "status: {type: object, properties: {n: {type: integer}}, "
                                      "x-kubernetes-validations: [{rule: 'self.n < 9', message: "
                                      "too far}]}}}",
                                      spec)
                             .p);
}

static const struct schema_kind *served(struct fx *f)
{
    const struct schema_kind *k =
        kinds_by_plural(f->api->kinds, STR("acme.io"), STR("v1"), STR("gears"));
    assert_non_null(k);
    return k;
}

static void has_text(struct fx *f, const char *part)
{
    if (str_search(f->text, str_z(part)) < 0)
        fail_msg("\"%.*s\" has no \"%s\"", STR_ARG(f->text), part);
}

static void definitions_refused(void **state)
{
#define N    "properties: {n: {type: integer}}, x-kubernetes-validations: "
#define RULE AT ".properties[spec].x-kubernetes-validations[0]."
    static const struct {
        const char *spec, *cause, *text;
    } rows[] = {
        {N "[{rule: 'self.m > 1'}]", RULE "rule", "compilation failed: ERROR: <input>:1:5"},
        {N "[{rule: 'self.n'}]", RULE "rule", "cel expression must evaluate to a bool"},
        {N "[{message: a}]", RULE "rule", "Required value: rule is not specified"},
        {N "[{rule: 'self.n > 1', messageExpression: 'self.n'}]", RULE "messageExpression",
         "messageExpression must evaluate to a string"},
        {N "[{rule: 'self.n > 1', messageExpression: 'self.'}]", RULE "messageExpression",
         "messageExpression compilation failed"},
        {N "[{rule: 'self.n > 1', optionalOldSelf: true}]", RULE "optionalOldSelf",
         "may not be set if oldSelf is not used in rule"},
        {N "[{rule: 'self.n > oldSelf', optionalOldSelf: true}]", RULE "rule",
         "compilation failed"},
        {N "[{rule: 'self.n > 1', reason: Why}]", RULE "reason", "Unsupported value: \"Why\""},
        {N "[{rule: 'self.n > 1', fieldPath: .m}]", RULE "fieldPath", "valid field"},
        {N "[{rule: 'self.n > 1', fieldPath: spec}]", RULE "fieldPath", "valid path"},
        {N "[{rule: 'self.n > 1', message: ' '}]", RULE "message", "non-empty"},
        {"properties: {v: {type: array, items: {type: integer, x-kubernetes-validations: [{rule: "
         "'self > oldSelf'}]}}}",
         AT ".properties[spec].properties[v].items.x-kubernetes-validations[0].rule",
         "oldSelf cannot be used on the uncorrelatable portion of the schema within " AT
         ".properties[spec].properties[v]"},
        {"properties: {v: {type: array, items: {type: string, x-kubernetes-validations: [{rule: "
         "'self.contains(\"a\")'}]}}}",
         AT ".properties[spec].properties[v].items.x-kubernetes-validations[0].rule," AT,
         "Forbidden: estimated rule cost exceeds budget by factor of more than 100x"},
        {"properties: {n: {type: integer}}, anyOf: [{x-kubernetes-validations: [{rule: 'true'}]}]",
         AT ".properties[spec]", "must be empty"},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(fx_create(f, CRD, NULL, with_spec(f, rows[i].spec)), -EBADMSG);
        assert_str(f->causes, rows[i].cause);
        has_text(f, rows[i].text);
    }
    /* with bounds it is cheap enough */
    assert_ok(fx_create(f, CRD, NULL,
                        with_spec(f, "properties: {v: {type: array, maxItems: 10, items: {type: "
                                     "string, maxLength: 9, x-kubernetes-validations: [{rule: "
                                     "'self.contains(\"a\")'}]}}}")));
}

static void objects_refused(void **state)
{
    static const struct {
        const char *spec, *cause, *text;
    } rows[] = {
        {"n: 5, max: 4", "spec", "spec: Invalid value: failed rule: self.n <= self.max"},
        {"n: 1, max: 2, s: bad", "spec.s", "spec.s: Invalid value: \"bad\": not bad"},
        {"n: 1, max: 9, s: b", "spec.s", "Forbidden: one of 9"},
        {"n: 1, max: 8, m: {a: 1, b: 7}", "spec.m[b]", "spec.m[b]: Required value: small"},
        {"n: 1, max: 8, v: [{k: a, n: 1}, {k: b, n: 3}]", "spec.v[1].n",
         "spec.v[1].n: Duplicate value"},
        {"n: 1, max: 8, v: [{k: a, n: 1}, {k: b, n: 0}]", "spec.v[1]",
         "division by zero evaluating rule: 6 / self.n != 2"},
        {"n: 1, max: 8, t: {kind: A, apiVersion: v1, metadata: {name: x}}", "spec.t",
         "failed rule: self.metadata.name"},
        {"n: 1, max: 8, i: 11", "spec.i", "spec.i: Invalid value: 11: "},
        {"n: 1, max: 8, s: five5, i: bad", "spec.i,spec.s", "spec.s: Invalid value: \"five5\""},
        {"max: true", "spec.max,<nil>", "some validation rules were not checked"},
    };
    static const char schema[] =
        "properties: {n: {type: integer}, max: {type: integer}, s: {type: "
        "string, maxLength: 9, x-kubernetes-validations: [{rule: 'self != \"bad\"', message: not "
        "bad}, {rule: 'self.size() < 5'}]}, m: {type: object, maxProperties: 5, "
        "additionalProperties: {type: integer, x-kubernetes-validations: [{rule: 'self < 5', "
        "reason: FieldValueRequired, message: small}]}}, v: {type: array, maxItems: 5, items: "
        "{type: object, properties: {k: {type: string}, n: {type: integer}}, "
        "x-kubernetes-validations: [{rule: '6 / self.n != 2', reason: FieldValueDuplicate, "
        "fieldPath: .n}]}}, t: {type: object, x-kubernetes-embedded-resource: true, "
        "x-kubernetes-preserve-unknown-fields: true, x-kubernetes-validations: [{rule: "
        "'self.metadata.name == \"t\"'}]}, i: {x-kubernetes-int-or-string: true, "
        "x-kubernetes-validations: [{rule: 'type(self) == int ? self < 9 : self == \"all\"'}]}, "
        "o: {type: object, nullable: true, properties: {a: {type: integer}}, "
        "x-kubernetes-validations: [{rule: 'self.a > 1'}]}}, x-kubernetes-validations: [{rule: "
        "'self.n <= self.max'}, {rule: '!has(self.o) || dyn(self.o) == null || self.o.a < 9'}, "
        "{rule: 'self.max != 9', "
        "messageExpression: '\"one of \" + string(self.max)', fieldPath: .s, reason: "
        "FieldValueForbidden}]";
    struct fx *f = *state;
    assert_ok(fx_create(f, CRD, NULL, with_spec(f, schema)));
    const struct schema_kind *k = served(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *text =
            arena_printf(&f->arena, "{metadata: {name: a}, spec: {%s}}", rows[i].spec).p;
        assert_int_equal(fx_create(f, k, "default", text), -EBADMSG);
        assert_str(f->causes, rows[i].cause);
        has_text(f, rows[i].text);
    }
    assert_ok(fx_create(
        f, k, "default",
        "{metadata: {name: a}, spec: {n: 1, max: 8, m: {a: 1}, v: [{k: a, n: 1}], i: all, s: "
        "good, o: null, t: {apiVersion: v1, kind: A, metadata: {name: t}}}}"));
    assert_int_equal(
        fx_patch(f, k, "default", "a", "status", CLIENT_PATCH_MERGE, "{\"status\":{\"n\":9}}"),
        -EBADMSG);
    assert_str(f->causes, "status");
    assert_ok(
        fx_patch(f, k, "default", "a", "status", CLIENT_PATCH_MERGE, "{\"status\":{\"n\":8}}"));
    custom_unref(k);
}

static int patch(struct fx *f, const struct schema_kind *k, const char *spec)
{
    return fx_patch(f, k, "default", "a", NULL, CLIENT_PATCH_MERGE,
                    arena_printf(&f->arena, "{\"spec\":%s}", spec).p);
}

static void transitions(void **state)
{
    static const char schema[] =
        "properties: {n: {type: integer, x-kubernetes-validations: [{rule: 'self >= oldSelf'}]}, "
        "once: {type: string, maxLength: 9, x-kubernetes-validations: [{rule: "
        "'!oldSelf.hasValue() || oldSelf.value() == self', optionalOldSelf: true}, {rule: 'self "
        "!= \"new\" || oldSelf.hasValue()', optionalOldSelf: true}]}, v: {type: array, maxItems: "
        "5, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, "
        "required: [k], properties: {k: {type: string, maxLength: 9}, n: {type: integer}}, "
        "x-kubernetes-validations: [{rule: 'self.n == oldSelf.n'}]}}, w: {type: array, maxItems: "
        "5, items: {type: integer}, x-kubernetes-validations: [{rule: 'oldSelf.all(x, x in "
        "self)'}]}}";
    struct fx *f = *state;
    assert_ok(fx_create(f, CRD, NULL, with_spec(f, schema)));
    const struct schema_kind *k = served(f);
    assert_int_equal(fx_create(f, k, "default", "{metadata: {name: a}, spec: {once: new}}"),
                     -EBADMSG);
    assert_str(f->causes, "spec.once");
    assert_ok(fx_create(f, k, "default",
                        "{metadata: {name: a}, spec: {n: 5, v: [{k: a, n: 1}, {k: b, n: 2}], w: "
                        "[1, 2]}}"));
    assert_int_equal(patch(f, k, "{\"n\":4}"), -EBADMSG);
    assert_str(f->causes, "spec.n");
    assert_ok(patch(f, k, "{\"n\":6}"));
    assert_ok(patch(f, k, "{\"once\":\"x\"}"));
    assert_int_equal(patch(f, k, "{\"once\":\"y\"}"), -EBADMSG);
    /* items are told by their keys, wherever they are */
    assert_ok(
        patch(f, k, "{\"v\":[{\"k\":\"c\",\"n\":7},{\"k\":\"b\",\"n\":2},{\"k\":\"a\",\"n\":1}]}"));
    assert_int_equal(patch(f, k, "{\"v\":[{\"k\":\"b\",\"n\":7}]}"), -EBADMSG);
    assert_str(f->causes, "spec.v[0]");
    assert_ok(patch(f, k, "{\"w\":[3,2,1]}"));
    assert_int_equal(patch(f, k, "{\"w\":[3,2]}"), -EBADMSG);
    assert_str(f->causes, "spec.w");
    custom_unref(k);
}

/* An object from before its rule may stay as it is where nobody touches it. */
static void unchanged_values(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, CRD, NULL,
                        with_spec(f, "properties: {n: {type: integer}, m: {type: integer}}")));
    const struct schema_kind *k = served(f);
    assert_ok(fx_create(f, k, "default", "{metadata: {name: a}, spec: {n: 5, m: 1}}"));
    custom_unref(k);
    assert_ok(fx_get(f, CRD, NULL, "gears.acme.io"));
    struct api_custom_resource_definition *crd = fx_edit(f);
    crd->spec.versions[0].schema->open_apiv3_schema =
        STR("{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{"
            "\"n\":{\"type\":\"integer\",\"x-kubernetes-validations\":[{\"rule\":\"self < 5\"}]},"
            "\"m\":{\"type\":\"integer\"}}}}}");
    assert_ok(fx_update(f, CRD, crd, NULL));
    k = served(f);
    assert_ok(patch(f, k, "{\"m\":2}"));
    assert_int_equal(patch(f, k, "{\"n\":6}"), -EBADMSG);
    assert_str(f->causes, "spec.n");
    custom_unref(k);
}

/* ---- below the verbs ---- */

static struct json *json(struct arena *a, const char *yaml)
{
    struct json *v;
    assert_ok(yaml_parse(str_z(yaml), a, &v, NULL));
    return v;
}

static void validate(const struct rules *rules, const struct json *now, struct error *err)
{
    struct warnings w = {0};
    rules_validate(rules, &(struct rules_object){.now = now}, err, &w);
    assert_int_equal(w.n, 0);
}

/* A definition that was stored before rules were looked at is served; its rule refuses. */
static void broken_rules(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct rules *rules = rules_new(json(&a, "{type: object, properties: {n: {type: integer, "
                                             "x-kubernetes-validations: [{rule: 'self >'}]}}}"),
                                    STR("s"), NULL);
    assert_non_null(rules);
    validate(rules, json(&a, "{m: 1}"), &err);
    assert_int_equal(err.n_causes, 0);
    validate(rules, json(&a, "{n: 1}"), &err);
    assert_int_equal(err.n_causes, 1);
    assert_str(err.causes->field, "n");
    assert_true(str_search(err.causes->message, STR("rule compile error: compilation failed")) >=
                0);
    assert_null(
        rules_new(json(&a, "{type: object, properties: {n: {type: integer}}}"), STR("s"), NULL));
    rules_free(rules);
    error_fini(&err);
    arena_fini(&a);
}

/* Below an atomic map there is no oldSelf, and yet what is unchanged is let be, with a warning; so
 * is a list of keys in another order. What no schema speaks of counts as changed. */
static void unchanged_places(void **state)
{
    static const char schema[] =
        "{type: object, properties: {p: {type: object, properties: {"
        "at: {type: object, x-kubernetes-map-type: atomic, properties: {n: {type: integer, "
        "x-kubernetes-validations: [{rule: 'self < 5'}]}}}, "
        "l: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: "
        "{type: object, required: [k], properties: {k: {type: string}}}, x-kubernetes-validations: "
        "[{rule: 'self.size() < 2'}]}, "
        "w: {type: array, items: {type: integer, x-kubernetes-validations: [{rule: 'self < 5'}]}}, "
        "u: {type: object, x-kubernetes-preserve-unknown-fields: true, x-kubernetes-validations: "
        "[{rule: 'false', message: wrong}]}}}}}";
    static const struct {
        const char *old, *now, *causes, *warning;
    } rows[] = {
        {"{at: {n: 7, m: 1}}", "{at: {n: 7, m: 2}}", "",
         "p.at.n: Invalid value: 7: failed rule: "
         "self < 5"},
        {"{at: {n: 7}}", "{at: {n: 8}}", "p.at.n", NULL},
        {"{l: [{k: a}, {k: b}]}", "{l: [{k: b}, {k: a}]}", "",
         "p.l: Invalid value: failed rule: self.size() < 2"},
        {"{l: [{k: a}, {k: b}]}", "{l: [{k: b}, {k: c}]}", "p.l", NULL},
        {"{w: [7, 1]}", "{w: [7, 1]}", "", "p.w[0]: Invalid value: 7: failed rule: self < 5"},
        {"{w: [7, 1]}", "{w: [7, 2]}", "p.w[0]", NULL},
        {"{u: {}}", "{u: {}}", "", "p.u: Invalid value: wrong"},
        {"{u: {x: 1}}", "{u: {x: 1}}", "p.u", NULL},
    };
    struct arena a = {0};
    struct structural *s = NULL;
    struct buf text = {0};
    const struct json *tree = json(&a, schema);
    json_print(tree, &text);
    assert_ok(structural_compile(buf_str(&text), STR("s"), &s, NULL));
    struct rules *rules = rules_new(tree, STR("s"), NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct warnings w = {.a = &a};
        struct rules_object o = {s, json(&a, arena_printf(&a, "{p: %s}", rows[i].now).p),
                                 json(&a, arena_printf(&a, "{p: %s}", rows[i].old).p)};
        rules_validate(rules, &o, &err, &w);
        assert_str(err.causes ? err.causes->field : STR(""), rows[i].causes);
        assert_int_equal(w.n, rows[i].warning ? 1 : 0);
        if (w.n)
            assert_str(w.v[0], rows[i].warning);
        error_fini(&err);
    }
    rules_free(rules);
    structural_free(s);
    buf_fini(&text);
    arena_fini(&a);
}

static struct json *numbers(struct arena *a, int n)
{
    struct json *o = json_new_obj(a), *v = json_new_arr(a);
    for (int i = 0; i < n; i++)
        json_push(v, json_new_int(a, i));
    json_set(o, STR("v"), v);
    return o;
}

static void costs(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct rules *rules =
        rules_new(json(&a, "{type: object, properties: {v: {type: array, items: {type: integer}, "
                           "x-kubernetes-validations: [{rule: 'self.all(x, self.all(y, x + y >= "
                           "0))'}, {rule: 'false'}]}}}"),
                  STR("s"), NULL);
    /* one call is too dear: nothing follows */
    validate(rules, numbers(&a, 2000), &err);
    assert_int_equal(err.n_causes, 1);
    assert_true(str_search(err.causes->message, STR("call cost exceeds limit")) >= 0);
    rules_free(rules);
    error_fini(&err);

    /* each is cheap, all together are too dear */
    rules = rules_new(json(&a, "{type: object, properties: {v: {type: array, items: {type: "
                               "integer, x-kubernetes-validations: [{rule: "
                               "'[0,1,2,3,4,5,6,7,8,9].all(x, [0,1,2,3,4,5,6,7,8,9].all(y, [0,1,2,"
                               "3,4,5,6,7,8,9].all(z, self + x + y + z >= 0)))'}]}}}}"),
                      STR("s"), NULL);
    err = (struct error){0};
    validate(rules, numbers(&a, 20), &err);
    assert_int_equal(err.n_causes, 0);
    validate(rules, numbers(&a, 5000), &err);
    assert_int_equal(err.n_causes, 1);
    assert_true(str_search(err.causes->message, STR("running out of cost budget")) >= 0);
    rules_free(rules);
    error_fini(&err);
    arena_fini(&a);
}

/* Rules beyond the limit are said once, and refuse. */
static void many_rules(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct json *schema = json(&a, "{type: object, x-kubernetes-validations: []}");
    struct json *list = json_get(schema, STR("x-kubernetes-validations"));
    for (int i = 0; i < RULES_MAX + 5; i++)
        json_push(list, json(&a, "{rule: 'true'}"));
    struct rules *rules = rules_new(schema, STR("s"), &err);
    assert_int_equal(err.n_causes, 1);
    assert_str(err.causes->field, "s.x-kubernetes-validations[10000].rule");
    error_fini(&err);
    err = (struct error){0};
    validate(rules, json(&a, "{n: 1}"), &err);
    assert_int_equal(err.n_causes, 5);
    rules_free(rules);
    error_fini(&err);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(definitions_refused, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(objects_refused, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(transitions, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(unchanged_values, fx_setup, fx_teardown),
        cmocka_unit_test(broken_rules),
        cmocka_unit_test(unchanged_places),
        cmocka_unit_test(costs),
        cmocka_unit_test(many_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
