/* The cgroups of one agent: /davit/INSTANCE/podUID/CONTAINER, in every v1 controller or in the one
 * v2 tree. Paths given and returned are relative to the cgroup root, as crun's cgroupsPath wants
 * them. The functions block for microseconds (removal: up to some milliseconds). */
#pragma once

#include "base/error.h"
#include "node/host.h"

#define CGROUP_CONTROLLERS_MAX 16
#define CGROUP_PATH_MAX        256

struct cgroups {
    enum cgroup_layout layout;                    /* V1 or V2 */
    char parent[64];                              /* "/davit/0123abcd" */
    char controllers[CGROUP_CONTROLLERS_MAX][24]; /* v1: directory names below /sys/fs/cgroup */
    unsigned n_controllers;
};

/* Values <= 0 leave what the kernel gives. */
struct cgroup_limits {
    int64_t cpu_shares;   /* v1 scale: 1024 is one CPU's weight */
    int64_t cpu_quota_us; /* per cpu_period_us */
    int64_t cpu_period_us;
    int64_t memory_bytes;
    int64_t pids;
};

struct cgroup_usage {
    uint64_t cpu_nsec;
    uint64_t memory_bytes;      /* charged */
    uint64_t working_set_bytes; /* without inactive file cache */
    uint64_t rss_bytes;
    uint64_t pids;
    uint64_t oom_kills;
};

/* Detects the layout (hybrid is refused: node_host_enter comes first) and makes the parent. */
int cgroups_init(struct cgroups *c, const char *data_dir, struct error *err) MUST_CHECK;
int cgroup_make(const struct cgroups *c, const char *path, const struct cgroup_limits *limits,
                struct error *err) MUST_CHECK;
/* Changes the limits of one that exists. */
int cgroup_update(const struct cgroups *c, const char *path,
                  const struct cgroup_limits *limits) MUST_CHECK;
/* SIGKILL to everything in it and below. Number of processes signalled (0: it is empty), or
 * negative. */
int cgroup_kill(const struct cgroups *c, const char *path);
/* Removes it and all below; processes must be gone: -EBUSY otherwise. Missing is fine. */
int cgroup_remove(const struct cgroups *c, const char *path) MUST_CHECK;
/* Kills and removes, trying for up to a second. */
int cgroup_destroy(const struct cgroups *c, const char *path) MUST_CHECK;
int cgroup_read_usage(const struct cgroups *c, const char *path,
                      struct cgroup_usage *ret) MUST_CHECK;
/* Moves a process. */
int cgroup_add_pid(const struct cgroups *c, const char *path, pid_t pid) MUST_CHECK;
/* cpu.weight (1..10000) of v2 for v1's shares (2..262144), by the formula runtimes agree on. */
uint64_t cgroup_weight_of_shares(uint64_t shares);
