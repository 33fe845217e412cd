/* Datagrams in batches. A system call a datagram is what a DNS server spends most of its time in,
 * so both directions move many at once. Received ones lie in the loop's scratch buffer, which
 * nobody else uses during the callback; only what has to be sent is kept by the socket, in slots
 * of fixed size, since a datagram cannot be sent in parts. */
#include "rt/udp.h"

#include "base/mem.h"
#include "rt/addr.h"
#include "rt/rt_impl.h"

#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#define BATCHES_A_TURN 8 /* then others have their turn; the descriptor stays readable */

struct slot {
    struct rt_udp_peer to;
    size_t n;
    uint8_t data[RT_UDP_DATAGRAM_MAX];
};

struct rt_udp {
    struct rt *rt;
    struct rt_fd watch;
    int fd; /* owned */
    rt_udp_fn fn;
    rt_udp_error_fn on_error;
    void *arg;
    struct slot *slots; /* owned; [0, n) are to be sent, in order */
    size_t n, cap, max;
    struct rt_task late, closer;
    bool blocked; /* the kernel took no more */
    bool closing;
    uint64_t dropped;
    uint16_t port;
};

static_assert(RT_UDP_DATAGRAM_MAX * RT_UDP_BATCH <= RT_SCRATCH_BYTES, "a batch fits the scratch");

static void flush(void *arg);

static void set_blocked(struct rt_udp *u, bool blocked)
{
    if (u->blocked == blocked)
        return;
    u->blocked = blocked;
    rt_fd_watch(&u->watch, RT_READABLE | (blocked ? RT_WRITABLE : 0));
}

static size_t send_some(struct rt_udp *u, size_t from)
{
    struct mmsghdr m[RT_UDP_BATCH];
    struct iovec iov[RT_UDP_BATCH];
    size_t n = MIN(u->n - from, (size_t)RT_UDP_BATCH);

    for (size_t i = 0; i < n; i++) {
        struct slot *s = &u->slots[from + i];
        iov[i] = (struct iovec){s->data, s->n};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = s->to.len ? &s->to.addr : NULL,
                                            .msg_namelen = s->to.len,
                                            .msg_iov = &iov[i],
                                            .msg_iovlen = 1}};
    }
    int r = sendmmsg(u->fd, m, (unsigned)n, MSG_DONTWAIT);
    if (r > 0)
        return (size_t)r;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        set_blocked(u, true);
        return 0;
    }
    if (errno == EINTR)
        return 0;
    u->dropped++; /* this one cannot be sent: no route, a link that is gone */
    return 1;
}

static void flush(void *arg)
{
    struct rt_udp *u = arg;
    size_t done = 0;

    while (done < u->n && !u->blocked)
        done += send_some(u, done);
    if (done && done < u->n)
        memmove(u->slots, u->slots + done, (u->n - done) * sizeof(*u->slots));
    u->n -= done;
}

/* ---- receiving ---- */

static int receive_batch(struct rt_udp *u)
{
    struct mmsghdr m[RT_UDP_BATCH];
    struct iovec iov[RT_UDP_BATCH];
    struct rt_udp_peer from[RT_UDP_BATCH];
    char *scratch = rt_scratch(u->rt);

    for (size_t i = 0; i < RT_UDP_BATCH; i++) {
        iov[i] = (struct iovec){scratch + i * RT_UDP_DATAGRAM_MAX, RT_UDP_DATAGRAM_MAX};
        m[i].msg_hdr = (struct msghdr){.msg_name = &from[i].addr,
                                       .msg_namelen = sizeof(from[i].addr),
                                       .msg_iov = &iov[i],
                                       .msg_iovlen = 1};
    }
    int got = recvmmsg(u->fd, m, RT_UDP_BATCH, MSG_DONTWAIT, NULL);
    if (got < 0)
        return -errno;
    for (int i = 0; i < got && !u->closing; i++) {
        from[i].len = m[i].msg_hdr.msg_namelen;
        if (m[i].msg_hdr.msg_flags & MSG_TRUNC)
            u->dropped++;
        else
            u->fn(u->arg, &from[i], (struct str){iov[i].iov_base, m[i].msg_len});
    }
    return got;
}

static void on_event(void *arg, unsigned events)
{
    struct rt_udp *u = arg;

    if (u->blocked && (events & RT_WRITABLE)) {
        set_blocked(u, false);
        flush(u);
    }
    for (int i = 0; i < BATCHES_A_TURN && !u->closing; i++) {
        int got = receive_batch(u);
        if (got < 0) {
            if (got != -EAGAIN && got != -EINTR && u->on_error)
                u->on_error(u->arg, got);
            return;
        }
        if (!u->closing && u->n && !u->blocked)
            flush(u);
        if (got < RT_UDP_BATCH)
            return;
    }
}

/* ---- sending ---- */

