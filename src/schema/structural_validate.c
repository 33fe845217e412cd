/* Checking an object against its schema. Every breach is a cause with its path; parts that only
 * answer yes or no (anyOf, oneOf, not) are walked without a word.
 *
 * When something is wrong with an update, it is compared with what was there, and walked once more
 * past all that has not changed. Parts of allOf and the like do not know
 * what has changed: they are looked at wherever the value they speak of has. */
#include "schema/structural_int.h"
#include "base/set.h"

#include <math.h>
#include <stdarg.h>

struct work { /* left, for all parts of one check */
    uint32_t rules;
    uint64_t steps;
    bool over; /* it did not suffice: the check has failed, whatever else was found */
};

struct former { /* of an update */
    const struct structural *s;
    const struct json *old;
    struct structural_same *same;
    bool twice_known, twice; /* elements of its lists come again */
};

struct check {
    struct error *err;     /* NULL: only yes or no is asked */
    bool failed, blocking; /* blocking: something that rules in CEL count on */
    struct work *left;
    struct former *former; /* NULL: everything counts */
};

static void value_check(struct check *c, const struct structural_node *n, const struct json *v,
                        bool root, const struct schema_frame *at);
static void rules_check(struct check *c, const struct structural_node *n, const struct json *v,
                        const struct schema_frame *at);

/* ---- words ---- */

/* K8S: customresource/strategy.go, hasBlockingErr */
static bool is_blocking(const char *type)
{
    static const char *const types[] = {CAUSE_NOT_SUPPORTED, CAUSE_REQUIRED, CAUSE_TOO_LONG,
                                        CAUSE_TOO_MANY, CAUSE_TYPE_INVALID};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static void cause(struct check *c, const char *type, const struct schema_frame *at, const char *fmt,
                  ...) PRINTF(4, 5);
static void cause(struct check *c, const char *type, const struct schema_frame *at, const char *fmt,
                  ...)
{
    struct buf path = {0}, text = {0};
    va_list ap;
    c->failed = true;
    c->blocking |= is_blocking(type);
    if (!c->err || c->err->n_causes >= STRUCTURAL_CAUSES_MAX)
        return;
    char small[1024];
    va_start(ap, fmt);
    vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    buf_add_utf8(&text, str_z(small), sizeof(small));
    schema_frame_print(at, false, &path);
    (void)error_cause(c->err, type, path.n ? buf_str(&path) : STR("<nil>"), "%.*s",
                      STR_ARG(buf_str(&text)));
    buf_fini(&path);
    buf_fini(&text);
}

/* `Invalid value: VALUE: PATH in body WHY`; the path without indices left out is what people read
 * first, so it is said twice, as Kubernetes does. */
static void in_body_v(struct check *c, const char *type, const struct schema_frame *at,
                      const struct json *v, const char *fmt, va_list ap)
{
    struct buf path = {0}, value = {0};
    char why[512];
    c->failed = true;
    c->blocking |= is_blocking(type);
    if (!c->err || c->err->n_causes >= STRUCTURAL_CAUSES_MAX)
        return;
    vsnprintf(why, sizeof(why), fmt, ap);
    schema_frame_print(at, false, &path);
    json_print(v, &value);
    cause(c, type, at, "Invalid value: %.*s: %.*s in body %s", (int)MIN(value.n, (size_t)200),
          value.data, (int)MIN(path.n, (size_t)200), path.n ? path.data : "", why);
    buf_fini(&path);
    buf_fini(&value);
}

static void in_body(struct check *c, const struct schema_frame *at, const struct json *v,
                    const char *fmt, ...) PRINTF(4, 5);
static void in_body(struct check *c, const struct schema_frame *at, const struct json *v,
                    const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    in_body_v(c, CAUSE_INVALID, at, v, fmt, ap);
    va_end(ap);
}

static void in_body_type(struct check *c, const struct schema_frame *at, const struct json *v,
                         const char *fmt, ...) PRINTF(4, 5);
static void in_body_type(struct check *c, const struct schema_frame *at, const struct json *v,
                         const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    in_body_v(c, CAUSE_TYPE_INVALID, at, v, fmt, ap);
    va_end(ap);
}

static const char *type_of(const struct json *v)
{
    switch (v->type) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return "boolean";
    case JSON_INT:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_STR:
        return "string";
    case JSON_ARR:
        return "array";
    default:
        return "object";
    }
}

static void wrong_type(struct check *c, const struct schema_frame *at, const struct json *v,
                       const char *wanted)
{
    struct json kind = {.type = JSON_STR, .s = str_z(type_of(v))};
    in_body_type(c, at, &kind, "must be of type %s: \"%s\"", wanted, type_of(v));
}

