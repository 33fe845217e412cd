/* One growing buffer for everything that is built up piecewise: JSON, HTTP heads, log lines. */
#include "base/buf.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.limit_bytes = b->limit_bytes};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->overflow = false;
}

char *buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->n + more + 1;

    if (UNLIKELY(need <= more || (b->limit_bytes && b->n + more > b->limit_bytes))) {
        b->overflow = true;
        return NULL;
    }
    if (need > b->cap) {
        size_t cap = MAX(b->cap * 2, (size_t)256);
        b->cap = MAX(cap, need);
        b->data = xrealloc(b->data, b->cap);
    }
    return b->data + b->n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    char *q = buf_reserve(b, n);

    if (!q)
        return;
    if (n)
        memcpy(q, p, n);
    b->n += n;
    b->data[b->n] = '\0';
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_add_utf8(struct buf *b, struct str s, size_t max)
{
    static const struct str unknown = {"\xEF\xBF\xBD", 3};
    while (s.n) {
        size_t n = str_utf8_char(s);
        struct str c = n ? (struct str){s.p, n} : unknown;
        if (c.n > max)
            return;
        buf_add_str(b, c);
        max -= c.n;
        s = str_sub(s, MAX(n, (size_t)1), s.n);
    }
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    char *q;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    q = buf_reserve(b, (size_t)n);
    if (!q)
        return;
    va_start(ap, fmt);
    vsnprintf(q, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void buf_add_i64(struct buf *b, int64_t v)
{
    char tmp[24], *p = tmp + sizeof(tmp);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do
        *--p = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(tmp + sizeof(tmp) - p));
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->n);
    b->n -= n;
    if (b->n)
        memmove(b->data, b->data + n, b->n);
    if (b->data)
        b->data[b->n] = '\0';
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->data, b->n};
}

char *buf_take(struct buf *b, size_t *ret_n)
{
    char *p = b->data ? b->data : xstrdup("");

    if (ret_n)
        *ret_n = b->n;
    *b = (struct buf){.limit_bytes = b->limit_bytes};
    return p;
}
