/* The default backend: LMDB, because it is small, has no background work and survives a crash at
 * any moment without recovery. One worker at a time encodes and writes a batch in one transaction,
 * with one durable commit; the loop only gets the result. Everything is read at open; afterwards
 * LMDB is written to only, so its reader table is not needed (MDB_NOLOCK) and the pages its map
 * faulted in are given back to the kernel now and then.
 *
 * What can fail and what then is true:
 *   before the new head page is written (encoding, full map, full disk, fsync of pages): nothing
 * was kept the map is full: it is made larger and the batch is tried again writing the head page
 * itself: unknown; LMDB refuses further transactions, so do we (see commit_outcome)
 *
 * A new database is made under another name and renamed when it holds its head record, so a crash
 * meanwhile does not leave a half-made store. */
#include "store/store_lmdb.h"
#include "base/mem.h"
#include "store/lmdb_check.h"
#include "store/record.h"
#include "store/store_dir.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAP_BYTES_FIRST   ((size_t)1 << 30)
#define MAP_BYTES_MAX     ((size_t)1 << 40)
#define GIVE_BACK_BATCHES 64
#define FULL_BELOW_BYTES                                                                           \
    ((uint64_t)1 << 20) /* a failed write with less room than this: the disk is full */

struct store_lmdb {
    struct store_backend base;
    struct rt *rt;
    char *dir, *file; /* owned */
    int dir_fd;
    bool sealing;
    struct store_seal seal;
    MDB_env *env;
    MDB_dbi dbi;
    size_t map_bytes;
    struct store_meta meta;
    struct buf key, value, scratch; /* the worker's */
    struct rt_work work;
    bool working;
    const struct store_batch *batch;
    store_commit_fn done;
    void *done_arg;
    int result;   /* worker -> loop */
    bool unknown; /* worker -> loop */
    const char *failed_step;
    uint64_t batches;
};

static int lmdb_errno(int rc)
{
    if (rc > 0)
        return rc;
    switch (rc) {
    case MDB_MAP_FULL:
        return ENOSPC;
    case MDB_VERSION_MISMATCH:
        return ENOTSUP;
    default:
        return EIO;
    }
}

static const struct store_seal *seal_of(const struct store_lmdb *l)
{
    return l->sealing ? &l->seal : NULL;
}

static int env_open(struct store_lmdb *l, const char *file, struct error *err)
{
    int rc = mdb_env_create(&l->env);

    if (!rc)
        rc = mdb_env_set_mapsize(l->env, l->map_bytes);
    if (!rc)
        rc =
            mdb_env_open(l->env, file, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc) {
        mdb_env_close(l->env);
        l->env = NULL;
        return error_errno(err, lmdb_errno(rc), "cannot open %s (%s)", file, mdb_strerror(rc));
    }
    return 0;
}

