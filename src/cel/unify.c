/* Types with unknown parts (the elements of []) carry parameters that are bound as types are
 * compared; what a failed attempt bound is undone by a trail. Also the one-letter signatures of
 * overloads. */
#include "cel/check.h"

const struct cel_type *type_deref(const struct cel_type *t)
{
    while (t->kind == CEL_PARAM && t->elem)
        t = t->elem;
    return t;
}
struct cel_type *type_new(struct check *k, enum cel_kind kind)
{
    return cel_type_make(k->c->a, kind);
}
struct str type_text(struct check *k, const struct cel_type *t)
{
    return cel_type_print(t, k->c->a);
}
bool type_wild(const struct cel_type *t)
{
    return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

static bool occurs(const struct cel_type *param, const struct cel_type *t, unsigned depth)
{
    t = type_deref(t);
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
void unify_undo(struct check *k, unsigned to)
{
    while (k->n_trail > to)
        k->trail[--k->n_trail]->elem = NULL;
}

/* Whether a value of type t may stand where `formal` is wanted. */
bool unify(struct check *k, const struct cel_type *t, const struct cel_type *formal)
{
    t = type_deref(t);
    formal = type_deref(formal);
    if (t == formal)
        return true;
    if (formal->kind == CEL_PARAM)
        return bind_param(k, formal, t);
    if (t->kind == CEL_PARAM)
        return bind_param(k, t, formal);
    if (type_wild(t) || type_wild(formal))
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
    bool ok = unify(k, cel_type_elem(t), cel_type_elem(formal));
    if (ok && t->kind == CEL_MAP)
        ok = unify(k, t->key ? t->key : cel_type_of(CEL_DYN),
                   formal->key ? formal->key : cel_type_of(CEL_DYN));
    k->unify_depth--;
    return ok;
}
/* The same, without a trace when it fails. */
bool unify_try(struct check *k, const struct cel_type *t, const struct cel_type *formal)
{
    unsigned mark = k->n_trail;
    if (unify(k, t, formal))
        return true;
    unify_undo(k, mark);
    return false;
}

const struct cel_type *sig_instantiate(struct check *k, const char **sig,
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
            params[c - 'A'] = type_new(k, CEL_PARAM);
        return params[c - 'A'];
    case 'L':
    case 'O':
    case 'T':
        t = type_new(k, c == 'L' ? CEL_LIST : c == 'O' ? CEL_OPTIONAL : CEL_TYPE);
        t->elem = sig_instantiate(k, sig, params);
        return t;
    case 'M':
        t = type_new(k, CEL_MAP);
        t->key = sig_instantiate(k, sig, params);
        t->elem = sig_instantiate(k, sig, params);
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
