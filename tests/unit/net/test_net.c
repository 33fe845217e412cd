/* The whole of net against the kernel, with real traffic, on a host of its own (see netlab.h):
 * pods, Services by ClusterIP and NodePort, endpoint changes, affinity, hairpin, refusal, host
 * ports, restart, a thousand services, purge. Services come through a client whose lists and
 * watches the test makes up. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/object.h"
#include "base/mem.h"
#include "client/client.h"
#include "net/net.h"
#include "net/sweep.h"
#include "netfake.h"
#include "netlab.h"
#include "rt/rt.h"
#include "sys/fs.h"
#include "sys/netlink.h"
#include "sys/nft.h"
#include "sys/sysctls.h"
#include "test.h"

/* ---- the node ---- */

static char dir[] = "/tmp/davit-test-net-XXXXXX";
static struct rt *rt;
static struct fake fake;
static struct net *net;

#define PODS 3
static const char *pod_ns[PODS];
static char pod_ip[PODS][64];
static pid_t pod_pid[PODS];
static struct error why;

static bool settled(void *arg)
{
    return net_flows_settled(net);
}

static void settle(void)
{
    assert_true(rt_run_until(rt, settled, NULL, 20 * NSEC_PER_SEC));
}

static void start(void)
{
    /* Pods of other nodes are below the cluster's range, beside this node's. */
    struct net_opts o = {.rt = rt,
                         .client = &fake.base,
                         .data_dir = dir,
                         .node_name = "n1",
                         .pod_cidr = "10.77.1.0/24",
                         .cluster_cidr = "10.77.0.0/16"};
    if (net_new(&o, &net, &why) < 0 || net_start(net, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
    settle();
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
    assert_true(rt_run_until(rt, flag_set, &done, 60 * NSEC_PER_SEC));
    net = net_free(net);
}

struct attached {
    bool done;
    int r;
    char ip[64];
};

static void on_attached(void *arg, const struct node_net_attached *a)
{
    struct attached *out = arg;
    out->done = true;
    out->r = a->r;
    if (a->r == 0)
        snprintf(out->ip, sizeof(out->ip), "%.*s", STR_ARG(a->ips[0]));
    else
        error_copy(&why, a->err);
}

static int attach(const char *uid, const char *netns, const struct node_net_port *ports, size_t n,
                  char ip[64])
{
    struct attached a = {0};
    struct node_net_pod pod = {
        .uid = str_z(uid), .netns_path = netns, .ports = ports, .n_ports = n};
    error_clear(&why);
    net_node_ops.pod_attach(net, &pod, on_attached, &a);
    assert_false(a.done);
    assert_true(rt_run_until(rt, flag_set, &a.done, 60 * NSEC_PER_SEC));
    if (a.r == 0)
        memcpy(ip, a.ip, 64);
    settle();
    return a.r;
}

static void on_detached(void *arg, int r, const struct error *err)
{
    assert_int_equal(r, 0);
    *(bool *)arg = true;
}

static void detach(const char *uid)
{
    bool done = false;
    net_node_ops.pod_detach(net, str_z(uid), on_detached, &done);
    assert_true(rt_run_until(rt, flag_set, &done, 60 * NSEC_PER_SEC));
    settle();
}

static int setup(void **state)
{
    if (!lab_enter())
        return 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sysctl_set("net/ipv4/ip_forward", "0"),
                     0); /* a new namespace copies the host's */
    rt = rt_uv_new();
    fake.base = (struct client){&fake_ops, rt};
    fake.rev = 1;
    start();
    for (int i = 0; i < PODS; i++) {
        char uid[16], name[16];
        snprintf(uid, sizeof(uid), "uid-%d", i);
        snprintf(name, sizeof(name), "pod%d", i);
        pod_ns[i] = lab_netns(name);
        if (attach(uid, pod_ns[i], NULL, 0, pod_ip[i]) < 0)
            fail_msg("%.*s", STR_ARG(why.message));
        pod_pid[i] = lab_server(pod_ns[i], name, NULL, 8080);
    }
    return 0;
}

static int teardown(void **state)
{
    if (!rt)
        return 0;
    for (int i = 0; i < PODS; i++)
        lab_kill(pod_pid[i]);
    if (net)
        stop();
    fake_fini(&fake);
    rt_free(rt);
    error_fini(&why);
    (void)sys_remove_tree(-1, dir);
    return 0;
}

#define NEED_LAB()                                                                                 \
    do {                                                                                           \
        if (!rt)                                                                                   \
            skip();                                                                                \
    } while (0)

static void put_web(const struct svc_spec *s, unsigned pods)
{
    const char *ips[PODS] = {0};
    size_t n = 0;
    for (int i = 0; i < PODS; i++)
        if (pods & 1u << i)
            ips[n++] = pod_ip[i];
    put_endpoints(&fake, s, ips, n);
    settle();
}

/* Which pods answer, as a mask, in `times` requests. */
static unsigned who(const char *netns, const char *ip, uint16_t port, int times)
{
    char text[128];
    unsigned mask = 0;
    for (int i = 0; i < times; i++) {
        int r = lab_ask(netns, ip, port, text);
        if (r < 0)
            fail_msg("%s:%u: %s", ip, port, strerror(-r));
        assert_memory_equal(text, "pod", 3);
        mask |= 1u << (text[3] - '0');
    }
    return mask;
}

static int refused(const char *netns, const char *ip, uint16_t port)
{
    char text[128];
    return lab_ask(netns, ip, port, text);
}

struct http {
    uint16_t port;
    int fd;
    char *out;
    size_t cap, n;
};

static bool http_read(void *arg)
{
    struct http *h = arg;
    ssize_t n = recv(h->fd, h->out + h->n, h->cap - 1 - h->n, MSG_DONTWAIT);
    if (n > 0)
        h->out[h->n += (size_t)n] = '\0';
    return n == 0;
}

/* The server runs on this loop, so the client must not wait. */
static int ask_http(uint16_t port, char *out, size_t cap)
{
    struct http h = {.port = port, .out = out, .cap = cap};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    static const char get[] = "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    h.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(h.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    if (r == 0 && send(h.fd, get, sizeof(get) - 1, 0) < 0)
        r = -errno;
    if (r == 0 && !rt_run_until(rt, http_read, &h, 5 * NSEC_PER_SEC))
        r = -ETIMEDOUT;
    close(h.fd);
    return r;
}

static const struct svc_spec web = {"web", "10.96.0.110", "TCP", 80, 30080, 8080, 0, NULL};

/* ---- tests ---- */

static void test_pods_reach_each_other(void **state)
{
    NEED_LAB();
    char text[128], want[128];
    assert_int_equal(lab_ask(pod_ns[0], pod_ip[1], 8080, text), 0);
    snprintf(want, sizeof(want), "pod1 %s", pod_ip[0]);
    assert_string_equal(text, want);
    assert_int_equal(lab_ask(NULL, pod_ip[2], 8080, text), 0);
    /* Attaching again gives the same address and breaks nothing. */
    char again[64];
    assert_int_equal(attach("uid-0", pod_ns[0], NULL, 0, again), 0);
    assert_string_equal(again, pod_ip[0]);
    assert_int_equal(lab_ask(pod_ns[0], pod_ip[1], 8080, text), 0);
}

static void test_cluster_ip(void **state)
{
    NEED_LAB();
    put_service(&fake, &web);
    settle();
    assert_int_equal(refused(pod_ns[0], "10.96.0.110", 80), -ECONNREFUSED);
    assert_int_equal(refused(NULL, "10.96.0.110", 80), -ECONNREFUSED);
    put_web(&web, 7);
    assert_int_equal(who(NULL, "10.96.0.110", 80, 40), 7);
    for (int i = 0; i < PODS; i++) /* among them to itself: hairpin */
        assert_int_equal(who(pod_ns[i], "10.96.0.110", 80, 40), 7);
    put_web(&web, 5);
    assert_int_equal(who(pod_ns[1], "10.96.0.110", 80, 20), 5);
    put_web(&web, 2);
    assert_int_equal(who(pod_ns[1], "10.96.0.110", 80, 5), 2);
    assert_int_equal(refused(pod_ns[0], "10.96.0.110", 81), -ECONNREFUSED);
    assert_int_equal(refused(pod_ns[0], "10.96.77.77", 80), -ECONNREFUSED);
    put_web(&web, 0);
    assert_int_equal(refused(pod_ns[0], "10.96.0.110", 80), -ECONNREFUSED);
    put_web(&web, 7);
    assert_int_equal(who(NULL, "10.96.0.110", 80, 40), 7);
}

static void test_without_bridge_netfilter(void **state)
{
    NEED_LAB();
    char was[SYSCTL_VALUE_MAX];
    if (sysctl_get("net/bridge/bridge-nf-call-iptables", was) < 0)
        skip();
    const char *other = was[0] == '0' ? "1" : "0";
    assert_int_equal(sysctl_set("net/bridge/bridge-nf-call-iptables", other), 0);
    for (int i = 0; i < PODS; i++)
        assert_int_equal(who(pod_ns[i], "10.96.0.110", 80, 40), 7);
    assert_int_equal(sysctl_set("net/bridge/bridge-nf-call-iptables", was), 0);
}

static void test_node_port(void **state)
{
    NEED_LAB();
    assert_int_equal(who(NULL, net_gateway(net), 30080, 40), 7);
    assert_int_equal(who(NULL, "127.0.0.1", 30080, 40), 7);
    assert_int_equal(who(pod_ns[0], net_gateway(net), 30080, 40), 7);
    put_web(&web, 0);
    assert_int_equal(refused(NULL, net_gateway(net), 30080), -ECONNREFUSED);
    assert_int_equal(refused(pod_ns[0], net_gateway(net), 30080), -ECONNREFUSED);
    put_web(&web, 7);
}

static void test_affinity(void **state)
{
    NEED_LAB();
    const struct svc_spec s = {"sticky", "10.96.0.11", "TCP", 80, 30081, 8080, 100, NULL};
    put_service(&fake, &s);
    put_web(&s, 7);
    unsigned host = who(NULL, s.ip, 80, 12), pod = who(pod_ns[0], s.ip, 80, 12);
    assert_int_equal(__builtin_popcount(host), 1);
    assert_int_equal(__builtin_popcount(pod), 1);
    assert_int_equal(__builtin_popcount(who(NULL, "127.0.0.1", s.node_port, 12)), 1);
    /* Another endpoint goes: the client stays. Its own goes: it moves, and stays there. */
    unsigned other = host == 1 ? 2 : 1;
    put_web(&s, 7 & ~other);
    assert_int_equal(who(NULL, s.ip, 80, 8), host);
    put_web(&s, 7 & ~host);
    unsigned moved = who(NULL, s.ip, 80, 12);
    assert_int_equal(__builtin_popcount(moved), 1);
    assert_int_not_equal(moved, host);
    put_web(&s, 7);
    assert_int_equal(who(NULL, s.ip, 80, 8), moved);
    /* A restart of the agent keeps it, too. */
    stop();
    assert_int_equal(who(NULL, s.ip, 80, 8), moved);
    start();
    assert_int_equal(who(NULL, s.ip, 80, 8), moved);
    assert_int_equal(who(NULL, "10.96.0.110", 80, 40), 7);
}

static void test_udp_follows(void **state)
{
    NEED_LAB();
    const struct svc_spec s = {"dns", "10.96.0.53", "UDP", 53, 0, 8080, 0, NULL};
    char text[128];
    put_service(&fake, &s);
    put_web(&s, 1);
    CLEANUP(fd_closep) int fd = lab_udp_open(pod_ns[2], s.ip, 53);
    assert_int_equal(lab_udp_ask(fd, text), 0);
    assert_memory_equal(text, "pod0", 4);
    /* The same socket: its flow must not stick to the endpoint that is gone. */
    put_web(&s, 2);
    assert_int_equal(lab_udp_ask(fd, text), 0);
    assert_memory_equal(text, "pod1", 4);
    /* Nor when the change comes while the agent is away. */
    stop();
    put_endpoints(&fake, &s, (const char *[]){pod_ip[0]}, 1);
    start();
    assert_int_equal(lab_udp_ask(fd, text), 0);
    assert_memory_equal(text, "pod0", 4);
}

static void test_host_port(void **state)
{
    NEED_LAB();
    const struct node_net_port port = {
        .host_port = 26080, .container_port = 8080, .protocol = NODE_NET_TCP};
    const char *ns = lab_netns("hp");
    char ip[64];
    assert_int_equal(attach("uid-hp", ns, &port, 1, ip), 0);
    pid_t pid = lab_server(ns, "pod3", NULL, 8080);
    assert_int_equal(who(NULL, net_gateway(net), 26080, 3), 8);
    assert_int_equal(who(NULL, "127.0.0.1", 26080, 3), 8);
    assert_int_equal(who(pod_ns[0], net_gateway(net), 26080, 3), 8);
    stop(); /* the port outlives the agent, and is known to the next one */
    assert_int_equal(who(NULL, "127.0.0.1", 26080, 3), 8);
    start();
    assert_int_equal(who(NULL, "127.0.0.1", 26080, 3), 8);
    detach("uid-hp");
    detach("uid-hp");
    assert_int_equal(refused(NULL, "127.0.0.1", 26080), -ECONNREFUSED);
    lab_kill(pid);
}

static void test_api_on_loopback(void **state)
{
    NEED_LAB();
    const struct svc_spec s = {"kubernetes", "10.96.0.1", "TCP", 443, 0, 26443, 0, NULL};
    pid_t pid = lab_server(NULL, "pod9", "127.0.0.1", 26443);
    const char *ips[] = {"127.0.0.1"};
    put_service(&fake, &s);
    put_endpoints(&fake, &s, ips, 1);
    settle();
    assert_int_equal(who(pod_ns[0], "10.96.0.1", 443, 3), 1 << 9);
    assert_int_equal(who(NULL, "10.96.0.1", 443, 3), 1 << 9);
    lab_kill(pid);
}

/* A machine beside the node, on a link of its own: `ours` and `theirs` are the two ends. */
static void neighbour(const char *ns, const char *link, const char *ours, const char *theirs)
{
    struct nl *nl = NULL, *out = NULL;
    struct nl_link l;
    struct ip_prefix a, b;
    CLEANUP(fd_closep) int fd = open(ns, O_RDONLY | O_CLOEXEC);
    assert_int_equal(ip_prefix_parse(str_z(ours), &a), 0);
    assert_int_equal(ip_prefix_parse(str_z(theirs), &b), 0);
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_open(fd, &out), 0);
    assert_int_equal(nl_link_add_veth(nl, link, 0, "up0", fd, NULL), 0);
    assert_int_equal(nl_link_get(nl, link, &l), 0);
    assert_int_equal(nl_addr_add(nl, l.index, &a), 0);
    assert_int_equal(nl_link_set(nl, l.index, &(struct nl_link_change){.up = true}), 0);
    assert_int_equal(nl_link_get(out, "up0", &l), 0);
    assert_int_equal(nl_addr_add(out, l.index, &b), 0);
    assert_int_equal(nl_link_set(out, l.index, &(struct nl_link_change){.up = true}), 0);
    struct nl_route r = {.dst = {.addr = {.family = AF_INET}}, .via = a.addr, .index = l.index};
    assert_int_equal(nl_route_add(out, &r), 0);
    nl_close(nl);
    nl_close(out);
}

