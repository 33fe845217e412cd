/* From the rules of a schema to programs. The schema has been found structural; it is walked as
 * JSON, with the type of each place beside it, so types are made once for all of its rules. One
 * walk serves both ends: with an error it judges a definition (types, words, estimated cost), and
 * without it makes what is evaluated. */
#include "apiserver/custom/rules_int.h"

#include "api/types.gen.h"
#include "base/buf.h"
#include "base/mem.h"

#define UNBOUND UINT64_MAX

struct at { /* where in the schema */
    const struct at *up;
    const char *word;
    struct str key; /* present: [key] behind the word */
    bool no_former; /* oldSelf cannot be told here */
};

struct compiler {
    struct rules *rules;
    struct arena *a;
    struct str path;
    struct error *err; /* NULL: nobody asks */
    uint64_t total;    /* estimated cost of all rules */
    uint32_t n_rules;
};

/* ---- words ---- */

static void at_print(const struct compiler *c, const struct at *at, struct buf *b)
{
    if (!at) {
        buf_add_str(b, c->path);
        return;
    }
    at_print(c, at->up, b);
    buf_printf(b, ".%s", at->word);
    if (at->key.p)
        buf_printf(b, "[%.*s]", STR_ARG(at->key));
}

static void cause(struct compiler *c, const struct at *at, uint32_t i, const char *member,
                  const char *type, const char *words, const struct json *value, struct str why)
{
    struct buf path = {0}, text = {0};
    if (!c->err)
        return;
    at_print(c, at, &path);
    buf_printf(&path, ".x-kubernetes-validations[%u].%s", i, member);
    buf_add_str(&text, str_z(words));
    buf_add_lit(&text, ": ");
    if (value) {
        json_print(value, &text);
        buf_add_lit(&text, ": ");
    }
    buf_add_str(&text, why);
    (void)error_cause(c->err, type, buf_str(&path), "%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&path);
    buf_fini(&text);
}

static void invalid(struct compiler *c, const struct at *at, uint32_t i, const char *member,
                    const struct json *value, struct str why)
{
    cause(c, at, i, member, CAUSE_INVALID, "Invalid value", value, why);
}

static struct str too_dear(struct compiler *c, const char *what, uint64_t cost, uint64_t max)
{
    double by = (double)cost / (double)max;
    char factor[32];
    if (by > 100)
        snprintf(factor, sizeof(factor), "more than 100x");
    else
        snprintf(factor, sizeof(factor), by < 1.5 ? "%fx" : "%.1fx", by);
    return arena_printf(c->a,
                        "%s exceeds budget by factor of %s (try simplifying the rule, or adding "
                        "maxItems, maxProperties, and maxLength where arrays, maps, and strings "
                        "are declared)",
                        what, factor);
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* ---- one rule ---- */

static bool field_path(struct compiler *c, const struct json *schema, struct str text,
                       struct str *ret)
{
    struct buf b = {0};
    bool ok = true;
    while (ok && text.n) {
        struct str name = STR_NONE;
        size_t end = 1;
        if (str_starts(text, STR("['"))) {
            ssize_t close = str_search(text, STR("']"));
            ok = close >= 2;
            name = ok ? str_sub(text, 2, (size_t)close) : name;
            end = ok ? (size_t)close + 2 : end;
        } else if (text.p[0] == '.') {
            while (end < text.n && text.p[end] != '.' && text.p[end] != '[')
                end++;
            name = str_sub(text, 1, end);
        }
        const struct json *m = json_get(json_getz(schema, "properties"), name);
        const struct json *more = json_getz(schema, "additionalProperties");
        ok = ok && name.n && (m || json_is(more, JSON_OBJ));
        if (ok)
            buf_printf(&b, m ? ".%.*s" : "[%.*s]", STR_ARG(name));
        schema = m ? m : more;
        text = str_sub(text, end, text.n);
    }
    if (ok)
        *ret = arena_str(c->a, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static void read_words(struct compiler *c, struct rule *r, const struct json *schema,
                       const struct json *v, const struct at *at, uint32_t i)
{
    static const char *const causes[] = {CAUSE_INVALID, CAUSE_FORBIDDEN, CAUSE_REQUIRED,
                                         CAUSE_DUPLICATE};
    const struct json *message = json_getz(v, "message"), *reason = json_getz(v, "reason"),
                      *path = json_getz(v, "fieldPath");
    r->cause = CAUSE_INVALID;
    if (json_is(message, JSON_STR)) {
        r->message = arena_str(c->a, str_trim(message->s));
        if (message->s.n && !r->message.n)
            invalid(c, at, i, "message", message, STR("message must be non-empty if specified"));
        else if (str_find(r->message, '\n') >= 0)
            invalid(c, at, i, "message", message, STR("message must not contain line breaks"));
    } else if (str_find(r->text, '\n') >= 0 && !json_getz(v, "messageExpression")) {
        cause(c, at, i, "message", CAUSE_REQUIRED, "Required value", NULL,
              STR("message must be specified if rule contains line breaks"));
    }
    if (json_is(reason, JSON_STR) && reason->s.n) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(causes); k++)
            if (str_eqz(reason->s, causes[k])) {
                r->cause = causes[k];
                known = true;
            }
        if (!known)
            cause(c, at, i, "reason", CAUSE_NOT_SUPPORTED, "Unsupported value", reason,
                  STR("supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", "
                      "\"FieldValueInvalid\", \"FieldValueRequired\""));
    }
    if (json_is(path, JSON_STR) && path->s.n && !field_path(c, schema, path->s, &r->field))
        invalid(c, at, i, "fieldPath", path,
                STR("fieldPath must be a valid path: does not refer to a valid field"));
}

/* Estimates go by how often a value can be there. */
static void estimate(struct compiler *c, const struct rule_node *n, const struct cel_program *p,
                     const char *member, const char *what, uint64_t often, const struct at *at,
                     uint32_t i)
{
    if (often == UNBOUND)
        often = CEL_REQUEST_BYTES_MAX / (n->type->min_json + 1);
    uint64_t cost = times(cel_program_cost(p).max, often);
    c->total = plus(c->total, cost);
    if (cost > CEL_COST_ESTIMATE_MAX)
        cause(c, at, i, member, CAUSE_FORBIDDEN, "Forbidden", NULL,
              too_dear(c, what, cost, CEL_COST_ESTIMATE_MAX));
}

static struct cel_program *compile(struct compiler *c, struct rule *r, struct str text,
                                   enum cel_kind want, struct str *ret_why)
{
    struct cel_program *p;
    struct error err = {0};
    if (cel_compile(r->env, text, NULL, &p, &err) < 0) {
        *ret_why = arena_printf(c->a, "compilation failed: %.*s", STR_ARG(err.message));
        p = NULL;
    } else if (cel_program_type(p)->kind != want) {
        *ret_why = want == CEL_BOOL ? STR("cel expression must evaluate to a bool")
                                    : STR("messageExpression must evaluate to a string");
        p = cel_program_free(p);
    }
    error_fini(&err);
    return p;
}

static void compile_message(struct compiler *c, struct rule *r, const struct rule_node *n,
                            const struct json *v, uint64_t often, const struct at *at, uint32_t i)
{
    const struct json *text = json_getz(v, "messageExpression");
    struct str why = STR_NONE;
    if (!json_is(text, JSON_STR) || !text->s.n)
        return;
    if (!str_trim(text->s).n) {
        invalid(c, at, i, "messageExpression", text,
                STR("messageExpression must be non-empty if specified"));
        return;
    }
    r->message_program = compile(c, r, text->s, CEL_STRING, &why);
    if (!r->message_program)
        invalid(c, at, i, "messageExpression", v,
                str_starts(why, STR("compilation"))
                    ? arena_printf(c->a, "messageExpression %.*s", STR_ARG(why))
                    : why);
    else
        estimate(c, n, r->message_program, "messageExpression", "estimated messageExpression cost",
                 often, at, i);
}

static void check_former(struct compiler *c, const struct rule *r, const struct json *v,
                         const struct at *at, uint32_t i)
{
    const struct json *text = json_getz(v, "rule"), *opt = json_getz(v, "optionalOldSelf");
    const struct at *where = at;
    while (where && !where->no_former)
        where = where->up;
    if (r->uses_old && where) {
        struct buf b = {0};
        at_print(c, where->up, &b);
        invalid(c, at, i, "rule", text,
                arena_printf(c->a,
                             "oldSelf cannot be used on the uncorrelatable portion of the schema "
                             "within %.*s",
                             STR_ARG(buf_str(&b))));
        buf_fini(&b);
    } else if (opt && opt->type == JSON_BOOL && !r->uses_old) {
        invalid(c, at, i, "optionalOldSelf", opt,
                STR("may not be set if oldSelf is not used in rule"));
    }
}

static struct rule *rule_new(struct compiler *c, const struct rule_node *n,
                             const struct json *schema, const struct json *v, uint64_t often,
                             const struct at *at, uint32_t i)
{
    struct rule *r = ARENA_NEW(c->a, struct rule);
    const struct json *text = json_getz(v, "rule"), *opt = json_getz(v, "optionalOldSelf");
    struct str given = json_is(text, JSON_STR) ? text->s : STR("");
    r->next = c->rules->all;
    c->rules->all = r;
    r->text = arena_str(c->a, str_trim(given));
    if (++c->n_rules > RULES_MAX) {
        r->broken = STR("the schema has more than 10000 rules");
        if (c->n_rules == RULES_MAX + 1) /* said once */
            cause(c, at, i, "rule", CAUSE_TOO_MANY, "Too many", NULL, r->broken);
        return r;
    }
    r->old_is_optional = json_is(opt, JSON_BOOL) && opt->b;
    r->env = cel_env_new(0);
    (void)cel_env_var(r->env, "self", n->type);
    (void)cel_env_var(r->env, "oldSelf",
                      r->old_is_optional ? cel_type_optional(r->env, n->type) : n->type);
    read_words(c, r, schema, v, at, i);
    if (!r->text.n) {
        r->broken = STR("rule is not specified");
        cause(c, at, i, "rule", CAUSE_REQUIRED, "Required value", NULL, r->broken);
        return r;
    }
    r->program = compile(c, r, given, CEL_BOOL, &r->broken);
    if (!r->program) {
        invalid(c, at, i, "rule", v, r->broken);
    } else {
        r->uses_old = cel_program_uses(r->program, RULE_OLD_SELF);
        check_former(c, r, v, at, i);
        estimate(c, n, r->program, "rule", "estimated rule cost", often, at, i);
    }
    compile_message(c, r, n, v, often, at, i);
    return r;
}

/* ---- the walk ---- */

/* Parts of value rules (allOf and so on) have no rules in CEL. */
static bool in_parts(const struct json *v, unsigned depth)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(lists) && depth < RULES_DEPTH_MAX; i++) {
        const struct json *m = json_get(v, str_z(lists[i]));
        if (json_is(m, JSON_ARR))
            json_for_each(e, m) found |=
                json_getz(e, "x-kubernetes-validations") || in_parts(e, depth + 1);
    }
    const struct json *no = json_getz(v, "not");
    return found || (no && (json_getz(no, "x-kubernetes-validations") || in_parts(no, depth + 1)));
}

