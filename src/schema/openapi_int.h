/* What the files of OpenAPI documents share. */
#pragma once

#include "schema/schema.h"

/* `"NAME":{...}` of a served custom kind, or of its list. */
void openapi_custom_print(bool v3, const char *ref_prefix, const struct schema_desc *d,
                          struct buf *b);
