/* Rules of Kubernetes' security contexts, QoS classes and of the CPU and memory arithmetic every
 * CRI runtime does. */
#include "node/security.h"

#include "api/amounts.h"
#include "api/pod.h"
#include "node/fsutil.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"

static const char *const cap_names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
static_assert(ARRAY_LEN(cap_names) == CAP_LAST_CAP + 1, "a name for every capability");

#define BIT(c) (UINT64_C(1) << (c))
static const uint64_t default_caps =
    BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) | BIT(CAP_MKNOD) |
    BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) |
    BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE);

int cap_last(void)
{
    return CAP_LAST_CAP;
}

const char *cap_name(int cap)
{
    ASSERT(cap >= 0 && cap <= CAP_LAST_CAP);
    return cap_names[cap];
}

int cap_parse(struct str name)
{
    for (int i = 0; i <= CAP_LAST_CAP; i++)
        if (str_ieq(name, str_z(cap_names[i])) || str_ieq(name, str_z(cap_names[i] + 4)))
            return i;
    return -EINVAL;
}

uint64_t caps_own(void)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {{0}};
    if (syscall(SYS_capget, &h, d) < 0)
        return BIT(CAP_LAST_CAP + 1) - 1;
    return ((uint64_t)d[1].permitted << 32) | d[0].permitted;
}

uint64_t caps_of(const struct api_security_context *sc, struct error *err, int *ret_r)
{
    const uint64_t all = BIT(CAP_LAST_CAP + 1) - 1;
    uint64_t caps = default_caps;
    *ret_r = 0;
    if (sc && sc->privileged)
        return all;
    if (!sc || !sc->capabilities)
        return caps;
    const struct api_capabilities *c = sc->capabilities;
    /* ALL first, whichever list it is in, then the named ones */
    for (uint32_t i = 0; i < c->n_add; i++)
        if (str_ieq(c->add[i], STR("ALL")))
            caps = all;
    for (uint32_t i = 0; i < c->n_drop; i++)
        if (str_ieq(c->drop[i], STR("ALL")))
            caps = 0;
    for (int drop = 0; drop < 2; drop++) {
        const struct str *v = drop ? c->drop : c->add;
        uint32_t n = drop ? c->n_drop : c->n_add;
        for (uint32_t i = 0; i < n; i++) {
            if (str_ieq(v[i], STR("ALL")))
                continue;
            int cap = cap_parse(v[i]);
            if (cap < 0) {
                *ret_r = error_set(err, REASON_BAD_REQUEST, "unknown capability \"%.*s\"",
                                   STR_ARG(v[i]));
                return 0;
            }
            caps = drop ? caps & ~BIT(cap) : caps | BIT(cap);
        }
    }
    return caps;
}

/* ---- users ---- */

#define PASSWD_BYTES_MAX (4u << 20)

static int read_in_root(const char *rootfs, const char *path, struct buf *out)
{
    CLEANUP(fd_closep) int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT};
    CLEANUP(fd_closep) int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd < 0)
        return -errno;
    out->limit_bytes = PASSWD_BYTES_MAX;
    for (;;) {
        char *p = buf_reserve(out, 8192);
        ssize_t n = p ? read(fd, p, 8192) : -1;
        if (n <= 0)
            return n < 0 ? -EIO : 0;
        out->n += (size_t)n;
    }
}

/* Field i of a line "a:b:c". */
static struct str field(struct str line, unsigned i)
{
    struct str f = STR_NONE;
    for (unsigned k = 0; k <= i; k++)
        if (!str_cut(&line, ':', &f) && k < i)
            return STR_NONE;
    return f;
}

static bool next_line(struct str *text, struct str *line)
{
    return str_cut(text, '\n', line) || line->n > 0;
}

static bool number(struct str s, int64_t *ret)
{
    return s.n > 0 && str_to_i64(s, ret) == 0 && *ret >= 0 && *ret <= 0xffffffffLL;
}

/* By name or number. Fills uid, gid, home, name. */
static bool find_user(struct str passwd, struct str who, struct user *u)
{
    int64_t want = -1;
    bool numeric = number(who, &want);
    struct str line;
    while (next_line(&passwd, &line)) {
        int64_t uid, gid;
        if (!number(field(line, 2), &uid) || !number(field(line, 3), &gid))
            continue;
        if (!str_eq(field(line, 0), who) && !(numeric && uid == want))
            continue;
        u->uid = uid;
        u->gid = gid;
        snprintf(u->home, sizeof(u->home), "%.*s", STR_ARG(field(line, 5)));
        snprintf(u->name, sizeof(u->name), "%.*s", STR_ARG(field(line, 0)));
        return true;
    }
    return false;
}

