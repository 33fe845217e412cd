/* Fair queueing and the table of who belongs where. */
#include "apiserver/flow/fair.h"
#include "apiserver/flow/flow.h"
#include "base/mem.h"
#include "test.h"

static const struct fair_level_opts plain = {
    .queues = true, .shares = 1, .borrow_limit_pct = -1, .flow_max = 10, .waiting_max = 100};

static bool enter(struct fair *f, unsigned level, const char *flow, unsigned seats,
                  struct fair_item *it)
{
    return fair_try(f, level, seats, 0, it) || fair_wait(f, str_z(flow), it);
}

static void seats_are_kept(void **state)
{
    struct fair *f = fair_new(4);
    struct fair_item it[8] = {0};
    (void)state;
    fair_level_set(f, 0, &plain);
    for (size_t i = 0; i < 8; i++) {
        assert_true(enter(f, 0, "a", 1, &it[i]));
        assert_int_equal(it[i].state, i < 4 ? FAIR_RUNNING : FAIR_WAITING);
    }
    assert_null(fair_next(f));
    assert_int_equal(fair_waiting(f), 4);
    fair_done(f, &it[1]);
    assert_ptr_equal(fair_next(f), &it[4]); /* in order */
    assert_null(fair_next(f));
    fair_cancel(f, &it[5]);
    fair_cancel(f, &it[5]);
    fair_done(f, &it[4]);
    assert_ptr_equal(fair_next(f), &it[6]);
    struct fair_level_state st = fair_level_state(f, 0);
    assert_int_equal(st.nominal, 4);
    assert_int_equal(st.seats_used, 4);
    assert_int_equal(st.running, 4);
    assert_int_equal(st.waiting, 1);
    /* one waits: nobody overtakes it, though there is room */
    fair_done(f, &it[6]);
    struct fair_item late = {0};
    assert_false(fair_try(f, 0, 1, 0, &late));
    assert_ptr_equal(fair_next(f), &it[7]);
    assert_int_equal(fair_waiting(f), 0);
    fair_free(f);
}

/* Who asks a hundred times waits for himself: others get every second seat. */
static void flows_take_turns(void **state)
{
    struct fair *f = fair_new(1);
    struct fair_item first = {0}, many[10] = {0}, few[3] = {0}, *it;
    const struct fair_item *want[] = {&many[0], &few[0], &many[1], &few[1],
                                      &many[2], &few[2], &many[3], &many[4]};
    (void)state;
    fair_level_set(f, 0, &plain);
    assert_true(enter(f, 0, "a", 1, &first));
    for (size_t i = 0; i < 10; i++)
        assert_true(enter(f, 0, "many", 1, &many[i]));
    assert_true(enter(f, 0, "few", 1, &few[0]));
    fair_done(f, &first);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        it = fair_next(f);
        assert_ptr_equal(it, want[i]);
        if (i == 1) /* comes again at once: it had its turn */
            assert_true(enter(f, 0, "few", 1, &few[1]));
        if (i == 3)
            assert_true(enter(f, 0, "few", 1, &few[2]));
        fair_done(f, it);
    }
    for (size_t i = 5; i < 10; i++)
        fair_cancel(f, &many[i]);
    assert_int_equal(fair_waiting(f), 0);
    fair_free(f);
}

/* A flow of wide calls gets as many seats as one of narrow calls, not as many calls. */
static void width_counts(void **state)
{
    struct fair *f = fair_new(10);
    struct fair_level_opts o = plain;
    struct fair_item hold = {0}, wide[20] = {0}, narrow[60] = {0}, *it;
    unsigned n_wide = 0, n_narrow = 0;
    (void)state;
    o.flow_max = 100;
    fair_level_set(f, 0, &o);
    assert_true(enter(f, 0, "x", 10, &hold));
    for (size_t i = 0; i < 20; i++)
        assert_true(enter(f, 0, "wide", 10, &wide[i]));
    for (size_t i = 0; i < 60; i++)
        assert_true(enter(f, 0, "narrow", 1, &narrow[i]));
    fair_done(f, &hold);
    for (unsigned i = 0; i < 44; i++) {
        it = fair_next(f);
        assert_non_null(it);
        n_wide += it->seats == 10;
        n_narrow += it->seats == 1;
        fair_done(f, it);
    }
    assert_int_equal(n_wide, 4);
    assert_int_equal(n_narrow, 40);
    while ((it = fair_next(f)))
        fair_done(f, it);
    /* wider than its level: cut to it, and run when nothing else does */
    struct fair_item huge = {0};
    assert_true(fair_try(f, 0, 1000, 0, &huge));
    assert_int_equal(huge.seats, 10);
    fair_done(f, &huge);
    fair_free(f);
}

