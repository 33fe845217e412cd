/* Between cache.c (list and watch) and cache_disk.c (the file). */
#pragma once

#include "base/sm.h"
#include "client/cache_file.h"
#include "client/cache_store.h"

enum cache_state {
    CACHE_IDLE,
    CACHE_LISTING,
    CACHE_WATCHING,
    CACHE_WAITING,
    _CACHE_STATE_MAX,
};

struct handler {
    client_cache_change_fn change;
    void (*synced)(void *arg);
    void *arg;
};

struct handlers {
    struct handler *v;
    size_t n, cap;
};

/* Outlives the cache when the reply does. */
struct list_call {
    struct client_cache *cache; /* NULL: freed meanwhile */
};

struct client_cache {
    struct client *client;
    const struct schema_kind *kind;
    char *ns, *label_selector, *field_selector; /* owned; NULL: absent */
    struct sm state;
    struct cache_store store;
    struct handlers change, synced;
    struct list_call *listing; /* under way */
    bool identities_only;
    struct client_watch *watch;
    struct rt_timer timer;
    rev_t rev;
    nsec_t watch_started;
    rev_t watch_from;  /* where the watch began: further on, it was of use */
    unsigned failures; /* in a row */
    bool is_synced, relist;
    struct client_cache_stats stats;
    struct rt_task settle; /* end of the turn: lent objects go */
    uint32_t page;
    rev_t list_rev;
    char *continue_; /* owned; of the list under way; NULL: at its beginning */

    /* cache_disk.c */
    struct cache_file *file;    /* owned; NULL: none */
    struct cache_loaded loaded; /* being told */
    size_t told;                /* so many of them */
    struct rt_task tell;
    struct rt_timer patience;
    nsec_t patience_span;
    bool heard; /* the server has begun to answer the first list, or refuses us */
    enum {
        DISK_IDLE,
        DISK_LOADING, /* the file is being read */
        DISK_TELLING, /* what it says is being told */
        DISK_NONE,    /* it said nothing; the list will begin another */
        DISK_OPEN,    /* changes are written */
    } disk;
    bool restoring; /* what changes now is in the file already */
    bool stale;
};

/* ---- cache.c ---- */
void cache_object_set(struct client_cache *c, struct object *o, bool listed);
void cache_became_synced(struct client_cache *c);

/* ---- cache_disk.c; all of it does nothing without a file ---- */
void cache_disk_new(struct client_cache *c, const struct client_cache_opts *opts);
void cache_disk_free(struct client_cache *c, bool remove);
void cache_disk_start(struct client_cache *c);
/* An answer to the list: 0, or why there was none. Before what it says is taken over. */
void cache_disk_answered(struct client_cache *c, int r, bool away);
void cache_disk_listed(struct client_cache *c); /* the list is whole */
void cache_disk_set(struct client_cache *c, struct cache_entry *e, const struct object *o);
void cache_disk_drop(struct client_cache *c, struct str ns, struct str name);
