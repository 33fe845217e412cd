/* A zone is a sorted list of moments at which the offset changes, and for later ones a rule in
 * POSIX's form ("CET-1CEST,M3.5.0,M10.5.0/3"). Both are read strictly: the file is data of the
 * machine, but a wrong offset would be worse than none. */
#include <fcntl.h>
#include <unistd.h>

#include "cel/tz.h"

#define FILE_MAX  262144
#define TIMES_MAX 10000
#define DIR       "/usr/share/zoneinfo/"

struct tz_rule {  /* the day on which it begins, and when */
    uint8_t kind; /* 'M' month.week.day, 'J' day 1..365 without 29 February, 'N' day 0..365 */
    int month, week, day;
    int32_t sec;
};
struct tz {
    struct tz_change {
        int64_t at;
        int32_t offset;
    } * v;
    uint32_t n;
    int32_t first, std, dst;
    bool has_rule, has_dst;
    struct tz_rule begin, end;
};

static int64_t be(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return n == 4 ? (int32_t)v : (int64_t)v;
}

/* --- The rule at the end ------------------------------------------------------------------------
 */

static bool number(struct str *s, int *ret)
{
    int v = 0;
    size_t i = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9' && i < 4; i++)
        v = v * 10 + (s->p[i] - '0');
    *s = str_sub(*s, i, s->n);
    *ret = v;
    return i > 0;
}
static bool take(struct str *s, char c)
{
    if (!s->n || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}
static bool hms(struct str *s, int32_t *ret)
{
    int h, m = 0, sec = 0;
    bool minus = take(s, '-');
    if (!minus)
        (void)take(s, '+');
    if (!number(s, &h) || h > 167 || (take(s, ':') && (!number(s, &m) || m > 59)) ||
        (take(s, ':') && (!number(s, &sec) || sec > 59)))
        return false;
    *ret = (h * 3600 + m * 60 + sec) * (minus ? -1 : 1);
    return true;
}
static bool name(struct str *s)
{
    size_t i = 0;
    if (take(s, '<')) {
        while (i < s->n && s->p[i] != '>')
            i++;
        *s = str_sub(*s, i, s->n);
        return take(s, '>');
    }
    while (i < s->n && ((s->p[i] | 0x20) >= 'a' && (s->p[i] | 0x20) <= 'z'))
        i++;
    *s = str_sub(*s, i, s->n);
    return i >= 3;
}
static bool rule(struct str *s, struct tz_rule *r)
{
    *r = (struct tz_rule){.sec = 7200};
    if (!take(s, ','))
        return false;
    if (take(s, 'M')) {
        r->kind = 'M';
        if (!number(s, &r->month) || !take(s, '.') || !number(s, &r->week) || !take(s, '.') ||
            !number(s, &r->day) || r->month < 1 || r->month > 12 || r->week < 1 || r->week > 5 ||
            r->day > 6)
            return false;
    } else {
        r->kind = take(s, 'J') ? 'J' : 'N';
        if (!number(s, &r->day) || r->day > 365 || (r->kind == 'J' && r->day < 1))
            return false;
    }
    return !take(s, '/') || hms(s, &r->sec);
}

static bool footer(struct str s, struct tz *z)
{
    int32_t west;
    if (!s.n)
        return true;
    if (!name(&s) || !hms(&s, &west))
        return false;
    z->std = -west;
    z->has_rule = true;
    if (!s.n)
        return true;
    if (!name(&s))
        return false;
    z->dst = z->std + 3600;
    if (s.n && s.p[0] != ',') {
        if (!hms(&s, &west))
            return false;
        z->dst = -west;
    }
    z->has_dst = true;
    return rule(&s, &z->begin) && rule(&s, &z->end) && s.n == 0;
}

static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}
static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Local seconds, as of that year's clock before the change. */
static int64_t rule_time(const struct tz_rule *r, int64_t year)
{
    int64_t day;
    if (r->kind == 'M') {
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int length = lengths[r->month - 1] + (r->month == 2 && leap(year));
        day = days_of(year, r->month, 1);
        int64_t weekday = ((day % 7) + 11) % 7; /* 1970-01-01 was a Thursday */
        int in = (int)((r->day - weekday + 7) % 7) + (r->week - 1) * 7;
        day += in >= length ? in - 7 : in;
    } else {
        day = days_of(year, 1, 1) + r->day;
        if (r->kind == 'J')
            day -= !(leap(year) && r->day >= 60);
    }
    return day * 86400 + r->sec;
}

