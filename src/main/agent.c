/* `davit agent`: one node. The agent proper (src/node), the pod network (src/net) and the image
 * store on one loop, talking to the server as any client does. Everything here is wiring:
 *
 *   identity (join, or the kubeconfig that is there) -> the cluster's settings -> a range of
 *   addresses -> network, images, pods
 *
 * All but the first of these is on disk after the first time, so a node starts without its server.
 */
#include "main/parts.h"

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"
#include "client/kubeconfig.h"
#include "main/memory.h"
#include "net/claim.h"
#include "net/cluster.h"
#include "net/net.h"
#include "node/identity.h"
#include "node/image/image.h"
#include "node/node.h"
#include "rt/crypto.h"
#include "rt/tls.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_GRACE_MAX_S 30

struct agent_opts {
    const char *data_dir, *kubeconfig, *node_name, *node_ip, *log_level, *pod_cidr, *labels,
        *insecure, *resolv_conf, *fence;
    const char *server, *token;
    int64_t ready_fd, pods_max, api_port;
    nsec_t shutdown_grace, shutdown_grace_critical;
    bool stop_pods;
};

struct agent {
    const struct agent_opts *opts;
    struct data_dir dir;
    struct rt *rt;
    struct identity *identity;
    struct net_cluster *cluster;  /* being read */
    struct cluster_config config; /* texts in arena */
    struct net_claim *claim;      /* under way */
    struct arena arena;
    struct image_store *images;
    struct net *net;
    struct node *node;
    struct rt_signal *term, *intr;
    struct memory_tend memory;
    int lock_fd, exit_code;
    bool stopping;
};

static void slow_callback(void *arg, const char *callback, nsec_t took)
{
    log_warn("%s held the loop for %lld ms", callback, (long long)(took / NSEC_PER_MSEC));
}

static void agent_ready(void *arg)
{
    struct agent *a = arg;

    log_info("node %s is ready", a->opts->node_name);
    if (a->opts->ready_fd < 0) {
        printf("ready\n");
        fflush(stdout);
    }
    cli_notify_ready((int)a->opts->ready_fd, "ready");
}

static void agent_net_stopped(void *arg)
{
    struct agent *a = arg;

    rt_stop(a->rt);
}

/* A start that cannot go on; what is half open ends with the process. */
static void agent_give_up(struct agent *a, const struct error *err)
{
    struct error why = {0};

    (void)error_set(&why, err ? err->reason : REASON_INTERNAL, "%.*s",
                    STR_ARG(err ? err->message : STR("it failed")));
    a->exit_code = cli_fail("agent", &why, EXIT_FAILED);
    rt_stop(a->rt);
}

static void agent_node_stopped(void *arg)
{
    struct agent *a = arg;

    net_stop(a->net, agent_net_stopped, a);
}

static void agent_pods_ended(void *arg)
{
    struct agent *a = arg;

    node_stop(a->node, false, 0, agent_node_stopped, a);
}

static void agent_on_signal(void *arg, int signum)
{
    struct agent *a = arg;

    if (a->stopping)
        return;
    a->stopping = true;
    if (!a->node) { /* it was not a node yet */
        rt_stop(a->rt);
        return;
    }
    if (a->opts->shutdown_grace > 0) {
        log_info("the machine goes down: pods are ended");
        node_shutdown(a->node, a->opts->shutdown_grace, a->opts->shutdown_grace_critical,
                      agent_pods_ended, a);
        return;
    }
    log_info(a->opts->stop_pods ? "stopping, with the pods" : "stopping; containers run on");
    node_stop(a->node, a->opts->stop_pods, STOP_GRACE_MAX_S, agent_node_stopped, a);
}

/* ---- start ---- */

