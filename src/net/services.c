/* From the caches to the kernel. A change of a Service or a slice only marks that service; once a
 * turn the marked ones are planned and told to the differ, and what comes out is one transaction,
 * run on the pool (apply.c). While it runs, further changes gather for the next: a storm costs few
 * transactions.
 *
 * When a transaction fails (somebody changed our table), the table is compared with what is wanted,
 * and when that fails (it is gone) made anew, later and later as it keeps failing. At start rules
 * of the former run stay in force until the caches are in. */
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "api/object.h"
#include "net/net_internal.h"
#include "net/trim.h"
#include "schema/schema.h"

#define RETRY_FIRST  (1 * NSEC_PER_SEC)
#define RETRY_LAST   (60 * NSEC_PER_SEC)
#define SLICES_MAX   1024               /* of one service: 100,000 endpoints */
#define NAMES_MAX    520                /* "ns/name" */
#define PLAN_AT_ONCE 256                /* services a turn: some milliseconds */
#define TRUST        (5 * NSEC_PER_SEC) /* after the start */

/* One block: it lies between what is kept of Services, and goes soon. */
struct service_dirty {
    bool named; /* the name server has it */
    uint8_t ns_n;
    char key[]; /* "ns/name" */
};

static void transact(struct net *n);

static bool ready_to_plan(const struct net *n)
{
    return n->services && client_cache_synced(n->services) && client_cache_synced(n->slices) &&
           client_cache_synced(n->nodes);
}

/* ---- marking ---- */

static struct str dirty_key(const void *value)
{
    return str_z(((const struct service_dirty *)value)->key);
}

static struct str dirty_ns(const struct service_dirty *d)
{
    return (struct str){d->key, d->ns_n};
}

static struct str dirty_name(const struct service_dirty *d)
{
    return str_z(d->key + d->ns_n + 1);
}

static void mark(struct net *n, struct str ns, struct str name)
{
    char key[NAMES_MAX];
    if (n->stopping || ns.n > UINT8_MAX || ns.n + name.n + 2 > sizeof(key))
        return; /* longer than the API server takes */
    int k = snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(ns), STR_ARG(name));
    struct service_dirty *d = catalog_get(&n->dirty, str_z(key));
    if (!d) {
        d = xcalloc(1, sizeof(*d) + (size_t)k + 1);
        d->ns_n = (uint8_t)ns.n;
        memcpy(d->key, key, (size_t)k);
        (void)catalog_set(&n->dirty, d);
    }
    d->named = false; /* the name server wants to know, whatever the rules wait for */
    rt_task_schedule_late(&n->flush);
}

static struct str slice_service(struct object *o)
{
    return net_slice_service(object_meta(o));
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
    n->full_anew = !n->table_made;
    rt_task_schedule_late(&n->flush);
}

/* ---- this node ---- */

static bool node_read(struct net *n, const struct api_node *node)
{
    const struct str *zone =
        node ? KV_GET(&node->metadata, labels, STR("topology.kubernetes.io/zone")) : NULL;
    struct net_plan_env was = n->plan_env;
    struct ip_addr a;
    n->plan_env.n_addresses = 0;
    for (uint32_t i = 0; node && i < node->status.n_addresses; i++)
        if (n->plan_env.n_addresses < NET_NODE_ADDRESSES_MAX &&
            ip_parse(node->status.addresses[i].address, &a) == 0 && a.family == AF_INET &&
            !ip_is_loopback(&a))
            n->plan_env.addresses[n->plan_env.n_addresses++] = ip4_number(&a);
    bool changed = was.n_addresses != n->plan_env.n_addresses ||
                   memcmp(was.addresses, n->plan_env.addresses,
                          was.n_addresses * sizeof(was.addresses[0])) != 0 ||
                   !str_eq(was.zone, zone ? *zone : STR_NONE);
    free(n->zone);
    n->zone = zone ? str_dup(*zone) : NULL;
    n->plan_env.zone = n->zone ? str_z(n->zone) : STR_NONE;
    return changed;
}

/* Its zone decides which hints are ours, its addresses where load balancers are: both may concern
 * every Service. */
