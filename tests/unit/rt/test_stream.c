/* Streams: the same expectations over TCP, unix sockets and memory; listening, connecting, tunnels.
 */
#include "rt_test.h"
#include "ports.h"
#include "rt/sim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- two joined ends of a kind ---- */

enum kind {
    PAIR,
    TCP,
    TCP6,
    UNIX,
    _KINDS,
};

struct joint {
    struct rt *rt;
    struct rt_stream *a, *b; /* a connected, b was accepted */
    int err;
    bool answered;
};

static void on_accept(void *arg, int fd)
{
    struct joint *j = arg;

    assert_null(j->b);
    assert_int_equal(rt_stream_from_fd(j->rt, fd, &j->b), 0);
}

static void on_connect(void *arg, struct rt_stream *s, int err)
{
    struct joint *j = arg;

    j->a = s;
    j->err = err;
    j->answered = true;
}

/* This process's own path, e.g. of a socket. Static memory. */
static const char *own_path(const char *kind)
{
    static char path[64];

    snprintf(path, sizeof(path), "/tmp/rt-test-%s.%d", kind, (int)getpid());
    return path;
}

static const char *unix_addr(void)
{
    static char addr[80];

    snprintf(addr, sizeof(addr), "unix:%s", own_path("joint"));
    return addr;
}

static struct joint join(struct rt *rt, enum kind kind)
{
    const char *const addrs[] = {[TCP] = "127.0.0.1:0", [TCP6] = "[::1]:0", [UNIX] = unix_addr()};
    struct joint j = {.rt = rt};
    struct rt_listen_opts lo = {.addr = addrs[kind]};
    struct rt_connect_opts co = {0};
    struct rt_listener *l = NULL;

    if (kind == PAIR) {
        rt_stream_pair(rt, &j.a, &j.b);
        return j;
    }
    assert_int_equal(rt_listen(rt, &lo, on_accept, &j, NULL, &l), 0);
    co.addr = rt_listener_addr(l);
    assert_non_null(rt_connect(rt, &co, on_connect, &j));
    assert_false(j.answered);
    WAIT(rt, j.answered && j.b);
    assert_int_equal(j.err, 0);
    rt_listener_close(l);
    return j;
}

#define ON_ALL(rt, j)                                                                              \
    for (enum kind _k = 0; _k < _KINDS; _k++)                                                      \
        for (struct rt *rt = rt_uv_new(); rt; rt = rt_free(rt))                                    \
            for (struct joint j = join(rt, _k); j.rt; j.rt = NULL)

static void test_both_ways_and_half_close(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {0};
        end_start(&a, j.a);
        end_start(&b, j.b);
        rt_stream_write(j.a, STR("ping "));
        rt_stream_write(j.a, STR("pong"));
        rt_stream_shutdown(j.a);
        rt_stream_shutdown(j.a);
        rt_stream_write(j.a, STR(" too late"));
        assert_int_equal(b.got.n, 0); /* not from inside the call */
        WAIT(rt, b.eof);
        assert_string_equal(b.got.data, "ping pong");
        assert_false(a.eof);
        rt_stream_write(j.b, STR("answer after your end"));
        WAIT(rt, a.got.n == 21);
        rt_stream_shutdown(j.b);
        WAIT(rt, a.eof);
        assert_int_equal(a.err | b.err, 0);
        assert_int_equal(rt_stream_queued_bytes(j.a), 0);
        end_close(&a);
        end_close(&b);
    }
}

static int released;

static void on_release(void *arg)
{
    released++;
    free(arg);
}

/* More than any buffer holds: the writer sees congestion, the reader everything, in order. */
static void test_backpressure(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {.stop_at = 1};
        size_t sent = 0, piece = 300000; /* 24 MB: more than the kernel ever takes */
        struct buf want = {0};
        released = 0;
        end_start(&a, j.a);
        end_start(&b, j.b);
        for (int i = 0; sent < 80 * piece; i++) {
            char *p = xmalloc(piece);
            memset(p, 'a' + i % 26, piece);
            buf_add(&want, p, piece);
            rt_stream_write_ref(j.a, (struct str){p, piece}, on_release, p);
            sent += piece;
        }
        assert_true(rt_stream_congested(j.a));
        WAIT(rt, !rt_stream_is_reading(j.b)); /* the first bytes came, and that is enough */
        settle(rt, 20 * NSEC_PER_MSEC);
        assert_true(b.got.n < sent / 2); /* stopped means stopped */
        assert_false(a.drained);
        assert_false(rt_stream_is_reading(j.b));
        b.stop_at = 0;
        rt_stream_read_start(j.b);
        WAIT(rt, b.got.n == sent && a.drained);
        assert_memory_equal(b.got.data, want.data, sent);
        assert_false(rt_stream_congested(j.a));
        assert_int_equal(released, 80);
        buf_fini(&want);
        end_close(&a);
        end_close(&b);
    }
}

