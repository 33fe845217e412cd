/* Putting the parts together: life of struct net, and the node's table of functions. */
#include "net/net.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/net_internal.h"
#include "sys/fs.h"

#define MTU_DEFAULT 1500

static char *dup_or(const char *s, const char *otherwise)
{
    return s || otherwise ? xstrdup(s ? s : otherwise) : NULL;
}

static int check_cidr(const char *what, const char *text, struct error *err)
{
    struct ip_prefix p;
    if (ip_prefix_parse(str_z(text), &p) < 0 || p.addr.family != AF_INET)
        return error_set(err, REASON_BAD_REQUEST, "net: %s \"%s\" is no IPv4 range", what, text);
    return 0;
}

int net_new(const struct net_opts *o, struct net **ret, struct error *err)
{
    struct net *n = NEW(struct net);
    n->rt = o->rt;
    n->client = o->client;
    n->dir = xasprintf("%s/net", o->data_dir);
    n->node_name = dup_or(o->node_name, "");
    n->service_cidr = dup_or(o->service_cidr, "10.96.0.0/16");
    n->cluster_domain = dup_or(o->cluster_domain, "cluster.local");
    n->dns_address = dup_or(o->dns_address, NULL);
    n->mtu = o->mtu;
    n->dirfd = -1;
    int r = sys_mkdir_all(n->dir, 0700);
    if (r == 0)
        n->dirfd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n->dirfd < 0)
        r = error_errno(err, r < 0 ? -r : errno, "net: %s", n->dir);
    if (r == 0)
        r = config_load(n, o->data_dir, o->pod_cidr, err);
    if (r == 0) {
        n->cluster_cidr = dup_or(o->cluster_cidr, n->config.pod_cidr);
        r = check_cidr("cluster range", n->cluster_cidr, err);
    }
    if (r == 0)
        r = check_cidr("service range", n->service_cidr, err);
    if (r == 0)
        r = pool_open(&n->pool, n->dirfd, &n->config.range, err);
    if (r < 0) {
        net_free(n);
        return r;
    }
    struct ip_addr gw = ip4_from_number(n->pool.gateway);
    ip_format(&gw, n->gateway);
    n->rules = net_rules_new(&(struct net_rules_env){
        .table = n->config.table,
        .bridge = n->config.bridge,
        .pod_cidr = n->config.pod_cidr,
        .cluster_cidr = n->cluster_cidr,
        .service_cidr = n->service_cidr,
    });
    *ret = n;
    return 0;
}

struct net *net_free(struct net *n)
{
    if (!n)
        return NULL;
    ASSERT(!n->busy && (!n->started || n->stopping));
    nl_close(n->nl);
    nft_free(n->nft);
    net_rules_free(n->rules);
    pool_close(&n->pool);
    buf_fini(&n->sent);
    error_fini(&n->sent_err);
    map_fini(&n->dirty);
    if (n->dirfd >= 0)
        close(n->dirfd);
    free(n->dir);
    free(n->node_name);
    free(n->cluster_cidr);
    free(n->service_cidr);
    free(n->cluster_domain);
    free(n->dns_address);
    free(n);
    return NULL;
}

struct mtu_search {
    int index;
    unsigned mtu;
};

static void mtu_match(void *arg, const struct nl_link *l)
{
    struct mtu_search *m = arg;
    if (l->index == m->index)
        m->mtu = l->mtu;
}

/* Pods must not send what the way out cannot carry. */
static unsigned default_mtu(struct net *n)
{
    struct ip_addr far = {.family = AF_INET, .b = {192, 0, 2, 1}}, src;
    struct mtu_search m = {0};
    if (nl_route_lookup(n->nl, &far, &m.index, &src) < 0 || nl_link_list(n->nl, mtu_match, &m) < 0)
        return MTU_DEFAULT;
    return m.mtu >= 576 && m.mtu <= 9216 ? m.mtu : MTU_DEFAULT;
}

int net_start(struct net *n, struct error *err)
{
    ASSERT(!n->started);
    int r = nl_open(-1, &n->nl);
    if (r < 0)
        return error_errno(err, -r, "net: netlink");
    if (!n->mtu)
        n->mtu = default_mtu(n);
    r = host_sysctl_set("net/ipv4/ip_forward", "1", err);
    if (r == 0)
        r = bridge_make(n, err);
    if (r < 0)
        return r;
    services_start(n);
    n->started = true;
    return 0;
}

static void say_stopped(void *arg)
{
    struct net *n = arg;
    n->stopped(n->stopped_arg);
}

void net_stop(struct net *n, void (*stopped)(void *arg), void *arg)
{
    ASSERT(!n->stopping);
    n->stopping = true;
    n->stopped = stopped;
    n->stopped_arg = arg;
    if (n->started)
        services_stop(n);
    if (n->busy)
        return; /* work_done says it */
    rt_task_init(&n->flush, n->rt, say_stopped, n);
    rt_task_schedule(&n->flush);
}

const char *net_id(const struct net *n)
{
    return n->config.id;
}

const char *net_bridge(const struct net *n)
{
    return n->config.bridge;
}

const char *net_pod_cidr(const struct net *n)
{
    return n->config.pod_cidr;
}

const char *net_gateway(const struct net *n)
{
    return n->gateway;
}

bool net_rules_settled(const struct net *n)
{
    bool synced =
        !n->services || (client_cache_synced(n->services) && client_cache_synced(n->slices));
    return n->started && n->table_made && synced && !n->busy && !n->full_needed &&
           !n->batch.changes && !n->dirty.n;
}

