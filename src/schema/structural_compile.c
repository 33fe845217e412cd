/* From the JSON of a schema to nodes. What a Kubernetes server demands of a schema is asked here,
 * so that the walks over objects need not doubt it: every place has a type (or says that anything
 * goes), value rules (allOf and so on) say nothing of types and defaults, and name only places that
 * the skeleton around them has. */
#include "schema/structural_int.h"

#include <stdarg.h>

#define REGEX_REFUSED_BYTES 65536 /* charged for a wrong pattern: reading it was work too */

struct at { /* where in the schema; printed only when something is wrong */
    const struct at *up;
    const char *name; /* NULL: an index or key alone */
    struct str key;   /* present: [key] behind the name */
    int32_t index;    /* -1: none */
};

struct compiler {
    struct structural *s;
    struct arena *a;
    struct str path;
    struct error *err;
    uint32_t n_rule_nodes; /* below the node of the skeleton at hand */
    size_t regex_bytes;    /* of patterns so far */
    int result;
};

static void at_print(const struct compiler *c, const struct at *at, struct buf *b)
{
    if (!at) {
        buf_add_str(b, c->path);
        return;
    }
    at_print(c, at->up, b);
    if (at->name)
        buf_printf(b, "%s%s", b->n ? "." : "", at->name);
    if (at->key.p)
        buf_printf(b, "[%.*s]", STR_ARG(at->key));
    if (at->index >= 0)
        buf_printf(b, "[%d]", at->index);
}

static void cause(struct compiler *c, const struct at *at, const char *child, const char *type,
                  const char *fmt, ...) PRINTF(5, 6);
static void cause(struct compiler *c, const struct at *at, const char *child, const char *type,
                  const char *fmt, ...)
{
    struct buf path = {0};
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    at_print(c, at, &path);
    if (child)
        buf_printf(&path, "%s%s", path.n ? "." : "", child);
    (void)error_cause(c->err, type, buf_str(&path), "%s", text);
    c->result = -EBADMSG;
    buf_fini(&path);
}

static void forbidden(struct compiler *c, const struct at *at, const char *child, const char *why)
{
    cause(c, at, child, CAUSE_FORBIDDEN, "Forbidden: %s", why);
}

/* ---- scalar keywords ---- */

static bool flag(const struct json *v, const char *key)
{
    const struct json *m = json_get(v, str_z(key));
    return json_is(m, JSON_BOOL) && m->b;
}

static bool number(const struct json *v, const char *key, double *ret)
{
    const struct json *m = json_get(v, str_z(key));
    if (json_is(m, JSON_INT))
        *ret = (double)m->i;
    else if (json_is(m, JSON_REAL))
        *ret = m->d;
    else
        return false;
    return true;
}

static int64_t count(struct compiler *c, const struct json *v, const char *key, const struct at *at)
{
    const struct json *m = json_get(v, str_z(key));
    if (!json_is(m, JSON_INT))
        return -1;
    if (m->i >= 0)
        return m->i;
    cause(c, at, key, CAUSE_INVALID, "Invalid value: %lld: must be greater than or equal to 0",
          (long long)m->i);
    return -1;
}

static struct str *strings(struct compiler *c, const struct json *v, const char *key,
                           uint32_t *ret_n)
{
    const struct json *m = json_get(v, str_z(key));
    *ret_n = 0;
    if (!json_is(m, JSON_ARR) || !m->n)
        return NULL;
    struct str *out = ARENA_NEW_N(c->a, struct str, m->n);
    json_for_each(e, m) if (e->type == JSON_STR) out[(*ret_n)++] = e->s;
    return out;
}

static const char *const type_texts[_STRUCTURAL_TYPE_MAX] = {
    "", "object", "array", "string", "integer", "number", "boolean",
};

const char *structural_type_text(const struct structural_node *n)
{
    return type_texts[n->type];
}

