/* The memory of a cache: objects by namespace and name, and by any number of indexes. Private to
 * cache.c.
 *
 * A packed store keeps each object as protobuf and makes it anew for whoever asks; those are lent
 * until cache_store_settle.
 *
 * Invariants: an entry is in exactly one name map and in one bucket for each key its index
 * functions emit; empty maps and buckets do not exist. */
#pragma once

#include "client/cache.h"

struct cache_store {
    struct map spaces;       /* namespace -> struct cache_space, owned */
    struct catalog *indexes; /* owned; of struct cache_bucket, owned, by index key */
    client_cache_index_fn *index_fns;
    int n_indexes;
    size_t n;
    uint32_t mark; /* of the list being compared */
    bool packed;
    const struct schema_kind *kind;
    void (*trim)(void *msg, struct arena *a, const char *trim_for);
    const char *trim_for;
    struct object **lent; /* owned, as its objects are */
    size_t n_lent, cap_lent;
};

struct cache_ref {
    struct cache_bucket *bucket;
    uint32_t at; /* place in bucket->v */
};

/* Of ten thousands of small objects this is the greater part, so it is one block without gaps. */
struct cache_entry {
    union {
        struct object *object; /* owned */
        rev_t rev;             /* packed */
    };
    union {
        struct cache_ref *refs;      /* owned; with more than one */
        struct cache_bucket *bucket; /* with one, which is most: its bucket, and there: */
    };
    uint32_t at;
    uint32_t n_refs;
    uint32_t mark;
    uint32_t filed; /* hash of what the file says of it */
    uint32_t n;     /* packed: bytes of the object */
    uint16_t name_n;
    bool in_file;
    bool packed;
    char bytes[]; /* packed: the name, then the object */
};

struct cache_space {
    struct catalog names; /* of struct cache_entry, owned */
    size_t ns_len;
    char ns[];
};

void cache_store_fini(struct cache_store *st);
int cache_store_add_index(struct cache_store *st, client_cache_index_fn fn); /* while empty */
struct cache_entry *cache_store_find(const struct cache_store *st, struct str ns, struct str name);
rev_t cache_entry_rev(const struct cache_entry *e);
struct str cache_entry_name(const struct cache_entry *e);
/* What cache_entry_encoded gave. It is known to decode. */
struct object *cache_object_decode(const struct schema_kind *kind, struct str name,
                                   struct str bytes, rev_t rev);
/* The object as protobuf, trimmed, without name and revision: packed, what is kept; else made from
 * o into b. */
struct str cache_entry_encoded(const struct cache_store *st, const struct cache_entry *e,
                               const struct object *o, struct buf *b);
/* Borrowed; packed: until cache_store_settle. */
struct object *cache_entry_object(struct cache_store *st, struct cache_entry *e);
void cache_store_settle(struct cache_store *st);
/* Takes a reference on o. The entry there was is another one afterwards. */
void cache_store_set(struct cache_store *st, struct object *o);
void cache_store_remove(struct cache_store *st, struct str ns, struct str name);
/* Entries of one index key; borrowed until the next change. */
void **cache_store_bucket(const struct cache_store *st, int index, struct str key, size_t *ret_n);
