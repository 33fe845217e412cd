/* `davit server`: the control plane in one process. Store, API server core, controllers and
 * scheduler share the main loop and its objects; the API server's front has threads of its own.
 * Everything here is wiring: what starts when, and in which order it ends. */
#include "main/parts.h"

#include "apiserver/apiserver.h"
#include "apiserver/audit/audit.h"
#include "apiserver/auth/oidc.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"
#include "controllers/controller.h"
#include "main/cluster.h"
#include "main/creds.h"
#include "main/keys.h"
#include "main/memory.h"
#include "main/seal.h"
#include "rt/stream.h"
#include "scheduler/scheduler.h"
#include "store/store_lmdb.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS 5000 /* for calls under way; clients retry what is cut */
#define CREDS_PERIOD    (24 * 3600 * NSEC_PER_SEC)

struct server_opts {
    const char *data_dir, *listen, *node_name, *node_ip, *log_level, *advertise, *sans;
    const char *encrypt;
    const char *eviction_rate, *secondary_rate, *zone_threshold;
    const char *enable_admission, *disable_admission;
    struct audit_opts audit;
    struct oidc_opts oidc;
    const char *authentication_config;
    int64_t audit_size_mb, audit_age_days;
    struct cluster_wish cluster;
    nsec_t node_grace;
    int64_t large_cluster, not_ready_s, unreachable_s;
    int64_t ready_fd, io_threads, seats;
    bool local_node;
};

struct server {
    const struct server_opts *opts;
    struct data_dir dir;
    struct rt *rt;
    struct keys keys;
    struct rt_work keys_work;
    int keys_result;
    struct error keys_err;
    unsigned unsettled; /* of default objects and keys: what must be durable before we serve */
    struct secret_seal seal;
    struct cluster_config cluster;
    struct arena arena; /* texts of cluster and the like */
    struct store *store;
    struct apiserver *api;
    struct client *client;
    struct client_shared *shared;
    struct controllers *controllers;
    struct scheduler *scheduler;
    struct rt_signal *term, *intr;
    struct rt_timer creds_timer; /* looks after what was written for clients on this machine */
    struct memory_tend memory;
    int lock_fd, exit_code;
    bool stopping;
};

static void slow_callback(void *arg, const char *callback, nsec_t took)
{
    log_warn("%s held the loop for %lld ms", callback, (long long)(took / NSEC_PER_MSEC));
}

/* ---- the end ---- */

static void server_store_closed(void *arg)
{
    struct server *s = arg;

    s->store = NULL;
    rt_stop(s->rt);
}

static void server_api_stopped(void *arg)
{
    struct server *s = arg;

    s->controllers = controllers_free(s->controllers);
    s->scheduler = scheduler_free(s->scheduler);
    s->shared = client_shared_free(s->shared);
    if (s->client)
        client_free(s->client);
    s->client = NULL;
    s->api = apiserver_free(s->api);
    store_close(s->store, server_store_closed, s);
}

static void server_on_signal(void *arg, int signum)
{
    struct server *s = arg;

    if (s->stopping)
        return;
    s->stopping = true;
    log_info("stopping");
    rt_timer_stop(&s->creds_timer);
    apiserver_stop(s->api, STOP_TIMEOUT_MS, server_api_stopped, s);
}

/* ---- the beginning ---- */

static int server_write_creds(struct server *s, struct error *err)
{
    const struct creds_opts o = {
        .dir = &s->dir,
        .listen = s->opts->listen,
        .node_name = s->opts->local_node ? s->opts->node_name : NULL,
        .node_ip = s->opts->node_ip,
        .now_s = rt_wall(s->rt) / 1000000,
    };

    return creds_write(s->api, &o, err);
}

/* A server may run for longer than its administrator's certificate is good. */
static void server_tend_creds(void *arg)
{
    struct server *s = arg;
    struct error err = {0};

    if (server_write_creds(s, &err) < 0)
        log_warn("renewing the credentials of this machine: %.*s", STR_ARG(err.message));
    error_fini(&err);
    rt_timer_start(&s->creds_timer, CREDS_PERIOD);
}

