/* ResourceClaim, ResourceClaimTemplate, DeviceClass and ResourceSlice: defaults and rules across
 * fields. Expressions in CEL are not looked at. Kubernetes: pkg/apis/resource. */
#include "api/device.h"

#include "api/check.h"
#include "base/set.h"
#include "schema/schema.h"

#define PARAMETERS_BYTES_MAX (10 << 10)

/* ---- claims ---- */

static void fill_count(struct str mode, int64_t *count)
{
    if (!*count && str_is(mode, "ExactCount"))
        *count = 1;
}

static void fill_spec(struct api_resource_claim_spec *s)
{
    for (uint32_t i = 0; i < s->devices.n_requests; i++) {
        struct api_device_request *r = &s->devices.requests[i];
        if (r->exactly)
            fill_count(r->exactly->allocation_mode, &r->exactly->count);
        for (uint32_t k = 0; k < r->n_first_available; k++)
            fill_count(r->first_available[k].allocation_mode, &r->first_available[k].count);
    }
}

static void claim_fill(void *msg, struct arena *a)
{
    (void)a;
    fill_spec(&((struct api_device_resource_claim *)msg)->spec);
}

static void template_fill(void *msg, struct arena *a)
{
    (void)a;
    fill_spec(&((struct api_resource_claim_template *)msg)->spec.spec);
}

static void check_count(struct str mode, int64_t count, const char *path, struct error *err)
{
    PATH(at, "%s.count", path);
    if (str_is(mode, "ExactCount") && count <= 0)
        check_invalid_int(err, at, count, "must be greater than zero");
    else if (str_is(mode, "All") && count != 0)
        check_invalid_int(err, at, count, "must not be specified when allocationMode is 'All'");
}

static void check_configuration(const struct api_device_configuration *c, const char *path,
                                struct error *err)
{
    PATH(at, "%s.opaque.parameters", path);
    if (!c->opaque || !c->opaque->parameters.n)
        return; /* told by the table */
    if (c->opaque->parameters.n > PARAMETERS_BYTES_MAX)
        (void)error_cause(err, CAUSE_TOO_LONG, at, "Too long: may not be more than %d bytes",
                          PARAMETERS_BYTES_MAX);
    else if (c->opaque->parameters.p[0] != '{')
        check_invalid(err, at, STR("<value omitted>"), "parameters must be a valid JSON object");
}

/* Adds the names requests can be called by. */
static void validate_request(const struct api_device_request *r, const char *path,
                             struct set *names, struct error *err)
{
    PATH(at, "%s", path);
    PATH(exactly, "%s.exactly", path);
    if (r->name.n && !set_add_copy(names, r->name))
        check_duplicate(err, at, r->name);
    if (!r->exactly && !r->n_first_available)
        check_required(err, at, "exactly one of `exactly` or `firstAvailable` is required");
    else if (r->exactly && r->n_first_available)
        check_invalid(err, at, r->name,
                      "exactly one of `exactly` or `firstAvailable` is required, but multiple "
                      "fields are set");
    if (r->exactly)
        check_count(r->exactly->allocation_mode, r->exactly->count, exactly.p, err);
    for (uint32_t i = 0; i < r->n_first_available; i++) {
        const struct api_device_sub_request *s = &r->first_available[i];
        PATH(sub, "%s.firstAvailable[%u]", path, i);
        struct buf full = {0};
        buf_printf(&full, "%.*s/%.*s", STR_ARG(r->name), STR_ARG(s->name));
        if (s->name.n && !set_add_copy(names, buf_str(&full)))
            check_duplicate(err, sub, s->name);
        check_count(s->allocation_mode, s->count, sub.p, err);
        buf_fini(&full);
    }
}

static void check_requests(const struct str *v, uint32_t n, const char *path,
                           const struct set *names, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        PATH(at, "%s.requests[%u]", path, i);
        if (!set_has(names, v[i]))
            check_invalid(err, at, v[i],
                          "must be the name of a request in the claim or the name of a request and "
                          "a subrequest separated by '/'");
    }
}

static void validate_claim(const struct api_device_claim *c, const char *path, struct error *err)
{
    struct set names = {0};
    for (uint32_t i = 0; i < c->n_requests; i++) {
        PATH(at, "%s.requests[%u]", path, i);
        validate_request(&c->requests[i], at.p, &names, err);
    }
    for (uint32_t i = 0; i < c->n_constraints; i++) {
        const struct api_device_constraint *k = &c->constraints[i];
        PATH(at, "%s.constraints[%u]", path, i);
        check_requests(k->requests, k->n_requests, at.p, &names, err);
        if (!k->match_attribute.n && !k->distinct_attribute.n)
            check_required(err, at,
                           "exactly one of `matchAttribute` or `distinctAttribute` is required");
        else if (k->match_attribute.n && k->distinct_attribute.n)
            check_invalid(err, at, k->match_attribute,
                          "exactly one of `matchAttribute` or `distinctAttribute` is required, but "
                          "multiple fields are set");
    }
    for (uint32_t i = 0; i < c->n_config; i++) {
        PATH(at, "%s.config[%u]", path, i);
        check_requests(c->config[i].requests, c->config[i].n_requests, at.p, &names, err);
        check_configuration(&c->config[i].device_configuration, at.p, err);
    }
    set_fini(&names);
}

