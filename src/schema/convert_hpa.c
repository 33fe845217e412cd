/* HorizontalPodAutoscaler of autoscaling/v1, stored as v2. The old form has one figure, CPU; all
 * that it has no field for travels in annotations, in the form Kubernetes gives them, so that who
 * reads, changes and writes an autoscaler by the old version takes nothing away. The annotations
 * are not stored: they stand for fields. One that cannot be read stays what it is, an annotation;
 * the rules refuse it. */
#include "schema/internal.h"

#define PREFIX      "autoscaling.alpha.kubernetes.io/"
#define BEHAVIOR    PREFIX "behavior"
#define CONDITIONS  PREFIX "conditions"
#define STATUSES    PREFIX "current-metrics"
#define METRICS     PREFIX "metrics"
#define METRICS_MAX 1000 /* more than these in an annotation are not looked at */

static_assert(sizeof(struct api_hpa_condition) == sizeof(struct api_hpa1_condition) &&
                  offsetof(struct api_hpa_condition, message) ==
                      offsetof(struct api_hpa1_condition, message),
              "both versions have the same conditions");

/* ---- annotations ---- */

/* Sorted. */
enum ours { OUR_BEHAVIOR, OUR_CONDITIONS, OUR_STATUSES, OUR_METRICS, _OURS_MAX };
static const char *const ours[_OURS_MAX] = {BEHAVIOR, CONDITIONS, STATUSES, METRICS};

static bool is_one_of(struct str key, unsigned which)
{
    for (unsigned i = 0; i < _OURS_MAX; i++)
        if ((which & 1u << i) && str_eqz(key, ours[i]))
            return true;
    return false;
}

static struct str annotation(const struct api_object_meta *m, const char *key)
{
    const struct str *v = kv_str_get(m->annotations, m->n_annotations, str_z(key));
    return v ? *v : STR_NONE;
}

/* m without the annotations `gone` (bits of enum ours), with those of `in` (sorted). */
static void annotations_set(struct api_object_meta *m, unsigned gone, const struct kv_str *in,
                            uint32_t n_in, struct arena *a)
{
    struct kv_str *w = ARENA_NEW_N(a, struct kv_str, (size_t)m->n_annotations + n_in + 1);
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < m->n_annotations; i++) {
        if (is_one_of(m->annotations[i].key, gone))
            continue;
        while (k < n_in && str_cmp(in[k].key, m->annotations[i].key) < 0)
            w[n++] = in[k++];
        w[n++] = m->annotations[i];
    }
    while (k < n_in)
        w[n++] = in[k++];
    m->annotations = n ? w : NULL;
    m->n_annotations = n;
}

static struct str list_text(const struct schema_desc *d, const void *v, uint32_t n, struct arena *a)
{
    struct buf b = {0};
    buf_add_char(&b, '[');
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&b, ',');
        schema_encode_json(d, (const char *)v + (size_t)i * d->size, 0, &b);
    }
    buf_add_char(&b, ']');
    struct str text = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return text;
}

/* NULL and no elements when the text is none of ours. */
static void *list_read(const struct schema_desc *d, struct str text, uint32_t *ret_n,
                       struct arena *a)
{
    struct json *v;
    uint32_t n = 0;
    *ret_n = 0;
    if (!text.n || json_parse(text, a, NULL, &v, NULL) < 0 || v->type != JSON_ARR ||
        v->n > METRICS_MAX)
        return NULL;
    char *out = arena_alloc(a, (size_t)v->n * d->size + 1);
    memset(out, 0, (size_t)v->n * d->size + 1);
    json_for_each(e, v)
    {
        if (schema_decode_json(d, e, a, NULL, out + (size_t)n * d->size, NULL) < 0)
            return NULL;
        n++;
    }
    *ret_n = n;
    return out;
}

/* ---- one figure, old and new ---- */

static struct api_hpa1_object_reference ref_old(const struct api_hpa_object_reference *r)
{
    return (struct api_hpa1_object_reference){
        .kind = r->kind, .name = r->name, .api_version = r->api_version};
}

