/* Label selectors. Three spellings (text, struct, map) become one array of requirements, because
 * everything that selects -- list, watch, controllers, Services, affinity -- should pay one small,
 * predictable price per object: labels are sorted, so each requirement is a binary search.
 *
 * The text form follows the grammar of Kubernetes' apimachinery (labels.Parse), including its lexer
 * that takes the longest known operator, and the words of its errors, which scripts match on. */
#include "schema/select.h"

#include "codec/values.h"
#include "schema/schema.h"

enum token {
    T_END,
    T_ERROR,
    T_IDENT,
    T_IN,
    T_NOT_IN,
    T_CLOSE,
    T_OPEN,
    T_COMMA,
    T_NOT,
    T_EQ,
    T_EQEQ,
    T_NE,
    T_GT,
    T_LT,
};

struct lexer {
    struct str text;
    size_t at;
    enum token tok; /* the token ahead, and where it is and ends */
    struct str lit;
    size_t next;
    bool ahead;
};

struct parser {
    struct lexer lex;
    struct arena *arena;
    struct error *err;
    struct str values[SELECT_VALUES_MAX];
    uint32_t n_values;
};

static const struct {
    const char *text;
    enum token tok;
} SPECIALS[] = {{")", T_CLOSE}, {",", T_COMMA}, {"!", T_NOT}, {"==", T_EQEQ}, {"=", T_EQ},
                {">", T_GT},    {"<", T_LT},    {"!=", T_NE}, {"(", T_OPEN}};

static bool is_special(char c)
{
    return c != '\0' && strchr("=!(),><", c) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum token special_token(struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(SPECIALS); i++)
        if (str_eqz(s, SPECIALS[i].text))
            return SPECIALS[i].tok;
    return T_END;
}

static void lex_scan(struct lexer *l)
{
    struct str t = l->text;
    size_t p = l->at;
    while (p < t.n && is_space(t.p[p]))
        p++;
    size_t start = p;
    if (p >= t.n) {
        l->tok = T_END;
        l->lit = STR("");
    } else if (is_special(t.p[p])) {
        size_t best = 0;
        l->tok = T_END;
        for (size_t n = 1; n <= 2 && start + n <= t.n && is_special(t.p[start + n - 1]); n++) {
            enum token tok = special_token((struct str){t.p + start, n});
            if (tok != T_END)
                l->tok = tok, best = n;
        }
        ASSERT(best > 0); /* every special character alone is a token */
        p = start + best;
        l->lit = (struct str){t.p + start, best};
    } else {
        while (p < t.n && !is_special(t.p[p]) && !is_space(t.p[p]))
            p++;
        l->lit = (struct str){t.p + start, p - start};
        l->tok = str_is(l->lit, "in") ? T_IN : str_is(l->lit, "notin") ? T_NOT_IN : T_IDENT;
    }
    l->next = p;
    l->ahead = true;
}

/* in_values: `in` and `notin` are plain words here. */
static enum token lex_peek(struct lexer *l, bool in_values)
{
    if (!l->ahead)
        lex_scan(l);
    if (in_values && (l->tok == T_IN || l->tok == T_NOT_IN))
        return T_IDENT;
    return l->tok;
}

static enum token lex_take(struct lexer *l, bool in_values, struct str *ret_lit)
{
    enum token tok = lex_peek(l, in_values);
    *ret_lit = l->lit;
    l->at = l->next;
    l->ahead = false;
    return tok;
}

static int check_key(struct str key, struct error *err)
{
    const char *fault = schema_format_check(SCHEMA_FORMAT_QUALIFIED_NAME, key);
    if (!fault)
        return 0;
    return error_set(err, REASON_BAD_REQUEST, "key: Invalid value: \"%.*s\": %s", STR_ARG(key),
                     fault);
}

