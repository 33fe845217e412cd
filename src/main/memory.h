/* What the allocator keeps: davit is small when idle and should be again after work. */
#pragma once

#include "rt/rt.h"

/* First thing of a process, before it has threads: at most so many arenas. Threads beyond that
 * share. */
void memory_limit_arenas(unsigned n);

struct memory_tend {
    struct rt_timer timer;
    size_t waste_bytes; /* that was left by the last trim: fragments, no use to try again for */
};

/* Looks now and then whether much free memory is still resident, and gives it back to the system.
 */
void memory_tend_start(struct memory_tend *m, struct rt *rt);
void memory_tend_stop(struct memory_tend *m); /* idempotent */
