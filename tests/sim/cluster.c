/* Everything at once, on a cluster that is never finished: machines join with a token, get their
 * certificates and their ranges, die, leave and come under old names, while Deployments, Services,
 * a budget under eviction and pods that are one of a kind live on them, and the server, its disk,
 * its clock and the network fail. */
#include <stdio.h>

#include "base/mem.h"
#include "guard.h"
#include "machine.h"
#include "scenarios.h"

#define S          NSEC_PER_SEC
#define IDENTITIES 4
#define WEB        6 /* replicas; a budget keeps WEB_MIN of them */
#define WEB_MIN    4
#define API        4

#define LEAVES_AT_ONCE                                                                             \
    "{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':'NoExecute',"            \
    "'tolerationSeconds':0},{'key':'node.kubernetes.io/not-ready','operator':'Exists',"            \
    "'effect':'NoExecute','tolerationSeconds':0}"

/* ---- what the user wants ---- */

static void want_app(struct world *w, const char *app, unsigned replicas)
{
    char *json = xasprintf(
        "{'metadata':{'name':'%s','namespace':'default'},'spec':{'replicas':%u,"
        "'selector':{'matchLabels':{'app':'%s'}},'template':{'metadata':{'labels':{'app':'%s'}},"
        "'spec':{'tolerations':[" LEAVES_AT_ONCE "],'containers':[{'name':'c','image':'x:1',"
        "'resources':{'requests':{'cpu':'100m','memory':'64Mi'}}}]}}}}",
        app, replicas, app, app);
    world_apply(w, KIND_DEPLOYMENT, json);
    free(json);
    json = xasprintf("{'metadata':{'name':'%s','namespace':'default'},'spec':{'selector':{'app':"
                     "'%s'},'ports':[{'port':80}]}}",
                     app, app);
    world_apply(w, KIND_SERVICE, json);
    free(json);
}

static void set_up(struct world *w)
{
    struct buf ca = {0};
    world_apply(w, KIND_SECRET,
                "{'metadata':{'name':'bootstrap-token-abcdef','namespace':'kube-system'},'type':"
                "'bootstrap.kubernetes.io/token','stringData':{'token-id':'abcdef','token-secret':"
                "'0123456789abcdef','usage-bootstrap-authentication':'true','auth-extra-groups':"
                "'system:bootstrappers:davit:nodes'}}");
    /* A world has no PKI directory; this is what the server writes where there is one. */
    for (const char *p = machines_ca_pem(); *p; p++)
        if (*p == '\n')
            buf_add_lit(&ca, "\\n");
        else
            buf_add_char(&ca, *p);
    char *json = xasprintf("{'data':{'ca.crt':'%.*s'}}", (int)ca.n, ca.data);
    world_merge(w, KIND_CONFIG_MAP, "kube-system", CLUSTER_CONFIG_NAME, json);
    free(json);
    buf_fini(&ca);
    want_app(w, "web", WEB);
    want_app(w, "api", API);
    world_apply(w, KIND_POD_DISRUPTION_BUDGET,
                "{'metadata':{'name':'web','namespace':'default'},'spec':{'minAvailable':4,"
                "'selector':{'matchLabels':{'app':'web'}}}}");
    guard_budget(checker_guard(w->checker), "web", WEB_MIN);
}

/* What a controller of stable names does: makes those again that are not there. */
static void make_missing(struct world *w)
{
    for (unsigned i = 0; i < IDENTITIES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "id-%u", i);
        if (!w->store || store_failed(w->store) || world_get(w, KIND_POD, "default", name))
            continue;
        char *json = xasprintf(
            "{'metadata':{'name':'%s','namespace':'default','labels':{'app':'id'}},'spec':{"
            "'tolerations':[" LEAVES_AT_ONCE "],'containers':[{'name':'c','image':'x'}]}}",
            name);
        world_apply(w, KIND_POD, json);
        free(json);
        checker_forget(w->checker, KIND_POD, "default", name);
    }
}

/* Time goes by, and whoever is missed is made again at once: an identity that moves too early is
 * met by the one that still runs. */
static void live(struct world *w, nsec_t span)
{
    for (nsec_t end = rt_now(w->rt) + span; rt_now(w->rt) < end;) {
        world_run(w, MIN(200 * NSEC_PER_MSEC, end - rt_now(w->rt)));
        if (!store_disk_faults(w->disk)->full)
            make_missing(w);
    }
}

/* ---- machines ---- */

static void join(struct world *w, unsigned i)
{
    char name[24];
    unsigned other = (unsigned)world_below(w, MACHINES_MAX);
    if (world_below(w, 4) == 0 && other != i) /* a name that may be taken, or was */
        snprintf(name, sizeof(name), "m%u", other);
    else
        snprintf(name, sizeof(name), "m%u", i);
    machine_join(w, i, name);
}

