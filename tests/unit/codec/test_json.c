/* JSON trees: what is read, what is refused, what is printed, and how trees are changed. */
#include "test.h"

#include "codec/json.h"

static struct arena arena;

static struct json *parsed(const char *text)
{
    struct error err = {0};
    struct json *v = NULL;
    assert_ok(json_parse(str_z(text), &arena, NULL, &v, &err));
    error_fini(&err);
    return v;
}

static void assert_prints(const struct json *v, const char *expected)
{
    struct buf b = {0};
    json_print(v, &b);
    assert_str(buf_str(&b), expected);
    buf_fini(&b);
}

static void values_come_back_as_they_were(void **state)
{
    static const char *const same[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "0.1",
        "1e-7",
        "1e+21",
        "123456789012345680000",
        "\"\"",
        "\"a\"",
        "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\"",
        "[]",
        "{}",
        "[1,[2,[3]],{}]",
        "{\"a\":1,\"b\":{\"c\":[null,true]}}",
        "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"",
        "\"0123456789abcdef\\n0123456789\"",
        "{\"\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_prints(parsed(same[i]), same[i]);
    assert_prints(parsed(" [ 1 , 2.0 , 1e3, \"\\u00e4\\/\" ] "), "[1,2,1000,\"\xC3\xA4/\"]");
    assert_prints(parsed("18446744073709551615"), "18446744073709552000");
    arena_clear(&arena);
}

static void bad_input_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":}",
        "{\"a\"}",
        "{a:1}",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "\"",
        "\"\x01\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\xFF\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "1 2",
        "[1 2]",
        "NaN",
        "Infinity",
        "{\"a\":1,}",
        "// x\n1",
        "'a'",
        "\xEF\xBB\xBF{}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        struct json *v = NULL;
        int r = json_parse(str_z(bad[i]), &arena, NULL, &v, &err);
        if (r != -EINVAL)
            print_error("accepted: %s\n", bad[i]);
        assert_int_equal(r, -EINVAL);
        assert_int_equal(err.reason, REASON_BAD_REQUEST);
        assert_null(v);
        error_fini(&err);
        assert_false(json_valid(str_z(bad[i])));
    }
    struct error err = {0};
    struct json *v;
    assert_int_equal(json_parse(STR("{\n  \"a\": x\n}"), &arena, NULL, &v, &err), -EINVAL);
    assert_true(str_search(err.message, STR("line 2, column 8")) >= 0);
    error_fini(&err);
    arena_clear(&arena);
}

static void depth_and_size_are_bounded(void **state)
{
    struct buf b = {0};
    struct error err = {0};
    struct json *v;
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, '[');
    assert_int_equal(json_parse(buf_str(&b), &arena, NULL, &v, &err), -EINVAL);
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, ']');
    error_clear(&err);
    assert_int_equal(json_parse(buf_str(&b), &arena, NULL, &v, &err), -EINVAL);
    assert_true(str_search(err.message, STR("deeper")) >= 0);
    buf_clear(&b);
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buf_add_char(&b, '[');
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buf_add_char(&b, ']');
    assert_ok(json_parse(buf_str(&b), &arena, NULL, &v, &err));
    struct json_limits few = {.values_max = 3};
    error_clear(&err);
    assert_int_equal(json_parse(STR("[1,2,3]"), &arena, &few, &v, &err), -EINVAL);
    assert_ok(json_parse(STR("[1,2]"), &arena, &few, &v, NULL));
    struct arena small;
    arena_init(&small, 4096);
    buf_clear(&b);
    buf_add_lit(&b, "[0");
    for (int i = 0; i < 1000; i++)
        buf_add_lit(&b, ",0");
    buf_add_char(&b, ']');
    error_clear(&err);
    assert_int_equal(json_parse(buf_str(&b), &small, NULL, &v, &err), -EFBIG);
    assert_int_equal(err.reason, REASON_TOO_LARGE);
    arena_fini(&small);
    buf_fini(&b);
    error_fini(&err);
    arena_clear(&arena);
}

