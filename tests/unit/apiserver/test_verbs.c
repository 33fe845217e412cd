/* The verbs over the in-process client. */
#include "api_test.h"

static void create_fills_metadata(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), 0);
    const struct api_pod *p = f->object->msg;
    assert_int_equal(p->metadata.uid.n, 36);
    assert_true(p->metadata.creation_timestamp.set);
    assert_int_equal(p->metadata.generation, 1);
    assert_true(f->object->rev > 0);
    assert_true(str_is(p->metadata.namespace, "default"));
    assert_true(str_is(p->status.phase, "Pending"));
    assert_true(str_is(p->status.qos_class, "BestEffort"));
    assert_true(str_is(p->spec.restart_policy, "Always"));
    assert_true(str_is(p->spec.service_account_name, "default"));
    assert_int_equal(p->spec.n_volumes, 1);
    assert_int_equal(p->spec.n_tolerations, 2);
    assert_true(p->spec.has_priority);
    assert_true(str_is(p->spec.containers[0].image_pull_policy, "IfNotPresent"));
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), -EEXIST);
    assert_string_equal(fx_z(f, f->text), "pods \"web\" already exists");
}

static void create_refuses(void **state)
{
    static const struct {
        enum kind_id kind;
        const char *ns, *yaml, *text;
        int code;
    } rows[] = {
        {KIND_POD, "nowhere", POD, "namespaces \"nowhere\" not found", 404},
        {KIND_POD, "default",
         "{metadata: {name: a, namespace: b}, spec: {containers: [{name: c, image: i}]}}",
         "the namespace of the provided object does not match the namespace sent on the request",
         400},
        {KIND_POD, "default",
         "{metadata: {name: a, resourceVersion: '7'}, spec: {containers: [{name: c, image: i}]}}",
         "resourceVersion should not be set on objects to be created", 400},
        {KIND_CONFIG_MAP, "default", "{data: {a: b}}",
         "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is "
         "required",
         422},
        {KIND_CONFIG_MAP, "default", "{metadata: {name: A_b}}", NULL, 422},
        {KIND_POD, "default", "{metadata: {name: a}, spec: {containers: []}}",
         "Pod \"a\" is invalid: spec.containers: Required value", 422},
        {KIND_POD, "default",
         "{metadata: {name: a}, spec: {containers: [{name: c, image: i, volumeMounts: [{name: v, "
         "mountPath: /x}]}]}}",
         "Pod \"a\" is invalid: spec.containers[0].volumeMounts[0].name: Not found: \"v\"", 422},
        {KIND_POD, "default",
         "{metadata: {name: a}, spec: {serviceAccountName: gone, containers: [{name: c, image: "
         "i}]}}",
         "pods \"a\" is forbidden: error looking up service account default/gone: serviceaccount "
         "\"gone\" not found",
         403},
        {KIND_DEPLOYMENT, "default",
         "{metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: "
         "{labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
         "Deployment.apps \"d\" is invalid: spec.template.metadata.labels: Invalid value: "
         "map[string]string{\"a\":\"c\"}: `selector` does not match template `labels`",
         422},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(fx_create(f, schema_kinds[rows[i].kind], rows[i].ns, rows[i].yaml) < 0);
        if (rows[i].text)
            assert_string_equal(fx_z(f, f->text), rows[i].text);
        assert_int_equal(f->code, rows[i].code);
    }
}

static void generate_name(void **state)
{
    struct fx *f = *state;
    assert_int_equal(
        fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {generateName: cm-}}"), 0);
    struct str n = object_name(f->object);
    assert_int_equal(n.n, 8);
    assert_true(str_starts(n, STR("cm-")));
}

static void get_and_errors(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_get(f, KIND_OF(DEPLOYMENT), "default", "web"), -ENOENT);
    assert_string_equal(fx_z(f, f->text), "deployments.apps \"web\" not found");
    assert_int_equal(fx_get(f, KIND_OF(NAMESPACE), "", "default"), 0);
}

