/* The syntax of RE2, straight to a program: each piece is compiled as it is read, and a repetition
 * moves or copies the instructions of the piece before it. Targets are relative while that happens,
 * so that copies need no mending. */
#include "cel/internal.h"
#include "cel/regex_int.h"

#define UNICODE_MAX 200 /* classes by category in one expression */

enum re_flags {
    RE_FOLD = 1 << 0,   /* i */
    RE_LINES = 1 << 1,  /* m */
    RE_DOT_NL = 1 << 2, /* s */
    RE_LAZY = 1 << 3,   /* U */
};

struct re {
    struct arena *a;
    struct str s;
    size_t i;
    unsigned flags, nest, n_unicode;
    struct inst *v;
    uint32_t n, cap;
    const char *why;
    struct str what; /* the part complained about */
};

static bool wrong(struct re *r, const char *why, size_t from, size_t to)
{
    if (!r->why) {
        r->why = why;
        r->what = str_sub(r->s, from, to);
    }
    return false;
}
static char peek(const struct re *r, size_t ahead)
{
    return r->i + ahead < r->s.n ? r->s.p[r->i + ahead] : 0;
}
static bool more(const struct re *r)
{
    return r->i < r->s.n;
}

/* --- Instructions -------------------------------------------------------------------------------
 */

static bool room(struct re *r, uint32_t n)
{
    if (r->n + n > REGEX_INSTS_MAX)
        return wrong(r, "expression too large", 0, 0);
    if (r->n + n > r->cap) {
        uint32_t cap = MAX(r->cap * 2, r->n + n + 16);
        struct inst *v = ARENA_NEW_N(r->a, struct inst, cap);
        if (r->n)
            memcpy(v, r->v, r->n * sizeof *v);
        r->v = v;
        r->cap = cap;
    }
    return true;
}
static bool emit(struct re *r, struct inst i)
{
    if (!room(r, 1))
        return false;
    r->v[r->n++] = i;
    return true;
}
/* Opens a place for one instruction before `at`; relative targets within stay right. */
static bool insert(struct re *r, uint32_t at, struct inst i)
{
    if (!room(r, 1))
        return false;
    memmove(r->v + at + 1, r->v + at, (r->n - at) * sizeof *r->v);
    r->v[at] = i;
    r->n++;
    return true;
}
static struct inst split(bool lazy, int32_t first, int32_t other)
{
    return lazy ? (struct inst){INST_SPLIT, (uint32_t)other, (uint32_t)first, NULL}
                : (struct inst){INST_SPLIT, (uint32_t)first, (uint32_t)other, NULL};
}
static bool emit_set(struct re *r, struct rune_set *s)
{
    struct rune_set *own = ARENA_NEW(r->a, struct rune_set);
    rune_set_close(s);
    *own = *s;
    if (own->n == 1)
        return emit(r, (struct inst){INST_RANGE, own->v[0].lo, own->v[0].hi, NULL});
    return emit(r, (struct inst){INST_SET, 0, 0, own});
}
static bool emit_rune(struct re *r, uint32_t rune)
{
    if (!(r->flags & RE_FOLD) || unicode_fold_next(rune) == rune)
        return emit(r, (struct inst){INST_RANGE, rune, rune, NULL});
    struct rune_set s = {0};
    rune_set_add(&s, r->a, rune, rune);
    rune_set_fold(&s, r->a);
    return emit_set(r, &s);
}

/* --- Escapes and classes ------------------------------------------------------------------------
 */

