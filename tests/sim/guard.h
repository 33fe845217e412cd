/* Invariants of nodes, certificates and budgets, checked with every change the checker sees. */
#pragma once

#include "world.h"

struct guard *guard_new(struct world *w);
struct guard *guard_free(struct guard *g); /* NULL */
/* old NULL: added; new NULL: deleted. */
void guard_see(struct guard *g, const struct object *old, const struct object *new);
/* After the checker has taken a pod's change in. */
void guard_pods_changed(struct guard *g);
/* Whoever had this key (sha256 of its public half) is no more: its certificates are ash. */
void guard_key_dead(struct guard *g, const uint8_t spki_sha256[32]);
/* The pods app=APP and the budget of that name, which wants so many of them. */
void guard_budget(struct guard *g, const char *app, unsigned min_available);
unsigned guard_evictions(const struct guard *g);
unsigned guard_certificates(const struct guard *g);
