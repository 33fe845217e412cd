/* Hash map from strings to pointers: open addressing, robin hood, power of two, iteration in table
 * order. Keys are borrowed: they must stay valid while they are in the map (usually they live in
 * the value). Zeroed is a valid empty map. Values are never NULL. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct map_slot {
    uint64_t hash; /* 0: free */
    struct str key;
    void *value;
};

struct map {
    struct map_slot *slots; /* owned */
    size_t n, cap;
};

void map_fini(struct map *m); /* does not touch the values */
void map_clear(struct map *m);
void *map_get(const struct map *m, struct str key);
/* Inserts or replaces (key is then the new one); the former value or NULL comes back. */
void *map_set(struct map *m, struct str key, void *value);
void *map_remove(struct map *m, struct str key); /* the former value or NULL */
/* for (struct map_slot *s = NULL; (s = map_next(m, s));) -- no insert or remove inside */
struct map_slot *map_next(const struct map *m, struct map_slot *s);
