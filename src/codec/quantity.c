/* Kubernetes quantities. All arithmetic is done on nano units in 128 bits: amounts are capped at
 * 2^63-1, so their nanos fit with room to spare, and no big-number library is needed. The struct
 * keeps the shortest mantissa, which makes printing (the canonical form wants the largest suffix
 * without a fraction) and comparing cheap. */
#include "codec/values.h"

typedef __int128 i128;
typedef unsigned __int128 u128;

#define NANO_EXP 9
#define DIGITS_MAX                                                                                 \
    37              /* digits kept while parsing; 10^37 fits in 128 bits, what is cut rounds up    \
                     */
#define FRAC_MAX 60 /* digits behind the point that are looked at, leading zeros included */

static const uint64_t pow10_table[] = {
    1ull,
    10ull,
    100ull,
    1000ull,
    10000ull,
    100000ull,
    1000000ull,
    10000000ull,
    100000000ull,
    1000000000ull,
    10000000000ull,
    100000000000ull,
    1000000000000ull,
    10000000000000ull,
    100000000000000ull,
    1000000000000000ull,
    10000000000000000ull,
    100000000000000000ull,
    1000000000000000000ull,
    10000000000000000000ull,
};

static u128 pow10_128(unsigned e)
{
    return e < 20 ? (u128)pow10_table[e] : (u128)pow10_table[19] * pow10_table[e - 19];
}

/* n * 10^scale with n >= 0 as a canonical quantity; capped, rounded up to nanos. */
static struct quantity normalize(u128 n, int scale, bool negative, uint8_t format)
{
    struct quantity q = {.format = format, .set = true};
    if (n == 0)
        return q;
    if (scale < -NANO_EXP) {
        unsigned drop = (unsigned)(-NANO_EXP - scale);
        u128 d = drop > 37 ? 0 : pow10_128(drop);
        n = d ? n / d + (n % d != 0) : 1;
        scale = -NANO_EXP;
    }
    while (n % 10 == 0) {
        n /= 10;
        scale++;
    }
    while (n > INT64_MAX && scale < 0) { /* too precise for the mantissa: keep the leading digits */
        n = n / 10 + (n % 10 != 0);
        scale++;
    }
    if (scale > 18 || (scale >= 0 && n > (u128)INT64_MAX / pow10_table[scale])) {
        n = INT64_MAX;
        scale = 0;
    }
    while (n % 10 == 0) {
        n /= 10;
        scale++;
    }
    q.mantissa = negative ? -(int64_t)n : (int64_t)n;
    q.scale = (int8_t)scale;
    return q;
}

static i128 to_nano(const struct quantity *q)
{
    return q->set ? (i128)q->mantissa * (i128)pow10_128((unsigned)(q->scale + NANO_EXP)) : 0;
}

static struct quantity from_nano(i128 n, uint8_t format)
{
    return normalize(n < 0 ? -(u128)n : (u128)n, -NANO_EXP, n < 0, format);
}

/* The suffix: a decimal exponent, or a power of 1024. */
static int parse_suffix(struct str s, int *ret_exp10, unsigned *ret_exp1024, uint8_t *ret_format)
{
    static const char si[] = "num\0kMGTPE", bin[] = "KMGTPE";
    const char *c;
    *ret_exp10 = 0;
    *ret_exp1024 = 0;
    *ret_format = QUANTITY_DECIMAL_SI;
    if (s.n == 0)
        return 0;
    if (s.n == 1 && s.p[0] && (c = memchr(si, s.p[0], sizeof si - 1))) {
        *ret_exp10 = ((int)(c - si) - 3) * 3;
        return 0;
    }
    if (s.n == 2 && s.p[1] == 'i' && s.p[0] && (c = memchr(bin, s.p[0], sizeof bin - 1))) {
        *ret_exp1024 = (unsigned)(c - bin) + 1;
        *ret_format = QUANTITY_BINARY_SI;
        return 0;
    }
    int64_t e;
    if ((s.p[0] != 'e' && s.p[0] != 'E') || str_to_i64(str_sub(s, 1, s.n), &e) < 0)
        return -EINVAL;
    *ret_exp10 = (int)CLAMP(e, -1000, 1000);
    *ret_format = QUANTITY_DECIMAL_EXPONENT;
    return 0;
}

