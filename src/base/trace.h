/* Trace: fine-grained events, off by default, switched on live; can lock on to one object: with a
 * filter set, only lines that contain it (a pod's UID, a request id) come out. Costs one load when
 * off. */
#pragma once

#include "base/base.h"

extern bool trace_on; /* read-only for everyone but trace_set */

void trace_set(bool on, const char *filter); /* filter NULL or "": everything; copied */
void trace_write(const char *file, int line, const char *fmt, ...) PRINTF(3, 4);

#define trace(...)                                                                                 \
    do {                                                                                           \
        if (UNLIKELY(trace_on))                                                                    \
            trace_write(__FILE__, __LINE__, __VA_ARGS__);                                          \
    } while (0)
