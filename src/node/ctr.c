/* The way of one container from "should run" to "runs". ctr_want() looks at the state and starts
 * the next step; each step ends in a callback that moves the state and kicks the pod, so that the
 * pod decides anew what is to be done. */
#include "node/agent.h"

#include "base/mem.h"
#include "node/fence.h"
#include "node/fsutil.h"
#include "node/proc.h"
#include "node/resize.h"
#include "rt/crypto.h"

#define PULL_BACKOFF_MIN   (10 * NSEC_PER_SEC)
#define PULL_BACKOFF_MAX   (300 * NSEC_PER_SEC)
#define CONFIG_BACKOFF_MIN (2 * NSEC_PER_SEC)
#define CONFIG_BACKOFF_MAX (60 * NSEC_PER_SEC)
/* ErrImagePull is shown so long, then ImagePullBackOff. */
#define PULL_ERROR_SHOWN (2 * NSEC_PER_SEC)

const struct sm_state ctr_states[_CTR_STATE_MAX] = {
    [CTR_WAITING] = {"waiting", SM_INITIAL,
                     SM_TO(CTR_PULLING) | SM_TO(CTR_PREPARING) | SM_TO(CTR_WAITING) |
                         SM_TO(CTR_RUNNING) | SM_TO(CTR_STARTING) | SM_TO(CTR_EXITED) |
                         SM_TO(CTR_EXITING)},
    [CTR_PULLING] = {"pulling", 0, SM_TO(CTR_WAITING) | SM_TO(CTR_EXITED)},
    [CTR_PREPARING] = {"preparing", 0,
                       SM_TO(CTR_CREATING) | SM_TO(CTR_WAITING) | SM_TO(CTR_EXITING)},
    [CTR_CREATING] = {"creating", 0, SM_TO(CTR_STARTING) | SM_TO(CTR_EXITING)},
    [CTR_STARTING] = {"starting", 0, SM_TO(CTR_RUNNING) | SM_TO(CTR_EXITING)},
    [CTR_RUNNING] = {"running", 0, SM_TO(CTR_STOPPING) | SM_TO(CTR_EXITING)},
    [CTR_STOPPING] = {"stopping", 0, SM_TO(CTR_EXITING)},
    [CTR_EXITING] = {"exiting", 0, SM_TO(CTR_EXITED)},
    [CTR_EXITED] = {"exited", 0, SM_TO(CTR_WAITING) | SM_TO(CTR_PULLING) | SM_TO(CTR_PREPARING)},
};

static void on_timer(void *arg)
{
    struct ctr *c = arg;
    pod_kick(c->pod);
}

static const struct api_container *spec_at(const struct api_pod *pod, enum ctr_kind kind,
                                           unsigned index)
{
    /* The common part of an ephemeral container has the very fields of a container, in their order.
     */
    static_assert(sizeof(struct api_ephemeral_container_common) == sizeof(struct api_container),
                  "same fields");
    switch (kind) {
    case CTR_INIT:
    case CTR_SIDECAR:
        return index < pod->spec.n_init_containers ? &pod->spec.init_containers[index] : NULL;
    case CTR_APP:
        return index < pod->spec.n_containers ? &pod->spec.containers[index] : NULL;
    case CTR_EPHEMERAL:
        return index < pod->spec.n_ephemeral_containers
                   ? (const struct api_container *)&pod->spec.ephemeral_containers[index]
                         .ephemeral_container_common
                   : NULL;
    }
    return NULL;
}

const struct api_container *ctr_spec(const struct ctr *c)
{
    const struct api_container *s = spec_at(pod_msg(c->pod), c->kind, c->index);
    ASSERT(s); /* lists of containers only grow */
    return s;
}

struct ctr *ctr_new(struct pod *p, enum ctr_kind kind, unsigned index)
{
    struct ctr *c = NEW(struct ctr);
    c->pod = p;
    c->kind = kind;
    c->index = index;
    const struct api_container *s = spec_at(pod_msg(p), kind, index);
    c->name = str_dup(s->name);
    c->dir = xasprintf("%s/c/%s", p->dir, c->name);
    sm_init(&c->sm, ctr_states, _CTR_STATE_MAX, CTR_WAITING, "container",
            hash_fnv1a64(c->dir, strlen(c->dir)));
    rt_timer_init(&c->timer, p->node->rt, on_timer, c);
    return c;
}

