/* The fast path of appending to a buffer, for printers that append small pieces by the thousand. */
#pragma once

#include "base/buf.h"

/* Room for n bytes and a NUL at data+n, or NULL when the limit is hit. The caller fills it and adds
 * to b->n; the NUL of struct buf is its duty too (out_end). */
static inline char *out_room(struct buf *b, size_t n)
{
    if (LIKELY(b->n + n < b->cap && !b->limit_bytes))
        return b->data + b->n;
    return buf_reserve(b, n);
}
static inline void out_end(struct buf *b, size_t n)
{
    b->n += n;
    b->data[b->n] = 0;
}
static inline void out_add(struct buf *b, const char *p, size_t n)
{
    char *o = out_room(b, n);
    if (o && n) {
        memcpy(o, p, n);
        out_end(b, n);
    }
}
#define OUT_LIT(b, lit) out_add((b), "" lit, sizeof(lit) - 1)
