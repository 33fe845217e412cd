/* The estimate of what an expression can cost at most, before it runs: a range, from the sizes that
 * literals and schemas give (maxLength, maxItems, maxProperties). Kubernetes refuses rules of
 * custom resources by it, so the arithmetic is cel-go's: loops cost their range times the body,
 * whichever way a condition may go costs its dearer branch, and what has no bound costs without
 * bound.
 *
 * A size is taken from a type only of what is read straight from a variable; values that functions
 * made carry a size of their own, since the checker's types say nothing about theirs. */
#include <math.h>

#include "cel/internal.h"

typedef struct cel_range range;

struct info {
    range cost;
    bool sized, entries; /* whether size, whether key and val are known */
    bool read;           /* straight from a variable */
    range size, key, val;
};

struct estimate {
    struct compile *c;
    struct info *locals; /* by slot; cost unused */
};

#define NUMBER_TEXT_MAX 40 /* the longest a bool, number, time or duration prints */
#define UNKNOWN         ((range){0, UINT64_MAX})

static uint64_t add64(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
static uint64_t mul64(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}
static range fixed(uint64_t n)
{
    return (range){n, n};
}
static range plus(range a, range b)
{
    return (range){add64(a.min, b.min), add64(a.max, b.max)};
}
static range times(range a, range b)
{
    return (range){mul64(a.min, b.min), mul64(a.max, b.max)};
}
static range join(range a, range b)
{
    return (range){MIN(a.min, b.min), MAX(a.max, b.max)};
}
static uint64_t scale64(uint64_t n, double by)
{
    double d = ceil((double)n * by);
    return d >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)d;
}
static range scaled(range a, double by)
{
    return (range){scale64(a.min, by), scale64(a.max, by)};
}

static const struct cel_type *type_of(const struct node *n)
{
    const struct cel_type *t = n->type;
    while (t->kind == CEL_PARAM && t->elem)
        t = t->elem;
    return t;
}
static const struct cel_type *bound(const struct cel_type *t)
{
    while (t && t->kind == CEL_PARAM && t->elem)
        t = t->elem;
    return t;
}

static bool scalar(const struct cel_type *t)
{
    return t->kind == CEL_BOOL || t->kind == CEL_INT || t->kind == CEL_UINT ||
           t->kind == CEL_DOUBLE || t->kind == CEL_TIMESTAMP || t->kind == CEL_DURATION ||
           t->kind == CEL_NULL || t->kind == CEL_TYPE ||
           (t->kind >= CEL_QUANTITY && t->kind < _CEL_VALUE_MAX);
}

/* The size of a value of that type, when the type bounds it. */
static bool type_size(const struct cel_type *t, range *ret)
{
    if (scalar(t)) {
        *ret = fixed(1);
        return true;
    }
    if (t->max_size == CEL_SIZE_UNKNOWN)
        return false;
    *ret = (range){0, t->max_size};
    return true;
}

static range size_of(const struct info *i)
{
    return i->sized ? i->size : UNKNOWN;
}

static struct info estimate(struct estimate *e, const struct node *n);

static void sized(struct info *i, range size)
{
    i->sized = true;
    i->size = size;
}

/* Fills in what the type says: of scalars always, of others when they were read. */
static struct info with_type(struct info i, const struct cel_type *t)
{
    if (!i.sized && (i.read || scalar(t)))
        i.sized = type_size(t, &i.size);
    if (!i.entries && i.read && (t->kind == CEL_LIST || t->kind == CEL_MAP)) {
        const struct cel_type *elem = bound(cel_type_elem(t)), *key = bound(t->key);
        i.entries = true;
        i.key = i.val = UNKNOWN;
        (void)type_size(elem, &i.val);
        if (t->kind == CEL_LIST)
            i.key = fixed(1);
        else if (key)
            (void)type_size(key, &i.key);
    }
    return i;
}

static struct info estimate_const(const struct node *n)
{
    struct info i = {0};
    const struct cel_value *v = &n->value;
    sized(&i, fixed(v->type == CEL_STRING  ? cel_utf8_count(v->s)
                    : v->type == CEL_BYTES ? v->s.n
                                           : 1));
    return i;
}

static struct info estimate_ident(struct estimate *e, const struct node *n)
{
    struct info i = {.read = true};
    if (n->flags & NODE_LOCAL)
        i = e->locals[n->slot];
    i.cost = fixed(1);
    return with_type(i, type_of(n));
}

