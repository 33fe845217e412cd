/* Nodes live by their leases. A node whose lease has not moved for node_grace gets its conditions
 * set to Unknown, its pods are marked not ready (so that Services leave them), and the taints that
 * the taint-eviction controller acts on. When the lease moves again the agent writes its conditions
 * and the taints go.
 *
 * What counts is when a change was seen here, on this process's monotonic clock: nobody's wall
 * clock has to be right, and after a restart every node gets a full grace period. And what counts
 * is seen against what else is heard: while no node at all is heard of for half a grace period, it
 * is this server that is deaf (cut off, stopped, its machine asleep). Then nothing is taken from
 * any node, and with the first sign of life all of them get two grace periods: the others have to
 * notice first that their connections are gone. Zones and rates are in node_zones.h. */
#include "api/fence.h"
#include "controllers/node_taints.h"
#include "controllers/node_zones.h"
#include "controllers/registry.h"

#define LEASE_NS "kube-node-lease"

struct seen {
    char *name;            /* owned */
    int64_t lease, status; /* what the lease and the Ready condition said last */
    nsec_t at; /* when one of them was last seen to change; later when more grace is given */
};
struct state {
    struct map nodes; /* name -> struct seen */
    int by_node;
    struct zones zones;
    uint64_t epoch;    /* of zones, as all nodes were last told */
    bool was_all_down; /* all zones */
    nsec_t heard;      /* when any node was last heard of */
    bool deaf;         /* a node was over its grace while nobody was heard */
};