static void update_rules(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), 0);
    struct api_pod *p = fx_edit(f);
    rev_t rev = f->object->rev;
    /* nothing changed: nothing written */
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), 0);
    assert_int_equal(f->object->rev, rev);
    /* status is not written through the main door */
    p->status.phase = STR("Running");
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), 0);
    assert_int_equal(f->object->rev, rev);
    /* and the spec not through the status door */
    p->spec.containers[0].image = STR("other");
    assert_int_equal(fx_update(f, KIND_OF(POD), p, "status"), 0);
    const struct api_pod *now = f->object->msg;
    assert_true(str_is(now->status.phase, "Running"));
    assert_true(str_is(now->spec.containers[0].image, "nginx:1"));
    assert_int_equal(now->metadata.generation, 1);
    /* stale */
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), -ESTALE);
    assert_string_equal(
        fx_z(f, f->text),
        "Operation cannot be fulfilled on pods \"web\": the object has been modified; "
        "please apply your changes to the latest version and try again");
    /* the image may change, and the generation counts it */
    p->metadata.resource_version = STR_NONE;
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), 0);
    assert_int_equal(object_meta(f->object)->generation, 2);
    /* the name of a container may not */
    p = fx_edit(f);
    p->spec.containers[0].name = STR("d");
    assert_int_equal(fx_update(f, KIND_OF(POD), p, NULL), -EBADMSG);
    assert_string_equal(fx_z(f, f->causes), "spec");
}

static void patch_all_three(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_create(f, KIND_OF(DEPLOYMENT), "default",
                               "{metadata: {name: d}, spec: {replicas: 2, selector: {matchLabels: "
                               "{a: b}}, template: {metadata: {labels: {a: b}}, "
                               "spec: {containers: [{name: c, image: i}]}}}}"),
                     0);
    assert_int_equal(fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", NULL, CLIENT_PATCH_STRATEGIC,
                              "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\","
                              "\"image\":\"j\"}]}}}}"),
                     0);
    const struct api_deployment *d = f->object->msg;
    assert_int_equal(d->spec.template.spec.n_containers, 1);
    assert_true(str_is(d->spec.template.spec.containers[0].image, "j"));
    assert_int_equal(d->metadata.generation, 2);
    assert_int_equal(fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", NULL, CLIENT_PATCH_MERGE,
                              "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}"),
                     0);
    assert_int_equal(object_meta(f->object)->n_labels, 1);
    assert_int_equal(object_meta(f->object)->generation, 2);
    assert_int_equal(fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", NULL, CLIENT_PATCH_JSON,
                              "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":5}]"),
                     0);
    d = f->object->msg;
    assert_int_equal(d->spec.replicas, 5);
    assert_int_equal(fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", "scale", CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"replicas\":7}}"),
                     0);
    assert_int_equal(fx_get(f, KIND_OF(DEPLOYMENT), "default", "d"), 0);
    d = f->object->msg;
    assert_int_equal(d->spec.replicas, 7);
    assert_int_equal(fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"z\"}}}}"),
                     -EBADMSG);
    assert_int_equal(f->code, 422);
    assert_int_equal(
        fx_patch(f, KIND_OF(DEPLOYMENT), "default", "d", NULL, CLIENT_PATCH_MERGE, "{broken"),
        -EINVAL);
}

static void delete_rules(void **state)
{
    struct fx *f = *state;
    /* not bound: at once */
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), 0);
    assert_int_equal(fx_delete(f, KIND_OF(POD), "default", "web"), 0);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "web"), -ENOENT);
    /* bound: marked, the node finishes it */
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", POD), 0);
    const struct api_binding *b =
        fx_msg(f, &api_binding_desc, "{metadata: {name: web}, target: {kind: Node, name: n1}}");
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("web"),
                               .subresource = STR("binding"),
                               .body = b,
                               .body_desc = &api_binding_desc};
    assert_int_equal(fx_call(f, &q), 0);
    assert_int_equal(fx_call(f, &q), -ESTALE);
    assert_int_equal(fx_delete(f, KIND_OF(POD), "default", "web"), 0);
    const struct api_pod *p = f->object->msg;
    assert_true(str_is(p->spec.node_name, "n1"));
    assert_true(p->metadata.deletion_timestamp.set);
    assert_int_equal(p->metadata.deletion_grace_period_seconds, 30);
    struct client_request d = {.verb = CLIENT_DELETE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("web"),
                               .has_grace_period = true,
                               .precondition_uid = STR("other")};
    assert_int_equal(fx_call(f, &d), -ESTALE);
    d.precondition_uid = p->metadata.uid;
    assert_int_equal(fx_call(f, &d), 0);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "web"), -ENOENT);
}

