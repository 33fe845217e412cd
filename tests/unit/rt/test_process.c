/* Children: exit status, signals, descriptors, timeouts, bounded output. Needs /bin/sh only. */
#include "rt_test.h"
#include "rt/process.h"
#include "rt/sim.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct ended {
    bool done;
    struct rt_exit how;
};

static void on_exit_(void *arg, struct rt_exit how)
{
    struct ended *e = arg;

    assert_false(e->done);
    e->done = true;
    e->how = how;
}

static struct rt_process *sh(struct rt *rt, const char *script, struct ended *e,
                             const struct rt_process_opts *base)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct rt_process_opts o = base ? *base : (struct rt_process_opts){0};
    struct rt_process *p = NULL;
    struct error err = {0};

    o.argv = argv;
    assert_int_equal(rt_process_start(rt, &o, on_exit_, e, &err, &p), 0);
    error_fini(&err);
    return p;
}

static void test_exit_codes(void **state)
{
    static const struct {
        const char *script;
        int code, signal;
    } rows[] = {{"exit 0", 0, 0},
                {"exit 7", 7, 0},
                {"kill -9 $$", -1, SIGKILL},
                {"kill -15 $$", -1, SIGTERM}};
    struct rt *rt = rt_uv_new();

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ended e = {0};
        struct rt_process *p = sh(rt, rows[i].script, &e, NULL);
        WAIT(rt, e.done);
        assert_int_equal(e.how.code, rows[i].code);
        assert_int_equal(e.how.signal, rows[i].signal);
        assert_int_equal(rt_exit_ok(e.how), i == 0);
        assert_int_equal(rt_process_kill(p, SIGTERM, false), -ESRCH);
        assert_null(rt_process_free(p));
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    assert_int_equal(errno, ECHILD);
    rt_free(rt);
}

