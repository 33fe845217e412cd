/* Protobuf: the first byte chooses a type. What is read writes, reads back the same, and prints as
 * valid JSON; the envelope never reads behind its end. */
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error err = {0};
    struct schema_envelope e;
    struct buf pb = {0}, json = {0};

    if (size < 1)
        return 0;
    struct str bytes = {(const char *)data + 1, size - 1};
    if (schema_decode_pb_envelope(bytes, &e, NULL) == 0)
        bytes = e.raw;
    const struct schema_desc *d = schema_kinds[data[0] % _KIND_MAX]->desc;
    void *msg = schema_new(d, &a), *back = schema_new(d, &a);
    if (schema_decode_pb(d, bytes, &a, msg, &err) < 0) {
        ASSERT(err.message.p);
    } else {
        schema_encode_pb(d, msg, &pb);
        ASSERT(schema_decode_pb(d, buf_str(&pb), &a, back, NULL) == 0);
        ASSERT(schema_equal(d, msg, back));
        schema_encode_json(d, msg, SCHEMA_ENCODE_TYPE_META, &json);
        ASSERT(json_valid(buf_str(&json)));
    }
    buf_fini(&pb);
    buf_fini(&json);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
