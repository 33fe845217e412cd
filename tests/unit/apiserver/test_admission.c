/* Admission plugins, asked as a client would: calls with their warnings, no controller running. */
#include "api_test.h"
#include "apiserver/admit/admit.h"
#include "apiserver/admit/quota.h"

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

/* ---- LimitRange ---- */

#define LIMITS KIND_OF(LIMIT_RANGE)

static const struct api_pod *make(struct fx *f, const char *ns, const char *name,
                                  const char *resources)
{
    char *text = xasprintf("{metadata: {name: %s}, spec: {containers: [{name: c, image: i, "
                           "resources: {%s}}]}}",
                           name, resources);
    int r = fx_create(f, KIND_OF(POD), ns, text);
    free(text);
    return r < 0 ? NULL : OBJECT_MSG(f->object, api_pod);
}

static void limits_are_defaults(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, LIMITS, "default",
                        "{metadata: {name: l}, spec: {limits: [{type: Container, default: {cpu: "
                        "500m, memory: 256Mi}, defaultRequest: {cpu: 100m}}]}}"));
    const struct api_pod *p = make(f, "default", "a", "");
    assert_non_null(p);
    const struct api_resource_requirements *r = &p->spec.containers[0].resources;
    assert_int_equal(r->n_limits, 2);
    assert_int_equal(r->n_requests, 2);
    struct quantity q = *kv_quantity_get(r->requests, r->n_requests, STR("cpu"));
    assert_int_equal(quantity_milli(&q), 100);
    q = *kv_quantity_get(r->requests, r->n_requests,
                         STR("memory")); /* the LimitRange's own default */
    assert_int_equal(quantity_value(&q), 256 << 20);
    assert_str(p->status.qos_class, "Burstable");
    assert_str(*KV_GET(&p->metadata, annotations, STR("kubernetes.io/limit-ranger")),
               "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for "
               "container c");
    p = make(f, "default", "b", "limits: {cpu: 1, memory: 1Gi}");
    r = &p->spec.containers[0].resources;
    q = *kv_quantity_get(r->requests, r->n_requests, STR("cpu"));
    assert_int_equal(quantity_milli(&q), 1000); /* a limit is a request already */
    assert_null(KV_GET(&p->metadata, annotations, STR("kubernetes.io/limit-ranger")));
    assert_str(p->status.qos_class, "Guaranteed");
    assert_ok(fx_create(f, KIND_OF(NAMESPACE), "", "{metadata: {name: other}}"));
    assert_int_equal(make(f, "other", "a", "")->spec.containers[0].resources.n_limits, 0);
}

static void limits_are_bounds(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *resources, *text; /* text NULL: it may be made */
    } rows[] = {
        {"limits: {cpu: 1, memory: 100Mi}", NULL},
        {"limits: {cpu: 3, memory: 100Mi}", "maximum cpu usage per Container is 2, but limit is 3"},
        {"requests: {cpu: 1}",
         "[minimum memory usage per Container is 64Mi.  No request is specified, maximum cpu usage "
         "per Container is 2.  No limit is specified]"},
        {"limits: {cpu: 1, memory: 32Mi}",
         "minimum memory usage per Container is 64Mi, but request is 32Mi"},
        {"limits: {cpu: 2, memory: 100Mi}, requests: {cpu: 200m}",
         "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000"},
        {"limits: {cpu: 2, memory: 1200Mi}", "maximum memory usage per Pod is 1Gi, but limit is "
                                             "1200Mi"},
    };
    assert_ok(fx_create(f, KIND_OF(NAMESPACE), "", "{metadata: {name: bound}}"));
    /* written past the defaults a LimitRange gives itself, so that absent requests stay absent */
    struct api_limit_range *l =
        fx_msg(f, LIMITS->desc,
               "{metadata: {name: l, namespace: bound}, spec: {limits: [{type: Container, max: "
               "{cpu: 2}, min: {memory: 64Mi}, maxLimitRequestRatio: {cpu: 4}}, {type: Pod, max: "
               "{memory: 1Gi}}]}}");
    assert_ok(store_put(f->store, LIMITS, l, STORE_ABSENT, NULL, NULL, NULL));
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[16], want[400];
        snprintf(name, sizeof(name), "p%zu", i);
        bool made = make(f, "bound", name, rows[i].resources) != NULL;
        if (i == 2) { /* of the pod as a whole too */
            assert_false(made);
            assert_true(str_search(f->text, STR("minimum memory usage per Container is 64Mi.  No "
                                                "request is specified")) > 0);
            assert_true(str_search(f->text, STR("maximum memory usage per Pod is 1Gi.  No limit is "
                                                "specified")) > 0);
            continue;
        }
        assert_int_equal(made, rows[i].text == NULL);
        snprintf(want, sizeof(want), "pods \"%s\" is forbidden: %s", name,
                 rows[i].text ? rows[i].text : "");
        if (!made)
            assert_str(f->text, want);
    }
}

