/* A cache and its file. What changes in the cache is appended; what is read back goes through the
 * same door as a list, some objects a turn, so that ten thousand of them do not hold the loop. A
 * list that is answered in the middle of that waits for the rest: after it there is one state to
 * compare with, and the file says just that one. */
#include "base/hash.h"
#include "base/mem.h"
#include "client/cache_int.h"

#define PATIENCE  (2 * NSEC_PER_SEC)
#define TELL_ONCE 256

/* ---- writing ---- */

static uint32_t hash_of(struct str s)
{
    return hash_fnv1a32(s.p, s.n);
}

/* o is not looked at when the store is packed. */
static void write_entry(struct client_cache *c, struct str ns, struct cache_entry *e,
                        const struct object *o)
{
    struct buf b = {0};
    struct cache_record r = {
        .ns = ns,
        .name = cache_entry_name(e),
        .rev = cache_entry_rev(e),
        .object = cache_entry_encoded(&c->store, e, o, &b),
    };
    uint32_t hash = hash_of(r.object);
    /* Heartbeats and other fields nobody reads: the older revision on disk does no harm. */
    if (e->filed != hash || !e->in_file) {
        cache_file_set(c->file, &r);
        e->filed = hash;
        e->in_file = true;
    }
    buf_fini(&b);
}

void cache_disk_set(struct client_cache *c, struct cache_entry *e, const struct object *o)
{
    if (c->file && !c->restoring && cache_file_is_open(c->file))
        write_entry(c, object_ns(o), e, o);
}

/* The disk refused for a while, and changes went past it: all there is, again. In one turn, since
 * packed objects are only copied: some milliseconds for ten thousand. */
static void write_all(void *arg)
{
    struct client_cache *c = arg;

    cache_file_begin(c->file);
    for (struct map_slot *s = NULL; (s = map_next(&c->store.spaces, s));) {
        struct cache_space *space = s->value;
        struct cache_entry *e;
        for (uint32_t at = 0; (e = catalog_next(&space->names, &at));) {
            e->in_file = false;
            write_entry(c, (struct str){space->ns, space->ns_len}, e, e->packed ? NULL : e->object);
        }
    }
    if (c->is_synced)
        cache_file_whole(c->file);
}

void cache_disk_drop(struct client_cache *c, struct str ns, struct str name)
{
    if (c->file)
        cache_file_delete(c->file, ns, name);
}

void cache_disk_listed(struct client_cache *c)
{
    c->stale = false;
    if (c->file)
        cache_file_whole(c->file);
}

/* ---- reading ---- */

static void tell_one(struct client_cache *c, const struct cache_record *r)
{
    struct object *o = cache_object_decode(c->kind, r->name, r->object, r->rev);
    struct cache_entry *e;

    cache_object_set(c, o, true);
    e = cache_store_find(&c->store, r->ns, r->name);
    if (e) {
        e->filed = hash_of(r->object);
        e->in_file = true;
    }
    (void)object_unref(o);
    cache_store_settle(&c->store);
}

static void tell_some(struct client_cache *c, size_t most)
{
    c->restoring = true;
    for (; most && c->told < c->loaded.n; most--)
        tell_one(c, &c->loaded.v[c->told++]);
    c->restoring = false;
    if (c->told < c->loaded.n) {
        rt_task_schedule(&c->tell);
        return;
    }
    rt_task_cancel(&c->tell);
    cache_file_resume(c->file, c->loaded.good);
    cache_loaded_fini(&c->loaded);
    c->disk = DISK_OPEN;
    c->stale = true;
    cache_became_synced(c);
}

static void tell(void *arg)
{
    tell_some(arg, TELL_ONCE);
}

static void on_loaded(void *arg, int r, struct cache_loaded *l)
{
    struct client_cache *c = arg;

    ASSERT(c->disk == DISK_LOADING);
    if (r < 0) {
        c->disk = DISK_NONE;
        return;
    }
    c->disk = DISK_TELLING;
    c->loaded = *l;
    c->told = 0;
    rt_task_schedule(&c->tell);
}

static void load(void *arg)
{
    struct client_cache *c = arg;

    if (c->heard || c->disk != DISK_IDLE)
        return;
    c->disk = DISK_LOADING;
    cache_file_load(c->file, on_loaded, c);
}

void cache_disk_answered(struct client_cache *c, int r, bool away)
{
    if (!c->file || c->disk == DISK_OPEN)
        return;
    c->heard = r == 0 || !away;
    if (!c->heard && !rt_timer_active(&c->patience))
        load(c);
    if (r < 0)
        return;
    if (c->disk == DISK_TELLING) {
        tell_some(c, c->loaded.n);
        return;
    }
    if (c->disk == DISK_LOADING)
        cache_file_cancel_load(c->file);
    cache_file_begin(c->file);
    c->disk = DISK_OPEN;
}

/* ---- life ---- */

/* What is selected makes another cache of the same kind; so does what is left out of the objects.
 */
static struct str describe(const struct client_cache_opts *o, struct arena *a)
{
    return arena_printf(a, "%s %s\nnamespace %.*s\nlabels %.*s\nfields %.*s\n%s%s",
                        o->kind->api_version, o->kind->kind, STR_ARG(o->ns),
                        STR_ARG(o->label_selector), STR_ARG(o->field_selector),
                        o->trim_for ? "for " : "", o->trim_for ? o->trim_for : "");
}

void cache_disk_new(struct client_cache *c, const struct client_cache_opts *o)
{
    struct arena a = {0};

    if (!o->file)
        return;
    c->file = cache_file_new(c->client->rt, o->file, o->kind, describe(o, &a));
    cache_file_on_retry(c->file, write_all, c);
    c->patience_span = o->patience ? o->patience : PATIENCE;
    rt_timer_init(&c->patience, c->client->rt, load, c);
    rt_task_init(&c->tell, c->client->rt, tell, c);
    arena_fini(&a);
}

void cache_disk_start(struct client_cache *c)
{
    if (c->file)
        rt_timer_start(&c->patience, c->patience_span);
}

void cache_disk_free(struct client_cache *c, bool remove)
{
    if (!c->file)
        return;
    rt_timer_stop(&c->patience);
    rt_task_cancel(&c->tell);
    cache_loaded_fini(&c->loaded);
    c->file = cache_file_free(c->file, remove);
}
