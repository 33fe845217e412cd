/* The answer of a conversion webhook, from a stranger, to a question about two objects. What is
 * believed must be what was asked about: the same objects, in order, in the version asked for, with
 * metadata of their own but for labels and annotations; and it can be written and read again. */
#include "apiserver/custom/convert_review.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definition[] =
    "{\"metadata\":{\"name\":\"gears.acme.io\"},\"spec\":{\"group\":\"acme.io\",\"scope\":"
    "\"Namespaced\",\"names\":{\"plural\":\"gears\",\"kind\":\"Gear\"},\"versions\":["
    "{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
    "\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}},{\"name\":\"v2\",\"served\":true,"
    "\"storage\":false,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{"
    "\"spec\":{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\",\"default\":3},"
    "\"any\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}},\"status\":{"
    "\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}}}}]},\"status\":{"
    "\"acceptedNames\":{\"plural\":\"gears\",\"kind\":\"Gear\"}}}";

static struct object *in[2];
static struct custom *v2;

static void object_make(struct custom *v1, int i)
{
    static const char *const texts[] = {
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"u-x\",\"generation\":3,"
        "\"finalizers\":[\"a/b\"],\"labels\":{\"a\":\"b\"}},\"spec\":{\"teeth\":5}}",
        "{\"metadata\":{\"name\":\"y\",\"namespace\":\"n\",\"uid\":\"u-y\"}}"};
    struct arena a = {0};
    void *msg = schema_new(v1->variant->desc, &a);
    int r = schema_decode_text(v1->variant->desc, str_z(texts[i]), &a, NULL, msg, NULL);
    ASSERT(r >= 0);
    in[i] = object_new(v1->variant, msg, (rev_t)(20 + i));
    arena_fini(&a);
}

static void make(void)
{
    static struct arena a; /* stays */
    struct api_custom_resource_definition *crd =
        schema_new(&api_custom_resource_definition_desc, &a);
    struct custom *v1 = NULL;
    int r = schema_decode_text(&api_custom_resource_definition_desc, str_z(definition), &a, NULL,
                               crd, NULL);
    if (r >= 0)
        r = custom_new(crd, 0, 10, &v1, NULL);
    if (r >= 0)
        r = custom_new(crd, 1, 10, &v2, NULL);
    ASSERT(r >= 0);
    object_make(v1, 0);
    object_make(v1, 1);
    custom_unref(&v1->kind);
    arena_clear(&a);
}

static void check(struct object *out, const struct object *from)
{
    const struct api_object_meta *m = object_meta(out), *o = object_meta(from);
    ASSERT(out->kind == v2->variant && out->rev == from->rev);
    ASSERT(str_eq(m->name, o->name) && str_eq(m->namespace, o->namespace) &&
           str_eq(m->uid, o->uid) && m->generation == o->generation &&
           m->n_finalizers == o->n_finalizers && !m->n_owner_references && !m->n_managed_fields);
    struct arena a = {0};
    struct buf pb = {0};
    void *again = schema_new(out->kind->desc, &a);
    schema_encode_pb_stored(out->kind->desc, out->msg, &pb);
    int r = schema_decode_pb_stored(out->kind->desc, buf_str(&pb), &a, again, NULL);
    ASSERT(r >= 0 && schema_equal(out->kind->desc, again, out->msg));
    ASSERT(json_valid(object_json(out)));
    buf_fini(&pb);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct object *out[2] = {NULL};
    struct error err = {0};
    if (!v2)
        make();
    for (size_t n = 1; n <= 2; n++) {
        const struct convert_review q = {.uid = "0123456789abcdef0123456789abcdef0123",
                                         .to = v2->variant,
                                         .schema = v2,
                                         .objects = in,
                                         .n = n};
        int r = convert_review_read(&q, (struct str){(const char *)data, size}, out, &err);
        ASSERT(r >= 0 || (err.message.n && !out[0] && !out[1]));
        for (size_t i = 0; r >= 0 && i < n; i++) {
            check(out[i], in[i]);
            out[i] = object_unref(out[i]);
        }
        error_clear(&err);
    }
    error_fini(&err);
    return 0;
}
