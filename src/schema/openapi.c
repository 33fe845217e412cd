/* Two dialects of one thing. They differ in where definitions lie and how parameters are written;
 * struct dialect holds the differences, everything else is shared. Only what is reachable from the
 * served kinds is described. */
#include "schema/openapi.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/set.h"
#include "schema/custom.h"
#include "schema/openapi_int.h"

#include <stdio.h>

#define PARSED_VERSION "v1.36.0" /* of the API described */

static const struct dialect dialect_v2 = {false, "#/definitions/"},
                            dialect_v3 = {true, "#/components/schemas/"};

/* Types of values that are no messages, as definitions of their own. */
static const struct {
    enum schema_type type;
    const char *name, *v2, *v3;
} value_types[] = {
    {SCHEMA_QUANTITY, "io.k8s.apimachinery.pkg.api.resource.Quantity", "\"type\":\"string\"",
     "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]"},
    {SCHEMA_TIME, "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
     "\"type\":\"string\",\"format\":\"date-time\"",
     "\"type\":\"string\",\"format\":\"date-time\""},
    {SCHEMA_MICRO_TIME, "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
     "\"type\":\"string\",\"format\":\"date-time\"",
     "\"type\":\"string\",\"format\":\"date-time\""},
    {SCHEMA_INT_OR_STR, "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
     "\"type\":\"string\",\"format\":\"int-or-string\"",
     "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]"},
};

static const char *value_type_name(enum schema_type t)
{
    for (size_t i = 0; i < ARRAY_LEN(value_types); i++)
        if (value_types[i].type == t)
            return value_types[i].name;
    return NULL;
}

static void quoted(struct buf *b, const char *s)
{
    json_print_str(str_z(s), b);
}

/* ---- types ---- */

static void element_print(const struct dialect *d, const struct schema_field *f, struct buf *b)
{
    static const char *const scalars[_SCHEMA_TYPE_MAX] = {
        [SCHEMA_BOOL] = "\"type\":\"boolean\"",
        [SCHEMA_INT32] = "\"type\":\"integer\",\"format\":\"int32\"",
        [SCHEMA_INT64] = "\"type\":\"integer\",\"format\":\"int64\"",
        [SCHEMA_DOUBLE] = "\"type\":\"number\",\"format\":\"double\"",
        [SCHEMA_STRING] = "\"type\":\"string\"",
        [SCHEMA_BYTES] = "\"type\":\"string\",\"format\":\"byte\"",
        [SCHEMA_DURATION] = "\"type\":\"string\"",
        [SCHEMA_RAW] = "\"type\":\"object\"",
    };
    const char *name = f->msg ? f->msg->openapi : value_type_name(f->type);

    if (name)
        buf_printf(b, "\"$ref\":\"%s%s\"", d->ref_prefix, name);
    else
        buf_add_str(b, str_z(scalars[f->type]));
}

static void enum_print(const struct schema_field *f, struct buf *b)
{
    const struct schema_enum *e = f->rules->enum_;

    if (!e || e->open || !e->n_texts)
        return;
    buf_add_lit(b, ",\"enum\":[");
    for (unsigned i = 0; i < e->n_texts; i++) {
        if (i)
            buf_add_char(b, ',');
        json_print_str(e->texts[i], b);
    }
    buf_add_char(b, ']');
}

static void list_facts_print(const struct schema_field *f, struct buf *b)
{
    static const char *const types[] = {"atomic", "set", "map"};
    const struct schema_rules *r = f->rules;

    buf_printf(b, ",\"x-kubernetes-list-type\":\"%s\"", types[r->list_type]);
    if (r->list_map_keys) {
        buf_add_lit(b, ",\"x-kubernetes-list-map-keys\":[");
        for (const char *const *k = r->list_map_keys; *k; k++)
            buf_printf(b, "%s\"%s\"", k == r->list_map_keys ? "" : ",", *k);
        buf_add_char(b, ']');
    }
    if (r->merge_key)
        buf_printf(b, ",\"x-kubernetes-patch-merge-key\":\"%s\"", r->merge_key);
    if (r->patch_strategy)
        buf_printf(b, ",\"x-kubernetes-patch-strategy\":\"%s%s\"",
                   r->patch_strategy & SCHEMA_PATCH_MERGE ? "merge" : "replace",
                   r->patch_strategy & SCHEMA_PATCH_RETAIN_KEYS ? ",retainKeys" : "");
}

static void field_print(const struct dialect *d, const struct schema_field *f, const char *doc,
                        struct buf *b)
{
    bool ref = f->msg || value_type_name(f->type);

