/* Child processes. Started with vfork and exec, so cheap from a large parent; watched by pidfd, so
 * no SIGCHLD handler and no pid reuse races. A child inherits exactly the descriptors it is given,
 * a default signal state, and nothing else of ours. Not on the simulator (-ENOTSUP). */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "rt/rt.h"
#include "rt/stream.h"

/* How a process ended. */
struct rt_exit {
    int code;   /* exit code, -1 when killed by a signal */
    int signal; /* 0 when it exited by itself */
};

enum rt_stdio {
    RT_STDIO_NULL,    /* /dev/null */
    RT_STDIO_PIPE,    /* a pipe; our end comes as an rt_stream */
    RT_STDIO_FD,      /* the given descriptor, borrowed */
    RT_STDIO_INHERIT, /* ours */
};

struct rt_process_fd {
    int from; /* ours, borrowed */
    int to;   /* its number in the child, >= 3 */
};

#define RT_PROCESS_FDS_MAX   16
#define RT_PROCESS_SETNS_MAX 8

struct rt_process_opts {
    const char *const
        *argv; /* NULL-terminated; argv[0] is looked up in PATH unless it has a slash */
    const char *const *env; /* "K=V", NULL-terminated; NULL: ours */
    const char *cwd;        /* NULL: ours */
    enum rt_stdio stdio[3];
    int stdio_fd[3]; /* for RT_STDIO_FD; 1 and 2 may be the same */
    const struct rt_process_fd *fds;
    size_t n_fds;
    bool new_session;  /* setsid: own session and process group */
    int pdeathsig;     /* 0: none. Sent when the *thread* that started it ends */
    int oom_score_adj; /* -1000..1000; 0: as ours */
    /* Before exec, in this order: the child writes itself into these cgroup.procs (or tasks) files,
     * enters these namespaces (open /proc/PID/ns/X or bind mounts; a pid namespace counts for its
     * children only), changes directory. Borrowed descriptors. */
    const int *cgroup_procs_fds;
    size_t n_cgroup_procs_fds;
    const int *setns_fds;
    size_t n_setns_fds;
};

struct rt_process;
/* Once, from the loop, when the process has ended and is reaped. Its pipes may still hold data:
 * each stream says on_eof by itself. */
typedef void (*rt_process_exit_fn)(void *arg, struct rt_exit how);

/* Starts it. Failure to exec is reported here: -ENOENT, -EACCES, ...; err names the step. With a
 * failure exit_fn never comes and nothing is left over. */
int rt_process_start(struct rt *rt, const struct rt_process_opts *opts, rt_process_exit_fn fn,
                     void *arg, struct error *err, struct rt_process **ret) MUST_CHECK;
pid_t rt_process_pid(const struct rt_process *p);
/* Our end of a RT_STDIO_PIPE; the first call hands it over (yours to close), then NULL. Ends not
 * taken are closed by rt_process_free. */
struct rt_stream *rt_process_take_stdio(struct rt_process *p, int n);
/* To the process, or with `group` to its whole process group (it must be a new_session). -ESRCH
 * once it has ended. */
int rt_process_kill(struct rt_process *p, int signum, bool group);
/* Forgets it: fn will not come; a running process is left alone and reaped when it ends. Allowed
 * before and after exit (also inside fn). NULL ok; returns NULL. */
struct rt_process *rt_process_free(struct rt_process *p);

/* A process that is not our child, known by pid (conmon after a restart of ours): fn when it is
 * gone; how is {-1, 0} as only the parent may know. -ESRCH: gone already. */
int rt_process_watch(struct rt *rt, pid_t pid, rt_process_exit_fn fn, void *arg,
                     struct rt_process **ret) MUST_CHECK;

/* ---- run and collect ---- */

struct rt_run_result {
    int err; /* 0: it ran, see how; -ETIMEDOUT: killed by us; -ENOENT ...: not started */
    struct rt_exit how;
    struct buf out, errout; /* what it wrote; yours for the time of the call: buf_take or copy */
    bool truncated;         /* it wrote more than asked for; the rest was read and dropped */
    const char *message;    /* for a person: "crun: exit status 1: no such container"; never NULL */
};
typedef void (*rt_run_fn)(void *arg, struct rt_run_result *res);

struct rt_run_opts {
    struct rt_process_opts process; /* stdio is set by us */
    struct str input;               /* copied; then end of file */
    size_t output_bytes_max;        /* of each of the two; 0: 64 KB */
    nsec_t timeout;                 /* 0: 30 s; then SIGKILL to its process group */
    bool merge_stderr;              /* stderr into out */
};
/* Always calls fn once, from the loop, unless cancelled. It waits for the exit, not for
 * grandchildren that keep the pipes open: those are given 100 ms. */
struct rt_run *rt_process_run(struct rt *rt, const struct rt_run_opts *opts, rt_run_fn fn,
                              void *arg);
struct rt_run *
rt_run_cancel(struct rt_run *r);     /* kills it, fn will not come; NULL ok; returns NULL */
bool rt_exit_ok(struct rt_exit how); /* code 0 */
