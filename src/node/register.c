/* The node in the API: the Node object with its capacity and conditions, and its lease. The lease
 * says every ten seconds that we are alive and costs little; the status goes out when it changed,
 * and every five minutes. Reading the machine (memory, disk, images) blocks and is a job on the
 * pool. */
#include "node/agent.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/fence.h"
#include "base/mem.h"
#include "node/fence.h"
#include "node/fsutil.h"
#include "node/jw.h"

#define GRACE_DEFAULT (40 * NSEC_PER_SEC) /* until the lease says what the server gives */
#define ASK_MAX       5
#define ASK_PERIOD    (500 * NSEC_PER_MSEC)
#define CHECK_PERIOD  (10 * NSEC_PER_SEC)
#define UNREADY_FIRST                                                                              \
    (20 * NSEC_PER_MSEC) /* until the next look while we are not ready; doubles                    \
                          */
#define REPORT_PERIOD    (300 * NSEC_PER_SEC)
#define RETRY            (500 * NSEC_PER_MSEC)
#define PATIENCE_MIN     NSEC_PER_SEC /* with a silent server: a busy one is no dead one */
#define IMAGES_MAX       50
#define MEMORY_LOW_BYTES (100ll << 20)
#define DISK_LOW_PERCENT 10
#define PIDS_LOW_PERCENT 5
#define LEASE_NS         "kube-node-lease"

struct facts { /* what the pool job found */
    int64_t memory_available, pids_max, pids_used;
    unsigned disk_free_percent;
    struct image_list images;
};

struct registration {
    struct node *node;
    struct rt_timer check, lease;
    struct rt_work work;
    bool working, registered, patching, leasing, stopped, freed, ready_told;
    bool complained; /* about the server, which does not answer: once */
    unsigned calls;  /* under way */
    struct facts facts, fresh;
    struct str cond_value[4];
    struct timestamp cond_time[4];
    nsec_t unready_wait; /* 0: ready */
    char *sent;          /* status JSON without heartbeats, as acknowledged */
    char *sending;
    nsec_t sent_at;
    char *uid;
    bool lease_exists;
    char lease_rev[24]; /* resourceVersion, as last answered; "": not known */
    nsec_t renewed_at;  /* when the lease was last renewed; 0: never */
    nsec_t grace;       /* what the server gives us, as the lease says */
    unsigned asked;     /* renewals sent before the lease said so */
    char *machine_id, *system_uuid, *boot_id, *kernel, *os_image, *runtime_version;
};

/* ---- the machine ---- */

void node_read_machine(struct node *n)
{
    struct sysinfo si;
    struct statvfs vfs;
    if (sysinfo(&si) == 0)
        n->memory_bytes = (int64_t)si.totalram * si.mem_unit;
    n->milli_cpu = MAX(sysconf(_SC_NPROCESSORS_ONLN), 1) * 1000;
    if (statvfs(n->dir, &vfs) == 0)
        n->storage_bytes = (int64_t)vfs.f_blocks * (int64_t)vfs.f_frsize;
    n->alloc_memory_bytes = MAX(n->memory_bytes - (int64_t)n->opts.reserved_memory_bytes, 0);
    n->alloc_milli_cpu = MAX(n->milli_cpu - (int64_t)n->opts.reserved_milli_cpu, 0);
}

static char *read_line(const char *path, const char *otherwise)
{
    struct buf b = {0};
    char *r = fs_read(path, 4096, &b) == 0 ? str_dup(str_trim(buf_str(&b))) : xstrdup(otherwise);
    buf_fini(&b);
    return r;
}

static char *os_image(void)
{
    struct buf b = {0};
    char *r = NULL;
    if (fs_read("/etc/os-release", 65536, &b) == 0) {
        struct str text = buf_str(&b), line;
        while (str_cut(&text, '\n', &line) || line.n)
            if (str_starts(line, STR("PRETTY_NAME="))) {
                struct str v = str_sub(line, 12, line.n);
                if (v.n >= 2 && v.p[0] == '"')
                    v = str_sub(v, 1, v.n - 1);
                free(r);
                r = str_dup(v);
            }
    }
    buf_fini(&b);
    return r ? r : xstrdup("Linux");
}

