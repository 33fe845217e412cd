/* What the servers of aggregated APIs say of themselves, and paths of requests to them: what is
 * told on is JSON again, and no part of a path that was authorized climbs. */
#include "apiserver/aggregate/remotes.h"
#include "base/mem.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, path = text, query = STR("");
    struct arena a = {0};
    struct request_info i;
    struct buf b = {0};
    struct json *v;

    if (remote_resources(text, STR("g"), STR("v1"), &b) == 0)
        ASSERT(json_parse(buf_str(&b), &a, NULL, &v, NULL) >= 0 && json_is(v, JSON_ARR));
    struct buf paths = {0}, definitions = {0};
    remote_swagger(text, STR("g"), STR("v1"), &paths, &definitions);
    if (definitions.n) {
        buf_clear(&b);
        buf_printf(&b, "{%.*s}", (int)definitions.n - 1, definitions.data + 1);
        ASSERT(json_parse(buf_str(&b), &a, NULL, &v, NULL) >= 0);
    }
    buf_fini(&paths);
    buf_fini(&definitions);
    struct str url = remote_openapi_url(text, STR("g"), STR("v1"), &a);
    ASSERT(!url.n || str_starts(url, STR("/openapi/v3/apis/g/v1")));
    if (str_find(text, '?') >= 0) {
        query = text;
        (void)str_cut(&query, '?', &path);
    }
    if (path.n && path.p[0] == '/' && request_info_read(STR("GET"), path, query, &a, &i) == 0) {
        const struct str parts[] = {i.group, i.version, i.resource, i.ns, i.subresource};
        ASSERT(i.verb);
        for (size_t k = 0; k < ARRAY_LEN(parts); k++)
            ASSERT(str_find(parts[k], '/') < 0 && !str_is(parts[k], ".."));
    }
    buf_fini(&b);
    arena_fini(&a);
    return 0;
}
