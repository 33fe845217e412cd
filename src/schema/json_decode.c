/* Reading a JSON tree into a struct. Members are looked for where the last one left off first,
 * since clients print in a fixed order, and by hash else. Lists are sized before they are filled,
 * so they are contiguous at once; strings stay where the tree has them. Wrong types are worded like
 * Go's encoding/json, which is what clients of a Kubernetes server know. */
#include "base/set.h"
#include "schema/internal.h"
#include "codec/base64.h"

#include <stdio.h>

struct decoder {
    struct arena *a;
    struct schema_decode *opts;
    struct error *err;
};

static int decode_msg(struct decoder *d, const struct schema_desc *desc, const struct json *v,
                      void *msg, const struct schema_frame *at);

static int too_large(struct decoder *d)
{
    return error_set(d->err, REASON_TOO_LARGE, "the object is too large");
}

static void *take(struct decoder *d, size_t size)
{
    void *p = arena_try_alloc(d->a, size);
    if (p)
        memset(p, 0, size);
    return p;
}

static const char *go_type(const struct schema_field *f)
{
    static const char *const names[] = {"bool",
                                        "int32",
                                        "int64",
                                        "float64",
                                        "string",
                                        "[]uint8",
                                        "",
                                        "resource.Quantity",
                                        "v1.Time",
                                        "v1.MicroTime",
                                        "v1.Duration",
                                        "intstr.IntOrString",
                                        "runtime.RawExtension"};
    return f->type == SCHEMA_MSG ? f->msg->name : names[f->type];
}

static int wrong_type(struct decoder *d, const struct schema_desc *desc,
                      const struct schema_field *f, const struct json *v, const char *wanted,
                      const struct schema_frame *at)
{
    struct buf path = {0};
    schema_frame_print(at, true, &path);
    const char *what = json_type_name(v);
    char num[48] = "";
    if (v->type == JSON_INT)
        snprintf(num, sizeof num, " %lld", (long long)v->i);
    else if (v->type == JSON_REAL)
        snprintf(num, sizeof num, " %g", v->d);
    int r = error_set(d->err, REASON_BAD_REQUEST,
                      "json: cannot unmarshal %s%s into Go struct field %s.%.*s of type %s", what,
                      num, desc->name, STR_ARG(buf_str(&path)), wanted ? wanted : go_type(f));
    buf_fini(&path);
    return r;
}

static int wrong_value(struct decoder *d, const struct schema_frame *at, const char *fmt,
                       struct str value)
{
    struct buf path = {0};
    schema_frame_print(at, false, &path);
    int r = error_set(d->err, REASON_BAD_REQUEST, fmt, STR_ARG(value));
    error_prefix(d->err, "%.*s", STR_ARG(buf_str(&path)));
    buf_fini(&path);
    return r;
}

static void warn(struct decoder *d, const char *what, struct str name,
                 const struct schema_frame *up)
{
    struct buf path = {0};
    struct schema_frame at = {.up = up, .name = name};
    if (!d->opts || d->opts->unknown == SCHEMA_UNKNOWN_IGNORE)
        return;
    if (d->opts->n_warnings++ >= SCHEMA_WARNINGS_MAX)
        return;
    schema_frame_print(&at, false, &path);
    d->opts->warnings[d->opts->n_warnings - 1] =
        arena_printf(d->a, "%s field \"%.*s\"", what, STR_ARG(buf_str(&path)));
    buf_fini(&path);
}

static int decode_quantity(struct decoder *d, const struct schema_desc *desc,
                           const struct schema_field *f, const struct json *v, struct quantity *q,
                           const struct schema_frame *at)
{
    char num[40];
    struct str s = v->s;
    if (v->type == JSON_INT)
        s = (struct str){num, (size_t)snprintf(num, sizeof num, "%lld", (long long)v->i)};
    else if (v->type == JSON_REAL)
        s = (struct str){num, (size_t)snprintf(num, sizeof num, "%.15g", v->d)};
    else if (v->type != JSON_STR)
        return wrong_type(d, desc, f, v, NULL, at);
    if (quantity_parse(str_trim(s), q) < 0)
        return wrong_value(d, at,
                           "quantities must match the regular expression "
                           "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', not \"%.*s\"",
                           s);
    return 0;
}

static int decode_time(struct decoder *d, const struct schema_desc *desc,
                       const struct schema_field *f, const struct json *v, struct timestamp *t,
                       const struct schema_frame *at)
{
    if (v->type != JSON_STR)
        return wrong_type(d, desc, f, v, NULL, at);
    if (v->s.n == 0) /* Go: an empty text is the zero time */
        return 0;
    if (timestamp_parse(v->s, t) < 0)
        return wrong_value(
            d, at, "parsing time \"%.*s\" as \"2006-01-02T15:04:05Z07:00\": not such a time", v->s);
    if (f->type == SCHEMA_TIME)
        *t = timestamp_seconds(t->usec);
    return 0;
}

