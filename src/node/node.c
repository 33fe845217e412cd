/* The agent as a whole: put together, started, stopped. What it owns is drawn in agent.h. */
#include "node/agent.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fence.h"
#include "node/fsutil.h"
#include "node/places.h"

#define GC_PERIOD   (300 * NSEC_PER_SEC)
#define GC_FIRST    (20 * NSEC_PER_SEC)
#define STOP_CHECK  (50 * NSEC_PER_MSEC)
#define UID_LEN_MAX 64

/* Of pods that start while the server is away, for what it would say: a little longer than caches
 * have until they read their files. */
#define PATIENCE (4 * NSEC_PER_SEC)

/* ---- making ---- */

static const char *copy(struct node *n, const char *s)
{
    return s ? arena_cstr(&n->strings, str_z(s)) : NULL;
}

static const char *const *copy_list(struct node *n, const char *const *v, size_t count)
{
    const char **r = ARENA_NEW_N(&n->strings, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        r[i] = copy(n, v[i]);
    return r;
}

static void copy_opts(struct node *n, const struct node_opts *o)
{
    n->opts = *o;
    struct node_opts *c = &n->opts;
    c->data_dir = copy(n, o->data_dir);
    c->node_name = copy(n, o->node_name);
    c->pod_cidr = copy(n, o->pod_cidr);
    for (size_t i = 0; i < o->n_addresses; i++)
        c->addresses[i] = arena_str(&n->strings, o->addresses[i]);
    c->api_listen_host = copy(n, o->api_listen_host);
    c->api_client_names = copy_list(n, o->api_client_names, o->n_api_client_names);
    c->labels = copy_list(n, o->labels, o->n_labels);
    c->taints = copy_list(n, o->taints, o->n_taints);
    c->crun = copy(n, o->crun);
    c->conmon = copy(n, o->conmon);
    c->service_host = copy(n, o->service_host);
    c->resolv_conf = copy(n, o->resolv_conf);
    if (!c->pods_max)
        c->pods_max = PODS_MAX_DEFAULT;
    if (!c->log_bytes_max)
        c->log_bytes_max = LOG_BYTES_MAX_DEFAULT;
    if (!c->log_files_max)
        c->log_files_max = LOG_FILES_MAX_DEFAULT;
    if (c->api_tls)
        c->api_tls = rt_tls_server_ref(c->api_tls);
}

static int make_dirs(struct node *n, struct error *err)
{
    struct fs_path scratch = fs_path("%s/x", n->run_dir);
    (void)!fs_rm_rf(scratch.s); /* execs of a former life */
    const struct {
        const char *path;
        mode_t mode;
    } dirs[] = {{n->dir, 0755}, {n->pods_dir, 0755}, {n->run_dir, 0700}, {scratch.s, 0700}};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int r = fs_mkdirs(dirs[i].path, dirs[i].mode);
        if (r < 0)
            return error_errno(err, -r, "cannot make %s", dirs[i].path);
    }
    int r = places_make(n->dir);
    return r < 0 ? error_errno(err, -r, "cannot make %s/places", n->dir) : 0;
}

static void on_gc(void *arg);
static void on_stop_check(void *arg);
static void on_patience(void *arg);

struct node *node_new(const struct node_opts *o, struct error *err)
{
    struct node *n = NEW(struct node);
    char inst[HOST_INSTANCE_LEN + 1];
    ASSERT(o->data_dir[0] == '/' && o->n_addresses <= NODE_ADDRESSES_MAX);
    n->rt = o->rt;
    n->client = o->client;
    n->images = o->images;
    copy_opts(n, o);
    n->runtime.inotify_fd = -1;
    n->name = xstrdup(o->node_name);
    n->dir = xasprintf("%s/node", o->data_dir);
    (void)!fs_mkdirs(n->dir, 0755); /* the instance is named by its real path */
    host_instance(o->data_dir, inst);
    n->run_dir = xasprintf(HOST_RUN_ROOT "/%s", inst);
    n->pods_dir = xasprintf("%s/pods", n->dir);
    n->holder_path = xasprintf("%s/holder", n->dir);
    n->host_ip = n->opts.n_addresses ? n->opts.addresses[0] : STR("");
    rt_timer_init(&n->gc_timer, n->rt, on_gc, n);
    conntrack_watch_init(n);
    rt_timer_init(&n->stop_timer, n->rt, on_stop_check, n);
    rt_timer_init(&n->shutdown_timer, n->rt, node_shutdown_tick, n);
    rt_timer_init(&n->patience, n->rt, on_patience, n);
    n->sources = sources_new(n);
    n->events = events_new(n);
    node_read_machine(n);
    int r = make_dirs(n, err);
    if (r == 0)
        r = cgroups_init(&n->cgroups, n->opts.data_dir, err);
    if (r == 0)
        r = runtime_init(&n->runtime, n->rt, n->run_dir, n->opts.crun, n->opts.conmon, err);
    if (r == 0)
        r = sandbox_install_holder(n->holder_path, err);
    if (r == 0)
        r = fence_new(n, n->opts.fence, &n->fence, err);
    if (r < 0)
        return node_free(n);
    n->reg = registration_new(n);
    return n;
}

