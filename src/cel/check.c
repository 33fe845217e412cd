/* The type checker: finds what each name is, which overloads of a function fit, and the type of
 * every node. Types with unknown parts (the elements of []) carry parameters that are bound as they
 * are compared; a failed attempt at an overload is undone by a trail. What stays unknown is dyn,
 * and what is dyn is decided again at run time, by the kinds of the values (eval.c). */
#include "cel/internal.h"
#include "cel/regex.h"

struct scope {
    const struct scope *up;
    struct str name;
    const struct cel_type *type;
    uint32_t slot;
};

struct check {
    struct compile *c;
    const struct scope *scope;
    struct cel_type **trail; /* bound parameters, to be unbound */
    unsigned n_trail, cap_trail;
    unsigned unify_depth;
};

static const struct cel_type *check(struct check *k, struct node *v);

static const struct cel_type *deref(const struct cel_type *t)
{
    while (t->kind == CEL_PARAM && t->elem)
        t = t->elem;
    return t;
}
static struct cel_type *make(struct check *k, enum cel_kind kind)
{
    return cel_type_make(k->c->a, kind);
}
static struct str name_of(struct check *k, const struct cel_type *t)
{
    return cel_type_print(t, k->c->a);
}
static bool wild(const struct cel_type *t)
{
    return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

static bool occurs(const struct cel_type *param, const struct cel_type *t, unsigned depth)
{
    t = deref(t);
    if (t == param || depth > 100)
        return true;
    if (t->kind == CEL_OBJECT || t->kind == CEL_PARAM)
        return false;
    return (t->key && occurs(param, t->key, depth + 1)) ||
           (t->elem && occurs(param, t->elem, depth + 1));
}

static bool bind_param(struct check *k, const struct cel_type *param, const struct cel_type *t)
{
    if (occurs(param, t, 0))
        return false;
    struct cel_type *p = (struct cel_type *)(uintptr_t)param;
    if (k->n_trail == k->cap_trail) {
        unsigned cap = k->cap_trail ? k->cap_trail * 2 : 64;
        struct cel_type **v = ARENA_NEW_N(k->c->a, struct cel_type *, cap);
        if (k->n_trail)
            memcpy(v, k->trail, k->n_trail * sizeof *v);
        k->trail = v;
        k->cap_trail = cap;
    }
    k->trail[k->n_trail++] = p;
    p->elem = t;
    return true;
}
static void undo(struct check *k, unsigned to)
{
    while (k->n_trail > to)
        k->trail[--k->n_trail]->elem = NULL;
}

/* Whether a value of type t may stand where `formal` is wanted. */
static bool assignable(struct check *k, const struct cel_type *t, const struct cel_type *formal)
{
    t = deref(t);
    formal = deref(formal);
    if (t == formal)
        return true;
    if (formal->kind == CEL_PARAM)
        return bind_param(k, formal, t);
    if (t->kind == CEL_PARAM)
        return bind_param(k, t, formal);
    if (wild(t) || wild(formal))
        return true;
    if (t->kind == CEL_NULL || formal->kind == CEL_NULL) {
        unsigned other = t->kind == CEL_NULL ? formal->kind : t->kind;
        return other == CEL_NULL || other == CEL_OBJECT || other == CEL_TIMESTAMP ||
               other == CEL_DURATION || other >= CEL_OPTIONAL;
    }
    if (t->kind != formal->kind)
        return false;
    if (t->kind == CEL_OBJECT)
        return t->provider == formal->provider && t->data == formal->data;
    if (t->kind == CEL_TYPE)
        return true;
    if (t->kind != CEL_LIST && t->kind != CEL_MAP && t->kind != CEL_OPTIONAL)
        return true;
    if (++k->unify_depth > 200)
        return k->unify_depth--, false;
    bool ok = assignable(k, cel_type_elem(t), cel_type_elem(formal));
    if (ok && t->kind == CEL_MAP)
        ok = assignable(k, t->key ? t->key : cel_type_of(CEL_DYN),
                        formal->key ? formal->key : cel_type_of(CEL_DYN));
    k->unify_depth--;
    return ok;
}
/* The same, without a trace when it fails. */
static bool try_assign(struct check *k, const struct cel_type *t, const struct cel_type *formal)
{
    unsigned mark = k->n_trail;
    if (assignable(k, t, formal))
        return true;
    undo(k, mark);
    return false;
}

static const struct cel_type *sig_type(struct check *k, const char **sig,
                                       const struct cel_type *params[2])
{
    static const char letters[] = "nbiudsytrqUpcfvzPGRD*";
    static const uint8_t kinds[] = {
        CEL_NULL,       CEL_BOOL,       CEL_INT,         CEL_UINT,           CEL_DOUBLE,
        CEL_STRING,     CEL_BYTES,      CEL_TIMESTAMP,   CEL_DURATION,       CEL_QUANTITY,
        CEL_URL,        CEL_IP,         CEL_CIDR,        CEL_FORMAT,         CEL_SEMVER,
        CEL_AUTHORIZER, CEL_PATH_CHECK, CEL_GROUP_CHECK, CEL_RESOURCE_CHECK, CEL_DECISION,
        CEL_DYN};
    char c = *(*sig)++;
    struct cel_type *t;
    switch (c) {
    case 'A':
    case 'B':
        if (!params[c - 'A'])
            params[c - 'A'] = make(k, CEL_PARAM);
        return params[c - 'A'];
    case 'L':
    case 'O':
    case 'T':
        t = make(k, c == 'L' ? CEL_LIST : c == 'O' ? CEL_OPTIONAL : CEL_TYPE);
        t->elem = sig_type(k, sig, params);
        return t;
    case 'M':
        t = make(k, CEL_MAP);
        t->key = sig_type(k, sig, params);
        t->elem = sig_type(k, sig, params);
        return t;
    default: {
        const char *p = strchr(letters, c);
        ASSERT(c && p);
        return cel_type_of(kinds[p - letters]);
    }
    }
}

unsigned cel_sig_args(const char *sig)
{
    unsigned n = 0;
    for (; *sig != '>'; n++)
        (void)cel_sig_mask(&sig);
    return n;
}

uint32_t cel_sig_mask(const char **sig)
{
    static const char letters[] = "nbiudsytrqUpcfvzPGRD";
    static const uint8_t kinds[] = {
        CEL_NULL,       CEL_BOOL,       CEL_INT,         CEL_UINT,           CEL_DOUBLE,
        CEL_STRING,     CEL_BYTES,      CEL_TIMESTAMP,   CEL_DURATION,       CEL_QUANTITY,
        CEL_URL,        CEL_IP,         CEL_CIDR,        CEL_FORMAT,         CEL_SEMVER,
        CEL_AUTHORIZER, CEL_PATH_CHECK, CEL_GROUP_CHECK, CEL_RESOURCE_CHECK, CEL_DECISION};
    char c = *(*sig)++;
    switch (c) {
    case 'A':
    case 'B':
    case '*':
        return ~BIT(CEL_ERROR);
    case 'L':
        (void)cel_sig_mask(sig);
        return BIT(CEL_LIST);
    case 'O':
        (void)cel_sig_mask(sig);
        return BIT(CEL_OPTIONAL);
    case 'T':
        (void)cel_sig_mask(sig);
        return BIT(CEL_TYPE);
    case 'M':
        (void)cel_sig_mask(sig);
        (void)cel_sig_mask(sig);
        return BIT(CEL_MAP);
    default: {
        const char *p = c ? strchr(letters, c) : NULL;
        ASSERT(p);
        return BIT(kinds[p - letters]);
    }
    }
}

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
    struct cel_type *of = make(k, CEL_TYPE);
    of->elem = t;
    v->op = NODE_CONST;
    v->n = 0;
    v->value = cel_type_value(cel_kind_name(t->kind));
    v->type = of;
    return true;
}

