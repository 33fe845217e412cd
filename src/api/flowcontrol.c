/* FlowSchema and PriorityLevelConfiguration: rules across fields. Kubernetes:
 * pkg/apis/flowcontrol/validation. */
#include "api/flowcontrol.h"

#include "api/check.h"
#include "schema/schema.h"

/* ---- FlowSchema ---- */

static void validate_subject(const struct api_flow_subject *s, const char *path, struct error *err)
{
    const struct {
        const char *kind, *field;
        bool set;
    } members[] = {{"User", "user", s->user != NULL},
                   {"Group", "group", s->group != NULL},
                   {"ServiceAccount", "serviceAccount", s->service_account != NULL}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        PATH(at, "%s.%s", path, members[i].field);
        bool own = str_eqz(s->kind, members[i].kind);
        char why[80];
        snprintf(why, sizeof(why), "%s is %s when subject kind is %s'%s'", members[i].field,
                 own ? "required" : "forbidden", own ? "" : "not ", members[i].kind);
        if (own && !members[i].set)
            check_required(err, at, why);
        else if (!own && members[i].set)
            check_forbidden(err, at, why);
    }
    PATH(ns, "%s.serviceAccount.namespace", path);
    if (s->service_account && s->service_account->namespace.n)
        check_format(err, ns, SCHEMA_FORMAT_DNS_LABEL, s->service_account->namespace);
}

static void validate_url(struct str url, struct str at, struct error *err)
{
    ssize_t star = str_find(url, '*');
    if (!url.n)
        check_invalid(err, at, url, "nonResourceURL must not be empty");
    else if (str_is(url, "*") || str_is(url, "/"))
        return;
    else if (url.p[0] != '/')
        check_invalid(err, at, url, "must start with slash");
    else if (str_find(url, ' ') >= 0)
        check_invalid(err, at, url, "must not contain white-space");
    else if (star >= 0 && ((size_t)star + 1 != url.n || url.p[star - 1] != '/'))
        check_invalid(err, at, url, "wildcard can only do suffix matching");
}

static void validate_rule(const struct api_policy_rules_with_subjects *r, const char *path,
                          struct error *err)
{
    PATH(at, "%s", path);
    for (uint32_t i = 0; i < r->n_subjects; i++) {
        PATH(subject, "%s.subjects[%u]", path, i);
        validate_subject(&r->subjects[i], subject.p, err);
    }
    if (!r->n_resource_rules && !r->n_non_resource_rules)
        check_required(err, at,
                       "at least one of resourceRules and nonResourceRules has to be non-empty");
    for (uint32_t i = 0; i < r->n_resource_rules; i++) {
        const struct api_resource_policy_rule *p = &r->resource_rules[i];
        PATH(rule, "%s.resourceRules[%u]", path, i);
        PATH(namespaces, "%s.namespaces", rule.p);
        check_star(p->verbs, p->n_verbs, rule.p, "verbs", "verbs", err);
        check_star(p->api_groups, p->n_api_groups, rule.p, "apiGroups", "api groups", err);
        check_star(p->resources, p->n_resources, rule.p, "resources", "resources", err);
        check_star(p->namespaces, p->n_namespaces, rule.p, "namespaces", "namespaces", err);
        if (!p->n_namespaces && !p->cluster_scope)
            check_required(
                err, namespaces,
                "resource rules that are not cluster scoped must supply at least one namespace");
        for (uint32_t k = 0; k < p->n_namespaces; k++) {
            PATH(ns, "%s[%u]", namespaces.p, k);
            if (!str_is(p->namespaces[k], "*"))
                check_format(err, ns, SCHEMA_FORMAT_DNS_LABEL, p->namespaces[k]);
        }
    }
    for (uint32_t i = 0; i < r->n_non_resource_rules; i++) {
        const struct api_non_resource_policy_rule *p = &r->non_resource_rules[i];
        PATH(rule, "%s.nonResourceRules[%u]", path, i);
        check_star(p->verbs, p->n_verbs, rule.p, "verbs", "verbs", err);
        check_star(p->non_resource_urls, p->n_non_resource_urls, rule.p, "nonResourceURLs",
                   "non-resource URLs", err);
        for (uint32_t k = 0; k < p->n_non_resource_urls; k++) {
            PATH(url, "%s.nonResourceURLs[%u]", rule.p, k);
            validate_url(p->non_resource_urls[k], url, err);
        }
    }
}