static void caches_free(struct node *n)
{
    client_cache_free(n->pods_cache);
    if (n->services_own)
        client_cache_free(n->services_cache);
    n->pods_cache = n->services_cache = NULL;
}

struct node *node_free(struct node *n)
{
    if (!n)
        return NULL;
    n->api = node_api_free(n->api);
    logs_stop(n);
    rt_timer_stop(&n->gc_timer);
    conntrack_watch_stop(n);
    rt_timer_stop(&n->stop_timer);
    rt_timer_stop(&n->shutdown_timer);
    rt_timer_stop(&n->patience);
    sources_closing(n->sources);
    while (n->pods.n)
        pod_free(map_next(&n->pods, NULL)->value);
    caches_free(n);
    n->sources = sources_free(n->sources);
    n->events = events_free(n->events);
    n->reg = registration_free(n->reg);
    n->fence = fence_free(n->fence);
    runtime_fini(&n->runtime);
    map_fini(&n->pods);
    map_fini(&n->ctrs);
    rt_tls_server_unref(n->opts.api_tls);
    char *owned[] = {n->name, n->dir, n->run_dir, n->pods_dir, n->holder_path};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    arena_fini(&n->strings);
    unsigned refs = n->refs;
    *n = (struct node){.rt = n->rt, .gone = true, .refs = refs};
    if (refs == 0)
        free(n);
    return NULL;
}

/* ---- events from below and above ---- */

static void on_exit_file(void *arg, struct str id, int code)
{
    struct node *n = arg;
    struct ctr *c = map_get(&n->ctrs, id);
    if (c)
        ctr_on_exit(c, code);
}

/* Uids and names become parts of paths: nothing else than what they may hold is taken, whoever says
 * it. */
static bool names_ok(const struct object *o)
{
    struct str uid = object_meta(o)->uid;
    const struct api_pod *m = o->msg;
    bool ok = uid.n > 0 && uid.n <= UID_LEN_MAX && m->metadata.name.n <= 253 &&
              m->metadata.namespace.n <= 253;
    for (size_t i = 0; i < uid.n; i++)
        ok &= (uid.p[i] >= '0' && uid.p[i] <= '9') || (uid.p[i] >= 'a' && uid.p[i] <= 'z') ||
              (uid.p[i] >= 'A' && uid.p[i] <= 'Z') || uid.p[i] == '-';
    for (int k = 0; k < 2; k++) {
        const struct api_container *v = k ? m->spec.init_containers : m->spec.containers;
        uint32_t n = k ? m->spec.n_init_containers : m->spec.n_containers;
        for (uint32_t i = 0; i < n; i++)
            ok &= v[i].name.n > 0 && v[i].name.n <= 63 && str_find(v[i].name, '/') < 0 &&
                  v[i].name.p[0] != '.';
    }
    for (uint32_t i = 0; i < m->spec.n_volumes; i++)
        ok &= m->spec.volumes[i].name.n > 0 && m->spec.volumes[i].name.n <= 63 &&
              str_find(m->spec.volumes[i].name, '/') < 0 && m->spec.volumes[i].name.p[0] != '.';
    return ok;
}

static void on_pod(void *arg, struct object *old, struct object *new)
{
    struct node *n = arg;
    if (old && (!new || !str_eq(object_meta(old)->uid, object_meta(new)->uid))) {
        struct pod *p = map_get(&n->pods, object_meta(old)->uid);
        if (p)
            pod_update(p, NULL);
    }
    if (!new)
        return;
    struct pod *p = map_get(&n->pods, object_meta(new)->uid);
    if (p) {
        pod_update(p, new);
    } else if (names_ok(new)) {
        pod_kick(pod_new(n, new, true));
    } else {
        log_warn("pod %.*s/%.*s: refused: its uid or a name in it is not well formed",
                 STR_ARG(object_ns(new)), STR_ARG(object_name(new)));
    }
}

