/* Strategic merge patch. What makes it strategic is in the descriptors: a list field with the merge
 * strategy and a merge key is a set of named things, so a patch can say "the container called web,
 * its image" without repeating the rest. Order matters to people reading the result, so merged
 * lists keep the document's order, new elements follow, and $setElementOrder (which kubectl sends)
 * rules over both. */
#include "schema/patch.h"

#include <stdio.h>

#define STRATEGIC_WORK_MAX 100000000 /* comparisons, a fraction of a second of the core's time */

struct strategic {
    struct arena *a;
    struct error *err;
};

static int merge_map(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                     struct json *patch);

static int malformed(struct strategic *s, const char *what, struct str where)
{
    return error_set(s->err, REASON_BAD_REQUEST, "strategic merge patch: %s: \"%.*s\"", what,
                     STR_ARG(where));
}

static bool is_directive(struct str key)
{
    return key.n && key.p[0] == '$' &&
           (str_is(key, "$patch") || str_is(key, "$retainKeys") ||
            str_starts(key, STR("$deleteFromPrimitiveList/")) ||
            str_starts(key, STR("$setElementOrder/")));
}

/* The directive `$prefix/field` for a field of the patch. */
static struct json *directive_for(struct json *patch, const char *prefix, struct str field)
{
    json_for_each(c, patch) if (str_starts(c->key, str_z(prefix)) &&
                                str_eq(str_sub(c->key, strlen(prefix), c->key.n), field)) return c;
    return NULL;
}

static struct json *element_find(struct json *list, struct str key, const struct json *value)
{
    json_for_each(e, list) if (json_is(e, JSON_OBJ) && json_get(e, key) &&
                               json_equal(json_get(e, key), value)) return e;
    return NULL;
}

static void list_unlink(struct json *list, const struct json *e)
{
    size_t i = 0;

    json_for_each(c, list)
    {
        if (c == e) {
            json_remove_at(list, i);
            return;
        }
        i++;
    }
}

/* A merged list in the order `order` gives. Elements it does not name keep their place relative to
 * the elements that stood before and after them. key absent: primitives. */
static void list_reorder(struct strategic *s, struct json *list, const struct json *order,
                         struct str key)
{
    struct json *out = json_new_arr(s->a);
    struct json **rest = ARENA_NEW_N(s->a, struct json *, list->n + 1), **named;
    size_t n_rest = 0, n_named = 0, at = 0;
    struct json **was = ARENA_NEW_N(s->a, struct json *, list->n + 1);
    size_t n_was = 0;

    named = ARENA_NEW_N(s->a, struct json *, list->n + 1);
    json_for_each(e, list) was[n_was++] = e;
    json_for_each(o, order) for (size_t i = 0; i < n_was; i++)
    {
        const struct json *have = key.p ? json_get(was[i], key) : was[i];
        const struct json *want = key.p && json_is(o, JSON_OBJ) ? json_get(o, key) : o;
        if (have && want && json_equal(have, want)) {
            named[n_named++] = was[i];
            break;
        }
    }
    for (size_t i = 0; i < n_was; i++) {
        bool is_named = false;
        for (size_t k = 0; k < n_named && !is_named; k++)
            is_named = named[k] == was[i];
        if (!is_named)
            rest[n_rest++] = was[i];
    }
    /* An element not named goes before the first named one that stood behind it. */
    for (size_t i = 0; i < n_named; i++) {
        size_t place = 0;
        while (place < n_was && was[place] != named[i])
            place++;
        while (at < n_rest) {
            size_t p = 0;
            while (p < n_was && was[p] != rest[at])
                p++;
            if (p > place)
                break;
            json_push(out, json_clone(rest[at++], s->a));
        }
        json_push(out, json_clone(named[i], s->a));
    }
    while (at < n_rest)
        json_push(out, json_clone(rest[at++], s->a));
    list->first = out->first;
    list->last = out->last;
    list->n = out->n;
}

static int merge_primitives(struct strategic *s, struct json *list, const struct json *patch)
{
    json_for_each(p, patch)
    {
        bool there = false;
        json_for_each(e, list) there = there || json_equal(e, p);
        if (!there)
            json_push(list, json_clone(p, s->a));
    }
    return 0;
}