static struct api_hpa_object_reference ref_new(const struct api_hpa1_object_reference *r)
{
    return (struct api_hpa_object_reference){
        .kind = r->kind, .name = r->name, .api_version = r->api_version};
}

static bool amounts(const struct quantity *q)
{
    static const struct quantity zero = {0};
    return q->set && quantity_cmp(q, &zero) != 0;
}

static struct api_hpa_metric_target use_new(bool has_percent, int32_t percent, struct quantity q)
{
    return (struct api_hpa_metric_target){.type = has_percent ? STR("Utilization")
                                                              : STR("AverageValue"),
                                          .has_average_utilization = has_percent,
                                          .average_utilization = percent,
                                          .average_value = q};
}

static struct api_hpa_metric_target value_new(struct quantity value, struct quantity average)
{
    struct api_hpa_metric_target t = {.type = average.set ? STR("AverageValue") : STR("Value"),
                                      .average_value = average};
    if (!average.set || amounts(&value))
        t.value = value;
    return t;
}

static struct api_hpa_metric_value measured_new(struct quantity value, struct quantity average)
{
    struct api_hpa_metric_value v = {.average_value = average};
    if (!average.set || amounts(&value))
        v.value = value;
    return v;
}

static struct api_hpa1_metric metric_old(const struct api_hpa_metric *m, struct arena *a)
{
    struct api_hpa1_metric o = {.type = m->type};
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct api_hpa1_resource_source);
        o.resource->name = m->resource->name;
        o.resource->has_target_average_utilization = m->resource->target.has_average_utilization;
        o.resource->target_average_utilization = m->resource->target.average_utilization;
        o.resource->target_average_value = m->resource->target.average_value;
    }
    if (m->container_resource) {
        o.container_resource = ARENA_NEW(a, struct api_hpa1_container_resource_source);
        o.container_resource->name = m->container_resource->name;
        o.container_resource->container = m->container_resource->container;
        o.container_resource->has_target_average_utilization =
            m->container_resource->target.has_average_utilization;
        o.container_resource->target_average_utilization =
            m->container_resource->target.average_utilization;
        o.container_resource->target_average_value = m->container_resource->target.average_value;
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct api_hpa1_pods_source);
        o.pods->metric_name = m->pods->metric.name;
        o.pods->selector = m->pods->metric.selector;
        o.pods->target_average_value = m->pods->target.average_value;
    }
    if (m->object) {
        o.object = ARENA_NEW(a, struct api_hpa1_object_source);
        o.object->target = ref_old(&m->object->described_object);
        o.object->metric_name = m->object->metric.name;
        o.object->selector = m->object->metric.selector;
        o.object->target_value = m->object->target.value;
        o.object->average_value = m->object->target.average_value;
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct api_hpa1_external_source);
        o.external->metric_name = m->external->metric.name;
        o.external->metric_selector = m->external->metric.selector;
        o.external->target_value = m->external->target.value;
        o.external->target_average_value = m->external->target.average_value;
    }
    return o;
}

static struct api_hpa_metric metric_new(const struct api_hpa1_metric *m, struct arena *a)
{
    struct api_hpa_metric o = {.type = m->type};
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct api_hpa_resource_source);
        o.resource->name = m->resource->name;
        o.resource->target =
            use_new(m->resource->has_target_average_utilization,
                    m->resource->target_average_utilization, m->resource->target_average_value);
    }
    if (m->container_resource) {
        o.container_resource = ARENA_NEW(a, struct api_hpa_container_resource_source);
        o.container_resource->name = m->container_resource->name;
        o.container_resource->container = m->container_resource->container;
        o.container_resource->target =
            use_new(m->container_resource->has_target_average_utilization,
                    m->container_resource->target_average_utilization,
                    m->container_resource->target_average_value);
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct api_hpa_pods_source);
        o.pods->metric.name = m->pods->metric_name;
        o.pods->metric.selector = m->pods->selector;
        o.pods->target = use_new(false, 0, m->pods->target_average_value);
    }
    if (m->object) {
        o.object = ARENA_NEW(a, struct api_hpa_object_source);
        o.object->described_object = ref_new(&m->object->target);
        o.object->metric.name = m->object->metric_name;
        o.object->metric.selector = m->object->selector;
        o.object->target = value_new(m->object->target_value, m->object->average_value);
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct api_hpa_external_source);
        o.external->metric.name = m->external->metric_name;
        o.external->metric.selector = m->external->metric_selector;
        o.external->target =
            value_new(m->external->target_value, m->external->target_average_value);
    }
    return o;
}

