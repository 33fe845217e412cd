/* Equality and order. Numbers compare by what they are worth, whatever their types; values of
 * different kinds are unequal, not an error. Values share parts, so that comparing two small
 * expressions may be exponential work: it is counted (cel_work). */
#include <math.h>

#include "cel/internal.h"

#define EQUAL_WORK  8    /* one look at two values, in steps of ten nanoseconds */
#define EQUAL_DEPTH 1200 /* of values; an expression and a tree together are not deeper */

static bool number(const struct cel_value *v)
{
    return v->type == CEL_INT || v->type == CEL_UINT || v->type == CEL_DOUBLE;
}

static int cmp_double_int(double d, int64_t i)
{
    if (isnan(d))
        return 2;
    if (d < -9223372036854775808.0)
        return -1;
    if (d >= 9223372036854775808.0)
        return 1;
    int64_t t = (int64_t)d;
    double frac = d - (double)t;
    return t != i ? (t > i ? 1 : -1) : frac > 0 ? 1 : frac < 0 ? -1 : 0;
}
static int cmp_double_uint(double d, uint64_t u)
{
    if (isnan(d))
        return 2;
    if (d < 0)
        return -1;
    if (d >= 18446744073709551616.0)
        return 1;
    uint64_t t = (uint64_t)d;
    double frac = d - (double)t;
    return t != u ? (t > u ? 1 : -1) : frac > 0 ? 1 : 0;
}
static int swap(int r)
{
    return r == 2 ? 2 : -r;
}
#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

static int cmp_number(const struct cel_value *a, const struct cel_value *b)
{
    if (a->type == b->type) {
        if (a->type == CEL_INT)
            return CMP(a->i, b->i);
        if (a->type == CEL_UINT)
            return CMP(a->u, b->u);
        return isnan(a->d) || isnan(b->d) ? 2 : CMP(a->d, b->d);
    }
    if (a->type == CEL_DOUBLE)
        return b->type == CEL_INT ? cmp_double_int(a->d, b->i) : cmp_double_uint(a->d, b->u);
    if (b->type == CEL_DOUBLE)
        return swap(cmp_number(b, a));
    if (a->type == CEL_INT)
        return a->i < 0 ? -1 : CMP((uint64_t)a->i, b->u);
    return swap(cmp_number(b, a));
}

int cel_compare(const struct cel_value *a, const struct cel_value *b)
{
    if (number(a) && number(b))
        return cmp_number(a, b);
    if (a->type != b->type)
        return 2;
    switch (a->type) {
    case CEL_BOOL:
        return CMP(a->b, b->b);
    case CEL_STRING:
    case CEL_BYTES: {
        int r = str_cmp(a->s, b->s);
        return (r > 0) - (r < 0);
    }
    case CEL_TIMESTAMP:
        return a->i != b->i ? CMP(a->i, b->i) : CMP(a->n, b->n);
    case CEL_DURATION:
        return CMP(a->i, b->i);
    default:
        return 2;
    }
}

static bool equal(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b,
                  unsigned depth);

static bool unordered(const struct cel_value *v)
{
    const struct cel_type *t = v->rep == REP_JSON ? v->aux : NULL;
    return t && t->kind == CEL_LIST && t->list_type != CEL_LIST_ATOMIC;
}

static bool contains(struct cel_eval *c, const struct cel_value *list, const struct cel_value *v,
                     unsigned depth)
{
    struct cel_iter it;
    struct cel_value key, item;
    cel_iter_init(&it, c, list);
    while (cel_iter_next(&it, &key, &item))
        if (equal(c, &item, v, depth))
            return true;
    return false;
}

static bool equal_list(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b,
                       unsigned depth)
{
    struct cel_iter x, y;
    struct cel_value key, v, w;
    if (a->n != b->n)
        return false;
    if (a->p == b->p && a->rep == b->rep && a->rep != REP_ARRAY)
        return true;
    bool any = unordered(a) || unordered(b); /* x-kubernetes-list-type */
    cel_iter_init(&x, c, a);
    cel_iter_init(&y, c, b);
    while (cel_iter_next(&x, &key, &v)) {
        if (any ? !contains(c, b, &v, depth)
                : !cel_iter_next(&y, &key, &w) || !equal(c, &v, &w, depth))
            return false;
    }
    return true;
}

