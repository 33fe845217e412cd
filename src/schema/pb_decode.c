/* Reading a protobuf message into a struct. Elements of a list may lie anywhere in a message, so
 * each message that has lists is walked twice: once to count, which skips over contents, once to
 * fill. Unknown fields are skipped, as protobuf wants; a field of the wrong wire type is an error.
 */
#include "codec/pb.h"
#include "schema/fields.h"
#include "schema/internal.h"

#define PB_DEPTH_MAX                                                                               \
    100 /* no type nests deeper; a guard for types that will be built at run time */

#define SHAPE_BYTES_MAX                                                                            \
    ((size_t)64 << 20) /* for the structs and texts of one described field: 50,000 schemas have 40 \
                          MB */

struct decoder {
    struct arena *a;
    struct error *err;
    bool packed;   /* sets of fields may be, and described fields are text */
    bool in_shape; /* a is the memory of the described field around */
};

static int decode_msg(struct decoder *d, const struct schema_desc *desc, struct str bytes,
                      void *msg, unsigned depth);

static int fail(struct decoder *d, const struct schema_desc *desc, const struct schema_field *f,
                const char *what)
{
    return error_set(d->err, REASON_BAD_REQUEST, "invalid protobuf of %s%s%s: %s", desc->name,
                     f ? "." : "", f ? f->name : "", what);
}

static void *take(struct decoder *d, size_t size)
{
    void *p = arena_try_alloc(d->a, size);
    if (p)
        memset(p, 0, size);
    else
        (void)error_set(d->err, REASON_TOO_LARGE, "the object is too large");
    return p;
}

/* What a field arrived as: a number, or bytes. */
struct wire {
    enum pb_wire type;
    uint64_t value;
    struct str bytes;
};

/* The small messages of times, durations, quantities and the like: which of the numbers 1 and 2 and
 * the texts 1 and 3 they have. */
static int read_small(struct str bytes, enum schema_type type, uint64_t num[3], struct str text[4])
{
    static const struct {
        uint8_t nums, texts; /* bits by field number */
    } shapes[_SCHEMA_TYPE_MAX] = {
        [SCHEMA_QUANTITY] = {0, 1 << 1},
        [SCHEMA_TIME] = {1 << 1 | 1 << 2, 0},
        [SCHEMA_MICRO_TIME] = {1 << 1 | 1 << 2, 0},
        [SCHEMA_DURATION] = {1 << 1, 0},
        [SCHEMA_INT_OR_STR] = {1 << 1 | 1 << 2, 1 << 3},
        [SCHEMA_RAW] = {0, 1 << 1},
    };
    struct pb_reader r = pb_reader(bytes);
    uint32_t n;
    enum pb_wire w;
    uint64_t v = 0;
    struct str s = STR_NONE;
    int rc;
    while ((rc = pb_next(&r, &n, &w, &v, &s)) > 0) {
        bool number = n < 8 && shapes[type].nums & 1 << n;
        bool words = n < 8 && shapes[type].texts & 1 << n;
        if ((number && w != PB_VARINT) || (words && w != PB_LEN))
            return -EPROTOTYPE;
        if (number)
            num[n] = v;
        if (words)
            text[n] = s;
    }
    return rc;
}

static int decode_time(const struct schema_field *f, const uint64_t num[3], struct timestamp *t)
{
    int64_t sec = (int64_t)num[1], nanos = (int64_t)num[2];
    if (sec > TIMESTAMP_SECONDS_MAX || sec < TIMESTAMP_SECONDS_MIN || nanos < 0 ||
        nanos > 999999999)
        return -EINVAL;
    *t = (struct timestamp){.usec = sec * 1000000 + nanos / 1000, .set = true};
    /* Go's zero time, and seconds only where the text form has no more. */
    if (sec == TIMESTAMP_SECONDS_MIN && nanos == 0)
        *t = (struct timestamp){0};
    if (f->type == SCHEMA_TIME && t->set)
        *t = timestamp_seconds(t->usec);
    return 0;
}

