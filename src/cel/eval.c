/* The interpreter: walks the checked tree. Everything was resolved before: variables are places,
 * functions are rows with the kinds their arguments may have, so that a simple rule is a few dozen
 * instructions a node and no look-up by name but in the data. Errors are values; they travel up
 * until a && or || does not need them. A cancelled evaluation travels up as well, but nothing
 * absorbs it. */
#include "cel/internal.h"

#define LOCALS_SMALL 16

static struct cel_value cancelled(const struct cel_eval *c)
{
    return cel_error(str_z(c->stop));
}

static struct cel_value run_ident(struct cel_eval *c, const struct node *n)
{
    cel_charge(c, !(n->flags & NODE_FREE));
    if (n->flags & NODE_LOCAL) {
        struct cel_local *l = &c->locals[n->slot];
        if (l->init) {
            const struct node *init = l->init;
            l->init = NULL;
            l->value = cel_run(c, init);
        }
        return l->value;
    }
    if (n->slot >= c->in->n_vars || c->in->vars[n->slot].type == CEL_ERROR) {
        const struct cel_value *v = n->slot < c->in->n_vars ? &c->in->vars[n->slot] : NULL;
        return v && v->s.p ? *v : cel_fail(c, "no such attribute(s): %.*s", STR_ARG(n->name));
    }
    return c->in->vars[n->slot];
}

static struct cel_value select_in(struct cel_eval *c, const struct node *n,
                                  const struct cel_value *v, bool optional)
{
    struct cel_value r;
    if (v->type != CEL_MAP && v->type != CEL_OBJECT)
        return cel_no_overload();
    struct str name = v->type == CEL_OBJECT ? n->field : n->name;
    if (n->flags & NODE_TEST)
        return cel_bool(cel_member_has(c, v, name));
    const struct cel_type *hint =
        v->type == CEL_OBJECT && !optional && n->type->kind != CEL_PARAM && n->type->kind != CEL_DYN
            ? n->type
            : NULL;
    if (cel_member_get(c, v, name, hint, &r) > 0)
        return optional ? cel_some(c, r) : r;
    return optional ? cel_none() : cel_fail(c, "no such key: %.*s", STR_ARG(name));
}

static struct cel_value run_select(struct cel_eval *c, const struct node *n)
{
    struct cel_value v = cel_run(c, n->kids[0]);
    if (v.type == CEL_ERROR)
        return v;
    if (!(n->flags & NODE_TEST))
        cel_charge(c, 1);
    if (v.type == CEL_OPTIONAL) {
        if (!v.p)
            return n->flags & NODE_TEST ? cel_bool(false) : v;
        return select_in(c, n, v.p, true);
    }
    return select_in(c, n, &v, n->flags & NODE_OPT);
}

static struct cel_value run_call(struct cel_eval *c, const struct node *n)
{
    struct cel_value args[CEL_ARGS_MAX];
    for (unsigned i = 0; i < n->n; i++) {
        args[i] = cel_run(c, n->kids[i]);
        if (args[i].type == CEL_ERROR)
            return args[i];
        if (i == 0 && n->n_ov && n->ov[0]->flags & OV_LAZY && args[0].type == CEL_OPTIONAL &&
            args[0].p) {
            cel_charge(c, 1);
            return n->name.n == 2 ? args[0]
                                  : *(const struct cel_value *)args[0].p; /* or, orValue */
        }
    }
    const uint32_t *mask = n->masks;
    for (uint32_t k = 0; k < n->n_ov; k++, mask += n->n) {
        bool ok = true;
        for (unsigned i = 0; i < n->n && ok; i++)
            ok = mask[i] & BIT(args[i].type);
        if (!ok)
            continue;
        const struct overload *o = n->ov[k];
        c->regex = n->regex;
        struct cel_value r = o->fn(c, args, n->n);
        if (o->cost == COST_ONE)
            cel_charge(c, 1);
        else
            cel_charge_call(c, o, args, n->n, &r);
        return r;
    }
    cel_charge(c, 1);
    return cel_no_overload();
}

/* What an optional element holds; false: leave it out. */
static bool unwrap(struct cel_value *v)
{
    if (v->type != CEL_OPTIONAL) {
        *v = cel_no_overload();
        return true;
    }
    if (!v->p)
        return false;
    *v = *(const struct cel_value *)v->p;
    return true;
}

static struct cel_value run_list(struct cel_eval *c, const struct node *n)
{
    cel_charge(c, 10);
    struct cel_value *v = cel_alloc(c, n->n * sizeof *v);
    uint32_t k = 0;
    if (!v)
        return cel_no_memory();
    for (uint32_t i = 0; i < n->n; i++) {
        struct cel_value x = cel_run(c, n->kids[i]);
        if (x.type != CEL_ERROR && n->opt && n->opt[i] && !unwrap(&x))
            continue;
        if (x.type == CEL_ERROR)
            return x;
        v[k++] = x;
    }
    return cel_list(v, k);
}

static bool may_be_key(const struct cel_value *k)
{
    return k->type == CEL_STRING || k->type == CEL_INT || k->type == CEL_UINT ||
           k->type == CEL_BOOL;
}

