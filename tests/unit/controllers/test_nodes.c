/* Zones and rates, taints by condition, and the words of fencing. */
#include "api/fence.h"
#include "controllers/node_taints.h"
#include "controllers/node_ttl.h"
#include "controllers/node_zones.h"
#include "test.h"

#define SEC NSEC_PER_SEC

static struct zones zones_new(void)
{
    return (struct zones){
        .rates = {.normal = 0.1, .secondary = 0.01, .unhealthy = 0.55, .large = 50}};
}

static void fill(struct zones *z, const char *zone, unsigned ready, unsigned down)
{
    for (unsigned i = 0; i < ready + down; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s-%u", zone, i);
        zones_set(z, str_z(name), str_z(zone), i < ready ? NODE_HEALTH_READY : NODE_HEALTH_UNKNOWN,
                  0);
    }
}

static void zone_states(void **state)
{
    static const struct {
        unsigned ready, down;
        enum zone_state want;
        int takes;   /* at once */
        nsec_t wait; /* for the second token; 0: there will be none */
    } rows[] = {
        {9, 1, ZONE_NORMAL, 1, 10 * SEC}, {1, 2, ZONE_NORMAL, 1, 10 * SEC},
        {2, 3, ZONE_PARTIAL, 0, 0},       {3, 3, ZONE_NORMAL, 1, 10 * SEC},
        {22, 28, ZONE_PARTIAL, 0, 0},     {22, 29, ZONE_PARTIAL, 1, 100 * SEC},
        {0, 5, ZONE_FULL, 1, 10 * SEC},   {40, 40, ZONE_NORMAL, 1, 10 * SEC},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct zones z = zones_new();
        nsec_t wait = -1;
        fill(&z, "other", 1, 0); /* somebody lives elsewhere */
        fill(&z, "z", rows[i].ready, rows[i].down);
        if (zones_state(&z, STR("z")) != rows[i].want)
            fail_msg("row %zu: state %d", i, zones_state(&z, STR("z")));
        assert_int_equal(zones_take(&z, STR("z"), SEC, &wait), rows[i].takes);
        assert_int_equal(zones_take(&z, STR("z"), SEC, &wait), 0);
        assert_int_equal(wait, rows[i].wait);
        if (rows[i].wait)
            assert_int_equal(zones_take(&z, STR("z"), SEC + rows[i].wait, &wait), 1);
        zones_fini(&z);
    }
}

/* A rate so small that its next token is beyond what nanoseconds can say. */
static void tiny_rates(void **state)
{
    struct zones z = zones_new();
    nsec_t wait = 0;
    z.rates.normal = 1e-300;
    fill(&z, "z", 2, 1);
    assert_int_equal(zones_take(&z, STR("z"), SEC, &wait), 1);
    assert_int_equal(zones_take(&z, STR("z"), 1000000 * SEC, &wait), 0);
    assert_true(wait > 365 * 86400 * SEC);
    zones_fini(&z);
}

static void all_zones_down(void **state)
{
    struct zones z = zones_new();
    nsec_t wait;
    fill(&z, "a", 0, 2);
    fill(&z, "b", 1, 0);
    assert_false(z.all_down);
    uint64_t epoch = z.epoch;
    zones_set(&z, STR("b-0"), STR("b"), NODE_HEALTH_NOT_READY, SEC);
    assert_true(z.all_down);
    assert_true(z.epoch > epoch);
    assert_int_equal(zones_take(&z, STR("a"), SEC, &wait), 0);
    assert_int_equal(wait, 0);
    zones_set(&z, STR("new"), STR("c"), NODE_HEALTH_NEW, SEC); /* joins: says nothing yet */
    assert_true(z.all_down);
    zones_set(&z, STR("new"), STR("c"), NODE_HEALTH_READY, SEC);
    assert_false(z.all_down);
    assert_int_equal(zones_take(&z, STR("a"), SEC, &wait), 1);
    zones_set(&z, STR("new"), STR("a"), NODE_HEALTH_READY, SEC); /* relabelled into a */
    assert_int_equal(zones_state(&z, STR("a")), ZONE_NORMAL);
    zones_remove(&z, STR("new"), SEC);
    assert_true(z.all_down);
    assert_int_equal(zones_state(&z, STR("a")), ZONE_FULL);
    zones_fini(&z);
}

