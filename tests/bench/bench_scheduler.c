/* Rate of the scheduler's core: pods placed per second with 5,000 nodes, every node considered. One
 * line a figure: `name value unit budget`. */
#include <stdio.h>

#include "base/hash.h"
#include "codec/values.h"
#include "scheduler/core.h"

#define NODES 5000

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add_nodes(struct sched_core *c)
{
    for (int i = 0; i < NODES; i++) {
        char name[32], zone[32];
        int n = snprintf(name, sizeof(name), "node-%05d", i),
            z = snprintf(zone, sizeof(zone), "zone-%d", i % 10);
        struct kv_quantity alloc[] = {
            {STR("cpu"), quantity_from(32, QUANTITY_DECIMAL_SI)},
            {STR("memory"), quantity_from(INT64_C(128) << 30, QUANTITY_BINARY_SI)},
            {STR("pods"), quantity_from(250, QUANTITY_DECIMAL_SI)},
        };
        struct kv_str labels[] = {
            {STR("kubernetes.io/hostname"), {name, (size_t)n}},
            {STR("topology.kubernetes.io/zone"), {zone, (size_t)z}},
        };
        struct api_node node = {
            .metadata = {.name = {name, (size_t)n}, .labels = labels, .n_labels = 2},
            .status = {.allocatable = alloc, .n_allocatable = 3}};
        (void)sched_core_node_set(c, &node);
    }
}

struct setup {
    const char *name;
    int pods, budget;
    bool spread, anti;
};

/* pods are compiled before: that is the informer's work, once a pod. */
static void run(const struct setup *s)
{
    struct sched_core *c = sched_core_new();
    struct sched_pod **pods = calloc((size_t)s->pods, sizeof(*pods));
    add_nodes(c);
    for (int i = 0; i < s->pods; i++) {
        struct kv_str labels[] = {{STR("app"), STR("web")}};
        struct api_label_selector sel = {.match_labels = labels, .n_match_labels = 1};
        struct kv_quantity req[] = {
            {STR("cpu"), quantity_from_milli(100 + i % 7 * 50)},
            {STR("memory"), quantity_from((64 + i % 5 * 64) << 20, QUANTITY_BINARY_SI)}};
        struct api_container k = {.name = STR("c"),
                                  .resources = {.requests = req, .n_requests = 2}};
        struct api_topology_spread_constraint spread = {.max_skew = 1,
                                                        .topology_key =
                                                            STR("topology.kubernetes.io/zone"),
                                                        .when_unsatisfiable = STR("DoNotSchedule"),
                                                        .label_selector = &sel};
        struct api_pod_affinity_term term = {.label_selector = &sel,
                                             .topology_key = STR("kubernetes.io/hostname")};
        struct api_pod_anti_affinity aa = {
            .required_during_scheduling_ignored_during_execution = &term,
            .n_required_during_scheduling_ignored_during_execution = 1};
        struct api_affinity affinity = {.pod_anti_affinity = &aa};
        struct api_pod pod = {
            .metadata = {.namespace = STR("default"), .labels = labels, .n_labels = 1},
            .spec = {.containers = &k, .n_containers = 1}};
        if (s->spread)
            pod.spec.topology_spread_constraints = &spread,
            pod.spec.n_topology_spread_constraints = 1;
        if (s->anti)
            pod.spec.affinity = &affinity;
        pods[i] = sched_pod_new(c, &pod);
    }
    double t0 = seconds();
    int placed = 0;
    for (int i = 0; i < s->pods; i++) {
        struct str node = sched_core_pick(c, pods[i]);
        if (node.n == 0)
            continue;
        sched_core_place(c, pods[i], node);
        placed++;
    }
    double dt = seconds() - t0;
    ASSERT(placed == s->pods);
    printf("%s %.0f per_s budget %d\n", s->name, s->pods / dt, s->budget);
    for (int i = 0; i < s->pods; i++)
        sched_pod_free(pods[i]);
    free(pods);
    sched_core_free(c);
}

int main(void)
{
    static const struct setup SETUPS[] = {
        {"schedule_plain", 100000, 50000, false, false},
        {"schedule_spread", 20000, 10000, true, false},
        {"schedule_affinity", 4500, 10000, false, true},
    };
    hash_seed(1, 2);
    for (size_t i = 0; i < ARRAY_LEN(SETUPS); i++)
        run(&SETUPS[i]);
    return 0;
}
