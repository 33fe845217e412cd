/* The default backend: LMDB, because it is small, has no background work of its own and survives a
 * crash at any moment without recovery; before it a journal, because a commit of LMDB costs two
 * flushes and scattered writes.
 *
 *   commit      encode the batch into a frame, append it to the journal, one fdatasync: durable
 * (journal.c) checkpoint  when the journal file is long enough: write the newest state of its keys
 * to LMDB (lmdb_checkpoint.c) open        check the database page by page, replay the journal into
 * it, read everything close       checkpoint, empty the journal
 *
 * Everything is read at open; afterwards LMDB is written to only, so its reader table is not needed
 * (MDB_NOLOCK), and the pages its map faulted in are given back to the kernel. A new database is
 * made under another name and renamed when it holds its head record, so a crash meanwhile does not
 * leave a half-made store. */
#include "store/lmdb_int.h"
#include "base/mem.h"
#include "store/lmdb_check.h"
#include "store/record.h"
#include "store/store_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_BYTES_FIRST ((size_t)1 << 30)
#define JOURNAL_BYTES   ((uint64_t)8 << 20) /* a few thousand writes; read back in milliseconds */
#define JOURNAL_FULL    8u                  /* times that: commits wait for the checkpoint */

int lmdb_errno(int rc)
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

const struct store_seal *lmdb_seal(const struct store_lmdb *l)
{
    return l->sealing ? &l->seal : NULL;
}

int lmdb_env_open(struct store_lmdb *l, const char *file)
{
    int rc = mdb_env_create(&l->env);

    if (!rc)
        rc = mdb_env_set_mapsize(l->env, l->map_bytes);
    if (!rc)
        rc =
            mdb_env_open(l->env, file, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc)
        lmdb_env_close(l);
    return rc;
}

void lmdb_env_close(struct store_lmdb *l)
{
    if (l->env)
        mdb_env_close(l->env);
    l->env = NULL;
}

static int env_open(struct store_lmdb *l, const char *file, struct error *err)
{
    int rc = lmdb_env_open(l, file);

    return rc ? error_errno(err, lmdb_errno(rc), "cannot open %s (%s)", file, mdb_strerror(rc)) : 0;
}

