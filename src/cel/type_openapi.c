/* Types from structural OpenAPI v3 schemas, as a CRD carries them. Sizes the schema does not bound
 * are bounded by what fits in a request: that is what Kubernetes' estimates of cost go by. */
#include "cel/internal.h"

#define TYPES_MAX 100000 /* one environment; a CRD may be 3 MB */
#define NEST_MAX  100

struct object_field {
    struct str name; /* in the data */
    const struct cel_type *type;
};
struct object {
    struct cel_env *env;
    struct object_field *fields;
    unsigned n;
};

static const struct cel_type *openapi_field(const struct cel_type *t, struct str name,
                                            struct str *ret_name)
{
    const struct object *o = t->data;
    struct str real;
    if (!cel_unescape(name, &o->env->arena, &real))
        return NULL;
    for (unsigned i = 0; i < o->n; i++) {
        if (str_eq(o->fields[i].name, real)) {
            *ret_name = o->fields[i].name;
            return o->fields[i].type;
        }
    }
    return NULL;
}
static const struct cel_type *openapi_known(const struct cel_type *t, struct str name)
{
    const struct object *o = t->data;
    for (unsigned i = 0; i < o->n; i++)
        if (str_eq(o->fields[i].name, name))
            return o->fields[i].type;
    return NULL;
}
static const struct cel_provider OPENAPI = {openapi_field, openapi_known};

static uint64_t limit(const struct json *schema, const char *name, uint64_t otherwise)
{
    const struct json *v = json_get(schema, str_z(name));
    return json_is(v, JSON_INT) && v->i >= 0 ? (uint64_t)v->i : otherwise;
}
static bool mark(const struct json *schema, const char *name)
{
    const struct json *v = json_get(schema, str_z(name));
    return json_is(v, JSON_BOOL) && v->b;
}

static int build(struct cel_env *env, const struct json *schema, unsigned depth, bool resource,
                 const struct cel_type **ret, struct error *err);

static const struct cel_type *build_string(struct cel_env *env, const struct json *schema)
{
    struct str format = json_get_str(schema, STR("format"));
    const struct json *values = json_getz(schema, "enum");
    struct cel_type *t = cel_type_make(&env->arena, CEL_STRING);
    if (str_is(format, "byte")) {
        t->kind = CEL_BYTES;
        t->max_size = limit(schema, "maxLength", CEL_REQUEST_BYTES_MAX - 2);
        return t;
    }
    if (str_is(format, "duration"))
        return cel_type_of(CEL_DURATION);
    if (str_is(format, "date") || str_is(format, "date-time"))
        return cel_type_of(CEL_TIMESTAMP);
    t->max_size = limit(schema, "maxLength", CEL_REQUEST_BYTES_MAX - 2);
    if (json_is(values, JSON_ARR)) {
        uint64_t longest = 0;
        json_for_each(v, values) if (v->type == JSON_STR) longest = MAX(longest, v->s.n);
        t->max_size = MIN(t->max_size, longest);
    }
    return t;
}

static int build_list(struct cel_env *env, const struct json *schema, unsigned depth,
                      const struct cel_type **ret, struct error *err)
{
    struct cel_type *t = cel_type_make(&env->arena, CEL_LIST);
    const struct json *items = json_getz(schema, "items");
    struct str list_type = json_get_str(schema, STR("x-kubernetes-list-type"));
    const struct json *keys = json_getz(schema, "x-kubernetes-list-map-keys");
    int r = items ? build(env, items, depth + 1, false, &t->elem, err) : 0;
    if (r < 0)
        return r;
    if (!items)
        t->elem = cel_type_of(CEL_DYN);
    t->max_size = limit(schema, "maxItems", (CEL_REQUEST_BYTES_MAX - 2) / (t->elem->min_json + 1));
    t->list_type = str_is(list_type, "set")   ? CEL_LIST_SET
                   : str_is(list_type, "map") ? CEL_LIST_MAP
                                              : CEL_LIST_ATOMIC;
    if (json_is(keys, JSON_ARR)) {
        t->list_keys = ARENA_NEW_N(&env->arena, struct str, keys->n);
        json_for_each(k, keys) if (k->type == JSON_STR) t->list_keys[t->n_list_keys++] = k->s;
    }
    *ret = t;
    return 0;
}

static int add_field(struct object *o, struct str name, const struct cel_type *t)
{
    for (unsigned i = 0; i < o->n; i++)
        if (str_eq(o->fields[i].name, name))
            return 0;
    o->fields[o->n++] = (struct object_field){name, t};
    return 1;
}

