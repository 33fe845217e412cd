/* Machines that join: the agent's own identity and range of addresses (src/node/identity.c and
 * src/net/claim.c as they are) on the simulated network, with a hollow node behind them.
 *
 *   off --machine_join--> joining --certificate--> claiming --range--> up
 *
 * A machine's files are real and outlive its agent; what it knows of the server is what a
 * certificate or a join token lets it. A name that is taken is answered by choosing another. */
#pragma once

#include "controllers/controller.h"
#include "world.h"

#define MACHINES_MAX 12
#define JOIN_TOKEN   "abcdef.0123456789abcdef"

struct machines *machines_new(struct world *w);
struct machines *machines_free(struct machines *ms); /* NULL */
void machines_dump(struct machines *ms);             /* NULL: none */

unsigned machines_refused(const struct machines *ms); /* joins under names that were others' */

/* ---- the server's side ---- */

const struct cluster_config *machines_cluster(void);
void machines_sign_with(struct machines *ms, struct controllers_opts *o);
const char *machines_ca_pem(void);
void machines_server_up(struct machines *ms); /* NULL: none */
void machines_server_down(struct machines *ms);

/* ---- one machine: slots 0 .. MACHINES_MAX-1 ---- */

/* An empty machine starts its agent, to be node `name`. */
void machine_join(struct world *w, unsigned i, const char *name);
/* The agent is killed, containers run on, until machine_revive. In the middle of a join it starts
 * again with what is on the disk. */
void machine_kill(struct world *w, unsigned i);
void machine_revive(struct world *w, unsigned i);
/* The machine is switched off and its disk is wiped; the Node stays. */
void machine_wipe(struct world *w, unsigned i);
void machine_cut(struct world *w, unsigned i, bool up, bool down);

bool machine_is_on(const struct world *w, unsigned i); /* joining or further, agent dead or not */
bool machine_is_up(const struct world *w, unsigned i); /* a node, and its agent lives */
bool machine_is_killed(const struct world *w, unsigned i);
const char *machine_name(const struct world *w, unsigned i);  /* of its node */
const char *machine_range(const struct world *w, unsigned i); /* NULL: none yet */
/* The slot whose machine means to be, or is, that node; -1. */
int machine_find(const struct world *w, struct str node);
