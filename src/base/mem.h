/* Heap helpers. The x-functions are for small internal allocations and abort when memory is out;
 * sizes chosen by a peer go through a bounded `try_` call of the container that takes them. */
#pragma once

#include "base/base.h"

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size)
    __attribute__((malloc, returns_nonnull)); /* zeroed; checks overflow */
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF(1, 2) __attribute__((malloc, returns_nonnull));
#define NEW(type) ((type *)xcalloc(1, sizeof(type)))

/* Grow a plain growable array `T *v; n, cap` so that one more fits: doubles, starts at 8. */
#define ARRAY_RESERVE(v, n, cap)                                                                   \
    do {                                                                                           \
        if ((n) >= (cap)) {                                                                        \
            (cap) = (cap) ? (cap)*2 : 8;                                                           \
            (v) = xrealloc((v), (size_t)(cap) * sizeof(*(v)));                                     \
        }                                                                                          \
    } while (0)
