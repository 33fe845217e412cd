/* glibc gives memory back only from the top of a heap, so one small object that outlives a burst (a
 * list of ten thousand pods, an exec that carried megabytes) keeps all below it. malloc_trim
 * returns whole pages from the middle too, but walks all that is free: so only when it is worth it,
 * and rarely. */
#include "main/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define TEND_PERIOD     (20 * NSEC_PER_SEC)
#define WASTE_BYTES_MIN ((size_t)1 << 20)
#define TRIM_PAD_BYTES  ((size_t)128 << 10) /* left at the top for the next request */

void memory_limit_arenas(unsigned n)
{
    (void)mallopt(M_ARENA_MAX, (int)n);
}

/* Private memory in RAM beyond what is allocated; 0 when it cannot be told. */
static size_t waste(void)
{
    CLEANUP(fd_closep) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    unsigned long resident, shared;
    char text[128];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    struct mallinfo2 m = mallinfo2();
    size_t used = m.uordblks + m.hblkhd, private;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%*u %lu %lu", &resident, &shared) != 2 || resident < shared)
        return 0;
    private = (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
    return private > used ? private - used : 0;
}

static void on_tend(void *arg)
{
    struct memory_tend *m = arg;

    if (waste() > m->waste_bytes + WASTE_BYTES_MIN) {
        (void)malloc_trim(TRIM_PAD_BYTES);
        m->waste_bytes = waste();
    }
    rt_timer_start(&m->timer, TEND_PERIOD);
}

void memory_tend_start(struct memory_tend *m, struct rt *rt)
{
    *m = (struct memory_tend){0};
    rt_timer_init(&m->timer, rt, on_tend, m);
    rt_timer_start(&m->timer, TEND_PERIOD);
}

void memory_tend_stop(struct memory_tend *m)
{
    rt_timer_stop(&m->timer);
}