/* `davit node rm` of a machine that is gone for good. */
static void remove_ghosts(struct world *w, bool all)
{
    for (;;) {
        struct store_iter it;
        char name[64] = "";
        if (!w->store || store_failed(w->store) || store_disk_faults(w->disk)->full ||
            store_iter_init(&it, w->store, schema_kinds[KIND_NODE], STR_NONE, 0, STR_NONE,
                            STR_NONE) < 0)
            return;
        for (struct object *o; !name[0] && (o = store_iter_next(&it));)
            if (machine_find(w, object_name(o)) < 0)
                snprintf(name, sizeof(name), "%.*s", STR_ARG(object_name(o)));
        store_iter_fini(&it);
        if (!name[0])
            return;
        world_delete(w, KIND_NODE, "", name, NULL);
        if (!all)
            return;
    }
}

static bool node_is_ready(struct world *w, const char *name)
{
    struct object *o = world_get(w, KIND_NODE, "", name);
    const struct api_node *n = o ? OBJECT_MSG(o, api_node) : NULL;
    bool ready = false;
    for (uint32_t k = 0; n && k < n->status.n_conditions; k++)
        ready |= str_is(n->status.conditions[k].type, "Ready") &&
                 str_is(n->status.conditions[k].status, "True");
    return ready && n->spec.n_taints == 0 && n->spec.pod_cidr.n > 0;
}

static bool machines_are_ready(struct world *w)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (machine_is_on(w, i) && (!machine_is_up(w, i) || !node_is_ready(w, machine_name(w, i))))
            return false;
    return w->store && store_count(w->store, schema_kinds[KIND_NODE]) > 0;
}

/* ---- the end ---- */

static bool app_is_complete(struct world *w, const char *app, unsigned replicas)
{
    struct object *o = world_get(w, KIND_DEPLOYMENT, "default", app);
    const struct api_deployment *d = o ? OBJECT_MSG(o, api_deployment) : NULL;
    return d && d->status.observed_generation >= d->metadata.generation &&
           d->status.updated_replicas == (int)replicas && d->status.replicas == (int)replicas &&
           d->status.available_replicas == (int)replicas &&
           checker_pods_ready(w->checker, app) == replicas &&
           checker_pods_alive(w->checker, app) == replicas;
}

/* Every ready endpoint of the Service is a ready pod's address, and there are as many. */
static bool endpoints_are_pods(struct world *w, const char *app, unsigned replicas)
{
    struct store_iter it;
    unsigned n = 0;
    bool ok = true;
    if (store_iter_init(&it, w->store, schema_kinds[KIND_ENDPOINT_SLICE], STR("default"), 0,
                        STR_NONE, STR_NONE) < 0)
        return false;
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_endpoint_slice *s = OBJECT_MSG(o, api_endpoint_slice);
        const struct str *service = KV_GET(&s->metadata, labels, STR("kubernetes.io/service-name"));
        if (!service || !str_eqz(*service, app))
            continue;
        for (uint32_t i = 0; i < s->n_endpoints; i++) {
            const struct api_endpoint *e = &s->endpoints[i];
            struct object *pod = e->target_ref ? store_get(w->store, schema_kinds[KIND_POD],
                                                           STR("default"), e->target_ref->name)
                                               : NULL;
            n += e->conditions.ready;
            ok &= pod && e->n_addresses == 1 &&
                  str_eq(e->addresses[0], OBJECT_MSG(pod, api_pod)->status.pod_ip);
        }
    }
    store_iter_fini(&it);
    return ok && n == replicas;
}

/* Pods of a Node that was removed count as ready until they are collected. */
static bool pods_have_machines(struct world *w)
{
    struct store_iter it;
    bool ok = true;
    if (store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0, STR_NONE,
                        STR_NONE) < 0)
        return false;
    for (struct object *o; (o = store_iter_next(&it));)
        ok &= machine_find(w, OBJECT_MSG(o, api_pod)->spec.node_name) >= 0;
    store_iter_fini(&it);
    return ok;
}

static bool all_is_well(struct world *w)
{
    if (!w->store)
        return false;
    make_missing(w);
    return machines_are_ready(w) && app_is_complete(w, "web", WEB) &&
           app_is_complete(w, "api", API) && endpoints_are_pods(w, "web", WEB) &&
           endpoints_are_pods(w, "api", API) &&
           checker_pods_ready(w->checker, "id") == IDENTITIES &&
           checker_running(w->checker) == IDENTITIES + WEB + API && pods_have_machines(w);
}

