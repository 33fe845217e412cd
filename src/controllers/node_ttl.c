/* Tells nodes how long they may go by Secrets and ConfigMaps they have read, in an annotation: the
 * more nodes there are, the longer. The steps overlap, so that a cluster whose size changes around
 * a boundary does not write all its nodes again and again; a node hears of a new step with its next
 * change. Kubernetes: pkg/controller/ttl. */
#include "controllers/node_ttl.h"

#define ANNOTATION "node.alpha.kubernetes.io/ttl"

static const struct {
    size_t min, max; /* nodes */
    unsigned ttl_s;
} steps[] = {
    {0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300},
};

struct node_ttl {
    unsigned step;
};

unsigned node_ttl_step(unsigned step, size_t nodes)
{
    ASSERT(step < ARRAY_LEN(steps));
    while (nodes > steps[step].max)
        step++;
    while (nodes < steps[step].min)
        step--;
    return step;
}

unsigned node_ttl_seconds(unsigned step)
{
    ASSERT(step < ARRAY_LEN(steps));
    return steps[step].ttl_s;
}

static void init(struct controller *c)
{
    controller_set_state(c, NEW(struct node_ttl));
}

static void reconcile(struct reconcile *rc)
{
    struct node_ttl *t = controller_state(rc->controller);
    struct object *o = reconcile_get(rc, KIND_NODE, STR_NONE, rc->name);
    t->step =
        node_ttl_step(t->step, client_cache_count(controller_cache(rc->controller, KIND_NODE)));
    if (!o || object_meta(o)->deletion_timestamp.set)
        return;
    struct str want = arena_printf(rc->arena, "%u", node_ttl_seconds(t->step));
    if (str_eq(meta_annotation(object_meta(o), STR(ANNOTATION)), want))
        return;
    controller_patch(rc, KIND_NODE, object_meta(o), NULL, CLIENT_PATCH_MERGE,
                     arena_printf(rc->arena,
                                  "{\"metadata\":{\"annotations\":{\"" ANNOTATION "\":\"%.*s\"}}}",
                                  STR_ARG(want)),
                     NULL, NULL);
}

const struct controller_row node_ttl_row = {
    .name = "ttl",
    .watches = {{KIND_NODE, controller_map_self}},
    .n_watches = 1,
    .init = init,
    .fini = controller_free_state,
    .reconcile = reconcile,
};
