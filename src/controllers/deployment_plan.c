/* Deployments, the pure part: which ReplicaSet is the new one, and how far each goes up or down
 * now. */
#include "controllers/deployment_plan.h"

#include <math.h>

static const char *const NOT_COPIED[] = {
    "kubectl.kubernetes.io/last-applied-configuration",
    ANN_REVISION,
    ANN_REVISION_HISTORY,
    ANN_DESIRED,
    ANN_MAX,
    "deprecated.deployment.rollback.to",
    ANN_WAS_AVAILABLE,
    ANN_ROLLED_BACK,
};

int64_t rs_revision(const struct api_replica_set *rs)
{
    int64_t v = 0;
    if (str_to_i64(meta_annotation(&rs->metadata, STR(ANN_REVISION)), &v) < 0)
        return 0;
    return v;
}

int32_t rs_replicas(const struct api_replica_set *rs)
{
    return rs->spec.has_replicas ? rs->spec.replicas : 1;
}

static int64_t annotation_number(const struct api_replica_set *rs, struct str key, int64_t fallback)
{
    int64_t v;
    struct str text = meta_annotation(&rs->metadata, key);
    return str_empty(text) || str_to_i64(text, &v) < 0 ? fallback : v;
}

static bool is_rolling(const struct api_deployment *d)
{
    return !str_is(d->spec.strategy.type, "Recreate");
}

/* maxSurge rounds up, maxUnavailable down; both 0 would never move, then one may be unavailable. */
static void fenceposts(struct deploy *dp)
{
    const struct api_rolling_update_deployment *ru = dp->d->spec.strategy.rolling_update;
    static const struct int_or_str quarter = {.type = INT_OR_STR_STR, .s = {"25%", 3}};
    const struct int_or_str *surge = ru && ru->max_surge.type ? &ru->max_surge : &quarter;
    const struct int_or_str *unavailable =
        ru && ru->max_unavailable.type ? &ru->max_unavailable : &quarter;
    int32_t s = 0, u = 0;
    if (!is_rolling(dp->d))
        return;
    if (int_or_str_scaled(surge, dp->replicas, true, &s) < 0 ||
        int_or_str_scaled(unavailable, dp->replicas, false, &u) < 0)
        s = u = 0; /* admission does not let such in */
    if (s == 0 && u == 0)
        u = 1;
    dp->max_surge = s;
    dp->max_unavailable = dp->replicas == 0 ? 0 : MIN(u, dp->replicas);
}

static int cmp_created(const void *a, const void *b)
{
    const struct api_replica_set *x = *(const struct api_replica_set *const *)a;
    const struct api_replica_set *y = *(const struct api_replica_set *const *)b;
    int64_t p = x->metadata.creation_timestamp.usec, q = y->metadata.creation_timestamp.usec;
    return p != q ? (p > q) - (p < q) : str_cmp(x->metadata.name, y->metadata.name);
}

static void sort_out(struct deploy *dp)
{
    const struct api_replica_set **v =
        ARENA_NEW_N(dp->a, const struct api_replica_set *, dp->in->n_rss + 1);
    for (uint32_t i = 0; i < dp->in->n_rss; i++)
        v[i] = dp->in->rss[i];
    qsort(v, dp->in->n_rss, sizeof(*v), cmp_created);
    dp->old_rss = ARENA_NEW_N(dp->a, const struct api_replica_set *, dp->in->n_rss + 1);
    for (uint32_t i = 0; i < dp->in->n_rss; i++) {
        if (!dp->new_rs && template_equal(&v[i]->spec.template, &dp->d->spec.template))
            dp->new_rs = v[i];
        else
            dp->old_rss[dp->n_old++] = v[i];
    }
}

/* ---- changes of ReplicaSets ---- */

static struct deploy_op *op_of(struct deploy *dp, const struct api_replica_set *rs)
{
    for (unsigned i = 0; i < dp->out->n_ops; i++)
        if (dp->out->ops[i].rs == rs)
            return &dp->out->ops[i];
    if (dp->out->n_ops == DEPLOY_OPS_MAX)
        return NULL;
    struct deploy_op *op = &dp->out->ops[dp->out->n_ops++];
    *op = (struct deploy_op){
        .rs = rs, .from_replicas = rs_replicas(rs), .to_replicas = rs_replicas(rs)};
    op->to = ARENA_NEW(dp->a, struct api_replica_set);
    *op->to = *rs;
    return op;
}

