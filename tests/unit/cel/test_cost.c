/* Costs: what running costs, what the estimate says, and the bounds that end what costs too much.
 */
#include "celtest.h"

static void test_actual(void **state)
{
    static const struct {
        const char *expr;
        uint64_t cost;
    } ROWS[] = {
        {"true", 0},
        {"1 + 1", 1},
        {"x", 1},
        {"d.a", 2},
        {"d.l[0]", 3},
        {"has(d.a)", 1},
        {"x == 1", 2},
        {"x > 0 && x < 10", 4},
        {"x < 0 && x < 10", 2}, /* what is not looked at costs nothing */
        {"true ? 1 : x", 0},
        {"x > 0 ? x : 5", 2}, /* a branch that is a path: its steps only */
        {"x > 0 ? d.a : 5", 3},
        {"['a'].all(k, d[k] == 1)", 17},
        {"d['a' + '']", 3},
        {"'0123456789'.matches('[0-9]')", 4},
        {"[{'k1': 1}, {'k2': 2}].all(x, true)", 77},
        {"(1 > 2 || 2 > 1) == true", 3},
        {"bytes(s)", 2},
        {"[1, 2, 3]", 10},
        {"{'a': 1}", 30},
        {"[1, 2, 3].all(x, true)", 20},
        {"[1, 2, 3].exists(x, true)", 18},
        {"[1, 2].exists_one(x, true)", 16},
        {"[1, 2].map(x, 1)", 45},
        {"[1, 2].filter(x, true)", 47},
        {"1 in [1, 2, 3]", 13},
        {"s + 'abcdefghij'", 3}, /* a tenth of the characters of both */
        {"s == 'abcdefghij'", 2},
        {"s.startsWith('a')", 2},
        {"s.contains('abcdefghijk')", 3},
        {"s.matches('^[a-z]+$')", 5}, /* (10+1)/10 by 8/4 */
        {"s.lowerAscii()", 2},
        {"s.replace('a', 'b')", 3},
        {"size(s)", 2},
        {"[1, 2, 3].sum()", 13},
        {"quantity('1Gi').isLessThan(quantity('2Gi'))", 3},
        {"ip('127.0.0.1').isLoopback()", 2},
        {"optional.of(1).hasValue()", 2},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_var(&lab, "x", cel_type_of(CEL_INT), cel_int(1));
    lab_var(&lab, "s", cel_type_of(CEL_STRING), cel_string(STR("abcdefghij")));
    lab_json_var(&lab, "d", NULL, "{\"a\":1,\"l\":[1]}");
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct cel_result r;
        struct str got = lab_run(&lab, ROWS[i].expr, &lab.arena, &r);
        if (r.outcome != CEL_OUTCOME_VALUE || str_starts(got, STR("refused")) ||
            r.cost != ROWS[i].cost)
            fail_msg("%s cost %llu, not %llu: %.*s", ROWS[i].expr, (unsigned long long)r.cost,
                     (unsigned long long)ROWS[i].cost, STR_ARG(got));
    }
    lab_fini(&lab);
}

static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},"
    "\"s\":{\"type\":\"string\",\"maxLength\":100},"
    "\"long\":{\"type\":\"string\"},\"l\":{\"type\":\"array\","
    "\"maxItems\":10,\"items\":{\"type\":\"string\",\"maxLength\":20}},"
    "\"many\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"e\":{"
    "\"type\":\"string\",\"enum\":[\"ab\",\"abcde\"]},"
    "\"nest\":{\"type\":\"array\",\"maxItems\":50,\"items\":{\"type\":\"array\",\"maxItems\":10,"
    "\"items\":{\"type\":\"integer\"}}},"
    "\"mm\":{\"type\":\"object\",\"maxProperties\":5,\"additionalProperties\":{\"type\":\"object\","
    "\"maxProperties\":10,\"additionalProperties\":{\"type\":\"integer\"}}},"
    "\"m\":{\"type\":\"object\",\"maxProperties\":4,"
    "\"additionalProperties\":{\"type\":\"string\",\"maxLength\":50}}}}";