/* Traffic to that pod of the other node goes through the neighbour. */
static void route_to(const char *dst, const char *via)
{
    struct nl *nl = NULL;
    struct ip_prefix p;
    struct nl_route r = {0};
    assert_int_equal(ip_prefix_parse(str_z(dst), &p), 0);
    assert_int_equal(ip_parse(str_z(via), &r.via), 0);
    r.dst = p;
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_route_add(nl, &r), 0);
    nl_close(nl);
}

static const char *outside, *node2;

static void test_egress_is_masqueraded(void **state)
{
    NEED_LAB();
    char text[128];
    outside = lab_netns("outside");
    neighbour(outside, "up0", "192.0.2.1/24", "192.0.2.2/24");
    pid_t pid = lab_server(outside, "out", NULL, 8080);
    assert_int_equal(lab_ask(pod_ns[0], "192.0.2.2", 8080, text), 0);
    assert_string_equal(text, "out 192.0.2.1");
    /* From outside: NodePort, the client's address is kept; loopback of the node stays closed. */
    assert_int_equal(who(outside, "192.0.2.1", 30080, 20), 7);
    assert_int_equal(lab_ask(outside, "192.0.2.1", 30080, text), 0);
    assert_non_null(strstr(text, " 192.0.2.2"));
    lab_kill(pid);
}