static int agent_open_net(struct agent *a, const char *pod_cidr, struct error *err)
{
    const char *insecure[] = {a->opts->insecure, NULL};
    const struct image_store_opts images = {
        .dir = a->dir.images, .rt = a->rt, .insecure = insecure};
    const struct net_opts net = {
        .rt = a->rt,
        .client = identity_client(a->identity),
        .data_dir = a->dir.root,
        .node_name = a->opts->node_name,
        .pod_cidr = pod_cidr,
        .cluster_cidr = arena_cstr(&a->arena, a->config.pod_cidr),
        .service_cidr = arena_cstr(&a->arena, a->config.service_cidr),
        .cluster_domain = arena_cstr(&a->arena, a->config.domain),
        .node_ip = a->opts->node_ip,
        .network = a->config.network,
        .vni = a->config.vni,
        .resolv_conf = a->opts->resolv_conf,
    };
    int r = image_store_open(&images, &a->images, err);

    if (r == 0)
        r = net_new(&net, &a->net, err);
    return r < 0 ? r : net_start(a->net, err);
}

/* A server on this machine dies with it or comes back with it: there is nothing to be cut off from.
 */
static bool agent_fences(const struct agent *a)
{
    const struct agent_opts *o = a->opts;
    struct kubeconfig k = {0};
    struct error err = {0};
    bool local = false;

    if (strcmp(o->fence, "auto") != 0)
        return strcmp(o->fence, "on") == 0;
    if (kubeconfig_load(o->kubeconfig ? o->kubeconfig : a->dir.agent_kubeconfig, NULL, &k, &err) ==
        0) {
        struct str host = str_z(k.host);
        local = str_starts(host, STR("127.")) || str_is(host, "localhost") || str_is(host, "::1") ||
                str_eqz(host, o->node_ip);
        kubeconfig_fini(&k);
    }
    error_fini(&err);
    return !local;
}

static int agent_open(struct agent *a, const char *pod_cidr, struct error *err)
{
    static const char *const api_clients[] = {"davit-apiserver-node-client"};
    const char *labels[64];
    size_t n_labels = 0;
    struct str rest = str_z(a->opts->labels), label;
    int r = agent_open_net(a, pod_cidr, err);

    if (r < 0)
        return r;
    while (str_cut(&rest, ',', &label) || label.n) {
        if (n_labels == ARRAY_LEN(labels))
            return error_set(err, REASON_BAD_REQUEST, "--node-labels: more than %zu",
                             ARRAY_LEN(labels));
        labels[n_labels++] = arena_cstr(&a->arena, label);
    }
    const struct node_opts node = {
        .rt = a->rt,
        .client = identity_client(a->identity),
        .data_dir = a->dir.root,
        .node_name = a->opts->node_name,
        .addresses = {str_z(a->opts->node_ip)},
        .n_addresses = 1,
        .images = a->images,
        .net_ops = &net_node_ops,
        .net = a->net,
        .pod_cidr = net_pod_cidr(a->net),
        .api_tls = identity_tls(a->identity),
        .api_listen_host = "0.0.0.0",
        .api_listen_port = (uint16_t)a->opts->api_port,
        .api_client_names = api_clients,
        .n_api_client_names = ARRAY_LEN(api_clients),
        .labels = labels,
        .n_labels = n_labels,
        .resolv_conf = a->opts->resolv_conf,
        .pods_max = (unsigned)a->opts->pods_max,
        .fence = agent_fences(a),
        .on_ready = agent_ready,
        .arg = a,
    };
    a->node = node_new(&node, err);
    if (!a->node)
        return error_reason_errno(err->reason);
    node_start(a->node);
    return 0;
}

static void agent_claimed(void *arg, int r, const char *pod_cidr, const struct error *err)
{
    struct agent *a = arg;
    struct error why = {0};

    a->claim = NULL;
    if (r < 0)
        agent_give_up(a, err);
    else if (agent_open(a, pod_cidr, &why) < 0)
        agent_give_up(a, &why);
    error_fini(&why);
}

