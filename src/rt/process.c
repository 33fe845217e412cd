/* Children as loop things: started by spawn.c, waited for through a pidfd (readable when the
 * process has ended), reaped with waitid on that descriptor, so that no pid is ever confused with
 * its successor. */
#include "rt/process.h"
#include "base/mem.h"
#include "rt/rt_impl.h"
#include "rt/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct rt_process {
    struct rt *rt;
    struct rt_fd watch;
    int pidfd; /* owned */
    pid_t pid;
    bool ours, new_session, ended, freed, firing;
    rt_process_exit_fn fn;
    void *arg;
    struct rt_stream *stdio[3]; /* owned until taken */
    struct rt_at_free at_free;  /* linked when freed while it runs */
};

static void process_release(struct rt_process *p)
{
    rt_at_free_cancel(&p->at_free);
    rt_fd_fini(&p->watch);
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
    free(p);
}

static void release_at_free(void *arg)
{
    process_release(arg);
}

/* The pidfd became readable: the process is a zombie (or, not ours, gone). */
static void on_exit_ready(void *arg, unsigned events)
{
    struct rt_process *p = arg;
    struct rt_exit how = {.code = -1};
    siginfo_t si = {0};

    if (p->ours) {
        int r = waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG);
        if ((r < 0 && errno == EINTR) || (r == 0 && si.si_pid == 0))
            return; /* not yet */
        if (si.si_code == CLD_EXITED)
            how.code = si.si_status;
        else if (si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED)
            how.signal = si.si_status;
    }
    p->ended = true;
    rt_fd_fini(&p->watch);
    p->firing = true;
    if (!p->freed && p->fn)
        p->fn(p->arg, how);
    p->firing = false;
    if (p->freed)
        process_release(p);
}

static int watch_pidfd(struct rt_process *p)
{
    int r = rt_fd_init(&p->watch, p->rt, p->pidfd, on_exit_ready, p);

    if (r == 0)
        rt_fd_watch(&p->watch, RT_READABLE);
    return r;
}

/* ---- finding the program ---- */

