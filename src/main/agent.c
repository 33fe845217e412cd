/* `davit agent`: one node. The agent proper (src/node), the pod network (src/net) and the image
 * store on one loop, talking to the server as any client does. Everything here is wiring. */
#include "main/parts.h"

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"
#include "client/net_client.h"
#include "main/memory.h"
#include "net/net.h"
#include "node/image/image.h"
#include "node/node.h"
#include "rt/tls.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_BYTES_MAX    65536
#define STOP_GRACE_MAX_S 30

struct agent_opts {
    const char *data_dir, *kubeconfig, *node_name, *node_ip, *log_level, *pod_cidr, *service_cidr,
        *labels, *insecure, *fence;
    const char *server, *token;
    int64_t ready_fd, pods_max, api_port;
    nsec_t shutdown_grace, shutdown_grace_critical;
    bool stop_pods;
};

struct agent {
    const struct agent_opts *opts;
    struct data_dir dir;
    struct rt *rt;
    struct kubeconfig kubeconfig;
    struct client *client;
    struct image_store *images;
    struct net *net;
    struct node *node;
    struct rt_tls_server *tls;
    struct rt_signal *term, *intr;
    struct memory_tend memory;
    int lock_fd;
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

static int file_read(const char *path, char **ret, struct error *err)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = xcalloc(1, PEM_BYTES_MAX + 1);
    ssize_t n = fd < 0 ? -1 : read(fd, text, PEM_BYTES_MAX);

    if (n < 0) {
        free(text);
        return error_errno(err, errno, "cannot read %s", path);
    }
    *ret = text;
    return 0;
}

static int agent_open_tls(struct agent *a, struct error *err)
{
    static const char *const alpn[] = {"http/1.1",
                                       NULL}; /* upgrades need it, and nothing else comes here */
    CLEANUP(freep) char *cert = NULL, *key = NULL;
    struct rt_tls_server_opts opts = {.client_ca_pem = a->kubeconfig.ca_pem, .alpn = alpn};
    int r = file_read(a->dir.agent_cert, &cert, err);

    if (r == 0)
        r = file_read(a->dir.agent_key, &key, err);
    if (r < 0)
        return r;
    opts.cert_pem = str_z(cert);
    opts.key_pem = str_z(key);
    return rt_tls_server_new(&opts, err, &a->tls);
}

static int agent_open_parts(struct agent *a, struct error *err)
{
    const char *insecure[] = {a->opts->insecure, NULL};
    const struct image_store_opts images = {
        .dir = a->dir.images, .rt = a->rt, .insecure = insecure};
    struct net_opts net = {
        .rt = a->rt,
        .data_dir = a->dir.root,
        .node_name = a->opts->node_name,
        .pod_cidr = a->opts->pod_cidr,
        .service_cidr = a->opts->service_cidr,
    };
    int r = kubeconfig_load(a->opts->kubeconfig ? a->opts->kubeconfig : a->dir.agent_kubeconfig,
                            NULL, &a->kubeconfig, err);

    if (r == 0)
        r = net_client_new(a->rt, &a->kubeconfig, NULL, &a->client, err);
    if (r == 0)
        r = agent_open_tls(a, err);
    if (r == 0)
        r = image_store_open(&images, &a->images, err);
    net.client = a->client;
    if (r == 0)
        r = net_new(&net, &a->net, err);
    return r < 0 ? r : net_start(a->net, err);
}

/* A server on this machine dies with it or comes back with it: there is nothing to be cut off from.
 */
static bool agent_fences(const struct agent *a)
{
    struct str host = str_z(a->kubeconfig.host);

    if (strcmp(a->opts->fence, "auto") != 0)
        return strcmp(a->opts->fence, "on") == 0;
    return !str_starts(host, STR("127.")) && !str_is(host, "localhost") && !str_is(host, "::1");
}

static int agent_start(struct agent *a, struct error *err)
{
    static const char *const api_clients[] = {"davit-apiserver-node-client"};
    const char *labels[16];
    size_t n_labels = 0;
    struct arena scratch = {0};
    struct str rest = str_z(a->opts->labels), label;
    struct node_opts node = {
        .rt = a->rt,
        .data_dir = a->dir.root,
        .node_name = a->opts->node_name,
        .addresses = {str_z(a->opts->node_ip)},
        .n_addresses = 1,
        .net_ops = &net_node_ops,
        .api_listen_host = "0.0.0.0",
        .api_listen_port = (uint16_t)a->opts->api_port,
        .api_client_names = api_clients,
        .n_api_client_names = ARRAY_LEN(api_clients),
        .pods_max = (unsigned)a->opts->pods_max,
        .on_ready = agent_ready,
        .arg = a,
    };
    int r = agent_open_parts(a, err);

    if (r < 0)
        return r;
    while (rest.n && n_labels < ARRAY_LEN(labels)) {
        (void)str_cut(&rest, ',', &label);
        labels[n_labels++] = arena_cstr(&scratch, label);
    }
    node.fence = agent_fences(a);
    node.labels = labels;
    node.n_labels = n_labels;
    node.client = a->client;
    node.images = a->images;
    node.net = a->net;
    node.api_tls = a->tls;
    a->node = node_new(&node, err);
    arena_fini(&scratch);
    if (!a->node)
        return error_reason_errno(err->reason);
    a->term = rt_signal_new(a->rt, SIGTERM, agent_on_signal, a);
    a->intr = rt_signal_new(a->rt, SIGINT, agent_on_signal, a);
    node_start(a->node);
    return 0;
}

static void agent_close(struct agent *a)
{
    a->node = node_free(a->node);
    a->net = net_free(a->net);
    a->images = image_store_close(a->images);
    if (a->client)
        client_free(a->client);
    rt_tls_server_unref(a->tls);
    rt_signal_free(a->term);
    rt_signal_free(a->intr);
    kubeconfig_fini(&a->kubeconfig);
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
            agent_close(&a);
            rt_free(a.rt);
        }
        /* After a failed start the process ends, and what is half open with it. */
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
        {"service-cidr", "CIDR", "addresses of Services (10.96.0.0/16)", CLI_STRING,
         &o.service_cidr},
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
        {"server", "URL", "join a cluster: not built yet", CLI_STRING, &o.server},
        {"token", "TEXT", "join a cluster: not built yet", CLI_STRING, &o.token},
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
    if (r == 0 && (o.server || o.token))
        r = error_set(&err, REASON_BAD_REQUEST,
                      "joining by --server and --token is not built yet; give the node's "
                      "identity with --kubeconfig");
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
    memory_limit_arenas(2); /* the loop, and one for the pool */
    log_init("agent", log_level_parse(o.log_level));
    r = agent_run(&o, &err);
    return r == 0 ? EXIT_OK : cli_fail("agent", &err, EXIT_FAILED);
}