static void taints_follow_conditions(void **state)
{
    struct arena a = {0};
    struct api_node n = {0};
    struct api_node_condition c[] = {{.type = STR("Ready"), .status = STR("Unknown")},
                                     {.type = STR("DiskPressure"), .status = STR("True")}};
    struct api_taint own = {.key = STR("mine"), .effect = STR("NoSchedule")};
    n.spec.taints = &own;
    n.spec.n_taints = 1;
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_KEEP, 0)); /* has said nothing yet */
    assert_true(node_has_taint(&n, TAINT_NOT_READY, "NoSchedule"));
    assert_false(node_has_taint(&n, TAINT_NOT_READY, "NoExecute"));
    n.status.conditions = c;
    n.status.n_conditions = 2;
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_KEEP, 0));
    assert_true(node_has_taint(&n, TAINT_UNREACHABLE, "NoSchedule"));
    assert_false(node_has_taint(&n, TAINT_UNREACHABLE, "NoExecute"));
    assert_true(node_has_taint(&n, "node.kubernetes.io/disk-pressure", "NoSchedule"));
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_SET, 0));
    assert_true(node_has_taint(&n, TAINT_UNREACHABLE, "NoExecute"));
    assert_false(node_taints_set(&a, &n, TAINT_EVICT_KEEP, 0));
    c[0].status = STR("False"); /* it speaks, and is not well: the taint becomes the other one */
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_KEEP, 0));
    assert_false(node_has_taint(&n, TAINT_UNREACHABLE, "NoExecute"));
    assert_true(node_has_taint(&n, TAINT_NOT_READY, "NoExecute"));
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_DROP, 0));
    assert_false(node_has_taint(&n, TAINT_NOT_READY, "NoExecute"));
    assert_true(node_has_taint(&n, TAINT_NOT_READY, "NoSchedule"));
    c[0].status = STR("True");
    c[1].status = STR("False");
    n.spec.unschedulable = true;
    assert_true(node_taints_set(&a, &n, TAINT_EVICT_KEEP, 0));
    assert_int_equal(n.spec.n_taints, 2);
    assert_str(n.spec.taints[0].key, "mine");
    assert_str(n.spec.taints[1].key, "node.kubernetes.io/unschedulable");
    arena_fini(&a);
}

static void promises(void **state)
{
    static const char *const bad[] = {"",
                                      "deadline=50s",
                                      "kill=5s,deadline=50s",
                                      "deadline=50s,kill=",
                                      "deadline=-1s,kill=5s",
                                      "deadline=0s,kill=5s",
                                      "deadline=99999h,kill=5s"};
    static const int grace_s[] = {3, 10, 40, 600};
    struct arena a = {0};
    struct fence_promise q;
    for (size_t i = 0; i < ARRAY_LEN(grace_s); i++) {
        struct fence_promise p = fence_promise_for(grace_s[i] * SEC);
        assert_ok(fence_promise_parse(fence_promise_print(&a, &p), &q));
        assert_int_equal(p.deadline, q.deadline);
        assert_int_equal(p.kill, q.kill);
        assert_true(p.deadline >= (grace_s[i] + 1) * SEC);
        /* Clocks that differ by two in a hundred, and scheduling. */
        assert_true(fence_takeover_after(&p) > (p.deadline + p.kill) / 50 * 51);
        assert_true(fence_lease_period(grace_s[i] * SEC) * 4 <= grace_s[i] * SEC);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(fence_promise_parse(str_z(bad[i]), &q), -EINVAL);
    arena_fini(&a);
}

static void who_is_fenced(void **state)
{
    static const struct {
        const char *owner, *said;
        bool controls, want;
    } rows[] = {
        {NULL, NULL, false, true},
        {"ReplicaSet", NULL, true, false},
        {"Job", NULL, true, false},
        {"DaemonSet", NULL, true, false},
        {"StatefulSet", NULL, true, true},
        {"ReplicaSet", NULL, false, true},
        {"ReplicaSet", "true", true, true},
        {NULL, "false", false, false},
        {"StatefulSet", "false", true, false},
        {NULL, "maybe", false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_owner_reference owner = {.kind = str_z(rows[i].owner),
                                            .has_controller = rows[i].controls,
                                            .controller = rows[i].controls};
        struct kv_str said = {STR(FENCE_POD_ANNOTATION), str_z(rows[i].said)};
        struct api_pod p = {.metadata = {.owner_references = &owner,
                                         .n_owner_references = rows[i].owner != NULL,
                                         .annotations = &said,
                                         .n_annotations = rows[i].said != NULL}};
        if (fence_applies(&p) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

/* A cluster that grows and shrinks around a boundary stays where it is. */
static void ttl_by_size(void **state)
{
    static const struct {
        size_t nodes;
        unsigned seconds;
    } rows[] = {{1, 0},     {100, 0},   {101, 15},   {95, 15},  {90, 15},    {89, 0},
                {500, 15},  {501, 30},  {450, 30},   {449, 15}, {5000, 300}, {1800, 300},
                {1799, 60}, {2000, 60}, {2001, 300}, {0, 0}};
    unsigned step = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        step = node_ttl_step(step, rows[i].nodes);
        if (node_ttl_seconds(step) != rows[i].seconds)
            fail_msg("%zu nodes: %u s, not %u", rows[i].nodes, node_ttl_seconds(step),
                     rows[i].seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zone_states),    cmocka_unit_test(tiny_rates),
        cmocka_unit_test(all_zones_down), cmocka_unit_test(taints_follow_conditions),
        cmocka_unit_test(ttl_by_size),    cmocka_unit_test(promises),
        cmocka_unit_test(who_is_fenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
