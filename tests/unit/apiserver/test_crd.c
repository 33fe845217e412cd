/* Definitions and objects of custom kinds through the verbs. */
#include "api_test.h"

#include "api/crd.h"
#include "apiserver/internal.h"
#include "apiserver/custom/kinds.h"

#define CRD KIND_OF(CUSTOM_RESOURCE_DEFINITION)

/* PLURAL KIND */
static const char *definition(struct fx *f, const char *plural, const char *kind)
{
    return arena_printf(
               &f->arena,
               "{metadata: {name: %s.acme.io}, spec: {group: acme.io, scope: Namespaced, names: "
               "{plural: %s, kind: %s}, versions: [{name: v1, served: true, storage: true, "
               "subresources: {status: {}, scale: {specReplicasPath: .spec.n, statusReplicasPath: "
               ".status.n}}, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: "
               "object, properties: {n: {type: integer, maximum: 9, default: 1}, any: {type: "
               "object, x-kubernetes-preserve-unknown-fields: true}}}, status: {type: object, "
               "x-kubernetes-preserve-unknown-fields: true}}}}}]}}",
               plural, plural, kind)
        .p;
}

static const struct schema_kind *served(struct fx *f, const char *plural)
{
    return kinds_by_plural(f->api->kinds, STR("acme.io"), STR("v1"), str_z(plural));
}

static bool is(struct fx *f, const char *name, const char *condition)
{
    assert_ok(fx_get(f, CRD, NULL, name));
    return crd_condition_is(OBJECT_MSG(f->object, api_custom_resource_definition), condition);
}

static void nothing(void *arg, const struct client_reply *rep)
{
    assert_int_equal(rep->r, 0);
    ++*(int *)arg;
}

/* Both are written in one turn: the second sees the first though neither is durable. */
static void names_in_one_turn(void **state)
{
    struct fx *f = *state;
    int answered = 0;
    const char *plurals[] = {"gears", "cogs"};
    for (int i = 0; i < 2; i++) {
        struct client_request q = {.verb = CLIENT_CREATE,
                                   .kind = CRD,
                                   .body = fx_msg(f, CRD->desc, definition(f, plurals[i], "Gear"))};
        client_call(f->c, &q, nothing, &answered);
    }
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: later}}"));
    assert_int_equal(answered, 2);
    assert_true(is(f, "gears.acme.io", "Established"));
    assert_false(is(f, "cogs.acme.io", "NamesAccepted"));
    const struct schema_kind *gears = served(f, "gears");
    assert_non_null(gears);
    assert_null(served(f, "cogs"));
    custom_unref(gears);
}

/* Each schema may have that much, all of them together not. */
static void patterns_of_all_versions(void **state)
{
    struct fx *f = *state;
    struct buf b = {0};
    buf_add_lit(&b, "{metadata: {name: gears.acme.io}, spec: {group: acme.io, scope: Namespaced, "
                    "names: {plural: gears, kind: Gear}, versions: [");
    for (int v = 0; v < 12; v++) {
        buf_printf(&b,
                   "%s{name: v%d, served: true, storage: %s, schema: {openAPIV3Schema: {type: "
                   "object, description: 'v%d', properties: {spec: {type: object, properties: {",
                   v ? ", " : "", v, v ? "false" : "true", v);
        for (int i = 0; i < 30; i++)
            buf_printf(&b, "%sp%d: {type: string, pattern: '(.{90}){100}'}", i ? ", " : "", i);
        buf_add_lit(&b, "}}}}}}");
    }
    buf_add_lit(&b, "]}}");
    assert_int_equal(fx_create(f, CRD, NULL, fx_z(f, buf_str(&b))), -EBADMSG);
    assert_str(f->causes, "spec.versions");
    assert_true(str_search(f->text, STR("the patterns of all versions must not be larger than 16 "
                                        "MB")) > 0);
    buf_fini(&b);
}

