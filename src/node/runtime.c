/* Containers belong to conmon, not to us: it holds their pipes, writes their logs and notes how
 * they ended, so we may be killed at any time. We start it with a pipe on which it tells the
 * container's pid once crun has made the container, and learn of the end by a file that appears in
 * the exits directory (inotify), which costs nothing per container and is there for whoever comes
 * after us. */
#include "node/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdalign.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/json.h"
#include "node/fsutil.h"
#include "node/proc.h"

#define CREATE_TIMEOUT (120 * NSEC_PER_SEC) /* a cold disk under load; kubelets use as much */
#define SYNC_BYTES_MAX 65536                /* crun's message comes over it */
#define INOTIFY_BYTES  16384

/* A container that gets hold of crun by /proc/PID/exe must not be able to write to it. So crun
 * copies itself before it does anything, by a bind mount, and executes the copy: each crun is two.
 * One that runs from a read-only mount, and is told to look, leaves that out (RUNTIME_ENV). Without
 * such a mount it is as careful as ever, so a failure here is none. */
static void bind_read_only(struct runtime *r, const char *run_dir)
{
    struct fs_path dir = fs_path("%s/" RUNTIME_BIN, run_dir), file = fs_path("%s/crun", dir.s);
    (void)umount2(file.s, MNT_DETACH | UMOUNT_NOFOLLOW); /* the one of before may be old */
    if (fs_mkdirs(dir.s, 0700) < 0 || fs_write(file.s, STR(""), 0700) < 0 ||
        mount(r->crun, file.s, NULL, MS_BIND, NULL) < 0)
        return;
    if (mount(NULL, file.s, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0) {
        (void)umount2(file.s, MNT_DETACH | UMOUNT_NOFOLLOW);
        return;
    }
    free(r->crun);
    r->crun = xstrdup(file.s);
}

void runtime_unbind(const char *run_dir)
{
    (void)umount2(fs_path("%s/" RUNTIME_BIN "/crun", run_dir).s, MNT_DETACH | UMOUNT_NOFOLLOW);
}

int runtime_init(struct runtime *r, struct rt *rt, const char *run_dir, const char *crun,
                 const char *conmon, struct error *err)
{
    *r = (struct runtime){.rt = rt, .inotify_fd = -1};
    r->crun = xstrdup(crun ? crun : "/usr/bin/crun");
    r->conmon = xstrdup(conmon ? conmon : "/usr/bin/conmon");
    r->root = xasprintf("%s/crun", run_dir);
    r->exits_dir = xasprintf("%s/exits", run_dir);
    r->sock_dir = xasprintf("%s/s", run_dir);
    const char *dirs[] = {r->root, r->exits_dir, r->sock_dir};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int rc = fs_mkdirs(dirs[i], 0700);
        if (rc < 0)
            return error_errno(err, -rc, "cannot make %s", dirs[i]);
    }
    if (access(r->crun, X_OK) < 0)
        return error_errno(err, errno, "cannot run %s", r->crun);
    if (access(r->conmon, X_OK) < 0)
        return error_errno(err, errno, "cannot run %s", r->conmon);
    bind_read_only(r, run_dir);
    return 0;
}

void runtime_fini(struct runtime *r)
{
    rt_fd_fini(&r->exits_watch);
    fd_closep(&r->inotify_fd);
    freep(&r->crun);
    freep(&r->conmon);
    freep(&r->root);
    freep(&r->exits_dir);
    freep(&r->sock_dir);
}

/* ---- exits ---- */

int runtime_exit_code(const struct runtime *r, const char *id, int *ret_code)
{
    struct buf b = {0};
    int rc = fs_read(fs_path("%s/%s", r->exits_dir, id).s, 64, &b);
    if (rc == 0)
        rc = proc_exit_parse(buf_str(&b), ret_code);
    buf_fini(&b);
    return rc == 0;
}

void runtime_forget_exit(const struct runtime *r, const char *id)
{
    (void)unlink(fs_path("%s/%s", r->exits_dir, id).s);
}