static int64_t meminfo(struct str key)
{
    struct buf b = {0};
    int64_t kb = 0;
    if (fs_read("/proc/meminfo", 65536, &b) == 0) {
        struct str text = buf_str(&b), line;
        while (str_cut(&text, '\n', &line)) {
            struct str head, word;
            if (!str_cut(&line, ':', &head) || !str_eq(head, key))
                continue;
            line = str_trim(line);
            str_cut(&line, ' ', &word);
            if (str_to_i64(word, &kb) < 0)
                kb = 0;
        }
    }
    buf_fini(&b);
    return kb * 1024;
}

static void gather_work(void *arg)
{
    struct registration *r = arg;
    struct facts *f = &r->fresh;
    struct statvfs vfs;
    struct sysinfo si;
    *f = (struct facts){.memory_available = meminfo(STR("MemAvailable")), .disk_free_percent = 100};
    if (statvfs(r->node->dir, &vfs) == 0 && vfs.f_blocks)
        f->disk_free_percent = (unsigned)((uint64_t)vfs.f_bavail * 100 / vfs.f_blocks);
    if (sysinfo(&si) == 0)
        f->pids_used = si.procs;
    if (fs_read_i64("/proc/sys/kernel/pid_max", &f->pids_max) < 0)
        f->pids_max = 0;
    if (r->node->images && image_list(r->node->images, &f->images, NULL) < 0)
        f->images = (struct image_list){0};
}

/* ---- status ---- */

enum { COND_MEMORY, COND_DISK, COND_PID, COND_READY };

static void write_condition(struct registration *r, struct jw *w, int i, const char *type,
                            bool value, const char *reason, const char *message, bool heartbeat)
{
    struct str v = value ? STR("True") : STR("False");
    usec_t now = rt_wall(r->node->rt);
    char t[TIMESTAMP_TEXT_MAX];
    if (!str_eq(r->cond_value[i], v)) {
        r->cond_value[i] = v;
        r->cond_time[i] = timestamp_seconds(now);
    }
    jw_open(w, '{');
    jw_key_z(w, "type", type);
    jw_key_str(w, "status", v);
    jw_key_z(w, "reason", reason);
    jw_key_z(w, "message", message);
    timestamp_format(r->cond_time[i], false, t);
    jw_key_z(w, "lastTransitionTime", t);
    if (heartbeat) {
        timestamp_format(timestamp_seconds(now), false, t);
        jw_key_z(w, "lastHeartbeatTime", t);
    }
    jw_close(w, '}');
}

static bool write_conditions(struct registration *r, struct jw *w, bool heartbeat)
{
    struct node *n = r->node;
    const struct facts *f = &r->facts;
    bool mem = f->memory_available > 0 && f->memory_available < MEMORY_LOW_BYTES,
         disk = f->disk_free_percent < DISK_LOW_PERCENT;
    bool pids =
        f->pids_max > 0 && f->pids_used > f->pids_max - f->pids_max * PIDS_LOW_PERCENT / 100;
    struct str why = STR_NONE;
    bool ready = n->opts.net_ops && n->opts.net_ops->ready(n->opts.net, &why) != 0;
    if (!n->opts.net_ops)
        ready = true; /* only pods of the host's network are run here */
    if (n->shutting_down)
        ready = false;
    struct fs_path text = fs_path("container runtime network not ready: %.*s",
                                  (int)MIN(why.n, (size_t)800), why.p ? why.p : "");
    jw_key_open(w, "conditions", '[');
    write_condition(r, w, COND_MEMORY, "MemoryPressure", mem,
                    mem ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
                    mem ? "kubelet has insufficient memory available"
                        : "kubelet has sufficient memory available",
                    heartbeat);
    write_condition(r, w, COND_DISK, "DiskPressure", disk,
                    disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
                    disk ? "kubelet has disk pressure" : "kubelet has no disk pressure", heartbeat);
    write_condition(r, w, COND_PID, "PIDPressure", pids,
                    pids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
                    pids ? "kubelet has insufficient PID available"
                         : "kubelet has sufficient PID available",
                    heartbeat);
    write_condition(r, w, COND_READY, "Ready", ready, ready ? "KubeletReady" : "KubeletNotReady",
                    ready              ? "kubelet is posting ready status"
                    : n->shutting_down ? "node is shutting down"
                                       : text.s,
                    heartbeat);
    jw_close(w, ']');
    return ready;
}

