/* Libraries that are loaded when they are needed: not before, whole, by many threads at once; and
 * what becomes of a process that lacks one. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/dl.h"
#include "base/mem.h"
#include "node/image/archive_lazy.h"
#include "node/image/curl_lazy.h"
#include "sys/nft.h"
#include "test.h"

#define THREADS 8

static bool is_loaded(const char *soname)
{
    void *lib = dlopen(soname, RTLD_NOW | RTLD_NOLOAD);
    if (lib)
        dlclose(lib);
    return lib;
}

static void *need(void *arg)
{
    ((void (*)(void))arg)();
    return NULL;
}

static void need_at_once(void (*fn)(void))
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, need, (void *)fn), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

/* The name stands for the table's entry, and the entry is the library's function. */
static void check(void *lib, const char *name, const char *expanded, const char *table, void *entry)
{
    CLEANUP(freep) char *want = xasprintf("%s.%s", table, name);
    assert_string_equal(expanded, want);
    assert_non_null(entry);
    assert_ptr_equal(entry, dlsym(lib, name));
}

static void archive(void **state)
{
    assert_false(is_loaded("libarchive.so.13"));
    need_at_once(archive_lib_need);
    void *lib = dlopen("libarchive.so.13", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(lib);
#define X(f) check(lib, #f, TEXT(f), "archive_lib", (void *)(f));
    ARCHIVE_FUNCTIONS(X)
#undef X
    struct archive *a = archive_read_new();
    assert_non_null(a);
    assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
    assert_int_equal(archive_read_free(a), ARCHIVE_OK);
    dlclose(lib);
}

static void curl(void **state)
{
    assert_false(is_loaded("libcurl.so.4"));
    need_at_once(curl_lib_need);
    void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(lib);
#define X(f) check(lib, #f, TEXT(f), "curl_lib", (void *)(f));
    CURL_FUNCTIONS(X)
#undef X
    char *text = curl_easy_escape(NULL, "a b", 0);
    assert_string_equal(text, "a%20b");
    curl_free(text);
    dlclose(lib);
}

static void one_nft(void)
{
    assert_true(nft_run("no such command\n", NULL) < 0);
}

static void nftables(void **state)
{
    assert_false(is_loaded("libnftables.so.1"));
    need_at_once(one_nft);
    assert_true(is_loaded("libnftables.so.1"));
    struct error err = {0};
    assert_true(nft_run("no such command\n", &err) < 0); /* parsed by the library itself */
    assert_int_equal(err.reason, REASON_BAD_REQUEST);
    assert_true(str_starts(err.message, STR("nftables: syntax error")));
    error_fini(&err);
}

/* In a process of its own: what it says, and that it ends with 127 as a shell would have it. */
static char *last_words(const char *soname, const char *symbol)
{
    char text[1024];
    size_t n = 0;
    int ends[2], status;
    void *to = NULL;
    const struct dl_symbol v[] = {{"cos", &to}, {symbol, &to}};
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        dl_need(soname, v, ARRAY_LEN(v));
        _exit(to ? 0 : 1);
    }
    close(ends[1]);
    for (ssize_t r;
         n < sizeof(text) - 1 && (r = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0;)
        n += (size_t)r;
    text[n] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return xasprintf("%d %s", WEXITSTATUS(status), text);
}

static void one_that_is_not_there(void **state)
{
    CLEANUP(freep) char *good = last_words("libm.so.6", "sin");
    CLEANUP(freep) char *none = last_words("libno-such-thing.so.9", "sin");
    CLEANUP(freep) char *old = last_words("libm.so.6", "no_such_function");
    assert_string_equal(good, "0 ");
    assert_true(str_starts(str_z(none), STR("127 davit: libno-such-thing.so.9")));
    assert_true(str_starts(str_z(old), STR("127 davit: ")));
    assert_true(str_search(str_z(old), STR("no_such_function")) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archive),
        cmocka_unit_test(curl),
        cmocka_unit_test(nftables),
        cmocka_unit_test(one_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
