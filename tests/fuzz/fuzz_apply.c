/* Server-side apply of any configuration to any object: three lines, the object, the configuration,
 * and what its manager applied before. What comes out must print, decode when the object did, and
 * be the same after a second time. Names come once, as the server sees to before it applies. */
#include "schema/apply.h"
#include "schema/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str applied(struct json *doc, const struct json *config, struct str last,
                          struct str set, struct arena *a, struct buf *out)
{
    apply_merge(&api_pod_desc, &doc, config, a);
    apply_prune(&api_pod_desc, doc, last, set, a);
    buf_clear(out);
    json_print(doc, out);
    ASSERT(json_valid(buf_str(out)));
    return arena_str(a, buf_str(out));
}

static int read_json(struct str text, struct arena *a, struct json **ret)
{
    struct buf b = {0};
    int r = json_parse(text, a, NULL, ret, NULL);
    if (r == 0) {
        json_print_sorted(*ret, &b);
        r = json_parse(buf_str(&b), a, NULL, ret, NULL);
        ASSERT(r == 0);
    }
    buf_fini(&b);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, live, config, former;
    struct arena a = {0};
    struct error err = {0};
    struct buf out = {0};
    struct json *doc, *v, *w;
    struct str set, last;

    (void)str_cut(&text, '\n', &live);
    (void)str_cut(&text, '\n', &config);
    former = text;
    if (read_json(live, &a, &doc) == 0 && doc->type == JSON_OBJ && read_json(config, &a, &v) == 0 &&
        read_json(former, &a, &w) == 0) {
        struct api_pod old, new;
        int r = fields_of_tree(&api_pod_desc, v, &a, &set, &err);
        ASSERT(r == 0 || err.message.p);
        error_clear(&err);
        if (r == 0 && fields_of_tree(&api_pod_desc, w, &a, &last, &err) == 0) {
            struct fields_diff d;
            bool good = schema_decode_json(&api_pod_desc, doc, &a, NULL, &old, NULL) == 0;
            ASSERT(fields_valid(set) && fields_valid(last));
            (void)applied(doc, v, last, set, &a, &out);
            ASSERT(json_parse(buf_str(&out), &a, NULL, &doc, NULL) == 0);
            if (good && schema_decode_json(&api_pod_desc, doc, &a, NULL, &new, NULL) == 0) {
                (void)fields_diff(&api_pod_desc, &old, &new, "status", &a, &d);
                ASSERT(fields_valid(d.changed) && fields_valid(d.removed));
                ASSERT(fields_valid(fields_union(d.changed, set, &a)));
            }
            struct str once = arena_str(&a, buf_str(&out));
            ASSERT(str_eq(once, applied(doc, v, set, set, &a, &out)));
        }
    }
    buf_fini(&out);
    error_fini(&err);
    arena_fini(&a);
    return 0;
}
