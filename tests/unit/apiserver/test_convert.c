/* Conversion webhooks: what they are asked and which answers are believed. */
#include "apiserver/custom/convert_review.h"
#include "base/mem.h"
#include "test.h"

#define UID "0123456789abcdef0123456789abcdef0123"

static const char definition[] =
    "{\"metadata\":{\"name\":\"gears.acme.io\"},\"spec\":{\"group\":\"acme.io\",\"scope\":"
    "\"Namespaced\",\"names\":{\"plural\":\"gears\",\"kind\":\"Gear\"},\"versions\":["
    "{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
    "\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"teeth\":{\"type\":"
    "\"integer\"},\"color\":{\"type\":\"string\",\"default\":\"red\"}}}}}}},"
    "{\"name\":\"v2\",\"served\":true,\"storage\":false,\"schema\":{\"openAPIV3Schema\":{\"type\":"
    "\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"size\":{\"type\":"
    "\"integer\"}}}}}}}]},\"status\":{\"acceptedNames\":{\"plural\":\"gears\",\"kind\":\"Gear\"}}}";

struct fx {
    struct arena a;
    struct api_custom_resource_definition crd;
    struct custom *v1, *v2;
    struct object *in[2];
    struct convert_review r;
};

static struct object *gear(struct fx *f, const char *name, rev_t rev)
{
    char text[512];
    struct custom_object *msg = schema_new(f->v1->variant->desc, &f->a);
    snprintf(text, sizeof(text),
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\",\"uid\":\"u-%s\",\"generation\":3,"
             "\"labels\":{\"a\":\"b\"}},\"spec\":{\"teeth\":5}}",
             name, name);
    assert_ok(
        schema_decode_text(f->v1->variant->desc, arena_strz(&f->a, text), &f->a, NULL, msg, NULL));
    return object_new(f->v1->variant, msg, rev);
}

static int setup(void **state)
{
    struct fx *f = NEW(struct fx);
    struct error err = {0};
    assert_ok(schema_decode_text(&api_custom_resource_definition_desc, str_z(definition), &f->a,
                                 NULL, &f->crd, &err));
    assert_ok(custom_new(&f->crd, 0, 10, &f->v1, &err));
    assert_ok(custom_new(&f->crd, 1, 10, &f->v2, &err));
    error_fini(&err);
    f->in[0] = gear(f, "x", 20);
    f->in[1] = gear(f, "y", 21);
    f->r = (struct convert_review){
        .uid = UID, .to = f->v2->variant, .schema = f->v2, .objects = f->in, .n = 1};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    object_unref(f->in[0]);
    object_unref(f->in[1]);
    custom_unref(&f->v1->kind);
    custom_unref(&f->v2->kind);
    arena_fini(&f->a);
    free(f);
    return 0;
}

static void asks(struct fx *f, const char *expected)
{
    struct buf b = {0};
    convert_review_print(&f->r, &b);
    assert_str(buf_str(&b), expected);
    buf_fini(&b);
}

static void what_is_asked(void **state)
{
    struct fx *f = *state;
    asks(f, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"request\":"
            "{\"uid\":\"" UID "\",\"desiredAPIVersion\":\"acme.io/v2\",\"objects\":[{\"kind\":"
            "\"Gear\",\"apiVersion\":\"acme.io/v1\",\"metadata\":{\"name\":\"x\",\"namespace\":"
            "\"n\",\"uid\":\"u-x\",\"resourceVersion\":\"20\",\"generation\":3,\"labels\":"
            "{\"a\":\"b\"}},\"spec\":{\"teeth\":5}}]}}");
    /* written before its schema came: it gets the defaults of that first */
    struct object *old = gear(f, "old", 9);
    const struct custom *from = f->v1;
    f->r.v1beta1 = true;
    f->r.objects = &old;
    f->r.from = &from;
    asks(f, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1beta1\","
            "\"request\":{\"uid\":\"" UID "\",\"desiredAPIVersion\":\"acme.io/v2\",\"objects\":["
            "{\"kind\":\"Gear\",\"apiVersion\":\"acme.io/v1\",\"metadata\":{\"name\":\"old\","
            "\"namespace\":\"n\",\"uid\":\"u-old\",\"resourceVersion\":\"9\",\"generation\":3,"
            "\"labels\":{\"a\":\"b\"}},\"spec\":{\"color\":\"red\",\"teeth\":5}}]}}");
    object_unref(old);
}

