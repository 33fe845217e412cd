/* Hooks of what objects have to pass on their way in: webhook configurations and policies. */
#pragma once

#include "api/hooks.h"

/* webhook.c */
extern const struct api_hooks mutating_webhook_configuration_hooks,
    validating_webhook_configuration_hooks;
/* admission_policy.c */
extern const struct api_hooks mutating_policy_hooks, mutating_policy_binding_hooks,
    validating_policy_hooks, validating_policy_binding_hooks;

/* Where a conversion webhook is; `at`: the path of it. */
void webhook_client_validate(const struct api_webhook_client_config *c, const char *at,
                             struct error *err);
/* Operations on resources at `path`. */
void admission_rule_validate(const struct api_admission_rule_with_operations *r, const char *path,
                             struct error *err);
