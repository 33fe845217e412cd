/* See quota_usage.h. A kind is counted as count/PLURAL.GROUP whatever it is; pods, Services and
 * PersistentVolumeClaims are measured too, and some old kinds have a short name of their own. */
#include "api/quota_usage.h"

#include "api/pod.h"

#define CLASS_SUFFIX ".storageclass.storage.k8s.io/"

static const struct quantity one = {.mantissa = 1, .set = true};

/* ---- resources ---- */

static const char *const short_names[] = {
    "pods",    "services",   "replicationcontrollers", "resourcequotas",
    "secrets", "configmaps", "persistentvolumeclaims"};

static bool has_short_name(const struct schema_kind *k)
{
    if (k->group[0])
        return false;
    for (size_t i = 0; i < ARRAY_LEN(short_names); i++)
        if (strcmp(short_names[i], k->plural) == 0)
            return true;
    return false;
}

static const struct schema_kind *by_plural(struct str plural, struct str group)
{
    for (unsigned i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        if (k->namespaced && k->storage == k->id && str_eqz(plural, k->plural) &&
            str_eqz(group, k->group))
            return k;
    }
    return NULL;
}

const struct schema_kind *quota_resource_kind(struct str resource)
{
    static const struct str core = {"", 0};
    if (str_starts(resource, STR("count/"))) {
        struct str group = str_sub(resource, 6, resource.n), plural;
        str_cut(&group, '.', &plural);
        return by_plural(plural, group);
    }
    if (str_is(resource, "requests.storage") || str_search(resource, STR(CLASS_SUFFIX)) >= 0)
        return by_plural(STR("persistentvolumeclaims"), core);
    if (str_starts(resource, STR("services.")))
        return by_plural(STR("services"), core);
    for (size_t i = 0; i < ARRAY_LEN(short_names); i++)
        if (str_eqz(resource, short_names[i]))
            return by_plural(resource, core);
    return schema_kinds[KIND_POD];
}

/* ---- usage ---- */

static bool is_over(const struct api_pod *p)
{
    return str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed");
}

static void pod_usage(const struct api_pod *p, struct amounts *ret)
{
    struct arena *a = ret->arena;
    struct amounts requests = {.arena = a}, limits = {.arena = a};
    if (is_over(p)) /* an object still, but it holds nothing */
        return;
    amounts_add(ret, STR("pods"), &one);
    pod_amounts_held(p, false, &requests);
    pod_amounts_held(p, true, &limits);
    for (uint32_t i = 0; i < requests.n; i++) {
        struct str name = requests.v[i].key;
        bool plain = str_is(name, "cpu") || str_is(name, "memory") ||
                     str_is(name, "ephemeral-storage") || str_starts(name, STR("hugepages-"));
        if (plain)
            amounts_add(ret, name, &requests.v[i].value);
        amounts_add(ret, arena_printf(a, "requests.%.*s", STR_ARG(name)), &requests.v[i].value);
    }
    for (uint32_t i = 0; i < limits.n; i++) {
        struct str name = limits.v[i].key;
        if (str_is(name, "cpu") || str_is(name, "memory") || str_is(name, "ephemeral-storage"))
            amounts_add(ret, arena_printf(a, "limits.%.*s", STR_ARG(name)), &limits.v[i].value);
    }
}

static void service_usage(const struct api_service *s, struct amounts *ret)
{
    uint32_t ports = 0;
    bool balanced = str_is(s->spec.type, "LoadBalancer");
    bool given =
        !s->spec.has_allocate_load_balancer_node_ports || s->spec.allocate_load_balancer_node_ports;
    for (uint32_t i = 0; i < s->spec.n_ports; i++)
        ports += !balanced || given || s->spec.ports[i].node_port;
    if (balanced)
        amounts_add(ret, STR("services.loadbalancers"), &one);
    if (balanced || str_is(s->spec.type, "NodePort")) {
        struct quantity q = quantity_from(ports, QUANTITY_DECIMAL_SI);
        amounts_add(ret, STR("services.nodeports"), &q);
    }
}

