/* Definitions of custom kinds in the core: what of them is served, and what a write to one gets
 * from the server. */
#pragma once

#include "apiserver/internal.h"

struct crds;

/* Reads the definitions there are; their objects become readable. */
struct crds *crds_new(struct apiserver *s);
struct crds *crds_free(struct crds *c);

/* Admission of definitions: names are judged and conditions set in the same turn, so that a
 * definition is served when its create is answered. */
int admit_crd_mutate(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
/* A delete marks it: msg is a clone that is about to be written. */
void crd_mark_deleted(struct api_call *c, void *msg);
/* Refuses calls to a kind that is served no more, or not for new objects. */
int crds_check_call(struct api_call *c) MUST_CHECK;
