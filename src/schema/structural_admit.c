/* What a schema does to an object before it is checked: fields nobody declared go, and so do nulls
 * where null is no value (K8S: PruneNonNullableNullsWithoutDefaults), absent fields with a default
 * come. All walk object and schema side by side and change the tree in place. A
 * field that stays costs one look-up by name. */
#include "schema/structural_int.h"
#include "base/set.h"

struct walk {
    struct arena *a;
    struct schema_decode *opts;
    bool nulls_stay; /* in a default */
};

static void warn(struct walk *w, const char *what, struct str name, const struct schema_frame *up)
{
    struct schema_decode *o = w->opts;
    struct schema_frame at = {.up = up, .name = name};
    struct buf path = {0};
    if (!o || o->unknown == SCHEMA_UNKNOWN_IGNORE)
        return;
    if (o->n_warnings++ >= SCHEMA_WARNINGS_MAX)
        return;
    schema_frame_print(&at, false, &path);
    o->warnings[o->n_warnings - 1] =
        arena_printf(w->a, "%s field \"%.*s\"", what, STR_ARG(buf_str(&path)));
    buf_fini(&path);
}

/* ---- members that came twice: the last one counts ---- */

static bool comes_again(const struct json *m)
{
    for (const struct json *x = m->next; x; x = x->next)
        if (str_eq(x->key, m->key))
            return true;
    return false;
}

static bool any_twice(const struct json *v)
{
    struct set seen = {0};
    bool twice = false;
    for (const struct json *m = v->first; m && !twice; m = m->next)
        twice = !set_add(&seen, m->key);
    set_fini(&seen);
    return twice;
}

static void drop_duplicates(struct walk *w, struct json *v, const struct schema_frame *at)
{
    struct json *last = NULL;
    if (v->n < 2 || !any_twice(v))
        return;
    for (struct json **link = &v->first; *link;) {
        if (comes_again(*link)) {
            warn(w, "duplicate", (*link)->key, at);
            *link = (*link)->next;
            v->n--;
        } else {
            last = *link;
            link = &(*link)->next;
        }
    }
    v->last = last;
}

/* ---- pruning ---- */

static bool is_meta(struct str name)
{
    return str_is(name, "apiVersion") || str_is(name, "kind") || str_is(name, "metadata");
}

static void prune(struct walk *w, const struct structural_node *n, struct json *v, bool root,
                  const struct schema_frame *at);

/* What stands where additionalProperties is true: anything, but an object there has no members
 * anybody declared, and keeps none. */
static const struct structural_node undeclared;

/* Of the metadata of an object inside: what no metadata has, and a time that is none. */
static bool keeps_meta(struct walk *w, const struct json *m, const struct schema_frame *at)
{
    if (str_is(m->key, "creationTimestamp") && m->type == JSON_NULL)
        return false;
    if (schema_field_find(&api_object_meta_desc, m->key.p, m->key.n))
        return true;
    warn(w, "unknown", m->key, at);
    return false;
}

static void prune_meta(struct walk *w, struct json *v, const struct schema_frame *at)
{
    struct json *last = NULL;
    if (v->type != JSON_OBJ)
        return;
    for (struct json **link = &v->first; *link;) {
        if (keeps_meta(w, *link, at)) {
            last = *link;
            link = &(*link)->next;
        } else {
            *link = (*link)->next;
            v->n--;
        }
    }
    v->last = last;
}

enum fate { FATE_STAYS, FATE_UNKNOWN, FATE_NO_VALUE };

static enum fate prune_member(struct walk *w, const struct structural_node *n, struct json *m,
                              bool root, const struct schema_frame *at)
{
    struct schema_frame below = {.up = at, .name = m->key};
    if (root && is_meta(m->key))
        return FATE_STAYS;
    const struct structural_node *p = structural_prop(n, m->key);
    if (!p)
        p = n->additional_any ? &undeclared : n->additional;
    if (m->type == JSON_NULL && p && p != &undeclared && !p->nullable && !p->default_ &&
        !w->nulls_stay)
        return FATE_NO_VALUE;
    if (n->embedded && is_meta(m->key)) {
        if (str_is(m->key, "metadata"))
            prune_meta(w, m, &below);
        return FATE_STAYS;
    }
    if (p)
        prune(w, p, m, false, &below);
    return p || n->preserve ? FATE_STAYS : FATE_UNKNOWN;
}

