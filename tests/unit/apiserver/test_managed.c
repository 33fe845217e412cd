/* Who owns which fields, and server-side apply, through the verbs of the API server. */
#include "api_test.h"

static const struct schema_kind *cm(void)
{
    return schema_kinds[KIND_CONFIG_MAP];
}
static const struct schema_kind *deployments(void)
{
    return schema_kinds[KIND_DEPLOYMENT];
}

static int apply_as(struct fx *f, const struct schema_kind *k, const char *name, const char *sub,
                    const char *manager, bool force, const char *yaml)
{
    struct client_request q = {.verb = CLIENT_PATCH,
                               .kind = k,
                               .ns = STR("default"),
                               .name = str_z(name),
                               .subresource = str_z(sub),
                               .patch_type = CLIENT_PATCH_APPLY,
                               .patch = str_z(yaml),
                               .field_manager = str_z(manager),
                               .force = force,
                               .reply_desc =
                                   sub && strcmp(sub, "scale") == 0 ? &api_scale_desc : NULL};
    return fx_call(f, &q);
}

static int patch_as(struct fx *f, const struct schema_kind *k, const char *name, const char *sub,
                    const char *manager, const char *json)
{
    struct client_request q = {.verb = CLIENT_PATCH,
                               .kind = k,
                               .ns = STR("default"),
                               .name = str_z(name),
                               .subresource = str_z(sub),
                               .patch_type = CLIENT_PATCH_MERGE,
                               .patch = str_z(json),
                               .field_manager = str_z(manager)};
    return fx_call(f, &q);
}

/* "MANAGER OPERATION[/SUBRESOURCE] FIELDS\n" of each entry of the last object. */
static struct str owners(struct fx *f)
{
    const struct api_object_meta *m = object_meta(f->object);
    struct json *v;
    struct buf b = {0};
    assert_ok(json_parse(object_json(f->object), &f->arena, NULL, &v, NULL));
    const struct json *list = json_getz(json_getz(v, "metadata"), "managedFields");
    for (uint32_t i = 0; i < m->n_managed_fields; i++) {
        const struct json *e = json_at(list, i);
        struct str sub = json_get_str(e, STR("subresource"));
        buf_printf(&b, "%.*s %.*s%s%.*s ", STR_ARG(json_get_str(e, STR("manager"))),
                   STR_ARG(json_get_str(e, STR("operation"))), sub.n ? "/" : "", STR_ARG(sub));
        struct json fields = *json_getz(e, "fieldsV1");
        fields.key = STR_NONE;
        json_print(&fields, &b);
        buf_add_char(&b, '\n');
    }
    struct str s = arena_str(&f->arena, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return s;
}

static struct str data_of(struct fx *f)
{
    const struct api_config_map *m = OBJECT_MSG(f->object, api_config_map);
    struct buf b = {0};
    for (uint32_t i = 0; i < m->n_data; i++)
        buf_printf(&b, "%s%.*s=%.*s", i ? "," : "", STR_ARG(m->data[i].key),
                   STR_ARG(m->data[i].value));
    struct str s = arena_str(&f->arena, b.n ? buf_str(&b) : STR(""));
    buf_fini(&b);
    return s;
}

#define CM(data) "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {" data "}}"

/* ---- subresources ---- */

#define OF_POD "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: b}}, spec: {"

/* Who applies through a subresource owns what that writes, whatever else he names. */
static void parts_of_pods(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, schema_kinds[KIND_POD], "default",
                        "{metadata: {name: p}, spec: {serviceAccountName: default, containers: "
                        "[{name: c, image: i, resources: {requests: {cpu: 100m}}}, {name: d, "
                        "image: i}]}}"));
    assert_ok(apply_as(f, schema_kinds[KIND_POD], "p", "resize", "sizer", true,
                       OF_POD "nodeName: x, terminationGracePeriodSeconds: 7, resources: {limits: "
                              "{cpu: 2}, requests: {cpu: 1}}, containers: [{name: c, image: other, "
                              "resources: {requests: {cpu: 200m}}}]}}"));
    struct str all = owners(f);
    assert_true(str_search(all, STR("sizer Apply/resize {\"f:spec\":{\"f:containers\":{\"k:{"
                                    "\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:resources\":{"
                                    "\"f:requests\":{\"f:cpu\":{}}}}},\"f:resources\":{"
                                    "\"f:limits\":{\"f:cpu\":{}},\"f:requests\":{\"f:cpu\":"
                                    "{}}}}}\n")) >= 0);
    assert_true(str_search(all, STR("f:terminationGracePeriodSeconds")) >= 0); /* its creator's */
    const struct api_pod *p = OBJECT_MSG(f->object, api_pod);
    assert_int_equal(p->spec.termination_grace_period_seconds, 30);
    assert_str(p->spec.containers[0].image, "i");
    assert_int_equal(p->metadata.n_labels, 0);
    /* what is not written conflicts with nobody; what is does */
    assert_ok(apply_as(f, schema_kinds[KIND_POD], "p", "resize", "second", false,
                       OF_POD "containers: [{name: c, image: third}]}}"));
    assert_int_equal(apply_as(f, schema_kinds[KIND_POD], "p", "resize", "second", false,
                              OF_POD "containers: [{name: c, resources: {requests: {cpu: 1}}}]}}"),
                     -ESTALE);
    assert_true(str_search(f->text, STR("conflict with \"sizer\" with subresource \"resize\": "
                                        ".spec.containers[name=\"c\"].resources.requests.cpu")) >=
                0);
    /* ephemeral containers likewise */
    assert_ok(apply_as(f, schema_kinds[KIND_POD], "p", "ephemeralcontainers", "debug", true,
                       OF_POD "hostname: x, ephemeralContainers: [{name: e, image: i}]}}"));
    all = owners(f);
    assert_true(str_search(all, STR("debug Apply/ephemeralcontainers {\"f:spec\":{"
                                    "\"f:ephemeralContainers\":{\"k:{\\\"name\\\":\\\"e\\\"}"
                                    "\":{\".\":{},\"f:image\":{},\"f:name\":{}}}}}\n")) >= 0);
}

