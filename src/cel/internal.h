/* What the files of this folder share: the tree (which is the program, once it is checked), the
 * table of functions, the state of an evaluation. */
#pragma once

#include "base/buf.h"
#include "cel/cel.h"
#include "codec/values.h"

#define BIT(k) (UINT32_C(1) << (k))

/* --- The tree -----------------------------------------------------------------------------------
 */

enum node_op {
    NODE_CONST,
    NODE_IDENT,   /* name; slot; local or variable */
    NODE_SELECT,  /* kids[0].name; TEST: has(); OPT: .? */
    NODE_CALL,    /* name(kids); MEMBER: kids[0].name(kids[1..]) */
    NODE_LIST,    /* kids; opt marks */
    NODE_MAP,     /* key, value, key, value; opt marks on keys */
    NODE_MESSAGE, /* likewise; name: of the type; keys are constants */
    NODE_AND,
    NODE_OR,
    NODE_COND,
    NODE_ALL, /* here and below: range, [filter], body; var, var2 */
    NODE_EXISTS,
    NODE_EXISTS_ONE,
    NODE_MAP_LIST, /* map, transformList */
    NODE_FILTER,
    NODE_MAP_MAP,     /* transformMap */
    NODE_MAP_ENTRIES, /* transformMapEntry */
    NODE_BIND,        /* init, body */
    NODE_OPT_MAP,     /* target, body */
    NODE_OPT_FLAT_MAP,
};
enum node_flags {
    NODE_TEST = 1 << 0,
    NODE_OPT = 1 << 1,
    NODE_MEMBER = 1 << 2,
    NODE_LOCAL = 1 << 3,
    NODE_ABSOLUTE = 1 << 4, /* .name */
    NODE_BY_OPT = 1 << 5,   /* select on an optional */
    NODE_FREE = 1 << 6,     /* a variable that is not charged, see check_free */
};

struct overload;
struct regex;

struct node {
    uint8_t op, flags;
    uint16_t depth;
    uint32_t n, pos;
    struct node **kids;
    const struct cel_type *type;
    struct str name;
    struct str field; /* NODE_SELECT: the name in the data */
    bool *opt;        /* NODE_LIST, NODE_MAP: [?x]; NULL: none */
    union {
        struct cel_value value; /* NODE_CONST */
        struct {                /* NODE_IDENT, macros */
            uint32_t slot, slot2;
            struct str var, var2; /* var2 absent: one variable */
        };
        struct {                        /* NODE_CALL */
            const struct overload **ov; /* those that may fit */
            uint32_t *masks;            /* of each, kinds of each argument */
            uint32_t n_ov;
            struct regex *regex; /* of a literal pattern */
        };
    };
};

/* --- Findings -----------------------------------------------------------------------------------
 */

#define CEL_FINDINGS_MAX 10
struct compile {
    struct cel_env *env;
    struct arena *a;
    struct str text;
    struct buf out; /* the findings */
    unsigned n_findings;
    unsigned n_nodes, n_slots;
    uint64_t uses;
};
void cel_finding(struct compile *c, uint32_t pos, const char *fmt, ...) PRINTF(3, 4);

struct cel_env {
    struct arena arena;
    unsigned flags;
    struct cel_env_entry {
        struct str name;
        const struct cel_type *type;
    } * vars;
    unsigned n_vars, cap_vars;
    struct cel_message_type *messages;
    struct cel_desc_type *descs; /* types made of schema_desc so far */
    unsigned n_types;            /* made; bounds the size of schemas */
};

struct cel_program {
    struct arena arena;
    struct node *root;
    const struct cel_type *type;
    struct cel_range cost;
    unsigned n_slots;
    uint64_t uses; /* bits of variables; 63: all from there on */
};

