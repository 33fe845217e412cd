/* Sets of code points: sorted ranges, with a bit map for ASCII. */
#include "codec/regex_int.h"

#define RUNE_MAX 0x10ffff

void rune_set_add(struct rune_set *s, struct arena *a, uint32_t lo, uint32_t hi)
{
    if (s->n && lo == s->v[s->n - 1].hi + 1) {
        s->v[s->n - 1].hi = hi;
        return;
    }
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 8;
        struct rune_range *v = ARENA_NEW_N(a, struct rune_range, cap);
        if (s->n)
            memcpy(v, s->v, s->n * sizeof *v);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = (struct rune_range){lo, hi};
}

void rune_set_add_set(struct rune_set *s, struct arena *a, const struct rune_set *other)
{
    for (uint32_t i = 0; i < other->n; i++)
        rune_set_add(s, a, other->v[i].lo, other->v[i].hi);
}

static int by_lo(const void *a, const void *b)
{
    const struct rune_range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

void rune_set_close(struct rune_set *s)
{
    uint32_t n = 0;
    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, by_lo);
    for (uint32_t i = 0; i < s->n; i++) {
        if (n && s->v[i].lo <= s->v[n - 1].hi + 1)
            s->v[n - 1].hi = MAX(s->v[n - 1].hi, s->v[i].hi);
        else
            s->v[n++] = s->v[i];
    }
    s->n = n;
    s->ascii[0] = s->ascii[1] = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t r = s->v[i].lo; r <= s->v[i].hi && r < 128; r++)
            s->ascii[r >> 6] |= UINT64_C(1) << (r & 63);
}

bool rune_set_has(const struct rune_set *s, uint32_t rune)
{
    if (rune < 128)
        return s->ascii[rune >> 6] >> (rune & 63) & 1;
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->v[mid].hi < rune)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n && s->v[lo].lo <= rune;
}

void rune_set_negate(struct rune_set *s, struct arena *a)
{
    struct rune_set out = {0};
    uint32_t from = 0;
    rune_set_close(s);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->v[i].lo > from)
            rune_set_add(&out, a, from, s->v[i].lo - 1);
        from = s->v[i].hi + 1;
    }
    if (from <= RUNE_MAX)
        rune_set_add(&out, a, from, RUNE_MAX);
    *s = out;
}

/* Index of the first run of folds that ends at or behind rune. */
static uint32_t fold_at(uint32_t rune)
{
    uint32_t lo = 0, hi = n_unicode_folds;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (unicode_folds[mid].hi < rune)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint32_t unicode_fold_next(uint32_t rune)
{
    uint32_t i = fold_at(rune);
    const struct unicode_fold *f = &unicode_folds[i];
    if (i == n_unicode_folds || f->lo > rune)
        return rune;
    if (f->delta == 0)
        return (rune - f->lo) & 1 ? rune - 1 : rune + 1;
    return (uint32_t)((int32_t)rune + f->delta);
}

void rune_set_fold(struct rune_set *s, struct arena *a)
{
    struct rune_set more = {0};
    rune_set_close(s);
    for (uint32_t i = 0; i < s->n; i++) {
        for (uint32_t k = fold_at(s->v[i].lo);
             k < n_unicode_folds && unicode_folds[k].lo <= s->v[i].hi; k++) {
            uint32_t to = MIN(unicode_folds[k].hi, s->v[i].hi);
            for (uint32_t c = MAX(unicode_folds[k].lo, s->v[i].lo); c <= to; c++)
                for (uint32_t r = unicode_fold_next(c); r != c; r = unicode_fold_next(r))
                    rune_set_add(&more, a, r, r);
        }
    }
    rune_set_add_set(s, a, &more);
    rune_set_close(s);
}

bool rune_set_category(struct rune_set *s, struct arena *a, struct str name, bool negated)
{
    struct rune_set one = {0};
    uint32_t at = 0;
    if (str_is(name, "Any")) {
        rune_set_add(&one, a, 0, RUNE_MAX);
    } else if (name.n) {
        for (uint32_t i = 0; i < n_unicode_runs; i++) {
            uint32_t n = UNICODE_RUN(unicode_runs[i]), c = UNICODE_CATEGORY(unicode_runs[i]);
            if (c != 0 && str_starts(str_z(unicode_categories[c]), name))
                rune_set_add(&one, a, at, at + n - 1);
            at += n;
        }
    }
    if (!one.n)
        return false;
    if (negated)
        rune_set_negate(&one, a);
    rune_set_add_set(s, a, &one);
    return true;
}
