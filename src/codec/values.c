/* Small access functions for the value structs. */
#include "codec/values.h"

/* All kv structs start with the key, so one search serves them. */
static const void *kv_find(const void *v, uint32_t n, size_t size, struct str key)
{
    const char *base = v;
    uint32_t lo = 0;
    while (lo < n) {
        uint32_t mid = lo + (n - lo) / 2;
        int c = str_cmp(*(const struct str *)(const void *)(base + mid * size), key);
        if (c == 0)
            return base + mid * size + sizeof(struct str);
        if (c < 0)
            lo = mid + 1;
        else
            n = mid;
    }
    return NULL;
}

const struct str *kv_str_get(const struct kv_str *v, uint32_t n, struct str key)
{
    return kv_find(v, n, sizeof *v, key);
}
const struct quantity *kv_quantity_get(const struct kv_quantity *v, uint32_t n, struct str key)
{
    return kv_find(v, n, sizeof *v, key);
}

int int_or_str_scaled(const struct int_or_str *v, int32_t total, bool round_up, int32_t *ret)
{
    int64_t percent;
    if (v->type != INT_OR_STR_STR) {
        *ret = v->type == INT_OR_STR_INT ? v->i : 0;
        return 0;
    }
    if (v->s.n < 2 || v->s.p[v->s.n - 1] != '%' || v->s.p[0] == '+' || v->s.p[0] == '-' ||
        str_to_i64(str_sub(v->s, 0, v->s.n - 1), &percent) < 0 || percent > INT32_MAX)
        return -EINVAL;
    int64_t product = percent * total;
    *ret = (int32_t)MIN(product / 100 + (round_up && product % 100 > 0), (int64_t)INT32_MAX);
    return 0;
}
