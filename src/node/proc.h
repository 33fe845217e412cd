/* Facts from /proc. */
#pragma once

#include "base/base.h"

/* When the process began, in clock ticks since boot: with the pid it names a process for good. 0:
 * there is none (or it is a zombie). */
uint64_t proc_start_time(pid_t pid);
