/* Every message, filled at random: struct -> JSON -> struct -> protobuf -> struct -> JSON gives the
 * same meaning and the same text at each step, a tree is that of the text; copies are equal and
 * independent. DAVIT_SEED repeats a run. */
#include "test.h"

#include "random_msg.h"

#include "codec/pb.h"

#include <stdio.h>

static uint64_t seed = 1;

static void fail_at(const struct schema_desc *d, uint64_t s, const char *what, struct str x,
                    struct str y)
{
    print_error("%s, seed %llu: %s\n%.*s\n%.*s\n", d->openapi, (unsigned long long)s, what,
                STR_ARG(x), STR_ARG(y));
    fail();
}

static void round_trip(const struct schema_desc *d, uint64_t s, bool empties)
{
    struct arena a = {0};
    struct error err = {0};
    struct buf j1 = {0}, j2 = {0}, j3 = {0}, pb = {0};
    struct random_msg r = {.a = &a, .state = s * 0x9E3779B97F4A7C15u + 1, .empties = empties};
    void *m1 = schema_new(d, &a), *m2 = schema_new(d, &a), *m3 = schema_new(d, &a);
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_STRICT};

    rnd_msg(&r, d, m1, 0);
    schema_encode_json(d, m1, SCHEMA_ENCODE_TYPE_META, &j1);
    if (!json_valid(buf_str(&j1)))
        fail_at(d, s, "prints invalid JSON", buf_str(&j1), STR(""));
    if (schema_decode_text(d, buf_str(&j1), &a, &opts, m2, &err) < 0)
        fail_at(d, s, "does not read its own JSON", buf_str(&j1), err.message);
    schema_encode_json(d, m2, SCHEMA_ENCODE_TYPE_META, &j2);
    if (!str_eq(buf_str(&j1), buf_str(&j2)))
        fail_at(d, s, "JSON differs", buf_str(&j1), buf_str(&j2));
    if (!schema_equal(d, m1, m2) || !schema_equal(d, m2, m1))
        fail_at(d, s, "differs after JSON", buf_str(&j1), buf_str(&j2));
    struct json *text = NULL;
    assert_ok(json_parse(buf_str(&j1), &a, NULL, &text, NULL));
    buf_clear(&j2);
    buf_clear(&j3);
    json_print(text, &j2);
    json_print(schema_to_json(d, m1, SCHEMA_ENCODE_TYPE_META, &a), &j3);
    if (!str_eq(buf_str(&j2), buf_str(&j3)))
        fail_at(d, s, "the tree differs from the text", buf_str(&j2), buf_str(&j3));
    buf_clear(&j3);
    schema_encode_pb(d, m2, &pb);
    if (schema_decode_pb(d, buf_str(&pb), &a, m3, &err) < 0)
        fail_at(d, s, "does not read its own protobuf", buf_str(&j1), err.message);
    schema_encode_json(d, m3, SCHEMA_ENCODE_TYPE_META, &j3);
    if (!empties && !str_eq(buf_str(&j1), buf_str(&j3)))
        fail_at(d, s, "JSON differs after protobuf", buf_str(&j1), buf_str(&j3));
    if (!schema_equal(d, m1, m3))
        fail_at(d, s, "differs after protobuf", buf_str(&j1), buf_str(&j3));

    size_t bytes = 0;
    void *block = schema_compact(d, m1, &bytes);
    struct arena other = {0};
    void *clone = schema_clone(d, block, &other);
    arena_fini(&a); /* whatever the copies shared with it is poisoned now */
    free(block);
    buf_clear(&j2);
    schema_encode_json(d, clone, SCHEMA_ENCODE_TYPE_META, &j2);
    if (!str_eq(buf_str(&j1), buf_str(&j2)))
        fail_at(d, s, "copy differs", buf_str(&j1), buf_str(&j2));
    assert_true(bytes >= d->size);
    arena_fini(&other);
    buf_fini(&j1);
    buf_fini(&j2);
    buf_fini(&j3);
    buf_fini(&pb);
    error_fini(&err);
}

static void every_message_round_trips(void **state)
{
    for (size_t i = 0; schema_descs[i]; i++)
        for (uint64_t k = 0; k < 12; k++)
            round_trip(schema_descs[i], seed + k, k % 3 == 0);
}

