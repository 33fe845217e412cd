/* Timestamps and durations: reading, arithmetic within the years 1 to 9999, and their parts in a
 * zone. */
#include "cel/internal.h"
#include "cel/tz.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)
#define NS INT64_C(1000000000)

static struct cel_value duration(int64_t ns)
{
    return (struct cel_value){.type = CEL_DURATION, .i = ns};
}

/* --- Text ---------------------------------------------------------------------------------------
 */

bool cel_parse_timestamp(struct str s, struct cel_value *ret)
{
    struct timestamp t;
    if (timestamp_parse(s, &t) < 0)
        return false;
    int64_t sec = t.usec / 1000000 - (t.usec % 1000000 < 0);
    uint32_t ns = 0, unit = 100000000;
    ssize_t dot = str_find(s, '.');
    for (size_t i = dot < 0 ? s.n : (size_t)dot + 1; i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
         i++) {
        ns += (uint32_t)(s.p[i] - '0') * unit;
        unit /= 10;
    }
    *ret = (struct cel_value){.type = CEL_TIMESTAMP, .i = sec, .n = ns};
    return true;
}

bool cel_parse_duration(struct str s, int64_t *ret)
{
    struct duration d;
    if (s.n > 100 || duration_parse(s, &d) < 0)
        return false;
    *ret = d.nsec;
    return true;
}

void cel_print_timestamp(const struct cel_value *v, struct buf *b)
{
    char t[TIMESTAMP_TEXT_MAX], frac[16];
    size_t n = timestamp_format((struct timestamp){.usec = v->i * 1000000, .set = true}, false, t);
    buf_add(b, t, n - 1);
    if (v->n) {
        int k = snprintf(frac, sizeof frac, ".%09u", v->n);
        while (k > 0 && frac[k - 1] == '0')
            k--;
        buf_add(b, frac, (size_t)k);
    }
    buf_add_char(b, 'Z');
}

void cel_print_duration(int64_t ns, struct buf *b)
{
    char t[DURATION_TEXT_MAX];
    buf_add(b, t, duration_format(ns, t));
}

FN(timestamp_of_string)
{
    struct cel_value v;
    if (cel_parse_timestamp(a[0].s, &v))
        return v;
    return cel_fail(c, "parsing time \"%.*s\" as RFC 3339: cannot parse", (int)MIN(a[0].s.n, 100),
                    a[0].s.p);
}
FN(timestamp_of_int)
{
    if (a[0].i < TIMESTAMP_SECONDS_MIN || a[0].i > TIMESTAMP_SECONDS_MAX)
        return cel_error(STR("timestamp overflow"));
    return (struct cel_value){.type = CEL_TIMESTAMP, .i = a[0].i};
}
FN(duration_of_string)
{
    int64_t ns;
    if (cel_parse_duration(a[0].s, &ns))
        return duration(ns);
    return cel_fail(c, "time: invalid duration \"%.*s\"", (int)MIN(a[0].s.n, 100), a[0].s.p);
}
FN(same)
{
    return a[0];
}

/* --- Arithmetic ---------------------------------------------------------------------------------
 */

static struct cel_value shift(const struct cel_value *t, int64_t ns, bool minus)
{
    int64_t sec = ns / NS, rest = ns % NS;
    if (minus) {
        sec = -sec;
        rest = -rest;
    }
    int64_t nanos = (int64_t)t->n + rest;
    sec += t->i + (nanos < 0 ? -1 : nanos >= NS ? 1 : 0);
    nanos += nanos < 0 ? NS : nanos >= NS ? -NS : 0;
    if (sec < TIMESTAMP_SECONDS_MIN || sec > TIMESTAMP_SECONDS_MAX)
        return cel_error(STR("timestamp overflow"));
    return (struct cel_value){.type = CEL_TIMESTAMP, .i = sec, .n = (uint32_t)nanos};
}
FN(add_td)
{
    return shift(&a[0], a[1].i, false);
}
FN(add_dt)
{
    return shift(&a[1], a[0].i, false);
}
FN(sub_td)
{
    return shift(&a[0], a[1].i, true);
}
FN(sub_tt)
{
    __int128 d = (__int128)(a[0].i - a[1].i) * NS + (int64_t)a[0].n - (int64_t)a[1].n;
    return d > INT64_MAX || d < INT64_MIN ? cel_error(STR("duration overflow"))
                                          : duration((int64_t)d);
}
FN(add_dd)
{
    int64_t r;
    return __builtin_add_overflow(a[0].i, a[1].i, &r) ? cel_error(STR("duration overflow"))
                                                      : duration(r);
}
FN(sub_dd)
{
    int64_t r;
    return __builtin_sub_overflow(a[0].i, a[1].i, &r) ? cel_error(STR("duration overflow"))
                                                      : duration(r);
}
FN(neg_d)
{
    return a[0].i == INT64_MIN ? cel_error(STR("duration overflow")) : duration(-a[0].i);
}