static int raw_text(struct decoder *d, struct buf *b, struct str *ret)
{
    char *p = arena_try_alloc(d->a, b->n + 1);
    if (p) {
        memcpy(p, b->data, b->n + 1);
        *ret = (struct str){p, b->n};
    }
    buf_fini(b);
    return p ? 0 : too_large(d);
}

static int decode_raw(struct decoder *d, const struct schema_desc *desc, const struct json *v,
                      struct str *ret)
{
    struct buf b = {0};
    if (desc->flags & SCHEMA_DESC_REST)
        json_print_sorted(v, &b);
    else
        json_print(v, &b);
    return raw_text(d, &b, ret);
}

/* Kept as text, but what it is described as says what may be in it. */
static int decode_shaped(struct decoder *d, const struct schema_field *f, const struct json *v,
                         struct str *ret, const struct schema_frame *at)
{
    struct buf b = {0};
    void *msg = take(d, f->msg->size);
    if (!msg)
        return too_large(d);
    int r = decode_msg(d, f->msg, v, msg, at);
    if (r < 0)
        return r;
    schema_encode_json(f->msg, msg, 0, &b);
    return raw_text(d, &b, ret);
}

static int decode_int(struct decoder *d, const struct schema_desc *desc,
                      const struct schema_field *f, const struct json *v, void *p,
                      const struct schema_frame *at)
{
    if (v->type != JSON_INT || (f->type == SCHEMA_INT32 && (v->i > INT32_MAX || v->i < INT32_MIN)))
        return wrong_type(d, desc, f, v, NULL, at);
    if (f->type == SCHEMA_INT32)
        *(int32_t *)p = (int32_t)v->i;
    else
        *(int64_t *)p = v->i;
    return 0;
}

static int decode_int_or_str(struct decoder *d, const struct schema_desc *desc,
                             const struct schema_field *f, const struct json *v,
                             struct int_or_str *x, const struct schema_frame *at)
{
    if (v->type == JSON_STR) {
        *x = int_or_str_str(v->s);
        return 0;
    }
    if (v->type != JSON_INT || v->i > INT32_MAX || v->i < INT32_MIN)
        return wrong_type(d, desc, f, v, NULL, at);
    *x = int_or_str_int((int32_t)v->i);
    return 0;
}

/* One value (an element, a map value, a plain field) at p. v is not null. */
static int decode_value(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, const struct json *v, void *p,
                        const struct schema_frame *at)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_STRING:
        if (v->type != JSON_STR)
            return wrong_type(d, desc, f, v, NULL, at);
        *(struct str *)p =
            f->rules->enum_ || f->rules->default_text ? schema_intern(f->rules, v->s) : v->s;
        return 0;
    case SCHEMA_MSG:
        return decode_msg(d, f->msg, v, p, at);
    case SCHEMA_BOOL:
        if (v->type != JSON_BOOL)
            return wrong_type(d, desc, f, v, NULL, at);
        *(bool *)p = v->b;
        return 0;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return decode_int(d, desc, f, v, p, at);
    case SCHEMA_DOUBLE:
        if (v->type != JSON_INT && v->type != JSON_REAL)
            return wrong_type(d, desc, f, v, NULL, at);
        *(double *)p = v->type == JSON_INT ? (double)v->i : v->d;
        return 0;
    case SCHEMA_BYTES:
        if (v->type != JSON_STR)
            return wrong_type(d, desc, f, v, NULL, at);
        if (base64_parse(v->s, d->a, p) < 0)
            return wrong_value(d, at, "illegal base64 data%.*s", STR(""));
        return 0;
    case SCHEMA_QUANTITY:
        return decode_quantity(d, desc, f, v, p, at);
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        return decode_time(d, desc, f, v, p, at);
    case SCHEMA_DURATION:
        if (v->type != JSON_STR)
            return wrong_type(d, desc, f, v, NULL, at);
        if (duration_parse(v->s, p) < 0)
            return wrong_value(d, at, "time: invalid duration \"%.*s\"", v->s);
        return 0;
    case SCHEMA_INT_OR_STR:
        return decode_int_or_str(d, desc, f, v, p, at);
    case SCHEMA_RAW:
        if (f->msg && v->type == JSON_OBJ)
            return decode_shaped(d, f, v, p, at);
        return decode_raw(d, desc, v, p);
    case _SCHEMA_TYPE_MAX:
        break;
    }
    return -EINVAL;
}