static void server_keys_settle(void *arg)
{
    struct server *s = arg;

    s->keys_result = keys_settle(&s->keys, &s->keys_err);
}

/* Default objects or keys are durable; with the last of both we serve. Listening comes last:
 * whoever gets through finds the default objects. */
static void server_settled(void *arg)
{
    struct server *s = arg;
    struct error err = {0};

    if (--s->unsettled || s->stopping)
        return;
    if (s->keys_result < 0) {
        s->exit_code = cli_fail("server", &s->keys_err, EXIT_FAILED);
        server_on_signal(s, 0);
        return;
    }
    if (apiserver_listen(s->api, s->opts->listen, &err) < 0 || server_write_creds(s, &err) < 0) {
        s->exit_code = cli_fail("server", &err, EXIT_FAILED);
        server_on_signal(s, 0);
        return;
    }
    rt_timer_start(&s->creds_timer, CREDS_PERIOD);
    client_shared_start(s->shared);
    controllers_start(s->controllers);
    scheduler_start(s->scheduler);
    log_info("serving on port %u, revision %llu", apiserver_port(s->api),
             (unsigned long long)store_rev(s->store));
    if (s->opts->ready_fd < 0) {
        printf("ready\n");
        fflush(stdout);
    }
    cli_notify_ready((int)s->opts->ready_fd, "ready");
}

static int server_open_store(struct server *s, struct error *err)
{
    struct store_lmdb_opts lmdb = {.dir = s->dir.store, .seal = &s->seal.seal};
    int r = keys_open(&s->keys, &s->dir, err);

    if (r == 0)
        r = secret_seal_open(&s->seal, s->keys.dir, s->opts->encrypt, keys_fresh(&s->keys), err);
    if (r == 0) {
        r = store_open(s->rt, store_lmdb_new(&lmdb), NULL, &s->store, err);
        if (r < 0)
            secret_seal_undo(&s->seal, s->dir.pki, err);
    }
    return r;
}

/* How fast nodes that are lost lose their pods; zero is said to the controllers as "none". */
static int server_node_opts(const struct server_opts *o, struct controllers_opts *ret,
                            struct error *err)
{
    const struct {
        const char *flag, *text;
        double max, *to;
    } rows[] = {
        {"node-eviction-rate", o->eviction_rate, 1e6, &ret->node_eviction_rate},
        {"secondary-node-eviction-rate", o->secondary_rate, 1e6,
         &ret->secondary_node_eviction_rate},
        {"unhealthy-zone-threshold", o->zone_threshold, 1, &ret->unhealthy_zone_threshold},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *end = NULL;
        double v = strtod(rows[i].text, &end);
        if (!rows[i].text[0] || *end || !(v >= 0) || v > rows[i].max)
            return error_set(err, REASON_BAD_REQUEST, "--%s: %s is no number from 0 to %g",
                             rows[i].flag, rows[i].text, rows[i].max);
        *rows[i].to = v > 0 ? v : -1;
    }
    ret->large_cluster_size_threshold = o->large_cluster > 0 ? o->large_cluster : -1;
    return o->node_grace >= 3 * NSEC_PER_SEC
               ? 0
               : error_set(err, REASON_BAD_REQUEST, "--node-grace: at least 3s");
}

#define SANS_MAX 32

/* What the serving certificate is good for: this machine's name and address, and what the user
 * adds. */
static int server_sans(struct server *s, const char *ret[SANS_MAX], size_t *ret_n,
                       struct error *err)
{
    struct str rest = str_z(s->opts->sans), one;
    size_t n = 0;

    ret[n++] = s->opts->node_name;
    ret[n++] = s->opts->node_ip;
    while (str_cut(&rest, ',', &one) || one.n) {
        if (n == SANS_MAX)
            return error_set(err, REASON_BAD_REQUEST, "--tls-san: more than %d names",
                             SANS_MAX - 2);
        if (one.n)
            ret[n++] = arena_cstr(&s->arena, one);
    }
    *ret_n = n;
    return 0;
}

static bool listens_on_any(const char *listen)
{
    struct rt_addr at;

    return rt_addr_parse(str_z(listen), &at, NULL) == 0 &&
           (at.any || strcmp(at.host, "0.0.0.0") == 0 || strcmp(at.host, "::") == 0);
}

