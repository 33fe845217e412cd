/* Which overloads of a function fit. Where types are known it is one; where something is dyn
 * several stay, and the kinds of the values decide when they are there (eval.c). */
#include "cel/check.h"
#include "codec/regex.h"

void check_no_overload(struct check *k, const struct node *v, const char *name, bool member,
                       const struct cel_type *const *args, unsigned n)
{
    struct buf b = {.limit_bytes = 900};
    unsigned i = 0;
    if (member && n) {
        buf_add_str(&b, type_text(k, args[0]));
        buf_add_char(&b, '.');
        i = 1;
    }
    buf_add_char(&b, '(');
    for (unsigned first = i; i < n; i++) {
        if (i > first)
            buf_add_lit(&b, ", ");
        buf_add_str(&b, type_text(k, args[i]));
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
                ((o->flags & OV_EXTRA) && !(k->c->env->flags & CEL_ENV_EXTRAS)) ||
                ((o->flags & OV_MUTATION) &&
                 !(k->c->env->flags & (CEL_ENV_EXTRAS | CEL_ENV_MUTATION))))
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
            ok = unify(k, args[j], sig_instantiate(k, &sig, params));
        if (!ok) {
            unify_undo(k, mark);
            continue;
        }
        const char *masks = all->v[i]->sig;
        for (unsigned j = 0; j < v->n; j++)
            v->masks[v->n_ov * v->n + j] = cel_sig_mask(&masks);
        if (str_starts(v->name, STR("_[")) && v->masks[v->n_ov * v->n + 1] == BIT(CEL_INT))
            v->masks[v->n_ov * v->n + 1] |= BIT(CEL_UINT) | BIT(CEL_DOUBLE); /* of dyn only */
        v->ov[v->n_ov++] = all->v[i];
        sig++; /* > */
        const struct cel_type *t = sig_instantiate(k, &sig, params);
        if (!result)
            result = t;
        else if (type_deref(result)->kind != type_deref(t)->kind || type_deref(t)->elem ||
                 type_deref(t)->key)
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

const struct cel_type *check_call(struct check *k, struct node *v)
{
    struct candidates all;
    bool member = v->flags & NODE_MEMBER;
    if (member) {
        /* optional.of(x), format.dns1123Label(): the target may be part of the name. */
        struct str target = check_dotted(k, v->kids[0]);
        if (target.p && !check_known_root(k, v->kids[0])) {
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
        args[i] = check_node(k, v->kids[i]);
        broken |= type_deref(args[i])->kind == CEL_ERROR;
    }
    candidates(k, v->name, member, v->n, &all);
    if (!all.named) {
        cel_finding(k->c, v->pos, "undeclared reference to '%.*s' (in container '')",
                    (int)MIN(v->name.n, 200), v->name.p);
        return cel_type_of(CEL_ERROR);
    }
    const struct cel_type *t = v->n <= CEL_ARGS_MAX ? resolve(k, v, &all, args) : NULL;
    if (t) {
        if (str_is(v->name, "_[_]"))
            check_free(v->kids[1]);
        check_literals(k, v);
        return t;
    }
    if (!broken)
        check_no_overload(k, v, arena_cstr(k->c->a, v->name), member, args, v->n);
    return cel_type_of(CEL_ERROR);
}
