/* See watch.h. Changes reach the engine as they come and gather in a batch; once a turn the batch
 * is one transaction, run on the pool. When one fails, all is written anew, later and later.
 *
 * Pods and namespaces of the whole cluster are watched only while there is a policy: most clusters
 * have none, and a node should not pay for what nobody asked. The cache keeps their identities, the
 * engine what rules ask about.
 *
 *   ready: policies are known, and where there are some, namespaces and pods are, too.
 *   Not ready, the kernel's table (if any) is the last run's, of which we do not know the contents:
 *   addresses can be held back in it (set fresh), and nothing else. With the first turn of being
 *   ready it is replaced as a whole.
 *
 * DATA/net/policies remembers whether there were any ("1" or "0"): a node that starts while its
 * server is away holds back new pods only if there were, until it knows what there was from the
 * files of its caches. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/net_internal.h"
#include "net/policy/pod.h"
#include "net/policy/policy.h"
#include "net/policy/watch.h"
#include "net/trim.h"
#include "schema/schema.h"
#include "sys/fs.h"

#define RETRY_FIRST (10 * NSEC_PER_MSEC)
#define RETRY_LAST  (60 * NSEC_PER_SEC)
#define PATIENCE    (500 * NSEC_PER_MSEC) /* of a pod's start for its policies to be known */
#define PAGE        500
#define TRUST       (5 * NSEC_PER_SEC) /* in the rules of the last run, for the server to come */
#define KNOWN_FILE  "policies"

struct gate {
    struct list link;
    char *uid; /* owned */
    uint32_t ip;
    uint64_t seq; /* the kernel has it when done_seq is there */
    nsec_t until; /* patience */
    bool held;    /* not ready: its address is among those held back */
    policy_gate_fn done;
    void *arg;
};

struct held { /* while not ready */
    uint32_t ip;
    char link[LINK_NAME_MAX]; /* "": nobody is there */
};

struct flows {   /* of addresses that are nobody's any more */
    uint32_t *v; /* owned */
    size_t n, cap;
};

struct net_policy {
    struct net *n;
    char table[32];
    struct policy_engine *engine;
    struct policy_batch batch;
    struct client_cache *policies, *namespaces, *pods; /* owned; the last two while needed */
    struct list gates;
    struct map old;    /* uids (owned) attached before the restart; until ready */
    struct held *held; /* owned; addresses held back while not ready */
    size_t n_held, cap_held;
    struct flows gone, sent_gone;
    char known; /* what KNOWN_FILE says; 0: nothing */
    bool started, stopping, was_ready;
    bool table_made; /* a table of ours is in the kernel */
    bool full_needed, busy;
    uint64_t changed, sent_seq, done_seq;
    unsigned failures;
    struct rt_task flush, follow;
    struct rt_timer retry, patience;
    struct rt_work work;
    struct buf sent;
    bool sent_delete; /* the one under way removes the table */
    int sent_result;
    struct error sent_err;
};

static bool ready(const struct net_policy *p)
{
    if (!p->n->client)
        return true;
    return client_cache_synced(p->policies) &&
           (policy_count(p->engine) == 0 ||
            (p->pods && client_cache_synced(p->pods) && client_cache_synced(p->namespaces)));
}

static void touch(struct net_policy *p)
{
    p->changed++;
    if (p->started && !p->stopping)
        rt_task_schedule_late(&p->flush);
}

static void flows_add(struct flows *f, uint32_t ip)
{
    ARRAY_RESERVE(f->v, f->n, f->cap);
    f->v[f->n++] = ip;
}

static void flows_clear(struct flows *f)
{
    free(f->v);
    *f = (struct flows){0};
}

static void hold(struct net_policy *p, uint32_t ip, const char *link)
{
    ARRAY_RESERVE(p->held, p->n_held, p->cap_held);
    p->held[p->n_held] = (struct held){.ip = ip};
    snprintf(p->held[p->n_held++].link, LINK_NAME_MAX, "%s", link);
}

