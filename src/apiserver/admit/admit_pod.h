/* Admission plugins for pods: each changes or refuses a pod that is being created. */
#pragma once

#include "apiserver/internal.h"

int admit_service_account(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_priority(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_tolerations(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
