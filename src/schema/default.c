/* Defaults of the tables. A field that is absent gets its default; messages below are visited
 * whether they were there or just made, so defaults of defaults hold too. Subtrees without any
 * default are never entered (SCHEMA_DEFAULTS is set up to the root by the generator). */
#include "schema/internal.h"

static void set_default(const struct schema_field *f, void *msg, struct arena *a)
{
    struct str text = str_z(f->rules->default_text);
    void *p = schema_at(f, msg);
    int64_t i = 0;
    int r = 0;
    if (f->type == SCHEMA_MSG) {
        ASSERT(f->flags & SCHEMA_POINTER);
        *(void **)p = schema_new(f->msg, a);
        return;
    }
    if (f->type <= SCHEMA_INT64 && (f->flags & SCHEMA_POINTER))
        *((bool *)msg + f->aux) = true;
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        *(bool *)p = str_is(text, "true");
        break;
    case SCHEMA_INT32:
        r = str_to_i64(text, &i);
        *(int32_t *)p = (int32_t)i;
        break;
    case SCHEMA_INT64:
        r = str_to_i64(text, &i);
        *(int64_t *)p = i;
        break;
    case SCHEMA_STRING:
        *(struct str *)p = text;
        break;
    default:
        r = -EINVAL; /* the generator's tables have no other; a test walks them all */
    }
    ASSERT(r == 0);
}

static void default_elems(const struct schema_field *f, void *msg, struct arena *a)
{
    char *p = schema_elems(f, msg);
    size_t skip = f->flags & SCHEMA_MAP ? SCHEMA_MAP_VALUE : 0;
    for (uint32_t n = schema_count(f, msg); n; n--, p += f->elem_size)
        schema_default(f->msg, p + skip, a);
}

void schema_default(const struct schema_desc *desc, void *msg, struct arena *a)
{
    if (!(desc->flags & SCHEMA_DESC_DEFAULTS))
        return;
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
        if (!(f->flags & SCHEMA_DEFAULTS))
            continue;
        if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
            if (f->type == SCHEMA_MSG)
                default_elems(f, msg, a);
            continue;
        }
        if (f->rules->default_text && schema_field_absent(f, msg))
            set_default(f, msg, a);
        if (f->type == SCHEMA_MSG) {
            void *sub = schema_sub(f, msg);
            if (sub)
                schema_default(f->msg, sub, a);
        }
    }
}
