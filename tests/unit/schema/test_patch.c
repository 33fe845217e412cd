/* The three patches, row by row. The strategic rows are the cases of kubectl's daily use. */
#include "test.h"

#include "schema/patch.h"
#include "schema/schema.h"

enum kind { JSON_OPS, MERGE, STRATEGIC };

struct row {
    enum kind kind;
    const char *doc, *patch, *result; /* result NULL: refused */
    enum error_reason reason;
};

static void run_row(const struct row *row, const struct schema_desc *desc)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf out = {0};
    struct json *doc, *patch, *expected;
    int r;

    assert_ok(json_parse(str_z(row->doc), &a, NULL, &doc, &err));
    assert_ok(json_parse(str_z(row->patch), &a, NULL, &patch, &err));
    if (row->kind == JSON_OPS)
        r = patch_json(&doc, patch, &a, &err);
    else if (row->kind == MERGE)
        r = patch_merge(&doc, patch, &a, &err);
    else
        r = patch_strategic(desc, &doc, patch, &a, &err);
    if (!row->result) {
        assert_true(r < 0);
        assert_int_equal(err.reason, row->reason);
    } else {
        if (r < 0)
            print_error("%s: %.*s\n", row->patch, STR_ARG(err.message));
        assert_int_equal(r, 0);
        assert_ok(json_parse(str_z(row->result), &a, NULL, &expected, &err));
        json_print(doc, &out);
        if (!json_equal(doc, expected))
            print_error("patch    %s\ngot      %s\nexpected %s\n", row->patch, out.data,
                        row->result);
        assert_true(json_equal(doc, expected));
    }
    buf_fini(&out);
    error_fini(&err);
    arena_fini(&a);
}

static void json_patches(void **state)
{
    static const struct row rows[] = {
        {JSON_OPS, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]",
         "{\"a\":1,\"b\":2}"},
        {JSON_OPS, "{\"a\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2}]",
         "{\"a\":[1,2,3]}"},
        {JSON_OPS, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]",
         "{\"a\":[1,2]}"},
        {JSON_OPS, "{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/0\"}]", "{\"a\":[2]}"},
        {JSON_OPS, "{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":{\"x\":1}}]",
         "{\"a\":[1,{\"x\":1}]}"},
        {JSON_OPS, "{\"a/b\":1,\"c~d\":2}",
         "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"replace\",\"path\":\"/"
         "c~0d\",\"value\":3}]",
         "{\"c~d\":3}"},
        {JSON_OPS, "{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"}]",
         "{\"a\":{},\"c\":1}"},
        {JSON_OPS, "{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"}]",
         "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"},
        {JSON_OPS, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}"},
        {JSON_OPS, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL,
         REASON_INVALID},
        {JSON_OPS, "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, REASON_INVALID},
        {JSON_OPS, "{\"a\":[]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":0}]", NULL,
         REASON_INVALID},
        {JSON_OPS, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":0}]", NULL,
         REASON_INVALID},
        {JSON_OPS, "{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/c\"}]",
         NULL, REASON_INVALID},
        {JSON_OPS, "{}", "[{\"op\":\"jump\",\"path\":\"/a\"}]", NULL, REASON_BAD_REQUEST},
        {JSON_OPS, "{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", NULL, REASON_BAD_REQUEST},
        {JSON_OPS, "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, REASON_BAD_REQUEST},
        {JSON_OPS, "{}", "{}", NULL, REASON_BAD_REQUEST},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        run_row(&rows[i], NULL);
}

