/* See custom.h. The descriptor of a custom object is the same three rows for all of them; only
 * names differ, and those live in the arena of their struct custom. */
#include "schema/custom.h"

#include "base/map.h"
#include "base/mem.h"
#include "schema/internal.h"

#include <pthread.h>

static const struct schema_rules no_rules;

#define RAW_ROW(name_, member, number_, flags_)                                                    \
    {                                                                                              \
        .name = name_, .rules = &no_rules, .offset = offsetof(struct custom_object, member),       \
        .flags = flags_, .number = number_, .elem_size = sizeof(struct str),                       \
        .probe = offsetof(struct custom_object, member.n), .probe_size = 8, .type = SCHEMA_RAW,    \
        .name_len = sizeof(name_) - 1                                                              \
    }

/* In the order they print. */
static const struct schema_field fields[] = {
    {.name = "metadata",
     .msg = &api_object_meta_desc,
     .rules = &no_rules,
     .offset = offsetof(struct custom_object, metadata),
     .number = 1,
     .elem_size = sizeof(struct api_object_meta),
     .type = SCHEMA_MSG,
     .name_len = 8},
    RAW_ROW("", rest, 2, SCHEMA_POINTER | SCHEMA_REST),
    RAW_ROW("status", status, 3, SCHEMA_POINTER),
};
static const uint8_t by_number[] = {0, 1, 2, 3};
static uint8_t json_hash[8];

static void hash_make(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        if (!fields[i].name_len)
            continue;
        uint32_t h = schema_name_hash(fields[i].name, fields[i].name_len);
        while (json_hash[h & (ARRAY_LEN(json_hash) - 1)])
            h++;
        json_hash[h & (ARRAY_LEN(json_hash) - 1)] = (uint8_t)(i + 1);
    }
}

static const char *cstr(struct custom *c, struct str s)
{
    return arena_cstr(&c->arena, s);
}

/* What both sorts share. */
static struct custom *make(struct str group, struct str plural, struct str kind, struct str list,
                           struct str version, bool namespaced)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct custom *c = NEW(struct custom);
    struct schema_kind *k = &c->kind;
    (void)pthread_once(&once, hash_make);
    k->group = cstr(c, group);
    k->version = cstr(c, version);
    k->api_version = arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(group), STR_ARG(version)).p;
    k->kind = cstr(c, kind);
    k->list_kind = list.n ? cstr(c, list) : arena_printf(&c->arena, "%.*sList", STR_ARG(kind)).p;
    k->plural = cstr(c, plural);
    k->singular = k->plural;
    k->columns = schema_default_columns;
    k->n_columns = 2;
    k->verbs = SCHEMA_VERBS_ALL;
    k->name_format = SCHEMA_FORMAT_DNS_SUBDOMAIN;
    k->namespaced = namespaced;
    k->generation = true;
    k->custom = c;
    c->desc =
        (struct schema_desc){.name = k->kind,
                             .group = k->group,
                             .version = k->version,
                             .api_version = k->api_version,
                             .docs = "\0\0\0",
                             .fields = fields,
                             .json = fields,
                             .json_hash = json_hash,
                             .by_number = by_number,
                             .n_fields = ARRAY_LEN(fields),
                             .n_json = ARRAY_LEN(fields),
                             .hash_mask = ARRAY_LEN(json_hash) - 1,
                             .max_number = ARRAY_LEN(by_number) - 1,
                             .size = sizeof(struct custom_object),
                             .flags = SCHEMA_DESC_KIND | SCHEMA_DESC_OBJECT | SCHEMA_DESC_REST};
    c->list_desc = c->desc;
    c->list_desc.flags = SCHEMA_DESC_KIND | SCHEMA_DESC_OF_LIST | SCHEMA_DESC_REST;
    c->list_desc.name = k->list_kind;
    /* io.acme.v1.Widget: the group's parts from behind, as names of definitions go */
    struct buf b = {0};
    for (struct str rest = group; rest.n;) {
        ssize_t dot = str_rfind(rest, '.');
        buf_printf(&b, "%.*s.", STR_ARG(str_sub(rest, (size_t)(dot + 1), rest.n)));
        rest = str_sub(rest, 0, dot < 0 ? 0 : (size_t)dot);
    }
    c->desc.openapi =
        arena_printf(&c->arena, "%.*s%s.%s", STR_ARG(buf_str(&b)), k->version, k->kind).p;
    c->list_desc.openapi =
        arena_printf(&c->arena, "%.*s%s.%s", STR_ARG(buf_str(&b)), k->version, k->list_kind).p;
    buf_fini(&b);
    k->desc = &c->desc;
    k->list_desc = &c->list_desc;
    return c;
}