static void test_release_on_close(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {0};
        released = 0;
        end_start(&a, j.a);
        b.s = j.b; /* never reads */
        for (int i = 0; i < 3; i++) {
            char *p = xcalloc(1, 5000000);
            rt_stream_write_ref(j.a, (struct str){p, 5000000}, on_release, p);
        }
        settle(rt, 2 * NSEC_PER_MSEC);
        assert_true(released < 3);
        end_close(&a);
        WAIT(rt, released == 3);
        rt_stream_set_handler(j.b, &end_handler, &b);
        end_close(&b);
    }
}

static void test_write_to_gone_peer(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {0};
        end_start(&a, j.a);
        b.s = j.b;
        end_close(&b);
        for (int i = 0; i < 50 && !a.err; i++) {
            rt_stream_write(j.a, STR("anybody there?"));
            settle(rt, NSEC_PER_MSEC);
        }
        assert_true(a.err == -EPIPE || a.err == -ECONNRESET);
        rt_stream_write(j.a, STR("dropped"));
        char *p = xcalloc(1, 2000);
        rt_stream_write_take(j.a, p, 2000); /* freed, not sent */
        assert_int_equal(rt_stream_queued_bytes(j.a), 0);
        settle(rt, NSEC_PER_MSEC);
        end_close(&a);
    }
}

static void test_unread(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {.stop_at = 4};
        a.s = j.a;
        end_start(&b, j.b);
        rt_stream_write(j.a, STR("head|rest of it"));
        rt_stream_shutdown(j.a);
        WAIT(rt, b.got.n > 0);
        /* A protocol that ends after five bytes gives the rest to the next one. */
        struct str rest = str_sub(buf_str(&b.got), 5, b.got.n);
        rt_stream_unread(j.b, rest);
        struct end next = {.s = j.b};
        rt_stream_set_handler(j.b, &end_handler, &next);
        settle(rt, 2 * NSEC_PER_MSEC);
        assert_int_equal(next.got.n, 0);
        rt_stream_read_start(j.b);
        WAIT(rt, next.eof);
        assert_string_equal(next.got.data, "rest of it");
        end_close(&a);
        end_close(&next);
        buf_fini(&b.got);
    }
}

static void on_data_close(void *arg, struct str data)
{
    struct end *e = arg;

    rt_stream_close(e->s, end_closed, e);
    e->s = NULL;
    assert_int_equal(data.p[data.n - 1], '!'); /* still readable */
}

static void test_close_inside_on_data(void **state)
{
    static const struct rt_stream_handler h = {.on_data = on_data_close};

    ON_ALL(rt, j)
    {
        struct end a = {.s = j.a}, b = {.s = j.b};
        rt_stream_set_handler(j.b, &h, &b);
        rt_stream_read_start(j.b);
        rt_stream_write(j.a, STR("boom!"));
        WAIT(rt, b.closed);
        rt_stream_set_handler(j.a, &end_handler, &a);
        end_close(&a);
    }
}

static void test_finish(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {0};
        char *p = xmalloc(3000000);
        memset(p, 'z', 3000000);
        a.s = j.a;
        rt_stream_write_take(j.a, p, 3000000);
        rt_stream_write(j.b, STR("nobody will read this"));
        rt_stream_finish(j.a, 5 * NSEC_PER_SEC, end_closed, &a);
        end_start(&b, j.b);
        WAIT(rt, b.eof); /* all of it arrived, then the end */
        assert_int_equal(b.got.n, 3000000);
        assert_int_equal(b.err, 0);
        settle(rt, 2 * NSEC_PER_MSEC);
        assert_false(a.closed); /* waits for the other side */
        rt_stream_shutdown(j.b);
        WAIT(rt, a.closed);
        end_close(&b);
        a.s = NULL;
    }
}

