/* Tokens of an issuer: keys of every kind, and what is wrong with tokens. Those with other claims
 * are signed here, with a key of ours. */
#include "test.h"

#include "apiserver/auth/oidc.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "oidc_vectors.h"

#define ISSUER  "https://issuer.example.com"
#define NOW     INT64_C(1800000000)
#define ALL_ALG "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512"

static struct oidc_opts opts(void)
{
    return (struct oidc_opts){.issuer_url = ISSUER, .client_id = "k", .signing_algs = ALL_ALG};
}

static void algorithms(void **state)
{
    struct arena a = {0};
    struct oidc_config c;
    struct oidc_keys *k;
    struct oidc_opts o = opts();
    (void)state;
    assert_ok(oidc_config_read(&o, &a, &c, NULL));
    assert_ok(oidc_keys_read(str_z(jwks), &k, NULL));
    assert_int_equal(oidc_keys_n(k), 4);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct str token = str_z(tokens[i].token);
        struct api_user u;
        int64_t expires;
        assert_ok(oidc_verify(&c, k, token, NOW, &a, &u, &expires, NULL));
        assert_str(u.name, ISSUER "#mary");
        assert_int_equal(expires, 2000000000);
        assert_true(oidc_is_issuer(&c, token));
        /* one bit of the signature, of the claims, of the head */
        for (int at = 0; at < 3; at++) {
            char *copy = xstrdup(tokens[i].token);
            size_t body = (size_t)str_find(token, '.'), sig = (size_t)str_rfind(token, '.');
            size_t where = at == 0 ? sig + 20 : at == 1 ? body + 30 : 8;
            copy[where] = copy[where] == 'A' ? 'B' : 'A';
            assert_true(oidc_verify(&c, k, str_z(copy), NOW, &a, &u, &expires, NULL) < 0);
            free(copy);
        }
        /* an algorithm that is not allowed */
        struct oidc_config fewer = c;
        fewer.n_algs = 0;
        for (size_t n = 0; n < c.n_algs; n++)
            if (!str_eqz(c.algs[n], tokens[i].alg))
                fewer.algs[fewer.n_algs++] = c.algs[n];
        assert_int_equal(oidc_verify(&fewer, k, token, NOW, &a, &u, &expires, NULL), -EACCES);
    }
    oidc_keys_unref(k);
    arena_fini(&a);
}

/* ---- claims ---- */

struct signer {
    struct pkey *key;
    struct oidc_keys *keys;
    struct arena arena;
};

static void signer_init(struct signer *s)
{
    struct buf x = {0}, y = {0}, text = {0};
    *s = (struct signer){.key = pkey_new_p256()};
    pkey_public_components(s->key, &x, &y);
    buf_add_lit(&text, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"x\":\"");
    base64url_print(buf_str(&x), &text);
    buf_add_lit(&text, "\",\"y\":\"");
    base64url_print(buf_str(&y), &text);
    buf_add_lit(&text, "\"}]}");
    assert_ok(oidc_keys_read(buf_str(&text), &s->keys, NULL));
    buf_fini(&x);
    buf_fini(&y);
    buf_fini(&text);
}

static void signer_fini(struct signer *s)
{
    pkey_free(s->key);
    oidc_keys_unref(s->keys);
    arena_fini(&s->arena);
}

static struct str sign(struct signer *s, const char *head, const char *claims)
{
    struct buf b = {0}, sig = {0};
    base64url_print(str_z(head), &b);
    buf_add_char(&b, '.');
    base64url_print(str_z(claims), &b);
    assert_ok(jws_sign(s->key, buf_str(&b), &sig, NULL));
    buf_add_char(&b, '.');
    base64url_print(buf_str(&sig), &b);
    struct str token = arena_str(&s->arena, buf_str(&b));
    buf_fini(&b);
    buf_fini(&sig);
    return token;
}

#define HEAD   "{\"alg\":\"ES256\",\"kid\":\"a\"}"
#define CLAIMS "\"iss\":\"" ISSUER "\",\"aud\":\"k\",\"exp\":1900000000"

