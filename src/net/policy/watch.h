/* NetworkPolicies of this node: from caches to the kernel (table "ip davit-<id>-policy"), and the
 * gate a pod passes before its link comes up. Loop thread.
 *
 * A pod is let through when the kernel has its rules. While policies or pods are not known (yet),
 * and for a pod whose object was not seen, the gate waits a moment and then has the address held
 * back (nothing in, nothing out) until the rules can be made. Pods that were attached before a
 * restart keep the rules of the last run until then. */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct net;
struct net_policy;
struct buf;

struct net_policy *policy_new(struct net *n);
struct net_policy *policy_free(struct net_policy *p); /* takes NULL; returns NULL; when not busy */
/* After the bridge and before any attach; leases are read already. */
void policy_start(struct net_policy *p);
/* Answers all that wait with -ENETDOWN; the kernel keeps its rules. */
void policy_stop(struct net_policy *p);
bool policy_busy(const struct net_policy *p); /* a transaction is under way */
bool policy_settled(const struct net_policy *p);

typedef void (*policy_gate_fn)(void *arg, int r, const struct error *err);
/* The pod has this lease and is about to be attached. 1: go on; 0: done is called later, once. */
int policy_gate(struct net_policy *p, struct str uid, uint32_t ip, policy_gate_fn done, void *arg);
/* The pod's link is gone; the address may be another's from now on. */
void policy_detached(struct net_policy *p, struct str uid, uint32_t ip);
void policy_watch_dump(const struct net_policy *p, struct buf *out);