static void wrong_format(struct check *c, const struct schema_frame *at, const struct json *v,
                         struct str format)
{
    struct buf value = {0};
    json_print(v, &value);
    in_body_type(c, at, v, "must be of type %.*s: %.*s", (int)MIN(format.n, (size_t)64), format.p,
                 (int)MIN(value.n, (size_t)200), value.data);
    buf_fini(&value);
}

/* ---- types ---- */

static bool is_integer(const struct json *v)
{
    return v->type == JSON_INT || (v->type == JSON_REAL && v->d == floor(v->d));
}

static bool type_fits(const struct structural_node *n, const struct json *v)
{
    if (n->int_or_string)
        return is_integer(v) || v->type == JSON_STR;
    switch ((enum structural_type)n->type) {
    case STRUCTURAL_OBJECT:
        return v->type == JSON_OBJ;
    case STRUCTURAL_ARRAY:
        return v->type == JSON_ARR;
    case STRUCTURAL_STRING:
        return v->type == JSON_STR;
    case STRUCTURAL_INTEGER:
        return is_integer(v);
    case STRUCTURAL_NUMBER:
        return v->type == JSON_INT || v->type == JSON_REAL;
    case STRUCTURAL_BOOLEAN:
        return v->type == JSON_BOOL;
    case STRUCTURAL_ANY:
    case _STRUCTURAL_TYPE_MAX:
        break;
    }
    return true;
}

/* ---- scalars ---- */

static double number_of(const struct json *v)
{
    return v->type == JSON_INT ? (double)v->i : v->d;
}

static bool is_multiple(double x, double of)
{
    double q = x / of;
    return fabs(q - nearbyint(q)) <= 1e-9 * MAX(1.0, fabs(q));
}

static void number_check(struct check *c, const struct structural_node *n, const struct json *v,
                         const struct schema_frame *at)
{
    double x = number_of(v);
    if (n->has_max && (n->exclusive_max ? x >= n->max : x > n->max))
        in_body(c, at, v, "should be less than%s %.15g", n->exclusive_max ? "" : " or equal to",
                n->max);
    if (n->has_min && (n->exclusive_min ? x <= n->min : x < n->min))
        in_body(c, at, v, "should be greater than%s %.15g", n->exclusive_min ? "" : " or equal to",
                n->min);
    if (n->has_multiple && !is_multiple(x, n->multiple))
        in_body(c, at, v, "should be a multiple of %.15g", n->multiple);
    if (!n->format.n)
        return;
    if (str_is(n->format, "int32") && (x < INT32_MIN || x > INT32_MAX))
        in_body_type(c, at, v, "must be of type int32: \"%s\"", type_of(v));
    if (str_is(n->format, "int64") && v->type == JSON_REAL && !(fabs(x) < 0x1p63))
        in_body_type(c, at, v, "must be of type int64: \"%s\"", type_of(v));
    if (str_is(n->format, "float") && fabs(x) > 3.4028234663852886e38)
        in_body_type(c, at, v, "must be of type float: \"%s\"", type_of(v));
}

static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

static void string_check(struct check *c, const struct structural_node *n, const struct json *v,
                         const struct schema_frame *at)
{
    if (n->max_length >= 0 && (int64_t)v->s.n > n->max_length && characters(v->s) > n->max_length)
        cause(c, CAUSE_TOO_LONG, at, "Too long: may not be more than %lld bytes",
              (long long)n->max_length);
    if (n->min_length > 0 && characters(v->s) < n->min_length)
        in_body(c, at, v, "should be at least %lld chars long", (long long)n->min_length);
    int r = n->pattern ? regex_find(n->pattern, v->s, 0, &c->left->steps, NULL, NULL) : 1;
    if (r < 0)
        c->failed = c->blocking = c->left->over = true;
    else if (r == 0)
        in_body(c, at, v, "should match '%.*s'", (int)MIN(n->pattern_text.n, (size_t)300),
                n->pattern_text.p);
    if (n->format.n && !structural_format_ok(n->format, v->s))
        wrong_format(c, at, v, n->format);
}

