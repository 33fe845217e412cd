/* The admission plugins of files of their own; admission.c has the table. A plugin may change
 * (mutate) or refuse (validate) what is written; old is NULL for a create. All run in one turn on
 * the core thread, so what one reads of the store's pending state still holds when the write is
 * queued. */
#pragma once

#include "apiserver/internal.h"

/* Mutating admission runs a second time when somebody changed the object after others that would
 * like to know. Each keeps what it remembers of the first pass; in the call's arena. */
struct admit_again {
    bool second; /* this is the second pass */
    bool wanted;
    void *policies;
};

/* Which plugins are asked: bits of the table's rows, from lists "A,B" (NULL: none) of those
 * switched on and off beyond what is usual. */
int admit_plugins(const char *enable, const char *disable, uint64_t *ret,
                  struct error *err) MUST_CHECK;
bool admit_plugin_is_on(const struct apiserver *s, const char *name); /* a name of the table */

int admit_owner_references(struct api_call *c, const void *msg,
                           const struct object *old) MUST_CHECK;
int admit_pod_security(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int admit_node_taint(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_limits_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_limits_validate(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int admit_runtime_class(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_storage_class(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_claim_resize(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int admit_ingress_class(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
/* The youngest object of the kind, then the first by name, one of whose annotations named is "true"
 * (in the call's arena); absent: there is none. */
struct str admit_default_class(struct api_call *c, const struct schema_kind *k,
                               const char *const *annotations, size_t n);
