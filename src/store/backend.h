/* What a place that keeps the cluster's objects durably must offer the store. One implementation
 * per file: store_mem.c, store_lmdb.c. Users of the store need store.h only.
 *
 * Invariants
 *  - The store has one commit under way at most, and opens and closes a backend once.
 *  - A commit is atomic: after a crash at any moment either all of a batch is found, or nothing of
 * it; and never a batch without all batches before it.
 *  - All calls and callbacks are on the loop's thread; commit never blocks it, open may. */
#pragma once

#include "store/store.h"

#define STORE_CLUSTER_ID_LEN 36 /* a UUID */
/* Longest group + plural + namespace + name; LMDB takes keys of 511 bytes, three are separators. */
#define STORE_KEY_BYTES_MAX 500

/* One object as found at open. Either `object` (a backend in memory), or its encoding. */
struct store_record {
    struct str resource; /* "apps/deployments"; "/pods" in the core group */
    struct str ns, name;
    rev_t rev;
    struct object *object; /* borrowed; NULL: decode bytes */
    struct str version;    /* API version of the encoding: "v1" */
    bool is_json;          /* else protobuf */
    struct str bytes;      /* borrowed */
};

struct store_meta {
    char cluster_id[STORE_CLUSTER_ID_LEN + 1];
    rev_t rev; /* newest committed */
};

/* One write of a batch. */
struct store_op {
    const struct schema_kind *kind;
    struct str ns, name;
    rev_t rev;
    struct object *object; /* NULL: delete */
};

struct store_batch {
    const struct store_op *ops; /* in order of revision; several may have the same key */
    size_t n;
    rev_t rev, compacted; /* to be remembered with it: the last op's; the window's end */
};

/* Called for each record in any order; a negative result ends the load. */
typedef int (*store_load_fn)(void *arg, const struct store_record *rec, struct error *err);

/* r 0: durable. -errno: refused, nothing of it was kept, the next one may succeed (-ENOSPC).
 * `unknown`: it failed and may or may not have been kept: the store then takes no more writes until
 * it is opened again. */
typedef void (*store_commit_fn)(void *arg, int r, bool unknown, const struct error *err);

struct store_backend_ops {
    const char *name; /* "memory", "lmdb" */
    /* Locks, checks and reads all; *ret_meta is what was found, or (new place) made with new_id. On
     * failure nothing was changed, and the store abandons it. */
    int (*open)(struct store_backend *b, struct rt *rt, const char *new_id,
                struct store_meta *ret_meta, store_load_fn fn, void *arg, struct error *err);
    /* batch and its objects are frozen and stay valid until done, which runs once, later. */
    void (*commit)(struct store_backend *b, const struct store_batch *batch, store_commit_fn done,
                   void *arg);
    /* No commit is under way. Frees b, then calls done; maybe from inside the call. */
    void (*close)(struct store_backend *b, void (*done)(void *arg), void *arg);
    /* Frees b at once, as if the process had died: a commit under way never calls back. Also after
     * a failed open. Only for backends whose commits run on the loop (simulator), or with none
     * under way. */
    void (*abandon)(struct store_backend *b);
    void (*stats)(struct store_backend *b, struct store_stats *st); /* may be NULL */
};

struct store_backend { /* first member of every backend */
    const struct store_backend_ops *ops;
};
