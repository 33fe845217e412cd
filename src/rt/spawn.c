/* vfork with a stack of its own, as posix_spawn does it, because posix_spawn cannot enter
 * namespaces or cgroups. The child shares our memory until exec: it calls nothing but the kernel,
 * and reports the step that failed through a struct on our stack. Other threads go on running
 * meanwhile. */
#include "rt/spawn.h"
#include "base/mem.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES (64 * 1024) /* the child uses a few hundred */

struct child {
    const struct spawn *s;
    sigset_t mask; /* the child starts with */
    int fds_from[RT_PROCESS_FDS_MAX];
    int highest; /* the largest number a descriptor of the child has */
    pid_t parent;
    int err; /* positive errno; 0: exec went well */
    const char *step;
};

#define CHILD __attribute__((no_sanitize("address", "undefined")))

/* Numbers the child wants may be taken by descriptors it still needs: first everything moves above.
 */
CHILD static int move_up(int fd, int above)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, above);
}

CHILD static int place_fds(struct child *c)
{
    int std[3], from[RT_PROCESS_FDS_MAX];

    for (int i = 0; i < 3; i++)
        if ((std[i] = move_up(c->s->stdio[i], c->highest + 1)) < 0)
            return -1;
    for (size_t i = 0; i < c->s->n_fds; i++)
        if ((from[i] = move_up(c->s->fds[i].from, c->highest + 1)) < 0)
            return -1;
    for (int i = 0; i < 3; i++)
        if (dup2(std[i], i) < 0)
            return -1;
    for (size_t i = 0; i < c->s->n_fds; i++)
        if (dup2(from[i], c->s->fds[i].to) < 0)
            return -1;
    return 0;
}

/* Everything but what was asked for closes at exec, also what some library opened without the flag.
 */
CHILD static int close_others(struct child *c)
{
    unsigned next = 3;

    for (;;) {
        unsigned to = ~0u;
        for (size_t i = 0; i < c->s->n_fds; i++)
            if ((unsigned)c->s->fds[i].to >= next && (unsigned)c->s->fds[i].to < to)
                to = (unsigned)c->s->fds[i].to;
        if (to > next && syscall(SYS_close_range, next, to - 1, CLOSE_RANGE_CLOEXEC) < 0)
            return -1;
        if (to == ~0u)
            return 0;
        next = to + 1;
    }
}

CHILD static void reset_signals(void)
{
    const unsigned long dfl[8] = {0}; /* the kernel's struct sigaction, all zero: SIG_DFL */

    for (int i = 1; i < NSIG; i++)
        (void)syscall(SYS_rt_sigaction, i, dfl, NULL,
                      (size_t)(NSIG / 8)); /* SIGKILL refuses; fine */
}

CHILD static int write_small(int fd, const char *text, size_t n)
{
    return write(fd, text, n) == (ssize_t)n ? 0 : -1;
}

CHILD static int set_oom(int adj)
{
    char text[8];
    int n = 0, v = adj < 0 ? -adj : adj, div = 1000, r, fd;

    if (adj < 0)
        text[n++] = '-';
    while (div > 1 && v < div) /* no leading zeros: the kernel would read octal */
        div /= 10;
    for (; div > 0; v %= div, div /= 10)
        text[n++] = (char)('0' + v / div);
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    r = write_small(fd, text, (size_t)n);
    close(fd);
    return r;
}

#define STEP(name, call)                                                                           \
    do {                                                                                           \
        c->step = (name);                                                                          \
        if ((call) < 0)                                                                            \
            goto failed;                                                                           \
    } while (0)

CHILD static int child_main(void *arg)
{
    struct child *c = arg;
    const struct rt_process_opts *o = c->s->opts;

    reset_signals();
    if (o->new_session)
        STEP("setsid", setsid());
    for (size_t i = 0; i < o->n_cgroup_procs_fds; i++)
        STEP("join cgroup", write_small(o->cgroup_procs_fds[i], "0", 1));
    if (o->oom_score_adj)
        STEP("set oom_score_adj", set_oom(o->oom_score_adj));
    for (size_t i = 0; i < o->n_setns_fds; i++)
        STEP("enter namespace", setns(o->setns_fds[i], 0));
    if (c->s->cwd)
        STEP("change directory", chdir(c->s->cwd));
    STEP("place descriptors", place_fds(c));
    STEP("close descriptors", close_others(c));
    if (o->pdeathsig) {
        STEP("set pdeathsig", prctl(PR_SET_PDEATHSIG, o->pdeathsig));
        if (getppid() != c->parent) /* it died in between */
            _exit(127);
    }
    STEP("restore signals", sigprocmask(SIG_SETMASK, &c->mask, NULL));
    c->step = "exec";
    execve(c->s->path, c->s->argv, c->s->envp);
failed:
    c->err = errno;
    _exit(127);
}

static int highest_of(const struct spawn *s)
{
    int h = 2;

    for (size_t i = 0; i < s->n_fds; i++)
        h = MAX(h, s->fds[i].to);
    return h;
}

int spawn_child(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, const char **ret_step)
{
    struct child c = {.s = s, .highest = highest_of(s), .step = "clone"};
    sigset_t all, old;
    int pidfd = -1, err = 0;
    pid_t pid;
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    *ret_step = c.step;
    if (stack == MAP_FAILED)
        return -errno;
    /* In another pid namespace the parent looks like 0; then the check for a dead one is left out.
     */
    c.parent = getpid();
    sigemptyset(&c.mask);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    pid = clone(child_main, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c,
                &pidfd);
    if (pid < 0)
        err = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    munmap(stack, STACK_BYTES);
    if (pid >= 0 && c.err) {
        err = c.err;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        close(pidfd);
    }
    if (err) {
        *ret_step = c.step;
        return -err;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}