/* One element of a patch for a keyed list. */
static int merge_element(struct strategic *s, const struct schema_field *f, struct json *list,
                         struct json *p)
{
    struct str key = str_z(f->rules->merge_key), directive;
    const struct json *id;
    struct json *e;

    if (p->type != JSON_OBJ)
        return malformed(s, "an element of a merged list must be an object", str_z(f->name));
    id = json_get(p, key);
    directive = json_get_str(p, STR("$patch"));
    if (!id)
        return malformed(s, "an element lacks its merge key", key);
    e = element_find(list, key, id);
    if (str_is(directive, "delete")) {
        while (e) {
            list_unlink(list, e);
            e = element_find(list, key, id);
        }
        return 0;
    }
    if (e && str_is(directive, "replace")) {
        struct json *fresh = json_new_obj(s->a);
        int r = merge_map(s, f->msg, fresh, p);
        if (r < 0)
            return r;
        e->first = fresh->first;
        e->last = fresh->last;
        e->n = fresh->n;
        return 0;
    }
    if (!e) {
        e = json_new_obj(s->a);
        json_push(list, e);
    }
    return merge_map(s, f->msg, e, p);
}

static int merge_list(struct strategic *s, const struct schema_field *f, struct json *list,
                      struct json *patch)
{
    bool objects = f->type == SCHEMA_MSG && f->rules->merge_key;
    int r;

