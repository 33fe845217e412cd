/* Admission webhooks: a real HTTPS server on the test's loop, the API server with its in-process
 * client. What a webhook does is said by the path it is asked at. */
#include "api_test.h"
#include "api/kv.h"
#include "apiserver/hooks/hook_review.h"
#include "codec/base64.h"
#include "hook_server.h"

struct asked {
    struct str path; /* "/allow" */
    struct json *request;
};

struct fixture {
    struct fx fx; /* first */
    struct hook_server server;
    struct asked asked[64];
    unsigned n_asked;
    struct http_request *held[1500]; /* of /hold, until let_go */
    struct str held_uid[1500];
    unsigned n_held;
    struct client *other;
    bool other_done;
    int other_r;
};

static struct fixture *fixture; /* for the handler */

/* ---- the webhooks ---- */

static void answer(struct http_request *req, struct str uid, const char *members)
{
    http_respond_str(
        req, 200, "application/json",
        arena_printf(&fixture->fx.arena,
                     "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\","
                     "\"response\":{\"uid\":\"%.*s\",%s}}",
                     STR_ARG(uid), members));
}

static void answer_patch(struct http_request *req, struct str uid, const char *patch)
{
    struct buf b = {0};
    base64_print(str_z(patch), &b);
    answer(
        req, uid,
        arena_cstr(&fixture->fx.arena,
                   arena_printf(&fixture->fx.arena,
                                "\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"%.*s\"",
                                STR_ARG(buf_str(&b)))));
    buf_fini(&b);
}

static void on_other(void *arg, const struct client_reply *rep)
{
    struct fixture *f = arg;
    f->other_done = true;
    f->other_r = rep->r;
}

static void create_other(struct fixture *f, const struct schema_kind *k, const char *yaml)
{
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = k,
                               .ns = STR("default"),
                               .body = fx_msg(&f->fx, k->desc, yaml)};
    f->other_done = false;
    client_call(f->other, &q, on_other, f);
}

struct nested {
    struct http_request *req;
    struct str uid;
};

static void on_nested(void *arg, const struct client_reply *rep)
{
    (void)rep;
    struct nested *n = arg;
    if (http_request_gone(n->req))
        http_stream_abort(n->req);
    else
        answer(n->req, n->uid, "\"allowed\":true");
}

static void on_nested_dropped(void *arg)
{
    struct nested *n = arg;
    http_stream_abort(n->req);
}

static void ignore_close(struct http_request *req, void *arg)
{
    (void)req;
    (void)arg;
}

/* The webhook itself writes an object it is asked about. */
static void loop_back(struct http_request *req, struct str uid)
{
    struct fixture *f = fixture;
    struct nested *n = ARENA_NEW(&f->fx.arena, struct nested);
    if (!f->other) { /* the test is over */
        http_stream_abort(req);
        return;
    }
    n->req = req;
    n->uid = uid;
    http_on_close(req, ignore_close, NULL);
    struct client_request q = {
        .verb = CLIENT_CREATE,
        .kind = KIND_OF(CONFIG_MAP),
        .ns = STR("default"),
        .dropped = on_nested_dropped,
        .body = fx_msg(&f->fx, &api_config_map_desc, "{metadata: {generateName: loop-}}")};
    client_call(f->other, &q, on_nested, n);
}

static void on_held_close(struct http_request *req, void *arg)
{
    struct fixture *f = arg;
    for (unsigned i = 0; i < f->n_held; i++)
        if (f->held[i] == req)
            f->held[i] = NULL;
    http_stream_abort(req);
}