static bool find_group(struct str group, struct str who, int64_t *ret)
{
    struct str line;
    while (next_line(&group, &line)) {
        int64_t gid;
        if (str_eq(field(line, 0), who) && number(field(line, 2), &gid)) {
            *ret = gid;
            return true;
        }
    }
    return number(who, ret);
}

static void add_group(struct user *u, int64_t gid)
{
    for (unsigned i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return;
    if (u->n_groups < USER_GROUPS_MAX)
        u->groups[u->n_groups++] = (uint32_t)gid;
}

static void groups_of_member(struct str group, struct user *u)
{
    struct str line;
    while (u->name[0] && next_line(&group, &line)) {
        struct str members = field(line, 3), m;
        int64_t gid;
        while (str_cut(&members, ',', &m) || m.n)
            if (str_eqz(m, u->name) && number(field(line, 2), &gid))
                add_group(u, gid);
    }
}

static int user_of_image(struct str passwd, struct str group, struct str image_user, struct user *u,
                         struct error *err)
{
    struct str rest = image_user, name;
    bool has_group = str_cut(&rest, ':', &name);
    if (name.n && !find_user(passwd, name, u) && !number(name, &u->uid))
        return error_set(err, REASON_BAD_REQUEST,
                         "unable to find user %.*s: no matching entries in passwd file",
                         STR_ARG(name));
    if (has_group && rest.n && !find_group(group, rest, &u->gid))
        return error_set(err, REASON_BAD_REQUEST,
                         "unable to find group %.*s: no matching entries in group file",
                         STR_ARG(rest));
    return 0;
}

static int check_non_root(struct str image_user, bool by_spec, const struct user *u,
                          struct str container, struct error *err)
{
    int64_t n;
    struct str name = image_user, rest = image_user;
    str_cut(&rest, ':', &name);
    if (!by_spec && name.n && !number(name, &n))
        return error_set(err, REASON_BAD_REQUEST,
                         "container has runAsNonRoot and image has non-numeric user (%.*s), cannot "
                         "verify user is "
                         "non-root (container: %.*s)",
                         STR_ARG(name), STR_ARG(container));
    if (u->uid != 0)
        return 0;
    return error_set(
        err, REASON_BAD_REQUEST,
        by_spec ? "container's runAsUser breaks non-root policy (container: %.*s)"
                : "container has runAsNonRoot and image will run as root (container: %.*s)",
        STR_ARG(container));
}

int user_resolve(const char *rootfs, struct str image_user, const struct api_security_context *sc,
                 const struct api_pod_security_context *psc, struct str container, struct user *ret,
                 struct error *err)
{
    struct user u = {0};
    struct buf passwd = {0}, group = {0};
    (void)!read_in_root(rootfs, "etc/passwd", &passwd);
    (void)!read_in_root(rootfs, "etc/group", &group);
    bool by_sc = sc && sc->has_run_as_user, by_psc = psc && psc->has_run_as_user;
    int r = 0;
    if (by_sc || by_psc) {
        u.uid = by_sc ? sc->run_as_user : psc->run_as_user;
        char text[24];
        snprintf(text, sizeof(text), "%lld", (long long)u.uid);
        (void)find_user(buf_str(&passwd), str_z(text), &u);
    } else {
        r = user_of_image(buf_str(&passwd), buf_str(&group), image_user, &u, err);
        if (r == 0 && image_user.n == 0)
            (void)find_user(buf_str(&passwd), STR("0"), &u);
    }
    if (sc && sc->has_run_as_group)
        u.gid = sc->run_as_group;
    else if (psc && psc->has_run_as_group)
        u.gid = psc->run_as_group;
    bool non_root =
        sc && sc->has_run_as_non_root ? sc->run_as_non_root : psc && psc->run_as_non_root;
    if (r == 0 && non_root)
        r = check_non_root(image_user, by_sc || by_psc, &u, container, err);
    if (r == 0) {
        if (!psc || !str_is(psc->supplemental_groups_policy, "Strict"))
            groups_of_member(buf_str(&group), &u);
        for (uint32_t i = 0; psc && i < psc->n_supplemental_groups; i++)
            add_group(&u, psc->supplemental_groups[i]);
        if (psc && psc->has_fs_group)
            add_group(&u, psc->fs_group);
        *ret = u;
    }
    buf_fini(&passwd);
    buf_fini(&group);
    return r;
}

/* ---- resources ---- */

static const struct quantity *get(const struct kv_quantity *v, uint32_t n, const char *key)
{
    return kv_quantity_get(v, n, str_z(key));
}

struct api_resource_requirements resources_with_pod(const struct api_pod *pod,
                                                    const struct api_resource_requirements *r,
                                                    struct arena *a)
{
    static const char *const names[] = {"cpu", "memory"};
    const struct api_resource_requirements *whole = pod ? pod->spec.resources : NULL;
    struct api_resource_requirements ret = *r;
    struct amounts limits = {.arena = a};
    if (!whole)
        return ret;
    amounts_add_all(&limits, r->limits, r->n_limits);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct quantity *q = get(whole->limits, whole->n_limits, names[i]);
        if (q && !get(r->limits, r->n_limits, names[i]))
            amounts_set(&limits, str_z(names[i]), q);
    }
    ret.limits = limits.v;
    ret.n_limits = limits.n;
    return ret;
}

