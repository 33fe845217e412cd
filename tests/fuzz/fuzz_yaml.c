/* YAML: any text gives trees or an error; a tree printed as YAML reads back as the same tree. */
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct arena a = {0};
    struct error err = {0};
    size_t offset = 0, before;
    struct json *v = NULL, *back = NULL;
    int r;

    for (int n = 0; n < 8; n++) {
        before = offset;
        v = NULL;
        r = yaml_parse_next(text, &offset, &a, &v, &err);
        if (r <= 0)
            break;
        ASSERT(offset > before);
        if (!v)
            continue;
        struct buf b = {0};
        if (yaml_print(v, &b) == 0) {
            ASSERT(yaml_parse(buf_str(&b), &a, &back, NULL) == 0);
            ASSERT(json_equal(v, back));
        }
        buf_fini(&b);
    }
    ASSERT(r >= 0 || err.message.p);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
