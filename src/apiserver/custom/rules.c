/* Evaluating rules. The object is walked along the nodes that have rules, with its former value
 * beside it as far as one can be told: members by name, items of lists that are maps by their keys,
 * nothing below other lists and atomic maps. A rule that fails for a value that has not changed is
 * a warning, unless it speaks of the change. */
#include "apiserver/custom/rules_int.h"

#include "base/buf.h"
#include "base/map.h"

#define VALUE_BYTES_MAX    200 /* of a value in a message */
#define RULES_WARNINGS_MAX 16  /* of unchanged values; a reply has no place for many more */

struct frame { /* where in the object */
    const struct frame *up;
    const struct json *v;
    struct str name; /* absent: an index */
    uint32_t index;
    bool is_key;
};

struct run {
    const struct rules_object *o;
    struct structural_same *same; /* owned; NULL: nobody has asked yet */
    struct error *err;
    struct warnings *warnings;
    uint64_t left; /* of CEL_COST_OBJECT_MAX */
    bool stopped;
    struct arena scratch; /* of one rule */
};

/* ---- words ---- */

static void frame_print(const struct frame *at, struct buf *b)
{
    if (!at)
        return;
    frame_print(at->up, b);
    if (!at->name.p)
        buf_printf(b, "[%u]", at->index);
    else if (at->is_key)
        buf_printf(b, "[%.*s]", STR_ARG(at->name));
    else
        buf_printf(b, "%s%.*s", b->n ? "." : "", STR_ARG(at->name));
}

/* What was refused: a plain value as it is; of others nothing, since they may be large. */
static void value_print(const struct json *v, struct buf *b)
{
    if (v->type >= JSON_ARR)
        return;
    buf_add_lit(b, ": ");
    json_print(v, b);
    if (b->n > VALUE_BYTES_MAX)
        buf_clear(b);
}

/* It, or something it is in, is as it was. */
static bool unchanged(struct run *r, const struct json *v, const struct frame *at)
{
    if (!r->o->old)
        return false;
    if (!r->same)
        r->same = structural_same_new(r->o->schema, r->o->now, r->o->old);
    for (; at; at = at->up)
        if (structural_same_has(r->same, at->v))
            return true;
    return structural_same_has(r->same, v);
}

static void say(struct run *r, bool warn, const char *type, struct str path, struct str what)
{
    if (!warn) {
        (void)error_cause(r->err, type, path, "%.*s", STR_ARG(what));
    } else if (r->warnings->n < RULES_WARNINGS_MAX) {
        struct warnings *w = r->warnings;
        if (!w->v)
            w->v = ARENA_NEW_N(w->a, struct str, RULES_WARNINGS_MAX);
        w->v[w->n++] = arena_printf(w->a, "%.*s: %.*s", STR_ARG(path), STR_ARG(what));
    }
}

/* A rule that said no, by the cause it asks for. */
static void failed(struct run *r, const struct rule *rule, const struct json *v,
                   const struct frame *at, struct str why)
{
    struct buf path = {0}, value = {0}, what = {0};
    frame_print(at, &path);
    if (rule->field.n)
        buf_add_str(&path, path.n ? rule->field : str_sub(rule->field, 1, rule->field.n));
    value_print(v, &value);
    struct str p = path.n ? buf_str(&path) : STR("<nil>");
    if (strcmp(rule->cause, CAUSE_FORBIDDEN) == 0)
        buf_printf(&what, "Forbidden: %.*s", STR_ARG(why));
    else if (strcmp(rule->cause, CAUSE_REQUIRED) == 0)
        buf_printf(&what, "Required value: %.*s", STR_ARG(why));
    else if (strcmp(rule->cause, CAUSE_DUPLICATE) == 0)
        buf_printf(&what, "Duplicate value%.*s", STR_ARG(buf_str(&value)));
    else
        buf_printf(&what, "Invalid value%.*s: %.*s", STR_ARG(buf_str(&value)), STR_ARG(why));
    say(r, !rule->uses_old && unchanged(r, v, at), rule->cause, p, buf_str(&what));
    buf_fini(&path);
    buf_fini(&value);
    buf_fini(&what);
}

/* A rule that could not say. */
static void refuse(struct run *r, const struct rule_node *n, const struct frame *at, struct str why)
{
    struct buf path = {0};
    frame_print(at, &path);
    (void)error_cause(r->err, CAUSE_INVALID, path.n ? buf_str(&path) : STR("<nil>"),
                      "Invalid value: \"%s\": %.*s", n->type_text, STR_ARG(why));
    buf_fini(&path);
}

/* ---- one rule ---- */

static bool spend(struct run *r, uint64_t cost)
{
    r->stopped = cost > r->left;
    r->left -= MIN(cost, r->left);
    return !r->stopped;
}

static const char OUT_OF_BUDGET[] = "validation failed due to running out of cost budget, no "
                                    "further validation rules will be run";

/* What messageExpression makes, if that is a line of text; else message; else the rule itself. */
static struct str words_of(struct run *r, const struct rule *rule, const struct cel_input *in)
{
    struct cel_result res;
    if (rule->message_program) {
        cel_eval(rule->message_program, in, &r->scratch, &res);
        (void)spend(r, res.cost);
        if (res.outcome == CEL_OUTCOME_VALUE && res.value.type == CEL_STRING) {
            struct str s = str_trim(res.value.s);
            if (s.n && s.n <= CEL_MESSAGE_BYTES_MAX && str_find(s, '\n') < 0)
                return s;
        }
    }
    if (rule->message.n)
        return rule->message;
    return arena_printf(&r->scratch, "failed rule: %.*s", STR_ARG(rule->text));
}

