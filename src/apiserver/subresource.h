/* Subresources with rules of their own, one function each. */
#pragma once

#include "apiserver/internal.h"

int scale_get(struct api_call *c, struct object *o) MUST_CHECK;
int scale_update(struct api_call *c) MUST_CHECK;
/* The Scale of a deployment or replicaset as a message in the call's arena. */
struct api_scale *scale_of(struct api_call *c, const struct object *o);
/* custom.c: the same for an object of a custom kind. False: its definition names no field that is
 * there. Put: a message with other replicas; NULL: none. */
/* What a Scale is read from, in an object that is written; status: in its status alone. Breaches
 * become causes. */
struct custom_scale;
void custom_scale_check(const struct custom_scale *scale, const struct json *tree, bool status,
                        struct error *err);
/* False: the object has no replicas to tell of, and a get fails. */
bool custom_scale_fill(struct api_call *c, const struct object *o, struct api_scale *s);
int custom_scale_absent(struct api_call *c) MUST_CHECK;
void *custom_scale_put(struct api_call *c, const struct object *o, int32_t replicas);
/* An applied Scale as a part of the object: its replicas where the object has them. */
void custom_scale_config(struct api_call *c, struct json *config, struct json *replicas);
int sub_binding(struct api_call *c) MUST_CHECK;   /* also create of bindings */
int sub_eviction(struct api_call *c) MUST_CHECK;  /* eviction.c */
int sub_ephemeral(struct api_call *c) MUST_CHECK; /* pods/ephemeralcontainers */
int sub_resize(struct api_call *c) MUST_CHECK;    /* pods/resize */
int sub_finalize(struct api_call *c) MUST_CHECK;  /* namespaces/finalize */
