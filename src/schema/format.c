/* Well-formedness of names and the like, each with the sentence a Kubernetes server says when it is
 * not met; people search for these sentences. */
#include "schema/schema.h"

#include <arpa/inet.h>

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_alnum(char c)
{
    return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}
static bool is_lalnum(char c)
{
    return is_lower(c) || is_digit(c);
}

static bool label_chars(struct str s, bool letter_first)
{
    if (s.n == 0 || !is_lalnum(s.p[0]) || !is_lalnum(s.p[s.n - 1]) ||
        (letter_first && !is_lower(s.p[0])))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_lalnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

static bool subdomain_chars(struct str s)
{
    struct str rest = s, part;
    while (str_cut(&rest, '.', &part))
        if (!label_chars(part, false))
            return false;
    return label_chars(part, false);
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool name_chars(struct str s)
{
    if (s.n == 0 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    return true;
}

#define TOO_LONG_63  "must be no more than 63 characters"
#define TOO_LONG_253 "must be no more than 253 characters"

static const char *check_label(struct str s)
{
    if (s.n > 63)
        return TOO_LONG_63;
    return label_chars(s, false) ? NULL
                                 : "a lowercase RFC 1123 label must consist of lower case "
                                   "alphanumeric characters or '-', and "
                                   "must start and end with an alphanumeric character (e.g. "
                                   "'my-name',  or '123-abc', regex "
                                   "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

static const char *check_subdomain(struct str s)
{
    if (s.n > 253)
        return TOO_LONG_253;
    return subdomain_chars(s)
               ? NULL
               : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                 "characters, '-' or "
                 "'.', and must start and end with an alphanumeric character (e.g. 'example.com', "
                 "regex used "
                 "for validation is "
                 "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

static const char *check_1035(struct str s)
{
    if (s.n > 63)
        return TOO_LONG_63;
    return label_chars(s, true)
               ? NULL
               : "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                 "start with an "
                 "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  "
                 "or "
                 "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
}

static const char *check_qualified(struct str s)
{
    struct str name = s;
    ssize_t slash = str_find(s, '/');
    if (slash >= 0) {
        struct str prefix = str_sub(s, 0, (size_t)slash);
        name = str_sub(s, (size_t)slash + 1, s.n);
        if (str_find(name, '/') >= 0)
            return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
                   "must start "
                   "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                   "'123-abc', "
                   "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with "
                   "an optional "
                   "DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        if (prefix.n == 0)
            return "prefix part must be non-empty";
        if (prefix.n > 253)
            return "prefix part must be no more than 253 characters";
        if (!subdomain_chars(prefix))
            return "prefix part a lowercase RFC 1123 subdomain must consist of lower case "
                   "alphanumeric "
                   "characters, '-' or '.', and must start and end with an alphanumeric character "
                   "(e.g. "
                   "'example.com', regex used for validation is "
                   "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    }
    if (name.n == 0)
        return "name part must be non-empty";
    if (name.n > 63)
        return "name part must be no more than 63 characters";
    return name_chars(name) ? NULL
                            : "name part must consist of alphanumeric characters, '-', '_' or '.', "
                              "and must start and end "
                              "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                              "'123-abc', regex used for "
                              "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
}

static const char *check_label_value(struct str s)
{
    if (s.n > 63)
        return TOO_LONG_63;
    return s.n == 0 || name_chars(s) ? NULL
                                     : "a valid label must be an empty string or consist of "
                                       "alphanumeric characters, '-', '_' or "
                                       "'.', and must start and end with an alphanumeric character "
                                       "(e.g. 'MyValue',  or 'my_value', "
                                       " or '12345', regex used for validation is "
                                       "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

static int ip_family(struct str s)
{
    char t[INET6_ADDRSTRLEN + 1], out[16];
    if (s.n == 0 || s.n >= sizeof t || memchr(s.p, 0, s.n))
        return 0;
    memcpy(t, s.p, s.n);
    t[s.n] = 0;
    return inet_pton(AF_INET, t, out) == 1 ? 4 : inet_pton(AF_INET6, t, out) == 1 ? 6 : 0;
}

static const char *check_cidr(struct str s)
{
    static const char *const msg =
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    ssize_t slash = str_find(s, '/');
    uint64_t bits;
    if (slash < 0)
        return msg;
    int family = ip_family(str_sub(s, 0, (size_t)slash));
    struct str len = str_sub(s, (size_t)slash + 1, s.n);
    if (!family || len.n == 0 || len.n > 3 || str_to_u64(len, &bits) < 0 || !is_digit(len.p[0]))
        return msg;
    return bits <= (family == 4 ? 32u : 128u) ? NULL : msg;
}

static const char *check_port_name(struct str s)
{
    bool letter = false;
    if (s.n > 15)
        return "must be no more than 15 characters";
    for (size_t i = 0; i < s.n; i++) {
        if (!is_lalnum(s.p[i]) && s.p[i] != '-')
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        letter |= is_lower(s.p[i]);
        if (i && s.p[i] == '-' && s.p[i - 1] == '-')
            return "must not contain consecutive hyphens";
    }
    if (!letter)
        return "must contain at least one letter (a-z)";
    if (s.p[0] == '-' || s.p[s.n - 1] == '-')
        return "must not begin or end with a hyphen";
    return NULL;
}

static const char *check_env_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '=')
            return "a valid environment variable name must consist only of printable ASCII "
                   "characters other "
                   "than '='";
    return NULL;
}

static const char *check_config_key(struct str s)
{
    bool ok = s.n > 0;
    if (s.n > 253)
        return TOO_LONG_253;
    for (size_t i = 0; i < s.n; i++)
        ok &= is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.';
    if (!ok)
        return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
               "'key.name',  "
               "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    if (str_is(s, "."))
        return "must not be '.'";
    if (str_is(s, ".."))
        return "must not be '..'";
    return str_starts(s, STR("..")) ? "must not start with '..'" : NULL;
}

static const char *check_path_segment(struct str s)
{
    if (str_is(s, "."))
        return "may not be '.'";
    if (str_is(s, ".."))
        return "may not be '..'";
    if (str_find(s, '/') >= 0)
        return "may not contain '/'";
    return str_find(s, '%') >= 0 ? "may not contain '%'" : NULL;
}

const char *schema_format_check(enum schema_format f, struct str s)
{
    switch (f) {
    case SCHEMA_FORMAT_DNS_LABEL:
        return check_label(s);
    case SCHEMA_FORMAT_DNS_SUBDOMAIN:
        return check_subdomain(s);
    case SCHEMA_FORMAT_DNS1035_LABEL:
        return check_1035(s);
    case SCHEMA_FORMAT_QUALIFIED_NAME:
        return check_qualified(s);
    case SCHEMA_FORMAT_LABEL_VALUE:
        return check_label_value(s);
    case SCHEMA_FORMAT_IP_OR_EMPTY:
    case SCHEMA_FORMAT_IP:
        if (s.n == 0 && f == SCHEMA_FORMAT_IP_OR_EMPTY)
            return NULL;
        return ip_family(s) ? NULL
                            : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    case SCHEMA_FORMAT_CIDR:
        return check_cidr(s);
    case SCHEMA_FORMAT_PORT_NAME:
    case SCHEMA_FORMAT_PORT_OR_NAME:
        return check_port_name(s);
    case SCHEMA_FORMAT_ABS_PATH:
        return s.n && s.p[0] == '/' ? NULL : "must be an absolute path";
    case SCHEMA_FORMAT_ENV_NAME:
        return check_env_name(s);
    case SCHEMA_FORMAT_CONFIG_KEY:
        return check_config_key(s);
    case SCHEMA_FORMAT_PATH_SEGMENT:
        return check_path_segment(s);
    case SCHEMA_FORMAT_ANY:
    case SCHEMA_FORMAT_PORT:
    case SCHEMA_FORMAT_NON_NEGATIVE:
    case SCHEMA_FORMAT_POSITIVE:
    case _SCHEMA_FORMAT_MAX:
        break;
    }
    return NULL;
}