static void test_finish_lingers_not_forever(void **state)
{
    ON_ALL(rt, j)
    {
        struct end a = {0}, b = {.s = j.b};
        rt_stream_finish(j.a, 5 * NSEC_PER_MSEC, end_closed, &a);
        WAIT(rt, a.closed);
        rt_stream_set_handler(j.b, &end_handler, &b);
        end_close(&b);
    }
}

/* ---- many small writes, few system calls ---- */

static void test_writes_of_a_turn_leave_together(void **state)
{
    struct rt *rt = rt_uv_new();
    struct joint j = join(rt, UNIX);
    struct end a = {.s = j.a};
    char buf[4096];
    int fd = dup(rt_stream_fd(j.b));

    struct end b = {.s = j.b};
    rt_stream_set_handler(j.b, &end_handler, &b);
    for (int i = 0; i < 300; i++)
        rt_stream_write(j.a, STR("0123456789"));
    settle(rt, NSEC_PER_MSEC);
    /* A unix stream socket keeps what one call sent together, up to a page or more. */
    assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 3000);
    close(fd);
    rt_stream_set_handler(j.a, &end_handler, &a);
    end_close(&a);
    end_close(&b);
    rt_free(rt);
}

/* ---- addresses ---- */

static void test_addr_parse(void **state)
{
    static const struct {
        const char *in, *host;
        int port;
        bool is_unix, any, ok;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1", 80, false, false, true},
        {"[::1]:443", "::1", 443, false, false, true},
        {"[fe80::1%lo]:1", "fe80::1%lo", 1, false, false, true},
        {":6443", "", 6443, false, true, true},
        {"node-1.example:0", "node-1.example", 0, false, false, true},
        {"unix:/run/x.sock", "/run/x.sock", 0, true, false, true},
        {"/run/x.sock", "/run/x.sock", 0, true, false, true},
        {"unix:", NULL, 0, false, false, false},
        {"", NULL, 0, false, false, false},
        {"host", NULL, 0, false, false, false},
        {"host:", NULL, 0, false, false, false},
        {"host:65536", NULL, 0, false, false, false},
        {"host:-1", NULL, 0, false, false, false},
        {"host:+1", NULL, 0, false, false, false},
        {"host:80x", NULL, 0, false, false, false},
        {"::1:80", NULL, 0, false, false, false},
        {"[::1:80", NULL, 0, false, false, false},
    };
    char longer[400];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_addr a;
        struct error err = {0};
        int r = rt_addr_parse(str_z(rows[i].in), &a, &err);
        assert_int_equal(r == 0, rows[i].ok);
        if (r == 0) {
            assert_string_equal(a.host, rows[i].host);
            assert_int_equal(a.port, rows[i].port);
            assert_int_equal(a.is_unix, rows[i].is_unix);
            assert_int_equal(a.any, rows[i].any);
        } else {
            assert_true(err.message.n > 0);
        }
        error_fini(&err);
    }
    memset(longer, 'x', sizeof(longer));
    memcpy(longer + sizeof(longer) - 3, ":80", 3);
    struct rt_addr a;
    assert_int_equal(rt_addr_parse((struct str){longer, sizeof(longer)}, &a, NULL), -EINVAL);
    longer[0] = '/';
    assert_int_equal(rt_addr_parse((struct str){longer, sizeof(longer)}, &a, NULL), -EINVAL);
}

/* ---- listening and connecting ---- */

static void keep_fd(void *arg, int fd)
{
    int *p = arg;

    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (*p >= 0)
        close(*p);
    *p = fd;
}