static void queues_are_bounded(void **state)
{
    struct fair *f = fair_new(1);
    struct fair_level_opts o = plain, none = plain;
    struct fair_item it[30] = {0};
    size_t n = 0;
    char name[8];
    (void)state;
    o.flow_max = 3;
    o.waiting_max = 5;
    none.queues = false;
    fair_level_set(f, 0, &o);
    assert_true(enter(f, 0, "a", 1, &it[n++]));
    for (int i = 0; i < 3; i++)
        assert_true(enter(f, 0, "a", 1, &it[n++]));
    assert_false(enter(f, 0, "a", 1, &it[n])); /* three of one flow */
    for (int i = 0; i < 7; i++) {              /* few of many flows: up to twice the limit */
        snprintf(name, sizeof(name), "f%d", i);
        assert_true(enter(f, 0, name, 1, &it[n++]));
    }
    assert_false(enter(f, 0, "z", 1, &it[n]));
    while (n > 0) {
        n--;
        fair_cancel(f, &it[n]);
        fair_done(f, &it[n]);
    }
    assert_int_equal(fair_waiting(f), 0);
    fair_level_set(f, 0, &none);
    assert_true(enter(f, 0, "a", 1, &it[0]));
    assert_false(enter(f, 0, "a", 1, &it[1]));
    fair_done(f, &it[0]);
    fair_free(f);
}

/* A level has its own, whatever others do; more only of what these lend. */
static void levels_have_their_own(void **state)
{
    struct fair *f = fair_new(20);
    struct fair_level_opts lends = plain, keeps = plain, exempt = {.exempt = true};
    struct fair_item a[40] = {0}, b[40] = {0}, e[3] = {0}, *it;
    unsigned run = 0;
    (void)state;
    lends.lendable_pct = 50;
    lends.flow_max = keeps.flow_max = 100;
    fair_level_set(f, 0, &lends);
    fair_level_set(f, 1, &keeps);
    fair_level_set(f, 2, &exempt);
    assert_int_equal(fair_level_state(f, 0).nominal, 10);
    for (size_t i = 0; i < 30; i++) {
        assert_true(enter(f, 1, "b", 1, &b[i]));
        run += b[i].state == FAIR_RUNNING;
    }
    assert_int_equal(run, 15); /* ten of its own, five borrowed */
    for (size_t i = 0; i < 10; i++) {
        assert_true(enter(f, 0, "a", 1, &a[i]));
        assert_int_equal(a[i].state, FAIR_RUNNING); /* the owner's, at once */
    }
    assert_true(enter(f, 0, "a", 1, &a[10]));
    assert_int_equal(a[10].state, FAIR_WAITING); /* level 1 lends nothing */
    for (size_t i = 0; i < 3; i++) {
        assert_true(enter(f, 2, "", 0, &e[i]));
        assert_int_equal(e[i].state, FAIR_RUNNING);
    }
    for (size_t i = 0; i < 5; i++) /* the borrowed seats go back */
        fair_done(f, &b[i]);
    assert_null(fair_next(f));
    fair_done(f, &b[5]);
    assert_ptr_equal(fair_next(f), &b[15]);
    fair_done(f, &a[0]);
    it = fair_next(f);
    assert_ptr_equal(it, &a[10]);
    /* a limit on borrowing */
    lends.borrow_limit_pct = 0;
    fair_level_set(f, 1, &lends);
    for (size_t i = 6; i < 30; i++) {
        fair_cancel(f, &b[i]);
        fair_done(f, &b[i]);
    }
    for (size_t i = 1; i <= 10; i++)
        fair_done(f, &a[i]);
    memset(b, 0, sizeof(b));
    run = 0;
    for (size_t i = 0; i < 30; i++) {
        assert_true(enter(f, 1, "b", 1, &b[i]));
        run += b[i].state == FAIR_RUNNING;
    }
    assert_int_equal(run, 10);
    fair_free(f); /* those who wait are forgotten */
}

