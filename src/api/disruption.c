/* PodDisruptionBudget. Kubernetes: pkg/apis/policy/validation, pkg/registry/policy. The condition
 * is written by two parties, so how it is written stands here, below both. */
#include "api/disruption.h"

#include "api/check.h"
#include "schema/select.h"

static void check_amount(const struct int_or_str *v, const char *name, struct error *err)
{
    PATH(at, "spec.%s", name);
    int32_t n = check_share(err, at, v);
    if (v->type == INT_OR_STR_STR && n > 100)
        check_invalid(err, at, v->s, "must not be greater than 100%");
}

static void check_selector(const struct api_label_selector *sel, struct error *err)
{
    struct arena a = {0};
    struct label_selector s;
    struct error why = {0};
    if (label_selector_compile(&a, sel, &s, &why) < 0)
        (void)error_cause(err, CAUSE_INVALID, STR("spec.selector"), "Invalid value: %.*s",
                          STR_ARG(why.message));
    error_fini(&why);
    arena_fini(&a);
}

static void validate(const void *msg, struct error *err)
{
    const struct api_pod_disruption_budget_spec *s =
        &((const struct api_pod_disruption_budget *)msg)->spec;
    if (s->min_available.type != INT_OR_STR_NONE && s->max_unavailable.type != INT_OR_STR_NONE) {
        struct buf text = {0};
        schema_encode_json(&api_pod_disruption_budget_spec_desc, s, 0, &text);
        (void)error_cause(err, CAUSE_INVALID, STR("spec"),
                          "Invalid value: %.*s: minAvailable and maxUnavailable cannot be both set",
                          (int)MIN(text.n, (size_t)512), text.data ? text.data : "");
        buf_fini(&text);
    }
    check_amount(&s->min_available, "minAvailable", err);
    check_amount(&s->max_unavailable, "maxUnavailable", err);
    check_selector(s->selector, err);
}

static void validate_status(const void *msg, const void *old, struct error *err)
{
    const struct api_pod_disruption_budget_status *s =
        &((const struct api_pod_disruption_budget *)msg)->status;
    const struct {
        const char *name;
        int32_t v;
    } rows[] = {{"disruptionsAllowed", s->disruptions_allowed},
                {"currentHealthy", s->current_healthy},
                {"desiredHealthy", s->desired_healthy},
                {"expectedPods", s->expected_pods}};
    (void)old;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        PATH(at, "status.%s", rows[i].name);
        if (rows[i].v < 0)
            check_invalid_int(err, at, rows[i].v, "must be greater than or equal to 0");
    }
}

const struct api_hooks pod_disruption_budget_hooks = {.kind = KIND_POD_DISRUPTION_BUDGET,
                                                      .generation = true,
                                                      .validate = validate,
                                                      .validate_status = validate_status};

const struct api_condition *pdb_condition(const struct api_pod_disruption_budget *b)
{
    for (uint32_t i = 0; i < b->status.n_conditions; i++)
        if (str_is(b->status.conditions[i].type, PDB_CONDITION_ALLOWED))
            return &b->status.conditions[i];
    return NULL;
}

void pdb_set_condition(struct arena *a, struct api_pod_disruption_budget *b, const char *reason,
                       struct str message, usec_t now)
{
    struct api_pod_disruption_budget_status *st = &b->status;
    const struct api_condition *had = pdb_condition(b);
    bool allowed = !reason && st->disruptions_allowed > 0;
    struct api_condition c = {
        .type = STR(PDB_CONDITION_ALLOWED),
        .status = allowed ? STR("True") : STR("False"),
        .reason = reason    ? str_z(reason)
                  : allowed ? STR(PDB_REASON_SUFFICIENT)
                            : STR(PDB_REASON_INSUFFICIENT),
        .message = reason ? message : STR(""),
        .observed_generation = st->observed_generation,
        .last_transition_time = timestamp_seconds(now),
    };
    if (had && str_eq(had->status, c.status))
        c.last_transition_time = had->last_transition_time;
    struct api_condition *v = ARENA_NEW_N(a, struct api_condition, st->n_conditions + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (&st->conditions[i] != had)
            v[n++] = st->conditions[i];
    v[n++] = c;
    st->conditions = v;
    st->n_conditions = n;
}
