/* Admission plugins, asked as a client would: calls with their warnings, no controller running. */
#include "api_test.h"
#include "apiserver/internal.h"

/* ---- calls as an administrator, whose warnings can be read ---- */

static struct str masters = {"system:masters", 14};

struct answer {
    bool done;
    struct api_call *call;
};

static void on_answer(struct api_call *c)
{
    ((struct answer *)c->arg)->done = true;
}

static bool answered(void *arg)
{
    return ((struct answer *)arg)->done;
}

/* The texts of f are those of this call; f->names holds its warnings, one a line. */
static int ask_msg(struct fx *f, enum api_verb verb, const struct schema_kind *k, const char *ns,
                   const char *name, const void *msg)
{
    struct answer a = {0};
    struct api_call *c = a.call = api_call_new(f->api);
    c->verb = verb;
    c->kind = k;
    c->ns = arena_strz(&c->arena, ns);
    c->name = arena_strz(&c->arena, name);
    c->user.name = STR("admin");
    c->user.groups = &masters;
    c->user.n_groups = 1;
    c->body_desc = k->desc;
    c->body = schema_clone(k->desc, msg, &c->arena);
    c->done = on_answer;
    c->arg = &a;
    api_call_start(c);
    assert_true(rt_run_until(f->rt, answered, &a, 10 * NSEC_PER_SEC));
    int r = c->reply.r;
    f->text = r < 0 ? arena_str(&f->arena, c->reply.err.message) : STR_NONE;
    f->code = r < 0 ? error_reason_http_code(c->reply.err.reason) : c->reply.code;
    object_unref(f->object);
    f->object = c->reply.object ? object_ref(c->reply.object) : NULL;
    struct buf b = {0};
    for (unsigned i = 0; i < c->reply.n_warnings; i++)
        buf_printf(&b, "%s%.*s", i ? "\n" : "", STR_ARG(c->reply.warnings[i]));
    f->names = arena_str(&f->arena, buf_str(&b));
    buf_fini(&b);
    api_call_free(c);
    return r;
}

static int ask(struct fx *f, enum api_verb verb, const struct schema_kind *k, const char *ns,
               const char *name, const char *yaml)
{
    return ask_msg(f, verb, k, ns, name, fx_msg(f, k->desc, yaml));
}

static int ask_create(struct fx *f, const struct schema_kind *k, const char *ns, const char *yaml)
{
    return ask(f, API_CREATE, k, ns, NULL, yaml);
}

static void make_ns(struct fx *f, const char *yaml)
{
    assert_ok(fx_create(f, KIND_OF(NAMESPACE), NULL, yaml));
}

/* ---- Pod Security ---- */

#define HOST_NET                                                                                   \
    "{metadata: {name: %s}, spec: {hostNetwork: true, containers: [{name: c, image: i}]}}"

static void make_pod(struct fx *f, const char *ns, const char *name)
{
    char *text = xasprintf(HOST_NET, name);
    assert_ok(fx_create(f, KIND_OF(POD), ns, text));
    free(text);
}

static void enforces_on_pods_and_warns_for_templates(void **state)
{
    struct fx *f = *state;
    make_ns(f, "{metadata: {name: safe, labels: {pod-security.kubernetes.io/enforce: baseline}}}");
    assert_int_equal(ask_create(f, KIND_OF(POD), "safe",
                                "{metadata: {name: web}, spec: {hostPID: true, containers: "
                                "[{name: c, image: i}]}}"),
                     -EPERM);
    assert_str(f->text, "pods \"web\" is forbidden: violates PodSecurity \"baseline:latest\": host "
                        "namespaces (hostPID=true)");
    assert_int_equal(f->code, 403);
    assert_str(f->names, "");
    assert_ok(ask_create(f, KIND_OF(POD), "safe", POD));
    assert_str(f->names, "");
    assert_ok(
        ask_create(f, KIND_OF(DEPLOYMENT), "safe",
                   "{metadata: {name: web}, spec: {selector: {matchLabels: {a: b}}, template: "
                   "{metadata: {labels: {a: b}}, spec: {hostPID: true, containers: [{name: "
                   "c, image: i}]}}}}"));
    assert_str(f->names, "would violate PodSecurity \"baseline:latest\": host namespaces "
                         "(hostPID=true)");
    /* what controllers make is refused as well */
    assert_int_equal(fx_create(f, KIND_OF(POD), "safe",
                               "{metadata: {generateName: web-}, spec: {hostIPC: true, containers: "
                               "[{name: c, image: i}]}}"),
                     -EPERM);
}

