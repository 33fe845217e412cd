/* Streams over descriptors: TCP and unix sockets, pipes, terminals. Everything written in a turn
 * leaves in one sendmsg/writev at its end; a read takes up to 64 KB into a buffer shared by the
 * loop, so an idle connection costs a few hundred bytes. */
#include "rt/stream_impl.h"
#include "base/mem.h"
#include "rt/addr.h"
#include "rt/rt_impl.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOV_MAX_OURS 64 /* blocks of 4 KB and references: a few hundred KB a call */
#define READS_A_TURN 4  /* then the other connections have their turn */
#define KEEPALIVE_S  60 /* a peer that vanished is found within KEEPALIVE_S + 5 * 10 s */

struct fd_stream {
    struct rt_stream s;
    struct rt_fd in, out;    /* a socket uses `in` for both */
    int in_fd, out_fd;       /* owned; equal for a socket; -1: no such direction */
    bool is_socket, blocked; /* blocked: waiting for room to write */
    struct rt_task flush_task, fail_task;
    int write_error;
    char *peer, *local; /* owned, made when first asked for */
};

static struct fd_stream *fd_of(const struct rt_stream *s)
{
    return CONTAINER_OF(s, struct fd_stream, s);
}

static bool both_in_one(const struct fd_stream *f)
{
    return f->in_fd == f->out_fd;
}

static void set_interest(struct fd_stream *f)
{
    unsigned rd = f->s.reading && !f->s.eof && f->in_fd >= 0 ? RT_READABLE : 0;
    unsigned wr = f->blocked ? RT_WRITABLE : 0;

    if (both_in_one(f)) {
        rt_fd_watch(&f->in, rd | wr);
        return;
    }
    if (f->in_fd >= 0)
        rt_fd_watch(&f->in, rd);
    if (f->out_fd >= 0)
        rt_fd_watch(&f->out, wr);
}

/* ---- reading ---- */

static void read_some(struct fd_stream *f)
{
    char *p = rt_scratch(f->s.rt);

    for (int i = 0; i < READS_A_TURN && f->s.reading && !f->s.closing; i++) {
        ssize_t n = read(f->in_fd, p, RT_SCRATCH_BYTES);
        if (n > 0) {
            rt_stream_deliver_data(&f->s, (struct str){p, (size_t)n});
            if (n < RT_SCRATCH_BYTES)
                return;
        } else if (n == 0 || errno == EIO) { /* EIO: the other side of a terminal is gone */
            rt_stream_deliver_eof(&f->s);
            if (!f->s.closing)
                set_interest(f);
            return;
        } else if (errno != EINTR) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                rt_stream_deliver_error(&f->s, -errno);
            return;
        }
    }
}

static void fd_read_start(struct rt_stream *s)
{
    struct fd_stream *f = fd_of(s);

    if (f->in_fd < 0) {
        s->eof = true;
        rt_task_schedule(&s->task);
        return;
    }
    set_interest(f);
}

static void fd_read_stop(struct rt_stream *s)
{
    set_interest(fd_of(s));
}

/* ---- writing ---- */

/* What the peer sent before it went away is still worth reading: often it says why. */
static void fail_now(void *arg)
{
    struct fd_stream *f = arg;

    if (f->s.reading && !f->s.eof && f->in_fd >= 0)
        read_some(f);
    if (!f->s.closing)
        rt_stream_deliver_error(&f->s, f->write_error);
}

static void write_failed(struct fd_stream *f, int err)
{
    f->write_error = err;
    f->blocked = false;
    rt_wqueue_clear(&f->s.out);
    set_interest(f);
    rt_task_schedule(&f->fail_task);
}

static ssize_t write_iov(struct fd_stream *f, struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};

    return f->is_socket ? sendmsg(f->out_fd, &m, MSG_NOSIGNAL) : writev(f->out_fd, iov, n);
}

