/* kubectl exec and attach. Exec runs a child `crun exec` whose pipes or terminal are joined to the
 * client's channels; attach joins the client to conmon's socket of the container itself. Both ways
 * have back-pressure: a slow client stops the reading of output, a slow process stops the reading
 * of stdin. */
#include "node/api.h"
#include "node/api_args.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/remote.h"

#define STDIN_HIGH       (256 * 1024)
#define ATTACH_PACKET    8193 /* conmon reads 8192 at a time and puts a byte before */
#define ATTACH_IN_PACKET 8000

static struct remote_opts channels(struct http_request *req, bool tty)
{
    return (struct remote_opts){
        .stdin_open = api_query_bool(req, "input") || api_query_bool(req, "stdin"),
        .stdout_open = api_query_bool(req, "output") || api_query_bool(req, "stdout"),
        .stderr_open = (api_query_bool(req, "error") || api_query_bool(req, "stderr")) && !tty,
        .tty = tty,
    };
}

/* ---- exec ---- */

struct session {
    struct node *node;
    struct remote *remote;
    struct runtime_exec *exec;
    char *uid, *name, *id;
    struct arena arena;
    struct str *argv;
    size_t n_argv;
    bool tty, stdin_open, stdin_paused;
    unsigned rows, cols;
    /* attach */
    int fd;
    struct rt_fd watch;
    struct buf in;
    bool in_end;
    struct rt_timer poll;
};

static void session_free(struct session *s)
{
    runtime_exec_abandon(s->exec);
    rt_timer_stop(&s->poll);
    rt_fd_fini(&s->watch);
    fd_closep(&s->fd);
    buf_fini(&s->in);
    arena_fini(&s->arena);
    free(s->uid);
    free(s->name);
    free(s->id);
    free(s);
}

static struct ctr *session_ctr(const struct session *s)
{
    struct ctr *c = map_get(&s->node->ctrs, str_z(s->id));
    return c && (ctr_state(c) == CTR_RUNNING || ctr_state(c) == CTR_STOPPING) ? c : NULL;
}

static void on_exec_output(void *arg, int stream, struct str data)
{
    struct session *s = arg;
    if (!remote_output(s->remote, stream, data))
        runtime_exec_pause(s->exec, true);
}

static void on_exec_exit(void *arg, int code, const char *message)
{
    struct session *s = arg;
    s->exec = NULL;
    remote_finish(s->remote, code, message);
}

static void on_exec_drain(void *arg)
{
    struct session *s = arg;
    if (s->stdin_paused && runtime_exec_queued_bytes(s->exec) < STDIN_HIGH) {
        s->stdin_paused = false;
        remote_pause_stdin(s->remote, false);
    }
}

static const struct runtime_exec_callbacks exec_cb = {
    .on_output = on_exec_output, .on_exit = on_exec_exit, .on_drain = on_exec_drain};

static void on_open(void *arg)
{
    struct session *s = arg;
    struct ctr *c = session_ctr(s);
    struct error err = {0};
    if (c)
        s->exec = ctr_exec(c, s->argv, s->n_argv, s->tty, s->stdin_open, &exec_cb, s, &err);
    if (!s->exec) {
        char *text = c ? str_dup(err.message) : xasprintf("container not found (\"%s\")", s->name);
        remote_finish(s->remote, -EIO, text);
        free(text);
    } else if (s->rows) {
        (void)!runtime_exec_resize(s->exec, s->rows, s->cols);
    }
    error_fini(&err);
}

static void on_stdin(void *arg, struct str data)
{
    struct session *s = arg;
    if (!s->exec)
        return;
    runtime_exec_write(s->exec, data);
    if (runtime_exec_queued_bytes(s->exec) > STDIN_HIGH && !s->stdin_paused) {
        s->stdin_paused = true;
        remote_pause_stdin(s->remote, true);
    }
}

static void on_stdin_end(void *arg)
{
    struct session *s = arg;
    if (s->exec)
        runtime_exec_close_stdin(s->exec);
}

static void on_resize(void *arg, unsigned rows, unsigned cols)
{
    struct session *s = arg;
    s->rows = rows;
    s->cols = cols;
    if (s->exec)
        (void)!runtime_exec_resize(s->exec, rows, cols);
}

static void on_drain(void *arg)
{
    struct session *s = arg;
    if (s->exec)
        runtime_exec_pause(s->exec, false);
}

static void on_close(void *arg)
{
    session_free(arg);
}

static const struct remote_callbacks exec_remote = {.on_open = on_open,
                                                    .on_stdin = on_stdin,
                                                    .on_stdin_end = on_stdin_end,
                                                    .on_resize = on_resize,
                                                    .on_drain = on_drain,
                                                    .on_close = on_close};

static struct session *session_new(struct api_call *c, struct ctr *ctr)
{
    struct session *s = NEW(struct session);
    s->node = c->node;
    s->uid = xstrdup(ctr->pod->uid);
    s->name = xstrdup(ctr->name);
    s->id = xstrdup(ctr->id);
    s->fd = -1;
    return s;
}