static void warns_without_refusing(void **state)
{
    struct fx *f = *state;
    make_ns(f, "{metadata: {name: lax, labels: {pod-security.kubernetes.io/warn: restricted, "
               "pod-security.kubernetes.io/warn-version: v1.7}}}");
    assert_ok(ask_create(f, KIND_OF(POD), "lax", POD));
    assert_str(f->names, "would violate PodSecurity \"restricted:v1.7\": runAsNonRoot != true (pod "
                         "or container \"c\" must set securityContext.runAsNonRoot=true)");
    /* an update is looked at again when another image comes */
    struct api_pod *p = fx_edit(f);
    p->metadata.labels[0].value = STR("other");
    assert_ok(ask_msg(f, API_UPDATE, KIND_OF(POD), "lax", "web", p));
    assert_str(f->names, "");
    p = fx_edit(f);
    p->spec.containers[0].image = STR("nginx:2");
    assert_ok(ask_msg(f, API_UPDATE, KIND_OF(POD), "lax", "web", p));
    assert_true(str_starts(f->names, STR("would violate PodSecurity \"restricted:v1.7\"")));
}

static void tells_who_raises_a_level(void **state)
{
    struct fx *f = *state;
    make_ns(f, "{metadata: {name: old}}");
    make_pod(f, "old", "c1");
    make_pod(f, "old", "a1");
    make_pod(f, "old", "b1");
    assert_ok(fx_create(f, KIND_OF(POD), "old",
                        "{metadata: {name: z1}, spec: {hostPID: true, containers: [{name: c, "
                        "image: i}]}}"));
    assert_ok(
        ask(f, API_UPDATE, KIND_OF(NAMESPACE), NULL, "old",
            "{metadata: {name: old, labels: {pod-security.kubernetes.io/enforce: baseline}}}"));
    assert_str(f->names, "existing pods in namespace \"old\" violate the new PodSecurity enforce "
                         "level \"baseline:latest\"\na1 (and 3 other pods): host namespaces");
    assert_ok(ask(f, API_UPDATE, KIND_OF(NAMESPACE), NULL, "old",
                  "{metadata: {name: old, labels: {pod-security.kubernetes.io/enforce: "
                  "privileged}}}"));
    assert_str(f->names, "");
    assert_int_equal(ask(f, API_UPDATE, KIND_OF(NAMESPACE), NULL, "old",
                         "{metadata: {name: old, labels: {pod-security.kubernetes.io/enforce: "
                         "high}}}"),
                     -EBADMSG);
    assert_str(f->text, "Namespace \"old\" is invalid: "
                        "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "
                        "\"high\": must be one of privileged, baseline, restricted");
    assert_int_equal(ask_create(f, KIND_OF(NAMESPACE), NULL,
                                "{metadata: {name: odd, labels: "
                                "{pod-security.kubernetes.io/audit-version: '1'}}}"),
                     -EBADMSG);
}

/* ---- nodes ---- */

static void new_nodes_wait_until_they_are_ready(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, KIND_OF(NODE), "", "{metadata: {name: a}}"));
    const struct api_node *n = f->object->msg;
    assert_int_equal(n->spec.n_taints, 1);
    assert_str(n->spec.taints[0].key, "node.kubernetes.io/not-ready");
    assert_str(n->spec.taints[0].effect, "NoSchedule");
    assert_ok(fx_create(f, KIND_OF(NODE), "",
                        "{metadata: {name: b}, status: {conditions: [{type: Ready, status: "
                        "'True'}]}}"));
    assert_int_equal(OBJECT_MSG(f->object, api_node)->spec.n_taints, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(enforces_on_pods_and_warns_for_templates),
        T(warns_without_refusing),
        T(tells_who_raises_a_level),
        T(new_nodes_wait_until_they_are_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