static void fd_flush(struct rt_stream *s)
{
    struct fd_stream *f = fd_of(s);
    struct iovec iov[IOV_MAX_OURS];

    if (f->write_error) {
        rt_wqueue_clear(&s->out);
        return;
    }
    if (f->blocked)
        return;
    while (s->out.bytes > 0) {
        ssize_t n = f->out_fd < 0 ? (errno = EPIPE, -1)
                                  : write_iov(f, iov, rt_wqueue_iov(&s->out, iov, IOV_MAX_OURS));
        if (n >= 0) {
            rt_wqueue_consume(&s->out, (size_t)n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            f->blocked = true;
            set_interest(f);
            break;
        } else if (errno != EINTR) {
            write_failed(f, -errno);
            return;
        }
    }
    rt_stream_progress(s);
}

static void flush_late(void *arg)
{
    struct fd_stream *f = arg;

    if (!f->s.error)
        fd_flush(&f->s);
}

static void fd_kick(struct rt_stream *s)
{
    struct fd_stream *f = fd_of(s);

    if (!f->blocked)
        rt_task_schedule_late(&f->flush_task);
}

static void on_ready(void *arg, unsigned events)
{
    struct fd_stream *f = arg;

    if (events & RT_WRITABLE && f->blocked) {
        f->blocked = false;
        set_interest(f);
        fd_flush(&f->s);
    }
    if (events & RT_READABLE && !f->s.closing)
        read_some(f);
}

static void fd_shutdown(struct rt_stream *s)
{
    struct fd_stream *f = fd_of(s);

    if (f->is_socket) {
        (void)shutdown(f->out_fd, SHUT_WR); /* not connected any more: reading finds out */
    } else if (f->out_fd >= 0 && !both_in_one(f)) {
        rt_fd_fini(&f->out);
        close(f->out_fd);
        f->out_fd = -1;
    }
}

/* ---- the rest of the vtable ---- */

static void fd_close(struct rt_stream *s)
{
    struct fd_stream *f = fd_of(s);

    rt_task_cancel(&f->flush_task);
    rt_task_cancel(&f->fail_task);
    rt_fd_fini(&f->in);
    rt_fd_fini(&f->out);
    if (f->in_fd >= 0)
        close(f->in_fd);
    if (f->out_fd >= 0 && !both_in_one(f))
        close(f->out_fd);
    free(f->peer);
    free(f->local);
    f->peer = f->local = NULL;
}

static const char *socket_text(struct fd_stream *f, char **cache,
                               int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char text[RT_ADDR_TEXT_BYTES];

    if (!f->is_socket)
        return "pipe";
    if (!*cache) {
        if (get(f->in_fd, (struct sockaddr *)&ss, &len) < 0)
            return "?"; /* reset in between */
        rt_addr_text((struct sockaddr *)&ss, len, text);
        *cache = xstrdup(text);
    }
    return *cache;
}

static const char *fd_peer(struct rt_stream *s)
{
    return socket_text(fd_of(s), &fd_of(s)->peer, getpeername);
}

static const char *fd_local(struct rt_stream *s)
{
    return socket_text(fd_of(s), &fd_of(s)->local, getsockname);
}

static int fd_fd(const struct rt_stream *s)
{
    return fd_of(s)->in_fd >= 0 ? fd_of(s)->in_fd : fd_of(s)->out_fd;
}

#define FD_OPS(name)                                                                               \
    {                                                                                              \
        .kind = name, .read_start = fd_read_start, .read_stop = fd_read_stop, .kick = fd_kick,     \
        .flush = fd_flush, .shutdown = fd_shutdown, .close = fd_close, .peer = fd_peer,            \
        .local = fd_local, .fd = fd_fd,                                                            \
    }

static const struct rt_stream_ops tcp_ops = FD_OPS("tcp");
static const struct rt_stream_ops unix_ops = FD_OPS("unix");
static const struct rt_stream_ops pipe_ops = FD_OPS("pipe");

/* ---- making them ---- */

static void tune_tcp(int fd)
{
    const int one = 1, idle = KEEPALIVE_S, interval = 10, count = 5;

    /* We gather writes ourselves; Nagle would only delay them. Failures do no harm. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static const struct rt_stream_ops *ops_for(int fd, bool *ret_socket)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    *ret_socket = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0;
    if (!*ret_socket)
        return &pipe_ops;
    if (domain != AF_INET && domain != AF_INET6)
        return &unix_ops;
    tune_tcp(fd);
    return &tcp_ops;
}

static int check_fd(int fd)
{
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? -EPERM : 0;
}

int rt_stream_from_fds(struct rt *rt, int in_fd, int out_fd, struct rt_stream **ret)
{
    struct fd_stream *f = NEW(struct fd_stream);
    int r = in_fd < 0 && out_fd < 0 ? -EBADF : check_fd(in_fd);

    f->in_fd = in_fd;
    f->out_fd = out_fd;
    f->in.fd = f->out.fd = -1;
    if (r == 0)
        r = check_fd(out_fd);
    rt_stream_init(&f->s, rt, ops_for(in_fd >= 0 ? in_fd : out_fd, &f->is_socket));
    if (f->is_socket && !both_in_one(f))
        f->is_socket = false; /* two sockets side by side: plain reads and writes do */
    rt_task_init(&f->flush_task, rt, flush_late, f);
    rt_task_init(&f->fail_task, rt, fail_now, f);
    if (r == 0 && in_fd >= 0)
        r = rt_fd_init(&f->in, rt, in_fd, on_ready, f);
    if (r == 0 && out_fd >= 0 && out_fd != in_fd)
        r = rt_fd_init(&f->out, rt, out_fd, on_ready, f);
    if (r < 0) {
        fd_close(&f->s);
        free(f);
        return r;
    }
    *ret = &f->s;
    return 0;
}

/* A pipe end goes one way only; a socket or terminal both. */
int rt_stream_from_fd(struct rt *rt, int fd, struct rt_stream **ret)
{
    struct stat st;
    int mode;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
        mode = fcntl(fd, F_GETFL) & O_ACCMODE;
        if (mode != O_RDWR)
            return rt_stream_from_fds(rt, mode == O_RDONLY ? fd : -1, mode == O_RDONLY ? -1 : fd,
                                      ret);
    }
    return rt_stream_from_fds(rt, fd, fd, ret);
}
