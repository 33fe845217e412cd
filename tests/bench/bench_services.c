/* Services into the kernel, on a host of its own (a network namespace): how long until 10,000
 * Services with 5 endpoints each are in force from nothing, how long one endpoint change takes, how
 * long a restarted agent needs to find all as it should be, and what it all costs in memory. The
 * API is made up in this process, so its copy of the objects is measured apart and not counted.
 *
 *   bench_services [COUNT]           the above
 *   bench_services COUNT connect     a client's wait for a connection through the last of so many
 */
#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../unit/net/netfake.h"
#include "../unit/net/netlab.h"
#include "base/mem.h"
#include "net/net.h"
#include "rt/rt.h"
#include "sys/fs.h"
#include "test.h"

static char dir[] = "/tmp/davit-bench-net-XXXXXX";
static struct rt *rt;
static struct fake fake;
static struct net *net;

static bool settled(void *arg)
{
    (void)arg;
    return net_rules_settled(net);
}

static void settle(void)
{
    assert_true(rt_run_until(rt, settled, NULL, 120 * NSEC_PER_SEC));
}

static double ms_since(nsec_t t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((double)now.tv_sec * 1e9 + (double)now.tv_nsec - (double)t) / 1e6;
}

static nsec_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nsec_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double rss_mb(void)
{
    long pages = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &pages, &rss) != 2)
        rss = 0;
    if (f)
        fclose(f);
    return (double)rss * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void endpoints(const struct svc_spec *s, int i, int n)
{
    char text[8][32];
    const char *ips[8];
    for (int k = 0; k < n; k++) {
        snprintf(text[k], sizeof(text[k]), "10.%d.%d.%d", 128 + k, i / 250, 1 + i % 250);
        ips[k] = text[k];
    }
    put_endpoints(&fake, s, ips, (size_t)n);
}

static void start(void)
{
    struct net_opts o = {.rt = rt,
                         .client = &fake.base,
                         .data_dir = dir,
                         .node_name = "n1",
                         .pod_cidr = "10.200.0.0/24",
                         .cluster_cidr = "10.128.0.0/9",
                         .service_cidr = "172.16.0.0/12",
                         .dns_address = ""}; /* else it is the tenth Service's */
    struct error err = {0};
    if (net_new(&o, &net, &err) < 0 || net_start(net, &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
}

static bool flag_set(void *arg)
{
    return *(bool *)arg;
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void stop(void)
{
    bool done = false;
    net_stop(net, set_flag, &done);
    assert_true(rt_run_until(rt, flag_set, &done, 10 * NSEC_PER_SEC));
    net = net_free(net);
}

static void change_some(const struct svc_spec *s, int n)
{
    double worst = 0, sum = 0;
    int rounds = 40;
    char name[32], ip[32];
    struct svc_spec one = *s;
    for (int i = 0; i < rounds; i++) {
        int at = i * n / rounds;
        snprintf(name, sizeof(name), "s%d", at);
        snprintf(ip, sizeof(ip), "172.16.%d.%d", at / 250, 1 + at % 250);
        one.name = name;
        one.ip = ip;
        nsec_t t = now_ns();
        endpoints(&one, i < rounds / 2 ? at : at + 1, i < rounds / 2 ? 4 : 5);
        settle();
        double took = ms_since(t);
        sum += took;
        worst = MAX(worst, took);
    }
    printf("service_change %.2f\nservice_change_worst %.2f\n", sum / rounds, worst);
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How long a client waits for a connection through a Service: every one is a first packet. */
static void connect_some(const char *ip)
{
    enum { ROUNDS = 2000 };
    double took[ROUNDS];
    char text[128];
    pid_t pid = lab_server(NULL, "x", NULL, 8080);
    for (int i = 0; i < ROUNDS; i++) {
        nsec_t t = now_ns();
        assert_int_equal(lab_ask(NULL, ip, 80, text), 0);
        took[i] = ms_since(t) * 1000;
    }
    lab_kill(pid);
    qsort(took, ROUNDS, sizeof(*took), by_number);
    printf("service_connect %.1f\n", took[ROUNDS / 2]);
}

int main(int argc, char **argv)
{
    int64_t n64 = 10000;
    char name[32], ip[32];
    struct svc_spec s = {.protocol = "TCP", .port = 80, .target = 8080, .name = name, .ip = ip};
    if (argc > 1 && str_to_i64(str_z(argv[1]), &n64) < 0)
        return 2;
    int n = (int)n64;
    if (!lab_enter() || !mkdtemp(dir))
        return 77;
    rt = rt_uv_new();
    fake.base = (struct client){&fake_ops, rt};
    fake.rev = 1;
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(ip, sizeof(ip), "172.16.%d.%d", i / 250, 1 + i % 250);
        put_service(&fake, &s);
        endpoints(&s, i, 5);
    }
    if (argc > 2) { /* the last one leads to this host */
        put_endpoints(&fake, &s, (const char *[]){"10.200.0.1"}, 1);
        start();
        settle();
        connect_some(ip);
        stop();
        (void)sys_remove_tree(-1, dir);
        return 0;
    }
    malloc_trim(0);
    double before = rss_mb();
    nsec_t t = now_ns();
    start();
    settle();
    printf("services_programmed %.0f\n", ms_since(t));
    double peak = rss_mb();
    malloc_trim(0);
    printf("services_peak %.1f\nservices_memory %.1f\n", peak - before, rss_mb() - before);
    change_some(&s, n);
    stop();
    t = now_ns();
    start();
    settle();
    printf("services_matched %.0f\n", ms_since(t));
    stop();
    fake_fini(&fake);
    rt_free(rt);
    (void)sys_remove_tree(-1, dir);
    return 0;
}
