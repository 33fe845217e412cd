/* What `davit up` waits for and gives up on. It starts "server" and "agent" as its own program,
 * here this test. Then the test plays that part as DIR/run/PART.script says, one word a start, the
 * last one for all that follow:
 *
 *   ready     says so and lives until SIGTERM
 *   dieready  says so and ends with exit code 1
 *   die       ends with exit code 1
 *   usage     ends with exit code 2
 *
 * All write what they do to DIR.log, one line each; the tests wait for lines, never for time. */
#include "test.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/pidfile.h"
#include "sys/fs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH "/tmp/davit-test-up-XXXXXX"

/* ---- the parts ---- */

static void say(const char *dir, const char *fmt, ...) PRINTF(2, 3);
static void say(const char *dir, const char *fmt, ...)
{
    CLEANUP(freep) char *path = xasprintf("%s.log", dir);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (write(fd, line, (size_t)n) != n)
        _exit(99);
}

/* The word of this start: each start takes one off the front, the last one stays. */
static void next_word(const char *dir, const char *part, char out[16])
{
    CLEANUP(freep) char *path = xasprintf("%s/run/%s.script", dir, part);
    char text[128] = "";
    FILE *f = fopen(path, "r");
    if (!f || !fgets(text, sizeof(text), f))
        _exit(98);
    fclose(f);
    struct str rest = str_z(text), word;
    str_cut(&rest, ' ', &word);
    snprintf(out, 16, "%.*s", STR_ARG(word));
    if (rest.n) {
        f = fopen(path, "w");
        fprintf(f, "%.*s", STR_ARG(rest));
        fclose(f);
    }
}

static int play(int argc, char **argv)
{
    const char *part = argv[1], *dir = NULL;
    char word[16];
    int lock, sig;
    int64_t ready = -1;
    sigset_t set;
    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--data-dir") == 0)
            dir = argv[i + 1];
        if (strcmp(argv[i], "--ready-fd") == 0 && str_to_i64(str_z(argv[i + 1]), &ready) < 0)
            return 96;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CLEANUP(freep) char *run = xasprintf("%s/run", dir);
    if (pidfile_take(run, part, &lock, NULL) < 0)
        return EXIT_FAILED;
    next_word(dir, part, word);
    for (int i = 2; i < argc; i++)
        say(dir, "%s is told %s\n", part, argv[i]);
    say(dir, "%s starts: %s\n", part, word);
    if (strcmp(word, "usage") == 0)
        return EXIT_USAGE;
    if (strcmp(word, "die") == 0)
        return EXIT_FAILED;
    say(dir, "%s ready\n", part);
    if (write((int)ready, "ready\n", 6) != 6)
        return 97;
    if (strcmp(word, "dieready") == 0)
        return EXIT_FAILED;
    sigwait(&set, &sig);
    say(dir, "%s stops\n", part);
    return EXIT_OK;
}

/* ---- the tests' side ---- */

struct fx {
    char dir[64];
    const char *extra[12]; /* words after those every test gives to `davit up` */
    pid_t up;
    int lock; /* of an earlier part; > 0: held */
};

static int setup(void **state)
{
    struct fx *f = NEW(struct fx);
    memcpy(f->dir, PATH, sizeof(PATH));
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    if (geteuid() != 0)
        skip(); /* `davit up` asks for root */
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    CLEANUP(freep) char *log = xasprintf("%s.log", f->dir);
    if (f->up) { /* a failed test */
        kill(f->up, SIGTERM);
        waitpid(f->up, NULL, 0);
    }
    unlink(log);
    assert_ok(sys_remove_tree(AT_FDCWD, f->dir));
    free(f);
    return 0;
}

static void script(struct fx *f, const char *part, const char *words)
{
    CLEANUP(freep) char *run = xasprintf("%s/run", f->dir);
    CLEANUP(freep) char *path = xasprintf("%s/%s.script", run, part);
    CLEANUP(freep) char *mark = xasprintf("%s/instance", f->dir);
    (void)mkdir(run, 0700);
    FILE *m = fopen(mark, "w"); /* it is davit's */
    fprintf(m, "0123abcd\n");
    fclose(m);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s", words);
    fclose(file);
}

/* stdout and stderr go to the log too. */
static pid_t start(struct fx *f)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char path[80];
        snprintf(path, sizeof(path), "%s.log", f->dir);
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (f->lock)
            close(f->lock); /* the lock lasts until the last copy is closed */
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        char *argv[20] = {(char *)"up", (char *)"--data-dir", f->dir, (char *)"--listen",
                          (char *)"127.0.0.1:1"};
        int argc = 5;
        for (size_t i = 0; f->extra[i]; i++)
            argv[argc++] = (char *)f->extra[i];
        exit(cli_up(argc, argv));
    }
    return pid;
}

