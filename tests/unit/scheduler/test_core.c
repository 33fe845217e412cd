/* The scheduler's core and queue: what fits, what is best, why not. */
#include "scheduler/core.h"
#include "scheduler/queue.h"
#include "test.h"
#include "codec/values.h"

#define GI (INT64_C(1) << 30)

struct fx {
    struct arena a;
    struct sched_core *c;
};

static int setup(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    f->c = sched_core_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    sched_core_free(f->c);
    arena_fini(&f->a);
    free(f);
    return 0;
}

struct node_spec {
    const char *name, *zone, *taint_key, *taint_effect, *disk;
    int64_t cpu_milli, memory, pods;
    bool unschedulable;
};

static bool node(struct fx *f, struct node_spec s)
{
    struct arena *a = &f->a;
    struct api_node n = {.metadata = {.name = str_z(s.name)},
                         .spec = {.unschedulable = s.unschedulable}};
    struct kv_quantity *q = ARENA_NEW_N(a, struct kv_quantity, 4);
    struct kv_str *l = ARENA_NEW_N(a, struct kv_str, 3);
    q[0] = (struct kv_quantity){STR("cpu"), quantity_from_milli(s.cpu_milli ? s.cpu_milli : 4000)};
    q[1] = (struct kv_quantity){STR("example.com/gpu"), quantity_from(1, QUANTITY_DECIMAL_SI)};
    q[2] = (struct kv_quantity){STR("memory"),
                                quantity_from(s.memory ? s.memory : 8 * GI, QUANTITY_BINARY_SI)};
    q[3] = (struct kv_quantity){STR("pods"),
                                quantity_from(s.pods ? s.pods : 110, QUANTITY_DECIMAL_SI)};
    n.status.allocatable = q;
    n.status.n_allocatable = 4;
    n.metadata.labels = l;
    if (s.disk)
        l[n.metadata.n_labels++] = (struct kv_str){STR("disk"), str_z(s.disk)};
    l[n.metadata.n_labels++] = (struct kv_str){STR("kubernetes.io/hostname"), str_z(s.name)};
    if (s.zone)
        l[n.metadata.n_labels++] = (struct kv_str){STR("zone"), str_z(s.zone)};
    struct api_taint taint = {.key = str_z(s.taint_key), .effect = str_z(s.taint_effect)};
    if (s.taint_key) {
        n.spec.taints = &taint;
        n.spec.n_taints = 1;
    }
    return sched_core_node_set(f->c, &n);
}

/* A pod of labels app=APP asking for this much. */
static struct api_pod *pod(struct fx *f, const char *app, int64_t cpu_milli, int64_t memory)
{
    struct api_pod *p = ARENA_NEW(&f->a, struct api_pod);
    struct api_container *c = ARENA_NEW(&f->a, struct api_container);
    struct kv_quantity *q = ARENA_NEW_N(&f->a, struct kv_quantity, 2);
    struct kv_str *l = ARENA_NEW(&f->a, struct kv_str);
    *l = (struct kv_str){STR("app"), str_z(app)};
    p->metadata.namespace = STR("default");
    p->metadata.labels = l;
    p->metadata.n_labels = 1;
    if (cpu_milli)
        q[c->resources.n_requests++] =
            (struct kv_quantity){STR("cpu"), quantity_from_milli(cpu_milli)};
    if (memory)
        q[c->resources.n_requests++] =
            (struct kv_quantity){STR("memory"), quantity_from(memory, QUANTITY_BINARY_SI)};
    c->resources.requests = q;
    p->spec.containers = c;
    p->spec.n_containers = 1;
    return p;
}

static struct sched_pod *put(struct fx *f, const struct api_pod *p, const char *where)
{
    struct sched_pod *s = sched_pod_new(f->c, p);
    sched_core_place(f->c, s, str_z(where));
    return s;
}

static void picks(struct fx *f, const struct api_pod *p, const char *want)
{
    struct sched_pod *s = sched_pod_new(f->c, p);
    assert_str(sched_core_pick(f->c, s), want ? want : "");
    sched_pod_free(s);
}

