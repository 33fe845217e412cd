/* The whole server on a loop, with a fake upstream on the same one: forwarding, its cache, forged
 * and missing answers, TCP both ways, limits. What the upstream does is said by a name's first
 * label. */
#include "dns_test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include "net/dns/dns.h"
#include "net/dns/server.h"
#include "rt/stream.h"
#include "rt/udp.h"

#define UPSTREAM "127.0.0.1"
#define NAMES    "sub.example.com"

static struct rt *rt;
static struct dns *dns;
static struct rt_udp *up_udp;
static struct rt_listener *up_tcp;
static uint16_t port, up_port;
static char resolv[] = "/tmp/davit-dns-resolv.XXXXXX";
static unsigned udp_seen, tcp_seen; /* questions that reached the upstream */
static bool silent;
static int loop_fd = -1;

/* ---- the upstream ---- */

/* Echoes header and question with these counts, then appends the records. */
static size_t reply(uint8_t *out, const uint8_t *q, size_t n, unsigned flags, unsigned an,
                    unsigned ns)
{
    size_t end = DNS_HEADER_BYTES + dns_name_skip(q, n, DNS_HEADER_BYTES) + 4;

    memcpy(out, q, end);
    dns_put16(out + 2, DNS_FLAG_QR | DNS_FLAG_RA | flags);
    dns_put16(out + 6, an);
    dns_put16(out + 8, ns);
    dns_put16(out + 10, 0);
    uint8_t *p = out + end;
    for (unsigned i = 0; i < an; i++) {
        p = dns_put16(p, 0xc00c);
        p = dns_put16(p, DNS_A);
        p = dns_put16(p, 1);
        p = dns_put32(p, q[13] == 'b' ? 1 : 60); /* brief: one second */
        p = dns_put16(p, 4);
        p = dns_put32(p, 0xc0000200 + i);
    }
    for (unsigned i = 0; i < ns; i++) {
        p = dns_put16(p, 0xc00c);
        p = dns_put16(p, DNS_SOA);
        p = dns_put16(p, 1);
        p = dns_put32(p, 60);
        p = dns_put16(p, 22);
        *p++ = 0;
        *p++ = 0;
        for (int k = 0; k < 5; k++)
            p = dns_put32(p, 60);
    }
    return (size_t)(p - out);
}

static bool is(const uint8_t *q, const char *label)
{
    return q[DNS_HEADER_BYTES] == strlen(label) &&
           memcmp(q + DNS_HEADER_BYTES + 1, label, strlen(label)) == 0;
}

static void forge(const struct rt_udp_peer *to, const uint8_t *good, size_t n, int times)
{
    uint8_t bad[2048];

    for (int i = 0; i < times; i++) {
        memcpy(bad, good, n);
        bad[n - 1] = 66;
        bad[i % 3 == 0 ? 0 : i % 3 == 1 ? 14 : 2] ^= i % 3 == 2 ? 0x80 : 1; /* id, name, QR */
        rt_udp_send(up_udp, to, bad, n);
    }
}

static void on_question(void *arg, const struct rt_udp_peer *from, struct str data)
{
    const uint8_t *q = (const uint8_t *)data.p;
    uint8_t out[2048];

    udp_seen++;
    if (is(q, "loop")) /* it asks us in turn */
        assert_int_equal(send(loop_fd, data.p, data.n, 0), data.n);
    if (silent || is(q, "silent") || is(q, "loop"))
        return;
    size_t n = reply(out, q, data.n, is(q, "nx") ? DNS_NXDOMAIN : 0, is(q, "nx") ? 0 : 1,
                     is(q, "nx") ? 1 : 0);
    if (is(q, "cut") || is(q, "long"))
        n = reply(out, q, data.n, DNS_FLAG_TC, 0, 0);
    else if (is(q, "fail"))
        n = reply(out, q, data.n, DNS_SERVFAIL, 0, 0);
    else if (is(q, "noedns") && dns_u16(q + 10))
        n = reply(out, q, data.n, DNS_FORMERR, 0, 0);
    else if (is(q, "garbage"))
        n = n - 3;
    if (is(q, "forged"))
        forge(from, out, n, 9);
    if (is(q, "flood"))
        forge(from, out, n, DNS_FORGERIES_MAX + 9);
    else
        rt_udp_send(up_udp, from, out, n);
}

