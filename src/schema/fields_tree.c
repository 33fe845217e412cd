/* The set of fields a configuration names: what apply takes for its manager. It is read off the
 * JSON, not off the decoded object, since a zero that was written is owned and one that was not is
 * not. What cannot be merged later is refused here, in the words of a Kubernetes server. */
#include "schema/fields_int.h"

#include "base/set.h"
#include "schema/structural.h"

#include <stdarg.h>
#include <stdio.h>

struct tree {
    struct arena *a;
    struct error *err;
    struct buf *out;
    struct buf text; /* scratch */
    bool numbers;
};

/* Where we are, for messages; printed only when something is wrong. */
struct where {
    const struct where *up;
    struct fields_elem elem; /* an index is not printed before it is needed: */
    unsigned index;
};

static int read_members(struct tree *t, struct fields_place p, const struct json *v,
                        const struct where *at);

static void where_print(const struct where *w, struct buf *b)
{
    if (!w)
        return;
    where_print(w->up, b);
    if (w->elem.type == FIELDS_INDEX)
        buf_printf(b, "[%u]", w->index);
    else
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

static int expect(struct tree *t, enum fields_expected what, const struct json *v,
                  const struct where *at)
{
    static const char *const words[] = {"",       "map", "list", "string", "numeric (int or float)",
                                        "boolean"};
    bool good = true;
    switch (what) {
    case FIELDS_ANYTHING:
        return 0;
    case FIELDS_OBJECT:
        good = v->type == JSON_OBJ;
        break;
    case FIELDS_ARRAY:
        good = v->type == JSON_ARR;
        break;
    case FIELDS_STRING:
        good = v->type == JSON_STR;
        break;
    case FIELDS_NUMERIC:
        good = v->type == JSON_INT || v->type == JSON_REAL;
        break;
    case FIELDS_BOOLEAN:
        good = v->type == JSON_BOOL;
        break;
    }
    return good ? 0 : wrong(t, at, "expected %s, got %s", words[what], type_name(v));
}

/* A value that is owned as a whole; names inside it must still be known. */
static int check(struct tree *t, struct fields_place p, const struct json *v,
                 const struct where *at)
{
    struct where w = {.up = at};
    int r = v->type == JSON_NULL ? 0 : expect(t, fields_place_expected(p), v, at);
    if (r < 0 || v->type < JSON_ARR || p.type == FIELDS_PLACE_WHOLE || p.type == FIELDS_PLACE_FREE)
        return r;
    if (v->type == JSON_ARR) {
        struct fields_place elem = fields_place_elem(p);
        w.elem.type = FIELDS_INDEX;
        for (const struct json *c = v->first; r >= 0 && c; c = c->next, w.index++)
            r = check(t, elem, c, &w);
        return r;
    }
    json_for_each(c, v)
    {
        struct fields_member m = fields_place_member(p, c->key);
        w.elem = fields_elem_named(FIELDS_NAME, c->key);
        r = m.known ? check(t, m.place, c, &w) : wrong(t, &w, "field not declared in schema");
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- lists ---- */

static int read_elem(struct tree *t, const struct fields_keys *keys, struct fields_place p,
                     const struct json *v, unsigned index, struct set *there,
                     const struct where *at)
{
    struct fields_elem e;
    struct str why = fields_elem_of_json(keys, v, &t->text, t->a, &e);
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
    r = fields_place_shape(p, v->type) == FIELDS_MSG ? read_members(t, p, v, &w)
                                                     : check(t, p, v, &w);
    if (r >= 0)
        fields_end(t->out, m, true);
    return r;
}

static int read_list(struct tree *t, struct fields_place p, const struct json *v,
                     const struct where *at)
{
    struct set there = {0};
    size_t from = t->out->n;
    unsigned i = 0;
    int r = expect(t, FIELDS_ARRAY, v, at);
    if (r < 0 || !v->n)
        return r;
    struct fields_keys keys = fields_place_keys(p, t->a);
    struct fields_place elem = fields_place_elem(p);
    for (const struct json *c = v->first; r >= 0 && c; c = c->next)
        r = read_elem(t, &keys, elem, c, i++, &there, at);
    set_fini(&there);
    if (r >= 0)
        fields_sort(t->out, from);
    return r;
}

/* ---- objects ---- */

static int read_value(struct tree *t, struct fields_place p, enum fields_shape shape,
                      const struct json *v, const struct where *at)
{
    switch (shape) {
    case FIELDS_MSG:
        return read_members(t, p, v, at);
    case FIELDS_SET:
    case FIELDS_KEYED:
        return read_list(t, p, v, at);
    default:
        return check(t, p, v, at);
    }
}

static int read_member(struct tree *t, struct fields_place p, const struct fields_member *m,
                       const struct json *c, const struct where *at)
{
    struct fields_elem e[2] = {fields_elem_named(FIELDS_NAME, c->key)};
    struct where w = {at, e[0]};
    struct fields_mark mark[2];
    enum fields_shape shape = fields_place_shape(m->place, c->type);
    bool leaf = shape == FIELDS_LEAF || c->type == JSON_NULL;
    bool whole = leaf || !m->declared || (c->type == JSON_OBJ && !c->n);
    unsigned n = t->numbers && m->field ? fields_steps(p.desc, m->field, e) : 1;
    int r = 0;
    if (n == 1 && leaf) {
        fields_put(t->out, &e[0]);
        return check(t, m->place, c, &w);
    }
    for (unsigned i = 0; i < n; i++)
        mark[i] = fields_begin(t->out, &e[i]);
    if (c->type != JSON_NULL)
        r = read_value(t, m->place, shape, c, &w);
    for (unsigned i = n; r >= 0 && i-- > 0;)
        fields_end(t->out, mark[i], i == n - 1 && whole);
    return r;
}

#define MEMBERS_FEW 24 /* so many are brought into order before their entries are written */

struct member {
    const struct json *c;
    struct fields_member m;
};

static int read_members(struct tree *t, struct fields_place p, const struct json *v,
                        const struct where *at)
{
    struct member few[MEMBERS_FEW];
    size_t from = t->out->n, n = 0;
    bool sorted = p.type == FIELDS_PLACE_MSG && p.desc->json == p.desc->fields;
    int r = expect(t, FIELDS_OBJECT, v, at);
    for (const struct json *c = v->first; r >= 0 && c; c = c->next) {
        if (!at && (str_is(c->key, "apiVersion") || str_is(c->key, "kind")))
            continue;
        struct fields_member m = fields_place_member(p, c->key);
        if (!m.known) {
            struct where w = {at, fields_elem_named(FIELDS_NAME, c->key)};
            return wrong(t, &w, "field not declared in schema");
        }
        if (!m.field || v->n > MEMBERS_FEW) {
            r = read_member(t, p, &m, c, at);
            sorted = false;
            continue;
        }
        size_t i = n++;
        for (; i && few[i - 1].m.field->number > m.field->number; i--)
            few[i] = few[i - 1];
        few[i] = (struct member){c, m};
        sorted &= t->numbers && (!i || few[i - 1].m.field != m.field);
    }
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = read_member(t, p, &few[i].m, few[i].c, at);
    if (r >= 0 && !sorted)
        fields_sort(t->out, from);
    return r;
}

int fields_of_tree(const struct schema_desc *desc, const struct json *config, struct arena *a,
                   struct str *ret, struct error *err)
{
    struct buf out = {0};
    struct tree t = {.a = a, .err = err, .out = &out, .numbers = fields_by_number(desc)};
    int r = read_members(&t, fields_place_root(desc), config, NULL);
    if (r >= 0)
        *ret = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    buf_fini(&t.text);
    return r;
}

/* ---- what nobody owns ---- */

struct strip {
    const struct schema_desc *desc;
    const char *skip;
    bool status_only;
    struct buf out;
};

static void strip_meta(struct strip *s, const struct fields_entry *meta)
{
    struct fields_mark m = fields_begin(&s->out, &meta->elem);
    struct fields_entry e;
    for (struct str body = meta->sub; fields_next(&body, &e);) {
        const struct schema_field *f =
            e.elem.type == FIELDS_NUMBER
                ? schema_field_by_number(&api_object_meta_desc, e.elem.number)
                : schema_field_find(&api_object_meta_desc, e.elem.text.p, e.elem.text.n);
        if (!f || !fields_is_unowned_meta(f))
            fields_copy(&s->out, &e);
    }
    fields_end(&s->out, m, false);
}

static void strip_entry(struct strip *s, const struct fields_entry *e)
{
    struct str name = e->elem.text;
    if (e->elem.type == FIELDS_NUMBER) {
        const struct schema_field *f = schema_field_by_number(s->desc, e->elem.number);
        name = f ? (struct str){f->name, f->name_len} : STR_NONE;
    }
    if (s->status_only ? !str_is(name, "status") : s->skip && str_eqz(name, s->skip))
        return;
    if (s->desc->flags & SCHEMA_DESC_OBJECT && str_is(name, "metadata"))
        strip_meta(s, e);
    else
        fields_copy(&s->out, e);
}

struct str fields_strip(const struct schema_desc *desc, struct str set, const char *skip,
                        struct arena *a)
{
    struct strip s = {.desc = desc, .skip = skip, .status_only = fields_status_only(desc, skip)};
    struct fields_entry e;
    for (struct str body = fields_body(set); fields_next(&body, &e);)
        strip_entry(&s, &e);
    struct str out = fields_pack(desc, buf_str(&s.out), a);
    buf_fini(&s.out);
    return out;
}

/* ---- what a subresource writes ---- */

static void keep(const struct schema_desc *desc, struct str body, const char *const *const *paths,
                 size_t n, struct buf *out)
{
    struct fields_entry e;
    while (fields_next(&body, &e)) {
        const char *const *on[FIELDS_PATHS_MAX]; /* what is left of those that go on here */
        size_t n_on = 0;
        bool ends = false, number = e.elem.type == FIELDS_NUMBER;
        const struct schema_field *f = number ? schema_field_by_number(desc, e.elem.number) : NULL;
        for (size_t i = 0; i < n; i++) {
            bool fits = number ? f && strcmp(paths[i][0], f->name) == 0
                               : e.elem.type != FIELDS_NAME && strcmp(paths[i][0], "*") == 0;
            if (!fits)
                continue;
            ends |= !paths[i][1];
            on[n_on++] = paths[i] + 1;
        }
        if (ends)
            fields_copy(out, &e);
        if (ends || !n_on)
            continue;
        struct fields_mark m = fields_begin(out, &e.elem);
        if (!f || f->msg) /* the fields of an element are those of the list's type */
            keep(f ? f->msg : desc, e.sub, on, n_on, out);
        fields_end(out, m, e.member);
    }
}

struct str fields_keep(const struct schema_desc *desc, struct str set,
                       const char *const *const *paths, size_t n, struct arena *a)
{
    struct buf out = {0};
    ASSERT(n <= FIELDS_PATHS_MAX);
    keep(desc, fields_body(set), paths, n, &out);
    struct str s = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    return s;
}

/* ---- a schema that has changed ---- */

static void reconcile(struct fields_place p, struct str body, struct buf *out)
{
    struct fields_entry e;
    while (fields_next(&body, &e)) {
        bool elem = e.elem.type == FIELDS_KEY || e.elem.type == FIELDS_VALUE;
        struct fields_place below = {.type = FIELDS_PLACE_FREE};
        if (elem)
            below = fields_place_elem(p);
        else if (e.elem.type == FIELDS_NAME && fields_place_member(p, e.elem.text).known)
            below = fields_place_member(p, e.elem.text).place;
        if (!e.sub.n) {
            fields_copy(out, &e);
            continue;
        }
        struct fields_mark m = fields_begin(out, &e.elem);
        bool whole = below.type == FIELDS_PLACE_NODE && below.node->type &&
                     fields_place_shape(below, JSON_NULL) == FIELDS_LEAF;
        if (!whole)
            reconcile(below, e.sub, out);
        fields_end(out, m, e.member || whole);
    }
}

struct str fields_reconcile(const struct schema_desc *desc, struct str set, struct arena *a)
{
    struct buf out = {0};
    if (!(desc->flags & SCHEMA_DESC_REST) || !desc->schema)
        return set;
    reconcile(fields_place_root(desc), fields_body(set), &out);
    if (!str_eq(buf_str(&out), fields_body(set)))
        set = fields_pack(desc, buf_str(&out), a);
    buf_fini(&out);
    return set;
}
