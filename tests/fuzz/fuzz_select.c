/* Selectors from the query: whatever parses prints canonically, reads back, and means the same. */
#include "schema/schema.h"
#include "schema/select.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kv_str labels[] = {
        {{"a", 1}, {"b", 1}}, {{"e", 1}, {"", 0}}, {{"n", 1}, {"7", 1}}};
    struct str text = {(const char *)data, size};
    struct arena a = {0};
    struct error err = {0};
    struct label_selector s = {0}, again = {0};
    struct field_selector f = {0};
    struct api_pod pod = {.metadata = {.name = STR("p")}};
    if (label_selector_parse(&a, text, &s, &err) == 0) {
        struct str printed = label_selector_print(&a, &s);
        int r = label_selector_parse(&a, printed, &again, NULL);
        ASSERT(r == 0 && str_eq(label_selector_print(&a, &again), printed));
        ASSERT(label_selector_match(&s, labels, 3) == label_selector_match(&again, labels, 3));
    } else {
        ASSERT(err.message.n > 0);
    }
    error_clear(&err);
    if (field_selector_parse(&a, schema_kinds[KIND_POD], text, &f, &err) == 0)
        (void)field_selector_match(&f, &pod);
    else
        ASSERT(err.message.n > 0);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