static void write_amounts(struct node *n, struct jw *w, const char *key, int64_t milli_cpu,
                          int64_t memory)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity cpu = quantity_from_milli(milli_cpu);
    jw_key_open(w, key, '{');
    quantity_format(&cpu, text);
    jw_key_z(w, "cpu", text);
    snprintf(text, sizeof(text), "%lldKi", (long long)(n->storage_bytes / 1024));
    jw_key_z(w, "ephemeral-storage", text);
    snprintf(text, sizeof(text), "%lldKi", (long long)(memory / 1024));
    jw_key_z(w, "memory", text);
    snprintf(text, sizeof(text), "%u", n->opts.pods_max);
    jw_key_z(w, "pods", text);
    jw_close(w, '}');
}

static void write_addresses(struct node *n, struct jw *w)
{
    jw_key_open(w, "addresses", '[');
    for (size_t i = 0; i < n->opts.n_addresses; i++) {
        jw_open(w, '{');
        jw_key_z(w, "type", "InternalIP");
        jw_key_str(w, "address", n->opts.addresses[i]);
        jw_close(w, '}');
    }
    jw_open(w, '{');
    jw_key_z(w, "type", "Hostname");
    jw_key_z(w, "address", n->name);
    jw_close(w, '}');
    jw_close(w, ']');
}

static void write_info(struct registration *r, struct jw *w)
{
    jw_key_open(w, "nodeInfo", '{');
    jw_key_z(w, "machineID", r->machine_id);
    jw_key_z(w, "systemUUID", r->system_uuid);
    jw_key_z(w, "bootID", r->boot_id);
    jw_key_z(w, "kernelVersion", r->kernel);
    jw_key_z(w, "osImage", r->os_image);
    jw_key_z(w, "containerRuntimeVersion", r->runtime_version);
    jw_key_z(w, "kubeletVersion", "v1.36.0+davit-" DAVIT_VERSION);
    jw_key_z(w, "kubeProxyVersion", "");
    jw_key_z(w, "operatingSystem", "linux");
#if defined(__aarch64__)
    jw_key_z(w, "architecture", "arm64");
#else
    jw_key_z(w, "architecture", "amd64");
#endif
    jw_close(w, '}');
}

static void write_images(struct registration *r, struct jw *w)
{
    jw_key_open(w, "images", '[');
    for (size_t i = 0; i < r->facts.images.n && i < IMAGES_MAX; i++) {
        const struct image *img = r->facts.images.v[i];
        jw_open(w, '{');
        jw_key_open(w, "names", '[');
        for (char **s = img->digests; *s; s++)
            jw_str(w, str_z(*s));
        for (char **s = img->tags; *s; s++)
            jw_str(w, str_z(*s));
        jw_close(w, ']');
        jw_key_i64(w, "sizeBytes", (int64_t)img->size_bytes);
        jw_close(w, '}');
    }
    jw_close(w, ']');
}

/* ret_ready may be NULL. */
static char *status_json(struct registration *r, bool heartbeat, bool *ret_ready)
{
    struct node *n = r->node;
    struct buf b = {0};
    struct jw w = {&b, false};
    jw_open(&w, '{');
    jw_key_open(&w, "status", '{');
    write_amounts(n, &w, "capacity", n->milli_cpu, n->memory_bytes);
    write_amounts(n, &w, "allocatable", n->alloc_milli_cpu, n->alloc_memory_bytes);
    bool ready = write_conditions(r, &w, heartbeat);
    if (ret_ready)
        *ret_ready = ready;
    write_addresses(n, &w);
    jw_key_open(&w, "daemonEndpoints", '{');
    jw_key_open(&w, "kubeletEndpoint", '{');
    jw_key_i64(&w, "Port", node_api_port(n));
    jw_close(&w, '}');
    jw_close(&w, '}');
    write_info(r, &w);
    write_images(r, &w);
    jw_close(&w, '}');
    jw_close(&w, '}');
    return buf_take(&b, NULL);
}

