/* `davit up`: one machine, both parts. A small parent starts a server and an agent as processes of
 * their own, starts either again when it dies, and says `ready` when the node is. Processes rather
 * than threads, because each may be killed at any moment without taking the other along, and
 * because containers must not see the control plane's memory. The parent does nothing else, so it
 * has nothing to lose. */
#include "api/cluster.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/values.h"
#include "net/net.h"
#include "rt/process.h"
#include "rt/rt.h"
#include "rt/stream.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESTART_MIN (100 * NSEC_PER_MSEC)
#define RESTART_MAX NSEC_PER_SEC /* short: while a part is away, clients fail or nothing heals */
#define RESTART_FORGET                                                                             \
    (2 * NSEC_PER_SEC) /* ran this long: the next death starts over with no wait */
#define STOP_GRACE      (40 * NSEC_PER_SEC) /* pods' default grace of 30 s and some */
#define START_TRIES_MAX 3 /* deaths before the first `ready`: something is wrong for good */
#define OWNER_POLL      (20 * NSEC_PER_MSEC)
#define OWNER_WAIT                                                                                 \
    (15 * NSEC_PER_SEC) /* for what a killed `davit up` left: it is told to stop, and takes 5 s at \
                           most */
#define DAY           (86400 * NSEC_PER_SEC)
#define PART_ARGS_MAX 64
#define READY_FD      3

struct up;

enum part_id { PART_SERVER, PART_AGENT, _PART_MAX };

struct part {
    struct up *up;
    enum part_id id;
    const char *name;
    const char *argv[PART_ARGS_MAX];
    unsigned n_args;
    struct rt_process *process;   /* owned; NULL: not running */
    struct rt_stream *ready_pipe; /* owned; NULL: said so already */
    struct rt_timer restart;
    nsec_t started, backoff;
    nsec_t waiting_since; /* 0: not waiting for an earlier one to end */
    unsigned deaths;
    bool ready, was_ready;
};

struct up {
    struct rt *rt;
    struct part parts[_PART_MAX];
    struct rt_timer kill_timer;
    nsec_t stop_grace;
    struct rt_signal *term, *intr;
    const char *run_dir; /* borrowed */
    int notify_fd;       /* of the parent of --detach */
    bool stopping, announced;
    int exit_code;
};

static void part_start(struct part *p);

static void up_check_stopped(struct up *up)
{
    if (!up->stopping)
        return;
    /* The agent first: it may still want to tell the server what it did. */
    if (up->parts[PART_AGENT].process)
        return;
    if (up->parts[PART_SERVER].process)
        (void)rt_process_kill(up->parts[PART_SERVER].process, SIGTERM, false);
    else
        rt_stop(up->rt);
}

static void up_stop(struct up *up, int exit_code)
{
    if (up->stopping)
        return;
    up->stopping = true;
    up->exit_code = exit_code;
    for (int i = 0; i < _PART_MAX; i++)
        rt_timer_stop(&up->parts[i].restart);
    if (up->parts[PART_AGENT].process)
        (void)rt_process_kill(up->parts[PART_AGENT].process, SIGTERM, false);
    rt_timer_start(&up->kill_timer, up->stop_grace);
    up_check_stopped(up);
}

static void up_on_signal(void *arg, int signum)
{
    up_stop(arg, EXIT_OK);
}

static void up_on_kill_timer(void *arg)
{
    struct up *up = arg;

    for (int i = 0; i < _PART_MAX; i++)
        if (up->parts[i].process)
            (void)rt_process_kill(up->parts[i].process, SIGKILL, false);
}

static void part_close_ready(struct part *p)
{
    if (p->ready_pipe)
        rt_stream_close(p->ready_pipe, NULL, NULL);
    p->ready_pipe = NULL;
}

static void part_on_exit(void *arg, struct rt_exit how)
{
    struct part *p = arg;
    struct up *up = p->up;

    p->process = rt_process_free(p->process);
    part_close_ready(p);
    p->ready = false;
    if (up->stopping) {
        up_check_stopped(up);
        return;
    }
    if (how.signal)
        log_warn("the %s was killed by signal %d", p->name, how.signal);
    else
        log_warn("the %s ended with exit code %d", p->name, how.code);
    /* A bad command line or a data directory in use will not mend itself. Being killed is nothing
     * it did. */
    if (!p->was_ready && how.signal != SIGKILL &&
        (how.code == EXIT_USAGE || ++p->deaths >= START_TRIES_MAX)) {
        log_error("the %s does not start; giving up", p->name);
        up_stop(up, EXIT_FAILED);
        return;
    }
    if (rt_now(up->rt) - p->started > RESTART_FORGET)
        p->backoff = 0;
    rt_timer_start(&p->restart, p->backoff);
    p->backoff = CLAMP(p->backoff * 2, RESTART_MIN, RESTART_MAX);
}

