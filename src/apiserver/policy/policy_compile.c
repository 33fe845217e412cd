/* From policies and bindings to what is evaluated. Both kinds of policies are read through one
 * view, and one walk serves three ends: to make the programs, to say where one does not compile
 * when a policy is written, and to look for doubts when the types of the objects are known. */
#include "apiserver/policy/policy_int.h"

struct view {
    bool mutating;
    const struct api_param_kind *param_kind;
    const struct api_match_resources *constraints;
    const struct api_variable *variables;
    const struct api_validation *validations;
    const struct api_audit_annotation *annotations;
    const struct api_mutation *mutations;
    const struct api_match_condition *conditions;
    uint32_t n_variables, n_validations, n_annotations, n_mutations, n_conditions;
    struct str failure_policy, reinvocation_policy;
};

static void view_of(const struct schema_kind *k, const void *msg, struct view *v)
{
    if (k == KIND(MUTATING_ADMISSION_POLICY)) {
        const struct api_mutating_admission_policy_spec *s =
            &((const struct api_mutating_admission_policy *)msg)->spec;
        *v = (struct view){true,
                           s->param_kind,
                           s->match_constraints,
                           s->variables,
                           .mutations = s->mutations,
                           .conditions = s->match_conditions,
                           .n_variables = s->n_variables,
                           .n_mutations = s->n_mutations,
                           .n_conditions = s->n_match_conditions,
                           .failure_policy = s->failure_policy,
                           .reinvocation_policy = s->reinvocation_policy};
    } else {
        const struct api_validating_admission_policy_spec *s =
            &((const struct api_validating_admission_policy *)msg)->spec;
        *v = (struct view){false,
                           s->param_kind,
                           s->match_constraints,
                           s->variables,
                           s->validations,
                           s->audit_annotations,
                           .conditions = s->match_conditions,
                           .n_variables = s->n_variables,
                           .n_validations = s->n_validations,
                           .n_annotations = s->n_audit_annotations,
                           .n_conditions = s->n_match_conditions,
                           .failure_policy = s->failure_policy};
    }
}

struct compiler {
    struct admit_policy *p;
    const struct policy_compile *how;
    uint32_t cap_programs;
};

/* ---- expressions ---- */

static void expression(struct compiler *c, struct cel_env *env, struct str text, uint32_t types,
                       struct admit_expression *ret, const char *fmt, uint32_t i)
{
    struct admit_policy *p = c->p;
    struct cel_program *program;
    struct error err = {0};
    *ret = (struct admit_expression){.text = arena_str(&p->arena, text)};
    if (c->how->any_result)
        types = ADMIT_TYPE_ANY;
    if (admit_compile(env, text, types, &program, &err) >= 0) {
        ARRAY_RESERVE(p->programs, p->n_programs, c->cap_programs);
        p->programs[p->n_programs++] = program;
        ret->program = program;
    } else {
        ret->why = arena_str(&p->arena, err.message);
        char path[96];
        (void)snprintf(path, sizeof(path), fmt, i);
        if (c->how->found)
            c->how->found(c->how->arg, str_z(path), text, ret->why);
    }
    error_fini(&err);
}

/* The type of a variable, as others see it: what the checker left open in it ([] is a list of
 * anything) is dyn to them. */
static const struct cel_type *settled(struct cel_env *env, const struct cel_type *t, unsigned depth)
{
    while (t && t->kind == CEL_PARAM)
        t = t->elem;
    if (!t || depth > 16)
        return cel_type_of(CEL_DYN);
    if (t->kind == CEL_LIST && t->list_type == CEL_LIST_ATOMIC)
        return cel_type_list(env, settled(env, t->elem, depth + 1));
    if (t->kind == CEL_MAP)
        return cel_type_map(env, settled(env, t->key, depth + 1), settled(env, t->elem, depth + 1));
    if (t->kind == CEL_OPTIONAL)
        return cel_type_optional(env, settled(env, t->elem, depth + 1));
    return t;
}

static void variables(struct compiler *c, const struct view *v)
{
    struct admit_policy *p = c->p;
    struct cel_member *members = ARENA_NEW_N(&p->arena, struct cel_member, v->n_variables + 1);
    p->members.v = members;
    p->variables = ARENA_NEW_N(&p->arena, struct policy_variable, v->n_variables + 1);
    for (uint32_t i = 0; i < v->n_variables; i++) {
        struct policy_variable *x = &p->variables[p->n_variables++];
        x->name = arena_str(&p->arena, v->variables[i].name);
        expression(c, p->env, v->variables[i].expression, ADMIT_TYPE_ANY, &x->e,
                   "spec.variables[%u].expression", i);
        members[p->members.n++] = (struct cel_member){
            x->name, x->e.program ? settled(p->env, cel_program_type(x->e.program), 0)
                                  : cel_type_of(CEL_DYN)};
    }
}

