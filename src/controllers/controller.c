/* Controllers: mapping of changes to keys, runs, and the wait for the caches. The wait is what
 * replaces the "expectations" other systems count by hand: every answered write leaves a mark
 * {kind, object, revision}, and the run's key stays taken until the cache of that kind is at least
 * so new. */
#include "controllers/controller_int.h"

#include <stdarg.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"

#define PARALLEL                                                                                   \
    64 /* keys of one controller under way: writes wait for the disk, so overlap them */
#define BACKOFF_MIN (5 * NSEC_PER_MSEC)
#define BACKOFF_MAX (60 * NSEC_PER_SEC)
#define SEEN_TIMEOUT                                                                               \
    (30 * NSEC_PER_SEC) /* a cache later than that is broken; better act than hang */

/* ---- keys ---- */

void controller_add(struct controller *c, struct str key)
{
    work_queue_add(c->queue, key);
}

void controller_add_after(struct controller *c, struct str key, nsec_t after)
{
    work_queue_add_after(c->queue, key, after);
}

void controller_add_name(struct controller *c, struct str ns, struct str name)
{
    char key[512];
    int n = str_empty(ns) ? snprintf(key, sizeof(key), "%.*s", STR_ARG(name))
                          : snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    ASSERT(n > 0 && n < (int)sizeof(key)); /* names are at most 253 bytes */
    work_queue_add(c->queue, (struct str){key, (size_t)n});
}

void controller_add_object(struct controller *c, const struct object *o)
{
    controller_add_name(c, object_ns(o), object_name(o));
}

void controller_map_self(struct controller *c, struct object *old, struct object *new)
{
    controller_add_object(c, new ? new : old);
}

static void add_owner(struct controller *c, const struct object *o)
{
    const struct schema_kind *kind = schema_kinds[c->row->watches[0].kind];
    const struct api_object_meta *m = object_meta(o);
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        const struct api_owner_reference *r = &m->owner_references[i];
        if (r->controller && str_eqz(r->kind, kind->kind) &&
            str_eqz(r->api_version, kind->api_version))
            controller_add_name(c, m->namespace, r->name);
    }
}

void controller_map_owner(struct controller *c, struct object *old, struct object *new)
{
    if (old)
        add_owner(c, old);
    if (new)
        add_owner(c, new);
}

/* ---- access ---- */

struct controllers *controller_all(struct controller *c)
{
    return c->all;
}

struct client_shared *controller_shared(struct controller *c)
{
    return c->all->shared;
}

struct rt *controller_rt(struct controller *c)
{
    return c->all->rt;
}

const struct controllers_opts *controller_opts(struct controller *c)
{
    return &c->all->opts;
}

void controller_set_state(struct controller *c, void *state)
{
    c->state = state;
}

void *controller_state(struct controller *c)
{
    return c->state;
}

struct client_cache *controller_cache(struct controller *c, enum kind_id kind)
{
    struct client_cache *cache = client_shared_find(c->all->shared, schema_kinds[kind]);
    ASSERT(cache); /* a row names all kinds it reads */
    return cache;
}

struct object *controller_find(struct controller *c, enum kind_id kind, struct str ns,
                               struct str name)
{
    return client_cache_get(controller_cache(c, kind), ns, name);
}

int controller_index(struct controller *c, enum kind_id kind, client_cache_index_fn fn)
{
    return client_shared_index(c->all->shared, schema_kinds[kind], fn);
}

struct event_recorder *controller_events(struct controller *c)
{
    if (!c->events) {
        char name[64];
        snprintf(name, sizeof(name), "%s-controller", c->row->name);
        c->events = event_recorder_new(c->all->client, name, NULL);
    }
    return c->events;
}

/* ---- runs ---- */

struct object *reconcile_get(struct reconcile *rc, enum kind_id kind, struct str ns,
                             struct str name)
{
    return controller_find(rc->controller, kind, ns, name);
}

struct object *reconcile_keep(struct reconcile *rc, struct object *o)
{
    struct run *r = run_of(rc);
    ARRAY_RESERVE(r->kept, r->n_kept, r->cap_kept);
    r->kept[r->n_kept++] = object_ref(o);
    return o;
}

void reconcile_again(struct reconcile *rc, nsec_t after)
{
    struct run *r = run_of(rc);
    if (r->again == 0 || after < r->again)
        r->again = MAX(after, 1);
}

void reconcile_fail(struct reconcile *rc, const char *fmt, ...)
{
    struct run *r = run_of(rc);
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    r->failed = true;
    log_info("controllers: %s %.*s: %s", rc->controller->row->name, STR_ARG(rc->key), text);
}

