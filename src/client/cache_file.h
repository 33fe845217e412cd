/* What a cache holds, on disk, so that a process that starts while its server is away knows what it
 * last knew. A log of changes: a change costs its own bytes, written a moment later together with
 * others; the log is made short again when it has grown to twice what it was, on the pool. Nothing
 * is synced but a file that replaces another: after a power cut an older state is read, never half
 * of one. Loop thread.
 *
 *   CLOSED -> begin -> NEW (PATH.new) -> whole -> LIVE (PATH)
 *        \--> load, resume -----------------------^     (PATH.short: a compaction under way)
 *   any, when the disk refuses -> FAILED: what is on disk stays; a minute later, and each minute
 *   until it works -> CLOSED: the owner is asked to begin anew, with all there is */
#pragma once

#include "client/cache_format.h"
#include "rt/rt.h"
#include "schema/schema.h"

struct cache_file;

/* `whose` says what the cache is of; a file that says otherwise is not read. All copied but kind.
 * The directory must be there. Files are readable by their owner alone. */
struct cache_file *cache_file_new(struct rt *rt, const char *path, const struct schema_kind *kind,
                                  struct str whose);
/* Writes what is left to be written. remove: the file goes. Takes NULL; returns NULL. */
struct cache_file *cache_file_free(struct cache_file *f, bool remove);

struct cache_loaded {
    char *bytes;            /* owned */
    struct cache_record *v; /* owned; they borrow from bytes, and decode as the kind */
    size_t n, cap;
    size_t good; /* bytes of the file that count */
};
void cache_loaded_fini(struct cache_loaded *l);

/* Reads the file on the pool. Answers once, unless the file is freed before. r < 0: there is none
 * that could be used. l is the receiver's; r < 0: NULL. */
typedef void (*cache_file_loaded_fn)(void *arg, int r, struct cache_loaded *l);
void cache_file_load(struct cache_file *f, cache_file_loaded_fn fn, void *arg);
void cache_file_cancel_load(struct cache_file *f); /* no answer comes any more */

void cache_file_begin(struct cache_file *f);               /* a new one, nothing in it */
void cache_file_resume(struct cache_file *f, size_t good); /* goes on behind what was loaded */
bool cache_file_is_open(const struct cache_file *f);       /* begun or resumed, and not failed */
void cache_file_set(struct cache_file *f, const struct cache_record *r);
void cache_file_delete(struct cache_file *f, struct str ns, struct str name);
void cache_file_whole(struct cache_file *f); /* all there is was set; again: no effect */
/* 0, or why nothing is written at present. */
int cache_file_error(const struct cache_file *f);
/* Whom to ask, on the loop, when a disk that refused is tried again: he calls cache_file_begin and
 * sets all there is. Without, nothing is tried. */
void cache_file_on_retry(struct cache_file *f, void (*fn)(void *arg), void *arg);