static void up_announce(struct up *up)
{
    if (up->announced || !up->parts[PART_SERVER].ready || !up->parts[PART_AGENT].ready)
        return;
    up->announced = true;
    printf("ready\n");
    fflush(stdout);
    cli_notify_ready(up->notify_fd, "ready");
    up->notify_fd = -1;
}

static void part_on_ready_data(void *arg, struct str data)
{
    struct part *p = arg;

    if (str_find(data, '\n') < 0 || p->ready)
        return;
    p->ready = p->was_ready = true;
    p->deaths = 0;
    if (p->id == PART_SERVER && !p->up->parts[PART_AGENT].process &&
        !rt_timer_active(&p->up->parts[PART_AGENT].restart))
        part_start(&p->up->parts[PART_AGENT]);
    up_announce(p->up);
}

static void part_on_ready_end(void *arg)
{
    part_close_ready(arg);
}

static void part_on_ready_error(void *arg, int r)
{
    part_close_ready(arg);
}

static const struct rt_stream_handler ready_handler = {
    .on_data = part_on_ready_data,
    .on_eof = part_on_ready_end,
    .on_error = part_on_ready_error,
};

static int part_spawn(struct part *p, struct error *err)
{
    CLEANUP(fd_closep) int theirs = -1;
    int ends[2], r;
    struct rt_process_fd fd;
    struct rt_process_opts opts = {
        .argv = p->argv,
        .stdio = {RT_STDIO_NULL, RT_STDIO_INHERIT, RT_STDIO_INHERIT},
        .fds = &fd,
        .n_fds = 1,
        .pdeathsig = SIGTERM,
    };

    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "cannot make a pipe");
    theirs = ends[1];
    fd = (struct rt_process_fd){.from = theirs, .to = READY_FD};
    r = rt_process_start(p->up->rt, &opts, part_on_exit, p, err, &p->process);
    if (r < 0) {
        close(ends[0]);
        return r;
    }
    r = rt_stream_from_fd(p->up->rt, ends[0], &p->ready_pipe);
    if (r < 0)
        return error_errno(err, r, "cannot watch the %s", p->name);
    rt_stream_set_handler(p->ready_pipe, &ready_handler, p);
    rt_stream_read_start(p->ready_pipe);
    return 0;
}

/* When `davit up` is killed its parts are told to stop, which takes them a moment; a new `up` comes
 * upon them then. */
static bool part_must_wait(struct part *p)
{
    pid_t owner = pidfile_owner(p->up->run_dir, p->name);

    if (!owner) {
        p->waiting_since = 0;
        return false;
    }
    if (!p->waiting_since) {
        p->waiting_since = rt_now(p->up->rt);
        log_info("waiting for an earlier %s (pid %d) to end", p->name, (int)owner);
    } else if (rt_now(p->up->rt) - p->waiting_since > OWNER_WAIT) {
        return false; /* it is somebody's own; ours will say so */
    }
    rt_timer_start(&p->restart, OWNER_POLL);
    return true;
}

static void part_start(struct part *p)
{
    struct error err = {0};

    if (part_must_wait(p))
        return;
    p->started = rt_now(p->up->rt);
    if (part_spawn(p, &err) < 0) {
        log_error("cannot start the %s: %.*s", p->name, STR_ARG(err.message));
        error_fini(&err);
        up_stop(p->up, EXIT_FAILED);
    }
}

static void part_on_restart(void *arg)
{
    part_start(arg);
}

static void part_arg(struct part *p, const char *a)
{
    ASSERT(p->n_args + 1 < PART_ARGS_MAX);
    p->argv[p->n_args++] = a;
    p->argv[p->n_args] = NULL;
}

static void part_init(struct up *up, enum part_id id, const char *exe, const char *name)
{
    struct part *p = &up->parts[id];

    p->up = up;
    p->id = id;
    p->name = name;
    rt_timer_init(&p->restart, up->rt, part_on_restart, p);
    part_arg(p, exe);
    part_arg(p, name);
    part_arg(p, "--ready-fd");
    part_arg(p, "3");
}

/* ---- --detach ---- */

