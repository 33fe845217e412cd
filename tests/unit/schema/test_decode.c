/* Golden cases: what a Kubernetes server prints and says, and what it refuses. */
#include "test.h"

#include "schema/schema.h"

static struct arena arena;

static const char pod_in[] = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":"
                             "\"web\",\"labels\":{\"b\":\"2\",\"a\":\"1\"},"
                             "\"annotations\":null,\"creationTimestamp\":null},\"spec\":{"
                             "\"containers\":[{\"name\":\"c\",\"image\":\"nginx\","
                             "\"ports\":[{\"containerPort\":80}],\"resources\":{\"limits\":{"
                             "\"memory\":\"1024Mi\",\"cpu\":0.5}},"
                             "\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}},\"env\":[{"
                             "\"name\":\"A\",\"value\":\"\"},{\"name\":\"B\","
                             "\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}]}],"
                             "\"volumes\":[{\"name\":\"v\","
                             "\"configMap\":{\"name\":\"cm\"}},{\"name\":\"e\",\"emptyDir\":{}}],"
                             "\"terminationGracePeriodSeconds\":0,"
                             "\"hostNetwork\":false},\"status\":{}}";
static const char pod_out[] =
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"labels\":{\"a\":"
    "\"1\",\"b\":\"2\"}},"
    "\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"cm\"}},{\"name\":\"e\","
    "\"emptyDir\":{}}],"
    "\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"ports\":[{\"containerPort\":80}],"
    "\"env\":[{\"name\":\"A\"},"
    "{\"name\":\"B\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}],"
    "\"resources\":{\"limits\":{"
    "\"cpu\":\"500m\",\"memory\":\"1Gi\"}},\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}}}],"
    "\"terminationGracePeriodSeconds\":0},\"status\":{}}";

static void assert_json(const struct schema_desc *d, const void *msg, unsigned flags,
                        const char *expected)
{
    struct buf b = {0};
    schema_encode_json(d, msg, flags, &b);
    assert_str(buf_str(&b), expected);
    buf_fini(&b);
}

static void a_pod_prints_as_a_server_prints_it(void **state)
{
    struct api_pod pod;
    assert_ok(schema_decode_text(&api_pod_desc, str_z(pod_in), &arena, NULL, &pod, NULL));
    assert_str(pod.metadata.name, "web");
    assert_int_equal(pod.metadata.n_labels, 2);
    assert_str(pod.metadata.labels[0].key, "a");
    assert_str(*KV_GET(&pod.metadata, labels, STR("b")), "2");
    assert_int_equal(pod.spec.n_containers, 1);
    assert_true(pod.spec.has_termination_grace_period_seconds);
    assert_str(pod.spec.volumes[0].volume_source.config_map->local_object_reference.name, "cm");
    assert_non_null(pod.spec.volumes[1].volume_source.empty_dir);
    assert_int_equal(pod.spec.containers[0].liveness_probe->handler.http_get->port.type,
                     INT_OR_STR_STR);
    assert_json(&api_pod_desc, &pod, SCHEMA_ENCODE_TYPE_META, pod_out);
    arena_clear(&arena);
}

static void empties_print_as_go_prints_them(void **state)
{
    struct api_deployment d = {0};
    assert_json(&api_deployment_desc, &d, 0,
                "{\"metadata\":{},\"spec\":{\"selector\":null,\"template\":{\"metadata\":{},"
                "\"spec\":{\"containers\":"
                "null}},\"strategy\":{}},\"status\":{}}");
    struct api_event e = {0};
    assert_json(&api_event_desc, &e, 0,
                "{\"metadata\":{},\"involvedObject\":{},\"source\":{},\"firstTimestamp\":null,"
                "\"lastTimestamp\":null,"
                "\"eventTime\":null,\"reportingComponent\":\"\",\"reportingInstance\":\"\"}");
    struct api_pod_list l = {0};
    assert_json(&api_pod_list_desc, &l, SCHEMA_ENCODE_TYPE_META,
                "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":null}");
    struct api_service_port p = {.port = 80};
    assert_json(&api_service_port_desc, &p, 0, "{\"port\":80,\"targetPort\":0}");
    struct api_status s = {.code = 404};
    assert_json(&api_status_desc, &s, SCHEMA_ENCODE_TYPE_META,
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"code\":404}");
    struct api_lease lease = {.spec.renew_time = timestamp_of(1700000000123456)};
    assert_json(&api_lease_desc, &lease, SCHEMA_ENCODE_TYPE_META,
                "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/"
                "v1\",\"metadata\":{},\"spec\":{\"renewTime\":"
                "\"2023-11-14T22:13:20.123456Z\"}}");
    struct api_resource_field_selector f = {.resource = STR("limits.cpu")};
    assert_json(&api_resource_field_selector_desc, &f, 0,
                "{\"resource\":\"limits.cpu\",\"divisor\":\"0\"}");
}