/* The same Service with an endpoint here (pod 0) and one on another node (pod 7). Replies of that
 * one must come back through us: from outside we are its client, a pod of ours stays itself. */
static void test_two_nodes(void **state)
{
    NEED_LAB();
    char text[128];
    struct svc_spec s = {.name = "far",
                         .ip = "10.96.0.70",
                         .protocol = "TCP",
                         .port = 80,
                         .node_port = 30070,
                         .target = 8080,
                         .external = "203.0.113.70"};
    const char *ips[] = {pod_ip[0], "10.77.2.7"}, *nodes[] = {"n1", "n2"};
    node2 = lab_netns("node2");
    neighbour(node2, "n2", "198.51.100.1/24", "198.51.100.2/24");
    struct nl *nl = NULL;
    struct nl_link lo;
    struct ip_prefix far;
    CLEANUP(fd_closep) int fd = open(node2, O_RDONLY | O_CLOEXEC);
    assert_int_equal(ip_prefix_parse(STR("10.77.2.7/32"), &far), 0);
    assert_int_equal(nl_open(fd, &nl), 0);
    assert_int_equal(nl_link_get(nl, "lo", &lo), 0);
    assert_int_equal(nl_addr_add(nl, lo.index, &far), 0);
    nl_close(nl);
    route_to("10.77.2.0/24", "198.51.100.2");
    route_to("203.0.113.0/24", "192.0.2.2");
    pid_t pid = lab_server(node2, "pod7", NULL, 8080);

    put_service(&fake, &s);
    put_endpoints_on(&fake, &s, ips + 1, nodes + 1, 1);
    settle();
    assert_int_equal(lab_ask(outside, "192.0.2.1", 30070, text), 0);
    assert_string_equal(text, "pod7 198.51.100.1");
    assert_int_equal(lab_ask(outside, "203.0.113.70", 80, text), 0);
    assert_string_equal(text, "pod7 198.51.100.1");
    assert_int_equal(lab_ask(pod_ns[1], s.ip, 80, text), 0);
    assert_string_equal(strchr(text, ' ') + 1, pod_ip[1]);
    assert_int_equal(lab_ask(pod_ns[1], "203.0.113.70", 80, text), 0);
    assert_string_equal(strchr(text, ' ') + 1, pod_ip[1]);
    assert_int_equal(lab_ask(NULL, s.ip, 80, text), 0);

    /* Local: outside finds nobody while all endpoints are elsewhere, inside finds them all. */
    s.local = true;
    put_service(&fake, &s);
    settle();
    assert_int_equal(refused(outside, "192.0.2.1", 30070), -ETIMEDOUT);
    assert_int_equal(who(pod_ns[1], "192.0.2.1", 30070, 3), 1 << 7);
    assert_int_equal(who(NULL, "192.0.2.1", 30070, 3), 1 << 7);
    put_endpoints_on(&fake, &s, ips, nodes, 2);
    settle();
    assert_int_equal(who(outside, "192.0.2.1", 30070, 10), 1);
    assert_int_equal(who(outside, "203.0.113.70", 80, 10), 1);
    assert_int_equal(lab_ask(outside, "192.0.2.1", 30070, text), 0);
    assert_string_equal(text, "pod0 192.0.2.2");
    assert_int_equal(who(pod_ns[1], "192.0.2.1", 30070, 40), 1 | 1 << 7);
    assert_int_equal(who(NULL, "192.0.2.1", 30070, 40), 1 | 1 << 7);
    /* With affinity the two kinds of clients are remembered apart. */
    s.affinity_s = 60;
    put_service(&fake, &s);
    settle();
    assert_int_equal(who(outside, "192.0.2.1", 30070, 10), 1);
    assert_int_equal(__builtin_popcount(who(pod_ns[1], "192.0.2.1", 30070, 10)), 1);
    s.affinity_s = 0;
    /* No endpoint at all: told so at once. */
    put_service(&fake, &s);
    put_endpoints(&fake, &s, NULL, 0);
    settle();
    assert_int_equal(refused(outside, "192.0.2.1", 30070), -ECONNREFUSED);
    assert_int_equal(refused(pod_ns[1], "203.0.113.70", 80), -ECONNREFUSED);
    put(&fake, schema_kinds[KIND_SERVICE], STR("far"), NULL);
    settle();
    lab_kill(pid);
}

