/* The directory of the cluster's keys (DIR/pki): there as a whole or not at all.
 *
 * At the first start it is made as DIR/pki.new without a flush, and keys_settle flushes and renames
 * it beside everything else a start does. Until that is done nobody may be served: what was sealed
 * or signed with keys that a power cut takes away is lost. */
#pragma once

#include "cli/paths.h"

struct keys {
    char *dir;   /* owned; where the keys are now */
    char *final; /* owned; NULL: they are at their place */
};

/* Finds the directory, or makes the new one (what is left of a start that did not get so far is
 * removed). */
int keys_open(struct keys *k, const struct data_dir *dir, struct error *err) MUST_CHECK;
static inline bool keys_fresh(const struct keys *k)
{
    return k->final != NULL;
}
/* Blocks for some flushes; any thread. Once, when keys_fresh. */
int keys_settle(struct keys *k, struct error *err) MUST_CHECK;
void keys_fini(struct keys *k);
