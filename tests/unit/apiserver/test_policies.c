/* Admission policies: which are asked, what they share, and that a request is not held for long.
 * What they say and do is tested from outside, in tests/integration/policies.bats. */
#include "api_test.h"
#include "apiserver/policy/policy_int.h"

#define RULES                                                                                      \
    "matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], resources: "          \
    "[configmaps], operations: ['*']}]}"

static int policy(struct fx *f, const char *name, const char *spec)
{
    char yaml[16000];
    (void)snprintf(yaml, sizeof(yaml), "{metadata: {name: %s}, spec: {%s, %s}}", name, RULES, spec);
    return fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY), NULL, yaml);
}

static int binding(struct fx *f, const char *name, const char *policy)
{
    char yaml[400];
    (void)snprintf(yaml, sizeof(yaml),
                   "{metadata: {name: %s}, spec: {policyName: %s, validationActions: [Deny]}}",
                   name, policy);
    return fx_create(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), NULL, yaml);
}

static int config_map(struct fx *f, const char *name)
{
    char yaml[200];
    (void)snprintf(yaml, sizeof(yaml), "{metadata: {name: %s}}", name);
    return fx_create(f, KIND_OF(CONFIG_MAP), "default", yaml);
}

/* A policy acts while there is a binding of it, whichever came first. */
static void test_bindings(void **state)
{
    struct fx *f = *state;
    assert_int_equal(binding(f, "b", "p"), 0);
    assert_int_equal(config_map(f, "one"), 0);
    assert_int_equal(policy(f, "p", "validations: [{expression: 'false', message: no way}]"), 0);
    assert_int_equal(config_map(f, "two"), -EBADMSG);
    assert_string_equal(fx_z(f, f->text),
                        "configmaps \"two\" is forbidden: ValidatingAdmissionPolicy 'p' with "
                        "binding 'b' denied request: no way");
    assert_int_equal(fx_delete(f, KIND_OF(VALIDATING_ADMISSION_POLICY_BINDING), NULL, "b"), 0);
    assert_int_equal(config_map(f, "two"), 0);
    assert_int_equal(binding(f, "c", "p"), 0);
    assert_int_equal(config_map(f, "three"), -EBADMSG);
    assert_int_equal(fx_delete(f, KIND_OF(VALIDATING_ADMISSION_POLICY), NULL, "p"), 0);
    assert_int_equal(config_map(f, "three"), 0);
}

/* The first by name is the one that is heard. */
static void test_order(void **state)
{
    struct fx *f = *state;
    for (const char *p = "cab"; *p; p++) {
        char name[2] = {*p, '\0'}, spec[100];
        (void)snprintf(spec, sizeof(spec), "validations: [{expression: 'false', message: say-%s}]",
                       name);
        assert_int_equal(policy(f, name, spec), 0);
        assert_int_equal(binding(f, name, name), 0);
    }
    assert_int_equal(config_map(f, "x"), -EBADMSG);
    assert_true(str_search(f->text, STR("'a' with binding 'a' denied request: say-a")) > 0);
}

#define L    "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]"
#define DEAR L ".all(a, " L ".all(b, " L ".all(c, " L ".all(d, d > 0))))"

static void dear(struct fx *f, const char *name, unsigned n)
{
    struct buf b = {0};
    buf_add_lit(&b, "validations: [");
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, "{expression: '%s'},", DEAR);
    buf_add_lit(&b, "{expression: 'true'}]");
    assert_int_equal(policy(f, name, fx_z(f, buf_str(&b))), 0);
    buf_fini(&b);
    assert_int_equal(binding(f, name, name), 0);
}

static unsigned cost_of_dear(void)
{
    struct cel_env *env = cel_env_new(0);
    struct cel_program *p;
    struct arena a = {0};
    struct cel_input in = {0};
    struct cel_result r;
    assert_int_equal(cel_compile(env, STR(DEAR), NULL, &p, NULL), 0);
    cel_eval(p, &in, &a, &r);
    assert_int_equal(r.outcome, CEL_OUTCOME_VALUE);
    cel_program_free(p);
    cel_env_free(env);
    arena_fini(&a);
    return (unsigned)r.cost;
}

