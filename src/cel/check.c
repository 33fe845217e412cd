/* The type checker: finds what each name is and the type of every node. What stays unknown is dyn,
 * and is decided again at run time. */
#include "cel/check.h"

/* --- Names --------------------------------------------------------------------------------------
 */

static bool find_ident(struct check *k, struct node *v, struct str name)
{
    if (!(v->flags & NODE_ABSOLUTE)) {
        for (const struct scope *s = k->scope; s; s = s->up) {
            if (str_eq(s->name, name)) {
                v->flags |= NODE_LOCAL;
                v->slot = s->slot;
                v->type = s->type;
                return true;
            }
        }
    }
    const struct cel_env *env = k->c->env;
    for (unsigned i = env->n_vars; i-- > 0;) {
        if (str_eq(env->vars[i].name, name)) {
            v->slot = i;
            v->type = env->vars[i].type;
            k->c->uses |= UINT64_C(1) << MIN(i, 63);
            return true;
        }
    }
    const struct cel_type *t = cel_type_named(name);
    if (!t)
        return false;
    struct cel_type *of = type_new(k, CEL_TYPE);
    of->elem = t;
    v->op = NODE_CONST;
    v->n = 0;
    v->value = cel_type_value(cel_kind_name(t->kind));
    v->type = of;
    return true;
}

/* a.b.c as one dotted name; absent when it is anything else. */
struct str check_dotted(struct check *k, const struct node *v)
{
    if (v->op == NODE_IDENT)
        return v->name;
    if (v->op != NODE_SELECT || v->flags & (NODE_TEST | NODE_OPT))
        return STR_NONE;
    struct str head = check_dotted(k, v->kids[0]);
    return head.p ? arena_printf(k->c->a, "%.*s.%.*s", STR_ARG(head), STR_ARG(v->name)) : head;
}
static const struct node *root_of(const struct node *v)
{
    while (v->op == NODE_SELECT)
        v = v->kids[0];
    return v;
}
bool check_known_root(struct check *k, const struct node *v)
{
    struct node probe = *root_of(v);
    uint64_t uses = k->c->uses;
    bool found = find_ident(k, &probe, probe.name);
    k->c->uses = uses;
    return found;
}

static const struct cel_type *check_ident(struct check *k, struct node *v)
{
    if (find_ident(k, v, v->name))
        return v->type;
    cel_finding(k->c, v->pos, "undeclared reference to '%.*s' (in container '')",
                (int)MIN(v->name.n, 200), v->name.p);
    return cel_type_of(CEL_ERROR);
}

static const struct cel_type *select_from(struct check *k, struct node *v, const struct cel_type *t)
{
    if (type_wild(t) || t->kind == CEL_PARAM)
        return cel_type_of(CEL_DYN);
    if (t->kind == CEL_MAP)
        return cel_type_elem(t);
    if (t->kind == CEL_OBJECT && t->provider) {
        struct str real = v->name;
        const struct cel_type *f = t->provider->field(t, v->name, &real);
        if (f) {
            v->field = real;
            return f;
        }
        cel_finding(k->c, v->pos, "undefined field '%.*s'", (int)MIN(v->name.n, 200), v->name.p);
        return cel_type_of(CEL_ERROR);
    }
    struct str s = type_text(k, t);
    cel_finding(k->c, v->pos, "type '%.*s' does not support field selection", STR_ARG(s));
    return cel_type_of(CEL_ERROR);
}

/* A variable whose name has dots (authorizer.requestResource) goes before a member of another one,
 * but not before a member of a macro's variable. */
static bool check_dotted_var(struct check *k, struct node *v, struct str whole)
{
    const struct node *root = root_of(v);
    struct node probe = {.op = NODE_IDENT, .pos = v->pos, .depth = v->depth, .name = whole};
    for (const struct scope *s = k->scope; s && !(root->flags & NODE_ABSOLUTE); s = s->up)
        if (str_eq(s->name, root->name))
            return false;
    if (cel_type_named(whole) || !find_ident(k, &probe, whole))
        return false;
    *v = probe;
    return true;
}

