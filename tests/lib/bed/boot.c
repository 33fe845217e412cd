/* Makes a host and stays as its init.
 *
 *   boot NAME BEDPATH OWNER DIR      BEDPATH is "/hostbed.BED", DIR the host's on the machine's
 * disk
 *
 * DIR/pid gets "PID STARTTIME" (of the machine's view) when the host is there. The files etc/hosts,
 * etc/hostname, etc/machine-id, etc/resolv.conf and boot_id of DIR, and DIR/disk, are laid over the
 * machine's own. Namespaces: mount, network, PID, UTS, IPC, cgroup. PID 1 is what makes a power
 * cut: the kernel ends with it all that the host ever started, containers too. */
#include "bed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOUNTS_MAX 4096

struct boot {
    const char *name, *bed, *dir;
    pid_t owner;
    int owner_fd, ready_fd;
    struct hierarchies cgroups;
};

/* ---- mounts ---- */

/* Is this mount of the machine somebody else's, which a copy would keep alive? Other tests'
 * overlays and namespace handles above all: a network namespace whose handle we copied would
 * outlive them. */
static bool is_foreign(const char *at, const char *type)
{
    static const char *const keep[] = {"/proc", "/sys", "/dev"};
    for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
        if (strncmp(at, keep[i], strlen(keep[i])) == 0)
            return false;
    if (strcmp(at, "/") == 0)
        return false;
    return strcmp(type, "nsfs") == 0 || strcmp(type, "overlay") == 0 ||
           (strcmp(type, "tmpfs") == 0 && strstr(at, "/node/"));
}

static void drop_foreign_mounts(void)
{
    static char *found[MOUNTS_MAX];
    unsigned n = 0;
    char line[4096];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && fgets(line, sizeof(line), f) && n < MOUNTS_MAX) {
        char at[PATH_SIZE], type[32];
        char *dash = strstr(line, " - ");
        if (dash && sscanf(line, "%*s %*s %*s %*s %511s", at) == 1 &&
            sscanf(dash, " - %31s", type) == 1 && is_foreign(at, type))
            found[n++] = text("%s", at);
    }
    if (f)
        fclose(f);
    while (n > 0) {
        umount2(found[--n], MNT_DETACH); /* gone meanwhile: good */
        free(found[n]);
    }
}

static void mount_fresh(const char *type, const char *at, const char *options)
{
    if (mount(type, at, type, MS_NOSUID | MS_NODEV, options) < 0)
        die("cannot mount %s at %s: %s", type, at, strerror(errno));
}

/* Lays DIR/from over `at` where the machine has such a file; what it lacks is lacking here too. */
static void lay_over(const struct boot *b, const char *from, const char *at)
{
    char real[4096];
    char *source = text("%s/%s", b->dir, from);
    if (access(source, F_OK) < 0)
        return; /* the switch has no such files */
    if (!realpath(at, real)) {
        /* A link into /run, which is empty now. */
        ssize_t n = readlink(at, real, sizeof(real) - 1);
        if (n <= 0)
            return;
        real[n] = 0;
        char *target = real[0] == '/' ? text("%s", real) : text("/etc/%s", real);
        char *slash = strrchr(target, '/');
        *slash = 0;
        make_dir(target);
        *slash = '/';
        write_text(target, "");
        snprintf(real, sizeof(real), "%s", target);
    }
    if (mount(source, real, NULL, MS_BIND, NULL) < 0)
        die("cannot lay %s over %s: %s", source, real, strerror(errno));
}

static void mount_all(const struct boot *b)
{
    /* here, not with the other namespaces: whoever boots us still needs the machine's /proc */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        die("cannot make mounts private: %s", strerror(errno));
    drop_foreign_mounts();
    mount_fresh("proc", "/proc", NULL);
    /* /sys shows the interfaces of the network namespace it was mounted in */
    umount2("/sys", MNT_DETACH);
    mount_fresh("sysfs", "/sys", NULL);
    cgroups_mount(&b->cgroups);
    mount_fresh("tmpfs", "/run", "mode=755,size=256m");
    make_dir("/run/lock");
    mount_fresh("tmpfs", "/dev/shm", "mode=1777,size=256m");
    lay_over(b, "etc/hosts", "/etc/hosts");
    lay_over(b, "etc/hostname", "/etc/hostname");
    lay_over(b, "etc/machine-id", "/etc/machine-id");
    lay_over(b, "etc/resolv.conf", "/etc/resolv.conf");
    lay_over(b, "boot_id", "/proc/sys/kernel/random/boot_id");
    /* The default data directory: the host's disk, without making a directory on the machine. */
    mount_fresh("tmpfs", "/var/lib", "mode=755,size=64m");
    make_dir("/var/lib/davit");
    lay_over(b, "disk", "/var/lib/davit");
}