/* ---- ResourceQuota ---- */

#define QUOTA KIND_OF(RESOURCE_QUOTA)

static void make_quota(struct fx *f, const char *name, const char *spec)
{
    char *text = xasprintf("{metadata: {name: %s}, spec: {%s}}", name, spec);
    assert_ok(fx_create(f, QUOTA, "default", text));
    free(text);
}

static void used_is(struct fx *f, const char *quota, const char *resource, const char *want)
{
    char text[QUANTITY_TEXT_MAX] = "nothing";
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_ok(fx_get(f, QUOTA, "default", quota));
    const struct api_resource_quota *q = f->object->msg;
    const struct quantity *u = kv_quantity_get(q->status.used, q->status.n_used, str_z(resource));
    if (u)
        quantity_format(u, text);
    if (strcmp(text, want) != 0)
        fail_msg("%s of %s: %s, not %s", resource, quota, text, want);
    assert_true(schema_equal(
        &api_resource_quota_status_desc,
        &(struct api_resource_quota_status){.hard = q->spec.hard, .n_hard = q->spec.n_hard},
        &(struct api_resource_quota_status){.hard = q->status.hard, .n_hard = q->status.n_hard}));
}

static void quotas_bound_pods(void **state)
{
    struct fx *f = *state;
    make(f, "default", "before", "requests: {cpu: 250m}");
    make_quota(f, "compute", "hard: {requests.cpu: 1, limits.memory: 1Gi, pods: 4}");
    used_is(f, "compute", "requests.cpu", "250m");
    used_is(f, "compute", "pods", "1");
    assert_null(make(f, "default", "a", ""));
    assert_str(f->text,
               "pods \"a\" is forbidden: failed quota: compute: must specify limits.memory "
               "for: c; requests.cpu for: c");
    assert_int_equal(f->code, 403);
    assert_non_null(make(f, "default", "a", "limits: {memory: 600Mi}, requests: {cpu: 500m}"));
    assert_null(make(f, "default", "b", "limits: {memory: 600Mi}, requests: {cpu: 500m}"));
    assert_str(
        f->text,
        "pods \"b\" is forbidden: exceeded quota: compute, requested: "
        "limits.memory=600Mi,requests.cpu=500m, used: limits.memory=600Mi,requests.cpu=750m, "
        "limited: limits.memory=1Gi,requests.cpu=1");
    used_is(f, "compute", "requests.cpu", "750m");
    used_is(f, "compute", "limits.memory", "600Mi");
    /* a pod that is over holds nothing; one that goes gives back */
    assert_ok(fx_patch(f, KIND_OF(POD), "default", "a", "status", CLIENT_PATCH_MERGE,
                       "{\"status\":{\"phase\":\"Succeeded\"}}"));
    used_is(f, "compute", "requests.cpu", "250m");
    assert_non_null(make(f, "default", "b", "limits: {memory: 600Mi}, requests: {cpu: 500m}"));
    assert_ok(fx_delete(f, KIND_OF(POD), "default", "before"));
    used_is(f, "compute", "requests.cpu", "500m");
    used_is(f, "compute", "pods", "1");
    /* the name is taken: nothing is used */
    assert_null(make(f, "default", "b", "limits: {memory: 1Mi}, requests: {cpu: 100m}"));
    assert_int_equal(f->code, 409);
    used_is(f, "compute", "requests.cpu", "500m");
    /* a new bound counts at once */
    assert_ok(fx_patch(f, QUOTA, "default", "compute", NULL, CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"hard\":{\"requests.cpu\":\"600m\",\"count/pods\":\"9\"}}}"));
    used_is(f, "compute", "count/pods", "2");
    assert_null(make(f, "default", "c", "limits: {memory: 1Mi}, requests: {cpu: 200m}"));
    /* somebody writes nonsense into the status */
    assert_ok(fx_patch(f, QUOTA, "default", "compute", "status", CLIENT_PATCH_MERGE,
                       "{\"status\":{\"used\":{\"requests.cpu\":\"0\"}}}"));
    used_is(f, "compute", "requests.cpu", "500m");
    assert_ok(fx_delete(f, QUOTA, "default", "compute"));
    assert_non_null(make(f, "default", "c", ""));
}

