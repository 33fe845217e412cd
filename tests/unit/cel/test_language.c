/* The language: literals, operators, macros, errors and how they are absorbed. */
#include "celtest.h"

#define ROWS(...)                                                                                  \
    static const struct cel_row rows[] = {__VA_ARGS__};                                            \
    struct cel_lab lab = {.env = cel_env_new(CEL_ENV_EXTRAS)};                                     \
    lab_json_var(&lab, "d", NULL,                                                                  \
                 "{\"n\": 1, \"u\": null, \"s\": \"text\", \"f\": 1.5, \"b\": true,"               \
                 " \"list\": [1, 2, 3], \"map\": {\"a\": 1, \"b-c\": 2}, \"empty\": {},"           \
                 " \"words\": [\"x\", \"y\"], \"two\": 2.0}");                                     \
    lab_rows(&lab, rows, ARRAY_LEN(rows));                                                         \
    lab_fini(&lab)

static void test_literals(void **state)
{
    ROWS({"1", "1"}, {"-1", "-1"}, {"0x1F", "31"}, {"-0x10", "-16"}, {"7u", "7u"},
         {"0xffu", "255u"}, {"1.5", "1.5"}, {".5", "0.5"}, {"1e3", "1000"}, {"-2.5e-3", "-0.0025"},
         {"1e300", "1e+300"}, {"-9223372036854775808", "-9223372036854775808"},
         {"9223372036854775807", "9223372036854775807"},
         {"9223372036854775808", "refused: invalid int literal"},
         {"18446744073709551615u", "18446744073709551615u"},
         {"18446744073709551616u", "refused: invalid uint literal"},
         {"1e999", "refused: invalid double literal"}, {"true", "true"}, {"false", "false"},
         {"null", "null"}, {"''", "\"\""}, {"'it'", "\"it\""}, {"\"it's\"", "\"it's\""},
         {"'''a'b\n'c'''", "\"a'b\\n'c\""}, {"\"\"\"x\"y\"\"\"", "\"x\\\"y\""},
         {"r'\\d+'", "\"\\\\d+\""}, {"R\"\\n\"", "\"\\\\n\""}, {"'\\u00e9'", "\"\303\251\""},
         {"'\\x41\\101\\U0001F600'", "\"AA\360\237\230\200\""},
         {"'\\a\\b\\f\\n\\r\\t\\v'", "\"\\x07\\x08\\x0c\\n\\r\\t\\x0b\""},
         {"'\\`\\?\\\\'", "\"`?\\\\\""}, {"'\\q'", "refused: invalid escape"},
         {"'\\ud800'", "refused: invalid unicode"}, {"'\\x4'", "refused: invalid escape"},
         {"'open", "refused: unterminated"}, {"'a\nb'", "refused: unterminated"},
         {"b'abc'", "b\"abc\""}, {"b'\\xff\\377'", "b\"\\377\\377\""},
         {"b'\303\277'", "b\"\\303\\277\""}, {"b'\\u00ff'", "refused: unicode in bytes"},
         {"br'\\x'", "b\"\\\\x\""}, {"bytes('\303\277')", "b\"\\303\\277\""}, {"[]", "[]"},
         {"[1, 2, 3]", "[1, 2, 3]"}, {"[1, 2,]", "[1, 2]"}, {"{}", "{}"},
         {"{'a': 1, 'b': 2}", "{\"a\": 1, \"b\": 2}"}, {"{1: 'x',}", "{1: \"x\"}"},
         {"{true: 1}", "{true: 1}"}, {"{'a': 1, 'a': 2}", "error: Failed with repeated key"},
         {"{1.5: 1}", "refused: unsupported map key"},
         {"[1, 'a']", "refused: expected type 'int' but found 'string'"},
         {"{'a': 1, 'b': 'c'}", "refused: expected type 'int' but found 'string'"},
         {"[1, dyn('a')]", "[1, \"a\"]"}, {"[[1], []]", "[[1], []]"}, {"[dyn(1), 2.0]", "[1, 2]"},
         {"1 // a comment\n + 2", "3"});
}

