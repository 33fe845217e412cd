/* PersistentVolume and PersistentVolumeClaim: defaults and rules. Kubernetes:
 * pkg/apis/core/validation (ValidatePersistentVolume, ValidatePersistentVolumeClaim). */
#include "api/storage.h"

#include "api/check.h"
#include "schema/schema.h"

static bool has_mode(const struct str *v, uint32_t n, const char *mode)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eqz(v[i], mode))
            return true;
    return false;
}

static void check_modes(const struct str *v, uint32_t n, const char *path, struct error *err)
{
    PATH(at, "%s.accessModes", path);
    if (n > 1 && has_mode(v, n, "ReadWriteOncePod"))
        check_forbidden(err, at, "may not use ReadWriteOncePod with other access modes");
}

static void check_class(struct str name, const char *path, const char *field, struct error *err)
{
    PATH(at, "%s.%s", path, field);
    if (name.n)
        check_format(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, name);
}

static void check_positive(struct error *err, struct str at, const struct quantity *q)
{
    static const struct quantity zero = {0};
    char text[QUANTITY_TEXT_MAX];
    if (quantity_cmp(q, &zero) <= 0)
        check_invalid(err, at, (struct str){text, quantity_format(q, text)},
                      "must be greater than zero");
}

/* ---- PersistentVolume ---- */

static void check_capacity(const struct api_persistent_volume_spec *s, const char *path,
                           struct error *err)
{
    static const char *const only[] = {"storage", NULL};
    PATH(at, "%s.capacity", path);
    if (!s->n_capacity)
        check_required(err, at, "");
    else if (s->n_capacity > 1 || !str_is(s->capacity[0].key, "storage"))
        check_not_supported(err, at, s->capacity[0].key, only);
    for (uint32_t i = 0; i < s->n_capacity; i++) {
        PATH(key, "%s[%.*s]", at.p, STR_ARG(s->capacity[i].key));
        check_positive(err, key, &s->capacity[i].value);
    }
}

static void check_source(const struct api_persistent_volume_spec *s, const char *path,
                         struct error *err)
{
    const struct schema_desc *d = &api_persistent_volume_source_desc;
    const struct api_persistent_volume_source *v = &s->persistent_volume_source;
    unsigned n = 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (schema_field_absent(&d->fields[i], v))
            continue;
        PATH(at, "%s.%s", path, d->fields[i].name);
        if (n++)
            check_forbidden(err, at, "may not specify more than 1 volume type");
    }
    PATH(spec, "%s", path);
    PATH(affinity, "%s.nodeAffinity", path);
    PATH(policy, "%s.persistentVolumeReclaimPolicy", path);
    if (!n)
        check_required(err, spec, "must specify a volume type");
    if (v->local && !s->node_affinity)
        check_required(err, affinity, "Local volume requires node affinity");
    if (v->host_path && str_is(v->host_path->path, "/") &&
        str_is(s->persistent_volume_reclaim_policy, "Recycle"))
        check_forbidden(err, policy, "may not be 'recycle' for a hostPath mount of '/'");
}

void volume_spec_validate(const struct api_persistent_volume_spec *s, const char *path,
                          bool is_inline, struct error *err)
{
    PATH(modes, "%s.accessModes", path);
    PATH(policy, "%s.persistentVolumeReclaimPolicy", path);
    PATH(affinity, "%s.nodeAffinity.required", path);
    if (!s->n_access_modes)
        check_required(err, modes, "");
    check_modes(s->access_modes, s->n_access_modes, path, err);
    check_source(s, path, err);
    check_class(s->storage_class_name, path, "storageClassName", err);
    check_class(s->volume_attributes_class_name, path, "volumeAttributesClassName", err);
    if (s->node_affinity && !s->node_affinity->required)
        check_required(err, affinity, "must specify required node constraints");
    if (!is_inline) {
        check_capacity(s, path, err);
        return;
    }
    PATH(capacity, "%s.capacity", path);
    PATH(claim, "%s.claimRef", path);
    PATH(class, "%s.storageClassName", path);
    if (s->persistent_volume_reclaim_policy.n &&
        !str_is(s->persistent_volume_reclaim_policy, "Retain"))
        check_forbidden(err, policy, "may only be Retain in the context of inline volumes");
    if (s->n_capacity)
        check_forbidden(err, capacity, "may not be specified in the context of inline volumes");
    if (s->claim_ref)
        check_forbidden(err, claim, "may not be specified in the context of inline volumes");
    if (s->storage_class_name.n)
        check_forbidden(err, class, "may not be specified in the context of inline volumes");
}

static void volume_prepare_create(void *msg, struct arena *a)
{
    struct api_persistent_volume *v = msg;
    (void)a;
    v->status.last_phase_transition_time = v->metadata.creation_timestamp;
}

static void volume_validate(const void *msg, struct error *err)
{
    volume_spec_validate(&((const struct api_persistent_volume *)msg)->spec, "spec", false, err);
}

static void volume_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_persistent_volume_spec *n = &((const struct api_persistent_volume *)msg)->spec,
                                            *o = &((const struct api_persistent_volume *)old)->spec;
    if (!schema_equal(&api_persistent_volume_source_desc, &n->persistent_volume_source,
                      &o->persistent_volume_source))
        check_forbidden(err, STR("spec.persistentvolumesource"),
                        "spec.persistentvolumesource is immutable after creation");
    check_immutable_str(err, STR("spec.volumeMode"), n->volume_mode, o->volume_mode);
    if (o->node_affinity) {
        const struct api_volume_node_affinity none = {0};
        check_immutable(err, STR("spec.nodeAffinity"), &api_volume_node_affinity_desc,
                        n->node_affinity ? n->node_affinity : &none, o->node_affinity);
    }
}

