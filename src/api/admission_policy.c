/* Admission policies and their bindings. What their expressions mean is not looked at; the rules
 * between the other fields are. Kubernetes: pkg/apis/admissionregistration/validation. */
#include "api/webhook.h"

#include "api/check.h"
#include "base/set.h"
#include "schema/schema.h"

static void check_param_kind(const struct api_param_kind *k, struct error *err)
{
    struct str group, version;
    if (!k || !k->api_version.n)
        return; /* told by the table */
    if (!schema_split_api_version(k->api_version, &group, &version)) {
        char why[128];
        snprintf(why, sizeof(why), "unexpected GroupVersion string: %.*s",
                 (int)MIN(k->api_version.n, (size_t)80), k->api_version.p);
        check_invalid(err, STR("spec.paramKind.apiVersion"), k->api_version, why);
    } else {
        if (group.n)
            check_format(err, STR("spec.paramKind.apiVersion"), SCHEMA_FORMAT_DNS_SUBDOMAIN, group);
        check_format(err, STR("spec.paramKind.apiVersion"), SCHEMA_FORMAT_DNS1035_LABEL, version);
    }
    if (k->kind.n)
        check_format_lower(err, STR("spec.paramKind.kind"), SCHEMA_FORMAT_DNS1035_LABEL, k->kind);
}

static void check_names(const struct api_named_rule_with_operations *r, const char *path,
                        struct error *err)
{
    struct set seen = {0};
    for (uint32_t i = 0; i < r->n_resource_names; i++) {
        PATH(at, "%s.resourceNames[%u]", path, i);
        check_format(err, at, SCHEMA_FORMAT_PATH_SEGMENT, r->resource_names[i]);
        if (!set_add(&seen, r->resource_names[i]))
            check_duplicate(err, at, r->resource_names[i]);
    }
    set_fini(&seen);
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
        check_names(&m->resource_rules[i], at.p, err);
        admission_rule_validate(&m->resource_rules[i].rule_with_operations, at.p, err);
    }
    for (uint32_t i = 0; i < m->n_exclude_resource_rules; i++) {
        PATH(at, "%s.excludeResourceRules[%u]", path, i);
        check_names(&m->exclude_resource_rules[i], at.p, err);
        admission_rule_validate(&m->exclude_resource_rules[i].rule_with_operations, at.p, err);
    }
}

static void check_param_ref(const struct api_param_ref *r, struct error *err)
{
    if (!r)
        return; /* the policy may have no parameters */
    if (r->name.n && r->selector) {
        check_forbidden(err, STR("spec.paramRef.name"), "name and selector are mutually exclusive");
        check_forbidden(err, STR("spec.paramRef.selector"),
                        "name and selector are mutually exclusive");
    } else if (!r->name.n && !r->selector)
        check_required(err, STR("spec.paramRef"), "one of name or selector must be specified");
    if (r->name.n)
        check_format(err, STR("spec.paramRef.name"), SCHEMA_FORMAT_PATH_SEGMENT, r->name);
    if (r->namespace.n)
        check_format(err, STR("spec.paramRef.namespace"), SCHEMA_FORMAT_DNS_LABEL, r->namespace);
    check_label_selector(err, STR("spec.paramRef.selector"), r->selector);
}

/* ---- the policies ---- */

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(" \t\n\v\f\r", s.p[i]) || !s.p[i])
            return false;
    return true;
}

static bool has_newline(struct str s)
{
    return memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n);
}

/* Line breaks around a text are none of it. Kubernetes means to ask for a message where an
 * expression has several lines, too, but does not. */
static void check_texts(const struct api_validation *v, uint32_t i, struct error *err)
{
    struct str text = v->message;
    PATH(message, "spec.validations[%u].message", i);
    PATH(says, "spec.validations[%u].messageExpression", i);
    while (text.n && is_blank(str_sub(text, 0, 1)))
        text = str_sub(text, 1, text.n);
    while (text.n && is_blank(str_sub(text, text.n - 1, text.n)))
        text.n--;
    if (v->message.n && !text.n)
        check_invalid(err, message, v->message, "message must be non-empty if specified");
    else if (text.n && has_newline(text))
        check_invalid(err, message, v->message, "message must not contain line breaks");
    if (v->message_expression.n && is_blank(v->message_expression))
        check_invalid(err, says, v->message_expression, "must be non-empty if specified");
}

/* K8S: isCELIdentifier */
static bool is_identifier(struct str s)
{
    static const char *const reserved[] = {
        "true",     "false",   "null",      "in",       "as",  "break",  "const",
        "continue", "else",    "for",       "function", "if",  "import", "let",
        "loop",     "package", "namespace", "return",   "var", "void",   "while",
    };
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_eqz(s, reserved[i]))
            return false;
    return true;
}

static void check_variables(const struct api_variable *v, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        PATH(at, "spec.variables[%u].name", i);
        if (v[i].name.n && !is_identifier(v[i].name))
            check_invalid(err, at, v[i].name, "name is not a valid CEL identifier");
    }
}

/* In the log they have the policy's name before them. */
static void check_annotations(const struct api_validating_admission_policy *p, struct error *err)
{
    struct set seen = {0};
    for (uint32_t i = 0; i < p->spec.n_audit_annotations; i++) {
        struct str key = p->spec.audit_annotations[i].key;
        struct buf whole = {0};
        PATH(at, "spec.auditAnnotations[%u].key", i);
        buf_printf(&whole, "%.*s/%.*s", STR_ARG(p->metadata.name), STR_ARG(key));
        if (key.n && p->metadata.name.n)
            check_format(err, at, SCHEMA_FORMAT_QUALIFIED_NAME, buf_str(&whole));
        if (!set_add(&seen, key))
            check_duplicate(err, at, key);
        buf_fini(&whole);
    }
    set_fini(&seen);
}

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
    for (uint32_t i = 0; i < s->n_validations; i++)
        check_texts(&s->validations[i], i, err);
    check_variables(s->variables, s->n_variables, err);
    check_annotations(msg, err);
}

static void mutating_policy_validate(const void *msg, struct error *err)
{
    const struct api_mutating_admission_policy_spec *s =
        &((const struct api_mutating_admission_policy *)msg)->spec;
    check_param_kind(s->param_kind, err);
    check_match(s->match_constraints, "spec.matchConstraints", true, err);
    if (!s->n_mutations)
        check_required(err, STR("spec.mutations"), "mutations must contain at least one item");
    check_variables(s->variables, s->n_variables, err);
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
