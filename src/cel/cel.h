/* The Common Expression Language as Kubernetes 1.36 speaks it: environment -> compile (parse,
 * check, resolve) -> program -> evaluation against variables.
 *
 * An environment declares variables and makes types; it must outlive the programs compiled in it
 * and belongs to one thread. A program never changes: any number of threads may evaluate it at
 * once, each with an arena of its own. Nothing of the input is copied: objects are read where they
 * are, as frozen messages (by schema tables) or JSON trees, and must stay as they are meanwhile.
 *
 * Bounded on every side: text, depth and nodes of an expression; cost as Kubernetes counts it;
 * steps no cost speaks of (comparing nested values, regular expressions); memory of one evaluation;
 * a callback that may stop it.
 *
 * Sources: the CEL specification, cel-go's behaviour where the specification leaves room, the
 * Kubernetes page "Common Expression Language in Kubernetes" for libraries and limits. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "codec/json.h"
#include "schema/desc.h"

/* --- Limits; the figures with a K8S are those of Kubernetes ------------------------------------
 */

#define CEL_TEXT_MAX            100000 /* K8S: code points of an expression; bytes here */
#define CEL_NEST_MAX            250  /* K8S: parentheses, brackets, unary signs within each other */
#define CEL_DEPTH_MAX           1000 /* of the tree; a + b + c ... is as deep as it has terms */
#define CEL_NODES_MAX           50000     /* of the tree */
#define CEL_COST_CALL_MAX       1000000   /* K8S: run-time cost of one evaluation, about 0.1 s */
#define CEL_COST_OBJECT_MAX     10000000  /* K8S: of all evaluations for one object or binding */
#define CEL_COST_ESTIMATE_MAX   10000000  /* K8S: estimated cost of one rule of a CRD */
#define CEL_COST_CRD_MAX        100000000 /* K8S: estimated cost of all rules of a CRD */
#define CEL_MESSAGE_BYTES_MAX   5120      /* K8S: text a messageExpression may make */
#define CEL_INTERRUPT_FREQUENCY 100       /* K8S: rounds of a loop between two looks at interrupt */
#define CEL_REQUEST_BYTES_MAX   3145728   /* K8S: what estimates take for the largest object */
#define CEL_WORK_MAX            50000000  /* steps beyond cost; well below a second */
#define CEL_JSON_MAX            6291456  /* bytes of a value as JSON: two of the largest requests */
#define CEL_MEMORY_MAX          67108864 /* of one evaluation; cost alone allows ten megabytes */

/* --- Types --------------------------------------------------------------------------------------
 */

/* Kinds of values, and of types: those behind _CEL_VALUE_MAX are types only. */
enum cel_kind {
    CEL_ERROR, /* also: "unset" in a zeroed value */
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_LIST,
    CEL_MAP,
    CEL_OBJECT,
    CEL_TYPE,
    CEL_TIMESTAMP,
    CEL_DURATION,
    CEL_OPTIONAL,
    CEL_QUANTITY,
    CEL_URL,
    CEL_IP,
    CEL_CIDR,
    CEL_FORMAT,
    CEL_SEMVER,
    CEL_AUTHORIZER,
    CEL_PATH_CHECK,
    CEL_GROUP_CHECK,
    CEL_RESOURCE_CHECK,
    CEL_DECISION,
    _CEL_VALUE_MAX,
    CEL_DYN = _CEL_VALUE_MAX,
    CEL_PARAM, /* private to the checker */
    _CEL_KIND_MAX,
    _CEL_KIND_INVALID = -EINVAL,
};

#define CEL_SIZE_UNKNOWN UINT64_MAX

enum cel_list_type { /* x-kubernetes-list-type: how lists compare and add up */
                     CEL_LIST_ATOMIC,
                     CEL_LIST_SET,
                     CEL_LIST_MAP,
};

struct cel_type;
/* What the members of an object type are. */
struct cel_provider {
    /* The member of that name as expressions write it (escapes such as a__dash__b included), or
     * NULL. *ret_name is its name in the data. Called while compiling only. */
    const struct cel_type *(*field)(const struct cel_type *t, struct str name,
                                    struct str *ret_name);
    /* The same by the name in the data, without making anything: called while evaluating. NULL: all
     * is dyn. */
    const struct cel_type *(*known)(const struct cel_type *t, struct str name);
};
struct cel_type {
    uint8_t kind;                /* enum cel_kind */
    uint8_t list_type;           /* enum cel_list_type */
    const char *name;            /* of CEL_OBJECT */
    const struct cel_type *key;  /* of CEL_MAP */
    const struct cel_type *elem; /* of CEL_LIST, CEL_MAP, CEL_OPTIONAL, CEL_TYPE; NULL: dyn */
    const struct cel_provider *provider;
    const void *data;      /* the provider's */
    struct str *list_keys; /* CEL_LIST_MAP */
    uint32_t n_list_keys;
    uint64_t max_size; /* characters, bytes, items or members at most */
    uint64_t min_json; /* bytes the shortest such value has as JSON; for estimates */
};
/* The plain type of a kind: cel_type_of(CEL_INT). Lists and maps of them are of dyn. */
const struct cel_type *cel_type_of(enum cel_kind k);

