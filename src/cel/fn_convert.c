/* Conversions, and values as text. */
#include <errno.h>
#include <math.h>

#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

FN(same)
{
    return a[0];
}
FN(type_of)
{
    return cel_typeof(&a[0]);
}

FN(int_of_uint)
{
    return a[0].u > INT64_MAX ? cel_error(STR("integer overflow")) : cel_int((int64_t)a[0].u);
}
FN(int_of_double)
{
    double d = a[0].d;
    if (isnan(d) || d <= -9223372036854775808.0 || d >= 9223372036854775808.0)
        return cel_error(STR("integer overflow"));
    return cel_int((int64_t)d);
}
static struct cel_value bad_number(struct cel_eval *c, const char *fn, struct str s, bool range)
{
    return cel_fail(c, "strconv.%s: parsing \"%.*s\": %s", fn, (int)MIN(s.n, 100), s.p,
                    range ? "value out of range" : "invalid syntax");
}
FN(int_of_string)
{
    int64_t v;
    int r = str_to_i64(a[0].s, &v);
    return r < 0 ? bad_number(c, "ParseInt", a[0].s, r == -ERANGE) : cel_int(v);
}
FN(int_of_timestamp)
{
    return cel_int(a[0].i);
}
FN(uint_of_int)
{
    return a[0].i < 0 ? cel_error(STR("unsigned integer overflow")) : cel_uint((uint64_t)a[0].i);
}
FN(uint_of_double)
{
    if (isnan(a[0].d) || a[0].d < 0 || a[0].d >= 18446744073709551616.0)
        return cel_error(STR("unsigned integer overflow"));
    return cel_uint((uint64_t)a[0].d);
}
FN(uint_of_string)
{
    uint64_t v;
    int r = a[0].s.n && a[0].s.p[0] == '+' ? -EINVAL : str_to_u64(a[0].s, &v);
    return r < 0 ? bad_number(c, "ParseUint", a[0].s, r == -ERANGE) : cel_uint(v);
}
FN(double_of_int)
{
    return cel_double((double)a[0].i);
}
FN(double_of_uint)
{
    return cel_double((double)a[0].u);
}

/* What Go's ParseFloat reads: decimal, inf, nan; not the hexadecimal and "nan(...)" of strtod. */
static bool float_text(struct str s)
{
    struct str t = s.n && (s.p[0] == '+' || s.p[0] == '-') ? str_sub(s, 1, s.n) : s;
    if (str_ieq(t, STR("inf")) || str_ieq(t, STR("infinity")) || str_ieq(s, STR("nan")))
        return true;
    bool digit = false;
    for (size_t i = 0; i < t.n; i++) {
        if (!t.p[i] || !strchr("0123456789.eE+-", t.p[i]))
            return false;
        digit |= t.p[i] >= '0' && t.p[i] <= '9';
    }
    return digit;
}
FN(double_of_string)
{
    char text[400], *end;
    struct str s = a[0].s;
    if (!float_text(s) || s.n >= sizeof text)
        return bad_number(c, "ParseFloat", s, false);
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    double d = strtod(text, &end);
    if (end != text + s.n)
        return bad_number(c, "ParseFloat", s, false);
    if (isinf(d) && !strchr("iI", text[0] == '+' || text[0] == '-' ? text[1] : text[0]))
        return bad_number(c, "ParseFloat", s, true);
    return cel_double(d);
}

