/* ReplicaSets, the pure part: how many to create, which to delete, what to say about it. */
#include "controllers/replicaset_plan.h"

#include "base/map.h"

struct ranked {
    const struct api_pod *pod;
    int32_t on_node; /* how many of the same set share its node */
    int64_t cost;
    usec_t ready_since;
    uint8_t phase;
    bool assigned, ready;
    int32_t restarts;
};

static int three_way(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Negative: x goes first. */
static int cmp_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c;
    if ((c = three_way(x->assigned, y->assigned)) || (c = three_way(x->phase, y->phase)) ||
        (c = three_way(x->ready, y->ready)) || (c = three_way(x->cost, y->cost)) ||
        (c = three_way(y->on_node, x->on_node)))
        return c;
    if (x->ready && (c = three_way(y->ready_since, x->ready_since)))
        return c;
    if ((c = three_way(y->restarts, x->restarts)) ||
        (c = three_way(y->pod->metadata.creation_timestamp.usec,
                       x->pod->metadata.creation_timestamp.usec)))
        return c;
    return str_cmp(x->pod->metadata.name, y->pod->metadata.name);
}

static void rank(struct ranked *r, const struct api_pod *p)
{
    int64_t cost = 0;
    struct str text =
        meta_annotation(&p->metadata, STR("controller.kubernetes.io/pod-deletion-cost"));
    if (!str_empty(text) && str_to_i64(text, &cost) < 0)
        cost = 0;
    const struct api_pod_condition *ready = pod_condition(p, STR("Ready"));
    *r = (struct ranked){
        .pod = p,
        .cost = cost,
        .assigned = !str_empty(p->spec.node_name),
        .phase = str_is(p->status.phase, "Running")   ? 2
                 : str_is(p->status.phase, "Unknown") ? 1
                                                      : 0,
        .ready = pod_is_ready(p),
        .ready_since = ready ? ready->last_transition_time.usec : 0,
        .restarts = pod_restarts(p),
    };
}

void pods_rank_for_deletion(struct arena *a, const struct api_pod **pods, uint32_t n)
{
    struct ranked *v = ARENA_NEW_N(a, struct ranked, n + 1);
    struct map per_node = {0};
    for (uint32_t i = 0; i < n; i++) {
        struct str node = pods[i]->spec.node_name;
        rank(&v[i], pods[i]);
        if (!str_empty(node))
            (void)map_set(&per_node, node, (void *)((uintptr_t)map_get(&per_node, node) + 1));
    }
    for (uint32_t i = 0; i < n; i++)
        if (v[i].assigned)
            v[i].on_node = (int32_t)(uintptr_t)map_get(&per_node, pods[i]->spec.node_name);
    map_fini(&per_node);
    qsort(v, n, sizeof(*v), cmp_ranked);
    for (uint32_t i = 0; i < n; i++)
        pods[i] = v[i].pod;
}

static bool is_fully_labeled(const struct api_replica_set *rs, const struct api_pod *p)
{
    const struct api_object_meta *t = &rs->spec.template.metadata;
    for (uint32_t i = 0; i < t->n_labels; i++)
        if (!str_eq(meta_label(&p->metadata, t->labels[i].key), t->labels[i].value))
            return false;
    return true;
}

static void count_status(const struct api_replica_set *rs, const struct api_pod *p, usec_t now,
                         struct replicaset_plan *plan)
{
    struct api_replica_set_status *st = &plan->status;
    st->replicas++;
    st->fully_labeled_replicas += is_fully_labeled(rs, p);
    if (!pod_is_ready(p))
        return;
    st->ready_replicas++;
    usec_t at = pod_available_at(p, rs->spec.min_ready_seconds, now);
    if (at == 0)
        st->available_replicas++;
    else if (plan->next_available == 0 || at < plan->next_available)
        plan->next_available = at;
}

void replicaset_plan(struct arena *a, const struct api_replica_set *rs,
                     const struct api_pod *const *pods, uint32_t n, usec_t now,
                     struct replicaset_plan *ret)
{
    const struct api_pod **active = ARENA_NEW_N(a, const struct api_pod *, n + 1);
    uint32_t n_active = 0;
    *ret = (struct replicaset_plan){0};
    ret->status.has_terminating_replicas = true;
    for (uint32_t i = 0; i < n; i++) {
        if (pod_is_active(pods[i])) {
            active[n_active++] = pods[i];
            count_status(rs, pods[i], now, ret);
        } else if (!pod_is_terminated(pods[i])) {
            ret->status.terminating_replicas++;
        }
    }
    ret->status.observed_generation = rs->metadata.generation;
    ret->status.conditions = rs->status.conditions;
    ret->status.n_conditions = rs->status.n_conditions;
    uint32_t want = rs->spec.has_replicas ? (uint32_t)MAX(rs->spec.replicas, 0) : 1;
    if (rs->metadata.deletion_timestamp.set)
        return; /* what becomes of its pods is the garbage collector's matter */
    if (n_active < want) {
        ret->n_create = MIN(want - n_active, REPLICASET_BURST);
    } else if (n_active > want) {
        pods_rank_for_deletion(a, active, n_active);
        ret->victims = active;
        ret->n_victims = MIN(n_active - want, REPLICASET_BURST);
    }
}

/* A failure that goes on is told with the words it began with: each try names another pod, and a
 * status that changed each time would start the next try at once. */
void replicaset_set_failure(struct arena *a, struct api_replica_set_status *st, const char *reason,
                            struct str message, usec_t now)
{
    struct api_replica_set_condition *v =
        ARENA_NEW_N(a, struct api_replica_set_condition, st->n_conditions + 1);
    uint32_t n = 0;
    struct timestamp since = timestamp_seconds(now);
    for (uint32_t i = 0; i < st->n_conditions; i++) {
        if (!str_is(st->conditions[i].type, "ReplicaFailure")) {
            v[n++] = st->conditions[i];
        } else if (reason && str_eqz(st->conditions[i].reason, reason)) {
            since = st->conditions[i].last_transition_time;
            message = st->conditions[i].message;
        }
    }
    if (reason)
        v[n++] = (struct api_replica_set_condition){.type = STR("ReplicaFailure"),
                                                    .status = STR("True"),
                                                    .reason = str_z(reason),
                                                    .message = message,
                                                    .last_transition_time = since};
    st->conditions = v;
    st->n_conditions = n;
}

bool replicaset_status_equal(const struct api_replica_set_status *x,
                             const struct api_replica_set_status *y)
{
    return schema_equal(&api_replica_set_status_desc, x, y);
}
