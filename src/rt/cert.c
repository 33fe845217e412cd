/* Certificates as facts: what authentication and renewal ask of them, read once into plain strings,
 * so that nobody else has to walk X.509 structures. */
#include "rt/ossl.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#define SERIAL_BYTES_MAX 64 /* RFC 5280 allows 20; longer ones are cut in the text only */

/* ---- facts ---- */

static struct str asn1_text(const ASN1_STRING *s, struct arena *a)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, s);
    struct str r = STR_NONE;

    if (n >= 0) {
        r = arena_str(a, (struct str){(char *)utf8, (size_t)n});
        OPENSSL_free(utf8);
    }
    ERR_clear_error();
    return r;
}

static struct str name_text(const X509_NAME *name, struct arena *a)
{
    BIO *b = BIO_new(BIO_s_mem());
    CLEANUP(freep) char *text = NULL;

    ASSERT(b);
    X509_NAME_print_ex(b, name, 0, ASN1_STRFLGS_RFC2253 | XN_FLAG_SEP_COMMA_PLUS | XN_FLAG_FN_SN);
    text = bio_take_text(b);
    return arena_strz(a, text);
}

int cert_names_fill(X509_NAME *name, struct arena *a, struct cert_facts *f)
{
    int n = X509_NAME_entry_count(name);
    struct str *orgs;

    if (n > CERT_NAMES_MAX)
        return -EINVAL;
    orgs = ARENA_NEW_N(a, struct str, n);
    f->orgs = orgs;
    f->subject = name_text(name, a);
    for (int i = 0; i < n; i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        if (nid == NID_commonName && !f->cn.p)
            f->cn = asn1_text(X509_NAME_ENTRY_get_data(e), a);
        else if (nid == NID_organizationName)
            orgs[f->n_orgs++] = asn1_text(X509_NAME_ENTRY_get_data(e), a);
    }
    return 0;
}

static struct str ip_text(const ASN1_OCTET_STRING *ip, struct arena *a)
{
    char text[INET6_ADDRSTRLEN];
    int n = ASN1_STRING_length(ip);

    if ((n != 4 && n != 16) ||
        !inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof(text)))
        return STR_NONE;
    return arena_strz(a, text);
}

int cert_sans_fill(const GENERAL_NAMES *names, struct arena *a, struct cert_facts *f)
{
    int n = sk_GENERAL_NAME_num(names);
    struct str *v, s;

    if (n > CERT_NAMES_MAX)
        return -EINVAL;
    v = ARENA_NEW_N(a, struct str, 3 * n);
    f->dns = v;
    f->ips = v + n;
    f->uris = v + 2 * n;
    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type == GEN_DNS)
            v[f->n_dns++] = asn1_text(g->d.dNSName, a);
        else if (g->type == GEN_URI)
            v[2 * n + (int)f->n_uris++] = asn1_text(g->d.uniformResourceIdentifier, a);
        else if (g->type == GEN_IPADD && (s = ip_text(g->d.iPAddress, a)).p)
            v[n + (int)f->n_ips++] = s;
    }
    return 0;
}

static int64_t asn1_seconds(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static struct str serial_text(X509 *x, struct arena *a)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    int n = MIN(ASN1_STRING_length(serial), SERIAL_BYTES_MAX);
    char *p = arena_alloc(a, (size_t)n * 2 + 1);

    p[0] = '\0';
    for (int i = 0; i < n; i++)
        snprintf(p + 2 * i, 3, "%02x", ASN1_STRING_get0_data(serial)[i]);
    return (struct str){p, (size_t)n * 2};
}

