/* Macros: calls that are syntax. cel-go rewrites them to a general loop over an accumulator; here
 * each keeps a node of its own, which is faster to run, easier to explain in messages, and charged
 * what the general loop would cost (eval_loop.c, cost.c). */
#include "cel/internal.h"

static const struct macro {
    const char *name;
    uint8_t args; /* without the target */
    uint8_t vars; /* of these first arguments are names */
    uint8_t op;
} MACROS[] = {
    {"all", 2, 1, NODE_ALL},
    {"all", 3, 2, NODE_ALL},
    {"exists", 2, 1, NODE_EXISTS},
    {"exists", 3, 2, NODE_EXISTS},
    {"exists_one", 2, 1, NODE_EXISTS_ONE},
    {"existsOne", 2, 1, NODE_EXISTS_ONE},
    {"existsOne", 3, 2, NODE_EXISTS_ONE},
    {"map", 2, 1, NODE_MAP_LIST},
    {"map", 3, 1, NODE_MAP_LIST},
    {"filter", 2, 1, NODE_FILTER},
    {"transformList", 3, 2, NODE_MAP_LIST},
    {"transformList", 4, 2, NODE_MAP_LIST},
    {"transformMap", 3, 2, NODE_MAP_MAP},
    {"transformMap", 4, 2, NODE_MAP_MAP},
    {"transformMapEntry", 3, 2, NODE_MAP_ENTRIES},
    {"transformMapEntry", 4, 2, NODE_MAP_ENTRIES},
    {"optMap", 2, 1, NODE_OPT_MAP},
    {"optFlatMap", 2, 1, NODE_OPT_FLAT_MAP},
};

static bool simple_name(struct compile *c, const struct node *v)
{
    if (v->op == NODE_IDENT && !(v->flags & NODE_ABSOLUTE))
        return true;
    cel_finding(c, v->pos, "argument must be a simple name");
    return false;
}

static struct node *has(struct compile *c, struct node *call)
{
    struct node *v = call->kids[0];
    if (v->op != NODE_SELECT || v->flags & (NODE_TEST | NODE_OPT)) {
        cel_finding(c, call->pos, "invalid argument to has() macro");
        return call;
    }
    v->flags |= NODE_TEST;
    v->pos = call->pos;
    return v;
}

static struct node *bind(struct compile *c, struct node *call)
{
    if (!simple_name(c, call->kids[1]))
        return call;
    struct node *v = cel_node(c, NODE_BIND, call->pos, 2);
    v->kids[0] = call->kids[2];
    v->kids[1] = call->kids[3];
    v->var = call->kids[1]->name;
    v->slot = c->n_slots++;
    return v;
}

static struct node *loop(struct compile *c, struct node *call, const struct macro *m)
{
    for (unsigned i = 1; i <= m->vars; i++)
        if (!simple_name(c, call->kids[i]))
            return call;
    struct node *v = cel_node(c, m->op, call->pos, 1u + m->args - m->vars);
    v->kids[0] = call->kids[0];
    for (uint32_t i = 1; i < v->n; i++)
        v->kids[i] = call->kids[i + m->vars];
    v->var = call->kids[1]->name;
    v->slot = c->n_slots++;
    if (m->vars == 2) {
        v->var2 = call->kids[2]->name;
        v->slot2 = c->n_slots++;
        if (str_eq(v->var, v->var2))
            cel_finding(c, call->kids[2]->pos, "duplicate iteration variable: %.*s",
                        (int)MIN(v->var.n, 64), v->var.p);
    }
    return v;
}

struct node *cel_macro(struct compile *c, struct node *call)
{
    if (!(call->flags & NODE_MEMBER))
        return str_is(call->name, "has") && call->n == 1 ? has(c, call) : call;
    const struct node *target = call->kids[0];
    if (str_is(call->name, "bind") && call->n == 4 && target->op == NODE_IDENT &&
        str_is(target->name, "cel") && (c->env->flags & CEL_ENV_EXTRAS))
        return bind(c, call);
    for (unsigned i = 0; i < ARRAY_LEN(MACROS); i++)
        if (call->n == MACROS[i].args + 1u && str_eqz(call->name, MACROS[i].name))
            return loop(c, call, &MACROS[i]);
    return call;
}
