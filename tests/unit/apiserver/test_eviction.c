/* Evictions against disruption budgets. No controller runs here: the test says what the budget's
 * status is, so every answer is the subresource's own. */
#include "api_test.h"

#define PDB KIND_OF(POD_DISRUPTION_BUDGET)

static void make_pod(struct fx *f, const char *name, const char *status)
{
    char *text = xasprintf("{metadata: {name: %s, labels: {app: web}}, spec: {nodeName: n1, "
                           "containers: [{name: c, image: i}]}}",
                           name);
    assert_ok(fx_create(f, KIND_OF(POD), "default", text));
    free(text);
    assert_ok(fx_patch(f, KIND_OF(POD), "default", name, "status", CLIENT_PATCH_STRATEGIC, status));
}

#define READY                                                                                      \
    "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]" \
    "}}"
#define UNREADY "{\"status\":{\"phase\":\"Running\"}}"
#define OVER    "{\"status\":{\"phase\":\"Succeeded\"}}"

/* A budget `name` of app=web whose status says that `allowed` may go. */
static void make_budget(struct fx *f, const char *name, const char *more, int allowed, int healthy,
                        int desired)
{
    char *text = xasprintf("{metadata: {name: %s}, spec: {selector: {matchLabels: {app: web}}%s}}",
                           name, more);
    assert_ok(fx_create(f, PDB, "default", text));
    free(text);
    text = xasprintf("{\"status\":{\"observedGeneration\":1,\"disruptionsAllowed\":%d,"
                     "\"currentHealthy\":%d,\"desiredHealthy\":%d,\"expectedPods\":9}}",
                     allowed, healthy, desired);
    assert_ok(fx_patch(f, PDB, "default", name, "status", CLIENT_PATCH_MERGE, text));
    free(text);
}

static struct client_request eviction(struct fx *f, const char *name, const char *options)
{
    char *text = xasprintf("{metadata: {name: %s}, deleteOptions: {%s}}", name, options);
    void *e = fx_msg(f, &api_eviction_desc, text);
    free(text);
    return (struct client_request){.verb = CLIENT_CREATE,
                                   .kind = KIND_OF(POD),
                                   .ns = STR("default"),
                                   .name = arena_str(&f->arena, str_z(name)),
                                   .subresource = STR("eviction"),
                                   .body_desc = &api_eviction_desc,
                                   .body = e,
                                   .reply_desc = &api_status_desc};
}

static int evict(struct fx *f, const char *name, const char *options)
{
    struct client_request q = eviction(f, name, options);
    (void)fx_call(f, &q);
    return f->r == 0 ? 0 : f->code;
}

static const struct api_pod_disruption_budget *budget(struct fx *f, const char *name)
{
    assert_ok(fx_get(f, PDB, "default", name));
    return OBJECT_MSG(f->object, api_pod_disruption_budget);
}

static bool is_going(struct fx *f, const char *name)
{
    if (fx_get(f, KIND_OF(POD), "default", name) == -ENOENT)
        return true;
    return OBJECT_MSG(f->object, api_pod)->metadata.deletion_timestamp.set;
}

static void takes_what_is_allowed(void **state)
{
    struct fx *f = *state;
    make_pod(f, "a", READY);
    make_pod(f, "b", READY);
    make_budget(f, "web", ", minAvailable: 1", 1, 2, 1);
    assert_int_equal(evict(f, "a", "dryRun: [All]"), 0);
    assert_false(is_going(f, "a"));
    assert_int_equal(budget(f, "web")->status.disruptions_allowed, 1);
    assert_int_equal(evict(f, "a", "preconditions: {uid: other}"), 409);
    assert_int_equal(evict(f, "a", "preconditions: {resourceVersion: '1'}"), 409);
    assert_int_equal(budget(f, "web")->status.disruptions_allowed, 1);
    assert_int_equal(evict(f, "a", "gracePeriodSeconds: 7"), 0);
    assert_true(is_going(f, "a"));
    const struct api_pod *p = OBJECT_MSG(f->object, api_pod);
    assert_int_equal(p->metadata.deletion_grace_period_seconds, 7);
    const struct api_pod_condition *c = &p->status.conditions[p->status.n_conditions - 1];
    assert_str(c->type, "DisruptionTarget");
    assert_str(c->reason, "EvictionByEvictionAPI");
    const struct api_pod_disruption_budget *b = budget(f, "web");
    assert_int_equal(b->status.disruptions_allowed, 0);
    assert_int_equal(b->status.n_disrupted_pods, 1);
    assert_str(b->status.disrupted_pods[0].key, "a");
    assert_str(b->status.conditions[0].reason, "InsufficientPods");
    assert_int_equal(evict(f, "b", ""), 429);
    assert_str(f->text, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_false(is_going(f, "b"));
    assert_int_equal(evict(f, "a", ""), 0); /* it goes already: asked again, nothing is taken */
    assert_int_equal(evict(f, "gone", ""), 404);
}

struct race {
    int granted, refused, other;
};

static void raced(void *arg, const struct client_reply *reply)
{
    struct race *r = arg;
    if (reply->r == 0)
        r->granted++;
    else if (reply->err && reply->err->reason == REASON_TOO_MANY_REQUESTS)
        r->refused++;
    else
        r->other++;
}

static bool race_is_over(void *arg)
{
    const struct race *r = arg;
    return r->granted + r->refused + r->other == 20;
}

static void races_never_overshoot(void **state)
{
    struct fx *f = *state;
    struct race race = {0};
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof(name), "p%d", i);
        make_pod(f, name, READY);
    }
    make_budget(f, "web", ", minAvailable: 17", 3, 20, 17);
    for (int i = 0; i < 20; i++) { /* all under way before one is durable */
        char name[8];
        snprintf(name, sizeof(name), "p%d", i);
        struct client_request q = eviction(f, name, "");
        client_call(f->c, &q, raced, &race);
    }
    assert_true(rt_run_until(f->rt, race_is_over, &race, 10 * NSEC_PER_SEC));
    assert_int_equal(race.granted, 3);
    assert_int_equal(race.refused, 17);
    assert_int_equal(budget(f, "web")->status.disruptions_allowed, 0);
    assert_int_equal(budget(f, "web")->status.n_disrupted_pods, 3);
}