static int check_value(struct str key, struct str v, uint32_t i, struct error *err)
{
    const char *fault = schema_format_check(SCHEMA_FORMAT_LABEL_VALUE, v);
    if (!fault)
        return 0;
    return error_set(err, REASON_BAD_REQUEST, "values[%u][%.*s]: Invalid value: \"%.*s\": %s", i,
                     STR_ARG(key), STR_ARG(v), fault);
}

static int cmp_value(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Sorted, each once. */
static void sort_values(struct str *v, uint32_t *n)
{
    uint32_t out = 0;
    if (*n > 1)
        qsort(v, *n, sizeof(*v), cmp_value);
    for (uint32_t i = 0; i < *n; i++)
        if (out == 0 || !str_eq(v[out - 1], v[i]))
            v[out++] = v[i];
    *n = out;
}

/* Checks and copies one requirement; values are sorted in place first. */
static int make_req(struct arena *a, struct str key, enum select_op op, struct str *values,
                    uint32_t n, struct select_req *ret, struct error *err)
{
    if (check_key(key, err) < 0)
        return -EINVAL;
    sort_values(values, &n);
    int64_t number = 0;
    if ((op == SELECT_IN || op == SELECT_NOT_IN) && n == 0)
        return error_set(
            err, REASON_BAD_REQUEST,
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be "
            "empty");
    if ((op == SELECT_EXISTS || op == SELECT_NOT_EXISTS) && n > 0)
        return error_set(
            err, REASON_BAD_REQUEST,
            "values: Invalid value: values set must be empty for exists and does not exist");
    if (op == SELECT_GT || op == SELECT_LT) {
        if (n != 1)
            return error_set(
                err, REASON_BAD_REQUEST,
                "values: Invalid value: for 'Gt', 'Lt' operators, exactly one value is "
                "required");
        if (str_to_i64(values[0], &number) < 0)
            return error_set(
                err, REASON_BAD_REQUEST,
                "values[0]: Invalid value: \"%.*s\": for 'Gt', 'Lt' operators, the value "
                "must be an integer",
                STR_ARG(values[0]));
    }
    for (uint32_t i = 0; i < n; i++)
        if (check_value(key, values[i], i, err) < 0)
            return -EINVAL;
    *ret = (struct select_req){.key = arena_str(a, key), .op = op, .n_values = n, .number = number};
    ret->values = n ? ARENA_NEW_N(a, struct str, n) : NULL;
    for (uint32_t i = 0; i < n; i++)
        ret->values[i] = arena_str(a, values[i]);
    return 0;
}

static int unexpected(struct parser *p, struct str lit, const char *expected)
{
    return error_set(p->err, REASON_BAD_REQUEST, "found '%.*s', expected: %s", STR_ARG(lit),
                     expected);
}

static int add_value(struct parser *p, struct str v)
{
    if (p->n_values == SELECT_VALUES_MAX)
        return error_set(p->err, REASON_BAD_REQUEST, "too many values (the limit is %d)",
                         SELECT_VALUES_MAX);
    p->values[p->n_values++] = v;
    return 0;
}

/* The inside of "( ... )"; an empty place stands for the empty value. */
static int parse_identifiers(struct parser *p)
{
    for (;;) {
        struct str lit;
        enum token tok = lex_take(&p->lex, true, &lit);
        if (tok == T_IDENT) {
            if (add_value(p, lit) < 0)
                return -EINVAL;
            enum token after = lex_peek(&p->lex, true);
            if (after == T_CLOSE)
                return 0;
            if (after != T_COMMA)
                return unexpected(p, p->lex.lit, "',' or ')'");
        } else if (tok == T_COMMA) {
            if (p->n_values == 0 && add_value(p, STR("")) < 0)
                return -EINVAL;
            enum token after = lex_peek(&p->lex, true);
            if (after == T_CLOSE)
                return add_value(p, STR(""));
            if (after == T_COMMA) {
                (void)lex_take(&p->lex, true, &lit);
                if (add_value(p, STR("")) < 0)
                    return -EINVAL;
            }
        } else {
            return unexpected(p, lit, "',', or identifier");
        }
    }
}

static int parse_values(struct parser *p)
{
    struct str lit;
    if (lex_take(&p->lex, true, &lit) != T_OPEN)
        return error_set(p->err, REASON_BAD_REQUEST, "found '%.*s' expected: '('", STR_ARG(lit));
    enum token tok = lex_peek(&p->lex, true);
    if (tok == T_CLOSE) {
        (void)lex_take(&p->lex, true, &lit);
        return 0;
    }
    if (tok != T_IDENT && tok != T_COMMA)
        return unexpected(p, p->lex.lit, "',', ')' or identifier");
    if (parse_identifiers(p) < 0)
        return -EINVAL;
    if (lex_take(&p->lex, true, &lit) != T_CLOSE)
        return unexpected(p, lit, "')'");
    return 0;
}

static int parse_exact_value(struct parser *p)
{
    struct str lit;
    enum token tok = lex_peek(&p->lex, true);
    if (tok == T_END || tok == T_COMMA)
        return add_value(p, STR(""));
    if (lex_take(&p->lex, true, &lit) == T_IDENT)
        return add_value(p, lit);
    return unexpected(p, lit, "identifier");
}

static int parse_operator(struct parser *p, enum select_op *ret)
{
    struct str lit;
    switch (lex_take(&p->lex, false, &lit)) {
    case T_IN:
    case T_EQ:
    case T_EQEQ:
        *ret = SELECT_IN;
        break;
    case T_NOT_IN:
    case T_NE:
        *ret = SELECT_NOT_IN;
        break;
    case T_GT:
        *ret = SELECT_GT;
        break;
    case T_LT:
        *ret = SELECT_LT;
        break;
    default:
        return unexpected(p, lit, "in, notin, =, ==, !=, gt, lt");
    }
    return str_is(lit, "in") || str_is(lit, "notin"); /* 1: a set follows */
}

static int parse_requirement(struct parser *p, struct select_req *ret)
{
    struct str key;
    bool negated = lex_peek(&p->lex, true) == T_NOT;
    if (negated)
        (void)lex_take(&p->lex, true, &key);
    if (lex_take(&p->lex, true, &key) != T_IDENT)
        return unexpected(p, key, "identifier");
    if (check_key(key, p->err) < 0)
        return -EINVAL;
    p->n_values = 0;
    enum token tok = lex_peek(&p->lex, true);
    if (negated)
        return make_req(p->arena, key, SELECT_NOT_EXISTS, NULL, 0, ret, p->err);
    if (tok == T_END || tok == T_COMMA)
        return make_req(p->arena, key, SELECT_EXISTS, NULL, 0, ret, p->err);
    enum select_op op = _SELECT_OP_INVALID;
    int r = parse_operator(p, &op);
    if (r < 0)
        return r;
    r = r == 1 ? parse_values(p) : parse_exact_value(p);
    if (r < 0)
        return r;
    return make_req(p->arena, key, op, p->values, p->n_values, ret, p->err);
}

static int parse_all(struct parser *p, struct select_req *reqs, uint32_t *ret_n)
{
    uint32_t n = 0;
    struct str lit;
    for (;;) {
        enum token tok = lex_peek(&p->lex, true);
        if (tok == T_END)
            break;
        if (tok != T_IDENT && tok != T_NOT)
            return unexpected(p, p->lex.lit, "!, identifier, or 'end of string'");
        if (n == SELECT_REQS_MAX)
            return error_set(p->err, REASON_BAD_REQUEST, "too many requirements (the limit is %d)",
                             SELECT_REQS_MAX);
        if (parse_requirement(p, &reqs[n]) < 0) {
            error_prefix(p->err, "unable to parse requirement");
            return -EINVAL;
        }
        n++;
        tok = lex_take(&p->lex, true, &lit);
        if (tok == T_END)
            break;
        if (tok != T_COMMA)
            return unexpected(p, lit, "',' or 'end of string'");
        tok = lex_peek(&p->lex, true);
        if (tok != T_IDENT && tok != T_NOT)
            return unexpected(p, p->lex.lit, "identifier after ','");
    }
    *ret_n = n;
    return 0;
}

int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret,
                         struct error *err)
{
    ASSERT(a && ret);
    if (str_empty(text)) {
        *ret = (struct label_selector){0};
        return 0;
    }
    struct arena scratch;
    arena_init(&scratch, 0);
    struct parser *p = ARENA_NEW(&scratch, struct parser);
    struct select_req *reqs = ARENA_NEW_N(&scratch, struct select_req, SELECT_REQS_MAX);
    p->lex.text = text;
    p->arena = a;
    p->err = err;
    uint32_t n = 0;
    int r = parse_all(p, reqs, &n);
    if (r == 0) {
        *ret = (struct label_selector){.n_reqs = n};
        ret->reqs = n ? ARENA_NEW_N(a, struct select_req, n) : NULL;
        for (uint32_t i = 0; i < n; i++)
            ret->reqs[i] = reqs[i];
    }
    arena_fini(&scratch);
    return r;
}