struct node *cel_parse(struct compile *c); /* NULL: findings */
struct node *cel_node(struct compile *c, enum node_op op, uint32_t pos, uint32_t n);
struct node *cel_macro(struct compile *c, struct node *call); /* call itself when it is none */
void cel_check(struct compile *c, struct node *root, const struct cel_type *expect);
struct cel_range cel_estimate(struct compile *c, struct node *root);
/* The pieces of a token; lex.c. Strings are unescaped into the arena. */
enum token_type {
    TOKEN_END,
    TOKEN_IDENT,
    TOKEN_INT,
    TOKEN_UINT,
    TOKEN_DOUBLE,
    TOKEN_STRING,
    TOKEN_BYTES,
    TOKEN_OP, /* text of one or two bytes */
    TOKEN_BAD,
};
struct token {
    enum token_type type;
    uint32_t pos;
    struct str text; /* as written; of strings the value */
};
struct lexer {
    struct compile *c;
    size_t at;
};
struct token cel_lex(struct lexer *l);

/* --- Functions ----------------------------------------------------------------------------------
 */

typedef struct cel_value (*cel_fn)(struct cel_eval *c, const struct cel_value *args, unsigned n);

/* How a call is charged; names say by what. cost.c and eval_cost.c are the two readers. */
enum cost_rule {
    COST_ONE,
    COST_ARG0,       /* a tenth of the first argument */
    COST_ARG0_TWICE, /* two tenths of it */
    COST_EQUAL,      /* a tenth of the smaller one */
    COST_CONCAT,     /* a tenth of both */
    COST_CONCAT_LIST,
    COST_IN_LIST,  /* the list */
    COST_MATCH,    /* tenth of the text, by a quarter of the pattern */
    COST_CONTAINS, /* tenth by tenth */
    COST_TRAVERSE, /* all that is in the first argument */
    COST_JOIN,     /* two tenths of the result */
    COST_CHECK,    /* an authorization */
    COST_SELECTOR, /* a selector is parsed */
    COST_VALIDATE, /* a format */
    COST_CIDR_IP,
    COST_CIDR_IP_TEXT,
    COST_CIDR_CIDR,
    COST_CIDR_CIDR_TEXT,
    COST_LISTS, /* one list by the other */
    COST_SPLIT,
    COST_STARTS,
};
enum overload_flags {
    OV_MEMBER = 1 << 0,
    OV_EXTRA = 1 << 1,    /* with CEL_ENV_EXTRAS only */
    OV_MUTATION = 1 << 4, /* with CEL_ENV_MUTATION, or with that */
    OV_REGEX = 1 << 2,    /* the second argument is a pattern */
    OV_LAZY =
        1
        << 3, /* of an optional: the second argument is not looked at when the first has a value */
};
/* sig: types of arguments, ">", type of the result. One letter each; a letter may want more behind
 * it: L elem, M key value, O elem, T elem. See cel_sig_type. */
struct overload {
    const char *name;
    const char *sig;
    cel_fn fn;
    uint8_t flags, cost;
};
#define CEL_ARGS_MAX 4
extern const struct overload
    *const cel_overload_tables[]; /* NULL terminated; rows end by name NULL */
extern const struct overload cel_fn_convert[], cel_fn_string[], cel_fn_format[], cel_fn_time[],
    cel_fn_list[], cel_fn_regex[], cel_fn_quantity[], cel_fn_ip[], cel_fn_url[], cel_fn_semver[],
    cel_fn_named[], cel_fn_authz[], cel_fn_optional[], cel_fn_extra[];
unsigned cel_sig_args(const char *sig);
/* Kinds an argument may have at run time, as bits. */
uint32_t cel_sig_mask(const char **sig);

/* --- Types --------------------------------------------------------------------------------------
 */

struct cel_type *cel_type_make(struct arena *a, enum cel_kind k);
const struct cel_type *cel_type_elem(const struct cel_type *t); /* NULL -> dyn */
const char *cel_kind_name(enum cel_kind k);
/* Name of a type as an identifier ("int", "google.protobuf.Timestamp"), or NULL. */
const struct cel_type *cel_type_named(struct str name);
/* A name as expressions write it -> in the data. False: not such a form. */
bool cel_unescape(struct str name, struct arena *a, struct str *ret);
/* Object, Object.spec, JSONPatch; NULL: this environment makes no such thing. message.c */
const struct cel_type *cel_type_message(struct cel_env *env, struct str name);
uint64_t cel_type_estimate(const struct cel_type *t); /* largest size there can be */

