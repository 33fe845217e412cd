/* Deep copies. One walk adds up what a message needs, a second copies it into one block: structs,
 * lists and map entries from the front, so that they stay aligned, string bytes from the back, so
 * that no padding goes between them. One block is one malloc to make, one free to drop, and close
 * together in the cache. Static enum texts are not copied at all. */
#include "base/mem.h"
#include "schema/internal.h"

struct sizes {
    size_t structs, bytes;
};
struct target {
    char *front, *back;
};

static void measure_msg(const struct schema_desc *desc, const void *msg, struct sizes *s);

static void measure_str(struct str v, struct sizes *s)
{
    if (v.n && !schema_is_static(v.p))
        s->bytes += v.n;
}

/* What hangs off one value at p. */
static void measure_value(const struct schema_field *f, const void *p, struct sizes *s)
{
    if (f->type == SCHEMA_MSG)
        measure_msg(f->msg, p, s);
    else if (schema_is_scalar_str(f))
        measure_str(*(const struct str *)p, s);
    else if (f->type == SCHEMA_INT_OR_STR && ((const struct int_or_str *)p)->type == INT_OR_STR_STR)
        measure_str(((const struct int_or_str *)p)->s, s);
}

static bool has_pointers(const struct schema_field *f)
{
    return f->type == SCHEMA_MSG || f->type == SCHEMA_INT_OR_STR || schema_is_scalar_str(f);
}

static void measure_elems(const struct schema_field *f, const void *msg, struct sizes *s)
{
    const char *p = schema_elems(f, msg);
    uint32_t n = schema_count(f, msg);
    bool map = f->flags & SCHEMA_MAP;
    s->structs += ALIGN_UP((size_t)n * f->elem_size, 8);
    if (!map && !has_pointers(f))
        return;
    for (; n; n--, p += f->elem_size) {
        if (map)
            measure_str(*(const struct str *)(const void *)p, s);
        measure_value(f, map ? p + SCHEMA_MAP_VALUE : p, s);
    }
}

static void measure_msg(const struct schema_desc *desc, const void *msg, struct sizes *s)
{
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
        if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
            if (schema_count(f, msg))
                measure_elems(f, msg, s);
        } else if (f->type == SCHEMA_MSG && (f->flags & SCHEMA_POINTER)) {
            const void *sub = schema_sub(f, msg);
            if (sub) {
                s->structs += ALIGN_UP((size_t)f->elem_size, 8);
                measure_msg(f->msg, sub, s);
            }
        } else {
            measure_value(f, schema_at(f, msg), s);
        }
    }
}

static void fix_msg(const struct schema_desc *desc, void *msg, struct target *t);

static void fix_str(struct str *v, struct target *t)
{
    if (!v->p || schema_is_static(v->p))
        return;
    if (v->n == 0) {
        v->p = (const char *)&schema_empty;
        return;
    }
    t->back -= v->n;
    memcpy(t->back, v->p, v->n);
    v->p = t->back;
}

static void *move(const void *from, size_t size, struct target *t)
{
    void *to = t->front;
    memcpy(to, from, size);
    t->front += ALIGN_UP(size, 8);
    return to;
}

/* A value has been copied byte by byte to p; gives it its own copies of what it points to. */
static void fix_value(const struct schema_field *f, void *p, struct target *t)
{
    if (f->type == SCHEMA_MSG)
        fix_msg(f->msg, p, t);
    else if (schema_is_scalar_str(f))
        fix_str(p, t);
    else if (f->type == SCHEMA_INT_OR_STR) {
        struct int_or_str *v = p;
        if (v->type == INT_OR_STR_STR)
            fix_str(&v->s, t);
        else
            v->s = STR_NONE;
    }
}

static void fix_elems(const struct schema_field *f, void *msg, struct target *t)
{
    void **slot = schema_at(f, msg);
    uint32_t n = schema_count(f, msg);
    bool map = f->flags & SCHEMA_MAP;
    if (n == 0) {
        *slot = *slot ? SCHEMA_EMPTY : NULL;
        return;
    }
    char *p = *slot = move(*slot, (size_t)n * f->elem_size, t);
    if (!map && !has_pointers(f))
        return;
    for (; n; n--, p += f->elem_size) {
        if (map)
            fix_str((struct str *)(void *)p, t);
        fix_value(f, map ? p + SCHEMA_MAP_VALUE : p, t);
    }
}

static void fix_msg(const struct schema_desc *desc, void *msg, struct target *t)
{
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
        if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
            fix_elems(f, msg, t);
        } else if (f->type == SCHEMA_MSG && (f->flags & SCHEMA_POINTER)) {
            void **slot = schema_at(f, msg);
            if (*slot) {
                *slot = move(*slot, f->elem_size, t);
                fix_msg(f->msg, *slot, t);
            }
        } else {
            fix_value(f, schema_at(f, msg), t);
        }
    }
}

void *schema_compact(const struct schema_desc *desc, const void *msg, size_t *ret_bytes)
{
    struct sizes s = {.structs = ALIGN_UP((size_t)desc->size, 8)};
    measure_msg(desc, msg, &s);
    char *block = xmalloc(s.structs + s.bytes);
    struct target t = {.front = block, .back = block + s.structs + s.bytes};
    void *copy = move(msg, desc->size, &t);
    fix_msg(desc, copy, &t);
    ASSERT(t.front == t.back);
    if (ret_bytes)
        *ret_bytes = s.structs + s.bytes;
    return copy;
}

void schema_clone_into(const struct schema_desc *desc, const void *msg, void *dst, struct arena *a)
{
    struct sizes s = {0};
    measure_msg(desc, msg, &s);
    struct target t = {0};
    if (s.structs + s.bytes) {
        t.front = arena_alloc(a, s.structs + s.bytes);
        t.back = t.front + s.structs + s.bytes;
    }
    memcpy(dst, msg, desc->size);
    fix_msg(desc, dst, &t);
    ASSERT(t.front == t.back);
}

void *schema_clone(const struct schema_desc *desc, const void *msg, struct arena *a)
{
    void *copy = arena_alloc(a, desc->size);
    schema_clone_into(desc, msg, copy, a);
    return copy;
}
