/* What mutating policies make: Object{...}, JSONPatch{...}, and both as JSON. */
#include "celtest.h"

static struct cel_lab lab_new(unsigned flags)
{
    struct cel_lab lab = {.env = cel_env_new(flags)};
    lab_json_var(&lab, "object", NULL, "{\"spec\":{\"n\":3,\"list\":[\"a\",\"b\"]}}");
    return lab;
}

static void test_language(void **state)
{
    static const struct cel_row rows[] = {
        {"Object{}.a == 1", "error: no such key: a"},
        {"Object{a: 1}.a", "1"},
        {"Object{a: Object.a{b: 'x'}}.a.b", "\"x\""},
        {"has(Object{a: 1}.a) && !has(Object{a: 1}.b)", "true"},
        {"Object{a: 1} == Object{a: 1}", "true"},
        {"Object{a: 1} == Object{a: 2}", "false"},
        {"Object{?a: optional.none(), ?b: optional.of(2)} == Object{b: 2}", "true"},
        {"Object{?a: 1}.a", "refused: expected type 'optional_type(int)' but found 'int'"},
        {"Object{a: 1, a: 2}", "error: Failed with repeated key"},
        {"Object{a: 1 / 0}", "error: division by zero"},
        {"Object{namespace: 1}.a", "error: no such key: a"},
        {"Object{x__dash__y: 1} == Object{x__dash__y: 1}", "true"},
        {"JSONPatch{op: 'add', path: '/a', value: 1}.path", "\"/a\""},
        {"JSONPatch{op: 1}", "refused: expected type of field 'op' is 'string' but provided type "
                             "is 'int'"},
        {"JSONPatch{nope: 1}", "refused: undefined field 'nope'"},
        {"JSONPatch{value: [1, 2]}.value[1]", "2"},
        {"[JSONPatch{op: 'a'}, Object{}]", "refused: expected type 'JSONPatch' but found 'Object'"},
        {"true ? Object{} : Object.spec{}", "refused: "},
        {"Other{a: 1}", "refused: undeclared reference to 'Other'"},
        {"Objects{a: 1}", "refused: undeclared reference to 'Objects'"},
        {"Object.spec", "refused: undeclared reference to 'Object'"},
        {"object.spec{a: 1}", "refused: undeclared reference to 'object.spec'"},
        {"size(object){a: 1}", "refused: "},
        {"Object{a 1}", "refused: Syntax error: mismatched input '1' expecting ':'"},
        {"Object{a: 1", "refused: Syntax error: mismatched input '<EOF>' expecting '}'"},
        {"Object{1: 1}", "refused: Syntax error"},
        {"jsonpatch.escapeKey('a/b~c')", "\"a~1b~0c\""},
        {"[1, 2].map(x, Object{a: x})[1].a", "2"},
    };
    struct cel_lab lab = lab_new(CEL_ENV_MUTATION);
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

/* Elsewhere there are none. */
static void test_elsewhere(void **state)
{
    static const struct cel_row rows[] = {
        {"Object{a: 1}", "refused: messages are not made here"},
        {"JSONPatch{op: ''}", "refused: messages are not made here"},
        {"jsonpatch.escapeKey('a')", "refused: undeclared reference to 'jsonpatch'"},
    };
    struct cel_lab lab = lab_new(0);
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
}

static void test_cost(void **state)
{
    struct cel_lab lab = lab_new(CEL_ENV_MUTATION);
    struct cel_result r;
    (void)lab_run(&lab, "Object{a: 1, b: Object.b{}}", &lab.arena, &r);
    assert_int_equal(r.cost, 80);
    lab_fini(&lab);
}

static void test_json(void **state)
{
    static const struct {
        const char *expr, *want;
    } rows[] = {
        {"Object{spec: Object.spec{n: 1u, x: [true], y: null, z: 1.5, m: {'k': 'v'}}}",
         "{\"spec\":{\"n\":1,\"x\":[true],\"y\":null,\"z\":1.5,\"m\":{\"k\":\"v\"}}}"},
        {"Object{spec: object.spec}", "{\"spec\":{\"n\":3,\"list\":[\"a\",\"b\"]}}"},
        {"Object{l: object.spec.list.map(x, Object.l{name: x})}",
         "{\"l\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"},
        {"[JSONPatch{op: 'add', path: '/a', value: Object.spec{x: Object.spec.x{}}}]",
         "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{\"x\":{}}}]"},
        {"Object{a: b'hi', t: timestamp('2020-01-02T03:04:05Z'), d: duration('90s')}",
         "{\"a\":\"aGk=\",\"t\":\"2020-01-02T03:04:05Z\",\"d\":\"1m30s\"}"},
        {"Object{spec: Object.wrong{}}",
         "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which "
         "matches field name path from root Object type"},
        {"Object{a: {1: 2}}", "a key of a map is not a string"},
        {"Object{a: quantity('1k')}", "a value has no form in JSON"},
    };
    struct cel_lab lab = lab_new(CEL_ENV_MUTATION);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cel_program *p = NULL;
        struct cel_result r;
        struct error err = {0};
        struct buf b = {0};
        struct json *v = NULL;
        struct cel_input in = {.vars = lab.vars, .n_vars = lab.n_vars};
        assert_int_equal(cel_compile(lab.env, str_z(rows[i].expr), NULL, &p, &err), 0);
        cel_eval(p, &in, &lab.arena, &r);
        assert_int_equal(r.outcome, CEL_OUTCOME_VALUE);
        if (cel_to_json(&r.value, &lab.arena, &v, &err) < 0)
            buf_add_str(&b, err.message);
        else
            json_print(v, &b);
        assert_string_equal(arena_cstr(&lab.arena, buf_str(&b)), rows[i].want);
        buf_fini(&b);
        error_fini(&err);
        cel_program_free(p);
    }
    lab_fini(&lab);
}

/* What says little may be told at length: a value is JSON of a bounded size. */
static void test_too_large(void **state)
{
    struct cel_lab lab = lab_new(CEL_ENV_MUTATION);
    struct cel_program *p = NULL;
    struct cel_result r;
    struct error err = {0};
    struct json *v = NULL;
    size_t n = 100000;
    char *text = malloc(n + 1);
    memset(text, 'x', n);
    text[n] = '\0';
    lab_var(&lab, "long", cel_type_of(CEL_STRING), cel_string(str_z(text)));
    struct cel_input in = {.vars = lab.vars, .n_vars = lab.n_vars};
    const char *expr = "[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, long))";
    assert_int_equal(cel_compile(lab.env, str_z(expr), NULL, &p, &err), 0);
    cel_eval(p, &in, &lab.arena, &r);
    assert_int_equal(r.outcome, CEL_OUTCOME_VALUE);
    assert_true(cel_to_json(&r.value, &lab.arena, &v, &err) < 0);
    assert_str(err.message, "the result is too large");
    error_fini(&err);
    cel_program_free(p);
    free(text);
    lab_fini(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language),  cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_cost),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