/* Of the mandatory ones. */
static void spec_is_fixed(struct str name, struct error *err)
{
    char why[80];
    snprintf(why, sizeof(why), "spec of '%.*s' must equal the fixed value", STR_ARG(name));
    check_invalid(err, STR("spec"), name, why);
}

static void flow_schema_fixed(const struct api_flow_schema *f, struct error *err)
{
    struct arena a = {0};
    struct flow_defaults d;
    if (!flow_is_mandatory(f->metadata.name))
        return;
    flow_defaults(&a, &d);
    for (size_t i = 0; i < d.n_schemas; i++)
        if (str_eq(d.schemas[i].metadata.name, f->metadata.name) &&
            !schema_equal(&api_flow_schema_spec_desc, &d.schemas[i].spec, &f->spec))
            spec_is_fixed(f->metadata.name, err);
    arena_fini(&a);
}

static void flow_schema_validate(const void *msg, struct error *err)
{
    const struct api_flow_schema *f = msg;
    if (f->spec.matching_precedence == 1 && !str_is(f->metadata.name, "exempt"))
        check_invalid_int(err, STR("spec.matchingPrecedence"), 1,
                          "only the schema named 'exempt' may have matchingPrecedence 1");
    if (f->spec.priority_level_configuration.name.n)
        check_format(err, STR("spec.priorityLevelConfiguration.name"), SCHEMA_FORMAT_DNS_SUBDOMAIN,
                     f->spec.priority_level_configuration.name);
    for (uint32_t i = 0; i < f->spec.n_rules; i++) {
        PATH(at, "spec.rules[%u]", i);
        validate_rule(&f->spec.rules[i], at.p, err);
    }
    flow_schema_fixed(f, err);
}

const struct api_hooks flow_schema_hooks = {.kind = KIND_FLOW_SCHEMA,
                                            .validate = flow_schema_validate};

/* ---- PriorityLevelConfiguration ---- */

static void validate_response(const struct api_limit_response *r, struct error *err)
{
    struct str at = STR("spec.limited.limitResponse.queuing");
    if (str_is(r->type, "Queue") && !r->queuing)
        check_required(err, at, "must not be empty if limitResponse.type is Limited");
    else if (str_is(r->type, "Reject") && r->queuing)
        check_forbidden(err, at, "must be nil if limited.limitResponse.type is not Limited");
    if (!r->queuing || r->queuing->hand_size <= r->queuing->queues)
        return;
    char why[80];
    snprintf(why, sizeof(why), "should not be greater than queues (%d)", r->queuing->queues);
    check_invalid_int(err, STR("spec.limited.limitResponse.queuing.handSize"),
                      r->queuing->hand_size, why);
}

static void priority_level_fixed(const struct api_priority_level_configuration *p,
                                 struct error *err)
{
    struct arena a = {0};
    struct flow_defaults d;
    if (!flow_is_mandatory(p->metadata.name) || str_is(p->spec.type, "Exempt"))
        return;
    flow_defaults(&a, &d);
    for (size_t i = 0; i < d.n_levels; i++)
        if (str_eq(d.levels[i].metadata.name, p->metadata.name) &&
            !schema_equal(&api_priority_level_configuration_spec_desc, &d.levels[i].spec, &p->spec))
            spec_is_fixed(p->metadata.name, err);
    arena_fini(&a);
}

static void priority_level_validate(const void *msg, struct error *err)
{
    const struct api_priority_level_configuration *p = msg;
    bool exempt = str_is(p->spec.type, "Exempt");
    if (p->spec.type.n && exempt != str_is(p->metadata.name, "exempt"))
        check_invalid(err, STR("spec.type"), p->spec.type,
                      "type must be 'Exempt' if and only if name is 'exempt'");
    if (exempt && p->spec.limited)
        check_forbidden(err, STR("spec.limited"), "must be nil if the type is not Limited");
    else if (!exempt && p->spec.type.n && !p->spec.limited)
        check_required(err, STR("spec.limited"), "must not be empty when type is Limited");
    if (!exempt && p->spec.exempt)
        check_forbidden(err, STR("spec.exempt"), "must be nil if the type is Limited");
    if (!exempt && p->spec.limited)
        validate_response(&p->spec.limited->limit_response, err);
    priority_level_fixed(p, err);
}

const struct api_hooks priority_level_hooks = {.kind = KIND_PRIORITY_LEVEL_CONFIGURATION,
                                               .validate = priority_level_validate};