static void handle(struct http_request *req, void *arg)
{
    struct fixture *f = arg;
    struct json *v;
    assert_int_equal(json_parse(req->body, &f->fx.arena, NULL, &v, NULL), 0);
    assert_str(json_get_str(v, STR("kind")), "AdmissionReview");
    assert_str(json_get_str(v, STR("apiVersion")), "admission.k8s.io/v1");
    struct json *r = json_getz(v, "request");
    struct str uid = json_get_str(r, STR("uid"));
    assert_int_equal(uid.n, 36);
    if (f->n_asked < ARRAY_LEN(f->asked))
        f->asked[f->n_asked] = (struct asked){arena_str(&f->fx.arena, req->path), r};
    f->n_asked++;
    if (str_starts(req->path, STR("/allow")))
        answer(req, uid, "\"allowed\":true");
    else if (str_is(req->path, "/deny"))
        answer(req, uid,
               "\"allowed\":false,\"status\":{\"code\":403,\"reason\":\"Forbidden\","
               "\"message\":\"not today\"}");
    else if (str_is(req->path, "/deny-odd"))
        answer(req, uid, "\"allowed\":false,\"status\":{\"code\":418,\"reason\":\"Teapot\"}");
    else if (str_is(req->path, "/deny-plain"))
        answer(req, uid, "\"allowed\":false");
    else if (str_is(req->path, "/annotate"))
        answer_patch(req, uid,
                     "[{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":"
                     "{\"a\":\"1\"}}]");
    else if (str_is(req->path, "/count")) { /* one more each time */
        struct json *labels = json_getz(json_getz(json_getz(r, "object"), "metadata"), "labels");
        struct str n = json_get_str(labels, STR("count"));
        answer_patch(req, uid,
                     n.n ? "[{\"op\":\"add\",\"path\":\"/metadata/labels/count\","
                           "\"value\":\"2\"}]"
                         : "[{\"op\":\"add\",\"path\":\"/metadata/labels\",\"value\":"
                           "{\"count\":\"1\"}}]");
    } else if (str_is(req->path, "/rename"))
        answer_patch(req, uid,
                     "[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":"
                     "\"other\"}]");
    else if (str_is(req->path, "/move"))
        answer_patch(req, uid,
                     "[{\"op\":\"replace\",\"path\":\"/metadata/namespace\",\"value\":"
                     "\"kube-system\"}]");
    else if (str_is(req->path, "/steal"))
        answer_patch(req, uid,
                     "[{\"op\":\"add\",\"path\":\"/metadata/uid\",\"value\":\"mine\"},{\"op\":"
                     "\"add\",\"path\":\"/status\",\"value\":{\"phase\":\"Running\"}}]");
    else if (str_is(req->path, "/own"))
        answer_patch(
            req, uid,
            "[{\"op\":\"add\",\"path\":\"/metadata/managedFields/-\",\"value\":{\"manager\":"
            "\"hook\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":"
            "\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\"f:hooked\":{}}}}}},"
            "{\"op\":\"add\",\"path\":\"/metadata/labels\",\"value\":{\"hooked\":\"1\"}}]");
    else if (str_is(req->path, "/own-badly"))
        answer_patch(req, uid,
                     "[{\"op\":\"replace\",\"path\":\"/metadata/managedFields/0/operation\","
                     "\"value\":\"Guess\"}]");
    else if (str_is(req->path, "/disown"))
        answer_patch(req, uid, "[{\"op\":\"remove\",\"path\":\"/metadata/managedFields\"}]");
    else if (str_is(req->path, "/no-containers"))
        answer_patch(req, uid, "[{\"op\":\"replace\",\"path\":\"/spec/containers\",\"value\":[]}]");
    else if (str_is(req->path, "/nowhere"))
        answer_patch(req, uid, "[{\"op\":\"remove\",\"path\":\"/spec/none\"}]");
    else if (str_is(req->path, "/no-patch"))
        answer_patch(req, uid, "{\"op\":1}");
    else if (str_is(req->path, "/other-kind"))
        answer_patch(req, uid, "[{\"op\":\"replace\",\"path\":\"/kind\",\"value\":\"Secret\"}]");
    else if (str_is(req->path, "/three"))
        answer_patch(req, uid, "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]");
    else if (str_is(req->path, "/wrong-uid"))
        answer(req, STR("x"), "\"allowed\":true");
    else if (str_is(req->path, "/no-json"))
        http_respond_str(req, 200, "application/json", STR("yes"));
    else if (str_is(req->path, "/v2"))
        http_respond_str(req, 200, "application/json",
                         STR("{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v2\","
                             "\"response\":{\"allowed\":true}}"));
    else if (str_is(req->path, "/loop"))
        loop_back(req, uid);
    else if (str_is(req->path, "/cut"))
        http_stream_abort(req);
    else if (str_is(req->path, "/hold")) {
        http_on_close(req, on_held_close, f);
        f->held_uid[f->n_held] = uid;
        f->held[f->n_held++] = req;
    } else
        http_respond_str(req, 500, "text/plain", STR("broken"));
}

static void let_go(struct fixture *f)
{
    for (unsigned i = 0; i < f->n_held; i++)
        if (f->held[i])
            answer(f->held[i], f->held_uid[i], "\"allowed\":true");
    f->n_held = 0;
}

/* ---- fixture ---- */

static int setup_with(void **state, const char *off)
{
    struct fixture *f = NEW(struct fixture);
    struct fx *x = &f->fx;
    struct apiserver_opts o = {.disable_admission = off};
    x->rt = rt_uv_new();
    assert_int_equal(store_open(x->rt, store_mem_new(NULL), NULL, &x->store, NULL), 0);
    assert_int_equal(apiserver_new(x->rt, x->store, &o, &x->api, NULL), 0);
    assert_true(rt_run_until(x->rt, fx_is_ready, x, 60 * NSEC_PER_SEC));
    x->c = apiserver_client(x->api, STR("tester"), &(struct str){"testers", 7}, 1, false);
    f->other = apiserver_client(x->api, STR("other"), NULL, 0, false);
    hook_server_start(&f->server, x->rt, handle, f);
    fixture = f;
    x->c = x->c;
    assert_int_equal(
        fx_create(x, KIND_OF(SERVICE_ACCOUNT), "default", "{metadata: {name: default}}"), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, NULL);
}

static int setup_validating_only(void **state)
{
    return setup_with(state, "MutatingAdmissionWebhook");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct fx *x = &f->fx;
    client_free(f->other);
    f->other = NULL;
    client_free(x->c);
    x->done = false;
    apiserver_stop(x->api, 1000, fx_set_done, x);
    fx_wait(x);
    apiserver_free(x->api);
    hook_server_stop(&f->server);
    x->done = false;
    store_close(x->store, fx_set_done, x);
    fx_wait(x);
    object_unref(x->object);
    arena_fini(&x->arena);
    rt_free(x->rt);
    free(f);
    return 0;
}

#define PODS_CREATE                                                                                \
    "rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]"
#define PODS_ALL                                                                                   \
    "rules: [{operations: ['*'], apiGroups: [''], apiVersions: [v1], resources: [pods]}]"

/* "name path more", the last being members of the webhook */
static struct str hook_yaml(struct fixture *f, const char *name, const char *path, const char *more)
{
    struct buf b = {0};
    base64_print(str_z(f->server.ca_pem), &b);
    struct str s = arena_printf(&f->fx.arena,
                                "{name: %s.example.com, admissionReviewVersions: [v1], "
                                "sideEffects: None, %s clientConfig: {url: "
                                "'https://127.0.0.1:%u%s', caBundle: %.*s}, %s}",
                                name, strstr(more, "timeoutSeconds") ? "" : "timeoutSeconds: 5,",
                                f->server.port, path, STR_ARG(buf_str(&b)), more);
    buf_fini(&b);
    return s;
}

static void put_config(struct fixture *f, const struct schema_kind *k, const char *name,
                       struct str hooks)
{
    assert_int_equal(
        fx_create(&f->fx, k, NULL,
                  arena_cstr(&f->fx.arena,
                             arena_printf(&f->fx.arena, "{metadata: {name: %s}, webhooks: [%.*s]}",
                                          name, STR_ARG(hooks)))),
        0);
}

