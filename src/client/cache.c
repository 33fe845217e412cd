/* The list-watch loop of a cache. Its promise is that handlers see a chain of states without holes,
 * whatever the connection does: after any break it goes on from the last revision it has seen, and
 * when that is gone it lists again and tells the differences.
 *
 *   IDLE -> LISTING -> WATCHING --error--> WAITING --> WATCHING (from the last revision)
 *              ^  \--error--> WAITING --> LISTING             \--> LISTING (revision gone) */
#include "base/mem.h"
#include "client/cache_int.h"

#define CACHE_BACKOFF_MIN   (100 * NSEC_PER_MSEC)
#define CACHE_BACKOFF_MAX   (30 * NSEC_PER_SEC) /* the server refuses us: it will go on doing so */
#define CACHE_RECONNECT_MAX (2 * NSEC_PER_SEC)  /* nobody answers: be there soon when it is back */
#define CACHE_STABLE        (5 * NSEC_PER_SEC)  /* a watch that lasted so long had no trouble */

static const struct sm_state cache_states[_CACHE_STATE_MAX] = {
    [CACHE_IDLE] = {"idle", SM_INITIAL, SM_TO(CACHE_LISTING)},
    [CACHE_LISTING] = {"listing", 0, SM_TO(CACHE_WATCHING) | SM_TO(CACHE_WAITING)},
    [CACHE_WATCHING] = {"watching", 0, SM_TO(CACHE_WAITING)},
    [CACHE_WAITING] = {"waiting", 0, SM_TO(CACHE_LISTING) | SM_TO(CACHE_WATCHING)},
};

static void list_start(struct client_cache *c);
static void list_send(struct client_cache *c);
static void watch_start(struct client_cache *c);

static char *dup_or_null(struct str s)
{
    return s.p && s.n ? str_dup(s) : NULL;
}

static struct object *lend(struct client_cache *c, struct cache_entry *e)
{
    if (e->packed)
        rt_task_schedule_late(&c->settle);
    return cache_entry_object(&c->store, e);
}

static void settle(void *arg)
{
    struct client_cache *c = arg;
    cache_store_settle(&c->store);
}

static void tell(struct client_cache *c, struct object *old, struct object *new)
{
    for (size_t i = 0; i < c->change.n; i++)
        c->change.v[i].change(c->change.v[i].arg, old, new);
}

/* What is kept of o. */
static struct object *keep(const struct client_cache *c, struct object *o)
{
    static const struct schema_kind identity = {.desc = &api_partial_object_metadata_desc};
    const struct api_object_meta *m = object_meta(o);
    struct api_partial_object_metadata id = {
        .metadata = {.namespace = m->namespace, .name = m->name, .uid = m->uid}};

    return c->identities_only ? object_new(&identity, &id, o->rev) : object_ref(o);
}

/* A list says how things are (also after the server was set back); an event may be old news. */
void cache_object_set(struct client_cache *c, struct object *o, bool listed)
{
    struct cache_entry *e = cache_store_find(&c->store, object_ns(o), object_name(o));
    struct object *old = NULL, *kept;

    if (e && o->rev && (listed ? cache_entry_rev(e) == o->rev : cache_entry_rev(e) >= o->rev)) {
        e->mark = c->store.mark;
        return;
    }
    if (e && c->change.n)
        old = object_ref(lend(c, e));
    kept = keep(c, o);
    cache_store_set(&c->store, kept);
    (void)object_unref(kept);
    e = cache_store_find(&c->store, object_ns(o), object_name(o));
    e->mark = c->store.mark;
    cache_disk_set(c, e, o);
    tell(c, old, o);
    (void)object_unref(old);
}

static void object_drop(struct client_cache *c, struct str ns, struct str name, struct object *last)
{
    struct cache_entry *e = cache_store_find(&c->store, ns, name);
    struct object *old;

    if (!e)
        return;
    old = object_ref(lend(c, e));
    cache_disk_drop(c, ns, name);
    cache_store_remove(&c->store, ns, name);
    /* the newest state known: what the delete said, if it said more */
    tell(c, last && last->rev > old->rev ? last : old, NULL);
    (void)object_unref(old);
}

/* ---- waiting ---- */

static void wait_over(void *arg)
{
    struct client_cache *c = arg;

    if (c->relist)
        list_start(c);
    else
        watch_start(c);
}

/* No answer at all, or one of a server that is just coming up or going down. */
static bool server_away(int r)
{
    return r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT || r == -EPIPE ||
           r == -EHOSTUNREACH || r == -ENETUNREACH || r == -ECONNABORTED || r == -EIO ||
           r == -EAGAIN;
}

static void wait_start(struct client_cache *c, bool relist, int r)
{
    nsec_t span = CACHE_BACKOFF_MIN << MIN(c->failures, 9u);
    nsec_t span_max = server_away(r) ? CACHE_RECONNECT_MAX : CACHE_BACKOFF_MAX;

    sm_move(&c->state, CACHE_WAITING);
    c->relist = relist;
    c->failures++;
    c->stats.errors++;
    rt_timer_start(&c->timer, rt_jitter(c->client->rt, MIN(span, span_max), 0.3));
}

