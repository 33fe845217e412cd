/* Fenced takeover: pods of a silent node that are one of a kind and are being deleted are removed
 * from the API once the node, by its own promise, has stopped them (docs/FENCING.md). Time runs on
 * this process's monotonic clock from when it saw the node's newest renewal, or from its own start;
 * nothing that is stored or that another machine's clock says can make it shorter. */
#include "api/fence.h"
#include "controllers/registry.h"

#define LEASE_NS "kube-node-lease"

struct seen {
    char *node;      /* owned */
    int64_t renewed; /* renewTime last seen */
    nsec_t at;       /* when it was seen to move */
};
struct state {
    int by_node;
    struct map seen; /* node -> struct seen */
    nsec_t started;
};

static void seen_free(struct state *st, struct seen *s)
{
    (void)map_remove(&st->seen, str_z(s->node));
    free(s->node);
    free(s);
}

/* Any change of renewTime is a renewal: which way it moved is the other clock's business. */
static void map_lease(struct controller *c, struct object *old, struct object *new)
{
    struct state *st = controller_state(c);
    struct object *o = new ? new : old;
    if (!str_is(object_ns(o), LEASE_NS))
        return;
    int64_t renewed = OBJECT_MSG(o, api_lease)->spec.renew_time.usec;
    struct seen *s = map_get(&st->seen, object_name(o));
    if (!new) { /* a lease made anew is seen anew, which can only be later */
        if (s)
            seen_free(st, s);
        return;
    }
    if (!s) {
        s = NEW(struct seen);
        *s = (struct seen){.node = str_dup(object_name(o)), .at = rt_now(controller_rt(c))};
        (void)map_set(&st->seen, str_z(s->node), s);
    } else if (renewed != s->renewed) {
        s->at = rt_now(controller_rt(c));
    }
    s->renewed = renewed;
}

static bool waits(const struct object *o)
{
    const struct api_pod *p = o ? OBJECT_MSG(o, api_pod) : NULL;
    return p && p->metadata.deletion_timestamp.set && p->spec.node_name.n && fence_applies(p);
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    if (waits(new) && !waits(old))
        controller_add_name(c, STR_NONE, OBJECT_MSG(new, api_pod)->spec.node_name);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_node = controller_index(c, KIND_POD, node_name_index);
    st->started = rt_now(controller_rt(c));
    controller_set_state(c, st);
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    for (struct map_slot *s; (s = map_next(&st->seen, NULL));)
        seen_free(st, s->value);
    map_fini(&st->seen);
    controller_free_state(c);
}

/* When the node's fenced pods have stopped, on our clock; 0: it has promised nothing. */
static nsec_t stopped_at(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    struct object *o = reconcile_get(rc, KIND_LEASE, STR(LEASE_NS), rc->name);
    const struct seen *s = map_get(&st->seen, rc->name);
    struct fence_promise promise;
    if (!o || !s ||
        fence_promise_parse(meta_annotation(object_meta(o), STR(FENCE_PROMISE_ANNOTATION)),
                            &promise) < 0)
        return 0;
    return MAX(s->at, st->started) + fence_takeover_after(&promise);
}

static void reconcile(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    nsec_t now = rt_now(controller_rt(rc->controller)), at = 0;
    struct client_cache_iter it;
    client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_POD), st->by_node,
                                 rc->name);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        if (!waits(o))
            continue;
        if (at == 0)
            at = stopped_at(rc);
        if (at == 0)
            return; /* whoever is without a promise waits for the node, as in Kubernetes */
        if (now < at) {
            reconcile_again(rc, at - now + NSEC_PER_MSEC);
            return;
        }
        event_record(controller_events(rc->controller), schema_kinds[KIND_POD], object_meta(o),
                     EVENT_NORMAL, "FencedTakeover",
                     "Node %.*s has been silent for longer than it keeps such pods running",
                     STR_ARG(rc->name));
        controller_delete_now(rc, KIND_POD, object_meta(o), NULL, NULL);
    }
}

const struct controller_row fence_row = {
    .name = "fence",
    .watches = {{KIND_POD, map_pod}, {KIND_LEASE, map_lease}},
    .n_watches = 2,
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
