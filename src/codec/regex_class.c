/* Escapes and classes of patterns: everything that stands for one character. */
#include "codec/regex_parse.h"

void re_perl_class(struct rune_set *s, struct arena *a, char c)
{
    struct rune_set one = {0};
    switch (c | 0x20) {
    case 'd':
        rune_set_add(&one, a, '0', '9');
        break;
    case 's':
        rune_set_add(&one, a, '\t', '\n');
        rune_set_add(&one, a, '\f', '\r');
        rune_set_add(&one, a, ' ', ' ');
        break;
    default:
        rune_set_add(&one, a, '0', '9');
        rune_set_add(&one, a, 'A', 'Z');
        rune_set_add(&one, a, '_', '_');
        rune_set_add(&one, a, 'a', 'z');
    }
    if (!(c & 0x20))
        rune_set_negate(&one, a);
    rune_set_add_set(s, a, &one);
}

/* \pL, \p{Lu}, \P.., \p{^..}; at the letter p. */
bool re_unicode_class(struct re *r, struct rune_set *s)
{
    size_t from = r->i - 1;
    bool negated = re_peek(r, 0) == 'P';
    struct str name;
    r->i++;
    if (++r->n_unicode > REGEX_UNICODE_MAX)
        return re_wrong(r, "expression too large", 0, 0);
    if (re_peek(r, 0) == '{') {
        ssize_t end = str_find(str_sub(r->s, r->i, r->s.n), '}');
        if (end < 0)
            return re_wrong(r, "invalid character class range", from, r->s.n);
        name = str_sub(r->s, r->i + 1, r->i + (size_t)end);
        r->i += (size_t)end + 1;
    } else {
        size_t at = r->i;
        if (!re_more(r))
            return re_wrong(r, "invalid character class range", from, r->s.n);
        (void)str_utf8_get(r->s, &at);
        name = str_sub(r->s, r->i, at);
        r->i = at;
    }
    if (name.n && name.p[0] == '^') {
        negated = !negated;
        name = str_sub(name, 1, name.n);
    }
    struct rune_set one = {0};
    if (!rune_set_category(&one, r->a, name, false))
        return re_wrong(r, "invalid character class range", from, r->i);
    if (r->flags & RE_FOLD)
        rune_set_fold(&one, r->a);
    if (negated)
        rune_set_negate(&one, r->a);
    rune_set_add_set(s, r->a, &one);
    return true;
}

int re_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One code point behind a backslash. */
bool re_escaped_rune(struct re *r, uint32_t *ret)
{
    static const char from[] = "afnrtv", to[] = "\a\f\n\r\t\v";
    size_t start = r->i - 1;
    char c = re_peek(r, 0);
    const char *k = c ? memchr(from, c, sizeof from - 1) : NULL;
    if (!re_more(r))
        return re_wrong(r, "trailing backslash at end of expression", 0, 0);
    r->i++;
    if (k)
        return *ret = (uint8_t)to[k - from], true;
    if (c == 'x') {
        uint32_t v = 0, n = 0;
        bool braces = re_peek(r, 0) == '{';
        r->i += braces;
        while (re_hex(re_peek(r, 0)) >= 0 && (braces || n < 2) && v <= 0x10ffff) {
            v = v * 16 + (uint32_t)re_hex(re_peek(r, 0));
            r->i++;
            n++;
        }
        if (n == 0 || (!braces && n != 2) || v > 0x10ffff || (braces && re_peek(r, 0) != '}'))
            return re_wrong(r, "invalid escape sequence", start, MIN(r->i + 1, r->s.n));
        r->i += braces;
        return *ret = v, true;
    }
    /* \1 is a reference unless more digits follow: octal. */
    if (c == '0' || (c >= '1' && c <= '7' && re_peek(r, 0) >= '0' && re_peek(r, 0) <= '7')) {
        uint32_t v = (uint32_t)(c - '0');
        for (unsigned n = 1; n < 3 && re_peek(r, 0) >= '0' && re_peek(r, 0) <= '7'; n++)
            v = v * 8 + (uint32_t)(r->s.p[r->i++] - '0');
        return *ret = v, true;
    }
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (word || (uint8_t)c >= 0x80)
        return re_wrong(r, "invalid escape sequence", start, r->i);
    return *ret = (uint8_t)c, true;
}

