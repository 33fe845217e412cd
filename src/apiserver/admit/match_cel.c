/* Expressions of admission: their variables, and match conditions. Names that an environment does
 * not have are declared as what no expression can say, so each variable has one place everywhere.
 *
 * Objects are free-form to expressions, as in Kubernetes: a built-in object reads as its JSON would
 * (times are text), so the same expression means the same for every kind. */
#include "apiserver/admit/match.h"

#include "api/check.h"
#include "schema/custom.h"

/* ---- types ---- */

static const struct cel_type *plain(enum cel_kind k)
{
    return cel_type_of(k);
}

/* Members live as long as the process; types of lists and maps as long as the environment. */
struct request_types {
    struct cel_member gvk[3], gvr[3], user[4], request[12];
    struct cel_members gvk_all, gvr_all, user_all, request_all;
};

static const struct cel_type *request_type(struct cel_env *env, struct arena *a)
{
    struct request_types *t = ARENA_NEW(a, struct request_types);
    const struct cel_type *text = plain(CEL_STRING), *list = cel_type_list(env, text);
    const struct cel_type *gvk, *gvr, *user;
    t->gvk[0] = t->gvr[0] = (struct cel_member){STR("group"), text};
    t->gvk[1] = t->gvr[1] = (struct cel_member){STR("version"), text};
    t->gvk[2] = (struct cel_member){STR("kind"), text};
    t->gvr[2] = (struct cel_member){STR("resource"), text};
    t->gvk_all = (struct cel_members){t->gvk, ARRAY_LEN(t->gvk)};
    t->gvr_all = (struct cel_members){t->gvr, ARRAY_LEN(t->gvr)};
    gvk = cel_type_object(env, "kubernetes.GroupVersionKind", &t->gvk_all);
    gvr = cel_type_object(env, "kubernetes.GroupVersionResource", &t->gvr_all);
    t->user[0] = (struct cel_member){STR("username"), text};
    t->user[1] = (struct cel_member){STR("uid"), text};
    t->user[2] = (struct cel_member){STR("groups"), list};
    t->user[3] = (struct cel_member){STR("extra"), cel_type_map(env, text, list)};
    t->user_all = (struct cel_members){t->user, ARRAY_LEN(t->user)};
    user = cel_type_object(env, "kubernetes.UserInfo", &t->user_all);
    const struct cel_member members[] = {
        {STR("kind"), gvk},
        {STR("resource"), gvr},
        {STR("subResource"), text},
        {STR("requestKind"), gvk},
        {STR("requestResource"), gvr},
        {STR("requestSubResource"), text},
        {STR("name"), text},
        {STR("namespace"), text},
        {STR("operation"), text},
        {STR("userInfo"), user},
        {STR("dryRun"), plain(CEL_BOOL)},
        {STR("options"), plain(CEL_DYN)},
    };
    static_assert(sizeof(members) == sizeof(t->request), "one list");
    memcpy(t->request, members, sizeof(members));
    t->request_all = (struct cel_members){t->request, ARRAY_LEN(t->request)};
    return cel_type_object(env, "kubernetes.AdmissionRequest", &t->request_all);
}

void admit_env_fill(struct cel_env *env, struct arena *a, unsigned flags,
                    const struct cel_type *object, const struct cel_type *params,
                    const struct cel_type *variables)
{
    bool authorizer = flags & ADMIT_ENV_AUTHORIZER;
    const struct cel_type *dyn = plain(CEL_DYN);
    const struct {
        const char *name;
        const struct cel_type *type;
    } vars[_ADMIT_VAR_MAX] = {
        [ADMIT_VAR_OBJECT] = {"object", object ? object : dyn},
        [ADMIT_VAR_OLD_OBJECT] = {"oldObject", object ? object : dyn},
        [ADMIT_VAR_REQUEST] = {"request", request_type(env, a)},
        [ADMIT_VAR_NAMESPACE] = {"namespaceObject", cel_type_of_desc(env, &api_namespace_desc)},
        [ADMIT_VAR_AUTHORIZER] = {authorizer ? "authorizer" : " ", plain(CEL_AUTHORIZER)},
        [ADMIT_VAR_AUTHORIZER_RESOURCE] = {authorizer ? "authorizer.requestResource" : " ",
                                           plain(CEL_RESOURCE_CHECK)},
        [ADMIT_VAR_PARAMS] = {flags & ADMIT_ENV_PARAMS ? "params" : " ", params ? params : dyn},
        [ADMIT_VAR_VARIABLES] = {variables ? "variables" : " ", variables ? variables : dyn},
    };
    for (unsigned i = 0; i < _ADMIT_VAR_MAX; i++)
        ASSERT(cel_env_var(env, vars[i].name, vars[i].type) == i);
}

/* ---- values ---- */