static bool call_ended(struct registration *r)
{
    r->calls--;
    if (r->freed) {
        if (r->calls == 0 && !r->working)
            free(r);
        return false;
    }
    return !r->stopped;
}

static void report(struct registration *r);

static void on_status(void *arg, const struct client_reply *reply)
{
    struct registration *r = arg;
    if (r->freed || r->stopped) {
        r->patching = false;
        (void)call_ended(r);
        return;
    }
    r->patching = false;
    r->calls--;
    if (reply->r == 0) {
        free(r->sent);
        r->sent = TAKE_PTR(r->sending);
        r->sent_at = rt_now(r->node->rt);
        if (!r->ready_told && str_is(r->cond_value[COND_READY], "True")) {
            r->ready_told = true;
            if (r->node->opts.on_ready)
                r->node->opts.on_ready(r->node->opts.arg);
        }
        return;
    }
    free(TAKE_PTR(r->sending));
    if (reply->r == -ENOENT)
        r->registered = false; /* deleted under us: come back */
    rt_timer_start(&r->check, RETRY);
}

static void report(struct registration *r)
{
    struct node *n = r->node;
    if (r->patching || !r->registered || r->stopped)
        return;
    char *plain = status_json(r, false, NULL);
    bool same = r->sent && strcmp(plain, r->sent) == 0;
    if (same && rt_now(n->rt) - r->sent_at < REPORT_PERIOD) {
        free(plain);
        return;
    }
    char *json = status_json(r, true, NULL);
    free(r->sending);
    r->sending = plain;
    r->patching = true;
    r->calls++;
    client_patch(n->client, schema_kinds[KIND_NODE], STR_NONE, str_z(n->name), STR("status"),
                 CLIENT_PATCH_STRATEGIC, str_z(json), on_status, r);
    free(json);
}

void registration_report(struct registration *r)
{
    report(r);
}

/* ---- registration ---- */

static void registered(struct registration *r, const struct client_reply *reply)
{
    r->registered = true;
    if (reply->object) {
        free(r->uid);
        r->uid = str_dup(object_meta(reply->object)->uid);
        const struct api_node *m = reply->object->msg;
        static const char *const types[] = {"MemoryPressure", "DiskPressure", "PIDPressure",
                                            "Ready"};
        for (uint32_t i = 0; i < m->status.n_conditions; i++)
            for (int k = 0; k < 4; k++)
                if (str_eqz(m->status.conditions[i].type, types[k]) && !r->cond_value[k].p) {
                    struct str v = m->status.conditions[i].status;
                    r->cond_value[k] = str_is(v, "True")    ? STR("True")
                                       : str_is(v, "False") ? STR("False")
                                                            : STR_NONE;
                    r->cond_time[k] = m->status.conditions[i].last_transition_time;
                }
    }
    report(r);
    if (!rt_timer_active(&r->lease))
        rt_timer_start(&r->lease, 0);
}

static void on_registered(void *arg, const struct client_reply *reply)
{
    struct registration *r = arg;
    if (!call_ended(r))
        return;
    if (reply->r == 0) {
        registered(r, reply);
    } else {
        if (reply->r != -EEXIST && reply->err)
            log_warn("cannot register node %s: %.*s", r->node->name, STR_ARG(reply->err->message));
        rt_timer_start(&r->check, RETRY);
    }
}

static int cmp_kv(const void *a, const void *b)
{
    return str_cmp(((const struct kv_str *)a)->key, ((const struct kv_str *)b)->key);
}