static int server_audit(const struct server_opts *o, struct audit **ret, struct error *err)
{
    struct audit_opts audit = o->audit;

    if (!audit.path)
        return 0;
    if (!audit.policy_file)
        return error_set(err, REASON_BAD_REQUEST,
                         "--audit-log-path needs --audit-policy-file, which says what is logged");
    audit.max_bytes = o->audit_size_mb << 20;
    audit.max_age_s = o->audit_age_days * 86400;
    return audit_new(&audit, ret, err);
}

static bool oidc_given(const struct oidc_opts *o)
{
    return o->issuer_url || o->client_id || o->username_claim || o->username_prefix ||
           o->groups_claim || o->groups_prefix || o->required_claim || o->ca_file ||
           o->signing_algs;
}

static int server_start(struct server *s, struct error *err)
{
    const struct server_opts *o = s->opts;
    const char *sans[SANS_MAX];
    struct apiserver_opts api = {
        .sans = sans,
        .cluster = &s->cluster,
        .advertise_address = o->advertise                ? o->advertise
                             : listens_on_any(o->listen) ? o->node_ip
                                                         : NULL,
        .io_threads = (unsigned)o->io_threads,
        .seats = (unsigned)o->seats,
        .has_default_tolerations = true,
        .not_ready_toleration_s = o->not_ready_s,
        .unreachable_toleration_s = o->unreachable_s,
        .enable_admission = o->enable_admission,
        .disable_admission = o->disable_admission,
        .oidc = oidc_given(&o->oidc) ? &o->oidc : NULL,
        .authentication_config = o->authentication_config,
    };
    struct controllers_opts controllers = {.node_grace = o->node_grace};
    int r = server_node_opts(o, &controllers, err);

    if (r == 0)
        r = server_sans(s, sans, &api.n_sans, err);
    if (r == 0)
        r = server_open_store(s, err);

    if (r == 0)
        r = cluster_settle(s->store, &o->cluster, &s->arena, &s->cluster, err);
    if (r < 0)
        return r;
    api.service_cidr = arena_cstr(&s->arena, s->cluster.service_cidr);
    api.pki_dir = s->keys.dir;
    api.pki_sync_later = keys_fresh(&s->keys);
    r = server_audit(o, &api.audit, err);
    if (r < 0)
        return r;
    r = apiserver_new(s->rt, s->store, &api, &s->api, err);
    if (r < 0)
        return r;
    controllers.root_ca_pem = apiserver_ca_pem(s->api);
    controllers.sign = apiserver_sign;
    controllers.sign_token = apiserver_sign_token;
    controllers.sign_arg = s->api;
    s->client = apiserver_client(s->api, STR("system:kube-controller-manager"), NULL, 0, false);
    s->shared = client_shared_new(s->client);
    s->controllers = controllers_new(s->shared, &controllers);
    s->scheduler = scheduler_new(s->shared, NULL);
    s->term = rt_signal_new(s->rt, SIGTERM, server_on_signal, s);
    s->intr = rt_signal_new(s->rt, SIGINT, server_on_signal, s);
    rt_timer_init(&s->creds_timer, s->rt, server_tend_creds, s);
    s->unsettled = 1;
    apiserver_on_ready(s->api, server_settled, s);
    if (keys_fresh(&s->keys)) {
        s->unsettled++;
        rt_work(s->rt, &s->keys_work, RT_WORK_SHORT, server_keys_settle, server_settled, s);
    }
    return 0;
}

