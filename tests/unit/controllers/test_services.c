/* Plans around Services: load balancers of the nodes, mirrored Endpoints, hints, trigger times,
 * which slice takes what. */
#include "controllers/endpoints_mirror_plan.h"
#include "controllers/service_plan.h"
#include "test.h"

#define NOW 1700000000000000

static void assert_same(struct str s, const char *want)
{
    if (!str_eq(s, str_z(want)))
        fail_msg("\"%.*s\", wanted \"%s\"", STR_ARG(s), want);
}

/* ---- load balancers ---- */

struct cluster {
    struct arena a;
    struct api_service svc;
    struct api_service_port port;
    struct api_node nodes[3];
    const struct api_node *node_v[3];
    struct api_endpoint_slice slice;
    const struct api_endpoint_slice *slice_v[1];
    struct service_lb_in in;
};

static void add_node(struct cluster *c, uint32_t i, const char *name, const char *ready,
                     const char *internal, const char *external)
{
    struct api_node *n = &c->nodes[i];
    n->metadata.name = str_z(name);
    n->status.conditions = ARENA_NEW(&c->a, struct api_node_condition);
    n->status.conditions[0] =
        (struct api_node_condition){.type = STR("Ready"), .status = str_z(ready)};
    n->status.n_conditions = 1;
    n->status.addresses = ARENA_NEW_N(&c->a, struct api_node_address, 3);
    n->status.addresses[0] =
        (struct api_node_address){.type = STR("InternalIP"), .address = str_z(internal)};
    n->status.addresses[1] =
        (struct api_node_address){.type = STR("Hostname"), .address = str_z(name)};
    n->status.n_addresses = 2;
    if (external)
        n->status.addresses[n->status.n_addresses++] =
            (struct api_node_address){.type = STR("ExternalIP"), .address = str_z(external)};
    c->node_v[i] = n;
}

static void cluster_init(struct cluster *c)
{
    *c = (struct cluster){0};
    c->port = (struct api_service_port){.port = 80, .protocol = STR("TCP")};
    c->svc = (struct api_service){
        .metadata = {.name = STR("web"),
                     .namespace = STR("d"),
                     .uid = STR("u1"),
                     .creation_timestamp = timestamp_of(NOW)},
        .spec = {.type = STR("LoadBalancer"), .ports = &c->port, .n_ports = 1}};
    add_node(c, 0, "n1", "True", "10.0.0.1", NULL);
    add_node(c, 1, "n2", "True", "10.0.0.2", "192.0.2.2");
    add_node(c, 2, "n3", "Unknown", "10.0.0.3", NULL);
    c->in = (struct service_lb_in){.svc = &c->svc, .nodes = c->node_v, .n_nodes = 3, .now = NOW};
    c->slice_v[0] = &c->slice;
    c->in.slices = c->slice_v;
}

static void test_lb_addresses(void **state)
{
    struct cluster c;
    cluster_init(&c);
    struct api_service_status *st = service_lb_plan(&c.a, &c.in);
    assert_non_null(st);
    assert_int_equal(st->load_balancer.n_ingress, 2);
    assert_same(st->load_balancer.ingress[0].ip, "10.0.0.1");
    assert_same(st->load_balancer.ingress[1].ip, "192.0.2.2");
    assert_same(st->load_balancer.ingress[1].ip_mode, "VIP");
    c.svc.status = *st;
    assert_null(service_lb_plan(&c.a, &c.in));

    struct kv_str label = {STR(LB_EXCLUDED), STR("")};
    struct api_node before = c.nodes[0];
    c.nodes[0].metadata.labels = &label;
    c.nodes[0].metadata.n_labels = 1;
    assert_true(service_lb_node_changed(&before, &c.nodes[0]));
    assert_false(service_lb_node_changed(&before, &before));
    assert_int_equal(service_lb_plan(&c.a, &c.in)->load_balancer.n_ingress, 1);
    c.nodes[0].metadata.n_labels = 0;

    /* Local: only where a ready endpoint is. */
    struct api_endpoint eps[] = {
        {.node_name = STR("n1"), .conditions = {.has_ready = true, .ready = true}},
        {.node_name = STR("n2"), .conditions = {.has_ready = true, .ready = false}}};
    c.slice.endpoints = eps;
    c.slice.n_endpoints = 2;
    c.in.n_slices = 1;
    c.svc.spec.external_traffic_policy = STR("Local");
    st = service_lb_plan(&c.a, &c.in);
    assert_int_equal(st->load_balancer.n_ingress, 1);
    assert_same(st->load_balancer.ingress[0].ip, "10.0.0.1");

    c.svc.metadata.deletion_timestamp = timestamp_of(NOW);
    assert_int_equal(service_lb_plan(&c.a, &c.in)->load_balancer.n_ingress, 0);
    arena_fini(&c.a);
}

