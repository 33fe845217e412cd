/* PodDisruptionBudgets: keeps their status, from which the eviction subresource takes what it
 * grants. Both write it, so each write here carries the revision it was worked out from; a refusal
 * means that an eviction came between, and the key runs again. */
#include "controllers/disruption_plan.h"
#include "controllers/registry.h"

static const struct schema_kind *pdb_kind(void)
{
    return schema_kinds[KIND_POD_DISRUPTION_BUDGET];
}

/* ---- which budgets a change concerns ---- */

static void add_budgets(struct controller *c, const struct api_pod *p)
{
    struct client_cache_iter it;
    struct arena a = {0};
    client_cache_iter_init(&it, controller_cache(c, KIND_POD_DISRUPTION_BUDGET),
                           p->metadata.namespace);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        struct label_selector sel;
        if (label_selector_compile(&a, OBJECT_MSG(o, api_pod_disruption_budget)->spec.selector,
                                   &sel, NULL) >= 0 &&
            label_selector_match(&sel, p->metadata.labels, p->metadata.n_labels))
            controller_add_object(c, o);
    }
    arena_fini(&a);
}

static bool same_labels(const struct api_object_meta *x, const struct api_object_meta *y)
{
    if (x->n_labels != y->n_labels)
        return false;
    for (uint32_t i = 0; i < x->n_labels; i++)
        if (!str_eq(x->labels[i].key, y->labels[i].key) ||
            !str_eq(x->labels[i].value, y->labels[i].value))
            return false;
    return true;
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    const struct api_pod *p = old ? OBJECT_MSG(old, api_pod) : NULL,
                         *q = new ? OBJECT_MSG(new, api_pod) : NULL;
    bool relabelled = p && q && !same_labels(&p->metadata, &q->metadata);
    if (p && q && !relabelled && pod_is_ready(p) == pod_is_ready(q) &&
        p->metadata.deletion_timestamp.set == q->metadata.deletion_timestamp.set &&
        p->metadata.n_owner_references == q->metadata.n_owner_references)
        return;
    if (q)
        add_budgets(c, q);
    if (p && (!q || relabelled))
        add_budgets(c, p);
}

/* A controller that wants more or fewer pods: the expected number of some budget here changes. */
static void map_scaled(struct controller *c, struct object *old, struct object *new)
{
    int32_t had, want;
    struct client_cache_iter it;
    if (!old || !new)
        return;
    if (new->kind->id == KIND_DEPLOYMENT) {
        had = OBJECT_MSG(old, api_deployment)->spec.replicas;
        want = OBJECT_MSG(new, api_deployment)->spec.replicas;
    } else {
        had = OBJECT_MSG(old, api_replica_set)->spec.replicas;
        want = OBJECT_MSG(new, api_replica_set)->spec.replicas;
    }
    if (had == want)
        return;
    client_cache_iter_init(&it, controller_cache(c, KIND_POD_DISRUPTION_BUDGET), object_ns(new));
    for (struct object *o; (o = client_cache_iter_next(&it));)
        controller_add_object(c, o);
}

/* ---- scales ---- */

/* The scale of a pod is that of the topmost controller that has one. */
static int scale_of_pod(void *ctx, const struct api_pod *p, struct str *ret_uid,
                        int32_t *ret_replicas, struct str *ret_why)
{
    struct reconcile *rc = ctx;
    const struct api_owner_reference *ref = owner_controller(&p->metadata);
    if (!ref)
        return 0;
    if (!str_is(ref->kind, "ReplicaSet")) {
        *ret_why = arena_printf(rc->arena, "%.*s.%.*s does not implement the scale subresource",
                                STR_ARG(ref->kind), STR_ARG(ref->api_version));
        return -EOPNOTSUPP;
    }
    struct object *o = reconcile_get(rc, KIND_REPLICA_SET, p->metadata.namespace, ref->name);
    if (!o || !str_eq(object_meta(o)->uid, ref->uid)) {
        *ret_why = arena_printf(rc->arena, "found no controllers for pod \"%.*s\"",
                                STR_ARG(p->metadata.name));
        return -ENOENT;
    }
    const struct api_replica_set *rs = OBJECT_MSG(o, api_replica_set);
    const struct api_owner_reference *up = owner_controller(&rs->metadata);
    if (up && str_is(up->kind, "Deployment")) {
        struct object *d = reconcile_get(rc, KIND_DEPLOYMENT, p->metadata.namespace, up->name);
        if (d && str_eq(object_meta(d)->uid, up->uid)) {
            *ret_uid = object_meta(d)->uid;
            *ret_replicas = OBJECT_MSG(d, api_deployment)->spec.replicas;
            return 1;
        }
    }
    *ret_uid = rs->metadata.uid;
    *ret_replicas = rs->spec.replicas;
    return 1;
}

/* ---- a run ---- */

