/* What the file of a cache looks like (cache_file.h). Pure: bytes in, bytes out; any thread.
 *
 *   head     "davit-cache\n"  u32 version  u32 n  n bytes: whose it is  u64 sum of all before it
 *   record   u32 n  u64 sum of the payload  n bytes payload
 *   payload  u8 type  and for 'S' (set) and 'D' (deleted)
 *            u64 revision  u16 n  u16 m  n bytes namespace  m bytes name  the object as protobuf
 *            'E': up to here the file is whole, every object was in it
 *
 * Numbers are little-endian, sums FNV-1a. Later records replace earlier ones. A file without an 'E'
 * was cut off while it was made and says nothing. The log behind it counts up to the first record
 * that is not as it was written: what a power cut leaves, an older state, but a state. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define CACHE_FORMAT_VERSION   1
#define CACHE_RECORD_BYTES_MAX ((size_t)16 << 20)

struct cache_record {
    struct str ns, name, object; /* borrowed from the bytes */
    rev_t rev;
};

void cache_format_head(struct buf *b, struct str whose);
void cache_format_set(struct buf *b, const struct cache_record *r);
void cache_format_delete(struct buf *b, struct str ns, struct str name);
void cache_format_end(struct buf *b);

/* Calls fn for every object that the file says is there, once, in no particular order, and stops at
 * its first negative answer, which is returned. -EBADMSG: no file of ours, of another version, of
 * somebody else, or not whole; fn was not called then. *ret_good: so many bytes count. */
typedef int (*cache_record_fn)(void *arg, const struct cache_record *r);
int cache_format_read(struct str bytes, struct str whose, cache_record_fn fn, void *arg,
                      size_t *ret_good) MUST_CHECK;
