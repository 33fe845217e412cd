/* Opening connections: the name is looked up in the worker pool, then each address gets its share
 * of the time, one after the other, until one answers. */
#include "rt/stream.h"
#include "base/mem.h"
#include "rt/addr.h"

#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#define ADDRESSES_MAX   16 /* of one name; more are not tried */
#define TIMEOUT_DEFAULT (10 * NSEC_PER_SEC)
#define SHARE_MIN       (1 * NSEC_PER_SEC) /* a slow but living host gets at least so long */

struct target {
    struct sockaddr_storage sa;
    socklen_t len;
};

struct rt_connect {
    struct rt *rt;
    struct rt_addr addr;
    rt_connect_fn fn;
    void *arg;
    struct rt_task start;
    struct rt_timer over, share; /* all of it; this address */
    struct rt_work lookup;
    bool looking, cancelled;
    struct target targets[ADDRESSES_MAX]; /* written by the lookup thread, then read here */
    int n_targets, next;
    int lookup_error, last_error;
    struct rt_fd watch;
    int fd;       /* owned; the attempt in progress; -1: none */
    int given_fd; /* owned; -1: none */
};

static void try_next(struct rt_connect *c);

static void stop_attempt(struct rt_connect *c)
{
    rt_timer_stop(&c->share);
    rt_fd_fini(&c->watch);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void connect_free(struct rt_connect *c)
{
    stop_attempt(c);
    rt_timer_stop(&c->over);
    rt_task_cancel(&c->start);
    if (c->given_fd >= 0)
        close(c->given_fd);
    c->given_fd = -1;
    if (c->looking)
        c->cancelled = true; /* the lookup still writes to us */
    else
        free(c);
}

static void finish(struct rt_connect *c, struct rt_stream *s, int err)
{
    rt_connect_fn fn = c->fn;
    void *arg = c->arg;

    connect_free(c);
    fn(arg, s, err);
}

static void connected(struct rt_connect *c)
{
    struct rt_stream *s = NULL;
    int fd, r;

    rt_fd_fini(&c->watch);
    fd = TAKE_FD(c->fd);
    r = rt_stream_from_fd(c->rt, fd, &s);
    finish(c, s, r);
}

static void attempt_failed(struct rt_connect *c, int err)
{
    c->last_error = err;
    stop_attempt(c);
    try_next(c);
}

static void on_writable(void *arg, unsigned events)
{
    struct rt_connect *c = arg;
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err)
        attempt_failed(c, -err);
    else
        connected(c);
}

static void share_over(void *arg)
{
    attempt_failed(arg, -ETIMEDOUT);
}

static void all_over(void *arg)
{
    finish(arg, NULL, -ETIMEDOUT);
}

static int open_attempt(struct rt_connect *c, const struct target *t)
{
    if (c->given_fd >= 0)
        c->fd = TAKE_FD(c->given_fd);
    else
        c->fd = socket(t->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return c->fd < 0 ? -errno : rt_fd_init(&c->watch, c->rt, c->fd, on_writable, c);
}

static void try_next(struct rt_connect *c)
{
    nsec_t left = c->over.deadline - rt_now(c->rt);
    const struct target *t;
    int r;

    while (c->next < c->n_targets) {
        int remaining = c->n_targets - c->next;
        t = &c->targets[c->next++];
        r = open_attempt(c, t);
        if (r == 0 && connect(c->fd, (const struct sockaddr *)&t->sa, t->len) < 0)
            r = -errno;
        /* A full backlog of a unix socket says EAGAIN; waiting for "writable" would never end. */
        if (r == 0 || r == -EINPROGRESS) {
            if (remaining > 1)
                rt_timer_start(&c->share, MAX(left / remaining, SHARE_MIN));
            rt_fd_watch(&c->watch, RT_WRITABLE);
            return;
        }
        c->last_error = r == -EAGAIN ? -ECONNREFUSED : r;
        stop_attempt(c);
    }
    finish(c, NULL, c->last_error ? c->last_error : -ENOENT);
}

/* ---- names ---- */

static void look_up(void *arg) /* in the pool */
{
    struct rt_connect *c = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    int r = getaddrinfo(c->addr.host, NULL, &hints, &list);

    if (r) {
        c->lookup_error = r == EAI_AGAIN    ? -EAGAIN
                          : r == EAI_SYSTEM ? -errno
                          : r == EAI_MEMORY ? -ENOMEM
                                            : -ENOENT;
        return;
    }
    for (struct addrinfo *a = list; a && c->n_targets < ADDRESSES_MAX; a = a->ai_next) {
        struct target *t = &c->targets[c->n_targets];
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
            continue;
        memcpy(&t->sa, a->ai_addr, a->ai_addrlen);
        t->len = a->ai_addrlen;
        if (a->ai_family == AF_INET)
            ((struct sockaddr_in *)&t->sa)->sin_port = htons(c->addr.port);
        else
            ((struct sockaddr_in6 *)&t->sa)->sin6_port = htons(c->addr.port);
        c->n_targets++;
    }
    freeaddrinfo(list);
}

static void looked_up(void *arg)
{
    struct rt_connect *c = arg;

    c->looking = false;
    if (c->cancelled)
        free(c);
    else if (c->lookup_error)
        finish(c, NULL, c->lookup_error);
    else
        try_next(c);
}

static void begin(void *arg)
{
    struct rt_connect *c = arg;
    struct target *t = &c->targets[0];
    int r;

    if (c->last_error) { /* the address could not be parsed */
        finish(c, NULL, c->last_error);
        return;
    }
    if (c->addr.any)
        memcpy(c->addr.host, "127.0.0.1", sizeof("127.0.0.1"));
    c->addr.any = false;
    r = rt_addr_to_sockaddr(&c->addr, &t->sa, &t->len);
    if (r == -ENOENT && c->given_fd < 0 && !rt_is_sim(c->rt)) {
        c->looking = true;
        rt_work(c->rt, &c->lookup, RT_WORK_SHORT, look_up, looked_up, c);
    } else if (r < 0) {
        finish(c, NULL, r);
    } else {
        c->n_targets = 1;
        try_next(c);
    }
}

struct rt_connect *rt_connect(struct rt *rt, const struct rt_connect_opts *opts, rt_connect_fn fn,
                              void *arg)
{
    struct rt_connect *c = NEW(struct rt_connect);

    c->rt = rt;
    c->fn = fn;
    c->arg = arg;
    c->fd = -1;
    c->given_fd = opts->socket_fd > 0 ? opts->socket_fd : -1;
    c->last_error = rt_addr_parse(str_z(opts->addr), &c->addr, NULL);
    rt_task_init(&c->start, rt, begin, c);
    rt_timer_init(&c->share, rt, share_over, c);
    rt_timer_init(&c->over, rt, all_over, c);
    rt_timer_start(&c->over, opts->timeout ? opts->timeout : TIMEOUT_DEFAULT);
    rt_task_schedule(&c->start);
    return c;
}

struct rt_connect *rt_connect_cancel(struct rt_connect *c)
{
    if (c)
        connect_free(c);
    return NULL;
}