static void ask(void *ctx, const struct cel_authz_check *q, struct arena *a,
                struct cel_authz_result *ret)
{
    struct api_call *c = ctx;
    struct api_user account = {0};
    struct str groups[3], reason = STR_NONE;
    struct authz_attrs at = {.user = &c->user,
                             .verb = q->verb,
                             .group = q->group,
                             .version = STR("*"),
                             .resource = q->resource,
                             .subresource = q->subresource,
                             .ns = q->namespace_,
                             .name = q->name,
                             .path = q->is_path ? q->path : STR_NONE,
                             .field_selector = q->field_selector};
    if (q->account_name.p) {
        account.name = arena_printf(a, "system:serviceaccount:%.*s:%.*s",
                                    STR_ARG(q->account_namespace), STR_ARG(q->account_name));
        groups[0] = STR("system:serviceaccounts");
        groups[1] = arena_printf(a, "system:serviceaccounts:%.*s", STR_ARG(q->account_namespace));
        groups[2] = STR("system:authenticated");
        account.groups = groups;
        account.n_groups = ARRAY_LEN(groups);
        at.user = &account;
    }
    ret->allowed = authz_allowed(c->server, &at, a, &reason);
    ret->reason = reason;
}

static struct cel_value object_value(struct admit_request *r, const struct schema_kind *as,
                                     bool old)
{
    const struct schema_desc *desc = admit_request_desc(r, as);
    const void *msg = admit_request_msg(r, as, old);
    if (!msg)
        return cel_null();
    if (desc->flags & SCHEMA_DESC_REST)
        return cel_json(admit_request_tree(r, as, old), NULL, &r->call->arena);
    return cel_msg(desc, msg, false, true);
}

static const struct cel_authorizer *authorizer_of(struct admit_request *r)
{
    r->authorizer = (struct cel_authorizer){.check = ask, .ctx = r->call};
    return &r->authorizer;
}

static struct cel_value make(struct admit_request *r, const struct schema_kind *as,
                             enum admit_var what)
{
    struct arena *a = &r->call->arena;
    struct object *ns;
    switch (what) {
    case ADMIT_VAR_OBJECT:
        return object_value(r, as, false);
    case ADMIT_VAR_OLD_OBJECT:
        return object_value(r, as, true);
    case ADMIT_VAR_REQUEST:
        return cel_json(admit_request_info(r, as), NULL, a);
    case ADMIT_VAR_NAMESPACE:
        ns = admit_request_namespace(r);
        return ns ? cel_msg(&api_namespace_desc, ns->msg, true, true) : cel_null();
    case ADMIT_VAR_AUTHORIZER:
        return cel_authorizer(authorizer_of(r), a);
    case ADMIT_VAR_AUTHORIZER_RESOURCE: {
        struct cel_authz_check q = {.group = str_z(r->kind->group),
                                    .resource = str_z(r->kind->plural),
                                    .subresource = r->subresource,
                                    .namespace_ = r->ns,
                                    .name = r->name};
        return cel_resource_check(authorizer_of(r), &q, a);
    }
    case ADMIT_VAR_PARAMS:
    case ADMIT_VAR_VARIABLES:
    case _ADMIT_VAR_MAX:
        break;
    }
    return (struct cel_value){0};
}

void admit_vars(struct admit_request *r, const struct schema_kind *as, const struct cel_program *p,
                struct cel_value *vars)
{
    for (unsigned i = 0; i < ADMIT_VAR_PARAMS; i++)
        if (vars[i].type == CEL_ERROR && cel_program_uses(p, i))
            vars[i] = make(r, as, (enum admit_var)i);
}

/* ---- programs ---- */

static struct str expected(uint32_t types, struct arena *a)
{
    struct buf b = {0};
    bool several = types & (types - 1);
    buf_printf(&b, "must evaluate to %s", several ? "one of [" : "");
    for (unsigned k = CEL_DYN, n = 0; k-- > 0;) /* string before null, as Kubernetes has them */
        if (types & (1u << k)) {
            struct str name = k == CEL_NULL ? STR("null_type") : cel_type_print(cel_type_of(k), a);
            buf_printf(&b, "%s%.*s", n++ ? " " : "", STR_ARG(name));
        }
    if (several)
        buf_add_char(&b, ']');
    struct str s = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return s;
}

int admit_compile(struct cel_env *env, struct str text, uint32_t types, struct cel_program **ret,
                  struct error *err)
{
    struct cel_program *p;
    struct arena a = {0};
    int r = cel_compile(env, text, NULL, &p, err);
    if (r < 0) {
        error_prefix(err, "compilation failed");
        return r;
    }
    enum cel_kind k = cel_program_type(p)->kind;
    if (types != ADMIT_TYPE_ANY && !(types & (1u << k))) {
        cel_program_free(p);
        r = error_set(err, REASON_BAD_REQUEST, "%.*s", STR_ARG(expected(types, &a)));
    } else {
        *ret = p;
    }
    arena_fini(&a);
    return r;
}

