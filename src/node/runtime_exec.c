/* A process started inside a running container for kubectl exec, exec probes and hooks. `crun exec`
 * is run as a plain child of ours with pipes (or with a terminal whose master crun sends over a
 * unix socket): when we die the client's connection is gone as well, so nothing is gained by a
 * conmon in between, and exit codes come directly. */
#include "node/runtime.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"

/* Background children of the command may hold its pipes for ever: what was written by the command
 * itself is in the pipe when it has ended, so a short silence is enough. */
#define DRAIN_QUIET (200 * NSEC_PER_MSEC)
#define STDERR_KEPT 2048 /* for the message when crun itself failed */

struct runtime_exec {
    struct runtime *r;
    struct rt *rt;
    struct runtime_exec_callbacks cb;
    void *arg;
    char *dir;
    struct rt_process *proc;
    struct rt_stream *in, *out, *err, *tty;
    struct rt_fd console_watch;
    int console_fd; /* listening */
    bool exited, stdin_closed, resized;
    unsigned rows, cols;
    struct rt_exit how;
    struct rt_timer drain;
    struct rt_task fail;
    struct buf first_err; /* beginning of stderr */
    char *message;
    int fail_code;
    bool is_tty;
    struct buf early_in; /* typed before the terminal came */
};

static void exec_free(struct runtime_exec *e)
{
    rt_timer_stop(&e->drain);
    rt_task_cancel(&e->fail);
    rt_fd_fini(&e->console_watch);
    fd_closep(&e->console_fd);
    struct rt_stream *s[] = {e->in, e->out, e->err, e->tty};
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        if (s[i])
            rt_stream_close(s[i], NULL, NULL);
    rt_process_free(e->proc);
    (void)!fs_rm_rf(e->dir);
    buf_fini(&e->first_err);
    buf_fini(&e->early_in);
    free(e->message);
    free(e->dir);
    free(e);
}

static void exec_end(struct runtime_exec *e, int code, const char *message)
{
    e->cb.on_exit(e->arg, code, message);
    exec_free(e);
}

/* crun's own failures come on stderr with exit code 1 or higher and no process having run. */
static bool crun_failed(const struct runtime_exec *e, int code)
{
    return code != 0 && !fs_exists(fs_path("%s/pid", e->dir).s);
}

static void exec_finish(struct runtime_exec *e)
{
    int code = e->how.signal ? 128 + e->how.signal : e->how.code;
    if (crun_failed(e, code)) {
        buf_add(&e->first_err, "", 1);
        struct str text = str_trim(str_z(e->first_err.data));
        free(e->message);
        e->message = str_dup(text.n ? text : STR("crun exec failed"));
        exec_end(e, -EIO, e->message);
        return;
    }
    exec_end(e, code, "");
}

static void maybe_finish(struct runtime_exec *e)
{
    if (!e->exited)
        return;
    if (!e->out && !e->err && !e->tty)
        exec_finish(e);
    else
        rt_timer_start(&e->drain, DRAIN_QUIET);
}

static void on_drain_timeout(void *arg)
{
    exec_finish(arg);
}

static void output(struct runtime_exec *e, int stream, struct str data)
{
    if (e->exited)
        rt_timer_start(&e->drain, DRAIN_QUIET);
    if (stream == 2 && e->first_err.n < STDERR_KEPT)
        buf_add(&e->first_err, data.p, MIN(data.n, STDERR_KEPT - e->first_err.n));
    e->cb.on_output(e->arg, stream, data);
}

static void on_out(void *arg, struct str data)
{
    output(arg, 1, data);
}

static void on_err(void *arg, struct str data)
{
    output(arg, 2, data);
}

static void close_stream(struct rt_stream **s)
{
    if (*s)
        rt_stream_close(*s, NULL, NULL);
    *s = NULL;
}

static void on_out_end(void *arg)
{
    struct runtime_exec *e = arg;
    close_stream(&e->out);
    maybe_finish(e);
}

static void on_out_error(void *arg, int err)
{
    on_out_end(arg);
}

static void on_err_end(void *arg)
{
    struct runtime_exec *e = arg;
    close_stream(&e->err);
    maybe_finish(e);
}

static void on_err_error(void *arg, int err)
{
    on_err_end(arg);
}

static void on_tty_end(void *arg)
{
    struct runtime_exec *e = arg;
    close_stream(&e->tty);
    maybe_finish(e);
}

static void on_tty_error(void *arg, int err) /* EIO: the last slave was closed */
{
    on_tty_end(arg);
}

