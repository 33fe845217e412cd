/* pods/resize: what of an update counts, what is refused and in which words; what a pod holds
 * meanwhile. */
#include "api/amounts.h"
#include "api/pod.h"
#include "codec/yaml.h"
#include "schema/schema.h"
#include "test.h"

#include <stdio.h>

static struct api_pod *pod_of(struct arena *a, const char *yaml)
{
    struct json *v;
    struct error err = {0};
    void *msg = schema_new(&api_pod_desc, a);
    int r = yaml_parse(str_z(yaml), a, &v, &err);
    if (r >= 0)
        r = schema_decode_json(&api_pod_desc, v, a, NULL, msg, &err);
    if (r < 0)
        fail_msg("%s: %.*s", yaml, STR_ARG(err.message));
    error_fini(&err);
    return msg;
}

#define C(res)     "{name: c, image: i, resources: {" res "}}"
#define D          "{name: d, image: i}"
#define POD(res)   "{spec: {containers: [" C(res) "]}}"
#define WHOLE(res) "{spec: {resources: {" res "}, containers: [" C("") "]}}"
#define BURST      "requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 64Mi}"
#define ONLY       "spec: Forbidden: only cpu and memory resources are mutable"

static void what_is_refused(void **state)
{
    static const struct {
        const char *old, *new, *causes;
    } rows[] = {
        {POD(BURST), POD("requests: {cpu: 150m, memory: 32Mi}, limits: {cpu: 1, memory: 32Mi}"),
         ""},
        {POD(BURST),
         "{metadata: {labels: {a: b}}, spec: {activeDeadlineSeconds: 1, containers: "
         "[{name: c, image: other, resources: {" BURST "}}]}}",
         ""}, /* dropped */
        {POD("requests: {cpu: 1}"), POD("requests: {cpu: 1}, limits: {memory: 1Gi}"), ""},
        {POD(""), POD("requests: {memory: 40Mi}"),
         "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of "
         "resizing\n"},
        {POD(BURST), POD("requests: {cpu: 200m, memory: 64Mi}, limits: {cpu: 200m, memory: 64Mi}"),
         "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of "
         "resizing\n"},
        {POD(BURST), POD("requests: {cpu: 100m}, limits: {cpu: 200m}"),
         "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed\n"
         "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed\n"},
        {POD("requests: {cpu: 1, ephemeral-storage: 1Gi}"),
         POD("requests: {cpu: 1, ephemeral-storage: 2Gi}"), ONLY "\n"},
        {POD("requests: {cpu: 1}"), POD("requests: {cpu: 1, example.com/gpu: 1}"), ONLY "\n"},
        {POD("requests: {cpu: 1}"),
         "{spec: {containers: [{name: c, image: i, resizePolicy: [{resourceName: cpu, "
         "restartPolicy: RestartContainer}], resources: {requests: {cpu: 1}}}]}}",
         ONLY "\n"},
        {"{spec: {containers: [" C("requests: {cpu: 1}") ", " D "]}}",
         "{spec: {containers: [" D ", " C("requests: {cpu: 1}") "]}}",
         "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on "
         "resize\n"
         "spec.containers[1].name: Forbidden: containers may not be renamed or reordered on "
         "resize\n"},
        {POD("requests: {cpu: 1}"), "{spec: {containers: [" C("requests: {cpu: 1}") ", " D "]}}",
         "spec.containers: Forbidden: containers may not be added or removed on resize\n"},
        {"{spec: {initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: "
         "1}}}], containers: [" C("") "]}}",
         "{spec: {initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: "
         "2}}}], containers: [" C("") "]}}",
         ""},
        {"{spec: {initContainers: [{name: s, resources: {requests: {cpu: 1}}}], containers: [" C(
             "") "]}}",
         "{spec: {initContainers: [{name: s, resources: {requests: {cpu: 2}}}], containers: [" C(
             "") "]}}",
         "spec: Forbidden: resources for non-sidecar init containers are immutable\n"},
        {"{spec: {os: {name: windows}, containers: [" C("") "]}}", POD(""),
         ": Forbidden: windows pods cannot be resized\n"},
        {"{metadata: {annotations: {kubernetes.io/config.mirror: x}}, spec: {containers: [" C(
             "") "]}}",
         POD(""), ": Forbidden: static pods cannot be resized\n"},
        {WHOLE("requests: {cpu: 500m}, limits: {cpu: 1, memory: 1Gi}"),
         WHOLE("requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 3, memory: 2Gi}"), ""},
        {WHOLE("requests: {cpu: 1}"), POD(""),
         "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of "
         "resizing\n"
         "spec.resources: Forbidden: pod-level resources cannot be removed\n"},
        {WHOLE("requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}"),
         WHOLE("requests: {memory: 1Gi}"),
         "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed\n"
         "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed\n"},
        {WHOLE("requests: {cpu: 1}, limits: {hugepages-2Mi: 2Mi}"),
         WHOLE("requests: {cpu: 1}, limits: {hugepages-2Mi: 4Mi}"),
         "spec: Forbidden: only cpu and memory resources are mutable at pod-level\n"},
        {POD("requests: {cpu: 1}"),
         "{spec: {resources: {limits: {cpu: 2}}, containers: [" C("requests: {cpu: 1}") "]}}", ""},
        {WHOLE("requests: {cpu: 500m}, limits: {cpu: 1, memory: 1Gi}"),
         WHOLE("requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}"),
         "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of "
         "resizing\n"},
        {"{spec: {containers: [" C("requests: {cpu: 1}") "]}, status: {containerStatuses: [{name: "
                                                         "c, state: {running: {}}}]}}",
         POD("requests: {cpu: 2}"),
         "spec: Forbidden: Pod running on node without support for resize\n"},
        {"{spec: {containers: [" C(
             "requests: {cpu: 1}") "]}, status: {containerStatuses: [{name: c, resources: {}, "
                                   "state: {running: {}}}]}}",
         POD("requests: {cpu: 2}"), ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct buf b = {0};
        const struct api_pod *old = pod_of(&a, rows[i].old);
        struct api_pod *new = pod_of(&a, rows[i].new);
        pod_resize_take(new, old, &a);
        pod_validate_resize(new, old, &err);
        for (const struct error_cause *k = err.causes; k; k = k->next)
            buf_printf(&b, "%.*s: %.*s\n", STR_ARG(k->field), STR_ARG(k->message));
        if (!str_eqz(buf_str(&b), rows[i].causes))
            fail_msg("row %zu, %s:\n got %.*s\nwant %s", i, rows[i].new, STR_ARG(buf_str(&b)),
                     rows[i].causes);
        buf_fini(&b);
        error_fini(&err);
        arena_fini(&a);
    }
}

static void policies(void **state)
{
    static const struct {
        const char *spec, *causes;
    } rows[] = {
        {"{containers: [{resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, "
         "{resourceName: memory, restartPolicy: RestartContainer}]}]}",
         ""},
        {"{containers: [{resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, "
         "{resourceName: cpu, restartPolicy: NotRequired}]}]}",
         "spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\"\n"},
        {"{containers: [{resizePolicy: [{resourceName: gpu, restartPolicy: NotRequired}]}]}",
         "spec.containers[0].resizePolicy: Unsupported value: \"gpu\": supported values: \"cpu\", "
         "\"memory\"\n"},
        {"{containers: [{resizePolicy: [{resourceName: cpu}]}]}",
         "spec.containers[0].resizePolicy: Required value\n"},
        {"{restartPolicy: Never, containers: [{resizePolicy: [{resourceName: cpu, restartPolicy: "
         "RestartContainer}]}]}",
         "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be "
         "'NotRequired' when `restartPolicy` is 'Never'\n"},
        {"{restartPolicy: Never, initContainers: [{restartPolicy: Always, resizePolicy: "
         "[{resourceName: cpu, restartPolicy: RestartContainer}]}]}",
         ""},
        {"{initContainers: [{resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]}]}",
         "spec.initContainers[0].resizePolicy: Invalid value: \"[...]\": must not be set for init "
         "containers\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct buf b = {0};
        char text[512];
        snprintf(text, sizeof(text), "{spec: %s}", rows[i].spec);
        pod_resize_policies_validate(&pod_of(&a, text)->spec, "spec", &err);
        for (const struct error_cause *k = err.causes; k; k = k->next)
            buf_printf(&b, "%.*s: %.*s\n", STR_ARG(k->field), STR_ARG(k->message));
        if (!str_eqz(buf_str(&b), rows[i].causes))
            fail_msg("%s:\n got %.*s\nwant %s", text, STR_ARG(buf_str(&b)), rows[i].causes);
        buf_fini(&b);
        error_fini(&err);
        arena_fini(&a);
    }
}

/* A pod that says something as a whole, when it comes. */
static void wholes(void **state)
{
    static const struct {
        const char *resources, *containers, *requests, *causes;
    } rows[] = {
        {"limits: {cpu: 2, memory: 1Gi}", C(""), "cpu=2,memory=1Gi", ""},
        {"limits: {cpu: 2, memory: 1Gi}, requests: {memory: 1Mi}", C("requests: {cpu: 500m}"),
         "cpu=500m,memory=1Mi", ""},
        {"requests: {cpu: 2}", C("requests: {memory: 1Gi}"), "cpu=2", ""},
        {"limits: {cpu: 2}", C("requests: {memory: 1Gi, ephemeral-storage: 1Gi}"),
         "cpu=2,memory=1Gi", ""},
        {"requests: {cpu: 1}", C("requests: {cpu: 1500m}"), "cpu=1",
         "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to "
         "aggregate container requests of 1500m\n"},
        {"requests: {cpu: 1}, limits: {cpu: 1}", C("limits: {cpu: 2}, requests: {cpu: 1}"), "cpu=1",
         "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or "
         "equal to pod limits of 1\n"},
        {"requests: {cpu: 3}, limits: {cpu: 2}", C(""), "cpu=3",
         "spec.resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit "
         "of 2\n"},
        {"requests: {ephemeral-storage: 1Gi}", C(""), "ephemeral-storage=1Gi",
         "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": "
         "supported values: \"cpu\", \"hugepages-\", \"memory\"\n"},
        {"requests: {cpu: 1}}, os: {name: windows", C(""), "cpu=1",
         "spec.resources: Forbidden: may not be set for a windows pod\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct error err = {0};
        struct buf b = {0};
        char text[512];
        snprintf(text, sizeof(text), "{spec: {resources: {%s}, containers: [%s]}}",
                 rows[i].resources, rows[i].containers);
        struct api_pod *p = pod_of(&a, text);
        pod_hooks.fill(p, &a);
        struct amounts requests = {.arena = &a};
        amounts_add_all(&requests, p->spec.resources->requests, p->spec.resources->n_requests);
        amounts_print(&requests, &b);
        if (!str_eqz(buf_str(&b), rows[i].requests))
            fail_msg("%s: requests %.*s", text, STR_ARG(buf_str(&b)));
        buf_clear(&b);
        pod_validate(p, &err);
        for (const struct error_cause *k = err.causes; k; k = k->next)
            buf_printf(&b, "%.*s: %.*s\n", STR_ARG(k->field), STR_ARG(k->message));
        if (!str_eqz(buf_str(&b), rows[i].causes))
            fail_msg("%s:\n got %.*s\nwant %s", text, STR_ARG(buf_str(&b)), rows[i].causes);
        buf_fini(&b);
        error_fini(&err);
        arena_fini(&a);
    }
}

static void only_resources_count(void **state)
{
    struct arena a = {0};
    struct api_pod *old = pod_of(&a, "{metadata: {labels: {a: old}}, spec: {nodeName: here, "
                                     "containers: [" C("requests: {cpu: 1}") "]}}");
    struct api_pod *new =
        pod_of(&a, "{metadata: {labels: {a: new}, annotations: {b: c}}, spec: {nodeName: other, "
                   "containers: [{name: c, image: other, resources: {requests: {cpu: 2}}}]}}");
    pod_resize_take(new, old, &a);
    assert_true(str_is(new->metadata.labels[0].value, "old"));
    assert_int_equal(new->metadata.n_annotations, 0);
    assert_true(str_is(new->spec.node_name, "here"));
    assert_true(str_is(new->spec.containers[0].image, "i"));
    assert_int_equal(quantity_milli(&new->spec.containers[0].resources.requests[0].value), 2000);
    arena_fini(&a);
}

static void same_amounts_differently_written(void **state)
{
    static const struct {
        const char *a, *b;
        bool same, same_cpu;
    } rows[] = {
        {"requests: {cpu: 1}", "requests: {cpu: 1000m}", true, true},
        {"requests: {cpu: 1}", "requests: {cpu: 2}", false, false},
        {"limits: {memory: 1Gi}", "limits: {memory: 1024Mi}", true, true},
        {"limits: {memory: 1Gi}", "limits: {memory: 1G}", false, true},
        {"limits: {memory: 1Gi}", "", false, true},
        {"", "limits: {cpu: 1}", false, false},
        {"requests: {example.com/gpu: 1}", "", true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        char text[2][256];
        snprintf(text[0], sizeof(text[0]), POD("%s"), rows[i].a);
        snprintf(text[1], sizeof(text[1]), POD("%s"), rows[i].b);
        const struct api_resource_requirements
            *x = &pod_of(&a, text[0])->spec.containers[0].resources,
            *y = &pod_of(&a, text[1])->spec.containers[0].resources;
        assert_int_equal(pod_same_resources(x, y), rows[i].same);
        assert_int_equal(pod_same_resource(x, y, "cpu"), rows[i].same_cpu);
        arena_fini(&a);
    }
}

#define HOLDS(spec_cpu, status)                                                                    \
    "{spec: {containers: [" C("requests: {cpu: " spec_cpu                                          \
                              "}, limits: {cpu: 8}") "]}, status: {" status "}}"
#define CS(in_force, allocated)                                                                    \
    "containerStatuses: [{name: c, resources: {requests: {cpu: " in_force                          \
    "}, limits: {cpu: 9}}, allocatedResources: {cpu: " allocated "}}]"
#define PENDING(why) "conditions: [{type: PodResizePending, status: 'True', reason: " why "}]"

#define HOLDS_WHOLE(spec_cpu, status)                                                              \
    "{spec: {resources: {requests: {cpu: " spec_cpu "}, limits: {cpu: 8}}, containers: [" C(       \
        "requests: {cpu: 1}, limits: {cpu: 1}") "]}, status: {" status "}}"
#define WS(in_force, allocated)                                                                    \
    "resources: {requests: {cpu: " in_force                                                        \
    "}, limits: {cpu: 9}}, allocatedResources: {cpu: " allocated "}"

static void what_it_holds(void **state)
{
    static const struct {
        const char *pod, *requests, *limits;
    } rows[] = {
        {HOLDS("2", ""), "cpu=2", "cpu=8"},
        {HOLDS("2", CS("1", "1")), "cpu=2", "cpu=9"},
        {HOLDS("1", CS("3", "2")), "cpu=3", "cpu=9"},
        {HOLDS("1", CS("2", "3")), "cpu=3", "cpu=9"},
        {HOLDS("5", CS("2", "3") ", " PENDING("Deferred")), "cpu=5", "cpu=9"},
        {HOLDS("5", CS("2", "3") ", " PENDING("Infeasible")), "cpu=3", "cpu=9"},
        /* what the pod says as a whole, likewise */
        {HOLDS_WHOLE("2", ""), "cpu=2", "cpu=8"},
        {HOLDS_WHOLE("2", WS("3", "1")), "cpu=3", "cpu=9"},
        {HOLDS_WHOLE("2", WS("1", "4")), "cpu=4", "cpu=9"},
        {HOLDS_WHOLE("5", WS("2", "3") ", " PENDING("Deferred")), "cpu=5", "cpu=9"},
        {HOLDS_WHOLE("5", WS("2", "3") ", " PENDING("Infeasible")), "cpu=3", "cpu=9"},
        /* an init container that has ended holds what the spec says */
        {"{spec: {initContainers: [{name: i, resources: {requests: {cpu: 1}}}], containers: []}, "
         "status: {initContainerStatuses: [{name: i, resources: {requests: {cpu: 4}}}]}}",
         "cpu=1", ""},
        {"{spec: {initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: "
         "1}}}], containers: []}, status: {initContainerStatuses: [{name: i, resources: "
         "{requests: {cpu: 4}}}]}}",
         "cpu=4", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct amounts requests = {.arena = &a}, limits = {.arena = &a};
        struct buf b = {0};
        const struct api_pod *p = pod_of(&a, rows[i].pod);
        pod_amounts_held(p, false, &requests);
        pod_amounts_held(p, true, &limits);
        amounts_print(&requests, &b);
        if (!str_eqz(buf_str(&b), rows[i].requests))
            fail_msg("%s: requests %.*s", rows[i].pod, STR_ARG(buf_str(&b)));
        buf_clear(&b);
        amounts_print(&limits, &b);
        if (!str_eqz(buf_str(&b), rows[i].limits))
            fail_msg("%s: limits %.*s", rows[i].pod, STR_ARG(buf_str(&b)));
        buf_fini(&b);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(policies),
        cmocka_unit_test(wholes),
        cmocka_unit_test(only_resources_count),
        cmocka_unit_test(same_amounts_differently_written),
        cmocka_unit_test(what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