bool admit_eval(struct admit_request *r, const struct schema_kind *as,
                const struct admit_expression *e, struct cel_value *vars, uint64_t *left,
                struct admit_result *ret)
{
    struct arena *a = &r->call->arena;
    struct cel_input in = {
        .vars = vars, .n_vars = _ADMIT_VAR_MAX, .work_max = MAX(r->work_left, (uint64_t)1)};
    struct cel_result res;
    *ret = (struct admit_result){0};
    if (!e->program) {
        ret->error = arena_printf(a, "compilation error: %.*s", STR_ARG(e->why));
        return true;
    }
    admit_vars(r, as, e->program, vars);
    cel_eval(e->program, &in, a, &res);
    r->work_left -= MIN(res.work, r->work_left);
    if (res.cost > *left || res.cost > r->cost_left) {
        *left = 0;
        ret->error = STR("validation failed due to running out of cost budget, no further "
                         "validation rules will be run");
        return false;
    }
    *left -= res.cost;
    r->cost_left -= res.cost;
    if (res.outcome == CEL_OUTCOME_VALUE)
        ret->value = res.value;
    else
        ret->error = arena_printf(a, "expression '%.*s' resulted in error: %.*s", STR_ARG(e->text),
                                  STR_ARG(res.message));
    return true;
}

/* ---- match conditions ---- */

struct conditions {
    struct arena arena;
    struct cel_env *env;
    struct condition {
        struct str name, text;
        struct cel_program *program; /* NULL: it does not compile */
        struct str why;
    } * v;
    uint32_t n;
};

struct conditions *conditions_new(const struct api_match_condition *v, uint32_t n, unsigned flags)
{
    if (!n)
        return NULL;
    struct conditions *c = NEW(struct conditions);
    c->env = cel_env_new(0);
    admit_env_fill(c->env, &c->arena, flags, NULL, NULL, NULL);
    c->v = ARENA_NEW_N(&c->arena, struct condition, n);
    for (uint32_t i = 0; i < n; i++) {
        struct condition *x = &c->v[c->n++];
        struct error err = {0};
        x->name = arena_str(&c->arena, v[i].name);
        x->text = arena_str(&c->arena, v[i].expression);
        if (admit_compile(c->env, v[i].expression, 1u << CEL_BOOL, &x->program, &err) < 0)
            x->why = arena_str(&c->arena, err.message);
        error_fini(&err);
    }
    return c;
}

struct conditions *conditions_free(struct conditions *c)
{
    if (!c)
        return NULL;
    for (uint32_t i = 0; i < c->n; i++)
        cel_program_free(c->v[i].program);
    cel_env_free(c->env);
    arena_fini(&c->arena);
    free(c);
    return NULL;
}

void conditions_written(const struct api_match_condition *v, uint32_t n, unsigned flags,
                        const char *at, struct error *err)
{
    struct conditions *c = conditions_new(v, n, flags);
    for (uint32_t i = 0; c && i < c->n; i++) {
        struct buf b = {0};
        PATH(path, "%s.matchConditions[%u].expression", at, i);
        json_print_str(c->v[i].text, &b);
        if (!c->v[i].program && c->v[i].text.n) /* nothing at all is told by the table */
            (void)error_cause(err, CAUSE_INVALID, path, "Invalid value: %.*s: %.*s",
                              STR_ARG(buf_str(&b)), STR_ARG(c->v[i].why));
        buf_fini(&b);
    }
    conditions_free(c);
}

/* As Kubernetes prints several errors as one. */
static struct str aggregate(const struct str *v, uint32_t n, struct arena *a)
{
    struct buf b = {0};
    if (n == 1)
        return v[0];
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&b, "%s%.*s", i ? ", " : "[", STR_ARG(v[i]));
    buf_add_char(&b, ']');
    struct str s = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return s;
}

int conditions_check(const struct conditions *c, struct admit_request *r,
                     const struct schema_kind *as, const struct cel_value *params,
                     struct str *ret_false, struct str *ret_why)
{
    struct cel_value vars[_ADMIT_VAR_MAX] = {0};
    uint64_t left = ADMIT_COST_CONDITIONS_MAX;
    struct arena *a = &r->call->arena;
    if (!c)
        return 1;
    struct str *errors = ARENA_NEW_N(a, struct str, c->n);
    uint32_t n_errors = 0;
    vars[ADMIT_VAR_PARAMS] = params ? *params : cel_null();
    vars[ADMIT_VAR_NAMESPACE] = cel_null(); /* as Kubernetes: conditions do not see it */
    for (uint32_t i = 0; i < c->n; i++) {
        const struct condition *x = &c->v[i];
        struct admit_result res;
        if (!admit_eval(r, as, &(struct admit_expression){x->program, x->text, x->why}, vars, &left,
                        &res)) {
            *ret_why = res.error;
            return -EINVAL;
        }
        if (res.error.p)
            errors[n_errors++] = res.error;
        else if (!(res.value.type == CEL_BOOL && res.value.b)) {
            if (ret_false)
                *ret_false = x->name;
            return 0;
        }
    }
    if (n_errors)
        *ret_why = aggregate(errors, n_errors, a);
    return n_errors ? -EINVAL : 1;
}
