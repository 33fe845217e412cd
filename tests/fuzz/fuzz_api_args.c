/* Queries of exec and port-forward, as they come. */
#include "node/api_args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str query = {(const char *)data, size}, *argv = NULL;
    struct arena a = {0};
    uint16_t ports[API_PORTS_MAX];
    int n = api_args_command(query, &a, &argv);
    ASSERT(n == -E2BIG || (n >= 0 && n <= API_ARGS_MAX));
    for (int i = 0; i < n; i++)
        ASSERT(argv[i].p && argv[i].n <= size);
    n = api_args_ports(query, &a, ports);
    ASSERT(n == -EINVAL || (n >= 0 && n <= API_PORTS_MAX));
    for (int i = 0; i < n; i++)
        ASSERT(ports[i] > 0);
    arena_fini(&a);
    return 0;
}
