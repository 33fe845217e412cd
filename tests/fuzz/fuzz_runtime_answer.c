/* What conmon says about a container it was to create: a pid that can be one, or a message. */
#include "node/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct str message;
    pid_t pid = runtime_answer((struct str){(const char *)data, size}, &a, &message);
    ASSERT(pid == -1 || pid > 0);
    ASSERT(message.p && str_trim(message).n == message.n);
    arena_fini(&a);
    return 0;
}