static void finalizers_hold(void **state)
{
    struct fx *f = *state;
    assert_int_equal(
        fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: x, finalizers: [a.io/f]}}"),
        0);
    assert_int_equal(fx_delete(f, KIND_OF(CONFIG_MAP), "default", "x"), 0);
    assert_true(object_meta(f->object)->deletion_timestamp.set);
    struct api_config_map *m = fx_edit(f);
    struct str more[] = {STR("a.io/f"), STR("a.io/g")};
    m->metadata.finalizers = more;
    m->metadata.n_finalizers = 2;
    assert_int_equal(fx_update(f, KIND_OF(CONFIG_MAP), m, NULL), -EBADMSG);
    m->metadata.n_finalizers = 0;
    assert_int_equal(fx_update(f, KIND_OF(CONFIG_MAP), m, NULL), 0);
    assert_int_equal(fx_get(f, KIND_OF(CONFIG_MAP), "default", "x"), -ENOENT);
    /* propagation policies become finalizers */
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: z}}"), 0);
    struct client_request d = {.verb = CLIENT_DELETE,
                               .kind = KIND_OF(CONFIG_MAP),
                               .ns = STR("default"),
                               .name = STR("z"),
                               .propagation = STR("Foreground")};
    assert_int_equal(fx_call(f, &d), 0);
    assert_true(str_is(object_meta(f->object)->finalizers[0], "foregroundDeletion"));
}

static void namespaces(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_delete(f, KIND_OF(NAMESPACE), "", "default"), -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(NAMESPACE), "", "{metadata: {name: ns1}}"), 0);
    const struct api_namespace *n = f->object->msg;
    assert_true(str_is(n->spec.finalizers[0], "kubernetes"));
    assert_true(str_is(n->metadata.labels[0].value, "ns1"));
    assert_int_equal(fx_delete(f, KIND_OF(NAMESPACE), "", "ns1"), 0);
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "ns1", "{metadata: {name: x}}"), -EPERM);
    assert_string_equal(fx_z(f, f->text),
                        "configmaps \"x\" is forbidden: unable to create new content in namespace "
                        "ns1 because it is being terminated");
    assert_int_equal(fx_get(f, KIND_OF(NAMESPACE), "", "ns1"), 0);
    struct api_namespace *m = fx_edit(f);
    assert_true(str_is(m->status.phase, "Terminating"));
    m->spec.n_finalizers = 0;
    assert_int_equal(fx_update(f, KIND_OF(NAMESPACE), m, "finalize"), 0);
    assert_int_equal(fx_get(f, KIND_OF(NAMESPACE), "", "ns1"), -ENOENT);
}

