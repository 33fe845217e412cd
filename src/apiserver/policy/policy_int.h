/* Compiled policies and bindings, and one evaluation of one. */
#pragma once

#include "apiserver/policy/policy.h"

#include "base/list.h"

#define POLICY_AUDIT_VALUE_MAX 10240 /* K8S: bytes of one audit annotation */

enum policy_action { /* of a binding */
                     POLICY_DENY = 1 << 0,
                     POLICY_WARN = 1 << 1,
                     POLICY_AUDIT = 1 << 2,
};

struct policy_validation {
    struct admit_expression test, says; /* says.text absent: no messageExpression */
    struct str message;
    enum error_reason reason;
};
struct policy_annotation {
    struct str key; /* with the policy's name before it */
    struct admit_expression value;
};
struct policy_mutation {
    bool apply; /* else a JSON patch */
    struct admit_expression change;
};
struct policy_variable {
    struct str name;
    struct admit_expression e;
};

struct admit_policy {
    struct arena arena;
    struct str name;
    bool mutating, ignore, again; /* failurePolicy Ignore; reinvocationPolicy IfNeeded */
    struct match match;
    bool has_params;
    struct policy_param_kind { /* found out when it is first wanted */
        bool is_known;
        uint64_t generation; /* of the custom kinds */
        const struct schema_kind *kind;
    } * param; /* in the arena */
    struct str param_api_version, param_kind;
    struct conditions *conditions;  /* owned */
    struct cel_env *env, *says_env; /* owned; that of messages has no authorizer */
    struct cel_program **programs;  /* owned */
    uint32_t n_programs;
    struct cel_members members; /* the type of `variables` grows with them */
    struct policy_variable *variables;
    struct policy_validation *validations;
    struct policy_annotation *annotations;
    struct policy_mutation *mutations;
    uint32_t n_variables, n_validations, n_annotations, n_mutations;
    struct policy_binding **bindings; /* borrowed from the index, by name */
    uint32_t n_bindings, cap_bindings;
};

struct policy_binding {
    struct arena arena;
    struct str name, policy;
    struct match match;
    unsigned actions;          /* enum policy_action */
    struct json *actions_told; /* the list as it was written */
    bool has_ref, must_find;   /* parameterNotFoundAction Deny */
    struct str ref_name, ref_ns;
    struct label_selector ref_selector;
};

/* Never fails: what does not compile says so when it is evaluated. */
struct admit_policy *admit_policy_new(const struct object *o);
struct admit_policy *admit_policy_free(struct admit_policy *p);
struct policy_binding *admit_binding_new(const struct object *o);
struct policy_binding *admit_binding_free(struct policy_binding *b);

/* Expressions that do not compile, by their place ("spec.validations[0].expression"). */
typedef void (*policy_finding_fn)(void *arg, struct str path, struct str text, struct str why);
struct policy_compile {
    const struct schema_desc *object; /* of object and oldObject; NULL: dyn, or by their schema: */
    const struct json *object_schema;
    const struct schema_desc *params;
    const struct json *params_schema;
    bool any_result;         /* types of results are not looked at */
    policy_finding_fn found; /* NULL: nobody asks */
    void *arg;
};
/* As admit_policy_new, for whoever wants to know what is wrong with it. k: of msg. */
struct admit_policy *policy_compile(const struct schema_kind *k, const void *msg,
                                    const struct policy_compile *how);

/* ---- one evaluation (policy_run.c) ---- */

struct policy_run {
    struct admit_request *r;
    const struct schema_kind *as;
    const struct admit_policy *policy;
    struct cel_value vars[_ADMIT_VAR_MAX];
    struct cel_value *values; /* of variables; unset: not looked at yet */
    uint64_t left;            /* of the budget of this policy, binding and parameter */
};
/* param: NULL: there is none. */
void policy_run_init(struct policy_run *run, struct admit_request *r, const struct schema_kind *as,
                     const struct admit_policy *p, struct object *param);
/* False: the budget is used up, said in ret->error. */
bool policy_run(struct policy_run *run, const struct admit_expression *e,
                struct admit_result *ret) MUST_CHECK;

/* The kind of its parameters; NULL: not served. */
const struct schema_kind *policy_param_kind(struct apiserver *s, const struct admit_policy *p);
/* The parameters of a binding for a request: *ret_n of them, one NULL when the policy takes none.
 * In the call's arena, borrowed for this turn. -EINVAL: *ret_why; -ENOENT: its kind is not served;
 * -EINPROGRESS: they must be converted first, which is noted (call_views_wanted). */
int policy_params(struct admit_request *r, const struct admit_policy *p,
                  const struct policy_binding *b, struct object ***ret, size_t *ret_n,
                  struct str *ret_why) MUST_CHECK;

/* What becomes of the policies that are about a request. */
struct policy_visitor {
    /* One binding with one parameter (NULL: the policy takes none). */
    void (*invoke)(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                   const struct schema_kind *as, struct object *param);
    /* A policy (b NULL) or binding that cannot be asked at all. */
    void (*misfit)(void *arg, const struct admit_policy *p, const struct policy_binding *b,
                   struct str why);
    void (*begin)(void *arg, const struct admit_policy *p); /* before its bindings; may be NULL */
    void (*end)(void *arg, const struct admit_policy *p);   /* may be NULL */
    void *arg;
};
/* Each of them by name, each of its bindings, each of their parameters. */
void policies_visit(struct admit_request *r, bool mutating, const struct policy_visitor *v);

/* ---- changes (policy_patch.c) ---- */

/* Puts what an expression gave to *doc, an object of desc (k's own or that of a subresource). 1: it
 * was changed; 0: a test of the patch said no; negative: *err. */
int policy_patch(const struct policy_mutation *m, const struct schema_kind *k,
                 const struct schema_desc *desc, struct json **doc, const struct cel_value *value,
                 struct arena *a, struct error *err) MUST_CHECK;

/* ---- the index (policies.c) ---- */

struct policy_candidate {
    const struct admit_policy *policy;
    const struct schema_kind *as; /* NULL: to be asked by names */
};
/* Policies with bindings whose rules fit, by name; NULL: none. Valid for this turn. */
const struct policy_candidate *policies_find(struct admit_request *r, bool mutating, size_t *ret_n);
/* The policy is about the request: 1, *ret_as; 0: not; negative: *err. */
int policy_matches(const struct policy_candidate *x, struct admit_request *r,
                   const struct schema_kind **ret_as, struct error *err) MUST_CHECK;
int policy_binding_matches(const struct policy_binding *b, struct admit_request *r,
                           struct error *err) MUST_CHECK;
