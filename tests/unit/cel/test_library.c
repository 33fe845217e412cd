/* The libraries for values of the language: strings, format, lists, sets, regular expressions,
 * times, base64. */
#include "celtest.h"

#define ROWS(...)                                                                                  \
    static const struct cel_row rows[] = {__VA_ARGS__};                                            \
    struct cel_lab lab = {.env = cel_env_new(CEL_ENV_EXTRAS)};                                     \
    lab_json_var(&lab, "d", NULL, "{\"s\": \"text\", \"l\": [3, 1, 2], \"p\": \"t+\"}");           \
    lab_rows(&lab, rows, ARRAY_LEN(rows));                                                         \
    lab_fini(&lab)

static void test_strings(void **state)
{
    ROWS({"'hello'.startsWith('he')", "true"}, {"'hello'.startsWith('lo')", "false"},
         {"'hello'.endsWith('lo')", "true"}, {"'hello'.contains('ell')", "true"},
         {"'hello'.contains('')", "true"}, {"'hello'.charAt(1)", "\"e\""},
         {"'hello'.charAt(5)", "\"\""}, {"'hello'.charAt(6)", "error: index out of range: 6"},
         {"'h\303\251llo'.charAt(1)", "\"\303\251\""}, {"'hello mellow'.indexOf('ello')", "1"},
         {"'hello mellow'.indexOf('jello')", "-1"}, {"'hello mellow'.indexOf('ello', 2)", "7"},
         {"'hello mellow'.indexOf('')", "0"}, {"'\303\251\303\251a'.indexOf('a')", "2"},
         {"'abc'.indexOf('a', 5)", "error: index out of range: 5"},
         {"'hello mellow'.lastIndexOf('ello')", "7"},
         {"'hello mellow'.lastIndexOf('ello', 6)", "1"}, {"'hello'.lastIndexOf('')", "5"},
         {"'hello'.lastIndexOf('z')", "-1"}, {"'abc'.lastIndexOf('abcd')", "-1"},
         {"'TacoCat'.lowerAscii()", "\"tacocat\""},
         {"'TacoC\303\206t'.upperAscii()", "\"TACOC\303\206T\""},
         {"'hello hello'.replace('he', 'we')", "\"wello wello\""},
         {"'hello hello'.replace('he', 'we', 1)", "\"wello hello\""},
         {"'hello'.replace('he', 'we', 0)", "\"hello\""}, {"'abc'.replace('', '-')", "\"-a-b-c-\""},
         {"'abc'.replace('', '-', 2)", "\"-a-bc\""}, {"'hello'.replace('l', '')", "\"heo\""},
         {"'hello hello hello'.split(' ')", "[\"hello\", \"hello\", \"hello\"]"},
         {"'hello hello hello'.split(' ', 0)", "[]"}, {"'a b c'.split(' ', 1)", "[\"a b c\"]"},
         {"'a b c'.split(' ', 2)", "[\"a\", \"b c\"]"},
         {"'a b c'.split(' ', -1)", "[\"a\", \"b\", \"c\"]"},
         {"'ab\303\251'.split('')", "[\"a\", \"b\", \"\303\251\"]"}, {"''.split(',')", "[\"\"]"},
         {"['hello', 'mellow'].join()", "\"hellomellow\""},
         {"['hello', 'mellow'].join(' ')", "\"hello mellow\""}, {"[].join('/')", "\"\""},
         {"[1].join()", "refused: 'join' applied to 'list(int).()'"},
         {"'tacocat'.substring(4)", "\"cat\""}, {"'tacocat'.substring(0, 4)", "\"taco\""},
         {"'tacocat'.substring(-1)", "error: index out of range: -1"},
         {"'tacocat'.substring(2, 1)", "error: invalid substring range. start: 2, end: 1"},
         {"'t\303\251st'.substring(1, 3)", "\"\303\251s\""}, {"'  \\ttrim\\n '.trim()", "\"trim\""},
         {"'   '.trim()", "\"\""}, {"'\302\240x\302\240'.trim()", "\"x\""},
         {"strings.quote('a\"b\\n')", "\"\\\"a\\\\\\\"b\\\\n\\\"\""},
         {"'h\303\251y'.reverse()", "\"y\303\251h\""}, {"base64.encode(b'hello')", "\"aGVsbG8=\""},
         {"string(base64.decode('aGVsbG8='))", "\"hello\""},
         {"base64.decode('!')", "error: illegal base64 data"},
         {"jsonpatch.escapeKey('a/b~c')", "\"a~1b~0c\""}, {"d.s.startsWith('te')", "true"},
         {"'a'.charAt('b')", "refused: 'charAt' applied to 'string.(string)'"});
}

