/* YAML, base64 and the protobuf wire. */
#include "test.h"

#include "codec/base64.h"
#include "codec/pb.h"
#include "codec/yaml.h"

static struct arena arena;

static void yaml_becomes_json(void **state)
{
    static const char *const rows[][2] = {
        {"a: 1", "{\"a\":1}"},
        {"", "null"},
        {"# only a comment\n", "null"},
        {"---\na: b\n---\n", "{\"a\":\"b\"}"},
        {"a: {b: [1, 2.5, x, 'y', \"z\"]}", "{\"a\":{\"b\":[1,2.5,\"x\",\"y\",\"z\"]}}"},
        {"- true\n- no\n- null\n- ~\n-\n- 'true'\n- y\n",
         "[true,false,null,null,null,\"true\",true]"},
        {"- 0x1F\n- 0o17\n- 0644\n- 1_000\n- -5\n- 1e3\n- .5\n- 1.2.3\n- 08\n- 2024-01-01\n",
         "[31,15,420,1000,-5,1000,0.5,\"1.2.3\",8,\"2024-01-01\"]"},
        {"a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"},
        {"base: &x {a: 1, b: 2}\nd:\n  <<: *x\n  b: 3\n",
         "{\"base\":{\"a\":1,\"b\":2},\"d\":{\"b\":3,\"a\":1}}"},
        {"t: |\n  one\n  two\nf: >-\n  a\n  b\n", "{\"t\":\"one\\ntwo\\n\",\"f\":\"a b\"}"},
        {"1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}"},
        {"v: !!str 12\nw: !!int '3'\n", "{\"v\":\"12\",\"w\":3}"},
        {"u: \"\xC3\xA4\"", "{\"u\":\"\xC3\xA4\"}"},
        {"a: \"\"\nb: ''", "{\"a\":\"\",\"b\":\"\"}"},
        {"{\"json\": [true, null]}", "{\"json\":[true,null]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct json *v = NULL;
        struct buf b = {0};
        if (yaml_parse(str_z(rows[i][0]), &arena, &v, &err) < 0)
            print_error("%s: %.*s\n", rows[i][0], STR_ARG(err.message));
        assert_non_null(v);
        json_print(v, &b);
        assert_str(buf_str(&b), rows[i][1]);
        buf_fini(&b);
        error_fini(&err);
    }
    arena_clear(&arena);
}

static void documents_come_one_by_one(void **state)
{
    struct str text = STR("a: 1\n---\n\xC3\xA4: 2\n---\n---\nc: 3\n...\n");
    static const char *const expected[] = {"{\"a\":1}", "{\"\xC3\xA4\":2}", NULL, "{\"c\":3}"};
    size_t offset = 0;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct json *v = NULL;
        struct buf b = {0};
        assert_int_equal(yaml_parse_next(text, &offset, &arena, &v, NULL), 1);
        if (expected[i]) {
            assert_non_null(v);
            json_print(v, &b);
            assert_str(buf_str(&b), expected[i]);
        } else {
            assert_null(v);
        }
        buf_fini(&b);
    }
    struct json *v;
    assert_int_equal(yaml_parse_next(text, &offset, &arena, &v, NULL), 0);
    arena_clear(&arena);
}

static void bad_yaml_is_refused(void **state)
{
    static const char *const bad[] = {
        "a: b: c",      "a: [1",       "{a: 1",      "a: 1\na: 2",           "*x",          "a: *x",
        "a: !custom b", "!foo {a: 1}", "? [a]\n: b", "a: 1\n---\nb: 2",      "a: \"\xFF\"", "\t- a",
        "a: &x [*x]",   "a: 'x",       "a: \"\\0\"", "%YAML 3.0\n---\na: 1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        struct json *v;
        int r = yaml_parse(str_z(bad[i]), &arena, &v, &err);
        if (r >= 0)
            print_error("accepted: %s\n", bad[i]);
        assert_int_equal(r, -EINVAL);
        assert_true(err.message.n > 0);
        error_fini(&err);
    }
    arena_clear(&arena);
}