static void on_node(void *arg, struct object *old, struct object *new)
{
    struct net *n = arg;
    struct client_cache_iter it;
    (void)old;
    if (!node_read(n, new ? OBJECT_MSG(new, api_node) : NULL) || !ready_to_plan(n))
        return;
    client_cache_iter_init(&it, n->services, STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        mark(n, object_ns(o), object_name(o));
        client_cache_release(n->services);
    }
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
    struct object *svc = client_cache_get(n->services, dirty_ns(d), dirty_name(d));
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
    health_set(n->health, str_z(d->key), plan.health_port, plan.n_local);
    client_cache_release(n->services);
    client_cache_release(n->slices);
    arena_fini(&a);
}

/* The name server hears of changes at once, also while rules are being written. */
static void name_dirty(struct net *n)
{
    struct object *slices[SLICES_MAX];
    struct service_dirty *d;
    for (uint32_t at = 0; (d = catalog_next(&n->dirty, &at));) {
        if (d->named)
            continue;
        struct object *svc = client_cache_get(n->services, dirty_ns(d), dirty_name(d));
        bool headless = svc && str_is(OBJECT_MSG(svc, api_service)->spec.cluster_ip, "None");
        dns_set(n->dns, dirty_ns(d), dirty_name(d), svc, slices,
                headless ? slices_of(n, d, slices) : 0);
        client_cache_release(n->services);
        client_cache_release(n->slices);
        d->named = true;
    }
    if (!n->dns_synced)
        dns_synced(n->dns);
    n->dns_synced = true;
}

static void dirty_clear(struct net *n)
{
    struct service_dirty *d;
    for (uint32_t at = 0; (d = catalog_next(&n->dirty, &at));)
        free(d);
    catalog_fini(&n->dirty);
}

/* Ten thousand at once would hold the loop, and with it probes and heartbeats. False: more to do.
 */
static bool dirty_plan(struct net *n)
{
    struct service_dirty *some[PLAN_AT_ONCE];
    size_t k = 0;
    for (uint32_t at = 0; k < PLAN_AT_ONCE && (some[k] = catalog_next(&n->dirty, &at));)
        k++;
    for (size_t i = 0; i < k; i++) {
        (void)catalog_remove(&n->dirty, str_z(some[i]->key));
        plan_one(n, some[i]);
        free(some[i]);
    }
    if (n->dirty.n)
        return false;
    catalog_fini(&n->dirty); /* it may have been large */
    return true;
}

/* Rules in the kernel are newer than any file. While the server may be back in a moment (both were
 * restarted) nothing from a file is written over them. */
static bool from_file(const struct net *n)
{
    return ready_to_plan(n) && (client_cache_stale(n->services) || client_cache_stale(n->slices) ||
                                client_cache_stale(n->nodes));
}

static void flush(void *arg)
{
    struct net *n = arg;
    if (n->dns && !n->stopping && ready_to_plan(n))
        name_dirty(n);
    if (n->busy || n->stopping || rt_timer_active(&n->retry) ||
        (rt_timer_active(&n->trust) && from_file(n)))
        return;
    if (ready_to_plan(n) && !dirty_plan(n))
        rt_task_schedule(&n->flush); /* the next turn; I/O comes first */
    else
        transact(n);
}

/* ---- transactions ---- */

static void work(void *arg)
{
    struct net *n = arg;
    n->tx_result = net_apply(&n->tx, n->nft_nl);
}

static void failed(struct net *n)
{
    nsec_t wait = MIN(RETRY_FIRST << MIN(n->failures, 6u), RETRY_LAST);
    bool matching = n->tx.how == NET_APPLY_MATCH;
    n->full_needed = true;
    n->full_anew = n->tx.how != NET_APPLY_CHANGE; /* gone, or of another davit's shape */
    if (n->failures++ == 0 || (matching && n->failures == 2))
        wait = NSEC_PER_MSEC;
    if (matching && n->tx_result == -ENOENT)
        log_debug("net: %.*s", STR_ARG(n->tx.err.message));
    else
        log_warn("net: %.*s; %s", STR_ARG(n->tx.err.message),
                 n->full_anew ? "writing all rules anew" : "comparing all rules");
    rt_timer_start(&n->retry, wait);
}