static char *log_text(struct fx *f)
{
    CLEANUP(freep) char *path = xasprintf("%s.log", f->dir);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = xcalloc(1, 65536);
    if (fd >= 0 && read(fd, text, 65535) < 0)
        text[0] = '\0';
    return text;
}

/* Where the n-th (from 0) occurrence of `what` begins; -1: none. */
static ssize_t find(const char *text, const char *what, unsigned n)
{
    const char *at = strstr(text, what);
    for (; at && n; n--)
        at = strstr(at + 1, what);
    return at ? at - text : -1;
}

/* Patience is 60 s; a test that has to wait that long fails. */
static void wait_line(struct fx *f, const char *what, unsigned n)
{
    for (unsigned i = 0; i < 6000; i++) {
        CLEANUP(freep) char *text = log_text(f);
        if (find(text, what, n) >= 0)
            return;
        usleep(10000);
    }
    CLEANUP(freep) char *text = log_text(f);
    fail_msg("no line \"%s\" (%u) in:\n%s", what, n, text);
}

static void assert_order(struct fx *f, const char *a, unsigned na, const char *b, unsigned nb)
{
    CLEANUP(freep) char *text = log_text(f);
    if (find(text, a, na) < 0 || find(text, b, nb) < find(text, a, na))
        fail_msg("\"%s\" does not come before \"%s\" in:\n%s", a, b, text);
}

static unsigned count(struct fx *f, const char *what)
{
    CLEANUP(freep) char *text = log_text(f);
    unsigned n = 0;
    while (find(text, what, n) >= 0)
        n++;
    return n;
}

static void end(struct fx *f, int signum, int code)
{
    int status;
    if (signum)
        kill(f->up, signum);
    assert_int_equal(waitpid(f->up, &status, 0), f->up);
    f->up = 0;
    CLEANUP(freep) char *text = log_text(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("it ended with status %#x, not exit code %d:\n%s", status, code, text);
}

static pid_t owner(struct fx *f, const char *part)
{
    CLEANUP(freep) char *run = xasprintf("%s/run", f->dir);
    return pidfile_owner(run, part);
}

/* The agent after the server, `ready` after both; the agent stops first. */
static void the_order(void **state)
{
    struct fx *f = *state;
    script(f, "server", "ready");
    script(f, "agent", "ready");
    f->up = start(f);
    wait_line(f, "\nready\n", 0);
    assert_order(f, "server ready\n", 0, "agent starts", 0);
    assert_order(f, "agent ready\n", 0, "\nready\n", 0);
    end(f, SIGTERM, EXIT_OK);
    assert_order(f, "agent stops\n", 0, "server stops\n", 0);
    assert_int_equal(count(f, "starts:"), 2);
    assert_int_equal(count(f, "\nready\n"), 1);
}

/* Each part gets what is said for it, word for word, and nothing that is the other's. */
static void passes_on(void **state)
{
    struct fx *f = *state;
    static const char *const words[] = {"--node-eviction-rate",
                                        "2.5",
                                        "--cluster-cidr=10.9.0.0/16",
                                        "--shutdown-grace",
                                        "30s",
                                        "--fence",
                                        "on"};
    static const char *const server[] = {"--node-eviction-rate", "2.5", "--cluster-cidr",
                                         "10.9.0.0/16"};
    static const char *const agent[] = {"--shutdown-grace", "30s", "--fence", "on"};
    script(f, "server", "ready");
    script(f, "agent", "ready");
    memcpy(f->extra, words, sizeof(words));
    f->up = start(f);
    wait_line(f, "\nready\n", 0);
    end(f, SIGTERM, EXIT_OK);
    for (size_t i = 0; i < ARRAY_LEN(server); i++) {
        CLEANUP(freep) char *one = xasprintf("server is told %s\n", server[i]);
        CLEANUP(freep) char *other = xasprintf("agent is told %s\n", agent[i]);
        CLEANUP(freep) char *not_one = xasprintf("server is told %s\n", agent[i]);
        CLEANUP(freep) char *not_other = xasprintf("agent is told %s\n", server[i]);
        assert_int_equal(count(f, one), 1);
        assert_int_equal(count(f, other), 1);
        assert_int_equal(count(f, not_one), 0);
        assert_int_equal(count(f, not_other), 0);
    }
}

/* What a killed `up` left is still ending: the new one's parts wait for it, then start. */
static void waits_for_earlier_ones(void **state)
{
    struct fx *f = *state;
    static const char *const parts[] = {"server", "agent"};
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(freep) char *run = xasprintf("%s/run", f->dir);
        script(f, "server", "ready");
        script(f, "agent", "ready");
        assert_ok(pidfile_take(run, parts[i], &f->lock, NULL));
        f->up = start(f);
        CLEANUP(freep) char *waiting = xasprintf("waiting for an earlier %s (pid", parts[i]);
        wait_line(f, waiting, 0);
        say(f->dir, "the earlier %s ends\n", parts[i]);
        close(f->lock);
        wait_line(f, "\nready\n", i);
        CLEANUP(freep) char *ends = xasprintf("the earlier %s ends", parts[i]);
        CLEANUP(freep) char *starts = xasprintf("%s starts", parts[i]);
        assert_order(f, waiting, 0, ends, 0);
        assert_order(f, ends, 0, starts, (unsigned)i);
        assert_int_equal(count(f, waiting), 1); /* said once, not at every look */
        end(f, SIGTERM, EXIT_OK);
    }
}