static void objects_by_the_rules(void **state)
{
    struct fx *f = *state;
    struct buf deep = {0};
    assert_ok(fx_create(f, CRD, NULL, definition(f, "gears", "Gear")));
    const struct schema_kind *k = served(f, "gears");
    assert_non_null(k);
    assert_ok(fx_create(f, k, "default", "{metadata: {name: a}, spec: {n: 2}, status: {n: 5}}"));
    assert_str(OBJECT_MSG(f->object, custom_object)->status, "");
    assert_int_equal(object_meta(f->object)->generation, 1);

    assert_int_equal(fx_create(f, k, "default", "{metadata: {name: b}, spec: {n: 10}}"), -EBADMSG);
    assert_str(f->causes, "spec.n");
    assert_int_equal(fx_patch(f, k, "default", "a", NULL, CLIENT_PATCH_STRATEGIC, "{}"),
                     -EPROTONOSUPPORT);
    assert_int_equal(object_meta(store_get(f->store, schema_stored(k), STR("default"), STR("a")))
                         ->n_managed_fields,
                     1);
    assert_ok(fx_patch(f, k, "default", "a", NULL, CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"n\":null,\"gone\":1},\"status\":{\"n\":1}}"));
    assert_str(OBJECT_MSG(f->object, custom_object)->rest, "{\"spec\":{\"n\":1}}");
    assert_str(OBJECT_MSG(f->object, custom_object)->status, "");
    assert_int_equal(object_meta(f->object)->generation, 2);
    assert_ok(fx_patch(f, k, "default", "a", "status", CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"n\":7},\"status\":{\"n\":3},\"metadata\":{\"labels\":{\"a\":"
                       "\"b\"}}}"));
    assert_str(OBJECT_MSG(f->object, custom_object)->rest, "{\"spec\":{\"n\":1}}");
    assert_str(OBJECT_MSG(f->object, custom_object)->status, "{\"n\":3}");
    assert_int_equal(object_meta(f->object)->n_labels, 0);
    assert_int_equal(object_meta(f->object)->generation, 2);
    assert_ok(
        fx_patch(f, k, "default", "a", "scale", CLIENT_PATCH_MERGE, "{\"spec\":{\"replicas\":4}}"));
    assert_int_equal(((const struct api_scale *)f->message)->spec.replicas, 4);
    assert_int_equal(((const struct api_scale *)f->message)->status.replicas, 3);

    assert_ok(fx_get(f, k, "default", "a"));
    struct api_object_meta *m = fx_edit(f);
    m->resource_version = STR_NONE;
    assert_int_equal(fx_update(f, k, m, NULL), -EBADMSG);
    assert_str(f->causes, "metadata.resourceVersion");

    /* what cannot be read back is not stored: a deep value into a deep place */
    buf_add_lit(&deep, "{\"spec\":{\"any\":");
    for (int i = 0; i < 150; i++)
        buf_add_lit(&deep, "{\"a\":");
    buf_add_char(&deep, '1');
    for (int i = 0; i < 152; i++)
        buf_add_char(&deep, '}');
    assert_ok(fx_patch(f, k, "default", "a", NULL, CLIENT_PATCH_MERGE, buf_str(&deep).p));
    buf_clear(&deep);
    buf_add_lit(&deep, "[{\"op\":\"copy\",\"from\":\"/spec/any\",\"path\":\"/spec/any");
    for (int i = 0; i < 100; i++)
        buf_add_lit(&deep, "/a");
    buf_add_lit(&deep, "/b\"}]");
    assert_int_equal(fx_patch(f, k, "default", "a", NULL, CLIENT_PATCH_JSON, buf_str(&deep).p),
                     -EINVAL);
    assert_ok(fx_get(f, k, "default", "a"));
    buf_fini(&deep);
    custom_unref(k);
}

