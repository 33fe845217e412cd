/* Listening sockets. A callback gets a bare descriptor, since the connection often belongs to
 * another thread's loop. When descriptors run out, accept(2) fails while the socket stays readable;
 * the listener then rests instead of spinning. */
#include "rt/stream.h"
#include "base/mem.h"
#include "rt/addr.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64                    /* a connection storm must not hold the loop */
#define REST_TIME      (100 * NSEC_PER_MSEC) /* descriptors come free when connections end */
#define BACKLOG        511

struct rt_listener {
    struct rt *rt;
    struct rt_fd watch;
    int fd; /* owned */
    rt_accept_fn fn;
    void *arg;
    struct rt_timer rest;
    struct rt_task closer;
    bool paused, resting, closing;
    char *unix_path; /* owned; removed at the end */
    char addr[RT_ADDR_TEXT_BYTES];
    uint16_t port;
};

static void update(struct rt_listener *l)
{
    rt_fd_watch(&l->watch, l->paused || l->resting ? 0 : RT_READABLE);
}

static void rest_over(void *arg)
{
    struct rt_listener *l = arg;

    l->resting = false;
    update(l);
}

static void accept_some(void *arg, unsigned events)
{
    struct rt_listener *l = arg;

    for (int i = 0; i < ACCEPTS_A_TURN && !l->closing && !l->paused; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->fn(l->arg, fd);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            l->resting = true;
            rt_timer_start(&l->rest, REST_TIME);
            update(l);
            return;
        } /* else: that one connection broke before we took it */
    }
}

static void listener_free(void *arg)
{
    struct rt_listener *l = arg;

    free(l->unix_path);
    free(l);
}

struct rt_listener *rt_listener_close(struct rt_listener *l)
{
    if (!l)
        return NULL;
    ASSERT(!l->closing);
    l->closing = true;
    rt_timer_stop(&l->rest);
    rt_fd_fini(&l->watch);
    if (l->unix_path && l->fd >= 0)
        unlink(l->unix_path);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    rt_task_schedule(&l->closer); /* accept_some may be our caller */
    return NULL;
}

void rt_listener_pause(struct rt_listener *l, bool pause)
{
    ASSERT(!l->closing);
    l->paused = pause;
    update(l);
}

const char *rt_listener_addr(const struct rt_listener *l)
{
    return l->addr;
}

uint16_t rt_listener_port(const struct rt_listener *l)
{
    return l->port;
}

/* ---- opening ---- */

/* A socket file nobody answers on is left over from a process that was killed. */
static int remove_stale(const struct sockaddr *sa, socklen_t len, const char *path)
{
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, sa, len) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_unix(int fd, const struct sockaddr *sa, socklen_t len, const char *path,
                     mode_t mode)
{
    int r = remove_stale(sa, len, path);
    mode_t old;

    if (r < 0)
        return r;
    old = umask(0177); /* not open to others for a moment even */
    r = bind(fd, sa, len) < 0 ? -errno : 0;
    umask(old);
    if (r == 0 && mode && mode != 0600 && chmod(path, mode) < 0)
        r = -errno;
    return r;
}

static int open_socket(const struct rt_addr *a, const struct rt_listen_opts *opts, int *ret_fd)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_storage ss;
    struct sockaddr *sa = (struct sockaddr *)&ss;
    const int one = 1, off = 0;
    socklen_t len;
    int r = rt_addr_to_sockaddr(a, &ss, &len);

    if (r < 0)
        return r;
    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && a->any) { /* IPv6 switched off */
        struct rt_addr v4 = {.port = a->port, .host = "0.0.0.0"};
        return open_socket(&v4, opts, ret_fd);
    }
    if (fd < 0)
        return -errno;
    if (a->is_unix) {
        r = bind_unix(fd, sa, len, a->host, opts->unix_mode);
    } else {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (opts->reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
            return -errno;
        if (opts->freebind)
            (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
        if (opts->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, opts->device,
                                       (socklen_t)strnlen(opts->device, IFNAMSIZ - 1)) < 0)
            return -errno;
        if (ss.ss_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, a->any ? &off : &one, sizeof(one));
        r = bind(fd, sa, len) < 0 ? -errno : 0;
    }
    if (r < 0)
        return r;
    if (listen(fd, opts->backlog ? opts->backlog : BACKLOG) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void find_name(struct rt_listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
        return;
    rt_addr_text((struct sockaddr *)&ss, len, l->addr);
    if (ss.ss_family == AF_INET)
        l->port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
    else if (ss.ss_family == AF_INET6)
        l->port = ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
}

int rt_listen(struct rt *rt, const struct rt_listen_opts *opts, rt_accept_fn fn, void *arg,
              struct error *err, struct rt_listener **ret)
{
    struct rt_listener *l;
    struct rt_addr a;
    int fd = -1, r = rt_addr_parse(str_z(opts->addr), &a, err);

    if (r < 0)
        return r;
    r = open_socket(&a, opts, &fd);
    if (r == -ENOENT && !a.is_unix)
        return error_set(err, REASON_BAD_REQUEST,
                         "cannot listen on %s: the host must be a literal address", opts->addr);
    if (r < 0) {
        (void)error_errno(err, r, "cannot listen on %s", opts->addr);
        return r;
    }
    l = NEW(struct rt_listener);
    *l = (struct rt_listener){.rt = rt, .fd = fd, .fn = fn, .arg = arg};
    l->unix_path = a.is_unix ? xstrdup(a.host) : NULL;
    rt_timer_init(&l->rest, rt, rest_over, l);
    rt_task_init(&l->closer, rt, listener_free, l);
    find_name(l);
    r = rt_fd_init(&l->watch, rt, fd, accept_some, l);
    if (r < 0) {
        rt_listener_close(l);
        (void)error_errno(err, r, "cannot listen on %s", opts->addr);
        return r;
    }
    update(l);
    *ret = l;
    return 0;
}
