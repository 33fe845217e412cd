/* Matching of requests, by Kubernetes' rules (KEP-1040): the first schema by precedence one of
 * whose rules has the user among its subjects and the request among its targets. */
#include "apiserver/flow/flow.h"

#include "apiserver/internal.h"

static bool is_star(struct str s)
{
    return s.n == 1 && s.p[0] == '*';
}

static bool has(const struct flow_list *l, struct str s)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (is_star(l->v[i]) || str_eq(l->v[i], s))
            return true;
    return false;
}

/* "pods", "pods/status", "*" is all; "pods" is not "pods/status". */
static bool has_resource(const struct flow_list *l, const struct flow_digest *d)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct str want = l->v[i], resource;
        if (is_star(want))
            return true;
        if (!d->subresource.n) {
            if (str_eq(want, d->resource))
                return true;
            continue;
        }
        if (str_cut(&want, '/', &resource) && str_eq(resource, d->resource) &&
            str_eq(want, d->subresource))
            return true;
    }
    return false;
}

/* Whole paths, or "/prefix/" and a star. */
static bool has_path(const struct flow_list *l, struct str path)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct str want = l->v[i];
        if (is_star(want) || str_eq(want, path))
            return true;
        if (want.n > 1 && want.p[want.n - 1] == '*' &&
            str_starts(path, str_sub(want, 0, want.n - 1)))
            return true;
    }
    return false;
}

static bool target_matches(const struct flow_target *t, const struct flow_digest *d)
{
    if (!has(&t->verbs, d->verb))
        return false;
    if (d->path.p)
        return has_path(&t->paths, d->path);
    if (!has(&t->groups, d->group) || !has_resource(&t->resources, d))
        return false;
    return d->ns.n ? has(&t->namespaces, d->ns) : t->cluster_scope;
}

static bool is_service_account(const struct api_user *u, struct str ns, struct str name)
{
    struct str prefix = STR("system:serviceaccount:"), rest = u->name, its_ns;
    if (!str_starts(rest, prefix))
        return false;
    rest = str_sub(rest, prefix.n, rest.n);
    return str_cut(&rest, ':', &its_ns) && str_eq(its_ns, ns) &&
           (is_star(name) || str_eq(rest, name));
}

static bool subject_matches(const struct flow_rule_subject *s, const struct api_user *u)
{
    switch (s->kind) {
    case FLOW_USER:
        return is_star(s->name) || str_eq(s->name, u->name);
    case FLOW_GROUP:
        return is_star(s->name) || user_in_group(u, s->name);
    case FLOW_SERVICE_ACCOUNT:
        return is_service_account(u, s->ns, s->name);
    }
    return false;
}

static bool rule_matches(const struct flow_rule *r, const struct flow_digest *d)
{
    bool subject = false, target = false;
    for (uint32_t i = 0; i < r->n_subjects && !subject; i++)
        subject = subject_matches(&r->subjects[i], d->user);
    for (uint32_t i = 0; subject && i < r->n_targets && !target; i++)
        target = target_matches(&r->targets[i], d);
    return target;
}

unsigned flow_classify(const struct flow_table *t, const struct flow_digest *d)
{
    for (unsigned i = 0; i < t->n_schemas; i++)
        for (uint32_t k = 0; k < t->schemas[i].n_rules; k++)
            if (rule_matches(&t->schemas[i].rules[k], d))
                return i;
    return t->n_schemas - 1;
}

struct str flow_distinguisher(const struct flow_schema *s, const struct flow_digest *d)
{
    return s->by == FLOW_BY_USER ? d->user->name : s->by == FLOW_BY_NAMESPACE ? d->ns : STR("");
}
