/* How many queries the node's name server answers, and how long one takes: the server on its own
 * thread, this program asking over the loopback. Prints `name value` lines:
 *
 *   dns_queries     answers a second, with 128 queries under way (closed loop)
 *   dns_p99         ms, at 100,000 queries a second (open loop, ten every 100 us); the best of
 *                   twelve turns, and dns_p99_median of them
 *   dns_lost        of those, never answered
 *   echo_p99        the same of a server that sends back what it gets, in turns with dns_p99: what
 *                   the machine allows; where both have tens of ms it was busy
 *   dns_held_p99    the same at 20,000/s when the server shares its loop with work that holds it
 *                   for 5 ms in 100: what a thread of its own is for
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/object.h"
#include "base/arena.h"
#include "base/mem.h"
#include "net/dns/dns.h"
#include "net/dns/query.h"
#include "rt/rt.h"

#define SERVICES 1000
#define WINDOW   128
#define BATCH    32
#define SECONDS  1
#define TURNS    12 /* the best of: what else the machine does shows in a p99 first */

static uint16_t port;

static nsec_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static void fill(struct dns *d)
{
    for (int i = 0; i < SERVICES; i++) {
        struct arena a = {0};
        struct str ip = arena_printf(&a, "10.96.%d.%d", i / 250 + 1, i % 250 + 1);
        struct api_service s = {
            .metadata = {.name = arena_printf(&a, "web-%d", i), .namespace = STR("default")},
            .spec = {.cluster_ip = ip, .cluster_ips = &ip, .n_cluster_ips = 1}};
        struct object *o = object_new(schema_kinds[KIND_SERVICE], &s, 1);
        dns_set(d, s.metadata.namespace, s.metadata.name, o, NULL, 0);
        object_unref(o);
        arena_fini(&a);
    }
    dns_synced(d);
}

/* ---- the asking side ---- */

struct load {
    int fd;
    uint8_t query[BATCH][128];
    struct mmsghdr out[BATCH], in[BATCH];
    struct iovec out_iov[BATCH], in_iov[BATCH];
    uint8_t answers[BATCH][1500];
    nsec_t sent[65536]; /* by id; 0: answered */
    uint32_t *took_ns;  /* owned */
    size_t n_sent, n_answered;
    uint16_t id;
};

static size_t make_query(struct load *l, uint8_t *p)
{
    char name[64];
    uint8_t *q = dns_put16(p, l->id);
    unsigned i = l->id * 7919u;

    /* As clients ask: mostly A of a service, its AAAA, and what a search path does not find. */
    snprintf(name, sizeof(name),
             i % 8 == 7 ? "web-%u.default.svc.cluster.local.svc.cluster.local"
                        : "web-%u.default.svc.cluster.local",
             i % SERVICES);
    q = dns_put16(q, DNS_FLAG_RD);
    q = dns_put16(q, 1);
    q = dns_put32(dns_put16(q, 0), 0);
    q += dns_name_from_text(str_z(name), q);
    q = dns_put16(q, i % 4 == 3 ? DNS_AAAA : DNS_A);
    q = dns_put16(q, 1);
    return (size_t)(q - p);
}

static void load_send(struct load *l, unsigned n)
{
    nsec_t t = now();

    for (unsigned i = 0; i < n; i++) {
        l->out_iov[i] = (struct iovec){l->query[i], make_query(l, l->query[i])};
        l->out[i].msg_hdr = (struct msghdr){.msg_iov = &l->out_iov[i], .msg_iovlen = 1};
        l->sent[l->id++] = t;
    }
    int r = sendmmsg(l->fd, l->out, n, 0);
    l->n_sent += r > 0 ? (size_t)r : 0;
}