void api_exec(struct api_call *c)
{
    struct ctr *ctr = api_find_ctr(c, true);
    if (!ctr)
        return;
    struct session *s = session_new(c, ctr);
    int n = api_args_command(c->req->query, &s->arena, &s->argv);
    if (n < 0) {
        api_fail(c->req, 400, "a command has at most %d words", API_ARGS_MAX);
        session_free(s);
        return;
    }
    s->n_argv = (unsigned)n;
    s->tty = api_query_bool(c->req, "tty");
    struct remote_opts o = channels(c->req, s->tty);
    s->stdin_open = o.stdin_open;
    if (s->n_argv == 0 || (!o.stdin_open && !o.stdout_open && !o.stderr_open)) {
        api_fail(c->req, 400,
                 s->n_argv ? "you must specify at least 1 of stdin, stdout, stderr"
                           : "you must provide a command");
        session_free(s);
        return;
    }
    s->remote = remote_accept(c->req, &o, &exec_remote, s);
    if (!s->remote)
        session_free(s);
}

/* ---- attach ---- */

static void attach_end(struct session *s)
{
    struct ctr *c = map_get(&s->node->ctrs, str_z(s->id));
    int code = c && c->rec.end.set && ctr_state(c) == CTR_EXITED ? c->rec.end.code : 0;
    rt_fd_fini(&s->watch);
    fd_closep(&s->fd);
    remote_finish(s->remote, code, "");
}

/* The exit code is known a moment after the socket has closed. */
static void on_attach_poll(void *arg)
{
    struct session *s = arg;
    struct ctr *c = map_get(&s->node->ctrs, str_z(s->id));
    if (c && ctr_state(c) != CTR_EXITED &&
        s->cols++ < 100) /* cols counts the looks here; sizes are passed on at once */
        rt_timer_start(&s->poll, 20 * NSEC_PER_MSEC);
    else
        attach_end(s);
}

static void attach_write(struct session *s)
{
    while (s->fd >= 0 && s->in.n) {
        ssize_t n = write(s->fd, s->in.data, MIN(s->in.n, (size_t)ATTACH_IN_PACKET));
        if (n < 0)
            break;
        buf_consume(&s->in, (size_t)n);
    }
    if (s->in.n == 0 && s->in_end && s->fd >= 0)
        (void)shutdown(s->fd, SHUT_WR);
    if (s->stdin_paused && s->in.n < STDIN_HIGH / 2) {
        s->stdin_paused = false;
        remote_pause_stdin(s->remote, false);
    }
}

static void on_attach(void *arg, unsigned events)
{
    struct session *s = arg;
    char packet[ATTACH_PACKET + 1];
    if (events & RT_WRITABLE)
        attach_write(s);
    bool room = true;
    while ((events & RT_READABLE) && room) {
        ssize_t n = read(s->fd, packet, sizeof(packet));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            rt_fd_watch(&s->watch, 0);
            s->cols = 0;
            rt_timer_start(&s->poll, 0);
            return;
        }
        room = remote_output(s->remote, packet[0] == 3 && !s->tty ? 2 : 1,
                             (struct str){packet + 1, (size_t)n - 1});
    }
    rt_fd_watch(&s->watch, (room ? RT_READABLE : 0) | (s->in.n ? RT_WRITABLE : 0));
}

static void on_attach_open(void *arg)
{
    struct session *s = arg;
    struct ctr *c = session_ctr(s);
    int r = c ? runtime_attach(ctr_bundle(c).s) : -ENOENT;
    if (r >= 0) {
        s->fd = r;
        r = rt_fd_init(&s->watch, s->node->rt, s->fd, on_attach, s);
    }
    if (r < 0) {
        remote_finish(s->remote, -EIO,
                      c ? "cannot attach to the container" : "container not found");
        return;
    }
    rt_fd_watch(&s->watch, RT_READABLE);
}

static void on_attach_stdin(void *arg, struct str data)
{
    struct session *s = arg;
    if (s->fd < 0)
        return;
    buf_add_str(&s->in, data);
    attach_write(s);
    if (s->in.n)
        rt_fd_watch(&s->watch, RT_READABLE | RT_WRITABLE);
    if (s->in.n > STDIN_HIGH && !s->stdin_paused) {
        s->stdin_paused = true;
        remote_pause_stdin(s->remote, true);
    }
}

static void on_attach_stdin_end(void *arg)
{
    struct session *s = arg;
    s->in_end = true;
    attach_write(s);
}

static void on_attach_resize(void *arg, unsigned rows, unsigned cols)
{
    struct session *s = arg;
    struct ctr *c = session_ctr(s);
    if (c && s->tty)
        (void)!runtime_resize(ctr_bundle(c).s, rows, cols);
}

static void on_attach_drain(void *arg)
{
    struct session *s = arg;
    if (s->fd >= 0)
        rt_fd_watch(&s->watch, RT_READABLE | (s->in.n ? RT_WRITABLE : 0));
}

static const struct remote_callbacks attach_remote = {.on_open = on_attach_open,
                                                      .on_stdin = on_attach_stdin,
                                                      .on_stdin_end = on_attach_stdin_end,
                                                      .on_resize = on_attach_resize,
                                                      .on_drain = on_attach_drain,
                                                      .on_close = on_close};

void api_attach(struct api_call *c)
{
    struct ctr *ctr = api_find_ctr(c, true);
    if (!ctr)
        return;
    struct session *s = session_new(c, ctr);
    s->tty = ctr_spec(ctr)->tty;
    struct remote_opts o = channels(c->req, s->tty);
    o.stdin_open &= ctr_spec(ctr)->stdin;
    rt_timer_init(&s->poll, c->node->rt, on_attach_poll, s);
    s->remote = remote_accept(c->req, &o, &attach_remote, s);
    if (!s->remote)
        session_free(s);
}
