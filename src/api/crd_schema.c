/* What a Kubernetes server refuses of a definition though it could be served. It is asked of what
 * somebody writes: of a new definition, and of those versions that an update changes. What is
 * stored may be older than a rule here, and must stay served, changeable and deletable.
 *
 * The schemas have been compiled before (schema/structural.h), so they are no deeper than that
 * allows, and members have the types they should. Kubernetes: apiextensions/validation and
 * apiserver/schema/validation.go. */
#include "api/check.h"
#include "api/crd.h"
#include "base/mem.h"
#include "codec/json.h"
#include "schema/structural.h"

typedef struct api_custom_resource_definition crd_t;
typedef struct api_custom_resource_definition_version version_t;

struct frame { /* where in the schema */
    const struct frame *up;
    const char *name;
    struct str key; /* present: [key] behind the name */
    int32_t index;  /* -1: none */
};

struct look {
    struct error *err;
    struct str path; /* of the whole schema */
};

static void frame_print(const struct look *l, const struct frame *f, struct buf *b)
{
    if (!f) {
        buf_add_str(b, l->path);
        return;
    }
    frame_print(l, f->up, b);
    buf_printf(b, ".%s", f->name);
    if (f->key.p)
        buf_printf(b, "[%.*s]", STR_ARG(f->key));
    if (f->index >= 0)
        buf_printf(b, "[%d]", f->index);
}

static void tell(struct look *l, const struct frame *f, const char *child, const char *type,
                 const char *fmt, ...) PRINTF(5, 6);
static void tell(struct look *l, const struct frame *f, const char *child, const char *type,
                 const char *fmt, ...)
{
    struct buf path = {0};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    frame_print(l, f, &path);
    buf_printf(&path, "%s%s", child ? "." : "", child ? child : "");
    (void)error_cause(l->err, type, buf_str(&path), "%s", text);
    buf_fini(&path);
}

/* The JSON of a value, for people. */
static void value_print(const struct json *v, char *out, size_t n)
{
    struct buf b = {0};
    json_print(v, &b);
    snprintf(out, n, "%.*s", (int)MIN(b.n, n - 1), b.data);
    buf_fini(&b);
}

static bool flag(const struct json *v, const char *key)
{
    const struct json *m = json_get(v, str_z(key));
    return json_is(m, JSON_BOOL) && m->b;
}

/* A member that says something: Go's zero values do not. */
static bool says(const struct json *m)
{
    switch (m->type) {
    case JSON_NULL:
        return false;
    case JSON_BOOL:
        return m->b;
    case JSON_STR:
    case JSON_ARR:
        return m->type == JSON_STR ? m->s.n > 0 : m->n > 0;
    default:
        return true;
    }
}

/* ---- lists ---- */

static void look_at_keys(struct look *l, const struct json *v, const struct frame *f)
{
    const struct json *keys = json_getz(v, "x-kubernetes-list-map-keys");
    const struct json *props = json_get(json_getz(v, "items"), STR("properties"));
    struct frame items = {.up = f, .name = "items", .index = -1};
    char all[200];
    if (!json_is(keys, JSON_ARR))
        return;
    value_print(keys, all, sizeof(all));
    json_for_each(k, keys)
    {
        struct frame prop = {.up = &items, .name = "properties", .key = k->s, .index = -1};
        for (const struct json *other = keys->first; other != k; other = other->next)
            if (str_eq(other->s, k->s)) {
                tell(l, f, "x-kubernetes-list-map-keys", CAUSE_INVALID,
                     "Invalid value: %s: must not contain duplicate entries", all);
                break;
            }
        if (flag(json_get(props, k->s), "nullable"))
            tell(l, &prop, "nullable", CAUSE_FORBIDDEN,
                 "Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be "
                 "nullable");
    }
}

