/* Which calls a webhook or policy is about, and the call as admission tells of it. */
#include "api_test.h"
#include "apiserver/admit/match.h"

struct lab {
    struct fx *f;
    struct api_call *c;
    struct admit_request r;
};

static void lab_init(struct lab *l, struct fx *f, const struct schema_kind *k, const char *ns,
                     const char *sub, enum admit_op op, const char *yaml, const char *old)
{
    memset(l, 0, sizeof(*l));
    l->f = f;
    l->c = api_call_new(f->api);
    l->c->kind = k;
    l->c->verb = op == ADMIT_CREATE   ? API_CREATE
                 : op == ADMIT_UPDATE ? API_UPDATE
                 : op == ADMIT_DELETE ? API_DELETE
                                      : API_CONNECT;
    l->c->ns = str_z(ns);
    l->c->name = STR("web");
    l->c->subresource = str_z(sub);
    l->c->user.name = STR("eve");
    void *msg = yaml ? fx_msg(f, k->desc, yaml) : NULL;
    struct object *o = NULL;
    if (old)
        o = object_new(schema_stored(k), schema_to_storage(k, fx_msg(f, k->desc, old), &f->arena),
                       7);
    admit_request_init(&l->r, l->c, op, msg, o);
    if (o) { /* the call holds what it was given, as the store does for a turn */
        l->r.old = schema_clone(k->desc, l->r.old, &l->c->arena);
        l->r.name = arena_str(&l->c->arena, l->r.name);
        l->r.ns = l->r.ns.p ? arena_str(&l->c->arena, l->r.ns) : STR_NONE;
        object_unref(o);
    }
}

static void lab_fini(struct lab *l)
{
    api_call_free(l->c);
}

/* matchConstraints as YAML. "Pod v1" and so on; "-": no; "!...": an error. */
static const char *as_of(struct lab *l, const char *yaml)
{
    struct match m;
    const struct schema_kind *as = NULL;
    struct error err = {0};
    static char out[300];
    struct api_match_resources *res = fx_msg(l->f, &api_match_resources_desc, yaml);
    match_compile(&m, &l->f->arena, res);
    int r = match_request(&m, &l->r, &as, &err);
    if (r > 0)
        snprintf(out, sizeof(out), "%s %s", as->kind, as->api_version);
    else
        snprintf(out, sizeof(out), r < 0 ? "!%.*s" : "-", STR_ARG(err.message));
    error_fini(&err);
    return out;
}

#define RULE(groups, versions, resources, ops)                                                     \
    "{apiGroups: [" groups "], apiVersions: [" versions "], resources: [" resources                \
    "], operations: [" ops "]"

static void test_rules(void **state)
{
    static const struct {
        const char *rules, *want;
    } rows[] = {
        {RULE("''", "v1", "pods", "CREATE") "}", "Pod v1"},
        {RULE("'*'", "'*'", "'*'", "'*'") "}", "Pod v1"},
        {RULE("'*'", "'*'", "'*/*'", "'*'") "}", "Pod v1"},
        {RULE("'*'", "'*'", "'pods/*'", "'*'") "}", "Pod v1"},
        {RULE("'*'", "'*'", "'*/status'", "'*'") "}", "-"},
        {RULE("''", "v1", "pods", "UPDATE, DELETE") "}", "-"},
        {RULE("apps", "v1", "pods", "CREATE") "}", "-"},
        {RULE("''", "v2", "pods", "CREATE") "}", "-"},
        {RULE("''", "v1", "services, pods", "UPDATE, CREATE") "}", "Pod v1"},
        {RULE("''", "v1", "pods", "CREATE") ", scope: Cluster}", "-"},
        {RULE("''", "v1", "pods", "CREATE") ", scope: Namespaced}", "Pod v1"},
        {RULE("''", "v1", "pods", "CREATE") ", resourceNames: [web]}", "Pod v1"},
        {RULE("''", "v1", "pods", "CREATE") ", resourceNames: [other]}", "-"},
    };
    struct lab l;
    lab_init(&l, *state, KIND_OF(POD), "default", NULL, ADMIT_CREATE, POD, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char yaml[600];
        snprintf(yaml, sizeof(yaml), "{resourceRules: [%s]}", rows[i].rules);
        if (strcmp(as_of(&l, yaml), rows[i].want) != 0)
            fail_msg("%s: %s", yaml, as_of(&l, yaml));
    }
    assert_string_equal(as_of(&l, "{}"), "Pod v1"); /* a binding without rules */
    assert_string_equal(
        as_of(&l, "{resourceRules: [" RULE("''", "v1", "pods",
                                           "'*'") "}], "
                                                  "excludeResourceRules: [" RULE(
                                                      "''", "v1", "pods",
                                                      "CREATE") ", resourceNames: [web]}]}"),
        "-");
    lab_fini(&l);
}

