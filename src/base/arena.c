/* Requests and reconciles make many small pieces that die together, so they take them from blocks
 * that grow geometrically and are freed in one go: no per-piece free, no leak, good locality. */
#include "base/arena.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_ALIGN     16
#define ARENA_BLOCK_MIN ((size_t)2048)
#define ARENA_BLOCK_MAX ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t size; /* with this header */
} __attribute__((aligned(ARENA_ALIGN)));

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *a)
{
    struct arena_block *b = a->head;

    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    *a = (struct arena){.limit_bytes = a->limit_bytes};
}

void arena_clear(struct arena *a)
{
    struct arena_block *b = a->head, *keep = NULL;

    while (b) {
        struct arena_block *next = b->next;
        if (!keep && b->size <= 16 * ARENA_BLOCK_MIN)
            keep = b;
        else
            free(b);
        b = next;
    }
    a->head = keep;
    a->used_bytes = keep ? keep->size : 0;
    if (keep)
        keep->next = NULL;
    a->p = keep ? (char *)(keep + 1) : NULL;
    a->end = keep ? (char *)keep + keep->size : NULL;
}

static bool arena_grow(struct arena *a, size_t size)
{
    size_t want = a->head ? MIN(a->head->size * 2, ARENA_BLOCK_MAX) : ARENA_BLOCK_MIN;
    struct arena_block *b;

    if (size > SIZE_MAX / 2)
        return false;
    want = MAX(want, size + sizeof(struct arena_block));
    if (a->limit_bytes && a->used_bytes + want > a->limit_bytes) {
        want = size + sizeof(struct arena_block);
        if (a->used_bytes + want > a->limit_bytes)
            return false;
    }
    b = xmalloc(want);
    b->size = want;
    b->next = a->head;
    a->head = b;
    a->used_bytes += want;
    a->p = (char *)(b + 1);
    a->end = (char *)b + want;
    return true;
}

void *arena_try_alloc(struct arena *a, size_t size)
{
    size_t n = ALIGN_UP(MAX(size, (size_t)1), ARENA_ALIGN);
    void *p;

    if (UNLIKELY(n < size))
        return NULL;
    if (UNLIKELY((size_t)(a->end - a->p) < n) && !arena_grow(a, n))
        return NULL;
    p = a->p;
    a->p += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = arena_try_alloc(a, size);

    ASSERT(p != NULL);
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p;

    if (!s.p)
        return s;
    p = arena_alloc(a, s.n + 1);
    memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}

struct str arena_strz(struct arena *a, const char *s)
{
    return s ? arena_str(a, str_z(s)) : STR_NONE;
}

const char *arena_cstr(struct arena *a, struct str s)
{
    return s.p ? arena_str(a, s).p : "";
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    char *p;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    ASSERT(n >= 0);
    p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}