/* The size a ReplicaSet will have by what is planned so far. */
static int32_t size_of(struct deploy *dp, const struct api_replica_set *rs)
{
    for (unsigned i = 0; i < dp->out->n_ops; i++)
        if (dp->out->ops[i].rs == rs)
            return dp->out->ops[i].to_replicas;
    return rs_replicas(rs);
}

static void put_annotation(struct deploy *dp, struct api_object_meta *m, const char *key,
                           struct str value)
{
    kv_put(dp->a, &m->annotations, &m->n_annotations, str_z(key), value);
}

static void put_sizes(struct deploy *dp, struct api_object_meta *m)
{
    put_annotation(dp, m, ANN_DESIRED, arena_printf(dp->a, "%d", dp->replicas));
    put_annotation(dp, m, ANN_MAX, arena_printf(dp->a, "%d", dp->replicas + dp->max_surge));
}

/* True when something changes. */
static bool scale(struct deploy *dp, const struct api_replica_set *rs, int32_t to)
{
    bool sized = size_of(dp, rs) != to;
    bool annotated = annotation_number(rs, STR(ANN_DESIRED), -1) == dp->replicas &&
                     annotation_number(rs, STR(ANN_MAX), -1) == dp->replicas + dp->max_surge;
    if (!sized && annotated)
        return false;
    struct deploy_op *op = op_of(dp, rs);
    if (!op)
        return false;
    op->to->spec.has_replicas = true;
    op->to->spec.replicas = op->to_replicas = to;
    put_sizes(dp, &op->to->metadata);
    return sized;
}

static int64_t max_old_revision(const struct deploy *dp)
{
    int64_t max = 0;
    for (uint32_t i = 0; i < dp->n_old; i++)
        max = MAX(max, rs_revision(dp->old_rss[i]));
    return max;
}

static bool is_copied(struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(NOT_COPIED); i++)
        if (str_eqz(key, NOT_COPIED[i]))
            return false;
    return true;
}

/* Annotations of the Deployment, the revision, and when it changes the ones it had before. */
static bool put_new_annotations(struct deploy *dp, struct api_replica_set *rs, int64_t revision,
                                bool exists)
{
    const struct api_object_meta *from = &dp->d->metadata;
    bool changed = false;
    for (uint32_t i = 0; i < from->n_annotations; i++) {
        const struct kv_str *kv = &from->annotations[i];
        if (!is_copied(kv->key) || str_eq(meta_annotation(&rs->metadata, kv->key), kv->value))
            continue;
        kv_put(dp->a, &rs->metadata.annotations, &rs->metadata.n_annotations, kv->key, kv->value);
        changed = true;
    }
    if (rs_revision(rs) >= revision)
        return changed;
    struct str before = meta_annotation(&rs->metadata, STR(ANN_REVISION));
    struct str history = meta_annotation(&rs->metadata, STR(ANN_REVISION_HISTORY));
    put_annotation(dp, &rs->metadata, ANN_REVISION,
                   arena_printf(dp->a, "%lld", (long long)revision));
    if (exists && !str_empty(before)) {
        if (!str_empty(history))
            before = arena_printf(dp->a, "%.*s,%.*s", STR_ARG(history), STR_ARG(before));
        while (before.n > 2000 && str_find(before, ',') >= 0) /* forget the oldest */
            before = str_sub(before, (size_t)str_find(before, ',') + 1, before.n);
        put_annotation(dp, &rs->metadata, ANN_REVISION_HISTORY, before);
    }
    return true;
}

static int32_t total_size(struct deploy *dp)
{
    int32_t sum = dp->new_rs ? size_of(dp, dp->new_rs) : 0;
    for (uint32_t i = 0; i < dp->n_old; i++)
        sum += size_of(dp, dp->old_rss[i]);
    return sum;
}

/* The same, but pods that an old ReplicaSet was told to drop and has not dropped yet count: they
 * are there. */
