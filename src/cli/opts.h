/* Command line options as a table: `--name VALUE`, `--name=VALUE`, `--flag`; the rest are operands.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

enum cli_opt_type {
    CLI_FLAG,     /* bool *; --name, or --name=false */
    CLI_STRING,   /* const char ** */
    CLI_INT,      /* int64_t *; within min..max */
    CLI_DURATION, /* nsec_t *; "10s", "1m30s" */
};

struct cli_opt {
    const char *name; /* without the dashes */
    const char *arg;  /* how help names its value; NULL for flags */
    const char *help;
    enum cli_opt_type type;
    void *dest; /* holds the default before parsing */
    int64_t min, max;
};

/* Parses argv[1..]; operands are moved to the front: argv[1..*ret_operands]. `--` ends options.
 * User errors are in err with a hint at --help. 1: --help was asked for and printed. */
int cli_opts_parse(const char *usage, const char *about, const struct cli_opt *opts, size_t n,
                   int argc, char **argv, int *ret_operands, struct error *err) MUST_CHECK;
