/* Paths for messages, interning, and sorted maps: what several parts of the engine need. */
#include "schema/internal.h"

const max_align_t schema_empty;

void schema_frame_print(const struct schema_frame *f, bool plain, struct buf *b)
{
    if (!f)
        return;
    schema_frame_print(f->up, plain, b);
    if (f->map_key) {
        if (!plain)
            buf_printf(b, "[%.*s]", STR_ARG(f->name));
    } else if (f->name.p) {
        if (f->name.n == 0)
            return;
        if (b->n)
            buf_add_char(b, '.');
        buf_add_str(b, f->name);
    } else if (!plain) {
        buf_printf(b, "[%u]", f->index);
    }
}

struct str schema_intern(const struct schema_rules *r, struct str s)
{
    if (r->default_text && s.n && s.p[0] == r->default_text[0] && str_eqz(s, r->default_text))
        return (struct str){r->default_text, s.n};
    if (r->enum_)
        for (unsigned i = 0; i < r->enum_->n_texts; i++)
            if (str_eq(r->enum_->texts[i], s))
                return r->enum_->texts[i];
    return s;
}

static int entry_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Stable for the short and the nearly sorted, which is nearly all. */
static void insertion_sort(char *base, uint32_t n, size_t size)
{
    char tmp[256];
    ASSERT(size <= sizeof tmp);
    for (uint32_t i = 1; i < n; i++) {
        uint32_t j = i;
        while (j > 0 && entry_cmp(base + (j - 1) * size, base + i * size) > 0)
            j--;
        if (j == i)
            continue;
        memcpy(tmp, base + i * size, size);
        memmove(base + (j + 1) * size, base + j * size, (i - j) * size);
        memcpy(base + j * size, tmp, size);
    }
}

uint32_t schema_map_sort(void *entries, uint32_t n, size_t entry_size, bool *ret_duplicates)
{
    char *base = entries;
    uint32_t kept = 0;
    bool sorted = true;
    for (uint32_t i = 1; i < n && sorted; i++)
        sorted = entry_cmp(base + (i - 1) * entry_size, base + i * entry_size) < 0;
    if (sorted)
        return n;
    if (n <= 32 && entry_size <= 256)
        insertion_sort(base, n, entry_size);
    else
        qsort(base, n, entry_size,
              entry_cmp); /* glibc: merge sort, stable for what fits in memory */
    for (uint32_t i = 0; i < n; i++) {
        if (i + 1 < n && entry_cmp(base + i * entry_size, base + (i + 1) * entry_size) == 0) {
            *ret_duplicates = true;
            continue;
        }
        if (kept != i)
            memcpy(base + kept * entry_size, base + i * entry_size, entry_size);
        kept++;
    }
    return kept;
}

void *schema_new(const struct schema_desc *desc, struct arena *a)
{
    return arena_zalloc(a, desc->size);
}