static const struct cel_type *check_select(struct check *k, struct node *v)
{
    struct str whole = v->flags & (NODE_TEST | NODE_OPT) ? STR_NONE : check_dotted(k, v);
    if (whole.p && check_dotted_var(k, v, whole))
        return v->type;
    if (whole.p && !check_known_root(k, v)) {
        struct node probe = *v;
        if (find_ident(k, &probe, whole)) { /* google.protobuf.Timestamp */
            *v = probe;
            return v->type;
        }
    }
    struct node *of = v->kids[0];
    const struct cel_type *t = type_deref(check_node(k, of)), *r;
    bool by_opt = t->kind == CEL_OPTIONAL;
    r = select_from(k, v, by_opt ? type_deref(cel_type_elem(t)) : t);
    if (by_opt)
        v->flags |= NODE_BY_OPT;
    if (v->flags & NODE_TEST)
        return cel_type_of(CEL_BOOL);
    if (!by_opt && !(v->flags & NODE_OPT))
        return r;
    struct cel_type *o = type_new(k, CEL_OPTIONAL);
    o->elem = r;
    return o;
}

/* --- The rest -----------------------------------------------------------------------------------
 */

/* The type of both: literals are of one kind, as Kubernetes wants it. */
static const struct cel_type *join(struct check *k, const struct node *at,
                                   const struct cel_type *have, const struct cel_type *t)
{
    if (!have)
        return t;
    if (unify_try(k, t, have))
        return type_wild(type_deref(t)) ? type_deref(t) : have;
    struct str want = type_text(k, have), got = type_text(k, t);
    cel_finding(k->c, at->pos, "expected type '%.*s' but found '%.*s'", STR_ARG(want),
                STR_ARG(got));
    return have;
}

static const struct cel_type *check_element(struct check *k, struct node *v, bool opt)
{
    const struct cel_type *t = check_node(k, v);
    if (!opt || type_wild(type_deref(t)))
        return opt ? cel_type_of(CEL_DYN) : t;
    if (type_deref(t)->kind == CEL_OPTIONAL)
        return cel_type_elem(type_deref(t));
    struct str got = type_text(k, t);
    cel_finding(k->c, v->pos, "expected type 'optional_type(%.*s)' but found '%.*s'", STR_ARG(got),
                STR_ARG(got));
    return t;
}

static const struct cel_type *check_list(struct check *k, struct node *v)
{
    const struct cel_type *elem = NULL;
    struct cel_type *t = type_new(k, CEL_LIST);
    for (unsigned i = 0; i < v->n; i++)
        elem = join(k, v->kids[i], elem, check_element(k, v->kids[i], v->opt && v->opt[i]));
    t->elem = elem ? elem : type_new(k, CEL_PARAM);
    return t;
}

static const struct cel_type *check_map(struct check *k, struct node *v)
{
    const struct cel_type *key = NULL, *value = NULL;
    struct cel_type *t = type_new(k, CEL_MAP);
    for (unsigned i = 0; i < v->n; i += 2) {
        key = join(k, v->kids[i], key, check_node(k, v->kids[i]));
        value =
            join(k, v->kids[i + 1], value, check_element(k, v->kids[i + 1], v->opt && v->opt[i]));
        unsigned kind = type_deref(key)->kind;
        if (kind != CEL_INT && kind != CEL_UINT && kind != CEL_STRING && kind != CEL_BOOL &&
            kind != CEL_DYN && kind != CEL_ERROR && kind != CEL_PARAM) {
            cel_finding(k->c, v->kids[i]->pos, "unsupported map key type");
            break;
        }
    }
    t->key = key ? key : type_new(k, CEL_PARAM);
    t->elem = value ? value : type_new(k, CEL_PARAM);
    return t;
}

static const struct cel_type *check_message(struct check *k, struct node *v)
{
    const struct cel_type *t = cel_type_message(k->c->env, v->name);
    if (!t)
        cel_finding(k->c, v->pos, "undeclared reference to '%.*s' (in container '')",
                    (int)MIN(v->name.n, 200), v->name.p);
    for (unsigned i = 0; i < v->n; i += 2) {
        struct node *key = v->kids[i], *value = v->kids[i + 1];
        const struct cel_type *is = check_element(k, value, v->opt && v->opt[i]);
        struct str name;
        const struct cel_type *want = t ? t->provider->field(t, key->value.s, &name) : is;
        key->type = cel_type_of(CEL_STRING);
        if (!want) {
            cel_finding(k->c, key->pos, "undefined field '%.*s'", STR_ARG(key->value.s));
        } else if (!unify_try(k, is, want)) {
            struct str wanted = type_text(k, want), got = type_text(k, is);
            cel_finding(k->c, key->pos,
                        "expected type of field '%.*s' is '%.*s' but provided type is '%.*s'",
                        STR_ARG(key->value.s), STR_ARG(wanted), STR_ARG(got));
        }
    }
    return t ? t : cel_type_of(CEL_ERROR);
}

