/* Ordered set of the objects of one kind by (namespace, name), lean in memory: one pointer an
 * object.
 *
 * Invariants: keys are unique; no chunk is empty; an object in the set is referenced by it.
 * Positions (struct index_pos) are valid until the next index_set or index_remove. */
#pragma once

#include "api/object.h"

struct index_chunk;

struct index {
    struct index_chunk **chunks; /* owned; in key order */
    size_t n_chunks, cap_chunks;
    size_t n; /* objects */
};

struct index_pos {
    size_t chunk, at;
};

void index_fini(struct index *ix); /* unrefs the objects; a zeroed index is a valid empty one */
struct object *index_get(const struct index *ix, struct str ns,
                         struct str name); /* borrowed or NULL */
/* Takes a reference on obj. The object that had its key before, or NULL: the reference is the
 * caller's. */
struct object *index_set(struct index *ix, struct object *obj) MUST_CHECK;
struct object *index_remove(struct index *ix, struct str ns,
                            struct str name) MUST_CHECK; /* ditto */

/* The first object whose key is >= (ns, name), or > with `after`. */
struct index_pos index_seek(const struct index *ix, struct str ns, struct str name, bool after);
struct object *index_at(const struct index *ix,
                        struct index_pos pos); /* borrowed; NULL at the end */
struct index_pos index_advance(const struct index *ix, struct index_pos pos);

/* Objects in [from, to); from is not behind to. Costs a look at every chunk between, at no object.
 */
size_t index_distance(const struct index *ix, struct index_pos from, struct index_pos to);

/* Order of keys: namespace first, bytewise. */
int index_key_cmp(struct str ns_a, struct str name_a, struct str ns_b, struct str name_b);

/* Calls fn for up to *budget objects from *pos on, moves *pos behind them and takes them off the
 * budget. False at the end. *pos may be stale. */
bool index_sweep(const struct index *ix, struct index_pos *pos, size_t *budget,
                 void (*fn)(struct object *o));
