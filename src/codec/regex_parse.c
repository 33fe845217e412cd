/* The syntax of RE2, straight to a program: each piece is compiled as it is read, and a repetition
 * moves or copies the instructions of the piece before it. Targets are relative while that happens,
 * so that copies need no mending. */
#include "codec/regex_parse.h"

/* --- Instructions -------------------------------------------------------------------------------
 */

static bool room(struct re *r, uint32_t n)
{
    if (r->n + n > REGEX_INSTS_MAX)
        return re_wrong(r, "expression too large", 0, 0);
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
bool re_emit_set(struct re *r, struct rune_set *s)
{
    rune_set_close(s);
    if (s->n == 1)
        return emit(r, (struct inst){INST_RANGE, s->v[0].lo, s->v[0].hi, NULL});
    struct rune_set *own = ARENA_NEW(r->out, struct rune_set);
    size_t bytes = s->n * sizeof *s->v;
    *own = *s;
    own->v = arena_alloc(r->out, bytes);
    own->cap = s->n;
    if (bytes)
        memcpy(own->v, s->v, bytes);
    r->set_bytes += sizeof *own + bytes;
    return emit(r, (struct inst){INST_SET, 0, 0, own});
}
static bool emit_rune(struct re *r, uint32_t rune)
{
    if (!(r->flags & RE_FOLD) || unicode_fold_next(rune) == rune)
        return emit(r, (struct inst){INST_RANGE, rune, rune, NULL});
    struct rune_set s = {0};
    rune_set_add(&s, r->a, rune, rune);
    rune_set_fold(&s, r->a);
    return re_emit_set(r, &s);
}

/* --- The grammar --------------------------------------------------------------------------------
 */

static bool parse_alternatives(struct re *r);

/* "(?i:", "(?P<n>": behind "(?". True with *ret_group: a group opens; without: flags only. */
static bool parse_group_head(struct re *r, size_t open, bool *ret_group)
{
    bool minus = false, any = false;
    *ret_group = true;
    size_t skip = re_peek(r, 0) == 'P' && re_peek(r, 1) == '<' ? 2 : re_peek(r, 0) == '<' ? 1 : 0;
    if (skip) {
        size_t from = r->i + skip, to = from;
        while (to < r->s.n && r->s.p[to] != '>')
            to++;
        if (to == r->s.n || to == from)
            return re_wrong(r, "invalid named capture", open, MIN(to + 1, r->s.n));
        for (size_t i = from; i < to; i++)
            if (!(r->s.p[i] == '_' || (r->s.p[i] | 0x20) >= 'a' || re_hex(r->s.p[i]) >= 0))
                return re_wrong(r, "invalid named capture", open, to + 1);
        r->i = to + 1;
        return true;
    }
    for (; re_more(r); r->i++) {
        static const char letters[] = "imsU";
        char c = re_peek(r, 0);
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
    return re_wrong(r, "invalid or unsupported Perl syntax", open, MIN(r->i + 1, r->s.n));
}

static bool parse_group(struct re *r)
{
    size_t open = r->i++;
    unsigned flags = r->flags;
    bool group = true;
    if (re_peek(r, 0) == '?') {
        r->i++;
        if (!parse_group_head(r, open, &group))
            return false;
        if (!group)
            return true; /* flags hold until the group around ends */
    }
    if (++r->nest > REGEX_NEST_MAX)
        return re_wrong(r, "expression nests too deeply", 0, 0);
    if (!parse_alternatives(r))
        return false;
    r->nest--;
    if (re_peek(r, 0) != ')' || !re_more(r))
        return re_wrong(r, "missing closing )", 0, r->s.n);
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
    char e = re_peek(r, 1);
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
        re_perl_class(&s, r->a, e);
        if (r->flags & RE_FOLD)
            rune_set_fold(&s, r->a);
        return re_emit_set(r, &s);
    }
    if (e == 'p' || e == 'P')
        return re_unicode_class(r, &s) && re_emit_set(r, &s);
    if (e == 'Q') {
        ssize_t end = str_search(str_sub(r->s, ++r->i, r->s.n), STR("\\E"));
        size_t stop = end < 0 ? r->s.n : r->i + (size_t)end;
        while (r->i < stop)
            if (!emit_rune(r, str_utf8_get(r->s, &r->i)))
                return false;
        r->i = end < 0 ? stop : stop + 2;
        return true;
    }
    return re_escaped_rune(r, &rune) && emit_rune(r, rune);
}

/* One piece; *ret_start: where its instructions begin, so that a repetition finds them. \Qab\E*
 * repeats the b only. */
static bool parse_atom(struct re *r)
{
    struct rune_set s = {0};
    switch (re_peek(r, 0)) {
    case '(':
        return parse_group(r);
    case '[':
        r->i++;
        return re_parse_class(r);
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
        return re_emit_set(r, &s);
    case '^':
        r->i++;
        return emit_assert(r, r->flags & RE_LINES ? ASSERT_BEGIN_LINE : ASSERT_BEGIN_TEXT);
    case '$':
        r->i++;
        return emit_assert(r, r->flags & RE_LINES ? ASSERT_END_LINE : ASSERT_END_TEXT);
    default:
        return emit_rune(r, str_utf8_get(r->s, &r->i));
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
        return re_wrong(r, "invalid repeat count", from, r->i), -1;
    return 1;
}

static bool repeat(struct re *r, uint32_t start, int min, int max, bool lazy)
{
    uint32_t len = r->n - start;
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
    if (max == 0) {
        r->n = start;
        return true;
    }
    unsigned copies = (unsigned)(max == -1 ? min : max), must = (unsigned)min;
    if (!room(r, (copies - 1) * len + (copies - must)))
        return false;
    /* The first copy is the piece itself, behind a split when it may be left out. */
    if (min == 0 && !insert(r, start, split(lazy, 1, (int32_t)(copies * (len + 1)))))
        return false;
    const struct inst *piece = r->v + start + (min == 0);
    for (unsigned k = 1; k < copies; k++) {
        if (k >= must) /* each of these may end it all */
            r->v[r->n++] = split(lazy, 1, (int32_t)((copies - k) * (len + 1)));
        memcpy(r->v + r->n, piece, len * sizeof *piece);
        r->n += len;
    }
    return max != -1 || emit(r, split(lazy, -(int32_t)len, 1)); /* the last again and again */
}

static bool parse_repeat(struct re *r, uint32_t start, bool nothing, bool *ret_repeated)
{
    int min = 0, max = -1;
    size_t from = r->i;
    char c = re_peek(r, 0);
    *ret_repeated = false;
    if (c == '{' && re_more(r)) {
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
        return re_wrong(r, "missing argument to repetition operator", from, r->i);
    bool lazy = r->flags & RE_LAZY;
    if (re_peek(r, 0) == '?' && re_more(r)) {
        lazy = !lazy;
        r->i++;
    }
    *ret_repeated = true;
    return repeat(r, start, min, max, lazy);
}

static bool parse_sequence(struct re *r)
{
    bool nothing = true;
    while (re_more(r) && re_peek(r, 0) != '|' && re_peek(r, 0) != ')') {
        uint32_t start = r->n;
        size_t from = r->i;
        bool again = false, quoted = re_peek(r, 0) == '\\' && re_peek(r, 1) == 'Q';
        char c = re_peek(r, 0);
        if (c == '*' || c == '+' || c == '?')
            return re_wrong(r, "missing argument to repetition operator", from, from + 1);
        bool flags_only = c == '(' && re_peek(r, 1) == '?';
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
            if (re_peek(r, 0) == '{' && r->i == second && re_more(r)) { /* text */
                r->i++;
                if (!emit_rune(r, '{'))
                    return false;
            }
        }
    }
    return true;
}

/* a|b|c: split to a or, behind it, to (split to b or to c). What comes behind is known when all
 * are read: until then the jumps there are a list, each with the distance to the one before. */
static bool parse_alternatives(struct re *r)
{
    uint32_t last = r->n, jumps = 0, first_jump = UINT32_MAX;
    unsigned flags = r->flags;
    if (!parse_sequence(r))
        return false;
    while (re_more(r) && re_peek(r, 0) == '|') {
        r->i++;
        if (!insert(r, last, split(false, 1, (int32_t)(r->n - last) + 2)))
            return false;
        uint32_t back = first_jump == UINT32_MAX ? 0 : r->n - jumps;
        first_jump = MIN(first_jump, r->n);
        jumps = r->n;
        if (!emit(r, (struct inst){INST_JUMP, back, 0, NULL}))
            return false;
        last = r->n;
        if (!parse_sequence(r))
            return false;
    }
    for (uint32_t back = 1; first_jump != UINT32_MAX && back; jumps -= back) {
        back = r->v[jumps].x;
        r->v[jumps].x = r->n - jumps;
    }
    if (r->nest)
        r->flags = flags;
    return true;
}

/* The program in its arena, targets absolute. */
static struct regex *finished(const struct re *r)
{
    struct regex *re = ARENA_NEW(r->out, struct regex);
    struct inst *v = ARENA_NEW_N(r->out, struct inst, r->n);
    memcpy(v, r->v, r->n * sizeof *v);
    *re = (struct regex){.v = v, .n = r->n, .first_byte = -1};
    re->bytes = sizeof *re + r->n * sizeof *v + r->set_bytes;
    for (uint32_t i = 0; i < re->n; i++) {
        if (v[i].op == INST_SPLIT || v[i].op == INST_JUMP) {
            v[i].x += i;
            v[i].y = v[i].op == INST_SPLIT ? v[i].y + i : 0;
            ASSERT(v[i].x < re->n && v[i].y < re->n);
        }
    }
    re->anchored = v[0].op == INST_ASSERT && v[0].x == ASSERT_BEGIN_TEXT;
    if (v[0].op == INST_RANGE && v[0].x == v[0].y && v[0].x < 128)
        re->first_byte = (int)v[0].x;
    return re;
}

struct regex *regex_new(struct str pattern, struct arena *a, struct str *ret_why)
{
    struct arena tmp = {0};
    struct re r = {.a = &tmp, .out = a, .s = pattern};
    struct regex *re = NULL;
    bool ok;
    if (pattern.n > REGEX_BYTES_MAX)
        ok = re_wrong(&r, "expression too large", 0, 0);
    else if (!str_utf8_valid(pattern))
        ok = re_wrong(&r, "invalid UTF-8", 0, 0);
    else
        ok = parse_alternatives(&r);
    if (ok && re_more(&r))
        ok = re_wrong(&r, "unexpected )", 0, pattern.n);
    if (ok && emit(&r, (struct inst){.op = INST_MATCH}))
        re = finished(&r);
    else
        *ret_why = r.what.n ? arena_printf(a, "error parsing regexp: %s: `%.*s`", r.why,
                                           (int)MIN(r.what.n, 200), r.what.p)
                            : arena_printf(a, "error parsing regexp: %s", r.why);
    arena_fini(&tmp);
    return re;
}

size_t regex_bytes(const struct regex *re)
{
    return re->bytes;
}