static void put_node(const char *const *addresses, size_t n)
{
    struct api_node_address v[4] = {0};
    struct api_node node = {.metadata = {.name = STR("n1")}};
    for (size_t i = 0; i < n; i++)
        v[i] = (struct api_node_address){.type = STR("InternalIP"), .address = str_z(addresses[i])};
    node.status.addresses = v;
    node.status.n_addresses = (uint32_t)n;
    put(&fake, schema_kinds[KIND_NODE], STR("n1"), &node);
}

static void test_load_balancer(void **state)
{
    NEED_LAB();
    struct svc_spec s = {.name = "lb",
                         .ip = "10.96.0.71",
                         .protocol = "TCP",
                         .port = 8071,
                         .target = 8080,
                         .balancer = "192.0.2.1",
                         .range = "192.0.2.0/30"};
    put_node((const char *[]){"192.0.2.1"}, 1);
    put_service(&fake, &s);
    put_web(&s, 3);
    assert_int_equal(who(outside, "192.0.2.1", 8071, 20), 3);
    s.range = "192.0.2.64/26";
    put_service(&fake, &s);
    settle();
    assert_int_equal(refused(outside, "192.0.2.1", 8071), -ETIMEDOUT);
    assert_int_equal(who(outside, "192.0.2.1", 30080, 3) != 0, 1); /* others are not concerned */
    s.range = NULL;
    put_service(&fake, &s);
    settle();
    assert_int_equal(who(outside, "192.0.2.1", 8071, 20), 3);
    /* The node has another address: it serves there, too. */
    assert_int_equal(refused(outside, "198.51.100.1", 8071), -ECONNREFUSED);
    put_node((const char *[]){"192.0.2.1", "198.51.100.1"}, 2);
    settle();
    assert_int_equal(who(outside, "198.51.100.1", 8071, 20), 3);
    put_node((const char *[]){"192.0.2.1"}, 1);
    settle();
    assert_int_equal(refused(outside, "198.51.100.1", 8071), -ECONNREFUSED);
    put(&fake, schema_kinds[KIND_SERVICE], STR("lb"), NULL);
    settle();
    assert_int_equal(refused(outside, "192.0.2.1", 8071), -ECONNREFUSED);
}