static void quotas_count_kinds(void **state)
{
    struct fx *f = *state;
    make_quota(f, "objects",
               "hard: {count/configmaps: 1, services: 2, services.nodeports: 2, "
               "services.loadbalancers: 0, count/deployments.apps: 0, count/none.example: 3, "
               "requests.storage: 5Gi, persistentvolumeclaims: 2, "
               "gold.storageclass.storage.k8s.io/requests.storage: 2Gi}");
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: a}}"));
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: b}}"), -EPERM);
    assert_str(f->text,
               "configmaps \"b\" is forbidden: exceeded quota: objects, requested: "
               "count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1");
    assert_int_equal(fx_create(f, KIND_OF(DEPLOYMENT), "default",
                               "{metadata: {name: web}, spec: {selector: {matchLabels: {a: b}}, "
                               "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: "
                               "c, image: i}]}}}}"),
                     -EPERM);
    assert_ok(fx_create(f, KIND_OF(SERVICE), "default",
                        "{metadata: {name: s}, spec: {ports: [{port: 80}]}}"));
    assert_int_equal(
        fx_create(f, KIND_OF(SERVICE), "default",
                  "{metadata: {name: t}, spec: {type: NodePort, ports: [{name: a, port: 1}, {name: "
                  "b, port: 2}, {name: c, port: 3}]}}"),
        -EPERM);
    /* an update that wants more */
    assert_int_equal(fx_patch(f, KIND_OF(SERVICE), "default", "s", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"type\":\"LoadBalancer\"}}"),
                     -EPERM);
    assert_ok(fx_patch(f, KIND_OF(SERVICE), "default", "s", NULL, CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"type\":\"NodePort\"}}"));
    used_is(f, "objects", "services.nodeports", "1");
    used_is(f, "objects", "services", "2"); /* with the cluster's own */
    used_is(f, "objects", "count/none.example", "0");
    static const char claim[] = "{metadata: {name: %s}, spec: {accessModes: [ReadWriteOnce], "
                                "storageClassName: %s, resources: {requests: {storage: %s}}}}";
    char text[300];
    snprintf(text, sizeof(text), claim, "c1", "gold", "1Gi");
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text));
    snprintf(text, sizeof(text), claim, "c2", "gold", "1500Mi");
    assert_int_equal(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text), -EPERM);
    assert_str(f->text,
               "persistentvolumeclaims \"c2\" is forbidden: exceeded quota: objects, requested: "
               "gold.storageclass.storage.k8s.io/requests.storage=1500Mi, used: "
               "gold.storageclass.storage.k8s.io/requests.storage=1Gi, limited: "
               "gold.storageclass.storage.k8s.io/requests.storage=2Gi");
    snprintf(text, sizeof(text), claim, "c2", "iron", "4Gi");
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text));
    used_is(f, "objects", "requests.storage", "5Gi");
    used_is(f, "objects", "persistentvolumeclaims", "2");
    /* dry runs are told, and take nothing */
    assert_ok(fx_delete(f, KIND_OF(CONFIG_MAP), "default", "a"));
    struct client_request q = {.verb = CLIENT_CREATE,
                               .kind = KIND_OF(CONFIG_MAP),
                               .ns = STR("default"),
                               .dry_run = true,
                               .body = fx_msg(f, &api_config_map_desc, "{metadata: {name: d}}")};
    assert_ok(fx_call(f, &q));
    used_is(f, "objects", "count/configmaps", "0");
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: e}}"));
    assert_int_equal(fx_call(f, &q), -EPERM);
}

