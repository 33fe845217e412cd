/* Trace of calls: each line says which request, what for and who asks. */
#pragma once

#include "apiserver/call.h"
#include "base/trace.h"

#define call_trace(c, ...)                                                                         \
    do {                                                                                           \
        if (UNLIKELY(trace_on))                                                                    \
            call_trace_write((c), __VA_ARGS__);                                                    \
    } while (0)
void call_trace_write(const struct api_call *c, const char *fmt, ...) PRINTF(2, 3);
/* "pods/default/box/status", or the path. At most n bytes. */
const char *call_subject(const struct api_call *c, char *out, size_t n);
