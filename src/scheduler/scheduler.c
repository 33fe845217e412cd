/* The scheduler around its core: follows the caches, takes pods from the queue, assumes them onto
 * the node the core picked and binds. "Assumed" means counted by the core before the API server has
 * said yes, so that the next pick sees it; a refused bind is taken back.
 *
 *   WAITING (queue) --pick--> BINDING --cache shows the node--> BOUND
 *      ^--no node, refused bind--'            GATED: schedulingGates are not empty */
#include "scheduler/scheduler.h"

#include "base/mem.h"
#include "client/events.h"
#include "codec/values.h"
#include "scheduler/core.h"
#include "scheduler/queue.h"

#define PICKS_PER_TURN 64  /* then the loop looks at its I/O again */
#define BINDS_MAX      512 /* under way; more would only wait in the store's queue */

enum pod_state { POD_WAITING, POD_GATED, POD_BINDING, POD_BOUND };

struct pod {
    struct sched_item item;
    struct scheduler *scheduler;
    struct list dropped_link;
    struct object *object;  /* owned reference */
    struct sched_pod *core; /* owned; NULL while gated */
    enum pod_state state;
    bool bind_under_way, dropped;
};

struct scheduler {
    struct client_shared *shared;
    struct client *client;
    struct rt *rt;
    char *name; /* owned */
    struct sched_core *core;
    struct sched_queue queue;
    struct map pods;     /* uid -> struct pod */
    struct list dropped; /* gone while their bind is under way */
    struct event_recorder *events;
    struct rt_task task;
    struct rt_timer timer, sync_timer;
    uint64_t changes; /* of the cluster: compared around a try */
    unsigned n_binding;
    size_t n_gated;
    bool synced;
    struct scheduler_stats stats;
};

static struct str uid_of(const struct object *o)
{
    return object_meta(o)->uid;
}

static const struct api_pod *msg_of(const struct object *o)
{
    return OBJECT_MSG(o, api_pod);
}

static bool is_over(const struct api_pod *p)
{
    return str_is(p->status.phase, "Succeeded") || str_is(p->status.phase, "Failed");
}

static void kick(struct scheduler *s)
{
    if (s->synced)
        rt_task_schedule(&s->task);
}

static void cluster_changed(struct scheduler *s)
{
    s->changes++;
    sched_queue_move_all(&s->queue, rt_now(s->rt));
    kick(s);
}

/* ---- saying why not ---- */

static void write_condition(struct scheduler *s, struct pod *p, const char *reason,
                            struct str message)
{
    const struct api_pod *m = msg_of(p->object);
    for (uint32_t i = 0; i < m->status.n_conditions; i++) {
        const struct api_pod_condition *c = &m->status.conditions[i];
        if (str_is(c->type, "PodScheduled") && str_is(c->status, "False") &&
            str_eqz(c->reason, reason) && str_eq(c->message, message))
            return;
    }
    struct arena a = {0};
    struct api_pod *copy = ARENA_NEW(&a, struct api_pod);
    struct api_pod_condition c = {.type = STR("PodScheduled"),
                                  .status = STR("False"),
                                  .reason = str_z(reason),
                                  .message = message,
                                  .last_transition_time = timestamp_seconds(rt_wall(s->rt))};
    struct buf b = {0};
    copy->metadata.uid = m->metadata.uid;
    copy->status.conditions = &c;
    copy->status.n_conditions = 1;
    schema_encode_json(&api_pod_status_desc, &copy->status, 0, &b);
    struct str json = arena_printf(&a, "{\"metadata\":{\"uid\":\"%.*s\"},\"status\":%.*s}",
                                   STR_ARG(m->metadata.uid), STR_ARG(buf_str(&b)));
    client_patch(s->client, schema_kinds[KIND_POD], m->metadata.namespace, m->metadata.name,
                 STR("status"), CLIENT_PATCH_STRATEGIC, json, NULL, NULL);
    buf_fini(&b);
    arena_fini(&a);
}

