/* Pods whose resources change while they run (KEP-1287), in three steps that are told apart by what
 * is where:
 *
 *   wanted      the object as the API has it; pod.wanted while it asks for other resources than
 *   allocated   what the node has set aside: the resources in pod.obj, and so in pod.json. All that
 *               is made of a pod's resources (cgroups, the environment, its share of the node) is
 *               made of these, and they outlive the agent
 *   in force    what a running container's cgroup holds: ctr.in_force, kept in its record
 *
 * wanted becomes allocated when the node has room for it (decide), allocated comes into force by
 * cgroups that are written, or by containers that start again (step). Limits of the pod's own
 * cgroup are at any time the larger of both: it grows before its containers and shrinks after them,
 * since the kernel holds a child to less than its parent. Whatever happens between two of these
 * steps, the next look at the three finds what is left to do. */
#include "node/resize.h"

#include "api/amounts.h"
#include "api/pod.h"
#include "base/mem.h"
#include "node/fsutil.h"

#define BACKOFF_MIN (1 * NSEC_PER_SEC)
#define BACKOFF_MAX (60 * NSEC_PER_SEC)

static bool resizable(const struct ctr *c)
{
    return c->kind == CTR_APP || c->kind == CTR_SIDECAR;
}

/* With the limits it has from its pod. */
static struct api_resource_requirements allocated(const struct ctr *c, struct arena *a)
{
    return resources_with_pod(pod_msg(c->pod), &ctr_spec(c)->resources, a);
}

/* ---- in force ---- */

void ctr_set_in_force(struct ctr *c, const struct api_resource_requirements *r)
{
    struct arena a = {0}, old = c->in_force_arena;
    struct api_resource_requirements now = r ? *r : allocated(c, &a);
    c->in_force_arena = (struct arena){0};
    c->in_force = schema_clone(&api_resource_requirements_desc, &now, &c->in_force_arena);
    arena_fini(&old);
    arena_fini(&a);
}

static bool is_in_force(const struct ctr *c)
{
    struct arena a = {0};
    struct api_resource_requirements r = allocated(c, &a);
    bool is = pod_same_resources(&r, c->in_force);
    arena_fini(&a);
    return is;
}

/* ---- allocated ---- */

static bool same_list(const struct api_container *a, const struct api_container *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!pod_same_resources(&a[i].resources, &b[i].resources))
            return false;
    return true;
}

static bool same_spec(const struct api_pod_spec *a, const struct api_pod_spec *b)
{
    return a->n_containers == b->n_containers && a->n_init_containers == b->n_init_containers &&
           pod_same_whole(a->resources, b->resources) &&
           same_list(a->containers, b->containers, a->n_containers) &&
           same_list(a->init_containers, b->init_containers, a->n_init_containers);
}

static struct api_container *with_list(const struct api_container *v,
                                       const struct api_container *from, uint32_t n,
                                       struct arena *a)
{
    struct api_container *r = ARENA_NEW_N(a, struct api_container, n);
    for (uint32_t i = 0; i < n; i++) {
        r[i] = v[i];
        r[i].resources = from[i].resources;
    }
    return r;
}

struct object *resize_seen(struct pod *p, struct object *obj)
{
    const struct api_pod *now = obj->msg, *had = pod_msg(p);
    bool fresh = p->sm.state == POD_NEW; /* nothing is set aside yet */
    bool news = had->metadata.generation != now->metadata.generation || !p->wanted;
    p->wanted = object_unref(p->wanted);
    if (fresh || same_spec(&now->spec, &had->spec) ||
        now->spec.n_containers != had->spec.n_containers ||
        now->spec.n_init_containers != had->spec.n_init_containers) {
        p->pending = NULL;
        return object_ref(obj);
    }
    struct arena a = {0};
    struct api_pod copy = *now;
    copy.spec.containers =
        with_list(now->spec.containers, had->spec.containers, now->spec.n_containers, &a);
    copy.spec.init_containers = with_list(now->spec.init_containers, had->spec.init_containers,
                                          now->spec.n_init_containers, &a);
    copy.spec.resources = had->spec.resources;
    p->wanted = object_ref(obj);
    p->resize_look |= news;
    if (news) { /* what failed was another wish */
        rt_timer_stop(&p->resize_timer);
        p->resize_backoff = 0;
    }
    struct object *r = object_new(obj->kind, &copy, obj->rev);
    arena_fini(&a);
    return r;
}

