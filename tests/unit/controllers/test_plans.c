/* Plans of ReplicaSets, Jobs and endpoints. */
#include "controllers/endpoints_plan.h"
#include "controllers/job_plan.h"
#include "controllers/replicaset_plan.h"
#include "test.h"

#define SEC INT64_C(1000000)
#define NOW (INT64_C(1767225600) * SEC)

static struct api_pod *pod(struct arena *a, const char *name, const char *node, const char *phase,
                           bool ready)
{
    struct api_pod *p = ARENA_NEW(a, struct api_pod);
    p->metadata.name = p->metadata.uid = str_z(name);
    p->metadata.namespace = STR("default");
    p->metadata.creation_timestamp = timestamp_of(NOW - 100 * SEC);
    p->spec.node_name = str_z(node);
    p->status.phase = str_z(phase);
    p->status.conditions = ARENA_NEW(a, struct api_pod_condition);
    p->status.n_conditions = 1;
    p->status.conditions[0] =
        (struct api_pod_condition){.type = STR("Ready"),
                                   .status = ready ? STR("True") : STR("False"),
                                   .last_transition_time = timestamp_of(NOW - 50 * SEC)};
    return p;
}

/* ---- replica sets ---- */

static void test_ranking(void **state)
{
    struct arena a = {0};
    struct api_pod *ready = pod(&a, "ready", "n1", "Running", true);
    struct api_pod *crowded = pod(&a, "crowded", "n2", "Running", true);
    struct api_pod *crowd = pod(&a, "crowd", "n2", "Running", true);
    struct api_pod *unready = pod(&a, "unready", "n3", "Running", false);
    struct api_pod *pending = pod(&a, "pending", "n4", "Pending", false);
    struct api_pod *unassigned = pod(&a, "unassigned", NULL, "Pending", false);
    struct api_pod *cheap = pod(&a, "cheap", "n5", "Running", true);
    struct kv_str cost = {STR("controller.kubernetes.io/pod-deletion-cost"), STR("-5")};
    cheap->metadata.annotations = &cost;
    cheap->metadata.n_annotations = 1;
    crowd->status.conditions[0].last_transition_time =
        timestamp_of(NOW - 10 * SEC); /* younger: goes first */
    const struct api_pod *v[] = {ready, crowded, crowd, unready, pending, unassigned, cheap};
    pods_rank_for_deletion(&a, v, ARRAY_LEN(v));
    const char *want[] = {"unassigned", "pending", "unready", "cheap", "crowd", "crowded", "ready"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_str(v[i]->metadata.name, want[i]);
    arena_fini(&a);
}

static void test_replicaset(void **state)
{
    struct arena a = {0};
    struct replicaset_plan p;
    struct api_replica_set rs = {
        .spec = {.has_replicas = true, .replicas = 3, .min_ready_seconds = 60}};
    struct api_pod *dying = pod(&a, "dying", "n", "Running", true);
    dying->metadata.deletion_timestamp = timestamp_of(NOW);
    const struct api_pod *v[] = {pod(&a, "a", "n", "Running", true), dying,
                                 pod(&a, "done", "n", "Failed", false)};
    replicaset_plan(&a, &rs, v, 3, NOW, &p);
    assert_int_equal(p.n_create, 2);
    assert_int_equal(p.status.replicas, 1);
    assert_int_equal(p.status.ready_replicas, 1);
    assert_int_equal(p.status.available_replicas, 0); /* ready for 50 of 60 s */
    assert_int_equal(p.status.terminating_replicas, 1);
    assert_int_equal(p.next_available, NOW + 10 * SEC);
    replicaset_plan(&a, &rs, v, 3, NOW + 10 * SEC, &p);
    assert_int_equal(p.status.available_replicas, 1);
    rs.spec.replicas = 0;
    replicaset_plan(&a, &rs, v, 3, NOW, &p);
    assert_int_equal(p.n_victims, 1);
    assert_str(p.victims[0]->metadata.name, "a");
    rs.spec.replicas = 10000;
    replicaset_plan(&a, &rs, v, 3, NOW, &p);
    assert_int_equal(p.n_create, REPLICASET_BURST);
    rs.metadata.deletion_timestamp = timestamp_of(NOW);
    replicaset_plan(&a, &rs, v, 3, NOW, &p);
    assert_int_equal(p.n_create + p.n_victims, 0);
    struct api_replica_set_status st = {0};
    replicaset_set_failure(&a, &st, "FailedCreate", STR("no"), NOW);
    replicaset_set_failure(&a, &st, "FailedCreate", STR("no, again"), NOW + SEC);
    assert_str(st.conditions[0].message, "no");
    assert_int_equal(st.n_conditions, 1);
    assert_int_equal(st.conditions[0].last_transition_time.usec, NOW);
    replicaset_set_failure(&a, &st, NULL, STR_NONE, NOW);
    assert_int_equal(st.n_conditions, 0);
    arena_fini(&a);
}

/* ---- jobs ---- */

static struct api_pod *job_pod_of(struct arena *a, const char *name, const char *phase, bool held)
{
    struct api_pod *p = pod(a, name, "n", phase, false);
    static struct str finalizer = {JOB_FINALIZER, sizeof(JOB_FINALIZER) - 1};
    p->metadata.finalizers = &finalizer;
    p->metadata.n_finalizers = held;
    return p;
}

static void test_job_counts_once(void **state)
{
    struct arena a = {0};
    struct job_plan p;
    struct api_job job = {
        .spec = {
            .has_completions = true, .completions = 2, .has_parallelism = true, .parallelism = 2}};
    struct api_pod *one = job_pod_of(&a, "one", "Succeeded", true);
    const struct api_pod *v[] = {one, job_pod_of(&a, "two", "Running", true)};
    struct job_in in = {.job = &job, .pods = v, .n_pods = 2, .now = NOW};
    job_plan(&a, &in, &p);
    assert_true(p.status_changed);
    assert_int_equal(p.status.succeeded, 0);
    assert_int_equal(p.status.uncounted_terminated_pods->n_succeeded, 1);
    assert_int_equal(p.n_unfinalize, 1);
    assert_int_equal(p.n_create, 0);
    job.status = p.status;
    job_plan(&a, &in, &p); /* the finalizer is still there: nothing moves */
    assert_false(p.status_changed);
    assert_int_equal(p.n_unfinalize, 1);
    one->metadata.n_finalizers = 0;
    job_plan(&a, &in, &p);
    assert_int_equal(p.status.succeeded, 1);
    assert_int_equal(p.status.uncounted_terminated_pods->n_succeeded, 0);
    job.status = p.status;
    in.n_pods = 1; /* even when the other pod is not there */
    v[0] = v[1];
    job_plan(&a, &in, &p);
    assert_int_equal(p.status.succeeded, 1);
    arena_fini(&a);
}

static bool has(const struct api_job_status *st, const char *type, const char *reason)
{
    for (uint32_t i = 0; i < st->n_conditions; i++)
        if (str_eqz(st->conditions[i].type, type) && str_eqz(st->conditions[i].reason, reason))
            return true;
    return false;
}

static void test_job_ends(void **state)
{
    struct arena a = {0};
    struct job_plan p;
    struct api_job job = {
        .spec = {
            .has_completions = true, .completions = 1, .has_parallelism = true, .parallelism = 1}};
    struct api_pod *one = job_pod_of(&a, "one", "Succeeded", true);
    const struct api_pod *v[] = {one};
    struct job_in in = {.job = &job, .pods = v, .n_pods = 1, .now = NOW};
    job_plan(&a, &in, &p);
    assert_true(has(&p.status, "SuccessCriteriaMet", "CompletionsReached"));
    assert_false(has(&p.status, "Complete", "CompletionsReached")); /* not before all is counted */
    job.status = p.status;
    one->metadata.n_finalizers = 0;
    job_plan(&a, &in, &p);
    assert_true(has(&p.status, "Complete", "CompletionsReached"));
    assert_true(p.status.completion_time.set);
    assert_int_equal(p.status.succeeded, 1);
    job.status = p.status;
    job_plan(&a, &in, &p);
    assert_false(p.status_changed);
    arena_fini(&a);
}

static void test_job_backs_off(void **state)
{
    struct arena a = {0};
    struct job_plan p;
    struct api_job job = {.spec = {.has_parallelism = true,
                                   .parallelism = 1,
                                   .has_backoff_limit = true,
                                   .backoff_limit = 1}};
    struct api_pod *one = job_pod_of(&a, "one", "Failed", false);
    const struct api_pod *v[] = {one, job_pod_of(&a, "two", "Failed", true)};
    struct job_in in = {.job = &job, .pods = v, .n_pods = 1, .now = NOW - 45 * SEC};
    job.status.failed = 1;
    job_plan(&a, &in, &p);
    assert_int_equal(p.n_create, 0);
    assert_int_equal(p.again_at,
                     NOW - 40 * SEC); /* it failed 50 s before NOW, and 10 s must pass */
    in.now = NOW;
    job_plan(&a, &in, &p);
    assert_int_equal(p.n_create, 1);
    in.n_pods = 2;
    job_plan(&a, &in, &p);
    assert_true(has(&p.status, "FailureTarget", "BackoffLimitExceeded"));
    assert_int_equal(p.n_create, 0);
    arena_fini(&a);
}

/* A uid that was written twice, in one list or both, is one pod. */
static void test_job_uid_twice(void **state)
{
    struct arena a = {0};
    struct job_plan p;
    struct str twice[100];
    struct api_uncounted_terminated_pods u = {
        .succeeded = twice, .n_succeeded = 100, .failed = twice, .n_failed = 100};
    struct api_job job = {.spec = {.has_completions = true, .completions = 200},
                          .status = {.uncounted_terminated_pods = &u}};
    const struct api_pod *v[] = {job_pod_of(&a, "one", "Succeeded", true)};
    struct job_in in = {.job = &job, .pods = v, .n_pods = 1, .now = NOW};
    for (size_t i = 0; i < ARRAY_LEN(twice); i++)
        twice[i] = v[0]->metadata.uid;
    job_plan(&a, &in, &p);
    assert_int_equal(p.n_unfinalize, 1);
    assert_int_equal(p.status.uncounted_terminated_pods->n_succeeded, 1);
    assert_int_equal(p.status.uncounted_terminated_pods->n_failed, 0);
    arena_fini(&a);
}

static void test_job_indexed(void **state)
{
    struct arena a = {0};
    struct job_plan p;
    struct index_set s;
    index_set_parse(&a, STR("0,2-4,junk,7-x,99"), 10, &s);
    assert_int_equal(index_set_count(&s), 4);
    assert_str(index_set_print(&a, &s), "0,2-4");
    /* what is not ascending is not done over and over; two billion take no memory */
    index_set_parse(&a, STR("3-9,3-9,1,8-20,7,22,2147483600"), 1000000, &s);
    assert_str(index_set_print(&a, &s), "3-20,22");
    index_set_parse(&a, STR("5-99,101"), INT32_MAX, &s);
    assert_true(s.cap < 1000);
    assert_int_equal(index_set_count(&s), 96);
    assert_false(index_set_has(&s, INT32_MAX - 1));
    struct api_job job = {.metadata = {.name = STR("j"), .uid = STR("u")},
                          .spec = {.has_completions = true,
                                   .completions = 6,
                                   .has_parallelism = true,
                                   .parallelism = 3,
                                   .completion_mode = STR("Indexed")}};
    struct api_container c = {.name = STR("c")};
    job.spec.template.spec.containers = &c;
    job.spec.template.spec.n_containers = 1;
    job.status.completed_indexes = STR("0,1");
    job.status.succeeded = 2;
    struct api_pod *three = job_pod_of(&a, "three", "Running", true),
                   *twin = job_pod_of(&a, "twin", "Running", true);
    struct kv_str ix = {STR(JOB_INDEX), STR("3")};
    three->metadata.annotations = twin->metadata.annotations = &ix;
    three->metadata.n_annotations = twin->metadata.n_annotations = 1;
    const struct api_pod *v[] = {three, twin};
    job_plan(&a, &(struct job_in){.job = &job, .pods = v, .n_pods = 2, .now = NOW}, &p);
    assert_int_equal(p.n_remove, 1); /* one index, one pod */
    assert_int_equal(p.n_create, 2);
    assert_int_equal(p.indexes[0], 2);
    assert_int_equal(p.indexes[1], 4);
    struct api_pod *made = job_pod(&a, &job, 4);
    assert_str(made->metadata.generate_name, "j-4-");
    assert_str(made->spec.hostname, "j-4");
    assert_str(made->spec.containers[0].env[0].name, "JOB_COMPLETION_INDEX");
    assert_int_equal(job_pod_index(made), 4);
    assert_int_equal(c.n_env, 0); /* the template is untouched */
    arena_fini(&a);
}

static void test_job_policy(void **state)
{
    struct arena a = {0};
    struct str message = STR_NONE;
    int32_t codes[] = {42};
    struct api_pod_failure_policy_on_exit_codes_requirement r = {
        .operator= STR("In"), .values = codes, .n_values = 1};
    struct api_pod_failure_policy_rule rules[] = {{.action = STR("FailJob"), .on_exit_codes = &r}};
    struct api_pod_failure_policy policy = {.rules = rules, .n_rules = 1};
    struct api_job job = {.spec = {.pod_failure_policy = &policy}};
    struct api_pod *p = job_pod_of(&a, "p", "Failed", true);
    struct api_container_state_terminated t = {.exit_code = 42};
    struct api_container_status cs = {.name = STR("c"), .state = {.terminated = &t}};
    p->status.container_statuses = &cs;
    p->status.n_container_statuses = 1;
    assert_int_equal(job_policy(&a, &job, p, &message), JOB_FAIL);
    assert_str(
        message,
        "Container c for pod default/p failed with exit code 42 matching FailJob rule at index 0");
    t.exit_code = 1;
    assert_int_equal(job_policy(&a, &job, p, &message), JOB_COUNT);
    r.operator= STR("NotIn");
    rules[0].action = STR("Ignore");
    assert_int_equal(job_policy(&a, &job, p, &message), JOB_IGNORE);
    arena_fini(&a);
}

/* ---- endpoints ---- */

static struct api_pod *served(struct arena *a, const char *name, const char *ip, bool ready,
                              int port)
{
    struct api_pod *p = pod(a, name, "n1", "Running", ready);
    struct api_container *c = ARENA_NEW(a, struct api_container);
    c->ports = ARENA_NEW(a, struct api_container_port);
    c->ports[0] = (struct api_container_port){
        .name = STR("http"), .container_port = port, .protocol = STR("TCP")};
    c->n_ports = 1;
    p->spec.containers = c;
    p->spec.n_containers = 1;
    p->status.pod_ip = str_z(ip);
    return p;
}

static void test_endpoints(void **state)
{
    struct arena a = {0};
    struct endpoints_plan plan;
    struct api_service_port port = {.port = 80, .target_port = int_or_str_str(STR("http"))};
    struct api_service svc = {
        .metadata = {.name = STR("web"), .namespace = STR("default"), .uid = STR("u")},
        .spec = {.ports = &port, .n_ports = 1, .cluster_ip = STR("10.0.0.1")}};
    struct api_pod *dying = served(&a, "dying", "10.1.0.3", true, 8080);
    dying->metadata.deletion_timestamp = timestamp_of(NOW);
    const struct api_pod *v[] = {
        served(&a, "a", "10.1.0.1", true, 8080), served(&a, "b", "10.1.0.2", false, 8080), dying,
        served(&a, "other", "10.1.0.4", true, 9090), served(&a, "no-ip", NULL, true, 8080)};
    struct endpoints_in in = {.svc = &svc, .pods = v, .n_pods = 5};
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 2); /* two meanings of "http" */
    const struct api_endpoint_slice *s = plan.slices[0].new;
    assert_null(plan.slices[0].old);
    assert_int_equal(s->n_endpoints, 3);
    assert_int_equal(s->ports[0].port, 8080);
    assert_true(s->endpoints[0].conditions.ready && !s->endpoints[1].conditions.ready);
    assert_true(!s->endpoints[2].conditions.ready && s->endpoints[2].conditions.serving &&
                s->endpoints[2].conditions.terminating);
    assert_str(meta_label(&s->metadata, STR(LABEL_SERVICE_NAME)), "web");
    assert_int_equal(plan.endpoints->n_subsets, 2);
    assert_int_equal(plan.endpoints->subsets[0].n_addresses, 1);
    assert_int_equal(plan.endpoints->subsets[0].n_not_ready_addresses, 1);
    /* As made: nothing to do. */
    const struct api_endpoint_slice *slices[] = {plan.slices[0].new, plan.slices[1].new};
    struct api_endpoints *e = plan.endpoints;
    in.slices = slices;
    in.n_slices = 2;
    in.endpoints = e;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 0);
    assert_null(plan.endpoints);
    /* One pod goes: one slice changes. */
    in.n_pods = 3;
    in.pods = v + 1;
    in.endpoints = e;
    endpoints_plan(&a, &in, &plan);
    assert_int_equal(plan.n_slices, 1);
    assert_int_equal(plan.slices[0].new->n_endpoints, 2);
    /* All go: one empty slice stays. */
    in.n_pods = 0;
    endpoints_plan(&a, &in, &plan);
    unsigned kept = 0, deleted = 0;
    for (uint32_t i = 0; i < plan.n_slices; i++)
        *(plan.slices[i].new ? &kept : &deleted) += 1;
    assert_int_equal(kept, 1);
    assert_int_equal(deleted, 1);
    svc.spec.publish_not_ready_addresses = true;
    in.n_pods = 5;
    in.pods = v;
    in.n_slices = 0;
    endpoints_plan(&a, &in, &plan);
    assert_true(plan.slices[0].new->endpoints[1].conditions.ready);
    arena_fini(&a);
}

