/* Printing JSON: strings with as little looking at bytes as possible (eight at a time while nothing
 * needs an escape), numbers the way Go's encoding/json does, since clients compare texts. */
#include "codec/json.h"

#include <math.h>
#include <stdio.h>

/* True when none of the eight bytes needs attention: all within 0x20..0x7f, no '"', no '\\'. */
static inline bool plain8(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t q = w ^ (ones * '"'), bs = w ^ (ones * '\\');
    uint64_t low = (w - ones * 0x20) | (q - ones) | (bs - ones);
    return ((low | w) & tops) == 0;
}

/* Length of the valid UTF-8 sequence at p, 0 when there is none. Rejects overlong forms, surrogates. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c >= 0xC2 && c <= 0xDF)
        return left >= 2 && (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if ((c & 0xF0) == 0xE0) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80)
            return 0;
        if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F))
            return 0;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (left < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80)
            return 0;
        if ((c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F))
            return 0;
        return 4;
    }
    return 0;
}

static char *put_escape(char *o, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    *o++ = '\\';
    switch (c) {
    case '"':
    case '\\':
        *o++ = (char)c;
        return o;
    case '\n':
        *o++ = 'n';
        return o;
    case '\r':
        *o++ = 'r';
        return o;
    case '\t':
        *o++ = 't';
        return o;
    case '\b':
        *o++ = 'b';
        return o;
    case '\f':
        *o++ = 'f';
        return o;
    default:
        memcpy(o, "u00", 3);
        o[3] = hex[c >> 4];
        o[4] = hex[c & 15];
        return o + 5;
    }
}

void json_print_str(struct str s, struct buf *b)
{
    /* The likely size first, more only when something needs an escape. */
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;
    char *o = buf_reserve(b, s.n + 2 + 8);
    if (!o)
        return;
    char *start = o;
    *o++ = '"';
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        if (!plain8(w))
            break;
        memcpy(o, p, 8);
        o += 8;
        p += 8;
    }
    if (end - p > 0) {
        size_t done = (size_t)(o - start);
        size_t extra = 0; /* a control byte grows by five, a broken one by two */
        for (const uint8_t *q = p; q < end; q++)
            extra += *q < 0x20 ? 5 : *q >= 0x80 ? 2 : (*q == '"' || *q == '\\');
        if (extra) {
            o = buf_reserve(b, done + (size_t)(end - p) + extra + 2);
            if (!o)
                return;
            start = o;
            o += done;
        }
    }
    while (p < end) {
        uint8_t c = *p;
        if (c >= 0x80) {
            size_t n = utf8_len(p, (size_t)(end - p));
            if (n == 0) {
                memcpy(o, "\xEF\xBF\xBD", 3);
                o += 3;
                p++;
            } else {
                memcpy(o, p, n);
                o += n;
                p += n;
            }
        } else if (c < 0x20 || c == '"' || c == '\\') {
            o = put_escape(o, c);
            p++;
        } else {
            *o++ = (char)c;
            p++;
        }
    }
    *o++ = '"';
    b->n += (size_t)(o - start);
    b->data[b->n] = 0;
}

void json_print_double(double d, struct buf *b)
{
    char t[40];
    if (!isfinite(d)) {
        buf_add_lit(b, "0");
        return;
    }
    if (d > -1e15 && d < 1e15 && (double)(int64_t)d == d) {
        buf_add_i64(b, (int64_t)d);
        return;
    }
    int prec = 0;
    do
        snprintf(t, sizeof t, "%.*e", prec, d);
    while (strtod(t, NULL) != d && ++prec < 17);
    char *e = strchr(t, 'e');
    int exp = (int)strtol(e + 1, NULL, 10);
    *e = 0;
    if (exp < -6 || exp >= 21) { /* Go: 1e-7, 1.5e+21 */
        buf_printf(b, exp < 0 ? "%se-%d" : "%se+%d", t, abs(exp));
    } else if (exp < prec) {
        buf_printf(b, "%.*f", prec - exp, d);
    } else { /* the shortest digits, then zeros: %f would go on with digits nobody asked for */
        buf_printf(b, "%.*s%c%s", d < 0, "-", t[d < 0], prec ? t + 2 + (d < 0) : "");
        for (; exp > prec; exp--)
            buf_add_char(b, '0');
    }
}

static void indent(struct buf *b, unsigned level)
{
    buf_add_char(b, '\n');
    for (unsigned i = 0; i < level; i++)
        buf_add_lit(b, "  ");
}

static void print(const struct json *v, struct buf *b, bool pretty, unsigned level)
{
    switch ((enum json_type)v->type) {
    case JSON_NULL:
        buf_add_lit(b, "null");
        return;
    case JSON_BOOL:
        buf_add_str(b, v->b ? STR("true") : STR("false"));
        return;
    case JSON_INT:
        buf_add_i64(b, v->i);
        return;
    case JSON_REAL:
        json_print_double(v->d, b);
        return;
    case JSON_STR:
        json_print_str(v->s, b);
        return;
    case JSON_ARR:
    case JSON_OBJ:
        break;
    }
    bool obj = v->type == JSON_OBJ;
    buf_add_char(b, obj ? '{' : '[');
    json_for_each (child, v) {
        if (child != v->first)
            buf_add_char(b, ',');
        if (pretty)
            indent(b, level + 1);
        if (obj) {
            json_print_str(child->key, b);
            buf_add_char(b, ':');
            if (pretty)
                buf_add_char(b, ' ');
        }
        print(child, b, pretty, level + 1);
    }
    if (pretty && v->first)
        indent(b, level);
    buf_add_char(b, obj ? '}' : ']');
}

void json_print(const struct json *v, struct buf *b)
{
    print(v, b, false, 0);
}
void json_print_pretty(const struct json *v, struct buf *b)
{
    print(v, b, true, 0);
}
