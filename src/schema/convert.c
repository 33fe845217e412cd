/* One object under two kinds. Mostly (core and events.k8s.io events) the tables pair the fields,
 * the generator has made sure that each pair has one C type, so conversion is a shallow copy field
 * by field. Kinds whose fields do not pair name a pair of functions. */
#include "schema/internal.h"

static size_t field_bytes(const struct schema_field *f)
{
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP))
        return sizeof(void *);
    return f->type == SCHEMA_MSG && (f->flags & SCHEMA_POINTER) ? sizeof(void *) : f->elem_size;
}

static void move_field(const struct schema_field *from, const void *src,
                       const struct schema_field *to, void *dst)
{
    memcpy(schema_at(to, dst), schema_at(from, src), field_bytes(from));
    if (from->flags & (SCHEMA_LIST | SCHEMA_MAP))
        memcpy((char *)dst + to->aux, (const char *)src + from->aux, sizeof(uint32_t));
    else if ((from->flags & SCHEMA_POINTER) && from->type <= SCHEMA_DOUBLE)
        *((bool *)dst + to->aux) = *((const bool *)src + from->aux);
}

/* Both directions share with msg what they can. */
static const struct {
    const char *name;
    const void *(*to_storage)(const void *msg, struct arena *a);
    const void *(*from_storage)(const void *msg, struct arena *a);
} hooks[] = {
    {"hpa1", convert_hpa1_to_storage, convert_hpa1_from_storage},
};

static size_t hook_find(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(hooks) && strcmp(hooks[i].name, name) != 0)
        i++;
    ASSERT(i < ARRAY_LEN(hooks));
    return i;
}

const void *schema_to_storage(const struct schema_kind *k, const void *msg, struct arena *a)
{
    if (k->storage == k->id)
        return msg;
    if (k->convert_hook)
        return hooks[hook_find(k->convert_hook)].to_storage(msg, a);
    const struct schema_desc *to = schema_stored(k)->desc;
    void *out = schema_new(to, a);
    for (unsigned i = 0; i < k->n_convert; i++)
        move_field(&k->desc->fields[k->convert[i].own], msg, &to->fields[k->convert[i].stored],
                   out);
    return out;
}

const void *schema_from_storage(const struct schema_kind *k, const void *msg, struct arena *a)
{
    if (k->storage == k->id)
        return msg;
    if (k->convert_hook)
        return hooks[hook_find(k->convert_hook)].from_storage(msg, a);
    const struct schema_desc *from = schema_stored(k)->desc;
    void *out = schema_new(k->desc, a);
    for (unsigned i = 0; i < k->n_convert; i++)
        move_field(&from->fields[k->convert[i].stored], msg, &k->desc->fields[k->convert[i].own],
                   out);
    return out;
}