void container_resources(const struct api_pod *pod, const struct api_container *c,
                         struct container_resources *ret)
{
    struct arena a = {0};
    const struct api_resource_requirements all = resources_with_pod(pod, &c->resources, &a),
                                           *r = &all;
    const struct quantity *cl = get(r->limits, r->n_limits, "cpu"),
                          *ml = get(r->limits, r->n_limits, "memory");
    const struct quantity *cr = get(r->requests, r->n_requests, "cpu");
    const struct quantity *mr = get(r->requests, r->n_requests, "memory");
    *ret = (struct container_resources){
        .cpu_limit_milli = cl ? quantity_milli(cl) : 0,
        .memory_limit_bytes = ml ? quantity_value(ml) : 0,
        .has_cpu_limit = cl && !quantity_is_zero(cl),
        .has_memory_limit = ml && !quantity_is_zero(ml),
    };
    /* a limit stands for a request, if it is the container's own */
    cr = cr ? cr : get(c->resources.limits, c->resources.n_limits, "cpu");
    mr = mr ? mr : get(c->resources.limits, c->resources.n_limits, "memory");
    ret->cpu_request_milli = cr ? quantity_milli(cr) : 0;
    ret->memory_request_bytes = mr ? quantity_value(mr) : 0;
    arena_fini(&a);
}

static void add(struct container_resources *to, const struct container_resources *r)
{
    to->cpu_request_milli += r->cpu_request_milli;
    to->memory_request_bytes += r->memory_request_bytes;
    to->cpu_limit_milli += r->cpu_limit_milli;
    to->memory_limit_bytes += r->memory_limit_bytes;
    to->has_cpu_limit &= r->has_cpu_limit;
    to->has_memory_limit &= r->has_memory_limit;
}

static void take_max(struct container_resources *to, const struct container_resources *r)
{
    to->cpu_request_milli = MAX(to->cpu_request_milli, r->cpu_request_milli);
    to->memory_request_bytes = MAX(to->memory_request_bytes, r->memory_request_bytes);
    to->cpu_limit_milli = MAX(to->cpu_limit_milli, r->cpu_limit_milli);
    to->memory_limit_bytes = MAX(to->memory_limit_bytes, r->memory_limit_bytes);
    to->has_cpu_limit &= r->has_cpu_limit;
    to->has_memory_limit &= r->has_memory_limit;
}

/* What the pod says as a whole. */
static void replace(struct container_resources *to, const struct api_resource_requirements *r)
{
    const struct quantity *q;
    if ((q = get(r->requests, r->n_requests, "cpu")))
        to->cpu_request_milli = quantity_milli(q);
    if ((q = get(r->requests, r->n_requests, "memory")))
        to->memory_request_bytes = quantity_value(q);
    if ((q = get(r->limits, r->n_limits, "cpu"))) {
        to->cpu_limit_milli = quantity_milli(q);
        to->has_cpu_limit = !quantity_is_zero(q);
    }
    if ((q = get(r->limits, r->n_limits, "memory"))) {
        to->memory_limit_bytes = quantity_value(q);
        to->has_memory_limit = !quantity_is_zero(q);
    }
}

