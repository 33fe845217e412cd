/* Eight small files are sixteen flushes when each is made durable by itself, longer than all the
 * rest of a first start. As one directory they are flushed together, on another thread, while the
 * store is made and the default objects are written. */
#include "main/keys.h"

#include "base/mem.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int keys_open(struct keys *k, const struct data_dir *dir, struct error *err)
{
    int r;

    *k = (struct keys){.dir = xstrdup(dir->pki)};
    if (access(dir->pki, F_OK) == 0)
        return 0;
    if (errno != ENOENT)
        return error_errno(err, errno, "%s", dir->pki);
    k->final = TAKE_PTR(k->dir);
    k->dir = xasprintf("%s.new", dir->pki);
    r = sys_remove_tree(AT_FDCWD, k->dir);
    if (r == 0 && mkdir(k->dir, 0700) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "cannot make the directory %s", k->dir) : 0;
}

int keys_settle(struct keys *k, struct error *err)
{
    CLEANUP(fd_closep) int dir = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep)
    int parent = dir < 0 ? -1 : openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = parent < 0 ? -errno : sys_sync_dir(dir);

    if (r == 0 && (rename(k->dir, k->final) < 0 || fsync(parent) < 0))
        r = -errno;
    return r < 0 ? error_errno(err, r, "cannot keep the new keys in %s", k->final) : 0;
}

void keys_fini(struct keys *k)
{
    free(k->dir);
    free(k->final);
    *k = (struct keys){0};
}
