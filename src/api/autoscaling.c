/* HorizontalPodAutoscaler: defaults and rules. The old version is checked as what it is stored as,
 * so that the rules are written once; what its annotations hold must be readable. Kubernetes:
 * pkg/apis/autoscaling. */
#include "api/autoscaling.h"

#include "api/check.h"
#include "schema/schema.h"

#define CPU_PERCENT_DEFAULT 80
#define PREFIX              "autoscaling.alpha.kubernetes.io/"
#define METRICS_ANNOTATION  PREFIX "metrics"

/* ---- defaults ---- */

static void fill_rules(struct api_hpa_scaling_rules *r, bool up, struct arena *a)
{
    if (up && !r->has_stabilization_window_seconds)
        r->has_stabilization_window_seconds = true; /* none: it grows at once */
    if (r->n_policies)
        return;
    r->policies = ARENA_NEW_N(a, struct api_hpa_scaling_policy, 2);
    if (up)
        r->policies[r->n_policies++] =
            (struct api_hpa_scaling_policy){.type = STR("Pods"), .value = 4, .period_seconds = 15};
    r->policies[r->n_policies++] =
        (struct api_hpa_scaling_policy){.type = STR("Percent"), .value = 100, .period_seconds = 15};
}

static void hpa_fill(void *msg, struct arena *a)
{
    struct api_hpa_spec *s = &((struct api_horizontal_pod_autoscaler *)msg)->spec;
    if (!s->n_metrics) {
        s->metrics = ARENA_NEW(a, struct api_hpa_metric);
        s->n_metrics = 1;
        s->metrics->type = STR("Resource");
        s->metrics->resource = ARENA_NEW(a, struct api_hpa_resource_source);
        s->metrics->resource->name = STR("cpu");
        s->metrics->resource->target =
            (struct api_hpa_metric_target){.type = STR("Utilization"),
                                           .has_average_utilization = true,
                                           .average_utilization = CPU_PERCENT_DEFAULT};
    }
    if (!s->behavior)
        return;
    fill_rules(s->behavior->scale_up, true, a);
    fill_rules(s->behavior->scale_down, false, a);
}

static struct str annotation(const struct api_object_meta *m, const char *key)
{
    const struct str *v = kv_str_get(m->annotations, m->n_annotations, str_z(key));
    return v ? *v : STR_NONE;
}

static void hpa1_fill(void *msg, struct arena *a)
{
    struct api_hpa1 *h = msg;
    (void)a;
    if (h->spec.has_target_cpu_utilization_percentage ||
        annotation(&h->metadata, METRICS_ANNOTATION).n)
        return;
    h->spec.has_target_cpu_utilization_percentage = true;
    h->spec.target_cpu_utilization_percentage = CPU_PERCENT_DEFAULT;
}

/* ---- rules ---- */

static void check_percent(const struct api_hpa_metric_target *t, const char *path,
                          struct error *err)
{
    PATH(at, "%s.target.averageUtilization", path);
    PATH(value, "%s.target.averageValue", path);
    if (t->has_average_utilization && t->average_utilization < 1)
        check_invalid_int(err, at, t->average_utilization, "must be greater than 0");
    if (!t->has_average_utilization && !t->average_value.set)
        check_required(err, at, "must set either a target raw value or a target utilization");
    if (t->has_average_utilization && t->average_value.set)
        check_forbidden(err, value, "may not set both a target raw value and a target utilization");
}

static void check_value(const struct api_hpa_metric_target *t, const char *path, bool only_average,
                        struct error *err)
{
    PATH(average, "%s.target.averageValue", path);
    PATH(value, "%s.target.value", path);
    if (only_average && !t->average_value.set)
        check_required(err, average, "must specify a positive target averageValue");
    else if (!t->average_value.set && !t->value.set)
        check_required(err, average,
                       "must set either a target value for metric or a per-pod target");
    else if (!only_average && t->average_value.set && t->value.set)
        check_forbidden(err, value,
                        "may not set both a target value for metric and a per-pod target");
    if (t->average_value.set && quantity_milli(&t->average_value) <= 0)
        check_invalid(err, average, STR(""), "must be positive");
    if (t->value.set && quantity_milli(&t->value) <= 0)
        check_invalid(err, value, STR(""), "must be positive");
}

