/* What a node says it uses. */
#include "apiserver/usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct usage_reading r;
    usage_parse((struct str){(const char *)data, size}, &r);
    for (size_t i = 0; i < r.n; i++) {
        ASSERT(r.v[i].has_cpu && r.v[i].has_memory && r.v[i].cpu_s >= 0);
        ASSERT(!i || usage_sample_cmp(&r.v[i - 1], &r.v[i]) < 0);
    }
    usage_reading_fini(&r);
    return 0;
}