static void who_waits_too_long_is_found(void **state)
{
    struct fair *f = fair_new(1);
    struct fair_item it[4] = {0};
    (void)state;
    fair_level_set(f, 0, &plain);
    fair_level_set(f, 1, &plain);
    for (int i = 0; i < 4; i++) {
        bool now = fair_try(f, 0, 1, i * 100, &it[i]);
        assert_int_equal(now, i == 0);
        if (!now)
            assert_true(fair_wait(f, i == 2 ? STR("b") : STR("a"), &it[i]));
    }
    assert_null(fair_overdue(f, 100));
    assert_ptr_equal(fair_overdue(f, 101), &it[1]);
    assert_null(fair_overdue(f, 101));
    assert_ptr_equal(fair_overdue(f, 250), &it[2]);
    assert_int_equal(fair_waiting(f), 1);
    fair_done(f, &it[0]);
    assert_ptr_equal(fair_next(f), &it[3]);
    fair_done(f, &it[3]);
    fair_free(f);
}

/* ---- the table ---- */

/* No shares: only what is borrowed; who waits is let in when there are some. */
static void no_shares_is_a_jail(void **state)
{
    struct fair *f = fair_new(10);
    struct fair_level_opts none = plain, lends = plain;
    struct fair_item it[3] = {0};
    (void)state;
    none.shares = 0;
    none.borrow_limit_pct = 0;
    none.waiting_max = none.hard_max = 2;
    lends.lendable_pct = 50;
    fair_level_set(f, 0, &none);
    fair_level_set(f, 1, &lends);
    assert_true(enter(f, 0, "a", 1, &it[0]));
    assert_true(enter(f, 0, "b", 1, &it[1]));
    assert_false(enter(f, 0, "c", 1, &it[2])); /* hard_max */
    assert_int_equal(it[0].state, FAIR_WAITING);
    assert_null(fair_next(f));
    none.borrow_limit_pct = -1; /* it may borrow */
    fair_level_set(f, 0, &none);
    assert_ptr_equal(fair_next(f), &it[0]);
    none.shares = 1; /* it has its own */
    none.borrow_limit_pct = 0;
    fair_level_set(f, 0, &none);
    assert_ptr_equal(fair_next(f), &it[1]);
    assert_int_equal(fair_level_state(f, 0).nominal, 5);
    fair_free(f);
}

static void count_place(void *arg, const struct fair_place *p, const struct fair_item *it)
{
    unsigned *n = arg;
    assert_int_equal(it->state, FAIR_WAITING);
    assert_true(p->place < p->n);
    n[p->queue] += 1 + p->place * 10;
}

static void who_waits_can_be_told(void **state)
{
    struct fair *f = fair_new(1);
    struct fair_item it[5] = {0};
    const char *flows[] = {"a", "a", "b", "a", "a"};
    unsigned n[3] = {0};
    (void)state;
    fair_level_set(f, 0, &plain);
    for (size_t i = 0; i < 5; i++)
        assert_true(enter(f, 0, flows[i], 1, &it[i]));
    fair_each_waiting(f, 0, count_place, n);
    assert_int_equal(n[0] + n[1], 33 + 1); /* three of a, one of b */
    assert_int_equal(n[2], 0);
    fair_each_waiting(f, 7, count_place, n);
    assert_int_equal(fair_level_state(f, 0).flows, 2);
    fair_free(f);
}

