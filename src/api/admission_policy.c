/* Admission policies and their bindings. What their expressions mean is not looked at; the rules
 * between the other fields are. Kubernetes: pkg/apis/admissionregistration/validation. */
#include "api/webhook.h"

#include "api/check.h"
#include "schema/schema.h"

static void check_param_kind(const struct api_param_kind *k, struct error *err)
{
    struct str group, version;
    if (!k || !k->api_version.n)
        return; /* told by the table */
    if (!schema_split_api_version(k->api_version, &group, &version))
        check_invalid(err, STR("spec.paramKind.apiVersion"), k->api_version,
                      "must be a version or a group and a version");
    else if (group.n)
        check_format(err, STR("spec.paramKind.apiVersion"), SCHEMA_FORMAT_DNS_SUBDOMAIN, group);
}

static void check_match(const struct api_match_resources *m, const char *path, bool must,
                        struct error *err)
{
    if (!m)
        return;
    PATH(namespaces, "%s.namespaceSelector", path);
    PATH(objects, "%s.objectSelector", path);
    PATH(list, "%s.resourceRules", path);
    check_label_selector(err, namespaces, m->namespace_selector);
    check_label_selector(err, objects, m->object_selector);
    if (must && !m->n_resource_rules)
        check_required(err, list, "");
    for (uint32_t i = 0; i < m->n_resource_rules; i++) {
        PATH(at, "%s[%u]", list.p, i);
        admission_rule_validate(&m->resource_rules[i].rule_with_operations, at.p, err);
    }
    for (uint32_t i = 0; i < m->n_exclude_resource_rules; i++) {
        PATH(at, "%s.excludeResourceRules[%u]", path, i);
        admission_rule_validate(&m->exclude_resource_rules[i].rule_with_operations, at.p, err);
    }
}

static void check_param_ref(const struct api_param_ref *r, struct error *err)
{
    if (!r)
        return; /* the policy may have no parameters */
    if (r->name.n && r->selector)
        check_forbidden(err, STR("spec.paramRef.name"), "name and selector are mutually exclusive");
    else if (!r->name.n && !r->selector)
        check_required(err, STR("spec.paramRef"), "one of name or selector must be specified");
    if (r->name.n)
        check_format(err, STR("spec.paramRef.name"), SCHEMA_FORMAT_PATH_SEGMENT, r->name);
    if (r->namespace.n)
        check_format(err, STR("spec.paramRef.namespace"), SCHEMA_FORMAT_DNS_LABEL, r->namespace);
    check_label_selector(err, STR("spec.paramRef.selector"), r->selector);
}

/* ---- the policies ---- */

static void validating_policy_validate(const void *msg, struct error *err)
{
    const struct api_validating_admission_policy_spec *s =
        &((const struct api_validating_admission_policy *)msg)->spec;
    const char *empty = "validations or auditAnnotations must contain at least one item";
    check_param_kind(s->param_kind, err);
    check_match(s->match_constraints, "spec.matchConstraints", true, err);
    if (!s->n_validations && !s->n_audit_annotations) {
        check_required(err, STR("spec.validations"), empty);
        check_required(err, STR("spec.auditAnnotations"), empty);
    }
    for (uint32_t i = 0; i < s->n_validations; i++) {
        const struct api_validation *v = &s->validations[i];
        PATH(message, "spec.validations[%u].message", i);
        if (v->message.n && memchr(v->message.p, '\n', v->message.n))
            check_invalid(err, message, v->message, "must not contain line breaks");
        else if (!v->message.n && v->expression.n && memchr(v->expression.p, '\n', v->expression.n))
            check_required(err, message,
                           "message must be specified if expression contains line breaks");
    }
}

static void mutating_policy_validate(const void *msg, struct error *err)
{
    const struct api_mutating_admission_policy_spec *s =
        &((const struct api_mutating_admission_policy *)msg)->spec;
    check_param_kind(s->param_kind, err);
    check_match(s->match_constraints, "spec.matchConstraints", true, err);
    if (!s->n_mutations)
        check_required(err, STR("spec.mutations"), "mutations must contain at least one item");
    for (uint32_t i = 0; i < s->n_mutations; i++) {
        const struct api_mutation *m = &s->mutations[i];
        bool apply = str_is(m->patch_type, "ApplyConfiguration");
        PATH(patch, "spec.mutations[%u].jsonPatch", i);
        PATH(configuration, "spec.mutations[%u].applyConfiguration", i);
        struct str has = apply ? configuration : patch, lacks = apply ? patch : configuration;
        struct str text =
            apply           ? m->apply_configuration ? m->apply_configuration->expression : STR_NONE
            : m->json_patch ? m->json_patch->expression
                            : STR_NONE;
        PATH(expression, "%s.expression", has.p);
        if (!m->patch_type.n)
            continue; /* told by the table */
        if (apply ? !m->apply_configuration : !m->json_patch)
            check_required(err, has, "must be specified when patchType is set to its type");
        else if (!text.n)
            check_required(err, expression, "");
        if (apply ? m->json_patch != NULL : m->apply_configuration != NULL)
            check_invalid(err, lacks, m->patch_type, "must not be specified with this patchType");
    }
}

/* ---- the bindings ---- */

static void validating_binding_validate(const void *msg, struct error *err)
{
    const struct api_validating_admission_policy_binding_spec *s =
        &((const struct api_validating_admission_policy_binding *)msg)->spec;
    bool deny = false, warn = false;
    for (uint32_t i = 0; i < s->n_validation_actions; i++) {
        deny |= str_is(s->validation_actions[i], "Deny");
        warn |= str_is(s->validation_actions[i], "Warn");
    }
    if (deny && warn)
        check_invalid(err, STR("spec.validationActions"), STR("Deny"),
                      "must not contain both Deny and Warn (repeating the same validation failure "
                      "information in the API response and headers serves no purpose)");
    check_param_ref(s->param_ref, err);
    check_match(s->match_resources, "spec.matchResources", false, err);
}

static void mutating_binding_validate(const void *msg, struct error *err)
{
    const struct api_mutating_admission_policy_binding_spec *s =
        &((const struct api_mutating_admission_policy_binding *)msg)->spec;
    check_param_ref(s->param_ref, err);
    check_match(s->match_resources, "spec.matchResources", false, err);
}

const struct api_hooks validating_policy_hooks = {.kind = KIND_VALIDATING_ADMISSION_POLICY,
                                                  .validate = validating_policy_validate};
const struct api_hooks mutating_policy_hooks = {.kind = KIND_MUTATING_ADMISSION_POLICY,
                                                .validate = mutating_policy_validate};
const struct api_hooks validating_policy_binding_hooks = {
    .kind = KIND_VALIDATING_ADMISSION_POLICY_BINDING, .validate = validating_binding_validate};
const struct api_hooks mutating_policy_binding_hooks = {
    .kind = KIND_MUTATING_ADMISSION_POLICY_BINDING, .validate = mutating_binding_validate};