struct ctr *ctr_free(struct ctr *c)
{
    if (!c)
        return NULL;
    probes_stop(c);
    action_cancel(c->hook);
    rt_timer_stop(&c->timer);
    if (c->prepare)
        prepare_detach(c->prepare);
    if (c->cleanup)
        cleanup_detach(c->cleanup);
    rt_process_free(c->conmon_watch);
    map_remove(&c->pod->node->ctrs, str_z(c->id));
    image_unref(c->image);
    ctr_record_fini(&c->rec);
    arena_fini(&c->in_force_arena);
    free(c->why);
    free(c->why_message);
    free(c->stop_reason);
    free(c->stop_message);
    free(c->bpf_file);
    free(c->name);
    free(c->dir);
    free(c);
    return NULL;
}

void ctr_move(struct ctr *c, enum ctr_state s)
{
    if (c->sm.state == (int)s)
        return;
    sm_move(&c->sm, s);
    pod_status_dirty(c->pod);
}

struct fs_path ctr_bundle(const struct ctr *c)
{
    return fs_path("%s/%u", c->dir, c->rec.attempt);
}

struct fs_path ctr_log_path(const struct ctr *c, unsigned attempt)
{
    return fs_path("%s/logs/%s/%u.log", c->pod->dir, c->name, attempt ? attempt - 1 : 0);
}

/* The id is derived, so that after our death in the middle of anything it can be derived again. */
void ctr_make_id(struct ctr *c)
{
    struct fs_path text = fs_path("%s/%s/%u", c->pod->uid, c->name, c->rec.attempt);
    char hex[SHA256_HEX + 1];
    sha256_hex_of(str_z(text.s), hex);
    if (c->id[0])
        map_remove(&c->pod->node->ctrs, str_z(c->id));
    memcpy(c->id, hex, 32);
    c->id[32] = 0;
    map_set(&c->pod->node->ctrs, str_z(c->id), c);
}

bool ctr_is_busy(const struct ctr *c)
{
    return ctr_state(c) != CTR_WAITING && ctr_state(c) != CTR_EXITED;
}

bool ctr_succeeded(const struct ctr *c)
{
    return ctr_state(c) == CTR_EXITED && c->rec.end.set && c->rec.end.code == 0;
}

void ctr_wait(struct ctr *c, const char *reason, const char *message)
{
    set_text(&c->why, reason);
    set_text(&c->why_message, message);
    if (ctr_state(c) != CTR_WAITING)
        ctr_move(c, CTR_WAITING);
    pod_status_dirty(c->pod);
}

/* ---- image ---- */

static enum image_pull_policy policy_of(const struct api_container *s)
{
    if (str_is(s->image_pull_policy, "Always"))
        return IMAGE_PULL_ALWAYS;
    return str_is(s->image_pull_policy, "Never") ? IMAGE_PULL_NEVER : IMAGE_PULL_IF_NOT_PRESENT;
}

/* Credentials of the pod's imagePullSecrets; false: not all are known yet. */
static bool gather_auths(struct ctr *c, struct image_auths *auths)
{
    const struct api_pod *pod = pod_msg(c->pod);
    for (uint32_t i = 0; i < pod->spec.n_image_pull_secrets; i++) {
        struct object *o;
        int r = sources_get(c->pod->node->sources, KIND_SECRET, str_z(c->pod->ns),
                            pod->spec.image_pull_secrets[i].name, &o);
        if (r == -EAGAIN)
            return false;
        if (r <= 0) {
            event_ctr(c, EVENT_WARNING, "FailedToRetrieveImagePullSecret",
                      "Unable to retrieve some image pull secrets (%.*s); attempting to pull the "
                      "image may not succeed.",
                      STR_ARG(pod->spec.image_pull_secrets[i].name));
            continue;
        }
        const struct api_secret *s = o->msg;
        const struct str *json = KV_GET(s, data, STR(".dockerconfigjson"));
        const struct str *old = KV_GET(s, data, STR(".dockercfg"));
        if (json)
            (void)!image_auths_add_dockerconfigjson(auths, *json, NULL);
        else if (old)
            (void)!image_auths_add_dockercfg(auths, *old, NULL);
    }
    return true;
}

/* An image_ensure under way outlives its container when that is freed: it finds its way back by uid
 * and name. */
struct pull {
    struct node *node;
    char *uid, *name;
    bool told;
};

static struct ctr *pull_ctr(const struct pull *pull)
{
    struct pod *p = map_get(&pull->node->pods, str_z(pull->uid));
    return p ? pod_find_ctr(p, str_z(pull->name)) : NULL;
}

