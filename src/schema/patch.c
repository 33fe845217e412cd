/* JSON patch and JSON merge patch: both know nothing of types. */
#include "schema/patch.h"

#include "base/map.h"

#define MERGE_MANY 16 /* members of a patch from which a map pays */

struct patch_run {
    struct json **doc;
    struct arena *a;
    struct error *err;
    uint32_t copied; /* nodes added by copy so far */
};

static int unfit(struct patch_run *p, const char *what, struct str path)
{
    (void)error_cause(p->err, CAUSE_INVALID, path, "%s", what);
    return error_set(
        p->err, REASON_INVALID,
        "the server rejected our request due to an error in our request: %s at \"%.*s\"", what,
        STR_ARG(path));
}

/* One token of a JSON pointer (RFC 6901) with ~0 and ~1 resolved. */
static struct str token_unescape(struct patch_run *p, struct str t)
{
    char *out;
    size_t n = 0;

    if (str_find(t, '~') < 0)
        return t;
    out = arena_alloc(p->a, t.n);
    for (size_t i = 0; i < t.n; i++) {
        char c = t.p[i];
        if (c == '~' && i + 1 < t.n && (t.p[i + 1] == '0' || t.p[i + 1] == '1'))
            c = t.p[++i] == '0' ? '~' : '/';
        out[n++] = c;
    }
    return (struct str){out, n};
}

/* Array index; "-" is the end when `append`. -1: none. */
static ssize_t token_index(struct str t, const struct json *arr, bool append)
{
    uint64_t i;

    if (append && str_is(t, "-"))
        return arr->n;
    if (str_to_u64(t, &i) < 0 || (t.n > 1 && t.p[0] == '0') || i > arr->n ||
        (!append && i == arr->n))
        return -1;
    return (ssize_t)i;
}

/* The parent of what path names, and the last token. An empty path: parent NULL. */
static int path_walk(struct patch_run *p, struct str path, struct json **ret_parent,
                     struct str *ret_last)
{
    struct json *v = *p->doc;
    struct str rest = path, token;

    *ret_parent = NULL;
    *ret_last = STR_NONE;
    if (!path.n)
        return 0;
    if (path.p[0] != '/')
        return error_set(p->err, REASON_BAD_REQUEST,
                         "JSON patch: path \"%.*s\" must start with a slash", STR_ARG(path));
    rest = str_sub(rest, 1, rest.n);
    while (str_cut(&rest, '/', &token)) {
        token = token_unescape(p, token);
        if (v->type == JSON_OBJ) {
            v = json_get(v, token);
        } else if (v->type == JSON_ARR) {
            ssize_t i = token_index(token, v, false);
            v = i < 0 ? NULL : json_at(v, (size_t)i);
        } else {
            v = NULL;
        }
        if (!v)
            return unfit(p, "nothing is there", path);
    }
    *ret_parent = v;
    *ret_last = token_unescape(p, token);
    return 0;
}

static int value_get(struct patch_run *p, struct str path, struct json **ret)
{
    struct json *parent;
    struct str last;
    int r = path_walk(p, path, &parent, &last);

    if (r < 0)
        return r;
    if (!parent) {
        *ret = *p->doc;
    } else if (parent->type == JSON_OBJ) {
        *ret = json_get(parent, last);
    } else if (parent->type == JSON_ARR) {
        ssize_t i = token_index(last, parent, false);
        *ret = i < 0 ? NULL : json_at(parent, (size_t)i);
    } else {
        *ret = NULL;
    }
    return *ret ? 0 : unfit(p, "nothing is there", path);
}

static int value_add(struct patch_run *p, struct str path, struct json *value)
{
    struct json *parent;
    struct str last;
    ssize_t i;
    int r = path_walk(p, path, &parent, &last);

    if (r < 0)
        return r;
    if (!parent) {
        *p->doc = value;
        return 0;
    }
    switch (parent->type) {
    case JSON_OBJ:
        json_set(parent, last, value);
        return 0;
    case JSON_ARR:
        i = token_index(last, parent, true);
        if (i < 0)
            return unfit(p, "no such index", path);
        json_insert(parent, (size_t)i, value);
        return 0;
    default:
        return unfit(p, "a value inside neither object nor array", path);
    }
}

static int value_remove(struct patch_run *p, struct str path, struct json **ret)
{
    struct json *parent;
    struct str last;
    int r = path_walk(p, path, &parent, &last);

    if (r < 0)
        return r;
    if (!parent)
        return unfit(p, "the whole document cannot be removed", path);
    if (parent->type == JSON_OBJ) {
        *ret = json_remove(parent, last);
    } else if (parent->type == JSON_ARR) {
        ssize_t i = token_index(last, parent, false);
        *ret = i < 0 ? NULL : json_remove_at(parent, (size_t)i);
    } else {
        *ret = NULL;
    }
    return *ret ? 0 : unfit(p, "nothing is there", path);
}

static uint32_t nodes_count(const struct json *v)
{
    uint32_t n = 1;

    if (v->type == JSON_ARR || v->type == JSON_OBJ)
        json_for_each(c, v) n += nodes_count(c);
    return n;
}

/* ---- the operations ---- */

static int op_add(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    return value_add(p, path, value);
}

static int op_remove(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    struct json *gone;

    return value_remove(p, path, &gone);
}