static struct str claim_class(const struct api_persistent_volume_claim *c)
{
    const struct str *old =
        KV_GET(&c->metadata, annotations, STR("volume.beta.kubernetes.io/storage-class"));
    return old ? *old : c->spec.storage_class_name;
}

static void claim_usage(const struct api_persistent_volume_claim *c, struct amounts *ret)
{
    struct arena *a = ret->arena;
    struct str class = claim_class(c);
    const struct quantity *want =
        kv_quantity_get(c->spec.resources.requests, c->spec.resources.n_requests, STR("storage"));
    const struct quantity *given = kv_quantity_get(c->status.allocated_resources,
                                                   c->status.n_allocated_resources, STR("storage"));
    if (given && (!want || quantity_cmp(given, want) > 0))
        want = given;
    if (class.n)
        amounts_add(ret,
                    arena_printf(a, "%.*s" CLASS_SUFFIX "persistentvolumeclaims", STR_ARG(class)),
                    &one);
    if (!want)
        return;
    amounts_add(ret, STR("requests.storage"), want);
    if (class.n)
        amounts_add(ret, arena_printf(a, "%.*s" CLASS_SUFFIX "requests.storage", STR_ARG(class)),
                    want);
}

void quota_usage(const struct schema_kind *k, const void *msg, struct amounts *ret)
{
    amounts_add(
        ret, arena_printf(ret->arena, "count/%s%s%s", k->plural, k->group[0] ? "." : "", k->group),
        &one);
    if (k->desc == &api_pod_desc) {
        pod_usage(msg, ret);
        return;
    }
    if (has_short_name(k))
        amounts_add(ret, str_z(k->plural), &one);
    if (k->desc == &api_service_desc)
        service_usage(msg, ret);
    else if (k->desc == &api_persistent_volume_claim_desc)
        claim_usage(msg, ret);
}

/* ---- scopes ---- */

static bool term_leaves(const struct api_pod_affinity_term *t)
{
    return t->n_namespaces || t->namespace_selector;
}

static bool crosses_namespaces(const struct api_pod_spec *s)
{
    const struct api_pod_affinity *a = s->affinity ? s->affinity->pod_affinity : NULL;
    const struct api_pod_anti_affinity *b = s->affinity ? s->affinity->pod_anti_affinity : NULL;
    bool yes = false;
    for (uint32_t i = 0; a && i < a->n_required_during_scheduling_ignored_during_execution; i++)
        yes |= term_leaves(&a->required_during_scheduling_ignored_during_execution[i]);
    for (uint32_t i = 0; a && i < a->n_preferred_during_scheduling_ignored_during_execution; i++)
        yes |= term_leaves(
            &a->preferred_during_scheduling_ignored_during_execution[i].pod_affinity_term);
    for (uint32_t i = 0; b && i < b->n_required_during_scheduling_ignored_during_execution; i++)
        yes |= term_leaves(&b->required_during_scheduling_ignored_during_execution[i]);
    for (uint32_t i = 0; b && i < b->n_preferred_during_scheduling_ignored_during_execution; i++)
        yes |= term_leaves(
            &b->preferred_during_scheduling_ignored_during_execution[i].pod_affinity_term);
    return yes;
}

static bool names_value(const struct api_scoped_resource_selector_requirement *r, struct str value)
{
    for (uint32_t i = 0; i < r->n_values; i++)
        if (str_eq(r->values[i], value))
            return true;
    return false;
}

/* A label selector over one name: absent is none of a list's values. */
static bool value_matches(const struct api_scoped_resource_selector_requirement *r,
                          struct str value)
{
    if (str_is(r->operator, "In"))
        return value.n && names_value(r, value);
    if (str_is(r->operator, "NotIn"))
        return !value.n || !names_value(r, value);
    if (str_is(r->operator, "DoesNotExist"))
        return !value.n;
    return value.n > 0;
}

