/* Allocation that does not fail: davit cannot do anything useful when a hundred bytes are not to be
 * had, and code that pretends otherwise is never run. Large or peer-chosen sizes do not come here.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

NORETURN void assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "davit: BUG: %s:%d: %s: assertion failed: %s\n", file, line, func, cond);
    abort();
}

static NORETURN void out_of_memory(size_t size)
{
    fprintf(stderr, "davit: out of memory (%zu bytes)\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    if (UNLIKELY(!p))
        out_of_memory(size);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (UNLIKELY(!p))
        out_of_memory(n * size);
    return p;
}

void *xrealloc(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (UNLIKELY(!p))
        out_of_memory(size);
    return p;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(0);
    return s;
}

void freep(void *pp)
{
    free(*(void **)pp);
}

void fd_closep(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}
