/* Server-side apply by any schema: four lines, the schema, the object, the configuration, and what
 * its manager applied before. Sets must be well formed whatever the values are, what a
 * configuration owns is what a write of it would change, and applying on and on changes nothing. */
#include "schema/apply.h"
#include "schema/custom.h"
#include "schema/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct custom *kind_of(struct str schema)
{
    struct api_custom_resource_validation validation = {.open_apiv3_schema = schema};
    struct api_custom_resource_definition_version version = {.name = STR("v1"),
                                                             .schema = &validation};
    struct api_custom_resource_definition crd = {
        .spec = {.group = STR("acme.io"),
                 .scope = STR("Namespaced"),
                 .names = {.plural = STR("gears"), .kind = STR("Gear")},
                 .versions = &version,
                 .n_versions = 1},
    };
    struct error err = {0};
    struct custom *c = NULL;
    if (custom_new(&crd, 0, 1, &c, &err) < 0)
        c = NULL;
    error_fini(&err);
    return c;
}

/* Without what is there twice. */
static struct json *canonical(struct str text, struct arena *a)
{
    struct buf b = {0};
    struct json *v;
    if (json_parse(text, a, NULL, &v, NULL) < 0)
        return NULL;
    json_print_sorted(v, &b);
    int r = json_parse(buf_str(&b), a, NULL, &v, NULL);
    ASSERT(r == 0);
    buf_fini(&b);
    return v;
}

static bool message(const struct schema_desc *d, const struct json *v, struct arena *a,
                    struct custom_object *ret)
{
    return schema_decode_json(d, v, a, NULL, ret, NULL) == 0;
}

/* What it names is changed when it comes where nothing was. */
static void written(const struct schema_desc *d, struct json *config, struct str set,
                    struct arena *a)
{
    static const struct custom_object nothing;
    struct custom_object o;
    struct fields_diff diff;
    struct json *status = json_get(config, STR("status"));
    if (json_get(config, STR("metadata")) || (status && status->type == JSON_NULL) ||
        !message(d, config, a, &o))
        return;
    (void)fields_diff(d, &nothing, &o, NULL, a, &diff);
    ASSERT(fields_valid(diff.changed) && fields_empty(diff.removed));
    ASSERT(fields_contain(diff.changed, fields_strip(d, set, NULL, a)));
    ASSERT(!fields_diff(d, &o, &o, NULL, a, &diff));
}

/* What its manager said before may take an empty object or list along that it says now, as in
 * Kubernetes: it comes back the next time, and from then on nothing changes. */
static struct str again(const struct schema_desc *d, struct str text, const struct json *config,
                        struct str set, struct arena *a)
{
    struct buf b = {0};
    struct json *doc;
    int r = json_parse(text, a, NULL, &doc, NULL);
    ASSERT(r == 0);
    apply_merge(d, &doc, config, a);
    apply_prune(d, doc, set, set, a);
    json_print(doc, &b);
    struct str s = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return s;
}

static void apply(const struct schema_desc *d, struct json *doc, const struct json *config,
                  struct str last, struct str set, struct arena *a)
{
    struct custom_object old, new;
    struct fields_diff diff;
    struct buf once = {0};
    bool good = message(d, doc, a, &old);
    apply_merge(d, &doc, config, a);
    apply_prune(d, doc, last, set, a);
    json_print(doc, &once);
    if (good && message(d, doc, a, &new)) {
        (void)fields_diff(d, &old, &new, "status", a, &diff);
        ASSERT(fields_valid(diff.changed) && fields_valid(diff.removed));
        ASSERT(!fields_intersect(diff.changed, diff.removed));
        ASSERT(fields_valid(fields_union(diff.changed, set, a)));
        ASSERT(fields_valid(fields_reconcile(d, diff.changed, a)));
    }
    struct str second = again(d, buf_str(&once), config, set, a);
    ASSERT(str_eq(second, again(d, second, config, set, a)));
    buf_fini(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, schema, live, config;
    struct arena a = {0};
    struct error err = {0};
    (void)str_cut(&text, '\n', &schema);
    (void)str_cut(&text, '\n', &live);
    (void)str_cut(&text, '\n', &config);
    struct json *doc = canonical(live, &a), *v = canonical(config, &a), *w = canonical(text, &a);
    struct custom *c = json_is(doc, JSON_OBJ) && v && w ? kind_of(schema) : NULL;
    if (c) {
        const struct schema_desc *d = &c->desc;
        struct str set, last;
        int r = fields_of_tree(d, v, &a, &set, &err);
        ASSERT(r == 0 || err.message.p);
        if (r == 0) {
            ASSERT(fields_valid(set));
            written(d, v, set, &a);
        }
        error_clear(&err);
        if (r == 0 && fields_of_tree(d, w, &a, &last, &err) == 0)
            apply(d, doc, v, last, set, &a);
        custom_unref(&c->kind);
    }
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