static struct api_hpa1_metric_status status_old(const struct api_hpa_metric_status *m,
                                                struct arena *a)
{
    struct api_hpa1_metric_status o = {.type = m->type};
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct api_hpa1_resource_status);
        o.resource->name = m->resource->name;
        o.resource->has_current_average_utilization = m->resource->current.has_average_utilization;
        o.resource->current_average_utilization = m->resource->current.average_utilization;
        o.resource->current_average_value = m->resource->current.average_value;
    }
    if (m->container_resource) {
        o.container_resource = ARENA_NEW(a, struct api_hpa1_container_resource_status);
        o.container_resource->name = m->container_resource->name;
        o.container_resource->container = m->container_resource->container;
        o.container_resource->has_current_average_utilization =
            m->container_resource->current.has_average_utilization;
        o.container_resource->current_average_utilization =
            m->container_resource->current.average_utilization;
        o.container_resource->current_average_value = m->container_resource->current.average_value;
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct api_hpa1_pods_status);
        o.pods->metric_name = m->pods->metric.name;
        o.pods->selector = m->pods->metric.selector;
        o.pods->current_average_value = m->pods->current.average_value;
    }
    if (m->object) {
        o.object = ARENA_NEW(a, struct api_hpa1_object_status);
        o.object->target = ref_old(&m->object->described_object);
        o.object->metric_name = m->object->metric.name;
        o.object->selector = m->object->metric.selector;
        o.object->current_value = m->object->current.value;
        o.object->average_value = m->object->current.average_value;
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct api_hpa1_external_status);
        o.external->metric_name = m->external->metric.name;
        o.external->metric_selector = m->external->metric.selector;
        o.external->current_value = m->external->current.value;
        o.external->current_average_value = m->external->current.average_value;
    }
    return o;
}

static struct api_hpa_metric_value used_new(bool has_percent, int32_t percent, struct quantity q)
{
    struct api_hpa_metric_value v = {.has_average_utilization = has_percent,
                                     .average_utilization = percent};
    if (!has_percent || amounts(&q))
        v.average_value = q;
    return v;
}

static struct api_hpa_metric_status status_new(const struct api_hpa1_metric_status *m,
                                               struct arena *a)
{
    struct api_hpa_metric_status o = {.type = m->type};
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct api_hpa_resource_status);
        o.resource->name = m->resource->name;
        o.resource->current =
            used_new(m->resource->has_current_average_utilization,
                     m->resource->current_average_utilization, m->resource->current_average_value);
    }
    if (m->container_resource) {
        o.container_resource = ARENA_NEW(a, struct api_hpa_container_resource_status);
        o.container_resource->name = m->container_resource->name;
        o.container_resource->container = m->container_resource->container;
        o.container_resource->current =
            used_new(m->container_resource->has_current_average_utilization,
                     m->container_resource->current_average_utilization,
                     m->container_resource->current_average_value);
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct api_hpa_pods_status);
        o.pods->metric.name = m->pods->metric_name;
        o.pods->metric.selector = m->pods->selector;
        o.pods->current.average_value = m->pods->current_average_value;
    }
    if (m->object) {
        o.object = ARENA_NEW(a, struct api_hpa_object_status);
        o.object->described_object = ref_new(&m->object->target);
        o.object->metric.name = m->object->metric_name;
        o.object->metric.selector = m->object->selector;
        o.object->current = measured_new(m->object->current_value, m->object->average_value);
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct api_hpa_external_status);
        o.external->metric.name = m->external->metric_name;
        o.external->metric.selector = m->external->metric_selector;
        o.external->current =
            measured_new(m->external->current_value, m->external->current_average_value);
    }
    return o;
}

/* ---- the object ---- */

static bool is_cpu_percent(const struct api_hpa_metric *m)
{
    return str_is(m->type, "Resource") && m->resource && str_is(m->resource->name, "cpu") &&
           m->resource->target.has_average_utilization;
}