static void test_lb_conflicts(void **state)
{
    struct cluster c;
    cluster_init(&c);
    struct api_service_port other_port = {.port = 80, .protocol = STR("TCP")};
    struct api_service other = c.svc;
    other.metadata.name = STR("older");
    other.metadata.uid = STR("u0");
    other.metadata.creation_timestamp = timestamp_of(NOW - 1);
    other.spec.ports = &other_port;
    assert_true(service_lb_yields(&c.svc, &other));
    assert_false(service_lb_yields(&other, &c.svc));
    other_port.protocol = STR("UDP");
    assert_false(service_lb_yields(&c.svc, &other));
    other_port.protocol = STR("TCP");
    other.spec.load_balancer_class = STR("example.com/other");
    assert_false(service_lb_yields(&c.svc, &other));
    other.spec.load_balancer_class = STR(LB_CLASS);
    assert_true(service_lb_yields(&c.svc, &other));

    c.in.holder = &other;
    struct api_service_status *st = service_lb_plan(&c.a, &c.in);
    assert_int_equal(st->load_balancer.n_ingress, 0);
    assert_int_equal(st->n_conditions, 1);
    assert_same(st->conditions[0].type, LB_CONFLICT);
    assert_same(st->conditions[0].message, "port 80/TCP of the nodes is held by Service d/older");
    /* Told once: the same again is no change, though the clock went on. */
    c.svc.status = *st;
    c.in.now = NOW + 5000000;
    assert_true(service_lb_has_conflict(&c.svc));
    assert_null(service_lb_plan(&c.a, &c.in));
    /* One that is held up itself holds nobody up; one that has addresses keeps them. */
    other.status = *st;
    assert_false(service_lb_yields(&c.svc, &other));
    struct api_load_balancer_ingress given = {.ip = STR("10.0.0.1")};
    other.status = (struct api_service_status){.load_balancer = {&given, 1}};
    other.metadata.creation_timestamp = timestamp_of(NOW + 1);
    assert_true(service_lb_yields(&c.svc, &other));
    c.in.holder = NULL;
    st = service_lb_plan(&c.a, &c.in);
    assert_int_equal(st->n_conditions, 0);
    assert_int_equal(st->load_balancer.n_ingress, 2);
    arena_fini(&c.a);
}

/* ---- mirroring ---- */

