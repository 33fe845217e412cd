/* Making one entry of a layer. Order matters for safety: owner before mode (chown clears setuid),
 * mode and attributes through descriptors or without following links, an existing object of another
 * type is removed first. Whiteouts become what overlayfs understands: a character device 0/0 hides
 * a name, the attribute trusted.overlay.opaque hides all that lower layers have in a directory. */
#include "node/image/layer_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/image/archive_lazy.h"
#include "sys/fs.h"

#define WHITEOUT_PREFIX   ".wh."
#define OPAQUE_NAME       ".wh..wh..opq"
#define XATTR_BYTES_MAX   65536 /* the kernel's own limit of one value */
#define XATTRS_MAX        256
#define SPACE_CHECK_BYTES (64u << 20)

static int entry_error(struct unpack *u, int errnum, const char *path, const char *what)
{
    return error_errno(u->err, errnum, "layer: %s \"%.200s\"", what, path);
}

int layer_account(struct unpack *u, uint64_t bytes)
{
    u->bytes += bytes;
    if (u->bytes > u->limits.bytes_max)
        return error_set(u->err, REASON_INVALID, "layer: unpacks to more than %llu bytes",
                         (unsigned long long)u->limits.bytes_max);
    if (u->bytes - u->bytes_at_check < SPACE_CHECK_BYTES)
        return 0;
    u->bytes_at_check = u->bytes;
    struct statvfs fs;
    if (fstatvfs(u->rootfd, &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize < u->limits.disk_reserve_bytes)
        return error_set(u->err, REASON_STORAGE_FULL,
                         "layer: no space left on the image file system");
    return 0;
}

/* Data blocks come with offsets: holes stay holes. */
static int write_data(struct unpack *u, struct archive *a, struct archive_entry *e, int fd,
                      const char *path)
{
    const void *p;
    size_t n;
    la_int64_t at;
    int64_t size = archive_entry_size_is_set(e) ? archive_entry_size(e) : 0;
    if (size < 0 || (uint64_t)size > u->limits.bytes_max)
        return error_set(u->err, REASON_INVALID, "layer: \"%.200s\" claims an absurd size", path);
    for (;;) {
        int r = archive_read_data_block(a, &p, &n, &at);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return error_set(u->err, REASON_INVALID, "layer: \"%.200s\": %s", path,
                             archive_error_string(a));
        if (at < 0 || at + (int64_t)n > size)
            return error_set(u->err, REASON_INVALID, "layer: \"%.200s\": data beyond its size",
                             path);
        int acc = layer_account(u, n);
        if (acc < 0)
            return acc;
        for (size_t done = 0; done < n;) {
            ssize_t w = pwrite(fd, (const char *)p + done, n - done, at + (off_t)done);
            if (w < 0 && errno == EINTR)
                continue;
            if (w < 0)
                return entry_error(u, errno, path, "write");
            done += (size_t)w;
        }
    }
    return ftruncate(fd, size) < 0 ? entry_error(u, errno, path, "size of") : 0;
}

/* Only attributes that mean something in a container: trusted.* would let an image speak to
 * overlayfs, and security labels belong to the host. */
static bool xattr_wanted(const char *name)
{
    return strcmp(name, "security.capability") == 0 || strncmp(name, "user.", 5) == 0;
}

static int set_xattrs(struct unpack *u, struct archive_entry *e, int dirfd, const char *base,
                      const char *path)
{
    const char *name;
    const void *value;
    size_t n;
    int count = archive_entry_xattr_reset(e);
    if (count == 0)
        return 0;
    if (count > XATTRS_MAX)
        return error_set(u->err, REASON_INVALID, "layer: \"%.200s\" has more than %d attributes",
                         path, XATTRS_MAX);
    /* lsetxattr by /proc: there is no setxattrat before Linux 6.13. dirfd is ours, base one
     * component. */
    char proc[64 + NAME_MAX + 1];
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dirfd, base);
    while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
        if (!name || !xattr_wanted(name) || n > XATTR_BYTES_MAX)
            continue;
        /* user.* is refused on symlinks and devices, and some file systems have none: then it is
         * lost. */
        if (lsetxattr(proc, name, value, n, 0) < 0 && errno != ENOTSUP && errno != EPERM)
            return entry_error(u, errno, path, "attribute of");
    }
    return 0;
}

static void keep_dir_time(struct unpack *u, const char *path, const struct timespec *mtime)
{
    ARRAY_RESERVE(u->times, u->n_times, u->cap_times);
    u->times[u->n_times++] = (struct layer_dir_time){.path = xstrdup(path), .mtime = *mtime};
}