static void on_in_drain(void *arg)
{
    struct runtime_exec *e = arg;
    if (e->cb.on_drain)
        e->cb.on_drain(e->arg);
}

static void on_in_error(void *arg, int err)
{
    struct runtime_exec *e = arg;
    close_stream(&e->in);
    if (e->cb.on_drain)
        e->cb.on_drain(e->arg);
}

static void on_in_data(void *arg, struct str data)
{
}

static const struct rt_stream_handler out_handler = {
    .on_data = on_out, .on_eof = on_out_end, .on_error = on_out_error};
static const struct rt_stream_handler err_handler = {
    .on_data = on_err, .on_eof = on_err_end, .on_error = on_err_error};
static const struct rt_stream_handler in_handler = {
    .on_data = on_in_data, .on_error = on_in_error, .on_drain = on_in_drain};
static const struct rt_stream_handler tty_handler = {
    .on_data = on_out, .on_eof = on_tty_end, .on_error = on_tty_error, .on_drain = on_in_drain};

static void on_proc_exit(void *arg, struct rt_exit how)
{
    struct runtime_exec *e = arg;
    e->exited = true;
    e->how = how;
    maybe_finish(e);
}

/* ---- terminal ---- */

static int recv_fd(int conn)
{
    char data[256];
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } ctl;
    struct iovec iov = {data, sizeof(data)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl, .msg_controllen = sizeof(ctl)};
    struct timeval tv = {.tv_sec = 1}; /* crun has connected and sends at once */
    (void)setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    ssize_t n = recvmsg(conn, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
        h->cmsg_len < CMSG_LEN(sizeof(int)))
        return -EPROTO;
    int fd;
    memcpy(&fd, CMSG_DATA(h), sizeof(fd));
    return fd;
}

static void set_size(int fd, unsigned rows, unsigned cols)
{
    struct winsize ws = {.ws_row = (unsigned short)MIN(rows, 65535u),
                         .ws_col = (unsigned short)MIN(cols, 65535u)};
    (void)ioctl(fd, TIOCSWINSZ, &ws);
}

static void on_console(void *arg, unsigned events)
{
    struct runtime_exec *e = arg;
    int conn = accept4(e->console_fd, NULL, NULL, SOCK_CLOEXEC);
    if (conn < 0)
        return;
    int fd = recv_fd(conn);
    close(conn);
    rt_fd_fini(&e->console_watch);
    fd_closep(&e->console_fd);
    if (fd < 0)
        return;
    struct termios t;
    if (tcgetattr(fd, &t) == 0) {
        t.c_oflag |= ONLCR;
        (void)tcsetattr(fd, TCSANOW, &t);
    }
    if (e->resized)
        set_size(fd, e->rows, e->cols);
    if (rt_stream_from_fd(e->rt, fd, &e->tty) < 0)
        return;
    rt_stream_set_handler(e->tty, &tty_handler, e);
    rt_stream_read_start(e->tty);
    rt_stream_write_buf(e->tty, &e->early_in);
}

static int console_listen(struct runtime_exec *e, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, path, strlen(path));
    e->console_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->console_fd < 0)
        return -errno;
    if (bind(e->console_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(e->console_fd, 1) < 0)
        return -errno;
    int r = rt_fd_init(&e->console_watch, e->rt, e->console_fd, on_console, e);
    if (r < 0)
        return r;
    rt_fd_watch(&e->console_watch, RT_READABLE);
    return 0;
}

/* ---- start ---- */

static void on_fail(void *arg)
{
    struct runtime_exec *e = arg;
    exec_end(e, e->fail_code, e->message);
}

static struct rt_stream *take_stream(struct runtime_exec *e, int n,
                                     const struct rt_stream_handler *h)
{
    struct rt_stream *s = rt_process_take_stdio(e->proc, n);
    if (s) {
        rt_stream_set_handler(s, h, e);
        rt_stream_read_start(s);
    }
    return s;
}

