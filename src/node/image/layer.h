/* Unpacking of one layer archive into a directory, in the form overlayfs stacks. */
#pragma once

#include "node/image/image.h"
#include "node/image/manifest.h"

/* What a stranger's archive may cost. Reached limits fail the unpack with REASON_INVALID. */
struct layer_limits {
    uint64_t bytes_max; /* of the uncompressed archive and of all files together */
    uint64_t entries_max;
    unsigned depth_max;          /* path components */
    unsigned path_max;           /* bytes of a path or link target */
    uint64_t disk_reserve_bytes; /* the file system keeps at least this much free */
};
#define LAYER_LIMITS_DEFAULT                                                                       \
    {                                                                                              \
        .bytes_max = UINT64_C(64) << 30, .entries_max = 4000000, .depth_max = 255,                 \
        .path_max = 4095, .disk_reserve_bytes = 64u << 20                                          \
    }

struct layer_result {
    char diff_id[DIGEST_BYTES + 1]; /* of the uncompressed archive */
    uint64_t size_bytes;            /* sum of the files' sizes */
    uint64_t entries;
};

#define LAYER_WHITEOUTS 1u /* turn .wh. entries into overlayfs form; else they are plain files */

/* Reads the archive (tar; plain, gzip, zstd, bzip2, xz) from fd and makes its entries below rootfd,
 * which must be an empty directory of which nobody else knows yet. Nothing outside of it is read or
 * written, whatever the names and links are. Blocking. On failure the directory is left half
 * filled, for the caller to remove. */
int layer_unpack(int fd, int rootfd, unsigned flags, const struct layer_limits *limits,
                 struct layer_result *ret, struct error *err) MUST_CHECK;
