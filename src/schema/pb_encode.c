/* Printing a struct as a protobuf message. Plain fields at their zero are left out: readers, Go's
 * included, fill in the same. The envelope around a message is how a Kubernetes server says which
 * message it is:
 *
 *   "k8s\0"  Unknown{ 1: TypeMeta{ 1: apiVersion, 2: kind }, 2: raw, 3: contentEncoding, 4:
 * contentType }
 */
#include "codec/pb.h"
#include "schema/fields.h"
#include "schema/internal.h"

/* Packed sets of fields stay as they are in what the store keeps; everybody else gets JSON. */
static void encode_msg(const struct schema_desc *desc, const void *msg, bool packed, struct buf *b);

static void put_time(uint32_t number, const struct timestamp *t, struct buf *b)
{
    int64_t sec = t->usec / 1000000, us = t->usec % 1000000;
    if (us < 0) {
        us += 1000000;
        sec--;
    }
    /* What we write we must be able to read again, here as in the text form. */
    sec = CLAMP(sec, TIMESTAMP_SECONDS_MIN, TIMESTAMP_SECONDS_MAX);
    size_t m = pb_begin(b, number);
    if (t->set) {
        /* Zeros too: an empty message is the zero time of Go, not 1970. */
        pb_put_uint(b, 1, (uint64_t)sec);
        pb_put_uint(b, 2, (uint64_t)us * 1000);
    }
    pb_end(b, m);
}

static void put_quantity(uint32_t number, const struct quantity *q, struct buf *b)
{
    char t[QUANTITY_TEXT_MAX];
    size_t n = quantity_format(q, t), m = pb_begin(b, number);
    pb_put_bytes(b, 1, (struct str){t, n});
    pb_end(b, m);
}

static void put_int_or_str(uint32_t number, const struct int_or_str *v, struct buf *b)
{
    size_t m = pb_begin(b, number);
    pb_put_uint(b, 1, v->type == INT_OR_STR_STR);
    pb_put_uint(b, 2, (uint64_t)(int64_t)v->i);
    pb_put_bytes(b, 3, v->s);
    pb_end(b, m);
}

static void put_raw(struct str s, bool packed, struct buf *b)
{
    struct buf text = {0};
    if (packed || !fields_is_packed(s)) {
        pb_put_bytes(b, 1, s);
        return;
    }
    fields_print(s, &text);
    pb_put_bytes(b, 1, buf_str(&text));
    buf_fini(&text);
}

/* One value, whatever it is, under the given number. */
static void encode_value(const struct schema_field *f, uint32_t number, const void *p, bool packed,
                         struct buf *b)
{
    size_t m;
    switch ((enum schema_type)f->type) {
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        pb_put_bytes(b, number, *(const struct str *)p);
        return;
    case SCHEMA_MSG:
        m = pb_begin(b, number);
        encode_msg(f->msg, p, packed, b);
        pb_end(b, m);
        return;
    case SCHEMA_BOOL:
        pb_put_uint(b, number, *(const bool *)p);
        return;
    case SCHEMA_INT32:
        pb_put_uint(b, number, (uint64_t)(int64_t) * (const int32_t *)p);
        return;
    case SCHEMA_INT64:
        pb_put_uint(b, number, (uint64_t) * (const int64_t *)p);
        return;
    case SCHEMA_DOUBLE:
        pb_put_double(b, number, *(const double *)p);
        return;
    case SCHEMA_QUANTITY:
        put_quantity(number, p, b);
        return;
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        put_time(number, p, b);
        return;
    case SCHEMA_DURATION:
        m = pb_begin(b, number);
        pb_put_uint(b, 1, (uint64_t)((const struct duration *)p)->nsec);
        pb_end(b, m);
        return;
    case SCHEMA_INT_OR_STR:
        put_int_or_str(number, p, b);
        return;
    case SCHEMA_RAW:
        if (f->msg && !packed) { /* the store keeps the text */
            schema_pb_put_shape(f, number, *(const struct str *)p, b);
            return;
        }
        m = pb_begin(b, number);
        put_raw(*(const struct str *)p, packed, b);
        pb_end(b, m);
        return;
    case _SCHEMA_TYPE_MAX:
        break;
    }
    ASSERT(!"unknown type");
}

static void encode_elems(const struct schema_field *f, const void *msg, bool packed, struct buf *b)
{
    const char *p = schema_elems(f, msg);
    bool map = f->flags & SCHEMA_MAP;
    for (uint32_t n = schema_count(f, msg); n; n--, p += f->elem_size) {
        if (!map) {
            encode_value(f, f->number, p, packed, b);
            continue;
        }
        size_t m = pb_begin(b, f->number);
        pb_put_bytes(b, 1, *(const struct str *)(const void *)p);
        encode_value(f, 2, p + SCHEMA_MAP_VALUE, packed, b);
        pb_end(b, m);
    }
}

static void encode_msg(const struct schema_desc *desc, const void *msg, bool packed, struct buf *b)
{
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
        if (f->flags & (SCHEMA_LIST | SCHEMA_MAP)) {
            encode_elems(f, msg, packed, b);
        } else if (f->type == SCHEMA_MSG && !(f->flags & SCHEMA_POINTER)) {
            /* Written first and taken back when empty: cheaper than looking twice. */
            size_t before = b->n, m = pb_begin(b, f->number);
            encode_msg(f->msg, schema_at(f, msg), packed, b);
            if (b->n == m && !b->overflow)
                b->n = before;
            else
                pb_end(b, m);
        } else if (!schema_field_absent(f, msg) ||
                   (f->type == SCHEMA_BYTES && ((struct str *)schema_at(f, msg))->p)) {
            encode_value(f, f->number,
                         f->type == SCHEMA_MSG ? schema_sub(f, msg) : schema_at(f, msg), packed, b);
        }
    }
}

void schema_encode_pb(const struct schema_desc *desc, const void *msg, struct buf *b)
{
    encode_msg(desc, msg, false, b);
}

void schema_encode_pb_stored(const struct schema_desc *desc, const void *msg, struct buf *b)
{
    encode_msg(desc, msg, true, b);
}

void schema_encode_pb_envelope(const struct schema_desc *desc, const void *msg, struct buf *b)
{
    buf_add(b, "k8s", 4);
    size_t m = pb_begin(b, 1);
    pb_put_bytes(b, 1, str_z(desc->api_version));
    pb_put_bytes(b, 2, str_z(desc->name));
    pb_end(b, m);
    m = pb_begin(b, 2);
    encode_msg(desc, msg, false, b);
    pb_end(b, m);
    pb_put_bytes(b, 3, STR(""));
    pb_put_bytes(b, 4, STR(""));
}