/* --- Parts --------------------------------------------------------------------------------------
 */

struct parts {
    int64_t year, month, day, weekday, yearday, sec; /* counted from 0, but the year */
};
static void split(int64_t sec, struct parts *p)
{
    int64_t days = sec / 86400 - (sec % 86400 < 0), z = days + 719468;
    p->sec = sec - days * 86400;
    p->weekday = ((days + 4) % 7 + 7) % 7;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    p->day = doy - (153 * mp + 2) / 5;
    p->month = mp < 10 ? mp + 2 : mp - 10;
    p->year = yoe + era * 400 + (p->month <= 1);
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (p->year % 4 == 0 && p->year % 100 != 0) || p->year % 400 == 0;
    p->yearday = before[p->month] + p->day + (leap && p->month > 1);
}

struct tz_seen {
    struct str name;
    const struct tz *zone;
};

/* In the zone of the second argument; the zone looked at last is kept. */
static struct cel_value parts_of(struct cel_eval *c, const struct cel_value *a, unsigned n,
                                 struct parts *p)
{
    int32_t offset = 0;
    if (n > 1) {
        struct tz_seen *seen = (void *)c->tz;
        if (!seen || !str_eq(seen->name, a[1].s)) {
            seen = cel_alloc(c, sizeof *seen);
            if (!seen || !cel_work(c, 10000)) /* a file is read */
                return cel_no_memory();
            *seen = (struct tz_seen){a[1].s, tz_find(a[1].s, c->a)};
            c->tz = (void *)seen;
        }
        if (!seen->zone)
            return cel_fail(c, "unknown time zone %.*s", (int)MIN(a[1].s.n, 100), a[1].s.p);
        offset = tz_offset(seen->zone, a[0].i);
    }
    split(a[0].i + offset, p);
    return cel_null();
}

#define PART(name, expr)                                                                           \
    FN(name)                                                                                       \
    {                                                                                              \
        struct parts p;                                                                            \
        struct cel_value r = parts_of(c, a, n, &p);                                                \
        return r.type == CEL_ERROR ? r : cel_int(expr);                                            \
    }
PART(full_year, p.year)
PART(month, p.month)
PART(day_of_month, p.day)
PART(date, p.day + 1)
PART(day_of_week, p.weekday)
PART(day_of_year, p.yearday)
PART(hours, p.sec / 3600)
PART(minutes, p.sec / 60 % 60)
PART(seconds, p.sec % 60)
#undef PART

FN(milliseconds)
{
    struct parts p;
    struct cel_value r = parts_of(c, a, n, &p);
    return r.type == CEL_ERROR ? r : cel_int(a[0].n / 1000000);
}

FN(duration_hours)
{
    return cel_int(a[0].i / (3600 * NS));
}
FN(duration_minutes)
{
    return cel_int(a[0].i / (60 * NS));
}
FN(duration_seconds)
{
    return cel_int(a[0].i / NS);
}
FN(duration_milliseconds)
{
    return cel_int(a[0].i / 1000000 % 1000);
}

const struct overload cel_fn_time[] = {
    {"timestamp", "t>t", same, 0, COST_ONE},
    {"timestamp", "s>t", timestamp_of_string, 0, COST_ONE},
    {"timestamp", "i>t", timestamp_of_int, 0, COST_ONE},
    {"duration", "r>r", same, 0, COST_ONE},
    {"duration", "s>r", duration_of_string, 0, COST_ONE},
    {"_+_", "tr>t", add_td, 0, COST_ONE},
    {"_+_", "rt>t", add_dt, 0, COST_ONE},
    {"_+_", "rr>r", add_dd, 0, COST_ONE},
    {"_-_", "tr>t", sub_td, 0, COST_ONE},
    {"_-_", "tt>r", sub_tt, 0, COST_ONE},
    {"_-_", "rr>r", sub_dd, 0, COST_ONE},
    {"-_", "r>r", neg_d, 0, COST_ONE},
#define PART(name, fn)                                                                             \
    {name, "t>i", fn, OV_MEMBER, COST_ONE},                                                        \
    {                                                                                              \
        name, "ts>i", fn, OV_MEMBER, COST_ONE                                                      \
    }
    PART("getFullYear", full_year),
    PART("getMonth", month),
    PART("getDayOfMonth", day_of_month),
    PART("getDate", date),
    PART("getDayOfWeek", day_of_week),
    PART("getDayOfYear", day_of_year),
    PART("getHours", hours),
    PART("getMinutes", minutes),
    PART("getSeconds", seconds),
    PART("getMilliseconds", milliseconds),
#undef PART
    {"getHours", "r>i", duration_hours, OV_MEMBER, COST_ONE},
    {"getMinutes", "r>i", duration_minutes, OV_MEMBER, COST_ONE},
    {"getSeconds", "r>i", duration_seconds, OV_MEMBER, COST_ONE},
    {"getMilliseconds", "r>i", duration_milliseconds, OV_MEMBER, COST_ONE},
    {0},
};
