/* Strings. Places and lengths are counted in characters (code points), as everywhere in CEL. */
#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static void count_work(struct cel_eval *c, size_t bytes)
{
    (void)cel_work(c, bytes / 16 + 1);
}

FN(starts_with)
{
    return cel_bool(str_starts(a[0].s, a[1].s));
}
FN(ends_with)
{
    return cel_bool(str_ends(a[0].s, a[1].s));
}
static ssize_t search(struct cel_eval *c, struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    const char *p = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    count_work(c, p ? (size_t)(p - s.p) : s.n); /* what was looked at: callers go on from there */
    return p ? p - s.p : -1;
}
FN(contains)
{
    return cel_bool(search(c, a[0].s, a[1].s) >= 0);
}

FN(char_at)
{
    int64_t chars = (int64_t)cel_size(c, &a[0]), i = a[1].i;
    if (i < 0 || i > chars)
        return cel_fail(c, "index out of range: %lld", (long long)i);
    size_t from = cel_utf8_offset(a[0].s, (size_t)i), to = from;
    if (i == chars)
        return cel_string(STR(""));
    (void)str_utf8_get(a[0].s, &to);
    return cel_string(str_sub(a[0].s, from, to));
}

FN(index_of)
{
    struct str s = a[0].s;
    int64_t from = n > 2 ? a[2].i : 0, chars = (int64_t)cel_size(c, &a[0]);
    if (from < 0 || (from > chars && a[1].s.n) || from > chars)
        return a[1].s.n == 0 && from >= 0
                   ? cel_int(from)
                   : cel_fail(c, "index out of range: %lld", (long long)from);
    size_t at = cel_utf8_offset(s, (size_t)from);
    ssize_t found = search(c, str_sub(s, at, s.n), a[1].s);
    if (found < 0)
        return cel_int(-1);
    return cel_int(from + (int64_t)cel_utf8_count(str_sub(s, at, at + (size_t)found)));
}

FN(last_index_of)
{
    struct str s = a[0].s, what = a[1].s;
    int64_t chars = (int64_t)cel_size(c, &a[0]), from = n > 2 ? a[2].i : chars;
    if (from < 0 || from > chars)
        return cel_fail(c, "index out of range: %lld", (long long)from);
    if (what.n == 0)
        return cel_int(from);
    size_t at = cel_utf8_offset(s, (size_t)from);
    count_work(c, s.n * 4);
    for (size_t i = MIN(at, s.n >= what.n ? s.n - what.n : 0) + 1; i-- > 0 && s.n >= what.n;)
        if (s.p[i] == what.p[0]) {
            if (memcmp(s.p + i, what.p, what.n) == 0)
                return cel_int((int64_t)cel_utf8_count(str_sub(s, 0, i)));
            if (!cel_work(c, what.n / 16 + 1))
                break;
        }
    return cel_int(-1);
}

static struct cel_value change_case(struct cel_eval *c, const struct cel_value *v, char from)
{
    struct cel_value r = cel_text(c, v->s);
    char *p = (char *)(uintptr_t)r.s.p;
    for (size_t i = 0; r.type == CEL_STRING && i < r.s.n; i++)
        if (p[i] >= from && p[i] < from + 26)
            p[i] ^= 0x20;
    return r;
}
FN(lower_ascii)
{
    return change_case(c, &a[0], 'A');
}
FN(upper_ascii)
{
    return change_case(c, &a[0], 'a');
}

FN(replace)
{
    struct str s = a[0].s, old = a[1].s, new = a[2].s;
    int64_t left = n > 3 ? a[3].i : -1;
    struct buf b = {.limit_bytes = CEL_MEMORY_MAX / 4};
    size_t at = 0;
    while (left != 0 && at <= s.n && !b.overflow) {
        size_t to = at;
        if (old.n == 0) { /* around every character */
            buf_add_str(&b, new);
            if (at < s.n)
                (void)str_utf8_get(s, &to);
            buf_add_str(&b, str_sub(s, at, to));
            at = at < s.n ? to : s.n + 1;
        } else {
            ssize_t found = search(c, str_sub(s, at, s.n), old);
            if (found < 0)
                break;
            buf_add_str(&b, str_sub(s, at, at + (size_t)found));
            buf_add_str(&b, new);
            at += (size_t)found + old.n;
        }
        left -= left > 0;
        if (!cel_work(c, 1))
            break;
    }
    if (at < s.n)
        buf_add_str(&b, str_sub(s, at, s.n));
    return cel_take_buf(c, &b);
}

FN(split)
{
    struct str s = a[0].s, sep = a[1].s;
    int64_t left = n > 2 ? a[2].i : -1;
    struct list_builder out = {0};
    struct cel_value v;
    if (left == 0)
        return cel_list(NULL, 0);
    for (size_t at = 0; at <= s.n;) {
        size_t to = at;
        ssize_t found = -1;
        if (sep.n == 0) {
            if (at == s.n)
                break;
            (void)str_utf8_get(s, &to);
            found = to < s.n ? (ssize_t)(to - at) : -1;
        } else {
            found = search(c, str_sub(s, at, s.n), sep);
        }
        if (found < 0 || left == 1) {
            v = cel_string(str_sub(s, at, s.n));
            at = s.n + 1;
        } else {
            v = cel_string(str_sub(s, at, at + (size_t)found));
            at += (size_t)found + sep.n;
        }
        left -= left > 0;
        if (!cel_work(c, 1) || !cel_list_add(c, &out, &v))
            return cel_no_memory();
    }
    return cel_list_done(&out);
}

