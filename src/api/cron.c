/* A schedule is read field by field: a list of ranges with steps, `*` and `?` being the whole
 * range. Months and days of the week have names. What Kubernetes' parser (robfig/cron) takes is
 * taken, what it refuses is refused. */
#include "api/cron.h"

#include "base/base.h"
#include "codec/values.h"

struct cron_field {
    const char *fault;
    int low, high;
    const char *names; /* three letters each, the first is `low`; NULL: none */
};

static const struct cron_field fields[] = {
    {"the minute is not 0 to 59, a range, a list or a step of them", 0, 59, NULL},
    {"the hour is not 0 to 23, a range, a list or a step of them", 0, 23, NULL},
    {"the day of the month is not 1 to 31, a range, a list or a step of them", 1, 31, NULL},
    {"the month is not 1 to 12 or a name, a range, a list or a step of them", 1, 12,
     "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"the day of the week is not 0 to 6 or a name, a range, a list or a step of them", 0, 6,
     "sunmontuewedthufrisat"},
};

/* A number or name of the field; -1: neither. */
static int value_of(const struct cron_field *f, struct str s)
{
    uint64_t n;
    if (s.n == 3 && f->names)
        for (int i = 0; f->names[3 * i]; i++)
            if (strncasecmp(s.p, f->names + 3 * i, 3) == 0)
                return f->low + i;
    if (!s.n || s.n > 4 || s.p[0] < '0' || s.p[0] > '9' || str_to_u64(s, &n) < 0)
        return -1;
    return (int)n;
}

/* One member of a list: *, ?, N, N-M, each perhaps with /STEP. */
static bool range_ok(const struct cron_field *f, struct str s)
{
    ssize_t slash = str_find(s, '/');
    struct str range = slash >= 0 ? str_sub(s, 0, (size_t)slash) : s;
    int low = f->low, high = f->high;
    if (slash >= 0) {
        struct str step = str_sub(s, (size_t)slash + 1, s.n);
        uint64_t n;
        if (!step.n || step.n > 4 || step.p[0] < '0' || step.p[0] > '9' ||
            str_to_u64(step, &n) < 0 || n == 0)
            return false;
    }
    if (str_is(range, "*") || str_is(range, "?"))
        return true;
    ssize_t dash = str_find(range, '-');
    if (dash < 0) {
        low = high = value_of(f, range);
    } else {
        low = value_of(f, str_sub(range, 0, (size_t)dash));
        high = value_of(f, str_sub(range, (size_t)dash + 1, range.n));
    }
    return low >= f->low && high <= f->high && low <= high;
}

static bool field_ok(const struct cron_field *f, struct str s)
{
    struct str part;
    bool more;
    do {
        more = str_find(s, ',') >= 0;
        if (!more)
            part = s;
        else
            (void)str_cut(&s, ',', &part);
        if (!range_ok(f, part))
            return false;
    } while (more);
    return true;
}

static const char *check_macro(struct str s)
{
    static const char *const macros[] = {"@yearly", "@annually", "@monthly", "@weekly",
                                         "@daily",  "@midnight", "@hourly"};
    struct duration d;
    for (size_t i = 0; i < ARRAY_LEN(macros); i++)
        if (str_eqz(s, macros[i]))
            return NULL;
    if (str_starts(s, STR("@every ")) &&
        duration_parse(str_sub(s, strlen("@every "), s.n), &d) >= 0)
        return NULL;
    return "unrecognized descriptor";
}

const char *cron_check(struct str s)
{
    size_t n = 0, at = 0;
    const char *fault = NULL;
    if (s.n && s.p[0] == '@')
        return check_macro(s);
    while (at < s.n) {
        size_t from = at;
        while (at < s.n && s.p[at] != ' ' && s.p[at] != '\t')
            at++;
        if (at > from && n < ARRAY_LEN(fields) && !fault &&
            !field_ok(&fields[n], str_sub(s, from, at)))
            fault = fields[n].fault;
        n += at > from;
        while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\t'))
            at++;
    }
    return n == ARRAY_LEN(fields) ? fault : "expected exactly 5 fields";
}