static void tell_pulling(struct pull *pull)
{
    struct ctr *c = pull->told ? NULL : pull_ctr(pull);
    pull->told = true;
    if (c)
        event_ctr(c, EVENT_NORMAL, "Pulling", "Pulling image \"%.*s\"",
                  STR_ARG(ctr_spec(c)->image));
}

static void on_pull_progress(void *arg, const struct image_progress *progress)
{
    tell_pulling(arg);
}

static void image_failed(struct ctr *c, struct pull *pull, const struct image_result *r)
{
    bool registry = r->failure == IMAGE_FAILURE_REGISTRY_UNAVAILABLE;
    nsec_t now = rt_now(c->pod->node->rt);
    const char *reason = registry ? "ErrImagePull" : image_failure_reason(r->failure);
    struct str message = r->err ? r->err->message : STR("unknown error");
    struct str image = ctr_spec(c)->image;
    c->pull_backoff =
        c->pull_backoff ? MIN(c->pull_backoff * 2, PULL_BACKOFF_MAX) : PULL_BACKOFF_MIN;
    c->not_before = now + c->pull_backoff;
    c->image_failed = r->failure == IMAGE_FAILURE_PULL || registry;
    if (c->image_failed)
        tell_pulling(pull); /* it may have failed before there was any progress */
    event_ctr(c, EVENT_WARNING, "Failed", "Failed to pull image \"%.*s\": %.*s", STR_ARG(image),
              STR_ARG(message));
    event_ctr(c, EVENT_WARNING, "Failed", "Error: %s", reason);
    char *text = xasprintf("%.*s", STR_ARG(message));
    ctr_wait(c, reason, text);
    free(text);
    rt_timer_start(&c->timer, PULL_ERROR_SHOWN);
}

static void on_image(void *arg, const struct image_result *r)
{
    struct pull *pull = arg;
    struct ctr *c = pull_ctr(pull);
    if (c && ctr_state(c) == CTR_PULLING) {
        struct str image = ctr_spec(c)->image;
        if (r->image) {
            image_unref(c->image);
            c->image = image_ref(r->image);
            c->image_fresh = true;
            c->image_failed = false;
            c->pull_backoff = 0;
            c->not_before = 0;
            set_text(&c->rec.image, r->image->ref);
            set_text(&c->rec.image_id, r->image->image_id);
            set_text(&c->rec.stop_signal, r->image->config.stop_signal);
            if (r->pulled)
                event_ctr(c, EVENT_NORMAL, "Pulled",
                          "Successfully pulled image \"%.*s\" in %.3gs. Image size: %llu bytes.",
                          STR_ARG(image), (double)r->took / 1e9,
                          (unsigned long long)r->image->size_bytes);
            else
                event_ctr(c, EVENT_NORMAL, "Pulled",
                          "Container image \"%.*s\" already present on machine", STR_ARG(image));
            ctr_wait(c,
                     pod_msg(c->pod)->spec.n_init_containers ? "PodInitializing"
                                                             : "ContainerCreating",
                     NULL);
        } else {
            image_failed(c, pull, r);
        }
        pod_kick(c->pod);
    }
    node_release(pull->node);
    free(pull->uid);
    free(pull->name);
    free(pull);
}

/* True while there is nothing to do but wait for the image. */
static bool get_image(struct ctr *c)
{
    const struct api_container *s = ctr_spec(c);
    enum image_pull_policy policy = policy_of(s);
    if (c->image && (c->image_fresh || policy != IMAGE_PULL_ALWAYS))
        return false;
    struct image_auths auths = {0};
    if (!gather_auths(c, &auths)) {
        image_auths_fini(&auths);
        return true; /* the sources kick us */
    }
    struct pull *pull = NEW(struct pull);
    pull->node = node_hold(c->pod->node);
    pull->uid = xstrdup(c->pod->uid);
    pull->name = xstrdup(c->name);
    ctr_move(c, CTR_PULLING);
    if (policy == IMAGE_PULL_ALWAYS)
        on_pull_progress(pull, NULL);
    struct fs_path holder = fs_path("%s.%s", c->pod->uid, c->name);
    image_ensure(c->pod->node->images, s->image, policy, &auths, str_z(holder.s), on_pull_progress,
                 on_image, pull);
    image_auths_fini(&auths);
    return true;
}

void ctr_prefetch(struct ctr *c)
{
    if (ctr_state(c) == CTR_WAITING && c->not_before <= rt_now(c->pod->node->rt))
        get_image(c);
}

