/* The loops macros stand for. What is charged is what cel-go's general loop would cost: looking at
 * the accumulator, the condition, and the calls that step it. */
#include "cel/internal.h"

struct loop {
    struct cel_eval *c;
    const struct node *n;
    struct cel_iter it;
    const struct node *filter, *body;
    bool two, list;
};

/* The next round: variables are set. False: no more, or cancelled. */
static bool next(struct loop *l)
{
    struct cel_eval *c = l->c;
    struct cel_value key, value = {0};
    bool values = l->two || l->list;
    if (!cel_work(c, 1))
        return false;
    if (++c->rounds % CEL_INTERRUPT_FREQUENCY == 0 && c->in->interrupted &&
        c->in->interrupted(c->in->interrupted_ctx)) {
        c->stop = "operation interrupted";
        return false;
    }
    if (!cel_iter_next(&l->it, &key, values ? &value : NULL))
        return false;
    if (l->two) {
        c->locals[l->n->slot] = (struct cel_local){.value = key};
        c->locals[l->n->slot2] = (struct cel_local){.value = value};
    } else {
        c->locals[l->n->slot] = (struct cel_local){.value = l->list ? value : key};
    }
    return true;
}

static struct cel_value run_all(struct loop *l, bool decides)
{
    struct cel_eval *c = l->c;
    struct cel_value r = cel_bool(!decides);
    uint64_t cond = decides ? 3 : 2;
    while (next(l)) {
        cel_charge(c, cond + 1);
        struct cel_value v = cel_run(c, l->body);
        if (v.type == CEL_BOOL && v.b == decides) {
            cel_charge(c, cond);
            r = v;
            break;
        }
        if (v.type == CEL_BOOL || r.type == CEL_ERROR)
            continue;
        r = v.type == CEL_ERROR ? v : cel_no_overload();
    }
    cel_charge(c, 1);
    return r;
}

/* 1, 0; -1: *ret is an error. */
static int wanted(struct loop *l, const struct node *test, struct cel_value *ret)
{
    if (!test)
        return 1;
    *ret = cel_run(l->c, test);
    if (ret->type == CEL_BOOL)
        return ret->b;
    if (ret->type != CEL_ERROR)
        *ret = cel_no_overload();
    return -1;
}

static struct cel_value run_one(struct loop *l)
{
    uint64_t n = 0;
    struct cel_value v;
    while (next(l)) {
        int r = wanted(l, l->body, &v);
        if (r < 0)
            return v;
        cel_charge(l->c, r ? 2 : 1);
        n += (unsigned)r;
    }
    cel_charge(l->c, 2);
    return cel_bool(n == 1);
}

static struct cel_value run_list(struct loop *l)
{
    struct list_builder out = {0};
    struct cel_value v;
    bool filter = l->n->op == NODE_FILTER;
    cel_charge(l->c, 10);
    while (next(l)) {
        int r = wanted(l, filter ? l->body : l->filter, &v);
        if (r < 0)
            return v;
        cel_charge(l->c, r ? (filter ? 13 : 12) : 1);
        if (!r)
            continue;
        v = filter ? l->c->locals[l->n->slot].value : cel_run(l->c, l->body);
        if (v.type == CEL_ERROR)
            return v;
        if (!cel_list_add(l->c, &out, &v))
            return cel_no_memory();
    }
    cel_charge(l->c, 1);
    return cel_list_done(&out);
}

static struct cel_value put(struct loop *l, struct cel_map *m, const struct cel_value *key,
                            const struct cel_value *value)
{
    int r = cel_map_put(l->c, m, key, value);
    if (r == -EEXIST)
        return cel_fail(l->c, "insert failed: key already exists");
    return r < 0 ? cel_no_memory() : cel_null();
}

static struct cel_value put_all(struct loop *l, struct cel_map *m, const struct cel_value *entries)
{
    struct cel_iter it;
    struct cel_value key, value, r = cel_null();
    if (entries->type == CEL_ERROR)
        return *entries;
    if (entries->type != CEL_MAP)
        return cel_no_overload();
    cel_iter_init(&it, l->c, entries);
    while (r.type != CEL_ERROR && cel_iter_next(&it, &key, &value)) {
        if (!cel_work(l->c, 1))
            return cel_no_memory();
        r = put(l, m, &key, &value);
    }
    return r;
}

static struct cel_value run_map(struct loop *l)
{
    struct cel_map *m = cel_map_new(l->c);
    struct cel_value v;
    cel_charge(l->c, 30);
    if (!m)
        return cel_no_memory();
    while (next(l)) {
        int r = wanted(l, l->filter, &v);
        if (r < 0)
            return v;
        cel_charge(l->c, r ? 3 : 1);
        if (!r)
            continue;
        struct cel_value key = l->c->locals[l->n->slot].value;
        v = cel_run(l->c, l->body);
        if (v.type == CEL_ERROR)
            return v;
        v = l->n->op == NODE_MAP_MAP ? put(l, m, &key, &v) : put_all(l, m, &v);
        if (v.type == CEL_ERROR)
            return v;
    }
    cel_charge(l->c, 1);
    return cel_map_value(m);
}

struct cel_value cel_run_loop(struct cel_eval *c, const struct node *n)
{
    struct cel_value range = cel_run(c, n->kids[0]), r;
    struct loop l = {.c = c, .n = n, .body = n->kids[n->n - 1], .two = n->var2.p};
    if (range.type == CEL_ERROR)
        return range;
    if (range.type != CEL_LIST && range.type != CEL_MAP)
        return cel_no_overload();
    l.list = range.type == CEL_LIST;
    l.filter = n->n == 3 ? n->kids[1] : NULL;
    cel_iter_init(&l.it, c, &range);
    switch (n->op) {
    case NODE_ALL:
        r = run_all(&l, false);
        break;
    case NODE_EXISTS:
        r = run_all(&l, true);
        break;
    case NODE_EXISTS_ONE:
        r = run_one(&l);
        break;
    case NODE_MAP_LIST:
    case NODE_FILTER:
        r = run_list(&l);
        break;
    default:
        r = run_map(&l);
        break;
    }
    return c->stop ? cel_error(str_z(c->stop)) : r;
}
