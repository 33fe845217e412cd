/* Resources of a pod that runs change through pods/resize alone, and nothing else does there. What
 * a client sends beside them is dropped, as far as that is possible without guessing which
 * container was meant; what is left is judged container by container. Kubernetes: KEP-1287, the pod
 * strategy and pkg/apis/core/validation. */
#include "api/pod.h"

#include <stdio.h>

#include "api/check.h"
#include "api/hooks.h"
#include "api/kv.h"

#define MIRROR      "kubernetes.io/config.mirror"
#define CANNOT(who) who " cannot be resized"

bool pod_is_resizable(const struct api_container *c, bool init)
{
    return !init || str_is(c->restart_policy, "Always");
}

/* ---- policies ---- */

static void check_policies(const struct api_container *c, const char *path, struct str restart,
                           struct error *err)
{
    static const char *const names[] = {"cpu", "memory", NULL};
    struct set seen = {0};
    PATH(list, "%s.resizePolicy", path);
    if (c->restart_policy.n)
        restart = c->restart_policy;
    for (uint32_t i = 0; i < c->n_resize_policy; i++) {
        const struct api_container_resize_policy *r = &c->resize_policy[i];
        PATH(at, "%s[%u]", list.p, i);
        if (!set_add(&seen, r->resource_name))
            check_duplicate(err, at, r->resource_name);
        if (!r->resource_name.n)
            check_required(err, list, NULL);
        else if (!str_is(r->resource_name, "cpu") && !str_is(r->resource_name, "memory"))
            check_not_supported(err, list, r->resource_name, names);
        if (!r->restart_policy.n)
            check_required(err, list, NULL);
        if (str_is(restart, "Never") && str_is(r->restart_policy, "RestartContainer"))
            check_invalid(err, list, r->restart_policy,
                          "must be 'NotRequired' when `restartPolicy` is 'Never'");
    }
    set_fini(&seen);
}

void pod_resize_policies_validate(const struct api_pod_spec *s, const char *path, struct error *err)
{
    for (uint32_t i = 0; i < s->n_containers; i++) {
        PATH(at, "%s.containers[%u]", path, i);
        check_policies(&s->containers[i], at.p, s->restart_policy, err);
    }
    for (uint32_t i = 0; i < s->n_init_containers; i++) {
        const struct api_container *c = &s->init_containers[i];
        PATH(at, "%s.initContainers[%u]", path, i);
        PATH(list, "%s.resizePolicy", at.p);
        if (pod_is_resizable(c, true))
            check_policies(c, at.p, s->restart_policy, err);
        else if (c->n_resize_policy)
            check_invalid(err, list, STR("[...]"), "must not be set for init containers");
    }
}

/* ---- what of an update counts ---- */

static struct api_container *merge(const struct api_container *now, const struct api_container *old,
                                   uint32_t n, struct arena *a)
{
    struct api_container *v = ARENA_NEW_N(a, struct api_container, n);
    for (uint32_t i = 0; i < n; i++) {
        if (!str_eq(now[i].name, old[i].name))
            return NULL; /* other containers, or another order: that is refused */
        v[i] = old[i];
        v[i].resources = now[i].resources;
        v[i].resize_policy = now[i].resize_policy;
        v[i].n_resize_policy = now[i].n_resize_policy;
    }
    return v;
}

void pod_resize_take(void *msg, const void *old, struct arena *a)
{
    struct api_pod *p = msg;
    const struct api_pod *o = old;
    struct api_pod_spec spec = o->spec;
    api_meta_keep(&p->metadata, &o->metadata);
    if (p->spec.n_containers != o->spec.n_containers ||
        p->spec.n_init_containers != o->spec.n_init_containers)
        return; /* refused as it is */
    spec.containers = merge(p->spec.containers, o->spec.containers, spec.n_containers, a);
    spec.init_containers =
        merge(p->spec.init_containers, o->spec.init_containers, spec.n_init_containers, a);
    spec.resources = p->spec.resources;
    if (!spec.containers)
        spec.containers = p->spec.containers;
    if (!spec.init_containers)
        spec.init_containers = p->spec.init_containers;
    p->spec = spec;
}

/* ---- rules ---- */

