/* Custom kinds on the engine: made from a definition, their objects in every form. */
#include "test.h"

#include "schema/custom.h"
#include "schema/openapi.h"
#include "schema/select.h"
#include "schema/table.h"

static const char definition[] =
    "{\"metadata\":{\"name\":\"gears.acme.io\"},\"spec\":{\"group\":\"acme.io\",\"scope\":"
    "\"Namespaced\",\"names\":{\"plural\":\"gears\",\"kind\":\"Gear\"},\"versions\":[{\"name\":"
    "\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{},\"scale\":{"
    "\"specReplicasPath\":\".spec.n\",\"statusReplicasPath\":\".status.n\"}},"
    "\"selectableFields\":[{\"jsonPath\":\".spec.color\"}],\"additionalPrinterColumns\":["
    "{\"name\":\"N\",\"type\":\"integer\",\"jsonPath\":\".spec.n\"},"
    "{\"name\":\"Ready\",\"type\":\"string\",\"jsonPath\":"
    "\".status.conditions[?(@.type==\\\"Ready\\\")].status\"},"
    "{\"name\":\"Since\",\"type\":\"date\",\"jsonPath\":\".metadata.creationTimestamp\"}],"
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":"
    "\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"default\":2},\"color\":{\"type\":"
    "\"string\"}}},\"status\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}"
    "}}}},{\"name\":\"v1beta1\",\"served\":true,\"storage\":false,\"deprecated\":true,\"schema\":"
    "{\"openAPIV3Schema\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}}]},"
    "\"status\":{\"acceptedNames\":{\"plural\":\"gears\",\"singular\":\"gear\",\"kind\":\"Gear\","
    "\"listKind\":\"GearList\"}}}";

struct fx {
    struct arena a;
    struct api_custom_resource_definition crd;
    struct custom *v1, *beta;
};

