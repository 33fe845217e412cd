/* The scheduler: takes pods that have no node, asks the core (core.h) where they should go, and
 * binds them. Reads the shared caches, writes pods/binding, pods/status (why not) and Events. One
 * loop's thread. */
#pragma once

#include "client/shared.h"

struct scheduler;

struct scheduler_opts {
    const char *name; /* spec.schedulerName it answers for; NULL: "default-scheduler" */
};

/* Before client_shared_start of shared (borrowed). */
struct scheduler *scheduler_new(struct client_shared *shared, const struct scheduler_opts *opts);
void scheduler_start(struct scheduler *s); /* begins when all caches are synced */
/* Calls under way are forgotten: free the client before the loop runs again. Takes NULL; returns
 * NULL. */
struct scheduler *scheduler_free(struct scheduler *s);

struct scheduler_stats {
    uint64_t bound, failed_attempts, bind_errors;
    size_t active, backoff, unschedulable, gated, binding;
};
struct scheduler_stats scheduler_stats(const struct scheduler *s);