static void validations(struct compiler *c, const struct view *v)
{
    struct admit_policy *p = c->p;
    p->validations = ARENA_NEW_N(&p->arena, struct policy_validation, v->n_validations + 1);
    for (uint32_t i = 0; i < v->n_validations; i++) {
        const struct api_validation *in = &v->validations[i];
        struct policy_validation *x = &p->validations[p->n_validations++];
        expression(c, p->env, in->expression, 1u << CEL_BOOL, &x->test,
                   "spec.validations[%u].expression", i);
        if (in->message_expression.n)
            expression(c, p->says_env, in->message_expression, 1u << CEL_STRING, &x->says,
                       "spec.validations[%u].messageExpression", i);
        x->message = arena_str(&p->arena, str_trim(in->message));
        x->reason = str_is(in->reason, "Unauthorized")            ? REASON_UNAUTHORIZED
                    : str_is(in->reason, "Forbidden")             ? REASON_FORBIDDEN
                    : str_is(in->reason, "RequestEntityTooLarge") ? REASON_TOO_LARGE
                                                                  : REASON_INVALID;
    }
}

static void annotations(struct compiler *c, const struct view *v)
{
    struct admit_policy *p = c->p;
    p->annotations = ARENA_NEW_N(&p->arena, struct policy_annotation, v->n_annotations + 1);
    for (uint32_t i = 0; i < v->n_annotations; i++) {
        struct policy_annotation *x = &p->annotations[p->n_annotations++];
        x->key =
            arena_printf(&p->arena, "%.*s/%.*s", STR_ARG(p->name), STR_ARG(v->annotations[i].key));
        expression(c, p->env, v->annotations[i].value_expression, 1u << CEL_STRING | 1u << CEL_NULL,
                   &x->value, "spec.auditAnnotations[%u].valueExpression", i);
    }
}

/* Results of changes are of types that have names. */
static void must_be(struct compiler *c, struct policy_mutation *x, const char *path, uint32_t i)
{
    const struct cel_type *t = x->change.program ? cel_program_type(x->change.program) : NULL;
    bool list = t && t->kind == CEL_LIST;
    if (list && !x->apply)
        t = t->elem;
    while (t && t->kind == CEL_PARAM)
        t = t->elem;
    if (c->how->any_result || (!t && (list || !x->change.program)))
        return; /* [] is a list of anything */
    if (t && list == !x->apply && t->kind == CEL_OBJECT &&
        strcmp(t->name, x->apply ? "Object" : "JSONPatch") == 0)
        return;
    char at[96];
    (void)snprintf(at, sizeof(at), path, i);
    x->change.program = NULL;
    x->change.why =
        x->apply ? STR("must evaluate to Object") : STR("must evaluate to list(JSONPatch)");
    if (c->how->found)
        c->how->found(c->how->arg, str_z(at), x->change.text, x->change.why);
}

static void mutations(struct compiler *c, const struct view *v)
{
    static const char apply[] = "spec.mutations[%u].applyConfiguration.expression",
                      patch[] = "spec.mutations[%u].jsonPatch.expression";
    struct admit_policy *p = c->p;
    p->mutations = ARENA_NEW_N(&p->arena, struct policy_mutation, v->n_mutations + 1);
    for (uint32_t i = 0; i < v->n_mutations; i++) {
        const struct api_mutation *in = &v->mutations[i];
        struct policy_mutation *x = &p->mutations[p->n_mutations++];
        x->apply = str_is(in->patch_type, "ApplyConfiguration");
        if (x->apply && in->apply_configuration)
            expression(c, p->env, in->apply_configuration->expression, ADMIT_TYPE_ANY, &x->change,
                       apply, i);
        else if (!x->apply && in->json_patch)
            expression(c, p->env, in->json_patch->expression, ADMIT_TYPE_ANY, &x->change, patch, i);
        must_be(c, x, x->apply ? apply : patch, i);
    }
}

/* Conditions are compiled once more where they are evaluated (match.h); here they are looked at. */
static void look_at_conditions(struct compiler *c, const struct view *v)
{
    struct admit_expression e;
    for (uint32_t i = 0; c->how->found && i < v->n_conditions; i++)
        expression(c, c->p->env, v->conditions[i].expression, 1u << CEL_BOOL, &e,
                   "spec.matchConditions[%u].expression", i);
}

/* ---- environments ---- */

static const struct cel_type *type_of(struct cel_env *env, const struct schema_desc *desc,
                                      const struct json *schema)
{
    const struct cel_type *t = NULL;
    if (desc)
        return cel_type_of_desc(env, desc);
    return schema && cel_type_of_openapi(env, schema, &t, NULL) >= 0 ? t : NULL;
}

