/* From the caches to the kernel. A change of a Service or a slice only marks that service; once a
 * turn the marked ones are planned and told to the differ, and what comes out is one transaction,
 * run on the pool by libnftables. While it runs, further changes gather for the next: a storm costs
 * few transactions.
 *
 * When a transaction fails (somebody deleted our table), all is written anew in one transaction,
 * later and later as it keeps failing. At start rules of the former run stay in force until the
 * caches are in. */
#include "base/log.h"
#include "base/mem.h"
#include "api/object.h"
#include "net/net_internal.h"
#include "schema/schema.h"

#define RETRY_FIRST (1 * NSEC_PER_SEC)
#define RETRY_LAST  (60 * NSEC_PER_SEC)
#define SLICES_MAX  1024 /* of one service: 100,000 endpoints */

struct service_dirty {
    char *ns, *name, *key; /* owned */
    bool named;            /* the name server has it */
};

static void transact(struct net *n);

static bool ready_to_plan(const struct net *n)
{
    return n->services && client_cache_synced(n->services) && client_cache_synced(n->slices);
}

/* ---- marking ---- */

static void mark(struct net *n, struct str ns, struct str name)
{
    char *key = xasprintf("%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    struct service_dirty *d = map_get(&n->dirty, str_z(key));
    if (n->stopping || d) {
        if (d)
            d->named = false;
        free(key);
        return;
    }
    d = NEW(struct service_dirty);
    *d = (struct service_dirty){.ns = str_dup(ns), .name = str_dup(name), .key = key};
    map_set(&n->dirty, str_z(key), d);
    rt_task_schedule_late(&n->flush);
}

static struct str slice_service(struct object *o)
{
    const struct api_object_meta *m = object_meta(o);
    const struct str *name = KV_GET(m, labels, STR("kubernetes.io/service-name"));
    return name ? *name : STR_NONE;
}

static void on_service(void *arg, struct object *old, struct object *new)
{
    struct object *o = new ? new : old;
    mark(arg, object_ns(o), object_name(o));
}

static void on_slice(void *arg, struct object *old, struct object *new)
{
    struct object *both[] = {old, new};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        struct str name = both[i] ? slice_service(both[i]) : STR_NONE;
        if (name.n)
            mark(arg, object_ns(both[i]), name);
    }
}

static void index_slice(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    struct str name = slice_service(o);
    if (!name.n)
        return;
    char *key = xasprintf("%.*s/%.*s", STR_ARG(object_ns(o)), STR_ARG(name));
    emit(ctx, str_z(key));
    free(key);
}

/* Also services that are gone while we were away have to go: with the first full list all is new.
 */
static void on_synced(void *arg)
{
    struct net *n = arg;
    if (!ready_to_plan(n))
        return;
    n->full_needed = true;
    n->full_keep = n->table_made;
    rt_task_schedule_late(&n->flush);
}

/* ---- planning ---- */

static size_t slices_of(struct net *n, const struct service_dirty *d,
                        struct object *ret[static SLICES_MAX])
{
    struct client_cache_iter it;
    struct object *o;
    size_t found = 0;
    client_cache_iter_init_index(&it, n->slices, n->slices_by_service, str_z(d->key));
    while (found < SLICES_MAX && (o = client_cache_iter_next(&it)))
        ret[found++] = o;
    return found;
}

static void plan_one(struct net *n, const struct service_dirty *d)
{
    struct arena a = {0};
    struct net_plan plan = {0};
    struct object *svc = client_cache_get(n->services, str_z(d->ns), str_z(d->name));
    if (svc) {
        struct object *objects[SLICES_MAX];
        size_t n_slices = slices_of(n, d, objects);
        const struct api_endpoint_slice **slices =
            ARENA_NEW_N(&a, const struct api_endpoint_slice *, n_slices + 1);
        for (size_t i = 0; i < n_slices; i++)
            slices[i] = OBJECT_MSG(objects[i], api_endpoint_slice);
        net_plan_service(OBJECT_MSG(svc, api_service), slices, n_slices, &n->plan_env, &a, &plan);
    }
    net_rules_service(n->rules, str_z(d->key), &plan, &n->batch);
    arena_fini(&a);
}

/* The name server hears of changes at once, also while rules are being written. */
static void name_dirty(struct net *n)
{
    struct object *slices[SLICES_MAX];
    for (struct map_slot *s = NULL; (s = map_next(&n->dirty, s));) {
        struct service_dirty *d = s->value;
        if (d->named)
            continue;
        struct object *svc = client_cache_get(n->services, str_z(d->ns), str_z(d->name));
        bool headless = svc && str_is(OBJECT_MSG(svc, api_service)->spec.cluster_ip, "None");
        dns_set(n->dns, str_z(d->ns), str_z(d->name), svc, slices,
                headless ? slices_of(n, d, slices) : 0);
        d->named = true;
    }
    if (!n->dns_synced)
        dns_synced(n->dns);
    n->dns_synced = true;
}

static void dirty_clear(struct net *n, bool plan)
{
    for (struct map_slot *s = NULL; (s = map_next(&n->dirty, s));) {
        struct service_dirty *d = s->value;
        if (plan)
            plan_one(n, d);
        free(d->ns);
        free(d->name);
        free(d->key);
        free(d);
    }
    map_clear(&n->dirty);
}

