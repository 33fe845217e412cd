/* Private mount namespace for hosts with the hybrid cgroup layout.
 *
 * crun refuses to work when both v1 controllers and the v2 tree `unified` are mounted. The host
 * must stay as it is, so the agent leaves the host's mount namespace for its own copy, where an
 * empty tmpfs hides `unified`; crun then sees a plain v1 host. conmon and crun are our children and
 * inherit the namespace. All mounts the agent makes (overlays, tmpfs volumes, namespace handles)
 * live there too, so the namespace must outlast the agent: it is kept by a bind mount of its nsfs
 * file, and the next agent enters it again.
 *
 *   DATA/node/ns        bind mount of itself, private propagation (the kernel asks for that)
 *   DATA/node/ns/mnt    nsfs of the namespace
 *
 * Mounts the host makes later still arrive (MS_SLAVE), ours do not leak out. */
#include "node/host.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/hash.h"
#include "node/fsutil.h"
#include "node/node.h"

#define UNIFIED         "/sys/fs/cgroup/unified"
#define MOUNT_NS_GET_ID _IOR(0xb7, 0x5, uint64_t) /* NS_GET_MNTNS_ID of Linux 6.11 */

int host_cgroup_layout(enum cgroup_layout *ret, struct error *err)
{
    struct statfs s;
    if (statfs("/sys/fs/cgroup", &s) < 0)
        return error_errno(err, errno, "cannot look at /sys/fs/cgroup");
    if (s.f_type == CGROUP2_SUPER_MAGIC) {
        *ret = CGROUP_LAYOUT_V2;
        return 0;
    }
    if (statfs("/sys/fs/cgroup/memory", &s) < 0 || s.f_type != CGROUP_SUPER_MAGIC)
        return error_set(err, REASON_NOT_FOUND, "no cgroups are mounted at /sys/fs/cgroup");
    *ret = statfs(UNIFIED, &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC ? CGROUP_LAYOUT_HYBRID
                                                                       : CGROUP_LAYOUT_V1;
    return 0;
}

void host_instance(const char *data_dir, char ret[static HOST_INSTANCE_LEN + 1])
{
    char *real = realpath(data_dir, NULL);
    const char *p = real ? real : data_dir;
    snprintf(ret, HOST_INSTANCE_LEN + 1, "%08x", (unsigned)hash_fnv1a32(p, strlen(p)));
    free(real);
}

static bool is_mount_ns(int fd)
{
    struct statfs s;
    return fstatfs(fd, &s) == 0 && s.f_type == NSFS_MAGIC &&
           ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNS;
}

int host_join_mount_ns(const char *data_dir, struct error *err)
{
    struct fs_path file = fs_path("%s/node/ns/mnt", data_dir);
    CLEANUP(fd_closep) int fd = open(file.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !is_mount_ns(fd))
        return 0;
    /* The working directory of the old namespace would be kept: go by name in the new one. */
    char *cwd = getcwd(NULL, 0);
    int r = setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
    if (r == 0 && cwd && chdir(cwd) < 0)
        r = chdir("/") < 0 ? -errno : 0;
    free(cwd);
    return r < 0 ? error_errno(err, -r, "cannot enter the mount namespace kept at %s", file.s) : 1;
}

int host_drop_mount_ns(const char *data_dir)
{
    struct fs_path dir = fs_path("%s/node/ns", data_dir);
    return fs_umount_below(dir.s);
}

/* In a child that stays in the host's namespace: binds the parent's new namespace to the file. */
static int keep_ns(const char *file, pid_t of)
{
    struct fs_path src = fs_path("/proc/%d/ns/mnt", (int)of);
    return mount(src.s, file, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static int make_ns_dir(const char *data_dir, struct error *err)
{
    struct fs_path dir = fs_path("%s/node/ns", data_dir), file = fs_path("%s/mnt", dir.s);
    int r = fs_mkdirs(dir.s, 0700);
    if (r < 0)
        return error_errno(err, -r, "cannot make %s", dir.s);
    (void)!fs_umount_below(dir.s);
    if (mount(dir.s, dir.s, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, dir.s, NULL, MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "cannot bind mount %s", dir.s);
    r = fs_write(file.s, STR(""), 0600);
    return r < 0 ? error_errno(err, -r, "cannot make %s", file.s) : 0;
}

static int mount_ns_id(uint64_t *ret)
{
    CLEANUP(fd_closep) int fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return fd < 0 || ioctl(fd, MOUNT_NS_GET_ID, ret) < 0 ? -errno : 0;
}

/* Leaves for a mount namespace whose handle can be bound in the present one. The kernel allows that
 * only where the bound one is younger, by its id; and from 6.18 on each CPU hands out ids from a
 * block of its own, so that what is made later on another CPU can pass for older. (In the first
 * namespace of the machine it cannot: that one has the smallest id of all.) The CPU that made the
 * present one has larger ids to give. */
static int leave_mount_ns(void)
{
    uint64_t from = 0, to = 0;
    cpu_set_t allowed, one;
    bool known = mount_ns_id(&from) == 0;
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    if (!known || mount_ns_id(&to) < 0 || to > from)
        return 0;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return -errno;
    int r = 0;
    for (int cpu = 0; r == 0 && to < from && cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof(one), &one) < 0 || unshare(CLONE_NEWNS) < 0)
            r = -errno;
        else
            r = mount_ns_id(&to);
    }
    if (sched_setaffinity(0, sizeof(allowed), &allowed) < 0 && r == 0)
        r = -errno;
    return r;
}

static int hide_unified(struct error *err)
{
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return error_errno(err, errno, "cannot set mount propagation");
    if (mount("davit", UNIFIED, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=4m") < 0)
        return error_errno(err, errno, "cannot hide %s", UNIFIED);
    return 0;
}

int node_host_enter(const char *data_dir, struct error *err)
{
    ASSERT(data_dir[0] == '/');
    int r = host_join_mount_ns(data_dir, err);
    if (r != 0)
        return MIN(r, 0);
    enum cgroup_layout layout;
    r = host_cgroup_layout(&layout, err);
    if (r < 0 || layout != CGROUP_LAYOUT_HYBRID)
        return r;
    r = make_ns_dir(data_dir, err);
    if (r < 0)
        return r;
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, errno, "pipe");
    pid_t parent = getpid(), child = fork();
    if (child < 0) {
        r = -errno;
        close(p[0]);
        close(p[1]);
        return error_errno(err, -r, "fork");
    }
    if (child == 0) {
        char c;
        close(p[1]);
        if (read(p[0], &c, 1) != 1)
            _exit(1);
        struct fs_path file = fs_path("%s/node/ns/mnt", data_dir);
        _exit(keep_ns(file.s, parent) < 0 ? 2 : 0);
    }
    close(p[0]);
    r = leave_mount_ns();
    r = r < 0 ? error_errno(err, -r, "cannot make a mount namespace") : hide_unified(err);
    if (r == 0 && write(p[1], "x", 1) != 1)
        r = -errno;
    close(p[1]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (r == 0 && status != 0)
        r = error_set(err, REASON_INTERNAL, "cannot keep the mount namespace under %s/node/ns",
                      data_dir);
    return r;
}
