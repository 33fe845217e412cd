/* Runs a command inside a host.
 *
 *   run PIDFILE CGROUPPATH COMMAND...
 *   spawn PIDFILE CGROUPPATH OUT LOG COMMAND...    prints the pid, OUT gets it and then the status
 *
 * A process cannot enter a PID namespace itself, only its children can. So the one that was called
 * stays outside, waits, and passes on signals and the exit status; it is in no namespace of the
 * host and holds nothing of it. The child joins the cgroups before it loses sight of them. */
#include "bed.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name;
    int flag;
} kinds[] = {
    {"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
    {"net", CLONE_NEWNET},       {"mnt", CLONE_NEWNS},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct inside {
    int ns[KINDS], pid_ns, cgroups[HIERARCHIES_MAX];
    unsigned n_cgroups;
};

static volatile sig_atomic_t child;

static void pass_on(int signum)
{
    if (child > 0)
        kill(child, signum);
}

static int open_ns(pid_t pid, const char *name)
{
    int fd = open(text("/proc/%d/ns/%s", (int)pid, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open the %s namespace of pid %d: %s", name, (int)pid, strerror(errno));
    return fd;
}

static void find_host(struct inside *in, const char *pidfile, const char *cgroup)
{
    struct host_ref host;
    struct hierarchies h;
    if (!host_ref_read(pidfile, &host))
        die("no host at %s: it was killed, or never booted", pidfile);
    for (size_t i = 0; i < KINDS; i++)
        in->ns[i] = open_ns(host.pid, kinds[i].name);
    in->pid_ns = open_ns(host.pid, "pid");
    hierarchies_read(&h);
    in->n_cgroups = cgroups_open(&h, cgroup, in->cgroups);
    if (!host_ref_read(pidfile, &host))
        die("the host at %s died just now", pidfile);
}

__attribute__((noreturn)) static void enter_and_exec(const struct inside *in, char **command)
{
    char *cwd = getcwd(NULL, 0);
    sigset_t none;
    for (unsigned i = 0; i < in->n_cgroups; i++)
        if (write(in->cgroups[i], "0", 1) != 1)
            die("cannot enter a cgroup of the host: %s", strerror(errno));
    for (size_t i = 0; i < KINDS; i++)
        if (setns(in->ns[i], kinds[i].flag) < 0)
            die("cannot enter the %s namespace: %s", kinds[i].name, strerror(errno));
    if ((!cwd || chdir(cwd) < 0) && chdir("/") < 0)
        die("chdir");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(command[0], command);
    fprintf(stderr, "hostbed: %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static int start(const struct inside *in, char **command)
{
    if (setns(in->pid_ns, CLONE_NEWPID) < 0)
        die("cannot enter the pid namespace: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno)); /* ENOMEM: its init is dead */
    if (pid == 0)
        enter_and_exec(in, command);
    return pid;
}

static int wait_status(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_main(int argc, char **argv)
{
    static const int passed_on[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
    struct inside in;
    if (argc < 4)
        die("run PIDFILE CGROUPPATH COMMAND...");
    find_host(&in, argv[1], argv[2]);
    child = start(&in, argv + 3);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        signal(passed_on[i], pass_on);
    return wait_status(child);
}

static void redirect(const char *log)
{
    int null = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (null < 0 || out < 0)
        die("cannot open %s: %s", log, strerror(errno));
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        die("dup2: %s", strerror(errno));
    close(null);
    close(out);
}

int spawn_main(int argc, char **argv)
{
    struct inside in;
    int p[2], pid = 0;
    if (argc < 6)
        die("spawn PIDFILE CGROUPPATH OUT LOG COMMAND...");
    if (pipe2(p, O_CLOEXEC) < 0)
        die("pipe: %s", strerror(errno));
    pid_t monitor = fork();
    if (monitor < 0)
        die("fork: %s", strerror(errno));
    if (monitor > 0) {
        close(p[1]);
        if (read(p[0], &pid, sizeof(pid)) != sizeof(pid))
            die("cannot start %s, see %s", argv[5], argv[4]);
        printf("%d\n", pid);
        return 0;
    }
    setsid();
    for (int fd = 3; fd < 1024; fd++)
        if (fd != p[1])
            close(fd);
    redirect(argv[4]);
    find_host(&in, argv[1], argv[2]);
    pid = start(&in, argv + 5);
    write_text(argv[3], text("%d\n", pid));
    if (write(p[1], &pid, sizeof(pid)) != sizeof(pid))
        return 125;
    close(p[1]);
    int status = wait_status(pid);
    (void)try_write_text(text("%s.status", argv[3]), text("%d\n", status));
    return 0;
}