/* ---- listing ---- */

static void drop_unmarked(struct client_cache *c)
{
    struct object **gone = NULL;
    size_t n = 0, cap = 0;

    for (struct map_slot *s = NULL; (s = map_next(&c->store.spaces, s));) {
        struct cache_space *space = s->value;
        struct cache_entry *e;
        for (uint32_t at = 0; (e = catalog_next(&space->names, &at));) {
            if (e->mark == c->store.mark)
                continue;
            ARRAY_RESERVE(gone, n, cap);
            gone[n++] = object_ref(lend(c, e));
        }
    }
    for (size_t i = 0; i < n; i++) {
        object_drop(c, object_ns(gone[i]), object_name(gone[i]), NULL);
        (void)object_unref(gone[i]);
    }
    free(gone);
}

void cache_became_synced(struct client_cache *c)
{
    if (c->is_synced)
        return;
    c->is_synced = true;
    for (size_t i = 0; i < c->synced.n; i++)
        c->synced.v[i].synced(c->synced.v[i].arg);
}

static void list_done(void *arg, const struct client_reply *reply)
{
    struct list_call *call = arg;
    struct client_cache *c = call->cache;

    free(call);
    if (!c)
        return;
    c->listing = NULL;
    cache_disk_answered(c, reply->r, server_away(reply->r));
    if (reply->r < 0) {
        free(c->continue_);
        c->continue_ = NULL;
        wait_start(c, true, reply->r);
        return;
    }
    if (!c->continue_) {
        c->store.mark++;
        c->list_rev = reply->rev; /* later pages may know more: the watch repeats it */
    }
    for (size_t i = 0; i < reply->n_items; i++)
        cache_object_set(c, reply->items[i], true);
    free(c->continue_);
    c->continue_ = dup_or_null(reply->continue_);
    if (c->continue_) {
        list_send(c);
        return;
    }
    drop_unmarked(c);
    c->rev = c->list_rev;
    cache_disk_listed(c);
    watch_start(c);
    cache_became_synced(c);
}

static void list_dropped(void *arg)
{
    struct list_call *call = arg;

    if (call->cache)
        call->cache->listing = NULL;
    free(call);
}

/* One page; list_done asks for the next. */
static void list_send(struct client_cache *c)
{
    struct client_request req = {.verb = CLIENT_LIST,
                                 .dropped = list_dropped,
                                 .kind = c->kind,
                                 .ns = str_z(c->ns),
                                 .label_selector = str_z(c->label_selector),
                                 .field_selector = str_z(c->field_selector),
                                 .limit = c->page,
                                 .continue_ = str_z(c->continue_)};

    c->listing = NEW(struct list_call);
    c->listing->cache = c;
    client_call(c->client, &req, list_done, c->listing);
}

static void list_start(struct client_cache *c)
{
    sm_move(&c->state, CACHE_LISTING);
    free(TAKE_PTR(c->continue_));
    c->stats.lists++;
    list_send(c);
}

/* ---- watching ---- */

static void watch_ended(struct client_cache *c, const struct error *err)
{
    bool gone = err && (err->reason == REASON_EXPIRED || err->reason == REASON_GONE);

    client_watch_stop(c->client, TAKE_PTR(c->watch));
    /* A server that cuts off a slow watcher now and then must not be waited for longer and longer.
     */
    if (c->rev > c->watch_from || rt_now(c->client->rt) - c->watch_started >= CACHE_STABLE)
        c->failures = 0;
    /* After a long absence the revision has expired: the server is there, and the list is to be
     * fetched now. */
    if (gone)
        c->failures = MIN(c->failures, 2u);
    wait_start(c, gone, err ? error_reason_errno(err->reason) : -ECONNRESET);
}

static void on_events(void *arg, const struct client_event *events, size_t n)
{
    struct client_cache *c = arg;

    for (size_t i = 0; i < n; i++) {
        const struct client_event *ev = &events[i];
        c->stats.events++;
        switch (ev->type) {
        case CLIENT_EVENT_ADDED:
        case CLIENT_EVENT_MODIFIED:
            cache_object_set(c, ev->object, false);
            break;
        case CLIENT_EVENT_DELETED:
            object_drop(c, object_ns(ev->object), object_name(ev->object), ev->object);
            break;
        case CLIENT_EVENT_BOOKMARK:
            break;
        case CLIENT_EVENT_ERROR:
            watch_ended(c, ev->err);
            return;
        }
        c->rev = MAX(c->rev, ev->rev);
        if (ev->object)
            c->rev = MAX(c->rev, ev->object->rev);
    }
}

static void watch_start(struct client_cache *c)
{
    struct client_watch_opts opts = {.kind = c->kind,
                                     .ns = str_z(c->ns),
                                     .label_selector = str_z(c->label_selector),
                                     .field_selector = str_z(c->field_selector),
                                     .from_rev = c->rev};

    sm_move(&c->state, CACHE_WATCHING);
    c->watch_started = rt_now(c->client->rt);
    c->watch_from = c->rev;
    c->stats.watches++;
    c->watch = client_watch_start(c->client, &opts, on_events, c);
    ASSERT(c->watch != NULL);
}