static void test_arithmetic(void **state)
{
    ROWS(
        {"1 + 2 * 3", "7"}, {"(1 + 2) * 3", "9"}, {"7 / 2", "3"}, {"-7 / 2", "-3"},
        {"-7 % 3", "-1"}, {"7u / 2u", "3u"}, {"7u % 4u", "3u"}, {"1.5 + 1.5", "3"},
        {"1.0 / 0.0", "+Inf"}, {"10 - 3 - 2", "5"}, {"- 5", "-5"}, {"--5", "5"}, {"---5", "-5"},
        {"-(5)", "-5"}, {"-d.n", "-1"}, {"!true", "false"}, {"!!true", "true"},
        {"1 / 0", "error: division by zero"}, {"1 % 0", "error: modulus by zero"},
        {"1u / 0u", "error: division by zero"},
        {"9223372036854775807 + 1", "error: integer overflow"},
        {"-9223372036854775808 - 1", "error: integer overflow"},
        {"9223372036854775807 * 2", "error: integer overflow"},
        {"-9223372036854775808 / -1", "error: integer overflow"},
        {"-9223372036854775808 % -1", "error: integer overflow"},
        {"-(-9223372036854775808)", "error: integer overflow"},
        {"0u - 1u", "error: unsigned integer overflow"},
        {"18446744073709551615u + 1u", "error: unsigned integer overflow"}, {"'a' + 'b'", "\"ab\""},
        {"b'a' + b'b'", "b\"ab\""}, {"[1] + [2, 3]", "[1, 2, 3]"}, {"[] + [1]", "[1]"},
        {"1 + 'a'", "refused: found no matching overload for '_+_' applied to '(int, string)'"},
        {"1 + 1u", "refused: found no matching overload for '_+_' applied to '(int, uint)'"},
        {"1 + 1.0", "refused: found no matching overload for '_+_' applied to '(int, double)'"},
        {"d.n + 'a'", "error: no such overload"}, {"d.n + d.f", "error: no such overload"},
        {"d.n + 1", "2"}, {"!1", "refused: found no matching overload for '!_' applied to '(int)'"},
        {"-'a'", "refused: '-_'"},
        {"true && 1", "refused: found no matching overload for '_&&_' applied to '(bool, int)'"});
}

static void test_compare(void **state)
{
    ROWS({"1 == 1", "true"}, {"1 != 1", "false"}, {"1 < 2", "true"}, {"2 <= 2", "true"},
         {"'b' > 'a'", "true"}, {"b'b' >= b'c'", "false"}, {"false < true", "true"},
         {"1 < 1.5", "true"}, {"1u < 2", "true"}, {"-1 < 0u", "true"}, {"1.5 > 1u", "true"},
         {"2.0 >= 2", "true"}, {"9007199254740993 > 9007199254740992.0", "true"},
         {"-1.0 < 0u", "true"}, {"1e30 > 9223372036854775807", "true"},
         {"1e30 > 18446744073709551615u", "true"},
         {"1 == 1.0", "refused: '_==_' applied to '(int, double)'"}, {"dyn(1) == 1.0", "true"},
         {"dyn(1) == 1u", "true"}, {"dyn(1u) == 1.5", "false"}, {"dyn(1) == 'a'", "false"},
         {"dyn(1) != 'a'", "true"}, {"d.two == 2", "true"}, {"0.0 / 0.0 == 0.0 / 0.0", "false"},
         {"0.0 / 0.0 < 1.0", "false"}, {"[1, 2] == [1, 2]", "true"}, {"[1] == [2]", "false"},
         {"[1] == [1, 2]", "false"}, {"[dyn(1)] == [dyn(1.0)]", "true"},
         {"{'a': 1} == {'a': 1}", "true"}, {"{'a': 1} == {'b': 1}", "false"},
         {"{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true"}, {"{'a': [1]} != {'a': [1]}", "false"},
         {"null == null", "true"}, {"d.u == null", "true"}, {"d.n == null", "false"},
         {"d.list == [1, 2, 3]", "true"}, {"d.map == {'a': 1, 'b-c': 2}", "true"},
         {"[1, 2, 3] == d.list", "true"}, {"type(1) == int", "true"},
         {"type(d.s) == string", "true"}, {"type(d) == map", "true"},
         {"type(type(1)) == type", "true"}, {"type(null) == null_type", "true"},
         {"type(duration('1s')) == google.protobuf.Duration", "true"}, {"1 in [1, 2]", "true"},
         {"3 in [1, 2]", "false"}, {"'a' in {'a': 1}", "true"}, {"'z' in {'a': 1}", "false"},
         {"dyn(1.0) in [1, 2]", "true"}, {"1 in d.list", "true"}, {"'a' in d.map", "true"},
         {"'zz' in d.map", "false"}, {"dyn(1.0) in {1: 'x'}", "true"},
         {"1 in 5", "refused: '@in' applied to '(int, int)'"}, {"'a' in 'abc'", "refused: '@in'"},
         {"'a' < 1", "refused: '_<_' applied to '(string, int)'"},
         {"1 < d.s", "error: no such overload"}, {"[1] < [2]", "refused: '_<_'"});
}