static int decode_list(struct decoder *d, const struct schema_desc *desc,
                       const struct schema_field *f, const struct json *v, void *msg,
                       const struct schema_frame *at)
{
    if (v->type != JSON_ARR)
        return wrong_type(d, desc, f, v, f->type == SCHEMA_MSG ? NULL : "[]string", at);
    char *p = SCHEMA_EMPTY;
    if (v->n && !(p = take(d, (size_t)v->n * f->elem_size)))
        return too_large(d);
    *(void **)schema_at(f, msg) = p;
    *(uint32_t *)((char *)msg + f->aux) = v->n;
    struct schema_frame el = {.up = at};
    for (const struct json *c = v->first; c; c = c->next, p += f->elem_size, el.index++) {
        int r = 0;
        if (c->type != JSON_NULL)
            r = decode_value(d, desc, f, c, p, &el);
        else if (f->type == SCHEMA_RAW)
            *(struct str *)p = STR("null");
        else if (schema_is_scalar_str(f))
            *(struct str *)p = (struct str){(const char *)&schema_empty, 0};
        if (r < 0)
            return r;
    }
    return 0;
}

/* The keys of a map that are there more than once, each time but the first. */
static void warn_of_twice(struct decoder *d, const struct json *v, const struct schema_frame *at)
{
    struct set seen = {0};
    json_for_each(child, v)
    {
        if (!set_add(&seen, child->key))
            warn(d, "duplicate", child->key, at);
    }
    set_fini(&seen);
}

static int decode_map(struct decoder *d, const struct schema_desc *desc,
                      const struct schema_field *f, const struct json *v, void *msg,
                      const struct schema_frame *at)
{
    bool duplicates = false;
    if (v->type != JSON_OBJ)
        return wrong_type(d, desc, f, v, "map", at);
    char *p = SCHEMA_EMPTY, *base;
    if (v->n && !(p = take(d, (size_t)v->n * f->elem_size)))
        return too_large(d);
    base = p;
    for (const struct json *c = v->first; c; c = c->next, p += f->elem_size) {
        struct schema_frame el = {.up = at, .name = c->key};
        *(struct str *)p = c->key;
        int r = 0;
        if (c->type != JSON_NULL)
            r = decode_value(d, desc, f, c, p + SCHEMA_MAP_VALUE, &el);
        else if (schema_is_scalar_str(f))
            *(struct str *)(p + SCHEMA_MAP_VALUE) = (struct str){(const char *)&schema_empty, 0};
        if (r < 0)
            return r;
    }
    *(void **)schema_at(f, msg) = base;
    *(uint32_t *)((char *)msg + f->aux) = schema_map_sort(base, v->n, f->elem_size, &duplicates);
    if (duplicates)
        warn_of_twice(d, v, at);
    return 0;
}

static int decode_field(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, const struct json *v, void *msg,
                        const struct schema_frame *at)
{
    if (f->flags & SCHEMA_LIST)
        return decode_list(d, desc, f, v, msg, at);
    if (f->flags & SCHEMA_MAP)
        return decode_map(d, desc, f, v, msg, at);
    void *p = schema_at(f, msg);
    if (f->flags & SCHEMA_POINTER) {
        if (f->type == SCHEMA_MSG) {
            void *sub = take(d, f->elem_size);
            if (!sub)
                return too_large(d);
            *(void **)p = sub;
            p = sub;
        } else if (f->type <= SCHEMA_DOUBLE) {
            *((bool *)msg + f->aux) = true;
        }
    }
    return decode_value(d, desc, f, v, p, at);
}

/* A member that came twice: the last one counts, so the first leaves no trace. */
static void reset_field(const struct schema_field *f, void *msg)
{
    bool pointer = (f->flags & SCHEMA_POINTER) && f->type == SCHEMA_MSG;
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        *(void **)schema_at(f, msg) = NULL;
        *(uint32_t *)((char *)msg + f->aux) = 0;
    } else if (pointer) {
        *(void **)schema_at(f, msg) = NULL;
    } else {
        memset(schema_at(f, msg), 0, f->elem_size);
        if ((f->flags & SCHEMA_POINTER) && f->type <= SCHEMA_DOUBLE)
            *((bool *)msg + f->aux) = false;
    }
}

static bool is_type_meta(const struct schema_desc *desc, struct str key)
{
    return (desc->flags & SCHEMA_DESC_KIND) && (str_is(key, "kind") || str_is(key, "apiVersion"));
}

