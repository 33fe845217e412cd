/* Growing byte buffer. Zeroed is a valid empty buffer. With a limit, an append that would pass it
 * is dropped and `overflow` is set: check once at the end. data is always NUL terminated when not
 * NULL. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct buf {
    char *data; /* owned */
    size_t n, cap;
    size_t limit_bytes; /* 0: none */
    bool overflow;
};

void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
char *buf_reserve(struct buf *b,
                  size_t more); /* room for `more` bytes at data+n; NULL on overflow */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, struct str s);
/* s as valid UTF-8: U+FFFD for each byte that is no part of a character, at most max bytes, whole
 * characters. */
void buf_add_utf8(struct buf *b, struct str s, size_t max);
void buf_add_char(struct buf *b, char c);
#define buf_add_lit(b, lit) buf_add((b), "" lit, sizeof(lit) - 1)
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_add_i64(struct buf *b, int64_t v);
void buf_consume(struct buf *b, size_t n);    /* drops n bytes from the front (memmove) */
struct str buf_str(const struct buf *b);      /* view; absent when nothing was ever added */
char *buf_take(struct buf *b, size_t *ret_n); /* ownership of the memory moves to the caller */