static void check_parts(struct compiler *c, const struct json *v, const struct at *at)
{
    struct buf path = {0};
    if (!c->err || !in_parts(v, 0))
        return;
    at_print(c, at, &path);
    (void)error_cause(c->err, CAUSE_FORBIDDEN, buf_str(&path),
                      "Forbidden: x-kubernetes-validations must be empty in allOf, anyOf, oneOf "
                      "and not to be structural");
    buf_fini(&path);
}

static const struct cel_type *type_of_member(struct compiler *c, const struct cel_type *t,
                                             struct str name, const struct json *schema)
{
    const struct cel_type *m =
        t->kind == CEL_OBJECT && t->provider->known ? t->provider->known(t, name) : NULL;
    if (m || cel_type_of_openapi(c->rules->env, schema, &m, NULL) >= 0)
        return m;
    return cel_type_of(CEL_DYN);
}

static const struct cel_type *type_of_elem(const struct cel_type *t)
{
    return t->elem ? t->elem : cel_type_of(CEL_DYN);
}

/* How many values there may be below one of a list or map. */
static uint64_t elements(const struct json *schema, const char *limit, uint64_t often)
{
    const struct json *max = json_get(schema, str_z(limit));
    return often == UNBOUND || !json_is(max, JSON_INT) || max->i < 0
               ? UNBOUND
               : times(often, (uint64_t)max->i);
}