/* What a Scale is read from is good for one. */
static void numbers_of_a_scale(void **state)
{
    static const struct {
        const char *status, *patch, *cause, *text; /* cause "": it is good */
    } rows[] = {
        {NULL, "{\"spec\":{\"n\":-1}}", ".spec.n", "-1: should be a non-negative integer"},
        {"status", "{\"status\":{\"n\":-1}}", ".status.n", "should be a non-negative integer"},
        {"status", "{\"status\":{\"n\":4294967296}}", ".status.n",
         "should be less than or equal to 2147483647"},
        {"status", "{\"status\":{\"n\":\"x\"}}", ".status.n",
         "0: .status.n accessor error: x is of the type string, expected int64"},
        {"status", "{\"status\":{\"n\":0}}", "", ""},
    };
    struct fx *f = *state;
    assert_ok(fx_create(f, CRD, NULL, definition(f, "gears", "Gear")));
    const struct schema_kind *k = served(f, "gears");
    assert_int_equal(fx_create(f, k, "default", "{metadata: {name: a}, spec: {n: -5}}"), -EBADMSG);
    assert_str(f->causes, ".spec.n");
    assert_ok(fx_create(f, k, "default", "{metadata: {name: a}}"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r = fx_patch(f, k, "default", "a", rows[i].status, CLIENT_PATCH_MERGE, rows[i].patch);
        assert_int_equal(r, rows[i].cause[0] ? -EBADMSG : 0);
        if (!r)
            continue;
        assert_str(f->causes, rows[i].cause);
        assert_true(str_search(f->text, str_z(rows[i].text)) >= 0);
    }
    custom_unref(k);
}

static void the_end_of_a_definition(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, CRD, NULL, definition(f, "gears", "Gear")));
    const struct schema_kind *k = served(f, "gears");
    assert_ok(fx_create(f, k, "default", "{metadata: {name: a}}"));
    assert_ok(fx_delete(f, CRD, NULL, "gears.acme.io"));
    assert_true(is(f, "gears.acme.io", "Terminating"));
    assert_int_equal(object_meta(f->object)->n_finalizers, 1);
    assert_str(object_meta(f->object)->finalizers[0], CRD_FINALIZER);
    assert_int_equal(fx_create(f, k, "default", "{metadata: {name: b}}"), -EOPNOTSUPP);
    assert_ok(fx_get(f, k, "default", "a"));
    assert_ok(fx_delete(f, k, "default", "a"));
    assert_ok(fx_patch(f, CRD, NULL, "gears.acme.io", NULL, CLIENT_PATCH_MERGE,
                       "{\"metadata\":{\"finalizers\":[]}}"));
    assert_null(served(f, "gears"));
    assert_int_equal(fx_get(f, k, "default", "a"), -ENOENT);
    custom_unref(k);
}

static const char *of_the_community(struct fx *f, const char *approval)
{
    struct buf b = {0};
    buf_add_lit(&b, "{metadata: {name: gears.cogs.k8s.io");
    if (approval)
        buf_printf(&b, ", annotations: {api-approved.kubernetes.io: '%s'}", approval);
    buf_add_lit(&b, "}, spec: {group: cogs.k8s.io, scope: Cluster, names: {plural: gears, kind: "
                    "Gear}, versions: [{name: v1, served: true, storage: true, schema: "
                    "{openAPIV3Schema: {type: object}}}]}}");
    const char *text = fx_z(f, buf_str(&b));
    buf_fini(&b);
    return text;
}

