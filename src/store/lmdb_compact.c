/* What a record was before it was sealed anew must not be found in the database's file any more.
 * LMDB leaves it in pages that are free, so the file is replaced by a copy that has none. The copy
 * is whole and on the disk before it takes the name; a crash at any moment leaves one of the two.
 */
#include "store/lmdb_int.h"
#include "base/mem.h"
#include "store/store_dir.h"

#include <fcntl.h>
#include <unistd.h>

static int copy(struct store_lmdb *l, int fd)
{
    int rc = mdb_env_copyfd2(l->env, fd, MDB_CP_COMPACT);

    if (rc)
        return lmdb_errno(rc);
    return fsync(fd) < 0 ? errno : 0;
}

int lmdb_compact(struct store_lmdb *l)
{
    CLEANUP(fd_closep)
    int fd = openat(l->dir_fd, STORE_NEW_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    int rc = fd < 0 ? errno : copy(l, fd);

    lmdb_env_close(l);
    if (!rc && (renameat(l->dir_fd, STORE_NEW_FILE, l->dir_fd, STORE_DATA_FILE) < 0 ||
                fsync(l->dir_fd) < 0))
        rc = errno;
    if (rc)
        (void)unlinkat(l->dir_fd, STORE_NEW_FILE, 0);
    return rc;
}