static const struct posix {
    const char *name, *ranges; /* pairs */
} POSIX[] = {
    {"alnum", "09AZaz"},
    {"alpha", "AZaz"},
    {"ascii", "\001\177"},
    {"blank", "\t\t  "},
    {"cntrl", "\001\037\177\177"},
    {"digit", "09"},
    {"graph", "!~"},
    {"lower", "az"},
    {"print", " ~"},
    {"punct", "!/:@[`{~"},
    {"space", "\t\r  "},
    {"upper", "AZ"},
    {"word", "09AZ__az"},
    {"xdigit", "09AFaf"},
};

/* [:alpha:] at "[:". 0: it is none. */
static int posix_class(struct re *r, struct rune_set *s)
{
    struct str rest = str_sub(r->s, r->i + 2, r->s.n);
    ssize_t end = str_search(rest, STR(":]"));
    if (end < 0)
        return 0;
    struct str name = str_sub(rest, 0, (size_t)end);
    bool negated = name.n && name.p[0] == '^';
    if (negated)
        name = str_sub(name, 1, name.n);
    for (unsigned k = 0; k < ARRAY_LEN(POSIX); k++) {
        if (!str_eqz(name, POSIX[k].name))
            continue;
        struct rune_set one = {0};
        for (const char *p = POSIX[k].ranges; *p; p += 2)
            rune_set_add(&one, r->a, (uint8_t)p[0] == 1 ? 0 : (uint8_t)p[0], (uint8_t)p[1]);
        if (r->flags & RE_FOLD)
            rune_set_fold(&one, r->a);
        if (negated)
            rune_set_negate(&one, r->a);
        rune_set_add_set(s, r->a, &one);
        r->i += 2 + (size_t)end + 2;
        return 1;
    }
    re_wrong(r, "invalid character class range", r->i, r->i + 4 + (size_t)end);
    return -1;
}

static bool class_rune(struct re *r, size_t open, uint32_t *ret)
{
    if (!re_more(r))
        return re_wrong(r, "missing closing ]", open, r->s.n);
    if (re_peek(r, 0) == '\\') {
        r->i++;
        return re_escaped_rune(r, ret);
    }
    *ret = str_utf8_get(r->s, &r->i);
    return true;
}

/* An item of a class that is a class. 1 done, 0 no, -1 wrong. */
static int class_in_class(struct re *r, struct rune_set *s)
{
    char c = re_peek(r, 0), e = re_peek(r, 1);
    if (c == '[' && e == ':')
        return posix_class(r, s);
    if (c == '\\' && e && strchr("dDsSwW", e)) {
        re_perl_class(s, r->a, e);
        r->i += 2;
        return 1;
    }
    if (c == '\\' && (e == 'p' || e == 'P')) {
        r->i++;
        return re_unicode_class(r, s) ? 1 : -1;
    }
    return 0;
}

/* Behind "[". */
bool re_parse_class(struct re *r)
{
    struct rune_set s = {0}, plain = {0};
    size_t open = r->i - 1;
    bool negated = re_peek(r, 0) == '^', first = true;
    r->i += negated;
    for (; !(re_peek(r, 0) == ']' && !first); first = false) {
        uint32_t lo, hi;
        size_t at = r->i;
        if (!re_more(r))
            return re_wrong(r, "missing closing ]", open, r->s.n);
        int k = class_in_class(r, &s);
        if (k < 0)
            return false;
        if (k > 0)
            continue;
        if (!class_rune(r, open, &lo))
            return false;
        hi = lo;
        if (re_peek(r, 0) == '-' && re_peek(r, 1) != ']' && r->i + 1 < r->s.n) {
            r->i++;
            if (!class_rune(r, open, &hi))
                return false;
            if (hi < lo)
                return re_wrong(r, "invalid character class range", at, r->i);
        }
        rune_set_add(&plain, r->a, lo, hi);
    }
    r->i++;
    if (r->flags & RE_FOLD)
        rune_set_fold(&plain, r->a);
    rune_set_add_set(&s, r->a, &plain);
    if (negated)
        rune_set_negate(&s, r->a);
    return re_emit_set(r, &s);
}
