/* One loop over one table, so that every verb takes options alike and its help cannot drift from
 * what it accepts. */
#include "cli/opts.h"

#include "codec/values.h"

#include <stdio.h>

static void help_print(const char *usage, const char *about, const struct cli_opt *opts, size_t n)
{
    printf("Usage: davit %s\n\n%s\n", usage, about);
    if (n)
        printf("\nOptions:\n");
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s %s", opts[i].name, opts[i].arg ? opts[i].arg : "");
        printf("  %-26s %s\n", left, opts[i].help);
    }
}

static const struct cli_opt *opt_find(const struct cli_opt *opts, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(name, opts[i].name))
            return &opts[i];
    return NULL;
}

static int opt_flag(const struct cli_opt *o, struct str value, struct error *err)
{
    if (!value.p || str_is(value, "true"))
        *(bool *)o->dest = true;
    else if (str_is(value, "false"))
        *(bool *)o->dest = false;
    else
        return error_set(err, REASON_BAD_REQUEST, "--%s takes true or false, not \"%.*s\"", o->name,
                         STR_ARG(value));
    return 0;
}

static int opt_set(const struct cli_opt *o, struct str value, struct error *err)
{
    struct duration d;
    int64_t v;

    switch (o->type) {
    case CLI_FLAG:
        return opt_flag(o, value, err);
    case CLI_STRING:
        *(const char **)o->dest = value.p;
        return 0;
    case CLI_INT:
        if (str_to_i64(value, &v) < 0 || v < o->min || v > o->max)
            return error_set(err, REASON_BAD_REQUEST,
                             "--%s takes a number from %lld to %lld, not \"%.*s\"", o->name,
                             (long long)o->min, (long long)o->max, STR_ARG(value));
        *(int64_t *)o->dest = v;
        return 0;
    case CLI_DURATION:
        if (duration_parse(value, &d) < 0 || d.nsec < 0)
            return error_set(err, REASON_BAD_REQUEST,
                             "--%s takes a duration such as 10s, not \"%.*s\"", o->name,
                             STR_ARG(value));
        *(nsec_t *)o->dest = d.nsec;
        return 0;
    }
    return -EINVAL;
}

int cli_opts_parse(const char *usage, const char *about, const struct cli_opt *opts, size_t n,
                   int argc, char **argv, int *ret_operands, struct error *err)
{
    bool ended = false;
    int operands = 0, r;

    for (int i = 1; i < argc; i++) {
        struct str word = str_z(argv[i]), name;
        const struct cli_opt *o;
        bool joined;

        if (ended || !str_starts(word, STR("-")) || word.n == 1) {
            argv[++operands] = argv[i];
            continue;
        }
        if (str_is(word, "--")) {
            ended = true;
            continue;
        }
        if (str_is(word, "--help") || str_is(word, "-h")) {
            help_print(usage, about, opts, n);
            return 1;
        }
        word = str_sub(word, str_starts(word, STR("--")) ? 2 : 1, word.n);
        joined = str_cut(&word, '=', &name);
        o = opt_find(opts, n, name);
        if (!o)
            return error_set(err, REASON_BAD_REQUEST,
                             "unknown option --%.*s; see davit %.*s --help", STR_ARG(name),
                             (int)strcspn(usage, " "), usage);
        if (!joined && o->type != CLI_FLAG) {
            if (++i >= argc)
                return error_set(err, REASON_BAD_REQUEST, "--%s needs a value (%s)", o->name,
                                 o->arg);
            word = str_z(argv[i]);
        } else if (!joined) {
            word = STR_NONE;
        }
        r = opt_set(o, word, err);
        if (r < 0)
            return r;
    }
    *ret_operands = operands;
    return 0;
}
