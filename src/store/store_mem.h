/* The store's backend in memory: for tests and the simulator. The "disk" is an object of its own,
 * so that a server can die and be opened again on what was durable at that moment. */
#pragma once

#include "store/backend.h"

struct store_disk; /* outlives the backends made on it; one open at a time */

struct store_disk *store_disk_new(void);
struct store_disk *store_disk_free(struct store_disk *d); /* takes NULL; returns NULL */

/* What may go wrong, changed at any time; zeroed: nothing, commits take no (virtual) time. */
struct store_disk_faults {
    nsec_t latency_min, latency_max; /* of a commit, uniform */
    uint64_t fail_nth; /* the n-th commit from now (1: the next) fails; counts down to 0: never */
    int fail_error;    /* its errno, positive; 0: EIO */
    bool fail_unknown; /* it reports an unknown outcome; whether it was kept is decided by fail_kept
                        */
    bool fail_kept;
    bool full;        /* every commit fails with ENOSPC until cleared */
    bool crash_keeps; /* store_abandon in the middle of a commit: it is found afterwards */
};
struct store_disk_faults *store_disk_faults(struct store_disk *d);
uint64_t store_disk_commits(const struct store_disk *d); /* successful ones, ever */
rev_t store_disk_rev(const struct store_disk *d);

/* Backend for one store_open. disk NULL: one of its own that goes with it. */
struct store_backend *store_mem_new(struct store_disk *disk);