static int decode_builtin(struct decoder *d, const struct schema_desc *desc,
                          const struct schema_field *f, struct str bytes, void *p)
{
    uint64_t num[3] = {0};
    struct str text[4] = {{0}};
    int r = read_small(bytes, f->type, num, text);
    if (r < 0)
        return fail(d, desc, f, r == -EPROTOTYPE ? "wrong wire type" : "cut short");
    switch (f->type) {
    case SCHEMA_QUANTITY:
        if (text[1].n && quantity_parse(text[1], p) < 0)
            return fail(d, desc, f, "not a quantity");
        if (!text[1].n)
            *(struct quantity *)p = (struct quantity){.set = true};
        return 0;
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        return bytes.n == 0 ? 0 : decode_time(f, num, p) < 0 ? fail(d, desc, f, "not a time") : 0;
    case SCHEMA_DURATION:
        *(struct duration *)p = (struct duration){.nsec = (int64_t)num[1], .set = true};
        return 0;
    case SCHEMA_INT_OR_STR:
        if (num[1] > 1 || (text[3].n && !str_utf8_valid(text[3])))
            return fail(d, desc, f, "neither number nor text");
        *(struct int_or_str *)p = num[1] ? int_or_str_str(text[3].p ? text[3] : STR(""))
                                         : int_or_str_int((int32_t)num[2]);
        return 0;
    case SCHEMA_RAW:
        if (text[1].n && !(d->packed && fields_valid(text[1])) && !json_valid(text[1]))
            return fail(d, desc, f, "not valid JSON");
        *(struct str *)p = text[1].n ? text[1] : STR_NONE;
        return 0;
    }
    return -EINVAL;
}

/* ---- described raw fields: messages that become the text we keep ---- */

static int shape_message(struct decoder *d, const struct schema_field *f, struct str bytes,
                         unsigned depth, struct buf *text)
{
    void *msg = take(d, f->msg->size);
    if (!msg)
        return -EFBIG;
    int r = decode_msg(d, f->msg, bytes, msg, depth + 1);
    if (r >= 0)
        schema_encode_json(f->msg, msg, 0, text);
    return r;
}

/* An empty union is no value: nothing is added. */
static int shape_union(struct decoder *d, const struct schema_desc *desc,
                       const struct schema_field *f, struct str bytes, unsigned depth,
                       struct buf *text)
{
    enum pb_union how = schema_pb_union(f);
    struct pb_reader r = pb_reader(bytes);
    struct str one = STR_NONE, s = STR_NONE;
    uint64_t v, allows = 0;
    uint32_t n, many = 0;
    enum pb_wire w;
    int rc;
    if (how == PB_ALONE)
        return shape_message(d, f, bytes, depth, text);
    while ((rc = pb_next(&r, &n, &w, &v, &s)) > 0) {
        bool number = how == PB_OR_BOOL && n == PB_OR_BOOL_ALLOWS;
        if (n > 2)
            continue;
        if (w != (number ? PB_VARINT : PB_LEN))
            return fail(d, desc, f, "wrong wire type");
        if (number) {
            allows = v;
        } else if (how == PB_OR_LIST && n == PB_OR_LIST_MANY) {
            buf_add_char(text, many++ ? ',' : '[');
            rc = shape_message(d, f, s, depth, text);
            if (rc < 0)
                return rc;
        } else {
            one = s;
        }
    }
    if (rc < 0)
        return fail(d, desc, f, "cut short");
    if (one.p) {
        buf_clear(text);
        return shape_message(d, f, one, depth, text);
    }
    if (many)
        buf_add_char(text, ']');
    else if (how == PB_OR_BOOL)
        buf_add_str(text, allows ? STR("true") : STR("false"));
    return 0;
}

/* As json_print has it, so that it is the same text each time it comes and goes. */
static int shape_canonical(struct decoder *d, struct buf *text)
{
    struct buf out = {0};
    struct json *v;
    int r = json_parse(buf_str(text), d->a, NULL, &v, d->err);
    if (r >= 0)
        json_print(v, &out);
    buf_fini(text);
    *text = out;
    return r;
}

static int decode_shape(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, struct str bytes, struct str *ret,
                        unsigned depth)
{
    struct arena scratch;
    struct decoder in = *d;
    struct buf text = {0};
    bool outermost = !d->in_shape;
    if (outermost) {
        arena_init(&scratch, SHAPE_BYTES_MAX);
        in.a = &scratch;
        in.in_shape = true;
    }
    int r = shape_union(&in, desc, f, bytes, depth, &text);
    if (r >= 0 && text.n && outermost)
        r = shape_canonical(&in, &text);
    if (r >= 0 && text.n) {
        char *p = take(d, text.n);
        if (p)
            *ret = (struct str){memcpy(p, text.data, text.n), text.n};
        else
            r = -EFBIG;
    }
    buf_fini(&text);
    if (outermost)
        arena_fini(&scratch);
    return r;
}

