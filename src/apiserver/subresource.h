/* Subresources with rules of their own, one function each. */
#pragma once

#include "apiserver/internal.h"

int scale_get(struct api_call *c, struct object *o) MUST_CHECK;
int scale_update(struct api_call *c) MUST_CHECK;
/* The Scale of a deployment or replicaset as a message in the call's arena. */
struct api_scale *scale_of(struct api_call *c, const struct object *o);
int sub_binding(struct api_call *c) MUST_CHECK;  /* also create of bindings */
int sub_eviction(struct api_call *c) MUST_CHECK; /* eviction.c */
int sub_finalize(struct api_call *c) MUST_CHECK; /* namespaces/finalize */
