/* davit-keeper DIR CGROUP: kills fenced pods when their node's deadline is over, whether or not its
 * agent lives (docs/FENCING.md). No C library: a few kilobytes that are resident all the time a
 * node has fenced pods. Built apart and carried inside davit as data (keeper.gen.h).
 *
 *   DIR/deadline   8 bytes, CLOCK_BOOTTIME in nanoseconds; 0: over; all ones: end yourself
 *   DIR/pods/UID   one file for each fenced pod; its containers are CGROUP/podUID/...
 *
 * The agent only ever replaces the 8 bytes in place. A deadline that moves nearer is noticed within
 * a second, which is part of the kill bound. No DIR/deadline: the data directory is gone, so it
 * ends. */
#include <asm/unistd.h>

typedef unsigned long ulong;

#define AT_FDCWD       -100
#define O_RDONLY       0
#define O_WRONLY       1
#define O_CLOEXEC      02000000
#define CLOCK_BOOTTIME 7
#define TIMER_ABSTIME  1
#define SIGKILL        9
#define DT_DIR         4
#define SEC            1000000000ul
#define ROUND          50000000ul /* between two kills */
#define DEPTH_MAX      8

#if defined(__x86_64__)
static long call4(long n, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return r;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call keeper_main\n hlt\n");
#elif defined(__aarch64__)
static long call4(long n, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl keeper_main\n brk #1\n");
#else
#error "system calls of this architecture are not known"
#endif

struct timespec64 {
    long sec, nsec;
};
struct dirent64 {
    ulong ino;
    long off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};
struct path {
    char s[1024];
    ulong n;
};

static void add(struct path *p, const char *text)
{
    while (*text && p->n + 1 < sizeof(p->s))
        p->s[p->n++] = *text++;
    p->s[p->n] = 0;
}

/* Not by an initializer: that would be a memset of a library we do not have. */
static void clear(struct path *p)
{
    p->n = 0;
    p->s[0] = 0;
}

static void cut(struct path *p, ulong n)
{
    p->n = n;
    p->s[n] = 0;
}

static long open_at(const char *path, int flags)
{
    return call4(__NR_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0);
}

static void close_fd(long fd)
{
    call4(__NR_close, fd, 0, 0, 0);
}

/* Every process listed in the file. */
static void kill_listed(const char *file)
{
    char buf[4096];
    long fd = open_at(file, O_RDONLY), n, pid = 0;
    if (fd < 0)
        return;
    while ((n = call4(__NR_read, fd, (long)buf, sizeof(buf), 0)) > 0)
        for (long i = 0; i < n; i++) {
            if (buf[i] >= '0' && buf[i] <= '9') {
                pid = pid * 10 + (buf[i] - '0');
                continue;
            }
            if (pid > 1)
                call4(__NR_kill, pid, SIGKILL, 0, 0);
            pid = 0;
        }
    close_fd(fd);
}

static void kill_below(struct path *p, int depth);

static void kill_dir(struct path *p, int depth)
{
    ulong n = p->n;
    add(p, "/cgroup.kill"); /* v2: the whole tree in one go */
    long fd = open_at(p->s, O_WRONLY);
    if (fd >= 0) {
        call4(__NR_write, fd, (long)"1", 1, 0);
        close_fd(fd);
    }
    cut(p, n);
    add(p, "/cgroup.procs");
    kill_listed(p->s);
    cut(p, n);
    kill_below(p, depth);
}

/* fn for every name in the directory that has no dot in front. */
static void each(struct path *p, int depth, int dirs_only,
                 void (*fn)(struct path *p, const char *name, int depth))
{
    char buf[2048] __attribute__((aligned(8)));
    long fd = open_at(p->s, O_RDONLY), n;
    if (fd < 0)
        return;
    while ((n = call4(__NR_getdents64, fd, (long)buf, sizeof(buf), 0)) > 0)
        for (long at = 0; at < n;) {
            struct dirent64 *e = (struct dirent64 *)(buf + at);
            at += e->reclen;
            if (e->name[0] != '.' && (!dirs_only || e->type == DT_DIR))
                fn(p, e->name, depth);
        }
    close_fd(fd);
}

static void kill_child(struct path *p, const char *name, int depth)
{
    ulong n = p->n;
    add(p, "/");
    add(p, name);
    kill_dir(p, depth + 1);
    cut(p, n);
}

/* The containers of a pod, not what holds its namespaces. */
static void kill_below(struct path *p, int depth)
{
    if (depth < DEPTH_MAX)
        each(p, depth, 1, kill_child);
}

static const char *cgroup;

static void kill_pod(struct path *unused, const char *uid, int depth)
{
    struct path p;
    (void)unused;
    clear(&p);
    add(&p, cgroup);
    add(&p, "/pod");
    add(&p, uid);
    kill_below(&p, depth);
}

static ulong now(void)
{
    struct timespec64 t = {0, 0};
    call4(__NR_clock_gettime, CLOCK_BOOTTIME, (long)&t, 0, 0);
    return (ulong)t.sec * SEC + (ulong)t.nsec;
}

static void sleep_until(ulong at)
{
    struct timespec64 t = {(long)(at / SEC), (long)(at % SEC)};
    call4(__NR_clock_nanosleep, CLOCK_BOOTTIME, TIMER_ABSTIME, (long)&t, 0);
}

/* -1 when the file is gone or is none of ours. */
static int read_deadline(const char *path, ulong *ret)
{
    long fd = open_at(path, O_RDONLY);
    if (fd < 0)
        return -1;
    long n = call4(__NR_read, fd, (long)ret, sizeof(*ret), 0);
    close_fd(fd);
    return n == sizeof(*ret) ? 0 : -1;
}

void keeper_main(long *stack);
void keeper_main(long *stack)
{
    char **argv = (char **)(stack + 1);
    struct path deadline, pods;
    clear(&deadline);
    clear(&pods);
    if (stack[0] == 3) {
        ulong at;
        cgroup = argv[2];
        add(&deadline, argv[1]);
        add(&deadline, "/deadline");
        add(&pods, argv[1]);
        add(&pods, "/pods");
        while (read_deadline(deadline.s, &at) == 0 && at != ~0ul) {
            ulong t = now();
            if (t >= at) {
                each(&pods, 0, 0, kill_pod);
                sleep_until(t + ROUND);
            } else {
                sleep_until(at < t + SEC ? at : t + SEC);
            }
        }
    }
    call4(__NR_exit_group, 0, 0, 0, 0);
    for (;;) {
    }
}
