/* The checkers. They watch the store itself (not through any cache) and keep their own copy of the
 * world, so an event that is lost, doubled or out of order shows as a contradiction. */
#include "guard.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/values.h"

struct checker {
    struct world *world;
    struct store_watch watches[_KIND_MAX];
    struct map objects;      /* "KIND/ns/name" -> struct known */
    struct map acknowledged; /* same keys -> struct ack */
    struct map bound;        /* pod uid -> node name (owned) */
    struct map running;      /* "ns/name" -> struct run */
    struct guard *guard;
    rev_t rev;
    bool attached;
    char *app;
    unsigned min_ready, max_total, template_changes;
    uint64_t events;
};

struct run { /* of an identity */
    char *key, *node, *uid;
};
struct known {
    char *key;
    struct object *object;
};
struct ack {
    char *key;
    char *uid;
    rev_t rev;
};

static bool followed(enum kind_id k)
{
    return k == KIND_POD || k == KIND_REPLICA_SET || k == KIND_DEPLOYMENT || k == KIND_JOB ||
           k == KIND_NODE || k == KIND_CONFIG_MAP || k == KIND_SERVICE || k == KIND_NAMESPACE ||
           k == KIND_ENDPOINT_SLICE || k == KIND_POD_DISRUPTION_BUDGET ||
           k == KIND_CERTIFICATE_SIGNING_REQUEST;
}

static char *key_of(const struct object *o)
{
    return xasprintf("%u/%.*s/%.*s", o->kind->id, STR_ARG(object_ns(o)), STR_ARG(object_name(o)));
}

static void known_free(struct known *k)
{
    (void)object_unref(k->object);
    free(k->key);
    free(k);
}

/* ---- what must hold for pods ---- */

static bool has_app(const struct object *o, const char *app)
{
    const struct api_object_meta *m = object_meta(o);
    const struct str *v = m->n_labels ? kv_str_get(m->labels, m->n_labels, STR("app")) : NULL;
    return v && str_eqz(*v, app);
}

static bool is_alive(const struct api_pod *p)
{
    return !p->metadata.deletion_timestamp.set && !str_is(p->status.phase, "Failed") &&
           !str_is(p->status.phase, "Succeeded");
}

static bool is_ready(const struct api_pod *p)
{
    for (uint32_t i = 0; i < p->status.n_conditions; i++)
        if (str_is(p->status.conditions[i].type, "Ready"))
            return str_is(p->status.conditions[i].status, "True") && is_alive(p);
    return false;
}

static unsigned count(struct checker *c, const char *app, bool ready)
{
    unsigned n = 0;
    for (struct map_slot *s = NULL; (s = map_next(&c->objects, s));) {
        const struct object *o = ((struct known *)s->value)->object;
        if (o->kind->id != KIND_POD || !has_app(o, app))
            continue;
        n += ready ? is_ready(OBJECT_MSG(o, api_pod)) : is_alive(OBJECT_MSG(o, api_pod));
    }
    return n;
}

unsigned checker_pods_ready(struct checker *c, const char *app)
{
    return count(c, app, true);
}

unsigned checker_pods_alive(struct checker *c, const char *app)
{
    return count(c, app, false);
}

static void check_bounds(struct checker *c)
{
    if (!c->app)
        return;
    unsigned ready = count(c, c->app, true), alive = count(c, c->app, false);
    WORLD_CHECK(c->world, ready >= c->min_ready, "only %u pods of %s are ready, %u must be", ready,
                c->app, c->min_ready);
    WORLD_CHECK(c->world, alive <= c->max_total, "%u pods of %s are there, %u may be", alive,
                c->app, c->max_total);
}