/* A kind that comes after the quota: it counts from the first time somebody wants one. */
static void quotas_learn_kinds(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: a}}"));
    make_quota(f, "late", "hard: {count/configmaps: 2, count/secrets: 5}");
    used_is(f, "late", "count/configmaps", "1");
    struct quota *q =
        CONTAINER_OF(quotas_of(f->api->quotas, STR("default"))->next, struct quota, in_ns);
    struct quota_item *it = quota_item_find(q, STR("count/configmaps"));
    it->kind = NULL; /* as if it was not served yet */
    it->used = (struct quantity){.set = true};
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: b}}"));
    used_is(f, "late", "count/configmaps", "2");
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: c}}"), -EPERM);
    assert_ok(fx_create(f, KIND_OF(SECRET), "default", "{metadata: {name: s}}"));
    used_is(f, "late", "count/secrets", "1");
}

struct race {
    int granted, refused, other;
};

static void raced(void *arg, const struct client_reply *reply)
{
    struct race *r = arg;
    if (reply->r == 0)
        r->granted++;
    else if (reply->err && reply->err->reason == REASON_FORBIDDEN)
        r->refused++;
    else
        r->other++;
}

static bool race_is_over(void *arg)
{
    const struct race *r = arg;
    return r->granted + r->refused + r->other == 40;
}

/* All at once, twice: what is admitted and not durable counts like what is. */
static void quotas_are_never_overshot(void **state)
{
    struct fx *f = *state;
    make_quota(f, "few", "hard: {pods: 7, count/pods: 100, requests.memory: 100Mi}");
    struct api_pod *p = fx_msg(f, &api_pod_desc,
                               "{metadata: {generateName: p-}, spec: {containers: [{name: c, "
                               "image: i, resources: {requests: {memory: 20Mi}}}]}}");
    for (int round = 0; round < 2; round++) {
        struct race race = {0};
        struct client_request q = {
            .verb = CLIENT_CREATE, .kind = KIND_OF(POD), .ns = STR("default"), .body = p};
        for (int i = 0; i < 40; i++)
            client_call(f->c, &q, raced, &race);
        assert_true(rt_run_until(f->rt, race_is_over, &race, 10 * NSEC_PER_SEC));
        assert_int_equal(race.other, 0);
        assert_int_equal(race.granted, round == 0 ? 5 : 0);
        used_is(f, "few", "pods", "5");
        used_is(f, "few", "requests.memory", "100Mi");
    }
    /* room that a delete makes is there again, for just as many */
    struct client_request list = {.verb = CLIENT_LIST, .kind = KIND_OF(POD), .ns = STR("default")};
    assert_ok(fx_call(f, &list));
    char name[64];
    snprintf(name, sizeof(name), "%.12s", fx_z(f, f->names));
    *strchrnul(name, ',') = '\0';
    assert_ok(fx_delete(f, KIND_OF(POD), "default", name));
    struct race race = {.other = 20};
    struct client_request q = {
        .verb = CLIENT_CREATE, .kind = KIND_OF(POD), .ns = STR("default"), .body = p};
    for (int i = 0; i < 20; i++)
        client_call(f->c, &q, raced, &race);
    assert_true(rt_run_until(f->rt, race_is_over, &race, 10 * NSEC_PER_SEC));
    assert_int_equal(race.granted, 1);
    used_is(f, "few", "pods", "5");
}