static void test_logic(void **state)
{
    ROWS({"true && false", "false"}, {"true || false", "true"}, {"false || false", "false"},
         {"1 / 0 == 1 || true", "true"}, {"true || 1 / 0 == 1", "true"},
         {"1 / 0 == 1 && false", "false"}, {"false && 1 / 0 == 1", "false"},
         {"1 / 0 == 1 && true", "error: division by zero"},
         {"1 / 0 == 1 || false", "error: division by zero"},
         {"d.n && true", "error: no such overload"}, {"d.n && false", "false"},
         {"d.n || true", "true"}, {"true ? 1 : 2", "1"}, {"false ? 1 : 2", "2"},
         {"true ? 1 : 1 / 0", "1"}, {"false ? 1 : true ? 2 : 3", "2"},
         {"1 / 0 == 1 ? 1 : 2", "error: division by zero"},
         {"d.s ? 1 : 2", "error: no such overload"},
         {"true ? 1 : 'a'",
          "refused: found no matching overload for '_?_:_' applied to '(bool, int, string)'"},
         {"1 ? 2 : 3", "refused: '_?_:_' applied to '(int, int, int)'"},
         {"true ? dyn(1) : 'a'", "1"}, {"true ? [] : [1]", "[]"},
         {"true && true && true && false || true", "true"});
}

static void test_select(void **state)
{
    ROWS({"d.n", "1"}, {"d.map.a", "1"}, {"d.map['b-c']", "2"}, {"d['n']", "1"}, {"d.list[0]", "1"},
         {"d.list[2]", "3"}, {"d.list[3]", "error: index out of bounds: 3"},
         {"d.list[-1]", "error: index out of bounds: -1"}, {"d.list[dyn(1.0)]", "2"},
         {"d.list[dyn(1.5)]", "error: index out of bounds: 1.5"},
         {"d.list['a']", "error: no such overload"}, {"d.missing", "error: no such key: missing"},
         {"d.n.x", "error: no such overload"}, {"d.u.x", "error: no such overload"},
         {"d['missing']", "error: no such key: missing"}, {"{'a': 1}.a", "1"},
         {"{'a': 1}.b", "error: no such key: b"}, {"{1: 'a'}[1]", "\"a\""},
         {"{1: 'a'}[2]", "error: no such key: 2"}, {"{1u: 'a'}[dyn(1)]", "\"a\""},
         {"[1, 2][1]", "2"}, {"has(d.n)", "true"}, {"has(d.u)", "true"},
         {"has(d.missing)", "false"}, {"has(d.map.a)", "true"}, {"has(d.map.z)", "false"},
         {"has({'a': 1}.a)", "true"}, {"has(d.n.x)", "error: no such overload"},
         {"has(d)", "refused: invalid argument to has() macro"},
         {"has(d['n'])", "refused: invalid argument to has() macro"},
         {"nope", "refused: undeclared reference to 'nope' (in container '')"},
         {"nope.x", "refused: undeclared reference to 'nope'"},
         {"f(1)", "refused: undeclared reference to 'f'"},
         {"d.f(1)", "refused: undeclared reference to 'f'"},
         {"'a'.b", "refused: type 'string' does not support field selection"}, {".d.n", "1"},
         {"d.size()", "10"}, {"size(d.list)", "3"}, {"d.empty == {}", "true"},
         {"size(d.empty)", "0"}, {"[1, 2][0u]", "refused: '_[_]' applied to '(list(int), uint)'"},
         {"d.list[d.n]", "2"}, {"[[1, 2], [3]][0][1]", "2"});
}

