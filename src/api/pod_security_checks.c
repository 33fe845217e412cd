/* The controls of the Pod Security Standards, one function each, in the order Kubernetes lists them
 * in its answers. A function looks at the version asked for where the control changed over time. */
#include "api/pod_security_int.h"

#define NEVER UINT32_MAX

#define EACH_CONTAINER(r, c)                                                                       \
    for (uint32_t i_ = 0; i_ < (r)->n_containers; i_++)                                            \
        for (const struct api_container *c = (r)->containers[i_]; c; c = NULL)

static const struct api_security_context *context_of(const struct api_container *c)
{
    static const struct api_security_context none;
    return c->security_context ? c->security_context : &none;
}

static const struct api_pod_security_context *pod_context(const struct ps_run *r)
{
    static const struct api_pod_security_context none;
    return r->spec->security_context ? r->spec->security_context : &none;
}

static bool one_of(struct str s, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(s, v[i]))
            return true;
    return false;
}

/* Since 1.25 what only Linux knows is not asked of Windows pods. */
static bool is_windows(const struct ps_run *r)
{
    return r->minor >= 25 && r->spec->os && str_is(r->spec->os->name, "windows");
}

/* Since 1.35: root in a user namespace of its own is nobody outside (KEP-127). */
static bool has_own_users(const struct ps_run *r)
{
    return r->minor >= 35 && r->spec->has_host_users && !r->spec->host_users;
}

/* ---- baseline ---- */

static bool good_app_armor(const struct api_app_armor_profile *p)
{
    return !p || str_is(p->type, "RuntimeDefault") || str_is(p->type, "Localhost");
}

static void app_armor(struct ps_run *r)
{
    static const struct str prefix = {"container.apparmor.security.beta.kubernetes.io/", 47};
    static_assert(sizeof("container.apparmor.security.beta.kubernetes.io/") - 1 == 47, "length");
    struct ps_set names = {0}, values = {0}, annotations = {0}, setters = {0};
    const struct api_app_armor_profile *pod = pod_context(r)->app_armor_profile;
    if (!good_app_armor(pod)) {
        ps_append(r, &setters, STR("pod"));
        ps_insert(r, &values, pod->type);
    }
    EACH_CONTAINER(r, c)
    {
        if (good_app_armor(context_of(c)->app_armor_profile))
            continue;
        ps_append(r, &names, c->name);
        ps_insert(r, &values, context_of(c)->app_armor_profile->type);
    }
    if (names.n)
        ps_append(r, &setters, str_z(ps_containers(r, &names)));
    for (uint32_t i = 0; i < r->meta->n_annotations; i++) {
        const struct kv_str *a = &r->meta->annotations[i];
        if (str_starts(a->key, prefix) && a->value.n && !str_is(a->value, "runtime/default") &&
            !str_starts(a->value, STR("localhost/")))
            ps_insert(r, &annotations,
                      arena_printf(r->arena, "%.*s=\"%.*s\"", STR_ARG(a->key), STR_ARG(a->value)));
    }
    for (uint32_t i = 0; i < annotations.n; i++)
        ps_append(r, &values, annotations.v[i]);
    if (annotations.n)
        ps_append(r, &setters, annotations.n == 1 ? STR("annotation") : STR("annotations"));
    if (setters.n)
        ps_forbid(r, values.n == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles",
                  "%s must not set AppArmor profile type to %s", ps_joined(r, &setters, " and "),
                  ps_quoted(r, &values));
}

static void capabilities_baseline(struct ps_run *r)
{
    static const char *const allowed[] = {
        "AUDIT_WRITE",      "CHOWN",   "DAC_OVERRIDE", "FOWNER",  "FSETID", "KILL",      "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID",       "SETPCAP", "SETUID", "SYS_CHROOT"};
    struct ps_set names = {0}, values = {0};
    EACH_CONTAINER(r, c)
    {
        const struct api_capabilities *caps = context_of(c)->capabilities;
        bool good = true;
        for (uint32_t i = 0; caps && i < caps->n_add; i++)
            if (!one_of(caps->add[i], allowed, ARRAY_LEN(allowed))) {
                good = false;
                ps_insert(r, &values, caps->add[i]);
            }
        if (!good)
            ps_append(r, &names, c->name);
    }
    if (names.n)
        ps_forbid(r, "non-default capabilities",
                  "%s must not include %s in securityContext.capabilities.add",
                  ps_containers(r, &names), ps_quoted(r, &values));
}

