/* The simulated cluster: making, crashing, booting it; and a patient user. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/yaml.h"
#include "machine.h"

#define START_WALL INT64_C(1767225600000000) /* 2026-01-01 */
/* Authorities are valid from the real time on: a world with certificates is later than that. */
#define START_WALL_JOINS INT64_C(2051222400000000) /* 2035-01-01 */

uint64_t world_random(struct world *w)
{
    uint64_t z = (w->random += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

uint64_t world_below(struct world *w, uint64_t n)
{
    return world_random(w) % n;
}

static void dump_kind(struct world *w, enum kind_id kind, const char *const *paths)
{
    struct store_iter it;
    if (store_iter_init(&it, w->store, schema_kinds[kind], STR_NONE, 0, STR_NONE, STR_NONE) < 0)
        return;
    for (struct object *o; (o = store_iter_next(&it));) {
        struct buf b = {0};
        for (const char *const *p = paths; *p; p++) {
            struct schema_ref ref;
            buf_printf(&b, " %s=", *p);
            if (schema_get_path(o->kind->desc, o->msg, str_z(*p), &ref) == 1)
                schema_ref_print(&ref, &b);
        }
        fprintf(stderr, "  %s %.*s at %llu%s:%.*s\n", o->kind->kind, STR_ARG(object_name(o)),
                (unsigned long long)o->rev,
                object_meta(o)->deletion_timestamp.set ? " DELETED" : "", STR_ARG(buf_str(&b)));
        buf_fini(&b);
    }
    store_iter_fini(&it);
}

/* The state of things, for whoever has to find out. */
static void dump(struct world *w)
{
    static const char *const POD[] = {"spec.nodeName", "status.phase", "status.conditions",
                                      "metadata.finalizers", NULL};
    static const char *const NODE[] = {"spec.taints", "status.conditions", NULL};
    static const char *const STATUS[] = {"spec.replicas", "status", NULL};
    if (!w->store)
        return;
    dump_kind(w, KIND_NODE, NODE);
    dump_kind(w, KIND_POD, POD);
    dump_kind(w, KIND_REPLICA_SET, STATUS);
    dump_kind(w, KIND_DEPLOYMENT, STATUS);
    dump_kind(w, KIND_JOB, STATUS);
    struct scheduler_stats st = scheduler_stats(w->scheduler);
    fprintf(stderr,
            "  scheduler: active %zu, backing off %zu, unschedulable %zu, binding %zu; store "
            "failed: %d\n",
            st.active, st.backoff, st.unschedulable, st.binding, store_failed(w->store));
}

_Noreturn void world_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "FAILED at %.6f s, seed %llu: ", (double)rt_now(w->rt) / 1e9,
            (unsigned long long)w->opts.seed);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    dump(w);
    machines_dump(w->machines);
    exit(1);
}

/* ---- the server ---- */

static bool is_ready(void *arg)
{
    return apiserver_is_ready(((struct world *)arg)->api);
}

void world_boot(struct world *w)
{
    struct error err = {0};
    if (store_open(w->rt, store_mem_new(w->disk), &(struct store_opts){0}, &w->store, &err) < 0)
        world_fail(w, "open the store: %.*s", STR_ARG(err.message));
    const struct apiserver_opts api = {.cluster = w->opts.joins ? machines_cluster() : NULL};
    struct controllers_opts co = {
        .root_ca_pem = "CA", .node_grace = w->opts.grace, .sign_token = tokens_sign};
    if (w->opts.joins)
        machines_sign_with(w->machines, &co);
    if (apiserver_new(w->rt, w->store, &api, &w->api, &err) < 0)
        world_fail(w, "start the server: %.*s", STR_ARG(err.message));
    w->core_client = apiserver_client(w->api, STR("system:davit"), NULL, 0, false);
    w->shared = client_shared_new(w->core_client);
    w->controllers = controllers_new(w->shared, &co);
    w->scheduler = scheduler_new(w->shared, NULL);
    client_shared_start(w->shared);
    controllers_start(w->controllers);
    scheduler_start(w->scheduler);
    for (unsigned i = 0; i < w->opts.nodes; i++)
        link_set_inner(w->node_links[i],
                       apiserver_client(w->api, STR("system:node"), NULL, 0, false));
    link_set_inner(w->user, apiserver_client(w->api, STR("user"), NULL, 0, false));
    machines_server_up(w->machines);
    checker_attach(w->checker);
    error_fini(&err);
}

