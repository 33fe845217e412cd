/* CustomResourceDefinitions: what must hold for one alone (the hooks of the kind), and what follows
 * from all of them together: whose names are accepted. Pure functions. */
#pragma once

#include "api/tables.gen.h"
#include "base/arena.h"
#include "base/error.h"

/* Held by a definition that is being deleted until its objects are gone. */
#define CRD_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

const struct api_custom_resource_definition_condition *
crd_condition(const struct api_custom_resource_definition *crd, struct str type);
bool crd_condition_is(const struct api_custom_resource_definition *crd, const char *type);
/* Sets or replaces it; the time stays when the status does. Texts are borrowed. */
void crd_set_condition(struct api_custom_resource_definition *crd, const char *type, bool yes,
                       const char *reason, struct str message, usec_t now, struct arena *a);
static inline bool crd_is_established(const struct api_custom_resource_definition *crd)
{
    return crd_condition_is(crd, "Established");
}

/* Whether all versions have the same schema: then it is named as one of the whole, as in
 * Kubernetes. */
bool crd_has_one_schema(const struct api_custom_resource_definition *crd);
/* What of its schemas Kubernetes refuses though they can be served; the schemas are valid
 * otherwise. old: NULL for a new one; versions that are as they were are let be. */
void crd_schema_validate(const struct api_custom_resource_definition *crd,
                         const struct api_custom_resource_definition *old, struct error *err);

/* What a definition in a group of the community says of its approval; old: NULL for a new one. */
void crd_approval_validate(const struct api_custom_resource_definition *crd,
                           const struct api_custom_resource_definition *old, struct error *err);
/* Sets the condition that tells of it, for others than the community's nothing. */
void crd_approval_show(struct api_custom_resource_definition *crd, usec_t now, struct arena *a);

/* Decides over the names and versions of crd, given all other definitions (crd itself may be among
 * them): acceptedNames, storedVersions and the conditions NamesAccepted and Established. */
void crd_accept(struct api_custom_resource_definition *crd,
                const struct api_custom_resource_definition *const *others, size_t n, usec_t now,
                struct arena *a);