static void check_binding(struct checker *c, const struct object *o)
{
    const struct api_pod *p = OBJECT_MSG(o, api_pod);
    const char *node = map_get(&c->bound, p->metadata.uid);
    if (node) {
        WORLD_CHECK(c->world, str_eqz(p->spec.node_name, node), "pod %.*s moved from %s to %.*s",
                    STR_ARG(p->metadata.name), node, STR_ARG(p->spec.node_name));
        return;
    }
    if (str_empty(p->spec.node_name))
        return;
    char *both = xasprintf("%.*s%c%.*s", STR_ARG(p->metadata.uid), 0, STR_ARG(p->spec.node_name));
    (void)map_set(&c->bound, (struct str){both, p->metadata.uid.n}, both + p->metadata.uid.n + 1);
}

/* ---- following ---- */

static void take(struct checker *c, const struct store_event *ev)
{
    struct world *w = c->world;
    char *key = key_of(ev->object);
    struct known *k = map_get(&c->objects, str_z(key));
    bool deleted = ev->type == STORE_EVENT_DELETED;
    c->events++;
    WORLD_CHECK(w, ev->rev == ev->object->rev, "%s: the event says revision %llu, the object %llu",
                key, (unsigned long long)ev->rev, (unsigned long long)ev->object->rev);
    WORLD_CHECK(w, !k || k->object->rev < ev->rev, "%s goes back from revision %llu to %llu", key,
                (unsigned long long)(k ? k->object->rev : 0), (unsigned long long)ev->rev);
    WORLD_CHECK(w, (ev->type == STORE_EVENT_ADDED) == !k, "%s: event type %d, but it was%s there",
                key, ev->type, k ? "" : " not");
    WORLD_CHECK(w, !k || (ev->prev && ev->prev->rev == k->object->rev),
                "%s: an event before this one is missing", key);
    if (ev->object->kind->id == KIND_DEPLOYMENT && k && !deleted)
        c->template_changes += !schema_equal(
            &api_pod_template_spec_desc, &OBJECT_MSG(k->object, api_deployment)->spec.template,
            &OBJECT_MSG(ev->object, api_deployment)->spec.template);
    guard_see(c->guard, k ? k->object : NULL, deleted ? NULL : ev->object);
    if (k) {
        (void)map_remove(&c->objects, str_z(k->key));
        known_free(k);
    }
    if (deleted) {
        free(key);
        return;
    }
    k = NEW(struct known);
    *k = (struct known){key, object_ref(ev->object)};
    (void)map_set(&c->objects, str_z(key), k);
    if (ev->object->kind->id == KIND_POD)
        check_binding(c, ev->object);
}

static void on_events(void *arg, const struct store_event *events, size_t n)
{
    struct checker *c = arg;
    for (size_t i = 0; i < n; i++) {
        take(c, &events[i]);
        c->rev = MAX(c->rev, events[i].rev);
        if (events[i].object->kind->id == KIND_POD) {
            check_bounds(c);
            guard_pods_changed(c->guard);
        }
    }
}

/* After a crash the state found must be one that could have become durable: nothing that was seen
 * before is undone, save what the watches had not been told of. */
static void compare_found(struct checker *c, struct object *o)
{
    char *key = key_of(o);
    struct known *k = map_get(&c->objects, str_z(key));
    WORLD_CHECK(c->world, !k || k->object->rev <= o->rev,
                "%s was seen at revision %llu and is found at %llu", key,
                (unsigned long long)k->object->rev, (unsigned long long)o->rev);
    if (k && o->kind->id == KIND_DEPLOYMENT && k->object->rev != o->rev)
        c->template_changes += !schema_equal(&api_pod_template_spec_desc,
                                             &OBJECT_MSG(k->object, api_deployment)->spec.template,
                                             &OBJECT_MSG(o, api_deployment)->spec.template);
    guard_see(c->guard, k ? k->object : NULL, o);
    if (k) {
        (void)map_remove(&c->objects, str_z(k->key));
        known_free(k);
    }
    k = NEW(struct known);
    *k = (struct known){key, object_ref(o)};
    (void)map_set(&c->objects, str_z(key), k);
    if (o->kind->id == KIND_POD)
        check_binding(c, o);
}

