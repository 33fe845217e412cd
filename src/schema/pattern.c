/* From text to program. The text is parsed by recursive descent into a small tree, because
 * repetitions copy what they repeat, and the tree is printed as instructions from its end to its
 * start, so that each piece knows where to go on. */
#include "schema/pattern_int.h"

#define REPEAT_MAX 1000
#define CHAR_MAX_  0x10FFFFu

enum kind { EMPTY, CLASS, JOIN, EITHER, REPEAT, BEGIN, END, WORD, NO_WORD };

struct tree {
    enum kind kind;
    bool multi;
    const struct pattern_class *class;
    struct tree *a, *b; /* JOIN, EITHER; a of REPEAT */
    uint32_t min, max;  /* REPEAT; max UINT32_MAX: no end */
};

struct parser {
    struct str s;
    size_t i;
    struct arena *out, tmp;
    const char *why;
    unsigned depth;
    bool fold, multi, dotall;
    struct pattern_step *steps;
    uint32_t n;
};

static struct tree *either(struct parser *p);

static struct tree *fail(struct parser *p, const char *why)
{
    if (!p->why)
        p->why = why;
    return NULL;
}

static struct tree *tree(struct parser *p, enum kind kind, struct tree *a, struct tree *b)
{
    struct tree *t = ARENA_NEW(&p->tmp, struct tree);
    *t = (struct tree){.kind = kind, .a = a, .b = b, .multi = p->multi};
    return t;
}

static bool more(const struct parser *p)
{
    return p->i < p->s.n;
}

static bool eat(struct parser *p, char c)
{
    if (!more(p) || p->s.p[p->i] != c)
        return false;
    p->i++;
    return true;
}

static bool eat_text(struct parser *p, struct str t)
{
    if (!str_starts(str_sub(p->s, p->i, p->s.n), t))
        return false;
    p->i += t.n;
    return true;
}

uint32_t pattern_char(struct str s, size_t *i)
{
    struct str rest = str_sub(s, *i, s.n);
    size_t n = str_utf8_char(rest);
    const uint8_t *p = (const uint8_t *)rest.p;
    *i += n ? n : 1;
    switch (n) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return 0xFFFD;
    }
}

/* ---- classes ---- */

struct ranges {
    struct pattern_range v[256];
    uint32_t n;
};

static void range_add(struct parser *p, struct ranges *r, uint32_t lo, uint32_t hi)
{
    if (r->n == ARRAY_LEN(r->v)) {
        (void)fail(p, "a character class is too large");
        return;
    }
    r->v[r->n++] = (struct pattern_range){lo, hi};
}

static void range_add_folded(struct parser *p, struct ranges *r, uint32_t lo, uint32_t hi)
{
    range_add(p, r, lo, hi);
    if (!p->fold)
        return;
    for (uint32_t c = 'a'; c <= 'z'; c++) {
        if (c >= lo && c <= hi)
            range_add(p, r, c - 32, c - 32);
        if (c - 32 >= lo && c - 32 <= hi)
            range_add(p, r, c, c);
    }
}

static const struct named {
    const char *name;   /* of [[:name:]] or one letter after the backslash */
    const char *ranges; /* pairs */
} named[] = {
    {"d", "09"},           {"w", "09AZ__az"},
    {"s", "\t\n\f\r  "},   {"alnum", "09AZaz"},
    {"alpha", "AZaz"},     {"ascii", "\x01\x7f"},
    {"blank", "\t\t  "},   {"cntrl", "\x01\x1f\x7f\x7f"},
    {"digit", "09"},       {"graph", "!~"},
    {"lower", "az"},       {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "},
    {"upper", "AZ"},       {"word", "09AZ__az"},
    {"xdigit", "09AFaf"},
};

static bool named_add(struct parser *p, struct ranges *r, struct str name, bool negated)
{
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (!str_eqz(name, named[i].name))
            continue;
        const char *v = named[i].ranges;
        if (!negated) {
            for (; *v; v += 2)
                range_add(p, r, (uint8_t)v[0], (uint8_t)v[1]);
            return true;
        }
        uint32_t from = 0; /* the table is in order */
        for (; *v; v += 2) {
            if ((uint8_t)v[0] > from)
                range_add(p, r, from, (uint8_t)v[0] - 1u);
            from = (uint8_t)v[1] + 1u;
        }
        range_add(p, r, from, CHAR_MAX_);
        return true;
    }
    return false;
}