static int32_t total_pods(struct deploy *dp)
{
    int32_t sum = dp->new_rs ? size_of(dp, dp->new_rs) : 0;
    for (uint32_t i = 0; i < dp->n_old; i++)
        sum += MAX(size_of(dp, dp->old_rss[i]), dp->old_rss[i]->status.replicas);
    return sum;
}

/* How large the new ReplicaSet, now of size `now`, may be. */
static int32_t new_size(struct deploy *dp, int32_t now)
{
    if (!is_rolling(dp->d))
        return dp->replicas;
    int32_t room = dp->replicas + dp->max_surge - total_pods(dp);
    if (room <= 0)
        return now;
    return now + MIN(room, MAX(dp->replicas - now, 0));
}

static void create_new(struct deploy *dp)
{
    const struct api_deployment *d = dp->d;
    struct api_replica_set *rs = ARENA_NEW(dp->a, struct api_replica_set);
    struct str hash = template_hash(dp->a, &d->spec.template, d->status.has_collision_count,
                                    d->status.collision_count);
    struct api_label_selector *sel = ARENA_NEW(dp->a, struct api_label_selector);
    *sel = *d->spec.selector;
    kv_put(dp->a, &sel->match_labels, &sel->n_match_labels, STR(LABEL_TEMPLATE_HASH), hash);
    rs->spec.template = d->spec.template;
    struct api_object_meta *tm = &rs->spec.template.metadata;
    kv_put(dp->a, &tm->labels, &tm->n_labels, STR(LABEL_TEMPLATE_HASH), hash);
    rs->spec.selector = sel;
    rs->spec.min_ready_seconds = d->spec.min_ready_seconds;
    rs->metadata.name = arena_printf(dp->a, "%.*s-%.*s", STR_ARG(d->metadata.name), STR_ARG(hash));
    rs->metadata.namespace = d->metadata.namespace;
    rs->metadata.labels = tm->labels;
    rs->metadata.n_labels = tm->n_labels;
    owner_set(dp->a, &rs->metadata, schema_kinds[KIND_DEPLOYMENT], &d->metadata);
    (void)put_new_annotations(dp, rs, max_old_revision(dp) + 1, false);
    put_sizes(dp, &rs->metadata);
    rs->spec.has_replicas = true;
    rs->spec.replicas = new_size(dp, 0);
    dp->out->create = rs;
    dp->out->revision = meta_annotation(&rs->metadata, STR(ANN_REVISION));
}

/* Brings the new ReplicaSet's annotations and minReadySeconds up to date, or makes it. */
static void sync_new(struct deploy *dp, bool may_create)
{
    if (!dp->new_rs) {
        if (may_create)
            create_new(dp);
        return;
    }
    struct api_replica_set copy = *dp->new_rs;
    int64_t revision = max_old_revision(dp) + 1;
    dp->renewed = dp->n_old > 0 && rs_revision(dp->new_rs) < revision;
    bool changed = put_new_annotations(dp, &copy, revision, true);
    if (copy.spec.min_ready_seconds != dp->d->spec.min_ready_seconds) {
        copy.spec.min_ready_seconds = dp->d->spec.min_ready_seconds;
        changed = true;
    }
    struct deploy_op *op = changed ? op_of(dp, dp->new_rs) : NULL;
    if (op)
        *op->to = copy;
    dp->out->revision = meta_annotation(&copy.metadata, STR(ANN_REVISION));
}

/* ---- rolling update ---- */

static bool scale_new(struct deploy *dp)
{
    if (!dp->new_rs)
        return false;
    int32_t now = rs_replicas(dp->new_rs);
    if (now == dp->replicas)
        return scale(dp, dp->new_rs, now);
    return scale(dp, dp->new_rs, now > dp->replicas ? dp->replicas : new_size(dp, now));
}

/* A status may lag behind the size asked for: what a ReplicaSet was told to drop is as good as
 * gone. (Kubernetes counts it as available, and so may go below the minimum for a moment.) */
static int32_t available_of(const struct api_replica_set *rs)
{
    return MIN(rs->status.available_replicas, rs_replicas(rs));
}

static int32_t sum_available(const struct deploy *dp)
{
    int32_t sum = dp->new_rs ? available_of(dp->new_rs) : 0;
    for (uint32_t i = 0; i < dp->n_old; i++)
        sum += available_of(dp->old_rss[i]);
    return sum;
}

