/* glibc gives memory back only from the top of a heap, so one small object that outlives a burst (a
 * list of ten thousand pods, an exec that carried megabytes) keeps all below it. malloc_trim
 * returns whole pages from the middle too, but walks all that is free: so only when it is worth it,
 * and rarely. By itself it gives back what is over 128 KiB at the top with each free, and a stream
 * whose records are queued and sent by hundreds of KiB faults in every page of them anew: a third
 * of what a crowd of watchers cost. So there it waits for more, and the rest is ours to see to.
 *
 * The program and its libraries are pages too. The kernel maps sixteen at a touch and lets go of
 * none that is mapped as long as it has others: what a start needs (relocated tables, self-tests of
 * libcrypto, the compiler of libnftables) would count as used for ever. They are let go of once the
 * start is over; those that are still of use come back at their first use, mostly without a read.
 */
#include "main/memory.h"

#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEND_PERIOD     (20 * NSEC_PER_SEC)
#define WASTE_BYTES_MIN ((size_t)1 << 20)
#define TRIM_PAD_BYTES  ((size_t)128 << 10) /* left at the top for the next request */
#define TOP_BYTES       (16 << 20) /* free at the top of a heap before it is given back at once */
#define MAPPED_BYTES    (1 << 20)  /* blocks from this size on are mappings of their own */
#define CODE_BYTES_MIN  ((size_t)2 << 20) /* more than was of use before: let go of it again */

void memory_tune(unsigned arenas)
{
    (void)mallopt(M_ARENA_MAX, (int)arenas);
    (void)mallopt(M_TRIM_THRESHOLD, TOP_BYTES);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

struct resident {
    size_t private_bytes, file_bytes;
};

static bool resident(struct resident *ret)
{
    CLEANUP(fd_closep) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned long all, file;
    char text[128];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    if (sscanf(text, "%*u %lu %lu", &all, &file) != 2 || all < file)
        return false;
    *ret = (struct resident){.private_bytes = (all - file) * page, .file_bytes = file * page};
    return true;
}

/* Private memory in RAM beyond what is allocated. */
static size_t waste(const struct resident *r)
{
    struct mallinfo2 m = mallinfo2();
    size_t used = m.uordblks + m.hblkhd;

    return r->private_bytes > used ? r->private_bytes - used : 0;
}

/* Segments that may not be written hold what is in their files: nothing is lost with their pages.
 * (Relocated constants are in segments that may, and are protected later.) */
static int drop_code(struct dl_phdr_info *info, size_t size, void *arg)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t from = (info->dlpi_addr + h->p_vaddr) & ~(page - 1);
        uintptr_t to = (info->dlpi_addr + h->p_vaddr + h->p_filesz) & ~(page - 1);
        if (h->p_type == PT_LOAD && !(h->p_flags & PF_W) && to > from)
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

/* What was resident a while after the last time is what is of use. */
static void tend_code(struct memory_tend *m, const struct resident *r)
{
    if (m->code_dropped) {
        m->code_bytes = r->file_bytes;
        m->code_dropped = false;
    } else if (r->file_bytes > m->code_bytes + CODE_BYTES_MIN) {
        (void)dl_iterate_phdr(drop_code, NULL);
        m->code_dropped = true;
    }
}

static void on_tend(void *arg)
{
    struct memory_tend *m = arg;
    struct resident r;

    if (resident(&r)) {
        tend_code(m, &r);
        if (waste(&r) > m->waste_bytes + WASTE_BYTES_MIN) {
            (void)malloc_trim(TRIM_PAD_BYTES);
            m->waste_bytes = resident(&r) ? waste(&r) : 0;
        }
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