/* Callers look at the values; here they must be text, and come once. */
static int check_type_meta(struct decoder *d, const struct schema_desc *desc, const struct json *v,
                           bool seen[2], const struct schema_frame *at)
{
    static const struct schema_field text = {.name = "", .type = SCHEMA_STRING};
    struct schema_frame el = {.up = at, .name = v->key};
    bool *this = &seen[str_is(v->key, "kind")];
    if (v->type != JSON_STR && v->type != JSON_NULL)
        return wrong_type(d, desc, &text, v, NULL, &el);
    if (*this)
        warn(d, "duplicate", v->key, at);
    *this = true;
    return 0;
}

static bool keep_rest(struct decoder *d, const struct json *member, struct json *rest)
{
    struct json *own = take(d, sizeof(*own)); /* the tree's own links stay as they are */
    if (!own)
        return false;
    *own = *member;
    own->next = NULL;
    json_push(rest, own); /* printing drops duplicates */
    return true;
}

/* The members no other field takes, as one object in canonical form: equal meaning, equal text. */
static int decode_rest(struct decoder *d, const struct schema_desc *desc, struct json *rest,
                       void *msg)
{
    const struct schema_field *f = desc->json;
    while (!(f->flags & SCHEMA_REST))
        f++;
    return rest->n ? decode_raw(d, desc, rest, schema_at(f, msg)) : 0;
}

static int decode_msg(struct decoder *d, const struct schema_desc *desc, const struct json *v,
                      void *msg, const struct schema_frame *at)
{
    uint64_t seen[4] = {0};
    bool type_meta[2] = {false};
    struct json rest = {.type = JSON_OBJ};
    const struct schema_field *next = desc->json, *end = desc->json + desc->n_json;

    if (desc->flags & SCHEMA_DESC_AS_LIST)
        return v->type == JSON_NULL ? 0 : decode_list(d, desc, desc->fields, v, msg, at);
    if (v->type != JSON_OBJ) {
        struct schema_field whole = {.name = "", .type = SCHEMA_MSG, .msg = desc};
        return wrong_type(d, desc, &whole, v, NULL, at);
    }
    for (const struct json *c = v->first; c; c = c->next) {
        const struct schema_field *f;
        if (next < end && next->name_len == c->key.n && c->key.n &&
            memcmp(next->name, c->key.p, c->key.n) == 0)
            f = next;
        else
            f = schema_field_find(desc, c->key.p, c->key.n);
        if (!f) {
            if (is_type_meta(desc, c->key)) {
                int r = check_type_meta(d, desc, c, type_meta, at);
                if (r < 0)
                    return r;
                continue;
            }
            if (!(desc->flags & SCHEMA_DESC_REST))
                warn(d, "unknown", c->key, at);
            else if (!keep_rest(d, c, &rest))
                return too_large(d);
            continue;
        }
        unsigned i = (unsigned)(f - desc->json);
        next = f + 1;
        if (seen[i >> 6] >> (i & 63) & 1) {
            warn(d, "duplicate", c->key, at);
            reset_field(f, msg);
        }
        seen[i >> 6] |= UINT64_C(1) << (i & 63);
        if (c->type == JSON_NULL)
            continue;
        struct schema_frame el = {.up = at, .name = {f->name, f->name_len}};
        int r = decode_field(d, desc, f, c, msg, &el);
        if (r < 0)
            return r;
    }
    return desc->flags & SCHEMA_DESC_REST ? decode_rest(d, desc, &rest, msg) : 0;
}

/* The error of a strict reader who was warned; else 0. */
static int strict(const struct schema_decode *opts, struct error *err)
{
    if (!opts || opts->unknown != SCHEMA_UNKNOWN_STRICT || opts->n_warnings == 0)
        return 0;
    struct buf b = {0};
    for (unsigned i = 0; i < MIN(opts->n_warnings, (unsigned)SCHEMA_WARNINGS_MAX); i++) {
        if (i)
            buf_add_lit(&b, ", ");
        buf_add_str(&b, opts->warnings[i]);
    }
    int r = error_set(err, REASON_BAD_REQUEST, "strict decoding error: %.*s", STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return r;
}

int schema_decode_json(const struct schema_desc *desc, const struct json *v, struct arena *a,
                       struct schema_decode *opts, void *msg, struct error *err)
{
    struct decoder d = {.a = a, .opts = opts, .err = err};
    if (opts && !(desc->flags & SCHEMA_DESC_REST)) /* there the schema has warned already */
        opts->n_warnings = 0;
    memset(msg, 0, desc->size);
    int r = decode_msg(&d, desc, v, msg, NULL);
    return r < 0 ? r : strict(opts, err);
}

int schema_decode_text(const struct schema_desc *desc, struct str text, struct arena *a,
                       struct schema_decode *opts, void *msg, struct error *err)
{
    struct json *v;
    int r = json_parse(text, a, NULL, &v, err);
    return r < 0 ? r : schema_decode_json(desc, v, a, opts, msg, err);
}