static MDB_val val(struct str s)
{
    return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

int lmdb_meta_put(struct store_lmdb *l, MDB_txn *txn, const struct store_meta *meta,
                  rev_t compacted, struct buf *scratch)
{
    MDB_val key = val(record_meta_key()), value;

    buf_clear(scratch);
    record_meta_encode(meta, compacted, l->salt, scratch);
    value = val(buf_str(scratch));
    return mdb_put(txn, l->dbi, &key, &value, 0);
}

/* ---- opening ---- */

static int create(struct store_lmdb *l, const char *new_id, struct error *err)
{
    CLEANUP(freep) char *file = xasprintf("%s/%s", l->dir, STORE_NEW_FILE);
    MDB_txn *txn = NULL;
    int rc, r;

    memcpy(l->meta.cluster_id, new_id, sizeof(l->meta.cluster_id));
    l->salt = rt_random_u64(l->rt);
    if (unlinkat(l->dir_fd, STORE_NEW_FILE, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, "cannot remove %s", file);
    r = env_open(l, file, err);
    if (r < 0)
        return r;
    rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
    if (!rc)
        rc = lmdb_meta_put(l, txn, &l->meta, 0, &l->value);
    if (rc && txn)
        mdb_txn_abort(txn);
    else if (!rc)
        rc = mdb_txn_commit(txn);
    lmdb_env_close(l);
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
    l->file_bytes = (uint64_t)st.st_size;
    return 0;
}

static int load_one(struct store_lmdb *l, struct str key, struct str value, store_load_fn fn,
                    void *arg, struct error *err)
{
    struct store_record rec;
    bool stale;
    int r;

    if (record_is_meta(key))
        return 0;
    r = record_decode(key, value, lmdb_seal(l), &l->scratch, &rec, &stale, err);
    if (r < 0)
        return r;
    if (rec.rev > l->meta.rev) {
        (void)error_set(err, REASON_INTERNAL, "a record is newer than the head record");
        return -EBADMSG;
    }
    if (stale) { /* the next checkpoint puts it right */
        buf_clear(&l->value);
        r = record_renew(key, value, rec.bytes, lmdb_seal(l), &l->value);
        if (r < 0)
            return error_errno(err, r, "a record cannot be encrypted");
        dirty_put_raw(&l->dirty, key, buf_str(&l->value));
        l->renewing++;
    }
    return fn(arg, &rec, err);
}

static int load_all(struct store_lmdb *l, MDB_txn *txn, store_load_fn fn, void *arg,
                    struct error *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, l->dbi, &cursor), r = 0;

    while (!rc && r == 0 && !(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
        r = load_one(l, (struct str){key.mv_data, key.mv_size},
                     (struct str){value.mv_data, value.mv_size}, fn, arg, err);
    if (cursor)
        mdb_cursor_close(cursor);
    if (r == 0 && rc != MDB_NOTFOUND)
        r = error_errno(err, lmdb_errno(rc), "it cannot be read (%s)", mdb_strerror(rc));
    return r;
}

/* The head record: is it ours, and how far does it go? */
static int load_meta(struct store_lmdb *l, struct error *err)
{
    MDB_val key = val(record_meta_key()), value;
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn), r = 0;

    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
    if (!rc)
        rc = mdb_get(txn, l->dbi, &key, &value);
    if (rc == MDB_NOTFOUND) {
        (void)error_set(err, REASON_INTERNAL, "it is an LMDB database, but no store of davit");
        r = -EBADMSG;
    } else if (rc) {
        r = error_errno(err, lmdb_errno(rc), "it cannot be read (%s)", mdb_strerror(rc));
    } else {
        r = record_meta_decode((struct str){value.mv_data, value.mv_size}, &l->meta, &l->salt, err);
    }
    if (txn)
        mdb_txn_abort(txn);
    return r;
}

struct replay {
    struct store_lmdb *l;
    MDB_txn *txn;
};

static int replay_one(void *arg, struct str key, struct str value)
{
    struct replay *rp = arg;
    MDB_val k = val(key), v = val(value);
    int rc =
        value.p ? mdb_put(rp->txn, rp->l->dbi, &k, &v, 0) : mdb_del(rp->txn, rp->l->dbi, &k, NULL);

    dirty_put_raw(&rp->l->dirty, key, value);
    return rc && (value.p || rc != MDB_NOTFOUND) ? -lmdb_errno(rc) : 0;
}

/* Journal and database together are the state. They are put together in a transaction that is not
 * kept: opening changes nothing, and works on a full disk too. */
static int load(struct store_lmdb *l, store_load_fn fn, void *arg, struct error *err)
{
    struct replay rp = {.l = l};
    int rc, r = load_meta(l, err);

    if (r == 0)
        r = journal_open(&l->journal, l->dir_fd, l->salt, l->meta.rev, err);
    if (r < 0)
        return r;
    rc = mdb_txn_begin(l->env, NULL, 0, &rp.txn);
    if (rc)
        return error_errno(err, lmdb_errno(rc), "it cannot be read (%s)", mdb_strerror(rc));
    r = journal_replay(&l->journal, replay_one, &rp, &l->meta.rev, err);
    if (r == 0)
        r = load_all(l, rp.txn, fn, arg, err);
    mdb_txn_abort(rp.txn);
    return r;
}

static uint64_t journal_bytes_in(int dir_fd)
{
    struct stat a = {0}, b = {0};

    (void)!fstatat(dir_fd, JOURNAL_FILE_0, &a, 0);
    (void)!fstatat(dir_fd, JOURNAL_FILE_1, &b, 0);
    return (uint64_t)a.st_size + (uint64_t)b.st_size;
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
    if (r < 0)
        return r;
    while (l->map_bytes < 2 * l->file_bytes + 4 * journal_bytes_in(l->dir_fd) &&
           l->map_bytes < MAP_BYTES_MAX)
        l->map_bytes *= 2;
    r = env_open(l, l->file, err);
    if (r < 0)
        return r;
    r = load(l, fn, arg, err);
    if (r < 0)
        return refuse(l, r, err);
    r = journal_make(&l->journal, l->dir_fd, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < 2 && l->renewing; i++)
        if (!journal_wipe_free(&l->journal, i))
            l->unclean |= 1u << i;
    store_dir_sign(l->dir_fd);
    lmdb_env_close(l);
    *ret_meta = l->meta;
    (void)lmdb_checkpoint_start(l); /* of what the journal held, if anything */
    return 0;
}

/* ---- committing ---- */

static void commit_work(void *arg) /* on a worker */
{
    struct store_lmdb *l = arg;
    const struct store_batch *b = l->batch;

    l->unknown = false;
    l->failed_step = "encrypting a record of";
    journal_begin(&l->journal);
    for (size_t i = 0; i < b->n; i++) {
        const struct store_op *op = &b->ops[i];
        buf_clear(&l->key);
        record_key(&l->key, op->kind, op->ns, op->name);
        buf_clear(&l->value);
        if (op->object) {
            l->result = record_encode(op, buf_str(&l->key), lmdb_seal(l), &l->scratch, &l->value);
            if (l->result < 0)
                return;
        }
        journal_add(&l->journal, buf_str(&l->key), op->object ? buf_str(&l->value) : STR_NONE);
    }
    l->failed_step = "writing the journal of";
    l->result = journal_commit(&l->journal, b->ops[0].rev, b->rev, &l->unknown);
    if (l->value.cap > (1u << 20)) /* a rare large object must not stay */
        buf_fini(&l->value);
}

/* Ends the batch under way. */
static void commit_end(struct store_lmdb *l, int result, bool unknown)
{
    struct error err = {0};
    int r = 0;

    if (result == -ENOSPC || result == -EDQUOT)
        r = error_set(&err, REASON_STORAGE_FULL,
                      "the disk of the data directory %s is full: writes fail until there is room, "
                      "reads go on",
                      l->dir);
    else if (result < 0)
        r = error_errno(&err, result, "%s %s", l->failed_step, l->file);
    l->done(l->done_arg, r, unknown, r < 0 ? &err : NULL);
    error_fini(&err);
}

static void journal_tell_checked(struct store_lmdb *l)
{
    if (l->checked)
        journal_checked(&l->journal, l->checked);
    l->checked = 0;
    if (!l->renewed)
        return;
    for (unsigned i = 0; i < 2; i++)
        if (l->unclean & 1u << i && journal_wipe_free(&l->journal, i))
            l->unclean &= ~(1u << i);
    if (l->unclean)
        return;
    if (l->seal.renewed)
        l->seal.renewed(l->seal.ctx, l->renewed);
    l->renewed = 0;
}

static void commit_done(void *arg)
{
    struct store_lmdb *l = arg;

    l->working = false;
    journal_tell_checked(l);
    if (l->result == 0) {
        for (size_t i = 0; i < l->batch->n; i++)
            dirty_put(&l->dirty, &l->batch->ops[i], &l->key);
        l->meta.rev = l->batch->rev;
        l->compacted = l->batch->compacted;
    }
    /* a full disk, too: after a checkpoint the journal's own space can be used again */
    if (l->result < 0 || l->renewed || journal_active_bytes(&l->journal) >= l->journal_bytes)
        (void)lmdb_checkpoint_start(l);
    commit_end(l, l->result, l->unknown);
}

static void commit_begin(struct store_lmdb *l)
{
    l->working = true;
    rt_work(l->rt, &l->work, RT_WORK_SHORT, commit_work, commit_done, l);
}

static void commit_refused(void *arg)
{
    struct store_lmdb *l = arg;

    l->waiting = false;
    l->failed_step = "emptying the journal of";
    commit_end(l, l->ckpt_result ? -l->ckpt_result : -ENOSPC, false);
}

static void lmdb_commit(struct store_backend *b, const struct store_batch *batch,
                        store_commit_fn done, void *arg)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);

    ASSERT(!l->working && !l->waiting);
    l->batch = batch;
    l->done = done;
    l->done_arg = arg;
    if (journal_active_bytes(&l->journal) < JOURNAL_FULL * l->journal_bytes) {
        commit_begin(l);
        return;
    }
    l->waiting = true;
    if (!lmdb_checkpoint_start(l)) {
        rt_task_init(&l->refuse_task, l->rt, commit_refused, l);
        rt_task_schedule(&l->refuse_task);
    }
}

