/* What pods and other objects use of a quota's resources, as arithmetic. */
#include "api/quota_usage.h"
#include "codec/yaml.h"
#include "schema/schema.h"
#include "test.h"

#include <stdio.h>

static void *msg_of(struct arena *a, const struct schema_desc *desc, const char *yaml)
{
    struct json *v;
    struct error err = {0};
    void *msg = schema_new(desc, a);
    int r = yaml_parse(str_z(yaml), a, &v, &err);
    if (r >= 0)
        r = schema_decode_json(desc, v, a, NULL, msg, &err);
    if (r < 0)
        fail_msg("%s: %.*s", yaml, STR_ARG(err.message));
    error_fini(&err);
    return msg;
}

static void prints(const struct amounts *a, const char *want, const char *what)
{
    struct buf b = {0};
    amounts_print(a, &b);
    if (!str_eqz(buf_str(&b), want))
        fail_msg("%s:\n got %.*s\nwant %s", what, STR_ARG(buf_str(&b)), want);
    buf_fini(&b);
}

#define REQ(cpu) "resources: {requests: {cpu: " cpu "}}"

static void pods_as_a_whole(void **state)
{
    static const struct {
        const char *spec, *requests, *limits;
    } rows[] = {
        {"{containers: [{name: a}]}", "", ""},
        {"{containers: [{name: a, " REQ("100m") "}, {name: b, " REQ("1") "}]}", "cpu=1100m", ""},
        /* one after the other: the largest counts, if it is more than the containers */
        {"{initContainers: [{name: i, " REQ("2") "}, {name: j, " REQ(
             "3") "}], containers: [{name: a, " REQ("1") "}]}",
         "cpu=3", ""},
        {"{initContainers: [{name: i, " REQ("500m") "}], containers: [{name: a, " REQ("1") "}]}",
         "cpu=1", ""},
        /* a sidecar runs beside what comes after it */
        {"{initContainers: [{name: s, restartPolicy: Always, " REQ("1") "}, {name: j, " REQ(
             "3") "}], containers: [{name: a, " REQ("1") "}]}",
         "cpu=4", ""},
        {"{initContainers: [{name: j, " REQ("3") "}, {name: s, restartPolicy: Always, " REQ(
             "1") "}], containers: [{name: a, " REQ("1") "}]}",
         "cpu=3", ""},
        {"{initContainers: [{name: s, restartPolicy: Always, " REQ(
             "1") "}], containers: [{name: a, " REQ("1") "}]}",
         "cpu=2", ""},
        /* the pod says it as a whole; its overhead comes on top */
        {"{resources: {requests: {cpu: 5}}, containers: [{name: a, resources: {requests: {cpu: 1, "
         "memory: 1Gi}}}]}",
         "cpu=5,memory=1Gi", ""},
        {"{overhead: {cpu: 250m, memory: 64Mi}, containers: [{name: a, resources: {requests: {cpu: "
         "1}, limits: {memory: 1Gi}}}]}",
         "cpu=1250m,memory=64Mi", "memory=1088Mi"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct amounts requests = {.arena = &a}, limits = {.arena = &a};
        const struct api_pod_spec *s = msg_of(&a, &api_pod_spec_desc, rows[i].spec);
        pod_amounts(s, false, &requests);
        pod_amounts(s, true, &limits);
        prints(&requests, rows[i].requests, rows[i].spec);
        prints(&limits, rows[i].limits, rows[i].spec);
        arena_fini(&a);
    }
}

static void names_of_usage(void **state)
{
    static const struct {
        enum kind_id kind;
        const char *yaml, *usage;
    } rows[] = {
        {KIND_POD,
         "{spec: {containers: [{name: a, resources: {requests: {cpu: 1, hugepages-2Mi: 4Mi, "
         "example.com/gpu: 2}, limits: {cpu: 2, hugepages-2Mi: 4Mi, example.com/gpu: 2}}}]}}",
         "count/pods=1,cpu=1,hugepages-2Mi=4Mi,limits.cpu=2,pods=1,requests.cpu=1,"
         "requests.example.com/gpu=2,requests.hugepages-2Mi=4Mi"},
        {KIND_POD,
         "{spec: {containers: [{name: a, resources: {requests: {cpu: 1}}}]}, status: {phase: "
         "Failed}}",
         "count/pods=1"},
        {KIND_DEPLOYMENT, "{metadata: {name: a}}", "count/deployments.apps=1"},
        {KIND_SECRET, "{metadata: {name: a}}", "count/secrets=1,secrets=1"},
        {KIND_SERVICE, "{spec: {type: ClusterIP, ports: [{port: 1}]}}",
         "count/services=1,services=1"},
        {KIND_SERVICE, "{spec: {type: LoadBalancer, ports: [{port: 1}, {port: 2}]}}",
         "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2"},
        {KIND_SERVICE,
         "{spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 1}, "
         "{port: 2, nodePort: 30000}]}}",
         "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1"},
        {KIND_PERSISTENT_VOLUME_CLAIM,
         "{metadata: {annotations: {volume.beta.kubernetes.io/storage-class: old}}, spec: "
         "{storageClassName: new, resources: {requests: {storage: 1Gi}}}, status: "
         "{allocatedResources: {storage: 2Gi}}}",
         "count/persistentvolumeclaims=1,old.storageclass.storage.k8s.io/persistentvolumeclaims=1,"
         "old.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,"
         "requests.storage=2Gi"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct amounts usage = {.arena = &a};
        const struct schema_kind *k = schema_kinds[rows[i].kind];
        quota_usage(k, msg_of(&a, k->desc, rows[i].yaml), &usage);
        prints(&usage, rows[i].usage, rows[i].yaml);
        for (uint32_t j = 0; j < usage.n; j++) /* each name leads back to the kind */
            if (quota_resource_kind(usage.v[j].key) != k)
                fail_msg("%.*s is not of %s", STR_ARG(usage.v[j].key), k->kind);
        arena_fini(&a);
    }
    assert_null(quota_resource_kind(STR("count/nodes"))); /* in no namespace */
    assert_null(quota_resource_kind(STR("count/widgets.example.com")));
}

static void what_pods_must_say(void **state)
{
    static const struct {
        const char *hard, *spec, *missing;
    } rows[] = {
        {"{pods: 1}", "{containers: [{name: a}]}", ""},
        {"{cpu: 1, limits.memory: 1}", "{initContainers: [{name: i}], containers: [{name: a}]}",
         "cpu for: a,i; limits.memory for: a,i"},
        {"{requests.cpu: 1}", "{containers: [{name: a}, {name: b, " REQ("1") "}]}",
         "requests.cpu for: a"},
        {"{requests.cpu: 1}", "{containers: [{name: b, " REQ("0") "}]}", ""},
        {"{requests.cpu: 1}", "{resources: {requests: {cpu: 1}}, containers: [{name: a}]}", ""},
        {"{requests.ephemeral-storage: 1, requests.example.com/gpu: 1}",
         "{containers: [{name: a}]}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct buf b = {0};
        char text[300];
        snprintf(text, sizeof(text), "{hard: %s}", rows[i].hard);
        const struct api_resource_quota_spec *q = msg_of(&a, &api_resource_quota_spec_desc, text);
        snprintf(text, sizeof(text), "{spec: %s}", rows[i].spec);
        const struct api_pod *p = msg_of(&a, &api_pod_desc, text);
        assert_int_equal(quota_pod_says_enough(q, p, &b), rows[i].missing[0] == '\0');
        assert_str(buf_str(&b), rows[i].missing);
        buf_fini(&b);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_as_a_whole),
        cmocka_unit_test(names_of_usage),
        cmocka_unit_test(what_pods_must_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
