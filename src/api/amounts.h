/* Amounts of resources by name: sums and maxima of them, and what a pod asks for as a whole.
 * Pure functions; memory is the arena's, keys are borrowed. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/buf.h"

struct amounts { /* sorted by name, each once */
    struct arena *arena;
    struct kv_quantity *v;
    uint32_t n, cap;
};

void amounts_set(struct amounts *a, struct str name, const struct quantity *q);
void amounts_add(struct amounts *a, struct str name, const struct quantity *q);
void amounts_raise(struct amounts *a, struct str name, const struct quantity *q); /* to at least */
void amounts_add_all(struct amounts *a, const struct kv_quantity *v, uint32_t n);
const struct quantity *amounts_get(const struct amounts *a, struct str name); /* NULL: none */
/* "cpu=1,memory=2Gi" */
void amounts_print(const struct amounts *a, struct buf *b);

/* What the pod asks for (limits: its limits), as the scheduler counts it: the sum of its containers
 * and sidecars or, if that is more, what its init containers need one after the other; what the pod
 * says as a whole replaces that; its overhead comes on top (of limits where there are any). */
void pod_amounts(const struct api_pod_spec *s, bool limits, struct amounts *ret);
/* The same of a pod that may be resized at the moment: of each container the most of what it asks
 * for, what its node has set aside for it and what it runs with (KEP-1287). What can never be had
 * (PodResizePending, Infeasible) does not count. */
void pod_amounts_held(const struct api_pod *p, bool limits, struct amounts *ret);

/* Of one container of such a pod: up to three lists whose maximum counts. */
struct held_amounts {
    const struct kv_quantity *v[3];
    uint32_t n[3];
};
/* The same of what the pod says as a whole; of one that says nothing three empty lists. */
void pod_whole_held(const struct api_pod *p, bool limits, struct held_amounts *ret);
void pod_container_held(const struct api_pod *p, const struct api_container *c, bool init,
                        bool limits, struct held_amounts *ret);