static void approvals(void **state)
{
    static const struct {
        const char *says, *reason, *message; /* reason NULL: refused */
        bool good;
    } rows[] = {
        {NULL, NULL, "Required value: protected groups must have approval annotation", false},
        {"", NULL, "Required value: protected groups must", false},
        {"ask me", NULL, "Invalid value: \"ask me\": protected groups must", false},
        {"/a/path", NULL, "either a URL or a reason starting with \"unapproved\"", false},
        {"https:///x", NULL, "either a URL or a reason", false},
        {"unapproved, a test", "UnapprovedAnnotation", "not approved: \"unapproved, a test\"",
         false},
        {"https://a.b/pull/1", "ApprovedAnnotation", "approved in https://a.b/pull/1", true},
    };
    struct fx *f = *state;
    const char *type = "KubernetesAPIApprovalPolicyConformant";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r = fx_create(f, CRD, NULL, of_the_community(f, rows[i].says));
        if (!rows[i].reason) {
            assert_int_equal(r, -EBADMSG);
            assert_str(f->causes, "metadata.annotations[api-approved.kubernetes.io]");
            assert_true(str_search(f->text, str_z(rows[i].message)) >= 0);
            continue;
        }
        assert_ok(r);
        const struct api_custom_resource_definition_condition *c =
            crd_condition(OBJECT_MSG(f->object, api_custom_resource_definition), str_z(type));
        assert_non_null(c);
        assert_str(c->reason, rows[i].reason);
        assert_str(c->message, rows[i].message);
        assert_int_equal(str_is(c->status, "True"), rows[i].good);
        if (!rows[i].good) { /* it may be changed into a better one, not into a worse one */
            assert_int_equal(fx_patch(f, CRD, NULL, "gears.cogs.k8s.io", NULL, CLIENT_PATCH_MERGE,
                                      "{\"metadata\":{\"annotations\":null}}"),
                             -EBADMSG);
            assert_ok(fx_patch(f, CRD, NULL, "gears.cogs.k8s.io", NULL, CLIENT_PATCH_MERGE,
                               "{\"metadata\":{\"annotations\":{\"api-approved.kubernetes.io\":"
                               "\"http://x/\"}}}"));
            assert_true(is(f, "gears.cogs.k8s.io", type));
        }
        assert_ok(fx_delete(f, CRD, NULL, "gears.cogs.k8s.io"));
        assert_ok(fx_patch(f, CRD, NULL, "gears.cogs.k8s.io", NULL, CLIENT_PATCH_MERGE,
                           "{\"metadata\":{\"finalizers\":[]}}"));
    }
    assert_ok(fx_create(f, CRD, NULL, definition(f, "gears", "Gear")));
    assert_null(crd_condition(OBJECT_MSG(f->object, api_custom_resource_definition), str_z(type)));
}

#define S "spec.validation.openAPIV3Schema"

