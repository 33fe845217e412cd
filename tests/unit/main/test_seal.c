/* The keys of what is sealed on disk: made, renewed, missing, damaged; and which kinds are sealed.
 */
#include "main/seal.h"
#include "base/mem.h"
#include "sys/fs.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/davit-seal-XXXXXX";
static char file[64];

static int setup(void **state)
{
    (void)state;
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/secrets.key", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return sys_remove_tree(AT_FDCWD, dir);
}

static void open_keys(struct secret_seal *s)
{
    struct error err = {0};
    if (secret_seal_open(s, dir, NULL, false, &err) < 0)
        fail_msg("%.*s", STR_ARG(err.message));
}

static int read_with(struct secret_seal *s, const struct buf *sealed, const char *bound, bool named,
                     bool *stale)
{
    struct buf out = {0};
    int r = s->seal.open(s->seal.ctx, buf_str(sealed), str_z(bound), named, &out, stale);
    if (r == 0)
        assert_str(buf_str(&out), "swordfish");
    else
        assert_int_equal(out.n, 0);
    buf_fini(&out);
    return r;
}

static void keys_are_renewed(void **state)
{
    struct secret_seal a, b;
    struct buf first = {0}, second = {0};
    struct error err = {0};
    char id[2 * SEAL_KEY_ID_BYTES + 1];
    struct stat st;
    bool stale = true;
    (void)state;

    open_keys(&a);
    assert_non_null(a.made);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(a.seal.seal(a.seal.ctx, STR("swordfish"), STR("x"), &first), 0);
    assert_int_equal(first.n, 9 + SEAL_KEY_ID_BYTES + SEAL_OVERHEAD_BYTES);
    assert_int_equal(read_with(&a, &first, "x", true, &stale), 0);
    assert_false(stale);
    assert_int_equal(read_with(&a, &first, "y", true, &stale), -EBADMSG); /* in another's place */
    first.data[first.n - 1] ^= 1;
    assert_int_equal(read_with(&a, &first, "x", true, &stale), -EBADMSG);
    first.data[first.n - 1] ^= 1;

    assert_int_equal(secret_keys_rotate(dir, id, &err), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 2 * SEAL_KEY_BYTES);
    assert_int_equal(st.st_mode & 0777, 0600);
    open_keys(&b);
    assert_null(b.made);
    assert_int_equal(b.n_keys, 2);
    assert_memory_equal(b.keys[1].key, a.keys[0].key, SEAL_KEY_BYTES);
    assert_int_equal(read_with(&b, &first, "x", true, &stale), 0);
    assert_true(stale);
    assert_int_equal(b.seal.seal(b.seal.ctx, STR("swordfish"), STR("x"), &second), 0);
    assert_int_equal(read_with(&b, &second, "x", true, &stale), 0);
    assert_false(stale);
    assert_int_equal(read_with(&a, &second, "x", true, &stale), -ENOKEY);
    secret_seal_fini(&a);
    secret_seal_fini(&b);

    for (unsigned i = 2; i < SEAL_KEYS_MAX; i++)
        assert_int_equal(secret_keys_rotate(dir, id, &err), 0);
    assert_int_equal(secret_keys_rotate(dir, id, &err), -EINVAL);
    error_fini(&err);
    buf_fini(&first);
    buf_fini(&second);
}

/* Records of the first davit name no key. */
static void old_records_open(void **state)
{
    struct secret_seal s;
    struct buf old = {0};
    struct error err = {0};
    char id[2 * SEAL_KEY_ID_BYTES + 1];
    bool stale = false;
    (void)state;

    open_keys(&s);
    seal(s.keys[0].key, STR("x"), STR("swordfish"), &old);
    assert_int_equal(read_with(&s, &old, "x", false, &stale), 0);
    assert_true(stale);
    secret_seal_fini(&s);
    assert_int_equal(secret_keys_rotate(dir, id, &err), 0);
    open_keys(&s);
    assert_int_equal(read_with(&s, &old, "x", false, &stale), 0);
    assert_int_equal(read_with(&s, &old, "y", false, &stale), -EBADMSG);
    secret_seal_fini(&s);
    buf_fini(&old);
}

static void bad_files_are_refused(void **state)
{
    static const char bytes[SEAL_KEYS_MAX * SEAL_KEY_BYTES + SEAL_KEY_BYTES];
    static const size_t sizes[] = {0, 1, SEAL_KEY_BYTES - 1, SEAL_KEY_BYTES + 1, sizeof(bytes)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct secret_seal s;
        struct error err = {0};
        assert_int_equal(sys_put_file(AT_FDCWD, file, bytes, sizes[i], 0600), 0);
        assert_true(secret_seal_open(&s, dir, NULL, false, &err) < 0);
        assert_true(str_search(err.message, STR("is damaged")) > 0);
        secret_seal_fini(&s);
        error_fini(&err);
    }
}

static void kinds_are_chosen(void **state)
{
    static const struct {
        const char *text, *wants; /* wants NULL: refused */
    } rows[] = {
        {NULL, "/secrets"},
        {"", "/secrets"},
        {"secrets,secrets", "/secrets"},
        {"configmaps", "/configmaps"},
        {"configmaps", "/secrets"},
        {"deployments.apps,pods", "apps/deployments"},
        {"widgets.example.com", "example.com/widgets"}, /* custom: may come later */
        {"deployments", NULL},
        {"widgets.apps", NULL},
        {"secret", NULL},
        {"configmaps,,pods", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct secret_seal s;
        struct error err = {0};
        int r = secret_seal_open(&s, dir, rows[i].text, false, &err);
        if (rows[i].wants) {
            assert_int_equal(r, 0);
            assert_true(s.seal.wants(s.seal.ctx, str_z(rows[i].wants)));
            assert_false(s.seal.wants(s.seal.ctx, STR("/nodes")));
        } else {
            assert_int_equal(err.reason, REASON_BAD_REQUEST);
        }
        secret_seal_fini(&s);
        error_fini(&err);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(keys_are_renewed),
        T(old_records_open),
        T(bad_files_are_refused),
        T(kinds_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
