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

static bool duration(struct str s)
{
    struct duration d;
    return duration_parse(s, &d) >= 0;
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

static bool hostname(struct str s)
{
    struct str rest = s, label;
    if (!s.n || s.n > 255)
        return false;
    while (str_cut(&rest, '.', &label) || label.n) {
        if (!label.n || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!is_letter(label.p[i]) && !is_digit(label.p[i]) && label.p[i] != '-' &&
                (uint8_t)label.p[i] < 0x80)
                return false;
    }
    return true;
}

static bool email(struct str s)
{
    ssize_t at = str_rfind(s, '@');
    if (at <= 0 || str_find(str_sub(s, 0, (size_t)at), ' ') >= 0)
        return false;
    return hostname(str_sub(s, (size_t)at + 1, s.n));
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