static void could_not(struct run *r, const struct rule_node *n, const struct rule *rule,
                      const struct frame *at, const struct cel_result *res)
{
    struct str about = rule->message.n ? rule->message : rule->text, why;
    r->stopped = res->outcome == CEL_OUTCOME_CANCELLED;
    if (r->stopped)
        why = arena_printf(&r->scratch,
                           "'%.*s': no further validation rules will be run due to call cost "
                           "exceeds limit for rule: %.*s",
                           STR_ARG(res->message), STR_ARG(about));
    else if (str_starts(res->message, STR("no such overload")))
        why = arena_printf(&r->scratch,
                           "'%.*s': call arguments did not match a supported operator, function "
                           "or macro signature for rule: %.*s",
                           STR_ARG(res->message), STR_ARG(about));
    else
        why = arena_printf(&r->scratch, "%.*s evaluating rule: %.*s", STR_ARG(res->message),
                           STR_ARG(about));
    refuse(r, n, at, why);
}

static void rule_run(struct run *r, const struct rule_node *n, const struct rule *rule,
                     const struct json *v, const struct json *old, const struct frame *at)
{
    struct cel_value vars[2] = {0}, former;
    struct cel_input in = {.vars = vars, .n_vars = ARRAY_LEN(vars)};
    struct cel_result res;
    if (rule->broken.p) {
        refuse(r, n, at,
               arena_printf(&r->scratch, "rule compile error: %.*s", STR_ARG(rule->broken)));
        return;
    }
    if (rule->uses_old && !old && !rule->old_is_optional)
        return;
    vars[RULE_SELF] = cel_json(v, n->type, &r->scratch);
    if (old)
        former = cel_json(old, n->type, &r->scratch);
    if (rule->old_is_optional)
        vars[RULE_OLD_SELF] = cel_optional(old ? &former : NULL);
    else if (old)
        vars[RULE_OLD_SELF] = former;
    cel_eval(rule->program, &in, &r->scratch, &res);
    if (!spend(r, res.cost))
        refuse(r, n, at, str_z(OUT_OF_BUDGET));
    else if (res.outcome != CEL_OUTCOME_VALUE)
        could_not(r, n, rule, at, &res);
    else if (!(res.value.type == CEL_BOOL && res.value.b))
        failed(r, rule, v, at, words_of(r, rule, &in));
}

/* ---- the walk ---- */

static void walk(struct run *r, const struct rule_node *n, const struct json *v,
                 const struct json *old, const struct frame *at);

/* Of an item of a list that is a map; into b. */
static bool item_key(const struct rule_node *list, const struct json *item, struct buf *b)
{
    buf_clear(b);
    for (uint32_t i = 0; i < list->n_list_keys; i++) {
        const struct json *k = json_get(item, list->list_keys[i]);
        if (k)
            json_print(k, b);
        buf_add_char(b, '\n'); /* JSON has none */
    }
    return item->type == JSON_OBJ;
}

static void items_walk(struct run *r, const struct rule_node *n, const struct json *v,
                       const struct json *old, const struct frame *at)
{
    struct frame below = {.up = at, .v = v};
    struct map former = {0};
    struct arena keys = {0};
    struct buf key = {0};
    bool by_key = n->n_list_keys && json_is(old, JSON_ARR);
    if (by_key)
        json_for_each(o, old) if (item_key(n, o, &key))(void)
            map_set(&former, arena_str(&keys, buf_str(&key)), o);
    json_for_each(e, v)
    {
        if (r->stopped)
            break;
        const struct json *o =
            by_key && item_key(n, e, &key) ? map_get(&former, buf_str(&key)) : NULL;
        walk(r, n->items, e, o, &below);
        below.index++;
    }
    map_fini(&former);
    arena_fini(&keys);
    buf_fini(&key);
}

static void members_walk(struct run *r, const struct rule_node *n, const struct json *v,
                         const struct json *old, const struct frame *at)
{
    struct map former = {0};
    if (n->atomic)
        old = NULL;
    for (uint32_t i = 0; i < n->n_members && !r->stopped; i++) {
        struct frame below = {.up = at, .v = v, .name = n->members[i].name};
        const struct json *m = json_get(v, below.name);
        if (m)
            walk(r, n->members[i].node, m, json_get(old, below.name), &below);
    }
    if (!n->additional)
        return;
    if (json_is(old, JSON_OBJ))
        json_for_each(o, old)(void) map_set(&former, o->key, o);
    json_for_each(m, v)
    {
        struct frame below = {.up = at, .v = v, .name = m->key, .is_key = true};
        if (r->stopped)
            break;
        walk(r, n->additional, m, map_get(&former, m->key), &below);
    }
    map_fini(&former);
}

static void walk(struct run *r, const struct rule_node *n, const struct json *v,
                 const struct json *old, const struct frame *at)
{
    if (v->type == JSON_NULL) /* whoever cares asks from above */
        return;
    if (old && old->type == JSON_NULL)
        old = NULL;
    for (uint32_t i = 0; i < n->n_rules && !r->stopped; i++) {
        rule_run(r, n, n->rules[i], v, old, at);
        arena_clear(&r->scratch);
    }
    if (r->stopped)
        return;
    if (n->items && v->type == JSON_ARR)
        items_walk(r, n, v, old, at);
    else if (v->type == JSON_OBJ)
        members_walk(r, n, v, old, at);
}

void rules_validate(const struct rules *rules, const struct rules_object *o, struct error *err,
                    struct warnings *w)
{
    struct run r = {.o = o, .err = err, .warnings = w, .left = CEL_COST_OBJECT_MAX};
    walk(&r, rules->root, o->now, o->old, NULL);
    structural_same_free(r.same);
    arena_fini(&r.scratch);
}
