/* Completion indexes: a bit set, and the text of status.completedIndexes, in which runs of three
 * and more are written with a hyphen. The set is as large as its highest member, not as the number
 * of completions, which may be two billion. */
#include "controllers/job_plan.h"

#include "base/buf.h"

bool index_set_has(const struct index_set *s, int32_t i)
{
    return i >= 0 && (size_t)i / 8 < s->cap && (s->bits[i / 8] >> (i % 8) & 1);
}

static void reserve(struct index_set *s, int32_t i)
{
    size_t need = (size_t)i / 8 + 1;
    if (need <= s->cap)
        return;
    size_t cap = MAX(need, MAX(s->cap * 2, (size_t)64));
    uint8_t *bits = arena_zalloc(s->a, cap);
    if (s->cap)
        memcpy(bits, s->bits, s->cap);
    s->bits = bits;
    s->cap = cap;
}

void index_set_add(struct index_set *s, int32_t i)
{
    if (i < 0 || i >= s->n)
        return;
    reserve(s, i);
    s->bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* from..to, both below n */
static void add_range(struct index_set *s, int32_t from, int32_t to)
{
    reserve(s, to);
    for (; from <= to && from % 8; from++)
        index_set_add(s, from);
    if (to - from >= 8) {
        int32_t bytes = (to - from) / 8;
        memset(s->bits + from / 8, 0xff, (size_t)bytes);
        from += bytes * 8;
    }
    for (; from <= to; from++)
        index_set_add(s, from);
}

int32_t index_set_count(const struct index_set *s)
{
    int32_t k = 0;
    for (size_t i = 0; i < s->cap; i++)
        k += __builtin_popcount(s->bits[i]);
    return k;
}

void index_set_parse(struct arena *a, struct str text, int32_t n, struct index_set *ret)
{
    *ret = (struct index_set){.a = a, .n = MAX(n, 0)};
    int64_t next = 0; /* all below are done with */
    struct str part;
    while (str_cut(&text, ',', &part) || part.n) {
        struct str last = part, first;
        int64_t from, to;
        bool range = str_cut(&last, '-', &first);
        if (str_to_i64(first, &from) < 0 || from < 0)
            continue;
        to = from;
        if (range && str_to_i64(last, &to) < 0)
            continue;
        from = MAX(from, next);
        to = MIN(to, (int64_t)ret->n - 1);
        if (from > to)
            continue;
        add_range(ret, (int32_t)from, (int32_t)to);
        next = to + 1;
    }
}

struct str index_set_print(struct arena *a, const struct index_set *s)
{
    struct buf b = {0};
    int32_t last = (int32_t)MIN((size_t)s->n, s->cap * 8);
    for (int32_t i = 0; i < last; i++) {
        if (!index_set_has(s, i))
            continue;
        int32_t end = i;
        while (index_set_has(s, end + 1))
            end++;
        buf_printf(&b, "%s%d", b.n ? "," : "", i);
        if (end > i)
            buf_printf(&b, "%c%d", end == i + 1 ? ',' : '-', end);
        i = end;
    }
    struct str out = b.n ? arena_str(a, buf_str(&b)) : STR_NONE;
    buf_fini(&b);
    return out;
}

int32_t job_pod_index(const struct api_pod *p)
{
    int64_t i;
    struct str text = meta_annotation(&p->metadata, STR(JOB_INDEX));
    if (str_empty(text) || str_to_i64(text, &i) < 0 || i < 0 || i > INT32_MAX)
        return -1;
    return (int32_t)i;
}