static void mutating(struct fixture *f, const char *name, const char *path, const char *more)
{
    put_config(f, KIND_OF(MUTATING_WEBHOOK_CONFIGURATION), name, hook_yaml(f, name, path, more));
}

static void validating(struct fixture *f, const char *name, const char *path, const char *more)
{
    put_config(f, KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION), name, hook_yaml(f, name, path, more));
}

static int create_pod(struct fixture *f)
{
    return fx_create(&f->fx, KIND_OF(POD), "default", POD);
}

static struct str label(struct fixture *f, const char *key)
{
    const struct str *v = kv_str_get(object_meta(f->fx.object)->labels,
                                     object_meta(f->fx.object)->n_labels, str_z(key));
    return v ? *v : STR("");
}

static bool has_held(void *arg)
{
    return ((struct fixture *)arg)->n_held > 0;
}

static void wait_held(struct fixture *f)
{
    assert_true(rt_run_until(f->fx.rt, has_held, f, 60 * NSEC_PER_SEC));
}

/* Starts a call and leaves it waiting. */
static void start_call(struct fixture *f, const struct client_request *q)
{
    f->fx.done = false;
    f->fx.reply_desc = q->kind->desc;
    client_call(f->fx.c, q, fx_on_done, &f->fx);
}

static bool other_is_done(void *arg)
{
    return ((struct fixture *)arg)->other_done;
}

static int wait_other(struct fixture *f)
{
    assert_true(rt_run_until(f->fx.rt, other_is_done, f, 60 * NSEC_PER_SEC));
    return f->other_r;
}

static void expect_text(struct fixture *f, const char *part)
{
    if (str_search(f->fx.text, str_z(part)) < 0)
        fail_msg("'%s' is not in: %.*s", part, STR_ARG(f->fx.text));
}

/* ---- mutating ---- */

static void test_mutate(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/annotate", PODS_CREATE);
    assert_int_equal(create_pod(f), 0);
    const struct str *v = KV_GET(object_meta(f->fx.object), annotations, STR("a"));
    assert_non_null(v);
    assert_str(*v, "1");
    assert_str(label(f, "app"), "web");
    assert_int_equal(f->n_asked, 1);
    const struct json *r = f->asked[0].request, *object = json_getz(r, "object");
    assert_str(json_get_str(r, STR("operation")), "CREATE");
    assert_str(json_get_str(r, STR("name")), "web");
    assert_str(json_get_str(r, STR("namespace")), "default");
    assert_str(json_get_str(json_getz(r, "resource"), STR("resource")), "pods");
    assert_str(json_get_str(json_getz(r, "requestKind"), STR("kind")), "Pod");
    assert_str(json_get_str(json_getz(r, "userInfo"), STR("username")), "tester");
    assert_str(json_get_str(json_getz(r, "options"), STR("kind")), "CreateOptions");
    assert_str(json_get_str(object, STR("kind")), "Pod");
    assert_true(json_is(json_getz(r, "oldObject"), JSON_NULL));
    assert_true(json_is(json_getz(r, "dryRun"), JSON_BOOL));
    /* the plugins before it had their say */
    assert_str(json_get_str(json_getz(object, "spec"), STR("serviceAccountName")), "default");
    assert_int_equal(fx_create(&f->fx, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: c}}"), 0);
    assert_int_equal(f->n_asked, 1);
}

static void test_bad_patches(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *text;
        int code;
    } rows[] = {
        {"/nowhere", "Internal error occurred: ", 500},
        {"/no-patch", "Internal error occurred: ", 500},
        {"/other-kind", "Internal error occurred: ", 500},
        {"/no-containers", "spec.containers: Required value", 422},
        {"/move", "does not match the namespace", 400},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        /* failures of this sort are not the webhook's absence: Ignore does not help */
        mutating(f, "m", rows[i].path, PODS_CREATE ", failurePolicy: Ignore");
        assert_true(create_pod(f) < 0);
        assert_int_equal(f->fx.code, rows[i].code);
        expect_text(f, rows[i].text);
        assert_int_equal(fx_delete(&f->fx, KIND_OF(MUTATING_WEBHOOK_CONFIGURATION), NULL, "m"), 0);
    }
    assert_true(fx_get(&f->fx, KIND_OF(POD), "default", "web") < 0);
}

static void test_what_webhooks_may_not_change(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/steal", PODS_ALL);
    assert_int_equal(create_pod(f), 0);
    const struct api_pod *p = OBJECT_MSG(f->fx.object, api_pod);
    assert_int_equal(p->metadata.uid.n, 36);
    assert_str(p->status.phase, "Pending");
    void *msg = fx_edit(&f->fx);
    kv_str_set(&f->fx.arena, &((struct api_pod *)msg)->metadata.labels,
               &((struct api_pod *)msg)->metadata.n_labels, STR("x"), STR("y"));
    assert_int_equal(fx_update(&f->fx, KIND_OF(POD), msg, NULL), 0);
    assert_str(OBJECT_MSG(f->fx.object, api_pod)->status.phase, "Pending");
    assert_str(label(f, "x"), "y");
    assert_int_equal(f->n_asked, 2);
}

static void create_anew(struct fixture *f, const char *path)
{
    assert_int_equal(fx_delete(&f->fx, KIND_OF(MUTATING_WEBHOOK_CONFIGURATION), NULL, "m"), 0);
    assert_int_equal(fx_delete(&f->fx, KIND_OF(POD), "default", "web"), 0);
    mutating(f, "m", path, PODS_ALL);
    assert_int_equal(create_pod(f), 0);
}

