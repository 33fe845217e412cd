/* Text to tokens. Strings are unescaped here, once, so that everything behind sees plain UTF-8; the
 * sixteen forms of literals differ by three switches only: raw, bytes, triple quotes. */
#include "cel/internal.h"

static bool is_ident(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static int hex(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
static char at(const struct lexer *l, size_t ahead)
{
    size_t i = l->at + ahead;
    return i < l->c->text.n ? l->c->text.p[i] : 0;
}

static struct token bad(struct lexer *l, uint32_t pos, const char *why)
{
    cel_finding(l->c, pos, "Syntax error: %s", why);
    l->at = l->c->text.n;
    return (struct token){.type = TOKEN_BAD, .pos = pos};
}

static void skip_space(struct lexer *l)
{
    struct str t = l->c->text;
    while (l->at < t.n) {
        char c = t.p[l->at];
        if (c == '/' && at(l, 1) == '/') {
            while (l->at < t.n && t.p[l->at] != '\n')
                l->at++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            l->at++;
        } else {
            break;
        }
    }
}

/* A code point of so many digits at p; -1: no. */
static int64_t digits(struct str s, size_t i, unsigned n, unsigned base)
{
    int64_t v = 0;
    if (i + n > s.n)
        return -1;
    for (unsigned k = 0; k < n; k++) {
        int d = hex(s.p[i + k]);
        if (d < 0 || d >= (int)base)
            return -1;
        v = v * base + d;
    }
    return v;
}

/* One escape behind a backslash at s.p[*i]; appends. NULL or what is wrong. */
static const char *unescape(struct str s, size_t *i, bool bytes, struct buf *b)
{
    static const char from[] = "abfnrtv\\?\"'`", to[] = "\a\b\f\n\r\t\v\\?\"'`";
    char c = s.p[*i], utf8[4];
    const char *k = c ? memchr(from, c, sizeof from - 1) : NULL;
    unsigned n = 0, base = 16;
    if (k) {
        buf_add_char(b, to[k - from]);
        ++*i;
        return NULL;
    }
    if (c >= '0' && c <= '3') {
        n = 3;
        base = 8;
    } else if (c == 'x' || c == 'X') {
        n = 2;
    } else if (c == 'u') {
        n = 4;
    } else if (c == 'U') {
        n = 8;
    }
    size_t from_i = *i + (base == 16);
    int64_t v = n ? digits(s, from_i, n, base) : -1;
    if (v < 0)
        return "token recognition error: invalid escape sequence";
    if (bytes && n >= 4)
        return "illegal escape sequence: unable to unescape unicode in bytes";
    if (n >= 4 && (v > 0x10ffff || (v >= 0xd800 && v < 0xe000)))
        return "illegal escape sequence: invalid unicode code point";
    if (bytes)
        buf_add_char(b, (char)v);
    else
        buf_add(b, utf8, cel_utf8_put((uint32_t)v, utf8));
    *i = from_i + n;
    return NULL;
}

/* From the quote on. */
static struct token lex_string(struct lexer *l, uint32_t pos, bool raw, bool bytes)
{
    struct str t = l->c->text;
    char q = at(l, 0);
    bool triple = at(l, 1) == q && at(l, 2) == q;
    struct buf b = {0};
    const char *why = "token recognition error: unterminated string";
    l->at += triple ? 3 : 1;
    for (;;) {
        if (l->at >= t.n)
            goto wrong;
        char c = t.p[l->at];
        if (c == q && (!triple || (at(l, 1) == q && at(l, 2) == q)))
            break;
        if (!triple && (c == '\n' || c == '\r'))
            goto wrong;
        l->at++;
        if (c == '\\' && raw) {
            buf_add_char(&b, c);
            if (l->at < t.n && (triple || (t.p[l->at] != '\n' && t.p[l->at] != '\r')))
                buf_add_char(&b, t.p[l->at++]);
        } else if (c == '\\') {
            const char *w = l->at < t.n ? unescape(t, &l->at, bytes, &b) : why;
            if (w) {
                why = w;
                goto wrong;
            }
        } else {
            buf_add_char(&b, c);
        }
    }
    l->at += triple ? 3 : 1;
    struct token k = {.type = bytes ? TOKEN_BYTES : TOKEN_STRING, .pos = pos};
    k.text = arena_str(l->c->a, b.data ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return k;
wrong:
    buf_fini(&b);
    return bad(l, pos, why);
}

static struct token lex_number(struct lexer *l, uint32_t pos)
{
    struct token k = {.type = TOKEN_INT, .pos = pos};
    size_t from = l->at;
    if (at(l, 0) == '0' && (at(l, 1) == 'x' || at(l, 1) == 'X') && hex(at(l, 2)) >= 0) {
        l->at += 2;
        while (hex(at(l, 0)) >= 0)
            l->at++;
    } else {
        while (is_digit(at(l, 0)))
            l->at++;
        if (at(l, 0) == '.' && is_digit(at(l, 1))) {
            k.type = TOKEN_DOUBLE;
            l->at++;
            while (is_digit(at(l, 0)))
                l->at++;
        }
        size_t sign = at(l, 1) == '+' || at(l, 1) == '-';
        if ((at(l, 0) == 'e' || at(l, 0) == 'E') && is_digit(at(l, 1 + sign))) {
            k.type = TOKEN_DOUBLE;
            l->at += 1 + sign;
            while (is_digit(at(l, 0)))
                l->at++;
        }
    }
    k.text = str_sub(l->c->text, from, l->at);
    if (k.type == TOKEN_INT && (at(l, 0) == 'u' || at(l, 0) == 'U')) {
        k.type = TOKEN_UINT;
        l->at++;
    }
    return k;
}

struct token cel_lex(struct lexer *l)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "&&", "||"};
    skip_space(l);
    struct token k = {.type = TOKEN_END, .pos = (uint32_t)l->at};
    char c = at(l, 0);
    if (l->at >= l->c->text.n)
        return k;
    if (is_digit(c) || (c == '.' && is_digit(at(l, 1))))
        return lex_number(l, k.pos);
    bool raw = false, bytes = false;
    size_t skip = 0;
    if (c == 'b' || c == 'B') {
        bytes = true;
        skip = 1;
    }
    if (at(l, skip) == 'r' || at(l, skip) == 'R') {
        raw = true;
        skip++;
    }
    if (at(l, skip) == '"' || at(l, skip) == '\'') {
        l->at += skip;
        return lex_string(l, k.pos, raw, bytes);
    }
    if (is_ident(c, true)) {
        size_t from = l->at;
        while (is_ident(at(l, 0), false))
            l->at++;
        k.type = TOKEN_IDENT;
        k.text = str_sub(l->c->text, from, l->at);
        return k;
    }
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        if (c == ops[i][0] && at(l, 1) == ops[i][1]) {
            l->at += 2;
            return (struct token){TOKEN_OP, k.pos, str_z(ops[i])};
        }
    }
    if (!c || !strchr("()[]{}.,:?!-+*/%<>", c))
        return bad(l, k.pos, "token recognition error");
    k.type = TOKEN_OP;
    k.text = str_sub(l->c->text, l->at, l->at + 1);
    l->at++;
    return k;
}
