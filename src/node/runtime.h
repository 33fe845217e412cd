/* crun and conmon, driven directly: one container is one bundle directory, one conmon, one crun
 * state.
 *
 *   bundle/config.json   made by the caller before runtime_create
 *   bundle/pid           container's init, written by crun
 *   bundle/conmon.pid    conmon itself (reparented to init: it outlives us)
 *   bundle/attach        conmon's SEQPACKET socket: to it stdin bytes; from it packets, first byte
 * 2 stdout, 3 stderr bundle/ctl           conmon's fifo: "1 H W\n" resizes the terminal, "2 0 0\n"
 * reopens the log bundle/oom           made by conmon when the kernel killed something in it for
 * memory exits/ID             exit code as text (128+n: signal n), appears when the container is
 * gone
 *
 * Loop thread only; every completion comes once, from the loop. */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "rt/process.h"
#include "rt/rt.h"

#define RUNTIME_BIN "bin"                           /* in the run directory */
#define RUNTIME_ENV "_LIBCONTAINER_CLONED_BINARY=1" /* for all that executes crun */

#define RUNTIME_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct runtime {
    struct rt *rt;       /* borrowed */
    char *crun, *conmon; /* owned; crun is RUN/bin/crun, a read-only bind mount, where one can be */
    char *root;          /* owned; crun's state: RUN/crun */
    char *exits_dir;     /* owned; RUN/exits */
    char *sock_dir;      /* owned; RUN/s; conmon puts a link per container here */
    struct rt_fd exits_watch;
    int inotify_fd;
    void (*on_exit)(void *arg, struct str id, int code); /* a file appeared in exits */
    void *arg;
};

/* run_dir is made when missing. Not started: no exits are reported until runtime_watch_exits. */
int runtime_init(struct runtime *r, struct rt *rt, const char *run_dir, const char *crun,
                 const char *conmon, struct error *err) MUST_CHECK;
void runtime_fini(struct runtime *r);     /* leaves the mount to the next agent */
void runtime_unbind(const char *run_dir); /* the mount as well: for good */
int runtime_watch_exits(struct runtime *r, void (*on_exit)(void *arg, struct str id, int code),
                        void *arg, struct error *err) MUST_CHECK;
/* The exit code if the container has exited: 1 and *ret_code; 0 not (yet). */
int runtime_exit_code(const struct runtime *r, const char *id, int *ret_code);
void runtime_forget_exit(const struct runtime *r, const char *id); /* removes the exit file */

struct runtime_create {
    const char *id;       /* [a-z0-9]+ */
    const char *bundle;   /* absolute */
    const char *log_path; /* absolute */
    bool tty, stdin_open, stdin_once;
};
/* r: 0 and the pid of the container's init; negative with a message of crun's. */
typedef void (*runtime_created_fn)(void *arg, int r, pid_t pid, const char *message);
/* What conmon answers through its pipe, {"data": PID} or {"data": -1, "message": "..."}: the pid,
 * or -1 and crun's message (in the arena). */
pid_t runtime_answer(struct str text, struct arena *a, struct str *ret_message);
/* conmon and `crun create`. Everything in opts is copied. A timeout of two minutes applies. */
void runtime_create(struct runtime *r, const struct runtime_create *opts, runtime_created_fn fn,
                    void *arg);

typedef void (*runtime_done_fn)(void *arg, int r, const char *message);
/* Lets the created container run its program. What happens to it afterwards (also that the program
 * cannot be executed) is told by its end. Called again for one that was started, and whose fifo our
 * death left, it answers 0 and starts nothing twice. */
void runtime_start(struct runtime *r, const char *id, runtime_done_fn fn, void *arg);
/* "created", "running", "stopped", or "" when crun does not know it; pid 0 when there is none.
 * Blocks for milliseconds: for adoption at start, on the pool. */
int runtime_state(const char *crun, const char *root, const char *id, char ret_status[static 16],
                  pid_t *ret_pid);

/* Takes away crun's state, conmon's link and the exit file. The processes must be gone. Blocks; any
 * thread. */
void runtime_remove_state(const char *root, const char *exits_dir, const char *sock_dir,
                          const char *id);

/* Asks conmon to open its log anew. */
int runtime_reopen_log(const char *bundle) MUST_CHECK;
int runtime_resize(const char *bundle, unsigned rows, unsigned cols) MUST_CHECK;
/* Connects to the attach socket. The descriptor is non-blocking SEQPACKET, yours. */
int runtime_attach(const char *bundle) MUST_CHECK;

/* ---- exec ---- */

struct runtime_exec;
struct runtime_exec_opts {
    const char *id;
    const char *process_json; /* path of the OCI process object */
    const char
        *dir; /* scratch directory of this exec, exists, short-lived; removed by us at the end */
    bool tty;
    bool stdin_open;
};
struct runtime_exec_callbacks {
    /* stream 1 or 2; a terminal has only 1. Valid during the call. */
    void (*on_output)(void *arg, int stream, struct str data);
    /* Once, last: all output was delivered. code: exit code, 128+n by signal, negative errno when
     * it did not run (message says why, in the words a client should read). */
    void (*on_exit)(void *arg, int code, const char *message);
    void (*on_drain)(void *arg); /* stdin's queue is low again; may be NULL */
};
/* `crun exec` as a child of ours: it ends with us. */
struct runtime_exec *runtime_exec_start(struct runtime *r, const struct runtime_exec_opts *opts,
                                        const struct runtime_exec_callbacks *cb, void *arg);
void runtime_exec_write(struct runtime_exec *e, struct str data); /* dropped without stdin */
size_t runtime_exec_queued_bytes(const struct runtime_exec *e);
void runtime_exec_close_stdin(struct runtime_exec *e);
void runtime_exec_pause(struct runtime_exec *e, bool paused); /* stops reading its output */
int runtime_exec_resize(struct runtime_exec *e, unsigned rows, unsigned cols);
void runtime_exec_kill(
    struct runtime_exec *e); /* SIGKILL to what runs in the container; on_exit follows */
/* No callback any more; what runs is killed. Takes NULL; returns NULL. */
struct runtime_exec *runtime_exec_abandon(struct runtime_exec *e);
