/* What the API is told about a pod: phase, conditions and container states in the words and by the
 * rules of a kubelet ("Pod Lifecycle"), built anew from the pod's state whenever something changed,
 * compared as text with what was acknowledged last, and sent as a strategic merge patch (conditions
 * of others stay). One request a pod is under way at a time, so bursts coalesce. */
#include "node/agent.h"

#include "api/pod.h"
#include "base/mem.h"
#include "codec/json.h"

#define RETRY_MIN (200 * NSEC_PER_MSEC)
#define RETRY_MAX                                                                                  \
    (2 * NSEC_PER_SEC) /* what a user sees of a pod must not lag behind a server that is back */
#define PENDING_DELAY (40 * NSEC_PER_MSEC)
#define COND_MAX      8

/* ---- phase ---- */

struct counts {
    unsigned waiting, running, stopped, succeeded;
};

static void count(const struct ctr *c, struct counts *n)
{
    switch (ctr_state(c)) {
    case CTR_RUNNING:
    case CTR_STOPPING:
    case CTR_EXITING:
        n->running++;
        break;
    case CTR_EXITED:
        n->stopped++;
        n->succeeded += c->rec.end.code == 0;
        break;
    default:
        if (c->rec.end.set || c->rec.last.set)
            n->stopped++;
        else
            n->waiting++;
    }
}

/* Init containers that still have to succeed (sidecars: to have started). */
static unsigned pending_init(const struct pod *p, bool *ret_failed)
{
    unsigned pending = 0;
    bool never = str_is(pod_restart_policy(p), "Never");
    for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++)
        if (p->ctrs[i]->rec.attempt > 0)
            return 0;
    for (unsigned i = 0; i < p->n_init; i++) {
        const struct ctr *c = p->ctrs[i];
        if (c->kind == CTR_SIDECAR) {
            pending += !(c->started || ctr_state(c) == CTR_EXITED);
            continue;
        }
        if (ctr_state(c) == CTR_EXITED && c->rec.end.code != 0 && never)
            *ret_failed = true;
        pending += !ctr_succeeded(c);
    }
    return pending;
}

struct str pod_phase(const struct pod *p)
{
    bool over = p->sm.state >= POD_TEARING_DOWN, init_failed = false;
    struct str known = pod_msg(p)->status.phase;
    if (p->sm.state == POD_NEW)
        return known.n ? known : STR("Pending");
    if (str_is(known, "Succeeded") || str_is(known, "Failed"))
        return known; /* never taken back */
    if (over && p->end_phase)
        return str_z(p->end_phase);
    unsigned pending = pending_init(p, &init_failed);
    if (init_failed && !pod_has_running(p))
        return STR("Failed");
    struct counts n = {0};
    for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++)
        count(p->ctrs[i], &n);
    if (over) {
        if (n.stopped == p->n_app && p->n_app)
            return n.succeeded == n.stopped ? STR("Succeeded") : STR("Failed");
        return STR("Failed"); /* ended before it had begun */
    }
    if (pending > 0 || n.waiting > 0)
        return STR("Pending");
    /* All of them may have ended: the last word is said when sidecars and sandbox are gone
     * (`over`). */
    return STR("Running");
}

/* ---- container states ---- */

static void fill_end(const struct ctr_end *e, struct arena *a, struct api_container_state *s)
{
    if (!e->set)
        return;
    s->terminated = ARENA_NEW(a, struct api_container_state_terminated);
    *s->terminated = (struct api_container_state_terminated){
        .exit_code = e->code,
        .signal = e->signal,
        .reason = arena_strz(a, e->reason),
        .message = e->message ? arena_strz(a, e->message) : STR_NONE,
        .container_id = arena_strz(a, e->id),
    };
    if (e->started)
        s->terminated->started_at = timestamp_seconds(e->started);
    if (e->finished)
        s->terminated->finished_at = timestamp_seconds(e->finished);
}

static void fill_waiting(const struct ctr *c, bool init_pending, struct arena *a,
                         struct api_container_state *s)
{
    bool default_words = !c->why;
    const char *reason = c->why ? c->why
                         : c->pod->n_init && (init_pending || c->kind != CTR_APP)
                             ? "PodInitializing"
                             : "ContainerCreating";
    s->waiting = ARENA_NEW(a, struct api_container_state_waiting);
    s->waiting->reason = arena_strz(a, reason);
    if (!default_words && c->why_message)
        s->waiting->message = arena_strz(a, c->why_message);
}

