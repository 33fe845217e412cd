/* Machines that join, against the API server and the controllers on virtual time. */
#include "api/csr.h"
#include "apiserver/apiserver.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "rt/crypto.h"
#include "rt/sim.h"
#include "store/store_mem.h"
#include "test.h"

struct cluster {
    struct rt *rt;
    struct store *store;
    struct apiserver *api;
    struct client *core;
    struct client_shared *shared;
    struct controllers *controllers;
    struct pkey *ca_key;
    struct cert *ca;
};

static int sign(void *arg, const struct pkey *key, const struct cert_spec *spec, char **ret_pem,
                struct error *err)
{
    struct cluster *cl = arg;
    struct cert *cert;
    int r = cert_issue(cl->ca, cl->ca_key, key, spec, err, &cert);
    if (r < 0)
        return r;
    *ret_pem = cert_to_pem(cert);
    cert_free(cert);
    return 0;
}

static bool is_ready(void *arg)
{
    return apiserver_is_ready(arg);
}

static void up(struct cluster *cl)
{
    const struct controllers_opts co = {.sign = sign, .sign_arg = cl};
    *cl =
        (struct cluster){.rt = rt_sim_new(1, INT64_C(1767225600000000)), .ca_key = pkey_new_p256()};
    assert_int_equal(cert_new_ca(cl->ca_key, STR("test"), INT64_C(2840140800), NULL, &cl->ca), 0);
    assert_int_equal(
        store_open(cl->rt, store_mem_new(NULL), &(struct store_opts){0}, &cl->store, NULL), 0);
    assert_int_equal(apiserver_new(cl->rt, cl->store, &(struct apiserver_opts){0}, &cl->api, NULL),
                     0);
    cl->core = apiserver_client(cl->api, STR("system:davit"), NULL, 0, false);
    cl->shared = client_shared_new(cl->core);
    cl->controllers = controllers_new(cl->shared, &co);
    client_shared_start(cl->shared);
    controllers_start(cl->controllers);
    assert_true(rt_run_until(cl->rt, is_ready, cl->api, 60 * NSEC_PER_SEC));
}

static void down(struct cluster *cl)
{
    controllers_free(cl->controllers);
    client_shared_free(cl->shared);
    client_free(cl->core);
    apiserver_free(cl->api);
    store_abandon(cl->store);
    rt_free(cl->rt);
    cert_free(cl->ca);
    pkey_free(cl->ca_key);
}

/* A machine's first request, under a key of its own. */
static void ask(struct cluster *cl, struct client *c, const char *name, const char *node)
{
    struct arena a = {0};
    struct pkey *key = pkey_new_p256();
    struct csr *csr;
    struct str org = STR("system:nodes"), usages[] = {STR("digital signature"), STR("client auth")};
    const struct cert_spec spec = {
        .cn = arena_printf(&a, "system:node:%s", node), .orgs = &org, .n_orgs = 1};
    assert_int_equal(csr_new(key, &spec, NULL, &csr), 0);
    char *pem = csr_to_pem(csr);
    const struct api_certificate_signing_request m = {
        .metadata = {.name = str_z(name)},
        .spec = {.request = str_z(pem),
                 .signer_name = STR(CSR_SIGNER_KUBELET),
                 .usages = usages,
                 .n_usages = 2}};
    client_create(c, schema_kinds[KIND_CERTIFICATE_SIGNING_REQUEST], &m, NULL, NULL);
    free(pem);
    csr_free(csr);
    pkey_free(key);
    arena_fini(&a);
}

static const struct api_certificate_signing_request *look(struct cluster *cl, const char *name)
{
    struct object *o =
        store_get(cl->store, schema_kinds[KIND_CERTIFICATE_SIGNING_REQUEST], STR_NONE, str_z(name));
    assert_non_null(o);
    return OBJECT_MSG(o, api_certificate_signing_request);
}

static void one_name_one_machine(void **state)
{
    struct cluster cl;
    struct str group = STR("system:bootstrappers:davit:nodes");
    up(&cl);
    const struct apiserver_peer peer = {
        .user = STR("system:bootstrap:abcdef"), .groups = &group, .n_groups = 1};
    struct client *c = apiserver_client_peer(cl.api, &peer);
    ask(&cl, c, "first", "a"); /* in one turn: neither is decided when the other is looked at */
    ask(&cl, c, "second", "a");
    ask(&cl, c, "other", "b");
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    const struct api_certificate_signing_request *v[] = {look(&cl, "first"), look(&cl, "second")};
    unsigned issued = 0, denied = 0;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        issued += v[i]->status.certificate.n > 0;
        denied += csr_condition(v[i], "Denied") != NULL;
    }
    assert_int_equal(issued, 1);
    assert_int_equal(denied, 1);
    assert_true(look(&cl, "other")->status.certificate.n > 0);
    client_free(c);
    down(&cl);
}

/* However late the first machine comes; and once it has come and was removed, the name is free. */
static void a_name_is_kept_until_its_machine_comes(void **state)
{
    struct cluster cl;
    struct str group = STR("system:bootstrappers:davit:nodes");
    const struct api_node node = {.metadata = {.name = STR("a")}};
    up(&cl);
    const struct apiserver_peer peer = {
        .user = STR("system:bootstrap:abcdef"), .groups = &group, .n_groups = 1};
    struct client *c = apiserver_client_peer(cl.api, &peer);
    ask(&cl, c, "first", "a");
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    assert_true(look(&cl, "first")->status.certificate.n > 0);
    rt_sim_wall_jump(cl.rt, INT64_C(7200) * 1000000);
    rt_sim_run_for(cl.rt, 700 * NSEC_PER_SEC);
    ask(&cl, c, "late", "a");
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    assert_non_null(csr_condition(look(&cl, "late"), "Denied"));
    client_create(cl.core, schema_kinds[KIND_NODE], &node, NULL, NULL);
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    client_delete(cl.core, schema_kinds[KIND_NODE], STR_NONE, STR("a"), STR_NONE, NULL, NULL);
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    ask(&cl, c, "anew", "a");
    rt_sim_run_for(cl.rt, 5 * NSEC_PER_SEC);
    assert_true(look(&cl, "anew")->status.certificate.n > 0);
    client_free(c);
    down(&cl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_name_one_machine),
                                       cmocka_unit_test(a_name_is_kept_until_its_machine_comes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