/* ---- limits of cgroups ---- */

static void limits_of(const struct container_resources *r, struct cgroup_limits *ret)
{
    *ret = (struct cgroup_limits){
        .cpu_shares = cpu_shares_of_milli(r->cpu_request_milli),
        .cpu_quota_us = r->has_cpu_limit ? cpu_quota_of_milli(r->cpu_limit_milli) : 0,
        .cpu_period_us = CPU_PERIOD_US,
        .memory_bytes = r->has_memory_limit ? r->memory_limit_bytes : 0,
    };
}

/* Has a process the limits in force are about, or may have one in a moment. */
static bool holds(const struct ctr *c)
{
    return resizable(c) && c->in_force && ctr_is_busy(c) && ctr_state(c) != CTR_PULLING;
}

static void raise_all(struct amounts *to, const struct kv_quantity *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        amounts_raise(to, v[i].key, &v[i].value);
}

/* What both lists limit, by the larger limit: where one has none there is none. */
static void common_limits(struct amounts *to, const struct api_resource_requirements *a,
                          const struct api_resource_requirements *b)
{
    for (uint32_t i = 0; i < a->n_limits; i++) {
        const struct quantity *q = kv_quantity_get(b->limits, b->n_limits, a->limits[i].key);
        if (q)
            amounts_set(to, a->limits[i].key,
                        quantity_cmp(q, &a->limits[i].value) > 0 ? q : &a->limits[i].value);
    }
}

/* A limit of the pod as a whole: no less than any of its containers is held to; one that is held to
 * nothing yet keeps the pod from having one. */
static void whole_limits(const struct pod *p, struct api_resource_requirements *whole,
                         struct arena *a)
{
    struct amounts limits = {.arena = a};
    for (uint32_t k = 0; k < whole->n_limits; k++) {
        struct quantity most = whole->limits[k].value;
        bool all = true;
        for (unsigned i = 0; i < p->n_init + p->n_app; i++) {
            const struct ctr *c = p->ctrs[i];
            if (!holds(c))
                continue;
            const struct quantity *q =
                kv_quantity_get(c->in_force->limits, c->in_force->n_limits, whole->limits[k].key);
            all &= q != NULL;
            if (q && quantity_cmp(q, &most) > 0)
                most = *q;
        }
        if (all)
            amounts_set(&limits, whole->limits[k].key, &most);
    }
    whole->limits = limits.v;
    whole->n_limits = limits.n;
}

void resize_pod_limits(const struct pod *p, struct cgroup_limits *ret)
{
    struct arena a = {0};
    struct api_pod *m = schema_clone(&api_pod_desc, pod_msg(p), &a);
    struct container_resources r;
    for (unsigned i = 0; i < p->n_init + p->n_app; i++) {
        const struct ctr *c = p->ctrs[i];
        struct api_container *s =
            c->kind == CTR_APP ? &m->spec.containers[c->index] : &m->spec.init_containers[c->index];
        struct amounts requests = {.arena = &a}, limits = {.arena = &a};
        if (!holds(c))
            continue;
        raise_all(&requests, s->resources.requests, s->resources.n_requests);
        raise_all(&requests, c->in_force->requests, c->in_force->n_requests);
        common_limits(&limits, &s->resources, c->in_force);
        s->resources.requests = requests.v;
        s->resources.n_requests = requests.n;
        s->resources.limits = limits.v;
        s->resources.n_limits = limits.n;
    }
    if (m->spec.resources)
        whole_limits(p, m->spec.resources, &a);
    pod_resources(m, &r);
    limits_of(&r, ret);
    arena_fini(&a);
}

static bool less(int64_t have, int64_t need) /* 0: no limit */
{
    return have != 0 && (need == 0 || have < need);
}

static bool must_grow(const struct cgroup_limits *have, const struct cgroup_limits *need)
{
    return less(have->cpu_quota_us, need->cpu_quota_us) ||
           less(have->memory_bytes, need->memory_bytes) || have->cpu_shares < need->cpu_shares;
}