static void parse_type(struct compiler *c, struct structural_node *n, const struct json *v,
                       const struct at *at)
{
    struct str t = json_get_str(v, STR("type"));
    if (!t.n)
        return;
    for (unsigned i = STRUCTURAL_OBJECT; i < _STRUCTURAL_TYPE_MAX; i++)
        if (str_eqz(t, type_texts[i])) {
            n->type = (uint8_t)i;
            return;
        }
    cause(c, at, "type", CAUSE_NOT_SUPPORTED,
          "Unsupported value: \"%.*s\": supported values: \"array\", \"boolean\", \"integer\", "
          "\"number\", \"object\", \"string\"",
          STR_ARG(t));
}

static void parse_pattern(struct compiler *c, struct structural_node *n, const struct json *v,
                          const struct at *at)
{
    struct str why;
    n->pattern_text = json_get_str(v, STR("pattern"));
    if (!n->pattern_text.n)
        return;
    if (c->regex_bytes > STRUCTURAL_REGEX_MAX)
        return;
    n->pattern = regex_new(n->pattern_text, c->a, &why);
    c->regex_bytes += n->pattern ? regex_bytes(n->pattern) : REGEX_REFUSED_BYTES;
    if (c->regex_bytes > STRUCTURAL_REGEX_MAX) /* said once */
        forbidden(c, at, "pattern", "the patterns of one schema must not be larger than 8 MB");
    else if (!n->pattern)
        cause(c, at, "pattern", CAUSE_INVALID,
              "Invalid value: \"%.*s\": must be a valid regular expression, but isn't: %.*s",
              (int)MIN(n->pattern_text.n, (size_t)200), n->pattern_text.p, STR_ARG(why));
}

static void parse_enum(struct compiler *c, struct structural_node *n, const struct json *v,
                       const struct at *at)
{
    const struct json *m = json_getz(v, "enum");
    if (!json_is(m, JSON_ARR) || !m->n)
        return;
    if (m->n > STRUCTURAL_ENUM_MAX) {
        cause(c, at, "enum", CAUSE_TOO_MANY, "Too many: %u: must have at most %d items", m->n,
              STRUCTURAL_ENUM_MAX);
        return;
    }
    n->enum_ = ARENA_NEW_N(c->a, const struct json *, m->n);
    json_for_each(e, m) n->enum_[n->n_enum++] = e;
}

static void parse_values(struct compiler *c, struct structural_node *n, const struct json *v,
                         const struct at *at)
{
    n->format = json_get_str(v, STR("format"));
    n->has_max = number(v, "maximum", &n->max);
    n->has_min = number(v, "minimum", &n->min);
    n->has_multiple = number(v, "multipleOf", &n->multiple);
    n->exclusive_max = flag(v, "exclusiveMaximum");
    n->exclusive_min = flag(v, "exclusiveMinimum");
    if (n->has_multiple && !(n->multiple > 0)) {
        cause(c, at, "multipleOf", CAUSE_INVALID, "Invalid value: %g: must be greater than 0",
              n->multiple);
        n->has_multiple = false;
    }
    n->max_length = count(c, v, "maxLength", at);
    n->min_length = count(c, v, "minLength", at);
    n->max_items = count(c, v, "maxItems", at);
    n->min_items = count(c, v, "minItems", at);
    n->max_props = count(c, v, "maxProperties", at);
    n->min_props = count(c, v, "minProperties", at);
    n->required = strings(c, v, "required", &n->n_required);
    parse_pattern(c, n, v, at);
    parse_enum(c, n, v, at);
    if (flag(v, "uniqueItems"))
        forbidden(c, at, "uniqueItems",
                  "uniqueItems cannot be set to true since the runtime complexity becomes "
                  "quadratic");
}

/* ---- words that have no place in a structural schema ---- */

static void refuse_unsupported(struct compiler *c, const struct json *v, const struct at *at)
{
    static const char *const words[] = {"$ref", "definitions",       "dependencies",
                                        "id",   "patternProperties", "additionalItems"};
    char why[64];
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (json_get(v, str_z(words[i]))) {
            snprintf(why, sizeof(why), "%s is not supported", words[i]);
            forbidden(c, at, words[i], why);
        }
}

