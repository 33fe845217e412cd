/* cmocka with its required includes, and typed asserts that print both sides. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

#include "base/str.h"

#define assert_str(s, expected) assert_str_at((s), (expected), __FILE__, __LINE__)
static inline void assert_str_at(struct str s, const char *expected, const char *file, int line)
{
    if (str_eqz(s, expected))
        return;
    print_error("got      \"%.*s\"\nexpected \"%s\"\n", STR_ARG(s), expected);
    _fail(file, line);
}

#define assert_ok(r) assert_ok_at((r), #r, __FILE__, __LINE__)
static inline void assert_ok_at(int64_t r, const char *what, const char *file, int line)
{
    if (r >= 0)
        return;
    print_error("%s: %lld (%s)\n", what, (long long)r, strerror((int)-r));
    _fail(file, line);
}
