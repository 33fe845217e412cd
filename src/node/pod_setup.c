/* What a pod needs before its containers, and its undoing:
 *   setup     pool: directories, cgroup, namespaces -> network attach -> pool: files of /etc ->
 * volumes teardown  network detach -> pool: namespaces, mounts, cgroup (directory, logs and records
 * stay for the API) removal   pool: the directory Every step is idempotent, so a step that failed
 * or was cut short by our death is simply done again. */
#include "node/agent.h"

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/resize.h"

#define SETUP_BACKOFF_MIN (1 * NSEC_PER_SEC)
#define SETUP_BACKOFF_MAX (60 * NSEC_PER_SEC)
#define MOUNT_WAIT_EVENT  (30 * NSEC_PER_SEC)

/* One pool job of a pod: everything it may look at. */
struct job {
    struct pod *pod;
    struct object *obj;
    struct node *node;
    struct arena arena;
    const char *dir, *cgroup, *hostname;
    struct str dns, domain, ips[NODE_NET_IPS_MAX];
    size_t n_ips;
    struct cgroup_limits limits;
    int r;
    struct error err;
    void (*done)(struct pod *p, int r, const struct error *err);
};

static void job_done(void *arg)
{
    struct job *j = arg;
    j->pod->working = false;
    j->done(j->pod, j->r, &j->err);
    object_unref(j->obj);
    error_fini(&j->err);
    arena_fini(&j->arena);
    free(j);
}

struct str pod_cluster_domain(const struct node *n)
{
    struct str s = n->opts.net_ops ? n->opts.net_ops->cluster_domain(n->opts.net) : STR_NONE;
    return s.n ? s : STR("cluster.local");
}

static struct job *job_new(struct pod *p, void (*done)(struct pod *, int, const struct error *))
{
    ASSERT(!p->working);
    struct job *j = NEW(struct job);
    struct node *n = p->node;
    j->pod = p;
    j->node = n;
    j->obj = object_ref(p->obj);
    j->done = done;
    j->dir = arena_cstr(&j->arena, str_z(p->dir));
    j->cgroup = arena_cstr(&j->arena, str_z(p->cgroup));
    j->hostname = arena_cstr(&j->arena, str_z(p->hostname));
    if (n->opts.net_ops)
        j->dns = arena_str(&j->arena, n->opts.net_ops->dns_address(n->opts.net));
    j->domain = arena_str(&j->arena, pod_cluster_domain(n));
    bool host = pod_msg(p)->spec.host_network;
    j->n_ips = host ? 1 : p->n_ips;
    for (size_t i = 0; i < j->n_ips; i++)
        j->ips[i] = arena_str(&j->arena, host ? n->host_ip : p->ips[i]);
    j->limits = p->limits;
    p->working = true;
    return j;
}

static void setup_failed(struct pod *p, const char *reason, struct str message)
{
    p->setup_backoff =
        p->setup_backoff ? MIN(p->setup_backoff * 2, SETUP_BACKOFF_MAX) : SETUP_BACKOFF_MIN;
    p->setup_not_before = rt_now(p->node->rt) + p->setup_backoff;
    char *text = str_dup(message);
    set_text(&p->setup_error, text);
    event_pod(p, EVENT_WARNING, reason, "Failed to create pod sandbox: %s", text);
    free(text);
    rt_timer_start_at(&p->timer, p->setup_not_before);
    pod_status_dirty(p);
    pod_kick(p);
}

/* ---- sandbox ---- */

static void sandbox_work(void *arg)
{
    struct job *j = arg;
    const struct api_pod *pod = j->obj->msg;
    struct sandbox_opts o = {
        .pod_dir = j->dir,
        .pod = pod,
        .hostname = j->hostname,
        .holder_path = j->node->holder_path,
        .cgroup_path = j->cgroup,
        .cgroups = &j->node->cgroups,
    };
    char name[SANDBOX_HOSTNAME_BYTES];
    if (sandbox_hostname(pod, j->node->name, j->domain, name) < 0)
        j->r = error_set(&j->err, REASON_INVALID,
                         "the pod's host name with its domain (setHostnameAsFQDN) is longer than "
                         "the 64 bytes the kernel takes");
    if (j->r == 0)
        j->r = cgroup_make(&j->node->cgroups, j->cgroup, &j->limits, &j->err);
    if (j->r == 0)
        j->r = sandbox_make(&o, &j->err);
}

