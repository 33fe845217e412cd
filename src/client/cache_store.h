/* The memory of a cache: objects by namespace and name, and by any number of indexes. Private to
 * cache.c.
 *
 * Invariants: an entry is in exactly one name map and in one bucket for each key its index
 * functions emit; empty maps and buckets do not exist. */
#pragma once

#include "client/cache.h"

struct cache_store {
    struct map spaces;   /* namespace -> struct cache_space, owned */
    struct map *indexes; /* owned; index key -> struct cache_bucket, owned */
    client_cache_index_fn *index_fns;
    int n_indexes;
    size_t n;
    uint32_t mark; /* of the list being compared */
};

struct cache_entry {
    struct object *object;  /* owned */
    struct cache_ref *refs; /* owned */
    uint32_t n_refs;
    uint32_t mark;
};

struct cache_space {
    struct map names; /* name (borrowed from the object) -> struct cache_entry, owned */
    size_t ns_len;
    char ns[];
};

void cache_store_fini(struct cache_store *st);
int cache_store_add_index(struct cache_store *st, client_cache_index_fn fn); /* while empty */
struct cache_entry *cache_store_find(const struct cache_store *st, struct str ns, struct str name);
/* Takes a reference on o. The object it replaced, or NULL: the reference is the caller's. */
struct object *cache_store_set(struct cache_store *st, struct object *o) MUST_CHECK;
struct object *cache_store_remove(struct cache_store *st, struct str ns,
                                  struct str name) MUST_CHECK;
/* Entries of one index key; borrowed until the next change. */
void **cache_store_bucket(const struct cache_store *st, int index, struct str key, size_t *ret_n);
