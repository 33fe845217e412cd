/* Between "the image is here" and "conmon may start": the root file system is mounted, users and
 * paths are looked up in it, every mount is resolved to a host path that the container cannot
 * redirect, and config.json is written. What needs the caches (environment) is gathered on the loop
 * first; the rest is one job on the pool. */
#include "node/agent.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/devices.h"
#include "node/fsutil.h"
#include "node/places.h"
#include "node/seccomp.h"
#include "node/spec.h"
#include "sys/fs.h"

#define MOUNTS_MAX        256
#define CONFIG_BYTES_MAX  (8u << 20)
#define SECCOMP_BYTES_MAX (1u << 20)
#define TERMINATION_LOG   "term"

struct prepare {
    struct rt_work work;
    struct ctr *ctr; /* NULL: nobody waits any more */
    ctr_prepared_fn fn;
    struct arena arena;
    struct object *pod;
    struct image *image;
    const struct api_container *container; /* in pod */
    struct env env;
    const char *pod_dir, *bundle, *cgroup, *hostname, *node_dir, *crun;
    const char *bpf_file; /* out: where the compiled filter is, or is to be kept; NULL: none */
    enum cgroup_layout layout;
    int target_pid; /* whose processes it is to see; 0: its own */
    int64_t node_memory_bytes;
    struct spec_mount mounts[MOUNTS_MAX];
    size_t n_mounts;
    int r;
    struct error err;
};

/* ---- on the loop: environment ---- */

static int lookup_source(void *arg, int kind_id, struct str name, struct object **ret)
{
    struct pod *p = arg;
    return sources_get(p->node->sources, kind_id, str_z(p->ns), name, ret);
}

void env_ctx_of_pod(struct pod *p, struct env_ctx *ret)
{
    struct node *n = p->node;
    *ret = (struct env_ctx){
        .pod = pod_msg(p),
        .node_name = str_z(n->name),
        .host_ip = n->host_ip,
        .pod_ips = pod_msg(p)->spec.host_network ? &n->host_ip : p->ips,
        .n_pod_ips = pod_msg(p)->spec.host_network ? 1 : p->n_ips,
        .node_milli_cpu = n->alloc_milli_cpu,
        .node_memory_bytes = n->alloc_memory_bytes,
        .node_storage_bytes = n->storage_bytes,
        .lookup = lookup_source,
        .arg = p,
    };
}

static void add_service(struct env *e, struct object *o, struct str ns, bool links)
{
    if (o)
        env_add_service(e, OBJECT_MSG(o, api_service), ns, !links);
}

/* Those of the pod's namespace, and the API server's. True: that one is known. */
static bool add_services(struct node *n, struct str ns, bool links, struct env *e)
{
    struct client_cache_iter it;
    struct object *api = client_cache_get(n->services_cache, STR("default"), STR("kubernetes"));
    bool known = api != NULL;
    add_service(e, api, ns, links);
    client_cache_iter_init(&it, n->services_cache, ns);
    for (struct object *o; links && (o = client_cache_iter_next(&it));) {
        add_service(e, o, ns, links);
        client_cache_release(n->services_cache);
    }
    client_cache_release(n->services_cache);
    return known;
}

static int build_env(struct ctr *c, struct prepare *p)
{
    struct pod *pod = c->pod;
    struct node *n = pod->node;
    struct env services = {.arena = &p->arena};
    struct env_ctx ctx;
    env_ctx_of_pod(pod, &ctx);
    p->env = (struct env){.arena = &p->arena};
    for (char *const *s = c->image->config.env; *s; s++) {
        struct str rest = str_z(*s), name;
        if (str_cut(&rest, '=', &name) && name.n)
            env_set(&p->env, name, rest);
    }
    bool links = !ctx.pod->spec.has_enable_service_links || ctx.pod->spec.enable_service_links;
    bool api_service = false;
    if (n->services_cache)
        api_service = add_services(n, str_z(pod->ns), links, &services);
    if (!api_service && n->opts.service_host) {
        env_set(&services, STR("KUBERNETES_SERVICE_HOST"), str_z(n->opts.service_host));
        env_set(&services, STR("KUBERNETES_SERVICE_PORT"),
                arena_printf(&p->arena, "%u", n->opts.service_port));
        env_set(&services, STR("KUBERNETES_SERVICE_PORT_HTTPS"),
                arena_printf(&p->arena, "%u", n->opts.service_port));
    }
    struct buf skipped = {0};
    int r = env_build(&ctx, p->container, &services, &p->env, &skipped, &p->err);
    if (r == 0 && skipped.n)
        event_ctr(c, EVENT_WARNING, "InvalidEnvironmentVariableNames",
                  "Keys [%.*s] were skipped since they are considered invalid environment variable "
                  "names.",
                  STR_ARG(buf_str(&skipped)));
    buf_fini(&skipped);
    return r;
}

