/* Webhook configurations as they are written: match conditions that do not compile are refused,
 * with their place and what is wrong. Conditions that stay as they were are let be, whatever they
 * say. Kubernetes: pkg/apis/admissionregistration/validation. */
#include "apiserver/hooks/hooks.h"

#include "api/check.h"

struct view {
    const struct api_match_condition *v;
    uint32_t n;
};

static uint32_t n_webhooks(bool mutating, const void *msg)
{
    return mutating ? ((const struct api_mutating_webhook_configuration *)msg)->n_webhooks
                    : ((const struct api_validating_webhook_configuration *)msg)->n_webhooks;
}

static struct view conditions_of(bool mutating, const void *msg, uint32_t i)
{
    if (mutating) {
        const struct api_mutating_webhook *w =
            &((const struct api_mutating_webhook_configuration *)msg)->webhooks[i];
        return (struct view){w->match_conditions, w->n_match_conditions};
    }
    const struct api_validating_webhook *w =
        &((const struct api_validating_webhook_configuration *)msg)->webhooks[i];
    return (struct view){w->match_conditions, w->n_match_conditions};
}

static bool same(struct view a, struct view b)
{
    if (a.n != b.n)
        return false;
    for (uint32_t i = 0; i < a.n; i++)
        if (!schema_equal(&api_match_condition_desc, &a.v[i], &b.v[i]))
            return false;
    return true;
}

void hooks_check(const struct schema_kind *k, const void *msg, const void *old, struct error *err)
{
    bool mutating = k == KIND(MUTATING_WEBHOOK_CONFIGURATION);
    if (!mutating && k != KIND(VALIDATING_WEBHOOK_CONFIGURATION))
        return;
    uint32_t n = n_webhooks(mutating, msg), n_old = old ? n_webhooks(mutating, old) : 0;
    for (uint32_t i = 0; i < n; i++) {
        struct view v = conditions_of(mutating, msg, i);
        PATH(at, "webhooks[%u]", i);
        if (!v.n || (n == n_old && same(v, conditions_of(mutating, old, i))))
            continue;
        conditions_written(v.v, v.n, ADMIT_ENV_AUTHORIZER, at.p, err);
    }
}