static void look_at_list(struct look *l, const struct json *v, const struct frame *f)
{
    struct str type = json_get_str(v, STR("x-kubernetes-list-type"));
    const struct json *items = json_getz(v, "items");
    struct str inner = json_get_str(items, STR("x-kubernetes-list-type"));
    if (str_is(type, "map")) {
        if (flag(items, "nullable"))
            tell(l, f, "items.nullable", CAUSE_FORBIDDEN,
                 "Forbidden: cannot be nullable when x-kubernetes-list-type is map");
        look_at_keys(l, v, f);
    }
    if (str_is(type, "set") && inner.n && !str_is(inner, "atomic"))
        tell(l, f, "items.x-kubernetes-list-type", CAUSE_INVALID,
             "Invalid value: \"%.*s\": must be atomic as item of a list with "
             "x-kubernetes-list-type=set",
             (int)MIN(inner.n, (size_t)20), inner.p);
}

/* ---- whole objects, at the root and inside ---- */

/* The server's own matter: only its two names may be cut down. */
static void look_at_metadata(struct look *l, const struct json *m, const struct frame *f)
{
    static const char *const silent[] = {"type", "default", "example", "externalDocs"};
    bool more = false;
    for (const struct json *x = json_is(m, JSON_OBJ) ? m->first : NULL; x; x = x->next) {
        bool known = str_is(x->key, "properties");
        for (size_t i = 0; i < ARRAY_LEN(silent); i++)
            known |= str_eqz(x->key, silent[i]);
        more |= !known && says(x);
    }
    if (more)
        tell(l, f, NULL, CAUSE_FORBIDDEN,
             "Forbidden: must not specify anything other than name and generateName, but metadata "
             "is implicitly specified");
}

static void look_at_object(struct look *l, const struct json *v, bool root, const struct frame *f)
{
    static const char *const names[] = {"kind", "apiVersion"};
    const struct json *props = json_getz(v, "properties");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct json *m = json_get(props, str_z(names[i]));
        struct frame at = {.up = f, .name = "properties", .key = str_z(names[i]), .index = -1};
        struct str type = json_get_str(m, STR("type"));
        if (m && !str_is(type, "string"))
            tell(l, &at, "type", CAUSE_INVALID, "Invalid value: \"%.*s\": must be string",
                 (int)MIN(type.n, (size_t)20), type.n ? type.p : "");
    }
    const struct json *meta = json_getz(props, "metadata");
    struct frame at = {.up = f, .name = "properties", .key = STR("metadata"), .index = -1};
    struct str type = json_get_str(meta, STR("type"));
    if (root && meta)
        look_at_metadata(l, meta, &at);
    else if (meta && !str_is(type, "object"))
        tell(l, &at, "type", CAUSE_INVALID, "Invalid value: \"%.*s\": must be object",
             (int)MIN(type.n, (size_t)20), type.n ? type.p : "");
    if (json_getz(v, "additionalProperties"))
        tell(l, f, "additionalProperties", CAUSE_FORBIDDEN, "Forbidden: %s",
             root ? "must not be used at the root"
                  : "must not be used if x-kubernetes-embedded-resource is set");
}

/* ---- every place ---- */

static void look(struct look *l, const struct json *v, bool rule, const struct frame *f);

static void look_below(struct look *l, const struct json *v, bool rule, const struct frame *f)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    const struct json *m = json_getz(v, "properties");
    for (const struct json *p = json_is(m, JSON_OBJ) ? m->first : NULL; p; p = p->next) {
        struct frame at = {.up = f, .name = "properties", .key = p->key, .index = -1};
        look(l, p, rule, &at);
    }
    m = json_getz(v, "items");
    if (m)
        look(l, m, rule, &(struct frame){.up = f, .name = "items", .index = -1});
    m = json_getz(v, "additionalProperties");
    if (m)
        look(l, m, rule, &(struct frame){.up = f, .name = "additionalProperties", .index = -1});
    m = json_getz(v, "not");
    if (m)
        look(l, m, true, &(struct frame){.up = f, .name = "not", .index = -1});
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct frame at = {.up = f, .name = lists[i]};
        m = json_get(v, str_z(lists[i]));
        for (const struct json *p = json_is(m, JSON_ARR) ? m->first : NULL; p; p = p->next) {
            look(l, p, true, &at);
            at.index++;
        }
    }
}

