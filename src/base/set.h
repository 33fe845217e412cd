/* A set of strings for "was this one there already": what every check for duplicates needs. The
 * first few are compared one by one, which for the lists people write is all and costs no memory;
 * from then on a hash map does it, so that a list of a hundred thousand costs a hundred thousand
 * steps.
 *
 * Keys are borrowed and must stay valid as long as the set, unless they are added by set_add_copy.
 * Zeroed is a valid empty set. */
#pragma once

#include "base/arena.h"
#include "base/map.h"

#define SET_FEW 16

struct set {
    struct str few[SET_FEW];
    uint32_t n; /* keys in few; SET_FEW once the map is in use */
    struct map many;
    struct arena copies;
};

void set_fini(struct set *s);
bool set_has(const struct set *s, struct str key);
/* True when key was not there. */
bool set_add(struct set *s, struct str key);
/* The same for a key that does not last: it is copied when it is new. */
bool set_add_copy(struct set *s, struct str key);
