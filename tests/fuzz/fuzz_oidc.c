/* Tokens, key sets and discovery documents of an issuer: refused or read, and nobody is let in whom
 * the keys did not sign for. The first byte says what it is. */
#include "apiserver/auth/oidc.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char jwks[] =
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
        "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvR"
        "VEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"; /* RFC 7515, A.3 */
    const struct oidc_opts o = {
        .issuer_url = "https://i", .client_id = "k", .signing_algs = "ES256"};
    struct str text = size ? (struct str){(const char *)data + 1, size - 1} : STR("");
    struct arena a = {0};
    struct oidc_config c;
    struct oidc_keys *k = NULL;
    struct api_user u;
    struct str uri;
    int64_t expires;

    if (oidc_config_read(&o, &a, &c, NULL) < 0 || oidc_keys_read(str_z(jwks), &k, NULL) < 0)
        abort();
    switch (size ? data[0] % 3 : 0) {
    case 0: /* nobody here has the key */
        ASSERT(oidc_verify(&c, k, text, 1800000000, &a, &u, &expires, NULL) < 0);
        (void)oidc_is_issuer(&c, text);
        break;
    case 1:
        oidc_keys_unref(k);
        k = NULL;
        if (oidc_keys_read(text, &k, NULL) == 0)
            ASSERT(oidc_keys_n(k) > 0);
        break;
    default:
        if (oidc_discovery_read(&c, text, &a, &uri, NULL) == 0)
            ASSERT(str_starts(uri, STR("https://")));
    }
    oidc_keys_unref(k);
    arena_fini(&a);
    return 0;
}
