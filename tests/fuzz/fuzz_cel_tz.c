/* Time zone files: what is read has a sane offset at every moment. */
#include "cel/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t at[] = {INT64_C(-62135596800), -1, 0, 951782400, 1700000000,
                                 INT64_C(253402300799)};
    struct arena a = {0};
    const struct tz *z = tz_read((struct str){(const char *)data, size}, &a);
    for (size_t i = 0; z && i < ARRAY_LEN(at); i++) {
        int32_t offset = tz_offset(z, at[i]);
        ASSERT(offset > -1000000 && offset < 1000000);
    }
    arena_fini(&a);
    return 0;
}