static int decode_value(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, const struct wire *w, void *p, unsigned depth)
{
    enum pb_wire want =
        f->type == SCHEMA_DOUBLE                                                       ? PB_FIXED64
        : f->type == SCHEMA_BOOL || f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64 ? PB_VARINT
                                                                                       : PB_LEN;
    if (w->type != want)
        return fail(d, desc, f, "wrong wire type");
    switch ((enum schema_type)f->type) {
    case SCHEMA_BOOL:
        *(bool *)p = w->value != 0;
        return 0;
    case SCHEMA_INT32:
        *(int32_t *)p = (int32_t)w->value;
        return 0;
    case SCHEMA_INT64:
        *(int64_t *)p = (int64_t)w->value;
        return 0;
    case SCHEMA_DOUBLE:
        memcpy(p, &w->value, 8);
        return 0;
    case SCHEMA_STRING:
        if (!str_utf8_valid(w->bytes))
            return fail(d, desc, f, "not valid UTF-8");
        *(struct str *)p = schema_intern(f->rules, w->bytes);
        return 0;
    case SCHEMA_BYTES:
        *(struct str *)p = w->bytes;
        return 0;
    case SCHEMA_MSG:
        return decode_msg(d, f->msg, w->bytes, p, depth + 1);
    case SCHEMA_RAW:
        if (f->msg && !d->packed)
            return decode_shape(d, desc, f, w->bytes, p, depth);
        return decode_builtin(d, desc, f, w->bytes, p);
    default:
        return decode_builtin(d, desc, f, w->bytes, p);
    }
}

static int decode_entry(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, struct str bytes, char *entry, unsigned depth)
{
    struct pb_reader r = pb_reader(bytes);
    uint32_t n;
    struct wire w = {0};
    int rc;
    *(struct str *)(void *)entry = STR("");
    if (f->type == SCHEMA_STRING || f->type == SCHEMA_BYTES)
        *(struct str *)(void *)(entry + SCHEMA_MAP_VALUE) = STR("");
    while ((rc = pb_next(&r, &n, &w.type, &w.value, &w.bytes)) > 0) {
        if (n == 1) {
            if (w.type != PB_LEN || !str_utf8_valid(w.bytes))
                return fail(d, desc, f, "a key that is no text");
            *(struct str *)(void *)entry = w.bytes;
        } else if (n == 2) {
            rc = decode_value(d, desc, f, &w, entry + SCHEMA_MAP_VALUE, depth);
            if (rc < 0)
                return rc;
        }
    }
    return rc < 0 ? fail(d, desc, f, "cut short") : 0;
}

static bool packed(const struct schema_field *f, enum pb_wire w)
{
    return w == PB_LEN &&
           (f->type == SCHEMA_BOOL || f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64);
}

static uint32_t *count_of(const struct schema_field *f, void *msg)
{
    return (uint32_t *)(void *)((char *)msg + f->aux);
}

/* Counts the elements of each list in its own n_NAME, takes memory for them all, and starts over at
 * 0. */
static int count_elems(struct decoder *d, const struct schema_desc *desc, struct str bytes,
                       void *msg)
{
    struct pb_reader r = pb_reader(bytes);
    struct wire w = {0};
    uint32_t n;
    int rc;
    while ((rc = pb_next(&r, &n, &w.type, &w.value, &w.bytes)) > 0) {
        const struct schema_field *f = schema_field_by_number(desc, n);
        if (!f || !(f->flags & (SCHEMA_LIST | SCHEMA_MAP)))
            continue;
        if (!packed(f, w.type)) {
            ++*count_of(f, msg);
            continue;
        }
        for (size_t i = 0; i < w.bytes.n; i++)
            *count_of(f, msg) += (uint8_t)w.bytes.p[i] < 0x80;
    }
    if (rc < 0)
        return fail(d, desc, NULL, "cut short");
    for (const struct schema_field *f = desc->fields; f < desc->fields + desc->n_fields; f++) {
        if (!(f->flags & (SCHEMA_LIST | SCHEMA_MAP)) || *count_of(f, msg) == 0)
            continue;
        void *p = take(d, (size_t)*count_of(f, msg) * f->elem_size);
        if (!p)
            return -EFBIG;
        *(void **)schema_at(f, msg) = p;
        *count_of(f, msg) = 0;
    }
    return 0;
}