/* ---- the end ---- */

static void lmdb_free(struct store_backend *b)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);

    ASSERT(!l->working && !l->waiting && !l->ckpt_running);
    journal_close(&l->journal);
    lmdb_env_close(l);
    fd_closep(&l->dir_fd);
    dirty_clear(&l->dirty);
    buf_fini(&l->key);
    buf_fini(&l->value);
    buf_fini(&l->scratch);
    free(l->dir);
    free(l->file);
    free(l);
}

/* Everything that can be in the database is. */
static void close_end(struct store_lmdb *l)
{
    void (*closed)(void *) = l->closed;
    void *arg = l->closed_arg;

    /* what a failed checkpoint left in the journal is found there at the next open */
    if (l->journal.checked == l->meta.rev)
        journal_clear(&l->journal);
    lmdb_free(&l->base);
    closed(arg);
}

void lmdb_checkpoint_done(struct store_lmdb *l)
{
    if (!l->working)
        journal_tell_checked(l);
    if (l->waiting && l->ckpt_result == 0) {
        l->waiting = false;
        commit_begin(l);
    } else if (l->waiting) {
        commit_refused(l);
    } else if (l->closing && (l->ckpt_result || !lmdb_checkpoint_start(l))) {
        close_end(l);
    }
}

static void lmdb_close(struct store_backend *b, void (*done)(void *arg), void *arg)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);

    l->closing = true;
    l->closed = done;
    l->closed_arg = arg;
    l->ckpt_retry = 0;
    if (!lmdb_checkpoint_start(l))
        close_end(l);
}

