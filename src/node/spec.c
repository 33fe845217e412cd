/* One function per section of the OCI runtime spec (opencontainers/runtime-spec, config.md and
 * config-linux.md). The values are those container runtimes for Kubernetes agree on: masked and
 * read-only paths of /proc and /sys, default devices, 64 MB of /dev/shm shared in the pod. */
#include "node/spec.h"

#include "codec/base64.h"
#include "node/jw.h"
#include "node/seccomp.h"

static bool is_privileged(const struct spec_input *in)
{
    const struct api_security_context *sc = in->container->security_context;
    return sc && sc->privileged;
}

/* ---- process ---- */

static void write_argv(const struct spec_input *in, struct arena *a, struct jw *w)
{
    const struct api_container *c = in->container;
    jw_key_open(w, "args", '[');
    if (c->n_command)
        for (uint32_t i = 0; i < c->n_command; i++)
            jw_str(w, env_expand(a, c->command[i], env_get_cb, in->env));
    else
        for (char *const *s = in->image_entrypoint; s && *s; s++)
            jw_str(w, str_z(*s));
    if (c->n_args)
        for (uint32_t i = 0; i < c->n_args; i++)
            jw_str(w, env_expand(a, c->args[i], env_get_cb, in->env));
    else if (!c->n_command)
        for (char *const *s = in->image_cmd; s && *s; s++)
            jw_str(w, str_z(*s));
    jw_close(w, ']');
}

static void write_user(const struct user *u, struct jw *w)
{
    jw_key_open(w, "user", '{');
    jw_key_i64(w, "uid", u->uid);
    jw_key_i64(w, "gid", u->gid);
    jw_key_open(w, "additionalGids", '[');
    for (unsigned i = 0; i < u->n_groups; i++)
        jw_i64(w, u->groups[i]);
    jw_close(w, ']');
    jw_close(w, '}');
}

static void write_env(const struct spec_input *in, bool tty, struct arena *a, struct jw *w)
{
    static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    jw_key_open(w, "env", '[');
    if (!env_get(in->env, STR("PATH")))
        jw_str(w, arena_printf(a, "PATH=%s", path));
    if (!env_get(in->env, STR("HOSTNAME")))
        jw_str(w, arena_printf(a, "HOSTNAME=%s", in->hostname));
    if (tty && !env_get(in->env, STR("TERM")))
        jw_str(w, STR("TERM=xterm"));
    if (!env_get(in->env, STR("HOME")))
        jw_str(w, arena_printf(a, "HOME=%s", in->user->home[0] ? in->user->home : "/"));
    for (size_t i = 0; i < in->env->n; i++)
        jw_str(w, arena_printf(a, "%.*s=%.*s", STR_ARG(in->env->v[i].key),
                               STR_ARG(in->env->v[i].value)));
    jw_close(w, ']');
}

static void write_cap_set(const char *key, uint64_t caps, struct jw *w)
{
    jw_key_open(w, key, '[');
    for (int i = 0; i <= cap_last(); i++)
        if (caps & (UINT64_C(1) << i))
            jw_str(w, str_z(cap_name(i)));
    jw_close(w, ']');
}

static void write_process(const struct spec_input *in, const struct str *argv, size_t n_argv,
                          bool tty, struct arena *a, struct jw *w)
{
    const struct api_container *c = in->container;
    const struct api_security_context *sc = c->security_context;
    jw_open(w, '{');
    jw_key_bool(w, "terminal", tty);
    write_user(in->user, w);
    if (argv) {
        jw_key_open(w, "args", '[');
        for (size_t i = 0; i < n_argv; i++)
            jw_str(w, argv[i]);
        jw_close(w, ']');
    } else {
        write_argv(in, a, w);
    }
    write_env(in, tty, a, w);
    struct str cwd = c->working_dir.n ? c->working_dir : str_z(in->image_working_dir);
    jw_key_str(w, "cwd", cwd.n ? cwd : STR("/"));
    /* A user other than root starts with no effective capabilities, as execve would leave it; what
     * may be gained again is bounded. */
    uint64_t effective = in->user->uid == 0 ? in->caps : 0;
    jw_key_open(w, "capabilities", '{');
    write_cap_set("bounding", in->caps, w);
    write_cap_set("effective", effective, w);
    write_cap_set("permitted", effective, w);
    jw_close(w, '}');
    bool may_escalate = !sc || !sc->has_allow_privilege_escalation ||
                        sc->allow_privilege_escalation || is_privileged(in);
    jw_key_bool(w, "noNewPrivileges", !may_escalate);
    jw_key_i64(w, "oomScoreAdj", in->oom_score_adj);
    jw_close(w, '}');
}

/* ---- mounts ---- */