/* a.b.c as one dotted name; absent when it is anything else. */
static struct str dotted(struct check *k, const struct node *v)
{
    if (v->op == NODE_IDENT)
        return v->name;
    if (v->op != NODE_SELECT || v->flags & (NODE_TEST | NODE_OPT))
        return STR_NONE;
    struct str head = dotted(k, v->kids[0]);
    return head.p ? arena_printf(k->c->a, "%.*s.%.*s", STR_ARG(head), STR_ARG(v->name)) : head;
}
static const struct node *root_of(const struct node *v)
{
    while (v->op == NODE_SELECT)
        v = v->kids[0];
    return v;
}
static bool known_root(struct check *k, const struct node *v)
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
    if (wild(t) || t->kind == CEL_PARAM)
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
    struct str s = name_of(k, t);
    cel_finding(k->c, v->pos, "type '%.*s' does not support field selection", STR_ARG(s));
    return cel_type_of(CEL_ERROR);
}

static const struct cel_type *check_select(struct check *k, struct node *v)
{
    struct str whole = v->flags & (NODE_TEST | NODE_OPT) ? STR_NONE : dotted(k, v);
    if (whole.p && !known_root(k, v)) {
        struct node probe = *v;
        if (find_ident(k, &probe, whole)) { /* google.protobuf.Timestamp */
            *v = probe;
            return v->type;
        }
    }
    struct node *of = v->kids[0];
    const struct cel_type *t = deref(check(k, of)), *r;
    bool by_opt = t->kind == CEL_OPTIONAL;
    r = select_from(k, v, by_opt ? deref(cel_type_elem(t)) : t);
    if (by_opt)
        v->flags |= NODE_BY_OPT;
    if (v->flags & NODE_TEST)
        return cel_type_of(CEL_BOOL);
    if (!by_opt && !(v->flags & NODE_OPT))
        return r;
    struct cel_type *o = make(k, CEL_OPTIONAL);
    o->elem = r;
    return o;
}

