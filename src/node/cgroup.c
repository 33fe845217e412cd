/* One vocabulary over two kernels' worth of cgroups. v1 keeps a directory per controller, so every
 * operation is a loop over controllers; v2 is the same loop of length one with other file names. */
#include "node/cgroup.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "node/fsutil.h"

#define ROOT        "/sys/fs/cgroup"
#define KILL_ROUNDS 100 /* of 10 ms */

static struct fs_path dir_of(const struct cgroups *c, unsigned i, const char *path)
{
    return c->layout == CGROUP_LAYOUT_V2 ? fs_path(ROOT "%s", path)
                                         : fs_path(ROOT "/%s%s", c->controllers[i], path);
}

static int find_controller(void *arg, const char *name, unsigned char type)
{
    struct cgroups *c = arg;
    /* "cpu" may be a link to "cpu,cpuacct"; the links are what names go by, the joint directory is
     * skipped */
    if (type == DT_REG || strchr(name, ',') || strcmp(name, "unified") == 0)
        return 0;
    struct fs_path probe = fs_path(ROOT "/%s/cgroup.procs", name);
    if (strlen(name) < sizeof(c->controllers[0]) && c->n_controllers < CGROUP_CONTROLLERS_MAX &&
        access(probe.s, F_OK) == 0)
        memcpy(c->controllers[c->n_controllers++], name, strlen(name) + 1);
    return 0;
}

static int write_file(const char *dir, const char *file, const char *value)
{
    struct fs_path p = fs_path("%s/%s", dir, file);
    return fs_write(p.s, str_z(value), 0);
}

/* v2: lets children of `dir` have limits. Controllers the kernel lacks are passed over. */
static void delegate(const char *dir)
{
    static const char *const wanted[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        (void)!write_file(dir, "cgroup.subtree_control", wanted[i]);
}

static int make_dirs(const struct cgroups *c, const char *path)
{
    for (unsigned i = 0; i < c->n_controllers; i++) {
        struct fs_path d = dir_of(c, i, path);
        if (c->layout == CGROUP_LAYOUT_V1) {
            int r = fs_mkdirs(d.s, 0755);
            if (r < 0)
                return r;
            continue;
        }
        for (char *s = d.s + sizeof(ROOT) - 1;; s++) {
            if (*s && *s != '/')
                continue;
            char keep = *s;
            *s = 0;
            if (mkdir(d.s, 0755) < 0 && errno != EEXIST)
                return -errno;
            if (keep)
                delegate(d.s);
            *s = keep;
            if (!keep)
                break;
        }
    }
    return 0;
}

int cgroups_init(struct cgroups *c, const char *data_dir, struct error *err)
{
    *c = (struct cgroups){0};
    int r = host_cgroup_layout(&c->layout, err);
    if (r < 0)
        return r;
    if (c->layout == CGROUP_LAYOUT_HYBRID)
        return error_set(err, REASON_INTERNAL,
                         "hybrid cgroup layout: the agent has no mount namespace of its own");
    if (c->layout == CGROUP_LAYOUT_V1) {
        r = fs_each(ROOT, find_controller, c);
        if (r < 0)
            return error_errno(err, -r, "cannot read " ROOT);
    } else {
        c->n_controllers = 1;
    }
    char inst[HOST_INSTANCE_LEN + 1];
    host_instance(data_dir, inst);
    snprintf(c->parent, sizeof(c->parent), "/davit/%s", inst);
    r = make_dirs(c, c->parent);
    if (r == 0 && c->layout == CGROUP_LAYOUT_V2)
        delegate(dir_of(c, 0, c->parent).s);
    return r < 0 ? error_errno(err, -r, "cannot make cgroup %s", c->parent) : 0;
}

uint64_t cgroup_weight_of_shares(uint64_t shares)
{
    shares = CLAMP(shares, (uint64_t)2, (uint64_t)262144);
    return 1 + (shares - 2) * 9999 / 262142;
}

static int set_v1(const struct cgroups *c, const char *path, const char *controller,
                  const char *file, int64_t v)
{
    if (v == 0)
        return 0;
    struct fs_path p = fs_path(ROOT "/%s%s/%s", controller, path, file);
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)v);
    int r = fs_write(p.s, str_z(text), 0);
    return r == -ENOENT ? 0 : r; /* a kernel without that controller cannot limit it */
}