static const struct cel_type *check_logic(struct check *k, struct node *v)
{
    const struct cel_type *args[2] = {check_node(k, v->kids[0]), check_node(k, v->kids[1])};
    if (!unify_try(k, args[0], cel_type_of(CEL_BOOL)) ||
        !unify_try(k, args[1], cel_type_of(CEL_BOOL)))
        check_no_overload(k, v, v->op == NODE_AND ? "_&&_" : "_||_", false, args, 2);
    return cel_type_of(CEL_BOOL);
}

static bool is_index(const struct node *v)
{
    return v->op == NODE_CALL && str_is(v->name, "_[_]");
}
void check_free(struct node *v)
{
    while ((v->op == NODE_SELECT && !(v->flags & (NODE_TEST | NODE_OPT | NODE_BY_OPT))) ||
           is_index(v))
        v = v->kids[0];
    if (v->op == NODE_IDENT)
        v->flags |= NODE_FREE;
}

static const struct cel_type *check_cond(struct check *k, struct node *v)
{
    const struct cel_type *args[3];
    for (unsigned i = 0; i < 3; i++)
        args[i] = check_node(k, v->kids[i]);
    check_free(v->kids[1]);
    check_free(v->kids[2]);
    if (unify_try(k, args[0], cel_type_of(CEL_BOOL)) && unify_try(k, args[2], args[1]))
        return type_wild(type_deref(args[2])) ? args[2] : args[1];
    check_no_overload(k, v, "_?_:_", false, args, 3);
    return cel_type_of(CEL_ERROR);
}

static void want_bool(struct check *k, struct node *v, const struct cel_type *t, const char *name)
{
    if (unify_try(k, t, cel_type_of(CEL_BOOL)))
        return;
    bool logic = name[1] == '&' || name[1] == '|';
    const struct cel_type *args[3] = {t, cel_type_of(CEL_INT), cel_type_of(CEL_INT)},
                          *two[2] = {cel_type_of(CEL_BOOL), t};
    check_no_overload(k, v, name, false, logic ? two : args, logic ? 2 : 3);
}

static const struct cel_type *loop_result(struct check *k, struct node *v,
                                          const struct cel_type *range, const struct cel_type *body)
{
    struct cel_type *t;
    switch (v->op) {
    case NODE_ALL:
        want_bool(k, v->kids[1], body, "_&&_");
        return cel_type_of(CEL_BOOL);
    case NODE_EXISTS:
        want_bool(k, v->kids[1], body, "_||_");
        return cel_type_of(CEL_BOOL);
    case NODE_EXISTS_ONE:
        want_bool(k, v->kids[1], body, "_?_:_");
        return cel_type_of(CEL_BOOL);
    case NODE_FILTER:
        want_bool(k, v->kids[1], body, "_?_:_");
        t = type_new(k, CEL_LIST);
        t->elem = range;
        return t;
    case NODE_MAP_LIST:
        t = type_new(k, CEL_LIST);
        t->elem = body;
        return t;
    case NODE_MAP_MAP:
        t = type_new(k, CEL_MAP);
        t->key = range;
        t->elem = body;
        return t;
    case NODE_MAP_ENTRIES:
        body = type_deref(body);
        if (body->kind != CEL_MAP && !type_wild(body)) {
            struct str got = type_text(k, body);
            cel_finding(k->c, v->kids[v->n - 1]->pos,
                        "expected type 'map(dyn, dyn)' but found '%.*s'", STR_ARG(got));
        }
        return body->kind == CEL_MAP ? body : cel_type_of(CEL_DYN);
    default:
        ASSERT(!"no loop");
    }
}