static void list_pages(void **state)
{
    struct fx *f = *state;
    char yaml[80];
    for (int i = 0; i < 7; i++) {
        snprintf(yaml, sizeof(yaml), "{metadata: {name: c%d, labels: {odd: '%d'}}}", i, i % 2);
        assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", yaml), 0);
    }
    struct client_request q = {
        .verb = CLIENT_LIST, .kind = KIND_OF(CONFIG_MAP), .ns = STR("default"), .limit = 3};
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c0,c1,c2");
    rev_t first = f->rev;
    struct str next = f->continue_;
    assert_true(next.n > 0);
    assert_int_equal(fx_delete(f, KIND_OF(CONFIG_MAP), "default", "c4"), 0);
    q.continue_ = next;
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c3,c4,c5"); /* as of the first page */
    assert_int_equal(f->rev, first);
    q.continue_ = f->continue_;
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c6");
    assert_int_equal(f->continue_.n, 0);
    q = (struct client_request){
        .verb = CLIENT_LIST, .kind = KIND_OF(CONFIG_MAP), .label_selector = STR("odd=1")};
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c1,c3,c5");
    q.label_selector = STR("!!");
    assert_int_equal(fx_call(f, &q), -EINVAL);
    q.label_selector = STR_NONE;
    q.field_selector = STR("metadata.name=c6");
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c6");
    q.continue_ = STR("nonsense");
    assert_int_equal(fx_call(f, &q), -EINVAL);
    q = (struct client_request){.verb = CLIENT_DELETE_COLLECTION,
                                .kind = KIND_OF(CONFIG_MAP),
                                .ns = STR("default"),
                                .label_selector = STR("odd=0")};
    assert_int_equal(fx_call(f, &q), 0);
    assert_int_equal(f->n_items, 3);
    q = (struct client_request){
        .verb = CLIENT_LIST, .kind = KIND_OF(CONFIG_MAP), .ns = STR("default")};
    assert_int_equal(fx_call(f, &q), 0);
    assert_string_equal(fx_z(f, f->names), "c1,c3,c5");
}

static void services_get_addresses(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_get(f, KIND_OF(SERVICE), "default", "kubernetes"), 0);
    assert_true(str_is(OBJECT_MSG(f->object, api_service)->spec.cluster_ip, "10.96.0.1"));
    assert_int_equal(fx_create(f, KIND_OF(SERVICE), "default",
                               "{metadata: {name: a}, spec: {clusterIP: 10.96.0.10, type: "
                               "NodePort, ports: [{port: 80, nodePort: 30080}]}}"),
                     0);
    assert_int_equal(
        fx_create(f, KIND_OF(SERVICE), "default",
                  "{metadata: {name: b}, spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}}"),
        -EBADMSG);
    assert_int_equal(
        fx_create(
            f, KIND_OF(SERVICE), "default",
            "{metadata: {name: b}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}}"),
        -EBADMSG);
    assert_string_equal(fx_z(f, f->text),
                        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: "
                        "provided port is already allocated");
    assert_int_equal(
        fx_create(f, KIND_OF(SERVICE), "default",
                  "{metadata: {name: b}, spec: {type: NodePort, ports: [{port: 80}]}}"),
        0);
    const struct api_service *s = f->object->msg;
    assert_true(str_starts(s->spec.cluster_ip, STR("10.96.")));
    assert_in_range(s->spec.ports[0].node_port, 30000, 32767);
    assert_int_equal(s->spec.ports[0].target_port.i, 80);
    assert_int_equal(fx_patch(f, KIND_OF(SERVICE), "default", "b", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"type\":\"ClusterIP\"}}"),
                     0);
    assert_int_equal(OBJECT_MSG(f->object, api_service)->spec.ports[0].node_port, 0);
    assert_int_equal(fx_patch(f, KIND_OF(SERVICE), "default", "b", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"clusterIP\":\"10.96.0.77\"}}"),
                     -EBADMSG);
    assert_int_equal(fx_delete(f, KIND_OF(SERVICE), "default", "a"), 0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_int_equal(
        fx_create(f, KIND_OF(SERVICE), "default",
                  "{metadata: {name: c}, spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}}"),
        0);
}

static void dry_run_writes_nothing(void **state)
{
    struct fx *f = *state;
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .body = fx_msg(f, &api_pod_desc, POD),
                               .dry_run = true};
    assert_int_equal(fx_call(f, &q), 0);
    assert_non_null(f->object);
    assert_int_equal(fx_get(f, KIND_OF(POD), "default", "web"), -ENOENT);
}

struct seen {
    char text[2048];
    size_t n;
    int err;
};

static void on_watch(void *arg, const struct client_event *ev, size_t n)
{
    static const char letters[] = "AMDBE";
    struct seen *s = arg;
    for (size_t i = 0; i < n; i++) {
        if (ev[i].type == CLIENT_EVENT_ERROR)
            s->err = error_reason_http_code(ev[i].err->reason);
        s->n +=
            (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, "%c%.*s ", letters[ev[i].type],
                             STR_ARG(ev[i].object ? object_name(ev[i].object) : STR_NONE));
    }
}