static void write_mount(struct jw *w, const char *dest, const char *type, const char *source,
                        const char *options)
{
    jw_open(w, '{');
    jw_key_z(w, "destination", dest);
    jw_key_z(w, "type", type);
    jw_key_z(w, "source", source);
    jw_key_open(w, "options", '[');
    struct str rest = str_z(options), o;
    while (str_cut(&rest, ',', &o) || o.n)
        jw_str(w, o);
    jw_close(w, ']');
    jw_close(w, '}');
}

static bool mounted_by_user(const struct spec_input *in, const char *dest)
{
    for (size_t i = 0; i < in->n_mounts; i++)
        if (strcmp(in->mounts[i].dest, dest) == 0)
            return true;
    return false;
}

static unsigned depth(const char *path)
{
    unsigned n = 0;
    for (; *path; path++)
        n += *path == '/' && path[1] && path[1] != '/';
    return n;
}

static void write_mounts(const struct spec_input *in, struct jw *w)
{
    bool priv = is_privileged(in);
    jw_key_open(w, "mounts", '[');
    write_mount(w, "/proc", "proc", "proc", "nosuid,noexec,nodev");
    write_mount(w, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
    write_mount(w, "/dev/pts", "devpts", "devpts",
                "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
    if (!mounted_by_user(in, "/dev/mqueue"))
        write_mount(w, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
    write_mount(w, "/sys", "sysfs", "sysfs",
                priv ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
    if (!mounted_by_user(in, "/sys/fs/cgroup"))
        write_mount(w, "/sys/fs/cgroup", "cgroup", "cgroup",
                    priv ? "nosuid,noexec,nodev,relatime,rw" : "nosuid,noexec,nodev,relatime,ro");
    /* Parents before what lies in them; otherwise as given. */
    for (unsigned d = 0, left = (unsigned)in->n_mounts; left > 0; d++)
        for (size_t i = 0; i < in->n_mounts; i++) {
            const struct spec_mount *m = &in->mounts[i];
            if (depth(m->dest) != d)
                continue;
            char options[64];
            snprintf(options, sizeof(options), "rbind,%s,%s",
                     m->propagation ? m->propagation : "rprivate", m->read_only ? "ro" : "rw");
            write_mount(w, m->dest, "bind", m->source, options);
            left--;
        }
    jw_close(w, ']');
}

/* ---- linux ---- */

static void write_namespaces(const struct spec_input *in, struct jw *w)
{
    static const char *const names[_SPEC_NS_MAX] = {"network", "ipc", "uts", "pid"};
    jw_key_open(w, "namespaces", '[');
    for (int i = 0; i < _SPEC_NS_MAX; i++) {
        const char *path = in->ns_path[i];
        if (path && !*path)
            continue;
        jw_open(w, '{');
        jw_key_z(w, "type", names[i]);
        if (path)
            jw_key_z(w, "path", path);
        jw_close(w, '}');
    }
    jw_raw(w, "{\"type\":\"mount\"}");
    if (in->layout == CGROUP_LAYOUT_V2 && !is_privileged(in))
        jw_raw(w, "{\"type\":\"cgroup\"}");
    jw_close(w, ']');
}

static void write_devices(const struct spec_input *in, struct jw *w)
{
    jw_key_open(w, "devices", '[');
    if (is_privileged(in)) {
        jw_raw(w, "{\"allow\":true,\"access\":\"rwm\"}");
    } else {
        jw_raw(w, "{\"allow\":false,\"access\":\"rwm\"}");
        jw_raw(w, "{\"allow\":true,\"type\":\"c\",\"access\":\"m\"},{\"allow\":true,\"type\":\"b\","
                  "\"access\":\"m\"}");
        /* null zero full tty urandom random console ptmx pts/N */
        static const int minors[][2] = {{1, 3}, {1, 5}, {1, 7}, {5, 0},   {1, 9},
                                        {1, 8}, {5, 1}, {5, 2}, {136, -1}};
        for (size_t i = 0; i < ARRAY_LEN(minors); i++) {
            jw_open(w, '{');
            jw_key_bool(w, "allow", true);
            jw_key_z(w, "type", "c");
            jw_key_i64(w, "major", minors[i][0]);
            if (minors[i][1] >= 0)
                jw_key_i64(w, "minor", minors[i][1]);
            jw_key_z(w, "access", "rwm");
            jw_close(w, '}');
        }
    }
    jw_close(w, ']');
}

static void write_resources(const struct spec_input *in, struct jw *w)
{
    struct container_resources r;
    container_resources(in->pod, in->container, &r);
    jw_key_open(w, "resources", '{');
    write_devices(in, w);
    jw_key_open(w, "cpu", '{');
    jw_key_i64(w, "shares", cpu_shares_of_milli(r.cpu_request_milli));
    if (r.has_cpu_limit) {
        jw_key_i64(w, "quota", cpu_quota_of_milli(r.cpu_limit_milli));
        jw_key_i64(w, "period", CPU_PERIOD_US);
    }
    jw_close(w, '}');
    if (r.has_memory_limit) {
        jw_key_open(w, "memory", '{');
        jw_key_i64(w, "limit", r.memory_limit_bytes);
        jw_close(w, '}');
    }
    if (in->pids_max > 0) {
        jw_key_open(w, "pids", '{');
        jw_key_i64(w, "limit", in->pids_max);
        jw_close(w, '}');
    }
    jw_close(w, '}');
}

static void write_paths(const struct spec_input *in, struct jw *w)
{
    static const char *const masked[] = {
        "/proc/asound",
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    };
    static const char *const read_only[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    };
    const struct api_security_context *sc = in->container->security_context;
    if (is_privileged(in) || (sc && str_is(sc->proc_mount, "Unmasked")))
        return;
    jw_key_open(w, "maskedPaths", '[');
    for (size_t i = 0; i < ARRAY_LEN(masked); i++)
        jw_str(w, str_z(masked[i]));
    jw_close(w, ']');
    jw_key_open(w, "readonlyPaths", '[');
    for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
        jw_str(w, str_z(read_only[i]));
    jw_close(w, ']');
}

struct str spec_seccomp_type(const struct api_pod *pod, const struct api_container *c,
                             struct str *ret_localhost)
{
    const struct api_security_context *sc = c->security_context;
    const struct api_pod_security_context *psc = pod->spec.security_context;
    const struct api_seccomp_profile *p = sc && sc->seccomp_profile ? sc->seccomp_profile
                                          : psc                     ? psc->seccomp_profile
                                                                    : NULL;
    *ret_localhost = p ? p->localhost_profile : STR_NONE;
    if (sc && sc->privileged)
        return STR("Unconfined");
    return p && p->type.n ? p->type : STR("RuntimeDefault");
}

static void write_seccomp(const struct spec_input *in, struct jw *w)
{
    struct str localhost, type = spec_seccomp_type(in->pod, in->container, &localhost);
    if (str_is(type, "RuntimeDefault")) {
        jw_key(w, "seccomp");
        seccomp_default_json(in->caps, w->b);
        w->comma = true;
    } else if (str_is(type, "Localhost") && in->seccomp_localhost_json) {
        jw_key(w, "seccomp");
        jw_raw(w, in->seccomp_localhost_json);
    }
}

static void write_linux(const struct spec_input *in, struct jw *w)
{
    jw_key_open(w, "linux", '{');
    write_namespaces(in, w);
    write_resources(in, w);
    if (in->devices.n) {
        jw_key_open(w, "devices", '[');
        buf_add_str(w->b, in->devices);
        jw_close(w, ']');
    }
    jw_key_z(w, "cgroupsPath", in->cgroup_path);
    jw_key_z(w, "rootfsPropagation", "slave");
    write_paths(in, w);
    write_seccomp(in, w);
    jw_close(w, '}');
}

static bool has_something_to_run(const struct spec_input *in)
{
    const struct api_container *c = in->container;
    return c->n_command || c->n_args || (in->image_entrypoint && *in->image_entrypoint) ||
           (in->image_cmd && *in->image_cmd);
}

int spec_build(const struct spec_input *in, struct buf *b, struct error *err)
{
    if (!has_something_to_run(in))
        return error_set(err, REASON_BAD_REQUEST, "no command specified");
    const struct api_container *c = in->container;
    const struct api_security_context *sc = c->security_context;
    struct arena a = {0};
    struct jw w = {b, false};
    jw_open(&w, '{');
    jw_key_z(&w, "ociVersion", "1.0.2");
    jw_key(&w, "process");
    write_process(in, NULL, 0, c->tty, &a, &w);
    jw_key_open(&w, "root", '{');
    jw_key_z(&w, "path", in->rootfs);
    jw_key_bool(&w, "readonly", sc && sc->read_only_root_filesystem);
    jw_close(&w, '}');
    if (!in->ns_path[SPEC_NS_UTS])
        jw_key_z(&w, "hostname", in->hostname);
    write_mounts(in, &w);
    jw_key_open(&w, "annotations", '{');
    jw_key_str(&w, "io.kubernetes.pod.uid", in->pod->metadata.uid);
    jw_key_str(&w, "io.kubernetes.pod.namespace", in->pod->metadata.namespace);
    jw_key_str(&w, "io.kubernetes.pod.name", in->pod->metadata.name);
    jw_key_str(&w, "io.kubernetes.container.name", c->name);
    if (in->seccomp_bpf.n) {
        struct buf text = {0};
        base64_print(in->seccomp_bpf, &text);
        jw_key_str(&w, "run.oci.seccomp_bpf_data", buf_str(&text));
        buf_fini(&text);
    }
    jw_close(&w, '}');
    write_linux(in, &w);
    jw_close(&w, '}');
    arena_fini(&a);
    return 0;
}

void spec_build_exec(const struct spec_input *in, const struct str *argv, size_t n_argv, bool tty,
                     struct buf *b)
{
    struct arena a = {0};
    struct jw w = {b, false};
    write_process(in, argv, n_argv, tty, &a, &w);
    arena_fini(&a);
}