static bool equal_map(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b,
                      unsigned depth)
{
    struct cel_iter it;
    struct cel_value key, v, w;
    if (a->rep == REP_HOST || b->rep == REP_HOST)
        return a->rep == b->rep && a->p == b->p;
    if (cel_count(c, a) != cel_count(c, b))
        return false;
    cel_iter_init(&it, c, a);
    while (cel_iter_next(&it, &key, &v))
        if (cel_map_get(c, b, &key, &w) <= 0 || !equal(c, &v, &w, depth))
            return false;
    return true;
}

static bool equal_authz(const struct cel_authz *a, const struct cel_authz *b)
{
    const struct cel_authz_check *x = &a->what, *y = &b->what;
    return a->who == b->who && str_eq(x->account_namespace, y->account_namespace) &&
           str_eq(x->account_name, y->account_name) && x->is_path == y->is_path &&
           str_eq(x->path, y->path) && str_eq(x->group, y->group) &&
           str_eq(x->resource, y->resource) && str_eq(x->subresource, y->subresource) &&
           str_eq(x->namespace_, y->namespace_) && str_eq(x->name, y->name) &&
           str_eq(x->verb, y->verb) && str_eq(x->field_selector, y->field_selector) &&
           str_eq(x->label_selector, y->label_selector);
}

static bool equal_boxed(const struct cel_value *a, const struct cel_value *b)
{
    switch (a->type) {
    case CEL_QUANTITY:
        return quantity_cmp(a->p, b->p) == 0;
    case CEL_IP:
    case CEL_CIDR: {
        const struct cel_ip *x = a->p, *y = b->p;
        return x->len == y->len && memcmp(x->bytes, y->bytes, x->len) == 0 &&
               x->prefix == y->prefix;
    }
    case CEL_SEMVER:
        return cel_semver_cmp(a->p, b->p) == 0;
    case CEL_URL: {
        const struct cel_url *x = a->p, *y = b->p;
        return str_eq(x->scheme, y->scheme) && str_eq(x->host, y->host) &&
               str_eq(x->path, y->path) && str_eq(x->query, y->query);
    }
    case CEL_AUTHORIZER:
    case CEL_PATH_CHECK:
    case CEL_GROUP_CHECK:
    case CEL_RESOURCE_CHECK:
    case CEL_DECISION:
        return equal_authz(a->p, b->p);
    default:
        return a->p == b->p;
    }
}

static bool equal(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b,
                  unsigned depth)
{
    if (number(a) && number(b))
        return cmp_number(a, b) == 0;
    bool maps = (a->type == CEL_MAP || a->type == CEL_OBJECT) &&
                (b->type == CEL_MAP || b->type == CEL_OBJECT);
    if ((a->type != b->type && !maps) || depth > EQUAL_DEPTH || (c && !cel_work(c, EQUAL_WORK)))
        return false;
    switch (a->type) {
    case CEL_NULL:
        return true;
    case CEL_LIST:
        return c && equal_list(c, a, b, depth + 1);
    case CEL_MAP:
    case CEL_OBJECT:
        return c && equal_map(c, a, b, depth + 1);
    case CEL_OPTIONAL:
        return a->p && b->p ? equal(c, a->p, b->p, depth + 1) : a->p == b->p;
    case CEL_STRING:
    case CEL_BYTES:
        if (c)
            (void)cel_work(c, a->s.n / 16);
        return str_eq(a->s, b->s);
    case CEL_TYPE:
        return str_eq(a->s, b->s);
    case CEL_BOOL:
    case CEL_TIMESTAMP:
    case CEL_DURATION:
        return cel_compare(a, b) == 0;
    default:
        return equal_boxed(a, b);
    }
}

bool cel_equal(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b)
{
    return equal(c, a, b, 0);
}

bool cel_value_equal(const struct cel_value *a, const struct cel_value *b)
{
    struct arena arena = {0};
    struct cel_eval c = {.a = &arena, .work_max = CEL_WORK_MAX, .memory_max = SIZE_MAX};
    bool r = equal(&c, a, b, 0);
    arena_fini(&arena);
    return r;
}
