/* What joining machines meet: certificate requests, bootstrap tokens, ranges of nodes. */
#include "api_test.h"

#include "apiserver/internal.h"
#include "apiserver/auth/token.h"
#include "api/csr.h"

static struct client *become(struct fx *f, const char *user, const char *group)
{
    struct client *before = f->c;
    struct str g = str_z(group);
    f->c = apiserver_client(f->api, str_z(user), &g, group ? 1 : 0, true);
    return before;
}

static void back(struct fx *f, struct client *before)
{
    client_free(f->c);
    f->c = before;
}

static struct client *come(struct fx *f, const char *token, const char *address)
{
    struct client *before = f->c;
    const struct apiserver_peer peer = {.token = str_z(token), .address = str_z(address)};
    f->c = apiserver_client_peer(f->api, &peer);
    return before;
}

/* ---- certificate requests ---- */

static int csr_create(struct fx *f, const char *name, const char *cn, const char *org,
                      const char *signer)
{
    struct pkey *key = pkey_new_p256();
    struct csr *csr;
    struct str o = str_z(org), usages[] = {STR("digital signature"), STR("client auth")};
    const struct cert_spec spec = {.cn = str_z(cn), .orgs = &o, .n_orgs = 1};
    assert_int_equal(csr_new(key, &spec, NULL, &csr), 0);
    char *pem = csr_to_pem(csr);
    struct api_certificate_signing_request c = {.metadata = {.name = str_z(name)},
                                                .spec = {.request = str_z(pem),
                                                         .signer_name = str_z(signer),
                                                         .usages = usages,
                                                         .n_usages = 2,
                                                         .username = STR("somebody else")}};
    struct client_request q = {
        .verb = CLIENT_CREATE, .kind = KIND_OF(CERTIFICATE_SIGNING_REQUEST), .body = &c};
    int r = fx_call(f, &q);
    free(pem);
    csr_free(csr);
    pkey_free(key);
    return r;
}

static const struct api_certificate_signing_request *last(struct fx *f)
{
    return OBJECT_MSG(f->object, api_certificate_signing_request);
}

static int approve(struct fx *f, const char *name, const char *sub)
{
    return fx_patch(f, KIND_OF(CERTIFICATE_SIGNING_REQUEST), "", name, sub, CLIENT_PATCH_MERGE,
                    "{\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\","
                    "\"reason\":\"Ok\"}]}}");
}

static void requests_are_the_requesters(void **state)
{
    struct fx *f = *state;
    struct client *me = become(f, "jane", "system:bootstrappers:davit:nodes");
    assert_int_equal(csr_create(f, "a", "system:node:a", "system:nodes", CSR_SIGNER_KUBELET), 0);
    assert_true(str_is(last(f)->spec.username, "jane"));
    assert_int_equal(last(f)->spec.n_groups, 2); /* and system:authenticated */
    assert_int_equal(csr_create(f, "b", "boss", "system:masters", CSR_SIGNER_CLIENT), -EPERM);
    assert_int_equal(approve(f, "a", "approval"), -EPERM); /* no right to the subresource at all */
    back(f, me);
    assert_int_equal(fx_create(f, KIND_OF(CERTIFICATE_SIGNING_REQUEST), "",
                               "{metadata: {name: c}, spec: {request: Z2FyYmFnZQ==, signerName: "
                               "a.io/b, usages: [client auth]}}"),
                     -EBADMSG);
    assert_string_equal(fx_z(f, f->causes), "spec.request");
    assert_int_equal(fx_create(f, KIND_OF(CERTIFICATE_SIGNING_REQUEST), "",
                               "{metadata: {name: c}, spec: {request: Z2FyYmFnZQ==, signerName: "
                               "nodomain, expirationSeconds: 5}}"),
                     -EBADMSG);
    assert_string_equal(fx_z(f, f->causes), "spec.signerName,spec.usages,spec.expirationSeconds");
}

