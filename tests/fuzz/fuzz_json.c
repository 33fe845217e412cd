/* JSON: what is read prints, and reads back the same. What fits a type (the first byte chooses one)
 * survives defaults, validation, copies and a second round. */
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the store writes it must be able to read again: a record it cannot read is a data directory
 * it cannot open. */
static void as_protobuf(const struct schema_desc *d, const void *msg, struct arena *a)
{
    struct buf wire = {0}, again = {0};
    void *back = schema_new(d, a);

    schema_encode_pb(d, msg, &wire);
    ASSERT(schema_decode_pb(d, buf_str(&wire), a, back, NULL) == 0);
    schema_encode_pb(d, back, &again);
    ASSERT(str_eq(buf_str(&wire), buf_str(&again)));
    buf_fini(&wire);
    buf_fini(&again);
}

static void as_message(const struct schema_desc *d, const struct json *v, struct arena *a)
{
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_WARN};
    struct error err = {0}, bad = {0};
    struct buf text = {0}, again = {0};
    void *msg = schema_new(d, a), *back = schema_new(d, a);

    if (schema_decode_json(d, v, a, &opts, msg, &err) < 0) {
        ASSERT(err.message.p);
        goto out;
    }
    schema_encode_json(d, msg, 0, &text);
    ASSERT(schema_decode_text(d, buf_str(&text), a, NULL, back, NULL) == 0);
    ASSERT(schema_equal(d, msg, back));
    as_protobuf(d, msg, a);
    schema_default(d, msg, a);
    int r = schema_validate(d, msg, back, &bad);
    ASSERT((r == 0) == (bad.n_causes == 0));
    void *copy = schema_compact(d, msg, NULL);
    ASSERT(schema_equal(d, msg, copy));
    schema_encode_json(d, copy, SCHEMA_ENCODE_TYPE_META, &again);
    ASSERT(json_valid(buf_str(&again)));
    free(copy);
out:
    buf_fini(&text);
    buf_fini(&again);
    error_fini(&err);
    error_fini(&bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf text = {0};
    struct json *v, *back;

    if (size < 1)
        return 0;
    if (json_parse((struct str){(const char *)data + 1, size - 1}, &a, NULL, &v, &err) < 0) {
        ASSERT(err.message.p);
    } else {
        json_print(v, &text);
        ASSERT(json_parse(buf_str(&text), &a, NULL, &back, NULL) == 0);
        ASSERT(json_equal(v, back));
        as_message(schema_kinds[data[0] % _KIND_MAX]->desc, v, &a);
    }
    buf_fini(&text);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
