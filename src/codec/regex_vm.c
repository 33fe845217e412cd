/* The machine: all threads step together through the text, at most one at each instruction, in the
 * order of their preference (Pike's). So the time is text times program, whatever the expression. A
 * thread carries where its match began. */
#include "base/mem.h"
#include "codec/regex_int.h"

struct thread {
    uint32_t pc;
    size_t from;
};
struct threads {
    struct thread *v;
    uint32_t *sparse; /* pc -> place in v */
    uint32_t n;
};

struct vm {
    const struct regex *re;
    struct str text;
    uint32_t *stack;
    uint64_t steps;
};

static bool word_at(struct str t, size_t i)
{
    char c = i < t.n ? t.p[i] : 0;
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool holds(const struct vm *m, uint32_t what, size_t at)
{
    struct str t = m->text;
    bool word = (at > 0 && word_at(t, at - 1)) != word_at(t, at);
    switch ((enum inst_assert)what) {
    case ASSERT_BEGIN_TEXT:
        return at == 0;
    case ASSERT_END_TEXT:
        return at == t.n;
    case ASSERT_BEGIN_LINE:
        return at == 0 || t.p[at - 1] == '\n';
    case ASSERT_END_LINE:
        return at == t.n || t.p[at] == '\n';
    case ASSERT_WORD:
        return word;
    case ASSERT_NOT_WORD:
        return !word;
    }
    return false;
}

static bool has(const struct threads *t, uint32_t pc)
{
    uint32_t k = t->sparse[pc];
    return k < t->n && t->v[k].pc == pc;
}

/* Adds a thread, and those it splits into, in order. The stack holds at most one entry for each
 * instruction and two for those being looked at: each is expanded once. */
static void add(struct vm *m, struct threads *t, uint32_t pc, size_t from, size_t at)
{
    uint32_t n = 0;
    m->stack[n++] = pc;
    while (n) {
        pc = m->stack[--n];
        if (has(t, pc))
            continue;
        m->steps++;
        const struct inst *i = &m->re->v[pc];
        t->sparse[pc] = t->n;
        t->v[t->n++] = (struct thread){pc, from};
        if (i->op == INST_JUMP) {
            m->stack[n++] = i->x;
        } else if (i->op == INST_SPLIT) {
            m->stack[n++] = i->y;
            m->stack[n++] = i->x;
        } else if (i->op == INST_ASSERT && holds(m, i->x, at)) {
            m->stack[n++] = pc + 1;
        }
    }
}

struct found {
    size_t from, to;
    bool yes;
};

/* Steps all threads over one character (rune; at..next), or at the end of the text. */
static void step(struct vm *m, struct threads *now, struct threads *then, uint32_t rune, bool end,
                 size_t at, size_t next, struct found *f)
{
    then->n = 0;
    for (uint32_t k = 0; k < now->n; k++) {
        const struct thread *t = &now->v[k];
        const struct inst *i = &m->re->v[t->pc];
        bool ok = false;
        m->steps++;
        if (i->op == INST_MATCH) {
            *f = (struct found){t->from, at, true};
            break; /* those behind are less preferred */
        }
        if (i->op == INST_RANGE)
            ok = !end && rune >= i->x && rune <= i->y;
        else if (i->op == INST_SET)
            ok = !end && rune_set_has(i->set, rune);
        if (ok)
            add(m, then, t->pc + 1, t->from, next);
    }
}

/* Where a match may begin at the earliest, when no thread is alive. */
static size_t skip(const struct regex *re, struct str text, size_t at)
{
    const char *p;
    if (re->first_byte < 0 || at >= text.n)
        return at;
    p = memchr(text.p + at, re->first_byte, text.n - at);
    return p ? (size_t)(p - text.p) : text.n;
}

static int run(struct vm *m, struct threads *now, struct threads *then, size_t at, uint64_t budget,
               bool any, struct found *f)
{
    const struct regex *re = m->re;
    for (;;) {
        if (now->n == 0) {
            if (f->yes || (re->anchored && at > 0))
                break;
            size_t to = skip(re, m->text, at);
            m->steps += (to - at) / 16;
            at = to;
        }
        if (!f->yes && (!re->anchored || at == 0))
            add(m, now, 0, at, at);
        bool end = at >= m->text.n;
        size_t next = at;
        uint32_t rune = end ? 0 : str_utf8_get(m->text, &next);
        step(m, now, then, rune, end, at, next, f);
        if (m->steps > budget)
            return -ETIME;
        if (end || (any && f->yes))
            break;
        struct threads swap = *now;
        *now = *then;
        *then = swap;
        at = next;
    }
    return f->yes;
}

int regex_find(const struct regex *re, struct str text, size_t at, uint64_t *steps,
               size_t *ret_from, size_t *ret_to)
{
    size_t n = re->n;
    struct found f = {0};
    char *block = xmalloc(n * (2 * sizeof(struct thread) + 2 * sizeof(uint32_t)) +
                          (2 * n + 2) * sizeof(uint32_t));
    struct threads now = {.v = (void *)block}, then = {.v = now.v + n};
    now.sparse = (void *)(then.v + n);
    then.sparse = now.sparse + n;
    memset(now.sparse, 0, 2 * n * sizeof(uint32_t));
    struct vm m = {.re = re, .text = text, .stack = then.sparse + n, .steps = n / 8};
    int r = run(&m, &now, &then, at, *steps, !ret_from, &f);
    *steps = m.steps > *steps ? 0 : *steps - m.steps;
    free(block);
    if (r == 1 && ret_from) {
        *ret_from = f.from;
        *ret_to = f.to;
    }
    return r;
}