/* Old replicas that are not available anyway go first: they cost nobody anything. */
static int32_t drop_unhealthy(struct deploy *dp, int32_t max)
{
    int32_t dropped = 0;
    for (uint32_t i = 0; i < dp->n_old && dropped < max; i++) {
        const struct api_replica_set *rs = dp->old_rss[i];
        int32_t size = size_of(dp, rs), sick = size - rs->status.available_replicas;
        if (size == 0 || sick <= 0)
            continue;
        int32_t k = MIN(max - dropped, sick);
        dropped += scale(dp, rs, size - k) ? k : 0;
    }
    return dropped;
}

static bool scale_old(struct deploy *dp)
{
    int32_t old = 0, min_available = dp->replicas - dp->max_unavailable;
    for (uint32_t i = 0; i < dp->n_old; i++)
        old += rs_replicas(dp->old_rss[i]);
    if (old == 0 || !dp->new_rs)
        return false;
    int32_t new_unavailable = rs_replicas(dp->new_rs) - dp->new_rs->status.available_replicas;
    int32_t max_down = total_size(dp) - min_available - new_unavailable;
    if (max_down <= 0)
        return false;
    int32_t dropped = drop_unhealthy(dp, max_down);
    int32_t may = sum_available(dp) - min_available, done = 0;
    for (uint32_t i = 0; i < dp->n_old && done < may; i++) {
        const struct api_replica_set *rs = dp->old_rss[i];
        int32_t size = size_of(dp, rs);
        if (size == 0)
            continue;
        int32_t k = MIN(size, may - done);
        done += scale(dp, rs, size - k) ? k : 0;
    }
    return dropped + done > 0;
}

static int cmp_revision(const void *a, const void *b)
{
    const struct api_replica_set *x = *(const struct api_replica_set *const *)a;
    const struct api_replica_set *y = *(const struct api_replica_set *const *)b;
    int64_t p = rs_revision(x), q = rs_revision(y);
    return p != q ? (p > q) - (p < q) : cmp_created(a, b);
}

/* Old revisions beyond the history limit go. */
static void clean_up(struct deploy *dp)
{
    const struct api_replica_set **v =
        ARENA_NEW_N(dp->a, const struct api_replica_set *, dp->n_old + 1);
    int32_t n = 0, limit = dp->d->spec.has_revision_history_limit
                               ? dp->d->spec.revision_history_limit
                               : 10;
    for (uint32_t i = 0; i < dp->n_old; i++)
        if (!dp->old_rss[i]->metadata.deletion_timestamp.set)
            v[n++] = dp->old_rss[i];
    qsort(v, (size_t)n, sizeof(*v), cmp_revision);
    for (int32_t i = 0; i < n - limit; i++) {
        const struct api_replica_set *rs = v[i];
        if (rs->status.replicas != 0 || rs_replicas(rs) != 0 ||
            rs->metadata.generation > rs->status.observed_generation)
            continue;
        struct deploy_op *op = op_of(dp, rs);
        if (op)
            op->to = NULL;
    }
}

/* Remembers that this template has worked once; automatic rollback goes back to such only. */
static void mark_available(struct deploy *dp)
{
    struct str hash = meta_label(&dp->new_rs->metadata, STR(LABEL_TEMPLATE_HASH));
    if (dp->replicas == 0 ||
        str_eq(meta_annotation(&dp->new_rs->metadata, STR(ANN_WAS_AVAILABLE)), hash))
        return;
    struct deploy_op *op = op_of(dp, dp->new_rs);
    if (op)
        put_annotation(dp, &op->to->metadata, ANN_WAS_AVAILABLE, hash);
}

static void finish(struct deploy *dp)
{
    deploy_status(dp, true);
    if (dp->new_rs && deploy_complete(dp->d, &dp->out->status)) {
        mark_available(dp);
        clean_up(dp);
    }
}

static void plan_rolling(struct deploy *dp)
{
    sync_new(dp, true);
    if (!dp->out->create && !scale_new(dp))
        (void)scale_old(dp);
    finish(dp);
}