/* ---- objects ---- */

static struct api_flow_schema schema(const char *name, const char *level, int32_t precedence)
{
    static struct api_user_subject anybody = {{"*", 1}};
    static struct api_flow_subject who = {.kind = {"User", 4}, .user = &anybody};
    static struct str star = {"*", 1};
    static struct api_non_resource_policy_rule paths = {&star, 1, &star, 1};
    static struct api_policy_rules_with_subjects rule = {
        .subjects = &who, .n_subjects = 1, .non_resource_rules = &paths, .n_non_resource_rules = 1};
    return (struct api_flow_schema){.metadata = {.name = str_z(name), .uid = str_z(name)},
                                    .spec = {.priority_level_configuration = {str_z(level)},
                                             .matching_precedence = precedence,
                                             .rules = &rule,
                                             .n_rules = 1}};
}

static void tables_are_made_of_objects(void **state)
{
    struct api_queuing_configuration q = {.queues = 2, .hand_size = 1, .queue_length_limit = 7};
    struct api_limited_priority_level_configuration limited = {
        .has_nominal_concurrency_shares = true,
        .has_lendable_percent = true,
        .lendable_percent = 20,
        .has_borrowing_limit_percent = true,
        .borrowing_limit_percent = 40,
        .limit_response = {STR("Queue"), &q}};
    struct api_priority_level_configuration level = {
        .metadata = {.name = STR("mine"), .uid = STR("u")},
        .spec = {.type = STR("Limited"), .limited = &limited}};
    struct api_flow_schema late = schema("late", "mine", 9), early = schema("early", "mine", 8),
                           lost = schema("lost", "nowhere", 1), last = schema("zz", "mine", 10000);
    const struct api_flow_schema *schemas[] = {&late, &last, &lost, &early};
    const struct api_priority_level_configuration *levels[] = {&level};
    struct flow_objects o = {levels, schemas, 1, 4};
    struct api_user u = {.name = STR("joe")};
    struct flow_digest d = {.user = &u, .verb = STR("get"), .path = STR("/x")};
    (void)state;
    struct flow_table *t = flow_table_new(&o, NULL), *next;
    assert_int_equal(t->n_levels, 3); /* with the mandatory ones */
    assert_int_equal(t->n_schemas, 5);
    assert_str(t->schemas[4].name, "catch-all"); /* whatever else has its precedence */
    struct flow_schema *s = &t->schemas[flow_classify(t, &d)];
    assert_str(s->name, "early");
    const struct fair_level_opts *l = &t->levels[s->level].opts;
    assert_true(l->queues && !l->exempt);
    assert_int_equal(l->shares, 0);
    assert_int_equal(l->lendable_pct, 20);
    assert_int_equal(l->borrow_limit_pct, 40);
    assert_int_equal(l->flow_max, 7);
    assert_int_equal(l->waiting_max, 14);
    assert_int_equal(l->hard_max, 14);
    /* what was counted goes on in the next table, while the schema has its level */
    s->counts->dispatched = 5;
    o.n_schemas = 3;
    next = flow_table_new(&o, t);
    flow_table_unref(t);
    assert_str(next->schemas[flow_classify(next, &d)].name, "late");
    t = next;
    o.n_schemas = 4;
    next = flow_table_new(&o, t);
    assert_ptr_not_equal(next->schemas[1].counts, NULL);
    assert_str(next->schemas[1].name, "early");
    assert_int_equal(next->schemas[1].counts->dispatched, 0); /* it was away */
    assert_ptr_equal(next->schemas[2].counts, t->schemas[1].counts);
    assert_int_equal(next->schemas[2].counts->refs, 2);
    flow_table_unref(t);
    assert_int_equal(next->schemas[2].counts->refs, 1);
    flow_table_unref(next);
}

