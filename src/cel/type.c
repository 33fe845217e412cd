/* Types: the plain ones, those an environment makes, their names. */
#include "base/mem.h"
#include "cel/internal.h"

static const struct cel_type PLAIN[_CEL_KIND_MAX] = {
#define SCALAR(k, min) [k] = {.kind = k, .max_size = 1, .min_json = (min)}
#define SIZED(k, min)  [k] = {.kind = k, .max_size = CEL_SIZE_UNKNOWN, .min_json = (min)}
    SCALAR(CEL_ERROR, 1),
    SCALAR(CEL_NULL, 4),
    SCALAR(CEL_BOOL, 4),
    SCALAR(CEL_INT, 1),
    SCALAR(CEL_UINT, 1),
    SCALAR(CEL_DOUBLE, 1),
    SIZED(CEL_STRING, 2),
    SIZED(CEL_BYTES, 2),
    SIZED(CEL_LIST, 2),
    SIZED(CEL_MAP, 2),
    SIZED(CEL_OBJECT, 2),
    SCALAR(CEL_TYPE, 1),
    SCALAR(CEL_TIMESTAMP, 22),
    SCALAR(CEL_DURATION, 4),
    SIZED(CEL_OPTIONAL, 1),
    SCALAR(CEL_QUANTITY, 1),
    SIZED(CEL_URL, 1),
    SCALAR(CEL_IP, 1),
    SCALAR(CEL_CIDR, 1),
    SCALAR(CEL_FORMAT, 1),
    SCALAR(CEL_SEMVER, 1),
    SCALAR(CEL_AUTHORIZER, 1),
    SCALAR(CEL_PATH_CHECK, 1),
    SCALAR(CEL_GROUP_CHECK, 1),
    SCALAR(CEL_RESOURCE_CHECK, 1),
    SCALAR(CEL_DECISION, 1),
    SIZED(CEL_DYN, 1),
    SIZED(CEL_PARAM, 1),
#undef SCALAR
#undef SIZED
};