static uint32_t labels_of(struct node *n, struct arena *a, struct kv_str **ret)
{
    struct kv_str *v = ARENA_NEW_N(a, struct kv_str, n->opts.n_labels + 5);
    uint32_t k = 0;
#if defined(__aarch64__)
    struct str arch = STR("arm64");
#else
    struct str arch = STR("amd64");
#endif
    v[k++] = (struct kv_str){STR("beta.kubernetes.io/arch"), arch};
    v[k++] = (struct kv_str){STR("beta.kubernetes.io/os"), STR("linux")};
    v[k++] = (struct kv_str){STR("kubernetes.io/arch"), arch};
    v[k++] = (struct kv_str){STR("kubernetes.io/hostname"), str_z(n->name)};
    v[k++] = (struct kv_str){STR("kubernetes.io/os"), STR("linux")};
    for (size_t i = 0; i < n->opts.n_labels; i++) {
        struct str rest = str_z(n->opts.labels[i]), key;
        str_cut(&rest, '=', &key);
        uint32_t at = 0;
        while (at < k && !str_eq(v[at].key, key))
            at++;
        v[at] = (struct kv_str){key, rest.p ? rest : STR("")};
        k += at == k;
    }
    qsort(v, k, sizeof(*v), cmp_kv);
    *ret = v;
    return k;
}

static void create(struct registration *r)
{
    struct node *n = r->node;
    struct arena a = {0};
    struct api_node m = {.metadata = {.name = str_z(n->name)}};
    m.metadata.n_labels = labels_of(n, &a, &m.metadata.labels);
    struct str range = str_z(n->opts.pod_cidr);
    m.spec.pod_cidr = range;
    m.spec.pod_cidrs = range.n ? &range : NULL;
    m.spec.n_pod_cidrs = range.n > 0;
    m.spec.taints = ARENA_NEW_N(&a, struct api_taint, n->opts.n_taints + 1);
    for (size_t i = 0; i < n->opts.n_taints; i++) {
        struct str rest = str_z(n->opts.taints[i]), key, value = STR_NONE;
        str_cut(&rest, ':', &key); /* key=value:Effect */
        struct str effect = rest;
        rest = key;
        if (str_cut(&rest, '=', &key))
            value = rest;
        m.spec.taints[m.spec.n_taints++] =
            (struct api_taint){.key = key, .value = value, .effect = effect};
    }
    r->calls++;
    client_create(n->client, schema_kinds[KIND_NODE], &m, on_registered, r);
    arena_fini(&a);
}

static void on_got(void *arg, const struct client_reply *reply)
{
    struct registration *r = arg;
    struct node *n = r->node;
    if (!call_ended(r))
        return;
    if (reply->r == -ENOENT) {
        create(r);
        return;
    }
    if (reply->r < 0) {
        if (reply->err && !r->complained)
            log_warn("node %s is not registered yet, trying on: %.*s", n->name,
                     STR_ARG(reply->err->message));
        r->complained = true;
        rt_timer_start(&r->check, RETRY);
        return;
    }
    struct arena a = {0};
    struct kv_str *labels;
    uint32_t n_labels = labels_of(n, &a, &labels);
    const struct api_object_meta *meta = object_meta(reply->object);
    const struct api_node_spec *spec = &OBJECT_MSG(reply->object, api_node)->spec;
    struct str range = str_z(n->opts.pod_cidr);
    bool tell_range = range.n && !spec->pod_cidr.n, differs = tell_range;
    if (range.n && spec->pod_cidr.n && !str_eq(range, spec->pod_cidr))
        log_warn("the Node says that its pods have addresses of %.*s; they have those of %.*s",
                 STR_ARG(spec->pod_cidr), STR_ARG(range));
    for (uint32_t i = 0; i < n_labels; i++) {
        const struct str *v = KV_GET(meta, labels, labels[i].key);
        differs |= !v || !str_eq(*v, labels[i].value);
    }
    if (!differs) {
        registered(r, reply);
    } else {
        struct buf b = {0};
        struct jw w = {&b, false};
        jw_open(&w, '{');
        jw_key_open(&w, "metadata", '{');
        jw_key_open(&w, "labels", '{');
        for (uint32_t i = 0; i < n_labels; i++)
            jw_key_str(&w, arena_cstr(&a, labels[i].key), labels[i].value);
        jw_close(&w, '}');
        jw_close(&w, '}');
        if (tell_range) {
            jw_key_open(&w, "spec", '{');
            jw_key_str(&w, "podCIDR", range);
            jw_key_open(&w, "podCIDRs", '[');
            jw_str(&w, range);
            jw_close(&w, ']');
            jw_close(&w, '}');
        }
        jw_close(&w, '}');
        r->calls++;
        client_patch(n->client, schema_kinds[KIND_NODE], STR_NONE, str_z(n->name), STR_NONE,
                     CLIENT_PATCH_MERGE, buf_str(&b), on_registered, r);
        buf_fini(&b);
    }
    arena_fini(&a);
}

