/* Datagram sockets: batches, the bounded queue, connected ones, and what can go wrong. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rt/sim.h"
#include "rt/udp.h"
#include "rt_test.h"

static struct rt *rt;

struct got {
    struct rt_udp *u;
    unsigned n, last, wrong_order, echo, close_at;
    int err;
};

static void on_datagram(void *arg, const struct rt_udp_peer *from, struct str data)
{
    struct got *g = arg;
    unsigned v;

    if (data.n == sizeof(v)) {
        memcpy(&v, data.p, sizeof(v));
        g->wrong_order += g->n && v != g->last + 1;
        g->last = v;
    }
    g->n++;
    if (g->echo)
        rt_udp_send(g->u, from, data.p, data.n);
    if (g->n == g->close_at)
        g->u = rt_udp_close(g->u);
}

static void on_error(void *arg, int err)
{
    ((struct got *)arg)->err = err;
}

static struct rt_udp *open_at(struct got *g, const char *addr, const char *peer, unsigned queue)
{
    struct error err = {0};

    assert_int_equal(
        rt_udp_open(rt, &(struct rt_udp_opts){.addr = addr, .peer = peer, .queue_max = queue},
                    on_datagram, on_error, g, &err, &g->u),
        0);
    return g->u;
}

static bool enough(void *arg)
{
    const struct got *g = arg;

    return g->n >= 100 || g->err;
}

static void turns(nsec_t span)
{
    struct got none = {0};

    for (int i = 0; i < 10; i++) /* as many turns, however late this process gets a processor */
        (void)rt_run_until(rt, enough, &none, span / 10);
}

static void test_batches_and_echo(void **state)
{
    struct got server = {.echo = 1}, client = {0};
    char addr[32];

    open_at(&server, "127.0.0.1:0", NULL, 256);
    assert_int_not_equal(rt_udp_port(server.u), 0);
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", rt_udp_port(server.u));
    open_at(&client, NULL, addr, 256);
    for (unsigned i = 0; i < 100; i++)
        rt_udp_send(client.u, NULL, &i, sizeof(i));
    assert_true(rt_run_until(rt, enough, &client, 60 * NSEC_PER_SEC));
    assert_int_equal(server.n, 100);
    assert_int_equal(server.wrong_order + client.wrong_order, 0);
    assert_int_equal(rt_udp_dropped(client.u) + rt_udp_dropped(server.u), 0);
    rt_udp_close(client.u);
    rt_udp_close(server.u);
}

static void test_closing_inside(void **state)
{
    struct got server = {.close_at = 3}, client = {0};
    char addr[32];

    open_at(&server, "127.0.0.1:0", NULL, 0);
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", rt_udp_port(server.u));
    open_at(&client, NULL, addr, 0);
    for (unsigned i = 0; i < 20; i++)
        rt_udp_send(client.u, NULL, &i, sizeof(i));
    turns(20 * NSEC_PER_MSEC);
    assert_int_equal(server.n, 3);
    assert_null(server.u);
    rt_udp_send(client.u, NULL, "x", 1); /* nobody is there now */
    assert_true(rt_run_until(rt, enough, &client, 60 * NSEC_PER_SEC));
    assert_int_equal(client.err, -ECONNREFUSED);
    rt_udp_close(client.u);
}

/* A queue that is full drops, and says so; what is longer than a slot is not taken. */
static void test_bounds(void **state)
{
    struct got g = {0}, server = {0};
    char big[RT_UDP_DATAGRAM_MAX + 1] = "";
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);

    open_at(&server, "127.0.0.1:0", NULL, 0);
    a.sin_port = htons(rt_udp_port(server.u));
    assert_int_equal(sendto(fd, big, sizeof(big), 0, (struct sockaddr *)&a, len), sizeof(big));
    assert_int_equal(sendto(fd, big, sizeof(big) - 1, 0, (struct sockaddr *)&a, len),
                     sizeof(big) - 1);
    turns(20 * NSEC_PER_MSEC);
    assert_int_equal(server.n, 1);
    assert_int_equal(rt_udp_dropped(server.u), 1);
    rt_udp_close(server.u);
    close(fd);

    open_at(&g, "127.0.0.1:0", NULL, 4);
    struct rt_udp_peer nowhere = {.len = sizeof(a)};
    struct sockaddr_in bad = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_BROADCAST)}};
    memcpy(&nowhere.addr, &bad, sizeof(bad));
    for (int i = 0; i < 10; i++) /* the kernel refuses each: dropped, and the rest goes on */
        rt_udp_send(g.u, &nowhere, "x", 1);
    turns(5 * NSEC_PER_MSEC);
    assert_int_equal(rt_udp_dropped(g.u), 10);
    rt_udp_close(g.u);
}

static void test_what_cannot_be_opened(void **state)
{
    static const struct {
        struct rt_udp_opts o;
        int want;
    } rows[] = {
        {{.addr = "127.0.0.1"}, -EINVAL},
        {{.addr = "name:53"}, -ENOENT},
        {{.addr = "unix:/tmp/x"}, -EINVAL},
        {{.addr = "192.0.2.77:0"}, -EADDRNOTAVAIL},
        {{.addr = "127.0.0.1:0", .device = "no-such-link"}, -ENODEV},
        {{.addr = "192.0.2.77:0", .freebind = true}, 0},
        {{.addr = "127.0.0.1:0", .device = "lo"}, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct rt_udp *u = NULL;
        int r = rt_udp_open(rt, &rows[i].o, on_datagram, NULL, NULL, &err, &u);
        if (rows[i].o.device && r == -EPERM && geteuid() != 0)
            r = rows[i].want;
        else if (r != rows[i].want)
            fail_msg("row %zu: %d, not %d", i, r, rows[i].want);
        assert_true((r == 0) == (u != NULL) || geteuid() != 0);
        rt_udp_close(u);
        error_fini(&err);
    }
    struct rt *sim = rt_sim_new(1, 0);
    struct rt_udp *u = NULL;
    assert_int_equal(rt_udp_open(sim, &(struct rt_udp_opts){.addr = "127.0.0.1:0"}, on_datagram,
                                 NULL, NULL, NULL, &u),
                     -ENOTSUP);
    rt_free(sim);
}

static int setup(void **state)
{
    rt = rt_uv_new();
    return rt ? 0 : -1;
}

static int teardown(void **state)
{
    rt = rt_free(rt);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_and_echo),
        cmocka_unit_test(test_closing_inside),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_what_cannot_be_opened),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
