/* Definitions of custom kinds in OpenAPI documents: the schema as it was given, with what every
 * object has (apiVersion, kind, metadata) put in. The older dialect has no words for some of it;
 * those are left out there. */
#include "schema/openapi_int.h"

#include "schema/custom.h"

static const char meta_texts[] =
    "\"apiVersion\":{\"description\":\"Version of the API this object is written "
    "for.\",\"type\":\"string\"},"
    "\"kind\":{\"description\":\"What kind of object this is.\",\"type\":\"string\"},";

static bool only_v3(struct str key)
{
    static const char *const words[] = {"anyOf", "oneOf", "allOf", "not", "nullable", "default"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eqz(key, words[i]))
            return true;
    return false;
}

static void schema_print(const struct json *v, bool v3, struct buf *b);

static void value_print(const struct json *m, bool v3, struct buf *b)
{
    bool map = str_is(m->key, "properties");
    bool schema = str_is(m->key, "items") || str_is(m->key, "additionalProperties");
    if (map && m->type == JSON_OBJ) {
        buf_add_char(b, '{');
        json_for_each(p, m)
        {
            if (p != m->first)
                buf_add_char(b, ',');
            json_print_str(p->key, b);
            buf_add_char(b, ':');
            schema_print(p, v3, b);
        }
        buf_add_char(b, '}');
    } else if (schema && m->type == JSON_OBJ) {
        schema_print(m, v3, b);
    } else {
        json_print(m, b);
    }
}

static void schema_print(const struct json *v, bool v3, struct buf *b)
{
    bool first = true;
    buf_add_char(b, '{');
    for (const struct json *m = v->type == JSON_OBJ ? v->first : NULL; m; m = m->next) {
        if (!v3 && only_v3(m->key))
            continue;
        if (!first)
            buf_add_char(b, ',');
        first = false;
        json_print_str(m->key, b);
        buf_add_char(b, ':');
        value_print(m, v3, b);
    }
    buf_add_char(b, '}');
}

static void meta_ref_print(bool v3, const char *prefix, const struct schema_desc *meta,
                           struct buf *b)
{
    buf_printf(b,
               v3 ? "\"metadata\":{\"description\":\"Name, labels and the like.\","
                    "\"allOf\":[{\"$ref\":\"%s%s\"}]}"
                  : "\"metadata\":{\"description\":\"Name, labels and the like.\","
                    "\"$ref\":\"%s%s\"}",
               prefix, meta->openapi);
}

static void gvk_print(const struct schema_desc *d, struct buf *b)
{
    buf_printf(b,
               ",\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"kind\":\"%s\","
               "\"version\":\"%s\"}]}",
               d->group, d->name, d->version);
}

static void list_print(bool v3, const char *prefix, const struct schema_desc *d,
                       const struct schema_desc *item, struct buf *b)
{
    buf_printf(b,
               "\"%s\":{\"description\":\"A list of %s objects.\",\"type\":\"object\",\"required\":"
               "[\"items\"],\"properties\":{%s\"items\":{\"description\":\"The objects.\",\"type\":"
               "\"array\",\"items\":{\"$ref\":\"%s%s\"}},",
               d->openapi, item->name, meta_texts, prefix, item->openapi);
    meta_ref_print(v3, prefix, &api_list_meta_desc, b);
    buf_add_char(b, '}');
    gvk_print(d, b);
}

void openapi_custom_print(bool v3, const char *prefix, const struct schema_desc *d, struct buf *b)
{
    if (d->flags & SCHEMA_DESC_OF_LIST) {
        list_print(v3, prefix, d, &CONTAINER_OF(d, const struct custom, list_desc)->desc, b);
        return;
    }
    const struct custom *c = CONTAINER_OF(d, const struct custom, desc);
    const struct json *tree = c->schema->tree, *props = json_getz(tree, "properties");
    buf_printf(b, "\"%s\":{", d->openapi);
    json_for_each(m, tree)
    {
        if (str_is(m->key, "properties") || (!v3 && only_v3(m->key)))
            continue;
        json_print_str(m->key, b);
        buf_add_char(b, ':');
        value_print(m, v3, b);
        buf_add_char(b, ',');
    }
    buf_printf(b, "\"properties\":{%s", meta_texts);
    meta_ref_print(v3, prefix, &api_object_meta_desc, b);
    for (const struct json *p = props ? props->first : NULL; p; p = p->next) {
        if (str_is(p->key, "apiVersion") || str_is(p->key, "kind") || str_is(p->key, "metadata"))
            continue;
        buf_add_char(b, ',');
        json_print_str(p->key, b);
        buf_add_char(b, ':');
        schema_print(p, v3, b);
    }
    buf_add_char(b, '}');
    gvk_print(d, b);
}