static struct tree *class_tree(struct parser *p, const struct ranges *r, bool negated)
{
    struct pattern_class *c = ARENA_NEW(p->out, struct pattern_class);
    struct pattern_range *v = ARENA_NEW_N(p->out, struct pattern_range, r->n + 1);
    memcpy(v, r->v, r->n * sizeof(*v));
    *c = (struct pattern_class){v, r->n, negated};
    struct tree *t = tree(p, CLASS, NULL, NULL);
    t->class = c;
    return t;
}

static struct tree *literal(struct parser *p, uint32_t c)
{
    struct ranges r = {.n = 0};
    range_add_folded(p, &r, c, c);
    return class_tree(p, &r, false);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Behind "\x". */
static uint32_t hex(struct parser *p)
{
    uint32_t v = 0;
    bool braces = eat(p, '{');
    unsigned digits = 0;
    while (more(p) && hex_digit(p->s.p[p->i]) >= 0 && digits < (braces ? 6u : 2u)) {
        v = v * 16 + (uint32_t)hex_digit(p->s.p[p->i++]);
        digits++;
    }
    if (!digits || (!braces && digits != 2) || (braces && !eat(p, '}')) || v > CHAR_MAX_)
        (void)fail(p, "invalid escape sequence");
    return v;
}

/* Behind a backslash: one character; or adds a class to r and returns UINT32_MAX. */
static uint32_t escape(struct parser *p, struct ranges *r)
{
    static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
    if (!more(p))
        return fail(p, "trailing backslash at end of expression"), 0;
    char c = p->s.p[p->i++];
    const char *l = strchr(letters, c);
    if (c && l)
        return (uint8_t)values[l - letters];
    if (c == 'x')
        return hex(p);
    if (c == '0') {
        uint32_t v = 0;
        for (int k = 0; k < 2 && more(p) && p->s.p[p->i] >= '0' && p->s.p[p->i] <= '7'; k++)
            v = v * 8 + (uint32_t)(p->s.p[p->i++] - '0');
        return v;
    }
    bool upper = c >= 'A' && c <= 'Z';
    char low = upper ? (char)(c + 32) : c;
    if (low == 'd' || low == 's' || low == 'w') {
        (void)named_add(p, r, (struct str){&low, 1}, upper);
        return UINT32_MAX;
    }
    if (low == 'p')
        return fail(p, "Unicode character classes are not supported"), 0;
    if ((c >= '1' && c <= '9') || (low >= 'a' && low <= 'z'))
        return fail(p, "invalid escape sequence"), 0;
    p->i--;
    return pattern_char(p->s, &p->i);
}

/* Behind '['. */
static struct tree *class(struct parser *p)
{
    struct ranges *r = ARENA_NEW(&p->tmp, struct ranges);
    bool negated = eat(p, '^'), first = true;
    while (!p->why) {
        if (!more(p))
            return fail(p, "missing closing ]");
        if (!first && eat(p, ']'))
            return class_tree(p, r, negated);
        first = false;
        if (str_starts(str_sub(p->s, p->i, p->s.n), STR("[:"))) {
            struct str rest = str_sub(p->s, p->i + 2, p->s.n);
            ssize_t end = str_search(rest, STR(":]"));
            bool not = rest.n && rest.p[0] == '^';
            if (end < 0 || !named_add(p, r, str_sub(rest, not ? 1 : 0, (size_t)end), not ))
                return fail(p, "invalid character class range");
            p->i += (size_t)end + 4;
            continue;
        }
        uint32_t lo = eat(p, '\\') ? escape(p, r) : pattern_char(p->s, &p->i), hi = lo;
        if (lo == UINT32_MAX)
            continue;
        if (p->i + 1 < p->s.n && p->s.p[p->i] == '-' && p->s.p[p->i + 1] != ']') {
            p->i++;
            hi = eat(p, '\\') ? escape(p, r) : pattern_char(p->s, &p->i);
            if (hi == UINT32_MAX || hi < lo)
                return fail(p, "invalid character class range");
        }
        range_add_folded(p, r, lo, hi);
    }
    return NULL;
}

/* ---- the tree ---- */

static bool flags(struct parser *p)
{
    bool on = true;
    for (; more(p); p->i++) {
        char c = p->s.p[p->i];
        if (c == 'i')
            p->fold = on;
        else if (c == 'm')
            p->multi = on;
        else if (c == 's')
            p->dotall = on;
        else if (c == '-' && on)
            on = false;
        else if (c != 'U')
            return c == ':' || c == ')';
    }
    return false;
}

/* Behind '('. */
static struct tree *group(struct parser *p)
{
    bool fold = p->fold, multi = p->multi, dotall = p->dotall;
    if (++p->depth > PATTERN_DEPTH_MAX)
        return fail(p, "expression nests too deeply");
    if (eat_text(p, STR("?P<")) || eat_text(p, STR("?<"))) {
        while (more(p) && p->s.p[p->i] != '>')
            p->i++;
        if (!eat(p, '>'))
            return fail(p, "invalid named capture");
    } else if (eat(p, '?')) {
        if (!flags(p))
            return fail(p, "invalid or unsupported Perl syntax");
        if (eat(p, ')')) { /* flags for the rest of the group around */
            p->depth--;
            return tree(p, EMPTY, NULL, NULL);
        }
        p->i++; /* ':' */
    }
    struct tree *t = either(p);
    if (t && !eat(p, ')'))
        return fail(p, "missing closing )");
    p->depth--;
    p->fold = fold;
    p->multi = multi;
    p->dotall = dotall;
    return t;
}

static struct tree *dot(struct parser *p)
{
    struct ranges r = {.n = 0};
    if (!p->dotall)
        range_add(p, &r, '\n', '\n');
    return class_tree(p, &r, true);
}

static struct tree *backslash(struct parser *p)
{
    struct ranges *r = ARENA_NEW(&p->tmp, struct ranges);
    struct tree *t;
    bool multi = p->multi;
    p->multi = false;
    if (eat(p, 'b'))
        t = tree(p, WORD, NULL, NULL);
    else if (eat(p, 'B'))
        t = tree(p, NO_WORD, NULL, NULL);
    else if (eat(p, 'A'))
        t = tree(p, BEGIN, NULL, NULL);
    else if (eat(p, 'z'))
        t = tree(p, END, NULL, NULL);
    else {
        uint32_t c = escape(p, r);
        t = c == UINT32_MAX ? class_tree(p, r, false) : literal(p, c);
    }
    p->multi = multi;
    return t;
}

static struct tree *atom(struct parser *p)
{
    char c = p->s.p[p->i];
    if (strchr("*+?", c))
        return fail(p, "missing argument to repetition operator");
    if (eat(p, '('))
        return group(p);
    if (eat(p, '['))
        return class(p);
    if (eat(p, '.'))
        return dot(p);
    if (eat(p, '^'))
        return tree(p, BEGIN, NULL, NULL);
    if (eat(p, '$'))
        return tree(p, END, NULL, NULL);
    if (eat(p, '\\'))
        return backslash(p);
    return literal(p, pattern_char(p->s, &p->i));
}

static bool digits(struct parser *p, uint32_t *ret)
{
    size_t from = p->i;
    uint32_t v = 0;
    while (more(p) && p->s.p[p->i] >= '0' && p->s.p[p->i] <= '9' && v <= REPEAT_MAX)
        v = v * 10 + (uint32_t)(p->s.p[p->i++] - '0');
    *ret = v;
    return p->i > from;
}

/* "{2}", "{2,}", "{2,5}"; anything else with a brace is the brace itself. */
static bool braces(struct parser *p, uint32_t *min, uint32_t *max)
{
    size_t from = p->i;
    bool ok = eat(p, '{') && digits(p, min);
    *max = *min;
    if (ok && eat(p, ','))
        *max = digits(p, max) ? *max : UINT32_MAX;
    ok = ok && eat(p, '}');
    if (!ok)
        p->i = from;
    return ok;
}

static struct tree *repeated(struct parser *p)
{
    struct tree *t = atom(p);
    uint32_t min = 0, max = UINT32_MAX;
    bool before = false;
    while (t && more(p)) {
        if (eat(p, '*')) {
            min = 0;
            max = UINT32_MAX;
        } else if (eat(p, '+')) {
            min = 1;
            max = UINT32_MAX;
        } else if (eat(p, '?')) {
            min = 0;
            max = 1;
        } else if (!braces(p, &min, &max)) {
            break;
        }
        if (before)
            return fail(p, "invalid nested repetition operator");
        if (min > REPEAT_MAX || (max != UINT32_MAX && (max > REPEAT_MAX || max < min)))
            return fail(p, "invalid repeat count");
        (void)eat(p, '?'); /* lazy: whether it matches is the same */
        t = tree(p, REPEAT, t, NULL);
        t->min = min;
        t->max = max;
        before = true;
    }
    return t;
}

static struct tree *joined(struct parser *p)
{
    struct tree *t = NULL;
    while (more(p) && p->s.p[p->i] != '|' && p->s.p[p->i] != ')') {
        struct tree *x = repeated(p);
        if (!x)
            return NULL;
        t = t ? tree(p, JOIN, t, x) : x;
    }
    return t ? t : tree(p, EMPTY, NULL, NULL);
}

static struct tree *either(struct parser *p)
{
    struct tree *t = joined(p);
    while (t && eat(p, '|')) {
        struct tree *x = joined(p);
        if (!x)
            return NULL;
        t = tree(p, EITHER, t, x);
    }
    return t;
}

/* ---- the program ---- */

static uint32_t step(struct parser *p, enum pattern_op op, uint32_t x, uint32_t y)
{
    if (p->n == PATTERN_STEPS_MAX) {
        (void)fail(p, "expression is too large");
        return 0;
    }
    p->steps[p->n] = (struct pattern_step){.op = (uint8_t)op, .x = x, .y = y};
    return p->n++;
}

/* The start of a program for t that goes on at next. */
static uint32_t emit(struct parser *p, const struct tree *t, uint32_t next)
{
    static const enum pattern_op ops[] = {[BEGIN] = PATTERN_BEGIN,
                                          [END] = PATTERN_END,
                                          [WORD] = PATTERN_WORD,
                                          [NO_WORD] = PATTERN_NO_WORD};
    uint32_t at;
    if (p->why)
        return 0;
    switch (t->kind) {
    case EMPTY:
        return next;
    case CLASS:
        at = step(p, PATTERN_CLASS, next, 0);
        p->steps[at].class = t->class;
        return at;
    case JOIN:
        for (; t->kind == JOIN; t = t->a) /* long texts lean to the left: no recursion there */
            next = emit(p, t->b, next);
        return emit(p, t, next);
    case EITHER:
        at = emit(p, t->b, next);
        for (t = t->a; t->kind == EITHER; t = t->a)
            at = step(p, PATTERN_SPLIT, emit(p, t->b, next), at);
        return step(p, PATTERN_SPLIT, emit(p, t, next), at);
    case REPEAT:
        at = next;
        if (t->max == UINT32_MAX) {
            at = step(p, PATTERN_SPLIT, 0, next);
            uint32_t body = emit(p, t->a, at);
            p->steps[at].x = body;
        } else {
            for (uint32_t i = t->min; i < t->max && !p->why; i++)
                at = step(p, PATTERN_SPLIT, emit(p, t->a, at), next);
        }
        for (uint32_t i = 0; i < t->min && !p->why; i++)
            at = emit(p, t->a, at);
        return at;
    case BEGIN:
    case END:
    case WORD:
    case NO_WORD:
        at = step(p, ops[t->kind], next, 0);
        p->steps[at].multi = t->multi;
        return at;
    }
    return next;
}

const struct pattern *pattern_compile(struct str text, struct arena *a, const char **ret_why)
{
    struct parser p = {.s = text, .out = a};
    struct pattern *out = NULL;
    struct tree *t = NULL;
    if (text.n > PATTERN_BYTES_MAX)
        p.why = "expression is too large";
    else
        t = either(&p);
    if (t && more(&p))
        t = fail(&p, "unexpected )");
    if (t) {
        p.steps = ARENA_NEW_N(&p.tmp, struct pattern_step, PATTERN_STEPS_MAX);
        uint32_t end = step(&p, PATTERN_MATCH, 0, 0), start = emit(&p, t, end);
        if (!p.why) {
            struct pattern_step *steps = ARENA_NEW_N(a, struct pattern_step, p.n);
            memcpy(steps, p.steps, p.n * sizeof(*steps));
            out = ARENA_NEW(a, struct pattern);
            *out = (struct pattern){steps, p.n, start};
        }
    }
    arena_fini(&p.tmp);
    *ret_why = p.why;
    return out;
}