/* ---- writes that are no apply ---- */

static void create_and_update(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, cm(), "default", CM("x: '1', y: '2'")));
    assert_str(owners(f), "tester Update {\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{}}}\n");
    assert_ok(patch_as(f, cm(), "a", NULL, "other", "{\"data\":{\"y\":\"3\",\"z\":\"4\"}}"));
    assert_str(owners(f), "other Update {\"f:data\":{\"f:y\":{},\"f:z\":{}}}\n"
                          "tester Update {\"f:data\":{\".\":{},\"f:x\":{}}}\n");
    /* removed: nobody has it */
    assert_ok(patch_as(f, cm(), "a", NULL, "third", "{\"data\":{\"z\":null}}"));
    assert_str(owners(f), "other Update {\"f:data\":{\"f:y\":{}}}\n"
                          "tester Update {\"f:data\":{\".\":{},\"f:x\":{}}}\n");
    /* a write that changes nothing is none */
    rev_t rev = f->rev;
    rt_sim_run_for(f->rt, 5 * NSEC_PER_SEC);
    assert_ok(patch_as(f, cm(), "a", NULL, "third", "{\"data\":{\"y\":\"3\"}}"));
    assert_int_equal(f->rev, rev);
    /* its time is that of the last change */
    struct timestamp before = object_meta(f->object)->managed_fields[0].time;
    assert_ok(patch_as(f, cm(), "a", NULL, "other", "{\"data\":{\"y\":\"5\"}}"));
    assert_true(object_meta(f->object)->managed_fields[1].time.usec > before.usec);
    assert_str(owners(f), "tester Update {\"f:data\":{\".\":{},\"f:x\":{}}}\n"
                          "other Update {\"f:data\":{\"f:y\":{}}}\n");
}

#define TARGET                                                                                     \
    "{\"f:spec\":{\"f:minReplicas\":{},\"f:scaleTargetRef\":{\"f:apiVersion\":{},\"f:kind\":{},"   \
    "\"f:name\":{}}}}\n"

