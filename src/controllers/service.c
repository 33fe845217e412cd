/* Load balancers of class "davit.dev/node", and those without a class: see service_plan.h. Those of
 * another class belong to somebody else, with their finalizer and status. */
#include "controllers/service_plan.h"

#include "controllers/registry.h"

struct state {
    int by_port; /* services of ours: "80/TCP" */
    int ours;    /* services of ours: "" */
    int slices;  /* slices: "ns/service" */
};

/* ---- indexes ---- */

static struct str port_key(const struct api_service_port *p, char out[static 32])
{
    int n = snprintf(out, 32, "%d/%.*s", p->port, (int)MIN(p->protocol.n, (size_t)8),
                     p->protocol.p ? p->protocol.p : "");
    return (struct str){out, (size_t)n};
}

static void index_ports(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    const struct api_service *svc = OBJECT_MSG(o, api_service);
    char key[32];
    for (uint32_t i = 0; service_lb_is_ours(svc) && i < svc->spec.n_ports; i++)
        emit(ctx, port_key(&svc->spec.ports[i], key));
}

static void index_ours(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    if (service_lb_is_ours(OBJECT_MSG(o, api_service)))
        emit(ctx, STR("ours"));
}

static void index_slice(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    struct str name = meta_label(object_meta(o), STR("kubernetes.io/service-name"));
    char key[512];
    if (str_empty(name))
        return;
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(name));
    emit(ctx, (struct str){key, (size_t)n});
}

/* ---- what concerns whom ---- */

static void add_rivals(struct controller *c, const struct object *o)
{
    const struct state *st = controller_state(c);
    const struct api_service *svc = OBJECT_MSG(o, api_service);
    char key[32];
    for (uint32_t i = 0; service_lb_is_ours(svc) && i < svc->spec.n_ports; i++) {
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, controller_cache(c, KIND_SERVICE), st->by_port,
                                     port_key(&svc->spec.ports[i], key));
        for (struct object *other; (other = client_cache_iter_next(&it));)
            controller_add_object(c, other);
    }
}

static void map_service(struct controller *c, struct object *old, struct object *new)
{
    controller_map_self(c, old, new);
    if (old)
        add_rivals(c, old);
    if (new)
        add_rivals(c, new);
}

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    const struct state *st = controller_state(c);
    struct client_cache_iter it;
    if (!service_lb_node_changed(old ? OBJECT_MSG(old, api_node) : NULL,
                                 new ? OBJECT_MSG(new, api_node) : NULL))
        return;
    client_cache_iter_init_index(&it, controller_cache(c, KIND_SERVICE), st->ours, STR("ours"));
    for (struct object *o; (o = client_cache_iter_next(&it));)
        controller_add_object(c, o);
}

static void map_slice(struct controller *c, struct object *old, struct object *new)
{
    const struct object *o = new ? new : old;
    struct str name = meta_label(object_meta(o), STR("kubernetes.io/service-name"));
    struct object *svc =
        str_empty(name) ? NULL : controller_find(c, KIND_SERVICE, object_ns(o), name);
    if (svc && service_lb_is_ours(OBJECT_MSG(svc, api_service)) &&
        str_is(OBJECT_MSG(svc, api_service)->spec.external_traffic_policy, "Local"))
        controller_add_object(c, svc);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_port = controller_index(c, KIND_SERVICE, index_ports);
    st->ours = controller_index(c, KIND_SERVICE, index_ours);
    st->slices = controller_index(c, KIND_ENDPOINT_SLICE, index_slice);
    controller_set_state(c, st);
}

/* ---- a run ---- */

static int node_cmp(const void *a, const void *b)
{
    const struct api_node *x = *(const struct api_node *const *)a,
                          *y = *(const struct api_node *const *)b;
    return str_cmp(x->metadata.name, y->metadata.name);
}

static void gather_nodes(struct reconcile *rc, struct service_lb_in *in)
{
    struct client_cache *cache = controller_cache(rc->controller, KIND_NODE);
    const struct api_node **v =
        ARENA_NEW_N(rc->arena, const struct api_node *, client_cache_count(cache) + 1);
    struct client_cache_iter it;
    client_cache_iter_init(&it, cache, STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        v[in->n_nodes++] = OBJECT_MSG(reconcile_keep(rc, o), api_node);
    qsort(v, in->n_nodes, sizeof(*v), node_cmp);
    in->nodes = v;
}

#define SLICES_MAX 1024

static void gather_slices(struct reconcile *rc, struct service_lb_in *in)
{
    const struct state *st = controller_state(rc->controller);
    const struct api_endpoint_slice **v =
        ARENA_NEW_N(rc->arena, const struct api_endpoint_slice *, SLICES_MAX);
    struct client_cache_iter it;
    client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_ENDPOINT_SLICE),
                                 st->slices, rc->key);
    for (struct object *o; in->n_slices < SLICES_MAX && (o = client_cache_iter_next(&it));)
        v[in->n_slices++] = OBJECT_MSG(reconcile_keep(rc, o), api_endpoint_slice);
    in->slices = v;
}