static void test_health_check(void **state)
{
    NEED_LAB();
    struct svc_spec s = {.name = "hc",
                         .ip = "10.96.0.72",
                         .protocol = "TCP",
                         .port = 80,
                         .target = 8080,
                         .local = true,
                         .health = 30972};
    put_service(&fake, &s);
    put_endpoints_on(&fake, &s, (const char *[]){pod_ip[0]}, (const char *[]){"n1"}, 1);
    settle();
    char text[512] = "";
    assert_int_equal(ask_http(30972, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "HTTP/1.1 200"));
    assert_non_null(strstr(text, "{\"service\":{\"namespace\":\"default\",\"name\":\"hc\"},"
                                 "\"localEndpoints\":1,"));
    put_endpoints_on(&fake, &s, (const char *[]){pod_ip[0]}, (const char *[]){"n2"}, 1);
    settle();
    assert_int_equal(ask_http(30972, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "HTTP/1.1 503"));
    put(&fake, schema_kinds[KIND_SERVICE], STR("hc"), NULL);
    settle();
    assert_int_equal(refused(NULL, "127.0.0.1", 30972), -ECONNREFUSED);
}

/* Frames to that address go to nobody, and nobody says so. Without a route the kernel would:
 * whether a connection that is being made fails of it depends on who gets the processor first. */
