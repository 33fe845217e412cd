/* The check that stands between a damaged file and LMDB: it must survive any file, and what it lets
 * pass LMDB must be able to walk. */
#include "store/lmdb_check.h"

#include <lmdb.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink; /* so that the bytes are really read */

static void walk(const char *path)
{
    MDB_env *env;
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    MDB_dbi dbi;
    int rc;

    if (mdb_env_create(&env))
        return;
    rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY, 0600);
    if (!rc)
        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (!rc)
        rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (!rc)
        rc = mdb_cursor_open(txn, dbi, &cursor);
    while (!rc && !(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
        for (size_t i = 0; i < value.mv_size; i++) /* every byte is there */
            sink = ((const uint8_t *)value.mv_data)[i];
    if (cursor)
        mdb_cursor_close(cursor);
    if (txn)
        mdb_txn_abort(txn);
    mdb_env_close(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct error err = {0};
    char path[64];

    if (fd < 0)
        return 0;
    if (write(fd, data, size) == (ssize_t)size && lmdb_check(fd, &err) == 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        walk(path);
    }
    error_fini(&err);
    (void)close(fd);
    return 0;
}