static void test_listen_errors(void **state)
{
    struct rt *rt = rt_uv_new(), *sim = rt_sim_new(1, 0);
    struct rt_listener *l = NULL, *l2 = NULL;
    struct error err = {0};
    struct rt_listen_opts o = {.addr = "127.0.0.1:0"};
    char addr[32], want[80];
    int fd = -1;

    assert_int_equal(rt_listen(sim, &o, keep_fd, &fd, NULL, &l), -ENOTSUP);
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l), 0);
    assert_true(rt_listener_port(l) > 0);
    snprintf(addr, sizeof(addr), "127.0.0.1:%d", rt_listener_port(l));
    assert_string_equal(rt_listener_addr(l), addr);
    o.addr = addr;
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, &err, &l2), -EADDRINUSE);
    snprintf(want, sizeof(want), "cannot listen on %s: Address already in use", addr);
    assert_string_equal(err.message.p, want);
    error_fini(&err);
    assert_null(rt_listener_close(l));
    assert_null(rt_listener_close(NULL));
    o.addr = "localhost:1";
    assert_true(rt_listen(rt, &o, keep_fd, &fd, &err, &l) < 0);
    error_fini(&err);
    o.addr = "203.0.113.7:0";
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, &err, &l), -EADDRNOTAVAIL);
    error_fini(&err);
    o.addr = "/does/not/exist/sock";
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, &err, &l), -ENOENT);
    error_fini(&err);
    /* reuseport: two on one port */
    o = (struct rt_listen_opts){.addr = ":0", .reuseport = true};
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l), 0);
    snprintf(addr, sizeof(addr), ":%d", rt_listener_port(l));
    o.addr = addr;
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l2), 0);
    assert_int_equal(rt_listener_port(l2), rt_listener_port(l));
    rt_listener_close(l);
    rt_listener_close(l2);
    rt_free(rt);
    rt_free(sim);
}

static void test_unix_listener_files(void **state)
{
    struct rt *rt = rt_uv_new();
    const char *path = own_path("stale");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct rt_listen_opts o = {.addr = path, .unix_mode = 0660};
    struct rt_listener *l = NULL, *l2 = NULL;
    struct stat st;
    int fd = -1, stale = socket(AF_UNIX, SOCK_STREAM, 0);

    unlink(path);
    memcpy(un.sun_path, path, strlen(path));
    assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof(un)), 0);
    close(stale);
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l), 0); /* stale: replaced */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l2), -EADDRINUSE); /* living: not */
    rt_listener_close(l);
    assert_int_equal(stat(path, &st), -1);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(rt_listen(rt, &o, keep_fd, &fd, NULL, &l), -EEXIST); /* a file: left alone */
    unlink(path);
    rt_free(rt);
}

