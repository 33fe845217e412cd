/* A schema, then an object, both from a stranger, separated by a NUL. What compiles must survive
 * any object; pruning and defaulting are done after one pass, and what was defaulted is not pruned.
 */
#include "base/base.h"
#include "schema/jsonpath.h"
#include "schema/structural.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void object(const struct structural *s, struct str text, struct arena *a)
{
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_WARN}, none = opts;
    struct error err = {0};
    struct buf once = {0}, twice = {0};
    struct json *v;
    if (json_parse(text, a, NULL, &v, NULL) < 0)
        return;
    structural_prune(s, v, a, &opts);
    if (structural_default(s, v, a) < 0)
        return;
    json_print_sorted(v, &once);
    structural_prune(s, v, a, &none);
    int r = structural_default(s, v, a);
    ASSERT(r == 0);
    json_print_sorted(v, &twice);
    ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
    ASSERT((structural_validate(s, v, &err) < 0) == (err.causes != NULL));
    error_fini(&err);
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, schema;
    struct structural *s = NULL;
    struct arena a = {0};
    struct error err = {0};
    const char *why;
    bool two = str_cut(&rest, '\0', &schema);
    if (structural_compile(schema, STR("s"), &s, &err) == 0)
        object(s, two ? rest : STR("{}"), &a);
    else
        ASSERT(err.causes || err.message.n);
    if (jsonpath_compile(schema, &a, &why) == NULL)
        ASSERT(why);
    structural_free(s);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
