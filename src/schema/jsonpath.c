/* See jsonpath.h. A path is compiled to an array of steps; finding walks them by recursion, one
 * level a step. */
#include "schema/jsonpath.h"

enum step_kind { STEP_MEMBER, STEP_INDEX, STEP_ALL, STEP_FILTER };

struct step {
    enum step_kind kind;
    bool negated;             /* filter: != */
    bool there;               /* filter: the member is there, whatever it is */
    struct str name;          /* member; filter: the path below @, dotted */
    int64_t index;            /* from the end when negative */
    const struct json *value; /* filter */
};

struct jsonpath {
    struct step steps[JSONPATH_STEPS_MAX];
    size_t n;
};

struct parser {
    struct str s;
    size_t i;
    struct arena *a;
    const char *why;
};

static bool eat(struct parser *p, struct str t)
{
    if (!str_starts(str_sub(p->s, p->i, p->s.n), t))
        return false;
    p->i += t.n;
    return true;
}

/* A name up to one of the characters that end it; a backslash takes the next one as it is. */
static struct str name(struct parser *p, const char *ends)
{
    char *out = arena_alloc(p->a, p->s.n - p->i + 1);
    size_t n = 0;
    for (; p->i < p->s.n && !strchr(ends, p->s.p[p->i]); p->i++) {
        if (p->s.p[p->i] == '\\' && p->i + 1 < p->s.n)
            p->i++;
        out[n++] = p->s.p[p->i];
    }
    out[n] = '\0';
    return (struct str){out, n};
}

static struct str quoted(struct parser *p, char quote)
{
    const char ends[2] = {quote, 0};
    struct str s = name(p, ends);
    if (p->i == p->s.n)
        p->why = "unterminated quoted string";
    p->i++;
    return s;
}

/* Behind "?(": @.a.b == VALUE ")" or @.a.b ")". */
static void filter(struct parser *p, struct step *st)
{
    st->kind = STEP_FILTER;
    while (eat(p, STR(" "))) {
    }
    if (!eat(p, STR("@"))) {
        p->why = "a filter must begin with @";
        return;
    }
    (void)eat(p, STR("."));
    st->name = name(p, " =!<>)&|");
    while (eat(p, STR(" "))) {
    }
    if (eat(p, STR(")"))) {
        st->there = true;
        return;
    }
    st->negated = eat(p, STR("!="));
    if (!st->negated && !eat(p, STR("=="))) {
        p->why = "a filter may compare by == and != only";
        return;
    }
    while (eat(p, STR(" "))) {
    }
    struct json *v = NULL;
    if (eat(p, STR("\""))) {
        v = json_new_str(p->a, quoted(p, '"'));
    } else if (eat(p, STR("'"))) {
        v = json_new_str(p->a, quoted(p, '\''));
    } else {
        struct str t = str_trim(name(p, ")"));
        if (json_parse(t, p->a, NULL, &v, NULL) < 0)
            p->why = "a filter compares with a string, number or boolean";
    }
    st->value = v;
    while (eat(p, STR(" "))) {
    }
    if (!p->why && !eat(p, STR(")")))
        p->why = "a filter may have one comparison only";
}

static void bracket(struct parser *p, struct step *st)
{
    if (eat(p, STR("*")) || eat(p, STR(":"))) {
        st->kind = STEP_ALL;
    } else if (eat(p, STR("?("))) {
        filter(p, st);
    } else if (eat(p, STR("'"))) {
        st->name = quoted(p, '\'');
    } else if (eat(p, STR("\""))) {
        st->name = quoted(p, '"');
    } else {
        st->kind = STEP_INDEX;
        if (str_to_i64(name(p, "]"), &st->index) < 0)
            p->why = "an index must be a number";
    }
    if (!p->why && !eat(p, STR("]")))
        p->why = "unterminated array";
}

const struct jsonpath *jsonpath_compile(struct str text, struct arena *a, const char **ret_why)
{
    struct jsonpath *out = ARENA_NEW(a, struct jsonpath);
    struct parser p = {.s = text, .a = a};
    *ret_why = NULL;
    if (eat(&p, STR("{"))) /* as kubectl writes them */
        p.s.n -= p.s.n && p.s.p[p.s.n - 1] == '}';
    (void)eat(&p, STR("$"));
    while (p.i < p.s.n && !p.why) {
        struct step *st = &out->steps[out->n];
        if (out->n == JSONPATH_STEPS_MAX) {
            p.why = "it has too many steps";
        } else if (eat(&p, STR(".."))) {
            p.why = "recursive descent is not supported";
        } else if (eat(&p, STR("["))) {
            bracket(&p, st);
            out->n++;
        } else if (eat(&p, STR("."))) {
            if (p.i == p.s.n || p.s.p[p.i] == '[') /* .status.list.[0] */
                continue;
            st->name = name(&p, ".[");
            if (str_is(st->name, "*"))
                st->kind = STEP_ALL;
            out->n++;
        } else {
            p.why = "it must begin with a dot";
        }
    }
    if (!p.why && !out->n && !text.n)
        p.why = "it is empty";
    *ret_why = p.why;
    return p.why ? NULL : out;
}

bool jsonpath_is_plain(const struct jsonpath *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i].kind != STEP_MEMBER || !p->steps[i].name.n)
            return false;
    return p->n > 0;
}

struct str jsonpath_member(const struct jsonpath *p, size_t n)
{
    return n < p->n ? p->steps[n].name : STR_NONE;
}

/* ---- finding ---- */

struct find {
    const struct jsonpath *p;
    jsonpath_fn fn;
    void *arg;
    unsigned left;
};

static const struct json *below(const struct json *v, struct str path)
{
    struct str part;
    while (v && (str_cut(&path, '.', &part) || part.n))
        v = json_get(v, part);
    return v;
}

static bool passes(const struct step *st, const struct json *v)
{
    const struct json *m = below(v, st->name);
    if (st->there)
        return m != NULL;
    return m && json_equal(m, st->value) != st->negated;
}

static void find(struct find *f, size_t i, const struct json *v)
{
    if (!f->left)
        return;
    if (i == f->p->n) {
        f->left--;
        f->fn(f->arg, v);
        return;
    }
    const struct step *st = &f->p->steps[i];
    bool many = v->type == JSON_ARR || v->type == JSON_OBJ;
    switch (st->kind) {
    case STEP_MEMBER:
        v = json_get(v, st->name);
        if (v)
            find(f, i + 1, v);
        return;
    case STEP_INDEX:
        if (v->type != JSON_ARR)
            return;
        v = json_at(v, (size_t)(st->index < 0 ? st->index + v->n : st->index));
        if (v)
            find(f, i + 1, v);
        return;
    case STEP_ALL:
    case STEP_FILTER:
        for (const struct json *c = many ? v->first : NULL; c && f->left; c = c->next)
            if (st->kind == STEP_ALL || passes(st, c))
                find(f, i + 1, c);
        return;
    }
}

void jsonpath_find(const struct jsonpath *p, const struct json *root, jsonpath_fn fn, void *arg)
{
    struct find f = {.p = p, .fn = fn, .arg = arg, .left = JSONPATH_HITS_MAX};
    find(&f, 0, root);
}

static void take_first(void *arg, const struct json *v)
{
    const struct json **ret = arg;
    if (!*ret)
        *ret = v;
}

const struct json *jsonpath_first(const struct jsonpath *p, const struct json *root)
{
    const struct json *v = NULL;
    struct find f = {.p = p, .fn = take_first, .arg = &v, .left = 1};
    find(&f, 0, root);
    return v;
}
