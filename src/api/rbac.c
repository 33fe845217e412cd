/* What roles and bindings may say. Whether who writes them may grant that is another question
 * (src/apiserver/auth/rbac.c). Kubernetes: pkg/apis/rbac/validation. */
#include "api/rbac.h"

#include "api/check.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* ---- roles ---- */

static void check_paths(struct error *err, struct str path, const struct api_policy_rule *r,
                        const char *why)
{
    struct buf list = {0};
    for (uint32_t i = 0; i < r->n_non_resource_urls && list.n < 256; i++)
        buf_printf(&list, "%s\"%.*s\"", i ? "," : "", STR_ARG(r->non_resource_urls[i]));
    (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: [%.*s]: %s",
                      STR_ARG(buf_str(&list)), why);
    buf_fini(&list);
}

static void validate_rules(const struct api_policy_rule *v, uint32_t n, bool namespaced,
                           struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct api_policy_rule *r = &v[i];
        PATH(verbs, "rules[%u].verbs", i);
        PATH(groups, "rules[%u].apiGroups", i);
        PATH(resources, "rules[%u].resources", i);
        PATH(urls, "rules[%u].nonResourceURLs", i);
        if (!r->n_verbs)
            check_required(err, verbs, "verbs must contain at least one value");
        if (r->n_non_resource_urls) {
            if (namespaced)
                check_paths(err, urls, r, "namespaced rules cannot apply to non-resource URLs");
            if (r->n_api_groups || r->n_resources || r->n_resource_names)
                check_paths(err, urls, r,
                            "rules cannot apply to both regular resources and non-resource URLs");
            continue;
        }
        if (!r->n_api_groups)
            check_required(err, groups, "resource rules must supply at least one api group");
        if (!r->n_resources)
            check_required(err, resources, "resource rules must supply at least one resource");
    }
}

static void role_validate(const void *msg, struct error *err)
{
    const struct api_role *r = msg;
    validate_rules(r->rules, r->n_rules, true, err);
}

static void cluster_role_validate(const void *msg, struct error *err)
{
    const struct api_cluster_role *r = msg;
    const struct api_aggregation_rule *g = r->aggregation_rule;
    validate_rules(r->rules, r->n_rules, false, err);
    if (g && !g->n_cluster_role_selectors)
        check_required(err, STR("aggregationRule.clusterRoleSelectors"),
                       "at least one clusterRoleSelector required if aggregationRule is non-nil");
    for (uint32_t i = 0; g && i < g->n_cluster_role_selectors; i++) {
        PATH(at, "aggregationRule.clusterRoleSelectors[%u]", i);
        check_label_selector(err, at, &g->cluster_role_selectors[i]);
    }
}

/* ---- bindings ---- */

static void fill_subjects(struct api_subject *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!v[i].api_group.n && (str_is(v[i].kind, "User") || str_is(v[i].kind, "Group")))
            v[i].api_group = STR(RBAC_GROUP);
}

static void role_binding_fill(void *msg, struct arena *a)
{
    struct api_role_binding *b = msg;
    (void)a;
    fill_subjects(b->subjects, b->n_subjects);
}

static void cluster_role_binding_fill(void *msg, struct arena *a)
{
    struct api_cluster_role_binding *b = msg;
    (void)a;
    fill_subjects(b->subjects, b->n_subjects);
}

static void validate_subject(const struct api_subject *s, uint32_t i, bool namespaced,
                             struct error *err)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const account_groups[] = {"", NULL}, *const groups[] = {RBAC_GROUP, NULL};
    PATH(name, "subjects[%u].name", i);
    PATH(kind, "subjects[%u].kind", i);
    PATH(group, "subjects[%u].apiGroup", i);
    PATH(ns, "subjects[%u].namespace", i);
    if (!s->name.n)
        check_required(err, name, "");
    if (str_is(s->kind, "ServiceAccount")) {
        if (s->name.n)
            check_format(err, name, SCHEMA_FORMAT_DNS_SUBDOMAIN, s->name);
        if (s->api_group.n)
            check_not_supported(err, group, s->api_group, account_groups);
        if (!namespaced && !s->namespace.n)
            check_required(err, ns, "");
    } else if (str_is(s->kind, "User") || str_is(s->kind, "Group")) {
        if (!str_is(s->api_group, RBAC_GROUP))
            check_not_supported(err, group, s->api_group, groups);
    } else {
        check_not_supported(err, kind, s->kind, kinds);
    }
}

static void validate_binding(const struct api_subject *v, uint32_t n,
                             const struct api_role_ref *ref, bool namespaced, struct error *err)
{
    static const char *const ref_kinds[] = {"Role", "ClusterRole", NULL};
    static const char *const ref_groups[] = {RBAC_GROUP, NULL};
    if (!str_is(ref->api_group, RBAC_GROUP))
        check_not_supported(err, STR("roleRef.apiGroup"), ref->api_group, ref_groups);
    if (!str_is(ref->kind, "ClusterRole") && !(namespaced && str_is(ref->kind, "Role")))
        check_not_supported(err, STR("roleRef.kind"), ref->kind,
                            namespaced ? ref_kinds : ref_kinds + 1);
    if (!ref->name.n)
        check_required(err, STR("roleRef.name"), "");
    else
        check_format(err, STR("roleRef.name"), SCHEMA_FORMAT_PATH_SEGMENT, ref->name);
    for (uint32_t i = 0; i < n; i++)
        validate_subject(&v[i], i, namespaced, err);
}

static void role_binding_validate(const void *msg, struct error *err)
{
    const struct api_role_binding *b = msg;
    validate_binding(b->subjects, b->n_subjects, &b->role_ref, true, err);
}

static void cluster_role_binding_validate(const void *msg, struct error *err)
{
    const struct api_cluster_role_binding *b = msg;
    validate_binding(b->subjects, b->n_subjects, &b->role_ref, false, err);
}

/* Tools look for these words to know that the binding has to be made anew. */
static void same_role(const struct api_role_ref *ref, const struct api_role_ref *old,
                      struct error *err)
{
    if (!schema_equal(&api_role_ref_desc, ref, old))
        check_invalid_msg(err, STR("roleRef"), &api_role_ref_desc, ref, "cannot change roleRef");
}

static void role_binding_validate_update(const void *msg, const void *old, struct error *err)
{
    same_role(&((const struct api_role_binding *)msg)->role_ref,
              &((const struct api_role_binding *)old)->role_ref, err);
}

static void cluster_role_binding_validate_update(const void *msg, const void *old,
                                                 struct error *err)
{
    same_role(&((const struct api_cluster_role_binding *)msg)->role_ref,
              &((const struct api_cluster_role_binding *)old)->role_ref, err);
}

const struct api_hooks role_hooks = {.kind = KIND_ROLE, .validate = role_validate};
const struct api_hooks cluster_role_hooks = {.kind = KIND_CLUSTER_ROLE,
                                             .validate = cluster_role_validate};
const struct api_hooks role_binding_hooks = {.kind = KIND_ROLE_BINDING,
                                             .fill = role_binding_fill,
                                             .validate = role_binding_validate,
                                             .validate_update = role_binding_validate_update};
const struct api_hooks cluster_role_binding_hooks = {.kind = KIND_CLUSTER_ROLE_BINDING,
                                                     .fill = cluster_role_binding_fill,
                                                     .validate = cluster_role_binding_validate,
                                                     .validate_update =
                                                         cluster_role_binding_validate_update};
