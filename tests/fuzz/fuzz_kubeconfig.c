/* Any text as a kubeconfig: read, or refused with a message. */
#include "client/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kubeconfig k;
    struct error err = {0};

    if (kubeconfig_parse((struct str){(const char *)data, size}, NULL, &k, &err) == 0) {
        ASSERT(k.host && k.host[0] && k.port);
        kubeconfig_fini(&k);
    } else {
        ASSERT(err.message.p);
    }
    error_fini(&err);
    return 0;
}
