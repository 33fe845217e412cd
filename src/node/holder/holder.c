/* Process 1 of a pod whose containers share a process namespace: it holds the namespace and reaps
 * what is left to it. No C library: the whole thing is a few hundred bytes and touches four pages.
 * Built apart from the rest and carried inside davit as data (holder.gen.h). */
#include <asm/unistd.h>

#define SIGCHLD   17
#define SIG_BLOCK 0

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
#else
#error "system calls of this architecture are not known"
#endif

void _start(void);
void _start(void)
{
    /* Signals to process 1 without a handler are ignored but SIGKILL and SIGSTOP from outside.
     * SIGCHLD is blocked and waited for, so nothing is missed between two waits. */
    unsigned long set = 1ul << (SIGCHLD - 1);
    call4(__NR_setsid, 0, 0, 0, 0);
    call4(__NR_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, sizeof(set));
    for (;;) {
        while (call4(__NR_wait4, -1, 0, 1 /* WNOHANG */, 0) > 0) {
        }
        call4(__NR_rt_sigtimedwait, (long)&set, 0, 0, sizeof(set));
    }
}
