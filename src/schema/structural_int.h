/* What the files of structural schemas share. */
#pragma once

#include "base/mem.h"
#include "codec/regex.h"
#include "schema/internal.h"
#include "schema/structural.h"

/* The walks on a part: a node and a value that stands at its place. */
void structural_prune_node(const struct structural_node *n, struct json *v, struct arena *a,
                           struct schema_decode *opts);
int structural_default_node(const struct structural_node *n, struct json *v,
                            struct arena *a) MUST_CHECK;
int structural_validate_node(const struct structural_node *n, const struct json *v,
                             struct error *err) MUST_CHECK;
/* True too for formats nobody checks. */
bool structural_format_ok(struct str format, struct str s);
