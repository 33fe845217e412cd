/* See watch_state.h. */
#include "apiserver/watch_state.h"

#include "api/kv.h"
#include "schema/custom.h"

#define STATE_LARGE 1024 /* objects from which on one is worth keeping */
#define STATE_KEPT  NSEC_PER_SEC

struct watch_recent {
    struct watch_state *state; /* owned */
    struct rt_timer timer;
};

/* A bookmark with the annotation that ends the initial events is an object of its own. */
static struct object *mark_new(const struct schema_kind *kind, rev_t rev)
{
    struct arena a = {0};
    struct api_object_meta *m = schema_new(kind->desc, &a);
    struct kv_str kv = {STR("k8s.io/initial-events-end"), STR("true")};
    m->annotations = &kv;
    m->n_annotations = 1;
    struct object *mark = object_new(kind, m, rev);
    arena_fini(&a);
    return mark;
}

struct watch_state *watch_state_new(const struct schema_kind *kind, struct str ns, rev_t rev,
                                    bool marked, struct object *const *objects, size_t n)
{
    struct watch_state *t = NEW(struct watch_state);
    *t = (struct watch_state){.refs = 1, .kind = custom_ref(kind), .rev = rev, .marked = marked};
    t->ns = ns.n ? (struct str){str_dup(ns), ns.n} : STR_NONE;
    t->events = xcalloc(n + 1, sizeof(*t->events));
    for (size_t i = 0; i < n; i++)
        t->events[t->n++] =
            (struct client_event){CLIENT_EVENT_ADDED, objects[i], objects[i]->rev, NULL};
    if (marked)
        t->events[t->n++] =
            (struct client_event){CLIENT_EVENT_BOOKMARK, mark_new(kind, rev), rev, NULL};
    return t;
}

struct watch_state *watch_state_ref(struct watch_state *t)
{
    t->refs++;
    return t;
}

struct watch_state *watch_state_unref(struct watch_state *t)
{
    if (!t || --t->refs > 0)
        return NULL;
    for (size_t i = 0; i < t->n; i++)
        object_unref(t->events[i].object);
    free(t->events);
    free((char *)t->ns.p);
    custom_unref(t->kind);
    free(t);
    return NULL;
}

static void forget(void *arg)
{
    struct watch_recent *r = arg;
    r->state = watch_state_unref(r->state);
}

struct watch_recent *watch_recent_new(struct rt *rt)
{
    struct watch_recent *r = NEW(struct watch_recent);
    rt_timer_init(&r->timer, rt, forget, r);
    return r;
}

struct watch_recent *watch_recent_free(struct watch_recent *r)
{
    if (!r)
        return NULL;
    rt_timer_stop(&r->timer);
    forget(r);
    free(r);
    return NULL;
}

void watch_recent_keep(struct watch_recent *r, struct watch_state *t)
{
    if (t->n < STATE_LARGE)
        return;
    watch_state_unref(r->state);
    r->state = watch_state_ref(t);
    rt_timer_start(&r->timer, STATE_KEPT);
}

struct watch_state *watch_recent_get(struct watch_recent *r, const struct schema_kind *kind,
                                     struct str ns, rev_t rev, bool marked)
{
    const struct watch_state *t = r->state;
    if (!t || t->kind != kind || t->rev != rev || t->marked != marked || !str_eq(t->ns, ns))
        return NULL;
    rt_timer_start(&r->timer, STATE_KEPT);
    return watch_state_ref(r->state);
}