static void sandbox_done(struct pod *p, int r, const struct error *err)
{
    if (r < 0) {
        setup_failed(p, "FailedCreatePodSandBox", err->message);
        return;
    }
    p->setup = SETUP_NET;
    pod_kick(p);
}

/* ---- network ---- */

static void on_attached(void *arg, const struct node_net_attached *a)
{
    struct pod *p = arg;
    p->net_busy = false;
    if (a->r < 0) {
        setup_failed(p, "FailedCreatePodSandBox",
                     a->err ? a->err->message : STR("the network cannot be attached"));
        return;
    }
    p->n_ips = 0;
    for (size_t i = 0; i < a->n_ips && i < NODE_NET_IPS_MAX; i++)
        p->ips[p->n_ips++] = arena_str(&p->ips_arena, a->ips[i]);
    p->attached = true;
    p->setup = SETUP_ETC;
    pod_save(p);
    pod_status_dirty(p);
    pod_kick(p);
}

#define PORTS_MAX 256

static uint64_t bandwidth(const struct api_pod *m, const char *key)
{
    struct quantity q;
    const struct str *v = KV_GET(&m->metadata, annotations, str_z(key));
    return v && quantity_parse(*v, &q) == 0 ? (uint64_t)MAX(quantity_value(&q), 0) : 0;
}

static void attach(struct pod *p)
{
    struct node *n = p->node;
    const struct api_pod *m = pod_msg(p);
    struct str why = STR_NONE;
    if (m->spec.host_network) {
        p->setup = SETUP_ETC;
        pod_save(p);
        pod_kick(p);
        return;
    }
    if (!n->opts.net_ops || n->opts.net_ops->ready(n->opts.net, &why) == 0) {
        setup_failed(p, "NetworkNotReady",
                     why.n ? why : STR("network is not ready: the agent has no pod network"));
        return;
    }
    struct node_net_port ports[PORTS_MAX];
    size_t n_ports = 0;
    for (unsigned i = 0; i < p->n_init + p->n_app; i++) {
        const struct api_container *c = ctr_spec(p->ctrs[i]);
        for (uint32_t k = 0; k < c->n_ports && n_ports < PORTS_MAX; k++) {
            const struct api_container_port *port = &c->ports[k];
            if (port->host_port <= 0)
                continue;
            ports[n_ports++] = (struct node_net_port){
                .host_port = (uint16_t)port->host_port,
                .container_port = (uint16_t)port->container_port,
                .protocol = str_is(port->protocol, "UDP")    ? NODE_NET_UDP
                            : str_is(port->protocol, "SCTP") ? NODE_NET_SCTP
                                                             : NODE_NET_TCP,
                .host_ip = port->host_ip,
            };
        }
    }
    struct fs_path netns = fs_path("%s/ns/net", p->dir);
    struct node_net_pod np = {
        .uid = str_z(p->uid),
        .ns = str_z(p->ns),
        .name = str_z(p->name),
        .netns_path = netns.s,
        .ports = ports,
        .n_ports = n_ports,
        .ingress_bps = bandwidth(m, "kubernetes.io/ingress-bandwidth"),
        .egress_bps = bandwidth(m, "kubernetes.io/egress-bandwidth"),
    };
    p->net_busy = true;
    n->opts.net_ops->pod_attach(n->opts.net, &np, on_attached, p);
}

/* ---- /etc ---- */

static void etc_work(void *arg)
{
    struct job *j = arg;
    j->r = sandbox_write_etc(j->dir, j->obj->msg, j->hostname, j->node->opts.resolv_conf, j->dns,
                             j->domain, j->ips, j->n_ips, &j->err);
}

static void etc_done(struct pod *p, int r, const struct error *err)
{
    if (r < 0) {
        setup_failed(p, "FailedCreatePodSandBox", err->message);
        return;
    }
    p->setup = SETUP_DONE;
    p->setup_backoff = 0;
    if (!p->was_up) {
        p->was_up = true;
        pod_save(p);
    }
    set_text(&p->setup_error, NULL);
    volumes_sync(p); /* the downward API may tell addresses */
    pod_kick(p);
}