static void local(struct net_policy *p, struct str uid, uint32_t ip)
{
    struct ip_addr addr = ip4_from_number(ip);
    char link[LINK_NAME_MAX];
    veth_name(&p->n->config, uid, link);
    policy_local(p->engine, uid, link, ip ? &addr : NULL, &p->batch);
}

/* ---- gates ---- */

static void gate_answer(struct gate *g, int r, const struct error *err)
{
    list_remove(&g->link);
    g->done(g->arg, r, err);
    free(g->uid);
    free(g);
}

static void gates_fail(struct net_policy *p, int r, const struct error *err)
{
    while (!list_empty(&p->gates))
        gate_answer(LIST_FIRST(&p->gates, struct gate, link), r, err);
}

static bool gate_may_pass(struct net_policy *p, const struct gate *g)
{
    bool waited = rt_now(p->n->rt) >= g->until;
    if (!ready(p))
        return waited && (p->known == '0' || (g->held && p->done_seq >= g->seq));
    if (policy_count(p->engine) && !waited && !policy_pod_known(p->engine, str_z(g->uid)))
        return false;
    return p->done_seq >= g->seq && p->was_ready;
}

static void gates_check(struct net_policy *p)
{
    struct gate *g;
    nsec_t next = 0, now = rt_now(p->n->rt);
    LIST_FOR_EACH (g, &p->gates, link) {
        if (gate_may_pass(p, g))
            gate_answer(g, 0, NULL);
        else if (g->until > now && (!next || g->until < next))
            next = g->until;
    }
    if (next)
        rt_timer_start_at(&p->patience, next);
}

static void patience_over(void *arg)
{
    struct net_policy *p = arg;
    rt_task_schedule_late(&p->flush);
}

int policy_gate(struct net_policy *p, struct str uid, uint32_t ip, policy_gate_fn done, void *arg)
{
    if (!p->n->client || map_get(&p->old, uid))
        return 1;
    local(p, uid, ip);
    if (ready(p) && policy_count(p->engine) == 0 && !p->table_made && !p->busy)
        return 1;
    touch(p);
    struct gate *g = NEW(struct gate);
    *g = (struct gate){.uid = str_dup(uid),
                       .ip = ip,
                       .seq = p->changed,
                       .until = rt_now(p->n->rt) + PATIENCE,
                       .done = done,
                       .arg = arg};
    list_init(&g->link);
    list_push_back(&p->gates, &g->link);
    return 0;
}

void policy_detached(struct net_policy *p, struct str uid, uint32_t ip)
{
    if (!p->n->client)
        return;
    free(map_remove(&p->old, uid));
    local(p, uid, 0);
    if (!ip)
        return;
    if (p->table_made)
        flows_add(&p->gone, ip);
    if (!ready(p) &&
        p->table_made) /* what the last run's table says of it must not be the next one's */
        hold(p, ip, "");
    touch(p);
}

/* ---- transactions ---- */

static bool is_gone(void *arg, const struct conntrack_flow *f)
{
    const struct flows *gone = arg;
    uint32_t ends[] = {ip4_number(&f->orig_src), ip4_number(&f->orig_dst),
                       ip4_number(&f->reply_src)};
    for (size_t i = 0; i < gone->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(ends); k++)
            if (ends[k] == gone->v[i])
                return true;
    return false;
}

static void work(void *arg)
{
    struct net_policy *p = arg;
    p->sent_result = p->sent.n ? nft_run(p->sent.data, &p->sent_err) : 0;
    /* Replies pass by their connection: those of a pod that is gone must not be the next one's. */
    if (p->sent_result == 0 && p->sent_gone.n) {
        int r = conntrack_delete(&(struct conntrack_scope){0}, is_gone, &p->sent_gone);
        if (r < 0)
            log_warn("net: deleting flows of pods that are gone: %s", strerror(-r));
    }
}

static void work_failed(struct net_policy *p)
{
    nsec_t wait = MIN(RETRY_FIRST << MIN(p->failures * 2, 20u), RETRY_LAST);
    log_warn("net: policies: %.*s; writing all rules anew", STR_ARG(p->sent_err.message));
    p->full_needed = true;
    if (!p->was_ready) /* somebody took the last run's table away: make one to hold back in */
        p->table_made = false;
    if (p->failures++)
        gates_fail(p, -EIO, &p->sent_err);
    for (size_t i = 0; i < p->sent_gone.n; i++)
        flows_add(&p->gone, p->sent_gone.v[i]);
    rt_timer_start(&p->retry, wait);
}

