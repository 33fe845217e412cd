/* A pattern, a NUL, a text: matching takes no more steps than text times program allows, what is
 * found lies within the text, on whole characters when it has only such, and "is there one" says
 * the same as "where". */
#include "codec/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str pattern = {(const char *)data, size}, text = STR("aab\xc3\xa9 1\n"), why = STR("");
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct arena a = {0};
    if (size > 2000)
        return 0;
    if (nul) {
        pattern.n = (size_t)(nul - data);
        text = (struct str){(const char *)nul + 1, size - pattern.n - 1};
    }
    struct regex *re = regex_new(pattern, &a, &why);
    if (!re) {
        ASSERT(str_starts(why, STR("error parsing regexp: ")));
    } else {
        uint64_t budget = (text.n + 2) * 3 * (REGEX_INSTS_MAX + 1), steps = budget;
        size_t from = 0, to = 0;
        int r = regex_find(re, text, 0, &steps, &from, &to);
        ASSERT(r == 0 || r == 1);
        steps = budget;
        ASSERT(regex_find(re, text, 0, &steps, NULL, NULL) == r);
        if (r) {
            ASSERT(from <= to && to <= text.n);
            ASSERT(!str_utf8_valid(text) || str_utf8_valid(str_sub(text, from, to)));
        }
    }
    arena_fini(&a);
    return 0;
}
