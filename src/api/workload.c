/* Deployment, ReplicaSet and Job: defaults and rules. Kubernetes: pkg/apis/apps, pkg/apis/batch. */
#include "api/workload.h"

#include "api/check.h"
#include "api/kv.h"
#include "api/pod.h"
#include "schema/schema.h"
#include "schema/select.h"

static const char *const always[] = {"Always", NULL};
static const char *const on_failure_never[] = {"OnFailure", "Never", NULL};

void workload_selector_validate(const struct api_label_selector *sel,
                                const struct api_pod_template_spec *t, const char *kind,
                                struct error *err)
{
    struct arena a = {0};
    struct label_selector s;
    struct error e = {0};
    if (!sel)
        return; /* the table says it is required */
    char why[80];
    snprintf(why, sizeof(why), "empty selector is invalid for %s", kind);
    if (sel->n_match_labels + sel->n_match_expressions == 0) {
        (void)error_cause(err, CAUSE_INVALID, STR("spec.selector"), "Invalid value: {}: %s", why);
    } else if (label_selector_compile(&a, sel, &s, &e) < 0) {
        (void)error_cause(err, CAUSE_INVALID, STR("spec.selector"), "Invalid value: %.*s",
                          STR_ARG(e.message));
    } else if (!label_selector_match(&s, t->metadata.labels, t->metadata.n_labels)) {
        struct buf b = {0};
        for (uint32_t i = 0; i < t->metadata.n_labels; i++)
            buf_printf(&b, "%s\"%.*s\":\"%.*s\"", i ? ", " : "", STR_ARG(t->metadata.labels[i].key),
                       STR_ARG(t->metadata.labels[i].value));
        (void)error_cause(
            err, CAUSE_INVALID, STR("spec.template.metadata.labels"),
            "Invalid value: map[string]string{%.*s}: `selector` does not match template `labels`",
            STR_ARG(buf_str(&b)));
        buf_fini(&b);
    }
    error_fini(&e);
    arena_fini(&a);
}

/* ---- Deployment ---- */

static void deployment_fill(void *msg, struct arena *a)
{
    struct api_deployment *d = msg;
    struct api_deployment_strategy *s = &d->spec.strategy;
    if (str_is(s->type, "RollingUpdate")) {
        if (!s->rolling_update)
            s->rolling_update = ARENA_NEW(a, struct api_rolling_update_deployment);
        if (s->rolling_update->max_unavailable.type == INT_OR_STR_NONE)
            s->rolling_update->max_unavailable = int_or_str_str(STR("25%"));
        if (s->rolling_update->max_surge.type == INT_OR_STR_NONE)
            s->rolling_update->max_surge = int_or_str_str(STR("25%"));
    }
    pod_spec_fill(&d->spec.template.spec, a);
}

static int32_t check_part(const struct int_or_str *v, const char *name, struct error *err)
{
    PATH(at, "spec.strategy.rollingUpdate.%s", name);
    return check_share(err, at, v);
}

static void deployment_validate(const void *msg, struct error *err)
{
    const struct api_deployment *d = msg;
    const struct api_deployment_strategy *s = &d->spec.strategy;
    workload_selector_validate(d->spec.selector, &d->spec.template, "deployment", err);
    pod_template_validate(&d->spec.template, "spec.template", always, err);
    if (str_is(s->type, "Recreate") && s->rolling_update) {
        check_forbidden(err, STR("spec.strategy.rollingUpdate"),
                        "may not be specified when strategy `type` is 'Recreate'");
    } else if (s->rolling_update) {
        int32_t un = check_part(&s->rolling_update->max_unavailable, "maxUnavailable", err);
        int32_t surge = check_part(&s->rolling_update->max_surge, "maxSurge", err);
        if (un == 0 && surge == 0)
            check_invalid_int(err, STR("spec.strategy.rollingUpdate.maxUnavailable"), 0,
                              "may not be 0 when `maxSurge` is 0");
        if (s->rolling_update->max_unavailable.type == INT_OR_STR_STR && un > 100)
            check_invalid(err, STR("spec.strategy.rollingUpdate.maxUnavailable"),
                          s->rolling_update->max_unavailable.s, "must not be greater than 100%");
    }
    if (d->spec.has_progress_deadline_seconds &&
        d->spec.progress_deadline_seconds <= d->spec.min_ready_seconds)
        check_invalid_int(err, STR("spec.progressDeadlineSeconds"),
                          d->spec.progress_deadline_seconds,
                          "must be greater than minReadySeconds");
}

