/* The agent's side of fencing (docs/FENCING.md): when pods that are one of a kind may run on this
 * node, and the keeper that stops them when it is cut off, whatever happens to the agent. Loop
 * thread. All of it does nothing for a node that does not fence (its server is on this machine). */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct node;
struct pod;
struct fence;

/* Reads what the last agent left. When its deadline is over (or was of another boot) fenced pods
 * are killed before this returns: it comes before anything is adopted. on false: a keeper of a
 * former life is ended. */
int fence_new(struct node *n, bool on, struct fence **ret, struct error *err) MUST_CHECK;
struct fence *fence_free(struct fence *f); /* the keeper stays; takes NULL; returns NULL */

/* A renewal goes out now, by a node that is given that grace. The promise to put on the lease;
 * absent: none can be given. Valid until the next call. */
struct str fence_sent(struct fence *f, nsec_t grace);
void fence_acked(struct fence *f); /* that renewal was acknowledged */

/* May a container of the pod be started, or run on? Always true for pods that are not fenced. When
 * false the answer comes by a kick of the pod. */
bool fence_allows(struct pod *p);
/* Seconds a fenced pod that may not run has for its end, at least 0. */
int64_t fence_grace_s(const struct pod *p);
void fence_forget(struct pod *p); /* nothing of it is left */
/* `davit down`: ends the keeper of that DATA/node and forgets the deadline. Blocks. */
void fence_purge(const char *node_dir);
