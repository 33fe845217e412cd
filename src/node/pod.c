/* One pod: pod_sync() compares what should be with what is and starts the next steps; it may be
 * called at any time and any number of times. See the states in agent.h; `terminating` is the one
 * decision that is never taken back. */
#include "node/agent.h"

#include "base/mem.h"
#include "node/fence.h"
#include "node/fsutil.h"
#include "node/jw.h"
#include "node/record.h"
#include "node/resize.h"

#define DELETE_RETRY       (2 * NSEC_PER_SEC)
#define GRACE_DEFAULT_S    30
#define POD_JSON_BYTES_MAX (4u << 20)

const struct sm_state pod_states[_POD_STATE_MAX] = {
    [POD_NEW] = {"new", SM_INITIAL,
                 SM_TO(POD_ADOPTING) | SM_TO(POD_SETTING_UP) | SM_TO(POD_DONE) |
                     SM_TO(POD_REMOVING)},
    [POD_ADOPTING] = {"adopting", 0,
                      SM_TO(POD_SETTING_UP) | SM_TO(POD_RUNNING) | SM_TO(POD_TEARING_DOWN) |
                          SM_TO(POD_DONE)},
    [POD_SETTING_UP] = {"setting up", 0,
                        SM_TO(POD_RUNNING) | SM_TO(POD_STOPPING) | SM_TO(POD_TEARING_DOWN)},
    [POD_RUNNING] = {"running", 0, SM_TO(POD_STOPPING) | SM_TO(POD_SETTING_UP)},
    [POD_STOPPING] = {"stopping", 0, SM_TO(POD_TEARING_DOWN)},
    [POD_TEARING_DOWN] = {"tearing down", 0, SM_TO(POD_DONE)},
    [POD_DONE] = {"done", 0, SM_TO(POD_REMOVING)},
    [POD_REMOVING] = {"removing", SM_FINAL, 0},
};

static void pod_sync(void *arg);

/* ---- life ---- */

static void add_ctr(struct pod *p, enum ctr_kind kind, unsigned index)
{
    p->ctrs = xrealloc(p->ctrs, (p->n_ctrs + 1) * sizeof(*p->ctrs));
    p->ctrs[p->n_ctrs++] = ctr_new(p, kind, index);
}

static void on_pod_timer(void *arg)
{
    pod_kick(arg);
}

struct pod *pod_new(struct node *n, struct object *obj, bool in_api)
{
    struct pod *p = NEW(struct pod);
    const struct api_pod *m = obj->msg;
    p->node = n;
    p->obj = object_ref(obj);
    p->in_api = in_api;
    p->uid = str_dup(m->metadata.uid);
    p->ns = str_dup(m->metadata.namespace);
    p->name = str_dup(m->metadata.name);
    p->dir = xasprintf("%s/%s", n->pods_dir, p->uid);
    struct fs_path cgroup = fs_path("%s/pod%s", n->cgroups.parent, p->uid);
    ASSERT(strlen(cgroup.s) < sizeof(p->cgroup));
    memcpy(p->cgroup, cgroup.s, strlen(cgroup.s) + 1);
    /* One that is too long fails the sandbox, where it can be reported. */
    (void)!sandbox_hostname(m, n->name, pod_cluster_domain(n), p->hostname);
    sm_init(&p->sm, pod_states, _POD_STATE_MAX, POD_NEW, "pod",
            hash_fnv1a64(p->uid, strlen(p->uid)));
    rt_task_init(&p->sync_task, n->rt, pod_sync, p);
    rt_timer_init(&p->timer, n->rt, on_pod_timer, p);
    for (uint32_t i = 0; i < m->spec.n_init_containers; i++)
        add_ctr(
            p, str_is(m->spec.init_containers[i].restart_policy, "Always") ? CTR_SIDECAR : CTR_INIT,
            i);
    p->n_init = p->n_ctrs;
    for (uint32_t i = 0; i < m->spec.n_containers; i++)
        add_ctr(p, CTR_APP, i);
    p->n_app = p->n_ctrs - p->n_init;
    for (uint32_t i = 0; i < m->spec.n_ephemeral_containers; i++)
        add_ctr(p, CTR_EPHEMERAL, i);
    resize_init(p);
    p->volumes = volumes_new(p);
    map_set(&n->pods, str_z(p->uid), p);
    if (in_api)
        sources_register(n->sources, p);
    return p;
}

