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
    assert_int_equal(data->n, 100001);
    assert_str(json_get_str(data, STR("k7")), "v");
    assert_str(data->first->key, "a");
    assert_str(data->last->key, "k99999");
    assert_ok(patch_strategic(&api_config_map_desc, &was, patch, &a, &err));
    assert_true(json_equal(was, doc));
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

static struct json *parsed(struct arena *a, struct buf *text)
{
    struct json *v = NULL;
    assert_ok(json_parse(buf_str(text), a, NULL, &v, NULL));
    buf_clear(text);
    return v;
}

/* As many operations as there may be, all on members of one object. */
static void many_operations(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};
    int n = PATCH_OPS_MAX / 5;

    buf_add_lit(&text, "[");
    for (int i = 0; i < n; i++)
        buf_printf(&text,
                   "%s{\"op\":\"copy\",\"from\":\"/v\",\"path\":\"/o/a%d\"},"
                   "{\"op\":\"test\",\"path\":\"/o/a%d\",\"value\":1},"
                   "{\"op\":\"replace\",\"path\":\"/o/a%d\",\"value\":%d},"
                   "{\"op\":\"move\",\"from\":\"/o/a%d\",\"path\":\"/o/b%d\"},",
                   "", i, i, i, i, i, i);
    for (int i = 0; i < n - 1; i++) /* from both ends by turns, all but one */
        buf_printf(&text, "%s{\"op\":\"remove\",\"path\":\"/o/b%d\"}", i ? "," : "",
                   i % 2 ? n - 1 - i / 2 : i / 2);
    buf_add_lit(&text, "]");
    struct json *ops = parsed(&a, &text), *doc;
    buf_add_lit(&text, "{\"v\":1,\"o\":{\"first\":0}}");
    doc = parsed(&a, &text);
    assert_ok(patch_json(&doc, ops, &a, &err));
    const struct json *o = json_getz(doc, "o");
    assert_int_equal(o->n, 2);
    assert_str(o->first->key, "first");
    assert_ptr_equal(o->first->next, o->last);
    assert_int_equal(o->last->i, n / 2);
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
}

static void deep_copies(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0}, path = {0};
    size_t depth = 1;

    /* each copies the whole tree below its deepest member: twice as deep every time */
    buf_add_lit(&text, "[");
    for (int i = 0; i < 16; i++) {
        for (; path.n < depth * 2;)
            buf_add_lit(&path, "/x");
        buf_printf(&text, "%s{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"%.*s/x\"}", i ? "," : "",
                   STR_ARG(buf_str(&path)));
        depth *= 2;
    }
    buf_add_lit(&text, "]");
    struct json *ops = parsed(&a, &text);
    buf_add_lit(&text, "{\"x\":{}}");
    struct json *doc = parsed(&a, &text);
    assert_true(patch_json(&doc, ops, &a, &err) < 0);
    assert_str(err.message, "JSON patch: its result is nested deeper than 200 levels");
    buf_fini(&text);
    buf_fini(&path);
    error_fini(&err);
    arena_fini(&a);
}

/* Counting to elements of an array has a limit; adding to its end costs nothing. */
static void long_arrays(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};

    buf_add_lit(&text, "[0");
    for (int i = 1; i < 100000; i++)
        buf_add_lit(&text, ",0");
    buf_add_lit(&text, "]");
    struct json *doc = parsed(&a, &text);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 5000; i++)
            buf_printf(&text, "%s{\"op\":\"add\",\"path\":\"/%s\",\"value\":1}", i ? "," : "[",
                       k ? "50000" : "-");
        buf_add_lit(&text, "]");
        int r = patch_json(&doc, parsed(&a, &text), &a, &err);
        assert_int_equal(r < 0, k);
    }
    assert_int_equal(err.reason, REASON_TOO_LARGE);
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
}

/* Keyed lists and lists of strings of tens of thousands: changed, deleted, put in order. */
static void many_elements(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};
    int n = 30000;

    buf_add_lit(&text, "{\"metadata\":{\"finalizers\":[\"f0\"");
    for (int i = 1; i < n; i++)
        buf_printf(&text, ",\"f%d\"", i);
    buf_add_lit(&text, "]},\"spec\":{\"containers\":[{\"name\":\"c0\"}");
    for (int i = 1; i < n; i++)
        buf_printf(&text, ",{\"name\":\"c%d\"}", i);
    buf_add_lit(&text, "]}}");
    struct json *doc = parsed(&a, &text);
    buf_add_lit(&text, "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"f0\"");
    for (int i = 2; i < n; i += 2)
        buf_printf(&text, ",\"f%d\"", i);
    buf_add_lit(&text, "],\"finalizers\":[\"g\"");
    for (int i = 1; i < n; i += 2)
        buf_printf(&text, ",\"f%d\"", i);
    buf_add_lit(&text, "]},\"spec\":{\"containers\":[{\"name\":\"new\"}");
    for (int i = 0; i < n; i++)
        buf_printf(&text, ",{\"name\":\"c%d\",\"%s\":\"%s\"}", i, i % 2 ? "image" : "$patch",
                   i % 2 ? "x" : "delete");
    buf_add_lit(&text, "],\"$setElementOrder/containers\":[{\"name\":\"new\"}");
    for (int i = n - 1; i > 0; i -= 2)
        buf_printf(&text, ",{\"name\":\"c%d\"}", i);
    buf_add_lit(&text, "]}}");
    struct json *patch = parsed(&a, &text);
    assert_ok(patch_strategic(&api_pod_desc, &doc, patch, &a, &err));
    const struct json *f = json_getz(json_getz(doc, "metadata"), "finalizers");
    const struct json *c = json_getz(json_getz(doc, "spec"), "containers");
    assert_int_equal(f->n, n / 2 + 1);
    assert_str(f->first->s, "f1");
    assert_str(f->last->s, "g");
    assert_int_equal(c->n, n / 2 + 1);
    assert_str(json_get_str(c->first, STR("name")), "new");
    assert_str(json_get_str(c->first->next, STR("name")), "c29999");
    assert_str(json_get_str(c->last, STR("name")), "c1");
    assert_str(json_get_str(c->last, STR("image")), "x");
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_patches),      cmocka_unit_test(merge_patches),
        cmocka_unit_test(strategic_patches), cmocka_unit_test(copies_cannot_explode),
        cmocka_unit_test(many_members),      cmocka_unit_test(many_operations),
        cmocka_unit_test(deep_copies),       cmocka_unit_test(long_arrays),
        cmocka_unit_test(many_elements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
