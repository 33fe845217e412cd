/* Files and trees: atomic small files, and removal of trees that others filled. */
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define REMOVE_DEPTH_MAX 64 /* descriptors held at once */

static int remove_dir_contents(int fd, int topfd, dev_t dev, int depth);

static int remove_entry(int dirfd, int topfd, const char *name, dev_t dev, int depth)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    if (depth >= REMOVE_DEPTH_MAX) {
        /* Too deep to hold a descriptor a level: hang it near the top, the loop there meets it
         * again. */
        static _Atomic unsigned counter;
        char up[64];
        snprintf(up, sizeof(up), ".davit-rm-%d-%u", (int)getpid(), counter++);
        return renameat(dirfd, name, topfd, up) < 0 ? -errno : 0;
    }
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : st.st_dev != dev ? -EXDEV : 0;
    if (r == 0)
        r = remove_dir_contents(fd, topfd, dev, depth + 1); /* takes fd */
    else
        close(fd);
    if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

/* Takes fd. Passes over the directory until a pass finds nothing (entries may be hung here
 * meanwhile). */
static int remove_dir_contents(int fd, int topfd, dev_t dev, int depth)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    bool again = true;
    while (r == 0 && again) {
        again = false;
        rewinddir(d);
        struct dirent *e;
        while (r == 0 && (e = readdir(d))) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            again = true;
            r = remove_entry(dirfd(d), topfd < 0 ? dirfd(d) : topfd, e->d_name, dev, depth);
        }
    }
    closedir(d);
    return r;
}

int sys_remove_tree(int dirfd, const char *path)
{
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(dirfd, path, 0) < 0 && errno != ENOENT ? -errno : 0;
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0) {
        close(fd);
        return r;
    }
    r = remove_dir_contents(fd, -1, st.st_dev, 0);
    if (r == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int sys_mkdir_all(const char *path, mode_t mode)
{
    char *p = xstrdup(path);
    int r = 0;
    for (char *s = p + 1; r == 0; s++) {
        if (*s != '/' && *s != '\0')
            continue;
        char c = *s;
        *s = '\0';
        if (mkdir(p, mode) < 0 && errno != EEXIST)
            r = -errno;
        *s = c;
        if (c == '\0')
            break;
    }
    free(p);
    return r;
}

int sys_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -EIO;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Written beside it and renamed: nobody ever sees half of it. */
static int put_file(int dirfd, const char *name, const void *data, size_t n, mode_t mode, bool sync)
{
    static _Atomic unsigned counter;
    CLEANUP(freep) char *tmp = xasprintf("%s.tmp-%d-%u", name, (int)getpid(), counter++);
    CLEANUP(fd_closep) int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int r = fd < 0 ? -errno : fchmod(fd, mode) < 0 ? -errno : sys_write_all(fd, data, n);
    if (r == 0 && sync && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
        r = -errno;
    if (r < 0 && fd >= 0)
        (void)unlinkat(dirfd, tmp, 0);
    return r;
}

int sys_put_file(int dirfd, const char *name, const void *data, size_t n, mode_t mode)
{
    return put_file(dirfd, name, data, n, mode, false);
}

int sys_write_file(int dirfd, const char *name, const void *data, size_t n, mode_t mode)
{
    int r = put_file(dirfd, name, data, n, mode, true);
    if (r < 0)
        return r;
    const char *slash = strrchr(name, '/');
    CLEANUP(freep)
    char *dir = slash ? str_dup((struct str){name, (size_t)(slash - name) + 1}) : xstrdup(".");
    CLEANUP(fd_closep) int dfd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dfd < 0 || fsync(dfd) < 0 ? -errno : 0;
}

int sys_sync_dir(int dirfd)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (!d) {
        r = -errno;
        if (copy >= 0)
            (void)close(copy);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        if (e->d_type != DT_REG && e->d_type != DT_UNKNOWN)
            continue;
        CLEANUP(fd_closep)
        int fd = openat(dirfd, e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fsync(fd) < 0)
            r = -errno;
    }
    (void)closedir(d);
    return r < 0 ? r : fsync(dirfd) < 0 ? -errno : 0;
}

int sys_read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_n)
{
    CLEANUP(fd_closep) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct buf b = {0};
    for (;;) {
        char *p = buf_reserve(&b, 16384);
        ssize_t n = read(fd, p, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        int r = n < 0 ? -errno : b.n + (size_t)n > max ? -EFBIG : 0;
        if (r < 0) {
            buf_fini(&b);
            return r;
        }
        if (n == 0)
            break;
        b.n += (size_t)n;
    }
    buf_add_lit(&b, "");
    char *nul = buf_reserve(&b, 1);
    *nul = '\0';
    size_t n = 0;
    *ret = buf_take(&b, &n);
    if (ret_n)
        *ret_n = n;
    return 0;
}