static int plain_connect(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static void test_listener_pause(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_listen_opts o = {.addr = "127.0.0.1:0"};
    struct rt_listener *l = NULL;
    int got = -1, fd;

    assert_int_equal(rt_listen(rt, &o, keep_fd, &got, NULL, &l), 0);
    rt_listener_pause(l, true);
    fd = plain_connect(rt_listener_port(l));
    settle(rt, 10 * NSEC_PER_MSEC);
    assert_int_equal(got, -1);
    rt_listener_pause(l, false);
    WAIT(rt, got >= 0);
    close(got);
    close(fd);
    rt_listener_close(l);
    rt_free(rt);
}

/* Out of descriptors: the listener rests instead of spinning, and goes on when there are some. */
static void test_listener_without_descriptors(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_listen_opts o = {.addr = "127.0.0.1:0"};
    struct rt_listener *l = NULL;
    struct rlimit old, low;
    uint64_t turns;
    int got = -1, fd;

    assert_int_equal(rt_listen(rt, &o, keep_fd, &got, NULL, &l), 0);
    settle(rt, NSEC_PER_MSEC);
    fd = plain_connect(rt_listener_port(l));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)fd + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    turns = rt_stats(rt).turns;
    settle(rt, 60 * NSEC_PER_MSEC);
    assert_true(rt_stats(rt).turns - turns < 20 + 10); /* settle() makes twenty */
    assert_int_equal(got, -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    WAIT(rt, got >= 0);
    close(got);
    close(fd);
    rt_listener_close(l);
    rt_free(rt);
}

static int connect_error(struct rt *rt, struct rt_connect_opts o)
{
    struct joint j = {.rt = rt};

    assert_non_null(rt_connect(rt, &o, on_connect, &j));
    assert_false(j.answered);
    WAIT(rt, j.answered);
    assert_int_equal(!j.a, j.err != 0);
    if (j.a) {
        struct end e = {.s = j.a};
        rt_stream_set_handler(j.a, &end_handler, &e);
        end_close(&e);
        settle(rt, NSEC_PER_MSEC);
    }
    return j.err;
}

static void test_connect_errors(void **state)
{
    struct rt *rt = rt_uv_new(), *sim = rt_sim_new(1, 0);
    struct rt_listen_opts o = {.addr = ":0"};
    struct rt_listener *l = NULL;
    struct joint j = {.rt = rt};
    char addr[64];
    int got = -1, nobody;

    snprintf(addr, sizeof(addr), "127.0.0.1:%d", port_refused(&nobody));
    assert_int_equal(connect_error(rt, (struct rt_connect_opts){.addr = addr}), -ECONNREFUSED);
    assert_int_equal(connect_error(sim, (struct rt_connect_opts){.addr = addr}), -ENOTSUP);
    close(nobody);
    assert_int_equal(connect_error(rt, (struct rt_connect_opts){.addr = "nonsense"}), -EINVAL);
    assert_int_equal(connect_error(rt, (struct rt_connect_opts){.addr = "/no/such/socket"}),
                     -ENOENT);
    assert_true(connect_error(rt, (struct rt_connect_opts){.addr = "no-such-host.invalid:1",
                                                           .timeout = 4 * NSEC_PER_SEC}) < 0);
    /* by name, on the dual-stack listener */
    assert_int_equal(rt_listen(rt, &o, keep_fd, &got, NULL, &l), 0);
    snprintf(addr, sizeof(addr), "localhost:%d", rt_listener_port(l));
    assert_int_equal(connect_error(rt, (struct rt_connect_opts){.addr = addr}), 0);
    snprintf(addr, sizeof(addr), ":%d", rt_listener_port(l));
    assert_int_equal(connect_error(rt, (struct rt_connect_opts){.addr = addr}), 0);
    /* with a socket of our own */
    snprintf(addr, sizeof(addr), "127.0.0.1:%d", rt_listener_port(l));
    assert_int_equal(
        connect_error(
            rt,
            (struct rt_connect_opts){
                .addr = addr,
                .socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}),
        0);
    /* cancelled: at once, and while a name is looked up */
    assert_null(
        rt_connect_cancel(rt_connect(rt, &(struct rt_connect_opts){.addr = addr}, on_connect, &j)));
    struct rt_connect *c =
        rt_connect(rt, &(struct rt_connect_opts){.addr = "localhost:1"}, on_connect, &j);
    bool no = false;
    (void)rt_run_until(rt, flag_set, &no, 1);
    rt_connect_cancel(c);
    settle(rt, 20 * NSEC_PER_MSEC);
    assert_false(j.answered);
    if (got >= 0)
        close(got);
    rt_listener_close(l);
    rt_free(rt);
    rt_free(sim);
}

/* A host that answers nothing: a listener whose backlog is full drops SYNs. */
static void test_connect_timeout(void **state)
{
    struct rt *rt = rt_uv_new();
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[8];
    char addr[64];
    nsec_t start;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(l, 0), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], (struct sockaddr *)&in, len);
    }
    snprintf(addr, sizeof(addr), "127.0.0.1:%d", ntohs(in.sin_port));
    settle(rt, NSEC_PER_MSEC);
    start = rt_now(rt);
    assert_int_equal(
        connect_error(rt, (struct rt_connect_opts){.addr = addr, .timeout = 50 * NSEC_PER_MSEC}),
        -ETIMEDOUT);
    assert_true(rt_now(rt) - start >= 50 * NSEC_PER_MSEC);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++)
        close(fill[i]);
    close(l);
    rt_free(rt);
}

static void test_names(void **state)
{
    struct rt *rt = rt_uv_new();
    struct joint j = join(rt, TCP);
    struct end a = {.s = j.a}, b = {.s = j.b};

    assert_string_equal(rt_stream_kind(j.a), "tcp");
    assert_string_equal(rt_stream_peer(j.a), rt_stream_local(j.b));
    assert_string_equal(rt_stream_local(j.a), rt_stream_peer(j.b));
    assert_memory_equal(rt_stream_peer(j.a), "127.0.0.1:", 10);
    assert_true(rt_stream_fd(j.a) >= 0);
    assert_ptr_equal(rt_stream_rt(j.a), rt);
    rt_stream_set_handler(j.a, &end_handler, &a);
    rt_stream_set_handler(j.b, &end_handler, &b);
    end_close(&a);
    end_close(&b);
    j = join(rt, UNIX);
    a = (struct end){.s = j.a};
    b = (struct end){.s = j.b};
    assert_string_equal(rt_stream_peer(j.a), unix_addr());
    assert_string_equal(rt_stream_peer(j.b), "unix:");
    rt_stream_set_handler(j.a, &end_handler, &a);
    rt_stream_set_handler(j.b, &end_handler, &b);
    end_close(&a);
    end_close(&b);
    rt_free(rt);
}