static void merge_patches(void **state)
{
    static const struct row rows[] = {
        {MERGE, "{\"a\":\"b\",\"c\":{\"d\":1,\"e\":2}}", "{\"a\":null,\"c\":{\"d\":3}}",
         "{\"c\":{\"d\":3,\"e\":2}}"},
        {MERGE, "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}"},
        {MERGE, "{\"a\":1}", "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}"},
        {MERGE, "{}", "[]", NULL, REASON_BAD_REQUEST},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        run_row(&rows[i], NULL);
}

static void strategic_patches(void **state)
{
#define C1 "{\"name\":\"a\",\"image\":\"i1\"}"
#define C2 "{\"name\":\"b\",\"image\":\"i2\"}"
    static const struct row rows[] = {
        /* by merge key */
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "," C2 "]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"i9\"}]}}",
         "{\"spec\":{\"containers\":[" C1 ",{\"name\":\"b\",\"image\":\"i9\"}]}}"},
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "]}}", "{\"spec\":{\"containers\":[" C2 "]}}",
         "{\"spec\":{\"containers\":[" C1 "," C2 "]}}"},
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "," C2 "]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
         "{\"spec\":{\"containers\":[" C2 "]}}"},
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "]}}",
         "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"}," C2 "]}}",
         "{\"spec\":{\"containers\":[" C2 "]}}"},
        {STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i1\",\"tty\":true}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i2\",\"$patch\":\"replace\"}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i2\"}]}}"},
        /* order */
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "]}}",
         "{\"spec\":{\"$setElementOrder/"
         "containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[" C2 "]}}",
         "{\"spec\":{\"containers\":[" C2 "," C1 "]}}"},
        {STRATEGIC, "{\"spec\":{\"containers\":[" C1 "," C2 "]}}",
         "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}",
         "{\"spec\":{\"containers\":[" C2 "," C1 "]}}"},
        /* atomic lists are replaced */
        {STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"command\":[\"x\",\"y\"]}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"command\":[\"z\"]}]}}",
         "{\"spec\":{\"containers\":[{\"name\":\"a\",\"command\":[\"z\"]}]}}"},
        /* primitives with the merge strategy */
        {STRATEGIC, "{\"metadata\":{\"finalizers\":[\"a/b\"]}}",
         "{\"metadata\":{\"finalizers\":[\"c/d\",\"a/b\"]}}",
         "{\"metadata\":{\"finalizers\":[\"a/b\",\"c/d\"]}}"},
        {STRATEGIC, "{\"metadata\":{\"finalizers\":[\"a/b\",\"c/d\"]}}",
         "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a/b\"]}}",
         "{\"metadata\":{\"finalizers\":[\"c/d\"]}}"},
        /* maps, null, retainKeys */
        {STRATEGIC, "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}}"},
        {STRATEGIC, "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],"
         "\"hostPath\":{\"path\":\"/x\"}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}]}}"},
        {STRATEGIC, "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}",
         "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"z\":\"1\"}}}",
         "{\"metadata\":{\"labels\":{\"z\":\"1\"}}}"},
        /* bad ones */
        {STRATEGIC, "{}", "{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}", NULL,
         REASON_BAD_REQUEST},
        {STRATEGIC, "{}", "{\"spec\":{\"$patch\":\"explode\"}}", NULL, REASON_BAD_REQUEST},
        {STRATEGIC, "{}", "[1]", NULL, REASON_BAD_REQUEST},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        run_row(&rows[i], &api_pod_desc);
}

static void copies_cannot_explode(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};
    struct json *doc, *ops;

    buf_add_lit(&text, "[");
    for (int i = 0; i < 60; i++)
        buf_printf(&text, "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"/x%d\"}", i ? "," : "", i);
    buf_add_lit(&text, "]");
    assert_ok(json_parse(STR("{\"a\":1}"), &a, NULL, &doc, &err));
    assert_ok(json_parse(buf_str(&text), &a, NULL, &ops, &err));
    assert_true(patch_json(&doc, ops, &a, &err) < 0);
    assert_int_equal(err.reason, REASON_TOO_LARGE);
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
}

/* A hundred thousand members take no hundred thousand times as long: minutes, before. */
static void many_members(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};
    struct json *doc, *patch, *nulls;

    buf_add_lit(&text, "{\"data\":{");
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "%s\"k%d\":\"v\"", i ? "," : "", i);
    buf_add_lit(&text, "}}");
    assert_ok(json_parse(STR("{\"data\":{\"a\":\"1\",\"k7\":\"old\",\"k7\":\"older\"}}"), &a, NULL,
                         &doc, &err));
    assert_ok(json_parse(buf_str(&text), &a, NULL, &patch, &err));
    struct json *was = json_clone(doc, &a);
    assert_ok(patch_merge(&doc, patch, &a, &err));
    assert_ok(patch_merge(&doc, patch, &a, &err)); /* over itself */
    const struct json *data = json_getz(doc, "data");
    assert_int_equal(data->n, 100002);
    assert_str(json_get_str(data, STR("k7")), "v");
    assert_str(data->first->key, "a");
    assert_str(data->last->key, "k99999");
    assert_true(patch_strategic(&api_config_map_desc, &was, patch, &a, &err) < 0);
    assert_int_equal(err.reason, REASON_TOO_LARGE);
    /* and away again, but for one */
    nulls = json_clone(patch, &a);
    for (struct json *m = json_getz(nulls, "data")->first; m; m = m->next)
        if (!str_is(m->key, "k8"))
            m->type = JSON_NULL;
    assert_ok(patch_merge(&doc, nulls, &a, &err));
    data = json_getz(doc, "data");
    assert_int_equal(data->n, 2);
    assert_str(data->first->key, "a");
    assert_str(data->last->key, "k8");
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_patches),      cmocka_unit_test(merge_patches),
        cmocka_unit_test(strategic_patches), cmocka_unit_test(copies_cannot_explode),
        cmocka_unit_test(many_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