static bool pod_in_scope(const struct api_scoped_resource_selector_requirement *r,
                         const struct api_pod *p)
{
    const struct api_pod_spec *s = &p->spec;
    if (str_is(r->scope_name, "Terminating"))
        return s->has_active_deadline_seconds;
    if (str_is(r->scope_name, "NotTerminating"))
        return !s->has_active_deadline_seconds;
    if (str_is(r->scope_name, "BestEffort"))
        return str_is(pod_qos(s), "BestEffort");
    if (str_is(r->scope_name, "NotBestEffort"))
        return !str_is(pod_qos(s), "BestEffort");
    if (str_is(r->scope_name, "PriorityClass"))
        return value_matches(r, s->priority_class_name);
    if (str_is(r->scope_name, "CrossNamespacePodAffinity"))
        return crosses_namespaces(s);
    return false;
}

static bool in_scope(const struct api_scoped_resource_selector_requirement *r,
                     const struct schema_kind *k, const void *msg)
{
    if (k->desc == &api_pod_desc)
        return pod_in_scope(r, msg);
    if (k->desc == &api_persistent_volume_claim_desc &&
        str_is(r->scope_name, "VolumeAttributesClass"))
        return value_matches(
            r,
            ((const struct api_persistent_volume_claim *)msg)->spec.volume_attributes_class_name);
    return false; /* scopes are of pods and claims: nothing else is counted by such a quota */
}

bool quota_selects(const struct api_resource_quota_spec *q, const struct schema_kind *k,
                   const void *msg)
{
    const struct api_scope_selector *s = q->scope_selector;
    for (uint32_t i = 0; i < q->n_scopes; i++) {
        struct api_scoped_resource_selector_requirement r = {.scope_name = q->scopes[i],
                                                             .operator= STR("Exists")};
        if (!in_scope(&r, k, msg))
            return false;
    }
    for (uint32_t i = 0; s && i < s->n_match_expressions; i++)
        if (!in_scope(&s->match_expressions[i], k, msg))
            return false;
    return true;
}

/* ---- what pods must say ---- */

/* "cpu", "requests.cpu", "limits.memory" and the like: *ret_name and where it is to be found. */
static bool splits(struct str resource, struct str *ret_name, bool *ret_limits)
{
    *ret_limits = str_starts(resource, STR("limits."));
    *ret_name = resource;
    if (*ret_limits)
        *ret_name = str_sub(resource, 7, resource.n);
    else if (str_starts(resource, STR("requests.")))
        *ret_name = str_sub(resource, 9, resource.n);
    return str_is(*ret_name, "cpu") || str_is(*ret_name, "memory");
}

static bool says(const struct api_resource_requirements *r, struct str name, bool limits)
{
    return r && (limits ? kv_quantity_get(r->limits, r->n_limits, name)
                        : kv_quantity_get(r->requests, r->n_requests, name)) != NULL;
}

static void add_missing(const struct api_container *v, uint32_t n, struct str name, bool limits,
                        struct buf *out)
{
    for (uint32_t i = 0; i < n; i++)
        if (!says(&v[i].resources, name, limits))
            buf_printf(out, "%s%.*s", out->n ? "," : "", STR_ARG(v[i].name));
}

bool quota_pod_says_enough(const struct api_resource_quota_spec *q, const struct api_pod *p,
                           struct buf *missing)
{
    bool enough = true;
    for (uint32_t i = 0; i < q->n_hard; i++) {
        struct str name;
        bool limits;
        struct buf who = {0};
        if (!splits(q->hard[i].key, &name, &limits) || says(p->spec.resources, name, limits))
            continue;
        add_missing(p->spec.containers, p->spec.n_containers, name, limits, &who);
        add_missing(p->spec.init_containers, p->spec.n_init_containers, name, limits, &who);
        if (who.n)
            buf_printf(missing, "%s%.*s for: %.*s", enough ? "" : "; ", STR_ARG(q->hard[i].key),
                       STR_ARG(buf_str(&who)));
        enough &= who.n == 0;
        buf_fini(&who);
    }
    return enough;
}