struct pod *pod_free(struct pod *p)
{
    if (!p)
        return NULL;
    ASSERT(!p->working && !p->net_busy);
    sources_unregister(p->node->sources, p);
    pod_status_stop(p);
    rt_task_cancel(&p->sync_task);
    rt_timer_stop(&p->timer);
    for (unsigned i = 0; i < p->n_ctrs; i++)
        ctr_free(p->ctrs[i]);
    free(p->ctrs);
    p->volumes = volumes_free(p->volumes);
    map_remove(&p->node->pods, str_z(p->uid));
    resize_fini(p);
    object_unref(p->obj);
    arena_fini(&p->ips_arena);
    char *owned[] = {
        p->uid,       p->ns,         p->name,        p->dir,         p->setup_error,
        p->end_phase, p->end_reason, p->end_message, p->status_sent, p->status_sending};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    free(p);
    return NULL;
}

void pod_kick(struct pod *p)
{
    rt_task_schedule(&p->sync_task);
}

struct ctr *pod_find_ctr(const struct pod *p, struct str name)
{
    for (unsigned i = 0; i < p->n_ctrs; i++)
        if (str_eqz(name, p->ctrs[i]->name))
            return p->ctrs[i];
    return NULL;
}

struct str pod_restart_policy(const struct pod *p)
{
    struct str s = pod_msg(p)->spec.restart_policy;
    return s.n ? s : STR("Always");
}

bool pod_has_running(const struct pod *p)
{
    for (unsigned i = 0; i < p->n_ctrs; i++)
        if (ctr_is_busy(p->ctrs[i]))
            return true;
    return false;
}

int64_t pod_grace_s(const struct pod *p)
{
    const struct api_pod *m = pod_msg(p);
    if (m->metadata.deletion_timestamp.set && m->metadata.has_deletion_grace_period_seconds)
        return node_shutdown_grace_s(p, MAX(m->metadata.deletion_grace_period_seconds, 0));
    return node_shutdown_grace_s(p, m->spec.has_termination_grace_period_seconds
                                        ? m->spec.termination_grace_period_seconds
                                        : GRACE_DEFAULT_S);
}

/* ---- on disk ---- */

int pod_save_object(struct pod *p)
{
    int r = fs_mkdirs(p->dir, 0755);
    if (r == 0)
        r = fs_write_atomic(fs_path("%s/pod.json", p->dir).s, object_json(p->obj), 0600);
    if (r < 0)
        log_error("pod %s/%s: cannot write %s/pod.json: %s", p->ns, p->name, p->dir, strerror(-r));
    return r;
}

void pod_save(struct pod *p)
{
    struct buf b = {0};
    struct jw w = {&b, false};
    if (!fs_exists(fs_path("%s/pod.json", p->dir).s))
        (void)pod_save_object(p);
    jw_open(&w, '{');
    jw_key_i64(&w, "startTime", p->start_time);
    jw_key_bool(&w, "attached", p->attached);
    jw_key_bool(&w, "up", p->was_up);
    jw_key_open(&w, "ips", '[');
    for (size_t i = 0; i < p->n_ips; i++)
        jw_str(&w, p->ips[i]);
    jw_close(&w, ']');
    jw_key_bool(&w, "done", p->sm.state == POD_DONE);
    jw_key_bool(&w, "terminating", p->terminating);
    jw_key_z(&w, "phase", p->end_phase ? p->end_phase : "");
    jw_key_z(&w, "reason", p->end_reason ? p->end_reason : "");
    jw_key_z(&w, "message", p->end_message ? p->end_message : "");
    jw_close(&w, '}');
    int r = record_save(fs_path("%s/sandbox.json", p->dir).s, buf_str(&b));
    if (r < 0)
        log_error("pod %s/%s: cannot write %s/sandbox.json: %s", p->ns, p->name, p->dir,
                  strerror(-r));
    buf_fini(&b);
}