/* ---- on the pool: mounts ---- */

static int add_mount(struct prepare *p, const char *source, struct str dest, bool read_only,
                     const char *propagation)
{
    if (p->n_mounts == MOUNTS_MAX)
        return error_set(&p->err, REASON_BAD_REQUEST, "more than %d mounts", MOUNTS_MAX);
    struct str abs =
        dest.n && dest.p[0] == '/' ? dest : arena_printf(&p->arena, "/%.*s", STR_ARG(dest));
    p->mounts[p->n_mounts++] = (struct spec_mount){
        .source = arena_cstr(&p->arena, str_z(source)),
        .dest = arena_cstr(&p->arena, abs),
        .read_only = read_only,
        .propagation = propagation,
    };
    return 0;
}

static bool has_dest(const struct prepare *p, struct str dest)
{
    for (size_t i = 0; i < p->n_mounts; i++)
        if (str_eqz(dest, p->mounts[i].dest))
            return true;
    return false;
}

/* Opens root/sub without ever leaving root, making missing directories. */
static int open_sub_path(const char *root, struct str sub, int *ret_fd)
{
    CLEANUP(fd_closep) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    struct fs_path path = fs_path("%.*s", (int)MIN(sub.n, (size_t)900), sub.p);
    struct stat root_st;
    if (fstat(dir, &root_st) < 0)
        return -errno;
    int fd = sys_open_in_root(dir, path.s, O_PATH | O_CLOEXEC, 0);
    if (fd == -ENOENT) {
        for (char *s = path.s;; s++) {
            if (*s && *s != '/')
                continue;
            char keep = *s;
            *s = 0;
            char *slash = strrchr(path.s, '/');
            char *base = slash ? slash + 1 : path.s;
            if (*base) {
                char head[FS_PATH_MAX];
                snprintf(head, sizeof(head), "%.*s", slash ? (int)(slash - path.s) : 1,
                         slash ? path.s : ".");
                int parent =
                    sys_open_in_root(dir, *head ? head : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
                if (parent < 0)
                    return parent;
                /* as open as the volume is; the umask would take away from it */
                bool made = mkdirat(parent, base, 0755) == 0;
                int r = !made && errno != EEXIST ? -errno : 0;
                int new =
                    made ? openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                         : -1;
                if (made && (new < 0 || fchmod(new, root_st.st_mode & 07777) < 0))
                    r = -errno;
                if (new >= 0)
                    close(new);
                close(parent);
                if (r < 0)
                    return r;
            }
            *s = keep;
            if (!keep)
                break;
        }
        fd = sys_open_in_root(dir, path.s, O_PATH | O_CLOEXEC, 0);
    }
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

/* The place is held by a bind mount made through the descriptor that was checked, so it stays what
 * it was however the pod changes its volume afterwards. */
static int bind_sub_path(struct prepare *p, const char *root, struct str sub, unsigned i,
                         struct fs_path *ret)
{
    CLEANUP(fd_closep) int fd = -1;
    int r = open_sub_path(root, sub, &fd);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    struct fs_path dir = fs_path("%s/sub", p->bundle), target = fs_path("%s/%u", dir.s, i);
    r = fs_mkdirs(dir.s, 0700);
    if (r < 0)
        return r;
    if (S_ISDIR(st.st_mode))
        r = fs_mkdirs(target.s, 0700);
    else
        r = fs_write(target.s, STR(""), 0600);
    if (r < 0)
        return r;
    struct fs_path from = fs_path("/proc/self/fd/%d", fd);
    if (mount(from.s, target.s, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -errno;
    *ret = target;
    return 0;
}

static const char *propagation_of(struct str s)
{
    return str_is(s, "Bidirectional")     ? "rshared"
           : str_is(s, "HostToContainer") ? "rslave"
                                          : "rprivate";
}

static int volume_mounts(struct prepare *p)
{
    const struct api_pod *pod = p->pod->msg;
    const struct api_container *c = p->container;
    for (uint32_t i = 0; i < c->n_volume_mounts; i++) {
        const struct api_volume_mount *m = &c->volume_mounts[i];
        struct fs_path source;
        if (volume_host_path(pod, p->pod_dir, m->name, &source) < 0)
            return error_set(&p->err, REASON_BAD_REQUEST,
                             "cannot find volume \"%.*s\" to mount into container \"%.*s\"",
                             STR_ARG(m->name), STR_ARG(c->name));
        struct str sub = m->sub_path;
        if (m->sub_path_expr.n)
            sub = env_expand(&p->arena, m->sub_path_expr, env_get_cb, &p->env);
        if (sub.n) {
            struct fs_path held;
            int r = bind_sub_path(p, source.s, sub, i, &held);
            if (r < 0)
                return error_errno(&p->err, -r,
                                   "failed to create subPath directory for volumeMount \"%.*s\" of "
                                   "container \"%.*s\"",
                                   STR_ARG(m->name), STR_ARG(c->name));
            source = held;
        }
        bool ro = m->read_only || volume_read_only(pod, m->name);
        int r = add_mount(p, source.s, m->mount_path, ro, propagation_of(m->mount_propagation));
        if (r < 0)
            return r;
    }
    return 0;
}

static int own_mounts(struct prepare *p)
{
    const struct api_pod *pod = p->pod->msg;
    const struct api_container *c = p->container;
    static const char *const etc[] = {"hosts", "hostname", "resolv.conf"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(etc); i++) {
        struct fs_path dest = fs_path("/etc/%s", etc[i]),
                       src = fs_path("%s/etc/%s", p->pod_dir, etc[i]);
        if (!has_dest(p, str_z(dest.s)))
            r = add_mount(p, src.s, str_z(dest.s), false, NULL);
    }
    if (r == 0 && !has_dest(p, STR("/dev/shm")))
        r = add_mount(p, pod->spec.host_ipc ? "/dev/shm" : fs_path("%s/shm", p->pod_dir).s,
                      STR("/dev/shm"), false, NULL);
    if (r < 0)
        return r;
    struct str term =
        c->termination_message_path.n ? c->termination_message_path : STR("/dev/termination-log");
    struct fs_path file = fs_path("%s/" TERMINATION_LOG, p->bundle);
    r = fs_write(file.s, STR(""), 0666);
    if (r == 0 && chmod(file.s, 0666) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(&p->err, -r, "cannot make %s", file.s);
    return has_dest(p, term) ? 0 : add_mount(p, file.s, term, false, NULL);
}

/* ---- on the pool: the rest ---- */

static bool wants_token(const struct prepare *p)
{
    const struct api_container *c = p->container;
    for (uint32_t i = 0; i < c->n_volume_mounts; i++)
        if (str_is(c->volume_mounts[i].mount_path, "/var/run/secrets/kubernetes.io/serviceaccount"))
            return true;
    return false;
}

static int mount_rootfs(struct prepare *p)
{
    static const char *const dirs[] = {"", "/upper", "/work", "/rootfs"};
    int r = fs_remove_bundle(p->bundle);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++)
        r = fs_mkdirs(fs_path("%s%s", p->bundle, dirs[i]).s, i ? 0755 : 0700);
    if (r < 0)
        return error_errno(&p->err, -r, "cannot make %s", p->bundle);
    struct fs_path rootfs = fs_path("%s/rootfs", p->bundle), upper = fs_path("%s/upper", p->bundle);
    struct fs_path work = fs_path("%s/work", p->bundle);
    size_t n = p->image->n_layers;
    const char *const *image = (const char *const *)p->image->layer_dirs;
    struct fs_path places = places_layer(p->node_dir, image, n, wants_token(p));
    const char **lower = arena_alloc(&p->arena, (n + 1) * sizeof(*lower));
    lower[0] = places.s;
    memcpy(lower + 1, image, n * sizeof(*lower));
    return sys_overlay_mount(rootfs.s, lower, n + 1, upper.s, work.s, &p->err);
}

/* crun's cwd must exist; images often name one that only exists by convention. */
static void make_cwd(struct prepare *p, const char *rootfs)
{
    struct str cwd = p->container->working_dir.n ? p->container->working_dir
                                                 : str_z(p->image->config.working_dir);
    while (cwd.n && cwd.p[0] == '/')
        cwd = str_sub(cwd, 1, cwd.n);
    int fd = -1;
    if (cwd.n && open_sub_path(rootfs, cwd, &fd) == 0)
        close(fd);
}

static int load_seccomp(struct prepare *p, struct buf *out, const char **ret)
{
    struct str localhost, type = spec_seccomp_type(p->pod->msg, p->container, &localhost);
    *ret = NULL;
    if (!str_is(type, "Localhost"))
        return 0;
    if (localhost.n == 0 || localhost.n > 512 || str_search(localhost, STR("..")) >= 0)
        return error_set(&p->err, REASON_BAD_REQUEST, "bad localhostProfile");
    struct fs_path file = fs_path("%s/seccomp/%.*s", p->node_dir, STR_ARG(localhost));
    int r = fs_read(file.s, SECCOMP_BYTES_MAX, out);
    if (r < 0)
        return error_errno(&p->err, -r, "cannot read seccomp profile %s", file.s);
    if (!json_valid(buf_str(out)))
        return error_set(&p->err, REASON_BAD_REQUEST, "seccomp profile %s is no JSON", file.s);
    buf_add(out, "", 1);
    *ret = out->data;
    return 0;
}

/* Compiling the default profile costs crun a third of a start. It leaves the compiled filter in its
 * state directory; the first container's is kept (ctr_keep_seccomp) and given to the others, by a
 * name that stands for capabilities and crun's binary. */
static void load_compiled(struct prepare *p, struct spec_input *in, struct buf *out)
{
    struct str localhost;
    struct stat st;
    if (!str_is(spec_seccomp_type(in->pod, in->container, &localhost), "RuntimeDefault") ||
        stat(p->crun, &st) < 0)
        return;
    struct fs_path file =
        fs_path("%s/bpf/%llx-%llx-%llx-%u", p->node_dir, (unsigned long long)in->caps,
                (unsigned long long)st.st_mtim.tv_sec, (unsigned long long)st.st_size,
                SECCOMP_PROFILE_VERSION);
    p->bpf_file = arena_cstr(&p->arena, str_z(file.s));
    if (fs_read(file.s, SECCOMP_BYTES_MAX, out) == 0)
        in->seccomp_bpf = buf_str(out);
    else
        buf_clear(out);
}

static void set_namespaces(const struct prepare *p, struct spec_input *in)
{
    const struct api_pod_spec *s = &((const struct api_pod *)p->pod->msg)->spec;
    struct arena *a = (struct arena *)(uintptr_t)&p->arena;
    bool host[_SPEC_NS_MAX] = {s->host_network, s->host_ipc, s->host_network, s->host_pid};
    static const char *const files[_SPEC_NS_MAX] = {"net", "ipc", "uts", "pid"};
    for (int i = 0; i < _SPEC_NS_MAX; i++) {
        if (host[i])
            in->ns_path[i] = "";
        else if (i != SPEC_NS_PID || s->share_process_namespace)
            in->ns_path[i] = arena_printf(a, "%s/ns/%s", p->pod_dir, files[i]).p;
        else if (p->target_pid)
            in->ns_path[i] = arena_printf(a, "/proc/%d/ns/pid", p->target_pid).p;
    }
}

static int write_config(struct prepare *p)
{
    const struct api_pod *pod = p->pod->msg;
    const struct api_container *c = p->container;
    struct fs_path rootfs = fs_path("%s/rootfs", p->bundle);
    struct user user;
    int r = user_resolve(rootfs.s, str_z(p->image->config.user), c->security_context,
                         pod->spec.security_context, c->name, &user, &p->err);
    if (r < 0)
        return r;
    struct spec_input in = {
        .pod = pod,
        .container = c,
        .image_entrypoint = p->image->config.entrypoint,
        .image_cmd = p->image->config.cmd,
        .image_working_dir = p->image->config.working_dir,
        .rootfs = rootfs.s,
        .hostname = p->hostname,
        .env = &p->env,
        .user = &user,
        .mounts = p->mounts,
        .n_mounts = p->n_mounts,
        .cgroup_path = p->cgroup,
        .layout = p->layout,
        .oom_score_adj = oom_score_adj_allowed(oom_score_adj(pod, c, p->node_memory_bytes)),
        .node_memory_bytes = p->node_memory_bytes,
    };
    set_namespaces(p, &in);
    in.caps = caps_of(c->security_context, &p->err, &r) & caps_own();
    struct buf seccomp = {0}, config = {0}, compiled = {0}, devices = {0};
    if (c->security_context && c->security_context->privileged) {
        devices_json(&devices);
        in.devices = buf_str(&devices);
    }
    if (r == 0)
        load_compiled(p, &in, &compiled);
    if (r == 0)
        r = load_seccomp(p, &seccomp, &in.seccomp_localhost_json);
    if (r == 0)
        r = spec_build(&in, &config, &p->err);
    if (r == 0) {
        struct fs_path file = fs_path("%s/config.json", p->bundle);
        r = fs_write(file.s, buf_str(&config), 0600);
        if (r < 0)
            r = error_errno(&p->err, -r, "cannot write %s", file.s);
    }
    buf_fini(&seccomp);
    buf_fini(&config);
    buf_fini(&compiled);
    buf_fini(&devices);
    return r;
}

static void prepare_work(void *arg)
{
    struct prepare *p = arg;
    struct fs_path rootfs = fs_path("%s/rootfs", p->bundle);
    p->r = mount_rootfs(p);
    if (p->r == 0)
        make_cwd(p, rootfs.s);
    if (p->r == 0)
        p->r = volume_mounts(p);
    if (p->r == 0)
        p->r = own_mounts(p);
    if (p->r == 0)
        p->r = write_config(p);
    if (p->r < 0) {
        (void)!fs_remove_bundle(p->bundle);
    }
}

static void prepare_free(struct prepare *p)
{
    object_unref(p->pod);
    image_unref(p->image);
    error_fini(&p->err);
    arena_fini(&p->arena);
    free(p);
}

static void prepare_done(void *arg)
{
    struct prepare *p = arg;
    if (p->ctr) {
        p->ctr->prepare = NULL;
        set_text(&p->ctr->bpf_file, p->bpf_file);
        p->fn(p->ctr, p->r, &p->err);
    }
    prepare_free(p);
}

void prepare_detach(struct prepare *p)
{
    p->ctr = NULL;
}

/* An ephemeral container may name one whose processes it is to see. */
static int find_target(struct ctr *c, struct prepare *p)
{
    const struct api_pod_spec *s = &((const struct api_pod *)p->pod->msg)->spec;
    if (c->kind != CTR_EPHEMERAL)
        return 0;
    /* its container is the first part of it */
    struct str name = ((const struct api_ephemeral_container *)p->container)->target_container_name;
    if (!name.n)
        return 0;
    const struct ctr *target = pod_find_ctr(c->pod, name);
    if (target && target->rec.pid > 0)
        p->target_pid = target->rec.pid;
    else if (!s->share_process_namespace && !s->host_pid)
        return error_set(&p->err, REASON_BAD_REQUEST,
                         "the container \"%.*s\", whose processes it is to see, does not run",
                         STR_ARG(name));
    return 0;
}

void ctr_prepare(struct ctr *c, ctr_prepared_fn fn)
{
    struct node *n = c->pod->node;
    struct prepare *p = NEW(struct prepare);
    p->ctr = c;
    p->fn = fn;
    p->pod = object_ref(c->pod->obj);
    p->image = image_ref(c->image);
    p->container = ctr_spec(c);
    p->layout = n->cgroups.layout;
    p->node_memory_bytes = n->memory_bytes;
    p->pod_dir = arena_cstr(&p->arena, str_z(c->pod->dir));
    p->bundle = arena_cstr(&p->arena, str_z(ctr_bundle(c).s));
    p->cgroup = arena_printf(&p->arena, "%s/%s", c->pod->cgroup, c->id).p;
    p->hostname = arena_cstr(&p->arena, str_z(c->pod->hostname));
    p->node_dir = arena_cstr(&p->arena, str_z(n->dir));
    p->crun = arena_cstr(&p->arena, str_z(n->runtime.crun));
    int r = find_target(c, p);
    if (r >= 0)
        r = build_env(c, p);
    if (r < 0) {
        struct error err = {0};
        error_copy(&err, &p->err);
        prepare_free(p);
        fn(c, r, &err);
        error_fini(&err);
        return;
    }
    c->prepare = p;
    rt_work(n->rt, &p->work, RT_WORK_SHORT, prepare_work, prepare_done, p);
}

void ctr_keep_seccomp(struct ctr *c)
{
    struct buf b = {0};
    if (!c->bpf_file || fs_exists(c->bpf_file))
        return;
    struct fs_path from = fs_path("%s/%s/seccomp.bpf", c->pod->node->runtime.root, c->id);
    struct fs_path dir = fs_path("%s/bpf", c->pod->node->dir);
    if (fs_read(from.s, SECCOMP_BYTES_MAX, &b) == 0 && b.n && b.n % 8 == 0 &&
        fs_mkdirs(dir.s, 0700) == 0)
        (void)!fs_write_atomic(c->bpf_file, buf_str(&b), 0600);
    buf_fini(&b);
}

/* ---- exec ---- */

int ctr_exec_process(struct ctr *c, const struct str *argv, size_t n_argv, bool tty,
                     const char *path, struct error *err)
{
    struct buf text = {0}, out = {0};
    struct arena a = {0};
    struct json *v;
    int r = fs_read(fs_path("%s/config.json", ctr_bundle(c).s).s, CONFIG_BYTES_MAX, &text);
    if (r < 0)
        r = error_errno(err, -r, "container not found (\"%s\")", c->name);
    if (r == 0)
        r = json_parse(buf_str(&text), &a, NULL, &v, err);
    struct json *process = r == 0 ? json_get(v, STR("process")) : NULL;
    if (r == 0 && !process)
        r = error_set(err, REASON_INTERNAL, "config.json has no process");
    if (r == 0) {
        struct json *args = json_new_arr(&a), *env = json_get(process, STR("env"));
        for (size_t i = 0; i < n_argv; i++)
            json_push(args, json_new_str(&a, argv[i]));
        json_set(process, STR("args"), args);
        json_set(process, STR("terminal"), json_new_bool(&a, tty));
        bool has_term = false;
        if (env)
            json_for_each(e, env) has_term |= e->type == JSON_STR && str_starts(e->s, STR("TERM="));
        if (tty && env && !has_term)
            json_push(env, json_new_str(&a, STR("TERM=xterm")));
        json_print(process, &out);
        r = fs_write(path, buf_str(&out), 0600);
        if (r < 0)
            r = error_errno(err, -r, "cannot write %s", path);
    }
    buf_fini(&text);
    buf_fini(&out);
    arena_fini(&a);
    return r;
}

struct runtime_exec *ctr_exec(struct ctr *c, const struct str *argv, size_t n_argv, bool tty,
                              bool stdin_open, const struct runtime_exec_callbacks *cb, void *arg,
                              struct error *err)
{
    struct node *n = c->pod->node;
    struct fs_path dir = fs_path("%s/x/%llu", n->run_dir, (unsigned long long)++n->next_exec);
    struct fs_path process = fs_path("%s/process.json", dir.s);
    int r = fs_mkdirs(dir.s, 0700);
    if (r < 0) {
        (void)!error_errno(err, -r, "cannot make %s", dir.s);
        return NULL;
    }
    if (ctr_exec_process(c, argv, n_argv, tty, process.s, err) < 0) {
        (void)!fs_rm_rf(dir.s);
        return NULL;
    }
    struct runtime_exec_opts o = {
        .id = c->id, .process_json = process.s, .dir = dir.s, .tty = tty, .stdin_open = stdin_open};
    return runtime_exec_start(&n->runtime, &o, cb, arg);
}
