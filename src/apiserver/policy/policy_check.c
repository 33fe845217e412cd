/* Policies as they are written: expressions that do not compile are refused, with their place and
 * what is wrong. Kubernetes: pkg/apis/admissionregistration/validation. */
#include "apiserver/policy/policy_int.h"

static void found(void *arg, struct str path, struct str text, struct str why)
{
    struct buf b = {0};
    json_print_str(text, &b);
    (void)error_cause(arg, CAUSE_INVALID, path, "Invalid value: %.*s: %.*s", STR_ARG(buf_str(&b)),
                      STR_ARG(why));
    buf_fini(&b);
}

static bool same_spec(const struct schema_kind *k, const void *msg, const void *old)
{
    if (k == KIND(MUTATING_ADMISSION_POLICY))
        return schema_equal(&api_mutating_admission_policy_spec_desc,
                            &((const struct api_mutating_admission_policy *)msg)->spec,
                            &((const struct api_mutating_admission_policy *)old)->spec);
    return schema_equal(&api_validating_admission_policy_spec_desc,
                        &((const struct api_validating_admission_policy *)msg)->spec,
                        &((const struct api_validating_admission_policy *)old)->spec);
}

void policy_check(const struct schema_kind *k, const void *msg, const void *old, struct error *err)
{
    struct policy_compile how = {.found = found, .arg = err};
    if (k != KIND(VALIDATING_ADMISSION_POLICY) && k != KIND(MUTATING_ADMISSION_POLICY))
        return;
    if (old && same_spec(k, msg, old))
        return;
    admit_policy_free(policy_compile(k, msg, &how));
}
