/* Quantities of Kubernetes. */
#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static const struct quantity *q_of(const struct cel_value *v)
{
    return v->p;
}
static struct cel_value box(struct cel_eval *c, struct quantity q)
{
    struct quantity *p = cel_alloc(c, sizeof *p);
    if (!p)
        return cel_no_memory();
    *p = q;
    return cel_box(CEL_QUANTITY, p);
}

FN(quantity_of)
{
    struct quantity q = {0};
    if (quantity_parse(a[0].s, &q) < 0)
        return cel_error(STR("quantities must match the regular expression "
                             "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"));
    return box(c, q);
}
FN(is_quantity)
{
    struct quantity q;
    return cel_bool(quantity_parse(a[0].s, &q) == 0);
}
FN(sign)
{
    int64_t m = q_of(&a[0])->mantissa;
    return cel_int((m > 0) - (m < 0));
}
FN(is_integer)
{
    return cel_bool(q_of(&a[0])->scale >= 0);
}
FN(as_integer)
{
    if (q_of(&a[0])->scale < 0)
        return cel_error(STR("cannot convert value to integer"));
    return cel_int(quantity_value(q_of(&a[0])));
}
FN(as_float)
{
    double d = (double)q_of(&a[0])->mantissa;
    for (int s = q_of(&a[0])->scale; s > 0; s--)
        d *= 10;
    double by = 1;
    for (int s = q_of(&a[0])->scale; s < 0; s++)
        by *= 10;
    return cel_double(d / by);
}
FN(add_q)
{
    return box(c, quantity_add(q_of(&a[0]), q_of(&a[1])));
}
FN(sub_q)
{
    return box(c, quantity_sub(q_of(&a[0]), q_of(&a[1])));
}
FN(add_i)
{
    struct quantity i = quantity_from(a[1].i, QUANTITY_DECIMAL_SI);
    return box(c, quantity_add(q_of(&a[0]), &i));
}
FN(sub_i)
{
    struct quantity i = quantity_from(a[1].i, QUANTITY_DECIMAL_SI);
    return box(c, quantity_sub(q_of(&a[0]), &i));
}
FN(less)
{
    return cel_bool(quantity_cmp(q_of(&a[0]), q_of(&a[1])) < 0);
}
FN(greater)
{
    return cel_bool(quantity_cmp(q_of(&a[0]), q_of(&a[1])) > 0);
}
FN(compare)
{
    return cel_int(quantity_cmp(q_of(&a[0]), q_of(&a[1])));
}

const struct overload cel_fn_quantity[] = {
    {"quantity", "s>q", quantity_of, 0, COST_ARG0},
    {"isQuantity", "s>b", is_quantity, 0, COST_ARG0},
    {"sign", "q>i", sign, OV_MEMBER, COST_ONE},
    {"isInteger", "q>b", is_integer, OV_MEMBER, COST_ONE},
    {"asInteger", "q>i", as_integer, OV_MEMBER, COST_ONE},
    {"asApproximateFloat", "q>d", as_float, OV_MEMBER, COST_ONE},
    {"add", "qq>q", add_q, OV_MEMBER, COST_ONE},
    {"add", "qi>q", add_i, OV_MEMBER, COST_ONE},
    {"sub", "qq>q", sub_q, OV_MEMBER, COST_ONE},
    {"sub", "qi>q", sub_i, OV_MEMBER, COST_ONE},
    {"isLessThan", "qq>b", less, OV_MEMBER, COST_ONE},
    {"isGreaterThan", "qq>b", greater, OV_MEMBER, COST_ONE},
    {"compareTo", "qq>i", compare, OV_MEMBER, COST_ONE},
    {0},
};