static void unhealthy_pods(void **state)
{
    struct fx *f = *state;
    make_pod(f, "sick", UNREADY);
    make_pod(f, "over", OVER);
    make_budget(f, "web", "", 0, 1, 2);
    assert_int_equal(evict(f, "over", ""), 0);
    assert_int_equal(evict(f, "sick", ""), 429); /* IfHealthyBudget: too few are healthy */
    assert_ok(fx_patch(f, PDB, "default", "web", "status", CLIENT_PATCH_MERGE,
                       "{\"status\":{\"currentHealthy\":2}}"));
    assert_int_equal(evict(f, "sick", "dryRun: [All]"), 0);
    assert_ok(fx_patch(f, PDB, "default", "web", "status", CLIENT_PATCH_MERGE,
                       "{\"status\":{\"currentHealthy\":0}}"));
    assert_ok(fx_patch(f, PDB, "default", "web", NULL, CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"}}"));
    assert_int_equal(evict(f, "sick", ""), 0);
    assert_true(is_going(f, "sick"));
}

static void budgets_that_cannot_be_asked(void **state)
{
    struct fx *f = *state;
    make_pod(f, "a", READY);
    make_budget(f, "web", ", maxUnavailable: 1", 1, 1, 0);
    assert_ok(fx_patch(f, PDB, "default", "web", NULL, CLIENT_PATCH_MERGE,
                       "{\"spec\":{\"maxUnavailable\":2}}"));
    assert_int_equal(evict(f, "a", ""), 429); /* the controller has not seen the new spec */
    assert_ok(fx_patch(f, PDB, "default", "web", "status", CLIENT_PATCH_MERGE,
                       "{\"status\":{\"observedGeneration\":2}}"));
    make_budget(f, "second", ", maxUnavailable: 1", 1, 1, 0);
    assert_int_equal(evict(f, "a", ""), 500);
    assert_ok(fx_delete(f, PDB, "default", "second"));
    assert_int_equal(evict(f, "a", ""), 0);
}

static void budget_rules(void **state)
{
    static const struct {
        const char *spec, *causes;
    } rows[] = {
        {"{minAvailable: 1}", NULL},
        {"{maxUnavailable: '50%', selector: {}}", NULL},
        {"{minAvailable: 1, maxUnavailable: 1}", "spec"},
        {"{minAvailable: -1}", "spec.minAvailable"},
        {"{minAvailable: '101%'}", "spec.minAvailable"},
        {"{maxUnavailable: half}", "spec.maxUnavailable"},
        {"{unhealthyPodEvictionPolicy: Sometimes}", "spec.unhealthyPodEvictionPolicy"},
        {"{selector: {matchExpressions: [{key: a, operator: Near}]}}", "spec.selector"},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = xasprintf("{metadata: {name: b%zu}, spec: %s}", i, rows[i].spec);
        int r = fx_create(f, PDB, "default", text);
        free(text);
        assert_int_equal(r, rows[i].causes ? -EBADMSG : 0);
        if (rows[i].causes)
            assert_str(f->causes, rows[i].causes);
    }
    assert_int_equal(fx_patch(f, PDB, "default", "b0", "status", CLIENT_PATCH_MERGE,
                              "{\"status\":{\"disruptionsAllowed\":-1}}"),
                     -EBADMSG);
    assert_str(f->causes, "status.disruptionsAllowed");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(takes_what_is_allowed),        T(races_never_overshoot), T(unhealthy_pods),
        T(budgets_that_cannot_be_asked), T(budget_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