static void decode_into(const struct schema_desc *d, const char *text, enum schema_unknown u,
                        struct schema_decode *opts, int expected, struct error *err)
{
    char msg[8192];
    assert_true(d->size <= sizeof msg);
    *opts = (struct schema_decode){.unknown = u};
    error_clear(err);
    int r = schema_decode_text(d, str_z(text), &arena, opts, msg, err);
    if (r != expected)
        print_error("%s -> %d %.*s\n", text, r, STR_ARG(err->message));
    assert_int_equal(r, expected);
}

static void unknown_fields_are_dropped_named_or_refused(void **state)
{
    static const char text[] =
        "{\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"foo\":1,"
        "\"name\":\"c\"}],\"nodeSelector\":{\"x\":\"1\",\"x\":\"2\"}},\"Spec\":{},\"bar\":null,"
        "\"kind\":\"Pod\"}";
    struct schema_decode o;
    struct error err = {0};
    decode_into(&api_pod_desc, text, SCHEMA_UNKNOWN_IGNORE, &o, 0, &err);
    assert_int_equal(o.n_warnings, 0);
    decode_into(&api_pod_desc, text, SCHEMA_UNKNOWN_WARN, &o, 0, &err);
    assert_int_equal(o.n_warnings, 6);
    assert_str(o.warnings[0], "unknown field \"spec.containers[1].foo\"");
    assert_str(o.warnings[1], "duplicate field \"spec.containers[1].name\"");
    assert_str(o.warnings[2], "duplicate field \"spec.nodeSelector.x\"");
    assert_str(o.warnings[3], "unknown field \"Spec\"");
    assert_str(o.warnings[4], "unknown field \"bar\"");
    assert_str(o.warnings[5], "duplicate field \"kind\"");
    decode_into(&api_pod_desc, text, SCHEMA_UNKNOWN_STRICT, &o, -EINVAL, &err);
    assert_true(str_starts(
        err.message, STR("strict decoding error: unknown field \"spec.containers[1].foo\", dup")));
    struct api_pod pod;
    assert_ok(schema_decode_text(&api_pod_desc, str_z(text), &arena, NULL, &pod, NULL));
    assert_str(pod.spec.containers[1].name, "c");
    assert_int_equal(pod.spec.n_node_selector, 1);
    assert_str(pod.spec.node_selector[0].value, "2");
    struct buf many = {0};
    buf_add_lit(&many, "{\"x\":0");
    for (int i = 0; i < 100; i++)
        buf_printf(&many, ",\"x%d\":0", i);
    buf_add_lit(&many, "}");
    decode_into(&api_pod_desc, many.data, SCHEMA_UNKNOWN_WARN, &o, 0, &err);
    assert_int_equal(o.n_warnings, 101);
    buf_fini(&many);
    error_fini(&err);
    arena_clear(&arena);
}