static void quotas_have_scopes(void **state)
{
    struct fx *f = *state;
    assert_ok(fx_create(f, KIND_OF(PRIORITY_CLASS), "", "{metadata: {name: high}, value: 1000}"));
    make_quota(f, "best", "hard: {pods: 1}, scopes: [BestEffort]");
    make_quota(f, "rest", "hard: {pods: 1}, scopes: [NotBestEffort]");
    make_quota(f, "jobs", "hard: {pods: 0}, scopes: [Terminating]");
    make_quota(f, "high",
               "hard: {pods: 0}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, "
               "operator: In, values: [high]}]}");
    make_quota(f, "cross", "hard: {pods: 0}, scopes: [CrossNamespacePodAffinity]");
    assert_non_null(make(f, "default", "a", ""));
    assert_null(make(f, "default", "b", ""));
    assert_true(str_search(f->text, STR("exceeded quota: best,")) > 0);
    assert_non_null(make(f, "default", "b", "requests: {cpu: 1m}"));
    assert_null(make(f, "default", "c", "requests: {cpu: 1m}"));
    assert_true(str_search(f->text, STR("exceeded quota: rest,")) > 0);
    used_is(f, "best", "pods", "1");
    used_is(f, "rest", "pods", "1");
    assert_ok(fx_delete(f, KIND_OF(POD), "default", "a"));
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    static const struct {
        const char *spec, *quota;
    } rows[] = {
        {"activeDeadlineSeconds: 5", "exceeded quota: jobs,"},
        {"priorityClassName: high", "exceeded quota: high,"},
        {"affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: "
         "a, namespaces: [x], labelSelector: {}}]}}",
         "exceeded quota: cross,"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[400];
        snprintf(text, sizeof(text),
                 "{metadata: {name: d}, spec: {%s, containers: [{name: c, image: i}]}}",
                 rows[i].spec);
        assert_int_equal(fx_create(f, KIND_OF(POD), "default", text), -EPERM);
        assert_true(str_search(f->text, str_z(rows[i].quota)) > 0);
    }
}

/* A server that comes up counts what it finds. */
static void quotas_outlive_the_server(void **state)
{
    struct fx *f = *state;
    struct error err = {0};
    make_quota(f, "few", "hard: {pods: 3}");
    assert_non_null(make(f, "default", "a", ""));
    assert_non_null(make(f, "default", "b", ""));
    struct race race = {.other = 39};
    struct client_request q = {
        .verb = CLIENT_CREATE,
        .kind = KIND_OF(POD),
        .ns = STR("default"),
        .body = fx_msg(f, &api_pod_desc,
                       "{metadata: {name: c}, spec: {containers: [{name: c, image: i}]}}")};
    client_call(f->c, &q, raced, &race); /* never answered, but written */
    client_free(f->c);
    apiserver_free(f->api); /* at once */
    assert_ok(apiserver_new(f->rt, f->store, &(struct apiserver_opts){0}, &f->api, &err));
    assert_true(rt_run_until(f->rt, fx_is_ready, f, 10 * NSEC_PER_SEC));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    used_is(f, "few", "pods", "3");
    assert_null(make(f, "default", "d", ""));
    assert_int_equal(race.granted + race.refused, 0);
    error_fini(&err);
}

/* ---- classes ---- */

static void classes_are_filled_in(void **state)
{
    struct fx *f = *state;
    static const char claim[] =
        "{metadata: {name: %s}, spec: {accessModes: [ReadWriteOnce], %s resources: {requests: "
        "{storage: 1Gi}}}}";
    char text[300];
    snprintf(text, sizeof(text), claim, "none", "");
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text));
    assert_null(OBJECT_MSG(f->object, api_persistent_volume_claim)->spec.storage_class_name.p);
    static const char *const classes[] = {"b", "a", "c"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        char class[300];
        snprintf(class, sizeof(class),
                 "{metadata: {name: %s, annotations: {storageclass.kubernetes.io/is-default-class: "
                 "'%s'}}, provisioner: x/y}",
                 classes[i], i < 2 ? "true" : "false");
        assert_ok(fx_create(f, KIND_OF(STORAGE_CLASS), "", class));
    }
    snprintf(text, sizeof(text), claim, "some", "");
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text));
    assert_str(OBJECT_MSG(f->object, api_persistent_volume_claim)->spec.storage_class_name, "a");
    snprintf(text, sizeof(text), claim, "nil", "storageClassName: '',");
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", text));
    assert_str(OBJECT_MSG(f->object, api_persistent_volume_claim)->spec.storage_class_name, "");
    assert_ok(fx_create(f, KIND_OF(INGRESS_CLASS), "",
                        "{metadata: {name: edge, annotations: "
                        "{ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: "
                        "{controller: a.example/b}}"));
    assert_ok(fx_create(f, KIND_OF(INGRESS), "default",
                        "{metadata: {name: i}, spec: {defaultBackend: {service: {name: s, port: "
                        "{number: 80}}}}}"));
    assert_str(OBJECT_MSG(f->object, api_ingress)->spec.ingress_class_name, "edge");
}