static struct cel_env *env_new(struct admit_policy *p, const struct view *v, bool authorizer,
                               const struct policy_compile *how)
{
    struct cel_env *env = cel_env_new(v->mutating ? CEL_ENV_MUTATION : 0);
    admit_env_fill(env, &p->arena,
                   (authorizer ? ADMIT_ENV_AUTHORIZER : 0) | (v->param_kind ? ADMIT_ENV_PARAMS : 0),
                   type_of(env, how->object, how->object_schema),
                   type_of(env, how->params, how->params_schema),
                   cel_type_object(env, "kubernetes.variables", &p->members));
    return env;
}

struct admit_policy *policy_compile(const struct schema_kind *k, const void *msg,
                                    const struct policy_compile *how)
{
    struct admit_policy *p = NEW(struct admit_policy);
    struct compiler c = {.p = p, .how = how};
    struct view v;
    view_of(k, msg, &v);
    p->name = arena_str(&p->arena, ((const struct api_object_meta *)msg)->name);
    p->mutating = v.mutating;
    p->ignore = str_is(v.failure_policy, "Ignore");
    p->again = str_is(v.reinvocation_policy, "IfNeeded");
    match_compile(&p->match, &p->arena, v.constraints);
    if (v.param_kind) {
        p->has_params = true;
        p->param_api_version = arena_str(&p->arena, v.param_kind->api_version);
        p->param_kind = arena_str(&p->arena, v.param_kind->kind);
    }
    p->param = ARENA_NEW(&p->arena, struct policy_param_kind);
    p->env = env_new(p, &v, true, how);
    p->says_env = env_new(p, &v, false, how);
    look_at_conditions(&c, &v); /* before there are variables: they have none */
    variables(&c, &v);
    validations(&c, &v);
    annotations(&c, &v);
    mutations(&c, &v);
    return p;
}

struct admit_policy *admit_policy_new(const struct object *o)
{
    static const struct policy_compile plain = {0};
    struct admit_policy *p = policy_compile(o->kind, o->msg, &plain);
    struct view v;
    view_of(o->kind, o->msg, &v);
    p->conditions = conditions_new(v.conditions, v.n_conditions,
                                   ADMIT_ENV_AUTHORIZER | (p->has_params ? ADMIT_ENV_PARAMS : 0));
    return p;
}

struct admit_policy *admit_policy_free(struct admit_policy *p)
{
    if (!p)
        return NULL;
    conditions_free(p->conditions);
    for (uint32_t i = 0; i < p->n_programs; i++)
        cel_program_free(p->programs[i]);
    free(p->programs);
    cel_env_free(p->env);
    cel_env_free(p->says_env);
    free(p->bindings);
    arena_fini(&p->arena);
    free(p);
    return NULL;
}

/* ---- bindings ---- */

static void take_ref(struct policy_binding *b, const struct api_param_ref *ref)
{
    if (!ref)
        return;
    b->has_ref = true;
    b->ref_name = arena_str(&b->arena, ref->name);
    b->ref_ns = arena_str(&b->arena, ref->namespace);
    b->must_find = str_is(ref->parameter_not_found_action, "Deny");
    if (ref->selector &&
        label_selector_compile(&b->arena, ref->selector, &b->ref_selector, NULL) < 0)
        b->ref_selector = (struct label_selector){.nothing = true};
}

struct policy_binding *admit_binding_new(const struct object *o)
{
    struct policy_binding *b = NEW(struct policy_binding);
    b->name = arena_str(&b->arena, object_name(o));
    if (o->kind == KIND(MUTATING_ADMISSION_POLICY_BINDING)) {
        const struct api_mutating_admission_policy_binding_spec *s =
            &OBJECT_MSG(o, api_mutating_admission_policy_binding)->spec;
        b->policy = arena_str(&b->arena, s->policy_name);
        match_compile(&b->match, &b->arena, s->match_resources);
        take_ref(b, s->param_ref);
        return b;
    }
    const struct api_validating_admission_policy_binding_spec *s =
        &OBJECT_MSG(o, api_validating_admission_policy_binding)->spec;
    b->policy = arena_str(&b->arena, s->policy_name);
    match_compile(&b->match, &b->arena, s->match_resources);
    take_ref(b, s->param_ref);
    b->actions_told = json_new_arr(&b->arena);
    for (uint32_t i = 0; i < s->n_validation_actions; i++) {
        struct str x = s->validation_actions[i];
        b->actions |= str_is(x, "Deny")    ? POLICY_DENY
                      : str_is(x, "Warn")  ? POLICY_WARN
                      : str_is(x, "Audit") ? POLICY_AUDIT
                                           : 0;
        json_push(b->actions_told, json_new_str(&b->arena, arena_str(&b->arena, x)));
    }
    return b;
}

struct policy_binding *admit_binding_free(struct policy_binding *b)
{
    if (!b)
        return NULL;
    arena_fini(&b->arena);
    free(b);
    return NULL;
}
