/* Tokens to a tree, by recursive descent; macros are recognized as their calls close (macro.c).
 * Depth is counted twice: how far the parser itself recurses, and how deep the tree gets, since a
 * long sum nests to the left without any recursion here, and everything behind walks the tree by
 * recursion. Chains of && and || are balanced, as cel-go does, so that long rules are no deep ones.
 */
#include <errno.h>
#include <stdarg.h>

#include "cel/internal.h"

#define LIST_MAX 10000 /* arguments, elements, terms of one node */

struct parser {
    struct compile *c;
    struct lexer lexer;
    struct token k; /* the one looked at */
    unsigned nest;
    bool failed;
};

static struct node *parse_expr(struct parser *p);

void cel_finding(struct compile *c, uint32_t pos, const char *fmt, ...)
{
    if (c->n_findings++ >= CEL_FINDINGS_MAX)
        return;
    unsigned line = 1;
    size_t from = 0, column = 0;
    for (size_t i = 0; i < pos && i < c->text.n; i++) {
        if (c->text.p[i] == '\n') {
            line++;
            from = i + 1;
        }
    }
    size_t to = from;
    while (to < c->text.n && c->text.p[to] != '\n')
        to++;
    column = cel_utf8_count(str_sub(c->text, from, pos));
    if (c->out.n)
        buf_add_char(&c->out, '\n');
    buf_printf(&c->out, "ERROR: <input>:%u:%zu: ", line, column + 1);
    char msg[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    buf_add_utf8(&c->out, (struct str){msg, n < (int)sizeof msg ? (size_t)n : sizeof msg - 1},
                 sizeof msg);
    struct str src = str_sub(c->text, from, to);
    buf_add_lit(&c->out, "\n | ");
    buf_add_utf8(&c->out, src, 1024);
    buf_add_lit(&c->out, "\n | ");
    for (size_t i = 0; i < column && i < 1024; i++)
        buf_add_char(&c->out, '.');
    buf_add_char(&c->out, '^');
}

struct node *cel_node(struct compile *c, enum node_op op, uint32_t pos, uint32_t n)
{
    struct node *v = ARENA_NEW(c->a, struct node);
    c->n_nodes++;
    v->op = (uint8_t)op;
    v->pos = pos;
    v->n = n;
    v->kids = n ? ARENA_NEW_N(c->a, struct node *, n) : NULL;
    return v;
}

static void next(struct parser *p)
{
    p->k = cel_lex(&p->lexer);
    if (p->k.type == TOKEN_BAD)
        p->failed = true;
}
static bool is(const struct parser *p, const char *op)
{
    return p->k.type == TOKEN_OP && str_eqz(p->k.text, op);
}
static bool take(struct parser *p, const char *op)
{
    if (!is(p, op))
        return false;
    next(p);
    return true;
}
static struct node *fail(struct parser *p, uint32_t pos, const char *why)
{
    if (!p->failed)
        cel_finding(p->c, pos, "Syntax error: %s", why);
    p->failed = true;
    return NULL;
}
static struct node *unexpected(struct parser *p, const char *wanted)
{
    if (!p->failed) {
        if (p->k.type == TOKEN_END)
            cel_finding(p->c, p->k.pos, "Syntax error: mismatched input '<EOF>' expecting %s",
                        wanted);
        else
            cel_finding(p->c, p->k.pos, "Syntax error: mismatched input '%.*s' expecting %s",
                        (int)MIN(p->k.text.n, 64), p->k.text.p, wanted);
    }
    p->failed = true;
    return NULL;
}
static bool want(struct parser *p, const char *op)
{
    if (take(p, op))
        return true;
    char quoted[8];
    (void)snprintf(quoted, sizeof quoted, "'%s'", op);
    unexpected(p, quoted);
    return false;
}

/* Sets the depth from the kids'. */
static struct node *done(struct parser *p, struct node *v)
{
    unsigned depth = 0;
    for (uint32_t i = 0; i < v->n; i++)
        depth = MAX(depth, v->kids[i]->depth);
    v->depth = (uint16_t)(depth + 1);
    if (v->depth > CEL_DEPTH_MAX)
        return fail(p, v->pos, "expression recursion limit exceeded");
    if (p->c->n_nodes > CEL_NODES_MAX)
        return fail(p, v->pos, "expression has too many parts");
    return v;
}

struct kids {
    struct node *small[8], **v;
    bool *opt;
    uint32_t n, cap;
};
static bool kid_add(struct parser *p, struct kids *k, struct node *v, bool opt)
{
    if (!v)
        return false;
    if (k->n == k->cap) {
        if (k->n >= LIST_MAX)
            return fail(p, v->pos, "too many elements"), false;
        uint32_t cap = k->cap ? k->cap * 2 : 8;
        struct node **nv = ARENA_NEW_N(p->c->a, struct node *, cap);
        bool *no = ARENA_NEW_N(p->c->a, bool, cap);
        if (k->n) {
            memcpy(nv, k->v, k->n * sizeof *nv);
            memcpy(no, k->opt, k->n * sizeof *no);
        }
        k->v = nv;
        k->opt = no;
        k->cap = cap;
    }
    k->opt[k->n] = opt;
    k->v[k->n++] = v;
    return true;
}
static struct node *with_kids(struct parser *p, enum node_op op, uint32_t pos, struct kids *k)
{
    struct node *v = cel_node(p->c, op, pos, 0);
    v->kids = k->v;
    v->n = k->n;
    for (uint32_t i = 0; i < k->n; i++)
        if (k->opt[i])
            v->opt = k->opt;
    return done(p, v);
}

static struct node *call_n(struct parser *p, const char *name, uint32_t pos, struct node *a,
                           struct node *b)
{
    if (!a || p->failed)
        return NULL;
    struct node *v = cel_node(p->c, NODE_CALL, pos, b ? 2 : 1);
    v->name = str_z(name);
    v->kids[0] = a;
    if (b)
        v->kids[1] = b;
    return done(p, v);
}

/* "(" is taken; up to ")" */
static bool parse_args(struct parser *p, struct kids *k)
{
    if (take(p, ")"))
        return true;
    do {
        if (!kid_add(p, k, parse_expr(p), false))
            return false;
    } while (take(p, ","));
    return want(p, ")");
}

static struct node *parse_list(struct parser *p, uint32_t pos)
{
    struct kids k = {0};
    while (!is(p, "]")) {
        bool opt = take(p, "?");
        if (!kid_add(p, &k, parse_expr(p), opt))
            return NULL;
        if (!take(p, ","))
            break;
    }
    return want(p, "]") ? with_kids(p, NODE_LIST, pos, &k) : NULL;
}

static struct node *parse_map(struct parser *p, uint32_t pos)
{
    struct kids k = {0};
    while (!is(p, "}")) {
        bool opt = take(p, "?");
        if (!kid_add(p, &k, parse_expr(p), opt) || !want(p, ":") ||
            !kid_add(p, &k, parse_expr(p), false))
            return NULL;
        if (!take(p, ","))
            break;
    }
    return want(p, "}") ? with_kids(p, NODE_MAP, pos, &k) : NULL;
}

static struct node *constant(struct parser *p, uint32_t pos, struct cel_value value)
{
    struct node *v = cel_node(p->c, NODE_CONST, pos, 0);
    v->value = value;
    return done(p, v);
}

static struct node *parse_number(struct parser *p, bool negative, uint32_t pos)
{
    struct token k = p->k;
    const char *text = arena_printf(p->c->a, "%s%.*s", negative ? "-" : "", STR_ARG(k.text)).p;
    char *end;
    bool is_hex = k.text.n > 1 && (k.text.p[1] == 'x' || k.text.p[1] == 'X');
    next(p);
    errno = 0;
    if (k.type == TOKEN_DOUBLE) {
        double d = strtod(text, &end);
        if (d > 1.7976931348623157e308 || d < -1.7976931348623157e308)
            return fail(p, pos, "invalid double literal");
        return constant(p, pos, cel_double(d));
    }
    if (k.type == TOKEN_UINT) {
        if (negative)
            return fail(p, pos, "invalid uint literal");
        unsigned long long u = strtoull(text, &end, is_hex ? 16 : 10);
        return errno ? fail(p, pos, "invalid uint literal") : constant(p, pos, cel_uint(u));
    }
    long long i = strtoll(text, &end, is_hex ? 16 : 10);
    return errno ? fail(p, pos, "invalid int literal") : constant(p, pos, cel_int(i));
}

static bool reserved(struct str s)
{
    static const char *const words[] = {
        "as",  "break", "const",   "continue",  "else",   "for", "function", "if",    "import",
        "let", "loop",  "package", "namespace", "return", "var", "void",     "while", "in",
    };
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (str_eqz(s, words[i]))
            return true;
    return false;
}

static struct node *parse_ident(struct parser *p)
{
    bool absolute = take(p, ".");
    struct token k = p->k;
    if (k.type != TOKEN_IDENT)
        return unexpected(p, "IDENTIFIER");
    next(p);
    if (!absolute) {
        if (str_is(k.text, "true") || str_is(k.text, "false"))
            return constant(p, k.pos, cel_bool(str_is(k.text, "true")));
        if (str_is(k.text, "null"))
            return constant(p, k.pos, cel_null());
    }
    if (reserved(k.text)) {
        char why[64];
        (void)snprintf(why, sizeof why, "reserved identifier: %.*s", STR_ARG(k.text));
        return fail(p, k.pos, why);
    }
    if (take(p, "(")) {
        struct kids args = {0};
        if (!parse_args(p, &args))
            return NULL;
        struct node *v = with_kids(p, NODE_CALL, k.pos, &args);
        if (!v)
            return NULL;
        v->name = k.text;
        v = cel_macro(p->c, v);
        return v ? done(p, v) : fail(p, k.pos, "invalid macro");
    }
    struct node *v = cel_node(p->c, NODE_IDENT, k.pos, 0);
    v->name = k.text;
    v->flags |= absolute ? NODE_ABSOLUTE : 0;
    return done(p, v);
}

static struct node *parse_primary(struct parser *p)
{
    struct token k = p->k;
    switch (k.type) {
    case TOKEN_INT:
    case TOKEN_UINT:
    case TOKEN_DOUBLE:
        return parse_number(p, false, k.pos);
    case TOKEN_STRING:
        next(p);
        return constant(p, k.pos, cel_string(k.text));
    case TOKEN_BYTES:
        next(p);
        return constant(p, k.pos, cel_bytes(k.text));
    case TOKEN_IDENT:
        return parse_ident(p);
    case TOKEN_OP:
        if (is(p, "."))
            return parse_ident(p);
        if (take(p, "(")) {
            struct node *v = parse_expr(p);
            return v && want(p, ")") ? v : NULL;
        }
        if (take(p, "["))
            return parse_list(p, k.pos);
        if (take(p, "{"))
            return parse_map(p, k.pos);
        break;
    case TOKEN_END:
    case TOKEN_BAD:
        break;
    }
    return unexpected(p, "an expression");
}

/* ".name", ".?name", ".name(args)"; the dot is taken. */
static struct node *parse_dot(struct parser *p, struct node *left, uint32_t pos)
{
    bool opt = take(p, "?");
    struct token k = p->k;
    if (k.type != TOKEN_IDENT || str_is(k.text, "in") || str_is(k.text, "true") ||
        str_is(k.text, "false") || str_is(k.text, "null"))
        return unexpected(p, "IDENTIFIER");
    next(p);
    if (!opt && is(p, "(")) {
        uint32_t open = p->k.pos;
        struct kids args = {0};
        next(p);
        if (!kid_add(p, &args, left, false) || !parse_args(p, &args))
            return NULL;
        struct node *v = with_kids(p, NODE_CALL, open, &args);
        if (!v)
            return NULL;
        v->flags |= NODE_MEMBER;
        v->name = k.text;
        v = cel_macro(p->c, v);
        return v ? done(p, v) : fail(p, k.pos, "invalid macro");
    }
    struct node *v = cel_node(p->c, NODE_SELECT, pos, 1);
    v->kids[0] = left;
    v->name = v->field = k.text;
    v->flags |= opt ? NODE_OPT : 0;
    return done(p, v);
}

/* a.b.c, which is then the name of a type. */
static struct str message_name(struct parser *p, const struct node *v)
{
    if (v->op == NODE_IDENT)
        return v->name;
    if (v->op != NODE_SELECT || v->flags & (NODE_TEST | NODE_OPT))
        return STR_NONE;
    struct str head = message_name(p, v->kids[0]);
    return head.p ? arena_printf(p->c->a, "%.*s.%.*s", STR_ARG(head), STR_ARG(v->name)) : head;
}

/* "{" is taken. */
static struct node *parse_message(struct parser *p, uint32_t pos, struct str name)
{
    struct kids k = {0};
    while (!is(p, "}")) {
        bool opt = take(p, "?");
        struct token field = p->k;
        struct str text;
        if (field.type != TOKEN_IDENT || !cel_unescape(field.text, p->c->a, &text))
            return unexpected(p, "IDENTIFIER");
        next(p);
        if (!kid_add(p, &k, constant(p, field.pos, cel_string(text)), opt) || !want(p, ":") ||
            !kid_add(p, &k, parse_expr(p), false))
            return NULL;
        if (!take(p, ","))
            break;
    }
    if (!want(p, "}"))
        return NULL;
    struct node *v = with_kids(p, NODE_MESSAGE, pos, &k);
    if (v)
        v->name = name;
    return v;
}

static struct node *parse_member(struct parser *p)
{
    struct node *v = parse_primary(p);
    while (v && !p->failed) {
        uint32_t pos = p->k.pos;
        if (take(p, ".")) {
            v = parse_dot(p, v, pos);
        } else if (take(p, "[")) {
            bool opt = take(p, "?");
            struct node *i = parse_expr(p);
            if (!i || !want(p, "]"))
                return NULL;
            v = call_n(p, opt ? "_[?_]" : "_[_]", pos, v, i);
        } else if (is(p, "{") && (v->op == NODE_IDENT || v->op == NODE_SELECT)) {
            struct str name = message_name(p, v);
            if (!name.p || !(p->c->env->flags & CEL_ENV_MUTATION))
                return fail(p, pos, "messages are not made here: only maps and lists");
            next(p);
            v = parse_message(p, v->pos, name);
        } else {
            break;
        }
    }
    return p->failed ? NULL : v;
}

static struct node *parse_unary(struct parser *p)
{
    uint32_t pos = p->k.pos;
    const char *op = is(p, "!") ? "!" : is(p, "-") ? "-" : NULL;
    unsigned n = 0;
    if (!op)
        return parse_member(p);
    for (; take(p, op); n++)
        ;
    /* A sign belongs to the literal behind it: the smallest int cannot be written otherwise. */
    if (*op == '-' && n % 2 && (p->k.type == TOKEN_INT || p->k.type == TOKEN_DOUBLE)) {
        struct parser back = *p;
        struct node *v = parse_number(p, true, pos);
        if (!v)
            return NULL;
        if (!is(p, ".") && !is(p, "["))
            return v;
        *p = back;
    }
    struct node *v = parse_member(p);
    return n % 2 == 0 ? v : call_n(p, *op == '!' ? "!_" : "-_", pos, v, NULL);
}

static const struct binary {
    const char *op, *name;
    uint8_t level;
} BINARY[] = {
    {"<", "_<_", 0},   {"<=", "_<=_", 0}, {">=", "_>=_", 0}, {">", "_>_", 0},
    {"==", "_==_", 0}, {"!=", "_!=_", 0}, {"in", "@in", 0},  {"+", "_+_", 1},
    {"-", "_-_", 1},   {"*", "_*_", 2},   {"/", "_/_", 2},   {"%", "_%_", 2},
};

static struct node *parse_binary(struct parser *p, unsigned level)
{
    struct node *v = level == 3 ? parse_unary(p) : parse_binary(p, level + 1);
    while (level < 3 && v && !p->failed) {
        const struct binary *b = NULL;
        for (unsigned i = 0; i < ARRAY_LEN(BINARY) && !b; i++)
            if (BINARY[i].level == level && (p->k.type == TOKEN_OP || p->k.type == TOKEN_IDENT) &&
                str_eqz(p->k.text, BINARY[i].op))
                b = &BINARY[i];
        if (!b)
            break;
        uint32_t pos = p->k.pos;
        next(p);
        struct node *right = parse_binary(p, level + 1);
        v = right ? call_n(p, b->name, pos, v, right) : NULL;
    }
    return p->failed ? NULL : v;
}

static struct node *balance(struct parser *p, enum node_op op, struct kids *k, uint32_t from,
                            uint32_t to)
{
    if (to - from == 1)
        return k->v[from];
    uint32_t middle = from + (to - from + 1) / 2;
    struct node *a = balance(p, op, k, from, middle), *b = balance(p, op, k, middle, to);
    if (!a || !b)
        return NULL;
    struct node *v = cel_node(p->c, op, b->pos, 2);
    v->kids[0] = a;
    v->kids[1] = b;
    return done(p, v);
}

/* level 0: ||, 1: && */
static struct node *parse_logic(struct parser *p, unsigned level)
{
    const char *op = level ? "&&" : "||";
    struct kids k = {0};
    do {
        if (!kid_add(p, &k, level ? parse_binary(p, 0) : parse_logic(p, 1), false))
            return NULL;
    } while (take(p, op));
    return balance(p, level ? NODE_AND : NODE_OR, &k, 0, k.n);
}

static struct node *parse_expr(struct parser *p)
{
    struct node *v = NULL;
    if (p->failed)
        return NULL;
    if (++p->nest > CEL_NEST_MAX) {
        fail(p, p->k.pos, "expression recursion limit exceeded: 250");
    } else if ((v = parse_logic(p, 0))) {
        uint32_t pos = p->k.pos;
        if (take(p, "?")) {
            struct node *cond = cel_node(p->c, NODE_COND, pos, 3);
            cond->kids[0] = v;
            cond->kids[1] = parse_logic(p, 0);
            if (!cond->kids[1] || !want(p, ":") || !(cond->kids[2] = parse_expr(p)))
                v = NULL;
            else
                v = done(p, cond);
        }
    }
    p->nest--;
    return p->failed ? NULL : v;
}

struct node *cel_parse(struct compile *c)
{
    struct parser p = {.c = c, .lexer = {.c = c}};
    next(&p);
    struct node *v = parse_expr(&p);
    if (v && p.k.type != TOKEN_END)
        unexpected(&p, "<EOF>");
    return p.failed || c->n_findings ? NULL : v;
}