static void refuse_in_rules(struct compiler *c, const struct structural_node *n,
                            const struct json *v, bool type_allowed, const struct at *at)
{
    static const char *const texts[] = {"description", "title", NULL};
    static const char *const flags[] = {"nullable", "x-kubernetes-preserve-unknown-fields",
                                        "x-kubernetes-embedded-resource",
                                        "x-kubernetes-int-or-string", NULL};
    static const char *const lists[] = {"x-kubernetes-list-type", "x-kubernetes-map-type", NULL};
    for (const char *const *w = texts; *w; w++)
        if (json_get(v, str_z(*w)))
            forbidden(c, at, *w, "must be empty to be structural");
    if (n->type && !type_allowed)
        forbidden(c, at, "type", "must be empty to be structural");
    if (json_getz(v, "x-kubernetes-list-map-keys"))
        forbidden(c, at, "x-kubernetes-list-map-keys", "must be empty to be structural");
    if (json_getz(v, "default"))
        forbidden(c, at, "default", "must be undefined to be structural");
    for (const char *const *w = flags; *w; w++)
        if (flag(v, *w))
            forbidden(c, at, *w, "must be false to be structural");
    for (const char *const *w = lists; *w; w++)
        if (json_get(v, str_z(*w)))
            forbidden(c, at, *w, "must be undefined to be structural");
}

static void count_rules(struct compiler *c, const struct json *v, const struct at *at)
{
    const struct json *m = json_getz(v, "x-kubernetes-validations");
    if (!json_is(m, JSON_ARR) || !m->n)
        return;
    if (!c->s->n_rules) {
        struct buf b = {0};
        at_print(c, at, &b);
        buf_add_lit(&b, ".x-kubernetes-validations");
        c->s->first_rule = arena_str(c->a, buf_str(&b));
        buf_fini(&b);
    }
    c->s->n_rules += m->n;
}

/* ---- nodes ---- */

static struct structural_node *node_new(struct compiler *c, const struct json *v, unsigned depth,
                                        const struct at *at)
{
    if (!json_is(v, JSON_OBJ)) {
        cause(c, at, NULL, CAUSE_INVALID, "Invalid value: \"%s\": must be an object",
              json_type_name(v));
        return NULL;
    }
    if (depth > STRUCTURAL_DEPTH_MAX) {
        cause(c, at, NULL, CAUSE_INVALID, "Invalid value: \"\": must not be deeper than %d levels",
              STRUCTURAL_DEPTH_MAX);
        return NULL;
    }
    if (c->s->n_nodes >= STRUCTURAL_NODES_MAX) {
        if (c->s->n_nodes == STRUCTURAL_NODES_MAX) /* said once */
            cause(c, NULL, NULL, CAUSE_TOO_MANY, "Too many: must have at most %d schemas",
                  STRUCTURAL_NODES_MAX);
        c->s->n_nodes++;
        return NULL;
    }
    c->s->n_nodes++;
    return ARENA_NEW(c->a, struct structural_node);
}

static void rules_of(struct compiler *c, struct structural_node *n,
                     const struct structural_node *skeleton, const struct json *v, unsigned depth,
                     bool int_or_string, const struct at *at);

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct structural_prop *)a)->name,
                   ((const struct structural_prop *)b)->name);
}

static void props_sort(struct structural_node *n)
{
    if (n->n_props)
        qsort(n->props, n->n_props, sizeof(*n->props), by_name);
}