/* A node that says nothing of its containers' resources knows nothing of resizes. */
static bool node_resizes(const struct api_pod *o)
{
    for (uint32_t i = 0; i < o->status.n_container_statuses; i++)
        if (o->status.container_statuses[i].state.running)
            return o->status.container_statuses[i].resources != NULL;
    return true;
}

static bool check_order(const struct api_container *now, uint32_t n,
                        const struct api_container *old, uint32_t n_old, const char *list,
                        const char *what, struct error *err)
{
    char why[96];
    bool ok = n == n_old;
    PATH(at, "spec.%s", list);
    if (!ok) {
        snprintf(why, sizeof(why), "%s may not be added or removed on resize", what);
        check_forbidden(err, at, why);
        return false;
    }
    snprintf(why, sizeof(why), "%s may not be renamed or reordered on resize", what);
    for (uint32_t i = 0; i < n; i++) {
        PATH(name, "spec.%s[%u].name", list, i);
        if (str_eq(now[i].name, old[i].name))
            continue;
        check_forbidden(err, name, why);
        ok = false;
    }
    return ok;
}

static bool removed(const struct kv_quantity *now, uint32_t n, const struct kv_quantity *old,
                    uint32_t n_old)
{
    for (uint32_t i = 0; i < n_old; i++)
        if (!kv_quantity_get(now, n, old[i].key))
            return true;
    return false;
}

static void check_removed(const struct api_resource_requirements *r,
                          const struct api_resource_requirements *o, const char *list, uint32_t i,
                          struct error *err)
{
    PATH(requests, "spec.%s[%u].resources.requests", list, i);
    PATH(limits, "spec.%s[%u].resources.limits", list, i);
    if (removed(r->requests, r->n_requests, o->requests, o->n_requests))
        check_forbidden(err, requests, "resource requests cannot be removed");
    if (removed(r->limits, r->n_limits, o->limits, o->n_limits))
        check_forbidden(err, limits, "resource limits cannot be removed");
}

static bool is_basic(struct str key)
{
    return str_is(key, "cpu") || str_is(key, "memory");
}

/* But for CPU and memory. */
static bool same_rest(const struct kv_quantity *a, uint32_t n_a, const struct kv_quantity *b,
                      uint32_t n_b)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < n_b; i++)
        left += !is_basic(b[i].key);
    for (uint32_t i = 0; i < n_a; i++) {
        const struct quantity *q = kv_quantity_get(b, n_b, a[i].key);
        if (is_basic(a[i].key))
            continue;
        if (!q || quantity_cmp(q, &a[i].value) != 0)
            return false;
        left--;
    }
    return left == 0;
}

/* What the pod says as a whole may be added and changed. */
static void check_whole(const struct api_resource_requirements *r,
                        const struct api_resource_requirements *o, struct error *err)
{
    static const struct api_resource_requirements none;
    if (o && !r) {
        check_forbidden(err, STR("spec.resources"), "pod-level resources cannot be removed");
        return;
    }
    o = o ? o : &none;
    if (removed(r->requests, r->n_requests, o->requests, o->n_requests))
        check_forbidden(err, STR("spec.resources.requests"),
                        "pod-level resource requests cannot be removed");
    if (removed(r->limits, r->n_limits, o->limits, o->n_limits))
        check_forbidden(err, STR("spec.resources.limits"),
                        "pod-level resource limits cannot be removed");
    if (!same_rest(r->requests, r->n_requests, o->requests, o->n_requests) ||
        !same_rest(r->limits, r->n_limits, o->limits, o->n_limits) || r->n_claims != o->n_claims)
        check_forbidden(err, STR("spec"), "only cpu and memory resources are mutable at pod-level");
}

static bool same_but_basic(const struct api_container *now, const struct api_container *old)
{
    struct api_container c = *now;
    const struct api_resource_requirements *r = &now->resources, *o = &old->resources;
    c.resources.requests = o->requests;
    c.resources.n_requests = o->n_requests;
    c.resources.limits = o->limits;
    c.resources.n_limits = o->n_limits;
    return schema_equal(&api_container_desc, &c, old) &&
           same_rest(r->requests, r->n_requests, o->requests, o->n_requests) &&
           same_rest(r->limits, r->n_limits, o->limits, o->n_limits);
}