const struct api_hooks persistent_volume_hooks = {.kind = KIND_PERSISTENT_VOLUME,
                                                  .prepare_create = volume_prepare_create,
                                                  .validate = volume_validate,
                                                  .validate_update = volume_validate_update};

/* ---- PersistentVolumeClaim ---- */

/* dataSource and dataSourceRef name the same source, for old and new clients. */
static void claim_fill(void *msg, struct arena *a)
{
    struct api_persistent_volume_claim_spec *s = &((struct api_persistent_volume_claim *)msg)->spec;
    if (s->data_source && !s->data_source_ref) {
        s->data_source_ref = ARENA_NEW(a, struct api_typed_object_reference);
        s->data_source_ref->api_group = s->data_source->api_group;
        s->data_source_ref->kind = s->data_source->kind;
        s->data_source_ref->name = s->data_source->name;
    } else if (s->data_source_ref && !s->data_source && !s->data_source_ref->namespace.n) {
        s->data_source = ARENA_NEW(a, struct api_typed_local_object_reference);
        s->data_source->api_group = s->data_source_ref->api_group;
        s->data_source->kind = s->data_source_ref->kind;
        s->data_source->name = s->data_source_ref->name;
    }
}

static void check_data_source(struct str group, struct str kind, struct str name, const char *path,
                              const char *field, struct error *err)
{
    PATH(at, "%s.%s", path, field);
    PATH(at_name, "%s.name", at.p);
    PATH(at_kind, "%s.kind", at.p);
    if (!name.n)
        check_required(err, at_name, "");
    if (!kind.n)
        check_required(err, at_kind, "");
    if (!group.n && kind.n && !str_is(kind, "PersistentVolumeClaim"))
        check_invalid(err, at, kind,
                      "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

static void claim_spec_validate(const struct api_persistent_volume_claim_spec *s, const char *path,
                                struct error *err)
{
    PATH(selector, "%s.selector", path);
    PATH(storage, "%s.resources[storage]", path);
    const struct quantity *q =
        kv_quantity_get(s->resources.requests, s->resources.n_requests, STR("storage"));
    check_modes(s->access_modes, s->n_access_modes, path, err);
    check_label_selector(err, selector, s->selector);
    if (!q)
        check_required(err, storage, "");
    else
        check_positive(err, storage, q);
    check_class(s->storage_class_name, path, "storageClassName", err);
    check_class(s->volume_attributes_class_name, path, "volumeAttributesClassName", err);
    if (s->data_source)
        check_data_source(s->data_source->api_group, s->data_source->kind, s->data_source->name,
                          path, "dataSource", err);
    if (s->data_source_ref)
        check_data_source(s->data_source_ref->api_group, s->data_source_ref->kind,
                          s->data_source_ref->name, path, "dataSourceRef", err);
}

static void claim_validate(const void *msg, struct error *err)
{
    const struct api_persistent_volume_claim_spec *s =
        &((const struct api_persistent_volume_claim *)msg)->spec;
    claim_spec_validate(s, "spec", err);
}

/* A claim asks once; later it may get its volume, its class if it had none, other attributes, and
 * when it is bound, more storage. */
static void claim_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_persistent_volume_claim *c = msg, *o = old;
    struct api_persistent_volume_claim_spec n = c->spec;
    bool bound = str_is(o->status.phase, "Bound");
    if (!o->spec.volume_name.n)
        n.volume_name = o->spec.volume_name;
    if (!o->spec.storage_class_name.p)
        n.storage_class_name = o->spec.storage_class_name;
    n.volume_attributes_class_name = o->spec.volume_attributes_class_name;
    if (bound)
        n.resources = o->spec.resources;
    if (!schema_equal(&api_persistent_volume_claim_spec_desc, &n, &o->spec)) {
        check_forbidden(err, STR("spec"),
                        "spec is immutable after creation except resources.requests and "
                        "volumeAttributesClassName for bound claims");
        return;
    }
    const struct quantity *now = kv_quantity_get(c->spec.resources.requests,
                                                 c->spec.resources.n_requests, STR("storage")),
                          *was = kv_quantity_get(o->spec.resources.requests,
                                                 o->spec.resources.n_requests, STR("storage")),
                          *has = kv_quantity_get(c->status.capacity, c->status.n_capacity,
                                                 STR("storage"));
    if (bound && now && was && quantity_cmp(now, was) < 0 && (!has || quantity_cmp(now, has) <= 0))
        check_forbidden(err, STR("spec.resources.requests.storage"),
                        "field can not be less than status.capacity");
    if (o->spec.volume_attributes_class_name.n && !c->spec.volume_attributes_class_name.n)
        check_forbidden(err, STR("spec.volumeAttributesClassName"),
                        "update from non-nil value to nil is forbidden");
}

static void claim_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_persistent_volume_claim_status *s =
        &((const struct api_persistent_volume_claim *)msg)->status;
    (void)old;
    for (uint32_t i = 0; i < s->n_capacity; i++) {
        PATH(at, "status.capacity[%.*s]", STR_ARG(s->capacity[i].key));
        check_quantity(err, at, &s->capacity[i].value);
    }
}

const struct api_hooks persistent_volume_claim_hooks = {.kind = KIND_PERSISTENT_VOLUME_CLAIM,
                                                        .fill = claim_fill,
                                                        .validate = claim_validate,
                                                        .validate_update = claim_validate_update,
                                                        .validate_status = claim_validate_status};