/* Fields webhooks set are nobody's; they may say whose, when it makes sense. */
static void test_owners(void **state)
{
    struct fixture *f = *state;
    const struct api_object_meta *m;
    mutating(f, "m", "/annotate", PODS_ALL);
    assert_int_equal(create_pod(f), 0);
    m = object_meta(f->fx.object);
    assert_int_equal(m->n_annotations, 1);
    assert_int_equal(m->n_managed_fields, 1);
    assert_int_equal(str_search(object_json(f->fx.object), STR("f:annotations")), -1);
    create_anew(f, "/own");
    m = object_meta(f->fx.object);
    assert_int_equal(m->n_managed_fields, 2);
    assert_str(m->managed_fields[0].manager, "hook");
    assert_true(str_search(object_json(f->fx.object),
                           STR("{\"f:metadata\":{\"f:labels\":{\"f:hooked\":{}}}}")) >= 0);
    create_anew(f, "/own-badly");
    m = object_meta(f->fx.object);
    assert_int_equal(m->n_managed_fields, 1);
    assert_str(m->managed_fields[0].operation, "Update");
    create_anew(f, "/disown");
    assert_int_equal(object_meta(f->fx.object)->n_managed_fields, 0);
}

static void test_rename(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/rename", PODS_ALL);
    assert_int_equal(create_pod(f), 0);
    assert_str(object_name(f->fx.object), "other");
    assert_true(fx_update(&f->fx, KIND_OF(POD), fx_edit(&f->fx), NULL) == 0); /* to its own name */
    assert_int_equal(fx_delete(&f->fx, KIND_OF(MUTATING_WEBHOOK_CONFIGURATION), NULL, "m"), 0);
    assert_int_equal(create_pod(f), 0);
    mutating(f, "m", "/rename", PODS_ALL);
    assert_int_equal(fx_get(&f->fx, KIND_OF(POD), "default", "web"), 0);
    assert_true(fx_update(&f->fx, KIND_OF(POD), fx_edit(&f->fx), NULL) < 0);
    expect_text(f, "metadata.name: Invalid value: \"other\": field is immutable");
}

static void test_reinvocation(void **state)
{
    struct fixture *f = *state;
    mutating(f, "a", "/count", PODS_CREATE ", reinvocationPolicy: IfNeeded");
    mutating(f, "b", "/annotate", PODS_CREATE ", reinvocationPolicy: IfNeeded");
    mutating(f, "c", "/allow", PODS_CREATE);
    assert_int_equal(create_pod(f), 0);
    assert_str(label(f, "count"), "2");
    assert_int_equal(f->n_asked, 5); /* a b c, then a, since b changed it, and b, since a did */
    assert_str(f->asked[3].path, "/count");
    assert_str(f->asked[4].path, "/annotate");
}

static void test_no_reinvocation(void **state)
{
    struct fixture *f = *state;
    mutating(f, "a", "/count", PODS_CREATE);
    mutating(f, "b", "/annotate", PODS_CREATE);
    assert_int_equal(create_pod(f), 0);
    assert_str(label(f, "count"), "1");
    assert_int_equal(f->n_asked, 2);
}

/* ---- validating ---- */

static void test_deny(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/deny", PODS_ALL);
    validating(f, "w", "/allow", PODS_ALL);
    assert_true(create_pod(f) < 0);
    assert_int_equal(f->fx.code, 403);
    assert_str(f->fx.text, "admission webhook \"v.example.com\" denied the request: not today");
    assert_int_equal(f->n_asked, 2); /* all are asked */
    assert_true(fx_get(&f->fx, KIND_OF(POD), "default", "web") < 0);
}

static void test_deny_otherwise(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/deny-plain", PODS_ALL);
    assert_true(create_pod(f) < 0);
    assert_int_equal(f->fx.code, 400);
    assert_str(f->fx.text,
               "admission webhook \"v.example.com\" denied the request without explanation");
    assert_int_equal(fx_delete(&f->fx, KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION), NULL, "v"), 0);
    mutating(f, "v", "/deny-odd", PODS_ALL);
    assert_true(create_pod(f) < 0);
    assert_str(f->fx.text, "admission webhook \"v.example.com\" denied the request: Teapot");
}

static void test_lies(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *text;
    } rows[] = {
        {"/wrong-uid", "received invalid webhook response: expected response.uid=\""},
        {"/no-json", "failed to call webhook: couldn't get version/kind; json parse error: "},
        {"/v2", "received invalid webhook response: expected webhook response of "
                "admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v2, "
                "Kind=AdmissionReview"},
        {"/500", "failed to call webhook: an error on the server (\"broken\") has prevented"},
        {"/cut", "/cut?timeout=5s\": EOF"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        bool ignore = i % 2;
        (i % 4 < 2 ? validating : mutating)(
            f, "v", rows[i / 2].path, ignore ? PODS_CREATE ", failurePolicy: Ignore" : PODS_CREATE);
        assert_int_equal(create_pod(f) < 0, !ignore);
        if (!ignore) {
            assert_int_equal(f->fx.code, 500);
            expect_text(f, "Internal error occurred: failed calling webhook \"v.example.com\": ");
            expect_text(f, rows[i / 2].text);
        } else {
            assert_int_equal(fx_delete(&f->fx, KIND_OF(POD), "default", "web"), 0);
        }
        assert_int_equal(fx_delete(&f->fx,
                                   i % 4 < 2 ? KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION)
                                             : KIND_OF(MUTATING_WEBHOOK_CONFIGURATION),
                                   NULL, "v"),
                         0);
    }
}

static void test_switched_off(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/annotate", PODS_CREATE);
    validating(f, "v", "/allow", PODS_CREATE);
    assert_int_equal(fx_create(&f->fx, KIND_OF(POD), "default",
                               "{metadata: {generateName: x-}, spec: {containers: [{name: c, "
                               "image: i}]}}"),
                     0);
    assert_int_equal(f->n_asked, 1);
    /* what was shown is what was written */
    const struct json *m = json_getz(json_getz(f->asked[0].request, "object"), "metadata");
    assert_true(str_eq(json_get_str(m, STR("name")), object_name(f->fx.object)));
    assert_true(str_eq(json_get_str(m, STR("uid")), object_meta(f->fx.object)->uid));
}