static void on_tcp_question(void *arg, struct str data)
{
    struct rt_stream *s = arg;
    const uint8_t *q = (const uint8_t *)data.p + 2;
    uint8_t out[65535];

    tcp_seen++;
    size_t n = reply(out + 2, q, data.n - 2, 0, is(q, "long") ? 2000 : 3, 0);
    dns_put16(out, (unsigned)n);
    rt_stream_write(s, (struct str){(char *)out, n + 2});
}

static void on_tcp_end(void *arg)
{
    rt_stream_close(arg, NULL, NULL);
}

static void on_tcp_error(void *arg, int err)
{
    rt_stream_close(arg, NULL, NULL);
}

static void on_tcp(void *arg, int fd)
{
    static const struct rt_stream_handler h = {
        .on_data = on_tcp_question, .on_eof = on_tcp_end, .on_error = on_tcp_error};
    struct rt_stream *s;

    assert_int_equal(rt_stream_from_fd(rt, fd, &s), 0);
    rt_stream_set_handler(s, &h, s);
    rt_stream_read_start(s);
}

/* ---- the client ---- */

static int client(int type)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.2", &a.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static bool readable(void *arg)
{
    struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

#define PATIENCE (30 * NSEC_PER_SEC)

static bool never(void *arg)
{
    return false;
}

static void turn(nsec_t span)
{
    for (int i = 0; i < 10; i++) /* turns, and not time alone: processors are scarce at times */
        (void)rt_run_until(rt, never, NULL, span / 10);
}

/* An answer's text, or "silence". Free it. */
static char *answer(int fd, nsec_t patience)
{
    uint8_t p[4096];

    if (!rt_run_until(rt, readable, &fd, patience))
        return xstrdup("silence");
    ssize_t n = recv(fd, p, sizeof(p), 0);
    assert_true(n > 0);
    return answer_text(p, (size_t)n);
}

static char *ask(const char *name, unsigned type)
{
    uint8_t p[512];
    int fd = client(SOCK_DGRAM);
    size_t n = make_query(p, 77, name, type, 1232);

    assert_int_equal(send(fd, p, n, 0), n);
    char *text = answer(fd, PATIENCE);
    close(fd);
    return text;
}

static void expect(const char *name, unsigned type, const char *want)
{
    char *got = ask(name, type);

    if (strcmp(got, want) != 0)
        fail_msg("%s:\n--- wanted\n%s--- got\n%s", name, want, got);
    free(got);
}

#define ONE(name) "NOERROR\n" name "." NAMES ". 60 IN A 192.0.2.0\n"

/* ---- tests ---- */

#define WEB "web.default.svc.cluster.local"

static int ask_early(int type, const char *name)
{
    uint8_t p[512];
    int fd = client(type);
    size_t n = make_query(p + 2, 78, name, DNS_A, 0);

    dns_put16(p, (unsigned)n);
    size_t skip = type == SOCK_DGRAM ? 2 : 0;
    assert_int_equal(send(fd, p + skip, n + 2 - skip, 0), n + 2 - skip);
    return fd;
}

static void expect_late(int fd, const char *want)
{
    char *got = answer(fd, PATIENCE);

    assert_string_equal(got, want);
    free(got);
    close(fd);
}

/* Before the Services are known their names are not answered at all, and then at once. */
static void test_too_early(void **state)
{
    uint8_t p[512];
    int udp = ask_early(SOCK_DGRAM, WEB), tcp = ask_early(SOCK_STREAM, WEB),
        gone = ask_early(SOCK_STREAM, WEB), many = client(SOCK_DGRAM);

    expect("early." NAMES, DNS_A, ONE("early")); /* others' names do not wait */
    turn(100 * NSEC_PER_MSEC);
    assert_false(readable(&udp));
    assert_false(readable(&tcp));
    assert_int_equal(dns->n_held, 3);
    close(gone); /* nobody waits for that one any more */
    turn(50 * NSEC_PER_MSEC);
    /* no more than so many, the rest hears that it does not work */
    size_t n = make_query(p, 79, WEB, DNS_A, 0);
    for (unsigned i = 0; i < DNS_HELD_MAX - 3; i++) {
        assert_int_equal(send(many, p, n, 0), n);
        if (i % 64 == 0)
            turn(NSEC_PER_MSEC);
    }
    turn(50 * NSEC_PER_MSEC);
    assert_int_equal(dns->n_held, DNS_HELD_MAX);
    expect_late(ask_early(SOCK_DGRAM, WEB), "SERVFAIL\n");
    dns_synced(dns);
    expect_late(udp, "NOERROR aa\n" WEB ". 5 IN A 10.96.0.20\n");
    assert_true(rt_run_until(rt, readable, &tcp, 60 * NSEC_PER_SEC));
    assert_true(recv(tcp, p, sizeof(p), 0) > 2);
    assert_int_equal(p[2 + 3] & 15, DNS_NOERROR);
    close(tcp);
    assert_true(readable(&many));
    close(many);
    assert_int_equal(dns->n_held, 0);
}

/* A server that never hears of them says so after a while, and from then on at once. */
static void test_too_early_for_too_long(void **state)
{
    struct dns *all = dns;
    struct error err = {0};
    uint16_t all_port = port;
    struct dns_opts o = {.cluster_domain = "cluster.local",
                         .address = "127.0.0.2",
                         .resolv_conf = resolv,
                         .stub_conf = "/nonexistent",
                         .upstream_port = up_port,
                         .rt = rt};

    do {
        o.port = ++port;
        assert_int_equal(dns_new(&o, &dns, &err), 0);
        assert_int_equal(dns_start(dns, &err), 0);
        if (dns->listens[0].udp && dns->listens[0].tcp)
            break;
        dns = dns_free(dns);
    } while (port);
    int fd = ask_early(SOCK_DGRAM, WEB), held;
    turn(100 * NSEC_PER_MSEC);
    assert_false(readable(&fd));
    expect_late(fd, "SERVFAIL\n");
    expect(WEB, DNS_A, "SERVFAIL\n");
    dns = dns_free(dns);
    /* and one that ends before */
    assert_int_equal(dns_new(&o, &dns, &err), 0);
    assert_int_equal(dns_start(dns, &err), 0);
    held = ask_early(SOCK_STREAM, WEB);
    turn(100 * NSEC_PER_MSEC);
    assert_int_equal(dns->n_held, 1);
    dns = dns_free(dns);
    close(held);
    dns = all;
    port = all_port;
}

static void test_forwards_and_caches(void **state)
{
    udp_seen = 0;
    expect("ok." NAMES, DNS_A, ONE("ok"));
    assert_int_equal(udp_seen, 1);
    expect("oK." NAMES, DNS_A, ONE("oK")); /* the asker's case, from the cache */
    assert_int_equal(udp_seen, 1);
    expect("nx." NAMES, DNS_A, "NXDOMAIN\n@nx." NAMES ". 60 IN SOA . . 60 60 60 60 60\n");
    expect("nx." NAMES, DNS_A, "NXDOMAIN\n@nx." NAMES ". 60 IN SOA . . 60 60 60 60 60\n");
    assert_int_equal(udp_seen, 2);
    turn(1100 * NSEC_PER_MSEC);
    char *text = ask("ok." NAMES, DNS_A);
    assert_non_null(strstr(text, " 59 IN A")); /* it ages */
    free(text);
    assert_int_equal(udp_seen, 2);
}

static void test_one_question_for_many(void **state)
{
    int fd[20];
    uint8_t p[512];

    udp_seen = 0;
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = client(SOCK_DGRAM);
        size_t n = make_query(p, (uint16_t)i, "many." NAMES, DNS_A, 0);
        assert_int_equal(send(fd[i], p, n, 0), n);
    }
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        char *text = answer(fd[i], PATIENCE);
        assert_string_equal(text, ONE("many"));
        free(text);
        close(fd[i]);
    }
    assert_int_equal(udp_seen, 1);
}

