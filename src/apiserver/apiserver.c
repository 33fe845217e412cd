/* Makes the core half out of its parts and keeps its clocks: bookmarks for watchers, the end of old
 * Events, the renewal of certificates. */
#include "apiserver/internal.h"

#include "apiserver/admit/admit.h"
#include "apiserver/aggregate/apiservices.h"
#include "apiserver/audit/audit.h"
#include "apiserver/custom/call_convert.h"
#include "apiserver/custom/crds.h"
#include "apiserver/flow/flow_config.h"
#include "apiserver/front/front.h"
#include "apiserver/hooks/hooks.h"
#include "apiserver/custom/kinds.h"
#include "apiserver/auth/issuers.h"
#include "apiserver/pod_index.h"
#include "apiserver/policy/policy.h"
#include "apiserver/admit/quota.h"
#include "apiserver/aggregate/remotes.h"
#include "apiserver/watch_hub.h"
#include "apiserver/watch_state.h"
#include "apiserver/usage.h"
#include "base/log.h"
#include "base/trace.h"
#include "client/kubeconfig.h"
#include "rt/stream.h"
#include "sys/fs.h"

#include <fcntl.h>

#define RENEW_PERIOD       (24 * 3600 * NSEC_PER_SEC)
#define EVENT_SWEEP_PERIOD (60 * NSEC_PER_SEC)

static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static void copy_opts(struct apiserver *s, const struct apiserver_opts *o)
{
    s->opts = *o;
    s->opts.pki_dir = copy_or_null(o->pki_dir);
    s->opts.service_cidr = xstrdup(o->service_cidr ? o->service_cidr : "10.96.0.0/16");
    s->opts.advertise_address = copy_or_null(o->advertise_address);
    char **sans = xcalloc(o->n_sans + 1, sizeof(*sans));
    for (size_t i = 0; i < o->n_sans; i++)
        sans[i] = xstrdup(o->sans[i]);
    s->opts.sans = (const char *const *)sans;
    if (!s->opts.nodeport_min || !s->opts.nodeport_max ||
        s->opts.nodeport_min > s->opts.nodeport_max) {
        s->opts.nodeport_min = 30000;
        s->opts.nodeport_max = 32767;
    }
    if (!s->opts.event_ttl_s)
        s->opts.event_ttl_s = 3600;
    if (!s->opts.io_threads)
        s->opts.io_threads = 1;
}

static void free_opts(struct apiserver *s)
{
    free((void *)(uintptr_t)s->opts.pki_dir);
    free((void *)(uintptr_t)s->opts.service_cidr);
    free((void *)(uintptr_t)s->opts.advertise_address);
    for (size_t i = 0; i < s->opts.n_sans; i++)
        free((void *)(uintptr_t)s->opts.sans[i]);
    free((void *)(uintptr_t)s->opts.sans);
}

static void on_ready_task(void *arg)
{
    struct apiserver *s = arg;
    if (s->ready || s->bootstrap_left || rt_timer_active(&s->retry_timer))
        return;
    s->ready = true;
    if (s->on_ready)
        s->on_ready(s->on_ready_arg);
}

static void on_stopped(void *arg)
{
    struct apiserver *s = arg;
    if (s->stop_done)
        s->stop_done(s->stop_arg);
}

void apiserver_on_ready(struct apiserver *s, void (*fn)(void *arg), void *arg)
{
    s->on_ready = fn;
    s->on_ready_arg = arg;
    if (s->ready) {
        s->ready = false; /* told once more, from the loop */
        rt_task_schedule(&s->ready_task);
    }
}

bool apiserver_is_ready(const struct apiserver *s)
{
    return s->ready;
}

static void on_bookmark(void *arg)
{
    struct apiserver *s = arg;
    api_watch_tick(s);
    rt_timer_start(&s->bookmark_timer, rt_jitter(s->rt, API_BOOKMARK_PERIOD_S * NSEC_PER_SEC, 0.1));
}

static void on_hubs(void *arg)
{
    struct apiserver *s = arg;
    api_watch_hubs_tick(s);
}

static usec_t event_time(const struct api_event *e)
{
    usec_t t = e->metadata.creation_timestamp.usec;
    t = MAX(t, e->last_timestamp.usec);
    t = MAX(t, e->event_time.usec);
    if (e->series)
        t = MAX(t, e->series->last_observed_time.usec);
    return t;
}

