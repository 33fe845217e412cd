/* A document that is kept while it is asked for. */
#include "apiserver/front/kept.h"
#include "base/mem.h"
#include "test.h"

static void make(struct kept *k, size_t n)
{
    struct buf b = {0};
    memset(buf_reserve(&b, n), 'x', n);
    b.n = n;
    kept_take(k, &b);
    assert_int_equal(b.n, 0);
}

static void while_it_is_asked_for(void **state)
{
    struct kept k = {0};
    assert_false(kept_ask(&k, NSEC_PER_SEC));
    make(&k, 3);
    assert_string_equal(k.etag,
                        "\"cd2eb0837c9b4c962c22d2ff8b5441b7b45805887f051d39bf133b583baf6860\"");
    kept_answered(&k);
    kept_expire(&k, KEPT_IDLE); /* a second early */
    assert_true(kept_ask(&k, KEPT_IDLE));
    assert_true(kept_ask(&k, KEPT_IDLE / 2)); /* another thread, a little behind */
    kept_expire(&k, 2 * KEPT_IDLE - 1);
    assert_non_null(k.blob);
    struct blob *sent = blob_ref(k.blob);
    kept_expire(&k, 2 * KEPT_IDLE);
    assert_null(k.blob);
    assert_str(blob_str(sent), "xxx"); /* who is being answered has it still */
    blob_unref(sent);
    assert_false(kept_ask(&k, 2 * KEPT_IDLE));
    make(&k, 1);
    kept_forget(&k);
    kept_forget(&k);
    assert_int_equal(k.made, 2);
}

static void not_too_large(void **state)
{
    struct kept k = {0};
    make(&k, KEPT_BYTES_MAX);
    kept_answered(&k);
    assert_non_null(k.blob);
    kept_forget(&k);
    make(&k, KEPT_BYTES_MAX + 1);
    assert_non_null(k.blob); /* for who has asked */
    kept_answered(&k);
    assert_null(k.blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_it_is_asked_for),
        cmocka_unit_test(not_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