static void test_wrong_answers(void **state)
{
    udp_seen = tcp_seen = 0;
    expect("forged." NAMES, DNS_A, ONE("forged"));
    assert_int_equal(udp_seen, 1);
    assert_int_equal(tcp_seen, 0);
    char *text = ask("flood." NAMES, DNS_A); /* then only TCP is believed */
    assert_int_equal(tcp_seen, 1);
    assert_null(strstr(text, "192.0.2.66"));
    assert_non_null(strstr(text, "NOERROR\n"));
    free(text);
    udp_seen = 0;
    expect("garbage." NAMES, DNS_A, "SERVFAIL\n");
    expect("fail." NAMES, DNS_A, "SERVFAIL\n");
    assert_int_equal(udp_seen, 2 * DNS_ATTEMPTS_MAX);
    expect("noedns." NAMES, DNS_A, ONE("noedns"));
}

static void test_cut_short(void **state)
{
    tcp_seen = 0;
    char *text = ask("cut." NAMES, DNS_A);
    assert_int_equal(tcp_seen, 1);
    assert_non_null(strstr(text, "NOERROR\ncut"));
    free(text);
    text = ask("long." NAMES, DNS_A); /* what we have by TCP does not fit UDP */
    assert_int_equal(tcp_seen, 2);
    assert_non_null(strstr(text, "NOERROR tc\n"));
    free(text);
}

