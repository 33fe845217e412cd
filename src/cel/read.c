/* Looking into messages and JSON trees, one member at a time and without copying. Typed, a string
 * of JSON becomes what its format says; a message seen plainly is what its JSON would be, so that
 * expressions written for Kubernetes' untyped objects find what they expect. */
#include "codec/base64.h"
#include "cel/internal.h"
#include "schema/schema.h"

static struct cel_value read_string(struct cel_eval *c, struct str s, const struct cel_type *t)
{
    struct cel_value v;
    int64_t ns;
    switch (t ? t->kind : CEL_DYN) {
    case CEL_BYTES:
        if (base64_parse(s, c->a, &v.s) < 0)
            return cel_fail(c, "invalid base64 encoding");
        return cel_bytes(v.s);
    case CEL_TIMESTAMP:
        if (s.n == 10) { /* a date */
            char whole[24];
            memcpy(whole, s.p, 10);
            memcpy(whole + 10, "T00:00:00Z", 10);
            if (cel_parse_timestamp((struct str){whole, 20}, &v))
                return v;
        }
        return cel_parse_timestamp(s, &v) ? v : cel_fail(c, "invalid date or time");
    case CEL_DURATION:
        if (cel_parse_duration(s, &ns))
            return (struct cel_value){.type = CEL_DURATION, .i = ns};
        return cel_fail(c, "invalid duration");
    default:
        return cel_string(s);
    }
}

struct cel_value cel_read_json(struct cel_eval *c, const struct json *v, const struct cel_type *t)
{
    struct cel_value r = {.rep = REP_JSON, .n = 0};
    if (!v)
        return cel_null();
    switch ((enum json_type)v->type) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        return cel_bool(v->b);
    case JSON_INT:
        return t && t->kind == CEL_DOUBLE ? cel_double((double)v->i) : cel_int(v->i);
    case JSON_REAL:
        if (t && t->kind == CEL_INT && v->d >= -9.2e18 && v->d <= 9.2e18 &&
            v->d == (double)(int64_t)v->d)
            return cel_int((int64_t)v->d);
        return cel_double(v->d);
    case JSON_STR:
        return read_string(c, v->s, t);
    case JSON_ARR:
        r.type = CEL_LIST;
        r.n = v->n;
        r.p = v;
        r.aux = t && t->kind == CEL_LIST ? t : NULL;
        return r;
    case JSON_OBJ:
        r.type = t && t->kind == CEL_OBJECT ? CEL_OBJECT : CEL_MAP;
        r.n = v->n;
        r.p = v;
        r.aux = t && (t->kind == CEL_OBJECT || t->kind == CEL_MAP) ? t : NULL;
        return r;
    }
    return cel_null();
}

static struct cel_value read_time(struct cel_eval *c, const struct timestamp *t, bool micro,
                                  bool plain)
{
    if (!t->set)
        return cel_null();
    if (plain) {
        char text[TIMESTAMP_TEXT_MAX];
        return cel_text(c, (struct str){text, timestamp_format(*t, micro, text)});
    }
    int64_t sec = t->usec / 1000000, rest = t->usec % 1000000;
    if (rest < 0) {
        rest += 1000000;
        sec--;
    }
    return (struct cel_value){
        .type = CEL_TIMESTAMP, .i = sec, .n = micro ? (uint32_t)rest * 1000 : 0};
}

static struct cel_value read_raw(struct cel_eval *c, struct str s)
{
    struct json *v = NULL;
    if (!s.n)
        return cel_null();
    if (!cel_work(c, s.n) || c->a->used_bytes + s.n * 24 > c->memory_max)
        return cel_no_memory();
    if (json_parse(s, c->a, NULL, &v, NULL) < 0)
        return cel_fail(c, "invalid JSON");
    return cel_read_json(c, v, NULL);
}

static struct cel_value read_bytes(struct cel_eval *c, struct str s, bool plain)
{
    struct buf b = {0};
    if (!plain)
        return cel_bytes(s);
    base64_print(s, &b);
    return cel_take_buf(c, &b);
}

