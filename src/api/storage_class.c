/* Classes of storage, and what CSI drivers tell the cluster. Kubernetes:
 * pkg/apis/storage/validation. */
#include "api/storage.h"

#include "api/check.h"
#include "base/set.h"
#include "schema/schema.h"

#define PARAMETERS_MAX       512
#define PARAMETERS_BYTES_MAX ((size_t)256 << 10)
#define ERROR_BYTES_MAX      1024
#define DRIVER_NAME_MAX      63
#define TOKEN_S_MIN          600
#define TOKEN_S_MAX          ((int64_t)1 << 32)

/* ---- classes ---- */

static void check_parameters(const struct kv_str *v, uint32_t n, struct error *err)
{
    size_t total = 0;
    if (n > PARAMETERS_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, STR("parameters"),
                          "Too long: may not be more than %d bytes", PARAMETERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (!v[i].key.n)
            check_invalid(err, STR("parameters"), v[i].key, "field can not be empty.");
        total += v[i].key.n + v[i].value.n;
    }
    if (total > PARAMETERS_BYTES_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, STR("parameters"),
                          "Too long: may not be more than %zu bytes", PARAMETERS_BYTES_MAX);
}

static void check_topologies(const struct api_topology_selector_term *v, uint32_t n,
                             struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        struct set keys = {0};
        for (uint32_t k = 0; k < v[i].n_match_label_expressions; k++) {
            const struct api_topology_selector_label_requirement *r =
                &v[i].match_label_expressions[k];
            PATH(at, "allowedTopologies[%u].matchLabelExpressions[%u]", i, k);
            PATH(key, "%s.key", at.p);
            PATH(values, "%s.values", at.p);
            struct set seen = {0};
            check_format(err, key, SCHEMA_FORMAT_QUALIFIED_NAME, r->key);
            if (!r->n_values)
                check_required(err, values, "");
            for (uint32_t m = 0; m < r->n_values; m++)
                if (!set_add(&seen, r->values[m])) {
                    PATH(value, "%s[%u]", values.p, m);
                    check_duplicate(err, value, r->values[m]);
                }
            if (!set_add(&keys, r->key))
                check_duplicate(err, key, STR(""));
            set_fini(&seen);
        }
        set_fini(&keys);
    }
}

static void storage_class_validate(const void *msg, struct error *err)
{
    const struct api_storage_class *s = msg;
    if (s->provisioner.n)
        check_format_lower(err, STR("provisioner"), SCHEMA_FORMAT_QUALIFIED_NAME, s->provisioner);
    check_parameters(s->parameters, s->n_parameters, err);
    check_topologies(s->allowed_topologies, s->n_allowed_topologies, err);
}

static bool same_parameters(const struct kv_str *a, uint32_t n, const struct kv_str *b, uint32_t m)
{
    bool same = n == m;
    for (uint32_t i = 0; same && i < n; i++)
        same = str_eq(a[i].key, b[i].key) && str_eq(a[i].value, b[i].value);
    return same;
}