static struct rule_node *place(struct compiler *c, const struct json *v, const struct cel_type *t,
                               uint64_t often, unsigned depth, const struct at *at);

static bool members(struct compiler *c, struct rule_node *n, const struct json *v, uint64_t often,
                    unsigned depth, const struct at *at)
{
    const struct json *props = json_getz(v, "properties");
    const struct json *more = json_getz(v, "additionalProperties");
    n->atomic = str_is(json_get_str(v, STR("x-kubernetes-map-type")), "atomic");
    if (json_is(props, JSON_OBJ) && props->n) {
        n->members = ARENA_NEW_N(c->a, struct rule_member, props->n);
        json_for_each(p, props)
        {
            struct at below = {at, "properties", p->key, n->atomic};
            struct rule_node *x =
                place(c, p, type_of_member(c, n->type, p->key, p), often, depth + 1, &below);
            if (x)
                n->members[n->n_members++] = (struct rule_member){arena_str(c->a, p->key), x};
        }
    }
    if (json_is(more, JSON_OBJ)) {
        struct at below = {at, "additionalProperties", STR_NONE, n->atomic};
        n->additional = place(c, more, type_of_elem(n->type), elements(v, "maxProperties", often),
                              depth + 1, &below);
    }
    return n->n_members || n->additional;
}