static bool executable(const char *path)
{
    struct stat st;

    return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int find_program(const char *name, char ret[4096])
{
    struct str path, dir;

    if (strchr(name, '/')) {
        snprintf(ret, 4096, "%s", name);
        return strlen(name) < 4096 ? 0 : -ENAMETOOLONG;
    }
    path = str_z(getenv("PATH"));
    if (!path.n)
        path = STR(PATH_DEFAULT);
    while (str_cut(&path, ':', &dir) || dir.n) {
        int n = snprintf(ret, 4096, "%.*s/%s", STR_ARG(dir), name);
        if (dir.n && n < 4096 && executable(ret))
            return 0;
    }
    return -ENOENT;
}

/* ---- pipes and descriptors ---- */

struct stdio_plan {
    int child[3]; /* what the child gets */
    int ours[3];  /* our ends of pipes, -1: none */
    int close[3]; /* to close here after the start, -1: none */
};

static void close_plan(struct stdio_plan *s)
{
    for (int i = 0; i < 3; i++) {
        fd_closep(&s->close[i]);
        fd_closep(&s->ours[i]);
    }
}

static int plan_one(const struct rt_process_opts *o, int i, struct stdio_plan *s)
{
    int fds[2];

    switch (o->stdio[i]) {
    case RT_STDIO_NULL:
        s->child[i] = s->close[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
        return s->child[i] < 0 ? -errno : 0;
    case RT_STDIO_PIPE:
        if (pipe2(fds, O_CLOEXEC) < 0)
            return -errno;
        s->child[i] = s->close[i] = fds[i == 0 ? 0 : 1];
        s->ours[i] = fds[i == 0 ? 1 : 0];
        return 0;
    case RT_STDIO_FD:
        s->child[i] = o->stdio_fd[i];
        return s->child[i] < 0 ? -EBADF : 0;
    case RT_STDIO_INHERIT:
        s->child[i] = i;
        return 0;
    }
    return -EINVAL;
}

static int plan_stdio(const struct rt_process_opts *o, struct stdio_plan *s)
{
    int r = 0;

    *s = (struct stdio_plan){{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}};
    for (int i = 0; i < 3 && r == 0; i++)
        r = plan_one(o, i, s);
    return r;
}

static int check_opts(const struct rt_process_opts *o)
{
    if (!o->argv || !o->argv[0] || o->n_fds > RT_PROCESS_FDS_MAX ||
        o->n_setns_fds > RT_PROCESS_SETNS_MAX || o->oom_score_adj < -1000 ||
        o->oom_score_adj > 1000)
        return -EINVAL;
    for (size_t i = 0; i < o->n_fds; i++)
        if (o->fds[i].to < 3 || o->fds[i].from < 0)
            return -EBADF;
    return 0;
}

/* ---- starting ---- */

static int start(struct rt_process *p, const struct rt_process_opts *o, struct stdio_plan *plan,
                 const char **ret_step)
{
    char path[4096];
    struct spawn s = {.path = path,
                      .argv = (char *const *)o->argv,
                      .envp = o->env ? (char *const *)o->env : environ,
                      .cwd = o->cwd,
                      .fds = o->fds,
                      .n_fds = o->n_fds,
                      .opts = o};
    int r = check_opts(o);

    *ret_step = "options";
    if (r == 0) {
        *ret_step = "find program";
        r = find_program(o->argv[0], path);
    }
    if (r == 0) {
        *ret_step = "open stdio";
        r = plan_stdio(o, plan);
    }
    if (r < 0)
        return r;
    memcpy(s.stdio, plan->child, sizeof(s.stdio));
    r = spawn_child(&s, &p->pid, &p->pidfd, ret_step);
    if (r < 0)
        return r;
    *ret_step = "watch";
    r = watch_pidfd(p);
    for (int i = 0; i < 3 && r == 0; i++)
        if (plan->ours[i] >= 0)
            r = rt_stream_from_fd(p->rt, TAKE_FD(plan->ours[i]), &p->stdio[i]);
    if (r < 0) { /* no descriptors for it: nothing may be left over */
        (void)kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return r;
}

int rt_process_start(struct rt *rt, const struct rt_process_opts *opts, rt_process_exit_fn fn,
                     void *arg, struct error *err, struct rt_process **ret)
{
    struct rt_process *p = NEW(struct rt_process);
    struct stdio_plan plan = {{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}};
    const char *step = "";
    int r;

    *p = (struct rt_process){.rt = rt, .pidfd = -1, .ours = true, .fn = fn, .arg = arg};
    p->new_session = opts->new_session;
    r = rt_is_sim(rt) ? -ENOTSUP : start(p, opts, &plan, &step);
    close_plan(&plan);
    if (r < 0) {
        for (int i = 0; i < 3; i++)
            if (p->stdio[i])
                rt_stream_close(p->stdio[i], NULL, NULL);
        process_release(p);
        (void)error_errno(err, r, "cannot start %s (%s)",
                          opts->argv && opts->argv[0] ? opts->argv[0] : "a process", step);
        return r;
    }
    *ret = p;
    return 0;
}

int rt_process_watch(struct rt *rt, pid_t pid, rt_process_exit_fn fn, void *arg,
                     struct rt_process **ret)
{
    struct rt_process *p;
    int fd, r;

    if (rt_is_sim(rt))
        return -ENOTSUP;
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    p = NEW(struct rt_process);
    *p = (struct rt_process){.rt = rt, .pidfd = fd, .pid = pid, .fn = fn, .arg = arg};
    r = watch_pidfd(p);
    if (r < 0) {
        process_release(p);
        return r;
    }
    *ret = p;
    return 0;
}

/* ---- using ---- */

pid_t rt_process_pid(const struct rt_process *p)
{
    return p->pid;
}

struct rt_stream *rt_process_take_stdio(struct rt_process *p, int n)
{
    ASSERT(n >= 0 && n < 3);
    return TAKE_PTR(p->stdio[n]);
}

int rt_process_kill(struct rt_process *p, int signum, bool group)
{
    if (p->ended)
        return -ESRCH;
    if (!group)
        return syscall(SYS_pidfd_send_signal, p->pidfd, signum, NULL, 0) < 0 ? -errno : 0;
    ASSERT(p->new_session);
    return kill(-p->pid, signum) < 0 ? -errno : 0; /* not reaped yet, so the number is still its */
}

struct rt_process *rt_process_free(struct rt_process *p)
{
    if (!p)
        return NULL;
    for (int i = 0; i < 3; i++)
        if (p->stdio[i])
            rt_stream_close(p->stdio[i], NULL, NULL);
    memset(p->stdio, 0, sizeof(p->stdio));
    p->freed = true;
    /* One that still runs stays watched, to be reaped. */
    if (!p->firing && (p->ended || !p->ours))
        process_release(p);
    else if (!p->ended)
        rt_at_free(p->rt, &p->at_free, release_at_free, p);
    return NULL;
}

bool rt_exit_ok(struct rt_exit how)
{
    return how.code == 0 && how.signal == 0;
}