static void custom_free(struct custom *c)
{
    if (c->rules)
        c->rules_free(c->rules);
    structural_free(c->schema);
    arena_fini(&c->arena);
    free(c);
}

/* ---- stored kinds ---- */

static pthread_mutex_t stored_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map stored_by_key; /* never shrinks: objects point to what is in it */

const struct schema_kind *custom_stored_kind(struct str group, struct str plural, struct str kind,
                                             struct str version, bool namespaced)
{
    struct buf key = {0};
    buf_printf(&key, "%.*s/%.*s/%.*s/%c", STR_ARG(group), STR_ARG(plural), STR_ARG(kind),
               namespaced ? 'n' : 'c');
    (void)pthread_mutex_lock(&stored_lock);
    struct custom *c = map_get(&stored_by_key, buf_str(&key));
    if (!c && stored_by_key.n < CUSTOM_STORED_MAX) {
        c = make(group, plural, kind, STR_NONE, version, namespaced);
        c->kind.id = c->kind.storage = (uint16_t)(_KIND_MAX + stored_by_key.n);
        c->kind.stored = &c->kind;
        (void)map_set(&stored_by_key, arena_str(&c->arena, buf_str(&key)), c);
    }
    (void)pthread_mutex_unlock(&stored_lock);
    buf_fini(&key);
    return c ? &c->kind : NULL;
}

const struct schema_kind *custom_variant(const struct schema_kind *stored, struct str version)
{
    struct custom *base = (struct custom *)(uintptr_t)stored->custom;
    const struct custom *c = base;
    size_t n = 0;
    ASSERT(base && stored->stored == stored);
    if (str_eqz(version, stored->version)) /* does not change: no need for the lock */
        return stored;
    (void)pthread_mutex_lock(&stored_lock);
    for (c = base->next; c && !str_eqz(version, c->kind.version); c = c->next)
        n++;
    if (!c && n < CUSTOM_VARIANTS_MAX) {
        struct custom *made = make(str_z(stored->group), str_z(stored->plural), str_z(stored->kind),
                                   str_z(stored->list_kind), version, stored->namespaced);
        made->kind.id = made->kind.storage = stored->id;
        made->kind.stored = stored;
        made->next = base->next;
        base->next = made;
        c = made;
    }
    (void)pthread_mutex_unlock(&stored_lock);
    return c ? &c->kind : NULL;
}

static struct str storage_version(const struct api_custom_resource_definition_spec *s)
{
    for (uint32_t i = 0; i < s->n_versions; i++)
        if (s->versions[i].storage)
            return s->versions[i].name;
    return STR("v1");
}

const struct schema_kind *custom_stored_of(const struct api_custom_resource_definition *crd)
{
    const struct api_custom_resource_definition_spec *s = &crd->spec;
    return custom_stored_kind(s->group, s->names.plural, s->names.kind, storage_version(s),
                              str_is(s->scope, "Namespaced"));
}

/* ---- served kinds ---- */

