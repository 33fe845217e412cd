/* The whole of net against the kernel, with real traffic, on a host of its own (see netlab.h):
 * pods, Services by ClusterIP and NodePort, endpoint changes, affinity, hairpin, refusal, host
 * ports, restart, a thousand services, purge. Services come through a client whose lists and
 * watches the test makes up. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/object.h"
#include "base/mem.h"
#include "client/client.h"
#include "net/net.h"
#include "netlab.h"
#include "rt/rt.h"
#include "sys/fs.h"
#include "sys/netlink.h"
#include "sys/nft.h"
#include "sys/sysctls.h"
#include "test.h"

/* ---- a client that lists what the test put in and streams what it changes ---- */

struct fake_list {
    struct object **v;
    size_t n, cap;
    client_watch_fn fn;
    void *fn_arg;
};

struct fake {
    struct client base;
    struct fake_list services, slices, none;
    rev_t rev;
};

struct fake_call {
    struct rt_task task;
    struct fake_list *l;
    rev_t rev;
    client_done_fn done;
    void *arg;
};

static struct fake_list *list_of(struct fake *f, const struct schema_kind *k)
{
    if (k == schema_kinds[KIND_NETWORK_POLICY])
        return &f->none;
    return k == schema_kinds[KIND_SERVICE] ? &f->services : &f->slices;
}

static void answer(void *arg)
{
    struct fake_call *c = arg;
    struct client_reply reply = {.items = c->l->v, .n_items = c->l->n, .rev = c->rev};
    c->done(c->arg, &reply);
    free(c);
}

static void fake_call(struct client *c, const struct client_request *req, client_done_fn done,
                      void *arg)
{
    struct fake *f = CONTAINER_OF(c, struct fake, base);
    struct fake_call *call = NEW(struct fake_call);
    *call = (struct fake_call){.l = list_of(f, req->kind), .rev = f->rev, .done = done, .arg = arg};
    assert_int_equal(req->verb, CLIENT_LIST);
    rt_task_init(&call->task, c->rt, answer, call);
    rt_task_schedule(&call->task);
}

static struct client_watch *fake_watch_start(struct client *c, const struct client_watch_opts *o,
                                             client_watch_fn fn, void *arg)
{
    struct fake_list *l = list_of(CONTAINER_OF(c, struct fake, base), o->kind);
    l->fn = fn;
    l->fn_arg = arg;
    return (struct client_watch *)l;
}

static void fake_watch_stop(struct client *c, struct client_watch *w)
{
    ((struct fake_list *)w)->fn = NULL;
}

static const struct client_ops fake_ops = {fake_call, fake_watch_start, fake_watch_stop, NULL};

static void fake_fini(struct fake *f)
{
    struct fake_list *const both[] = {&f->services, &f->slices};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < both[i]->n; j++)
            object_unref(both[i]->v[j]);
        free(both[i]->v);
    }
}

/* msg NULL: deletes it. */
static void put(struct fake *f, const struct schema_kind *k, struct str name, const void *msg)
{
    struct fake_list *l = list_of(f, k);
    size_t i = 0;
    while (i < l->n && !str_eq(object_name(l->v[i]), name))
        i++;
    struct object *o = msg ? object_new(k, msg, ++f->rev) : object_ref(l->v[i]);
    struct client_event e = {.type = !msg       ? CLIENT_EVENT_DELETED
                                     : i < l->n ? CLIENT_EVENT_MODIFIED
                                                : CLIENT_EVENT_ADDED,
                             .object = o,
                             .rev = msg ? f->rev : ++f->rev};
    if (l->fn)
        l->fn(l->fn_arg, &e, 1);
    if (i < l->n)
        object_unref(l->v[i]);
    if (!msg) {
        l->v[i] = l->v[--l->n];
        object_unref(o);
    } else if (i < l->n) {
        l->v[i] = o;
    } else {
        ARRAY_RESERVE(l->v, l->n, l->cap);
        l->v[l->n++] = o;
    }
}