static void say_unschedulable(struct scheduler *s, struct pod *p)
{
    struct arena a = {0};
    struct str why = sched_core_explain(s->core, p->core, &a);
    event_record(s->events, schema_kinds[KIND_POD], object_meta(p->object), EVENT_WARNING,
                 "FailedScheduling", "%.*s", STR_ARG(why));
    write_condition(s, p, "Unschedulable", why);
    arena_fini(&a);
}

/* ---- binding ---- */

static void pod_free(struct pod *p)
{
    list_remove(&p->dropped_link);
    (void)object_unref(p->object);
    free(p);
}

static void bind_done(void *arg, const struct client_reply *reply)
{
    struct pod *p = arg;
    struct scheduler *s = p->scheduler;
    p->bind_under_way = false;
    s->n_binding--;
    kick(s);
    if (reply->r == 0) {
        s->stats.bound++;
        if (!p->dropped)
            event_record(s->events, schema_kinds[KIND_POD], object_meta(p->object), EVENT_NORMAL,
                         "Scheduled", "Successfully assigned %.*s/%.*s to %.*s",
                         STR_ARG(object_ns(p->object)), STR_ARG(object_name(p->object)),
                         STR_ARG(sched_pod_node(p->core)));
    }
    if (p->dropped) {
        pod_free(p);
        return;
    }
    if (reply->r == 0 || p->state != POD_BINDING)
        return;
    s->stats.bind_errors++;
    sched_core_unplace(p->core);
    p->state = POD_WAITING;
    sched_queue_fail(&s->queue, &p->item, rt_now(s->rt), true);
    kick(s);
}

static void bind(struct scheduler *s, struct pod *p, struct str node)
{
    const struct api_object_meta *m = object_meta(p->object);
    const struct api_binding b = {
        .metadata = {.name = m->name, .namespace = m->namespace, .uid = m->uid},
        .target = {.kind = STR("Node"), .name = node},
    };
    const struct client_request req = {.verb = CLIENT_CREATE,
                                       .kind = schema_kinds[KIND_POD],
                                       .ns = m->namespace,
                                       .name = m->name,
                                       .subresource = STR("binding"),
                                       .body_desc = &api_binding_desc,
                                       .body = &b,
                                       .reply_desc = &api_status_desc};
    p->state = POD_BINDING;
    p->bind_under_way = true;
    s->n_binding++;
    client_call(s->client, &req, bind_done, p);
}

static void try(struct scheduler *s, struct pod *p)
{
    uint64_t changes = s->changes;
    struct str node = sched_core_pick(s->core, p->core);
    if (str_empty(node)) {
        s->stats.failed_attempts++;
        say_unschedulable(s, p);
        sched_queue_fail(&s->queue, &p->item, rt_now(s->rt), changes != s->changes);
        return;
    }
    sched_core_place(s->core, p->core, node);
    bind(s, p, sched_pod_node(p->core));
}

static void arm(struct scheduler *s, nsec_t at)
{
    if (at)
        rt_timer_start_at(&s->timer, at);
    else
        rt_timer_stop(&s->timer);
}

static void run(void *arg)
{
    struct scheduler *s = arg;
    arm(s, sched_queue_tick(&s->queue, rt_now(s->rt)));
    for (unsigned i = 0; i < PICKS_PER_TURN && s->n_binding < BINDS_MAX; i++) {
        struct sched_item *it = sched_queue_pop(&s->queue);
        if (!it)
            break;
        try(s, CONTAINER_OF(it, struct pod, item));
    }
    if (heap_top(&s->queue.active) && s->n_binding < BINDS_MAX)
        rt_task_schedule(&s->task);
    arm(s, sched_queue_tick(&s->queue, rt_now(s->rt)));
}

/* ---- following the caches ---- */