#define GOOD_META(n) "\"metadata\":{\"name\":\"" n "\",\"namespace\":\"n\",\"uid\":\"u-" n "\"}"
#define GEAR(meta)   "{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\"," meta ",\"spec\":{}}"
#define HEAD         "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"ConversionReview\","
#define ANSWER(objects)                                                                            \
    HEAD "\"response\":{\"uid\":\"" UID "\",\"result\":{\"status\":\"Success\"},"                  \
         "\"convertedObjects\":[" objects "]}}"

static void good_answer(void **state)
{
    struct fx *f = *state;
    struct object *out[2] = {NULL};
    f->r.n = 2;
    /* what is not the webhook's to say is taken from the source, in whatever form it comes; what
     * the schema does not know goes */
    assert_ok(convert_review_read(
        &f->r,
        STR(ANSWER(
            "{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\",\"spec\":{\"size\":5,\"x\":1},"
            "\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"u-x\","
            "\"generation\":\"many\",\"resourceVersion\":\"1\",\"finalizers\":[\"q\"],"
            "\"labels\":{\"l\":\"1\"},\"annotations\":{\"teeth\":\"5\"}}}," GEAR(GOOD_META("y")))),
        out, NULL));
    assert_str(
        object_json(out[0]),
        "{\"kind\":\"Gear\",\"apiVersion\":\"acme.io/v2\",\"metadata\":{\"name\":\"x\","
        "\"namespace\":\"n\",\"uid\":\"u-x\",\"resourceVersion\":\"20\",\"generation\":3,"
        "\"labels\":{\"l\":\"1\"},\"annotations\":{\"teeth\":\"5\"}},\"spec\":{\"size\":5}}");
    assert_int_equal(out[1]->rev, 21);
    assert_ptr_equal(out[1]->kind, f->v2->variant);
    assert_int_equal(object_meta(out[1])->n_labels, 0);
    object_unref(out[0]);
    object_unref(out[1]);
}

