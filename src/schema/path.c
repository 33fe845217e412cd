/* Access by path, for field selectors, table columns and the downward API:
 *   path    = [ "." ] segment { "." segment | "[" index "]" | "['" key "']" }
 * Behind a map field the rest up to the next '[' is a key, dots included, when it has no brackets:
 * metadata.labels.app.kubernetes.io/name works as people write it. */
#include "codec/base64.h"
#include "schema/internal.h"

struct cursor {
    struct schema_ref ref;
    struct str rest;
};

/* Points the cursor at one value (an element, a map value, a plain field). 0 when it is absent. */
static int enter(struct cursor *c, const struct schema_field *f, const void *p)
{
    c->ref =
        (struct schema_ref){.field = f, .ptr = p, .desc = f->type == SCHEMA_MSG ? f->msg : NULL};
    return 1;
}

static int step_member(struct cursor *c, struct str name)
{
    const struct schema_desc *d = c->ref.desc;
    if (!d || c->ref.whole)
        return -EINVAL;
    const struct schema_field *f = schema_field_find(d, name.p, name.n);
    if (!f)
        return -EINVAL;
    const void *msg = c->ref.ptr;
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        c->ref = (struct schema_ref){
            .field = f, .ptr = schema_at(f, msg), .whole = true, .n = schema_count(f, msg)};
        return 1;
    }
    if (f->type == SCHEMA_MSG) {
        const void *sub = schema_sub(f, msg);
        /* A nil pointer: keep a type to go on with, so that a wrong path is told from an absent
         * one. */
        int r = enter(c, f, sub);
        return sub ? r : 0;
    }
    enter(c, f, schema_at(f, msg));
    return (f->flags & SCHEMA_POINTER) && schema_field_absent(f, msg) ? 0 : 1;
}

static int step_key(struct cursor *c, struct str key)
{
    const struct schema_field *f = c->ref.field;
    const char *p = *(char *const *)c->ref.ptr;
    if (!c->ref.whole || !(f->flags & SCHEMA_MAP))
        return -EINVAL;
    for (uint32_t i = 0; i < c->ref.n; i++, p += f->elem_size)
        if (str_eq(*(const struct str *)(const void *)p, key))
            return enter(c, f, p + SCHEMA_MAP_VALUE);
    return 0;
}

static int step_index(struct cursor *c, uint64_t i)
{
    const struct schema_field *f = c->ref.field;
    if (!c->ref.whole || !(f->flags & SCHEMA_LIST))
        return -EINVAL;
    if (i >= c->ref.n)
        return 0;
    return enter(c, f, *(char *const *)c->ref.ptr + i * f->elem_size);
}

/* "[3]" or "['key']" at the start of rest. */
static int step_bracket(struct cursor *c)
{
    uint64_t i;
    ssize_t close = str_find(c->rest, ']');
    if (close < 0)
        return -EINVAL;
    struct str in = str_sub(c->rest, 1, (size_t)close);
    c->rest = str_sub(c->rest, (size_t)close + 1, c->rest.n);
    if (in.n >= 2 && (in.p[0] == '\'' || in.p[0] == '"') && in.p[in.n - 1] == in.p[0])
        return step_key(c, str_sub(in, 1, in.n - 1));
    return str_to_u64(in, &i) < 0 ? -EINVAL : step_index(c, i);
}

static int step(struct cursor *c)
{
    if (c->rest.p[0] == '[')
        return step_bracket(c);
    if (c->rest.p[0] == '.')
        c->rest = str_sub(c->rest, 1, c->rest.n);
    if (c->ref.whole && (c->ref.field->flags & SCHEMA_MAP)) {
        struct str key = c->rest;
        c->rest = STR("");
        return step_key(c, key);
    }
    size_t n = 0;
    while (n < c->rest.n && c->rest.p[n] != '.' && c->rest.p[n] != '[')
        n++;
    struct str name = str_sub(c->rest, 0, n);
    c->rest = str_sub(c->rest, n, c->rest.n);
    return step_member(c, name);
}

int schema_get_path(const struct schema_desc *desc, const void *msg, struct str path,
                    struct schema_ref *ret)
{
    struct cursor c = {.ref = {.desc = desc, .ptr = msg}, .rest = path};
    while (c.rest.n) {
        int r = step(&c);
        if (r <= 0)
            return r;
    }
    *ret = c.ref;
    return 1;
}

void schema_ref_print(const struct schema_ref *r, struct buf *b)
{
    /* A one-field view of the value lets the JSON printer do everything but bare text. */
    if (r->desc && !r->whole) {
        schema_encode_json(r->desc, r->ptr, 0, b);
        return;
    }
    const struct schema_field *f = r->field;
    if (r->whole) {
        struct schema_field only = *f;
        struct {
            void *elems;
            uint32_t n;
        } holder = {*(void *const *)r->ptr, r->n};
        only.offset = 0;
        only.aux = sizeof(void *);
        only.flags |= SCHEMA_ALWAYS;
        struct schema_desc as_list = {.fields = &only, .n_fields = 1, .json = &only, .n_json = 1};
        struct buf t = {0};
        schema_encode_json(&as_list, &holder, 0, &t);
        /* {"name":VALUE} */
        struct str s = buf_str(&t);
        size_t skip = (size_t)f->name_len + 4;
        buf_add_str(b, str_sub(s, skip, s.n - 1));
        buf_fini(&t);
        return;
    }
    switch ((enum schema_type)f->type) {
    case SCHEMA_STRING:
    case SCHEMA_RAW:
        buf_add_str(b, *(const struct str *)r->ptr);
        return;
    case SCHEMA_BYTES:
        base64_print(*(const struct str *)r->ptr, b);
        return;
    case SCHEMA_BOOL:
        buf_add_str(b, *(const bool *)r->ptr ? STR("true") : STR("false"));
        return;
    case SCHEMA_INT32:
        buf_add_i64(b, *(const int32_t *)r->ptr);
        return;
    case SCHEMA_INT64:
        buf_add_i64(b, *(const int64_t *)r->ptr);
        return;
    case SCHEMA_DOUBLE:
        json_print_double(*(const double *)r->ptr, b);
        return;
    case SCHEMA_QUANTITY:
        quantity_print(r->ptr, b);
        return;
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        if (((const struct timestamp *)r->ptr)->set)
            timestamp_print(*(const struct timestamp *)r->ptr, f->type == SCHEMA_MICRO_TIME, b);
        return;
    case SCHEMA_DURATION: {
        char t[DURATION_TEXT_MAX];
        buf_add(b, t, duration_format(((const struct duration *)r->ptr)->nsec, t));
        return;
    }
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *v = r->ptr;
        if (v->type == INT_OR_STR_STR)
            buf_add_str(b, v->s);
        else
            buf_add_i64(b, v->i);
        return;
    }
    case SCHEMA_MSG:
    case _SCHEMA_TYPE_MAX:
        break;
    }
}