static struct timespec entry_mtime(struct archive_entry *e)
{
    if (!archive_entry_mtime_is_set(e))
        return (struct timespec){0};
    return (struct timespec){archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
}

int layer_apply_times(struct unpack *u)
{
    for (size_t i = 0; i < u->n_times; i++) {
        struct timespec ts[2] = {u->times[i].mtime, u->times[i].mtime};
        /* Gone or replaced by a later entry: nothing to do. */
        CLEANUP(fd_closep)
        int fd = sys_open_beneath(u->rootfd, u->times[i].path[0] ? u->times[i].path : ".",
                                  O_RDONLY | O_DIRECTORY, 0);
        if (fd >= 0)
            (void)futimens(fd, ts);
    }
    return 0;
}

/* Owner, attributes, mode, time, for everything but symlinks' modes. */
static int set_metadata(struct unpack *u, struct archive_entry *e, int dirfd, const char *base,
                        const char *path)
{
    mode_t type = archive_entry_filetype(e);
    la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
    if (uid < 0 || uid > UINT32_MAX - 1 || gid < 0 || gid > UINT32_MAX - 1)
        return error_set(u->err, REASON_INVALID, "layer: \"%.200s\" has an impossible owner", path);
    if (fchownat(dirfd, base, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
        return entry_error(u, errno, path, "owner of");
    int r = set_xattrs(u, e, dirfd, base, path);
    if (r < 0)
        return r;
    if (type != AE_IFLNK && fchmodat(dirfd, base, archive_entry_perm(e) & 07777, 0) < 0)
        return entry_error(u, errno, path, "mode of");
    struct timespec mtime = entry_mtime(e);
    if (type == AE_IFDIR) {
        keep_dir_time(u, path, &mtime);
        return 0;
    }
    struct timespec ts[2] = {mtime, mtime};
    return utimensat(dirfd, base, ts, AT_SYMLINK_NOFOLLOW) < 0
               ? entry_error(u, errno, path, "time of")
               : 0;
}

/* Clears the way for an entry that is not a directory (or a directory over something else). */
static int make_room(struct unpack *u, int dirfd, const char *base, bool dir, const char *path)
{
    struct stat st;
    if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : entry_error(u, errno, path, "look at");
    if (dir && S_ISDIR(st.st_mode))
        return 1;
    int r;
    if (S_ISDIR(st.st_mode)) {
        CLEANUP(fd_closep)
        int own = fcntl(dirfd, F_DUPFD_CLOEXEC, 0); /* the cache may be dropped below */
        layer_forget_parent(u);
        r = own < 0 ? -errno : sys_remove_tree(own, base);
        return r < 0 ? entry_error(u, -r, path, "replace") : 2;
    }
    r = unlinkat(dirfd, base, 0) < 0 ? -errno : 0;
    if (S_ISLNK(st.st_mode)) {
        layer_forget_parent(u);
        return r < 0 ? entry_error(u, -r, path, "replace") : 2;
    }
    return r < 0 ? entry_error(u, -r, path, "replace") : 0;
}

static int whiteout(struct unpack *u, const char *path)
{
    int dirfd;
    const char *base;
    int r = layer_parent(u, path, true, &dirfd, &base);
    if (r < 0)
        return entry_error(u, -r, path, "directory of");
    if (strcmp(base, OPAQUE_NAME) == 0) {
        char proc[64];
        snprintf(proc, sizeof(proc), "/proc/self/fd/%d", dirfd);
        return setxattr(proc, "trusted.overlay.opaque", "y", 1, 0) < 0
                   ? entry_error(u, errno, path, "opaque mark")
                   : 0;
    }
    const char *name = base + strlen(WHITEOUT_PREFIX);
    if (strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0)
        return 0; /* aufs' own files */
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(u->err, REASON_INVALID, "layer: whiteout of no name in \"%.200s\"", path);
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0; /* the layer itself has it: a whiteout speaks of lower layers only (OCI
                     image-spec, layer.md) */
    return mknodat(dirfd, name, S_IFCHR, makedev(0, 0)) < 0
               ? entry_error(u, errno, path, "whiteout")
               : 0;
}

static int make_hardlink(struct unpack *u, const char *target, int dirfd, const char *base,
                         const char *path)
{
    struct buf clean = {0};
    const char *tbase;
    int tfd, r = layer_clean_path(u, target, &clean);
    if (r < 0 || clean.n == 0) {
        buf_fini(&clean);
        return r < 0 ? r
                     : error_set(u->err, REASON_INVALID,
                                 "layer: \"%.200s\" is a hard link to the root", path);
    }
    CLEANUP(fd_closep) int own = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    r = own < 0 ? -errno : layer_parent(u, clean.data, false, &tfd, &tbase);
    if (r == 0 && linkat(tfd, tbase, own, base, 0) < 0)
        r = -errno;
    buf_fini(&clean);
    return r < 0 ? entry_error(u, -r, path, "hard link") : 0;
}

static int make_file(struct unpack *u, struct archive *a, struct archive_entry *e, int dirfd,
                     const char *base, const char *path)
{
    CLEANUP(fd_closep)
    int fd = openat(dirfd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return entry_error(u, errno, path, "create");
    return write_data(u, a, e, fd, path);
}

static int make_special(struct unpack *u, struct archive_entry *e, int dirfd, const char *base,
                        const char *path)
{
    mode_t type = archive_entry_filetype(e);
    dev_t dev = makedev(archive_entry_rdevmajor(e), archive_entry_rdevminor(e));
    if (type == AE_IFCHR && dev == makedev(0, 0))
        return error_set(u->err, REASON_INVALID,
                         "layer: \"%.200s\" is a device 0/0, which overlayfs reserves", path);
    return mknodat(dirfd, base, type | 0600, type == AE_IFIFO ? 0 : dev) < 0
               ? entry_error(u, errno, path, "device")
               : 0;
}

static int make_object(struct unpack *u, struct archive *a, struct archive_entry *e, int dirfd,
                       const char *base, const char *path, bool exists)
{
    const char *link = archive_entry_symlink(e);
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
        return make_file(u, a, e, dirfd, base, path);
    case AE_IFDIR:
        return !exists && mkdirat(dirfd, base, 0700) < 0 ? entry_error(u, errno, path, "directory")
                                                         : 0;
    case AE_IFLNK:
        if (!link || !link[0] || strlen(link) > u->limits.path_max)
            return error_set(u->err, REASON_INVALID, "layer: \"%.200s\" is a link to nothing",
                             path);
        return symlinkat(link, dirfd, base) < 0 ? entry_error(u, errno, path, "link") : 0;
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        return make_special(u, e, dirfd, base, path);
    default:
        return error_set(u->err, REASON_INVALID, "layer: \"%.200s\" has an unknown type", path);
    }
}

static int make_root(struct unpack *u, struct archive_entry *e)
{
    if (archive_entry_filetype(e) != AE_IFDIR)
        return error_set(u->err, REASON_INVALID, "layer: the root is no directory");
    return set_metadata(u, e, u->rootfd, ".", "");
}

static int make_at(struct unpack *u, struct archive *a, struct archive_entry *e, const char *path)
{
    int dirfd;
    const char *base, *hardlink = archive_entry_hardlink(e);
    int r = layer_parent(u, path, true, &dirfd, &base);
    if (r < 0)
        return entry_error(u, -r, path, "directory of");
    bool dir = !hardlink && archive_entry_filetype(e) == AE_IFDIR;
    int room = make_room(u, dirfd, base, dir, path);
    if (room < 0)
        return room;
    if (room == 2) { /* the cached parent was dropped */
        r = layer_parent(u, path, true, &dirfd, &base);
        if (r < 0)
            return entry_error(u, -r, path, "directory of");
    }
    if (hardlink)
        return make_hardlink(u, hardlink, dirfd, base, path);
    r = make_object(u, a, e, dirfd, base, path, room == 1);
    return r < 0 ? r : set_metadata(u, e, dirfd, base, path);
}

int layer_make_entry(struct unpack *u, struct archive *a, struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e);
    if (!name)
        return error_set(u->err, REASON_INVALID, "layer: an entry without a readable name");
    if (++u->entries > u->limits.entries_max)
        return error_set(u->err, REASON_INVALID, "layer: more than %llu entries",
                         (unsigned long long)u->limits.entries_max);
    struct buf path = {0};
    int r = layer_clean_path(u, name, &path);
    if (r == 0 && path.n == 0) {
        r = make_root(u, e);
    } else if (r == 0) {
        const char *slash = strrchr(path.data, '/');
        const char *base = slash ? slash + 1 : path.data;
        bool wh = (u->flags & LAYER_WHITEOUTS) &&
                  strncmp(base, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0;
        r = wh ? whiteout(u, path.data) : make_at(u, a, e, path.data);
    }
    buf_fini(&path);
    return r;
}
