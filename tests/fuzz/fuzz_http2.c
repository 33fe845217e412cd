/* Anything as HTTP/2 frames behind a good preface. */
#include "fuzz_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_server(data, size, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    return 0;
}