static const char *const *string_list(struct custom *c, const struct str *v, uint32_t n)
{
    const char **out = ARENA_NEW_N(&c->arena, const char *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        out[i] = cstr(c, v[i]);
    return out;
}

static int path_compile(struct custom *c, struct str text, const struct jsonpath **ret,
                        struct error *err)
{
    const char *why;
    *ret = jsonpath_compile(arena_str(&c->arena, text), &c->arena, &why);
    if (*ret)
        return 0;
    return error_set(err, REASON_INVALID, "the path %.*s cannot be used: %s", STR_ARG(text), why);
}

static void columns_default(struct custom *c)
{
    struct schema_column *out = ARENA_NEW_N(&c->arena, struct schema_column, 2);
    const char *why;
    c->column_paths = ARENA_NEW_N(&c->arena, const struct jsonpath *, 2);
    out[0] = schema_default_columns[0];
    out[1] = (struct schema_column){
        .name = "Age", .type = "date", .format = "", .description = "When the object was made."};
    c->column_paths[1] = jsonpath_compile(STR(".metadata.creationTimestamp"), &c->arena, &why);
    c->kind.columns = out;
    c->kind.n_columns = 2;
}

/* The name, then what was asked for; or else the age, also when one of the paths cannot be
 * followed. */
static void columns_make(struct custom *c, const struct api_custom_resource_definition_version *v)
{
    uint32_t n = MIN(v->n_additional_printer_columns, (uint32_t)CUSTOM_COLUMNS_MAX);
    struct schema_column *out = ARENA_NEW_N(&c->arena, struct schema_column, n + 1);
    const char *why;
    columns_default(c);
    if (n == 0)
        return;
    const struct jsonpath **paths = ARENA_NEW_N(&c->arena, const struct jsonpath *, n + 1);
    out[0] = schema_default_columns[0];
    for (uint32_t i = 0; i < n; i++) {
        const struct api_custom_resource_column_definition *d = &v->additional_printer_columns[i];
        out[i + 1] = (struct schema_column){.name = cstr(c, d->name),
                                            .type = cstr(c, d->type),
                                            .format = cstr(c, d->format),
                                            .description = cstr(c, d->description),
                                            .priority = d->priority};
        paths[i + 1] = jsonpath_compile(arena_str(&c->arena, d->json_path), &c->arena, &why);
        if (!paths[i + 1])
            return;
    }
    c->column_paths = paths;
    c->kind.columns = out;
    c->kind.n_columns = n + 1;
}

static int selectable_make(struct custom *c, const struct api_custom_resource_definition_version *v,
                           struct error *err)
{
    uint32_t n = MIN(v->n_selectable_fields, (uint32_t)CUSTOM_SELECTABLE_MAX);
    const char **names = ARENA_NEW_N(&c->arena, const char *, n + 1);
    c->select_paths = ARENA_NEW_N(&c->arena, const struct jsonpath *, n + 1);
    c->kind.selectable = names;
    for (uint32_t i = 0; i < n; i++) {
        struct str p = v->selectable_fields[i].json_path;
        int r = path_compile(c, p, &c->select_paths[i], err);
        if (r < 0)
            return r;
        names[i] = cstr(c, p.n && p.p[0] == '.' ? str_sub(p, 1, p.n) : p);
    }
    return 0;
}

#define SUB_VERBS (SCHEMA_VERB_GET | SCHEMA_VERB_PATCH | SCHEMA_VERB_UPDATE)

static int subresources_make(struct custom *c, const struct api_custom_resource_subresources *s,
                             struct error *err)
{
    struct schema_subresource *out = ARENA_NEW_N(&c->arena, struct schema_subresource, 2);
    int r = 0;
    c->kind.subresources = out;
    if (!s)
        return 0;
    if (s->status) {
        c->has_status = true;
        out[c->kind.n_subresources++] = (struct schema_subresource){"status", &c->desc, SUB_VERBS};
    }
    if (s->scale) {
        struct custom_scale *scale = ARENA_NEW(&c->arena, struct custom_scale);
        out[c->kind.n_subresources++] =
            (struct schema_subresource){"scale", &api_scale_desc, SUB_VERBS};
        r = path_compile(c, s->scale->spec_replicas_path, &scale->spec_replicas, err);
        if (r == 0)
            r = path_compile(c, s->scale->status_replicas_path, &scale->status_replicas, err);
        if (r == 0 && s->scale->label_selector_path.n)
            r = path_compile(c, s->scale->label_selector_path, &scale->selector, err);
        c->scale = scale;
    }
    return r;
}

static void warning_make(struct custom *c, const struct api_custom_resource_definition_version *v)
{
    if (!v->deprecated)
        return;
    c->kind.warning = arena_cstr(&c->arena, v->deprecation_warning.p && v->deprecation_warning.n
                                                ? v->deprecation_warning
                                                : arena_printf(&c->arena, "%s %s is deprecated",
                                                               c->kind.api_version, c->kind.kind));
}

int custom_new(const struct api_custom_resource_definition *crd, uint32_t version, rev_t since,
               struct custom **ret, struct error *err)
{
    const struct api_custom_resource_definition_spec *s = &crd->spec;
    const struct api_custom_resource_definition_version *v = &s->versions[version];
    const struct api_custom_resource_definition_names *n = &crd->status.accepted_names;
    const struct schema_kind *stored = custom_stored_of(crd);
    struct str text = v->schema ? v->schema->open_apiv3_schema : STR_NONE;
    if (!stored)
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "more than %d resources were declared since the server started",
                         CUSTOM_STORED_MAX);
    const struct schema_kind *variant = custom_variant(stored, v->name),
                             *storage = custom_variant(stored, storage_version(s));
    if (!variant || !storage)
        return error_set(err, REASON_TOO_MANY_REQUESTS,
                         "more than %d versions of it were declared since the server started",
                         CUSTOM_VARIANTS_MAX);
    struct custom *c = make(s->group, s->names.plural, s->names.kind, n->list_kind, v->name,
                            str_is(s->scope, "Namespaced"));
    atomic_init(&c->refs, 1);
    c->kind.id = c->kind.storage = stored->id;
    c->kind.stored = stored;
    c->kind.singular = cstr(c, n->singular);
    c->kind.short_names = string_list(c, n->short_names, n->n_short_names);
    c->kind.categories = string_list(c, n->categories, n->n_categories);
    c->since = since;
    c->served = true;
    c->variant = variant;
    c->storage = storage;
    c->terminating = crd->metadata.deletion_timestamp.set;
    warning_make(c, v);
    columns_make(c, v);
    int r = selectable_make(c, v, err);
    if (r == 0)
        r = subresources_make(c, v->subresources, err);
    if (r == 0)
        r = structural_compile(text.n ? text : STR("{}"), STR("openAPIV3Schema"), &c->schema, err);
    if (r < 0) {
        custom_free(c);
        return r;
    }
    c->desc.schema = c->schema->root;
    *ret = c;
    return 0;
}

