/* Optional values; and what cel-go has beside Kubernetes (CEL_ENV_EXTRAS). */
#include "cel/internal.h"
#include "codec/base64.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

FN(of)
{
    return cel_some(c, a[0]);
}

static bool is_zero(struct cel_eval *c, const struct cel_value *v)
{
    switch (v->type) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
        return !v->b;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION:
        return v->u == 0;
    case CEL_DOUBLE:
        return v->d == 0;
    case CEL_STRING:
    case CEL_BYTES:
        return v->s.n == 0;
    case CEL_LIST:
    case CEL_MAP:
        return cel_count(c, v) == 0;
    case CEL_OBJECT:
        return v->rep != REP_HOST && cel_count(c, v) == 0;
    case CEL_TIMESTAMP:
        return v->i == 0 && v->n == 0;
    case CEL_OPTIONAL:
        return !v->p;
    default:
        return false;
    }
}
FN(of_non_zero)
{
    return is_zero(c, &a[0]) ? cel_none() : cel_some(c, a[0]);
}
FN(none)
{
    return cel_none();
}
FN(has_value)
{
    return cel_bool(a[0].p);
}
FN(value)
{
    return a[0].p ? *(const struct cel_value *)a[0].p
                  : cel_error(STR("optional.none() dereference"));
}
FN(or_)
{
    return a[0].p ? a[0] : a[1];
}
FN(or_value)
{
    return a[0].p ? *(const struct cel_value *)a[0].p : a[1];
}

FN(encode)
{
    struct buf b = {0};
    base64_print(a[0].s, &b);
    return cel_take_buf(c, &b);
}
FN(decode)
{
    struct str s;
    if (!cel_work(c, a[0].s.n) || base64_parse(a[0].s, c->a, &s) < 0)
        return cel_error(STR("illegal base64 data"));
    return cel_bytes(s);
}
FN(escape_key)
{
    struct buf b = {0};
    for (size_t i = 0; i < a[0].s.n; i++) {
        char ch = a[0].s.p[i];
        if (ch == '~' || ch == '/')
            buf_add_str(&b, ch == '~' ? STR("~0") : STR("~1"));
        else
            buf_add_char(&b, ch);
    }
    return cel_take_buf(c, &b);
}

const struct overload cel_fn_optional[] = {
    {"optional.of", "A>OA", of, 0, COST_ONE},
    {"optional.ofNonZeroValue", "A>OA", of_non_zero, 0, COST_ONE},
    {"optional.none", ">OA", none, 0, COST_ONE},
    {"hasValue", "OA>b", has_value, OV_MEMBER, COST_ONE},
    {"value", "OA>A", value, OV_MEMBER, COST_ONE},
    {"or", "OAOA>OA", or_, OV_MEMBER | OV_LAZY, COST_ONE},
    {"orValue", "OAA>A", or_value, OV_MEMBER | OV_LAZY, COST_ONE},
    {0},
};
const struct overload cel_fn_extra[] = {
    {"base64.encode", "y>s", encode, OV_EXTRA, COST_ARG0},
    {"base64.decode", "s>y", decode, OV_EXTRA, COST_ARG0},
    {"jsonpatch.escapeKey", "s>s", escape_key, OV_MUTATION, COST_ARG0},
    {0},
};