static void enum_check(struct check *c, const struct structural_node *n, const struct json *v,
                       const struct schema_frame *at)
{
    for (uint32_t i = 0; i < n->n_enum; i++)
        if (json_equal(n->enum_[i], v))
            return;
    struct buf b = {0};
    c->failed = c->blocking = true;
    if (!c->err)
        return;
    buf_add_lit(&b, "Unsupported value: ");
    json_print(v, &b);
    buf_add_lit(&b, ": supported values: ");
    for (uint32_t i = 0; i < n->n_enum; i++) {
        if (i)
            buf_add_lit(&b, ", ");
        json_print(n->enum_[i], &b);
    }
    cause(c, CAUSE_NOT_SUPPORTED, at, "%.*s", STR_ARG(buf_str(&b)));
    buf_fini(&b);
}

/* The node of something in v. */
static const struct structural_node *below_of(const struct structural_node *n, const struct json *v,
                                              const struct json *child)
{
    if (v->type == JSON_ARR)
        return n->items;
    const struct structural_node *p = structural_prop(n, child->key);
    return p ? p : n->additional;
}

/* ---- lists ---- */

/* What tells an element of a list of type set or map from the others. False: it has not all keys.
 */
static bool element_key(const struct structural_node *n, const struct json *v, struct buf *b)
{
    buf_clear(b);
    if (n->list_type == SCHEMA_LIST_SET) {
        json_print_sorted(v, b);
        return true;
    }
    buf_add_char(b, '{');
    for (uint32_t i = 0; i < n->n_list_keys; i++) {
        const struct json *k = json_get(v, n->list_keys[i]);
        if (!k)
            continue; /* two without it are equal in it */
        if (b->n > 1)
            buf_add_char(b, ',');
        json_print_str(n->list_keys[i], b);
        buf_add_char(b, ':');
        json_print_sorted(k, b);
    }
    buf_add_char(b, '}');
    return true;
}

static bool any_twice(const struct structural_node *n, const struct json *v);

/* What was there has elements that come again: then nobody is told of those that do now. */
static bool was_twice(struct former *f)
{
    if (!f)
        return false;
    if (!f->twice_known)
        f->twice = any_twice(f->s->root, f->old);
    f->twice_known = true;
    return f->twice;
}

static void unique_check(struct check *c, const struct structural_node *n, const struct json *v,
                         const struct schema_frame *at)
{
    struct set seen = {0};
    struct buf key = {0};
    struct schema_frame el = {.up = at};
    for (const struct json *e = v->first; e; e = e->next, el.index++)
        if (element_key(n, e, &key) && !set_add_copy(&seen, buf_str(&key)) && !was_twice(c->former))
            cause(c, CAUSE_DUPLICATE, &el, "Duplicate value: %.*s", (int)MIN(key.n, (size_t)200),
                  key.data);
    buf_fini(&key);
    set_fini(&seen);
}

static bool any_twice(const struct structural_node *n, const struct json *v)
{
    struct work left = {0};
    struct check c = {.left = &left};
    if (v->type == JSON_ARR && n->list_type != SCHEMA_LIST_ATOMIC && v->n > 1)
        unique_check(&c, n, v, NULL);
    if (v->type < JSON_ARR)
        return false;
    for (const struct json *e = v->first; e && !c.failed; e = e->next) {
        const struct structural_node *below = below_of(n, v, e);
        c.failed = below && any_twice(below, e);
    }
    return c.failed;
}

static void array_check(struct check *c, const struct structural_node *n, const struct json *v,
                        const struct schema_frame *at)
{
    if (n->max_items >= 0 && v->n > n->max_items)
        cause(c, CAUSE_TOO_MANY, at, "Too many: %u: must have at most %lld items", v->n,
              (long long)n->max_items);
    if (n->min_items > 0 && v->n < n->min_items)
        in_body(c, at, &(struct json){.type = JSON_INT, .i = v->n},
                "should have at least %lld items", (long long)n->min_items);
    if (n->list_type != SCHEMA_LIST_ATOMIC && v->n > 1)
        unique_check(c, n, v, at);
}

/* ---- objects ---- */

static void object_check(struct check *c, const struct structural_node *n, const struct json *v,
                         const struct schema_frame *at)
{
    if (n->max_props >= 0 && v->n > n->max_props)
        cause(c, CAUSE_TOO_MANY, at, "Too many: %u: must have at most %lld items", v->n,
              (long long)n->max_props);
    if (n->min_props > 0 && v->n < n->min_props)
        in_body(c, at, &(struct json){.type = JSON_INT, .i = v->n},
                "should have at least %lld properties", (long long)n->min_props);
    for (uint32_t i = 0; i < n->n_required; i++) {
        struct schema_frame below = {.up = at, .name = n->required[i]};
        if (!json_get(v, n->required[i]))
            cause(c, CAUSE_REQUIRED, &below, "Required value");
    }
}

