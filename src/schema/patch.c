/* JSON patch and JSON merge patch: both know nothing of types. Members are found by an index, so a
 * patch costs what it and the document weigh; elements of arrays are counted to, which has a limit.
 */
#include "schema/patch.h"

#include "schema/patch_index.h"

struct patch_run {
    struct json **doc;
    struct arena *a;
    struct error *err;
    struct member_index members;
    uint32_t copied; /* nodes added by copy so far */
    uint64_t steps;  /* see PATCH_STEPS_MAX */
};

static int unfit(struct patch_run *p, const char *what, struct str path)
{
    (void)error_cause(p->err, CAUSE_INVALID, path, "%s", what);
    return error_set(
        p->err, REASON_INVALID,
        "the server rejected our request due to an error in our request: %s at \"%.*s\"", what,
        STR_ARG(path));
}

static int take_steps(struct patch_run *p, uint64_t n)
{
    p->steps += n;
    if (p->steps > PATCH_STEPS_MAX)
        return error_set(p->err, REASON_TOO_LARGE,
                         "JSON patch: too many operations on too long arrays");
    return 0;
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

/* What token names in parent; NULL when nothing is there. */
static int child_get(struct patch_run *p, struct json *parent, struct str token, struct json **ret)
{
    ssize_t i = parent->type == JSON_ARR ? token_index(token, parent, false) : -1;

    *ret = NULL;
    if (parent->type == JSON_OBJ)
        *ret = member_get(&p->members, parent, token);
    else if (i >= 0 && take_steps(p, (uint64_t)i) < 0)
        return -EFBIG;
    else if (i >= 0)
        *ret = json_at(parent, (size_t)i);
    return 0;
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
        int r = child_get(p, v, token, &v);
        if (r < 0)
            return r;
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
    if (!parent)
        *ret = *p->doc;
    else if ((r = child_get(p, parent, last, ret)) < 0)
        return r;
    return *ret ? 0 : unfit(p, "nothing is there", path);
}

static unsigned depth_of(struct patch_run *p, const struct json *v)
{
    unsigned deepest = 0;

    p->steps++;
    if (v->type == JSON_ARR || v->type == JSON_OBJ)
        json_for_each(c, v)
        {
            unsigned depth = depth_of(p, c); /* not within MAX, which would ask twice */
            deepest = MAX(deepest, depth);
        }
    return deepest + 1;
}

/* What goes into the document may not make it deeper than one that is read: everything that walks
 * it relies on that. */
static int check_depth(struct patch_run *p, struct str path, const struct json *value)
{
    size_t tokens = 0;

    for (size_t i = 0; i < path.n; i++)
        tokens += path.p[i] == '/';
    if (tokens + depth_of(p, value) > JSON_DEPTH_MAX)
        return error_set(p->err, REASON_BAD_REQUEST,
                         "JSON patch: its result is nested deeper than %d levels", JSON_DEPTH_MAX);
    return take_steps(p, 0);
}

static int value_add(struct patch_run *p, struct str path, struct json *value)
{
    struct json *parent;
    struct str last;
    ssize_t i;
    int r = path_walk(p, path, &parent, &last);

    if (r < 0)
        return r;
    r = check_depth(p, path, value);
    if (r < 0)
        return r;
    if (!parent) {
        *p->doc = value;
        return 0;
    }
    switch (parent->type) {
    case JSON_OBJ:
        member_set(&p->members, parent, last, value);
        return 0;
    case JSON_ARR:
        i = token_index(last, parent, true);
        if (i < 0)
            return unfit(p, "no such index", path);
        r = take_steps(p, i == (ssize_t)parent->n ? 0 : (uint64_t)i);
        if (r < 0)
            return r;
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
        *ret = member_remove(&p->members, parent, last);
    } else if (parent->type == JSON_ARR) {
        ssize_t i = token_index(last, parent, false);
        r = take_steps(p, i < 0 ? 0 : (uint64_t)i);
        if (r < 0)
            return r;
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
    if (r == 0)
        r = check_depth(p, path, value);
    if (r < 0)
        return r;
    if (!parent) {
        *p->doc = value;
    } else if (parent->type == JSON_OBJ) {
        member_set(&p->members, parent, last, value);
    } else {
        size_t i = (size_t)token_index(last, parent, false);
        r = take_steps(p, 2 * (uint64_t)i);
        if (r < 0)
            return r;
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
    struct patch_run p = {.doc = doc, .a = a, .err = err, .members = {.a = a}};
    size_t index = 0;
    int r = 0;

    if (!json_is(ops, JSON_ARR))
        return error_set(err, REASON_BAD_REQUEST, "a JSON patch is an array of operations, not %s",
                         json_type_name(ops));
    if (ops->n > PATCH_OPS_MAX)
        return error_set(err, REASON_TOO_LARGE,
                         "a JSON patch may have %d operations, this one has %u", PATCH_OPS_MAX,
                         ops->n);
    json_for_each(op, ops)
    {
        r = op_run(&p, op, index++);
        if (r < 0)
            break;
    }
    member_index_fini(&p.members);
    return r;
}

/* ---- merge patch ---- */

static struct json *merge(struct member_index *x, struct json *doc, struct json *patch)
{
    if (patch->type != JSON_OBJ)
        return json_clone(patch, x->a);
    if (!json_is(doc, JSON_OBJ))
        doc = json_new_obj(x->a);
    json_for_each(c, patch)
    {
        if (c->type == JSON_NULL)
            (void)member_remove(x, doc, c->key);
        else
            member_set(x, doc, c->key, merge(x, member_get(x, doc, c->key), c));
    }
    return doc;
}

int patch_merge(struct json **doc, struct json *patch, struct arena *a, struct error *err)
{
    if (!json_is(patch, JSON_OBJ))
        return error_set(err, REASON_BAD_REQUEST, "a merge patch is an object, not %s",
                         json_type_name(patch));
    struct member_index x = {.a = a};
    *doc = merge(&x, *doc, patch);
    member_index_fini(&x);
    return 0;
}