static void work_done(void *arg)
{
    struct net_policy *p = arg;
    p->busy = false;
    if (p->sent_result < 0) {
        work_failed(p);
    } else {
        p->failures = 0;
        p->done_seq = p->sent_seq;
        if (p->sent.n)
            p->table_made = !p->sent_delete;
    }
    error_clear(&p->sent_err);
    buf_clear(&p->sent);
    flows_clear(&p->sent_gone);
    if (p->stopping) {
        net_stopped_check(p->n);
        return;
    }
    gates_check(p);
    rt_task_schedule_late(&p->flush);
}

static void send_text(struct net_policy *p)
{
    p->sent_seq = p->changed;
    p->sent_gone = p->gone;
    p->gone = (struct flows){0};
    p->busy = true;
    rt_work(p->n->rt, &p->work, RT_WORK_SHORT, work, work_done, p);
}

/* Not ready: new pods are held back, in the table that is there or in one that says just this. */
static void hold_back(struct net_policy *p)
{
    struct gate *g;
    bool more = p->full_needed || p->done_seq != p->changed;
    policy_batch_fini(&p->batch);
    LIST_FOR_EACH (g, &p->gates, link)
        if (!g->held && p->known != '0' && rt_now(p->n->rt) >= g->until) {
            char link[LINK_NAME_MAX];
            veth_name(&p->n->config, str_z(g->uid), link);
            hold(p, g->ip, link);
            g->held = more = true;
            g->seq = ++p->changed;
        }
    if (p->n_held == 0 || !more)
        return;
    if (!p->table_made)
        policy_base(p->engine, &p->sent);
    for (size_t i = 0; i < p->n_held; i++) {
        struct ip_addr a = ip4_from_number(p->held[i].ip);
        policy_hold(p->engine, p->held[i].link[0] ? p->held[i].link : NULL, &a, &p->sent);
    }
    p->full_needed = false;
    p->sent_delete = false;
    send_text(p);
}

static void remember(struct net_policy *p, char known)
{
    if (p->known == known)
        return;
    p->known = known;
    int r = sys_write_file(p->n->dirfd, KNOWN_FILE, &known, 1, 0600);
    if (r < 0)
        log_warn("net: %s/" KNOWN_FILE ": %s", p->n->dir, strerror(-r));
}

static void old_clear(struct net_policy *p)
{
    for (struct map_slot *s = NULL; (s = map_next(&p->old, s));)
        free(s->value);
    map_clear(&p->old);
}

static void became_ready(struct net_policy *p)
{
    struct gate *g;
    p->was_ready = true;
    p->full_needed = true;
    p->changed++;
    LIST_FOR_EACH (g, &p->gates, link) /* what was sent until now did not have their rules */
        g->seq = p->changed;
    old_clear(p);
    p->n_held = 0;
}

/* True: there is something to send. */
static bool print_changes(struct net_policy *p)
{
    bool any = policy_count(p->engine) > 0;
    p->sent_delete = !any;
    if (!any && p->table_made)
        policy_remove(p->engine, &p->sent);
    else if (any && (p->full_needed || !p->table_made))
        policy_full(p->engine, &p->sent);
    else if (any)
        policy_batch_print(&p->batch, p->table, &p->sent);
    policy_batch_fini(&p->batch);
    p->full_needed = false;
    return p->sent.n > 0 || p->gone.n > 0;
}

static void flush(void *arg)
{
    struct net_policy *p = arg;
    if (p->busy || p->stopping || rt_timer_active(&p->retry))
        return;
    if (!ready(p)) {
        p->was_ready = false;
        hold_back(p);
    } else {
        if (!p->was_ready)
            became_ready(p);
        remember(p, policy_count(p->engine) ? '1' : '0');
        if (print_changes(p))
            send_text(p);
        else
            p->done_seq = p->changed;
    }
    gates_check(p);
}

