/* Figures of the type engine alone: one pod of about 2 KB, as a Deployment makes them. One line
 * each: `bench schema.NAME VALUE UNIT`. With an argument only the case of that name runs (for
 * callgrind). */
#include "schema/schema.h"

#include <stdio.h>
#include <time.h>

static const char pod_json[] =
    "{\"metadata\":{\"name\":\"x\",\"namespace\":\"default\",\"uid\":\"4d0b7a1e-8a64-4e6b-9a5e-"
    "0d3f6f6d0001\","
    "\"generateName\":\"web-7c5ddbdf54-\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
    "\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"7c5ddbdf54\"},"
    "\"ownerReferences\":[{\"apiVersion\":\"apps/"
    "v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-7c5ddbdf54\","
    "\"uid\":\"4d0b7a1e-8a64-4e6b-9a5e-0d3f6f6d0002\",\"controller\":true,\"blockOwnerDeletion\":"
    "true}]},"
    "\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"registry.local/"
    "web:1.2.3\",\"command\":[\"/bin/httpd\",\"-f\"],"
    "\"ports\":[{\"containerPort\":8080,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"A\",\"value\":"
    "\"b\"}],"
    "\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},\"limits\":{\"memory\":"
    "\"128Mi\"}},"
    "\"readinessProbe\":{\"httpGet\":{\"path\":\"/"
    "\",\"port\":8080,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,"
    "\"periodSeconds\":5,\"successThreshold\":1,\"failureThreshold\":3},"
    "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\","
    "\"volumeMounts\":[{\"name\":\"kube-api-access-abcde\",\"readOnly\":true,"
    "\"mountPath\":\"/var/run/secrets/kubernetes.io/"
    "serviceaccount\"}],\"imagePullPolicy\":\"IfNotPresent\"}],"
    "\"volumes\":[{\"name\":\"kube-api-access-abcde\",\"projected\":{\"sources\":[{"
    "\"serviceAccountToken\":"
    "{\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca."
    "crt\",\"items\":"
    "[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":"
    "\"namespace\",\"fieldRef\":"
    "{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],\"defaultMode\":420}}],"
    "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
    "\"ClusterFirst\","
    "\"serviceAccountName\":\"default\",\"nodeName\":\"node-17\",\"securityContext\":{},"
    "\"schedulerName\":\"default-scheduler\",\"tolerations\":[{\"key\":\"node.kubernetes.io/"
    "not-ready\","
    "\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}]},"
    "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"},{\"type\":\"PodScheduled\",\"status\":"
    "\"True\","
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}],\"podIP\":\"10.244.1.17\",\"hostIP\":\"192."
    "168.1.5\","
    "\"containerStatuses\":[{\"name\":\"web\",\"ready\":true,\"restartCount\":0,\"image\":"
    "\"registry.local/web:1.2.3\","
    "\"containerID\":\"davit://"
    "4d0b7a1e8a644e6b9a5e0d3f6f6d0003\",\"started\":true}],\"qosClass\":\"Burstable\"}}";
#define STR_POD ((struct str){pod_json, sizeof pod_json - 1})

struct ctx {
    struct arena a;
    struct json *tree;
    struct api_pod pod;
    struct buf out, pb;
    size_t bytes;
};

static void parse(struct ctx *c)
{
    struct json *v;
    if (json_parse(STR_POD, &c->a, NULL, &v, NULL) < 0)
        abort();
    arena_clear(&c->a);
}
static void parse_and_decode(struct ctx *c)
{
    struct api_pod pod;
    if (schema_decode_text(&api_pod_desc, STR_POD, &c->a, NULL, &pod, NULL) < 0)
        abort();
    arena_clear(&c->a);
}
static void encode(struct ctx *c)
{
    buf_clear(&c->out);
    schema_encode_json(&api_pod_desc, &c->pod, SCHEMA_ENCODE_TYPE_META, &c->out);
}
static void decode_pb(struct ctx *c)
{
    struct api_pod pod;
    if (schema_decode_pb(&api_pod_desc, buf_str(&c->pb), &c->a, &pod, NULL) < 0)
        abort();
    arena_clear(&c->a);
}
static void encode_pb(struct ctx *c)
{
    buf_clear(&c->out);
    schema_encode_pb(&api_pod_desc, &c->pod, &c->out);
}
static void compact(struct ctx *c)
{
    free(schema_compact(&api_pod_desc, &c->pod, &c->bytes));
}
static void defaults(struct ctx *c)
{
    schema_default(&api_pod_desc, &c->pod, &c->a);
}
static void validate(struct ctx *c)
{
    if (schema_validate(&api_pod_desc, &c->pod, &c->pod, NULL) < 0)
        abort();
}
static void equal(struct ctx *c)
{
    struct api_pod copy = c->pod;
    if (!schema_equal(&api_pod_desc, &copy, &c->pod))
        abort();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct ctx *);
    } cases[] = {{"json_parse", parse},    {"json_decode", parse_and_decode},
                 {"json_encode", encode},  {"pb_decode", decode_pb},
                 {"pb_encode", encode_pb}, {"compact", compact},
                 {"default", defaults},    {"validate", validate},
                 {"equal", equal}};
    static struct ctx c;
    static struct arena keep;
    const int rounds = argc > 1 ? 2000 : 50000;
    if (schema_decode_text(&api_pod_desc, STR_POD, &keep, NULL, &c.pod, NULL) < 0)
        return 1;
    schema_encode_pb(&api_pod_desc, &c.pod, &c.pb);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct timespec t0, t1;
        if (argc > 1 && !str_eqz(str_z(argv[1]), cases[i].name))
            continue;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        for (int k = 0; k < rounds; k++)
            cases[i].run(&c);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        double ns = (double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec);
        printf("bench schema.%s %.2f us\n", cases[i].name, ns / rounds / 1000);
    }
    printf("bench schema.json_bytes %zu bytes\nbench schema.pb_bytes %zu bytes\nbench "
           "schema.compact_bytes %zu bytes\n",
           sizeof pod_json - 1, c.pb.n, c.bytes);
    buf_fini(&c.out);
    buf_fini(&c.pb);
    arena_fini(&c.a);
    arena_fini(&keep);
    return 0;
}