/* --- Environment --------------------------------------------------------------------------------
 */

enum cel_env_flags {
    /* Also what cel-go has and Kubernetes does not switch on: cel.bind, math.*, base64.*,
     * reverse(). */
    CEL_ENV_EXTRAS = 1 << 0,
    /* What mutating policies make: Object{...}, JSONPatch{...}, jsonpatch.escapeKey(). */
    CEL_ENV_MUTATION = 1 << 1,
};
struct cel_env;
struct cel_env *cel_env_new(unsigned flags);
struct cel_env *cel_env_free(struct cel_env *env); /* NULL is fine; returns NULL */

/* Declares a variable; its place in cel_input.vars, counted from 0. Names are not checked. */
unsigned cel_env_var(struct cel_env *env, const char *name, const struct cel_type *t);

const struct cel_type *cel_type_list(struct cel_env *env, const struct cel_type *elem);
const struct cel_type *cel_type_map(struct cel_env *env, const struct cel_type *key,
                                    const struct cel_type *value);
const struct cel_type *cel_type_optional(struct cel_env *env, const struct cel_type *elem);
/* An object type whose members are those of a message of the schema tables. */
const struct cel_type *cel_type_of_desc(struct cel_env *env, const struct schema_desc *desc);
/* A type from a structural OpenAPI v3 schema (a CRD's): type, properties, items,
 * additionalProperties, format, enum, maxLength, maxItems, maxProperties, nullable, and the
 * x-kubernetes- extensions int-or-string, embedded-resource, preserve-unknown-fields, list-type,
 * list-map-keys. The schema is borrowed. -EINVAL with a reason. */
int cel_type_of_openapi(struct cel_env *env, const struct json *schema, const struct cel_type **ret,
                        struct error *err) MUST_CHECK;
/* An object type with the members given: for variables such as request or variables. The array is
 * borrowed and may grow afterwards when the caller keeps n up to date. */
struct cel_member {
    struct str name;
    const struct cel_type *type;
};
struct cel_members {
    const struct cel_member *v;
    unsigned n;
};
const struct cel_type *cel_type_object(struct cel_env *env, const char *name,
                                       const struct cel_members *members);
/* "map(string, list(int))", into the arena. */
struct str cel_type_print(const struct cel_type *t, struct arena *a);

/* --- Values -------------------------------------------------------------------------------------
 */

/* 24 bytes, passed by value. What a pointer leads to is read only. */
struct cel_value {
    uint8_t type;  /* enum cel_kind */
    uint8_t rep;   /* private: where the elements are */
    uint8_t flags; /* private */
    uint32_t n;    /* elements; nanoseconds of CEL_TIMESTAMP */
    union {
        bool b;
        int64_t i; /* CEL_INT; seconds of CEL_TIMESTAMP; nanoseconds of CEL_DURATION */
        uint64_t u;
        double d;
        struct str s; /* CEL_STRING, CEL_BYTES, CEL_TYPE's name, CEL_ERROR's message */
        struct {
            const void *p, *aux;
        };
    };
};
static_assert(sizeof(struct cel_value) == 24, "values are copied all the time");

struct cel_eval;
/* Members that are made when they are asked for: variables.x, and the like. */
struct cel_host {
    /* 1: *ret is set; 0: no such member; negative: never (an error is a value). The host remembers
     * what is expensive. */
    int (*get)(void *ctx, struct cel_eval *c, struct str name, struct cel_value *ret);
};

struct cel_value cel_null(void);
struct cel_value cel_bool(bool b);
struct cel_value cel_int(int64_t i);
struct cel_value cel_uint(uint64_t u);
struct cel_value cel_double(double d);
struct cel_value cel_string(struct str s); /* valid UTF-8; borrowed */
struct cel_value cel_bytes(struct str s);
struct cel_value cel_list(const struct cel_value *v, uint32_t n); /* borrowed */
struct cel_value cel_optional(const struct cel_value *v);         /* borrowed; NULL: none */
/* A JSON tree. With a type its strings become times, bytes and so on as that says; with NULL it is
 * free-form. */
