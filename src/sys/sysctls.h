/* /proc/sys. Names with slashes below it: "net/ipv4/ip_forward". */
#pragma once

#include "base/base.h"

#define SYSCTL_VALUE_MAX 128

/* -ENOENT when the kernel has no such knob (module not loaded). The value comes without the
 * newline. */
int sysctl_get(const char *name, char ret[static SYSCTL_VALUE_MAX]) MUST_CHECK;
int sysctl_set(const char *name, const char *value) MUST_CHECK;
/* Sets it inside a network namespace; the net/ part only. */
int sysctl_set_in(int netns_fd, const char *name, const char *value) MUST_CHECK;
