/* `davit hollow`: a thousand nodes in one process, for load tests of the control plane. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/log.h"
#include "client/net_client.h"
#include "node/hollow.h"
#include "rt/rt.h"

#include <signal.h>
#include <stdio.h>

#define HOLLOW_NODES_MAX 20000

static void hollow_ready(void *arg)
{
    printf("ready\n");
    fflush(stdout);
}

static void hollow_on_signal(void *arg, int signum)
{
    rt_stop(arg);
}

static int hollow_run(const struct kubeconfig *k, const struct hollow_opts *o, struct error *err)
{
    struct rt_signal *term, *intr;
    struct client *client;
    struct hollow *h;
    struct rt *rt = rt_uv_new();
    int r;

    if (!rt)
        return error_errno(err, errno, "cannot make an event loop");
    r = net_client_new(rt, k, NULL, &client, err);
    if (r == 0) {
        term = rt_signal_new(rt, SIGTERM, hollow_on_signal, rt);
        intr = rt_signal_new(rt, SIGINT, hollow_on_signal, rt);
        h = hollow_new(client, o);
        hollow_start(h);
        rt_run(rt);
        hollow_free(h);
        client_free(client);
        rt_signal_free(term);
        rt_signal_free(intr);
    }
    rt_free(rt);
    return r;
}

int cli_hollow(int argc, char **argv)
{
    const char *path = getenv("KUBECONFIG"), *prefix = "hollow";
    int64_t nodes = 0, pods_max = 110, cpu = 4, memory = 16;
    nsec_t delay = 0, lease = 10 * NSEC_PER_SEC;
    const struct cli_opt opts[] = {
        {"nodes", "N", "how many", CLI_INT, &nodes, 1, HOLLOW_NODES_MAX},
        {"kubeconfig", "FILE", "who registers them ($KUBECONFIG)", CLI_STRING, &path},
        {"name-prefix", "TEXT", "nodes are called TEXT-0, TEXT-1 ... (hollow)", CLI_STRING,
         &prefix},
        {"start-delay", "TIME", "from bound to running (0s)", CLI_DURATION, &delay},
        {"lease-period", "TIME", "between heartbeats (10s)", CLI_DURATION, &lease},
        {"cpus", "N", "cores of each (4)", CLI_INT, &cpu, 1, 4096},
        {"memory", "GIB", "memory of each (16)", CLI_INT, &memory, 1, 65536},
        {"max-pods", "N", "pods each takes (110)", CLI_INT, &pods_max, 1, 100000},
    };
    struct hollow_opts o = {0};
    struct kubeconfig k;
    struct error err = {0};
    int operands, r;

    r = cli_opts_parse("hollow --nodes N --kubeconfig FILE",
                       "Registers simulated nodes that run pods without containers. Prints `ready` "
                       "when all are there.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("hollow", &err, EXIT_USAGE);
    if (operands || !nodes || !path) {
        (void)error_set(&err, REASON_BAD_REQUEST,
                        "takes --nodes and --kubeconfig; see davit hollow --help");
        return cli_fail("hollow", &err, EXIT_USAGE);
    }
    log_init("hollow", LOG_LEVEL_INFO);
    if (kubeconfig_load(path, NULL, &k, &err) < 0)
        return cli_fail("hollow", &err, EXIT_FAILED);
    o = (struct hollow_opts){
        .name_prefix = prefix,
        .nodes = (unsigned)nodes,
        .start_delay = delay,
        .lease_period = lease,
        .cpu_milli = cpu * 1000,
        .memory_bytes = memory << 30,
        .pods_max = (unsigned)pods_max,
        .on_ready = hollow_ready,
    };
    r = hollow_run(&k, &o, &err);
    kubeconfig_fini(&k);
    return r == 0 ? EXIT_OK : cli_fail("hollow", &err, EXIT_FAILED);
}
