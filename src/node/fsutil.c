/* The agent keeps what it must know after its own death in small files. They are written so that a
 * reader never sees half of one, and removed so that a hostile container cannot lead the removal
 * out of its directory: everything goes by directory descriptors, nothing follows a link, no mount
 * is crossed. */
#include "node/fsutil.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fs.h"

#define FS_DEPTH_MAX 512 /* of a tree to remove; deeper ones are renamed up first */

struct fs_path fs_path(const char *fmt, ...)
{
    struct fs_path p;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(p.s, sizeof(p.s), fmt, ap);
    va_end(ap);
    ASSERT(n >= 0 && (size_t)n < sizeof(p.s));
    return p;
}

int fs_write(const char *path, struct str data, mode_t mode)
{
    CLEANUP(fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    return sys_write_all(fd, data.p, data.n);
}

int fs_write_atomic(const char *path, struct str data, mode_t mode)
{
    struct fs_path tmp = fs_path("%s.tmp%d", path, (int)gettid());
    int r = fs_write(tmp.s, data, mode);
    if (r == 0 && rename(tmp.s, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(tmp.s);
    return r;
}

int fs_read(const char *path, size_t bytes_max, struct buf *out)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t total = 0;
    for (;;) {
        size_t want = MIN(bytes_max + 1 - total, (size_t)16384);
        char *p = buf_reserve(out, want);
        if (!p)
            return -EFBIG;
        ssize_t n = read(fd, p, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        out->n += (size_t)n;
        total += (size_t)n;
        if (total > bytes_max)
            return -EFBIG;
    }
    buf_add(out, "", 0);
    return 0;
}

int fs_read_i64(const char *path, int64_t *ret)
{
    struct buf b = {0};
    int r = fs_read(path, 64, &b);
    if (r == 0)
        r = str_to_i64(str_trim(buf_str(&b)), ret);
    buf_fini(&b);
    return r;
}

int fs_mkdirs(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return -errno;
    struct fs_path p = fs_path("%s", path);
    for (char *s = p.s + 1; *s; s++) {
        if (*s != '/')
            continue;
        *s = 0;
        if (mkdir(p.s, mode) < 0 && errno != EEXIST)
            return -errno;
        *s = '/';
    }
    return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

bool fs_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

static int rm_contents(int dirfd_taken, dev_t dev, unsigned depth)
{
    if (depth > FS_DEPTH_MAX) {
        close(dirfd_taken);
        return -ELOOP;
    }
    DIR *d = fdopendir(dirfd_taken);
    if (!d) {
        int r = -errno;
        close(dirfd_taken);
        return r;
    }
    int first = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (is_dot(e->d_name))
            continue;
        if (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        int r = -errno;
        if (errno == EISDIR || errno == EPERM) {
            int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            struct stat st;
            if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == dev) {
                r = rm_contents(fd, dev, depth + 1);
                if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                    r = 0;
                else if (r == 0)
                    r = -errno;
            } else if (fd >= 0) {
                close(fd);
                r = -EBUSY;
            }
        }
        if (r < 0 && first == 0)
            first = r;
    }
    closedir(d);
    return first;
}

int fs_rm_rf(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            return 0;
        if (errno != ENOTDIR && errno != ELOOP)
            return -errno;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    }
    struct stat st;
    if (fstat(fd, &st) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = rm_contents(fd, st.st_dev, 0);
    if (rmdir(path) == 0 || errno == ENOENT)
        return 0;
    return r < 0 ? r : -errno;
}

/* Octal escapes of mountinfo: \040 space, \011 tab, \012 newline, \134 backslash. In place. */
static void unescape_octal(char *s)
{
    char *w = s;
    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *w++ = (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
            s += 4;
        } else {
            *w++ = *s++;
        }
    }
    *w = 0;
}

static bool path_below(const char *p, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(p, dir, n) == 0 && (p[n] == 0 || p[n] == '/');
}

bool fs_is_mount_point(const char *path)
{
    struct statx a;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &a) < 0)
        return false;
    return (a.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
           (a.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int fs_umount_below(const char *path)
{
    int r = 0;
    /* Later lines lie over earlier ones; a second round catches what was hidden under another
     * mount. */
    for (int round = 0; round < 8; round++) {
        FILE *f = fopen("/proc/self/mountinfo", "re");
        if (!f)
            return -errno;
        char **v = NULL, *line = NULL;
        size_t n = 0, cap = 0, line_cap = 0;
        while (getline(&line, &line_cap, f) > 0) {
            char *p = line;
            for (int i = 0; i < 4 && p; i++)
                if ((p = strchr(p, ' ')))
                    p++;
            if (!p)
                continue;
            p[strcspn(p, " ")] = 0;
            unescape_octal(p);
            if (!path_below(p, path))
                continue;
            ARRAY_RESERVE(v, n, cap);
            v[n++] = xstrdup(p);
        }
        free(line);
        fclose(f);
        size_t found = n;
        r = 0;
        while (n-- > 0) {
            if (umount2(v[n], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
                errno != ENOENT)
                r = -errno;
            free(v[n]);
        }
        free(v);
        if (found == 0)
            return 0;
    }
    return r;
}

int fs_each(const char *dir, int (*fn)(void *arg, const char *name, unsigned char d_type),
            void *arg)
{
    DIR *d = opendir(dir);
    if (!d)
        return -errno;
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));)
        if (!is_dot(e->d_name))
            r = fn(arg, e->d_name, e->d_type);
    closedir(d);
    return r;
}

static int umount_sub(void *arg, const char *name, unsigned char type)
{
    (void)umount2(fs_path("%s/sub/%s", (const char *)arg, name).s, MNT_DETACH | UMOUNT_NOFOLLOW);
    return 0;
}

int fs_remove_bundle(const char *bundle)
{
    if (!fs_exists(bundle))
        return 0;
    (void)umount2(fs_path("%s/rootfs", bundle).s, MNT_DETACH | UMOUNT_NOFOLLOW);
    (void)!fs_each(fs_path("%s/sub", bundle).s, umount_sub, (void *)(uintptr_t)bundle);
    int r = fs_rm_rf(bundle);
    if (r == -EBUSY && (r = fs_umount_below(bundle)) == 0)
        r = fs_rm_rf(bundle);
    return r;
}
