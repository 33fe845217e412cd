/* The plan of disruption budgets. */
#include "controllers/disruption_plan.h"
#include "test.h"

#define SEC INT64_C(1000000)
#define NOW (INT64_C(1767225600) * SEC)

struct fixture {
    struct arena arena;
    struct api_pod_disruption_budget b;
    const struct api_pod *pods[20];
    uint32_t n;
    int32_t replicas; /* of every owner; 0: nobody controls the pods; -1: no scale */
    struct disruption_plan plan;
};

static void add(struct fixture *f, const char *owner, bool ready)
{
    struct api_pod *p = ARENA_NEW(&f->arena, struct api_pod);
    p->metadata.name = arena_printf(&f->arena, "p%u", f->n);
    p->metadata.generate_name = str_z(owner);
    p->status.conditions = ARENA_NEW(&f->arena, struct api_pod_condition);
    p->status.n_conditions = 1;
    p->status.conditions[0] = (struct api_pod_condition){
        .type = STR("Ready"), .status = ready ? STR("True") : STR("False")};
    f->pods[f->n++] = p;
}

static int scale(void *ctx, const struct api_pod *p, struct str *ret_uid, int32_t *ret_replicas,
                 struct str *ret_why)
{
    struct fixture *f = ctx;
    if (f->replicas < 0)
        *ret_why = STR("no scale");
    *ret_uid = p->metadata.generate_name;
    *ret_replicas = f->replicas;
    return f->replicas < 0 ? -EOPNOTSUPP : f->replicas > 0;
}

static const struct api_pod_disruption_budget_status *run(struct fixture *f, usec_t now)
{
    disruption_plan(&f->arena, &f->b, f->pods, f->n, now, scale, f, &f->plan);
    return &f->plan.budget.status;
}

static struct int_or_str amount(const char *text) /* one digit, or a percentage */
{
    if (!text)
        return (struct int_or_str){0};
    return strchr(text, '%') ? int_or_str_str(str_z(text)) : int_or_str_int(text[0] - '0');
}

static void amounts(void **state)
{
    static const struct {
        const char *min, *max; /* NULL: not set */
        int pods, ready, replicas;
        int expected, desired, allowed;
    } rows[] = {
        {"2", NULL, 3, 3, 3, 3, 2, 1},
        {"2", NULL, 3, 2, 3, 3, 2, 0},
        {"2", NULL, 3, 3, 0, 3, 2, 1},   /* bare pods count for a number */
        {"50%", NULL, 3, 3, 3, 3, 2, 1}, /* rounded up */
        {"50%", NULL, 3, 3, 7, 7, 4, 0}, /* of what is wanted, not of what is there */
        {"100%", NULL, 3, 3, 3, 3, 3, 0},
        {"0%", NULL, 3, 3, 3, 3, 0, 3},
        {NULL, "1", 3, 3, 3, 3, 2, 1},
        {NULL, "1", 3, 1, 3, 3, 2, 0},
        {NULL, "34%", 3, 3, 3, 3, 1, 2}, /* rounded up as well */
        {NULL, "9", 3, 3, 3, 3, 0, 3},
        {NULL, "1", 3, 3, 0, 0, 0, 0}, /* bare pods: nothing is expected, nothing allowed */
        {NULL, NULL, 3, 3, 3, 0, 0, 0},
        {"1", NULL, 0, 0, 3, 0, 1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f = {.replicas = rows[i].replicas};
        for (int k = 0; k < rows[i].pods; k++)
            add(&f, "web", k < rows[i].ready);
        f.b.spec.min_available = amount(rows[i].min);
        f.b.spec.max_unavailable = amount(rows[i].max);
        const struct api_pod_disruption_budget_status *st = run(&f, NOW);
        if (st->expected_pods != rows[i].expected || st->desired_healthy != rows[i].desired ||
            st->disruptions_allowed != rows[i].allowed)
            fail_msg("row %zu: expected %d desired %d allowed %d", i, st->expected_pods,
                     st->desired_healthy, st->disruptions_allowed);
        assert_int_equal(st->current_healthy, rows[i].ready);
        assert_str(pdb_condition(&f.plan.budget)->status, rows[i].allowed ? "True" : "False");
        arena_fini(&f.arena);
    }
}

static void several_owners_are_summed_once(void **state)
{
    struct fixture f = {.replicas = 3};
    f.b.spec.max_unavailable = int_or_str_str(STR("50%"));
    add(&f, "web", true);
    add(&f, "web", true);
    add(&f, "api", true);
    assert_int_equal(run(&f, NOW)->expected_pods, 6);
    assert_int_equal(run(&f, NOW)->desired_healthy, 3);
    arena_fini(&f.arena);
}

static void granted_evictions_count_as_gone(void **state)
{
    struct fixture f = {.replicas = 4};
    struct kv_timestamp granted[] = {{STR("p0"), timestamp_of(NOW - 10 * SEC)},
                                     {STR("p1"), timestamp_of(NOW - 130 * SEC)},
                                     {STR("p9"), timestamp_of(NOW)}};
    f.b.spec.max_unavailable = int_or_str_int(2);
    f.b.status.disrupted_pods = granted;
    f.b.status.n_disrupted_pods = 3;
    for (int i = 0; i < 4; i++)
        add(&f, "web", true);
    ((struct api_pod *)(uintptr_t)f.pods[3])->metadata.deletion_timestamp = timestamp_of(NOW);
    const struct api_pod_disruption_budget_status *st = run(&f, NOW);
    assert_int_equal(st->current_healthy, 2); /* neither the granted p0 nor the going p3 */
    assert_int_equal(st->disruptions_allowed, 0);
    assert_int_equal(st->n_disrupted_pods, 1); /* p1 is overdue, p9 is no more */
    assert_str(st->disrupted_pods[0].key, "p0");
    assert_int_equal(f.plan.n_overdue, 1);
    assert_int_equal(f.plan.recheck, NOW + 110 * SEC);
    arena_fini(&f.arena);
}

static void unknown_scale_allows_nothing(void **state)
{
    struct fixture f = {.replicas = -1};
    f.b.spec.max_unavailable = int_or_str_int(1);
    f.b.status.disruptions_allowed = 1;
    add(&f, "job", true);
    assert_int_equal(run(&f, NOW)->disruptions_allowed, 0);
    assert_true(f.plan.failed && f.plan.changed);
    assert_str(pdb_condition(&f.plan.budget)->reason, "SyncFailed");
    assert_str(pdb_condition(&f.plan.budget)->message, "no scale");
    f.b = f.plan.budget;
    run(&f, NOW + SEC);
    assert_false(f.plan.changed); /* the same failure is not written again */
    arena_fini(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts),
        cmocka_unit_test(several_owners_are_summed_once),
        cmocka_unit_test(granted_evictions_count_as_gone),
        cmocka_unit_test(unknown_scale_allows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