static void test_bad_descriptors(void **state)
{
    struct rt *rt = rt_uv_new(), *sim = rt_sim_new(1, 0);
    struct rt_stream *s = NULL;
    int p[2];

    assert_int_equal(rt_stream_from_fd(rt, 9999, &s), -EBADF);
    assert_int_equal(rt_stream_from_fd(rt, -1, &s), -EBADF);
    assert_int_equal(rt_stream_from_fd(rt, open("/etc/passwd", O_RDONLY), &s), -EPERM);
    assert_int_equal(pipe(p), 0);
    assert_int_equal(rt_stream_from_fd(sim, p[0], &s), -ENOTSUP);
    assert_int_equal(fcntl(p[0], F_GETFD), -1); /* taken, also on failure */
    close(p[1]);
    rt_free(rt);
    rt_free(sim);
}

/* ---- tunnels ---- */

struct tunnel_end {
    bool done;
    int err;
    uint64_t ab, ba;
};

static void on_tunnel(void *arg, int err, uint64_t ab, uint64_t ba)
{
    struct tunnel_end *t = arg;

    *t = (struct tunnel_end){true, err, ab, ba};
}

static void test_tunnel(void **state)
{
    for (int kind = PAIR; kind < _KINDS; kind++) {
        struct rt *rt = rt_uv_new();
        struct joint left = join(rt, kind), right = join(rt, kind == UNIX ? TCP : PAIR);
        struct tunnel_end t = {0};
        struct end a = {0}, b = {.stop_at = 1};
        char *big = xmalloc(6000000);
        memset(big, 'q', 6000000);
        (void)rt_stream_pipe(left.b, right.a, 0, on_tunnel, &t);
        end_start(&a, left.a);
        end_start(&b, right.b);
        rt_stream_write_take(left.a, big, 6000000);
        rt_stream_write(right.b, STR("hello"));
        rt_stream_shutdown(left.a);
        WAIT(rt, a.got.n == 5);
        settle(rt, 10 * NSEC_PER_MSEC);
        assert_true(b.got.n < 5000000); /* a slow reader slows the writer, through the tunnel */
        b.stop_at = 0;
        rt_stream_read_start(right.b);
        WAIT(rt, b.eof);
        assert_int_equal(b.got.n, 6000000);
        assert_false(t.done);
        rt_stream_shutdown(right.b);
        WAIT(rt, a.eof && t.done);
        assert_int_equal(t.err, 0);
        assert_int_equal(t.ab, 6000000);
        assert_int_equal(t.ba, 5);
        end_close(&a);
        end_close(&b);
        rt_free(rt);
    }
}