static int set_v2(const char *dir, const char *file, const char *value)
{
    if (!fs_exists(fs_path("%s/%s", dir, file).s))
        return 0; /* as above */
    return write_file(dir, file, value);
}

static int update_v2(const struct cgroups *c, const char *path, const struct cgroup_limits *l)
{
    struct fs_path d = dir_of(c, 0, path);
    char text[64];
    int r = 0, one;
    if (l->cpu_shares > 0) {
        snprintf(text, sizeof(text), "%llu",
                 (unsigned long long)cgroup_weight_of_shares((uint64_t)l->cpu_shares));
        r = set_v2(d.s, "cpu.weight", text);
    }
    if (l->cpu_quota_us > 0) {
        snprintf(text, sizeof(text), "%lld %lld", (long long)l->cpu_quota_us,
                 (long long)l->cpu_period_us);
        if ((one = set_v2(d.s, "cpu.max", text)) < 0)
            r = one;
    }
    if (l->memory_bytes > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)l->memory_bytes);
        if ((one = set_v2(d.s, "memory.max", text)) < 0)
            r = one;
    }
    if (l->pids > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)l->pids);
        if ((one = set_v2(d.s, "pids.max", text)) < 0)
            r = one;
    }
    return r;
}

int cgroup_update(const struct cgroups *c, const char *path, const struct cgroup_limits *l)
{
    if (c->layout == CGROUP_LAYOUT_V2)
        return update_v2(c, path, l);
    int r = set_v1(c, path, "cpu", "cpu.shares", MAX(l->cpu_shares, 0));
    if (l->cpu_quota_us > 0) {
        if (r == 0)
            r = set_v1(c, path, "cpu", "cpu.cfs_period_us", l->cpu_period_us);
        if (r == 0)
            r = set_v1(c, path, "cpu", "cpu.cfs_quota_us", l->cpu_quota_us);
    }
    if (r == 0)
        r = set_v1(c, path, "memory", "memory.limit_in_bytes", MAX(l->memory_bytes, 0));
    if (r == 0)
        r = set_v1(c, path, "pids", "pids.max", MAX(l->pids, 0));
    return r;
}

int cgroup_make(const struct cgroups *c, const char *path, const struct cgroup_limits *l,
                struct error *err)
{
    int r = make_dirs(c, path);
    if (r == 0 && c->layout == CGROUP_LAYOUT_V2)
        delegate(dir_of(c, 0, path).s);
    if (r == 0)
        r = cgroup_update(c, path, l);
    return r < 0 ? error_errno(err, -r, "cannot make cgroup %s", path) : 0;
}