const struct api_hooks deployment_hooks = {.kind = KIND_DEPLOYMENT,
                                           .generation = true,
                                           .fill = deployment_fill,
                                           .validate = deployment_validate};

/* ---- ReplicaSet ---- */

static void replica_set_fill(void *msg, struct arena *a)
{
    struct api_replica_set *r = msg;
    pod_spec_fill(&r->spec.template.spec, a);
}

static void replica_set_validate(const void *msg, struct error *err)
{
    const struct api_replica_set *r = msg;
    workload_selector_validate(r->spec.selector, &r->spec.template, "replicaset", err);
    pod_template_validate(&r->spec.template, "spec.template", always, err);
}

const struct api_hooks replica_set_hooks = {.kind = KIND_REPLICA_SET,
                                            .generation = true,
                                            .fill = replica_set_fill,
                                            .validate = replica_set_validate};

/* ---- Job ---- */

static void job_fill(void *msg, struct arena *a)
{
    struct api_job *j = msg;
    struct api_job_spec *s = &j->spec;
    if (!s->has_completions && !s->has_parallelism) {
        s->has_completions = true;
        s->completions = 1;
    }
    if (!s->has_parallelism) {
        s->has_parallelism = true;
        s->parallelism = 1;
    }
    if (!j->metadata.n_labels) {
        j->metadata.labels = s->template.metadata.labels;
        j->metadata.n_labels = s->template.metadata.n_labels;
    }
    pod_spec_fill(&s->template.spec, a);
}

/* The pods of a job are told apart by its UID, unless the user chose a selector. */
static void job_prepare_create(void *msg, struct arena *a)
{
    struct api_job *j = msg;
    struct api_object_meta *t = &j->spec.template.metadata;
    if (j->spec.has_manual_selector && j->spec.manual_selector)
        return;
    struct str uid = j->metadata.uid, name = j->metadata.name;
    kv_str_set(a, &t->labels, &t->n_labels, STR("batch.kubernetes.io/controller-uid"), uid);
    kv_str_set(a, &t->labels, &t->n_labels, STR("batch.kubernetes.io/job-name"), name);
    kv_str_set(a, &t->labels, &t->n_labels, STR("controller-uid"), uid);
    kv_str_set(a, &t->labels, &t->n_labels, STR("job-name"), name);
    if (!j->spec.selector)
        j->spec.selector = ARENA_NEW(a, struct api_label_selector);
    kv_str_set(a, &j->spec.selector->match_labels, &j->spec.selector->n_match_labels,
               STR("batch.kubernetes.io/controller-uid"), uid);
}

static void job_validate(const void *msg, struct error *err)
{
    const struct api_job *j = msg;
    workload_selector_validate(j->spec.selector, &j->spec.template, "job", err);
    pod_template_validate(&j->spec.template, "spec.template", on_failure_never, err);
    if (str_is(j->spec.completion_mode, "Indexed") && !j->spec.has_completions)
        check_required(err, STR("spec.completions"), "when completion mode is Indexed");
    if (str_is(j->spec.completion_mode, "Indexed") && j->spec.has_parallelism &&
        j->spec.parallelism > 100000)
        check_invalid_int(err, STR("spec.parallelism"), j->spec.parallelism,
                          "must be less than or equal to 100000 when completion mode is Indexed");
}

static void job_validate_update(const void *msg, const void *old, struct error *err)
{
    const struct api_job_spec *n = &((const struct api_job *)msg)->spec,
                              *o = &((const struct api_job *)old)->spec;
    bool indexed = str_is(n->completion_mode, "Indexed");
    if (!indexed && (n->has_completions != o->has_completions || n->completions != o->completions))
        check_invalid_int(err, STR("spec.completions"), n->completions, "field is immutable");
    if (n->selector && o->selector)
        check_immutable(err, STR("spec.selector"), &api_label_selector_desc, n->selector,
                        o->selector);
    bool suspended = o->has_suspend && o->suspend;
    if (!suspended && !schema_equal(&api_pod_template_spec_desc, &n->template, &o->template))
        (void)error_cause(err, CAUSE_INVALID, STR("spec.template"),
                          "Invalid value: core.PodTemplateSpec{}: field is immutable");
}

const struct api_hooks job_hooks = {.kind = KIND_JOB,
                                    .generation = true,
                                    .fill = job_fill,
                                    .prepare_create = job_prepare_create,
                                    .validate = job_validate,
                                    .validate_update = job_validate_update};
