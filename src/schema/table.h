/* Tables as `kubectl get` prints them: the columns are declared with the kinds in api/, most as
 * paths into the object; those that need arithmetic are hooks, rows of one array in table_hooks.c.
 */
#pragma once

#include "base/buf.h"
#include "schema/schema.h"

/* Appends the array of metav1.TableColumnDefinition. */
void table_columns_print(const struct schema_kind *kind, struct buf *b);
/* Appends the array of cells of one object; `now` is what ages are counted from. */
void table_cells_print(const struct schema_kind *kind, const void *msg, usec_t now, struct buf *b);

/* Writes the plain text of a cell; the table quotes it where the column's type asks for it. */
typedef void (*table_hook_fn)(const struct schema_kind *kind, const void *msg, usec_t now,
                              struct buf *text);
/* NULL: there is no such hook. */
table_hook_fn table_hook_find(const char *name);
