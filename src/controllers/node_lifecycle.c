/* Nodes live by their leases. A node whose lease has not moved for node_grace gets its conditions
 * set to Unknown, its pods are marked not ready (so that Services leave them), and a taint that the
 * taint-eviction controller acts on. When the lease moves again the agent writes its conditions and
 * the taint goes.
 *
 * What counts is when a change was seen here, on this process's monotonic clock: nobody's wall
 * clock has to be right, and after a restart every node gets a full grace period. */
#include "base/buf.h"
#include "controllers/registry.h"

#define LEASE_NS          "kube-node-lease"
#define TAINT_NOT_READY   "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"

struct seen {
    char *name;            /* owned */
    int64_t lease, status; /* what the lease and the Ready condition said last */
    nsec_t at;             /* when one of them was last seen to change */
};
struct state {
    struct map nodes; /* name -> struct seen */
    int by_node;
};

static const struct {
    const char *condition, *when, *taint;
} PRESSURES[] = {
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};

static const struct api_node_condition *condition(const struct api_node *n, const char *type)
{
    for (uint32_t i = 0; i < n->status.n_conditions; i++)
        if (str_eqz(n->status.conditions[i].type, type))
            return &n->status.conditions[i];
    return NULL;
}

/* Takes note of what lease and status say (0: nothing new is known); any change is a sign of life.
 */
static struct seen *heard(struct controller *c, struct str name, int64_t lease, int64_t status)
{
    struct state *st = controller_state(c);
    nsec_t now = rt_now(controller_rt(c));
    struct seen *s = map_get(&st->nodes, name);
    if (!s) {
        s = NEW(struct seen);
        *s = (struct seen){.name = str_dup(name), .at = now};
        (void)map_set(&st->nodes, str_z(s->name), s);
    }
    if ((lease && lease != s->lease) || (status && status != s->status))
        s->at = now;
    s->lease = lease ? lease : s->lease;
    s->status = status ? status : s->status;
    return s;
}

/* What the agent itself last said in the node's status; 0 when the conditions are ours. */
static int64_t status_heartbeat(const struct api_node *n)
{
    const struct api_node_condition *r = condition(n, "Ready");
    return r && !str_is(r->status, "Unknown") ? r->last_heartbeat_time.usec : 0;
}

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    if (new)
        (void)heard(c, object_name(new), 0, status_heartbeat(OBJECT_MSG(new, api_node)));
    controller_map_self(c, old, new);
}

/* A renewed lease wants action only when the node was given up; else it is just noted. */
static void map_lease(struct controller *c, struct object *old, struct object *new)
{
    if (!new || !str_is(object_ns(new), LEASE_NS))
        return;
    struct object *node = controller_find(c, KIND_NODE, STR_NONE, object_name(new));
    if (!node)
        return;
    (void)heard(c, object_name(new), OBJECT_MSG(new, api_lease)->spec.renew_time.usec, 0);
    const struct api_node_condition *r = condition(OBJECT_MSG(node, api_node), "Ready");
    if (!r || str_is(r->status, "Unknown"))
        controller_add_name(c, STR_NONE, object_name(new));
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
    for (struct map_slot *s = NULL; (s = map_next(&st->nodes, s));) {
        struct seen *n = s->value;
        free(n->name);
        free(n);
    }
    map_fini(&st->nodes);
    controller_free_state(c);
}

static void forget(struct state *st, struct str name)
{
    struct seen *s = map_remove(&st->nodes, name);
    if (!s)
        return;
    free(s->name);
    free(s);
}

/* How long nothing has been heard of the node. */
static nsec_t silence(struct reconcile *rc, const struct api_node *n)
{
    struct object *o = reconcile_get(rc, KIND_LEASE, STR(LEASE_NS), n->metadata.name);
    int64_t renewed = o ? OBJECT_MSG(o, api_lease)->spec.renew_time.usec : 0;
    struct seen *s = heard(rc->controller, n->metadata.name, renewed, status_heartbeat(n));
    return rt_now(controller_rt(rc->controller)) - s->at;
}

/* ---- taints ---- */

static bool wants_taint(struct api_taint *v, uint32_t *n, const char *key, const char *effect,
                        bool want, struct timestamp now)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (!str_eqz(v[i].key, key) || !str_eqz(v[i].effect, effect))
            continue;
        if (want)
            return false;
        v[i] = v[--*n];
        return true;
    }
    if (want)
        v[(*n)++] =
            (struct api_taint){.key = str_z(key), .effect = str_z(effect), .time_added = now};
    return want;
}

/* Brings the taints in line with the conditions; true when they change. */
static bool set_taints(struct arena *a, struct api_node *n, const char *ready, usec_t now)
{
    struct api_taint *v = ARENA_NEW_N(a, struct api_taint, n->spec.n_taints + 16);
    struct timestamp t = timestamp_seconds(now);
    bool unknown = strcmp(ready, "Unknown") == 0, not_ready = strcmp(ready, "False") == 0,
         changed = false;
    for (uint32_t i = 0; i < n->spec.n_taints; i++)
        v[i] = n->spec.taints[i];
    n->spec.taints = v;
    uint32_t *k = &n->spec.n_taints;
    changed |= wants_taint(v, k, TAINT_UNREACHABLE, "NoExecute", unknown, t);
    changed |= wants_taint(v, k, TAINT_UNREACHABLE, "NoSchedule", unknown, t);
    changed |= wants_taint(v, k, TAINT_NOT_READY, "NoExecute", not_ready, t);
    changed |= wants_taint(v, k, TAINT_NOT_READY, "NoSchedule", not_ready, t);
    for (size_t i = 0; i < ARRAY_LEN(PRESSURES); i++) {
        const struct api_node_condition *c = condition(n, PRESSURES[i].condition);
        bool bad = c && str_eqz(c->status, PRESSURES[i].when);
        changed |= wants_taint(v, k, PRESSURES[i].taint, "NoSchedule", bad, t);
    }
    return changed;
}