/* ---- start ---- */

static void attempt_failed(struct ctr *c, const char *message)
{
    event_ctr(c, EVENT_WARNING, "Failed", "Error: %s", message);
    set_text(&c->stop_reason, "StartError");
    set_text(&c->stop_message, message);
    ctr_on_exit(c, 128);
}

static void on_started(void *arg, int r, const char *message)
{
    char *id = arg; /* the attempt it was about: the container may be another one by now, or gone */
    struct node *n = *(struct node **)id;
    struct ctr *c = map_get(&n->ctrs, str_z(id + sizeof(n)));
    free(id);
    node_release(n);
    if (!c || ctr_state(c) != CTR_STARTING)
        return;
    if (r < 0) {
        attempt_failed(c, message);
        return;
    }
    event_ctr(c, EVENT_NORMAL, "Started", "Started container %s", c->name);
    ctr_became_running(c, false);
}

static void start(struct ctr *c)
{
    if (!fence_allows(c->pod)) {
        attempt_failed(c, "the node is cut off");
        return;
    }
    set_text(&c->rec.phase, "starting");
    c->rec.started = rt_wall(c->pod->node->rt);
    ctr_save(c);
    struct node *n = c->pod->node;
    char *arg = xmalloc(sizeof(n) + sizeof(c->id));
    node_hold(n);
    memcpy(arg, &n, sizeof(n));
    memcpy(arg + sizeof(n), c->id, sizeof(c->id));
    runtime_start(&n->runtime, c->id, on_started, arg);
}

void ctr_start_again(struct ctr *c)
{
    ctr_move(c, CTR_STARTING);
    start(c);
}

static void on_created(void *arg, int r, pid_t pid, const char *message)
{
    char *id = arg;
    struct node *n = *(struct node **)id;
    struct ctr *c = map_get(&n->ctrs, str_z(id + sizeof(n)));
    free(id);
    node_release(n);
    if (!c || ctr_state(c) != CTR_CREATING)
        return;
    if (r < 0) {
        attempt_failed(c, message);
        return;
    }
    c->rec.pid = pid;
    c->rec.pid_start = proc_start_time(pid);
    event_ctr(c, EVENT_NORMAL, "Created", "Created container: %s", c->name);
    ctr_move(c, CTR_STARTING);
    ctr_conmon_watch(c);
    ctr_keep_seccomp(c);
    start(c);
}

/* It did not come to be. */
static void undo_attempt(struct ctr *c)
{
    c->rec.attempt--;
    if (c->rec.attempt == 0 || c->rec.last.set) {
        ctr_end_clear(&c->rec.end);
        c->rec.end = c->rec.last;
        c->rec.last = (struct ctr_end){0};
    }
}

static void on_prepared(struct ctr *c, int r, const struct error *err)
{
    nsec_t now = rt_now(c->pod->node->rt);
    if (ctr_state(c) != CTR_PREPARING)
        return;
    if (r < 0) {
        c->config_backoff =
            c->config_backoff ? MIN(c->config_backoff * 2, CONFIG_BACKOFF_MAX) : CONFIG_BACKOFF_MIN;
        c->not_before = now + c->config_backoff;
        char *text = str_dup(err->message);
        if (r != -EAGAIN)
            event_ctr(c, EVENT_WARNING, "Failed", "Error: %s", text);
        undo_attempt(c);
        ctr_wait(c, "CreateContainerConfigError", text);
        free(text);
        pod_kick(c->pod);
        return;
    }
    c->config_backoff = 0;
    if (!fence_allows(c->pod)) {
        undo_attempt(c);
        ctr_wait(c, "ContainerCreating", NULL);
        pod_kick(c->pod);
        return;
    }
    set_text(&c->rec.phase, "creating");
    ctr_save(c);
    ctr_move(c, CTR_CREATING);
    const struct api_container *s = ctr_spec(c);
    struct node *n = c->pod->node;
    struct fs_path bundle = ctr_bundle(c), log = ctr_log_path(c, c->rec.attempt);
    struct runtime_create o = {
        .id = c->id,
        .bundle = bundle.s,
        .log_path = log.s,
        .tty = s->tty,
        .stdin_open = s->stdin,
        .stdin_once = s->stdin_once,
    };
    char *arg = xmalloc(sizeof(n) + sizeof(c->id));
    node_hold(n);
    memcpy(arg, &n, sizeof(n));
    memcpy(arg + sizeof(n), c->id, sizeof(c->id));
    runtime_create(&n->runtime, &o, on_created, arg);
}