static enum select_op op_of(struct str s, bool node)
{
    static const struct {
        const char *text;
        enum select_op op;
        bool node_only;
    } OPS[] = {{"In", SELECT_IN, false},         {"NotIn", SELECT_NOT_IN, false},
               {"Exists", SELECT_EXISTS, false}, {"DoesNotExist", SELECT_NOT_EXISTS, false},
               {"Gt", SELECT_GT, true},          {"Lt", SELECT_LT, true}};
    for (size_t i = 0; i < ARRAY_LEN(OPS); i++)
        if (str_eqz(s, OPS[i].text) && (node || !OPS[i].node_only))
            return OPS[i].op;
    return _SELECT_OP_INVALID;
}

/* One expression; values are copied since make_req sorts them. */
static int compile_expr(struct arena *a, struct str key, struct str operator,
                        const struct str * values, uint32_t n, bool node, struct select_req *ret,
                        struct error *err)
{
    enum select_op op = op_of(operator, node);
    if (op == _SELECT_OP_INVALID)
        return error_set(err, REASON_BAD_REQUEST, "\"%.*s\" is not a valid %s selector operator",
                         STR_ARG(operator), node ? "node" : "label");
    struct str *copy = n ? ARENA_NEW_N(a, struct str, n) : NULL;
    for (uint32_t i = 0; i < n; i++)
        copy[i] = values[i];
    return make_req(a, key, op, copy, n, ret, err);
}

