/* Signatures of JSON web tokens of others (RFC 7518, 3.3 to 3.5): one row an algorithm. The header
 * of a token says which one it is, and an attacker writes that too; so a row also says which keys
 * it takes, and there is none for "none" or for shared secrets. */
#include "rt/ossl.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#define COORD_BYTES_MAX 66 /* P-521 */

static const struct alg {
    const char *name, *digest;
    const char *group; /* of an EC key; NULL: RSA */
    int coord_bytes;
    bool pss;
} algs[] = {
    {"RS256", "SHA256", NULL, 0, false},          {"RS384", "SHA384", NULL, 0, false},
    {"RS512", "SHA512", NULL, 0, false},          {"PS256", "SHA256", NULL, 0, true},
    {"PS384", "SHA384", NULL, 0, true},           {"PS512", "SHA512", NULL, 0, true},
    {"ES256", "SHA256", "prime256v1", 32, false}, {"ES384", "SHA384", "secp384r1", 48, false},
    {"ES512", "SHA512", "secp521r1", 66, false},
};

static const struct curve {
    const char *jwk, *group;
    size_t coord_bytes;
} curves[] = {{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}};

static const struct alg *alg_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (str_eqz(name, algs[i].name))
            return &algs[i];
    return NULL;
}

bool jws_alg_known(struct str alg)
{
    return alg_find(alg) != NULL;
}

int pkey_from_ec(struct str curve, struct str x, struct str y, struct error *err, struct pkey **ret)
{
    uint8_t point[1 + 2 * COORD_BYTES_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    const struct curve *c = NULL;
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (str_eqz(curve, curves[i].jwk))
            c = &curves[i];
    if (!c || x.n != c->coord_bytes || y.n != c->coord_bytes) {
        (void)error_set(err, REASON_BAD_REQUEST, "not a point of a known curve");
        return -EINVAL;
    }
    memcpy(point + 1, x.p, x.n);
    memcpy(point + 1 + x.n, y.p, y.n);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    ASSERT(bld);
    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0);
    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * x.n);
    return pkey_from_params("EC", bld, err, ret);
}

static bool key_fits(const struct pkey *k, const struct alg *a)
{
    char group[32] = "";
    if (!a->group)
        return EVP_PKEY_get_base_id(k->p) == EVP_PKEY_RSA;
    return EVP_PKEY_get_base_id(k->p) == EVP_PKEY_EC &&
           EVP_PKEY_get_group_name(k->p, group, sizeof(group), NULL) == 1 &&
           strcmp(group, a->group) == 0;
}

/* r||s as OpenSSL wants it; malloc'ed by OpenSSL. */
static int to_der(struct str raw, int coord, uint8_t **ret)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const uint8_t *)raw.p, coord, NULL);
    BIGNUM *s = BN_bin2bn((const uint8_t *)raw.p + coord, coord, NULL);
    ASSERT(sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1);
    *ret = NULL;
    int n = i2d_ECDSA_SIG(sig, ret);
    ASSERT(n > 0);
    ECDSA_SIG_free(sig);
    return n;
}

int jws_verify_as(const struct pkey *k, struct str alg, struct str data, struct str sig)
{
    const struct alg *a = alg_find(alg);
    uint8_t *der = NULL;
    if (!a || !key_fits(k, a) || (a->group && sig.n != 2 * (size_t)a->coord_bytes))
        return -EBADMSG;
    if (a->group) {
        sig.n = (size_t)to_der(sig, a->coord_bytes, &der);
        sig.p = (const char *)der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */
    ASSERT(ctx);
    bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, a->digest, NULL, NULL, k->p, NULL) == 1;
    if (ok && a->pss)
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok &&
         EVP_DigestVerify(ctx, (const uint8_t *)sig.p, sig.n, (const uint8_t *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok ? 0 : -EBADMSG;
}
