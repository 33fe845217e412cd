/* Which certificate requests are a node's, what they may say, and what is signed. */
#include "controllers/csr_plan.h"
#include "test.h"

#define NOW_S INT64_C(1767225600)

struct made {
    struct pkey *key;
    struct csr *csr;
    const struct cert_facts *facts;
};

static struct made make(const char *cn, const char *org, const char *dns, const char *ip)
{
    struct str o = str_z(org), d = str_z(dns), i = str_z(ip);
    struct cert_spec spec = {.cn = str_z(cn),
                             .orgs = &o,
                             .n_orgs = org != NULL,
                             .dns = &d,
                             .n_dns = dns != NULL,
                             .ips = &i,
                             .n_ips = ip != NULL};
    struct made m = {.key = pkey_new_p256()};
    assert_int_equal(csr_new(m.key, &spec, NULL, &m.csr), 0);
    m.facts = csr_facts(m.csr);
    return m;
}

static void unmake(struct made *m)
{
    csr_free(m->csr);
    pkey_free(m->key);
}

static struct api_certificate_signing_request request(const char *signer, const char *user,
                                                      struct str *usages, uint32_t n)
{
    return (struct api_certificate_signing_request){.spec = {.signer_name = str_z(signer),
                                                             .username = str_z(user),
                                                             .usages = usages,
                                                             .n_usages = n}};
}

