/* Completion indexes: a bit set, and the text of status.completedIndexes, in which runs of three
 * and more are written with a hyphen. */
#include "controllers/job_plan.h"

#include "base/buf.h"

bool index_set_has(const struct index_set *s, int32_t i)
{
    return i >= 0 && i < s->n && (s->bits[i / 8] >> (i % 8) & 1);
}

void index_set_add(struct index_set *s, int32_t i)
{
    if (i >= 0 && i < s->n)
        s->bits[i / 8] |= (uint8_t)(1u << (i % 8));
}

int32_t index_set_count(const struct index_set *s)
{
    int32_t k = 0;
    for (int32_t i = 0; i < (s->n + 7) / 8; i++)
        k += __builtin_popcount(s->bits[i]);
    return k;
}

void index_set_parse(struct arena *a, struct str text, int32_t n, struct index_set *ret)
{
    *ret = (struct index_set){.bits = arena_zalloc(a, (size_t)(MAX(n, 0) + 7) / 8 + 1),
                              .n = MAX(n, 0)};
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
        for (int64_t i = from; i <= to && i < ret->n; i++)
            index_set_add(ret, (int32_t)i);
    }
}

struct str index_set_print(struct arena *a, const struct index_set *s)
{
    struct buf b = {0};
    for (int32_t i = 0; i < s->n; i++) {
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
