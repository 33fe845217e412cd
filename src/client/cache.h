/* List-watch cache: a mirror of one kind (or a selected part) kept true by list, then watch, then
 * relist with back-off when the stream breaks or its revision is gone. Handlers run on the client's
 * loop. */
#pragma once

#include "base/catalog.h"
#include "base/map.h"
#include "client/client.h"

struct client_cache;

struct client_cache_opts {
    const struct schema_kind *kind;
    struct str ns, label_selector, field_selector; /* copied */
    /* For many objects that are looked at seldom, on a machine that should be small: they are kept
     * encoded, a fifth or less of their size. An object that get and iteration give is then made
     * anew, and borrowed until the end of the loop's turn. */
    bool packed;
    /* For what is kept packed or in a file; may be NULL: empties fields nobody here reads. msg is a
     * copy of the outermost struct, what it points to is frozen; the arena lasts long enough. */
    void (*trim)(void *msg, struct arena *a, const char *trim_for);
    /* For trim; may be NULL. Borrowed, as long as the cache lives. A file that was made for another
     * one is not read. */
    const char *trim_for;
    /* For whoever keeps what it needs itself, of many objects: the cache keeps namespace, name, uid
     * and revision alone. Handlers get new objects whole; of old ones, of those iterated, got and
     * indexed only object_meta may be used. */
    bool identities_only;
    uint32_t page; /* list so many at a time; 0: all at once. Bounds the memory of a list */
    /* A file (cache_file.h) that says what the cache holds; NULL: none. Copied. It is read back
     * only when the server has not begun to answer the first list within `patience` (0: 2 s) of the
     * start, because it cannot be reached: then the handlers hear of what it holds, trimmed, the
     * cache counts as synced, and the first real list tells the differences. */
    const char *file;
    nsec_t patience;
};

/* old NULL: added; new NULL: deleted; both: changed (also after a relist found a difference). Both
 * borrowed. */
typedef void (*client_cache_change_fn)(void *arg, struct object *old, struct object *new);

struct client_cache *client_cache_new(struct client *c, const struct client_cache_opts *opts);
struct client_cache *
client_cache_free(struct client_cache *cache); /* takes NULL; returns NULL; not from a handler */
/* The same, and its file goes: nobody needs it any more. */
struct client_cache *client_cache_forget(struct client_cache *cache);
/* Any number of handlers; add them before client_cache_start (on_synced: also later, before it is
 * synced). */
void client_cache_on_change(struct client_cache *cache, client_cache_change_fn fn, void *arg);
void client_cache_on_synced(struct client_cache *cache, void (*fn)(void *arg),
                            void *arg); /* first full list is in, or what was on disk */
/* An index: emit() is called by fn for each key of obj. Add before start. Returns the index's
 * number. */
typedef void (*client_cache_emit_fn)(void *ctx, struct str key);
typedef void (*client_cache_index_fn)(struct object *obj, client_cache_emit_fn emit, void *ctx);
int client_cache_add_index(struct client_cache *cache, client_cache_index_fn fn);
void client_cache_start(struct client_cache *cache);

const struct schema_kind *client_cache_kind(const struct client_cache *cache);
bool client_cache_synced(const struct client_cache *cache);
bool client_cache_stale(const struct client_cache *cache); /* synced from its file alone, so far */
rev_t client_cache_rev(const struct client_cache *cache);  /* everything up to here is in */
struct object *client_cache_get(struct client_cache *cache, struct str ns,
                                struct str name); /* borrowed or NULL */
size_t client_cache_count(const struct client_cache *cache);

/* Iteration in no particular order; no change of the cache meanwhile (same turn).
 *   struct client_cache_iter it; client_cache_iter_init(&it, cache, ns|STR_NONE);
 *   while ((o = client_cache_iter_next(&it))) ...
 * Costs what it yields: one namespace, one index key or all. Nothing to release. */
struct client_cache_iter {
    struct client_cache *cache;
    const struct map *spaces; /* private, as all of it */
    struct map_slot *space;
    const struct catalog *names;
    uint32_t at;
    void **bucket;
    size_t n, i;
};
void client_cache_iter_init(struct client_cache_iter *it, struct client_cache *cache,
                            struct str ns);
void client_cache_iter_init_index(struct client_cache_iter *it, struct client_cache *cache,
                                  int index, struct str key);
struct object *client_cache_iter_next(struct client_cache_iter *it);

/* Packed: what was lent so far is no longer used. For who walks over many in one turn. */
void client_cache_release(struct client_cache *cache);

/* Figures for metrics and tests. */
struct client_cache_stats {
    uint64_t lists, watches, events, errors;
    int file_error; /* why nothing more is written to the file; 0 */
};
void client_cache_stats(const struct client_cache *cache, struct client_cache_stats *ret);
