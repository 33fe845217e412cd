/* Formats of strings, by name. A format nobody knows is no rule, as in Kubernetes. Each check is
 * one pass over the text. */
#include "codec/values.h"
#include "schema/structural_int.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* In shape, 0 is a digit and x a hexadecimal one; all else stands for itself. */
static bool shaped(struct str s, const char *shape)
{
    for (size_t i = 0; i < s.n; i++)
        if (!shape[i] || (shape[i] == '0'   ? !is_digit(s.p[i])
                          : shape[i] == 'x' ? !is_hex(s.p[i])
                                            : s.p[i] != shape[i]))
            return false;
    return !shape[s.n];
}

static bool date(struct str s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!shaped(s, "0000-00-00"))
        return false;
    int y = (s.p[0] - '0') * 1000 + (s.p[1] - '0') * 100 + (s.p[2] - '0') * 10 + s.p[3] - '0';
    int m = (s.p[5] - '0') * 10 + s.p[6] - '0', d = (s.p[8] - '0') * 10 + s.p[9] - '0';
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

static bool date_time(struct str s)
{
    struct timestamp t;
    return s.n >= 20 && timestamp_parse(s, &t) >= 0;
}

/* A unit of time as people write it, in any case: by its sign, or how its name begins. */
static bool is_unit(struct str s)
{
    static const char *const signs[] = {"ns", "us", "\xc2\xb5s", "ms", "s", "m",
                                        "h",  "hr", "d",         "w",  "wk"};
    static const char *const names[] = {"nano", "micro", "milli", "sec",
                                        "min",  "hour",  "day",   "week"};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (str_ieq(s, str_z(signs[i])))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_ieq(str_sub(s, 0, strlen(names[i])), str_z(names[i])))
            return true;
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v');
}

/* As Go has it ("1h30m"), or numbers with units ("2 days 4 hours"), one of which is known.
 * K8S: kube-openapi, pkg/validation/strfmt/duration.go */
static bool duration(struct str s)
{
    struct duration d;
    bool known = false;
    size_t i = 0, at;
    if (duration_parse(s, &d) >= 0)
        return true;
    while (i < s.n && is_blank(s.p[i]))
        i++;
    while (i < s.n) {
        for (at = i; i < s.n && is_digit(s.p[i]);)
            i++;
        if (i == at || i - at > 18)
            return false;
        while (i < s.n && is_blank(s.p[i]))
            i++;
        for (at = i;
             i < s.n && (is_letter(s.p[i]) || (uint8_t)s.p[i] == 0xc2 || (uint8_t)s.p[i] == 0xb5);)
            i++;
        if (i == at)
            return false;
        known |= is_unit(str_sub(s, at, i));
        while (i < s.n && is_blank(s.p[i]))
            i++;
    }
    return known;
}

static bool byte(struct str s)
{
    size_t n = s.n;
    if (n % 4)
        return false;
    for (int pad = 0; pad < 2 && n && s.p[n - 1] == '='; pad++)
        n--;
    for (size_t i = 0; i < n; i++)
        if (!is_letter(s.p[i]) && !is_digit(s.p[i]) && s.p[i] != '+' && s.p[i] != '/')
            return false;
    return true;
}

#define UUID "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"

