/* Making certificates and requests. The cluster's own authority signs for its API server, agents
 * and administrators; what goes into a certificate is always a cert_spec, never what a request
 * asked for. */
#include "rt/ossl.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define SERIAL_BYTES 16
#define CLOCK_SKEW_S 300 /* of a machine whose clock is a little behind ours */

struct csr {
    X509_REQ *req; /* owned */
    struct cert_facts facts;
    struct arena arena;
};

/* ---- parts ---- */

static int add_name(X509_NAME *n, const char *type, struct str s)
{
    return X509_NAME_add_entry_by_txt(n, type, MBSTRING_UTF8, (const unsigned char *)s.p, (int)s.n,
                                      -1, 0) == 1
               ? 0
               : -EINVAL;
}

static int fill_subject(X509_NAME *n, const struct cert_spec *spec, struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < spec->n_orgs && r == 0; i++)
        r = add_name(n, "O", spec->orgs[i]);
    if (r == 0 && spec->cn.n)
        r = add_name(n, "CN", spec->cn);
    return r < 0 ? ossl_error(err, r, "name in the certificate's subject") : 0;
}

static int add_san(GENERAL_NAMES *names, struct str s, bool is_ip)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    CLEANUP(freep) char *z = str_dup(s);
    ASN1_OCTET_STRING *ip;
    ASN1_IA5STRING *dns;

    ASSERT(g);
    if (is_ip) {
        ip = a2i_IPADDRESS(z);
        if (!ip) {
            GENERAL_NAME_free(g);
            return -EINVAL;
        }
        GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    } else {
        if (s.n == 0 || s.n > 253 || strlen(z) != s.n) {
            GENERAL_NAME_free(g);
            return -EINVAL;
        }
        dns = ASN1_IA5STRING_new();
        ASSERT(dns && ASN1_STRING_set(dns, s.p, (int)s.n) == 1);
        GENERAL_NAME_set0_value(g, GEN_DNS, dns);
    }
    sk_GENERAL_NAME_push(names, g);
    return 0;
}

static int make_sans(const struct cert_spec *spec, struct error *err, GENERAL_NAMES **ret)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    const struct str *bad = NULL;

    ASSERT(names);
    for (size_t i = 0; i < spec->n_dns && !bad; i++)
        if (add_san(names, spec->dns[i], false) < 0)
            bad = &spec->dns[i];
    for (size_t i = 0; i < spec->n_ips && !bad; i++)
        if (add_san(names, spec->ips[i], true) < 0)
            bad = &spec->ips[i];
    if (bad) {
        GENERAL_NAMES_free(names);
        (void)error_set(err, REASON_BAD_REQUEST, "\"%.*s\" cannot stand in a certificate",
                        STR_ARG(*bad));
        ERR_clear_error();
        return -EINVAL;
    }
    *ret = names;
    return 0;
}

static int check_spec(const struct cert_spec *spec, struct error *err)
{
    if (spec->n_orgs >= CERT_NAMES_MAX || spec->n_dns > CERT_NAMES_MAX ||
        spec->n_ips > CERT_NAMES_MAX || spec->n_dns + spec->n_ips > CERT_NAMES_MAX) {
        (void)error_set(err, REASON_BAD_REQUEST, "too many names for one certificate");
        return -EINVAL;
    }
    return 0;
}

static void add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ASSERT(e && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *new_x509(EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s)
{
    X509 *x = X509_new();
    uint8_t raw[SERIAL_BYTES];
    BIGNUM *bn;

    ASSERT(x && X509_set_version(x, X509_VERSION_3) == 1);
    crypto_random(raw, sizeof(raw));
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40); /* positive, always the same length */
    bn = BN_bin2bn(raw, sizeof(raw), NULL);
    ASSERT(bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)));
    BN_free(bn);
    ASSERT(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)not_before_s));
    ASSERT(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)not_after_s));
    ASSERT(X509_set_pubkey(x, key) == 1);
    return x;
}

static int sign_and_wrap(X509 *x, EVP_PKEY *key, struct error *err, struct cert **ret)
{
    if (X509_sign(x, key, EVP_sha256()) <= 0) {
        X509_free(x);
        return ossl_error(err, -EIO, "cannot sign the certificate");
    }
    return cert_wrap(x, err, ret);
}

/* ---- certificates ---- */

int cert_new_ca(const struct pkey *key, struct str cn, int64_t not_after_s, struct error *err,
                struct cert **ret)
{
    struct cert_spec spec = {.cn = cn};
    X509 *x = new_x509(key->p, (int64_t)time(NULL) - CLOCK_SKEW_S, not_after_s);
    int r = fill_subject(X509_get_subject_name(x), &spec, err);

