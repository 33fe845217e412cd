/* Keys and the signatures of JSON web tokens. */
#include "rt/ossl.h"
#include "base/mem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define P256_COORD_BYTES 32
#define RSA_BITS_MIN     2048
#define RSA_BITS_MAX     8192 /* verifying with larger ones is a way to keep a server busy */

/* ---- shared helpers ---- */

const char *ossl_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *s = e ? ERR_reason_error_string(e) : NULL;

    ERR_clear_error();
    return s ? s : "unspecified failure";
}

void ossl_clear(void)
{
    if (UNLIKELY(ERR_peek_error()))
        ERR_clear_error();
}

int ossl_error(struct error *err, int r, const char *what)
{
    const char *reason = ossl_reason();

    (void)error_set(err, r == -EIO ? REASON_INTERNAL : REASON_BAD_REQUEST, "%s: %s", what, reason);
    return r;
}

BIO *bio_of(struct str s)
{
    BIO *b;

    ASSERT(s.n <= INT32_MAX);
    b = BIO_new_mem_buf(s.p ? s.p : "", (int)s.n);
    ASSERT(b);
    return b;
}

char *bio_take_text(BIO *b)
{
    char *data = NULL, *copy;
    long n = BIO_get_mem_data(b, &data);

    ASSERT(n >= 0);
    copy = str_dup((struct str){data ? data : "", (size_t)n});
    BIO_free(b);
    return copy;
}

int pkey_wrap(EVP_PKEY *p, struct pkey **ret)
{
    struct pkey *k = NEW(struct pkey);

    k->p = p;
    *ret = k;
    return 0;
}

struct pkey *pkey_free(struct pkey *k)
{
    if (k) {
        EVP_PKEY_free(k->p);
        free(k);
    }
    return NULL;
}

/* SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480). */
static const uint8_t P256_SPKI[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
#define P256_POINT 65 /* uncompressed */

static bool param_is(EVP_PKEY *p, const char *name, const char *value)
{
    char text[32];

    return EVP_PKEY_get_utf8_string_param(p, name, text, sizeof(text), NULL) == 1 &&
           strcmp(text, value) == 0;
}

/* What i2d_PUBKEY gives for nearly every key there is, without its search through all encoders,
 * which costs ten times a signature. */
static bool p256_spki(EVP_PKEY *p, uint8_t der[static sizeof(P256_SPKI) + P256_POINT])
{
    size_t n = 0;

    memcpy(der, P256_SPKI, sizeof(P256_SPKI));
    return EVP_PKEY_is_a(p, "EC") && param_is(p, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1") &&
           param_is(p, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_GROUP) &&
           EVP_PKEY_get_octet_string_param(p, OSSL_PKEY_PARAM_PUB_KEY, der + sizeof(P256_SPKI),
                                           P256_POINT, &n) == 1 &&
           n == P256_POINT && der[sizeof(P256_SPKI)] == POINT_CONVERSION_UNCOMPRESSED;
}

void spki_sha256(EVP_PKEY *p, uint8_t ret[SHA256_BYTES])
{
    uint8_t *der = NULL, p256[sizeof(P256_SPKI) + P256_POINT];
    int n;

    if (p256_spki(p, p256)) {
        sha256_of((struct str){(char *)p256, sizeof(p256)}, ret);
        return;
    }
    ossl_clear();
    n = i2d_PUBKEY(p, &der);
    ASSERT(n > 0);
    sha256_of((struct str){(char *)der, (size_t)n}, ret);
    OPENSSL_free(der);
}

void pkey_spki_sha256(const struct pkey *k, uint8_t ret[SHA256_BYTES])
{
    spki_sha256(k->p, ret);
}

/* ---- making and reading ---- */

struct pkey *pkey_new_p256(void)
{
    struct pkey *k = NULL;
    EVP_PKEY *p = EVP_EC_gen("P-256");

    ASSERT(p); /* fails only without memory or a random source */
    (void)pkey_wrap(p, &k);
    return k;
}

struct pkey *pkey_new_rsa2048(void)
{
    struct pkey *k = NULL;
    EVP_PKEY *p = EVP_RSA_gen(2048);

    ASSERT(p);
    (void)pkey_wrap(p, &k);
    return k;
}

/* A password prompt on the terminal is never wanted. */
static int no_password(char *buf, int size, int rw, void *arg)
{
    return -1;
}

static int check_size(EVP_PKEY *p, struct error *err)
{
    int bits = EVP_PKEY_get_bits(p);

    if (EVP_PKEY_get_base_id(p) == EVP_PKEY_RSA && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
        (void)error_set(err, REASON_BAD_REQUEST, "RSA key of %d bits: want %d to %d", bits,
                        RSA_BITS_MIN, RSA_BITS_MAX);
        return -EINVAL;
    }
    return 0;
}

static int take_checked(EVP_PKEY *p, struct error *err, struct pkey **ret)
{
    int r = check_size(p, err);

    if (r < 0) {
        EVP_PKEY_free(p);
        return r;
    }
    return pkey_wrap(p, ret);
}

int pkey_from_pem(struct str pem, struct error *err, struct pkey **ret)
{
    BIO *b = bio_of(pem);
    EVP_PKEY *p = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);

    BIO_free(b);
    return p ? take_checked(p, err, ret) : ossl_error(err, -EINVAL, "cannot read the private key");
}

int pkey_public_from_pem(struct str pem, struct error *err, struct pkey **ret)
{
    BIO *b = bio_of(pem);
    EVP_PKEY *p = NULL;

    if (str_search(pem, STR("CERTIFICATE-----")) >= 0) {
        X509 *x = PEM_read_bio_X509(b, NULL, no_password, NULL);
        p = x ? X509_get_pubkey(x) : NULL;
        X509_free(x);
    } else if (str_search(pem, STR("PRIVATE KEY-----")) >= 0) {
        EVP_PKEY *private = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
        BIO *der = BIO_new(BIO_s_mem());
        if (private && i2d_PUBKEY_bio(der, private) == 1)
            p = d2i_PUBKEY_bio(der, NULL);
        BIO_free(der);
        EVP_PKEY_free(private);
    } else {
        p = PEM_read_bio_PUBKEY(b, NULL, no_password, NULL);
    }
    BIO_free(b);
    return p ? take_checked(p, err, ret) : ossl_error(err, -EINVAL, "cannot read the public key");
}

int pkey_from_params(const char *type, OSSL_PARAM_BLD *bld, struct error *err, struct pkey **ret)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *p = NULL;
    bool ok = params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &p, EVP_PKEY_PUBLIC_KEY, params) == 1;

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    return ok ? take_checked(p, err, ret) : ossl_error(err, -EINVAL, "not a valid public key");
}

int pkey_from_ec_point(struct str x, struct str y, struct error *err, struct pkey **ret)
{
    return pkey_from_ec(STR("P-256"), x, y, err, ret);
}

int pkey_from_rsa(struct str n, struct str e, struct error *err, struct pkey **ret)
{
    OSSL_PARAM_BLD *bld;
    BIGNUM *bn, *be;
    int r;

    if (n.n == 0 || n.n > RSA_BITS_MAX / 8 + 1 || e.n == 0 || e.n > 8) {
        (void)error_set(err, REASON_BAD_REQUEST, "not a usable RSA modulus and exponent");
        return -EINVAL;
    }
    bld = OSSL_PARAM_BLD_new();
    bn = BN_bin2bn((const uint8_t *)n.p, (int)n.n, NULL);
    be = BN_bin2bn((const uint8_t *)e.p, (int)e.n, NULL);
    ASSERT(bld && bn && be);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be);
    r = pkey_from_params("RSA", bld, err, ret);
    BN_free(bn);
    BN_free(be);
    return r;
}

char *pkey_to_pem(const struct pkey *k)
{
    BIO *b = BIO_new(BIO_s_mem());

    ASSERT(b && pkey_is_private(k));
    ASSERT(PEM_write_bio_PrivateKey(b, k->p, NULL, NULL, 0, NULL, NULL) == 1);
    return bio_take_text(b);
}

char *pkey_public_to_pem(const struct pkey *k)
{
    BIO *b = BIO_new(BIO_s_mem());

    ASSERT(b && PEM_write_bio_PUBKEY(b, k->p) == 1);
    return bio_take_text(b);
}