static void watches(void **state)
{
    struct fx *f = *state;
    struct seen all = {0}, some = {0}, gone = {0}, bad = {0};
    struct client_watch_opts o = {
        .kind = KIND_OF(CONFIG_MAP), .ns = STR("default"), .from_rev = store_rev(f->store)};
    struct client_watch *w1 = client_watch_start(f->c, &o, on_watch, &all);
    o.label_selector = STR("x=1");
    struct client_watch *w2 = client_watch_start(f->c, &o, on_watch, &some);
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: a}}"), 0);
    assert_int_equal(fx_patch(f, KIND_OF(CONFIG_MAP), "default", "a", NULL, CLIENT_PATCH_MERGE,
                              "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}"),
                     0);
    assert_int_equal(fx_patch(f, KIND_OF(CONFIG_MAP), "default", "a", NULL, CLIENT_PATCH_MERGE,
                              "{\"data\":{\"k\":\"1\"}}"),
                     0);
    assert_int_equal(fx_patch(f, KIND_OF(CONFIG_MAP), "default", "a", NULL, CLIENT_PATCH_MERGE,
                              "{\"metadata\":{\"labels\":null}}"),
                     0);
    assert_int_equal(fx_delete(f, KIND_OF(CONFIG_MAP), "default", "a"), 0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_string_equal(all.text, "Aa Ma Ma Ma Da ");
    assert_string_equal(some.text, "Aa Ma Da ");
    client_watch_stop(f->c, w1);
    client_watch_stop(f->c, w2);
    o.label_selector = STR("x in");
    struct client_watch *w3 = client_watch_start(f->c, &o, on_watch, &bad);
    o.label_selector = STR_NONE;
    o.from_rev = store_rev(f->store) + 1000;
    struct client_watch *w4 = client_watch_start(f->c, &o, on_watch, &gone);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_int_equal(bad.err, 400);
    assert_int_equal(gone.err, 504);
    client_watch_stop(f->c, w3);
    client_watch_stop(f->c, w4);
}

static void watches_by_name_and_node(void **state)
{
    struct fx *f = *state;
    struct seen name = {0}, node = {0}, late = {0}, all = {0};
    static const char pod[] =
        "{metadata: {name: %s}, spec: {%s containers: [{name: c, image: i}]}}";
    char yaml[200];
    rev_t start = store_rev(f->store);
    struct client_watch_opts o = {
        .kind = KIND_OF(POD), .from_rev = start, .field_selector = STR("spec.nodeName=n1")};
    struct client_watch *w1 = client_watch_start(f->c, &o, on_watch, &node);
    o.field_selector = STR("metadata.name=b,metadata.namespace=default");
    struct client_watch *w2 = client_watch_start(f->c, &o, on_watch, &name);
    o.field_selector = STR_NONE;
    struct client_watch *w4 = client_watch_start(f->c, &o, on_watch, &all);
    rt_sim_run_for(f->rt, 5 * NSEC_PER_SEC); /* they join their hubs */
    snprintf(yaml, sizeof(yaml), pod, "a", "");
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", yaml), 0);
    snprintf(yaml, sizeof(yaml), pod, "b", "nodeName: n2,");
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", yaml), 0);
    assert_int_equal(fx_create(f, KIND_OF(POD), "kube-system", yaml), 0);
    const struct api_binding *b =
        fx_msg(f, &api_binding_desc, "{metadata: {name: a}, target: {kind: Node, name: n1}}");
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("a"),
                               .subresource = STR("binding"),
                               .body = b,
                               .body_desc = &api_binding_desc};
    assert_int_equal(fx_call(f, &q), 0);
    struct client_request l = {
        .verb = CLIENT_LIST, .kind = KIND_OF(POD), .field_selector = STR("spec.nodeName=n2")};
    assert_int_equal(fx_call(f, &l), 0);
    assert_string_equal(fx_z(f, f->names), "b,b");
    l.ns = STR("kube-system");
    assert_int_equal(fx_call(f, &l), 0);
    assert_string_equal(fx_z(f, f->names), "b");
    l.field_selector = STR("spec.nodeName=n2,metadata.name=c");
    assert_int_equal(fx_call(f, &l), 0);
    assert_string_equal(fx_z(f, f->names), "");
    /* one that starts in the past catches up first */
    o.field_selector = STR("spec.nodeName=n1");
    o.from_rev = start;
    struct client_watch *w3 = client_watch_start(f->c, &o, on_watch, &late);
    rt_sim_run_for(f->rt, 5 * NSEC_PER_SEC);
    assert_int_equal(fx_patch(f, KIND_OF(POD), "default", "a", NULL, CLIENT_PATCH_MERGE,
                              "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}"),
                     0);
    struct client_request d = {.verb = CLIENT_DELETE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("a"),
                               .has_grace_period = true};
    assert_int_equal(fx_call(f, &d), 0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_string_equal(node.text, "Aa Ma Da ");
    assert_string_equal(late.text, "Aa Ma Da ");
    assert_string_equal(name.text, "Ab ");
    assert_string_equal(all.text, "Aa Ab Ab Ma Ma Da ");
    client_watch_stop(f->c, w1);
    client_watch_stop(f->c, w2);
    client_watch_stop(f->c, w3);
    client_watch_stop(f->c, w4);
}