static void recognizing(void **state)
{
    struct str client[] = {STR("digital signature"), STR("client auth")};
    struct str rsa[] = {STR("client auth"), STR("key encipherment"), STR("digital signature")};
    struct str server[] = {STR("digital signature"), STR("server auth")};
    struct str both[] = {STR("digital signature"), STR("server auth"), STR("client auth")};
    const struct {
        const char *cn, *org, *dns, *signer, *user;
        struct str *usages;
        uint32_t n;
        enum csr_for is;
    } rows[] = {
        {"system:node:a", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:bootstrap:x", client, 2,
         CSR_FOR_NODE},
        {"system:node:a", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:node:a", client, 2,
         CSR_FOR_NODE_AGAIN},
        {"system:node:a", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:node:b", rsa, 3,
         CSR_FOR_NODE},
        {"system:node:a", "system:nodes", "a", CSR_SIGNER_SERVING, "system:node:a", server, 2,
         CSR_FOR_NODE_SERVER},
        {"system:node:a", "system:nodes", "a", CSR_SIGNER_SERVING, "system:node:b", server, 2,
         CSR_FOR_OTHERS},
        {"system:node:a", "system:nodes", NULL, CSR_SIGNER_SERVING, "system:node:a", server, 2,
         CSR_FOR_OTHERS},
        {"system:node:a", "system:nodes", "a", CSR_SIGNER_KUBELET, "system:node:a", client, 2,
         CSR_FOR_OTHERS},
        {"system:node:a", "system:masters", NULL, CSR_SIGNER_KUBELET, "system:bootstrap:x", client,
         2, CSR_FOR_OTHERS},
        {"system:node:", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:bootstrap:x", client, 2,
         CSR_FOR_OTHERS},
        {"admin", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:bootstrap:x", client, 2,
         CSR_FOR_OTHERS},
        {"system:node:a", "system:nodes", NULL, CSR_SIGNER_KUBELET, "system:bootstrap:x", both, 3,
         CSR_FOR_OTHERS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made m = make(rows[i].cn, rows[i].org, rows[i].dns, NULL);
        struct api_certificate_signing_request c =
            request(rows[i].signer, rows[i].user, rows[i].usages, rows[i].n);
        struct str node = STR_NONE;
        if (csr_recognize(&c, m.facts, &node) != rows[i].is)
            fail_msg("row %zu", i);
        unmake(&m);
    }
}

static bool nobody_has(void *arg, struct str ip)
{
    return false;
}

static bool another_has(void *arg, struct str ip)
{
    return true;
}

static void names(void **state)
{
    struct str server[] = {STR("digital signature"), STR("server auth")};
    struct str from = STR("10.0.0.7"), home = STR("127.0.0.1");
    struct kv_extra_value extra = {.key = STR(CSR_EXTRA_ADDRESS),
                                   .value = {.items = &from, .n_items = 1}};
    struct api_node_address address = {.type = STR("InternalIP"), .address = STR("10.0.0.9")};
    struct api_node node = {.status = {.addresses = &address, .n_addresses = 1}};
    struct api_certificate_signing_request c =
        request(CSR_SIGNER_SERVING, "system:node:a", server, 2);
    c.spec.extra = &extra;
    c.spec.n_extra = 1;
    const struct {
        const char *dns, *ip;
        const struct api_node *node;
        struct str *from;
        bool (*foreign)(void *arg, struct str ip);
        bool ok;
    } rows[] = {
        {"a", "10.0.0.7", NULL, &from, nobody_has, true},  /* where it was asked from */
        {"a", "10.0.0.8", NULL, &from, nobody_has, false}, /* somebody's */
        {"a", "10.0.0.9", &node, &from, nobody_has, true}, /* the Node has it */
        {"b", "10.0.0.7", NULL, &from, nobody_has, false}, /* another name */
        {"kubernetes.default", "10.0.0.7", NULL, &from, nobody_has, false},
        {"a", "10.0.0.8", NULL, &home, nobody_has, true}, /* the server's own machine */
        {"a", "10.0.0.8", NULL, &home, another_has, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made m = make("system:node:a", "system:nodes", rows[i].dns, rows[i].ip);
        extra.value.items = rows[i].from;
        if (csr_names_ok(&c, m.facts, STR("a"), rows[i].node, rows[i].foreign, NULL) != rows[i].ok)
            fail_msg("row %zu", i);
        unmake(&m);
    }
}

static void what_is_signed(void **state)
{
    struct str client[] = {STR("digital signature"), STR("client auth")};
    struct str code[] = {STR("digital signature"), STR("client auth"), STR("code signing")};
    struct made m = make("system:node:a", "system:nodes", NULL, NULL);
    struct made user = make("jane", "team", NULL, NULL),
                root = make("jane", "system:masters", NULL, NULL);
    struct cert_spec spec;
    struct api_certificate_signing_request c =
        request(CSR_SIGNER_KUBELET, "system:bootstrap:x", client, 2);
    assert_int_equal(csr_cert_spec(&c, m.facts, NOW_S, &spec, NULL), 0);
    assert_true(spec.for_client && !spec.for_server);
    assert_int_equal(spec.not_after_s, NOW_S + 365 * 86400);
    c.spec.has_expiration_seconds = true;
    c.spec.expiration_seconds = 3600;
    assert_int_equal(csr_cert_spec(&c, m.facts, NOW_S, &spec, NULL), 0);
    assert_int_equal(spec.not_after_s, NOW_S + 3600);
    c.spec.usages = code;
    c.spec.n_usages = 3;
    assert_int_equal(csr_cert_spec(&c, m.facts, NOW_S, &spec, NULL), -EBADMSG);
    c = request(CSR_SIGNER_CLIENT, "anybody", client, 2);
    assert_int_equal(csr_cert_spec(&c, user.facts, NOW_S, &spec, NULL), 0);
    assert_int_equal(csr_cert_spec(&c, root.facts, NOW_S, &spec, NULL), -EBADMSG);
    c = request(CSR_SIGNER_KUBELET, "anybody", client, 2); /* approved by hand, and yet no node */
    assert_int_equal(csr_cert_spec(&c, user.facts, NOW_S, &spec, NULL), -EBADMSG);
    unmake(&m);
    unmake(&user);
    unmake(&root);
}

static void how_long_they_stay(void **state)
{
    struct api_certificate_signing_request_condition approved = {
        .type = STR("Approved"), .last_update_time = timestamp_seconds((NOW_S - 600) * 1000000)};
    struct api_certificate_signing_request c = {
        .metadata = {.creation_timestamp = timestamp_seconds((NOW_S - 700) * 1000000)}};
    assert_int_equal(csr_keep_s(&c, NOW_S), 24 * 3600 - 700);
    c.status.conditions = &approved;
    c.status.n_conditions = 1;
    assert_int_equal(csr_keep_s(&c, NOW_S), 3000);
    assert_int_equal(csr_keep_s(&c, NOW_S + 3000), 0);
    /* a join keeps its name until the Node is there, for a day at most */
    c.spec.signer_name = STR(CSR_SIGNER_KUBELET);
    c.spec.username = STR("system:bootstrap:abcdef");
    assert_true(csr_is_promise(&c));
    assert_int_equal(csr_keep_s(&c, NOW_S), 24 * 3600 - 700);
    struct kv_str joined = {STR(CSR_JOINED_ANNOTATION), STR("true")};
    c.metadata.annotations = &joined;
    c.metadata.n_annotations = 1;
    assert_false(csr_is_promise(&c));
    assert_int_equal(csr_keep_s(&c, NOW_S), 3000);
    c.metadata.n_annotations = 0;
    c.spec.username = STR("system:node:a"); /* renews: the Node is there */
    assert_false(csr_is_promise(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognizing),
        cmocka_unit_test(names),
        cmocka_unit_test(what_is_signed),
        cmocka_unit_test(how_long_they_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