FN(join)
{
    struct buf b = {.limit_bytes = CEL_MEMORY_MAX / 4};
    struct cel_iter it;
    struct cel_value key, v;
    cel_iter_init(&it, c, &a[0]);
    for (bool first = true; cel_iter_next(&it, &key, &v) && cel_work(c, 1); first = false) {
        if (v.type != CEL_STRING) {
            buf_fini(&b);
            return cel_no_overload();
        }
        if (!first && n > 1)
            buf_add_str(&b, a[1].s);
        buf_add_str(&b, v.s);
        count_work(c, v.s.n);
    }
    return cel_take_buf(c, &b);
}

FN(substring)
{
    int64_t chars = (int64_t)cel_size(c, &a[0]), from = a[1].i, to = n > 2 ? a[2].i : chars;
    if (from < 0 || from > chars)
        return cel_fail(c, "index out of range: %lld", (long long)from);
    if (to < 0 || to > chars)
        return cel_fail(c, "index out of range: %lld", (long long)to);
    if (from > to)
        return cel_fail(c, "invalid substring range. start: %lld, end: %lld", (long long)from,
                        (long long)to);
    return cel_string(str_sub(a[0].s, cel_utf8_offset(a[0].s, (size_t)from),
                              cel_utf8_offset(a[0].s, (size_t)to)));
}

static bool is_space(uint32_t r)
{
    return (r >= 9 && r <= 13) || r == ' ' || r == 0x85 || r == 0xa0 || r == 0x1680 ||
           (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f ||
           r == 0x205f || r == 0x3000;
}
FN(trim)
{
    struct str s = a[0].s;
    size_t from = 0, to = 0;
    for (size_t at = 0; at < s.n; from = at)
        if (!is_space(str_utf8_get(s, &at)))
            break;
    for (size_t at = from; at < s.n;) {
        if (!is_space(str_utf8_get(s, &at)))
            to = at;
    }
    count_work(c, s.n);
    return cel_string(str_sub(s, from, MAX(from, to)));
}

FN(quote)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
    struct buf b = {0};
    buf_add_char(&b, '"');
    for (size_t i = 0; i < a[0].s.n; i++) {
        char ch = a[0].s.p[i];
        const char *k = ch ? memchr(from, ch, sizeof from - 1) : NULL;
        if (k)
            buf_add_char(&b, '\\');
        buf_add_char(&b, k ? to[k - from] : ch);
    }
    buf_add_char(&b, '"');
    count_work(c, a[0].s.n * 4);
    return cel_take_buf(c, &b);
}

FN(reverse)
{
    struct str s = a[0].s;
    char *p = cel_alloc(c, s.n + 1);
    if (!p)
        return cel_no_memory();
    for (size_t at = 0, to; at < s.n; at = to) {
        to = at;
        (void)str_utf8_get(s, &to);
        memcpy(p + s.n - to, s.p + at, to - at);
    }
    p[s.n] = 0;
    return cel_string((struct str){p, s.n});
}

const struct overload cel_fn_string[] = {
    {"startsWith", "ss>b", starts_with, OV_MEMBER, COST_STARTS},
    {"endsWith", "ss>b", ends_with, OV_MEMBER, COST_STARTS},
    {"contains", "ss>b", contains, OV_MEMBER, COST_CONTAINS},
    {"charAt", "si>s", char_at, OV_MEMBER, COST_ONE},
    {"indexOf", "ss>i", index_of, OV_MEMBER, COST_TRAVERSE},
    {"indexOf", "ssi>i", index_of, OV_MEMBER, COST_TRAVERSE},
    {"lastIndexOf", "ss>i", last_index_of, OV_MEMBER, COST_TRAVERSE},
    {"lastIndexOf", "ssi>i", last_index_of, OV_MEMBER, COST_TRAVERSE},
    {"lowerAscii", "s>s", lower_ascii, OV_MEMBER, COST_ARG0},
    {"upperAscii", "s>s", upper_ascii, OV_MEMBER, COST_ARG0},
    {"replace", "sss>s", replace, OV_MEMBER, COST_ARG0_TWICE},
    {"replace", "sssi>s", replace, OV_MEMBER, COST_ARG0_TWICE},
    {"split", "ss>Ls", split, OV_MEMBER, COST_SPLIT},
    {"split", "ssi>Ls", split, OV_MEMBER, COST_SPLIT},
    {"join", "Ls>s", join, OV_MEMBER, COST_JOIN},
    {"join", "Lss>s", join, OV_MEMBER, COST_JOIN},
    {"substring", "si>s", substring, OV_MEMBER, COST_ARG0},
    {"substring", "sii>s", substring, OV_MEMBER, COST_ARG0},
    {"trim", "s>s", trim, OV_MEMBER, COST_ARG0},
    {"strings.quote", "s>s", quote, 0, COST_ONE},
    {"reverse", "s>s", reverse, OV_MEMBER | OV_EXTRA, COST_ONE},
    {0},
};