static void silence(const char *ip)
{
    static const uint8_t mac[6] = {0x0a, 0, 0, 0, 0, 0x77};
    struct nl *nl = NULL;
    struct nl_link l;
    struct nl_route r = {.dst.bits = 32, .link_scope = true};
    neighbour(lab_netns("quiet"), "quiet", "198.51.100.129/30", "198.51.100.130/30");
    assert_int_equal(ip_parse(str_z(ip), &r.dst.addr), 0);
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_link_get(nl, "quiet", &l), 0);
    r.index = l.index;
    assert_int_equal(nl_route_add(nl, &r), 0);
    assert_int_equal(nl_neigh_set(nl, l.index, &r.dst.addr, mac, false), 0);
    nl_close(nl);
}

/* A connection whose endpoint died before it answered is taken up by another one. */
static void test_unanswered_follow(void **state)
{
    NEED_LAB();
    const struct svc_spec s = {"dying", "10.96.0.54", "TCP", 80, 0, 8080, 0, NULL};
    const char *dead[] = {"10.77.2.77"}; /* another node's */
    char text[128];
    silence(dead[0]);
    put_service(&fake, &s);
    put_endpoints(&fake, &s, dead, 1);
    settle();
    CLEANUP(fd_closep) int fd = lab_tcp_start(pod_ns[2], s.ip, 80);
    put_web(&s, 1);
    assert_int_equal(lab_tcp_finish(fd, text), 0);
    assert_memory_equal(text, "pod0", 4);
    /* Also when the change comes while the agent is away. */
    put_endpoints(&fake, &s, dead, 1);
    settle();
    CLEANUP(fd_closep) int late = lab_tcp_start(pod_ns[2], s.ip, 80);
    stop();
    put_endpoints(&fake, &s, (const char *[]){pod_ip[1]}, 1);
    start();
    assert_int_equal(lab_tcp_finish(late, text), 0);
    assert_memory_equal(text, "pod1", 4);
    put(&fake, schema_kinds[KIND_SERVICE], STR("dying"), NULL);
}

/* A socket that asked a NodePort before the Service had an endpoint, and one that asked before
 * there was a Service: neither stays with nobody. */
static void test_udp_first_endpoint(void **state)
{
    NEED_LAB();
    const struct svc_spec s = {"udp1", "10.96.0.73", "UDP", 53, 30073, 8080, 0, NULL};
    char text[128];
    CLEANUP(fd_closep) int early = lab_udp_open(outside, "192.0.2.1", 30073);
    assert_true(lab_udp_ask(early, text) < 0);
    put_service(&fake, &s);
    settle();
    CLEANUP(fd_closep) int late = lab_udp_open(outside, "192.0.2.1", 30073);
    assert_true(lab_udp_ask(late, text) < 0);
    put_web(&s, 4);
    assert_int_equal(lab_udp_ask(early, text), 0);
    assert_memory_equal(text, "pod2", 4);
    assert_int_equal(lab_udp_ask(late, text), 0);
    assert_memory_equal(text, "pod2", 4);
    put(&fake, schema_kinds[KIND_SERVICE], STR("udp1"), NULL);
    settle();
}

/* Somebody took elements away and put others in: the next failure, or the next start, finds out. */
static void test_matching(void **state)
{
    NEED_LAB();
    char *command = xasprintf("flush map ip davit-%s svc\n"
                              "add element ip davit-%s hairpin { 1.2.3.4 . 1.2.3.4 }\n"
                              "add element ip davit-%s svc_ep { 10.96.0.99 . tcp . 80 . da00:0 : "
                              "1.2.3.4 . 80 }\n",
                              net_id(net), net_id(net), net_id(net));
    char *out = NULL;
    assert_int_equal(nft_run(command, NULL), 0);
    free(command);
    assert_true(refused(NULL, "10.96.0.110", 80) < 0);
    stop();
    start();
    assert_int_equal(who(NULL, "10.96.0.110", 80, 40), 7);
    command = xasprintf("list table ip davit-%s", net_id(net));
    assert_int_equal(nft_query(command, false, &out, NULL), 0);
    assert_null(strstr(out, "1.2.3.4"));
    assert_null(strstr(out, "hold_in"));
    assert_non_null(strstr(out, "chain shape-"));
    free(command);
    free(out);
}

