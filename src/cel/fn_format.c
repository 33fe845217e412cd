/* "%d of %s".format([1, x]): the clauses of cel-go's string extension: %s %d %f %e %b %o %x %X %%.
 */
#include <math.h>

#include "cel/internal.h"

#define PRECISION_MAX 100

static void put_text(struct cel_eval *c, const struct cel_value *v, struct buf *b);

static void put_entries(struct cel_eval *c, const struct cel_value *v, struct buf *b)
{
    struct cel_iter it;
    struct cel_value key, value;
    bool list = v->type == CEL_LIST, first = true;
    buf_add_char(b, list ? '[' : '{');
    cel_iter_init(&it, c, v);
    while (!b->overflow && cel_iter_next(&it, &key, &value) && cel_work(c, 1)) {
        if (!first)
            buf_add_lit(b, ", ");
        first = false;
        if (!list) {
            put_text(c, &key, b);
            buf_add_lit(b, ": ");
        }
        put_text(c, &value, b);
    }
    buf_add_char(b, list ? ']' : '}');
}

/* As %s writes it: like string(), and lists and maps. Depth is that of values: bounded. */
static void put_text(struct cel_eval *c, const struct cel_value *v, struct buf *b)
{
    switch (v->type) {
    case CEL_STRING:
    case CEL_BYTES:
        buf_add_utf8(b, v->s, SIZE_MAX);
        return;
    case CEL_UINT:
        buf_printf(b, "%llu", (unsigned long long)v->u);
        return;
    case CEL_DOUBLE:
        if (isinf(v->d))
            buf_add_str(b, v->d > 0 ? STR("Infinity") : STR("-Infinity"));
        else
            cel_print_double(v->d, b);
        return;
    case CEL_TIMESTAMP:
        cel_print_timestamp(v, b);
        return;
    case CEL_DURATION: {
        buf_printf(b, "%s%lld", v->i < 0 ? "-" : "", llabs((long long)(v->i / 1000000000)));
        char t[16];
        int k = snprintf(t, sizeof t, ".%09lld", llabs((long long)(v->i % 1000000000)));
        while (k > 0 && (t[k - 1] == '0' || t[k - 1] == '.'))
            if (t[--k] == '.')
                break;
        buf_add(b, t, (size_t)k);
        buf_add_char(b, 's');
        return;
    }
    case CEL_LIST:
    case CEL_MAP:
    case CEL_OBJECT:
        put_entries(c, v, b);
        return;
    default:
        cel_print_value(c, v, b, 0);
    }
}

static void put_digits(uint64_t u, unsigned shift, bool upper, struct buf *b)
{
    char t[65], *p = t + sizeof t;
    do
        *--p = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u & ((1u << shift) - 1)];
    while (u >>= shift);
    buf_add(b, p, (size_t)(t + sizeof t - p));
}

static bool put_radix(const struct cel_value *v, char clause, struct buf *b)
{
    unsigned shift = clause == 'b' ? 1 : clause == 'o' ? 3 : 4;
    if (v->type == CEL_BOOL && clause == 'b') {
        buf_add_char(b, v->b ? '1' : '0');
    } else if (v->type == CEL_INT) {
        if (v->i < 0)
            buf_add_char(b, '-');
        put_digits(v->i < 0 ? 0 - (uint64_t)v->i : (uint64_t)v->i, shift, clause == 'X', b);
    } else if (v->type == CEL_UINT) {
        put_digits(v->u, shift, clause == 'X', b);
    } else if ((v->type == CEL_STRING || v->type == CEL_BYTES) && shift == 4) {
        for (size_t i = 0; i < v->s.n; i++)
            buf_printf(b, clause == 'X' ? "%02X" : "%02x", (uint8_t)v->s.p[i]);
    } else {
        return false;
    }
    return true;
}

