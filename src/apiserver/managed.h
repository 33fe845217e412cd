/* metadata.managedFields: which manager owns which fields of an object, kept up to date by every
 * write. The rules are those of Kubernetes (apimachinery/pkg/util/managedfields): an entry for each
 * manager, operation, version and subresource; a write takes the fields it changed from all others.
 *
 * Entries of stored objects are packed (schema/fields.h), sorted, and each is there once. Core
 * thread. */
#pragma once

#include "apiserver/internal.h"
#include "schema/fields.h"

#define MANAGED_BEFORE_APPLY "before-first-apply"

/* Between defaults and admission: msg (of c->kind) gets the entries it is to be stored with, from
 * those the client sent or old's and from what differs between old and msg. old NULL: a create. */
void managed_update(struct api_call *c, void *msg, const void *old);
/* A webhook has made `given` of the entries of m. They count when they can be read; else those of m
 * stay, and what is returned is told the client as a warning (absent: nothing). Fields that
 * mutating admission sets are nobody's, as in Kubernetes: owners are worked out before it. */
struct str managed_mutated(struct api_call *c, struct api_object_meta *m,
                           const struct api_object_meta *given);
/* Entries that can be worked with; what cannot be read is left out. */
struct managed_list managed_read(struct api_call *c, const struct api_object_meta *m);
/* Into the order and form they are stored in, at most ten of other operations than Apply. */
void managed_write(struct api_call *c, struct managed_list *l, struct api_object_meta *m);
/* The entry of c's manager for an operation, made (without fields) when it is not there. */
struct api_managed_fields_entry *managed_own(struct api_call *c, struct managed_list *l,
                                             struct str operation);
/* Entries without fields go. */
void managed_drop_empty(struct managed_list *l);
/* Same owners, whatever their times. */
bool managed_same(const struct api_object_meta *a, const struct api_object_meta *b);
/* set without what c's subresource does not write, beside managed_skip: of a write to pods/resize
 * that is all but resources. K8S: GetResetFieldsFilter of the strategies of pods. */
struct str managed_written(struct api_call *c, struct str set);
/* The top-level field this call does not write: "status", "spec", or NULL. */
const char *managed_skip(const struct api_call *c);
/* The type the entry's fields are named by, when it can be compared with what c writes: c's own
 * version, or another one of a custom kind whose objects are the same in all of them. NULL: the
 * entry is left as it is. Borrowed for this turn. */
const struct schema_desc *managed_desc(const struct api_call *c,
                                       const struct api_managed_fields_entry *e);

/* What a write changes, in the versions of the entries. Begins zeroed but for the first three. */
struct managed_change {
    struct api_call *c;
    const void *old, *new; /* of c's kind */
    struct managed_view *views;
};
/* As the entry's version sees it; NULL: the entry is left as it is. */
const struct fields_diff *managed_change_for(struct managed_change *m,
                                             const struct api_managed_fields_entry *e);