static void approving_and_signing_are_two_doors(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *k = KIND_OF(CERTIFICATE_SIGNING_REQUEST);
    assert_int_equal(csr_create(f, "a", "system:node:a", "system:nodes", CSR_SIGNER_KUBELET), 0);
    /* the status' door does not approve, the spec's changes nothing */
    assert_int_equal(approve(f, "a", "status"), 0);
    assert_null(csr_condition(last(f), "Approved"));
    assert_int_equal(approve(f, "a", NULL), 0);
    assert_null(csr_condition(last(f), "Approved"));
    assert_int_equal(
        fx_patch(f, k, "", "a", NULL, CLIENT_PATCH_MERGE, "{\"spec\":{\"signerName\":\"a.io/b\"}}"),
        -EBADMSG);
    /* may touch the subresource, may not approve for this signer */
    assert_int_equal(
        fx_create(f, KIND_OF(CLUSTER_ROLE), "",
                  "{metadata: {name: half}, rules: [{apiGroups: [certificates.k8s.io], "
                  "resources: [certificatesigningrequests/approval, "
                  "certificatesigningrequests/status], verbs: [update, patch]}]}"),
        0);
    assert_int_equal(
        fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                  "{metadata: {name: half}, roleRef: {kind: ClusterRole, name: half}, subjects: "
                  "[{kind: User, name: hal}, {kind: User, name: ann}]}"),
        0);
    assert_int_equal(
        fx_create(f, KIND_OF(CLUSTER_ROLE_BINDING), "",
                  "{metadata: {name: whole}, roleRef: {kind: ClusterRole, name: "
                  "'system:certificates.k8s.io:kube-apiserver-client-kubelet-approver'}, subjects: "
                  "[{kind: User, name: ann}]}"),
        0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    struct client *me = become(f, "hal", NULL);
    assert_int_equal(approve(f, "a", "approval"), -EPERM);
    assert_true(str_search(f->text, STR("not permitted to approve")) >= 0);
    back(f, me);
    me = become(f, "ann", NULL);
    assert_int_equal(approve(f, "a", "approval"), 0);
    assert_non_null(csr_condition(last(f), "Approved"));
    assert_true(csr_condition(last(f), "Approved")->last_update_time.set);
    assert_int_equal(fx_patch(f, k, "", "a", "status", CLIENT_PATCH_MERGE,
                              "{\"status\":{\"certificate\":\"LS0t\"}}"),
                     -EBADMSG); /* no certificate */
    back(f, me);
    assert_int_equal(fx_patch(f, k, "", "a", "approval", CLIENT_PATCH_MERGE,
                              "{\"status\":{\"conditions\":[{\"type\":\"Denied\",\"status\":"
                              "\"True\"}]}}"),
                     -EBADMSG); /* what was approved stays so */
}

/* ---- bootstrap tokens ---- */

#define TOKEN                                                                                      \
    "{metadata: {name: bootstrap-token-abc123}, type: bootstrap.kubernetes.io/token, stringData: " \
    "{token-id: abc123, token-secret: 0123456789abcdef, usage-bootstrap-authentication: 'true', "  \
    "expiration: '2026-01-01T01:00:00Z', auth-extra-groups: "                                      \
    "'system:bootstrappers:x,system:masters,system:bootstrappers:'}}"

static int check(struct fx *f, const char *token, struct api_user *u)
{
    *u = (struct api_user){0};
    if (!token_bootstrap_parse(str_z(token), &f->arena, u))
        return -EINVAL;
    return token_bootstrap_check(f->api, u, &f->arena);
}

