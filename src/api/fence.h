/* What agent and server must agree on so that a pod's identity (namespace and name) never runs on
 * two machines at once; docs/FENCING.md says why it holds. The words travel as annotations of the
 * node's Lease. Pure functions. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"

/* Server to agent: how long the node may be silent before it counts as gone; "40s". */
#define FENCE_GRACE_ANNOTATION "davit.dev/node-grace"
/* Agent to server: "deadline=50s,kill=5s": counted from the sending of the last renewal that was
 * acknowledged, fenced pods are being killed after `deadline` and are dead after `deadline` +
 * `kill`. */
#define FENCE_PROMISE_ANNOTATION "davit.dev/fence-promise"
/* On a pod: "true" fences one that would not be, "false" leaves one alone that would. */
#define FENCE_POD_ANNOTATION "davit.dev/fence"

struct fence_promise {
    nsec_t deadline, kill;
};

int fence_promise_parse(struct str text, struct fence_promise *ret) MUST_CHECK;
struct str fence_promise_print(struct arena *a, const struct fence_promise *p);
/* What an agent promises that is given that grace. */
struct fence_promise fence_promise_for(nsec_t grace);
/* How long after it has seen the last renewal the server may take the node's fenced pods for
 * stopped: the promise, and a margin for clocks that run at different rates. */
nsec_t fence_takeover_after(const struct fence_promise *p);
/* How often a node renews that is given that grace. */
nsec_t fence_lease_period(nsec_t grace);

/* Must the pod be stopped by a node that is cut off? Pods of a ReplicaSet, Job or DaemonSet are any
 * of many and run on; bare pods, and those of a controller that gives names of their own, are one
 * of a kind. */
bool fence_applies(const struct api_pod *p);
