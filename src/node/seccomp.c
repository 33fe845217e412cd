/* Allow-list in the spirit of the profiles Docker and containerd use by default: what ordinary
 * programs call is allowed; what reaches over to the kernel's administration fails with EPERM
 * unless the container has the capability that rules it; clone3 fails with ENOSYS so that libcs
 * fall back to clone, whose flags a filter can see (namespaces are refused without CAP_SYS_ADMIN).
 * Names unknown to the installed libseccomp are skipped by crun. */
#include "node/seccomp.h"

#include <errno.h>
#include <linux/capability.h>

static const char allowed[] =
    "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown "
    "chown32 clock_adjtime "
    "clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
    "clock_nanosleep "
    "clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 "
    "epoll_create "
    "epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old "
    "eventfd eventfd2 "
    "execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate "
    "fanotify_mark fchdir "
    "fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr "
    "flistxattr flock fork "
    "fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 "
    "futex futex_requeue "
    "futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 "
    "getegid getegid32 "
    "geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp "
    "getpid getppid "
    "getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list "
    "getrusage getsid "
    "getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr "
    "inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents "
    "io_pgetevents "
    "io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule "
    "landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen "
    "listxattr "
    "llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack "
    "membarrier "
    "memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap "
    "mmap2 mprotect "
    "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 "
    "mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap "
    "name_to_handle_at nanosleep "
    "newfstatat _newselect open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe "
    "pipe2 pkey_alloc "
    "pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 "
    "process_mrelease "
    "process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 "
    "read readahead "
    "readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages "
    "removexattr rename "
    "renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask "
    "rt_sigqueueinfo "
    "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
    "sched_getaffinity "
    "sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler "
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
    "sched_setparam "
    "sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop "
    "semtimedop_time64 send sendfile "
    "sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
    "setgroups "
    "setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid "
    "setresuid32 "
    "setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area "
    "set_tid_address setuid "
    "setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 "
    "sigprocmask sigreturn "
    "socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync "
    "sync_file_range syncfs "
    "sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime "
    "timer_gettime64 timer_settime "
    "timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64 times tkill "
    "truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 "
    "utimes vfork "
    "vmsplice wait4 waitid waitpid write writev arch_prctl modify_ldt";

static const struct {
    int cap;
    const char *names;
} by_capability[] = {
    {CAP_DAC_READ_SEARCH, "open_by_handle_at"},
    {CAP_SYS_ADMIN,
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
     "mount_setattr "
     "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns "
     "syslog umount umount2 unshare"},
    {CAP_SYS_BOOT, "reboot"},
    {CAP_SYS_CHROOT, "chroot"},
    {CAP_SYS_MODULE, "delete_module init_module finit_module"},
    {CAP_SYS_PACCT, "acct"},
    {CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"},
    {CAP_SYS_RAWIO, "iopl ioperm"},
    {CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"},
    {CAP_SYS_TTY_CONFIG, "vhangup"},
    {CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {CAP_SYSLOG, "syslog"},
    {CAP_BPF, "bpf"},
    {CAP_PERFMON, "perf_event_open"},
};

static void add_names(const char *names, struct buf *b)
{
    struct str rest = str_z(names), name;
    bool first = true;
    buf_add_lit(b, "\"names\":[");
    while (str_cut(&rest, ' ', &name) || name.n) {
        if (!first)
            buf_add_char(b, ',');
        first = false;
        buf_add_char(b, '"');
        buf_add_str(b, name);
        buf_add_char(b, '"');
    }
    buf_add_char(b, ']');
}

static void allow(const char *names, struct buf *b)
{
    buf_add_lit(b, ",{");
    add_names(names, b);
    buf_add_lit(b, ",\"action\":\"SCMP_ACT_ALLOW\"}");
}

static void allow_arg(const char *name, unsigned index, uint64_t value, uint64_t value_two,
                      const char *op, struct buf *b)
{
    buf_printf(
        b,
        ",{\"names\":[\"%s\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":%u,\"value\":%llu,"
        "\"valueTwo\":%llu,\"op\":\"%s\"}]}",
        name, index, (unsigned long long)value, (unsigned long long)value_two, op);
}

void seccomp_default_json(uint64_t caps, struct buf *b)
{
    /* CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET */
    static const uint64_t clone_ns = 0x7e020000;
    static const uint64_t personalities[] = {0x0, 0x0008, 0x20000, 0x20008, 0xffffffff};
    bool admin = caps & (UINT64_C(1) << CAP_SYS_ADMIN);
    buf_printf(b,
               "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":%d,\"architectures\":[",
               EPERM);
#if defined(__x86_64__)
    buf_add_lit(b, "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"");
#elif defined(__aarch64__)
    buf_add_lit(b, "\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_ARM\"");
#endif
    buf_add_lit(b, "],\"syscalls\":[{");
    add_names(allowed, b);
    buf_add_lit(b, ",\"action\":\"SCMP_ACT_ALLOW\"}");
    for (size_t i = 0; i < ARRAY_LEN(personalities); i++)
        allow_arg("personality", 0, personalities[i], 0, "SCMP_CMP_EQ", b);
    allow_arg("socket", 0, 40 /* AF_VSOCK reaches the hypervisor */, 0, "SCMP_CMP_NE", b);
    if (!admin) {
        allow_arg("clone", 0, clone_ns, 0, "SCMP_CMP_MASKED_EQ", b);
        buf_printf(b, ",{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":%d}",
                   ENOSYS);
    }
    for (size_t i = 0; i < ARRAY_LEN(by_capability); i++)
        if (caps & (UINT64_C(1) << by_capability[i].cap))
            allow(by_capability[i].names, b);
    buf_add_lit(b, "]}");
}