static void forget_missing(struct checker *c, enum kind_id kind)
{
    for (;;) {
        struct known *gone = NULL;
        for (struct map_slot *s = NULL; !gone && (s = map_next(&c->objects, s));) {
            struct known *k = s->value;
            if (k->object->kind->id == kind &&
                !store_get(c->world->store, k->object->kind, object_ns(k->object),
                           object_name(k->object)))
                gone = k;
        }
        if (!gone)
            return;
        guard_see(c->guard, gone->object, NULL);
        (void)map_remove(&c->objects, str_z(gone->key));
        known_free(gone);
    }
}

void checker_attach(struct checker *c)
{
    struct store *st = c->world->store;
    rev_t rev = store_rev(st);
    WORLD_CHECK(c->world, rev >= c->rev, "the store has gone back from revision %llu to %llu",
                (unsigned long long)c->rev, (unsigned long long)rev);
    for (int k = 0; k < _KIND_MAX; k++) {
        if (!followed((enum kind_id)k))
            continue;
        forget_missing(c, (enum kind_id)k);
        struct store_iter it;
        int r = store_iter_init(&it, st, schema_kinds[k], STR_NONE, 0, STR_NONE, STR_NONE);
        ASSERT(r == 0);
        for (struct object *o; (o = store_iter_next(&it));)
            compare_found(c, o);
        store_iter_fini(&it);
        r = store_watch_start(&c->watches[k], st, schema_kinds[k], STR_NONE, rev, on_events, c);
        ASSERT(r == 0);
    }
    c->attached = true;
    guard_pods_changed(c->guard);
}

void checker_detach(struct checker *c)
{
    for (int k = 0; c->attached && k < _KIND_MAX; k++)
        if (followed((enum kind_id)k))
            store_watch_stop(&c->watches[k]);
    c->attached = false;
}

struct checker *checker_new(struct world *w)
{
    struct checker *c = NEW(struct checker);
    c->world = w;
    c->guard = guard_new(w);
    return c;
}

static void ack_free(struct ack *a)
{
    free(a->key);
    free(a->uid);
    free(a);
}

static void run_free(struct checker *c, struct run *r)
{
    (void)map_remove(&c->running, str_z(r->key));
    free(r->key);
    free(r->node);
    free(r->uid);
    free(r);
}

void checker_container(struct checker *c, const char *node, const struct api_object_meta *pod,
                       bool runs)
{
    char *key = xasprintf("%.*s/%.*s", STR_ARG(pod->namespace), STR_ARG(pod->name));
    struct run *r = map_get(&c->running, str_z(key));
    if (!runs) {
        WORLD_CHECK(c->world, r && strcmp(r->node, node) == 0,
                    "%s stops on %s where it did not run", key, node);
        run_free(c, r);
        free(key);
        return;
    }
    WORLD_CHECK(c->world, !r, "%s starts on %s (%.*s) while it runs on %s (%s)", key, node,
                STR_ARG(pod->uid), r->node, r->uid);
    r = NEW(struct run);
    *r = (struct run){key, xstrdup(node), str_dup(pod->uid)};
    (void)map_set(&c->running, str_z(key), r);
}

unsigned checker_running(struct checker *c)
{
    return (unsigned)c->running.n;
}

struct checker *checker_free(struct checker *c)
{
    for (struct map_slot *s = NULL; (s = map_next(&c->objects, s));)
        known_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&c->acknowledged, s));)
        ack_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&c->bound, s));)
        free((char *)(uintptr_t)s->key.p);
    for (struct map_slot *s; (s = map_next(&c->running, NULL));)
        run_free(c, s->value);
    guard_free(c->guard);
    map_fini(&c->running);
    map_fini(&c->objects);
    map_fini(&c->acknowledged);
    map_fini(&c->bound);
    free(c->app);
    free(c);
    return NULL;
}

