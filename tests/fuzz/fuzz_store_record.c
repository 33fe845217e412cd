/* Whatever lies on disk under a key and as a value must be refused or understood, never more: the
 * record decoder first on the raw input, then with the input as payload of a well-formed record (so
 * that the checksum does not shield the message decoder). Input: one byte length of the key, the
 * key, the value. */
#include "store/internal.h"
#include "store/record.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ignore_record(void *arg, const struct store_record *rec, struct error *err)
{
    const struct schema_kind *kind = schema_kinds[KIND_POD];
    struct arena a = {0};
    void *msg = schema_new(kind->desc, &a);

    if (schema_decode_pb(kind->desc, rec->bytes, &a, msg, err) == 0) {
        struct buf again = {0};
        schema_encode_pb(kind->desc, msg, &again);
        buf_fini(&again);
    }
    arena_fini(&a);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_record rec = {0};
    struct store_meta meta = {0};
    struct buf scratch = {0};
    struct error err = {0};
    struct str key, value;
    uint64_t salt;

    if (size < 1 || data[0] > size - 1)
        return 0;
    key = (struct str){(const char *)data + 1, data[0]};
    value = (struct str){key.p + key.n, size - 1 - key.n};
    if (record_decode(key, value, NULL, &scratch, &rec, NULL, &err) == 0)
        (void)ignore_record(NULL, &rec, &err);
    error_clear(&err);
    rec.bytes = value;
    (void)ignore_record(NULL, &rec, &err);
    error_clear(&err);
    (void)!record_meta_decode(value, &meta, &salt, &err);
    error_fini(&err);
    buf_fini(&scratch);
    return 0;
}