static void test_pool_runs_out_and_recovers(void **state)
{
    NEED_LAB();
    char ip[64];
    unsigned have = 0;
    const char *ns = lab_netns("many");
    /* Only addresses are taken here: the namespace holds one pod's link at a time. */
    for (unsigned i = 0; i < 300; i++) {
        char uid[32];
        snprintf(uid, sizeof(uid), "many-%u", i);
        if (attach(uid, ns, NULL, 0, ip) < 0)
            break;
        have++;
    }
    assert_int_equal(have, 253 - PODS);
    assert_non_null(strstr(why.message.p, "no pod address left"));
    for (unsigned i = 0; i < have; i++) {
        char uid[32];
        snprintf(uid, sizeof(uid), "many-%u", i);
        detach(uid);
    }
    assert_int_equal(attach("many-0", ns, NULL, 0, ip), 0);
    detach("many-0");
}

#define MANY 20

static void count_attached(void *arg, const struct node_net_attached *a)
{
    assert_int_equal(a->r, 0);
    ++*(int *)arg;
}

static void count_detached(void *arg, int r, const struct error *err)
{
    assert_int_equal(r, 0);
    ++*(int *)arg;
}

static bool all_done(void *arg)
{
    return *(int *)arg == 3 * MANY;
}

/* Attach, detach, attach of the same pods without waiting: in order for each, side by side for all.
 */
static void test_many_at_once(void **state)
{
    NEED_LAB();
    int done = 0;
    char uid[MANY][16], text[128];
    const char *ns[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(uid[i], sizeof(uid[i]), "par-%d", i);
        ns[i] = lab_netns(uid[i]);
        struct node_net_pod pod = {.uid = str_z(uid[i]), .netns_path = ns[i]};
        net_node_ops.pod_attach(net, &pod, count_attached, &done);
        net_node_ops.pod_detach(net, pod.uid, count_detached, &done);
        net_node_ops.pod_attach(net, &pod, count_attached, &done);
    }
    assert_true(rt_run_until(rt, all_done, &done, 20 * NSEC_PER_SEC));
    settle();
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(lab_ask(ns[i], pod_ip[0], 8080, text), 0);
        detach(uid[i]);
    }
}

static void test_table_deleted_by_somebody(void **state)
{
    NEED_LAB();
    char *command = xasprintf("delete table ip davit-%s", net_id(net));
    assert_int_equal(nft_run(command, NULL), 0);
    put_web(&web, 3); /* a change is what notices it */
    assert_int_equal(who(NULL, "10.96.0.110", 80, 30), 3);
    put_web(&web, 7);
    free(command);
}

static void test_thousand_services(void **state)
{
    NEED_LAB();
    struct svc_spec s = {.protocol = "TCP", .port = 80, .target = 8080};
    char name[32], ip[32];
    nsec_t before = rt_now(rt);
    s.name = name;
    s.ip = ip;
    for (int i = 0; i < 1000; i++) {
        const char *ips[] = {pod_ip[i % PODS], pod_ip[(i + 1) % PODS]};
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(ip, sizeof(ip), "10.96.%d.%d", 100 + i / 250, 1 + i % 250);
        put_service(&fake, &s);
        put_endpoints(&fake, &s, ips, 2);
    }
    settle();
    print_message("1,000 services programmed in %lld ms\n",
                  (long long)((rt_now(rt) - before) / NSEC_PER_MSEC));
    assert_int_equal(who(pod_ns[0], "10.96.103.250", 80, 20), 1 << 0 | 1 << 1);
    before = rt_now(rt);
    put_web(&s, 4); /* the last one */
    print_message("one more change in %lld us\n",
                  (long long)((rt_now(rt) - before) / NSEC_PER_USEC));
    assert_int_equal(who(pod_ns[0], "10.96.103.250", 80, 5), 4);
    stop();
    before = rt_now(rt);
    start();
    print_message("resync in %lld ms\n", (long long)((rt_now(rt) - before) / NSEC_PER_MSEC));
    assert_int_equal(who(pod_ns[0], "10.96.103.250", 80, 5), 4);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        put(&fake, schema_kinds[KIND_SERVICE], str_z(name), NULL);
    }
    settle();
    assert_int_equal(refused(pod_ns[0], "10.96.103.250", 80), -ECONNREFUSED);
}