/* At a start the network is ready a moment after we are registered, and nobody should wait ten
 * seconds for us to notice. */
static nsec_t check_period(struct registration *r)
{
    const struct node_opts *o = &r->node->opts;
    struct str why;
    if (!o->net_ops || o->net_ops->ready(o->net, &why)) {
        r->unready_wait = 0;
        return CHECK_PERIOD;
    }
    r->unready_wait = CLAMP(r->unready_wait * 2, UNREADY_FIRST, CHECK_PERIOD);
    return r->unready_wait;
}

static void gather_done(void *arg)
{
    struct registration *r = arg;
    r->working = false;
    if (r->freed) {
        image_list_fini(&r->fresh.images);
        if (r->calls == 0)
            free(r);
        return;
    }
    image_list_fini(&r->facts.images);
    r->facts = r->fresh;
    r->fresh = (struct facts){0};
    if (r->stopped)
        return;
    rt_timer_start(&r->check, check_period(r));
    if (r->registered) {
        report(r);
    } else {
        r->calls++;
        client_get(r->node->client, schema_kinds[KIND_NODE], STR_NONE, str_z(r->node->name), on_got,
                   r);
    }
}

static void on_check(void *arg)
{
    struct registration *r = arg;
    if (r->working || r->stopped)
        return;
    r->working = true;
    rt_work(r->node->rt, &r->work, RT_WORK_SHORT, gather_work, gather_done, r);
}

/* ---- lease ---- */

static void learn_grace(struct registration *r, const struct object *lease)
{
    const struct str *text =
        lease ? KV_GET(object_meta(lease), annotations, STR(FENCE_GRACE_ANNOTATION)) : NULL;
    struct duration d;
    if (!text || duration_parse(*text, &d) < 0 || d.nsec < NSEC_PER_SEC)
        return;
    r->asked = ASK_MAX;
    if (d.nsec == r->grace)
        return;
    r->grace = d.nsec;
    client_set_patience(r->node->client, MAX(fence_lease_period(r->grace), PATIENCE_MIN));
    rt_timer_start(&r->lease, fence_lease_period(r->grace));
    free(TAKE_PTR(r->sent)); /* by that grace we may have been too slow, and count as lost */
    report(r);
}

/* A renewal names the revision it renews: one that was late on its way replaces nothing newer. */
static void lease_known(struct registration *r, const struct object *lease)
{
    if (!lease)
        return;
    r->lease_exists = true;
    snprintf(r->lease_rev, sizeof(r->lease_rev), "%llu", (unsigned long long)lease->rev);
}

static void on_lease_read(void *arg, const struct client_reply *reply)
{
    struct registration *r = arg;
    r->leasing = false;
    if (!call_ended(r))
        return;
    if (reply->r == 0)
        lease_known(r, reply->object);
    else if (reply->r == -ENOENT)
        r->lease_exists = false;
    rt_timer_start(&r->lease, reply->r == 0 || reply->r == -ENOENT ? 0 : RETRY);
}

static void on_leased(void *arg, const struct client_reply *reply)
{
    struct registration *r = arg;
    r->leasing = false;
    if (!call_ended(r))
        return;
    if (reply->r == -ENOENT)
        r->lease_exists = false;
    if (reply->r == -EEXIST || reply->r == -ESTALE) { /* read, then renew that */
        r->leasing = true;
        r->calls++;
        client_get(r->node->client, schema_kinds[KIND_LEASE], STR(LEASE_NS), str_z(r->node->name),
                   on_lease_read, r);
        return;
    }
    if (reply->r < 0) {
        rt_timer_start(&r->lease, RETRY);
        return;
    }
    lease_known(r, reply->object);
    fence_acked(r->node->fence);
    nsec_t now = rt_now(r->node->rt);
    learn_grace(r, reply->object);
    nsec_t heard_at = r->renewed_at ? r->renewed_at : r->sent_at; /* a status is a sign of life */
    if (heard_at &&
        now - heard_at > r->grace / 2) { /* meanwhile others may have called us Unknown */
        free(TAKE_PTR(r->sent));
        report(r);
    }
    r->renewed_at = now;
}

