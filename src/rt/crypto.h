/* Keys, certificates, signatures, digests, sealing. Wraps OpenSSL; nothing here touches a loop, so
 * all of it may be called on any thread (key generation takes ~50 us, an RS256 signature ~1 ms).
 *
 * Opaque things are freed by their free function, which takes NULL and returns NULL. PEM text comes
 * back in malloc'ed, NUL-terminated strings. Times are seconds since 1970 UTC. Errors: -EINVAL
 * (what was given cannot be parsed), -EBADMSG (does not verify), -EIO (OpenSSL failed); err says
 * what. */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

/* ---- digests ---- */

#define SHA256_BYTES 32
#define SHA256_HEX   64

struct sha256; /* a running digest */
struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *h, const void *p, size_t n);
void sha256_final(struct sha256 *h, uint8_t ret[SHA256_BYTES]); /* then only free */
struct sha256 *sha256_free(struct sha256 *h);

void sha256_of(struct str data, uint8_t ret[SHA256_BYTES]);
void sha256_hex(const uint8_t d[SHA256_BYTES], char ret[SHA256_HEX + 1]); /* lower case */
void sha256_hex_of(struct str data, char ret[SHA256_HEX + 1]);
void sha512_of(struct str data, uint8_t ret[64]);
void sha1_of(struct str data, uint8_t ret[20]); /* not for security: RFC 6455's accept key */
void hmac_sha256(struct str key, struct str data, uint8_t ret[SHA256_BYTES]);
/* In constant time for equal lengths; the length itself is not secret. */
bool crypto_equal(struct str a, struct str b);
/* Overwrites memory that held a secret; not optimised away. */
void crypto_wipe(void *p, size_t n);
/* From the kernel; not for the simulator's decisions (rt_random_bytes is). */
void crypto_random(void *p, size_t n);
/* Token of n characters from [a-z0-9], unbiased. */
void crypto_random_token(char *ret, size_t n); /* ret has n + 1 bytes */

/* ---- keys ---- */

struct pkey;
struct pkey *pkey_new_p256(void);
struct pkey *pkey_new_rsa2048(void); /* ~100 ms: on the worker pool */
/* Private key, PKCS#8, SEC1 or PKCS#1; without a password. */
int pkey_from_pem(struct str pem, struct error *err, struct pkey **ret) MUST_CHECK;
/* "PUBLIC KEY", or the key of a CERTIFICATE. Also takes a private key (its public half). */
int pkey_public_from_pem(struct str pem, struct error *err, struct pkey **ret) MUST_CHECK;
/* Components of a JWK, big endian: P-256 point, or RSA modulus and exponent. */
int pkey_from_ec_point(struct str x, struct str y, struct error *err, struct pkey **ret) MUST_CHECK;
/* The same of "P-256", "P-384" or "P-521". */
int pkey_from_ec(struct str curve, struct str x, struct str y, struct error *err,
                 struct pkey **ret) MUST_CHECK;
int pkey_from_rsa(struct str n, struct str e, struct error *err, struct pkey **ret) MUST_CHECK;
char *pkey_to_pem(const struct pkey *k);        /* private, PKCS#8 */
char *pkey_public_to_pem(const struct pkey *k); /* SubjectPublicKeyInfo */
enum pkey_type {
    PKEY_P256,
    PKEY_RSA,
    PKEY_OTHER,
};
enum pkey_type pkey_type(const struct pkey *k);
bool pkey_is_private(const struct pkey *k);
/* Components for a JWK: appends raw bytes. P-256: x, y (32 each); RSA: n, e. */
void pkey_public_components(const struct pkey *k, struct buf *ret_first, struct buf *ret_second);
/* sha256 of the DER SubjectPublicKeyInfo: key ids, pins. */
void pkey_spki_sha256(const struct pkey *k, uint8_t ret[SHA256_BYTES]);
struct pkey *pkey_free(struct pkey *k);

/* JWS signatures of the bytes given: ES256 (P-256; 64 bytes r||s) or RS256 by the key's type. */
const char *jws_alg(const struct pkey *k); /* "ES256", "RS256", NULL for other keys */
int jws_sign(const struct pkey *k, struct str data, struct buf *ret_sig,
             struct error *err) MUST_CHECK;
/* alg is what the token's header claims: it must be the key's own. 0, or -EBADMSG for anything
 * else. */