/* Who owns a field by the name it has in one version loses it to who changes it by another. */
static void kinds_in_two_versions(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *v1 =
        schema_kind_by_plural(STR("autoscaling"), STR("v1"), STR("horizontalpodautoscalers"));
    const struct schema_kind *v2 =
        schema_kind_by_plural(STR("autoscaling"), STR("v2"), STR("horizontalpodautoscalers"));
    assert_ok(fx_create(f, v2, "default",
                        "{metadata: {name: h}, spec: {maxReplicas: 5, scaleTargetRef: {kind: "
                        "Deployment, name: d, apiVersion: apps/v1}, metrics: [{type: Resource, "
                        "resource: {name: cpu, target: {type: Utilization, averageUtilization: "
                        "60}}}]}}"));
    assert_true(str_search(owners(f), STR("f:metrics")) >= 0);
    assert_ok(patch_as(f, v1, "h", NULL, "old",
                       "{\"spec\":{\"maxReplicas\":6,\"targetCPUUtilizationPercentage\":70}}"));
    assert_str(
        owners(f),
        "old Update {\"f:spec\":{\"f:maxReplicas\":{},\"f:targetCPUUtilizationPercentage\":{}}}\n"
        "tester Update " TARGET);
    assert_ok(patch_as(f, v2, "h", NULL, "new", "{\"spec\":{\"maxReplicas\":7}}"));
    assert_str(owners(f), "new Update {\"f:spec\":{\"f:maxReplicas\":{}}}\n"
                          "old Update {\"f:spec\":{\"f:targetCPUUtilizationPercentage\":{}}}\n"
                          "tester Update " TARGET);
    /* an applier is told what it would take */
    assert_true(0 > apply_as(f, v1, "h", NULL, "applier", false,
                             "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, "
                             "metadata: {name: h}, spec: {maxReplicas: 8, scaleTargetRef: {kind: "
                             "Deployment, name: d, apiVersion: apps/v1}}}"));
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"new\" using autoscaling/v2: "
                        ".spec.maxReplicas");
    /* Events pair their fields by other names */
    assert_ok(fx_create(f, schema_kinds[KIND_EVENTS_EVENT], "default",
                        "{metadata: {name: e}, eventTime: '2026-01-01T00:00:00.000000Z', "
                        "reportingController: x.io/y, reportingInstance: i, action: did, "
                        "regarding: {kind: Pod, name: p, namespace: default}, reason: r, note: m, "
                        "type: Normal}"));
    assert_ok(patch_as(f, schema_kinds[KIND_EVENT], "e", NULL, "other", "{\"message\":\"n\"}"));
    assert_str(owners(f),
               "other Update {\"f:message\":{}}\n"
               "tester Update "
               "{\"f:action\":{},\"f:eventTime\":{},\"f:reason\":{},\"f:regarding\":{},"
               "\"f:reportingController\":{},\"f:reportingInstance\":{},\"f:type\":{}}\n");
}

static void status_has_owners_of_its_own(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, schema_kinds[KIND_POD], "default",
                        "{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"));
    /* the status it was made with is nobody's */
    assert_int_equal(str_search(owners(f), STR("f:status")), -1);
    assert_ok(patch_as(f, schema_kinds[KIND_POD], "p", "status", "agent",
                       "{\"status\":{\"message\":\"m\"},\"spec\":{\"nodeName\":\"x\"}}"));
    assert_true(
        str_search(owners(f), STR("agent Update/status {\"f:status\":{\"f:message\":{}}}")) >= 0);
    assert_int_equal(str_search(owners(f), STR("nodeName")), -1);
}

static void clients_may_set_them(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, cm(), "default", CM("x: '1'")));
    /* somebody gives his fields to another name: what kubectl does to move to server-side apply */
    const char *entry = "{\"metadata\":{\"managedFields\":[{\"manager\":\"moved\",\"operation\":"
                        "\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{"
                        "\"f:data\":{\"f:x\":{}}}}]}}";
    assert_ok(patch_as(f, cm(), "a", NULL, "t", entry));
    assert_str(owners(f), "moved Apply {\"f:data\":{\"f:x\":{}}}\n");
    rev_t rev = f->rev;
    assert_ok(patch_as(f, cm(), "a", NULL, "t", entry));
    assert_int_equal(f->rev, rev);
    /* what cannot be read is passed over */
    static const char *const bad[] = {
        "{\"metadata\":{\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Delete\"}]}}",
        "{\"metadata\":{\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\","
        "\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV9\",\"fieldsV1\":{}}]}}",
        "{\"metadata\":{\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\","
        "\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"x\":{}}}]}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_ok(patch_as(f, cm(), "a", NULL, "t", bad[i]));
        assert_str(owners(f), "moved Apply {\"f:data\":{\"f:x\":{}}}\n");
    }
    /* one empty entry takes all away, and then nobody keeps account until somebody applies */
    assert_ok(patch_as(f, cm(), "a", NULL, "t", "{\"metadata\":{\"managedFields\":[{}]}}"));
    assert_str(owners(f), "");
    assert_ok(patch_as(f, cm(), "a", NULL, "t", "{\"data\":{\"y\":\"2\"}}"));
    assert_str(owners(f), "");
    assert_ok(apply_as(f, cm(), "a", NULL, "me", false, CM("x: '1'")));
    assert_str(owners(f),
               "me Apply {\"f:data\":{\"f:x\":{}}}\n"
               "before-first-apply Update {\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{}}}\n");
    assert_ok(patch_as(f, cm(), "a", NULL, "t", "{\"metadata\":{\"managedFields\":[]}}"));
    assert_str(owners(f), "");
}

