/* NoExecute taints: pods that do not tolerate one are deleted; those that tolerate it for a time,
 * when the shortest such time is over. */
#include "controllers/registry.h"

struct state {
    int by_node;
};

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    if (new &&OBJECT_MSG(new, api_node)->spec.n_taints > 0)
        controller_add_object(c, new);
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    struct str node = new ? OBJECT_MSG(new, api_pod)->spec.node_name : STR_NONE;
    struct object *o = str_empty(node) ? NULL : controller_find(c, KIND_NODE, STR_NONE, node);
    if (o && OBJECT_MSG(o, api_node)->spec.n_taints > 0 &&
        (!old || str_empty(OBJECT_MSG(old, api_pod)->spec.node_name)))
        controller_add_object(c, o);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->by_node = controller_index(c, KIND_POD, node_name_index);
    controller_set_state(c, st);
}

static bool tolerates(const struct api_toleration *t, const struct api_taint *taint)
{
    bool exists = str_is(t->operator, "Exists");
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect))
        return false;
    if (str_empty(t->key))
        return exists;
    return str_eq(t->key, taint->key) && (exists || str_eq(t->value, taint->value));
}

/* When the pod has to go: 0 never, else a wall-clock time (which may be past). */
static usec_t evict_at(const struct api_pod *p, const struct api_node *n, usec_t now)
{
    usec_t at = 0;
    for (uint32_t i = 0; i < n->spec.n_taints; i++) {
        const struct api_taint *taint = &n->spec.taints[i];
        if (!str_is(taint->effect, "NoExecute"))
            continue;
        int64_t longest = -1; /* -1: not tolerated; INT64_MAX: for ever */
        for (uint32_t j = 0; j < p->spec.n_tolerations; j++) {
            const struct api_toleration *t = &p->spec.tolerations[j];
            if (tolerates(t, taint))
                longest = MAX(longest, t->has_toleration_seconds ? MAX(t->toleration_seconds, 0)
                                                                 : INT64_MAX);
        }
        if (longest == INT64_MAX)
            continue;
        usec_t from = taint->time_added.set ? taint->time_added.usec : now;
        usec_t due = longest <= 0 ? 1 : from + usec_of_s(longest);
        at = at == 0 ? due : MIN(at, due);
    }
    return at;
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
        if (p->metadata.deletion_timestamp.set)
            continue;
        usec_t at = evict_at(p, OBJECT_MSG(node, api_node), rc->now);
        if (at > rc->now)
            reconcile_again(rc, nsec_of_usec(at - rc->now) + NSEC_PER_MSEC);
        else if (at > 0)
            evict(rc, p);
    }
}

const struct controller_row taint_eviction_row = {
    .name = "taint-eviction",
    .watches = {{KIND_NODE, map_node}, {KIND_POD, map_pod}},
    .n_watches = 2,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