struct svc_spec {
    const char *name, *ip, *protocol;
    uint16_t port, node_port, target;
    uint32_t affinity_s;
    const char *ns;
};

static void put_service(struct fake *f, const struct svc_spec *s)
{
    struct api_service_port port = {
        .protocol = str_z(s->protocol), .port = s->port, .node_port = s->node_port};
    struct api_client_ip_config client_ip = {.has_timeout_seconds = true,
                                             .timeout_seconds = (int32_t)s->affinity_s};
    struct api_session_affinity_config affinity = {.client_ip = &client_ip};
    struct api_service svc = {
        .metadata = {.name = str_z(s->name), .namespace = STR("default")},
        .spec = {.cluster_ip = str_z(s->ip), .ports = &port, .n_ports = 1},
    };
    if (s->affinity_s) {
        svc.spec.session_affinity = STR("ClientIP");
        svc.spec.session_affinity_config = &affinity;
    }
    put(f, schema_kinds[KIND_SERVICE], svc.metadata.name, &svc);
}

static void put_endpoints(struct fake *f, const struct svc_spec *s, const char *const *ips,
                          size_t n)
{
    struct str addresses[16];
    struct api_endpoint eps[16] = {0};
    char slice_name[64];
    snprintf(slice_name, sizeof(slice_name), "%s-x", s->name);
    for (size_t i = 0; i < n; i++) {
        addresses[i] = str_z(ips[i]);
        eps[i] = (struct api_endpoint){.addresses = &addresses[i],
                                       .n_addresses = 1,
                                       .conditions = {.has_ready = true, .ready = true}};
    }
    struct kv_str label = {STR("kubernetes.io/service-name"), str_z(s->name)};
    struct api_discovery_endpoint_port port = {
        .protocol = str_z(s->protocol), .has_port = true, .port = s->target};
    struct api_endpoint_slice slice = {
        .metadata = {.name = str_z(slice_name),
                     .namespace = STR("default"),
                     .labels = &label,
                     .n_labels = 1},
        .address_type = STR("IPv4"),
        .endpoints = eps,
        .n_endpoints = (uint32_t)n,
        .ports = &port,
        .n_ports = 1,
    };
    put(f, schema_kinds[KIND_ENDPOINT_SLICE], slice.metadata.name, &slice);
}

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
    return net_rules_settled(net);
}

static void settle(void)
{
    assert_true(rt_run_until(rt, settled, NULL, 20 * NSEC_PER_SEC));
}