void world_crash(struct world *w)
{
    if (!w->store)
        return;
    w->crashes++;
    checker_detach(w->checker);
    w->scheduler = scheduler_free(w->scheduler);
    w->controllers = controllers_free(w->controllers);
    w->shared = client_shared_free(w->shared);
    client_free(w->core_client);
    for (unsigned i = 0; i < w->opts.nodes; i++)
        link_set_inner(w->node_links[i], NULL);
    link_set_inner(w->user, NULL);
    machines_server_down(w->machines);
    w->api = apiserver_free(w->api);
    store_abandon(w->store);
    w->store = NULL;
}

void world_reopen(struct world *w)
{
    if (w->store && store_failed(w->store))
        world_crash(w);
    if (!w->store)
        world_boot(w);
}

static void on_container(void *arg, const char *node, const struct api_object_meta *pod, bool runs)
{
    checker_container(((struct world *)arg)->checker, node, pod, runs);
}

void world_init(struct world *w, const struct world_opts *opts)
{
    *w = (struct world){.opts = *opts, .random = opts->seed};
    ASSERT(opts->nodes <= NODES_MAX);
    hash_seed(opts->seed, 1); /* the same order of maps in every run */
    w->rt = rt_sim_new(opts->seed, opts->joins ? START_WALL_JOINS : START_WALL);
    w->disk = store_disk_new();
    store_disk_faults(w->disk)->latency_min = 200 * NSEC_PER_USEC;
    store_disk_faults(w->disk)->latency_max = 3 * NSEC_PER_MSEC;
    w->faults = (struct link_faults){.delay_min = 100 * NSEC_PER_USEC,
                                     .delay_max = 2 * NSEC_PER_MSEC,
                                     .timeout = 5 * NSEC_PER_SEC};
    w->user_faults = w->faults;
    w->user = link_new(w->rt, &w->user_faults, world_random(w));
    w->checker = checker_new(w);
    if (opts->joins)
        w->machines = machines_new(w);
    for (unsigned i = 0; i < opts->nodes; i++) {
        char *name = xasprintf("n%u", i);
        w->node_links[i] = link_new(w->rt, &w->faults, world_random(w));
        char zone[64];
        snprintf(zone, sizeof(zone), "topology.kubernetes.io/zone=z%u",
                 opts->zones ? i % opts->zones : 0);
        const struct hollow_opts h = {
            .name_prefix = name,
            .nodes = 1,
            .start_delay = opts->start_delay,
            .fence = true,
            .clock_rate = opts->skewed ? ((double)world_below(w, 2001) - 1000) / 100000 : 0,
            .labels = opts->zones ? zone : NULL,
            .on_container = on_container,
            .arg = w};
        w->nodes[i] = hollow_new(w->node_links[i], &h);
        free(name);
    }
    world_boot(w);
    bool ready = rt_run_until(w->rt, is_ready, w, 60 * NSEC_PER_SEC);
    WORLD_CHECK(w, ready, "the server does not get ready");
    for (unsigned i = 0; i < opts->nodes; i++)
        hollow_start(w->nodes[i]);
}

void world_fini(struct world *w)
{
    world_crash(w);
    for (unsigned i = 0; i < w->opts.nodes; i++) {
        hollow_free(w->nodes[i]);
        client_free(w->node_links[i]);
    }
    machines_free(w->machines);
    client_free(w->user);
    checker_free(w->checker);
    store_disk_free(w->disk);
    rt_free(w->rt);
}

void world_run(struct world *w, nsec_t span)
{
    rt_sim_run_for(w->rt, span);
}

struct until {
    struct world *world;
    bool (*pred)(struct world *w);
};

static bool until_holds(void *arg)
{
    struct until *u = arg;
    return u->pred(u->world);
}

void world_until(struct world *w, bool (*pred)(struct world *w), nsec_t timeout, const char *what)
{
    struct until u = {w, pred};
    nsec_t end = rt_now(w->rt) + timeout;
    while (!until_holds(&u)) { /* in slices: the predicate may be dear */
        WORLD_CHECK(w, rt_now(w->rt) < end, "not within %lld s: %s",
                    (long long)(timeout / NSEC_PER_SEC), what);
        rt_sim_run_for(w->rt, 50 * NSEC_PER_MSEC);
    }
}