static struct info estimate_select(struct estimate *e, const struct node *n)
{
    struct info of = estimate(e, n->kids[0]), i = {.cost = of.cost, .read = of.read};
    unsigned kind = type_of(n->kids[0])->kind;
    if (n->flags & NODE_TEST)
        i.read = false;
    else if (kind == CEL_MAP || kind == CEL_OBJECT || kind == CEL_PARAM ||
             n->flags & (NODE_OPT | NODE_BY_OPT)) /* cel-go: nothing for what is dyn */
        i.cost = plus(i.cost, fixed(1));
    if (n->flags & (NODE_OPT | NODE_BY_OPT))
        i.read = false;
    if (i.read && kind == CEL_MAP && of.entries)
        sized(&i, of.val);
    return with_type(i, type_of(n));
}

/* --- Calls --------------------------------------------------------------------------------------
 */

static range replaced(range s, range old, range new)
{
    range r = {0, 0};
    if (old.min == 0)
        r.max = add64(mul64(add64(s.max, 1), new.max), s.max);
    else if (new.max <= old.min)
        r.max = s.max;
    else
        r.max = mul64(scale64(s.max, 1.0 / (double)old.min), new.max);
    return r;
}

static range joined(const struct info *list, const struct info *sep)
{
    range n = size_of(list), r = times(n, list->entries ? list->val : UNKNOWN);
    if (sep)
        r = plus(r, times(size_of(sep), (range){n.min ? n.min - 1 : 0, n.max ? n.max - 1 : 0}));
    return r;
}

static range traversed(const struct info *a, const struct cel_type *t)
{
    if (t->kind != CEL_LIST)
        return scaled(size_of(a), 0.1);
    unsigned elem = bound(cel_type_elem(t))->kind;
    range each = fixed(1);
    if (elem == CEL_STRING || elem == CEL_BYTES || elem == CEL_DYN)
        each = plus(each, scaled(a->entries ? a->val : UNKNOWN, 0.1));
    return times(size_of(a), each);
}

static range equal_cost(range a, range b)
{
    uint64_t max = MIN(a.max, b.max);
    return scaled((range){max > 0, max}, 0.1);
}

/* Cost of one overload; sizes of the result into *ret. */
static range call_cost(const struct overload *o, const struct node *n, const struct info *k,
                       struct info *ret)
{
    range a = n->n ? size_of(&k[0]) : fixed(0), b = n->n > 1 ? size_of(&k[1]) : fixed(0), s;
    switch ((enum cost_rule)o->cost) {
    case COST_ONE:
        return fixed(1);
    case COST_ARG0:
        sized(ret, (range){0, mul64(a.max, str_eqz(n->name, "bytes") ? 4 : 1)});
        return scaled(a, 0.1);
    case COST_STARTS:
        return scaled(b, 0.1);
    case COST_ARG0_TWICE:
        if (n->n > 2)
            sized(ret, replaced(a, b, size_of(&k[2])));
        return scaled(a, 0.2);
    case COST_SPLIT:
        sized(ret, (range){0, a.max});
        ret->entries = true;
        ret->key = fixed(1);
        ret->val = (range){0, a.max};
        return scaled(a, 0.2);
    case COST_JOIN:
        s = joined(&k[0], n->n > 1 ? &k[1] : NULL);
        sized(ret, s);
        return scaled(s, 0.1);
    case COST_EQUAL:
        return equal_cost(a, b);
    case COST_CONCAT:
    case COST_CONCAT_LIST:
        s = plus(a, b);
        sized(ret, s);
        if (k[0].entries && k[1].entries) {
            ret->entries = true;
            ret->key = join(k[0].key, k[1].key);
            ret->val = join(k[0].val, k[1].val);
        }
        return o->cost == COST_CONCAT ? scaled(s, 0.1) : fixed(1);
    case COST_IN_LIST:
        return b;
    case COST_MATCH:
        sized(ret, (range){0, a.max});
        ret->entries = true;
        ret->key = fixed(1);
        ret->val = (range){0, a.max};
        return times(scaled(plus(a, fixed(1)), 0.1), scaled(b, 0.25));
    case COST_CONTAINS:
        return times(scaled(a, 0.1), scaled(b, 0.1));
    case COST_TRAVERSE:
        if (k[0].entries)
            sized(ret, k[0].val);
        return traversed(&k[0], type_of(n->kids[0]));
    case COST_CHECK:
        return fixed(350000);
    case COST_SELECTOR:
        return plus(fixed(10), plus(scaled(b, 0.1), scaled(scaled(b, 0.5), 50)));
    case COST_VALIDATE:
        return scaled(scaled(b, 0.1), 128 * 0.25);
    case COST_CIDR_IP:
    case COST_CIDR_IP_TEXT:
        s = scaled((range){8, 32}, 0.1);
        return o->cost == COST_CIDR_IP_TEXT ? plus(s, scaled(b, 0.1)) : s;
    case COST_CIDR_CIDR:
    case COST_CIDR_CIDR_TEXT:
        s = plus(plus(scaled((range){8, 32}, 0.1), scaled((range){4, 16}, 0.1)), fixed(1));
        return o->cost == COST_CIDR_CIDR_TEXT ? plus(s, scaled(b, 0.1)) : s;
    case COST_LISTS:
        return plus(times(a, b), fixed(1));
    }
    return fixed(1);
}

