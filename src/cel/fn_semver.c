/* Semantic versions (semver.org 2.0.0). */
#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static bool digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}
static bool part(struct str s, uint64_t *ret)
{
    return digits(s) && (s.n == 1 || s.p[0] != '0') && str_to_u64(s, ret) == 0;
}
/* Dotted names of letters, digits, hyphens. Numbers of a pre-release have no zero in front. */
static bool names(struct str s, bool pre)
{
    struct str one;
    bool more;
    do {
        more = str_cut(&s, '.', &one);
        for (size_t i = 0; i < one.n; i++) {
            char ch = one.p[i];
            if (!((ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') ||
                  ch == '-'))
                return false;
        }
        uint64_t v;
        if (one.n == 0 || (pre && digits(one) && !part(one, &v)))
            return false;
    } while (more);
    return true;
}

static bool parse(struct str s, struct cel_semver *v)
{
    struct str major, minor, patch = s;
    *v = (struct cel_semver){.pre = STR(""), .build = STR("")};
    if (!str_cut(&patch, '.', &major) || !str_cut(&patch, '.', &minor))
        return false;
    ssize_t plus = str_find(patch, '+');
    if (plus >= 0) {
        v->build = str_sub(patch, (size_t)plus + 1, patch.n);
        patch = str_sub(patch, 0, (size_t)plus);
        if (!names(v->build, false))
            return false;
    }
    ssize_t dash = str_find(patch, '-');
    if (dash >= 0) {
        v->pre = str_sub(patch, (size_t)dash + 1, patch.n);
        patch = str_sub(patch, 0, (size_t)dash);
        if (!names(v->pre, true))
            return false;
    }
    return part(major, &v->major) && part(minor, &v->minor) && part(patch, &v->patch);
}

/* Without "v", with three parts, without zeros in front. */
static struct cel_value normalize(struct cel_eval *c, struct str s)
{
    struct buf b = {0};
    struct str rest = str_starts(s, STR("v")) ? str_sub(s, 1, s.n) : s, one;
    unsigned n = 0;
    bool more = true, bad = false;
    for (; n < 3 && more; n++) {
        if (n == 2) {
            one = rest;
            more = false;
        } else {
            more = str_cut(&rest, '.', &one);
        }
        if (one.n > 1) {
            while (one.n && one.p[0] == '0')
                one = str_sub(one, 1, one.n);
            if (one.n == 0 || one.p[0] < '0' || one.p[0] > '9')
                buf_add_char(&b, '0');
        }
        bad |= !more && n < 2 && (str_find(one, '-') >= 0 || str_find(one, '+') >= 0);
        buf_add_str(&b, one);
        if (more)
            buf_add_char(&b, '.');
    }
    for (; n < 3; n++)
        buf_add_lit(&b, ".0");
    if (bad)
        buf_clear(&b);
    return cel_take_buf(c, &b);
}

static bool parse_args(struct cel_eval *c, const struct cel_value *a, unsigned n,
                       struct cel_semver *v)
{
    struct cel_value t = a[0];
    if (n > 1 && a[1].b)
        t = normalize(c, a[0].s);
    return t.type == CEL_STRING && parse(t.s, v);
}

static int cmp_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}
static int cmp_pre(struct str a, struct str b)
{
    struct str x, y;
    if (!a.n || !b.n)
        return a.n ? -1 : b.n ? 1 : 0; /* a release is behind its pre-releases */
    for (;;) {
        bool more_a = str_cut(&a, '.', &x), more_b = str_cut(&b, '.', &y);
        uint64_t u = 0, w = 0;
        bool nx = part(x, &u), ny = part(y, &w);
        int r = nx && ny ? cmp_u64(u, w) : nx ? -1 : ny ? 1 : str_cmp(x, y);
        if (r)
            return r < 0 ? -1 : 1;
        if (!more_a || !more_b)
            return more_a ? 1 : more_b ? -1 : 0;
    }
}
int cel_semver_cmp(const struct cel_semver *a, const struct cel_semver *b)
{
    int r = cmp_u64(a->major, b->major);
    r = r ? r : cmp_u64(a->minor, b->minor);
    r = r ? r : cmp_u64(a->patch, b->patch);
    return r ? r : cmp_pre(a->pre, b->pre);
}

FN(semver_of)
{
    struct cel_semver *v = cel_alloc(c, sizeof *v);
    if (!v)
        return cel_no_memory();
    if (!parse_args(c, a, n, v))
        return cel_fail(c, "invalid semantic version \"%.*s\"", (int)MIN(a[0].s.n, 100), a[0].s.p);
    return cel_box(CEL_SEMVER, v);
}
FN(is_semver)
{
    struct cel_semver v;
    return cel_bool(parse_args(c, a, n, &v));
}
FN(major_of)
{
    return cel_int((int64_t)((const struct cel_semver *)a[0].p)->major);
}
FN(minor_of)
{
    return cel_int((int64_t)((const struct cel_semver *)a[0].p)->minor);
}
FN(patch_of)
{
    return cel_int((int64_t)((const struct cel_semver *)a[0].p)->patch);
}
FN(less)
{
    return cel_bool(cel_semver_cmp(a[0].p, a[1].p) < 0);
}
FN(greater)
{
    return cel_bool(cel_semver_cmp(a[0].p, a[1].p) > 0);
}
FN(compare)
{
    return cel_int(cel_semver_cmp(a[0].p, a[1].p));
}

const struct overload cel_fn_semver[] = {
    {"semver", "s>v", semver_of, 0, COST_ARG0},
    {"semver", "sb>v", semver_of, 0, COST_ARG0},
    {"isSemver", "s>b", is_semver, 0, COST_ARG0},
    {"isSemver", "sb>b", is_semver, 0, COST_ARG0},
    {"major", "v>i", major_of, OV_MEMBER, COST_ONE},
    {"minor", "v>i", minor_of, OV_MEMBER, COST_ONE},
    {"patch", "v>i", patch_of, OV_MEMBER, COST_ONE},
    {"isLessThan", "vv>b", less, OV_MEMBER, COST_ONE},
    {"isGreaterThan", "vv>b", greater, OV_MEMBER, COST_ONE},
    {"compareTo", "vv>i", compare, OV_MEMBER, COST_ONE},
    {0},
};
