/* The small things: queries, escapes, Accept, header lists, status texts. */
#include "http_test.h"

static void test_unescape(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
        bool plus;
    } rows[] = {
        {"", "", false},       {"abc", "abc", false},         {"a%20b", "a b", false},
        {"a+b", "a+b", false}, {"a+b", "a b", true},          {"%2F%2f", "//", false},
        {"%", NULL, false},    {"%2", NULL, false},           {"a%2", NULL, false},
        {"%zz", NULL, false},  {"%2x", NULL, false},          {"%00", NULL, false},
        {"%41", "A", false},   {"%c3%a4", "\xc3\xa4", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct str out;
        int r = http_unescape(&a, str_z(rows[i].in), rows[i].plus, &out);

        assert_int_equal(r, rows[i].out ? 0 : -EINVAL);
        if (rows[i].out)
            assert_string_equal(out.p, rows[i].out);
        arena_fini(&a);
    }
}

static void test_query(void **state)
{
    struct arena a = {0};
    struct str q = STR("&a=1&&b=x%20y&c&d=%zz&=e&f=1=2"), k, v;
    static const char *const want[] = {"a", "1",   "b", "x y", "c", "",
                                       "d", "%zz", "",  "e",   "f", "1=2"};
    size_t i = 0;

    while (http_query_next(&q, &a, &k, &v)) {
        assert_true(i + 1 < ARRAY_LEN(want) + 1);
        assert_true(str_eqz(k, want[i]) && str_eqz(v, want[i + 1]));
        i += 2;
    }
    assert_int_equal(i, ARRAY_LEN(want));
    q = STR_NONE;
    assert_false(http_query_next(&q, &a, &k, &v));
    arena_fini(&a);
}

static void test_accept(void **state)
{
    static const struct str offers[] = {{"application/json", 16},
                                        {"application/yaml", 16},
                                        {"application/vnd.kubernetes.protobuf", 35}};
    static const struct {
        const char *accept;
        int want;
    } rows[] = {
        {NULL, 0},
        {"", 0},
        {"*/*", 0},
        {"application/yaml", 1},
        {"APPLICATION/YAML", 1},
        {"application/*", 0},
        {"text/plain", -1},
        {"text/plain, */*;q=0.1", 0},
        {"application/json;q=0.5, application/yaml", 1},
        {"application/json;q=0", -1},
        {"*/*, application/json;q=0", 1},
        {"application/vnd.kubernetes.protobuf,application/json", 2},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 0},
        {"application/jso", -1},
        {",,application/yaml,,", 1},
        {"application/yaml;q=0.001, application/json;q=0.002", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int got = http_accept_pick(str_z(rows[i].accept), offers, 3);

        if (got != rows[i].want)
            fail_msg("%s: %d, wanted %d", rows[i].accept, got, rows[i].want);
    }
}

static void test_headers(void **state)
{
    struct http_header h[] = {{STR("connection"), STR("keep-alive, Upgrade")},
                              {STR("connection"), STR("te;q=1")}};

    assert_true(http_header_has_token(h, 2, STR("connection"), STR("upgrade")));
    assert_true(http_header_has_token(h, 2, STR("connection"), STR("te")));
    assert_false(http_header_has_token(h, 2, STR("connection"), STR("up")));
    assert_true(str_is(http_header_get(h, 2, STR("connection")), "keep-alive, Upgrade"));
    assert_null(http_header_get(h, 2, STR("x")).p);
    assert_true(http_header_name_valid(STR("x-y.z")));
    assert_false(http_header_name_valid(STR("")));
    assert_false(http_header_name_valid(STR("X")));
    assert_false(http_header_name_valid(STR("a b")));
    assert_false(http_header_name_valid((struct str){"a\0b", 3}));
    assert_true(http_header_value_valid(STR("a\tb \xc3\xa4")));
    assert_false(http_header_value_valid(STR("a\nb")));
    assert_false(http_header_value_valid((struct str){"a\0b", 3}));
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(999), "");
}

static void count_release(void *arg)
{
    ++*(int *)arg;
}

static void test_bytes(void **state)
{
    int n = 0;
    struct http_bytes b = {"abc", 3, count_release, &n};

    http_bytes_release(&b);
    http_bytes_release(&b);
    assert_int_equal(n, 1);
    b = http_bytes_copy(STR("x"));
    assert_int_equal(b.n, 1);
    http_bytes_release(&b);
    b = http_bytes_copy(STR(""));
    assert_null(b.release);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unescape), cmocka_unit_test(test_query),
        cmocka_unit_test(test_accept),   cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