void run_unlink_free(struct run *r)
{
    list_remove(&r->node);
    for (size_t i = 0; i < r->n_kept; i++)
        (void)object_unref(r->kept[i]);
    free(r->kept);
    arena_fini(&r->memory);
    free(r);
}

static bool mark_seen(struct controllers *cs, const struct mark *m)
{
    struct client_cache *cache = client_shared_find(cs->shared, m->kind);
    if (!cache || (m->rev && client_cache_rev(cache) >= m->rev))
        return true;
    struct object *o = client_cache_get(cache, m->ns, m->name);
    if (m->is_delete)
        return !o || !str_eq(object_meta(o)->uid, m->uid) || object_meta(o)->deletion_timestamp.set;
    return o && o->rev >= m->rev;
}

static void run_end(struct run *r)
{
    struct controller *c = r->rc.controller;
    struct controllers *cs = c->all;
    if (r->again)
        work_queue_add_after(c->queue, r->rc.key, r->again);
    struct str key = {str_dup(r->rc.key), r->rc.key.n};
    bool ok = !r->failed;
    run_unlink_free(r);
    cs->n_runs--;
    work_queue_done(c->queue, key, ok);
    free((char *)(uintptr_t)key.p);
}

/* Ends the run if its marks are seen. */
static bool run_try_end(struct run *r)
{
    struct controllers *cs = r->rc.controller->all;
    bool late = rt_now(cs->rt) - r->answered > SEEN_TIMEOUT;
    for (struct mark *m = r->marks; m; m = m->next)
        if (!mark_seen(cs, m)) {
            if (!late)
                return false;
            log_warn("controllers: the cache of %s has not seen revision %llu", m->kind->plural,
                     (unsigned long long)m->rev);
            break;
        }
    run_end(r);
    return true;
}

/* Called when a call was answered or reconcile has returned. */
void run_settle(struct run *r)
{
    struct controllers *cs = r->rc.controller->all;
    if (r->n_calls > 0 || r->in_reconcile)
        return;
    r->answered = rt_now(cs->rt);
    if (run_try_end(r))
        return;
    list_remove(&r->node);
    list_push_back(&cs->waiting, &r->node);
    if (!rt_timer_active(&cs->timer))
        rt_timer_start(&cs->timer, SEEN_TIMEOUT);
}

static void check_waiting(void *arg)
{
    struct controllers *cs = arg;
    struct run *r;
    LIST_FOR_EACH (r, &cs->waiting, node)
        (void)run_try_end(r);
    if (!list_empty(&cs->waiting) && !rt_timer_active(&cs->timer))
        rt_timer_start(&cs->timer, SEEN_TIMEOUT);
}

static void split_key(struct reconcile *rc)
{
    struct str rest = rc->key;
    ssize_t slash = str_find(rest, '/');
    rc->ns = slash < 0 ? STR("") : str_sub(rest, 0, (size_t)slash);
    rc->name = slash < 0 ? rest : str_sub(rest, (size_t)slash + 1, rest.n);
}

static void run_start(void *arg, struct str key)
{
    struct controller *c = arg;
    struct run *r = NEW(struct run);
    arena_init(&r->memory, 0);
    r->rc.controller = c;
    r->rc.arena = &r->memory;
    r->rc.key = arena_str(&r->memory, key);
    r->rc.now = rt_wall(c->all->rt);
    split_key(&r->rc);
    list_init(&r->node);
    list_init(&r->calls);
    list_push_back(&c->all->running, &r->node);
    c->all->n_runs++;
    r->in_reconcile = true;
    trace("controller %s runs %s/%.*s", c->row->name, schema_kinds[c->row->watches[0].kind]->plural,
          STR_ARG(r->rc.key));
    c->row->reconcile(&r->rc);
    r->in_reconcile = false;
    run_settle(r);
}

/* ---- life ---- */

struct mapping {
    struct controller *controller;
    controller_map_fn map;
    struct mapping *next;
};

static void changed(void *arg, struct object *old, struct object *new)
{
    struct mapping *m = arg;
    m->map(m->controller, old, new);
}

static void cache_moved(void *arg, struct object *old, struct object *new)
{
    struct controllers *cs = arg;
    if (!list_empty(&cs->waiting))
        rt_task_schedule(&cs->check);
}

void controller_watch(struct controller *c, enum kind_id kind, controller_map_fn map)
{
    struct client_cache *cache = client_shared_cache(c->all->shared, schema_kinds[kind]);
    if (!map)
        return;
    struct mapping *m = NEW(struct mapping);
    *m = (struct mapping){.controller = c, .map = map, .next = c->all->mappings};
    c->all->mappings = m;
    client_cache_on_change(cache, changed, m);
}