static int look_at_exit(void *arg, const char *name, unsigned char type)
{
    struct runtime *r = arg;
    int code;
    /* conmon writes a file with a longer name first and renames it */
    if (!strchr(name, '.') && runtime_exit_code(r, name, &code))
        r->on_exit(r->arg, str_z(name), code);
    return 0;
}

static void on_inotify(void *arg, unsigned events)
{
    struct runtime *r = arg;
    alignas(struct inotify_event) char buf[INOTIFY_BYTES];
    for (;;) {
        ssize_t n = read(r->inotify_fd, buf, sizeof(buf));
        if (n <= 0)
            return;
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (struct inotify_event *)p;
            p += sizeof(*e) + e->len;
            if (e->mask & IN_Q_OVERFLOW) /* more ends than the kernel keeps in mind */
                (void)!fs_each(r->exits_dir, look_at_exit, r);
            else if (e->len > 0)
                (void)look_at_exit(r, e->name, DT_REG);
        }
    }
}

int runtime_watch_exits(struct runtime *r, void (*on_exit)(void *arg, struct str id, int code),
                        void *arg, struct error *err)
{
    ASSERT(r->inotify_fd < 0);
    r->on_exit = on_exit;
    r->arg = arg;
    r->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (r->inotify_fd < 0)
        return error_errno(err, errno, "inotify");
    if (inotify_add_watch(r->inotify_fd, r->exits_dir, IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
        return error_errno(err, errno, "cannot watch %s", r->exits_dir);
    int rc = rt_fd_init(&r->exits_watch, r->rt, r->inotify_fd, on_inotify, r);
    if (rc < 0)
        return error_errno(err, -rc, "cannot watch %s", r->exits_dir);
    rt_fd_watch(&r->exits_watch, RT_READABLE);
    return 0;
}

/* ---- create ---- */

struct creating {
    struct runtime *r;
    runtime_created_fn fn;
    void *arg;
    struct rt_process *conmon; /* the first conmon; the real one is its child */
    struct rt_stream *sync;
    struct buf answer;
    struct rt_timer timeout;
    struct rt_task failed; /* when it could not be started */
    char *message;
    int err;
};

static void creating_end(struct creating *c, int err, pid_t pid, const char *message)
{
    runtime_created_fn fn = c->fn;
    void *arg = c->arg;
    rt_timer_stop(&c->timeout);
    if (c->sync)
        rt_stream_close(c->sync, NULL, NULL);
    rt_process_free(c->conmon);
    fn(arg, err, pid, message);
    buf_fini(&c->answer);
    free(c->message);
    free(c);
}

pid_t runtime_answer(struct str text, struct arena *a, struct str *ret_message)
{
    struct json *v;
    *ret_message = STR("conmon ended without an answer");
    if (json_parse(str_trim(text), a, NULL, &v, NULL) < 0)
        return -1;
    const struct json *data = json_getz(v, "data");
    struct str m = json_get_str(v, STR("message"));
    if (m.n)
        *ret_message = str_trim(m);
    return json_is(data, JSON_INT) && data->i > 0 && data->i <= INT32_MAX ? (pid_t)data->i : -1;
}

static void creating_parse(struct creating *c)
{
    struct arena a = {0};
    struct str message;
    pid_t pid = runtime_answer(buf_str(&c->answer), &a, &message);
    if (pid > 0)
        creating_end(c, 0, pid, "");
    else
        creating_end(c, -EIO, 0, arena_cstr(&a, message));
    arena_fini(&a);
}

static void on_sync_data(void *arg, struct str data)
{
    struct creating *c = arg;
    if (c->answer.n + data.n <= SYNC_BYTES_MAX)
        buf_add_str(&c->answer, data);
    if (str_find(data, '\n') >= 0)
        creating_parse(c);
}

static void on_sync_eof(void *arg)
{
    creating_parse(arg);
}

static void on_sync_error(void *arg, int err)
{
    creating_parse(arg);
}

static const struct rt_stream_handler sync_handler = {
    .on_data = on_sync_data,
    .on_eof = on_sync_eof,
    .on_error = on_sync_error,
};

static void on_create_timeout(void *arg)
{
    creating_end(arg, -ETIMEDOUT, 0, "context deadline exceeded");
}

static void on_create_failed(void *arg)
{
    struct creating *c = arg;
    creating_end(c, c->err, 0, c->message ? c->message : "cannot start conmon");
}

static void on_first_conmon_exit(void *arg, struct rt_exit how)
{
    /* It leaves once the real one runs. A failure closes the pipe, which tells. */
}

static int creating_spawn(struct creating *c, const struct runtime_create *o, struct error *err)
{
    struct runtime *r = c->r;
    struct fs_path pid = fs_path("%s/pid", o->bundle),
                   conmon_pid = fs_path("%s/conmon.pid", o->bundle);
    struct fs_path log = fs_path("k8s-file:%s", o->log_path), root = fs_path("--root=%s", r->root);
    const char *argv[48] = {
        r->conmon,
        "--api-version",
        "1",
        "-c",
        o->id,
        "-u",
        o->id,
        "-n",
        o->id,
        "-r",
        r->crun,
        "-b",
        o->bundle,
        "-p",
        pid.s,
        "-P",
        conmon_pid.s,
        "-l",
        log.s,
        "--exit-dir",
        r->exits_dir,
        "--socket-dir-path",
        r->sock_dir,
        "--log-level",
        "error",
        "--no-sync-log",
        "--runtime-arg",
        root.s,
        "--runtime-arg",
        "--cgroup-manager=cgroupfs",
    };
    size_t n = 0;
    while (argv[n])
        n++;
    if (o->tty)
        argv[n++] = "-t";
    if (o->stdin_open)
        argv[n++] = "-i";
    if (o->stdin_open && !o->stdin_once)
        argv[n++] = "--leave-stdin-open";
    ASSERT(n < ARRAY_LEN(argv));
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return error_errno(err, errno, "pipe");
    const char *env[] = {"_OCI_SYNCPIPE=3", RUNTIME_ENV, RUNTIME_PATH, NULL};
    struct rt_process_fd fds[] = {{.from = p[1], .to = 3}};
    struct rt_process_opts opts = {
        .argv = argv,
        .env = env,
        .cwd = o->bundle,
        .fds = fds,
        .n_fds = 1,
        .new_session = true,
    };
    int rc = rt_process_start(r->rt, &opts, on_first_conmon_exit, c, err, &c->conmon);
    close(p[1]);
    if (rc < 0) {
        close(p[0]);
        return rc;
    }
    rc = rt_stream_from_fd(r->rt, p[0], &c->sync);
    if (rc < 0)
        return error_errno(err, -rc, "cannot read conmon's pipe");
    rt_stream_set_handler(c->sync, &sync_handler, c);
    rt_stream_read_start(c->sync);
    return 0;
}

void runtime_create(struct runtime *r, const struct runtime_create *o, runtime_created_fn fn,
                    void *arg)
{
    struct creating *c = NEW(struct creating);
    c->r = r;
    c->fn = fn;
    c->arg = arg;
    rt_timer_init(&c->timeout, r->rt, on_create_timeout, c);
    rt_task_init(&c->failed, r->rt, on_create_failed, c);
    struct error err = {0};
    int rc = creating_spawn(c, o, &err);
    if (rc < 0) {
        c->err = rc;
        c->message = str_dup(err.message);
        rt_task_schedule(&c->failed);
    } else {
        rt_timer_start(&c->timeout, CREATE_TIMEOUT);
    }
    error_fini(&err);
}

/* ---- start ---- */

struct starting {
    runtime_done_fn fn;
    void *arg;
    struct rt_task done;
    int r;
    const char *message; /* static */
};

/* What crun holds back a container's program by: its init reads one byte from a fifo. `crun start`
 * does no more than writing it (we give it no hooks), so we do it ourselves and save two
 * executions of crun. The fifo is removed after the byte, not before as crun does: were we killed
 * in between, the next agent finds a fifo nobody reads any more and knows; the other way round it
 * would take a container that waits for ever for one that runs. */
static int let_go(const struct runtime *r, const char *id, const char **ret_message)
{
    struct fs_path fifo = fs_path("%s/%s/exec.fifo", r->root, id);
    CLEANUP(fd_closep)
    int fd = open(fifo.s, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENXIO) {
        char status[16];
        pid_t pid;
        if (runtime_state(r->crun, r->root, id, status, &pid) == 0 && pid > 0)
            goto gone_ahead;
        *ret_message = "the container ended before it was started";
        return -ESRCH;
    }
    if (fd < 0) {
        *ret_message = errno == ENOENT ? "the container is not in state created"
                                       : "cannot open the container's exec.fifo";
        return -errno;
    }
    if (write(fd, "", 1) != 1) {
        *ret_message = "cannot write to the container's exec.fifo";
        return -EIO;
    }
gone_ahead:
    *ret_message = "";
    (void)unlink(fifo.s);
    return 0;
}

static void on_let_go(void *arg)
{
    struct starting *s = arg;
    s->fn(s->arg, s->r, s->message);
    free(s);
}

void runtime_start(struct runtime *r, const char *id, runtime_done_fn fn, void *arg)
{
    struct starting *s = NEW(struct starting);
    s->fn = fn;
    s->arg = arg;
    s->r = let_go(r, id, &s->message);
    rt_task_init(&s->done, r->rt, on_let_go, s);
    rt_task_schedule(&s->done);
}

/* ---- state, removal ---- */

int runtime_state(const char *crun, const char *root, const char *id, char ret_status[static 16],
                  pid_t *ret_pid)
{
    struct buf b = {0};
    ret_status[0] = 0;
    *ret_pid = 0;
    int r = fs_read(fs_path("%s/%s/status", root, id).s, 65536, &b);
    if (r < 0) {
        buf_fini(&b);
        return r == -ENOENT ? 0 : r;
    }
    /* What `crun state` does: alive is the pid with the start time noted; created while the fifo
     * that holds back its exec is there. */
    struct arena a = {0};
    struct json *v;
    struct error err = {0};
    const char *status = "stopped";
    if (json_parse(buf_str(&b), &a, NULL, &v, &err) == 0) {
        const struct json *pid = json_getz(v, "pid"), *started = json_getz(v, "process-start-time");
        struct buf stat = {0};
        if (json_is(pid, JSON_INT) && pid->i > 0 &&
            fs_read(fs_path("/proc/%d/stat", (int)pid->i).s, 4096, &stat) == 0) {
            uint64_t t = proc_stat_start_time(buf_str(&stat));
            if (t && (!json_is(started, JSON_INT) || (uint64_t)started->i == t)) {
                status = fs_exists(fs_path("%s/%s/exec.fifo", root, id).s) ? "created" : "running";
                *ret_pid = (pid_t)pid->i;
            }
        }
        buf_fini(&stat);
    }
    memcpy(ret_status, status, strlen(status) + 1);
    error_fini(&err);
    arena_fini(&a);
    buf_fini(&b);
    return 0;
}

void runtime_remove_state(const char *root, const char *exits_dir, const char *sock_dir,
                          const char *id)
{
    (void)!fs_rm_rf(fs_path("%s/%s", root, id).s);
    (void)unlink(fs_path("%s/%s", exits_dir, id).s);
    (void)unlink(fs_path("%s/%s", sock_dir, id).s);
}

/* ---- conmon's fifo and socket ---- */

static int ctl_write(const char *bundle, const char *line)
{
    CLEANUP(fd_closep)
    int fd = open(fs_path("%s/ctl", bundle).s, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t n = strlen(line);
    ssize_t w = write(fd, line, n);
    return w == (ssize_t)n ? 0 : w < 0 ? -errno : -EIO;
}

int runtime_reopen_log(const char *bundle)
{
    return ctl_write(bundle, "2 0 0\n");
}

int runtime_resize(const char *bundle, unsigned rows, unsigned cols)
{
    char line[40];
    snprintf(line, sizeof(line), "1 %u %u\n", MIN(rows, 1000u),
             MIN(cols, 1000u)); /* conmon refuses more */
    return ctl_write(bundle, line);
}

int runtime_attach(const char *bundle)
{
    /* The path may be longer than a socket address: go by the directory's descriptor. */
    CLEANUP(fd_closep) int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/attach", dir);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return -errno;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return TAKE_FD(fd);
}