/* Events live for an hour after they were last seen. */
static void on_event_sweep(void *arg)
{
    struct apiserver *s = arg;
    usec_t limit = rt_wall(s->rt) - s->opts.event_ttl_s * 1000000;
    struct object *old[API_EVENTS_SWEEP_MAX];
    size_t n = 0;
    struct store_iter it;
    if (store_iter_init(&it, s->store, KIND(EVENT), STR_NONE, 0, STR_NONE, STR_NONE) >= 0) {
        for (struct object *o; n < ARRAY_LEN(old) && (o = store_iter_next(&it));)
            if (event_time(o->msg) < limit)
                old[n++] = object_ref(o);
        store_iter_fini(&it);
    }
    for (size_t i = 0; i < n; i++) {
        (void)!store_delete(s->store, KIND(EVENT), object_ns(old[i]), object_name(old[i]),
                            old[i]->rev, NULL, NULL, NULL);
        object_unref(old[i]);
    }
    rt_timer_start(&s->event_timer, n == ARRAY_LEN(old) ? NSEC_PER_SEC : EVENT_SWEEP_PERIOD);
}

static void on_renew(void *arg)
{
    struct apiserver *s = arg;
    struct error err = {0};
    bool changed = false;
    int r =
        pki_renew(s->pki, s->opts.sans, s->opts.n_sans, rt_wall(s->rt) / 1000000, &changed, &err);
    if (r < 0) {
        log_warn("certificates could not be renewed: %.*s", STR_ARG(err.message));
    } else if (changed && s->front) {
        front_reload_certificates(s->front);
        remotes_reload(s->remotes);
    }
    error_fini(&err);
    rt_timer_start(&s->renew_timer, rt_jitter(s->rt, RENEW_PERIOD, 0.05));
}

static struct outcall *call_webhook(void *ctx, const struct outcall_request *q)
{
    return outcall_start(ctx, q);
}

static void on_issuers(void *arg)
{
    struct apiserver *s = arg;
    if (s->front)
        front_keys_changed(s->front);
}

int apiserver_new(struct rt *core, struct store *store, const struct apiserver_opts *opts,
                  struct apiserver **ret, struct error *err)
{
    static const struct apiserver_opts none;
    struct apiserver *s = NEW(struct apiserver);
    s->rt = core;
    s->store = store;
    list_init(&s->calls);
    list_init(&s->watches);
    api_watch_hubs_init(s);
    s->watch_recent = watch_recent_new(core);
    copy_opts(s, opts ? opts : &none);
    rt_task_init(&s->ready_task, core, on_ready_task, s);
    rt_task_init(&s->stop_task, core, on_stopped, s);
    rt_timer_init(&s->bookmark_timer, core, on_bookmark, s);
    rt_timer_init(&s->hub_timer, core, on_hubs, s);
    rt_timer_init(&s->event_timer, core, on_event_sweep, s);
    rt_timer_init(&s->renew_timer, core, on_renew, s);
    s->audit = s->opts.audit;
    int r = admit_plugins(opts ? opts->enable_admission : NULL,
                          opts ? opts->disable_admission : NULL, &s->plugins, err);
    if (r >= 0 && s->opts.pki_dir)
        r = pki_open(s->opts.pki_dir, s->opts.pki_sync_later, s->opts.sans, s->opts.n_sans,
                     rt_wall(core) / 1000000, &s->pki, err);
    if (r >= 0 && opts && (opts->oidc || opts->authentication_config))
        r = issuers_new(core, opts->oidc, opts->authentication_config, &s->issuers, err);
    if (r < 0) {
        pki_free(s->pki);
        audit_free(s->audit);
        hubs_free(s->hubs);
        watch_recent_free(s->watch_recent);
        free_opts(s);
        free(s);
        return r;
    }
    if (s->issuers)
        issuers_on_changed(s->issuers, on_issuers, s);
    if (s->opts.pki_dir)
        rt_timer_start(&s->renew_timer, RENEW_PERIOD);
    if (s->pki && s->pki->ca_is_new && store_peek(store, KIND(NAMESPACE), STR_NONE, STR("default")))
        log_warn("apiserver: the cluster's keys (%s) were gone and are made anew: kubeconfigs and "
                 "tokens of before are refused, and its machines must join again",
                 s->opts.pki_dir);
    s->outcalls = outcalls_new(core, store);
    s->converts = converts_new(core, call_webhook, s->outcalls);
    s->kinds = kinds_new();
    s->crds = crds_new(s);
    s->apiservices = s->opts.no_bootstrap ? NULL : apiservices_new(s);
    s->rbac = rbac_new(s);
    s->alloc = alloc_new(s);
    s->ranges = ranges_new(s);
    s->pods = pod_index_new(s);
    s->quotas = quotas_new(s);
    s->flows = flow_config_new(s);
    s->usage = usage_new(s);
    s->policies = policies_new(s);
    s->hooks = hooks_new(s);
    rt_timer_start(&s->bookmark_timer, API_BOOKMARK_PERIOD_S * NSEC_PER_SEC);
    rt_timer_start(&s->event_timer, EVENT_SWEEP_PERIOD);
    bootstrap_start(s);
    *ret = s;
    return 0;
}

