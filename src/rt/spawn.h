/* Starting a child: everything is prepared before, so that between vfork and exec only system calls
 * are made. Inside src/rt only. */
#pragma once

#include "rt/process.h"

struct spawn {
    const char *path; /* of the program */
    char *const *argv;
    char *const *envp;
    const char *cwd;
    int stdio[3]; /* descriptors of ours that become 0, 1, 2 */
    const struct rt_process_fd *fds;
    size_t n_fds;
    const struct rt_process_opts *opts; /* session, pdeathsig, oom, cgroups, namespaces */
};

/* Returns 0 and the pid with a pidfd (yours), or the child's errno and at which step. */
int spawn_child(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, const char **ret_step);
