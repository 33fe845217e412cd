/* Storage: a new claim that names no class gets the default one, and a claim grows only where its
 * class can do that. Kubernetes: plugin/pkg/admission/storage. */
#include "apiserver/admit/admit.h"

/* True when the annotation says that this is the class for those who name none. */
static bool is_default(const struct api_object_meta *m, const char *const *annotations, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct str *v = KV_GET(m, annotations, str_z(annotations[i]));
        if (v && str_is(*v, "true"))
            return true;
    }
    return false;
}

struct str admit_default_class(struct api_call *c, const struct schema_kind *k,
                               const char *const *annotations, size_t n)
{
    struct store_iter it;
    const struct api_object_meta *best = NULL;
    if (store_iter_init(&it, c->server->store, k, STR_NONE, 0, STR_NONE, STR_NONE) < 0)
        return STR_NONE;
    for (struct object *o; (o = store_iter_next(&it));) { /* in order of names */
        const struct api_object_meta *m = object_meta(o);
        if (is_default(m, annotations, n) &&
            (!best || m->creation_timestamp.usec > best->creation_timestamp.usec))
            best = m;
    }
    store_iter_fini(&it);
    return best ? arena_str(&c->arena, best->name) : STR_NONE;
}

int admit_storage_class(struct api_call *c, void *msg, const struct object *old)
{
    static const char *const annotations[] = {"storageclass.kubernetes.io/is-default-class",
                                              "storageclass.beta.kubernetes.io/is-default-class"};
    struct api_persistent_volume_claim *p = msg;
    if (c->kind != KIND(PERSISTENT_VOLUME_CLAIM) || old || c->subresource.n ||
        p->spec.storage_class_name.p || /* empty: it wants none */
        KV_GET(&p->metadata, annotations, STR("volume.beta.kubernetes.io/storage-class")))
        return 0;
    struct str name =
        admit_default_class(c, KIND(STORAGE_CLASS), annotations, ARRAY_LEN(annotations));
    if (name.n)
        p->spec.storage_class_name = name;
    return 0;
}

/* ---- PersistentVolumeClaimResize ---- */

static const struct quantity *size_of(const struct api_persistent_volume_claim *p)
{
    return kv_quantity_get(p->spec.resources.requests, p->spec.resources.n_requests,
                           STR("storage"));
}

static bool class_expands(struct api_call *c, struct str name)
{
    struct object *o =
        name.n ? store_peek(c->server->store, KIND(STORAGE_CLASS), STR_NONE, name) : NULL;
    return o && OBJECT_MSG(o, api_storage_class)->allow_volume_expansion;
}

int admit_claim_resize(struct api_call *c, const void *msg, const struct object *old)
{
    const struct api_persistent_volume_claim *p = msg;
    if (c->kind != KIND(PERSISTENT_VOLUME_CLAIM) || !old || c->subresource.n)
        return 0;
    const struct api_persistent_volume_claim *o = old->msg;
    const struct quantity *now = size_of(p), *was = size_of(o);
    if (!now || !was || quantity_cmp(now, was) <= 0)
        return 0;
    if (!str_is(o->status.phase, "Bound"))
        return call_forbidden(c, p->metadata.name,
                              "Only bound persistent volume claims can be expanded");
    if (!class_expands(c, p->spec.storage_class_name))
        return call_forbidden(c, p->metadata.name,
                              "only dynamically provisioned pvc can be resized and the "
                              "storageclass that provisions the pvc must support resize");
    return 0;
}
