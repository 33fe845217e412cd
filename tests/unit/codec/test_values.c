/* Quantities, times, durations, int-or-string and maps. */
#include "test.h"

#include "codec/values.h"

static void quantities_print_canonically(void **state)
{
    static const char *const rows[][2] = {
        {"0", "0"},
        {"1", "1"},
        {"+1", "1"},
        {"-1", "-1"},
        {"007", "7"},
        {"1.0", "1"},
        {".5", "500m"},
        {"1.", "1"},
        {"0.5", "500m"},
        {"1500m", "1500m"},
        {"1000m", "1"},
        {"1000", "1k"},
        {"1500", "1500"},
        {"12000", "12k"},
        {"1000000", "1M"},
        {"100", "100"},
        {"0.1", "100m"},
        {"100m", "100m"},
        {"1.5", "1500m"},
        {"1k", "1k"},
        {"1E", "1E"},
        {"1P", "1P"},
        {"2T", "2T"},
        {"3G", "3G"},
        {"1u", "1u"},
        {"1n", "1n"},
        {"0.1n", "1n"},
        {"-0.1n", "-1n"},
        {"1.0000000001", "1000000001n"},
        {"1Ki", "1Ki"},
        {"1024Ki", "1Mi"},
        {"1024", "1024"},
        {"1.5Gi", "1536Mi"},
        {"0.5Mi", "512Ki"},
        {"1025Ki", "1025Ki"},
        {"1000Ki", "1000Ki"},
        {"0.5Ki", "512"},
        {"1Ei", "1Ei"},
        {"0Ki", "0"},
        {"1e3", "1e3"},
        {"1E3", "1e3"},
        {"12e6", "12e6"},
        {"1e-3", "1e-3"},
        {"1e1", "10"},
        {"100e0", "100"},
        {"5e-1", "500e-3"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775807"},
        {"99999999999999999999999", "9223372036854775807"},
        {"-99999999999999999999999", "-9223372036854775807"},
        {"100E", "9223372036854775807"},
        {"8Ei", "9223372036854775807"},
        {"1e100", "9223372036854775807"},
        {"1e-100", "1e-9"},
        {"0e100", "0"},
        {"64Mi", "64Mi"},
        {"250m", "250m"},
        {"2147483648", "2147483648"},
        {"-500m", "-500m"},
        {"-1Ki", "-1Ki"},
        {"123456789.123456789", "123456789123456789n"},
        {"9E", "9E"},
        {"0.001k", "1"},
        {"0.1Gi", "107374182400m"},
        {"1.3Gi", "1395864371200m"},
        {"0.1Ki", "102400m"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct quantity q = {0}, again = {0};
        char t[QUANTITY_TEXT_MAX], t2[QUANTITY_TEXT_MAX];
        if (quantity_parse(str_z(rows[i][0]), &q) < 0)
            print_error("refused: %s\n", rows[i][0]);
        assert_true(q.set);
        assert_str(((struct str){t, quantity_format(&q, t)}), rows[i][1]);
        assert_ok(quantity_parse(str_z(t), &again));
        assert_str(((struct str){t2, quantity_format(&again, t2)}), rows[i][1]);
        assert_int_equal(quantity_cmp(&q, &again), 0);
    }
}

static void bad_quantities_are_refused(void **state)
{
    static const char *const bad[] = {
        "",    "+",  "-",   ".",     "m",   "Ki",  "1 ", " 1",  "1.2.3", "1kk",  "1ki", "1K",
        "1mi", "1e", "1ee", "1e1.5", "1_0", "abc", "1i", "--1", "1Kib",  "0x10", "1e+", "\xC2\xB5"};
    struct quantity q = {.mantissa = 42};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int r = quantity_parse(str_z(bad[i]), &q);
        if (r >= 0)
            print_error("accepted: \"%s\"\n", bad[i]);
        assert_int_equal(r, -EINVAL);
    }
    assert_int_equal(quantity_parse((struct str){"1\0", 2}, &q), -EINVAL);
    assert_int_equal(q.mantissa, 42);
}

static struct quantity q_of(const char *s)
{
    struct quantity q = {0};
    assert_ok(quantity_parse(str_z(s), &q));
    return q;
}

static void quantities_compute(void **state)
{
    struct quantity a = q_of("1500m"), b = q_of("1.5"), c = q_of("1Gi"), d = q_of("1n"), none = {0},
                    r;
    char t[QUANTITY_TEXT_MAX];
    assert_int_equal(quantity_cmp(&a, &b), 0);
    assert_int_equal(quantity_cmp(&a, &c), -1);
    assert_int_equal(quantity_cmp(&d, &none), 1);
    assert_int_equal(quantity_value(&a), 2);
    assert_int_equal(quantity_milli(&a), 1500);
    assert_int_equal(quantity_value(&c), 1073741824);
    assert_int_equal(quantity_milli(&d), 1);
    r = q_of("-1500m");
    assert_int_equal(quantity_value(&r), -2);
    r = quantity_add(&a, &b);
    assert_str(((struct str){t, quantity_format(&r, t)}), "3");
    r = quantity_sub(&c, &a);
    assert_int_equal(quantity_milli(&r), 1073741824000 - 1500);
    r = quantity_add(&none, &c);
    assert_str(((struct str){t, quantity_format(&r, t)}), "1Gi");
    r = quantity_from(3 << 20, QUANTITY_BINARY_SI);
    assert_str(((struct str){t, quantity_format(&r, t)}), "3Mi");
    r = quantity_from_milli(250);
    assert_str(((struct str){t, quantity_format(&r, t)}), "250m");
    r = q_of("9E");
    r = quantity_add(&r, &r);
    assert_int_equal(quantity_value(&r), INT64_MAX);
    assert_true(quantity_is_zero(&none));
    assert_false(quantity_is_zero(&d));
}

static void times_come_back(void **state)
{
    static const struct {
        const char *in, *sec, *micro;
        int64_t usec;
    } rows[] = {
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", 0},
        {"2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000000Z",
         1709251199000000},
        {"2024-01-01T02:00:00.123456789+02:00", "2024-01-01T00:00:00Z",
         "2024-01-01T00:00:00.123456Z", 1704067200123456},
        {"1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.500000Z", -500000},
        {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z",
         -62135596800000000},
        {"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z",
         253402300799000000},
        {"2000-02-29T12:00:00-05:30", "2000-02-29T17:30:00Z", "2000-02-29T17:30:00.000000Z",
         951845400000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct timestamp t = {0};
        char s[TIMESTAMP_TEXT_MAX];
        assert_ok(timestamp_parse(str_z(rows[i].in), &t));
        assert_int_equal(t.usec, rows[i].usec);
        assert_str(((struct str){s, timestamp_format(t, false, s)}), rows[i].sec);
        assert_str(((struct str){s, timestamp_format(t, true, s)}), rows[i].micro);
    }
    assert_int_equal(timestamp_seconds(-1).usec, -1000000);
    assert_int_equal(timestamp_seconds(1999999).usec, 1000000);
}

static void bad_times_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2024",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-01-32T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00Zx",
        "0000-01-01T00:00:00Z",
        "24-01-01T00:00:00Z",
        "-024-01-01T00:00:00Z",
        "2024-1-1T0:0:0Z",
        "9999-12-31T23:59:59-00:01", /* in year 10000, by its offset */
        "0001-01-01T00:00:00+00:01",
    };
    struct timestamp t;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int r = timestamp_parse(str_z(bad[i]), &t);
        if (r >= 0)
            print_error("accepted: \"%s\"\n", bad[i]);
        assert_int_equal(r, -EINVAL);
    }
}