/* ---- which calls ---- */

static void test_selectors(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/deny",
               PODS_ALL ", objectSelector: {matchLabels: {app: other}}, namespaceSelector: "
                        "{matchLabels: {kubernetes.io/metadata.name: default}}");
    assert_int_equal(create_pod(f), 0);
    void *msg = fx_edit(&f->fx); /* the new object has it, or the old one */
    ((struct api_pod *)msg)->metadata.labels[0].value = STR("other");
    assert_true(fx_update(&f->fx, KIND_OF(POD), msg, NULL) < 0);
    assert_int_equal(f->fx.code, 403);
    assert_int_equal(f->n_asked, 1);
}

static void test_conditions(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/deny",
               PODS_ALL ", matchConditions: [{name: a, expression: \"request.operation == "
                        "'CREATE'\"}, {name: b, expression: 'object.metadata.name != \"web\"'}]");
    assert_int_equal(create_pod(f), 0);
    assert_int_equal(f->n_asked, 0);
    assert_true(fx_create(&f->fx, KIND_OF(POD), "default",
                          "{metadata: {name: x}, spec: {containers: [{name: c, image: i}]}}") < 0);
    assert_int_equal(f->n_asked, 1);
}

static void test_exempt(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/deny",
               "rules: [{operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: "
               "['*/*']}]");
    validating(f, "w", "/allow", PODS_ALL); /* and its own deletion */
    assert_int_equal(
        fx_create(&f->fx, KIND_OF(SUBJECT_ACCESS_REVIEW), NULL,
                  "{spec: {user: x, resourceAttributes: {verb: get, resource: pods}}}"),
        0);
    assert_true(fx_create(&f->fx, KIND_OF(NAMESPACE), NULL, "{metadata: {name: x}}") < 0);
    assert_int_equal(f->n_asked, 1);
    assert_int_equal(fx_delete(&f->fx, KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION), NULL, "v"), 0);
    assert_int_equal(f->n_asked, 1);
}

static void test_other_version(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/allow",
               "rules: [{operations: ['*'], apiGroups: [autoscaling], apiVersions: [v1], "
               "resources: [horizontalpodautoscalers]}]");
    validating(f, "w", "/allow-exact",
               "matchPolicy: Exact, rules: [{operations: ['*'], apiGroups: [autoscaling], "
               "apiVersions: [v1], resources: [horizontalpodautoscalers]}]");
    assert_int_equal(
        fx_create(&f->fx, KIND_OF(HORIZONTAL_POD_AUTOSCALER), "default",
                  "{metadata: {name: h}, spec: {maxReplicas: 4, scaleTargetRef: {kind: Deployment, "
                  "name: d, apiVersion: apps/v1}}}"),
        0);
    bool v2 = strcmp(KIND_OF(HORIZONTAL_POD_AUTOSCALER)->version, "v2") == 0;
    assert_int_equal(f->n_asked, v2 ? 1 : 2);
    assert_str(json_get_str(json_getz(f->asked[0].request, "object"), STR("apiVersion")),
               "autoscaling/v1");
    assert_str(json_get_str(json_getz(f->asked[0].request, "requestKind"), STR("version")),
               KIND_OF(HORIZONTAL_POD_AUTOSCALER)->version);
}

/* ---- other operations ---- */

static void test_delete(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_pod(f), 0);
    mutating(f, "m", "/allow",
             "rules: [{operations: [DELETE], apiGroups: [''], apiVersions: [v1], resources: "
             "[pods]}]");
    validating(f, "v", "/deny",
               "rules: [{operations: [DELETE], apiGroups: [''], apiVersions: [v1], resources: "
               "[pods]}]");
    assert_true(fx_delete(&f->fx, KIND_OF(POD), "default", "web") < 0);
    assert_int_equal(f->fx.code, 403);
    assert_int_equal(f->n_asked, 2);
    const struct json *r = f->asked[1].request;
    assert_str(json_get_str(r, STR("operation")), "DELETE");
    assert_true(json_is(json_getz(r, "object"), JSON_NULL));
    assert_str(json_get_str(json_getz(r, "oldObject"), STR("kind")), "Pod");
    assert_str(json_get_str(json_getz(r, "options"), STR("kind")), "DeleteOptions");
    assert_int_equal(fx_delete(&f->fx, KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION), NULL, "v"), 0);
    assert_int_equal(fx_delete(&f->fx, KIND_OF(POD), "default", "web"), 0);
    assert_true(fx_get(&f->fx, KIND_OF(POD), "default", "web") < 0);
}

static void test_delete_cannot_be_changed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_pod(f), 0);
    mutating(f, "m", "/annotate", PODS_ALL);
    assert_true(fx_delete(&f->fx, KIND_OF(POD), "default", "web") < 0);
    expect_text(f, "attempted to modify the object, which is not supported for this operation");
}

static void test_deletecollection(void **state)
{
    struct fixture *f = *state;
    struct client_request q = {.verb = CLIENT_DELETE_COLLECTION,
                               .kind = KIND_OF(CONFIG_MAP),
                               .ns = STR("default"),
                               .label_selector = STR("t=1")};
    for (int i = 0; i < 20; i++)
        assert_int_equal(fx_create(&f->fx, KIND_OF(CONFIG_MAP), "default",
                                   "{metadata: {generateName: c-, labels: {t: '1'}}}"),
                         0);
    validating(f, "v", "/allow",
               "rules: [{operations: [DELETE], apiGroups: [''], apiVersions: [v1], resources: "
               "[configmaps]}]");
    assert_int_equal(fx_call(&f->fx, &q), 0);
    assert_int_equal(f->fx.n_items, 20);
    assert_int_equal(f->n_asked, 20);
    assert_int_equal(fx_call(&f->fx, &q), 0);
    assert_int_equal(f->fx.n_items, 0);
    assert_int_equal(fx_create(&f->fx, KIND_OF(CONFIG_MAP), "default",
                               "{metadata: {name: c, labels: {t: '1'}}}"),
                     0);
    validating(f, "w", "/deny",
               "rules: [{operations: [DELETE], apiGroups: [''], apiVersions: [v1], resources: "
               "[configmaps]}]");
    assert_true(fx_call(&f->fx, &q) < 0);
    expect_text(f, "denied the request: not today");
}

