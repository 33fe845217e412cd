/* Rules of pod specs, shared by Pod and every kind with a pod template. */
#pragma once

#include "api/hooks.h"
#include "base/set.h"

void pod_spec_fill(struct api_pod_spec *s, struct arena *a);
/* Rules of a pod spec at `path` ("spec", "spec.template.spec"). */
void pod_spec_validate(const struct api_pod_spec *s, const char *path, struct error *err);
/* Template with its labels; restart policies: a NULL-terminated list of what is allowed. */
void pod_template_validate(const struct api_pod_template_spec *t, const char *path,
                           const char *const *restart, struct error *err);
/* It has resources of its own, beside those of its containers (KEP-2837). */
bool pod_says_whole(const struct api_pod_spec *s);
bool pod_whole_may_say(struct str resource);
/* What its containers request together, whatever the pod says as a whole. */
struct amounts;
void pod_containers_ask(const struct api_pod_spec *s, struct amounts *ret);
/* "Guaranteed", "Burstable" or "BestEffort" (static). */
struct str pod_qos(const struct api_pod_spec *s);

/* pod_validate.c */
void pod_validate(const void *msg, struct error *err);
void pod_validate_create(const void *msg, struct error *err);
void pod_validate_update(const void *msg, const void *old, struct error *err);
void pod_validate_status(const void *msg, const void *old, struct error *err);
/* What holds for containers of all sorts. */
void pod_container_validate(const struct set *volumes, const struct api_container *c,
                            const char *path, struct error *err);

/* pod_ephemeral.c: the ephemeral containers of a pod (a template has none). */
void pod_ephemeral_validate(const struct api_pod_spec *s, const struct set *volumes,
                            struct error *err);
/* An update by pods/ephemeralcontainers, where they alone differ. */
void pod_validate_ephemeral(const void *msg, const void *old, struct error *err);
/* msg, as a client or webhook made it: the pod as it was (old, which must live as long), with these
 * ephemeral containers. */
void pod_ephemeral_take(void *msg, const void *old);

/* pod_resize.c: pods/resize. */
/* Containers whose resources may change: all but init containers that end. */
bool pod_is_resizable(const struct api_container *c, bool init);
void pod_resize_policies_validate(const struct api_pod_spec *s, const char *path,
                                  struct error *err);
/* msg, as a client sent it: the pod as it was (old, which must live as long), with these resources
 * (of the pod and of its containers) and resize policies. Of other containers than the pod has it
 * keeps the list, which is refused. */
void pod_resize_take(void *msg, const void *old, struct arena *a);
void pod_validate_resize(const void *msg, const void *old, struct error *err);
/* CPU and memory ("cpu", "memory": of one) are the same amounts, however they are written. NULL
 * (pod_same_whole) has none. */
bool pod_same_whole(const struct api_resource_requirements *a,
                    const struct api_resource_requirements *b);
bool pod_same_resource(const struct api_resource_requirements *a,
                       const struct api_resource_requirements *b, const char *name);
bool pod_same_resources(const struct api_resource_requirements *a,
                        const struct api_resource_requirements *b);

extern const struct api_hooks pod_hooks;