static void count_ours(void *arg, const struct nl_link *l)
{
    if (strncmp(l->name, "dv", 2) == 0 || strncmp(l->name, "davit-", 6) == 0)
        ++*(unsigned *)arg;
}

/* Another instance on this machine, that starts later, with the same ranges of Services and of the
 * cluster, and a Service of its own at the same address: the pods of each get what is theirs. */
static void test_another_instance(void **state)
{
    NEED_LAB();
    struct svc_spec s = {"twin", "10.96.0.88", "TCP", 80, 0, 8080, 0, NULL};
    struct fake their_fake = {.base = {&fake_ops, rt}, .rev = 1};
    struct net *ours = net;
    char their_dir[] = "/tmp/davit-test-net-XXXXXX", their_ip[64], text[128];
    const char *theirs = lab_netns("theirs"), *ips[] = {their_ip};
    assert_non_null(mkdtemp(their_dir));
    put_service(&fake, &s);
    put_web(&s, 1);
    struct net_opts o = {.rt = rt,
                         .client = &their_fake.base,
                         .data_dir = their_dir,
                         .node_name = "m1",
                         .pod_cidr = "10.77.9.0/24",
                         .cluster_cidr = "10.77.0.0/16"};
    if (net_new(&o, &net, &why) < 0 || net_start(net, &why) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
    settle();
    if (attach("uid-theirs", theirs, NULL, 0, their_ip) < 0)
        fail_msg("%.*s", STR_ARG(why.message));
    pid_t pid = lab_server(theirs, "pod7", NULL, 8080);
    put_service(&their_fake, &s);
    put_endpoints(&their_fake, &s, ips, 1);
    settle();
    assert_int_equal(lab_ask(pod_ns[1], s.ip, 80, text), 0);
    assert_memory_equal(text, "pod0", 4);
    assert_int_equal(lab_ask(theirs, s.ip, 80, text), 0);
    assert_memory_equal(text, "pod7", 4);
    lab_kill(pid);
    stop();
    assert_int_equal(net_purge(their_dir, &why), 0);
    fake_fini(&their_fake);
    (void)sys_remove_tree(-1, their_dir);
    net = ours;
    put(&fake, schema_kinds[KIND_SERVICE], STR("twin"), NULL);
    settle();
}

static void test_purge(void **state)
{
    NEED_LAB();
    struct nl *nl = NULL;
    unsigned left = 0;
    char value[SYSCTL_VALUE_MAX], *out = NULL;
    stop();
    assert_int_equal(net_purge(dir, &why), 0);
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_link_list(nl, count_ours, &left), 0);
    assert_int_equal(left, 0);
    assert_int_equal(nft_query("list ruleset", false, &out, NULL), 0);
    assert_string_equal(out, "");
    assert_int_equal(sysctl_get("net/ipv4/ip_forward", value), 0);
    assert_string_equal(value, "0");
    assert_int_equal(net_purge(dir, &why), 0);
    free(out);
    nl_close(nl);
}

/* Whoever stops while flows are deleted frees the sweep when that is over. */
static void test_stop_while_flows_are_deleted(void **state)
{
    bool ended = false;
    struct net_sweep s;
    struct net_flows f = {
        .gone = xcalloc(1, sizeof(struct net_flow_gone)), .n_gone = 1, .udp = true};

    f.gone[0].front = (struct net_front){.proto = IPPROTO_UDP, .ip = 0xc0000201, .port = 53};
    net_sweep_init(&s, rt, set_flag, &ended);
    net_sweep_add(&s, &f);
    assert_true(s.busy);
    net_sweep_stop(&s);
    assert_true(rt_run_until(rt, flag_set, &ended, 60 * NSEC_PER_SEC));
    assert_true(net_sweep_idle(&s));
    assert_false(rt_timer_active(&s.pause));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods_reach_each_other),
        cmocka_unit_test(test_cluster_ip),
        cmocka_unit_test(test_without_bridge_netfilter),
        cmocka_unit_test(test_node_port),
        cmocka_unit_test(test_affinity),
        cmocka_unit_test(test_udp_follows),
        cmocka_unit_test(test_unanswered_follow),
        cmocka_unit_test(test_host_port),
        cmocka_unit_test(test_api_on_loopback),
        cmocka_unit_test(test_egress_is_masqueraded),
        cmocka_unit_test(test_two_nodes),
        cmocka_unit_test(test_load_balancer),
        cmocka_unit_test(test_health_check),
        cmocka_unit_test(test_udp_first_endpoint),
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_table_deleted_by_somebody),
        cmocka_unit_test(test_thousand_services),
        cmocka_unit_test(test_pool_runs_out_and_recovers),
        cmocka_unit_test(test_another_instance),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_stop_while_flows_are_deleted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