int cert_facts_fill(X509 *x, struct arena *a, struct cert_facts *f)
{
    GENERAL_NAMES *sans;
    unsigned n = 0;
    int r;

    *f = (struct cert_facts){0};
    r = cert_names_fill(X509_get_subject_name(x), a, f);
    f->issuer = name_text(X509_get_issuer_name(x), a);
    f->self_signed = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
    f->serial_hex = serial_text(x, a);
    f->not_before_s = asn1_seconds(X509_get0_notBefore(x));
    f->not_after_s = asn1_seconds(X509_get0_notAfter(x));
    f->is_ca = X509_check_ca(x) > 0;
    if (X509_get_extension_flags(x) & EXFLAG_XKUSAGE) {
        f->for_server = X509_get_extended_key_usage(x) & (XKU_SSL_SERVER | XKU_ANYEKU);
        f->for_client = X509_get_extended_key_usage(x) & (XKU_SSL_CLIENT | XKU_ANYEKU);
    } else {
        f->for_server = f->for_client = true;
    }
    sans = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    if (sans && r == 0)
        r = cert_sans_fill(sans, a, f);
    GENERAL_NAMES_free(sans);
    if (!X509_get0_pubkey(x))
        r = -EINVAL;
    else
        spki_sha256(X509_get0_pubkey(x), f->spki_sha256);
    ASSERT(X509_digest(x, EVP_sha256(), f->sha256, &n) == 1 && n == SHA256_BYTES);
    ERR_clear_error();
    return r;
}

/* ---- reading and writing ---- */

int cert_wrap(X509 *x, struct error *err, struct cert **ret)
{
    struct cert *c = NEW(struct cert);

    c->x = x;
    if (cert_facts_fill(x, &c->arena, &c->facts) < 0) {
        cert_free(c);
        (void)error_set(err, REASON_BAD_REQUEST,
                        "the certificate has an unknown key or more than %d names", CERT_NAMES_MAX);
        return -EINVAL;
    }
    *ret = c;
    return 0;
}

int cert_from_pem(struct str pem, struct error *err, struct cert **ret)
{
    BIO *b = bio_of(pem);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

    BIO_free(b);
    return x ? cert_wrap(x, err, ret) : ossl_error(err, -EINVAL, "cannot read the certificate");
}

char *cert_to_pem(const struct cert *c)
{
    BIO *b = BIO_new(BIO_s_mem());

    ASSERT(b && PEM_write_bio_X509(b, c->x) == 1);
    return bio_take_text(b);
}

const struct cert_facts *cert_facts(const struct cert *c)
{
    return &c->facts;
}

struct cert *cert_free(struct cert *c)
{
    if (c) {
        X509_free(c->x);
        arena_fini(&c->arena);
        free(c);
    }
    return NULL;
}

/* ---- questions ---- */

bool cert_key_matches(const struct cert *c, const struct pkey *k)
{
    uint8_t d[SHA256_BYTES];

    spki_sha256(k->p, d);
    return memcmp(d, c->facts.spki_sha256, sizeof(d)) == 0;
}

int cert_verify(const struct cert *c, const struct cert *ca, int64_t at_s, struct error *err)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int r = 0, why;

    ASSERT(store && ctx);
    ASSERT(X509_STORE_add_cert(store, ca->x) == 1);
    ASSERT(X509_STORE_CTX_init(ctx, store, c->x, NULL) == 1);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_ANY);
    if (at_s)
        X509_STORE_CTX_set_time(ctx, 0, (time_t)at_s);
    if (X509_verify_cert(ctx) != 1) {
        why = X509_STORE_CTX_get_error(ctx);
        (void)error_set(err, REASON_UNAUTHORIZED, "certificate \"%.*s\": %s",
                        STR_ARG(c->facts.subject), X509_verify_cert_error_string(why));
        r = -EBADMSG;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return r;
}

int ca_digest(struct str pem, struct error *err, char ret[7 + SHA256_HEX + 1])
{
    struct cert *c;
    int r = cert_from_pem(pem, err, &c);

    if (r < 0)
        return r;
    memcpy(ret, "sha256:", 7);
    sha256_hex(c->facts.spki_sha256, ret + 7);
    cert_free(c);
    return 0;
}