static const char *const NAMES[_CEL_KIND_MAX] = {
    [CEL_ERROR] = "!error!",
    [CEL_NULL] = "null_type",
    [CEL_BOOL] = "bool",
    [CEL_INT] = "int",
    [CEL_UINT] = "uint",
    [CEL_DOUBLE] = "double",
    [CEL_STRING] = "string",
    [CEL_BYTES] = "bytes",
    [CEL_LIST] = "list",
    [CEL_MAP] = "map",
    [CEL_OBJECT] = "object",
    [CEL_TYPE] = "type",
    [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
    [CEL_DURATION] = "google.protobuf.Duration",
    [CEL_OPTIONAL] = "optional_type",
    [CEL_QUANTITY] = "kubernetes.Quantity",
    [CEL_URL] = "kubernetes.URL",
    [CEL_IP] = "net.IP",
    [CEL_CIDR] = "net.CIDR",
    [CEL_FORMAT] = "kubernetes.NamedFormat",
    [CEL_SEMVER] = "kubernetes.Semver",
    [CEL_AUTHORIZER] = "kubernetes.authorization.Authorizer",
    [CEL_PATH_CHECK] = "kubernetes.authorization.PathCheck",
    [CEL_GROUP_CHECK] = "kubernetes.authorization.GroupCheck",
    [CEL_RESOURCE_CHECK] = "kubernetes.authorization.ResourceCheck",
    [CEL_DECISION] = "kubernetes.authorization.Decision",
    [CEL_DYN] = "dyn",
    [CEL_PARAM] = "_",
};

const struct cel_type *cel_type_of(enum cel_kind k)
{
    ASSERT(k >= 0 && k < _CEL_KIND_MAX);
    return &PLAIN[k];
}

const char *cel_kind_name(enum cel_kind k)
{
    ASSERT(k >= 0 && k < _CEL_KIND_MAX);
    return NAMES[k];
}

const struct cel_type *cel_type_named(struct str name)
{
    for (unsigned k = CEL_NULL; k <= CEL_SEMVER; k++)
        if (k != CEL_OBJECT && str_eqz(name, NAMES[k]))
            return &PLAIN[k];
    return str_is(name, "dyn") ? &PLAIN[CEL_DYN] : NULL;
}

const struct cel_type *cel_type_elem(const struct cel_type *t)
{
    return t->elem ? t->elem : &PLAIN[CEL_DYN];
}

struct cel_type *cel_type_make(struct arena *a, enum cel_kind k)
{
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    *t = PLAIN[k];
    return t;
}

static void print(const struct cel_type *t, struct buf *b, unsigned depth)
{
    while (t->kind == CEL_PARAM && t->elem)
        t = t->elem;
    if (depth > 20) {
        buf_add_lit(b, "...");
        return;
    }
    switch (t->kind) {
    case CEL_NULL:
        buf_add_lit(b, "null");
        return;
    case CEL_TIMESTAMP:
        buf_add_lit(b, "timestamp");
        return;
    case CEL_DURATION:
        buf_add_lit(b, "duration");
        return;
    case CEL_OBJECT:
        buf_add_str(b, str_z(t->name ? t->name : "object"));
        return;
    case CEL_PARAM: /* nobody will ever know: cel-go calls it dyn as well */
        buf_add_lit(b, "dyn");
        return;
    case CEL_LIST:
    case CEL_OPTIONAL:
    case CEL_TYPE:
        buf_printf(b, "%s(", NAMES[t->kind]);
        break;
    case CEL_MAP:
        buf_add_lit(b, "map(");
        print(t->key ? t->key : &PLAIN[CEL_DYN], b, depth + 1);
        buf_add_lit(b, ", ");
        break;
    default:
        buf_add_str(b, str_z(NAMES[t->kind]));
        return;
    }
    print(cel_type_elem(t), b, depth + 1);
    buf_add_char(b, ')');
}

struct str cel_type_print(const struct cel_type *t, struct arena *a)
{
    struct buf b = {.limit_bytes = 1000};
    print(t, &b, 0);
    struct str s = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return s;
}

/* --- Environment --------------------------------------------------------------------------------
 */

struct cel_env *cel_env_new(unsigned flags)
{
    struct cel_env *env = NEW(struct cel_env);
    env->flags = flags;
    return env;
}

struct cel_env *cel_env_free(struct cel_env *env)
{
    if (env) {
        arena_fini(&env->arena);
        free(env->vars);
        free(env);
    }
    return NULL;
}

unsigned cel_env_var(struct cel_env *env, const char *name, const struct cel_type *t)
{
    ARRAY_RESERVE(env->vars, env->n_vars, env->cap_vars);
    env->vars[env->n_vars] = (struct cel_env_entry){arena_strz(&env->arena, name), t};
    return env->n_vars++;
}

const struct cel_type *cel_type_list(struct cel_env *env, const struct cel_type *elem)
{
    struct cel_type *t = cel_type_make(&env->arena, CEL_LIST);
    t->elem = elem;
    return t;
}

const struct cel_type *cel_type_map(struct cel_env *env, const struct cel_type *key,
                                    const struct cel_type *value)
{
    struct cel_type *t = cel_type_make(&env->arena, CEL_MAP);
    t->key = key;
    t->elem = value;
    return t;
}

const struct cel_type *cel_type_optional(struct cel_env *env, const struct cel_type *elem)
{
    struct cel_type *t = cel_type_make(&env->arena, CEL_OPTIONAL);
    t->elem = elem;
    return t;
}

static const struct cel_type *members_field(const struct cel_type *t, struct str name,
                                            struct str *ret_name)
{
    const struct cel_members *m = t->data;
    for (unsigned i = 0; i < m->n; i++) {
        if (str_eq(m->v[i].name, name)) {
            *ret_name = m->v[i].name;
            return m->v[i].type;
        }
    }
    return NULL;
}

const struct cel_type *cel_type_object(struct cel_env *env, const char *name,
                                       const struct cel_members *members)
{
    static const struct cel_provider provider = {members_field, NULL};
    struct cel_type *t = cel_type_make(&env->arena, CEL_OBJECT);
    t->name = arena_strz(&env->arena, name).p;
    t->provider = &provider;
    t->data = members;
    return t;
}

/* --- Names --------------------------------------------------------------------------------------
 */

/* As Kubernetes writes property names: __underscores__ __dot__ __dash__ __slash__, and __if__ for
 * those that are words of the language. */
bool cel_unescape(struct str name, struct arena *a, struct str *ret)
{
    static const struct {
        const char *from, *to;
    } FORMS[] = {
        {"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}};
    static const char *const words[] = {
        "true",     "false",   "null",   "in",       "as",   "break",  "const",
        "continue", "else",    "for",    "function", "if",   "import", "let",
        "loop",     "package", "return", "var",      "void", "while",  "namespace",
    };
    if (str_search(name, STR("__")) < 0) {
        *ret = name;
        return true;
    }
    if (name.n > 4 && str_starts(name, STR("__")) && str_ends(name, STR("__"))) {
        struct str inner = str_sub(name, 2, name.n - 2);
        for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
            if (str_eqz(inner, words[i])) {
                *ret = inner;
                return true;
            }
        }
    }
    struct buf b = {0};
    for (size_t i = 0; i < name.n;) {
        struct str rest = str_sub(name, i, name.n);
        size_t skip = 0;
        for (unsigned k = 0; k < ARRAY_LEN(FORMS) && !skip; k++) {
            if (str_starts(rest, str_z(FORMS[k].from))) {
                buf_add_str(&b, str_z(FORMS[k].to));
                skip = strlen(FORMS[k].from);
            }
        }
        if (!skip && str_starts(rest, STR("__"))) {
            buf_fini(&b);
            return false;
        }
        if (!skip) {
            buf_add_char(&b, name.p[i]);
            skip = 1;
        }
        i += skip;
    }
    *ret = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return true;
}