static bool uuid(struct str s)
{
    return shaped(s, UUID) || shaped(s, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

static bool uuid_of(struct str s, char version)
{
    return shaped(s, UUID) && s.p[14] == version;
}

static bool uuid3(struct str s)
{
    return uuid_of(s, '3');
}

static bool uuid4(struct str s)
{
    return uuid_of(s, '4') && strchr("89abAB", s.p[19]);
}

static bool uuid5(struct str s)
{
    return uuid_of(s, '5') && strchr("89abAB", s.p[19]);
}

static bool ip(struct str s)
{
    return schema_format_check(SCHEMA_FORMAT_IP, s) == NULL;
}

static bool ipv4(struct str s)
{
    return str_find(s, ':') < 0 && ip(s);
}

static bool ipv6(struct str s)
{
    return str_find(s, ':') >= 0 && ip(s);
}

static bool cidr(struct str s)
{
    return schema_format_check(SCHEMA_FORMAT_CIDR, s) == NULL;
}

static bool mac(struct str s)
{
    return shaped(s, "xx:xx:xx:xx:xx:xx") || shaped(s, "xx-xx-xx-xx-xx-xx") ||
           shaped(s, "xxxx.xxxx.xxxx") || shaped(s, "xx:xx:xx:xx:xx:xx:xx:xx");
}

/* A letter, digit or sign of a name: how many bytes; 0: none. Beyond ASCII all are taken. */
static size_t sign(struct str s, size_t i)
{
    if (i >= s.n)
        return 0;
    if (is_letter(s.p[i]) || is_digit(s.p[i]) || strchr("$+<=>^`|~", s.p[i]))
        return s.p[i] ? 1 : 0;
    if ((uint8_t)s.p[i] < 0x80)
        return 0;
    size_t n = 1;
    while (i + n < s.n && ((uint8_t)s.p[i + n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* One label of several; the last one has at least two signs and no two dashes in a row. */
static bool label_ok(struct str s, bool last)
{
    size_t i = sign(s, 0), n = 1, step;
    bool dash = false;
    if (!i || s.n > 63)
        return false;
    for (; i < s.n; i += step) {
        step = s.p[i] == '-' ? 1 : sign(s, i);
        if (!step || (last && dash && s.p[i] == '-'))
            return false;
        dash = s.p[i] == '-';
        n += !dash;
    }
    return !dash && (!last || n > 1);
}

/* K8S: kube-openapi, pkg/validation/strfmt/default.go, with the oddities of its pattern: a name
 * without dots has one dash at most, in its second place. */
static bool hostname(struct str s)
{
    struct str rest = s, label;
    if (!s.n || s.n > 255)
        return false;
    if (str_find(s, '.') < 0) {
        size_t i = sign(s, 0);
        if (!i || s.n > 63)
            return false;
        if (i < s.n && s.p[i] == '-')
            i++;
        for (size_t step; i < s.n; i += step)
            if (!(step = sign(s, i)))
                return false;
        return true;
    }
    while (str_cut(&rest, '.', &label))
        if (!label_ok(label, false))
            return false;
    return label_ok(label, true);
}

/* An address, alone or in angles behind a name. */
static bool email(struct str s)
{
    ssize_t open = str_rfind(s, '<');
    if (open >= 0 && s.p[s.n - 1] == '>')
        s = str_sub(s, (size_t)open + 1, s.n - 1);
    ssize_t at = str_rfind(s, '@');
    if (at <= 0 || (size_t)at + 1 == s.n)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ' || strchr("<>(),;:\\\"[]", s.p[i]))
            return false;
    return s.p[s.n - 1] != '.' && s.p[at + 1] != '.' && s.p[0] != '.';
}

/* As Go's ParseRequestURI: a path from the root, or a scheme. */
static bool uri(struct str s)
{
    size_t i = 0;
    for (size_t k = 0; k < s.n; k++)
        if ((uint8_t)s.p[k] <= 0x20 || s.p[k] == 0x7f)
            return false;
    if (s.n && s.p[0] == '/')
        return true;
    while (i < s.n && (is_letter(s.p[i]) || (i && (is_digit(s.p[i]) || strchr("+-.", s.p[i])))))
        i++;
    return i > 0 && i + 1 < s.n && s.p[i] == ':';
}

static bool hexcolor(struct str s)
{
    struct str v = s.n && s.p[0] == '#' ? str_sub(s, 1, s.n) : s;
    return shaped(v, "xxx") || shaped(v, "xxxxxx");
}

static bool object_id(struct str s)
{
    return shaped(s, "xxxxxxxxxxxxxxxxxxxxxxxx");
}

static bool label(struct str s)
{
    return schema_format_check(SCHEMA_FORMAT_DNS_LABEL, s) == NULL;
}

static bool subdomain(struct str s)
{
    return schema_format_check(SCHEMA_FORMAT_DNS_SUBDOMAIN, s) == NULL;
}

static const struct {
    const char *name;
    bool (*ok)(struct str s);
} formats[] = {
    {"date-time", date_time},
    {"datetime", date_time},
    {"date", date},
    {"duration", duration},
    {"byte", byte},
    {"uuid", uuid},
    {"uuid3", uuid3},
    {"uuid4", uuid4},
    {"uuid5", uuid5},
    {"ipv4", ipv4},
    {"ipv6", ipv6},
    {"cidr", cidr},
    {"mac", mac},
    {"hostname", hostname},
    {"email", email},
    {"uri", uri},
    {"hexcolor", hexcolor},
    {"bsonobjectid", object_id},
    {"k8s-short-name", label},
    {"k8s-long-name", subdomain},
};

bool structural_format_ok(struct str format, struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (str_eqz(format, formats[i].name))
            return formats[i].ok(s);
    return true;
}
