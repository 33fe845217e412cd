/* The node's table of functions. Making and above all removing a veth pair takes the kernel tens of
 * milliseconds (it waits for every processor to let go), so the kernel's part runs on the pool and
 * a hundred pods may come or go without the loop standing still. Leases and rules are the loop's;
 * operations on one pod run one after the other in the order they were asked for. */
#include <sys/socket.h>

#include "base/mem.h"
#include "net/net_internal.h"

struct pod_op {
    struct list link;    /* in the waiting list of the one under way */
    struct list waiting; /* those for the same pod that came later */
    struct net *n;
    struct rt_work work;
    struct rt_task task;         /* answers that need no work */
    char *uid, *netns_path;      /* owned; netns_path NULL: detach */
    struct net_host_port *ports; /* owned; attach */
    size_t n_ports;
    uint32_t ip;
    int r;
    struct error err;
    node_net_attached_fn attached;
    node_net_done_fn done;
    void *arg;
};

static void op_start(struct pod_op *op);

static void op_answer(struct pod_op *op)
{
    if (op->attached) {
        char ip[IP_TEXT_MAX];
        struct ip_addr a = ip4_from_number(op->ip);
        struct node_net_attached res = {.r = op->r, .err = op->r < 0 ? &op->err : NULL};
        if (op->r == 0) {
            res.ips[0] = str_z(ip_format(&a, ip));
            res.n_ips = 1;
        }
        op->attached(op->arg, &res);
    } else {
        op->done(op->arg, op->r, op->r < 0 ? &op->err : NULL);
    }
    error_fini(&op->err);
    free(op->uid);
    free(op->netns_path);
    free(op->ports);
    free(op);
}

/* The next for this pod starts before the answer is given: the answer may ask for more. */
static void op_end(void *arg)
{
    struct pod_op *op = arg;
    struct net *n = op->n;
    map_remove(&n->ops, str_z(op->uid));
    if (!list_empty(&op->waiting)) {
        struct pod_op *next = LIST_FIRST(&op->waiting, struct pod_op, link), *other;
        list_remove(&next->link);
        LIST_FOR_EACH (other, &op->waiting, link) {
            list_remove(&other->link);
            list_push_back(&next->waiting, &other->link);
        }
        op_start(next);
    }
    op_answer(op);
    net_stopped_check(n);
}

static void op_fail_later(struct pod_op *op, int r)
{
    op->r = r;
    rt_task_schedule(&op->task);
}

static void op_work(void *arg)
{
    struct pod_op *op = arg;
    struct str uid = str_z(op->uid);
    op->r = op->netns_path ? attach_pod(op->n, uid, op->ip, op->netns_path, &op->err)
                           : detach_pod(op->n, uid, op->ip, &op->err);
}

static void op_work_done(void *arg)
{
    struct pod_op *op = arg;
    struct str uid = str_z(op->uid);
    if (op->r == 0 && op->netns_path) {
        services_pod_changed(op->n, uid, op->ip, op->ports, op->n_ports);
    } else if (op->r == 0) {
        services_pod_changed(op->n, uid, 0, NULL, 0);
        policy_detached(op->n->policy, uid, op->ip);
        /* Last: as long as the lease is there, a detach that was cut short is found and repeated.
         */
        pool_release(&op->n->pool, uid);
    }
    op_end(op);
}

/* The kernel has the pod's rules: its link may come up. */
static void op_gate_passed(void *arg, int r, const struct error *err)
{
    struct pod_op *op = arg;
    if (r < 0) {
        error_copy(&op->err, err);
        op_fail_later(op, r);
        return;
    }
    rt_work(op->n->rt, &op->work, RT_WORK_SHORT, op_work, op_work_done, op);
}

static void op_start(struct pod_op *op)
{
    struct net *n = op->n;
    struct lease *l = pool_get(&n->pool, str_z(op->uid));
    map_set(&n->ops, str_z(op->uid), op);
    if (!n->started || n->stopping) {
        op_fail_later(op, error_set(&op->err, REASON_UNAVAILABLE, "net: not running"));
        return;
    }
    if (op->r < 0 || (!op->netns_path && !pool_uid_valid(str_z(op->uid)))) {
        rt_task_schedule(&op->task); /* malformed, or nothing that we could ever have attached */
        return;
    }
    if (op->netns_path) {
        int r = pool_take(&n->pool, str_z(op->uid), op->ports, op->n_ports, &l, &op->err);
        if (r < 0) {
            op_fail_later(op, r);
            return;
        }
    }
    op->ip = l ? l->ip : 0;
    if (op->netns_path && !policy_gate(n->policy, str_z(op->uid), op->ip, op_gate_passed, op))
        return;
    rt_work(n->rt, &op->work, RT_WORK_SHORT, op_work, op_work_done, op);
}

static struct pod_op *op_new(struct net *n, struct str uid, void *arg)
{
    struct pod_op *op = NEW(struct pod_op);
    op->n = n;
    op->uid = str_dup(uid);
    op->arg = arg;
    list_init(&op->link);
    list_init(&op->waiting);
    rt_task_init(&op->task, n->rt, op_end, op);
    return op;
}

static void op_queue(struct pod_op *op)
{
    struct pod_op *current = map_get(&op->n->ops, str_z(op->uid));
    if (current)
        list_push_back(&current->waiting, &op->link);
    else
        op_start(op);
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

static void op_attach(void *net, const struct node_net_pod *pod, node_net_attached_fn done,
                      void *arg)
{
    struct pod_op *op = op_new(net, pod->uid, arg);
    op->attached = done;
    op->netns_path = xstrdup(pod->netns_path);
    if (pod->n_ports > LEASE_PORTS_MAX) {
        op->r =
            error_set(&op->err, REASON_INVALID, "net: more than %d host ports", LEASE_PORTS_MAX);
    } else {
        op->n_ports = pod->n_ports;
        op->ports = xcalloc(pod->n_ports + 1, sizeof(*op->ports));
        op->r = take_ports(pod, op->ports, &op->err);
    }
    op_queue(op);
}

static void op_detach(void *net, struct str uid, node_net_done_fn done, void *arg)
{
    struct pod_op *op = op_new(net, uid, arg);
    op->done = done;
    op_queue(op);
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

static struct client_cache *op_services(void *net)
{
    return ((struct net *)net)->services;
}

const struct node_net_ops net_node_ops = {
    .pod_attach = op_attach,
    .pod_detach = op_detach,
    .pod_list = op_list,
    .ready = op_ready,
    .dns_address = op_dns,
    .cluster_domain = op_domain,
    .services = op_services,
};
