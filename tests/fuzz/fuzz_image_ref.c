/* References and challenges: what parses prints, reads back, and means the same. */
#include "base/mem.h"
#include "node/image/image.h"
#include "node/image/registry_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct image_name n, again;
    struct error err = {0};
    struct challenge c;
    if (image_name_parse(text, &n, &err) == 0) {
        char *full = image_name_format(&n);
        ASSERT(n.domain[0] && n.path[0] && (n.tag[0] || n.digest[0]));
        ASSERT(strlen(full) < 512 && !strstr(n.path, "..") && !strchr(full, ' '));
        ASSERT(image_name_parse(str_z(full), &again, NULL) == 0);
        char *twice = image_name_format(&again);
        ASSERT(strcmp(full, twice) == 0);
        image_name_fini(&again);
        image_name_fini(&n);
        free(full);
        free(twice);
    } else {
        ASSERT(err.message.n > 0);
    }
    if (challenge_parse(text, &c))
        ASSERT(c.scheme.n > 0 && c.realm.n <= size && c.service.n <= size && c.scope.n <= size);
    error_fini(&err);
    return 0;
}