static void test_subresource(void **state)
{
    struct lab l;
    lab_init(&l, *state, KIND_OF(POD), "default", "status", ADMIT_UPDATE, POD, POD);
    assert_string_equal(as_of(&l, "{resourceRules: [" RULE("''", "v1", "pods", "'*'") "}]}"), "-");
    assert_string_equal(as_of(&l, "{resourceRules: [" RULE("''", "v1", "'*'", "'*'") "}]}"), "-");
    assert_string_equal(as_of(&l, "{resourceRules: [" RULE("''", "v1", "pods/status", "'*'") "}]}"),
                        "Pod v1");
    assert_string_equal(as_of(&l, "{resourceRules: [" RULE("''", "v1", "'*/*'", "'*'") "}]}"),
                        "Pod v1");
    lab_fini(&l);
}

/* A built-in kind in two versions: matched, and seen, as the one the rule names. */
static void test_equivalent(void **state)
{
#define HPA                                                                                        \
    "{metadata: {name: web, labels: {app: web}}, spec: {maxReplicas: 3, scaleTargetRef: {kind: "   \
    "Deployment, name: d, apiVersion: apps/v1}, targetCPUUtilizationPercentage: 70}}"
    struct lab l;
    lab_init(&l, *state, KIND_OF(HPA1), "default", NULL, ADMIT_CREATE, HPA, NULL);
    assert_string_equal(
        as_of(&l, "{matchPolicy: Equivalent, resourceRules: [" RULE(
                      "autoscaling", "v2", "horizontalpodautoscalers", "'*'") "}]}"),
        "HorizontalPodAutoscaler autoscaling/v2");
    assert_string_equal(
        as_of(&l, "{matchPolicy: Exact, resourceRules: [" RULE(
                      "autoscaling", "v2", "horizontalpodautoscalers", "'*'") "}]}"),
        "-");
    assert_string_equal(
        as_of(&l, "{matchPolicy: Equivalent, resourceRules: [" RULE(
                      "autoscaling", "'*'", "horizontalpodautoscalers", "'*'") "}]}"),
        "HorizontalPodAutoscaler autoscaling/v1");
    size_t n;
    const struct schema_kind *const *v = admit_request_equals(&l.r, &n);
    assert_int_equal(n, 1);
    struct buf b = {0};
    json_print(admit_request_tree(&l.r, v[0], false), &b);
    assert_true(str_search(buf_str(&b), STR("\"averageUtilization\":70")) > 0);
    assert_true(str_search(buf_str(&b), STR("\"apiVersion\":\"autoscaling/v2\"")) > 0);
    buf_clear(&b);
    json_print(admit_request_info(&l.r, v[0]), &b);
    assert_true(str_search(buf_str(&b), STR("\"kind\":{\"group\":\"autoscaling\",\"version\":"
                                            "\"v2\",\"kind\":\"HorizontalPodAutoscaler\"}")) > 0);
    assert_true(str_search(buf_str(&b), STR("\"requestKind\":{\"group\":\"autoscaling\","
                                            "\"version\":\"v1\"")) > 0);
    buf_fini(&b);
    const void *msg;
    assert_int_equal(
        admit_request_back(&l.r, v[0], admit_request_msg(&l.r, v[0], false), &msg, NULL), 1);
    const struct api_hpa1 *back = msg;
    assert_int_equal(back->spec.target_cpu_utilization_percentage, 70);
    lab_fini(&l);
}

