/* See call_view.h. */
#include "apiserver/custom/call_view.h"

#include "schema/custom.h"

enum view_state {
    VIEW_WANTED,
    VIEW_ASKED,
    VIEW_THERE,
    VIEW_FAILED,
};

struct view {
    enum view_state state;
    const struct schema_kind *to; /* a variant; so is that of the source */
    struct object *source, *out;  /* owned; out once it is there */
    struct str why;               /* it failed; in the call's arena */
    struct {
        uint64_t rev, to;
    } key; /* of one of the store */
};

struct call_views {
    struct convert_want want;
    struct api_call *call;
    void (*done)(struct api_call *c);
    struct view v[CALL_VIEWS_MAX];
    size_t n;
    struct view **stored; /* owned, each too */
    size_t n_stored, cap_stored, stored_bytes;
    struct map by_key;       /* of the stored ones */
    struct object **objects; /* owned, references too: of the want */
    size_t n_asked;
};

static const struct schema_kind *variant(const struct schema_kind *k)
{
    return custom_is_served(k) ? k->custom->variant : k;
}

bool call_view_needed(const struct api_call *c, const struct schema_kind *from,
                      const struct schema_kind *to)
{
    return custom_is_served(from) && custom_is_served(to) && variant(from) != variant(to) &&
           converts_kind(c->server->converts, to);
}

/* ---- finding ---- */

/* What a conversion can depend on. */
static struct api_object_meta what_counts(const struct api_object_meta *m)
{
    return (struct api_object_meta){.labels = m->labels,
                                    .n_labels = m->n_labels,
                                    .annotations = m->annotations,
                                    .n_annotations = m->n_annotations};
}

static bool is_of(const struct view *v, const struct schema_kind *from,
                  const struct schema_kind *to, const void *msg)
{
    const struct custom_object *a = (const void *)v->source->msg, *b = msg;
    if (v->to != variant(to) || v->source->kind != variant(from))
        return false;
    struct api_object_meta x = what_counts(&a->metadata), y = what_counts(&b->metadata);
    return str_eq(a->rest, b->rest) && str_eq(a->status, b->status) &&
           schema_equal(&api_object_meta_desc, &x, &y);
}

static const void *as_view(struct api_call *c, const struct view *v, const void *msg)
{
    struct custom_object *o = arena_alloc(&c->arena, sizeof(*o));
    const struct custom_object *made = (const void *)v->out->msg;
    *o = *made;
    o->metadata = *(const struct api_object_meta *)msg;
    o->metadata.labels = made->metadata.labels;
    o->metadata.n_labels = made->metadata.n_labels;
    o->metadata.annotations = made->metadata.annotations;
    o->metadata.n_annotations = made->metadata.n_annotations;
    return o;
}

const void *call_view_there(struct api_call *c, const struct schema_kind *from,
                            const struct schema_kind *to, const void *msg)
{
    const struct call_views *x = c->views;
    for (size_t i = 0; x && i < x->n; i++)
        if (x->v[i].state == VIEW_THERE && is_of(&x->v[i], from, to, msg))
            return as_view(c, &x->v[i], msg);
    return NULL;
}

static int refused(struct error *err, struct str why)
{
    if (err)
        (void)error_set(err, REASON_INTERNAL, "%.*s", STR_ARG(why));
    return -EPROTO;
}

static struct call_views *get(struct api_call *c)
{
    if (!c->views) {
        c->views = NEW(struct call_views);
        c->views->call = c;
    }
    return c->views;
}

int call_view(struct api_call *c, const struct schema_kind *from, const struct schema_kind *to,
              const void *msg, const void **ret, struct error *err)
{
    struct call_views *x = c->views;
    for (size_t i = 0; x && i < x->n; i++) {
        const struct view *v = &x->v[i];
        if (!is_of(v, from, to, msg))
            continue;
        if (v->state == VIEW_FAILED)
            return refused(err, v->why);
        if (v->state != VIEW_THERE)
            return -EINPROGRESS;
        *ret = as_view(c, v, msg);
        return 1;
    }
    if (x && x->n >= CALL_VIEWS_MAX)
        return refused(err, STR("the object changes too often while it is converted"));
    x = get(c);
    x->v[x->n++] = (struct view){.to = variant(to), .source = object_new(variant(from), msg, 0)};
    return -EINPROGRESS;
}

/* ---- of the store ---- */

