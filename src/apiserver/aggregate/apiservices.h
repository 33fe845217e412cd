/* The APIServices of what this server serves itself: one for each built-in version of a group,
 * put back by every start, and one for each custom one, kept as long as it is served. Core thread.
 */
#pragma once

#include "apiserver/internal.h"

struct apiservices;

struct apiservices *apiservices_new(struct apiserver *s);
struct apiservices *apiservices_free(struct apiservices *x); /* takes NULL; returns NULL */
/* Custom kinds have changed. NULL: nobody keeps them. */
void apiservices_changed(struct apiservices *x);

/* Those of the built-in groups, through want (bootstrap.c). */
void bootstrap_apiservices(struct apiserver *s,
                           void (*want)(struct apiserver *s, const struct schema_kind *k,
                                        const void *msg));
/* One that names no Service is served here: it is available in the turn that makes it. */
int admit_apiservice(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