static void pod_drop(struct scheduler *s, struct pod *p)
{
    bool placed = p->core && !str_empty(sched_pod_node(p->core));
    (void)map_remove(&s->pods, uid_of(p->object));
    sched_queue_remove(&s->queue, &p->item);
    s->n_gated -= p->state == POD_GATED;
    p->core = sched_pod_free(p->core);
    if (p->bind_under_way) {
        p->dropped = true;
        list_push_back(&s->dropped, &p->dropped_link);
    } else {
        pod_free(p);
    }
    if (placed)
        cluster_changed(s);
}

static struct pod *pod_get(struct scheduler *s, struct object *o)
{
    struct pod *p = map_get(&s->pods, uid_of(o));
    if (!p) {
        p = NEW(struct pod);
        p->scheduler = s;
        sched_item_init(&p->item);
        list_init(&p->dropped_link);
        p->object = object_ref(o);
        (void)map_set(&s->pods, uid_of(p->object), p);
        return p;
    }
    struct object *old = p->object;
    p->object = object_ref(o);
    (void)map_remove(&s->pods, uid_of(old));
    (void)map_set(&s->pods, uid_of(p->object), p); /* the key lives in the object */
    (void)object_unref(old);
    return p;
}

static bool labels_differ(const struct api_object_meta *a, const struct api_object_meta *b)
{
    if (a->n_labels != b->n_labels)
        return true;
    for (uint32_t i = 0; i < a->n_labels; i++)
        if (!str_eq(a->labels[i].key, b->labels[i].key) ||
            !str_eq(a->labels[i].value, b->labels[i].value))
            return true;
    return false;
}

static void recompile(struct scheduler *s, struct pod *p)
{
    p->core = sched_pod_free(p->core);
    p->core = sched_pod_new(s->core, msg_of(p->object));
    p->item.priority = sched_pod_priority(p->core);
}

static void pod_is_bound(struct scheduler *s, struct object *old, struct object *new)
{
    struct pod *p = pod_get(s, new);
    struct str node = msg_of(new)->spec.node_name;
    bool changed = old && (labels_differ(object_meta(old), object_meta(new)) ||
                           object_meta(old)->generation != object_meta(new)->generation);
    if (p->core && !changed) /* its node tells of a resize in the status */
        changed = !sched_pod_asks_same(p->core, msg_of(new));
    sched_queue_remove(&s->queue, &p->item);
    s->n_gated -= p->state == POD_GATED;
    p->state = POD_BOUND;
    if (p->core && !changed && str_eq(sched_pod_node(p->core), node))
        return;
    recompile(s, p);
    sched_core_place(s->core, p->core, node);
    cluster_changed(s); /* others may have waited for it: affinity */
}

static void pod_waits(struct scheduler *s, struct object *old, struct object *new)
{
    const struct api_pod *m = msg_of(new);
    struct pod *p = pod_get(s, new);
    bool gated = m->spec.n_scheduling_gates > 0;
    bool fresh = !p->core, was_gated = p->state == POD_GATED;
    if (p->state == POD_BINDING)
        return; /* its answer decides */
    if (gated) {
        s->n_gated += !was_gated;
        p->state = POD_GATED;
        write_condition(s, p, "SchedulingGated",
                        STR("Scheduling is blocked due to non-empty scheduling gates"));
        return;
    }
    s->n_gated -= was_gated;
    p->state = POD_WAITING;
    if (!fresh && old && !labels_differ(object_meta(old), object_meta(new)) &&
        object_meta(old)->generation == object_meta(new)->generation &&
        msg_of(old)->spec.n_tolerations == m->spec.n_tolerations)
        return; /* only its status */
    sched_queue_remove(&s->queue, &p->item);
    recompile(s, p);
    sched_queue_add(&s->queue, &p->item);
    kick(s);
}

