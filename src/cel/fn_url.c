/* URLs as Go's net/url takes them apart: what a rule accepts here must be what it accepts there. */
#include "cel/internal.h"

#define FN(name)                                                                                   \
    static struct cel_value name(struct cel_eval *c, const struct cel_value *a, unsigned n)

static bool alnum(char ch)
{
    return (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z');
}
static int hex(char ch)
{
    return ch >= '0' && ch <= '9'                     ? ch - '0'
           : (ch | 0x20) >= 'a' && (ch | 0x20) <= 'f' ? (ch | 0x20) - 'a' + 10
                                                      : -1;
}
static bool one_of(char ch, const char *set)
{
    return ch && strchr(set, ch);
}

/* Undoes %XX (and + in a query). Appends; false: a bad escape. */
static bool unescape(struct str s, bool query, struct buf *b)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            ch = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        } else if (ch == '+' && query) {
            ch = ' ';
        }
        buf_add_char(b, ch);
    }
    return true;
}

static bool valid_port(struct str s) /* "" or ":123" */
{
    if (s.n && s.p[0] != ':')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static bool valid_host(struct str s)
{
    if (s.n && s.p[0] == '[') {
        ssize_t end = str_rfind(s, ']');
        if (end < 0 || !valid_port(str_sub(s, (size_t)end + 1, s.n)))
            return false;
    } else {
        ssize_t colon = str_rfind(s, ':');
        if (colon >= 0 && !valid_port(str_sub(s, (size_t)colon, s.n)))
            return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch == '%') { /* of bytes that are not ASCII, and %25 before a zone */
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            if (hex(s.p[i + 1]) < 8 && !(s.p[i + 1] == '2' && s.p[i + 2] == '5'))
                return false;
        } else if (!(ch & 0x80) && !alnum(ch) && !one_of(ch, "-_.~!$&'()*+,;=:[]<>\"")) {
            return false;
        }
    }
    return true;
}

static bool valid_user(struct str s)
{
    struct buf b = {0};
    bool ok = unescape(s, false, &b);
    buf_fini(&b);
    for (size_t i = 0; i < s.n && ok; i++)
        ok = alnum(s.p[i]) || one_of(s.p[i], "-._:~!$&'()*+,;=%@");
    return ok;
}

/* "scheme:" at the front. False: a colon first. */
static bool take_scheme(struct str *rest, struct str *ret)
{
    for (size_t i = 0; i < rest->n; i++) {
        char ch = rest->p[i];
        bool letter = (ch | 0x20) >= 'a' && (ch | 0x20) <= 'z';
        if (letter || (i > 0 && (alnum(ch) || one_of(ch, "+-."))))
            continue;
        if (ch == ':') {
            *ret = str_sub(*rest, 0, i);
            *rest = str_sub(*rest, i + 1, rest->n);
            return i > 0;
        }
        break;
    }
    return true;
}

/* The path as getEscapedPath gives it: as it came when it is well encoded, else encoded anew. */
static struct cel_value escaped_path(struct cel_eval *c, struct str path)
{
    struct buf plain = {0}, out = {0};
    bool good = true;
    for (size_t i = 0; i < path.n && good; i++)
        good = alnum(path.p[i]) || one_of(path.p[i], "-_.~!$&'()*+,;=:@[]%/");
    if (good)
        return cel_text(c, path);
    (void)unescape(path, false, &plain);
    for (size_t i = 0; i < plain.n; i++) {
        char ch = plain.data[i];
        if (alnum(ch) || one_of(ch, "-_.~$&+,/:;=@"))
            buf_add_char(&out, ch);
        else
            buf_printf(&out, "%%%02X", (uint8_t)ch);
    }
    buf_fini(&plain);
    return cel_take_buf(c, &out);
}

static bool parse_authority(struct str authority, struct cel_url *u, struct str *ret_why)
{
    ssize_t at = str_rfind(authority, '@');
    if (at >= 0 && !valid_user(str_sub(authority, 0, (size_t)at)))
        return *ret_why = STR("net/url: invalid userinfo"), false;
    u->host = str_sub(authority, (size_t)(at + 1), authority.n);
    if (!valid_host(u->host))
        return *ret_why = STR("invalid character or port in host"), false;
    return true;
}

bool cel_url_parse(struct cel_eval *c, struct str s, struct cel_url *u, struct str *ret_why)
{
    struct str rest = s, path;
    struct buf b = {0};
    *u = (struct cel_url){STR(""), STR(""), STR(""), STR("")};
    (void)cel_work(c, s.n / 4 + 1);
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return *ret_why = STR("net/url: invalid control character in URL"), false;
    if (!s.n)
        return *ret_why = STR("empty url"), false;
    ssize_t hash = str_find(rest, '#');
    if (hash >= 0) {
        bool ok = unescape(str_sub(rest, (size_t)hash, rest.n), false, &b);
        buf_fini(&b);
        if (!ok)
            return *ret_why = STR("invalid URL escape"), false;
        rest = str_sub(rest, 0, (size_t)hash);
    }
    if (!take_scheme(&rest, &u->scheme))
        return *ret_why = STR("missing protocol scheme"), false;
    ssize_t q = str_find(rest, '?');
    if (q >= 0) {
        u->query = str_sub(rest, (size_t)q + 1, rest.n);
        rest = str_sub(rest, 0, (size_t)q);
    }
    if (!str_starts(rest, STR("/"))) {
        if (u->scheme.n)
            return true; /* mailto:x */
        return *ret_why = STR("invalid URI for request"), false;
    }
    path = rest;
    if (str_starts(rest, STR("//")) && (u->scheme.n || !str_starts(rest, STR("///")))) {
        rest = str_sub(rest, 2, rest.n);
        ssize_t slash = str_find(rest, '/');
        size_t end = slash < 0 ? rest.n : (size_t)slash;
        path = str_sub(rest, end, rest.n);
        if (!parse_authority(str_sub(rest, 0, end), u, ret_why))
            return false;
    }
    bool ok = unescape(path, false, &b);
    buf_fini(&b);
    if (!ok)
        return *ret_why = STR("invalid URL escape"), false;
    u->path = path;
    return true;
}