int quantity_parse(struct str s, struct quantity *ret)
{
    size_t i = 0, digits = 0;
    u128 n = 0;
    unsigned exp1024, kept = 0;
    int exp10, scale = 0;
    uint8_t format;
    bool negative = false, point = false, cut = false;

    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        negative = s.p[i++] == '-';
    for (; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        digits++;
        if (kept >= DIGITS_MAX || (point && scale <= -FRAC_MAX)) {
            cut |= c != '0';
            scale += !point && scale < 1000;
            continue;
        }
        scale -= point;
        kept += kept || c != '0';
        n = n * 10 + (unsigned)(c - '0');
    }
    if (digits == 0 || parse_suffix(str_sub(s, i, s.n), &exp10, &exp1024, &format) < 0)
        return -EINVAL;
    n += cut;
    scale += exp10;
    for (; exp1024; exp1024--) {
        while (n > ~(u128)0 / 1024 && scale < 0) {
            n = n / 10 + (n % 10 != 0);
            scale++;
        }
        n = n > ~(u128)0 / 1024 ? (u128)INT64_MAX : n * 1024;
    }
    *ret = normalize(n, scale, negative, format);
    return 0;
}

/* 128 bits: a full mantissa may get two zeros for the sake of the suffix. */
static size_t put_i128(i128 v, char *out)
{
    char tmp[48], *p = tmp + sizeof tmp;
    u128 wide = v < 0 ? -(u128)v : (u128)v;
    for (; wide > UINT64_MAX; wide /= 10)
        *--p = (char)('0' + (unsigned)(wide % 10));
    uint64_t u = (uint64_t)wide; /* division by 64 bits is many times cheaper */
    do
        *--p = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        *--p = '-';
    size_t n = (size_t)(tmp + sizeof tmp - p);
    memcpy(out, p, n);
    return n;
}

static size_t print_binary(const struct quantity *q, char *out)
{
    int64_t v = quantity_value(q);
    unsigned e = 0;
    while (v && v % 1024 == 0 && e < 6) {
        v /= 1024;
        e++;
    }
    size_t n = put_i128(v, out);
    if (e) {
        out[n++] = "KMGTPE"[e - 1];
        out[n++] = 'i';
    }
    return n;
}

size_t quantity_format(const struct quantity *q, char out[static QUANTITY_TEXT_MAX])
{
    size_t n;
    i128 nano = to_nano(q);
    const i128 one = 1000000000, kilo = 1024 * one;
    /* A binary amount below 1Ki or with a fraction is shown in decimal: 0.1Gi is 107374182400m. */
    if (q->format == QUANTITY_BINARY_SI && (nano <= -kilo || nano >= kilo) && nano % one == 0) {
        n = print_binary(q, out);
    } else {
        /* Down to an exponent that is a multiple of three. */
        int64_t m = q->set ? q->mantissa : 0;
        int scale = q->set && m ? q->scale : 0;
        i128 wide = m;
        while (scale % 3 != 0) {
            wide *= 10;
            scale--;
        }
        n = put_i128(wide, out);
        if (q->format == QUANTITY_DECIMAL_EXPONENT) {
            if (scale) {
                out[n++] = 'e';
                n += put_i128(scale, out + n);
            }
        } else if (scale) {
            out[n++] = "num kMGTPE"[scale / 3 + 3];
        }
    }
    out[n] = 0;
    return n;
}

void quantity_print(const struct quantity *q, struct buf *b)
{
    char t[QUANTITY_TEXT_MAX];
    buf_add(b, t, quantity_format(q, t));
}

/* Divides away from zero. */
static int64_t ceil_div(i128 n, int64_t d)
{
    i128 v = n / d;
    if (n % d)
        v += n < 0 ? -1 : 1;
    return v > INT64_MAX ? INT64_MAX : v < -INT64_MAX ? -INT64_MAX : (int64_t)v;
}

int64_t quantity_value(const struct quantity *q)
{
    return ceil_div(to_nano(q), 1000000000);
}
int64_t quantity_milli(const struct quantity *q)
{
    return ceil_div(to_nano(q), 1000000);
}
struct quantity quantity_from(int64_t value, enum quantity_format f)
{
    return from_nano((i128)value * 1000000000, (uint8_t)f);
}
struct quantity quantity_from_milli(int64_t milli)
{
    return from_nano((i128)milli * 1000000, QUANTITY_DECIMAL_SI);
}
int quantity_cmp(const struct quantity *a, const struct quantity *b)
{
    i128 x = to_nano(a), y = to_nano(b);
    return (x > y) - (x < y);
}
struct quantity quantity_add(const struct quantity *a, const struct quantity *b)
{
    return from_nano(to_nano(a) + to_nano(b), a->set ? a->format : b->format);
}
struct quantity quantity_sub(const struct quantity *a, const struct quantity *b)
{
    return from_nano(to_nano(a) - to_nano(b), a->set ? a->format : b->format);
}
bool quantity_is_zero(const struct quantity *q)
{
    return !q->set || q->mantissa == 0;
}