static void test_mirror(void **state)
{
    struct arena a = {0};
    struct mirror_plan plan;
    enum { N = 1030 };
    struct api_endpoint_address *many = ARENA_NEW_N(&a, struct api_endpoint_address, N);
    for (int i = 0; i < N; i++)
        many[i].ip = arena_printf(&a, "10.1.%d.%d", i / 250, i % 250);
    struct api_endpoint_address mixed[] = {{.ip = STR("10.2.0.1"), .hostname = STR("h")},
                                           {.ip = STR("fd00::1")},
                                           {.ip = STR("not an address")},
                                           {.ip = STR("10.2.0.1")}};
    struct api_endpoint_port http = {.name = STR("http"), .port = 80}, alt = {.port = 81};
    struct api_endpoint_subset subsets[] = {
        {.addresses = mixed, .n_addresses = 4, .ports = &http, .n_ports = 1},
        {.not_ready_addresses = many, .n_not_ready_addresses = N, .ports = &alt, .n_ports = 1}};
    struct kv_str label = {STR("team"), STR("x")},
                  notes[] = {{STR("kubectl.kubernetes.io/last-applied-configuration"), STR("{}")},
                             {STR("note"), STR("y")}};
    struct api_endpoints e = {.metadata = {.name = STR("db"),
                                           .namespace = STR("d"),
                                           .uid = STR("u"),
                                           .labels = &label,
                                           .n_labels = 1,
                                           .annotations = notes,
                                           .n_annotations = 2},
                              .subsets = subsets,
                              .n_subsets = 2};
    assert_true(endpoints_mirror_wanted(&e));
    endpoints_mirror_plan(&a, &e, NULL, 0, &plan);
    assert_int_equal(plan.n_changes, 2 + 10); /* two families; 1,000 addresses */
    assert_int_equal(plan.n_skipped, 30);
    assert_int_equal(plan.n_invalid, 1);
    const struct api_endpoint_slice *s = plan.changes[0].new;
    assert_same(s->address_type, "IPv4");
    assert_int_equal(s->n_endpoints, 1);
    assert_same(s->endpoints[0].hostname, "h");
    assert_true(s->endpoints[0].conditions.ready);
    assert_same(s->ports[0].name, "http");
    assert_same(meta_label(&s->metadata, STR(LABEL_SERVICE_NAME)), "db");
    assert_same(meta_label(&s->metadata, STR(LABEL_SLICE_MANAGER)), MIRROR_MANAGER);
    assert_same(meta_label(&s->metadata, STR("team")), "x");
    assert_same(meta_annotation(&s->metadata, STR("note")), "y");
    assert_int_equal(s->metadata.n_annotations, 1);
    assert_same(s->metadata.owner_references[0].kind, "Endpoints");
    assert_same(plan.changes[1].new->address_type, "IPv6");
    assert_false(plan.changes[2].new->endpoints[0].conditions.ready);

    /* As mirrored: nothing to do. An address goes: one slice. Not wanted: all go. */
    const struct api_endpoint_slice *v[12];
    for (uint32_t i = 0; i < 12; i++) {
        plan.changes[i].new->metadata.name = arena_printf(&a, "db-%02u", i);
        v[i] = plan.changes[i].new;
    }
    endpoints_mirror_plan(&a, &e, v, 12, &plan);
    assert_int_equal(plan.n_changes, 0);
    subsets[0].n_addresses = 1;
    endpoints_mirror_plan(&a, &e, v, 12, &plan);
    assert_int_equal(plan.n_changes, 1);
    assert_null(plan.changes[0].new);
    endpoints_mirror_plan(&a, NULL, v, 12, &plan);
    assert_int_equal(plan.n_changes, 12);
    label = (struct kv_str){STR(MIRROR_SKIP), STR("true")};
    assert_false(endpoints_mirror_wanted(&e));
    arena_fini(&a);
}

/* ---- slices ---- */

static struct api_pod *pod(struct arena *a, int i, const char *node, usec_t ready_since)
{
    struct api_pod *p = ARENA_NEW(a, struct api_pod);
    p->metadata.name = arena_printf(a, "p%d", i);
    p->metadata.uid = arena_printf(a, "uid-%d", i);
    p->spec.node_name = str_z(node);
    p->status.pod_ip = arena_printf(a, "10.1.%d.%d", i / 250, i % 250);
    p->status.conditions = ARENA_NEW(a, struct api_pod_condition);
    p->status.conditions[0] =
        (struct api_pod_condition){.type = STR("Ready"),
                                   .status = STR("True"),
                                   .last_transition_time = timestamp_of(ready_since)};
    p->status.n_conditions = 1;
    return p;
}

