/* Network (and other) namespaces held by bind mounts, so that they outlive the process that made
 * them. */
#pragma once

#include "base/base.h"

/* Runs fn(arg) on the calling thread inside the network namespace and comes back. Aborts when it
 * cannot come back (the thread would go on in the wrong place). Returns fn's result or -errno. */
int netns_run(int netns_fd, int (*fn)(void *arg), void *arg) MUST_CHECK;

/* Makes a new network namespace and binds it to `path` (the file is made; its directory must be
 * there). Done in a short-lived thread, so the caller's namespace never changes. -EEXIST when path
 * exists and is a namespace already. */
int netns_create(const char *path) MUST_CHECK;
/* Opens it; -ENOENT, or -EINVAL when the file is not a network namespace (left over from a reboot).
 */
int netns_open(const char *path, int *ret_fd) MUST_CHECK;
/* Unmounts and removes; 0 also when it was not there. */
int netns_delete(const char *path) MUST_CHECK;
