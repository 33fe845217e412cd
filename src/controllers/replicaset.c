/* ReplicaSets: keep as many pods as asked for. Pods are found by owner; those without an owner that
 * match the selector are adopted, those owned that match no more are released. */
#include "controllers/registry.h"
#include "controllers/replicaset_plan.h"

struct work {
    struct object *object;
    const struct api_replica_set *rs;
    struct replicaset_plan plan;
    void **pods; /* to create */
    uint32_t deletes_left;
    const char *failure;
    struct str message;
};

static const struct api_label_selector *selector_of(const struct object *o)
{
    return OBJECT_MSG(o, api_replica_set)->spec.selector;
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    claim_map(c, KIND_REPLICA_SET, old, new, selector_of);
}

static void init(struct controller *c)
{
    struct claim_index *ix = NEW_STATE(struct claim_index);
    *ix = claim_index_init(c, KIND_POD);
    controller_set_state(c, ix);
}

static void write_status(struct reconcile *rc, struct work *w)
{
    struct api_replica_set copy = *w->rs;
    copy.metadata.resource_version = STR_NONE; /* nobody else writes it */
    replicaset_set_failure(rc->arena, &w->plan.status, w->failure, w->message, rc->now);
    if (replicaset_status_equal(&w->plan.status, &w->rs->status))
        return;
    copy.status = w->plan.status;
    controller_update_sub(rc, KIND_REPLICA_SET, "status", &copy, NULL, NULL);
}

static void created(struct reconcile *rc, void *arg, uint32_t n, const struct error *err)
{
    struct work *w = arg;
    struct event_recorder *ev = controller_events(rc->controller);
    const struct schema_kind *kind = schema_kinds[KIND_REPLICA_SET];
    for (uint32_t i = 0; i < n && !err; i++)
        event_record(ev, kind, &w->rs->metadata, EVENT_NORMAL, "SuccessfulCreate",
                     "Created pod: %.*s", STR_ARG(((struct api_pod *)w->pods[i])->metadata.name));
    if (err && !reconcile_ns_is_going(err)) {
        event_record(ev, kind, &w->rs->metadata, EVENT_WARNING, "FailedCreate",
                     "Error creating: %.*s", STR_ARG(err->message));
        w->failure = "FailedCreate";
        w->message = err->message;
        reconcile_fail(rc, "create pods: %.*s", STR_ARG(err->message));
    }
    write_status(rc, w);
}

struct deletion {
    struct work *work;
    const struct api_pod *pod;
};

static bool deleted(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct deletion *d = arg;
    struct work *w = d->work;
    bool ok = reply->r == 0 || reply->r == -ENOENT || reply->r == -ESTALE;
    if (ok) {
        event_record(controller_events(rc->controller), schema_kinds[KIND_REPLICA_SET],
                     &w->rs->metadata, EVENT_NORMAL, "SuccessfulDelete", "Deleted pod: %.*s",
                     STR_ARG(d->pod->metadata.name));
    } else if (!w->failure) {
        w->failure = "FailedDelete";
        w->message = reply->err ? arena_str(rc->arena, reply->err->message) : STR("no answer");
        event_record(controller_events(rc->controller), schema_kinds[KIND_REPLICA_SET],
                     &w->rs->metadata, EVENT_WARNING, "FailedDelete", "Error deleting: %.*s",
                     STR_ARG(w->message));
    }
    if (--w->deletes_left == 0)
        write_status(rc, w);
    return ok;
}

static void apply(struct reconcile *rc, struct work *w)
{
    if (w->plan.n_create > 0) {
        w->pods = ARENA_NEW_N(rc->arena, void *, w->plan.n_create);
        for (uint32_t i = 0; i < w->plan.n_create; i++)
            w->pods[i] = pod_from_template(rc->arena, &w->rs->spec.template,
                                           schema_kinds[KIND_REPLICA_SET], &w->rs->metadata);
        controller_create_batch(rc, KIND_POD, w->pods, w->plan.n_create, created, w);
    } else if (w->plan.n_victims > 0) {
        w->deletes_left = w->plan.n_victims;
        for (uint32_t i = 0; i < w->plan.n_victims; i++) {
            struct deletion *d = ARENA_NEW(rc->arena, struct deletion);
            *d = (struct deletion){w, w->plan.victims[i]};
            controller_delete(rc, KIND_POD, &d->pod->metadata, NULL, deleted, d);
        }
    } else {
        write_status(rc, w);
    }
}

static void reconcile(struct reconcile *rc)
{
    struct work *w = ARENA_NEW(rc->arena, struct work);
    struct label_selector sel;
    w->object = reconcile_get(rc, KIND_REPLICA_SET, rc->ns, rc->name);
    if (!w->object)
        return;
    w->rs = OBJECT_MSG(reconcile_keep(rc, w->object), api_replica_set);
    if (label_selector_compile(rc->arena, w->rs->spec.selector, &sel, NULL) < 0 ||
        label_selector_is_all(&sel))
        return; /* admission does not let such in */
    uint32_t n = 0;
    struct object **objects = claim_all(rc, controller_state(rc->controller),
                                        schema_kinds[KIND_REPLICA_SET], &w->rs->metadata, &sel, &n);
    const struct api_pod **pods = ARENA_NEW_N(rc->arena, const struct api_pod *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        pods[i] = OBJECT_MSG(objects[i], api_pod);
    replicaset_plan(rc->arena, w->rs, pods, n, rc->now, &w->plan);
    if (w->plan.next_available)
        reconcile_again(rc, nsec_of_usec(w->plan.next_available - rc->now) + NSEC_PER_MSEC);
    apply(rc, w);
}

const struct controller_row replicaset_row = {
    .name = "replicaset",
    .watches = {{KIND_REPLICA_SET, controller_map_self}, {KIND_POD, map_pod}},
    .n_watches = 2,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
