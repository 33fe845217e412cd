/* Merging and pruning for server-side apply. Merging goes where the configuration goes, pruning
 * where the manager's former set goes; what neither names is not touched, so both cost what the
 * configuration is large, save for looking elements of lists up by their keys. */
#include "schema/apply.h"

#include "schema/fields_int.h"
#include "schema/patch_index.h"

struct merge {
    struct arena *a;
    struct member_index members;
    struct buf text; /* scratch */
};

static void merge_members(struct merge *m, struct fields_place p, struct json *live,
                          const struct json *config);

/* ---- lists ---- */

struct elem {
    struct json *v;
    struct elem *other; /* of the same key in the other list */
    struct str key;     /* absent: it has none */
    bool done;
};

struct elems {
    struct elem *v;
    size_t n;
};

static struct elems elems_of(struct merge *m, const struct fields_keys *keys, struct json *list)
{
    struct elems l = {.v = ARENA_NEW_N(m->a, struct elem, list ? list->n + 1 : 1)};
    if (json_is(list, JSON_ARR))
        json_for_each(v, list)
        {
            struct fields_elem e;
            struct str why = fields_elem_of_json(keys, v, &m->text, m->a, &e);
            l.v[l.n++] = (struct elem){.v = v, .key = why.p ? STR_NONE : e.text};
        }
    return l;
}

/* Tells each element its partner. Of several live ones with one key the first. */
static void pair(struct elems *live, struct elems *config)
{
    struct map at = {0};
    for (size_t i = 0; i < live->n; i++) {
        struct elem *e = &live->v[i];
        struct elem *first = e->key.p ? map_get(&at, e->key) : NULL;
        if (first)
            e->done = true; /* a repeated one follows the first, or goes */
        else if (e->key.p)
            (void)map_set(&at, e->key, e);
    }
    for (size_t i = 0; i < config->n; i++) {
        struct elem *e = &config->v[i], *l = e->key.p ? map_get(&at, e->key) : NULL;
        e->other = l;
        if (l)
            l->other = e;
    }
    for (size_t i = 0; i < live->n; i++) {
        struct elem *e = &live->v[i], *first = e->done ? map_get(&at, e->key) : NULL;
        if (first && !first->other)
            e->done = false; /* nobody speaks of this key: all of them stay */
    }
    map_fini(&at);
}

/* The first element of the configuration from i on that is in the live list too. */
static const struct elem *next_shared(const struct elems *config, size_t i)
{
    for (; i < config->n; i++)
        if (config->v[i].other)
            return &config->v[i];
    return NULL;
}

/* Elements of the configuration in its order; others stay behind those they stood behind. The live
 * ones move over. */
static struct json *merge_list(struct merge *m, struct fields_place p, struct json *live,
                               const struct json *config)
{
    struct fields_keys keys = fields_place_keys(p, m->a);
    struct fields_place elem = fields_place_elem(p);
    struct elems l = elems_of(m, &keys, live), c = elems_of(m, &keys, json_clone(config, m->a));
    struct json *out = json_new_arr(m->a);
    const struct elem *shared;
    size_t i = 0, j = 0;
    pair(&l, &c);
    shared = next_shared(&c, 0);
    while (i < l.n || j < c.n) {
        struct elem *e = i < l.n ? &l.v[i] : NULL;
        if (e && !e->other && !e->done) {
            e->v->next = NULL;
            json_push(out, e->v);
            i++;
            continue;
        }
        if (e && (e->done || e->other != shared)) {
            i++; /* it was told at its place in the configuration, or will be */
            continue;
        }
        if (j == c.n)
            break;
        struct elem *x = &c.v[j++];
        struct json *v = x->v;
        if (x->other) {
            x->other->done = true;
            if (fields_place_shape(elem, x->v->type) == FIELDS_MSG) {
                v = x->other->v;
                merge_members(m, elem, v, x->v);
            }
        }
        v->next = NULL;
        json_push(out, v);
        if (x == shared)
            shared = next_shared(&c, j);
    }
    return out;
}

/* ---- maps and messages ---- */

/* A node of its own over the same children: values that are owned as a whole are not looked into.
 */
static struct json *share(struct merge *m, const struct json *v)
{
    struct json *copy = arena_alloc(m->a, sizeof(*copy));
    *copy = *v;
    copy->next = NULL;
    return copy;
}

static void merge_member(struct merge *m, struct fields_place p, struct json *doc,
                         const struct json *c)
{
    struct json *there = member_get(&m->members, doc, c->key);
    enum fields_shape shape = fields_place_shape(p, c->type);
    if (c->type == JSON_NULL) { /* what others have in it stays */
        if (!there || there->type < JSON_ARR || !there->n ||
            fields_place_shape(p, there->type) == FIELDS_LEAF)
            member_set(&m->members, doc, c->key, json_new_null(m->a));
    } else if (shape == FIELDS_LEAF) {
        member_set(&m->members, doc, c->key, share(m, c));
    } else if (shape == FIELDS_SET || shape == FIELDS_KEYED) {
        member_set(&m->members, doc, c->key, merge_list(m, p, there, c));
    } else {
        if (!json_is(there, JSON_OBJ)) {
            there = json_new_obj(m->a);
            member_set(&m->members, doc, c->key, there);
        }
        merge_members(m, p, there, c);
    }
}

