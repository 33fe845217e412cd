/* Registry credentials as they come in Secrets: both forms of Docker's configuration. */
#include "node/image/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_auths a = {0}, copy = {0};
    struct error err = {0};
    if (size < 1)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    int r = data[0] & 1 ? image_auths_add_dockerconfigjson(&a, text, &err)
                        : image_auths_add_dockercfg(&a, text, &err);
    ASSERT((r < 0) == (err.message.n > 0));
    const struct image_auth *f = auth_find(&a, "docker.io", "library/busybox");
    ASSERT(!f || f->registry);
    image_auths_copy(&copy, &a);
    ASSERT(image_auths_equal(&copy, &a));
    image_auths_fini(&copy);
    image_auths_fini(&a);
    error_fini(&err);
    return 0;
}
