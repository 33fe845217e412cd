/* YAML to JSON trees and back (libyaml), as Kubernetes' tools read it: plain scalars resolve to
 * null, bool (true, yes, y, on ...), int (also 0x1f, 0o17, 017, 1_000), float or string, as in
 * YAML 1.1; keys become strings; anchors and aliases are expanded within
 * limits; merge keys ("<<") are honoured; tags other than the core ones and duplicate keys are
 * errors. */
#pragma once

#include "codec/json.h"

#define YAML_DEPTH_MAX JSON_DEPTH_MAX
#define YAML_NODES_MAX 1000000 /* after alias expansion: an alias bomb stops here */

/* Parses the first document at or behind *offset and moves *offset behind it. 1: *ret is set (NULL
 * for an empty document); 0: no further document; -EINVAL with line and column in err. */
int yaml_parse_next(struct str text, size_t *offset, struct arena *a, struct json **ret,
                    struct error *err) MUST_CHECK;
/* Exactly one document; an empty text is a null node. */
int yaml_parse(struct str text, struct arena *a, struct json **ret, struct error *err) MUST_CHECK;
/* Appends a document in block style, keys in their order, without "---". */
int yaml_print(const struct json *v, struct buf *b) MUST_CHECK;
