/* Deployments: carries out one step of the plan (deployment_plan.h) in each run. */
#include "controllers/deployment_plan.h"
#include "controllers/registry.h"

struct state {
    struct claim_index sets;
    int pods_by_owner;
};

struct work {
    const struct api_deployment *d;
    struct deploy_plan plan;
    bool status_failed;
};

static const struct api_label_selector *selector_of(const struct object *o)
{
    return OBJECT_MSG(o, api_deployment)->spec.selector;
}

static void map_replicaset(struct controller *c, struct object *old, struct object *new)
{
    claim_map(c, KIND_DEPLOYMENT, old, new, selector_of);
}

/* Recreate waits until the last old pod is gone. */
static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    const struct api_owner_reference *r = old ? owner_controller(object_meta(old)) : NULL;
    if (!r || !str_is(r->kind, "ReplicaSet") ||
        (new && !pod_is_terminated(OBJECT_MSG(new, api_pod))))
        return;
    struct object *rs = controller_find(c, KIND_REPLICA_SET, object_ns(old), r->name);
    r = rs ? owner_controller(object_meta(rs)) : NULL;
    struct object *d = r ? controller_find(c, KIND_DEPLOYMENT, object_ns(old), r->name) : NULL;
    if (d && str_is(OBJECT_MSG(d, api_deployment)->spec.strategy.type, "Recreate"))
        controller_add_object(c, d);
}

static void init(struct controller *c)
{
    struct state *st = NEW_STATE(struct state);
    st->sets = claim_index_init(c, KIND_REPLICA_SET);
    st->pods_by_owner = controller_index(c, KIND_POD, owner_index);
    controller_set_state(c, st);
}

static void tell(struct reconcile *rc, const struct work *w, const char *name, size_t name_n,
                 int32_t from, int32_t to)
{
    if (from == to)
        return;
    event_record(controller_events(rc->controller), schema_kinds[KIND_DEPLOYMENT], &w->d->metadata,
                 EVENT_NORMAL, "ScalingReplicaSet", "Scaled %s replica set %.*s from %d to %d",
                 to > from ? "up" : "down", (int)name_n, name, from, to);
}

/* ---- status, last ---- */

static void write_status(struct reconcile *rc, struct work *w)
{
    struct api_deployment copy = *w->d;
    if (!w->plan.status_changed && !w->status_failed)
        return;
    copy.metadata.resource_version = STR_NONE; /* nobody else writes it */
    copy.status = w->plan.status;
    controller_update_sub(rc, KIND_DEPLOYMENT, "status", &copy, NULL, NULL);
}

static bool annotated(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    write_status(rc, arg);
    return reply->r == 0 || reply->r == -ENOENT;
}

static void write_annotations(struct reconcile *rc, struct work *w)
{
    if (str_empty(w->plan.revision) && !w->plan.drop_rolled_back) {
        write_status(rc, w);
        return;
    }
    struct str revision = str_empty(w->plan.revision)
                              ? meta_annotation(&w->d->metadata, STR(ANN_REVISION))
                              : w->plan.revision;
    struct str json = arena_printf(
        rc->arena,
        "{\"metadata\":{\"uid\":\"%.*s\",\"annotations\":{\"" ANN_REVISION "\":\"%.*s\"%s}}}",
        STR_ARG(w->d->metadata.uid), STR_ARG(revision),
        w->plan.drop_rolled_back ? ",\"" ANN_ROLLED_BACK "\":null" : "");
    controller_patch(rc, KIND_DEPLOYMENT, &w->d->metadata, NULL, CLIENT_PATCH_MERGE, json,
                     annotated, w);
}

/* ---- ReplicaSets ---- */

struct scaling {
    struct work *work;
    const struct deploy_op *op;
};

static bool scaled(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    const struct scaling *s = arg;
    const struct api_object_meta *m = &s->op->rs->metadata;
    if (reply->r == 0)
        tell(rc, s->work, m->name.p, m->name.n, s->op->from_replicas, s->op->to_replicas);
    else if (reply->r != -ESTALE && reply->r != -ENOENT)
        reconcile_fail(rc, "update replica set %.*s: %s", STR_ARG(m->name), strerror(-reply->r));
    return reply->r == 0;
}

static bool looked_at_namesake(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    if (reply->r < 0)
        return false;
    const struct api_replica_set *rs = OBJECT_MSG(reply->object, api_replica_set);
    if (owner_is_controlled_by(&rs->metadata, w->d->metadata.uid) &&
        template_equal(&rs->spec.template, &w->d->spec.template))
        return false; /* ours after all; the cache will tell: come back */
    w->plan.status = w->d->status;
    w->plan.status.has_collision_count = true;
    w->plan.status.collision_count++;
    w->status_failed = true;
    write_status(rc, w);
    return true;
}