static void explains(struct fx *f, const struct api_pod *p, const char *want)
{
    struct sched_pod *s = sched_pod_new(f->c, p);
    assert_str(sched_core_pick(f->c, s), "");
    assert_str(sched_core_explain(f->c, s, &f->a), want);
    sched_pod_free(s);
}

static void test_resources(void **state)
{
    struct fx *f = *state;
    explains(f, pod(f, "a", 1, 1), "no nodes available to schedule pods");
    node(f, (struct node_spec){.name = "small", .cpu_milli = 1000, .memory = 1 * GI});
    node(f, (struct node_spec){.name = "big", .cpu_milli = 8000, .memory = 16 * GI});
    picks(f, pod(f, "a", 500, GI / 2), "big");
    struct sched_pod *full = put(f, pod(f, "b", 7500, 15 * GI), "big");
    picks(f, pod(f, "a", 500, GI / 2), "small");
    picks(f, pod(f, "a", 1000, GI), "small"); /* exactly fits */
    explains(f, pod(f, "a", 1001, GI), "0/2 nodes are available: 2 Insufficient cpu.");
    explains(f, pod(f, "a", 600, 2 * GI),
             "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.");
    sched_core_unplace(full);
    picks(f, pod(f, "a", 600, 2 * GI), "big");
    sched_pod_free(full);
}

/* A resized pod takes the most of what it asks for, was given and runs with. */
static void test_resized(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "n1", .cpu_milli = 4000});
    struct api_pod *p = pod(f, "a", 1000, GI);
    struct sched_pod *s = put(f, p, "n1");
    struct kv_quantity more = {STR("cpu"), quantity_from_milli(3000)};
    struct api_resource_requirements in_force = {.requests = &more, .n_requests = 1};
    struct api_container_status cs = {.resources = &in_force};
    assert_true(sched_pod_asks_same(s, p));
    picks(f, pod(f, "b", 3000, GI), "n1");
    p->status.container_statuses = &cs; /* it still runs with more */
    p->status.n_container_statuses = 1;
    assert_false(sched_pod_asks_same(s, p));
    sched_pod_free(s);
    s = put(f, p, "n1");
    assert_true(sched_pod_asks_same(s, p));
    explains(f, pod(f, "b", 3000, GI), "0/1 nodes are available: 1 Insufficient cpu.");
    picks(f, pod(f, "b", 1000, GI), "n1");
    more.value = quantity_from_milli(1000);
    p->spec.containers[0].resources.requests[0].value = quantity_from_milli(8000);
    struct api_pod_condition never = {.type = STR("PodResizePending"), .reason = STR("Infeasible")};
    p->status.conditions = &never;
    p->status.n_conditions = 1;
    sched_pod_free(s);
    s = put(f, p, "n1");
    picks(f, pod(f, "b", 3000, GI), "n1"); /* what it cannot have is not taken from others */
    sched_pod_free(s);
}

/* A byte too much is too much, though a float cannot tell. */
static void test_exact(void **state)
{
    struct fx *f = *state;
    int64_t big = INT64_C(1) << 40;
    node(f, (struct node_spec){.name = "n1", .memory = big - 1});
    picks(f, pod(f, "a", 1, big - 1), "n1");
    explains(f, pod(f, "a", 1, big), "0/1 nodes are available: 1 Insufficient memory.");
    node(f, (struct node_spec){.name = "n2", .memory = big});
    picks(f, pod(f, "a", 1, big), "n2");
}

static void test_places(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "n", .pods = 1});
    struct sched_pod *one = put(f, pod(f, "a", 0, 0), "n");
    explains(f, pod(f, "a", 0, 0), "0/1 nodes are available: 1 Too many pods.");
    sched_pod_free(one);
    picks(f, pod(f, "a", 0, 0), "n");
}

static void test_spreads_by_load(void **state)
{
    struct fx *f = *state;
    struct sched_pod *v[9];
    for (int i = 0; i < 3; i++)
        node(f, (struct node_spec){.name = arena_cstr(&f->a, arena_printf(&f->a, "n%d", i))});
    unsigned per[3] = {0};
    for (int i = 0; i < 9; i++) { /* without requests, too */
        v[i] = sched_pod_new(f->c, pod(f, "a", 0, 0));
        struct str n = sched_core_pick(f->c, v[i]);
        per[n.p[1] - '0']++;
        sched_core_place(f->c, v[i], n);
    }
    assert_true(per[0] == 3 && per[1] == 3 && per[2] == 3);
    for (int i = 0; i < 9; i++)
        sched_pod_free(v[i]);
}

