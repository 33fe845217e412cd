/* The cluster's keys and certificates, in one directory (0700):
 *
 *   ca.crt ca.key                    the cluster's authority, ten years; certified anew, with the
 * same key, by a start in its last two server.crt server.key            the API server's serving
 * certificate node-client.crt node-client.key  how the API server shows itself to nodes (logs,
 * exec) sa.key                           signs service account tokens
 * front-proxy-ca.crt front-proxy-ca.key    an authority of its own for the one certificate that may
 * say who somebody else is: front-proxy-client.crt, .key, shown to the servers of aggregated APIs
 *
 * Keys are P-256 and 0600. Certificates other than the CA's are good for a year and are made anew
 * when less than PKI_RENEW_DAYS are left, when the names they must carry changed, or when the CA
 * did not sign them. A file that is there and cannot be read as what it should be is an error:
 * nothing is overwritten. */
#pragma once

#include "base/error.h"
#include "rt/crypto.h"

#define PKI_CA_DAYS       3650
#define PKI_CA_RENEW_DAYS 730
#define PKI_CERT_DAYS     365
#define PKI_RENEW_DAYS    30
/* The name in the front proxy's certificate. */
#define PKI_PROXY_CLIENT "front-proxy-client"

struct pki {
    char *dir;       /* for messages; the directory may be renamed meanwhile */
    int dirfd;       /* owned */
    bool sync_later; /* during pki_open */
    bool ca_is_new;  /* there was none */
    struct cert *ca;
    struct pkey *ca_key, *sa_key;
    struct cert *proxy_ca;
    struct pkey *proxy_ca_key;
    char *ca_pem, *server_cert_pem, *server_key_pem, *node_client_cert_pem, *node_client_key_pem;
    char *proxy_ca_pem, *proxy_client_cert_pem, *proxy_client_key_pem;
};

/* now_s: seconds since 1970. sans: names and literal addresses beyond the standard ones.
 * sync_later: what this call makes is not flushed; the caller does that (sys_sync_dir). */
int pki_open(const char *dir, bool sync_later, const char *const *sans, size_t n_sans,
             int64_t now_s, struct pki **ret, struct error *err) MUST_CHECK;
/* Renews what runs out. *ret_changed: serving or client certificate is a new one. */
int pki_renew(struct pki *p, const char *const *sans, size_t n_sans, int64_t now_s,
              bool *ret_changed, struct error *err) MUST_CHECK;
struct pki *pki_free(struct pki *p); /* takes NULL; returns NULL */

/* A certificate signed by the CA, with a fresh key. Malloc'ed PEM texts. */
int pki_issue(const struct pki *p, const struct cert_spec *spec, char **ret_cert_pem,
              char **ret_key_pem, struct error *err) MUST_CHECK;