/* The first full list is in: what we run and it does not hold is gone. */
static void on_pods_synced(void *arg)
{
    struct node *n = arg;
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        struct pod *p = s->value;
        struct object *o = client_cache_get(n->pods_cache, str_z(p->ns), str_z(p->name));
        if (!o || !str_eqz(object_meta(o)->uid, p->uid))
            pod_update(p, NULL);
    }
}

static void kick_all(struct node *n)
{
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));)
        pod_kick(s->value);
}

static void on_services_synced(void *arg)
{
    kick_all(arg);
}

bool node_server_away(const struct node *n)
{
    return n->waited && n->pods_cache && !client_cache_synced(n->pods_cache);
}

static void on_patience(void *arg)
{
    struct node *n = arg;
    n->waited = true;
    if (!node_server_away(n))
        return;
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));)
        volumes_sync(s->value);
    kick_all(n);
}

static struct client_cache *make_cache(struct node *n, int kind, const char *field_selector)
{
    struct client_cache_opts o = {.kind = schema_kinds[kind],
                                  .field_selector = str_z(field_selector)};
    return client_cache_new(n->client, &o);
}

/* Pins of containers that are no more were left if we died at the wrong moment. */
static void retain_pins(struct node *n)
{
    struct arena a = {0};
    size_t count = 0, cap = 0;
    struct str *v = NULL;
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        const struct pod *p = s->value;
        for (unsigned i = 0; i < p->n_ctrs; i++) {
            ARRAY_RESERVE(v, count, cap);
            v[count++] = arena_printf(&a, "%s.%s", p->uid, p->ctrs[i]->name);
        }
    }
    image_pins_retain(n->images, v, count);
    free(v);
    arena_fini(&a);
}

void node_start(struct node *n)
{
    struct error err = {0};
    n->started = true;
    if (runtime_watch_exits(&n->runtime, on_exit_file, n, &err) < 0)
        log_error("%.*s", STR_ARG(err.message));
    error_clear(&err);
    if (n->opts.api_tls && node_api_start(n, &err) < 0)
        log_error("the node's API is not served: %.*s", STR_ARG(err.message));
    error_fini(&err);
    node_adopt_disk(n);
    sources_sweep(n->sources);
    if (n->images)
        retain_pins(n);
    n->adopted = true;
    char selector[300];
    snprintf(selector, sizeof(selector), "spec.nodeName=%s", n->name);
    n->pods_cache = make_cache(n, KIND_POD, selector);
    n->services_cache = n->opts.net_ops && n->opts.net_ops->services
                            ? n->opts.net_ops->services(n->opts.net)
                            : NULL;
    n->services_own = !n->services_cache;
    if (n->services_own)
        n->services_cache = make_cache(n, KIND_SERVICE, NULL);
    rt_timer_start(&n->patience, PATIENCE);
    client_cache_on_change(n->pods_cache, on_pod, n);
    client_cache_on_synced(n->pods_cache, on_pods_synced, n);
    client_cache_on_synced(n->services_cache, on_services_synced, n);
    if (n->services_own)
        client_cache_start(n->services_cache);
    client_cache_start(n->pods_cache);
    registration_start(n->reg);
    logs_start(n);
    rt_timer_start(&n->gc_timer, GC_FIRST);
    conntrack_watch_start(n);
}

/* ---- garbage ---- */

struct gc {
    struct node *node;
    struct arena arena;
    struct str *uids;
    size_t n;
    struct cgroups cgroups;
    bool run;
    struct image_store *images;
    struct image_gc_result result;
};

static int gc_cgroup(void *arg, const char *name, unsigned char type)
{
    struct gc *g = arg;
    struct str uid = str_z(name);
    if (!str_starts(uid, STR("pod")))
        return 0;
    uid = str_sub(uid, 3, uid.n);
    for (size_t i = 0; i < g->n; i++)
        if (str_eq(uid, g->uids[i]))
            return 0;
    (void)!cgroup_destroy(&g->cgroups, fs_path("%s/%s", g->cgroups.parent, name).s);
    return 0;
}