const struct structural_node *structural_prop(const struct structural_node *n, struct str name)
{
    uint32_t lo = 0, hi = n->n_props;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int d = str_cmp(n->props[mid].name, name);
        if (d == 0)
            return n->props[mid].node;
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* What a value rule names must be in the skeleton. */
static bool in_skeleton(struct compiler *c, const struct structural_node *there,
                        const struct at *skeleton, const struct at *at)
{
    struct buf b = {0};
    if (there)
        return true;
    at_print(c, at, &b);
    cause(c, skeleton, NULL, CAUSE_REQUIRED, "Required value: because it is defined in %.*s",
          STR_ARG(buf_str(&b)));
    buf_fini(&b);
    return false;
}

/* The first of the frames above `at` that is no part of value rules, with the rest of the way. */
static const struct at *skeleton_at(struct compiler *c, const struct at *at)
{
    if (!at)
        return NULL;
    const struct at *up = skeleton_at(c, at->up);
    static const char *const words[] = {"allOf", "anyOf", "oneOf", "not"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (at->name && strcmp(at->name, words[i]) == 0 && !at->key.p)
            return up;
    struct at *own = ARENA_NEW(c->a, struct at);
    *own = *at;
    own->up = up;
    return own;
}

/* One part of allOf, anyOf, oneOf or not. */
static struct structural_node *rule(struct compiler *c, const struct structural_node *skeleton,
                                    const struct json *v, unsigned depth, bool type_allowed,
                                    const struct at *at)
{
    struct structural_node *n = node_new(c, v, depth, at);
    if (!n)
        return NULL;
    if (++c->n_rule_nodes > STRUCTURAL_RULES_MAX) {
        if (c->n_rule_nodes == STRUCTURAL_RULES_MAX + 1)
            cause(c, at, NULL, CAUSE_TOO_MANY,
                  "Too many: must have at most %d schemas in allOf, anyOf, oneOf and not",
                  STRUCTURAL_RULES_MAX);
        return NULL;
    }
    parse_type(c, n, v, at);
    refuse_in_rules(c, n, v, type_allowed, at);
    refuse_unsupported(c, v, at);
    parse_values(c, n, v, at);
    count_rules(c, v, at);
    const struct json *props = json_getz(v, "properties"), *items = json_getz(v, "items"),
                      *more = json_getz(v, "additionalProperties");
    if (json_is(props, JSON_OBJ) && props->n) {
        n->props = ARENA_NEW_N(c->a, struct structural_prop, props->n);
        json_for_each(p, props)
        {
            struct at below = {.up = at, .name = "properties", .key = p->key, .index = -1};
            const struct structural_node *sk = structural_prop(skeleton, p->key);
            if (!in_skeleton(c, sk, sk ? NULL : skeleton_at(c, &below), &below))
                continue;
            struct structural_node *x = rule(c, sk, p, depth + 1, false, &below);
            if (x)
                n->props[n->n_props++] = (struct structural_prop){p->key, x};
        }
        props_sort(n);
    }
    if (json_is(items, JSON_OBJ)) {
        struct at below = {.up = at, .name = "items", .index = -1};
        if (in_skeleton(c, skeleton->items, skeleton->items ? NULL : skeleton_at(c, &below),
                        &below))
            n->items = rule(c, skeleton->items, items, depth + 1, false, &below);
    }
    if (json_is(more, JSON_OBJ)) {
        struct at below = {.up = at, .name = "additionalProperties", .index = -1};
        if (in_skeleton(c, skeleton->additional,
                        skeleton->additional ? NULL : skeleton_at(c, &below), &below))
            n->additional = rule(c, skeleton->additional, more, depth + 1, false, &below);
    }
    rules_of(c, n, skeleton, v, depth, false, at);
    return n;
}

static struct structural_node **rule_list(struct compiler *c,
                                          const struct structural_node *skeleton,
                                          const struct json *v, const char *word, unsigned depth,
                                          bool types, const struct at *up, uint32_t *ret_n)
{
    const struct json *m = json_get(v, str_z(word));
    *ret_n = 0;
    if (!json_is(m, JSON_ARR) || !m->n)
        return NULL;
    struct structural_node **out = ARENA_NEW_N(c->a, struct structural_node *, m->n);
    struct at at = {.up = up, .name = word, .index = 0};
    json_for_each(e, m)
    {
        struct structural_node *x = rule(c, skeleton, e, depth + 1, types, &at);
        if (x)
            out[(*ret_n)++] = x;
        at.index++;
    }
    return out;
}

/* int-or-string may say so by anyOf of the two types, alone or as the first part of allOf. */
static void rules_of(struct compiler *c, struct structural_node *n,
                     const struct structural_node *skeleton, const struct json *v, unsigned depth,
                     bool int_or_string, const struct at *at)
{
    const struct json *nope = json_getz(v, "not");
    n->any = rule_list(c, skeleton, v, "anyOf", depth, int_or_string, at, &n->n_any);
    n->one = rule_list(c, skeleton, v, "oneOf", depth, false, at, &n->n_one);
    const struct json *all = json_getz(v, "allOf");
    if (json_is(all, JSON_ARR) && all->n) {
        struct at below = {.up = at, .name = "allOf", .index = 0};
        n->all = ARENA_NEW_N(c->a, struct structural_node *, all->n);
        json_for_each(e, all)
        {
            struct structural_node *x = rule(c, skeleton, e, depth + 1, false, &below);
            if (x)
                n->all[n->n_all++] = x;
            below.index++;
        }
    }
    if (json_is(nope, JSON_OBJ)) {
        struct at below = {.up = at, .name = "not", .index = -1};
        n->not_ = rule(c, skeleton, nope, depth + 1, false, &below);
    }
}

/* ---- the skeleton ---- */

enum level { LEVEL_ROOT, LEVEL_FIELD, LEVEL_ITEM };

static struct structural_node *place(struct compiler *c, const struct json *v, enum level level,
                                     unsigned depth, const struct at *at);

static void members(struct compiler *c, struct structural_node *n, const struct json *v,
                    unsigned depth, const struct at *at)
{
    const struct json *props = json_getz(v, "properties");
    const struct json *more = json_getz(v, "additionalProperties");
    if (json_is(props, JSON_OBJ) && props->n) {
        n->props = ARENA_NEW_N(c->a, struct structural_prop, props->n);
        json_for_each(p, props)
        {
            struct at below = {.up = at, .name = "properties", .key = p->key, .index = -1};
            struct structural_node *x = place(c, p, LEVEL_FIELD, depth + 1, &below);
            if (x)
                n->props[n->n_props++] = (struct structural_prop){p->key, x};
        }
        props_sort(n);
    }
    if (!more)
        return;
    if (n->n_props)
        forbidden(c, at, "additionalProperties",
                  "additionalProperties and properties are mutual exclusive");
    if (json_is(more, JSON_OBJ)) {
        struct at below = {.up = at, .name = "additionalProperties", .index = -1};
        n->additional = place(c, more, LEVEL_FIELD, depth + 1, &below);
    } else { /* false says what is so anyway: others go */
        n->additional_any = json_is(more, JSON_BOOL) && more->b;
    }
}

static void elements(struct compiler *c, struct structural_node *n, const struct json *v,
                     unsigned depth, const struct at *at)
{
    const struct json *items = json_getz(v, "items");
    if (json_is(items, JSON_ARR)) {
        forbidden(c, at, "items", "items must be a schema object and not an array");
    } else if (json_is(items, JSON_OBJ)) {
        struct at below = {.up = at, .name = "items", .index = -1};
        n->items = place(c, items, LEVEL_ITEM, depth + 1, &below);
    } else if (n->type == STRUCTURAL_ARRAY) {
        cause(c, at, "items", CAUSE_REQUIRED, "Required value: must be specified");
    }
}

/* What its type must be for a word beside it. */
static void must_be(struct compiler *c, const struct structural_node *n, const struct at *at,
                    const char *what)
{
    if (n->type)
        cause(c, at, "type", CAUSE_INVALID, "Invalid value: \"%s\": %s", type_texts[n->type], what);
    else
        cause(c, at, "type", CAUSE_REQUIRED, "Required value: %s", what);
}

static void list_type(struct compiler *c, struct structural_node *n, const struct json *v,
                      const struct at *at)
{
    struct str t = json_get_str(v, STR("x-kubernetes-list-type"));
    struct str m = json_get_str(v, STR("x-kubernetes-map-type"));
    n->list_keys = strings(c, v, "x-kubernetes-list-map-keys", &n->n_list_keys);
    n->map_atomic = str_is(m, "atomic");
    if (m.p && !str_is(m, "atomic") && !str_is(m, "granular"))
        cause(c, at, "x-kubernetes-map-type", CAUSE_NOT_SUPPORTED,
              "Unsupported value: \"%.*s\": supported values: \"atomic\", \"granular\"",
              STR_ARG(m));
    if (m.p && n->type != STRUCTURAL_OBJECT)
        must_be(c, n, at, "must be object if x-kubernetes-map-type is specified");
    if (str_is(t, "set"))
        n->list_type = SCHEMA_LIST_SET;
    else if (str_is(t, "map"))
        n->list_type = SCHEMA_LIST_MAP;
    else if (t.p && !str_is(t, "atomic"))
        cause(c, at, "x-kubernetes-list-type", CAUSE_NOT_SUPPORTED,
              "Unsupported value: \"%.*s\": supported values: \"atomic\", \"set\", \"map\"",
              STR_ARG(t));
    if (t.p && n->type != STRUCTURAL_ARRAY)
        must_be(c, n, at, "must be array if x-kubernetes-list-type is specified");
    if (n->list_type == SCHEMA_LIST_MAP && !n->n_list_keys)
        cause(c, at, "x-kubernetes-list-map-keys", CAUSE_REQUIRED,
              "Required value: must not be empty if x-kubernetes-list-type is map");
    if (n->list_type != SCHEMA_LIST_MAP && n->n_list_keys)
        cause(c, at, "x-kubernetes-list-type", CAUSE_REQUIRED,
              "Required value: must be map if x-kubernetes-list-map-keys is non-empty");
    if (n->n_list_keys > STRUCTURAL_KEYS_MAX) {
        cause(c, at, "x-kubernetes-list-map-keys", CAUSE_TOO_MANY,
              "Too many: %u: must have at most %d items", n->n_list_keys, STRUCTURAL_KEYS_MAX);
        n->n_list_keys = 0;
    }
}

/* After the elements are known. */
static void list_keys(struct compiler *c, struct structural_node *n, const struct json *v,
                      const struct at *at)
{
    const struct structural_node *e = n->items;
    if (!e)
        return;
    if (n->list_type == SCHEMA_LIST_SET && e->nullable)
        forbidden(c, at, "items.nullable", "cannot be nullable when x-kubernetes-list-type is set");
    if (n->list_type == SCHEMA_LIST_SET && e->type == STRUCTURAL_OBJECT && !e->map_atomic)
        cause(c, at, "items.x-kubernetes-map-type", CAUSE_INVALID,
              "Invalid value: null: must be atomic as item of a list with "
              "x-kubernetes-list-type=set");
    if (n->list_type != SCHEMA_LIST_MAP || !n->n_list_keys)
        return;
    if (e->type != STRUCTURAL_OBJECT) {
        cause(c, at, "items.type", CAUSE_INVALID,
              "Invalid value: \"%s\": must be object if parent array's x-kubernetes-list-type is "
              "map",
              type_texts[e->type]);
        return;
    }
    struct buf all = {0};
    json_print(json_getz(v, "x-kubernetes-list-map-keys"), &all);
    struct at items = {.up = at, .name = "items", .index = -1};
    for (uint32_t i = 0; i < n->n_list_keys; i++) {
        const struct structural_node *k = structural_prop(e, n->list_keys[i]);
        struct at key = {.up = &items, .name = "properties", .key = n->list_keys[i], .index = -1};
        bool known = false;
        for (uint32_t r = 0; r < e->n_required; r++)
            known |= str_eq(e->required[r], n->list_keys[i]);
        if (!k)
            cause(c, at, "x-kubernetes-list-map-keys", CAUSE_INVALID,
                  "Invalid value: %.*s: entries must all be names of item properties",
                  (int)MIN(all.n, (size_t)200), all.data);
        else if (k->type == STRUCTURAL_OBJECT || k->type == STRUCTURAL_ARRAY)
            cause(c, &key, "type", CAUSE_INVALID,
                  "Invalid value: \"object\": must be a scalar type if parent array's "
                  "x-kubernetes-list-type is map");
        else if (!known && !k->default_)
            cause(c, &key, "default", CAUSE_REQUIRED,
                  "Required value: this property is in x-kubernetes-list-map-keys, so it must "
                  "have a default or be a required property");
    }
    buf_fini(&all);
}

static void check_place(struct compiler *c, const struct structural_node *n, const struct json *v,
                        enum level level, const struct at *at)
{
    static const char *const must[] = {"must not be empty at the root",
                                       "must not be empty for specified object fields",
                                       "must not be empty for specified array items"};
    bool given = json_get_str(v, STR("type")).n > 0;
    if (!given && ((!n->int_or_string && !n->preserve) || level == LEVEL_ROOT))
        cause(c, at, "type", CAUSE_REQUIRED, "Required value: %s", must[level]);
    if (level == LEVEL_ROOT && n->type && n->type != STRUCTURAL_OBJECT)
        cause(c, at, "type", CAUSE_INVALID, "Invalid value: \"%s\": must be object at the root",
              type_texts[n->type]);
    if (level == LEVEL_ROOT && n->embedded)
        forbidden(c, at, "x-kubernetes-embedded-resource", "must not be used at the root");
    if (n->int_or_string && given)
        forbidden(c, at, "type", "must be empty if x-kubernetes-int-or-string is true");
    if (n->int_or_string && (n->preserve || n->embedded))
        forbidden(c, at,
                  n->preserve ? "x-kubernetes-preserve-unknown-fields"
                              : "x-kubernetes-embedded-resource",
                  "must be false if x-kubernetes-int-or-string is true");
    if (n->embedded && n->type != STRUCTURAL_OBJECT)
        cause(c, at, "type", CAUSE_INVALID,
              "Invalid value: \"%s\": must be object if x-kubernetes-embedded-resource is true",
              type_texts[n->type]);
    if (n->embedded && !n->preserve && !n->n_props)
        cause(c, at, "properties", CAUSE_REQUIRED,
              "Required value: must not be empty if x-kubernetes-embedded-resource is true without "
              "x-kubernetes-preserve-unknown-fields");
}

/* metadata is the server's own matter: only its name may be cut down. */
static void check_root(struct compiler *c, const struct structural_node *n, const struct json *v)
{
    const struct json *m = json_get(json_getz(v, "properties"), STR("metadata"));
    struct at at = {.name = "properties", .key = STR("metadata"), .index = -1};
    if (!m)
        return;
    const struct structural_node *meta = structural_prop(n, STR("metadata"));
    if (meta && meta->type != STRUCTURAL_OBJECT)
        cause(c, &at, "type", CAUSE_INVALID, "Invalid value: \"%s\": must be object",
              type_texts[meta->type]);
    for (uint32_t i = 0; meta && i < meta->n_props; i++)
        if (!str_is(meta->props[i].name, "name") && !str_is(meta->props[i].name, "generateName"))
            forbidden(c, &at, NULL,
                      "must not specify anything other than name and generateName, but metadata is "
                      "implicitly specified");
}

static void sum_up(struct structural_node *n)
{
    n->has_defaults = n->default_ != NULL;
    for (uint32_t i = 0; i < n->n_props; i++)
        n->has_defaults |= n->props[i].node->has_defaults;
    n->has_defaults |=
        (n->items && n->items->has_defaults) || (n->additional && n->additional->has_defaults);
}

static uint32_t values_in(const struct json *v)
{
    uint32_t n = 1;
    for (const struct json *c = v->type >= JSON_ARR ? v->first : NULL; c; c = c->next)
        n += values_in(c);
    return n;
}

static void check_default(struct compiler *c, const struct structural_node *n, const struct at *at)
{
    struct error why = {0};
    if (!n->default_)
        return;
    struct json *copy = json_clone(n->default_, c->a);
    if (structural_default_node(n, copy, c->a) < 0) {
        forbidden(c, at, "default", "it and the defaults in it are too large");
        return;
    }
    struct schema_decode unknown = {.unknown = SCHEMA_UNKNOWN_WARN};
    structural_prune_node(n, copy, c->a, &unknown);
    int r = structural_validate_node(n, copy, &why);
    struct buf b = {0};
    json_print(n->default_, &b);
    if (unknown.n_warnings)
        cause(c, at, "default", CAUSE_INVALID, "Invalid value: %.*s: must not have unknown fields",
              (int)MIN(b.n, (size_t)200), b.data);
    else if (r < 0 && why.causes)
        cause(c, at, "default", why.causes->reason.p, "%.*s", STR_ARG(why.causes->message));
    else if (r < 0)
        forbidden(c, at, "default", "it is too large for its schema to be checked");
    buf_fini(&b);
    error_fini(&why);
}

static struct structural_node *place(struct compiler *c, const struct json *v, enum level level,
                                     unsigned depth, const struct at *at)
{
    struct structural_node *n = node_new(c, v, depth, at);
    if (!n)
        return NULL;
    parse_type(c, n, v, at);
    n->nullable = flag(v, "nullable");
    n->preserve = flag(v, "x-kubernetes-preserve-unknown-fields");
    n->embedded = flag(v, "x-kubernetes-embedded-resource");
    n->int_or_string = flag(v, "x-kubernetes-int-or-string");
    n->default_ = json_getz(v, "default");
    n->n_default = n->default_ ? values_in(n->default_) : 0;
    refuse_unsupported(c, v, at);
    parse_values(c, n, v, at);
    count_rules(c, v, at);
    list_type(c, n, v, at);
    members(c, n, v, depth, at);
    elements(c, n, v, depth, at);
    list_keys(c, n, v, at);
    check_place(c, n, v, level, at);
    uint32_t outer = c->n_rule_nodes;
    c->n_rule_nodes = 0;
    rules_of(c, n, n, v, depth, n->int_or_string, at);
    c->n_rule_nodes = outer;
    if (level == LEVEL_ROOT && n->default_)
        forbidden(c, at, "default", "must be undefined at the root");
    else if (c->result == 0)
        check_default(c, n, at);
    sum_up(n);
    return n;
}

int structural_compile(struct str text, struct str path, struct structural **ret, struct error *err)
{
    struct structural *s = NEW(struct structural);
    struct json *tree;
    int r = json_parse(text, &s->arena, NULL, &tree, err);
    if (r < 0) {
        structural_free(s);
        return r;
    }
    struct compiler c = {.s = s, .a = &s->arena, .path = path, .err = err};
    s->tree = tree;
    s->root = place(&c, tree, LEVEL_ROOT, 0, NULL);
    if (s->root)
        check_root(&c, s->root, tree);
    if (c.result < 0 || !s->root) {
        structural_free(s);
        return -EBADMSG;
    }
    s->regex_bytes = c.regex_bytes;
    *ret = s;
    return 0;
}

struct structural *structural_free(struct structural *s)
{
    if (s)
        arena_fini(&s->arena);
    free(s);
    return NULL;
}

const struct structural_node *structural_at(const struct structural *s, struct str path)
{
    const struct structural_node *n = s->root;
    struct str name, rest = path;
    if (rest.n && rest.p[0] == '.')
        rest = str_sub(rest, 1, rest.n);
    while (n && (str_cut(&rest, '.', &name) || name.n))
        n = structural_prop(n, name);
    return n;
}
