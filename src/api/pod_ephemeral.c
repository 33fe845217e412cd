/* Ephemeral containers: they are added to a pod that runs, to look into it, and stay as they are.
 * What would make the pod wait for them or give them a share of anything is not theirs to have.
 * Kubernetes: pkg/apis/core/validation (KEP-277). */
#include "api/pod.h"

#include <stdio.h>

#include "api/check.h"
#include "api/hooks.h"

#define CANNOT_BE_SET "cannot be set for an Ephemeral Container"

static const struct api_container *as_container(const struct api_ephemeral_container *e)
{
    static_assert(sizeof(struct api_ephemeral_container_common) == sizeof(struct api_container),
                  "ephemeral containers are seen as ordinary ones");
    return (const struct api_container *)&e->ephemeral_container_common;
}

static void check_fields(const struct api_container *c, const char *path, struct error *err)
{
    const struct {
        bool set;
        const char *name;
    } fields[] = {
        {c->n_ports, "ports"},
        {c->liveness_probe, "livenessProbe"},
        {c->readiness_probe, "readinessProbe"},
        {c->startup_probe, "startupProbe"},
        {c->lifecycle, "lifecycle"},
        {c->resources.n_limits || c->resources.n_requests || c->resources.n_claims, "resources"},
        {c->n_resize_policy, "resizePolicy"},
        {c->restart_policy.n, "restartPolicy"},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].set) {
            PATH(at, "%s.%s", path, fields[i].name);
            check_forbidden(err, at, CANNOT_BE_SET);
        }
    for (uint32_t i = 0; i < c->n_volume_mounts; i++) {
        PATH(at, "%s.volumeMounts[%u].subPath", path, i);
        PATH(expr, "%s.volumeMounts[%u].subPathExpr", path, i);
        if (c->volume_mounts[i].sub_path.n)
            check_forbidden(err, at, CANNOT_BE_SET);
        if (c->volume_mounts[i].sub_path_expr.n)
            check_forbidden(err, expr, CANNOT_BE_SET);
    }
}

void pod_ephemeral_validate(const struct api_pod_spec *s, const struct set *volumes,
                            struct error *err)
{
    struct set names = {0}, targets = {0};
    for (uint32_t i = 0; i < s->n_init_containers; i++)
        (void)set_add(&names, s->init_containers[i].name);
    for (uint32_t i = 0; i < s->n_containers; i++) {
        (void)set_add(&names, s->containers[i].name);
        (void)set_add(&targets, s->containers[i].name);
    }
    for (uint32_t i = 0; i < s->n_ephemeral_containers; i++) {
        const struct api_ephemeral_container *e = &s->ephemeral_containers[i];
        const struct api_container *c = as_container(e);
        PATH(at, "spec.ephemeralContainers[%u]", i);
        PATH(name, "%s.name", at.p);
        PATH(target, "%s.targetContainerName", at.p);
        if (c->name.n && !set_add(&names, c->name))
            check_duplicate(err, name, c->name);
        if (e->target_container_name.n && !set_has(&targets, e->target_container_name))
            check_not_found(err, target, e->target_container_name);
        pod_container_validate(volumes, c, at.p, err);
        check_fields(c, at.p, err);
    }
    set_fini(&targets);
    set_fini(&names);
}

static const struct api_ephemeral_container *find(const struct api_pod_spec *s, struct str name)
{
    for (uint32_t i = 0; i < s->n_ephemeral_containers; i++)
        if (str_eq(s->ephemeral_containers[i].ephemeral_container_common.name, name))
            return &s->ephemeral_containers[i];
    return NULL;
}

void pod_validate_ephemeral(const void *msg, const void *old, struct error *err)
{
    const struct api_pod *p = msg, *o = old;
    for (uint32_t i = 0; i < o->spec.n_ephemeral_containers; i++) {
        const struct api_ephemeral_container *had = &o->spec.ephemeral_containers[i];
        struct str name = had->ephemeral_container_common.name;
        const struct api_ephemeral_container *now = find(&p->spec, name);
        bool same = now && schema_equal(&api_ephemeral_container_desc, now, had);
        char why[320];
        snprintf(why, sizeof(why), "existing ephemeral containers \"%.*s\" may not be %s\n",
                 STR_ARG(name), now ? "changed" : "removed");
        if (!same)
            check_forbidden(err, STR("spec.ephemeralContainers"), why);
    }
}

void pod_ephemeral_take(void *msg, const void *old)
{
    struct api_pod *p = msg;
    const struct api_pod *o = old;
    struct api_pod_spec spec = o->spec;
    spec.ephemeral_containers = p->spec.ephemeral_containers;
    spec.n_ephemeral_containers = p->spec.n_ephemeral_containers;
    p->spec = spec;
    api_meta_keep(&p->metadata, &o->metadata);
}