static void ten_updaters(void **state)
{
    struct fx *f = *state;
    char json[80], name[8];
    assert_ok(fx_create(f, cm(), "default", CM("x: '1'")));
    for (int i = 0; i < 14; i++) {
        rt_sim_run_for(f->rt, 2 * NSEC_PER_SEC);
        snprintf(json, sizeof(json), "{\"data\":{\"k%02d\":\"1\"}}", i);
        snprintf(name, sizeof(name), "m%02d", i);
        assert_ok(patch_as(f, cm(), "a", NULL, name, json));
        assert_true(object_meta(f->object)->n_managed_fields <= 10);
    }
    struct str all = owners(f);
    assert_true(str_starts(all, STR("ancient-changes Update {\"f:data\":{\".\":{},\"f:k00\":{},"
                                    "\"f:k01\":{},\"f:k02\":{},\"f:k03\":{},\"f:k04\":{},"
                                    "\"f:x\":{}}}\nm05 Update")));
    assert_true(str_search(all, STR("\nm13 Update {\"f:data\":{\"f:k13\":{}}}\n")) > 0);
}

/* ---- apply ---- */

static void apply_creates_and_removes(void **state)
{
    struct fx *f = *state;
    assert_ok(apply_as(f, cm(), "a", NULL, "me", false, CM("x: '1', y: '2'")));
    assert_str(owners(f), "me Apply {\"f:data\":{\"f:x\":{},\"f:y\":{}}}\n");
    rev_t rev = f->rev;
    rt_sim_run_for(f->rt, 5 * NSEC_PER_SEC);
    assert_ok(apply_as(f, cm(), "a", NULL, "me", false, CM("y: '2', x: '1'")));
    assert_int_equal(f->rev, rev); /* the same again is no write */
    assert_ok(apply_as(f, cm(), "a", NULL, "me", false, CM("y: '3'")));
    assert_str(data_of(f), "y=3");
    assert_str(owners(f), "me Apply {\"f:data\":{\"f:y\":{}}}\n");
    /* what somebody else put there stays when all of ours goes */
    assert_ok(patch_as(f, cm(), "a", NULL, "other", "{\"data\":{\"z\":\"9\"}}"));
    assert_ok(apply_as(f, cm(), "a", NULL, "me", false,
                       "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"));
    assert_str(data_of(f), "z=9");
    assert_str(owners(f), "other Update {\"f:data\":{\"f:z\":{}}}\n");
}

static void conflicts(void **state)
{
    struct fx *f = *state;
    assert_ok(apply_as(f, cm(), "a", NULL, "one", false, CM("x: '1', y: '2'")));
    assert_ok(patch_as(f, cm(), "a", NULL, "two", "{\"data\":{\"z\":\"3\"}}"));
    assert_true(apply_as(f, cm(), "a", NULL, "three", false, CM("x: '7'")) < 0);
    assert_int_equal(f->code, 409);
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    assert_str(f->causes, ".data.x");
    assert_true(apply_as(f, cm(), "a", NULL, "three", false, CM("x: '7', y: '7', z: '7'")) < 0);
    assert_str(f->text,
               "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y\n"
               "conflicts with \"two\" using v1:\n- .data.z");
    assert_str(f->causes, ".data.x,.data.y,.data.z");
    /* the same value is shared, without force */
    assert_ok(apply_as(f, cm(), "a", NULL, "three", false, CM("x: '1'")));
    assert_str(owners(f), "one Apply {\"f:data\":{\"f:x\":{},\"f:y\":{}}}\n"
                          "three Apply {\"f:data\":{\"f:x\":{}}}\n"
                          "two Update {\"f:data\":{\"f:z\":{}}}\n");
    /* and stays when one of them lets go */
    assert_ok(apply_as(f, cm(), "a", NULL, "one", false, CM("y: '2'")));
    assert_str(data_of(f), "x=1,y=2,z=3");
    assert_ok(apply_as(f, cm(), "a", NULL, "three", true, CM("x: '8', y: '8', z: '8'")));
    assert_str(data_of(f), "x=8,y=8,z=8");
    assert_str(owners(f), "three Apply {\"f:data\":{\"f:x\":{},\"f:y\":{},\"f:z\":{}}}\n");
    /* an update needs no force */
    assert_ok(patch_as(f, cm(), "a", NULL, "two", "{\"data\":{\"x\":\"9\"}}"));
    assert_str(owners(f), "three Apply {\"f:data\":{\"f:y\":{},\"f:z\":{}}}\n"
                          "two Update {\"f:data\":{\"f:x\":{}}}\n");
}