static void storage_class_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_storage_class *n = msg, *o = old;
    if (!same_parameters(n->parameters, n->n_parameters, o->parameters, o->n_parameters))
        check_forbidden(err, STR("parameters"), "updates to parameters are forbidden.");
    if (!str_eq(n->provisioner, o->provisioner))
        check_forbidden(err, STR("provisioner"), "updates to provisioner are forbidden.");
    if (!str_eq(n->reclaim_policy, o->reclaim_policy))
        check_forbidden(err, STR("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
}

const struct api_hooks storage_class_hooks = {.kind = KIND_STORAGE_CLASS,
                                              .validate = storage_class_validate,
                                              .validate_update = storage_class_validate_update};

static void check_driver_name(struct error *err, struct str at, struct str name)
{
    if (!name.n)
        return;
    if (name.n > DRIVER_NAME_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, at, "Too long: may not be more than %d bytes",
                          DRIVER_NAME_MAX);
    check_format_lower(err, at, SCHEMA_FORMAT_DNS_SUBDOMAIN, name);
}

static void attributes_class_validate(const void *msg, struct error *err)
{
    const struct api_volume_attributes_class *c = msg;
    check_driver_name(err, STR("driverName"), c->driver_name);
    check_parameters(c->parameters, c->n_parameters, err);
}

const struct api_hooks volume_attributes_class_hooks = {.kind = KIND_VOLUME_ATTRIBUTES_CLASS,
                                                        .validate = attributes_class_validate};

/* ---- CSI drivers ---- */

static void csi_driver_fill(void *msg, struct arena *a)
{
    struct api_csi_driver_spec *s = &((struct api_csi_driver *)msg)->spec;
    if (s->n_volume_lifecycle_modes)
        return;
    s->volume_lifecycle_modes = ARENA_NEW(a, struct str);
    s->volume_lifecycle_modes[0] = STR("Persistent");
    s->n_volume_lifecycle_modes = 1;
}

static void csi_driver_validate(const void *msg, struct error *err)
{
    const struct api_csi_driver *d = msg;
    struct set audiences = {0};
    check_driver_name(err, STR("metadata.name"), d->metadata.name);
    for (uint32_t i = 0; i < d->spec.n_token_requests; i++) {
        const struct api_csi_token_request *t = &d->spec.token_requests[i];
        PATH(audience, "spec.tokenRequests[%u].audience", i);
        PATH(expiration, "spec.tokenRequests[%u].expirationSeconds", i);
        if (!set_add(&audiences, t->audience))
            check_duplicate(err, audience, t->audience);
        if (t->has_expiration_seconds && t->expiration_seconds < TOKEN_S_MIN)
            check_invalid_int(err, expiration, t->expiration_seconds,
                              "may not specify a duration less than 10 minutes");
        if (t->has_expiration_seconds && t->expiration_seconds > TOKEN_S_MAX)
            check_invalid_int(err, expiration, t->expiration_seconds,
                              "may not specify a duration larger than 2^32 seconds");
    }
    set_fini(&audiences);
    if (d->spec.has_service_account_token_in_secrets && !d->spec.n_token_requests)
        check_invalid(err, STR("spec.serviceAccountTokenInSecrets"),
                      d->spec.service_account_token_in_secrets ? STR("true") : STR("false"),
                      "may not be set without spec.tokenRequests");
}

const struct api_hooks csi_driver_hooks = {
    .kind = KIND_CSI_DRIVER, .fill = csi_driver_fill, .validate = csi_driver_validate};

static void csi_node_validate(const void *msg, struct error *err)
{
    const struct api_csi_node_spec *s = &((const struct api_csi_node *)msg)->spec;
    for (uint32_t i = 0; i < s->n_drivers; i++) {
        const struct api_csi_node_driver *d = &s->drivers[i];
        struct set keys = {0};
        PATH(name, "spec.drivers[%u].name", i);
        PATH(topology, "spec.drivers[%u].topologyKeys", i);
        PATH(count, "spec.drivers[%u].allocatable.count", i);
        check_driver_name(err, name, d->name);
        for (uint32_t k = 0; k < d->n_topology_keys; k++) {
            if (!d->topology_keys[k].n)
                check_required(err, topology, "");
            else if (!set_add(&keys, d->topology_keys[k]))
                check_duplicate(err, topology, d->topology_keys[k]);
            if (d->topology_keys[k].n)
                check_format(err, topology, SCHEMA_FORMAT_QUALIFIED_NAME, d->topology_keys[k]);
        }
        if (d->allocatable && d->allocatable->has_count && d->allocatable->count < 0)
            check_invalid_int(err, count, d->allocatable->count,
                              "must be greater than or equal to 0");
        set_fini(&keys);
    }
}

/* What a driver said of a node holds until the driver is taken away. */
static void csi_node_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_csi_node_spec *n = &((const struct api_csi_node *)msg)->spec,
                                   *o = &((const struct api_csi_node *)old)->spec;
    for (uint32_t i = 0; i < n->n_drivers; i++)
        for (uint32_t k = 0; k < o->n_drivers; k++) {
            struct api_csi_node_driver was = o->drivers[k];
            if (!str_eq(n->drivers[i].name, was.name))
                continue;
            was.allocatable = n->drivers[i].allocatable;
            PATH(at, "spec.drivers[%u]", i);
            check_immutable(err, at, &api_csi_node_driver_desc, &n->drivers[i], &was);
        }
}

const struct api_hooks csi_node_hooks = {.kind = KIND_CSI_NODE,
                                         .validate = csi_node_validate,
                                         .validate_update = csi_node_validate_update};

static void csi_storage_capacity_validate(const void *msg, struct error *err)
{
    const struct api_csi_storage_capacity *c = msg;
    check_format(err, STR("storageClassName"), SCHEMA_FORMAT_DNS_SUBDOMAIN, c->storage_class_name);
    check_quantity(err, STR("capacity"), &c->capacity);
    check_quantity(err, STR("maximumVolumeSize"), &c->maximum_volume_size);
    check_label_selector(err, STR("nodeTopology"), c->node_topology);
}

const struct api_hooks csi_storage_capacity_hooks = {.kind = KIND_CSI_STORAGE_CAPACITY,
                                                     .validate = csi_storage_capacity_validate};

/* ---- attachments ---- */

static void volume_attachment_validate(const void *msg, struct error *err)
{
    const struct api_volume_attachment_spec *s = &((const struct api_volume_attachment *)msg)->spec;
    const char *why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    check_driver_name(err, STR("spec.attacher"), s->attacher);
    if (!s->source.inline_volume_spec && !s->source.persistent_volume_name.p)
        check_required(err, STR("spec.source"), why);
    else if (s->source.inline_volume_spec && s->source.persistent_volume_name.p)
        check_forbidden(err, STR("spec.source"), why);
    else if (s->source.persistent_volume_name.p && !s->source.persistent_volume_name.n)
        check_required(err, STR("spec.source.persistentVolumeName"), "");
    else if (s->source.inline_volume_spec)
        volume_spec_validate(s->source.inline_volume_spec, "spec.source.inlineVolumeSpec", true,
                             err);
}

static void check_volume_error(const struct api_volume_error *e, const char *name,
                               struct error *err)
{
    PATH(at, "status.%s.message", name);
    if (e && e->message.n > ERROR_BYTES_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, at, "Too long: may not be more than %d bytes",
                          ERROR_BYTES_MAX);
}

static void volume_attachment_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_volume_attachment_status *s =
        &((const struct api_volume_attachment *)msg)->status;
    size_t total = 0;
    (void)old;
    for (uint32_t i = 0; i < s->n_attachment_metadata; i++)
        total += s->attachment_metadata[i].key.n + s->attachment_metadata[i].value.n;
    if (total > PARAMETERS_BYTES_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, STR("status.attachmentMetadata"),
                          "Too long: may not be more than %zu bytes", PARAMETERS_BYTES_MAX);
    check_volume_error(s->attach_error, "attachError", err);
    check_volume_error(s->detach_error, "detachError", err);
}

const struct api_hooks volume_attachment_hooks = {.kind = KIND_VOLUME_ATTACHMENT,
                                                  .validate = volume_attachment_validate,
                                                  .validate_status =
                                                      volume_attachment_validate_status};