int label_selector_compile(struct arena *a, const struct api_label_selector *s,
                           struct label_selector *ret, struct error *err)
{
    ASSERT(a && ret);
    struct label_selector out = {.nothing = s == NULL};
    size_t n = s ? (size_t)s->n_match_labels + s->n_match_expressions : 0;
    if (n > 0)
        out.reqs = ARENA_NEW_N(a, struct select_req, n);
    for (uint32_t i = 0; s && i < s->n_match_labels; i++) {
        struct str value = s->match_labels[i].value;
        if (make_req(a, s->match_labels[i].key, SELECT_IN, &value, 1, &out.reqs[out.n_reqs++],
                     err) < 0)
            return -EINVAL;
    }
    for (uint32_t i = 0; s && i < s->n_match_expressions; i++) {
        const struct api_label_selector_requirement *e = &s->match_expressions[i];
        if (compile_expr(a, e->key, e->operator, e->values, e->n_values, false,
                         &out.reqs[out.n_reqs++], err) < 0)
            return -EINVAL;
    }
    *ret = out;
    return 0;
}

int label_selector_compile_node(struct arena *a, const struct api_node_selector_requirement *v,
                                uint32_t n, struct label_selector *ret, struct error *err)
{
    struct label_selector out = {.n_reqs = n};
    out.reqs = n ? ARENA_NEW_N(a, struct select_req, n) : NULL;
    for (uint32_t i = 0; i < n; i++)
        if (compile_expr(a, v[i].key, v[i].operator, v[i].values, v[i].n_values, true, &out.reqs[i],
                         err) < 0)
            return -EINVAL;
    *ret = out;
    return 0;
}

