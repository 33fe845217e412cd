/* What the host is like, and the places the agent uses on it. */
#pragma once

#include "base/error.h"

enum cgroup_layout {
    CGROUP_LAYOUT_V2,     /* one tree at /sys/fs/cgroup */
    CGROUP_LAYOUT_V1,     /* a tree per controller */
    CGROUP_LAYOUT_HYBRID, /* v1 controllers and an empty v2 tree at /sys/fs/cgroup/unified */
    _CGROUP_LAYOUT_MAX,
    _CGROUP_LAYOUT_INVALID = -EINVAL,
};
/* As this process sees it now; after node_host_enter a hybrid host looks like v1. -ENOENT: no
 * cgroups mounted. */
int host_cgroup_layout(enum cgroup_layout *ret, struct error *err) MUST_CHECK;

#define HOST_INSTANCE_LEN 8
/* The name of this data directory among several on one machine: hex digits of its canonical path's
 * hash. */
void host_instance(const char *data_dir, char ret[static HOST_INSTANCE_LEN + 1]);

/* "/run/davit/INSTANCE": what must not survive a reboot (crun's state, sockets). */
#define HOST_RUN_ROOT "/run/davit"

/* Joins the private mount namespace of data_dir if one is kept. 1 joined, 0 there is none.
 * Single-threaded. */
int host_join_mount_ns(const char *data_dir, struct error *err) MUST_CHECK;
/* Lets go of the kept namespace (it vanishes with its last process). Called from outside of it, so
 * before joining; or after it from a child that has not joined. */
int host_drop_mount_ns(const char *data_dir) MUST_CHECK;
