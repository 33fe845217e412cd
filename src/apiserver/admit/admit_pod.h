/* Admission plugins for pods: each changes or refuses a pod that is being created. */
#pragma once

#include "apiserver/internal.h"

int admit_service_account(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
/* Pods of an account that asks for it use no Secrets but those it names. (admit_account.c) */
int admit_account_secrets(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
/* One PriorityClass at most is that of pods that name none; those of the system stay. */
int admit_priority_class(struct api_call *c, const void *msg, const struct object *old) MUST_CHECK;
int priority_class_remove(struct api_call *c, const struct object *old) MUST_CHECK;
int admit_priority(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
int admit_tolerations(struct api_call *c, void *msg, const struct object *old) MUST_CHECK;
