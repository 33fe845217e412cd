/* Which policies are about a request, and one evaluation of a policy: for a request, as one version
 * of its kind, with one parameter. Variables are evaluated when an expression first asks for one,
 * at most once, and what they cost is the policy's. A variable can name only those before it, so
 * none can lead to itself. */
#include "apiserver/policy/policy_int.h"

#include "apiserver/custom/call_view.h"
#include "apiserver/custom/kinds.h"
#include "schema/custom.h"

/* ---- variables ---- */

static int variable(void *ctx, struct cel_eval *eval, struct str name, struct cel_value *ret)
{
    struct policy_run *run = ctx;
    const struct admit_policy *p = run->policy;
    struct arena *a = &run->r->call->arena;
    struct admit_result res;
    uint32_t i = 0;
    while (i < p->n_variables && !str_eq(p->variables[i].name, name))
        i++;
    if (i == p->n_variables)
        return 0;
    if (run->values[i].type == CEL_ERROR && !run->values[i].s.p) {
        if (!run->left || !policy_run(run, &p->variables[i].e, &res))
            res.error = STR("running out of cost budget");
        run->values[i] =
            res.error.p
                ? cel_error(arena_printf(a, "composited variable \"%.*s\" fails to evaluate: %.*s",
                                         STR_ARG(name), STR_ARG(res.error)))
                : res.value;
    }
    *ret = run->values[i];
    return 1;
}

static struct cel_value param_value(struct admit_request *r, const struct admit_policy *p,
                                    struct object *o)
{
    struct arena *a = &r->call->arena;
    const struct schema_kind *k;
    if (!o)
        return cel_null();
    k = policy_param_kind(r->call->server, p);
    if (!k)
        k = o->kind;
    const void *msg = custom_read(k, schema_from_storage(k, o->msg, a), o->rev, a);
    if (k->desc->flags & SCHEMA_DESC_REST)
        return cel_json(custom_tree(k, msg, a), NULL, a);
    return cel_msg(k->desc, msg, false, true);
}

void policy_run_init(struct policy_run *run, struct admit_request *r, const struct schema_kind *as,
                     const struct admit_policy *p, struct object *param)
{
    static const struct cel_host host = {variable};
    *run = (struct policy_run){.r = r, .as = as, .policy = p, .left = CEL_COST_OBJECT_MAX};
    run->values = ARENA_NEW_N(&r->call->arena, struct cel_value, p->n_variables + 1);
    run->vars[ADMIT_VAR_PARAMS] = param_value(r, p, param);
    run->vars[ADMIT_VAR_VARIABLES] = cel_host_object(&host, run);
}

bool policy_run(struct policy_run *run, const struct admit_expression *e, struct admit_result *ret)
{
    bool ok = admit_eval(run->r, run->as, e, run->vars, &run->left, ret);
    if (!ok)
        run->left = 0;
    return ok;
}

/* ---- parameters ---- */

const struct schema_kind *policy_param_kind(struct apiserver *s, const struct admit_policy *p)
{
    struct policy_param_kind *known = p->param;
    uint64_t generation = kinds_generation(s->kinds);
    struct str group, version;
    if (known->is_known && known->generation == generation)
        return known->kind;
    *known = (struct policy_param_kind){.is_known = true, .generation = generation};
    if (!schema_split_api_version(p->param_api_version, &group, &version))
        return NULL;
    known->kind = schema_kind_find(group, version, p->param_kind);
    if (!known->kind)
        known->kind = kinds_by_kind(s->kinds, group, version, p->param_kind);
    return known->kind;
}

static int none(struct object ***ret, size_t *ret_n, struct arena *a)
{
    *ret = ARENA_NEW_N(a, struct object *, 1);
    *ret_n = 1;
    return 0;
}

/* *o, not NULL, as one of k. 1: it is; otherwise as policy_params. */
static int param_as(struct admit_request *r, const struct schema_kind *k, struct object **o,
                    struct str *ret_why)
{
    struct error err = {0};
    int rc = call_stored(r->call, k, *o, o, &err);
    if (rc < 0 && rc != -EINPROGRESS) {
        *ret_why = arena_printf(&r->call->arena, "failed to convert object version: %.*s",
                                STR_ARG(err.message));
        rc = -EINVAL;
    }
    error_fini(&err);
    return rc;
}

/* All objects the selector means, in order of their names. A webhook may give them other labels, so
 * all of the namespace are converted. */
