/* Strategic merge patch. What makes it strategic is in the descriptors: a list field with the merge
 * strategy and a merge key is a set of named things, so a patch can say "the container called web,
 * its image" without repeating the rest. Order matters to people reading the result, so merged
 * lists keep the document's order, new elements follow, and $setElementOrder (which kubectl sends)
 * rules over both.
 *
 * Members and elements are found by maps: what a patch costs grows with it and the document. */
#include "schema/patch.h"

#include "base/set.h"
#include "schema/patch_index.h"

struct strategic {
    struct arena *a;
    struct error *err;
    struct member_index members;
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
static struct json *directive_for(struct strategic *s, struct json *patch, const char *prefix,
                                  struct str field)
{
    return member_get(&s->members, patch, arena_printf(s->a, "%s%.*s", prefix, STR_ARG(field)));
}

static void list_clear(struct json *list)
{
    list->first = list->last = NULL;
    list->n = 0;
}

/* What tells an element apart: its merge key, or the element itself when key is absent. */
static const struct json *element_id(struct json *e, struct str key)
{
    return key.p ? json_get(e, key) : e;
}

/* A merged list in the order `order` gives. Elements it does not name keep their place relative to
 * the elements that stood before and after them. key absent: primitives. */
static void list_reorder(struct strategic *s, struct json *list, const struct json *order,
                         struct str key)
{
    size_t n = list->n, i = 0, n_named = 0, rest = 0;
    struct json **was = ARENA_NEW_N(s->a, struct json *, n + 1);
    size_t *named = ARENA_NEW_N(s->a, size_t, n + 1);
    bool *is_named = ARENA_NEW_N(s->a, bool, n + 1);
    struct map at = {0}; /* id -> its place in was, the first if several */

    json_for_each(e, list)
    {
        const struct json *id = element_id(e, key);
        struct str text = id ? json_key(id, s->a) : STR_NONE;
        was[i] = e;
        if (id && !map_get(&at, text))
            (void)map_set(&at, text, &was[i]);
        i++;
    }
    json_for_each(o, order)
    {
        const struct json *id = key.p && json_is(o, JSON_OBJ) ? json_get(o, key) : o;
        struct json **e = id ? map_get(&at, json_key(id, s->a)) : NULL;
        if (!e || is_named[e - was])
            continue;
        is_named[e - was] = true;
        named[n_named++] = (size_t)(e - was);
    }
    /* An element not named goes before the first named one that stood behind it. */
    list_clear(list);
    for (i = 0; i < n_named; i++) {
        for (; rest < named[i]; rest++)
            if (!is_named[rest])
                json_push(list, was[rest]);
        json_push(list, was[named[i]]);
    }
    for (; rest < n; rest++)
        if (!is_named[rest])
            json_push(list, was[rest]);
    map_fini(&at);
}

static int merge_primitives(struct strategic *s, struct json *list, const struct json *patch)
{
    struct set there = {0};

    json_for_each(e, list)(void) set_add(&there, json_key(e, s->a));
    json_for_each(p, patch) if (set_add(&there, json_key(p, s->a)))
        json_push(list, json_clone(p, s->a));
    set_fini(&there);
    return 0;
}

/* Elements of a list by their merge key, while it is merged. Those that are deleted are marked (b,
 * which objects do not use) and dropped at the end, all at once. */
struct elements {
    struct json *list;
    struct str key;
    struct map at; /* id -> struct element */
    bool any_gone;
};
struct element {
    struct json *e;
    struct element *same, *last; /* further ones of this id, which no list should have */
};

static void element_add(struct strategic *s, struct elements *l, struct json *e, struct str id)
{
    struct element *x = ARENA_NEW(s->a, struct element), *first = map_get(&l->at, id);
    x->e = e;
    x->last = x;
    if (!first) {
        (void)map_set(&l->at, id, x);
        return;
    }
    first->last->same = x;
    first->last = x;
}

static void elements_index(struct strategic *s, struct elements *l)
{
    json_for_each(e, l->list)
    {
        const struct json *id = json_is(e, JSON_OBJ) ? json_get(e, l->key) : NULL;
        e->b = e->type == JSON_OBJ ? false : e->b;
        if (id)
            element_add(s, l, e, json_key(id, s->a));
    }
}

static void elements_fini(struct elements *l)
{
    struct json *all = l->list->first;
    map_fini(&l->at);
    if (!l->any_gone)
        return;
    list_clear(l->list);
    for (struct json *next; all; all = next) {
        next = all->next;
        if (all->type == JSON_OBJ && all->b)
            continue;
        json_push(l->list, all);
    }
}

/* One element of a patch for a keyed list. */
static int merge_element(struct strategic *s, const struct schema_field *f, struct elements *l,
                         struct json *p)
{
    if (p->type != JSON_OBJ)
        return malformed(s, "an element of a merged list must be an object", str_z(f->name));
    const struct json *key = member_get(&s->members, p, l->key);
    struct json *directive = member_get(&s->members, p, STR("$patch"));
    struct str what = json_is(directive, JSON_STR) ? directive->s : STR_NONE;
    if (!key)
        return malformed(s, "an element lacks its merge key", l->key);
    struct str id = json_key(key, s->a);
    struct element *x = map_get(&l->at, id);
    if (str_is(what, "delete")) {
        for (struct element *y = x; y; y = y->same)
            y->e->b = l->any_gone = true;
        (void)map_remove(&l->at, id);
        return 0;
    }
    struct json *e = x ? x->e : NULL;
    if (e && str_is(what, "replace")) {
        struct json *fresh = json_new_obj(s->a);
        int r = merge_map(s, f->msg, fresh, p);
        if (r < 0)
            return r;
        member_forget(&s->members, e);
        e->first = fresh->first;
        e->last = fresh->last;
        e->n = fresh->n;
        return 0;
    }
    if (!e) {
        e = json_new_obj(s->a);
        json_push(l->list, e);
        element_add(s, l, e, id);
    }
    return merge_map(s, f->msg, e, p);
}

static int merge_list(struct strategic *s, const struct schema_field *f, struct json *list,
                      struct json *patch)
{
    bool objects = f->type == SCHEMA_MSG && f->rules->merge_key;
    int r = 0;