struct object *world_get(struct world *w, enum kind_id kind, const char *ns, const char *name)
{
    return w->store ? store_get(w->store, schema_kinds[kind], str_z(ns), str_z(name)) : NULL;
}

/* ---- the user ---- */

struct user_call {
    struct world *world;
    bool done;
    int r;
};

static void user_done(void *arg, const struct client_reply *reply)
{
    struct user_call *u = arg;
    u->done = true;
    u->r = reply->r;
    if (reply->r == 0 && reply->object)
        checker_acknowledged(u->world->checker, reply->object);
    if (reply->r < 0 && reply->r != -ECONNRESET && reply->r != -EEXIST && reply->r != -ENOENT &&
        reply->err &&
        (reply->err->reason == REASON_INVALID || reply->err->reason == REASON_BAD_REQUEST))
        world_fail(u->world, "a user's call is refused: %.*s", STR_ARG(reply->err->message));
}

static bool user_is_done(void *arg)
{
    return ((struct user_call *)arg)->done;
}

/* Again and again until the server has answered yes. */
static void insist(struct world *w, const struct client_request *req)
{
    for (unsigned i = 0; i < 200; i++) {
        struct user_call u = {.world = w};
        client_call(w->user, req, user_done, &u);
        bool answered = rt_run_until(w->rt, user_is_done, &u, 120 * NSEC_PER_SEC);
        WORLD_CHECK(w, answered, "a call is not answered at all");
        if (u.r == 0 || (req->verb == CLIENT_CREATE && u.r == -EEXIST) ||
            (req->verb == CLIENT_DELETE && u.r == -ENOENT))
            return;
        world_run(w, 500 * NSEC_PER_MSEC);
        world_reopen(w);
    }
    world_fail(w, "the user gives up");
}

int world_evict(struct world *w, const char *ns, const char *name)
{
    struct user_call u = {.world = w};
    const struct api_eviction e = {.metadata = {.name = str_z(name), .namespace = str_z(ns)}};
    const struct client_request req = {.verb = CLIENT_CREATE,
                                       .kind = schema_kinds[KIND_POD],
                                       .ns = str_z(ns),
                                       .name = str_z(name),
                                       .subresource = STR("eviction"),
                                       .body_desc = &api_eviction_desc,
                                       .body = &e,
                                       .reply_desc = &api_status_desc};
    client_call(w->user, &req, user_done, &u);
    bool answered = rt_run_until(w->rt, user_is_done, &u, 120 * NSEC_PER_SEC);
    WORLD_CHECK(w, answered, "an eviction is not answered at all");
    return u.r;
}

void world_apply(struct world *w, enum kind_id kind, const char *text)
{
    struct arena a = {0};
    struct error err = {0};
    void *msg = schema_new(schema_kinds[kind]->desc, &a);
    char *json = xstrdup(text);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    if (schema_decode_text(schema_kinds[kind]->desc, str_z(json), &a, NULL, msg, &err) < 0)
        world_fail(w, "%s: %.*s", text, STR_ARG(err.message));
    const struct api_object_meta *m = msg;
    const struct client_request req = {
        .verb = CLIENT_CREATE, .kind = schema_kinds[kind], .ns = m->namespace, .body = msg};
    insist(w, &req);
    free(json);
    arena_fini(&a);
}

void world_merge(struct world *w, enum kind_id kind, const char *ns, const char *name,
                 const char *text)
{
    char *json = xstrdup(text);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    const struct client_request req = {.verb = CLIENT_PATCH,
                                       .kind = schema_kinds[kind],
                                       .ns = str_z(ns),
                                       .name = str_z(name),
                                       .patch_type = CLIENT_PATCH_STRATEGIC,
                                       .patch = str_z(json)};
    insist(w, &req);
    free(json);
}

void world_delete(struct world *w, enum kind_id kind, const char *ns, const char *name,
                  const char *propagation)
{
    const struct client_request req = {.verb = CLIENT_DELETE,
                                       .kind = schema_kinds[kind],
                                       .ns = str_z(ns),
                                       .name = str_z(name),
                                       .propagation = str_z(propagation)};
    insist(w, &req);
    checker_forget(w->checker, kind, ns, name);
}