static void begin_attempt(struct ctr *c)
{
    struct ctr_record *r = &c->rec;
    if (r->end.set) {
        ctr_end_clear(&r->last);
        r->last = r->end;
        r->end = (struct ctr_end){0};
    }
    r->attempt++;
    r->restarts = r->attempt - 1;
    r->created = rt_wall(c->pod->node->rt);
    r->started = 0;
    r->hooked = r->was_started = r->ready = false;
    r->pid = 0;
    set_text(&r->phase, "preparing");
    c->exit_known = c->oom = c->stop_for_failure = false;
    c->ready = c->started = false;
    c->stop_stage = 0;
    c->image_fresh = false; /* the next attempt asks again */
    set_text(&c->stop_reason, NULL);
    set_text(&c->stop_message, NULL);
    ctr_make_id(c);
    ctr_set_in_force(c, NULL);
    ctr_save(c);
    struct fs_path logs = fs_path("%s/logs/%s", c->pod->dir, c->name);
    (void)!fs_mkdirs(logs.s, 0755);
    ctr_move(c, CTR_PREPARING);
    ctr_prepare(c, on_prepared);
}

void ctr_want(struct ctr *c)
{
    nsec_t now = rt_now(c->pod->node->rt);
    if (ctr_is_busy(c))
        return;
    if (c->not_before > now) {
        if (c->image_failed && c->not_before - now <= c->pull_backoff - PULL_ERROR_SHOWN &&
            c->why && strcmp(c->why, "ErrImagePull") == 0) {
            char *text =
                xasprintf("Back-off pulling image \"%.*s\": ErrImagePull: %s",
                          STR_ARG(ctr_spec(c)->image), c->why_message ? c->why_message : "");
            event_ctr(c, EVENT_NORMAL, "BackOff", "Back-off pulling image \"%.*s\"",
                      STR_ARG(ctr_spec(c)->image));
            event_ctr(c, EVENT_WARNING, "Failed", "Error: ImagePullBackOff");
            ctr_wait(c, "ImagePullBackOff", text);
            free(text);
        }
        if (!rt_timer_active(&c->timer))
            rt_timer_start_at(&c->timer, c->not_before);
        return;
    }
    c->not_before = 0;
    if (get_image(c))
        return;
    begin_attempt(c);
}

/* ---- running ---- */

static void on_post_start(void *arg, enum action_result r, struct str output)
{
    struct ctr *c = arg;
    c->hook = NULL;
    c->hook_running = false;
    c->rec.hooked = true;
    ctr_save(c);
    if (ctr_state(c) != CTR_RUNNING)
        return;
    if (r == ACTION_FAILED || r == ACTION_ERROR) {
        event_ctr(c, EVENT_WARNING, "FailedPostStartHook", "PostStartHook failed: %.*s",
                  STR_ARG(output));
        ctr_stop(c, pod_grace_s(c->pod), NULL, "PostStartHook failed", true);
        return;
    }
    probes_start(c);
    pod_status_dirty(c->pod);
    pod_kick(c->pod);
}

void ctr_became_running(struct ctr *c, bool adopted)
{
    const struct api_container *s = ctr_spec(c);
    c->running_since = rt_now(c->pod->node->rt);
    if (adopted) { /* it has been running for longer: for the reset of back-off */
        usec_t ran = rt_wall(c->pod->node->rt) - c->rec.started;
        c->running_since -= nsec_of_usec(MAX(ran, 0));
        c->ready = c->rec.ready; /* holds until a probe says otherwise */
    }
    set_text(&c->rec.phase, "running");
    ctr_save(c);
    ctr_move(c, CTR_RUNNING);
    int code;
    if (c->exit_known) { /* it was faster than the answer */
        ctr_on_exit(c, c->exit_code);
        return;
    }
    if (runtime_exit_code(&c->pod->node->runtime, c->id, &code)) {
        ctr_on_exit(c, code);
        return;
    }
    const struct api_lifecycle_handler *h = s->lifecycle ? s->lifecycle->post_start : NULL;
    if (h && !c->rec.hooked && !adopted) {
        struct action_opts o = {.exec = h->exec,
                                .http_get = h->http_get,
                                .tcp_socket = h->tcp_socket,
                                .sleep = h->sleep};
        c->hook_running = true;
        c->hook = action_start(c, &o, on_post_start, c);
    } else {
        probes_start(c);
    }
    pod_kick(c->pod);
}
