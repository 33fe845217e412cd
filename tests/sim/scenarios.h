#pragma once

#include "world.h"

struct scenario {
    const char *name, *about;
    unsigned nodes;
    nsec_t start_delay;
    void (*run)(struct world *w, unsigned steps);
    unsigned zones;
    bool skewed;
    nsec_t grace;
    bool joins;
};
extern const struct scenario SCENARIOS[]; /* name NULL ends it */

/* lifecycle.c */
void run_drain(struct world *w, unsigned steps);
void run_zone_outage(struct world *w, unsigned steps);
void run_cut_off(struct world *w, unsigned steps);
void run_fence(struct world *w, unsigned steps);
void run_fence_chaos(struct world *w, unsigned steps);
/* quota.c */
void run_quota(struct world *w, unsigned steps);
/* tokens.c */
void run_tokens(struct world *w, unsigned steps);
/* cluster.c */
void run_cluster(struct world *w, unsigned steps);