static void flush(void *arg)
{
    struct net *n = arg;
    if (n->dns && !n->stopping && ready_to_plan(n))
        name_dirty(n);
    if (n->busy || n->stopping || rt_timer_active(&n->retry))
        return;
    if (ready_to_plan(n))
        dirty_clear(n, true);
    transact(n);
}

/* ---- transactions ---- */

static void work(void *arg)
{
    struct net *n = arg;
    n->sent_result = nft_run(n->nft, n->sent.data, &n->sent_err);
    if (n->sent_result == 0 && !net_flows_empty(&n->flows)) {
        int r = net_flows_delete(&n->flows);
        if (r < 0)
            log_warn("net: deleting flows of endpoints that are gone: %s", strerror(-r));
    }
}

static void work_done(void *arg)
{
    struct net *n = arg;
    n->busy = false;
    n->transactions++;
    if (n->sent_result < 0) {
        nsec_t wait = MIN(RETRY_FIRST << MIN(n->failures, 6u), RETRY_LAST);
        /* The table may be of another shape (an older davit) or gone: the next try makes it anew.
         */
        n->full_keep = n->full_keep && n->failures == 0;
        n->full_needed = true;
        if (n->failures++ == 0)
            wait = 10 * NSEC_PER_MSEC;
        log_warn("net: %.*s; writing all rules anew", STR_ARG(n->sent_err.message));
        rt_timer_start(&n->retry, wait);
    } else {
        n->failures = 0;
        n->table_made = true;
    }
    error_clear(&n->sent_err);
    buf_clear(&n->sent);
    net_flows_fini(&n->flows);
    if (n->stopping)
        net_stopped_check(n);
    else
        rt_task_schedule_late(&n->flush);
}

static void retry(void *arg)
{
    struct net *n = arg;
    rt_task_schedule_late(&n->flush);
}

static void transact(struct net *n)
{
    /* While the server is away at start, the rules of the last run are better than none: no
     * rewrite. */
    if (n->full_needed && n->table_made && n->client && !ready_to_plan(n))
        return;
    if (n->full_needed)
        net_rules_full(n->rules, n->full_keep, &n->sent);
    else if (n->batch.changes)
        net_batch_print(&n->batch, n->config.table, &n->sent);
    else
        return;
    if (n->full_needed && ready_to_plan(n))
        net_flows_all(&n->flows, n->rules);
    n->full_needed = false;
    net_flows_take(&n->flows, &n->batch);
    net_batch_fini(&n->batch);
    n->busy = true;
    rt_work(n->rt, &n->work, RT_WORK_SHORT, work, work_done, n);
}

/* ---- life ---- */

void services_pod_changed(struct net *n, struct str uid, uint32_t ip,
                          const struct net_host_port *ports, size_t n_ports)
{
    if (n->stopping)
        return; /* the next start writes all rules anew, from the leases */
    net_rules_pod(n->rules, uid, ip, ports, n_ports, &n->batch);
    if (n->batch.changes)
        rt_task_schedule_late(&n->flush);
}

static bool table_exists(struct net *n)
{
    char *out = NULL, *command = xasprintf("list chain ip %s services", n->config.table);
    int r = nft_query(n->nft, command, false, &out, NULL);
    free(command);
    free(out);
    return r == 0;
}

void services_start(struct net *n)
{
    rt_task_init(&n->flush, n->rt, flush, n);
    rt_timer_init(&n->retry, n->rt, retry, n);
    n->nft = nft_new();
    n->plan_env.node_name = str_z(n->node_name);
    n->plan_env.dns_address = str_z(n->dns_address);
    if (ip_prefix_parse(str_z(n->cluster_cidr), &n->plan_env.cluster_cidr) < 0)
        n->plan_env.cluster_cidr = n->config.range;
    for (struct map_slot *s = NULL; (s = map_next(&n->pool.leases, s));) {
        const struct lease *l = s->value;
        net_rules_pod(n->rules, str_z(l->uid), l->ip, l->ports, l->n_ports, &n->batch);
    }
    n->table_made = table_exists(n);
    /* Rules of the last run keep serving until we know the Services; without any, pods need the
     * base now. */
    n->full_needed = !n->table_made || !n->client;
    n->full_keep = false;
    if (!n->full_needed)
        net_batch_fini(&n->batch);
    if (n->client) {
        n->services = client_cache_new(
            n->client, &(struct client_cache_opts){.kind = schema_kinds[KIND_SERVICE]});
        n->slices = client_cache_new(
            n->client, &(struct client_cache_opts){.kind = schema_kinds[KIND_ENDPOINT_SLICE]});
        n->slices_by_service = client_cache_add_index(n->slices, index_slice);
        client_cache_on_change(n->services, on_service, n);
        client_cache_on_change(n->slices, on_slice, n);
        client_cache_on_synced(n->services, on_synced, n);
        client_cache_on_synced(n->slices, on_synced, n);
        client_cache_start(n->services);
        client_cache_start(n->slices);
    }
    rt_task_schedule_late(&n->flush);
}

void services_stop(struct net *n)
{
    n->services = client_cache_free(n->services);
    n->slices = client_cache_free(n->slices);
    rt_task_cancel(&n->flush);
    rt_timer_stop(&n->retry);
    dirty_clear(n, false);
    net_batch_fini(&n->batch);
}