int jws_verify(const struct pkey *k, struct str alg, struct str data, struct str sig) MUST_CHECK;

/* Tokens of other issuers (jws.c): RS, PS and ES with 256, 384 and 512. The key must be of the kind
 * and the curve that alg is for. 0, or -EBADMSG for anything else. */
bool jws_alg_known(struct str alg);
int jws_verify_as(const struct pkey *k, struct str alg, struct str data, struct str sig) MUST_CHECK;

/* ---- certificates ---- */

#define CERT_NAMES_MAX                                                                             \
    64 /* SANs, or parts of the subject, of one certificate; more are refused                      \
        */

struct cert_facts {
    struct str cn, serial_hex, subject, issuer; /* subject as "O=a,O=b,CN=c" in its own order */
    const struct str *orgs, *dns, *ips, *uris;  /* ips as text */
    size_t n_orgs, n_dns, n_ips, n_uris;
    int64_t not_before_s, not_after_s;
    bool is_ca, for_server, for_client; /* extended key usage; both true when it has none */
    bool self_signed;                   /* subject is issuer */
    uint8_t spki_sha256[SHA256_BYTES];
    uint8_t sha256[SHA256_BYTES]; /* of the DER */
};

struct cert;
int cert_from_pem(struct str pem, struct error *err,
                  struct cert **ret) MUST_CHECK; /* the first one */
char *cert_to_pem(const struct cert *c);
const struct cert_facts *cert_facts(const struct cert *c); /* as long as c */
bool cert_key_matches(const struct cert *c, const struct pkey *k);
/* Signed by ca, ca may sign, and both are valid at `at_s` (0: now). 0, or -EBADMSG and why. */
int cert_verify(const struct cert *c, const struct cert *ca, int64_t at_s,
                struct error *err) MUST_CHECK;
struct cert *cert_free(struct cert *c);

struct cert_spec {
    struct str cn;
    const struct str *orgs;
    size_t n_orgs;
    const struct str *dns; /* wildcards allowed */
    size_t n_dns;
    const struct str *ips; /* literal addresses */
    size_t n_ips;
    bool for_server, for_client;
    int64_t not_before_s; /* 0: five minutes ago, for clocks that differ */
    int64_t not_after_s;  /* absolute; never beyond the CA's own end: it is cut to that */
};
/* A self-signed authority for `key`, path length 0. */
int cert_new_ca(const struct pkey *key, struct str cn, int64_t not_after_s, struct error *err,
                struct cert **ret) MUST_CHECK;
/* A certificate for `key`'s public half, signed by the CA. Random 127-bit serial. */
int cert_issue(const struct cert *ca, const struct pkey *ca_key, const struct pkey *key,
               const struct cert_spec *spec, struct error *err, struct cert **ret) MUST_CHECK;

/* ---- certificate requests (PKCS#10) ---- */

struct csr;
int csr_new(const struct pkey *key, const struct cert_spec *spec, struct error *err,
            struct csr **ret) MUST_CHECK; /* uses cn, orgs, dns, ips */
/* Refused when its own signature does not verify. */
int csr_from_pem(struct str pem, struct error *err, struct csr **ret) MUST_CHECK;
char *csr_to_pem(const struct csr *c);
/* cn, orgs, dns, ips, uris, spki_sha256; the rest is empty. */
const struct cert_facts *csr_facts(const struct csr *c);
/* A public-only key, to be given to cert_issue with a spec of your choosing (never the request's
 * own without checking). Free it. */
struct pkey *csr_public_key(const struct csr *c);
struct csr *csr_free(struct csr *c);

/* "sha256:<hex>" of the SubjectPublicKeyInfo of the first certificate in pem: what join tokens pin.
 */
int ca_digest(struct str pem, struct error *err, char ret[7 + SHA256_HEX + 1]) MUST_CHECK;

/* ---- sealing (AES-256-GCM) ---- */

#define SEAL_KEY_BYTES      32
#define SEAL_OVERHEAD_BYTES (12 + 16) /* nonce, tag */
/* Appends nonce || ciphertext || tag. `aad` is authenticated and not stored (the object's path), so
 * a sealed value moved elsewhere does not open. A key is good for 2^32 seals (random nonces). */
void seal(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str plain, struct buf *out);
/* Appends the plain text. -EBADMSG: other key, other aad, or tampered; out is untouched. */
int seal_open(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str sealed,
              struct buf *out) MUST_CHECK;
