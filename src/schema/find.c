/* Looking types up by the names clients use. There are a few dozen kinds, so a scan with a length
 * check first costs less than the request line it serves; nothing to build, nothing to keep in
 * step. */
#include "schema/schema.h"

static bool eq(const char *z, struct str s)
{
    return strlen(z) == s.n && (s.n == 0 || memcmp(z, s.p, s.n) == 0);
}

const struct schema_kind *schema_kind_find(struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        if (eq(k->kind, kind) && eq(k->group, group) && eq(k->version, version))
            return k;
    }
    return NULL;
}

const struct schema_kind *schema_kind_by_plural(struct str group, struct str version,
                                                struct str plural)
{
    for (size_t i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        if (eq(k->plural, plural) && eq(k->group, group) && eq(k->version, version))
            return k;
    }
    return NULL;
}

const struct schema_kind *schema_kind_of_desc(const struct schema_desc *desc)
{
    for (size_t i = 0; i < _KIND_MAX; i++)
        if (schema_kinds[i]->desc == desc)
            return schema_kinds[i];
    return NULL;
}

const struct schema_desc *schema_desc_find(struct str api_version, struct str kind)
{
    for (size_t i = 0; schema_descs[i]; i++) {
        const struct schema_desc *d = schema_descs[i];
        if (!(d->flags & SCHEMA_DESC_KIND) || !eq(d->name, kind))
            continue;
        /* DeleteOptions and the like come in the version of the resource they are about. */
        bool meta = strncmp(d->openapi, "io.k8s.apimachinery.", 20) == 0;
        if (eq(d->api_version, api_version) || meta)
            return d;
    }
    return NULL;
}

const struct schema_subresource *schema_subresource_find(const struct schema_kind *k,
                                                         struct str name)
{
    for (size_t i = 0; i < k->n_subresources; i++)
        if (eq(k->subresources[i].name, name))
            return &k->subresources[i];
    return NULL;
}

bool schema_split_api_version(struct str api_version, struct str *ret_group,
                              struct str *ret_version)
{
    struct str rest = api_version, group = STR("");
    ssize_t slash = str_find(api_version, '/');
    if (slash >= 0) {
        group = str_sub(api_version, 0, (size_t)slash);
        rest = str_sub(api_version, (size_t)slash + 1, api_version.n);
    }
    if (rest.n == 0 || str_find(rest, '/') >= 0)
        return false;
    *ret_group = group;
    *ret_version = rest;
    return true;
}

void schema_type_meta(const struct json *v, struct str *ret_api_version, struct str *ret_kind)
{
    *ret_api_version = json_get_str(v, STR("apiVersion"));
    *ret_kind = json_get_str(v, STR("kind"));
}

uint8_t schema_verb_parse(struct str verb)
{
    static const char *const names[] = {"get",    "list",  "watch",  "create",
                                        "update", "patch", "delete", "deletecollection"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (eq(names[i], verb))
            return (uint8_t)(1u << i);
    return 0;
}
