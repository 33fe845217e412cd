/* What webhooks and admission policies share: the call as admission sees it, which calls a
 * configuration is about, and its expressions.
 *
 * A configuration is compiled once (match_compile..., conditions_new) and then only read. A call is
 * described once a phase (admit_request_init...); what may be needed of it - its JSON, its values
 * for expressions, the kinds it is equal to - is made when somebody asks first, in the call's
 * arena, and kept. Core thread. Kubernetes: apiserver/pkg/admission/plugin/{webhook,policy}. */
#pragma once

#include "apiserver/internal.h"
#include "cel/cel.h"
#include "schema/select.h"

/* ---- the call ---- */

enum admit_op {
    ADMIT_CREATE = 1 << 0,
    ADMIT_UPDATE = 1 << 1,
    ADMIT_DELETE = 1 << 2,
    ADMIT_CONNECT = 1 << 3,
    ADMIT_ALL = 15,
};
const char *admit_op_text(enum admit_op op); /* "CREATE" */

/* An object in the version some configuration wants. */
struct admit_view {
    const struct schema_kind *as; /* NULL: not made yet */
    const void *msg;              /* NULL: there is no such object */
    struct json *tree;            /* with kind and apiVersion; NULL: not made yet */
};
#define ADMIT_VIEWS 4 /* kinds one call is looked at as; more are made again */

struct admit_request {
    struct api_call *call;
    enum admit_op op;
    const struct schema_kind *kind; /* of the resource, in the version of the request */
    struct str subresource;         /* absent: none */
    const struct schema_desc *desc; /* of object and old: kind's own, or that of the subresource */
    const void *object;             /* after; NULL of a delete */
    const void *old;                /* before; NULL of a create and a connect */
    rev_t old_rev;
    struct str ns, name; /* of a namespace: ns is its own name */
    /* Made when they are asked for: */
    struct admit_view objects[ADMIT_VIEWS], olds[ADMIT_VIEWS];
    struct json *info;                 /* all but uid, object and oldObject */
    const struct schema_kind *info_as; /* whose kind and resource info tells */
    const struct schema_kind **equals; /* other versions of the resource */
    size_t n_equals;
    bool equals_known, namespace_known;
    struct object *namespace_object; /* borrowed for this turn; NULL: none */
    struct cel_authorizer authorizer;
    uint64_t cost_left, work_left; /* of all expressions of this phase */
};

/* A write of c->kind, or the delete of old. msg may be changed later: admit_request_changed. old is
 * of the stored kind; NULL: a create. */
void admit_request_init(struct admit_request *r, struct api_call *c, enum admit_op op,
                        const void *msg, const struct object *old);
/* A write to a subresource with a body of its own (Scale, Eviction, Binding, TokenRequest ...).
 * old: of desc too, or NULL. */
void admit_request_init_sub(struct admit_request *r, struct api_call *c, enum admit_op op,
                            const struct schema_desc *desc, const void *msg, const void *old);
/* exec, attach, portforward, proxy: the options are read from the query and the path. */
void admit_request_init_connect(struct admit_request *r, struct api_call *c);
/* The object has changed: what was made of it is made anew. msg: it is there now. */
void admit_request_changed(struct admit_request *r, const void *msg);
/* What is done to the rules themselves (webhook configurations, policies, bindings) is asked of
 * nobody, so that nobody locks himself out. */
bool admit_request_is_exempt(const struct admit_request *r);

/* The objects in another version: `as` is r->kind or one of its equals, and match_convertible has
 * said that they are in hand. NULL: there is none. A
 * subresource's own body has one form only. */
const void *admit_request_msg(struct admit_request *r, const struct schema_kind *as, bool old);
struct json *admit_request_tree(struct admit_request *r, const struct schema_kind *as, bool old);
const struct schema_desc *admit_request_desc(const struct admit_request *r,
                                             const struct schema_kind *as);
/* The other versions of the resource. */
const struct schema_kind *const *admit_request_equals(struct admit_request *r, size_t *ret_n);
/* A message of r->kind made of one of `as`; shares with it. 1, or as call_view. */
int admit_request_back(struct admit_request *r, const struct schema_kind *as, const void *msg,
                       const void **ret, struct error *err) MUST_CHECK;
/* The members of AdmissionRequest but uid, object and oldObject. Changes with the next call for
 * another kind. */
struct json *admit_request_info(struct admit_request *r, const struct schema_kind *as);
/* The namespace the object is in; NULL for what is in none (a namespace, too). */
struct object *admit_request_namespace(struct admit_request *r);

/* ---- which calls ---- */

struct match_rule;
struct match {
    struct match_rule *rules, *excludes; /* in the arena of the compile */
    uint32_t n_rules, n_excludes;
    bool any;        /* no rules at all: every resource */
    bool equivalent; /* other versions of the resource count */
    struct label_selector namespaces, objects;
};

/* A webhook's part. Selectors that do not compile match nothing (they were refused when written).
 */
