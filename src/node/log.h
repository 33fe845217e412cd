/* Container logs, as conmon writes them in the CRI format: one line
 *   2026-11-23T21:39:55.497341391+00:00 stdout F text
 * P instead of F: the line goes on in the next record of the same stream. */
#pragma once

#include "base/buf.h"

struct log_line {
    struct str time; /* as written, RFC 3339 with nanoseconds */
    int stream;      /* 1 stdout, 2 stderr */
    bool partial;
    struct str text; /* without the newline */
};
/* line without its newline. -EINVAL for anything else. */
int log_line_parse(struct str line, struct log_line *ret) MUST_CHECK;
/* Nanoseconds since 1970; -1 when it cannot be read. */
int64_t log_time_nsec(struct str time);
/* The text of the last lines of a log file, at most so many lines and bytes. Nothing when it cannot
 * be read. Blocks. */
void log_tail_text(const char *path, unsigned lines, size_t bytes, struct buf *out);
/* Offset in [0, size] of fd's file where its last n full lines (records that end in F) begin.
 * Blocks. */
int64_t log_tail_offset(int fd, int64_t size, uint64_t n);
