/* A word somebody typed: read or refused; what is read prints as itself. */
#include "base/mem.h"
#include "client/join_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    struct join_token t;
    char text[JOIN_TOKEN_CHARS + 1];
    struct error err = {0};

    if (join_token_parse(s, &t, &err) == 0) {
        join_token_print(&t, text);
        ASSERT(str_eqz(str_trim(s), text));
    } else {
        ASSERT(err.message.n > 0);
    }
    error_fini(&err);
    return 0;
}