/* A new network namespace copies the machine's IPv4 settings: a host has the kernel's own. */
static void settle_network(void)
{
    static const char *const settings[][2] = {
        {"ipv4/ip_forward", "0"},
        {"ipv4/conf/all/route_localnet", "0"},
        {"ipv4/conf/default/route_localnet", "0"},
        {"ipv4/conf/all/rp_filter", "0"},
        {"ipv4/conf/default/rp_filter", "0"},
        {"ipv4/ip_unprivileged_port_start", "1024"},
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        (void)try_write_text(text("/proc/sys/net/%s", settings[i][0]), settings[i][1]);
}

/* Connections of the dead whose peer is silent are tried again for minutes, and hold the network
 * namespace meanwhile. Said just before the end, as a living host does not live by it. */
static void let_connections_go(void)
{
    (void)try_write_text("/proc/sys/net/ipv4/tcp_orphan_retries", "1");
}

/* ---- init ---- */

static void reap_until_owner_ends(const struct boot *b, int signals)
{
    struct pollfd p[] = {{.fd = b->owner_fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return;
        if (p[0].revents)
            return;
        struct signalfd_siginfo s;
        if (p[1].revents && read(signals, &s, sizeof(s)) < 0 && errno != EAGAIN)
            return;
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}

/* Only what init needs stays open: an inherited descriptor would keep a test runner waiting. */
static void let_go_of_descriptors(const struct boot *b, int signals)
{
    int null = open("/dev/null", O_RDONLY), log;
    log = open(text("%s/init.log", b->dir), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        die("cannot open %s/init.log", b->dir);
    for (int fd = 3; fd < 1024; fd++)
        if (fd != b->owner_fd && fd != b->ready_fd && fd != signals)
            close(fd);
}

static int init_main(struct boot *b)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    setsid();
    prctl(PR_SET_NAME, text("init-%s", b->name), 0, 0, 0);
    if (signals < 0 || sethostname(b->name, strlen(b->name)) < 0 || setdomainname("", 0) < 0)
        die("cannot set up init: %s", strerror(errno));
    mount_all(b);
    settle_network();
    if (chdir("/") < 0)
        die("chdir");
    let_go_of_descriptors(b, signals);
    if (write(b->ready_fd, "x", 1) != 1)
        return 1;
    close(b->ready_fd);
    reap_until_owner_ends(b, signals);
    let_connections_go();
    return 0; /* and the kernel ends the rest */
}

int boot_main(int argc, char **argv)
{
    int p[2];
    char c;
    if (argc != 5)
        die("boot NAME BEDPATH OWNER DIR");
    struct boot b = {.name = argv[1], .bed = argv[2], .owner = atoi(argv[3]), .dir = argv[4]};
    char *path = text("%s/%s", b.bed, b.name);
    b.owner_fd = (int)syscall(SYS_pidfd_open, b.owner, 0);
    if (b.owner_fd < 0 || pipe2(p, O_CLOEXEC) < 0)
        die("owner %d: %s", (int)b.owner, strerror(errno));
    b.ready_fd = p[1];
    hierarchies_read(&b.cgroups);
    cgroups_make(&b.cgroups, path);
    cgroups_enter(&b.cgroups, path, false);
    if (unshare(CLONE_NEWCGROUP) < 0)
        die("cannot make a cgroup namespace: %s", strerror(errno));
    cgroups_enter(&b.cgroups, path, true);
    if (unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID) < 0)
        die("cannot make namespaces: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        close(p[0]);
        exit(init_main(&b));
    }
    close(p[1]);
    if (read(p[0], &c, 1) != 1)
        die("%s did not boot, see above and %s/init.log", b.name, b.dir);
    char *file = text("%s/pid", b.dir);
    write_text(text("%s.new", file), text("%d %llu\n", (int)pid, start_time(pid)));
    if (rename(text("%s.new", file), file) < 0)
        die("cannot write %s", file);
    return 0;
}

/* /proc/sys/net shows the network namespace of the reader. */
static void let_connections_of_go(pid_t pid)
{
    int net = open(text("/proc/%d/ns/net", (int)pid), O_RDONLY | O_CLOEXEC);
    pid_t child = net < 0 ? -1 : fork();
    if (child == 0) {
        if (setns(net, CLONE_NEWNET) == 0)
            let_connections_go();
        _exit(0);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    close(net);
}

/* kill PIDFILE CGROUPPATH: a host; "-" for PIDFILE: whatever is in the cgroups. */
int kill_main(int argc, char **argv)
{
    struct host_ref host;
    struct hierarchies h;
    if (argc != 3)
        die("kill PIDFILE CGROUPPATH");
    if (host_ref_read(argv[1], &host)) {
        int fd = (int)syscall(SYS_pidfd_open, host.pid, 0);
        if (fd >= 0 && start_time(host.pid) == host.start) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            let_connections_of_go(host.pid);
            syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
            /* PID 1 of a namespace is gone only after all the others are */
            while (poll(&p, 1, -1) < 0 && errno == EINTR) {
            }
        }
    }
    unlink(argv[1]);
    hierarchies_read(&h);
    if (cgroups_destroy(&h, argv[2]) < 0)
        die("cgroup %s is still in use", argv[2]);
    return 0;
}
