/* A checkpoint: the newest state of every key in the journal goes into the database in one
 * transaction, in order of the keys, so that a page is touched once however many of its records
 * changed. When it is durable the journal's files can be used again. When it fails nothing is lost:
 * the journal keeps what it has, and the next attempt has a little more to write. */
#include "store/lmdb_int.h"
#include "base/mem.h"
#include "store/record.h"

#include <sys/statvfs.h>

#define RETRY_AFTER NSEC_PER_SEC
#define FULL_BELOW_BYTES                                                                           \
    ((uint64_t)1 << 20) /* a failed write with less room than this: the disk is full */

static int write_entry(struct store_lmdb *l, MDB_txn *txn, const struct dirty_entry *e)
{
    MDB_val key = {e->key_len, (void *)(uintptr_t)e->key}, value;
    struct store_op op = {.kind = e->kind, .rev = e->rev, .object = e->object};
    int r;

    if (e->raw.p) {
        value = (MDB_val){e->raw.n, (void *)(uintptr_t)e->raw.p};
        return mdb_put(txn, l->dbi, &key, &value, 0);
    }
    if (!e->object) {
        r = mdb_del(txn, l->dbi, &key, NULL);
        return r == MDB_NOTFOUND ? 0 : r; /* made and deleted since the last checkpoint */
    }
    buf_clear(&l->ckpt_value);
    r = record_encode(&op, (struct str){e->key, e->key_len}, lmdb_seal(l), &l->ckpt_scratch,
                      &l->ckpt_value);
    if (r < 0)
        return -r;
    value = (MDB_val){l->ckpt_value.n, l->ckpt_value.data};
    return mdb_put(txn, l->dbi, &key, &value, 0);
}

static int write_all(struct store_lmdb *l, struct dirty_entry **entries, size_t n)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    if (rc)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
    for (size_t i = 0; i < n && !rc; i++)
        rc = write_entry(l, txn, entries[i]);
    if (!rc)
        rc = lmdb_meta_put(l, txn, &l->ckpt_meta, l->ckpt_compacted, &l->ckpt_value);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* LMDB calls a write that fell short EIO. */
static int disk_full_or(struct store_lmdb *l, int error)
{
    struct statvfs vfs;

    if (error == EIO && fstatvfs(l->dir_fd, &vfs) == 0 &&
        (uint64_t)vfs.f_bavail * vfs.f_frsize < FULL_BELOW_BYTES)
        return ENOSPC;
    return error;
}

static void checkpoint_work(void *arg)
{
    struct store_lmdb *l = arg;
    size_t n;
    struct dirty_entry **entries = dirty_sorted(&l->flushing, &n);
    int rc;

    do {
        rc = lmdb_env_open(l, l->file);
        if (!rc)
            rc = write_all(l, entries, n);
        if (!rc && l->ckpt_compact) /* not for want of room alone a failure: tried again later */
            l->ckpt_compact = lmdb_compact(l) == 0;
        lmdb_env_close(l);
        if (rc == MDB_MAP_FULL && l->map_bytes < MAP_BYTES_MAX)
            l->map_bytes *= 2;
        else
            break;
    } while (true);
    l->ckpt_result = rc ? disk_full_or(l, lmdb_errno(rc)) : 0;
    buf_fini(&l->ckpt_value);
    buf_fini(&l->ckpt_scratch);
    free(entries);
}

static void checkpoint_done(void *arg)
{
    struct store_lmdb *l = arg;

    l->ckpt_running = false;
    if (l->ckpt_result == 0) {
        dirty_clear(&l->flushing);
        l->checked = l->ckpt_meta.rev;
        l->ckpt_retry = 0;
        if (l->ckpt_compact) {
            l->renewed = l->renewing;
            l->renewing = 0;
        }
    } else {
        dirty_merge(&l->dirty, &l->flushing);
        l->ckpt_retry = rt_now(l->rt) + RETRY_AFTER;
    }
    lmdb_checkpoint_done(l);
}

bool lmdb_checkpoint_start(struct store_lmdb *l)
{
    if (l->ckpt_running)
        return true;
    if (!l->dirty.entries.n || rt_now(l->rt) < l->ckpt_retry)
        return false;
    ASSERT(!l->flushing.entries.n && !l->working);
    l->flushing = l->dirty;
    l->dirty = (struct dirty){0};
    l->ckpt_meta = l->meta;
    l->ckpt_compacted = l->compacted;
    l->ckpt_running = true;
    l->ckpt_compact = l->renewing > 0;
    (void)journal_try_switch(&l->journal);
    rt_work(l->rt, &l->ckpt_work, RT_WORK_SHORT, checkpoint_work, checkpoint_done, l);
    return true;
}