static void test_taints(void **state)
{
    struct fx *f = *state;
    node(f,
         (struct node_spec){.name = "n1", .taint_key = "dedicated", .taint_effect = "NoSchedule"});
    node(f, (struct node_spec){.name = "n2", .unschedulable = true});
    struct api_pod *p = pod(f, "a", 1, 1);
    explains(f, p,
             "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: }, 1 node(s) "
             "were unschedulable.");
    struct api_toleration t = {.key = STR("dedicated"), .operator= STR("Exists")};
    p->spec.tolerations = &t;
    p->spec.n_tolerations = 1;
    picks(f, p, "n1");
    t = (struct api_toleration){.operator= STR("Exists"), .effect = STR("NoExecute")};
    explains(f, p,
             "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: }, 1 node(s) "
             "were unschedulable.");
    node(f, (struct node_spec){.name = "n2"}); /* uncordon */
    picks(f, p, "n2");
    node(f, (struct node_spec){.name = "n2", .taint_key = "x", .taint_effect = "PreferNoSchedule"});
    node(f, (struct node_spec){.name = "n3", .cpu_milli = 300});
    picks(f, p, "n3"); /* fuller, but preferred */
}

static void test_selector_and_affinity(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "n1", .disk = "ssd"});
    node(f, (struct node_spec){.name = "n2", .disk = "hdd"});
    struct api_pod *p = pod(f, "a", 1, 1);
    struct kv_str want = {STR("disk"), STR("hdd")};
    p->spec.node_selector = &want;
    p->spec.n_node_selector = 1;
    picks(f, p, "n2");
    want.value = STR("tape");
    explains(f, p, "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
    p->spec.n_node_selector = 0;
    struct str ssd = STR("ssd"), n2 = STR("n2");
    struct api_node_selector_requirement e = {
        .key = STR("disk"), .operator= STR("NotIn"), .values = &ssd, .n_values = 1};
    struct api_node_selector_requirement field = {
        .key = STR("metadata.name"), .operator= STR("In"), .values = &n2, .n_values = 1};
    struct api_node_selector_term terms[] = {{.match_expressions = &e, .n_match_expressions = 1},
                                             {0}};
    struct api_node_selector sel = {.node_selector_terms = terms, .n_node_selector_terms = 2};
    struct api_node_affinity na = {.required_during_scheduling_ignored_during_execution = &sel};
    struct api_affinity af = {.node_affinity = &na};
    p->spec.affinity = &af;
    picks(f, p, "n2");
    terms[0] = (struct api_node_selector_term){.match_fields = &field, .n_match_fields = 1};
    picks(f, p, "n2");
    terms[0] = (struct api_node_selector_term){0}; /* empty terms match nothing */
    picks(f, p, NULL);
    na.required_during_scheduling_ignored_during_execution = NULL;
    e.operator= STR("In");
    struct api_preferred_scheduling_term pref = {
        .weight = 10, .preference = {.match_expressions = &e, .n_match_expressions = 1}};
    na.preferred_during_scheduling_ignored_during_execution = &pref;
    na.n_preferred_during_scheduling_ignored_during_execution = 1;
    picks(f, p, "n1");
}

static void test_ports_and_extras(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "n"});
    struct api_pod *p = pod(f, "a", 1, 0);
    struct api_container_port port = {
        .host_port = 80, .container_port = 80, .protocol = STR("TCP")};
    p->spec.containers[0].ports = &port;
    p->spec.containers[0].n_ports = 1;
    struct sched_pod *one = put(f, p, "n");
    explains(
        f, p,
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
    port.protocol = STR("UDP");
    picks(f, p, "n");
    p->spec.containers[0].n_ports = 0;
    p->spec.containers[0].resources.requests[1] =
        (struct kv_quantity){STR("example.com/gpu"), quantity_from(1, QUANTITY_DECIMAL_SI)};
    p->spec.containers[0].resources.n_requests = 2;
    struct sched_pod *two = put(f, p, "n");
    explains(f, p, "0/1 nodes are available: 1 Insufficient example.com/gpu.");
    sched_pod_free(two);
    picks(f, p, "n");
    sched_pod_free(one);
}