void net_dump(const struct net *n, struct buf *out)
{
    buf_printf(
        out, "net %s bridge %s range %s leases %zu transactions %llu failures %u dirty %zu%s\n",
        n->config.id, n->config.bridge, n->config.pod_cidr, n->pool.leases.n,
        (unsigned long long)n->transactions, n->failures, n->dirty.n, n->busy ? " busy" : "");
    net_rules_dump(n->rules, out);
}

/* ---- the node's functions ---- */

/* Answers come from the loop, never from inside the call. */
struct answer {
    struct rt_task task;
    struct error err;
    int r;
    char ip[IP_TEXT_MAX];
    node_net_attached_fn attached;
    node_net_done_fn done;
    void *arg;
};

static void answer_run(void *p)
{
    struct answer *a = p;
    if (a->attached) {
        struct node_net_attached res = {.r = a->r, .err = a->r < 0 ? &a->err : NULL};
        if (a->r == 0) {
            res.ips[0] = str_z(a->ip);
            res.n_ips = 1;
        }
        a->attached(a->arg, &res);
    } else {
        a->done(a->arg, a->r, a->r < 0 ? &a->err : NULL);
    }
    error_fini(&a->err);
    free(a);
}

static struct answer *answer_new(struct net *n, void *arg)
{
    struct answer *a = NEW(struct answer);
    a->arg = arg;
    rt_task_init(&a->task, n->rt, answer_run, a);
    rt_task_schedule(&a->task);
    return a;
}

static int take_ports(const struct node_net_pod *pod, struct net_host_port *out, struct error *err)
{
    static const uint8_t protos[] = {
        [NODE_NET_TCP] = 6, [NODE_NET_UDP] = 17, [NODE_NET_SCTP] = 132};
    for (size_t i = 0; i < pod->n_ports; i++) {
        const struct node_net_port *p = &pod->ports[i];
        struct ip_addr host = {.family = AF_INET};
        if (p->host_ip.n && (ip_parse(p->host_ip, &host) < 0 || host.family != AF_INET))
            return error_set(err, REASON_INVALID, "net: host address \"%.*s\" is no IPv4 address",
                             STR_ARG(p->host_ip));
        if (!p->host_port || !p->container_port || p->protocol >= ARRAY_LEN(protos))
            return error_set(err, REASON_INVALID, "net: a host port is not valid");
        out[i] = (struct net_host_port){.host_ip = ip4_number(&host),
                                        .host_port = p->host_port,
                                        .pod_port = p->container_port,
                                        .proto = protos[p->protocol]};
    }
    return 0;
}

static int do_attach(struct net *n, const struct node_net_pod *pod, char ip[IP_TEXT_MAX],
                     struct error *err)
{
    struct net_host_port ports[LEASE_PORTS_MAX];
    struct lease *l = NULL;
    if (!n->started || n->stopping)
        return error_set(err, REASON_UNAVAILABLE, "net: not running");
    if (pod->n_ports > LEASE_PORTS_MAX)
        return error_set(err, REASON_INVALID, "net: more than %d host ports", LEASE_PORTS_MAX);
    int r = take_ports(pod, ports, err);
    if (r == 0)
        r = pool_take(&n->pool, pod->uid, ports, pod->n_ports, &l, err);
    if (r == 0)
        r = attach_pod(n, l, pod->netns_path, err);
    if (r < 0)
        return r;
    services_pod_changed(n, pod->uid, l->ip, l->ports, l->n_ports);
    struct ip_addr a = ip4_from_number(l->ip);
    ip_format(&a, ip);
    return 0;
}

static void op_attach(void *net, const struct node_net_pod *pod, node_net_attached_fn done,
                      void *arg)
{
    struct answer *a = answer_new(net, arg);
    a->attached = done;
    a->r = do_attach(net, pod, a->ip, &a->err);
}

static void op_detach(void *net, struct str uid, node_net_done_fn done, void *arg)
{
    struct net *n = net;
    struct answer *a = answer_new(n, arg);
    a->done = done;
    const struct lease *l = pool_get(&n->pool, uid);
    if (!n->started || n->stopping) {
        a->r = error_set(&a->err, REASON_UNAVAILABLE, "net: not running");
        return;
    }
    if (!pool_uid_valid(uid))
        return;
    a->r = detach_pod(n, uid, l ? l->ip : 0, &a->err);
    if (a->r < 0)
        return;
    services_pod_changed(n, uid, 0, NULL, 0);
    /* Last: as long as the lease is there, a detach that was cut short is found and repeated. */
    pool_release(&n->pool, uid);
}

static void op_list(void *net, void (*emit)(void *ctx, struct str uid), void *ctx)
{
    struct net *n = net;
    for (struct map_slot *s = NULL; (s = map_next(&n->pool.leases, s));)
        emit(ctx, s->key);
}

static int op_ready(void *net, struct str *ret_why)
{
    struct net *n = net;
    if (!n->started) {
        *ret_why = STR("the pod network is not started");
        return 0;
    }
    if (!n->table_made) {
        *ret_why = STR("the rules of the pod network are not in place yet");
        return 0;
    }
    return 1;
}

static struct str op_dns(void *net)
{
    struct net *n = net;
    return str_z(n->dns_address);
}

static struct str op_domain(void *net)
{
    struct net *n = net;
    return str_z(n->cluster_domain);
}

const struct node_net_ops net_node_ops = {
    .pod_attach = op_attach,
    .pod_detach = op_detach,
    .pod_list = op_list,
    .ready = op_ready,
    .dns_address = op_dns,
    .cluster_domain = op_domain,
};