struct cel_value cel_read_field(struct cel_eval *c, const struct schema_field *f, const void *p,
                                bool plain)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        return cel_bool(*(const bool *)p);
    case SCHEMA_INT32:
        return cel_int(*(const int32_t *)p);
    case SCHEMA_INT64:
        return cel_int(*(const int64_t *)p);
    case SCHEMA_DOUBLE:
        return cel_double(*(const double *)p);
    case SCHEMA_STRING:
        return cel_string(*(const struct str *)p);
    case SCHEMA_BYTES:
        return read_bytes(c, *(const struct str *)p, plain);
    case SCHEMA_MSG:
        return cel_msg(f->msg, p, !plain, false);
    case SCHEMA_QUANTITY: {
        char text[QUANTITY_TEXT_MAX];
        return cel_text(c, (struct str){text, quantity_format(p, text)});
    }
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        return read_time(c, p, f->type == SCHEMA_MICRO_TIME, plain);
    case SCHEMA_DURATION: {
        char text[DURATION_TEXT_MAX];
        int64_t ns = ((const struct duration *)p)->nsec;
        if (plain)
            return cel_text(c, (struct str){text, duration_format(ns, text)});
        return (struct cel_value){.type = CEL_DURATION, .i = ns};
    }
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *v = p;
        return v->type == INT_OR_STR_STR ? cel_string(v->s)
                                         : cel_int(v->type == INT_OR_STR_INT ? v->i : 0);
    }
    case SCHEMA_RAW:
        return read_raw(c, *(const struct str *)p);
    case _SCHEMA_TYPE_MAX:
        break;
    }
    ASSERT(!"unknown type");
}

/* Whether JSON would have the member: what has() asks for (compare src/schema/json_encode.c). */
static bool shown(const struct schema_field *f, const void *msg)
{
    if (f->flags & SCHEMA_ALWAYS)
        return true;
    if (!schema_probe_zero(f, msg))
        return f->probe_size || !(f->flags & SCHEMA_OMITZERO) || !schema_field_absent(f, msg);
    return f->type >= SCHEMA_QUANTITY &&
           !(f->flags & (SCHEMA_LIST | SCHEMA_MAP | SCHEMA_POINTER | SCHEMA_OMITZERO));
}

static struct cel_value field_value(struct cel_eval *c, const struct schema_field *f,
                                    const void *msg, bool plain)
{
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
        struct cel_value v = {.type = f->flags & SCHEMA_LIST ? CEL_LIST : CEL_MAP,
                              .rep = REP_FIELD,
                              .flags = plain ? VALUE_PLAIN : 0,
                              .n = schema_count(f, msg),
                              .p = schema_elems(f, msg),
                              .aux = f};
        return v.p ? v : cel_null();
    }
    if (f->flags & SCHEMA_POINTER) {
        if (schema_field_absent(f, msg))
            return cel_null();
        return cel_read_field(c, f, f->type == SCHEMA_MSG ? schema_sub(f, msg) : schema_at(f, msg),
                              plain);
    }
    return cel_read_field(c, f, schema_at(f, msg), plain);
}

static int msg_get(struct cel_eval *c, const struct cel_value *obj, struct str name,
                   struct cel_value *ret)
{
    const struct schema_desc *d = obj->aux;
    if (obj->flags & VALUE_META && (d->flags & SCHEMA_DESC_KIND)) {
        if (str_is(name, "kind"))
            return *ret = cel_string(str_z(d->name)), 1;
        if (str_is(name, "apiVersion"))
            return *ret = cel_string(str_z(d->api_version)), 1;
    }
    const struct schema_field *f = schema_field_find(d, name.p, name.n);
    if (!f || !shown(f, obj->p))
        return 0;
    *ret = field_value(c, f, obj->p, obj->flags & VALUE_PLAIN);
    return 1;
}

int cel_member_get(struct cel_eval *c, const struct cel_value *obj, struct str name,
                   const struct cel_type *hint, struct cel_value *ret)
{
    if (obj->rep == REP_MSG)
        return msg_get(c, obj, name, ret);
    if (obj->rep == REP_HOST) {
        const struct cel_host *h = obj->aux;
        return h->get((void *)(uintptr_t)obj->p, c, name, ret);
    }
    if (obj->rep == REP_JSON) {
        const struct json *v = cel_json_get(c, obj->p, name);
        const struct cel_type *t = obj->aux;
        if (!v)
            return 0;
        if (t && t->kind == CEL_MAP)
            hint = t->elem;
        else if (!hint && t && t->provider && t->provider->known)
            hint = t->provider->known(t, name);
        *ret = cel_read_json(c, v, hint);
        return 1;
    }
    struct cel_value key = cel_string(name);
    return cel_map_get(c, obj, &key, ret);
}

bool cel_member_has(struct cel_eval *c, const struct cel_value *obj, struct str name)
{
    struct cel_value ignored;
    if (obj->rep == REP_JSON)
        return cel_json_get(c, obj->p, name);
    return cel_member_get(c, obj, name, NULL, &ignored) > 0;
}

/* The members of a message that JSON would have, by index; for walking. */
uint32_t cel_msg_next(const struct cel_value *obj, uint32_t i)
{
    const struct schema_desc *d = obj->aux;
    while (i < d->n_json && !shown(&d->json[i], obj->p))
        i++;
    return i;
}
struct cel_value cel_msg_at(struct cel_eval *c, const struct cel_value *obj, uint32_t i)
{
    const struct schema_desc *d = obj->aux;
    return field_value(c, &d->json[i], obj->p, obj->flags & VALUE_PLAIN);
}
