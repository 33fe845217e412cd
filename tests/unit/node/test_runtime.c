/* runtime_start() writes what `crun start` would. The states our death can leave are made by hand
 * here: a crun state directory whose "container" is a process of the test's. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/fsutil.h"
#include "node/proc.h"
#include "node/runtime.h"

#define ID "c0ffee"

static char dir[64];
static struct rt *rt;
static struct runtime runtime;

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void end(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* What crun create leaves: the state of a container whose init is pid. */
static struct fs_path make_state(pid_t pid, uint64_t start_time)
{
    struct fs_path state = fs_path("%s/" ID, runtime.root), fifo = fs_path("%s/exec.fifo", state.s);
    struct fs_path text = fs_path("{\"pid\":%d,\"process-start-time\":%llu}", (int)pid,
                                  (unsigned long long)start_time);
    assert_int_equal(fs_rm_rf(state.s), 0);
    assert_int_equal(fs_mkdirs(state.s, 0700), 0);
    assert_int_equal(fs_write(fs_path("%s/status", state.s).s, str_z(text.s), 0600), 0);
    assert_int_equal(mkfifo(fifo.s, 0600), 0);
    return fifo;
}

struct answer {
    int n, r;
    bool message;
};

static void on_done(void *arg, int r, const char *message)
{
    struct answer *a = arg;
    a->n++;
    a->r = r;
    a->message = message && *message;
    rt_stop(rt);
}

static struct answer start(void)
{
    struct answer a = {0};
    runtime_start(&runtime, ID, on_done, &a);
    assert_int_equal(a.n, 0); /* never from inside the call */
    rt_run(rt);
    assert_int_equal(a.n, 1);
    return a;
}

static void test_start(void **state)
{
    pid_t pid = sleeper();
    struct fs_path fifo = make_state(pid, proc_start_time(pid));
    int reader = open(fifo.s, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char status[16], byte[2] = {1, 1};
    pid_t found;
    assert_true(reader >= 0);
    assert_int_equal(runtime_state("", runtime.root, ID, status, &found), 0);
    assert_string_equal(status, "created");
    assert_int_equal(start().r, 0);
    assert_int_equal(read(reader, byte, 2), 1);
    assert_int_equal(byte[0], 0);
    assert_false(fs_exists(fifo.s));
    assert_int_equal(runtime_state("", runtime.root, ID, status, &found), 0);
    assert_string_equal(status, "running");
    assert_int_equal(found, pid);
    close(reader);
    struct answer again = start();
    assert_int_equal(again.r, -ENOENT);
    assert_true(again.message);
    end(pid);
}

/* We died between the byte and the removal of the fifo: nobody reads it any more. */
static void test_start_again(void **state)
{
    pid_t pid = sleeper();
    struct fs_path fifo = make_state(pid, proc_start_time(pid));
    assert_int_equal(start().r, 0);
    assert_false(fs_exists(fifo.s));
    end(pid);
}

static void test_start_dead(void **state)
{
    pid_t pid = sleeper();
    uint64_t began = proc_start_time(pid);
    end(pid);
    (void)make_state(pid, began);
    struct answer a = start();
    assert_int_equal(a.r, -ESRCH);
    assert_true(a.message);
    /* Another process by the same pid is not it either. */
    pid = sleeper();
    (void)make_state(pid, proc_start_time(pid) + 1);
    assert_int_equal(start().r, -ESRCH);
    end(pid);
}

/* What a container finds behind /proc/PID/exe of a crun is that mount: not to be written to, and
 * the program it was made from is as it was. */
static void test_read_only(void **state)
{
    if (geteuid() != 0)
        skip();
    struct stat own, bound;
    assert_string_not_equal(runtime.crun, "/bin/true");
    assert_int_equal(stat("/bin/true", &own), 0);
    assert_int_equal(stat(runtime.crun, &bound), 0);
    assert_int_equal(own.st_ino, bound.st_ino);
    assert_int_equal(open(runtime.crun, O_WRONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(access(runtime.crun, X_OK), 0);
    /* The next agent binds it anew, in the same place, once. */
    struct runtime next;
    struct error err = {0};
    assert_int_equal(runtime_init(&next, rt, dir, "/bin/true", "/bin/true", &err), 0);
    assert_string_equal(next.crun, runtime.crun);
    runtime_fini(&next);
    assert_true(fs_is_mount_point(runtime.crun));
    runtime_unbind(dir);
    assert_false(fs_is_mount_point(runtime.crun));
}

/* ---- ends ---- */

static bool seen_last;

static void on_exit_seen(void *arg, struct str id, int code)
{
    unsigned *codes = arg;
    int64_t i;
    assert_int_equal(str_to_i64(id, &i), 0);
    codes[i] = (unsigned)code;
    seen_last |= strcmp(id.p, "7") == 0;
}

static bool has_last(void *arg)
{
    (void)arg;
    return seen_last;
}

/* While the loop is away more containers end than the kernel keeps in mind: the file with no event
 * of its own is found all the same. */
static void test_exits_overflow(void **state)
{
    struct error err = {0};
    int64_t max;
    assert_int_equal(fs_read_i64("/proc/sys/fs/inotify/max_queued_events", &max), 0);
    if (max > 100000)
        skip();
    unsigned *codes = calloc((size_t)max + 10, sizeof(*codes));
    assert_int_equal(runtime_watch_exits(&runtime, on_exit_seen, codes, &err), 0);
    for (int64_t i = 0; i <= max; i++) { /* one file again and again; each write is an event */
        int fd = open(fs_path("%s/%d", runtime.exits_dir, i % 2 ? 1 : 2).s,
                      O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "0", 1), 1);
        close(fd);
    }
    assert_int_equal(fs_write(fs_path("%s/7", runtime.exits_dir).s, STR("137"), 0600), 0);
    assert_true(rt_run_until(rt, has_last, NULL, 60 * NSEC_PER_SEC));
    assert_int_equal(codes[7], 137);
    free(codes);
}

static int set_up(void **state)
{
    struct error err = {0};
    snprintf(dir, sizeof(dir), "/tmp/davit-runtime.XXXXXX");
    assert_non_null(mkdtemp(dir));
    rt = rt_uv_new();
    assert_int_equal(runtime_init(&runtime, rt, dir, "/bin/true", "/bin/true", &err), 0);
    return 0;
}

static int tear_down(void **state)
{
    runtime_fini(&runtime);
    runtime_unbind(dir);
    rt_free(rt);
    return fs_rm_rf(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),          cmocka_unit_test(test_start_again),
        cmocka_unit_test(test_start_dead),     cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_exits_overflow),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
