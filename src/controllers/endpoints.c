/* Endpoints and EndpointSlices of Services with a selector. (The slice of the `kubernetes` Service
 * is the API server's own matter: it knows where it listens.) */
#include "controllers/registry.h"
#include "controllers/slices.h"

struct state {
    int by_service; /* index of slices: "ns/service" */
};

static void service_index(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    struct str name = meta_label(object_meta(o), STR(LABEL_SERVICE_NAME));
    char key[512];
    if (str_empty(name) ||
        !str_is(meta_label(object_meta(o), STR(LABEL_SLICE_MANAGER)), SLICE_MANAGER))
        return;
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(name));
    emit(ctx, (struct str){key, (size_t)n});
}

static void map_slice(struct controller *c, struct object *old, struct object *new)
{
    const struct object *o = new ? new : old;
    struct str name = meta_label(object_meta(o), STR(LABEL_SERVICE_NAME));
    if (!str_empty(name))
        controller_add_name(c, object_ns(o), name);
}

static bool selects(const struct api_service *svc, const struct object *o)
{
    for (uint32_t i = 0; i < svc->spec.n_selector; i++)
        if (!str_eq(meta_label(object_meta(o), svc->spec.selector[i].key),
                    svc->spec.selector[i].value))
            return false;
    return svc->spec.n_selector > 0;
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    if (old && new && !endpoints_pod_changed(OBJECT_MSG(old, api_pod), OBJECT_MSG(new, api_pod)))
        return;
    struct client_cache_iter it;
    client_cache_iter_init(&it, controller_cache(c, KIND_SERVICE), object_ns(new ? new : old));
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_service *svc = OBJECT_MSG(o, api_service);
        if ((old && selects(svc, old)) || (new &&selects(svc, new)))
            controller_add_object(c, o);
    }
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_service = controller_index(c, KIND_ENDPOINT_SLICE, service_index);
    controller_set_state(c, st);
}

static struct str zone_of(struct reconcile *rc, const struct api_pod *p)
{
    struct object *node = str_empty(p->spec.node_name)
                              ? NULL
                              : reconcile_get(rc, KIND_NODE, STR_NONE, p->spec.node_name);
    return node ? meta_label(object_meta(node), STR("topology.kubernetes.io/zone")) : STR_NONE;
}

static void gather_pods(struct reconcile *rc, struct endpoints_in *in)
{
    struct client_cache *cache = controller_cache(rc->controller, KIND_POD);
    struct client_cache_iter it;
    const struct api_pod **pods = NULL;
    struct str *zones = NULL;
    for (int pass = 0; pass < 2; pass++) {
        in->n_pods = pass ? in->n_pods : 0;
        uint32_t n = 0;
        client_cache_iter_init(&it, cache, rc->ns);
        for (struct object *o; (o = client_cache_iter_next(&it));) {
            if (!selects(in->svc, o))
                continue;
            if (pass) {
                pods[n] = OBJECT_MSG(reconcile_keep(rc, o), api_pod);
                zones[n] = arena_str(rc->arena, zone_of(rc, pods[n]));
            }
            n++;
        }
        in->n_pods = n;
        if (!pass) {
            pods = ARENA_NEW_N(rc->arena, const struct api_pod *, n + 1);
            zones = ARENA_NEW_N(rc->arena, struct str, n + 1);
        }
    }
    in->pods = pods;
    in->zones = zones;
}

static void gather_slices(struct reconcile *rc, struct endpoints_in *in)
{
    const struct state *st = controller_state(rc->controller);
    const struct api_endpoint_slice **v;
    in->n_slices = slices_gather(rc, st->by_service, &v);
    in->slices = v;
}

static bool is_ours(struct object *o)
{
    return o && str_is(meta_label(object_meta(o), STR(LABEL_EP_MANAGER)), EP_MANAGER);
}

static void remove_all(struct reconcile *rc)
{
    struct endpoints_in in = {0};
    struct object *e = reconcile_get(rc, KIND_ENDPOINTS, rc->ns, rc->name);
    gather_slices(rc, &in);
    for (uint32_t i = 0; i < in.n_slices; i++)
        controller_delete(rc, KIND_ENDPOINT_SLICE, &in.slices[i]->metadata, NULL, NULL, NULL);
    if (is_ours(e))
        controller_delete(rc, KIND_ENDPOINTS, object_meta(e), NULL, NULL, NULL);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_SERVICE, rc->ns, rc->name);
    const struct api_service *svc = o ? OBJECT_MSG(reconcile_keep(rc, o), api_service) : NULL;
    if (!svc || str_is(svc->spec.type, "ExternalName")) {
        remove_all(rc);
        return;
    }
    if (svc->spec.n_selector == 0 || svc->metadata.deletion_timestamp.set)
        return; /* its endpoints are somebody else's */
    struct endpoints_in in = {.svc = svc};
    struct endpoints_plan plan;
    gather_pods(rc, &in);
    gather_slices(rc, &in);
    struct object *e = reconcile_get(rc, KIND_ENDPOINTS, rc->ns, rc->name);
    in.endpoints = e ? OBJECT_MSG(reconcile_keep(rc, e), api_endpoints) : NULL;
    endpoints_plan(rc->arena, &in, &plan);
    slices_apply(rc, plan.slices, plan.n_slices);
    if (plan.endpoints && in.endpoints)
        controller_update(rc, KIND_ENDPOINTS, plan.endpoints, NULL, NULL);
    else if (plan.endpoints)
        controller_create(rc, KIND_ENDPOINTS, plan.endpoints, slices_made, NULL);
}

const struct controller_row endpoints_row = {
    .name = "endpoints",
    .watches = {{KIND_SERVICE, controller_map_self},
                {KIND_POD, map_pod},
                {KIND_ENDPOINT_SLICE, map_slice},
                {KIND_ENDPOINTS, controller_map_self},
                {KIND_NODE, NULL}},
    .n_watches = 5,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