static void test_tunnel_ends(void **state)
{
    struct rt *rt = rt_uv_new();
    struct joint left = join(rt, TCP), right = join(rt, TCP);
    struct tunnel_end t = {0};
    struct end a = {0}, b = {0};
    struct rt_pipe *p;

    /* idle */
    (void)rt_stream_pipe(left.b, right.a, 20 * NSEC_PER_MSEC, on_tunnel, &t);
    end_start(&a, left.a);
    end_start(&b, right.b);
    WAIT(rt, a.eof && b.eof);
    end_close(&a);
    end_close(&b);
    WAIT(rt, t.done);
    assert_int_equal(t.err, -ETIMEDOUT);
    /* cancelled */
    left = join(rt, TCP);
    right = join(rt, PAIR);
    t = (struct tunnel_end){0};
    a = b = (struct end){0};
    p = rt_stream_pipe(left.b, right.a, 0, on_tunnel, &t);
    end_start(&a, left.a);
    end_start(&b, right.b);
    settle(rt, NSEC_PER_MSEC);
    assert_null(rt_pipe_cancel(p));
    assert_null(rt_pipe_cancel(NULL));
    WAIT(rt, a.eof && b.eof);
    assert_false(t.done);
    /* one side breaks: what it said before still arrives at the other */
    end_close(&a);
    end_close(&b);
    left = join(rt, TCP);
    right = join(rt, TCP);
    a = b = (struct end){0};
    (void)rt_stream_pipe(left.b, right.a, 0, on_tunnel, &t);
    end_start(&a, left.a);
    end_start(&b, right.b);
    rt_stream_read_stop(right.b);
    rt_stream_write(left.a, STR("last words"));
    int said = 0;
    WAIT(rt, ioctl(rt_stream_fd(right.b), FIONREAD, &said) == 0 && said == 10);
    struct linger lg = {.l_onoff = 1};
    setsockopt(rt_stream_fd(left.a), SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
    end_close(&a); /* a reset */
    rt_stream_read_start(right.b);
    WAIT(rt, b.eof);
    assert_string_equal(b.got.data, "last words");
    end_close(&b);
    WAIT(rt, t.done);
    assert_int_equal(t.err, -ECONNRESET);
    rt_free(rt);
}

/* ---- another thread's loop ---- */

struct handover {
    struct rt *other;
    struct rt_post post;
    struct rt_stream *s;
    int fd;
    atomic_bool closed;
};

static void echo_data(void *arg, struct str data)
{
    struct handover *h = arg;

    rt_stream_write(h->s, data);
}

static void echo_closed(void *arg)
{
    struct handover *h = arg;

    atomic_store(&h->closed, true);
}

static void echo_eof(void *arg)
{
    struct handover *h = arg;

    rt_stream_finish(h->s, NSEC_PER_SEC, echo_closed, h);
}

static const struct rt_stream_handler echo_handler = {.on_data = echo_data, .on_eof = echo_eof};

static void take_over(void *arg)
{
    struct handover *h = arg;

    assert_int_equal(rt_stream_from_fd(h->other, h->fd, &h->s), 0);
    rt_stream_set_handler(h->s, &echo_handler, h);
    rt_stream_read_start(h->s);
}

static void hand_over(void *arg, int fd)
{
    struct handover *h = arg;

    h->fd = fd;
    rt_post(h->other, &h->post, take_over, h);
}

static void test_hand_over_to_thread(void **state)
{
    struct rt *rt = rt_uv_new();
    struct handover h = {.other = rt_uv_new()};
    struct joint j = {.rt = rt};
    struct rt_listener *l;
    struct rt_thread *t;
    struct end a = {0};

    assert_int_equal(
        rt_listen(rt, &(struct rt_listen_opts){.addr = "127.0.0.1:0"}, hand_over, &h, NULL, &l), 0);
    assert_int_equal(rt_thread_start(h.other, "io", &t), 0);
    (void)rt_connect(rt, &(struct rt_connect_opts){.addr = rt_listener_addr(l)}, on_connect, &j);
    WAIT(rt, j.answered);
    end_start(&a, j.a);
    rt_stream_write(j.a, STR("over there"));
    WAIT(rt, a.got.n == 10);
    rt_stream_shutdown(j.a);
    WAIT(rt, a.eof);
    end_close(&a);
    rt_listener_close(l);
    WAIT(rt, atomic_load(&h.closed));
    rt_thread_join(t);
    rt_free(h.other);
    rt_free(rt);
}

static void test_pair_on_simulator(void **state)
{
    struct rt *rt = rt_sim_new(3, 0);
    struct joint j = join(rt, PAIR);
    struct end a = {0}, b = {0};

    end_start(&a, j.a);
    end_start(&b, j.b);
    rt_stream_write(j.a, STR("virtual"));
    rt_stream_shutdown(j.a);
    rt_sim_run_for(rt, NSEC_PER_MSEC);
    assert_true(b.eof);
    assert_string_equal(b.got.data, "virtual");
    end_close(&a);
    end_close(&b);
    rt_free(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_and_half_close),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_release_on_close),
        cmocka_unit_test(test_write_to_gone_peer),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_close_inside_on_data),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_finish_lingers_not_forever),
        cmocka_unit_test(test_writes_of_a_turn_leave_together),
        cmocka_unit_test(test_addr_parse),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_unix_listener_files),
        cmocka_unit_test(test_listener_pause),
        cmocka_unit_test(test_listener_without_descriptors),
        cmocka_unit_test(test_connect_errors),
        cmocka_unit_test(test_connect_timeout),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_descriptors),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_tunnel_ends),
        cmocka_unit_test(test_hand_over_to_thread),
        cmocka_unit_test(test_pair_on_simulator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