static bool required(const struct json *schema, struct str name)
{
    const struct json *v = json_getz(schema, "required");
    if (json_is(v, JSON_ARR))
        json_for_each(k, v) if (k->type == JSON_STR && str_eq(k->s, name)) return true;
    return false;
}

static int build_object(struct cel_env *env, const struct json *schema, unsigned depth,
                        bool resource, const struct cel_type **ret, struct error *err)
{
    const struct json *props = json_getz(schema, "properties");
    struct object *o = ARENA_NEW(&env->arena, struct object);
    struct cel_type *t = cel_type_make(&env->arena, CEL_OBJECT);
    unsigned n = json_is(props, JSON_OBJ) ? props->n : 0;
    o->env = env;
    o->fields = ARENA_NEW_N(&env->arena, struct object_field, n + 3);
    if (n) {
        json_for_each(p, props)
        {
            const struct cel_type *ft;
            int r = build(env, p, depth + 1, false, &ft, err);
            if (r < 0)
                return r;
            add_field(o, p->key, ft);
            if (required(schema, p->key))
                t->min_json += p->key.n + 4 + ft->min_json;
        }
    }
    if (resource) {
        /* Of metadata rules may only see these two, whatever the schema says. */
        static const struct cel_type NAME = {.kind = CEL_STRING, .max_size = 253, .min_json = 2};
        static const struct cel_member META[] = {{{"name", 4}, &NAME},
                                                 {{"generateName", 12}, &NAME}};
        static const struct cel_members members = {META, ARRAY_LEN(META)};
        const struct cel_type *meta = cel_type_object(env, "ObjectMeta", &members);
        for (unsigned i = 0; i < o->n; i++)
            if (str_is(o->fields[i].name, "metadata"))
                o->fields[i].type = meta;
        add_field(o, STR("metadata"), meta);
        add_field(o, STR("kind"), cel_type_of(CEL_STRING));
        add_field(o, STR("apiVersion"), cel_type_of(CEL_STRING));
    }
    t->name = "object";
    t->provider = &OPENAPI;
    t->data = o;
    *ret = t;
    return 0;
}

static int build_map(struct cel_env *env, const struct json *schema, const struct json *values,
                     unsigned depth, const struct cel_type **ret, struct error *err)
{
    struct cel_type *t = cel_type_make(&env->arena, CEL_MAP);
    int r = build(env, values, depth + 1, false, &t->elem, err);
    if (r < 0)
        return r;
    t->key = cel_type_of(CEL_STRING);
    t->max_size =
        limit(schema, "maxProperties", (CEL_REQUEST_BYTES_MAX - 2) / (t->elem->min_json + 6));
    *ret = t;
    return 0;
}

static int build(struct cel_env *env, const struct json *schema, unsigned depth, bool resource,
                 const struct cel_type **ret, struct error *err)
{
    if (depth > NEST_MAX || ++env->n_types > TYPES_MAX)
        return error_set(err, REASON_BAD_REQUEST,
                         "schema is too deep or too large for expressions");
    *ret = cel_type_of(CEL_DYN);
    if (!json_is(schema, JSON_OBJ) || mark(schema, "x-kubernetes-int-or-string"))
        return 0;
    struct str type = json_get_str(schema, STR("type"));
    const struct json *props = json_getz(schema, "properties"),
                      *more = json_getz(schema, "additionalProperties");
    resource |= mark(schema, "x-kubernetes-embedded-resource");
    if (str_is(type, "string"))
        *ret = build_string(env, schema);
    else if (str_is(type, "boolean"))
        *ret = cel_type_of(CEL_BOOL);
    else if (str_is(type, "integer"))
        *ret = cel_type_of(CEL_INT);
    else if (str_is(type, "number"))
        *ret = cel_type_of(CEL_DOUBLE);
    else if (str_is(type, "array"))
        return build_list(env, schema, depth, ret, err);
    else if (str_is(type, "object") && json_is(more, JSON_OBJ) && !(props && props->n))
        return build_map(env, schema, more, depth, ret, err);
    else if (str_is(type, "object") && (json_is(props, JSON_OBJ) || resource))
        return build_object(env, schema, depth, resource, ret, err);
    return 0; /* x-kubernetes-preserve-unknown-fields and the like: dyn */
}

int cel_type_of_openapi(struct cel_env *env, const struct json *schema, const struct cel_type **ret,
                        struct error *err)
{
    /* A root with kind and apiVersion is a whole resource. */
    const struct json *props = json_getz(schema, "properties");
    bool resource =
        json_is(props, JSON_OBJ) && json_getz(props, "apiVersion") && json_getz(props, "kind");
    return build(env, schema, 0, resource, ret, err);
}