static void heal(struct world *w)
{
    unsigned on = 0;
    *store_disk_faults(w->disk) = (struct store_disk_faults){.latency_min = 200 * NSEC_PER_USEC,
                                                             .latency_max = 3 * NSEC_PER_MSEC};
    w->faults.loss = 0;
    w->faults.delay_max = 2 * NSEC_PER_MSEC;
    world_reopen(w);
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        machine_cut(w, i, false, false);
        if (machine_is_killed(w, i))
            machine_revive(w, i);
    }
    remove_ghosts(w, true);
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        on += machine_is_on(w, i);
    for (unsigned i = 0; i < MACHINES_MAX && on < 3; i++)
        if (!machine_is_on(w, i)) {
            join(w, i);
            on++;
        }
}

/* ---- what goes wrong ---- */

struct race { /* calls at one time */
    unsigned left;
};

static void on_raced(void *arg, const struct client_reply *reply)
{
    ((struct race *)arg)->left--;
}

static bool race_is_over(void *arg)
{
    return ((struct race *)arg)->left == 0;
}

static void evict_some(struct world *w)
{
    struct race race = {0};
    struct store_iter it;
    unsigned most = 2 + (unsigned)world_below(w, 4);
    if (!w->store || store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0,
                                     STR_NONE, STR_NONE) < 0)
        return;
    for (struct object *o; race.left < most && (o = store_iter_next(&it));) {
        const struct str *app = KV_GET(object_meta(o), labels, STR("app"));
        if (!app || !str_is(*app, "web"))
            continue;
        const struct api_eviction e = {
            .metadata = {.name = object_name(o), .namespace = object_ns(o)}};
        const struct client_request req = {.verb = CLIENT_CREATE,
                                           .kind = schema_kinds[KIND_POD],
                                           .ns = object_ns(o),
                                           .name = object_name(o),
                                           .subresource = STR("eviction"),
                                           .body_desc = &api_eviction_desc,
                                           .body = &e,
                                           .reply_desc = &api_status_desc};
        race.left++;
        client_call(w->user, &req, on_raced, &race);
    }
    store_iter_fini(&it);
    bool over = rt_run_until(w->rt, race_is_over, &race, 120 * S);
    WORLD_CHECK(w, over, "an eviction is not answered at all");
}

/* A second scheduler that knows nothing: whoever comes second must be refused. */
static void bind_some(struct world *w)
{
    struct race race = {0};
    struct store_iter it;
    unsigned skip = (unsigned)world_below(w, IDENTITIES + WEB + API);
    unsigned m = (unsigned)world_below(w, MACHINES_MAX);
    if (!machine_is_on(w, m) || !w->store ||
        store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0, STR_NONE,
                        STR_NONE) < 0)
        return;
    for (struct object *o; race.left == 0 && (o = store_iter_next(&it));) {
        if (skip-- > 0)
            continue;
        const struct api_binding b = {
            .metadata = {.name = object_name(o), .namespace = object_ns(o)},
            .target = {.kind = STR("Node"), .name = str_z(machine_name(w, m))}};
        const struct client_request req = {.verb = CLIENT_CREATE,
                                           .kind = schema_kinds[KIND_POD],
                                           .ns = object_ns(o),
                                           .name = object_name(o),
                                           .subresource = STR("binding"),
                                           .body_desc = &api_binding_desc,
                                           .body = &b,
                                           .reply_desc = &api_status_desc};
        race.left++;
        client_call(w->user, &req, on_raced, &race);
    }
    store_iter_fini(&it);
    bool over = rt_run_until(w->rt, race_is_over, &race, 120 * S);
    WORLD_CHECK(w, over, "a binding is not answered at all");
}

static void machine_fault(struct world *w, unsigned i)
{
    static const struct {
        bool up, down;
    } WAYS[] = {{true, true}, {true, false}, {false, true}, {false, false}, {false, false}};
    unsigned way = (unsigned)world_below(w, ARRAY_LEN(WAYS));
    switch (world_below(w, 8)) {
    case 0:
    case 1:
    case 2:
        machine_cut(w, i, WAYS[way].up, WAYS[way].down);
        break;
    case 3:
    case 4:
    case 5:
        if (machine_is_killed(w, i))
            machine_revive(w, i);
        else if (machine_is_on(w, i))
            machine_kill(w, i);
        break;
    case 6:
        if (machine_is_on(w, i))
            machine_wipe(w, i);
        break;
    default:
        remove_ghosts(w, false);
    }
}