static void durations_print_as_go_does(void **state)
{
    static const char *const rows[][2] = {
        {"0", "0s"},
        {"0s", "0s"},
        {"1h", "1h0m0s"},
        {"90m", "1h30m0s"},
        {"1.5s", "1.5s"},
        {"1ms", "1ms"},
        {"1500us", "1.5ms"},
        {"1ns", "1ns"},
        {"10\xC2\xB5s", "10\xC2\xB5s"},
        {"-1h1m1.001s", "-1h1m1.001s"},
        {"100h", "100h0m0s"},
        {"1m0.000000001s", "1m0.000000001s"},
        {".5h", "30m0s"},
        {"2562047h", "2562047h0m0s"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct duration d = {0};
        char t[DURATION_TEXT_MAX];
        assert_ok(duration_parse(str_z(rows[i][0]), &d));
        assert_str(((struct str){t, duration_format(d.nsec, t)}), rows[i][1]);
    }
    static const char *const bad[] = {"", "1", "h", "1x", "-", "1h-1m", "1 h", ".s", "9999999h"};
    struct duration d;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(duration_parse(str_z(bad[i]), &d) < 0);
}

static void ages_are_as_kubectl_shows_them(void **state)
{
    static const struct {
        int64_t s;
        const char *text;
    } rows[] = {{-5, "<invalid>"}, {-1, "0s"},          {0, "0s"},        {119, "119s"},
                {120, "2m"},       {125, "2m5s"},       {600, "10m"},     {10799, "179m"},
                {10800, "3h"},     {10860, "3h1m"},     {28800, "8h"},    {172799, "47h"},
                {172800, "2d"},    {180000, "2d2h"},    {691200, "8d"},   {63071999, "729d"},
                {63072000, "2y"},  {66000000, "2y33d"}, {252288000, "8y"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char t[DURATION_TEXT_MAX];
        assert_str(((struct str){t, duration_human(rows[i].s * NSEC_PER_SEC, t)}), rows[i].text);
    }
}

static void percentages_scale(void **state)
{
    static const struct {
        const char *text;
        int32_t total;
        bool up;
        int32_t expected;
    } rows[] = {{"25%", 10, true, 3}, {"25%", 10, false, 2}, {"100%", 7, true, 7},
                {"0%", 7, true, 0},   {"1%", 1, true, 1},    {"150%", 2, false, 3}};
    int32_t v = -1;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct int_or_str x = int_or_str_str(str_z(rows[i].text));
        assert_ok(int_or_str_scaled(&x, rows[i].total, rows[i].up, &v));
        assert_int_equal(v, rows[i].expected);
    }
    struct int_or_str x = int_or_str_int(5);
    assert_ok(int_or_str_scaled(&x, 100, true, &v));
    assert_int_equal(v, 5);
    x = int_or_str_str(STR("5"));
    assert_int_equal(int_or_str_scaled(&x, 1, true, &v), -EINVAL);
    x = int_or_str_str(STR("-5%"));
    assert_int_equal(int_or_str_scaled(&x, 1, true, &v), -EINVAL);
    x = int_or_str_str(STR("%"));
    assert_int_equal(int_or_str_scaled(&x, 1, true, &v), -EINVAL);
}

static void maps_are_searched(void **state)
{
    const struct kv_str m[] = {{STR("a"), STR("1")}, {STR("ab"), STR("2")}, {STR("c"), STR("3")}};
    assert_str(*kv_str_get(m, 3, STR("a")), "1");
    assert_str(*kv_str_get(m, 3, STR("ab")), "2");
    assert_str(*kv_str_get(m, 3, STR("c")), "3");
    assert_null(kv_str_get(m, 3, STR("b")));
    assert_null(kv_str_get(m, 2, STR("c")));
    assert_null(kv_str_get(NULL, 0, STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities_print_canonically),
        cmocka_unit_test(bad_quantities_are_refused),
        cmocka_unit_test(quantities_compute),
        cmocka_unit_test(times_come_back),
        cmocka_unit_test(bad_times_are_refused),
        cmocka_unit_test(durations_print_as_go_does),
        cmocka_unit_test(ages_are_as_kubectl_shows_them),
        cmocka_unit_test(percentages_scale),
        cmocka_unit_test(maps_are_searched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