static struct cel_value run_map(struct cel_eval *c, const struct node *n)
{
    cel_charge(c, 30);
    struct cel_map *m = cel_map_new(c);
    if (!m)
        return cel_no_memory();
    for (uint32_t i = 0; i < n->n; i += 2) {
        struct cel_value k = cel_run(c, n->kids[i]);
        if (k.type == CEL_ERROR)
            return k;
        struct cel_value x = cel_run(c, n->kids[i + 1]);
        if (x.type != CEL_ERROR && n->opt && n->opt[i] && !unwrap(&x))
            continue;
        if (x.type == CEL_ERROR)
            return x;
        if (!may_be_key(&k))
            return cel_fail(c, "unsupported key type");
        int r = cel_map_put(c, m, &k, &x);
        if (r == -EEXIST)
            return cel_fail(c, "Failed with repeated key");
        if (r < 0)
            return cel_no_memory();
    }
    return cel_map_value(m);
}

static struct cel_value run_logic(struct cel_eval *c, const struct node *n)
{
    bool decides = n->op == NODE_OR; /* the value that settles it */
    struct cel_value a = cel_run(c, n->kids[0]);
    if (a.type == CEL_BOOL && a.b == decides)
        return a;
    if (c->stop)
        return cancelled(c);
    struct cel_value b = cel_run(c, n->kids[1]);
    if (b.type == CEL_BOOL && (b.b == decides || a.type == CEL_BOOL))
        return b;
    if (a.type == CEL_ERROR)
        return a;
    return b.type == CEL_ERROR ? b : cel_no_overload();
}

static struct cel_value run_cond(struct cel_eval *c, const struct node *n)
{
    struct cel_value v = cel_run(c, n->kids[0]);
    if (v.type == CEL_ERROR)
        return v;
    if (v.type != CEL_BOOL)
        return cel_no_overload();
    return cel_run(c, n->kids[v.b ? 1 : 2]);
}

static struct cel_value run_bind(struct cel_eval *c, const struct node *n)
{
    struct cel_local *l = &c->locals[n->slot];
    if (n->op == NODE_BIND) {
        cel_charge(c, 10);
        *l = (struct cel_local){.init = n->kids[0]};
        return cel_run(c, n->kids[1]);
    }
    struct cel_value v = cel_run(c, n->kids[0]);
    cel_charge(c, 12);
    if (v.type == CEL_ERROR)
        return v;
    if (v.type != CEL_OPTIONAL)
        return cel_no_overload();
    if (!v.p)
        return v;
    *l = (struct cel_local){.value = *(const struct cel_value *)v.p};
    v = cel_run(c, n->kids[1]);
    if (n->op == NODE_OPT_MAP)
        return cel_some(c, v);
    return v.type == CEL_OPTIONAL || v.type == CEL_ERROR ? v : cel_no_overload();
}

struct cel_value cel_run(struct cel_eval *c, const struct node *n)
{
    if (UNLIKELY(c->stop != NULL))
        return cancelled(c);
    switch ((enum node_op)n->op) {
    case NODE_CONST:
        return n->value;
    case NODE_IDENT:
        return run_ident(c, n);
    case NODE_SELECT:
        return run_select(c, n);
    case NODE_CALL:
        return run_call(c, n);
    case NODE_LIST:
        return run_list(c, n);
    case NODE_MAP:
        return run_map(c, n);
    case NODE_MESSAGE:
        return cel_run_message(c, n);
    case NODE_AND:
    case NODE_OR:
        return run_logic(c, n);
    case NODE_COND:
        return run_cond(c, n);
    case NODE_BIND:
    case NODE_OPT_MAP:
    case NODE_OPT_FLAT_MAP:
        return run_bind(c, n);
    case NODE_ALL:
    case NODE_EXISTS:
    case NODE_EXISTS_ONE:
    case NODE_MAP_LIST:
    case NODE_FILTER:
    case NODE_MAP_MAP:
    case NODE_MAP_ENTRIES:
        return cel_run_loop(c, n);
    }
    ASSERT(!"unknown node");
}

void cel_eval(const struct cel_program *p, const struct cel_input *in, struct arena *a,
              struct cel_result *ret)
{
    struct cel_local small[LOCALS_SMALL];
    struct cel_eval c = {.a = a,
                         .in = in,
                         .locals = small,
                         .cost_max = in->cost_max ? in->cost_max : CEL_COST_CALL_MAX,
                         .work_max = in->work_max ? in->work_max : CEL_WORK_MAX,
                         .memory_max = a->used_bytes + CEL_MEMORY_MAX};
    if (p->n_slots > LOCALS_SMALL)
        c.locals = ARENA_NEW_N(a, struct cel_local, p->n_slots);
    struct cel_value v = cel_run(&c, p->root);
    *ret = (struct cel_result){.cost = c.cost, .work = c.work};
    if (c.stop) {
        ret->outcome = CEL_OUTCOME_CANCELLED;
        ret->message = str_z(c.stop);
    } else if (v.type == CEL_ERROR) {
        ret->outcome = CEL_OUTCOME_ERROR;
        ret->message = v.s.p ? v.s : STR("unknown error");
    } else {
        ret->value = v;
    }
}