static bool same_limits(const struct cgroup_limits *a, const struct cgroup_limits *b)
{
    return a->cpu_quota_us == b->cpu_quota_us && a->memory_bytes == b->memory_bytes &&
           a->cpu_shares == b->cpu_shares;
}

static void larger(struct cgroup_limits *to, const struct cgroup_limits *l)
{
    to->cpu_shares = MAX(to->cpu_shares, l->cpu_shares);
    to->cpu_quota_us = less(to->cpu_quota_us, l->cpu_quota_us) ? l->cpu_quota_us : to->cpu_quota_us;
    to->memory_bytes = less(to->memory_bytes, l->memory_bytes) ? l->memory_bytes : to->memory_bytes;
}

/* ---- events ---- */

static void summary(const char *list, const struct api_container *v, uint32_t n, bool init,
                    struct buf *b)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!pod_is_resizable(&v[i], init))
            continue;
        buf_printf(b, any ? "," : "\"%s\":[", list);
        any = true;
        buf_printf(b, "{\"name\":\"%.*s\",\"resources\":", STR_ARG(v[i].name));
        schema_encode_json(&api_resource_requirements_desc, &v[i].resources, 0, b);
        buf_add_char(b, '}');
    }
    if (any)
        buf_add_lit(b, "],");
}