static void empty_messages_round_trip(void **state)
{
    for (size_t i = 0; schema_descs[i]; i++) {
        const struct schema_desc *d = schema_descs[i];
        struct arena a = {0};
        struct buf j = {0}, pb = {0};
        void *m = schema_new(d, &a), *back = schema_new(d, &a);
        assert_true(schema_is_empty(d, m));
        schema_encode_json(d, m, 0, &j);
        assert_ok(schema_decode_text(d, buf_str(&j), &a, NULL, back, NULL));
        assert_true(schema_equal(d, m, back));
        schema_encode_pb(d, m, &pb);
        assert_int_equal(pb.n, 0);
        assert_ok(schema_decode_pb(d, buf_str(&pb), &a, back, NULL));
        assert_true(schema_is_empty(d, back));
        buf_fini(&j);
        buf_fini(&pb);
        arena_fini(&a);
    }
}

/* Every prefix of a message, and the message with each byte changed: an answer, never a crash. */
static void damaged_protobuf_is_survived(void **state)
{
    for (size_t i = 0; schema_descs[i]; i++) {
        const struct schema_desc *d = schema_descs[i];
        struct arena a = {0};
        struct buf pb = {0};
        struct random_msg r = {.a = &a, .state = seed + i};
        void *m = schema_new(d, &a), *back = schema_new(d, &a);
        rnd_msg(&r, d, m, 0);
        schema_encode_pb(d, m, &pb);
        size_t step = pb.n / 60 + 1;
        for (size_t n = 0; n < pb.n; n += step) {
            char *cut = malloc(n + 1); /* so that ASan sees a read behind it */
            memcpy(cut, pb.data, n);
            assert_true(schema_decode_pb(d, (struct str){cut, n}, &a, back, NULL) <= 0);
            free(cut);
            char was = pb.data[n];
            pb.data[n] = (char)(was ^ (1 << rnd(&r, 8)));
            assert_true(schema_decode_pb(d, buf_str(&pb), &a, back, NULL) <= 0);
            pb.data[n] = was;
        }
        buf_fini(&pb);
        arena_fini(&a);
    }
}

/* Times, quantities and their like are small messages of their own. */
static void wrong_wire_types_of_values_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int r;
    } rows[] = {
        {"\x42\x02\x08\x01", 4, 0},                   /* creationTimestamp: seconds, a number */
        {"\x42\x03\x0a\x01\x61", 5, -EINVAL},         /* seconds, a text */
        {"\x42\x05\x15\x01\x02\x03\x04", 7, -EINVAL}, /* nanoseconds, four bytes */
        {"\x42\x02\x18\x01", 4, 0},                   /* a field that no time has is skipped */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct api_object_meta m;
        struct str bytes = {rows[i].bytes, rows[i].n};
        assert_int_equal(schema_decode_pb(&api_object_meta_desc, bytes, &a, &m, NULL), rows[i].r);
        arena_fini(&a);
    }
    struct arena a = {0};
    struct error err = {0};
    struct api_service_port p;
    struct str number_as_text = {"\x22\x02\x18\x01", 4}; /* targetPort: strVal, a number */
    assert_int_equal(schema_decode_pb(&api_service_port_desc, number_as_text, &a, &p, &err),
                     -EINVAL);
    assert_str(err.message, "invalid protobuf of ServicePort.targetPort: wrong wire type");
    error_fini(&err);
    arena_fini(&a);
}

static void envelopes_come_back(void **state)
{
    struct arena a = {0};
    struct buf b = {0};
    struct api_deployment d = {0}, back;
    struct schema_envelope e;
    struct error err = {0};
    d.metadata.name = STR("web");
    d.spec.has_replicas = true;
    schema_encode_pb_envelope(&api_deployment_desc, &d, &b);
    assert_true(schema_is_pb_envelope(buf_str(&b)));
    assert_ok(schema_decode_pb_envelope(buf_str(&b), &e, &err));
    assert_str(e.api_version, "apps/v1");
    assert_str(e.kind, "Deployment");
    assert_ok(schema_decode_pb(&api_deployment_desc, e.raw, &a, &back, &err));
    assert_true(schema_equal(&api_deployment_desc, &d, &back));
    assert_true(back.spec.has_replicas);
    for (size_t n = 0; n < b.n; n++)
        assert_true(schema_decode_pb_envelope(str_sub(buf_str(&b), 0, n), &e, NULL) <= 0);
    assert_int_equal(schema_decode_pb_envelope(STR("k8s"), &e, &err), -EINVAL);
    assert_int_equal(schema_decode_pb_envelope(STR("{}"), &e, NULL), -EINVAL);
    assert_int_equal(schema_decode_pb_envelope((struct str){"k8s\0\x0a\x7f", 6}, &e, NULL),
                     -EINVAL);
    buf_fini(&b);
    arena_fini(&a);
    error_fini(&err);
}

