/* OwnerReferencesPermissionEnforcement: who names an owner must be allowed to delete the object
 * (since the owner's end is its end), and who lets it hold the owner's deletion up must be allowed
 * to set the owner's finalizers (since that is what it does). Off unless asked for, as in
 * Kubernetes: many operators' roles lack these rights. Kubernetes: plugin/pkg/admission/gc. */
#include "apiserver/admit/admit.h"

static bool same_reference(const struct api_owner_reference *a, const struct api_owner_reference *b)
{
    return schema_equal(&api_owner_reference_desc, a, b);
}

static bool changes_owners(const struct api_object_meta *m, const struct api_object_meta *o)
{
    uint32_t n = o ? o->n_owner_references : 0;
    if (!m->n_owner_references) /* nobody holds it any more */
        return false;
    bool same = m->n_owner_references == n;
    for (uint32_t i = 0; i < n && same; i++)
        same = same_reference(&m->owner_references[i], &o->owner_references[i]);
    return !same;
}

static bool blocked_before(const struct api_object_meta *o, const struct api_owner_reference *r)
{
    for (uint32_t i = 0; o && i < o->n_owner_references; i++)
        if (str_eq(o->owner_references[i].uid, r->uid))
            return o->owner_references[i].block_owner_deletion;
    return false;
}

static int may_finalize(struct api_call *c, struct str name, const struct api_owner_reference *r)
{
    struct str group, version, reason = STR_NONE;
    const struct schema_kind *k = schema_split_api_version(r->api_version, &group, &version)
                                      ? schema_kind_find(group, version, r->kind)
                                      : NULL;
    if (!k)
        return call_forbidden(c, name,
                              "cannot set blockOwnerDeletion in this case because cannot find "
                              "RESTMapping for APIVersion %.*s Kind %.*s",
                              STR_ARG(r->api_version), STR_ARG(r->kind));
    struct authz_attrs at = {.user = &c->user,
                             .verb = STR("update"),
                             .group = str_z(k->group),
                             .version = str_z(k->version),
                             .resource = str_z(k->plural),
                             .subresource = STR("finalizers"),
                             .ns = k->namespaced ? c->ns : STR_NONE,
                             .name = r->name};
    if (authz_allowed(c->server, &at, &c->arena, &reason))
        return 0;
    return call_forbidden(c, name,
                          "cannot set blockOwnerDeletion if an ownerReference refers to a resource "
                          "you can't set finalizers on: %.*s",
                          STR_ARG(reason));
}

int admit_owner_references(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_object_meta *m = msg, *o = old ? object_meta(old) : NULL;
    struct str reason = STR_NONE;
    if (c->user.trusted || call_is_status(c) || !changes_owners(m, o))
        return 0;
    struct authz_attrs at = {.user = &c->user,
                             .verb = STR("delete"),
                             .group = str_z(c->kind->group),
                             .version = str_z(c->kind->version),
                             .resource = str_z(c->kind->plural),
                             .ns = c->ns,
                             .name = m->name};
    if (!authz_allowed(c->server, &at, &c->arena, &reason))
        return call_forbidden(c, m->name,
                              "cannot set an ownerRef on a resource you can't delete: %.*s",
                              STR_ARG(reason));
    for (uint32_t i = 0; i < m->n_owner_references; i++) {
        const struct api_owner_reference *r = &m->owner_references[i];
        int rc = r->block_owner_deletion && !blocked_before(o, r) ? may_finalize(c, m->name, r) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}
