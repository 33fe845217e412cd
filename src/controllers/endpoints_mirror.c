/* Mirrors Endpoints written by users into EndpointSlices, which is what the nodes read. Only for
 * Services that exist and have no selector: others have slices of their own. */
#include "controllers/endpoints_mirror_plan.h"

#include "controllers/registry.h"
#include "controllers/slices.h"

struct state {
    int by_service; /* mirrored slices: "ns/service" */
};

static bool is_mirrored(const struct object *slice)
{
    return str_is(meta_label(object_meta(slice), STR(LABEL_SLICE_MANAGER)), MIRROR_MANAGER);
}

static void index_mirrored(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    struct str name = meta_label(object_meta(o), STR(LABEL_SERVICE_NAME));
    char key[512];
    if (str_empty(name) || !is_mirrored(o))
        return;
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(name));
    emit(ctx, (struct str){key, (size_t)n});
}

static void map_slice(struct controller *c, struct object *old, struct object *new)
{
    const struct object *o = new ? new : old;
    struct str name = meta_label(object_meta(o), STR(LABEL_SERVICE_NAME));
    if (!str_empty(name) && is_mirrored(o))
        controller_add_name(c, object_ns(o), name);
}

static void map_service(struct controller *c, struct object *old, struct object *new)
{
    const struct api_service *x = old ? OBJECT_MSG(old, api_service) : NULL,
                             *y = new ? OBJECT_MSG(new, api_service) : NULL;
    if (!x || !y || !x->spec.n_selector != !y->spec.n_selector)
        controller_map_self(c, old, new);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_service = controller_index(c, KIND_ENDPOINT_SLICE, index_mirrored);
    controller_set_state(c, st);
}

static void reconcile(struct reconcile *rc)
{
    struct object *svc = reconcile_get(rc, KIND_SERVICE, rc->ns, rc->name);
    struct object *o = reconcile_get(rc, KIND_ENDPOINTS, rc->ns, rc->name);
    const struct api_endpoints *e = o ? OBJECT_MSG(reconcile_keep(rc, o), api_endpoints) : NULL;
    const struct api_endpoint_slice **slices;
    struct mirror_plan plan;
    const struct state *st = controller_state(rc->controller);
    uint32_t n = slices_gather(rc, st->by_service, &slices);
    if (e &&
        (!svc || OBJECT_MSG(svc, api_service)->spec.n_selector > 0 || !endpoints_mirror_wanted(e)))
        e = NULL;
    endpoints_mirror_plan(rc->arena, e, slices, n, &plan);
    slices_apply(rc, plan.changes, plan.n_changes);
    if (plan.n_changes && plan.n_skipped)
        event_record(
            controller_events(rc->controller), schema_kinds[KIND_ENDPOINTS], &e->metadata,
            EVENT_WARNING, "TooManyAddressesToMirror",
            "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. "
            "%u addresses were skipped",
            MIRROR_ADDRESSES_MAX, plan.n_skipped);
    if (plan.n_changes && plan.n_invalid)
        event_record(controller_events(rc->controller), schema_kinds[KIND_ENDPOINTS], &e->metadata,
                     EVENT_WARNING, "InvalidIPAddress",
                     "Skipped %u invalid IP addresses when mirroring to EndpointSlices",
                     plan.n_invalid);
}

const struct controller_row endpoints_mirror_row = {
    .name = "endpointslicemirroring",
    .watches = {{KIND_ENDPOINTS, controller_map_self},
                {KIND_SERVICE, map_service},
                {KIND_ENDPOINT_SLICE, map_slice}},
    .n_watches = 3,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