/* Schemas of custom resources are JSON here and messages in protobuf. */
static void schemas_are_messages(void **state)
{
    static const char *const schemas[] = {
        "{}",
        ("{\"description\":\"d\",\"type\":\"object\",\"maximum\":1.5,\"exclusiveMaximum\":true,"
         "\"minLength\":0,"
         "\"enum\":[1,\"a\",null,{\"b\":[2]}],\"required\":[\"a\",\"b\"]}"),
        "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}",
        "{\"items\":[{\"type\":\"string\"},{}]}",
        "{\"additionalProperties\":true}",
        "{\"additionalProperties\":false}",
        ("{\"properties\":{\"a\":{\"additionalProperties\":{\"type\":\"integer\",\"default\":{"
         "\"x\":"
         "null}}},"
         "\"b\":{\"not\":{\"type\":\"string\"}}}}"),
        ("{\"x-kubernetes-list-map-keys\":[\"k\"],\"x-kubernetes-list-type\":\"map\","
         "\"x-kubernetes-validations\":[{\"rule\":\"self.a == 1\",\"message\":\"m\"}]}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        struct arena a = {0};
        struct buf b = {0};
        struct error err = {0};
        struct api_custom_resource_validation v = {.open_apiv3_schema = str_z(schemas[i])}, back;
        schema_encode_pb(&api_custom_resource_validation_desc, &v, &b);
        assert_null(memmem(b.data, b.n, "\"type\"", 6)); /* no JSON but what is raw */
        assert_ok(
            schema_decode_pb(&api_custom_resource_validation_desc, buf_str(&b), &a, &back, &err));
        assert_str(back.open_apiv3_schema, schemas[i]);
        for (size_t n = 0; n < b.n; n++) { /* cut short anywhere: an error or less, no harm */
            struct error e = {0};
            (void)!schema_decode_pb(&api_custom_resource_validation_desc,
                                    str_sub(buf_str(&b), 0, n), &a, &back, &e);
            error_fini(&e);
        }
        buf_clear(&b);
        schema_encode_pb_stored(&api_custom_resource_validation_desc, &v, &b);
        assert_non_null(memmem(b.data, b.n, schemas[i], strlen(schemas[i]))); /* the text */
        buf_fini(&b);
        error_fini(&err);
        arena_fini(&a);
    }
}

/* items { schema { type: "string" } } by hand: the numbers are those of Kubernetes. */
static void schemas_have_their_numbers(void **state)
{
    static const char wire[] = "\x0a\x12\x2a\x05"
                               "array\xc2\x01\x08\x0a\x06\x2a\x04"
                               "kind";
    struct arena a = {0};
    struct buf b = {0};
    struct error err = {0};
    struct api_custom_resource_validation v;
    struct str bytes = {wire, sizeof(wire) - 1};
    assert_ok(schema_decode_pb(&api_custom_resource_validation_desc, bytes, &a, &v, &err));
    assert_str(v.open_apiv3_schema, "{\"type\":\"array\",\"items\":{\"type\":\"kind\"}}");
    schema_encode_pb(&api_custom_resource_validation_desc, &v, &b);
    assert_int_equal(b.n, bytes.n);
    assert_memory_equal(b.data, bytes.p, b.n);
    /* a hundred lists in each other are too many, not a crash */
    buf_clear(&b);
    buf_add(&b, "\x2a\x01x", 3);
    for (int i = 0; i < 500; i++) {
        struct buf out = {0};
        size_t m = pb_begin(&out, 24), o = pb_begin(&out, 1);
        buf_add(&out, b.data, b.n);
        pb_end(&out, o);
        pb_end(&out, m);
        buf_fini(&b);
        b = out;
    }
    struct buf out = {0};
    size_t m = pb_begin(&out, 1);
    buf_add(&out, b.data, b.n);
    pb_end(&out, m);
    assert_true(
        schema_decode_pb(&api_custom_resource_validation_desc, buf_str(&out), &a, &v, &err) < 0);
    buf_fini(&out);
    buf_fini(&b);
    error_fini(&err);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_round_trips),
        cmocka_unit_test(empty_messages_round_trip),
        cmocka_unit_test(damaged_protobuf_is_survived),
        cmocka_unit_test(wrong_wire_types_of_values_are_refused),
        cmocka_unit_test(envelopes_come_back),
        cmocka_unit_test(schemas_are_messages),
        cmocka_unit_test(schemas_have_their_numbers),
    };
    const char *s = getenv("DAVIT_SEED");
    if (s)
        seed = strtoull(s, NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