static void bootstrap_tokens(void **state)
{
    struct fx *f = *state;
    struct api_user u;
    static const char good[] = "abc123.0123456789abcdef";
    assert_int_equal(check(f, good, &u), -EACCES); /* not there */
    assert_int_equal(fx_create(f, KIND_OF(SECRET), "kube-system", TOKEN), 0);
    assert_int_equal(check(f, good, &u), 0);
    assert_true(str_is(u.name, "system:bootstrap:abc123"));
    assert_int_equal(u.n_groups, 3); /* no system:masters by that way, no nameless group */
    assert_true(str_is(u.groups[0], "system:bootstrappers"));
    assert_true(str_is(u.groups[1], "system:bootstrappers:x"));
    assert_true(str_is(u.groups[2], "system:authenticated"));
    assert_int_equal(check(f, "abc123.0123456789abcdeX", &u), -EINVAL);
    assert_int_equal(check(f, "abc123.0123456789abcde0", &u), -EACCES);
    assert_int_equal(check(f, "abc124.0123456789abcdef", &u), -EACCES);
    assert_int_equal(check(f, "abc123", &u), -EINVAL);
    rt_sim_run_for(f->rt, 3601 * NSEC_PER_SEC);
    assert_int_equal(check(f, good, &u), -EACCES); /* expired */
}

/* Whoever comes with a token in process is who it says, from where it came, and no longer than the
 * token is good. */
static void peers_are_not_trusted(void **state)
{
    struct fx *f = *state;
    const struct schema_kind *k = KIND_OF(CERTIFICATE_SIGNING_REQUEST);
    struct client *me = come(f, "abc123.0123456789abcdef", "192.0.2.7:4711");
    assert_int_equal(csr_create(f, "a", "system:node:a", "system:nodes", CSR_SIGNER_KUBELET),
                     -EACCES);
    back(f, me);
    assert_int_equal(fx_create(f, KIND_OF(SECRET), "kube-system",
                               "{metadata: {name: bootstrap-token-abc123}, type: "
                               "bootstrap.kubernetes.io/token, stringData: {token-id: abc123, "
                               "token-secret: 0123456789abcdef, usage-bootstrap-authentication: "
                               "'true', auth-extra-groups: 'system:bootstrappers:davit:nodes'}}"),
                     0);
    me = come(f, "abc123.0123456789abcdef", "192.0.2.7:4711");
    assert_int_equal(csr_create(f, "a", "system:node:a", "system:nodes", CSR_SIGNER_KUBELET), 0);
    assert_true(str_is(last(f)->spec.username, "system:bootstrap:abc123"));
    assert_int_equal(last(f)->spec.n_extra, 1);
    assert_true(str_is(last(f)->spec.extra[0].key, CSR_EXTRA_ADDRESS));
    assert_true(str_is(last(f)->spec.extra[0].value.items[0], "192.0.2.7"));
    assert_int_equal(approve(f, "a", "approval"), -EPERM);
    back(f, me);
    me = come(f, "no token", NULL);
    assert_int_equal(csr_create(f, "b", "system:node:b", "system:nodes", CSR_SIGNER_KUBELET),
                     -EPERM);
    back(f, me);
    assert_int_equal(fx_get(f, k, "", "b"), -ENOENT);
}

/* ---- ranges of nodes ---- */

static const struct cluster_config cluster = {.pod_cidr = {"10.128.0.0/10", 13},
                                              .service_cidr = {"10.96.0.0/16", 12},
                                              .domain = {"cluster.local", 13},
                                              .vni = 5};

static int range_setup(void **state)
{
    struct fx *f = NEW(struct fx);
    struct apiserver_opts o = {.cluster = &cluster};
    f->rt = rt_sim_new(7, INT64_C(1767225600000000));
    assert_int_equal(store_open(f->rt, store_mem_new(NULL), NULL, &f->store, NULL), 0);
    assert_int_equal(apiserver_new(f->rt, f->store, &o, &f->api, NULL), 0);
    assert_true(rt_run_until(f->rt, fx_is_ready, f, 10 * NSEC_PER_SEC));
    f->c = apiserver_client(f->api, STR("tester"), NULL, 0, false);
    *state = f;
    return 0;
}

static int node(struct fx *f, const char *name, const char *range)
{
    char yaml[200];
    snprintf(yaml, sizeof(yaml), "{metadata: {name: %s}, spec: {podCIDR: '%s'}}", name, range);
    return fx_create(f, KIND_OF(NODE), "", yaml);
}

static void count(void *arg, const struct client_reply *reply)
{
    int *n = arg;
    n[reply->r == 0 ? 0 : 1]++;
}