static MDB_val val(struct str s)
{
    return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

static int meta_put(struct store_lmdb *l, MDB_txn *txn, rev_t rev, rev_t compacted)
{
    MDB_val key = val(record_meta_key()), value;
    struct store_meta meta = l->meta;

    meta.rev = rev;
    buf_clear(&l->value);
    record_meta_encode(&meta, compacted, &l->value);
    value = val(buf_str(&l->value));
    return mdb_put(txn, l->dbi, &key, &value, 0);
}

/* ---- opening ---- */

static int create(struct store_lmdb *l, const char *new_id, struct error *err)
{
    CLEANUP(freep) char *file = xasprintf("%s/%s", l->dir, STORE_NEW_FILE);
    MDB_txn *txn = NULL;
    int rc, r;

    memcpy(l->meta.cluster_id, new_id, sizeof(l->meta.cluster_id));
    if (unlinkat(l->dir_fd, STORE_NEW_FILE, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, "cannot remove %s", file);
    r = env_open(l, file, err);
    if (r < 0)
        return r;
    rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
    if (!rc)
        rc = meta_put(l, txn, 0, 0);
    if (rc && txn)
        mdb_txn_abort(txn);
    else if (!rc)
        rc = mdb_txn_commit(txn);
    mdb_env_close(l->env);
    l->env = NULL;
    if (!rc && (renameat(l->dir_fd, STORE_NEW_FILE, l->dir_fd, STORE_DATA_FILE) < 0 ||
                fsync(l->dir_fd) < 0))
        rc = errno;
    return rc ? error_errno(err, lmdb_errno(rc), "cannot make the store %s", l->file) : 0;
}

/* Ends the message with what a person can do. */
static int refuse(struct store_lmdb *l, int r, struct error *err)
{
    struct error full = {.reason = REASON_INTERNAL};

    if (err && err->message.p) {
        (void)error_set(&full, err->reason,
                        "%s cannot be used: %.*s. Nothing was changed. Restore the directory %s "
                        "from a backup, or "
                        "move it away to start with an empty cluster",
                        l->file, STR_ARG(err->message), l->dir);
        error_clear(err);
        error_copy(err, &full);
        error_fini(&full);
    }
    return r;
}

static int check_file(struct store_lmdb *l, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = openat(l->dir_fd, STORE_DATA_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "cannot open %s", l->file);
    if (!S_ISREG(st.st_mode)) {
        (void)error_set(err, REASON_INTERNAL, "it is not a plain file");
        return refuse(l, -EBADMSG, err);
    }
    r = lmdb_check(fd, err);
    if (r < 0)
        return refuse(l, r, err);
    while (l->map_bytes < 2 * (size_t)st.st_size && l->map_bytes < MAP_BYTES_MAX)
        l->map_bytes *= 2;
    return 0;
}

static int load_one(struct store_lmdb *l, struct str key, struct str value, struct store_meta *meta,
                    store_load_fn fn, void *arg, struct error *err)
{
    struct store_record rec;
    int r;

    if (record_is_meta(key))
        return 0;
    r = record_decode(key, value, seal_of(l), &l->scratch, &rec, err);
    if (r < 0)
        return r;
    if (rec.rev > meta->rev) {
        (void)error_set(err, REASON_INTERNAL, "a record is newer than the head record");
        return -EBADMSG;
    }
    return fn(arg, &rec, err);
}

static int load(struct store_lmdb *l, store_load_fn fn, void *arg, struct error *err)
{
    MDB_val key = val(record_meta_key()), value;
    MDB_cursor *cursor = NULL;
    MDB_txn *txn = NULL;
    int rc, r = 0;

    rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);
    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
    if (!rc)
        rc = mdb_get(txn, l->dbi, &key, &value);
    if (rc == MDB_NOTFOUND) {
        (void)error_set(err, REASON_INTERNAL, "it is an LMDB database, but no store of davit");
        r = -EBADMSG;
    } else if (!rc) {
        r = record_meta_decode((struct str){value.mv_data, value.mv_size}, &l->meta, err);
    }
    if (!rc && r == 0)
        rc = mdb_cursor_open(txn, l->dbi, &cursor);
    while (!rc && r == 0 && !(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
        r = load_one(l, (struct str){key.mv_data, key.mv_size},
                     (struct str){value.mv_data, value.mv_size}, &l->meta, fn, arg, err);
    if (cursor)
        mdb_cursor_close(cursor);
    if (txn)
        mdb_txn_abort(txn);
    if (r < 0)
        return refuse(l, r, err);
    if (rc && rc != MDB_NOTFOUND) {
        (void)error_set(err, REASON_INTERNAL, "it cannot be read (%s)", mdb_strerror(rc));
        return refuse(l, -lmdb_errno(rc), err);
    }
    return 0;
}

/* The map's pages count as ours while they are mapped, though the kernel can have them back any
 * time. */
static void map_give_back(struct store_lmdb *l)
{
    MDB_envinfo info;
    MDB_stat st;
    FILE *maps;
    char line[512];
    struct stat sb;
    unsigned long from, to, ino;

    if (mdb_env_info(l->env, &info) || mdb_env_stat(l->env, &st) ||
        fstatat(l->dir_fd, STORE_DATA_FILE, &sb, 0) < 0)
        return;
    maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return;
    while (fgets(line, sizeof(line), maps)) {
        size_t used = (info.me_last_pgno + 1) * st.ms_psize;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &ino) == 3 && ino == sb.st_ino &&
            to - from >= info.me_mapsize)
            (void)madvise((void *)from, MIN(used, to - from), MADV_DONTNEED);
    }
    (void)fclose(maps);
}

static int lmdb_open(struct store_backend *b, struct rt *rt, const char *new_id,
                     struct store_meta *ret_meta, store_load_fn fn, void *arg, struct error *err)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);
    bool is_new;
    int r;

    l->rt = rt;
    r = store_dir_open(l->dir, &l->dir_fd, &is_new, err);
    if (r == 0)
        r = is_new ? create(l, new_id, err) : check_file(l, err);
    if (r == 0)
        r = env_open(l, l->file, err);
    if (r == 0)
        r = load(l, fn, arg, err);
    if (r < 0)
        return r;
    store_dir_sign(l->dir_fd);
    map_give_back(l);
    *ret_meta = l->meta;
    return 0;
}

/* ---- committing: on a worker ---- */

