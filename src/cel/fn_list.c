/* Lists as Kubernetes has them, and cel-go's sets. */
#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

FN(is_sorted)
{
    struct cel_iter it;
    struct cel_value key, v, last;
    cel_iter_init(&it, c, &a[0]);
    for (bool first = true; cel_iter_next(&it, &key, &v) && cel_work(c, 1); first = false) {
        int r = first ? 0 : cel_compare(&last, &v);
        if (r == 2)
            return cel_no_overload();
        if (r > 0)
            return cel_bool(false);
        last = v;
    }
    return cel_bool(true);
}

static struct cel_value add(const struct cel_value *x, const struct cel_value *y)
{
    struct cel_value r = *x;
    bool over = false;
    if (x->type != y->type)
        return cel_no_overload();
    switch (x->type) {
    case CEL_INT:
    case CEL_DURATION:
        over = __builtin_add_overflow(x->i, y->i, &r.i);
        break;
    case CEL_UINT:
        over = __builtin_add_overflow(x->u, y->u, &r.u);
        break;
    case CEL_DOUBLE:
        r.d = x->d + y->d;
        break;
    default:
        return cel_no_overload();
    }
    return over ? cel_error(STR("integer overflow")) : r;
}

static struct cel_value sum(struct cel_eval *c, const struct cel_value *list, struct cel_value zero)
{
    struct cel_iter it;
    struct cel_value key, v, total = zero;
    cel_iter_init(&it, c, list);
    for (bool first = true;
         total.type != CEL_ERROR && cel_iter_next(&it, &key, &v) && cel_work(c, 1); first = false) {
        struct cel_value start = zero; /* of the element's own type: the list may be dyn */
        if (first && v.type != zero.type)
            start = v.type == CEL_UINT     ? cel_uint(0)
                    : v.type == CEL_DOUBLE ? cel_double(0)
                    : v.type == CEL_INT    ? cel_int(0)
                                           : (struct cel_value){.type = CEL_DURATION};
        total = add(first ? &start : &total, &v);
    }
    return total;
}
FN(sum_int)
{
    return sum(c, &a[0], cel_int(0));
}
FN(sum_uint)
{
    return sum(c, &a[0], cel_uint(0));
}
FN(sum_double)
{
    return sum(c, &a[0], cel_double(0));
}
FN(sum_duration)
{
    return sum(c, &a[0], (struct cel_value){.type = CEL_DURATION});
}

static struct cel_value extreme(struct cel_eval *c, const struct cel_value *list, int sign)
{
    struct cel_iter it;
    struct cel_value key, v, best = {0};
    bool first = true;
    cel_iter_init(&it, c, list);
    for (; cel_iter_next(&it, &key, &v) && cel_work(c, 1); first = false) {
        int r = first ? sign : cel_compare(&v, &best);
        if (r == 2 || (first && cel_compare(&v, &v) == 2 && v.type != CEL_DOUBLE))
            return cel_no_overload();
        if (first || r == sign)
            best = v;
    }
    return first ? cel_fail(c, "%s called on empty list", sign > 0 ? "max" : "min") : best;
}
FN(min_of)
{
    return extreme(c, &a[0], -1);
}
FN(max_of)
{
    return extreme(c, &a[0], 1);
}

FN(index_of)
{
    struct cel_iter it;
    struct cel_value key, v;
    cel_iter_init(&it, c, &a[0]);
    while (cel_iter_next(&it, &key, &v))
        if (cel_equal(c, &v, &a[1]))
            return key;
    return cel_int(-1);
}
FN(last_index_of)
{
    struct cel_iter it;
    struct cel_value key, v, last = cel_int(-1);
    cel_iter_init(&it, c, &a[0]);
    while (cel_iter_next(&it, &key, &v))
        if (cel_equal(c, &v, &a[1]))
            last = key;
    return last;
}

/* --- Sets ---------------------------------------------------------------------------------------
 */

static bool has(struct cel_eval *c, const struct cel_value *list, const struct cel_value *v)
{
    struct cel_iter it;
    struct cel_value key, x;
    cel_iter_init(&it, c, list);
    while (cel_iter_next(&it, &key, &x))
        if (cel_equal(c, &x, v))
            return true;
    return false;
}
/* Whether some (or every) element of y is in x. */
static bool any_in(struct cel_eval *c, const struct cel_value *x, const struct cel_value *y,
                   bool all)
{
    struct cel_iter it;
    struct cel_value key, v;
    cel_iter_init(&it, c, y);
    while (cel_iter_next(&it, &key, &v))
        if (has(c, x, &v) != all)
            return !all;
    return all;
}
FN(sets_contains)
{
    return cel_bool(any_in(c, &a[0], &a[1], true));
}
FN(sets_equivalent)
{
    return cel_bool(any_in(c, &a[0], &a[1], true) && any_in(c, &a[1], &a[0], true));
}
FN(sets_intersects)
{
    return cel_bool(any_in(c, &a[0], &a[1], false));
}

const struct overload cel_fn_list[] = {
#define ORDERED(name, fn, list)                                                                    \
    {name, "Li>" list "i", fn, OV_MEMBER, COST_TRAVERSE},                                          \
        {name, "Lu>" list "u", fn, OV_MEMBER, COST_TRAVERSE},                                      \
        {name, "Ld>" list "d", fn, OV_MEMBER, COST_TRAVERSE},                                      \
        {name, "Lb>" list "b", fn, OV_MEMBER, COST_TRAVERSE},                                      \
        {name, "Ls>" list "s", fn, OV_MEMBER, COST_TRAVERSE},                                      \
        {name, "Ly>" list "y", fn, OV_MEMBER, COST_TRAVERSE},                                      \
        {name, "Lr>" list "r", fn, OV_MEMBER, COST_TRAVERSE},                                      \
    {                                                                                              \
        name, "Lt>" list "t", fn, OV_MEMBER, COST_TRAVERSE                                         \
    }
    ORDERED("min", min_of, ""),
    ORDERED("max", max_of, ""),
#undef ORDERED
    {"isSorted", "Li>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Lu>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Ld>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Lb>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Ls>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Ly>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Lr>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"isSorted", "Lt>b", is_sorted, OV_MEMBER, COST_TRAVERSE},
    {"sum", "Li>i", sum_int, OV_MEMBER, COST_TRAVERSE},
    {"sum", "Lu>u", sum_uint, OV_MEMBER, COST_TRAVERSE},
    {"sum", "Ld>d", sum_double, OV_MEMBER, COST_TRAVERSE},
    {"sum", "Lr>r", sum_duration, OV_MEMBER, COST_TRAVERSE},
    {"indexOf", "LAA>i", index_of, OV_MEMBER, COST_TRAVERSE},
    {"lastIndexOf", "LAA>i", last_index_of, OV_MEMBER, COST_TRAVERSE},
    {"sets.contains", "LALA>b", sets_contains, 0, COST_LISTS},
    {"sets.equivalent", "LALA>b", sets_equivalent, 0, COST_LISTS},
    {"sets.intersects", "LALA>b", sets_intersects, 0, COST_LISTS},
    {0},
};