static void test_silence(void **state)
{
    expect("brief." NAMES, DNS_A, "NOERROR\nbrief." NAMES ". 1 IN A 192.0.2.0\n");
    turn(1100 * NSEC_PER_MSEC);
    silent = true;
    udp_seen = 0;
    /* An old answer after the first attempt, and then at once. */
    expect("brief." NAMES, DNS_A, "NOERROR\nbrief." NAMES ". 30 IN A 192.0.2.0\n");
    assert_int_equal(udp_seen, 1);
    expect("brief." NAMES, DNS_A, "NOERROR\nbrief." NAMES ". 30 IN A 192.0.2.0\n");
    assert_int_equal(udp_seen, 1);
    udp_seen = 0;
    expect("silent." NAMES, DNS_A, "SERVFAIL\n");
    assert_int_equal(udp_seen, DNS_ATTEMPTS_MAX);
    silent = false;
}

static void test_loop(void **state)
{
    loop_fd = client(SOCK_DGRAM);
    udp_seen = 0;
    expect("loop." NAMES, DNS_A, "SERVFAIL\n");
    assert_int_equal(udp_seen, DNS_ATTEMPTS_MAX); /* no more than for any other name */
    close(loop_fd);
}

static void test_questions_are_bounded(void **state)
{
    int fd = client(SOCK_DGRAM);
    uint8_t p[512];
    unsigned refused = 0;

    silent = true;
    for (unsigned i = 0; i < DNS_FORWARDS_MAX + 20; i++) {
        char name[64];
        snprintf(name, sizeof(name), "n%u." NAMES, i);
        assert_true(send(fd, p, make_query(p, (uint16_t)i, name, DNS_A, 0), 0) > 0);
        turn(NSEC_PER_MSEC / 10);
    }
    for (; refused < 20; refused++) {
        char *text = answer(fd, PATIENCE);
        assert_string_equal(text, "SERVFAIL\n");
        free(text);
    }
    silent = false;
    close(fd);
    turn(5 * NSEC_PER_SEC); /* the others end */
    expect("after." NAMES, DNS_A, ONE("after"));
}

static void test_cluster_names(void **state)
{
    expect("web.default.svc.cluster.local", DNS_A,
           "NOERROR aa\nweb.default.svc.cluster.local. 5 IN A 10.96.0.20\n");
    char *text = ask("no.default.svc.cluster.local", DNS_A);
    assert_non_null(strstr(text, "NXDOMAIN aa\n@cluster.local."));
    free(text);
    udp_seen = 0;
    expect("ext.default.svc.cluster.local", DNS_A,
           "NOERROR\next.default.svc.cluster.local. 5 IN CNAME target." NAMES ".\n"
           "target." NAMES ". 60 IN A 192.0.2.0\n");
    expect("ext.default.svc.cluster.local", DNS_A,
           "NOERROR\next.default.svc.cluster.local. 5 IN CNAME target." NAMES ".\n"
           "target." NAMES ". 60 IN A 192.0.2.0\n");
    assert_int_equal(udp_seen, 1);
    expect("dead.default.svc.cluster.local", DNS_A, "SERVFAIL\n");
    /* A change is seen at once (it comes as a message to the loop), cached or not. */
    struct object *svc = test_service("default", "web", "10.96.0.99", NULL, 0);
    dns_set(dns, STR("default"), STR("web"), svc, NULL, 0);
    object_unref(svc);
    turn(NSEC_PER_MSEC);
    expect("web.default.svc.cluster.local", DNS_A,
           "NOERROR aa\nweb.default.svc.cluster.local. 5 IN A 10.96.0.99\n");
    dns_set(dns, STR("default"), STR("ext"), NULL, NULL, 0);
    turn(NSEC_PER_MSEC);
    text = ask("ext.default.svc.cluster.local", DNS_A);
    assert_non_null(strstr(text, "NXDOMAIN aa\n"));
    free(text);
}