void label_selector_from_map(struct arena *a, const struct kv_str *map, uint32_t n,
                             struct label_selector *ret)
{
    *ret = (struct label_selector){.n_reqs = n};
    ret->reqs = n ? ARENA_NEW_N(a, struct select_req, n) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct str *v = ARENA_NEW(a, struct str);
        *v = arena_str(a, map[i].value);
        ret->reqs[i] = (struct select_req){
            .key = arena_str(a, map[i].key), .op = SELECT_IN, .values = v, .n_values = 1};
    }
}

static bool has_value(const struct select_req *r, struct str v)
{
    uint32_t lo = 0, hi = r->n_values;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int c = str_cmp(r->values[mid], v);
        if (c == 0)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

bool select_req_match(const struct select_req *r, const struct kv_str *labels, uint32_t n)
{
    const struct str *v = n ? kv_str_get(labels, n, r->key) : NULL;
    int64_t number;
    switch (r->op) {
    case SELECT_IN:
        return v && has_value(r, *v);
    case SELECT_NOT_IN:
        return !v || !has_value(r, *v);
    case SELECT_EXISTS:
        return v != NULL;
    case SELECT_NOT_EXISTS:
        return v == NULL;
    case SELECT_GT:
        return v && str_to_i64(*v, &number) == 0 && number > r->number;
    case SELECT_LT:
        return v && str_to_i64(*v, &number) == 0 && number < r->number;
    default:
        ASSERT(!"operator of a compiled selector");
        return false;
    }
}

bool label_selector_match(const struct label_selector *s, const struct kv_str *labels, uint32_t n)
{
    if (s->nothing)
        return false;
    for (uint32_t i = 0; i < s->n_reqs; i++)
        if (!select_req_match(&s->reqs[i], labels, n))
            return false;
    return true;
}

static void print_req(struct buf *b, const struct select_req *r)
{
    if (r->op == SELECT_NOT_EXISTS)
        buf_add_char(b, '!');
    buf_add_str(b, r->key);
    if (r->op == SELECT_EXISTS || r->op == SELECT_NOT_EXISTS)
        return;
    if (r->n_values == 1) {
        static const char *const OPS[] = {
            [SELECT_IN] = "=", [SELECT_NOT_IN] = "!=", [SELECT_GT] = ">", [SELECT_LT] = "<"};
        buf_add(b, OPS[r->op], strlen(OPS[r->op]));
        buf_add_str(b, r->values[0]);
        return;
    }
    buf_printf(b, " %s (", r->op == SELECT_IN ? "in" : "notin");
    for (uint32_t i = 0; i < r->n_values; i++) {
        if (i)
            buf_add_char(b, ',');
        buf_add_str(b, r->values[i]);
    }
    buf_add_char(b, ')');
}

static int cmp_req(const void *a, const void *b)
{
    const struct select_req *x = a, *y = b;
    int c = str_cmp(x->key, y->key);
    return c ? c : (int)x->op - (int)y->op;
}

struct str label_selector_print(struct arena *a, const struct label_selector *s)
{
    struct buf b = {0};
    struct select_req *v = ARENA_NEW_N(a, struct select_req, s->n_reqs + 1);
    for (uint32_t i = 0; i < s->n_reqs; i++)
        v[i] = s->reqs[i];
    qsort(v, s->n_reqs, sizeof(*v), cmp_req);
    if (s->nothing)
        buf_add_lit(&b, "<none>");
    for (uint32_t i = 0; i < s->n_reqs; i++) {
        if (i)
            buf_add_char(&b, ',');
        print_req(&b, &v[i]);
    }
    struct str out = arena_str(a, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return out;
}
