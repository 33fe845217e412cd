/* A Service whose slices come from its pods and one whose slices mirror an Endpoints object differ
 * in the plan only. */
#include "controllers/slices.h"

uint32_t slices_gather(struct reconcile *rc, int index, const struct api_endpoint_slice ***ret)
{
    struct client_cache *cache = controller_cache(rc->controller, KIND_ENDPOINT_SLICE);
    struct client_cache_iter it;
    uint32_t n = 0, i = 0;
    client_cache_iter_init_index(&it, cache, index, rc->key);
    while (client_cache_iter_next(&it))
        n++;
    *ret = ARENA_NEW_N(rc->arena, const struct api_endpoint_slice *, n + 1);
    client_cache_iter_init_index(&it, cache, index, rc->key);
    for (struct object *o; (o = client_cache_iter_next(&it));)
        if (!object_meta(o)->deletion_timestamp.set)
            (*ret)[i++] = OBJECT_MSG(reconcile_keep(rc, o), api_endpoint_slice);
    return i;
}

bool slices_made(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    return reply->r == 0 || reply->r == -EPERM || reply->r == -ENOENT;
}

void slices_apply(struct reconcile *rc, const struct slice_change *changes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct slice_change *s = &changes[i];
        if (!s->new)
            controller_delete(rc, KIND_ENDPOINT_SLICE, &s->old->metadata, NULL, NULL, NULL);
        else if (s->old)
            controller_update(rc, KIND_ENDPOINT_SLICE, s->new, NULL, NULL);
        else
            controller_create(rc, KIND_ENDPOINT_SLICE, s->new, slices_made, NULL);
    }
}