/* A thousand watchers want a descriptor each. */
static void descriptors_raise(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int server_run(const struct server_opts *o, struct error *err)
{
    struct server s = {.opts = o, .lock_fd = -1, .exit_code = EXIT_OK};
    int r = data_dir_open(&s.dir, o->data_dir, true, err);

    if (r < 0)
        return r;
    r = pidfile_take(s.dir.run, "server", &s.lock_fd, err);
    if (r == 0 && !(s.rt = rt_uv_new()))
        r = error_errno(err, errno, "cannot make an event loop");
    if (r == 0) {
        descriptors_raise();
        rt_watchdog(s.rt, RT_SLOW_DEFAULT, slow_callback, NULL);
        r = server_start(&s, err);
        if (r == 0) {
            memory_tend_start(&s.memory, s.rt);
            rt_run(s.rt);
            memory_tend_stop(&s.memory);
            rt_signal_free(s.term);
            rt_signal_free(s.intr);
            r = s.exit_code == EXIT_OK ? 0 : -EIO;
        }
        /* After a failed start the process ends; what is half open ends with it. */
        if (r == 0)
            rt_free(s.rt);
    }
    if (r == 0) /* else a worker may be sealing yet */
        secret_seal_fini(&s.seal);
    keys_fini(&s.keys);
    arena_fini(&s.arena);
    fd_closep(&s.lock_fd);
    data_dir_fini(&s.dir);
    return r;
}

int main_server(int argc, char **argv)
{
    char host[256], ip[64];
    struct server_opts o = {.data_dir = DATA_DIR_DEFAULT,
                            .listen = "0.0.0.0:6443",
                            .node_name = host,
                            .node_ip = ip,
                            .log_level = "info",
                            .node_grace = 40 * NSEC_PER_SEC,
                            .eviction_rate = "0.1",
                            .secondary_rate = "0.01",
                            .zone_threshold = "0.55",
                            .large_cluster = 50,
                            .not_ready_s = 300,
                            .unreachable_s = 300,
                            .ready_fd = -1,
                            .audit_size_mb = 100,
                            .io_threads = 1};
    const struct cli_opt opts[] = {
        {"data-dir", "DIR", "where everything is kept (" DATA_DIR_DEFAULT ")", CLI_STRING,
         &o.data_dir},
        {"listen", "ADDR:PORT", "of the API (0.0.0.0:6443)", CLI_STRING, &o.listen},
        {"node-name", "NAME", "of this machine, for the certificate (its host name)", CLI_STRING,
         &o.node_name},
        {"node-ip", "ADDR", "of this machine (that of its default route)", CLI_STRING, &o.node_ip},
        {"local-node", NULL, "also write DIR/agent.kubeconfig for an agent beside it", CLI_FLAG,
         &o.local_node},
        {"advertise-address", "ADDR", "where pods find the API, instead of the listen address",
         CLI_STRING, &o.advertise},
        {"tls-san", "NAME,...", "more names and addresses the API is reached by", CLI_STRING,
         &o.sans},
        {"cluster-cidr", "CIDR", "addresses of pods (" CLUSTER_CIDR_DEFAULT ")", CLI_STRING,
         &o.cluster.pod_cidr},
        {"service-cidr", "CIDR", "addresses of Services (" SERVICE_CIDR_DEFAULT ")", CLI_STRING,
         &o.cluster.service_cidr},
        {"network", "KIND", "between nodes: vxlan, routes or auto (vxlan)", CLI_STRING,
         &o.cluster.network},
        {"node-grace", "TIME", "a node silent for so long is lost (40s)", CLI_DURATION,
         &o.node_grace},
        {"node-eviction-rate", "N", "lost nodes a second whose pods are evicted, in a zone (0.1)",
         CLI_STRING, &o.eviction_rate},
        {"secondary-node-eviction-rate", "N", "the same in a partial outage of a large zone (0.01)",
         CLI_STRING, &o.secondary_rate},
        {"unhealthy-zone-threshold", "N", "part of a zone's nodes that makes an outage (0.55)",
         CLI_STRING, &o.zone_threshold},
        {"large-cluster-size-threshold", "N", "nodes above which a zone is large (50)", CLI_INT,
         &o.large_cluster, 0, 1 << 30},
        {"default-not-ready-toleration-seconds", "N",
         "what pods get that do not say how long they stay on a node that is not ready (300)",
         CLI_INT, &o.not_ready_s, 0, 1 << 30},
        {"default-unreachable-toleration-seconds", "N", "the same on a node that is silent (300)",
         CLI_INT, &o.unreachable_s, 0, 1 << 30},
        {"enable-admission-plugins", "NAME,...", "asked beyond the usual ones", CLI_STRING,
         &o.enable_admission},
        {"disable-admission-plugins", "NAME,...", "not asked", CLI_STRING, &o.disable_admission},
        {"authentication-config", "FILE",
         "an AuthenticationConfiguration: issuers, and who may be anonymous (none)", CLI_STRING,
         &o.authentication_config},
        {"oidc-issuer-url", "URL", "tokens of this OpenID Connect issuer are taken (none)",
         CLI_STRING, &o.oidc.issuer_url},
        {"oidc-client-id", "ID", "whom they must be for", CLI_STRING, &o.oidc.client_id},
        {"oidc-username-claim", "CLAIM", "what names the user (sub)", CLI_STRING,
         &o.oidc.username_claim},
        {"oidc-username-prefix", "TEXT",
         "put before it (the issuer's URL and #, nothing before an email); - is nothing",
         CLI_STRING, &o.oidc.username_prefix},
        {"oidc-groups-claim", "CLAIM", "what names his groups (none)", CLI_STRING,
         &o.oidc.groups_claim},
        {"oidc-groups-prefix", "TEXT", "put before each of them", CLI_STRING,
         &o.oidc.groups_prefix},
        {"oidc-required-claim", "KEY=VALUE,...", "what they must say besides", CLI_STRING,
         &o.oidc.required_claim},
        {"oidc-ca-file", "FILE", "authorities of the issuer's certificate (those of the host)",
         CLI_STRING, &o.oidc.ca_file},
        {"oidc-signing-algs", "ALG,...", "RS, PS or ES with 256, 384 or 512 (RS256)", CLI_STRING,
         &o.oidc.signing_algs},
        {"audit-policy-file", "FILE", "what of which requests is logged (audit.k8s.io/v1 Policy)",
         CLI_STRING, &o.audit.policy_file},
        {"audit-log-path", "FILE", "where it is logged (nowhere); - is standard output", CLI_STRING,
         &o.audit.path},
        {"audit-log-maxsize", "MB", "a larger audit log is put aside (100; 0: never)", CLI_INT,
         &o.audit_size_mb, 0, 1 << 20},
        {"audit-log-maxbackup", "N", "audit logs kept that were put aside (0: all)", CLI_INT,
         &o.audit.max_backups, 0, 1 << 20},
        {"audit-log-maxage", "DAYS", "how long they are kept (0: for good)", CLI_INT,
         &o.audit_age_days, 0, 1 << 20},
        {"encrypt", "KIND,...", "kinds that are encrypted on disk besides secrets", CLI_STRING,
         &o.encrypt},
        {"io-threads", "N", "threads that serve connections (1)", CLI_INT, &o.io_threads, 1, 64},
        {"max-requests-inflight", "N", "requests that run at once, shared out by priority (600)",
         CLI_INT, &o.seats, 8, 100000},
        {"ready-fd", "N", "write `ready` to this descriptor instead of stdout", CLI_INT,
         &o.ready_fd, 0, 1 << 20},
        {"log-level", "LEVEL", "debug, info, warn or error (info)", CLI_STRING, &o.log_level},
    };
    struct error err = {0};
    int operands, r;

    cli_default_node_name(host, sizeof(host));
    cli_default_node_ip(ip, sizeof(ip));
    r = cli_opts_parse("server [options]", "Runs the control plane. Prints `ready` when it serves.",
                       opts, ARRAY_LEN(opts), argc, argv, &operands, &err);
    if (r == 0 && operands)
        r = error_set(&err, REASON_BAD_REQUEST, "takes no operand \"%s\"", argv[1]);
    if (r == 0 && log_level_parse(o.log_level) < 0)
        r = error_set(&err, REASON_BAD_REQUEST, "--log-level: unknown level \"%s\"", o.log_level);
    if (r != 0)
        return r > 0 ? EXIT_OK : cli_fail("server", &err, EXIT_USAGE);
    o.cluster.node_ip = o.node_ip;
    memory_tune((unsigned)o.io_threads + 2); /* the core and one for all that write to disk */
    log_init("server", log_level_parse(o.log_level));
    r = server_run(&o, &err);
    if (r < 0 && err.message.p)
        return cli_fail("server", &err,
                        err.reason == REASON_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILED);
    error_fini(&err);
    return r < 0 ? EXIT_FAILED : EXIT_OK;
}