static int exec_spawn(struct runtime_exec *e, const struct runtime_exec_opts *o, struct error *err)
{
    struct runtime *r = e->r;
    struct fs_path root = fs_path("--root=%s", r->root), pid = fs_path("--pid-file=%s/pid", e->dir);
    struct fs_path sock = fs_path("%s/tty", e->dir),
                   console = fs_path("--console-socket=%s", sock.s);
    const char *env[] = {RUNTIME_ENV, RUNTIME_PATH, NULL};
    const char *argv[16] = {r->crun,     root.s,         "--cgroup-manager=cgroupfs", "exec", pid.s,
                            "--process", o->process_json};
    size_t n = 7;
    if (o->tty) {
        int rc = console_listen(e, sock.s);
        if (rc < 0)
            return error_errno(err, -rc, "cannot listen for the terminal at %s", sock.s);
        argv[n++] = "--tty";
        argv[n++] = console.s;
    }
    argv[n++] = o->id;
    struct rt_process_opts opts = {
        .argv = argv,
        .env = env,
        .new_session = true,
        .stdio = {o->tty || !o->stdin_open ? RT_STDIO_NULL : RT_STDIO_PIPE,
                  o->tty ? RT_STDIO_NULL : RT_STDIO_PIPE, RT_STDIO_PIPE},
    };
    int rc = rt_process_start(e->rt, &opts, on_proc_exit, e, err, &e->proc);
    if (rc < 0)
        return rc;
    e->in = opts.stdio[0] == RT_STDIO_PIPE ? rt_process_take_stdio(e->proc, 0) : NULL;
    if (e->in)
        rt_stream_set_handler(e->in, &in_handler, e);
    if (!o->tty)
        e->out = take_stream(e, 1, &out_handler);
    e->err = take_stream(e, 2, &err_handler);
    return 0;
}

struct runtime_exec *runtime_exec_start(struct runtime *r, const struct runtime_exec_opts *o,
                                        const struct runtime_exec_callbacks *cb, void *arg)
{
    struct runtime_exec *e = NEW(struct runtime_exec);
    e->r = r;
    e->rt = r->rt;
    e->cb = *cb;
    e->arg = arg;
    e->dir = xstrdup(o->dir);
    e->console_fd = -1;
    e->is_tty = o->tty;
    rt_timer_init(&e->drain, r->rt, on_drain_timeout, e);
    rt_task_init(&e->fail, r->rt, on_fail, e);
    struct error err = {0};
    int rc = exec_spawn(e, o, &err);
    if (rc < 0) {
        e->fail_code = rc;
        e->message = str_dup(err.message);
        rt_task_schedule(&e->fail);
    }
    error_fini(&err);
    return e;
}

void runtime_exec_write(struct runtime_exec *e, struct str data)
{
    struct rt_stream *s = e->is_tty ? e->tty : e->in;
    if (s)
        rt_stream_write(s, data);
    else if (e->is_tty && e->console_fd >= 0 && e->early_in.n + data.n <= 65536)
        buf_add_str(&e->early_in, data);
}

size_t runtime_exec_queued_bytes(const struct runtime_exec *e)
{
    const struct rt_stream *s = e->is_tty ? e->tty : e->in;
    return s ? rt_stream_queued_bytes(s) : 0;
}

void runtime_exec_close_stdin(struct runtime_exec *e)
{
    if (e->stdin_closed)
        return;
    e->stdin_closed = true;
    if (e->in)
        rt_stream_shutdown(e->in);
    else if (e->is_tty)
        runtime_exec_write(e, STR("\x04")); /* end of file, as a terminal says it */
}

void runtime_exec_pause(struct runtime_exec *e, bool paused)
{
    struct rt_stream *s[] = {e->out, e->err, e->tty};
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        if (!s[i])
            continue;
        if (paused)
            rt_stream_read_stop(s[i]);
        else
            rt_stream_read_start(s[i]);
    }
    if (!e->exited)
        return;
    if (paused) /* silence is then ours, not the command's */
        rt_timer_stop(&e->drain);
    else
        rt_timer_start(&e->drain, DRAIN_QUIET);
}

int runtime_exec_resize(struct runtime_exec *e, unsigned rows, unsigned cols)
{
    if (!e->is_tty)
        return -ENOTTY;
    e->resized = true;
    e->rows = rows;
    e->cols = cols;
    int fd = e->tty ? rt_stream_fd(e->tty) : -1;
    if (fd >= 0)
        set_size(fd, rows, cols);
    return 0;
}

void runtime_exec_kill(struct runtime_exec *e)
{
    int64_t pid;
    if (e->exited || !e->proc)
        return;
    if (fs_read_i64(fs_path("%s/pid", e->dir).s, &pid) == 0 && pid > 1)
        (void)kill((pid_t)pid, SIGKILL); /* crun then ends with its code */
    else
        (void)!rt_process_kill(e->proc, SIGKILL, true);
}

struct runtime_exec *runtime_exec_abandon(struct runtime_exec *e)
{
    if (!e)
        return NULL;
    runtime_exec_kill(e);
    exec_free(e);
    return NULL;
}