static void add_all(struct controller *c)
{
    struct client_cache_iter it;
    client_cache_iter_init(&it, controller_cache(c, KIND_NODE), STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        controller_add_object(c, o);
}

static void grace_anew(struct controller *c)
{
    struct state *st = controller_state(c);
    nsec_t at = rt_now(controller_rt(c)) + controller_opts(c)->node_grace;
    for (struct map_slot *s = NULL; (s = map_next(&st->nodes, s));)
        ((struct seen *)s->value)->at = at;
    add_all(c);
}

/* Takes note of what lease and status say (0: nothing new is known); any change is a sign of life.
 */
static struct seen *heard(struct controller *c, struct str name, int64_t lease, int64_t status)
{
    struct state *st = controller_state(c);
    nsec_t now = rt_now(controller_rt(c));
    struct seen *s = map_get(&st->nodes, name);
    bool sign = false;
    if (!s) {
        s = NEW(struct seen);
        *s = (struct seen){.name = str_dup(name), .at = now};
        (void)map_set(&st->nodes, str_z(s->name), s);
    } else {
        sign = (lease && lease != s->lease) || (status && status != s->status);
    }
    s->lease = lease ? lease : s->lease;
    s->status = status ? status : s->status;
    if (!sign)
        return s;
    s->at = st->heard = now;
    if (st->deaf) {
        st->deaf = false;
        grace_anew(c);
    }
    return s;
}

/* What the agent itself last said in the node's status; 0 when the conditions are ours. */
static int64_t status_heartbeat(const struct api_node *n)
{
    const struct api_node_condition *r = node_condition(n, "Ready");
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
    if (strcmp(node_ready_text(OBJECT_MSG(node, api_node)), "True") != 0 || !old)
        controller_add_name(c, STR_NONE, object_name(new));
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    const struct controllers_opts *o = controller_opts(c);
    st->by_node = controller_index(c, KIND_POD, node_name_index);
    st->zones.rates = (struct zone_rates){.normal = o->node_eviction_rate,
                                          .secondary = o->secondary_node_eviction_rate,
                                          .unhealthy = o->unhealthy_zone_threshold,
                                          .large = o->large_cluster_size_threshold};
    st->heard = rt_now(controller_rt(c));
    controller_set_state(c, st);
}

static void forget(struct state *st, struct str name)
{
    struct seen *s = map_remove(&st->nodes, name);
    if (!s)
        return;
    free(s->name);
    free(s);
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    for (struct map_slot *s; (s = map_next(&st->nodes, NULL));)
        forget(st, s->key);
    map_fini(&st->nodes);
    zones_fini(&st->zones);
    controller_free_state(c);
}

/* How long nothing has been heard of the node. */
static nsec_t silence(struct reconcile *rc, const struct api_node *n)
{
    struct object *o = reconcile_get(rc, KIND_LEASE, STR(LEASE_NS), n->metadata.name);
    int64_t renewed = o ? OBJECT_MSG(o, api_lease)->spec.renew_time.usec : 0;
    struct seen *s = heard(rc->controller, n->metadata.name, renewed, status_heartbeat(n));
    return rt_now(controller_rt(rc->controller)) - s->at;
}

/* Tells the node the grace it is given, by its lease: it renews often enough for it, and knows when
 * others will take it for gone. */
static void tell_grace(struct reconcile *rc)
{
    struct object *o = reconcile_get(rc, KIND_LEASE, STR(LEASE_NS), rc->name);
    char text[DURATION_TEXT_MAX];
    if (!o)
        return;
    duration_format(controller_opts(rc->controller)->node_grace, text);
    if (str_eqz(meta_annotation(object_meta(o), STR(FENCE_GRACE_ANNOTATION)), text))
        return;
    controller_patch(rc, KIND_LEASE, object_meta(o), NULL, CLIENT_PATCH_MERGE,
                     arena_printf(rc->arena,
                                  "{\"metadata\":{\"annotations\":{\"" FENCE_GRACE_ANNOTATION
                                  "\":\"%s\"}}}",
                                  text),
                     NULL, NULL);
}

/* ---- zones ---- */

static struct str zone_of(struct arena *a, const struct api_node *n)
{
    struct str region = meta_label(&n->metadata, STR("topology.kubernetes.io/region")),
               zone = meta_label(&n->metadata, STR("topology.kubernetes.io/zone"));
    return arena_printf(a, "%.*s/%.*s", STR_ARG(region), STR_ARG(zone));
}

/* The node's health into the count; what that changes for all of them is told to all. */
static struct str count_in(struct reconcile *rc, const struct api_node *n)
{
    struct state *st = controller_state(rc->controller);
    nsec_t now = rt_now(controller_rt(rc->controller));
    struct str zone = zone_of(rc->arena, n);
    const char *ready = node_ready_text(n);
    if (KV_GET(&n->metadata, labels, STR("node.kubernetes.io/exclude-disruption")))
        zones_remove(&st->zones, n->metadata.name, now);
    else
        zones_set(&st->zones, n->metadata.name, zone,
                  !ready[0]                     ? NODE_HEALTH_NEW
                  : strcmp(ready, "True") == 0  ? NODE_HEALTH_READY
                  : strcmp(ready, "False") == 0 ? NODE_HEALTH_NOT_READY
                                                : NODE_HEALTH_UNKNOWN,
                  now);
    if (st->epoch == st->zones.epoch)
        return zone;
    st->epoch = st->zones.epoch;
    if (st->was_all_down && !st->zones.all_down)
        grace_anew(rc->controller);
    else
        add_all(rc->controller);
    st->was_all_down = st->zones.all_down;
    return zone;
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

/* May the pods of this node, which is not Ready, be evicted now? */
static enum taint_eviction may_evict(struct reconcile *rc, const struct api_node *n,
                                     struct str zone)
{
    struct state *st = controller_state(rc->controller);
    nsec_t wait;
    if (st->zones.all_down)
        return TAINT_EVICT_DROP;
    if (node_has_taint(n, TAINT_UNREACHABLE, "NoExecute") ||
        node_has_taint(n, TAINT_NOT_READY, "NoExecute"))
        return TAINT_EVICT_KEEP;
    if (zones_take(&st->zones, zone, rt_now(controller_rt(rc->controller)), &wait))
        return TAINT_EVICT_SET;
    if (wait)
        reconcile_again(rc, wait + NSEC_PER_MSEC);
    return TAINT_EVICT_KEEP;
}

static void write_taints(struct reconcile *rc, struct api_node *n, enum taint_eviction evict)
{
    if (node_taints_set(rc->arena, n, evict, rc->now))
        controller_update(rc, KIND_NODE, n, NULL, NULL); /* overtaken: the key runs again */
}

static void give_up(struct reconcile *rc, struct api_node *n)
{
    struct state *st = controller_state(rc->controller);
    nsec_t grace = controller_opts(rc->controller)->node_grace;
    if (set_unknown(rc, n)) {
        event_record(controller_events(rc->controller), schema_kinds[KIND_NODE], &n->metadata,
                     EVENT_NORMAL, "NodeNotReady", "Node %.*s status is now: NodeNotReady",
                     STR_ARG(n->metadata.name));
        controller_update_sub(rc, KIND_NODE, "status", n, NULL, NULL);
        return; /* what is written brings the key back */
    }
    struct str zone = count_in(rc, n);
    if (rt_now(controller_rt(rc->controller)) - st->heard >= grace / 2) {
        st->deaf = true;
        write_taints(rc, n, st->zones.all_down ? TAINT_EVICT_DROP : TAINT_EVICT_KEEP);
        return; /* the next sign of life of any node adds all */
    }
    mark_pods_not_ready(rc, n->metadata.name);
    write_taints(rc, n, may_evict(rc, n, zone));
}

static void reconcile(struct reconcile *rc)
{
    struct state *st = controller_state(rc->controller);
    struct object *o = reconcile_get(rc, KIND_NODE, STR_NONE, rc->name);
    nsec_t grace = controller_opts(rc->controller)->node_grace;
    if (!o) {
        forget(st, rc->name);
        zones_remove(&st->zones, rc->name, rt_now(controller_rt(rc->controller)));
        return;
    }
    struct api_node *n = ARENA_NEW(rc->arena, struct api_node);
    *n = *OBJECT_MSG(reconcile_keep(rc, o), api_node);
    nsec_t quiet = silence(rc, n);
    if (quiet >= grace) {
        give_up(rc, n);
        return; /* the next sign of life adds the key */
    }
    reconcile_again(rc, grace - quiet + NSEC_PER_MSEC);
    tell_grace(rc);
    struct str zone = count_in(rc, n);
    const char *ready = node_ready_text(n);
    if (strcmp(ready, "False") != 0) { /* Unknown: it may yet speak within its new grace */
        write_taints(rc, n, st->zones.all_down ? TAINT_EVICT_DROP : TAINT_EVICT_KEEP);
        return;
    }
    if (!node_has_taint(n, TAINT_NOT_READY, "NoSchedule"))
        mark_pods_not_ready(rc,
                            n->metadata.name); /* once: the agent lives, and has the last word */
    write_taints(rc, n, may_evict(rc, n, zone));
}

const struct controller_row node_lifecycle_row = {
    .name = "node",
    .watches = {{KIND_NODE, map_node}, {KIND_LEASE, map_lease}, {KIND_POD, NULL}},
    .n_watches = 3,
    .init = init,
    .fini = fini,
    .reconcile = reconcile,
};
