/* Which calls a webhook or policy is about. Rules are kept as they were written, with what is asked
 * of every call (operation, scope, "any group") as bits in front, so most rules say no without
 * comparing a string. Kubernetes: apiserver/pkg/admission/plugin/webhook/predicates. */
#include "apiserver/admit/match.h"

#include "apiserver/custom/call_view.h"

struct match_rule {
    uint8_t ops;
    bool any_group, any_version, cluster, namespaced;
    struct str *groups, *versions;
    uint32_t n_groups, n_versions;
    struct match_resource {
        struct str name, sub; /* absent: any */
    } * resources;
    uint32_t n_resources;
    struct str *names; /* of objects; none: all */
    uint32_t n_names;
};

/* ---- compiling ---- */

static bool take_list(struct arena *a, const struct str *v, uint32_t n, struct str **ret,
                      uint32_t *ret_n)
{
    bool any = false;
    *ret = ARENA_NEW_N(a, struct str, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        any |= str_is(v[i], "*");
        (*ret)[i] = arena_str(a, v[i]);
    }
    *ret_n = n;
    return any;
}

static void take_resources(struct match_rule *m, struct arena *a,
                           const struct api_admission_rule *r)
{
    m->resources = ARENA_NEW_N(a, struct match_resource, r->n_resources + 1);
    for (uint32_t i = 0; i < r->n_resources; i++) {
        struct str rest = r->resources[i], name;
        struct match_resource *x = &m->resources[m->n_resources++];
        bool sub = str_cut(&rest, '/', &name);
        x->name = str_is(name, "*") ? STR_NONE : arena_str(a, name);
        x->sub = !sub ? STR("") : str_is(rest, "*") ? STR_NONE : arena_str(a, rest);
    }
}

static void rule_compile(struct match_rule *m, struct arena *a,
                         const struct api_admission_rule_with_operations *r)
{
    static const enum admit_op all[] = {ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE, ADMIT_CONNECT};
    *m = (struct match_rule){0};
    for (uint32_t i = 0; i < r->n_operations; i++)
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            if (str_is(r->operations[i], "*") || str_eqz(r->operations[i], admit_op_text(all[k])))
                m->ops |= (uint8_t)all[k];
    m->any_group = take_list(a, r->rule.api_groups, r->rule.n_api_groups, &m->groups, &m->n_groups);
    m->any_version =
        take_list(a, r->rule.api_versions, r->rule.n_api_versions, &m->versions, &m->n_versions);
    m->cluster = str_is(r->rule.scope, "Cluster");
    m->namespaced = str_is(r->rule.scope, "Namespaced");
    take_resources(m, a, &r->rule);
}

static void selector_compile(struct arena *a, const struct api_label_selector *s,
                             struct label_selector *ret)
{
    *ret = (struct label_selector){0};
    if (s && label_selector_compile(a, s, ret, NULL) < 0)
        *ret = (struct label_selector){.nothing = true};
}

void match_compile_webhook(struct match *m, struct arena *a,
                           const struct api_admission_rule_with_operations *rules, uint32_t n_rules,
                           struct str match_policy, const struct api_label_selector *namespaces,
                           const struct api_label_selector *objects)
{
    *m = (struct match){.equivalent = str_is(match_policy, "Equivalent")};
    m->rules = ARENA_NEW_N(a, struct match_rule, n_rules + 1);
    for (uint32_t i = 0; i < n_rules; i++)
        rule_compile(&m->rules[m->n_rules++], a, &rules[i]);
    selector_compile(a, namespaces, &m->namespaces);
    selector_compile(a, objects, &m->objects);
}

static struct match_rule *named_rules(struct arena *a,
                                      const struct api_named_rule_with_operations *v, uint32_t n)
{
    struct match_rule *out = ARENA_NEW_N(a, struct match_rule, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        rule_compile(&out[i], a, &v[i].rule_with_operations);
        (void)take_list(a, v[i].resource_names, v[i].n_resource_names, &out[i].names,
                        &out[i].n_names);
    }
    return out;
}

void match_compile(struct match *m, struct arena *a, const struct api_match_resources *r)
{
    *m = (struct match){.any = !r || !r->n_resource_rules};
    if (!r)
        return;
    m->equivalent = str_is(r->match_policy, "Equivalent");
    m->rules = named_rules(a, r->resource_rules, r->n_resource_rules);
    m->n_rules = r->n_resource_rules;
    m->excludes = named_rules(a, r->exclude_resource_rules, r->n_exclude_resource_rules);
    m->n_excludes = r->n_exclude_resource_rules;
    selector_compile(a, r->namespace_selector, &m->namespaces);
    selector_compile(a, r->object_selector, &m->objects);
}

/* ---- matching ---- */

static bool listed(bool any, const struct str *v, uint32_t n, const char *text)
{
    for (uint32_t i = 0; i < n && !any; i++)
        any = str_eqz(v[i], text);
    return any;
}