static void test_macros(void **state)
{
    ROWS({"[1, 2, 3].all(x, x > 0)", "true"}, {"[1, 2, 3].all(x, x > 1)", "false"},
         {"[].all(x, x > 0)", "true"}, {"[1, 2].exists(x, x == 2)", "true"},
         {"[1, 2].exists(x, x == 3)", "false"}, {"[].exists(x, true)", "false"},
         {"[1, 2, 2].exists_one(x, x == 2)", "false"}, {"[1, 2].exists_one(x, x == 2)", "true"},
         {"[1, 2].existsOne(x, x == 1)", "true"}, {"[1, 2, 3].map(x, x * 2)", "[2, 4, 6]"},
         {"[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"}, {"[1, 2, 3].filter(x, x != 2)", "[1, 3]"},
         {"{'a': 1, 'b': 2}.all(k, k != 'c')", "true"},
         {"{'a': 1, 'b': 2}.map(k, k + '!')", "[\"a!\", \"b!\"]"},
         {"{'a': 1, 'b': 2}.filter(k, k == 'a')", "[\"a\"]"}, {"d.list.map(x, x + 1)", "[2, 3, 4]"},
         {"d.map.map(k, k)", "[\"a\", \"b-c\"]"},
         {"[[1, 2], [3]].map(l, l.map(x, x * 10))", "[[10, 20], [30]]"},
         {"[1, 2].map(x, [3, 4].map(y, x * y))", "[[3, 4], [6, 8]]"},
         {"[1, 2].all(x, [1, 2].exists(y, x == y))", "true"}, {"[1, 0].all(x, 1 / x > 5)", "false"},
         {"[0, 2].all(x, 1 / x > 5)", "false"},
         {"[0, 1].all(x, 1 / x == 1)", "error: division by zero"},
         {"[0, 1].exists(x, 1 / x == 1)", "true"},
         {"[0, 2].exists(x, 1 / x == 1)", "error: division by zero"},
         {"[0, 1].exists_one(x, 1 / x == 1)", "error: division by zero"},
         {"[0].map(x, 1 / x)", "error: division by zero"}, {"[1].map(x, x).size()", "1"},
         {"[1, 2].filter(x, 'a')", "refused: '_?_:_' applied to '(string, int, int)'"},
         {"[1].all(x, 1)",
          "refused: found no matching overload for '_&&_' applied to '(bool, int)'"},
         {"5.all(x, true)", "refused: cannot be range of a comprehension"},
         {"[1].all(1, true)", "refused: argument must be a simple name"},
         {"[1].all(x.y, true)", "refused: argument must be a simple name"},
         {"d.n.all(x, true)", "error: no such overload"}, {"[1].all(d, d == 1)", "true"},
         {"[1].map(x, d.n)", "[1]"}, {"[10, 20].all(i, v, v > i)", "true"},
         {"{'a': 1}.all(k, v, k == 'a' && v == 1)", "true"},
         {"{'a': 1}.exists(k, v, v == 2)", "false"}, {"[5, 6].existsOne(i, v, v == 6)", "true"},
         {"[5, 6].transformList(i, v, i + v)", "[5, 7]"},
         {"[5, 6].transformList(i, v, i > 0, v)", "[6]"},
         {"{'a': 1, 'b': 2}.transformList(k, v, k + string(v))", "[\"a1\", \"b2\"]"},
         {"{'a': 1, 'b': 2}.transformMap(k, v, v * 10)", "{\"a\": 10, \"b\": 20}"},
         {"{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", "{\"b\": 2}"},
         {"['x', 'y'].transformMap(i, v, v)", "{0: \"x\", 1: \"y\"}"},
         {"['x', 'y'].transformMapEntry(i, v, {v: i})", "{\"x\": 0, \"y\": 1}"},
         {"['x', 'x'].transformMapEntry(i, v, {v: i})", "error: insert failed: key already exists"},
         {"[1].all(x, x, true)", "refused: duplicate iteration variable"},
         {"cel.bind(x, 1 + 1, x * x)", "4"}, {"cel.bind(x, 1 / 0, true || x == 1)", "true"},
         {"cel.bind(a, 2, cel.bind(b, a + 1, [1].map(x, x + a + b)))", "[6]"},
         {"cel.bind(l, [1, 2].map(x, x + 1), l.map(x, x * 2))", "[4, 6]"},
         {"d.words.all(w, w in ['x', 'y', 'z'])", "true"},
         {"[1, 2, 3].map(x, x % 2 == 0 ? 'even' : 'odd')", "[\"odd\", \"even\", \"odd\"]"});
}