static void wrong_types_are_told_in_gos_words(void **state)
{
    static const struct {
        const struct schema_desc *desc;
        const char *text, *message;
    } rows[] = {
        {&api_deployment_desc, "{\"spec\":{\"replicas\":\"3\"}}",
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type "
         "int32"},
        {&api_deployment_desc, "{\"spec\":{\"replicas\":3000000000}}",
         "json: cannot unmarshal number 3000000000 into Go struct field "
         "DeploymentSpec.spec.replicas of type int32"},
        {&api_deployment_desc, "{\"spec\":{\"replicas\":1.5}}",
         "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of "
         "type int32"},
        {&api_stateful_set_desc, "{\"spec\":{\"volumeClaimTemplates\":[{\"kind\":7}]}}",
         "json: cannot unmarshal number 7 into Go struct field "
         "PersistentVolumeClaim.spec.volumeClaimTemplates.kind of type string"},
        {&api_pod_desc, "{\"spec\":{\"containers\":{}}}",
         "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
         "Container"},
        {&api_pod_desc, "{\"spec\":{\"containers\":[1]}}",
         "json: cannot unmarshal number 1 into Go struct field Container.spec.containers of type "
         "Container"},
        {&api_pod_desc, "{\"metadata\":{\"labels\":{\"a\":1}}}",
         "json: cannot unmarshal number 1 into Go struct field ObjectMeta.metadata.labels.a of "
         "type string"},
        {&api_pod_desc, "{\"metadata\":{\"labels\":[]}}",
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type "
         "map"},
        {&api_pod_desc, "{\"spec\":{\"hostNetwork\":\"true\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type "
         "bool"},
        {&api_pod_desc, "[]", "json: cannot unmarshal array into Go struct field Pod. of type Pod"},
        {&api_secret_desc, "{\"data\":{\"a\":\"*\"}}", "data.a: illegal base64 data"},
        {&api_lease_desc, "{\"spec\":{\"renewTime\":\"yesterday\"}}",
         "spec.renewTime: parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": not such a "
         "time"},
        {&api_service_desc, "{\"spec\":{\"ports\":[{\"targetPort\":1.5}]}}",
         "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.targetPort "
         "of type "
         "intstr.IntOrString"},
        {&api_pod_desc, "{\"spec\":{\"overhead\":{\"cpu\":\"1x\"}}}",
         "spec.overhead.cpu: quantities must match the regular expression "
         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', not \"1x\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct schema_decode o;
        decode_into(rows[i].desc, rows[i].text, SCHEMA_UNKNOWN_IGNORE, &o, -EINVAL, &err);
        assert_str(err.message, rows[i].message);
        assert_int_equal(err.reason, REASON_BAD_REQUEST);
        error_fini(&err);
    }
    arena_clear(&arena);
}

static void raw_json_is_kept(void **state)
{
    struct api_controller_revision r;
    assert_ok(schema_decode_text(
        &api_controller_revision_desc,
        STR("{\"data\": {\"b\": 1, \"a\": [ null, 1.50, \"x\" ]}, \"revision\": 2}"), &arena, NULL,
        &r, NULL));
    assert_str(r.data, "{\"b\":1,\"a\":[null,1.5,\"x\"]}");
    assert_json(&api_controller_revision_desc, &r, 0,
                "{\"metadata\":{},\"data\":{\"b\":1,\"a\":[null,1.5,\"x\"]},\"revision\":2}");
    struct api_table_row row;
    assert_ok(schema_decode_text(&api_table_row_desc, STR("{\"cells\":[\"x\",1,null]}"), &arena,
                                 NULL, &row, NULL));
    assert_json(&api_table_row_desc, &row, 0, "{\"cells\":[\"x\",1,null],\"object\":null}");
    arena_clear(&arena);
}

static void a_bounded_arena_gives_an_error(void **state)
{
    struct buf b = {0};
    buf_add_lit(&b, "{\"spec\":{\"containers\":[{}");
    for (int i = 0; i < 200; i++)
        buf_add_lit(&b, ",{}");
    buf_add_lit(&b, "]}}");
    struct arena small;
    struct api_pod pod;
    struct error err = {0};
    arena_init(&small, 64 << 10);
    assert_int_equal(schema_decode_text(&api_pod_desc, buf_str(&b), &small, NULL, &pod, &err),
                     -EFBIG);
    assert_int_equal(err.reason, REASON_TOO_LARGE);
    arena_fini(&small);
    buf_fini(&b);
    error_fini(&err);
}

static void enum_texts_are_shared(void **state)
{
    struct api_pod pod;
    assert_ok(schema_decode_text(
        &api_pod_desc,
        STR("{\"spec\":{\"restartPolicy\":\"Always\",\"schedulerName\":\"default-scheduler\","
            "\"dnsPolicy\":\"other\"}}"),
        &arena, NULL, &pod, NULL));
    assert_true(pod.spec.restart_policy.p >= schema_text &&
                pod.spec.restart_policy.p < schema_text + schema_text_size);
    assert_true(pod.spec.scheduler_name.p >= schema_text &&
                pod.spec.scheduler_name.p < schema_text + schema_text_size);
    assert_str(pod.spec.dns_policy, "other");
    arena_clear(&arena);
}

static void types_are_found(void **state)
{
    struct str g, v;
    assert_ptr_equal(schema_kind_find(STR("apps"), STR("v1"), STR("Deployment")),
                     schema_kinds[KIND_DEPLOYMENT]);
    assert_ptr_equal(schema_kind_by_plural(STR(""), STR("v1"), STR("pods")),
                     schema_kinds[KIND_POD]);
    assert_null(schema_kind_by_plural(STR("apps"), STR("v1"), STR("pods")));
    assert_ptr_equal(schema_desc_find(STR("v1"), STR("PodList")), &api_pod_list_desc);
    assert_ptr_equal(schema_desc_find(STR("apps/v1"), STR("DeleteOptions")),
                     &api_delete_options_desc);
    assert_ptr_equal(schema_desc_find(STR("policy/v1"), STR("Eviction")), &api_eviction_desc);
    assert_null(schema_desc_find(STR("v1"), STR("Nope")));
    assert_ptr_equal(schema_subresource_find(schema_kinds[KIND_DEPLOYMENT], STR("scale"))->desc,
                     &api_scale_desc);
    assert_true(schema_split_api_version(STR("apps/v1"), &g, &v));
    assert_str(g, "apps");
    assert_str(v, "v1");
    assert_true(schema_split_api_version(STR("v1"), &g, &v));
    assert_str(g, "");
    assert_false(schema_split_api_version(STR("a/b/c"), &g, &v));
    assert_false(schema_split_api_version(STR("apps/"), &g, &v));
    assert_int_equal(schema_verb_parse(STR("watch")), SCHEMA_VERB_WATCH);
    assert_int_equal(schema_verb_parse(STR("fly")), 0);
    for (int i = 0; i < _KIND_MAX; i++) {
        const struct schema_kind *k = schema_kinds[i];
        assert_int_equal(k->id, i);
        assert_true(k->n_columns > 0);
        if (k->verbs & SCHEMA_VERB_LIST) {
            assert_non_null(k->list_desc);
            assert_true(k->list_desc->flags & SCHEMA_DESC_OF_LIST);
            assert_true(k->desc->flags & SCHEMA_DESC_OBJECT);
        }
    }
}

static void events_convert_both_ways(void **state)
{
    struct api_event core;
    const struct schema_kind *k = schema_kinds[KIND_EVENTS_EVENT];
    assert_int_equal(k->storage, KIND_EVENT);
    assert_ok(schema_decode_text(&api_event_desc,
                                 STR("{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":"
                                     "\"Pod\"},\"message\":\"hi\","
                                     "\"count\":3,\"reason\":\"R\",\"source\":{\"component\":\"c\"}"
                                     ",\"series\":{\"count\":2},"
                                     "\"reportingComponent\":\"x\"}"),
                                 &arena, NULL, &core, NULL));
    const struct api_events_event *e = schema_from_storage(k, &core, &arena);
    assert_str(e->note, "hi");
    assert_str(e->regarding.kind, "Pod");
    assert_int_equal(e->deprecated_count, 3);
    assert_str(e->reporting_controller, "x");
    assert_int_equal(e->series->count, 2);
    const struct api_event *back = schema_to_storage(k, e, &arena);
    assert_true(schema_equal(&api_event_desc, &core, back));
    assert_ptr_equal(schema_to_storage(schema_kinds[KIND_EVENT], &core, &arena), &core);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_prints_as_a_server_prints_it),
        cmocka_unit_test(empties_print_as_go_prints_them),
        cmocka_unit_test(unknown_fields_are_dropped_named_or_refused),
        cmocka_unit_test(wrong_types_are_told_in_gos_words),
        cmocka_unit_test(raw_json_is_kept),
        cmocka_unit_test(a_bounded_arena_gives_an_error),
        cmocka_unit_test(enum_texts_are_shared),
        cmocka_unit_test(types_are_found),
        cmocka_unit_test(events_convert_both_ways),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return r;
}