static int decode_elem(struct decoder *d, const struct schema_desc *desc,
                       const struct schema_field *f, struct wire *w, void *msg, unsigned depth)
{
    uint32_t *n = (uint32_t *)(void *)((char *)msg + f->aux);
    char *base = schema_elems(f, msg);
    if (f->flags & SCHEMA_MAP) {
        if (w->type != PB_LEN)
            return fail(d, desc, f, "wrong wire type");
        return decode_entry(d, desc, f, w->bytes, base + (size_t)f->elem_size * (*n)++, depth);
    }
    if (!packed(f, w->type))
        return decode_value(d, desc, f, w, base + (size_t)f->elem_size * (*n)++, depth);
    struct pb_reader r = pb_reader(w->bytes);
    struct wire one = {.type = PB_VARINT};
    while (r.p < r.end) {
        if (pb_get_varint(&r, &one.value) < 0)
            return fail(d, desc, f, "cut short");
        int rc = decode_value(d, desc, f, &one, base + (size_t)f->elem_size * (*n)++, depth);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int decode_field(struct decoder *d, const struct schema_desc *desc,
                        const struct schema_field *f, struct wire *w, void *msg, unsigned depth)
{
    if (f->flags & (SCHEMA_LIST | SCHEMA_MAP))
        return decode_elem(d, desc, f, w, msg, depth);
    void *p = schema_at(f, msg);
    if (f->flags & SCHEMA_POINTER) {
        if (f->type == SCHEMA_MSG) {
            void **sub = p;
            if (!(*sub = take(d, f->elem_size)))
                return -EFBIG;
            p = *sub;
        } else if (f->type <= SCHEMA_DOUBLE) {
            *((bool *)msg + f->aux) = true;
        }
    } else if (f->type == SCHEMA_MSG) {
        memset(p, 0, f->elem_size); /* of two the last one counts */
    }
    return decode_value(d, desc, f, w, p, depth);
}

static int decode_msg(struct decoder *d, const struct schema_desc *desc, struct str bytes,
                      void *msg, unsigned depth)
{
    struct pb_reader r = pb_reader(bytes);
    struct wire w = {0};
    uint32_t n;
    int rc;
    if (depth > PB_DEPTH_MAX)
        return fail(d, desc, NULL, "nested too deeply");
    bool repeated = desc->flags & SCHEMA_DESC_REPEATED;
    if (repeated && (rc = count_elems(d, desc, bytes, msg)) < 0)
        return rc;
    while ((rc = pb_next(&r, &n, &w.type, &w.value, &w.bytes)) > 0) {
        const struct schema_field *f = schema_field_by_number(desc, n);
        if (!f)
            continue;
        rc = decode_field(d, desc, f, &w, msg, depth);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return fail(d, desc, NULL, "cut short");
    for (unsigned i = 0; repeated && i < desc->n_fields; i++) {
        const struct schema_field *f = &desc->fields[i];
        bool duplicates;
        if ((f->flags & SCHEMA_MAP) && *count_of(f, msg) > 1)
            *count_of(f, msg) =
                schema_map_sort(schema_elems(f, msg), *count_of(f, msg), f->elem_size, &duplicates);
    }
    return 0;
}

static int decode(const struct schema_desc *desc, struct str bytes, struct decoder *d, void *msg)
{
    memset(msg, 0, desc->size);
    if (!bytes.p)
        bytes = STR("");
    return decode_msg(d, desc, bytes, msg, 0);
}

int schema_decode_pb(const struct schema_desc *desc, struct str bytes, struct arena *a, void *msg,
                     struct error *err)
{
    struct decoder d = {.a = a, .err = err};
    return decode(desc, bytes, &d, msg);
}

int schema_decode_pb_stored(const struct schema_desc *desc, struct str bytes, struct arena *a,
                            void *msg, struct error *err)
{
    struct decoder d = {.a = a, .err = err, .packed = true};
    return decode(desc, bytes, &d, msg);
}

bool schema_is_pb_envelope(struct str bytes)
{
    return bytes.n >= 4 && memcmp(bytes.p, "k8s", 4) == 0;
}

int schema_decode_pb_envelope(struct str bytes, struct schema_envelope *ret, struct error *err)
{
    struct schema_envelope e = {.raw = STR("")};
    struct str meta = STR(""), s = STR_NONE;
    uint64_t v;
    uint32_t n;
    enum pb_wire w;
    int rc;
    if (!schema_is_pb_envelope(bytes))
        return error_set(err, REASON_BAD_REQUEST,
                         "invalid protobuf: it does not begin with k8s\\0");
    struct pb_reader r = pb_reader(str_sub(bytes, 4, bytes.n));
    while ((rc = pb_next(&r, &n, &w, &v, &s)) > 0) {
        struct str *const slots[] = {NULL, &meta, &e.raw, &e.content_encoding, &e.content_type};
        if (w == PB_LEN && n < ARRAY_LEN(slots))
            *slots[n] = s;
    }
    if (rc == 0) {
        r = pb_reader(meta);
        while ((rc = pb_next(&r, &n, &w, &v, &s)) > 0) {
            if (w == PB_LEN && n == 1)
                e.api_version = s;
            else if (w == PB_LEN && n == 2)
                e.kind = s;
        }
    }
    if (rc < 0)
        return error_set(err, REASON_BAD_REQUEST, "invalid protobuf: the envelope is cut short");
    if (!str_utf8_valid(e.api_version) || !str_utf8_valid(e.kind))
        return error_set(err, REASON_BAD_REQUEST,
                         "invalid protobuf: kind or apiVersion is not valid UTF-8");
    *ret = e;
    return 0;
}