static void test_estimate(void **state)
{
    static const struct {
        const char *expr;
        uint64_t min, max;
    } ROWS[] = {
        {"true", 0, 0},
        {"self.n > 5", 3, 3},
        {"self.s == 'x'", 3, 3},
        {"self.s == self.s", 5, 14},
        {"self.s.startsWith('abc')", 3, 3},
        {"self.s.contains('abc')", 2, 12},
        {"self.s.matches('^[a-z]+$')", 4, 24},
        {"self.l.all(x, x == 'y')", 3, 53},
        {"self.l.all(x, x.size() < 3)", 3, 63},
        {"self.l.exists(x, x == 'y')", 3, 63},
        {"self.l.map(x, x)", 13, 143},
        {"self.l.map(x, x).all(y, y != '')", 14, 184},
        {"self.l.join(',')", 2, 23},
        {"self.m.all(k, self.m[k] == 'x')", 3, 35},
        {"self.n > 0 ? self.s.lowerAscii() == 'x' : true", 3, 16},
        {"self.n > 0 && self.n < 5", 3, 6},
        {"self.e + 'abcde'", 3, 3},
        {"has(self.s)", 1, 1},
        {"[1, 2, 3].all(x, x > 0)", 20, 26},
        {"self.l[0] == 'x'", 4, 4},
        {"self.nest.all(x, x.all(y, true))", 3, 1753},
        {"self.?s.hasValue()", 3, 3},
        {"dyn(self).?s.?t.hasValue()", 5, 5},
        {"self.mm.all(k, self.mm[k].all(x, true))", 3, 193},
        {"(self.l + self.l).all(x, true)", 6, 66},
        {"self.mm.all(k, self.mm[k].all(k, true) && self.n > 0)", 3, 208},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_json_var(&lab, "self", SCHEMA, "{}");
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct cel_program *p = NULL;
        struct error err = {0};
        if (cel_compile(lab.env, str_z(ROWS[i].expr), NULL, &p, &err) < 0)
            fail_msg("%s: %.*s", ROWS[i].expr, STR_ARG(err.message));
        struct cel_range r = cel_program_cost(p);
        if (r.min != ROWS[i].min || r.max != ROWS[i].max)
            print_error("%s is %llu to %llu\n", ROWS[i].expr, (unsigned long long)r.min,
                        (unsigned long long)r.max);
        assert_true(r.min == ROWS[i].min && r.max == ROWS[i].max);
        cel_program_free(p);
    }
    lab_fini(&lab);
}

static void test_estimate_unbounded(void **state)
{
    /* Without maxItems the size of a request is the bound; nested loops go over every limit. */
    static const struct {
        const char *expr;
        bool fits;
    } ROWS[] = {
        {"self.l.all(x, self.l.exists_one(y, x == y))", true},
        {"self.many.all(x, x != '')", true},
        {"self.many.all(x, self.many.exists_one(y, x == y))", false},
        {"self.many.all(x, x.contains('a'))", false},
        {"self.long.matches('^[a-z]*$')", true},
        {"dyn(self).q.all(x, x == 1)", false},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    lab_json_var(&lab, "self", SCHEMA, "{}");
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct cel_program *p = NULL;
        assert_ok(cel_compile(lab.env, str_z(ROWS[i].expr), NULL, &p, NULL));
        struct cel_range r = cel_program_cost(p);
        if ((r.max <= CEL_COST_ESTIMATE_MAX) != ROWS[i].fits)
            fail_msg("%s: %llu", ROWS[i].expr, (unsigned long long)r.max);
        cel_program_free(p);
    }
    lab_fini(&lab);
}

static bool now(void *ctx)
{
    return ++*(unsigned *)ctx >= 3;
}