static void claims_grow_where_they_can(void **state)
{
    struct fx *f = *state;
    static const char *const grow =
        "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"2Gi\"}}}}";
    assert_ok(fx_create(f, KIND_OF(STORAGE_CLASS), "", "{metadata: {name: a}, provisioner: x/y}"));
    assert_ok(fx_create(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default",
                        "{metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], "
                        "storageClassName: a, resources: {requests: {storage: 1Gi}}}}"));
    assert_true(fx_patch(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", "c", NULL,
                         CLIENT_PATCH_MERGE, grow) < 0);
    assert_ok(fx_patch(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", "c", "status",
                       CLIENT_PATCH_MERGE, "{\"status\":{\"phase\":\"Bound\"}}"));
    assert_int_equal(fx_patch(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", "c", NULL,
                              CLIENT_PATCH_MERGE, grow),
                     -EPERM);
    assert_ok(fx_patch(f, KIND_OF(STORAGE_CLASS), "", "a", NULL, CLIENT_PATCH_MERGE,
                       "{\"allowVolumeExpansion\":true}"));
    assert_ok(fx_patch(f, KIND_OF(PERSISTENT_VOLUME_CLAIM), "default", "c", NULL,
                       CLIENT_PATCH_MERGE, grow));
}

static void runtime_classes_shape_pods(void **state)
{
    struct fx *f = *state;
#define RUN(more) "{metadata: {generateName: p}, spec: {" more "containers: [{name: c, image: i}]}}"
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", RUN("runtimeClassName: vm, ")), -EPERM);
    assert_true(str_ends(f->text, STR("pod rejected: RuntimeClass \"vm\" not found")));
    assert_ok(fx_create(f, KIND_OF(RUNTIME_CLASS), "",
                        "{metadata: {name: vm}, handler: vm, overhead: {podFixed: {memory: 64Mi}}, "
                        "scheduling: {nodeSelector: {virt: 'yes'}, tolerations: [{key: virt, "
                        "operator: Exists}]}}"));
    assert_ok(fx_create(f, KIND_OF(POD), "default",
                        RUN("runtimeClassName: vm, nodeSelector: {disk: ssd}, ")));
    const struct api_pod *p = f->object->msg;
    assert_int_equal(p->spec.n_overhead, 1);
    assert_int_equal(p->spec.n_node_selector, 2);
    bool tolerates = false;
    for (uint32_t i = 0; i < p->spec.n_tolerations; i++)
        tolerates |= str_is(p->spec.tolerations[i].key, "virt");
    assert_true(tolerates);
    assert_int_equal(fx_create(f, KIND_OF(POD), "default",
                               RUN("runtimeClassName: vm, nodeSelector: {virt: 'no'}, ")),
                     -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(POD), "default",
                               RUN("runtimeClassName: vm, overhead: {memory: 1Mi}, ")),
                     -EPERM);
    assert_int_equal(fx_create(f, KIND_OF(POD), "default", RUN("overhead: {memory: 1Mi}, ")),
                     -EPERM);
}

