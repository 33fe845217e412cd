/* Jobs, the pure part. One run: count what has ended, decide whether the Job is over, then how many
 * pods it needs. A Job that is over first says so (SuccessCriteriaMet, FailureTarget), ends its
 * pods, and is Complete or Failed when the last of them is gone and counted. */
#include "controllers/job_plan.h"

#include "base/set.h"

struct jp {
    struct arena *a;
    const struct job_in *in;
    const struct api_job *job;
    struct job_plan *out;
    struct api_job_status *st;
    const struct api_pod **active;
    uint32_t n_active, n_ready, n_terminating, n_uncounted_pods;
    struct index_set done; /* Indexed: completed */
    int32_t completions;   /* -1: none asked for */
    int32_t parallelism;
    int32_t succeeded, failed; /* with the uncounted ones */
    struct str fail_message;   /* a pod failure policy rule said FailJob */
    struct map by_uid;         /* the Job's pods, while they are counted */
    struct set uncounted;      /* uids of status.uncountedTerminatedPods */
    bool indexed, suspended;
};

static const struct api_job_condition *condition(const struct api_job_status *st, const char *type)
{
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (str_eqz(st->conditions[i].type, type) && str_is(st->conditions[i].status, "True"))
            return &st->conditions[i];
    return NULL;
}

bool job_is_finished(const struct api_job *job)
{
    return condition(&job->status, "Complete") || condition(&job->status, "Failed");
}

static void set_condition(struct jp *p, const char *type, const char *status, const char *reason,
                          struct str message)
{
    struct api_job_condition *v =
        ARENA_NEW_N(p->a, struct api_job_condition, p->st->n_conditions + 1);
    struct timestamp t = timestamp_seconds(p->in->now);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->st->n_conditions; i++)
        if (!str_eqz(p->st->conditions[i].type, type))
            v[n++] = p->st->conditions[i];
    v[n++] = (struct api_job_condition){.type = str_z(type),
                                        .status = str_z(status),
                                        .reason = str_z(reason),
                                        .message = message,
                                        .last_probe_time = t,
                                        .last_transition_time = t};
    p->st->conditions = v;
    p->st->n_conditions = n;
}

static void event(struct jp *p, const char *type, const char *reason, struct str message)
{
    if (p->out->n_events < ARRAY_LEN(p->out->events))
        p->out->events[p->out->n_events++] = (struct job_event){type, reason, message};
}

static void again_at(struct jp *p, usec_t at)
{
    if (p->out->again_at == 0 || at < p->out->again_at)
        p->out->again_at = at;
}

/* ---- counting ---- */

static bool has_finalizer(const struct api_pod *pod)
{
    return has_str(pod->metadata.finalizers, pod->metadata.n_finalizers, STR(JOB_FINALIZER));
}

/* Step 3: uids whose pods have lost the finalizer are counted and forgotten. A uid that is there
 * twice (no controller writes such) counts once. */
static void settle(struct jp *p, struct str **v, uint32_t *n, int32_t *counter)
{
    struct str *keep = ARENA_NEW_N(p->a, struct str, *n + JOB_PODS_BURST + 1);
    uint32_t k = 0;
    for (uint32_t i = 0; i < *n; i++) {
        const struct api_pod *pod = map_get(&p->by_uid, (*v)[i]);
        if (!set_add(&p->uncounted, (*v)[i]))
            continue;
        if (pod && has_finalizer(pod)) {
            keep[k++] = (*v)[i];
            p->out->unfinalize[p->out->n_unfinalize++] = pod;
        } else {
            ++*counter;
        }
    }
    *v = keep;
    *n = k;
}

/* Ended, or on its way out while nobody waits to see how it ends. */
static bool counts_as_ended(const struct jp *p, const struct api_pod *pod)
{
    if (pod_is_terminated(pod))
        return true;
    bool only_failed =
        str_is(p->job->spec.pod_replacement_policy, "Failed") || p->job->spec.pod_failure_policy;
    return pod->metadata.deletion_timestamp.set && !only_failed;
}

