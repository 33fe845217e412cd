/* JSON trees. yyjson does the parsing, in place over a copy of the text in the arena, into values
 * of its own; those are turned into our nodes and dropped. Why nodes of our own: patches change
 * trees, YAML makes them too, and no other folder may see yyjson. A node costs 48 bytes and an
 * object's members are a list: API objects have few members, and schema_decode_json walks them in
 * order. */
#include "codec/json.h"
#include "base/map.h"

#include <math.h>
#include <yyjson.h>

static_assert(sizeof(struct json) == 48, "struct json grew: see JSON_VALUES_MAX");

/* Nodes come from the arena in batches: a call per node would cost more than the node. */
struct maker {
    struct arena *a;
    struct json *p, *end;
    uint32_t depth_max;
};

static struct json *maker_node(struct maker *m, uint8_t type)
{
    if (m->p == m->end) {
        size_t n = 64;
        m->p = arena_try_alloc(m->a, n * sizeof(struct json));
        if (!m->p)
            return NULL;
        m->end = m->p + n;
    }
    struct json *v = m->p++;
    *v = (struct json){.type = type};
    return v;
}

static int make(struct maker *m, yyjson_val *in, uint32_t depth, struct json **ret);

static int make_children(struct maker *m, yyjson_val *in, uint32_t depth, struct json *parent)
{
    bool obj = parent->type == JSON_OBJ;
    size_t n = unsafe_yyjson_get_len(in);
    struct json **link = &parent->first;
    if (depth >= m->depth_max)
        return -E2BIG;
    yyjson_val *v = unsafe_yyjson_get_first(in);
    for (size_t i = 0; i < n; i++) {
        struct str key = STR_NONE;
        if (obj) {
            key = (struct str){unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v)};
            v++;
        }
        int r = make(m, v, depth + 1, link);
        if (r < 0)
            return r;
        (*link)->key = key;
        parent->last = *link;
        link = &(*link)->next;
        v = unsafe_yyjson_get_next(v);
    }
    parent->n = (uint32_t)n;
    return 0;
}

static int make(struct maker *m, yyjson_val *in, uint32_t depth, struct json **ret)
{
    struct json *v = maker_node(m, JSON_NULL);
    if (!v)
        return -ENOMEM;
    *ret = v;
    switch (unsafe_yyjson_get_type(in)) {
    case YYJSON_TYPE_BOOL:
        v->type = JSON_BOOL;
        v->b = unsafe_yyjson_get_bool(in);
        return 0;
    case YYJSON_TYPE_NUM:
        if (unsafe_yyjson_is_real(in)) {
            v->type = JSON_REAL;
            v->d = unsafe_yyjson_get_real(in);
        } else if (unsafe_yyjson_is_uint(in) && unsafe_yyjson_get_uint(in) > INT64_MAX) {
            v->type = JSON_REAL;
            v->d = (double)unsafe_yyjson_get_uint(in);
        } else {
            v->type = JSON_INT;
            v->i = unsafe_yyjson_get_sint(in);
        }
        return 0;
    case YYJSON_TYPE_STR:
        v->type = JSON_STR;
        v->s = (struct str){unsafe_yyjson_get_str(in), unsafe_yyjson_get_len(in)};
        return 0;
    case YYJSON_TYPE_ARR:
        v->type = JSON_ARR;
        return make_children(m, in, depth, v);
    case YYJSON_TYPE_OBJ:
        v->type = JSON_OBJ;
        return make_children(m, in, depth, v);
    default:
        return 0; /* null */
    }
}

