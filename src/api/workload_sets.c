/* StatefulSet, DaemonSet, ReplicationController, CronJob and PodTemplate: defaults and rules.
 * Kubernetes: pkg/apis/apps, pkg/apis/batch, pkg/apis/core. */
#include "api/workload.h"

#include "api/check.h"
#include "api/cron.h"
#include "api/pod.h"
#include "schema/schema.h"
#include "schema/select.h"

#define CRON_JOB_NAME_MAX 52 /* a job's name has the time at its end */

static const char *const always[] = {"Always", NULL};
static const char *const on_failure_never[] = {"OnFailure", "Never", NULL};

static void check_no_deadline(const struct api_pod_template_spec *t, const char *kind,
                              struct error *err)
{
    char why[80];
    snprintf(why, sizeof(why), "activeDeadlineSeconds in %s is not Supported", kind);
    if (t->spec.has_active_deadline_seconds)
        check_forbidden(err, STR("spec.template.spec.activeDeadlineSeconds"), why);
}

/* ---- StatefulSet ---- */

static void stateful_set_fill(void *msg, struct arena *a)
{
    struct api_stateful_set_spec *s = &((struct api_stateful_set *)msg)->spec;
    if (str_is(s->update_strategy.type, "RollingUpdate")) {
        if (!s->update_strategy.rolling_update)
            s->update_strategy.rolling_update =
                ARENA_NEW(a, struct api_rolling_update_stateful_set_strategy);
        s->update_strategy.rolling_update->has_partition = true; /* 0 unless it is given */
    }
    pod_spec_fill(&s->template.spec, a);
}

static void stateful_set_validate(const void *msg, struct error *err)
{
    const struct api_stateful_set_spec *s = &((const struct api_stateful_set *)msg)->spec;
    const struct api_rolling_update_stateful_set_strategy *r = s->update_strategy.rolling_update;
    workload_selector_validate(s->selector, &s->template, "statefulset", err);
    pod_template_validate(&s->template, "spec.template", always, err);
    check_no_deadline(&s->template, "StatefulSet", err);
    if (r && !str_is(s->update_strategy.type, "RollingUpdate"))
        check_invalid(err, STR("spec.updateStrategy.rollingUpdate"), STR(""),
                      "only allowed for updateStrategy 'RollingUpdate'");
    if (r && r->max_unavailable.type != INT_OR_STR_NONE) {
        struct str at = STR("spec.updateStrategy.rollingUpdate.maxUnavailable");
        if (check_share(err, at, &r->max_unavailable) == 0)
            check_invalid_int(err, at, 0, "cannot be 0");
    }
}

static void stateful_set_validate_update(const void *msg, const void *old, struct error *err)
{
    struct api_stateful_set_spec n = ((const struct api_stateful_set *)msg)->spec;
    const struct api_stateful_set_spec *o = &((const struct api_stateful_set *)old)->spec;
    n.has_replicas = o->has_replicas;
    n.replicas = o->replicas;
    n.ordinals = o->ordinals;
    n.template = o->template;
    n.update_strategy = o->update_strategy;
    n.has_revision_history_limit = o->has_revision_history_limit;
    n.revision_history_limit = o->revision_history_limit;
    n.persistent_volume_claim_retention_policy = o->persistent_volume_claim_retention_policy;
    n.min_ready_seconds = o->min_ready_seconds;
    if (!schema_equal(&api_stateful_set_spec_desc, &n, o))
        check_forbidden(err, STR("spec"),
                        "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                        "'template', 'updateStrategy', 'revisionHistoryLimit', "
                        "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
                        "forbidden");
}

const struct api_hooks stateful_set_hooks = {.kind = KIND_STATEFUL_SET,
                                             .fill = stateful_set_fill,
                                             .validate = stateful_set_validate,
                                             .validate_update = stateful_set_validate_update};

/* ---- DaemonSet ---- */

static void daemon_set_fill(void *msg, struct arena *a)
{
    struct api_daemon_set_spec *s = &((struct api_daemon_set *)msg)->spec;
    if (str_is(s->update_strategy.type, "RollingUpdate")) {
        if (!s->update_strategy.rolling_update)
            s->update_strategy.rolling_update = ARENA_NEW(a, struct api_rolling_update_daemon_set);
        struct api_rolling_update_daemon_set *r = s->update_strategy.rolling_update;
        if (r->max_unavailable.type == INT_OR_STR_NONE)
            r->max_unavailable = int_or_str_int(1);
        if (r->max_surge.type == INT_OR_STR_NONE)
            r->max_surge = int_or_str_int(0);
    }
    pod_spec_fill(&s->template.spec, a);
}

static void daemon_set_validate(const void *msg, struct error *err)
{
    const struct api_daemon_set_spec *s = &((const struct api_daemon_set *)msg)->spec;
    const struct api_rolling_update_daemon_set *r = s->update_strategy.rolling_update;
    struct str at = STR("spec.updateStrategy.rollingUpdate.maxUnavailable"),
               surge_at = STR("spec.updateStrategy.rollingUpdate.maxSurge");
    workload_selector_validate(s->selector, &s->template, "daemonset", err);
    pod_template_validate(&s->template, "spec.template", always, err);
    check_no_deadline(&s->template, "DaemonSet", err);
    if (!str_is(s->update_strategy.type, "RollingUpdate") || !r)
        return;
    int32_t un = check_share(err, at, &r->max_unavailable),
            surge = check_share(err, surge_at, &r->max_surge);
    if (un == 0 && surge == 0)
        check_invalid_int(err, at, 0, "cannot be 0 when maxSurge is 0");
    else if (un != 0 && surge != 0)
        check_invalid_int(err, surge_at, surge, "may not be set when maxUnavailable is non-zero");
    if (r->max_unavailable.type == INT_OR_STR_STR && un > 100)
        check_invalid(err, at, r->max_unavailable.s, "must not be greater than 100%");
    if (r->max_surge.type == INT_OR_STR_STR && surge > 100)
        check_invalid(err, surge_at, r->max_surge.s, "must not be greater than 100%");
}

