/* Secrets that hold tokens of service accounts, against the API server on virtual time. */
#include "apiserver/apiserver.h"
#include "api/config.h"
#include "base/mem.h"
#include "codec/values.h"
#include "controllers/controller.h"
#include "rt/sim.h"
#include "schema/schema.h"
#include "store/store_mem.h"
#include "test.h"

#define NS STR("default")

struct cluster {
    struct rt *rt;
    struct store *store;
    struct apiserver *api;
    struct client *core;
    struct client_shared *shared;
    struct controllers *controllers;
    struct arena arena;
    unsigned n_signed, n_failures; /* failures: still to come */
};

static int sign_token(void *arg, const struct api_object_meta *account, struct str secret,
                      struct arena *a, struct str *ret, struct error *err)
{
    struct cluster *cl = arg;
    if (cl->n_failures) {
        cl->n_failures--;
        return error_set(err, REASON_UNAVAILABLE, "not now");
    }
    *ret =
        arena_printf(a, "%.*s of %.*s, %u", STR_ARG(secret), STR_ARG(account->uid), ++cl->n_signed);
    return 0;
}

static bool is_ready(void *arg)
{
    return apiserver_is_ready(arg);
}

static bool is_settled(void *arg)
{
    return controllers_idle(arg);
}

/* Until nothing more happens; whoever tries the same for ever does not let it. */
static void settle(struct cluster *cl)
{
    rt_sim_run_for(cl->rt, 2 * NSEC_PER_SEC);
    assert_true(rt_run_until(cl->rt, is_settled, cl->controllers, 60 * NSEC_PER_SEC));
}

static int up(void **state)
{
    struct cluster *cl = NEW(struct cluster);
    const struct controllers_opts co = {
        .root_ca_pem = "CA", .sign_token = sign_token, .sign_arg = cl};
    cl->rt = rt_sim_new(1, INT64_C(1767225600000000));
    assert_ok(store_open(cl->rt, store_mem_new(NULL), &(struct store_opts){0}, &cl->store, NULL));
    assert_ok(apiserver_new(cl->rt, cl->store, &(struct apiserver_opts){0}, &cl->api, NULL));
    cl->core = apiserver_client(cl->api, STR("system:davit"), NULL, 0, false);
    cl->shared = client_shared_new(cl->core);
    cl->controllers = controllers_new(cl->shared, &co);
    client_shared_start(cl->shared);
    controllers_start(cl->controllers);
    assert_true(rt_run_until(cl->rt, is_ready, cl->api, 60 * NSEC_PER_SEC));
    settle(cl);
    *state = cl;
    return 0;
}

static int down(void **state)
{
    struct cluster *cl = *state;
    controllers_free(cl->controllers);
    client_shared_free(cl->shared);
    client_free(cl->core);
    apiserver_free(cl->api);
    store_abandon(cl->store);
    rt_free(cl->rt);
    arena_fini(&cl->arena);
    free(cl);
    return 0;
}

static void create(struct cluster *cl, enum kind_id kind, const char *json)
{
    const struct schema_kind *k = schema_kinds[kind];
    void *m = schema_new(k->desc, &cl->arena);
    assert_ok(schema_decode_text(k->desc, str_z(json), &cl->arena, NULL, m, NULL));
    client_create(cl->core, k, m, NULL, NULL);
}

static void make_account(struct cluster *cl)
{
    create(cl, KIND_SERVICE_ACCOUNT, "{\"metadata\":{\"name\":\"bob\",\"namespace\":\"default\"}}");
}

static void make_secret(struct cluster *cl)
{
    create(cl, KIND_SECRET,
           "{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\",\"annotations\":{"
           "\"kubernetes.io/service-account.name\":\"bob\"}},"
           "\"type\":\"kubernetes.io/service-account-token\"}");
}

static void drop(struct cluster *cl, enum kind_id kind, const char *name)
{
    client_delete(cl->core, schema_kinds[kind], NS, str_z(name), STR_NONE, NULL, NULL);
}

static void change(struct cluster *cl, enum kind_id kind, const char *name, const char *patch)
{
    client_patch(cl->core, schema_kinds[kind], NS, str_z(name), STR_NONE, CLIENT_PATCH_MERGE,
                 str_z(patch), NULL, NULL);
}

static const struct api_secret *look(struct cluster *cl)
{
    struct object *o = store_get(cl->store, schema_kinds[KIND_SECRET], NS, STR("s"));
    return o ? OBJECT_MSG(o, api_secret) : NULL;
}

static const struct api_service_account *account(struct cluster *cl)
{
    struct object *o = store_get(cl->store, schema_kinds[KIND_SERVICE_ACCOUNT], NS, STR("bob"));
    assert_non_null(o);
    return OBJECT_MSG(o, api_service_account);
}

