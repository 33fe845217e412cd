/* The policy engine alone: 1,000 policies over 10,000 pods (100 of them here), and one pod more.
 * One line a figure: `name value unit budget`. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "net/policy/policy.h"

#define PODS       10000
#define POLICIES   1000
#define NAMESPACES 100
#define LOCALS     100
#define CHANGES    2000

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pod_set(struct policy_engine *e, unsigned i, const char *app, struct policy_batch *b)
{
    char uid[32], ns[16];
    struct kv_str label = {STR("app"), str_z(app)};
    struct ip_addr ip = {AF_INET, {10, 200, (uint8_t)(i >> 8), (uint8_t)i}};
    snprintf(uid, sizeof(uid), "uid-%u", i);
    snprintf(ns, sizeof(ns), "ns%u", i % NAMESPACES);
    struct policy_pod pod = {.uid = str_z(uid),
                             .ns = str_z(ns),
                             .labels = &label,
                             .n_labels = 1,
                             .ips = {ip},
                             .n_ips = 1};
    if (i < LOCALS)
        policy_local(e, pod.uid, "dv", &ip, b);
    policy_pod(e, &pod, b);
}

static void policy_add(struct policy_engine *e, unsigned i, struct policy_batch *b)
{
    char name[32], ns[16];
    struct kv_str label = {STR("app"), i % 3 ? STR("a") : STR("b")};
    struct api_label_selector app = {.match_labels = &label, .n_match_labels = 1}, all = {0};
    struct api_network_policy_peer from[] = {{.pod_selector = &app},
                                             {.namespace_selector = &all, .pod_selector = &app}};
    struct api_network_policy_port port = {.protocol = STR("TCP"),
                                           .port = int_or_str_int(80 + (int)i % 10)};
    struct api_network_policy_ingress_rule rule = {
        .from = from, .n_from = 2, .ports = &port, .n_ports = 1};
    struct str type = STR("Ingress");
    struct api_network_policy_spec spec = {.pod_selector = app,
                                           .ingress = &rule,
                                           .n_ingress = 1,
                                           .policy_types = &type,
                                           .n_policy_types = 1};
    snprintf(name, sizeof(name), "policy-%u", i);
    snprintf(ns, sizeof(ns), "ns%u", i % NAMESPACES);
    policy_set(e, str_z(ns), str_z(name), &spec, b);
}

int main(void)
{
    struct policy_engine *e = policy_engine_new("t", NULL);
    struct policy_batch b = {0};
    struct buf text = {0};
    for (unsigned i = 0; i < PODS; i++)
        pod_set(e, i, i % 2 ? "a" : "b", &b);
    double from = seconds();
    for (unsigned i = 0; i < POLICIES; i++)
        policy_add(e, i, &b);
    policy_full(e, &text);
    double to = seconds();
    printf("policy_compile_1000 %.1f ms budget 500\n", (to - from) * 1e3);
    policy_batch_fini(&b);
    from = seconds();
    for (unsigned i = 0; i < CHANGES; i++) {
        buf_clear(&text);
        pod_set(e, 5000, i % 2 ? "a" : "b", &b);
        policy_batch_print(&b, "t", &text);
        policy_batch_fini(&b);
    }
    to = seconds();
    printf("policy_pod_change %.1f us budget 100\n", (to - from) * 1e6 / CHANGES);
    buf_fini(&text);
    policy_engine_free(e);
    return 0;
}
