/* Namespaces are made by a thread of the pool: unshare() changes the calling thread alone, the
 * fresh namespaces are bound to files through /proc/thread-self/ns, and the thread goes back to the
 * host's. That costs no process per pod. Only a shared process namespace needs one, as such a
 * namespace ends with its process 1. */
#include "node/sandbox.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "node/cgroup.h"
#include "node/fsutil.h"
#include "node/holder.gen.h"
#include "node/proc.h"

#define SHM_SIZE "size=65536k"

static const struct {
    const char *file;
    int flag;
} kinds[] = {{"net", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}};

/* Which namespaces of its own the pod has. */
static int wanted_flags(const struct api_pod *pod)
{
    int flags = CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;
    if (pod->spec.host_network)
        flags &= ~(CLONE_NEWNET | CLONE_NEWUTS);
    if (pod->spec.host_ipc)
        flags &= ~CLONE_NEWIPC;
    return flags;
}

static bool wants_holder(const struct api_pod *pod)
{
    return pod->spec.share_process_namespace && !pod->spec.host_pid;
}

bool sandbox_exists(const char *pod_dir, const struct api_pod *pod)
{
    int flags = wanted_flags(pod);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if ((flags & kinds[i].flag) &&
            !fs_is_mount_point(fs_path("%s/ns/%s", pod_dir, kinds[i].file).s))
            return false;
    return !wants_holder(pod) || fs_is_mount_point(fs_path("%s/ns/pid", pod_dir).s);
}

/* ---- inside the fresh namespaces ---- */