static void requests_are_classified(void **state)
{
    static const struct {
        const char *user, *groups, *verb, *group, *resource, *sub, *ns, *path;
        const char *schema, *level, *flow;
    } rows[] = {
        {"admin", "system:masters,system:authenticated", "list", "", "pods", "", "", NULL, "exempt",
         "exempt", ""},
        {"system:anonymous", "system:unauthenticated", "get", NULL, NULL, NULL, NULL, "/livez",
         "probes", "exempt", ""},
        {"system:anonymous", "system:unauthenticated", "get", NULL, NULL, NULL, NULL, "/version",
         "global-default", "global-default", "system:anonymous"},
        {"system:node:n1", "system:nodes,system:authenticated", "update", "coordination.k8s.io",
         "leases", "", "kube-node-lease", NULL, "system-node-high", "node-high", "system:node:n1"},
        {"system:node:n1", "system:nodes,system:authenticated", "patch", "", "nodes", "status", "",
         NULL, "system-node-high", "node-high", "system:node:n1"},
        {"system:node:n1", "system:nodes,system:authenticated", "patch", "", "pods", "status", "a",
         NULL, "system-nodes", "system", "system:node:n1"},
        {"system:node:n1", "system:nodes,system:authenticated", "list", "", "services", "", "",
         NULL, "system-nodes", "system", "system:node:n1"},
        {"system:kube-scheduler", "system:authenticated", "update", "coordination.k8s.io", "leases",
         "", "kube-system", NULL, "system-leader-election", "leader-election",
         "system:kube-scheduler"},
        {"system:kube-scheduler", "system:authenticated", "list", "", "pods", "", "a", NULL,
         "kube-scheduler", "workload-high", "a"},
        {"system:serviceaccount:kube-system:x", "system:serviceaccounts,system:authenticated",
         "list", "apps", "deployments", "", "b", NULL, "kube-system-service-accounts",
         "workload-high", "b"},
        {"system:serviceaccount:kube-system:x", "system:serviceaccounts,system:authenticated",
         "get", "", "configmaps", "", "b", NULL, "workload-leader-election", "leader-election",
         "system:serviceaccount:kube-system:x"},
        {"system:serviceaccount:kube-systemx:x", "system:serviceaccounts,system:authenticated",
         "list", "", "pods", "", "", NULL, "service-accounts", "workload-low",
         "system:serviceaccount:kube-systemx:x"},
        {"bob", "devs,system:authenticated", "create", "", "pods", "exec", "a", NULL,
         "global-default", "global-default", "bob"},
        {"odd", "", "get", "", "pods", "", "a", NULL, "catch-all", "catch-all", "odd"},
    };
    struct flow_table *t = flow_table_new_default();
    (void)state;
    for (unsigned i = 1; i < t->n_schemas; i++)
        assert_true(t->schemas[i - 1].precedence <= t->schemas[i].precedence);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str groups[4], rest = str_z(rows[i].groups);
        struct api_user u = {.name = str_z(rows[i].user), .groups = groups};
        while (str_cut(&rest, ',', &groups[u.n_groups]) || groups[u.n_groups].n)
            u.n_groups++;
        struct flow_digest d = {.user = &u,
                                .verb = str_z(rows[i].verb),
                                .group = str_z(rows[i].group),
                                .resource = str_z(rows[i].resource),
                                .subresource = str_z(rows[i].sub),
                                .ns = str_z(rows[i].ns),
                                .path = str_z(rows[i].path)};
        const struct flow_schema *s = &t->schemas[flow_classify(t, &d)];
        assert_str(s->name, rows[i].schema);
        assert_str(t->levels[s->level].name, rows[i].level);
        assert_str(flow_distinguisher(s, &d), rows[i].flow);
    }
    flow_table_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seats_are_kept),
        cmocka_unit_test(flows_take_turns),
        cmocka_unit_test(width_counts),
        cmocka_unit_test(queues_are_bounded),
        cmocka_unit_test(levels_have_their_own),
        cmocka_unit_test(who_waits_too_long_is_found),
        cmocka_unit_test(no_shares_is_a_jail),
        cmocka_unit_test(who_waits_can_be_told),
        cmocka_unit_test(tables_are_made_of_objects),
        cmocka_unit_test(requests_are_classified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