/* ---- what it is ---- */

enum pkey_type pkey_type(const struct pkey *k)
{
    char group[32] = "";

    if (EVP_PKEY_get_base_id(k->p) == EVP_PKEY_RSA)
        return PKEY_RSA;
    if (EVP_PKEY_get_base_id(k->p) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(k->p, group, sizeof(group), NULL) == 1 &&
        str_eqz(STR("prime256v1"), group))
        return PKEY_P256;
    return PKEY_OTHER;
}

bool pkey_is_private(const struct pkey *k)
{
    BIGNUM *d = NULL;
    bool yes =
        EVP_PKEY_get_bn_param(k->p,
                              EVP_PKEY_get_base_id(k->p) == EVP_PKEY_RSA ? OSSL_PKEY_PARAM_RSA_D
                                                                         : OSSL_PKEY_PARAM_PRIV_KEY,
                              &d) == 1;

    BN_clear_free(d);
    ERR_clear_error();
    return yes;
}

static void add_bn(const struct pkey *k, const char *name, int width, struct buf *out)
{
    BIGNUM *bn = NULL;
    uint8_t *p;
    int n;

    ASSERT(EVP_PKEY_get_bn_param(k->p, name, &bn) == 1);
    n = width ? width : BN_num_bytes(bn);
    p = (uint8_t *)buf_reserve(out, (size_t)n);
    if (p) {
        ASSERT(BN_bn2binpad(bn, p, n) == n);
        out->n += (size_t)n;
        out->data[out->n] = '\0';
    }
    BN_free(bn);
}

void pkey_public_components(const struct pkey *k, struct buf *ret_first, struct buf *ret_second)
{
    if (pkey_type(k) == PKEY_RSA) {
        add_bn(k, OSSL_PKEY_PARAM_RSA_N, 0, ret_first);
        add_bn(k, OSSL_PKEY_PARAM_RSA_E, 0, ret_second);
        return;
    }
    ASSERT(pkey_type(k) == PKEY_P256);
    add_bn(k, OSSL_PKEY_PARAM_EC_PUB_X, P256_COORD_BYTES, ret_first);
    add_bn(k, OSSL_PKEY_PARAM_EC_PUB_Y, P256_COORD_BYTES, ret_second);
}

/* ---- JWS (RFC 7515, 7518): ES256 has r||s where OpenSSL speaks DER ---- */

const char *jws_alg(const struct pkey *k)
{
    switch (pkey_type(k)) {
    case PKEY_P256:
        return "ES256";
    case PKEY_RSA:
        return "RS256";
    default:
        return NULL;
    }
}

static void der_to_raw(const uint8_t *der, size_t n, struct buf *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    uint8_t raw[2 * P256_COORD_BYTES];

    ASSERT(sig);
    ASSERT(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, P256_COORD_BYTES) == P256_COORD_BYTES);
    ASSERT(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + P256_COORD_BYTES, P256_COORD_BYTES) ==
           P256_COORD_BYTES);
    ECDSA_SIG_free(sig);
    buf_add(out, raw, sizeof(raw));
}

int jws_sign(const struct pkey *k, struct str data, struct buf *ret_sig, struct error *err)
{
    EVP_MD_CTX *ctx;
    uint8_t sig[RSA_BITS_MAX / 8];
    size_t n = sizeof(sig);
    bool ok;

    if (!jws_alg(k) || !pkey_is_private(k))
        return ossl_error(err, -EINVAL, "the key cannot sign tokens");
    ctx = EVP_MD_CTX_new();
    ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->p) == 1 &&
         EVP_DigestSign(ctx, sig, &n, (const uint8_t *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return ossl_error(err, -EIO, "signing failed");
    if (pkey_type(k) == PKEY_P256)
        der_to_raw(sig, n, ret_sig);
    else
        buf_add(ret_sig, sig, n);
    return 0;
}

int jws_verify(const struct pkey *k, struct str alg, struct str data, struct str sig)
{
    const char *own = jws_alg(k);

    /* The header's word counts only when it is what the key does anyway (never "none"). */
    return own && str_eqz(alg, own) ? jws_verify_as(k, alg, data, sig) : -EBADMSG;
}
