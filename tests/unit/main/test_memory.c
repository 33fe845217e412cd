/* Giving memory back: what a burst leaves behind goes to the system at the next look, and an idle
 * process is left alone. The timer is turned by hand. */
#include "test.h"

#include "main/memory.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

/* ---- what memory.c needs of the lower layers ---- */

static nsec_t started_for;
static bool active;

void rt_timer_init_named(struct rt_timer *t, struct rt *rt, rt_fn fn, void *arg, const char *name)
{
    *t = (struct rt_timer){.rt = rt, .fn = fn, .arg = arg, .name = name};
}

void rt_timer_start(struct rt_timer *t, nsec_t after)
{
    started_for = after;
    active = true;
}

void rt_timer_stop(struct rt_timer *t)
{
    active = false;
}

void fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* ---- */

#define PIECES 200000
#define SIZE   200

static long private_kb(void)
{
    long resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %ld %ld", &resident, &shared), 2);
    fclose(f);
    return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

static long file_kb(void)
{
    long shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %*u %ld", &shared), 1);
    fclose(f);
    return shared * (sysconf(_SC_PAGESIZE) / 1024);
}

static void turn(struct memory_tend *m)
{
    assert_true(active);
    active = false;
    m->timer.fn(m->timer.arg);
    assert_true(active); /* and again */
    assert_true(started_for >= NSEC_PER_SEC);
}

/* Forty megabytes in small pieces, of which only the last stays: nothing can be given back from the
 * top. */
static void a_burst_is_given_back(void **state)
{
    struct memory_tend m;
    void **v = malloc(PIECES * sizeof(*v));
    memory_tune(1);
    memory_tend_start(&m, NULL);
    turn(&m);
    long before = private_kb();
    for (size_t i = 0; i < PIECES; i++)
        memset(v[i] = malloc(SIZE), 1, SIZE);
    long full = private_kb();
    assert_true(full - before > PIECES / 1024 * SIZE * 9 / 10);
    turn(&m);
    assert_true(private_kb() > full - 1024); /* in use: nothing to give back */
    for (size_t i = 0; i + 1 < PIECES; i++)
        free(v[i]);
    long freed = private_kb();
    assert_true(freed > before + 20 * 1024); /* what the allocator keeps */
    turn(&m);
    assert_true(private_kb() < before + 2 * 1024);
    free(v[PIECES - 1]);
    free(v);
    memory_tend_stop(&m);
    memory_tend_stop(&m);
    assert_false(active);
}

/* Fragments that no trim can help are not tried for at every look. */
static void fragments_are_remembered(void **state)
{
    struct memory_tend m;
    void **v = malloc(PIECES * sizeof(*v));
    memory_tend_start(&m, NULL);
    for (size_t i = 0; i < PIECES; i++)
        memset(v[i] = malloc(SIZE), 1, SIZE);
    for (size_t i = 0; i < PIECES; i++)
        if (i % 8)
            free(v[i]); /* one piece in each 1.6 KB stays: no page is free */
    turn(&m);
    size_t left = m.waste_bytes;
    assert_true(left > 10u << 20);
    turn(&m);
    assert_int_equal(m.waste_bytes, left);
    for (size_t i = 0; i < PIECES; i += 8)
        free(v[i]);
    free(v);
    turn(&m); /* what became free is not: the waste has not grown */
    memory_tend_stop(&m);
}

/* Reads a byte of each page of libcrypto's code, as running all of it would. */
static int touch(struct dl_phdr_info *info, size_t size, void *arg)
{
    unsigned *sum = arg;
    if (!strstr(info->dlpi_name, "libcrypto"))
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && !(info->dlpi_phdr[i].p_flags & PF_W))
            for (size_t at = 0; at < info->dlpi_phdr[i].p_filesz; at += 4096)
                *sum +=
                    *(volatile unsigned char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + at);
    return 0;
}

/* Code that was run once is let go of, comes back when it is run again, and what is of use is left
 * alone afterwards. */
static void code_of_the_start_is_let_go_of(void **state)
{
    struct memory_tend m;
    unsigned sum = 0, again = 0;
    void *lib = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    assert_non_null(lib);
    unsigned long (*version)(void) = (unsigned long (*)(void))dlsym(lib, "OpenSSL_version_num");
    assert_non_null(version);
    unsigned long v = version();
    memory_tend_start(&m, NULL);
    (void)dl_iterate_phdr(touch, &sum);
    long full = file_kb();
    turn(&m);
    assert_true(file_kb() < full - 2048);
    assert_true(version() == v);
    (void)dl_iterate_phdr(touch, &again);
    assert_int_equal(again, sum);
    turn(&m); /* all of it is taken for what is of use */
    assert_true(m.code_bytes > 2u << 20);
    long used = file_kb();
    turn(&m);
    assert_true(file_kb() > used - 512);
    memory_tend_stop(&m);
    dlclose(lib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_given_back),
        cmocka_unit_test(fragments_are_remembered),
        cmocka_unit_test(code_of_the_start_is_let_go_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
