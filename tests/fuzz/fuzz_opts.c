/* A command line, one word a line. */
#include "base/mem.h"
#include "cli/opts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    const char *text = NULL;
    int64_t number = 3;
    nsec_t span = 0;
    bool flag = false;
    const struct cli_opt opts[] = {
        {"text", "T", "any", CLI_STRING, &text},
        {"number", "N", "3 to 9", CLI_INT, &number, 3, 9},
        {"span", "D", "a duration", CLI_DURATION, &span},
        {"flag", NULL, "on", CLI_FLAG, &flag},
    };
    char *copy = xcalloc(1, size + 1), *argv[WORDS_MAX + 1], *next = copy;
    char verb[] = "verb";
    int argc = 1, operands = 0;
    memcpy(copy, data, size);
    argv[0] = verb;
    while (next && *next && argc < WORDS_MAX) {
        argv[argc++] = next;
        next = strchr(next, '\n');
        if (next)
            *next++ = '\0';
    }
    argv[argc] = NULL;
    if (memmem(data, size, "-h", 2)) /* prints to stdout */
        goto out;
    int r = cli_opts_parse("verb", "for the fuzzer", opts, ARRAY_LEN(opts), argc, argv, &operands,
                           &err);
    ASSERT((r < 0) == (err.message.n > 0) && r <= 0);
    ASSERT(number >= 3 && number <= 9 && span >= 0 && operands >= 0 && operands < argc);
out:
    error_fini(&err);
    free(copy);
    return 0;
}