static void bad_answers(void **state)
{
    struct fx *f = *state;
    static const struct {
        size_t n;
        const char *answer, *message;
    } rows[] = {
        {1, "nonsense", "failed: "},
        {1, "", "failed: "},
        {1, "[1]", "failed: the answer is not an object but array"},
        {1, "{\"apiVersion\":\"v1\",\"kind\":\"Status\"}",
         "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got "
         "v1, Kind=Status"},
        {1, HEAD "\"request\":{}}", "failed: no response provided"},
        {1, HEAD "\"response\":{\"uid\":\"other\",\"result\":{\"status\":\"Success\"}}}",
         "failed: expected response.uid=\"" UID "\", got \"other\""},
        {1, HEAD "\"response\":{\"uid\":\"" UID "\"}}",
         "failed: response.result.status was '', not 'Success'"},
        {1,
         HEAD "\"response\":{\"uid\":\"" UID "\",\"result\":{\"status\":\"Failed\",\"message\":"
              "\"no such size\"}}}",
         "failed: no such size"},
        {1, ANSWER(""), "returned 0 objects, expected 1"},
        {1, ANSWER(GEAR(GOOD_META("x")) "," GEAR(GOOD_META("x"))),
         "returned 2 objects, expected 1"},
        {2, ANSWER(GEAR(GOOD_META("x"))), "returned 1 objects, expected 2"},
        {1, ANSWER("7"), "returned invalid object: invalid type, expected=object, got=number"},
        {1, ANSWER("{\"apiVersion\":\"acme.io/v1\",\"kind\":\"Gear\"," GOOD_META("x") "}"),
         "returned invalid object: invalid groupVersion (expected acme.io/v2, received "
         "acme.io/v1)"},
        {1, ANSWER("{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Wheel\"," GOOD_META("x") "}"),
         "returned invalid object: invalid kind (expected Gear, received Wheel)"},
        {1, ANSWER("{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\"}"),
         "returned invalid object: missing metadata in converted object"},
        {1, ANSWER(GEAR("\"metadata\":[]")),
         "returned invalid object: invalid metadata of type array in converted object"},
        {1, ANSWER(GEAR(GOOD_META("y"))),
         "returned invalid object: must have the same name: x != y"},
        {1, ANSWER(GEAR("\"metadata\":{\"name\":\"x\",\"namespace\":\"m\",\"uid\":\"u-x\"}")),
         "returned invalid object: must have the same namespace: n != m"},
        {1, ANSWER(GEAR("\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"z\"}")),
         "returned invalid object: must have the same UID: u-x != z"},
        {2, ANSWER(GEAR(GOOD_META("y")) "," GEAR(GOOD_META("x"))), /* the other order */
         "returned invalid converted object at index 0: must have the same name: x != y"},
        {2, ANSWER(GEAR(GOOD_META("x")) ",7"),
         "returned invalid converted object at index 1: invalid type, expected=object, got=number"},
        {1,
         ANSWER(GEAR("\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"u-x\","
                     "\"labels\":[]}")),
         "returned invalid metadata: invalid metadata.labels of type array in converted object"},
        {1,
         ANSWER(GEAR("\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"u-x\","
                     "\"annotations\":{\"a\":1}}")),
         "returned invalid metadata: metadata.annotations[a] must be a string, but is number in "
         "converted object"},
        {2,
         ANSWER(GEAR(GOOD_META("x")) "," GEAR(
             "\"metadata\":{\"name\":\"y\",\"namespace\":\"n\",\"uid\":\"u-y\",\"labels\":{\"a\":"
             "\"not a value\"}}")),
         "returned invalid metadata in object at index 1: metadata.labels: Invalid value: \"not a "
         "value\": "},
        {1,
         ANSWER("{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\"," GOOD_META("x") ",\"spec\":"
                                                                                   "{\"size\":"
                                                                                   "1}}") "x",
         "failed: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct object *out[2] = {NULL};
        char want[600];
        f->r.n = rows[i].n;
        assert_int_equal(convert_review_read(&f->r, str_z(rows[i].answer), out, &err), -EBADMSG);
        snprintf(want, sizeof(want), "conversion webhook for acme.io/v1, Kind=Gear %s",
                 rows[i].message);
        if (!str_starts(err.message, str_z(want)))
            fail_msg("row %zu: \"%.*s\" instead of \"%s\"", i, STR_ARG(err.message), want);
        assert_int_equal(err.reason, REASON_INTERNAL);
        assert_null(out[0]);
        assert_null(out[1]);
        error_fini(&err);
    }
}

/* More than is allowed, at each of the bounds. */
static void large_answers(void **state)
{
    struct fx *f = *state;
    struct object *out[1] = {NULL};
    struct error err = {0};
    struct buf b = {0};
    buf_add_lit(&b, HEAD "\"response\":{\"uid\":\"" UID
                         "\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":["
                         "{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\",\"spec\":{},"
                         "\"metadata\":{\"name\":\"x\",\"namespace\":\"n\",\"uid\":\"u-x\","
                         "\"annotations\":{\"a\":\"");
    for (size_t i = 0; i < CONVERT_OBJECT_BYTES_MAX + 4096; i++)
        buf_add_char(&b, 'a');
    buf_add_lit(&b, "\"}}}]}}");
    assert_int_equal(convert_review_read(&f->r, buf_str(&b), out, &err), -EBADMSG);
    assert_true(str_search(err.message, STR("metadata.annotations: Too long")) > 0);
    error_fini(&err);
    err = (struct error){0};
    f->r.schema = NULL; /* nothing is pruned then */
    buf_clear(&b);
    buf_add_lit(&b, HEAD
                "\"response\":{\"uid\":\"" UID
                "\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":["
                "{\"apiVersion\":\"acme.io/v2\",\"kind\":\"Gear\"," GOOD_META("x") ",\"spec\":\"");
    for (size_t i = 0; i < CONVERT_OBJECT_BYTES_MAX + 4096; i++)
        buf_add_char(&b, 'a');
    buf_add_lit(&b, "\"}]}}");
    assert_int_equal(convert_review_read(&f->r, buf_str(&b), out, &err), -EBADMSG);
    assert_true(str_search(err.message, STR("it is too large")) > 0);
    error_fini(&err);
    err = (struct error){0};
    buf_clear(&b);
    buf_add_char(&b, '[');
    for (size_t i = 0; i < CONVERT_VALUES_MAX; i++)
        buf_add_lit(&b, "1,");
    buf_add_lit(&b, "1]");
    assert_int_equal(convert_review_read(&f->r, buf_str(&b), out, &err), -EBADMSG);
    error_fini(&err);
    assert_null(out[0]);
    buf_fini(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(good_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(large_answers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