static struct str field(struct cluster *cl, const char *key)
{
    assert_non_null(look(cl));
    const struct str *v = KV_GET(look(cl), data, str_z(key));
    return v ? arena_str(&cl->arena, *v) : STR_NONE;
}

static void assert_filled(struct cluster *cl, unsigned n)
{
    struct str want =
        arena_printf(&cl->arena, "s of %.*s, %u", STR_ARG(account(cl)->metadata.uid), n);
    assert_str(field(cl, "token"), arena_cstr(&cl->arena, want));
    assert_str(field(cl, "ca.crt"), "CA");
    assert_str(field(cl, "namespace"), "default");
    const struct str *uid = KV_GET(&look(cl)->metadata, annotations, STR(SECRET_ACCOUNT_UID));
    assert_non_null(uid);
    assert_true(str_eq(*uid, account(cl)->metadata.uid));
}

static void is_filled(void **state)
{
    struct cluster *cl = *state;
    make_account(cl); /* in one go */
    make_secret(cl);
    settle(cl);
    assert_filled(cl, 1);
    change(cl, KIND_SECRET, "s", "{\"data\":{\"token\":null}}");
    settle(cl);
    assert_filled(cl, 2);
    change(cl, KIND_SECRET, "s", "{\"data\":{\"ca.crt\":\"eA==\",\"namespace\":\"\"}}");
    settle(cl);
    assert_filled(cl, 2); /* the token stays */
    change(cl, KIND_SECRET, "s", "{\"data\":{\"mine\":\"eA==\"}}");
    settle(cl);
    assert_filled(cl, 2);
    assert_str(field(cl, "mine"), "x");
}

static void a_failure_is_tried_again(void **state)
{
    struct cluster *cl = *state;
    cl->n_failures = 3;
    make_account(cl);
    make_secret(cl);
    settle(cl);
    assert_filled(cl, 1);
    assert_int_equal(cl->n_failures, 0);
}

static void without_its_account_it_goes(void **state)
{
    struct cluster *cl = *state;
    make_secret(cl); /* of nobody */
    settle(cl);
    assert_null(look(cl));
    make_account(cl);
    make_secret(cl);
    settle(cl);
    assert_filled(cl, 1);
    drop(cl, KIND_SERVICE_ACCOUNT, "bob");
    settle(cl);
    assert_null(look(cl));
    assert_int_equal(cl->n_signed, 1);
}

/* Another account of the same name, within one turn. */
static void it_is_not_handed_on(void **state)
{
    struct cluster *cl = *state;
    make_account(cl);
    make_secret(cl);
    settle(cl);
    drop(cl, KIND_SERVICE_ACCOUNT, "bob");
    make_account(cl);
    settle(cl);
    assert_null(look(cl));
    create(cl, KIND_SECRET,
           "{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\",\"annotations\":{"
           "\"kubernetes.io/service-account.name\":\"bob\",\"kubernetes.io/"
           "service-account.uid\":\"another\"}},\"type\":\"kubernetes.io/service-account-token\"}");
    settle(cl);
    assert_null(look(cl));
    assert_int_equal(cl->n_signed, 1);
}

static void one_that_is_gone_is_not_listed(void **state)
{
    struct cluster *cl = *state;
    make_account(cl);
    make_secret(cl);
    change(cl, KIND_SERVICE_ACCOUNT, "bob",
           "{\"secrets\":[{\"name\":\"other\"},{\"name\":\"s\"}]}");
    settle(cl);
    assert_int_equal(account(cl)->n_secrets, 2);
    drop(cl, KIND_SECRET, "s");
    settle(cl);
    assert_int_equal(account(cl)->n_secrets, 1);
    assert_str(account(cl)->secrets[0].name, "other");
}

static void others_are_left_alone(void **state)
{
    struct cluster *cl = *state;
    make_account(cl);
    create(cl, KIND_SECRET,
           "{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\",\"annotations\":{"
           "\"kubernetes.io/service-account.name\":\"bob\"}}}");
    settle(cl);
    assert_int_equal(look(cl)->n_data, 0);
    drop(cl, KIND_SERVICE_ACCOUNT, "bob");
    settle(cl);
    assert_non_null(look(cl));
    drop(cl, KIND_SECRET, "s");
    make_account(cl); /* what cannot be filled in is not tried for ever */
    create(cl, KIND_SECRET,
           "{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\",\"annotations\":{"
           "\"kubernetes.io/service-account.name\":\"bob\"}},\"immutable\":true,"
           "\"type\":\"kubernetes.io/service-account-token\"}");
    settle(cl);
    assert_int_equal(look(cl)->n_data, 0);
    assert_int_equal(cl->n_signed, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, up, down)
    const struct CMUnitTest tests[] = {
        T(is_filled),           T(a_failure_is_tried_again),       T(without_its_account_it_goes),
        T(it_is_not_handed_on), T(one_that_is_gone_is_not_listed), T(others_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
