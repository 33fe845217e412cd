/* Jobs: carries out the plan (job_plan.h). The status goes first; only when it is durable do pods
 * lose the finalizer that holds them until they are counted. */
#include "controllers/job_plan.h"
#include "controllers/registry.h"

struct state {
    struct claim_index pods;
    int held; /* pods with the finalizer, by "ns/job" */
};

struct work {
    const struct api_job *job;
    struct job_plan plan;
    void **pods;
};

/* Index: pods that wait to be counted, by the name of the Job in their label. */
static void held_index(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    const struct api_object_meta *m = object_meta(o);
    struct str job = meta_label(m, STR("batch.kubernetes.io/job-name"));
    char key[512];
    if (str_empty(job) || !has_str(m->finalizers, m->n_finalizers, STR(JOB_FINALIZER)))
        return;
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(m->namespace), STR_ARG(job));
    emit(ctx, (struct str){key, (size_t)n});
}

static const struct api_label_selector *selector_of(const struct object *o)
{
    return OBJECT_MSG(o, api_job)->spec.selector;
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    claim_map(c, KIND_JOB, old, new, selector_of);
    const struct api_object_meta *m = new ? object_meta(new) : NULL;
    struct str job = m ? meta_label(m, STR("batch.kubernetes.io/job-name")) : STR_NONE;
    if (!str_empty(job) && !owner_controller(m) &&
        has_str(m->finalizers, m->n_finalizers, STR(JOB_FINALIZER)))
        controller_add_name(c, m->namespace, job); /* orphaned: nobody will count it */
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->pods = claim_index_init(c, KIND_POD);
    st->held = controller_index(c, KIND_POD, held_index);
    controller_set_state(c, st);
}

static void unfinalize(struct reconcile *rc, const struct api_pod *p)
{
    if (has_str(p->metadata.finalizers, p->metadata.n_finalizers, STR(JOB_FINALIZER)))
        controller_patch(rc, KIND_POD, &p->metadata, NULL, CLIENT_PATCH_MERGE,
                         finalizers_patch_without(rc->arena, &p->metadata, STR(JOB_FINALIZER)),
                         NULL, NULL);
}

/* Pods of a Job of this name that is gone (or of an earlier one): let them go. */
static void let_orphans_go(struct reconcile *rc, struct str uid)
{
    const struct state *st = controller_state(rc->controller);
    struct client_cache_iter it;
    client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_POD), st->held,
                                 rc->key);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        if (str_empty(uid) || !owner_is_controlled_by(object_meta(o), uid))
            unfinalize(rc, OBJECT_MSG(o, api_pod));
}

static bool status_written(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    if (reply->r < 0)
        return reply->r == -ENOENT;
    for (unsigned i = 0; i < w->plan.n_events; i++)
        event_record(controller_events(rc->controller), schema_kinds[KIND_JOB], &w->job->metadata,
                     w->plan.events[i].type, w->plan.events[i].reason, "%.*s",
                     STR_ARG(w->plan.events[i].message));
    for (uint32_t i = 0; i < w->plan.n_unfinalize; i++)
        unfinalize(rc, w->plan.unfinalize[i]);
    return true;
}

static void created(struct reconcile *rc, void *arg, uint32_t n, const struct error *err)
{
    struct work *w = arg;
    struct event_recorder *ev = controller_events(rc->controller);
    for (uint32_t i = 0; i < n && !err; i++)
        event_record(ev, schema_kinds[KIND_JOB], &w->job->metadata, EVENT_NORMAL,
                     "SuccessfulCreate", "Created pod: %.*s",
                     STR_ARG(((struct api_pod *)w->pods[i])->metadata.name));
    if (!err || reconcile_ns_is_going(err))
        return;
    event_record(ev, schema_kinds[KIND_JOB], &w->job->metadata, EVENT_WARNING, "FailedCreate",
                 "Error creating: %.*s", STR_ARG(err->message));
    reconcile_fail(rc, "create pods: %.*s", STR_ARG(err->message));
}

struct removal {
    struct work *work;
    const struct api_pod *pod;
};

static bool removed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    const struct removal *x = arg;
    if (reply->r == 0)
        event_record(controller_events(rc->controller), schema_kinds[KIND_JOB],
                     &x->work->job->metadata, EVENT_NORMAL, "SuccessfulDelete", "Deleted pod: %.*s",
                     STR_ARG(x->pod->metadata.name));
    return reply->r == 0 || reply->r == -ENOENT;
}

static void apply(struct reconcile *rc, struct work *w)
{
    if (w->plan.status_changed) {
        struct api_job copy = *w->job;
        copy.status = w->plan.status;
        controller_update_sub(rc, KIND_JOB, "status", &copy, status_written, w);
    } else {
        for (uint32_t i = 0; i < w->plan.n_unfinalize; i++)
            unfinalize(rc, w->plan.unfinalize[i]);
    }
    for (uint32_t i = 0; i < w->plan.n_remove; i++) {
        struct removal *x = ARENA_NEW(rc->arena, struct removal);
        *x = (struct removal){w, w->plan.remove[i]};
        controller_delete(rc, KIND_POD, &x->pod->metadata, NULL, removed, x);
    }
    if (w->plan.n_create == 0)
        return;
    w->pods = ARENA_NEW_N(rc->arena, void *, w->plan.n_create);
    for (uint32_t i = 0; i < w->plan.n_create; i++)
        w->pods[i] = job_pod(rc->arena, w->job, w->plan.indexes ? w->plan.indexes[i] : -1);
    controller_create_batch(rc, KIND_POD, w->pods, w->plan.n_create, created, w);
}

static void reconcile(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    struct object *o = reconcile_get(rc, KIND_JOB, rc->ns, rc->name);
    struct label_selector sel;
    uint32_t n = 0;
    bool going = o && object_meta(o)->deletion_timestamp.set;
    let_orphans_go(rc, o && !going ? object_meta(o)->uid : STR_NONE);
    if (!o || going || !str_empty(OBJECT_MSG(o, api_job)->spec.managed_by))
        return;
    struct work *w = ARENA_NEW(rc->arena, struct work);
    w->job = OBJECT_MSG(reconcile_keep(rc, o), api_job);
    if (label_selector_compile(rc->arena, w->job->spec.selector, &sel, NULL) < 0 ||
        label_selector_is_all(&sel))
        return; /* admission does not let such in */
    struct object **objects =
        claim_all(rc, &st->pods, schema_kinds[KIND_JOB], &w->job->metadata, &sel, &n);
    const struct api_pod **pods = ARENA_NEW_N(rc->arena, const struct api_pod *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        pods[i] = OBJECT_MSG(objects[i], api_pod);
    job_plan(rc->arena, &(struct job_in){.job = w->job, .pods = pods, .n_pods = n, .now = rc->now},
             &w->plan);
    if (w->plan.again_at)
        reconcile_again(rc, nsec_of_usec(MAX(w->plan.again_at - rc->now, 0)) + NSEC_PER_MSEC);
    apply(rc, w);
}

const struct controller_row job_row = {
    .name = "job",
    .watches = {{KIND_JOB, controller_map_self}, {KIND_POD, map_pod}},
    .n_watches = 2,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
