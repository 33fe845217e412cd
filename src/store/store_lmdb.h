/* The store's backend on disk: one LMDB file and its journal in a directory of their own. */
#pragma once

#include "store/backend.h"

/* Encrypts what must not lie readable on disk. seal, open and wants are called on worker threads,
 * two at once at most. */
struct store_seal {
    void *ctx; /* borrowed; outlives the backend */
    /* Are records of "GROUP/PLURAL" (the core group is empty) to be sealed? */
    bool (*wants)(void *ctx, struct str resource);
    /* Append to out. `bound` is authenticated with it: a sealed value is good under its own key
     * only. -errno: the write or the open fails. What seal makes names the key it was made with;
     * `named` false: it comes from a time when it did not. *ret_stale: not made with the key that
     * seal uses now. -ENOKEY: made with a key that is not there. */
    int (*seal)(void *ctx, struct str plain, struct str bound, struct buf *out);
    int (*open)(void *ctx, struct str sealed, struct str bound, bool named, struct buf *out,
                bool *ret_stale);
    /* Loop thread; may be NULL: so many records that lay open or under an older key when the store
     * was opened are now sealed as they should be, and nothing of what they were is left in its
     * files. */
    void (*renewed)(void *ctx, size_t records);
};

struct store_lmdb_opts {
    const char *dir;               /* copied; made (0700) when it is not there */
    const struct store_seal *seal; /* NULL: nothing is sealed; copied */
    size_t map_bytes;       /* first size of the map, grows by itself; 0: default. For tests */
    uint64_t journal_bytes; /* of one journal file before a checkpoint; 0: default. For tests */
};

/* For one store_open. The directory is locked while it is open: a second process gets an error that
 * names the first one's pid. A directory that is not a store, is damaged or comes from a newer
 * version gives an error that names the file and what to do, and is not changed. */
struct store_backend *store_lmdb_new(const struct store_lmdb_opts *opts);