uint8_t *rt_udp_reserve(struct rt_udp *u, size_t n)
{
    ASSERT(n <= RT_UDP_DATAGRAM_MAX && !u->closing);
    if (u->n == u->max && !u->blocked)
        flush(u);
    if (u->n == u->max) {
        u->dropped++;
        return NULL;
    }
    if (u->n == u->cap) {
        u->cap = u->cap ? MIN(u->cap * 2, u->max) : MIN((size_t)2, u->max);
        u->slots = xrealloc(u->slots, u->cap * sizeof(*u->slots));
    }
    return u->slots[u->n].data;
}

void rt_udp_commit(struct rt_udp *u, const struct rt_udp_peer *to, size_t n)
{
    struct slot *s = &u->slots[u->n];

    ASSERT(u->n < u->cap && n <= RT_UDP_DATAGRAM_MAX);
    s->to.len = to ? to->len : 0;
    if (s->to.len)
        memcpy(&s->to.addr, &to->addr, to->len);
    s->n = n;
    u->n++;
    rt_task_schedule_late(&u->late);
}

void rt_udp_send(struct rt_udp *u, const struct rt_udp_peer *to, const void *data, size_t n)
{
    uint8_t *room = rt_udp_reserve(u, n);

    if (!room)
        return;
    memcpy(room, data, n);
    rt_udp_commit(u, to, n);
}

/* ---- life ---- */

uint16_t rt_udp_port(const struct rt_udp *u)
{
    return u->port;
}

uint64_t rt_udp_dropped(const struct rt_udp *u)
{
    return u->dropped;
}

static int parse(const char *text, struct sockaddr_storage *ss, socklen_t *len, struct error *err)
{
    struct rt_addr a;
    int r = rt_addr_parse(str_z(text), &a, err);

    if (r == 0)
        r = a.is_unix ? -EINVAL : rt_addr_to_sockaddr(&a, ss, len);
    return r;
}

static int open_socket(const struct rt_udp_opts *o, int *ret, struct error *err)
{
    CLEANUP(fd_closep) int fd = -1;
    struct sockaddr_storage local = {0}, peer = {0};
    socklen_t local_len = 0, peer_len = 0;
    const int one = 1;
    int r = o->addr ? parse(o->addr, &local, &local_len, err) : 0;

    if (r == 0 && o->peer)
        r = parse(o->peer, &peer, &peer_len, err);
    if (r < 0)
        return r;
    fd = socket(o->addr ? local.ss_family : peer.ss_family,
                SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (o->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device,
                                (socklen_t)strnlen(o->device, IFNAMSIZ - 1)) < 0)
        return -errno;
    if (o->freebind && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
        return -errno;
    if (o->buffer_bytes) { /* as much of it as the kernel allows */
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &o->buffer_bytes, sizeof(int));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &o->buffer_bytes, sizeof(int));
    }
    if (o->addr && bind(fd, (struct sockaddr *)&local, local_len) < 0)
        return -errno;
    if (o->peer && connect(fd, (struct sockaddr *)&peer, peer_len) < 0)
        return -errno;
    *ret = TAKE_FD(fd);
    return 0;
}

static void find_port(struct rt_udp *u)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(u->fd, (struct sockaddr *)&ss, &len) < 0)
        return;
    u->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                             : ((struct sockaddr_in *)&ss)->sin_port);
}

static void udp_free(void *arg)
{
    struct rt_udp *u = arg;

    free(u->slots);
    free(u);
}

int rt_udp_open(struct rt *rt, const struct rt_udp_opts *o, rt_udp_fn fn, rt_udp_error_fn on_error,
                void *arg, struct error *err, struct rt_udp **ret)
{
    const char *name = o->addr ? o->addr : o->peer;
    int fd = -1, r;

    ASSERT(o->addr || o->peer);
    if (rt_is_sim(rt))
        return -ENOTSUP;
    r = open_socket(o, &fd, err);
    if (r < 0) {
        (void)error_errno(err, r, "cannot open a UDP socket for %s", name);
        return r;
    }
    struct rt_udp *u = NEW(struct rt_udp);
    *u = (struct rt_udp){.rt = rt, .fd = fd, .fn = fn, .on_error = on_error, .arg = arg};
    u->max = o->queue_max ? o->queue_max : RT_UDP_BATCH;
    rt_task_init(&u->late, rt, flush, u);
    rt_task_init(&u->closer, rt, udp_free, u);
    find_port(u);
    r = rt_fd_init(&u->watch, rt, fd, on_event, u);
    if (r < 0) {
        (void)error_errno(err, r, "cannot watch a UDP socket");
        rt_udp_close(u);
        return r;
    }
    rt_fd_watch(&u->watch, RT_READABLE);
    *ret = u;
    return 0;
}

struct rt_udp *rt_udp_close(struct rt_udp *u)
{
    if (!u)
        return NULL;
    ASSERT(!u->closing);
    flush(u);
    u->closing = true;
    rt_task_cancel(&u->late);
    rt_fd_fini(&u->watch);
    close(u->fd);
    u->fd = -1;
    rt_task_schedule(&u->closer); /* on_event may be our caller */
    return NULL;
}