FN(bool_of_string)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"}, *const no[] = {
                                                                                  "0",     "f",
                                                                                  "F",     "false",
                                                                                  "FALSE", "False"};
    for (unsigned i = 0; i < ARRAY_LEN(yes); i++)
        if (str_eqz(a[0].s, yes[i]) || str_eqz(a[0].s, no[i]))
            return cel_bool(str_eqz(a[0].s, yes[i]));
    return cel_fail(c, "strconv.ParseBool: parsing \"%.*s\": invalid syntax",
                    (int)MIN(a[0].s.n, 100), a[0].s.p);
}
FN(bytes_of_string)
{
    return cel_bytes(a[0].s);
}
FN(string_of_bytes)
{
    return str_utf8_valid(a[0].s)
               ? cel_string(a[0].s)
               : cel_error(STR("invalid UTF-8 in bytes, cannot convert to string"));
}
FN(string_of_any)
{
    struct buf b = {0};
    switch (a[0].type) {
    case CEL_TIMESTAMP:
        cel_print_timestamp(&a[0], &b);
        break;
    case CEL_DURATION:
        buf_printf(&b, "%s%lld", a[0].i < 0 ? "-" : "", llabs((long long)(a[0].i / 1000000000)));
        if (a[0].i % 1000000000) {
            char frac[16];
            int k = snprintf(frac, sizeof frac, ".%09lld", llabs((long long)(a[0].i % 1000000000)));
            while (frac[k - 1] == '0')
                k--;
            buf_add(&b, frac, (size_t)k);
        }
        buf_add_char(&b, 's');
        break;
    case CEL_UINT:
        buf_printf(&b, "%llu", (unsigned long long)a[0].u);
        break;
    case CEL_DOUBLE:
        cel_print_double(a[0].d, &b);
        break;
    default:
        cel_print_value(c, &a[0], &b, 0);
    }
    return cel_take_buf(c, &b);
}

/* --- As text ------------------------------------------------------------------------------------
 */

/* The shortest digits that read back, as Go's 'g' with precision -1 writes them. */
void cel_print_double(double d, struct buf *b)
{
    char t[64];
    if (isnan(d)) {
        buf_add_lit(b, "NaN");
        return;
    }
    if (isinf(d)) {
        buf_add_str(b, d < 0 ? STR("-Inf") : STR("+Inf"));
        return;
    }
    int p = 0;
    do
        (void)snprintf(t, sizeof t, "%.*e", p, d);
    while (strtod(t, NULL) != d && ++p < 17);
    const char *e = strchr(t, 'e');
    int exp = e ? (int)strtol(e + 1, NULL, 10) : 0;
    if (exp < -4 || exp >= 21) {
        buf_add(b, t, (size_t)(e - t));
        buf_printf(b, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
    } else {
        buf_printf(b, "%.*f", MAX(p - exp, 0), d);
    }
}

static void print_quoted(struct str s, bool bytes, struct buf *b)
{
    if (bytes)
        buf_add_char(b, 'b');
    buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        uint8_t ch = (uint8_t)s.p[i];
        if (ch == '"' || ch == '\\') {
            buf_add_char(b, '\\');
            buf_add_char(b, (char)ch);
        } else if (ch == '\n') {
            buf_add_lit(b, "\\n");
        } else if (ch == '\t') {
            buf_add_lit(b, "\\t");
        } else if (ch == '\r') {
            buf_add_lit(b, "\\r");
        } else if (ch < 0x20 || ch == 0x7f || (bytes && ch >= 0x80)) {
            buf_printf(b, bytes ? "\\%03o" : "\\x%02x", ch);
        } else {
            buf_add_char(b, (char)ch);
        }
    }
    buf_add_char(b, '"');
}

static void print_entries(struct cel_eval *c, const struct cel_value *v, struct buf *b,
                          unsigned depth)
{
    struct cel_iter it;
    struct cel_value key, value;
    bool list = v->type == CEL_LIST, first = true;
    buf_add_char(b, list ? '[' : '{');
    if (c) {
        cel_iter_init(&it, c, v);
        while (!b->overflow && cel_iter_next(&it, &key, &value) && cel_work(c, 1)) {
            if (!first)
                buf_add_lit(b, ", ");
            first = false;
            if (!list) {
                cel_print_value(c, &key, b, depth + 1);
                buf_add_lit(b, ": ");
            }
            cel_print_value(c, &value, b, depth + 1);
        }
    }
    buf_add_char(b, list ? ']' : '}');
}