static void spec_from_storage(const struct api_hpa_spec *s, struct api_hpa1_spec *o,
                              struct kv_str *notes, uint32_t *n_notes, struct arena *a)
{
    struct api_hpa1_metric *v = ARENA_NEW_N(a, struct api_hpa1_metric, (size_t)s->n_metrics + 1);
    uint32_t n = 0;
    o->scale_target_ref = ref_old(&s->scale_target_ref);
    o->has_min_replicas = s->has_min_replicas;
    o->min_replicas = s->min_replicas;
    o->max_replicas = s->max_replicas;
    for (uint32_t i = 0; i < s->n_metrics; i++) {
        if (!o->has_target_cpu_utilization_percentage && is_cpu_percent(&s->metrics[i])) {
            o->has_target_cpu_utilization_percentage = true;
            o->target_cpu_utilization_percentage =
                s->metrics[i].resource->target.average_utilization;
        } else {
            v[n++] = metric_old(&s->metrics[i], a);
        }
    }
    if (n)
        notes[(*n_notes)++] =
            (struct kv_str){STR(METRICS), list_text(&api_hpa1_metric_desc, v, n, a)};
}

static void status_from_storage(const struct api_hpa_status *s, struct api_hpa1_status *o,
                                struct kv_str *notes, uint32_t *n_notes, struct arena *a)
{
    struct api_hpa1_metric_status *v =
        ARENA_NEW_N(a, struct api_hpa1_metric_status, (size_t)s->n_current_metrics + 1);
    o->has_observed_generation = s->has_observed_generation;
    o->observed_generation = s->observed_generation;
    o->last_scale_time = s->last_scale_time;
    o->current_replicas = s->current_replicas;
    o->desired_replicas = s->desired_replicas;
    for (uint32_t i = 0; i < s->n_current_metrics; i++) {
        const struct api_hpa_resource_status *r = s->current_metrics[i].resource;
        v[i] = status_old(&s->current_metrics[i], a);
        if (r && str_is(r->name, "cpu") && r->current.has_average_utilization &&
            !o->has_current_cpu_utilization_percentage) {
            o->has_current_cpu_utilization_percentage = true;
            o->current_cpu_utilization_percentage = r->current.average_utilization;
        }
    }
    if (s->n_conditions)
        notes[(*n_notes)++] =
            (struct kv_str){STR(CONDITIONS),
                            list_text(&api_hpa1_condition_desc, s->conditions, s->n_conditions, a)};
    if (s->n_current_metrics)
        notes[(*n_notes)++] = (struct kv_str){
            STR(STATUSES), list_text(&api_hpa1_metric_status_desc, v, s->n_current_metrics, a)};
}

const void *convert_hpa1_from_storage(const void *msg, struct arena *a)
{
    const struct api_horizontal_pod_autoscaler *h = msg;
    struct api_hpa1 *o = ARENA_NEW(a, struct api_hpa1);
    struct kv_str notes[_OURS_MAX];
    uint32_t n = 0;
    unsigned gone = 0;
    o->metadata = h->metadata;
    if (h->spec.behavior) {
        struct buf b = {0};
        schema_encode_json(&api_hpa_behavior_desc, h->spec.behavior, 0, &b);
        notes[n++] = (struct kv_str){STR(BEHAVIOR), arena_str(a, buf_str(&b))};
        buf_fini(&b);
    }
    status_from_storage(&h->status, &o->status, notes, &n, a);
    spec_from_storage(&h->spec, &o->spec, notes, &n, a);
    for (unsigned i = 0; i < _OURS_MAX; i++)
        for (uint32_t k = 0; k < n; k++)
            gone |= str_eqz(notes[k].key, ours[i]) ? 1u << i : 0;
    annotations_set(&o->metadata, gone, notes, n, a);
    return o;
}

