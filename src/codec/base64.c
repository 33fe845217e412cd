/* Base64 by table, strict on input: two texts never decode to the same bytes, which matters where a
 * text is signed (JWTs) or compared. */
#include "codec/base64.h"

static const char std_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void print(struct str s, const char *digits, bool pad, struct buf *b)
{
    const uint8_t *p = (const uint8_t *)s.p;
    char *o = buf_reserve(b, (s.n / 3 + 1) * 4);
    if (!o)
        return;
    char *start = o;
    size_t i = 0;
    for (; i + 3 <= s.n; i += 3, o += 4) {
        uint32_t w = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        o[0] = digits[w >> 18];
        o[1] = digits[w >> 12 & 63];
        o[2] = digits[w >> 6 & 63];
        o[3] = digits[w & 63];
    }
    if (i < s.n) {
        uint32_t w = (uint32_t)p[i] << 16 | (i + 1 < s.n ? (uint32_t)p[i + 1] << 8 : 0);
        *o++ = digits[w >> 18];
        *o++ = digits[w >> 12 & 63];
        if (i + 1 < s.n)
            *o++ = digits[w >> 6 & 63];
        else if (pad)
            *o++ = '=';
        if (pad)
            *o++ = '=';
    }
    b->n += (size_t)(o - start);
    b->data[b->n] = 0;
}

void base64_print(struct str bytes, struct buf *b)
{
    print(bytes, std_digits, true, b);
}
void base64url_print(struct str bytes, struct buf *b)
{
    print(bytes, url_digits, false, b);
}

static int digit(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

static int parse(struct str t, bool url, struct arena *a, struct str *ret)
{
    if (!url) {
        if (t.n % 4)
            return -EINVAL;
        for (int i = 0; i < 2 && t.n && t.p[t.n - 1] == '='; i++)
            t.n--;
    }
    if (t.n % 4 == 1)
        return -EINVAL;
    size_t n = t.n / 4 * 3 + (t.n % 4 ? t.n % 4 - 1 : 0);
    uint8_t *out = arena_try_alloc(a, n + 1);
    if (!out)
        return -ENOMEM;
    uint32_t w = 0;
    unsigned bits = 0;
    size_t o = 0;
    for (size_t i = 0; i < t.n; i++) {
        int d = digit((uint8_t)t.p[i], url);
        if (d < 0)
            return -EINVAL;
        w = w << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[o++] = (uint8_t)(w >> bits);
        }
    }
    if (bits && (w & ((1u << bits) - 1)))
        return -EINVAL;
    ASSERT(o == n);
    out[n] = 0;
    *ret = (struct str){(char *)out, n};
    return 0;
}

int base64_parse(struct str text, struct arena *a, struct str *ret)
{
    return parse(text, false, a, ret);
}
int base64url_parse(struct str text, struct arena *a, struct str *ret)
{
    return parse(text, true, a, ret);
}
