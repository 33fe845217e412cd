/* Derived random numbers: the same arithmetic over the kernel's bytes and over the simulator's. */
#include "rt/rt_impl.h"

void rt_random_bytes(struct rt *rt, void *p, size_t n)
{
    rt->ops->random(rt, p, n);
}

uint64_t rt_random_u64(struct rt *rt)
{
    uint64_t v;

    rt->ops->random(rt, &v, sizeof(v));
    return v;
}

uint64_t rt_random_below(struct rt *rt, uint64_t n)
{
    uint64_t v, reject;

    ASSERT(n > 0);
    reject = (0 - n) % n; /* 2^64 mod n: the short last round would favour small numbers */
    do
        v = rt_random_u64(rt);
    while (v < reject);
    return v % n;
}

nsec_t rt_jitter(struct rt *rt, nsec_t d, double fraction)
{
    double u = (double)(rt_random_u64(rt) >> 11) / (double)(UINT64_C(1) << 53); /* [0, 1) */

    return (nsec_t)((double)d * (1 - fraction + 2 * fraction * u));
}