static void alias_bombs_and_depth_are_bounded(void **state)
{
    struct buf b = {0};
    struct error err = {0};
    struct json *v;
    buf_add_lit(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++) {
        buf_printf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
        buf_add_lit(&b, "]\n");
    }
    assert_int_equal(yaml_parse(buf_str(&b), &arena, &v, &err), -EINVAL);
    buf_clear(&b);
    for (int i = 0; i < 900; i++)
        buf_add_char(&b, '[');
    error_clear(&err);
    assert_int_equal(yaml_parse(buf_str(&b), &arena, &v, &err), -EINVAL);
    buf_clear(&b);
    for (int i = 0; i < 5000; i++)
        buf_add_lit(&b, "- ");
    error_clear(&err);
    assert_int_equal(yaml_parse(buf_str(&b), &arena, &v, &err), -EINVAL);
    buf_fini(&b);
    error_fini(&err);
    arena_clear(&arena);
}

/* Neither depth behind an alias, nor many aliases, nor many merged members cost more than they
 * weigh. */
static void aliases_cost_what_they_weigh(void **state)
{
    struct json *v = NULL;
    struct error err = {0};
    struct buf b = {0};

    buf_add_lit(&b, "a: &a ");
    for (int i = 0; i < 90; i++)
        buf_add_lit(&b, "[");
    for (int i = 0; i < 90; i++)
        buf_add_lit(&b, "]");
    buf_add_lit(&b, "\nb: *a\n");
    assert_ok(yaml_parse(buf_str(&b), &arena, &v, &err));
    assert_true(json_equal(json_getz(v, "a"), json_getz(v, "b")));
    buf_clear(&b);
    for (int i = 0; i < 900; i++)
        buf_printf(&b, "a%d: &a%d 1\n", i, i);
    buf_add_lit(&b, "first: &again 1\nsecond: &again 2\nall: [");
    for (int i = 0; i < 100000; i++)
        buf_printf(&b, "%s*a0", i ? ", " : "");
    buf_add_lit(&b, ", *again]\n");
    assert_ok(yaml_parse(buf_str(&b), &arena, &v, &err));
    assert_int_equal(json_getz(v, "all")->n, 100001);
    assert_int_equal(json_getz(v, "all")->last->i, 2);
    buf_clear(&b);
    buf_add_lit(&b, "m: &m\n");
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, "  k%d: 1\n", i);
    buf_add_lit(&b, "o:\n  k7: 2\n  <<: *m\n");
    assert_ok(yaml_parse(buf_str(&b), &arena, &v, &err));
    assert_int_equal(json_getz(v, "o")->n, 50000);
    buf_clear(&b);
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, "%%TAG !a%d! tag:x\n", i);
    buf_add_lit(&b, "---\na: 1\n");
    struct json *none = NULL;
    assert_int_equal(yaml_parse(buf_str(&b), &arena, &none, &err), -EINVAL);
    assert_int_equal(json_getz(json_getz(v, "o"), "k7")->i, 2);
    buf_fini(&b);
    error_fini(&err);
    arena_clear(&arena);
}

static void yaml_printed_reads_back(void **state)
{
    static const char *const texts[] = {
        "{\"a\":1,\"b\":[\"x\",\"true\",\"12\",\"\",\"null\",\"a: b\",\"- "
        "c\",\"#d\"],\"c\":{},\"d\":[],\"e\":null}",
        "{\"t\":\"one\\ntwo\\n\",\"q\":\"say "
        "\\\"hi\\\"\",\"u\":\"\xC3\xA4\",\"y\":\"y\",\"f\":1.5,\"<<\":\"x\"}",
        "[[1,[2]],{\"a\":[{\"b\":false}]}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json *v, *back;
        struct buf b = {0};
        struct error err = {0};
        assert_ok(json_parse(str_z(texts[i]), &arena, NULL, &v, NULL));
        assert_ok(yaml_print(v, &b));
        if (yaml_parse(buf_str(&b), &arena, &back, &err) < 0)
            print_error("%.*s\n%.*s\n", STR_ARG(buf_str(&b)), STR_ARG(err.message));
        assert_true(json_equal(v, back));
        buf_fini(&b);
        error_fini(&err);
    }
    arena_clear(&arena);
}