static void agent_configured(void *arg, int r, const struct cluster_config *config,
                             const struct error *err)
{
    struct agent *a = arg;

    a->cluster = NULL;
    if (r < 0) {
        agent_give_up(a, err);
        return;
    }
    a->config = *config;
    a->config.pod_cidr = arena_str(&a->arena, config->pod_cidr);
    a->config.service_cidr = arena_str(&a->arena, config->service_cidr);
    a->config.domain = arena_str(&a->arena, config->domain);
    if (net_has_range(a->dir.root) != 0) {
        agent_claimed(a, 0, a->opts->pod_cidr, NULL);
        return;
    }
    a->claim = net_claim_start(
        &(struct net_claim_opts){.rt = a->rt,
                                 .client = identity_client(a->identity),
                                 .data_dir = a->dir.root,
                                 .node_name = a->opts->node_name,
                                 .cluster_cidr = arena_cstr(&a->arena, config->pod_cidr),
                                 .pod_cidr = a->opts->pod_cidr},
        agent_claimed, a);
}

static void agent_identified(void *arg, int r, const struct error *err)
{
    struct agent *a = arg;

    if (r < 0)
        agent_give_up(a, err);
    else
        a->cluster =
            net_cluster_start(identity_client(a->identity), a->dir.root, agent_configured, a);
}

static int agent_start(struct agent *a, struct error *err)
{
    const struct agent_opts *o = a->opts;
    const struct identity_opts id = {
        .rt = a->rt,
        .node_name = o->node_name,
        .node_ip = o->node_ip,
        .kubeconfig = o->kubeconfig ? o->kubeconfig : a->dir.agent_kubeconfig,
        .cert_file = a->dir.agent_cert,
        .key_file = a->dir.agent_key,
        .join_key_file = a->dir.agent_join_key,
        .server_url = o->server,
        .token = o->token,
    };
    int r = identity_new(&id, &a->identity, err);

    /* Everybody may read the command line of a process; it is ours to change (execve(2)). */
    if (o->token)
        crypto_wipe((char *)o->token, strlen(o->token));
    if (r < 0)
        return r;
    a->term = rt_signal_new(a->rt, SIGTERM, agent_on_signal, a);
    a->intr = rt_signal_new(a->rt, SIGINT, agent_on_signal, a);
    identity_start(a->identity, agent_identified, a);
    return 0;
}

static void agent_close(struct agent *a)
{
    a->cluster = net_cluster_cancel(a->cluster);
    a->claim = net_claim_cancel(a->claim);
    a->node = node_free(a->node);
    a->net = net_free(a->net);
    a->images = image_store_close(a->images);
    a->identity = identity_free(a->identity);
    rt_signal_free(a->term);
    rt_signal_free(a->intr);
    arena_fini(&a->arena);
}

static int agent_run(const struct agent_opts *o, struct error *err)
{
    struct agent a = {.opts = o, .lock_fd = -1};
    int r = data_dir_open(&a.dir, o->data_dir, true, err);

    if (r < 0)
        return r;
    r = pidfile_take(a.dir.run, "agent", &a.lock_fd, err);
    if (r == 0)
        r = node_host_enter(a.dir.root, err); /* before any thread */
    if (r == 0 && !(a.rt = rt_uv_new()))
        r = error_errno(err, errno, "cannot make an event loop");
    if (r == 0) {
        rt_watchdog(a.rt, RT_SLOW_DEFAULT, slow_callback, NULL);
        r = agent_start(&a, err);
        if (r == 0) {
            memory_tend_start(&a.memory, a.rt);
            rt_run(a.rt);
            memory_tend_stop(&a.memory);
            r = a.exit_code == EXIT_OK ? 0 : -EIO;
        }
        /* After a failed start the process ends, and what is half open with it. */
        if (r == 0) {
            agent_close(&a);
            rt_free(a.rt);
        }
    }
    fd_closep(&a.lock_fd);
    data_dir_fini(&a.dir);
    return r;
}