static void work_done(void *arg)
{
    struct net *n = arg;
    n->busy = false;
    n->transactions++;
    n->elements += n->tx.n_elems;
    n->last_took = rt_now(n->rt) - n->last_took;
    if (n->tx_result < 0) {
        failed(n);
    } else {
        n->failures = 0;
        n->table_made = true;
        if (!n->stopping)
            net_sweep_add(&n->sweep, &n->tx.flows);
    }
    net_tx_fini(&n->tx);
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
    if (!n->full_needed && !n->batch.changes && !n->batch.n_gone)
        return;
    n->tx = (struct net_tx){.how = !n->full_needed ? NET_APPLY_CHANGE
                                   : n->full_anew  ? NET_APPLY_ANEW
                                                   : NET_APPLY_MATCH,
                            .env = *net_rules_env(n->rules)};
    if (n->full_needed) { /* what was gathered is in what is wanted */
        net_batch_fini(&n->batch);
        net_rules_wanted(n->rules, &n->tx.batch);
        if (ready_to_plan(n))
            net_flows_all(&n->tx.flows, n->rules);
    } else {
        n->tx.batch = n->batch;
        n->batch = (struct net_batch){0};
        net_flows_take(&n->tx.flows, &n->tx.batch);
    }
    n->full_needed = false;
    n->busy = true;
    n->last_took = rt_now(n->rt);
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

static void swept(void *arg)
{
    struct net *n = arg;
    if (n->stopping)
        net_stopped_check(n);
}

static void chain_found(void *arg, const char *chain)
{
    (void)chain;
    *(bool *)arg = true;
}

#define LIST_PAGE 500

static struct client_cache *packed_cache(struct net *n, enum kind_id kind, const char *name,
                                         void (*trim)(void *msg, struct arena *a, const char *own),
                                         const char *field_selector)
{
    CLEANUP(freep) char *file = net_cache_file(n, name);
    return client_cache_new(n->client,
                            &(struct client_cache_opts){.kind = schema_kinds[kind],
                                                        .field_selector = str_z(field_selector),
                                                        .packed = true,
                                                        .trim = trim,
                                                        .trim_for = n->node_name,
                                                        .page = LIST_PAGE,
                                                        .file = file});
}

static bool table_exists(struct net *n)
{
    bool found = false;
    return nft_chains_list(n->nft_nl, n->config.table, chain_found, &found) == 0 && found;
}

int services_start(struct net *n, struct error *err)
{
    int r = nl_open_nft(&n->nft_nl);
    if (r < 0)
        return error_errno(err, -r, "net: nftables");
    n->dirty = CATALOG(dirty_key);
    rt_task_init(&n->flush, n->rt, flush, n);
    rt_timer_init(&n->retry, n->rt, retry, n);
    rt_timer_init(&n->trust, n->rt, retry, n);
    net_sweep_init(&n->sweep, n->rt, swept, n);
    net_rules_common(n->rules);
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
    n->full_anew = !n->table_made;
    if (!n->full_needed)
        net_batch_fini(&n->batch);
    n->health = health_new(n->rt);
    if (n->table_made)
        rt_timer_start(&n->trust, TRUST);
    if (n->client) {
        char *own = xasprintf("metadata.name=%s", n->node_name);
        n->services = packed_cache(n, KIND_SERVICE, "services", net_trim_service, NULL);
        n->slices = packed_cache(n, KIND_ENDPOINT_SLICE, "endpointslices", net_trim_slice, NULL);
        n->slices_by_service = client_cache_add_index(n->slices, index_slice);
        n->nodes = packed_cache(n, KIND_NODE, "node", net_trim_node, own);
        free(own);
        client_cache_on_change(n->nodes, on_node, n);
        client_cache_on_synced(n->nodes, on_synced, n);
        client_cache_on_change(n->services, on_service, n);
        client_cache_on_change(n->slices, on_slice, n);
        client_cache_on_synced(n->services, on_synced, n);
        client_cache_on_synced(n->slices, on_synced, n);
        client_cache_start(n->services);
        client_cache_start(n->slices);
        client_cache_start(n->nodes);
    }
    rt_task_schedule_late(&n->flush);
    return 0;
}

void services_stop(struct net *n)
{
    n->services = client_cache_free(n->services);
    n->slices = client_cache_free(n->slices);
    n->nodes = client_cache_free(n->nodes);
    n->health = health_free(n->health);
    rt_task_cancel(&n->flush);
    rt_timer_stop(&n->retry);
    rt_timer_stop(&n->trust);
    net_sweep_stop(&n->sweep);
    dirty_clear(n);
    net_batch_fini(&n->batch);
}