static void count_ended(struct jp *p, struct api_uncounted_terminated_pods *u,
                        const struct api_pod *pod)
{
    struct str message = STR_NONE;
    if (set_has(&p->uncounted, pod->metadata.uid))
        return; /* step 2 is under way */
    if (p->n_uncounted_pods++ >= JOB_PODS_BURST)
        return;
    bool ok = str_is(pod->status.phase, "Succeeded");
    if (ok && p->indexed) {
        index_set_add(&p->done, job_pod_index(pod));
        p->out->unfinalize[p->out->n_unfinalize++] = pod;
        return;
    }
    if (ok) {
        u->succeeded[u->n_succeeded++] = pod->metadata.uid;
    } else {
        enum job_action what = job_policy(p->a, p->job, pod, &message);
        if (what == JOB_FAIL && str_empty(p->fail_message))
            p->fail_message = message;
        if (what != JOB_IGNORE)
            u->failed[u->n_failed++] = pod->metadata.uid;
    }
    p->out->unfinalize[p->out->n_unfinalize++] = pod;
}

static void count(struct jp *p)
{
    const struct api_job_status *old = &p->job->status;
    struct api_uncounted_terminated_pods *u = ARENA_NEW(p->a, struct api_uncounted_terminated_pods);
    if (old->uncounted_terminated_pods)
        *u = *old->uncounted_terminated_pods;
    p->out->unfinalize = ARENA_NEW_N(p->a, const struct api_pod *, p->in->n_pods * 2 + 1);
    for (uint32_t i = 0; i < p->in->n_pods; i++)
        (void)map_set(&p->by_uid, p->in->pods[i]->metadata.uid, (void *)(uintptr_t)p->in->pods[i]);
    settle(p, &u->succeeded, &u->n_succeeded, &p->st->succeeded);
    settle(p, &u->failed, &u->n_failed, &p->st->failed);
    if (p->indexed)
        index_set_parse(p->a, old->completed_indexes, MAX(p->completions, 0), &p->done);
    for (uint32_t i = 0; i < p->in->n_pods; i++) {
        const struct api_pod *pod = p->in->pods[i];
        if (counts_as_ended(p, pod) && has_finalizer(pod))
            count_ended(p, u, pod);
        if (pod_is_active(pod)) {
            p->active[p->n_active++] = pod;
            p->n_ready += pod_is_ready(pod);
        } else if (!pod_is_terminated(pod)) {
            p->n_terminating++;
        }
    }
    if (p->indexed) {
        p->st->completed_indexes = index_set_print(p->a, &p->done);
        p->st->succeeded = index_set_count(&p->done);
    }
    p->succeeded = p->st->succeeded + (p->indexed ? 0 : (int32_t)u->n_succeeded);
    p->failed = p->st->failed + (int32_t)u->n_failed;
    p->st->uncounted_terminated_pods = u;
    map_fini(&p->by_uid);
    set_fini(&p->uncounted);
}

/* ---- is it over? ---- */

static bool past_backoff_limit(const struct jp *p)
{
    int32_t limit = p->job->spec.has_backoff_limit ? p->job->spec.backoff_limit : 6;
    if (p->failed > limit)
        return true;
    if (!str_is(p->job->spec.template.spec.restart_policy, "OnFailure"))
        return false;
    int64_t restarts = 0;
    for (uint32_t i = 0; i < p->n_active; i++) {
        const struct api_pod_status *s = &p->active[i]->status;
        for (uint32_t j = 0; j < s->n_container_statuses; j++)
            restarts += s->container_statuses[j].restart_count;
        for (uint32_t j = 0; j < s->n_init_container_statuses; j++)
            restarts += s->init_container_statuses[j].restart_count;
    }
    return limit == 0 ? restarts > 0 : restarts >= limit;
}