static void one_class_is_the_default(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *k = KIND_OF(PRIORITY_CLASS);
    assert_ok(fx_create(f, k, "", "{metadata: {name: a}, value: 1, globalDefault: true}"));
    assert_int_equal(fx_create(f, k, "", "{metadata: {name: b}, value: 2, globalDefault: true}"),
                     -EPERM);
    assert_true(str_ends(f->text, STR("PriorityClass a is already marked as default. Only one "
                                      "default can exist")));
    assert_ok(fx_create(f, k, "", "{metadata: {name: b}, value: 2}"));
    assert_int_equal(fx_patch(f, k, "", "b", NULL, CLIENT_PATCH_MERGE, "{\"globalDefault\":true}"),
                     -EPERM);
    assert_ok(fx_patch(f, k, "", "a", NULL, CLIENT_PATCH_MERGE, "{\"description\":\"the one\"}"));
    assert_int_equal(ask(f, API_DELETE, k, "", "system-node-critical", "{}"), -EPERM);
    assert_true(str_ends(f->text, STR("this is a system priority class and cannot be deleted")));
    assert_ok(ask(f, API_DELETE, k, "", "a", "{}"));
}

static void accounts_bound_secrets(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *spec, *says;
    } rows[] = {
        {"volumes: [{name: v, secret: {secretName: bad}}], containers: [{name: c, image: i}]",
         "volume with secret.secretName=\"bad\" is not allowed because service account shy does "
         "not reference that secret"},
        {"containers: [{name: c, image: i, env: [{name: E, valueFrom: {secretKeyRef: {name: bad, "
         "key: k}}}]}]",
         "container c with envVar E referencing secret.secretName=\"bad\" is not allowed because "
         "service account shy does not reference that secret"},
        {"initContainers: [{name: first, image: i, envFrom: [{secretRef: {name: bad}}]}], "
         "containers: "
         "[{name: c, image: i}]",
         "init container first with envFrom referencing secret.secretName=\"bad\" is not allowed "
         "because service account shy does not reference that secret"},
        {"imagePullSecrets: [{name: pull}, {name: bad}], containers: [{name: c, image: i}]",
         "imagePullSecrets[1].name=\"bad\" is not allowed because service account shy does not "
         "reference that imagePullSecret"},
        {"volumes: [{name: v, secret: {secretName: good}}], containers: [{name: c, image: i, "
         "envFrom: [{secretRef: {name: good}}]}]",
         NULL},
    };
    assert_ok(fx_create(f, KIND_OF(SERVICE_ACCOUNT), "default",
                        "{metadata: {name: shy, annotations: "
                        "{kubernetes.io/enforce-mountable-secrets: 'true'}}, secrets: [{name: "
                        "good}], imagePullSecrets: [{name: pull}]}"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char yaml[400];
        snprintf(yaml, sizeof(yaml),
                 "{metadata: {generateName: p}, spec: {serviceAccountName: shy, %s}}",
                 rows[i].spec);
        int r = fx_create(f, KIND_OF(POD), "default", yaml);
        assert_int_equal(r, rows[i].says ? -EPERM : 0);
        if (rows[i].says)
            assert_true(str_ends(f->text, str_z(rows[i].says)));
    }
    assert_ok(fx_create(f, KIND_OF(POD), "default", /* another account: nothing is asked of it */
                        "{metadata: {name: p}, spec: {volumes: [{name: v, secret: {secretName: "
                        "bad}}], containers: [{name: c, image: i}]}}"));
}

/* ---- owners ---- */

