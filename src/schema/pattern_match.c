/* Running a program: the set of all places it may be in moves over the text, one character at a
 * time. A place is in the set once, so a character costs at most the size of the program. */
#include "base/mem.h"
#include "schema/pattern_int.h"

#define ON_STACK 256

struct places { /* sparse set: `at` lists, `where` finds */
    uint32_t *at, *where;
    uint32_t n;
};

struct run {
    const struct pattern *p;
    uint32_t *stack;
    bool begin, end, line_begin, line_end, word; /* of the spot between two characters */
};

static bool has(const struct places *s, uint32_t x)
{
    return s->where[x] < s->n && s->at[s->where[x]] == x;
}

static void put(struct places *s, uint32_t x)
{
    s->where[x] = s->n;
    s->at[s->n++] = x;
}

/* Adds a place and all that can be reached from it without a character. True: the end is. */
static bool enter(struct run *r, struct places *s, uint32_t start)
{
    uint32_t n = 0;
    r->stack[n++] = start;
    while (n) {
        uint32_t x = r->stack[--n];
        if (has(s, x))
            continue;
        put(s, x);
        const struct pattern_step *t = &r->p->steps[x];
        bool go = false;
        switch ((enum pattern_op)t->op) {
        case PATTERN_MATCH:
            return true;
        case PATTERN_CLASS:
            break;
        case PATTERN_SPLIT:
            r->stack[n++] = t->y;
            go = true;
            break;
        case PATTERN_JUMP:
            go = true;
            break;
        case PATTERN_BEGIN:
            go = r->begin || (t->multi && r->line_begin);
            break;
        case PATTERN_END:
            go = r->end || (t->multi && r->line_end);
            break;
        case PATTERN_WORD:
            go = r->word;
            break;
        case PATTERN_NO_WORD:
            go = !r->word;
            break;
        }
        if (go)
            r->stack[n++] = t->x;
    }
    return false;
}

static bool in_class(const struct pattern_class *c, uint32_t ch)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (ch >= c->v[i].lo && ch <= c->v[i].hi)
            return !c->negated;
    return c->negated;
}

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Before: the character behind us; now: the one ahead; UINT32_MAX: none. */
static void look(struct run *r, uint32_t before, uint32_t now)
{
    r->begin = before == UINT32_MAX;
    r->end = now == UINT32_MAX;
    r->line_begin = r->begin || before == '\n';
    r->line_end = r->end || now == '\n';
    r->word = (before != UINT32_MAX && is_word(before)) != (now != UINT32_MAX && is_word(now));
}

static bool run(struct run *r, struct places *now, struct places *next, struct str s)
{
    uint32_t before = UINT32_MAX, left = PATTERN_WORK_MAX;
    for (size_t i = 0; i <= s.n;) {
        uint32_t c = i < s.n ? pattern_char(s, &i) : UINT32_MAX;
        look(r, before, c);
        struct places was = *now; /* places behind the last character, not yet looked through */
        now->n = 0;
        struct places *fresh = next;
        fresh->n = 0;
        for (uint32_t k = 0; k < was.n; k++)
            if (enter(r, fresh, was.at[k]))
                return true;
        if (enter(r, fresh, r->p->start))
            return true;
        if (c == UINT32_MAX || left < fresh->n)
            return false;
        left -= fresh->n;
        for (uint32_t k = 0; k < fresh->n; k++) {
            const struct pattern_step *t = &r->p->steps[fresh->at[k]];
            if (t->op == PATTERN_CLASS && in_class(t->class, c) && !has(now, t->x))
                put(now, t->x);
        }
        before = c;
    }
    return false;
}

bool pattern_match(const struct pattern *p, struct str s)
{
    uint32_t few[6 * ON_STACK], *all = few;
    size_t n = p->n;
    if (n > ON_STACK)
        all = xmalloc(6 * n * sizeof(*all));
    memset(all, 0, 4 * n * sizeof(*all));
    struct places now = {all, all + n, 0}, next = {all + 2 * n, all + 3 * n, 0};
    struct run r = {.p = p, .stack = all + 4 * n}; /* a place pushes two at most, once each */
    bool yes = run(&r, &now, &next, s);
    if (all != few)
        free(all);
    return yes;
}