static void embedded_kind(struct check *c, struct str kind, const struct schema_frame *at)
{
    char low[64];
    size_t n = MIN(kind.n, sizeof(low));
    for (size_t i = 0; i < n; i++)
        low[i] = kind.p[i] >= 'A' && kind.p[i] <= 'Z' ? (char)(kind.p[i] | 32) : kind.p[i];
    const char *why = schema_format_check(SCHEMA_FORMAT_DNS1035_LABEL, (struct str){low, n});
    if (why)
        cause(c, CAUSE_INVALID, at,
              "Invalid value: \"%.*s\": may have mixed case, but should otherwise match: %s",
              (int)MIN(kind.n, (size_t)100), kind.p, why);
}

static void embedded_meta(struct check *c, const struct json *m, const struct schema_frame *at)
{
    struct arena a = {0};
    struct error err = {0};
    if (schema_decode_json(&api_object_meta_desc, m, &a, NULL,
                           schema_new(&api_object_meta_desc, &a), &err) < 0) {
        struct buf b = {0};
        json_print(m, &b);
        cause(c, CAUSE_INVALID, at, "Invalid value: %.*s: %.*s", (int)MIN(b.n, (size_t)200), b.data,
              STR_ARG(err.message));
        buf_fini(&b);
    }
    error_fini(&err);
    arena_fini(&a);
}

/* K8S: schema/objectmeta/validation.go */
static void embedded_check(struct check *c, const struct json *v, const struct schema_frame *at)
{
    static const char *const names[] = {"apiVersion", "kind"};
    struct str group, version;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct schema_frame below = {.up = at, .name = str_z(names[i])};
        const struct json *m = json_get(v, str_z(names[i]));
        if (!m || (m->type == JSON_STR && !m->s.n))
            cause(c, CAUSE_REQUIRED, &below, "Required value: must not be empty");
        else if (m->type != JSON_STR)
            wrong_type(c, &below, m, "string");
        else if (i == 1)
            embedded_kind(c, m->s, &below);
        else if (!schema_split_api_version(m->s, &group, &version))
            cause(c, CAUSE_INVALID, &below,
                  "Invalid value: \"%.*s\": unexpected GroupVersion string: %.*s",
                  (int)MIN(m->s.n, (size_t)100), m->s.p, (int)MIN(m->s.n, (size_t)100), m->s.p);
    }
    const struct json *meta = json_getz(v, "metadata");
    if (meta)
        embedded_meta(c, meta, &(struct schema_frame){.up = at, .name = STR("metadata")});
}

/* ---- allOf, anyOf, oneOf, not ---- */

static bool holds(const struct structural_node *n, const struct json *v, struct work *left,
                  const struct schema_frame *at)
{
    struct check quiet = {.left = left};
    if (n->type && !type_fits(n, v))
        return false;
    rules_check(&quiet, n, v, at);
    return !quiet.failed;
}

static void must(struct check *c, const struct schema_frame *at, const char *what)
{
    struct buf path = {0};
    schema_frame_print(at, false, &path);
    cause(c, CAUSE_INVALID, at, "Invalid value: \"\": \"%.*s\" must %s",
          (int)MIN(path.n, (size_t)200), path.n ? path.data : "", what);
    buf_fini(&path);
}

static void parts_check(struct check *c, const struct structural_node *n, const struct json *v,
                        const struct schema_frame *at)
{
    bool some = n->n_any == 0;
    uint32_t ones = 0;
    for (uint32_t i = 0; i < n->n_any && !some; i++)
        some = holds(n->any[i], v, c->left, at);
    if (!some)
        must(c, at, "validate at least one schema (anyOf)");
    for (uint32_t i = 0; i < n->n_one; i++)
        ones += holds(n->one[i], v, c->left, at);
    if (n->n_one && ones != 1)
        must(c, at,
             ones ? "validate one and only one schema (oneOf). Found more than one valid"
                  : "validate one and only one schema (oneOf). Found none valid");
    bool all = true;
    for (uint32_t i = 0; i < n->n_all; i++) {
        struct check part = {.err = c->err, .left = c->left};
        if (n->all[i]->type && !type_fits(n->all[i], v))
            part.failed = true;
        rules_check(&part, n->all[i], v, at);
        all &= !part.failed;
        c->blocking |= part.blocking;
    }
    if (!all)
        must(c, at, "validate all the schemas (allOf)");
    if (n->not_ && holds(n->not_, v, c->left, at))
        must(c, at, "not validate the schema (not)");
}

