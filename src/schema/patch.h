/* The three patches of the Kubernetes API, over JSON trees. Each changes *doc in place (the root
 * may be replaced) and shares nodes of the patch, so both live as long as the arena; afterwards
 * *doc is decoded like any other body.
 *
 * Errors: REASON_BAD_REQUEST when the patch itself is malformed, REASON_INVALID when it does not
 * fit the document. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "codec/json.h"
#include "schema/desc.h"

#define PATCH_OPS_MAX 10000 /* of one JSON patch, as a Kubernetes server */
#define PATCH_NODES_MAX                                                                            \
    ((uint32_t)1 << 20) /* values that copy operations may add: no patch doubles itself to death   \
                         */
#define PATCH_STEPS_MAX                                                                            \
    ((uint64_t)20000000) /* values a JSON patch may pass on its way to elements of arrays, and in  \
                            moving trees: some 50 ms */

/* RFC 6902: an array of operations. */
int patch_json(struct json **doc, const struct json *ops, struct arena *a,
               struct error *err) MUST_CHECK;
/* RFC 7386. */
int patch_merge(struct json **doc, struct json *patch, struct arena *a,
                struct error *err) MUST_CHECK;
/* Kubernetes' strategic merge: lists merge by the keys the descriptor names; directives $patch,
 * $retainKeys, $deleteFromPrimitiveList/f, $setElementOrder/f. */
int patch_strategic(const struct schema_desc *desc, struct json **doc, struct json *patch,
                    struct arena *a, struct error *err) MUST_CHECK;