static void test_subresources(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_pod(f), 0);
    validating(f, "v", "/deny",
               "rules: [{operations: ['*'], apiGroups: [''], apiVersions: [v1], resources: "
               "[pods/status, pods/eviction, pods/binding]}]");
    assert_int_equal(fx_get(&f->fx, KIND_OF(POD), "default", "web"), 0);
    struct api_pod *p = fx_edit(&f->fx);
    assert_int_equal(fx_update(&f->fx, KIND_OF(POD), p, NULL), 0);
    assert_int_equal(f->n_asked, 0);
    p->status.phase = STR("Running");
    assert_true(fx_update(&f->fx, KIND_OF(POD), p, "status") < 0);
    assert_str(json_get_str(f->asked[0].request, STR("subResource")), "status");
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .name = STR("web"),
                               .subresource = STR("eviction"),
                               .body =
                                   fx_msg(&f->fx, &api_eviction_desc, "{metadata: {name: web}}"),
                               .body_desc = &api_eviction_desc};
    assert_true(fx_call(&f->fx, &q) < 0);
    assert_str(json_get_str(json_getz(f->asked[1].request, "kind"), STR("kind")), "Eviction");
    assert_str(json_get_str(f->asked[1].request, STR("operation")), "CREATE");
    q.subresource = STR("binding");
    q.body_desc = &api_binding_desc;
    q.body = fx_msg(&f->fx, &api_binding_desc, "{metadata: {name: web}, target: {name: node}}");
    assert_true(fx_call(&f->fx, &q) < 0);
    assert_str(json_get_str(json_getz(f->asked[2].request, "kind"), STR("kind")), "Binding");
    assert_int_equal(fx_get(&f->fx, KIND_OF(POD), "default", "web"), 0);
}

#define DEPLOYMENT                                                                                 \
    "{metadata: {name: d}, spec: {replicas: 1, selector: {matchLabels: {a: b}}, template: "        \
    "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}"

static void test_scale(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fx_create(&f->fx, KIND_OF(DEPLOYMENT), "default", DEPLOYMENT), 0);
    mutating(f, "m", "/three",
             "rules: [{operations: [UPDATE], apiGroups: [apps], apiVersions: [v1], resources: "
             "[deployments/scale]}]");
    assert_int_equal(fx_patch(&f->fx, KIND_OF(DEPLOYMENT), "default", "d", "scale",
                              CLIENT_PATCH_MERGE, "{\"spec\":{\"replicas\":2}}"),
                     0);
    const struct api_scale *s = f->fx.message;
    assert_int_equal(s->spec.replicas, 3);
    const struct json *r = f->asked[0].request;
    assert_str(json_get_str(json_getz(r, "kind"), STR("kind")), "Scale");
    assert_str(json_get_str(json_getz(r, "resource"), STR("resource")), "deployments");
    assert_int_equal(json_getz(json_getz(json_getz(r, "oldObject"), "spec"), "replicas")->i, 1);
}

static void test_dry_run(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/annotate", PODS_CREATE);
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(POD),
                               .ns = STR("default"),
                               .dry_run = true,
                               .body = fx_msg(&f->fx, &api_pod_desc, POD)};
    assert_int_equal(fx_call(&f->fx, &q), 0);
    assert_int_equal(object_meta(f->fx.object)->n_annotations, 1);
    assert_true(json_getz(f->asked[0].request, "dryRun")->b);
    assert_true(fx_get(&f->fx, KIND_OF(POD), "default", "web") < 0);
}

/* ---- what changes meanwhile ---- */

static void hold_update(struct fixture *f, bool with_revision)
{
    struct fx *x = &f->fx;
    assert_int_equal(fx_create(x, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: c}}"), 0);
    validating(f, "v", "/hold",
               "rules: [{operations: [UPDATE], apiGroups: [''], apiVersions: [v1], resources: "
               "[configmaps]}]");
    assert_int_equal(fx_get(x, KIND_OF(CONFIG_MAP), "default", "c"), 0);
    struct api_config_map *m = fx_edit(x);
    kv_str_set(&x->arena, &m->data, &m->n_data, STR("a"), STR("1"));
    if (!with_revision)
        m->metadata.resource_version = STR_NONE;
    start_call(f, &(struct client_request){.verb = CLIENT_UPDATE,
                                           .kind = KIND_OF(CONFIG_MAP),
                                           .ns = STR("default"),
                                           .name = STR("c"),
                                           .body = m});
    wait_held(f);
    /* somebody else is faster: straight into the store */
    struct object *o = store_peek(x->store, KIND_OF(CONFIG_MAP), STR("default"), STR("c"));
    struct api_config_map *other = schema_clone(&api_config_map_desc, o->msg, &x->arena);
    kv_str_set(&x->arena, &other->metadata.labels, &other->metadata.n_labels, STR("faster"),
               STR("yes"));
    assert_int_equal(store_put(x->store, KIND_OF(CONFIG_MAP), other, STORE_ANY, NULL, NULL, NULL),
                     0);
    let_go(f);
}