static void prune(struct walk *w, const struct structural_node *n, struct json *v, bool root,
                  const struct schema_frame *at)
{
    const struct structural_node *items = n == &undeclared ? n : n->items;
    if (v->type == JSON_ARR && items) {
        struct schema_frame el = {.up = at};
        for (struct json *c = v->first; c; c = c->next, el.index++)
            prune(w, items, c, false, &el);
        return;
    }
    if (v->type != JSON_OBJ)
        return;
    drop_duplicates(w, v, at);
    struct json *last = NULL;
    for (struct json **link = &v->first; *link;) {
        enum fate fate = prune_member(w, n, *link, root, at);
        if (fate == FATE_STAYS) {
            last = *link;
            link = &(*link)->next;
            continue;
        }
        if (fate == FATE_UNKNOWN)
            warn(w, "unknown", (*link)->key, at);
        *link = (*link)->next;
        v->n--;
    }
    v->last = last;
}

void structural_prune_node(const struct structural_node *n, struct json *v, struct arena *a,
                           struct schema_decode *opts)
{
    struct walk w = {.a = a, .opts = opts, .nulls_stay = true};
    prune(&w, n, v, false, NULL);
}

void structural_prune(const struct structural *s, struct json *object, struct arena *a,
                      struct schema_decode *opts)
{
    struct walk w = {.a = a, .opts = opts};
    if (object->type == JSON_OBJ)
        prune(&w, s->root, object, true, NULL);
}

/* ---- defaults ---- */

static void put_default(const struct structural_prop *p, struct json *v, struct json *there,
                        struct arena *a)
{
    struct json *d = json_clone(p->node->default_, a);
    if (there) { /* a null where null is no value */
        d->key = there->key;
        d->next = there->next;
        *there = *d;
        return;
    }
    d->key = p->name;
    json_push(v, d);
}

static bool fill(const struct structural_node *n, struct json *v, struct arena *a, uint32_t *left);

static bool fill_all(const struct structural_node *n, struct json *v, struct arena *a,
                     uint32_t *left)
{
    for (struct json *c = v->first; c; c = c->next)
        if (!fill(n, c, a, left))
            return false;
    return true;
}

/* False: more values would be added than may be. */
static bool fill(const struct structural_node *n, struct json *v, struct arena *a, uint32_t *left)
{
    if (!n->has_defaults)
        return true;
    if (v->type == JSON_ARR)
        return !n->items || fill_all(n->items, v, a, left);
    if (v->type != JSON_OBJ)
        return true;
    for (uint32_t i = 0; i < n->n_props; i++) {
        const struct structural_prop *p = &n->props[i];
        if (!p->node->has_defaults)
            continue;
        struct json *there = json_get(v, p->name);
        if (p->node->default_ && (!there || (there->type == JSON_NULL && !p->node->nullable))) {
            if (*left < p->node->n_default)
                return false;
            *left -= p->node->n_default;
            put_default(p, v, there, a);
        }
        there = there ? there : json_get(v, p->name);
        if (there && !fill(p->node, there, a, left))
            return false;
    }
    return !n->additional || !n->additional->has_defaults || fill_all(n->additional, v, a, left);
}

int structural_default_node(const struct structural_node *n, struct json *v, struct arena *a)
{
    uint32_t left = STRUCTURAL_ADDED_MAX;
    return fill(n, v, a, &left) ? 0 : -EFBIG;
}

int structural_default(const struct structural *s, struct json *object, struct arena *a)
{
    return structural_default_node(s->root, object, a);
}

const struct json *structural_status(const struct structural *s, struct arena *a)
{
    const struct structural_node *n = structural_prop(s->root, STR("status"));
    if (!n || !n->default_)
        return NULL;
    struct json *v = json_clone(n->default_, a);
    return structural_default_node(n, v, a) < 0 ? NULL : v;
}