static void start(void)
{
    struct net_opts o = {.rt = rt, .client = &fake.base, .data_dir = dir, .node_name = "n1"};
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
    assert_true(rt_run_until(rt, flag_set, &done, 10 * NSEC_PER_SEC));
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
    assert_true(rt_run_until(rt, flag_set, &a.done, 5 * NSEC_PER_SEC));
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
    assert_true(rt_run_until(rt, flag_set, &done, 5 * NSEC_PER_SEC));
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

static const struct svc_spec web = {"web", "10.96.0.10", "TCP", 80, 30080, 8080, 0, NULL};

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
    assert_int_equal(refused(pod_ns[0], "10.96.0.10", 80), -ECONNREFUSED);
    assert_int_equal(refused(NULL, "10.96.0.10", 80), -ECONNREFUSED);
    put_web(&web, 7);
    assert_int_equal(who(NULL, "10.96.0.10", 80, 40), 7);
    for (int i = 0; i < PODS; i++) /* among them to itself: hairpin */
        assert_int_equal(who(pod_ns[i], "10.96.0.10", 80, 40), 7);
    put_web(&web, 5);
    assert_int_equal(who(pod_ns[1], "10.96.0.10", 80, 20), 5);
    put_web(&web, 2);
    assert_int_equal(who(pod_ns[1], "10.96.0.10", 80, 5), 2);
    assert_int_equal(refused(pod_ns[0], "10.96.0.10", 81), -ECONNREFUSED);
    assert_int_equal(refused(pod_ns[0], "10.96.77.77", 80), -ECONNREFUSED);
    put_web(&web, 0);
    assert_int_equal(refused(pod_ns[0], "10.96.0.10", 80), -ECONNREFUSED);
    put_web(&web, 7);
    assert_int_equal(who(NULL, "10.96.0.10", 80, 40), 7);
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
        assert_int_equal(who(pod_ns[i], "10.96.0.10", 80, 40), 7);
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
    assert_int_equal(who(NULL, "10.96.0.10", 80, 40), 7);
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

static void test_egress_is_masqueraded(void **state)
{
    NEED_LAB();
    struct nl *nl = NULL, *out = NULL;
    struct nl_link l;
    char text[128];
    const char *ns = lab_netns("outside");
    CLEANUP(fd_closep) int fd = open(ns, O_RDONLY | O_CLOEXEC);
    struct ip_prefix a, b;
    assert_int_equal(ip_prefix_parse(STR("192.0.2.1/24"), &a), 0);
    assert_int_equal(ip_prefix_parse(STR("192.0.2.2/24"), &b), 0);
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_open(fd, &out), 0);
    assert_int_equal(nl_link_add_veth(nl, "up0", 0, "up0", fd, NULL), 0);
    assert_int_equal(nl_link_get(nl, "up0", &l), 0);
    assert_int_equal(nl_addr_add(nl, l.index, &a), 0);
    assert_int_equal(nl_link_set(nl, l.index, &(struct nl_link_change){.up = true}), 0);
    assert_int_equal(nl_link_get(out, "up0", &l), 0);
    assert_int_equal(nl_addr_add(out, l.index, &b), 0);
    assert_int_equal(nl_link_set(out, l.index, &(struct nl_link_change){.up = true}), 0);
    pid_t pid = lab_server(ns, "out", NULL, 8080);
    assert_int_equal(lab_ask(pod_ns[0], "192.0.2.2", 8080, text), 0);
    assert_string_equal(text, "out 192.0.2.1");
    /* From outside: NodePort, the client's address is kept; loopback of the node stays closed. */
    assert_int_equal(who(ns, "192.0.2.1", 30080, 20), 7);
    lab_kill(pid);
    nl_close(nl);
    nl_close(out);
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
    struct nft *nft = nft_new();
    char *command = xasprintf("delete table ip davit-%s", net_id(net));
    assert_int_equal(nft_run(nft, command, NULL), 0);
    put_web(&web, 3); /* a change is what notices it */
    assert_int_equal(who(NULL, "10.96.0.10", 80, 30), 3);
    put_web(&web, 7);
    free(command);
    nft_free(nft);
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

static void test_purge(void **state)
{
    NEED_LAB();
    struct nl *nl = NULL;
    unsigned left = 0;
    char value[SYSCTL_VALUE_MAX], *out = NULL;
    struct nft *nft = nft_new();
    stop();
    assert_int_equal(net_purge(dir, &why), 0);
    assert_int_equal(nl_open(-1, &nl), 0);
    assert_int_equal(nl_link_list(nl, count_ours, &left), 0);
    assert_int_equal(left, 0);
    assert_int_equal(nft_query(nft, "list ruleset", false, &out, NULL), 0);
    assert_string_equal(out, "");
    assert_int_equal(sysctl_get("net/ipv4/ip_forward", value), 0);
    assert_string_equal(value, "0");
    assert_int_equal(net_purge(dir, &why), 0);
    free(out);
    nft_free(nft);
    nl_close(nl);
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
        cmocka_unit_test(test_host_port),
        cmocka_unit_test(test_api_on_loopback),
        cmocka_unit_test(test_egress_is_masqueraded),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_table_deleted_by_somebody),
        cmocka_unit_test(test_thousand_services),
        cmocka_unit_test(test_pool_runs_out_and_recovers),
        cmocka_unit_test(test_purge),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