static void claims(void **state)
{
    static const struct {
        const char *claims, *username, *groups, *required, *prefix;
        const char *want; /* name and groups, or what is wrong */
    } rows[] = {
        {CLAIMS ",\"sub\":\"m\"", NULL, NULL, NULL, NULL, ISSUER "#m"},
        {CLAIMS ",\"sub\":\"m\"", NULL, NULL, NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\"", NULL, NULL, NULL, "p:", "p:m"},
        {CLAIMS ",\"name\":\"n\"", "name", NULL, NULL, "", ISSUER "#n"},
        {CLAIMS ",\"email\":\"e@x\"", "email", NULL, NULL, NULL, "e@x"},
        {CLAIMS ",\"email\":\"e@x\",\"email_verified\":true", "email", NULL, NULL, NULL, "e@x"},
        {CLAIMS ",\"email\":\"e@x\",\"email_verified\":false", "email", NULL, NULL, NULL,
         "oidc: email not verified"},
        {CLAIMS ",\"email\":\"e@x\",\"email_verified\":\"true\"", "email", NULL, NULL, NULL,
         "oidc: email not verified"},
        {CLAIMS ",\"sub\":\"m\",\"email_verified\":false", NULL, NULL, NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\",\"g\":[\"a\",\"b\"]", NULL, "g", NULL, "-", "m,g:a,g:b"},
        {CLAIMS ",\"sub\":\"m\",\"g\":\"a\"", NULL, "g", NULL, "-", "m,g:a"},
        {CLAIMS ",\"sub\":\"m\",\"g\":[]", NULL, "g", NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\",\"g\":null", NULL, "g", NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\"", NULL, "g", NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\",\"g\":[1]", NULL, "g", NULL, "-",
         "oidc: parse groups claim \"g\": neither a string nor a list of strings"},
        {CLAIMS ",\"sub\":\"m\",\"g\":{}", NULL, "g", NULL, "-",
         "oidc: parse groups claim \"g\": neither a string nor a list of strings"},
        {CLAIMS ",\"sub\":7", NULL, NULL, NULL, NULL,
         "oidc: parse username claims \"sub\": claim not present"},
        {CLAIMS ",\"sub\":\"\"", NULL, NULL, NULL, NULL,
         "oidc: parse username claims \"sub\": claim not present"},
        {CLAIMS ",\"sub\":\"m\",\"a\":\"1\",\"b\":\"x=y\"", NULL, NULL, "a=1,b=x=y", "-", "m"},
        {CLAIMS ",\"sub\":\"m\",\"a\":\"2\"", NULL, NULL, "a=1", "-",
         "oidc: required claim a not present in ID token, or it is not 1"},
        {CLAIMS ",\"sub\":\"m\",\"a\":1", NULL, NULL, "a=1", "-",
         "oidc: required claim a not present in ID token, or it is not 1"},
        {"\"iss\":\"" ISSUER "\",\"aud\":[\"j\",\"k\"],\"exp\":1900000000.5,\"sub\":\"m\"", NULL,
         NULL, NULL, "-", "m"},
        {"\"iss\":\"" ISSUER "\",\"aud\":[\"j\"],\"exp\":1900000000,\"sub\":\"m\"", NULL, NULL,
         NULL, "-", "oidc: verify token: expected audience \"k\""},
        {"\"iss\":\"" ISSUER "\",\"exp\":1900000000,\"sub\":\"m\"", NULL, NULL, NULL, "-",
         "oidc: verify token: expected audience \"k\""},
        {"\"iss\":\"" ISSUER "/\",\"aud\":\"k\",\"exp\":1900000000,\"sub\":\"m\"", NULL, NULL, NULL,
         "-", "oidc: verify token: id token issued by a different provider"},
        {"\"iss\":\"" ISSUER "\",\"aud\":\"k\",\"exp\":1800000000,\"sub\":\"m\"", NULL, NULL, NULL,
         "-", "oidc: verify token: token is expired"},
        {"\"iss\":\"" ISSUER "\",\"aud\":\"k\",\"exp\":\"1900000000\",\"sub\":\"m\"", NULL, NULL,
         NULL, "-", "oidc: verify token: token is expired"},
        {CLAIMS ",\"sub\":\"m\",\"nbf\":1800000300", NULL, NULL, NULL, "-", "m"},
        {CLAIMS ",\"sub\":\"m\",\"nbf\":1800000301", NULL, NULL, NULL, "-",
         "oidc: verify token: current time is before the nbf (not before) time"},
    };
    struct signer s;
    (void)state;
    signer_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct oidc_opts o = opts();
        struct arena a = {0};
        struct oidc_config c;
        struct api_user u;
        struct error err = {0};
        int64_t expires;
        o.username_claim = rows[i].username;
        o.username_prefix = rows[i].prefix;
        o.groups_claim = rows[i].groups;
        o.groups_prefix = rows[i].groups ? "g:" : NULL;
        o.required_claim = rows[i].required;
        assert_ok(oidc_config_read(&o, &a, &c, NULL));
        struct str token = sign(&s, HEAD, arena_printf(&a, "{%s}", rows[i].claims).p);
        int r = oidc_verify(&c, s.keys, token, NOW, &a, &u, &expires, &err);
        if (r < 0) {
            assert_int_equal(r, -EACCES);
            assert_str(err.message, rows[i].want);
        } else {
            struct buf b = {0};
            buf_add_str(&b, u.name);
            assert_str(u.groups[u.n_groups - 1], "system:authenticated");
            for (uint32_t n = 0; n + 1 < u.n_groups; n++)
                buf_printf(&b, ",%.*s", STR_ARG(u.groups[n]));
            assert_str(buf_str(&b), rows[i].want);
            buf_fini(&b);
        }
        error_fini(&err);
        arena_fini(&a);
    }
    signer_fini(&s);
}