static void host_namespaces(struct ps_run *r)
{
    struct ps_set v = {0};
    if (r->spec->host_network)
        ps_append(r, &v, STR("hostNetwork=true"));
    if (r->spec->host_pid)
        ps_append(r, &v, STR("hostPID=true"));
    if (r->spec->host_ipc)
        ps_append(r, &v, STR("hostIPC=true"));
    if (v.n)
        ps_forbid(r, "host namespaces", "%s", ps_joined(r, &v, ", "));
}

static void host_path_volumes(struct ps_run *r)
{
    struct ps_set v = {0};
    for (uint32_t i = 0; i < r->spec->n_volumes; i++)
        if (r->spec->volumes[i].volume_source.host_path)
            ps_append(r, &v, r->spec->volumes[i].name);
    if (v.n)
        ps_forbid(r, "hostPath volumes", "volume%s %s", v.n == 1 ? "" : "s", ps_quoted(r, &v));
}

static void host_ports(struct ps_run *r)
{
    struct ps_set names = {0}, values = {0};
    EACH_CONTAINER(r, c)
    {
        bool good = true;
        for (uint32_t i = 0; i < c->n_ports; i++)
            if (c->ports[i].host_port) {
                good = false;
                ps_insert(r, &values, arena_printf(r->arena, "%d", c->ports[i].host_port));
            }
        if (!good)
            ps_append(r, &names, c->name);
    }
    if (names.n)
        ps_forbid(r, "hostPort", "%s use%s hostPort%s %s", ps_containers(r, &names),
                  names.n == 1 ? "s" : "", values.n == 1 ? "" : "s", ps_joined(r, &values, ", "));
}

static void probed_hosts(struct ps_run *r, const struct api_http_get_action *http,
                         const struct api_tcp_socket_action *tcp, struct ps_set *values, bool *good)
{
    if (http && http->host.n) {
        *good = false;
        ps_insert(r, values, http->host);
    }
    if (tcp && tcp->host.n) {
        *good = false;
        ps_insert(r, values, tcp->host);
    }
}

static void host_probes(struct ps_run *r)
{
    struct ps_set names = {0}, values = {0};
    EACH_CONTAINER(r, c)
    {
        bool good = true;
        const struct api_probe *probes[] = {c->liveness_probe, c->readiness_probe,
                                            c->startup_probe};
        const struct api_lifecycle_handler *hooks[] = {
            c->lifecycle ? c->lifecycle->post_start : NULL,
            c->lifecycle ? c->lifecycle->pre_stop : NULL};
        for (size_t i = 0; i < ARRAY_LEN(probes); i++)
            if (probes[i])
                probed_hosts(r, probes[i]->handler.http_get, probes[i]->handler.tcp_socket, &values,
                             &good);
        for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
            if (hooks[i])
                probed_hosts(r, hooks[i]->http_get, hooks[i]->tcp_socket, &values, &good);
        if (!good)
            ps_insert(r, &names, c->name);
    }
    if (names.n)
        ps_forbid(r, "probe or lifecycle host", "%s use%s probe or lifecycle host%s %s",
                  ps_containers(r, &names), names.n == 1 ? "s" : "", values.n == 1 ? "" : "s",
                  ps_quoted(r, &values));
}

static void privileged(struct ps_run *r)
{
    struct ps_set names = {0};
    EACH_CONTAINER(r, c)
    if (context_of(c)->privileged)
        ps_append(r, &names, c->name);
    if (names.n)
        ps_forbid(r, "privileged", "%s must not set securityContext.privileged=true",
                  ps_containers(r, &names));
}

static void proc_mounts(struct ps_run *r)
{
    struct ps_set names = {0}, values = {0};
    EACH_CONTAINER(r, c)
    {
        struct str type = context_of(c)->proc_mount;
        if (!type.n || str_is(type, "Default"))
            continue;
        ps_append(r, &names, c->name);
        ps_insert(r, &values, type);
    }
    if (names.n)
        ps_forbid(r, "procMount", "%s must not set securityContext.procMount to %s",
                  ps_containers(r, &names), ps_quoted(r, &values));
}

static void proc_mount_baseline(struct ps_run *r)
{
    if (!has_own_users(r))
        proc_mounts(r);
}

struct selinux {
    struct ps_set types;
    bool user, role;
};

static bool good_selinux(struct ps_run *r, const struct api_se_linux_options *o,
                         struct selinux *bad)
{
    static const char *const types[] = {"", "container_t", "container_init_t", "container_kvm_t",
                                        "container_engine_t"};
    if (!o)
        return true;
    bool good_type = one_of(o->type, types, r->minor >= 31 ? 5 : 4);
    if (!good_type)
        ps_insert(r, &bad->types, o->type);
    bad->user |= o->user.n > 0;
    bad->role |= o->role.n > 0;
    return good_type && !o->user.n && !o->role.n;
}

