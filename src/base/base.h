/* What every file of davit may take for granted: integer names, macros, cleanup attributes. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/banned.h"

/* Nanoseconds; a monotonic instant or a span. */
typedef int64_t nsec_t;
#define NSEC_PER_USEC ((nsec_t)1000)
#define NSEC_PER_MSEC ((nsec_t)1000000)
#define NSEC_PER_SEC  ((nsec_t)1000000000)
/* Microseconds since 1970-01-01 UTC (wall clock). */
typedef int64_t usec_t;
/* A revision of the store; 0 is "none". */
typedef uint64_t rev_t;

/* Spans as users give them, of any size: cut to 146 years (in microseconds 73,000), so that a
 * moment and a span still add up. */
static inline nsec_t nsec_of_usec(usec_t us)
{
    usec_t max = INT64_MAX / 2 / NSEC_PER_USEC;
    return (us > max ? max : us < -max ? -max : us) * NSEC_PER_USEC;
}
static inline nsec_t nsec_of_s(int64_t s)
{
    int64_t max = INT64_MAX / 2 / NSEC_PER_SEC;
    return (s > max ? max : s < -max ? -max : s) * NSEC_PER_SEC;
}
static inline usec_t usec_of_s(int64_t s)
{
    int64_t max = INT64_MAX / 4 / 1000000;
    return (s > max ? max : s < -max ? -max : s) * 1000000;
}

#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi)              ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))
#define LIKELY(x)                     __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                   __builtin_expect(!!(x), 0)
#define MUST_CHECK                    __attribute__((warn_unused_result))
#define PRINTF(fmt, args)             __attribute__((format(printf, fmt, args)))
#define NORETURN                      __attribute__((noreturn))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define ALIGN_UP(n, a)                (((n) + (a)-1) & ~((size_t)(a)-1))

/* BUG: what must hold does not. Stays on in release; prints where and aborts. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (UNLIKELY(!(cond)))                                                                     \
            assert_failed(#cond, __FILE__, __LINE__, __func__);                                    \
    } while (0)
NORETURN void assert_failed(const char *cond, const char *file, int line, const char *func);

/* Cleanup: `CLEANUP(fd_closep) int fd = -1;`. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
void freep(void *pp);    /* frees *(void **)pp */
void fd_closep(int *fd); /* closes *fd when >= 0, keeps errno */
/* `TAKE_PTR(p)`: yields p and leaves NULL, to move ownership past a cleanup. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        typeof(p) *_pp = &(p);                                                                     \
        typeof(p) _v = *_pp;                                                                       \
        *_pp = NULL;                                                                               \
        _v;                                                                                        \
    })
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int *_pf = &(fd);                                                                          \
        int _v = *_pf;                                                                             \
        *_pf = -1;                                                                                 \
        _v;                                                                                        \
    })