static bool is_reachable(struct str host)
{
    return host.n && !str_starts(host, STR("127.")) && !str_is(host, "0.0.0.0") &&
           !str_is(host, "::") && !str_is(host, "::1") && !str_is(host, "localhost");
}

int apiserver_listen(struct apiserver *s, const char *addr, struct error *err)
{
    if (!s->pki)
        return error_set(err, REASON_INTERNAL, "the API server cannot listen without keys");
    s->remotes = remotes_new(s);
    int r = front_new(s, addr, &s->front, err);
    if (r < 0)
        return r;
    s->port = front_port(s->front);
    usage_start(s->usage, front_node_tls(s->front));
    struct rt_addr at;
    struct str host = s->opts.advertise_address ? str_z(s->opts.advertise_address) : STR_NONE;
    bool listens_at = rt_addr_parse(str_z(addr), &at, NULL) >= 0 && !at.any && !at.is_unix;
    if (host.n || listens_at)
        front_set_address(s->front, host.n ? host : str_z(at.host));
    if (!host.n && listens_at && is_reachable(str_z(at.host)))
        host = str_z(at.host);
    if (host.n)
        s->advertise = (struct str){str_dup(host), host.n};
    bootstrap_endpoints(s);
    return 0;
}

uint16_t apiserver_port(const struct apiserver *s)
{
    return s->port;
}

void apiserver_stop(struct apiserver *s, int64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    s->stopping = true;
    remotes_stop(s->remotes);
    issuers_stop(s->issuers);
    rt_timer_stop(&s->bookmark_timer);
    rt_timer_stop(&s->event_timer);
    rt_timer_stop(&s->renew_timer);
    rt_timer_stop(&s->hub_timer);
    if (s->retry_timer.rt)
        rt_timer_stop(&s->retry_timer);
    s->stop_done = done;
    s->stop_arg = arg;
    usage_stop(s->usage);
    converts_stop(s->converts); /* who waits for a webhook would not be answered in time */
    hooks_stop(s->hooks);
    if (s->front)
        front_stop(s->front, timeout_ms, done, arg);
    else
        rt_task_schedule(&s->stop_task);
}

struct apiserver *apiserver_free(struct apiserver *s)
{
    if (!s)
        return NULL;
    ASSERT(list_empty(&s->watches));
    s->outcalls = outcalls_free(s->outcalls); /* whoever waits for one is dropped with its call */
    store_forget_writes(s->store);            /* of calls, and of the bootstrap */
    while (!list_empty(&s->calls)) {
        struct api_call *c = LIST_FIRST(&s->calls, struct api_call, link);
        list_remove(&c->link);
        call_convert_end(c);
        if (c->dropped)
            c->dropped(c);
    }
    s->front = front_free(s->front);
    s->remotes = remotes_free(s->remotes);
    s->issuers = issuers_free(s->issuers);
    s->audit = audit_free(s->audit); /* its tellers are gone */
    trace_taps_close();
    rt_timer_stop(&s->bookmark_timer);
    rt_timer_stop(&s->event_timer);
    rt_timer_stop(&s->renew_timer);
    rt_timer_stop(&s->hub_timer);
    if (s->retry_timer.rt)
        rt_timer_stop(&s->retry_timer);
    rt_task_cancel(&s->ready_task);
    rt_task_cancel(&s->stop_task);
    s->rbac = rbac_free(s->rbac);
    s->apiservices = apiservices_free(s->apiservices);
    s->watch_recent = watch_recent_free(s->watch_recent);
    s->crds = crds_free(s->crds);
    s->converts = converts_free(s->converts);
    map_fini(&s->convert_lines);
    s->kinds = kinds_free(s->kinds);
    s->hubs = hubs_free(s->hubs);
    s->alloc = alloc_free(s->alloc);
    s->ranges = ranges_free(s->ranges);
    s->quotas = quotas_free(s->quotas);
    s->flows = flow_config_free(s->flows);
    s->usage = usage_free(s->usage);
    s->policies = policies_free(s->policies);
    s->hooks = hooks_free(s->hooks);
    s->pods = pod_index_free(s->pods);
    s->pki = pki_free(s->pki);
    free((void *)(uintptr_t)s->advertise.p);
    free_opts(s);
    free(s);
    return NULL;
}

