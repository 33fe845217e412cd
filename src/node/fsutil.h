/* File helpers of the agent: small files read and replaced whole, trees made and removed, mounts
 * found and undone. All block (a few microseconds to milliseconds): on the worker pool where the
 * amount is not bounded. 0 or negative errno. */
#pragma once

#include "base/buf.h"

/* Replaces path by a file with these bytes: written beside it and renamed, so a reader (or the next
 * agent) sees the old or the new content, never half of it. Not synced: it must outlive our death,
 * not the machine's. */
int fs_write_atomic(const char *path, struct str data, mode_t mode) MUST_CHECK;
/* Plain write, truncating; for files nobody reads before they are complete. */
int fs_write(const char *path, struct str data, mode_t mode) MUST_CHECK;
/* Appends the content to out; -EFBIG above bytes_max. Works for /proc and /sys files. */
int fs_read(const char *path, size_t bytes_max, struct buf *out) MUST_CHECK;
/* A decimal number in a file ("123\n"). */
int fs_read_i64(const char *path, int64_t *ret) MUST_CHECK;
/* mkdir -p; an existing directory is fine. */
int fs_mkdirs(const char *path, mode_t mode) MUST_CHECK;
/* rm -rf that follows no link and enters no other file system. Missing is fine. The first error is
 * returned after everything else was removed. */
int fs_rm_rf(const char *path) MUST_CHECK;
bool fs_exists(const char *path);
bool fs_is_mount_point(const char *path); /* last component; false when it does not exist */
/* Unmounts (lazily) everything mounted at or below path in this mount namespace, topmost first. */
int fs_umount_below(const char *path) MUST_CHECK;
/* Removes a container's bundle: unmounts bundle/rootfs and bundle/sub/N, which is all that is ever
 * mounted in one, without reading the table of all mounts, then the files. */
int fs_remove_bundle(const char *bundle) MUST_CHECK;
/* Calls fn for each entry but . and ..; stops at its first non-zero answer and returns it. */
int fs_each(const char *dir, int (*fn)(void *arg, const char *name, unsigned char d_type),
            void *arg) MUST_CHECK;

/* Path building into a fixed buffer; a path that does not fit is a BUG (components are bounded). */
#define FS_PATH_MAX 1024
struct fs_path {
    char s[FS_PATH_MAX];
};
struct fs_path fs_path(const char *fmt, ...) PRINTF(1, 2);