static void perl_class(struct rune_set *s, struct arena *a, char c)
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
static bool unicode_class(struct re *r, struct rune_set *s)
{
    size_t from = r->i - 1;
    bool negated = peek(r, 0) == 'P';
    struct str name;
    r->i++;
    if (++r->n_unicode > UNICODE_MAX) /* each is some kilobytes */
        return wrong(r, "expression too large", 0, 0);
    if (peek(r, 0) == '{') {
        ssize_t end = str_find(str_sub(r->s, r->i, r->s.n), '}');
        if (end < 0)
            return wrong(r, "invalid character class range", from, r->s.n);
        name = str_sub(r->s, r->i + 1, r->i + (size_t)end);
        r->i += (size_t)end + 1;
    } else {
        size_t at = r->i;
        if (!more(r))
            return wrong(r, "invalid character class range", from, r->s.n);
        (void)cel_utf8_get(r->s, &at);
        name = str_sub(r->s, r->i, at);
        r->i = at;
    }
    if (name.n && name.p[0] == '^') {
        negated = !negated;
        name = str_sub(name, 1, name.n);
    }
    struct rune_set one = {0};
    if (!rune_set_category(&one, r->a, name, false))
        return wrong(r, "invalid character class range", from, r->i);
    if (r->flags & RE_FOLD)
        rune_set_fold(&one, r->a);
    if (negated)
        rune_set_negate(&one, r->a);
    rune_set_add_set(s, r->a, &one);
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One code point behind a backslash. */
static bool escaped_rune(struct re *r, uint32_t *ret)
{
    static const char from[] = "afnrtv", to[] = "\a\f\n\r\t\v";
    size_t start = r->i - 1;
    char c = peek(r, 0);
    const char *k = c ? memchr(from, c, sizeof from - 1) : NULL;
    if (!more(r))
        return wrong(r, "trailing backslash at end of expression", 0, 0);
    r->i++;
    if (k)
        return *ret = (uint8_t)to[k - from], true;
    if (c == 'x') {
        uint32_t v = 0, n = 0;
        bool braces = peek(r, 0) == '{';
        r->i += braces;
        while (hex_digit(peek(r, 0)) >= 0 && (braces || n < 2) && v <= 0x10ffff) {
            v = v * 16 + (uint32_t)hex_digit(peek(r, 0));
            r->i++;
            n++;
        }
        if (n == 0 || (!braces && n != 2) || v > 0x10ffff || (braces && peek(r, 0) != '}'))
            return wrong(r, "invalid escape sequence", start, MIN(r->i + 1, r->s.n));
        r->i += braces;
        return *ret = v, true;
    }
    /* \1 is a reference unless more digits follow: octal. */
    if (c == '0' || (c >= '1' && c <= '7' && peek(r, 0) >= '0' && peek(r, 0) <= '7')) {
        uint32_t v = (uint32_t)(c - '0');
        for (unsigned n = 1; n < 3 && peek(r, 0) >= '0' && peek(r, 0) <= '7'; n++)
            v = v * 8 + (uint32_t)(r->s.p[r->i++] - '0');
        return *ret = v, true;
    }
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (word || (uint8_t)c >= 0x80)
        return wrong(r, "invalid escape sequence", start, r->i);
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
    wrong(r, "invalid character class range", r->i, r->i + 4 + (size_t)end);
    return -1;
}

static bool class_rune(struct re *r, size_t open, uint32_t *ret)
{
    if (!more(r))
        return wrong(r, "missing closing ]", open, r->s.n);
    if (peek(r, 0) == '\\') {
        r->i++;
        return escaped_rune(r, ret);
    }
    *ret = cel_utf8_get(r->s, &r->i);
    return true;
}

/* An item of a class that is a class. 1 done, 0 no, -1 wrong. */
static int class_in_class(struct re *r, struct rune_set *s)
{
    char c = peek(r, 0), e = peek(r, 1);
    if (c == '[' && e == ':')
        return posix_class(r, s);
    if (c == '\\' && e && strchr("dDsSwW", e)) {
        perl_class(s, r->a, e);
        r->i += 2;
        return 1;
    }
    if (c == '\\' && (e == 'p' || e == 'P')) {
        r->i++;
        return unicode_class(r, s) ? 1 : -1;
    }
    return 0;
}

/* Behind "[". */
static bool parse_class(struct re *r)
{
    struct rune_set s = {0}, plain = {0};
    size_t open = r->i - 1;
    bool negated = peek(r, 0) == '^', first = true;
    r->i += negated;
    for (; !(peek(r, 0) == ']' && !first); first = false) {
        uint32_t lo, hi;
        size_t at = r->i;
        if (!more(r))
            return wrong(r, "missing closing ]", open, r->s.n);
        int k = class_in_class(r, &s);
        if (k < 0)
            return false;
        if (k > 0)
            continue;
        if (!class_rune(r, open, &lo))
            return false;
        hi = lo;
        if (peek(r, 0) == '-' && peek(r, 1) != ']' && r->i + 1 < r->s.n) {
            r->i++;
            if (!class_rune(r, open, &hi))
                return false;
            if (hi < lo)
                return wrong(r, "invalid character class range", at, r->i);
        }
        rune_set_add(&plain, r->a, lo, hi);
    }
    r->i++;
    if (r->flags & RE_FOLD)
        rune_set_fold(&plain, r->a);
    rune_set_add_set(&s, r->a, &plain);
    if (negated)
        rune_set_negate(&s, r->a);
    return emit_set(r, &s);
}

/* --- The grammar --------------------------------------------------------------------------------
 */

static bool parse_alternatives(struct re *r);

/* "(?i:", "(?P<n>": behind "(?". True with *ret_group: a group opens; without: flags only. */
static bool parse_group_head(struct re *r, size_t open, bool *ret_group)
{
    bool minus = false, any = false;
    *ret_group = true;
    size_t skip = peek(r, 0) == 'P' && peek(r, 1) == '<' ? 2 : peek(r, 0) == '<' ? 1 : 0;
    if (skip) {
        size_t from = r->i + skip, to = from;
        while (to < r->s.n && r->s.p[to] != '>')
            to++;
        if (to == r->s.n || to == from)
            return wrong(r, "invalid named capture", open, MIN(to + 1, r->s.n));
        for (size_t i = from; i < to; i++)
            if (!(r->s.p[i] == '_' || (r->s.p[i] | 0x20) >= 'a' || hex_digit(r->s.p[i]) >= 0))
                return wrong(r, "invalid named capture", open, to + 1);
        r->i = to + 1;
        return true;
    }
    for (; more(r); r->i++) {
        static const char letters[] = "imsU";
        char c = peek(r, 0);
        const char *k = c ? strchr(letters, c) : NULL;
        if (k && *k) {
            unsigned bit = 1u << (k - letters);
            r->flags = minus ? r->flags & ~bit : r->flags | bit;
            any = true;
        } else if (c == '-' && !minus) {
            minus = true;
            any = false;
        } else if ((c == ':' || c == ')') && (!minus || any)) {
            *ret_group = c == ':';
            r->i++;
            return true;
        } else {
            break;
        }
    }
    return wrong(r, "invalid or unsupported Perl syntax", open, MIN(r->i + 1, r->s.n));
}

static bool parse_group(struct re *r)
{
    size_t open = r->i++;
    unsigned flags = r->flags;
    bool group = true;
    if (peek(r, 0) == '?') {
        r->i++;
        if (!parse_group_head(r, open, &group))
            return false;
        if (!group)
            return true; /* flags hold until the group around ends */
    }
    if (++r->nest > REGEX_NEST_MAX)
        return wrong(r, "expression nests too deeply", 0, 0);
    if (!parse_alternatives(r))
        return false;
    r->nest--;
    if (peek(r, 0) != ')' || !more(r))
        return wrong(r, "missing closing )", 0, r->s.n);
    r->i++;
    r->flags = flags;
    return true;
}

static bool emit_assert(struct re *r, enum inst_assert what)
{
    return emit(r, (struct inst){INST_ASSERT, what, 0, NULL});
}

static bool parse_escape(struct re *r)
{
    char e = peek(r, 1);
    uint32_t rune;
    struct rune_set s = {0};
    static const char asserts[] = "AzbB";
    static const uint8_t what[] = {ASSERT_BEGIN_TEXT, ASSERT_END_TEXT, ASSERT_WORD,
                                   ASSERT_NOT_WORD};
    const char *k = e ? strchr(asserts, e) : NULL;
    r->i++;
    if (k) {
        r->i++;
        return emit_assert(r, what[k - asserts]);
    }
    if (e && strchr("dDsSwW", e)) {
        r->i++;
        perl_class(&s, r->a, e);
        if (r->flags & RE_FOLD)
            rune_set_fold(&s, r->a);
        return emit_set(r, &s);
    }
    if (e == 'p' || e == 'P')
        return unicode_class(r, &s) && emit_set(r, &s);
    if (e == 'Q') {
        ssize_t end = str_search(str_sub(r->s, ++r->i, r->s.n), STR("\\E"));
        size_t stop = end < 0 ? r->s.n : r->i + (size_t)end;
        while (r->i < stop)
            if (!emit_rune(r, cel_utf8_get(r->s, &r->i)))
                return false;
        r->i = end < 0 ? stop : stop + 2;
        return true;
    }
    return escaped_rune(r, &rune) && emit_rune(r, rune);
}

/* One piece; *ret_start: where its instructions begin, so that a repetition finds them. \Qab\E*
 * repeats the b only. */
static bool parse_atom(struct re *r)
{
    struct rune_set s = {0};
    switch (peek(r, 0)) {
    case '(':
        return parse_group(r);
    case '[':
        r->i++;
        return parse_class(r);
    case '\\':
        return parse_escape(r);
    case '.':
        r->i++;
        rune_set_add(&s, r->a, 0, 0x10ffff);
        if (!(r->flags & RE_DOT_NL)) {
            s = (struct rune_set){0};
            rune_set_add(&s, r->a, 0, 9);
            rune_set_add(&s, r->a, 11, 0x10ffff);
        }
        return emit_set(r, &s);
    case '^':
        r->i++;
        return emit_assert(r, r->flags & RE_LINES ? ASSERT_BEGIN_LINE : ASSERT_BEGIN_TEXT);
    case '$':
        r->i++;
        return emit_assert(r, r->flags & RE_LINES ? ASSERT_END_LINE : ASSERT_END_TEXT);
    default:
        return emit_rune(r, cel_utf8_get(r->s, &r->i));
    }
}

/* "{2,5}" at r->i: 1 and past it, 0: it is text, -1: wrong. max -1: none. */
static int parse_count(struct re *r, int *ret_min, int *ret_max)
{
    size_t i = r->i + 1, from = r->i;
    int v[2] = {-1, -1};
    bool comma = false;
    for (unsigned k = 0; k < 2; k++) {
        for (; i < r->s.n && r->s.p[i] >= '0' && r->s.p[i] <= '9'; i++)
            v[k] = MIN((v[k] < 0 ? 0 : v[k]) * 10 + (r->s.p[i] - '0'), 100000);
        if (k == 0 && i < r->s.n && r->s.p[i] == ',') {
            comma = true;
            i++;
        } else {
            break;
        }
    }
    if (v[0] < 0 || i >= r->s.n || r->s.p[i] != '}')
        return 0;
    r->i = i + 1;
    *ret_min = v[0];
    *ret_max = comma ? v[1] : v[0];
    if (v[0] > REGEX_REPEAT_MAX || *ret_max > REGEX_REPEAT_MAX ||
        (*ret_max >= 0 && *ret_max < v[0]))
        return wrong(r, "invalid repeat count", from, r->i), -1;
    return 1;
}

static bool repeat(struct re *r, uint32_t start, int min, int max, bool lazy)
{
    uint32_t len = r->n - start;
    struct inst *piece;
    if (len == 0)
        return true;
    if (max == -1 && min <= 1) {
        if (min == 1) /* body; split back */
            return emit(r, split(lazy, -(int32_t)len, 1));
        return insert(r, start, split(lazy, 1, (int32_t)len + 2)) &&
               emit(r, (struct inst){INST_JUMP, (uint32_t) - (int32_t)(len + 1), 0, NULL});
    }
    if (min == 0 && max == 1)
        return insert(r, start, split(lazy, 1, (int32_t)len + 1));
    piece = ARENA_NEW_N(r->a, struct inst, len);
    memcpy(piece, r->v + start, len * sizeof *piece);
    r->n = start;
    for (int k = 0; k < min; k++) {
        if (!room(r, len))
            return false;
        memcpy(r->v + r->n, piece, len * sizeof *piece);
        r->n += len;
    }
    if (max == -1) { /* x{2,}: the last one again and again */
        return emit(r, split(lazy, -(int32_t)len, 1));
    }
    for (int k = min; k < max; k++) { /* each may end it all */
        int32_t rest = (int32_t)((uint32_t)(max - k) * (len + 1));
        if (!room(r, len + 1))
            return false;
        r->v[r->n++] = split(lazy, 1, rest);
        memcpy(r->v + r->n, piece, len * sizeof *piece);
        r->n += len;
    }
    return true;
}

static bool parse_repeat(struct re *r, uint32_t start, bool nothing, bool *ret_repeated)
{
    int min = 0, max = -1;
    size_t from = r->i;
    char c = peek(r, 0);
    *ret_repeated = false;
    if (c == '{' && more(r)) {
        int k = parse_count(r, &min, &max);
        if (k <= 0)
            return k == 0;
    } else if (c == '*' || c == '+' || c == '?') {
        min = c == '+';
        max = c == '?' ? 1 : -1;
        r->i++;
    } else {
        return true;
    }
    if (nothing)
        return wrong(r, "missing argument to repetition operator", from, r->i);
    bool lazy = r->flags & RE_LAZY;
    if (peek(r, 0) == '?' && more(r)) {
        lazy = !lazy;
        r->i++;
    }
    *ret_repeated = true;
    return repeat(r, start, min, max, lazy);
}

static bool parse_sequence(struct re *r)
{
    bool nothing = true;
    while (more(r) && peek(r, 0) != '|' && peek(r, 0) != ')') {
        uint32_t start = r->n;
        size_t from = r->i;
        bool again = false, quoted = peek(r, 0) == '\\' && peek(r, 1) == 'Q';
        char c = peek(r, 0);
        if (c == '*' || c == '+' || c == '?')
            return wrong(r, "missing argument to repetition operator", from, from + 1);
        bool flags_only = c == '(' && peek(r, 1) == '?';
        if (!parse_atom(r))
            return false;
        flags_only = flags_only && r->s.p[r->i - 1] == ')' && r->n == start &&
                     str_find(str_sub(r->s, from, r->i), ':') < 0;
        nothing = flags_only ? nothing : false;
        if (quoted && r->n > start)
            start = r->n - 1;
        size_t op = r->i;
        if (!parse_repeat(r, start, nothing, &again))
            return false;
        if (again) {
            size_t second = r->i;
            if (!parse_repeat(r, start, true, &again)) {
                if (r->why && str_eqz(str_z(r->why), "missing argument to repetition operator"))
                    r->why = "invalid nested repetition operator";
                r->what = str_sub(r->s, op, MAX(r->i, second));
                return false;
            }
            if (peek(r, 0) == '{' && r->i == second && more(r)) { /* text */
                r->i++;
                if (!emit_rune(r, '{'))
                    return false;
            }
        }
    }
    return true;
}

static bool parse_alternatives(struct re *r)
{
    uint32_t start = r->n;
    unsigned flags = r->flags;
    if (!parse_sequence(r))
        return false;
    /* a|b|c: split a, (split b, c); jumps to the end are known last, so alternatives nest to the
     * right from one list of starts. */
    while (more(r) && peek(r, 0) == '|') {
        uint32_t len = r->n - start;
        r->i++;
        if (!insert(r, start, split(false, 1, (int32_t)len + 2)))
            return false;
        uint32_t jump = r->n;
        if (!emit(r, (struct inst){INST_JUMP, 1, 0, NULL}))
            return false;
        if (!parse_sequence(r))
            return false;
        r->v[jump].x = r->n - jump;
    }
    if (r->nest)
        r->flags = flags;
    return true;
}

struct regex *regex_new(struct str pattern, struct arena *a, struct str *ret_why)
{
    struct re r = {.a = a, .s = pattern};
    bool ok = str_utf8_valid(pattern) ? parse_alternatives(&r) : wrong(&r, "invalid UTF-8", 0, 0);
    if (ok && more(&r))
        ok = wrong(&r, "unexpected )", 0, pattern.n);
    if (!ok || !emit(&r, (struct inst){.op = INST_MATCH})) {
        *ret_why = r.what.n ? arena_printf(a, "error parsing regexp: %s: `%.*s`", r.why,
                                           (int)MIN(r.what.n, 200), r.what.p)
                            : arena_printf(a, "error parsing regexp: %s", r.why);
        return NULL;
    }
    struct regex *re = ARENA_NEW(a, struct regex);
    *re = (struct regex){.v = r.v, .n = r.n, .first_byte = -1};
    for (uint32_t i = 0; i < re->n; i++) { /* targets from now on absolute */
        struct inst *x = &re->v[i];
        if (x->op == INST_SPLIT || x->op == INST_JUMP) {
            x->x += i;
            x->y = x->op == INST_SPLIT ? x->y + i : 0;
            ASSERT(x->x < re->n && x->y < re->n);
        }
    }
    re->anchored = re->v[0].op == INST_ASSERT && re->v[0].x == ASSERT_BEGIN_TEXT;
    if (re->v[0].op == INST_RANGE && re->v[0].x == re->v[0].y && re->v[0].x < 128)
        re->first_byte = (int)re->v[0].x;
    return re;
}
