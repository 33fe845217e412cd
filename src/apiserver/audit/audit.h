/* The audit log: JSON lines in a file of its own, written by a thread of its own. Whoever tells it
 * something never waits: lines queue up to a bound, beyond it they are dropped and counted.
 * A file that is full is renamed NAME-TIME.EXT; old ones are removed by number and age. */
#pragma once

#include "apiserver/audit/audit_policy.h"
#include "base/buf.h"

#define AUDIT_QUEUE_BYTES_MAX (64u << 20) /* of lines nobody has written yet */

struct audit;

struct audit_opts {
    const char *policy_file, *path; /* "-": standard output */
    int64_t max_bytes;              /* of one file; 0: no bound */
    int64_t max_backups;            /* kept besides it; 0: all */
    int64_t max_age_s;              /* of those; 0: any */
};

/* Reads the policy, opens the file and starts the thread. */
int audit_new(const struct audit_opts *o, struct audit **ret, struct error *err) MUST_CHECK;
/* What was told is written. Nobody tells anything any more. Takes NULL; returns NULL. */
struct audit *audit_free(struct audit *a);
const struct audit_policy *audit_policy_of(const struct audit *a);
/* Any thread. One line without its end; the memory is taken. */
void audit_tell(struct audit *a, struct buf *line);
uint64_t audit_dropped(const struct audit *a);
