/* The word a machine joins with: printed, read back, and refused in words that help. */
#include "client/join_token.h"
#include "test.h"

#define GOOD                                                                                       \
    "dvt1-abc123.0123456789abcdef-"                                                                \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void round_trip(void **state)
{
    struct join_token t;
    char text[JOIN_TOKEN_CHARS + 1];
    assert_int_equal(join_token_parse(STR(GOOD), &t, NULL), 0);
    assert_string_equal(t.id, "abc123");
    assert_string_equal(t.secret, "0123456789abcdef");
    assert_int_equal(t.ca_spki_sha256[1], 0x11);
    assert_int_equal(t.ca_spki_sha256[31], 0xff);
    join_token_print(&t, text);
    assert_string_equal(text, GOOD);
    assert_int_equal(join_token_parse(STR("  " GOOD "\n"), &t, NULL), 0);
}

static void wrong_ones(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "must begin with"},
        {"K10abc::server:secret", "must begin with"},
        {"dvt1-", "end is missing"},
        {"dvt1-abc123.0123456789abcdef-0011", "end is missing"},
        {GOOD "0", "too long"},
        {"dvt1-ABC123.0123456789abcdef-"
         "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
         "mistyped"},
        {"dvt1-abc1234.123456789abcdef-"
         "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
         "mistyped"},
        {"dvt1-abc123.0123456789abcdef-"
         "z0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
         "digest is mistyped"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct join_token t;
        struct error err = {0};
        assert_int_equal(join_token_parse(str_z(rows[i].text), &t, &err), -EINVAL);
        if (str_search(err.message, str_z(rows[i].says)) < 0)
            fail_msg("%s: %.*s", rows[i].text, STR_ARG(err.message));
        assert_true(str_search(err.message, STR("0123456789abcdef")) < 0); /* never the secret */
        error_fini(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(wrong_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