static void definitions_refused(void **state)
{
    static const struct {
        const char *from, *to, *cause;
    } rows[] = {
        {"group: acme.io", "group: acme", "spec.group,metadata.name"},
        {"kind: Gear}", "kind: Gear, listKind: Gear}", "spec.names.listKind"},
        {"scope: Namespaced", "scope: Wide", "spec.scope"},
        {"storage: true", "storage: false", "spec.versions"},
        {"name: v1", "name: V1", "spec.versions[0].name"},
        {".spec.n,", ".status.n,", "spec.versions[0].subresources.scale.specReplicasPath"},
        {"served: true,", "served: true, deprecationWarning: x,",
         "spec.versions[0].deprecationWarning"},
        {"served: true,", "served: true, selectableFields: [{jsonPath: .spec.any}],",
         "spec.versions[0].selectableFields[0].jsonPath"},
        {"served: true,",
         "served: true, additionalPrinterColumns: [{name: A, type: thing, jsonPath: .a}],",
         "spec.additionalPrinterColumns[0].type"},
        {"served: true,",
         "served: true, additionalPrinterColumns: [{name: A, type: date, format: x, jsonPath: a}],",
         "spec.additionalPrinterColumns[0].format,spec.additionalPrinterColumns[0].JSONPath"},
        {"served: true,", "served: true, deprecated: true, deprecationWarning: '',",
         "spec.versions[0].deprecationWarning"},
        {"served: true,", "served: true, deprecated: true, deprecationWarning: \"a\\nb\",",
         "spec.versions[0].deprecationWarning"},
        /* schemas that could be served */
        {"{type: object, properties: {spec", "{type: object, minProperties: 1, properties: {spec",
         S},
        {"{type: object, properties: {spec", "{type: object, nullable: true, properties: {spec",
         S "," S ".nullable"},
        {"maximum: 9", "x-kubernetes-preserve-unknown-fields: false",
         S ".properties[spec].properties[n].x-kubernetes-preserve-unknown-fields"},
        {"properties: {spec", "properties: {apiVersion: {type: integer}, spec",
         S ".properties[apiVersion].type"},
        {"properties: {spec", "properties: {metadata: {type: object, description: d}, spec",
         S ".properties[metadata]"},
        {"properties: {n:",
         "properties: {l: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: "
         "[k, k], items: {type: object, nullable: true, required: [k], properties: {k: {type: "
         "string, nullable: true}}}}, n:",
         S ".properties[spec].properties[l].items.nullable," S
           ".properties[spec].properties[l].items.properties[k].nullable," S
           ".properties[spec].properties[l].x-kubernetes-list-map-keys," S
           ".properties[spec].properties[l].items.properties[k].nullable"},
        {"maximum: 9", "anyOf: [{properties: {metadata: {}}}]",
         S ".properties[spec].properties[n].properties[metadata]"},
        {"scope: Namespaced,",
         "scope: Namespaced, conversion: {strategy: Webhook, webhook: {conversionReviewVersions: "
         "[v1]}},",
         "spec.conversion.webhookClientConfig"},
        {"scope: Namespaced,",
         "scope: Namespaced, conversion: {strategy: Webhook, webhook: {conversionReviewVersions: "
         "[v1, v1], clientConfig: {url: 'http://a.b/'}}},",
         "spec.conversion.webhookClientConfig.url,spec.conversion.conversionReviewVersions[1]"},
        {"scope: Namespaced,",
         "scope: Namespaced, conversion: {strategy: Webhook, webhook: {conversionReviewVersions: "
         "[v2], clientConfig: {service: {name: '', namespace: web, path: x, port: 70000}}}},",
         "spec.conversion.webhookClientConfig.service.name,"
         "spec.conversion.webhookClientConfig.service.path,"
         "spec.conversion.webhookClientConfig.service.port,spec.conversion."
         "conversionReviewVersions"},
        {"scope: Namespaced,",
         "scope: Namespaced, conversion: {strategy: Webhook, webhook: {conversionReviewVersions: "
         "[], clientConfig: {url: 'https://a.b/', service: {name: a, namespace: web}}}},",
         "spec.conversion.webhookClientConfig,spec.conversion.conversionReviewVersions"},
        {"scope: Namespaced,",
         "scope: Namespaced, conversion: {strategy: None, webhook: {conversionReviewVersions: "
         "[v1], clientConfig: {url: 'https://a.b/'}}},",
         "spec.conversion.webhookClientConfig,spec.conversion.conversionReviewVersions"},
        {"scope: Namespaced,", "scope: Namespaced, conversion: {strategy: Guess},",
         "spec.conversion.strategy"},
        {"maximum: 9", "pattern: '('",
         "spec.validation.openAPIV3Schema.properties[spec].properties[n].pattern"},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text = str_z(definition(f, "gears", "Gear"));
        ssize_t at = str_search(text, str_z(rows[i].from));
        assert_true(at >= 0);
        const char *changed = arena_printf(&f->arena, "%.*s%s%.*s", (int)at, text.p, rows[i].to,
                                           (int)(text.n - (size_t)at - strlen(rows[i].from)),
                                           text.p + at + strlen(rows[i].from))
                                  .p;
        assert_int_equal(fx_create(f, CRD, NULL, changed), -EBADMSG);
        assert_str(f->causes, rows[i].cause);
    }
}

/* What an older version of us took stays changeable, save for what is wrong with it. */
static void definitions_of_old(void **state)
{
    struct fx *f = *state;
    struct str good = str_z(definition(f, "gears", "Gear"));
    assert_ok(fx_create(f, CRD, NULL, good.p));
    struct api_custom_resource_definition *old = schema_clone(CRD->desc, f->object->msg, &f->arena);
    struct api_custom_resource_definition *now = schema_clone(CRD->desc, f->object->msg, &f->arena);
    struct str schema = STR("{\"type\":\"object\",\"nullable\":true}");
    struct error err = {0};
    old->spec.versions[0].schema->open_apiv3_schema = schema;
    crd_schema_validate(old, NULL, &err);
    assert_int_equal(err.n_causes, 2); /* here, and where the status is apart */
    crd_schema_validate(now, old, &err);
    assert_int_equal(err.n_causes, 2);
    now->spec.versions[0].schema->open_apiv3_schema = schema;
    crd_schema_validate(now, old, &err);
    assert_int_equal(err.n_causes, 2);
    error_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_in_one_turn, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(patterns_of_all_versions, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(objects_by_the_rules, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(the_end_of_a_definition, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(approvals, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(numbers_of_a_scale, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(definitions_refused, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(definitions_of_old, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
