/* Selectors: the grammar, what matches, and the words of refusals (those of Kubernetes 1.36). */
#include "schema/select.h"

#include "schema/schema.h"
#include "test.h"

static const struct kv_str LABELS[] = {{{"app", 3}, {"web", 3}},
                                       {{"empty", 5}, {"", 0}},
                                       {{"n", 1}, {"10", 2}},
                                       {{"tier", 4}, {"front", 5}}};

static void test_match(void **state)
{
    static const struct {
        const char *text;
        bool match;
    } ROWS[] = {
        {"", true},
        {"app=web", true},
        {"app==web", true},
        {"app=db", false},
        {"app!=db", true},
        {"app!=web", false},
        {"gone!=x", true},
        {"app", true},
        {"gone", false},
        {"!gone", true},
        {"!app", false},
        {"! app", false},
        {"app in (db,web)", true},
        {"app in (db)", false},
        {"app notin (db)", true},
        {"app notin (db,web)", false},
        {"gone notin (x)", true},
        {"empty=", true},
        {"empty in (,)", true},
        {"empty in ()", false},
        {"app=web,tier=front", true},
        {" app = web , tier in ( front , back ) ", true},
        {"app=web,tier=back", false},
        {"n>9", true},
        {"n>10", false},
        {"n<11", true},
        {"app>1", false},
        {"gone<1", false},
        {"in=x", false},
        {"notin", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct label_selector s = {0};
        struct error err = {0};
        if (label_selector_parse(&a, str_z(ROWS[i].text), &s, &err) < 0) {
            assert_string_equal(ROWS[i].text, "empty in ()"); /* the only one refused */
        } else if (label_selector_match(&s, LABELS, ARRAY_LEN(LABELS)) != ROWS[i].match) {
            fail_msg("\"%s\" should%s match", ROWS[i].text, ROWS[i].match ? "" : " not");
        } else { /* its canonical text means the same */
            struct label_selector again = {0};
            struct str text = label_selector_print(&a, &s);
            assert_ok(label_selector_parse(&a, text, &again, &err));
            assert_int_equal(label_selector_match(&again, LABELS, ARRAY_LEN(LABELS)),
                             ROWS[i].match);
            assert_true(str_eq(label_selector_print(&a, &again), text));
        }
        error_fini(&err);
        arena_fini(&a);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } ROWS[] = {
        {"=x", "found '=', expected: !, identifier, or 'end of string'"},
        {"app=web,", "found '', expected: identifier after ','"},
        {",", "found ',', expected: !, identifier, or 'end of string'"},
        {"app=web tier", "found 'tier', expected: ',' or 'end of string'"},
        {"app in", "unable to parse requirement: found '' expected: '('"},
        {"app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"},
        {"app in (a", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"app in ()", "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' "
                      "operators, values set can't be "
                      "empty"},
        {"app=(", "unable to parse requirement: found '(', expected: identifier"},
        {"app like x",
         "unable to parse requirement: found 'like', expected: in, notin, =, ==, !=, gt, lt"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"n>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' "
                "operators, the value must be an "
                "integer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct label_selector s = {0};
        struct error err = {0};
        assert_int_equal(label_selector_parse(&a, str_z(ROWS[i].text), &s, &err), -EINVAL);
        assert_str(err.message, ROWS[i].message);
        assert_int_equal(err.reason, REASON_BAD_REQUEST);
        error_fini(&err);
        arena_fini(&a);
    }
}

static void test_bad_names(void **state)
{
    static const char *const TEXTS[] = {"a/b/c=d", "/x=1",   "-a",    "a=-b",
                                        "a=b_",    "A..b/c", "\xff=1"};
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct arena a = {0};
        struct label_selector s = {0};
        struct error err = {0};
        assert_int_equal(label_selector_parse(&a, str_z(TEXTS[i]), &s, &err), -EINVAL);
        assert_true(str_search(err.message, STR("Invalid value")) >= 0);
        error_fini(&err);
        arena_fini(&a);
    }
}

static void test_limits(void **state)
{
    struct arena a = {0};
    struct label_selector s = {0};
    struct error err = {0};
    struct buf b = {0};
    for (int i = 0; i <= SELECT_REQS_MAX; i++)
        buf_printf(&b, "%sa%d", i ? "," : "", i);
    assert_int_equal(label_selector_parse(&a, buf_str(&b), &s, &err), -EINVAL);
    assert_true(str_search(err.message, STR("too many requirements")) >= 0);
    buf_clear(&b);
    error_clear(&err);
    buf_add_lit(&b, "a in (x");
    for (int i = 0; i <= SELECT_VALUES_MAX; i++)
        buf_printf(&b, ",v%d", i);
    buf_add_lit(&b, ")");
    assert_int_equal(label_selector_parse(&a, buf_str(&b), &s, &err), -EINVAL);
    assert_true(str_search(err.message, STR("too many values")) >= 0);
    buf_fini(&b);
    error_fini(&err);
    arena_fini(&a);
}

static void test_compile(void **state)
{
    struct arena a = {0};
    struct error err = {0};
    struct label_selector s = {0};
    struct str values[] = {STR("web"), STR("db")};
    struct api_label_selector_requirement e = {
        .key = STR("app"), .operator= STR("In"), .values = values, .n_values = 2};
    struct kv_str tier = {STR("tier"), STR("front")};
    struct api_label_selector in = {.match_labels = &tier,
                                    .n_match_labels = 1,
                                    .match_expressions = &e,
                                    .n_match_expressions = 1};
    assert_ok(label_selector_compile(&a, &in, &s, &err));
    assert_true(label_selector_match(&s, LABELS, ARRAY_LEN(LABELS)));
    assert_str(label_selector_print(&a, &s), "app in (db,web),tier=front");
    assert_str(values[0], "web"); /* untouched */
    assert_ok(label_selector_compile(&a, NULL, &s, &err));
    assert_false(label_selector_match(&s, NULL, 0));
    assert_ok(label_selector_compile(&a, &(struct api_label_selector){0}, &s, &err));
    assert_true(label_selector_is_all(&s) && label_selector_match(&s, NULL, 0));
    e.operator= STR("Gt"); /* only nodes know it */
    assert_int_equal(label_selector_compile(&a, &in, &s, &err), -EINVAL);
    assert_str(err.message, "\"Gt\" is not a valid label selector operator");
    struct str nine = STR("9");
    struct api_node_selector_requirement ne = {
        .key = STR("n"), .operator= STR("Gt"), .values = &nine, .n_values = 1};
    assert_ok(label_selector_compile_node(&a, &ne, 1, &s, NULL));
    assert_true(label_selector_match(&s, LABELS, ARRAY_LEN(LABELS)));
    error_fini(&err);
    arena_fini(&a);
}

static void test_fields(void **state)
{
    static const struct {
        const char *text;
        bool match;
    } ROWS[] = {
        {"", true},
        {"metadata.name=p", true},
        {"metadata.name==p,spec.nodeName=n1", true},
        {"metadata.name!=p", false},
        {"spec.nodeName=", false},
        {"status.phase!=Running", true},
        {"status.phase=", true},
        {"spec.hostNetwork=true", true},
        {"spec.hostNetwork=false", false},
        {"spec.host=n1", true},
        {"metadata.namespace=d\\,e", false},
        {",,metadata.name=p,", true},
    };
    struct api_pod pod = {.metadata = {.name = STR("p"), .namespace = STR("d")},
                          .spec = {.node_name = STR("n1"), .host_network = true}};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct field_selector s = {0};
        assert_ok(field_selector_parse(&a, schema_kinds[KIND_POD], str_z(ROWS[i].text), &s, NULL));
        if (field_selector_match(&s, &pod) != ROWS[i].match)
            fail_msg("\"%s\" should%s match", ROWS[i].text, ROWS[i].match ? "" : " not");
        arena_fini(&a);
    }
}