static void gc_work(void *arg)
{
    struct gc *g = arg;
    bool v2 = g->cgroups.layout == CGROUP_LAYOUT_V2;
    (void)!fs_each(fs_path("/sys/fs/cgroup%s%s", v2 ? "" : "/pids", g->cgroups.parent).s, gc_cgroup,
                   g);
    struct image_gc_opts o = {0};
    struct error err = {0};
    if (g->images && image_gc(g->images, &o, &g->result, &err) < 0)
        log_warn("image garbage collection: %.*s", STR_ARG(err.message));
    error_fini(&err);
}

static void gc_done(void *arg)
{
    struct gc *g = arg;
    struct node *n = g->node;
    n->gc_running = false;
    if (g->result.removed)
        log_info("removed %u images, %llu MB freed", g->result.removed,
                 (unsigned long long)g->result.freed_bytes >> 20);
    if (g->result.short_of_space)
        event_node(n, EVENT_WARNING, "FreeDiskSpaceFailed",
                   "the disk is %u%% full and no image can be removed", g->result.used_percent);
    arena_fini(&g->arena);
    free(g);
    if (!n->stopping)
        rt_timer_start(&n->gc_timer, GC_PERIOD);
}

static void on_gc(void *arg)
{
    struct node *n = arg;
    if (n->gc_running || n->stopping)
        return;
    struct gc *g = NEW(struct gc);
    g->node = n;
    g->cgroups = n->cgroups;
    g->images = n->images;
    g->uids = ARENA_NEW_N(&g->arena, struct str, n->pods.n + 1);
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));)
        g->uids[g->n++] = arena_strz(&g->arena, ((struct pod *)s->value)->uid);
    n->gc_running = true;
    n->gc_work = (struct rt_work){0};
    rt_work(n->rt, &n->gc_work, RT_WORK_LONG, gc_work, gc_done, g);
}

/* ---- stopping ---- */

static bool all_quiet(struct node *n)
{
    bool quiet = !n->gc_running;
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        const struct pod *p = s->value;
        quiet &= !p->working && !p->net_busy && !(n->stop_pods && pod_has_running(p));
    }
    return quiet;
}

static void on_stop_check(void *arg)
{
    struct node *n = arg;
    if (n->stop_pods)
        kick_all(n);
    if (!all_quiet(n)) {
        rt_timer_start(&n->stop_timer, STOP_CHECK);
        return;
    }
    if (n->on_stopped)
        n->on_stopped(n->stop_arg);
}

void node_stop(struct node *n, bool stop_pods, int64_t grace_max_s, void (*on_stopped)(void *arg),
               void *arg)
{
    n->stopping = true;
    n->stop_pods = stop_pods;
    n->stop_deadline = rt_now(n->rt) + nsec_of_s(grace_max_s > 0 ? grace_max_s : 30);
    n->on_stopped = on_stopped;
    n->stop_arg = arg;
    registration_stop(n->reg);
    n->api = node_api_free(n->api);
    caches_free(n);
    rt_timer_start(&n->stop_timer, 0);
}

uint16_t node_api_port(const struct node *n)
{
    return n->api ? node_api_listen_port(n->api) : 0;
}

void node_dump(const struct node *n, struct buf *out)
{
    buf_printf(out, "node %s: %zu pods\n", n->name, n->pods.n);
    for (struct map_slot *s = NULL; (s = map_next(&n->pods, s));) {
        const struct pod *p = s->value;
        buf_printf(out,
                   "pod %s/%s %s state=%s setup=%d in_api=%d terminating=%d working=%d net_busy=%d "
                   "volumes=%s%s\n",
                   p->ns, p->name, p->uid, sm_name(&p->sm), p->setup, p->in_api, p->terminating,
                   p->working, p->net_busy,
                   volumes_ready((struct pod *)(uintptr_t)p) > 0 ? "ready" : "waiting ",
                   volumes_error((struct pod *)(uintptr_t)p));
        for (unsigned i = 0; i < p->n_ctrs; i++) {
            const struct ctr *c = p->ctrs[i];
            buf_printf(
                out,
                "  container %s state=%s id=%s attempt=%u pid=%d ready=%d started=%d why=%s %s\n",
                c->name, sm_name(&c->sm), c->id, c->rec.attempt, c->rec.pid, c->ready, c->started,
                c->why ? c->why : "", c->why_message ? c->why_message : "");
        }
    }
}
