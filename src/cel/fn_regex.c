/* matches, find, findAll. A literal pattern was compiled with the expression; others are compiled
 * when they are met, and kept for the evaluation. */
#include "cel/internal.h"
#include "codec/regex.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)
#define KEEP 16

struct regex_cache {
    struct {
        struct str pattern;
        struct regex *re;
    } v[KEEP];
    unsigned n;
};

struct regex *cel_regex_cached(struct cel_eval *c, struct str pattern, struct cel_value *ret_error)
{
    struct str why = STR("");
    if (!c->regexes) {
        if (!(c->regexes = cel_alloc(c, sizeof *c->regexes)))
            return *ret_error = cel_no_memory(), NULL;
        c->regexes->n = 0;
    }
    struct regex_cache *k = c->regexes;
    for (unsigned i = 0; i < MIN(k->n, KEEP); i++)
        if (str_eq(k->v[i].pattern, pattern))
            return k->v[i].re;
    if (!cel_work(c, 1000 + pattern.n * 64) || !cel_alloc(c, pattern.n * 64))
        return *ret_error = cel_no_memory(), NULL;
    struct regex *re = regex_new(pattern, c->a, &why);
    if (!re)
        return *ret_error = cel_fail(c, "%.*s", STR_ARG(why)), NULL;
    unsigned i = k->n++ % KEEP;
    k->v[i].pattern = pattern;
    k->v[i].re = re;
    return re;
}

/* 1 found, 0 none, -1 *ret is an error. */
static int find(struct cel_eval *c, const struct regex *re, struct str s, size_t at, size_t *from,
                size_t *to, struct cel_value *ret)
{
    uint64_t steps = c->work_max - MIN(c->work, c->work_max), had = steps;
    int r = regex_find(re, s, at, &steps, from, to);
    if (!cel_work(c, had - steps + (r < 0))) {
        *ret = cel_no_memory();
        return -1;
    }
    return r;
}

FN(matches)
{
    struct cel_value v = cel_no_memory();
    const struct regex *re = c->regex ? c->regex : cel_regex_cached(c, a[1].s, &v);
    int r = re ? find(c, re, a[0].s, 0, NULL, NULL, &v) : -1;
    return r < 0 ? v : cel_bool(r);
}

FN(find_one)
{
    struct cel_value v = cel_no_memory();
    size_t from, to;
    const struct regex *re = c->regex ? c->regex : cel_regex_cached(c, a[1].s, &v);
    int r = re ? find(c, re, a[0].s, 0, &from, &to, &v) : -1;
    return r < 0 ? v : cel_string(r ? str_sub(a[0].s, from, to) : STR(""));
}

/* As Go: matches do not overlap, and an empty one right behind another does not count. */
FN(find_all)
{
    struct cel_value v = cel_no_memory();
    struct list_builder out = {0};
    struct str s = a[0].s;
    int64_t left = n > 2 ? a[2].i : -1;
    size_t from, to, last = SIZE_MAX;
    const struct regex *re = c->regex ? c->regex : cel_regex_cached(c, a[1].s, &v);
    if (!re)
        return v;
    for (size_t at = 0; at <= s.n && left != 0;) {
        int r = find(c, re, s, at, &from, &to, &v);
        if (r < 0)
            return v;
        if (!r)
            break;
        if (to > from || from != last) {
            v = cel_string(str_sub(s, from, to));
            if (!cel_list_add(c, &out, &v))
                return cel_no_memory();
            left -= left > 0;
        }
        last = to;
        at = to;
        if (to == from) {
            if (at < s.n)
                (void)str_utf8_get(s, &at);
            else
                at++;
        }
    }
    return cel_list_done(&out);
}

const struct overload cel_fn_regex[] = {
    {"matches", "ss>b", matches, OV_MEMBER | OV_REGEX, COST_MATCH},
    {"matches", "ss>b", matches, OV_REGEX, COST_MATCH},
    {"find", "ss>s", find_one, OV_MEMBER | OV_REGEX, COST_MATCH},
    {"findAll", "ss>Ls", find_all, OV_MEMBER | OV_REGEX, COST_MATCH},
    {"findAll", "ssi>Ls", find_all, OV_MEMBER | OV_REGEX, COST_MATCH},
    {0},
};
