/* The admission plugins of files of their own; admission.c has the table. A plugin may change
 * (mutate) or refuse (validate) what is written; old is NULL for a create. All run in one turn on
 * the core thread, so what one reads of the store's pending state still holds when the write is
 * queued. */
#pragma once

#include "apiserver/internal.h"

int admit_pod_security(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int admit_node_taint(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