void cel_print_value(struct cel_eval *c, const struct cel_value *v, struct buf *b, unsigned depth)
{
    if (depth > 1200)
        return;
    switch ((enum cel_kind)v->type) {
    case CEL_NULL:
        buf_add_lit(b, "null");
        return;
    case CEL_BOOL:
        buf_add_str(b, v->b ? STR("true") : STR("false"));
        return;
    case CEL_INT:
        buf_add_i64(b, v->i);
        return;
    case CEL_UINT:
        buf_printf(b, "%lluu", (unsigned long long)v->u);
        return;
    case CEL_DOUBLE:
        cel_print_double(v->d, b);
        return;
    case CEL_STRING:
    case CEL_BYTES:
        print_quoted(v->s, v->type == CEL_BYTES, b);
        return;
    case CEL_TYPE:
        buf_add_str(b, v->s);
        return;
    case CEL_LIST:
    case CEL_MAP:
    case CEL_OBJECT:
        print_entries(c, v, b, depth);
        return;
    case CEL_TIMESTAMP:
        buf_add_lit(b, "timestamp(\"");
        cel_print_timestamp(v, b);
        buf_add_lit(b, "\")");
        return;
    case CEL_DURATION:
        buf_add_lit(b, "duration(\"");
        cel_print_duration(v->i, b);
        buf_add_lit(b, "\")");
        return;
    case CEL_OPTIONAL:
        buf_add_str(b, v->p ? STR("optional(") : STR("optional.none()"));
        if (v->p) {
            cel_print_value(c, v->p, b, depth + 1);
            buf_add_char(b, ')');
        }
        return;
    case CEL_QUANTITY:
        quantity_print(v->p, b);
        return;
    case CEL_IP:
    case CEL_CIDR:
        cel_ip_print(v->p, b);
        if (v->type == CEL_CIDR)
            buf_printf(b, "/%u", ((const struct cel_ip *)v->p)->prefix);
        return;
    case CEL_ERROR:
        buf_add_str(b, v->s);
        return;
    default:
        buf_add_str(b, str_z(cel_kind_name((enum cel_kind)v->type)));
    }
}

struct str cel_print(const struct cel_value *v, struct arena *a, size_t max)
{
    struct arena scratch = {0};
    struct cel_eval c = {.a = &scratch, .work_max = CEL_WORK_MAX, .memory_max = SIZE_MAX};
    struct buf b = {.limit_bytes = max};
    cel_print_value(&c, v, &b, 0);
    struct str s = arena_str(a, b.data ? buf_str(&b) : STR(""));
    buf_fini(&b);
    arena_fini(&scratch);
    return s;
}

const struct overload cel_fn_convert[] = {
    {"dyn", "A>*", same, 0, COST_ONE},
    {"type", "A>TA", type_of, 0, COST_ONE},
    {"int", "i>i", same, 0, COST_ONE},
    {"int", "u>i", int_of_uint, 0, COST_ONE},
    {"int", "d>i", int_of_double, 0, COST_ONE},
    {"int", "s>i", int_of_string, 0, COST_ONE},
    {"int", "t>i", int_of_timestamp, 0, COST_ONE},
    {"uint", "u>u", same, 0, COST_ONE},
    {"uint", "i>u", uint_of_int, 0, COST_ONE},
    {"uint", "d>u", uint_of_double, 0, COST_ONE},
    {"uint", "s>u", uint_of_string, 0, COST_ONE},
    {"double", "d>d", same, 0, COST_ONE},
    {"double", "i>d", double_of_int, 0, COST_ONE},
    {"double", "u>d", double_of_uint, 0, COST_ONE},
    {"double", "s>d", double_of_string, 0, COST_ONE},
    {"bool", "b>b", same, 0, COST_ONE},
    {"bool", "s>b", bool_of_string, 0, COST_ONE},
    {"bytes", "y>y", same, 0, COST_ONE},
    {"bytes", "s>y", bytes_of_string, 0, COST_ARG0},
    {"string", "s>s", same, 0, COST_ONE},
    {"string", "b>s", string_of_any, 0, COST_ONE},
    {"string", "i>s", string_of_any, 0, COST_ONE},
    {"string", "u>s", string_of_any, 0, COST_ONE},
    {"string", "d>s", string_of_any, 0, COST_ONE},
    {"string", "t>s", string_of_any, 0, COST_ONE},
    {"string", "r>s", string_of_any, 0, COST_ONE},
    {"string", "y>s", string_of_bytes, 0, COST_ARG0},
    {"string", "p>s", string_of_any, 0, COST_ONE},
    {"string", "c>s", string_of_any, 0, COST_ONE},
    {0},
};
