/* Facts from /proc. */
#pragma once

#include "base/str.h"

/* When the process began, in clock ticks since boot: with the pid it names a process for good. 0:
 * there is none (or it is a zombie). */
uint64_t proc_start_time(pid_t pid);
/* The same of the text of /proc/PID/stat, which holds a name of anybody's choice. */
uint64_t proc_stat_start_time(struct str stat);
/* The text of an exit file, as conmon writes it. 0, or negative: it is none (yet). */
int proc_exit_parse(struct str text, int *ret_code) MUST_CHECK;