void pod_resources(const struct api_pod *pod, struct container_resources *ret)
{
    const struct container_resources none = {.has_cpu_limit = true, .has_memory_limit = true};
    struct container_resources sum = none, sidecars = none, top = none, r;
    for (uint32_t i = 0; i < pod->spec.n_containers; i++) {
        container_resources(NULL, &pod->spec.containers[i], &r);
        add(&sum, &r);
    }
    for (uint32_t i = 0; i < pod->spec.n_init_containers; i++) {
        container_resources(NULL, &pod->spec.init_containers[i], &r);
        if (str_is(pod->spec.init_containers[i].restart_policy, "Always")) {
            add(&sidecars, &r);
            add(&sum, &r);
            take_max(&top, &sidecars);
        } else {
            add(&r, &sidecars);
            take_max(&top, &r);
        }
    }
    take_max(&sum, &top);
    if (pod->spec.resources)
        replace(&sum, pod->spec.resources);
    const struct quantity *q;
    if ((q = get(pod->spec.overhead, pod->spec.n_overhead, "cpu"))) {
        sum.cpu_request_milli += quantity_milli(q);
        sum.cpu_limit_milli += quantity_milli(q);
    }
    if ((q = get(pod->spec.overhead, pod->spec.n_overhead, "memory"))) {
        sum.memory_request_bytes += quantity_value(q);
        sum.memory_limit_bytes += quantity_value(q);
    }
    *ret = sum;
}

struct str pod_qos_class(const struct api_pod *pod)
{
    bool any = false, all = true;
    if (pod_says_whole(&pod->spec))
        return pod_qos(&pod->spec);
    for (uint32_t k = 0; k < 2; k++) {
        const struct api_container *v = k ? pod->spec.init_containers : pod->spec.containers;
        uint32_t n = k ? pod->spec.n_init_containers : pod->spec.n_containers;
        for (uint32_t i = 0; i < n; i++) {
            struct container_resources r;
            container_resources(NULL, &v[i], &r);
            if (r.cpu_request_milli || r.memory_request_bytes || r.has_cpu_limit ||
                r.has_memory_limit)
                any = true;
            if (!r.has_cpu_limit || !r.has_memory_limit ||
                r.cpu_request_milli != r.cpu_limit_milli ||
                r.memory_request_bytes != r.memory_limit_bytes)
                all = false;
        }
    }
    return !any ? STR("BestEffort") : all ? STR("Guaranteed") : STR("Burstable");
}

int oom_score_adj_allowed(int adj)
{
    struct buf own = {0};
    int64_t least = 0;

    if (prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE, 0, 0, 0) == 1)
        return adj;
    if (fs_read("/proc/self/oom_score_adj", 64, &own) < 0 ||
        str_to_i64(str_trim(buf_str(&own)), &least) < 0)
        least = 0;
    buf_fini(&own);
    return MAX(adj, (int)least);
}

/* What the pod requests beyond its containers is theirs in equal parts (KEP-2837). */
static int64_t share_of_rest(const struct api_pod *pod)
{
    const struct api_resource_requirements *whole = pod->spec.resources;
    const struct quantity *q = whole ? get(whole->requests, whole->n_requests, "memory") : NULL;
    struct container_resources r;
    int64_t rest = q ? quantity_value(q) : 0, n = pod->spec.n_containers;
    for (uint32_t i = 0; i < pod->spec.n_containers; i++) {
        container_resources(NULL, &pod->spec.containers[i], &r);
        rest -= r.memory_request_bytes;
    }
    for (uint32_t i = 0; i < pod->spec.n_init_containers; i++) {
        if (!str_is(pod->spec.init_containers[i].restart_policy, "Always"))
            continue;
        container_resources(NULL, &pod->spec.init_containers[i], &r);
        rest -= r.memory_request_bytes;
        n++;
    }
    return rest > 0 && n > 0 ? rest / n : 0;
}

int oom_score_adj(const struct api_pod *pod, const struct api_container *c,
                  int64_t node_memory_bytes)
{
    struct str qos = pod_qos_class(pod);
    if (str_is(qos, "Guaranteed") || str_is(pod->spec.priority_class_name, "system-node-critical"))
        return -997;
    if (str_is(qos, "BestEffort"))
        return 1000;
    struct container_resources r;
    container_resources(NULL, c, &r);
    int64_t score = 1000, bytes = r.memory_request_bytes + share_of_rest(pod);
    if (node_memory_bytes > 0)
        score = 1000 - (int64_t)((double)bytes * 1000 / (double)node_memory_bytes);
    return (int)CLAMP(score, 3, 999);
}

int64_t cpu_shares_of_milli(int64_t milli)
{
    return CLAMP(milli * 1024 / 1000, 2, 262144);
}

int64_t cpu_quota_of_milli(int64_t milli)
{
    return MAX(milli * CPU_PERIOD_US / 1000, 1000);
}
