/* Logging to stderr, one line a record: `2026-01-02T03:04:05.678Z INFO  server: text key=value`.
 * Layers 0-3 do not log; they return errors. Under systemd (JOURNAL_STREAM) the time is left out
 * and a priority prefix is written. Thread-safe: one write(2) a line. */
#pragma once

#include "base/base.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    _LOG_LEVEL_MAX,
    _LOG_LEVEL_INVALID = -EINVAL,
};

void log_init(const char *program_part, enum log_level level); /* "server", "agent" */
enum log_level log_level_parse(const char *s);                 /* _LOG_LEVEL_INVALID when unknown */
enum log_level log_level_get(void);
void log_write(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_at(level, ...)                                                                         \
    do {                                                                                           \
        if ((level) >= log_level_get())                                                            \
            log_write((level), __VA_ARGS__);                                                       \
    } while (0)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