static void texts_others_would_misread_are_quoted(void **state)
{
    static const char *const quoted[] = {"2026-11-23T22:34:52Z",
                                         "2024-01-01",
                                         "yes",
                                         "off",
                                         "0x1f",
                                         "1_000",
                                         "=",
                                         "<<",
                                         "1:30",
                                         "12e3",
                                         "~",
                                         "null",
                                         "",
                                         ".inf",
                                         "-1",
                                         "y"};
    static const char *const bare[] = {"nginx:1.25", "10.0.0.1",  "a-b", "v1",
                                       "2a",         "https://x", "500m"};
    for (size_t i = 0; i < ARRAY_LEN(quoted) + ARRAY_LEN(bare); i++) {
        bool q = i < ARRAY_LEN(quoted);
        struct buf b = {0};
        struct str text = str_z(q ? quoted[i] : bare[i - ARRAY_LEN(quoted)]);
        assert_ok(yaml_print(json_new_str(&arena, text), &b));
        if ((b.data[0] == '"') != q)
            print_error("printed %.*s\n", STR_ARG(buf_str(&b)));
        assert_int_equal(b.data[0] == '"', q);
        buf_fini(&b);
    }
    arena_clear(&arena);
}

static void base64_is_strict(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
    struct str s;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        base64_print(str_z(rows[i][0]), &b);
        assert_str(b.n ? buf_str(&b) : STR(""), rows[i][1]);
        assert_ok(base64_parse(str_z(rows[i][1]), &arena, &s));
        assert_str(s, rows[i][0]);
        assert_non_null(s.p);
        buf_clear(&b);
        base64url_print(str_z(rows[i][0]), &b);
        assert_int_equal(str_find(buf_str(&b), '='), -1);
        assert_ok(base64url_parse(buf_str(&b), &arena, &s));
        assert_str(s, rows[i][0]);
        buf_fini(&b);
    }
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z*==", "Zm9v\n", "=", "====", "-_-_"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(base64_parse(str_z(bad[i]), &arena, &s), -EINVAL);
    assert_int_equal(base64url_parse(STR("Zg=="), &arena, &s), -EINVAL);
    assert_int_equal(base64url_parse(STR("+/"), &arena, &s), -EINVAL);
    arena_clear(&arena);
}

static void wire_fields_come_back(void **state)
{
    struct buf b = {0};
    static const uint64_t numbers[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        pb_put_uint(&b, (uint32_t)i + 1, numbers[i]);
    size_t outer = pb_begin(&b, 100), inner = pb_begin(&b, 2);
    char big[300];
    memset(big, 'x', sizeof big);
    pb_put_bytes(&b, 3, (struct str){big, sizeof big});
    pb_end(&b, inner);
    pb_end(&b, outer);
    struct pb_reader r = pb_reader(buf_str(&b));
    uint32_t n;
    enum pb_wire w;
    uint64_t v;
    struct str s;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        assert_int_equal(pb_next(&r, &n, &w, &v, &s), 1);
        assert_int_equal(n, i + 1);
        assert_int_equal(v, numbers[i]);
    }
    for (int level = 0; level < 3; level++) {
        assert_int_equal(pb_next(&r, &n, &w, &v, &s), 1);
        assert_int_equal(w, PB_LEN);
        assert_int_equal(pb_next(&r, &n, &w, &v, &(struct str){0}), 0);
        r = pb_reader(s);
    }
    assert_int_equal(s.n, sizeof big);
    buf_fini(&b);
}

static void bad_wire_is_refused(void **state)
{
    static const struct str bad[] = {STR("\x08"),
                                     STR("\x0a\x05"
                                         "ab"),
                                     STR("\x07"),
                                     STR("\x0b"),
                                     STR("\x00\x01"),
                                     STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
                                     STR("\x09\x01\x02"),
                                     STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                                     STR("\x0d\x01")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pb_reader r = pb_reader(bad[i]);
        uint32_t n;
        enum pb_wire w;
        uint64_t v;
        struct str s;
        assert_int_equal(pb_next(&r, &n, &w, &v, &s), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_becomes_json),
        cmocka_unit_test(documents_come_one_by_one),
        cmocka_unit_test(bad_yaml_is_refused),
        cmocka_unit_test(alias_bombs_and_depth_are_bounded),
        cmocka_unit_test(aliases_cost_what_they_weigh),
        cmocka_unit_test(yaml_printed_reads_back),
        cmocka_unit_test(texts_others_would_misread_are_quoted),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(wire_fields_come_back),
        cmocka_unit_test(bad_wire_is_refused),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return r;
}