static void test_messages_that_are_none(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;
    } rows[] = {
        {"x", 1, "silence"},
        {"\0\1\1\0\0\0\0\0\0\0\0", 11, "silence"},
        {"\0\1\x81\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, "silence"},
        {"\0\1\1\0\0\0\0\0\0\0\0\0", 12, "FORMERR\n"},
        {"\0\1\1\0\0\1\0\0\0\0\0\0\5ab", 15, "FORMERR\n"},
        {"\0\1\x29\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, "NOTIMPL\n"},
        {"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\3", 17, "REFUSED\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = client(SOCK_DGRAM);
        assert_int_equal(send(fd, rows[i].bytes, rows[i].n, 0), rows[i].n);
        char *text = answer(fd, rows[i].want[0] == 's' ? 50 * NSEC_PER_MSEC : PATIENCE);
        assert_string_equal(text, rows[i].want);
        free(text);
        close(fd);
    }
    int fd = client(SOCK_DGRAM);
    char *big = xcalloc(1, 3000);
    assert_int_equal(send(fd, big, 3000, 0), 3000);
    free(big);
    char *text = answer(fd, 50 * NSEC_PER_MSEC);
    assert_string_equal(text, "silence");
    free(text);
    close(fd);
}

/* ---- TCP ---- */

static size_t frame(uint8_t *p, uint16_t id, const char *name)
{
    size_t n = make_query(p + 2, id, name, DNS_A, 0);

    dns_put16(p, (unsigned)n);
    return n + 2;
}

/* Reads n bytes exactly; false: the connection ended. */
static bool read_all(int fd, uint8_t *p, size_t n)
{
    while (n) {
        if (!rt_run_until(rt, readable, &fd, PATIENCE))
            fail_msg("no answer by TCP");
        ssize_t r = recv(fd, p, n, 0);
        if (r <= 0)
            return false;
        p += r;
        n -= (size_t)r;
    }
    return true;
}

static void test_tcp(void **state)
{
    uint8_t p[8192], out[65535];
    int fd = client(SOCK_STREAM);
    size_t n = 0;
    bool seen[40] = {0};

    /* Forty at once, more than may be under way, in pieces that fit no message. */
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++)
        n += frame(p + n, (uint16_t)i, i % 2 ? "long." NAMES : "web.default.svc.cluster.local");
    for (size_t at = 0; at < n; at += 77) {
        assert_true(send(fd, p + at, MIN(77u, n - at), 0) > 0);
        turn(NSEC_PER_MSEC);
    }
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++) {
        assert_true(read_all(fd, out, 2));
        size_t size = dns_u16(out);
        assert_true(read_all(fd, out, size));
        unsigned id = dns_u16(out);
        assert_true(id < ARRAY_LEN(seen) && !seen[id]);
        seen[id] = true;
        assert_int_equal(dns_u16(out + 6), id % 2 ? 2000 : 1);
    }
    shutdown(fd, SHUT_WR);
    assert_false(read_all(fd, out, 1));
    close(fd);

    fd = client(SOCK_STREAM); /* too long a message, and one that is an answer */
    assert_int_equal(send(fd, "\x10\0", 2, 0), 2);
    assert_false(read_all(fd, out, 1));
    close(fd);
    fd = client(SOCK_STREAM);
    assert_int_equal(send(fd, "\0\x0c\0\1\x81\0\0\0\0\0\0\0\0\0", 14, 0), 14);
    assert_false(read_all(fd, out, 1));
    close(fd);
    fd = client(SOCK_STREAM); /* gone while its question is under way */
    n = frame(p, 1, "silent." NAMES);
    assert_true(send(fd, p, n, 0) > 0);
    turn(20 * NSEC_PER_MSEC);
    close(fd);
    turn(20 * NSEC_PER_MSEC);
}

