/* NoExecute taints: pods that do not tolerate one are deleted; those that tolerate it for a time,
 * when the shortest such time is over. The time of a pod runs on this process's monotonic clock
 * from when it was first seen under such taints: neither a clock that was set nor an outage of this
 * server makes it shorter, and it begins anew when the taints come back. */
#include "controllers/node_taints.h"
#include "controllers/registry.h"

struct marked { /* a pod whose time runs */
    char *uid;  /* owned */
    nsec_t since;
};
struct state {
    int by_node;
    struct map marked; /* uid -> struct marked */
};

static bool has_no_execute(const struct object *o)
{
    const struct api_node *n = o ? OBJECT_MSG(o, api_node) : NULL;
    for (uint32_t i = 0; n && i < n->spec.n_taints; i++)
        if (str_is(n->spec.taints[i].effect, "NoExecute"))
            return true;
    return false;
}

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    if (has_no_execute(old) || has_no_execute(new))
        controller_map_self(c, old, new);
}

static void unmark(struct state *st, struct marked *m)
{
    (void)map_remove(&st->marked, str_z(m->uid));
    free(m->uid);
    free(m);
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    struct state *st = controller_state(c);
    if (!new) {
        struct marked *m = map_get(&st->marked, object_meta(old)->uid);
        if (m)
            unmark(st, m);
        return;
    }
    const struct api_pod *p = OBJECT_MSG(new, api_pod), *q = old ? OBJECT_MSG(old, api_pod) : NULL;
    if (str_empty(p->spec.node_name) ||
        (q && str_eq(p->spec.node_name, q->spec.node_name) &&
         p->spec.n_tolerations == q->spec.n_tolerations)) /* they can only be added */
        return;
    if (has_no_execute(controller_find(c, KIND_NODE, STR_NONE, p->spec.node_name)))
        controller_add_name(c, STR_NONE, p->spec.node_name);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_node = controller_index(c, KIND_POD, node_name_index);
    controller_set_state(c, st);
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    for (struct map_slot *s; (s = map_next(&st->marked, NULL));)
        unmark(st, s->value);
    map_fini(&st->marked);
    controller_free_state(c);
}

#define FOR_EVER INT64_MAX

/* Seconds the pod may stay, counted from when it was seen under the taints. */
static int64_t may_stay_s(const struct api_pod *p, const struct api_node *n)
{
    int64_t shortest = FOR_EVER;
    for (uint32_t i = 0; i < n->spec.n_taints; i++) {
        const struct api_taint *taint = &n->spec.taints[i];
        int64_t longest = 0;
        if (!str_is(taint->effect, "NoExecute"))
            continue;
        for (uint32_t j = 0; j < p->spec.n_tolerations; j++) {
            const struct api_toleration *t = &p->spec.tolerations[j];
            if (taint_is_tolerated_by(t, taint))
                longest =
                    MAX(longest, t->has_toleration_seconds ? MAX(t->toleration_seconds, (int64_t)0)
                                                           : FOR_EVER);
        }
        shortest = MIN(shortest, longest);
    }
    return shortest;
}

static void evict(struct reconcile *rc, const struct api_pod *p)
{
    char when[TIMESTAMP_TEXT_MAX];
    timestamp_format(timestamp_seconds(rc->now), false, when);
    event_record(controller_events(rc->controller), schema_kinds[KIND_POD], &p->metadata,
                 EVENT_NORMAL, "TaintManagerEviction", "Marking for deletion Pod %.*s/%.*s",
                 STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name));
    struct str json = arena_printf(
        rc->arena,
        "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
        "\"reason\":\"DeletionByTaintManager\",\"lastTransitionTime\":\"%s\","
        "\"message\":\"Taint manager: deleting due to NoExecute taint\"}]}}",
        when);
    controller_patch(rc, KIND_POD, &p->metadata, "status", CLIENT_PATCH_STRATEGIC, json, NULL,
                     NULL);
    controller_delete(rc, KIND_POD, &p->metadata, NULL, NULL, NULL);
}

static void look_at(struct reconcile *rc, const struct api_pod *p, const struct api_node *n)
{
    struct state *st = controller_state(rc->controller);
    struct marked *m = map_get(&st->marked, p->metadata.uid);
    int64_t stay_s = may_stay_s(p, n);
    nsec_t now = rt_now(controller_rt(rc->controller));
    if (stay_s == FOR_EVER) {
        if (m) {
            event_record(controller_events(rc->controller), schema_kinds[KIND_POD], &p->metadata,
                         EVENT_NORMAL, "TaintManagerEviction",
                         "Cancelling deletion of Pod %.*s/%.*s", STR_ARG(p->metadata.namespace),
                         STR_ARG(p->metadata.name));
            unmark(st, m);
        }
        return;
    }
    if (!m) {
        m = NEW(struct marked);
        *m = (struct marked){.uid = str_dup(p->metadata.uid), .since = now};
        (void)map_set(&st->marked, str_z(m->uid), m);
    }
    nsec_t left = m->since - now +
                  (stay_s < INT64_MAX / NSEC_PER_SEC / 4 ? stay_s * NSEC_PER_SEC : INT64_MAX / 4);
    if (left > 0)
        reconcile_again(rc, left + NSEC_PER_MSEC);
    else
        evict(rc, p);
}

static void reconcile(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    struct object *node = reconcile_get(rc, KIND_NODE, STR_NONE, rc->name);
    struct client_cache_iter it;
    if (!node)
        return;
    client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_POD), st->by_node,
                                 rc->name);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        if (!p->metadata.deletion_timestamp.set)
            look_at(rc, p, OBJECT_MSG(node, api_node));
    }
}

const struct controller_row taint_eviction_row = {
    .name = "taint-eviction",
    .watches = {{KIND_NODE, map_node}, {KIND_POD, map_pod}},
    .n_watches = 2,
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