void match_compile_webhook(struct match *m, struct arena *a,
                           const struct api_admission_rule_with_operations *rules, uint32_t n_rules,
                           struct str match_policy, const struct api_label_selector *namespaces,
                           const struct api_label_selector *objects);
/* A policy's matchConstraints, or a binding's matchResources (NULL: every call). */
void match_compile(struct match *m, struct arena *a, const struct api_match_resources *r);

/* By the rules alone: the kind as which it matches, or NULL. Depends on nothing but the resource,
 * operation, scope and, where a rule names them, names. */
const struct schema_kind *match_by_rules(const struct match *m, struct admit_request *r);
/* Whether some rule of m speaks of names. */
bool match_names(const struct match *m);
/* Whether the objects can be told as `as` here and now: 1; as call_view otherwise. */
int match_convertible(struct admit_request *r, const struct schema_kind *as,
                      struct error *err) MUST_CHECK;
/* By the selectors alone: 1, 0; negative: the namespace is not there, in err. */
int match_selectors(const struct match *m, struct admit_request *r, struct error *err) MUST_CHECK;
/* By all: 1: *ret_as; 0: no; negative: the namespace is not there, or, as match_convertible:
 * -EINPROGRESS, -EPROTO. */
int match_request(const struct match *m, struct admit_request *r, const struct schema_kind **ret_as,
                  struct error *err) MUST_CHECK;

/* ---- expressions ---- */

/* Places of the variables. Those an environment does not have cannot be named in it. */
enum admit_var {
    ADMIT_VAR_OBJECT,
    ADMIT_VAR_OLD_OBJECT,
    ADMIT_VAR_REQUEST,
    ADMIT_VAR_NAMESPACE,
    ADMIT_VAR_AUTHORIZER,
    ADMIT_VAR_AUTHORIZER_RESOURCE,
    ADMIT_VAR_PARAMS,
    ADMIT_VAR_VARIABLES,
    _ADMIT_VAR_MAX,
};
enum admit_env_flags {
    ADMIT_ENV_AUTHORIZER = 1 << 0,
    ADMIT_ENV_PARAMS = 1 << 1,
};
/* Of all expressions of one phase of a call, however many configurations are about it: some tenths
 * of a second. */
#define ADMIT_COST_ALL_MAX (2 * (uint64_t)CEL_COST_OBJECT_MAX)
#define ADMIT_WORK_ALL_MAX (uint64_t) CEL_WORK_MAX
#define ADMIT_COST_CONDITIONS_MAX                                                                  \
    2500000 /* K8S: of all match conditions of one webhook or policy */

/* An environment of admission: env comes from cel_env_new, empty. object: the type of object and
 * oldObject, params and variables theirs (made in env); NULL: dyn, and no variables. a lives as
 * long as env. */
void admit_env_fill(struct cel_env *env, struct arena *a, unsigned flags,
                    const struct cel_type *object, const struct cel_type *params,
                    const struct cel_type *variables);
#define ADMIT_TYPE_ANY UINT32_MAX
/* Compiles an expression whose result has one of the types (bits 1 << enum cel_kind; dyn is none of
 * them). -EINVAL: the words of Kubernetes, "must evaluate to bool" or "compilation failed: ...". */
int admit_compile(struct cel_env *env, struct str text, uint32_t types, struct cel_program **ret,
                  struct error *err) MUST_CHECK;
/* Values of the variables a program uses, those that vars (_ADMIT_VAR_MAX, zeroed at first) does
 * not have yet; params and variables are the caller's. */
void admit_vars(struct admit_request *r, const struct schema_kind *as, const struct cel_program *p,
                struct cel_value *vars);

struct admit_expression {
    const struct cel_program *program; /* NULL: it does not compile, for this reason: */
    struct str text, why;
};
struct admit_result {
    struct cel_value value;
    struct str error; /* present: there is no value */
};
/* Evaluates in the call's arena and takes the cost of *left. False: the budget is used up (error
 * says so), and nothing more is to be evaluated. */
bool admit_eval(struct admit_request *r, const struct schema_kind *as,
                const struct admit_expression *e, struct cel_value *vars, uint64_t *left,
                struct admit_result *ret) MUST_CHECK;

struct conditions; /* matchConditions */
/* A condition that does not compile (it was stored before anybody looked) counts as an error each
 * time. NULL: there are none. */
struct conditions *conditions_new(const struct api_match_condition *v, uint32_t n, unsigned flags);
struct conditions *conditions_free(struct conditions *c);
/* Of a configuration somebody writes, at `at`: a condition that does not compile becomes a cause.
 */
void conditions_written(const struct api_match_condition *v, uint32_t n, unsigned flags,
                        const char *at, struct error *err);
/* 1: all are true; 0: one is false; -EINVAL: none is false and some failed, *ret_why says how (in
 * the call's arena): by failurePolicy then. params: NULL: none. *ret_false (may be NULL) is the
 * name of the one that was false. */
int conditions_check(const struct conditions *c, struct admit_request *r,
                     const struct schema_kind *as, const struct cel_value *params,
                     struct str *ret_false, struct str *ret_why) MUST_CHECK;