static void test_start_failures(void **state)
{
    struct rt *rt = rt_uv_new(), *sim = rt_sim_new(1, 0);
    static const struct {
        const char *program, *cwd;
        int want;
        const char *step;
    } rows[] = {{"/does/not/exist", NULL, -ENOENT, "exec"},
                {"no-such-program-anywhere", NULL, -ENOENT, "find program"},
                {"/etc/passwd", NULL, -EACCES, "exec"},
                {"/bin/true", "/does/not/exist", -ENOENT, "change directory"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *argv[] = {rows[i].program, NULL};
        struct rt_process_opts o = {.argv = argv, .cwd = rows[i].cwd};
        struct rt_process *p = NULL;
        struct error err = {0};
        struct ended e = {0};
        assert_int_equal(rt_process_start(rt, &o, on_exit_, &e, &err, &p), rows[i].want);
        assert_null(p);
        assert_non_null(strstr(err.message.p, rows[i].step));
        assert_non_null(strstr(err.message.p, rows[i].program));
        assert_int_equal(rt_process_start(sim, &o, on_exit_, &e, NULL, &p), -ENOTSUP);
        error_fini(&err);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    rt_free(rt);
    rt_free(sim);
}

static void test_pipes(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_process_opts o = {.stdio = {RT_STDIO_PIPE, RT_STDIO_PIPE, RT_STDIO_PIPE}};
    struct ended e = {0};
    struct end in = {0}, out = {0}, errout = {0};
    struct rt_process *p = sh(rt, "tr a-z A-Z; echo oops >&2", &e, &o);

    end_start(&out, rt_process_take_stdio(p, 1));
    end_start(&errout, rt_process_take_stdio(p, 2));
    in.s = rt_process_take_stdio(p, 0);
    assert_null(rt_process_take_stdio(p, 0));
    assert_string_equal(rt_stream_kind(in.s), "pipe");
    rt_stream_write(in.s, STR("hello "));
    rt_stream_write(in.s, STR("pipe"));
    rt_stream_shutdown(in.s);
    WAIT(rt, out.eof && errout.eof && e.done);
    assert_string_equal(out.got.data, "HELLO PIPE");
    assert_string_equal(errout.got.data, "oops\n");
    assert_true(rt_exit_ok(e.how));
    end_close(&in);
    end_close(&out);
    end_close(&errout);
    rt_process_free(p);
    rt_free(rt);
}

/* The child sees 0, 1, 2 and what it was given, at the numbers asked for, even when these collide.
 */
static void test_descriptors(void **state)
{
    struct rt *rt = rt_uv_new();
    int leak = open("/dev/null", O_RDONLY); /* no O_CLOEXEC: must not get through all the same */
    int a[2], b[2];
    struct rt_process_opts o = {.stdio = {RT_STDIO_NULL, RT_STDIO_PIPE, RT_STDIO_INHERIT}};
    struct ended e = {0};
    struct end out = {0}, got_a = {0}, got_b = {0};
    struct rt_stream *ra, *rb;
    struct rt_process *p;

    assert_true(leak > 2);
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    struct rt_process_fd fds[] = {{a[1], b[1]}, {b[1], a[1]}}; /* crosswise */
    o.fds = fds;
    o.n_fds = 2;
    char *script =
        xasprintf("echo first >/proc/self/fd/%d; echo second >/proc/self/fd/%d; ls /proc/self/fd",
                  b[1], a[1]);
    p = sh(rt, script, &e, &o);
    free(script);
    close(a[1]);
    close(b[1]);
    assert_int_equal(rt_stream_from_fd(rt, a[0], &ra), 0);
    assert_int_equal(rt_stream_from_fd(rt, b[0], &rb), 0);
    end_start(&out, rt_process_take_stdio(p, 1));
    end_start(&got_a, ra);
    end_start(&got_b, rb);
    WAIT(rt, out.eof && got_a.eof && got_b.eof && e.done);
    assert_string_equal(got_a.got.data, "first\n");
    assert_string_equal(got_b.got.data, "second\n");
    /* 0 1 2, the two, and the directory that ls itself has open */
    int lines = 0;
    for (size_t i = 0; i < out.got.n; i++)
        lines += out.got.data[i] == '\n';
    assert_int_equal(lines, 6);
    end_close(&out);
    end_close(&got_a);
    end_close(&got_b);
    close(leak);
    rt_process_free(p);
    rt_free(rt);
}

static void test_kill_group(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_process_opts o = {.stdio = {0, RT_STDIO_PIPE, 0}, .new_session = true};
    struct ended e = {0};
    struct end out = {0};
    struct rt_process *p = sh(rt, "trap '' TERM; echo up; sleep 100 & wait", &e, &o);

    end_start(&out, rt_process_take_stdio(p, 1));
    WAIT(rt, out.got.n == 3);
    assert_true(rt_process_pid(p) > 0);
    assert_int_equal(getsid(rt_process_pid(p)), rt_process_pid(p));
    assert_int_equal(rt_process_kill(p, SIGTERM, false), 0);
    settle(rt, 20 * NSEC_PER_MSEC);
    assert_false(e.done);
    assert_int_equal(rt_process_kill(p, SIGKILL, true), 0);
    WAIT(rt, e.done && out.eof); /* the end of the pipe: sleep is gone, too */
    assert_int_equal(e.how.signal, SIGKILL);
    end_close(&out);
    rt_process_free(p);
    rt_free(rt);
}

static void test_signal_state_is_default(void **state)
{
    struct rt *rt = rt_uv_new(); /* ignores SIGPIPE */
    struct rt_process_opts o = {.stdio = {0, RT_STDIO_PIPE, 0}};
    struct ended e = {0};
    struct end out = {0};
    struct rt_process *p = sh(rt, "grep -E 'Sig(Blk|Ign)' /proc/self/status", &e, &o);

    end_start(&out, rt_process_take_stdio(p, 1));
    WAIT(rt, out.eof && e.done);
    assert_string_equal(out.got.data, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    end_close(&out);
    rt_process_free(p);
    rt_free(rt);
}

static void test_free_while_running(void **state)
{
    struct rt *rt = rt_uv_new();
    struct ended e = {0};
    struct rt_process *p = sh(rt, "exit 3", &e, NULL);
    pid_t pid = rt_process_pid(p), long_pid;

    rt_process_free(p);
    WAIT(rt, kill(pid, 0) < 0); /* reaped all the same */
    assert_false(e.done);
    p = sh(rt, "exec sleep 100", &e, NULL);
    long_pid = rt_process_pid(p);
    rt_process_free(p);
    rt_free(rt); /* with a child running: it lives on */
    assert_int_equal(kill(long_pid, SIGKILL), 0);
    assert_int_equal(waitpid(long_pid, NULL, 0), long_pid);
}

static void test_watch_foreign(void **state)
{
    struct rt *rt = rt_uv_new();
    struct rt_process *w = NULL;
    struct ended e = {0};
    pid_t pid = fork();

    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_int_equal(rt_process_watch(rt, pid, on_exit_, &e, &w), 0);
    settle(rt, 10 * NSEC_PER_MSEC);
    assert_false(e.done);
    assert_int_equal(rt_process_kill(w, SIGKILL, false), 0);
    WAIT(rt, e.done);
    assert_int_equal(e.how.code, -1);
    rt_process_free(w);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(rt_process_watch(rt, pid, on_exit_, &e, &w), -ESRCH);
    rt_free(rt);
}

static void test_namespace_cgroup_oom_death(void **state)
{
    struct rt *rt = rt_uv_new();
    char dir[] = "/tmp/rt-test-XXXXXX";
    char file[64];
    struct rt_process_opts o = {.stdio = {0, RT_STDIO_PIPE, 0}, .oom_score_adj = 123};
    struct ended e = {0};
    struct end out = {0};
    struct rt_process *p;
    int procs, ns, r;
    char text[16] = "";

    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/procs", dir); /* stands for cgroup.procs */
    procs = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    o.cgroup_procs_fds = &procs;
    o.n_cgroup_procs_fds = 1;
    o.cwd = dir;
    o.pdeathsig = SIGKILL;
    if (geteuid() == 0) { /* entering one's own namespace needs the right, too */
        o.setns_fds = &ns;
        o.n_setns_fds = 1;
    }
    p = sh(rt, "cat /proc/self/oom_score_adj; pwd", &e, &o);
    end_start(&out, rt_process_take_stdio(p, 1));
    WAIT(rt, out.eof && e.done);
    r = (int)pread(procs, text, sizeof(text) - 1, 0);
    assert_int_equal(r, 1);
    assert_string_equal(text, "0");
    assert_memory_equal(out.got.data, "123\n", 4);
    buf_consume(&out.got, 4);
    out.got.data[out.got.n - 1] = '\0';
    assert_string_equal(out.got.data, dir);
    end_close(&out);
    rt_process_free(p);
    /* A descriptor that is no namespace: the step is named. */
    struct rt_process *bad = NULL;
    struct error err = {0};
    const char *argv[] = {"/bin/true", NULL};
    struct rt_process_opts ob = {.argv = argv, .setns_fds = &procs, .n_setns_fds = 1};
    assert_true(rt_process_start(rt, &ob, on_exit_, &e, &err, &bad) < 0);
    assert_non_null(strstr(err.message.p, "enter namespace"));
    error_fini(&err);
    close(procs);
    close(ns);
    unlink(file);
    rmdir(dir);
    rt_free(rt);
}

/* ---- run and collect ---- */

struct ran {
    bool done;
    int err;
    struct rt_exit how;
    char *out, *errout, *message;
    bool truncated;
};

static void on_ran(void *arg, struct rt_run_result *res)
{
    struct ran *r = arg;

    r->done = true;
    r->err = res->err;
    r->how = res->how;
    r->truncated = res->truncated;
    r->out = buf_take(&res->out, NULL);
    r->errout = buf_take(&res->errout, NULL);
    r->message = xstrdup(res->message);
}

static void ran_fini(struct ran *r)
{
    free(r->out);
    free(r->errout);
    free(r->message);
}

static struct ran run(struct rt *rt, const char *script, struct rt_run_opts o)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct ran r = {0};

    o.process.argv = argv;
    assert_non_null(rt_process_run(rt, &o, on_ran, &r));
    assert_false(r.done);
    WAIT(rt, r.done);
    return r;
}

static void test_run(void **state)
{
    struct rt *rt = rt_uv_new();
    struct ran r = run(rt, "cat; echo bad >&2; exit 4", (struct rt_run_opts){.input = STR("in\n")});

    assert_int_equal(r.err, 0);
    assert_int_equal(r.how.code, 4);
    assert_string_equal(r.out, "in\n");
    assert_string_equal(r.errout, "bad\n");
    assert_string_equal(r.message, "/bin/sh: exit status 4: bad");
    ran_fini(&r);

    r = run(rt, "echo one; echo two >&2", (struct rt_run_opts){.merge_stderr = true});
    assert_int_equal(strlen(r.out), 8);
    assert_string_equal(r.errout, "");
    ran_fini(&r);

    r = run(rt, "head -c 1000000 /dev/zero | tr '\\0' x",
            (struct rt_run_opts){.output_bytes_max = 1000});
    assert_int_equal(strlen(r.out), 1000);
    assert_true(r.truncated && rt_exit_ok(r.how));
    ran_fini(&r);

    r = run(rt, "exec sleep 100", (struct rt_run_opts){.timeout = 30 * NSEC_PER_MSEC});
    assert_int_equal(r.err, -ETIMEDOUT);
    assert_int_equal(r.how.signal, SIGKILL);
    ran_fini(&r);

    /* A daemon that keeps the pipe does not keep us. */
    r = run(rt, "sleep 100 & echo $!", (struct rt_run_opts){0});
    assert_true(rt_exit_ok(r.how));
    assert_int_equal(kill((pid_t)strtol(r.out, NULL, 10), SIGKILL), 0);
    ran_fini(&r);

    /* Input nobody reads. */
    char *big = xcalloc(1, 1000000);
    r = run(rt, "exit 0", (struct rt_run_opts){.input = {big, 1000000}});
    assert_true(rt_exit_ok(r.how));
    free(big);
    ran_fini(&r);
    rt_free(rt);
}

static void test_run_not_startable_and_cancel(void **state)
{
    struct rt *rt = rt_uv_new();
    const char *argv[] = {"/no/such", NULL};
    const char *sleep_argv[] = {"sleep", "100", NULL};
    struct rt_run_opts o = {.process.argv = argv};
    struct ran r = {0};
    struct rt_run *run;

    (void)rt_process_run(rt, &o, on_ran, &r);
    assert_false(r.done);
    WAIT(rt, r.done);
    assert_int_equal(r.err, -ENOENT);
    assert_non_null(strstr(r.message, "/no/such"));
    ran_fini(&r);
    r = (struct ran){0};
    o.process.argv = sleep_argv;
    run = rt_process_run(rt, &o, on_ran, &r);
    settle(rt, 5 * NSEC_PER_MSEC);
    assert_null(rt_run_cancel(run));
    WAIT(rt, waitpid(-1, NULL, WNOHANG) == -1);
    assert_false(r.done);
    rt_free(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_kill_group),
        cmocka_unit_test(test_signal_state_is_default),
        cmocka_unit_test(test_free_while_running),
        cmocka_unit_test(test_watch_foreign),
        cmocka_unit_test(test_namespace_cgroup_oom_death),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_not_startable_and_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
