/* The controller framework under a bad connection: a controller that gives every ConfigMap labelled
 * role=parent one child with a random name, through a link that loses requests and answers and
 * delays events. However often runs fail and outcomes are unknown, there must never be a second
 * child. */
#include <stdio.h>

#include "apiserver/apiserver.h"
#include "base/hash.h"
#include "base/log.h"
#include "controllers/controller.h"
#include "link.h"
#include "rt/sim.h"
#include "store/store_mem.h"

#define PARENTS 40

static struct str label(const struct object *o, const char *key)
{
    const struct api_object_meta *m = object_meta(o);
    const struct str *v = m->n_labels ? kv_str_get(m->labels, m->n_labels, str_z(key)) : NULL;
    return v ? *v : STR_NONE;
}

static void map(struct controller *c, struct object *old, struct object *new)
{
    const struct object *o = new ? new : old;
    if (str_is(label(o, "role"), "parent"))
        controller_add_object(c, o);
    else if (!str_empty(label(o, "parent")))
        controller_add_name(c, object_ns(o), label(o, "parent"));
}

static void reconcile(struct reconcile *rc)
{
    struct client_cache_iter it;
    if (!reconcile_get(rc, KIND_CONFIG_MAP, rc->ns, rc->name))
        return;
    client_cache_iter_init(&it, controller_cache(rc->controller, KIND_CONFIG_MAP), rc->ns);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        if (str_eq(label(o, "parent"), rc->name))
            return;
    struct api_config_map *m = ARENA_NEW(rc->arena, struct api_config_map);
    struct kv_str *l = ARENA_NEW(rc->arena, struct kv_str);
    *l = (struct kv_str){STR("parent"), rc->name};
    m->metadata.namespace = rc->ns;
    m->metadata.generate_name = STR("child-");
    m->metadata.labels = l;
    m->metadata.n_labels = 1;
    controller_create(rc, KIND_CONFIG_MAP, m, NULL, NULL);
    controller_add(rc->controller, rc->key); /* comes back while the cache may not know yet */
}

static const struct controller_row row = {
    .name = "child", .watches = {{KIND_CONFIG_MAP, map}}, .n_watches = 1, .reconcile = reconcile};
const struct controller_row *const controller_rows[] = {&row, NULL}; /* instead of registry.c */

static bool is_ready(void *arg)
{
    return apiserver_is_ready(arg);
}

static int play(uint64_t seed)
{
    struct error err = {0};
    struct store *store;
    struct apiserver *api;
    struct rt *rt = rt_sim_new(seed, 1767225600000000);
    struct link_faults faults = {
        .delay_min = NSEC_PER_MSEC,
        .delay_max = 300 * NSEC_PER_MSEC,
        .loss = 0.3,
        .timeout = 20 * NSEC_PER_MSEC}; /* heard of long before the cache hears of the outcome */
    hash_seed(seed, 2);
    if (store_open(rt, store_mem_new(NULL), &(struct store_opts){0}, &store, &err) < 0 ||
        apiserver_new(rt, store, &(struct apiserver_opts){0}, &api, &err) < 0 ||
        !rt_run_until(rt, is_ready, api, 60 * NSEC_PER_SEC))
        return 1;
    struct client *user = apiserver_client(api, STR("user"), NULL, 0, false);
    struct client *lossy = link_new(rt, &faults, seed);
    link_set_inner(lossy, apiserver_client(api, STR("controller"), NULL, 0, false));
    struct client_shared *shared = client_shared_new(lossy);
    struct controllers *cs = controllers_new(shared, &(struct controllers_opts){0});
    client_shared_start(shared);
    controllers_start(cs);
    for (int i = 0; i < PARENTS; i++) {
        char name[16];
        struct kv_str l = {STR("role"), STR("parent")};
        struct api_config_map m = {
            .metadata = {.namespace = STR("default"), .labels = &l, .n_labels = 1}};
        m.metadata.name = (struct str){name, (size_t)snprintf(name, sizeof(name), "p%d", i)};
        client_create(user, schema_kinds[KIND_CONFIG_MAP], &m, NULL, NULL);
        rt_sim_run_for(rt, 200 * NSEC_PER_MSEC);
    }
    rt_sim_run_for(rt, 600 * NSEC_PER_SEC);
    size_t n = store_count(store, schema_kinds[KIND_CONFIG_MAP]);
    bool ok = n == 2 * PARENTS;
    printf("framework --seed %llu: %zu of %d objects: %s\n", (unsigned long long)seed, n,
           2 * PARENTS, ok ? "ok" : "FAILED");
    controllers_free(cs);
    client_shared_free(shared);
    client_free(lossy);
    client_free(user);
    apiserver_free(api);
    store_abandon(store);
    rt_free(rt);
    error_fini(&err);
    return !ok;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, n = 20;
    if (argc > 2 && str_is(str_z(argv[1]), "--seed") && str_to_u64(str_z(argv[2]), &from) == 0)
        n = 1;
    log_init("framework", LOG_LEVEL_ERROR);
    for (uint64_t seed = from; seed < from + n; seed++)
        if (play(seed))
            return 1;
    return 0;
}