/* Without the limits it has from its pod. */
static void own_in_force(const struct api_resource_requirements *r,
                         const struct api_resource_requirements *own, struct arena *a,
                         struct api_resource_requirements *ret)
{
    *ret = *r;
    ret->limits = ARENA_NEW_N(a, struct kv_quantity, r->n_limits);
    ret->n_limits = 0;
    for (uint32_t i = 0; i < r->n_limits; i++)
        if (kv_quantity_get(own->limits, own->n_limits, r->limits[i].key))
            ret->limits[ret->n_limits++] = r->limits[i];
}

static void fill_ctr(const struct ctr *c, bool init_pending, struct arena *a,
                     struct api_container_status *s)
{
    const struct ctr_record *r = &c->rec;
    const struct api_container *spec = ctr_spec(c);
    *s = (struct api_container_status){.name = arena_strz(a, c->name),
                                       .restart_count = (int32_t)r->restarts};
    s->image = r->image && r->attempt ? arena_strz(a, r->image) : spec->image;
    s->image_id = r->image_id && r->attempt ? arena_strz(a, r->image_id) : STR("");
    if (r->attempt)
        s->container_id = arena_printf(a, "davit://%s", c->id);
    bool busy = false;
    switch (ctr_state(c)) {
    case CTR_RUNNING:
    case CTR_STOPPING:
    case CTR_EXITING:
        busy = true;
        s->state.running = ARENA_NEW(a, struct api_container_state_running);
        s->state.running->started_at = timestamp_seconds(r->started);
        fill_end(&r->last, a, &s->last_state);
        break;
    case CTR_EXITED:
        fill_end(&r->end, a, &s->state);
        fill_end(&r->last, a, &s->last_state);
        break;
    default:
        fill_waiting(c, init_pending, a, &s->state);
        fill_end(r->end.set ? &r->end : &r->last, a, &s->last_state);
    }
    if (c->kind == CTR_APP || c->kind == CTR_SIDECAR) {
        s->allocated_resources = spec->resources.requests;
        s->n_allocated_resources = spec->resources.n_requests;
        s->resources = ARENA_NEW(a, struct api_resource_requirements);
        *s->resources = spec->resources;
        if (busy && c->in_force)
            own_in_force(c->in_force, &spec->resources, a, s->resources);
    }
    s->has_started = true;
    s->started = busy && c->started;
    s->ready =
        c->kind == CTR_INIT ? ctr_succeeded(c) : ctr_state(c) != CTR_EXITING && busy && c->ready;
}

static struct api_container_status *fill_list(const struct pod *p, unsigned from, unsigned to,
                                              bool init_pending, struct arena *a, uint32_t *ret_n)
{
    *ret_n = to - from;
    if (from == to)
        return NULL;
    struct api_container_status *v = ARENA_NEW_N(a, struct api_container_status, to - from);
    for (unsigned i = from; i < to; i++)
        fill_ctr(p->ctrs[i], init_pending, a, &v[i - from]);
    return v;
}

/* ---- conditions ---- */

static const struct api_pod_condition *api_condition(const struct pod *p, const char *type)
{
    const struct api_pod_status *s = &pod_msg(p)->status;
    for (uint32_t i = 0; i < s->n_conditions; i++)
        if (str_eqz(s->conditions[i].type, type))
            return &s->conditions[i];
    return NULL;
}

/* The time of the last change: ours if we saw it, else what the API has, else now. */
static struct timestamp transition(struct pod *p, const char *type, struct str value)
{
    for (size_t i = 0; i < COND_MAX; i++) {
        if (p->cond_times[i].key.p && !str_eqz(p->cond_times[i].key, type))
            continue;
        if (!p->cond_times[i].key.p) {
            const struct api_pod_condition *c = api_condition(p, type);
            p->cond_times[i].key = str_z(type);
            p->cond_times[i].value = c && str_eq(c->status, value) && c->last_transition_time.set
                                         ? c->last_transition_time
                                         : timestamp_seconds(rt_wall(p->node->rt));
        } else if (!str_eq(p->cond_values[i], value)) {
            p->cond_times[i].value = timestamp_seconds(rt_wall(p->node->rt));
        }
        p->cond_values[i] = value;
        return p->cond_times[i].value;
    }
    return timestamp_seconds(rt_wall(p->node->rt));
}

static void add_condition(struct pod *p, struct api_pod_status *s, const char *type, bool value,
                          struct str reason, struct str message)
{
    struct str text = value ? STR("True") : STR("False");
    s->conditions[s->n_conditions++] = (struct api_pod_condition){
        .type = str_z(type),
        .status = text,
        .reason = value ? STR_NONE : reason,
        .message = value ? STR_NONE : message,
        .observed_generation = pod_msg(p)->metadata.generation,
        .last_transition_time = transition(p, type, text),
    };
}