static struct info estimate_call(struct estimate *e, const struct node *n)
{
    struct info k[CEL_ARGS_MAX], i = {0};
    range best = {UINT64_MAX, 0};
    for (unsigned j = 0; j < n->n; j++) {
        k[j] = estimate(e, n->kids[j]);
        i.cost = plus(i.cost, k[j].cost);
    }
    for (uint32_t j = 0; j < n->n_ov; j++) {
        struct info r = {0};
        best = join(best, call_cost(n->ov[j], n, k, &r));
        if (r.sized)
            sized(&i, i.sized ? join(i.size, r.size) : r.size);
        if (r.entries && !i.entries) {
            i.entries = true;
            i.key = r.key;
            i.val = r.val;
        } else if (r.entries) {
            i.key = join(i.key, r.key);
            i.val = join(i.val, r.val);
        }
    }
    i.cost = plus(i.cost, best);
    if (str_is(n->name, "_[_]")) {
        i.read = k[0].read;
        if (k[0].entries)
            sized(&i, k[0].val);
    } else if (str_is(n->name, "dyn")) {
        range cost = i.cost;
        i = k[0];
        i.cost = cost;
        return with_type(i, type_of(n->kids[0]));
    } else if (str_is(n->name, "string") && n->n == 1) {
        /* a number or a time is a short text, which messages are often made with */
        uint8_t of = type_of(n->kids[0])->kind;
        if (of == CEL_BOOL || of == CEL_INT || of == CEL_UINT || of == CEL_DOUBLE ||
            of == CEL_TIMESTAMP || of == CEL_DURATION)
            sized(&i, (range){1, NUMBER_TEXT_MAX});
    }
    return with_type(i, type_of(n));
}

/* --- Literals and branches ----------------------------------------------------------------------
 */

static struct info estimate_literal(struct estimate *e, const struct node *n)
{
    bool list = n->op == NODE_LIST;
    range none = {UINT64_MAX, 0};
    struct info i = {.cost = fixed(list                    ? 10
                                   : n->op == NODE_MESSAGE ? 40
                                                           : 30),
                     .entries = true,
                     .key = none,
                     .val = none};
    sized(&i, fixed(list ? n->n : n->n / 2));
    for (uint32_t j = 0; j < n->n; j++) {
        struct info k = estimate(e, n->kids[j]);
        i.cost = plus(i.cost, k.cost);
        if (!list && j % 2 == 0)
            i.key = join(i.key, size_of(&k));
        else
            i.val = join(i.val, size_of(&k));
    }
    if (list)
        i.key = fixed(1);
    if (n->n == 0)
        i.key = i.val = fixed(0);
    return i;
}

static struct info estimate_logic(struct estimate *e, const struct node *n)
{
    struct info a = estimate(e, n->kids[0]), b = estimate(e, n->kids[1]), i = {0};
    i.cost = (range){a.cost.min, add64(a.cost.max, b.cost.max)};
    sized(&i, fixed(1));
    return i;
}

static struct info estimate_cond(struct estimate *e, const struct node *n)
{
    struct info c = estimate(e, n->kids[0]), a = estimate(e, n->kids[1]),
                b = estimate(e, n->kids[2]), i = {0};
    i.cost = plus(c.cost, join(a.cost, b.cost));
    sized(&i, join(size_of(&a), size_of(&b)));
    i.entries = a.entries && b.entries;
    i.key = join(a.key, b.key);
    i.val = join(a.val, b.val);
    return i;
}