/* ---- acknowledged writes ---- */

void checker_acknowledged(struct checker *c, const struct object *o)
{
    if (object_meta(o)->deletion_timestamp.set)
        return;
    char *key = key_of(o);
    struct ack *a = map_get(&c->acknowledged, str_z(key));
    if (a && a->rev >= o->rev) {
        free(key);
        return;
    }
    if (a) {
        (void)map_remove(&c->acknowledged, str_z(key));
        ack_free(a);
    }
    a = NEW(struct ack);
    *a = (struct ack){key, str_dup(object_meta(o)->uid), o->rev};
    (void)map_set(&c->acknowledged, str_z(key), a);
}

void checker_forget(struct checker *c, enum kind_id kind, const char *ns, const char *name)
{
    char *key = xasprintf("%u/%s/%s", kind, ns, name);
    struct ack *a = map_remove(&c->acknowledged, str_z(key));
    if (a)
        ack_free(a);
    free(key);
}

static void check_acknowledged(struct checker *c)
{
    for (struct map_slot *s = NULL; (s = map_next(&c->acknowledged, s));) {
        const struct ack *a = s->value;
        struct str rest = str_z(a->key), id, ns;
        uint64_t kind;
        (void)str_cut(&rest, '/', &id);
        (void)str_cut(&rest, '/', &ns);
        if (str_to_u64(id, &kind) < 0)
            continue;
        struct object *o = store_get(c->world->store, schema_kinds[kind], ns, rest);
        WORLD_CHECK(c->world, o && str_eqz(object_meta(o)->uid, a->uid), "acknowledged %s is lost",
                    a->key);
        WORLD_CHECK(c->world, o->rev >= a->rev, "%s was acknowledged at %llu and is at %llu",
                    a->key, (unsigned long long)a->rev, (unsigned long long)o->rev);
    }
}

/* ---- when all is quiet ---- */

static void check_cache(struct checker *c, enum kind_id kind)
{
    struct client_cache *cache = client_shared_find(c->world->shared, schema_kinds[kind]);
    if (!cache || schema_kinds[kind]->storage != kind)
        return;
    struct store_iter it;
    size_t n = 0;
    int r =
        store_iter_init(&it, c->world->store, schema_kinds[kind], STR_NONE, 0, STR_NONE, STR_NONE);
    ASSERT(r == 0);
    for (struct object *o; (o = store_iter_next(&it)); n++) {
        struct object *cached = client_cache_get(cache, object_ns(o), object_name(o));
        WORLD_CHECK(c->world, cached && cached->rev == o->rev,
                    "the cache has %s %.*s at %llu, the store at %llu", schema_kinds[kind]->kind,
                    STR_ARG(object_name(o)), (unsigned long long)(cached ? cached->rev : 0),
                    (unsigned long long)o->rev);
    }
    store_iter_fini(&it);
    WORLD_CHECK(c->world, client_cache_count(cache) == n,
                "the cache of %s has %zu objects, the store %zu", schema_kinds[kind]->kind,
                client_cache_count(cache), n);
}

void checker_quiet(struct checker *c)
{
    WORLD_CHECK(c->world, c->world->store, "the server is down");
    for (int k = 0; k < _KIND_MAX; k++)
        if (k != KIND_LEASE && k != KIND_NODE) /* heartbeats never rest */
            check_cache(c, (enum kind_id)k);
    check_acknowledged(c);
}

void checker_bounds(struct checker *c, const char *app, unsigned min_ready, unsigned max_total)
{
    free(c->app);
    c->app = max_total ? xstrdup(app) : NULL;
    c->min_ready = min_ready;
    c->max_total = max_total;
}

unsigned checker_template_changes(struct checker *c)
{
    return c->template_changes;
}

uint64_t checker_events_seen(struct checker *c)
{
    return c->events;
}

struct guard *checker_guard(struct checker *c)
{
    return c->guard;
}
