/* Quantities: what is read prints in a form that reads back as the same amount and prints the same.
 */
#include "codec/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quantity q = {0}, back = {0}, sum;
    char t[QUANTITY_TEXT_MAX], t2[QUANTITY_TEXT_MAX];

    if (quantity_parse((struct str){(const char *)data, size}, &q) < 0)
        return 0;
    size_t n = quantity_format(&q, t);
    ASSERT(n > 0 && n < sizeof t);
    ASSERT(quantity_parse((struct str){t, n}, &back) == 0);
    ASSERT(quantity_cmp(&q, &back) == 0);
    /* Binary amounts that end up without a suffix read back as decimal ones: 2000 prints as 2k
     * then. */
    ASSERT(q.format == QUANTITY_BINARY_SI ||
           str_eq((struct str){t2, quantity_format(&back, t2)}, (struct str){t, n}));
    sum = quantity_sub(&q, &q);
    ASSERT(quantity_is_zero(&sum));
    sum = quantity_add(&q, &back);
    ASSERT(quantity_cmp(&sum, &q) == quantity_cmp(&q, &(struct quantity){0}) ||
           quantity_value(&q) == INT64_MAX || quantity_value(&q) == -INT64_MAX);
    return 0;
}
