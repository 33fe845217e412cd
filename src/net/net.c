/* Putting the parts together: the life of struct net. */
#include "net/net.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/cluster.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net_internal.h"
#include "sys/fs.h"

#define MTU_DEFAULT  1500
#define NET_DNS_HOST 10

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

/* The tenth address of the range, where every cluster has its DNS Service; NULL: the range is too
 * small for one. Without a client there is nothing to answer from. */
static char *choose_dns_address(const struct net_opts *o, const char *service_cidr)
{
    struct ip_prefix p;
    char text[IP_TEXT_MAX];
    if (!o->client || (o->dns_address && !o->dns_address[0]))
        return NULL;
    if (o->dns_address)
        return xstrdup(o->dns_address);
    if (ip_prefix_parse(str_z(service_cidr), &p) < 0 || p.bits > 28)
        return NULL;
    uint32_t mask = p.bits ? ~((UINT64_C(1) << (32 - p.bits)) - 1) : 0;
    p.addr = ip4_from_number((ip4_number(&p.addr) & mask) + NET_DNS_HOST);
    return xstrdup(ip_format(&p.addr, text));
}

static bool has_vxlan(const struct net *n)
{
    return n->node_ip.family && n->network != CLUSTER_NETWORK_ROUTES;
}

int net_new(const struct net_opts *o, struct net **ret, struct error *err)
{
    struct net *n = NEW(struct net);
    n->rt = o->rt;
    n->client = o->client;
    n->dir = xasprintf("%s/net", o->data_dir);
    n->cache_dir = xasprintf("%s/cache", n->dir);
    n->node_name = dup_or(o->node_name, "");
    n->cluster_cidr = dup_or(o->cluster_cidr, CLUSTER_CIDR_DEFAULT);
    n->service_cidr = dup_or(o->service_cidr, SERVICE_CIDR_DEFAULT);
    n->cluster_domain = dup_or(o->cluster_domain, "cluster.local");
    n->resolv_conf = dup_or(o->resolv_conf, NULL);
    n->mtu = o->mtu;
    n->network = o->network;
    n->vni = o->vni;
    bool bad_ip = o->node_ip &&
                  (ip_parse(str_z(o->node_ip), &n->node_ip) < 0 || n->node_ip.family != AF_INET);
    n->dirfd = -1;
    int r = sys_mkdir_all(n->cache_dir, 0700);
    if (r == 0)
        n->dirfd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n->dirfd < 0)
        r = error_errno(err, r < 0 ? -r : errno, "net: %s", n->dir);
    if (r == 0 && bad_ip)
        r = error_set(err, REASON_BAD_REQUEST, "net: \"%s\" is no IPv4 address of a node",
                      o->node_ip);
    if (r == 0)
        r = check_cidr("cluster range", n->cluster_cidr, err);
    if (r == 0)
        r = config_load(n, o->data_dir, o->pod_cidr, n->cluster_cidr, err);
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
    n->dns_address = choose_dns_address(o, n->service_cidr);
    char vxlan_ip[IP_TEXT_MAX];
    if (has_vxlan(n))
        ip_format(&n->node_ip, vxlan_ip);
    n->rules = net_rules_new(&(struct net_rules_env){
        .table = n->config.table,
        .bridge = n->config.bridge,
        .pod_cidr = n->config.pod_cidr,
        .cluster_cidr = n->cluster_cidr,
        .service_cidr = n->service_cidr,
        .dns_address = n->dns_address,
        .gateway = n->gateway,
        .vxlan_ip = has_vxlan(n) ? vxlan_ip : NULL,
    });
    n->policy = policy_new(n);
    *ret = n;
    return 0;
}

