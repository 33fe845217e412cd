/* The arithmetic of disruption budgets. A percentage or a maxUnavailable is a part of what the
 * pods' controllers want, not of what is there: pods that are missing already count as disrupted. A
 * pod whose eviction was granted counts as gone before its deletion is seen, for two minutes. */
#include "controllers/disruption_plan.h"

/* Sum of the scales of the distinct controllers of the pods. Pods nobody controls add nothing. */
static int expected_scale(const struct api_pod *const *pods, uint32_t n, struct arena *a,
                          disruption_scale_fn scale, void *ctx, int32_t *ret,
                          struct disruption_plan *plan)
{
    struct str *seen = ARENA_NEW_N(a, struct str, n + 1);
    uint32_t n_seen = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct str uid = STR_NONE;
        int32_t replicas = 0;
        int r = scale(ctx, pods[i], &uid, &replicas, &plan->why);
        if (r < 0)
            return r;
        if (r == 0) {
            plan->n_unmanaged++;
            continue;
        }
        if (has_str(seen, n_seen, uid))
            continue;
        seen[n_seen++] = uid;
        sum += replicas;
    }
    *ret = (int32_t)MIN(sum, (int64_t)INT32_MAX);
    return 0;
}

/* expectedPods and desiredHealthy. */
static int count_expected(const struct api_pod_disruption_budget *b,
                          const struct api_pod *const *pods, uint32_t n, struct arena *a,
                          disruption_scale_fn scale, void *ctx, struct disruption_plan *plan)
{
    struct api_pod_disruption_budget_status *st = &plan->budget.status;
    const struct int_or_str *min = &b->spec.min_available, *max = &b->spec.max_unavailable;
    int32_t part = 0;
    int r = 0;
    if (max->type != INT_OR_STR_NONE) {
        r = expected_scale(pods, n, a, scale, ctx, &st->expected_pods, plan);
        if (r >= 0)
            r = int_or_str_scaled(max, st->expected_pods, true, &part);
        st->desired_healthy = MAX(st->expected_pods - part, 0);
    } else if (min->type == INT_OR_STR_INT) {
        st->expected_pods = (int32_t)n;
        st->desired_healthy = min->i;
    } else if (min->type == INT_OR_STR_STR) {
        r = expected_scale(pods, n, a, scale, ctx, &st->expected_pods, plan);
        if (r >= 0)
            r = int_or_str_scaled(min, st->expected_pods, true, &st->desired_healthy);
    } else {
        st->expected_pods = st->desired_healthy = 0; /* neither: nothing is asked for */
    }
    return r;
}

static const struct timestamp *disrupted_at(const struct api_pod_disruption_budget *b,
                                            const struct api_pod *p)
{
    const struct api_pod_disruption_budget_status *st = &b->status;
    for (uint32_t i = 0; i < st->n_disrupted_pods; i++)
        if (str_eq(st->disrupted_pods[i].key, p->metadata.name))
            return &st->disrupted_pods[i].value;
    return NULL;
}

static int cmp_key(const void *a, const void *b)
{
    return str_cmp(((const struct kv_timestamp *)a)->key, ((const struct kv_timestamp *)b)->key);
}

/* Which granted evictions are still under way, and how many pods serve without them. */
static void count_healthy(const struct api_pod_disruption_budget *b,
                          const struct api_pod *const *pods, uint32_t n, usec_t now,
                          struct arena *a, struct disruption_plan *plan)
{
    struct api_pod_disruption_budget_status *st = &plan->budget.status;
    st->disrupted_pods = ARENA_NEW_N(a, struct kv_timestamp, b->status.n_disrupted_pods + 1);
    st->n_disrupted_pods = 0;
    st->current_healthy = 0;
    plan->overdue = ARENA_NEW_N(a, const struct api_pod *, b->status.n_disrupted_pods + 1);
    for (uint32_t i = 0; i < n; i++) {
        const struct api_pod *p = pods[i];
        if (p->metadata.deletion_timestamp.set)
            continue;
        const struct timestamp *at = disrupted_at(b, p);
        if (at && at->usec + PDB_DELETION_TIMEOUT > now) {
            st->disrupted_pods[st->n_disrupted_pods++] =
                (struct kv_timestamp){p->metadata.name, *at};
            usec_t over = at->usec + PDB_DELETION_TIMEOUT;
            plan->recheck = plan->recheck ? MIN(plan->recheck, over) : over;
            continue;
        }
        if (at)
            plan->overdue[plan->n_overdue++] = p;
        st->current_healthy += pod_is_ready(p);
    }
    qsort(st->disrupted_pods, st->n_disrupted_pods, sizeof(*st->disrupted_pods), cmp_key);
}

void disruption_plan(struct arena *a, const struct api_pod_disruption_budget *b,
                     const struct api_pod *const *pods, uint32_t n, usec_t now,
                     disruption_scale_fn scale, void *ctx, struct disruption_plan *ret)
{
    *ret = (struct disruption_plan){.budget = *b};
    struct api_pod_disruption_budget_status *st = &ret->budget.status;
    int r = count_expected(b, pods, n, a, scale, ctx, ret);
    if (r < 0) {
        /* Fail safe: what is not known is not allowed. All other figures stay. */
        st->expected_pods = b->status.expected_pods;
        st->desired_healthy = b->status.desired_healthy;
        st->disruptions_allowed = 0;
        ret->failed = true;
        pdb_set_condition(a, &ret->budget, PDB_REASON_SYNC_FAILED, ret->why, now);
    } else {
        count_healthy(b, pods, n, now, a, ret);
        int32_t spare = st->current_healthy - st->desired_healthy;
        st->disruptions_allowed = st->expected_pods <= 0 || spare <= 0 ? 0 : spare;
        st->observed_generation = b->metadata.generation;
        pdb_set_condition(a, &ret->budget, NULL, STR_NONE, now);
    }
    ret->changed = !schema_equal(&api_pod_disruption_budget_status_desc, st, &b->status);
}
