/* One object under two kinds: what is read through the one and written through the other is the
 * same object. */
#include "test.h"

#include "schema/schema.h"

#define HPA  schema_kinds[KIND_HORIZONTAL_POD_AUTOSCALER]
#define HPA1 schema_kinds[KIND_HPA1]
#define P    "autoscaling.alpha.kubernetes.io/"
#define HEAD                                                                                       \
    "{\"metadata\":{\"name\":\"h\",\"annotations\":{\"a\":\"1\",\"z\":\"2\"}},\"spec\":{"          \
    "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\",\"apiVersion\":\"apps/v1\"},"      \
    "\"minReplicas\":2,\"maxReplicas\":9"

static struct arena arena;

static void *decoded(const struct schema_desc *d, const char *text)
{
    void *m = schema_new(d, &arena);
    assert_ok(schema_decode_text(d, str_z(text), &arena, NULL, m, NULL));
    return m;
}

static struct str annotation(const struct api_object_meta *m, const char *key)
{
    for (uint32_t i = 0; i < m->n_annotations; i++)
        if (str_eqz(m->annotations[i].key, key))
            return m->annotations[i].value;
    return STR_NONE;
}

#define METRIC(type, member, text) "{\"type\":\"" type "\",\"" member "\":{" text "}}"
#define CPU                                                                                        \
    METRIC("Resource", "resource",                                                                 \
           "\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}")
#define MEMORY                                                                                     \
    METRIC("Resource", "resource",                                                                 \
           "\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"1Gi\"}")
#define CONTAINER                                                                                  \
    METRIC("ContainerResource", "containerResource",                                               \
           "\"name\":\"cpu\",\"container\":\"c\",\"target\":{\"type\":\"Utilization\","            \
           "\"averageUtilization\":7}")
#define PODS                                                                                       \
    METRIC("Pods", "pods",                                                                         \
           "\"metric\":{\"name\":\"hits\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}},"          \
           "\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}")
#define OBJECT(target)                                                                             \
    METRIC("Object", "object",                                                                     \
           "\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\"},\"metric\":{\"name\":\"r\"}" \
           ",\"target\":{" target "}")
#define EXTERNAL(target)                                                                           \
    METRIC("External", "external", "\"metric\":{\"name\":\"q\"},\"target\":{" target "}")
#define VALUE   "\"type\":\"Value\",\"value\":\"3\""
#define AVERAGE "\"type\":\"AverageValue\",\"averageValue\":\"4\""

static void autoscalers_come_back(void **state)
{
    static const char *const specs[] = {
        HEAD "}}",
        HEAD ",\"metrics\":[" CPU "]}}",
        HEAD ",\"metrics\":[" MEMORY "," CONTAINER "," PODS "]}}",
        HEAD ",\"metrics\":[" CPU
             "," OBJECT(VALUE) "," OBJECT(AVERAGE) "," EXTERNAL(VALUE) "," EXTERNAL(AVERAGE) "]}}",
        HEAD ",\"behavior\":{\"scaleUp\":{\"stabilizationWindowSeconds\":0,\"selectPolicy\":"
             "\"Max\",\"policies\":[{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":15}]}}}}",
        HEAD "},\"status\":{\"observedGeneration\":3,\"lastScaleTime\":\"2026-01-01T00:00:00Z\","
             "\"currentReplicas\":4,\"desiredReplicas\":5,\"currentMetrics\":["
             "{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"current\":"
             "{\"averageUtilization\":40,\"averageValue\":\"400m\"}}},"
             "{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"hits\"},\"current\":"
             "{\"averageValue\":\"9\"}}},"
             "{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":"
             "\"s\"},\"metric\":{\"name\":\"r\"},\"current\":{\"value\":\"3\"}}},"
             "{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\","
             "\"container\":\"c\",\"current\":{\"averageUtilization\":1}}},"
             "{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"q\"},\"current\":"
             "{\"averageValue\":\"2\"}}}],\"conditions\":[{\"type\":\"AbleToScale\",\"status\":"
             "\"True\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"reason\":\"R\"}]}}",
        HEAD "},\"status\":{\"currentMetrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":"
             "\"cpu\",\"current\":{\"averageUtilization\":40}}}]}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const void *new = decoded(HPA->desc, specs[i]);
        const void *old = schema_from_storage(HPA1, new, &arena);
        const void *back = schema_to_storage(HPA1, old, &arena);
        if (!schema_equal(HPA->desc, new, back)) {
            struct buf b = {0};
            schema_encode_json(HPA->desc, back, 0, &b);
            print_error("%s\ncame back as %.*s\n", specs[i], STR_ARG(buf_str(&b)));
            fail();
        }
        /* and over the wire of the old form */
        struct buf b = {0};
        schema_encode_json(HPA1->desc, old, 0, &b);
        struct str text = arena_str(&arena, buf_str(&b));
        buf_fini(&b);
        void *read = schema_new(HPA1->desc, &arena);
        assert_ok(schema_decode_text(HPA1->desc, text, &arena, NULL, read, NULL));
        assert_true(schema_equal(HPA->desc, new, schema_to_storage(HPA1, read, &arena)));
        arena_clear(&arena);
    }
}

static void the_old_form_is_that_of_kubernetes(void **state)
{
    const struct api_hpa1 *old = schema_from_storage(
        HPA1, decoded(HPA->desc, HEAD ",\"metrics\":[" MEMORY "," CPU "," PODS "]}}"), &arena);
    assert_true(old->spec.has_target_cpu_utilization_percentage);
    assert_int_equal(old->spec.target_cpu_utilization_percentage, 50);
    assert_int_equal(old->metadata.n_annotations, 3);
    assert_str(old->metadata.annotations[0].key, "a");
    assert_str(old->metadata.annotations[2].key, "z");
    assert_str(annotation(&old->metadata, P "metrics"),
               "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageValue\":"
               "\"1Gi\"}},{\"type\":\"Pods\",\"pods\":{\"metricName\":\"hits\","
               "\"targetAverageValue\":\"10\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}]");
    arena_clear(&arena);
}

static void what_cannot_be_read_stays(void **state)
{
    static const char *const texts[] = {"nonsense", "{}", "[1]", "[{\"type\":1}]"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct api_hpa1 *old = decoded(HPA1->desc, "{\"metadata\":{\"name\":\"h\"}}");
        struct kv_str notes[] = {{STR(P "metrics"), str_z(texts[i])}};
        old->metadata.annotations = notes;
        old->metadata.n_annotations = 1;
        const struct api_horizontal_pod_autoscaler *new = schema_to_storage(HPA1, old, &arena);
        assert_int_equal(new->spec.n_metrics, 0);
        assert_str(annotation(&new->metadata, P "metrics"), texts[i]);
        old = (void *)(uintptr_t)schema_from_storage(HPA1, new, &arena);
        assert_str(annotation(&old->metadata, P "metrics"), texts[i]);
        arena_clear(&arena);
    }
}

static void kinds_with_functions_are_stored_as_another(void **state)
{
    for (int i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        assert_true(!k->convert_hook || k->storage != k->id);
        if (k->storage == k->id)
            continue;
        /* an empty one goes there and back */
        const void *m = schema_new(k->desc, &arena);
        m = schema_from_storage(k, schema_to_storage(k, m, &arena), &arena);
        assert_true(schema_is_empty(k->desc, m));
    }
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(autoscalers_come_back),
        cmocka_unit_test(the_old_form_is_that_of_kubernetes),
        cmocka_unit_test(what_cannot_be_read_stays),
        cmocka_unit_test(kinds_with_functions_are_stored_as_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