    quoted(b, f->name);
    buf_add_lit(b, ":{");
    if (doc[0]) {
        buf_add_lit(b, "\"description\":");
        quoted(b, doc);
        buf_add_char(b, ',');
    }
    if (f->flags & SCHEMA_LIST) {
        buf_add_lit(b, "\"type\":\"array\",\"items\":{");
        element_print(d, f, b);
        if (!ref)
            enum_print(f, b);
        buf_add_char(b, '}');
        list_facts_print(f, b);
    } else if (f->flags & SCHEMA_MAP) {
        buf_add_lit(b, "\"type\":\"object\",\"additionalProperties\":{");
        element_print(d, f, b);
        buf_add_char(b, '}');
    } else if (ref && d->v3) {
        /* OpenAPI 3.0 ignores what stands beside a $ref */
        buf_add_lit(b, "\"allOf\":[{");
        element_print(d, f, b);
        buf_add_lit(b, "}]");
    } else {
        element_print(d, f, b);
        if (!ref)
            enum_print(f, b);
    }
    buf_add_char(b, '}');
}

static void required_print(const struct schema_desc *desc, struct buf *b)
{
    unsigned n = 0;

    for (unsigned i = 0; i < desc->n_json; i++)
        if (desc->json[i].flags & SCHEMA_REQUIRED)
            buf_printf(b, "%s\"%s\"", n++ ? "," : ",\"required\":[", desc->json[i].name);
    if (n)
        buf_add_char(b, ']');
}

void openapi_gvk_print(const struct schema_desc *d, struct buf *b)
{
    buf_printf(b, "{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", d->group, d->name,
               d->version);
}

static void type_print(const struct dialect *d, const struct schema_desc *desc, struct buf *b)
{
    if (desc->flags & SCHEMA_DESC_REST) {
        openapi_custom_print(d->v3, d->ref_prefix, desc, b);
        return;
    }
    static const char type_meta[] =
        "\"apiVersion\":{\"description\":\"Version of the API this object is written "
        "for.\",\"type\":\"string\"},"
        "\"kind\":{\"description\":\"What kind of object this is.\",\"type\":\"string\"}";
    bool kind = desc->flags & SCHEMA_DESC_KIND, first = true;
    const char *doc = desc->docs;

    quoted(b, desc->openapi);
    buf_add_lit(b, ":{");
    if (doc[0]) {
        buf_add_lit(b, "\"description\":");
        quoted(b, doc);
        buf_add_char(b, ',');
    }
    if (desc->flags & SCHEMA_DESC_AS_LIST) {
        buf_add_lit(b, "\"type\":\"array\",\"items\":{");
        element_print(d, &desc->fields[0], b);
        buf_add_lit(b, "}}");
        return;
    }
    buf_add_lit(b, "\"type\":\"object\",\"properties\":{");
    if (kind) {
        buf_add(b, type_meta, sizeof(type_meta) - 1);
        first = false;
    }
    for (unsigned i = 0; i < desc->n_json; i++) {
        if (!first)
            buf_add_char(b, ',');
        first = false;
        doc += strlen(doc) + 1;
        field_print(d, &desc->json[i], doc, b);
    }
    buf_add_char(b, '}');
    required_print(desc, b);
    if (kind) {
        buf_add_lit(b, ",\"x-kubernetes-group-version-kind\":[");
        openapi_gvk_print(desc, b);
        buf_add_char(b, ']');
    }
    buf_add_char(b, '}');
}

/* ---- what is reachable ---- */

struct reach {
    struct map seen; /* by openapi name */
    const struct schema_desc **order;
    size_t n, cap;
};

static void reach_add(struct reach *r, const struct schema_desc *desc)
{
    if (!desc || map_get(&r->seen, str_z(desc->openapi)))
        return;
    map_set(&r->seen, str_z(desc->openapi), (void *)(uintptr_t)desc);
    ARRAY_RESERVE(r->order, r->n, r->cap);
    r->order[r->n++] = desc;
    for (unsigned i = 0; i < desc->n_json; i++)
        if (desc->json[i].msg)
            reach_add(r, desc->json[i].msg);
}

static void reach_fini(struct reach *r)
{
    map_fini(&r->seen);
    free(r->order);
}

static bool kind_in(const struct schema_kind *k, struct str group, struct str version, bool all)
{
    return all || (str_eqz(group, k->group) && str_eqz(version, k->version));
}

static size_t kinds_n(const struct openapi_more *more)
{
    return _KIND_MAX + (more ? more->n : 0);
}

static const struct schema_kind *kinds_at(const struct openapi_more *more, size_t i)
{
    return i < _KIND_MAX ? schema_kinds[i] : more->v[i - _KIND_MAX];
}