static void test_stops(void **state)
{
    struct cel_lab lab = {.env = cel_env_new(CEL_ENV_EXTRAS)};
    struct buf b = {0};
    buf_add_char(&b, '[');
    for (unsigned i = 0; i < 2000; i++)
        buf_printf(&b, "%s%u", i ? "," : "", i);
    buf_add_char(&b, ']');
    lab_json_var(&lab, "l", NULL, b.data);
    buf_fini(&b);
    struct cel_result r;
    struct arena a = {0};
    /* by cost; what is cancelled is absorbed by nothing */
    assert_str(lab_run(&lab, "true || l.all(x, l.all(y, l.all(z, true)))", &a, &r), "true");
    assert_str(lab_run(&lab, "l.all(x, l.all(y, l.all(z, true))) || true", &a, &r),
               "cancelled: operation cancelled: actual cost limit exceeded");
    assert_true(r.cost > CEL_COST_CALL_MAX && r.cost < CEL_COST_CALL_MAX + 1000);
    assert_str(lab_run(&lab, "l.map(x, l.filter(y, y == x)) == []", &a, &r),
               "cancelled: operation cancelled: actual cost limit exceeded");
    /* by work: sharing makes comparing exponential while its cost is that of a pair */
    b = (struct buf){0};
    for (unsigned i = 0; i < 40; i++) {
        if (i)
            buf_printf(&b, "cel.bind(v%u, [v%u, v%u], ", i, i - 1, i - 1);
        else
            buf_add_lit(&b, "cel.bind(v0, [1], ");
    }
    buf_add_lit(&b, "v39 == dyn(v39) && v39 == v39");
    for (unsigned i = 0; i < 40; i++)
        buf_add_char(&b, ')');
    assert_str(lab_run(&lab, b.data, &a, &r), "cancelled: operation cancelled: too much work");
    buf_clear(&b);
    /* by memory: lists that double */
    for (unsigned i = 0; i < 40; i++) {
        if (i)
            buf_printf(&b, "cel.bind(v%u, v%u + v%u, ", i, i - 1, i - 1);
        else
            buf_add_lit(&b, "cel.bind(v0, [1, 2, 3, 4], ");
    }
    buf_add_lit(&b, "v39.size()");
    for (unsigned i = 0; i < 40; i++)
        buf_add_char(&b, ')');
    assert_str(lab_run(&lab, b.data, &a, &r), "cancelled: operation cancelled: too much memory");
    buf_fini(&b);
    /* by the caller */
    unsigned asked = 0;
    struct cel_program *p = NULL;
    struct cel_input in = {
        .vars = lab.vars, .n_vars = 1, .interrupted = now, .interrupted_ctx = &asked};
    assert_ok(cel_compile(lab.env, STR("l.all(x, true)"), NULL, &p, NULL));
    cel_eval(p, &in, &a, &r);
    assert_int_equal(r.outcome, CEL_OUTCOME_CANCELLED);
    assert_str(r.message, "operation interrupted");
    assert_int_equal(asked, 3);
    /* a limit of the caller's own */
    in = (struct cel_input){.vars = lab.vars, .n_vars = 1, .cost_max = 10};
    cel_eval(p, &in, &a, &r);
    assert_int_equal(r.outcome, CEL_OUTCOME_CANCELLED);
    cel_program_free(p);
    arena_fini(&a);
    lab_fini(&lab);
}

static void test_big_objects(void **state)
{
    /* Look-ups by place and name in big trees are no walks: a quarter million of them, each way. */
    struct cel_lab lab = {.env = cel_env_new(0)};
    struct buf b = {0}, o = {0};
    buf_add_char(&b, '[');
    buf_add_char(&o, '{');
    for (unsigned i = 0; i < 50000; i++) {
        buf_printf(&b, "%s%u", i ? "," : "", i);
        buf_printf(&o, "%s\"k%u\":%u", i ? "," : "", i, i);
    }
    buf_add_char(&b, ']');
    buf_add_char(&o, '}');
    lab_json_var(&lab, "l", NULL, b.data);
    lab_json_var(&lab, "m", NULL, o.data);
    struct cel_result r;
    struct arena a = {0};
    assert_str(lab_run(&lab, "l.all(x, l[x] == x)", &a, &r), "true");
    assert_str(lab_run(&lab, "m.all(k, m[k] >= 0)", &a, &r), "true");
    assert_str(lab_run(&lab, "l.transformMap(i, v, v).size()", &a, &r), "50000");
    buf_fini(&b);
    buf_fini(&o);
    arena_fini(&a);
    lab_fini(&lab);
}

static void test_big_strings(void **state)
{
    /* Within the limit of cost nothing else ends what is but large. */
    static const struct cel_row rows[] = {
        {"t.replace('a', 'bb').size()", "400000"},
        {"t.split('a').size()", "200001"},
        {"t.split('').size()", "200000"},
        {"t.findAll('a').size()", "200000"},
        {"t.indexOf('b')", "-1"},
        {"t.split('a').join('b') == t.replace('a', 'b')", "true"},
        {"t.matches('(a*)*b')", "false"},
        {"'%s'.format([t]).size()", "200000"},
    };
    struct cel_lab lab = {.env = cel_env_new(0)};
    char *text = malloc(200000);
    assert_non_null(text);
    memset(text, 'a', 200000);
    lab_var(&lab, "t", cel_type_of(CEL_STRING), cel_string((struct str){text, 200000}));
    lab_rows(&lab, rows, ARRAY_LEN(rows));
    lab_fini(&lab);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actual),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_estimate_unbounded),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_big_objects),
        cmocka_unit_test(test_big_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