    if (!objects)
        return merge_primitives(s, list, patch);
    /* {"$patch": "replace"} among the elements: the others are the whole list. */
    json_for_each(p, patch) if (json_is(p, JSON_OBJ) && p->n == 1 &&
                                str_is(json_get_str(p, STR("$patch")), "replace")) list_clear(list);
    struct elements l = {.list = list, .key = str_z(f->rules->merge_key)};
    elements_index(s, &l);
    json_for_each(p, patch)
    {
        if (json_is(p, JSON_OBJ) && p->n == 1 && str_is(json_get_str(p, STR("$patch")), "replace"))
            continue;
        r = merge_element(s, f, &l, p);
        if (r < 0)
            break;
    }
    elements_fini(&l);
    return r;
}

static bool field_merges(const struct schema_field *f)
{
    return f && (f->flags & SCHEMA_LIST) && (f->rules->patch_strategy & SCHEMA_PATCH_MERGE);
}

static int list_of(struct strategic *s, struct json *doc, struct str key, struct json **ret)
{
    struct json *list = member_get(&s->members, doc, key);

    if (!json_is(list, JSON_ARR)) {
        list = json_new_arr(s->a);
        member_set(&s->members, doc, key, list);
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
    struct json *order, *list, *there = member_get(&s->members, doc, c->key);
    int r;

    if (c->type == JSON_NULL) {
        (void)member_remove(&s->members, doc, c->key);
        return 0;
    }
    if (c->type == JSON_OBJ && !(f && f->type == SCHEMA_RAW)) {
        if (!json_is(there, JSON_OBJ)) {
            there = json_new_obj(s->a);
            member_set(&s->members, doc, c->key, there);
        }
        /* A map of messages: its keys are no fields; one level below, they are. */
        if (f && (f->flags & SCHEMA_MAP) && f->type == SCHEMA_MSG) {
            struct json *v;
            json_for_each(e, c)
            {
                if (e->type != JSON_OBJ) {
                    if (e->type == JSON_NULL)
                        (void)member_remove(&s->members, there, e->key);
                    else
                        member_set(&s->members, there, e->key, json_clone(e, s->a));
                    continue;
                }
                v = member_get(&s->members, there, e->key);
                if (!json_is(v, JSON_OBJ)) {
                    v = json_new_obj(s->a);
                    member_set(&s->members, there, e->key, v);
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
        member_set(&s->members, doc, c->key, json_clone(c, s->a));
        return 0;
    }
    (void)list_of(s, doc, c->key, &list);
    r = merge_list(s, f, list, c);
    order = directive_for(s, patch, "$setElementOrder/", c->key);
    if (r == 0 && json_is(order, JSON_ARR))
        list_reorder(s, list, order, f->type == SCHEMA_MSG ? str_z(f->rules->merge_key) : STR_NONE);
    return r;
}

static int delete_primitives(struct strategic *s, struct json *doc, struct json *directive)
{
    struct str field =
        str_sub(directive->key, strlen("$deleteFromPrimitiveList/"), directive->key.n);
    struct json *list = member_get(&s->members, doc, field);

    if (directive->type != JSON_ARR)
        return malformed(s, "the directive takes a list", directive->key);
    if (!json_is(list, JSON_ARR))
        return 0;
    struct set gone = {0};
    struct json *all = list->first;
    json_for_each(v, directive)(void) set_add(&gone, json_key(v, s->a));
    list_clear(list);
    for (struct json *next; all; all = next) {
        next = all->next;
        if (!set_has(&gone, json_key(all, s->a)))
            json_push(list, all);
    }
    set_fini(&gone);
    return 0;
}

static int retain_keys(struct strategic *s, struct json *doc, struct json *keys)
{
    if (keys->type != JSON_ARR)
        return malformed(s, "the directive takes a list", keys->key);
    struct set keep = {0};
    struct json *all = doc->first;
    json_for_each(k, keys) if (k->type == JSON_STR)(void) set_add(&keep, k->s);
    member_forget(&s->members, doc);
    list_clear(doc);
    for (struct json *next; all; all = next) {
        next = all->next;
        if (set_has(&keep, all->key))
            json_push(doc, all);
    }
    set_fini(&keep);
    return 0;
}

/* $setElementOrder without the list itself only reorders. */
static void order_alone(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                        struct json *patch, struct json *directive)
{
    struct str field = str_sub(directive->key, strlen("$setElementOrder/"), directive->key.n);
    const struct schema_field *f = desc ? schema_field_find(desc, field.p, field.n) : NULL;
    struct json *list = member_get(&s->members, doc, field);

    if (member_get(&s->members, patch, field) || !field_merges(f) || !json_is(list, JSON_ARR) ||
        directive->type != JSON_ARR)
        return;
    list_reorder(s, list, directive, f->type == SCHEMA_MSG ? str_z(f->rules->merge_key) : STR_NONE);
}

static int merge_map(struct strategic *s, const struct schema_desc *desc, struct json *doc,
                     struct json *patch)
{
    struct json *directive = member_get(&s->members, patch, STR("$patch"));
    struct json *retain = member_get(&s->members, patch, STR("$retainKeys"));
    int r = 0;

    if (directive) {
        bool replace = directive->type == JSON_STR && str_is(directive->s, "replace");
        bool gone = directive->type == JSON_STR && str_is(directive->s, "delete");
        if (!replace && !gone && !(directive->type == JSON_STR && str_is(directive->s, "merge")))
            return malformed(s, "unknown $patch directive",
                             directive->type == JSON_STR ? directive->s : STR_NONE);
        if (replace || gone) {
            member_forget(&s->members, doc);
            list_clear(doc);
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

int patch_strategic(const struct schema_desc *desc, struct json **doc, struct json *patch,
                    struct arena *a, struct error *err)
{
    struct strategic s = {.a = a, .err = err, .members = {.a = a}};

    if (!json_is(patch, JSON_OBJ))
        return error_set(err, REASON_BAD_REQUEST, "a strategic merge patch is an object, not %s",
                         json_type_name(patch));
    if (!json_is(*doc, JSON_OBJ))
        *doc = json_new_obj(a);
    int r = merge_map(&s, desc, *doc, patch);
    member_index_fini(&s.members);
    return r;
}