static const struct api_pod **pods_of(struct reconcile *rc,
                                      const struct api_pod_disruption_budget *b, uint32_t *ret_n)
{
    struct client_cache *cache = controller_cache(rc->controller, KIND_POD);
    struct client_cache_iter it;
    struct label_selector sel;
    const struct api_pod **v = NULL;
    uint32_t cap = 0, n = 0;
    *ret_n = 0;
    if (label_selector_compile(rc->arena, b->spec.selector, &sel, NULL) < 0)
        return NULL;
    client_cache_iter_init(&it, cache, rc->ns);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        if (!label_selector_match(&sel, p->metadata.labels, p->metadata.n_labels))
            continue;
        if (n == cap) {
            const struct api_pod **w =
                ARENA_NEW_N(rc->arena, const struct api_pod *, cap ? cap * 2 : 16);
            if (n)
                memcpy(w, v, n * sizeof(*w));
            v = w;
            cap = cap ? cap * 2 : 16;
        }
        v[n++] = OBJECT_MSG(reconcile_keep(rc, o), api_pod);
    }
    *ret_n = n;
    return v;
}

static void tell(struct reconcile *rc, const struct disruption_plan *plan, uint32_t n_pods)
{
    struct event_recorder *ev = controller_events(rc->controller);
    const struct api_object_meta *m = &plan->budget.metadata;
    if (n_pods == 0)
        event_record(ev, pdb_kind(), m, EVENT_NORMAL, "NoPods", "No matching pods found");
    if (plan->failed)
        event_record(ev, pdb_kind(), m, EVENT_WARNING, "CalculateExpectedPodCountFailed",
                     "Failed to calculate the number of expected pods: %.*s", STR_ARG(plan->why));
    if (plan->n_unmanaged && !plan->failed)
        event_record(ev, pdb_kind(), m, EVENT_WARNING, "UnmanagedPods",
                     "%u pods selected by this PodDisruptionBudget are controlled by nobody and "
                     "count for nothing; set an integer .spec.minAvailable to have them counted",
                     plan->n_unmanaged);
    for (uint32_t i = 0; i < plan->n_overdue; i++)
        event_record(ev, schema_kinds[KIND_POD], &plan->overdue[i]->metadata, EVENT_WARNING,
                     "NotDeleted", "Pod was expected by PDB %.*s/%.*s to be deleted but it wasn't",
                     STR_ARG(m->namespace), STR_ARG(m->name));
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_POD_DISRUPTION_BUDGET, rc->ns, rc->name);
    struct disruption_plan *plan = ARENA_NEW(rc->arena, struct disruption_plan);
    uint32_t n;
    if (!o)
        return;
    const struct api_pod_disruption_budget *b =
        OBJECT_MSG(reconcile_keep(rc, o), api_pod_disruption_budget);
    const struct api_pod **pods = pods_of(rc, b, &n);
    disruption_plan(rc->arena, b, pods, n, rc->now, scale_of_pod, rc, plan);
    if (plan->recheck)
        reconcile_again(rc, (plan->recheck - rc->now) * NSEC_PER_USEC + NSEC_PER_MSEC);
    if (!plan->changed)
        return;
    tell(rc, plan, n);
    controller_update_sub(rc, KIND_POD_DISRUPTION_BUDGET, "status", &plan->budget, NULL, NULL);
}

const struct controller_row disruption_row = {
    .name = "disruption",
    .watches = {{KIND_POD_DISRUPTION_BUDGET, controller_map_self},
                {KIND_POD, map_pod},
                {KIND_REPLICA_SET, map_scaled},
                {KIND_DEPLOYMENT, map_scaled}},
    .n_watches = 4,
    .reconcile = reconcile,
};

/* ---- DisruptionTarget that came to nothing ---- */

#define STALE_AFTER (INT64_C(120) * 1000000) /* usec */

/* When the pod's mark is stale; 0: it has none, or it goes indeed. */
static usec_t stale_at(const struct api_pod *p)
{
    const struct api_pod_condition *c = pod_condition(p, STR("DisruptionTarget"));
    if (!c || !str_is(c->status, "True") || p->metadata.deletion_timestamp.set ||
        pod_is_terminated(p))
        return 0;
    return c->last_transition_time.usec + STALE_AFTER;
}

static void map_marked(struct controller *c, struct object *old, struct object *new)
{
    if (new &&stale_at(OBJECT_MSG(new, api_pod)))
        controller_add_object(c, new);
}

/* A pod that was to be disrupted and lives on is not disrupted. */
static void reconcile_stale(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_POD, rc->ns, rc->name);
    usec_t at = o ? stale_at(OBJECT_MSG(o, api_pod)) : 0;
    char when[TIMESTAMP_TEXT_MAX];
    if (at == 0)
        return;
    if (at > rc->now) {
        reconcile_again(rc, (at - rc->now) * NSEC_PER_USEC + NSEC_PER_MSEC);
        return;
    }
    timestamp_format(timestamp_seconds(rc->now), false, when);
    controller_patch(rc, KIND_POD, object_meta(o), "status", CLIENT_PATCH_STRATEGIC,
                     arena_printf(rc->arena,
                                  "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\","
                                  "\"status\":\"False\",\"reason\":null,\"message\":null,"
                                  "\"lastTransitionTime\":\"%s\"}]}}",
                                  when),
                     NULL, NULL);
}

const struct controller_row stale_disruption_row = {
    .name = "stale-pod-disruption",
    .watches = {{KIND_POD, map_marked}},
    .n_watches = 1,
    .reconcile = reconcile_stale,
};