static void look(struct look *l, const struct json *v, bool rule, const struct frame *f)
{
    if (!json_is(v, JSON_OBJ))
        return;
    const struct json *keep = json_getz(v, "x-kubernetes-preserve-unknown-fields");
    if (json_is(keep, JSON_BOOL) && !keep->b)
        tell(l, f, "x-kubernetes-preserve-unknown-fields", CAUSE_INVALID,
             "Invalid value: false: must be true or undefined");
    struct str word = json_get_str(v, STR("$schema"));
    if (word.n)
        tell(l, NULL, NULL, CAUSE_INVALID,
             "Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported");
    if (rule) {
        if (json_is(json_getz(v, "additionalProperties"), JSON_OBJ))
            tell(l, f, "additionalProperties", CAUSE_FORBIDDEN,
                 "Forbidden: must be undefined to be structural");
        if (json_get(json_getz(v, "properties"), STR("metadata")))
            tell(l, f, "properties[metadata]", CAUSE_FORBIDDEN,
                 "Forbidden: must not be specified in a nested context");
    } else {
        look_at_list(l, v, f);
        if (!f || flag(v, "x-kubernetes-embedded-resource"))
            look_at_object(l, v, !f, f);
    }
    look_below(l, v, rule, f);
}

/* ---- the root, where the status is apart ---- */

#define ALLOWED                                                                                    \
    "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength "  \
    "MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties "        \
    "ExternalDocs Example XPreserveUnknownFields XValidations]"

static void look_at_root(struct look *l, const struct json *v, bool status)
{
    static const char *const refused[] = {
        "$ref",
        "$schema",
        "id",
        "default",
        "enum",
        "maxProperties",
        "minProperties",
        "additionalProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "nullable",
        "x-kubernetes-map-type",
    };
    char text[200];
    for (size_t i = 0; status && i < ARRAY_LEN(refused); i++) {
        const struct json *m = json_get(v, str_z(refused[i]));
        if (!m || !says(m))
            continue;
        value_print(v, text, sizeof(text));
        tell(l, NULL, NULL, CAUSE_INVALID,
             "Invalid value: %s: only " ALLOWED
             " fields are allowed at the root of the schema if the status subresource is enabled",
             text);
        break;
    }
    if (flag(v, "nullable"))
        tell(l, NULL, "nullable", CAUSE_FORBIDDEN,
             "Forbidden: nullable cannot be true at the root");
}

static bool has_status(const version_t *v)
{
    return v->subresources && v->subresources->status;
}

static const version_t *version_of(const crd_t *crd, struct str name)
{
    for (uint32_t i = 0; crd && i < crd->spec.n_versions; i++)
        if (str_eq(crd->spec.versions[i].name, name))
            return &crd->spec.versions[i];
    return NULL;
}

static bool unchanged(const version_t *v, const version_t *old)
{
    return old && old->schema && has_status(v) == has_status(old) &&
           str_eq(v->schema->open_apiv3_schema, old->schema->open_apiv3_schema);
}

void crd_schema_validate(const crd_t *crd, const crd_t *old, struct error *err)
{
    bool same = crd_has_one_schema(crd), any_status = false;
    for (uint32_t i = 0; i < crd->spec.n_versions; i++)
        any_status |= has_status(&crd->spec.versions[i]);
    for (uint32_t i = 0; i < crd->spec.n_versions; i++) {
        const version_t *v = &crd->spec.versions[i];
        struct arena a = {0};
        struct json *tree;
        PATH(own, "spec.versions[%u].schema.openAPIV3Schema", i);
        struct look l = {err, same ? STR("spec.validation.openAPIV3Schema") : own};
        if (!unchanged(v, version_of(old, v->name)) &&
            json_parse(v->schema->open_apiv3_schema, &a, NULL, &tree, NULL) >= 0) {
            look_at_root(&l, tree, same ? any_status : has_status(v));
            look(&l, tree, false, NULL);
        }
        arena_fini(&a);
        if (same)
            break; /* said */
    }
}
