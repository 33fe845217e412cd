/* The set of fields a configuration names: what apply takes for its manager. It is read off the
 * JSON, not off the decoded object, since a zero that was written is owned and one that was not is
 * not. What cannot be merged later is refused here, in the words of a Kubernetes server. */
#include "schema/fields_int.h"

#include "base/set.h"

#include <stdarg.h>
#include <stdio.h>

struct tree {
    struct arena *a;
    struct error *err;
    struct buf *out;
    bool numbers;
};

/* Where we are, for messages; printed only when something is wrong. */
struct where {
    const struct where *up;
    struct fields_elem elem;
};

static int read_msg(struct tree *t, const struct schema_desc *desc, const struct json *v,
                    const struct where *at);

static void where_print(const struct where *w, struct buf *b)
{
    if (!w)
        return;
    where_print(w->up, b);
    fields_step_print(&w->elem, b);
}

static int PRINTF(3, 4) wrong(struct tree *t, const struct where *at, const char *fmt, ...)
{
    struct buf b = {0};
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    where_print(at, &b);
    int r = error_set(t->err, REASON_BAD_REQUEST, "%.*s: %s", STR_ARG(buf_str(&b)), text);
    buf_fini(&b);
    return r;
}

/* The words of the schema language for what a value is. */
static const char *type_name(const struct json *v)
{
    static const char *const names[] = {"null", "bool", "int", "float", "string", "list", "map"};
    return names[v->type];
}

static int expect(struct tree *t, const struct json *v, enum json_type type, const struct where *at)
{
    if (v->type == type)
        return 0;
    return wrong(t, at, "expected %s, got %s", type == JSON_OBJ ? "map" : "list", type_name(v));
}

static int check_scalar(struct tree *t, const struct schema_field *f, const struct json *v,
                        const struct where *at)
{
    bool number = v->type == JSON_INT || v->type == JSON_REAL;
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        return v->type == JSON_BOOL ? 0 : wrong(t, at, "expected boolean, got %s", type_name(v));
    case SCHEMA_INT32:
    case SCHEMA_INT64:
    case SCHEMA_DOUBLE:
        return number ? 0 : wrong(t, at, "expected numeric (int or float), got %s", type_name(v));
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
    case SCHEMA_DURATION:
        return v->type == JSON_STR ? 0 : wrong(t, at, "expected string, got %s", type_name(v));
    default:
        return 0; /* the decoder of the merged object looks at the rest */
    }
}