static bool created(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    const struct api_replica_set *rs = w->plan.create;
    if (reply->r == 0) {
        tell(rc, w, rs->metadata.name.p, rs->metadata.name.n, 0, rs->spec.replicas);
        write_annotations(rc, w);
        return true;
    }
    if (reply->r == -EEXIST) { /* the hash collides with another template's, or a cache was late */
        const struct client_request req = {.verb = CLIENT_GET,
                                           .kind = schema_kinds[KIND_REPLICA_SET],
                                           .ns = rs->metadata.namespace,
                                           .name = rs->metadata.name};
        controller_call(rc, &req, looked_at_namesake, w);
        return true;
    }
    struct str text = reply->err ? arena_str(rc->arena, reply->err->message) : STR("no answer");
    event_record(controller_events(rc->controller), schema_kinds[KIND_DEPLOYMENT], &w->d->metadata,
                 EVENT_WARNING, "ReplicaSetCreateError",
                 "Failed to create new replica set \"%.*s\": %.*s", STR_ARG(rs->metadata.name),
                 STR_ARG(text));
    deploy_status_failed_create(rc->arena, w->d, text, rc->now, &w->plan.status);
    w->status_failed = !schema_equal(&api_deployment_status_desc, &w->plan.status, &w->d->status);
    w->plan.status_changed = false;
    write_status(rc, w);
    return false;
}

static bool rolled_back(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    struct work *w = arg;
    if (reply->r == 0)
        event_record(controller_events(rc->controller), schema_kinds[KIND_DEPLOYMENT],
                     &w->d->metadata, EVENT_WARNING, "DeploymentRollback", "%.*s",
                     STR_ARG(w->plan.rollback_text));
    return reply->r == 0;
}

static void apply(struct reconcile *rc, struct work *w)
{
    for (unsigned i = 0; i < w->plan.n_ops; i++) {
        const struct deploy_op *op = &w->plan.ops[i];
        struct scaling *s = ARENA_NEW(rc->arena, struct scaling);
        *s = (struct scaling){w, op};
        if (op->to)
            controller_update(rc, KIND_REPLICA_SET, op->to, scaled, s);
        else
            controller_delete(rc, KIND_REPLICA_SET, &op->rs->metadata, NULL, NULL, NULL);
    }
    if (w->plan.create)
        controller_create(rc, KIND_REPLICA_SET, w->plan.create, created, w);
    else
        write_annotations(rc, w);
}

static bool old_pods_run(struct reconcile *rc, const struct api_deployment *d, struct object **sets,
                         uint32_t n)
{
    const struct state *st = controller_state(rc->controller);
    if (!str_is(d->spec.strategy.type, "Recreate"))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct api_replica_set *rs = OBJECT_MSG(sets[i], api_replica_set);
        if (template_equal(&rs->spec.template, &d->spec.template))
            continue;
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, controller_cache(rc->controller, KIND_POD),
                                     st->pods_by_owner, rs->metadata.uid);
        for (struct object *o; (o = client_cache_iter_next(&it));)
            if (!pod_is_terminated(OBJECT_MSG(o, api_pod)))
                return true;
    }
    return false;
}

static void reconcile(struct reconcile *rc)
{
    const struct state *st = controller_state(rc->controller);
    struct object *o = reconcile_get(rc, KIND_DEPLOYMENT, rc->ns, rc->name);
    struct label_selector sel;
    uint32_t n = 0;
    if (!o)
        return;
    struct work *w = ARENA_NEW(rc->arena, struct work);
    w->d = OBJECT_MSG(reconcile_keep(rc, o), api_deployment);
    if (label_selector_compile(rc->arena, w->d->spec.selector, &sel, NULL) < 0 ||
        label_selector_is_all(&sel))
        return; /* admission does not let such in */
    struct object **sets =
        claim_all(rc, &st->sets, schema_kinds[KIND_DEPLOYMENT], &w->d->metadata, &sel, &n);
    const struct api_replica_set **v =
        ARENA_NEW_N(rc->arena, const struct api_replica_set *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        v[i] = OBJECT_MSG(sets[i], api_replica_set);
    const struct deploy_in in = {.d = w->d,
                                 .rss = v,
                                 .n_rss = n,
                                 .old_pods_running = old_pods_run(rc, w->d, sets, n),
                                 .now = rc->now};
    deploy_plan(rc->arena, &in, &w->plan);
    if (w->plan.check_at)
        reconcile_again(rc, nsec_of_usec(MAX(w->plan.check_at - rc->now, 0)) + NSEC_PER_MSEC);
    if (w->plan.rollback)
        controller_update(rc, KIND_DEPLOYMENT, w->plan.rollback, rolled_back, w);
    else
        apply(rc, w);
}

const struct controller_row deployment_row = {
    .name = "deployment",
    .watches = {{KIND_DEPLOYMENT, controller_map_self},
                {KIND_REPLICA_SET, map_replicaset},
                {KIND_POD, map_pod}},
    .n_watches = 3,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