static void test_format(void **state)
{
    ROWS({"'%d of %s'.format([1, 'x'])", "refused: expected type 'int' but found 'string'"},
         {"'%d of %s'.format([dyn(1), 'x'])", "\"1 of x\""},
         {"'%s'.format([[1, 'a', 2.5]])", "refused: expected type"},
         {"'%s'.format([[dyn(1), 'a', 2.5]])", "\"[1, a, 2.5]\""},
         {"'%s'.format([{'k': true}])", "\"{k: true}\""}, {"'%%'.format([])", "\"%\""},
         {"'%f'.format([1.5])", "\"1.500000\""}, {"'%.2f'.format([2.0 / 3.0])", "\"0.67\""},
         {"'%e'.format([1052.032])", "\"1.052032e+03\""},
         {"'%.3e'.format([1052.032])", "\"1.052e+03\""}, {"'%b'.format([5])", "\"101\""},
         {"'%b'.format([true])", "\"1\""}, {"'%b'.format([-5])", "\"-101\""},
         {"'%o'.format([11])", "\"13\""}, {"'%x'.format([255])", "\"ff\""},
         {"'%X'.format([255u])", "\"FF\""}, {"'%x'.format(['hi'])", "\"6869\""},
         {"'%X'.format([b'hi\\xff'])", "\"6869FF\""},
         {"'%d'.format(['x'])",
          "error: error during formatting: %d clause cannot be used on string"},
         {"'%d'.format([])", "error: error during formatting: index 0 out of range"},
         {"'%q'.format([1])",
          "error: error during formatting: unrecognized formatting clause \"q\""},
         {"'%'.format([1])", "error: error during formatting: unexpected end of string"},
         {"'%s'.format([null])", "\"null\""}, {"'%s'.format([duration('90s')])", "\"90s\""},
         {"'%s'.format([timestamp('2024-01-01T00:00:00Z')])", "\"2024-01-01T00:00:00Z\""},
         {"'%s'.format([type(1)])", "\"int\""},
         {"'%d %d'.format([1u, -2])", "refused: expected type"}, {"'%d'.format([1u])", "\"1\""},
         {"'%.101f'.format([1.0])", "error: error during formatting: precision too large"},
         {"'%f'.format([double('inf')])", "\"Infinity\""});
}

static void test_lists(void **state)
{
    ROWS({"[1, 2, 3].isSorted()", "true"}, {"[2, 1].isSorted()", "false"},
         {"['a', 'b'].isSorted()", "true"}, {"[].isSorted()", "true"}, {"[1, 2, 3].sum()", "6"},
         {"[1.5, 2.5].sum()", "4"}, {"[].sum() == 0", "true"},
         {"[duration('1m'), duration('1s')].sum()", "duration(\"1m1s\")"}, {"[3, 1, 2].min()", "1"},
         {"[3, 1, 2].max()", "3"}, {"['b', 'a'].min()", "\"a\""}, {"d.l.max()", "3"},
         {"d.l.sum()", "6"}, {"d.l.isSorted()", "false"}, {"[1, 2, 2].indexOf(2)", "1"},
         {"[1, 2, 2].lastIndexOf(2)", "2"}, {"[1].indexOf(9)", "-1"},
         {"['a'].sum()", "refused: 'sum' applied to 'list(string).()'"},
         {"[[1]].min()", "refused: 'min'"},
         {"d.l.filter(x, x > 5).max()", "error: max called on empty list"},
         {"[9223372036854775807, 1].sum()", "error: integer overflow"},
         {"sets.contains([1, 2, 3], [1, 3])", "true"}, {"sets.contains([1], [1, 2])", "false"},
         {"sets.contains([], [])", "true"}, {"sets.equivalent([1, 2], [2, 1, 1])", "true"},
         {"sets.equivalent([1], [2])", "false"}, {"sets.intersects([1], [1, 2])", "true"},
         {"sets.intersects([1], [])", "false"}, {"sets.intersects([[1], [2]], [[2]])", "true"},
         {"sets.contains(d.l, [1, 2])", "true"});
}