/* Everything a node demands of a value but its type, and below. */
static void rules_check(struct check *c, const struct structural_node *n, const struct json *v,
                        const struct schema_frame *at)
{
    if (c->left->over || c->left->rules < n->n_enum + 1) {
        c->failed = c->blocking = c->left->over = true; /* structural_validate says why */
        return;
    }
    c->left->rules -= n->n_enum + 1;
    if (n->n_enum)
        enum_check(c, n, v, at);
    if (v->type == JSON_INT || v->type == JSON_REAL)
        number_check(c, n, v, at);
    else if (v->type == JSON_STR)
        string_check(c, n, v, at);
    else if (v->type == JSON_ARR)
        array_check(c, n, v, at);
    else if (v->type == JSON_OBJ)
        object_check(c, n, v, at);
    parts_check(c, n, v, at);
    if (v->type == JSON_ARR && n->items) {
        struct schema_frame el = {.up = at};
        for (const struct json *e = v->first; e; e = e->next, el.index++)
            value_check(c, n->items, e, false, &el);
    }
    if (v->type != JSON_OBJ || (!n->n_props && !n->additional))
        return;
    json_for_each(m, v)
    {
        const struct structural_node *p = structural_prop(n, m->key);
        struct schema_frame below = {.up = at, .name = m->key};
        p = p ? p : n->additional;
        if (p)
            value_check(c, p, m, false, &below);
    }
}

/* Whole objects inside are looked at, changed or not. */
static void embedded_walk(struct check *c, const struct structural_node *n, const struct json *v,
                          const struct schema_frame *at)
{
    struct schema_frame below = {.up = at};
    if (n->embedded && v->type == JSON_OBJ)
        embedded_check(c, v, at);
    if (v->type < JSON_ARR)
        return;
    for (const struct json *e = v->first; e; e = e->next, below.index++) {
        const struct structural_node *p = below_of(n, v, e);
        below.name = e->key;
        if (p)
            embedded_walk(c, p, e, &below);
    }
}

static void value_check(struct check *c, const struct structural_node *n, const struct json *v,
                        bool root, const struct schema_frame *at)
{
    if (c->former && structural_same_has(c->former->same, v)) {
        embedded_walk(c, n, v, at);
        return;
    }
    if (v->type == JSON_NULL && (n->nullable || (!n->type && !n->int_or_string)))
        return;
    if (!type_fits(n, v)) {
        wrong_type(c, at, v, n->int_or_string ? "integer,string" : structural_type_text(n));
        return;
    }
    if (n->embedded && !root)
        embedded_check(c, v, at);
    rules_check(c, n, v, at);
}

int structural_validate_node(const struct structural_node *n, const struct json *v,
                             struct error *err)
{
    struct work left = {STRUCTURAL_WORK_MAX, STRUCTURAL_STEPS_MAX, false};
    struct check c = {.err = err, .left = &left};
    value_check(&c, n, v, false, NULL);
    return c.failed || left.over ? -EBADMSG : 0;
}

static int outcome(struct check *c)
{
    c->failed |= c->left->over;
    c->blocking |= c->left->over;
    if (c->failed && c->err && !c->err->causes)
        cause(c, CAUSE_TOO_MANY, NULL,
              "Too many: the object is too large for its schema to be checked");
    return c->blocking ? -EBADMSG : c->failed ? -EDOM : 0;
}

static int part_check(struct check *c, const struct structural *s, const struct json *object,
                      enum structural_part part)
{
    struct schema_frame below = {.name = STR("status")};
    const struct structural_node *n = structural_prop(s->root, below.name);
    const struct json *v = json_get(object, below.name);
    if (part == STRUCTURAL_WHOLE)
        value_check(c, s->root, object, true, NULL);
    else if (n && v)
        value_check(c, n, v, false, &below);
    return outcome(c);
}

int structural_validate(const struct structural *s, const struct json *object,
                        enum structural_part part, struct error *err)
{
    struct work left = {STRUCTURAL_WORK_MAX, STRUCTURAL_STEPS_MAX, false};
    struct check c = {.err = err, .left = &left};
    return part_check(&c, s, object, part);
}

int structural_validate_update(const struct structural *s, const struct json *object,
                               const struct json *old, enum structural_part part, struct error *err)
{
    struct work left = {STRUCTURAL_WORK_MAX, STRUCTURAL_STEPS_MAX, false};
    struct former f = {.s = s, .old = old, .same = structural_same_new(s, object, old)};
    struct check c = {.err = err, .left = &left, .former = &f};
    int r = part_check(&c, s, object, part);
    structural_same_free(f.same);
    return r;
}