/* ---- making and asking ---- */

struct client_cache *client_cache_new(struct client *client, const struct client_cache_opts *opts)
{
    struct client_cache *c = NEW(struct client_cache);

    c->client = client;
    c->kind = opts->kind;
    c->ns = dup_or_null(opts->ns);
    c->label_selector = dup_or_null(opts->label_selector);
    c->field_selector = dup_or_null(opts->field_selector);
    c->identities_only = opts->identities_only;
    sm_init(&c->state, cache_states, _CACHE_STATE_MAX, CACHE_IDLE, "cache", opts->kind->id);
    rt_timer_init(&c->timer, client->rt, wait_over, c);
    rt_task_init(&c->settle, client->rt, settle, c);
    c->store.packed = opts->packed;
    c->store.kind = opts->kind;
    c->store.trim = opts->trim;
    c->store.trim_for = opts->trim_for;
    c->page = opts->page;
    cache_disk_new(c, opts);
    return c;
}

static struct client_cache *cache_free(struct client_cache *c, bool forget)
{
    if (!c)
        return NULL;
    cache_disk_free(c, forget);
    if (c->listing)
        c->listing->cache = NULL;
    if (c->watch)
        client_watch_stop(c->client, c->watch);
    rt_timer_stop(&c->timer);
    rt_task_cancel(&c->settle);
    free(c->continue_);
    cache_store_fini(&c->store);
    free(c->change.v);
    free(c->synced.v);
    free(c->ns);
    free(c->label_selector);
    free(c->field_selector);
    free(c);
    return NULL;
}

struct client_cache *client_cache_free(struct client_cache *c)
{
    return cache_free(c, false);
}

struct client_cache *client_cache_forget(struct client_cache *c)
{
    return cache_free(c, true);
}

static void handlers_add(struct handlers *h, struct handler handler)
{
    ARRAY_RESERVE(h->v, h->n, h->cap);
    h->v[h->n++] = handler;
}

void client_cache_on_change(struct client_cache *c, client_cache_change_fn fn, void *arg)
{
    ASSERT(c->state.state == CACHE_IDLE);
    handlers_add(&c->change, (struct handler){.change = fn, .arg = arg});
}

void client_cache_on_synced(struct client_cache *c, void (*fn)(void *arg), void *arg)
{
    handlers_add(&c->synced, (struct handler){.synced = fn, .arg = arg});
}

int client_cache_add_index(struct client_cache *c, client_cache_index_fn fn)
{
    ASSERT(c->state.state == CACHE_IDLE);
    return cache_store_add_index(&c->store, fn);
}

void client_cache_start(struct client_cache *c)
{
    cache_disk_start(c);
    list_start(c);
}

const struct schema_kind *client_cache_kind(const struct client_cache *cache)
{
    return cache->kind;
}

bool client_cache_synced(const struct client_cache *c)
{
    return c->is_synced;
}

bool client_cache_stale(const struct client_cache *c)
{
    return c->stale;
}

rev_t client_cache_rev(const struct client_cache *c)
{
    return c->rev;
}

struct object *client_cache_get(struct client_cache *c, struct str ns, struct str name)
{
    struct cache_entry *e = cache_store_find(&c->store, ns, name);

    return e ? lend(c, e) : NULL;
}

void client_cache_release(struct client_cache *c)
{
    cache_store_settle(&c->store);
}

size_t client_cache_count(const struct client_cache *c)
{
    return c->store.n;
}

void client_cache_stats(const struct client_cache *c, struct client_cache_stats *ret)
{
    *ret = c->stats;
    ret->file_error = c->file ? cache_file_error(c->file) : 0;
}

void client_cache_iter_init(struct client_cache_iter *it, struct client_cache *c, struct str ns)
{
    *it = (struct client_cache_iter){.cache = c};
    if (str_empty(ns)) {
        it->spaces = &c->store.spaces;
    } else {
        struct cache_space *space = map_get(&c->store.spaces, ns);
        it->names = space ? &space->names : NULL;
    }
}

void client_cache_iter_init_index(struct client_cache_iter *it, struct client_cache *c, int index,
                                  struct str key)
{
    *it = (struct client_cache_iter){.cache = c};
    it->bucket = cache_store_bucket(&c->store, index, key, &it->n);
}

struct object *client_cache_iter_next(struct client_cache_iter *it)
{
    if (it->bucket)
        return it->i < it->n ? lend(it->cache, it->bucket[it->i++]) : NULL;
    for (;;) {
        struct cache_entry *e = it->names ? catalog_next(it->names, &it->at) : NULL;
        if (e)
            return lend(it->cache, e);
        it->names = NULL;
        if (!it->spaces || !(it->space = map_next(it->spaces, it->space)))
            return NULL;
        it->names = &((struct cache_space *)it->space->value)->names;
        it->at = 0;
    }
}