/* Of a resize: there while there is something to say. */
static void add_resize(struct pod *p, struct api_pod_status *s, const char *type, bool there,
                       const char *reason, const char *message)
{
    if (!there) {
        for (size_t i = 0; i < COND_MAX; i++)
            if (str_eqz(p->cond_times[i].key, type))
                p->cond_values[i] = STR(""); /* the next one is a new one */
        return;
    }
    s->conditions[s->n_conditions++] = (struct api_pod_condition){
        .type = str_z(type),
        .status = STR("True"),
        .reason = str_z(reason),
        .message = str_z(message),
        .observed_generation = pod_msg(p)->metadata.generation,
        .last_transition_time = transition(p, type, STR("True")),
    };
}

static struct str names_of(struct arena *a, const struct pod *p, unsigned from, unsigned to,
                           bool init)
{
    struct buf b = {0};
    for (unsigned i = from; i < to; i++) {
        const struct ctr *c = p->ctrs[i];
        bool bad = init ? (c->kind == CTR_INIT ? !ctr_succeeded(c) : !c->started)
                        : !(ctr_state(c) == CTR_RUNNING && c->ready);
        if (bad)
            buf_printf(&b, "%s%s", b.n ? " " : "", c->name);
    }
    struct str r = arena_printf(a, "containers with %s status: [%.*s]",
                                init ? "incomplete" : "unready", STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return r;
}

static void fill_conditions(struct pod *p, bool init_pending, struct arena *a,
                            struct api_pod_status *s)
{
    bool completed = str_is(s->phase, "Succeeded"), failed = str_is(s->phase, "Failed");
    unsigned first = p->n_init, end = p->n_init + p->n_app;
    bool ready = !completed && !failed && !init_pending && p->n_app > 0;
    for (unsigned i = 0; ready && i < s->n_container_statuses; i++)
        ready = s->container_statuses[i].ready;
    for (unsigned i = 0; ready && i < s->n_init_container_statuses; i++)
        if (p->ctrs[i]->kind == CTR_SIDECAR)
            ready = s->init_container_statuses[i].ready;
    struct str reason = completed ? STR("PodCompleted")
                        : failed  ? STR("PodFailed")
                                  : STR("ContainersNotReady");
    struct str message = completed || failed ? STR_NONE : names_of(a, p, first, end, false);
    bool gates = true;
    for (uint32_t i = 0; i < pod_msg(p)->spec.n_readiness_gates; i++) {
        const char *type = arena_cstr(a, pod_msg(p)->spec.readiness_gates[i].condition_type);
        const struct api_pod_condition *c = api_condition(p, type);
        gates &= c && str_is(c->status, "True");
    }
    s->conditions = ARENA_NEW_N(a, struct api_pod_condition, COND_MAX);
    add_condition(p, s, "PodReadyToStartContainers", p->was_up && p->sm.state < POD_TEARING_DOWN,
                  STR_NONE, STR_NONE);
    add_condition(p, s, "Initialized", !init_pending || completed,
                  failed ? STR("PodFailed") : STR("ContainersNotInitialized"),
                  init_pending ? names_of(a, p, 0, p->n_init, true) : STR_NONE);
    add_condition(p, s, "Ready", ready && gates, ready ? STR("ReadinessGatesNotReady") : reason,
                  ready ? STR("the status of pod readiness gates is not \"True\"") : message);
    add_condition(p, s, "ContainersReady", ready, reason, message);
    add_condition(p, s, "PodScheduled", true, STR_NONE, STR_NONE);
    bool alive = !completed && !failed && !p->terminating;
    add_resize(p, s, "PodResizePending", alive && p->wanted && p->pending, p->pending,
               p->pending_message);
    add_resize(p, s, "PodResizeInProgress", alive && p->resizing, p->resize_error ? "Error" : NULL,
               p->resize_error);
    if (!p->end_reason || strcmp(p->end_reason, NODE_SHUTDOWN_REASON) != 0)
        return;
    add_condition(p, s, "DisruptionTarget", true, STR_NONE, STR_NONE);
    s->conditions[s->n_conditions - 1].reason = STR("TerminationByKubelet");
    s->conditions[s->n_conditions - 1].message = STR(NODE_SHUTDOWN_MESSAGE);
}

/* Of a pod with resources of its own. While they come into force, it has those it was said to have
 * last. */
static void fill_whole(const struct pod *p, struct api_pod_status *s)
{
    const struct api_pod *m = pod_msg(p);
    if (!pod_says_whole(&m->spec))
        return;
    s->allocated_resources = m->spec.resources->requests;
    s->n_allocated_resources = m->spec.resources->n_requests;
    s->resources = p->resizing && m->status.resources ? m->status.resources : m->spec.resources;
}

void pod_status_build(struct pod *p, struct arena *a, struct api_pod_status *s)
{
    bool ignored = false;
    const struct api_pod *m = pod_msg(p);
    bool init_pending = pending_init(p, &ignored) > 0;
    *s = (struct api_pod_status){
        .observed_generation = m->metadata.generation,
        .phase = pod_phase(p),
        .qos_class = pod_qos_class(m),
        .host_ip = p->node->host_ip,
    };
    bool over = str_is(s->phase, "Failed") || str_is(s->phase, "Succeeded");
    if (over && p->end_reason) {
        s->reason = arena_strz(a, p->end_reason);
        s->message = p->end_message ? arena_strz(a, p->end_message) : STR_NONE;
    }
    fill_whole(p, s);
    if (p->start_time)
        s->start_time = timestamp_seconds(p->start_time);
    s->host_ips = ARENA_NEW_N(a, struct api_host_ip, 1);
    s->host_ips[0].ip = p->node->host_ip;
    s->n_host_ips = 1;
    bool host = m->spec.host_network;
    size_t n = host ? 1 : p->n_ips;
    const struct str *ips = host ? &p->node->host_ip : p->ips;
    if (n) {
        s->pod_ip = arena_str(a, ips[0]);
        s->pod_ips = ARENA_NEW_N(a, struct api_pod_ip, n);
        s->n_pod_ips = (uint32_t)n;
        for (size_t i = 0; i < n; i++)
            s->pod_ips[i].ip = arena_str(a, ips[i]);
    }
    unsigned end = p->n_init + p->n_app;
    s->init_container_statuses =
        fill_list(p, 0, p->n_init, init_pending, a, &s->n_init_container_statuses);
    s->container_statuses = fill_list(p, p->n_init, end, init_pending, a, &s->n_container_statuses);
    s->ephemeral_container_statuses =
        fill_list(p, end, p->n_ctrs, false, a, &s->n_ephemeral_container_statuses);
    fill_conditions(p, init_pending, a, s);
}

/* ---- sending ---- */

static void send_status(void *arg);

static char *status_json(struct pod *p)
{
    struct arena a = {0};
    struct buf b = {0};
    struct api_pod_status s;
    pod_status_build(p, &a, &s);
    schema_encode_json(&api_pod_status_desc, &s, 0, &b);
    arena_fini(&a);
    return buf_take(&b, NULL);
}

static const char *const resize_conditions[] = {"PodResizePending", "PodResizeInProgress"};

/* Some of them are in the text of a status. */
static bool tells_of_resize(const char *status)
{
    for (size_t i = 0; i < ARRAY_LEN(resize_conditions); i++)
        if (strstr(status, resize_conditions[i]))
            return true;
    return false;
}

static void on_sent(void *arg, const struct client_reply *reply)
{
    char *uid = arg;
    struct node *n = *(struct node **)uid;
    struct pod *p = map_get(&n->pods, str_z(uid + sizeof(n)));
    free(uid);
    node_release(n);
    if (!p)
        return;
    p->status_busy = false;
    if (reply->r == 0) {
        p->status_backoff = 0;
        free(p->status_sent);
        p->status_sent = TAKE_PTR(p->status_sending);
        p->resize_told = tells_of_resize(p->status_sent);
    } else if (reply->r == -ENOENT || reply->r == -ESTALE) {
        free(p->status_sent); /* another pod of that name, or none: nothing to tell any more */
        p->status_sent = TAKE_PTR(p->status_sending);
    } else {
        p->status_dirty = true;
        p->status_backoff = p->status_backoff ? MIN(p->status_backoff * 2, RETRY_MAX) : RETRY_MIN;
        rt_timer_start(&p->status_timer, p->status_backoff);
        free(TAKE_PTR(p->status_sending));
    }
    if (p->status_dirty && !rt_timer_active(&p->status_timer))
        rt_task_schedule_late(&p->status_task);
    pod_kick(p);
}

static void set_null_if_absent(struct json *obj, struct str key, struct arena *a)
{
    if (!json_get(obj, key))
        json_set(obj, key, json_new_null(a));
}

static void drop_condition(struct json *conditions, const char *type, struct arena *a)
{
    json_for_each(c, conditions) if (str_eqz(json_get_str(c, STR("type")), type)) return;
    struct json *gone = json_new_obj(a);
    json_set(gone, STR("$patch"), json_new_str(a, STR("delete")));
    json_set(gone, STR("type"), json_new_str(a, str_z(type)));
    json_push(conditions, gone);
}

/* A merge keeps what the patch does not name: words that hold no more must be taken away by name.
 */
static void write_patch(struct pod *p, const char *status, struct buf *out)
{
    struct arena a = {0};
    struct json *v = NULL, *root = json_new_obj(&a), *meta = json_new_obj(&a);
    struct error err = {0};
    int r = json_parse(str_z(status), &a, NULL, &v, &err);
    ASSERT(r == 0); /* we printed it */
    set_null_if_absent(v, STR("reason"), &a);
    set_null_if_absent(v, STR("message"), &a);
    struct json *conditions = json_get(v, STR("conditions"));
    if (conditions)
        json_for_each(c, conditions)
        {
            set_null_if_absent(c, STR("reason"), &a);
            set_null_if_absent(c, STR("message"), &a);
        }
    if (conditions && p->resize_told)
        for (size_t i = 0; i < ARRAY_LEN(resize_conditions); i++)
            drop_condition(conditions, resize_conditions[i], &a);
    json_set(meta, STR("uid"), json_new_str(&a, str_z(p->uid)));
    json_set(root, STR("metadata"), meta);
    json_set(root, STR("status"), v);
    json_print(root, out);
    error_fini(&err);
    arena_fini(&a);
}

static void send_status(void *arg)
{
    struct pod *p = arg;
    struct node *n = p->node;
    if (p->refused || p->status_busy || !p->status_dirty || !p->in_api || p->sm.state == POD_NEW ||
        p->sm.state == POD_ADOPTING || p->sm.state == POD_REMOVING)
        return;
    p->status_dirty = false;
    char *json = status_json(p);
    if (p->status_sent && strcmp(json, p->status_sent) == 0) {
        free(json);
        pod_kick(p); /* settled: a deletion may wait for that */
        return;
    }
    struct buf patch = {0};
    for (size_t i = 0; i < ARRAY_LEN(resize_conditions); i++)
        p->resize_told |= api_condition(p, resize_conditions[i]) != NULL;
    write_patch(p, json, &patch);
    p->resize_told |= tells_of_resize(json);
    free(p->status_sending);
    p->status_sending = json;
    p->status_busy = true;
    size_t len = strlen(p->uid) + 1;
    char *id = xmalloc(sizeof(n) + len);
    node_hold(n);
    memcpy(id, &n, sizeof(n));
    memcpy(id + sizeof(n), p->uid, len);
    client_patch(n->client, schema_kinds[KIND_POD], str_z(p->ns), str_z(p->name), STR("status"),
                 CLIENT_PATCH_STRATEGIC, buf_str(&patch), on_sent, id);
    buf_fini(&patch);
}

void pod_status_check(struct pod *p)
{
    const struct api_pod_condition *c = api_condition(p, "Ready");
    for (size_t i = 0; c && p->status_sent && !p->status_busy && i < COND_MAX; i++)
        if (p->cond_times[i].key.p && str_is(p->cond_times[i].key, "Ready") &&
            !str_eq(p->cond_values[i], c->status))
            free(TAKE_PTR(p->status_sent));
}

void pod_status_dirty(struct pod *p)
{
    if (!p->status_task.rt) {
        rt_task_init(&p->status_task, p->node->rt, send_status, p);
        rt_timer_init(&p->status_timer, p->node->rt, send_status, p);
    }
    p->status_dirty = true;
    if (p->status_busy)
        return;
    /* On its way up a pod changes several times within milliseconds, and only the end of it is news
     * to others. */
    bool urgent = p->terminating || !str_is(pod_phase(p), "Pending");
    if (urgent && rt_timer_active(&p->status_timer) && !p->status_backoff)
        rt_timer_stop(&p->status_timer);
    if (rt_timer_active(&p->status_timer))
        return;
    if (urgent)
        rt_task_schedule_late(&p->status_task);
    else
        rt_timer_start(&p->status_timer, PENDING_DELAY);
}

void pod_status_stop(struct pod *p)
{
    if (!p->status_task.rt)
        return;
    rt_task_cancel(&p->status_task);
    rt_timer_stop(&p->status_timer);
}

bool pod_status_settled(const struct pod *p)
{
    if (p->refused || !p->in_api || p->sm.state == POD_NEW)
        return true;
    return p->status_sent && !p->status_busy && !p->status_dirty;
}