static void test_hints_and_times(void **state)
{
    struct arena a = {0};
    struct endpoints_plan plan;
    struct api_service_port port = {.port = 80};
    struct api_service svc = {
        .metadata = {.name = STR("web"), .namespace = STR("d")},
        .spec = {.ports = &port, .n_ports = 1, .cluster_ip = STR("10.0.0.1")}};
    const struct api_pod *v[] = {pod(&a, 1, "n1", NOW), pod(&a, 2, "n2", NOW + 2000000)};
    struct str zones[] = {STR("z1"), STR_NONE};
    struct endpoints_in in = {.svc = &svc, .pods = v, .zones = zones, .n_pods = 2};
    endpoints_plan(&a, &in, &plan);
    struct api_endpoint_slice *s = plan.slices[0].new;
    assert_null(s->endpoints[0].hints);
    assert_same(meta_annotation(&s->metadata, STR(TRIGGER_TIME)), "2023-11-14T22:13:22Z");
    assert_same(meta_annotation(&plan.endpoints->metadata, STR(TRIGGER_TIME)),
                "2023-11-14T22:13:22Z");
    svc.spec.traffic_distribution = STR("PreferClose");
    endpoints_plan(&a, &in, &plan);
    s = plan.slices[0].new;
    assert_same(s->endpoints[0].hints->for_zones[0].name, "z1");
    assert_int_equal(s->endpoints[0].hints->n_for_nodes, 0);
    assert_null(s->endpoints[1].hints); /* its zone is not known */
    svc.spec.traffic_distribution = STR("PreferSameNode");
    endpoints_plan(&a, &in, &plan);
    s = plan.slices[0].new;
    assert_same(s->endpoints[1].hints->for_nodes[0].name, "n2");

    /* A pod goes: when, nobody says, so the annotation goes with it. */
    const struct api_endpoint_slice *slices[] = {s};
    in.slices = slices;
    in.n_slices = 1;
    in.pods = v + 1;
    in.n_pods = 1;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 1);
    assert_null(meta_annotation(&plan.slices[0].new->metadata, STR(TRIGGER_TIME)).p);
    arena_fini(&a);
}

static void test_slices_fill(void **state)
{
    struct arena a = {0};
    struct endpoints_plan plan;
    enum { N = 1100 };
    const struct api_pod *v[N];
    struct api_service_port port = {.port = 80};
    struct api_service svc = {
        .metadata = {.name = STR("web"), .namespace = STR("d")},
        .spec = {.ports = &port, .n_ports = 1, .cluster_ip = STR("10.0.0.1")}};
    struct endpoints_in in = {.svc = &svc, .pods = v, .n_pods = 150};
    for (int i = 0; i < N; i++)
        v[i] = pod(&a, i, "n1", NOW);
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 2);
    const struct api_endpoint_slice *slices[] = {plan.slices[0].new, plan.slices[1].new};
    in.slices = slices;
    in.n_slices = 2;
    in.endpoints = plan.endpoints;
    assert_null(meta_annotation(&plan.endpoints->metadata, STR(OVER_CAPACITY)).p);
    /* Ten more fit into the second; the full one is not written. */
    in.n_pods = 160;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 1);
    assert_ptr_equal(plan.slices[0].old, slices[1]);
    assert_int_equal(plan.slices[0].new->n_endpoints, 60);
    /* One of the full slice goes and one comes: it takes its place, one write. */
    const struct api_pod *swapped = v[0];
    v[0] = v[1000];
    in.n_pods = 150;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 1);
    assert_ptr_equal(plan.slices[0].old, slices[0]);
    assert_int_equal(plan.slices[0].new->n_endpoints, 100);
    v[0] = swapped;
    /* Sixty more fit nowhere whole: a slice of their own, the others stay. */
    in.n_pods = 210;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 1);
    assert_null(plan.slices[0].old);
    assert_int_equal(plan.slices[0].new->n_endpoints, 60);
    in.n_pods = N;
    endpoints_plan(&a, &in, &plan);
    assert_same(meta_annotation(&plan.endpoints->metadata, STR(OVER_CAPACITY)), "truncated");
    assert_int_equal(plan.endpoints->subsets[0].n_addresses, 1000);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lb_addresses), cmocka_unit_test(test_lb_conflicts),
        cmocka_unit_test(test_mirror),       cmocka_unit_test(test_hints_and_times),
        cmocka_unit_test(test_slices_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