static int32_t by_rule(const struct tz *z, int64_t sec)
{
    if (!z->has_dst)
        return z->std;
    int64_t days = (sec + z->std) / 86400 - ((sec + z->std) % 86400 < 0);
    int64_t year = 1970 + days / 366; /* at or below the right one, within a few */
    if (days < 0)
        year = 1970 + days / 365 - 1;
    while (days_of(year + 1, 1, 1) <= days)
        year++;
    int64_t begin = rule_time(&z->begin, year) - z->std, end = rule_time(&z->end, year) - z->dst;
    bool dst = begin < end ? sec >= begin && sec < end : sec < end || sec >= begin;
    return dst ? z->dst : z->std;
}

/* --- The file -----------------------------------------------------------------------------------
 */

struct header {
    uint32_t isutc, isstd, leap, times, types, chars;
    size_t bytes; /* of the data behind it */
};
static bool header(struct str f, unsigned wide, struct header *h)
{
    const uint8_t *p = (const uint8_t *)f.p;
    if (f.n < 44 || memcmp(p, "TZif", 4) != 0)
        return false;
    uint32_t *v[] = {&h->isutc, &h->isstd, &h->leap, &h->times, &h->types, &h->chars};
    for (unsigned i = 0; i < 6; i++) {
        *v[i] = (uint32_t)be(p + 20 + i * 4, 4);
        if (*v[i] > TIMES_MAX)
            return false;
    }
    h->bytes = (size_t)h->times * (wide + 1) + (size_t)h->types * 6 + h->chars +
               (size_t)h->leap * (wide + 4) + h->isstd + h->isutc;
    return h->types > 0 && f.n - 44 >= h->bytes;
}

const struct tz *tz_read(struct str f, struct arena *a)
{
    struct header h;
    if (!header(f, 4, &h) || f.p[4] < '2') /* version 1 is 32 bits: nobody writes it any more */
        return NULL;
    f = str_sub(f, 44 + h.bytes, f.n);
    if (!header(f, 8, &h))
        return NULL;
    const uint8_t *times = (const uint8_t *)f.p + 44, *index = times + (size_t)h.times * 8,
                  *types = index + h.times;
    struct tz *z = ARENA_NEW(a, struct tz);
    z->v = ARENA_NEW_N(a, struct tz_change, h.times + 1);
    z->first = (int32_t)be(types, 4);
    for (uint32_t i = 0; i < h.times; i++) {
        if (index[i] >= h.types)
            return NULL;
        z->v[i] = (struct tz_change){be(times + (size_t)i * 8, 8),
                                     (int32_t)be(types + (size_t)index[i] * 6, 4)};
        if (z->v[i].offset < -100000 || z->v[i].offset > 100000 ||
            (i && z->v[i].at <= z->v[i - 1].at))
            return NULL;
    }
    z->n = h.times;
    if (z->first < -100000 || z->first > 100000)
        return NULL;
    struct str foot = str_sub(f, 44 + h.bytes, f.n);
    if (foot.n < 2 || foot.p[0] != '\n' || foot.p[foot.n - 1] != '\n' ||
        !footer(str_sub(foot, 1, foot.n - 1), z))
        return NULL;
    return z;
}

static const struct tz *from_file(struct str s, struct arena *a)
{
    char path[128];
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool ok = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
                  c == '-' || c == '+' || (c == '/' && i > 0);
        if (!ok)
            return NULL; /* no dots: nothing above the directory */
    }
    if (s.n == 0 || s.n > 64)
        return NULL;
    (void)snprintf(path, sizeof path, DIR "%.*s", STR_ARG(s));
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *p = arena_alloc(a, FILE_MAX);
    ssize_t n = read(fd, p, FILE_MAX);
    return n > 0 ? tz_read((struct str){p, (size_t)n}, a) : NULL;
}

const struct tz *tz_find(struct str s, struct arena *a)
{
    int h, m;
    struct str t = s;
    bool minus = take(&t, '-');
    if (!minus)
        (void)take(&t, '+');
    if (number(&t, &h) && take(&t, ':') && number(&t, &m) && t.n == 0 && h < 24 && m < 60) {
        struct tz *z = ARENA_NEW(a, struct tz);
        z->first = (h * 3600 + m * 60) * (minus ? -1 : 1);
        return z;
    }
    if (s.n == 0 || str_is(s, "UTC"))
        return ARENA_NEW(a, struct tz);
    return from_file(s, a);
}

int32_t tz_offset(const struct tz *z, int64_t sec)
{
    uint32_t lo = 0, hi = z->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (z->v[mid].at <= sec)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == z->n && z->has_rule)
        return by_rule(z, sec);
    return lo ? z->v[lo - 1].offset : z->first;
}
