/* Server-side apply on JSON trees: what a configuration says is put into the object, and what its
 * manager said before and says no longer is taken out, unless somebody else owns it too. Lists and
 * maps merge or are replaced as the descriptors say. Who owns what is schema/fields.h.
 *
 * The configuration has passed fields_of_tree. Trees share nodes, so they live as long as the
 * arena. */
#pragma once

#include "codec/json.h"
#include "schema/desc.h"

/* Changes *doc in place; NULL: there was no object. */
void apply_merge(const struct schema_desc *desc, struct json **doc, const struct json *config,
                 struct arena *a);
/* last: what the manager owned before. owned: what all managers own now, this one with its new
 * configuration. Both packed, both of desc. */
void apply_prune(const struct schema_desc *desc, struct json *doc, struct str last,
                 struct str owned, struct arena *a);