static const struct cel_url *url_of(const struct cel_value *v)
{
    return v->p;
}

FN(to_url)
{
    struct str why = STR("");
    struct cel_url *u = cel_alloc(c, sizeof *u);
    if (!u)
        return cel_no_memory();
    if (!cel_url_parse(c, a[0].s, u, &why))
        return cel_fail(c, "URL parse error during conversion from string: parse \"%.*s\": %.*s",
                        (int)MIN(a[0].s.n, 200), a[0].s.p, STR_ARG(why));
    return cel_box(CEL_URL, u);
}
FN(is_url)
{
    struct cel_url u;
    struct str why;
    return cel_bool(cel_url_parse(c, a[0].s, &u, &why));
}
FN(get_scheme)
{
    struct cel_value v = cel_text(c, url_of(&a[0])->scheme);
    char *p = (char *)(uintptr_t)v.s.p;
    for (size_t i = 0; v.type == CEL_STRING && i < v.s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] |= 0x20;
    return v;
}
FN(get_host)
{
    return cel_string(url_of(&a[0])->host);
}

static void split_host(struct str host, struct str *ret_name, struct str *ret_port)
{
    ssize_t colon = str_rfind(host, ':'), close = str_rfind(host, ']');
    *ret_port = STR("");
    *ret_name = host;
    if (colon >= 0 && colon > close && valid_port(str_sub(host, (size_t)colon, host.n))) {
        *ret_name = str_sub(host, 0, (size_t)colon);
        *ret_port = str_sub(host, (size_t)colon + 1, host.n);
    }
    if (str_starts(*ret_name, STR("[")) && str_ends(*ret_name, STR("]")))
        *ret_name = str_sub(*ret_name, 1, ret_name->n - 1);
}
FN(get_hostname)
{
    struct str name, port;
    split_host(url_of(&a[0])->host, &name, &port);
    return cel_string(name);
}
FN(get_port)
{
    struct str name, port;
    split_host(url_of(&a[0])->host, &name, &port);
    return cel_string(port);
}
FN(get_escaped_path)
{
    return escaped_path(c, url_of(&a[0])->path);
}

/* Adds a value to the list of its key. Lists of values are short: copied as they grow. */
static bool add_query(struct cel_eval *c, struct cel_map *m, struct str pair)
{
    struct str key;
    struct buf k = {0}, v = {0};
    (void)str_cut(&pair, '=', &key);
    if (!unescape(key, true, &k) || !unescape(pair, true, &v)) {
        buf_fini(&k);
        buf_fini(&v);
        return true;
    }
    struct cel_value kv = cel_take_buf(c, &k), vv = cel_take_buf(c, &v), had = cel_list(NULL, 0);
    if (kv.type == CEL_ERROR || vv.type == CEL_ERROR)
        return false;
    for (uint32_t i = 0; i < m->n; i++) {
        if (!str_eq(m->keys[i].s, kv.s))
            continue;
        had = m->values[i];
        struct cel_value *list = cel_alloc(c, (had.n + 1) * sizeof *list);
        if (!list || !cel_work(c, had.n))
            return false;
        memcpy(list, had.p, had.n * sizeof *list);
        list[had.n] = vv;
        m->values[i] = cel_list(list, had.n + 1);
        return true;
    }
    struct cel_value *list = cel_alloc(c, sizeof *list);
    if (!list || !cel_work(c, m->n))
        return false;
    *list = vv;
    had = cel_list(list, 1);
    return cel_map_put(c, m, &kv, &had) == 0;
}
FN(get_query)
{
    struct cel_map *m = cel_map_new(c);
    struct str rest = url_of(&a[0])->query, pair;
    if (!m)
        return cel_no_memory();
    while (str_cut(&rest, '&', &pair) || pair.n) {
        if (pair.n && str_find(pair, ';') < 0 && !add_query(c, m, pair))
            return cel_no_memory();
    }
    return cel_map_value(m);
}

const struct overload cel_fn_url[] = {
    {"url", "s>U", to_url, 0, COST_ARG0},
    {"isURL", "s>b", is_url, 0, COST_ONE},
    {"getScheme", "U>s", get_scheme, OV_MEMBER, COST_ONE},
    {"getHost", "U>s", get_host, OV_MEMBER, COST_ONE},
    {"getHostname", "U>s", get_hostname, OV_MEMBER, COST_ONE},
    {"getPort", "U>s", get_port, OV_MEMBER, COST_ONE},
    {"getEscapedPath", "U>s", get_escaped_path, OV_MEMBER, COST_ONE},
    {"getQuery", "U>MsLs", get_query, OV_MEMBER, COST_ONE},
    {0},
};