static const struct cel_type *check_loop(struct check *k, struct node *v)
{
    const struct cel_type *range = type_deref(check_node(k, v->kids[0])),
                          *dyn = cel_type_of(CEL_DYN);
    const struct cel_type *first = dyn, *second = dyn;
    bool two = v->var2.p;
    if (range->kind == CEL_LIST) {
        first = two ? cel_type_of(CEL_INT) : cel_type_elem(range);
        second = cel_type_elem(range);
    } else if (range->kind == CEL_MAP) {
        first = range->key ? range->key : dyn;
        second = cel_type_elem(range);
    } else if (!type_wild(range) && range->kind != CEL_PARAM) {
        struct str s = type_text(k, range);
        cel_finding(k->c, v->kids[0]->pos,
                    "expression of type '%.*s' cannot be range of a comprehension (must be list, "
                    "map, or dynamic)",
                    STR_ARG(s));
    }
    struct scope one = {k->scope, v->var, first, v->slot},
                 other = {&one, v->var2, second, v->slot2};
    const struct scope *before = k->scope;
    k->scope = two ? &other : &one;
    if (v->n == 3)
        want_bool(k, v->kids[1], check_node(k, v->kids[1]), "_?_:_");
    const struct cel_type *body = check_node(k, v->kids[v->n - 1]);
    k->scope = before;
    return loop_result(k, v, first, body);
}

static const struct cel_type *check_bind(struct check *k, struct node *v)
{
    const struct cel_type *t = check_node(k, v->kids[0]);
    if (v->op != NODE_BIND) {
        t = type_deref(t);
        if (t->kind != CEL_OPTIONAL && !type_wild(t)) {
            const struct cel_type *args[1] = {t};
            check_no_overload(k, v, "hasValue", true, args, 1);
        }
        t = t->kind == CEL_OPTIONAL ? cel_type_elem(t) : cel_type_of(CEL_DYN);
    }
    struct scope s = {k->scope, v->var, t, v->slot};
    const struct scope *before = k->scope;
    k->scope = &s;
    const struct cel_type *body = check_node(k, v->kids[1]);
    k->scope = before;
    if (v->op == NODE_BIND)
        return body;
    if (v->op == NODE_OPT_FLAT_MAP)
        return type_deref(body)->kind == CEL_OPTIONAL ? body : cel_type_of(CEL_DYN);
    struct cel_type *o = type_new(k, CEL_OPTIONAL);
    o->elem = body;
    return o;
}

static const struct cel_type *const_type(const struct node *v)
{
    return cel_type_of((enum cel_kind)v->value.type);
}

const struct cel_type *check_node(struct check *k, struct node *v)
{
    const struct cel_type *t = NULL;
    switch ((enum node_op)v->op) {
    case NODE_CONST:
        t = const_type(v);
        break;
    case NODE_IDENT:
        t = check_ident(k, v);
        break;
    case NODE_SELECT:
        t = check_select(k, v);
        break;
    case NODE_CALL:
        t = check_call(k, v);
        break;
    case NODE_LIST:
        t = check_list(k, v);
        break;
    case NODE_MAP:
        t = check_map(k, v);
        break;
    case NODE_MESSAGE:
        t = check_message(k, v);
        break;
    case NODE_AND:
    case NODE_OR:
        t = check_logic(k, v);
        break;
    case NODE_COND:
        t = check_cond(k, v);
        break;
    case NODE_BIND:
    case NODE_OPT_MAP:
    case NODE_OPT_FLAT_MAP:
        t = check_bind(k, v);
        break;
    case NODE_ALL:
    case NODE_EXISTS:
    case NODE_EXISTS_ONE:
    case NODE_MAP_LIST:
    case NODE_FILTER:
    case NODE_MAP_MAP:
    case NODE_MAP_ENTRIES:
        t = check_loop(k, v);
        break;
    }
    return v->type = t;
}

void cel_check(struct compile *c, struct node *root, const struct cel_type *expect)
{
    struct check k = {.c = c};
    const struct cel_type *t = check_node(&k, root);
    if (c->n_findings || !expect || unify_try(&k, t, expect))
        return;
    struct str want = type_text(&k, expect), got = type_text(&k, t);
    cel_finding(c, root->pos, "must evaluate to %.*s, but is %.*s", STR_ARG(want), STR_ARG(got));
}
