/* Comparing messages by meaning. Used where a write may turn out to change nothing, and to see what
 * an update touched, so nil and empty must not differ where the API does not tell them apart. */
#include "schema/internal.h"

bool schema_value_equal(const struct schema_field *f, const void *x, const void *y)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case SCHEMA_INT32:
        return *(const int32_t *)x == *(const int32_t *)y;
    case SCHEMA_INT64:
        return *(const int64_t *)x == *(const int64_t *)y;
    case SCHEMA_DOUBLE:
        return *(const double *)x == *(const double *)y;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_RAW:
        return str_eq(*(const struct str *)x, *(const struct str *)y);
    case SCHEMA_MSG:
        return schema_equal(f->msg, x, y);
    case SCHEMA_QUANTITY:
        return quantity_cmp(x, y) == 0;
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME: {
        const struct timestamp *a = x, *b = y;
        return a->set == b->set && (!a->set || a->usec == b->usec);
    }
    case SCHEMA_DURATION:
        return ((const struct duration *)x)->nsec == ((const struct duration *)y)->nsec;
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *a = x, *b = y;
        if (a->type == INT_OR_STR_STR || b->type == INT_OR_STR_STR)
            return a->type == b->type && str_eq(a->s, b->s);
        return (a->type ? a->i : 0) == (b->type ? b->i : 0);
    }
    case _SCHEMA_TYPE_MAX:
        break;
    }
    return false;
}

static bool elems_equal(const struct schema_field *f, const void *a, const void *b)
{
    uint32_t n = schema_count(f, a);
    const char *x = schema_elems(f, a), *y = schema_elems(f, b);
    bool map = f->flags & SCHEMA_MAP;
    if (n != schema_count(f, b))
        return false;
    for (; n; n--, x += f->elem_size, y += f->elem_size) {
        if (map &&
            !str_eq(*(const struct str *)(const void *)x, *(const struct str *)(const void *)y))
            return false;
        if (!schema_value_equal(f, map ? x + SCHEMA_MAP_VALUE : x, map ? y + SCHEMA_MAP_VALUE : y))
            return false;
    }
    return true;
}

bool schema_field_equal(const struct schema_field *f, const void *a, const void *b)
{
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP))
        return elems_equal(f, a, b);
    if (!(f->flags & SCHEMA_POINTER))
        return schema_value_equal(f, schema_at(f, a), schema_at(f, b));
    bool none = schema_field_absent(f, a);
    if (none != schema_field_absent(f, b))
        return false;
    if (none)
        return true;
    if (f->type == SCHEMA_MSG)
        return schema_equal(f->msg, schema_sub(f, a), schema_sub(f, b));
    return schema_value_equal(f, schema_at(f, a), schema_at(f, b));
}

bool schema_equal(const struct schema_desc *desc, const void *a, const void *b)
{
    if (a == b)
        return true;
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++)
        if (!schema_field_equal(f, a, b))
            return false;
    return true;
}

bool schema_is_empty(const struct schema_desc *desc, const void *msg)
{
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++)
        if (!schema_field_absent(f, msg))
            return false;
    return true;
}
