/* Mount helpers, and safe walks below a directory that others wrote. (Not named mount.h: with src/
 * on the include path that would hide the C library's <sys/mount.h>.) */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* Mounts an overlay on `target`. lower: absolute directories, BOTTOM first, at least one; upper and
 * work may both be NULL (read-only). Takes any number of layers up to 400 whatever their path
 * lengths (each is passed as /proc/self/fd/N, so the page of mount options is enough). */
int sys_overlay_mount(const char *target, const char *const *lower, size_t n_lower,
                      const char *upper, const char *work, struct error *err) MUST_CHECK;
/* Lazily unmounts everything mounted at path, innermost last; 0 when nothing is. */
int sys_umount(const char *path) MUST_CHECK;
/* Whether something is mounted exactly at path. <0: errno. */
int sys_is_mountpoint(const char *path) MUST_CHECK;
/* Unmounts every mount of this mount namespace whose target lies at or below dir. */
int sys_umount_below(const char *dir) MUST_CHECK;

/* openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: path is resolved as if dirfd were "/",
 * symlinks and
 * ".." included; nothing outside can be reached. -ENOSYS before Linux 5.6. */
int sys_open_in_root(int dirfd, const char *path, int flags, mode_t mode) MUST_CHECK;
/* The same with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS: -ELOOP at any symlink, -EXDEV at an escape.
 */
int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode) MUST_CHECK;

/* Removes path and everything below it, never crossing into another file system or following a
 * symlink. 0 also when it does not exist. Depth is bounded only by descriptors: it keeps one a
 * level, at most 64, then works by moving deeper parts up. */
int sys_remove_tree(int dirfd, const char *path);
/* mkdir -p; existing directories are kept as they are. */
int sys_mkdir_all(const char *path, mode_t mode) MUST_CHECK;
/* All of it, however the kernel cuts it. */
int sys_write_all(int fd, const void *data, size_t n) MUST_CHECK;
/* Atomic, durable replacement of dir/name: temporary file, fsync, rename, fsync of the directory.
 */
int sys_write_file(int dirfd, const char *name, const void *data, size_t n, mode_t mode) MUST_CHECK;
/* The same without the flushes: for what can be made again after a crash of the machine. */
int sys_put_file(int dirfd, const char *name, const void *data, size_t n, mode_t mode) MUST_CHECK;
/* Flushes every file of a directory (not of those below it) and the directory itself. */
int sys_sync_dir(int dirfd) MUST_CHECK;
/* Whole small file, NUL terminated, heap. -EFBIG above max. */
int sys_read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_n) MUST_CHECK;
