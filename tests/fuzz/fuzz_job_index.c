/* Sets of completion indexes from a Job's status, which whoever may write it chooses: what is read
 * prints ascending, and reads back the same. */
#include "controllers/job_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t limits[] = {0, 1, 100, 100000};
    struct str text = {(const char *)data, size};
    struct arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct index_set s, again;
        index_set_parse(&a, text, limits[i], &s);
        struct str printed = index_set_print(&a, &s);
        index_set_parse(&a, printed, limits[i], &again);
        ASSERT(index_set_count(&s) == index_set_count(&again));
        ASSERT(index_set_count(&s) <= limits[i]);
        ASSERT(str_eq(index_set_print(&a, &again), printed));
        for (int32_t k = 0; k < MIN(limits[i], 200); k++)
            ASSERT(index_set_has(&s, k) == index_set_has(&again, k));
        ASSERT(!index_set_has(&s, limits[i]) && !index_set_has(&s, -1));
    }
    arena_fini(&a);
    return 0;
}