static void ranges_are_unique(void **state)
{
    struct fx *f = *state;
    assert_int_equal(node(f, "a", "10.130.1.0/24"), 0);
    assert_int_equal(node(f, "b", "10.130.1.0/24"), -EBADMSG);
    assert_string_equal(fx_z(f, f->causes), "spec.podCIDR");
    assert_true(str_search(f->text, STR("Duplicate value")) >= 0);
    assert_int_equal(node(f, "b", "10.130.0.0/16"), -EBADMSG);  /* around it */
    assert_int_equal(node(f, "b", "10.130.1.64/26"), -EBADMSG); /* within it */
    assert_int_equal(node(f, "b", "192.168.1.0/24"), -EBADMSG); /* not the cluster's */
    assert_int_equal(node(f, "b", "10.0.0.0/8"), -EBADMSG);
    assert_int_equal(node(f, "b", "10.130.2.0/24"), 0);
    /* given later, and never changed */
    assert_int_equal(fx_create(f, KIND_OF(NODE), "", "{metadata: {name: c}}"), 0);
    assert_int_equal(fx_patch(f, KIND_OF(NODE), "", "c", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"podCIDR\":\"10.130.2.0/24\"}}"),
                     -EBADMSG);
    assert_int_equal(fx_patch(f, KIND_OF(NODE), "", "c", NULL, CLIENT_PATCH_MERGE,
                              "{\"spec\":{\"podCIDR\":\"10.130.3.0/24\"}}"),
                     0);
    /* who goes gives it back */
    assert_int_equal(fx_delete(f, KIND_OF(NODE), "", "a"), 0);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_int_equal(node(f, "d", "10.130.1.0/24"), 0);
    /* two of one turn: only one gets it */
    struct str range = STR("10.130.9.0/24");
    int answers[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct api_node n = {.metadata = {.name = i ? STR("x") : STR("y")},
                             .spec = {.pod_cidr = range}};
        client_create(f->c, KIND_OF(NODE), &n, count, answers);
    }
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_int_equal(answers[0], 1);
    assert_int_equal(answers[1], 1);
    /* a node removed and made anew keeps what it claimed, however late the removal is seen */
    const struct client_request gone = {
        .verb = CLIENT_DELETE, .kind = KIND_OF(NODE), .name = STR("d")};
    struct api_node again = {.metadata = {.name = STR("d")},
                             .spec = {.pod_cidr = STR("10.130.1.0/24")}},
                    late = {.metadata = {.name = STR("e")},
                            .spec = {.pod_cidr = STR("10.130.1.0/24")}};
    int removed[2] = {0}, made[2] = {0}, refused[2] = {0};
    client_call(f->c, &gone, count, removed);
    rt_sim_run_for(f->rt, NSEC_PER_USEC); /* its commit is under way */
    client_create(f->c, KIND_OF(NODE), &again, count, made);
    while (removed[0] + removed[1] == 0)
        rt_sim_run_for(f->rt, NSEC_PER_USEC);
    client_create(f->c, KIND_OF(NODE), &late, count, refused);
    rt_sim_run_for(f->rt, NSEC_PER_SEC);
    assert_int_equal(removed[0], 1);
    assert_int_equal(made[0], 1);
    assert_int_equal(refused[1], 1);
    /* the settings are there for nodes to read */
    assert_int_equal(fx_get(f, KIND_OF(CONFIG_MAP), "kube-system", CLUSTER_CONFIG_NAME), 0);
    struct client *me = become(f, "system:node:z", "system:nodes");
    assert_int_equal(fx_get(f, KIND_OF(CONFIG_MAP), "kube-system", CLUSTER_CONFIG_NAME), 0);
    assert_int_equal(fx_get(f, KIND_OF(CONFIG_MAP), "kube-system", "other"), -EPERM);
    back(f, me);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_are_the_requesters),
        T(approving_and_signing_are_two_doors),
        T(bootstrap_tokens),
        T(peers_are_not_trusted),
        cmocka_unit_test_setup_teardown(ranges_are_unique, range_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