static void se_linux(struct ps_run *r)
{
    struct selinux bad = {0};
    struct ps_set names = {0}, what = {0};
    bool pod = !good_selinux(r, pod_context(r)->se_linux_options, &bad);
    EACH_CONTAINER(r, c)
    if (!good_selinux(r, context_of(c)->se_linux_options, &bad))
        ps_append(r, &names, c->name);
    if (!pod && !names.n)
        return;
    if (bad.types.n)
        ps_append(r, &what,
                  arena_printf(r->arena, "type%s %s", bad.types.n == 1 ? "" : "s",
                               ps_quoted(r, &bad.types)));
    if (bad.user)
        ps_append(r, &what, STR("user may not be set"));
    if (bad.role)
        ps_append(r, &what, STR("role may not be set"));
    ps_forbid(r, "seLinuxOptions", "%s set forbidden securityContext.seLinuxOptions: %s",
              ps_setters(r, pod, &names), ps_joined(r, &what, "; "));
}

static bool good_seccomp(const struct api_seccomp_profile *p)
{
    return str_is(p->type, "RuntimeDefault") || str_is(p->type, "Localhost");
}

/* Before 1.19 seccomp was a matter of annotations. */
static void seccomp_annotations(struct ps_run *r)
{
    static const char pod_key[] = "seccomp.security.alpha.kubernetes.io/pod";
    struct ps_set v = {0};
    for (uint32_t i = 0; i <= r->n_containers; i++) {
        struct str key = i == 0 ? str_z(pod_key)
                                : arena_printf(r->arena,
                                               "container.seccomp.security.alpha.kubernetes.io/"
                                               "%.*s",
                                               STR_ARG(r->containers[i - 1]->name));
        const struct str *value = KV_GET(r->meta, annotations, key);
        if (value && !str_is(*value, "runtime/default") && !str_is(*value, "docker/default") &&
            !str_starts(*value, STR("localhost/")))
            ps_insert(r, &v,
                      arena_printf(r->arena, "%.*s=\"%.*s\"", STR_ARG(key), STR_ARG(*value)));
    }
    if (v.n)
        ps_forbid(r, "seccompProfile", "forbidden annotation%s %s", v.n == 1 ? "" : "s",
                  ps_joined(r, &v, ", "));
}

/* True when something was wrong. *ret_unset: containers that neither say anything nor get it from
 * the pod. */
static bool seccomp_set_badly(struct ps_run *r, struct ps_set *ret_unset)
{
    struct ps_set names = {0}, values = {0};
    const struct api_seccomp_profile *pod = pod_context(r)->seccomp_profile;
    bool bad_pod = pod && !good_seccomp(pod);
    if (bad_pod)
        ps_insert(r, &values, pod->type);
    EACH_CONTAINER(r, c)
    {
        const struct api_seccomp_profile *p = context_of(c)->seccomp_profile;
        if (!p && (!pod || bad_pod))
            ps_append(r, ret_unset, c->name);
        if (!p || good_seccomp(p))
            continue;
        ps_append(r, &names, c->name);
        ps_insert(r, &values, p->type);
    }
    if (!bad_pod && !names.n)
        return false;
    ps_forbid(r, "seccompProfile", "%s must not set securityContext.seccompProfile.type to %s",
              ps_setters(r, bad_pod, &names), ps_quoted(r, &values));
    return true;
}

static void seccomp_baseline(struct ps_run *r)
{
    struct ps_set unset = {0};
    if (r->minor < 19)
        seccomp_annotations(r);
    else
        (void)seccomp_set_badly(r, &unset);
}

static void sysctls(struct ps_run *r)
{
    static const struct {
        const char *name;
        uint32_t since;
    } allowed[] = {
        {"kernel.shm_rmid_forced", 0},
        {"net.ipv4.ip_local_port_range", 0},
        {"net.ipv4.tcp_syncookies", 0},
        {"net.ipv4.ping_group_range", 0},
        {"net.ipv4.ip_unprivileged_port_start", 0},
        {"net.ipv4.ip_local_reserved_ports", 27},
        {"net.ipv4.tcp_keepalive_time", 29},
        {"net.ipv4.tcp_fin_timeout", 29},
        {"net.ipv4.tcp_keepalive_intvl", 29},
        {"net.ipv4.tcp_keepalive_probes", 29},
        {"net.ipv4.tcp_rmem", 32},
        {"net.ipv4.tcp_wmem", 32},
    };
    const struct api_pod_security_context *s = pod_context(r);
    struct ps_set v = {0};
    for (uint32_t i = 0; i < s->n_sysctls; i++) {
        bool good = false;
        for (size_t k = 0; k < ARRAY_LEN(allowed) && !good; k++)
            good = r->minor >= allowed[k].since && str_eqz(s->sysctls[i].name, allowed[k].name);
        if (!good)
            ps_append(r, &v, s->sysctls[i].name);
    }
    if (v.n)
        ps_forbid(r, "forbidden sysctls", "%s", ps_joined(r, &v, ", "));
}

