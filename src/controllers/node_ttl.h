/* Sizes of clusters and the seconds nodes may keep what they read. Pure. */
#pragma once

#include "controllers/registry.h"

/* The step of a cluster that was in `step` and has so many nodes now. */
unsigned node_ttl_step(unsigned step, size_t nodes);
unsigned node_ttl_seconds(unsigned step);