static void test_update_starts_over(void **state)
{
    struct fixture *f = *state;
    hold_update(f, false);
    wait_held(f); /* asked about the new state */
    assert_int_equal(f->n_asked, 2);
    const struct json *old = json_getz(f->asked[1].request, "oldObject");
    assert_str(json_get_str(json_getz(json_getz(old, "metadata"), "labels"), STR("faster")), "yes");
    let_go(f);
    fx_wait(&f->fx);
    assert_int_equal(f->fx.r, 0);
}

static void test_update_conflicts(void **state)
{
    struct fixture *f = *state;
    hold_update(f, true);
    fx_wait(&f->fx);
    assert_int_equal(f->fx.code, 409);
    expect_text(f, "the object has been modified");
    assert_int_equal(f->n_asked, 1);
}

static void test_update_gives_up(void **state)
{
    struct fixture *f = *state;
    struct fx *x = &f->fx;
    hold_update(f, false);
    for (int i = 0; i < 4; i++) {
        wait_held(f);
        struct object *o = store_peek(x->store, KIND_OF(CONFIG_MAP), STR("default"), STR("c"));
        struct api_config_map *m = schema_clone(&api_config_map_desc, o->msg, &x->arena);
        kv_str_set(&x->arena, &m->metadata.labels, &m->metadata.n_labels, STR("n"),
                   arena_printf(&x->arena, "%d", i));
        assert_int_equal(store_put(x->store, KIND_OF(CONFIG_MAP), m, STORE_ANY, NULL, NULL, NULL),
                         0);
        let_go(f);
    }
    fx_wait(x);
    assert_int_equal(x->code, 409);
    assert_int_equal(f->n_asked, 5);
}

static void test_patch_starts_over(void **state)
{
    struct fixture *f = *state;
    struct fx *x = &f->fx;
    assert_int_equal(fx_create(x, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: c}}"), 0);
    mutating(f, "m", "/hold",
             "rules: [{operations: [UPDATE], apiGroups: [''], apiVersions: [v1], resources: "
             "[configmaps]}]");
    start_call(f, &(struct client_request){.verb = CLIENT_PATCH,
                                           .kind = KIND_OF(CONFIG_MAP),
                                           .ns = STR("default"),
                                           .name = STR("c"),
                                           .patch_type = CLIENT_PATCH_MERGE,
                                           .patch = STR("{\"data\":{\"a\":\"1\"}}")});
    wait_held(f);
    struct object *o = store_peek(x->store, KIND_OF(CONFIG_MAP), STR("default"), STR("c"));
    struct api_config_map *m = schema_clone(&api_config_map_desc, o->msg, &x->arena);
    kv_str_set(&x->arena, &m->data, &m->n_data, STR("b"), STR("2"));
    assert_int_equal(store_put(x->store, KIND_OF(CONFIG_MAP), m, STORE_ANY, NULL, NULL, NULL), 0);
    let_go(f);
    wait_held(f);
    let_go(f);
    fx_wait(x);
    assert_int_equal(x->r, 0);
    assert_int_equal(OBJECT_MSG(x->object, api_config_map)->n_data, 2); /* nothing is lost */
}

static void start_pod(struct fixture *f)
{
    start_call(f, &(struct client_request){.verb = CLIENT_CREATE,
                                           .kind = KIND_OF(POD),
                                           .ns = STR("default"),
                                           .body = fx_msg(&f->fx, &api_pod_desc, POD)});
}

static void test_create_twice(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/hold", PODS_CREATE);
    start_pod(f);
    create_other(f, KIND_OF(POD), POD);
    while (f->n_held < 2)
        wait_held(f), rt_run_until(f->fx.rt, fx_is_done, &f->fx, NSEC_PER_MSEC);
    let_go(f);
    fx_wait(&f->fx);
    int other = wait_other(f);
    assert_int_equal((f->fx.r == 0) + (other == 0), 1); /* one of them made it */
    assert_int_equal(f->fx.r + other, -EEXIST);
}

static void test_configuration_goes(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/hold", PODS_CREATE);
    start_pod(f);
    wait_held(f);
    bool done = false;
    create_other(f, KIND_OF(CONFIG_MAP), "{metadata: {name: other}}"); /* nobody else waits */
    assert_int_equal(wait_other(f), 0);
    assert_false(f->fx.done);
    assert_int_equal(store_delete(f->fx.store, KIND_OF(VALIDATING_WEBHOOK_CONFIGURATION), STR(""),
                                  STR("v"), STORE_ANY, NULL, NULL, NULL),
                     0);
    (void)rt_run_until(f->fx.rt, fx_is_done, &f->fx, 20 * NSEC_PER_MSEC);
    let_go(f);
    fx_wait(&f->fx);
    assert_int_equal(f->fx.r, 0);
    (void)done;
}

static void test_hang(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/hold", PODS_CREATE ", timeoutSeconds: 1");
    assert_true(create_pod(f) < 0);
    assert_int_equal(f->fx.code, 500);
    expect_text(f, "/hold?timeout=1s\": context deadline exceeded");
}

static void test_loop(void **state)
{
    struct fixture *f = *state;
    validating(f, "v", "/loop",
               "timeoutSeconds: 1, rules: [{operations: [CREATE], apiGroups: [''], apiVersions: "
               "[v1], resources: [configmaps]}]");
    assert_true(fx_create(&f->fx, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: first}}") < 0);
    assert_int_equal(f->fx.code, 500);
    assert_int_equal(create_pod(f), 0); /* the server goes on */
}

static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct fx *x = &f->fx;
    validating(f, "v", "/hold", PODS_CREATE);
    start_pod(f);
    wait_held(f);
    bool stopped = false;
    struct fx at = {0};
    apiserver_stop(x->api, 1000, fx_set_done, &at);
    fx_wait(x);
    assert_int_equal(x->code, 503);
    (void)stopped;
    assert_true(rt_run_until(x->rt, fx_is_done, &at, 60 * NSEC_PER_SEC));
}