int main_agent(int argc, char **argv)
{
    char host[256], ip[64];
    struct agent_opts o = {.data_dir = DATA_DIR_DEFAULT,
                           .node_name = host,
                           .node_ip = ip,
                           .log_level = "info",
                           .ready_fd = -1,
                           .pods_max = 250,
                           .fence = "auto",
                           .api_port = 0};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "where everything is kept (" DATA_DIR_DEFAULT ")", CLI_STRING,
         &o.data_dir},
        {"kubeconfig", "FILE", "who the node is (DIR/agent.kubeconfig)", CLI_STRING, &o.kubeconfig},
        {"node-name", "NAME", "of this machine (its host name)", CLI_STRING, &o.node_name},
        {"node-ip", "ADDR", "of this machine (that of its default route)", CLI_STRING, &o.node_ip},
        {"node-labels", "K=V,...", "of the Node object", CLI_STRING, &o.labels},
        {"pod-cidr", "CIDR", "addresses of this node's pods (a free /24)", CLI_STRING, &o.pod_cidr},
        {"resolv-conf", "FILE", "the node's name servers (/etc/resolv.conf)", CLI_STRING,
         &o.resolv_conf},
        {"max-pods", "N", "pods this node takes (250)", CLI_INT, &o.pods_max, 1, 5000},
        {"api-port", "PORT", "of the node's own API (any free one)", CLI_INT, &o.api_port, 0,
         65535},
        {"insecure-registry", "HOST:PORT", "may be spoken to without TLS (loopback always may)",
         CLI_STRING, &o.insecure},
        {"fence", "on|off|auto",
         "stop pods that are one of a kind when cut off (auto: unless the server is on loopback)",
         CLI_STRING, &o.fence},
        {"stop-pods", NULL, "on SIGTERM stop the pods too", CLI_FLAG, &o.stop_pods},
        {"shutdown-grace", "TIME",
         "on SIGTERM fail the pods, within so long, as the machine goes down (0s: do not)",
         CLI_DURATION, &o.shutdown_grace},
        {"shutdown-grace-critical", "TIME", "part of it kept for critical pods, which end last",
         CLI_DURATION, &o.shutdown_grace_critical},
        {"server", "URL", "of the cluster to join, https://HOST:6443", CLI_STRING, &o.server},
        {"token", "TEXT", "that lets this machine in; `davit token create` on the server prints it",
         CLI_STRING, &o.token},
        {"ready-fd", "N", "write `ready` to this descriptor instead of stdout", CLI_INT,
         &o.ready_fd, 0, 1 << 20},
        {"log-level", "LEVEL", "debug, info, warn or error (info)", CLI_STRING, &o.log_level},
    };
    struct error err = {0};
    int operands, r;

    cli_default_node_name(host, sizeof(host));
    cli_default_node_ip(ip, sizeof(ip));
    r = cli_opts_parse("agent [options]", "Runs one node. Prints `ready` when the node takes pods.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r == 0 && operands)
        r = error_set(&err, REASON_BAD_REQUEST, "takes no operand \"%s\"", argv[1]);
    if (r == 0 && !o.server != !o.token)
        r = error_set(&err, REASON_BAD_REQUEST, "--server and --token go together");
    if (r == 0 && log_level_parse(o.log_level) < 0)
        r = error_set(&err, REASON_BAD_REQUEST, "--log-level: unknown level \"%s\"", o.log_level);
    if (r == 0 && o.shutdown_grace_critical > o.shutdown_grace)
        r = error_set(&err, REASON_BAD_REQUEST,
                      "--shutdown-grace-critical is a part of --shutdown-grace");
    if (r == 0 && strcmp(o.fence, "on") != 0 && strcmp(o.fence, "off") != 0 &&
        strcmp(o.fence, "auto") != 0)
        r = error_set(&err, REASON_BAD_REQUEST, "--fence: on, off or auto, not \"%s\"", o.fence);
    if (r == 0 && geteuid() != 0)
        r = error_set(&err, REASON_FORBIDDEN, "running containers needs root");
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("agent", &err, EXIT_USAGE);
    memory_tune(1); /* what the pool leaves behind is of use to the loop */
    log_init("agent", log_level_parse(o.log_level));
    r = agent_run(&o, &err);
    if (r < 0 && err.message.p)
        return cli_fail("agent", &err, EXIT_FAILED);
    return r < 0 ? EXIT_FAILED : EXIT_OK;
}
