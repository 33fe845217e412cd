/* What mutating policies make: Object{spec: Object.spec{...}} and JSONPatch{op: ..., path: ...}.
 * The types are Kubernetes': nothing is known of the object, so Object.a.b is a type for any a and
 * b, whose members may be called anything and be of any type; JSONPatch has four members. Whether a
 * value stands where its type says, and is JSON at all, is seen when it has been made. */
#include "cel/internal.h"

#include "codec/base64.h"

/* ---- types ---- */

static const struct cel_type *any_field(const struct cel_type *t, struct str name,
                                        struct str *ret_name)
{
    *ret_name = name;
    return cel_type_of(CEL_DYN);
}

static const struct cel_type *step_field(const struct cel_type *t, struct str name,
                                         struct str *ret_name)
{
    *ret_name = name;
    if (str_is(name, "op") || str_is(name, "path") || str_is(name, "from"))
        return cel_type_of(CEL_STRING);
    return str_is(name, "value") ? cel_type_of(CEL_DYN) : NULL;
}

static const struct cel_provider OBJECT = {any_field, NULL}, STEP = {step_field, NULL};

/* One type for one name in an environment: types are compared by what they are made of. */
struct cel_message_type {
    struct cel_message_type *next;
    struct cel_type type;
};

const struct cel_type *cel_type_message(struct cel_env *env, struct str name)
{
    bool step = str_is(name, "JSONPatch");
    if (!(env->flags & CEL_ENV_MUTATION) ||
        !(step || str_is(name, "Object") || str_starts(name, STR("Object."))))
        return NULL;
    for (struct cel_message_type *m = env->messages; m; m = m->next)
        if (str_eqz(name, m->type.name))
            return &m->type;
    struct cel_message_type *m = ARENA_NEW(&env->arena, struct cel_message_type);
    m->type = *cel_type_of(CEL_OBJECT);
    m->type.name = arena_str(&env->arena, name).p;
    m->type.provider = step ? &STEP : &OBJECT;
    m->type.data = m;
    m->next = env->messages;
    env->messages = m;
    return &m->type;
}

/* ---- making one ---- */

struct cel_value cel_run_message(struct cel_eval *c, const struct node *n)
{
    cel_charge(c, 40);
    struct cel_map *m = cel_map_new(c);
    if (!m)
        return cel_no_memory();
    for (uint32_t i = 0; i < n->n; i += 2) {
        struct cel_value x = cel_run(c, n->kids[i + 1]);
        if (x.type == CEL_ERROR)
            return x;
        if (n->opt && n->opt[i]) {
            if (x.type != CEL_OPTIONAL)
                return cel_no_overload();
            if (!x.p)
                continue;
            x = *(const struct cel_value *)x.p;
        }
        int r = cel_map_put(c, m, &n->kids[i]->value, &x);
        if (r == -EEXIST)
            return cel_fail(c, "Failed with repeated key");
        if (r < 0)
            return cel_no_memory();
    }
    struct cel_value v = cel_map_value(m);
    v.type = CEL_OBJECT;
    v.aux = n->type;
    return v;
}

/* The name of the type a value was made with; absent: it was not. */
static struct str made_as(const struct cel_value *v)
{
    if (v->type != CEL_OBJECT || v->rep != REP_ARRAY)
        return STR_NONE;
    return str_z(((const struct cel_type *)v->aux)->name);
}

/* ---- to JSON ---- */

struct out {
    struct cel_eval c;
    struct arena *a;
    struct error *err;
    size_t bytes; /* so far, as text */
};

static struct json *convert(struct out *o, const struct cel_value *v, unsigned depth,
                            struct str name);

static struct json *refuse(struct out *o, const char *why)
{
    (void)error_set(o->err, REASON_BAD_REQUEST, "%s", why);
    return NULL;
}

static struct json *text(struct out *o, void (*print)(const struct cel_value *, struct buf *),
                         const struct cel_value *v)
{
    struct buf b = {0};
    print(v, &b);
    struct json *s = json_new_str(o->a, arena_str(o->a, buf_str(&b)));
    buf_fini(&b);
    return s;
}