/* --- Values -------------------------------------------------------------------------------------
 */

enum value_rep {
    REP_ARRAY, /* list: values; map: struct cel_map */
    REP_JSON,  /* p: node, aux: type or NULL */
    REP_FIELD, /* p: elements, aux: schema_field, n */
    REP_MSG,   /* p: message, aux: descriptor */
    REP_HOST,
};
enum value_flags {
    VALUE_PLAIN = 1 << 0, /* a message seen as JSON */
    VALUE_META = 1 << 1,  /* it has kind and apiVersion */
};
struct cel_map {
    struct cel_value *keys, *values;
    uint32_t n, cap;
    uint32_t *slots; /* index + 1; NULL while small */
    uint32_t mask;
};
struct cel_ip {
    uint8_t bytes[16];
    uint8_t len;    /* 4, 16 */
    uint8_t prefix; /* of a CIDR */
    bool mapped;    /* ::ffff:a.b.c.d */
};
struct cel_semver {
    uint64_t major, minor, patch;
    struct str pre, build;
};
struct cel_url {
    struct str scheme, host, path, query; /* path escaped */
};
struct cel_authz {
    const struct cel_authorizer *who;
    struct cel_authz_check what;
    struct cel_authz_result result;
};

struct cel_eval {
    struct arena *a;
    const struct cel_input *in;
    struct cel_local {
        struct cel_value value;
        const struct node *init; /* of a binding nobody looked at yet */
    } * locals;
    uint64_t cost, cost_max, work, work_max;
    size_t memory_max;
    const char *stop; /* why it was cancelled */
    unsigned rounds;
    struct json_index *json_index; /* of big arrays and objects */
    uint32_t n_json_index, cap_json_index;
    struct regex *regex; /* of the literal pattern of this call, or NULL */
    struct regex_cache *regexes;
    struct tz *tz;
};

void *cel_alloc(struct cel_eval *c, size_t n); /* NULL: over, the evaluation is cancelled */
static inline void cel_charge(struct cel_eval *c, uint64_t n)
{
    c->cost = c->cost > UINT64_MAX - n ? UINT64_MAX : c->cost + n;
    if (UNLIKELY(c->cost > c->cost_max) && !c->stop)
        c->stop = "operation cancelled: actual cost limit exceeded";
}
/* False: enough of it. */
static inline bool cel_work(struct cel_eval *c, uint64_t n)
{
    c->work += n;
    if (UNLIKELY(c->work > c->work_max) && !c->stop)
        c->stop = "operation cancelled: too much work";
    return !c->stop;
}
struct cel_value cel_fail(struct cel_eval *c, const char *fmt, ...) PRINTF(2, 3);
struct cel_value cel_no_overload(void);
struct cel_value cel_no_memory(void);
struct cel_value cel_text(struct cel_eval *c, struct str s); /* copies */
struct cel_value cel_take_buf(struct cel_eval *c, struct buf *b);
struct cel_value cel_none(void);
struct cel_value cel_some(struct cel_eval *c, struct cel_value v);
struct cel_value cel_type_value(const char *name);
struct cel_value cel_typeof(const struct cel_value *v);
struct cel_value cel_box(enum cel_kind k, const void *p);
struct cel_value cel_strings(struct cel_eval *c, const struct str *v, uint32_t n);

/* read.c: what is in a message or a tree. */
struct cel_value cel_read_json(struct cel_eval *c, const struct json *v, const struct cel_type *t);
/* 1: *ret; 0: not there. hint: the member's type, NULL when it is not known. */
int cel_member_get(struct cel_eval *c, const struct cel_value *obj, struct str name,
                   const struct cel_type *hint, struct cel_value *ret);
