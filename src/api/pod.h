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

extern const struct api_hooks pod_hooks;
