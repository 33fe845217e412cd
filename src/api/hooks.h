/* What the tables cannot say about a kind: defaults that depend on other fields, what a create or
 * update may not carry, and rules across fields. One row a kind (hooks.c); a kind without a row has
 * none.
 *
 * Pure functions: no state, no clock, any thread. `msg` is a message of the kind; memory that must
 * live with it comes from the arena. Rules add causes to err (base/error.h) and return nothing. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/error.h"

struct api_hooks {
    enum kind_id kind;
    bool generation;       /* metadata.generation counts changes of the spec */
    bool status_at_create; /* a create may carry a status (Node) */
    /* After the tables' defaults. */
    void (*fill)(void *msg, struct arena *a);
    /* Drops what the client may not choose; sets the first status. */
    void (*prepare_create)(void *msg, struct arena *a);
    /* The status was taken from old already (or, for a status update, all but the status). */
    void (*prepare_update)(void *msg, const void *old, struct arena *a);
    void (*validate)(const void *msg, struct error *err);
    void (*validate_create)(const void *msg, struct error *err); /* besides validate */
    void (*validate_update)(const void *msg, const void *old, struct error *err);
    void (*validate_status)(const void *msg, const void *old, struct error *err);
};

/* NULL: the kind has no hooks. */
const struct api_hooks *api_hooks_find(const struct schema_kind *k);

/* Defaults of the tables and of the hooks. */
void api_default(const struct schema_kind *k, void *msg, struct arena *a);

/* The rules of ObjectMeta every kind shares. old NULL: create. */
void api_validate_meta(const struct schema_kind *k, const struct api_object_meta *m,
                       const struct api_object_meta *old, struct error *err);
/* What users say in m is what it is in old, for updates that are about something else. Borrowed. */
void api_meta_keep(struct api_object_meta *m, const struct api_object_meta *old);
/* Labels or annotations at `path`. */
void api_validate_labels(const struct kv_str *v, uint32_t n, struct str path, struct error *err);
void api_validate_annotations(const struct kv_str *v, uint32_t n, struct str path,
                              struct error *err);
