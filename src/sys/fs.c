/* Mounting and walking where the contents are not ours: image layers and container roots can hold
 * any name, symlink or depth, so nothing here resolves a path twice or trusts what it read before.
 */
#include "sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define OVERLAY_LAYERS_MAX 400 /* "/proc/self/fd/999:" each must fit a page */

int sys_overlay_mount(const char *target, const char *const *lower, size_t n_lower,
                      const char *upper, const char *work, struct error *err)
{
    ASSERT(n_lower > 0 && !upper == !work);
    if (n_lower > OVERLAY_LAYERS_MAX)
        return error_set(err, REASON_INVALID, "%zu layers are more than overlayfs can stack",
                         n_lower);
    int *fds = xmalloc((n_lower + 2) * sizeof(*fds));
    size_t n = 0;
    int r = 0;
    struct buf opts = {0};
    buf_add_lit(&opts, "lowerdir=");
    for (size_t i = n_lower; i-- > 0 && r == 0;) {
        int fd = open(lower[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
            r = error_errno(err, errno, "layer %s", lower[i]);
            break;
        }
        fds[n++] = fd;
        buf_printf(&opts, "%s/proc/self/fd/%d", n > 1 ? ":" : "", fd);
    }
    const char *const rw[2] = {upper, work};
    for (int i = 0; i < 2 && r == 0 && upper; i++) {
        int fd = open(rw[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
            r = error_errno(err, errno, "%s", rw[i]);
            break;
        }
        fds[n++] = fd;
        buf_printf(&opts, ",%s=/proc/self/fd/%d", i == 0 ? "upperdir" : "workdir", fd);
    }
    if (r == 0 && mount("overlay", target, "overlay", 0, opts.data) < 0)
        r = error_errno(err, errno, "mount overlay on %s", target);
    while (n > 0)
        close(fds[--n]);
    free(fds);
    buf_fini(&opts);
    return r;
}

int sys_umount(const char *path)
{
    for (int i = 0; i < 64; i++) {
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            continue;
        return errno == EINVAL || errno == ENOENT ? 0 : -errno;
    }
    return -EBUSY;
}

int sys_is_mountpoint(const char *path)
{
    struct statx here, up;
    char *parent = xasprintf("%s/..", path);
    int r = statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &here) < 0 ||
                    statx(AT_FDCWD, parent, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &up) < 0
                ? -errno
                : 0;
    free(parent);
    if (r == -ENOTDIR)
        return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &here) < 0
                   ? -errno
                   : !!(here.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    if (r < 0)
        return r;
    if (here.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
        return !!(here.stx_attributes & STATX_ATTR_MOUNT_ROOT);
    return here.stx_dev_major != up.stx_dev_major || here.stx_dev_minor != up.stx_dev_minor;
}

/* mountinfo escapes blank, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++, out++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *out = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *out = *s;
        }
    }
    *out = '\0';
}

int sys_umount_below(const char *dir)
{
    char *text = NULL;
    size_t n = 0;
    char real[PATH_MAX];
    if (!realpath(dir, real))
        return errno == ENOENT ? 0 : -errno;
    int r = sys_read_file(AT_FDCWD, "/proc/self/mountinfo", 64u << 20, &text, &n);
    if (r < 0)
        return r;
    char **targets = NULL;
    size_t count = 0, cap = 0, len = strlen(real);
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *p = line;
        for (int field = 0; field < 4 && p; field++) {
            p = strchr(p, ' ');
            p = p ? p + 1 : NULL;
        }
        char *end = p ? strchr(p, ' ') : NULL;
        if (!end)
            continue;
        *end = '\0';
        unescape(p);
        if (strncmp(p, real, len) != 0 || (p[len] != '/' && p[len] != '\0'))
            continue;
        ARRAY_RESERVE(targets, count, cap);
        targets[count++] = p;
    }
    /* mountinfo lists parents first. */
    while (count > 0)
        if (umount2(targets[--count], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
            errno != ENOENT)
            r = -errno;
    free(targets);
    free(text);
    return r;
}

static int open2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
        .resolve = resolve,
    };
    for (int i = 0; i < 16; i++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR) /* EAGAIN: a rename raced with a ".." */
            break;
    }
    return -errno;
}

int sys_open_in_root(int dirfd, const char *path, int flags, mode_t mode)
{
    return open2(dirfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    return open2(dirfd, path, flags, mode,
                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}