static int select_params(struct admit_request *r, const struct schema_kind *k, struct str ns,
                         const struct label_selector *sel, struct object ***ret, size_t *ret_n,
                         struct str *ret_why)
{
    struct store *store = r->call->server->store;
    struct store_iter it;
    int rc = 0;
    if (store_iter_init(&it, store, storage_kind(k), ns, 0, STR_NONE, STR_NONE) < 0)
        return 0;
    *ret = ARENA_NEW_N(&r->call->arena, struct object *, store_iter_left(&it) + 1);
    for (struct object *o; rc != -EINVAL && (o = store_iter_next(&it));) {
        int one = param_as(r, k, &o, ret_why);
        if (one < 0) {
            rc = one;
            continue;
        }
        const struct api_object_meta *m = object_meta(o);
        if (label_selector_match(sel, m->labels, m->n_labels))
            (*ret)[(*ret_n)++] = o;
    }
    store_iter_fini(&it);
    return rc;
}

static int name_param(struct admit_request *r, const struct schema_kind *k, struct str ns,
                      struct str name, struct object ***ret, size_t *ret_n, struct str *ret_why)
{
    struct object *o = store_peek(r->call->server->store, storage_kind(k), ns, name);
    int rc = o ? param_as(r, k, &o, ret_why) : 0;
    (void)none(ret, ret_n, &r->call->arena);
    (*ret)[0] = o;
    *ret_n = o != NULL;
    return MIN(rc, 0);
}

int policy_params(struct admit_request *r, const struct admit_policy *p,
                  const struct policy_binding *b, struct object ***ret, size_t *ret_n,
                  struct str *ret_why)
{
    struct arena *a = &r->call->arena;
    if (!p->has_params || !b->has_ref)
        return none(ret, ret_n, a);
    const struct schema_kind *k = policy_param_kind(r->call->server, p);
    struct str ns = STR_NONE;
    *ret_n = 0;
    if (!k) {
        *ret_why = arena_printf(a,
                                "failed to find resource referenced by paramKind: '%.*s, "
                                "Kind=%.*s'",
                                STR_ARG(p->param_api_version), STR_ARG(p->param_kind));
        return -ENOENT;
    }
    if (k->namespaced)
        ns = b->ref_ns.n ? b->ref_ns : r->ns;
    if (k->namespaced && !ns.n)
        *ret_why = STR("cannot use namespaced paramRef in policy binding that matches "
                       "cluster-scoped resources");
    else if (!k->namespaced && b->ref_ns.n)
        *ret_why = STR("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
    if (ret_why->p)
        return -EINVAL;
    int rc = b->ref_name.n ? name_param(r, k, ns, b->ref_name, ret, ret_n, ret_why)
                           : select_params(r, k, ns, &b->ref_selector, ret, ret_n, ret_why);
    if (rc < 0)
        *ret_n = 0;
    if (rc < 0 || *ret_n || !b->must_find)
        return rc;
    *ret_why = STR("no params found for policy binding with `Deny` parameterNotFoundAction");
    return -EINVAL;
}

/* ---- which ---- */

static void visit_bindings(struct admit_request *r, const struct admit_policy *p,
                           const struct schema_kind *as, const struct policy_visitor *v)
{
    for (uint32_t i = 0; i < p->n_bindings; i++) {
        const struct policy_binding *b = p->bindings[i];
        struct error err = {0};
        struct object **params;
        struct str why = STR_NONE;
        size_t n = 0;
        int fits = policy_binding_matches(b, r, &err);
        if (fits < 0 && fits != -EINPROGRESS)
            v->misfit(v->arg, p, b, arena_str(&r->call->arena, err.message));
        int found = fits > 0 ? policy_params(r, p, b, &params, &n, &why) : 0;
        if (found < 0 && found != -EINPROGRESS)
            v->misfit(v->arg, p, found == -ENOENT ? NULL : b, why);
        error_fini(&err);
        for (size_t k = 0; k < n; k++)
            v->invoke(v->arg, p, b, as, params[k]);
    }
}

void policies_visit(struct admit_request *r, bool mutating, const struct policy_visitor *v)
{
    size_t n;
    const struct policy_candidate *x = policies_find(r, mutating, &n);
    for (size_t i = 0; i < n; i++) {
        const struct admit_policy *p = x[i].policy;
        const struct schema_kind *as;
        struct error err = {0};
        int fits = policy_matches(&x[i], r, &as, &err);
        if (fits < 0 && fits != -EINPROGRESS) /* else it is matched when the call runs again */
            v->misfit(v->arg, p, NULL, arena_str(&r->call->arena, err.message));
        error_fini(&err);
        if (fits <= 0)
            continue;
        if (v->begin)
            v->begin(v->arg, p);
        visit_bindings(r, p, as, v);
        if (v->end)
            v->end(v->arg, p);
    }
}