static void test_init_containers(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "n", .cpu_milli = 1000});
    struct api_pod *p = pod(f, "a", 400, 0);
    struct kv_quantity q[] = {{STR("cpu"), quantity_from_milli(1000)},
                              {STR("cpu"), quantity_from_milli(700)}};
    struct api_container init[] = {{.resources = {.requests = &q[0], .n_requests = 1}},
                                   {.resources = {.requests = &q[1], .n_requests = 1}}};
    p->spec.init_containers = init;
    p->spec.n_init_containers = 2;
    picks(f, p, "n");                       /* one after the other */
    init[1].restart_policy = STR("Always"); /* a sidecar stays: 400 + 700 */
    explains(f, p, "0/1 nodes are available: 1 Insufficient cpu.");
}

static struct api_affinity *with(struct fx *f, const char *app, const char *key, bool anti)
{
    struct api_affinity *af = ARENA_NEW(&f->a, struct api_affinity);
    struct api_pod_affinity_term *t = ARENA_NEW(&f->a, struct api_pod_affinity_term);
    t->label_selector = ARENA_NEW(&f->a, struct api_label_selector);
    t->label_selector->match_labels = ARENA_NEW(&f->a, struct kv_str);
    t->label_selector->match_labels[0] = (struct kv_str){STR("app"), str_z(app)};
    t->label_selector->n_match_labels = 1;
    t->topology_key = str_z(key);
    if (anti) {
        af->pod_anti_affinity = ARENA_NEW(&f->a, struct api_pod_anti_affinity);
        af->pod_anti_affinity->required_during_scheduling_ignored_during_execution = t;
        af->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution = 1;
    } else {
        af->pod_affinity = ARENA_NEW(&f->a, struct api_pod_affinity);
        af->pod_affinity->required_during_scheduling_ignored_during_execution = t;
        af->pod_affinity->n_required_during_scheduling_ignored_during_execution = 1;
    }
    return af;
}

