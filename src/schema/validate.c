/* The rules of the tables, checked over a whole object. Every breach becomes a cause with the path
 * of its field, in the words of a Kubernetes server; checking goes on behind a breach, so that a
 * person sees all at once. Subtrees without rules are never entered (SCHEMA_CHECKS). */
#include "schema/internal.h"
#include "base/set.h"

#include <stdio.h>

struct checker {
    struct error *err;
    int result; /* 0 or -EBADMSG */
};

static void check_msg(struct checker *c, const struct schema_desc *desc, const void *msg,
                      const void *old, const struct schema_frame *at);

static void cause(struct checker *c, const char *type, const struct schema_frame *at,
                  const char *fmt, struct str text)
{
    struct buf path = {0};
    schema_frame_print(at, false, &path);
    (void)error_cause(c->err, type, buf_str(&path), fmt, STR_ARG(text));
    c->result = -EBADMSG;
    buf_fini(&path);
}

static void required(struct checker *c, const struct schema_frame *at)
{
    cause(c, CAUSE_REQUIRED, at, "Required value%.*s", STR(""));
}

/* `Invalid value: VALUE: WHY`; strings come quoted as JSON. */
static void invalid(struct checker *c, const struct schema_frame *at, struct str value,
                    const char *why)
{
    struct buf b = {0};
    buf_printf(&b, "Invalid value: %.*s: %s", STR_ARG(value), why);
    cause(c, CAUSE_INVALID, at, "%.*s", buf_str(&b));
    buf_fini(&b);
}

static void invalid_str(struct checker *c, const struct schema_frame *at, struct str value,
                        const char *why)
{
    struct buf b = {0};
    json_print_str(value, &b);
    invalid(c, at, buf_str(&b), why);
    buf_fini(&b);
}

static void invalid_int(struct checker *c, const struct schema_frame *at, int64_t value,
                        const char *why)
{
    struct buf b = {0};
    buf_add_i64(&b, value);
    invalid(c, at, buf_str(&b), why);
    buf_fini(&b);
}

static void check_enum(struct checker *c, const struct schema_enum *e, struct str s,
                       const struct schema_frame *at)
{
    for (unsigned i = 0; i < e->n_texts; i++)
        if (str_eq(e->texts[i], s))
            return;
    struct buf b = {0};
    buf_add_lit(&b, "Unsupported value: ");
    json_print_str(s, &b);
    buf_add_lit(&b, ": supported values: ");
    for (unsigned i = 0; i < e->n_texts; i++) {
        if (i)
            buf_add_lit(&b, ", ");
        json_print_str(e->texts[i], &b);
    }
    cause(c, CAUSE_NOT_SUPPORTED, at, "%.*s", buf_str(&b));
    buf_fini(&b);
}

static void check_str(struct checker *c, const struct schema_rules *r, struct str s,
                      const struct schema_frame *at)
{
    const char *why;
    if (r->enum_ && !r->enum_->open) {
        check_enum(c, r->enum_, s, at);
        return;
    }
    if (r->max_len && s.n > r->max_len) {
        struct buf b = {0};
        buf_printf(&b, "Too long: may not be more than %u bytes", r->max_len);
        cause(c, CAUSE_TOO_LONG, at, "%.*s", buf_str(&b));
        buf_fini(&b);
    } else if (r->format && (why = schema_format_check(r->format, s))) {
        invalid_str(c, at, s, why);
    }
}

static void check_int(struct checker *c, const struct schema_rules *r, int64_t v,
                      const struct schema_frame *at)
{
    char why[96];
    bool port = r->format == SCHEMA_FORMAT_PORT || r->format == SCHEMA_FORMAT_PORT_OR_NAME;
    if (port && (v < 1 || v > 65535))
        invalid_int(c, at, v, "must be between 1 and 65535, inclusive");
    else if (r->format == SCHEMA_FORMAT_NON_NEGATIVE && v < 0)
        invalid_int(c, at, v, "must be greater than or equal to 0");
    else if (r->format == SCHEMA_FORMAT_POSITIVE && v <= 0)
        invalid_int(c, at, v, "must be greater than 0");
    if ((!r->has_min || v >= r->min) && (!r->has_max || v <= r->max))
        return;
    if (r->has_min && r->has_max)
        snprintf(why, sizeof why, "must be between %lld and %lld, inclusive", (long long)r->min,
                 (long long)r->max);
    else
        snprintf(why, sizeof why, "must be %s than or equal to %lld",
                 r->has_min ? "greater" : "less", (long long)(r->has_min ? r->min : r->max));
    invalid_int(c, at, v, why);
}

/* One value that is there. */
static void check_value(struct checker *c, const struct schema_field *f, const void *p,
                        const void *old, const struct schema_frame *at)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_MSG:
        check_msg(c, f->msg, p, old, at);
        return;
    case SCHEMA_STRING:
        check_str(c, f->rules, *(const struct str *)p, at);
        return;
    case SCHEMA_INT32:
        check_int(c, f->rules, *(const int32_t *)p, at);
        return;
    case SCHEMA_INT64:
        check_int(c, f->rules, *(const int64_t *)p, at);
        return;
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *v = p;
        if (v->type == INT_OR_STR_STR)
            check_str(c, f->rules, v->s, at);
        else if (v->type == INT_OR_STR_INT)
            check_int(c, f->rules, v->i, at);
        return;
    }
    default:
        return;
    }
}

/* The string field that tells the elements of a list of messages apart: its map key or merge key.
 * NULL: it has none. */
static const struct schema_field *elem_key(const struct schema_field *f, const char *name)
{
    const struct schema_field *k =
        name && f->type == SCHEMA_MSG ? schema_field_find(f->msg, name, strlen(name)) : NULL;
    return k && k->type == SCHEMA_STRING && !(k->flags & (SCHEMA_LIST | SCHEMA_MAP)) ? k : NULL;
}

