/* Object types from the schema tables: made when an expression first steps into them, since the
 * tree of types below a Pod is large and rules look at few of it. */
#include "cel/internal.h"

struct cel_desc_type {
    struct cel_desc_type *next;
    struct cel_env *env;
    const struct schema_desc *desc;
    struct cel_type type;
    const struct cel_type **fields; /* by index into desc->json; NULL: not made yet */
};

static const struct cel_type *scalar(struct cel_env *env, const struct schema_field *f)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        return cel_type_of(CEL_BOOL);
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return cel_type_of(CEL_INT);
    case SCHEMA_DOUBLE:
        return cel_type_of(CEL_DOUBLE);
    case SCHEMA_STRING:
        if (f->rules && f->rules->max_len) {
            struct cel_type *t = cel_type_make(&env->arena, CEL_STRING);
            t->max_size = f->rules->max_len;
            return t;
        }
        return cel_type_of(CEL_STRING);
    case SCHEMA_QUANTITY: /* as Kubernetes: text, for quantity() to read */
        return cel_type_of(CEL_STRING);
    case SCHEMA_BYTES:
        return cel_type_of(CEL_BYTES);
    case SCHEMA_MSG:
        return cel_type_of_desc(env, f->msg);
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        return cel_type_of(CEL_TIMESTAMP);
    case SCHEMA_DURATION:
        return cel_type_of(CEL_DURATION);
    case SCHEMA_INT_OR_STR:
    case SCHEMA_RAW:
    case _SCHEMA_TYPE_MAX:
        break;
    }
    return cel_type_of(CEL_DYN);
}

static const struct cel_type *field_type(struct cel_env *env, const struct schema_field *f)
{
    const struct cel_type *t = scalar(env, f);
    if (f->flags & SCHEMA_LIST) {
        struct cel_type *l = cel_type_make(&env->arena, CEL_LIST);
        l->elem = t;
        if (f->rules && f->rules->max_items)
            l->max_size = f->rules->max_items;
        return l;
    }
    if (f->flags & SCHEMA_MAP)
        return cel_type_map(env, cel_type_of(CEL_STRING), t);
    return t;
}

static const struct cel_type *desc_field(const struct cel_type *t, struct str name,
                                         struct str *ret_name)
{
    const struct cel_desc_type *d = t->data;
    struct str real;
    if (!cel_unescape(name, &d->env->arena, &real))
        return NULL;
    if ((d->desc->flags & SCHEMA_DESC_KIND) &&
        (str_is(real, "kind") || str_is(real, "apiVersion"))) {
        *ret_name = real;
        return cel_type_of(CEL_STRING);
    }
    const struct schema_field *f = schema_field_find(d->desc, real.p, real.n);
    if (!f)
        return NULL;
    size_t i = (size_t)(f - d->desc->json);
    if (!d->fields[i])
        d->fields[i] = field_type(d->env, f);
    *ret_name = (struct str){f->name, f->name_len};
    return d->fields[i];
}

const struct cel_type *cel_type_of_desc(struct cel_env *env, const struct schema_desc *desc)
{
    static const struct cel_provider provider = {desc_field, NULL};
    if (desc->flags & SCHEMA_DESC_AS_LIST)
        return field_type(env, desc->fields);
    for (struct cel_desc_type *d = env->descs; d; d = d->next)
        if (d->desc == desc)
            return &d->type;
    struct cel_desc_type *d = ARENA_NEW(&env->arena, struct cel_desc_type);
    d->env = env;
    d->desc = desc;
    d->fields = ARENA_NEW_N(&env->arena, const struct cel_type *, desc->n_json);
    d->type = *cel_type_of(CEL_OBJECT);
    d->type.name = desc->openapi ? desc->openapi : desc->name;
    d->type.provider = &provider;
    d->type.data = d;
    d->next = env->descs;
    env->descs = d;
    return &d->type;
}
