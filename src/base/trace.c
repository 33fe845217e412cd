/* The trace goes to the log at debug level whatever the log's threshold, since whoever switched it
 * on wants to see it now. */
#include "base/trace.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

bool trace_on;
static char trace_filter[128];

void trace_set(bool on, const char *filter)
{
    snprintf(trace_filter, sizeof(trace_filter), "%s", filter ? filter : "");
    __atomic_store_n(&trace_on, on, __ATOMIC_RELEASE);
}

void trace_write(const char *file, int line, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!trace_filter[0] || strstr(text, trace_filter))
        log_write(LOG_LEVEL_DEBUG, "trace %s:%d %s", file, line, text);
}