/* Services give variables: wait for the first list of them, but not for long while the server is
 * away. */
static bool services_known(const struct pod *p)
{
    return client_cache_synced(p->node->services_cache) || node_server_away(p->node);
}

void pod_setup_step(struct pod *p)
{
    struct node *n = p->node;
    if (p->working || p->net_busy)
        return;
    if (p->setup_not_before > rt_now(n->rt)) {
        if (!rt_timer_active(&p->timer))
            rt_timer_start_at(&p->timer, p->setup_not_before);
        return;
    }
    p->setup_not_before = 0;
    switch (p->setup) {
    case SETUP_NONE:
        p->setup = SETUP_SANDBOX;
        __attribute__((fallthrough));
    case SETUP_SANDBOX:
        resize_pod_limits(p, &p->limits);
        rt_work(n->rt, &p->work, RT_WORK_SHORT, sandbox_work, job_done, job_new(p, sandbox_done));
        break;
    case SETUP_NET:
        attach(p);
        break;
    case SETUP_ETC:
        rt_work(n->rt, &p->work, RT_WORK_SHORT, etc_work, job_done, job_new(p, etc_done));
        break;
    case SETUP_DONE:
        if (volumes_ready(p) > 0 && services_known(p)) {
            sm_move(&p->sm, POD_RUNNING);
            pod_status_dirty(p);
            pod_kick(p);
        }
        break;
    }
}

/* ---- teardown ---- */

static void teardown_work(void *arg)
{
    struct job *j = arg;
    int r;
    j->r = sandbox_destroy(j->dir);
    if ((r = volumes_destroy(j->dir)) < 0)
        j->r = r;
    if ((r = cgroup_destroy(&j->node->cgroups, j->cgroup)) < 0)
        j->r = r;
}

static void teardown_done(struct pod *p, int r, const struct error *err)
{
    if (r < 0)
        log_warn("pod %s/%s: not all of it could be undone: %s", p->ns, p->name, strerror(-r));
    for (unsigned i = 0; i < p->n_ctrs; i++) {
        struct fs_path holder = fs_path("%s.%s", p->uid, p->ctrs[i]->name);
        image_unpin(p->node->images, str_z(holder.s));
    }
    sm_move(&p->sm, POD_DONE);
    pod_save(p);
    pod_status_dirty(p);
    pod_kick(p);
    resize_room(p->node);
}

static void on_detached(void *arg, int r, const struct error *err)
{
    struct pod *p = arg;
    p->net_busy = false;
    if (r < 0)
        log_warn("pod %s/%s: network: %.*s", p->ns, p->name, STR_ARG(err ? err->message : STR("")));
    p->attached = false;
    rt_work(p->node->rt, &p->work, RT_WORK_SHORT, teardown_work, job_done,
            job_new(p, teardown_done));
}

void pod_teardown(struct pod *p)
{
    struct node *n = p->node;
    volumes_detach(p);
    rt_timer_stop(&p->timer);
    /* What its containers did is worth knowing as long as it is in the API; the rest of it goes
     * now. */
    if (n->opts.net_ops && !pod_msg(p)->spec.host_network) {
        p->net_busy = true;
        n->opts.net_ops->pod_detach(n->opts.net, str_z(p->uid), on_detached, p);
    } else {
        on_detached(p, 0, NULL);
    }
}

/* ---- removal ---- */

static void remove_work(void *arg)
{
    struct job *j = arg;
    j->r = fs_rm_rf(j->dir);
    if (j->r == -EBUSY && (j->r = fs_umount_below(j->dir)) == 0)
        j->r = fs_rm_rf(j->dir);
}

static void remove_done(struct pod *p, int r, const struct error *err)
{
    if (r < 0)
        log_warn("pod %s/%s: cannot remove %s: %s", p->ns, p->name, p->dir, strerror(-r));
    struct node *n = p->node;
    pod_free(p);
    resize_room(n);
}

void pod_remove_dir(struct pod *p)
{
    rt_work(p->node->rt, &p->work, RT_WORK_SHORT, remove_work, job_done, job_new(p, remove_done));
}
