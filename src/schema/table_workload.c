/* Cells of what runs pods. The pod template lies at different depths; paths find it. */
#include "schema/select.h"
#include "schema/table_int.h"

static const struct api_pod_spec *template_spec(const struct schema_kind *kind, const void *msg)
{
    static const char *const paths[] = {"spec.template.spec", "template.spec",
                                        "spec.jobTemplate.spec.template.spec"};
    struct schema_ref ref;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (schema_get_path(kind->desc, msg, str_z(paths[i]), &ref) > 0 &&
            ref.desc == &api_pod_spec_desc)
            return ref.ptr;
    return NULL;
}

TABLE_HOOK(containers)
{
    const struct api_pod_spec *spec = template_spec(kind, msg);

    for (uint32_t i = 0; spec && i < spec->n_containers; i++)
        buf_printf(text, "%s%.*s", i ? "," : "", STR_ARG(spec->containers[i].name));
    table_or_none(text);
}

TABLE_HOOK(images)
{
    const struct api_pod_spec *spec = template_spec(kind, msg);

    for (uint32_t i = 0; spec && i < spec->n_containers; i++)
        buf_printf(text, "%s%.*s", i ? "," : "", STR_ARG(spec->containers[i].image));
    table_or_none(text);
}

TABLE_HOOK(selector)
{
    struct schema_ref ref;
    struct label_selector compiled = {0};
    struct arena a = {0};

    if (schema_get_path(kind->desc, msg, STR("spec.selector"), &ref) > 0) {
        if (ref.whole)
            label_selector_from_map(&a, *(struct kv_str *const *)ref.ptr, ref.n, &compiled);
        else if (ref.desc == &api_label_selector_desc &&
                 label_selector_compile(&a, ref.ptr, &compiled, NULL) < 0)
            buf_add_lit(text, "<error>");
        if (!text->n)
            buf_add_str(text, label_selector_print(&a, &compiled));
    }
    table_or_none(text);
    arena_fini(&a);
}

TABLE_HOOK(template_labels)
{
    const struct api_pod_template *t = msg;

    for (uint32_t i = 0; i < t->template.metadata.n_labels; i++)
        buf_printf(text, "%s%.*s=%.*s", i ? "," : "", STR_ARG(t->template.metadata.labels[i].key),
                   STR_ARG(t->template.metadata.labels[i].value));
    table_or_none(text);
}

/* Deployments and stateful sets. */
TABLE_HOOK(ready_replicas)
{
    static const char *const paths[] = {"status.readyReplicas", "spec.replicas"};
    struct schema_ref ref;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (i)
            buf_add_char(text, '/');
        if (schema_get_path(kind->desc, msg, str_z(paths[i]), &ref) > 0)
            schema_ref_print(&ref, text);
        else
            buf_add_i64(text, (int64_t)i); /* none ready; one wanted by default */
    }
}

TABLE_HOOK(cronjob_suspend)
{
    const struct api_cron_job_spec *s = &((const struct api_cron_job *)msg)->spec;

    buf_add_str(text, !s->has_suspend ? STR("<unset>") : s->suspend ? STR("True") : STR("False"));
}

TABLE_HOOK(cronjob_last_schedule)
{
    const struct api_cron_job *c = msg;

    if (c->status.last_schedule_time.set)
        table_age_print(c->status.last_schedule_time, now, text);
    table_or_none(text);
}

static bool job_condition(const struct api_job *j, const char *type)
{
    for (uint32_t i = 0; i < j->status.n_conditions; i++)
        if (str_eqz(j->status.conditions[i].type, type) &&
            str_is(j->status.conditions[i].status, "True"))
            return true;
    return false;
}

TABLE_HOOK(job_status)
{
    static const char *const ended[] = {"Complete", "Failed"}, *const others[] = {
                                                                   "Suspended", "FailureTarget",
                                                                   "SuccessCriteriaMet"};
    const struct api_job *j = msg;

    for (size_t i = 0; !text->n && i < ARRAY_LEN(ended); i++)
        if (job_condition(j, ended[i]))
            buf_add_str(text, str_z(ended[i]));
    if (!text->n && j->metadata.deletion_timestamp.set)
        buf_add_lit(text, "Terminating");
    for (size_t i = 0; !text->n && i < ARRAY_LEN(others); i++)
        if (job_condition(j, others[i]))
            buf_add_str(text, str_z(others[i]));
    if (!text->n)
        buf_add_lit(text, "Running");
}

TABLE_HOOK(job_completions)
{
    const struct api_job *j = msg;
    int32_t parallelism = j->spec.has_parallelism ? j->spec.parallelism : 0;

    if (j->spec.has_completions)
        buf_printf(text, "%d/%d", j->status.succeeded, j->spec.completions);
    else if (parallelism > 1)
        buf_printf(text, "%d/1 of %d", j->status.succeeded, parallelism);
    else
        buf_printf(text, "%d/1", j->status.succeeded);
}

TABLE_HOOK(job_duration)
{
    const struct api_job *j = msg;
    usec_t end = j->status.completion_time.set ? j->status.completion_time.usec : now;
    char out[DURATION_TEXT_MAX];

    if (!j->status.start_time.set)
        return;
    duration_human(nsec_of_usec(end - j->status.start_time.usec), out);
    buf_add_str(text, str_z(out));
}