static void load_text(const struct json *v, const char *key, char **to)
{
    struct str s = json_get_str(v, str_z(key));
    free(*to);
    *to = s.n ? str_dup(s) : NULL;
}

int pod_load_sandbox(struct pod *p)
{
    struct arena a = {0};
    struct json *v;
    int r = record_load(fs_path("%s/sandbox.json", p->dir).s, &a, &v);
    if (r == 0) {
        const struct json *m = json_getz(v, "startTime"), *ips = json_getz(v, "ips");
        p->start_time = json_is(m, JSON_INT) ? m->i : 0;
        m = json_getz(v, "attached");
        p->attached = json_is(m, JSON_BOOL) && m->b;
        m = json_getz(v, "up");
        p->was_up = json_is(m, JSON_BOOL) && m->b;
        m = json_getz(v, "terminating");
        p->terminating = json_is(m, JSON_BOOL) && m->b;
        load_text(v, "phase", &p->end_phase);
        load_text(v, "reason", &p->end_reason);
        load_text(v, "message", &p->end_message);
        p->n_ips = 0;
        if (json_is(ips, JSON_ARR))
            json_for_each(ip, ips) if (ip->type == JSON_STR && p->n_ips < NODE_NET_IPS_MAX)
                p->ips[p->n_ips++] = arena_str(&p->ips_arena, ip->s);
        m = json_getz(v, "done");
        r = json_is(m, JSON_BOOL) && m->b;
    }
    arena_fini(&a);
    return r;
}

/* ---- from the API ---- */

static bool same_map(const struct kv_str *a, uint32_t n_a, const struct kv_str *b, uint32_t n_b)
{
    if (n_a != n_b)
        return false;
    for (uint32_t i = 0; i < n_a; i++)
        if (!str_eq(a[i].key, b[i].key) || !str_eq(a[i].value, b[i].value))
            return false;
    return true;
}

/* What the downward API tells to volumes. */
static bool same_words(const struct api_object_meta *a, const struct api_object_meta *b)
{
    return same_map(a->labels, a->n_labels, b->labels, b->n_labels) &&
           same_map(a->annotations, a->n_annotations, b->annotations, b->n_annotations);
}

void pod_update(struct pod *p, struct object *obj)
{
    if (!obj) {
        p->in_api = false;
        sources_unregister(p->node->sources, p);
        pod_kick(p);
        return;
    }
    const struct api_pod *old = pod_msg(p), *new = obj->msg;
    bool save = old->metadata.generation != new->metadata.generation ||
                old->metadata.deletion_timestamp.usec != new->metadata.deletion_timestamp.usec;
    bool volumes = save || !p->in_api || !same_words(&old->metadata, &new->metadata);
    uint32_t ephemeral = p->n_ctrs - p->n_init - p->n_app;
    struct object *before = p->obj;
    p->obj = resize_seen(p, obj);
    object_unref(before);
    p->in_api = true;
    for (uint32_t i = ephemeral; i < new->spec.n_ephemeral_containers; i++)
        add_ctr(p, CTR_EPHEMERAL, i);
    sources_register(p->node->sources, p);
    if (save && p->sm.state != POD_NEW && p->sm.state != POD_REMOVING)
        (void)pod_save_object(p);
    if (volumes)
        volumes_sync(p);
    pod_status_check(p);
    pod_status_dirty(p);
    pod_kick(p);
}

/* ---- termination ---- */

