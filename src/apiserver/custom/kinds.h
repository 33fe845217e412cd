/* The custom kinds that are served, for both halves. The core thread changes the set when
 * definitions change (crds.c); I/O threads look kinds up for every request that is not for a kind
 * of the tables, and hold what they found by a reference (schema/custom.h). */
#pragma once

#include "schema/custom.h"

struct kinds;

struct kinds *kinds_new(void);
struct kinds *kinds_free(struct kinds *ks);

/* Any thread. A reference, or NULL. ks may be NULL: there are none. */
const struct schema_kind *kinds_by_plural(struct kinds *ks, struct str group, struct str version,
                                          struct str plural);
/* All, in order of groups and of their versions' age of birth; the array is malloc'ed, the
 * references are the caller's: kinds_list_free. *ret_generation changes with the set. */
const struct schema_kind **kinds_list(struct kinds *ks, size_t *ret_n, uint64_t *ret_generation);
void kinds_list_free(const struct schema_kind **v, size_t n);
uint64_t kinds_generation(struct kinds *ks);

/* Core thread: the versions of a definition that are served from now on; takes the references. n 0:
 * none any more. */
void kinds_set(struct kinds *ks, struct str definition, struct custom *const *v, size_t n);
/* Core thread: what is served for a resource, in any version; borrowed; NULL: nothing. */
const struct schema_kind *kinds_current(struct kinds *ks, const struct schema_kind *stored);
/* Core thread: all versions of a definition ("plural.group") that are served; borrowed. */
struct custom *const *kinds_versions(struct kinds *ks, struct str definition, size_t *ret_n);
/* Core thread: by the kind's name; borrowed; NULL: not served. */
const struct schema_kind *kinds_by_kind(struct kinds *ks, struct str group, struct str version,
                                        struct str kind);
