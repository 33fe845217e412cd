/* What a client reads from a server: a Status, an object of the kind the first byte chooses. */
#include "client/net_int.h"
#include "codec/json.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error err = {0}, bad = {0};
    struct json *v;
    if (size < 2)
        return 0;
    struct str text = {(const char *)data + 2, size - 2};
    ASSERT(net_status_read(100 + data[1] * 3, text, &err) < 0 && err.message.n > 0);
    if (json_parse(text, &a, NULL, &v, NULL) == 0) {
        struct object *o = net_object_read(schema_kinds[data[0] % _KIND_MAX], v, &bad);
        ASSERT(o || bad.message.n > 0);
        object_unref(o);
    }
    error_fini(&err);
    error_fini(&bad);
    arena_fini(&a);
    return 0;
}