const struct api_hooks daemon_set_hooks = {
    .kind = KIND_DAEMON_SET, .fill = daemon_set_fill, .validate = daemon_set_validate};

/* ---- ReplicationController ---- */

static void replication_controller_fill(void *msg, struct arena *a)
{
    struct api_replication_controller *r = msg;
    struct api_pod_template_spec *t = r->spec.template;
    if (!t)
        return;
    if (!r->spec.n_selector) {
        r->spec.selector = t->metadata.labels;
        r->spec.n_selector = t->metadata.n_labels;
    }
    if (!r->metadata.n_labels) {
        r->metadata.labels = t->metadata.labels;
        r->metadata.n_labels = t->metadata.n_labels;
    }
    pod_spec_fill(&t->spec, a);
}

static bool has_labels(const struct api_object_meta *m, const struct kv_str *v, uint32_t n)
{
    struct arena a = {0};
    struct label_selector s;
    label_selector_from_map(&a, v, n, &s);
    bool match = label_selector_match(&s, m->labels, m->n_labels);
    arena_fini(&a);
    return match;
}

static void replication_controller_validate(const void *msg, struct error *err)
{
    const struct api_replication_controller_spec *s =
        &((const struct api_replication_controller *)msg)->spec;
    if (!s->n_selector)
        check_required(err, STR("spec.selector"), "");
    if (!s->template) {
        check_required(err, STR("spec.template"), "");
        return;
    }
    if (s->n_selector && !has_labels(&s->template->metadata, s->selector, s->n_selector))
        (void)error_cause(
            err, CAUSE_INVALID, STR("spec.template.metadata.labels"),
            "Invalid value: map[string]string{}: `selector` does not match template `labels`");
    pod_template_validate(s->template, "spec.template", always, err);
    check_no_deadline(s->template, "ReplicationController", err);
}

const struct api_hooks replication_controller_hooks = {.kind = KIND_REPLICATION_CONTROLLER,
                                                       .fill = replication_controller_fill,
                                                       .validate = replication_controller_validate};

/* ---- CronJob ---- */

static void cron_job_fill(void *msg, struct arena *a)
{
    pod_spec_fill(&((struct api_cron_job *)msg)->spec.job_template.spec.template.spec, a);
}

static bool zone_chars(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= 'A' && s.p[i] <= 'Z') &&
            !(s.p[i] >= '0' && s.p[i] <= '9') && !strchr("/_+-", s.p[i]))
            return false;
    return s.n && s.p[0] != '/';
}

static void check_zone(struct str zone, struct error *err)
{
    struct str at = STR("spec.timeZone");
    if (!zone.p)
        return;
    if (!zone.n)
        check_invalid(err, at, zone, "timeZone must be nil or non-empty string");
    else if (strncasecmp(zone.p, "Local", zone.n) == 0 && zone.n == strlen("Local"))
        check_invalid(err, at, zone,
                      "timeZone must be an explicit time zone as defined in "
                      "https://www.iana.org/time-zones");
    else if (!zone_chars(zone))
        check_invalid(err, at, zone, "unknown time zone");
}

static void cron_job_validate(const void *msg, struct error *err)
{
    const struct api_cron_job *c = msg;
    const struct api_job_spec *j = &c->spec.job_template.spec;
    const char *why = cron_check(c->spec.schedule);
    if (c->metadata.name.n > CRON_JOB_NAME_MAX)
        check_invalid(err, STR("metadata.name"), c->metadata.name,
                      "must be no more than 52 characters");
    if (str_starts(c->spec.schedule, STR("TZ=")) || str_starts(c->spec.schedule, STR("CRON_TZ=")))
        check_invalid(err, STR("spec.schedule"), c->spec.schedule,
                      "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    else if (c->spec.schedule.n && why)
        check_invalid(err, STR("spec.schedule"), c->spec.schedule, why);
    check_zone(c->spec.time_zone, err);
    if (j->selector)
        check_invalid(err, STR("spec.jobTemplate.spec.selector"), STR(""),
                      "`selector` will be auto-generated");
    if (j->has_manual_selector && j->manual_selector)
        check_not_supported(err, STR("spec.jobTemplate.spec.manualSelector"), STR("true"),
                            (const char *const[]){"nil", "false", NULL});
    pod_template_validate(&j->template, "spec.jobTemplate.spec.template", on_failure_never, err);
    if (str_is(j->completion_mode, "Indexed") && !j->has_completions)
        check_required(err, STR("spec.jobTemplate.spec.completions"),
                       "when completion mode is Indexed");
}

const struct api_hooks cron_job_hooks = {
    .kind = KIND_CRON_JOB, .fill = cron_job_fill, .validate = cron_job_validate};

/* ---- PodTemplate ---- */

static void pod_template_fill(void *msg, struct arena *a)
{
    pod_spec_fill(&((struct api_pod_template *)msg)->template.spec, a);
}

static void pod_template_kind_validate(const void *msg, struct error *err)
{
    static const char *const any[] = {"Always", "OnFailure", "Never", NULL};
    pod_template_validate(&((const struct api_pod_template *)msg)->template, "template", any, err);
}

const struct api_hooks pod_template_hooks = {
    .kind = KIND_POD_TEMPLATE, .fill = pod_template_fill, .validate = pod_template_kind_validate};