void pod_terminate(struct pod *p, const char *phase, const char *reason, const char *message)
{
    if (p->terminating)
        return;
    p->terminating = true;
    if (phase)
        set_text(&p->end_phase, phase);
    if (reason)
        set_text(&p->end_reason, reason);
    if (message)
        set_text(&p->end_message, message);
    if (p->sm.state != POD_NEW)
        pod_save(p);
    pod_status_dirty(p);
    pod_kick(p);
}

static void check_end(struct pod *p)
{
    const struct api_pod *m = pod_msg(p);
    if (!p->in_api || m->metadata.deletion_timestamp.set) {
        pod_terminate(p, NULL, NULL, NULL);
        return;
    }
    if (!m->spec.has_active_deadline_seconds || !p->start_time || p->terminating)
        return;
    usec_t left = p->start_time + usec_of_s(m->spec.active_deadline_seconds) - rt_wall(p->node->rt);
    if (left <= 0) {
        event_pod(p, EVENT_NORMAL, "DeadlineExceeded",
                  "Pod was active on the node longer than the specified deadline");
        pod_terminate(p, "Failed", "DeadlineExceeded",
                      "Pod was active on the node longer than the specified deadline");
    } else if (!rt_timer_active(&p->timer)) {
        rt_timer_start(&p->timer, nsec_of_usec(left));
    }
}

static void sync_stopping(struct pod *p)
{
    nsec_t now = rt_now(p->node->rt), deadline = now + nsec_of_s(pod_grace_s(p));
    if (!p->grace_set || deadline < p->grace_deadline) {
        p->grace_set = true;
        p->grace_deadline = deadline;
    }
    int64_t left_s = (MAX(p->grace_deadline - now, 0) + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
    bool others = false;
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        struct ctr *c = p->ctrs[i];
        if (c->kind == CTR_SIDECAR && left_s > 0)
            continue;
        char text[200];
        snprintf(text, sizeof(text), "Stopping container %s", c->name);
        ctr_stop(c, left_s, NULL, text, false);
        ctr_stop_tick(c);
        others |= ctr_is_busy(c);
    }
    /* Sidecars serve the others to the end, and each other in the order they came. */
    for (unsigned i = p->n_init; i-- > 0 && !others;) {
        struct ctr *c = p->ctrs[i];
        if (c->kind != CTR_SIDECAR || !ctr_is_busy(c))
            continue;
        char text[200];
        snprintf(text, sizeof(text), "Stopping container %s", c->name);
        ctr_stop(c, left_s, NULL, text, false);
        ctr_stop_tick(c);
        break;
    }
    if (!pod_has_running(p)) {
        sm_move(&p->sm, POD_TEARING_DOWN);
        pod_teardown(p);
    } else if (left_s > 0 && !rt_timer_active(&p->timer)) {
        rt_timer_start_at(&p->timer, p->grace_deadline);
    }
}

/* ---- containers ---- */

static bool wants_restart(const struct ctr *c)
{
    bool failed = c->rec.end.code != 0 || c->stop_for_failure;
    struct str policy = pod_restart_policy(c->pod), own = ctr_spec(c)->restart_policy;
    switch (c->kind) {
    case CTR_SIDECAR:
        return true;
    case CTR_INIT:
        return failed && !str_is(policy, "Never");
    case CTR_APP:
        if (own.n)
            policy = own;
        return str_is(policy, "Always") || (str_is(policy, "OnFailure") && failed);
    case CTR_EPHEMERAL:
        return false;
    }
    return false;
}

static void restart(struct ctr *c)
{
    nsec_t now = rt_now(c->pod->node->rt);
    if (ctr_state(c) == CTR_EXITED && c->not_before > now) {
        int64_t delay = c->rec.backoff_s <= 10    ? 10
                        : c->rec.backoff_s == 300 ? 300
                                                  : c->rec.backoff_s / 2;
        char span[DURATION_TEXT_MAX];
        duration_format(delay * NSEC_PER_SEC, span);
        char *text = xasprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", span,
                               c->name, c->pod->name, c->pod->ns, c->pod->uid);
        event_ctr(c, EVENT_WARNING, "BackOff",
                  "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, c->pod->name,
                  c->pod->ns, c->pod->uid);
        ctr_wait(c, "CrashLoopBackOff", text);
        free(text);
    }
    ctr_want(c);
}