static int parse_error(struct str text, const yyjson_read_err *e, struct error *err)
{
    size_t line = 0, col = 0, chr = 0;
    if (e->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return error_set(err, REASON_TOO_LARGE, "the JSON document is too large");
    if (text.n && yyjson_locate_pos(text.p, text.n, MIN(e->pos, text.n), &line, &col, &chr))
        return error_set(err, REASON_BAD_REQUEST, "invalid JSON at line %zu, column %zu: %s", line,
                         col, e->msg);
    return error_set(err, REASON_BAD_REQUEST, "invalid JSON: %s",
                     text.n ? e->msg : "the document is empty");
}

int json_parse(struct str text, struct arena *a, const struct json_limits *limits,
               struct json **ret, struct error *err)
{
    uint32_t values_max = limits && limits->values_max ? limits->values_max : JSON_VALUES_MAX;
    struct maker m = {.a = a};
    m.depth_max = limits && limits->depth_max ? limits->depth_max : JSON_DEPTH_MAX;
    yyjson_read_err e = {0};
    char *copy = arena_try_alloc(a, text.n + YYJSON_PADDING_SIZE);

    if (!copy)
        return error_set(err, REASON_TOO_LARGE, "the JSON document is too large");
    if (text.n)
        memcpy(copy, text.p, text.n);
    memset(copy + text.n, 0, YYJSON_PADDING_SIZE);
    yyjson_doc *doc = yyjson_read_opts(copy, text.n, YYJSON_READ_INSITU, NULL, &e);
    if (!doc)
        return parse_error(text, &e, err);
    int r = -E2BIG;
    struct json *v = NULL;
    if (yyjson_doc_get_val_count(doc) <= values_max)
        r = make(&m, yyjson_doc_get_root(doc), 0, &v);
    yyjson_doc_free(doc);
    if (r == -E2BIG)
        return error_set(err, REASON_BAD_REQUEST,
                         "invalid JSON: nested deeper than %u levels, or more than %u values",
                         m.depth_max, values_max);
    if (r < 0)
        return error_set(err, REASON_TOO_LARGE, "the JSON document is too large");
    *ret = v;
    return 0;
}

bool json_valid(struct str text)
{
    /* Read only: yyjson copies when not told to work in place. */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, 0, NULL, NULL);
    yyjson_doc_free(doc);
    return doc != NULL;
}

static struct json *new_node(struct arena *a, uint8_t type)
{
    struct json *v = ARENA_NEW(a, struct json);
    v->type = type;
    return v;
}
struct json *json_new_null(struct arena *a)
{
    return new_node(a, JSON_NULL);
}
struct json *json_new_bool(struct arena *a, bool b)
{
    struct json *v = new_node(a, JSON_BOOL);
    v->b = b;
    return v;
}
struct json *json_new_int(struct arena *a, int64_t i)
{
    struct json *v = new_node(a, JSON_INT);
    v->i = i;
    return v;
}
struct json *json_new_real(struct arena *a, double d)
{
    struct json *v = new_node(a, JSON_REAL);
    v->d = isfinite(d) ? d : 0;
    return v;
}
struct json *json_new_str(struct arena *a, struct str s)
{
    struct json *v = new_node(a, JSON_STR);
    v->s = s.p ? s : STR("");
    return v;
}
struct json *json_new_arr(struct arena *a)
{
    return new_node(a, JSON_ARR);
}
struct json *json_new_obj(struct arena *a)
{
    return new_node(a, JSON_OBJ);
}

struct json *json_clone(const struct json *v, struct arena *a)
{
    struct json *c = new_node(a, v->type);
    *c = *v;
    c->next = NULL;
    if (v->type != JSON_ARR && v->type != JSON_OBJ)
        return c;
    c->first = c->last = NULL;
    c->n = 0;
    json_for_each(child, v) json_push(c, json_clone(child, a));
    return c;
}

/* Of names, which are short: without a call. */
static inline bool key_is(struct str a, struct str b)
{
    uint64_t x, y, v, w;
    if (a.n != b.n || a.n > 16)
        return str_eq(a, b);
    if (a.n >= 8) { /* both ends; they may overlap */
        memcpy(&x, a.p, 8);
        memcpy(&y, b.p, 8);
        memcpy(&v, a.p + a.n - 8, 8);
        memcpy(&w, b.p + a.n - 8, 8);
        return x == y && v == w;
    }
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i])
            return false;
    return true;
}

struct json *json_get(const struct json *v, struct str key)
{
    struct json *found = NULL;
    if (!json_is(v, JSON_OBJ))
        return NULL;
    json_for_each(child, v) if (key_is(child->key, key)) found = child;
    return found;
}

struct json *json_at(const struct json *arr, size_t i)
{
    if (!json_is(arr, JSON_ARR) || i >= arr->n)
        return NULL;
    if (i == arr->n - 1)
        return arr->last;
    struct json *v = arr->first;
    while (i--)
        v = v->next;
    return v;
}

struct str json_get_str(const struct json *v, struct str key)
{
    struct json *m = json_get(v, key);
    return json_is(m, JSON_STR) ? m->s : STR_NONE;
}

