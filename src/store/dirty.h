/* The writes that are in the journal and not yet in the database: the newest one of each key. */
#pragma once

#include "base/map.h"
#include "store/backend.h"

struct dirty_entry {
    const struct schema_kind *kind;
    struct object *object; /* owned; NULL: deleted, or `raw` */
    rev_t rev;
    struct str raw; /* encoded value, found in the journal at open; absent: none */
    uint32_t key_len;
    char key[]; /* as in the database; the raw value lies behind it */
};

struct dirty {
    struct map entries; /* owned */
    uint64_t bytes;     /* of the objects' messages */
};

void dirty_clear(struct dirty *d);
void dirty_put(struct dirty *d, const struct store_op *op, struct buf *scratch);
void dirty_put_raw(struct dirty *d, struct str key, struct str value); /* value absent: deleted */
/* Moves all of `older` into d but what d knows better; older is empty then. */
void dirty_merge(struct dirty *d, struct dirty *older);
/* The entries in order of their keys; the array is the caller's, the entries stay d's. */
struct dirty_entry **dirty_sorted(const struct dirty *d, size_t *ret_n);
