/* What the files of OpenAPI documents share. */
#pragma once

#include "schema/schema.h"

struct dialect {
    bool v3;
    const char *ref_prefix;
};

/* `"NAME":{...}` of a served custom kind, or of its list. */
void openapi_custom_print(bool v3, const char *ref_prefix, const struct schema_desc *d,
                          struct buf *b);
/* {"group":...,"kind":...,"version":...} */
void openapi_gvk_print(const struct schema_desc *d, struct buf *b);
/* `"PATH":{...}` of each path of a kind, subresources too; *first: nothing stands before yet. */
void openapi_paths_print(const struct dialect *d, const struct schema_kind *k, bool *first,
                         struct buf *b);