struct net *net_free(struct net *n)
{
    if (!n)
        return NULL;
    ASSERT(!n->busy && !n->sweep.busy && n->ops.n == 0 && (!n->started || n->stopping));
    peers_free(n->peers);
    dns_free(n->dns);
    policy_free(n->policy);
    nl_close(n->nl);
    nl_close(n->nft_nl);
    net_rules_free(n->rules);
    pool_close(&n->pool);
    net_tx_fini(&n->tx);
    free(n->zone);
    catalog_fini(&n->dirty);
    map_fini(&n->ops);
    if (n->dirfd >= 0)
        close(n->dirfd);
    free(n->dir);
    free(n->cache_dir);
    free(n->node_name);
    free(n->cluster_cidr);
    free(n->service_cidr);
    free(n->cluster_domain);
    free(n->dns_address);
    free(n->resolv_conf);
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

char *net_cache_file(const struct net *n, const char *name)
{
    return xasprintf("%s/%s", n->cache_dir, name);
}

static int start_peers(struct net *n, struct error *err)
{
    CLEANUP(freep) char *file = net_cache_file(n, "nodes");
    const struct peers_opts o = {
        .rt = n->rt,
        .client = n->client,
        .id = n->config.id,
        .node_name = n->node_name,
        .range = n->config.range,
        .gateway = ip4_from_number(n->pool.gateway),
        .node_ip = n->node_ip,
        .network = n->network,
        .vni = n->vni,
        .mtu = n->mtu,
        .file = file,
    };
    return n->client && n->node_ip.family ? peers_new(&o, &n->peers, err) : 0;
}

/* Somebody else took addresses of our range while we were away: pods would be cut off or
 * impersonated. */
static int check_range_free(const struct net *n, struct error *err)
{
    int r = net_range_in_use(&n->config.range, n->config.bridge);
    if (r <= 0)
        return r;
    return error_set(err, REASON_CONFLICT,
                     "net: an address of this host lies in the pods' range %s; if it is to stay, "
                     "remove this node from the cluster and let it join anew",
                     n->config.pod_cidr);
}

static int start_dns(struct net *n, struct error *err)
{
    struct dns_opts o = {
        .cluster_domain = n->cluster_domain,
        .address = n->dns_address,
        .gateway = n->gateway,
        .bridge = n->config.bridge,
        .service_cidr = n->service_cidr,
        .cluster_cidr = n->cluster_cidr,
        .resolv_conf = n->resolv_conf,
    };
    int r = dns_new(&o, &n->dns, err);
    return r < 0 ? r : dns_start(n->dns, err);
}

int net_start(struct net *n, struct error *err)
{
    ASSERT(!n->started);
    int r = nl_open(-1, &n->nl);
    if (r < 0)
        return error_errno(err, -r, "net: netlink");
    if (!n->mtu)
        n->mtu = default_mtu(n) - (has_vxlan(n) ? PEERS_VXLAN_OVERHEAD : 0);
    r = check_range_free(n, err);
    if (r == 0)
        r = host_sysctl_set("net/ipv4/ip_forward", "1", err);
    if (r == 0)
        r = bridge_make(n, err);
    if (r == 0)
        r = start_peers(n, err);
    if (r == 0 && n->dns_address)
        r = start_dns(n, err);
    if (r < 0)
        return r;
    r = services_start(n, err);
    if (r == 0)
        policy_start(n->policy);
    n->started = r == 0;
    return r;
}

void net_stopped_check(struct net *n)
{
    if (n->stopping && !n->busy && !n->sweep.busy && !policy_busy(n->policy) && n->ops.n == 0 &&
        !rt_task_pending(&n->say_stopped))
        rt_task_schedule(&n->say_stopped);
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
    rt_task_init(&n->say_stopped, n->rt, say_stopped, n);
    n->peers = peers_free(n->peers);
    if (n->started)
        services_stop(n);
    policy_stop(n->policy);
    net_stopped_check(n);
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
    bool synced = !n->services || (client_cache_synced(n->services) &&
                                   client_cache_synced(n->slices) && client_cache_synced(n->nodes));
    return n->started && n->table_made && synced && (!n->peers || peers_settled(n->peers)) &&
           !n->busy && !n->full_needed && !n->batch.changes && !n->dirty.n &&
           policy_settled(n->policy);
}

bool net_flows_settled(const struct net *n)
{
    return net_rules_settled(n) && net_sweep_idle(&n->sweep);
}

void net_dump(const struct net *n, struct buf *out)
{
    buf_printf(out,
               "net %s bridge %s range %s leases %zu transactions %llu elements %llu last %lld us "
               "failures %u dirty %u%s\n",
               n->config.id, n->config.bridge, n->config.pod_cidr, n->pool.leases.n,
               (unsigned long long)n->transactions, (unsigned long long)n->elements,
               (long long)(n->last_took / NSEC_PER_USEC), n->failures, n->dirty.n,
               n->busy ? " busy" : "");
    if (n->peers)
        peers_dump(n->peers, out);
    if (n->dns) {
        struct dns_stats s;
        dns_stats(n->dns, &s);
        buf_printf(out, "dns %s queries %llu hits %llu forwarded %llu errors %llu failed %llu\n",
                   n->dns_address, (unsigned long long)s.queries, (unsigned long long)s.hits,
                   (unsigned long long)s.forwarded, (unsigned long long)s.errors,
                   (unsigned long long)s.failed);
    }
    net_rules_dump(n->rules, out);
    policy_watch_dump(n->policy, out);
}