static void retry(void *arg)
{
    struct net_policy *p = arg;
    rt_task_schedule_late(&p->flush);
}

/* ---- what is watched ---- */

static void on_policy(void *arg, struct object *old, struct object *new)
{
    struct net_policy *p = arg;
    struct object *o = new ? new : old;
    policy_set(p->engine, object_ns(o), object_name(o),
               new ? &OBJECT_MSG(new, api_network_policy)->spec : NULL, &p->batch);
    rt_task_schedule_late(&p->follow);
    touch(p);
}

static void on_namespace(void *arg, struct object *old, struct object *new)
{
    struct net_policy *p = arg;
    struct object *o = new ? new : old;
    policy_namespace(p->engine, object_name(o), new != NULL, new ? object_meta(new)->labels : NULL,
                     new ? object_meta(new)->n_labels : 0, &p->batch);
    touch(p);
}

static void on_pod(void *arg, struct object *old, struct object *new)
{
    struct net_policy *p = arg;
    struct policy_port ports[POLICY_POD_PORTS_MAX];
    struct policy_pod pod;
    if (old && !(new &&str_eq(object_meta(old)->uid, object_meta(new)->uid)))
        policy_pod_gone(p->engine, object_meta(old)->uid, &p->batch);
    if (new &&policy_pod_of(OBJECT_MSG(new, api_pod), ports, &pod))
        policy_pod(p->engine, &pod, &p->batch);
    else if (new)
        policy_pod_gone(p->engine, object_meta(new)->uid, &p->batch);
    touch(p);
}

static void on_synced(void *arg)
{
    touch(arg);
}

static struct client_cache *follow_kind(struct net_policy *p, struct client_cache_opts opts,
                                        const char *name, client_cache_change_fn fn)
{
    CLEANUP(freep) char *file = net_cache_file(p->n, name);
    opts.file = file;
    struct client_cache *c = client_cache_new(p->n->client, &opts);
    client_cache_on_change(c, fn, p);
    client_cache_on_synced(c, on_synced, p);
    client_cache_start(c);
    return c;
}

/* A task, since a cache may not be freed by its own handler. */
static void follow(void *arg)
{
    struct net_policy *p = arg;
    bool needed = policy_count(p->engine) > 0;
    if (needed && !p->pods) {
        /* The policies' patience is over; there is nothing more to wait for. */
        nsec_t patience = client_cache_stale(p->policies) ? NSEC_PER_MSEC : 0;
        p->namespaces = follow_kind(p,
                                    (struct client_cache_opts){.kind = schema_kinds[KIND_NAMESPACE],
                                                               .identities_only = true,
                                                               .trim = net_trim_namespace,
                                                               .patience = patience,
                                                               .page = PAGE},
                                    "namespaces", on_namespace);
        p->pods =
            follow_kind(p,
                        (struct client_cache_opts){
                            .kind = schema_kinds[KIND_POD],
                            .field_selector = STR("status.phase!=Succeeded,status.phase!=Failed"),
                            .identities_only = true,
                            .trim = net_trim_pod,
                            .patience = patience,
                            .page = PAGE},
                        "pods", on_pod);
    } else if (!needed && p->pods) {
        p->namespaces = client_cache_free(p->namespaces);
        p->pods = client_cache_free(p->pods);
        policy_forget_pods(p->engine);
    } else {
        return;
    }
    p->was_ready = false; /* engine and kernel have parted */
    touch(p);
}

/* ---- life ---- */

struct net_policy *policy_new(struct net *n)
{
    struct net_policy *p = NEW(struct net_policy);
    p->n = n;
    snprintf(p->table, sizeof(p->table), "%s-policy", n->config.table);
    list_init(&p->gates);
    return p;
}

struct net_policy *policy_free(struct net_policy *p)
{
    if (!p)
        return NULL;
    ASSERT(!p->busy && list_empty(&p->gates));
    policy_engine_free(p->engine);
    policy_batch_fini(&p->batch);
    old_clear(p);
    map_fini(&p->old);
    free(p->held);
    flows_clear(&p->gone);
    buf_fini(&p->sent);
    error_fini(&p->sent_err);
    free(p);
    return NULL;
}