static void plan_recreate(struct deploy *dp)
{
    bool down = false;
    sync_new(dp, false);
    for (uint32_t i = 0; i < dp->n_old; i++)
        if (rs_replicas(dp->old_rss[i]) > 0)
            down = scale(dp, dp->old_rss[i], 0) || down;
    if (!down && !dp->in->old_pods_running) {
        sync_new(dp, true);
        (void)scale_new(dp);
    }
    finish(dp);
}

/* ---- scaling without a rollout ---- */

static uint32_t active_of(struct deploy *dp, const struct api_replica_set **v)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->n_old; i++)
        if (rs_replicas(dp->old_rss[i]) > 0)
            v[n++] = dp->old_rss[i];
    if (dp->new_rs && rs_replicas(dp->new_rs) > 0)
        v[n++] = dp->new_rs;
    return n;
}

static bool is_saturated(const struct deploy *dp)
{
    const struct api_replica_set *rs = dp->new_rs;
    return rs && rs_replicas(rs) == dp->replicas && rs->status.available_replicas == dp->replicas &&
           annotation_number(rs, STR(ANN_DESIRED), -1) == dp->replicas;
}

/* Largest first; equal ones newest first when growing, oldest first when shrinking. */
static void sort_by_size(const struct api_replica_set **v, uint32_t n, bool grow)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j > 0; j--) {
            int32_t x = rs_replicas(v[j - 1]), y = rs_replicas(v[j]);
            int c = cmp_created(&v[j - 1], &v[j]);
            if (x > y || (x == y && (grow ? c >= 0 : c <= 0)))
                break;
            const struct api_replica_set *t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
}

/* A ReplicaSet's part of a change of size by `add`, of which `done` is spoken for. */
static int32_t proportion(struct deploy *dp, const struct api_replica_set *rs, int32_t add,
                          int32_t done)
{
    int32_t size = rs_replicas(rs);
    if (size == 0 || add == 0 || add == done)
        return 0;
    int32_t part = -size;
    if (dp->replicas > 0) {
        int64_t before = annotation_number(rs, STR(ANN_MAX), 0);
        if (before <= 0)
            before = MAX(dp->d->status.replicas, 1);
        part =
            (int32_t)round((double)size * (dp->replicas + dp->max_surge) / (double)before) - size;
    }
    return add > 0 ? MIN(part, add - done) : MAX(part, add - done);
}

static void scale_proportionally(struct deploy *dp, const struct api_replica_set **v, uint32_t n)
{
    int32_t allowed = dp->replicas > 0 ? dp->replicas + dp->max_surge : 0;
    int32_t add = allowed - total_size(dp), done = 0;
    int32_t *to = ARENA_NEW_N(dp->a, int32_t, n + 1);
    sort_by_size(v, n, add > 0);
    for (uint32_t i = 0; i < n; i++) {
        int32_t part = proportion(dp, v[i], add, done);
        to[i] = rs_replicas(v[i]) + part;
        done += part;
    }
    if (n > 0 && add != 0)
        to[0] = MAX(to[0] + add - done, 0);
    for (uint32_t i = 0; i < n; i++)
        (void)scale(dp, v[i], to[i]);
}

static void plan_scale(struct deploy *dp)
{
    const struct api_replica_set **v =
        ARENA_NEW_N(dp->a, const struct api_replica_set *, dp->in->n_rss + 1);
    sync_new(dp, false);
    uint32_t n = active_of(dp, v);
    if (n <= 1) {
        const struct api_replica_set *only = n == 1       ? v[0]
                                             : dp->new_rs ? dp->new_rs
                                             : dp->n_old  ? dp->old_rss[dp->n_old - 1]
                                                          : NULL;
        if (only)
            (void)scale(dp, only, dp->replicas);
    } else if (is_saturated(dp)) {
        for (uint32_t i = 0; i < n; i++)
            if (v[i] != dp->new_rs)
                (void)scale(dp, v[i], 0);
    } else if (is_rolling(dp->d)) {
        scale_proportionally(dp, v, n);
    }
    if (dp->d->spec.paused)
        clean_up(dp);
    deploy_status(dp, false);
}

static bool is_scaling(struct deploy *dp)
{
    for (uint32_t i = 0; i < dp->in->n_rss; i++) {
        const struct api_replica_set *rs = dp->in->rss[i];
        int64_t desired = annotation_number(rs, STR(ANN_DESIRED), -1);
        if (rs_replicas(rs) > 0 && desired >= 0 && desired != dp->replicas)
            return true;
    }
    return false;
}