static void controller_setup(struct controllers *cs, struct controller *c,
                             const struct controller_row *row)
{
    c->all = cs;
    c->row = row;
    for (unsigned i = 0; i < row->n_watches; i++)
        controller_watch(c, row->watches[i].kind, row->watches[i].map);
    const struct work_queue_opts opts = {
        .parallel = PARALLEL, .backoff_min = BACKOFF_MIN, .backoff_max = BACKOFF_MAX};
    c->queue = work_queue_new(cs->rt, &opts, run_start, c);
    if (row->init)
        row->init(c);
}

static void default_rates(struct controllers_opts *o)
{
    if (o->node_eviction_rate == 0)
        o->node_eviction_rate = 0.1;
    if (o->secondary_node_eviction_rate == 0)
        o->secondary_node_eviction_rate = 0.01;
    if (o->unhealthy_zone_threshold == 0)
        o->unhealthy_zone_threshold = 0.55;
    if (o->large_cluster_size_threshold == 0)
        o->large_cluster_size_threshold = 50;
}

struct controllers *controllers_new(struct client_shared *shared,
                                    const struct controllers_opts *opts)
{
    struct controllers *cs = NEW(struct controllers);
    cs->shared = shared;
    cs->client = client_shared_client(shared);
    cs->rt = cs->client->rt;
    cs->opts = *opts;
    cs->opts.root_ca_pem = opts->root_ca_pem ? xstrdup(opts->root_ca_pem) : NULL;
    cs->opts.node_grace = opts->node_grace ? opts->node_grace : 40 * NSEC_PER_SEC;
    cs->opts.pod_gc_period = opts->pod_gc_period ? opts->pod_gc_period : 20 * NSEC_PER_SEC;
    cs->opts.terminated_pods_max = opts->terminated_pods_max ? opts->terminated_pods_max : 12500;
    default_rates(&cs->opts);
    list_init(&cs->running);
    list_init(&cs->waiting);
    rt_task_init(&cs->check, cs->rt, check_waiting, cs);
    rt_timer_init(&cs->timer, cs->rt, check_waiting, cs);
    while (controller_rows[cs->n])
        cs->n++;
    cs->v = xcalloc(cs->n, sizeof(*cs->v));
    for (unsigned i = 0; i < cs->n; i++)
        controller_setup(cs, &cs->v[i], controller_rows[i]);
    for (int i = 0; i < _KIND_MAX; i++) {
        struct client_cache *cache = client_shared_find(shared, schema_kinds[i]);
        if (cache)
            client_cache_on_change(cache, cache_moved, cs);
    }
    return cs;
}

static void poll_synced(void *arg)
{
    struct controllers *cs = arg;
    if (!client_shared_synced(cs->shared)) {
        rt_timer_start(&cs->sync_timer, 5 * NSEC_PER_MSEC);
        return;
    }
    cs->synced = true;
    for (unsigned i = 0; i < cs->n; i++) {
        work_queue_pause(cs->v[i].queue, false);
        if (cs->v[i].row->start)
            cs->v[i].row->start(&cs->v[i]);
    }
}

void controllers_start(struct controllers *cs)
{
    for (unsigned i = 0; i < cs->n; i++)
        work_queue_pause(cs->v[i].queue, true);
    rt_timer_init(&cs->sync_timer, cs->rt, poll_synced, cs);
    rt_timer_start(&cs->sync_timer, 0);
}

bool controllers_idle(const struct controllers *cs)
{
    if (!cs->synced || cs->n_runs > 0)
        return false;
    for (unsigned i = 0; i < cs->n; i++)
        if (work_queue_ready(cs->v[i].queue) > 0)
            return false;
    return true;
}

struct controllers *controllers_free(struct controllers *cs)
{
    if (!cs)
        return NULL;
    struct run *r;
    rt_task_cancel(&cs->check);
    rt_timer_stop(&cs->timer);
    rt_timer_stop(&cs->sync_timer);
    LIST_FOR_EACH (r, &cs->waiting, node)
        run_unlink_free(r);
    LIST_FOR_EACH (r, &cs->running, node) {
        run_drop_calls(r);
        run_unlink_free(r);
    }
    for (unsigned i = 0; i < cs->n; i++) {
        if (cs->v[i].row->fini)
            cs->v[i].row->fini(&cs->v[i]);
        work_queue_free(cs->v[i].queue);
        event_recorder_free(cs->v[i].events);
    }
    while (cs->mappings) {
        struct mapping *m = cs->mappings;
        cs->mappings = m->next;
        free(m);
    }
    free(cs->v);
    free((char *)(uintptr_t)cs->opts.root_ca_pem);
    free(cs);
    return NULL;
}
