/* FieldsV1 text and packed sets, from anybody. First byte: 0 text, else packed entries. What is
 * taken must print, be read again as the same, and be combined without surprises. */
#include "schema/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* exact: its values have the form we print. Of what is packed that is taken on trust: a value with
 * a blank before it is another one until it is read again. */
static void check(struct str set, bool exact, struct arena *a)
{
    struct buf out = {0}, twice = {0};
    struct str again;
    fields_print(set, &out);
    ASSERT(json_valid(buf_str(&out)));
    if (fields_parse(&api_pod_desc, buf_str(&out), a, &again, NULL) == 0) {
        ASSERT(fields_valid(again));
        fields_print(again, &twice);
        ASSERT(!exact || str_eq(buf_str(&out), buf_str(&twice)));
        if (!exact)
            check(again, true, a);
        struct str both = fields_union(set, again, a);
        ASSERT(fields_valid(both) && fields_contain(both, set) && fields_contain(both, again));
        ASSERT(!fields_intersect(fields_difference(set, again, a), again));
        ASSERT(fields_contain(set, fields_intersection(set, again, a)));
        ASSERT(fields_valid(fields_strip(&api_pod_desc, both, "status", a)));
    }
    buf_fini(&out);
    buf_fini(&twice);
}

static void nothing(void *arg, struct str path)
{
    *(size_t *)arg += path.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error err = {0};
    struct str set, text = {(const char *)data + 1, size - 1};
    size_t bytes = 0;
    if (size < 1)
        return 0;
    if (data[0] == '0') {
        int r = fields_parse(&api_pod_desc, text, &a, &set, &err);
        ASSERT(r == 0 || err.message.p);
        if (r == 0) {
            ASSERT(fields_valid(set));
            check(set, true, &a);
            fields_each(set, nothing, &bytes);
        }
    } else {
        struct str head; /* of a set of the same type */
        ASSERT(fields_parse(&api_pod_desc, STR("{}"), &a, &head, NULL) == 0);
        char *p = arena_alloc(&a, head.n + text.n);
        memcpy(p, head.p, head.n);
        memcpy(p + head.n, text.p, text.n);
        set = (struct str){p, head.n + text.n};
        if (fields_valid(set)) {
            check(set, false, &a);
            fields_each(set, nothing, &bytes);
        }
    }
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