static int op_replace(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    struct json *parent, *old;
    struct str last;
    int r = value_get(p, path, &old);

    if (r == 0)
        r = path_walk(p, path, &parent, &last);
    if (r < 0)
        return r;
    if (!parent) {
        *p->doc = value;
    } else if (parent->type == JSON_OBJ) {
        json_set(parent, last, value);
    } else {
        size_t i = (size_t)token_index(last, parent, false);
        json_remove_at(parent, i);
        json_insert(parent, i, value);
    }
    return 0;
}

static int op_move(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    struct json *moved;
    int r;

    if (path.n > from.n && str_starts(path, from) && path.p[from.n] == '/')
        return unfit(p, "a value cannot move into itself", path);
    r = value_remove(p, from, &moved);
    return r < 0 ? r : value_add(p, path, moved);
}

static int op_copy(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    struct json *source;
    int r = value_get(p, from, &source);

    if (r < 0)
        return r;
    p->copied += nodes_count(source);
    if (p->copied > PATCH_NODES_MAX)
        return error_set(p->err, REASON_TOO_LARGE, "JSON patch: its copies are too large");
    return value_add(p, path, json_clone(source, p->a));
}

static int op_test(struct patch_run *p, struct str path, struct str from, struct json *value)
{
    struct json *there;
    int r = value_get(p, path, &there);

    if (r < 0)
        return r;
    return json_equal(there, value) ? 0 : unfit(p, "testing value failed", path);
}

static const struct {
    const char *name;
    bool needs_from, needs_value;
    int (*run)(struct patch_run *p, struct str path, struct str from, struct json *value);
} ops_table[] = {
    {"add", false, true, op_add},         {"remove", false, false, op_remove},
    {"replace", false, true, op_replace}, {"move", true, false, op_move},
    {"copy", true, false, op_copy},       {"test", false, true, op_test},
};

static int op_run(struct patch_run *p, const struct json *op, size_t index)
{
    struct str name = json_get_str(op, STR("op")), path = json_get_str(op, STR("path"));
    struct str from = json_get_str(op, STR("from"));
    struct json *value = json_getz(op, "value");

    for (size_t i = 0; i < ARRAY_LEN(ops_table); i++) {
        if (!str_eqz(name, ops_table[i].name))
            continue;
        if (!path.p || (ops_table[i].needs_from && !from.p) || (ops_table[i].needs_value && !value))
            return error_set(p->err, REASON_BAD_REQUEST,
                             "JSON patch: operation %zu (%s) lacks path, from or value", index,
                             ops_table[i].name);
        /* A value stays with its operation: what goes into the document is a copy. */
        return ops_table[i].run(p, path, from, value ? json_clone(value, p->a) : NULL);
    }
    return error_set(p->err, REASON_BAD_REQUEST,
                     "JSON patch: operation %zu has unknown op \"%.*s\"", index, STR_ARG(name));
}

int patch_json(struct json **doc, const struct json *ops, struct arena *a, struct error *err)
{
    struct patch_run p = {doc, a, err, 0};
    size_t index = 0;

    if (!json_is(ops, JSON_ARR))
        return error_set(err, REASON_BAD_REQUEST, "a JSON patch is an array of operations, not %s",
                         json_type_name(ops));
    if (ops->n > PATCH_OPS_MAX)
        return error_set(err, REASON_TOO_LARGE,
                         "a JSON patch may have %d operations, this one has %u", PATCH_OPS_MAX,
                         ops->n);
    json_for_each(op, ops)
    {
        int r = op_run(&p, op, index++);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- merge patch ---- */

static struct json *merge(struct json *doc, struct json *patch, struct arena *a);

/* An object of many members: found by a map, for a patch of a hundred thousand members would take
 * minutes otherwise. */
static void merge_many(struct json *doc, struct json *patch, struct arena *a)
{
    struct map at = {0};
    struct json *all = doc->first, *next;
    bool gone = false;
    json_for_each(m, doc) map_set(&at, m->key, m);
    json_for_each(c, patch)
    {
        struct json *old = map_get(&at, c->key);
        if (c->type == JSON_NULL) {
            gone |= map_remove(&at, c->key) != NULL;
            continue;
        }
        struct json *value = merge(old, c, a);
        if (old && value != old) { /* takes its place */
            next = old->next;
            *old = *value;
            old->next = next;
            old->key = c->key;
        } else if (!old) {
            value->key = c->key;
            json_push(doc, value);
            map_set(&at, value->key, value);
        }
    }
    if (gone) {
        all = doc->first;
        doc->first = doc->last = NULL;
        doc->n = 0;
        for (; all; all = next) {
            next = all->next;
            if (map_get(&at, all->key) == all)
                json_push(doc, all);
        }
    }
    map_fini(&at);
}

static struct json *merge(struct json *doc, struct json *patch, struct arena *a)
{
    if (patch->type != JSON_OBJ)
        return json_clone(patch, a);
    if (!json_is(doc, JSON_OBJ))
        doc = json_new_obj(a);
    if (patch->n > MERGE_MANY) {
        merge_many(doc, patch, a);
        return doc;
    }
    json_for_each(c, patch)
    {
        if (c->type == JSON_NULL)
            json_remove(doc, c->key);
        else
            json_set(doc, c->key, merge(json_get(doc, c->key), c, a));
    }
    return doc;
}

int patch_merge(struct json **doc, struct json *patch, struct arena *a, struct error *err)
{
    if (!json_is(patch, JSON_OBJ))
        return error_set(err, REASON_BAD_REQUEST, "a merge patch is an object, not %s",
                         json_type_name(patch));
    *doc = merge(*doc, patch, a);
    return 0;
}