/* Kills what is in dir and below; counts. */
static int kill_tree(const char *dir, int depth)
{
    int n = 0;
    struct fs_path procs = fs_path("%s/cgroup.procs", dir);
    struct buf b = {0};
    if (fs_read(procs.s, 1 << 20, &b) == 0) {
        struct str rest = buf_str(&b), line;
        while (str_cut(&rest, '\n', &line) || line.n) {
            int64_t pid;
            if (str_to_i64(line, &pid) == 0 && pid > 1 && kill((pid_t)pid, SIGKILL) == 0)
                n++;
        }
    }
    buf_fini(&b);
    DIR *d = depth < 16 ? opendir(dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            n += kill_tree(fs_path("%s/%s", dir, e->d_name).s, depth + 1);
    if (d)
        closedir(d);
    return n;
}

int cgroup_kill(const struct cgroups *c, const char *path)
{
    if (c->layout == CGROUP_LAYOUT_V2)
        return kill_tree(dir_of(c, 0, path).s, 0);
    /* A process is in the same place of every controller crun was given; pids is the leanest one.
     */
    for (unsigned i = 0; i < c->n_controllers; i++)
        if (strcmp(c->controllers[i], "pids") == 0 || i + 1 == c->n_controllers)
            return kill_tree(dir_of(c, i, path).s, 0);
    return 0;
}

static int remove_tree(const char *dir, int depth)
{
    if (rmdir(dir) == 0 || errno == ENOENT)
        return 0;
    int r = -errno;
    DIR *d = depth < 16 ? opendir(dir) : NULL;
    if (!d)
        return r;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            (void)remove_tree(fs_path("%s/%s", dir, e->d_name).s, depth + 1);
    closedir(d);
    return rmdir(dir) == 0 || errno == ENOENT ? 0 : -errno;
}

int cgroup_remove(const struct cgroups *c, const char *path)
{
    int r = 0;
    for (unsigned i = 0; i < c->n_controllers; i++) {
        int one = remove_tree(dir_of(c, i, path).s, 0);
        if (one < 0)
            r = one;
    }
    /* crun makes a plain directory under the hidden tree of a hybrid host. */
    if (c->layout == CGROUP_LAYOUT_V1)
        (void)!fs_rm_rf(fs_path(ROOT "/unified%s", path).s);
    return r;
}

int cgroup_destroy(const struct cgroups *c, const char *path)
{
    int r = 0;
    for (int i = 0; i < KILL_ROUNDS; i++) {
        if (cgroup_kill(c, path) == 0 && (r = cgroup_remove(c, path)) == 0)
            return 0;
        usleep(i == 0 ? 1000 : 10000);
    }
    return r < 0 ? r : -EBUSY;
}

/* "key value" lines: the value of key, 0 without it. */
static uint64_t stat_value(struct str text, struct str key)
{
    struct str line;
    while (str_cut(&text, '\n', &line) || line.n) {
        struct str k;
        uint64_t v;
        if (str_cut(&line, ' ', &k) && str_eq(k, key) && str_to_u64(str_trim(line), &v) == 0)
            return v;
    }
    return 0;
}

static uint64_t read_u64(const char *dir, const char *file)
{
    int64_t v;
    return fs_read_i64(fs_path("%s/%s", dir, file).s, &v) == 0 && v > 0 ? (uint64_t)v : 0;
}

static uint64_t usage_without(uint64_t usage, uint64_t cache)
{
    return usage > cache ? usage - cache : 0;
}

int cgroup_read_usage(const struct cgroups *c, const char *path, struct cgroup_usage *ret)
{
    struct cgroup_usage u = {0};
    struct buf b = {0};
    bool v2 = c->layout == CGROUP_LAYOUT_V2;
    struct fs_path mem = v2 ? dir_of(c, 0, path) : fs_path(ROOT "/memory%s", path);
    struct fs_path pids = v2 ? mem : fs_path(ROOT "/pids%s", path);
    if (!fs_exists(mem.s))
        return -ENOENT;
    u.memory_bytes = read_u64(mem.s, v2 ? "memory.current" : "memory.usage_in_bytes");
    u.pids = read_u64(pids.s, "pids.current");
    if (fs_read(fs_path("%s/memory.stat", mem.s).s, 65536, &b) == 0) {
        struct str text = buf_str(&b);
        u.working_set_bytes =
            usage_without(u.memory_bytes,
                          stat_value(text, v2 ? STR("inactive_file") : STR("total_inactive_file")));
        u.rss_bytes = stat_value(text, v2 ? STR("anon") : STR("total_rss"));
    }
    buf_clear(&b);
    if (v2) {
        if (fs_read(fs_path("%s/cpu.stat", mem.s).s, 65536, &b) == 0)
            u.cpu_nsec = stat_value(buf_str(&b), STR("usage_usec")) * 1000;
        buf_clear(&b);
        if (fs_read(fs_path("%s/memory.events", mem.s).s, 65536, &b) == 0)
            u.oom_kills = stat_value(buf_str(&b), STR("oom_kill"));
    } else {
        u.cpu_nsec = read_u64(fs_path(ROOT "/cpuacct%s", path).s, "cpuacct.usage");
        if (fs_read(fs_path("%s/memory.oom_control", mem.s).s, 4096, &b) == 0)
            u.oom_kills = stat_value(buf_str(&b), STR("oom_kill"));
    }
    buf_fini(&b);
    *ret = u;
    return 0;
}

int cgroup_add_pid(const struct cgroups *c, const char *path, pid_t pid)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    int r = 0;
    for (unsigned i = 0; i < c->n_controllers; i++) {
        int one = write_file(dir_of(c, i, path).s, "cgroup.procs", text);
        /* v1's cpuset refuses processes until it has CPUs; crun's children get theirs from crun */
        if (one < 0 && !(c->layout == CGROUP_LAYOUT_V1 && strcmp(c->controllers[i], "cpuset") == 0))
            r = one;
    }
    return r;
}
