/* Three patches on any document: first byte chooses, then document, newline, patch. What comes out
 * must print and decode. */
#include "schema/patch.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data + 1, size - 1}, head;
    struct arena a = {0};
    struct error err = {0};
    struct buf out = {0};
    struct json *doc, *patch;
    int r = -EINVAL;

    if (size < 2)
        return 0;
    (void)str_cut(&text, '\n', &head);
    if (json_parse(head, &a, NULL, &doc, NULL) == 0 &&
        json_parse(text, &a, NULL, &patch, NULL) == 0) {
        switch (data[0] % 3) {
        case 0:
            r = patch_json(&doc, patch, &a, &err);
            break;
        case 1:
            r = patch_merge(&doc, patch, &a, &err);
            break;
        default:
            r = patch_strategic(&api_pod_desc, &doc, patch, &a, &err);
        }
        ASSERT(r == 0 || err.message.p);
        if (r == 0) {
            struct api_pod pod;
            json_print(doc, &out);
            ASSERT(json_valid(buf_str(&out)));
            (void)!schema_decode_json(&api_pod_desc, doc, &a, NULL, &pod, NULL);
        }
    }
    buf_fini(&out);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