static bool was_initialized(const struct pod *p)
{
    for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++)
        if (p->ctrs[i]->rec.attempt > 0)
            return true;
    return false;
}

/* 1: init is over; 0: not yet; -1: it failed for good. */
static int sync_init(struct pod *p)
{
    bool initialized = was_initialized(p);
    for (unsigned i = 0; i < p->n_init; i++) {
        struct ctr *c = p->ctrs[i];
        if (c->kind == CTR_INIT) {
            if (ctr_succeeded(c) || initialized)
                continue;
            if (ctr_state(c) == CTR_EXITED && !wants_restart(c))
                return -1;
            if (!ctr_is_busy(c))
                restart(c);
            return 0;
        }
        if (!ctr_is_busy(c))
            restart(c);
        if (!initialized && !(ctr_state(c) == CTR_RUNNING && c->started))
            return 0;
    }
    return 1;
}

static void sync_running(struct pod *p)
{
    int init = sync_init(p);
    if (init < 0) {
        pod_terminate(p, "Failed", NULL, NULL);
        return;
    }
    for (unsigned i = p->n_init + p->n_app; i < p->n_ctrs; i++)
        if (ctr_state(p->ctrs[i]) == CTR_WAITING)
            ctr_want(p->ctrs[i]);
    if (init == 0) {
        for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++)
            ctr_prefetch(p->ctrs[i]);
        return;
    }
    unsigned over = 0;
    for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++) {
        struct ctr *c = p->ctrs[i];
        if (ctr_state(c) == CTR_EXITED && !wants_restart(c))
            over++;
        else if (!ctr_is_busy(c))
            restart(c);
        ctr_stop_tick(c);
    }
    for (unsigned i = 0; i < p->n_init; i++)
        ctr_stop_tick(p->ctrs[i]);
    if (over == p->n_app)
        pod_terminate(p, NULL, NULL, NULL);
}

/* ---- the whole ---- */

static void on_deleted(void *arg, const struct client_reply *reply)
{
    char *uid = arg;
    struct node *n = *(struct node **)uid;
    struct pod *p = map_get(&n->pods, str_z(uid + sizeof(n)));
    free(uid);
    node_release(n);
    if (!p)
        return;
    if (reply->r == 0 || reply->r == -ENOENT || reply->r == -ESTALE) {
        p->in_api = false; /* the watch will say so as well */
    } else {
        p->delete_sent = false;
        p->delete_not_before = rt_now(n->rt) + DELETE_RETRY;
    }
    pod_kick(p);
}

static void final_delete(struct pod *p)
{
    struct node *n = p->node;
    nsec_t now = rt_now(n->rt);
    if (p->delete_sent || now < p->delete_not_before) {
        if (!p->delete_sent && !rt_timer_active(&p->timer))
            rt_timer_start_at(&p->timer, p->delete_not_before);
        return;
    }
    p->delete_sent = true;
    struct client_request req = {
        .verb = CLIENT_DELETE,
        .kind = schema_kinds[KIND_POD],
        .ns = str_z(p->ns),
        .name = str_z(p->name),
        .precondition_uid = str_z(p->uid),
        .has_grace_period = true,
        .grace_period_s = 0,
    };
    size_t len = strlen(p->uid) + 1;
    char *arg = xmalloc(sizeof(n) + len);
    node_hold(n);
    memcpy(arg, &n, sizeof(n));
    memcpy(arg + sizeof(n), p->uid, len);
    client_call(n->client, &req, on_deleted, arg);
}

static void sync_done(struct pod *p)
{
    if (!p->in_api) {
        sm_move(&p->sm, POD_REMOVING);
        fence_forget(p);
        pod_remove_dir(p);
        return;
    }
    if (pod_msg(p)->metadata.deletion_timestamp.set && pod_status_settled(p))
        final_delete(p);
}