static void print_bytes(const struct cel_value *v, struct buf *b)
{
    base64_print(v->s, b);
}
static void print_span(const struct cel_value *v, struct buf *b)
{
    cel_print_duration(v->i, b);
}

static struct json *convert_list(struct out *o, const struct cel_value *v, unsigned depth,
                                 struct str name)
{
    struct json *list = json_new_arr(o->a);
    struct cel_iter it;
    struct cel_value key, x;
    cel_iter_init(&it, &o->c, v);
    while (cel_iter_next(&it, &key, &x)) {
        struct json *e = convert(o, &x, depth + 1, name);
        if (!e)
            return NULL;
        json_push(list, e);
    }
    return list;
}

static struct json *convert_map(struct out *o, const struct cel_value *v, unsigned depth,
                                struct str name)
{
    struct json *obj = json_new_obj(o->a);
    struct str is = made_as(v);
    struct cel_iter it;
    struct cel_value key, x;
    cel_iter_init(&it, &o->c, v);
    while (cel_iter_next(&it, &key, &x)) {
        if (key.type != CEL_STRING)
            return refuse(o, "a key of a map is not a string");
        struct str below = name;
        if (str_is(is, "JSONPatch")) /* its value is the root of what it is */
            below = STR_NONE;
        else if (is.p)
            below = arena_printf(o->a, "%.*s.%.*s", STR_ARG(name), STR_ARG(key.s));
        struct json *e = convert(o, &x, depth + 1, below);
        if (!e)
            return NULL;
        o->bytes += key.s.n;
        e->key = key.s; /* keys are unique: no need to look for one */
        e->next = NULL;
        if (obj->last)
            obj->last->next = e;
        else
            obj->first = e;
        obj->last = e;
        obj->n++;
    }
    return obj;
}

/* name: what the type of a message must be here; absent: anything may stand here. */
static struct json *convert(struct out *o, const struct cel_value *v, unsigned depth,
                            struct str name)
{
    struct str is = made_as(v);
    o->bytes += 8 + (v->type == CEL_STRING || v->type == CEL_BYTES ? v->s.n : 0);
    if (o->bytes > CEL_JSON_MAX || depth > JSON_DEPTH_MAX / 2)
        return refuse(o, "the result is too large");
    if (!name.p)
        name = is;
    if (is.p && !str_eq(is, name)) {
        (void)error_set(o->err, REASON_BAD_REQUEST,
                        "type mismatch: unexpected type name \"%.*s\", expected \"%.*s\", which "
                        "matches field name path from root Object type",
                        STR_ARG(is), STR_ARG(name));
        return NULL;
    }
    switch (v->type) {
    case CEL_NULL:
        return json_new_null(o->a);
    case CEL_BOOL:
        return json_new_bool(o->a, v->b);
    case CEL_INT:
        return json_new_int(o->a, v->i);
    case CEL_UINT:
        return v->u <= INT64_MAX ? json_new_int(o->a, (int64_t)v->u)
                                 : json_new_real(o->a, (double)v->u);
    case CEL_DOUBLE:
        return json_new_real(o->a, v->d);
    case CEL_STRING:
        return json_new_str(o->a, v->s);
    case CEL_BYTES:
        return text(o, print_bytes, v);
    case CEL_TIMESTAMP:
        return text(o, cel_print_timestamp, v);
    case CEL_DURATION:
        return text(o, print_span, v);
    case CEL_LIST:
        return convert_list(o, v, depth, name);
    case CEL_MAP:
    case CEL_OBJECT:
        return convert_map(o, v, depth, name);
    default:
        break;
    }
    return refuse(o, "a value has no form in JSON");
}

int cel_to_json(const struct cel_value *v, struct arena *a, struct json **ret, struct error *err)
{
    struct out o = {.c = {.a = a, .work_max = CEL_WORK_MAX, .memory_max = SIZE_MAX}, a, err};
    struct json *j = convert(&o, v, 0, STR_NONE);
    if (j && o.c.stop)
        j = refuse(&o, o.c.stop);
    if (!j)
        return -EINVAL;
    *ret = j;
    return 0;
}
