#pragma once

#include "world.h"

struct scenario {
    const char *name, *about;
    unsigned nodes;
    nsec_t start_delay;
    void (*run)(struct world *w, unsigned steps);
};
extern const struct scenario SCENARIOS[]; /* name NULL ends it */