static void refused(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *manager, *yaml;
        int code;
        const char *text;
    } rows[] = {
        {NULL, CM(""), 422,
         "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for "
         "apply patch"},
        {"m", "[1]", 400, "error decoding YAML: an object is expected, not array"},
        {"m", "{apiVersion: v1, kind: Secret, metadata: {name: a}}", 400,
         "invalid object type: /v1, Kind=Secret"},
        {"m", "{apiVersion: apps/v1, kind: ConfigMap, metadata: {name: a}}", 400,
         "invalid object type: apps/v1, Kind=ConfigMap"},
        {"m", "{metadata: {name: a}}", 400, "invalid object type: /, Kind="},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, managedFields: []}}", 400,
         "metadata.managedFields must be nil"},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}", 400,
         "the name of the object (b) does not match the name on the URL (a)"},
        {"m", "{apiVersion: v1, kind: ConfigMap}", 400,
         "the name of the object (a based on URL) was undeterminable: name must be provided"},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}}", 400,
         "the namespace of the object (x) does not match the namespace on the request (default)"},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: x}}", 409, NULL},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, nope: 1}", 400,
         "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .nope: field not "
         "declared in schema"},
        {"m", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: 1}}", 400,
         "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .data.x: expected "
         "string, got int"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(apply_as(f, cm(), "a", NULL, rows[i].manager, false, rows[i].yaml) < 0);
        assert_int_equal(f->code, rows[i].code);
        if (rows[i].text)
            assert_str(f->text, rows[i].text);
        assert_true(fx_get(f, cm(), "default", "a") < 0);
    }
    assert_ok(
        apply_as(f, cm(), "a", NULL, "m", false,
                 "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, managedFields: null}}"));
    assert_true(apply_as(f, cm(), "a", NULL, "m", false,
                         "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, resourceVersion: "
                         "'999999'}, data: {x: 'y'}}") < 0);
    assert_int_equal(f->code, 409);
}

#define DEPLOY(more)                                                                               \
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: " \
    "{a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "        \
    "'i:1'}]}}" more "}}"

static void status_and_scale(void **state)
{
    struct fx *f = *state;
    assert_ok(apply_as(f, deployments(), "d", NULL, "me", false, DEPLOY(", replicas: 2")));
    assert_ok(
        apply_as(f, deployments(), "d", "status", "ctl", false,
                 "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: "
                 "7}, status: {replicas: 5}}"));
    assert_int_equal(OBJECT_MSG(f->object, api_deployment)->status.replicas, 5);
    assert_int_equal(OBJECT_MSG(f->object, api_deployment)->spec.replicas, 2);
    assert_true(str_search(owners(f), STR("ctl Apply/status {\"f:status\":{\"f:replicas\":{}}}")) >=
                0);
    /* the main resource does not write the status */
    assert_ok(
        apply_as(f, deployments(), "d", NULL, "x", false,
                 "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, labels: {l: m}}, "
                 "status: {replicas: 9}}"));
    assert_int_equal(OBJECT_MSG(f->object, api_deployment)->status.replicas, 5);
    assert_true(
        str_search(owners(f), STR("\nx Apply {\"f:metadata\":{\"f:labels\":{\"f:l\":{}}}}\n")) > 0);
    /* scale: the replicas are the object's */
    const char *scale = "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: d}, spec: "
                        "{replicas: 4}}";
    assert_true(apply_as(f, deployments(), "d", "scale", "hpa", false, scale) < 0);
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
    assert_ok(apply_as(f, deployments(), "d", "scale", "hpa", true, scale));
    assert_int_equal(((const struct api_scale *)f->message)->spec.replicas, 4);
    assert_ok(fx_get(f, deployments(), "default", "d"));
    assert_int_equal(OBJECT_MSG(f->object, api_deployment)->spec.replicas, 4);
    assert_true(str_search(owners(f), STR("hpa Apply/scale {\"f:spec\":{\"f:replicas\":{}}}")) >=
                0);
    assert_true(apply_as(f, deployments(), "d", NULL, "me", false, DEPLOY(", replicas: 2")) < 0);
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"hpa\" with subresource "
                        "\"scale\": .spec.replicas");
    assert_ok(apply_as(f, deployments(), "d", NULL, "me", false, DEPLOY("")));
    assert_int_equal(OBJECT_MSG(f->object, api_deployment)->spec.replicas, 4);
    assert_true(apply_as(f, deployments(), "nope", "status", "ctl", false,
                         "{apiVersion: apps/v1, kind: Deployment, metadata: {name: nope}}") < 0);
    assert_int_equal(f->code, 404);
}