static void tell(struct pod *p, const struct api_pod *m, const char *type, const char *reason,
                 const char *words, const char *error)
{
    struct buf b = {0};
    buf_add_char(&b, '{');
    if (m->spec.resources) {
        buf_add_lit(&b, "\"resources\":");
        schema_encode_json(&api_resource_requirements_desc, m->spec.resources, 0, &b);
        buf_add_char(&b, ',');
    }
    summary("initContainers", m->spec.init_containers, m->spec.n_init_containers, true, &b);
    summary("containers", m->spec.containers, m->spec.n_containers, false, &b);
    buf_printf(&b, "\"generation\":%lld", (long long)m->metadata.generation);
    if (error) {
        buf_add_lit(&b, ",\"error\":");
        json_print_str(str_z(error), &b);
    }
    buf_add_char(&b, '}');
    event_pod(p, type, reason, "%s: %.*s", words, STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

/* ---- is there room? ---- */

static void asks(const struct api_pod *m, int64_t *ret_milli, int64_t *ret_bytes)
{
    struct arena a = {0};
    struct amounts sum = {.arena = &a};
    pod_amounts(&m->spec, false, &sum);
    const struct quantity *cpu = amounts_get(&sum, STR("cpu")),
                          *memory = amounts_get(&sum, STR("memory"));
    *ret_milli = cpu ? quantity_milli(cpu) : 0;
    *ret_bytes = memory ? quantity_value(memory) : 0;
    arena_fini(&a);
}

static void used_by_others(const struct pod *p, int64_t *ret_milli, int64_t *ret_bytes)
{
    *ret_milli = *ret_bytes = 0;
    for (struct map_slot *e = NULL; (e = map_next(&p->node->pods, e));) {
        const struct pod *o = e->value;
        int64_t milli, bytes;
        if (o == p || o->refused || o->sm.state >= POD_DONE)
            continue;
        asks(pod_msg(o), &milli, &bytes);
        *ret_milli += milli;
        *ret_bytes += bytes;
    }
}

/* "Infeasible" or "Deferred" with *ret_text (allocated), or NULL: it fits. */
static const char *obstacle(const struct pod *p, char **ret_text)
{
    const struct node *n = p->node;
    int64_t milli, bytes, had_milli, had_bytes, used_milli, used_bytes;
    asks(p->wanted->msg, &milli, &bytes);
    asks(pod_msg(p), &had_milli, &had_bytes);
    if (milli > n->alloc_milli_cpu || bytes > n->alloc_memory_bytes) {
        bool cpu = milli > n->alloc_milli_cpu;
        *ret_text =
            xasprintf("Node didn't have enough capacity: %s, requested: %lld, capacity: %lld",
                      cpu ? "cpu" : "memory", (long long)(cpu ? milli : bytes),
                      (long long)(cpu ? n->alloc_milli_cpu : n->alloc_memory_bytes));
        return "Infeasible";
    }
    used_by_others(p, &used_milli, &used_bytes);
    /* What does not grow always fits. */
    bool cpu = milli > had_milli && milli > n->alloc_milli_cpu - used_milli;
    bool memory = bytes > had_bytes && bytes > n->alloc_memory_bytes - used_bytes;
    if (!cpu && !memory)
        return NULL;
    *ret_text = xasprintf(
        "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld",
        cpu ? "cpu" : "memory", (long long)(cpu ? milli : bytes),
        (long long)(cpu ? used_milli : used_bytes),
        (long long)(cpu ? n->alloc_milli_cpu : n->alloc_memory_bytes));
    return "Deferred";
}

static void later(struct pod *p)
{
    p->resize_backoff = p->resize_backoff ? MIN(p->resize_backoff * 2, BACKOFF_MAX) : BACKOFF_MIN;
    rt_timer_start(&p->resize_timer, p->resize_backoff);
}

static void allocate(struct pod *p)
{
    struct object *before = p->obj;
    p->obj = p->wanted;
    int r = pod_save_object(p);
    if (r < 0) { /* what is not on disk would be forgotten: it is not set aside */
        p->obj = before;
        p->pending = "Deferred";
        char *text = xasprintf("The allocation cannot be recorded: %s", strerror(-r));
        set_text(&p->pending_message, text);
        free(text);
        later(p);
        return;
    }
    object_unref(before);
    p->wanted = NULL;
    p->pending = NULL;
    p->resizing = true;
    p->resize_settled = false;
    p->resize_backoff = 0;
    rt_timer_stop(&p->resize_timer);
    set_text(&p->resize_error, NULL);
    tell(p, pod_msg(p), EVENT_NORMAL, "ResizeStarted", "Pod resize started", NULL);
    volumes_sync(p); /* the downward API tells of resources */
    resize_room(p->node);
}

static void decide(struct pod *p)
{
    char *text = NULL;
    p->resize_look = false;
    const char *why = obstacle(p, &text);
    if (!why) {
        allocate(p);
    } else if (!p->pending || strcmp(p->pending, why) != 0 || !p->pending_message ||
               strcmp(p->pending_message, text) != 0) {
        bool deferred = strcmp(why, "Deferred") == 0;
        p->pending = why;
        set_text(&p->pending_message, text);
        tell(p, p->wanted->msg, EVENT_WARNING, deferred ? "ResizeDeferred" : "ResizeInfeasible",
             deferred ? "Pod resize Deferred" : "Pod resize Infeasible", text);
    }
    free(text);
    pod_status_dirty(p);
}

void resize_room(struct node *n)
{
    for (struct map_slot *e = NULL; (e = map_next(&n->pods, e));) {
        struct pod *p = e->value;
        if (!p->wanted)
            continue;
        p->resize_look = true;
        pod_kick(p);
    }
}

/* ---- into force ---- */

struct target {             /* one cgroup */
    char *path, *id, *name; /* of a container; id and name NULL: the pod's own */
    struct cgroup_limits limits;
    bool shrinks; /* its memory */
    int r;
};

struct resize_job {
    struct rt_work work;
    struct node *node;
    struct object *obj; /* the allocation it is about */
    char *uid;
    struct cgroups cgroups;
    struct target *v;
    unsigned n;
    char *error; /* owned; NULL: all is done */
};

static struct resize_job *job_new(struct pod *p)
{
    struct resize_job *j = NEW(struct resize_job);
    j->node = node_hold(p->node);
    j->obj = object_ref(p->obj);
    j->uid = xstrdup(p->uid);
    j->cgroups = p->node->cgroups;
    j->v = xcalloc(p->n_ctrs + 1, sizeof(*j->v));
    return j;
}

static void job_free(struct resize_job *j)
{
    for (unsigned i = 0; i < j->n; i++) {
        free(j->v[i].path);
        free(j->v[i].id);
        free(j->v[i].name);
    }
    object_unref(j->obj);
    node_release(j->node);
    free(j->uid);
    free(j->error);
    free(j->v);
    free(j);
}

/* A kernel that is given less memory than is in use kills (v2) or refuses (v1). */
static bool fits_usage(struct resize_job *j, const struct target *t)
{
    struct cgroup_usage u;
    if (!t->shrinks || t->limits.memory_bytes <= 0 ||
        cgroup_read_usage(&j->cgroups, t->path, &u) < 0 ||
        u.working_set_bytes <= (uint64_t)t->limits.memory_bytes)
        return true;
    j->error = t->id ? xasprintf("attempting to set container %s memory limit (%lld) below current "
                                 "usage (%llu)",
                                 t->name, (long long)t->limits.memory_bytes,
                                 (unsigned long long)u.working_set_bytes)
                     : xasprintf("attempting to set pod memory limit (%lld) below current usage "
                                 "(%llu)",
                                 (long long)t->limits.memory_bytes,
                                 (unsigned long long)u.working_set_bytes);
    return false;
}

static void job_work(void *arg)
{
    struct resize_job *j = arg;
    for (unsigned i = 0; i < j->n; i++) {
        j->v[i].r = -ECANCELED;
        if (!j->error)
            (void)fits_usage(j, &j->v[i]);
    }
    for (unsigned i = 0; i < j->n && !j->error; i++) {
        struct target *t = &j->v[i];
        t->r = cgroup_update(&j->cgroups, t->path, &t->limits);
        if (t->r < 0)
            j->error = t->id
                           ? xasprintf("cannot update the cgroup of container %s: %s", t->name,
                                       strerror(-t->r))
                           : xasprintf("cannot update the cgroup of the pod: %s", strerror(-t->r));
    }
}

static void took_force(struct resize_job *j, const struct target *t)
{
    struct ctr *c = map_get(&j->node->ctrs, str_z(t->id));
    const struct api_pod *m = j->obj->msg;
    if (!c || !c->in_force || !ctr_is_busy(c))
        return; /* it has ended meanwhile */
    struct arena a = {0};
    struct api_resource_requirements r =
        resources_with_pod(m,
                           c->kind == CTR_APP ? &m->spec.containers[c->index].resources
                                              : &m->spec.init_containers[c->index].resources,
                           &a);
    ctr_set_in_force(c, &r);
    ctr_save(c);
    arena_fini(&a);
}

static void job_done(void *arg)
{
    struct resize_job *j = arg;
    struct pod *p = map_get(&j->node->pods, str_z(j->uid));
    for (unsigned i = 0; p && i < j->n; i++) {
        const struct target *t = &j->v[i];
        if (t->r == 0 && t->id)
            took_force(j, t);
        else if (t->r == 0)
            p->limits = t->limits;
    }
    if (p) {
        p->resize_busy = false;
        if (!j->error) {
            p->resize_backoff = 0;
            set_text(&p->resize_error, NULL);
        } else if (p->obj == j->obj ||
                   same_spec(&pod_msg(p)->spec, &OBJECT_MSG(j->obj, api_pod)->spec)) {
            if (!p->resize_error || strcmp(p->resize_error, j->error) != 0)
                tell(p, pod_msg(p), EVENT_WARNING, "ResizeError", "Pod resize error", j->error);
            set_text(&p->resize_error, j->error);
            p->resizing = true;
            later(p);
        }
        pod_status_dirty(p);
        pod_kick(p);
    }
    job_free(j);
}

static void job_run(struct pod *p, struct resize_job *j)
{
    p->resize_busy = true;
    rt_work(p->node->rt, &j->work, RT_WORK_SHORT, job_work, job_done, j);
}

static void run_pod(struct pod *p, const struct cgroup_limits *l)
{
    struct resize_job *j = job_new(p);
    j->v[j->n++] = (struct target){.path = xstrdup(p->cgroup),
                                   .limits = *l,
                                   .shrinks = less(l->memory_bytes, p->limits.memory_bytes)};
    job_run(p, j);
}

static void add_target(struct resize_job *j, const struct ctr *c)
{
    struct container_resources now, had;
    struct api_container before = {.resources = *c->in_force};
    struct target *t = &j->v[j->n++];
    container_resources(pod_msg(c->pod), ctr_spec(c), &now);
    container_resources(NULL, &before, &had);
    *t = (struct target){
        .path = xasprintf("%s/%s", c->pod->cgroup, c->id),
        .id = xstrdup(c->id),
        .name = xstrdup(c->name),
    };
    limits_of(&now, &t->limits);
    t->shrinks = now.has_memory_limit &&
                 (!had.has_memory_limit || now.memory_limit_bytes < had.memory_limit_bytes);
}

static bool must_restart(const struct ctr *c)
{
    const struct api_container *s = ctr_spec(c);
    struct arena a = {0};
    bool must = false;
    struct str policy = s->restart_policy.n ? s->restart_policy : pod_restart_policy(c->pod);
    if (str_is(policy, "Never")) /* it would not come back */
        return false;
    struct api_resource_requirements now = allocated(c, &a);
    for (uint32_t i = 0; i < s->n_resize_policy; i++) {
        const struct api_container_resize_policy *r = &s->resize_policy[i];
        if (!str_is(r->restart_policy, "RestartContainer"))
            continue;
        bool cpu = str_is(r->resource_name, "cpu"), memory = str_is(r->resource_name, "memory");
        must |= (cpu && !pod_same_resource(&now, c->in_force, "cpu")) ||
                (memory && !pod_same_resource(&now, c->in_force, "memory"));
    }
    arena_fini(&a);
    return must;
}

static void start_again(struct ctr *c)
{
    char text[320];
    snprintf(text, sizeof(text), "Container %s resize requires restart", c->name);
    c->rec.backoff_s = 0; /* it has not failed */
    ctr_stop(c, pod_grace_s(c->pod), NULL, text, true);
}

static void finish(struct pod *p)
{
    p->resize_settled = true;
    if (!p->resizing)
        return;
    p->resizing = false;
    set_text(&p->resize_error, NULL);
    tell(p, pod_msg(p), EVENT_NORMAL, "ResizeCompleted", "Pod resize completed", NULL);
    pod_status_dirty(p);
}

/* The containers' turn: true while some are not there yet. */
static bool step_containers(struct pod *p)
{
    struct resize_job *j = NULL;
    bool waits = false;
    for (unsigned i = 0; i < p->n_init + p->n_app; i++) {
        struct ctr *c = p->ctrs[i];
        if (!holds(c) || is_in_force(c))
            continue;
        waits = true;
        if (ctr_state(c) != CTR_RUNNING)
            continue; /* when it runs, or has ended */
        if (must_restart(c)) {
            start_again(c);
            continue;
        }
        if (!j)
            j = job_new(p);
        add_target(j, c);
    }
    if (waits && !p->resizing) {
        p->resizing = true;
        pod_status_dirty(p);
    }
    if (j)
        job_run(p, j);
    return waits;
}

static void step(struct pod *p)
{
    struct cgroup_limits need;
    if (p->resize_busy || rt_timer_active(&p->resize_timer))
        return;
    resize_pod_limits(p, &need);
    if (must_grow(&p->limits, &need)) {
        larger(&need, &p->limits);
        run_pod(p, &need);
        return;
    }
    if (step_containers(p))
        return;
    if (same_limits(&p->limits, &need))
        finish(p);
    else
        run_pod(p, &need);
}

static bool told_in_progress(const struct pod *p)
{
    const struct api_pod_status *s = &pod_msg(p)->status;
    for (uint32_t i = 0; i < s->n_conditions; i++)
        if (str_is(s->conditions[i].type, "PodResizeInProgress"))
            return true;
    return false;
}

bool resize_sync(struct pod *p)
{
    struct cgroup_limits need;
    if (!p->resize_known) { /* a former agent may have left something */
        p->resize_known = true;
        p->resizing |= told_in_progress(p);
        p->resize_look |= p->wanted != NULL;
    }
    if (p->wanted && p->resize_look && !rt_timer_active(&p->resize_timer))
        decide(p);
    if (p->resize_settled)
        return true;
    step(p);
    resize_pod_limits(p, &need);
    return !must_grow(&p->limits, &need);
}

static void on_timer(void *arg)
{
    struct pod *p = arg;
    p->resize_look |= p->wanted != NULL;
    pod_kick(p);
}

void resize_init(struct pod *p)
{
    rt_timer_init(&p->resize_timer, p->node->rt, on_timer, p);
}

void resize_fini(struct pod *p)
{
    rt_timer_stop(&p->resize_timer);
    p->wanted = object_unref(p->wanted);
    free(p->pending_message);
    free(p->resize_error);
}
