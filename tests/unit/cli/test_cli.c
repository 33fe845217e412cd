/* Command lines, data directories and pid files. */
#include "test.h"

#include "base/mem.h"
#include "cli/opts.h"
#include "cli/paths.h"
#include "cli/pidfile.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *fresh_dir(void)
{
    static char path[64];

    snprintf(path, sizeof(path), "/tmp/davit-test-cli-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void remove_dir(const char *path)
{
    static const char *const names[] = {"instance", "run/server.pid", "letter", "instance.tmp"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(freep) char *p = xasprintf("%s/%s", path, names[i]);
        unlink(p);
    }
    CLEANUP(freep) char *run = xasprintf("%s/run", path);
    rmdir(run);
    assert_int_equal(rmdir(path), 0);
}

static void options_are_parsed(void **state)
{
    const char *text = "default";
    int64_t number = 1;
    nsec_t span = 0;
    bool flag = false;
    const struct cli_opt opts[] = {
        {"text", "T", "", CLI_STRING, &text},
        {"number", "N", "", CLI_INT, &number, 0, 10},
        {"span", "D", "", CLI_DURATION, &span},
        {"flag", NULL, "", CLI_FLAG, &flag},
    };
    char *argv[] = {(char *)"verb",
                    (char *)"one",
                    (char *)"--text=a=b",
                    (char *)"--number",
                    (char *)"7",
                    (char *)"--flag",
                    (char *)"--span",
                    (char *)"1m30s",
                    (char *)"--",
                    (char *)"--text",
                    NULL};
    int operands;

    assert_int_equal(cli_opts_parse("verb", "", opts, 4, 10, argv, &operands, NULL), 0);
    assert_string_equal(text, "a=b");
    assert_int_equal(number, 7);
    assert_int_equal(span, 90 * NSEC_PER_SEC);
    assert_true(flag);
    assert_int_equal(operands, 2);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "--text");
}

static void mistakes_are_named(void **state)
{
    int64_t number = 1;
    bool flag = false;
    const struct cli_opt opts[] = {{"number", "N", "", CLI_INT, &number, 0, 10},
                                   {"flag", NULL, "", CLI_FLAG, &flag}};
    static const char *const rows[][2] = {
        {"--numbr", "unknown option --numbr; see davit verb --help"},
        {"--number=11", "--number takes a number from 0 to 10, not \"11\""},
        {"--number=x", "--number takes a number from 0 to 10, not \"x\""},
        {"--number", "--number needs a value (N)"},
        {"--flag=maybe", "--flag takes true or false, not \"maybe\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *argv[] = {(char *)"verb", (char *)(uintptr_t)rows[i][0], NULL};
        struct error err = {0};
        int operands;
        assert_int_equal(cli_opts_parse("verb [options]", "", opts, 2, 2, argv, &operands, &err),
                         -EINVAL);
        assert_str(err.message, rows[i][1]);
        error_fini(&err);
    }
    assert_int_equal(number, 1);
}

static void a_data_directory_keeps_its_instance(void **state)
{
    const char *path = fresh_dir();
    struct data_dir a, b;
    struct error err = {0};

    assert_int_equal(data_dir_open(&a, path, false, &err), -ENOENT);
    error_fini(&err);
    assert_ok(data_dir_open(&a, path, true, &err));
    assert_ok(data_dir_open(&b, path, false, &err));
    assert_int_equal(strlen(a.instance), 8);
    assert_string_equal(a.instance, b.instance);
    data_dir_fini(&a);
    data_dir_fini(&b);
    remove_dir(path);
}

static void foreign_directories_are_left_alone(void **state)
{
    const char *path = fresh_dir();
    CLEANUP(freep)
    char *letter = xasprintf("%s/letter", path), *instance = xasprintf("%s/instance", path);
    int fd = open(letter, O_CREAT | O_WRONLY, 0600);
    struct data_dir d;
    struct error err = {0};

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(data_dir_open(&d, path, true, &err), -EINVAL);
    assert_true(str_search(err.message, STR("not davit's")) > 0);
    assert_int_equal(access(instance, F_OK), -1);
    error_fini(&err);
    remove_dir(path);
}

static void a_pid_file_is_a_lock(void **state)
{
    const char *path = fresh_dir();
    struct data_dir d;
    struct error err = {0};
    int ready[2], fd, status;
    char c;
    pid_t child;

    assert_ok(data_dir_open(&d, path, true, &err));
    assert_int_equal(pidfile_owner(d.run, "server"), 0);
    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        int lock;
        if (pidfile_take(d.run, "server", &lock, NULL) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(pidfile_owner(d.run, "server"), child);
    assert_int_equal(pidfile_take(d.run, "server", &fd, &err), -EBUSY);
    assert_true(str_search(err.message, STR("runs already")) > 0);
    error_fini(&err);
    kill(child, 9);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(pidfile_owner(d.run, "server"), 0);
    assert_ok(pidfile_take(d.run, "server", &fd, &err));
    close(fd);
    close(ready[0]);
    close(ready[1]);
    data_dir_fini(&d);
    remove_dir(path);
}

/* Between the lock and the pid in the file there is a moment: who asks gets the pid of the new
 * owner, neither nobody's nor the former one's. */
static void a_pid_is_waited_for(void **state)
{
    const char *path = fresh_dir();
    struct data_dir d;
    struct error err = {0};
    struct flock owned = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1}, named = owned;

    assert_ok(data_dir_open(&d, path, true, &err));
    char *file = xasprintf("%s/server.pid", d.run);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600), status;
    assert_true(fd >= 0 && write(fd, "4242\n", 5) == 5);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &owned), 0);
    pid_t child = fork();
    if (child == 0) { /* has the parent's description, and so its locks */
        named.l_start = 1;
        usleep(50000);
        if (pwrite(fd, "4343\n", 5, 0) != 5 || fcntl(fd, F_OFD_SETLK, &named) < 0)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(pidfile_owner(d.run, "server"), 4343);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
    assert_int_equal(pidfile_owner(d.run, "server"), 0);
    free(file);
    data_dir_fini(&d);
    remove_dir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pid_is_waited_for),
        cmocka_unit_test(options_are_parsed),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(a_data_directory_keeps_its_instance),
        cmocka_unit_test(foreign_directories_are_left_alone),
        cmocka_unit_test(a_pid_file_is_a_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
