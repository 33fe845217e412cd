/* Pods nobody else will ever take away: those of nodes that are gone or declared out of service,
 * those deleted before they got a node, and the oldest terminated ones when there are too many. One
 * key, looked at every pod_gc_period; at once when a node is declared out of service. */
#include "api/fence.h"
#include "controllers/node_taints.h"
#include "controllers/registry.h"

#define QUARANTINE                                                                                 \
    (40 * NSEC_PER_SEC) /* a node must be missing for so long: it may be registering anew */

struct state {
    struct map missing; /* node name -> struct missing */
};
struct missing {
    char *name; /* owned */
    nsec_t since;
    uint64_t round;
};

static void init(struct controller *c)
{
    controller_set_state(c, NEW_STATE(struct state));
}

static void start(struct controller *c)
{
    controller_add_after(c, STR("all"), controller_opts(c)->pod_gc_period);
}

static void missing_free(struct state *st, struct missing *m)
{
    (void)map_remove(&st->missing, str_z(m->name));
    free(m->name);
    free(m);
}

static void fini(struct controller *c)
{
    struct state *st = controller_state(c);
    for (struct map_slot *s; (s = map_next(&st->missing, NULL));)
        missing_free(st, s->value);
    map_fini(&st->missing);
    controller_free_state(c);
}

/* True when the pod's node has been missing for long enough. One of a kind waits until a node that
 * only lost its Node object has stopped it for certain. */
static bool is_gone(struct reconcile *rc, struct state *st, const struct api_pod *p)
{
    struct str node = p->spec.node_name;
    struct fence_promise promise = fence_promise_for(controller_opts(rc->controller)->node_grace);
    nsec_t wait = fence_applies(p) ? MAX(QUARANTINE, fence_takeover_after(&promise)) : QUARANTINE;
    nsec_t now = rt_now(controller_rt(rc->controller));
    struct missing *m = map_get(&st->missing, node);
    if (reconcile_get(rc, KIND_NODE, STR_NONE, node)) {
        if (m)
            missing_free(st, m);
        return false;
    }
    if (!m) {
        m = NEW(struct missing);
        *m = (struct missing){.name = str_dup(node), .since = now};
        (void)map_set(&st->missing, str_z(m->name), m);
    }
    return now - m->since >= wait;
}

/* A node that does not answer and that its keeper says is off: its pods run nowhere. */
static bool is_out_of_service(struct object *node)
{
    const struct api_node *n = node ? OBJECT_MSG(node, api_node) : NULL;
    bool tainted = false;
    for (uint32_t i = 0; n && i < n->spec.n_taints; i++)
        tainted |= str_is(n->spec.taints[i].key, TAINT_OUT_OF_SERVICE);
    return tainted && strcmp(node_ready_text(n), "True") != 0;
}

static void map_node(struct controller *c, struct object *old, struct object *new)
{
    if (is_out_of_service(new) && !is_out_of_service(old))
        controller_add(c, STR("all"));
}

static void map_pod(struct controller *c, struct object *old, struct object *new)
{
    const struct api_pod *p = new ? OBJECT_MSG(new, api_pod) : NULL;
    if (p && p->metadata.deletion_timestamp.set && p->spec.node_name.n &&
        !(old && object_meta(old)->deletion_timestamp.set) &&
        is_out_of_service(controller_find(c, KIND_NODE, STR_NONE, p->spec.node_name)))
        controller_add(c, STR("all"));
}

static int cmp_created(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    int64_t p = object_meta(x)->creation_timestamp.usec,
            q = object_meta(y)->creation_timestamp.usec;
    return p != q ? (p > q) - (p < q) : str_cmp(object_name(x), object_name(y));
}

static void mark_failed(struct reconcile *rc, const struct api_pod *p, bool orphan)
{
    if (pod_is_terminated(p))
        return;
    if (!orphan) {
        controller_patch(rc, KIND_POD, &p->metadata, "status", CLIENT_PATCH_STRATEGIC,
                         STR("{\"status\":{\"phase\":\"Failed\"}}"), NULL, NULL);
        return;
    }
    controller_patch(
        rc, KIND_POD, &p->metadata, "status", CLIENT_PATCH_STRATEGIC,
        STR("{\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"DisruptionTarget\","
            "\"status\":\"True\",\"reason\":\"DeletionByPodGC\",\"message\":\"PodGC: node no "
            "longer "
            "exists\"}]}}"),
        NULL, NULL);
}

static void forget_nodes(struct reconcile *rc, struct state *st, const struct map *seen)
{
    for (;;) { /* names that no pod mentions any more */
        struct missing *drop = NULL;
        for (struct map_slot *s = NULL; !drop && (s = map_next(&st->missing, s));)
            if (!map_get(seen, s->key))
                drop = s->value;
        if (!drop)
            return;
        missing_free(st, drop);
    }
}

static void reconcile(struct reconcile *rc)
{
    struct state *st = controller_state(rc->controller);
    struct client_cache *pods = controller_cache(rc->controller, KIND_POD);
    struct object **done = ARENA_NEW_N(rc->arena, struct object *, client_cache_count(pods) + 1);
    size_t n = 0, keep = (size_t)controller_opts(rc->controller)->terminated_pods_max;
    struct map seen = {0};
    struct client_cache_iter it;
    client_cache_iter_init(&it, pods, STR_NONE);
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_pod *p = OBJECT_MSG(o, api_pod);
        if (str_empty(p->spec.node_name)) {
            if (p->metadata.deletion_timestamp.set)
                controller_delete_now(rc, KIND_POD, &p->metadata, NULL, NULL);
            continue;
        }
        (void)map_set(&seen, p->spec.node_name, o);
        if (is_gone(rc, st, p)) {
            mark_failed(rc, p, true);
            controller_delete_now(rc, KIND_POD, &p->metadata, NULL, NULL);
        } else if (p->metadata.deletion_timestamp.set &&
                   is_out_of_service(reconcile_get(rc, KIND_NODE, STR_NONE, p->spec.node_name))) {
            mark_failed(rc, p, false);
            controller_delete_now(rc, KIND_POD, &p->metadata, NULL, NULL);
        } else if (pod_is_terminated(p) && !p->metadata.deletion_timestamp.set) {
            done[n++] = reconcile_keep(rc, o);
        }
    }
    forget_nodes(rc, st, &seen);
    map_fini(&seen);
    if (n > keep) {
        qsort(done, n, sizeof(*done), cmp_created);
        for (size_t i = 0; i < n - keep; i++)
            controller_delete_now(rc, KIND_POD, object_meta(done[i]), NULL, NULL);
    }
    reconcile_again(rc, controller_opts(rc->controller)->pod_gc_period);
}

const struct controller_row pod_gc_row = {
    .name = "pod-garbage-collector",
    .watches = {{KIND_POD, map_pod}, {KIND_NODE, map_node}},
    .n_watches = 2,
    .init = init,
    .start = start,
    .fini = fini,
    .reconcile = reconcile,
};
