/* Keys, certificates, tokens, digests, sealing: known answers, round trips, and what must be
 * refused. */
#include "rt_test.h"
#include "rt/crypto.h"

#include <time.h>

#define DAY 86400

static void assert_hex(const uint8_t *p, size_t n, const char *want)
{
    struct buf b = {0};

    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%02x", p[i]);
    assert_string_equal(b.data, want);
    buf_fini(&b);
}

/* FIPS 180-4 and RFC 4231, RFC 6455 examples. */
static void test_digests(void **state)
{
    uint8_t d[64];
    char hex[SHA256_HEX + 1];
    struct sha256 *h = sha256_new();

    sha256_of(STR("abc"), d);
    assert_hex(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_of(STR_NONE, d);
    assert_hex(d, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha512_of(STR("abc"), d);
    assert_hex(d, 8, "ddaf35a193617aba");
    sha1_of(STR("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), d);
    assert_hex(d, 20, "b37a4f2cc0624f1690f64606cf385945b2bec4ea");
    sha256_update(h, "a", 1);
    sha256_update(h, "bc", 2);
    sha256_final(h, d);
    assert_null(sha256_free(h));
    assert_null(sha256_free(NULL));
    sha256_hex(d, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex_of(STR("abc"), hex);
    assert_memory_equal(hex, "ba7816bf", 8);
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), d);
    assert_hex(d, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(crypto_equal(STR("same"), STR("same")));
    assert_false(crypto_equal(STR("same"), STR("sama")));
    assert_false(crypto_equal(STR("same"), STR("sam")));
    assert_true(crypto_equal(STR_NONE, STR("")));
}

static void test_random_token(void **state)
{
    char a[41], b[41];

    crypto_random_token(a, 40);
    crypto_random_token(b, 40);
    assert_int_equal(strlen(a), 40);
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789"), 40);
    assert_string_not_equal(a, b);
}

/* ---- keys ---- */

static struct pkey *from_pem(char *pem)
{
    struct pkey *k = NULL;

    assert_int_equal(pkey_from_pem(str_z(pem), NULL, &k), 0);
    free(pem);
    return k;
}

static void test_key_round_trip(void **state)
{
    struct pkey *k[2] = {pkey_new_p256(), pkey_new_rsa2048()};
    const enum pkey_type types[] = {PKEY_P256, PKEY_RSA};

    for (int i = 0; i < 2; i++) {
        struct pkey *again = from_pem(pkey_to_pem(k[i])), *public = NULL, *from_private = NULL;
        char *pem = pkey_public_to_pem(k[i]), *private_pem = pkey_to_pem(k[i]);
        uint8_t a[32], b[32];
        assert_int_equal(pkey_type(again), types[i]);
        assert_true(pkey_is_private(again));
        assert_int_equal(pkey_public_from_pem(str_z(pem), NULL, &public), 0);
        assert_int_equal(pkey_public_from_pem(str_z(private_pem), NULL, &from_private), 0);
        assert_false(pkey_is_private(public));
        assert_false(pkey_is_private(from_private));
        pkey_spki_sha256(k[i], a);
        pkey_spki_sha256(public, b);
        assert_memory_equal(a, b, 32);
        pkey_spki_sha256(from_private, b);
        assert_memory_equal(a, b, 32);
        /* components and back */
        struct buf x = {0}, y = {0};
        struct pkey *joined = NULL;
        pkey_public_components(k[i], &x, &y);
        assert_int_equal(i == 0 ? pkey_from_ec_point(buf_str(&x), buf_str(&y), NULL, &joined)
                                : pkey_from_rsa(buf_str(&x), buf_str(&y), NULL, &joined),
                         0);
        pkey_spki_sha256(joined, b);
        assert_memory_equal(a, b, 32);
        buf_fini(&x);
        buf_fini(&y);
        pkey_free(joined);
        pkey_free(again);
        pkey_free(public);
        pkey_free(from_private);
        free(pem);
        free(private_pem);
        assert_null(pkey_free(k[i]));
    }
    assert_null(pkey_free(NULL));
}

static void test_bad_keys(void **state)
{
    static const char *const bad[] = {
        "", "nonsense", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        /* encrypted: no prompt, no hang */
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----\n"};
    struct pkey *k = NULL;
    char zeros[32] = {0};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        assert_int_equal(pkey_from_pem(str_z(bad[i]), &err, &k), -EINVAL);
        assert_true(err.message.n > 0);
        assert_int_equal(pkey_public_from_pem(str_z(bad[i]), NULL, &k), -EINVAL);
        error_fini(&err);
    }
    struct str z = {zeros, 32};
    assert_int_equal(pkey_from_ec_point(z, z, NULL, &k), -EINVAL); /* not on the curve */
    assert_int_equal(pkey_from_ec_point(STR("short"), z, NULL, &k), -EINVAL);
    assert_int_equal(pkey_from_rsa(z, STR("\x01\x00\x01"), NULL, &k), -EINVAL); /* 256 bits */
    assert_int_equal(pkey_from_rsa(STR(""), STR(""), NULL, &k), -EINVAL);
    assert_null(k);
}

static void test_jws(void **state)
{
    struct pkey *k[2] = {pkey_new_p256(), pkey_new_rsa2048()};
    struct str data = STR("header.payload");

    for (int i = 0; i < 2; i++) {
        struct str alg = str_z(jws_alg(k[i]));
        char *pem = pkey_public_to_pem(k[i]);
        struct pkey *public = NULL;
        struct buf sig = {0};
        assert_string_equal(alg.p, i == 0 ? "ES256" : "RS256");
        assert_int_equal(pkey_public_from_pem(str_z(pem), NULL, &public), 0);
        assert_int_equal(jws_sign(public, data, &sig, NULL), -EINVAL);
        assert_int_equal(jws_sign(k[i], data, &sig, NULL), 0);
        assert_int_equal(sig.n, i == 0 ? 64 : 256);
        assert_int_equal(jws_verify(public, alg, data, buf_str(&sig)), 0);
        /* what must be refused */
        assert_int_equal(jws_verify(public, STR("none"), data, STR_NONE), -EBADMSG);
        assert_int_equal(jws_verify(public, STR("HS256"), data, buf_str(&sig)), -EBADMSG);
        assert_int_equal(jws_verify(k[1 - i], alg, data, buf_str(&sig)), -EBADMSG);
        assert_int_equal(jws_verify(public, alg, STR("header.payloae"), buf_str(&sig)), -EBADMSG);
        assert_int_equal(jws_verify(public, alg, data, str_sub(buf_str(&sig), 0, sig.n - 1)),
                         -EBADMSG);
        assert_int_equal(jws_verify(public, alg, data, STR_NONE), -EBADMSG);
        for (size_t b = 0; b < sig.n; b += 7) {
            sig.data[b] ^= 1;
            assert_int_equal(jws_verify(public, alg, data, buf_str(&sig)), -EBADMSG);
            sig.data[b] ^= 1;
        }
        memset(sig.data, 0, sig.n); /* r = s = 0 */
        assert_int_equal(jws_verify(public, alg, data, buf_str(&sig)), -EBADMSG);
        buf_fini(&sig);
        free(pem);
        pkey_free(public);
    }
    pkey_free(k[0]);
    pkey_free(k[1]);
}

/* RFC 7515, appendix A.3: a signature made by others. */
static void test_jws_known_answer(void **state)
{
    static const uint8_t x[] = {127, 205, 206, 39,  112, 246, 196, 93,  65, 131, 203,
                                238, 111, 219, 75,  123, 88,  7,   51,  53, 123, 233,
                                239, 19,  186, 207, 110, 60,  123, 209, 84, 69},
                         y[] = {199, 241, 68,  205, 27,  189, 155, 126, 135, 44,  223,
                                237, 185, 238, 185, 244, 179, 105, 93,  110, 169, 11,
                                36,  173, 138, 70,  35,  40,  133, 136, 229, 173},
                         sig[] = {14,  209, 33,  83,  121, 99,  108, 72,  60,  47,  127, 21,  88,
                                  7,   212, 2,   163, 178, 40,  3,   58,  249, 124, 126, 23,  129,
                                  154, 195, 22,  158, 166, 101, 197, 10,  7,   211, 140, 60,  112,
                                  229, 216, 241, 45,  175, 8,   74,  84,  128, 166, 101, 144, 197,
                                  242, 147, 80,  154, 143, 63,  127, 138, 131, 163, 84,  213};
    struct str data =
        STR("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
    struct pkey *k = NULL;

    assert_int_equal(
        pkey_from_ec_point((struct str){(char *)x, 32}, (struct str){(char *)y, 32}, NULL, &k), 0);
    assert_int_equal(jws_verify(k, STR("ES256"), data, (struct str){(char *)sig, sizeof(sig)}), 0);
    pkey_free(k);
}

/* ---- certificates ---- */

static void test_certificates(void **state)
{
    int64_t now = time(NULL);
    struct pkey *ca_key = pkey_new_p256(), *key = pkey_new_p256(), *other = pkey_new_p256();
    struct cert *ca = NULL, *c = NULL, *again = NULL, *foreign = NULL;
    struct str orgs[] = {STR("system:masters"), STR("davit,\"odd\"")};
    struct str dns[] = {STR("kubernetes"), STR("*.example")};
    struct str ips[] = {STR("10.96.0.1"), STR("fd00::1")};
    struct cert_spec spec = {.cn = STR("admin"),
                             .orgs = orgs,
                             .n_orgs = 2,
                             .dns = dns,
                             .n_dns = 2,
                             .ips = ips,
                             .n_ips = 2,
                             .for_client = true,
                             .not_after_s = now + 30 * DAY};
    const struct cert_facts *f;
    struct error err = {0};
    char digest[7 + SHA256_HEX + 1], hex[SHA256_HEX + 1];
    char *pem;

    assert_int_equal(cert_new_ca(ca_key, STR("davit-ca"), now + 10 * DAY, &err, &ca), 0);
    f = cert_facts(ca);
    assert_true(f->is_ca && f->self_signed);
    assert_true(str_is(f->cn, "davit-ca"));
    assert_true(cert_key_matches(ca, ca_key));
    assert_false(cert_key_matches(ca, key));

    assert_int_equal(cert_issue(ca, ca_key, key, &spec, &err, &c), 0);
    pem = cert_to_pem(c);
    assert_int_equal(cert_from_pem(str_z(pem), &err, &again), 0);
    free(pem);
    f = cert_facts(again);
    assert_true(str_is(f->cn, "admin"));
    assert_int_equal(f->n_orgs, 2);
    assert_true(str_is(f->orgs[0], "system:masters"));
    assert_true(str_is(f->orgs[1], "davit,\"odd\""));
    assert_int_equal(f->n_dns, 2);
    assert_true(str_is(f->dns[1], "*.example"));
    assert_int_equal(f->n_ips, 2);
    assert_true(str_is(f->ips[0], "10.96.0.1"));
    assert_true(str_is(f->ips[1], "fd00::1"));
    assert_true(f->for_client && !f->for_server && !f->is_ca && !f->self_signed);
    assert_true(str_is(f->issuer, "CN=davit-ca"));
    assert_int_equal(f->not_after_s, now + 10 * DAY); /* cut to the authority's end */
    assert_in_range(f->not_before_s, now - 301, now - 298);
    assert_int_equal(f->serial_hex.n, 32);
    assert_memory_equal(f->sha256, cert_facts(c)->sha256, 32);

    assert_int_equal(cert_verify(again, ca, 0, &err), 0);
    assert_int_equal(cert_verify(again, ca, now + 11 * DAY, &err), -EBADMSG);
    assert_non_null(strstr(err.message.p, "expired"));
    error_clear(&err);
    assert_int_equal(cert_verify(again, ca, now - DAY, NULL), -EBADMSG);
    assert_int_equal(cert_new_ca(other, STR("davit-ca"), now + DAY, &err, &foreign), 0);
    assert_int_equal(cert_verify(again, foreign, 0, NULL), -EBADMSG); /* same name, other key */
    assert_int_equal(cert_verify(ca, again, 0, NULL), -EBADMSG);
    cert_free(foreign);
    assert_int_equal(cert_issue(ca, other, key, &spec, &err, &foreign), -EIO);
    error_clear(&err);

    pem = cert_to_pem(ca);
    assert_int_equal(ca_digest(str_z(pem), &err, digest), 0);
    sha256_hex(cert_facts(ca)->spki_sha256, hex);
    assert_memory_equal(digest, "sha256:", 7);
    assert_string_equal(digest + 7, hex);
    struct pkey *public = NULL;
    assert_int_equal(pkey_public_from_pem(str_z(pem), NULL, &public), 0);
    assert_true(cert_key_matches(ca, public));
    pkey_free(public);
    free(pem);
    assert_int_equal(ca_digest(STR("x"), &err, digest), -EINVAL);

    error_fini(&err);
    assert_null(cert_free(c));
    cert_free(again);
    cert_free(ca);
    pkey_free(ca_key);
    pkey_free(key);
    pkey_free(other);
}

static void test_bad_certificates(void **state)
{
    int64_t now = time(NULL);
    struct pkey *key = pkey_new_p256();
    struct cert *ca = NULL, *c = NULL;
    struct str bad_ip = STR("10.0.0.256"), empty = STR(""), nul = {"a\0b", 3};
    char long_name[200];
    struct str too_long = {long_name, sizeof(long_name)};
    struct cert_spec spec = {.cn = STR("x"), .not_after_s = now + DAY};
    struct error err = {0};

    memset(long_name, 'a', sizeof(long_name));
    assert_int_equal(cert_from_pem(STR("garbage"), &err, &c), -EINVAL);
    assert_non_null(strstr(err.message.p, "cannot read the certificate"));
    error_clear(&err);
    assert_int_equal(cert_new_ca(key, STR("ca"), now + DAY, NULL, &ca), 0);
    spec.ips = &bad_ip;
    spec.n_ips = 1;
    assert_int_equal(cert_issue(ca, key, key, &spec, &err, &c), -EINVAL);
    assert_non_null(strstr(err.message.p, "10.0.0.256"));
    error_clear(&err);
    spec.n_ips = 0;
    spec.n_dns = 1;
    spec.dns = &empty;
    assert_int_equal(cert_issue(ca, key, key, &spec, NULL, &c), -EINVAL);
    spec.dns = &nul;
    assert_int_equal(cert_issue(ca, key, key, &spec, NULL, &c), -EINVAL);
    spec.n_dns = CERT_NAMES_MAX + 1;
    assert_int_equal(cert_issue(ca, key, key, &spec, NULL, &c), -EINVAL);
    spec.n_dns = 0;
    spec.cn = too_long; /* X.520 allows 64 */
    assert_int_equal(cert_issue(ca, key, key, &spec, NULL, &c), -EINVAL);
    assert_null(c);
    cert_free(ca);
    pkey_free(key);
}

static void test_csr(void **state)
{
    int64_t now = time(NULL);
    struct pkey *ca_key = pkey_new_p256(), *key = pkey_new_p256(), *public;
    struct str org = STR("system:nodes"), dns = STR("node-1"), ip = STR("192.0.2.1");
    struct cert_spec spec = {.cn = STR("system:node:node-1"),
                             .orgs = &org,
                             .n_orgs = 1,
                             .dns = &dns,
                             .n_dns = 1,
                             .ips = &ip,
                             .n_ips = 1,
                             .for_server = true,
                             .for_client = true,
                             .not_after_s = now + DAY};
    struct csr *a = NULL, *b = NULL;
    struct cert *ca = NULL, *c = NULL;
    const struct cert_facts *f;
    char *pem, *p;

    assert_int_equal(csr_new(key, &spec, NULL, &a), 0);
    pem = csr_to_pem(a);
    assert_int_equal(csr_from_pem(str_z(pem), NULL, &b), 0);
    f = csr_facts(b);
    assert_true(str_is(f->cn, "system:node:node-1"));
    assert_int_equal(f->n_orgs, 1);
    assert_true(str_is(f->orgs[0], "system:nodes"));
    assert_true(f->n_dns == 1 && str_is(f->dns[0], "node-1"));
    assert_true(f->n_ips == 1 && str_is(f->ips[0], "192.0.2.1"));
    /* the authority decides what it signs */
    public = csr_public_key(b);
    assert_int_equal(cert_new_ca(ca_key, STR("ca"), now + DAY, NULL, &ca), 0);
    assert_int_equal(cert_issue(ca, ca_key, public, &spec, NULL, &c), 0);
    assert_true(cert_key_matches(c, key));
    assert_true(cert_facts(c)->for_client && cert_facts(c)->for_server);
    assert_int_equal(cert_verify(c, ca, 0, NULL), 0);
    assert_memory_equal(f->spki_sha256, cert_facts(c)->spki_sha256, 32);
    csr_free(b);
    /* tampered: the signature is in the last lines */
    b = NULL;
    p = strstr(pem, "\n-----END");
    for (int i = 12; i < 16; i++)
        p[-i] = p[-i] == 'A' ? 'B' : 'A';
    assert_true(csr_from_pem(str_z(pem), NULL, &b) < 0);
    assert_int_equal(csr_from_pem(STR("x"), NULL, &b), -EINVAL);
    assert_null(b);
    free(pem);
    csr_free(a);
    cert_free(c);
    cert_free(ca);
    pkey_free(public);
    pkey_free(key);
    pkey_free(ca_key);
    assert_null(csr_free(NULL));
}

/* ---- sealing ---- */

static void test_seal(void **state)
{
    uint8_t key[SEAL_KEY_BYTES], other[SEAL_KEY_BYTES];
    struct str aad = STR("/registry/secrets/default/x"), plains[] = {STR("top secret"), STR("")};

    crypto_random(key, sizeof(key));
    crypto_random(other, sizeof(other));
    for (int i = 0; i < 2; i++) {
        struct buf a = {0}, b = {0}, plain = {0};
        buf_add_lit(&a, "prefix");
        seal(key, aad, plains[i], &a);
        seal(key, aad, plains[i], &b);
        assert_int_equal(a.n, 6 + plains[i].n + SEAL_OVERHEAD_BYTES);
        assert_memory_not_equal(a.data + 6, b.data, b.n); /* never the same twice */
        buf_add_lit(&plain, "kept ");
        assert_int_equal(seal_open(key, aad, buf_str(&b), &plain), 0);
        assert_int_equal(plain.n, 5 + plains[i].n);
        assert_memory_equal(plain.data + 5, plains[i].p, plains[i].n);
        buf_clear(&plain);
        assert_int_equal(seal_open(other, aad, buf_str(&b), &plain), -EBADMSG);
        assert_int_equal(seal_open(key, STR("/registry/secrets/default/y"), buf_str(&b), &plain),
                         -EBADMSG);
        for (size_t j = 0; j < b.n; j++) {
            b.data[j] ^= 0x40;
            assert_int_equal(seal_open(key, aad, buf_str(&b), &plain), -EBADMSG);
            b.data[j] ^= 0x40;
        }
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(seal_open(key, aad, (struct str){b.data, n}, &plain), -EBADMSG);
        assert_int_equal(plain.n, 0);
        buf_fini(&a);
        buf_fini(&b);
        buf_fini(&plain);
    }
    /* NIST GCM test case 13: all zero key and nonce, nothing to encrypt */
    uint8_t zero[SEAL_KEY_BYTES] = {0};
    struct buf plain = {0};
    static const char sealed[] = "\0\0\0\0\0\0\0\0\0\0\0\0"
                                 "\x53\x0f\x8a\xfb\xc7\x45\x36\xb9\xa9\x63\xb4\xf1\xc4\xcb\x73\x8b";
    assert_int_equal(seal_open(zero, STR_NONE, (struct str){sealed, 28}, &plain), 0);
    assert_int_equal(plain.n, 0);
    buf_fini(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_random_token),
        cmocka_unit_test(test_key_round_trip),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_jws),
        cmocka_unit_test(test_jws_known_answer),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_bad_certificates),
        cmocka_unit_test(test_csr),
        cmocka_unit_test(test_seal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
