/* Merging and pruning for server-side apply. Merging goes where the configuration goes, pruning
 * where the manager's former set goes; what neither names is not touched, so both cost what the
 * configuration is large, save for looking elements of lists up by their keys. */
#include "schema/apply.h"

#include "schema/fields_int.h"
#include "schema/patch_index.h"

struct merge {
    struct arena *a;
    struct member_index members;
};

static void merge_msg(struct merge *m, const struct schema_desc *desc, struct json *live,
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

static struct elems elems_of(struct merge *m, const struct schema_field *f, struct json *list)
{
    struct elems l = {.v = ARENA_NEW_N(m->a, struct elem, list ? list->n + 1 : 1)};
    if (json_is(list, JSON_ARR))
        json_for_each(v, list)
        {
            struct fields_elem e;
            struct str why = fields_elem_of_json(f, v, m->a, &e);
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
static struct json *merge_list(struct merge *m, const struct schema_field *f, struct json *live,
                               const struct json *config)
{
    struct elems l = elems_of(m, f, live), c = elems_of(m, f, json_clone(config, m->a));
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
            if (fields_elem_shape(f) == FIELDS_MSG) {
                v = x->other->v;
                merge_msg(m, f->msg, v, x->v);
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

static void merge_value(struct merge *m, const struct schema_field *f, bool elem, struct json *doc,
                        const struct json *c)
{
    struct json *there = member_get(&m->members, doc, c->key);
    enum fields_shape shape = elem ? fields_elem_shape(f) : fields_shape(f);
    if (shape == FIELDS_LEAF) {
        member_set(&m->members, doc, c->key, share(m, c));
        return;
    }
    if (c->type == JSON_NULL) { /* what others have in it stays */
        if (!there || !there->n)
            member_set(&m->members, doc, c->key, json_new_null(m->a));
        return;
    }
    if (shape == FIELDS_SET || shape == FIELDS_KEYED) {
        member_set(&m->members, doc, c->key, merge_list(m, f, there, c));
        return;
    }
    if (!json_is(there, JSON_OBJ)) {
        there = json_new_obj(m->a);
        member_set(&m->members, doc, c->key, there);
    }
    if (shape == FIELDS_MSG)
        merge_msg(m, f->msg, there, c);
    else
        json_for_each(e, c) merge_value(m, f, true, there, e);
}

static void merge_msg(struct merge *m, const struct schema_desc *desc, struct json *live,
                      const struct json *config)
{
    json_for_each(c, config)
    {
        const struct schema_field *f = schema_field_find(desc, c->key.p, c->key.n);
        if (f)
            merge_value(m, f, false, live, c);
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
    merge_msg(&m, desc, *doc, config);
    member_index_fini(&m.members);
}

/* ---- pruning ---- */

static void prune_msg(const struct schema_desc *desc, struct json *v, struct str last,
                      struct str owned, bool numbers, struct arena *a);

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

struct prune {
    const struct schema_desc *desc;  /* of a message */
    const struct schema_field *many; /* or of a list or map */
    struct fields_level last, owned;
    bool numbers;
    struct arena *a;
};

static void prune_many(const struct schema_field *f, struct json *v, struct str last,
                       struct str owned, bool numbers, struct arena *a);

static bool keep_member(void *arg, struct json *c)
{
    struct prune *p = arg;
    const struct schema_field *f = schema_field_find(p->desc, c->key.p, c->key.n);
    struct fields_elem steps[2] = {fields_elem_named(FIELDS_NAME, c->key)};
    if (!f)
        return true;
    unsigned n = p->numbers ? fields_steps(p->desc, f, steps) : 1;
    struct fields_entry last = find_path(&p->last, steps, n, p->a);
    if (!has(&last, true))
        return true;
    struct fields_entry owned = find_path(&p->owned, steps, n, p->a);
    if (!has(&owned, true))
        return false;
    enum fields_shape shape = fields_shape(f);
    bool full = c->n;
    if (!last.sub.n || shape == FIELDS_LEAF || (c->type != JSON_OBJ && c->type != JSON_ARR))
        return true;
    if (shape == FIELDS_MSG)
        prune_msg(f->msg, c, last.sub, owned.sub, p->numbers, p->a);
    else
        prune_many(f, c, last.sub, owned.sub, p->numbers, p->a);
    return c->n || !full;
}

static void prune_msg(const struct schema_desc *desc, struct json *v, struct str last,
                      struct str owned, bool numbers, struct arena *a)
{
    struct prune p = {.desc = desc, .numbers = numbers, .a = a};
    p.last = fields_level(last, a);
    p.owned = fields_level(owned, a);
    if (v->type == JSON_OBJ)
        filter(v, keep_member, &p);
}

static bool keep_elem(void *arg, struct json *c)
{
    struct prune *p = arg;
    bool map = p->many->flags & SCHEMA_MAP;
    struct fields_elem step = fields_elem_named(FIELDS_NAME, c->key);
    if (!map && fields_elem_of_json(p->many, c, p->a, &step).p)
        return true;
    struct fields_entry last = find_path(&p->last, &step, 1, p->a);
    struct fields_entry owned = find_path(&p->owned, &step, 1, p->a);
    if (has(&last, map) && !has(&owned, map))
        return false;
    if (last.sub.n && fields_elem_shape(p->many) == FIELDS_MSG)
        prune_msg(p->many->msg, c, last.sub, owned.sub, p->numbers, p->a);
    return true;
}

static void prune_many(const struct schema_field *f, struct json *v, struct str last,
                       struct str owned, bool numbers, struct arena *a)
{
    struct prune p = {.many = f, .numbers = numbers, .a = a};
    p.last = fields_level(last, a);
    p.owned = fields_level(owned, a);
    if (v->type == (f->flags & SCHEMA_MAP ? JSON_OBJ : JSON_ARR))
        filter(v, keep_elem, &p);
}

void apply_prune(const struct schema_desc *desc, struct json *doc, struct str last,
                 struct str owned, struct arena *a)
{
    if (!fields_contain(owned, last))
        prune_msg(desc, doc, fields_body(last), fields_body(owned), fields_by_number(desc), a);
}
