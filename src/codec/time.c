/* Times and durations as text. Calendar arithmetic is the proleptic Gregorian one on whole days, as
 * in Howard Hinnant's "chrono-compatible low-level date algorithms"; no time zone data is involved.
 */
#include "codec/values.h"

#include <stdio.h>

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *ret_y, unsigned *ret_m, unsigned *ret_d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *ret_d = doy - (153 * mp + 2) / 5 + 1;
    *ret_m = mp < 10 ? mp + 3 : mp - 9;
    *ret_y = (int64_t)yoe + era * 400 + (*ret_m <= 2);
}

/* Exactly n digits at *i. */
static bool digits(struct str s, size_t *i, unsigned n, unsigned *ret)
{
    unsigned v = 0;
    for (; n; n--, (*i)++) {
        if (*i >= s.n || s.p[*i] < '0' || s.p[*i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.p[*i] - '0');
    }
    *ret = v;
    return true;
}
static bool lit(struct str s, size_t *i, char c)
{
    return *i < s.n && s.p[(*i)++] == c;
}

int timestamp_parse(struct str s, struct timestamp *ret)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned y, mo, d, h, mi, sec, oh = 0, om = 0;
    int64_t micros = 0, sign = 0;
    size_t i = 0;

    if (!digits(s, &i, 4, &y) || !lit(s, &i, '-') || !digits(s, &i, 2, &mo) || !lit(s, &i, '-') ||
        !digits(s, &i, 2, &d) || !lit(s, &i, 'T') || !digits(s, &i, 2, &h) || !lit(s, &i, ':') ||
        !digits(s, &i, 2, &mi) || !lit(s, &i, ':') || !digits(s, &i, 2, &sec))
        return -EINVAL;
    if (i < s.n && (s.p[i] == '.' || s.p[i] == ',')) {
        size_t start = ++i;
        int64_t unit = 100000;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, unit /= 10)
            micros += (s.p[i] - '0') * unit;
        if (i == start)
            return -EINVAL;
    }
    if (i < s.n && s.p[i] == 'Z') {
        i++;
    } else {
        if (i >= s.n || (s.p[i] != '+' && s.p[i] != '-'))
            return -EINVAL;
        sign = s.p[i++] == '+' ? 1 : -1;
        if (!digits(s, &i, 2, &oh) || !lit(s, &i, ':') || !digits(s, &i, 2, &om) || oh > 23 ||
            om > 59)
            return -EINVAL;
    }
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (i != s.n || y == 0 || mo < 1 || mo > 12 || d < 1 || h > 23 || mi > 59 || sec > 59 ||
        d > month_days[mo - 1] + (unsigned)(mo == 2 && leap))
        return -EINVAL;
    int64_t t = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec;
    t -= sign * (int64_t)(oh * 3600 + om * 60);
    if (t < TIMESTAMP_SECONDS_MIN || t > TIMESTAMP_SECONDS_MAX) /* by its offset */
        return -EINVAL;
    *ret = (struct timestamp){.usec = t * 1000000 + micros, .set = true};
    return 0;
}

size_t timestamp_format(struct timestamp t, bool micro, char out[static TIMESTAMP_TEXT_MAX])
{
    int64_t sec = t.usec / 1000000, us = t.usec % 1000000, y;
    unsigned mo, d;
    if (us < 0) {
        us += 1000000;
        sec--;
    }
    /* Year 0001 to 9999: what the text form can carry. */
    sec = CLAMP(sec, TIMESTAMP_SECONDS_MIN, TIMESTAMP_SECONDS_MAX);
    int64_t days = sec / 86400, rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil_from_days(days, &y, &mo, &d);
    unsigned v[] = {
        (unsigned)y,          mo, d, (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60),
        (unsigned)(rest % 60)};
    char *o = out;
    for (unsigned k = 0; k < 6; k++) {
        if (k)
            *o++ = "--T::"[k - 1];
        if (k == 0) {
            *o++ = (char)('0' + v[0] / 1000 % 10);
            *o++ = (char)('0' + v[0] / 100 % 10);
        }
        *o++ = (char)('0' + v[k] / 10 % 10);
        *o++ = (char)('0' + v[k] % 10);
    }
    if (micro) {
        *o++ = '.';
        for (int64_t unit = 100000; unit; unit /= 10)
            *o++ = (char)('0' + us / unit % 10);
    }
    *o++ = 'Z';
    *o = 0;
    return (size_t)(o - out);
}

void timestamp_print(struct timestamp t, bool micro, struct buf *b)
{
    char s[TIMESTAMP_TEXT_MAX];
    buf_add(b, s, timestamp_format(t, micro, s));
}