static int setup(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    struct error err = {0};
    assert_ok(schema_decode_text(&api_custom_resource_definition_desc, str_z(definition), &f->a,
                                 NULL, &f->crd, &err));
    assert_ok(custom_new(&f->crd, 0, 10, &f->v1, &err));
    assert_ok(custom_new(&f->crd, 1, 10, &f->beta, &err));
    error_fini(&err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    custom_unref(&f->v1->kind);
    custom_unref(&f->beta->kind);
    arena_fini(&f->a);
    free(f);
    return 0;
}

static struct custom_object *read_as(struct fx *f, const struct custom *c, const char *text)
{
    struct custom_object *o = schema_new(&c->desc, &f->a);
    struct schema_decode opts = {0};
    struct json *v;
    assert_ok(json_parse(str_z(text), &f->a, NULL, &v, NULL));
    assert_ok(custom_take(&c->kind, v, &f->a, &opts, NULL));
    assert_ok(schema_decode_json(&c->desc, v, &f->a, &opts, o, NULL));
    return o;
}

static void prints(const struct schema_desc *d, const void *msg, const char *expected)
{
    struct buf b = {0};
    schema_encode_json(d, msg, SCHEMA_ENCODE_TYPE_META, &b);
    assert_str(buf_str(&b), expected);
    buf_fini(&b);
}

static void kinds_are_described(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *k = &f->v1->kind;
    assert_string_equal(k->api_version, "acme.io/v1");
    assert_string_equal(k->list_kind, "GearList");
    assert_string_equal(k->desc->openapi, "io.acme.v1.Gear");
    assert_int_equal(k->n_subresources, 2);
    assert_true(k->id >= _KIND_MAX);
    assert_ptr_equal(schema_stored(k), custom_stored_of(&f->crd));
    assert_ptr_equal(schema_stored(&f->beta->kind), schema_stored(k));
    const struct schema_kind *stored = schema_stored(k);
    assert_ptr_equal(f->v1->variant, f->v1->storage);
    assert_ptr_equal(f->beta->storage, f->v1->storage);
    assert_ptr_equal(custom_variant(stored, STR("v1beta1")), f->beta->variant);
    assert_ptr_equal(custom_variant(stored, str_z(stored->version)), stored);
    assert_ptr_equal(schema_stored(f->beta->variant), stored);
    assert_int_equal(f->beta->variant->id, stored->id);
    assert_string_equal(f->beta->variant->api_version, "acme.io/v1beta1");
    assert_true(custom_is_served(k));
    assert_false(custom_is_served(stored));
    assert_false(custom_is_served(f->beta->variant));
    assert_str(str_z(f->beta->kind.warning), "acme.io/v1beta1 Gear is deprecated");
    assert_true(schema_version_cmp(STR("v2"), STR("v1")) > 0);
    assert_true(schema_version_cmp(STR("v1"), STR("v2beta1")) > 0);
    assert_true(schema_version_cmp(STR("v1beta2"), STR("v1beta1")) > 0);
    assert_true(schema_version_cmp(STR("v1alpha1"), STR("foo")) > 0);
}

static void objects_in_every_form(void **state)
{
    struct fx *f = *state;
    struct custom_object *o =
        read_as(f, f->v1,
                "{\"kind\":\"Gear\",\"spec\":{\"color\":\"red\",\"gone\":1},\"metadata\":"
                "{\"name\":\"g\"},\"status\":{\"b\":1,\"a\":2},\"also\":3}");
    static const char json[] =
        "{\"kind\":\"Gear\",\"apiVersion\":\"acme.io/v1\",\"metadata\":{\"name\":\"g\"},"
        "\"spec\":{\"color\":\"red\",\"n\":2},\"status\":{\"a\":2,"
        "\"b\":1}}";
    prints(&f->v1->desc, o, json);
    struct buf pb = {0};
    struct custom_object again;
    schema_encode_pb(&f->v1->desc, o, &pb);
    assert_ok(schema_decode_pb(&f->v1->desc, buf_str(&pb), &f->a, &again, NULL));
    assert_true(schema_equal(&f->v1->desc, o, &again));
    prints(&f->v1->desc, &again, json);
    struct custom_object *copy = schema_compact(&f->v1->desc, o, NULL);
    assert_true(schema_equal(&f->v1->desc, o, copy));
    free(copy);
    buf_fini(&pb);
    /* the same object in the other version is the same but for its name */
    struct buf beta = {0};
    schema_encode_json(&f->beta->desc, o, SCHEMA_ENCODE_TYPE_META, &beta);
    assert_true(str_search(buf_str(&beta), STR("\"apiVersion\":\"acme.io/v1beta1\"")) > 0);
    buf_fini(&beta);
}

/* Order of members and spacing are no difference; values are. */
static void equal_meaning_is_equal(void **state)
{
    struct fx *f = *state;
    struct custom_object *a = read_as(f, f->beta, "{\"x\":{\"p\":1,\"q\":[1,2]},\"y\":true}"),
                         *b = read_as(f, f->beta, "{\"y\": true, \"x\": {\"q\":[1,2], \"p\":1}}"),
                         *c = read_as(f, f->beta, "{\"y\":true,\"x\":{\"q\":[2,1],\"p\":1}}");
    assert_true(schema_equal(&f->beta->desc, a, b));
    assert_false(schema_equal(&f->beta->desc, a, c));
}

static void old_objects_get_defaults(void **state)
{
    struct fx *f = *state;
    struct custom_object *o =
        read_as(f, f->beta, "{\"metadata\":{\"name\":\"g\"},\"spec\":{\"gone\":1}}");
    assert_ptr_equal(custom_read(&f->v1->kind, o, 11, &f->a), o);
    const struct custom_object *r = custom_read(&f->v1->kind, o, 10, &f->a);
    assert_str(r->rest, "{\"spec\":{\"n\":2}}");
}

static void tables_and_selectors(void **state)
{
    struct fx *f = *state;
    struct custom_object *o = read_as(
        f, f->v1,
        "{\"metadata\":{\"name\":\"g\",\"creationTimestamp\":\"2024-01-01T00:00:00Z\"},\"spec\":{"
        "\"color\":\"red\"},\"status\":{\"conditions\":[{\"type\":\"X\",\"status\":\"False\"},"
        "{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    struct buf b = {0};
    table_cells_print(&f->v1->kind, o, INT64_C(1704067260) * 1000000, &b);
    assert_str(buf_str(&b), "[\"g\",2,\"True\",\"60s\"]");
    buf_clear(&b);
    table_cells_print(&f->v1->kind, read_as(f, f->v1, "{\"metadata\":{\"name\":\"h\"}}"), 0, &b);
    assert_str(buf_str(&b), "[\"h\",null,null,null]");
    buf_fini(&b);
    struct field_selector s;
    assert_ok(
        field_selector_parse(&f->a, &f->v1->kind, STR("spec.color=red,metadata.name=g"), &s, NULL));
    assert_true(field_selector_match(&s, o));
    assert_ok(field_selector_parse(&f->a, &f->v1->kind, STR("spec.color!=red"), &s, NULL));
    assert_false(field_selector_match(&s, o));
    assert_int_equal(field_selector_parse(&f->a, &f->v1->kind, STR("spec.n=2"), &s, NULL), -EINVAL);
}

static void documents_describe_them(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *v[] = {&f->v1->kind};
    const struct openapi_more more = {v, 1};
    struct buf b = {0};
    struct json *doc;
    assert_true(openapi_v3_print(&more, STR("acme.io"), STR("v1"), &b));
    assert_ok(json_parse(buf_str(&b), &f->a, NULL, &doc, NULL));
    const struct json *types = json_get(json_getz(doc, "components"), STR("schemas"));
    const struct json *gear = json_get(types, STR("io.acme.v1.Gear"));
    const struct json *props = json_getz(gear, "properties");
    assert_non_null(json_getz(props, "metadata"));
    assert_int_equal(
        json_get(json_get(json_get(json_getz(props, "spec"), STR("properties")), STR("n")),
                 STR("default"))
            ->i,
        2);
    assert_non_null(json_getz(types, "io.acme.v1.GearList"));
    assert_non_null(json_get(json_getz(doc, "paths"),
                             STR("/apis/acme.io/v1/namespaces/{namespace}/gears/{name}")));
    buf_clear(&b);
    openapi_v2_print(&more, &b);
    assert_true(json_valid(buf_str(&b)));
    buf_clear(&b);
    openapi_v3_index_print(&more, &b);
    assert_true(str_search(buf_str(&b), STR("\"apis/acme.io/v1\"")) > 0);
    buf_fini(&b);
}

static void paths_are_taken(void **state)
{
    static const struct {
        const char *path;
        bool good, plain;
    } rows[] = {
        {".spec.a", true, true},
        {"spec", false, false},
        {".spec[0].x", true, false},
        {".spec.x[*].y", true, false},
        {".m.labels.app\\.k8s\\.io/name", true, true},
        {".m['a.b']", true, true},
        {".c[?(@.type==\"Ready\")].status", true, false},
        {".c[?(@.n>5)]", false, false},
        {"..x", false, false},
        {".a[", false, false},
        {"", false, false},
    };
    struct arena a = {0};
    struct json *v;
    const char *why;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct jsonpath *p = jsonpath_compile(str_z(rows[i].path), &a, &why);
        if (!p == rows[i].good)
            print_error("%s: %s\n", rows[i].path, why ? why : "taken");
        assert_int_equal(p != NULL, rows[i].good);
        if (p)
            assert_int_equal(jsonpath_is_plain(p), rows[i].plain);
    }
    assert_ok(json_parse(STR("{\"l\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}]}"), &a, NULL, &v,
                         NULL));
    const struct jsonpath *p = jsonpath_compile(STR(".l[?(@.k!=\"a\")].v"), &a, &why);
    assert_int_equal(jsonpath_first(p, v)->i, 2);
    p = jsonpath_compile(STR(".l[-1].k"), &a, &why);
    assert_str(jsonpath_first(p, v)->s, "b");
    p = jsonpath_compile(STR(".l[7].k"), &a, &why);
    assert_null(jsonpath_first(p, v));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds_are_described, setup, teardown),
        cmocka_unit_test_setup_teardown(objects_in_every_form, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_meaning_is_equal, setup, teardown),
        cmocka_unit_test_setup_teardown(old_objects_get_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_and_selectors, setup, teardown),
        cmocka_unit_test_setup_teardown(documents_describe_them, setup, teardown),
        cmocka_unit_test(paths_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
