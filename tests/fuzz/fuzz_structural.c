/* A schema, then an object, both from a stranger, separated by a NUL. What compiles must survive
 * any object; pruning and defaulting are done after one pass, and what was defaulted is not pruned.
 */
#include "base/base.h"
#include "schema/jsonpath.h"
#include "schema/structural.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An update never has more faults than a new object, whatever was there. */
static void update(const struct structural *s, const struct json *v, const struct json *old,
                   const struct error *as_new)
{
    const struct json *olds[] = {old, v};
    for (size_t i = 0; i < sizeof(olds) / sizeof(olds[0]); i++) {
        struct error err = {0};
        int r = structural_validate_update(s, v, olds[i], STRUCTURAL_WHOLE, &err);
        ASSERT((r < 0) == (err.causes != NULL));
        ASSERT(err.n_causes <= as_new->n_causes);
        r = structural_validate_update(s, v, olds[i], STRUCTURAL_STATUS, NULL);
        ASSERT(r == 0 || as_new->causes);
        error_fini(&err);
    }
}

static void object(const struct structural *s, struct str text, struct arena *a)
{
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_WARN}, none = opts;
    struct error err = {0};
    struct buf once = {0}, twice = {0};
    struct json *v;
    if (json_parse(text, a, NULL, &v, NULL) < 0)
        return;
    const struct json *as_it_came = json_clone(v, a);
    structural_prune(s, v, a, &opts);
    if (structural_default(s, v, a) < 0)
        return;
    json_print_sorted(v, &once);
    structural_prune(s, v, a, &none);
    int r = structural_default(s, v, a);
    ASSERT(r == 0);
    json_print_sorted(v, &twice);
    ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
    ASSERT((structural_validate(s, v, STRUCTURAL_WHOLE, &err) < 0) == (err.causes != NULL));
    ASSERT((structural_validate(s, v, STRUCTURAL_WHOLE, NULL) < 0) == (err.causes != NULL));
    update(s, v, as_it_came, &err);
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