static bool is_host_process(const struct api_windows_security_context_options *w)
{
    return w && w->has_host_process && w->host_process;
}

static void windows_host_process(struct ps_run *r)
{
    struct ps_set names = {0};
    bool pod = is_host_process(pod_context(r)->windows_options);
    EACH_CONTAINER(r, c)
    if (is_host_process(context_of(c)->windows_options))
        ps_append(r, &names, c->name);
    if (pod || names.n)
        ps_forbid(r, "hostProcess",
                  "%s must not set securityContext.windowsOptions.hostProcess=true",
                  ps_setters(r, pod, &names));
}

/* ---- restricted ---- */

static void privilege_escalation(struct ps_run *r)
{
    struct ps_set names = {0};
    if (is_windows(r))
        return;
    EACH_CONTAINER(r, c)
    if (!context_of(c)->has_allow_privilege_escalation || context_of(c)->allow_privilege_escalation)
        ps_append(r, &names, c->name);
    if (names.n)
        ps_forbid(r, "allowPrivilegeEscalation != false",
                  "%s must set securityContext.allowPrivilegeEscalation=false",
                  ps_containers(r, &names));
}

static void capabilities_restricted(struct ps_run *r)
{
    static const struct api_capabilities none;
    struct ps_set undropped = {0}, adding = {0}, values = {0}, what = {0};
    if (is_windows(r))
        return;
    EACH_CONTAINER(r, c)
    {
        const struct api_capabilities *caps = context_of(c)->capabilities;
        bool dropped = false, adds = false;
        caps = caps ? caps : &none;
        for (uint32_t i = 0; i < caps->n_drop; i++)
            dropped |= str_is(caps->drop[i], "ALL");
        for (uint32_t i = 0; i < caps->n_add; i++)
            if (!str_is(caps->add[i], "NET_BIND_SERVICE")) {
                adds = true;
                ps_insert(r, &values, caps->add[i]);
            }
        if (!dropped)
            ps_append(r, &undropped, c->name);
        if (adds)
            ps_append(r, &adding, c->name);
    }
    if (undropped.n)
        ps_append(r, &what,
                  arena_printf(r->arena, "%s must set securityContext.capabilities.drop=[\"ALL\"]",
                               ps_containers(r, &undropped)));
    if (adding.n)
        ps_append(r, &what,
                  arena_printf(r->arena,
                               "%s must not include %s in securityContext.capabilities.add",
                               ps_containers(r, &adding), ps_quoted(r, &values)));
    if (what.n)
        ps_forbid(r, "unrestricted capabilities", "%s", ps_joined(r, &what, "; "));
}

/* The name of the source in the API, when it is one that the restricted level forbids. */
static const char *restricted_source(const struct api_volume_source *v)
{
    const struct {
        const void *set;
        const char *name;
    } rows[] = {
        {v->host_path, "hostPath"},
        {v->gce_persistent_disk, "gcePersistentDisk"},
        {v->aws_elastic_block_store, "awsElasticBlockStore"},
        {v->git_repo, "gitRepo"},
        {v->nfs, "nfs"},
        {v->iscsi, "iscsi"},
        {v->glusterfs, "glusterfs"},
        {v->rbd, "rbd"},
        {v->flex_volume, "flexVolume"},
        {v->cinder, "cinder"},
        {v->cephfs, "cephfs"},
        {v->flocker, "flocker"},
        {v->fc, "fc"},
        {v->azure_file, "azureFile"},
        {v->vsphere_volume, "vsphereVolume"},
        {v->quobyte, "quobyte"},
        {v->azure_disk, "azureDisk"},
        {v->portworx_volume, "portworxVolume"},
        {v->scale_io, "scaleIO"},
        {v->storageos, "storageos"},
    };
    if (v->config_map || v->csi || v->downward_api || v->empty_dir || v->ephemeral ||
        v->persistent_volume_claim || v->projected || v->secret)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].set)
            return rows[i].name;
    return "unknown";
}

