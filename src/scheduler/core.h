/* The pure core of the scheduler: nodes, the pods that are on them, and one question: where should
 * this pod go? No clock, no I/O, no client; the queue and the API calls are in scheduler.c.
 *
 * Invariants
 *  - Every node is looked at for every pod. What decides for most pods (free CPU, memory, places)
 * lies in arrays of floats, one entry a node, read in order; what depends on the node's labels and
 * taints only is kept per class of equal pods and recomputed for nodes that changed.
 *  - Sums are exact (int64); floats only narrow down: they are rounded towards "fits", and the node
 *    chosen is checked exactly.
 *  - sched_core_pick and sched_core_place allocate nothing (place: but for growing a node's list).
 *  - Same calls in the same order, same answers.
 * One thread. */
#pragma once

#include "api/types.gen.h"
#include "base/arena.h"

struct sched_core;
struct sched_pod; /* a pod as the core sees it: compiled once */

struct sched_core *sched_core_new(void);
struct sched_core *
sched_core_free(struct sched_core *c); /* pods must be free; takes NULL, returns NULL */

/* Adds the node or takes over its changes. Pods placed on it stay. True when something that
 * scheduling depends on has changed, so that pods that did not fit may be tried again. */
bool sched_core_node_set(struct sched_core *c, const struct api_node *node);
/* Pods placed on it stay placed and count again when the node comes back under the same name. */
void sched_core_node_remove(struct sched_core *c, struct str name);
uint32_t sched_core_node_count(const struct sched_core *c);
/* Labels of namespaces, for namespaceSelector in affinity terms. */
void sched_core_namespace_set(struct sched_core *c, struct str name, const struct kv_str *labels,
                              uint32_t n);
void sched_core_namespace_remove(struct sched_core *c, struct str name);

/* Copies what it needs. Never NULL: a selector that does not compile matches no node. */
struct sched_pod *sched_pod_new(struct sched_core *c, const struct api_pod *pod);
struct sched_pod *
sched_pod_free(struct sched_pod *p); /* unplaces it first; takes NULL, returns NULL */
int32_t sched_pod_priority(const struct sched_pod *p);
/* A bound pod still asks for what it did when it was made: false while it is being resized. */
bool sched_pod_asks_same(const struct sched_pod *p, const struct api_pod *pod);
struct str sched_pod_node(const struct sched_pod *p); /* where it is placed; absent: nowhere */

/* The best node, borrowed until the node set changes; absent when no node fits. */
struct str sched_core_pick(struct sched_core *c, const struct sched_pod *p);
/* Counts the pod on a node, known or not yet known. It must not be placed. */
void sched_core_place(struct sched_core *c, struct sched_pod *p, struct str node);
void sched_core_unplace(struct sched_pod *p); /* no-op when it is not placed */
/* Why no node fits, as Kubernetes words it: "0/3 nodes are available: 1 node(s) were unschedulable,
 * 2 Insufficient cpu." */
struct str sched_core_explain(struct sched_core *c, const struct sched_pod *p, struct arena *a);