static bool put_number(const struct cel_value *v, char clause, int precision, struct buf *b)
{
    double d = v->type == CEL_INT ? (double)v->i : v->type == CEL_UINT ? (double)v->u : v->d;
    if (v->type == CEL_STRING) { /* "NaN", "Infinity", "-Infinity" pass */
        if (!str_is(v->s, "NaN") && !str_is(v->s, "Infinity") && !str_is(v->s, "-Infinity"))
            return false;
        buf_add_str(b, v->s);
        return true;
    }
    if (v->type != CEL_INT && v->type != CEL_UINT && v->type != CEL_DOUBLE)
        return false;
    if (isnan(d) || isinf(d))
        buf_add_str(b, isnan(d) ? STR("NaN") : d > 0 ? STR("Infinity") : STR("-Infinity"));
    else
        buf_printf(b, clause == 'f' ? "%.*f" : "%.*e", precision, d);
    return true;
}

static bool put_decimal(const struct cel_value *v, struct buf *b)
{
    if (v->type == CEL_INT)
        buf_add_i64(b, v->i);
    else if (v->type == CEL_UINT)
        buf_printf(b, "%llu", (unsigned long long)v->u);
    else if (v->type == CEL_DOUBLE && (isnan(v->d) || isinf(v->d)))
        return put_number(v, 'f', 0, b);
    else
        return false;
    return true;
}

static struct cel_value clause_error(struct cel_eval *c, const struct cel_value *v, char clause)
{
    struct cel_value t = cel_typeof(v);
    return cel_fail(c, "error during formatting: %%%c clause cannot be used on %.*s", clause,
                    STR_ARG(t.s));
}

/* Behind "%": moves *at past the clause. */
static struct cel_value put_clause(struct cel_eval *c, struct str s, size_t *at,
                                   struct cel_iter *args, struct buf *b)
{
    int precision = 6;
    struct cel_value key, v;
    if (*at < s.n && s.p[*at] == '.') {
        precision = 0;
        for (++*at; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; ++*at)
            precision = MIN(precision * 10 + (s.p[*at] - '0'), PRECISION_MAX + 1);
        if (precision > PRECISION_MAX)
            return cel_fail(c, "error during formatting: precision too large");
    }
    if (*at >= s.n)
        return cel_fail(c, "error during formatting: unexpected end of string");
    char clause = s.p[(*at)++];
    if (clause == '%') {
        buf_add_char(b, '%');
        return cel_null();
    }
    if (!strchr("sdfeboxX", clause) || !clause)
        return cel_fail(c, "error during formatting: unrecognized formatting clause \"%c\"",
                        clause >= ' ' && clause < 127 ? clause : '?');
    if (!cel_iter_next(args, &key, &v))
        return cel_fail(c, "error during formatting: index %u out of range", args->i);
    bool ok = true;
    if (clause == 's')
        put_text(c, &v, b);
    else if (clause == 'd')
        ok = put_decimal(&v, b);
    else if (clause == 'f' || clause == 'e')
        ok = put_number(&v, clause, precision, b);
    else
        ok = put_radix(&v, clause, b);
    return ok ? cel_null() : clause_error(c, &v, clause);
}

static struct cel_value format(struct cel_eval *c, const struct cel_value *a, unsigned n)
{
    struct buf b = {.limit_bytes = CEL_MEMORY_MAX / 4};
    struct str s = a[0].s;
    struct cel_iter args;
    cel_iter_init(&args, c, &a[1]);
    for (size_t at = 0; at < s.n;) {
        const char *p = memchr(s.p + at, '%', s.n - at);
        size_t to = p ? (size_t)(p - s.p) : s.n;
        buf_add_str(&b, str_sub(s, at, to));
        at = p ? to + 1 : to;
        if (!p)
            break;
        struct cel_value r = put_clause(c, s, &at, &args, &b);
        if (r.type == CEL_ERROR) {
            buf_fini(&b);
            return r;
        }
        if (!cel_work(c, b.n / 1024 + 1))
            break;
    }
    return cel_take_buf(c, &b);
}

const struct overload cel_fn_format[] = {
    {"format", "sL*>s", format, OV_MEMBER, COST_ARG0},
    {0},
};
