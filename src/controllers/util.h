/* What several controllers ask of pods, owners and conditions. Pure functions. */
#pragma once

#include "api/object.h"
#include "controllers/controller.h"
#include "schema/select.h"

/* ---- pods ---- */

const struct api_pod_condition *pod_condition(const struct api_pod *p,
                                              struct str type); /* or NULL */
bool pod_is_ready(const struct api_pod *p);
/* Ready for at least min_ready_s at `now`. */
bool pod_is_available(const struct api_pod *p, int32_t min_ready_s, usec_t now);
/* When it becomes available, if it is ready but not yet for long enough; else 0. */
usec_t pod_available_at(const struct api_pod *p, int32_t min_ready_s, usec_t now);
bool pod_is_terminated(const struct api_pod *p); /* phase Succeeded or Failed */
bool pod_is_active(const struct api_pod *p);     /* neither terminated nor being deleted */
/* Restarts of the container that restarted most. */
int32_t pod_restarts(const struct api_pod *p);

/* A pod from a template: labels, annotations, finalizers, spec; owned by (and in the namespace of)
 * owner; named "OWNER-" plus what controller_create adds. In the arena; shares the template's
 * memory. */
struct api_pod *pod_from_template(struct arena *a, const struct api_pod_template_spec *t,
                                  const struct schema_kind *owner_kind,
                                  const struct api_object_meta *owner);
/* Hash of a pod template, stable over time and versions of davit as long as the template prints
 * equally; spelled in letters that are safe in names. pod-template-hash labels are ignored. */
struct str template_hash(struct arena *a, const struct api_pod_template_spec *t,
                         bool has_collisions, int32_t collisions);
/* Same template but for the pod-template-hash label. */
bool template_equal(const struct api_pod_template_spec *a, const struct api_pod_template_spec *b);

/* ---- owners ---- */

const struct api_owner_reference *owner_controller(const struct api_object_meta *m); /* or NULL */
bool owner_is_controlled_by(const struct api_object_meta *m, struct str uid);
/* The list with a controller reference to owner in front (block: blockOwnerDeletion). */
void owner_set(struct arena *a, struct api_object_meta *m, const struct schema_kind *kind,
               const struct api_object_meta *owner);
/* Index: the uid of each owner. */
void owner_index(struct object *o, client_cache_emit_fn emit, void *ctx);
/* Index of pods: spec.nodeName. */
void node_name_index(struct object *o, client_cache_emit_fn emit, void *ctx);

/* Claiming: what a controller's selector matches and nobody owns becomes its own; what it owns and
 * the selector matches no more is let go. Objects being deleted are left alone. */
enum claim {
    CLAIM_NONE, /* not ours */
    CLAIM_MINE,
    CLAIM_ADOPT,   /* a patch must add the reference */
    CLAIM_RELEASE, /* a patch must take it away */
};
enum claim claim_of(const struct api_object_meta *owner, const struct label_selector *sel,
                    const struct api_object_meta *m);
void claim_apply(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *m,
                 const struct schema_kind *owner_kind, const struct api_object_meta *owner,
                 enum claim what);

/* Where a kind's dependents are found; made in a row's init. */
struct claim_index {
    enum kind_id kind;
    int by_owner, orphans;
};
struct claim_index claim_index_init(struct controller *c, enum kind_id kind);
/* All objects of the index's kind that are the owner's, kept until the run is over; claims and
 * releases on the way. */
struct object **claim_all(struct reconcile *rc, const struct claim_index *ix,
                          const struct schema_kind *owner_kind, const struct api_object_meta *owner,
                          const struct label_selector *sel, uint32_t *ret_n);
/* A mapping for dependents: the owner; for an orphan every object of `kind` whose matchLabels fit
 * it. selector gives the selector of such an object. */
void claim_map(struct controller *c, enum kind_id kind, struct object *old, struct object *new,
               const struct api_label_selector *(*selector)(const struct object *owner));

/* ---- maps, lists ---- */

struct str meta_label(const struct api_object_meta *m, struct str key); /* absent when not there */
struct str meta_annotation(const struct api_object_meta *m, struct str key);
/* Adds or replaces in a sorted map whose array is copied into the arena. */
void kv_put(struct arena *a, struct kv_str **v, uint32_t *n, struct str key, struct str value);
void kv_drop(struct arena *a, struct kv_str **v, uint32_t *n, struct str key);
bool has_str(const struct str *v, uint32_t n, struct str s);
/* {"metadata":{"uid":U,"finalizers":null or [...]}} without one of them; a JSON merge patch. */
struct str finalizers_patch_without(struct arena *a, const struct api_object_meta *m,
                                    struct str finalizer);
/* s as a JSON string with quotes. */
struct str json_quote(struct arena *a, struct str s);