static void test_fields_refused(void **state)
{
    static const struct {
        enum kind_id kind;
        const char *text, *message;
    } ROWS[] = {
        {KIND_POD, "spec.foo=1", "field label not supported: spec.foo"},
        {KIND_POD, "spec.containers=1", "field label not supported: spec.containers"},
        {KIND_CONFIG_MAP, "data=1",
         "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""},
        {KIND_NODE, "metadata.namespace=x", "field label not supported: metadata.namespace"},
        {KIND_POD, "metadata.name",
         "invalid selector: 'metadata.name'; can't understand 'metadata.name'"},
        {KIND_POD, "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"},
        {KIND_POD, "metadata.name=a\\x", "invalid field selector: invalid escape sequence: \\x"},
        {KIND_POD, "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct field_selector s = {0};
        struct error err = {0};
        assert_int_equal(
            field_selector_parse(&a, schema_kinds[ROWS[i].kind], str_z(ROWS[i].text), &s, &err),
            -EINVAL);
        assert_str(err.message, ROWS[i].message);
        error_fini(&err);
        arena_fini(&a);
    }
}

/* Every field a kind says it is selectable by can be compiled. */
static void test_all_selectable(void **state)
{
    for (int k = 0; k < _KIND_MAX; k++) {
        for (const char *const *f = schema_kinds[k]->selectable; f && *f; f++) {
            struct arena a = {0};
            struct field_selector s = {0};
            struct error err = {0};
            struct str text = arena_printf(&a, "%s=x", *f);
            if (field_selector_parse(&a, schema_kinds[k], text, &s, &err) < 0)
                fail_msg("%s: %.*s", schema_kinds[k]->kind, STR_ARG(err.message));
            assert_str(field_selector_exact(&s, str_z(*f)), "x");
            error_fini(&err);
            arena_fini(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_names),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_compile),        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_refused), cmocka_unit_test(test_all_selectable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