/* --- Calls --------------------------------------------------------------------------------------
 */

static void no_overload(struct check *k, const struct node *v, const char *name, bool member,
                        const struct cel_type *const *args, unsigned n)
{
    struct buf b = {.limit_bytes = 900};
    unsigned i = 0;
    if (member && n) {
        buf_add_str(&b, name_of(k, args[0]));
        buf_add_char(&b, '.');
        i = 1;
    }
    buf_add_char(&b, '(');
    for (unsigned first = i; i < n; i++) {
        if (i > first)
            buf_add_lit(&b, ", ");
        buf_add_str(&b, name_of(k, args[i]));
    }
    buf_add_char(&b, ')');
    cel_finding(k->c, v->pos, "found no matching overload for '%s' applied to '%.*s'", name,
                STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

#define OVERLOADS_MAX 64
struct candidates {
    const struct overload *v[OVERLOADS_MAX];
    unsigned n;
    bool named; /* there is a function of that name */
};
static void candidates(struct check *k, struct str name, bool member, unsigned args,
                       struct candidates *ret)
{
    *ret = (struct candidates){0};
    for (unsigned t = 0; cel_overload_tables[t]; t++) {
        for (const struct overload *o = cel_overload_tables[t]; o->name; o++) {
            if (!str_eqz(name, o->name) ||
                ((o->flags & OV_EXTRA) && !(k->c->env->flags & CEL_ENV_EXTRAS)))
                continue;
            ret->named = true;
            if (!!(o->flags & OV_MEMBER) == member && cel_sig_args(o->sig) == args &&
                ret->n < OVERLOADS_MAX)
                ret->v[ret->n++] = o;
        }
    }
}

/* All overloads that the types allow; dyn allows many. NULL: none. */
static const struct cel_type *resolve(struct check *k, struct node *v, const struct candidates *all,
                                      const struct cel_type *const *args)
{
    const struct cel_type *result = NULL;
    v->ov = ARENA_NEW_N(k->c->a, const struct overload *, all->n);
    v->masks = ARENA_NEW_N(k->c->a, uint32_t, all->n * (size_t)v->n);
    v->regex = NULL;
    v->n_ov = 0;
    for (unsigned i = 0; i < all->n; i++) {
        const struct cel_type *params[2] = {NULL, NULL};
        const char *sig = all->v[i]->sig;
        unsigned mark = k->n_trail;
        bool ok = true;
        for (unsigned j = 0; j < v->n && ok; j++)
            ok = assignable(k, args[j], sig_type(k, &sig, params));
        if (!ok) {
            undo(k, mark);
            continue;
        }
        const char *masks = all->v[i]->sig;
        for (unsigned j = 0; j < v->n; j++)
            v->masks[v->n_ov * v->n + j] = cel_sig_mask(&masks);
        if (str_starts(v->name, STR("_[")) && v->masks[v->n_ov * v->n + 1] == BIT(CEL_INT))
            v->masks[v->n_ov * v->n + 1] |= BIT(CEL_UINT) | BIT(CEL_DOUBLE); /* of dyn only */
        v->ov[v->n_ov++] = all->v[i];
        sig++; /* > */
        const struct cel_type *t = sig_type(k, &sig, params);
        if (!result)
            result = t;
        else if (deref(result)->kind != deref(t)->kind || deref(t)->elem || deref(t)->key)
            result = cel_type_of(CEL_DYN);
    }
    return result;
}

/* Literal patterns are compiled once, and wrong ones are findings. Times likewise. */
static void check_literals(struct check *k, struct node *v)
{
    const struct node *last = v->n ? v->kids[v->n - 1] : NULL;
    struct cel_value out;
    struct str why;
    int64_t ns;
    if (!last || last->op != NODE_CONST || last->value.type != CEL_STRING || v->n_ov == 0)
        return;
    if (str_is(v->name, "duration") && v->n == 1 && !cel_parse_duration(last->value.s, &ns))
        cel_finding(k->c, last->pos, "invalid duration argument");
    if (str_is(v->name, "timestamp") && v->n == 1 && !cel_parse_timestamp(last->value.s, &out))
        cel_finding(k->c, last->pos, "invalid timestamp argument");
    if (v->ov[0]->flags & OV_REGEX && v->n == 2 &&
        !(v->regex = regex_new(last->value.s, k->c->a, &why)))
        cel_finding(k->c, last->pos, "invalid matches argument: %.*s", STR_ARG(why));
}

static const struct cel_type *check_call(struct check *k, struct node *v)
{
    struct candidates all;
    bool member = v->flags & NODE_MEMBER;
    if (member) {
        /* optional.of(x), format.dns1123Label(): the target may be part of the name. */
        struct str target = dotted(k, v->kids[0]);
        if (target.p && !known_root(k, v->kids[0])) {
            struct str name = arena_printf(k->c->a, "%.*s.%.*s", STR_ARG(target), STR_ARG(v->name));
            candidates(k, name, false, v->n - 1, &all);
            if (all.named) {
                v->flags &= (uint8_t)~NODE_MEMBER;
                v->name = name;
                v->kids++;
                v->n--;
                member = false;
            }
        }
    }
    const struct cel_type **args = ARENA_NEW_N(k->c->a, const struct cel_type *, v->n + 1);
    bool broken = false;
    for (unsigned i = 0; i < v->n; i++) {
        args[i] = check(k, v->kids[i]);
        broken |= deref(args[i])->kind == CEL_ERROR;
    }
    candidates(k, v->name, member, v->n, &all);
    if (!all.named) {
        cel_finding(k->c, v->pos, "undeclared reference to '%.*s' (in container '')",
                    (int)MIN(v->name.n, 200), v->name.p);
        return cel_type_of(CEL_ERROR);
    }
    const struct cel_type *t = v->n <= CEL_ARGS_MAX ? resolve(k, v, &all, args) : NULL;
    if (t) {
        check_literals(k, v);
        return t;
    }
    if (!broken)
        no_overload(k, v, arena_cstr(k->c->a, v->name), member, args, v->n);
    return cel_type_of(CEL_ERROR);
}

/* --- The rest -----------------------------------------------------------------------------------
 */

/* The type of both: literals are of one kind, as Kubernetes wants it. */
static const struct cel_type *join(struct check *k, const struct node *at,
                                   const struct cel_type *have, const struct cel_type *t)
{
    if (!have)
        return t;
    if (try_assign(k, t, have))
        return wild(deref(t)) ? deref(t) : have;
    struct str want = name_of(k, have), got = name_of(k, t);
    cel_finding(k->c, at->pos, "expected type '%.*s' but found '%.*s'", STR_ARG(want),
                STR_ARG(got));
    return have;
}

static const struct cel_type *check_element(struct check *k, struct node *v, bool opt)
{
    const struct cel_type *t = check(k, v);
    if (!opt || wild(deref(t)))
        return opt ? cel_type_of(CEL_DYN) : t;
    if (deref(t)->kind == CEL_OPTIONAL)
        return cel_type_elem(deref(t));
    struct str got = name_of(k, t);
    cel_finding(k->c, v->pos, "expected type 'optional_type(%.*s)' but found '%.*s'", STR_ARG(got),
                STR_ARG(got));
    return t;
}

static const struct cel_type *check_list(struct check *k, struct node *v)
{
    const struct cel_type *elem = NULL;
    struct cel_type *t = make(k, CEL_LIST);
    for (unsigned i = 0; i < v->n; i++)
        elem = join(k, v->kids[i], elem, check_element(k, v->kids[i], v->opt && v->opt[i]));
    t->elem = elem ? elem : make(k, CEL_PARAM);
    return t;
}

static const struct cel_type *check_map(struct check *k, struct node *v)
{
    const struct cel_type *key = NULL, *value = NULL;
    struct cel_type *t = make(k, CEL_MAP);
    for (unsigned i = 0; i < v->n; i += 2) {
        key = join(k, v->kids[i], key, check(k, v->kids[i]));
        value =
            join(k, v->kids[i + 1], value, check_element(k, v->kids[i + 1], v->opt && v->opt[i]));
        unsigned kind = deref(key)->kind;
        if (kind != CEL_INT && kind != CEL_UINT && kind != CEL_STRING && kind != CEL_BOOL &&
            kind != CEL_DYN && kind != CEL_ERROR && kind != CEL_PARAM) {
            cel_finding(k->c, v->kids[i]->pos, "unsupported map key type");
            break;
        }
    }
    t->key = key ? key : make(k, CEL_PARAM);
    t->elem = value ? value : make(k, CEL_PARAM);
    return t;
}

static const struct cel_type *check_logic(struct check *k, struct node *v)
{
    const struct cel_type *args[2] = {check(k, v->kids[0]), check(k, v->kids[1])};
    if (!try_assign(k, args[0], cel_type_of(CEL_BOOL)) ||
        !try_assign(k, args[1], cel_type_of(CEL_BOOL)))
        no_overload(k, v, v->op == NODE_AND ? "_&&_" : "_||_", false, args, 2);
    return cel_type_of(CEL_BOOL);
}

static const struct cel_type *check_cond(struct check *k, struct node *v)
{
    const struct cel_type *args[3];
    for (unsigned i = 0; i < 3; i++)
        args[i] = check(k, v->kids[i]);
    if (try_assign(k, args[0], cel_type_of(CEL_BOOL)) && try_assign(k, args[2], args[1]))
        return wild(deref(args[2])) ? args[2] : args[1];
    no_overload(k, v, "_?_:_", false, args, 3);
    return cel_type_of(CEL_ERROR);
}

static void want_bool(struct check *k, struct node *v, const struct cel_type *t, const char *name)
{
    if (try_assign(k, t, cel_type_of(CEL_BOOL)))
        return;
    bool logic = name[1] == '&' || name[1] == '|';
    const struct cel_type *args[3] = {t, cel_type_of(CEL_INT), cel_type_of(CEL_INT)},
                          *two[2] = {cel_type_of(CEL_BOOL), t};
    no_overload(k, v, name, false, logic ? two : args, logic ? 2 : 3);
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
        t = make(k, CEL_LIST);
        t->elem = range;
        return t;
    case NODE_MAP_LIST:
        t = make(k, CEL_LIST);
        t->elem = body;
        return t;
    case NODE_MAP_MAP:
        t = make(k, CEL_MAP);
        t->key = range;
        t->elem = body;
        return t;
    case NODE_MAP_ENTRIES:
        body = deref(body);
        if (body->kind != CEL_MAP && !wild(body)) {
            struct str got = name_of(k, body);
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
    const struct cel_type *range = deref(check(k, v->kids[0])), *dyn = cel_type_of(CEL_DYN);
    const struct cel_type *first = dyn, *second = dyn;
    bool two = v->var2.p;
    if (range->kind == CEL_LIST) {
        first = two ? cel_type_of(CEL_INT) : cel_type_elem(range);
        second = cel_type_elem(range);
    } else if (range->kind == CEL_MAP) {
        first = range->key ? range->key : dyn;
        second = cel_type_elem(range);
    } else if (!wild(range) && range->kind != CEL_PARAM) {
        struct str s = name_of(k, range);
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
        want_bool(k, v->kids[1], check(k, v->kids[1]), "_?_:_");
    const struct cel_type *body = check(k, v->kids[v->n - 1]);
    k->scope = before;
    return loop_result(k, v, first, body);
}

static const struct cel_type *check_bind(struct check *k, struct node *v)
{
    const struct cel_type *t = check(k, v->kids[0]);
    if (v->op != NODE_BIND) {
        t = deref(t);
        if (t->kind != CEL_OPTIONAL && !wild(t)) {
            const struct cel_type *args[1] = {t};
            no_overload(k, v, "hasValue", true, args, 1);
        }
        t = t->kind == CEL_OPTIONAL ? cel_type_elem(t) : cel_type_of(CEL_DYN);
    }
    struct scope s = {k->scope, v->var, t, v->slot};
    const struct scope *before = k->scope;
    k->scope = &s;
    const struct cel_type *body = check(k, v->kids[1]);
    k->scope = before;
    if (v->op == NODE_BIND)
        return body;
    if (v->op == NODE_OPT_FLAT_MAP)
        return deref(body)->kind == CEL_OPTIONAL ? body : cel_type_of(CEL_DYN);
    struct cel_type *o = make(k, CEL_OPTIONAL);
    o->elem = body;
    return o;
}

static const struct cel_type *const_type(const struct node *v)
{
    return cel_type_of((enum cel_kind)v->value.type);
}

static const struct cel_type *check(struct check *k, struct node *v)
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
    const struct cel_type *t = check(&k, root);
    if (c->n_findings || !expect || try_assign(&k, t, expect))
        return;
    struct str want = name_of(&k, expect), got = name_of(&k, t);
    cel_finding(c, root->pos, "must evaluate to %.*s, but is %.*s", STR_ARG(want), STR_ARG(got));
}