static void test_pod_affinity(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "a1", .zone = "a"});
    node(f, (struct node_spec){.name = "a2", .zone = "a"});
    node(f, (struct node_spec){.name = "b1", .zone = "b"});
    struct sched_pod *db = put(f, pod(f, "db", 2000, GI), "b1");
    struct api_pod *near = pod(f, "web", 1, 1);
    near->spec.affinity = with(f, "db", "zone", false);
    picks(f, near, "b1");
    struct api_pod *far = pod(f, "web", 1, 1);
    far->spec.affinity = with(f, "db", "zone", true);
    struct sched_pod *s = sched_pod_new(f->c, far);
    assert_true(str_starts(sched_core_pick(f->c, s), STR("a")));
    sched_pod_free(s);
    /* Existing anti-affinity keeps others away. */
    struct api_pod *shy = pod(f, "shy", 1, 1);
    shy->spec.affinity = with(f, "web", "zone", true);
    struct sched_pod *shy1 = put(f, shy, "a1");
    picks(f, pod(f, "web", 1, 1), "b1");
    struct sched_pod *shy2 = put(f, shy, "b1");
    explains(
        f, pod(f, "web", 1, 1),
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.");
    sched_pod_free(shy1);
    sched_pod_free(shy2);
    /* The label goes from the node: so does the domain. */
    node(f, (struct node_spec){.name = "b1"});
    explains(f, near, "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    sched_pod_free(db);
    /* The first of a group that keeps together may go anywhere. */
    struct api_pod *group = pod(f, "g", 1, 1);
    group->spec.affinity = with(f, "g", "zone", false);
    s = sched_pod_new(f->c, group);
    struct str first = sched_core_pick(f->c, s);
    assert_true(str_starts(first, STR("a")));
    sched_core_place(f->c, s, STR("a2"));
    struct sched_pod *second = sched_pod_new(f->c, group);
    assert_true(str_starts(sched_core_pick(f->c, second), STR("a")));
    sched_pod_free(second);
    sched_pod_free(s);
    /* One on each host. */
    struct api_pod *one_each = pod(f, "each", 1, 1);
    one_each->spec.affinity = with(f, "each", "kubernetes.io/hostname", true);
    struct sched_pod *v[3];
    for (int i = 0; i < 3; i++) {
        v[i] = sched_pod_new(f->c, one_each);
        sched_core_place(f->c, v[i], sched_core_pick(f->c, v[i]));
    }
    explains(f, one_each,
             "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
    for (int i = 0; i < 3; i++)
        sched_pod_free(v[i]);
}

static void test_spread(void **state)
{
    struct fx *f = *state;
    node(f, (struct node_spec){.name = "a1", .zone = "a"});
    node(f, (struct node_spec){.name = "a2", .zone = "a"});
    node(f, (struct node_spec){.name = "b1", .zone = "b", .cpu_milli = 500});
    struct api_pod *p = pod(f, "web", 100, 1);
    struct api_label_selector sel = {.match_labels = p->metadata.labels, .n_match_labels = 1};
    struct api_topology_spread_constraint c = {.max_skew = 1,
                                               .topology_key = STR("zone"),
                                               .when_unsatisfiable = STR("DoNotSchedule"),
                                               .label_selector = &sel};
    p->spec.topology_spread_constraints = &c;
    p->spec.n_topology_spread_constraints = 1;
    struct sched_pod *v[6];
    unsigned in_b = 0;
    for (int i = 0; i < 6; i++) {
        v[i] = sched_pod_new(f->c, p);
        struct str n = sched_core_pick(f->c, v[i]);
        assert_true(n.n > 0);
        in_b += str_is(n, "b1");
        sched_core_place(f->c, v[i], n);
    }
    assert_int_equal(in_b, 3);
    node(f, (struct node_spec){.name = "c1", .zone = "c", .unschedulable = true});
    explains(f, p,
             "0/4 nodes are available: 1 node(s) were unschedulable, 3 node(s) didn't match pod "
             "topology spread "
             "constraints.");
    c.when_unsatisfiable = STR("ScheduleAnyway");
    struct sched_pod *s = sched_pod_new(f->c, p);
    assert_true(sched_core_pick(f->c, s).n > 0);
    sched_pod_free(s);
    for (int i = 0; i < 6; i++)
        sched_pod_free(v[i]);
}

/* Twenty thousand terms and host ports in one pod: placed, asked about, gone. */
static void test_many_of_each(void **state)
{
    struct fx *f = *state;
    uint32_t n = 20000;
    node(f, (struct node_spec){"a", .cpu_milli = 4000, .memory = GI, .pods = 10});
    node(f, (struct node_spec){"b", .cpu_milli = 4000, .memory = GI, .pods = 10});
    struct api_pod *p = pod(f, "many", 100, 0), *q = pod(f, "many", 100, 0);
    struct api_pod_anti_affinity *anti = ARENA_NEW(&f->a, struct api_pod_anti_affinity);
    struct api_pod_affinity_term *t = ARENA_NEW_N(&f->a, struct api_pod_affinity_term, n);
    struct api_container_port *v = ARENA_NEW_N(&f->a, struct api_container_port, n);
    struct api_container_port *w = ARENA_NEW_N(&f->a, struct api_container_port, n);
    p->spec.affinity = ARENA_NEW(&f->a, struct api_affinity);
    p->spec.affinity->pod_anti_affinity = anti;
    anti->required_during_scheduling_ignored_during_execution = t;
    anti->n_required_during_scheduling_ignored_during_execution = n;
    for (uint32_t i = 0; i < n; i++) {
        t[i].topology_key = arena_printf(&f->a, "zone-%u", i);
        t[i].label_selector = ARENA_NEW(&f->a, struct api_label_selector);
        v[i] = (struct api_container_port){.host_port = (int32_t)(2 * i + 1)};
        w[n - 1 - i] = (struct api_container_port){.host_port = (int32_t)(2 * i + 2)};
    }
    p->spec.containers->ports = v;
    q->spec.containers->ports = w;
    p->spec.containers->n_ports = q->spec.containers->n_ports = n;
    for (int round = 0; round < 2; round++) {
        struct sched_pod *one = put(f, p, "a");
        struct sched_pod *full = put(f, pod(f, "other", 3000, 0), "b");
        int32_t was = w[7].host_port;
        picks(f, q, "a");
        w[7].host_port = 1; /* one of all is taken there */
        picks(f, q, "b");
        w[7].host_port = was;
        sched_pod_free(one);
        sched_pod_free(full);
    }
}

static void test_nodes_come_and_go(void **state)
{
    struct fx *f = *state;
    struct sched_pod *early =
        put(f, pod(f, "a", 3000, GI), "later"); /* bound before its node is known */
    explains(f, pod(f, "a", 1, 1), "no nodes available to schedule pods");
    assert_true(node(f, (struct node_spec){.name = "later", .cpu_milli = 4000}));
    assert_false(node(f, (struct node_spec){.name = "later", .cpu_milli = 4000})); /* nothing new */
    explains(f, pod(f, "a", 1500, 1), "0/1 nodes are available: 1 Insufficient cpu.");
    sched_core_node_remove(f->c, STR("later"));
    assert_int_equal(sched_core_node_count(f->c), 0);
    picks(f, pod(f, "a", 1, 1), NULL);
    node(f, (struct node_spec){.name = "later", .cpu_milli = 4000});
    explains(f, pod(f, "a", 1500, 1), "0/1 nodes are available: 1 Insufficient cpu.");
    for (int i = 0; i < 200; i++) /* arrays grow, classes too */
        node(f, (struct node_spec){.name = arena_cstr(&f->a, arena_printf(&f->a, "x%d", i)),
                                   .cpu_milli = 1000});
    sched_core_node_remove(f->c, STR("x100"));
    node(f, (struct node_spec){.name = "fat", .cpu_milli = 64000, .memory = 64 * GI});
    picks(f, pod(f, "a", 1500, 1), "fat");
    sched_pod_free(early);
}

static void test_queue(void **state)
{
    struct sched_queue q;
    struct sched_item low, high, old;
    sched_queue_init(&q);
    sched_item_init(&low);
    sched_item_init(&high);
    sched_item_init(&old);
    high.priority = 10;
    sched_queue_add(&q, &old);
    sched_queue_add(&q, &low);
    sched_queue_add(&q, &high);
    assert_ptr_equal(sched_queue_pop(&q), &high);
    assert_ptr_equal(sched_queue_pop(&q), &old);
    assert_ptr_equal(sched_queue_pop(&q), &low);
    assert_null(sched_queue_pop(&q));
    nsec_t now = 100 * NSEC_PER_SEC;
    sched_queue_fail(&q, &low, now, false);
    assert_null(sched_queue_pop(&q));
    sched_queue_move_all(&q, now); /* still backing off: one second */
    assert_null(sched_queue_pop(&q));
    assert_int_equal(sched_queue_tick(&q, now), now + NSEC_PER_SEC);
    (void)sched_queue_tick(&q, now + NSEC_PER_SEC);
    assert_ptr_equal(sched_queue_pop(&q), &low);
    for (int i = 0; i < 20; i++)
        sched_queue_fail(&q, &low, now, true);
    assert_int_equal(sched_queue_tick(&q, now), now + SCHED_BACKOFF_MAX);
    sched_queue_fail(&q, &high, now, false);
    (void)sched_queue_tick(&q, now + SCHED_UNSCHED_MAX); /* nothing has changed, but who knows */
    assert_ptr_equal(sched_queue_pop(&q), &high);
    sched_queue_remove(&q, &low);
    sched_queue_remove(&q, &low);
    sched_queue_fini(&q);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_resources),
        T(test_resized),
        T(test_exact),
        T(test_places),
        T(test_spreads_by_load),
        T(test_taints),
        T(test_selector_and_affinity),
        T(test_ports_and_extras),
        T(test_init_containers),
        T(test_pod_affinity),
        T(test_spread),
        T(test_many_of_each),
        T(test_nodes_come_and_go),
        cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