struct cel_value cel_json(const struct json *v, const struct cel_type *t, struct arena *a);
/* A message. Typed: times are timestamps, bytes bytes. Otherwise it is seen as its JSON would be: a
 * map, with times, quantities and bytes as strings. With type_meta it has kind and apiVersion. */
struct cel_value cel_msg(const struct schema_desc *desc, const void *msg, bool typed,
                         bool type_meta);
struct cel_value cel_host_object(const struct cel_host *host, void *ctx);
struct cel_value cel_error(struct str message);

/* For tests, logs and messages: the value as CEL would write it, at most `max` bytes. */
struct str cel_print(const struct cel_value *v, struct arena *a, size_t max);
/* The value as JSON; strings are shared with it. Messages must be of the types their places call
 * for: Object.spec below the member spec of Object. -EINVAL: it has no such form, or is too large.
 */
int cel_to_json(const struct cel_value *v, struct arena *a, struct json **ret,
                struct error *err) MUST_CHECK;
bool cel_value_equal(const struct cel_value *a, const struct cel_value *b);

/* --- Authorizer ---------------------------------------------------------------------------------
 */

struct cel_authz_check {
    struct str account_namespace, account_name; /* absent: whoever sent the request */
    bool is_path;
    struct str path;
    struct str group, resource, subresource, namespace_, name;
    struct str field_selector, label_selector; /* absent: none */
    struct str verb;
};
struct cel_authz_result {
    bool allowed;
    struct str reason, error; /* error absent: decided */
};
struct cel_authorizer {
    void (*check)(void *ctx, const struct cel_authz_check *what, struct arena *a,
                  struct cel_authz_result *ret);
    void *ctx;
};
/* The variables authorizer and, with `resource` set, authorizer.requestResource. */
struct cel_value cel_authorizer(const struct cel_authorizer *who, struct arena *a);
struct cel_value cel_resource_check(const struct cel_authorizer *who,
                                    const struct cel_authz_check *what, struct arena *a);

/* --- Compiling ----------------------------------------------------------------------------------
 */

struct cel_range {
    uint64_t min, max;
};
struct cel_program;

/* `expect` is the type the result must have, or NULL. On failure -EINVAL (REASON_INVALID's place is
 * the caller's): err's message is cel-go's, "ERROR: <input>:1:5: undeclared reference to ..." with
 * the line and a mark below it, one for each finding (ten at most). */
int cel_compile(struct cel_env *env, struct str text, const struct cel_type *expect,
                struct cel_program **ret, struct error *err) MUST_CHECK;
struct cel_program *cel_program_free(struct cel_program *p);

const struct cel_type *cel_program_type(const struct cel_program *p);
struct cel_range cel_program_cost(const struct cel_program *p); /* the estimate */
/* Whether the expression speaks of that variable (transition rules speak of oldSelf). */
bool cel_program_uses(const struct cel_program *p, unsigned var);
/* Whether it says var.member anywhere, also as has(var.member) or var.?member. */
bool cel_program_selects(const struct cel_program *p, struct str var, struct str member);

/* --- Evaluating ---------------------------------------------------------------------------------
 */

struct cel_input {
    const struct cel_value *vars;   /* as many as were declared when the program was compiled */
    unsigned n_vars;                /* missing and unset ones are errors when they are looked at */
    uint64_t cost_max;              /* 0: CEL_COST_CALL_MAX */
    uint64_t work_max;              /* 0: CEL_WORK_MAX */
    bool (*interrupted)(void *ctx); /* NULL: never */
    void *interrupted_ctx;
};

enum cel_outcome {
    CEL_OUTCOME_VALUE,
    CEL_OUTCOME_ERROR,     /* the expression's own: no such key, division by zero */
    CEL_OUTCOME_CANCELLED, /* by cost, work, memory or interrupt */
};
struct cel_result {
    enum cel_outcome outcome;
    /* Of CEL_OUTCOME_VALUE; lives as long as arena, input and program (literals are the program's).
     */
    struct cel_value value;
    struct str message; /* of the others; in the arena or static */
    uint64_t cost;      /* what was spent, in Kubernetes' units */
    uint64_t work;      /* and beyond it */
};
void cel_eval(const struct cel_program *p, const struct cel_input *in, struct arena *a,
              struct cel_result *ret);
