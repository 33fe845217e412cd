/* Printing a struct as JSON, straight from memory: no tree, no second pass. What is left out and
 * what is printed empty follows Go's encoding/json over the types of Kubernetes, since clients
 * compare: plain structs are always there ("status":{}), nil lists of fields without omitempty are
 * null, the zero time is null, maps come sorted (they are kept so). */
#include "codec/base64.h"
#include "codec/out.h"
#include "schema/fields.h"
#include "schema/internal.h"

static void encode_msg(const struct schema_desc *desc, const void *msg, bool type_meta,
                       struct buf *b);

#define put         out_add
#define PUT(b, lit) OUT_LIT(b, lit)

static void put_quantity(const struct quantity *q, struct buf *b)
{
    char t[QUANTITY_TEXT_MAX + 2];
    size_t n = quantity_format(q, t + 1);
    t[0] = t[n + 1] = '"';
    put(b, t, n + 2);
}

static void put_time(const struct timestamp *v, bool micro, struct buf *b)
{
    char t[TIMESTAMP_TEXT_MAX + 2];
    if (!v->set) {
        PUT(b, "null");
        return;
    }
    size_t n = timestamp_format(*v, micro, t + 1);
    t[0] = t[n + 1] = '"';
    put(b, t, n + 2);
}

static void put_int(int64_t v, struct buf *b)
{
    char tmp[24], *p = tmp + sizeof tmp;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        *--p = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        *--p = '-';
    put(b, p, (size_t)(tmp + sizeof tmp - p));
}

static void encode_value(const struct schema_field *f, const void *p, struct buf *b)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_STRING:
        json_print_str(*(const struct str *)p, b);
        return;
    case SCHEMA_MSG:
        encode_msg(f->msg, p, false, b);
        return;
    case SCHEMA_BOOL:
        if (*(const bool *)p)
            PUT(b, "true");
        else
            PUT(b, "false");
        return;
    case SCHEMA_INT32:
        put_int(*(const int32_t *)p, b);
        return;
    case SCHEMA_INT64:
        put_int(*(const int64_t *)p, b);
        return;
    case SCHEMA_DOUBLE:
        json_print_double(*(const double *)p, b);
        return;
    case SCHEMA_BYTES:
        PUT(b, "\"");
        base64_print(*(const struct str *)p, b);
        PUT(b, "\"");
        return;
    case SCHEMA_QUANTITY:
        put_quantity(p, b);
        return;
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        put_time(p, f->type == SCHEMA_MICRO_TIME, b);
        return;
    case SCHEMA_DURATION: {
        char t[DURATION_TEXT_MAX];
        size_t n = duration_format(((const struct duration *)p)->nsec, t);
        json_print_str((struct str){t, n}, b);
        return;
    }
    case SCHEMA_INT_OR_STR: {
        const struct int_or_str *v = p;
        if (v->type == INT_OR_STR_STR)
            json_print_str(v->s, b);
        else
            put_int(v->type == INT_OR_STR_INT ? v->i : 0, b);
        return;
    }
    case SCHEMA_RAW: {
        struct str s = *(const struct str *)p;
        if (UNLIKELY(fields_is_packed(s)))
            fields_print(s, b);
        else if (s.n)
            put(b, s.p, s.n);
        else
            PUT(b, "null");
        return;
    }
    case _SCHEMA_TYPE_MAX:
        break;
    }
    ASSERT(!"unknown type");
}

static void encode_list(const struct schema_field *f, const void *msg, struct buf *b)
{
    const char *p = schema_elems(f, msg);
    if (!p) {
        PUT(b, "null");
        return;
    }
    PUT(b, "[");
    for (uint32_t n = schema_count(f, msg), i = 0; i < n; i++, p += f->elem_size) {
        if (i)
            PUT(b, ",");
        encode_value(f, p, b);
    }
    PUT(b, "]");
}

static void encode_map(const struct schema_field *f, const void *msg, struct buf *b)
{
    const char *p = schema_elems(f, msg);
    if (!p) {
        PUT(b, "null");
        return;
    }
    PUT(b, "{");
    for (uint32_t n = schema_count(f, msg), i = 0; i < n; i++, p += f->elem_size) {
        if (i)
            PUT(b, ",");
        json_print_str(*(const struct str *)(const void *)p, b);
        PUT(b, ":");
        encode_value(f, p + SCHEMA_MAP_VALUE, b);
    }
    PUT(b, "}");
}

static void encode_field(const struct schema_field *f, const void *msg, struct buf *b)
{
    if (f->flags & SCHEMA_LIST) {
        encode_list(f, msg, b);
    } else if (f->flags & SCHEMA_MAP) {
        encode_map(f, msg, b);
    } else if (f->flags & SCHEMA_POINTER) {
        if (schema_field_absent(f, msg))
            PUT(b, "null");
        else
            encode_value(f, f->type == SCHEMA_MSG ? schema_sub(f, msg) : schema_at(f, msg), b);
    } else if (f->type == SCHEMA_BYTES && !((struct str *)schema_at(f, msg))->p) {
        PUT(b, "null");
    } else {
        encode_value(f, schema_at(f, msg), b);
    }
}

/* The members of a raw object among those of the message. */
static void put_rest(struct str rest, char *sep, struct buf *b)
{
    if (rest.n <= 2) /* {} */
        return;
    put(b, sep, 1);
    put(b, rest.p + 1, rest.n - 2);
    *sep = ',';
}

static void encode_msg(const struct schema_desc *desc, const void *msg, bool type_meta,
                       struct buf *b)
{
    char sep = '{';
    if (desc->flags & SCHEMA_DESC_AS_LIST) {
        encode_list(desc->fields, msg, b);
        return;
    }
    if (type_meta && (desc->flags & SCHEMA_DESC_KIND)) {
        PUT(b, "{\"kind\":\"");
        put(b, desc->name, strlen(desc->name));
        PUT(b, "\",\"apiVersion\":\"");
        put(b, desc->api_version, strlen(desc->api_version));
        PUT(b, "\"");
        sep = ',';
    }
    for (const struct schema_field *f = desc->json, *end = f + desc->n_json; f < end; f++) {
        if (!schema_field_shown(f, msg))
            continue;
        if (f->flags & SCHEMA_REST) {
            put_rest(*(const struct str *)schema_at(f, msg), &sep, b);
            continue;
        }
        size_t n = f->name_len;
        char *o = out_room(b, n + 4);
        if (!o)
            return;
        o[0] = sep;
        o[1] = '"';
        memcpy(o + 2, f->name, n);
        o[n + 2] = '"';
        o[n + 3] = ':';
        b->n += n + 4;
        sep = ',';
        encode_field(f, msg, b);
    }
    if (sep == '{')
        PUT(b, "{");
    PUT(b, "}");
}

void schema_encode_json(const struct schema_desc *desc, const void *msg, unsigned flags,
                        struct buf *b)
{
    encode_msg(desc, msg, flags & SCHEMA_ENCODE_TYPE_META, b);
}

void schema_field_print(const struct schema_field *f, const void *msg, struct buf *b)
{
    encode_field(f, msg, b);
}

void schema_value_print(const struct schema_field *f, const void *p, struct buf *b)
{
    encode_value(f, p, b);
}
