/* Raw fields whose contents are described (schemas of custom resources), as a protobuf message. We
 * keep them as the JSON they came as; in protobuf they are messages, and where JSON knows a value
 * of two types (a schema or a list of them, a schema or true) a message of two fields. The tree is
 * walked along the description, so a schema costs what it is long, however deep it nests. */
#include "codec/pb.h"
#include "schema/internal.h"

enum pb_union schema_pb_union(const struct schema_field *f)
{
    static const struct {
        const char *name;
        enum pb_union how;
    } unions[] = {
        {"items", PB_OR_LIST},
        {"additionalItems", PB_OR_BOOL},
        {"additionalProperties", PB_OR_BOOL},
    };
    for (size_t i = 0; i < ARRAY_LEN(unions); i++)
        if (str_eq(str_z(f->name), str_z(unions[i].name)))
            return unions[i].how;
    return PB_ALONE;
}

static void put_tree(const struct schema_desc *desc, const struct json *v, struct buf *b);

static void put_message(const struct schema_desc *desc, uint32_t number, const struct json *v,
                        struct buf *b)
{
    size_t m = pb_begin(b, number);
    put_tree(desc, v, b);
    pb_end(b, m);
}

/* JSON that is not of the field's type is left out: no definition holds it. */
static void put_union(const struct schema_field *f, uint32_t number, const struct json *v,
                      struct buf *b)
{
    enum pb_union how = schema_pb_union(f);
    if (how == PB_ALONE) {
        put_message(f->msg, number, v, b);
        return;
    }
    size_t m = pb_begin(b, number);
    if (how == PB_OR_BOOL)
        pb_put_uint(b, PB_OR_BOOL_ALLOWS, v->type != JSON_BOOL || v->b);
    if (json_is(v, JSON_OBJ)) {
        put_message(f->msg, how == PB_OR_BOOL ? PB_OR_BOOL_SCHEMA : PB_OR_LIST_ONE, v, b);
    } else if (how == PB_OR_LIST && json_is(v, JSON_ARR)) {
        json_for_each(one, v) put_message(f->msg, PB_OR_LIST_MANY, one, b);
    }
    pb_end(b, m);
}

static void put_raw(uint32_t number, const struct json *v, struct buf *b)
{
    struct buf text = {0};
    json_print(v, &text);
    size_t m = pb_begin(b, number);
    pb_put_bytes(b, 1, buf_str(&text));
    pb_end(b, m);
    buf_fini(&text);
}

static void put_value(const struct schema_field *f, uint32_t number, const struct json *v,
                      struct buf *b)
{
    bool integer = v->type == JSON_INT, real = v->type == JSON_REAL;
    switch (f->type) {
    case SCHEMA_STRING:
        if (v->type == JSON_STR)
            pb_put_bytes(b, number, v->s);
        break;
    case SCHEMA_BOOL:
        if (v->type == JSON_BOOL)
            pb_put_uint(b, number, v->b);
        break;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        if (integer || real)
            pb_put_uint(b, number, (uint64_t)(integer ? v->i : (int64_t)v->d));
        break;
    case SCHEMA_DOUBLE:
        if (integer || real)
            pb_put_double(b, number, integer ? (double)v->i : v->d);
        break;
    case SCHEMA_MSG:
        put_message(f->msg, number, v, b);
        break;
    case SCHEMA_RAW:
        if (f->msg)
            put_union(f, number, v, b);
        else
            put_raw(number, v, b);
        break;
    default:
        ASSERT(!"schemas have no such fields");
    }
}

static void put_tree(const struct schema_desc *desc, const struct json *v, struct buf *b)
{
    for (const struct schema_field *f = desc->fields, *end = f + desc->n_fields; f < end; f++) {
        const struct json *m = json_get(v, str_z(f->name));
        if (!m || (m->type == JSON_NULL && (f->type != SCHEMA_RAW || f->msg)))
            continue;
        if (f->flags & SCHEMA_MAP) {
            if (m->type != JSON_OBJ)
                continue;
            json_for_each(entry, m)
            {
                size_t at = pb_begin(b, f->number);
                pb_put_bytes(b, 1, entry->key);
                put_value(f, 2, entry, b);
                pb_end(b, at);
            }
        } else if (f->flags & SCHEMA_LIST) {
            if (m->type != JSON_ARR)
                continue;
            json_for_each(one, m) put_value(f, f->number, one, b);
        } else {
            put_value(f, f->number, m, b);
        }
    }
}

void schema_pb_put_shape(const struct schema_field *f, uint32_t number, struct str text,
                         struct buf *b)
{
    struct arena a = {0};
    struct json *v;
    if (json_parse(text, &a, NULL, &v, NULL) >= 0)
        put_union(f, number, v, b);
    arena_fini(&a);
}