static bool items(struct compiler *c, struct rule_node *n, const struct json *v, uint64_t often,
                  unsigned depth, const struct at *at)
{
    const struct json *e = json_getz(v, "items"),
                      *keys = json_getz(v, "x-kubernetes-list-map-keys");
    if (!json_is(e, JSON_OBJ))
        return false;
    if (str_is(json_get_str(v, STR("x-kubernetes-list-type")), "map") && json_is(keys, JSON_ARR)) {
        n->list_keys = ARENA_NEW_N(c->a, struct str, keys->n + 1);
        json_for_each(k, keys) if (k->type == JSON_STR) n->list_keys[n->n_list_keys++] =
            arena_str(c->a, k->s);
    }
    struct at below = {at, "items", STR_NONE, n->n_list_keys == 0};
    n->items =
        place(c, e, type_of_elem(n->type), elements(v, "maxItems", often), depth + 1, &below);
    return n->items != NULL;
}

static struct rule_node *place(struct compiler *c, const struct json *v, const struct cel_type *t,
                               uint64_t often, unsigned depth, const struct at *at)
{
    static const char *const texts[] = {"object", "array",   "string", "integer",
                                        "number", "boolean", NULL};
    const struct json *list = json_getz(v, "x-kubernetes-validations");
    struct rule_node *n;
    if (!json_is(v, JSON_OBJ) || depth > RULES_DEPTH_MAX)
        return NULL;
    n = ARENA_NEW(c->a, struct rule_node);
    check_parts(c, v, at);
    n->type = t;
    n->type_text = "";
    for (const char *const *x = texts; *x; x++)
        if (str_eqz(json_get_str(v, STR("type")), *x))
            n->type_text = *x;
    if (json_is(list, JSON_ARR) && list->n) {
        n->rules = ARENA_NEW_N(c->a, struct rule *, list->n);
        json_for_each(r, list)
        {
            n->rules[n->n_rules] = rule_new(c, n, v, r, often, at, n->n_rules);
            n->n_rules++;
        }
    }
    bool below = members(c, n, v, often, depth, at);
    below |= items(c, n, v, often, depth, at);
    return below || n->n_rules ? n : NULL;
}

