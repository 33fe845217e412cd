/* podFailurePolicy: the first rule that fits decides whether a failed pod counts, is ignored, or
 * fails the Job. */
#include "controllers/job_plan.h"

static bool has_code(const struct api_pod_failure_policy_on_exit_codes_requirement *r, int32_t code)
{
    for (uint32_t i = 0; i < r->n_values; i++)
        if (r->values[i] == code)
            return true;
    return false;
}

static const struct api_container_status *
exit_fits(const struct api_pod_failure_policy_on_exit_codes_requirement *r,
          const struct api_container_status *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct api_container_state_terminated *t = v[i].state.terminated;
        if (!t || t->exit_code == 0 ||
            (!str_empty(r->container_name) && !str_eq(r->container_name, v[i].name)))
            continue;
        if (has_code(r, t->exit_code) == str_is(r->operator, "In"))
            return &v[i];
    }
    return NULL;
}

static const struct api_pod_condition *condition_fits(const struct api_pod_failure_policy_rule *r,
                                                      const struct api_pod *p)
{
    for (uint32_t i = 0; i < r->n_on_pod_conditions; i++) {
        const struct api_pod_condition *c = pod_condition(p, r->on_pod_conditions[i].type);
        struct str want = str_empty(r->on_pod_conditions[i].status)
                              ? STR("True")
                              : r->on_pod_conditions[i].status;
        if (c && str_eq(c->status, want))
            return c;
    }
    return NULL;
}

static enum job_action action_of(struct str s)
{
    return str_is(s, "FailJob") ? JOB_FAIL : str_is(s, "Ignore") ? JOB_IGNORE : JOB_COUNT;
}

enum job_action job_policy(struct arena *a, const struct api_job *job, const struct api_pod *p,
                           struct str *ret_message)
{
    const struct api_pod_failure_policy *policy = job->spec.pod_failure_policy;
    for (uint32_t i = 0; policy && i < policy->n_rules; i++) {
        const struct api_pod_failure_policy_rule *r = &policy->rules[i];
        if (r->on_exit_codes) {
            const struct api_container_status *c = exit_fits(
                r->on_exit_codes, p->status.container_statuses, p->status.n_container_statuses);
            if (!c)
                c = exit_fits(r->on_exit_codes, p->status.init_container_statuses,
                              p->status.n_init_container_statuses);
            if (!c)
                continue;
            *ret_message = arena_printf(a,
                                        "Container %.*s for pod %.*s/%.*s failed with exit code %d "
                                        "matching %.*s rule at index %u",
                                        STR_ARG(c->name), STR_ARG(p->metadata.namespace),
                                        STR_ARG(p->metadata.name), c->state.terminated->exit_code,
                                        STR_ARG(r->action), i);
            return action_of(r->action);
        }
        const struct api_pod_condition *c = condition_fits(r, p);
        if (!c)
            continue;
        *ret_message =
            arena_printf(a, "Pod %.*s/%.*s has condition %.*s matching %.*s rule at index %u",
                         STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name),
                         STR_ARG(c->type), STR_ARG(r->action), i);
        return action_of(r->action);
    }
    return JOB_COUNT;
}