static void test_optional(void **state)
{
    ROWS({"optional.of(1)", "optional(1)"}, {"optional.none()", "optional.none()"},
         {"optional.of(1).hasValue()", "true"}, {"optional.none().hasValue()", "false"},
         {"optional.of(1).value()", "1"},
         {"optional.none().value()", "error: optional.none() dereference"},
         {"optional.ofNonZeroValue(0)", "optional.none()"},
         {"optional.ofNonZeroValue('a')", "optional(\"a\")"},
         {"optional.ofNonZeroValue([])", "optional.none()"}, {"optional.none().orValue(5)", "5"},
         {"optional.of(1).orValue(1 / 0)", "1"},
         {"optional.none().or(optional.of(2))", "optional(2)"},
         {"optional.of(1).or(optional.of(2)).value()", "1"},
         {"optional.of(2).optMap(x, x * 2)", "optional(4)"},
         {"optional.none().optMap(x, 1 / 0)", "optional.none()"},
         {"optional.of(2).optFlatMap(x, x > 1 ? optional.of(x) : optional.none())", "optional(2)"},
         {"d.?n", "optional(1)"}, {"d.?missing", "optional.none()"}, {"d.?map.a", "optional(1)"},
         {"d.?missing.a.b", "optional.none()"}, {"d.?map.zz.orValue(7)", "7"},
         {"d.?n.orValue(3)", "1"}, {"d[?'n']", "optional(1)"}, {"d.list[?5]", "optional.none()"},
         {"d.list[?0].value()", "1"}, {"[1, 2][?1]", "optional(2)"},
         {"{'a': 1}[?'b']", "optional.none()"}, {"d.?list[1]", "optional(2)"},
         {"d.?list[?9].orValue(0)", "0"}, {"[?d.?n, ?d.?missing, 3]", "[1, 3]"},
         {"{?'a': d.?n, ?'b': d.?missing}", "{\"a\": 1}"}, {"has(d.?map.a)", "true"},
         {"has(d.?missing.a)", "false"},
         {"[?1]", "refused: expected type 'optional_type(int)' but found 'int'"},
         {"optional.of(1) == optional.of(1)", "true"},
         {"optional.of(1) == optional.none()", "false"}, {"d.?missing == optional.none()", "true"},
         {"d.?words.orValue([]).exists(w, w == 'y')", "true"},
         {"type(optional.of(1)) == optional_type", "true"},
         {"1.hasValue()", "refused: 'hasValue' applied to 'int.()'"});
}

static void test_convert(void **state)
{
    ROWS({"int('42')", "42"}, {"int('-7')", "-7"},
         {"int('x')", "error: strconv.ParseInt: parsing \"x\": invalid syntax"}, {"int(2.9)", "2"},
         {"int(-2.9)", "-2"}, {"int(1e30)", "error: integer overflow"}, {"int(5u)", "5"},
         {"int(18446744073709551615u)", "error: integer overflow"}, {"uint(5)", "5u"},
         {"uint(-1)", "error: unsigned integer overflow"}, {"uint('8')", "8u"}, {"uint(3.5)", "3u"},
         {"double('1.5')", "1.5"}, {"double('inf')", "+Inf"},
         {"double('0x1')", "error: strconv.ParseFloat: parsing \"0x1\": invalid syntax"},
         {"double(3)", "3"}, {"double(3u)", "3"}, {"string(1)", "\"1\""}, {"string(1u)", "\"1\""},
         {"string(1.0)", "\"1\""}, {"string(1.25e-7)", "\"1.25e-07\""},
         {"string(1e21)", "\"1e+21\""}, {"string(true)", "\"true\""}, {"string(b'abc')", "\"abc\""},
         {"string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"},
         {"string(duration('90s'))", "\"90s\""}, {"string(duration('1.5s'))", "\"1.5s\""},
         {"string(timestamp('2024-02-29T12:00:00.5Z'))", "\"2024-02-29T12:00:00.5Z\""},
         {"bool('true')", "true"}, {"bool('F')", "false"},
         {"bool('x')", "error: strconv.ParseBool: parsing \"x\": invalid syntax"},
         {"bytes('a')", "b\"a\""}, {"dyn(1) + 1", "2"}, {"type(1)", "int"}, {"type('a')", "string"},
         {"type([])", "list"}, {"int(timestamp('1970-01-01T00:01:00Z'))", "60"},
         {"string([1])", "refused: 'string' applied to '(list(int))'"},
         {"size('h\303\251llo')", "5"}, {"size(b'h\303\251')", "3"}, {"'abc'.size()", "3"},
         {"size({'a': 1})", "1"}, {"size(1)", "refused: 'size' applied to '(int)'"},
         {"0.1 + 0.2", "0.30000000000000004"}, {"100000000000000000000.0", "100000000000000000000"},
         {"123456.789", "123456.789"}, {"1.0e-5", "1e-05"});
}