    if (r < 0) {
        X509_free(x);
        return r;
    }
    ASSERT(X509_set_issuer_name(x, X509_get_subject_name(x)) == 1);
    add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_ext(x, x, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign");
    add_ext(x, x, NID_subject_key_identifier, "hash");
    return sign_and_wrap(x, key->p, err, ret);
}

int cert_issue(const struct cert *ca, const struct pkey *ca_key, const struct pkey *key,
               const struct cert_spec *spec, struct error *err, struct cert **ret)
{
    int64_t from = spec->not_before_s ? spec->not_before_s : (int64_t)time(NULL) - CLOCK_SKEW_S;
    GENERAL_NAMES *sans = NULL;
    X509 *x;
    int r = check_spec(spec, err);

    if (r == 0)
        r = make_sans(spec, err, &sans);
    if (r < 0)
        return r;
    if (!cert_key_matches(ca, ca_key)) {
        GENERAL_NAMES_free(sans);
        return error_set(err, REASON_INTERNAL, "the authority's key is not its certificate's");
    }
    x = new_x509(key->p, from, MIN(spec->not_after_s, ca->facts.not_after_s));
    r = fill_subject(X509_get_subject_name(x), spec, err);
    if (r < 0) {
        GENERAL_NAMES_free(sans);
        X509_free(x);
        return r;
    }
    ASSERT(X509_set_issuer_name(x, X509_get_subject_name(ca->x)) == 1);
    add_ext(x, ca->x, NID_basic_constraints, "critical,CA:FALSE");
    add_ext(x, ca->x, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    if (spec->for_server || spec->for_client)
        add_ext(x, ca->x, NID_ext_key_usage,
                !spec->for_client   ? "serverAuth"
                : !spec->for_server ? "clientAuth"
                                    : "serverAuth,clientAuth");
    add_ext(x, ca->x, NID_authority_key_identifier, "keyid");
    if (sk_GENERAL_NAME_num(sans) > 0)
        ASSERT(X509_add1_ext_i2d(x, NID_subject_alt_name, sans, 0, 0) == 1);
    GENERAL_NAMES_free(sans);
    return sign_and_wrap(x, ca_key->p, err, ret);
}

/* ---- requests ---- */

static int csr_wrap(X509_REQ *req, struct error *err, struct csr **ret)
{
    struct csr *c = NEW(struct csr);
    STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
    GENERAL_NAMES *sans = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
    int r;

    c->req = req;
    r = cert_names_fill(X509_REQ_get_subject_name(req), &c->arena, &c->facts);
    if (sans && r == 0)
        r = cert_sans_fill(sans, &c->arena, &c->facts);
    GENERAL_NAMES_free(sans);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    ERR_clear_error();
    if (r < 0) {
        csr_free(c);
        (void)error_set(err, REASON_BAD_REQUEST, "the request has more than %d names",
                        CERT_NAMES_MAX);
        return r;
    }
    spki_sha256(X509_REQ_get0_pubkey(req), c->facts.spki_sha256);
    *ret = c;
    return 0;
}

int csr_new(const struct pkey *key, const struct cert_spec *spec, struct error *err,
            struct csr **ret)
{
    STACK_OF(X509_EXTENSION) *exts = NULL;
    GENERAL_NAMES *sans = NULL;
    X509_REQ *req;
    int r = check_spec(spec, err);

    if (r == 0)
        r = make_sans(spec, err, &sans);
    if (r < 0)
        return r;
    req = X509_REQ_new();
    ASSERT(req && X509_REQ_set_pubkey(req, key->p) == 1);
    r = fill_subject(X509_REQ_get_subject_name(req), spec, err);
    if (r == 0 && sk_GENERAL_NAME_num(sans) > 0) {
        ASSERT(X509V3_add1_i2d(&exts, NID_subject_alt_name, sans, 0, X509V3_ADD_DEFAULT) == 1);
        ASSERT(X509_REQ_add_extensions(req, exts) == 1);
    }
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    GENERAL_NAMES_free(sans);
    if (r == 0 && X509_REQ_sign(req, key->p, EVP_sha256()) <= 0)
        r = ossl_error(err, -EIO, "cannot sign the request");
    if (r < 0) {
        X509_REQ_free(req);
        return r;
    }
    return csr_wrap(req, err, ret);
}

int csr_from_pem(struct str pem, struct error *err, struct csr **ret)
{
    BIO *b = bio_of(pem);
    X509_REQ *req = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);

    BIO_free(b);
    if (!req)
        return ossl_error(err, -EINVAL, "cannot read the certificate request");
    if (!X509_REQ_get0_pubkey(req) || X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) != 1) {
        X509_REQ_free(req);
        return ossl_error(err, -EBADMSG, "the request is not signed with its own key");
    }
    return csr_wrap(req, err, ret);
}

char *csr_to_pem(const struct csr *c)
{
    BIO *b = BIO_new(BIO_s_mem());

    ASSERT(b && PEM_write_bio_X509_REQ(b, c->req) == 1);
    return bio_take_text(b);
}

const struct cert_facts *csr_facts(const struct csr *c)
{
    return &c->facts;
}

struct pkey *csr_public_key(const struct csr *c)
{
    struct pkey *k = NULL;
    EVP_PKEY *p = X509_REQ_get_pubkey(c->req);

    ASSERT(p);
    (void)pkey_wrap(p, &k);
    return k;
}

struct csr *csr_free(struct csr *c)
{
    if (c) {
        X509_REQ_free(c->req);
        arena_fini(&c->arena);
        free(c);
    }
    return NULL;
}
