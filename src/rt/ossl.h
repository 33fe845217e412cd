/* OpenSSL inside src/rt: what the crypto and TLS files share. */
#pragma once

#include "rt/crypto.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

struct pkey {
    EVP_PKEY *p; /* owned */
};

struct cert {
    X509 *x; /* owned */
    struct cert_facts facts;
    struct arena arena; /* of the facts */
};

/* Records "what: OpenSSL's reason" and returns r. Empties OpenSSL's error queue. */
int ossl_error(struct error *err, int r, const char *what);
/* The newest reason as text, and an empty queue. */
const char *ossl_reason(void);

/* Empties the error queue; cheap when it is empty, as it nearly always is. */
void ossl_clear(void);

int pkey_wrap(EVP_PKEY *p, struct pkey **ret); /* takes p */
/* A public key of its components; takes bld. */
int pkey_from_params(const char *type, OSSL_PARAM_BLD *bld, struct error *err,
                     struct pkey **ret) MUST_CHECK;

/* Facts of a certificate into memory of `a`. -EINVAL: more than CERT_NAMES_MAX names. */
int cert_facts_fill(X509 *x, struct arena *a, struct cert_facts *f);
int cert_names_fill(X509_NAME *name, struct arena *a, struct cert_facts *f);
int cert_sans_fill(const GENERAL_NAMES *names, struct arena *a, struct cert_facts *f);
int cert_wrap(X509 *x, struct error *err, struct cert **ret); /* takes x */
void spki_sha256(EVP_PKEY *p, uint8_t ret[SHA256_BYTES]);
BIO *bio_of(struct str s);   /* read-only view; free with BIO_free */
char *bio_take_text(BIO *b); /* malloc'ed copy; frees b */