static void trees_can_be_changed(void **state)
{
    struct json *v = parsed("{\"a\":1,\"b\":[1,2,3],\"c\":{}}");
    json_set(v, STR("a"), json_new_str(&arena, STR("x")));
    json_set(v, STR("d"), json_new_bool(&arena, true));
    json_insert(json_getz(v, "b"), 0, json_new_int(&arena, 0));
    json_insert(json_getz(v, "b"), 4, json_new_null(&arena));
    assert_prints(v, "{\"a\":\"x\",\"b\":[0,1,2,3,null],\"c\":{},\"d\":true}");
    assert_non_null(json_remove_at(json_getz(v, "b"), 4));
    json_push(json_getz(v, "b"), json_new_int(&arena, 9));
    assert_non_null(json_remove_at(json_getz(v, "b"), 0));
    assert_null(json_remove_at(json_getz(v, "b"), 7));
    assert_non_null(json_remove(v, STR("d")));
    assert_null(json_remove(v, STR("d")));
    json_set(v, STR("e"), json_new_arr(&arena));
    assert_prints(v, "{\"a\":\"x\",\"b\":[1,2,3,9],\"c\":{},\"e\":[]}");
    struct json *copy = json_clone(v, &arena);
    assert_true(json_equal(v, copy));
    json_push(json_getz(copy, "e"), json_new_obj(&arena));
    assert_false(json_equal(v, copy));
    assert_int_equal(json_at(json_getz(v, "b"), 3)->i, 9);
    assert_null(json_at(json_getz(v, "b"), 4));
    assert_str(json_get_str(v, STR("a")), "x");
    assert_null(json_get_str(v, STR("b")).p);
    assert_null(json_getz(NULL, "x"));
    arena_clear(&arena);
}

/* A merge puts back what it found: the last one of a name that is there twice. */
static void a_member_takes_its_own_place(void **state)
{
    struct json *v = parsed("{\"a\":{\"x\":1},\"b\":2,\"a\":{\"x\":3},\"c\":4,\"a\":{\"x\":5}}");
    json_set(v, STR("a"), json_getz(v, "a"));
    assert_prints(v, "{\"a\":{\"x\":5},\"b\":2,\"c\":4}");
    assert_int_equal(v->n, 3);
    json_set(v, STR("c"), json_getz(v, "c"));
    json_push(v, json_new_null(&arena));
    assert_int_equal(v->n, 4);
    v = parsed("{\"a\":1,\"a\":2}");
    json_set(v, STR("a"), json_getz(v, "a"));
    json_set(v, STR("b"), json_new_int(&arena, 3));
    assert_prints(v, "{\"a\":2,\"b\":3}");
    arena_clear(&arena);
}

static void equality_ignores_member_order(void **state)
{
    assert_true(json_equal(parsed("{\"a\":1,\"b\":[1]}"), parsed("{\"b\":[1.0],\"a\":1}")));
    assert_false(json_equal(parsed("{\"a\":1}"), parsed("{\"a\":1,\"b\":null}")));
    assert_false(json_equal(parsed("[1,2]"), parsed("[2,1]")));
    assert_false(json_equal(parsed("\"1\""), parsed("1")));
    arena_clear(&arena);
}

static void invalid_utf8_is_printed_as_replacement(void **state)
{
    struct buf b = {0};
    json_print_str(STR("a\xFF\xC3\xA4\xE2\x82z01234567890123456789\xED\xA0\x80"), &b);
    assert_str(buf_str(&b), "\"a\xEF\xBF\xBD\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBDz01234567890123456789"
                            "\xEF\xBF\xBD\xEF\xBF\xBD"
                            "\xEF\xBF\xBD\"");
    buf_fini(&b);
    struct buf small = {.limit_bytes = 10};
    json_print_str(STR("0123456789"), &small);
    assert_true(small.overflow);
    buf_fini(&small);
}

static void pretty_printing_indents(void **state)
{
    struct buf b = {0};
    json_print_pretty(parsed("{\"a\":[1,{}],\"b\":{\"c\":null}}"), &b);
    assert_str(buf_str(&b),
               "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": null\n  }\n}");
    buf_fini(&b);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_they_were),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(trees_can_be_changed),
        cmocka_unit_test(a_member_takes_its_own_place),
        cmocka_unit_test(equality_ignores_member_order),
        cmocka_unit_test(invalid_utf8_is_printed_as_replacement),
        cmocka_unit_test(pretty_printing_indents),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return r;
}
