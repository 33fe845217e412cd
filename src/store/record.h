/* What one key and one value of the database mean. See record.c for the drawing. */
#pragma once

#include "store/store_lmdb.h"

#define RECORD_FORMAT 1 /* of the whole database; a larger one was written by a newer davit */

void record_key(struct buf *b, const struct schema_kind *kind, struct str ns, struct str name);
/* Appends the value. seal NULL: plain. Fails only when sealing does. */
int record_encode(const struct store_op *op, struct str key, const struct store_seal *seal,
                  struct buf *scratch, struct buf *b) MUST_CHECK;
/* ret borrows from key, value and scratch. -EBADMSG: damaged, or sealed with another key.
 * *ret_stale (may be NULL): it is not sealed as its kind should be now. */
int record_decode(struct str key, struct str value, const struct store_seal *seal,
                  struct buf *scratch, struct store_record *ret, bool *ret_stale,
                  struct error *err) MUST_CHECK;
/* Appends the same value, sealed as it should be now. plain: its payload, opened. */
int record_renew(struct str key, struct str value, struct str plain, const struct store_seal *seal,
                 struct buf *b) MUST_CHECK;

/* Little-endian numbers, and the checksum everything here uses. */
void record_put32(char *p, uint32_t v);
void record_put64(char *p, uint64_t v);
uint32_t record_get32(const char *p);
uint64_t record_get64(const char *p);
uint64_t record_sum(uint64_t start, const void *data, size_t n);

struct str record_meta_key(void);
bool record_is_meta(struct str key);
/* salt: of the journal (journal.h). */
void record_meta_encode(const struct store_meta *meta, rev_t compacted, uint64_t salt,
                        struct buf *b);
/* -EBADMSG: not ours or damaged; -ENOTSUP: of a newer version. */
int record_meta_decode(struct str value, struct store_meta *ret, uint64_t *ret_salt,
                       struct error *err) MUST_CHECK;