static unsigned load_receive(struct load *l, bool wait)
{
    for (unsigned i = 0; i < BATCH; i++) {
        l->in_iov[i] = (struct iovec){l->answers[i], sizeof(l->answers[i])};
        l->in[i].msg_hdr = (struct msghdr){.msg_iov = &l->in_iov[i], .msg_iovlen = 1};
    }
    int r = recvmmsg(l->fd, l->in, BATCH, wait ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
    nsec_t t = now();
    for (int i = 0; i < r; i++) {
        nsec_t *at = &l->sent[dns_u16(l->answers[i])];
        if (*at && l->took_ns && l->n_answered < SECONDS * 200000)
            l->took_ns[l->n_answered] = (uint32_t)(t - *at);
        *at = 0;
        l->n_answered++;
    }
    return r > 0 ? (unsigned)r : 0;
}

static struct load *load_new(void)
{
    struct load *l = NEW(struct load);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval wait = {.tv_usec = 200000};
    int bytes = 4 << 20;

    l->fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    ASSERT(connect(l->fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    return l;
}

static void load_free(struct load *l)
{
    close(l->fd);
    free(l->took_ns);
    free(l);
}

static double closed_loop(void)
{
    struct load *l = load_new();
    nsec_t start = now(), end = start + SECONDS * NSEC_PER_SEC;

    for (int i = 0; i < WINDOW / BATCH; i++)
        load_send(l, BATCH);
    while (now() < end) {
        unsigned got = load_receive(l, true);
        if (got)
            load_send(l, got);
        else
            load_send(l, BATCH); /* some were lost */
    }
    double rate = (double)l->n_answered * 1e9 / (double)(now() - start);
    load_free(l);
    return rate;
}

static int cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* p99 in ns at `rate` a second; *ret_lost: how many got no answer. */
static uint32_t open_loop(unsigned rate, size_t *ret_lost)
{
    struct load *l = load_new();
    unsigned each = rate / 10000;
    nsec_t next = now(), end = next + SECONDS * NSEC_PER_SEC;

    l->took_ns = xcalloc(SECONDS * 200000, sizeof(*l->took_ns));
    while (next < end) {
        if (now() >= next) {
            load_send(l, each);
            next += 100 * NSEC_PER_USEC;
        }
        nsec_t left = next - now();
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        /* Asleep in between: this program must not take the processor it measures. */
        if (left > 0)
            (void)ppoll(&p, 1, &(struct timespec){.tv_nsec = left}, NULL);
        (void)load_receive(l, false);
    }
    for (int i = 0; i < 20 && load_receive(l, true); i++)
        ;
    size_t n = MIN(l->n_answered, (size_t)SECONDS * 200000);
    qsort(l->took_ns, n, sizeof(*l->took_ns), cmp);
    uint32_t p99 = n ? l->took_ns[n * 99 / 100] : UINT32_MAX;
    *ret_lost = l->n_sent - MIN(l->n_answered, l->n_sent);
    load_free(l);
    return p99;
}

/* ---- the least a server can do ---- */

struct echo {
    int fd;
    uint16_t port;
    pthread_t thread;
};

static void *echo_run(void *arg)
{
    struct echo *e = arg;
    uint8_t bytes[BATCH][512];
    struct sockaddr_in from[BATCH];
    struct iovec iov[BATCH];
    struct mmsghdr m[BATCH];

    for (;;) {
        for (unsigned i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec){bytes[i], sizeof(bytes[i])};
            m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                           .msg_namelen = sizeof(from[i]),
                                           .msg_iov = &iov[i],
                                           .msg_iovlen = 1};
        }
        int n = recvmmsg(e->fd, m, BATCH, MSG_WAITFORONE, NULL);
        if (n <= 0 || m[0].msg_len == 0) /* the end */
            return NULL;
        for (int i = 0; i < n; i++)
            iov[i].iov_len = m[i].msg_len;
        (void)!sendmmsg(e->fd, m, (unsigned)n, 0);
    }
}

static void echo_start(struct echo *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int bytes = 4 << 20;

    e->fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    ASSERT(bind(e->fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
           getsockname(e->fd, (struct sockaddr *)&a, &len) == 0);
    e->port = ntohs(a.sin_port);
    ASSERT(pthread_create(&e->thread, NULL, echo_run, e) == 0);
}

static void echo_stop(struct echo *e)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    (void)!sendto(e->fd, "", 0, 0, (struct sockaddr *)&a, sizeof(a));
    pthread_join(e->thread, NULL);
    close(e->fd);
}

/* ---- a loop that has other things to do ---- */

struct held {
    struct rt_timer timer;
};

static void hold(void *arg)
{
    struct held *h = arg;
    nsec_t end = now() + 5 * NSEC_PER_MSEC;

    while (now() < end)
        ;
    rt_timer_start(&h->timer, 95 * NSEC_PER_MSEC);
}

static struct dns *start(struct rt *rt)
{
    struct dns *d;
    struct error err = {0};
    int probe = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);

    ASSERT(bind(probe, (struct sockaddr *)&a, sizeof(a)) == 0 &&
           getsockname(probe, (struct sockaddr *)&a, &len) == 0);
    close(probe);
    port = ntohs(a.sin_port);
    struct dns_opts o = {.cluster_domain = "cluster.local",
                         .address = "127.0.0.1",
                         .port = port,
                         .resolv_conf = "/dev/null",
                         .stub_conf = "/dev/null",
                         .rt = rt};
    if (dns_new(&o, &d, &err) < 0 || (fill(d), dns_start(d, &err)) < 0) {
        fprintf(stderr, "%.*s\n", STR_ARG(err.message));
        exit(1);
    }
    return d;
}

static void print_turns(const char *name, uint32_t v[static TURNS])
{
    qsort(v, TURNS, sizeof(*v), cmp);
    printf("%s %.3f\n%s_median %.3f\n", name, v[0] / 1e6, name, v[TURNS / 2] / 1e6);
}

int main(void)
{
    struct dns *d = start(NULL);
    struct dns_stats stats;
    size_t lost;

    (void)closed_loop(); /* fills the cache */
    printf("dns_queries %.0f\n", closed_loop());
    struct echo e;
    size_t echo_lost, all = 0;
    uint32_t p99[TURNS], echo_p99[TURNS];
    echo_start(&e);
    uint16_t of_dns = port;
    for (int i = 0; i < TURNS; i++) {
        port = of_dns;
        p99[i] = open_loop(100000, &lost);
        all += lost;
        port = e.port;
        echo_p99[i] = open_loop(100000, &echo_lost);
    }
    echo_stop(&e);
    print_turns("dns_p99", p99);
    print_turns("echo_p99", echo_p99);
    printf("dns_lost %zu\n", all);
    dns_stats(d, &stats);
    fprintf(stderr, "%llu queries, %llu from the cache\n", (unsigned long long)stats.queries,
            (unsigned long long)stats.hits);
    dns_free(d);

    struct rt *rt = rt_uv_new();
    struct held h = {0};
    struct rt_thread *t;
    d = start(rt);
    rt_timer_init(&h.timer, rt, hold, &h);
    rt_timer_start(&h.timer, NSEC_PER_MSEC);
    ASSERT(rt_thread_start(rt, "held", &t) == 0);
    printf("dns_held_p99 %.3f\n", open_loop(20000, &lost) / 1e6);
    rt_thread_join(t);
    rt_timer_stop(&h.timer);
    dns_free(d);
    rt_free(rt);
    return 0;
}