static void keys(void **state)
{
    struct oidc_opts o = opts();
    struct arena a = {0};
    struct oidc_config c;
    struct oidc_keys *k;
    struct api_user u;
    struct signer s;
    int64_t expires;
    (void)state;
    assert_ok(oidc_config_read(&o, &a, &c, NULL));
    signer_init(&s);
#define VERIFY(head)                                                                               \
    oidc_verify(&c, s.keys, sign(&s, head, "{" CLAIMS ",\"sub\":\"m\"}"), NOW, &a, &u, &expires,   \
                NULL)
    assert_ok(VERIFY(HEAD));
    assert_ok(VERIFY("{\"alg\":\"ES256\"}")); /* names no key: any */
    assert_int_equal(VERIFY("{\"alg\":\"ES256\",\"kid\":\"b\"}"), -EAGAIN);
    assert_int_equal(VERIFY("{\"alg\":\"ES384\",\"kid\":\"a\"}"), -EACCES);
    assert_int_equal(VERIFY("{\"alg\":\"none\",\"kid\":\"a\"}"), -EACCES);
    assert_int_equal(VERIFY("{\"kid\":\"a\"}"), -EACCES);
    assert_int_equal(VERIFY("{\"alg\":\"ES256\",\"kid\":\"a\",\"crit\":[\"b64\"]}"), -EACCES);
    assert_int_equal(VERIFY("[]"), -EACCES);
    static const char *const none[] = {
        "",
        "{}",
        "[]",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[7,{\"kty\":\"oct\",\"k\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", /* too short */
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-999\",\"x\":\"AA\",\"y\":\"AA\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(oidc_keys_read(str_z(none[i]), &k, NULL), -EINVAL);
    static const char *const no_tokens[] = {"",      ".",        "..",           "...",
                                            "a.b.c", "e30.e30.", "e30.e30.AA.AA"};
    for (size_t i = 0; i < ARRAY_LEN(no_tokens); i++) {
        assert_false(oidc_is_issuer(&c, str_z(no_tokens[i])));
        assert_int_equal(oidc_verify(&c, s.keys, str_z(no_tokens[i]), NOW, &a, &u, &expires, NULL),
                         -EACCES);
    }
    signer_fini(&s);
    arena_fini(&a);
}

static void configuration(void **state)
{
    static const struct {
        struct oidc_opts o;
        const char *why; /* NULL: good */
    } rows[] = {
        {{.issuer_url = ISSUER, .client_id = "k"}, NULL},
        {{.issuer_url = ISSUER "/realms/x", .client_id = "k"}, NULL},
        {{.issuer_url = "https://[::1]:8443", .client_id = "k"}, NULL},
        {{.issuer_url = ISSUER}, "--oidc-issuer-url and --oidc-client-id"},
        {{.client_id = "k"}, "--oidc-issuer-url and --oidc-client-id"},
        {{.issuer_url = "https://kubernetes.default.svc.cluster.local", .client_id = "k"},
         "--oidc-issuer-url: is that of service account tokens"},
        {{.issuer_url = "http://x", .client_id = "k"}, "--oidc-issuer-url: must be https"},
        {{.issuer_url = "https://u@x", .client_id = "k"}, "--oidc-issuer-url: must be https"},
        {{.issuer_url = "https://x:0", .client_id = "k"}, "--oidc-issuer-url: must be https"},
        {{.issuer_url = "https://x/?a", .client_id = "k"}, "--oidc-issuer-url: must be https"},
        {{.issuer_url = "https://x/#a", .client_id = "k"}, "--oidc-issuer-url: must be https"},
        {{.issuer_url = ISSUER, .client_id = "k", .required_claim = "a"}, "--oidc-required-claim"},
        {{.issuer_url = ISSUER, .client_id = "k", .signing_algs = "RS256,none"},
         "--oidc-signing-algs: none"},
    };
    struct arena a = {0};
    struct oidc_config c;
    struct str uri;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        int r = oidc_config_read(&rows[i].o, &a, &c, &err);
        assert_int_equal(r < 0, rows[i].why != NULL);
        if (r < 0 && !str_starts(err.message, str_z(rows[i].why)))
            fail_msg("%.*s", STR_ARG(err.message));
        error_fini(&err);
    }
    struct oidc_opts o = opts();
    assert_ok(oidc_config_read(&o, &a, &c, NULL));
#define DOCUMENT(issuer, keys) STR("{\"issuer\":\"" issuer "\",\"jwks_uri\":\"" keys "\"}")
    assert_ok(oidc_discovery_read(&c, DOCUMENT(ISSUER, "https://keys.example.com/k?v=1"), &a, &uri,
                                  NULL));
    assert_str(uri, "https://keys.example.com/k?v=1");
    assert_true(oidc_discovery_read(&c, DOCUMENT(ISSUER "/", "https://x/k"), &a, &uri, NULL) < 0);
    assert_true(oidc_discovery_read(&c, DOCUMENT(ISSUER, "http://x/k"), &a, &uri, NULL) < 0);
    assert_true(oidc_discovery_read(&c, STR("{}"), &a, &uri, NULL) < 0);
    assert_true(oidc_discovery_read(&c, STR("[1"), &a, &uri, NULL) < 0);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(algorithms), cmocka_unit_test(claims),
                                       cmocka_unit_test(keys), cmocka_unit_test(configuration)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