static void restricted_volumes(struct ps_run *r)
{
    struct ps_set names = {0}, types = {0};
    for (uint32_t i = 0; i < r->spec->n_volumes; i++) {
        const char *type = restricted_source(&r->spec->volumes[i].volume_source);
        if (!type)
            continue;
        ps_append(r, &names, r->spec->volumes[i].name);
        ps_insert(r, &types, str_z(type));
    }
    if (names.n)
        ps_forbid(r, "restricted volume types", "volume%s %s use%s restricted volume type%s %s",
                  names.n == 1 ? "" : "s", ps_quoted(r, &names), names.n == 1 ? "s" : "",
                  types.n == 1 ? "" : "s", ps_quoted(r, &types));
}

static void run_as_non_root(struct ps_run *r)
{
    struct ps_set names = {0}, unset = {0};
    const struct api_pod_security_context *pod = pod_context(r);
    bool bad_pod = pod->has_run_as_non_root && !pod->run_as_non_root;
    if (has_own_users(r))
        return;
    EACH_CONTAINER(r, c)
    {
        const struct api_security_context *s = context_of(c);
        if (s->has_run_as_non_root && !s->run_as_non_root)
            ps_append(r, &names, c->name);
        else if (!s->has_run_as_non_root && !pod->run_as_non_root)
            ps_append(r, &unset, c->name);
    }
    if (bad_pod || names.n)
        ps_forbid(r, "runAsNonRoot != true", "%s must not set securityContext.runAsNonRoot=false",
                  ps_setters(r, bad_pod, &names));
    else if (unset.n)
        ps_forbid(r, "runAsNonRoot != true", "pod or %s must set securityContext.runAsNonRoot=true",
                  ps_containers(r, &unset));
}

static void run_as_user(struct ps_run *r)
{
    struct ps_set names = {0};
    const struct api_pod_security_context *pod = pod_context(r);
    bool bad_pod = pod->has_run_as_user && pod->run_as_user == 0;
    if (has_own_users(r))
        return;
    EACH_CONTAINER(r, c)
    if (context_of(c)->has_run_as_user && context_of(c)->run_as_user == 0)
        ps_append(r, &names, c->name);
    if (bad_pod || names.n)
        ps_forbid(r, "runAsUser=0", "%s must not set runAsUser=0", ps_setters(r, bad_pod, &names));
}

static void seccomp_restricted(struct ps_run *r)
{
    struct ps_set unset = {0};
    if (!is_windows(r) && !seccomp_set_badly(r, &unset) && unset.n)
        ps_forbid(r, "seccompProfile",
                  "pod or %s must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
                  "\"Localhost\"",
                  ps_containers(r, &unset));
}

/* ---- the table ---- */

const struct ps_check ps_checks[] = {
    {POD_SECURITY_BASELINE, 0, NEVER, app_armor},
    {POD_SECURITY_BASELINE, 0, 22, capabilities_baseline},
    {POD_SECURITY_BASELINE, 0, NEVER, host_namespaces},
    {POD_SECURITY_BASELINE, 0, 0, host_path_volumes},
    {POD_SECURITY_BASELINE, 0, NEVER, host_ports},
    {POD_SECURITY_BASELINE, 34, NEVER, host_probes},
    {POD_SECURITY_BASELINE, 0, NEVER, privileged},
    {POD_SECURITY_BASELINE, 0, 0, proc_mount_baseline},
    {POD_SECURITY_BASELINE, 0, NEVER, se_linux},
    {POD_SECURITY_BASELINE, 0, 19, seccomp_baseline},
    {POD_SECURITY_BASELINE, 0, NEVER, sysctls},
    {POD_SECURITY_BASELINE, 0, NEVER, windows_host_process},
    {POD_SECURITY_RESTRICTED, 8, NEVER, privilege_escalation},
    {POD_SECURITY_RESTRICTED, 22, NEVER, capabilities_restricted},
    {POD_SECURITY_RESTRICTED, 0, NEVER, proc_mounts},
    {POD_SECURITY_RESTRICTED, 0, NEVER, restricted_volumes},
    {POD_SECURITY_RESTRICTED, 0, NEVER, run_as_non_root},
    {POD_SECURITY_RESTRICTED, 23, NEVER, run_as_user},
    {POD_SECURITY_RESTRICTED, 19, NEVER, seccomp_restricted},
};
const size_t ps_n_checks = ARRAY_LEN(ps_checks);