struct ends {
    unsigned done, dropped;
};

static void ends_done(void *arg, const struct client_reply *reply)
{
    ((struct ends *)arg)->done++;
}

static void ends_dropped(void *arg)
{
    ((struct ends *)arg)->dropped++;
}

/* A client, a server, a store that go under their calls, as in a crash: each call ends once, and
 * what it held is freed (the sanitizer says). */
static void calls_dropped(void **state)
{
    struct fx *f = *state;
    struct ends list = {0}, create = {0}, late = {0}, unheard = {0};
    void *msg = fx_msg(f, &api_config_map_desc, "{metadata: {name: a, namespace: default}}");
    struct client_request l = {
        .verb = CLIENT_LIST, .kind = KIND_OF(CONFIG_MAP), .dropped = ends_dropped};
    struct client_request c = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(CONFIG_MAP),
                               .ns = STR("default"),
                               .body = msg,
                               .dropped = ends_dropped};
    struct client *other = apiserver_client(f->api, STR("x"), NULL, 0, false);
    client_call(other, &l, ends_done, &list);    /* answered, but not told yet */
    client_call(other, &c, ends_done, &create);  /* waits for the store */
    client_call(other, &c, ends_done, &unheard); /* already exists */
    ((struct api_object_meta *)msg)->name = STR("b");
    client_call(f->c, &c, ends_done, &late);
    client_free(other);
    assert_int_equal(list.done, 0);
    assert_int_equal(list.dropped, 1);
    assert_int_equal(create.dropped, 1);
    assert_int_equal(unheard.dropped, 1);
    f->api = apiserver_free(f->api); /* at once: no stop, no answers */
    assert_int_equal(late.done, 0);
    assert_int_equal(late.dropped, 1);
    assert_int_equal(create.done + list.done + unheard.done, 0);
    store_abandon(f->store);
    client_free(f->c);
    assert_int_equal(late.dropped + list.dropped + create.dropped + unheard.dropped, 4);
    struct error err = {0}; /* for the teardown */
    assert_ok(store_open(f->rt, store_mem_new(NULL), NULL, &f->store, &err));
    assert_ok(apiserver_new(f->rt, f->store, &(struct apiserver_opts){0}, &f->api, &err));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    error_fini(&err);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(create_fills_metadata),
        T(create_refuses),
        T(generate_name),
        T(get_and_errors),
        T(update_rules),
        T(patch_all_three),
        T(delete_rules),
        T(finalizers_hold),
        T(namespaces),
        T(list_pages),
        T(services_get_addresses),
        T(dry_run_writes_nothing),
        T(watches),
        T(watches_by_name_and_node),
        T(calls_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
