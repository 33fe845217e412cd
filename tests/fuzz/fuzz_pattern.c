/* A pattern, a NUL, a text: compiles or says why; what compiles gives an answer, the same twice. */
#include "base/base.h"
#include "schema/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, pattern;
    struct arena a = {0};
    const char *why = NULL;
    (void)str_cut(&text, '\0', &pattern);
    const struct pattern *p = pattern_compile(pattern, &a, &why);
    ASSERT(!p == (why != NULL));
    if (p) {
        bool yes = pattern_match(p, text);
        ASSERT(pattern_match(p, text) == yes);
    }
    arena_fini(&a);
    return 0;
}