bool cel_member_has(struct cel_eval *c, const struct cel_value *obj, struct str name);
struct cel_value cel_read_field(struct cel_eval *c, const struct schema_field *f, const void *p,
                                bool plain);

/* container.c */
struct cel_iter {
    struct cel_eval *c;
    struct cel_value of;
    uint32_t i;
    const struct json *node;
};
uint32_t cel_count(struct cel_eval *c, const struct cel_value *v); /* of lists, maps, objects */
void cel_iter_init(struct cel_iter *it, struct cel_eval *c, const struct cel_value *v);
/* Of lists: key is the index. value may be NULL. */
bool cel_iter_next(struct cel_iter *it, struct cel_value *key, struct cel_value *value);
int cel_list_get(struct cel_eval *c, const struct cel_value *list, uint64_t i,
                 struct cel_value *ret);
int cel_map_get(struct cel_eval *c, const struct cel_value *map, const struct cel_value *key,
                struct cel_value *ret);
struct cel_map *cel_map_new(struct cel_eval *c);
/* 0; -EEXIST; -ENOMEM. */
int cel_map_put(struct cel_eval *c, struct cel_map *m, const struct cel_value *key,
                const struct cel_value *value);
struct cel_value cel_map_value(struct cel_map *m);
struct list_builder {
    struct cel_value *v;
    uint32_t n, cap;
};
bool cel_list_add(struct cel_eval *c, struct list_builder *l, const struct cel_value *v);
static inline struct cel_value cel_list_done(const struct list_builder *l)
{
    return cel_list(l->v, l->n);
}
const struct json *cel_json_at(struct cel_eval *c, const struct json *arr, uint64_t i);
const struct json *cel_json_get(struct cel_eval *c, const struct json *obj, struct str key);

/* equal.c: 1, 0; c may be NULL: no limits but those of depth. */
bool cel_equal(struct cel_eval *c, const struct cel_value *a, const struct cel_value *b);
/* -1, 0, 1; 2: not comparable (or NaN). */
int cel_compare(const struct cel_value *a, const struct cel_value *b);
void cel_print_value(struct cel_eval *c, const struct cel_value *v, struct buf *b, unsigned depth);
void cel_print_double(double d, struct buf *b);

/* UTF-8 */
size_t cel_utf8_count(struct str s);
size_t cel_utf8_offset(struct str s, size_t chars); /* clamped to s.n */
size_t cel_utf8_put(uint32_t cp, char out[4]);

/* eval.c, eval_loop.c */
struct cel_value cel_run(struct cel_eval *c, const struct node *n);
struct cel_value cel_run_message(struct cel_eval *c, const struct node *n);
struct cel_value cel_run_loop(struct cel_eval *c, const struct node *n);

/* Others */
void cel_charge_call(struct cel_eval *c, const struct overload *o, const struct cel_value *args,
                     unsigned n, const struct cel_value *result);
uint64_t cel_size(struct cel_eval *c, const struct cel_value *v); /* 1 of scalars */
bool cel_parse_timestamp(struct str s, struct cel_value *ret);
bool cel_parse_duration(struct str s, int64_t *ret);
void cel_print_timestamp(const struct cel_value *v, struct buf *b);
void cel_print_duration(int64_t ns, struct buf *b);
unsigned cel_format_regex_size(const struct cel_value *v);
bool cel_ip_parse(struct str s, struct cel_ip *ret);
void cel_ip_print(const struct cel_ip *ip, struct buf *b);
int cel_semver_cmp(const struct cel_semver *a, const struct cel_semver *b);
bool cel_url_parse(struct cel_eval *c, struct str s, struct cel_url *ret, struct str *ret_why);
struct regex *cel_regex_cached(struct cel_eval *c, struct str pattern, struct cel_value *ret_error);
/* Walking the members of a message: the first one shown from i on; its value. */
uint32_t cel_msg_next(const struct cel_value *obj, uint32_t i);
struct cel_value cel_msg_at(struct cel_eval *c, const struct cel_value *obj, uint32_t i);
