/* Whose is it? Workload controllers own what they made, adopt what matches and nobody owns, and let
 * go of what matches no more. Dependents are found by two indexes: by owner, and the (few) orphans
 * of a namespace, so that a run costs its own objects, not all of the namespace. */
#include "controllers/util.h"

enum claim claim_of(const struct api_object_meta *owner, const struct label_selector *sel,
                    const struct api_object_meta *m)
{
    const struct api_owner_reference *r = owner_controller(m);
    bool match = label_selector_match(sel, m->labels, m->n_labels);
    if (r && !str_eq(r->uid, owner->uid))
        return CLAIM_NONE;
    if (r)
        return match ? CLAIM_MINE : m->deletion_timestamp.set ? CLAIM_NONE : CLAIM_RELEASE;
    if (!match || m->deletion_timestamp.set || owner->deletion_timestamp.set ||
        !str_eq(m->namespace, owner->namespace))
        return CLAIM_NONE;
    return CLAIM_ADOPT;
}

static bool claimed(struct reconcile *rc, void *arg, const struct client_reply *reply)
{
    /* Gone, or changed hands meanwhile (the uid in the patch no longer fits): nothing to claim. */
    return reply->r == 0 || reply->r == -ENOENT || reply->r == -EBADMSG || reply->r == -ESTALE;
}

void claim_apply(struct reconcile *rc, enum kind_id kind, const struct api_object_meta *m,
                 const struct schema_kind *owner_kind, const struct api_object_meta *owner,
                 enum claim what)
{
    struct str json;
    if (what == CLAIM_ADOPT)
        json = arena_printf(
            rc->arena,
            "{\"metadata\":{\"uid\":\"%.*s\",\"ownerReferences\":[{\"apiVersion\":\"%s\",\"kind\":"
            "\"%s\",\"name\":\"%.*s\",\"uid\":\"%.*s\",\"controller\":true,"
            "\"blockOwnerDeletion\":true}]}}",
            STR_ARG(m->uid), owner_kind->api_version, owner_kind->kind, STR_ARG(owner->name),
            STR_ARG(owner->uid));
    else if (what == CLAIM_RELEASE)
        json = arena_printf(
            rc->arena,
            "{\"metadata\":{\"uid\":\"%.*s\",\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":"
            "\"%.*s\"}]}}",
            STR_ARG(m->uid), STR_ARG(owner->uid));
    else
        return;
    controller_patch(rc, kind, m, NULL, CLIENT_PATCH_STRATEGIC, json, claimed, NULL);
}

/* Index: the namespace of objects without a controller. */
static void orphan_index(struct object *o, client_cache_emit_fn emit, void *ctx)
{
    if (!owner_controller(object_meta(o)))
        emit(ctx, object_ns(o));
}

struct claim_index claim_index_init(struct controller *c, enum kind_id kind)
{
    return (struct claim_index){.kind = kind,
                                .by_owner = controller_index(c, kind, owner_index),
                                .orphans = controller_index(c, kind, orphan_index)};
}

struct object **claim_all(struct reconcile *rc, const struct claim_index *ix,
                          const struct schema_kind *owner_kind, const struct api_object_meta *owner,
                          const struct label_selector *sel, uint32_t *ret_n)
{
    struct client_cache *cache = controller_cache(rc->controller, ix->kind);
    struct object **v = NULL;
    uint32_t n = 0, cap = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct client_cache_iter it;
        client_cache_iter_init_index(&it, cache, pass ? ix->orphans : ix->by_owner,
                                     pass ? owner->namespace : owner->uid);
        for (struct object *o; (o = client_cache_iter_next(&it));) {
            enum claim what = claim_of(owner, sel, object_meta(o));
            claim_apply(rc, ix->kind, object_meta(o), owner_kind, owner, what);
            if (what != CLAIM_MINE && what != CLAIM_ADOPT)
                continue;
            if (n == cap) {
                struct object **old = v;
                cap = cap ? cap * 2 : 16;
                v = arena_alloc(rc->arena, cap * sizeof(*v));
                if (n)
                    memcpy(v, old, n * sizeof(*v));
            }
            v[n++] = reconcile_keep(rc, o);
        }
    }
    *ret_n = n;
    return v;
}

void claim_map(struct controller *c, enum kind_id kind, struct object *old, struct object *new,
               const struct api_label_selector *(*selector)(const struct object *owner))
{
    controller_map_owner(c, old, new);
    if (!new || owner_controller(object_meta(new)))
        return;
    struct client_cache_iter it;
    client_cache_iter_init(&it, controller_cache(c, kind), object_ns(new));
    for (struct object *o; (o = client_cache_iter_next(&it));) {
        const struct api_label_selector *s = selector(o);
        bool maybe = s && s->n_match_labels + s->n_match_expressions > 0;
        for (uint32_t i = 0; maybe && i < s->n_match_labels; i++)
            maybe = str_eq(meta_label(object_meta(new), s->match_labels[i].key),
                           s->match_labels[i].value);
        if (maybe)
            controller_add_object(c, o);
    }
}