static void test_selectors(void **state)
{
#define ALL "resourceRules: [" RULE("'*'", "'*'", "'*'", "'*'") "}]"
    struct lab l;
    struct fx *f = *state;
    assert_int_equal(
        fx_create(f, KIND_OF(NAMESPACE), NULL, "{metadata: {name: red, labels: {color: red}}}"), 0);
    lab_init(&l, f, KIND_OF(POD), "red", NULL, ADMIT_UPDATE, POD,
             "{metadata: {name: web, namespace: red, labels: {app: old}}}");
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: red}}, " ALL "}"),
                        "Pod v1");
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: blue}}, " ALL "}"),
                        "-");
    /* before or after */
    assert_string_equal(as_of(&l, "{objectSelector: {matchLabels: {app: web}}, " ALL "}"),
                        "Pod v1");
    assert_string_equal(as_of(&l, "{objectSelector: {matchLabels: {app: old}}, " ALL "}"),
                        "Pod v1");
    assert_string_equal(as_of(&l, "{objectSelector: {matchLabels: {app: none}}, " ALL "}"), "-");
    lab_fini(&l);
    lab_init(&l, f, KIND_OF(POD), "gone", NULL, ADMIT_CREATE, POD, NULL);
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: red}}, " ALL "}"),
                        "!namespaces \"gone\" not found");
    assert_string_equal(as_of(&l, "{namespaceSelector: {}, " ALL "}"), "Pod v1");
    lab_fini(&l);
    /* what is in no namespace is never exempt */
    lab_init(&l, f, KIND_OF(NODE), NULL, NULL, ADMIT_CREATE, "{metadata: {name: web}}", NULL);
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: red}}, " ALL "}"),
                        "Node v1");
    lab_fini(&l);
    /* a namespace is judged by the labels it is to have, and in no namespace */
    lab_init(&l, f, KIND_OF(NAMESPACE), NULL, NULL, ADMIT_CREATE,
             "{metadata: {name: web, labels: {color: red}}}", NULL);
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: red}}, " ALL "}"),
                        "Namespace v1");
    assert_string_equal(as_of(&l, "{namespaceSelector: {matchLabels: {color: blue}}, " ALL "}"),
                        "-");
    assert_string_equal(as_of(&l,
                              "{resourceRules: [" RULE("'*'", "'*'", "'*'", "'*'") ", scope: "
                                                                                   "Namespaced}]}"),
                        "-");
    lab_fini(&l);
}

static int conditions(struct lab *l, const char *text, struct str *why)
{
    struct api_match_condition v[4];
    uint32_t n = 0;
    struct str rest = str_z(text), one;
    while (str_cut(&rest, '\n', &one) || one.n)
        v[n++] = (struct api_match_condition){STR("c"), one};
    struct conditions *c = conditions_new(v, n, ADMIT_ENV_AUTHORIZER);
    *why = STR_NONE;
    int r = conditions_check(c, &l->r, l->c->kind, NULL, NULL, why);
    conditions_free(c);
    return r;
}

