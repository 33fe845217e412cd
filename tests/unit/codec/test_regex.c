/* The regular expressions: RE2's syntax, leftmost-first matches, what is refused and how, and time
 * that does not explode. */
#include "base/buf.h"
#include "codec/regex.h"
#include "test.h"

static void test_find(void **state)
{
    static const struct {
        const char *re, *text, *want; /* NULL: no match */
    } ROWS[] = {
        {"abc", "xabcx", "abc"},
        {"a|ab", "ab", "a"},
        {"ab|a", "ab", "ab"},
        {"(a|ab)(c|bcd)", "abcd", "abcd"},
        {"a*", "aaa", "aaa"},
        {"a*?", "aaa", ""},
        {"a+?", "aaa", "a"},
        {"a??b", "ab", "ab"},
        {"a{2}", "aaa", "aa"},
        {"a{2,}", "aaaa", "aaaa"},
        {"a{1,2}", "aaa", "aa"},
        {"a{1,2}?", "aaa", "a"},
        {"a{0}b", "ab", "b"},
        {"a{,2}", "a{,2}", "a{,2}"},
        {"a{x", "a{x", "a{x"},
        {"(ab){2}", "ababab", "abab"},
        {"x*", "abc", ""},
        {"[abc]+", "xxcabx", "cab"},
        {"[^abc]+", "abxyc", "xy"},
        {"[a-c]+", "xabcd", "abc"},
        {"[]a]+", "x]a]", "]a]"},
        {"[^]a]+", "]x]", "x"},
        {"[a-]+", "x-a", "-a"},
        {"[\\]\\\\]+", "x\\]", "\\]"},
        {"\\d+", "ab123", "123"},
        {"\\D+", "12ab", "ab"},
        {"\\w+", "-a_1-", "a_1"},
        {"\\W", "a-b", "-"},
        {"\\s", "a b", " "},
        {"\\S+", " ab ", "ab"},
        {"[\\d-]+", "a1-2", "1-2"},
        {"[[:alpha:]]+", "12ab", "ab"},
        {"[[:^alpha:]]+", "ab12", "12"},
        {"[[:space:]a]+", "b a", " a"},
        {"^a", "ba", NULL},
        {"^b", "ba", "b"},
        {"a$", "ab", NULL},
        {"b$", "ab", "b"},
        {"(?m)^b$", "a\nb\nc", "b"},
        {"^b$", "a\nb", NULL},
        {"\\Aab\\z", "ab", "ab"},
        {"\\bfoo\\b", "a foo b", "foo"},
        {"\\bfoo\\b", "afoo", NULL},
        {"\\Boo", "foo", "oo"},
        {"a.c", "a\nc", NULL},
        {"(?s)a.c", "a\nc", "a\nc"},
        {"(?i)ABC", "xaBc", "aBc"},
        {"(?i)[a-z]+", "ABC", "ABC"},
        {"(?i:a)b", "Ab", "Ab"},
        {"(?i:a)b", "AB", NULL},
        {"a(?i)b", "aB", "aB"},
        {"(?i)\303\251", "\303\211", "\303\211"},
        {"(?i)k", "\342\204\252", "\342\204\252"},
        {"(?U)a+", "aaa", "a"},
        {"(?U)a+?", "aaa", "aaa"},
        {"(?i-i)A", "a", NULL},
        {"(?:ab)+", "abab", "abab"},
        {"(?P<n>a)b", "ab", "ab"},
        {"(?<n>a)b", "ab", "ab"},
        {"", "abc", ""},
        {"a||b", "b", ""},
        {"(|a)+", "aaa", ""},
        {"(a*)*", "aab", "aa"},
        {"(a*)+", "b", ""},
        {".", "\303\251x", "\303\251"},
        {"\\x41\\x{e9}", "A\303\251", "A\303\251"},
        {"\\101", "A", "A"},
        {"\\0", "a", NULL},
        {"\\t\\n", "\t\n", "\t\n"},
        {"\\.\\*\\_", ".*_", ".*_"},
        {"\\Qa.b\\E+", "a.bb", "a.bb"},
        {"\\Qa.b", "a.b", "a.b"},
        {"\\pL+", "1\303\251a2", "\303\251a"},
        {"\\p{Lu}", "aB", "B"},
        {"\\PL", "a1", "1"},
        {"\\p{^L}", "a1", "1"},
        {"[\\p{Nd}x]+", "a1x", "1x"},
        {"\\p{Any}", "z", "z"},
        {"^(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\\.)*x$", "a-b.c.x", "a-b.c.x"},
        {"[a-z]{3}-[0-9]{2,4}", "abc-12345", "abc-1234"},
        {"(a+)(b+)", "xaabb", "aabb"},
        {"a(bc|b)c?", "abc", "abc"},
        {"(?i)stra\303\237e", "STRA\341\272\236E", "STRA\341\272\236E"},
        {"x{2}{", "xx{", "xx{"},
        {"^*", "a", ""},
        {"(a|b)*c|d", "d", "d"},
        {"a{0,3}", "aaaa", "aaa"},
        {"(ab?){2,3}", "aababab", "aabab"},
        {"(ab?){2,3}?c", "abaabc", "abaabc"},
        {"(a{2}|b){0,2}c", "aaabc", "aabc"},
        {"(|a){2,}b", "aab", "aab"},
        {"(?:x(){0}y){2}", "xyxy", "xyxy"},
        {"a|b|c|", "xc", ""},
        {"x(a|b|cc|(d|e|f)*|g)+y", "xaccdefgy", "xaccdefgy"},
        {"(a|ab|abc)(c|d|)$", "abc", "abc"},
        {"(?i:a|B|c)+", "xAbCx", "AbC"},
        {"^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$", "* * * * */5", "* * * * */5"},
        {"^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$", "* * * *", NULL},
        {"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "my-name", "my-name"},
        {"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "-my", NULL},
        {"^a{2,3}$", "aaaa", NULL},
        {"^[\303\244-\303\274]$", "\303\266", "\303\266"},
        {"^(a|b|cd)*$", "abc", NULL},
        {"^(a*)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", NULL},
        {"^[\\D5]+$", "a5", "a5"},
        {"^.b$", "\377b", "\377b"}, /* U+FFFD */
        {"^\\x{fffd}.$", "\342\202", "\342\202"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct str why = STR("");
        size_t from = 0, to = 0;
        uint64_t steps = 100000;
        struct regex *re = regex_new(str_z(ROWS[i].re), &a, &why);
        if (!re)
            fail_msg("%s: %.*s", ROWS[i].re, STR_ARG(why));
        struct str text = str_z(ROWS[i].text);
        int r = regex_find(re, text, 0, &steps, &from, &to);
        assert_ok(r);
        struct str got = r ? str_sub(text, from, to) : STR_NONE;
        if (r != !!ROWS[i].want || (r && !str_eqz(got, ROWS[i].want)))
            fail_msg("/%s/ in \"%s\": \"%.*s\", not \"%s\"", ROWS[i].re, ROWS[i].text, STR_ARG(got),
                     ROWS[i].want ? ROWS[i].want : "none");
        steps = 100000;
        assert_int_equal(regex_find(re, text, 0, &steps, NULL, NULL), r);
        arena_fini(&a);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *re, *why;
    } ROWS[] = {
        {"(", "missing closing ): `(`"},
        {"(a", "missing closing ): `(a`"},
        {"a)", "unexpected ): `a)`"},
        {"[a", "missing closing ]: `[a`"},
        {"[z-a]", "invalid character class range: `z-a`"},
        {"*a", "missing argument to repetition operator: `*`"},
        {"a|*", "missing argument to repetition operator: `*`"},
        {"a**", "invalid nested repetition operator: `**`"},
        {"a+*", "invalid nested repetition operator: `+*`"},
        {"a{1001}", "invalid repeat count: `{1001}`"},
        {"a{3,2}", "invalid repeat count: `{3,2}`"},
        {"\\", "trailing backslash at end of expression"},
        {"\\1", "invalid escape sequence: `\\1`"},
        {"\\y", "invalid escape sequence: `\\y`"},
        {"\\C", "invalid escape sequence: `\\C`"},
        {"(?=a)", "invalid or unsupported Perl syntax: `(?=`"},
        {"(?P<>a)", "invalid named capture"},
        {"(?z)", "invalid or unsupported Perl syntax: `(?z`"},
        {"\\p{Greek}", "invalid character class range: `\\p{Greek}`"},
        {"[[:nope:]]", "invalid character class range: `[:nope:]`"},
        {"\\x{110000}", "invalid escape sequence"},
        {"((a{100}){100}){100}", "expression too large"},
        {"\\pX", "invalid character class range: `\\pX`"},
        {"a\xff", "invalid UTF-8"},
        {"(?<!a)", "invalid named capture"},
        {"\\p{}", "invalid character class range: `\\p{}`"},
        {"(.{100}){101}", "expression too large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct str why = STR("");
        if (regex_new(str_z(ROWS[i].re), &a, &why))
            fail_msg("/%s/ was taken", ROWS[i].re);
        if (!str_starts(why, STR("error parsing regexp: ")) ||
            str_search(why, str_z(ROWS[i].why)) < 0)
            fail_msg("/%s/: %.*s, not %s", ROWS[i].re, STR_ARG(why), ROWS[i].why);
        arena_fini(&a);
    }
}

/* What is too large or too deep is refused, and as much as allowed is taken. */
static void test_bounds(void **state)
{
    static const struct {
        const char *open, *close; /* around x, n times */
        unsigned n;
        const char *why; /* NULL: taken */
    } ROWS[] = {
        {"(", ")", REGEX_NEST_MAX, NULL},
        {"(", ")", REGEX_NEST_MAX + 1, "nests too deeply"},
        {"(", "", 3000, "nests too deeply"},
        {"a|", "", REGEX_INSTS_MAX / 3 - 2, NULL},
        {"a|", "", REGEX_INSTS_MAX / 3 + 2, "too large"},
        {"a", "", REGEX_BYTES_MAX - 1, NULL},
        {"a", "", REGEX_BYTES_MAX, "too large"},
        {"\\pL", "", REGEX_UNICODE_MAX, NULL},
        {"\\pL", "", REGEX_UNICODE_MAX + 1, "too large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct buf b = {0};
        struct str why = STR("");
        for (unsigned k = 0; k < ROWS[i].n; k++)
            buf_add_str(&b, str_z(ROWS[i].open));
        buf_add_char(&b, 'x');
        for (unsigned k = 0; k < ROWS[i].n; k++)
            buf_add_str(&b, str_z(ROWS[i].close));
        struct regex *re = regex_new(buf_str(&b), &a, &why);
        if (!re != !!ROWS[i].why || (!re && str_search(why, str_z(ROWS[i].why)) < 0))
            fail_msg("row %zu: \"%.*s\"", i, STR_ARG(why));
        if (re)
            assert_true(regex_bytes(re) <= a.used_bytes);
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void test_linear(void **state)
{
    /* Steps grow as the text does, for expressions that make backtracking explode. */
    static const char *const ROWS[] = {"(a*)*b", "(a|aa)+$", "(.*)(.*)(.*)(.*)(.*)[b]", "(x+x+)+y",
                                       "a?a?a?a?a?a?a?a?a?a?aaaaaaaaaa$"};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct str why;
        char text[4000];
        uint64_t used[2];
        struct regex *re = regex_new(str_z(ROWS[i]), &a, &why);
        assert_non_null(re);
        memset(text, i == 3 ? 'x' : 'a', sizeof text);
        for (unsigned k = 0; k < 2; k++) {
            uint64_t steps = 10000000, had = steps;
            assert_ok(regex_find(re, (struct str){text, k ? 4000 : 1000}, 0, &steps, NULL, NULL));
            used[k] = had - steps;
        }
        assert_true(used[1] < used[0] * 6);
        uint64_t few = 10;
        if (used[0] > 100)
            assert_int_equal(regex_find(re, (struct str){text, 4000}, 0, &few, NULL, NULL), -ETIME);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