static int write_op(struct store_lmdb *l, MDB_txn *txn, const struct store_op *op)
{
    MDB_val key, value;
    int r;

    buf_clear(&l->key);
    record_key(&l->key, op->kind, op->ns, op->name);
    key = val(buf_str(&l->key));
    if (!op->object) {
        r = mdb_del(txn, l->dbi, &key, NULL);
        return r == MDB_NOTFOUND ? 0 : r; /* made and deleted within this batch */
    }
    buf_clear(&l->value);
    r = record_encode(op, buf_str(&l->key), seal_of(l), &l->scratch, &l->value);
    if (r < 0) {
        l->failed_step = "encrypting";
        return -r;
    }
    value = val(buf_str(&l->value));
    return mdb_put(txn, l->dbi, &key, &value, 0);
}

static int write_batch(struct store_lmdb *l)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    if (rc)
        return rc;
    for (size_t i = 0; i < l->batch->n && !rc; i++)
        rc = write_op(l, txn, &l->batch->ops[i]);
    if (!rc)
        rc = meta_put(l, txn, l->batch->rev, l->batch->compacted);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* After a failed commit: did it leave LMDB able to go on? If so, nothing was kept. */
static void commit_outcome(struct store_lmdb *l)
{
    struct statvfs vfs;
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

    if (rc == 0)
        mdb_txn_abort(txn);
    l->unknown = rc != 0;
    /* LMDB calls a write that fell short EIO */
    if (!l->unknown && l->result == EIO && fstatvfs(l->dir_fd, &vfs) == 0 &&
        (uint64_t)vfs.f_bavail * vfs.f_frsize < FULL_BELOW_BYTES)
        l->result = ENOSPC;
}

static void commit_work(void *arg)
{
    struct store_lmdb *l = arg;
    int rc;

    l->failed_step = "writing";
    l->unknown = false;
    while ((rc = write_batch(l)) == MDB_MAP_FULL && l->map_bytes < MAP_BYTES_MAX) {
        l->map_bytes *= 2;
        rc = mdb_env_set_mapsize(l->env, l->map_bytes);
        if (rc) {
            l->failed_step = "growing the map of";
            break;
        }
    }
    l->result = rc ? lmdb_errno(rc) : 0;
    if (rc)
        commit_outcome(l);
    if (++l->batches % GIVE_BACK_BATCHES == 0)
        map_give_back(l);
    if (l->value.cap > (1u << 20)) /* a rare large object must not stay */
        buf_fini(&l->value);
}

static void commit_done(void *arg)
{
    struct store_lmdb *l = arg;
    struct error err = {0};
    int r = 0;

    l->working = false;
    if (l->result == ENOSPC || l->result == EDQUOT)
        r = error_set(&err, REASON_STORAGE_FULL,
                      "the disk of the data directory %s is full: writes fail until there is room, "
                      "reads go on",
                      l->dir);
    else if (l->result)
        r = error_errno(&err, l->result, "%s %s", l->failed_step, l->file);
    l->done(l->done_arg, r, l->unknown, r < 0 ? &err : NULL);
    error_fini(&err);
}

static void lmdb_commit(struct store_backend *b, const struct store_batch *batch,
                        store_commit_fn done, void *arg)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);

    ASSERT(!l->working);
    l->working = true;
    l->batch = batch;
    l->done = done;
    l->done_arg = arg;
    rt_work(l->rt, &l->work, RT_WORK_SHORT, commit_work, commit_done, l);
}

/* ---- the end ---- */

static void lmdb_free(struct store_backend *b)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);

    ASSERT(!l->working);
    if (l->env)
        mdb_env_close(l->env);
    fd_closep(&l->dir_fd);
    buf_fini(&l->key);
    buf_fini(&l->value);
    buf_fini(&l->scratch);
    free(l->dir);
    free(l->file);
    free(l);
}

static void lmdb_stats(struct store_backend *b, struct store_stats *st)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);
    struct stat sb;

    if (fstatat(l->dir_fd, STORE_DATA_FILE, &sb, 0) == 0)
        st->disk_bytes = (uint64_t)sb.st_size;
}

static const struct store_backend_ops lmdb_ops = {
    .name = "lmdb",
    .open = lmdb_open,
    .commit = lmdb_commit,
    .close = lmdb_free,
    .abandon = lmdb_free,
    .stats = lmdb_stats,
};

struct store_backend *store_lmdb_new(const struct store_lmdb_opts *opts)
{
    struct store_lmdb *l = NEW(struct store_lmdb);

    l->base.ops = &lmdb_ops;
    l->dir = xstrdup(opts->dir);
    l->file = xasprintf("%s/%s", opts->dir, STORE_DATA_FILE);
    l->dir_fd = -1;
    if (opts->seal) {
        l->seal = *opts->seal;
        l->sealing = true;
    }
    l->map_bytes = opts->map_bytes ? opts->map_bytes : MAP_BYTES_FIRST;
    return &l->base;
}