/* The member of its type, and no other. */
static void check_source(const struct api_hpa_metric *m, const char *path, struct error *err)
{
    const struct {
        const char *type, *field;
        bool set;
    } members[] = {{"Object", "object", m->object != NULL},
                   {"Pods", "pods", m->pods != NULL},
                   {"Resource", "resource", m->resource != NULL},
                   {"ContainerResource", "containerResource", m->container_resource != NULL},
                   {"External", "external", m->external != NULL}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        PATH(at, "%s.%s", path, members[i].field);
        bool own = str_eqz(m->type, members[i].type);
        if (own && !members[i].set)
            check_required(err, at, "must populate information for the given metric source");
        else if (!own && members[i].set && m->type.n)
            check_forbidden(err, at, "must populate the given metric source only");
    }
}

static void validate_metric(const struct api_hpa_metric *m, const char *path, struct error *err)
{
    PATH(resource, "%s.resource", path);
    PATH(container, "%s.containerResource", path);
    PATH(pods, "%s.pods", path);
    PATH(object, "%s.object", path);
    PATH(external, "%s.external", path);
    check_source(m, path, err);
    if (m->resource)
        check_percent(&m->resource->target, resource.p, err);
    if (m->container_resource)
        check_percent(&m->container_resource->target, container.p, err);
    if (m->pods)
        check_value(&m->pods->target, pods.p, true, err);
    if (m->object)
        check_value(&m->object->target, object.p, false, err);
    if (m->external)
        check_value(&m->external->target, external.p, false, err);
}

static void hpa_validate(const void *msg, struct error *err)
{
    const struct api_hpa_spec *s = &((const struct api_horizontal_pod_autoscaler *)msg)->spec;
    if (s->has_min_replicas && s->min_replicas < 1)
        check_invalid_int(err, STR("spec.minReplicas"), s->min_replicas,
                          "must be greater than or equal to 1");
    if (s->has_min_replicas && s->max_replicas < s->min_replicas)
        check_invalid_int(err, STR("spec.maxReplicas"), s->max_replicas,
                          "must be greater than or equal to `minReplicas`");
    for (uint32_t i = 0; i < s->n_metrics; i++) {
        PATH(at, "spec.metrics[%u]", i);
        validate_metric(&s->metrics[i], at.p, err);
    }
}

/* An annotation that stands for fields, and is still one after the conversion, cannot be read. */
static void check_annotation(const struct api_object_meta *stored, const char *key,
                             struct error *err)
{
    PATH(at, "metadata.annotations[%s]", key);
    struct str text = annotation(stored, key);
    if (text.n)
        check_invalid(err, at, text, "must be what it stands for, in JSON");
}

static void hpa1_validate(const void *msg, struct error *err)
{
    static const char *const keys[] = {PREFIX "behavior", PREFIX "conditions",
                                       PREFIX "current-metrics", METRICS_ANNOTATION};
    const struct api_hpa1 *h = msg;
    struct arena a = {0};
    const struct api_horizontal_pod_autoscaler *stored =
        schema_to_storage(schema_kinds[KIND_HPA1], h, &a);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        check_annotation(&stored->metadata, keys[i], err);
    if (h->spec.has_target_cpu_utilization_percentage &&
        h->spec.target_cpu_utilization_percentage < 1)
        check_invalid_int(err, STR("spec.targetCPUUtilizationPercentage"),
                          h->spec.target_cpu_utilization_percentage, "must be greater than 0");
    else
        hpa_validate(stored, err);
    arena_fini(&a);
}

const struct api_hooks hpa_hooks = {
    .kind = KIND_HORIZONTAL_POD_AUTOSCALER, .fill = hpa_fill, .validate = hpa_validate};
const struct api_hooks hpa1_hooks = {
    .kind = KIND_HPA1, .fill = hpa1_fill, .validate = hpa1_validate};
