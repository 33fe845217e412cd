/* Printing JSON: strings with as little looking at bytes as possible (eight at a time while nothing
 * needs an escape), numbers the way Go's encoding/json does, since clients compare texts. */
#include "codec/json.h"
#include "codec/out.h"

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

/* Length of the valid UTF-8 sequence at p, 0 when there is none. Rejects overlong forms,
 * surrogates. */
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

/* The whole text needs no escape. Reads in eights, the last one overlapping; short texts are put
 * together in one word. */
static inline bool plain(const uint8_t *p, size_t n)
{
    uint64_t w = UINT64_C(0x6161616161616161);
    uint32_t lo, hi;
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&w, p + i, 8);
            if (!plain8(w))
                return false;
        }
        memcpy(&w, p + n - 8, 8);
    } else if (n >= 4) {
        memcpy(&lo, p, 4);
        memcpy(&hi, p + n - 4, 4);
        w = (uint64_t)hi << 32 | lo;
    } else if (n) {
        w = (w & ~UINT64_C(0xFFFFFF)) | p[0] | (uint64_t)p[n >> 1] << 8 | (uint64_t)p[n - 1] << 16;
    }
    return plain8(w);
}

static void print_escaped(const uint8_t *p, const uint8_t *end, struct buf *b)
{
    size_t room = (size_t)(end - p) + 2; /* a control byte grows by five, a broken one by two */
    for (const uint8_t *q = p; q < end; q++)
        room += *q < 0x20 ? 5 : *q >= 0x80 ? 2 : (*q == '"' || *q == '\\');
    char *o = out_room(b, room), *start = o;
    if (!o)
        return;
    *o++ = '"';
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
    out_end(b, (size_t)(o - start));
}

void json_print_str(struct str s, struct buf *b)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (UNLIKELY(!plain(p, s.n))) {
        print_escaped(p, p + s.n, b);
        return;
    }
    char *o = out_room(b, s.n + 2);
    if (!o)
        return;
    o[0] = '"';
    if (s.n)
        memcpy(o + 1, p, s.n);
    o[s.n + 1] = '"';
    out_end(b, s.n + 2);
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
    json_for_each(child, v)
    {
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