static int loopback_up(void)
{
    CLEANUP(fd_closep) int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return -errno;
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    return ioctl(s, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

/* "net.core.somaxconn" -> /proc/sys/net/core/somaxconn, which shows the namespaces of who opens it.
 */
static int set_sysctls(const struct api_pod_security_context *psc, struct error *err)
{
    for (uint32_t i = 0; psc && i < psc->n_sysctls; i++) {
        struct fs_path p = fs_path("/proc/sys/%.*s", (int)MIN(psc->sysctls[i].name.n, (size_t)200),
                                   psc->sysctls[i].name.p);
        if (strstr(p.s, ".."))
            return error_set(err, REASON_BAD_REQUEST, "bad sysctl name");
        for (char *s = p.s + 10; *s; s++)
            if (*s == '.')
                *s = '/';
        int r = fs_write(p.s, psc->sysctls[i].value, 0);
        if (r < 0)
            return error_errno(err, -r, "cannot set sysctl %.*s", STR_ARG(psc->sysctls[i].name));
    }
    return 0;
}

static int bind_ns(const char *pod_dir, const char *file)
{
    struct fs_path to = fs_path("%s/ns/%s", pod_dir, file),
                   from = fs_path("/proc/thread-self/ns/%s", file);
    int r = fs_write(to.s, STR(""), 0600);
    if (r < 0)
        return r;
    return mount(from.s, to.s, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static int fill_namespaces(const struct sandbox_opts *o, int flags, struct error *err)
{
    int r = 0;
    if ((flags & CLONE_NEWNET) && (r = loopback_up()) < 0)
        return error_errno(err, -r, "cannot bring lo up");
    if ((flags & CLONE_NEWUTS) && sethostname(o->hostname, strlen(o->hostname)) < 0)
        return error_errno(err, errno, "sethostname");
    r = set_sysctls(o->pod->spec.security_context, err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(kinds); i++)
        if ((flags & kinds[i].flag) && (r = bind_ns(o->pod_dir, kinds[i].file)) < 0)
            return error_errno(err, -r, "cannot hold namespace %s", kinds[i].file);
    return r;
}

static void go_back(const int *fds)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        ASSERT(setns(fds[i], kinds[i].flag) ==
               0); /* a pool thread in the wrong place would spoil other pods */
}

static int make_namespaces(const struct sandbox_opts *o, int flags, struct error *err)
{
    int fds[ARRAY_LEN(kinds)], r = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        fds[i] = open(fs_path("/proc/thread-self/ns/%s", kinds[i].file).s, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            r = error_errno(err, errno, "cannot open own namespace");
    }
    if (r == 0 && unshare(flags) < 0)
        r = error_errno(err, errno, "cannot make namespaces");
    if (r == 0) {
        r = fill_namespaces(o, flags, err);
        go_back(fds);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        fd_closep(&fds[i]);
    return r;
}

/* ---- holder ---- */

int sandbox_install_holder(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size == (off_t)sizeof(holder_program) && (st.st_mode & 0100))
        return 0;
    int r = fs_write_atomic(
        path, (struct str){(const char *)holder_program, sizeof(holder_program)}, 0700);
    return r < 0 ? error_errno(err, -r, "cannot write %s", path) : 0;
}

static int spawn_holder(const char *path, pid_t *ret)
{
    CLEANUP(fd_closep) int own = open("/proc/thread-self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    if (unshare(CLONE_NEWPID) < 0) /* of the children this thread makes from now on */
        return -errno;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&at);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&fa, 3);
    char *argv[] = {(char[]){"davit-holder"}, NULL}, *envp[] = {NULL};
    int r = -posix_spawn(ret, path, &fa, &at, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&at);
    ASSERT(setns(own, CLONE_NEWPID) == 0);
    return r;
}

static int make_holder(const struct sandbox_opts *o, struct error *err)
{
    struct fs_path ns = fs_path("%s/ns/pid", o->pod_dir),
                   file = fs_path("%s/ns/holder", o->pod_dir);
    if (fs_is_mount_point(ns.s))
        return 0;
    pid_t pid;
    int r = spawn_holder(o->holder_path, &pid);
    if (r < 0)
        return error_errno(err, -r, "cannot start the holder of the process namespace");
    char text[64];
    snprintf(text, sizeof(text), "%d %llu\n", (int)pid, (unsigned long long)proc_start_time(pid));
    r = fs_write_atomic(file.s, str_z(text), 0600);
    if (r == 0)
        r = cgroup_add_pid(o->cgroups, o->cgroup_path, pid);
    if (r == 0)
        r = fs_write(ns.s, STR(""), 0600);
    if (r == 0 && mount(fs_path("/proc/%d/ns/pid", (int)pid).s, ns.s, NULL, MS_BIND, NULL) < 0)
        r = -errno;
    if (r < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return r < 0 ? error_errno(err, -r, "cannot hold the process namespace") : 0;
}

static void kill_holder(const char *pod_dir)
{
    struct buf b = {0};
    if (fs_read(fs_path("%s/ns/holder", pod_dir).s, 64, &b) == 0) {
        struct str rest = str_trim(buf_str(&b)), pid_text;
        int64_t pid, start;
        if (str_cut(&rest, ' ', &pid_text) && str_to_i64(pid_text, &pid) == 0 &&
            str_to_i64(rest, &start) == 0 && pid > 1 &&
            proc_start_time((pid_t)pid) == (uint64_t)start) {
            (void)kill((pid_t)pid, SIGKILL);
            (void)waitpid((pid_t)pid, NULL, 0); /* ours, or init's after a restart of ours */
        }
    }
    buf_fini(&b);
}

/* ---- all ---- */

int sandbox_make(const struct sandbox_opts *o, struct error *err)
{
    struct fs_path ns = fs_path("%s/ns", o->pod_dir), shm = fs_path("%s/shm", o->pod_dir);
    int r = fs_mkdirs(ns.s, 0700);
    if (r == 0)
        r = fs_mkdirs(shm.s, 0755);
    if (r < 0)
        return error_errno(err, -r, "cannot make %s", ns.s);
    if (!o->pod->spec.host_ipc && !fs_is_mount_point(shm.s) &&
        mount("shm", shm.s, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777," SHM_SIZE) < 0)
        return error_errno(err, errno, "cannot mount %s", shm.s);
    int flags = wanted_flags(o->pod);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (fs_is_mount_point(fs_path("%s/%s", ns.s, kinds[i].file).s))
            flags &= ~kinds[i].flag;
    if (flags && (r = make_namespaces(o, flags, err)) < 0)
        return r;
    return wants_holder(o->pod) ? make_holder(o, err) : 0;
}

int sandbox_destroy(const char *pod_dir)
{
    /* By name, not by reading the table of all mounts: that would cost every pod the number of all
     * pods. */
    static const char *const mounts[] = {"ns/net", "ns/ipc", "ns/uts", "ns/pid", "shm"};
    static const char *const dirs[] = {"ns", "shm"};
    kill_holder(pod_dir);
    for (size_t i = 0; i < ARRAY_LEN(mounts); i++)
        (void)umount2(fs_path("%s/%s", pod_dir, mounts[i]).s, MNT_DETACH | UMOUNT_NOFOLLOW);
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct fs_path p = fs_path("%s/%s", pod_dir, dirs[i]);
        int one = fs_rm_rf(p.s);
        if (one == -EBUSY && (one = fs_umount_below(p.s)) == 0)
            one = fs_rm_rf(p.s);
        if (one < 0)
            r = one;
    }
    return r;
}