static void merge_members(struct merge *m, struct fields_place p, struct json *live,
                          const struct json *config)
{
    json_for_each(c, config)
    {
        struct fields_member x = fields_place_member(p, c->key);
        if (x.known)
            merge_member(m, x.place, live, c);
        else
            member_set(&m->members, live, c->key, json_clone(c, m->a));
    }
}

void apply_merge(const struct schema_desc *desc, struct json **doc, const struct json *config,
                 struct arena *a)
{
    struct merge m = {.a = a, .members = {.a = a}};
    if (!json_is(*doc, JSON_OBJ))
        *doc = json_new_obj(a);
    merge_members(&m, fields_place_root(desc), *doc, config);
    member_index_fini(&m.members);
    buf_fini(&m.text);
}

/* ---- pruning ---- */

struct prune {
    struct arena *a;
    struct buf text; /* scratch */
    bool numbers;
};

/* One level of the object, and what sets say of it. */
struct level {
    struct prune *prune;
    struct fields_place place;
    struct fields_keys keys; /* of a list */
    struct fields_level last, owned;
};

static void prune_value(struct prune *p, struct fields_place place, struct json *v, struct str last,
                        struct str owned);

/* What a set says of one path below a level. */
static struct fields_entry find_path(const struct fields_level *l, const struct fields_elem *steps,
                                     unsigned n, struct arena *a)
{
    const struct fields_entry *e = fields_find(l, &steps[0]);
    if (!e)
        return (struct fields_entry){0};
    if (n == 1)
        return *e;
    struct fields_level below = fields_level(e->sub, a);
    return find_path(&below, steps + 1, n - 1, a);
}

static bool has(const struct fields_entry *e, bool named)
{
    return e->member || (named && e->sub.n);
}

/* Goes through the children of a list, map or message: 1 keep, 0 drop. */
typedef bool (*keep_fn)(void *arg, struct json *child);

static void filter(struct json *v, keep_fn keep, void *arg)
{
    struct json *all = v->first;
    v->first = v->last = NULL;
    v->n = 0;
    for (struct json *next; all; all = next) {
        next = all->next;
        if (keep(arg, all))
            json_push(v, all);
    }
}

static bool keep_member(void *arg, struct json *c)
{
    struct level *l = arg;
    struct fields_member m = fields_place_member(l->place, c->key);
    struct fields_elem steps[2] = {fields_elem_named(FIELDS_NAME, c->key)};
    unsigned n = m.field && l->prune->numbers ? fields_steps(l->place.desc, m.field, steps) : 1;
    if (!m.known)
        return true;
    struct fields_entry last = find_path(&l->last, steps, n, l->prune->a);
    if (!has(&last, true))
        return true;
    struct fields_entry owned = find_path(&l->owned, steps, n, l->prune->a);
    if (!has(&owned, true))
        return false;
    bool full = c->n && c->type >= JSON_ARR;
    if (last.sub.n)
        prune_value(l->prune, m.place, c, last.sub, owned.sub);
    return !full || c->n || !m.declared;
}

static bool keep_elem(void *arg, struct json *c)
{
    struct level *l = arg;
    struct fields_elem step;
    if (fields_elem_of_json(&l->keys, c, &l->prune->text, l->prune->a, &step).p)
        return true;
    struct fields_entry last = find_path(&l->last, &step, 1, l->prune->a);
    struct fields_entry owned = find_path(&l->owned, &step, 1, l->prune->a);
    if (has(&last, false) && !has(&owned, false))
        return false;
    if (last.sub.n)
        prune_value(l->prune, fields_place_elem(l->place), c, last.sub, owned.sub);
    return true;
}

static void prune_value(struct prune *p, struct fields_place place, struct json *v, struct str last,
                        struct str owned)
{
    enum fields_shape shape = fields_place_shape(place, v->type);
    bool list = shape == FIELDS_SET || shape == FIELDS_KEYED;
    struct level l = {.prune = p, .place = place};
    if (shape == FIELDS_LEAF || v->type != (list ? JSON_ARR : JSON_OBJ))
        return;
    l.last = fields_level(last, p->a);
    l.owned = fields_level(owned, p->a);
    if (list)
        l.keys = fields_place_keys(place, p->a);
    filter(v, list ? keep_elem : keep_member, &l);
}

void apply_prune(const struct schema_desc *desc, struct json *doc, struct str last,
                 struct str owned, struct arena *a)
{
    struct prune p = {.a = a, .numbers = fields_by_number(desc)};
    if (!fields_contain(owned, last))
        prune_value(&p, fields_place_root(desc), doc, fields_body(last), fields_body(owned));
    buf_fini(&p.text);
}
