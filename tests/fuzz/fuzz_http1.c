/* Anything as HTTP/1.1 requests (or, with the preface, HTTP/2). */
#include "fuzz_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_server(data, size, "");
    return 0;
}