static bool no_conns(void *arg)
{
    return dns->n_conns == 0;
}

static void test_connections_are_bounded(void **state)
{
    int fd[DNS_TCP_CONNS_MAX + 5];
    uint8_t p[512], out[512];

    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = client(SOCK_STREAM);
        turn(NSEC_PER_MSEC);
    }
    assert_int_equal(dns->n_conns, DNS_TCP_CONNS_MAX);
    for (size_t i = 0; i < 5; i++) /* the oldest made room */
        assert_false(read_all(fd[i], out, 1));
    size_t n = frame(p, 9, "web.default.svc.cluster.local");
    assert_true(send(fd[ARRAY_LEN(fd) - 1], p, n, 0) > 0);
    assert_true(read_all(fd[ARRAY_LEN(fd) - 1], out, 2));
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        close(fd[i]);
    assert_true(rt_run_until(rt, no_conns, NULL, PATIENCE));
}

static void write_resolv(const char *text)
{
    FILE *f = fopen(resolv, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_upstreams_change(void **state)
{
    write_resolv("nameserver 127.0.0.2\n"); /* ourselves: not asked */
    turn(1100 * NSEC_PER_MSEC);
    expect("u1." NAMES, DNS_A, "SERVFAIL\n");
    write_resolv("nameserver 127.0.0.3\nnameserver " UPSTREAM "\n"); /* the first is not there */
    turn(1100 * NSEC_PER_MSEC);
    expect("u2." NAMES, DNS_A, ONE("u2"));
    write_resolv("nameserver " UPSTREAM "\n");
    turn(1100 * NSEC_PER_MSEC);
}

/* ---- life ---- */

static void add_external(const char *name, const char *target)
{
    struct api_service s = {.metadata = {.name = str_z(name), .namespace = STR("default")},
                            .spec = {.type = STR("ExternalName"), .external_name = str_z(target)}};
    struct object *o = object_new(schema_kinds[KIND_SERVICE], &s, 1);

    dns_set(dns, STR("default"), str_z(name), o, NULL, 0);
    object_unref(o);
}

static int setup(void **state)
{
    struct error err = {0};
    struct rt_listen_opts listen = {.addr = UPSTREAM ":0"};
    char addr[32];
    int fd = mkstemp(resolv);

    assert_true(fd >= 0);
    close(fd);
    write_resolv("nameserver " UPSTREAM "\n");
    rt = rt_uv_new();
    assert_int_equal(rt_listen(rt, &listen, on_tcp, NULL, &err, &up_tcp), 0);
    up_port = rt_listener_port(up_tcp);
    snprintf(addr, sizeof(addr), UPSTREAM ":%u", up_port);
    assert_int_equal(rt_udp_open(rt, &(struct rt_udp_opts){.addr = addr, .queue_max = 64},
                                 on_question, NULL, NULL, &err, &up_udp),
                     0);
    for (port = 20053; port; port++) { /* one that is free for both */
        struct dns_opts o = {.cluster_domain = "cluster.local",
                             .address = "127.0.0.2",
                             .resolv_conf = resolv,
                             .stub_conf = "/nonexistent",
                             .port = port,
                             .upstream_port = up_port,
                             .rt = rt};
        assert_int_equal(dns_new(&o, &dns, &err), 0);
        assert_int_equal(dns_start(dns, &err), 0);
        if (dns->listens[0].udp && dns->listens[0].tcp)
            break;
        dns = dns_free(dns);
    }
    struct object *svc = test_service("default", "web", "10.96.0.20", NULL, 0);
    dns_set(dns, STR("default"), STR("web"), svc, NULL, 0);
    object_unref(svc);
    add_external("ext", "target." NAMES);
    add_external("dead", "fail." NAMES);
    return 0; /* not synced: the first test does that */
}

static int teardown(void **state)
{
    dns_free(dns);
    rt_udp_close(up_udp);
    rt_listener_close(up_tcp);
    rt_free(rt);
    unlink(resolv);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_early), /* the first: it tells the server that all is there */
        cmocka_unit_test(test_too_early_for_too_long),
        cmocka_unit_test(test_forwards_and_caches),
        cmocka_unit_test(test_one_question_for_many),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_cluster_names),
        cmocka_unit_test(test_messages_that_are_none),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_upstreams_change),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_questions_are_bounded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
