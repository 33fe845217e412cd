/* Taps of the trace: who sees what, how much of it, for how long. */
#include "base/trace.h"
#include "test.h"

static struct buf out;
static uint64_t lost;

static uint64_t read_all(const char *match, uint64_t pos)
{
    buf_fini(&out);
    out = (struct buf){0};
    assert_int_equal(trace_tap_read(str_z(match), &pos, &lost, &out), 0);
    return pos;
}

static size_t lines(void)
{
    size_t n = 0;
    for (size_t i = 0; i < out.n; i++)
        n += out.data[i] == '\n';
    return n;
}

static void only_what_is_meant(void **state)
{
    (void)state;
    assert_false(trace_on);
    trace("pods/a/b before");
    uint64_t pos = read_all("pods/a/b", 0);
    assert_int_equal(out.n, 0);
    assert_true(trace_on);
    trace("call 7 get pods/a/b by joe");
    trace("call 8 get pods/a/b-2 by joe");
    trace("call 9 get xpods/a/b by joe");
    trace("call 10 get pods/a/b/status by joe, not pods/a/b-2");
    trace("call 11 pods/a/b.c, but then pods/a/b");
    pos = read_all("pods/a/b", pos);
    assert_int_equal(lines(), 3);
    assert_true(str_search(buf_str(&out), STR("call 7")) > 0);
    assert_true(str_search(buf_str(&out), STR("call 10")) > 0);
    assert_true(str_search(buf_str(&out), STR("call 11")) > 0);
    assert_int_equal(read_all("pods/a/b", pos), pos); /* once */
    assert_int_equal(out.n, 0);
    read_all("pods/a/b", 0); /* somebody else, from the start */
    assert_int_equal(lines(), 3);
    assert_int_equal(read_all("pods/a/b", UINT64_MAX), pos);
    trace_taps_close();
    assert_false(trace_on);
}

static void memory_is_bounded(void **state)
{
    char text[600];
    uint64_t pos = read_all("much", 0), at;
    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    trace("much");
    pos = read_all("much", pos);
    for (unsigned i = 0; i < 2000; i++)
        trace("much %u %s", i, text);
    at = read_all("much", pos);
    assert_true(out.n <= TRACE_TAP_BYTES_MAX);
    assert_true(lost > 0);
    assert_int_equal(lost + out.n, at - pos); /* nothing is unaccounted for */
    assert_true(str_search(buf_str(&out), STR("much 1999 ")) > 0);
    assert_true(out.data[2] == ':'); /* whole lines */
    trace_taps_close();
}

static void taps_are_few(void **state)
{
    static const char *const names[TRACE_TAPS_MAX] = {"a", "b", "c", "d"};
    char longest[TRACE_TAP_MATCH_BYTES + 2];
    uint64_t pos = 0;
    struct buf none = {0};
    (void)state;
    for (size_t i = 0; i < TRACE_TAPS_MAX; i++)
        read_all(names[i], 0);
    assert_int_equal(trace_tap_read(STR("e"), &pos, &lost, &none), -EBUSY);
    read_all("b", 0);
    trace_taps_print(&none);
    assert_str(buf_str(&none), "followed: a\nfollowed: b\nfollowed: c\nfollowed: d\n");
    buf_fini(&none);
    trace_taps_close();
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(trace_tap_read((struct str){longest, sizeof(longest) - 1}, &pos, &lost, &none),
                     -EINVAL);
    assert_int_equal(trace_tap_read(STR(""), &pos, &lost, &none), -EINVAL);
    assert_false(trace_on);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_meant),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(taps_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
