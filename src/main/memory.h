/* What the allocator keeps: davit is small when idle and should be again after work. */
#pragma once

#include "rt/rt.h"

/* First thing of a process, before it has threads: at most so many arenas (threads beyond that
 * share), and when they give back. */
void memory_tune(unsigned arenas);

struct memory_tend {
    struct rt_timer timer;
    size_t waste_bytes; /* that was left by the last trim: fragments, no use to try again for */
    size_t code_bytes;  /* pages of files that are of use, as far as that is known */
    bool code_dropped;  /* by the last look: the next tells what came back */
};

/* Looks now and then whether much is still resident that is free, or code that is not run, and
 * gives it back to the system. */
void memory_tend_start(struct memory_tend *m, struct rt *rt);
void memory_tend_stop(struct memory_tend *m); /* idempotent */