/* A policy has a budget, and all policies of a request have one together. */
static void test_budget(void **state)
{
    struct fx *f = *state;
    unsigned fits = CEL_COST_OBJECT_MAX / cost_of_dear();
    assert_true(fits >= 10 && fits < 40);
    dear(f, "a", fits);
    assert_int_equal(config_map(f, "one"), 0);
    dear(f, "b", fits);
    assert_int_equal(config_map(f, "two"), 0);
    dear(f, "c", fits);
    assert_int_equal(config_map(f, "three"), -EBADMSG);
    assert_true(str_search(f->text, STR("'c' with binding 'c' denied request: validation failed "
                                        "due to running out of cost budget")) > 0);
    for (const char *p = "abc"; *p; p++) {
        char name[2] = {*p, '\0'};
        assert_int_equal(fx_delete(f, KIND_OF(VALIDATING_ADMISSION_POLICY), NULL, name), 0);
    }
    dear(f, "d", fits + 1);
    assert_int_equal(config_map(f, "three"), -EBADMSG);
    assert_true(str_search(f->text, STR("'d' with binding 'd' denied request: validation failed "
                                        "due to running out of cost budget")) > 0);
}

/* Variables: each once, only when somebody asks, and their cost is the policy's. */
static void test_variables(void **state)
{
    struct fx *f = *state;
    assert_int_equal(
        policy(f, "p",
               "variables: [{name: empty, expression: '[]'}, {name: bad, expression: "
               "'object.nothing'}, {name: more, expression: 'variables.empty + [1]'}], "
               "validations: [{expression: 'size(variables.more) == 1'}, {expression: "
               "'size(variables.empty) == 0'}, {expression: 'object.metadata.name != \"bad\" || "
               "variables.bad'}]"),
        0);
    assert_int_equal(binding(f, "b", "p"), 0);
    assert_int_equal(config_map(f, "good"), 0);
    assert_int_equal(config_map(f, "bad"), -EBADMSG);
    assert_true(str_search(f->text, STR("composited variable \"bad\" fails to evaluate")) > 0);
    /* a variable sees those before it only */
    assert_int_equal(policy(f, "q",
                            "variables: [{name: a, expression: 'variables.b'}, {name: b, "
                            "expression: '1'}], validations: [{expression: 'true'}]"),
                     -EBADMSG);
    assert_string_equal(fx_z(f, f->causes), "spec.variables[0].expression");
}

static void test_compiled(void **state)
{
    struct fx *f = *state;
    assert_int_equal(policy(f, "p",
                            "failurePolicy: Ignore, validations: [{expression: 'true', reason: "
                            "Forbidden}], auditAnnotations: [{key: k, valueExpression: \"'v'\"}]"),
                     0);
    struct admit_policy *p = admit_policy_new(f->object);
    assert_true(p->ignore && !p->mutating && !p->has_params);
    assert_int_equal(p->n_validations, 1);
    assert_int_equal(p->validations[0].reason, REASON_FORBIDDEN);
    assert_non_null(p->validations[0].test.program);
    assert_string_equal(fx_z(f, p->annotations[0].key), "p/k");
    admit_policy_free(p);
}

/* An expression that came into the store before anybody looked fails when it is evaluated. */
static void test_stored_before(void **state)
{
    struct fx *f = *state;
    struct api_validating_admission_policy *msg =
        fx_msg(f, KIND_OF(VALIDATING_ADMISSION_POLICY)->desc,
               "{metadata: {name: p, uid: u}, spec: {failurePolicy: Fail, " RULES
               ", validations: [{expression: 'nope('}]}}");
    struct error err = {0};
    assert_int_equal(store_put(f->store, KIND_OF(VALIDATING_ADMISSION_POLICY), msg, STORE_ABSENT,
                               NULL, NULL, &err),
                     0);
    error_fini(&err);
    assert_int_equal(binding(f, "b", "p"), 0);
    assert_int_equal(config_map(f, "x"), -EBADMSG);
    assert_true(str_search(f->text, STR("denied request: compilation error: compilation failed: "
                                        "ERROR: <input>:1:6")) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bindings, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_order, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_budget, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_variables, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_compiled, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_stored_before, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
