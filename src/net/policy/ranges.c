/* Ranges: what ipBlocks with their exceptions cover, and lists of ports, both as sorted disjoint
 * intervals, since the kernel's interval sets take nothing that overlaps. */
#include <sys/socket.h>

#include "net/policy/policy_int.h"

static int addr_cmp(const struct ip_addr *a, const struct ip_addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->b, b->b, ip_bytes(a));
}

static struct ip_range range_of(const struct ip_prefix *p)
{
    struct ip_range r = {p->addr, p->addr};
    for (unsigned bit = p->bits; bit < ip_bytes(&p->addr) * 8; bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);
        r.from.b[bit / 8] &= (uint8_t)~mask;
        r.to.b[bit / 8] |= mask;
    }
    return r;
}

/* False: there is none, the address is the first or last of all. */
static bool step(struct ip_addr *a, int by)
{
    uint8_t edge = by > 0 ? 0xff : 0;
    for (size_t i = ip_bytes(a); i-- > 0;) {
        bool carry = a->b[i] == edge;
        a->b[i] = (uint8_t)(a->b[i] + by);
        if (!carry)
            return true;
    }
    return false;
}

static int range_cmp(const void *a, const void *b)
{
    const struct ip_range *x = a, *y = b;
    return addr_cmp(&x->from, &y->from);
}

static uint32_t ranges_join(struct ip_range *v, uint32_t n)
{
    uint32_t k = 0;
    qsort(v, n, sizeof(*v), range_cmp);
    for (uint32_t i = 0; i < n; i++) {
        struct ip_addr after = k ? v[k - 1].to : v[i].from;
        bool last = k && !step(&after, 1);
        if (k && v[k - 1].to.family == v[i].from.family &&
            (last || addr_cmp(&v[i].from, &after) <= 0)) {
            if (addr_cmp(&v[i].to, &v[k - 1].to) > 0)
                v[k - 1].to = v[i].to;
        } else {
            v[k++] = v[i];
        }
    }
    return k;
}

/* Appends `whole` without the holes (sorted, disjoint, inside) to v. */
static uint32_t cut_holes(struct ip_range whole, const struct ip_range *holes, uint32_t n,
                          struct ip_range *v)
{
    uint32_t k = 0;
    bool left = true;
    for (uint32_t i = 0; i < n && left; i++) {
        struct ip_range before = {whole.from, holes[i].from};
        if (addr_cmp(&holes[i].from, &whole.from) > 0 && step(&before.to, -1))
            v[k++] = before;
        whole.from = holes[i].to;
        left = step(&whole.from, 1) && addr_cmp(&whole.from, &whole.to) <= 0;
    }
    if (left)
        v[k++] = whole;
    return k;
}

struct ip_range *ranges_of_blocks(struct arena *a, const struct api_ip_block *const *blocks,
                                  uint32_t n, uint32_t *ret_n)
{
    uint32_t most = 0, k = 0;
    for (uint32_t i = 0; i < n; i++)
        most += blocks[i]->n_except + 1;
    struct ip_range *v = ARENA_NEW_N(a, struct ip_range, most + 1);
    struct ip_range *holes = ARENA_NEW_N(a, struct ip_range, most + 1);
    for (uint32_t i = 0; i < n; i++) {
        struct ip_prefix whole, hole;
        uint32_t n_holes = 0;
        if (ip_prefix_parse(blocks[i]->cidr, &whole) < 0)
            continue;
        for (uint32_t j = 0; j < blocks[i]->n_except; j++)
            if (ip_prefix_parse(blocks[i]->except[j], &hole) == 0 && hole.bits > whole.bits &&
                ip_prefix_contains(&whole, &hole.addr))
                holes[n_holes++] = range_of(&hole);
        n_holes = ranges_join(holes, n_holes);
        k += cut_holes(range_of(&whole), holes, n_holes, v + k);
    }
    *ret_n = ranges_join(v, k);
    return v;
}

bool ranges_contain(const struct ip_range *v, uint32_t n, const struct ip_addr *a)
{
    for (uint32_t i = 0; i < n; i++)
        if (addr_cmp(&v[i].from, a) <= 0 && addr_cmp(a, &v[i].to) <= 0)
            return true;
    return false;
}

static int port_cmp(const void *a, const void *b)
{
    const struct port_range *x = a, *y = b;
    return x->proto != y->proto ? (int)x->proto - (int)y->proto : (int)x->from - (int)y->from;
}

uint32_t port_ranges_join(struct port_range *v, uint32_t n)
{
    uint32_t k = 0;
    qsort(v, n, sizeof(*v), port_cmp);
    for (uint32_t i = 0; i < n; i++) {
        if (k && v[k - 1].proto == v[i].proto && v[i].from <= (uint32_t)v[k - 1].to + 1)
            v[k - 1].to = MAX(v[k - 1].to, v[i].to);
        else
            v[k++] = v[i];
    }
    return k;
}

bool port_ranges_contain(const struct port_range *v, uint32_t n, uint8_t proto, uint16_t port)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].proto == proto && v[i].from <= port && port <= v[i].to)
            return true;
    return false;
}
