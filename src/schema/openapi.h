/* OpenAPI documents written from the descriptors: what `kubectl explain` reads, and what clients
 * look at to learn whether the server validates fields. Pure functions of the tables; callers keep
 * the text (it does not change while they run). */
#pragma once

#include "base/buf.h"
#include "base/str.h"

struct schema_kind;

/* Custom kinds to be described besides those of the tables; NULL: none. */
struct openapi_more {
    const struct schema_kind *const *v;
    size_t n;
};

/* Index of /openapi/v3: one entry a served group version, with a hash that changes with the
 * document. */
void openapi_v3_index_print(const struct openapi_more *more, struct buf *b);
/* That hash of one group version; 0: not served. *ret_lasting: other documents of that version, in
 * other clusters too, have other hashes. */
uint64_t openapi_v3_hash(const struct openapi_more *more, struct str group, struct str version,
                         bool *ret_lasting);
/* Document of one group version ("" is the core group). False: not served; nothing written. */
bool openapi_v3_print(const struct openapi_more *more, struct str group, struct str version,
                      struct buf *b);
/* The whole API as Swagger 2.0. */
void openapi_v2_print(const struct openapi_more *more, struct buf *b);
/* That document (JSON text) as an openapi.v2.Document of googleapis/gnostic. -EINVAL: it is not an
 * object in JSON; nothing written. */
int openapi_v2_pb_print(struct str json, struct buf *b) MUST_CHECK;