/* Returns which annotations became fields. */
static unsigned spec_to_storage(const struct api_hpa1 *h, struct api_hpa_spec *o, struct arena *a)
{
    const struct api_hpa1_spec *s = &h->spec;
    uint32_t n_old;
    struct api_hpa1_metric *old =
        list_read(&api_hpa1_metric_desc, annotation(&h->metadata, METRICS), &n_old, a);
    struct str behavior = annotation(&h->metadata, BEHAVIOR);
    o->scale_target_ref = ref_new(&s->scale_target_ref);
    o->has_min_replicas = s->has_min_replicas;
    o->min_replicas = s->min_replicas;
    o->max_replicas = s->max_replicas;
    o->metrics = ARENA_NEW_N(a, struct api_hpa_metric, (size_t)n_old + 1);
    if (s->has_target_cpu_utilization_percentage) {
        struct api_hpa_metric *m = &o->metrics[o->n_metrics++];
        m->type = STR("Resource");
        m->resource = ARENA_NEW(a, struct api_hpa_resource_source);
        m->resource->name = STR("cpu");
        m->resource->target =
            use_new(true, s->target_cpu_utilization_percentage, (struct quantity){0});
    }
    for (uint32_t i = 0; i < n_old; i++)
        o->metrics[o->n_metrics++] = metric_new(&old[i], a);
    if (!o->n_metrics)
        o->metrics = NULL;
    unsigned read = old ? 1u << OUR_METRICS : 0;
    if (!behavior.n)
        return read;
    o->behavior = ARENA_NEW(a, struct api_hpa_behavior);
    if (schema_decode_text(&api_hpa_behavior_desc, behavior, a, NULL, o->behavior, NULL) < 0)
        o->behavior = NULL;
    return read | (o->behavior ? 1u << OUR_BEHAVIOR : 0);
}

static unsigned status_to_storage(const struct api_hpa1 *h, struct api_hpa_status *o,
                                  struct arena *a)
{
    const struct api_hpa1_status *s = &h->status;
    uint32_t n_old;
    struct api_hpa1_metric_status *old =
        list_read(&api_hpa1_metric_status_desc, annotation(&h->metadata, STATUSES), &n_old, a);
    bool cpu = false;
    o->has_observed_generation = s->has_observed_generation;
    o->observed_generation = s->observed_generation;
    o->last_scale_time = s->last_scale_time;
    o->current_replicas = s->current_replicas;
    o->desired_replicas = s->desired_replicas;
    o->current_metrics = ARENA_NEW_N(a, struct api_hpa_metric_status, (size_t)n_old + 1);
    for (uint32_t i = 0; i < n_old; i++) {
        struct api_hpa_metric_status *m = &o->current_metrics[o->n_current_metrics++];
        *m = status_new(&old[i], a);
        if (cpu || !m->resource || !str_is(m->resource->name, "cpu") ||
            !m->resource->current.has_average_utilization)
            continue;
        cpu = true; /* the field is newer than the annotation */
        m->resource->current.has_average_utilization = s->has_current_cpu_utilization_percentage;
        m->resource->current.average_utilization = s->current_cpu_utilization_percentage;
    }
    if (s->has_current_cpu_utilization_percentage && !cpu) {
        struct api_hpa_metric_status *m = &o->current_metrics[o->n_current_metrics++];
        m->type = STR("Resource");
        m->resource = ARENA_NEW(a, struct api_hpa_resource_status);
        m->resource->name = STR("cpu");
        m->resource->current =
            used_new(true, s->current_cpu_utilization_percentage, (struct quantity){0});
    }
    if (!o->n_current_metrics)
        o->current_metrics = NULL;
    o->conditions = list_read(&api_hpa1_condition_desc, annotation(&h->metadata, CONDITIONS),
                              &o->n_conditions, a);
    return (old ? 1u << OUR_STATUSES : 0) | (o->conditions ? 1u << OUR_CONDITIONS : 0);
}

const void *convert_hpa1_to_storage(const void *msg, struct arena *a)
{
    const struct api_hpa1 *h = msg;
    struct api_horizontal_pod_autoscaler *o = ARENA_NEW(a, struct api_horizontal_pod_autoscaler);
    o->metadata = h->metadata;
    unsigned read = spec_to_storage(h, &o->spec, a);
    read |= status_to_storage(h, &o->status, a);
    annotations_set(&o->metadata, read, NULL, 0, a);
    return o;
}
