/* Shared by layer.c (the archive), layer_entry.c (making entries) and layer_path.c (finding
 * places). */
#pragma once

#include <sys/stat.h>

#include "base/buf.h"
#include "node/image/layer.h"

struct archive_entry;

struct layer_dir_time { /* directories get their times last: making entries changes them */
    char *path;         /* owned; resolved */
    struct timespec mtime;
};

struct unpack {
    int rootfd; /* borrowed */
    unsigned flags;
    struct layer_limits limits;
    struct error *err; /* borrowed */
    uint64_t entries, bytes, bytes_at_check;
    char *cached_path; /* owned; resolved parent behind cached_fd, NULL: none */
    int cached_fd;
    struct layer_dir_time *times; /* owned */
    size_t n_times, cap_times;
};

/* Cleans an archive name lexically: no leading slashes, no ".", ".." folded. "" is the root.
 * -EBADMSG when it leaves the root, is too long or too deep. Appends to out, NUL terminated. */
int layer_clean_path(struct unpack *u, const char *name, struct buf *out) MUST_CHECK;
/* Descriptor (owned by u, valid until the next call) of the directory that holds `path`, with links
 * on the way resolved inside the root and missing directories made. *ret_base points into path.
 * `path` is clean and not "". */
int layer_parent(struct unpack *u, const char *path, bool make, int *ret_fd,
                 const char **ret_base) MUST_CHECK;
void layer_forget_parent(struct unpack *u); /* a directory or link went away or changed */

struct archive;
int layer_make_entry(struct unpack *u, struct archive *a, struct archive_entry *e) MUST_CHECK;
int layer_apply_times(struct unpack *u) MUST_CHECK;
int layer_account(struct unpack *u,
                  uint64_t bytes) MUST_CHECK; /* against bytes_max and the free space */
