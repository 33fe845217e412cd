/* Operators and the functions of the language itself. Arithmetic that overflows is an error, as is
 * division by zero; nothing wraps. */
#include <math.h>

#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static struct cel_value overflow(const char *type)
{
    return cel_error(str_z(type));
}

#define INT_OP(name, builtin)                                                                      \
    FN(name##_int)                                                                                 \
    {                                                                                              \
        int64_t r;                                                                                 \
        return builtin(a[0].i, a[1].i, &r) ? overflow("integer overflow") : cel_int(r);            \
    }                                                                                              \
    FN(name##_uint)                                                                                \
    {                                                                                              \
        uint64_t r;                                                                                \
        return builtin(a[0].u, a[1].u, &r) ? overflow("unsigned integer overflow") : cel_uint(r);  \
    }
INT_OP(add, __builtin_add_overflow)
INT_OP(sub, __builtin_sub_overflow)
INT_OP(mul, __builtin_mul_overflow)
#undef INT_OP

FN(add_double)
{
    return cel_double(a[0].d + a[1].d);
}
FN(sub_double)
{
    return cel_double(a[0].d - a[1].d);
}
FN(mul_double)
{
    return cel_double(a[0].d * a[1].d);
}
FN(div_double)
{
    return cel_double(a[0].d / a[1].d);
}
FN(div_int)
{
    if (a[1].i == 0)
        return cel_error(STR("division by zero"));
    if (a[0].i == INT64_MIN && a[1].i == -1)
        return overflow("integer overflow");
    return cel_int(a[0].i / a[1].i);
}
FN(mod_int)
{
    if (a[1].i == 0)
        return cel_error(STR("modulus by zero"));
    if (a[0].i == INT64_MIN && a[1].i == -1)
        return overflow("integer overflow");
    return cel_int(a[0].i % a[1].i);
}
FN(div_uint)
{
    return a[1].u ? cel_uint(a[0].u / a[1].u) : cel_error(STR("division by zero"));
}
FN(mod_uint)
{
    return a[1].u ? cel_uint(a[0].u % a[1].u) : cel_error(STR("modulus by zero"));
}
FN(neg_int)
{
    return a[0].i == INT64_MIN ? overflow("integer overflow") : cel_int(-a[0].i);
}
FN(neg_double)
{
    return cel_double(-a[0].d);
}
FN(not_bool)
{
    return cel_bool(!a[0].b);
}

FN(concat)
{
    size_t len = a[0].s.n + a[1].s.n;
    char *p = cel_alloc(c, len + 1);
    if (!p)
        return cel_no_memory();
    memcpy(p, a[0].s.p, a[0].s.n);
    memcpy(p + a[0].s.n, a[1].s.p, a[1].s.n);
    p[len] = 0;
    struct cel_value v = a[0];
    v.s = (struct str){p, len};
    return v;
}

static bool append_all(struct cel_eval *c, struct list_builder *out, const struct cel_value *list)
{
    struct cel_iter it;
    struct cel_value key, v;
    cel_iter_init(&it, c, list);
    while (cel_iter_next(&it, &key, &v))
        if (!cel_work(c, 1) || !cel_list_add(c, out, &v))
            return false;
    return true;
}

/* Whether two elements are one and the same to a list of sets or maps. */
static bool same_item(struct cel_eval *c, const struct cel_type *t, const struct cel_value *x,
                      const struct cel_value *y)
{
    if (t->list_type == CEL_LIST_SET)
        return cel_equal(c, x, y);
    if ((x->type != CEL_MAP && x->type != CEL_OBJECT) ||
        (y->type != CEL_MAP && y->type != CEL_OBJECT))
        return false;
    for (uint32_t i = 0; i < t->n_list_keys; i++) {
        struct cel_value v, w;
        int has_v = cel_member_get(c, x, t->list_keys[i], NULL, &v),
            has_w = cel_member_get(c, y, t->list_keys[i], NULL, &w);
        if (has_v != has_w || (has_v && !cel_equal(c, &v, &w)))
            return false;
    }
    return true;
}

/* Lists that are sets or maps by their schema merge: what is in both is there once, the right
 * one's. */
static struct cel_value merge_lists(struct cel_eval *c, const struct cel_type *t,
                                    const struct cel_value *x, const struct cel_value *y)
{
    struct list_builder out = {0};
    struct cel_iter it;
    struct cel_value key, v;
    if (!append_all(c, &out, x))
        return cel_no_memory();
    cel_iter_init(&it, c, y);
    while (cel_iter_next(&it, &key, &v)) {
        uint32_t i = 0;
        while (i < out.n && !same_item(c, t, &out.v[i], &v))
            i++;
        if (c->stop || (i == out.n && !cel_list_add(c, &out, &v)))
            return cel_no_memory();
        out.v[i] = v;
    }
    return cel_list_done(&out);
}

FN(concat_list)
{
    const struct cel_type *t = a[0].rep == REP_JSON ? a[0].aux : NULL;
    struct list_builder out = {0};
    if (t && t->kind == CEL_LIST && t->list_type != CEL_LIST_ATOMIC)
        return merge_lists(c, t, &a[0], &a[1]);
    if (a[1].n == 0)
        return a[0];
    if (a[0].n == 0)
        return a[1];
    return append_all(c, &out, &a[0]) && append_all(c, &out, &a[1]) ? cel_list_done(&out)
                                                                    : cel_no_memory();
}

/* --- Comparing ----------------------------------------------------------------------------------
 */

FN(eq)
{
    return cel_bool(cel_equal(c, &a[0], &a[1]));
}
FN(ne)
{
    return cel_bool(!cel_equal(c, &a[0], &a[1]));
}
FN(lt)
{
    return cel_bool(cel_compare(&a[0], &a[1]) == -1);
}
FN(le)
{
    int r = cel_compare(&a[0], &a[1]);
    return cel_bool(r == -1 || r == 0);
}
FN(gt)
{
    return cel_bool(cel_compare(&a[0], &a[1]) == 1);
}
FN(ge)
{
    int r = cel_compare(&a[0], &a[1]);
    return cel_bool(r == 1 || r == 0);
}

FN(in_list)
{
    struct cel_iter it;
    struct cel_value key, v;
    cel_iter_init(&it, c, &a[1]);
    while (cel_iter_next(&it, &key, &v))
        if (cel_equal(c, &a[0], &v))
            return cel_bool(true);
    return cel_bool(false);
}
FN(in_map)
{
    struct cel_value v;
    return cel_bool(cel_map_get(c, &a[1], &a[0], &v) > 0);
}

/* --- Looking up ---------------------------------------------------------------------------------
 */

/* 1 and an index; 0: a number that is no index; -1: no number. */
static int as_index(const struct cel_value *k, uint64_t *ret)
{
    switch (k->type) {
    case CEL_INT:
        *ret = (uint64_t)k->i;
        return k->i >= 0;
    case CEL_UINT:
        *ret = k->u;
        return 1;
    case CEL_DOUBLE:
        if (k->d != floor(k->d) || k->d < 0 || k->d > 4e9)
            return 0;
        *ret = (uint64_t)k->d;
        return 1;
    default:
        return -1;
    }
}

static void print_key(const struct cel_value *k, struct buf *b)
{
    if (k->type == CEL_STRING)
        buf_add_utf8(b, k->s, 200);
    else
        cel_print_value(NULL, k, b, 0);
}

/* 1, 0 not there, -1 *ret is an error. */
static int lookup(struct cel_eval *c, const struct cel_value *of, const struct cel_value *k,
                  struct cel_value *ret)
{
    uint64_t i;
    if (of->type != CEL_LIST)
        return cel_map_get(c, of, k, ret);
    int r = as_index(k, &i);
    if (r < 0)
        *ret = cel_no_overload();
    return r > 0 ? cel_list_get(c, of, i, ret) : r;
}

FN(index_any)
{
    struct cel_value v;
    int r = lookup(c, &a[0], &a[1], &v);
    if (r != 0)
        return v;
    struct buf b = {0};
    print_key(&a[1], &b);
    v = a[0].type == CEL_LIST ? cel_fail(c, "index out of bounds: %.*s", STR_ARG(buf_str(&b)))
                              : cel_fail(c, "no such key: %.*s", STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return v;
}

FN(opt_index)
{
    struct cel_value v;
    const struct cel_value *of = &a[0];
    if (of->type == CEL_OPTIONAL) {
        if (!of->p)
            return *of;
        of = of->p;
    }
    if (of->type != CEL_LIST && of->type != CEL_MAP)
        return cel_no_overload();
    int r = lookup(c, of, &a[1], &v);
    return r > 0 ? cel_some(c, v) : r < 0 ? v : cel_none();
}

FN(size_any)
{
    return cel_int((int64_t)cel_size(c, &a[0]));
}

static const struct overload ROWS[] = {
    {"_+_", "ii>i", add_int, 0, COST_ONE},
    {"_+_", "uu>u", add_uint, 0, COST_ONE},
    {"_+_", "dd>d", add_double, 0, COST_ONE},
    {"_+_", "ss>s", concat, 0, COST_CONCAT},
    {"_+_", "yy>y", concat, 0, COST_CONCAT},
    {"_+_", "LALA>LA", concat_list, 0, COST_CONCAT_LIST},
    {"_-_", "ii>i", sub_int, 0, COST_ONE},
    {"_-_", "uu>u", sub_uint, 0, COST_ONE},
    {"_-_", "dd>d", sub_double, 0, COST_ONE},
    {"_*_", "ii>i", mul_int, 0, COST_ONE},
    {"_*_", "uu>u", mul_uint, 0, COST_ONE},
    {"_*_", "dd>d", mul_double, 0, COST_ONE},
    {"_/_", "ii>i", div_int, 0, COST_ONE},
    {"_/_", "uu>u", div_uint, 0, COST_ONE},
    {"_/_", "dd>d", div_double, 0, COST_ONE},
    {"_%_", "ii>i", mod_int, 0, COST_ONE},
    {"_%_", "uu>u", mod_uint, 0, COST_ONE},
    {"-_", "i>i", neg_int, 0, COST_ONE},
    {"-_", "d>d", neg_double, 0, COST_ONE},
    {"!_", "b>b", not_bool, 0, COST_ONE},
    {"_==_", "AA>b", eq, 0, COST_EQUAL},
    {"_!=_", "AA>b", ne, 0, COST_EQUAL},
#define ORDER(op, fn)                                                                              \
    {op, "bb>b", fn, 0, COST_ONE}, {op, "ii>b", fn, 0, COST_ONE}, {op, "uu>b", fn, 0, COST_ONE},   \
        {op, "dd>b", fn, 0, COST_ONE}, {op, "id>b", fn, 0, COST_ONE},                              \
        {op, "iu>b", fn, 0, COST_ONE}, {op, "ui>b", fn, 0, COST_ONE},                              \
        {op, "ud>b", fn, 0, COST_ONE}, {op, "di>b", fn, 0, COST_ONE},                              \
        {op, "du>b", fn, 0, COST_ONE}, {op, "ss>b", fn, 0, COST_EQUAL},                            \
        {op, "yy>b", fn, 0, COST_EQUAL}, {op, "tt>b", fn, 0, COST_ONE},                            \
    {                                                                                              \
        op, "rr>b", fn, 0, COST_ONE                                                                \
    }
    ORDER("_<_", lt),
    ORDER("_<=_", le),
    ORDER("_>_", gt),
    ORDER("_>=_", ge),
#undef ORDER
    {"@in", "ALA>b", in_list, 0, COST_IN_LIST},
    {"@in", "AMAB>b", in_map, 0, COST_ONE},
    {"_[_]", "LAi>A", index_any, 0, COST_ONE},
    {"_[_]", "MABA>B", index_any, 0, COST_ONE},
    {"_[_]", "OLAi>OA", opt_index, 0, COST_ONE},
    {"_[_]", "OMABA>OB", opt_index, 0, COST_ONE},
    {"_[?_]", "LAi>OA", opt_index, 0, COST_ONE},
    {"_[?_]", "MABA>OB", opt_index, 0, COST_ONE},
    {"_[?_]", "OLAi>OA", opt_index, 0, COST_ONE},
    {"_[?_]", "OMABA>OB", opt_index, 0, COST_ONE},
#define SIZE(flags)                                                                                \
    {"size", "s>i", size_any, flags, COST_ONE}, {"size", "y>i", size_any, flags, COST_ONE},        \
        {"size", "LA>i", size_any, flags, COST_ONE},                                               \
    {                                                                                              \
        "size", "MAB>i", size_any, flags, COST_ONE                                                 \
    }
    SIZE(0),
    SIZE(OV_MEMBER),
#undef SIZE
    {0},
};
const struct overload *const cel_overload_tables[] = {
    ROWS,         cel_fn_convert,  cel_fn_string, cel_fn_format, cel_fn_time,   cel_fn_list,
    cel_fn_regex, cel_fn_quantity, cel_fn_ip,     cel_fn_url,    cel_fn_semver, cel_fn_named,
    cel_fn_authz, cel_fn_optional, cel_fn_extra,  NULL,
};
