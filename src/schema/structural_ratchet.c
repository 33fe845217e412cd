/* What of an object is as it was. A schema may have become stricter than the objects there are, so
 * an update is told only of what it changes (Kubernetes: KEP-4008). The new object is walked once
 * with its former self beside it, along the schema, which says what belongs to what: members by
 * name, items of a list that is a map by their keys, other lists as wholes. What no schema speaks
 * of (preserved members) belongs to nothing and counts as changed, and so does all it is in.
 *
 * The result are the topmost values that are the same: a sorted array of pointers into the new
 * object. It is made only when something was found wrong. */
#include "schema/structural_int.h"
#include "base/map.h"

#define LOOK_UP_FROM 8 /* shorter lists are searched as they are */

struct structural_same {
    const struct json **v; /* owned; sorted by address when done */
    size_t n, cap;
};

/* ---- former members and items ---- */

struct former {
    const struct structural_node *list; /* NULL: members of an object */
    const struct json *old;
    struct map by_key;
    struct arena keys;
    struct buf key;
};

/* False: the item has no key to be found by. */
static bool item_key(const struct structural_node *list, const struct json *item, struct buf *b)
{
    bool some = false;
    buf_clear(b);
    if (item->type != JSON_OBJ)
        return false;
    for (uint32_t i = 0; i < list->n_list_keys; i++) {
        const struct json *k = json_get(item, list->list_keys[i]);
        if (k && k->type >= JSON_ARR)
            return false;
        if (k)
            json_print(k, b);
        some |= k != NULL;
        buf_add_char(b, '\n'); /* JSON has none */
    }
    return some;
}

static void former_init(struct former *f, const struct structural_node *list,
                        const struct json *old)
{
    *f = (struct former){.list = list, .old = old};
    if (!list && old->n < LOOK_UP_FROM)
        return;
    for (const struct json *o = old->first; o; o = o->next) {
        struct str key = o->key;
        if (list && !item_key(list, o, &f->key))
            continue;
        if (list)
            key = arena_str(&f->keys, buf_str(&f->key));
        if (!map_get(&f->by_key, key)) /* of two with one key the first counts */
            (void)map_set(&f->by_key, key, (void *)(uintptr_t)o);
    }
}

static const struct json *former_of(struct former *f, const struct json *v)
{
    if (f->list)
        return item_key(f->list, v, &f->key) ? map_get(&f->by_key, buf_str(&f->key)) : NULL;
    return f->by_key.n ? map_get(&f->by_key, v->key) : json_get(f->old, v->key);
}

static void former_fini(struct former *f)
{
    map_fini(&f->by_key);
    arena_fini(&f->keys);
    buf_fini(&f->key);
}

/* ---- the walk ---- */

static bool value_same(struct structural_same *x, const struct structural_node *n,
                       const struct json *v, const struct json *old, bool root);

static const struct structural_node *member_node(const struct structural_node *n,
                                                 const struct json *c, bool root)
{
    if (root && (str_is(c->key, "apiVersion") || str_is(c->key, "kind")))
        return NULL; /* always those of the request */
    const struct structural_node *p = structural_prop(n, c->key);
    return p ? p : n->additional;
}

/* Children that are the same are kept unless all are: then the parent stands for them. */
static bool children_same(struct structural_same *x, const struct structural_node *n,
                          const struct json *v, const struct json *old, bool root)
{
    struct former f;
    size_t before = x->n;
    bool all = v->n == old->n && !root;
    former_init(&f, v->type == JSON_ARR ? n : NULL, old);
    for (const struct json *c = v->first; c; c = c->next) {
        const struct structural_node *below =
            v->type == JSON_ARR ? n->items : member_node(n, c, root);
        const struct json *o = below ? former_of(&f, c) : NULL;
        if (!o || !value_same(x, below, c, o, false)) {
            all = false;
            continue;
        }
        ARRAY_RESERVE(x->v, x->n, x->cap);
        x->v[x->n++] = c;
    }
    former_fini(&f);
    if (all)
        x->n = before;
    return all;
}

static bool value_same(struct structural_same *x, const struct structural_node *n,
                       const struct json *v, const struct json *old, bool root)
{
    if (v->type == JSON_OBJ && old->type == JSON_OBJ)
        return children_same(x, n, v, old, root);
    if (v->type == JSON_ARR && old->type == JSON_ARR && n->list_type == SCHEMA_LIST_MAP && n->items)
        return children_same(x, n, v, old, root);
    return json_equal(v, old);
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const struct json *const *)a,
              y = (uintptr_t) * (const struct json *const *)b;
    return (x > y) - (x < y);
}

struct structural_same *structural_same_new(const struct structural *s, const struct json *object,
                                            const struct json *old)
{
    struct structural_same *x = NEW(struct structural_same);
    if (value_same(x, s->root, object, old, true)) { /* two that are no objects at all */
        ARRAY_RESERVE(x->v, x->n, x->cap);
        x->v[x->n++] = object;
    }
    if (x->n)
        qsort(x->v, x->n, sizeof(*x->v), by_address);
    return x;
}

bool structural_same_has(const struct structural_same *x, const struct json *v)
{
    return x->n && bsearch(&v, x->v, x->n, sizeof(*x->v), by_address);
}

struct structural_same *structural_same_free(struct structural_same *x)
{
    if (x)
        free(x->v);
    free(x);
    return NULL;
}