static void test_conditions(void **state)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"request.operation == 'CREATE'", 1},
        {"request.kind.kind == 'Pod' && request.resource.resource == 'pods'", 1},
        {"request.userInfo.username == 'eve'", 1},
        {"object.metadata.labels.app == 'web'", 1},
        {"object.kind == 'Pod' && object.apiVersion == 'v1'", 1},
        {"oldObject == null", 1},
        {"!has(request.subResource)", 1},
        {"request.namespace == 'default' && request.name == 'web' && !request.dryRun", 1},
        {"authorizer.group('').resource('pods').check('get').allowed()", 0},
        {"authorizer.requestResource.check('create').allowed()", 0},
        {"true\nfalse\nobject.nothing == 1", 0}, /* a false one counts, whatever failed before */
        {"object.nothing == 1\nfalse", 0},
        {"object.nothing == 1\ntrue", -EINVAL},
        {"params == null", -EINVAL}, /* there are none here */
        {"[1].map(x, x)", -EINVAL},
    };
    struct lab l;
    struct str why;
    lab_init(&l, *state, KIND_OF(POD), "default", NULL, ADMIT_CREATE, POD, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (conditions(&l, rows[i].text, &why) != rows[i].want)
            fail_msg("%s: %.*s", rows[i].text, STR_ARG(why));
    assert_int_equal(conditions(&l, "object.nothing == 1", &why), -EINVAL);
    assert_string_equal(fx_z(*state, why),
                        "expression 'object.nothing == 1' resulted in error: no such key: nothing");
    assert_int_equal(conditions(&l, "object.nothing == 1\nobject.none == 2", &why), -EINVAL);
    assert_string_equal(fx_z(*state, why),
                        "[expression 'object.nothing == 1' resulted in error: no such key: "
                        "nothing, expression 'object.none == 2' resulted in error: no such key: "
                        "none]");
    lab_fini(&l);
}

/* A condition that costs more than one call may is an error, and one call does not spend all. */
static void test_cost(void **state)
{
    struct lab l;
    struct str why;
    const char *list = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    char text[600];
    snprintf(text, sizeof(text),
             "%s.all(a, %s.all(b, %s.all(c, %s.all(d, %s.all(e, a + b + c + d + e > 0)))))", list,
             list, list, list, list);
    lab_init(&l, *state, KIND_OF(POD), "default", NULL, ADMIT_CREATE, POD, NULL);
    assert_int_equal(conditions(&l, text, &why), -EINVAL);
    assert_true(str_search(why, STR("actual cost limit exceeded")) > 0);
    lab_fini(&l);
}

static void test_connect(void **state)
{
    struct fx *f = *state;
    struct api_call *c = api_call_new(f->api);
    struct admit_request r;
    struct buf b = {0};
    c->kind = KIND_OF(POD);
    c->verb = API_CONNECT;
    c->ns = STR("default");
    c->name = STR("web");
    c->subresource = STR("exec");
    c->query = STR("command=ls&command=-l%20x&container=c&stdout=1&tty=false&other=1");
    admit_request_init_connect(&r, c);
    json_print(admit_request_tree(&r, c->kind, false), &b);
    assert_string_equal(fx_z(f, buf_str(&b)),
                        "{\"kind\":\"PodExecOptions\",\"apiVersion\":\"v1\",\"stdout\":true,"
                        "\"container\":\"c\",\"command\":[\"ls\",\"-l x\"]}");
    buf_clear(&b);
    json_print(admit_request_info(&r, c->kind), &b);
    assert_true(str_search(buf_str(&b), STR("\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":"
                                            "\"PodExecOptions\"}")) > 0);
    assert_true(str_search(buf_str(&b), STR("\"operation\":\"CONNECT\"")) > 0);
    buf_fini(&b);
    api_call_free(c);
}

/* Nobody is asked about the rules themselves. */
static void test_exempt(void **state)
{
    struct lab l;
    lab_init(&l, *state, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), NULL, NULL, ADMIT_DELETE,
             NULL, "{metadata: {name: web}}");
    assert_true(admit_request_is_exempt(&l.r));
    lab_fini(&l);
    lab_init(&l, *state, KIND_OF(POD), "default", NULL, ADMIT_CREATE, POD, NULL);
    assert_false(admit_request_is_exempt(&l.r));
    admit_request_changed(&l.r, fx_msg(*state, KIND_OF(POD)->desc, "{metadata: {name: two}}"));
    assert_string_equal(
        json_get_str(json_getz(admit_request_tree(&l.r, l.c->kind, false), "metadata"), STR("name"))
            .p,
        "two");
    lab_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rules, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_subresource, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_equivalent, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_selectors, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_conditions, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_cost, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_connect, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_exempt, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