static void find_holder(struct reconcile *rc, struct service_lb_in *in)
{
    const struct state *st = controller_state(rc->controller);
    struct client_cache *cache = controller_cache(rc->controller, KIND_SERVICE);
    char key[32];
    for (uint32_t i = 0; !in->holder && i < in->svc->spec.n_ports; i++) {
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, cache, st->by_port,
                                     port_key(&in->svc->spec.ports[i], key));
        for (struct object *o; !in->holder && (o = client_cache_iter_next(&it));)
            if (service_lb_yields(in->svc, OBJECT_MSG(o, api_service)))
                in->holder = OBJECT_MSG(reconcile_keep(rc, o), api_service);
    }
}

static struct str finalizers_with(struct reconcile *rc, const struct api_object_meta *m)
{
    struct api_object_meta with = *m;
    with.finalizers = ARENA_NEW_N(rc->arena, struct str, m->n_finalizers + 1);
    for (uint32_t i = 0; i < m->n_finalizers; i++)
        with.finalizers[i] = m->finalizers[i];
    with.finalizers[with.n_finalizers++] = STR(LB_FINALIZER);
    return finalizers_patch_without(rc->arena, &with, STR(""));
}

static void tell(struct reconcile *rc, const struct service_lb_in *in,
                 const struct api_service_status *st)
{
    struct event_recorder *events = controller_events(rc->controller);
    const struct schema_kind *kind = schema_kinds[KIND_SERVICE];
    const struct api_object_meta *meta = &in->svc->metadata;
    uint32_t before = in->svc->status.load_balancer.n_ingress, now = st->load_balancer.n_ingress;
    if (in->holder && !service_lb_has_conflict(in->svc))
        event_record(events, kind, meta, EVENT_WARNING, "SyncLoadBalancerFailed",
                     "Error syncing load balancer: %.*s",
                     STR_ARG(st->conditions[st->n_conditions - 1].message));
    else if (!before && now)
        event_record(events, kind, meta, EVENT_NORMAL, "EnsuredLoadBalancer",
                     "Ensured load balancer");
    else if (before && now)
        event_record(events, kind, meta, EVENT_NORMAL, "UpdatedLoadBalancer",
                     "Updated load balancer with new hosts");
}

static void put_status(struct reconcile *rc, const struct service_lb_in *in,
                       const struct api_service_status *st)
{
    struct api_service *copy = ARENA_NEW(rc->arena, struct api_service);
    *copy = *in->svc;
    copy->status = *st;
    controller_update_sub(rc, KIND_SERVICE, "status", copy, NULL, NULL);
}

/* No load balancer any more: first its addresses go, then the finalizer that kept it. */
static void tear_down(struct reconcile *rc, const struct service_lb_in *in)
{
    struct api_service_status *st = service_lb_is_ours(in->svc) || service_lb_has_conflict(in->svc)
                                        ? service_lb_plan(rc->arena, in)
                                        : NULL;
    if (st)
        put_status(rc, in, st);
    else if (has_str(in->svc->metadata.finalizers, in->svc->metadata.n_finalizers,
                     STR(LB_FINALIZER)))
        controller_patch(rc, KIND_SERVICE, &in->svc->metadata, NULL, CLIENT_PATCH_MERGE,
                         finalizers_patch_without(rc->arena, &in->svc->metadata, STR(LB_FINALIZER)),
                         NULL, NULL);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_SERVICE, rc->ns, rc->name);
    if (!o)
        return;
    struct service_lb_in in = {.svc = OBJECT_MSG(reconcile_keep(rc, o), api_service),
                               .now = rc->now};
    const struct api_object_meta *m = &in.svc->metadata;
    if (str_is(in.svc->spec.type, "LoadBalancer") && !service_lb_is_ours(in.svc))
        return;
    if (!service_lb_is_ours(in.svc) || m->deletion_timestamp.set) {
        tear_down(rc, &in);
        return;
    }
    if (!has_str(m->finalizers, m->n_finalizers, STR(LB_FINALIZER))) {
        controller_patch(rc, KIND_SERVICE, m, NULL, CLIENT_PATCH_MERGE, finalizers_with(rc, m),
                         NULL, NULL);
        return; /* its change brings us back */
    }
    gather_nodes(rc, &in);
    gather_slices(rc, &in);
    find_holder(rc, &in);
    struct api_service_status *st = service_lb_plan(rc->arena, &in);
    if (!st)
        return;
    put_status(rc, &in, st);
    tell(rc, &in, st);
}

const struct controller_row service_row = {
    .name = "service",
    .watches = {{KIND_SERVICE, map_service},
                {KIND_NODE, map_node},
                {KIND_ENDPOINT_SLICE, map_slice}},
    .n_watches = 3,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