/* "h", "m", "s", "ms", "us", "µs", "ns" at *i. 0: none. */
static int64_t unit_at(struct str s, size_t *i)
{
    static const struct {
        const char *text;
        int64_t nsec;
    } units[] = {
        {"ns", 1},       {"us", 1000},        {"\xC2\xB5s", 1000},      {"\xCE\xBCs", 1000},
        {"ms", 1000000}, {"s", NSEC_PER_SEC}, {"m", 60 * NSEC_PER_SEC}, {"h", 3600 * NSEC_PER_SEC}};
    for (size_t k = 0; k < ARRAY_LEN(units); k++) {
        struct str u = str_z(units[k].text);
        if (str_starts(str_sub(s, *i, s.n), u)) {
            *i += u.n;
            return units[k].nsec;
        }
    }
    return 0;
}

int duration_parse(struct str s, struct duration *ret)
{
    size_t i = 0;
    bool negative = false;
    __int128 total = 0;

    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        negative = s.p[i++] == '-';
    if (i == s.n)
        return -EINVAL;
    if (str_is(str_sub(s, i, s.n), "0")) {
        *ret = (struct duration){.nsec = 0, .set = true};
        return 0;
    }
    while (i < s.n) {
        __int128 whole = 0, frac = 0, scale = 1;
        size_t start = i;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            if (whole < INT64_MAX)
                whole = whole * 10 + (s.p[i] - '0');
        size_t n = i - start;
        if (i < s.n && s.p[i] == '.') {
            for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, n++)
                if (scale < 1000000000000000) {
                    frac = frac * 10 + (s.p[i] - '0');
                    scale *= 10;
                }
        }
        int64_t unit = n ? unit_at(s, &i) : 0;
        if (!unit)
            return -EINVAL;
        total += whole * unit + frac * unit / scale;
        if (total > INT64_MAX)
            return -ERANGE;
    }
    *ret = (struct duration){.nsec = negative ? -(int64_t)total : (int64_t)total, .set = true};
    return 0;
}

size_t duration_format(int64_t nsec, char out[static DURATION_TEXT_MAX])
{
    uint64_t u = nsec < 0 ? 0 - (uint64_t)nsec : (uint64_t)nsec;
    const char *sign = nsec < 0 ? "-" : "", *unit = "s";
    uint64_t h = 0, m = 0, frac = 0, whole;
    int width = 0;

    if (u == 0)
        return (size_t)snprintf(out, DURATION_TEXT_MAX, "0s");
    if (u < 1000000000) { /* Go: the largest unit below a second that leaves a whole part */
        uint64_t div = u < 1000 ? 1 : u < 1000000 ? 1000 : 1000000;
        unit = div == 1 ? "ns" : div == 1000 ? "\xC2\xB5s" : "ms";
        width = div == 1 ? 0 : div == 1000 ? 3 : 6;
        whole = u / div;
        frac = u % div;
    } else {
        width = 9;
        frac = u % 1000000000;
        whole = u / 1000000000 % 60;
        m = u / 60000000000 % 60;
        h = u / 3600000000000;
    }
    while (width && frac % 10 == 0) {
        frac /= 10;
        width--;
    }
    int n = snprintf(out, DURATION_TEXT_MAX, "%s", sign);
    if (h)
        n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, "%lluh", (unsigned long long)h);
    if (h || m)
        n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, "%llum", (unsigned long long)m);
    n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, "%llu", (unsigned long long)whole);
    if (width)
        n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, ".%0*llu", width,
                      (unsigned long long)frac);
    n += snprintf(out + n, DURATION_TEXT_MAX - (size_t)n, "%s", unit);
    return (size_t)n;
}

size_t duration_human(int64_t nsec, char out[static DURATION_TEXT_MAX])
{
    long long s = nsec / NSEC_PER_SEC, m = s / 60, h = s / 3600, d = h / 24, y = d / 365;
    int n;
#define PUT(...) n = snprintf(out, DURATION_TEXT_MAX, __VA_ARGS__)
    if (s < -1)
        PUT("<invalid>");
    else if (s < 0)
        PUT("0s");
    else if (s < 120)
        PUT("%llds", s);
    else if (m < 10 && s % 60)
        PUT("%lldm%llds", m, s % 60);
    else if (m < 180)
        PUT("%lldm", m);
    else if (h < 8 && m % 60)
        PUT("%lldh%lldm", h, m % 60);
    else if (h < 48)
        PUT("%lldh", h);
    else if (d < 8 && h % 24)
        PUT("%lldd%lldh", d, h % 24);
    else if (d < 730)
        PUT("%lldd", d);
    else if (y < 8 && d % 365)
        PUT("%lldy%lldd", y, d % 365);
    else
        PUT("%lldy", y);
#undef PUT
    return (size_t)n;
}