/* Told to stop while it waits: it does not start what it was waiting to start. */
static void stops_while_it_waits(void **state)
{
    struct fx *f = *state;
    CLEANUP(freep) char *run = xasprintf("%s/run", f->dir);
    script(f, "server", "ready");
    assert_ok(pidfile_take(run, "server", &f->lock, NULL));
    f->up = start(f);
    wait_line(f, "waiting for an earlier server", 0);
    end(f, SIGTERM, EXIT_OK);
    close(f->lock);
    assert_int_equal(count(f, "starts:"), 0);
}

static void a_dead_part_is_started_again(void **state)
{
    struct fx *f = *state;
    script(f, "server", "ready");
    script(f, "agent", "ready");
    f->up = start(f);
    wait_line(f, "\nready\n", 0);
    for (unsigned i = 1; i <= 3; i++) {
        kill(owner(f, "server"), SIGKILL);
        wait_line(f, "server ready\n", i);
        kill(owner(f, "agent"), SIGKILL);
        wait_line(f, "agent ready\n", i);
    }
    assert_int_equal(count(f, "server starts"), 4);
    assert_int_equal(count(f, "agent starts"), 4);
    assert_int_equal(count(f, "was killed by signal 9"), 6);
    assert_int_equal(count(f, "\nready\n"), 1); /* said once */
    end(f, SIGTERM, EXIT_OK);
}

/* Deaths after it was ready once never make it give up; killed ones before do not either. */
static void goes_on_after_ready(void **state)
{
    struct fx *f = *state;
    script(f, "server", "ready");
    script(f, "agent", "dieready dieready die die die die ready");
    f->up = start(f);
    wait_line(f, "agent starts: ready", 0);
    wait_line(f, "agent ready\n", 2);
    assert_int_equal(count(f, "agent starts"), 7);
    assert_int_equal(count(f, "server starts"), 1);
    end(f, SIGTERM, EXIT_OK);
}

static void gives_up(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *server, *agent;
        unsigned server_starts, agent_starts;
    } rows[] = {
        {"die", "ready", 3, 0},   /* it never comes up */
        {"usage", "ready", 1, 0}, /* it will never */
        {"ready", "usage", 1, 1},         {"ready", "die", 1, 3},
        {"die die ready", "ready", 3, 1}, /* at last: not given up */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned s = count(f, "server starts"), a = count(f, "agent starts"),
                 ready = count(f, "\nready\n");
        bool up = i == 4;
        script(f, "server", rows[i].server);
        script(f, "agent", rows[i].agent);
        f->up = start(f);
        if (up)
            wait_line(f, "\nready\n", ready);
        end(f, up ? SIGTERM : 0, up ? EXIT_OK : EXIT_FAILED);
        assert_int_equal(count(f, "server starts") - s, rows[i].server_starts);
        assert_int_equal(count(f, "agent starts") - a, rows[i].agent_starts);
        assert_int_equal(count(f, "does not start; giving up"), MIN(i + 1, 4u));
        assert_int_equal(owner(f, "server"), 0); /* nothing is left */
        assert_int_equal(owner(f, "agent"), 0);
    }
}

static void one_at_a_time(void **state)
{
    struct fx *f = *state;
    int status;
    script(f, "server", "ready");
    script(f, "agent", "ready");
    f->up = start(f);
    wait_line(f, "\nready\n", 0);
    pid_t second = start(f);
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILED);
    wait_line(f, "runs already (pid", 0);
    assert_int_equal(count(f, "starts:"), 2);
    end(f, SIGINT, EXIT_OK);
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "server") == 0 || strcmp(argv[1], "agent") == 0))
        return play(argc, argv);
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_order),
        T(passes_on),
        T(waits_for_earlier_ones),
        T(stops_while_it_waits),
        T(a_dead_part_is_started_again),
        T(goes_on_after_ready),
        T(gives_up),
        T(one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