static bool past_deadline(struct jp *p)
{
    if (!p->job->spec.has_active_deadline_seconds || !p->st->start_time.set || p->suspended)
        return false;
    usec_t at = p->st->start_time.usec + usec_of_s(p->job->spec.active_deadline_seconds);
    if (p->in->now >= at)
        return true;
    again_at(p, at);
    return false;
}

static bool reached(const struct jp *p)
{
    if (p->completions <
        0) /* a work queue: one success says there is no more work, the rest may end */
        return p->succeeded > 0 && p->n_active == 0 && p->n_terminating == 0;
    return p->succeeded >= p->completions;
}

/* Sets the target condition when the Job has just been decided; true when it is decided. */
static bool decide(struct jp *p)
{
    if (condition(p->st, "SuccessCriteriaMet") || condition(p->st, "FailureTarget"))
        return true;
    if (!str_empty(p->fail_message))
        set_condition(p, "FailureTarget", "True", "PodFailurePolicy", p->fail_message);
    else if (past_backoff_limit(p))
        set_condition(p, "FailureTarget", "True", "BackoffLimitExceeded",
                      STR("Job has reached the specified backoff limit"));
    else if (past_deadline(p))
        set_condition(p, "FailureTarget", "True", "DeadlineExceeded",
                      STR("Job was active longer than specified deadline"));
    else if (reached(p) && !p->suspended)
        set_condition(p, "SuccessCriteriaMet", "True", "CompletionsReached",
                      STR("Reached expected number of succeeded pods"));
    else
        return false;
    return true;
}

/* All pods ended and counted: the verdict becomes final. */
static void conclude(struct jp *p)
{
    const struct api_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    const struct api_job_condition *bad = condition(p->st, "FailureTarget");
    const struct api_job_condition *good = condition(p->st, "SuccessCriteriaMet");
    if (p->n_active + p->n_terminating + u->n_succeeded + u->n_failed + p->out->n_unfinalize > 0)
        return;
    if (bad) {
        event(p, EVENT_WARNING, arena_cstr(p->a, bad->reason), bad->message);
        set_condition(p, "Failed", "True", arena_cstr(p->a, bad->reason), bad->message);
    } else {
        event(p, EVENT_NORMAL, "Completed", STR("Job completed"));
        p->st->completion_time = timestamp_seconds(p->in->now);
        set_condition(p, "Complete", "True", arena_cstr(p->a, good->reason), good->message);
    }
}

/* ---- how many pods ---- */

static usec_t ended_at(const struct api_pod *pod)
{
    usec_t at = pod->metadata.deletion_timestamp.usec;
    for (uint32_t i = 0; i < pod->status.n_container_statuses; i++) {
        const struct api_container_state_terminated *t =
            pod->status.container_statuses[i].state.terminated;
        if (t)
            at = MAX(at, t->finished_at.usec);
    }
    if (at == 0)
        for (uint32_t i = 0; i < pod->status.n_conditions; i++)
            at = MAX(at, pod->status.conditions[i].last_transition_time.usec);
    return at ? at : pod->metadata.creation_timestamp.usec;
}

/* After k failures in a row the next pod waits 10 s * 2^(k-1), at most 10 minutes. */
static usec_t not_before(const struct jp *p)
{
    usec_t success = 0, last = 0;
    unsigned k = 0;
    for (uint32_t i = 0; i < p->in->n_pods; i++)
        if (str_is(p->in->pods[i]->status.phase, "Succeeded"))
            success = MAX(success, ended_at(p->in->pods[i]));
    for (uint32_t i = 0; i < p->in->n_pods; i++) {
        const struct api_pod *pod = p->in->pods[i];
        if (!str_is(pod->status.phase, "Failed") || ended_at(pod) <= success)
            continue;
        k++;
        last = MAX(last, ended_at(pod));
    }
    if (k == 0)
        return 0;
    usec_t wait = MIN((usec_t)JOB_BACKOFF_MIN_S << MIN(k - 1, 10u), JOB_BACKOFF_MAX_S) * 1000000;
    return last + wait;
}

