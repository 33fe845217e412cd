/* A directory whose files come from the API (ConfigMap, Secret, downward API, token), replaced as a
 * whole and atomically, in the layout Kubernetes fixed:
 *
 *   DIR/..2026_11_23_21_39_55.123456789/   the files
 *   DIR/..data -> ..2026_...               swapped by rename
 *   DIR/NAME -> ..data/NAME                first component of each path; made once
 *
 * A reader that opens through ..data sees all old or all new files. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct payload_file {
    struct str path; /* relative, no ".."; may have directories */
    struct str data;
    int32_t mode; /* permission bits */
};

struct payload {
    struct arena *arena; /* borrowed */
    struct payload_file *v;
    size_t n, cap;
};

/* A later file of the same path replaces the earlier one. Views are borrowed. -EINVAL: path would
 * leave. */
int payload_add(struct payload *p, struct str path, struct str data, int32_t mode,
                struct error *err) MUST_CHECK;
/* Brings dir (exists) to the payload. 1: changed; 0: was so already. gid >= 0: files belong to that
 * group and are group readable. Blocks. */
int payload_write(const char *dir, const struct payload *p, int64_t gid,
                  struct error *err) MUST_CHECK;