static void test_freed(void **state)
{
    struct fixture *f = *state;
    mutating(f, "m", "/annotate", PODS_CREATE);
    mutating(f, "z", "/hold", PODS_CREATE);
    start_pod(f);
    wait_held(f);
    start_pod(f); /* the teardown frees the client, then the server, under both */
}

/* ---- what an answer may look like ---- */

#define REVIEW "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\""
#define OK     "\"response\":{\"uid\":\"u\",\"allowed\":true"

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
        int r;
    } rows[] = {
        {REVIEW "," OK "}}", NULL, 0},
        {REVIEW "," OK ",\"patch\":null,\"patchType\":null,\"more\":[1]}}", NULL, 0},
        {REVIEW "," OK ",\"patchType\":\"JSONPatch\",\"patch\":\"W10=\"}}", NULL, 0},
        {REVIEW "}", "webhook response was absent", -EPROTO},
        {"{\"response\":{}}", "Object 'Kind' is missing", -EPROTO},
        {REVIEW ",\"response\":{\"allowed\":true}}", "expected response.uid=\"u\", got \"\"",
         -EPROTO},
        {REVIEW ",\"response\":{\"uid\":\"u\",\"allowed\":\"yes\"}}",
         "cannot unmarshal string into field AdmissionResponse.allowed", -EPROTO},
        {REVIEW "," OK ",\"warnings\":{}}}", "AdmissionResponse.warnings", -EPROTO},
        {REVIEW "," OK ",\"warnings\":[1]}}", "AdmissionResponse.warnings of type string", -EPROTO},
        {REVIEW "," OK ",\"auditAnnotations\":{\"a\":1}}}", "AdmissionResponse.auditAnnotations",
         -EPROTO},
        {REVIEW "," OK ",\"patch\":\"W10=\"}}",
         "webhook returned response.patch but not response.patchType", -EPROTO},
        {REVIEW "," OK ",\"patchType\":\"JSONPatch\"}}",
         "webhook returned response.patchType but not response.patch", -EPROTO},
        {REVIEW "," OK ",\"patchType\":\"Merge\",\"patch\":\"W10=\"}}",
         "unsupported patch type \"Merge\"", -EPROTO},
        {REVIEW "," OK ",\"patchType\":\"JSONPatch\",\"patch\":\"?\"}}", "illegal base64 data",
         -EPROTO},
        {REVIEW "," OK ",\"patchType\":\"JSONPatch\",\"patch\":\"e30=\"}}",
         "a JSON patch is an array, not object", -EBADMSG},
        {REVIEW "," OK ",\"status\":{\"code\":\"x\"}}}", "response.status: ", -EPROTO},
        {"[]", "an object is expected, not array", -EPROTO},
        {"", "json parse error", -EPROTO},
    };
    const struct review_question q = {.v1 = true, .uid = STR("u")};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct review_answer w;
        int r = review_parse(str_z(rows[i].body), &q, true, &a, &w, &err);
        if (r != rows[i].r || (r < 0 && str_search(err.message, str_z(rows[i].text)) < 0))
            fail_msg("%s: %d %.*s", rows[i].body, r, STR_ARG(err.message));
        error_fini(&err);
        arena_fini(&a);
    }
}

static void test_answer_bounds(void **state)
{
    (void)state;
    const struct review_question q = {.v1 = true, .uid = STR("u")};
    struct arena a = {0};
    struct buf b = {0};
    struct review_answer w;
    buf_add_lit(&b, REVIEW "," OK ",\"warnings\":[\"\"");
    for (int i = 0; i < 2 * REVIEW_WARNINGS_MAX; i++)
        buf_printf(&b, ",\"%d\"", i);
    buf_add_lit(&b, "],\"auditAnnotations\":{\"x\":\"");
    for (int i = 0; i < 2 * REVIEW_TEXT_BYTES_MAX; i++)
        buf_add_char(&b, 'x');
    buf_add_char(&b, '"');
    for (int i = 0; i < 2 * REVIEW_ANNOTATIONS_MAX; i++)
        buf_printf(&b, ",\"%d\":\"\"", i);
    buf_add_lit(&b, "}}}");
    assert_int_equal(review_parse(buf_str(&b), &q, false, &a, &w, NULL), 0);
    assert_int_equal(w.n_warnings, REVIEW_WARNINGS_MAX);
    assert_int_equal(w.n_annotations, REVIEW_ANNOTATIONS_MAX);
    assert_int_equal(w.annotations[0].value.n, REVIEW_TEXT_BYTES_MAX);
    buf_fini(&b);
    arena_fini(&a);
}

static void test_question(void **state)
{
    (void)state;
    struct buf b = {0};
    struct review_question q = {.uid = STR("u"), .info = STR("{}"), .desc = &api_config_map_desc};
    review_print(&q, &b);
    assert_str(buf_str(&b),
               "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1beta1\","
               "\"request\":{\"uid\":\"u\",\"object\":null,\"oldObject\":null}}");
    buf_fini(&b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_mutate),
        T(test_bad_patches),
        T(test_what_webhooks_may_not_change),
        T(test_owners),
        T(test_rename),
        T(test_reinvocation),
        T(test_no_reinvocation),
        T(test_deny),
        T(test_deny_otherwise),
        T(test_lies),
        cmocka_unit_test_setup_teardown(test_switched_off, setup_validating_only, teardown),
        T(test_selectors),
        T(test_conditions),
        T(test_exempt),
        T(test_other_version),
        T(test_delete),
        T(test_delete_cannot_be_changed),
        T(test_deletecollection),
        T(test_subresources),
        T(test_scale),
        T(test_dry_run),
        T(test_update_starts_over),
        T(test_update_conflicts),
        T(test_update_gives_up),
        T(test_patch_starts_over),
        T(test_create_twice),
        T(test_configuration_goes),
        T(test_hang),
        T(test_loop),
        T(test_stop),
        T(test_freed),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answer_bounds),
        cmocka_unit_test(test_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
