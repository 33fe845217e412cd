/* Trace: fine-grained events, off by default, switched on live; can lock on to one object: with a
 * filter set, only lines that contain it (a pod's UID, a request id) come out. Costs one load when
 * off. */
#pragma once

#include "base/buf.h"

extern bool trace_on; /* read-only for everyone but trace_set */

void trace_set(bool on, const char *filter); /* filter NULL or "": everything; copied */
void trace_write(const char *file, int line, const char *fmt, ...) PRINTF(3, 4);

#define trace(...)                                                                                 \
    do {                                                                                           \
        if (UNLIKELY(trace_on))                                                                    \
            trace_write(__FILE__, __LINE__, __VA_ARGS__);                                          \
    } while (0)

/* ---- taps: what somebody follows live, without the log ---- */

#define TRACE_TAPS_MAX        4
#define TRACE_TAP_BYTES_MAX   (256u << 10) /* of lines nobody has read; the oldest go */
#define TRACE_TAP_MATCH_BYTES 200
#define TRACE_TAP_LEASE_S     5 /* who does not read for so long has gone: it is closed */

/* Lines that contain `match` since the tap was opened (by the first read), from *pos on (0: from
 * the start); *pos moves on, *ret_lost is how many bytes went before they were read. match is
 * compared as a whole: "pods/a" is not in "pods/a-1", but in "pods/a/status". -EINVAL: it is empty
 * or too long; -EBUSY: all taps are taken. Any thread. */
int trace_tap_read(struct str match, uint64_t *pos, uint64_t *ret_lost, struct buf *out) MUST_CHECK;
void trace_taps_close(void);
void trace_taps_print(struct buf *out); /* "followed: MATCH\n" for each */