static void check_rest(const struct api_pod *p, const struct api_pod *o, struct error *err)
{
    const struct str spec = STR("spec");
    for (uint32_t i = 0; i < o->spec.n_containers; i++)
        if (!same_but_basic(&p->spec.containers[i], &o->spec.containers[i]))
            check_forbidden(err, spec, "only cpu and memory resources are mutable");
    for (uint32_t i = 0; i < o->spec.n_init_containers; i++) {
        const struct api_container *c = &p->spec.init_containers[i],
                                   *d = &o->spec.init_containers[i];
        if (pod_is_resizable(d, true) && !same_but_basic(c, d))
            check_forbidden(err, spec,
                            "only cpu and memory resources for sidecar containers are mutable");
        else if (!pod_is_resizable(d, true) && !schema_equal(&api_container_desc, c, d))
            check_forbidden(err, spec, "resources for non-sidecar init containers are immutable");
    }
    struct api_pod_spec copy = p->spec;
    copy.containers = o->spec.containers;
    copy.init_containers = o->spec.init_containers;
    copy.resources = o->spec.resources;
    if (!err->n_causes && !schema_equal(&api_pod_spec_desc, &copy, &o->spec))
        check_forbidden(err, spec, "only cpu and memory resources are mutable");
}

void pod_validate_resize(const void *msg, const void *old, struct error *err)
{
    const struct api_pod *p = msg, *o = old;
    struct str qos = o->status.qos_class.n ? o->status.qos_class : pod_qos(&o->spec),
               will = pod_qos(&p->spec);
    const char *cannot = NULL;
    if (KV_GET(&o->metadata, annotations, STR(MIRROR)))
        cannot = CANNOT("static pods");
    else if (o->spec.os && str_is(o->spec.os->name, "windows"))
        cannot = CANNOT("windows pods");
    if (cannot) {
        check_forbidden(err, STR(""), cannot);
        return;
    }
    if (!str_eq(qos, will))
        check_invalid(err, STR("spec"), will,
                      "Pod QOS Class may not change as a result of resizing");
    if (!node_resizes(o))
        check_forbidden(err, STR("spec"), "Pod running on node without support for resize");
    if (pod_says_whole(&o->spec) || pod_says_whole(&p->spec))
        check_whole(p->spec.resources, o->spec.resources, err);
    bool ok = check_order(p->spec.containers, p->spec.n_containers, o->spec.containers,
                          o->spec.n_containers, "containers", "containers", err);
    ok &= check_order(p->spec.init_containers, p->spec.n_init_containers, o->spec.init_containers,
                      o->spec.n_init_containers, "initContainers", "initContainers", err);
    if (!ok)
        return;
    for (uint32_t i = 0; i < o->spec.n_init_containers; i++)
        if (pod_is_resizable(&o->spec.init_containers[i], true))
            check_removed(&p->spec.init_containers[i].resources,
                          &o->spec.init_containers[i].resources, "initContainers", i, err);
    for (uint32_t i = 0; i < o->spec.n_containers; i++)
        check_removed(&p->spec.containers[i].resources, &o->spec.containers[i].resources,
                      "containers", i, err);
    check_rest(p, o, err);
}

/* ---- comparing ---- */

static bool same_amounts(const struct kv_quantity *a, uint32_t n_a, const struct kv_quantity *b,
                         uint32_t n_b, const char *name)
{
    const struct quantity *x = kv_quantity_get(a, n_a, str_z(name)),
                          *y = kv_quantity_get(b, n_b, str_z(name));
    return x && y ? quantity_cmp(x, y) == 0 : x == y;
}

bool pod_same_resource(const struct api_resource_requirements *a,
                       const struct api_resource_requirements *b, const char *name)
{
    return same_amounts(a->requests, a->n_requests, b->requests, b->n_requests, name) &&
           same_amounts(a->limits, a->n_limits, b->limits, b->n_limits, name);
}

bool pod_same_resources(const struct api_resource_requirements *a,
                        const struct api_resource_requirements *b)
{
    return pod_same_resource(a, b, "cpu") && pod_same_resource(a, b, "memory");
}

bool pod_same_whole(const struct api_resource_requirements *a,
                    const struct api_resource_requirements *b)
{
    static const struct api_resource_requirements none;
    return pod_same_resources(a ? a : &none, b ? b : &none);
}