/* A namespace is not in one, though the request for it names it as its own. */
static bool scope_fits(const struct match_rule *m, const struct admit_request *r)
{
    bool in_one = r->ns.n && r->kind != KIND(NAMESPACE);
    return m->cluster ? !in_one : m->namespaced ? in_one : true;
}

static bool resource_fits(const struct match_rule *m, const struct admit_request *r,
                          const struct schema_kind *as)
{
    for (uint32_t i = 0; i < m->n_resources; i++) {
        const struct match_resource *x = &m->resources[i];
        if ((!x->name.p || str_eqz(x->name, as->plural)) &&
            (!x->sub.p || str_eq(x->sub, r->subresource)))
            return true;
    }
    return false;
}

static bool rule_fits(const struct match_rule *m, const struct admit_request *r,
                      const struct schema_kind *as)
{
    bool named = m->n_names == 0;
    if (!(m->ops & r->op) || !scope_fits(m, r) ||
        !listed(m->any_group, m->groups, m->n_groups, as->group) ||
        !listed(m->any_version, m->versions, m->n_versions, as->version) ||
        !resource_fits(m, r, as))
        return false;
    for (uint32_t i = 0; i < m->n_names && !named; i++)
        named = str_eq(m->names[i], r->name);
    return named;
}

/* The request as it came first, then by the order of the rules what it is equal to. */
static const struct schema_kind *rules_fit(const struct match_rule *v, uint32_t n, bool equivalent,
                                           struct admit_request *r)
{
    for (uint32_t i = 0; i < n; i++)
        if (rule_fits(&v[i], r, r->kind))
            return r->kind;
    if (!equivalent || !n)
        return NULL;
    size_t n_equals;
    const struct schema_kind *const *equals = admit_request_equals(r, &n_equals);
    for (uint32_t i = 0; i < n; i++)
        for (size_t k = 0; k < n_equals; k++)
            if (rule_fits(&v[i], r, equals[k]))
                return equals[k];
    return NULL;
}

const struct schema_kind *match_by_rules(const struct match *m, struct admit_request *r)
{
    if (rules_fit(m->excludes, m->n_excludes, m->equivalent, r))
        return NULL;
    return m->any ? r->kind : rules_fit(m->rules, m->n_rules, m->equivalent, r);
}

bool match_names(const struct match *m)
{
    for (uint32_t i = 0; i < m->n_rules; i++)
        if (m->rules[i].n_names)
            return true;
    for (uint32_t i = 0; i < m->n_excludes; i++)
        if (m->excludes[i].n_names)
            return true;
    return false;
}

/* Labels of the namespace: of one that is written, those it is to have. 1, 0, or negative: it is
 * not there. */
static int namespace_fits(const struct match *m, struct admit_request *r, struct error *err)
{
    const struct api_object_meta *meta = NULL;
    bool itself = r->kind == KIND(NAMESPACE);
    if ((!r->ns.n && !itself) || label_selector_is_all(&m->namespaces))
        return 1;
    if (itself && !r->subresource.n && (r->op & (ADMIT_CREATE | ADMIT_UPDATE))) {
        meta = r->object;
    } else {
        struct object *o = store_peek(r->call->server->store, KIND(NAMESPACE), STR_NONE, r->ns);
        if (!o)
            return error_set(err, REASON_NOT_FOUND, "namespaces \"%.*s\" not found",
                             STR_ARG(r->ns));
        meta = object_meta(o);
    }
    return label_selector_match(&m->namespaces, meta->labels, meta->n_labels);
}

static bool labels_fit(const struct label_selector *s, const struct schema_desc *desc,
                       const void *msg)
{
    const struct api_object_meta *m = msg;
    return m && (desc->flags & SCHEMA_DESC_OBJECT) &&
           label_selector_match(s, m->labels, m->n_labels);
}

static bool object_fits(const struct match *m, const struct admit_request *r)
{
    return label_selector_is_all(&m->objects) || labels_fit(&m->objects, r->desc, r->object) ||
           labels_fit(&m->objects, r->desc, r->old);
}

int match_selectors(const struct match *m, struct admit_request *r, struct error *err)
{
    return object_fits(m, r) ? namespace_fits(m, r, err) : 0;
}

int match_convertible(struct admit_request *r, const struct schema_kind *as, struct error *err)
{
    const void *view;
    int now = 1, old = 1;
    if (r->desc != r->kind->desc || !call_view_needed(r->call, r->kind, as))
        return 1;
    if (r->object)
        now = call_view(r->call, r->kind, as, r->object, &view, err);
    if (r->old && (now > 0 || now == -EINPROGRESS))
        old = call_view(r->call, r->kind, as, r->old, &view, err);
    return now < 0 && old != -EPROTO ? now : old;
}

int match_request(const struct match *m, struct admit_request *r, const struct schema_kind **ret_as,
                  struct error *err)
{
    const struct schema_kind *as = match_by_rules(m, r);
    int fits = as ? match_selectors(m, r, err) : 0;
    if (fits > 0)
        fits = match_convertible(r, as, err);
    if (fits > 0)
        *ret_as = as;
    return fits;
}