static struct custom *counted(const struct schema_kind *k)
{
    return custom_is_served(k) ? (struct custom *)(uintptr_t)k->custom : NULL;
}

const struct schema_kind *custom_ref(const struct schema_kind *k)
{
    struct custom *c = counted(k);
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return k;
}

void custom_unref(const struct schema_kind *k)
{
    struct custom *c = counted(k);
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        custom_free(c);
}

/* ---- objects ---- */

/* Patches can put a deep value into a deep place. */
static bool is_deeper(const struct json *v, unsigned than)
{
    if (v->type < JSON_ARR)
        return false;
    for (const struct json *c = v->first; c; c = c->next)
        if (than == 0 || is_deeper(c, than - 1))
            return true;
    return false;
}

int custom_take(const struct schema_kind *k, struct json *object, struct arena *a,
                struct schema_decode *opts, struct error *err)
{
    const struct custom *c = k->custom;
    opts->n_warnings = 0;
    if (!c)
        return 0;
    if (is_deeper(object, JSON_DEPTH_MAX - 8))
        return error_set(err, REASON_BAD_REQUEST, "the object is nested too deeply");
    if (!c->schema)
        return 0;
    structural_prune(c->schema, object, a, opts);
    if (structural_default(c->schema, object, a) < 0)
        return error_set(err, REASON_TOO_LARGE, "the object is too large once defaults are set");
    return 0;
}

struct json *custom_tree(const struct schema_kind *k, const void *msg, struct arena *a)
{
    return schema_to_json(k->desc, msg, SCHEMA_ENCODE_TYPE_META, a);
}

const void *custom_read(const struct schema_kind *k, const void *msg, rev_t rev, struct arena *a)
{
    const struct custom *c = k->custom;
    if (!c || !c->schema || rev > c->since)
        return msg;
    struct json *tree = custom_tree(k, msg, a);
    structural_prune(c->schema, tree, a, NULL);
    void *out = schema_new(k->desc, a);
    if (structural_default(c->schema, tree, a) < 0 ||
        schema_decode_json(k->desc, tree, a, NULL, out, NULL) < 0)
        return msg;
    return out;
}

void custom_default_status(const struct schema_kind *k, void *msg, struct arena *a)
{
    struct buf b = {0};
    if (!custom_is_served(k) || !k->custom->schema)
        return;
    const struct json *status = structural_status(k->custom->schema, a);
    if (status) { /* canonical, as all such texts */
        json_print_sorted(status, &b);
        ((struct custom_object *)msg)->status = arena_str(a, buf_str(&b));
    }
    buf_fini(&b);
}

/* ---- order of versions ---- */

struct rank {
    int stage; /* 3 stable, 2 beta, 1 alpha, 0 none of these */
    uint64_t major, minor;
};

static uint64_t number(struct str *s)
{
    uint64_t v = 0;
    while (s->n && s->p[0] >= '0' && s->p[0] <= '9' && v < UINT32_MAX) {
        v = v * 10 + (uint64_t)(s->p[0] - '0');
        *s = str_sub(*s, 1, s->n);
    }
    return v;
}

static struct rank rank_of(struct str v)
{
    struct rank r = {0}, none = {0};
    if (!str_starts(v, STR("v")))
        return none;
    v = str_sub(v, 1, v.n);
    r.major = number(&v);
    r.stage = !v.n ? 3 : str_starts(v, STR("beta")) ? 2 : str_starts(v, STR("alpha")) ? 1 : 0;
    if (!r.stage || !r.major)
        return none;
    v = str_sub(v, r.stage == 3 ? 0 : r.stage == 2 ? 4 : 5, v.n);
    r.minor = number(&v);
    return v.n ? none : r;
}

int schema_version_cmp(struct str a, struct str b)
{
    struct rank x = rank_of(a), y = rank_of(b);
    if (x.stage != y.stage)
        return x.stage - y.stage;
    if (x.major != y.major)
        return x.major > y.major ? 1 : -1;
    if (x.minor != y.minor)
        return x.minor > y.minor ? 1 : -1;
    return -str_cmp(a, b);
}
