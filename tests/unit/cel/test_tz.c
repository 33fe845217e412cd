/* Time zones: files written here, so that the machine's database need not be there. */
#include "base/buf.h"
#include "cel/tz.h"
#include "test.h"

static void put(struct buf *b, uint64_t v, unsigned n)
{
    for (unsigned i = n; i-- > 0;)
        buf_add_char(b, (char)(v >> (8 * i)));
}

/* A file of version 2 with two types, the changes given and a rule at the end. */
static void file(struct buf *b, const int64_t *at, unsigned n, const char *rule)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        unsigned times = pass ? n : 0;
        buf_add_lit(b, "TZif2");
        for (unsigned i = 0; i < 15; i++)
            buf_add_char(b, 0);
        for (unsigned i = 0; i < 3; i++)
            put(b, 0, 4);
        put(b, times, 4);
        put(b, 2, 4);
        put(b, 4, 4);
        for (unsigned i = 0; i < times; i++)
            put(b, (uint64_t)at[i], 8);
        for (unsigned i = 0; i < times; i++)
            buf_add_char(b, (char)((i + 1) % 2));
        put(b, 3600, 4);
        put(b, 0, 2);
        put(b, 7200, 4);
        put(b, 0, 2);
        buf_add(b, "LMT\0", 4);
    }
    buf_printf(b, "\n%s\n", rule);
}

static void test_file(void **state)
{
    static const int64_t at[] = {1000, 2000, 3000};
    struct arena a = {0};
    struct buf b = {0};
    file(&b, at, 3, "CET-1CEST,M3.5.0,M10.5.0/3");
    const struct tz *z = tz_read(buf_str(&b), &a);
    assert_non_null(z);
    assert_int_equal(tz_offset(z, 999), 3600);
    assert_int_equal(tz_offset(z, 1000), 7200);
    assert_int_equal(tz_offset(z, 2500), 3600);
    /* by the rule: 2024-03-31 01:00 UTC and 2024-10-27 01:00 UTC */
    assert_int_equal(tz_offset(z, 1711846799), 3600);
    assert_int_equal(tz_offset(z, 1711846800), 7200);
    assert_int_equal(tz_offset(z, 1729990799), 7200);
    assert_int_equal(tz_offset(z, 1729990800), 3600);
    for (size_t cut = 0; cut < b.n; cut++)
        assert_null(tz_read((struct str){b.data, cut}, &a));
    buf_fini(&b);
    arena_fini(&a);
}

static void test_rules(void **state)
{
    static const int64_t at[] = {0};
    static const struct {
        const char *rule;
        int64_t sec;
        int32_t offset;
    } ROWS[] = {
        {"UTC0", 1700000000, 0},
        {"<+0330>-3:30", 1700000000, 12600},
        {"NZST-12NZDT,M9.5.0,M4.1.0/3", 1705276800, 46800}, /* summer in January */
        {"NZST-12NZDT,M9.5.0,M4.1.0/3", 1720000000, 43200},
        {"XST5XDT4,J60/0,J300/0", 1709251200,
         -18000}, /* 1 March 2024 00:00 UTC: still winter there */
        {"XST5XDT4,J60/0,J300/0", 1709280000, -14400},
        {"XST0XDT,0/0,J365/25", 1709280000, 3600}, /* always summer */
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena a = {0};
        struct buf b = {0};
        file(&b, at, 1, ROWS[i].rule);
        const struct tz *z = tz_read(buf_str(&b), &a);
        if (!z)
            fail_msg("%s", ROWS[i].rule);
        if (tz_offset(z, ROWS[i].sec) != ROWS[i].offset)
            fail_msg("%s at %lld: %d", ROWS[i].rule, (long long)ROWS[i].sec,
                     tz_offset(z, ROWS[i].sec));
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void test_damaged(void **state)
{
    static const int64_t twice[] = {1000, 1000};
    static const char *const rules[] = {"X0",
                                        "CET",
                                        "CET-1CEST",
                                        "CET-1CEST,M13.1.0,M1.1.0",
                                        "CET-1CEST,M3.6.0,M1.1.0",
                                        "CET-200",
                                        "<CET-1",
                                        "CET-1CEST,M3.5.0,M10.5.0/3x"};
    struct arena a = {0};
    struct buf b = {0};
    file(&b, twice, 2, "UTC0");
    assert_null(tz_read(buf_str(&b), &a));
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        buf_clear(&b);
        file(&b, twice, 1, rules[i]);
        if (tz_read(buf_str(&b), &a))
            fail_msg("%s was taken", rules[i]);
    }
    buf_fini(&b);
    arena_fini(&a);
}

static void test_names(void **state)
{
    static const char *const none[] = {"Europe", "../UTC", "/etc/localtime", "a.b",
                                       "+25:00", "+1:60",  "No/Such/Zone",   "+02:00x"};
    struct arena a = {0};
    assert_int_equal(tz_offset(tz_find(STR("+02:00"), &a), 0), 7200);
    assert_int_equal(tz_offset(tz_find(STR("-03:30"), &a), 0), -12600);
    assert_int_equal(tz_offset(tz_find(STR("02:00"), &a), 0), 7200);
    assert_int_equal(tz_offset(tz_find(STR("UTC"), &a), 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (tz_find(str_z(none[i]), &a))
            fail_msg("%s was found", none[i]);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