static void remove_pod(struct jp *p, const struct api_pod *pod)
{
    if (p->out->n_remove < JOB_PODS_BURST)
        p->out->remove[p->out->n_remove++] = pod;
}

/* Pods that work on an index that is done, or that another one works on already. */
static void remove_superfluous(struct jp *p, struct index_set *taken)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_active; i++) {
        int32_t ix = job_pod_index(p->active[i]);
        if (ix < 0 || ix >= p->completions || index_set_has(&p->done, ix) ||
            index_set_has(taken, ix)) {
            remove_pod(p, p->active[i]);
            continue;
        }
        index_set_add(taken, ix);
        p->active[n++] = p->active[i];
    }
    p->n_active = n;
}

static void create(struct jp *p, uint32_t n, const struct index_set *taken)
{
    usec_t at = not_before(p);
    if (at > p->in->now) {
        again_at(p, at);
        return;
    }
    p->out->n_create = n;
    if (!p->indexed)
        return;
    p->out->indexes = ARENA_NEW_N(p->a, int32_t, n + 1);
    uint32_t k = 0;
    for (int32_t i = 0; i < p->completions && k < n; i++)
        if (!index_set_has(&p->done, i) && !index_set_has(taken, i))
            p->out->indexes[k++] = i;
    p->out->n_create = k;
}

static void manage(struct jp *p)
{
    struct index_set taken;
    index_set_parse(p->a, STR_NONE, p->indexed ? MAX(p->completions, 0) : 0, &taken);
    if (p->indexed)
        remove_superfluous(p, &taken);
    int32_t active = (int32_t)p->n_active, want;
    if (p->completions < 0)
        want = p->succeeded > 0 ? active : p->parallelism;
    else
        want = MIN(MAX(p->completions - p->succeeded, 0), p->parallelism);
    for (int32_t i = active - 1; i >= want; i--)
        remove_pod(p, p->active[i]);
    int32_t busy = active;
    if (str_is(p->job->spec.pod_replacement_policy, "Failed") || p->job->spec.pod_failure_policy)
        busy += (int32_t)p->n_terminating;
    if (busy < want)
        create(p, (uint32_t)MIN(want - busy, JOB_PODS_BURST), &taken);
}

static void suspend(struct jp *p)
{
    const struct api_job_condition *c = condition(p->st, "Suspended");
    if (p->suspended) {
        for (uint32_t i = 0; i < p->n_active; i++)
            remove_pod(p, p->active[i]);
        if (!c) {
            set_condition(p, "Suspended", "True", "JobSuspended", STR("Job suspended"));
            event(p, EVENT_NORMAL, "Suspended", STR("Job suspended"));
        }
        p->st->start_time = (struct timestamp){0};
    } else {
        if (c) {
            set_condition(p, "Suspended", "False", "JobResumed", STR("Job resumed"));
            event(p, EVENT_NORMAL, "Resumed", STR("Job resumed"));
        }
        if (!p->st->start_time.set)
            p->st->start_time = timestamp_seconds(p->in->now);
    }
}

static int cmp_ready(const void *a, const void *b)
{
    const struct api_pod *x = *(const struct api_pod *const *)a,
                         *y = *(const struct api_pod *const *)b;
    int64_t p = x->metadata.creation_timestamp.usec, q = y->metadata.creation_timestamp.usec;
    if (pod_is_ready(x) != pod_is_ready(y))
        return pod_is_ready(x) ? -1 : 1;
    return p != q ? (p > q) - (p < q) : str_cmp(x->metadata.name, y->metadata.name);
}