static void on_pod(void *arg, struct object *old, struct object *new)
{
    struct scheduler *s = arg;
    if (old && new && !str_eq(uid_of(old), uid_of(new))) {
        on_pod(s, old, NULL);
        old = NULL;
    }
    struct pod *p = map_get(&s->pods, uid_of(new ? new : old));
    const struct api_pod *m = new ? msg_of(new) : NULL;
    bool ours = m && (str_eqz(m->spec.scheduler_name, s->name) || !str_empty(m->spec.node_name));
    if (!m || is_over(m) || !ours ||
        (str_empty(m->spec.node_name) && m->metadata.deletion_timestamp.set)) {
        if (p)
            pod_drop(s, p);
    } else if (!str_empty(m->spec.node_name)) {
        pod_is_bound(s, old, new);
    } else {
        pod_waits(s, old, new);
    }
}

static void on_node(void *arg, struct object *old, struct object *new)
{
    struct scheduler *s = arg;
    if (!new)
        sched_core_node_remove(s->core, object_name(old));
    else if (sched_core_node_set(s->core, OBJECT_MSG(new, api_node)))
        cluster_changed(s);
}

static void on_namespace(void *arg, struct object *old, struct object *new)
{
    struct scheduler *s = arg;
    if (new)
        sched_core_namespace_set(s->core, object_name(new), object_meta(new)->labels,
                                 object_meta(new)->n_labels);
    else
        sched_core_namespace_remove(s->core, object_name(old));
}

/* ---- life ---- */

struct scheduler *scheduler_new(struct client_shared *shared, const struct scheduler_opts *opts)
{
    struct scheduler *s = NEW(struct scheduler);
    s->shared = shared;
    s->client = client_shared_client(shared);
    s->rt = s->client->rt;
    s->name = xstrdup(opts && opts->name ? opts->name : "default-scheduler");
    s->core = sched_core_new();
    s->events = event_recorder_new(s->client, s->name, NULL);
    sched_queue_init(&s->queue);
    list_init(&s->dropped);
    rt_task_init(&s->task, s->rt, run, s);
    rt_timer_init(&s->timer, s->rt, run, s);
    client_cache_on_change(client_shared_cache(shared, schema_kinds[KIND_NODE]), on_node, s);
    client_cache_on_change(client_shared_cache(shared, schema_kinds[KIND_NAMESPACE]), on_namespace,
                           s);
    client_cache_on_change(client_shared_cache(shared, schema_kinds[KIND_POD]), on_pod, s);
    return s;
}

static void poll_synced(void *arg)
{
    struct scheduler *s = arg;
    if (!client_shared_synced(s->shared)) {
        rt_timer_start(&s->sync_timer, 5 * NSEC_PER_MSEC);
        return;
    }
    s->synced = true;
    rt_task_schedule(&s->task);
}

void scheduler_start(struct scheduler *s)
{
    rt_timer_init(&s->sync_timer, s->rt, poll_synced, s);
    rt_timer_start(&s->sync_timer, 0);
}

struct scheduler *scheduler_free(struct scheduler *s)
{
    if (!s)
        return NULL;
    rt_task_cancel(&s->task);
    rt_timer_stop(&s->timer);
    rt_timer_stop(&s->sync_timer);
    for (struct map_slot *slot = NULL; (slot = map_next(&s->pods, slot));) {
        struct pod *p = slot->value;
        sched_queue_remove(&s->queue, &p->item);
        p->core = sched_pod_free(p->core);
        pod_free(p);
    }
    struct pod *p;
    LIST_FOR_EACH (p, &s->dropped, dropped_link)
        pod_free(p);
    map_fini(&s->pods);
    sched_queue_fini(&s->queue);
    sched_core_free(s->core);
    event_recorder_free(s->events);
    free(s->name);
    free(s);
    return NULL;
}

struct scheduler_stats scheduler_stats(const struct scheduler *s)
{
    struct scheduler_stats st = s->stats;
    st.active = s->queue.active.n;
    st.backoff = s->queue.backoff.n;
    st.unschedulable = s->queue.n_unschedulable;
    st.gated = s->n_gated;
    st.binding = s->n_binding;
    return st;
}
