/* Arena: memory that is freed whole. One per request and per reconcile; never shared by threads.
 *
 * Invariants: everything handed out is 16-byte aligned and lives until arena_clear/arena_fini;
 * a zeroed struct arena is a valid empty arena with no limit. Allocation never returns NULL unless
 * the arena has a limit and the `try_` form is used; the plain form aborts (bug: a bounded arena
 * must be used with try_). */
#pragma once

#include <stdarg.h>

#include "base/base.h"
#include "base/str.h"

struct arena {
    struct arena_block *head; /* owned; newest first */
    char *p, *end;            /* free part of head */
    size_t used_bytes;        /* sum of all block sizes */
    size_t limit_bytes;       /* 0: none */
};

void arena_init(struct arena *a, size_t limit_bytes);
void arena_fini(struct arena *a);
void arena_clear(struct arena *a); /* frees all blocks but one small one */

void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));  /* not zeroed */
void *arena_zalloc(struct arena *a, size_t size) __attribute__((returns_nonnull)); /* zeroed */
void *arena_try_alloc(struct arena *a, size_t size); /* NULL when over the limit */
#define ARENA_NEW(a, type)      ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_NEW_N(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (size_t)(n)))

struct str arena_str(struct arena *a, struct str s);   /* copy; NUL terminated behind its end */
struct str arena_strz(struct arena *a, const char *s); /* copy of a C string; NULL -> absent */
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF(2, 0);
const char *arena_cstr(struct arena *a, struct str s); /* NUL-terminated copy */