static void switches_plugins(void **state)
{
    uint64_t usual, more, less;
    struct error err = {0};
    assert_ok(admit_plugins(NULL, NULL, &usual, &err));
    assert_ok(admit_plugins("OwnerReferencesPermissionEnforcement,PodSecurity", NULL, &more, &err));
    assert_int_equal(more & usual, usual);
    assert_int_equal(__builtin_popcountll(more), __builtin_popcountll(usual) + 1);
    assert_ok(admit_plugins(NULL, "PodSecurity,ResourceQuota", &less, &err));
    assert_int_equal(__builtin_popcountll(less), __builtin_popcountll(usual) - 2);
    assert_int_equal(admit_plugins("Magic", NULL, &more, &err), -EINVAL);
    assert_str(err.message, "there is no admission plugin \"Magic\"");
    error_clear(&err);
    assert_int_equal(admit_plugins(NULL, "NodeRestriction", &more, &err), -EINVAL);
    assert_str(err.message, "the admission plugin \"NodeRestriction\" cannot be switched off");
    error_fini(&err);
}

static void owners_need_rights(void **state)
{
    struct fx *f = *state;
    struct error err = {0};
    struct client *root = f->c;
    assert_ok(admit_plugins("OwnerReferencesPermissionEnforcement", NULL, &f->api->plugins, &err));
    assert_ok(fx_create(f, KIND_OF(ROLE), "default",
                        "{metadata: {name: r}, rules: [{apiGroups: [''], resources: [configmaps], "
                        "verbs: [create, get, patch, update]}]}"));
    assert_ok(fx_create(f, KIND_OF(ROLE_BINDING), "default",
                        "{metadata: {name: r}, roleRef: {kind: Role, name: r}, subjects: [{kind: "
                        "User, name: ann}]}"));
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
#define OWNED(name, more)                                                                          \
    "{metadata: {name: " name ", ownerReferences: [{apiVersion: v1, kind: Secret, name: s, uid: "  \
    "u" more "}]}}"
    f->c = apiserver_client(f->api, STR("ann"), NULL, 0, true);
    assert_int_equal(fx_create(f, KIND_OF(CONFIG_MAP), "default", OWNED("a", "")), -EPERM);
    assert_true(str_starts(f->text, STR("configmaps \"a\" is forbidden: cannot set an ownerRef on "
                                        "a resource you can't delete: ")));
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", "{metadata: {name: a}}"));
    client_free(f->c);
    f->c = root;
    assert_ok(fx_patch(f, KIND_OF(ROLE), "default", "r", NULL, CLIENT_PATCH_JSON,
                       "[{\"op\":\"add\",\"path\":\"/rules/0/verbs/-\",\"value\":\"delete\"}]"));
    f->c = apiserver_client(f->api, STR("ann"), NULL, 0, true);
    assert_ok(fx_create(f, KIND_OF(CONFIG_MAP), "default", OWNED("b", "")));
    assert_int_equal(
        fx_create(f, KIND_OF(CONFIG_MAP), "default", OWNED("c", ", blockOwnerDeletion: true")),
        -EPERM);
    assert_true(str_search(f->text, STR("cannot set blockOwnerDeletion if an ownerReference refers "
                                        "to a resource you can't set finalizers on")) > 0);
    /* what does not change is not asked about again */
    assert_ok(fx_patch(f, KIND_OF(CONFIG_MAP), "default", "b", NULL, CLIENT_PATCH_MERGE,
                       "{\"data\":{\"x\":\"y\"}}"));
    client_free(f->c);
    f->c = root;
    error_fini(&err);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(enforces_on_pods_and_warns_for_templates),
        T(warns_without_refusing),
        T(tells_who_raises_a_level),
        T(new_nodes_wait_until_they_are_ready),
        cmocka_unit_test(switches_plugins),
        T(owners_need_rights),
        T(limits_are_defaults),
        T(limits_are_bounds),
        T(quotas_bound_pods),
        T(quotas_count_kinds),
        T(quotas_learn_kinds),
        T(quotas_are_never_overshot),
        T(quotas_have_scopes),
        T(quotas_outlive_the_server),
        T(classes_are_filled_in),
        T(claims_grow_where_they_can),
        T(runtime_classes_shape_pods),
        T(one_class_is_the_default),
        T(accounts_bound_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
