/* Rules of APIServices. Kubernetes: kube-aggregator's pkg/apis/apiregistration/validation; the
 * priorities are those of kube-apiserver, so that discovery lists the groups in its order. */
#include "api/apiservice.h"

#include "api/check.h"
#include "schema/custom.h"

static const struct {
    const char *group, *version;
    int32_t group_priority, version_priority;
} priorities[] = {
    {"", "v1", 18000, 1},
    {"apps", "v1", 17800, 15},
    {"events.k8s.io", "v1", 17750, 15},
    {"authentication.k8s.io", "v1", 17700, 15},
    {"authorization.k8s.io", "v1", 17600, 15},
    {"autoscaling", "v1", 17500, 15},
    {"autoscaling", "v2", 17500, 30},
    {"batch", "v1", 17400, 15},
    {"certificates.k8s.io", "v1", 17300, 15},
    {"networking.k8s.io", "v1", 17200, 15},
    {"policy", "v1", 17100, 15},
    {"rbac.authorization.k8s.io", "v1", 17000, 15},
    {"storage.k8s.io", "v1", 16800, 15},
    {"apiextensions.k8s.io", "v1", 16700, 15},
    {"admissionregistration.k8s.io", "v1", 16700, 15},
    {"scheduling.k8s.io", "v1", 16600, 15},
    {"coordination.k8s.io", "v1", 16500, 15},
    {"node.k8s.io", "v1", 16300, 15},
    {"discovery.k8s.io", "v1", 16200, 15},
    {"flowcontrol.apiserver.k8s.io", "v1", 16100, 21},
    {"resource.k8s.io", "v1", 15900, 20},
    {"metrics.k8s.io", "v1beta1", 100, 100}, /* as metrics-server asks for */
};

struct str apiservice_name(struct str group, struct str version, struct arena *a)
{
    return arena_printf(a, "%.*s.%.*s", STR_ARG(version), STR_ARG(group));
}

void apiservice_priorities(struct str group, struct str version, int32_t *ret_group,
                           int32_t *ret_version)
{
    *ret_group = APISERVICE_CUSTOM_GROUP_PRIORITY;
    *ret_version = APISERVICE_CUSTOM_VERSION_PRIORITY;
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++)
        if (str_eqz(group, priorities[i].group) && str_eqz(version, priorities[i].version)) {
            *ret_group = priorities[i].group_priority;
            *ret_version = priorities[i].version_priority;
        }
}

int apiservice_version_cmp(int32_t priority_a, struct str version_a, int32_t priority_b,
                           struct str version_b)
{
    if (priority_a != priority_b)
        return priority_a > priority_b ? -1 : 1;
    return -schema_version_cmp(version_a, version_b);
}

/* ---- condition ---- */

bool apiservice_is_available(const struct api_apiservice *s)
{
    for (uint32_t i = 0; i < s->status.n_conditions; i++)
        if (str_is(s->status.conditions[i].type, "Available"))
            return str_is(s->status.conditions[i].status, "True");
    return false;
}

bool apiservice_set_available(struct api_apiservice *s, bool available, const char *reason,
                              struct str message, usec_t now, struct arena *a)
{
    struct api_apiservice_status *st = &s->status;
    struct str status = available ? STR("True") : STR("False");
    uint32_t at = 0;
    while (at < st->n_conditions && !str_is(st->conditions[at].type, "Available"))
        at++;
    struct api_apiservice_condition *v =
        ARENA_NEW_N(a, struct api_apiservice_condition, st->n_conditions + 1);
    if (st->n_conditions)
        memcpy(v, st->conditions, st->n_conditions * sizeof(*v));
    struct api_apiservice_condition *c = &v[at];
    bool is_new = at == st->n_conditions;
    if (!is_new && str_eq(c->status, status) && str_eqz(c->reason, reason) &&
        str_eq(c->message, message))
        return false;
    if (is_new || !str_eq(c->status, status))
        c->last_transition_time = timestamp_seconds(now);
    c->type = STR("Available");
    c->status = status;
    c->reason = str_z(reason);
    c->message = message;
    st->conditions = v;
    st->n_conditions += is_new;
    return true;
}

/* ---- rules ---- */

static void check_service(const struct api_apiservice_spec *s, struct error *err)
{
    const struct api_apiservice_reference *r = s->service;
    if (!r->namespace.n)
        check_required(err, STR("spec.service.namespace"), "");
    if (!r->name.n)
        check_required(err, STR("spec.service.name"), "");
    if (r->has_port && (r->port < 1 || r->port > 65535))
        check_invalid_int(err, STR("spec.service.port"), r->port,
                          "port is not valid: must be between 1 and 65535, inclusive");
    if (s->insecure_skip_tls_verify && s->ca_bundle.n)
        (void)error_cause(err, "FieldValueInvalid", STR("spec.insecureSkipTLSVerify"),
                          "Invalid value: true: may not be true if caBundle is present");
}

static void check_local(const struct api_apiservice_spec *s, struct error *err)
{
    if (s->ca_bundle.n) {
        char text[32];
        snprintf(text, sizeof(text), "%zu bytes", s->ca_bundle.n);
        check_invalid(err, STR("spec.caBundle"), str_z(text),
                      "local APIServices may not have a caBundle");
    }
    if (s->insecure_skip_tls_verify)
        (void)error_cause(err, "FieldValueInvalid", STR("spec.insecureSkipTLSVerify"),
                          "Invalid value: true: local APIServices may not have "
                          "insecureSkipTLSVerify");
}

static void validate(const void *msg, struct error *err)
{
    const struct api_apiservice *o = msg;
    const struct api_apiservice_spec *s = &o->spec;
    struct arena a = {0};
    struct str name = apiservice_name(s->group, s->version, &a);
    if (!str_eq(o->metadata.name, name))
        check_invalid(
            err, STR("metadata.name"), o->metadata.name,
            arena_printf(&a, "must be `spec.version+\".\"+spec.group`: \"%.*s\"", STR_ARG(name)).p);
    if (!s->group.n && !str_is(s->version, "v1"))
        check_required(err, STR("spec.group"),
                       "only v1 may have an empty group and it better be legacy kube");
    if (s->group.n)
        check_format(err, STR("spec.group"), SCHEMA_FORMAT_DNS_SUBDOMAIN, s->group);
    check_format(err, STR("spec.version"), SCHEMA_FORMAT_DNS1035_LABEL, s->version);
    if (s->group_priority_minimum <= 0 || s->group_priority_minimum > 20000)
        check_invalid_int(err, STR("spec.groupPriorityMinimum"), s->group_priority_minimum,
                          "must be positive and less than 20000");
    if (s->version_priority <= 0 || s->version_priority > 1000)
        check_invalid_int(err, STR("spec.versionPriority"), s->version_priority,
                          "must be positive and less than 1000");
    if (s->service)
        check_service(s, err);
    else
        check_local(s, err);
    arena_fini(&a);
}

static void prepare_create(void *msg, struct arena *a)
{
    struct api_apiservice *s = msg;
    (void)a;
    s->status = (struct api_apiservice_status){0}; /* set in the same turn (apiservices.c) */
}

const struct api_hooks apiservice_hooks = {
    .kind = KIND_APISERVICE, .prepare_create = prepare_create, .validate = validate};
