/* Lines for people and for journald. Formatting happens on the caller's stack and leaves in a
 * single write, so threads and processes that share stderr do not tear each other's lines. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 4096 /* longer lines are cut; logs are not for payloads */

static const char *const level_names[_LOG_LEVEL_MAX] = {"debug", "info", "warn", "error"};
static const char *const level_marks[_LOG_LEVEL_MAX] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const int level_priority[_LOG_LEVEL_MAX] = {7, 6, 4, 3};

/* Process-wide by nature, as stderr is. */
static enum log_level log_threshold = LOG_LEVEL_INFO;
static const char *log_part = "davit";
static bool log_journal;

void log_init(const char *program_part, enum log_level level)
{
    log_part = program_part;
    log_threshold = level;
    log_journal = getenv("JOURNAL_STREAM") != NULL;
}

enum log_level log_level_parse(const char *s)
{
    for (int i = 0; i < _LOG_LEVEL_MAX; i++)
        if (strcmp(s, level_names[i]) == 0)
            return (enum log_level)i;
    return _LOG_LEVEL_INVALID;
}

enum log_level log_level_get(void)
{
    return log_threshold;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    int saved = errno, n;
    va_list ap;

    if (log_journal) {
        n = snprintf(line, sizeof(line), "<%d>%s: ", level_priority[level], log_part);
    } else {
        struct timespec ts;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        n = snprintf(line, sizeof(line),
                     "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s: ", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     ts.tv_nsec / 1000000, level_marks[level], log_part);
    }
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    n = MIN(n, (int)sizeof(line) - 1);
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0) { /* nowhere left to say so */
    }
    errno = saved;
}