void job_plan(struct arena *a, const struct job_in *in, struct job_plan *ret)
{
    const struct api_job_spec *s = &in->job->spec;
    *ret = (struct job_plan){.status = in->job->status};
    struct jp p = {.a = a, .in = in, .job = in->job, .out = ret, .st = &ret->status};
    p.indexed = str_is(s->completion_mode, "Indexed");
    p.suspended = s->has_suspend && s->suspend;
    p.parallelism = s->has_parallelism ? s->parallelism : 1;
    p.completions = s->has_completions ? s->completions : -1;
    p.active = ARENA_NEW_N(a, const struct api_pod *, in->n_pods + 1);
    ret->remove = ARENA_NEW_N(a, const struct api_pod *, in->n_pods + 1);
    count(&p);
    qsort(p.active, p.n_active, sizeof(*p.active), cmp_ready);
    uint32_t active = p.n_active;
    if (job_is_finished(in->job)) {
        for (uint32_t i = 0; i < p.n_active; i++)
            remove_pod(&p, p.active[i]);
    } else if (decide(&p)) {
        for (uint32_t i = 0; i < p.n_active; i++)
            remove_pod(&p, p.active[i]);
        conclude(&p);
    } else {
        suspend(&p);
        if (!p.suspended)
            manage(&p);
    }
    p.st->active = (int32_t)active;
    p.st->has_ready = true;
    p.st->ready = (int32_t)p.n_ready;
    p.st->has_terminating = true;
    p.st->terminating = (int32_t)p.n_terminating;
    ret->status_changed = !schema_equal(&api_job_status_desc, p.st, &in->job->status);
}

/* ---- pods ---- */

static void add_index_env(struct arena *a, struct api_container *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct api_env_var *env = ARENA_NEW_N(a, struct api_env_var, v[i].n_env + 1);
        bool there = false;
        for (uint32_t j = 0; j < v[i].n_env; j++) {
            env[j] = v[i].env[j];
            there = there || str_is(env[j].name, "JOB_COMPLETION_INDEX");
        }
        if (there)
            continue;
        struct api_env_var_source *from = ARENA_NEW(a, struct api_env_var_source);
        from->field_ref = ARENA_NEW(a, struct api_object_field_selector);
        from->field_ref->field_path = STR("metadata.annotations['" JOB_INDEX "']");
        env[v[i].n_env++] =
            (struct api_env_var){.name = STR("JOB_COMPLETION_INDEX"), .value_from = from};
        v[i].env = env;
    }
}

struct api_pod *job_pod(struct arena *a, const struct api_job *job, int32_t index)
{
    struct api_pod *p =
        pod_from_template(a, &job->spec.template, schema_kinds[KIND_JOB], &job->metadata);
    struct str *f = ARENA_NEW_N(a, struct str, p->metadata.n_finalizers + 1);
    for (uint32_t i = 0; i < p->metadata.n_finalizers; i++)
        f[i] = p->metadata.finalizers[i];
    f[p->metadata.n_finalizers++] = STR(JOB_FINALIZER);
    p->metadata.finalizers = f;
    if (index < 0)
        return p;
    struct str text = arena_printf(a, "%d", index);
    kv_put(a, &p->metadata.annotations, &p->metadata.n_annotations, STR(JOB_INDEX), text);
    kv_put(a, &p->metadata.labels, &p->metadata.n_labels, STR(JOB_INDEX), text);
    p->metadata.generate_name = arena_printf(a, "%.*s-%d-", STR_ARG(job->metadata.name), index);
    if (str_empty(p->spec.hostname))
        p->spec.hostname = arena_printf(a, "%.*s-%d", STR_ARG(job->metadata.name), index);
    struct api_container *v = ARENA_NEW_N(a, struct api_container, p->spec.n_containers + 1);
    struct api_container *w = ARENA_NEW_N(a, struct api_container, p->spec.n_init_containers + 1);
    for (uint32_t i = 0; i < p->spec.n_containers; i++)
        v[i] = p->spec.containers[i];
    for (uint32_t i = 0; i < p->spec.n_init_containers; i++)
        w[i] = p->spec.init_containers[i];
    add_index_env(a, v, p->spec.n_containers);
    add_index_env(a, w, p->spec.n_init_containers);
    p->spec.containers = v;
    p->spec.init_containers = w;
    return p;
}