static void test_many_endpoints(void **state)
{
    struct arena a = {0};
    struct endpoints_plan plan;
    enum { N = 250 };
    const struct api_pod *v[N];
    struct api_service_port port = {.port = 80};
    struct api_service svc = {
        .metadata = {.name = STR("web"), .namespace = STR("d"), .uid = STR("u")},
        .spec = {.ports = &port, .n_ports = 1, .cluster_ip = STR("None")}};
    for (int i = 0; i < N; i++) {
        const char *name = arena_cstr(&a, arena_printf(&a, "p%d", i));
        v[i] = served(&a, name, arena_cstr(&a, arena_printf(&a, "10.1.%d.%d", i / 250, i % 250)),
                      true, 80);
    }
    endpoints_plan(&a, &(struct endpoints_in){.svc = &svc, .pods = v, .n_pods = N}, &plan);
    assert_int_equal(plan.n_slices, 3);
    assert_int_equal(plan.slices[0].new->n_endpoints, 100);
    assert_int_equal(plan.slices[2].new->n_endpoints, 50);
    assert_int_equal(plan.endpoints->subsets[0].n_addresses, N);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranking),         cmocka_unit_test(test_replicaset),
        cmocka_unit_test(test_job_counts_once), cmocka_unit_test(test_job_ends),
        cmocka_unit_test(test_job_backs_off),   cmocka_unit_test(test_job_uid_twice),
        cmocka_unit_test(test_job_indexed),     cmocka_unit_test(test_job_policy),
        cmocka_unit_test(test_endpoints),       cmocka_unit_test(test_many_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