static int stored_note(struct api_call *c, const struct view *like, struct object *o,
                       struct error *err)
{
    struct call_views *x = get(c);
    if (x->n_stored >= CALL_STORED_MAX || x->stored_bytes > CALL_STORED_BYTES_MAX)
        return refused(err, STR("too many or too large objects must be converted for one request"));
    struct view *v = NEW(struct view);
    *v = *like;
    v->source = object_ref(o);
    x->stored_bytes += o->msg_bytes;
    ARRAY_RESERVE(x->stored, x->n_stored, x->cap_stored);
    x->stored[x->n_stored++] = v;
    (void)map_set(&x->by_key, (struct str){(const char *)&v->key, sizeof(v->key)}, v);
    return -EINPROGRESS;
}

int call_stored(struct api_call *c, const struct schema_kind *to, struct object *o,
                struct object **ret, struct error *err)
{
    struct view like = {.to = variant(to), .key = {o->rev, (uintptr_t)variant(to)}};
    if (!custom_is_served(to) || !convert_needed(c->server->converts, like.to, o)) {
        *ret = o;
        return 1;
    }
    ASSERT(c->came);
    struct str key = {(const char *)&like.key, sizeof(like.key)};
    const struct view *v = c->views ? map_get(&c->views->by_key, key) : NULL;
    if (!v)
        return stored_note(c, &like, o, err);
    if (v->state == VIEW_FAILED)
        return refused(err, v->why);
    if (v->state != VIEW_THERE)
        return -EINPROGRESS;
    *ret = v->out;
    return 1;
}

/* ---- asking ---- */

static size_t all_n(const struct call_views *x)
{
    return x ? x->n + x->n_stored : 0;
}

static struct view *at(struct call_views *x, size_t i)
{
    return i < x->n ? &x->v[i] : x->stored[i - x->n];
}

bool call_views_wanted(const struct api_call *c)
{
    for (size_t i = 0; i < all_n(c->views); i++)
        if (at(c->views, i)->state == VIEW_WANTED)
            return true;
    return false;
}

static void take(struct call_views *x)
{
    bool failed = x->want.err.reason != REASON_NONE;
    size_t k = 0;
    for (size_t i = 0; i < all_n(x); i++) {
        struct view *v = at(x, i);
        if (v->state != VIEW_ASKED)
            continue;
        struct object *o = x->objects[k++];
        v->state = failed ? VIEW_FAILED : VIEW_THERE;
        if (failed) {
            object_unref(o);
            v->why = arena_str(&x->call->arena, x->want.err.message);
        } else {
            v->out = o;
        }
    }
    ASSERT(k == x->n_asked);
    x->n_asked = 0;
}

static void on_done(struct convert_want *w)
{
    struct call_views *x = CONTAINER_OF(w, struct call_views, want);
    struct api_call *c = x->call;
    take(x);
    x->done(c);
}

/* What is wanted next: of one version, and of the request or of the store, so that neither fails
 * for the other. */
static const struct schema_kind *choose(struct call_views *x)
{
    const struct schema_kind *to = NULL;
    bool stored = false;
    ASSERT(!x->n_asked);
    x->objects = xrealloc(x->objects, all_n(x) * sizeof(struct object *));
    for (size_t i = 0; i < all_n(x); i++) {
        struct view *v = at(x, i);
        if (v->state != VIEW_WANTED || (to && (v->to != to || stored != (i >= x->n))))
            continue;
        to = v->to;
        stored = i >= x->n;
        v->state = VIEW_ASKED;
        x->objects[x->n_asked++] = object_ref(v->source);
    }
    return to;
}

int call_views_ask(struct api_call *c, void (*done)(struct api_call *c))
{
    struct call_views *x = c->views;
    while (call_views_wanted(c)) {
        const struct schema_kind *to = choose(x);
        x->done = done;
        error_clear(&x->want.err);
        int r = convert_start(c->server->converts, &x->want, to, x->objects, x->n_asked, on_done);
        if (r > 0)
            return 1;
        take(x);
    }
    return 0;
}

void call_views_end(struct api_call *c)
{
    if (c->views)
        convert_cancel(&c->views->want);
}

void call_views_free(struct api_call *c)
{
    struct call_views *x = c->views;
    if (!x)
        return;
    ASSERT(!x->want.cs);
    for (size_t i = 0; i < x->n_asked; i++)
        object_unref(x->objects[i]);
    for (size_t i = 0; i < all_n(x); i++) {
        object_unref(at(x, i)->source);
        object_unref(at(x, i)->out);
    }
    for (size_t i = 0; i < x->n_stored; i++)
        free(x->stored[i]);
    map_fini(&x->by_key);
    error_fini(&x->want.err);
    free(x->stored);
    free(x->objects);
    free(x);
    c->views = NULL;
}
