/* String views: the API server passes slices of request bodies around; copying each would cost more
 * than parsing them. */
#include "base/str.h"
#include "base/hash.h"
#include "base/mem.h"

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

ssize_t str_find(struct str s, char c)
{
    const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

    return q ? q - s.p : -1;
}

ssize_t str_rfind(struct str s, char c)
{
    const char *q = s.n ? memrchr(s.p, c, s.n) : NULL;

    return q ? q - s.p : -1;
}

ssize_t str_search(struct str s, struct str needle)
{
    const char *q;

    if (needle.n == 0)
        return 0;
    q = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return q ? q - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    to = MIN(to, s.n);
    from = MIN(from, to);
    return (struct str){s.p ? s.p + from : NULL, to - from};
}

static bool ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.n && ascii_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && ascii_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str *s, char c, struct str *ret_head)
{
    ssize_t i = str_find(*s, c);

    if (i < 0) {
        *ret_head = *s;
        *s = (struct str){s->p ? s->p + s->n : NULL, 0};
        return false;
    }
    *ret_head = (struct str){s->p, (size_t)i};
    *s = (struct str){s->p + i + 1, s->n - (size_t)i - 1};
    return true;
}

int str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(s.p[i] - '0');
        if (d > 9)
            return -EINVAL;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return -ERANGE;
    }
    *ret = v;
    return 0;
}

int str_to_i64(struct str s, int64_t *ret)
{
    bool neg = s.n && s.p[0] == '-';
    uint64_t v;
    int r;

    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_sub(s, 1, s.n);
    r = str_to_u64(s, &v);
    if (r < 0)
        return r;
    if (v > (uint64_t)INT64_MAX + neg)
        return -ERANGE;
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t str_utf8_char(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;

    if (s.n == 0) /* p may be NULL */
        return 0;
    unsigned c = *p;
    size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : (c & 0xF0) == 0xE0 ? 2 : 3;
    if (c >= 0x80 && c < 0xC2)
        return 0;
    if (c > 0xF4 || s.n <= more)
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) || (c == 0xF0 && p[1] < 0x90) ||
        (c == 0xF4 && p[1] > 0x8F))
        return 0;
    return more + 1;
}

uint32_t str_utf8_get(struct str s, size_t *at)
{
    const unsigned char *p = (const unsigned char *)s.p + *at;
    size_t n = str_utf8_char((struct str){s.p + *at, s.n - *at});
    *at += n ? n : 1;
    switch (n) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1FU) << 6 | (p[1] & 0x3FU);
    case 3:
        return (p[0] & 0x0FU) << 12 | (p[1] & 0x3FU) << 6 | (p[2] & 0x3FU);
    case 4:
        return (p[0] & 0x07U) << 18 | (p[1] & 0x3FU) << 12 | (p[2] & 0x3FU) << 6 | (p[3] & 0x3FU);
    default:
        return 0xFFFD;
    }
}

bool str_utf8_valid(struct str s)
{
    for (size_t n; s.n; s = (struct str){s.p + n, s.n - n})
        if ((n = str_utf8_char(s)) == 0)
            return false;
    return true;
}

char *str_dup(struct str s)
{
    char *p = xmalloc(s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

uint64_t str_hash(struct str s)
{
    return hash_bytes(s.p, s.n);
}