static void test_regex(void **state)
{
    ROWS({"'hello'.matches('^h.*o$')", "true"}, {"matches('hello', 'ell')", "true"},
         {"'hello'.matches('^ell')", "false"}, {"'abc 123'.find('[0-9]+')", "\"123\""},
         {"'abc'.find('[0-9]+')", "\"\""},
         {"'123 abc 456'.findAll('[0-9]+')", "[\"123\", \"456\"]"},
         {"'123 abc 456'.findAll('[0-9]+', 1)", "[\"123\"]"}, {"'123'.findAll('[0-9]', 0)", "[]"},
         {"'abc'.findAll('x*')", "[\"\", \"\", \"\", \"\"]"},
         {"'baac'.findAll('a*')", "[\"\", \"aa\", \"\"]"},
         {"'x'.matches('(')",
          "refused: invalid matches argument: error parsing regexp: missing closing ): `(`"},
         {"d.s.matches(d.p)", "true"},
         {"d.s.matches(d.s + '(')", "error: error parsing regexp: missing closing ): `text(`"},
         {"'a'.matches('\\\\d')", "false"},
         {"['a1', 'b2'].all(s, s.matches(r'^[a-z]\\d$'))", "true"},
         {"'h\303\251'.find('.$')", "\"\303\251\""}, {"'ab'.matches(d.s)", "false"});
}

static void test_times(void **state)
{
    ROWS(
        {"timestamp('2023-01-15T10:30:00Z').getFullYear()", "2023"},
        {"timestamp('2023-01-15T10:30:00Z').getMonth()", "0"},
        {"timestamp('2023-01-15T10:30:00Z').getDate()", "15"},
        {"timestamp('2023-01-15T10:30:00Z').getDayOfMonth()", "14"},
        {"timestamp('2023-01-15T10:30:00Z').getDayOfWeek()", "0"},
        {"timestamp('2024-03-01T00:00:00Z').getDayOfYear()", "60"},
        {"timestamp('2023-01-15T10:30:45.678Z').getHours()", "10"},
        {"timestamp('2023-01-15T10:30:45.678Z').getMinutes()", "30"},
        {"timestamp('2023-01-15T10:30:45.678Z').getSeconds()", "45"},
        {"timestamp('2023-01-15T10:30:45.678Z').getMilliseconds()", "678"},
        {"timestamp('2023-01-15T10:30:00Z').getHours('+02:00')", "12"},
        {"timestamp('2023-01-15T23:30:00Z').getDate('02:00')", "16"},
        {"timestamp('2023-01-15T10:30:00Z').getHours('-03:30')", "7"},
        {"timestamp('2023-01-15T10:30:00Z').getHours('UTC')", "10"},
        {"timestamp('2023-01-15T10:30:00Z').getHours('Nowhere/City')",
         "error: unknown time zone Nowhere/City"},
        {"timestamp('2023-01-15T10:30:00Z').getHours('../etc/passwd')",
         "error: unknown time zone ../etc/passwd"},
        {"duration('1h30m').getHours()", "1"}, {"duration('1h30m').getMinutes()", "90"},
        {"duration('90s').getSeconds()", "90"}, {"duration('1.234s').getMilliseconds()", "234"},
        {"timestamp('2024-01-01T00:00:00Z') + duration('36h')",
         "timestamp(\"2024-01-02T12:00:00Z\")"},
        {"duration('1h') + timestamp('2024-01-01T00:00:00Z')",
         "timestamp(\"2024-01-01T01:00:00Z\")"},
        {"timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')",
         "duration(\"24h0m0s\")"},
        {"timestamp('2024-01-02T00:00:00.5Z') - duration('1s')",
         "timestamp(\"2024-01-01T23:59:59.5Z\")"},
        {"duration('1h') - duration('30m')", "duration(\"30m0s\")"},
        {"-duration('5s')", "duration(\"-5s\")"}, {"duration('1h') > duration('59m')", "true"},
        {"timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-01T00:00:00.000000001Z')", "true"},
        {"timestamp('2024-01-01T01:00:00+01:00') == timestamp('2024-01-01T00:00:00Z')", "true"},
        {"timestamp(0)", "timestamp(\"1970-01-01T00:00:00Z\")"},
        {"timestamp('x')", "refused: invalid timestamp argument"},
        {"duration('1y')", "refused: invalid duration argument"},
        {"duration(d.s)", "error: time: invalid duration \"text\""},
        {"timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"},
        {"timestamp('0001-01-01T00:00:00Z') - duration('1ns')", "error: timestamp overflow"},
        {"timestamp(253402300800)", "error: timestamp overflow"},
        {"timestamp('9999-01-01T00:00:00Z') - timestamp('0001-01-01T00:00:00Z')",
         "error: duration overflow"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings), cmocka_unit_test(test_format), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_regex),   cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