static void claim_validate(const void *msg, struct error *err)
{
    validate_claim(&((const struct api_device_resource_claim *)msg)->spec.devices, "spec.devices",
                   err);
}

static void claim_validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_resource_claim_status
        *n = &((const struct api_device_resource_claim *)msg)->status,
        *o = &((const struct api_device_resource_claim *)old)->status;
    if (!n->allocation && n->n_reserved_for)
        check_forbidden(err, STR("status.reservedFor"),
                        "may not be specified when `allocated` is not set");
    if (n->allocation && o->allocation)
        check_immutable(err, STR("status.allocation"), &api_allocation_result_desc, n->allocation,
                        o->allocation);
}

static void template_validate(const void *msg, struct error *err)
{
    validate_claim(&((const struct api_resource_claim_template *)msg)->spec.spec.devices,
                   "spec.spec.devices", err);
}

const struct api_hooks device_claim_hooks = {.kind = KIND_DEVICE_RESOURCE_CLAIM,
                                             .fill = claim_fill,
                                             .validate = claim_validate,
                                             .validate_status = claim_validate_status};
const struct api_hooks device_claim_template_hooks = {
    .kind = KIND_RESOURCE_CLAIM_TEMPLATE, .fill = template_fill, .validate = template_validate};

/* ---- what there is ---- */

static void class_validate(const void *msg, struct error *err)
{
    const struct api_device_class_spec *s = &((const struct api_device_class *)msg)->spec;
    for (uint32_t i = 0; i < s->n_config; i++) {
        PATH(at, "spec.config[%u]", i);
        check_configuration(&s->config[i].device_configuration, at.p, err);
    }
    if (s->extended_resource_name.p)
        check_format(err, STR("spec.extendedResourceName"), SCHEMA_FORMAT_QUALIFIED_NAME,
                     s->extended_resource_name);
}

const struct api_hooks device_class_hooks = {.kind = KIND_DEVICE_CLASS, .validate = class_validate};

static void validate_device(const struct api_device *d, uint32_t i, struct error *err)
{
    for (uint32_t k = 0; k < d->n_attributes; k++) {
        PATH(at, "spec.devices[%u].attributes[%.*s]", i, STR_ARG(d->attributes[k].key));
        unsigned n = check_n_set(&api_device_attribute_desc, &d->attributes[k].value);
        if (n == 0)
            check_required(err, at, "exactly one value must be specified");
        else if (n > 1)
            check_invalid(err, at, d->attributes[k].key, "exactly one value must be specified");
    }
    for (uint32_t k = 0; k < d->n_capacity; k++) {
        PATH(at, "spec.devices[%u].capacity[%.*s]", i, STR_ARG(d->capacity[k].key));
        check_quantity(err, at, &d->capacity[k].value.value);
    }
}

static void slice_validate(const void *msg, struct error *err)
{
    const struct api_resource_slice_spec *s = &((const struct api_resource_slice *)msg)->spec;
    const char *one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
                      "`perDeviceNodeSelection` is required";
    unsigned n = (s->node_name.n != 0) + (s->node_selector != NULL) + (s->all_nodes != 0) +
                 (s->per_device_node_selection != 0);
    struct set names = {0};
    if (n == 0)
        check_required(err, STR("spec"), one);
    else if (n > 1)
        check_invalid(err, STR("spec"), STR("{}"), one);
    for (uint32_t i = 0; i < s->n_devices; i++) {
        PATH(at, "spec.devices[%u].name", i);
        if (s->devices[i].name.n && !set_add(&names, s->devices[i].name))
            check_duplicate(err, at, s->devices[i].name);
        validate_device(&s->devices[i], i, err);
    }
    set_fini(&names);
    if (s->n_devices && s->n_shared_counters)
        check_invalid(err, STR("spec"), STR("{}"),
                      "exactly one of `devices` or `sharedCounters` may be set");
}

static void slice_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_resource_slice_spec *n = &((const struct api_resource_slice *)msg)->spec,
                                         *o = &((const struct api_resource_slice *)old)->spec;
    check_immutable_str(err, STR("spec.pool.name"), n->pool.name, o->pool.name);
}

const struct api_hooks resource_slice_hooks = {.kind = KIND_RESOURCE_SLICE,
                                               .validate = slice_validate,
                                               .validate_update = slice_validate_update};
