/* A record that changes often and must outlive our death: a file of lines, each the whole record as
 * a JSON object, the last one that is whole being the one that counts. Loop thread or pool; blocks
 * for microseconds. */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "codec/json.h"

#define RECORD_BYTES_MAX (1 << 20)

/* When it returns 0 the record outlives this process (not the machine: it is not synced). Negative
 * errno otherwise; the former record is still there then. */
int record_save(const char *path, struct str object) MUST_CHECK;
/* The record, in the arena. -ENOENT also for a file without one whole record. */
int record_load(const char *path, struct arena *a, struct json **ret) MUST_CHECK;
/* What counts in the text of such a file: 0 or -ENOENT. */
int record_parse(struct str text, struct arena *a, struct json **ret) MUST_CHECK;