static struct info estimate_bind(struct estimate *e, const struct node *n)
{
    struct info of = estimate(e, n->kids[0]);
    if (n->op == NODE_BIND) {
        e->locals[n->slot] = of;
    } else {
        e->locals[n->slot] = (struct info){0};
    }
    struct info body = estimate(e, n->kids[1]);
    if (n->op == NODE_BIND) {
        body.cost = plus(plus(of.cost, body.cost), fixed(10));
        return body;
    }
    struct info i = {.cost = plus(plus(of.cost, (range){0, body.cost.max}), fixed(12))};
    return i;
}

/* --- Loops --------------------------------------------------------------------------------------
 */

/* One round: what the macro's condition and step cost around the body (eval_loop.c). */
static range round_cost(const struct node *n, range filter, range body, uint64_t *ret_before,
                        uint64_t *ret_after)
{
    range step;
    *ret_before = 0;
    *ret_after = 1;
    switch (n->op) {
    case NODE_ALL:
        return (range){3, add64(3, body.max)};
    case NODE_EXISTS:
        return (range){4, add64(4, body.max)};
    case NODE_EXISTS_ONE:
        *ret_after = 2;
        return plus(body, (range){1, 2});
    case NODE_FILTER:
        *ret_before = 10;
        return plus(body, (range){1, 13});
    case NODE_MAP_LIST:
        *ret_before = 10;
        step = plus(body, fixed(12));
        break;
    default:
        *ret_before = 30;
        step = plus(body, fixed(3));
    }
    return n->n == 3 ? plus(filter, (range){1, step.max}) : step;
}

static struct info estimate_loop(struct estimate *e, const struct node *n)
{
    struct info of = estimate(e, n->kids[0]), i = {0}, filter = {0};
    bool list = type_of(n->kids[0])->kind == CEL_LIST, two = n->var2.p;
    struct info key = {.read = of.read && !of.entries}, val = key;
    uint64_t before, after;
    if (of.entries) {
        sized(&key, of.key);
        sized(&val, of.val);
        /* What is inside the elements is known by their types alone. */
        key.read = val.read = of.read;
    }
    e->locals[n->slot] = two || !list ? key : val;
    if (two)
        e->locals[n->slot2] = val;
    if (n->n == 3)
        filter = estimate(e, n->kids[1]);
    struct info body = estimate(e, n->kids[n->n - 1]);
    range count = size_of(&of), each = round_cost(n, filter.cost, body.cost, &before, &after);
    i.cost = plus(plus(of.cost, fixed(before + after)), times(count, each));
    if (n->op == NODE_ALL || n->op == NODE_EXISTS || n->op == NODE_EXISTS_ONE) {
        sized(&i, fixed(1));
        return i;
    }
    bool some = n->n == 3 || n->op == NODE_FILTER;
    sized(&i, some ? (range){0, count.max} : count);
    i.entries = n->op != NODE_MAP_ENTRIES;
    i.key = n->op == NODE_MAP_MAP ? size_of(&key) : fixed(1);
    i.val = n->op == NODE_FILTER ? size_of(list && !two ? &val : &key) : size_of(&body);
    if (n->op == NODE_MAP_ENTRIES)
        i.sized = false;
    return i;
}

static struct info estimate(struct estimate *e, const struct node *n)
{
    switch ((enum node_op)n->op) {
    case NODE_CONST:
        return estimate_const(n);
    case NODE_IDENT:
        return estimate_ident(e, n);
    case NODE_SELECT:
        return estimate_select(e, n);
    case NODE_CALL:
        return estimate_call(e, n);
    case NODE_LIST:
    case NODE_MAP:
    case NODE_MESSAGE:
        return estimate_literal(e, n);
    case NODE_AND:
    case NODE_OR:
        return estimate_logic(e, n);
    case NODE_COND:
        return estimate_cond(e, n);
    case NODE_BIND:
    case NODE_OPT_MAP:
    case NODE_OPT_FLAT_MAP:
        return estimate_bind(e, n);
    default:
        return estimate_loop(e, n);
    }
}

struct cel_range cel_estimate(struct compile *c, struct node *root)
{
    struct estimate e = {.c = c, .locals = ARENA_NEW_N(c->a, struct info, c->n_slots + 1)};
    return estimate(&e, root).cost;
}