    if (!objects)
        return merge_primitives(s, list, patch);
    /* {"$patch": "replace"} among the elements: the others are the whole list. */
    json_for_each(p, patch) if (json_is(p, JSON_OBJ) &&
                                str_is(json_get_str(p, STR("$patch")), "replace") && p->n == 1)
    {
        list->first = list->last = NULL;
        list->n = 0;
    }
    json_for_each(p, patch)
    {
        if (json_is(p, JSON_OBJ) && p->n == 1 && str_is(json_get_str(p, STR("$patch")), "replace"))
            continue;
        r = merge_element(s, f, list, p);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool field_merges(const struct schema_field *f)
{
    return f && (f->flags & SCHEMA_LIST) && (f->rules->patch_strategy & SCHEMA_PATCH_MERGE);
}

static int list_of(struct strategic *s, struct json *doc, struct str key, struct json **ret)
{
    struct json *list = json_get(doc, key);

    if (!json_is(list, JSON_ARR)) {
        list = json_new_arr(s->a);
        json_set(doc, key, list);
    }
    *ret = list;
    return 0;
}

/* The descriptor of what a map or message field holds; NULL for everything untyped. */
static const struct schema_desc *value_desc(const struct schema_field *f)
{
    return f && f->type == SCHEMA_MSG && !(f->flags & SCHEMA_LIST) ? f->msg : NULL;
}

static int merge_field(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                       struct json *patch, struct json *c)
{
    const struct schema_field *f = desc ? schema_field_find(desc, c->key.p, c->key.n) : NULL;
    struct json *order, *list, *there = json_get(doc, c->key);
    int r;

    if (c->type == JSON_NULL) {
        json_remove(doc, c->key);
        return 0;
    }
    if (c->type == JSON_OBJ && !(f && f->type == SCHEMA_RAW)) {
        if (!json_is(there, JSON_OBJ)) {
            there = json_new_obj(s->a);
            json_set(doc, c->key, there);
        }
        /* A map of messages: its keys are no fields; one level below, they are. */
        if (f && (f->flags & SCHEMA_MAP) && f->type == SCHEMA_MSG) {
            struct json *v;
            json_for_each(e, c)
            {
                if (e->type != JSON_OBJ) {
                    e->type == JSON_NULL ? (void)json_remove(there, e->key)
                                         : json_set(there, e->key, json_clone(e, s->a));
                    continue;
                }
                v = json_get(there, e->key);
                if (!json_is(v, JSON_OBJ)) {
                    v = json_new_obj(s->a);
                    json_set(there, e->key, v);
                }
                r = merge_map(s, f->msg, v, e);
                if (r < 0)
                    return r;
            }
            return 0;
        }
        return merge_map(s, value_desc(f), there, c);
    }
    if (c->type != JSON_ARR || !field_merges(f)) {
        json_set(doc, c->key, json_clone(c, s->a));
        return 0;
    }
    (void)list_of(s, doc, c->key, &list);
    r = merge_list(s, f, list, c);
    order = directive_for(patch, "$setElementOrder/", c->key);
    if (r == 0 && json_is(order, JSON_ARR))
        list_reorder(s, list, order, f->type == SCHEMA_MSG ? str_z(f->rules->merge_key) : STR_NONE);
    return r;
}

static int delete_primitives(struct strategic *s, struct json *doc, struct json *directive)
{
    struct str field =
        str_sub(directive->key, strlen("$deleteFromPrimitiveList/"), directive->key.n);
    struct json *list = json_get(doc, field);

    if (directive->type != JSON_ARR)
        return malformed(s, "the directive takes a list", directive->key);
    if (!json_is(list, JSON_ARR))
        return 0;
    json_for_each(gone, directive) for (size_t i = 0; i < list->n;)
    {
        if (json_equal(json_at(list, i), gone))
            json_remove_at(list, i);
        else
            i++;
    }
    return 0;
}

static int retain_keys(struct strategic *s, struct json *doc, struct json *keys)
{
    if (keys->type != JSON_ARR)
        return malformed(s, "the directive takes a list", keys->key);
    for (struct json *c = doc->first, *next; c; c = next) {
        bool keep = false;
        next = c->next;
        json_for_each(k, keys) keep = keep || (k->type == JSON_STR && str_eq(k->s, c->key));
        if (!keep)
            json_remove(doc, c->key);
    }
    return 0;
}

/* $setElementOrder without the list itself only reorders. */
static void order_alone(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                        struct json *patch, struct json *directive)
{
    struct str field = str_sub(directive->key, strlen("$setElementOrder/"), directive->key.n);
    const struct schema_field *f = desc ? schema_field_find(desc, field.p, field.n) : NULL;
    struct json *list = json_get(doc, field);

    if (json_get(patch, field) || !field_merges(f) || !json_is(list, JSON_ARR) ||
        directive->type != JSON_ARR)
        return;
    list_reorder(s, list, directive, f->type == SCHEMA_MSG ? str_z(f->rules->merge_key) : STR_NONE);
}

static int merge_map(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                     struct json *patch)
{
    struct json *directive = json_getz(patch, "$patch"), *retain = json_getz(patch, "$retainKeys");
    int r = 0;

    if (directive) {
        bool replace = directive->type == JSON_STR && str_is(directive->s, "replace");
        bool gone = directive->type == JSON_STR && str_is(directive->s, "delete");
        if (!replace && !gone && !(directive->type == JSON_STR && str_is(directive->s, "merge")))
            return malformed(s, "unknown $patch directive",
                             directive->type == JSON_STR ? directive->s : STR_NONE);
        if (replace || gone) {
            doc->first = doc->last = NULL;
            doc->n = 0;
        }
        if (gone)
            return 0;
    }
    json_for_each(c, patch) if (str_starts(c->key, STR("$deleteFromPrimitiveList/")) &&
                                (r = delete_primitives(s, doc, c)) < 0) return r;
    json_for_each(c, patch) if (!is_directive(c->key) &&
                                (r = merge_field(s, desc, doc, patch, c)) < 0) return r;
    json_for_each(c, patch) if (str_starts(c->key, STR("$setElementOrder/")))
        order_alone(s, desc, doc, patch, c);
    return retain ? retain_keys(s, doc, retain) : 0;
}

/* The most members or elements that one node of the tree has. */
static uint64_t widest(const struct json *v)
{
    uint64_t n = 0;

    if (v->type != JSON_OBJ && v->type != JSON_ARR)
        return 0;
    json_for_each(c, v) n = MAX(n, widest(c));
    return MAX(n, v->n);
}

int patch_strategic(const struct schema_desc *desc, struct json **doc, struct json *patch,
                    struct arena *a, struct error *err)
{
    struct strategic s = {a, err};

    if (!json_is(patch, JSON_OBJ))
        return error_set(err, REASON_BAD_REQUEST, "a strategic merge patch is an object, not %s",
                         json_type_name(patch));
    if (!json_is(*doc, JSON_OBJ))
        *doc = json_new_obj(a);
    /* Each is looked for among all: what people write has hundreds. */
    uint64_t n = widest(patch);
    if (n * (n + widest(*doc)) > STRATEGIC_WORK_MAX)
        return error_set(err, REASON_TOO_LARGE,
                         "strategic merge patch: too many members or elements; a merge patch can "
                         "have more");
    return merge_map(&s, desc, *doc, patch);
}