static void server_fault(struct world *w)
{
    struct store_disk_faults *disk = store_disk_faults(w->disk);
    switch (world_below(w, 6)) {
    case 0:
    case 1:
        disk->crash_keeps = world_below(w, 2);
        world_crash(w);
        break;
    case 2:
        disk->fail_nth = 1 + world_below(w, 8);
        disk->fail_unknown = world_below(w, 3) == 0;
        disk->fail_kept = world_below(w, 2);
        break;
    case 3:
        disk->full = !disk->full;
        break;
    case 4:
        disk->latency_max = (nsec_t)world_below(w, 300) * NSEC_PER_MSEC + disk->latency_min;
        break;
    default:
        rt_sim_wall_jump(w->rt, ((int64_t)world_below(w, 1201) - 600) * 1000000);
    }
}

static void mishap(struct world *w)
{
    unsigned i = (unsigned)world_below(w, MACHINES_MAX);
    unsigned what = (unsigned)world_below(w, 21);
    bool writes = w->store && !store_failed(w->store) && !store_disk_faults(w->disk)->full;
    if (what < 6 && !machine_is_on(w, i))
        join(w, i);
    else if (what < 10)
        machine_fault(w, i);
    else if (what < 14)
        server_fault(w);
    else if (what < 16)
        evict_some(w);
    else if (what == 16)
        bind_some(w);
    else if (what == 17)
        w->faults.loss = (double)world_below(w, 30) / 100;
    else if (what == 18) /* messages that are late by seconds */
        w->faults.delay_max = (nsec_t)world_below(w, 2000) * NSEC_PER_MSEC + w->faults.delay_min;
    else if (what == 19 && writes) {
        char *json = xasprintf("{'spec':{'template':{'spec':{'containers':[{'name':'c','image':"
                               "'x:%u'}]}}}}",
                               (unsigned)world_below(w, 9));
        world_merge(w, KIND_DEPLOYMENT, "default", "api", json);
        free(json);
    } else if (writes)
        make_missing(w);
}

/* ---- the server alone: it must not take its own death for everybody else's ---- */

static uint64_t pods_there(struct world *w)
{
    struct store_iter it;
    uint64_t sum = 0;
    int r = store_iter_init(&it, w->store, schema_kinds[KIND_POD], STR("default"), 0, STR_NONE,
                            STR_NONE);
    ASSERT(r == 0);
    for (struct object *o; (o = store_iter_next(&it));) {
        const struct api_object_meta *m = object_meta(o);
        for (size_t i = 0; i < m->uid.n && !m->deletion_timestamp.set; i++)
            sum = sum * 31 + (unsigned char)m->uid.p[i];
    }
    store_iter_fini(&it);
    return sum;
}

/* Fenced pods stop and come back on their nodes; nothing is deleted. */
static void cut_the_server_off(struct world *w)
{
    world_run(w, 30 * S); /* calls that were lost before are over */
    world_until(w, all_is_well, 300 * S, "everything still as declared");
    uint64_t before = pods_there(w);
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        machine_cut(w, i, true, true);
    world_run(w, (20 + (nsec_t)world_below(w, 300)) * S);
    if (world_below(w, 2)) {
        world_crash(w);
        world_run(w, (nsec_t)world_below(w, 5000) * NSEC_PER_MSEC);
        world_boot(w);
        world_run(w, (nsec_t)world_below(w, 60000) * NSEC_PER_MSEC);
    }
    WORLD_CHECK(w, pods_there(w) == before, "pods were evicted by a server that was cut off");
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        machine_cut(w, i, false, false);
    world_until(w, machines_are_ready, 120 * S, "all machines back");
    world_until(w, all_is_well, 120 * S, "everything again");
    WORLD_CHECK(w, pods_there(w) == before, "pods were evicted after the server was cut off");
}

void run_cluster(struct world *w, unsigned steps)
{
    unsigned first = 3 + (unsigned)world_below(w, 8); /* up to ten at once */
    set_up(w);
    for (unsigned i = 0; i < first; i++)
        join(w, i);
    if (world_below(w, 2))
        world_until(w, machines_are_ready, 120 * S, "the first machines");
    for (unsigned i = 0; i < steps * 8; i++) {
        mishap(w);
        live(w, (nsec_t)world_below(w, world_below(w, 4) ? 3000 : 30000) * NSEC_PER_MSEC);
        if ((!w->store || store_failed(w->store)) && world_below(w, 2))
            world_reopen(w);
    }
    heal(w);
    world_until(w, machines_are_ready, 600 * S, "every machine a ready node");
    remove_ghosts(w, true);
    world_until(w, all_is_well, 900 * S, "everything as declared, once the faults are over");
    if (world_below(w, 2))
        cut_the_server_off(w);
    world_run(w, 5 * S);
    checker_quiet(w->checker);
}