/* At first, some in quick succession: the server writes the grace on the lease once it has seen it,
 * and it may be short. */
static nsec_t next_renewal(struct registration *r)
{
    if (r->asked >= ASK_MAX)
        return fence_lease_period(r->grace);
    r->asked++;
    return ASK_PERIOD;
}

static void on_lease(void *arg)
{
    struct registration *r = arg;
    struct node *n = r->node;
    rt_timer_start(&r->lease, next_renewal(r));
    if (r->leasing || !r->registered)
        return;
    r->leasing = true;
    r->calls++;
    struct timestamp now = timestamp_of(rt_wall(n->rt));
    struct str promise = fence_sent(n->fence, r->grace);
    if (r->lease_exists) {
        struct buf b = {0};
        buf_printf(&b,
                   "{\"metadata\":{\"resourceVersion\":\"%s\",\"annotations\":{"
                   "\"" FENCE_PROMISE_ANNOTATION "\":%s%.*s%s}},",
                   r->lease_rev, promise.n ? "\"" : "null", STR_ARG(promise),
                   promise.n ? "\"" : "");
        buf_printf(
            &b, "\"spec\":{\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%d,\"renewTime\":\"",
            n->name, (int)(r->grace / NSEC_PER_SEC));
        timestamp_print(now, true, &b);
        buf_add_lit(&b, "\"}}");
        client_patch(n->client, schema_kinds[KIND_LEASE], STR(LEASE_NS), str_z(n->name), STR_NONE,
                     CLIENT_PATCH_MERGE, buf_str(&b), on_leased, r);
        buf_fini(&b);
        return;
    }
    struct kv_str said = {STR(FENCE_PROMISE_ANNOTATION), promise};
    struct api_owner_reference owner = {.api_version = STR("v1"),
                                        .kind = STR("Node"),
                                        .name = str_z(n->name),
                                        .uid = str_z(r->uid ? r->uid : "")};
    struct api_lease lease = {
        .metadata = {.name = str_z(n->name),
                     .namespace = STR(LEASE_NS),
                     .annotations = promise.n ? &said : NULL,
                     .n_annotations = promise.n ? 1 : 0,
                     .owner_references = r->uid ? &owner : NULL,
                     .n_owner_references = r->uid ? 1 : 0},
        .spec = {.holder_identity = str_z(n->name),
                 .has_lease_duration_seconds = true,
                 .lease_duration_seconds = (int32_t)(r->grace / NSEC_PER_SEC),
                 .renew_time = now},
    };
    client_create(n->client, schema_kinds[KIND_LEASE], &lease, on_leased, r);
}

/* ---- life ---- */

struct registration *registration_new(struct node *n)
{
    struct registration *r = NEW(struct registration);
    struct utsname u = {0};
    r->node = n;
    r->grace = GRACE_DEFAULT;
    rt_timer_init(&r->check, n->rt, on_check, r);
    rt_timer_init(&r->lease, n->rt, on_lease, r);
    (void)uname(&u);
    r->machine_id = read_line("/etc/machine-id", "");
    r->system_uuid = read_line("/sys/class/dmi/id/product_uuid", r->machine_id);
    r->boot_id = read_line("/proc/sys/kernel/random/boot_id", "");
    r->kernel = xstrdup(u.release);
    r->os_image = os_image();
    r->runtime_version = xstrdup("davit://" DAVIT_VERSION);
    return r;
}

void registration_start(struct registration *r)
{
    on_check(r);
}

void registration_stop(struct registration *r)
{
    r->stopped = true;
    rt_timer_stop(&r->check);
    rt_timer_stop(&r->lease);
}

struct registration *registration_free(struct registration *r)
{
    if (!r)
        return NULL;
    registration_stop(r);
    char *owned[] = {r->sent,    r->sending, r->uid,      r->machine_id,     r->system_uuid,
                     r->boot_id, r->kernel,  r->os_image, r->runtime_version};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    image_list_fini(&r->facts.images);
    r->freed = true;
    if (r->calls == 0 && !r->working)
        free(r);
    return NULL;
}