static int detach_wait(int fd, pid_t child)
{
    char line[64];
    ssize_t n;

    do
        n = read(fd, line, sizeof(line));
    while (n < 0 && errno == EINTR);
    if (n > 0 && strncmp(line, "ready", 5) == 0) {
        printf("ready\n");
        return EXIT_OK;
    }
    return EXIT_FAILED;
}

/* Forks; the child goes on in the background with its output in the log file. In the parent
 * *ret_exit is its exit code (>= 0); in the child it is -1. */
static int detach(const struct data_dir *dir, int *ret_notify_fd, int *ret_exit, struct error *err)
{
    int log = open(dir->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int ends[2];
    pid_t pid;

    if (log < 0 || null < 0)
        return error_errno(err, errno, "cannot open %s", dir->log);
    if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return error_errno(err, errno, "cannot start in the background");
    if (pid > 0) {
        close(ends[1]);
        *ret_exit = detach_wait(ends[0], pid);
        if (*ret_exit != EXIT_OK)
            fprintf(stderr, "davit up: it did not come up; the last lines of %s say why\n",
                    dir->log);
        return 0;
    }
    setsid();
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(ends[0]);
    *ret_notify_fd = ends[1];
    *ret_exit = -1;
    return 0;
}

/* Said to `up`, meant for one of its parts, which gets it as it is and knows whether it is good. */
enum { PASSED_CLUSTER_CIDR, PASSED_SHUTDOWN_GRACE }; /* those `up` needs itself */
static const struct passed {
    const char *flag, *arg, *help; /* flag with its dashes */
    enum part_id to;
} passed[] = {
    [PASSED_CLUSTER_CIDR] = {"--cluster-cidr", "CIDR",
                             "addresses of pods (" CLUSTER_CIDR_DEFAULT ")", PART_SERVER},
    [PASSED_SHUTDOWN_GRACE] =
        {"--shutdown-grace", "TIME",
         "on SIGTERM fail the pods, within so long, as the machine goes down (0s: do not)",
         PART_AGENT},
    {"--service-cidr", "CIDR", "addresses of Services (" SERVICE_CIDR_DEFAULT ")", PART_SERVER},
    {"--network", "KIND", "between nodes: vxlan, routes or auto (vxlan)", PART_SERVER},
    {"--tls-san", "NAME,...", "more names and addresses the API is reached by", PART_SERVER},
    {"--encrypt", "KIND,...", "kinds that are encrypted on disk besides secrets", PART_SERVER},
    {"--io-threads", "N", "threads that serve connections (1)", PART_SERVER},
    {"--max-requests-inflight", "N", "requests that run at once, shared out by priority (600)",
     PART_SERVER},
    {"--node-grace", "TIME", "a node silent for so long is lost (40s)", PART_SERVER},
    {"--node-eviction-rate", "N", "lost nodes a second whose pods are evicted, in a zone (0.1)",
     PART_SERVER},
    {"--secondary-node-eviction-rate", "N", "the same in a partial outage of a large zone (0.01)",
     PART_SERVER},
    {"--unhealthy-zone-threshold", "N", "part of a zone's nodes that makes an outage (0.55)",
     PART_SERVER},
    {"--large-cluster-size-threshold", "N", "nodes above which a zone is large (50)", PART_SERVER},
    {"--default-not-ready-toleration-seconds", "N",
     "how long pods that do not say stay on a node that is not ready (300)", PART_SERVER},
    {"--default-unreachable-toleration-seconds", "N", "the same on a node that is silent (300)",
     PART_SERVER},
    {"--enable-admission-plugins", "NAME,...", "asked beyond the usual ones", PART_SERVER},
    {"--disable-admission-plugins", "NAME,...", "not asked", PART_SERVER},
    {"--authentication-config", "FILE", "an AuthenticationConfiguration: issuers and anonymous",
     PART_SERVER},
    {"--oidc-issuer-url", "URL", "tokens of this OpenID Connect issuer are taken", PART_SERVER},
    {"--oidc-client-id", "ID", "whom they must be for", PART_SERVER},
    {"--oidc-username-claim", "CLAIM", "what names the user (sub)", PART_SERVER},
    {"--oidc-username-prefix", "TEXT", "put before it (ISSUER#, nothing before an email)",
     PART_SERVER},
    {"--oidc-groups-claim", "CLAIM", "what names his groups (none)", PART_SERVER},
    {"--oidc-groups-prefix", "TEXT", "put before each of them", PART_SERVER},
    {"--oidc-required-claim", "KEY=VALUE,...", "what they must say besides", PART_SERVER},
    {"--oidc-ca-file", "FILE", "authorities of the issuer's certificate", PART_SERVER},
    {"--oidc-signing-algs", "ALG,...", "RS, PS or ES with 256, 384 or 512 (RS256)", PART_SERVER},
    {"--audit-policy-file", "FILE", "what of which requests is logged", PART_SERVER},
    {"--audit-log-path", "FILE", "where it is logged (nowhere)", PART_SERVER},
    {"--audit-log-maxsize", "MB", "a larger audit log is put aside (100)", PART_SERVER},
    {"--audit-log-maxbackup", "N", "audit logs kept that were put aside (0: all)", PART_SERVER},
    {"--audit-log-maxage", "DAYS", "how long they are kept (0: for good)", PART_SERVER},
    {"--resolv-conf", "FILE", "the node's name servers (/etc/resolv.conf)", PART_AGENT},
    {"--node-labels", "K=V,...", "of this machine's Node object", PART_AGENT},
    {"--max-pods", "N", "pods this machine takes (250)", PART_AGENT},
    {"--insecure-registry", "HOST:PORT", "may be spoken to without TLS (loopback always may)",
     PART_AGENT},
    {"--fence", "on|off|auto", "see davit agent --help; the server is beside it, so auto is off",
     PART_AGENT},
    {"--shutdown-grace-critical", "TIME", "part of it kept for critical pods, which end last",
     PART_AGENT},
};
#define UP_OWN_OPTS 7

struct up_opts {
    const char *data_dir, *listen, *node_name, *node_ip, *log_level;
    const char *passed[ARRAY_LEN(passed)]; /* NULL: not said */
    bool detach, stop_pods;
};

/* The API listens on loopback by default, where pods cannot reach it. They reach the bridge's own
 * address, so the server listens there too and the `kubernetes` Service points at it; the agent is
 * told the range it was chosen from. */
static int up_add_network(struct up *up, const struct up_opts *o, const char *data_dir,
                          struct net **ret_net, struct error *err)
{
    const struct net_opts opts = {
        .rt = up->rt,
        .data_dir = data_dir,
        .node_name = "up",
        .cluster_cidr = o->passed[PASSED_CLUSTER_CIDR] ? o->passed[PASSED_CLUSTER_CIDR]
                                                       : cluster_default_pod_cidr(o->node_ip),
    };
    struct rt_addr at;
    int r = rt_addr_parse(str_z(o->listen), &at, err);

    if (r < 0)
        return r;
    r = net_new(&opts, ret_net, err);
    if (r < 0)
        return r;
    part_arg(&up->parts[PART_AGENT], "--pod-cidr");
    part_arg(&up->parts[PART_AGENT], net_pod_cidr(*ret_net));
    if (strncmp(at.host, "127.", 4) == 0) {
        part_arg(&up->parts[PART_SERVER], "--advertise-address");
        part_arg(&up->parts[PART_SERVER], net_gateway(*ret_net));
    }
    return 0;
}

static void up_pass_on(struct up *up, const struct up_opts *o)
{
    const char *grace = o->passed[PASSED_SHUTDOWN_GRACE];
    struct duration d;

    if (grace && duration_parse(str_z(grace), &d) >= 0 && d.nsec > 0)
        up->stop_grace += MIN(d.nsec, DAY); /* what is no time the agent refuses */
    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        if (o->passed[i]) {
            part_arg(&up->parts[passed[i].to], passed[i].flag);
            part_arg(&up->parts[passed[i].to], o->passed[i]);
        }
}

static int up_run(const struct up_opts *o, const struct data_dir *dir, int notify_fd)
{
    struct up up = {.run_dir = dir->run,
                    .notify_fd = notify_fd,
                    .stop_grace = STOP_GRACE,
                    .exit_code = EXIT_OK};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    struct net *net = NULL;
    struct error err = {0};
    struct part *server = &up.parts[PART_SERVER], *agent = &up.parts[PART_AGENT];

    if (n < 0 || !(up.rt = rt_uv_new())) {
        fprintf(stderr, "davit up: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    exe[n] = '\0';
    part_init(&up, PART_SERVER, exe, "server");
    part_init(&up, PART_AGENT, exe, "agent");
    for (int i = 0; i < _PART_MAX; i++) {
        const char *const common[] = {"--data-dir", dir->root,  "--node-name", o->node_name,
                                      "--node-ip",  o->node_ip, "--log-level", o->log_level};
        for (size_t k = 0; k < ARRAY_LEN(common); k++)
            part_arg(&up.parts[i], common[k]);
    }
    part_arg(server, "--listen");
    part_arg(server, o->listen);
    part_arg(server, "--local-node");
    up_pass_on(&up, o);
    if (up_add_network(&up, o, dir->root, &net, &err) < 0)
        return cli_fail("up", &err, EXIT_FAILED);
    if (o->stop_pods)
        part_arg(agent, "--stop-pods");
    rt_timer_init(&up.kill_timer, up.rt, up_on_kill_timer, &up);
    up.term = rt_signal_new(up.rt, SIGTERM, up_on_signal, &up);
    up.intr = rt_signal_new(up.rt, SIGINT, up_on_signal, &up);
    part_start(server);
    rt_run(up.rt);
    rt_signal_free(up.term);
    rt_signal_free(up.intr);
    rt_timer_stop(&up.kill_timer);
    for (int i = 0; i < _PART_MAX; i++)
        part_close_ready(&up.parts[i]);
    net_free(net);
    rt_free(up.rt);
    return up.exit_code;
}

int cli_up(int argc, char **argv)
{
    char host[256], ip[64];
    struct up_opts o = {.data_dir = DATA_DIR_DEFAULT,
                        .listen = "127.0.0.1:6443",
                        .node_name = host,
                        .node_ip = ip,
                        .log_level = "info"};
    struct cli_opt opts[UP_OWN_OPTS + ARRAY_LEN(passed)] = {
        {"data-dir", "DIR", "where everything is kept (" DATA_DIR_DEFAULT ")", CLI_STRING,
         &o.data_dir},
        {"listen", "ADDR:PORT", "of the API (127.0.0.1:6443)", CLI_STRING, &o.listen},
        {"node-name", "NAME", "of this machine (its host name)", CLI_STRING, &o.node_name},
        {"node-ip", "ADDR", "of this machine (that of its default route)", CLI_STRING, &o.node_ip},
        {"log-level", "LEVEL", "debug, info, warn or error (info)", CLI_STRING, &o.log_level},
        {"detach", NULL, "go to the background once ready; log to DIR/davit.log", CLI_FLAG,
         &o.detach},
        {"stop-pods", NULL, "on SIGTERM stop the pods too, instead of leaving them running",
         CLI_FLAG, &o.stop_pods},
    };
    CLEANUP(fd_closep) int lock = -1;
    struct data_dir dir = {0};
    struct error err = {0};
    int operands, r, exit_code = -1, notify_fd = -1;

    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        opts[UP_OWN_OPTS + i] = (struct cli_opt){passed[i].flag + 2, passed[i].arg, passed[i].help,
                                                 CLI_STRING, &o.passed[i]};
    cli_default_node_name(host, sizeof(host));
    cli_default_node_ip(ip, sizeof(ip));
    r = cli_opts_parse(
        "up [options]",
        "Runs a whole cluster on this machine: API server and node agent, supervised.\n"
        "Prints `ready` when the node takes pods. kubectl: --kubeconfig DIR/admin.kubeconfig",
        opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("up", &err, EXIT_USAGE);
    if (operands)
        (void)error_set(&err, REASON_BAD_REQUEST, "takes no operand \"%s\"", argv[1]);
    else if (log_level_parse(o.log_level) < 0)
        (void)error_set(&err, REASON_BAD_REQUEST, "--log-level: unknown level \"%s\"", o.log_level);
    else if (geteuid() != 0)
        (void)error_set(&err, REASON_FORBIDDEN, "running containers needs root; use sudo");
    if (err.message.p)
        return cli_fail("up", &err, EXIT_USAGE);
    log_init("up", log_level_parse(o.log_level));
    if (data_dir_open(&dir, o.data_dir, true, &err) < 0)
        return cli_fail("up", &err, EXIT_FAILED);
    /* Look before forking, so that the usual mistake is answered on the terminal. */
    if (pidfile_owner(dir.run, "up"))
        r = error_set(&err, REASON_TOO_MANY_REQUESTS,
                      "a davit up with data directory %s runs already (pid %d)", dir.root,
                      (int)pidfile_owner(dir.run, "up"));
    else if (o.detach)
        r = detach(&dir, &notify_fd, &exit_code, &err);
    if (r == 0 && exit_code < 0)
        r = pidfile_take(dir.run, "up", &lock, &err);
    if (r < 0)
        exit_code = cli_fail("up", &err, EXIT_FAILED);
    if (exit_code < 0)
        exit_code = up_run(&o, &dir, notify_fd);
    data_dir_fini(&dir);
    return exit_code;
}