static void definitions_print(const struct dialect *d, const struct openapi_more *more,
                              struct str group, struct str version, bool all, struct buf *b)
{
    struct reach r = {0};

    for (size_t k = 0; k < kinds_n(more); k++) {
        const struct schema_kind *kind = kinds_at(more, k);
        if (!kind_in(kind, group, version, all))
            continue;
        reach_add(&r, kind->desc);
        reach_add(&r, kind->list_desc);
        for (unsigned i = 0; i < kind->n_subresources; i++)
            reach_add(&r, kind->subresources[i].desc);
    }
    reach_add(&r, &api_delete_options_desc);
    reach_add(&r, &api_list_meta_desc);
    reach_add(&r, &api_status_desc);
    for (size_t i = 0; i < r.n; i++) {
        if (i)
            buf_add_char(b, ',');
        type_print(d, r.order[i], b);
    }
    for (size_t i = 0; i < ARRAY_LEN(value_types); i++)
        buf_printf(b, ",\"%s\":{%s}", value_types[i].name,
                   d->v3 ? value_types[i].v3 : value_types[i].v2);
    reach_fini(&r);
}

/* ---- documents ---- */

static void paths_print(const struct dialect *d, const struct openapi_more *more, struct str group,
                        struct str version, bool all, struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < kinds_n(more); i++)
        if (kind_in(kinds_at(more, i), group, version, all))
            openapi_paths_print(d, kinds_at(more, i), &first, b);
}

static bool version_served(const struct openapi_more *more, struct str group, struct str version)
{
    for (size_t i = 0; i < kinds_n(more); i++)
        if (kind_in(kinds_at(more, i), group, version, false))
            return true;
    return false;
}

bool openapi_v3_print(const struct openapi_more *more, struct str group, struct str version,
                      struct buf *b)
{
    if (!version_served(more, group, version))
        return false;
    buf_add_lit(
        b, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"" PARSED_VERSION
           "\"},\"paths\":{");
    paths_print(&dialect_v3, more, group, version, false, b);
    buf_add_lit(b, "},\"components\":{\"schemas\":{");
    definitions_print(&dialect_v3, more, group, version, false, b);
    buf_add_lit(b, "}}}");
    return true;
}

void openapi_v2_print(const struct openapi_more *more, struct buf *b)
{
    buf_add_lit(
        b, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"" PARSED_VERSION
           "\"},\"paths\":{");
    paths_print(&dialect_v2, more, STR_NONE, STR_NONE, true, b);
    buf_add_lit(b, "},\"definitions\":{");
    definitions_print(&dialect_v2, more, STR_NONE, STR_NONE, true, b);
    buf_add_lit(b, "}}");
}

/* Changes when a custom kind of the version does; printing what has not changed costs too much when
 * there are hundreds of them. */
static uint64_t version_hash(const struct openapi_more *more, const struct schema_kind *of)
{
    struct buf doc = {0};
    if (of->custom)
        for (size_t i = 0; i < more->n; i++)
            if (strcmp(more->v[i]->api_version, of->api_version) == 0)
                buf_printf(&doc, "%s %llu\n", more->v[i]->plural,
                           (unsigned long long)more->v[i]->custom->since);
    if (!of->custom)
        (void)openapi_v3_print(more, str_z(of->group), str_z(of->version), &doc);
    uint64_t h = hash_fnv1a64(doc.data, doc.n);
    buf_fini(&doc);
    return h;
}

uint64_t openapi_v3_hash(const struct openapi_more *more, struct str group, struct str version,
                         bool *ret_lasting)
{
    for (size_t i = 0; i < kinds_n(more); i++) {
        const struct schema_kind *k = kinds_at(more, i);
        if (!str_eqz(group, k->group) || !str_eqz(version, k->version))
            continue;
        *ret_lasting = !k->custom;
        return version_hash(more, k);
    }
    return 0;
}

void openapi_v3_index_print(const struct openapi_more *more, struct buf *b)
{
    bool first = true;

    buf_add_lit(b, "{\"paths\":{");
    struct set seen = {0};
    for (size_t i = 0; i < kinds_n(more); i++) {
        const struct schema_kind *k = kinds_at(more, i);
        if (!set_add(&seen, str_z(k->api_version)))
            continue;
        buf_printf(b, "%s\"%s/%s\":{\"serverRelativeURL\":\"/openapi/v3/%s/%s?hash=%016llX\"}",
                   first ? "" : ",", k->group[0] ? "apis" : "api", k->api_version,
                   k->group[0] ? "apis" : "api", k->api_version,
                   (unsigned long long)version_hash(more, k));
        first = false;
    }
    set_fini(&seen);
    buf_add_lit(b, "}}");
}