static void test_syntax(void **state)
{
    ROWS({"", "refused: mismatched input '<EOF>' expecting an expression"},
         {"1 +", "refused: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>'"},
         {"(1", "refused: expecting ')'"}, {"[1", "refused: expecting ']'"},
         {"{1: 2", "refused: expecting '}'"}, {"{1 2}", "refused: expecting ':'"},
         {"1 2", "refused: mismatched input '2' expecting <EOF>"},
         {"a b", "refused: mismatched input 'b'"}, {"true ? 1", "refused: expecting ':'"},
         {"d.", "refused: expecting IDENTIFIER"}, {"d.in", "refused: expecting IDENTIFIER"},
         {"@", "refused: token recognition error"},
         {"while", "refused: reserved identifier: while"},
         {"namespace", "refused: reserved identifier: namespace"},
         {"d.namespace", "error: no such key: namespace"},
         {"1 = 1", "refused: token recognition error"},
         {"1 & 1", "refused: token recognition error"},
         {"\n\n  nope", "refused: ERROR: <input>:3:3: undeclared reference"},
         {"'\303\251' + nope", "refused: ERROR: <input>:1:7: undeclared"},
         {"1 + nope", "refused:  | 1 + nope\n | ....^"}, {"nope + nopf", "refused: 'nopf'"},
         {"Type{a: 1}", "refused: messages are not made here"}, {"f(1,)", "refused: an expression"},
         {"a.b(", "refused: mismatched input '<EOF>'"}, {"\"\xff\"", "refused: not valid UTF-8"});
}

static void test_limits(void **state)
{
    struct cel_lab lab = {.env = cel_env_new(0)};
    struct cel_result r;
    struct arena a = {0};
    struct buf b = {0};
    for (unsigned i = 0; i < 300; i++)
        buf_add_char(&b, '(');
    buf_add_char(&b, '1');
    for (unsigned i = 0; i < 300; i++)
        buf_add_char(&b, ')');
    assert_true(str_search(lab_run(&lab, b.data, &a, &r), STR("recursion limit exceeded: 250")) >
                0);
    buf_clear(&b);
    for (unsigned i = 0; i < 900; i++)
        buf_add_lit(&b, "1+");
    buf_add_char(&b, '1');
    assert_str(lab_run(&lab, b.data, &a, &r), "901");
    for (unsigned i = 0; i < 900; i++)
        buf_add_lit(&b, "+1");
    assert_true(str_search(lab_run(&lab, b.data, &a, &r), STR("recursion limit")) > 0);
    buf_clear(&b);
    for (unsigned i = 0; i < 3000; i++)
        buf_add_lit(&b, "true && ");
    buf_add_lit(&b, "true");
    assert_str(lab_run(&lab, b.data, &a, &r), "true"); /* balanced: not deep */
    buf_clear(&b);
    for (unsigned i = 0; i < CEL_TEXT_MAX; i++)
        buf_add_char(&b, ' ');
    buf_add_lit(&b, "1");
    assert_true(str_search(lab_run(&lab, b.data, &a, &r), STR("exceeds limit")) > 0);
    buf_fini(&b);
    arena_fini(&a);
    lab_fini(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals), cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_compare),  cmocka_unit_test(test_logic),
        cmocka_unit_test(test_select),   cmocka_unit_test(test_macros),
        cmocka_unit_test(test_optional), cmocka_unit_test(test_convert),
        cmocka_unit_test(test_syntax),   cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