void json_push(struct json *parent, struct json *value)
{
    ASSERT(parent->type == JSON_ARR || parent->type == JSON_OBJ);
    value->next = NULL;
    if (parent->last)
        parent->last->next = value;
    else
        parent->first = value;
    parent->last = value;
    parent->n++;
}

/* Unlinks *link, whose predecessor is prev (NULL: the first). */
static struct json *unlink_at(struct json *parent, struct json **link, struct json *prev)
{
    struct json *v = *link;
    *link = v->next;
    if (parent->last == v)
        parent->last = prev;
    parent->n--;
    v->next = NULL;
    return v;
}

/* All that have the name go (one that is there twice counts by its last: none may be left, and the
 * value may be one of them), then the value takes the place of the first. */
void json_set(struct json *obj, struct str key, struct json *value)
{
    ASSERT(obj->type == JSON_OBJ);
    struct json *prev = NULL, **at = NULL;
    value->key = key;
    for (struct json **link = &obj->first; *link;) {
        if (!str_eq((*link)->key, key)) {
            prev = *link;
            link = &prev->next;
            continue;
        }
        if (!at)
            at = link;
        (void)unlink_at(obj, link, prev);
    }
    if (!at || !*at) {
        json_push(obj, value);
        return;
    }
    value->next = *at;
    *at = value;
    obj->n++;
}

void json_insert(struct json *arr, size_t i, struct json *value)
{
    ASSERT(arr->type == JSON_ARR && i <= arr->n);
    if (i == arr->n) {
        json_push(arr, value);
        return;
    }
    struct json **link = &arr->first;
    while (i--)
        link = &(*link)->next;
    value->next = *link;
    *link = value;
    arr->n++;
}

struct json *json_remove(struct json *obj, struct str key)
{
    struct json *removed = NULL, *prev = NULL;
    if (!json_is(obj, JSON_OBJ))
        return NULL;
    for (struct json **link = &obj->first; *link;) {
        if (str_eq((*link)->key, key)) {
            removed = unlink_at(obj, link, prev);
        } else {
            prev = *link;
            link = &(*link)->next;
        }
    }
    return removed;
}

struct json *json_remove_at(struct json *arr, size_t i)
{
    struct json *prev = NULL, **link = &arr->first;
    if (!json_is(arr, JSON_ARR) || i >= arr->n)
        return NULL;
    for (; i; i--) {
        prev = *link;
        link = &(*link)->next;
    }
    return unlink_at(arr, link, prev);
}

#define MEMBERS_FEW 32 /* up to so many are looked at one by one */

/* Member of b by name; a map is made of many when it is first needed. */
static struct json *member(const struct json *b, struct str key, struct map *all)
{
    if (b->n <= MEMBERS_FEW)
        return json_get(b, key);
    if (!all->n)
        json_for_each(c, b)(void) map_set(all, c->key, c);
    return map_get(all, key);
}

static bool obj_equal(const struct json *a, const struct json *b)
{
    const struct json *y = b->first;
    struct map all = {0};
    bool equal = true;
    for (const struct json *x = a->first; x && equal; x = x->next) {
        /* Mostly both are in the same order. */
        const struct json *m = y && str_eq(x->key, y->key) ? y : member(b, x->key, &all);
        equal = m && json_equal(x, m);
        y = m ? m->next : NULL;
    }
    map_fini(&all);
    return equal;
}

bool json_equal(const struct json *a, const struct json *b)
{
    if (a->type != b->type) {
        if (a->type == JSON_INT && b->type == JSON_REAL)
            return (double)a->i == b->d;
        if (a->type == JSON_REAL && b->type == JSON_INT)
            return a->d == (double)b->i;
        return false;
    }
    switch ((enum json_type)a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->b == b->b;
    case JSON_INT:
        return a->i == b->i;
    case JSON_REAL:
        return a->d == b->d;
    case JSON_STR:
        return str_eq(a->s, b->s);
    case JSON_OBJ:
        return a->n == b->n && obj_equal(a, b);
    case JSON_ARR:
        break;
    }
    if (a->n != b->n)
        return false;
    for (const struct json *x = a->first, *y = b->first; x; x = x->next, y = y->next)
        if (!json_equal(x, y))
            return false;
    return true;
}

const char *json_type_name(const struct json *v)
{
    static const char *const names[] = {"null",   "bool",  "number", "number",
                                        "string", "array", "object"};
    return v ? names[v->type] : "null";
}