struct rules *rules_new(const struct json *schema, struct str path, struct error *err)
{
    struct rules *rules = NEW(struct rules);
    struct compiler c = {.rules = rules, .a = &rules->arena, .path = path, .err = err};
    const struct cel_type *t = cel_type_of(CEL_DYN);
    rules->env = cel_env_new(0);
    struct json *root = json_clone(schema, &rules->arena);
    /* the whole object has apiVersion, kind and a name, whatever the schema says */
    json_set(root, STR("x-kubernetes-embedded-resource"), json_new_bool(&rules->arena, true));
    (void)!cel_type_of_openapi(rules->env, root, &t, NULL);
    rules->root = place(&c, root, t, 1, 0, NULL);
    if (c.err && c.total > CEL_COST_CRD_MAX)
        (void)error_cause(c.err, CAUSE_FORBIDDEN, path, "Forbidden: %.*s",
                          STR_ARG(too_dear(&c,
                                           "x-kubernetes-validations estimated rule cost total for "
                                           "entire OpenAPIv3 schema",
                                           c.total, CEL_COST_CRD_MAX)));
    if (rules->root)
        return rules;
    rules_free(rules);
    return NULL;
}

void rules_free(void *p)
{
    struct rules *rules = p;
    if (!rules)
        return;
    for (struct rule *r = rules->all; r; r = r->next) {
        cel_program_free(r->program);
        cel_program_free(r->message_program);
        cel_env_free(r->env);
    }
    cel_env_free(rules->env);
    arena_fini(&rules->arena);
    free(rules);
}

/* ---- definitions ---- */

typedef struct api_custom_resource_definition crd_t;

static struct str schema_of(const crd_t *crd, uint32_t i)
{
    const struct api_custom_resource_validation *s = crd->spec.versions[i].schema;
    return s && s->open_apiv3_schema.n ? s->open_apiv3_schema : STR("");
}

static bool is_as_it_was(const crd_t *crd, uint32_t i, const crd_t *old)
{
    for (uint32_t k = 0; old && k < old->spec.n_versions; k++)
        if (str_eq(old->spec.versions[k].name, crd->spec.versions[i].name))
            return str_eq(schema_of(old, k), schema_of(crd, i));
    return false;
}

void rules_check(const crd_t *crd, const crd_t *old, struct error *err)
{
    bool same = true; /* as api/crd.c names the place */
    for (uint32_t i = 1; i < crd->spec.n_versions; i++)
        same &= str_eq(schema_of(crd, i), schema_of(crd, 0));
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        struct arena a = {0};
        struct json *tree;
        if ((same && i > 0) || is_as_it_was(crd, i, old) ||
            str_search(schema_of(crd, i), STR("\"x-kubernetes-validations\"")) < 0)
            continue;
        struct str path = arena_printf(&a, "spec.versions[%u].schema.openAPIV3Schema", i);
        if (json_parse(schema_of(crd, i), &a, NULL, &tree, NULL) >= 0)
            rules_free(rules_new(tree, same ? STR("spec.validation.openAPIV3Schema") : path, err));
        arena_fini(&a);
    }
}