static void check_unique(struct checker *c, const struct schema_field *f, const void *msg,
                         const struct schema_frame *at)
{
    const char *elem = schema_elems(f, msg);
    const char *name = f->type == SCHEMA_STRING  ? NULL
                       : f->rules->merge_key     ? f->rules->merge_key
                       : f->rules->list_map_keys ? f->rules->list_map_keys[0]
                                                 : NULL;
    const struct schema_field *k = elem_key(f, name);
    uint32_t n = schema_count(f, msg);
    struct set seen = {0};
    if (!k && f->type != SCHEMA_STRING)
        return;
    for (uint32_t i = 0; i < n; i++, elem += f->elem_size) {
        struct str key = *(const struct str *)(k ? schema_at(k, elem) : (const void *)elem);
        if (!key.n || set_add(&seen, key))
            continue;
        struct schema_frame el = {.up = at, .index = i};
        struct schema_frame member = {.up = &el, .name = str_z(name)};
        struct buf b = {0};
        json_print_str(key, &b);
        cause(c, CAUSE_DUPLICATE, name ? &member : &el, "Duplicate value: %.*s", buf_str(&b));
        buf_fini(&b);
    }
    set_fini(&seen);
}

static void check_elems(struct checker *c, const struct schema_field *f, const void *msg,
                        const struct schema_frame *at)
{
    const char *p = schema_elems(f, msg);
    uint32_t n = schema_count(f, msg);
    bool map = f->flags & SCHEMA_MAP;
    if (f->rules->max_items && n > f->rules->max_items) {
        struct buf b = {0};
        buf_printf(&b, "Too many: %u: must have at most %u items", n, f->rules->max_items);
        cause(c, CAUSE_TOO_MANY, at, "%.*s", buf_str(&b));
        buf_fini(&b);
        return;
    }
    if (f->flags & SCHEMA_UNIQUE)
        check_unique(c, f, msg, at);
    for (uint32_t i = 0; i < n; i++, p += f->elem_size) {
        struct schema_frame el = {.up = at, .index = i};
        if (map) {
            el.name = *(const struct str *)(const void *)p;
            el.map_key = true;
        }
        check_value(c, f, map ? p + SCHEMA_MAP_VALUE : p, NULL, &el);
    }
}

static bool field_same(const struct schema_desc *desc, const struct schema_field *f, const void *a,
                       const void *b)
{
    /* A descriptor of just this field: equality is defined on messages. */
    struct schema_desc one = *desc;
    one.fields = f;
    one.n_fields = 1;
    return schema_equal(&one, a, b);
}

static void immutable(struct checker *c, const struct schema_desc *desc,
                      const struct schema_field *f, const void *msg, const struct schema_frame *at)
{
    struct schema_ref ref = {.field = f, .ptr = schema_at(f, msg)};
    struct buf b = {0};
    (void)desc;
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        ref.whole = true;
        ref.n = schema_count(f, msg);
    } else if (f->type == SCHEMA_MSG) {
        ref.desc = f->msg;
        ref.ptr = schema_sub(f, msg);
    }
    if (f->type == SCHEMA_STRING && !ref.whole)
        json_print_str(*(const struct str *)ref.ptr, &b);
    else if (ref.ptr)
        schema_ref_print(&ref, &b);
    else
        buf_add_lit(&b, "null");
    invalid(c, at, buf_str(&b), "field is immutable");
    buf_fini(&b);
}

static void check_field(struct checker *c, const struct schema_desc *desc,
                        const struct schema_field *f, const void *msg, const void *old,
                        const struct schema_frame *at)
{
    if ((f->flags & SCHEMA_IMMUTABLE) && old && !field_same(desc, f, msg, old)) {
        immutable(c, desc, f, msg, at);
        return;
    }
    bool absent = schema_field_absent(f, msg);
    if (absent && (f->flags & SCHEMA_NONEMPTY)) {
        required(c, at);
        return;
    }
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        if (!absent)
            check_elems(c, f, msg, at);
        return;
    }
    if (f->type == SCHEMA_MSG) {
        const void *sub = schema_sub(f, msg);
        if (sub)
            check_msg(c, f->msg, sub, old ? schema_sub(f, old) : NULL, at);
        return;
    }
    /* A number that must be given is checked even at zero. */
    bool number = f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64;
    bool must = (f->flags & SCHEMA_REQUIRED) && !(f->flags & SCHEMA_POINTER);
    if (!absent || (number && must))
        check_value(c, f, schema_at(f, msg), NULL, at);
    else if (f->type == SCHEMA_INT_OR_STR && must)
        check_int(c, f->rules, 0, at);
}

static void check_msg(struct checker *c, const struct schema_desc *desc, const void *msg,
                      const void *old, const struct schema_frame *at)
{
    if (!(desc->flags & SCHEMA_DESC_CHECKS) || (desc->flags & SCHEMA_DESC_META))
        return;
    for (const struct schema_field *f = desc->json, *end = f + desc->n_json; f < end; f++) {
        if (!(f->flags & SCHEMA_CHECKS))
            continue;
        struct schema_frame el = {.up = at, .name = {f->name, f->name_len}};
        check_field(c, desc, f, msg, old, &el);
    }
}

int schema_validate_at(const struct schema_desc *desc, const void *msg, const void *old,
                       struct str path, struct error *err)
{
    struct checker c = {.err = err};
    struct schema_frame root = {.name = path.p ? path : STR("")};
    check_msg(&c, desc, msg, old, &root);
    return c.result;
}

int schema_validate(const struct schema_desc *desc, const void *msg, const void *old,
                    struct error *err)
{
    return schema_validate_at(desc, msg, old, STR(""), err);
}