static void defaults_come_back(void **state)
{
    struct fx *f = *state;
    assert_ok(apply_as(f, deployments(), "d", NULL, "me", false,
                       DEPLOY(", replicas: 5, minReadySeconds: 7, revisionHistoryLimit: 3")));
    assert_ok(apply_as(f, deployments(), "d", NULL, "me", false, DEPLOY("")));
    const struct api_deployment *d = OBJECT_MSG(f->object, api_deployment);
    assert_int_equal(d->spec.replicas, 1);
    assert_int_equal(d->spec.revision_history_limit, 10);
    assert_int_equal(d->spec.min_ready_seconds, 0);
    assert_int_equal(str_search(owners(f), STR("replicas")), -1);
    assert_int_equal(d->metadata.generation, 2);
}

/* kubectl's way from client-side to server-side apply. */
static void from_the_client_side(void **state)
{
    struct fx *f = *state;
    assert_ok(
        fx_create(f, cm(), "default",
                  "{metadata: {name: a, annotations: "
                  "{kubectl.kubernetes.io/last-applied-configuration: "
                  "'{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},"
                  "\"data\":{\"x\":\"1\",\"y\":\"1\"}}'}}, data: {x: '1', y: '1'}}"));
    assert_ok(patch_as(f, cm(), "a", NULL, "else", "{\"data\":{\"y\":\"2\"}}"));
    /* x is still what it applied: its own. y is not. */
    assert_true(apply_as(f, cm(), "a", NULL, "kubectl", false, CM("x: '5', y: '5'")) < 0);
    assert_str(f->text, "Apply failed with 1 conflict: conflict with \"else\" using v1: .data.y");
    assert_true(apply_as(f, cm(), "a", NULL, "notkubectl", false, CM("x: '5'")) < 0);
    assert_ok(apply_as(f, cm(), "a", NULL, "kubectl", false, CM("x: '5'")));
    assert_str(data_of(f), "x=5,y=2");
    const struct api_object_meta *m = object_meta(f->object);
    assert_int_equal(m->n_annotations, 1);
    assert_str(m->annotations[0].value,
               "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
               "\"name\":\"a\"},\"data\":{\"x\":\"5\"}}\n");
}

static void dry_run(void **state)
{
    struct fx *f = *state;
    struct client_request q = {.verb = CLIENT_PATCH,
                               .kind = cm(),
                               .ns = STR("default"),
                               .name = STR("a"),
                               .patch_type = CLIENT_PATCH_APPLY,
                               .patch = STR(CM("x: '1'")),
                               .field_manager = STR("me"),
                               .dry_run = true};
    assert_ok(fx_call(f, &q));
    assert_str(data_of(f), "x=1");
    assert_str(owners(f), "me Apply {\"f:data\":{\"f:x\":{}}}\n");
    assert_true(fx_get(f, cm(), "default", "a") < 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts_of_pods),
        TEST(create_and_update),
        TEST(kinds_in_two_versions),
        TEST(status_has_owners_of_its_own),
        TEST(clients_may_set_them),
        TEST(ten_updaters),
        TEST(apply_creates_and_removes),
        TEST(conflicts),
        TEST(refused),
        TEST(status_and_scale),
        TEST(defaults_come_back),
        TEST(from_the_client_side),
        TEST(dry_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