/* Kernels may lack tables of family bridge. */
static bool bridge_tables(struct net_policy *p)
{
    struct error err = {0};
    const char *t = p->table;
    char *commands =
        xasprintf("add table bridge %s-try\n"
                  "add chain bridge %s-try x { type filter hook forward priority 0 ; }\n"
                  "delete table bridge %s-try\n",
                  t, t, t);
    int r = nft_run(commands, &err);
    if (r < 0)
        log_warn("net: pods are not kept from each other on the bridge itself: %.*s",
                 STR_ARG(err.message));
    error_fini(&err);
    free(commands);
    return r == 0;
}

static void engine_make(struct net_policy *p)
{
    uint8_t m[6];
    char mac[18];
    mac_of(p->n->pool.gateway, m);
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    p->engine = policy_engine_new(p->table, bridge_tables(p) ? mac : NULL);
}

static bool table_exists(struct net_policy *p)
{
    char *out = NULL, *command = xasprintf("list chain ip %s forward", p->table);
    int r = nft_query(command, false, &out, NULL);
    free(command);
    free(out);
    return r == 0;
}

/* Pods whose link was made before: the kernel has their rules, or they need none. */
static void find_old(struct net_policy *p)
{
    for (struct map_slot *s = NULL; (s = map_next(&p->n->pool.leases, s));) {
        const struct lease *l = s->value;
        struct nl_link link;
        char name[LINK_NAME_MAX];
        local(p, str_z(l->uid), l->ip);
        veth_name(&p->n->config, str_z(l->uid), name);
        if ((p->table_made || p->known != '1') && nl_link_get(p->n->nl, name, &link) == 0) {
            char *uid = xstrdup(l->uid);
            map_set(&p->old, str_z(uid), uid);
        }
    }
}

void policy_start(struct net_policy *p)
{
    struct rt *rt = p->n->rt;
    char *known = NULL;
    rt_task_init(&p->flush, rt, flush, p);
    rt_task_init(&p->follow, rt, follow, p);
    rt_timer_init(&p->retry, rt, retry, p);
    rt_timer_init(&p->patience, rt, patience_over, p);
    if (sys_read_file(p->n->dirfd, KNOWN_FILE, 16, &known, NULL) == 0)
        p->known = known[0];
    free(known);
    p->table_made = table_exists(p);
    p->started = true;
    if (!p->n->client)
        return;
    engine_make(p);
    find_old(p);
    /* The rules of the last run are newer than any file; without them nothing else is to be had. */
    p->policies = follow_kind(p,
                              (struct client_cache_opts){.kind = schema_kinds[KIND_NETWORK_POLICY],
                                                         .trim = net_trim_policy,
                                                         .patience = p->table_made ? TRUST : 0,
                                                         .page = PAGE},
                              "networkpolicies", on_policy);
}

void policy_stop(struct net_policy *p)
{
    struct error err = {0};
    p->stopping = true;
    if (!p->started)
        return;
    p->policies = client_cache_free(p->policies);
    p->namespaces = client_cache_free(p->namespaces);
    p->pods = client_cache_free(p->pods);
    rt_task_cancel(&p->flush);
    rt_task_cancel(&p->follow);
    rt_timer_stop(&p->retry);
    rt_timer_stop(&p->patience);
    (void)error_set(&err, REASON_UNAVAILABLE, "net: stopping");
    gates_fail(p, -ENETDOWN, &err);
    error_fini(&err);
}

bool policy_busy(const struct net_policy *p)
{
    return p->busy;
}

bool policy_settled(const struct net_policy *p)
{
    if (!p->n->client)
        return true;
    return ready(p) && p->was_ready && !p->busy && !p->full_needed && p->done_seq == p->changed;
}

void policy_watch_dump(const struct net_policy *p, struct buf *out)
{
    buf_printf(out, "policy table %s%s%s%s failures %u\n", p->table, p->table_made ? " made" : "",
               ready(p) ? "" : " not ready", p->busy ? " busy" : "", p->failures);
    if (p->engine && policy_count(p->engine))
        policy_dump(p->engine, out);
}