/* ---- giving up ---- */

static bool set_unknown(struct reconcile *rc, struct api_node *n)
{
    static const char *const TYPES[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct api_node_condition *v = ARENA_NEW_N(rc->arena, struct api_node_condition,
                                               n->status.n_conditions + ARRAY_LEN(TYPES));
    uint32_t k = n->status.n_conditions;
    bool changed = false;
    for (uint32_t i = 0; i < k; i++)
        v[i] = n->status.conditions[i];
    for (size_t t = 0; t < ARRAY_LEN(TYPES); t++) {
        uint32_t i = 0;
        while (i < k && !str_eqz(v[i].type, TYPES[t]))
            i++;
        if (i < k && str_is(v[i].status, "Unknown"))
            continue;
        if (i == k && t > 0)
            continue; /* an agent that never spoke of pressure */
        bool fresh = i == k;
        k += fresh;
        v[i] = (struct api_node_condition){
            .type = str_z(TYPES[t]),
            .status = STR("Unknown"),
            .reason = fresh ? STR("NodeStatusNeverUpdated") : STR("NodeStatusUnknown"),
            .message = fresh ? STR("Kubelet never posted node status.")
                             : STR("Kubelet stopped posting node status."),
            .last_heartbeat_time =
                fresh ? n->metadata.creation_timestamp : v[i].last_heartbeat_time,
            .last_transition_time = timestamp_seconds(rc->now),
        };
        changed = true;
    }
    n->status.conditions = v;
    n->status.n_conditions = k;
    return changed;
}

/* Pods of a silent node: nobody knows whether they serve, so they do not. */
static void mark_pods_not_ready(struct reconcile *rc, struct str node)
{
    const struct state *st = controller_state(rc->controller);
    char when[TIMESTAMP_TEXT_MAX];
    struct client_cache_iter it;
    timestamp_format(timestamp_seconds(rc->now), false, when);
    struct str json =
        arena_printf(rc->arena,
                     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\","
                     "\"lastTransitionTime\":\"%s\"}]}}",
                     when);
    client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_POD), st->by_node,
                                 node);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        if (!pod_is_ready(p) || pod_is_terminated(p))
            continue;
        controller_patch(rc, KIND_POD, &p->metadata, "status", CLIENT_PATCH_STRATEGIC, json, NULL,
                         NULL);
        event_record(controller_events(rc->controller), schema_kinds[KIND_POD], &p->metadata,
                     EVENT_WARNING, "NodeNotReady", "Node is not ready");
    }
}

static bool status_written(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct api_node *n = arg;
    if (reply->r < 0)
        return reply->r == -ENOENT;
    if (!set_taints(rc->arena, n, "Unknown", rc->now))
        return true;
    n->metadata.resource_version = STR_NONE;
    controller_update(rc, KIND_NODE, n, NULL, NULL);
    return true;
}

static void give_up(struct reconcile *rc, struct api_node *n)
{
    bool changed = set_unknown(rc, n);
    mark_pods_not_ready(rc, n->metadata.name);
    if (!changed) {
        if (set_taints(rc->arena, n, "Unknown", rc->now))
            controller_update(rc, KIND_NODE, n, NULL, NULL);
        return;
    }
    event_record(controller_events(rc->controller), schema_kinds[KIND_NODE], &n->metadata,
                 EVENT_NORMAL, "NodeNotReady", "Node %.*s status is now: NodeNotReady",
                 STR_ARG(n->metadata.name));
    controller_update_sub(rc, KIND_NODE, "status", n, status_written, n);
}

static void reconcile(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_NODE, STR_NONE, rc->name);
    nsec_t grace = controller_opts(rc->controller)->node_grace;
    if (!o) {
        forget(controller_state(rc->controller), rc->name);
        return;
    }
    struct api_node *n = ARENA_NEW(rc->arena, struct api_node);
    *n = *OBJECT_MSG(reconcile_keep(rc, o), api_node);
    nsec_t quiet = silence(rc, n);
    if (quiet >= grace) {
        give_up(rc, n);
        return; /* the next sign of life adds the key */
    }
    const struct api_node_condition *r = condition(n, "Ready");
    const char *ready = !r || str_is(r->status, "False") ? "False"
                        : str_is(r->status, "True")      ? "True"
                                                         : "Unknown";
    reconcile_again(rc, grace - quiet + NSEC_PER_MSEC);
    if (!set_taints(rc->arena, n, ready, rc->now))
        return;
    if (strcmp(ready, "False") == 0) /* once: the agent lives, and has the last word on its pods */
        mark_pods_not_ready(rc, n->metadata.name);
    controller_update(rc, KIND_NODE, n, NULL, NULL);
}

const struct controller_row node_lifecycle_row = {
    .name = "node",
    .watches = {{KIND_NODE, map_node}, {KIND_LEASE, map_lease}, {KIND_POD, NULL}},
    .n_watches = 3,
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
