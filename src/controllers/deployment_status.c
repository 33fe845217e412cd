/* Deployments, the pure part about status: counts and the conditions Available, Progressing,
 * ReplicaFailure, with the reasons kubectl looks for. */
#include "controllers/deployment_plan.h"

struct cond {
    const char *type, *status, *reason;
    struct str message;
};

const struct api_deployment_condition *deploy_condition(const struct api_deployment_status *st,
                                                        struct str type)
{
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (str_eq(st->conditions[i].type, type))
            return &st->conditions[i];
    return NULL;
}

static void drop(struct arena *a, struct api_deployment_status *st, struct str type)
{
    struct api_deployment_condition *v =
        ARENA_NEW_N(a, struct api_deployment_condition, st->n_conditions + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (!str_eq(st->conditions[i].type, type))
            v[n++] = st->conditions[i];
    st->conditions = v;
    st->n_conditions = n;
}

/* Same status and reason: nothing changes unless `touch`. Same status: the transition time stays.
 */
static void set(struct arena *a, struct api_deployment_status *st, struct cond c, usec_t now,
                bool touch)
{
    const struct api_deployment_condition *old = deploy_condition(st, str_z(c.type));
    if (old && !touch && str_eqz(old->status, c.status) && str_eqz(old->reason, c.reason))
        return;
    struct timestamp t = timestamp_seconds(now);
    struct api_deployment_condition fresh = {
        .type = str_z(c.type),
        .status = str_z(c.status),
        .reason = str_z(c.reason),
        .message = c.message,
        .last_update_time = t,
        .last_transition_time =
            old && str_eqz(old->status, c.status) ? old->last_transition_time : t,
    };
    drop(a, st, str_z(c.type));
    st->conditions[st->n_conditions++] = fresh;
}

bool deploy_has_deadline(const struct api_deployment *d)
{
    return d->spec.has_progress_deadline_seconds && d->spec.progress_deadline_seconds != INT32_MAX;
}

bool deploy_complete(const struct api_deployment *d, const struct api_deployment_status *st)
{
    int32_t want = d->spec.has_replicas ? d->spec.replicas : 1;
    return st->updated_replicas == want && st->replicas == want && st->available_replicas == want &&
           st->observed_generation >= d->metadata.generation;
}

static bool progressing(const struct api_deployment_status *old,
                        const struct api_deployment_status *st)
{
    return st->updated_replicas > old->updated_replicas ||
           st->replicas - st->updated_replicas < old->replicas - old->updated_replicas ||
           st->ready_replicas > old->ready_replicas ||
           st->available_replicas > old->available_replicas;
}

static usec_t deadline_of(const struct api_deployment *d, const struct api_deployment_condition *c)
{
    return c->last_update_time.usec + (usec_t)d->spec.progress_deadline_seconds * 1000000;
}

static bool timed_out(const struct api_deployment *d, const struct api_deployment_status *st,
                      usec_t now)
{
    const struct api_deployment_condition *c = deploy_condition(st, STR("Progressing"));
    if (!c || str_is(c->reason, "NewReplicaSetAvailable"))
        return false;
    return str_is(c->reason, "ProgressDeadlineExceeded") || deadline_of(d, c) < now;
}

static void add_counts(struct api_deployment_status *st, const struct api_replica_set *rs,
                       int32_t *spec_sum)
{
    st->replicas += rs->status.replicas;
    st->ready_replicas += rs->status.ready_replicas;
    st->available_replicas += rs->status.available_replicas;
    st->terminating_replicas += rs->status.terminating_replicas;
    *spec_sum += rs_replicas(rs);
}

static void count(struct deploy *dp, struct api_deployment_status *st)
{
    const struct api_deployment_status *old = &dp->d->status;
    int32_t spec_sum = 0;
    *st = (struct api_deployment_status){
        .observed_generation = dp->d->metadata.generation,
        .has_terminating_replicas = true,
        .has_collision_count = old->has_collision_count,
        .collision_count = old->collision_count,
        .conditions = old->conditions,
        .n_conditions = old->n_conditions,
    };
    for (uint32_t i = 0; i < dp->n_old; i++)
        add_counts(st, dp->old_rss[i], &spec_sum);
    if (dp->new_rs) {
        add_counts(st, dp->new_rs, &spec_sum);
        st->updated_replicas = dp->new_rs->status.replicas;
    }
    st->unavailable_replicas = MAX(spec_sum - st->available_replicas, 0);
    bool enough = st->available_replicas >= dp->replicas - dp->max_unavailable;
    set(dp->a, st,
        enough ? (struct cond){"Available", "True", "MinimumReplicasAvailable",
                               STR("Deployment has minimum availability.")}
               : (struct cond){"Available", "False", "MinimumReplicasUnavailable",
                               STR("Deployment does not have minimum availability.")},
        dp->in->now, false);
}

/* "ReplicaSet "web-abc" has successfully progressed." */
static struct str said(struct deploy *dp, const char *what)
{
    if (dp->new_rs)
        return arena_printf(dp->a, "ReplicaSet \"%.*s\" %s", STR_ARG(dp->new_rs->metadata.name),
                            what);
    return arena_printf(dp->a, "Deployment \"%.*s\" %s", STR_ARG(dp->d->metadata.name), what);
}

static void set_progress(struct deploy *dp, struct api_deployment_status *st)
{
    const struct api_deployment_condition *cur =
        deploy_condition(&dp->d->status, STR("Progressing"));
    usec_t now = dp->in->now;
    if (!deploy_has_deadline(dp->d)) {
        drop(dp->a, st, STR("Progressing"));
        return;
    }
    if (st->replicas == st->updated_replicas && cur &&
        str_is(cur->reason, "NewReplicaSetAvailable"))
        return; /* the rollout is over; pods that come and go are no rollout */
    if (deploy_complete(dp->d, st)) {
        set(dp->a, st,
            (struct cond){"Progressing", "True", "NewReplicaSetAvailable",
                          said(dp, "has successfully progressed.")},
            now, false);
    } else if (progressing(&dp->d->status, st)) {
        set(dp->a, st,
            (struct cond){"Progressing", "True", "ReplicaSetUpdated", said(dp, "is progressing.")},
            now, true);
    } else if (timed_out(dp->d, st, now)) {
        set(dp->a, st,
            (struct cond){"Progressing", "False", "ProgressDeadlineExceeded",
                          said(dp, "has timed out progressing.")},
            now, false);
    }
}

/* The first thing said about a new ReplicaSet. */
static void set_found(struct deploy *dp, struct api_deployment_status *st)
{
    if (!deploy_has_deadline(dp->d))
        return;
    if (dp->out->create)
        set(dp->a, st,
            (struct cond){"Progressing", "True", "NewReplicaSetCreated",
                          arena_printf(dp->a, "Created new replica set \"%.*s\"",
                                       STR_ARG(dp->out->create->metadata.name))},
            dp->in->now, false);
    else if (dp->new_rs && (!deploy_condition(st, STR("Progressing")) || dp->renewed))
        set(dp->a, st,
            (struct cond){"Progressing", "True", "FoundNewReplicaSet",
                          arena_printf(dp->a, "Found new replica set \"%.*s\"",
                                       STR_ARG(dp->new_rs->metadata.name))},
            dp->in->now, true);
}

static void set_paused(struct deploy *dp, struct api_deployment_status *st)
{
    const struct api_deployment_condition *c = deploy_condition(st, STR("Progressing"));
    if (!deploy_has_deadline(dp->d) || (c && str_is(c->reason, "ProgressDeadlineExceeded")))
        return;
    bool said_paused = c && str_is(c->reason, "DeploymentPaused");
    if (dp->d->spec.paused && !said_paused)
        set(dp->a, st,
            (struct cond){"Progressing", "Unknown", "DeploymentPaused",
                          STR("Deployment is paused")},
            dp->in->now, false);
    else if (!dp->d->spec.paused && said_paused)
        set(dp->a, st,
            (struct cond){"Progressing", "Unknown", "DeploymentResumed",
                          STR("Deployment is resumed")},
            dp->in->now, false);
}

static const struct api_replica_set_condition *failure_of(const struct api_replica_set *rs)
{
    for (uint32_t i = 0; rs && i < rs->status.n_conditions; i++)
        if (str_is(rs->status.conditions[i].type, "ReplicaFailure"))
            return &rs->status.conditions[i];
    return NULL;
}

static void set_failure(struct deploy *dp, struct api_deployment_status *st)
{
    const struct api_replica_set_condition *f = failure_of(dp->new_rs);
    for (uint32_t i = 0; !f && i < dp->n_old; i++)
        f = failure_of(dp->old_rss[i]);
    if (!f) {
        drop(dp->a, st, STR("ReplicaFailure"));
        return;
    }
    const struct api_deployment_condition *old = deploy_condition(st, STR("ReplicaFailure"));
    if (old && str_eq(old->reason, f->reason) && str_eq(old->message, f->message))
        return;
    drop(dp->a, st, STR("ReplicaFailure"));
    st->conditions[st->n_conditions++] = (struct api_deployment_condition){
        .type = f->type,
        .status = f->status,
        .reason = f->reason,
        .message = f->message,
        .last_transition_time = f->last_transition_time,
        .last_update_time = f->last_transition_time,
    };
}

/* Stands as long as the rollout is the one that was rolled back to. */
static void set_rolled_back(struct deploy *dp, struct api_deployment_status *st)
{
    struct str rest = meta_annotation(&dp->d->metadata, STR(ANN_ROLLED_BACK)), hash;
    (void)str_cut(&rest, ' ', &hash);
    if (str_empty(hash) || !dp->new_rs ||
        !str_eq(hash, meta_label(&dp->new_rs->metadata, STR(LABEL_TEMPLATE_HASH)))) {
        drop(dp->a, st, STR(COND_ROLLED_BACK));
        return;
    }
    set(dp->a, st, (struct cond){COND_ROLLED_BACK, "True", "ProgressDeadlineExceeded", rest},
        dp->in->now, false);
}

/* Works out dp->out->status. rollout: progress counts (not when only scaling, or paused). */
void deploy_status(struct deploy *dp, bool rollout)
{
    struct api_deployment_status *st = &dp->out->status;
    count(dp, st);
    set_found(dp, st);
    set_paused(dp, st);
    if (rollout) {
        set_progress(dp, st);
        set_failure(dp, st);
    }
    set_rolled_back(dp, st);
    dp->out->status_changed = !schema_equal(&api_deployment_status_desc, st, &dp->d->status);
    const struct api_deployment_condition *c = deploy_condition(st, STR("Progressing"));
    if (rollout && deploy_has_deadline(dp->d) && c &&
        !str_is(c->reason, "ProgressDeadlineExceeded") &&
        !str_is(c->reason, "NewReplicaSetAvailable"))
        dp->out->check_at = deadline_of(dp->d, c) + 1000000;
}

void deploy_status_failed_create(struct arena *a, const struct api_deployment *d,
                                 struct str message, usec_t now, struct api_deployment_status *ret)
{
    *ret = d->status;
    if (deploy_has_deadline(d))
        set(a, ret, (struct cond){"Progressing", "False", "ReplicaSetCreateError", message}, now,
            false);
}