/* ---- credentials ---- */

static int need_pki(const struct apiserver *s, struct error *err)
{
    return s->pki ? 0 : error_set(err, REASON_INTERNAL, "this API server has no keys");
}

int apiserver_sign(void *arg, const struct pkey *key, const struct cert_spec *spec, char **ret_pem,
                   struct error *err)
{
    struct apiserver *s = arg;
    struct cert *cert;
    int r = need_pki(s, err);
    if (r == 0)
        r = cert_issue(s->pki->ca, s->pki->ca_key, key, spec, err, &cert);
    if (r < 0)
        return r;
    *ret_pem = cert_to_pem(cert);
    cert_free(cert);
    return 0;
}

int apiserver_issue_client_cert(struct apiserver *s, struct str user, const struct str *groups,
                                size_t n_groups, char **ret_cert_pem, char **ret_key_pem,
                                struct error *err)
{
    int r = need_pki(s, err);
    if (r < 0)
        return r;
    struct cert_spec spec = {.cn = user,
                             .orgs = groups,
                             .n_orgs = n_groups,
                             .for_client = true,
                             .not_after_s =
                                 rt_wall(s->rt) / 1000000 + (int64_t)PKI_CERT_DAYS * 86400};
    return pki_issue(s->pki, &spec, ret_cert_pem, ret_key_pem, err);
}

int apiserver_issue_node_serving_cert(struct apiserver *s, const char *node_name,
                                      const char *const *addresses, size_t n, char **ret_cert_pem,
                                      char **ret_key_pem, struct error *err)
{
    int r = need_pki(s, err);
    if (r < 0)
        return r;
    struct str dns[CERT_NAMES_MAX], ips[CERT_NAMES_MAX];
    struct str org = STR("system:nodes");
    struct arena a = {0};
    size_t n_dns = 0, n_ips = 0;
    dns[n_dns++] = str_z(node_name);
    for (size_t i = 0; i < n && n_dns < CERT_NAMES_MAX && n_ips < CERT_NAMES_MAX; i++) {
        bool ip = schema_format_check(SCHEMA_FORMAT_IP, str_z(addresses[i])) == NULL;
        if (ip)
            ips[n_ips++] = str_z(addresses[i]);
        else
            dns[n_dns++] = str_z(addresses[i]);
    }
    struct cert_spec spec = {.cn = arena_printf(&a, "system:node:%s", node_name),
                             .orgs = &org,
                             .n_orgs = 1,
                             .dns = dns,
                             .n_dns = n_dns,
                             .ips = ips,
                             .n_ips = n_ips,
                             .for_server = true,
                             .not_after_s =
                                 rt_wall(s->rt) / 1000000 + (int64_t)PKI_CERT_DAYS * 86400};
    r = pki_issue(s->pki, &spec, ret_cert_pem, ret_key_pem, err);
    arena_fini(&a);
    return r;
}

static int write_kubeconfig(struct apiserver *s, const char *user, struct str cn, struct str org,
                            const char *path, const char *server_url, struct error *err)
{
    char *cert = NULL, *key = NULL;
    int r = apiserver_issue_client_cert(s, cn, &org, 1, &cert, &key, err);
    if (r < 0)
        return r;
    struct buf text = {0};
    kubeconfig_print(&(struct kubeconfig_text){.user = user,
                                               .server_url = server_url,
                                               .ca_pem = str_z(s->pki->ca_pem),
                                               .cert_pem = str_z(cert),
                                               .key_pem = str_z(key)},
                     &text);
    r = sys_put_file(AT_FDCWD, path, text.data, text.n, 0600);
    if (r < 0)
        (void)error_errno(err, r, "cannot write %s", path);
    crypto_wipe(text.data, text.n);
    crypto_wipe(key, strlen(key));
    buf_fini(&text);
    free(cert);
    free(key);
    return r;
}

int apiserver_write_admin_kubeconfig(struct apiserver *s, const char *path, const char *server_url,
                                     struct error *err)
{
    return write_kubeconfig(s, "admin", STR("kubernetes-admin"), STR("system:masters"), path,
                            server_url, err);
}

int apiserver_write_node_kubeconfig(struct apiserver *s, const char *node_name, const char *path,
                                    const char *server_url, struct error *err)
{
    CLEANUP(freep) char *cn = xasprintf("system:node:%s", node_name);
    return write_kubeconfig(s, cn, str_z(cn), STR("system:nodes"), path, server_url, err);
}

const char *apiserver_ca_pem(const struct apiserver *s)
{
    return s->pki ? s->pki->ca_pem : NULL;
}