static bool over_in_api(const struct pod *p)
{
    struct str phase = pod_msg(p)->status.phase;
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static void sync_new(struct pod *p)
{
    if (!p->node->adopted)
        return;
    /* Nothing of it was found on disk. What is over, or to be deleted, never starts here. */
    if (!p->in_api) {
        sm_move(&p->sm, POD_REMOVING);
        pod_remove_dir(p);
    } else if (p->node->shutting_down && !over_in_api(p)) {
        p->terminating = true;
        set_text(&p->end_phase, "Failed");
        set_text(&p->end_reason, "NodeShutdown");
        set_text(&p->end_message, "Pod was rejected as the node is shutting down.");
        sm_move(&p->sm, POD_DONE);
        pod_status_dirty(p);
        pod_kick(p);
    } else if (over_in_api(p) || pod_msg(p)->metadata.deletion_timestamp.set) {
        p->terminating = true;
        p->refused = over_in_api(p); /* what the API says of it stays */
        sm_move(&p->sm, POD_DONE);
        pod_status_dirty(p);
        pod_kick(p);
    } else {
        sm_move(&p->sm, POD_SETTING_UP);
        p->start_time = rt_wall(p->node->rt);
        (void)pod_save_object(p);
        pod_save(p);
        pod_status_dirty(p);
        volumes_sync(p);
        pod_kick(p);
    }
}

/* The agent ends and takes the containers along. The pod stays what it is: the next agent starts it
 * again. */
static void stop_for_shutdown(struct pod *p)
{
    nsec_t left = p->node->stop_deadline - rt_now(p->node->rt);
    int64_t grace_s = MIN(pod_grace_s(p), MAX(left, 0) / NSEC_PER_SEC);
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        if (ctr_state(p->ctrs[i]) == CTR_RUNNING)
            ctr_stop(p->ctrs[i], grace_s, NULL, "Stopping container: the node shuts down", false);
        ctr_stop_tick(p->ctrs[i]);
    }
}

/* The node is cut off and the pod one of a kind: it ends before others may take it for gone. */
static void stop_for_fence(struct pod *p)
{
    int64_t grace_s = fence_grace_s(p);
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        if (ctr_state(p->ctrs[i]) == CTR_RUNNING)
            ctr_stop(p->ctrs[i], grace_s, NULL, "Stopping container: the node is cut off", true);
        ctr_stop_tick(p->ctrs[i]);
    }
}

static void pod_sync(void *arg)
{
    struct pod *p = arg;
    if (p->node->stopping) {
        if (p->node->stop_pods)
            stop_for_shutdown(p);
        return;
    }
    if (p->sm.state != POD_NEW && p->sm.state < POD_TEARING_DOWN)
        check_end(p);
    switch ((enum pod_state)p->sm.state) {
    case POD_NEW:
        sync_new(p);
        break;
    case POD_SETTING_UP:
        if (p->terminating) {
            if (p->working || p->net_busy)
                break; /* its end kicks us */
            sm_move(&p->sm, POD_STOPPING);
            pod_kick(p);
            break;
        }
        if (p->n_init)
            ctr_prefetch(p->ctrs[0]);
        for (unsigned i = p->n_init; i < p->n_init + p->n_app; i++)
            ctr_prefetch(p->ctrs[i]);
        pod_setup_step(p);
        break;
    case POD_RUNNING:
        if (!p->terminating && !fence_allows(p)) {
            stop_for_fence(p);
            break;
        }
        if (p->terminating || resize_sync(p))
            sync_running(p);
        if (p->terminating) {
            sm_move(&p->sm, POD_STOPPING);
            pod_kick(p);
        }
        break;
    case POD_STOPPING:
        sync_stopping(p);
        break;
    case POD_DONE:
        sync_done(p);
        break;
    default:
        break;
    }
}