/* A value that is owned as a whole; names inside it must still be known. */
static int check_leaf(struct tree *t, const struct schema_field *f, const struct json *v, bool elem,
                      const struct where *at)
{
    int r = 0;
    if (v->type == JSON_NULL)
        return 0;
    if (!elem && f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        r = expect(t, v, f->flags & SCHEMA_LIST ? JSON_ARR : JSON_OBJ, at);
        if (r < 0)
            return r;
        unsigned i = 0;
        json_for_each(c, v)
        {
            char index[16];
            struct where w = {at, fields_elem_named(FIELDS_NAME, c->key)};
            if (f->flags & SCHEMA_LIST)
                w.elem = fields_elem_named(
                    FIELDS_INDEX,
                    (struct str){index, (size_t)snprintf(index, sizeof(index), "%u", i++)});
            r = check_leaf(t, f, c, true, &w);
            if (r < 0)
                return r;
        }
        return 0;
    }
    if (f->type != SCHEMA_MSG)
        return check_scalar(t, f, v, at);
    if (f->msg->flags & SCHEMA_DESC_AS_LIST)
        return expect(t, v, JSON_ARR, at);
    r = expect(t, v, JSON_OBJ, at);
    if (r < 0)
        return r;
    json_for_each(c, v)
    {
        const struct schema_field *g = schema_field_find(f->msg, c->key.p, c->key.n);
        struct where w = {at, fields_elem_named(FIELDS_NAME, c->key)};
        if (!g)
            return wrong(t, &w, "field not declared in schema");
        r = check_leaf(t, g, c, false, &w);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- lists ---- */

static int read_elem(struct tree *t, const struct schema_field *f, const struct json *v,
                     unsigned index, struct set *there, const struct where *at)
{
    struct fields_elem e;
    struct str why = fields_elem_of_json(f, v, t->a, &e);
    int r;
    if (why.p)
        return wrong(t, at, "element %u: %.*s", index, STR_ARG(why));
    struct where w = {at, e};
    if (!set_add(there, e.text)) {
        struct buf b = {0};
        fields_step_print(&e, &b);
        r = wrong(t, at, "duplicate entries for key %.*s", STR_ARG(buf_str(&b)));
        buf_fini(&b);
        return r;
    }
    struct fields_mark m = fields_begin(t->out, &e);
    r = fields_elem_shape(f) == FIELDS_MSG ? read_msg(t, f->msg, v, &w)
                                           : check_leaf(t, f, v, true, &w);
    if (r >= 0)
        fields_end(t->out, m, true);
    return r;
}

static int read_list(struct tree *t, const struct schema_field *f, const struct json *v,
                     const struct where *at)
{
    struct set there = {0};
    size_t from = t->out->n;
    unsigned i = 0;
    int r = expect(t, v, JSON_ARR, at);
    for (const struct json *c = v->first; r >= 0 && c; c = c->next)
        r = read_elem(t, f, c, i++, &there, at);
    set_fini(&there);
    if (r >= 0)
        fields_sort(t->out, from);
    return r;
}

/* ---- maps and messages ---- */

static int read_map(struct tree *t, const struct schema_field *f, const struct json *v,
                    const struct where *at)
{
    size_t from = t->out->n;
    int r = expect(t, v, JSON_OBJ, at);
    if (r < 0)
        return r;
    json_for_each(c, v)
    {
        struct fields_elem e = fields_elem_named(FIELDS_NAME, c->key);
        struct where w = {at, fields_elem_named(FIELDS_NAME, c->key)};
        struct fields_mark m = fields_begin(t->out, &e);
        r = fields_elem_shape(f) == FIELDS_MSG && c->type != JSON_NULL
                ? read_msg(t, f->msg, c, &w)
                : check_leaf(t, f, c, true, &w);
        if (r < 0)
            return r;
        fields_end(t->out, m, true);
    }
    fields_sort(t->out, from);
    return 0;
}

static int read_value(struct tree *t, const struct schema_field *f, const struct json *v,
                      const struct where *at)
{
    switch (fields_shape(f)) {
    case FIELDS_MSG:
        return read_msg(t, f->msg, v, at);
    case FIELDS_MAP:
        return read_map(t, f, v, at);
    case FIELDS_SET:
    case FIELDS_KEYED:
        return read_list(t, f, v, at);
    case FIELDS_LEAF:
        break;
    }
    return check_leaf(t, f, v, false, at);
}

static int read_msg(struct tree *t, const struct schema_desc *desc, const struct json *v,
                    const struct where *at)
{
    size_t from = t->out->n;
    int r = expect(t, v, JSON_OBJ, at);
    if (r < 0)
        return r;
    json_for_each(c, v)
    {
        const struct schema_field *f = schema_field_find(desc, c->key.p, c->key.n);
        struct where w = {at, fields_elem_named(FIELDS_NAME, c->key)};
        struct fields_elem e[2] = {fields_elem_named(FIELDS_NAME, c->key)};
        struct fields_mark m[2];
        if (!f && !at && (str_is(c->key, "apiVersion") || str_is(c->key, "kind")))
            continue;
        if (!f)
            return wrong(t, &w, "field not declared in schema");
        unsigned n = t->numbers ? fields_steps(desc, f, e) : 1;
        for (unsigned i = 0; i < n; i++)
            m[i] = fields_begin(t->out, &e[i]);
        r = c->type == JSON_NULL ? 0 : read_value(t, f, c, &w);
        if (r < 0)
            return r;
        bool whole = fields_shape(f) == FIELDS_LEAF || c->type == JSON_NULL ||
                     (c->type == JSON_OBJ && !c->n);
        for (unsigned i = n; i-- > 0;)
            fields_end(t->out, m[i], i == n - 1 && whole);
    }
    fields_sort(t->out, from);
    return 0;
}

int fields_of_tree(const struct schema_desc *desc, const struct json *config, struct arena *a,
                   struct str *ret, struct error *err)
{
    struct buf out = {0};
    struct tree t = {.a = a, .err = err, .out = &out, .numbers = fields_by_number(desc)};
    int r = read_msg(&t, desc, config, NULL);
    if (r >= 0)
        *ret = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    return r;
}

/* ---- what nobody owns ---- */

/* The body without the entries that go; those of `meta` are looked into. */
static void strip(const struct schema_desc *desc, struct str body, const struct schema_field *skip,
                  const struct schema_field *meta, bool in_meta, struct buf *out)
{
    struct fields_entry e;
    while (fields_next(&body, &e)) {
        const struct schema_field *f =
            e.elem.type == FIELDS_NUMBER ? schema_field_by_number(desc, e.elem.number)
            : e.elem.type == FIELDS_NAME ? schema_field_find(desc, e.elem.text.p, e.elem.text.n)
                                         : NULL;
        if (f && (in_meta ? fields_is_unowned_meta(f) : f == skip))
            continue;
        struct fields_mark m = fields_begin(out, &e.elem);
        if (f && f == meta) {
            strip(f->msg, e.sub, NULL, NULL, true, out);
            fields_end(out, m, false);
        } else {
            buf_add_str(out, e.sub);
            fields_end(out, m, e.member);
        }
    }
}

struct str fields_strip(const struct schema_desc *desc, struct str set, const char *skip,
                        struct arena *a)
{
    struct buf out = {0};
    const struct schema_field *meta =
        desc->flags & SCHEMA_DESC_OBJECT ? schema_field_find(desc, "metadata", 8) : NULL;
    strip(desc, fields_body(set), skip ? schema_field_find(desc, skip, strlen(skip)) : NULL, meta,
          false, &out);
    struct str s = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    return s;
}
