/* Hash map of values that know their own keys: 12 bytes a place where struct map takes 32, and
 * steps of growth of a third to a half instead of doubling. For maps that every Service is in.
 * Open addressing, robin hood. Values are borrowed and never NULL; a value's key does not change
 * while it is in. Up to 2^31 of them. */
#pragma once

#include "base/base.h"
#include "base/str.h"

/* The key may point into the value; it is used before the next call. */
typedef struct str (*catalog_key_fn)(const void *value);

struct catalog {
    catalog_key_fn key;
    void **values;    /* owned; NULL: a free place */
    uint32_t *hashes; /* in the same block */
    uint32_t n, cap;
};

#define CATALOG(key_fn) ((struct catalog){.key = (key_fn)}) /* an empty one */

void catalog_fini(struct catalog *c); /* does not touch the values; it is empty then, and usable */
void *catalog_get(const struct catalog *c, struct str key);
/* Inserts or replaces; the former value of that key or NULL comes back. */
void *catalog_set(struct catalog *c, void *value);
void *catalog_remove(struct catalog *c, struct str key); /* the former value or NULL */
/* for (uint32_t at = 0; (v = catalog_next(c, &at));) -- no insert or remove inside */
void *catalog_next(const struct catalog *c, uint32_t *at);