/* ---- automatic rollback ---- */

static const struct api_replica_set *last_available(const struct deploy *dp)
{
    const struct api_replica_set *best = NULL;
    for (uint32_t i = 0; i < dp->n_old; i++) {
        const struct api_replica_set *rs = dp->old_rss[i];
        struct str mark = meta_annotation(&rs->metadata, STR(ANN_WAS_AVAILABLE));
        if (str_empty(mark) || !str_eq(mark, meta_label(&rs->metadata, STR(LABEL_TEMPLATE_HASH))) ||
            rs->metadata.deletion_timestamp.set)
            continue;
        if (!best || rs_revision(rs) > rs_revision(best))
            best = rs;
    }
    return best;
}

/* Never from a revision that has worked before (so also not from one rolled back to): no loops. */
static bool plan_rollback(struct deploy *dp)
{
    const struct api_deployment_condition *c = deploy_condition(&dp->d->status, STR("Progressing"));
    if (!str_is(meta_annotation(&dp->d->metadata, STR(ANN_ROLLBACK_ON_FAILURE)), "true") ||
        !dp->new_rs || !deploy_has_deadline(dp->d) || !c ||
        !str_is(c->reason, "ProgressDeadlineExceeded") ||
        dp->d->status.observed_generation != dp->d->metadata.generation)
        return false;
    struct str hash = meta_label(&dp->new_rs->metadata, STR(LABEL_TEMPLATE_HASH));
    if (str_eq(meta_annotation(&dp->new_rs->metadata, STR(ANN_WAS_AVAILABLE)), hash))
        return false;
    const struct api_replica_set *to = last_available(dp);
    if (!to)
        return false;
    struct api_deployment *d = ARENA_NEW(dp->a, struct api_deployment);
    *d = *dp->d;
    d->spec.template = to->spec.template;
    struct api_object_meta *tm = &d->spec.template.metadata;
    kv_drop(dp->a, &tm->labels, &tm->n_labels, STR(LABEL_TEMPLATE_HASH));
    dp->out->rollback_text = arena_printf(dp->a,
                                          "Rolled back deployment \"%.*s\" to revision %lld: "
                                          "revision %lld missed its progress deadline",
                                          STR_ARG(d->metadata.name), (long long)rs_revision(to),
                                          (long long)rs_revision(dp->new_rs));
    put_annotation(dp, &d->metadata, ANN_ROLLED_BACK,
                   arena_printf(dp->a, "%.*s %.*s",
                                STR_ARG(meta_label(&to->metadata, STR(LABEL_TEMPLATE_HASH))),
                                STR_ARG(dp->out->rollback_text)));
    dp->out->rollback = d;
    return true;
}

void deploy_plan(struct arena *a, const struct deploy_in *in, struct deploy_plan *ret)
{
    *ret = (struct deploy_plan){0};
    struct deploy dp = {.a = a,
                        .in = in,
                        .d = in->d,
                        .out = ret,
                        .replicas = in->d->spec.has_replicas ? in->d->spec.replicas : 1};
    fenceposts(&dp);
    sort_out(&dp);
    if (in->d->metadata.deletion_timestamp.set)
        deploy_status(&dp, false);
    else if (!in->d->spec.paused && plan_rollback(&dp))
        ret->status = in->d->status;
    else if (in->d->spec.paused || is_scaling(&dp))
        plan_scale(&dp);
    else if (is_rolling(in->d))
        plan_rolling(&dp);
    else
        plan_recreate(&dp);
    if (str_eq(ret->revision, meta_annotation(&in->d->metadata, STR(ANN_REVISION))))
        ret->revision = STR_NONE;
    struct str hash, rest = meta_annotation(&in->d->metadata, STR(ANN_ROLLED_BACK));
    (void)str_cut(&rest, ' ', &hash);
    const struct api_replica_set *current = ret->create ? ret->create : dp.new_rs;
    ret->drop_rolled_back = !ret->rollback && hash.n > 0 && current &&
                            !str_eq(hash, meta_label(&current->metadata, STR(LABEL_TEMPLATE_HASH)));
}