static void lmdb_stats(struct store_backend *b, struct store_stats *st)
{
    struct store_lmdb *l = CONTAINER_OF(b, struct store_lmdb, base);
    struct stat sb;

    if (fstatat(l->dir_fd, STORE_DATA_FILE, &sb, 0) == 0)
        st->disk_bytes = (uint64_t)sb.st_size + journal_bytes_in(l->dir_fd);
}

static const struct store_backend_ops lmdb_ops = {
    .name = "lmdb",
    .open = lmdb_open,
    .commit = lmdb_commit,
    .close = lmdb_close,
    .abandon = lmdb_free,
    .stats = lmdb_stats,
};

struct store_backend *store_lmdb_new(const struct store_lmdb_opts *opts)
{
    struct store_lmdb *l = NEW(struct store_lmdb);

    l->base.ops = &lmdb_ops;
    l->dir = xstrdup(opts->dir);
    l->file = xasprintf("%s/%s", opts->dir, STORE_DATA_FILE);
    l->dir_fd = l->journal.files[0].fd = l->journal.files[1].fd = -1;
    if (opts->seal) {
        l->seal = *opts->seal;
        l->sealing = true;
    }
    l->map_bytes = opts->map_bytes ? opts->map_bytes : MAP_BYTES_FIRST;
    l->journal_bytes = opts->journal_bytes ? opts->journal_bytes : JOURNAL_BYTES;
    return &l->base;
}
