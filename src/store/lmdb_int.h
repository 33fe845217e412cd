/* What the two halves of the LMDB backend share: store_lmdb.c opens, commits and closes,
 * lmdb_checkpoint.c writes the database.
 *
 * Threads: a commit worker and a checkpoint worker may run at the same time. The commit worker owns
 * journal, key, value, scratch, batch; the checkpoint worker env, flushing and ckpt_*; all else is
 * the loop's. */
#pragma once

#include "store/dirty.h"
#include "store/journal.h"
#include "store/store_lmdb.h"

#include <lmdb.h>

#define MAP_BYTES_MAX ((size_t)1 << 40)

struct store_lmdb {
    struct store_backend base;
    struct rt *rt;
    char *dir, *file; /* owned */
    int dir_fd;
    bool sealing;
    struct store_seal seal;
    size_t renewing;  /* records found at open that the next checkpoint seals anew */
    size_t renewed;   /* ... that it has; old ones may still lie in the files of `unclean` */
    unsigned unclean; /* bits: journal 0, journal 1; those with frames at open */
    MDB_env *env;     /* NULL but at open and while a checkpoint runs */
    MDB_dbi dbi;
    size_t map_bytes;
    uint64_t file_bytes; /* at open */
    uint64_t journal_bytes;
    uint64_t salt;
    struct store_meta meta; /* rev: newest durable */
    rev_t compacted;

    /* commits */
    struct journal journal;
    struct buf key, value, scratch;
    struct rt_work work;
    struct rt_task refuse_task;
    bool working, waiting; /* waiting: a batch waits for room in the journal */
    const struct store_batch *batch;
    store_commit_fn done;
    void *done_arg;
    int result; /* worker -> loop: 0 or -errno */
    bool unknown;
    const char *failed_step;

    /* checkpoints */
    struct dirty dirty;    /* in the journal, not in the database */
    struct dirty flushing; /* of the checkpoint under way */
    struct store_meta ckpt_meta;
    rev_t ckpt_compacted;
    rev_t checked; /* to be told to the journal when no commit is under way; 0: nothing */
    struct rt_work ckpt_work;
    bool ckpt_running;
    nsec_t ckpt_retry; /* not before; after a failure */
    int ckpt_result;   /* worker -> loop */
    bool ckpt_compact; /* also leave nothing in the file but what is in the database now */
    struct buf ckpt_key, ckpt_value, ckpt_scratch;

    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

const struct store_seal *lmdb_seal(const struct store_lmdb *l);
int lmdb_errno(int rc); /* positive errno of an LMDB result */
int lmdb_meta_put(struct store_lmdb *l, MDB_txn *txn, const struct store_meta *meta,
                  rev_t compacted, struct buf *scratch);
int lmdb_env_open(struct store_lmdb *l, const char *file); /* an LMDB result */
void lmdb_env_close(struct store_lmdb *l);                 /* idempotent */
/* lmdb_compact.c. Replaces the file of the open environment by a copy without free pages; closes
 * the environment. 0 or a positive errno, then the file is as it was. */
int lmdb_compact(struct store_lmdb *l);

/* lmdb_checkpoint.c. Starts one unless one runs, nothing is dirty, or the last one has just failed
 * (then false). No commit is under way on the loop's side. Ends in lmdb_checkpoint_done. */
bool lmdb_checkpoint_start(struct store_lmdb *l);
/* store_lmdb.c */
void lmdb_checkpoint_done(struct store_lmdb *l);
